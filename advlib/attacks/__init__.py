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
from advlib.attacks.recipes import A2T, PWWS, BERTAttack, DeepWordBug, TextFooler, for_text
from advlib.attacks.words import (
    EmbeddingNeighbours,
    HotFlip,
    MaskedLanguageModel,
    RandomTypos,
    Typos,
    UniversalTrigger,
    WordAttack,
    WordSubstitution,
)

__all__ = [
    "A2T",
    "BERTAttack",
    "FGM",
    "FGSM",
    "PGD",
    "DeepWordBug",
    "Divergence",
    "EmbeddingAttack",
    "EmbeddingNeighbours",
    "HotFlip",
    "MaskedLanguageModel",
    "Noise",
    "PWWS",
    "RandomTypos",
    "TextFooler",
    "Typos",
    "UniversalTrigger",
    "VirtualAdversarial",
    "WordAttack",
    "WordSubstitution",
    "for_text",
]
