"""Parts of an assistant that answers from past questions.

fold, match_query     a text as it is indexed, and a query that its user cannot break
trigrams, similarity  how much of their letters two texts have in common
mean_pool             one vector for a text, padding left out
fuse                  several rankings made one
vote                  what sources say, each with one vote
threshold_for         from which confidence on to answer
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

MOST_TOKENS = 300  # of a query: its time grows with them, and a user chooses the text


def fold(text: str) -> str:
    """The text's words in lower case, a space between them, without anything else: as both stored
    questions and queries are read, so that a comma changes no letters."""
    return " ".join(re.findall(r"\w+", text.lower()))


def trigrams(text: str) -> list[str]:
    """All runs of three characters of the folded text, each once, in their order."""
    folded = fold(text)
    return list(dict.fromkeys(folded[i : i + 3] for i in range(len(folded) - 2)))


def match_query(text: str, tokenize: str = "trigram") -> str:
    """An FTS5 query for rows that share any token with the text: `"car" OR "ard"`.

    tokenize: "trigram", or "words" for FTS5's other tokenizers. The row with most and rarest tokens
        in common comes first with `ORDER BY rank`. Only the first 300 tokens count.

    FTS5 has a query language: quotes, *, ^, -, NEAR, AND, names of columns. Here every token is
    letters, digits and spaces within quotes, so nothing of a user's text is ever read as a part of
    it; and the query is a value in SQL (`MATCH ?`). A text without a token gives `""`, which finds
    nothing.
    Source: https://sqlite.org/fts5.html, "FTS5 Strings". Raises ValueError for another `tokenize`.
    """
    if tokenize not in ("trigram", "words"):
        raise ValueError(f"tokenize is 'trigram' or 'words', got {tokenize!r}")
    found = trigrams(text) if tokenize == "trigram" else list(dict.fromkeys(fold(text).split()))
    return " OR ".join(f'"{token}"' for token in found[:MOST_TOKENS]) or '""'


def similarity(a: str, b: str) -> float:
    """2·|A ∩ B| / (|A| + |B|) of the trigrams of both texts: 1 where they are the same, 0 where
    none is (Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26,
    1945)."""
    first, second = set(trigrams(a)), set(trigrams(b))
    both = len(first) + len(second)
    return 2 * len(first & second) / both if both else 0.0


def mean_pool(hidden, mask) -> np.ndarray:
    """(batch, hidden) the mean of each text's token vectors, padding left out.

    hidden: (batch, tokens, hidden), an encoder's last hidden state. mask: (batch, tokens), 1 for a
    token and 0 for padding, whose vectors may be anything. Raises ValueError for other shapes and
    for a text without a token.
    """
    hidden, real = np.asarray(hidden), np.asarray(mask).astype(bool)
    if hidden.ndim != 3 or real.shape != hidden.shape[:2]:
        raise ValueError("hidden is (batch, tokens, hidden) and mask (batch, tokens): got "
                         f"{hidden.shape} and {real.shape}")  # fmt: skip
    if not real.any(1).all():
        raise ValueError("a text without a token has no mean: its mask is all 0")
    kept = np.where(real[..., None], hidden, 0)  # not `hidden * mask`: padding may hold NaN
    return kept.sum(1) / real.sum(1)[:, None]


def fuse(rankings: Iterable[Sequence[Hashable]], k: float = 60) -> list[tuple[Hashable, float]]:
    """(item, score) for every item that is in any ranking, the highest score first: the sum of
    1 / (k + its place) over the rankings that hold it, places counted from 1.

    rankings: each the best first. Only places count, so scores of different kinds need no scale. Of
        equal scores the one that was seen first stands first.

    Reciprocal rank fusion: Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms
    Condorcet and individual Rank Learning Methods", SIGIR 2009. Raises ValueError for k < 0 and for
    a ranking that holds an item twice.
    """
    if not k >= 0:
        raise ValueError(f"k is 0 or more, got {k!r}")
    scores: Counter[Hashable] = Counter()
    for ranking in rankings:
        if len(set(ranking)) < len(ranking):
            raise ValueError(f"a ranking holds an item twice: {list(ranking)!r}")
        for place, item in enumerate(ranking, 1):
            scores[item] += 1 / (k + place)
    return scores.most_common()


def vote(
    said: Iterable[tuple[Hashable, Hashable, float]],
) -> list[tuple[Hashable, float]]:
    """(answer, weight) for every answer, the heaviest first: the sum, over the sources that gave
    it, of each one's best score.

    said: (answer, source, score), with scores above 0. A source that says a thing a hundred times
        has said it once, so rows are worth nothing and a second source is. Whoever can be many
        sources still wins: say who may be one. Of equal weights the one seen first stands first.

    Raises ValueError for a score that is not above 0.
    """
    best: dict[tuple[Hashable, Hashable], float] = {}
    for answer, source, score in said:
        if not score > 0:
            raise ValueError(f"a score lies above 0, got {score!r}")
        best[answer, source] = max(score, best.get((answer, source), 0.0))
    weights: Counter[Hashable] = Counter()
    for (answer, _), score in best.items():
        weights[answer] += score
    return weights.most_common()


def threshold_for(confidence: Sequence[float], correct: Sequence[bool], most_wrong: float) -> float:
    """The lowest confidence from which on at most a share `most_wrong` of the answers is wrong, so
    that as many as possible are given; infinite where there is none: all texts go to a person.

    confidence, correct: (n,), of texts that the model was not trained on. It holds for these texts:
        new ones are wrong a little more often, for the lowest of many thresholds was chosen, and
        under an attack nothing promises anything.

    A point of `advlib.fairness.risk_coverage`, which raises ValueError for shapes that differ; so
    does a share outside [0, 1].
    """
    from advlib.fairness import risk_coverage  # with PyTorch, which a search needs nothing of

    if not 0 <= most_wrong <= 1:
        raise ValueError(f"most_wrong is a share, 0 to 1, got {most_wrong!r}")
    thresholds, _, risk = risk_coverage(confidence, correct)
    allowed = thresholds[risk <= most_wrong]
    return float(allowed.min()) if len(allowed) else math.inf
