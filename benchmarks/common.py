"""What the benchmarks share: where results go, and what ran them."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

RESULTS = Path(os.environ.get("RESULTS") or Path(__file__).parents[1] / "docs" / "results")


def machine() -> str:
    """One line: device, threads, versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    device = gpu or f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    packages = ", ".join(f"{p} {version(p)}" for p in ("torch", "transformers"))
    return f"{device}; Python {platform.python_version()}, {packages}"


def write(name: str, title: str, text: str, command: str) -> None:
    """Print a result and write it to docs/results/NAME.md with what is needed to repeat it."""
    page = f"# {title}\n\n{text}\n\nRepeat with `{command}`. Measured on: {machine()}.\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page)
    print(page)


def put(name: str, title: str, text: str) -> None:
    """Put a section anew, and leave the rest of docs/results/NAME.md as it is."""
    file = RESULTS / f"{name}.md"
    page = file.read_text("utf-8")
    start = page.index(f"\n## {title}\n") + 1
    ends = [page.find(mark, start) for mark in ("\n## ", "\nRepeat with `")]
    end = min(place for place in ends if place >= 0)
    file.write_text(f"{page[:start]}## {title}\n\n{text}\n{page[end:]}", "utf-8")
    print(text)


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def time_all(ways: dict[str, Callable[[int], None]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds per step, (rounds,) for each way; the ways take turns, so noise hits all alike."""
    seconds = {name: [] for name in ways}
    for turn in range(rounds + 2):
        for name, way in ways.items():
            start = time.perf_counter()
            way(turn)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds[name].append(time.perf_counter() - start)
    return {name: np.array(s[2:]) for name, s in seconds.items()}  # the first two warm up
