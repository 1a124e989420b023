"""The allowed perturbations: a norm ball, its projection, steepest step and random points.

Pure tensor mathematics; nothing here knows a model. δ (`delta`) has the shape (batch, tokens,
hidden), a mask the shape (batch, tokens), True where a token may be perturbed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

NORMS = ("l2", "linf")
SCOPES = ("sequence", "token")


@dataclass(frozen=True)
class Ball:
    """All δ with ‖δ‖ ≤ eps.

    eps: radius, in the units of the embedding itself.
    norm: "l2" (Euclidean length) or "linf" (largest coordinate).
    scope: what the length is taken of: "sequence" (one budget for the whole text, as in FreeLB,
        Zhu et al. 2020, arXiv 1909.11764) or "token" (each token has a budget of its own).
        For "linf" the two are the same set.
    Raises ValueError for an eps that is not a positive finite number, or an unknown norm or scope.
    """

    eps: float
    norm: str = "l2"
    scope: str = "sequence"

    def __post_init__(self):
        check_eps(self.eps)
        if self.norm not in NORMS:
            raise ValueError(f"norm must be one of {NORMS}, got {self.norm!r}")
        if self.scope not in SCOPES:
            raise ValueError(f"scope must be one of {SCOPES}, got {self.scope!r}")

    def size(self, delta: Tensor) -> Tensor:
        """‖δ‖, of shape (batch, 1, 1) for scope "sequence" and (batch, tokens, 1) for "token"."""
        dims = (1, 2) if self.scope == "sequence" else (2,)
        if self.norm == "linf":
            return delta.abs().amax(dims, keepdim=True)
        # Dividing by the largest entry first keeps tiny and huge values from under- or overflowing.
        largest = delta.abs().amax(dims, keepdim=True).clamp_min(torch.finfo(delta.dtype).tiny)
        return (delta / largest).square().sum(dims, keepdim=True).sqrt() * largest

    def project(self, delta: Tensor) -> Tensor:
        """The point of the ball that is nearest to δ (in Euclidean distance)."""
        if self.norm == "linf":
            return delta.clamp(-self.eps, self.eps)
        return delta * (self.eps / self.size(delta).clamp_min(self.eps))

    def steepest(self, grad: Tensor) -> Tensor:
        """The direction of size 1 along which a linear function with this gradient rises most:
        g/‖g‖ for l2, sign(g) for linf. Zero where the gradient is zero."""
        if self.norm == "linf":
            return grad.sign()
        size = self.size(grad)
        return torch.where(size > 0, grad / torch.where(size > 0, size, 1), 0)

    def random(self, noise: Tensor, radius: Tensor | None = None) -> Tensor:
        """Turn standard normal noise, zero where masked, into a random point of the ball.

        radius: None for a point on the surface, ‖δ‖ = eps; else uniform numbers in [0, 1), of the
            shape that `size` gives, and the point is uniform in the whole ball (for linf the
            numbers are not needed: the cube's coordinates are independent).
        """
        if radius is None:
            return self.eps * self.steepest(noise)
        if self.norm == "linf":
            return self.eps * torch.erf(noise / math.sqrt(2))  # uniform in (-eps, eps)
        dims = (1, 2) if self.scope == "sequence" else (2,)
        coordinates = (noise != 0).sum(dims, keepdim=True).clamp_min(1)
        return self.eps * (self.steepest(noise) * radius ** (1 / coordinates))


def check_eps(
    eps: float, what: str = "eps is the size of the perturbation",
    instead: str = "for accuracy without an attack read the clean row",
) -> None:  # fmt: skip
    """Raise ValueError unless eps is a positive finite number."""
    number = isinstance(eps, Real) and not isinstance(eps, bool)
    if not (number and math.isfinite(eps) and eps > 0):
        raise ValueError(f"{what} and must be a positive number, got {eps!r}; {instead}")


def check_counts(**counts: int) -> None:
    """Raise ValueError unless each is a whole number of at least 1."""
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
