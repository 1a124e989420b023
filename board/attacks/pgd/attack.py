"""PGD as in the standard protocol, without restarts."""

from advlib.attacks import PGD

attack = PGD(0.3, steps=20)
