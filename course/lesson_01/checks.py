"""Checks of lesson 01, the math of L + λ·L_adv.

The specification: the worst δ of a linear model is looked for among all corners of the ball (L∞,
L1: a linear function is largest at a corner) or by projected ascent on the sphere (L2); gradients
are central finite differences, in double precision, of the loss at the δ so found.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import product
from numbers import Real

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from course.checking import Exercise, Wrong, call, compare, expect, seeded, specified

NORMS = ("l2", "linf", "l1")
ORDER = {"l2": 2, "linf": float("inf"), "l1": 1}
DUAL = {"l2": 2, "linf": 1, "l1": float("inf")}


# ---------------------------------------------------------------- the specification


def _search(w: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """For each label the δ of the ball that lowers y·w·δ most, by search; (n, d), double."""
    w, y = w.detach().double(), y.detach().double()
    if norm == "l2":
        delta = torch.ones(len(y), len(w), dtype=torch.double)
        for _ in range(25):  # a step against the margin, then back to the sphere
            delta = delta - 10 * y[:, None] * w / w.abs().max()
            delta = delta / delta.norm(dim=1, keepdim=True)
        return eps * delta
    if norm == "linf":
        corners = torch.tensor(list(product((-1.0, 1.0), repeat=len(w))), dtype=torch.double)
    else:
        corners = torch.cat([torch.eye(len(w)), -torch.eye(len(w))]).double()
    return eps * corners[(-y[:, None] * (corners @ w)).argmax(1)]


def _loss(w: Tensor, b: Tensor, X: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """Mean over the examples of the loss at the δ that `_search` finds; double."""
    X, y = X.double(), y.double()
    moved = X + _search(w, y, eps, norm)
    return softplus(-y * (moved @ w.double() + b.double())).mean()


def _problem(seed: int, n: int, d: int, norm: str) -> dict:
    """A random problem: w far from zero in every coordinate and without near-ties."""
    g = torch.Generator().manual_seed(seeded(seed))
    sizes = 0.4 + 0.5 * torch.randperm(d, generator=g) + 0.2 * torch.rand(d, generator=g)
    w = sizes * (2.0 * torch.randint(2, (d,), generator=g) - 1)
    y = 2.0 * torch.randint(2, (n,), generator=g) - 1
    y[:2] = torch.tensor([1.0, -1.0])[:n]  # both labels occur
    return dict(w=w, b=torch.randn((), generator=g), X=torch.randn(n, d, generator=g), y=y,
                eps=round(torch.rand((), generator=g).item() / 2 + 0.2, 2), norm=norm)


def _problems(seed: int, norm: str) -> list[dict]:
    """Several sizes, one point alone, a large w, and an attack of length 0."""
    sizes = ((3, 2), (6, 2), (5, 4), (1, 3), (5, 2), (4, 2))
    problems = [_problem(seed + k, n, d, norm) for k, (n, d) in enumerate(sizes)]
    problems[-2]["w"] *= 300
    problems[-1]["eps"] = 0.0
    return problems


def _specified(answer, problems: list[dict], right: Callable, mistaken: Callable, part=None,
               **settings) -> None:  # fmt: skip
    """`specified`, from right(**problem) and mistaken(**problem), a value for each sentence.
    part: which of the things in such a value counts, if they are several."""
    right, mistaken = cache(right), cache(mistaken)

    def spec(says: str | None = None, **problem):
        value = mistaken(**problem)[says] if says else right(**problem)
        return value if part is None else value[part]

    mistakes = {name: dict(says=name) for name in mistaken(**problems[0])}
    specified(answer, problems, spec, mistakes, **settings)


def _part(answer, names: str, part: int, free: bool = False) -> Callable:
    """One of the things that the answer returns, with a look at its type. free: it must not hang
    on a graph."""
    each = names.split(", ")

    def one(*inputs):
        result = answer(*inputs)
        if len(each) > 1:
            expect(isinstance(result, tuple | list) and len(result) == len(each),
                   f"the function should return {len(each)} things, {names}",
                   yours=repr(result))  # fmt: skip
            result = result[part]
        if not isinstance(result, Tensor):
            return result
        # A vector has the dtype of w; a single number goes with every one.
        expect(result.dim() == 0 or result.dtype == inputs[0].dtype,
               f"{each[part]} is {result.dtype}, {inputs[0].dtype} went in: PyTorch does not "
               "multiply the two", yours=result,
               likely=".double() or NumPy on the way: both make float64")  # fmt: skip
        expect(not (free and result.requires_grad), f"{each[part]} is still tied to the graph of "
               "this step: in a loop the graph would grow with every step",
               likely=".detach() it, or take the step under torch.no_grad()")  # fmt: skip
        return result

    return one


# ---------------------------------------------------------------- 01.1


def check_worst_case(answer) -> None:
    for norm in NORMS:
        problems = [{name: p[name] for name in ("w", "y", "eps", "norm")}
                    for p in _problems(110, norm)]  # fmt: skip
        problems[2]["w"] *= 1e-6
        try:  # loosely: how much harm it does is compared below
            _specified(_part(answer, "delta", 0), problems, _search, _wrong_deltas, what="delta",
                       picture=_ball_picture, atol=1e-3, rtol=2e-3)  # fmt: skip
        except Wrong as wrong:
            if wrong.problem == "delta is not as expected":
                wrong.problem = _harm(wrong.yours, **wrong.given) or wrong.problem
            raise
        alike = dict(w=torch.tensor([0.5, 1.0, -1.0]), y=torch.tensor([1.0, -1.0]), eps=0.4,
                     norm=norm)  # fmt: skip
        for given in (*problems, alike):  # of coordinates alike either is right, not both
            delta = call(answer, **given)
            problem = _harm(delta, **given)
            expect(problem is None, problem, given=given, yours=delta, expected=_search(**given))


def _harm(delta: Tensor, w: Tensor, y: Tensor, eps: float, norm: str) -> str | None:
    """Whether delta leaves the ball, or lowers the margins less than another; None: neither."""
    size = delta.double().norm(p=ORDER[norm], dim=1)
    if (size > eps * (1 + 1e-4)).any():
        return f"delta leaves the ball: its {norm} norm is larger than eps = {eps}"
    gain, most = (-y.double() * (d.double() @ w.double())
                  for d in (delta, _search(w, y, eps, norm)))  # fmt: skip
    if torch.allclose(gain, most, rtol=1e-4, atol=0):
        return None
    few = ["[" + ", ".join(f"{v:.3g}" for v in values.tolist()) + "]" for values in (gain, most)]
    return (f"for norm {norm!r} another delta of the ball does more harm: yours lowers the "
            f"margins by {few[0]}, the worst one by {few[1]}")  # fmt: skip


def _ball_picture(delta, best, given: dict):
    """Two coordinates: the ball, the level line that touches it, yours and the worst delta."""
    from advlib import plots

    w, y, eps, norm = given.values()
    if len(w) != 2 or not isinstance(delta, Tensor) or delta.shape != best.shape:
        return None
    fig, ax = plots.figure(3.4, 3.4)
    reach = 1.15 * max(eps, float(delta[0].detach().abs().max()))
    angle = torch.linspace(0, 2 * torch.pi, 361)
    ball = torch.stack([angle.cos(), angle.sin()], dim=1)
    ball = eps * ball / ball.norm(p=ORDER[norm], dim=1, keepdim=True)
    ax.fill(ball[:, 0], ball[:, 1], color="#dddddd")
    for point, colour, name in ((best, "#222222", "expected"), (delta, "#D55E00", "yours")):
        x, z = point[0].detach().tolist()
        ax.plot([0, x], [0, z], "-", color=colour, linewidth=1.5)
        ax.plot(x, z, "o", color=colour, markersize=8, label=name)
    touch = best[0].tolist()
    along = (w / w.norm()).tolist()
    ax.axline(touch, (touch[0] - along[1], touch[1] + along[0]), color="#222222",
              linestyle="--", linewidth=1)  # fmt: skip
    ax.set(aspect="equal", xlabel=r"$\delta_1$", ylabel=r"$\delta_2$", xlim=(-reach, reach),
           ylim=(-reach, reach))  # fmt: skip
    ax.set_title(f"{norm}, the first point (y = {float(y[0]):+.0f})", fontsize=10)
    ax.grid(False)
    fig.legend(loc="outside upper left", ncols=2, frameon=False)
    return fig


def _wrong_deltas(w: Tensor, y: Tensor, eps: float, norm: str) -> dict[str, Tensor]:
    best, direction = _search(w, y, eps, norm), -y.double()[:, None] * w.double()
    known = {
        "wrong sign: this delta helps the model, raising the margin y(w·x + b)": -best,
        "y is missing: for y = -1 the worst delta points the other way": best * y[:, None],
        "delta is the same for all labels here: it must depend on y": best[0] * y[0],
        "eps is missing: this is the direction alone": _search(w, y, 1.0, norm),
        "wrong sign, and eps is missing": -_search(w, y, 1.0, norm),
        "w is not normalised: the length of delta must not depend on that of w": eps * direction,
    }
    if norm == "l1":
        known |= {
            "for the l1 ball the whole budget belongs to the one coordinate where |w| is largest":
                eps * direction.sign() / len(w),
            "for the l1 ball the budget goes where |w| is largest, whatever its sign: take abs "
            "first": eps * direction.sign() * one_hot(w.argmax(), len(w)),
        }  # fmt: skip
    return known | {f"this is the worst delta of the {other} ball": _search(w, y, eps, other)
                    for other in NORMS if other != norm}  # fmt: skip


# ---------------------------------------------------------------- 01.2


def check_robust_loss(answer) -> None:
    def scalar(*inputs):
        value = answer(*inputs)
        return torch.tensor(value) if isinstance(value, float) else value

    for norm in NORMS:
        problems = _problems(120, norm)
        _specified(scalar, problems, _loss, _wrong_losses, what="the loss", rtol=1e-3, atol=1e-4)
        for part, name in enumerate(("w", "b")):
            _specified(_slope(answer, part), problems, _gradient, _wrong_slopes, part,
                       what=f"the gradient of your loss with respect to {name}", atol=1e-3,
                       rtol=1e-3)  # fmt: skip


def _wrong_losses(w, b, X, y, eps, norm) -> dict[str, Tensor]:
    w, b, X, y = w.double(), b.double(), X.double(), y.double()
    score, size = X @ w + b, w.norm(p=DUAL[norm])
    margin, reach = y * score, eps * size

    def mean(m):
        return softplus(-m).mean()

    return {
        "this is the mean margin: log(1 + exp(−margin)) is missing": (margin - reach).mean(),
        "the adversary has the wrong sign: it lowers the margin, here it raises it":
            mean(margin + reach),
        "the adversary is missing: this is the clean loss": mean(margin),
        "eps is missing: the margin falls by eps times the dual norm": mean(margin - size),
        f"wrong norm of w: this is the {norm} norm itself, and it must be the dual one":
            mean(margin - eps * w.norm(p=ORDER[norm])),
        "the norm of w is squared": mean(margin - eps * size**2),
        "y multiplies the eps term too: the adversary lowers the margin whatever the label":
            mean(y * (score - reach)),
        "y is missing from the margin": mean(score - reach),
        "the loss is log(1 + exp(−margin)): here the minus is missing": mean(-(margin - reach)),
        "the labels are −1 and +1: this formula is the one for labels 0 and 1":
            (softplus(score - y * reach) - y * (score - y * reach)).mean(),
        "sum instead of mean over the examples": softplus(-(margin - reach)).sum(),
        "the mean over the examples is missing": softplus(-(margin - reach)),
        "the adversary acts on the mean margin: it attacks each example, so average last":
            mean((margin - reach).mean()),
        "log(1 + exp(…)) and log(sigmoid(…)) overflow where softplus(−margin) does not":
            torch.log(1 + torch.exp(-(margin - reach).float())).mean(),
    }  # fmt: skip


def _slope(answer, part: int) -> Callable:
    """The gradient of the loss with respect to w or to b, by autograd."""

    def slope(w, b, *others):
        inputs = w.clone().requires_grad_(), b.clone().requires_grad_()
        loss = answer(*inputs, *others)
        likely = ".item(), .detach(), float() or torch.no_grad() on the way"
        expect(isinstance(loss, Tensor) and loss.requires_grad, "no gradient flows from the loss "
               "to w and b: it was cut off on the way", likely=likely)  # fmt: skip
        grad = torch.autograd.grad(loss, inputs, allow_unused=True)[part]
        expect(grad is not None, f"no gradient flows from the loss to {'wb'[part]}: it was cut off "
               "on the way", likely=likely)  # fmt: skip
        return grad

    return slope


def _wrong_slopes(**problem) -> dict[str, tuple]:
    return {"part of the loss is detached: w·x + b and the norm of w both count":
            _wrong_gradients(**problem)[NO_DELTA]}  # fmt: skip


# ---------------------------------------------------------------- 01.3


def check_robust_grad(answer) -> None:
    names = "grad_w, grad_b"
    for norm in NORMS:
        problems = _problems(130, norm)
        for part, name in enumerate(names.split(", ")):
            _specified(_part(answer, names, part), problems, _gradient, _wrong_gradients, part,
                       what=name, atol=1e-4, rtol=1e-3)  # fmt: skip


def _gradient(w, b, X, y, eps, norm, h: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Central finite differences of `_loss`."""
    w, b = w.double(), b.double()

    def rise(by_w, by_b):
        up, down = (_loss(w + k * by_w, b + k * by_b, X, y, eps, norm) for k in (1, -1))
        return (up - down) / (2 * h)

    steps = h * torch.eye(len(w), dtype=torch.double)
    return torch.stack([rise(step, 0) for step in steps]), rise(torch.zeros_like(w), h)


NO_DELTA = ("the examples are weighted as at x + delta, but delta (the eps term) is missing from "
            "the gradient")  # fmt: skip


def _wrong_gradients(w, b, X, y, eps, norm) -> dict[str, tuple]:
    right = _gradient(w, b, X, y, eps, norm)
    delta = _search(w, y, eps, norm)
    w, b, X, y = w.double(), b.double(), X.double(), y.double()

    def s(points):
        return torch.sigmoid(-y * (points @ w + b))

    def pull(weights, points, sign=y):
        factor = -weights * sign
        return (factor[:, None] * points).mean(0), factor.mean()

    adv = s(X + delta)
    known = {
        "sum instead of mean over the examples": tuple(len(y) * r for r in right),
        "wrong sign: this is the direction in which the loss falls": tuple(-r for r in right),
        "the adversary is missing: this is the gradient of the clean loss": pull(s(X), X),
        NO_DELTA: pull(adv, X),
        "delta is there, but the weights sigmoid(−margin) are those at x, not at x + delta":
            pull(s(X), X + delta),
        "the weight of an example is sigmoid(−margin), here it is sigmoid(+margin)":
            pull(1 - adv, X + delta),
        "y is missing": pull(adv, X + delta, torch.ones_like(y)),
        "delta has the wrong sign": pull(adv, X - delta),
        "delta has the wrong sign, in the margin too": pull(s(X - delta), X - delta),
        "the factor sigmoid(−margin) is missing": pull(torch.ones_like(y), X + delta),
        "eps is missing": pull(s(X + _search(w, y, 1.0, norm)), X + _search(w, y, 1.0, norm)),
    }  # fmt: skip
    balls = {other: X + _search(w, y, eps, other) for other in NORMS if other != norm}
    return known | {f"this is the gradient for the {other} ball": pull(s(moved), moved)
                    for other, moved in balls.items()}  # fmt: skip


# ---------------------------------------------------------------- 01.4


def check_step(answer) -> None:
    names = "the new w, the new b"
    for norm in NORMS:
        problems = [dict(w=p["w"], b=p["b"], X=p["X"], y=p["y"], eps=p["eps"],
                         lam=(0.3, 2.5, 0.0, 0.7)[k % 4], lr=(0.5, 0.2, 1.5)[k % 3], norm=norm)
                    for k, p in enumerate(_problems(140, norm)[:4])]  # fmt: skip
        for part, name in enumerate(names.split(", ")):
            specified(_part(answer, names, part, free=True), problems, partial(_moved, part),
                      WRONG_STEPS, what=name, atol=2e-4, rtol=1e-3)  # fmt: skip


def _moved(part: int, w, b, X, y, eps, lam, lr, norm, change: bool = False,
           by: Callable = lambda lam, lr: (lr, lr * lam)) -> Tensor:  # fmt: skip
    """w or b after a step. by: the weights of the clean and of the adversarial gradient."""
    clean, adv = (_gradient(w, b, X, y, e, norm)[part] for e in (0.0, eps))
    first, second = by(lam, lr)
    return (0 if change else (w, b)[part].double()) - first * clean - second * adv


WRONG_STEPS = {
    "wrong sign: this step climbs": dict(by=lambda lam, lr: (-lr, -lr * lam)),
    "lam is missing: both terms count alike": dict(by=lambda lam, lr: (lr, lr)),
    "the adversarial term is missing": dict(by=lambda lam, lr: (lr, 0)),
    "the clean term is missing: lam·L_adv alone": dict(by=lambda lam, lr: (0, lr * lam)),
    "the clean term is missing: L_adv alone": dict(by=lambda lam, lr: (0, lr)),
    "the weights are 1 − lam and lam; asked are 1 and lam":
        dict(by=lambda lam, lr: (lr * (1 - lam), lr * lam)),
    "lam stands before the clean term": dict(by=lambda lam, lr: (lr * lam, lr)),
    "the adversarial term is subtracted": dict(by=lambda lam, lr: (lr, -lr * lam)),
    "the adversarial term is the clean loss again: eps is missing":
        dict(by=lambda lam, lr: (lr * (1 + lam), 0)),
    "lr is missing": dict(by=lambda lam, lr: (1, lam)),
    "nothing moved: w and b came back as they were": dict(by=lambda lam, lr: (0, 0)),
    "the new values, not the change, are asked": dict(change=True),
}  # fmt: skip


# ---------------------------------------------------------------- 01.5


def check_two_losses(answer) -> None:
    names, problems = "intended, published, slopes", []
    for seed, n, lam in ((150, 4, 0.1), (151, 7, 1.5), (152, 1, 0.4), (153, 5, 0.0)):
        g = torch.Generator().manual_seed(seeded(seed))
        problems.append(dict(log_clean=-torch.rand(n, generator=g),
                             log_adv=-3 * torch.rand(n, generator=g), lam=lam))  # fmt: skip
    for part, (right, mistaken) in enumerate(((_meant, _not_meant), (_printed, _not_printed))):
        _specified(_part(answer, names, part), problems, right, mistaken,
                   what=f"the {names.split(', ')[part]} loss")  # fmt: skip
    _specified(_pair(_part(answer, names, 2)), problems, _rises, _wrong_rises, what="slopes",
               atol=1e-3)  # a thousandth is far more than rounding in the differences
    for given in problems[:2]:
        _can_be_trained(answer, **given)


def _meant(log_clean: Tensor, log_adv: Tensor, lam: float) -> Tensor:
    return -log_clean.double().mean() + lam * -log_adv.double().mean()


def _printed(log_clean: Tensor, log_adv: Tensor, lam: float) -> Tensor:
    """The published formula, symbol by symbol."""
    return (-log_clean.double() - lam * (-log_adv.double()) + lam * log_adv.double()).mean()


def _not_meant(log_clean, log_adv, lam) -> dict[str, Tensor]:
    loss, extra = -log_clean.double().mean(), -log_adv.double().mean()
    return {
        "this is the published loss: intended and published have changed places":
            loss - 2 * lam * extra,
        "the sign of log M(x)_y is wrong: a loss is the negative logarithm": -loss + lam * extra,
        "the adversarial term has the wrong sign: log M(x′)_y counts negatively":
            loss - lam * extra,
        "sum instead of mean over the examples": len(log_adv) * (loss + lam * extra),
        "lam is missing": loss + extra,
        "the adversarial term is missing": loss,
        "the adversarial term is counted twice": loss + 2 * lam * extra,
    }  # fmt: skip


def _not_printed(log_clean, log_adv, lam) -> dict[str, Tensor]:
    loss, extra = -log_clean.double().mean(), -log_adv.double().mean()
    return {
        "this is the intended loss: intended and published have changed places, or the printed "
        "minus was mended": loss + lam * extra,
        "the two terms of the printed formula are not opposite: λ log M(x′) appears twice, with "
        "the same sign": loss,
        "the printed formula has two terms with x′; one is missing": loss - lam * extra,
        "both terms with x′ have the wrong sign": loss + 2 * lam * extra,
        "sum instead of mean over the examples": len(log_adv) * (loss - 2 * lam * extra),
        "lam is missing": loss - 2 * extra,
    }  # fmt: skip


def _pair(answer) -> Callable:
    def pair(*inputs):
        slopes = answer(*inputs)
        good = isinstance(slopes, tuple | list | np.ndarray) and len(slopes) == 2
        expect(good and all(isinstance(s, Real | Tensor) and not np.shape(s) for s in slopes),
               "slopes should be a pair of numbers: (slope of intended, slope of published)",
               yours=repr(slopes))  # fmt: skip
        return torch.tensor([float(s) for s in slopes])

    return pair


def _rises(log_clean: Tensor, log_adv: Tensor, lam: float, h: float = 1e-3) -> Tensor:
    """By how much each loss changes when all of log_adv rises."""
    return torch.stack([(loss(log_clean, log_adv.double() + h, lam)
                         - loss(log_clean, log_adv, lam)) / h for loss in (_meant, _printed)])


def _wrong_rises(log_clean, log_adv, lam) -> dict[str, Tensor]:
    rise = _rises(log_clean, log_adv, lam)
    return {
        "the slopes have changed places": rise.flip(0),
        "both slopes have the wrong sign": -rise,
        "the published formula has log M(x′)_y twice: 2·lam, not lam":
            rise * torch.tensor([1, 0.5]),
        "the published terms do not cancel: λ log M(x′) appears twice, with the same sign":
            rise * torch.tensor([1, 0]),
        "both slopes alike: the printed minus before λ(−log M(x′)) turns the sign round":
            rise[[0, 0]],
        "all entries of log_adv rise together: this is the slope in one of them":
            rise / len(log_adv),
        "the published slope has the wrong sign": rise * torch.tensor([1, -1]),
        "the intended slope has the wrong sign": rise * torch.tensor([-1, 1]),
    }  # fmt: skip


def _can_be_trained(answer, log_clean: Tensor, log_adv: Tensor, lam: float) -> None:
    """Autograd finds its way from both losses to both inputs, along every term."""
    inputs = [log_clean.clone().requires_grad_(), log_adv.clone().requires_grad_()]
    given = dict(log_clean=log_clean, log_adv=log_adv, lam=lam)
    losses = answer(*inputs, lam)[:2]
    for name, loss, slope in zip(("intended", "published"), losses, (-lam, 2 * lam), strict=True):
        grads = (torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
                 if loss.requires_grad else [None])  # fmt: skip
        expect(None not in {*grads}, f"autograd cannot differentiate the {name} loss: it was cut "
               "off from log_clean or log_adv", given=given,
               likely=".detach(), .item() or torch.no_grad() on the way")  # fmt: skip
        for grad, right, where in zip(grads, (-1, slope), ("log_clean", "log_adv"), strict=True):
            compare(grad.sum(), torch.tensor(float(right)), given=given,
                    what=f"autograd's slope of the {name} loss in {where}")  # fmt: skip


# ---------------------------------------------------------------- the course's own functions


def worst_case(w: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """The δ of the ball that lowers the margin most, one row per label."""
    if norm == "l2":
        direction = w / w.norm()
    elif norm == "linf":
        direction = w.sign()
    else:
        direction = torch.zeros_like(w)
        k = w.abs().argmax()
        direction[k] = w[k].sign()
    return -eps * y[:, None] * direction


def robust_loss(w: Tensor, b: Tensor, X: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """The mean loss under the worst δ, in closed form."""
    dual = {"l2": 2, "linf": 1, "l1": float("inf")}[norm]
    margin = y * (X @ w + b) - eps * w.norm(p=dual)
    return softplus(-margin).mean()


def robust_grad(
    w: Tensor, b: Tensor, X: Tensor, y: Tensor, eps: float, norm: str
) -> tuple[Tensor, Tensor]:
    """The gradient of `robust_loss` with respect to w and b: that of the loss at x + δ."""
    moved = X + worst_case(w, y, eps, norm)
    factor = -y * torch.sigmoid(-y * (moved @ w + b))
    return (factor[:, None] * moved).mean(0), factor.mean()


def step(
    w: Tensor, b: Tensor, X: Tensor, y: Tensor, eps: float, lam: float, lr: float, norm: str
) -> tuple[Tensor, Tensor]:
    """One step of gradient descent on L + lam·L_adv; returns the new w and b."""
    clean_w, clean_b = robust_grad(w, b, X, y, 0.0, norm)
    adv_w, adv_b = robust_grad(w, b, X, y, eps, norm)
    return w - lr * (clean_w + lam * adv_w), b - lr * (clean_b + lam * adv_b)


def two_losses(log_clean: Tensor, log_adv: Tensor, lam: float):
    """The intended loss, the published one, and the slope of each in the mean of log_adv."""
    intended = (-log_clean - lam * log_adv).mean()
    published = (-log_clean - lam * (-log_adv) + lam * log_adv).mean()
    return intended, published, (-lam, 2 * lam)


EXERCISES: dict[str, Exercise] = {
    "01.1": Exercise("the worst perturbation", check_worst_case, worst_case),
    "01.2": Exercise("the worst-case loss", check_robust_loss, robust_loss),
    "01.3": Exercise("the gradient by hand", check_robust_grad, robust_grad),
    "01.4": Exercise("one step on L + lam·L_adv", check_step, step),
    "01.5": Exercise("spot the sign", check_two_losses, two_losses),
}
