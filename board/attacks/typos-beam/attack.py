"""The typos of the standard protocol, looked for harder."""

from advlib.attacks import Typos
from advlib.attacks.words import KeepWords, NotAnotherWord

attack = Typos(
    max_changed=0.2, per_kind=12, beam=4, constraints=(KeepWords(), NotAnotherWord("reviews"))
)
