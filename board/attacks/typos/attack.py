"""Typos as in the standard protocol, less those that make another word of the world."""

from advlib.attacks import Typos
from advlib.attacks.words import KeepWords, NotAnotherWord

attack = Typos(max_changed=0.2, constraints=(KeepWords(), NotAnotherWord("reviews")))
