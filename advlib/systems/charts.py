"""Control charts for a stream of yes and no: when has "bad news" become more frequent than usual?

An item is 1 (the sensor says bad news) or 0. A chart turns the items into one number after each,
and raises an alarm when that number reaches a threshold. Two charts:

    Cusum   cumulative sum of log-likelihood ratios, never below 0      Page 1954
    Ewma    exponentially weighted moving average                       Roberts 1959

Charts can only be compared where they give equally many false alarms: `calibrate` finds the
threshold that lets a stated number of items pass between two of them, on the average. Where m
charts watch the same items, ask each for m times as many (Bonferroni): then all of them together
give no more false alarms than one would.

`NearMiss` is a second thing to watch, for a sensor that somebody blinds with typos, and the
functions around `resemblance` find one story that comes under several names.

Sources: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954) 100-115. S. W. Roberts,
Control chart tests based on geometric moving averages, Technometrics 1 (1959) 239-250. A. Z.
Broder, On the resemblance and containment of documents, Proceedings of Compression and Complexity
of Sequences (1997) 21-29.
"""

from __future__ import annotations

import math
import re
import zlib
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

# ---------------------------------------------------------------------- charts


@dataclass(frozen=True)
class Cusum:
    """S = max(0, S + log p1/p0) after a 1, S = max(0, S + log (1-p1)/(1-p0)) after a 0.

    S is the largest log-likelihood ratio of "the rate rose from p0 to p1, some items ago" over all
    such points, and 0 where none speaks for a rise.

    p0: how often an item is 1 in calm times. p1: the rate to be found fast; other rates above p0
        are found too, a little later.
    Raises ValueError unless 0 < p0 < p1 < 1.
    """

    p0: float
    p1: float

    start = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.p0 < self.p1 < 1:
            raise ValueError(f"need 0 < p0 < p1 < 1, got p0={self.p0!r}, p1={self.p1!r}")

    @property
    def up(self) -> float:
        """What a 1 adds."""
        return math.log(self.p1 / self.p0)

    @property
    def down(self) -> float:
        """What a 0 adds, a number below 0."""
        return math.log((1 - self.p1) / (1 - self.p0))

    def step(self, s, x):
        """The statistic after item x; s and x may be arrays of one shape, x in 0..1."""
        return np.maximum(0.0, s + x * self.up + (1 - x) * self.down)


@dataclass(frozen=True)
class Ewma:
    """Z = Z + lam·(x − Z): the mean of all items, the last ones counting most. Begins at p0.

    lam: the weight of the newest item; about 2/lam − 1 items count.
    Raises ValueError unless 0 < p0 < 1 and 0 < lam <= 1.
    """

    p0: float
    lam: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.p0 < 1 and 0 < self.lam <= 1):
            raise ValueError(f"need 0 < p0 < 1 and 0 < lam <= 1, got {self!r}")

    @property
    def start(self) -> float:
        return self.p0

    @property
    def variance(self) -> float:
        """Of Z in calm times, after many items: lam/(2 − lam) · p0(1 − p0)."""
        return self.lam / (2 - self.lam) * self.p0 * (1 - self.p0)

    def step(self, s, x):
        """The statistic after item x; s and x may be arrays of one shape, x in 0..1."""
        return s + self.lam * (x - s)


Chart = Cusum | Ewma


def path(chart: Chart, items: np.ndarray) -> np.ndarray:
    """The statistic after each item, as if no alarm stopped it. items, result: (…, items)."""
    items = np.asarray(items, dtype=float)
    out = np.empty_like(items)
    s = np.full(items.shape[:-1], chart.start)
    for k in range(items.shape[-1]):
        out[..., k] = s = chart.step(s, items[..., k])
    return out


def delays(statistic: np.ndarray, threshold: float) -> np.ndarray:
    """(…,) how many items passed up to the alarm, the one that raised it counted; inf where the
    stream ended before. statistic: (…, items). Say how many are inf: a median hides them."""
    reached = statistic >= threshold
    return np.where(reached.any(-1), reached.argmax(-1) + 1.0, np.inf)


# ---------------------------------------------------------------------- thresholds


def calibrate(chart: Chart, p0: float, between: float, runs: int = 1000, seed: int = 0) -> float:
    """The lowest threshold with at least `between` items between false alarms on the average, by
    simulating calm streams. With 1,000 runs the mean is known to about 3 %.

    All thresholds are tried on the same streams: only where a stream reaches a new height can a
    higher threshold be passed, so the heights are all that is kept.

    p0: the calm rate, usually the chart's own. Raises ValueError where no item was ever 1.
    """
    if not between >= 1:
        raise ValueError(f"between counts items and is at least 1, got {between!r}")
    rng = np.random.default_rng(seed)
    longest = math.ceil(5 * between)
    s = np.full(runs, chart.start)
    top = s.copy()
    when, who, height = [], [], []
    for k in range(1, longest + 1):
        s = chart.step(s, rng.random(runs) < p0)
        (new,) = np.nonzero(s > top)
        if new.size:
            top[new] = s[new]
            when.append(np.full(new.size, k))
            who.append(new)
            height.append(s[new])
    if not height:
        raise ValueError(f"at a rate of {p0!r} no item is 1 within {longest} items: nothing to set")
    when, who, height = (np.concatenate(part) for part in (when, who, height))

    def mean(threshold: float) -> float:
        passed = height >= threshold
        first = np.full(runs, longest)
        np.minimum.at(first, who[passed], when[passed])
        return first.sum() / np.unique(who[passed]).size

    levels = np.unique(height.round(9))  # rounded: equal sums differ in their last digits
    middle = (levels + np.concatenate([[chart.start], levels[:-1]])) / 2
    return float(middle[bisect_left(middle, between, hi=len(middle) - 1, key=mean)])


def fakes_needed(chart: Chart, threshold: float, at: float | None = None) -> int:
    """The least number of invented bad items in a row that raise an alarm, from the statistic `at`
    (None: from where the chart starts).

    For Cusum it is (threshold − at) / log(p1/p0), rounded up. Raises ValueError for a threshold
    that no number of items reaches, such as 1 or more with Ewma.
    """
    s = chart.start if at is None else at
    for k in range(100_000):
        if s >= threshold:
            return k
        s = float(chart.step(s, 1.0))
    raise ValueError(f"no number of items takes {chart!r} to {threshold!r}")


# ---------------------------------------------------------------------- a second thing to watch

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORD = re.compile(r"[^\W\d_]+")  # letters of any script


def undone(word: str, slip: str) -> Iterator[str]:
    """All words of which `word` may be a slip of this kind."""
    places = range(len(word))
    if slip == "swap":  # two neighbours changed places
        return (word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in places[:-1])
    if slip == "insert":  # there is a letter too many
        return (word[:i] + word[i + 1 :] for i in places)
    if slip == "drop":  # a letter is missing
        return (word[:i] + c + word[i:] for i in range(len(word) + 1) for c in LETTERS)
    if slip == "key":  # a letter is another one
        return (word[:i] + c + word[i + 1 :] for i in places for c in LETTERS)
    raise ValueError(f"unknown slip {slip!r}: choose some of swap, insert, drop, key")


@dataclass(frozen=True)
class NearMiss:
    """Has a text a word that is not known, and is one slip away from a known one?

    Rare in calm times and frequent where somebody hides words from a sensor by typos. "Has a word
    that is not known" would be a poor thing to watch: names of companies are not known either.

    vocabulary: the known words, in small letters. slips: which ones are undone; more of them find
        more attacks and more innocent words, such as a plural that is not in the vocabulary.
    shortest: known words with fewer letters are left alone.

        watch = NearMiss({"profit", "fell"})
        watch("The proift fell")   # True
    """

    vocabulary: frozenset[str] = field(repr=False)
    slips: tuple[str, ...] = ("swap",)
    shortest: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", frozenset(self.vocabulary))
        for slip in self.slips:
            next(undone("word", slip))

    def misses(self, text: str) -> list[str]:
        """The words that are near misses, in small letters."""
        return [word for word in WORD.findall(text.lower()) if self.meant(word)]

    def meant(self, word: str) -> str | None:
        """A known word of which this one is a slip; None where there is none, or it is known."""
        if len(word) < self.shortest - 1 or word in self.vocabulary:
            return None
        found = (known for slip in self.slips for known in undone(word, slip)
                 if len(known) >= self.shortest and known in self.vocabulary)  # fmt: skip
        return next(found, None)

    def __call__(self, text: str) -> bool:
        return bool(self.misses(text))


# ---------------------------------------------------------------------- one story, told twice

PRIME = 2**31 - 1  # products of two numbers below it fit into 64 bits


def shingles(text: str) -> set[str]:
    """The words and numbers of a text, in small letters; one empty word where there are none."""
    return set(re.findall(r"\w+", text.lower())) or {""}


def resemblance(one: str, other: str) -> float:
    """Shingles that both have / shingles that one of them has (Broder 1997): 1 for equal sets."""
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


def minhash(text: str, hashes: int = 64) -> np.ndarray:
    """(hashes,) the least value that each of so many random functions takes on the shingles. Two
    texts agree in each place with a probability that is their resemblance."""
    numbers = np.array([zlib.crc32(s.encode()) % PRIME for s in shingles(text)], np.int64)
    rng = np.random.default_rng(0)  # the same functions for every text
    a, b = rng.integers(1, PRIME, (2, hashes, 1))
    return ((a * numbers + b) % PRIME).min(axis=1)


def near_duplicate_keys(text: str, bands: int = 20, rows: int = 3) -> list[str]:
    """Keys such that near-duplicates very likely share one, so that an index finds them: the places
    of `minhash` in bands of `rows`. At a resemblance r one is shared with probability
    1 − (1 − r^rows)^bands: 0.93 at 0.5, 0.15 at 0.2. Check what you find with `near_duplicate`."""
    signature = minhash(text, bands * rows).reshape(bands, rows)
    return [f"{i}:{zlib.crc32(row.tobytes()):08x}" for i, row in enumerate(signature)]


def details(text: str, common: frozenset[str] = frozenset()) -> set[str]:
    """The numbers and names of a text: words with a digit, and capitalised words that are not
    `common` ones (in small letters), as a word at the beginning may be."""
    return {w.lower() for w in re.findall(r"\w+", text)
            if any(c.isdigit() for c in w) or w[0].isupper() and w.lower() not in common}


def near_duplicate(
    one: str, other: str, least: float = 0.5, common: frozenset[str] = frozenset()
) -> bool:
    """Whether two texts have a resemblance of at least `least` and the same `details`.

    It says nothing about meaning: "profit rose" and "profit fell" resemble each other too.
    """
    return details(one, common) == details(other, common) and resemblance(one, other) >= least


def duplicates(
    texts: Iterable[str], least: float = 0.5, common: frozenset[str] = frozenset()
) -> list[int]:
    """For each text the number of the first text that it nearly repeats, or its own."""
    texts, first = list(texts), []
    index: dict[str, list[int]] = defaultdict(list)
    for i, text in enumerate(texts):
        keys = near_duplicate_keys(text)
        found = sorted({j for key in keys for j in index[key]})
        same = (first[j] for j in found if near_duplicate(text, texts[j], least, common))
        first.append(next(same, i))
        for key in keys:
            index[key].append(i)
    return first
