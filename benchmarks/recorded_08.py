"""The numbers that lesson 08 quotes as *recorded*, printed as they stand in its source.

    python benchmarks/recorded_08.py [knobs] [by-heart] [seeds]

The model, the texts, the loop and the settings are those of the lesson's `smoke` profile; the step
and the evaluation are the course's solutions of exercises 08.1 and 08.2. One thread, so that the
sums of a machine with many cores are added up in the same order.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator

import torch
from datasets import Dataset
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, WordSubstitution
from advlib.evaluation import attack_all
from advlib.models import Classifier
from advlib.objectives import Adversarial, Words
from course.lesson_08.checks import adversarial_step, evaluate

PARTNER, REFEREE = FGM(eps=0.3), PGD(eps=0.3, steps=4)
TYPIST = WordSubstitution(rank="gradient", max_queries=16)
# Section 6: one knob at a time, the others as usual; its usual value is left out.
KNOBS = {"lam": (0.3, 3, 10), "eps": (0.1, 0.6, 1), "ratio": (0.25, 0.5, 0.75), "steps": (2, 3, 5)}
Step = Callable[[Classifier, torch.optim.Optimizer, dict], object]


def short_ones(texts: Dataset, count: int | None) -> Dataset:
    """The first `count` texts that are not long; all of them for None."""
    fit = [i for i, text in enumerate(texts["text"]) if 20 < len(text) < 70]
    return texts.select(fit[:count])


def sparring(attack: PGD = PARTNER, lam: float = 1.0, ratio: float = 1.0) -> Step:
    """The step of exercise 08.1 with these settings."""
    return lambda victim, optimizer, batch: adversarial_step(
        victim.model, optimizer, batch, attack, lam, ratio)  # fmt: skip


def typing(train: Dataset, *more: Adversarial) -> Step:
    """The step of section 12 on texts with other words, and on more objectives."""
    words: list[Words] = []

    def step(victim, optimizer, batch):
        if not words:
            words.append(Words(TYPIST, victim, train))
        optimizer.zero_grad()
        for objective in (*words, *more):
            objective(victim.model, batch)
        optimizer.step()

    return step


def trained(start: Classifier, seed: int, train: Dataset, orders: list[list[int]], size: int,
            step: Step) -> Iterator[Classifier]:  # fmt: skip
    """The student after each epoch: one pass for each of its orders."""
    set_seed(seed)
    student = Classifier(copy.deepcopy(start.model), start.tokenizer)
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in orders:
        for order in epoch:
            own = torch.Generator().manual_seed(order)
            places = torch.randperm(len(train), generator=own).tolist()
            student.model.train()
            for k in range(0, len(places), size):
                rows = train[places[k : k + size]]
                step(student, optimizer, student.encode(rows["text"], rows["label"]))
        student.model.eval()
        yield student


def twice(start: Classifier, seed: int, train: Dataset, step: Step) -> Classifier:
    """The student after the two epochs of section 4; seed 0 has the lesson's own orders."""
    return next(trained(start, seed, train, [[2 * seed, 2 * seed + 1]], 12, step))


def percent(share: float) -> int:
    return round(100 * share)


def knobs(start: Classifier, train: Dataset, test: Dataset) -> None:
    usual = {"lam": 1, "eps": 0.3, "ratio": 1, "steps": 1}

    def row(**own: float) -> list[tuple[int, int]]:
        now = usual | own
        step = sparring(PGD(eps=now["eps"], steps=now["steps"]), now["lam"], now["ratio"])
        students = (twice(start, seed, train, step) for seed in range(3))
        return [tuple(map(percent, evaluate(student, test, REFEREE))) for student in students]

    print(f"# Section 6: (clean, under PGD) in % of {len(test)} test texts, seeds 0 to 2")
    print(f"NONE = {row(lam=0)}\nUSUAL = {row()}\nREPEATED = {{", flush=True)
    for knob, values in KNOBS.items():
        print(f'    "{knob}": {{')
        for value in values:
            print(f"        {value:g}: {row(**{knob: value})},", flush=True)
        print("    },")
    print("}\n")


def by_heart(start: Classifier, train: Dataset, others: Dataset) -> None:
    print(f"# Section 10: {len(others)} validation texts\nRECORDED = {{")
    for seed in range(3):
        orders = [[1000 * seed + 2 * epoch + turn for turn in range(2)] for epoch in range(20)]
        runs = trained(start, seed, train, orders, 16, sparring())
        values = [percent(evaluate(student, others, REFEREE)[1]) for student in runs]
        print(f'    "seed {seed}": {values},', flush=True)
    print("}  # fmt: skip\n")


def seeds(start: Classifier, train: Dataset, test: Dataset) -> None:
    print(f"# Sections 11, 12: seeds 0 to 6; clean, PGD: % of {len(test)} texts, words: of 56")
    ways = {"CONTROL": lambda: sparring(lam=0), "SPARRING": sparring,
            "TOO_FAR": lambda: sparring(FGM(eps=1.0)), "WORDS": lambda: typing(train),
            "BOTH": lambda: typing(train, Adversarial(PARTNER))}  # fmt: skip
    readers = test.select(range(56))
    for name, way in ways.items():
        clean, robust, typed = [], [], []
        for seed in range(7):
            student = twice(start, seed, train, way())
            both = evaluate(student, test, REFEREE)
            clean.append(percent(both[0]))
            robust.append(percent(both[1]))
            typed.append(int(attack_all(student, readers, WordSubstitution()).robust.sum()))
        print(f"{name}: PGD {robust}, words {typed}, clean {clean}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    start = advlib.load_classifier("reviews-clean", device="cpu")
    data = advlib.load_text("reviews", test_size=600)
    train, test = short_ones(data["train"], 192), short_ones(data["test"], 112)
    parts = {
        "knobs": lambda: knobs(start, train, test),
        "by-heart": lambda: by_heart(start, train.select(range(48)),
                                     short_ones(data["validation"], None)),
        "seeds": lambda: seeds(start, train, test),
    }  # fmt: skip
    for name in sys.argv[1:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
