"""Certificates as a table, and beside the truth and an attack."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from datasets import Dataset

from advlib.attacks.words import WordAttack
from advlib.certify.exact import exact_worst
from advlib.certify.sets import Certificate
from advlib.corpora.engine import Text
from advlib.data import texts_of
from advlib.evaluation import attack_all
from advlib.models import Classifier
from advlib.statistics import wilson


def certified(
    victim: Classifier, data: Dataset, methods: Iterable, attacks: Iterable = ()
) -> pd.DataFrame:
    """One row per method and per attack, as `robustness` has them.

    Columns: `method`, `bound` ("lower", "exact", or "upper" for an attack), `classifier` (which one
    is spoken of), `threat model`, `n` (texts), `clean` (accuracy), `certified` (share certified;
    nan for an attack), `attacked` (accuracy under an attack; nan for a lower bound), `low` and
    `high` (95 % Wilson interval over the texts, of `certified` or else of `attacked`), `radius`
    (median; nan for sets of words), `alpha` (chance of a false certificate, each text; 0: none),
    `samples` (passes, mean per text), `seconds` (in all).
    """
    texts, labels, rows = texts_of(data), data["label"], []
    if not texts:
        raise ValueError("there are no texts to certify")
    for method in methods:
        found, exact = method(victim, texts, labels), method.bound == "exact"
        sure = np.array([c.certified for c in found])
        rows.append({
            "method": type(method).__name__, "bound": method.bound,
            "classifier": method.classifier, "threat model": method.threat, "n": len(found),
            "clean": np.mean([c.right for c in found]), "certified": sure.mean(),
            "attacked": sure.mean() if exact else math.nan, **_interval(sure),
            "radius": np.median([c.radius for c in found]),
            "alpha": getattr(method, "alpha", 0.0), "samples": np.mean([c.samples for c in found]),
            "seconds": sum(c.seconds for c in found),
        })  # fmt: skip
    for attack in attacks:
        found = attack_all(victim, data, attack)
        rows.append({
            "method": type(attack).__name__, "bound": "upper", "classifier": "itself",
            "threat model": repr(attack), "n": len(texts),
            "clean": np.mean(found.clean == found.labels), "certified": math.nan,
            "attacked": found.robust.mean(), **_interval(found.robust), "radius": math.nan,
            "alpha": 0.0, "samples": found.forward + found.backward, "seconds": found.seconds,
        })  # fmt: skip
    return pd.DataFrame(rows)


def _interval(hits: np.ndarray) -> dict:
    return dict(zip(("low", "high"), wilson(int(hits.sum()), len(hits)), strict=True))


def sandwich(
    victim: Classifier, texts: Sequence[Text], labels: Sequence[int], attack: WordAttack,
    lower: Sequence[Certificate] | None = None, limit: int = 2000,
) -> pd.DataFrame:  # fmt: skip
    """Per text whether it is certified (`lower`, where given), robust in truth (`exact`), and
    whether it withstood the attack (`attack`).

    lower: certificates for this victim and threat model, by whatever method. Raises AssertionError,
    naming the text, unless lower ≤ exact ≤ attack for every text: then one of the three is wrong.
    """
    found = {} if lower is None else {"lower": [c.certified for c in lower]}
    found["exact"] = [c.certified for c in exact_worst(victim, texts, labels, attack, limit)]
    found["attack"] = [r.robust for r in attack(victim, texts, labels)]
    table = pd.DataFrame(found, dtype=bool)
    for small, large in zip(table.columns, table.columns[1:], strict=False):
        for i in np.flatnonzero(table[small] & ~table[large]):
            raise AssertionError(f"{small} says that text {i} is robust, and {large} that it is "
                                 f"not: {texts[i]!r}")  # fmt: skip
    return table
