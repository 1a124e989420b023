"""Rankings: how good one is, who is seen in it, and a seller who rewords a text to climb.

A ranker gives every user a score for every item, (users, items); a higher score stands further up.
Where scores are equal a page has to break the tie, and what is counted here is the mean over all
ways to do so: a ranker that scores everything alike earns what chance earns, whatever order the
items happened to be in.

A seller can change nothing but the text of one item, and there are three different things:

    reword    other words that mean the same: `promote`, whose control is `reword_at_random`
    stuff     bare words added that say nothing: `extend` with words
    lie       sentences added that are not true: `extend` with sentences

Only the first can be defended against by invariance. A lie changes what the text says.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from advlib.corpora import replace, words

Score = Callable[[list[str]], Sequence[float]]  # texts of one item -> what each would earn


# ---------------------------------------------------------------------- how good, and who is seen


def expected_weight(scores: np.ndarray, weights: Sequence[float]) -> np.ndarray:
    """(users, items): the weight of the place that each item stands on; of items whose scores are
    equal, the mean weight of the places that they share.

    weights: of the first place, of the second, …; places behind them weigh 0.
    Raises ValueError for scores that are no (users, items), and for nan.
    """
    scores = np.asarray(scores, float)
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores are (users, items), got the shape {scores.shape}")
    if np.isnan(scores).any():
        raise ValueError("a score is nan: give -inf to an item that must not be shown")
    users, items = scores.shape
    weights = np.asarray(weights, float)[:items]
    total = np.cumsum(np.pad(weights, (1, items - len(weights))))  # of the first j places
    out = np.empty((users, items))
    for row, own in zip(out, scores, strict=True):
        _, group, size = np.unique(-own, return_inverse=True, return_counts=True)
        end = np.cumsum(size)  # the places of a group of ties: end − size … end − 1
        row[:] = ((total[end] - total[end - size]) / size)[group]
    return out


def ndcg(relevance: np.ndarray, scores: np.ndarray, k: int = 10) -> np.ndarray:
    """(users,) normalised discounted cumulative gain of the first k (Järvelin and Kekäläinen 2002,
    ACM TOIS 20(4)): the sum of relevance / log2(1 + place), over that of the best order. With ties
    by McSherry and Najork 2008 (ECIR). 1 is the best order; k may exceed the number of items.

    relevance: (users, items), at least 0. A user to whom nothing is relevant gets nan, for no order
    is better than another: take `np.nanmean`.
    Raises ValueError for other shapes, a negative relevance, and k below 1.
    """
    relevance, scores = np.asarray(relevance, float), np.asarray(scores, float)
    if relevance.shape != scores.shape:
        raise ValueError(f"relevance {relevance.shape} and scores {scores.shape} differ in shape")
    if not (relevance >= 0).all():
        raise ValueError("relevance is at least 0")
    discount = 1 / np.log2(2 + np.arange(_first(k)))
    gain = (relevance * expected_weight(scores, discount)).sum(1)
    best = (relevance * expected_weight(relevance, discount)).sum(1)
    return np.divide(gain, best, out=np.full(len(best), np.nan), where=best > 0)


def seen(scores: np.ndarray, k: int = 10) -> np.ndarray:
    """(users, items): whether the item is among the user's first k, 1 or 0; between them only where
    a tie lies across the k-th place. Each row sums to k, or to the number of items."""
    return expected_weight(scores, np.ones(_first(k)))


def exposure(scores: np.ndarray, items: Sequence[int], k: int = 10) -> np.ndarray:
    """(len(items),): the share of users who see each of these items among their first k. Items are
    columns of `scores`. Raises ValueError where one is none."""
    columns = np.asarray(items, int)
    if columns.size and not (0 <= columns.min() and columns.max() < np.shape(scores)[1]):
        raise ValueError(f"items are columns 0 to {np.shape(scores)[1] - 1} of scores, got {items}")
    return seen(scores, k).mean(0)[columns]


def _first(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k!r}")
    return int(k)


# ---------------------------------------------------------------------- a seller at work


@dataclass(frozen=True)
class Promotion:
    """What a seller made of a text. before, after: what the two texts earn. changed: which words of
    the original, none where text was added. asked: of how many texts the score was taken."""

    original: str
    text: str
    before: float
    after: float
    changed: tuple[int, ...] = ()
    asked: int = 1


def promote(
    score: Score, text: str, options: Sequence[Sequence[str]], most: int | None = None
) -> Promotion:
    """The wording that earns more: greedy, word by word.

    First each replacement is tried alone. Then the words take turns, the most rewarding first: each
    gets the option that earns most together with those before it, or stays. So the score never
    falls, and texts are asked about twice at most for each option.

    score: what texts in place of this one would earn, say the mean score over all users.
    options: for each word what may stand there, such as `World.substitutes(text)`.
    most: so many words may change (None: all). Raises ValueError unless there are options, perhaps
    none, for each word, and for most below 0.
    """
    most = _checked(text, options, most)
    places = [i for i, found in enumerate(options) if found]
    tries = [(i, new) for i in places for new in options[i]]
    before, *alone = map(float, score([text] + [replace(text, {i: new}) for i, new in tries]))
    worth = dict.fromkeys(places, before)
    for (i, _), earned in zip(tries, alone, strict=True):
        worth[i] = max(worth[i], earned)
    chosen, best, asked = {}, before, 1 + len(tries)
    for i in sorted(places, key=worth.get, reverse=True):
        if len(chosen) == most:
            break
        earned = score([replace(text, chosen | {i: new}) for new in options[i]])
        asked += len(options[i])
        top = int(np.argmax(earned))
        if earned[top] > best:
            chosen, best = chosen | {i: options[i][top]}, float(earned[top])
    return Promotion(text, replace(text, chosen), before, best, tuple(sorted(chosen)), asked)


def reword_at_random(
    text: str, options: Sequence[Sequence[str]], number: int, seed: int = 0
) -> str:
    """The control of `promote`: as many words (or all that have options, where those are fewer)
    become one of their options, without looking at any score."""
    _checked(text, options, number)
    rng = random.Random(seed)
    places = [i for i, found in enumerate(options) if found]
    drawn = rng.sample(places, min(number, len(places)))
    return replace(text, {i: rng.choice(options[i]) for i in drawn})


def extend(
    score: Score, text: str, additions: Sequence[str], most: int, between: str = "\n"
) -> Promotion:
    """Put additions behind the text, one after the other, each time the one that earns most; stop
    where none earns more. Bare words with between=" " are keyword stuffing; sentences that the item
    does not deserve are lies. Raises ValueError for most below 0."""
    if most < 0:
        raise ValueError(f"most must be at least 0, got {most!r}")
    left, found = list(additions), text
    before = best = float(score([text])[0])
    asked = 1
    for _ in range(min(most, len(left))):
        earned = score([found + between + new for new in left])
        asked += len(left)
        top = int(np.argmax(earned))
        if earned[top] <= best:
            break
        found, best = found + between + left.pop(top), float(earned[top])
    return Promotion(text, found, before, best, asked=asked)


def _checked(text: str, options: Sequence[Sequence[str]], most: int | None) -> int:
    if len(options) != len(words(text)):
        raise ValueError(f"{len(options)} sets of options for {len(words(text))} words: give one "
                         "per word, empty where it stays")  # fmt: skip
    if most is not None and most < 0:
        raise ValueError(f"most must be at least 0, got {most!r}")
    return len(options) if most is None else most
