"""Attacks on embeddings: Noise, FGSM, FGM and PGD are one loop with different settings.

`delta = attack(model, batch)` maximises the model's loss over δ in a norm ball, where δ is added
to the token embeddings (see `advlib.embeddings`).

What is maximised is the log-odds of being wrong, m = log Σ_{j≠y} e^{z_j} − z_y for logits z. The
cross-entropy is log(1 + e^m), so both rise together and point the same way; but the gradient of m
does not fade when the model is sure of itself, so a confident model cannot hide by rounding.
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar

import torch
from torch import Tensor, nn

from advlib.embeddings import (
    attack_mode,
    attackable,
    bare,
    check_part,
    embedding_table,
    full_precision,
    mean_norm,
    output_scale,
    perturbed_logits,
    zero_delta,
)
from advlib.perturbation import Ball, check_counts, check_eps


@dataclass(frozen=True, repr=False)
class EmbeddingAttack:
    """One inner maximisation over δ; its repr is its threat model.

    eps: the budget. With `relative=True` in units of the model's mean token-embedding norm, so
        that one number carries over between models; for norm "linf" that norm is divided by
        √hidden, so that eps is relative to a typical coordinate. `relative=False` takes eps as is.
    norm, scope: see `Ball`.
    target: None (away from the label) or the class that every example is steered to.
    same_dropout: False attacks with dropout off. True leaves the model in the mode that it is in,
        so a model in training is attacked with dropout on, and with the same mask in every step
        (FreeLB's trick, Zhu et al. 2020), by restoring the state of the random number generator
        before each pass.
    seed: of the random starts. Each example has random numbers of its own, drawn from the seed and
        its token ids, so its δ does not depend on its neighbours in the batch.
    part: of sentence pairs, whether "both" texts may be perturbed, the "first" or the "second".

    Raises ValueError for settings that make no sense.
    """

    eps: float
    norm: str = "l2"
    scope: str = "sequence"
    relative: bool = True
    target: int | None = None
    same_dropout: bool = False
    seed: int = 0
    part: str = field(default="both", kw_only=True)

    steps: ClassVar[int] = 1
    step_size: ClassVar[float | None] = None
    random_start: ClassVar[bool] = False
    restarts: ClassVar[int] = 1

    def __post_init__(self):
        Ball(self.eps, self.norm, self.scope)
        settings = [f.name for f in fields(self)]  # what a class fixes for itself is none
        check_counts(**{n: getattr(self, n) for n in ("steps", "restarts") if n in settings})
        if self.step_size is not None:
            check_eps(self.step_size, "step_size is how far one step goes", "leave it out")
        check_part(self.part)

    def __repr__(self) -> str:
        """All settings; `part` only where it is not "both", for published digests hold this."""
        hidden = ("part",) * (self.part == "both")
        shown = [f.name for f in fields(self) if f.repr and f.name not in hidden]
        return f"{type(self).__name__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"

    def start(self, ball, batch, mask, zero, restart, generator) -> Tensor:
        """Where a run begins: δ = 0 or a random point of the ball."""
        if not (self.random_start or restart):
            return zero
        return ball.random(*_noise(ball, batch, mask, zero, self.seed, restart, generator))

    def move(self, ball: Ball, delta: Tensor, push: Tensor, step: int) -> Tensor:
        """The next point: a step along `push`, the steepest direction, and back into the ball."""
        if self.step_size is None:  # FGM and FGSM are the first step: size eps from zero
            size = ball.eps / (step + 1) ** 0.5
        else:
            size = self.step_size * ball.eps / self.eps
        return ball.project(delta + size * push)

    def __call__(
        self,
        model: nn.Module,
        batch: Mapping[str, Tensor],
        *,
        keep_best: bool = True,
        generator: torch.Generator | None = None,
        first_grad: Tensor | None = None,
    ) -> Tensor:
        """The perturbation δ, (batch, tokens, hidden), zero on padding, special tokens and what is
        not in `part`.

        batch: `input_ids`, `attention_mask`, `special_tokens_mask`, `labels` and whatever else the
            model takes, all on the model's device; for a part of pairs also `second_at`.
            `Classifier.encode` makes such a batch.
        keep_best: an iterative attack returns, per example, the best point that it saw, at the
            price of one more forward pass a run (for evaluation); False: the last one (for
            training).
        generator: draw random starts from it, whole batches at a time (for training); None draws
            them per example from `seed`.
        first_grad: the gradient at δ = 0 where the caller has it already; saves one pass.

        The model's mode, flags, `.grad` fields and the global random state are left as they were.
        Raises ValueError where the attack could not do anything: no attackable input, a loss that
        is not finite, embeddings that get no gradient, an eps larger than the embeddings; and where
        a part of single texts is asked for.
        """
        model = bare(model)
        mask = attackable(batch, self.part).unsqueeze(-1)
        ball = self.ball(model)
        self.check_size(ball, model, batch, mask)
        zero = zero_delta(model, batch)
        best = _Best(zero) if keep_best and self._iterative else None
        moved, lent = self.steps == 0, None if self.random_start else first_grad
        with attack_mode(model, self.same_dropout) as rewind, torch.enable_grad():
            batch = self._prepared(model, batch, rewind)
            for restart in range(self.restarts):
                delta = self.start(ball, batch, mask, zero, restart, generator)
                for step in range(self.steps):
                    grad, lent = lent, None
                    if grad is None:
                        rewind()
                        grad, logits = self._gradient(model, batch, delta)
                        if best:
                            best.see(delta, self._margin(logits, batch, hard=True))
                    push = ball.steepest(grad.to(zero.dtype) * mask)
                    moved = moved or bool(push.any())
                    delta = self.move(ball, delta, push, step)
                if best:
                    with torch.no_grad():
                        rewind()
                        logits = self._forward(model, batch, delta)
                        best.see(delta, self._margin(logits, batch, hard=True))
        if mask.any() and not moved:
            raise ValueError(
                f"{self} did nothing: the gradient on the embeddings is zero everywhere. Does the "
                "model detach its embeddings, or ignore them?"
            )
        if best and best.margin.isneginf().any():  # no pass gave a number
            raise ValueError(f"{self}: the model's output is not finite; check its weights")
        return best.delta if best else delta

    @property
    def _iterative(self) -> bool:
        """Whether there is more than one point to choose the best from."""
        return max(self.steps, 1) * self.restarts > 1

    def passes(self, keep_best: bool = True) -> tuple[int, int]:
        """(forward, backward) passes through the model that one call makes."""
        gradients = self.steps * self.restarts
        return gradients + self.restarts * (keep_best and self._iterative), gradients

    def ball(self, model: nn.Module) -> Ball:
        """The ball of this attack in the model's own units."""
        if not self.relative:
            return Ball(self.eps, self.norm, self.scope)
        unit = mean_norm(model)
        if not 0 < unit < float("inf"):
            raise ValueError(
                f"{self}: the model's embeddings are {'not finite' if unit else 'all zero'}, "
                "so a relative eps has no unit; check its weights"
            )
        if self.norm == "linf":
            unit /= embedding_table(model).shape[1] ** 0.5
        return Ball(self.eps * unit, self.norm, self.scope)

    def _prepared(self, model, batch, rewind) -> Mapping[str, Tensor]:
        return batch

    def _forward(self, model: nn.Module, batch: Mapping[str, Tensor], delta: Tensor) -> Tensor:
        return perturbed_logits(model, batch, delta)

    def _gradient(self, model, batch, delta) -> tuple[Tensor, Tensor]:
        delta = delta.detach().requires_grad_()
        logits = self._forward(model, batch, delta)
        loss = self._margin(logits, batch).sum()
        if not loss.isfinite():
            raise ValueError(
                f"{self}: the model's output is not finite ({loss.item()}); check its weights"
            )
        try:
            # Backward passes belong outside autocast, which would round inside them once more.
            with torch.autocast(delta.device.type, enabled=False):
                (grad,) = torch.autograd.grad(loss, delta)
        except RuntimeError as error:
            if "does not require grad" not in str(error) and "not have been used" not in str(error):
                raise
            raise ValueError(
                f"{self} cannot work: no gradient reaches the embeddings. The model detaches them, "
                "runs under torch.no_grad, or does not use them."
            ) from error
        if not grad.isfinite().all():
            raise ValueError(
                f"{self}: the gradient on the embeddings is not finite; check the model"
            )
        return grad, logits.detach()

    def _margin(self, logits: Tensor, batch: Mapping[str, Tensor], hard: bool = False) -> Tensor:
        """Per example, what the attacker wants large: the log-odds of a wrong answer (of the
        target). hard: the best other logit instead of all, positive exactly when it has won."""
        target = self.target
        chosen = batch["labels"] if target is None else torch.full_like(batch["labels"], target)
        if not 0 <= int(chosen.min()) <= int(chosen.max()) < logits.shape[-1]:
            raise ValueError(
                f"classes must lie in 0..{logits.shape[-1] - 1}, got {chosen.tolist()}"
            )
        margin = wrong_margin(logits, chosen, hard)
        return margin if target is None else -margin

    def check_size(self, ball: Ball, model: nn.Module, batch, mask: Tensor) -> None:
        """Raises ValueError for an eps larger than the embeddings of the batch."""
        if not mask.any():
            return
        table = embedding_table(model)
        largest = ball.size(table[batch["input_ids"]] * mask).max().item()
        largest *= output_scale(model, table)
        if ball.eps > largest:
            unit = f", {ball.eps / self.eps:.3g} times eps" if self.relative else ""
            raise ValueError(
                f"{self}: the radius ({ball.eps:.3g}{unit}) exceeds the embeddings themselves "
                f"(largest {self.scope} norm here {largest:.3g}), so δ could erase the text. Take "
                f"eps below {self.eps * largest / ball.eps:.3g}."
            )


class _Best:
    """The best point of each example so far."""

    def __init__(self, zero: Tensor):
        self.delta, self.margin = zero, zero.new_full((len(zero),), -torch.inf)

    def see(self, delta: Tensor, margin: Tensor) -> None:
        better = margin.to(self.margin) > self.margin
        self.delta = torch.where(better[:, None, None], delta, self.delta)
        self.margin = torch.where(better, margin.to(self.margin), self.margin)


# ---------------------------------------------------------------------- what is maximised


def wrong_margin(logits: Tensor, labels: Tensor, hard: bool = False) -> Tensor:
    """log Σ_{j≠y} e^{z_j} − z_y, the log-odds of a wrong answer; hard: max_{j≠y} z_j − z_y."""
    true = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], True)
    others = logits.masked_fill(true, -torch.inf)
    rest = others.amax(-1) if hard else others.logsumexp(-1)
    return rest - logits.gather(1, labels[:, None]).squeeze(1)


def divergence(p: Tensor, q: Tensor, symmetric: bool = False) -> Tensor:
    """KL(p ‖ q) per example, of two (batch, classes) logits; symmetric: + KL(q ‖ p)."""
    log_p, log_q = p.log_softmax(-1), q.log_softmax(-1)
    kl = (log_p.exp() * (log_p - log_q)).sum(-1)
    return kl + (log_q.exp() * (log_q - log_p)).sum(-1) if symmetric else kl


def _noise(ball, batch, mask, zero, seed, restart, generator) -> tuple[Tensor, Tensor]:
    """Standard normal noise on attackable tokens, and uniform numbers of the shape of a radius."""
    tokens = 1 if ball.scope == "sequence" else mask.shape[1]
    if generator is not None:
        draw = dict(generator=generator, device=generator.device, dtype=zero.dtype)
        noise, radius = torch.randn(zero.shape, **draw), torch.rand(len(zero), tokens, 1, **draw)
        return noise.to(zero.device) * mask, radius.to(zero.device)
    noise, radius = zero.clone(), torch.ones(len(zero), tokens, 1, dtype=zero.dtype)
    real = batch["attention_mask"].bool()
    for i, (ids, where) in enumerate(zip(batch["input_ids"], mask[..., 0], strict=True)):
        key = f"{seed}/{restart}/{ids[real[i]].tolist()}"
        own = torch.Generator().manual_seed(zlib.crc32(key.encode()))
        count = int(where.sum())
        points = torch.randn(count, zero.shape[-1], generator=own, dtype=torch.float64)
        noise[i, where] = points.to(noise)
        numbers = torch.rand(1 if tokens == 1 else count, generator=own, dtype=torch.float64)
        radius[i, slice(None) if tokens == 1 else where.cpu(), 0] = numbers.to(radius)
    return noise, radius.to(zero.device)


# ---------------------------------------------------------------------- the attacks


@dataclass(frozen=True, repr=False)
class Noise(EmbeddingAttack):
    """A random point on the surface of the ball: the control that every attack must beat.

    restarts: how many points are tried; with `keep_best` the worst for the model is returned.
    """

    restarts: int = 1

    steps: ClassVar[int] = 0
    random_start: ClassVar[bool] = True

    def start(self, ball, batch, mask, zero, restart, generator) -> Tensor:
        noise, _ = _noise(ball, batch, mask, zero, self.seed, restart, generator)
        return ball.random(noise)


@dataclass(frozen=True, repr=False)
class FGM(EmbeddingAttack):
    """One step of size eps along the normalised gradient, δ = eps · g/‖g‖.

    Miyato, Dai, Goodfellow, "Adversarial Training Methods for Semi-Supervised Text
    Classification", ICLR 2017, arXiv 1605.07725, eq. 5.
    """


@dataclass(frozen=True, repr=False)
class FGSM(EmbeddingAttack):
    """One step of size eps along the sign of the gradient, δ = eps · sign(g), in the linf ball.

    Goodfellow, Shlens, Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015,
    arXiv 1412.6572, section 4.
    """

    norm: str = "linf"


@dataclass(frozen=True, repr=False)
class PGD(EmbeddingAttack):
    """Projected gradient ascent: `steps` times a step along the gradient, then back into the ball.

    Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018,
    arXiv 1706.06083, section 2.1.

    step_size: in the units of eps. None takes eps, eps/√2, eps/√3, …: the first step is FGM, and a
        longer run only adds to a shorter one, so that more steps are never weaker.
    random_start: start from a random point of the ball, as Madry et al. do; else from δ = 0.
    restarts: runs; those after the first always start at random.
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1


@dataclass(frozen=True, repr=False)
class Divergence(EmbeddingAttack):
    """Ascent that needs no label: it moves the prediction away from where it is, by raising
    KL(p(x) ‖ p(x + δ)).

    The inner maximisation of TRADES (Zhang et al. 2019, arXiv 1901.08573, eq. 5) and, symmetric, of
    SMART (Jiang et al. 2020, arXiv 1911.03437, eq. 2).

    symmetric: add KL(p(x + δ) ‖ p(x)).
    xi: the divergence is flat at δ = 0, so a run starts at a random point of size xi · eps.
    The batch may bring the logits at δ = 0 as `reference`, which saves a pass. What keep_best
    keeps is the largest divergence.
    Its passes are made in float32 even under autocast: near δ = 0 the two predictions differ by
    less than half precision can tell, so that its gradient there would be rounding, or zero.
    """

    steps: int = 1
    step_size: float | None = None
    symmetric: bool = False
    xi: float = 0.1
    restarts: int = 1

    random_start: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        if self.target is not None:
            raise ValueError(f"{type(self).__name__} knows no classes, so it takes no target")
        if not 0 < self.xi <= 1:
            raise ValueError(f"xi is a share of eps, 0 < xi <= 1, got {self.xi!r}")

    def start(self, ball, batch, mask, zero, restart, generator) -> Tensor:
        noise, _ = _noise(ball, batch, mask, zero, self.seed, restart, generator)
        return self.xi * ball.random(noise)

    def passes(self, keep_best: bool = True) -> tuple[int, int]:
        """(forward, backward) passes of one call; one forward less with a `reference`."""
        forward, backward = super().passes(keep_best)
        return forward + 1, backward

    def _prepared(self, model, batch, rewind):
        if embedding_table(model).dtype in (torch.float16, torch.bfloat16):
            warnings.warn(
                f"{type(self).__name__}: this model's weights are in half precision. Near δ = 0 "
                "two predictions differ by less than it can tell, so the direction may be "
                "rounding: load the model in float32 (autocast may stay on).",
                stacklevel=2,
            )
        if "reference" in batch:
            return batch
        with torch.no_grad():
            rewind()
            return {**batch, "reference": self._forward(model, batch, None)}

    def _forward(self, model, batch, delta) -> Tensor:
        with full_precision(model, batch["input_ids"].device):
            return perturbed_logits(model, batch, delta)

    def _margin(self, logits, batch, hard=False) -> Tensor:
        return divergence(batch["reference"], logits, self.symmetric)


@dataclass(frozen=True, repr=False)
class VirtualAdversarial(Divergence):
    """The direction in which the prediction is most easily moved, by `steps` power iterations.

    Miyato et al. 2017 (arXiv 1605.07725, eq. 7) and, in general, Miyato et al. 2018 (arXiv
    1704.03976, section 3.3). Each step takes the gradient of the divergence at a point of size
    xi · eps for the next direction; only the last has size eps. One step is what they use.
    """

    def move(self, ball, delta, push, step) -> Tensor:
        size = 1.0 if step == self.steps - 1 else self.xi
        return size * ball.eps * push
