"""The numbers that lesson 05 quotes as measured over several seeds: which class the generator
without labels ends at.

    python benchmarks/recorded_05.py

The cells are the lesson's own, in its `smoke` profile. One thread, so that the sums of a machine
with many cores are added up in the same order.
"""

from __future__ import annotations

import os
from pathlib import Path

import jupytext
import torch


def main(seeds: range) -> None:
    """Section 3: both classes under generators that are not told the label."""
    os.environ["ADVLIB_PROFILE"] = "smoke"
    lesson = jupytext.read(Path(__file__).parents[1] / "notebooks/05_three_sources.ipynb")
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    last = next(k for k, cell in enumerate(cells) if "def train_generator" in cell)
    own: dict = {}
    exec("\n".join(cells[: last + 1]), own)
    torch.set_num_threads(1)  # the lesson's setup cell may have set another number
    labels = own["labels"].cpu()
    print(f"# Section 3: seed, right by class {own['victim'].labels}, spared class made surer")
    for seed in seeds:
        net, _ = own["train_generator"](own["model"], 80, told=False, seed=seed)
        odds = own["odds"](own["propose"](net, own["model"], own["batch"], own["eps"], told=False))
        right = [(odds[labels == c] < 0).double().mean().item() for c in (0, 1)]
        spared = labels == right.index(max(right))
        surer = (odds < own["clean"])[spared].double().mean()
        print(f"{seed}  {right[0]:4.0%} {right[1]:4.0%}  {surer:4.0%}", flush=True)


if __name__ == "__main__":
    main(range(6))
