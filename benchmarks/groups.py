"""Does adversarial training widen the gap between groups? Three worlds, three seeds each.

    python benchmarks/groups.py

Writes docs/results/groups.md.

The balanced world has two classes of one size made by one grammar.
In the second the class "positive" has a tenth of the training texts; in the third the texts that
concede something before their verdict ("small, but …") have a fiftieth, in place of an eighth. The
test texts are balanced in class and hold as many conceded texts as others, in every world.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from advlib.attacks import FGM
from advlib.corpora import world
from advlib.objectives import Adversarial, Clean
from course.lesson_14 import workshop

from common import table, write

# Training texts, and how much longer than usual is trained.
CASES = (("balanced", 1), ("rare class", 1), ("rare class", 3), ("rare kind", 1))


def kind(review) -> str:
    return "conceded" if workshop.kind_of(review.text) == "conceded" else "other"


def training_texts(name: str, n: int, seed: int) -> list:
    """n short training texts of a world."""
    drawn = [r for r in world("reviews").sample(10 * n, "train", seed) if len(r.text) < 110]
    rare = {"balanced": lambda r: None, "rare class": lambda r: r.label == 1,
            "rare kind": lambda r: kind(r) == "conceded"}[name]  # fmt: skip
    if name == "balanced":
        return drawn[:n]
    few = {"rare class": n // 10, "rare kind": n // 50}[name]
    return [r for r in drawn if not rare(r)][: n - few] + [r for r in drawn if rare(r)][:few]


def test_texts(n: int) -> list:
    """A quarter each: conceded or not, praise or blame."""
    drawn = world("reviews").sample(12 * n, "test", seed=9)
    cells = {(k, y): [r for r in drawn if kind(r) == k and r.label == y][: n // 4]
             for k in ("conceded", "other") for y in (0, 1)}  # fmt: skip
    return [r for cell in cells.values() for r in cell]


def gaps(victim, test: list) -> dict[str, float]:
    """Accuracy and the gaps between classes and between kinds, in points, clean and under FGM."""
    data = workshop.dataset([r.text for r in test], [r.label for r in test])
    labels, kinds = np.array(data["label"]), np.array([kind(r) for r in test])
    out = {}
    for when, logits in {"clean": victim.logits(data["text"]),
                         "FGM": workshop.attacked_logits(victim, data, FGM(0.3))}.items():
        right = 100 * (logits.argmax(1) == labels)
        out[f"{when}"] = right.mean()
        out[f"{when}, classes"] = right[labels == 0].mean() - right[labels == 1].mean()
        out[f"{when}, kinds"] = right[kinds == "other"].mean() - right[kinds == "conceded"].mean()
    return out


def rows_of(case: tuple[str, int], objectives: dict, test: list, options) -> list[list]:
    """The rows of the table for one case: a row for each objective, three seeds in a cell."""
    name, longer = case
    rows = []
    for how, objective in objectives.items():
        runs = []
        for seed in range(options.seeds):
            texts = training_texts(name, options.texts, seed)
            data = workshop.dataset([r.text for r in texts], [r.label for r in texts])
            victim = workshop.beginner(0.4)
            workshop.train(victim, data, objective, longer * options.epochs, seed=seed)
            runs.append(gaps(victim, test))
            print(name, longer, how, seed, {k: round(float(v), 1) for k, v in runs[-1].items()},
                  flush=True)  # fmt: skip
        rows.append([name + f", {longer} times as long" * (longer > 1), how] + [
            " / ".join(f"{run[key]:+.0f}" if "," in key else f"{run[key]:.0f}" for run in runs)
            for key in ("clean", "clean, classes", "clean, kinds",
                        "FGM", "FGM, classes", "FGM, kinds")])  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--test", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--eps", type=float, nargs="+", default=[0.3])
    options = parser.parse_args()
    torch.set_num_threads(1)
    test = test_texts(options.test)
    objectives = {"L": Clean()} | {f"L + L_adv, ε = {eps:g}": Adversarial(FGM(eps))
                                   for eps in options.eps}  # fmt: skip
    rows = [row for case in CASES for row in rows_of(case, objectives, test, options)]
    report(rows, len(test), options)


def report(rows: list[list], n: int, options) -> None:
    noise = 196 * np.sqrt(2 * 0.25 / (n / 2))
    text = "\n\n".join([
        __doc__.split("\n\n", 3)[3].strip(),
        f"Three numbers are three seeds (order of texts, dropout, training texts). {options.texts} "
        f"training texts, {options.epochs} epochs, from weights four tenths of the way from "
        f"bert-tiny to reviews-clean; {n} test texts. Gaps are in points: negative less positive "
        "class, other less conceded texts. The 95 % interval of a gap reaches up to "
        f"{noise:.0f} points to both sides where accuracy is one half, and "
        f"{noise * 2 * np.sqrt(0.05 * 0.95):.0f} where it is 95 %.",
        table(["training texts", "objective", "clean, %", "gap of classes", "gap of kinds",
               "FGM, %", "gap of classes", "gap of kinds"], rows),
    ])  # fmt: skip
    write("groups", "Adversarial training and the gap between groups", text,
          "python benchmarks/groups.py")  # fmt: skip


if __name__ == "__main__":
    main()
