"""What the defender minimises.

An objective is called once per training step. It runs all forward and backward passes of that
step, leaves the gradient in the parameters' `.grad`, and returns what it measured; the caller then
makes the optimiser step. So the same objective serves a loop written by hand

    parts = objective(model, batch)
    optimizer.step(); optimizer.zero_grad()

and `AdversarialTrainer`, which hands in its own `backward` (accumulation, loss scaling, several
processes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib.attacks.embedding import (
    EmbeddingAttack,
    bare,
    has_dropout,
    perturbed_logits,
    random_state,
    zero_delta,
)


@dataclass
class Parts:
    """What one step measured. Losses are detached means over examples; passes are in units of one
    pass over the whole batch."""

    loss: Tensor  # what was minimised
    clean: Tensor
    adv: Tensor | None  # None where nothing was attacked
    forward: float
    backward: float


def _plain_backward(loss: Tensor) -> None:
    loss.backward()


@dataclass(frozen=True)
class Clean:
    """L, the mean cross-entropy: the standard training to compare with."""

    def __call__(
        self,
        model: nn.Module,
        batch: Mapping[str, Tensor],
        backward: Callable[[Tensor], None] = _plain_backward,
        *,
        step: int = 0,
        generator: torch.Generator | None = None,
    ) -> Parts:
        loss = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
        check_loss(loss)
        backward(loss)
        return Parts(loss.detach(), loss.detach(), None, 1, 1)


@dataclass(frozen=True)
class Adversarial:
    """L + λ·L_adv: cross-entropy on the clean batch plus λ times that on the attacked batch.

    attack: the inner maximisation; it takes its last point (no pass is spent on keeping the best).
    lam: λ. Goodfellow et al. 2015 (arXiv 1412.6572, section 6) weigh the two terms α and 1 − α;
        λ = 1 is their α = 0.5 at twice the learning rate.
    ratio: the share of each batch that is attacked, 0 < ratio ≤ 1.
    warmup: over so many optimiser steps λ grows linearly from 0; an encoder that is attacked
        before it has learned anything tends to collapse to one class.

    Two ways to the same gradient. Where the attack starts at δ = 0 in the network that the clean
    pass sees (no dropout, or `same_dropout` on the whole batch), the clean backward pass already
    holds the gradient of the first inner step and lends it: 2K + 4 units of work (a forward pass,
    a backward pass to the input, a backward pass to the weights are one unit each). Otherwise the
    attack makes its own first step, and clean and attacked examples go through one outer pass
    together: 2K + 6 units.

    Raises ValueError for λ < 0, a ratio outside (0, 1], a negative warm-up or a loss that is not
    finite.
    """

    attack: EmbeddingAttack
    lam: float = 1.0
    ratio: float = 1.0
    warmup: int = 0

    def __post_init__(self):
        if not isinstance(self.attack, EmbeddingAttack):
            raise ValueError(
                f"attack must be an embedding attack such as FGM(0.3), got {self.attack!r}"
            )
        if not self.lam >= 0:
            raise ValueError(f"lam (λ) must be at least 0, got {self.lam!r}")
        if not 0 < self.ratio <= 1:
            raise ValueError(f"ratio is a share of the batch, 0 < ratio <= 1, got {self.ratio!r}")
        if self.warmup < 0:
            raise ValueError(f"warmup counts steps and must be at least 0, got {self.warmup!r}")

    def __call__(
        self,
        model: nn.Module,
        batch: Mapping[str, Tensor],
        backward: Callable[[Tensor], None] = _plain_backward,
        *,
        step: int = 0,
        generator: torch.Generator | None = None,
    ) -> Parts:
        lam = self.lam * min(1.0, step / self.warmup) if self.warmup else self.lam
        size = len(batch["labels"])
        attacked = round(self.ratio * size)
        if lam == 0 or attacked == 0:
            return Clean()(model, batch, backward)
        part = {name: value[:attacked] for name, value in batch.items()}
        way = self._lending if self._can_lend(model, attacked == size) else self._together
        return way(model, batch, part, lam, backward, generator)

    def _can_lend(self, model: nn.Module, whole: bool) -> bool:
        if self.attack.random_start or self.attack.target is not None or self.attack.steps == 0:
            return False
        dropout = model.training and has_dropout(model)
        return not dropout or (self.attack.same_dropout and whole)

    def _lending(self, model, batch, part, lam, backward, generator) -> Parts:
        # All passes of the step see one dropout mask. Only the last one goes through the wrapper
        # of a distributed model, so gradients are exchanged once.
        inner, attacked = bare(model), len(part["labels"])
        rewind = random_state(inner)
        start = zero_delta(inner, batch).requires_grad_()
        clean = F.cross_entropy(perturbed_logits(inner, batch, start), batch["labels"])
        check_loss(clean)
        backward(clean)
        grad = start.grad[:attacked]
        # Under float16 the scaled gradient may overflow; then there is nothing to lend.
        lent = grad if grad.isfinite().all() and grad.any() else None
        rewind()
        delta = self.attack(inner, part, keep_best=False, generator=generator, first_grad=lent)
        rewind()
        adv = F.cross_entropy(perturbed_logits(model, part, delta), part["labels"])
        check_loss(adv)
        backward(lam * adv)
        passes = self.attack.passes(keep_best=False, lent=lent is not None)
        return _parts(clean, adv, lam, attacked / len(batch["labels"]), passes)

    def _together(self, model, batch, part, lam, backward, generator) -> Parts:
        size, attacked = len(batch["labels"]), len(part["labels"])
        delta = self.attack(model, part, keep_best=False, generator=generator)
        both = {name: torch.cat([batch[name], part[name]]) for name in batch}
        shift = torch.cat([zero_delta(bare(model), batch), delta])
        losses = F.cross_entropy(
            perturbed_logits(model, both, shift), both["labels"], reduction="none"
        )
        clean, adv = losses[:size].mean(), losses[size:].mean()
        check_loss(clean + lam * adv)
        backward(clean + lam * adv)
        passes = self.attack.passes(keep_best=False)
        return _parts(clean, adv, lam, attacked / size, passes)


def _parts(clean: Tensor, adv: Tensor, lam: float, share: float, inner: tuple[int, int]) -> Parts:
    clean, adv = clean.detach(), adv.detach()
    forward, backward = (1 + share * (passes + 1) for passes in inner)
    return Parts(clean + lam * adv, clean, adv, forward, backward)


def check_loss(loss: Tensor) -> None:
    """Raise ValueError where the loss is not finite, before it reaches the weights."""
    if not torch.isfinite(loss):
        raise ValueError(
            f"the training loss became {loss.item()}: the last checkpoint is untouched. Lower the "
            "learning rate, λ or ε, or train in bf16 or fp32 instead of fp16, and resume."
        )
