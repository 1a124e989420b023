"""Language models that write: attacks on what they are asked, and defences.

A prompt is a string, or a pair (request, suffix), joined by a space. An attack wants the model to
begin its answer with a target such as "sure : the", where its policy is to refuse:

    ContinuousAttack   δ on the prompt's embeddings, or on the output of a block (latent)
    GCG                words behind the request, chosen by the gradient on them
    RandomSearch       the same without a gradient; RandomSuffix: words drawn at random

Each is a frozen dataclass whose repr is its threat model. Defences: `PerplexityFilter`,
`SmoothVote`, and training, `tune`, with an objective such as `ContinuousTraining`. What an answer
is worth says the judge in `advlib.corpora.requests`, never the target.
"""

from advlib.generative.attacks import (
    GCG,
    ContinuousAttack,
    RandomSearch,
    RandomSuffix,
    Suffix,
    SuffixSearch,
)
from advlib.generative.defences import (
    ContinuousTraining,
    Likelihood,
    PerplexityFilter,
    SmoothVote,
    still_whole,
    tune,
    vote,
    with_lora,
)
from advlib.generative.models import Generator, load_generator, pushed

__all__ = [
    "GCG",
    "ContinuousAttack",
    "ContinuousTraining",
    "Generator",
    "Likelihood",
    "PerplexityFilter",
    "RandomSearch",
    "RandomSuffix",
    "SmoothVote",
    "Suffix",
    "SuffixSearch",
    "load_generator",
    "pushed",
    "still_whole",
    "tune",
    "vote",
    "with_lora",
]
