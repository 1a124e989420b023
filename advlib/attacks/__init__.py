"""Attacks. Each is a frozen dataclass whose repr is its threat model."""

from advlib.attacks.embedding import FGM, FGSM, PGD, EmbeddingAttack, Noise
from advlib.attacks.words import WordSubstitution

__all__ = ["FGM", "FGSM", "PGD", "EmbeddingAttack", "Noise", "WordSubstitution"]
