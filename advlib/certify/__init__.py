"""Certificates: what no attack can turn. lower bound ≤ exact worst case ≤ accuracy under an attack.

An attack that finds nothing proves nothing. A method of this package does: each is a frozen
dataclass whose repr is its claim, and `method(victim, texts, labels)` returns one `Certificate` per
text.

    ExactWorst          every variant of a text asked about: the truth, where they are few
    Canonical           one form for all variants of a text, so one pass decides them all
    SmoothedWords       a vote over random words of each word's set (SAFER)
    SmoothedEmbeddings  a vote over Gaussian noise on the embeddings (Cohen et al.)

Only the first speaks of the model as it is. The others speak of a classifier built around it,
named in `classifier`: an attack on the bare model is no upper bound for that one. Bounds of a whole
network over a box are in `advlib.intervals`.
"""

from advlib.certify.exact import Canonical, ExactWorst, canonical, canonical_text, exact_worst
from advlib.certify.sets import (
    Certificate,
    Neighbours,
    OpinionsOnly,
    count_variants,
    options_of,
    variants,
)
from advlib.certify.tables import certified, sandwich
from advlib.certify.votes import SmoothedEmbeddings, SmoothedWords, ceiling, lower_bound

__all__ = [
    "Canonical",
    "Certificate",
    "ExactWorst",
    "Neighbours",
    "OpinionsOnly",
    "SmoothedEmbeddings",
    "SmoothedWords",
    "canonical",
    "canonical_text",
    "ceiling",
    "certified",
    "count_variants",
    "exact_worst",
    "lower_bound",
    "options_of",
    "sandwich",
    "variants",
]
