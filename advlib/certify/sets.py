"""Sets of words: which texts a threat model holds, and how many."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

from advlib.attacks.search import Constraint, State, in_part
from advlib.attacks.words import WordAttack, WordSubstitution
from advlib.corpora import World, words, world
from advlib.corpora import replace as change
from advlib.corpora.engine import Text
from advlib.models import Classifier


@dataclass(frozen=True)
class Certificate:
    """What is known of one text.

    certified: the classifier is right on every text of the threat model, for certain or, where
        samples are drawn, with confidence 1 − α for each text by itself.
    right: it is right on the text as it is (of a vote: the most votes are the label's, no proof).
    radius: in the course's unit, the L2 norm of δ over the whole text relative to the mean norm of
        a token embedding; 0 where nothing is certified, nan where the threat is a set of texts.
    samples: texts that the model was asked about. seconds: the text's share of the time.
    """

    certified: bool
    right: bool
    radius: float = math.nan
    samples: int = 1
    seconds: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class OpinionsOnly(Constraint):
    """Only words that the world's reading rule reads may change: those that carry an opinion, in
    `reviews` those whose group ends in + or −.

    With `WordSubstitution(constraints=(OpinionsOnly(),))` most texts have few enough variants to
    try them all. world: whose groups. Raises ValueError for an unknown one.
    """

    world: str = "reviews"

    def __post_init__(self):
        world(self.world)

    def keeps(self, words: Sequence[str]) -> list[bool]:
        known = world(self.world)
        return [known.group_of.get(word.lower()) not in known.telling for word in words]


@dataclass(frozen=True, repr=False)
class Neighbours(WordSubstitution):
    """Words of the same group that stand near in it: a group taken as a circle, `within` steps to
    either side. These sets overlap without being equal, as thesaurus sets of real language do."""

    within: int = 1

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.within, int) or self.within < 1:
            raise ValueError(f"within must be a whole number of at least 1, got {self.within!r}")

    def options(self, text: Text) -> list[tuple[str, ...]]:
        pairs = zip(words(text), super().options(text), strict=True)
        return [near(world(self.world), word, others, self.within) for word, others in pairs]


def near(known: World, word: str, others: Sequence[str], within: int) -> tuple[str, ...]:
    """Those of `others`, words of the same group, at most so many steps from the word."""
    if not others:
        return ()
    group = known.groups[known.group_of[word.lower()]]
    circle = sorted({word, *others}, key=lambda w: group.index(w.lower()))
    at, size = circle.index(word), len(circle)
    return tuple(w for i, w in enumerate(circle)
                 if w != word and min((i - at) % size, (at - i) % size) <= within)  # fmt: skip


# ---------------------------------------------------------------------- of an attack


def options_of(
    attack: WordAttack, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
) -> list[list[tuple[str, ...]]]:
    """For each text and each of its words, what the attack's search could put there: its options
    after its constraints' `keeps` and its `part`."""
    if attack.rank.startswith("gradient"):  # the order of a search, and here is none
        attack = replace(attack, rank=attack.ranks[0])
    texts = [t if isinstance(t, str) else tuple(t) for t in texts]
    states = [State(t, int(y), 0.0) for t, y in zip(texts, labels, strict=True)]
    attack.prepare(victim, states)
    return [state.options for state in states]


def most_of(attack: WordAttack, text: Text) -> int:
    """How many words of the text the attack may change."""
    return attack.most(sum(in_part(text, attack.part)))


def count_variants(options: Sequence[Sequence[str]], most: int | None = None) -> int:
    """How many texts `variants` gives, the text itself included, without making them: the product
    of 1 + |options| over the words, or, where at most so many words may change, the sum of the
    elementary symmetric polynomials of the |options| up to degree `most`."""
    places = sum(map(bool, options))
    most = places if most is None else min(most, places)
    changed = [1] + [0] * most  # how many texts have 0, 1, … words changed
    for found in options:
        for k in range(most, 0, -1):
            changed[k] += changed[k - 1] * len(found)
    return sum(changed)


def variants(
    text: Text, options: Sequence[Sequence[str]], most: int | None = None
) -> Iterator[Text]:
    """Every text that differs from `text` in at most `most` words (None: in any number), each word
    replaced by one of its options. The first is the text itself; fewer changes come first.

    Raises ValueError unless there are options, perhaps none, for each word.
    """
    if len(options) != len(words(text)):
        raise ValueError(f"{len(options)} sets of options for {len(words(text))} words: give one "
                         "per word, empty where it stays")  # fmt: skip
    free = [i for i, found in enumerate(options) if found]
    for k in range(1 + (len(free) if most is None else min(most, len(free)))):
        for places in combinations(free, k):
            for chosen in product(*(options[i] for i in places)):
                yield change(text, dict(zip(places, chosen, strict=True)))
