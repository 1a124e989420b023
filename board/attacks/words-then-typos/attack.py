"""Known substitutes first, then slips in the text that came out."""

from dataclasses import dataclass

from advlib.attacks import Typos, WordSubstitution
from advlib.attacks.words import KeepWords, NotAnotherWord


@dataclass(frozen=True)
class WordsThenTypos:
    """words, typos: the two attacks. A text that the first turns is left to it."""

    words: WordSubstitution
    typos: Typos

    def __call__(self, victim, texts, labels):
        first = self.words(victim, texts, labels)
        left = [i for i, result in enumerate(first) if not result.success]
        again = self.typos(victim, [first[i].text for i in left], [labels[i] for i in left])
        found = dict(zip(left, again, strict=True))
        return [found.get(i, result) for i, result in enumerate(first)]


attack = WordsThenTypos(
    WordSubstitution("reviews"),
    Typos(max_changed=0.2, constraints=(KeepWords(), NotAnotherWord("reviews"))),
)
