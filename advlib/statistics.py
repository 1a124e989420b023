"""Statistics of right and wrong answers: an interval, macro-F1, and what chance would do."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import f1_score


def wilson(hits: int, n: int, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a proportion of `hits` in `n`.

    Raises ValueError for n < 1 or hits outside 0..n.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"need 0 <= hits <= n and n >= 1, got hits={hits}, n={n}")
    p = hits / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return 0.0 if hits == 0 else middle - half, 1.0 if hits == n else middle + half


def macro_f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    """The mean F1 over the classes that occur in `labels`. So it is 1 for a perfect model where
    few texts do not hold every class, and the same classes count for every model and attack."""
    return float(f1_score(labels, predicted, labels=np.unique(labels), average="macro",
                          zero_division=0))  # fmt: skip


def by_chance(labels: np.ndarray, predicted: np.ndarray, shuffles: int = 1000) -> float:
    """The share of shuffles of the answers whose macro-F1 is at least as high (a permutation test;
    Ojala and Garriga 2010, JMLR 11, 1833-1863).

    Shuffling keeps how often each class is said, and F1 = 2 · hits / (texts + answers), so macro-F1
    goes up and down with the hits, each weighted by its class.
    """
    classes = int(max(labels.max(), predicted.max())) + 1
    sizes = np.bincount(labels, minlength=classes) + np.bincount(predicted, minlength=classes)
    weight, random = 1 / sizes[labels], np.random.default_rng(0)
    wanted = weight @ (predicted == labels) - 1e-9
    higher = sum(weight @ (random.permutation(predicted) == labels) >= wanted
                 for _ in range(shuffles))  # fmt: skip
    return (1 + int(higher)) / (1 + shuffles)
