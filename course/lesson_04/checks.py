"""Checks of lesson 04, PGD.

The specification: the nearest point of a ball is looked for by bisection (l2) and coordinate by
coordinate (linf); PGD is a plain loop over single texts in double precision, without padding, that
hands the model its embeddings; random points are judged by what they should be distributed like;
the worst point of a disc is known in advance, because the check makes the landscape.
"""

from __future__ import annotations

import contextlib
import functools
import math

import torch
from torch import Tensor

from advlib import plots
from advlib.attacks.embedding import attackable, zero_delta
from course.checking import Exercise, Wrong, compare, expect, small_bert, unchanged
from course.lesson_02.checks import embedding_gradient
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- 04.1


def _nearest(delta: Tensor, eps: float, norm: str) -> Tensor:
    """The nearest point of each text's ball, by search; double."""
    delta = delta.double()
    if norm == "linf":  # each coordinate for itself: the nearest of three candidates
        inside = torch.where(delta.abs() <= eps, delta, torch.nan)
        ends = torch.stack([inside, torch.full_like(delta, eps), torch.full_like(delta, -eps)])
        apart = (ends - delta).abs().nan_to_num(nan=torch.inf)
        return ends.gather(0, apart.argmin(0, keepdim=True))[0]
    out = delta.clone()
    for i, one in enumerate(delta):  # bisection on the share of the way from the centre
        if one.square().sum() > eps**2:
            low, high = 0.0, 1.0
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if (middle * one).square().sum() <= eps**2 else (
                    low, middle)  # fmt: skip
            out[i] = low * one
    return out


def check_project(answer) -> None:
    g = torch.Generator().manual_seed(410)
    cases = [((4, 3, 2), 0.7), ((1, 1, 2), 1.0), ((3, 1, 5), 1.6), ((2, 4, 3), 0.25)]
    for shape, eps in cases:
        for norm in ("l2", "linf"):
            delta = torch.randn(shape, generator=g)
            if shape == (1, 1, 2):
                delta = torch.tensor([[[1.6, 0.5]]])
            else:  # one text well inside, one far outside
                delta[0] *= 0.2 * eps / delta[0].norm()
                delta[-1] *= 4 * eps / delta[-1].abs().max()
            _one_projection(answer, delta, eps, norm)
    still = torch.zeros(2, 2, 3)
    still[1] = 2.0
    _one_projection(answer, still, 0.5, "l2")  # a text that was not pushed at all


def _one_projection(answer, delta: Tensor, eps: float, norm: str) -> None:
    given = dict(delta=delta, eps=eps, norm=norm)
    copy = delta.clone()
    yours = answer(copy, eps, norm)
    unchanged(delta, copy, "delta")
    right = _nearest(delta, eps, norm)
    d = delta.double()
    size = d.flatten(1).norm(dim=1)[:, None, None]
    most = d.abs().amax((1, 2), keepdim=True)
    mistakes = {"delta came back as it was: nothing is projected": d}
    if norm == "l2":
        mistakes["clamp is the projection on the linf ball, a cube; the l2 ball is round"] = (
            d.clamp(-eps, eps))  # fmt: skip
    else:
        mistakes["linf by rescaling: this lies in the ball and is not the nearest point of it; "
                 "each coordinate is cut for itself"] = d * (eps / most.clamp_min(eps))  # fmt: skip
        mistakes["wrong norm: this is the projection on the l2 ball"] = _nearest(delta, eps, "l2")
        mistakes["only the upper end is cut: a coordinate may be too negative as well"] = (
            d.clamp(max=eps))  # fmt: skip
        mistakes["each coordinate was set to the surface: sign instead of clamp"] = eps * d.sign()
    mistakes |= {
        "this always rescales to the surface: a point that is inside must stay where it is":
            eps * d / (size if norm == "l2" else most),
        "the norm is taken over the whole batch: each text has a ball of its own":
            d * min(1.0, eps / d.norm().item()),
        "the norm is taken per token: the text's budget is for all its tokens together":
            d * (eps / d.norm(dim=2, keepdim=True).clamp_min(eps)),
        "the norm is taken over the tokens only (dim=1)":
            d * (eps / d.norm(dim=1, keepdim=True).clamp_min(eps)),
        "eps is forgotten: this is the ball of radius 1":
            _nearest(delta, 1.0, norm) if eps != 1 else None,
        "eps / norm is the wrong way up or not limited: the factor must never exceed 1":
            d * (size / eps).clamp_max(1),
    }  # fmt: skip
    mistakes = {k: v for k, v in mistakes.items() if v is not None and not _same(v, right)}
    if isinstance(yours, Tensor) and yours.isnan().any():
        where = "; a delta of zero has norm zero, and 0/0 is nan" if (size == 0).any() else ""
        raise Wrong(f"the result has nan{where}", given=given, yours=yours, expected=right.float(),
                    likely="clamp the norm from below before you divide by it")  # fmt: skip
    try:
        compare(yours, right.float(), given=given, what=f"the projection on the {norm} ball",
                mistakes=mistakes)  # fmt: skip
    except Wrong as wrong:
        with contextlib.suppress(Exception):  # an answer for one shape only has no such picture
            wrong.picture = _two_points(answer, norm)
        raise


def _two_points(answer, norm: str):
    """A plane with the ball, where the point was, where it went and where it should have gone."""
    delta, eps = torch.tensor([[[1.6, 0.5]]]), 1.0
    right = _nearest(delta, eps, norm).flatten()
    yours = answer(delta.clone(), eps, norm)
    if not isinstance(yours, Tensor) or yours.numel() != 2:
        return None
    angle = torch.linspace(0, 2 * math.pi, 361)
    edge = torch.stack([angle.cos(), angle.sin()], 1)
    edge = eps * edge / edge.norm(p=2 if norm == "l2" else math.inf, dim=1, keepdim=True)
    with plots.style():
        fig, ax = plots.figure(4.4, 3.4)
        ax.fill(edge[:, 0], edge[:, 1], color=plots.COLOURS["pgd"], alpha=0.2)
        for point, name, colour, mark in (
            (delta.flatten(), "delta", "#222222", "o"),
            (right, "expected", plots.COLOURS["fgm"], "s"),
            (yours.detach().flatten(), "yours", plots.COLOURS["standard"], "X"),
        ):
            ax.plot(*point.tolist(), mark, color=colour, markersize=9, label=name, alpha=0.8)
        ax.set(aspect="equal", xlabel="coordinate 1", ylabel="coordinate 2")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return fig


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- 04.2


@functools.cache
def _small_bert():
    return small_bert(420, labels=(1, 0, 1))


def _plain_pgd(model, batch, eps, steps, step_size, start, *, sign=1.0, ball="text", unit="text",
               fresh=True, mask="gradient", from_zero=False, best=False) -> Tensor:  # fmt: skip
    """The specification, text by text and without padding; the keywords are its mistakes."""
    lengths = batch["attention_mask"].sum(1).tolist()
    table = model.get_input_embeddings().weight.detach()
    words = [table[ids[:n]] for ids, n in zip(batch["input_ids"], lengths, strict=True)]
    free = [1.0 - row[:n, None].double()
            for row, n in zip(batch["special_tokens_mask"], lengths, strict=True)]  # fmt: skip
    zero = [torch.zeros_like(w) for w in words]
    begin = zero if start is None else [start[i, :n].double() for i, n in enumerate(lengths)]
    at = list(zero if from_zero else begin)
    first, highest, top = None, [-math.inf] * len(at), list(at)

    def climb(i: int) -> tuple[Tensor, float]:
        here = at[i].clone().requires_grad_()
        logits = model(inputs_embeds=(words[i] + here)[None]).logits[0]
        loss = torch.logsumexp(logits, 0) - logits[batch["labels"][i]]
        return torch.autograd.grad(loss, here)[0], loss.item()

    def remember(losses) -> None:
        for i, loss in enumerate(losses):
            if loss > highest[i]:
                highest[i], top[i] = loss, at[i]

    for _ in range(steps):
        slopes, losses = zip(*map(climb, range(len(at))), strict=True)
        remember(losses)
        first = first or slopes
        slopes = slopes if fresh else first
        if mask == "gradient":
            slopes = [g * m for g, m in zip(slopes, free, strict=True)]
        whole = torch.cat([g.flatten() for g in slopes]).norm()
        size = {"text": lambda g: g.norm(), "batch": lambda g, n=whole: n, "none": lambda g: 1.0,
                "token": lambda g: g.norm(dim=1, keepdim=True).clamp_min(1e-12)}[unit]  # fmt: skip
        push = [sign * step_size * g / size(g) for g in slopes]
        if mask == "step":
            push = [d * m for d, m in zip(push, free, strict=True)]
        if ball == "before the step":
            at = [_into_ball(d, eps) for d in at]
        at = [d + p for d, p in zip(at, push, strict=True)]
        if ball in ("text", "linf", "surface"):
            inside = {"text": _into_ball, "linf": lambda d, e: d.clamp(-e, e),
                      "surface": lambda d, e: d * e / d.norm()}[ball]  # fmt: skip
            at = [inside(d, eps) for d in at]
        elif ball == "round start":
            at = [b + _into_ball(d - b, eps) for d, b in zip(at, begin, strict=True)]
        elif ball == "batch":
            much = max(1.0, torch.cat([d.flatten() for d in at]).norm().item() / eps)
            at = [d / much for d in at]
    if ball == "after the loop":
        at = [_into_ball(d, eps) for d in at]
    if mask == "result":
        at = [d * m for d, m in zip(at, free, strict=True)]
    if best:
        remember([climb(i)[1] for i in range(len(at))])
        at = top
    out = torch.zeros(*batch["input_ids"].shape, table.shape[1], dtype=torch.double)
    for i, n in enumerate(lengths):
        out[i, :n] = at[i]
    return out


def _into_ball(at: Tensor, eps: float) -> Tensor:
    size = at.square().sum().sqrt()
    return at * eps / size if size > eps else at


_PGD_MISTAKES = {  # what to change in the specification: settings, or steps and step size
    "nothing moved: delta is still the start": dict(steps=0),
    "descent: this lowers the loss, the attacker climbs": dict(sign=-1.0),
    "no projection: delta leaves the ball": dict(ball="none"),
    "projection before the step: the last step is not projected": dict(ball="before the step"),
    "one projection after the loop: it belongs after every step": dict(ball="after the loop"),
    "the ball is round the clean text (delta = 0), not round `start`": dict(ball="round start"),
    "every round ends on the surface: inside the ball a point must stay where it is":
        dict(ball="surface"),
    "this projects on the linf cube: the ball is an l2 ball": dict(ball="linf"),
    "the norm is taken over the whole batch: each text has a ball of its own": dict(ball="batch"),
    "off by one: this took one step too many": dict(more=1),
    "off by one: this took one step too few": dict(more=-1),
    "the gradient is always asked at the start: ask it anew at each delta": dict(fresh=False),
    "the mask is forgotten: special tokens are pushed too": dict(mask="none"),
    "the gradient is normalised first and masked afterwards: the step is then too short":
        dict(mask="step"),
    "special tokens are pushed on the way and the mask comes at the end: mask the gradient":
        dict(mask="result"),
    "the step is not normalised: its length must be step_size whatever the gradient's":
        dict(unit="none"),
    "the step is normalised over the whole batch: each text has a step of its own":
        dict(unit="batch"),
    "the step is normalised per token: it is one step for the whole text": dict(unit="token"),
    "eps was taken as the step size": dict(length=lambda eps, size: eps),
    "step_size was multiplied by eps: it is a length already":
        dict(length=lambda eps, size: eps * size),
    "step_size is missing: the steps have length 1": dict(length=lambda eps, size: 1.0),
    "start is ignored: this begins at zero": dict(from_zero=True),
    "the best delta on the way, not the last": dict(best=True),
}  # fmt: skip


def check_pgd(answer) -> None:
    model, batch = _small_bert()
    g = torch.Generator().manual_seed(421)
    start = torch.randn(3, 7, 6, generator=g, dtype=torch.double)
    start = start * (batch["special_tokens_mask"] == 0)[..., None]
    start = 0.5 * start / start.flatten(1).norm(dim=1)[:, None, None]
    for eps, steps, step_size, begin in ((0.7, 4, 0.6, None), (0.9, 5, 0.25, start),
                                         (1.2, 1, 0.4, None), (0.8, 6, 0.3, None),
                                         (0.6, 5, 1.7, start)):  # fmt: skip
        _one_pgd(answer, model, batch, eps, steps, step_size, begin)


def _pgd_mistakes(model, batch, eps, steps, step_size, start, right) -> dict[str, Tensor]:
    found = {}
    for name, change in _PGD_MISTAKES.items():
        how = dict(change)
        rounds = how.pop("steps", steps) + how.pop("more", 0)
        length = how.pop("length", lambda eps, size: size)(eps, step_size)
        value = _plain_pgd(model, batch, eps, rounds, length, start, **how)
        if not _same(value, right):
            found[name] = value
    return found


def _one_pgd(answer, model, batch, eps, steps, step_size, start) -> None:
    given = dict(eps=eps, steps=steps, step_size=step_size,
                 start="None" if start is None else start)  # fmt: skip
    copies = {k: v.clone() for k, v in batch.items()}
    begin = None if start is None else start.clone()
    try:
        model.train()  # it has no dropout: the mode changes no number
        delta = answer(model, copies, eps, steps, step_size, *([] if begin is None else [begin]))
        left = [n for n, p in model.named_parameters() if p.grad is not None]
        expect(model.training, "the model's mode was changed and not put back", given=given,
               likely="model.eval() is not needed here: leave the mode as it is")  # fmt: skip
        expect(not left, f"gradients were left in {len(left)} parameters (.grad): the next "
               "training step would add them to its own", given=given,
               likely="loss.backward(); torch.autograd.grad with respect to delta "
                      "leaves none")  # fmt: skip
        expect(all(p.requires_grad for p in model.parameters()),
               "requires_grad of the parameters was changed", given=given)  # fmt: skip
    finally:
        model.eval()
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
    for name in batch:
        unchanged(batch[name], copies[name], f"batch[{name!r}]")
    if start is not None:
        unchanged(start, begin, "start")
    if isinstance(delta, Tensor):
        expect(not delta.requires_grad, "delta is still tied to the graph: with every step the "
               "graph of all earlier ones would be kept", given=given,
               likely="missing detach")  # fmt: skip
    right = _plain_pgd(model, batch, eps, steps, step_size, start)
    near = dict(atol=1e-4, rtol=1e-3)
    fits = isinstance(delta, Tensor) and delta.shape == right.shape
    if fits and torch.allclose(delta.double(), right, **near):
        return
    mistakes = _pgd_mistakes(model, batch, eps, steps, step_size, start, right)
    if fits and not any(_same(delta, value) for value in mistakes.values()):
        outside = (batch["special_tokens_mask"] == 1)[..., None]
        size = delta.double().flatten(1).norm(dim=1)
        expect((delta * outside).abs().sum() == 0, "delta is not zero on padding and special "
               "tokens", given=given, yours=delta, expected=right,
               likely="the mask is forgotten: fgm_step takes attackable(batch)")  # fmt: skip
        expect((size <= eps * (1 + 1e-4)).all(), f"delta leaves the ball of radius {eps}",
               given=given, yours=size, expected=right.flatten(1).norm(dim=1),
               likely="a round must end with the projection of each text")  # fmt: skip
        _one_step(answer, model, batch)
    compare(delta, right, given=given, what="delta after the last step", mistakes=mistakes,
            **near)  # fmt: skip


def _one_step(answer, model, batch) -> None:
    """Whether one step from zero in a ball without end goes the right way, at its full length."""
    eps, step_size = 100.0, 0.25
    copies = {k: v.clone() for k, v in batch.items()}
    step = answer(model, copies, eps, 1, step_size).detach().double()
    model.zero_grad(set_to_none=True)
    right = _plain_pgd(model, batch, eps, 1, step_size, None)
    size = step.flatten(1).norm(dim=1)
    if _same(step, right) or not _same(step_size * step / size[:, None, None], right):
        return
    whole = abs(step.norm().item() - step_size) < 1e-4
    raise Wrong(f"the direction of a step is right, but its length should be {step_size} for "
                "every text", given=dict(eps=eps, steps=1, step_size=step_size), yours=size,
                expected=torch.full_like(size, step_size),
                likely="the step is normalised over the whole batch: each text has a step of its "
                "own" if whole else "the step is not normalised: its length must not depend on "
                "that of the gradient")  # fmt: skip


# ---------------------------------------------------------------- 04.3


def check_random_in_ball(answer) -> None:
    """Judged by distribution: in d dimensions (‖delta‖ / eps)**d is uniform."""
    n = 1500
    mask = torch.zeros(3 * n + 1, 4, dtype=torch.bool)
    mask[:n, 1] = True  # one free token, two, three, and (the last text) none
    mask[n : 2 * n, 1:3] = True
    mask[2 * n : 3 * n, 1:4] = True
    for hidden, eps, seed in ((2, 0.6, 430), (3, 2.5, 431)):
        given = {"mask": f"{len(mask)} texts of 4 tokens, 0 to 3 of them free", "hidden": hidden,
                 "eps": eps}  # fmt: skip
        copy, before = mask.clone(), torch.random.get_rng_state()
        draw = torch.Generator().manual_seed(seed)
        delta = answer(copy, hidden, eps, draw)
        again = answer(copy, hidden, eps, torch.Generator().manual_seed(seed))
        other = answer(copy, hidden, eps, draw)
        unchanged(mask, copy, "mask")
        compare(None if delta is None else _shape_of(delta), (len(mask), 4, hidden), given=given,
                what="the shape of delta")  # fmt: skip
        expect(torch.equal(before, torch.random.get_rng_state()) and torch.equal(
            delta.nan_to_num(), again.nan_to_num()),
            "the same generator state gives different points: the random numbers do not come from "
            "`generator`", given=given, likely="pass generator=generator to torch.randn "
            "and torch.rand")  # fmt: skip
        expect(not torch.equal(delta.nan_to_num(), other.nan_to_num()),
               "a second call gives the same points again", given=given,
               likely="the generator is seeded inside the function")  # fmt: skip
        expect(not delta.isnan().any(), "delta has nan: a text without a free token has norm 0 "
               "and should stay 0", given=given, yours=delta[-1])  # fmt: skip
        expect((delta[~mask] == 0).all(), "delta is not zero where the mask is False",
               given=given, yours=delta[0],
               likely="the mask is ignored: multiply by mask[..., None]")  # fmt: skip
        picture = _cloud(delta[:n, 1, :2].double(), eps)
        for k in (2, 1, 0):
            part = delta[k * n : (k + 1) * n].double()
            _one_cloud(part[:, 1 : k + 2].flatten(1), hidden * (k + 1), 4 * hidden, eps,
                       given | {"free tokens": k + 1}, delta, mask, picture)  # fmt: skip


def _shape_of(delta) -> tuple:
    expect(isinstance(delta, Tensor), f"delta should be a tensor, not {type(delta).__name__}")
    return tuple(delta.shape)


def _far(values: Tensor) -> float:
    """Kolmogorov's distance between these numbers and the uniform distribution on [0, 1]."""
    values = values.clamp(0, 1).sort().values
    ranks = torch.arange(1, len(values) + 1) / len(values)
    return (values - ranks).abs().max().item()


def _masked_late(r: Tensor, d: int, d_padded: int) -> float:
    """How far these radii are from those of directions that are normalised before the mask."""
    g = torch.Generator().manual_seed(432)
    noise = torch.randn(6000, d_padded, generator=g).double()
    share = noise[:, :d].norm(dim=1) / noise.norm(dim=1)
    theirs = (share * torch.rand(6000, generator=g).double() ** (1 / d)).sort().values
    ours, both = r.sort().values, torch.cat([r, theirs])
    below = [torch.searchsorted(x, both, right=True) / len(x) for x in (ours, theirs)]
    return (below[0] - below[1]).abs().max().item()


def _one_cloud(points: Tensor, d: int, d_padded: int, eps: float, given, delta, mask,
               picture) -> None:  # fmt: skip
    limit = 2.2 / len(points) ** 0.5  # passed by chance once in ten thousand
    r = points.norm(dim=1) / eps
    unit = points / points.norm(dim=1, keepdim=True)
    whole = delta.double().norm().item()
    expect(abs(whole - eps) > 1e-3 * eps, "the whole batch together has norm eps: each text should "
           "have a point of its own ball", given=given,
           likely="the norm is taken over the whole batch")  # fmt: skip
    hidden = given["hidden"]
    token = points.view(len(points), -1, hidden).norm(dim=2) / eps
    d_batch = int(mask.sum()) * hidden
    known = {
        "always on the surface: the radius is missing": (r - 1).abs().max() < 1e-5,
        "d is counted over the whole batch: each text has its own number of free coordinates":
            _far(r**d_batch) < limit or _far(r ** (d_batch / len(mask))) < limit,
        "each token has a ball of its own: it is one ball for the whole text":
            token.max() <= 1 + 1e-4 and r.max() > 1.05,
        "one radius for the whole batch: each text needs a number of its own":
            r.std() < 1e-3,
        "eps is missing": (r * eps).max() <= 1 + 1e-4 and _far((r * eps) ** d) < limit,
        "the radius is u itself: points then crowd at the centre; take u ** (1 / d)":
            d > 1 and _far(r) < limit,
        "d counts padding and special tokens too: count the free coordinates only":
            _far(r**d_padded) < limit,
        "d is the number of free tokens: a token has `hidden` coordinates":
            _far(r ** (d / hidden)) < limit,
        "d is `hidden`: a text with several free tokens has more coordinates":
            d != hidden and _far(r**hidden) < limit,
        "the radius is u ** d; it must be u ** (1 / d)": _far(r ** (1 / d)) < limit,
        "a cube instead of a ball: every coordinate is drawn from −eps to eps":
            points.abs().max() <= eps * 1.001 and r.max() > 1.05,
        "the direction is normalised before the mask: what the mask takes away is then missing":
            _masked_late(r, d, d_padded) < 0.064,
    }  # fmt: skip
    likely = next((name for name, fits in known.items() if bool(fits)), None)
    details = dict(given=given, likely=likely, picture=picture)
    expect(r.max() <= 1 + 1e-4, f"points leave the ball: the largest norm is {r.max():.2f} times "
           "eps", **details)  # fmt: skip
    expect(unit.mean(0).abs().max() < 0.12, "the directions are not even: the points lie mainly to "
           "one side", given=given, picture=picture,
           likely="torch.rand draws from 0 to 1; a direction needs torch.randn")  # fmt: skip
    expect(_far(r**d) < limit, "the points are not uniform in the ball: "
           f"the share inside half the radius is {(r < 0.5).double().mean():.3f}, "
           f"and should be 0.5**{d} = {0.5**d:.3f}", **details)  # fmt: skip
    angle = torch.atan2(unit[:, 1], unit[:, 0])
    uneven = (4 * angle).cos().mean().abs() if d == 2 else torch.tensor(0.0)
    expect(uneven < 0.1, "the directions are not even: the diagonals are more frequent",
           given=given, picture=picture, likely="a cube instead of a ball: directions come from "
           "torch.randn, which has none that it likes better")  # fmt: skip
    _tokens_differ(points.view(len(points), -1, hidden), given)


def _tokens_differ(tokens: Tensor, given) -> None:
    """The tokens of a text, (texts, tokens, hidden), have directions and lengths of their own."""
    n = tokens.shape[1]
    if n == 1:
        return
    size = tokens.norm(dim=2)
    unit = tokens / size[..., None]
    cosine = (unit.sum(1).square().sum(1) - n) / (n * (n - 1))  # the mean over the pairs
    expect(cosine.mean().abs() < 0.2, "the tokens of a text are not independent: the mean cosine "
           f"between two of them is {cosine.mean():.2f}, and should be 0", given=given,
           likely="one direction is drawn per text, for all its tokens: draw (batch, tokens, "
           "hidden) numbers")  # fmt: skip
    expect((size / size.mean(1, keepdim=True)).std() > 1e-3, "all tokens of a text are pushed "
           "equally far: a uniform point has tokens of all lengths", given=given,
           likely="each token is normalised alone: the norm is the whole text's, dim=(1, "
           "2)")  # fmt: skip


def _cloud(points: Tensor, eps: float):
    with plots.style():
        fig, ax = plots.figure(3.6, 3.4)
        angle = torch.linspace(0, 2 * math.pi, 200)
        ax.plot(eps * angle.cos(), eps * angle.sin(), color="#222222", linewidth=1)
        ax.plot(points[:, 0], points[:, 1], ".", markersize=2, color=plots.COLOURS["noise"])
        ax.set(aspect="equal", title="your points for one free token")
        ax.title.set_size(10)
    return fig


# ---------------------------------------------------------------- 04.4


def check_keep_best(answer) -> None:
    for seed, (runs, batch, tokens, hidden) in enumerate(
        ((5, 4, 2, 3), (5, 2, 3, 2), (1, 3, 2, 2), (4, 1, 1, 2), (2, 6, 3, 4), (3, 3, 3, 3))
    ):
        g = torch.Generator().manual_seed(440 + seed)
        losses = torch.randn(runs, batch, generator=g) - 0.3
        deltas = torch.randn(runs, batch, tokens, hidden, generator=g)
        _one_best(answer, losses, deltas)
    losses = torch.tensor([[1.0, -2.0], [1.0, -1.0]])  # a tie: either run is right
    deltas = torch.arange(16.0).reshape(2, 2, 2, 2)
    _one_best(answer, losses, deltas)


def _one_best(answer, losses: Tensor, deltas: Tensor) -> None:
    given = dict(losses=losses, deltas=deltas)
    a, b = losses.clone(), deltas.clone()
    yours = answer(a, b)
    unchanged(losses, a, "losses")
    unchanged(deltas, b, "deltas")
    runs, batch = losses.shape

    def pick(choice) -> Tensor:
        return torch.stack([deltas[int(choice[i]), i] for i in range(batch)])

    order = [sorted(range(runs), key=lambda r, i=i: losses[r, i].item()) for i in range(batch)]
    right = pick([o[-1] for o in order])
    one = int(losses.sum(1).argmax())
    size = deltas.flatten(2).norm(dim=2)
    mistakes = {
        "the minimum: this is the delta with the smallest loss": pick([o[0] for o in order]),
        "one run for the whole batch: each text has a best run of its own": deltas[one],
        "one run for the whole batch, that with the largest loss of all: each text has a best run "
        "of its own": deltas[int(losses.argmax()) // batch],
        "the right run, but always of text 0: the second index must count the texts":
            deltas[losses.argmax(0), 0],
        "the last run, whatever its loss": deltas[-1],
        "the first run, whatever its loss": deltas[0],
        "the mean over the runs: it was never tried, and may be weaker than all": deltas.mean(0),
        "the loss's absolute value decides here: −5 is a small loss": pick(losses.abs().argmax(0)),
        "the longest delta, not that with the largest loss": pick(size.argmax(0)),
        "deltas[best] picks whole batches: each text needs its own row of its own run":
            deltas[losses.argmax(0)],
        "the largest value of each coordinate: this mixes the runs within one delta":
            deltas.amax(0),
        "the index of the best run, not its delta": losses.argmax(0),
        "the largest loss, not the delta that caused it": losses.amax(0),
    }  # fmt: skip
    mistakes = {k: v for k, v in mistakes.items() if not _same(v, right)}
    if isinstance(yours, Tensor) and yours.shape == right.shape:
        tied = [any(torch.equal(yours[i], deltas[r, i]) for r in range(runs)
                    if losses[r, i] == losses[:, i].max()) for i in range(batch)]  # fmt: skip
        if all(tied):
            return
    compare(yours, right, given=given, what="the best delta", mistakes=mistakes)


# ---------------------------------------------------------------- 04.5

CHUNK = 4096  # points in one call of loss_at, at most


def check_exact_worst(answer) -> None:
    g = torch.Generator().manual_seed(450)
    for k, (eps, resolution) in enumerate(((1.0, 12), (2.5, 20), (0.3, 16), (1.7, 40), (0.8, 10),
                                             (1.2, 350))):  # fmt: skip
        angle = 2 * math.pi * torch.rand((), generator=g, dtype=torch.double)
        radius = eps * (1.0, 0.55, 0.93, 0.3, 0.0, 0.7)[k]
        peak = radius * torch.stack([angle.cos(), angle.sin()])
        _one_disc(answer, peak, eps, resolution)


def _one_disc(answer, peak: Tensor, eps: float, resolution: int) -> None:
    """A landscape with a lower bump on the other side, and the top at `peak`, of height 2."""
    width = 0.25 * eps
    other = -0.7 * peak if peak.norm() > 0.1 * eps else torch.tensor([0.8 * eps, 0.0]).double()
    tried, values = [], []

    def loss_at(points: Tensor) -> Tensor:
        shown = tuple(points.shape) if isinstance(points, Tensor) else type(points).__name__
        expect(isinstance(points, Tensor) and points.dim() == 2 and points.shape[1] == 2,
               "loss_at takes a tensor of points, (n, 2)", yours=repr(shown))  # fmt: skip
        expect(points.dtype == torch.float64, "loss_at takes points of dtype torch.float64",
               yours=repr(points.dtype),
               likely="pass dtype=torch.float64 to linspace or arange")  # fmt: skip
        expect(len(points) <= CHUNK, f"loss_at was given {len(points)} points at once; the most is "
               f"{CHUNK}", likely="points.split(4096) cuts them into batches")  # fmt: skip
        near = (points - peak).norm(dim=1) / width
        far = (points - other).norm(dim=1) / width
        loss = 2 * torch.exp(-(near**2)) + 1.2 * torch.exp(-(far**2)) - 1.9
        tried.append(points.detach().clone())
        values.append(loss)
        return loss

    given = {"eps": eps, "resolution": resolution, "the top lies at": peak}
    result = answer(loss_at, eps, resolution)
    expect(tried, "loss_at was never called", given=given)
    points, losses = torch.cat(tried), torch.cat(values)
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, (point, loss)", given=given,
           yours=repr(result)[:200])  # fmt: skip
    point, loss = result
    size = points.norm(dim=1)
    if size.max() > eps * (1 + 1e-6):
        raise Wrong("points outside the disc were tried: an attacker may not go there", given=given,
                    picture=_grid(points, peak, eps),
                    likely="a square instead of a disc; or eps is forgotten")  # fmt: skip
    # Ring by ring, or row by row, is fine.
    expect(len(tried) <= 4 * (resolution + 1) + len(points) / 256,
           f"{len(tried)} calls of loss_at for {len(points)} points: that is far too slow with a "
           "model", given=given, likely="one point at a time: hand over whole batches, or a ring "
           "of points at least")  # fmt: skip
    likely = None
    if size.min() > 0.99 * eps:
        likely = "only the rim of the disc is tried: the top may lie inside"
    elif size.max() < 0.999 * eps:
        likely = "the rim of the disc is not tried: the last radius must be eps itself"
    elif size.min() > 1e-9 and peak.norm() < 1e-9:
        likely = "the centre, delta = 0, is not tried"
    gap = _largest_hole(points, eps) / eps * resolution
    if gap > 1:
        raise Wrong(f"a point of the disc is {gap:.2f} · eps / resolution away from the nearest "
                    "point that was tried; it may be 1 at most", given=given,
                    picture=_grid(points, peak, eps),
                    likely=likely or _why_a_hole(answer, points, eps, resolution))  # fmt: skip
    expect(isinstance(point, Tensor) and point.shape == (2,), "point should be a tensor of shape "
           "(2,)", given=given, yours=point,
           likely="an index instead of the point" if not isinstance(point, Tensor)
           or point.numel() == 1 else None)  # fmt: skip
    best = int(losses.argmax())
    mistakes = {
        "the minimum (or the largest absolute value) decides: −1.9 is a small loss":
            points[int(losses.argmin())],
        "the best of the last batch only": tried[-1][int(values[-1].argmax())],
        "the best of the first batch only": tried[0][int(values[0].argmax())],
        "an index within a batch was used for all points": points[int(values[-1].argmax())],
        "the last point that was tried": points[-1],
    }  # fmt: skip
    mistakes = {k: v for k, v in mistakes.items() if not torch.allclose(v, points[best])}
    compare(point.double(), points[best], given=given, what="point", mistakes=mistakes)
    compare(torch.as_tensor(loss).double(), losses[best].double(), given=given, what="loss",
            mistakes={"the loss should be that at the point, as it is": losses[best].abs(),
                      "the smallest loss": losses.min()})  # fmt: skip


def _why_a_hole(answer, points: Tensor, eps: float, resolution: int) -> str:
    """Which kind of grid leaves the hole: found by asking for twice the resolution."""
    counted = []

    def count(some: Tensor) -> Tensor:
        counted.append(len(some))
        return some.sum(1)

    with contextlib.suppress(Exception):
        answer(count, eps, 2 * resolution)
    growth = sum(counted) / len(points)  # 4 where both directions become twice as fine
    columns = len((points[:, 0] / eps).round(decimals=6).unique())
    if growth < 1.2:
        return "`resolution` is not used: the number of points does not depend on it"
    if growth < 3:
        return ("the number of points only doubles with the resolution: the distances in both "
                "directions, radii and angles, must become shorter")  # fmt: skip
    if columns**2 < 1.6 * len(points):
        return ("a square grid that is cut off at the circle leaves gaps there: add points on the "
                "rim itself")  # fmt: skip
    return "the grid is too coarse: make the distances of radii or angles shorter"


def _largest_hole(points: Tensor, eps: float) -> float:
    """How far a random point of the disc is from the nearest tried one, at most."""
    g = torch.Generator().manual_seed(451)
    n = 600 if len(points) < 50_000 else 60
    angle, share = 2 * math.pi * torch.rand(2, n, generator=g, dtype=torch.double)
    radius = eps * (share / (2 * math.pi)).sqrt()
    radius[: n // 6] = eps
    radius[n // 6 : n // 5] = 0
    probe = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    near = [torch.cdist(probe, some).amin(1) for some in points.split(100_000)]
    return torch.stack(near).amin(0).max().item()


def _grid(points: Tensor, peak: Tensor, eps: float):
    with plots.style():
        fig, ax = plots.figure(3.8, 3.4)
        angle = torch.linspace(0, 2 * math.pi, 200)
        ax.plot(eps * angle.cos(), eps * angle.sin(), color="#222222", linewidth=1)
        ax.plot(points[:, 0], points[:, 1], ".", markersize=2, color=plots.COLOURS["pgd"],
                label="tried")  # fmt: skip
        ax.plot(*peak.tolist(), "*", markersize=12, color=plots.COLOURS["fgm"], label="the top")
        ax.set(aspect="equal")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return fig


# ---------------------------------------------------------------- the course's own functions


def project(delta: Tensor, eps: float, norm: str) -> Tensor:
    """The nearest point to delta, (batch, tokens, hidden), in each text's ball of radius eps."""
    if norm == "linf":
        return delta.clamp(-eps, eps)
    size = delta.norm(dim=(1, 2), keepdim=True)
    return delta * (eps / size.clamp_min(eps))


def pgd(model, batch, eps: float, steps: int, step_size: float, start: Tensor | None = None):
    """`steps` times a step of length step_size up the loss, then back into the l2 ball of each
    text. Returns the last delta, (batch, tokens, hidden). start=None begins at zero."""
    delta = zero_delta(model, batch) if start is None else start
    for _ in range(steps):
        grad = embedding_gradient(model, batch, delta)
        delta = project(delta + fgm_step(grad, attackable(batch), step_size), eps, "l2")
    return delta


def random_in_ball(mask: Tensor, hidden: int, eps: float, generator: torch.Generator) -> Tensor:
    """A uniform point of the l2 ball of each text's free coordinates, (batch, tokens, hidden)."""
    free = mask.cpu()
    delta = torch.randn(*free.shape, hidden, generator=generator) * free[..., None]
    u = torch.rand(len(free), 1, 1, generator=generator)
    d = (free.sum(1) * hidden).clamp_min(1)[:, None, None]
    size = delta.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    return (eps * u ** (1 / d) * delta / size).to(mask.device)


def keep_best(losses: Tensor, deltas: Tensor) -> Tensor:
    """Per text the delta of the run with the largest loss: losses (runs, batch), deltas (runs,
    batch, tokens, hidden) to (batch, tokens, hidden)."""
    best = losses.argmax(0).to(deltas.device)
    return deltas[best, torch.arange(len(best), device=deltas.device)]


def exact_worst(loss_at, eps: float, resolution: int) -> tuple[Tensor, Tensor]:
    """(point, loss) of the largest loss on a fine polar grid of the disc of radius eps.

    loss_at: takes points (n, 2), float64, n <= 4096, and returns their losses (n,).
    """
    radius = eps * torch.arange(resolution + 1, dtype=torch.float64) / resolution
    angle = 2 * torch.pi * torch.arange(6 * resolution, dtype=torch.float64) / (6 * resolution)
    x, y = radius[:, None] * angle.cos(), radius[:, None] * angle.sin()
    points = torch.stack([x.flatten(), y.flatten()], dim=1)
    losses = torch.cat([loss_at(some) for some in points.split(4096)])
    return points[losses.argmax()], losses.max()


EXERCISES: dict[str, Exercise] = {
    "04.1": Exercise("the projection", check_project, project),
    "04.2": Exercise("projected gradient ascent", check_pgd, pgd),
    "04.3": Exercise("a random point of the ball", check_random_in_ball, random_in_ball),
    "04.4": Exercise("keep the best", check_keep_best, keep_best),
    "04.5": Exercise("the exact worst case", check_exact_worst, exact_worst),
}
