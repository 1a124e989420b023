"""Checks of lesson 04, PGD.

The specification: the nearest point of a ball is looked for by bisection (l2) and coordinate by
coordinate (linf); PGD is a plain loop over single texts in double precision, without padding, that
hands the model its embeddings; random points are judged by what they should be distributed like;
the worst point of a disc is known in advance, because the check makes the landscape.
"""

from __future__ import annotations

import contextlib
import math

import torch
from torch import Tensor

from advlib import plots
from advlib.attacks.embedding import attackable, zero_delta
from course.checking import (
    Exercise,
    Wrong,
    call,
    comparable,
    compare,
    expect,
    making,
    of_dtype,
    remembered,
    seeded,
    small_bert,
    specified,
    used,
)  # fmt: skip
from course.lesson_02.checks import embedding_gradient
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- 04.1


def _nearest(delta: Tensor, eps: float, norm: str, make=None) -> Tensor:
    """The nearest point of each text's ball, by search; `make` makes a mistake instead."""
    dtype, delta = delta.dtype, delta.double()
    if make:
        return make(delta, eps).to(dtype)
    if norm == "linf":  # each coordinate for itself: the nearest of three candidates
        inside = torch.where(delta.abs() <= eps, delta, torch.nan)
        ends = torch.stack([inside, torch.full_like(delta, eps), torch.full_like(delta, -eps)])
        apart = (ends - delta).abs().nan_to_num(nan=torch.inf)
        return ends.gather(0, apart.argmin(0, keepdim=True))[0].to(dtype)
    out = delta.clone()
    for i, one in enumerate(delta):  # bisection on the share of the way from the centre
        if one.square().sum() > eps**2:
            low, high = 0.0, 1.0
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if (middle * one).square().sum() <= eps**2 else (
                    low, middle)  # fmt: skip
            out[i] = low * one
    return out.to(dtype)


def _long(delta: Tensor, dims=(1, 2)) -> Tensor:
    return delta.square().sum(dims, keepdim=True).sqrt()


_NOT_L2 = {
    "clamp is the projection on the linf ball, a cube; the l2 ball is round":
        lambda d, eps: d.clamp(-eps, eps),
    "this always rescales to the surface: a point that is inside must stay where it is":
        lambda d, eps: eps * d / _long(d),
    "the norm is taken over the whole batch: each text has a ball of its own":
        lambda d, eps: d * (eps / d.norm()).clamp_max(1),
    "the norm is taken per token: the text's budget is for all its tokens together":
        lambda d, eps: d * (eps / _long(d, 2).clamp_min(eps)),
    "the norm is taken over the tokens only (dim=1)":
        lambda d, eps: d * (eps / _long(d, 1).clamp_min(eps)),
    "eps is forgotten: this is the ball of radius 1": lambda d, eps: _nearest(d, 1.0, "l2"),
    "eps / norm is the wrong way up or not limited: the factor must never exceed 1":
        lambda d, eps: d * (_long(d) / eps).clamp_max(1),
}  # fmt: skip
_NOT_LINF = {
    "linf by rescaling: this lies in the ball and is not the nearest point of it; each coordinate "
    "is cut for itself": lambda d, eps: d * (eps / d.abs().amax((1, 2), True).clamp_min(eps)),
    "wrong norm: this is the projection on the l2 ball": lambda d, eps: _nearest(d, eps, "l2"),
    "only the upper end is cut: a coordinate may be too negative as well":
        lambda d, eps: d.clamp(max=eps),
    "each coordinate was set to the surface: sign instead of clamp": lambda d, eps: eps * d.sign(),
    "eps is forgotten: this is the ball of radius 1": lambda d, eps: d.clamp(-1, 1),
}  # fmt: skip


def check_project(answer) -> None:
    g = torch.Generator().manual_seed(seeded(410))
    points = [(torch.tensor([[[1.6, 0.5]]]), 1.0)]
    for shape, eps in (((4, 3, 2), 0.7), ((3, 1, 5), 1.6), ((2, 4, 3), 0.25)):
        delta = torch.randn(shape, generator=g)  # one text well inside, one far outside
        delta[0] *= 0.2 * eps / delta[0].norm()
        delta[-1] *= 4 * eps / delta[-1].abs().max()
        points.append((delta, eps))
    still = torch.zeros(2, 2, 3)  # a text that was not pushed at all
    still[1] = 2.0
    for norm, mistakes in (("l2", _NOT_L2), ("linf", _NOT_LINF)):
        known = {"delta came back as it was: nothing is projected": lambda d, eps: d} | mistakes
        try:
            for some in (points, [(still, 0.5)]):
                specified(
                    of_dtype(answer), [dict(delta=d, eps=eps, norm=norm) for d, eps in some],
                    _nearest, making(known), what=f"the projection on the {norm} ball",
                    picture=lambda *shown: _two_points(answer, shown[2]["norm"]),
                )  # fmt: skip
        except Wrong as wrong:
            if isinstance(wrong.yours, Tensor) and wrong.yours.isnan().any():
                wrong.likely = ("0/0 is nan: a delta of zero has norm zero; clamp the norm from "
                                "below before you divide by it")  # fmt: skip
            raise


def _two_points(answer, norm: str):
    """Where a point was, where it went and where it should have gone."""
    delta, yours = torch.tensor([[[1.6, 0.5]]]), None
    with contextlib.suppress(Exception):  # an answer for one shape only has no such picture
        yours = answer(delta.clone(), 1.0, norm)
    if not isinstance(yours, Tensor) or yours.numel() != 2:
        return None
    return _plane(1.0, {
        "delta": (delta, "o", "#222222", 9),
        "expected": (_nearest(delta, 1.0, norm), "s", plots.COLOURS["fgm"], 9),
        "yours": (yours.detach(), "X", plots.COLOURS["standard"], 9),
    }, norm)  # fmt: skip


def _plane(eps: float, shown: dict[str, tuple], norm: str = "l2"):
    """The ball in the plane, with points: name -> (points, mark, colour, size of the mark)."""
    angle = torch.linspace(0, 2 * math.pi, 361)
    edge = torch.stack([angle.cos(), angle.sin()], 1)
    edge = eps * edge / edge.norm(p=2 if norm == "l2" else math.inf, dim=1, keepdim=True)
    with plots.style():
        fig, ax = plots.figure(4.4, 3.4)
        ax.plot(*edge.T, color="#222222", linewidth=1)
        for name, (points, mark, colour, size) in shown.items():
            ax.plot(*points.reshape(-1, 2).T, mark, color=colour, markersize=size, label=name,
                    alpha=0.8)  # fmt: skip
        ax.set(aspect="equal", xlabel="coordinate 1", ylabel="coordinate 2")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside right upper")
    return fig


# ---------------------------------------------------------------- 04.2


@remembered
def _plain_pgd(model, batch, eps, steps, step_size, start=None, *, sign=1.0, ball="text",
               unit="text", fresh=True, mask="gradient", from_zero=False, best=False, more=0,
               length=lambda eps, size: size) -> Tensor:  # fmt: skip
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

    for _ in range(steps + more):
        slopes, losses = zip(*map(climb, range(len(at))), strict=True)
        remember(losses)
        first = first or slopes
        slopes = slopes if fresh else first
        if mask == "gradient":
            slopes = [g * m for g, m in zip(slopes, free, strict=True)]
        whole = torch.cat([g.flatten() for g in slopes]).norm()
        size = {"text": lambda g: g.norm(), "batch": lambda g, n=whole: n, "none": lambda g: 1.0,
                "token": lambda g: g.norm(dim=1, keepdim=True).clamp_min(1e-12)}[unit]  # fmt: skip
        push = [sign * length(eps, step_size) * g / size(g) for g in slopes]
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


_PGD_MISTAKES = {  # what to change in the specification
    "nothing moved: delta is still the start": dict(more=-99),
    "nothing moved: delta is zero, even where there is a start": dict(more=-99, from_zero=True),
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
    model, batch = small_bert(420, labels=(1, 0, 2), classes=3)
    one = {k: v[1:2] for k, v in batch.items()}
    g = torch.Generator().manual_seed(421)
    start = torch.randn(3, 7, 6, generator=g, dtype=torch.double) * attackable(batch)[..., None]
    start = 0.5 * start / _long(start)
    names = ("eps", "steps", "step_size", "start")
    for texts, settings in ((batch, ((0.7, 4, 0.6), (0.9, 5, 0.25, start), (1.2, 1, 0.4),
                                     (0.8, 6, 0.3), (0.6, 5, 1.7, start))),
                            (one, ((0.5, 3, 0.3), (0.6, 2, 0.4, start[1:2])))):  # fmt: skip

        def run(*inputs, texts=texts):
            used(model).train(len(inputs) < 4)  # no dropout: the mode changes no number
            inputs = dict(zip(names, inputs, strict=False))
            delta = call(answer, model=model, batch=texts, **inputs, same_mode=True)
            expect(not (isinstance(delta, Tensor) and delta.requires_grad), "delta is still tied "
                   "to the graph: with every step the graph of all earlier ones would be kept",
                   given=inputs, likely="missing detach")  # fmt: skip
            return delta

        try:
            specified(run, [dict(zip(names, some, strict=False)) for some in settings],
                      lambda texts=texts, **how: _plain_pgd(model, texts, **how), _PGD_MISTAKES,
                      what="delta after the last step", atol=1e-4, rtol=1e-3)  # fmt: skip
        except Wrong as wrong:
            if wrong.likely is None and comparable(wrong):
                wrong.likely = _what_is_off(wrong, run, model, texts)
            raise


def _what_is_off(wrong: Wrong, run, model, texts) -> str | None:
    """What is known of a delta that none of the known mistakes explains."""
    if (wrong.yours * ~attackable(texts)[..., None]).any():
        return ("delta is not zero on padding and special tokens. The mask is forgotten: fgm_step "
                "takes attackable(batch)")  # fmt: skip
    if (_long(wrong.yours) > wrong.given["eps"] * (1 + 1e-4)).any():
        return "delta leaves the ball: a round must end with the projection of each text"
    length = 0.25  # of one step from zero in a ball without end
    step, right = run(100.0, 1, length), _plain_pgd(model, texts, 100.0, 1, length)
    same = torch.allclose(length * step / _long(step), right, rtol=1e-4, atol=1e-5)
    if not same or torch.allclose(step, right, rtol=1e-4, atol=1e-5):
        return None
    if abs(step.norm().item() - length) < 1e-4:
        return "the step is normalised over the whole batch: each text has a step of its own"
    return ("the step is not normalised: its length must be step_size for every text, whatever "
            "the gradient's")  # fmt: skip


# ---------------------------------------------------------------- 04.3


def check_random_in_ball(answer) -> None:
    """Judged by distribution: in d dimensions (‖delta‖ / eps)**d is uniform."""
    n = 1500
    mask = torch.zeros(3 * n + 1, 4, dtype=torch.bool)
    for turn, k in enumerate((3, 2, 1)):  # so many free tokens, and (the last text) none
        mask[turn * n : (turn + 1) * n, 1 : k + 1] = True
    for hidden, eps, seed in ((2, 0.6, 430), (3, 2.5, 431)):
        given = {"mask": f"{len(mask)} texts of 4 tokens, 0 to 3 of them free", "hidden": hidden,
                 "eps": eps}  # fmt: skip
        delta = _points(answer, mask, hidden, eps, seed, given)
        picture = _plane(eps, {"yours, one free token": (
            delta[2 * n : 3 * n, 1, :2], ".", plots.COLOURS["noise"], 2)})  # fmt: skip
        for turn, k in enumerate((3, 2, 1)):
            part = delta[turn * n : (turn + 1) * n, 1 : k + 1].double()
            _one_cloud(part, [hidden * count for count in (mask.sum(), mask.sum(1).float().mean())],
                       4 * hidden, eps, given | {"free tokens": k}, picture)  # fmt: skip
    one = torch.tensor([[False, True, True]])
    _points(answer, one, 2, 0.6, 433, dict(mask=one, hidden=2, eps=0.6))


def _points(answer, mask: Tensor, hidden: int, eps: float, seed: int, given) -> Tensor:
    """What the answer draws, after all that a distribution does not show was looked at."""

    def draw(generator: torch.Generator):
        return call(answer, mask=mask, hidden=hidden, eps=eps, generator=generator)

    before, first = torch.random.get_rng_state(), torch.Generator().manual_seed(seeded(seed))
    delta, other = draw(first), draw(first)
    again = draw(torch.Generator().manual_seed(seeded(seed)))
    expect(isinstance(delta, Tensor), f"delta should be a tensor, not {type(delta).__name__}: does "
           "the function return it?", given=given)  # fmt: skip
    expect(delta.shape == (*mask.shape, hidden), f"delta has shape {tuple(delta.shape)}, expected "
           f"{(*mask.shape, hidden)}", given=given)  # fmt: skip
    expect(delta.dtype == torch.float32, f"delta is of {delta.dtype}, and should be of "
           "torch.float32: a model takes no other", given=given)  # fmt: skip
    expect(torch.equal(before, torch.random.get_rng_state()) and torch.equal(
        delta.nan_to_num(), again.nan_to_num()),
        "the same generator state gives different points, or PyTorch's global generator is used: "
        "all random numbers come from `generator`", given=given, likely="pass generator=generator "
        "to torch.randn and torch.rand")  # fmt: skip
    expect(not torch.equal(delta.nan_to_num(), other.nan_to_num()),
           "a second call gives the same points again", given=given,
           likely="the generator is seeded inside the function")  # fmt: skip
    expect(not delta.isnan().any(), "delta has nan: a text without a free token has norm 0 "
           "and should stay 0", given=given, yours=delta[-1])  # fmt: skip
    expect((delta[~mask] == 0).all(), "delta is not zero where the mask is False", given=given,
           yours=delta[0], likely="the mask is ignored: multiply by mask[..., None]")  # fmt: skip
    expect(len(mask) == 1 or abs(delta.double().norm() - eps) > 1e-3 * eps, "the whole batch "
           "together has norm eps: each text should have a point of its own ball", given=given,
           likely="the norm is taken over the whole batch")  # fmt: skip
    return delta


def _far(values: Tensor) -> float:
    """Kolmogorov's distance between these numbers and the uniform distribution on [0, 1]."""
    values = values.clamp(0, 1).sort().values
    ranks = torch.arange(1, len(values) + 1) / len(values)
    return (values - ranks).abs().max().item()


def _masked_late(r: Tensor, d: int, d_padded: int) -> float:
    """How far these radii are from those of directions that are normalised before the mask."""
    g = torch.Generator().manual_seed(seeded(432))
    noise = torch.randn(6000, d_padded, generator=g).double()
    share = noise[:, :d].norm(dim=1) / noise.norm(dim=1)
    theirs = (share * torch.rand(6000, generator=g).double() ** (1 / d)).sort().values
    ours, both = r.sort().values, torch.cat([r, theirs])
    below = [torch.searchsorted(x, both, right=True) / len(x) for x in (ours, theirs)]
    return (below[0] - below[1]).abs().max().item()


def _one_cloud(tokens: Tensor, of_batch, d_padded: int, eps: float, given, picture) -> None:
    """The points of texts with equally many free tokens, (texts, tokens, hidden). of_batch: how
    many free coordinates the batch has, in all and in the mean."""
    points, hidden = tokens.flatten(1), tokens.shape[2]
    d = points.shape[1]
    limit = 2.2 / len(points) ** 0.5  # passed by chance once in ten thousand
    r = points.norm(dim=1) / eps
    unit = points / points.norm(dim=1, keepdim=True).clamp_min(1e-12)
    spread = d * torch.linalg.eigvalsh(unit.T @ unit / len(unit)).max()  # 1 where all is even
    known = {
        "always on the surface: the radius is missing": (r - 1).abs().max() < 1e-5,
        "d is counted over the whole batch: each text has its own number of free coordinates":
            min(_far(r**count) for count in of_batch) < limit,
        "each token has a ball of its own: it is one ball for the whole text":
            tokens.norm(dim=2).max() <= eps * (1 + 1e-4) and r.max() > 1.05,
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
        "a cube instead of a ball: every coordinate is drawn from −eps to eps":
            points.abs().max() <= eps * 1.001 and r.max() > 1.05,
        "the direction is normalised before the mask: what the mask takes away is then missing":
            _masked_late(r, d, d_padded) < 0.064,
    }  # fmt: skip
    likely = next((name for name, fits in known.items() if bool(fits)), None)
    details = dict(given=given, likely=likely, picture=picture)
    expect(r.max() <= 1 + 1e-4, f"points leave the ball: the largest norm is {r.max():.2f} times "
           "eps", **details)  # fmt: skip
    expect(spread < 0.95 * d, "all texts have one direction, or its opposite",
           given=given, picture=picture, likely="one direction is drawn for all texts: draw "
           "(batch, tokens, hidden) numbers")  # fmt: skip
    expect(unit.mean(0).abs().max() < 0.12, "the directions are not even: the points lie mainly to "
           "one side", given=given, picture=picture,
           likely="torch.rand draws from 0 to 1; a direction needs torch.randn"
           if (points >= 0).all() else None)  # fmt: skip
    expect(_far(r**d) < limit, "the points are not uniform in the ball: "
           f"the share inside half the radius is {(r < 0.5).double().mean():.3f}, "
           f"and should be 0.5**{d} = {0.5**d:.3f}", **details)  # fmt: skip
    angle = torch.atan2(unit[:, 1], unit[:, 0])
    uneven = (4 * angle).cos().mean().abs() if d == 2 else torch.tensor(0.0)
    expect(uneven < 0.1, "the directions are not even: the diagonals are more frequent",
           given=given, picture=picture, likely="a cube instead of a ball: directions come from "
           "torch.randn, which has none that it likes better")  # fmt: skip
    _tokens_differ(tokens, given)
    expect(spread < 1.3, "the directions are not even: some coordinates get more than others",
           given=given, picture=picture)  # fmt: skip


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


# ---------------------------------------------------------------- 04.4


def _pick(deltas: Tensor, runs) -> Tensor:
    return torch.stack([deltas[int(run), i] for i, run in enumerate(runs)])


def _plain_best(losses: Tensor, deltas: Tensor, make=None) -> Tensor:
    """Each text sorts its runs; `make` makes a mistake instead."""
    if make:
        return make(losses, deltas)
    texts = losses.T.tolist()
    return _pick(deltas, [max(range(len(one)), key=one.__getitem__) for one in texts])


_NOT_BEST = {
    "the minimum: this is the delta with the smallest loss": lambda a, d: _pick(d, a.argmin(0)),
    "one run for the whole batch: each text has a best run of its own":
        lambda a, d: d[a.sum(1).argmax()],
    "one run for the whole batch, that with the largest loss of all: each text has a best run of "
    "its own": lambda a, d: d[int(a.argmax()) // a.shape[1]],
    "the right run, but always of text 0: the second index must count the texts":
        lambda a, d: d[a.argmax(0), 0],
    "the last run, whatever its loss": lambda a, d: d[-1],
    "the first run, whatever its loss": lambda a, d: d[0],
    "the mean over the runs: it was never tried, and may be weaker than all":
        lambda a, d: d.mean(0),
    "the loss's absolute value decides here: −5 is a small loss":
        lambda a, d: _pick(d, a.abs().argmax(0)),
    "deltas[best] picks whole batches: each text needs its own row of its own run":
        lambda a, d: d[a.argmax(0)],
    "the largest value of each coordinate: this mixes the runs within one delta":
        lambda a, d: d.amax(0),
    "the index of the best run, not its delta": lambda a, d: a.argmax(0),
    "the largest loss, not the delta that caused it": lambda a, d: a.amax(0),
}  # fmt: skip


def check_keep_best(answer) -> None:
    g, problems = torch.Generator().manual_seed(seeded(440)), []
    for turn, (runs, *rest) in enumerate(
        ((5, 4, 2, 3), (5, 2, 3, 2), (1, 3, 2, 2), (4, 1, 1, 2), (2, 6, 3, 4), (3, 3, 3, 3))
    ):
        losses = torch.randn(runs, rest[0], generator=g) - (40 if turn == 4 else 0.3)
        problems.append(dict(losses=losses, deltas=torch.randn(runs, *rest, generator=g)))
    specified(of_dtype(answer, 1), problems, _plain_best, making(_NOT_BEST), what="the best delta")
    losses = torch.tensor([[1.0, -2.0], [1.0, -1.0]])  # a tie: either run is right
    deltas = torch.arange(16.0).reshape(2, 2, 2, 2)
    yours = call(answer, losses=losses, deltas=deltas)
    if not torch.equal(yours, deltas[0]) and not torch.equal(yours, _pick(deltas, (0, 1))):
        compare(yours, deltas[1], given=dict(losses=losses, deltas=deltas), what="the best delta")


# ---------------------------------------------------------------- 04.5

CHUNK = 4096  # points in one call of loss_at, at most


def check_exact_worst(answer) -> None:
    g = torch.Generator().manual_seed(seeded(450))
    for k, (eps, resolution) in enumerate(((1.0, 12), (2.5, 20), (0.3, 16), (1.7, 40), (0.8, 10),
                                             (1.2, 350))):  # fmt: skip
        angle = 2 * math.pi * torch.rand((), generator=g, dtype=torch.double)
        radius = eps * (1.0, 0.55, 0.93, 0.3, 0.0, 0.7)[k]
        peak = radius * torch.stack([angle.cos(), angle.sin()])
        _one_disc(answer, peak, eps, resolution, base=1.9 if k % 2 else 40.0)


def _one_disc(answer, peak: Tensor, eps: float, resolution: int, base: float) -> None:
    """A landscape with a lower bump on the other side, and the top at `peak`, 2 above −base."""
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
        loss = 2 * torch.exp(-(near**2)) + 1.2 * torch.exp(-(far**2)) - base
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
           likely="an index instead of the point" if isinstance(point, int)
           or isinstance(point, Tensor) and point.numel() == 1 else None)  # fmt: skip
    best = int(losses.argmax())
    mistakes = {
        f"the minimum (or the largest absolute value) decides: −{base} is a small loss":
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
    g = torch.Generator().manual_seed(seeded(451))
    n = 600 if len(points) < 50_000 else 60
    angle, share = 2 * math.pi * torch.rand(2, n, generator=g, dtype=torch.double)
    radius = eps * (share / (2 * math.pi)).sqrt()
    radius[: n // 6] = eps
    radius[n // 6 : n // 5] = 0
    probe = torch.stack([radius * angle.cos(), radius * angle.sin()], 1)
    near = [torch.cdist(probe, some).amin(1) for some in points.split(100_000)]
    return torch.stack(near).amin(0).max().item()


def _grid(points: Tensor, peak: Tensor, eps: float):
    return _plane(eps, {"tried": (points, ".", plots.COLOURS["pgd"], 2),
                        "the top": (peak, "*", plots.COLOURS["fgm"], 12)})  # fmt: skip


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
