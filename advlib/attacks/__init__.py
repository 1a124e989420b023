"""Attacks. Each is a frozen dataclass whose repr is its threat model."""

from advlib.attacks.embedding import (
    FGM,
    FGSM,
    PGD,
    Divergence,
    EmbeddingAttack,
    Noise,
    VirtualAdversarial,
)
from advlib.attacks.words import (
    EmbeddingNeighbours,
    HotFlip,
    MaskedLanguageModel,
    RandomTypos,
    Typos,
    WordAttack,
    WordSubstitution,
)

__all__ = [
    "FGM",
    "FGSM",
    "PGD",
    "Divergence",
    "EmbeddingAttack",
    "EmbeddingNeighbours",
    "HotFlip",
    "MaskedLanguageModel",
    "Noise",
    "RandomTypos",
    "Typos",
    "VirtualAdversarial",
    "WordAttack",
    "WordSubstitution",
]
