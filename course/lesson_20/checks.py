"""Checks of lesson 20, Capstone."""

from __future__ import annotations

from dataclasses import dataclass

from advlib.attacks import WordAttack
from advlib.corpora import words
from course.checking import Exercise


@dataclass(frozen=True, repr=False)
class Stretched(WordAttack):
    """In some words one vowel is written several times, as people do who are upset: "my caaard".

    times: how often it may be written. Words of one letter stay. Nobody has checked that the label
    is kept (see `meaning_unchecked`).
    """

    times: tuple[int, ...] = (3, 4, 5)

    def __post_init__(self):
        super().__post_init__()
        if not self.times or any(n < 2 for n in self.times):
            raise ValueError(f"times must be numbers of at least 2, such as (3, 4, 5), got "
                             f"{self.times!r}: written once, a letter is as it was")  # fmt: skip

    def propose(self, victim, texts, labels):
        return [[self.options(word) for word in words(text)] for text in texts]

    def options(self, word):
        if len(word) < 2:
            return ()
        made = (word[:i] + letter * n + word[i + 1 :] for i, letter in enumerate(word)
                if letter in "aeiou" for n in self.times)  # fmt: skip
        return tuple(dict.fromkeys(made))


EXERCISES: dict[str, Exercise] = {}
