"""Stories and a sensor for the tests of the monitor, also in processes to kill: no model."""

from datetime import UTC, datetime, timedelta

import numpy as np

from examples.monitor.app import Settings
from examples.monitor.feeds import Item
from examples.monitor.sensor import Reading

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
QUICK = Settings(between=100, learn=50)


def sensor(texts: list[str]) -> list[Reading]:
    """A topic is the first word; "fell" is bad; "flel" is a near miss."""
    return [Reading(t.split()[0], "negative" if "fell" in t else "neutral", 0.9, "fell" in t,
                    "flel" in t) for t in texts]  # fmt: skip


def stories(hits: list[str], source: str = "s", begin: int = 0, topic: str = "banks") -> list[Item]:
    """One item a minute; no two of them resemble each other."""
    start = NOW - timedelta(days=3)
    words = [[f"w{j}x{k}" for k in range(9)] for j in range(begin, begin + len(hits))]
    return [Item(source, str(j), start + timedelta(minutes=j), f"{topic} {hit} {' '.join(w)}")
            for j, (hit, w) in enumerate(zip(hits, words, strict=True), begin)]  # fmt: skip


def calm(n: int, p: float = 0.1, seed: int = 0) -> list[str]:
    return ["fell" if x else "rose" for x in np.random.default_rng(seed).random(n) < p]
