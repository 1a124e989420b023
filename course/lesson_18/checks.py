"""Checks of lesson 18, Recommender.

The specification: squares are added up number by number in plain Python.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from course.checking import Exercise, specified


def _plain_length(delta: Tensor, root=True, dims="all") -> Tensor:
    """The specification; the keywords are its mistakes."""
    texts = delta.tolist() if dims == "all" else delta.sum(1, keepdim=True).tolist()
    sums = [sum(x * x for token in text for x in token) for text in texts]
    return torch.tensor([math.sqrt(s) if root else s for s in sums])


def check_length(answer) -> None:
    g = torch.Generator().manual_seed(10)
    problems = [{"delta": torch.randn(*shape, generator=g)} for shape in [(3, 2, 4), (1, 5, 2)]]
    mistakes = {
        "this is the square of the length: the root is missing": {"root": False},
        "the tokens were added up before their lengths were taken": {"dims": "tokens"},
    }
    specified(answer, problems, _plain_length, mistakes, what="the length")


# ---------------------------------------------------------------- the course's own answers


def length(delta: Tensor) -> Tensor:
    """The L2 norm of each text's delta, (batch,)."""
    return delta.norm(dim=(1, 2))


EXERCISES: dict[str, Exercise] = {"18.1": Exercise("one length a text", check_length, length)}
