"""Clean and robust accuracy, with the threat model, the sample size, intervals and the cost.

An attack comes in as an argument and is known by no name: one that has `passes` perturbs
embeddings (`attack(model, batch) -> δ`), any other changes words
(`attack(victim, texts, labels) -> results`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sklearn.metrics import classification_report
from tqdm.auto import tqdm

from advlib.attacks.embedding import attack_mode, perturbed_logits
from advlib.models import Classifier


@dataclass(frozen=True)
class Outcome:
    """What an attack made of a set of texts, per example."""

    clean: np.ndarray  # predicted class without attack, (n,)
    attacked: np.ndarray  # predicted class under attack, (n,)
    labels: np.ndarray
    forward: float  # passes per example
    backward: float
    seconds: float
    results: list | None = None  # word attacks: one WordResult per text

    @property
    def robust(self) -> np.ndarray:
        """(n,) True where the model is right before and after: the attacker may also leave the
        text alone, so an example that is wrong from the start counts as wrong."""
        return (self.clean == self.labels) & (self.attacked == self.labels)


def attack_all(
    victim: Classifier, data: Dataset, attack=None, *, batch_size: int = 64, progress: bool = False
) -> Outcome:
    """Attack every text of `data` (columns text, label). attack=None predicts only.

    A tie between the label and another class counts for the attacker.
    """
    texts, labels = list(data["text"]), np.asarray(data["label"])
    start = time.perf_counter()
    clean = victim.logits(texts, batch_size).argmax(1)
    if attack is None:
        return Outcome(clean, clean, labels, 1, 0, time.perf_counter() - start)
    bar = tqdm(total=len(texts), desc=type(attack).__name__, disable=not progress, leave=False)
    with bar:
        if hasattr(attack, "passes"):
            attacked = _embeddings(victim, texts, labels, clean, attack, batch_size, bar)
            forward, backward = attack.passes()
            results = None
        else:
            results = attack(victim, texts, labels)
            attacked = victim.logits([r.text for r in results], batch_size).argmax(1)
            forward, backward = np.mean([r.queries for r in results]), 0
    seconds = time.perf_counter() - start
    return Outcome(clean, attacked, labels, float(forward), backward, seconds, results)


def _embeddings(victim, texts, labels, clean, attack, batch_size, bar) -> np.ndarray:
    """Predictions under an embedding attack; only examples that are right so far are attacked."""
    attacked = clean.copy()
    right = [i for i in range(len(texts)) if clean[i] == labels[i]]
    bar.update(len(texts) - len(right))
    with attack_mode(victim.model, same_dropout=False):
        for chosen, batch in victim.batches([texts[i] for i in right], labels[right], batch_size):
            delta = attack(victim.model, batch)
            with torch.no_grad():
                logits = perturbed_logits(victim.model, batch, delta)
            attacked[[right[i] for i in chosen]] = logits.argmax(1).cpu().numpy()
            bar.update(len(chosen))
    return attacked


def robustness(
    victim: Classifier,
    data: Dataset,
    attacks: Iterable = (),
    *,
    batch_size: int = 64,
    progress: bool = False,
) -> pd.DataFrame:
    """One row without attack and one per attack.

    Columns: `attack` (name), `threat model` (the attack's repr), `n`, `accuracy` (under attack;
    wrong from the start counts as wrong), `low` and `high` (95 % Wilson interval), `success`
    (attack success rate: of the examples that were right, the share turned wrong), `forward` and
    `backward` (passes per example; for word attacks queries), `seconds`.
    """
    rows = []
    for attack in [None, *attacks]:
        outcome = attack_all(victim, data, attack, batch_size=batch_size, progress=progress)
        rows.append(summarise(outcome, attack))
    return pd.DataFrame(rows)


def summarise(outcome: Outcome, attack=None) -> dict:
    """One row of `robustness`."""
    n, hits = len(outcome.labels), int(outcome.robust.sum())
    before = int((outcome.clean == outcome.labels).sum())
    low, high = wilson(hits, n)
    return {
        "attack": "none" if attack is None else type(attack).__name__,
        "threat model": "none" if attack is None else repr(attack),
        "n": n, "accuracy": hits / n, "low": low, "high": high,
        "success": float("nan") if attack is None or not before else 1 - hits / before,
        "forward": outcome.forward, "backward": outcome.backward, "seconds": outcome.seconds,
    }  # fmt: skip


def report(victim: Classifier, data: Dataset, attack=None) -> str:
    """scikit-learn's classification report, clean (attack=None) or under attack."""
    outcome = attack_all(victim, data, attack)
    shown = outcome.clean if attack is None else outcome.attacked
    classes = range(len(victim.labels))
    return classification_report(
        outcome.labels, shown, labels=list(classes), target_names=victim.labels, zero_division=0
    )


def wilson(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a proportion of `hits` in `n`.

    Raises ValueError for n < 1 or hits outside 0..n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"need 0 <= hits <= n and n >= 1, got hits={hits}, n={n}")
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
