"""Checks of lesson 07, honest evaluation.

The specification: temperatures by brute force over a fine grid; straight-through by the gradients
of functions whose own gradient is zero or misleading; averaged gradients by finite differences of
a model that draws its randomness from a list and can be rewound; sample sizes by counting up;
checklists by evaluations that were damaged on purpose, so that what is missing is known.
"""

from __future__ import annotations

import copy
import math
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import plots
from advlib.attacks.embedding import perturbed_logits, wrong_margin, zero_delta
from course.checking import Exercise, Wrong, compare, expect, unchanged

Z = 1.959964


def _number(value, what: str, given: dict) -> float:
    """The answer as a float, where it is one number."""
    expect(value is not None, f"{what} is None: does the function return it?", given=given)
    if isinstance(value, Tensor):
        expect(value.numel() == 1, f"{what} should be one number", given=given, yours=value)
        value = value.item()
    try:
        value = float(value)
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be one number", given=given, yours=repr(value)) from None
    expect(math.isfinite(value), f"{what} is not finite", given=given, yours=value)
    return value


# ---------------------------------------------------------------- 07.1


def _calibration(seed: int, n: int, classes: int, factor: float) -> dict:
    """Logits of a model with some mistakes, sharpened or flattened by a factor."""
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=g)
    logits = torch.randn(n, classes, generator=g) * 2
    logits[torch.arange(n), labels] += 2.5
    logits[0] -= 3 * F.one_hot(labels[0], classes)  # one mistake in any case
    return dict(logits=factor * logits, labels=labels)


def _losses(logits: Tensor, labels: Tensor, grid: Tensor) -> Tensor:
    """Mean cross-entropy for every temperature of the grid."""
    scaled = logits.double()[None] / grid[:, None, None]
    return -scaled.log_softmax(-1)[:, torch.arange(len(labels)), labels].mean(1)


def _best_temperature(logits: Tensor, labels: Tensor) -> float:
    """By brute force: 2,000 temperatures over eight decades, then 2,000 around the best."""
    low, high = -3.0, 5.0
    for _ in range(2):
        grid = torch.logspace(low, high, 2000, dtype=torch.double)
        best = math.log10(float(grid[_losses(logits, labels, grid).argmin()]))
        low, high = best - 0.01, best + 0.01
    return 10**best


def check_temperature(answer) -> None:
    for k, (n, classes, factor) in enumerate(
        ((60, 2, 1.0), (40, 3, 30.0), (80, 2, 2500.0), (50, 4, 0.015))
    ):
        given = _calibration(700 + k, n, classes, factor)
        logits, labels = given["logits"], given["labels"]
        copied = logits.clone()
        found = answer(copied, labels.clone())
        unchanged(logits, copied, "logits")
        if isinstance(found, Tensor) and found.shape == logits.shape:
            raise Wrong("return T itself and not the scaled logits", given=given, yours=found)
        found = _number(found, "T", given)
        best = _best_temperature(logits, labels)
        expect(found > 0, "a temperature is positive", given=given, yours=found, expected=best)
        if abs(found / best - 1) > 0.012:
            raise Wrong("this T does not minimise the cross-entropy of softmax(logits / T)",
                        given=given, yours=found, expected=best,
                        likely=_which_temperature(found, best, logits, labels),
                        picture=_valley(logits, labels, found, best))  # fmt: skip


def _which_temperature(found: float, best: float, logits: Tensor, labels: Tensor) -> str | None:
    grid = torch.logspace(-3, 5, 4000, dtype=torch.double)
    right = (logits.argmax(1) == labels).double().mean()
    sure = (logits.double()[None] / grid[:, None, None]).softmax(-1).amax(-1).mean(1)
    loss = _losses(logits, labels, grid)
    gap = (logits.double()[None] / grid[:, None, None]).softmax(-1)
    gap = gap - F.one_hot(labels, logits.shape[1])
    known = {
        "this T minimises the squared error of the probabilities (the Brier score); the "
        "cross-entropy was asked for": float(grid[gap.square().sum((1, 2)).argmin()]),
        "this is 1 / T: the logits are divided by T, not multiplied": 1 / best,
        "this is log T, the parameter and not the temperature": math.log(best),
        "this is log10 T, the exponent and not the temperature": math.log10(best),
        "the smallest T of the range: this is the largest cross-entropy, not the smallest, or the "
        "labels were replaced by the model's own answers": float(grid[loss.argmax()]),
        "this T makes the mean confidence equal to the accuracy; the smallest cross-entropy was "
        "asked for": float(grid[(sure - right).abs().argmin()]),
        "T stayed at 1: the search did not move": 1.0,
        "this is the loss at the best T, not T": float(loss.min()),
        "this is the square of T": best**2,
        "the logits were normalised, T is not that of the logits as they are":
            best / float(logits.std()),
    }  # fmt: skip
    if logits.shape[1] > 2:
        two = labels < 2
        known["only the first two classes are used; there may be more"] = _best_temperature(
            logits[two, :2], labels[two])  # fmt: skip
        odds = torch.stack([torch.zeros(len(labels)), logits[:, 1] - logits[:, 0]], 1)
        known["this uses the difference of the first two logits; there may be more classes"] = (
            _best_temperature(odds, (labels == 1).long()))  # fmt: skip
    for name, value in known.items():
        if abs(found - value) < 0.012 * abs(value) + 1e-6:
            near = abs(found / best - 1) < 0.3
            return name + ("; or the grid is too coarse: it must be right to 1 %" if near else "")
    if abs(found / best - 1) < 0.3:
        return "the grid is too coarse, or the descent stopped early: it must be right to 1 %"
    near = [edge for edge in (0.01, 0.05, 0.1, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 1000)
            if abs(found / edge - 1) < 1e-3]  # fmt: skip
    if near or found < best / 2 or found > 2 * best:
        return (
            "the search ended at the edge of its range, or before it got there (or the labels "
            "were not used: then there is no bottom)"
        )
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


def _stairs(x: Tensor) -> Tensor:
    return (3 * x).round() / 3


def _misleading(x: Tensor) -> Tensor:
    return x.round() + 0.05 * torch.sin(70 * x)  # its own gradient is ±3.5, and means nothing


def _nearest(x: Tensor) -> Tensor:
    table = torch.linspace(-3, 3, 7, dtype=x.dtype)
    return table[(x.unsqueeze(-1) - table).abs().argmin(-1)]


def check_straight_through(answer) -> None:
    cases = (
        (_stairs, (2, 3, 4)),
        (_misleading, (5,)),
        (_nearest, (3, 2)),
        (_misleading, (2, 2, 3)),
    )
    for k, (f, shape) in enumerate(cases):
        _one_layer(answer, f, shape, 720 + k)
    plain = torch.tensor([0.4, 1.6])
    with torch.no_grad():
        compare(answer(_stairs, plain.clone()), _stairs(plain), given=dict(x=plain),
                what="without gradients the result")  # fmt: skip


def _one_layer(answer, f, shape, seed: int) -> None:
    g = torch.Generator().manual_seed(seed)
    start = 1.3 * torch.randn(shape, generator=g)
    after = torch.randn(shape, generator=g)  # what the later layers make of it
    x = start.clone().requires_grad_()
    given = {"f": f.__name__.strip("_"), "x": start, "what comes after": "(weights * y).sum()",
             "weights": after}  # fmt: skip
    y = answer(f, x)
    unchanged(start, x.detach(), "x")
    value = f(start)
    v, s = value.double(), start.double()
    compare(y, value, given=given, what="the value", mistakes={
        "this is x itself: forwards it must be f(x)": start,
        "x is counted twice: what is added must bring x to f(x)": v + s,
        "this is f(x) − x: x itself is missing": v - s,
        "the difference has the wrong sign": 2 * s - v,
    })  # fmt: skip
    expect(y.requires_grad, "no gradient flows back to x at all", given=given,
           likely="everything is detached: only the constant should be")  # fmt: skip
    (grad,) = torch.autograd.grad((after * y).sum(), x, allow_unused=True)
    if grad is None:
        raise Wrong("no gradient flows back to x", given=given,
                    likely="x itself is detached: only the constant should be")  # fmt: skip
    z = start.clone().requires_grad_()
    fz = f(z)
    own = torch.zeros_like(start)
    if fz.requires_grad:
        own = torch.autograd.grad((after * fz).sum(), z)[0]
    mistakes = {
        "this is f's own gradient: on the way back f must count as the identity": own,
        "f's own gradient is added: detach f(x), too": own + after,
        "f's own gradient minus that of x: x is detached where it should not be": own - after,
        "the gradient is zero: is x detached?": torch.zeros_like(after),
        "the gradient is minus that of the identity: the wrong part is detached": -after,
        "the gradient is twice that of the identity": 2 * after,
        "the gradient is 1 whatever comes after: it must be multiplied with what comes back":
            torch.ones_like(after),
    }  # fmt: skip
    compare(grad, after, given=given, what="the gradient in x", mistakes=mistakes)


# ---------------------------------------------------------------- 07.3


class _Drawn(nn.Module):
    """A small classifier whose every pass multiplies the embeddings by the next tensor of a list;
    `rewind` starts the list again."""

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


def _random_case(seed: int, size: int, tokens: int, classes: int) -> tuple[_Drawn, dict, Tensor]:
    model = _Drawn(seed, classes)
    g = torch.Generator().manual_seed(seed + 1)
    ids = torch.randint(1, 9, (size, tokens), generator=g)
    attention = torch.ones_like(ids)
    attention[-1, -1] = 0
    batch = dict(input_ids=ids, attention_mask=attention,
                 special_tokens_mask=torch.zeros_like(ids),
                 labels=torch.randint(classes, (size,), generator=g))  # fmt: skip
    delta = 0.3 * torch.randn(zero_delta(model, batch).shape, generator=g, dtype=torch.double)
    return model, batch, delta


@torch.no_grad()
def _passes(model: _Drawn, batch: dict, delta: Tensor, k: int) -> Tensor:
    """The logits of the first k draws, (k, batch, classes)."""
    model.calls = 0
    return torch.stack([perturbed_logits(model, batch, delta) for _ in range(k)])


def _numeric(model: _Drawn, batch: dict, delta: Tensor, k: int, values: dict, h=1e-5) -> dict:
    """Central finite differences in delta of each of the `values`, functions from the logits
    (k, batch, classes) and the labels to one number per text. All coordinates go in one batch."""
    size, count = len(delta), delta[0].numel()
    steps = h * torch.eye(count, dtype=torch.double).view(count, 1, *delta.shape[1:])
    both = torch.cat([delta + steps, delta - steps])  # (2 count, batch, tokens, hidden)
    many = {name: v.repeat(2 * count, *[1] * (v.dim() - 1)) for name, v in batch.items()}
    logits = _passes(model, many, both.flatten(0, 1), k)
    out = {}
    for name, value in values.items():
        up, down = value(logits, many["labels"]).view(2, count, size)
        out[name] = ((up - down) / (2 * h)).T.reshape(delta.shape)
    return out


def _slopes(model: _Drawn, batch: dict, delta: Tensor, k: int) -> Tensor:
    """The gradient of the log-odds in each of the first k draws, (k, *delta.shape)."""
    model.calls, out = 0, []
    for _ in range(k):
        here = delta.detach().clone().requires_grad_()
        total = wrong_margin(perturbed_logits(model, batch, here), batch["labels"]).sum()
        out += torch.autograd.grad(total, here)
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


def check_eot(answer) -> None:
    for seed, size, tokens, classes, draws in (
        (738, 6, 3, 2, 4), (742, 6, 3, 3, 5), (740, 5, 2, 2, 2), (765, 1, 3, 2, 1)
    ):  # fmt: skip
        _one_eot(answer, seed, size, tokens, classes, draws)


def _one_eot(answer, seed: int, size: int, tokens: int, classes: int, k: int) -> None:
    model, batch, delta = _random_case(seed, size, tokens, classes)
    y = batch["labels"]
    logits = _passes(model, batch, delta, k)
    hits = logits.argmax(-1) == y  # (k, batch)
    given = {"k": k, "labels": y, "which draws are right": hits.int()}
    model.calls, model.seen = 0, []
    before, state = delta.clone(), torch.get_rng_state()
    kept = {name: value.clone() for name, value in batch.items()}
    result = answer(model, batch, delta, k)
    calls, seen = model.calls, model.seen
    unchanged(before, delta.detach(), "delta")
    expect(all(torch.equal(batch[n], v) for n, v in kept.items()) and len(kept) == len(batch),
           "your function changes the batch", given=given)  # fmt: skip
    expect(torch.equal(state, torch.get_rng_state()),
           "your function sets a seed (or draws random numbers itself): the randomness is the "
           "model's", given=given)  # fmt: skip
    expect(not delta.requires_grad and delta.grad is None,
           "your function leaves requires_grad or .grad on delta: take a copy", given=given,
           likely="delta.requires_grad_() without .detach().clone() before it")  # fmt: skip
    expect(all(p.grad is None for p in model.parameters()),
           "gradients are left in the .grad of the model's parameters", given=given,
           likely=".backward(); torch.autograd.grad(…, delta) leaves them alone")  # fmt: skip
    expect(result is not None, "the result is None: return grad, right", given=given)
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, grad and right", given=given,
           yours=repr(result))  # fmt: skip
    grad, right = result
    expect(calls == k, f"the model was called {calls} times; k = {k} passes were asked for",
           given=given, likely="one pass serves both results" if calls == 2 * k else
           "only one draw: the loop over k is missing" if calls == 1 else None)  # fmt: skip
    expect(all(torch.equal(one, seen[0]) for one in seen),
           "the passes do not all see the same delta", given=given,
           likely="delta walks between the draws: all k gradients belong to one place; the step "
           "comes after the average")  # fmt: skip
    if isinstance(grad, Tensor):
        expect(not grad.requires_grad, "grad still carries a graph", given=given,
               likely="add .detach(), or do not use create_graph")  # fmt: skip
    slopes = _numeric(model, batch, delta, k, {"exact": MEAN_ODDS, **OTHERS})
    exact = slopes.pop("exact")
    each = _slopes(model, batch, delta, k)
    length = each.flatten(2).norm(dim=2)[..., None, None].clamp_min(1e-30)
    size_of = exact.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-30)
    mistakes = {
        "every draw's gradient is divided by its length: average them as they are":
            (each / length).mean(0),
        "the gradient is divided by its length: that is the attack's business": exact / size_of,
        "the gradient's sign is taken: that is the attack's business": exact.sign(),
        "sum instead of mean over the draws: divide by k": k * exact,
        "wrong sign": -exact,
        "mean over the texts: sum over them, so that no text depends on how many there are":
            exact / size,
        "mean over draws and texts, or divided by k twice": exact / k,
        **slopes,
    }  # fmt: skip
    mistakes = {name: value for name, value in mistakes.items()
                if not torch.allclose(value, exact, atol=1e-5, rtol=1e-3)}  # fmt: skip
    compare(grad, exact, given=given, what="grad", atol=1e-5, rtol=1e-3, mistakes=mistakes)
    _judge(right, hits, logits, y, k, given)


def _judge(right, hits: Tensor, logits: Tensor, y: Tensor, k: int, given: dict) -> None:
    expected = hits.sum(0) * 2 > k
    most = logits.argmax(-1).mode(0).values
    known = {
        "a tie goes to the attacker: more than half must be right": hits.sum(0) * 2 >= k,
        "this is True where any draw is right; the majority was asked for": hits.any(0),
        "this is True only where all draws are right; the majority was asked for": hits.all(0),
        "this is True where the majority is wrong": ~expected,
        "this is the most frequent class; more than half must give the label": most == y,
        "this judges the mean logits; the draws vote, one each": logits.mean(0).argmax(-1) == y,
        "this judges the mean probabilities; the draws vote, one each": logits.softmax(-1)
        .mean(0)
        .argmax(-1)
        == y,
        "this judges the mean log-odds; the draws vote, one each": MEAN_ODDS(logits, y) < 0,
        "only the first draw is counted": hits[0],
        "only the last draw is counted": hits[-1],
    }
    expect(isinstance(right, Tensor), "right should be a tensor of bools", given=given,
           yours=repr(right), expected=expected)  # fmt: skip
    if right.dtype != torch.bool:
        raise Wrong(f"right should hold bools, not {right.dtype}", given=given, yours=right,
                    expected=expected, likely="this is the share or the number of right draws: "
                    "compare it with one half")  # fmt: skip
    if right.shape != expected.shape or not torch.equal(right, expected):
        fits = [n for n, v in known.items() if v.shape == right.shape and torch.equal(v, right)]
        likely = "; or: ".join(fits) or None
        raise Wrong("right is not the verdict of the majority", given=given, yours=right.int(),
                    expected=expected.int(), likely=likely)  # fmt: skip


# ---------------------------------------------------------------- 07.4


def _half(p: float, n: int) -> float:
    return Z / (1 + Z * Z / n) * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))


def _count(enough, start: int = 1) -> int:
    n = start
    while not enough(n):
        n += 1
    return n


def check_examples_needed(answer) -> None:
    cases = ((0.5, 0.05), (0.83, 0.04), (1.0, 0.03), (0.0, 0.2), (0.97, 0.015), (0.3, 0.6),
             (0.62, 0.45))  # fmt: skip
    for p, width in cases:
        given = dict(p=p, half_width=width)
        best = _count(lambda n, p=p, width=width: _half(p, n) <= width)
        _one_count(answer(p, width), best, given)
    # 0.002: counted in steps of 1 from just below, since the width falls as n grows
    p, width = 0.5, 0.002
    near = int(Z * Z * p * (1 - p) / width**2) - 100
    expect(_half(p, near) > width, "the check itself starts too high")
    given = dict(p=p, half_width=width)
    _one_count(answer(p, width), _count(lambda n: _half(p, n) <= width, near), given)


def _one_count(found, best: int, given: dict) -> None:
    p, width = given.values()
    value = _number(found, "n", given)
    if value == best and isinstance(found, int):
        return
    v = p * (1 - p)
    known = {
        "z = 1.96 is rounded: take z = 1.959964":
            _count(lambda n: _wilson(1.96, p, n) <= width, best),
        "one too many: the smallest n that is enough": best + 1,
        "one too few: at this n the interval is still too wide": best - 1,
        "the shorter formula z·√(p(1−p)/n) was used, which is no Wilson interval":
            max(1, math.ceil(Z * Z * v / width**2)),
        "half_width was taken for the whole width":
            _count(lambda n: 2 * _half(p, n) <= width) if width > 0.01 else -1,
        "half_width was halved although it is the half already":
            _count(lambda n: _half(p, n) <= width / 2) if width > 0.01 else -1,
        "the half width was compared with twice half_width":
            _count(lambda n: _half(p, n) <= 2 * width) if width > 0.01 else -1,
        "this is n for the worst case p = 0.5: use p":
            _count(lambda n: _half(0.5, n) <= width) if width > 0.01 else -1,
        "z = 1.645 belongs to 90 %": _count(lambda n: _wilson(1.645, p, n) <= width)
            if width > 0.01 else -1,
        "z = 2.576 belongs to 99 %": _count(lambda n: _wilson(2.576, p, n) <= width)
            if width > 0.01 else -1,
        "the root was forgotten": _count(
            lambda n: Z / (1 + Z * Z / n) * (v / n + Z * Z / (4 * n * n)) <= width)
            if width > 0.01 else -1,
        "the factor 1 / (1 + z²/n) is missing": _count(
            lambda n: Z * math.sqrt(v / n + Z * Z / (4 * n * n)) <= width) if width > 0.01 else -1,
        "p·n was rounded to whole hits: put p in as it is": _count(
            lambda n: _half(round(p * n) / n, n) <= width) if width > 0.01 else -1,
    }  # fmt: skip
    likely = next((name for name, n in known.items() if n == value), None)
    if value == best:
        raise Wrong("n should be a whole number (an int)", given=given, yours=repr(found),
                    expected=best)  # fmt: skip
    details = {}
    if value >= 1:
        details["half width at your n"] = _wilson(Z, p, value)
        details["half width at the expected n"] = _half(p, best)
    raise Wrong("this is not the smallest n that is enough", given=given | details, yours=found,
                expected=best, likely=likely)  # fmt: skip


def _wilson(z: float, p: float, n: float) -> float:
    return z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


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

WHY = {
    "no clean accuracy": "None is absent, an accuracy of 0.0 is not absent: ask `is None`",
    "refusals hidden": "a share of 0.0 is not absent: ask `is None`; and only a detector can hide "
    "refusals",
    "n below 100": "100 is enough; absent counts as too few",
    "no threat model": "either of norm and eps being absent is enough; an eps of 0.0 is not absent",
    "one step only": "only white attacks count, and 2 steps are more than one; an "
    "accuracy of 0.0 counts",
    "one step beats many": "better means a strictly lower accuracy: the lowest of all with 1 step "
    "against the lowest of all with more (0.0 counts), white attacks only, both present",
    "gradient beaten": "a black or noise attack strictly below every white one, of one step or of "
    "many, and there must be "
    "a white one",
    "loss did not rise": "after must be larger than before in every attack that reports a loss; "
    "a loss of 0.0 is reported, too",
    "curve not at 0": "what counts is the accuracy at the largest eps (not at the last key, nor "
    "the smallest accuracy), up to 0.05; absent or empty counts as missing",
    "random without averaging": "only where random is True; 10 draws are enough",
    "no adaptive attack": "one adaptive attack is enough",
    "no interval": "an absent interval, or None; an interval with 0.0 in it is there",
}


def check_missing(answer) -> None:
    for name, damage, expected in DAMAGES:
        evaluation = _complete()
        damage(evaluation)
        given = {"what was done to a complete evaluation": name, "evaluation": evaluation}
        inside = copy.deepcopy(evaluation)
        try:
            found = answer(inside)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise Wrong(f"your function fails with {type(error).__name__}: {error}", given=given,
                        expected=expected,
                        likely="a key is absent, a value None or a list empty: use .get, "
                        "`or []` and min(…, default=…)") from error  # fmt: skip
        expect(inside == evaluation, "your function changes the evaluation in place", given=given)
        expect(found is not None, "the result is None: does the function return a list?",
               given=given)  # fmt: skip
        expect(isinstance(found, list), f"the result should be a list, not {type(found).__name__}",
               given=given, yours=repr(found), expected=expected)  # fmt: skip
        unknown = [code for code in found if code not in WHY]
        expect(not unknown, f"there is no code {unknown[:1]}: spelled as in the table?",
               given=given, yours=found, expected=expected)  # fmt: skip
        over = [code for code in found if code not in expected]
        under = [code for code in expected if code not in found]
        if over or under:
            code = (over or under)[0]
            likely = WHY[code]
            if under and name.endswith("is None"):
                likely = "a value of None is the same as absent: ask `.get(key) is None`, not `in`"
            problem = f"{code!r} is " + ("reported and should not be" if over else "not reported")
            raise Wrong(problem, given=given, yours=found, expected=expected, likely=likely)
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
        losses = torch.stack([F.cross_entropy(logits / T, labels) for T in grid.tolist()])
        best, width = math.log10(float(grid[losses.argmin()])), (high - low) / 59
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
    low, high = 0, 1
    while _wilson(Z, p, high) > half_width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _wilson(Z, p, middle) <= half_width else (middle, high)
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
