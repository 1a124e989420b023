"""What lesson 16 uses and does not teach: questions, slips of the fingers, a greedy attacker, a
speller, and a count by intent."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from advlib.attacks.words import misspellings
from advlib.corpora import replace, words, world
from advlib.systems.retrieval import fold, trigrams

BANK = world("bank")
KINDS = ("swap", "drop", "insert", "key")
ASIDE = {"but", "although", "however", "while"}  # what tells of another thing as well


@dataclass(frozen=True)
class Questions:
    """texts, and the number of each one's intent (n,)."""

    texts: list[str]
    intents: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, n: int) -> Questions:
        return Questions(self.texts[:n], self.intents[:n])

    def written(self, texts: Sequence[str]) -> Questions:
        """The same questions in other words."""
        return Questions(list(texts), self.intents)


def questions(n: int, split: str, seed: int) -> Questions:
    """Questions of the world `bank`."""
    made = BANK.sample(n, split, seed=seed)
    return Questions([r.text for r in made], np.array([r.label for r in made]))


def typos(text: str, per_kind: int = 1) -> list[tuple[str, ...]]:
    """For each word, what one slip of the fingers makes of it; first and last letter stay."""
    return [misspellings(word, KINDS, per_kind) for word in words(text)]


def slipped(text: str, seed: int, share: float = 0.3) -> str:
    """The text with a slip in a share of its words, drawn at random."""
    rng, options = random.Random(f"{seed} {text}"), typos(text, 2)
    places = [i for i, several in enumerate(options) if several]
    drawn = rng.sample(places, min(len(places), max(1, round(share * len(options)))))
    return replace(text, {i: rng.choice(options[i]) for i in drawn})


def attacked(predict: Callable, asked: Questions, options: Callable, changed: int = 2) -> list[str]:
    """Greedy, all texts at once: of all versions with one more word changed, the one with the
    least margin of the true intent, until another intent wins or `changed` words are changed.
    predict: texts -> (n, intents), probabilities. options: text -> for each word its versions."""
    texts = list(asked.texts)
    best, done = _margins(predict, texts, asked.intents), [set() for _ in texts]
    for _ in range(changed):
        tried = [(j, i, replace(texts[j], {i: new}))
                 for j in np.flatnonzero(best > 0) for i, several in enumerate(options(texts[j]))
                 if i not in done[j] for new in several]  # fmt: skip
        if not tried:
            break
        owner = np.array([j for j, _, _ in tried])
        margins = _margins(predict, [text for _, _, text in tried], asked.intents[owner])
        for j in np.unique(owner):
            own = np.flatnonzero(owner == j)
            k = own[margins[own].argmin()]
            if margins[k] < best[j]:
                best[j], texts[j] = margins[k], tried[k][2]
                done[j].add(tried[k][1])
    return texts


def _margins(predict: Callable, texts: list[str], intents: np.ndarray) -> np.ndarray:
    p, rows = np.array(predict(texts)), np.arange(len(texts))
    right = p[rows, intents].copy()
    p[rows, intents] = -1
    return right - p.max(1)


class Speller:
    """Letters in front: each word that stands in none of `texts` becomes the nearest one that does,
    by pairs of letters (Dice), where any is near enough."""

    def __init__(self, texts: Sequence[str], near: float = 0.5):
        self.known = sorted({word for text in texts for word in fold(text).split()})
        self.pairs = [_pairs(word) for word in self.known]
        self.near, self.seen = near, {word: word for word in self.known}

    def word(self, word: str) -> str:
        if word not in self.seen:
            mine = _pairs(word)
            likeness = [2 * len(mine & other) / (len(mine) + len(other)) for other in self.pairs]
            best = int(np.argmax(likeness))
            self.seen[word] = self.known[best] if likeness[best] >= self.near else word
        return self.seen[word]

    def __call__(self, text: str) -> str:
        return replace(text, {i: self.word(word.lower()) for i, word in enumerate(words(text))
                              if len(word) > 3 and fold(word) == word.lower()
                              and self.word(word.lower()) != word.lower()})  # fmt: skip


def _pairs(word: str) -> set[str]:
    word = f"^{word}$"
    return {word[i : i + 2] for i in range(len(word) - 1)}


def worst_intents(right: np.ndarray, intents: np.ndarray, n: int = 3) -> list[tuple[str, int, int]]:
    """(intent, right, questions) of those with the lowest shares of right answers."""
    rows = [(BANK.labels[k], int(right[intents == k].sum()), int((intents == k).sum()))
            for k in np.unique(intents)]  # fmt: skip
    return sorted(rows, key=lambda row: row[1] / row[2])[:n]


def short_questions(n: int, split: str, seed: int, most: int = 11) -> Questions:
    """So many questions of at most `most` words that tell of one thing alone, n / 28 an intent."""
    per, kept = n // len(BANK.labels), {label: [] for label in range(len(BANK.labels))}
    for made in BANK.sample(12 * n, split, seed=seed):
        if len(words(made.text)) <= most and not ASIDE & set(fold(made.text).split()):
            kept[made.label] += [made] * (len(kept[made.label]) < per)
    rows = [made for turn in zip(*kept.values(), strict=True) for made in turn]
    return Questions([r.text for r in rows], np.array([r.label for r in rows]))


def likeness(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """(a, b): the library's `similarity` of each text with each, all at once."""
    from sklearn.feature_extraction.text import CountVectorizer

    count = CountVectorizer(analyzer=trigrams, binary=True, dtype=np.float32)
    found = count.fit_transform([*a, *b])
    first, second = found[: len(a)], found[len(a) :]
    size = np.asarray(first.sum(1)) + np.asarray(second.sum(1)).T
    return 2 * (first @ second.T).toarray() / np.maximum(size, 1)
