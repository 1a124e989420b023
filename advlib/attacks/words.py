"""Attacks on words: real substitutions, all texts in lockstep.

`WordSubstitution()(victim, texts, labels)` returns one `WordResult` per text. All texts advance
together: each round asks the model about every candidate for one word of every text that still
stands, in full batches sorted by length. A result depends on its own text alone, not on the batch
size or on the order of the texts.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advlib.corpora import replace, words, world
from advlib.models import Classifier


@dataclass(frozen=True)
class WordResult:
    """What one attack made of one text. A failure is a result too."""

    original: str
    text: str
    label: int
    changed: tuple[int, ...]  # which words
    success: bool  # the model, right before, is wrong now
    wrong_before: bool  # the model was wrong from the start: nothing was tried
    queries: int  # texts that the model was asked about

    @property
    def robust(self) -> bool:
        """The model is right, before and after."""
        return not (self.success or self.wrong_before)

    def show(self, as_html: bool = False) -> str:
        """The text with changed words marked: `[old -> new]`, or escaped HTML."""
        old, new = words(self.original), words(self.text)
        if not as_html:
            return replace(self.original, {i: f"[{old[i]} -> {new[i]}]" for i in self.changed})
        marks = {i: f"\x00{i}\x00" for i in self.changed}
        shown = html.escape(replace(self.original, marks))
        for i, mark in marks.items():
            diff = f"<del>{html.escape(old[i])}</del> <ins>{html.escape(new[i])}</ins>"
            shown = shown.replace(mark, diff)
        return shown


@dataclass(frozen=True)
class WordSubstitution:
    """Greedy substitution from the sets that a world knows to keep the label.

    Words are ranked by how much the probability of the label falls when the word becomes the
    unknown token; then, in that order, each takes the replacement that lowers it most, if any does,
    until the model is wrong. This is the search of TextFooler (Jin et al. 2020, arXiv 1907.11932)
    with known synonyms in place of guessed ones.

    world: whose substitution sets to use.
    max_changed: the share of words that may change, 0 < max_changed ≤ 1.
    """

    world: str = "reviews"
    max_changed: float = 1.0

    def __post_init__(self):
        world(self.world)
        if not 0 < self.max_changed <= 1:
            raise ValueError(
                f"max_changed is a share, 0 < max_changed <= 1, got {self.max_changed!r}"
            )

    def __call__(
        self, victim: Classifier, texts: Sequence[str], labels: Sequence[int]
    ) -> list[WordResult]:
        """One result per text, in order. labels: the true class of each text."""
        states = [_State(world(self.world), t, y) for t, y in zip(texts, labels, strict=True)]
        self._begin(victim, states)
        self._rank(victim, [s for s in states if not s.wrong_before])
        for state in states:
            state.budget = int(self.max_changed * len(state.options))
        while live := [s for s in states if s.goes_on()]:
            self._round(victim, live)
        return [s.result() for s in states]

    def options(self, text: str) -> list[tuple[str, ...]]:
        """For each word of the text, what it may become."""
        return world(self.world).substitutes(text)

    def _begin(self, victim: Classifier, states: list[_State]) -> None:
        for state, scores in zip(states, victim.logits([s.text for s in states]), strict=True):
            state.see(scores)
            state.queries = 1
            state.wrong_before = bool(state.margin >= 0)

    def _rank(self, victim: Classifier, states: list[_State]) -> None:
        unknown = victim.tokenizer.unk_token or "?"
        places = [[i for i, o in enumerate(s.options) if o] for s in states]
        blanked = [
            replace(s.text, {i: unknown}) for s, p in zip(states, places, strict=True) for i in p
        ]
        margins = iter(
            _margins(
                victim, blanked, [s.label for s, p in zip(states, places, strict=True) for _ in p]
            )
        )
        for state, place in zip(states, places, strict=True):
            drop = {i: next(margins) for i in place}
            state.queries += len(place)
            state.order = sorted(place, key=lambda i: (-drop[i], i))

    def _round(self, victim: Classifier, live: list[_State]) -> None:
        tries = [[{**s.changes, s.order[0]: w} for w in s.options[s.order[0]]] for s in live]
        texts = [
            replace(s.original, c) for s, changes in zip(live, tries, strict=True) for c in changes
        ]
        labels = [s.label for s, changes in zip(live, tries, strict=True) for _ in changes]
        margins = iter(_margins(victim, texts, labels))
        for state, changes in zip(live, tries, strict=True):
            scores = [next(margins) for _ in changes]
            state.queries += len(changes)
            state.order.pop(0)
            best = int(np.argmax(scores))
            if scores[best] > state.margin:
                state.margin, state.changes = scores[best], changes[best]
                state.success = bool(state.margin >= 0)


class _State:
    """One text under attack."""

    def __init__(self, of, text: str, label: int):
        self.original = self.text = text
        self.label = int(label)
        self.options = of.substitutes(text)
        self.changes: dict[int, str] = {}
        self.order: list[int] = []  # words yet to try, the most important first
        self.budget = 0  # how many may change
        self.success = self.wrong_before = False
        self.queries = 0
        self.margin = -np.inf

    def goes_on(self) -> bool:
        """Whether there is a word to try next."""
        stopped = self.success or self.wrong_before or len(self.changes) >= self.budget
        return bool(self.order) and not stopped

    def see(self, scores: np.ndarray) -> None:
        self.margin = _margin(scores[None], np.array([self.label]))[0]

    def result(self) -> WordResult:
        return WordResult(
            self.original,
            replace(self.original, self.changes),
            self.label,
            tuple(sorted(self.changes)),
            self.success,
            self.wrong_before,
            self.queries,
        )


def _margins(victim: Classifier, texts: list[str], labels: list[int]) -> np.ndarray:
    return _margin(victim.logits(texts, batch_size=256), np.array(labels, dtype=int))


def _margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Best other logit minus that of the label: at least 0 where the model is wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return others.max(axis=1, initial=-np.inf) - logits[rows, labels]
