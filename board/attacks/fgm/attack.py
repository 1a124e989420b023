"""FGM as in the standard protocol."""

from advlib.attacks import FGM

attack = FGM(0.3)
