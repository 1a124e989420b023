"""Checks of lesson 01, the math of L + λ·L_adv.

The specification: the worst δ of a linear model is looked for among all corners of the ball (L∞,
L1: a linear function is largest at a corner) or by projected ascent on the sphere (L2); gradients
are central finite differences, in double precision, of the loss at the δ so found.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus

from course.checking import Exercise, Wrong, compare, expect, unchanged

NORMS = ("l2", "linf", "l1")
ORDER = {"l2": 2, "linf": float("inf"), "l1": 1}
DUAL = {"l2": 2, "linf": 1, "l1": float("inf")}


# ---------------------------------------------------------------- the specification


def _search(w: Tensor, y: Tensor, eps: float, norm: str) -> Tensor:
    """For each label the δ of the ball that lowers y·w·δ most, by search; (n, d), double."""
    w, y = w.detach().double(), y.detach().double()
    if norm == "l2":
        delta = torch.ones(len(y), len(w), dtype=torch.double)
        for _ in range(60):  # a step against the margin, then back to the sphere
            delta = delta - 10 * y[:, None] * w
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


def _gradient(objective, w: Tensor, b: Tensor, h: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Central finite differences of objective(w, b)."""
    w, b = w.detach().double(), b.detach().double()
    steps = h * torch.eye(len(w), dtype=torch.double)
    by_w = [(objective(w + s, b) - objective(w - s, b)) / (2 * h) for s in steps]
    return torch.stack(by_w), (objective(w, b + h) - objective(w, b - h)) / (2 * h)


def _problem(seed: int, n: int, d: int) -> dict:
    """A random problem: w far from zero in every coordinate and without near-ties."""
    g = torch.Generator().manual_seed(seed)
    sizes = 0.4 + 0.5 * torch.randperm(d, generator=g) + 0.2 * torch.rand(d, generator=g)
    w = sizes * (2.0 * torch.randint(2, (d,), generator=g) - 1)
    y = 2.0 * torch.randint(2, (n,), generator=g) - 1
    y[:2] = torch.tensor([1.0, -1.0])  # both labels occur
    return dict(w=w, b=torch.randn((), generator=g), X=torch.randn(n, d, generator=g), y=y,
                eps=round(0.2 + 0.5 * float(torch.rand((), generator=g)), 2))  # fmt: skip


def _problems(seed: int):
    """(problem, norm) for several sizes and all norms."""
    for k, (n, d) in enumerate(((3, 2), (6, 2), (5, 4))):
        for norm in NORMS:
            yield _problem(seed + k, n, d), norm


def _call(answer, inputs: dict):
    """Call with copies, and see that none of them was changed."""
    copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in inputs.items()}
    result = answer(*copies.values())
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            unchanged(value, copies[name], name)
    return result


def _pair(result, names: str, given: dict) -> tuple:
    expect(result is not None, f"the result is None: does the function return {names}?",
           given=given)  # fmt: skip
    count = names.count(",") + 1
    expect(isinstance(result, tuple | list) and len(result) == count,
           f"the function should return {count} things, {names}", given=given,
           yours=repr(result))  # fmt: skip
    return tuple(result)


def _like_w(result: Tensor, name: str, given: dict) -> None:
    """A vector has the dtype of w; a single number goes with every one."""
    w = given["w"]
    expect(result.dim() == 0 or result.dtype == w.dtype,
           f"{name} is {result.dtype}, w is {w.dtype}: PyTorch does not multiply the two",
           given=given, yours=result,
           likely=".double() or NumPy on the way: both make float64")  # fmt: skip


# ---------------------------------------------------------------- 01.1


def check_worst_case(answer) -> None:
    for problem, norm in _problems(110):
        w, y, eps = problem["w"], problem["y"], problem["eps"]
        given = dict(w=w, y=y, eps=eps, norm=norm)
        delta = _call(answer, given)
        best = _search(w, y, eps, norm)
        if delta is None or not isinstance(delta, Tensor) or delta.shape != best.shape:
            compare(delta, best, given=given, what="delta",
                    mistakes={"delta is the same for all labels here: it must depend on y":
                              best[0] * y[0]})  # fmt: skip
        expect(torch.isfinite(delta).all(), "delta has values that are not finite",
               given=given, yours=delta)  # fmt: skip
        _like_w(delta, "delta", given)
        likely = _which_delta(delta.double(), w, y, eps, norm, best)
        flat = len(w) == 2
        picture = _ball_picture(w, y, eps, norm, delta, best) if flat else None
        size = delta.double().norm(p=ORDER[norm], dim=1)
        expect((size <= eps * (1 + 1e-4)).all(),
               f"delta leaves the ball: its {norm} norm is larger than eps = {eps}",
               given=given, yours=delta, expected=best.float(), likely=likely,
               picture=picture)  # fmt: skip
        gain = -y.double() * (delta.double() @ w.double())
        most = -y.double() * (best @ w.double())
        # The damage is compared, not delta: where two corners tie, either is right.
        if not torch.allclose(gain, most, rtol=1e-4, atol=1e-5):
            raise Wrong(
                f"for norm {norm!r} another delta of the ball does more harm: yours lowers the "
                f"margins by {_few(gain)}, the worst one by {_few(most)}",
                given=given, yours=delta, expected=best.float(), likely=likely,
                picture=picture)  # fmt: skip


def _one(w: Tensor, k: int) -> Tensor:
    """1 in coordinate k, zero in all others."""
    return torch.nn.functional.one_hot(torch.tensor(k), len(w))


def _ball_picture(w, y, eps, norm, delta, best):
    """Two coordinates: the ball, the level line that touches it, yours and the worst delta."""
    from advlib import plots

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
    ax.axline(touch, (touch[0] - float(w[1]), touch[1] + float(w[0])), color="#222222",
              linestyle="--", linewidth=1)  # fmt: skip
    ax.set(aspect="equal", xlabel=r"$\delta_1$", ylabel=r"$\delta_2$", xlim=(-reach, reach),
           ylim=(-reach, reach))  # fmt: skip
    ax.set_title(f"{norm}, the first point (y = {float(y[0]):+.0f})", fontsize=10)
    ax.grid(False)
    fig.legend(loc="outside upper left", ncols=2, frameon=False)
    return fig


def _few(values: Tensor) -> str:
    return "[" + ", ".join(f"{v:.3f}" for v in values.tolist()) + "]"


def _which_delta(delta, w, y, eps, norm, best) -> str | None:
    direction = -y.double()[:, None] * w.double()
    known = {
        "wrong sign: this delta helps the model, raising the margin y(w·x + b)": -best,
        "y is missing: for y = -1 the worst delta points the other way": best * y[:, None],
        "eps is missing: this is the direction alone": best / eps,
        "wrong sign, and eps is missing": -best / eps,
        "w is not normalised: the length of delta must not depend on that of w": eps * direction,
        "for the l1 ball the whole budget belongs to the one coordinate where |w| is largest":
            eps * direction.sign() / len(w) if norm == "l1" else None,
        "for the l1 ball the budget goes where |w| is largest, whatever its sign: take abs first":
            eps * direction.sign() * _one(w, int(w.argmax())) if norm == "l1" else None,
        "only one coordinate of the linf ball is used: every coordinate may move by eps":
            _search(w, y, eps, "l1") if norm == "linf" else None,
    }  # fmt: skip
    for other in NORMS:
        if other != norm:
            known[f"this is the worst delta of the {other} ball"] = _search(w, y, eps, other)
    for name, value in known.items():
        if value is not None and torch.allclose(delta, value.double(), rtol=1e-4, atol=1e-5):
            return name
    return None


# ---------------------------------------------------------------- 01.2


def check_robust_loss(answer) -> None:
    for problem, norm in _problems(120):
        _one_loss(answer, dict(problem, norm=norm))
    still = dict(_problem(125, 5, 2), norm="linf", eps=0.0)
    _one_loss(answer, still)  # eps = 0: the clean loss
    steep = dict(_problem(126, 5, 2), norm="l2")
    steep["w"] = 300 * steep["w"]
    _one_loss(answer, steep)
    for norm in NORMS:
        _reaches_w(answer, norm)


def _one_loss(answer, given: dict) -> None:
    w, b, X, y, eps, norm = given.values()
    value = _call(answer, given)
    expected = _loss(w, b, X, y, eps, norm).float()
    wd, yd = w.double(), y.double()
    score = X.double() @ wd + b.double()
    reach, same = eps * wd.norm(p=DUAL[norm]), eps * wd.norm(p=ORDER[norm])
    margin = yd * score

    def mean(m):
        return softplus(-m).mean()

    mistakes = {
        "this is the mean margin, or its negative: log(1 + exp(−margin)) is missing":
            (margin - reach).mean(),
        "the adversary has the wrong sign: it lowers the margin, here it raises it":
            mean(margin + reach),
        "the adversary is missing: this is the clean loss": mean(margin),
        "eps is missing: the margin falls by eps times the dual norm": mean(margin - reach / eps)
            if eps else None,
        f"wrong norm of w: this is the {norm} norm itself, and it must be the dual one":
            mean(margin - same),
        "the norm of w is squared": mean(margin - eps * wd.norm(p=DUAL[norm]) ** 2),
        "y multiplies the eps term too: the adversary lowers the margin whatever the label":
            mean(yd * (score - reach)),
        "y is missing from the margin": mean(score - reach),
        "the loss is log(1 + exp(−margin)): here the minus is missing": mean(-(margin - reach)),
        "the labels are −1 and +1: this formula is the one for labels 0 and 1":
            (softplus(score - yd * reach) - yd * (score - yd * reach)).mean(),
        "sum instead of mean over the examples": softplus(-(margin - reach)).sum(),
        "the mean over the examples is missing": softplus(-(margin - reach)),
        "the adversary acts on the mean margin: it attacks each example, so average last":
            softplus(-(margin - reach).mean()),
    }  # fmt: skip
    mistakes = {
        k: v
        for k, v in mistakes.items()
        if v is not None and not (v.shape == () and torch.isclose(v, expected.double()))
    }
    if isinstance(value, Tensor) and not torch.isfinite(value).all():
        mistakes = {
            "exp() of a large number overflows: "
            "torch.nn.functional.softplus(−margin) does not": value
        }
    elif isinstance(value, float):
        value = torch.tensor(value)
    compare(value, expected, given=given, what="the loss", rtol=1e-3, atol=1e-4,
            mistakes=mistakes)  # fmt: skip


def _reaches_w(answer, norm: str) -> None:
    """The loss can be differentiated with respect to w and b, and its gradient is right."""
    given = dict(_problem(127, 6, 2), norm=norm)
    w, b, X, y, eps, norm = given.values()
    ws, bs = w.clone().requires_grad_(), b.clone().requires_grad_()
    loss = answer(ws, bs, X, y, eps, norm)
    expect(isinstance(loss, Tensor) and loss.requires_grad,
           "no gradient flows from the loss to w and b: it was cut off on the way",
           given=given, likely=".item(), .detach(), float() or torch.no_grad()")  # fmt: skip
    grads = torch.autograd.grad(loss, (ws, bs), allow_unused=True)
    expected = _gradient(lambda w, b: _loss(w, b, X, y, eps, norm), w, b)
    for mine, right, name in zip(grads, expected, ("w", "b"), strict=True):
        expect(mine is not None, f"no gradient flows from the loss to {name}", given=given,
               likely=".item(), .detach() or torch.no_grad() on the way")  # fmt: skip
        compare(mine, right.float(), given=given, atol=1e-3, rtol=1e-3,
                what=f"the gradient of your loss with respect to {name}",
                mistakes={"part of the loss is detached: w·x + b and the norm of w both count":
                          mine})  # fmt: skip


# ---------------------------------------------------------------- 01.3


def check_robust_grad(answer) -> None:
    cases = [*_problems(130), (dict(_problem(135, 4, 2), eps=0.0), "l2")]
    for problem, norm in cases:
        given = dict(problem, norm=norm)
        w, b, X, y, eps, _ = given.values()
        result = _pair(_call(answer, given), "grad_w, grad_b", given)
        expected = _gradient(lambda w, b, g=given: _loss(w, b, *list(g.values())[2:]), w, b)
        mistakes = _gradient_mistakes(w, b, X, y, eps, norm, expected)
        for k, name in enumerate(("grad_w", "grad_b")):
            compare(result[k], expected[k].float(), given=given, what=name, atol=1e-4, rtol=1e-3,
                    mistakes={m: v[k] for m, v in mistakes.items()})  # fmt: skip
            _like_w(result[k], name, given)


def _gradient_mistakes(w, b, X, y, eps, norm, right) -> dict:
    w, b, X, y = w.double(), b.double(), X.double(), y.double()
    n, delta = len(y), _search(w, y, eps, norm)

    def with_(s, points, sign=y):
        factor = -s * sign
        return (factor[:, None] * points).mean(0), factor.mean()

    clean = torch.sigmoid(-y * (X @ w + b))
    adv = torch.sigmoid(-y * ((X + delta) @ w + b))
    known = {
        "sum instead of mean over the examples": tuple(n * r for r in right),
        "wrong sign: this is the direction in which the loss falls": tuple(-r for r in right),
        "the adversary is missing: this is the gradient of the clean loss": with_(clean, X),
        "the examples are weighted as at x + delta, but delta (the eps term) is missing from the "
        "gradient": with_(adv, X),
        "delta is there, but the weights sigmoid(−margin) are those at x, not at x + delta":
            with_(clean, X + delta),
        "the weight of an example is sigmoid(−margin), here it is sigmoid(+margin)":
            with_(1 - adv, X + delta),
        "y is missing": with_(adv, X + delta, torch.ones_like(y)),
        "delta has the wrong sign": with_(adv, X - delta),
        "delta has the wrong sign, in the margin too":
            with_(torch.sigmoid(-y * ((X - delta) @ w + b)), X - delta),
        "the factor sigmoid(−margin) is missing": with_(torch.ones_like(y), X + delta),
    }  # fmt: skip
    if eps:
        known["eps is missing"] = with_(adv, X + delta / eps)
    for other in NORMS:
        wrong = _search(w, y, eps, other)
        s = torch.sigmoid(-y * ((X + wrong) @ w + b))
        known[f"this is the gradient for the {other} ball"] = with_(s, X + wrong)
    # A mistake that gives the right answer here (no attack at eps = 0, say) is none to name.
    return {
        name: v
        for name, v in known.items()
        if not all(torch.allclose(a, r, atol=1e-4) for a, r in zip(v, right, strict=True))
    }


# ---------------------------------------------------------------- 01.4


def check_step(answer) -> None:
    for k, (problem, norm) in enumerate(_problems(140)):
        lam, lr = (0.3, 2.5, 0.7)[k % 3], (0.5, 0.2, 1.5)[k // 3]
        _one_step(answer, problem, lam, lr, norm)
    _one_step(answer, _problem(146, 5, 2), 0.0, 0.4, "linf")


def _one_step(answer, problem: dict, lam: float, lr: float, norm: str) -> None:
    given = dict(problem, lam=lam, lr=lr, norm=norm)
    w, b, X, y, eps = problem.values()
    result = _pair(_call(answer, given), "w, b", given)
    clean = _gradient(lambda w, b: _loss(w, b, X, y, 0.0, norm), w, b)
    adv = _gradient(lambda w, b: _loss(w, b, X, y, eps, norm), w, b)
    weights = {  # of the clean and of the adversarial gradient
        "wrong sign: this step climbs": (-lr, -lr * lam),
        "lam is missing: both terms count alike": (lr, lr),
        "the adversarial term is missing": (lr, 0),
        "the clean term is missing: lam·L_adv alone": (0, lr * lam),
        "the clean term is missing: L_adv alone": (0, lr),
        "the weights are 1 − lam and lam; asked are 1 and lam": (lr * (1 - lam), lr * lam),
        "lam stands before the clean term": (lr * lam, lr),
        "the adversarial term is subtracted": (lr, -lr * lam),
        "the adversarial term is the clean loss again: eps is missing": (lr * (1 + lam), 0),
        "lr is missing": (1, lam),
        "the new values, not the change, are asked": None,
    }
    for k, (old, name) in enumerate(((w, "w"), (b, "b"))):
        right = old.double() - lr * (clean[k] + lam * adv[k])
        mistakes = {
            m: right - old.double() if v is None else old.double() - v[0] * clean[k] - v[1] * adv[k]
            for m, v in weights.items()
        }
        mistakes["nothing moved: w and b came back as they were"] = old
        mistakes = {m: v for m, v in mistakes.items()
                    if not torch.allclose(v.double(), right, atol=1e-4)}  # fmt: skip
        compare(result[k], right.float(), given=given, what=f"the new {name}",
                atol=2e-4, rtol=1e-3, mistakes=mistakes)  # fmt: skip
        _like_w(result[k], f"the new {name}", given)
        expect(not result[k].requires_grad,
               f"the new {name} is still tied to the graph of this step: in a loop the graph "
               "would grow with every step", given=given,
               likely=".detach() it, or take the step under torch.no_grad()")  # fmt: skip


# ---------------------------------------------------------------- 01.5


def _printed(log_clean: Tensor, log_adv: Tensor, lam: float) -> Tensor:
    """The published formula, symbol by symbol."""
    return (-log_clean - lam * (-log_adv) + lam * log_adv).mean()


def check_two_losses(answer) -> None:
    for seed, n, lam in ((150, 4, 0.1), (151, 7, 1.5), (152, 1, 0.4), (153, 5, 0.0)):
        g = torch.Generator().manual_seed(seed)
        log_clean, log_adv = -torch.rand(n, generator=g), -3 * torch.rand(n, generator=g)
        given = dict(log_clean=log_clean, log_adv=log_adv, lam=lam)
        result = _pair(_call(answer, given), "intended, published, slopes", given)
        intended, published, slopes = result
        c, a = log_clean.double(), log_adv.double()
        loss, extra = (-c).mean(), (-a).mean()
        values = {
            "intended": loss + lam * extra,
            "published": _printed(c, a, lam),
        }
        for name, value in (("intended", intended), ("published", published)):
            right = values[name]
            other = values["published" if name == "intended" else "intended"]
            mistakes = {
                "intended and published have changed places": other,
                "the two have the sign of log M(x)_y wrong: a loss is the negative logarithm":
                    -loss + lam * extra,
                "the adversarial term has the wrong sign: log M(x′)_y counts negatively":
                    loss - lam * extra,
                "sum instead of mean over the examples": n * right,
                "lam is missing": loss + extra,
                "the adversarial term is missing": loss,
                "the two terms of the printed formula are not opposite: λ log M(x′) appears twice, "
                "with the same sign": loss if name == "published" else None,
                "the adversarial term is counted twice": loss + 2 * lam * extra,
                "the printed formula has two terms with x′; one is missing":
                    loss - lam * extra if name == "published" else None,
            }  # fmt: skip
            mistakes = dict(reversed(mistakes.items())) if name == "published" else mistakes
            mistakes = {m: v for m, v in mistakes.items()
                        if v is not None and not torch.isclose(v, right, atol=1e-5)}  # fmt: skip
            compare(value, right.float(), given=given, what=f"the {name} loss", mistakes=mistakes)
        _check_slopes(slopes, given, lam, c, a)
    _can_be_trained(answer)


def _can_be_trained(answer) -> None:
    """Autograd finds its way from both losses to both inputs."""
    g = torch.Generator().manual_seed(154)
    log_clean, log_adv = -torch.rand(2, 4, generator=g)
    given = dict(log_clean=log_clean, log_adv=log_adv, lam=0.2)
    inputs = [log_clean.clone().requires_grad_(), log_adv.clone().requires_grad_()]
    for name, loss in zip(("intended", "published"), answer(*inputs, 0.2), strict=False):
        flows = loss.requires_grad and all(
            grad is not None
            for grad in torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
        )
        expect(flows, f"autograd cannot differentiate the {name} loss: it was cut off from "
               "log_clean or log_adv", given=given,
               likely=".detach(), .item() or torch.no_grad() on the way")  # fmt: skip


def _check_slopes(slopes, given: dict, lam: float, c: Tensor, a: Tensor) -> None:
    expect(isinstance(slopes, tuple | list) and len(slopes) == 2 and not any(map(np.shape, slopes)),
           "slopes should be a pair of numbers: (slope of intended, slope of published)",
           given=given, yours=repr(slopes))  # fmt: skip
    h = 1e-3
    rise = (
        float(((-c - lam * (a + h)).mean() - (-c - lam * a).mean()) / h),
        float((_printed(c, a + h, lam) - _printed(c, a, lam)) / h),
    )
    mine = tuple(float(s) for s in slopes)
    mistakes = {
        "the slopes have changed places": (rise[1], rise[0]),
        "both slopes have the wrong sign": (-rise[0], -rise[1]),
        "the published formula has log M(x′)_y twice: 2·lam, not lam": (rise[0], rise[1] / 2),
        "the published terms do not cancel: λ log M(x′) appears twice, with the same sign":
            (rise[0], 0.0),
        "both slopes alike: the printed minus before λ(−log M(x′)) turns the sign round":
            (rise[0], rise[0]),
        "all entries of log_adv rise together: this is the slope in one of them":
            (rise[0] / len(a), rise[1] / len(a)),
        "the published slope has the wrong sign": (rise[0], -rise[1]),
        "the intended slope has the wrong sign": (-rise[0], rise[1]),
    }  # fmt: skip
    mistakes = {m: v for m, v in mistakes.items() if max(
        abs(p - r) for p, r in zip(v, rise, strict=True)) > 1e-6}  # fmt: skip
    # A thousandth is far more than rounding in the differences.
    compare(torch.tensor(mine), torch.tensor(rise), given=given, what="slopes", atol=1e-3,
            mistakes={m: torch.tensor(v) for m, v in mistakes.items()})  # fmt: skip


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
