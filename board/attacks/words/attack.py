"""Word substitution as in the standard protocol."""

from advlib.attacks import WordSubstitution

attack = WordSubstitution("reviews")
