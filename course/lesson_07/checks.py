"""Checks of lesson 07, honest evaluation.

The specification: temperatures by brute force over a fine grid; straight-through by the gradients
of functions whose own gradient is zero or misleading; averaged gradients by finite differences of
a model that draws its randomness from a list and can be rewound; sample sizes by trying every n;
checklists by evaluations that were damaged on purpose, so that what is missing is known.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from numbers import Integral
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from advlib import plots
from advlib.attacks.embedding import perturbed_logits, wrong_margin, zero_delta
from course.checking import Exercise, Wrong, call, compare, expect, seeded, specified, used

# ---------------------------------------------------------------- 07.1


def _number(value, given: dict) -> float:
    """T as a float, where it is one number."""
    expect(value is not None, "T is None: does the function return it?", given=given)
    expect(not isinstance(value, Tensor) or value.shape != given["logits"].shape,
           "return T itself and not the scaled logits", given=given, yours=value)  # fmt: skip
    try:
        return float(value.detach() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("T should be one number", given=given, yours=repr(value)) from None


def _calibration(seed: int, n: int, classes: int, factor: float) -> dict:
    """Logits of a model with some mistakes, sharpened or flattened by a factor."""
    g = torch.Generator().manual_seed(seeded(seed))
    labels = torch.randint(classes, (n,), generator=g)
    logits = torch.randn(n, classes, generator=g) * 2
    logits[torch.arange(n), labels] += 2.5
    logits[0] -= 3 * F.one_hot(labels[0], classes)  # one mistake in any case
    return dict(logits=factor * logits, labels=labels)


def _losses(logits: Tensor, labels: Tensor, grid: Tensor) -> Tensor:
    """Mean cross-entropy for every temperature of the grid."""
    scaled = logits.double()[None] / grid[:, None, None]
    return -scaled.log_softmax(-1)[:, torch.arange(len(labels)), labels].mean(1)


def _brier(logits: Tensor, labels: Tensor, grid: Tensor) -> Tensor:
    """Mean squared error of the probabilities for every temperature of the grid."""
    p = (logits.double()[None] / grid[:, None, None]).softmax(-1)
    return (p - F.one_hot(labels, logits.shape[1])).square().sum(-1).mean(1)


def _gap(logits: Tensor, labels: Tensor, grid: Tensor) -> Tensor:
    """How far the mean confidence is from the accuracy, for every temperature of the grid."""
    p = (logits.double()[None] / grid[:, None, None]).softmax(-1)
    return (p.amax(-1).mean(1) - (logits.argmax(1) == labels).double().mean()).abs()


def _best_temperature(logits: Tensor, labels: Tensor, of=_losses, keep=None, after=float) -> float:
    """By brute force: 2,000 temperatures over eight decades, then 2,000 around the best."""
    if keep is not None:
        logits, labels = keep(logits, labels)
    low, high = -3.0, 5.0
    for _ in range(2):
        grid = torch.logspace(low, high, 2000, dtype=torch.double)
        best = math.log10(float(grid[of(logits, labels, grid).argmin()]))
        low, high = best - 0.01, best + 0.01
    return after(10**best)


def _two(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Only the texts and the logits of the first two classes."""
    return logits[labels < 2, :2], labels[labels < 2]


def _difference(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The second class against the first, for all texts."""
    odds = logits[:, 1] - logits[:, 0]
    return torch.stack([torch.zeros_like(odds), odds], 1), (labels == 1).long()


TEMPERATURES = {
    "this is 1 / T: the logits are divided by T, not multiplied": dict(after=lambda T: 1 / T),
    "this is log T, the parameter and not the temperature": dict(after=math.log),
    "this is log10 T, the exponent and not the temperature": dict(after=math.log10),
    "the sign: a temperature is positive": dict(after=lambda T: -T),
    "this T minimises the squared error of the probabilities (the Brier score); the cross-entropy "
    "was asked for": dict(of=_brier),
    "this T makes the mean confidence equal to the accuracy; the smallest cross-entropy was asked "
    "for": dict(of=_gap),
    "only the first two classes are used; there may be more": dict(keep=_two),
    "this uses the difference of the first two logits; there may be more classes":
        dict(keep=_difference),
}  # fmt: skip


def check_temperature(answer) -> None:
    problems = [_calibration(700 + k, n, classes, factor) for k, (n, classes, factor) in enumerate(
        ((60, 2, 1.0), (40, 3, 30.0), (80, 2, 2500.0), (50, 4, 0.015)))]  # fmt: skip
    found = []

    def number(logits, labels):
        given = dict(logits=logits, labels=labels)
        found.append(_number(answer(logits, labels), given))
        return found[-1]

    def picture(yours, best, given):
        return _valley(given["logits"], given["labels"], yours, best) if yours > 0 else None

    try:
        specified(number, problems, _best_temperature, TEMPERATURES, what="T (right to within 1 %)",
                  picture=picture, rtol=0.012)  # fmt: skip
    except Wrong as wrong:
        if len(found) == len(problems):
            wrong.likely = wrong.likely or _reach(found, problems)
        raise


def _reach(found: list, problems: list) -> str | None:
    """What all four together show: T that does not follow the logits, or is only roughly right."""
    off = [abs(T / _best_temperature(**problem) - 1) for T, problem in
           zip(found, problems, strict=True)]  # fmt: skip
    for T in found:
        if sum(abs(T / other - 1) < 1e-3 for other in found) > 1:
            return (f"T is {T:.3g} for logits of very different sizes: it does not follow them, or "
                    "the search does not reach further")  # fmt: skip
    if max(off) < 0.3:
        return "T is near everywhere, but not right to 1 %: a finer grid, or more steps"
    return None


def _valley(logits, labels, found, best):
    with plots.style():
        fig, ax = plots.figure(4.6, 2.8)
        low, high = sorted((math.log10(found), math.log10(best)))
        grid = torch.logspace(max(low, -4) - 0.6, min(high, 6) + 0.6, 200, dtype=torch.double)
        ax.plot(grid, _losses(logits, labels, grid), color="#555555")
        for T, colour, name in ((found, "#D55E00", "yours"), (best, "#0072B2", "smallest")):
            ax.axvline(T, color=colour, label=f"{name}: {T:.3g}")
        ax.set(xscale="log", yscale="log", xlabel="T", ylabel="cross-entropy")
        fig.legend(loc="outside upper left", ncols=2)
    return fig


# ---------------------------------------------------------------- 07.2


@dataclass(frozen=True)
class _Layer:
    """A function of a tensor that has a name."""

    name: str
    of: object

    def __call__(self, x: Tensor) -> Tensor:
        return self.of(x)

    def __repr__(self) -> str:
        return self.name


def _nearest(x: Tensor) -> Tensor:
    table = torch.linspace(-3, 3, 7, dtype=x.dtype)
    return table[(x.unsqueeze(-1) - table).abs().argmin(-1)]


STAIRS = _Layer("rounds to thirds", lambda x: (3 * x).round() / 3)
# Its own gradient is ±3.5, and means nothing.
MISLEADING = _Layer("rounds, and adds a fine wave", lambda x: x.round() + 0.05 * (70 * x).sin())
NEAREST = _Layer("takes the nearest row of a table", _nearest)


def check_straight_through(answer) -> None:
    problems = []
    for k, (f, shape, kind) in enumerate((
            (STAIRS, (2, 3, 4), torch.float), (MISLEADING, (5,), torch.float),
            (NEAREST, (3, 2), torch.double), (MISLEADING, (2, 2, 3), torch.float))):  # fmt: skip
        g = torch.Generator().manual_seed(seeded(720 + k))
        x, weights = (torch.randn(shape, generator=g).to(kind) for _ in range(2))
        problems.append(dict(f=f, x=1.3 * x, weights=weights))

    specified(lambda f, x: _value(answer(f, x), x), [dict(f=p["f"], x=p["x"]) for p in problems],
              _forwards, VALUES, what="the value")  # fmt: skip
    plain = torch.tensor([0.4, 1.6])
    with torch.no_grad():
        compare(call(answer, f=STAIRS, x=plain), STAIRS(plain), given=dict(f=STAIRS, x=plain),
                what="without gradients the value")  # fmt: skip
    for p in problems:
        p["x"] = p["x"].clone().requires_grad_()
        p["x"].grad = torch.full_like(p["x"], 0.5)  # somebody else's
    specified(lambda f, x, weights: _slope(answer(f, x), x, weights), problems, _backwards, SLOPES,
              what="the gradient of (weights * y).sum() in x")  # fmt: skip


def _forwards(f: _Layer, x: Tensor, of=lambda value, x: value) -> Tensor:
    return of(f(x), x)


def _backwards(f: _Layer, x: Tensor, weights: Tensor, of=lambda own, weights: weights) -> Tensor:
    return of(_slope(f(x), x, weights), weights)


def _value(y, x: Tensor):
    if isinstance(y, Tensor):
        expect(y.dtype == x.dtype, f"the value is {y.dtype}, where x is {x.dtype}")
    return y


def _slope(y, x: Tensor, weights: Tensor) -> Tensor:
    """The gradient in x; zero where nothing flows back to it."""
    expect(isinstance(y, Tensor), "the result should be a tensor", yours=repr(y))
    if not y.requires_grad:
        return torch.zeros_like(x)
    (grad,) = torch.autograd.grad((weights * y).sum(), x, allow_unused=True)
    return torch.zeros_like(x) if grad is None else grad


VALUES = {
    "this is x itself: forwards it must be f(x)": dict(of=lambda v, x: x),
    "x is counted twice: what is added must bring x to f(x)": dict(of=lambda v, x: v + x),
    "this is f(x) − x: x itself is missing": dict(of=lambda v, x: v - x),
    "the difference has the wrong sign": dict(of=lambda v, x: 2 * x - v),
}
SLOPES = {
    "this is f's own gradient: on the way back f must count as the identity":
        dict(of=lambda own, w: own),
    "f's own gradient is added: detach f(x), too": dict(of=lambda own, w: own + w),
    "no gradient flows back to x: only the constant should be detached":
        dict(of=lambda own, w: 0 * w),
    "the gradient is minus that of the identity: the wrong part is detached":
        dict(of=lambda own, w: -w),
    "f's own gradient minus that of x: the wrong part is detached": dict(of=lambda own, w: own - w),
    "the gradient is twice that of the identity": dict(of=lambda own, w: 2 * w),
    "the gradient is 1 whatever comes after: it must be multiplied with what comes back":
        dict(of=lambda own, w: 1 + 0 * w),
}  # fmt: skip


# ---------------------------------------------------------------- 07.3


class _Drawn(nn.Module):
    """A small classifier whose every pass multiplies the embeddings by the next tensor of a list;
    calls = 0 starts the list again."""

    def __init__(self, seed: int, classes: int = 2, hidden: int = 4, strength: float = 2.0):
        super().__init__()
        self.g = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(9, hidden)
        self.inner = nn.Linear(hidden, 6)
        self.out = nn.Linear(6, classes)
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=self.g, dtype=torch.double)
        self.noise = [1 + strength * torch.randn(hidden, generator=self.g, dtype=torch.double)
                      for _ in range(64)]  # fmt: skip
        self.calls, self.seen = 0, []  # how many passes, and the embeddings that each one read

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask, **_):
        read = self.table(input_ids)
        self.seen.append(read.detach().clone())
        e = read * self.noise[self.calls % 64] * attention_mask[..., None]
        self.calls += 1
        return SimpleNamespace(logits=self.out(torch.tanh(self.inner(e.sum(1)))))


@dataclass(frozen=True)
class _Case:
    """A random model as somebody else left it, a batch, a delta, and how many passes."""

    model: _Drawn
    batch: dict
    delta: Tensor
    k: int

    def __repr__(self) -> str:
        size, tokens, _ = self.delta.shape
        return f"a small random model and {size} texts of {tokens} tokens"

    @property
    def logits(self) -> Tensor:
        return _passes(self.model, self.batch, self.delta, self.k)

    def problem(self) -> dict:
        y = self.batch["labels"]
        return {"case": self, "k": self.k, "labels": y,
                "right in each pass": (self.logits.argmax(-1) == y).int()}  # fmt: skip


def _random_case(seed: int, size: int, tokens: int, classes: int, k: int, graded: bool) -> _Case:
    """graded: delta requires a gradient, and has one already."""
    model = used(_Drawn(seed, classes))
    g = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(1, 9, (size, tokens), generator=g)
    attention = torch.ones_like(ids)
    attention[-1, -1] = 0
    batch = dict(input_ids=ids, attention_mask=attention,
                 special_tokens_mask=torch.zeros_like(ids),
                 labels=torch.randint(classes, (size,), generator=g))  # fmt: skip
    delta = 0.3 * torch.randn(zero_delta(model, batch).shape, generator=g, dtype=torch.double)
    if graded:
        delta.requires_grad_()
        delta.grad = torch.full_like(delta, 0.5)
    return _Case(model, batch, delta, k)


@torch.no_grad()
def _passes(model: _Drawn, batch: dict, delta: Tensor, k: int) -> Tensor:
    """The logits of the first k draws, (k, batch, classes)."""
    model.calls = 0
    return torch.stack([perturbed_logits(model, batch, delta) for _ in range(k)])


def _numeric(case: _Case, value, h=1e-5) -> Tensor:
    """Central finite differences in delta of `value`, a function from the logits (k, batch,
    classes) and the labels to one number per text. All coordinates go in one batch."""
    delta = case.delta.detach()
    size, count = len(delta), delta[0].numel()
    steps = h * torch.eye(count, dtype=torch.double).view(count, 1, *delta.shape[1:])
    both = torch.cat([delta + steps, delta - steps])  # (2 count, batch, tokens, hidden)
    many = {name: v.repeat(2 * count, *[1] * (v.dim() - 1)) for name, v in case.batch.items()}
    logits = _passes(case.model, many, both.flatten(0, 1), case.k)
    up, down = value(logits, many["labels"]).view(2, count, size)
    return ((up - down) / (2 * h)).T.reshape(delta.shape)


def _slopes(case: _Case) -> Tensor:
    """The gradient of the log-odds in each of the first k draws, (k, *delta.shape)."""
    case.model.calls, out = 0, []
    for _ in range(case.k):
        here = case.delta.detach().clone().requires_grad_()
        logits = perturbed_logits(case.model, case.batch, here)
        out += torch.autograd.grad(wrong_margin(logits, case.batch["labels"]).sum(), here)
    return torch.stack(out)


def _mean(of):
    """The mean over the draws of a function of (logits, labels)."""
    return lambda z, y: torch.stack([of(one, y) for one in z]).mean(0)


MEAN_ODDS = _mean(wrong_margin)
OTHERS = {
    "hard=True takes the strongest wrong class only: use wrong_margin without it":
        _mean(lambda z, y: wrong_margin(z, y, hard=True)),
    "only the first draw counts": lambda z, y: wrong_margin(z[0], y),
    "only the last draw counts": lambda z, y: wrong_margin(z[-1], y),
    "this is the gradient of the cross-entropy, not of the log-odds":
        _mean(lambda z, y: F.cross_entropy(z, y, reduction="none")),
    "the logits are averaged before the log-odds: average the log-odds":
        lambda z, y: wrong_margin(z.mean(0), y),
    "the probabilities are averaged before the log-odds: average the log-odds":
        lambda z, y: wrong_margin(z.softmax(-1).mean(0).log(), y),
}  # fmt: skip


SLOPES_OF_DRAWS = {
    "sum instead of mean over the draws: divide by k":
        dict(after=lambda exact, case: case.k * exact),
    "divided by k twice": dict(after=lambda exact, case: exact / case.k),
    "wrong sign": dict(after=lambda exact, case: -exact),
    "mean over the texts: sum over them, so that no text depends on how many there are":
        dict(after=lambda exact, case: exact / len(exact)),
    "the gradient is divided by its length: that is the attack's business":
        dict(after=lambda exact, case: exact / exact.flatten(1).norm(dim=1)[:, None, None]),
    "the gradient's sign is taken: that is the attack's business":
        dict(after=lambda exact, case: exact.sign()),
    "every draw's gradient is divided by its length: average them as they are": dict(
        after=lambda exact, case: F.normalize(_slopes(case).flatten(2), dim=2).mean(0)
        .view_as(exact)),
    **{sentence: dict(of=of) for sentence, of in OTHERS.items()},
}  # fmt: skip
# From (logits, labels, which draws are right) to the verdict on each text.
VERDICTS = {sentence: dict(of=of) for sentence, of in {
    "a tie goes to the attacker: more than half must be right":
        lambda z, y, hits: hits.sum(0) * 2 >= len(hits),
    "this is True where any draw is right; the majority was asked for":
        lambda z, y, hits: hits.any(0),
    "this is True only where all draws are right; the majority was asked for":
        lambda z, y, hits: hits.all(0),
    "this is True where the majority is wrong": lambda z, y, hits: hits.sum(0) * 2 <= len(hits),
    "this is the share of right draws: compare it with one half":
        lambda z, y, hits: hits.double().mean(0),
    "this is the number of right draws: compare it with k / 2": lambda z, y, hits: hits.sum(0),
    "this is the most frequent class; more than half must give the label":
        lambda z, y, hits: z.argmax(-1).mode(0).values == y,
    "this judges the mean logits; the draws vote, one each":
        lambda z, y, hits: z.mean(0).argmax(-1) == y,
    "this judges the mean probabilities; the draws vote, one each":
        lambda z, y, hits: z.softmax(-1).mean(0).argmax(-1) == y,
    "this judges the mean log-odds; the draws vote, one each":
        lambda z, y, hits: MEAN_ODDS(z, y) < 0,
    "log-odds below 0 ask that the label beats all other classes together; it wins where it is "
    "the argmax": lambda z, y, hits:
        torch.stack([wrong_margin(one, y) < 0 for one in z]).sum(0) * 2 > len(z),
    "only the first draw is counted": lambda z, y, hits: hits[0],
    "only the last draw is counted": lambda z, y, hits: hits[-1],
}.items()}  # fmt: skip


def check_eot(answer) -> None:
    problems = [_random_case(*numbers, graded=k % 2 == 1).problem() for k, numbers in enumerate((
        (738, 6, 3, 2, 4), (880, 6, 3, 3, 5), (740, 5, 2, 2, 2), (765, 1, 3, 2, 1)))]  # fmt: skip

    def exact(case, of=MEAN_ODDS, after=lambda exact, case: exact, **_):
        return after(_numeric(case, of), case)

    def majority(case, of=lambda z, y, hits: hits.sum(0) * 2 > len(hits), **_):
        z, y = case.logits, case.batch["labels"]
        return of(z, y, z.argmax(-1) == y)

    specified(lambda case, *_: _one_eot(answer, case)[0], problems, exact, SLOPES_OF_DRAWS,
              what="grad", rtol=1e-3)  # fmt: skip
    specified(lambda case, *_: _one_eot(answer, case)[1], problems, majority, VERDICTS,
              what="right")  # fmt: skip


def _one_eot(answer, case: _Case) -> tuple:
    """What the answer returns, after all has been looked at but the two values."""
    model, k, given = case.model, case.k, case.problem()
    model.calls, model.seen = 0, []
    state = torch.get_rng_state()
    result = call(answer, model=model, batch=case.batch, delta=case.delta, k=k, same_mode=True)
    expect(torch.equal(state, torch.get_rng_state()),
           "your function sets a seed (or draws random numbers itself): the randomness is the "
           "model's", given=given)  # fmt: skip
    expect(result is not None, "the result is None: return grad, right", given=given)
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, grad and right", given=given,
           yours=repr(result))  # fmt: skip
    expect(model.calls == k,
           f"the model was called {model.calls} times; k = {k} passes were asked for", given=given,
           likely="one pass serves both results" if model.calls == 2 * k else
           "the loop over k is missing" if model.calls == 1 else None)  # fmt: skip
    expect(all(torch.equal(one, model.seen[0]) for one in model.seen),
           "the passes do not all see the same delta", given=given,
           likely="delta walks between the draws: all k gradients belong to one place; the step "
           "comes after the average")  # fmt: skip
    if isinstance(result[0], Tensor):
        expect(not result[0].requires_grad, "grad still carries a graph", given=given)
    return tuple(result)


# ---------------------------------------------------------------- 07.4


N = np.arange(1, 1_100_001)  # every n that may come out
Z = 1.959964


def _half(p, n, z: float = Z):
    """Half of the Wilson interval."""
    return z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def _smallest(p: float, half_width: float, half=_half, times: float = 1.0, more: int = 0) -> int:
    """Among all n, the first whose interval is at most so wide."""
    n = int(N[(half(p, N.astype(float)) <= times * half_width).argmax()])
    return max(1, n + more)


COUNTS = {
    "z = 1.96 is rounded: take z = 1.959964": dict(half=lambda p, n: _half(p, n, 1.96)),
    "z = 1.645 belongs to 90 %": dict(half=lambda p, n: _half(p, n, 1.645)),
    "z = 2.576 belongs to 99 %": dict(half=lambda p, n: _half(p, n, 2.576)),
    "one too many: the smallest n that is enough": dict(more=1),
    "one too few: at this n the interval is still too wide": dict(more=-1),
    "the shorter formula z·√(p(1−p)/n) was used, which is no Wilson interval":
        dict(half=lambda p, n: Z * np.sqrt(p * (1 - p) / n)),
    "half_width is half of the interval already, and was taken for the whole width":
        dict(times=0.5),
    "the half width was compared with twice half_width": dict(times=2.0),
    "this is n for the worst case p = 0.5: use p": dict(half=lambda p, n: _half(0.5, n)),
    "the root was forgotten": dict(
        half=lambda p, n: Z / (1 + Z * Z / n) * (p * (1 - p) / n + Z * Z / (4 * n * n))),
    "the factor 1 / (1 + z²/n) is missing":
        dict(half=lambda p, n: _half(p, n) * (1 + Z * Z / n)),
    "p·n was rounded to whole hits: put p in as it is":
        dict(half=lambda p, n: _half(np.round(p * n) / n, n)),
}  # fmt: skip


def check_examples_needed(answer) -> None:
    cases = ((0.5, 0.05), (0.83, 0.04), (1.0, 0.03), (0.0, 0.2), (0.97, 0.015), (0.3, 0.6),
             (0.62, 0.45), (0.5, 0.002))  # fmt: skip

    def whole(p, half_width):
        n = answer(p, half_width)
        n = n.item() if isinstance(n, Tensor) and n.numel() == 1 else n
        expect(n is None or isinstance(n, Integral) and not isinstance(n, bool),
               f"n should be a whole number (an int), not {type(n).__name__}",
               given=dict(p=p, half_width=half_width), yours=n)  # fmt: skip
        return n

    problems = [dict(p=p, half_width=width) for p, width in cases]
    try:
        specified(whole, problems, _smallest, COUNTS, what="the smallest n that is enough",
                  atol=0.5, rtol=0)  # fmt: skip
    except Wrong as wrong:
        if isinstance(wrong.yours, Integral) and wrong.yours >= 1 and wrong.expected:
            widths = {f"half width at {whose} n": float(_half(wrong.given["p"], n)) for whose, n in
                      (("your", wrong.yours), ("the expected", wrong.expected))}  # fmt: skip
            wrong.given = {**wrong.given, **widths}
        raise


# ---------------------------------------------------------------- 07.5


def _attack(kind: str, steps: int, accuracy: float, adaptive: bool = False, loss=None) -> dict:
    made = dict(kind=kind, steps=steps, accuracy=accuracy, adaptive=adaptive)
    return made if loss is None else made | {"loss": loss}


def _complete() -> dict:
    """An evaluation in which nothing is missing."""
    return {
        "norm": "l2", "eps": 0.25, "n": 640, "clean": 0.93, "interval": (0.31, 0.42),
        "attacks": [_attack("noise", 0, 0.92, loss=(0.2, 0.21)), _attack("white", 1, 0.55),
                    _attack("white", 20, 0.36, True, (0.2, 3.1)), _attack("black", 0, 0.48)],
        "curve": {0.1: 0.7, 4.0: 0.0, 0.25: 0.36},
    }  # fmt: skip


def _set(**values):
    return lambda e: e.update({name.replace("_", " "): value for name, value in values.items()})


def _drop(*names):
    def damage(e):
        for name in names:
            e.pop(name, None)

    return damage


def _change(index: int, **values):
    return lambda e: e["attacks"][index].update(values)


def _accuracies(once: tuple, many: tuple, black: float):
    """Other attacks: one white one for each accuracy of `once` (1 step) and `many` (20 steps)."""

    def damage(e):
        e["attacks"] = [*(_attack("white", 1, a, True) for a in once),
                        *(_attack("white", 20, a, True) for a in many),
                        _attack("black", 0, black)]  # fmt: skip

    return damage


# (what was done to a complete evaluation, the damage, the codes that are then expected)
DAMAGES = (
    ("nothing", lambda e: None, []),
    ("norm left out", _drop("norm"), ["no threat model"]),
    ("eps is None", _set(eps=None), ["no threat model"]),
    ("norm and eps left out", _drop("norm", "eps"), ["no threat model"]),
    ("clean left out", _drop("clean"), ["no clean accuracy"]),
    ("clean is 0.0: it is there", _set(clean=0.0), []),
    ("n is 99", _set(n=99), ["n below 100"]),
    ("n is 100", _set(n=100), []),
    ("n left out", _drop("n"), ["n below 100"]),
    ("interval left out", _drop("interval"), ["no interval"]),
    ("the many-step attack takes one step", _change(2, steps=1, accuracy=0.3), ["one step only"]),
    ("FGM at 0.30 beats PGD at 0.36", _change(1, accuracy=0.3), ["one step beats many"]),
    ("FGM and PGD tie at 0.36", _change(1, accuracy=0.36), []),
    ("noise at 0.2", _change(0, accuracy=0.2), ["gradient beaten"]),
    ("black box at 0.35", _change(3, accuracy=0.35), ["gradient beaten"]),
    ("black box at 0.36, as PGD", _change(3, accuracy=0.36), []),
    ("black box at 0.0 and FGM at 0.3", lambda e: (_change(3, accuracy=0.0)(e),
                                                  _change(1, accuracy=0.3)(e)),
     ["gradient beaten", "one step beats many"]),
    ("PGD's loss stays at 0.2", _change(2, loss=(0.2, 0.2)), ["loss did not rise"]),
    ("the noise's loss falls", _change(0, loss=(0.2, 0.1)), ["loss did not rise"]),
    ("loss is None", _change(2, loss=None), []),
    ("curve left out", _drop("curve"), ["curve not at 0"]),
    ("curve is empty", _set(curve={}), ["curve not at 0"]),
    ("curve ends at 0.06", lambda e: e["curve"].update({4.0: 0.06}), ["curve not at 0"]),
    ("curve ends at 0.05", lambda e: e["curve"].update({4.0: 0.05}), []),
    ("curve is 0.0 in the middle, 0.5 at its end",
     _set(curve={0.1: 0.7, 1.0: 0.0, 9.0: 0.5}), ["curve not at 0"]),
    ("no attack is adaptive", _change(2, adaptive=False), ["no adaptive attack"]),
    ("random, draws left out", _set(random=True), ["random without averaging"]),
    ("random, 9 draws", _set(random=True, draws=9), ["random without averaging"]),
    ("random, 10 draws", _set(random=True, draws=10), []),
    ("not random, 1 draw", _set(random=False, draws=1), []),
    ("detector, false alarms left out", _set(detector=True), ["refusals hidden"]),
    ("detector, no false alarm (0.0)", _set(detector=True, false_alarms=0.0), []),
    ("not a detector", _set(detector=False), []),
    ("only black boxes", _set(attacks=[_attack("black", 0, 0.4, True)]), ["one step only"]),
    *((f"{key} is None", _set(**{key.replace(" ", "_"): None}), codes) for key, codes in (
        ("norm", ["no threat model"]), ("clean", ["no clean accuracy"]),
        ("n", ["n below 100"]), ("interval", ["no interval"]), ("curve", ["curve not at 0"]),
        ("attacks", ["no adaptive attack", "one step only"]), ("random", []), ("detector", []),
        ("draws", []), ("false alarms", []))),
    ("random, draws is None", _set(random=True, draws=None), ["random without averaging"]),
    ("detector, false alarms is None", _set(detector=True, false_alarms=None),
     ["refusals hidden"]),
    ("eps is 0.0: it is there", _set(eps=0.0), []),
    ("the interval starts at 0.0", _set(interval=(0.0, 0.1)), []),
    ("the interval is (0.0, 0.0): it is there", _set(interval=(0.0, 0.0)), []),
    ("the many-step attack takes 2 steps", _change(2, steps=2), []),
    ("the many-step attack takes 3 steps", _change(2, steps=3), []),
    ("PGD at 0.0", _change(2, accuracy=0.0), []),
    ("FGM at 0.0 beats PGD at 0.36", _change(1, accuracy=0.0), ["one step beats many"]),
    ("FGM and PGD at 0.0", lambda e: (_change(1, accuracy=0.0)(e), _change(2, accuracy=0.0)(e)),
     []),
    ("FGM 0.3, PGD 0.5, black box 0.4: FGM is white, too", _accuracies((0.3,), (0.5,), 0.4),
     ["one step beats many"]),
    ("FGM 0.5, no PGD, black box 0.4", _accuracies((0.5,), (), 0.4),
     ["gradient beaten", "one step only"]),
    ("no FGM, PGD 0.5, black box 0.4", _accuracies((), (0.5,), 0.4), ["gradient beaten"]),
    ("one step 0.55 and 0.3, many 0.36 and 0.5", _accuracies((0.55, 0.3), (0.36, 0.5), 0.6),
     ["one step beats many"]),
    ("one step 0.3 and 0.55, many 0.5 and 0.36", _accuracies((0.3, 0.55), (0.5, 0.36), 0.6),
     ["one step beats many"]),
    ("one step 0.45 and 0.55, many 0.5 and 0.36", _accuracies((0.45, 0.55), (0.5, 0.36), 0.6),
     []),
    ("one step 0.55 and 0.45, many 0.36 and 0.5", _accuracies((0.55, 0.45), (0.36, 0.5), 0.6),
     []),
    ("two losses stay at 0.2", lambda e: (_change(0, loss=(0.2, 0.2))(e),
                                         _change(2, loss=(0.2, 0.2))(e)), ["loss did not rise"]),
    ("PGD's loss stays at 0.0", _change(2, loss=(0.0, 0.0)), ["loss did not rise"]),
    ("PGD's loss falls to 0.0", _change(2, loss=(0.3, 0.0)), ["loss did not rise"]),
    ("PGD's loss rises from 0.0", _change(2, loss=(0.0, 0.3)), []),
    ("attacks left out", _drop("attacks"), ["no adaptive attack", "one step only"]),
    ("everything left out", lambda e: e.clear(),
     ["curve not at 0", "n below 100", "no adaptive attack", "no clean accuracy", "no interval",
      "no threat model", "one step only"]),
)  # fmt: skip

RULES = {
    "no clean accuracy": "`clean` is absent or None; an accuracy of 0.0 is not absent",
    "refusals hidden": "only where `detector` is True: `false alarms` is absent or None; a share "
    "of 0.0 is not absent",
    "n below 100": "absent, None or below 100; 100 is enough",
    "no threat model": "`norm` or `eps` is absent or None, either is enough; an eps of 0.0 is not "
    "absent",
    "one step only": "only white attacks count, and 2 steps are more than one; an accuracy of 0.0 "
    "counts",
    "one step beats many": "a strictly lower accuracy, the lowest of all with 1 step against the "
    "lowest of all with more (0.0 counts); white attacks only, and both kinds must be there",
    "gradient beaten": "a black or noise attack strictly below every white one, of one step or of "
    "many, and there must be a white one",
    "loss did not rise": "after is not larger than before, in any attack that reports a loss; a "
    "loss of 0.0 is reported, too",
    "curve not at 0": "what counts is the accuracy at the largest eps (not at the last key, nor "
    "the smallest accuracy), up to 0.05; a curve that is absent, None or empty is not at 0",
    "random without averaging": "only where random is True: `draws` is absent, None or below 10; "
    "10 draws are enough",
    "no adaptive attack": "one adaptive attack is enough",
    "no interval": "absent or None; an interval with 0.0 in it is there",
}


def check_missing(answer) -> None:
    for name, damage, expected in DAMAGES:
        damaged = _complete()
        damage(damaged)
        evaluation = copy.deepcopy(damaged)
        shown = {f"evaluation[{key!r}]": value for key, value in damaged.items()}
        given = {"what was done to a complete evaluation": name, **shown}
        try:
            found = call(answer, evaluation=evaluation)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            none = "NoneType" in str(error) and "a value may be None, and .get gives None, too"
            absent = isinstance(error, KeyError) and "a key may be absent: use .get"
            raise Wrong(f"your function fails with {type(error).__name__}: {error}", given=given,
                        expected=expected, likely=none or absent or None) from error  # fmt: skip
        expect(found is not None, "the result is None: does the function return a list?",
               given=given)  # fmt: skip
        expect(isinstance(found, list), f"the result should be a list, not {type(found).__name__}",
               given=given, yours=repr(found), expected=expected)  # fmt: skip
        unknown = [code for code in found if code not in RULES]
        expect(not unknown, f"there is no code {unknown[:1]}: spelled as in the table?",
               given=given, yours=found, expected=expected)  # fmt: skip
        over = [code for code in found if code not in expected]
        under = [code for code in expected if code not in found]
        for code in (over + under)[:1]:
            does = "reported and should not be" if over else "not reported"
            raise Wrong(f"{code!r} is {does}. The rule: {RULES[code]}", given=given, yours=found,
                        expected=expected)  # fmt: skip
        expect(len(set(found)) == len(found), "a code occurs twice", given=given, yours=found,
               expected=expected)  # fmt: skip
        expect(found == expected, "the list is not sorted", given=given, yours=found,
               expected=expected)  # fmt: skip


# ---------------------------------------------------------------- the course's functions


def temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 that minimises the mean cross-entropy of softmax(logits / T).

    logits: (n, classes); labels: (n,).
    """
    logits, low, high = logits.double(), -3.0, 5.0
    for _ in range(4):
        grid = torch.logspace(low, high, 60, dtype=torch.double)
        losses = torch.stack([cross_entropy(logits / T, labels) for T in grid.to(logits.device)])
        best, width = grid[losses.argmin()].log10().item(), (high - low) / 59
        low, high = best - width, best + width
    return 10**best


def straight_through(f, x: Tensor) -> Tensor:
    """f(x) forwards and the identity backwards, of the shape of x."""
    return x + (f(x) - x).detach()


def eot(model: nn.Module, batch: dict, delta: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """k passes of a random model: the gradient in delta of the mean log-odds, of the shape of
    delta, and (batch,) True where more than half of the passes give the label."""
    here, grad, hits = delta.detach().clone().requires_grad_(), 0, 0
    for _ in range(k):
        logits = perturbed_logits(model, batch, here)
        margins = wrong_margin(logits, batch["labels"])
        grad = grad + torch.autograd.grad(margins.sum(), here)[0] / k
        hits = hits + (logits.argmax(1) == batch["labels"]).int()
    return grad, hits > k / 2


def examples_needed(p: float, half_width: float) -> int:
    """The smallest n with a 95 % Wilson interval of at most ± half_width at accuracy p."""
    z = 1.959964

    def half(n):
        return z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))

    low, high = 0, 1  # low is too few, high will be enough
    while half(high) > half_width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half(middle) <= half_width else (middle, high)
    return high


def missing(evaluation: dict) -> list[str]:
    """The sorted codes of what an evaluation, a dictionary as in lesson 07, lacks."""
    get, inf = evaluation.get, math.inf
    attacks, curve = get("attacks") or [], get("curve") or {}
    white = [a for a in attacks if a["kind"] == "white"]
    once = min((a["accuracy"] for a in white if a["steps"] == 1), default=inf)
    many = min((a["accuracy"] for a in white if a["steps"] > 1), default=inf)
    free = min((a["accuracy"] for a in attacks if a["kind"] != "white"), default=inf)
    losses = [a["loss"] for a in attacks if a.get("loss") is not None]
    found = {
        "no threat model": get("norm") is None or get("eps") is None,
        "no clean accuracy": get("clean") is None,
        "n below 100": (get("n") or 0) < 100,
        "no interval": get("interval") is None,
        "one step only": many == inf,
        "one step beats many": once < many < inf,
        "gradient beaten": bool(white) and free < min(once, many),
        "loss did not rise": any(after <= before for before, after in losses),
        "curve not at 0": not curve or curve[max(curve)] > 0.05,
        "no adaptive attack": not any(a["adaptive"] for a in attacks),
        "random without averaging": bool(get("random")) and (get("draws") or 0) < 10,
        "refusals hidden": bool(get("detector")) and get("false alarms") is None,
    }
    return sorted(code for code, bad in found.items() if bad)


EXERCISES = {
    "07.1": Exercise("temperature", check_temperature, temperature),
    "07.2": Exercise("straight through", check_straight_through, straight_through),
    "07.3": Exercise("average and vote", check_eot, eot),
    "07.4": Exercise("how many texts", check_examples_needed, examples_needed),
    "07.5": Exercise("what is missing?", check_missing, missing),
}
