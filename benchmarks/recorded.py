"""The numbers that lesson 08 quotes as *recorded*, printed as they stand in its source.

    python benchmarks/recorded.py

The model, the texts, the loop and the settings are those of the lesson's `smoke` profile; the step
and the evaluation are the course's solutions of exercises 08.1 and 08.2. One thread, so that the
sums of a machine with many cores are added up in the same order.
"""

from __future__ import annotations

import copy

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


def main() -> None:
    torch.set_num_threads(1)
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
