"""What a learned filter of lesson 14 holds, and why: five trainings of each of two filters.

    python benchmarks/filters.py

Writes docs/results/filters.md.

A filter is to hold texts that name a relative. It is a small classifier, trained on 160 texts that
name one and 160 that do not; the second kind is trained on a mistyped copy of each, too. The table
has what it lets out of 60 other texts that name a relative, as they are and with typos in up to one
word in ten, and what it holds of 60 ordinary texts and of the 60 with another word in place of each
relative.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

from advlib.attacks import Typos
from advlib.corpora import words
from advlib.statistics import wilson
from course.lesson_14 import workshop

from common import table, write

OTHERS = ("friend", "colleague", "phone", "dentist")


def measured(one, must_stay: list[str], may_go: list[str]) -> list[float]:
    """The shares that a filter lets out, as they are and under typos, and that it holds wrongly."""
    texts = [may_go] + [[workshop.without_relatives(text, other) for text in must_stay]
                        for other in OTHERS]  # fmt: skip
    return [workshop.let_out(one, must_stay),
            workshop.let_out(one, must_stay, Typos(max_changed=0.1)),
            *((one.predict(t).argmax(1) == 1).mean() for t in texts)]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    held, free = workshop.letters(160, "train", seed=1)
    must_stay, may_go = workshop.letters(60, "test", seed=2)
    typed = [held + workshop.mistyped(held), free + workshop.mistyped(free)]
    rows = []
    for name, texts in {"learned": (held, free), "typos too": typed}.items():
        runs = []
        for seed in range(options.seeds):
            one = workshop.learned_filter(*texts, seed=seed)
            runs.append(measured(one, must_stay, may_go))
            print(name, seed, np.round(runs[-1], 3).tolist(), flush=True)
        rows.append([name] + [" / ".join(f"{100 * run[k]:.0f}" for run in runs)
                              for k in range(len(runs[0]))])  # fmt: skip
    report(rows, held, free, must_stay, options)


def report(rows: list[list], held, free, must_stay, options) -> None:
    def having(texts, word) -> int:
        return sum(word in {w.lower() for w in words(text)} for text in texts)

    seen = "; ".join(f"{word} {having(held, word)} and {having(free, word)}" for word in OTHERS)
    half = 100 * (wilson(30, 60)[1] - 0.5)
    text = "\n\n".join([
        __doc__.split("\n\n", 3)[3].strip(),
        f"{options.seeds} numbers are {options.seeds} seeds (first weights of the head, order of "
        "texts, dropout), on the same texts; all in %, and the 95 % interval of one number reaches "
        f"up to {half:.0f} points to both sides.",
        table(["filter", "lets out", "under typos", "holds ordinary texts",
               *(f"with “{other}”" for other in OTHERS)], rows),
        f"How many training texts that must stay, and that may go, have these words: {seen}. Of "
        f"the {len(must_stay)} test texts that must stay {having(must_stay, 'wife')} name a wife, "
        f"and of the {len(held)} training texts {having(held, 'wife')}.",
    ])  # fmt: skip
    write("filters", "What a learned filter goes by", text, "python benchmarks/filters.py")


if __name__ == "__main__":
    main()
