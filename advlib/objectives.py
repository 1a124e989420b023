"""What the defender minimises.

An objective is called once per training step. It runs all forward and backward passes of that
step, leaves the gradient in the parameters' `.grad`, and returns what it measured; the caller then
makes the optimiser step. So the same objective serves a loop written by hand

    parts = objective(model, batch, step=step, generator=generator)
    optimizer.step(); optimizer.zero_grad()

and `AdversarialTrainer`, which hands in its own `backward` (accumulation, loss scaling, several
processes).

    Clean         L
    Adversarial   L + λ·L_adv
    Madry         L_adv
    TRADES        L + β·KL(f(x) ‖ f(x + δ))
    VAT           L + λ·KL, δ found without labels, for texts with and without a label
    SMART         L + λ·symmetric KL + μ·distance to the model's own recent past
    FreeLB        the mean of the losses on the way of the ascent
    Free          one pass for both gradients, each batch replayed m times
    Words         L + λ·L_adv on texts whose words an attack has changed
    RDrop, R3F    controls without an adversary: two dropout masks; noise
    After         plain training first, then any of these
    InTurn        the steps take turns between several of these

In every one, δ is a constant when the weights' gradient is taken (Danskin's theorem). Where the
network is random (dropout) there are two ways to say which network is attacked: with the attack's
`same_dropout` all passes of a step see one mask, else the attack sees the network without dropout.
FreeLB and Free attack while they train: without `same_dropout` each of their passes draws a mask of
its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha1
from typing import ClassVar

import torch
import torch.nn.functional as F
from datasets import Dataset
from torch import Tensor, nn
from torch.func import functional_call

from advlib.attacks.embedding import (
    FGM,
    FGSM,
    PGD,
    Divergence,
    EmbeddingAttack,
    Noise,
    VirtualAdversarial,
    divergence,
    wrong_margin,
)
from advlib.attacks.words import WordAttack
from advlib.corpora.engine import Text
from advlib.data import texts_of
from advlib.embeddings import (
    Passes,
    attack_mode,
    attackable,
    autocasts,
    bare,
    has_dropout,
    perturbed_logits,
    random_state,
    zero_delta,
)
from advlib.models import Classifier

GRADIENT = (FGM, FGSM, PGD)  # attacks that climb the loss
MOST_BATCHES = 256  # that Free remembers at a time: the micro-batches of one step
WEIGHT = "weight"  # of an example in the loss
WEIGHTS = {"lam": "λ", "beta": "β", "mu": "μ", "alpha": "α"}  # of an objective's terms
UNLABELLED = -100  # as in PyTorch: the loss passes over such examples
Batch = Mapping[str, Tensor]


@dataclass
class Parts:
    """What one step measured. Losses are detached means over examples; passes are in units of one
    pass over the whole batch."""

    loss: Tensor  # what was minimised
    clean: Tensor | None  # None where no clean text was seen
    adv: Tensor | None  # the other term, unweighted; None where nothing was attacked
    forward: float
    backward: float
    weights: float = 1  # backward passes that reach the weights, not only the input

    @property
    def units(self) -> float:
        """The work: a forward pass, a backward pass to the input, and one on to the weights cost
        about the same. Clean training costs 3."""
        return self.forward + self.backward + self.weights


class Objective:
    """What all objectives share.

    Called with the model, a batch as `Classifier.encode` makes it, and

    backward: what to do with a loss in place of `loss.backward()`.
    step: optimiser steps made so far.
    generator: of the random starts. None: a text gets the same start in every epoch.

    Returns `Parts`. Raises ValueError where a loss is not finite, before it reaches the weights.
    Making one raises ValueError for an attack that it does not take, for a weight such as λ that is
    negative or not finite, and for a ratio outside (0, 1].
    """

    replays: ClassVar[int] = 1  # how many optimiser steps are made on each batch
    differs: ClassVar[bool] = False  # whether its state differs from process to process
    takes: ClassVar[tuple | None] = None  # the kind of its attack, and in words for an error
    adversary: ClassVar[str] = "attack"  # the field that holds it

    def __post_init__(self):
        attack = getattr(self, self.adversary, None)
        if self.takes and not isinstance(attack, self.takes[0]):
            raise ValueError(f"{self.adversary} must be {self.takes[1]}, got {attack!r}")
        if getattr(attack, "restarts", 1) > 1:
            raise ValueError("training takes the last point of one run, so restarts would be paid "
                             f"for and thrown away: leave them to evaluation, got {attack!r}")
        for name, symbol in WEIGHTS.items():
            if not 0 <= (value := getattr(self, name, 0)) < float("inf"):
                raise ValueError(f"{name} ({symbol}) must be at least 0 and finite, got {value!r}")
        if not 0 < (ratio := getattr(self, "ratio", 1)) <= 1:
            raise ValueError(f"ratio is a share of the batch, 0 < ratio <= 1, got {ratio!r}")

    def __call__(
        self,
        model: nn.Module,
        batch: Batch,
        backward: Callable[[Tensor], None] = Tensor.backward,
        *,
        step: int = 0,
        generator: torch.Generator | None = None,
    ) -> Parts:
        with Passes(bare(model), backward) as passes:
            losses = self.losses(model, batch, passes.learn, step, generator)
        losses = (None if loss is None else loss.detach() for loss in losses)
        made = (passes.forward, passes.backward, passes.weights)
        return Parts(*losses, *(count / len(batch["labels"]) for count in made))

    def losses(
        self, model: nn.Module, batch: Batch, backward: Callable[[Tensor], None], step: int,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:  # fmt: skip
        """Make all passes of the step; (loss, clean, adv) as in `Parts`."""
        raise NotImplementedError

    def settings(self, step: int) -> dict[str, float]:
        """The weights of the terms, such as λ, and ε as they are in a step, for the log."""
        found = {name: getattr(self, name) for name in WEIGHTS if hasattr(self, name)}
        attack = getattr(self, self.adversary, None)
        return found | ({"eps": attack.eps} if isinstance(attack, EmbeddingAttack) else {})

    def softer(self) -> Objective:
        """The same objective with half of its ε; of words, which have none, with half of λ."""
        attack = getattr(self, self.adversary, None)
        if isinstance(attack, EmbeddingAttack):
            return replace(self, **{self.adversary: replace(attack, eps=attack.eps / 2)})
        return replace(self, lam=self.lam / 2) if hasattr(self, "lam") else self

    def state(self) -> dict[str, Tensor]:
        """What an interrupted training needs to go on as if nothing had happened."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state` returned; of an empty state nothing is remembered."""


@dataclass(frozen=True)
class Clean(Objective):
    """L, the mean cross-entropy: the standard training to compare with."""

    def losses(self, model, batch, backward, step, generator):
        loss = mean_loss(perturbed_logits(model, batch, None), batch)
        backward(loss)
        return loss, loss, None


@dataclass(frozen=True)
class Adversarial(Objective):
    """L + λ·L_adv: cross-entropy on the clean batch plus λ times that on the attacked batch.

    attack: the inner maximisation; it takes its last point (no pass is spent on keeping the best).
    lam: λ. Goodfellow et al. 2015 (arXiv 1412.6572, section 6) weigh the two terms α and 1 − α;
        λ = 1 is their α = 0.5 at twice the learning rate.
    ratio: the share of each batch that is attacked, 0 < ratio ≤ 1; at least one text is.
    warmup: over so many optimiser steps λ grows linearly from 0; an encoder that is attacked
        before it has learned anything tends to collapse to one class.

    Two ways to the same gradient. Where the attack starts at δ = 0 in the network that the clean
    pass sees (no dropout, or `same_dropout` on the whole batch), the clean backward pass already
    holds the gradient of the first inner step and lends it: 2K + 4 units of work (a forward pass,
    a backward pass to the input, a backward pass to the weights are one unit each). Otherwise the
    attack makes its own first step, and clean and attacked examples go through one outer pass
    together: 2K + 6 units.

    Raises ValueError for a negative warm-up.
    """

    takes = EmbeddingAttack, "an embedding attack such as FGM(0.3)"
    attack: EmbeddingAttack
    lam: float = 1.0
    ratio: float = 1.0
    warmup: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.warmup < 0:
            raise ValueError(f"warmup counts steps and must be at least 0, got {self.warmup!r}")

    def settings(self, step):
        share = min(1.0, step / self.warmup) if self.warmup else 1.0
        return super().settings(step) | {"lam": self.lam * share}

    def losses(self, model, batch, backward, step, generator):
        lam = self.settings(step)["lam"]
        if lam == 0:
            return Clean().losses(model, batch, backward, step, generator)
        size = len(batch["labels"])
        rows = evenly(self.ratio, size)
        part = {name: value[rows] for name, value in batch.items()}
        way = self._lending if self._can_lend(model, len(rows) == size) else self._together
        return way(model, batch, part, rows, lam, backward, generator)

    def _can_lend(self, model: nn.Module, whole: bool) -> bool:
        if self.attack.random_start or self.attack.target is not None:
            return False
        return one_network(model, self.attack) and (whole or not is_random(model))

    def _lending(self, model, batch, part, rows, lam, backward, generator):
        # All passes of the step see one dropout mask. Only the last one goes through the wrapper
        # of a distributed model, so gradients are exchanged once.
        inner = bare(model)
        rewind = random_state(inner)
        start = zero_delta(inner, batch).requires_grad_()
        clean = mean_loss(perturbed_logits(inner, batch, start), batch)
        backward(clean)
        grad = gradient_at(start)[rows]
        # Under float16 the scaled gradient may overflow, or vanish where the model is sure; then
        # there is nothing to lend.
        movable = attackable(part, self.attack.part).any(1)
        whole = grad.isfinite().all() and grad.flatten(1).any(1)[movable].all()
        lent = grad if whole else None
        rewind()
        delta = self.attack(inner, part, keep_best=False, generator=generator, first_grad=lent)
        rewind()
        adv = mean_loss(perturbed_logits(model, part, delta), part)
        backward(lam * adv)
        return clean + lam * adv, clean, adv

    def _together(self, model, batch, part, rows, lam, backward, generator):
        delta = self.attack(model, part, keep_best=False, generator=generator)
        logits, moved = logits_of_both(model, batch, part, delta)
        return minimise(backward, mean_loss(logits, batch), lam, mean_loss(moved, part))


@dataclass(frozen=True)
class Madry(Objective):
    """L_adv alone: the model never sees a clean text (Madry et al. 2018, arXiv 1706.06083,
    eq. 2.1)."""

    takes = EmbeddingAttack, "an embedding attack such as PGD(0.3)"
    attack: EmbeddingAttack

    def losses(self, model, batch, backward, step, generator):
        # The attack leaves the random state as it was, so with same_dropout the mask is the same.
        delta = self.attack(model, batch, keep_best=False, generator=generator)
        adv = mean_loss(perturbed_logits(model, batch, delta), batch)
        backward(adv)
        return adv, None, adv


# ---------------------------------------------------------------------- the prediction stays put


@dataclass(frozen=True)
class TRADES(Objective):
    """L + β·KL(f(x) ‖ f(x + δ)): be right, and say the same nearby.

    Zhang et al. 2019, "Theoretically Principled Trade-off between Robustness and Accuracy", arXiv
    1901.08573, eq. 5, with β = 1/λ as in the authors' code; the gradient flows through both
    predictions.

    attack: `Divergence`, which maximises the very term that is minimised here.
    beta: β. They take 1 to 10 on images.
    """

    takes = Divergence, "Divergence, the ascent on the KL divergence"
    attack: Divergence
    beta: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        logits, moved = attacked_pair(model, batch, self.attack, generator)
        clean = mean_loss(logits, batch)
        term = divergence(logits, moved, self.attack.symmetric).mean()
        return minimise(backward, clean, self.beta, term)


@dataclass(frozen=True)
class VAT(Objective):
    """L + λ·KL(f(x) ‖ f(x + δ)), where f(x) is held constant and δ needs no label.

    Miyato et al. 2017, "Adversarial Training Methods for Semi-Supervised Text Classification",
    arXiv 1605.07725, eq. 8. Texts without a label carry `UNLABELLED` as theirs: they are left out
    of L, which is a mean over the labelled texts of the batch, and take part in the second term.
    With accumulation or several processes it is a mean over each micro-batch's own labelled texts,
    so batches should hold about as many each.
    """

    takes = VirtualAdversarial, "VirtualAdversarial, which needs no labels"
    attack: VirtualAdversarial
    lam: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        logits, moved = attacked_pair(model, batch, self.attack, generator)
        clean = mean_loss(logits, batch)
        term = divergence(logits.detach(), moved, self.attack.symmetric).mean()
        return minimise(backward, clean, self.lam, term)


@dataclass
class SMART(Objective):
    """L + λ·D(f(x), f(x + δ)) + μ·D(f(x), f̃(x)), D the symmetric KL divergence.

    Jiang et al. 2020, "SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language
    Models through Principled Regularized Optimization", arXiv 1911.03437, eqs. 1 to 4: smoothness,
    and a Bregman proximal term that keeps the model near its own recent past f̃, the moving average
    θ̃ ← momentum·θ̃ + (1 − momentum)·θ of the weights that are trained. Unlike the released code
    δ is really projected into the ball of size eps.

    attack: `Divergence(…, symmetric=True)`.
    lam, mu: λ and μ; mu = 0 leaves the second term, and its forward pass, out.
    momentum: they take 0.99 in the first tenth of training and 0.999 afterwards.
    A loop written by hand must count `step`: the average moves when it does. The past is read
    without dropout, so with dropout the μ term is not quite 0 even before the first step.
    Raises ValueError for mu > 0 under FSDP.
    """

    takes = Divergence, "Divergence(…, symmetric=True)"
    attack: Divergence
    lam: float = 1.0
    mu: float = 1.0
    momentum: float = 0.99
    _past: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _step: int = field(default=0, init=False, repr=False, compare=False)

    def __post_init__(self):
        super().__post_init__()
        if not self.attack.symmetric:
            raise ValueError("SMART's divergence is symmetric: Divergence(…, symmetric=True)")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum!r}")

    def losses(self, model, batch, backward, step, generator):
        logits, moved = attacked_pair(model, batch, self.attack, generator)
        clean = mean_loss(logits, batch)
        term = divergence(logits, moved, symmetric=True).mean()
        if not self.mu:
            return minimise(backward, clean, self.lam, term)
        past = self._past_logits(bare(model), batch, step)
        proximal = self.mu * divergence(past, logits, symmetric=True).mean()
        return minimise(backward, clean, self.lam, term, proximal)

    def _past_logits(self, model: nn.Module, batch: Batch, step: int) -> Tensor:
        now = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        if any(hasattr(p, "full_tensor") for p in now.values()):
            # FSDP puts its own weights in before every pass, so the past would be the present.
            raise ValueError("SMART's μ term does not work on weights that FSDP shares out: "
                             "take SMART(…, mu=0), or train without FSDP")  # fmt: skip
        if self._past.keys() != now.keys() or step < self._step:  # a new training
            self._past, self._step = {n: p.clone() for n, p in now.items()}, step
        if step > self._step:
            for name, past in self._past.items():
                self._past[name] = past.to(now[name].device).lerp(now[name], 1 - self.momentum)
            self._step = step

        def past_model(**inputs):
            return functional_call(model, self._past, (), inputs)

        with attack_mode(model, same_dropout=False), torch.no_grad():
            return perturbed_logits(past_model, batch, None)

    def state(self):
        return {**self._past, "step": torch.tensor(self._step)} if self._past else {}

    def restore(self, state):
        self._past = {name: value for name, value in state.items() if name != "step"}
        self._step = int(state.get("step", 0))


@dataclass(frozen=True)
class RDrop(Objective):
    """A control without an adversary: two dropout masks must agree.

    L(f₁) + L(f₂) + α·½·(KL(f₁ ‖ f₂) + KL(f₂ ‖ f₁)), Liang et al. 2021, "R-Drop: Regularized
    Dropout for Neural Networks", arXiv 2106.14448, eqs. 1 to 3.
    Raises ValueError for a model without dropout.
    """

    alpha: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        if not is_random(model):
            raise ValueError(
                "R-Drop compares two dropout masks, but this model has no dropout or is in eval "
                "mode: call model.train(), or set the dropout rates in its config"
            )
        one, two = logits_of_both(model, batch, batch, zero_delta(bare(model), batch))
        both = mean_loss(one, batch) + mean_loss(two, batch)
        term = divergence(one, two, symmetric=True).mean() / 2
        loss, _, _ = minimise(backward, both, self.alpha, term)
        return loss, both / 2, term  # the mean of the two, to be compared with other objectives'


@dataclass(frozen=True)
class R3F(Objective):
    """A control without an adversary: L + λ·D(f(x), f(x + noise)), D the symmetric KL divergence.

    Aghajanyan et al. 2021, "Better Fine-Tuning by Reducing Representational Collapse", arXiv
    2008.03156, section 3. They draw every coordinate by itself; here `Noise` has a fixed length,
    which in so many dimensions is nearly the same.
    """

    takes, adversary = (Noise, "Noise(eps)"), "noise"
    noise: Noise
    lam: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        logits, moved = attacked_pair(model, batch, self.noise, generator)
        clean = mean_loss(logits, batch)
        term = divergence(logits, moved, symmetric=True).mean()
        return minimise(backward, clean, self.lam, term)


# ---------------------------------------------------------------------- both gradients at once


@dataclass(frozen=True)
class FreeLB(Objective):
    """(1/K)·Σ_t L(f(x + δ_t)): every point on the way of the ascent is trained on.

    Zhu et al. 2020, "FreeLB: Enhanced Adversarial Training for Natural Language Understanding",
    arXiv 1909.11764, algorithm 1. One backward pass gives the gradient of the weights, which is
    gathered over the K = `attack.steps` points, and that of δ for the next point. The move after
    the last point, which nobody would see, is not made.

    attack: `PGD(eps, steps=K, …)`; they start at random, scale every step by one step_size, and
        keep one dropout mask: `PGD(eps, steps=3, step_size=…, random_start=True,
        same_dropout=True)`. From δ = 0 the first point is the clean text. Ours start anywhere in
        the ball, nearly all of whose volume lies close to its surface; the authors' code starts at
        about 0.58 ε.
    """

    takes = GRADIENT, "PGD(eps, steps=K)"
    attack: PGD

    def __post_init__(self):
        super().__post_init__()
        if self.attack.target is not None:
            raise ValueError(f"FreeLB climbs the loss and takes no target, got {self.attack}")

    def losses(self, model, batch, backward, step, generator):
        inner, attack = bare(model), self.attack
        ball, mask = attack.ball(inner), attackable(batch, attack.part).unsqueeze(-1)
        attack.check_size(ball, inner, batch, mask)
        rewind = random_state(inner) if attack.same_dropout else lambda: None
        delta = attack.start(ball, batch, mask, zero_delta(inner, batch), 0, generator)
        losses = []
        for t in range(attack.steps):
            rewind()
            last = t == attack.steps - 1
            delta = delta.detach().requires_grad_(not last)
            # Only the last pass goes through the wrapper that exchanges gradients.
            logits = perturbed_logits(model if last else inner, batch, delta)
            losses.append(mean_loss(logits, batch))
            backward(losses[-1] / attack.steps)
            if not last and gradient_at(delta).isfinite().all():  # float16 may overflow: then stay
                push = ball.steepest(delta.grad * mask)
                delta = attack.move(ball, delta.detach(), push, t)
        losses = torch.stack([loss.detach() for loss in losses])
        return losses.mean(), None if attack.random_start else losses[0], losses[-1]


@dataclass
class Free(Objective):
    """L(f(x + δ)), with δ and weights updated by the same backward pass, m times on each batch.

    Shafahi et al. 2019, "Adversarial Training for Free!", arXiv 1904.12843, algorithm 1. A step
    costs what a clean one does. δ is kept from one replay of a batch to the next; other than with
    images, where all have one shape, it does not go on to the next batch.

    attack: its ball and step; `FGM(eps)` moves by eps each time, as they do.
    replays: m. `AdversarialTrainer` replays by itself; an epoch then has m times as many steps, so
        divide the epochs by m for the price of clean training. A loop written by hand must call
        the objective m times, with an optimiser step after each.
    """

    differs = True
    takes = GRADIENT, "one that climbs the loss, such as FGM(0.3)"
    attack: EmbeddingAttack
    replays: int = 4
    _deltas: dict[str, tuple[Tensor, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.replays, int) or self.replays < 1:
            raise ValueError(f"replays must be a whole number of at least 1, got {self.replays!r}")
        if self.attack.target is not None:
            raise ValueError(f"Free moves away from the label and takes no target: {self.attack}")

    def losses(self, model, batch, backward, step, generator):
        inner, attack = bare(model), self.attack
        key = sha1(batch["input_ids"].cpu().numpy().tobytes()).hexdigest()
        ball, mask = attack.ball(inner), attackable(batch, attack.part).unsqueeze(-1)
        attack.check_size(ball, inner, batch, mask)
        zero = zero_delta(inner, batch)
        start = (attack.start(ball, batch, mask, zero, 0, generator), 0)
        delta, seen = self._deltas.pop(key, start)
        delta = delta.to(zero).requires_grad_()
        loss = mean_loss(perturbed_logits(model, batch, delta), batch)
        backward(loss)
        if seen + 1 < self.replays:
            grad = gradient_at(delta)
            grad = grad if grad.isfinite().all() else zero
            delta = attack.move(ball, delta.detach(), ball.steepest(grad * mask), 0)
            self._deltas[key] = delta, seen + 1
            while len(self._deltas) > MOST_BATCHES:  # a loop that does not replay
                del self._deltas[next(iter(self._deltas))]
        return loss, None if seen or attack.random_start else loss, loss

    def state(self):
        return {f"{key}.{seen}": delta for key, (delta, seen) in self._deltas.items()}

    def restore(self, state):
        self._deltas = {}
        for name, delta in state.items():
            key, seen = name.rsplit(".", 1)
            self._deltas[key] = delta, int(seen)


# ---------------------------------------------------------------------- when it sets in


@dataclass(frozen=True)
class After(Objective):
    """Plain training for the first optimiser steps, then the objective.

    An encoder that is attacked before it has learned anything tends to stay where it is, at one
    class for every text, and an objective without a clean term (Madry, Free, FreeLB) does so most.

    objective: what is minimised afterwards.
    steps: how many steps are plain. Raises ValueError where that is no whole number from 0 on.
    """

    objective: Objective
    steps: int

    def __post_init__(self):
        if not isinstance(self.objective, Objective):
            raise ValueError(f"After needs an objective such as Adversarial(FGM(0.3)), got "
                             f"{self.objective!r}")  # fmt: skip
        if not isinstance(self.steps, int) or self.steps < 0:
            raise ValueError(f"steps must be a whole number of at least 0, got {self.steps!r}")

    replays = property(lambda self: self.objective.replays)
    differs = property(lambda self: self.objective.differs)

    def __call__(self, model, batch, backward=Tensor.backward, *, step=0, generator=None):
        if step < self.steps:
            return Clean()(model, batch, backward)
        own = step - self.steps
        return self.objective(model, batch, backward, step=own, generator=generator)

    def settings(self, step):
        found = self.objective.settings(max(0, step - self.steps))
        return dict.fromkeys(found, 0.0) if step < self.steps else found

    def softer(self):
        return replace(self, objective=self.objective.softer())

    def state(self):
        return self.objective.state()

    def restore(self, state):
        self.objective.restore(state)


@dataclass(frozen=True, init=False)
class InTurn(Objective):
    """The optimiser steps take turns between several objectives: `InTurn(a, b, a, c)` minimises a,
    b, a, c, a, b, … So one model is trained against several threats, at the mean of their costs.

    objectives: one or more; one that stands there twice has two of the turns. Raises ValueError for
        anything else, and for `Free`, which replays its batches and needs all steps for itself.

    Each sees the number of the step of the whole training, so a warm-up ends when it would without
    the others.
    """

    objectives: tuple[Objective, ...]

    def __init__(self, *objectives: Objective):
        for one in objectives or (None,):
            if not isinstance(one, Objective):
                raise ValueError("InTurn takes one or more objectives, such as InTurn(Clean(), "
                                 f"Adversarial(FGM(0.3))), and not {one!r}")  # fmt: skip
            if one.replays > 1:
                raise ValueError("InTurn cannot share steps with an objective that replays its "
                                 f"batches, such as {one!r}")  # fmt: skip
        object.__setattr__(self, "objectives", objectives)

    def __repr__(self) -> str:
        return f"InTurn({', '.join(map(repr, self.objectives))})"

    differs = property(lambda self: any(one.differs for one in self.objectives))

    def turn(self, step: int) -> Objective:
        """Whose turn a step is."""
        return self.objectives[step % len(self.objectives)]

    def __call__(self, model, batch, backward=Tensor.backward, *, step=0, generator=None):
        return self.turn(step)(model, batch, backward, step=step, generator=generator)

    def settings(self, step):
        return self.turn(step).settings(step)

    def softer(self):
        softer = {id(one): one.softer() for one in self._different()}
        return InTurn(*(softer[id(one)] for one in self.objectives))

    def state(self):
        return {f"{k}.{name}": value for k, one in enumerate(self._different())
                for name, value in one.state().items()}  # fmt: skip

    def restore(self, state):
        for k, one in enumerate(self._different()):
            own = f"{k}."
            one.restore({n.removeprefix(own): v for n, v in state.items() if n.startswith(own)})

    def _different(self) -> list[Objective]:
        """The objectives, one that has several turns once."""
        return list({id(one): one for one in self.objectives}.values())


# ---------------------------------------------------------------------- real words


class OfTexts(Objective):
    """What objectives share that need the texts of a batch, which holds only their token ids: they
    are looked up among those of `data`, cut up by the tokenizer of `victim`."""

    @cached_property
    def _texts(self) -> dict[tuple[int, ...], Text]:
        texts = texts_of(self.data)
        ids = self.victim.tokens(texts)["input_ids"]
        return dict(zip(map(tuple, ids), texts, strict=True))

    def texts(self, batch: Batch) -> list[Text]:
        """The texts of a batch. Raises ValueError for one that is not in `data`."""
        rows = zip(batch["input_ids"], batch["attention_mask"].bool(), strict=True)
        keys = [tuple(ids[real].tolist()) for ids, real in rows]
        for key in keys:
            if key not in self._texts:
                raise ValueError(
                    f"a text of this batch is not in the data that {type(self).__name__} was "
                    "given: pass the same training texts to both (it begins "
                    f"{self.victim.tokenizer.decode(key[:12])!r})"
                )
        return [self._texts[key] for key in keys]


@dataclass(frozen=True)
class Words(OfTexts):
    """L + λ·L_adv where L_adv is taken on texts whose words an attack has changed.

    In the manner of A2T (Yoo and Qi 2021, "Towards Improving Adversarial Training of NLP Models",
    arXiv 2109.00544): words are ranked by the gradient, one pass in place of one query a word, and
    the search may ask only `attack.max_queries` times. A text is attacked anew whenever it comes
    up, against the model of that moment. The harshest text found is trained on, whether or not the
    model already falls for it.

    attack: such as `WordSubstitution(rank="gradient", max_queries=20)`.
    victim: the model that is trained, with its tokenizer.
    data: the texts that it is trained on, since a batch holds only their token ids.
    lam, ratio: λ, and the share of each batch that is attacked.
    """

    takes = WordAttack, "a word attack such as WordSubstitution()"
    attack: WordAttack
    victim: Classifier = field(repr=False)
    data: Dataset = field(repr=False)
    lam: float = 1.0
    ratio: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        size, labels = len(batch["labels"]), batch["labels"].tolist()
        if self.lam == 0:
            return Clean().losses(model, batch, backward, step, generator)
        if UNLABELLED in labels:
            raise ValueError("Words attacks away from the label, so every text needs one; VAT and "
                             "other objectives without labels take the rest")  # fmt: skip
        texts, rows = self.texts(batch), evenly(self.ratio, size)
        chosen = [labels[i] for i in rows]
        victim = replace(self.victim, model=bare(model))
        results = self.attack(victim, [texts[i] for i in rows], chosen)
        both = victim.encode([*texts, *(r.text for r in results)], labels + chosen)
        logits = perturbed_logits(model, both, None)
        part = {name: value[rows] for name, value in batch.items()}
        clean, adv = mean_loss(logits[:size], batch), mean_loss(logits[size:], part)
        return minimise(backward, clean, self.lam, adv)


# ---------------------------------------------------------------------- what they share


def minimise(
    backward: Callable[[Tensor], None], clean: Tensor, weight: float, term: Tensor,
    more: Tensor | float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """One backward pass for clean + weight · term (+ more)."""
    loss = clean + weight * term + more
    backward(loss)
    return loss, clean, term


def mean_loss(logits: Tensor, batch: Batch) -> Tensor:
    """The mean cross-entropy over the examples that have a label; 0 where none has.

    It is written as log(1 + e^m), m the log-odds of being wrong: so its gradient keeps all its
    digits where the model is sure. Through a softmax it would be p − 1, which in float32 is
    rounding from margins of about 16 on; and two objectives climb along this very gradient.

    A batch may bring a `weight` for each example, (batch,), whose mean over the training data is
    1, so that rare classes count for more (`advlib.training.tokenize`).
    """
    labels = batch["labels"]
    known = labels != UNLABELLED
    losses = F.softplus(wrong_margin(logits, labels.where(known, 0))) * known
    if WEIGHT in batch:
        losses = losses * batch[WEIGHT].to(losses.dtype)
    return losses.sum() / known.sum().clamp_min(1)


def evenly(ratio: float, size: int) -> list[int]:
    """A share `ratio` of `size` rows, at least one, evenly spread: a loader may put texts in the
    order of their lengths, and the first rows would be the longest."""
    some = max(1, round(ratio * size))
    return [(2 * i + 1) * size // (2 * some) for i in range(some)]


def is_random(model: nn.Module) -> bool:
    """Whether two passes over the same batch differ: training mode, and dropout somewhere."""
    return model.training and has_dropout(bare(model))


def one_network(model: nn.Module, attack: EmbeddingAttack) -> bool:
    """Whether the attack sees the very network that is trained."""
    return attack.same_dropout or not is_random(model)


def logits_of_both(
    model: nn.Module, batch: Batch, part: Batch, delta: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits of the batch, and of a part of it with δ, from one forward pass."""
    both = {name: torch.cat([batch[name], part[name]]) for name in batch}
    shift = torch.cat([zero_delta(bare(model), batch), delta])
    return perturbed_logits(model, both, shift).split([len(batch["labels"]), len(delta)])


def attacked_pair(
    model: nn.Module, batch: Batch, attack: EmbeddingAttack, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Logits of the batch and of the attacked batch, both to be differentiated. Where attack and
    training see one network, so do both logits, and the attack takes the clean ones for its
    reference."""
    inner = bare(model)
    if not one_network(inner, attack):
        delta = attack(inner, batch, keep_best=False, generator=generator)
        return logits_of_both(model, batch, batch, delta)
    rewind = random_state(inner)
    logits = perturbed_logits(inner, batch, None)
    rewind()
    # A reference in half precision would be of no use to the attack, which works in float32.
    lent = isinstance(attack, Divergence) and not autocasts(inner, logits.device)
    given = {**batch, "reference": logits.detach()} if lent else batch
    delta = attack(inner, given, keep_best=False, generator=generator)
    rewind()
    return logits, perturbed_logits(model, batch, delta)


def gradient_at(delta: Tensor) -> Tensor:
    """The gradient that a backward pass left on δ. Raises ValueError where none got there."""
    if delta.grad is None:
        raise ValueError(
            "no gradient reaches the embeddings: the model detaches them or does not use them, so "
            "there is nothing to climb"
        )
    return delta.grad
