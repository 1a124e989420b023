"""What the benchmarks share: where results go, and what ran them."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parents[1] / "docs" / "results"


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


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
