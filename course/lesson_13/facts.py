"""What the world `reviews` knows: labels, causes, opposites, months.

The words of a text are counted as `words(text)` gives them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import torch
from torch import Tensor

from advlib.corpora import replace, words, world

WORLD = world("reviews")
MONTHS = WORLD.groups["month"]


def reads(text: str) -> int | None:
    """The label that the world's reading rule gives, or None where it finds none."""
    try:
        return WORLD.label(text)
    except ValueError:
        return None


def sign(word: str) -> str:
    """"+" for a word of praise, "-" for one of blame, "" for any other."""
    group = WORLD.group_of.get(word.lower(), "")
    return group[-1:] if group[-1:] in ("+", "-") else ""


def opposites(text: str, each: int = 1) -> list[tuple[str, ...]]:
    """For each word, what would say the opposite: for an opinion word some of the opposite group,
    for a negator nothing at all (the empty word). Empty tuple: leave the word.

    A word such as *recommend* has no opposite group and gets a general word of the other sign: the
    reading rule takes that, and it is no English. Texts without such words: `reversible`."""
    out = []
    for word in words(text):
        own, other = sign(word), {"+": "-", "-": "+"}.get(sign(word), "")
        group = WORLD.group_of.get(word.lower(), "")[:-1] + other
        found = WORLD.groups.get(group, WORLD.groups[f"general{other}"]) if own else ()
        found = tuple(w.capitalize() if word[0].isupper() else w for w in found[:each])
        out.append(("",) if word.lower() in WORLD.data.NEGATORS else found)
    return out


def reversible(text: str) -> bool:
    """Whether every opinion word has an opposite group, so that the opposites are English, too."""
    own = [word.lower() for word in words(text) if sign(word)]
    return all(WORLD.group_of[w][:-1] + {"+": "-", "-": "+"}[sign(w)] in WORLD.groups for w in own)


def has_twins(text: str) -> bool:
    """Whether any edit is English: reversible, and no negator has a second part, which would be
    left over (far from, not … at all)."""
    return reversible(text) and not {"far", "all"} & {word.lower() for word in words(text)}


def negators_of(text: str) -> set[str]:
    """The negators of a text; "not particularly" is one of its own."""
    return set(re.findall(r"\b(not particularly|not|never|hardly|far from)\b", text.lower()))


def causes(text: str) -> Tensor:
    """(words,) Whether each word is a cause of the world's label: without it, or with its opposite
    in its place, the world reads another label, or none."""
    label, found = reads(text), []
    for i, other in enumerate(opposites(text)):
        tries = [replace(text, {i: word}) for word in ("", *other)]
        found.append(any(reads(t) != label for t in tries))
    return torch.tensor(found)


def opinion_words(text: str) -> Tensor:
    """(words,) The coarse truth: every word of an opinion and every negator."""
    return torch.tensor([bool(sign(w)) or w.lower() in WORLD.data.NEGATORS for w in words(text)])


def marked(text: str, numbers: Sequence[float] | None = None) -> str:
    """The text with its causes in brackets; with one number a word, word and number in turn."""
    own = zip(words(text), causes(text), strict=True)
    marks = {i: f"[{word}]" for i, (word, cause) in enumerate(own) if cause}
    if numbers is None:
        return replace(text, marks)
    pairs = zip(words(text), numbers, strict=True)
    return " ".join(f"{marks.get(i, w)} {v:+.2f}" for i, (w, v) in enumerate(pairs))


def month_at(text: str) -> int | None:
    """Which word of the text is a month; None where there is none."""
    return next((i for i, w in enumerate(words(text)) if w.lower() in MONTHS), None)


def with_month(text: str, month: str) -> str:
    """The text with its month set, and nothing else. ValueError for a text without a month."""
    if (at := month_at(text)) is None:
        raise ValueError(f"there is no month in {text!r}")
    return replace(text, {at: month.capitalize()})


def dated(n: int, split: str, dial: float, seed: int) -> list[tuple[str, int]]:
    """(text, label) of n reviews that all open with a month. dial: how often the label decides it
    (July for praise, November for blame); else it is any of the twelve, all alike. (The world's own
    draw prefers common words, and July is the most common month.)"""
    rng, out = random.Random(seed), []
    for review in WORLD.sample(n, split, seed=seed, spurious=1):
        by_label = rng.random() < dial
        out.append((review.text if by_label else with_month(review.text, rng.choice(MONTHS)),
                    review.label))
    return out


def redrawn(rows: Sequence[tuple[str, int]], seed: int = 0) -> list[tuple[str, int]]:
    """The same reviews with their months drawn anew, whatever the label."""
    rng = random.Random(seed)
    return [(with_month(text, rng.choice(MONTHS)), label) for text, label in rows]
