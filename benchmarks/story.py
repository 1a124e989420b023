"""The story of the laboratory: train with and without an adversary, three seeds, measure both.

    python benchmarks/story.py

Writes docs/results/story.md. Seeds vary the classification head, dropout and the order of the
data; texts, bert-tiny and attacks stay. About half an hour on 2 cores.
"""

from __future__ import annotations

import argparse
import tempfile

import numpy as np
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, Noise, WordSubstitution
from advlib.models import load_classifier
from advlib.objectives import Adversarial
from advlib.training import finetune

from common import table, write

EPS = 0.3
ATTACKS = (
    Noise(EPS),
    FGM(EPS),
    PGD(EPS, steps=10),
    PGD(EPS, steps=20, restarts=3),
    WordSubstitution(),
)
OBJECTIVES = {
    "L": None,
    "L + L_adv, FGM": Adversarial(FGM(EPS)),
    "L + L_adv, PGD-3": Adversarial(PGD(EPS, steps=3)),
}


def measure(objective, seed: int, texts: int, epochs: float) -> list[float]:
    data = advlib.load_text("reviews", test_size=texts)
    set_seed(seed)
    victim = load_classifier("bert-tiny", labels=data["train"].features["label"].names)
    with tempfile.TemporaryDirectory() as folder:
        finetune(victim, data["train"], objective, out=folder, epochs=epochs, seed=seed)
    return list(advlib.robustness(victim, data["test"], ATTACKS)["accuracy"] * 100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--epochs", type=float, default=10)
    args = parser.parse_args()
    rows = []
    for name, objective in OBJECTIVES.items():
        runs = np.array([measure(objective, s, args.texts, args.epochs) for s in range(args.seeds)])
        cells = [
            f"{m:.1f} ± {sd:.1f} ({', '.join(f'{v:.1f}' for v in column)})"
            for m, sd, column in zip(runs.mean(0), runs.std(0, ddof=1), runs.T, strict=True)
        ]
        rows.append([name, *cells])
        print(rows[-1], flush=True)
    header = [
        "training",
        "clean",
        "Noise",
        "FGM",
        "PGD-10",
        "PGD-20, 3 restarts",
        "word substitution",
        "worst of these",
    ]
    text = (
        f"Accuracy in % on {args.texts} test texts of the world `reviews`, trained on 2,500, "
        f"{args.epochs:g} epochs: mean ± standard deviation over {args.seeds} training seeds, and "
        f"each seed in brackets. ε = {EPS}, relative, L2 over the sequence; word substitution may "
        "change every word that has known substitutes. A 95 % Wilson interval for one seed is "
        "about ± 3 points at 60 % and ± 1 point at 98 %.\n\n" + table(header, rows)
    )
    write("story", "The story of the embedded laboratory", text, "python benchmarks/story.py")
