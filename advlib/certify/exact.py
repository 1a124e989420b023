"""The exact worst case: by asking about every variant, or by giving all variants one form."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from advlib.attacks.search import TIE, changed_parts
from advlib.attacks.words import WordAttack, WordSubstitution
from advlib.certify.sets import Certificate, count_variants, most_of, options_of, variants
from advlib.corpora import replace as change
from advlib.corpora import words, world
from advlib.corpora.engine import Text, article, parts_of
from advlib.evaluation import NothingToTry, answers
from advlib.models import Classifier

AT_ONCE = 20_000  # variants whose answers are remembered at a time
SHOWN = 40  # characters of a text in a message


@dataclass(frozen=True)
class ExactWorst:
    """Every text that an attack on words could make, asked about: the exact worst case.

    attack: whose threat model. Its options, the `keeps` and `allows` of its constraints, its
        `max_changed`, `part` and `goal` count; how it searches (`rank`, `beam`, `max_queries`)
        does not. A score within 1e-5 of success counts as success: passes in another batch differ
        that much. With a goal of your own, "certified" means right and the goal never reached.
    limit: the most variants of a text. More raise ValueError before the model is asked.

    Raises NothingToTry where no word of any text may change.
    """

    bound: ClassVar[str] = "exact"
    classifier: ClassVar[str] = "itself"

    attack: WordAttack = WordSubstitution()
    limit: int = 2000

    def __post_init__(self):
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit!r}")

    @property
    def threat(self) -> str:
        return repr(self.attack)

    def counts(self, victim: Classifier, texts: Sequence[Text], labels=None) -> list[int]:
        """How many variants each text has. labels: for an attack that asks for gradients."""
        labels = [0] * len(texts) if labels is None else labels
        found = options_of(self.attack, victim, texts, labels)
        return [count_variants(o, most_of(self.attack, t))
                for t, o in zip(texts, found, strict=True)]  # fmt: skip

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        labels = victim.classes(texts, labels).tolist()
        options = options_of(self.attack, victim, texts, labels)
        if texts and not any(map(any, options)):
            raise NothingToTry(self.attack)
        groups, size = [[]], 0
        for text, y, found in zip(texts, labels, options, strict=True):
            count = count_variants(found, most_of(self.attack, text))
            if count > self.limit:
                shown = " ‖ ".join(parts_of(text))[:SHOWN]
                raise ValueError(
                    f"the text {shown!r}… has {count:,} variants, more than limit={self.limit:,}: "
                    "raise the limit, let fewer words change (a smaller max_changed, or "
                    "constraints=(OpinionsOnly(),)), or certify by a vote (SmoothedWords)"
                )
            size += count
            if size > AT_ONCE:
                groups, size = [*groups, []], count
            groups[-1].append((text, y, found))
        return [one for group in groups if group for one in self._together(victim, group)]

    def _together(self, victim: Classifier, jobs: list) -> list[Certificate]:
        """Some texts; a variant of two of them is asked about once."""
        start, out = time.perf_counter(), []
        made = [self._fair(victim, text, found) for text, _, found in jobs]
        asked = list(dict.fromkeys(text for some in made for text in some))
        place = {text: k for k, text in enumerate(asked)}
        logits = victim.logits(asked)
        for some, (_, y, _) in zip(made, jobs, strict=True):
            z, labels = logits[[place[text] for text in some]], np.full(len(some), y)
            right = bool(answers(z[:1], labels[:1])[0] == y)
            out.append((right and bool(self.attack.goal.score(z, labels).max() < -TIE), right))
        each = (time.perf_counter() - start) / sum(map(len, made))
        return [Certificate(*found, samples=len(some), seconds=each * len(some))
                for found, some in zip(out, made, strict=True)]  # fmt: skip

    def _fair(self, victim: Classifier, text: Text, options) -> list[Text]:
        """The text and those of its variants that the constraints allow."""
        first, *found = dict.fromkeys(variants(text, options, most_of(self.attack, text)))
        for constraint in self.attack.constraints:
            pairs = [(new, pair) for new in found for pair in changed_parts(text, new)]
            fair = constraint.allows(victim, [pair for _, pair in pairs])
            unfair = {new for (new, _), ok in zip(pairs, fair, strict=True) if not ok}
            found = [new for new in found if new not in unfair]
        return [first, *found]


def exact_worst(
    victim: Classifier, texts: Sequence[Text], labels: Sequence[int],
    attack: WordAttack | None = None, limit: int = 2000,
) -> list[Certificate]:  # fmt: skip
    """`ExactWorst(attack, limit)` in one call; attack=None is `WordSubstitution()`."""
    return ExactWorst(attack or WordSubstitution(), limit)(victim, texts, labels)


# ---------------------------------------------------------------------- one form for all


def canonical_text(text: Text, name: str = "reviews") -> Text:
    """Every word that a world knows becomes the first of its group, or behind a/an the first of the
    same initial sound, with a capital where it had one. So all texts that `World.substitutes` leads
    to have one form: which group, which article and which capital are what it leaves alone."""
    if not isinstance(text, str):
        return tuple(canonical_text(part, name) for part in parts_of(text))
    known, changes, before = world(name), {}, ""
    for i, word in enumerate(words(text)):
        group = known.groups.get(known.group_of.get(word.lower(), ""), ())
        if before in ("a", "an"):
            group = [w for w in group if article(w) == before]
        if group:
            changes[i] = group[0].capitalize() if word[0].isupper() else group[0]
        before = word.lower()
    return change(text, changes)


def canonical(victim: Classifier, name: str = "reviews") -> Classifier:
    """The same model, which reads every text in the canonical form of a world (Jones et al., RobEn,
    ACL 2020, arXiv 2005.01229, with the world's groups for clusters).

    No substitution that the world knows changes what it says. It stands and falls with the sets
    being equivalence classes: where "good" may become "fine" and "fine" "sunny", but "good" not
    "sunny", one form for all would erase differences that count.
    Raises ValueError for an unknown world.
    """
    world(name)
    return replace(victim, read=partial(canonical_text, name=name))


@dataclass(frozen=True)
class Canonical:
    """The canonical form of a world before the model: one pass certifies all variants, exactly.

    Raises ValueError for an unknown world, NothingToTry where it knows no word of any text.
    """

    bound: ClassVar[str] = "lower"
    classifier: ClassVar[str] = "canonical forms"

    world: str = "reviews"

    def __post_init__(self):
        world(self.world)

    @property
    def threat(self) -> str:
        return repr(WordSubstitution(world=self.world))

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        start, labels = time.perf_counter(), victim.classes(texts, labels)
        attack = WordSubstitution(world=self.world)
        if texts and not any(any(attack.options(text)) for text in texts):
            raise NothingToTry(attack)
        logits = victim.logits([canonical_text(text, self.world) for text in texts])
        right = (answers(logits, labels) == labels).tolist()
        seconds = (time.perf_counter() - start) / max(1, len(right))
        return [Certificate(r, r, seconds=seconds) for r in right]
