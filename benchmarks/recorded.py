"""The numbers that lessons 05 and 08 quote as measured by longer runs, printed.

    python benchmarks/recorded.py [05 | 08]

Lesson 05: which class the generator without labels ends at, for six seeds, from the lesson's own
cells. Lesson 08: the numbers as they stand in its source; the model, the texts, the loop and the
settings are those of the lesson's `smoke` profile, the step and the evaluation are the course's
solutions of exercises 08.1 and 08.2. One thread, so that the sums of a machine with many cores are
added up in the same order.
"""

from __future__ import annotations

import copy
import os
import sys
from pathlib import Path

import jupytext
import torch
from datasets import Dataset
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD
from advlib.exercises.lesson_08 import adversarial_step, evaluate
from advlib.models import Classifier

PARTNER, REFEREE = FGM(eps=0.3), PGD(eps=0.3, steps=4)


def short_ones(texts: Dataset, count: int | None) -> Dataset:
    """The first `count` texts that are not long; all of them for None."""
    fit = [i for i, text in enumerate(texts["text"]) if 20 < len(text) < 70]
    return texts.select(fit[:count])


def run(start: Classifier, seed: int, train: Dataset, orders: list[list[int]], size: int,
        lam: float, judges: Dataset) -> list[int]:  # fmt: skip
    """Robust accuracy on the judges, in %, after each epoch: one pass for each of its orders."""
    set_seed(seed)
    student, course = Classifier(copy.deepcopy(start.model), start.tokenizer), []
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in orders:
        for order in epoch:
            own = torch.Generator().manual_seed(order)
            places = torch.randperm(len(train), generator=own).tolist()
            student.model.train()
            for k in range(0, len(places), size):
                rows = train[places[k : k + size]]
                batch = student.encode(rows["text"], rows["label"])
                adversarial_step(student.model, optimizer, batch, PARTNER, lam)
        student.model.eval()
        course.append(round(100 * evaluate(student, judges, REFEREE)[1]))
    return course


def blind_generators(seeds: range) -> None:
    """Lesson 05, section 3: both classes under generators that are not told the label."""
    os.environ["ADVLIB_PROFILE"] = "smoke"
    lesson = jupytext.read(Path(__file__).parents[1] / "solutions/05_three_sources.py")
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    last = next(k for k, cell in enumerate(cells) if "def train_generator" in cell)
    own: dict = {}
    exec("\n".join(cells[: last + 1]), own)
    torch.set_num_threads(1)  # the lesson's setup cell may have set another number
    labels = own["labels"].cpu()
    print(f"# Section 3: seed, right by class {own['victim'].labels}, spared class made surer")
    for seed in seeds:
        net, _ = own["train_generator"](own["model"], 120, told=False, seed=seed)
        odds = own["odds"](own["propose"](net, own["model"], own["batch"], own["eps"], told=False))
        right = [(odds[labels == c] < 0).double().mean().item() for c in (0, 1)]
        spared = labels == right.index(max(right))
        surer = (odds < own["clean"])[spared].double().mean()
        print(f"{seed}  {right[0]:4.0%} {right[1]:4.0%}  {surer:4.0%}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    if sys.argv[1:] != ["08"]:
        blind_generators(range(6))
    if sys.argv[1:] == ["05"]:
        return
    start = advlib.load_classifier("reviews-clean", device="cpu")
    data = advlib.load_text("reviews", test_size=600)
    train, test = short_ones(data["train"], 192), short_ones(data["test"], 112)
    handful, others = train.select(range(48)), short_ones(data["validation"], None)

    print(f"# Section 10: {len(others)} validation texts\nRECORDED = {{")
    for seed in range(3):
        orders = [[1000 * seed + 2 * epoch + turn for turn in range(2)] for epoch in range(20)]
        values = run(start, seed, handful, orders, size=16, lam=1.0, judges=others)
        print(f'    "seed {seed}": {values},', flush=True)
    print(f"}}  # fmt: skip\n\n# Section 11: {len(test)} test texts")
    found = [
        [run(start, seed, train, [[2 * seed, 2 * seed + 1]], 12, lam, test)[-1]
         for seed in range(7)] for lam in (0.0, 1.0)
    ]  # fmt: skip
    print(f"CONTROL, SPARRING = {found[0]}, {found[1]}")


if __name__ == "__main__":
    main()
