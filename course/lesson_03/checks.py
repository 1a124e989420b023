"""Checks of lesson 03, FGSM and FGM on BERT embeddings.

The specification: the FGSM step tries every value of every coordinate, the FGM step is found by
projected ascent on the sphere; noise is judged by its properties (length, place, fourth moment,
reproducibility); forecasts by finite differences of losses that a small random BERT gives for
`inputs_embeds`; nearest words by sorting all distances, one word at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from advlib import plots
from advlib.attacks.embedding import attackable, perturbed_logits
from course.checking import (
    Exercise,
    Wrong,
    call,
    comparable,
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

SIZES = ((1, 5, 4), (3, 6, 4), (4, 8, 6))  # (batch, tokens, hidden)


# ---------------------------------------------------------------- the specification


def _mask(batch: int, tokens: int) -> Tensor:
    """(batch, tokens) True on words: the first is special, so is the last, then padding."""
    mask = torch.zeros(batch, tokens, dtype=torch.bool)
    for i in range(batch):
        mask[i, 1 : tokens - 1 - i] = True
    return mask


def _problem(seed: int, size: tuple[int, int, int]) -> dict:
    """A random gradient: examples and tokens of very different lengths, not zero where masked."""
    g = torch.Generator().manual_seed(seeded(seed))
    batch, tokens, hidden = size
    scale = 10 ** (2 * torch.rand(batch, tokens, 1, generator=g) - 1)
    scale = scale * torch.logspace(-1, 1, batch)[:, None, None]
    grad = scale * torch.randn(batch, tokens, hidden, generator=g)
    eps = round(0.2 + float(torch.rand((), generator=g)), 2)
    return dict(grad=grad, mask=_mask(batch, tokens), eps=eps)


def _gap(seed: int) -> dict:
    """With a masked token between words."""
    problem = _problem(seed, (2, 7, 3))
    problem["mask"][0, 3] = False
    return problem


def _best_in_cube(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Every coordinate tries 0, eps and −eps, and keeps what gains most."""
    values = torch.tensor([0.0, eps, -eps], dtype=torch.double)
    return values[(grad[..., None] * values).argmax(-1)] * mask[..., None]


def _best_in_ball(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """For each example the point of the sphere that gains most, by projected ascent."""
    out = torch.zeros_like(grad)
    for i in range(len(grad)):
        slope = grad[i, mask[i]]
        if not slope.any():
            continue
        slope = slope / slope.abs().max()
        point = torch.ones_like(slope)
        for _ in range(60):  # up the slope, then back to the sphere
            point = point + 10 * slope
            point = point * (eps / point.square().sum().sqrt())
        out[i, mask[i]] = point
    return out


def _step(make: Callable) -> Callable:
    """A specification that counts in double precision; a mistake is another `make`."""

    def spec(grad, mask, eps, make=make):
        return make(grad.double(), mask, eps).to(grad.dtype)

    return spec


def _unit(values: Tensor, dims) -> Tensor:
    return values / values.square().sum(dims, keepdim=True).sqrt().clamp_min(1e-30)


def _lengths_picture(yours, expected: Tensor, given: dict):
    """How far each token is moved, yours beside what was expected; None where shapes differ."""
    if not isinstance(yours, Tensor) or yours.shape != expected.shape:
        return None
    mask = given["mask"]
    with plots.style():
        figure, axes = plots.figure(1.2 + 2 * len(mask), 2.6, ncols=len(mask), sharey=True,
                                    squeeze=False)  # fmt: skip
        places = torch.arange(mask.shape[1])
        for i, ax in enumerate(axes[0]):
            for shift, value, colour, name in ((-0.2, yours, "#D55E00", "yours"),
                                               (0.2, expected, "#0072B2", "expected")):  # fmt: skip
                ax.bar(places + shift, value[i].detach().double().norm(dim=1), 0.4, color=colour,
                       label=name)  # fmt: skip
            ax.set_xticks(places, ["word" if m else "–" for m in mask[i]], rotation=90, fontsize=9)
            ax.set_title(f"text {i}", fontsize=10)
        axes[0, 0].set_ylabel("how far the token moves")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


# ---------------------------------------------------------------- 03.1

_CUBE = making({
    "the mask is forgotten: padding and special tokens must stay as they are":
        lambda g, m, e: e * g.sign(),
    "wrong sign: this step lowers the loss": lambda g, m, e: -_best_in_cube(g, m, e),
    "eps is missing: this is the sign alone": lambda g, m, e: _best_in_cube(g, m, 1.0),
    "the sign is missing: this is eps · grad": lambda g, m, e: e * g * m[..., None],
    "this is the step of the L2 ball, eps · g/‖g‖": _best_in_ball,
    "where the gradient is 0 there is nothing to gain, and the step is 0 (torch.sign)":
        lambda g, m, e: torch.where(g > 0, e, -e) * m[..., None],
    "where the gradient is 0 there is nothing to gain: the step is 0 there (torch.sign)":
        lambda g, m, e: torch.where(g >= 0, e, -e) * m[..., None],
    "the mask is the wrong way round: this moves only padding and special tokens":
        lambda g, m, e: _best_in_cube(g, ~m, e),
    "eps is divided by √hidden: here eps is the radius itself, in no other unit":
        lambda g, m, e: _best_in_cube(g, m, e) / g.shape[-1] ** 0.5,
    "the step is spread over the tokens: in the L∞ ball every coordinate may move by eps":
        lambda g, m, e: _best_in_cube(g, m, e) / m.sum(1)[:, None, None],
    "this is the gradient itself": lambda g, m, e: g,
})  # fmt: skip


def check_fgsm_step(answer) -> None:
    flat = _problem(315, (2, 6, 3))
    flat["grad"][0, 2] = 0  # a token without any gradient
    flat["grad"][1] = 0
    faint = _problem(316, (2, 6, 3))  # coordinates that are tiny, beside others that are not
    faint["grad"][:, ::2] = faint["grad"][:, ::2].sign() * 1e-10
    problems = [_problem(310 + k, size) for k, size in enumerate(SIZES)]
    try:
        specified(of_dtype(answer), [*problems, flat, faint, _gap(317)], _step(_best_in_cube),
                  _CUBE, what="delta", picture=_lengths_picture)  # fmt: skip
    except Wrong as wrong:
        wrong.likely = wrong.likely or _off_the_corner(wrong)
        raise


def _off_the_corner(wrong: Wrong) -> str | None:
    """Why a step is not in the corner of the cube that it should be in; None: not known."""
    if not comparable(wrong):
        return None
    yours, best, tiny = wrong.yours, wrong.expected, wrong.given["grad"].abs() < 1e-6
    factor = float((yours * best).sum() / best.square().sum())
    if 0 < factor != 1 and torch.allclose(yours, factor * best, rtol=1e-3, atol=1e-6):
        return (f"every coordinate is {factor:.3g} times what it should be: eps is the radius "
                "itself, no `unit` and no √hidden belong here")  # fmt: skip
    if (tiny & (best != 0)).any() and torch.allclose(yours[~tiny], best[~tiny], rtol=1e-3):
        return ("a tiny coordinate of the gradient is taken for none, by a threshold or by a "
                "constant in the denominator: only its sign counts, however small")  # fmt: skip
    return None


# ---------------------------------------------------------------- 03.2


def _along(g: Tensor, m: Tensor) -> Tensor:
    return g * m[..., None]


_BALL = making({
    "the mask is forgotten: padding and special tokens must stay as they are":
        lambda g, m, e: _best_in_ball(g, torch.ones_like(m), e),
    "the mask comes after the normalisation: padding and special tokens have taken part of "
    "the length, and delta is too short":
        lambda g, m, e: _along(_best_in_ball(g, torch.ones_like(m), e), m),
    "wrong sign: this step lowers the loss": lambda g, m, e: -_best_in_ball(g, m, e),
    "eps is missing: this is the direction alone": lambda g, m, e: _best_in_ball(g, m, 1.0),
    "one norm for the whole batch: every example has its own budget, so dim=(1, 2)":
        lambda g, m, e: e * _unit(_along(g, m), (0, 1, 2)),
    "one norm for the whole batch, and the mask comes too late":
        lambda g, m, e: e * _along(_unit(g, (0, 1, 2)), m),
    "one norm per token: the budget is one for all tokens of an example, dim=(1, 2)":
        lambda g, m, e: e * _unit(_along(g, m), 2),
    "one norm per coordinate, taken over the tokens: dim=(1, 2) takes the whole example":
        lambda g, m, e: e * _unit(_along(g, m), 1),
    "this is the sign step of the L∞ ball": _best_in_cube,
    "the sign is taken, and then its length: FGM keeps the gradient's own proportions":
        lambda g, m, e: e * _unit(_along(g.sign(), m), (1, 2)),
    "the gradient is not normalised: this is eps · grad": lambda g, m, e: e * _along(g, m),
    "the norm is squared: divide by ‖g‖, not by ‖g‖²": lambda g, m, e:
        e * _along(g, m) / _along(g, m).square().sum((1, 2), keepdim=True).clamp_min(1e-30),
    "divided by the L1 norm, not by the L2 norm": lambda g, m, e:
        e * _along(g, m) / _along(g, m).abs().sum((1, 2), keepdim=True).clamp_min(1e-30),
    "divided by the largest coordinate, not by the L2 norm": lambda g, m, e:
        e * _along(g, m) / _along(g, m).abs().amax((1, 2), keepdim=True).clamp_min(1e-30),
})  # fmt: skip


def check_fgm_step(answer) -> None:
    quiet = _problem(325, (4, 6, 3))
    quiet["grad"][1] = 0  # nothing to climb
    quiet["grad"][2] *= ~quiet["mask"][2][:, None]  # nothing but where nobody may push
    faint = _problem(326, (2, 7, 4))  # a very sure model
    lengths = torch.tensor([1e-7, 1e-10])[:, None, None]
    faint["grad"] *= lengths / faint["grad"].norm(dim=(1, 2), keepdim=True)
    problems = [_problem(320 + k, size) for k, size in enumerate(SIZES[::-1])]
    try:
        specified(of_dtype(answer), [*problems, quiet, faint, _gap(327)], _step(_best_in_ball),
                  _BALL, what="delta", rtol=1e-3, picture=_lengths_picture)  # fmt: skip
    except Wrong as wrong:
        wrong.likely = wrong.likely or _off_the_sphere(wrong)
        raise


def _off_the_sphere(wrong: Wrong) -> str | None:
    """What is known of a step that is none of the known mistakes."""
    yours, best = wrong.yours, wrong.expected
    if isinstance(yours, Tensor) and yours.isnan().any():
        return "0/0: an example whose gradient is zero has norm 0; its delta is 0"
    if not comparable(wrong):
        return None
    slope = _along(wrong.given["grad"], wrong.given["mask"]).flatten(1).double()
    mine, right, length = (t.flatten(1).double().norm(dim=1) for t in (yours, best, slope))
    off, along = (mine - right).abs() > 1e-3 * right, F.cosine_similarity(
        yours.double().flatten(1), best.double().flatten(1))  # fmt: skip
    if not off.any():
        return "the length is right, the direction is not: is it the gradient's?"
    if length[off].max() < 1e-5 and length[off].min() > 0 and (mine[off] < right[off]).all():
        if not mine[off].any():
            return "a small gradient is taken for none: only norm 0 gives delta 0"
        if along[off].min() > 0.99:
            return ("a constant added to the norm, or a least norm (1e-8, say), swallows a "
                    "gradient that is itself so short: treat norm 0 apart")  # fmt: skip
    return f"the lengths of delta are {_few(mine)}, and should be {_few(right)}"


def _few(values: Tensor) -> str:
    return "[" + ", ".join(f"{v:.3f}" for v in values.tolist()) + "]"


# ---------------------------------------------------------------- 03.3


def check_noise_like(answer) -> None:
    for k, size in enumerate(((3, 6, 4), (4, 8, 16))):
        _one_noise(answer, 330 + k, size)
    _statistics(answer)
    _where_delta_is_zero(answer)


def _some_delta(seed: int, size: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """A perturbation, zero where masked, of another length for every example; the mask."""
    problem = _problem(seed, size)
    return _along(problem["grad"], problem["mask"]), problem["mask"]


def _draw(answer, delta: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, torch.Generator]:
    generator, before = torch.Generator().manual_seed(seed), torch.random.get_rng_state()
    result = call(of_dtype(answer), delta=delta, mask=mask, generator=generator)
    expect(torch.equal(before, torch.random.get_rng_state()), "your function draws from PyTorch's "
           "global generator, or seeds it", given=dict(delta=delta, mask=mask),
           likely="draw with generator=generator, and from nothing else: then whoever knows the "
           "seed can repeat the noise")  # fmt: skip
    return result, generator


def _one_noise(answer, seed: int, size: tuple[int, int, int]) -> None:
    delta, mask = _some_delta(seed, size)
    delta[-1] = 0
    if size[0] > 3:
        mask[-1] = False  # a text without a word
    given = dict(delta=delta, mask=mask, generator=f"torch.Generator().manual_seed({seed})")
    noise, generator = _draw(answer, delta, mask, seed)
    details = dict(given=given, yours=noise)
    expect(isinstance(noise, Tensor), "the function should return a tensor: does it return one?",
           **details)  # fmt: skip
    expect(noise.shape == delta.shape, f"the noise has shape {tuple(noise.shape)}, expected "
           f"{tuple(delta.shape)}", **details)  # fmt: skip
    expect(noise.isfinite().all(), "the result has values that are not finite", **details,
           likely="0/0: where nothing may be perturbed, or delta is zero, the noise is "
           "zero")  # fmt: skip
    expect(not torch.equal(noise, delta), "delta comes back: nothing is random", **details)
    expect(not _along(noise, ~mask).any(), "there is noise on padding or special tokens",
           **details, likely="the mask is forgotten" if noise[0][~mask[0]].all() else None)
    size_now, wanted = (t.double().flatten(1).norm(dim=1) for t in (noise, delta))
    if not torch.allclose(size_now, wanted, rtol=1e-3, atol=1e-6):
        raise Wrong(f"the lengths of the noise are {_few(size_now)}, those of delta {_few(wanted)}",
                    **details, likely=_which_length(answer, delta, mask, seed))  # fmt: skip
    again, _ = _draw(answer, delta, mask, seed)
    expect(torch.equal(noise, again), "the noise does not come from the generator that was passed "
           "in: the same seed gives other noise", given=given)  # fmt: skip
    expect(not torch.equal(answer(delta.clone(), mask.clone(), generator), noise), "a second call "
           "with the same generator gives the same noise again", given=given,
           likely="the generator is seeded anew inside the function")  # fmt: skip


def _which_length(answer, delta: Tensor, mask: Tensor, seed: int) -> str | None:
    """Where the noise's length comes from, if not from delta; None: not known."""
    drawn = [_draw(answer, delta, mask, s)[0] for s in (seed, seed + 1)]
    if torch.isclose(drawn[0].norm(), delta.norm(), rtol=1e-3):
        return "one norm for the whole batch: every example keeps its own length, so dim=(1, 2)"
    size, other = (noise[delta.flatten(1).any(1)].norm(dim=(1, 2)) for noise in drawn)
    if torch.allclose(size, torch.ones_like(size), rtol=1e-3):
        return "delta's length is forgotten: this noise has length 1"
    full = 3 * torch.randn(delta.shape, generator=torch.Generator().manual_seed(seed + 1))
    one, ten = (_draw(answer, k * full, torch.ones_like(mask), seed)[0] for k in (1, 10))
    if torch.allclose(one.norm(dim=(1, 2)), full.norm(dim=(1, 2)), rtol=1e-3):
        return ("the mask comes after the normalisation: padding and special tokens have taken "
                "part of the length")  # fmt: skip
    if torch.allclose(size, other, rtol=1e-3):
        return None
    if torch.allclose(ten, one, rtol=1e-3):
        return "the noise is not normalised: divide by its own norm, multiply by that of delta"
    return ("the length depends on what was drawn: divide by the noise's own L2 norm, "
            "dim=(1, 2), and draw nothing for the length, which is delta's")  # fmt: skip


def _where_delta_is_zero(answer) -> None:
    """A word, or a coordinate, that delta happens to leave alone gets noise like the others."""
    delta, mask = _some_delta(339, (3, 7, 4))
    mask[0, 3] = False
    delta[0, 2:4] = 0
    delta[1, 1:3, 1] = 0
    noise, _ = _draw(answer, delta, mask, 339)
    details = dict(given=dict(delta=delta, mask=mask), yours=noise)
    expect((noise[mask] != 0).all(), "there is no noise where delta happens to be 0", **details,
           likely="delta != 0 stands for the mask: noise belongs on every coordinate of every "
           "word, and only the mask says which tokens are words")  # fmt: skip
    expect(not noise[~mask].any(), "there is noise where the mask is False", **details)


def _statistics(answer) -> None:
    """What the direction is like: the same in every respect as that of a normal vector."""
    mask = _mask(1, 12).repeat(96, 1)
    delta = torch.randn(96, 12, 12, generator=torch.Generator().manual_seed(seeded(337)))
    delta = _along(delta, mask) * torch.linspace(0.5, 3, 12)[:, None]
    noise, _ = _draw(answer, delta, mask, 338)
    by_word = noise[mask].view(96, -1, 12).double()
    words = by_word.flatten(1)  # (texts, coordinates)
    d = words.shape[1]
    rows = words / words.norm(dim=1, keepdim=True)
    cosine = F.cosine_similarity(noise.flatten(1), delta.flatten(1)).double()
    leaning, square = cosine.mean().abs() * d**0.5, cosine.square().mean() * d
    twin = ((rows @ rows.T).abs() - torch.eye(len(rows))).max()
    sizes, its = by_word.norm(dim=-1), delta[mask].view(96, -1, 12).norm(dim=-1)
    share = rows.view(by_word.shape).square().sum(-1).mean(0)  # of each token
    like_delta = torch.corrcoef(torch.stack([share, its.square().mean(0)]))[0, 1] > 0.9
    fourth = rows.pow(4).mean() / rows.square().mean() ** 2
    per_token = "one norm per token: the length is the whole example's, dim=(1, 2)"

    def alike(a: Tensor, b: Tensor) -> bool:
        return torch.allclose(a.double(), b.expand_as(a).double(), rtol=1e-3)

    for wrong, problem, likely in (
        (alike(by_word, by_word[:, :1]), "all tokens of a text have the same noise",
         "drawn once per text, for all its tokens: draw delta's whole shape"),
        (alike(by_word, by_word[..., :1]), "all coordinates of a token have the same noise",
         "one number drawn per token: draw delta's whole shape"),
        (twin >= 0.9, "two texts have the same noise, or one has the other's turned around",
         "drawn for one text and used for all: draw delta's whole shape"),
        (alike(noise.abs(), delta.abs()), "every coordinate of the noise is as large as delta's",
         "only the signs are random: draw the sizes too"),
        (alike(sizes, its), "every single token's noise is as long as its delta", per_token),
        (rows.mean().abs() * d**0.5 >= 0.1, "the noise leans to one side: its mean is not 0",
         "one sign only: torch.rand draws from 0 to 1, .abs() drops the sign; torch.randn has both "
         "signs" if (rows >= 0).all() else None),
        (share.max() >= 1.5 * share.min(), "some tokens get more noise than others",
         "delta's own sizes are still in it: it must not know delta" if like_delta else None),
        (not 2.5 < fourth < 3.5, "the direction is not uniform: the fourth moment of the "
         f"coordinates is {fourth:.2f}, of normal numbers 3",
         "uniform numbers or signs prefer the corners of the cube (1.8, 1); only normal ones "
         "(torch.randn) prefer no direction" if fourth < 2.5 else None),
        (square <= 0.3, "the noise is at a right angle to delta in every text",
         "delta's share was taken out of the noise: a uniformly random direction has a cosine of "
         "about 1/√d, of either sign"),
        (leaning >= 0.6 or square >= 2, "the noise leans to delta", "delta is still in it"),
        (sizes.std(dim=1).mean() <= 1e-3 * sizes.mean(),
         "all tokens of a text have noise of one length", per_token),
    ):  # fmt: skip
        expect(not wrong, problem, given=dict(delta=delta, mask=mask), yours=noise, likely=likely)


# ---------------------------------------------------------------- 03.4


def check_forecast(answer) -> None:
    model, batch = small_bert(341, labels=(0, 2, 1), classes=3)
    one = {k: v[1:2, :5] for k, v in batch.items() if k != "labels"} | {"labels": torch.tensor([2])}
    problems = []
    for seed, size, part in ((340, 0.3, batch), (341, 1.5, batch), (342, 0.7, one)):
        g = torch.Generator().manual_seed(seeded(seed))
        delta = torch.randn(*part["input_ids"].shape, 6, generator=g, dtype=torch.double)
        delta = size * _along(delta, attackable(part))
        # Both signs occur: the first example's loss rises at first, the second's falls.
        rises = _facts(model, part, delta).slope.sign() * torch.tensor([1, -1, 1])[: len(delta)]
        problems.append(dict(batch=part, delta=delta * rises[:, None, None]))
    for k, name in enumerate(("predicted", "actual")):
        right, mistakes = _FORECAST[k]
        try:
            specified(lambda batch, delta, k=k: _pair(answer, model, batch, delta)[k], problems,
                      lambda batch, delta, make=right: make(_facts(model, batch, delta)),
                      making(mistakes), what=name, rtol=1e-3)  # fmt: skip
        except Wrong as wrong:
            if (not wrong.likely and k == 0 and comparable(wrong)
                    and torch.allclose(wrong.yours.double(), wrong.expected, 0.1, 0.01)):
                wrong.likely = ("nearly right, as a difference of two losses is, or a gradient "
                                "taken nearby: asked is the gradient at zero itself")  # fmt: skip
            raise


def _pair(answer, model, batch, delta: Tensor) -> tuple:
    """What the answer returns; two errors that PyTorch words for nobody are put in plain words."""
    given = dict(model="a small random BERT with 3 classes", **batch, delta=delta)
    try:
        used(model).train(len(delta) > 1)
        result = call(answer, model=model, batch=batch, delta=delta, same_mode=True)
    except ValueError as error:
        if "embeds a tensor of shape" not in str(error):
            raise
        raise Wrong("the embeddings and delta do not fit together", given=given,
                    likely="another model than the one that was passed in, perhaps the page's "
                    "`victim.model`: use the `model` that you are given") from error  # fmt: skip
    except AttributeError as error:
        if "'NoneType' object has no attribute 'detach'" not in str(error):
            raise
        raise Wrong("None was given where a tensor is wanted", given=given,
                    likely="embedding_gradient wants a delta of zeros, torch.zeros_like(delta), "
                    "not None; or it got no result to detach") from error  # fmt: skip
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, predicted and actual: does it return them?",
           given=given, yours=repr(result))  # fmt: skip
    for value, name in zip(result, ("predicted", "actual"), strict=True):
        expect(not (isinstance(value, Tensor) and value.requires_grad),
               f"{name} still carries the graph of the forward pass", given=given,
               likely="compute the losses under torch.no_grad(), or .detach()")  # fmt: skip
    return result


@remembered
def _facts(model, batch, delta: Tensor) -> SimpleNamespace:
    """All that can be said about the losses on the way to delta, each (batch,).

    slope, late: along delta at zero and at delta, by central differences. start, end: the losses.
    grad: at zero. slopes, changes: of functions that may be mistaken for the loss.
    """
    words = model.get_input_embeddings().weight[batch["input_ids"]].detach()
    rows, labels = torch.arange(len(delta)), batch["labels"]

    def logits(moved: Tensor) -> Tensor:
        return model(inputs_embeds=words + moved, attention_mask=batch["attention_mask"]).logits

    def losses(at: float) -> Tensor:
        """−log of the probability of each label."""
        with torch.no_grad():
            p = logits(at * delta).exp()
        return -(p[rows, labels] / p.sum(1)).log()

    def slope(at: float, h: float = 1e-4) -> Tensor:
        return (losses(at + h) - losses(at - h)) / (2 * h)

    own = logits(0 * delta).argmax(1)
    slopes, changes = {}, {}
    for name, function in dict(
        odds=lambda z: torch.log(1 / z.softmax(1)[rows, labels] - 1),
        own=lambda z: -z.log_softmax(1)[rows, own],
        probability=lambda z: z.softmax(1)[rows, labels],
    ).items():
        scale = torch.zeros(len(delta), 1, 1, dtype=delta.dtype, requires_grad=True)
        start = function(logits(scale * delta))
        slopes[name] = torch.autograd.grad(start.sum(), scale)[0].flatten()
        changes[name] = (function(logits(delta)) - start).detach()
    still = torch.zeros_like(delta).requires_grad_()
    (grad,) = torch.autograd.grad(F.cross_entropy(logits(still), labels, reduction="sum"), still)
    on_words = (grad * attackable(batch)[..., None]).flatten(1).norm(dim=1)
    return SimpleNamespace(
        start=losses(0.0), end=losses(1.0), change=losses(1.0) - losses(0.0), slope=slope(0.0),
        late=slope(1.0), slopes=slopes, changes=changes, grad=grad, delta=delta,
        size=grad.flatten(1).norm(dim=1), on_words=on_words, length=delta.flatten(1).norm(dim=1),
    )  # fmt: skip


_ODDS = "this is for the log-odds of a wrong answer: asked is the cross-entropy"
_OWN = "this is for the model's own label: asked is the loss of the true one, batch['labels']"
_PROBABILITY = "this is for the probability of the true label: asked is the cross-entropy"
_OF_PREDICTED = {
    "predicted and actual have changed places": lambda f: f.change,
    "the gradient is taken at delta: the forecast may only know the gradient at zero":
        lambda f: f.late,
    "summed over the batch: one number per example": lambda f: f.slope.sum(),
    "the mean over the batch: one number per example": lambda f: f.slope.mean(),
    "averaged over the batch: the gradient is that of the mean loss, not of the sum":
        lambda f: f.slope / len(f.slope),
    "the mean of the gradients at zero and at delta: the forecast knows the one at zero only":
        lambda f: (f.slope + f.late) / 2,
    "wrong sign: the loss changes by + g·delta": lambda f: -f.slope,
    "the loss at zero is in it: asked is the change": lambda f: f.start + f.slope,
    "the absolute value is taken: a forecast has a sign": lambda f: f.slope.abs(),
    "g·delta is averaged over tokens and coordinates: sum them":
        lambda f: f.slope / f.delta[0].numel(),
    _ODDS: lambda f: f.slopes["odds"],
    _OWN: lambda f: f.slopes["own"],
    _PROBABILITY: lambda f: f.slopes["probability"],
    "this is the cosine between g and delta: asked is g·delta, lengths and all":
        lambda f: f.slope / f.size / f.length,
    "this is for the FGM step: asked is g·delta for the delta that is given":
        lambda f: f.on_words * f.length,
    "this is ‖g‖·‖delta‖, the most that a delta of this length could gain: asked is g·delta":
        lambda f: f.size * f.length,
    "one number per token: sum over the tokens too, dim=(1, 2)":
        lambda f: (f.grad * f.delta).sum(2),
    "not summed: g·delta is one number per example, dim=(1, 2)": lambda f: f.grad * f.delta,
}  # fmt: skip
_OF_ACTUAL = {
    "actual is the forecast again: it takes a forward pass at delta to know": lambda f: f.slope,
    "this is the loss at delta: asked is the change from zero to delta": lambda f: f.end,
    "wrong sign: after minus before": lambda f: -f.change,
    "summed over the batch: one number per example": lambda f: f.change.sum(),
    'the mean over the batch: one number per example (reduction="none")':
        lambda f: f.change.mean(),
    _ODDS: lambda f: f.changes["odds"],
    _OWN: lambda f: f.changes["own"],
    _PROBABILITY: lambda f: f.changes["probability"],
}  # fmt: skip
_FORECAST = ((lambda f: f.slope, _OF_PREDICTED), (lambda f: f.change, _OF_ACTUAL))


# ---------------------------------------------------------------- 03.5


def check_nearest_words(answer) -> None:
    problems = []
    for seed, tokens, vocabulary, hidden, k in (
        (350, 4, 9, 3, 2), (351, 6, 30, 5, 4), (352, 3, 12, 4, 1), (353, 1, 8, 2, 3),
    ):  # fmt: skip
        g = torch.Generator().manual_seed(seeded(seed))
        table = torch.randn(vocabulary, hidden, generator=g)
        table = table * (0.4 + 2 * torch.rand(vocabulary, 1, generator=g))
        chosen = torch.randint(vocabulary, (tokens,), generator=g)
        embedded = table[chosen] + 0.4 * torch.randn(tokens, hidden, generator=g)
        embedded[0] = table[chosen[0]]  # one that was not moved at all
        problems.append(dict(embedded=embedded, table=table, k=k))
    try:
        specified(answer, problems, _plain_search, making(_SEARCH), what="ids")
    except Wrong as wrong:
        ids, right = wrong.yours, wrong.expected
        if isinstance(ids, tuple):
            wrong.likely = "topk and sort return (values, indices): take `.indices`"
        elif (wrong.likely is None and comparable(wrong)
              and torch.equal(ids.long().sort(1)[0], right.sort(1)[0])):  # fmt: skip
            wrong.likely = ("the right words, but not nearest first (sorted=False, or by id?)"
                            if not torch.equal(ids.long(), right) else None)  # fmt: skip
        raise


def _plain_search(embedded: Tensor, table: Tensor, k: int, make=lambda f: f.order[:, : f.k]):
    """All distances, sorted one token at a time; a mistake makes something else of them."""
    e, t = embedded.double(), table.double()
    away = torch.tensor([[float((x - w).square().sum().sqrt()) for w in t] for x in e])
    order = torch.tensor([sorted(range(len(t)), key=row.tolist().__getitem__) for row in away])
    return make(SimpleNamespace(
        e=e, t=t, k=k, away=away, order=order, dot=e @ t.T,
        cosine=(e @ t.T) / e.norm(dim=1)[:, None] / t.norm(dim=1)))  # fmt: skip


_SEARCH = {
    "the farthest words come first: topk takes the largest unless largest=False":
        lambda f: f.order.flip(1)[:, : f.k],
    "the right words in the wrong order: nearest first": lambda f: f.order[:, : f.k].flip(1),
    "the nearest word of all, k times over: asked are the k nearest":
        lambda f: f.order[:, :1].expand(-1, f.k),
    "the word at distance 0 is left out: an unmoved token's nearest word is its own":
        lambda f: f.away.masked_fill(f.away < 1e-6, torch.inf).argsort(1)[:, : f.k],
    "these are the words' vectors, not their ids": lambda f: f.t[f.order[:, : f.k]],
    "the nearest word itself is left out: an unmoved token's nearest word is its own":
        lambda f: f.order[:, 1 : f.k + 1],
    "by dot product: a long vector wins although it is far away":
        lambda f: f.dot.argsort(1).flip(1)[:, : f.k],
    "by cosine: it does not see lengths, only angles":
        lambda f: f.cosine.argsort(1).flip(1)[:, : f.k],
    "by L1 distance: asked is the straight line, L2":
        lambda f: (f.e[:, None] - f.t).abs().sum(-1).argsort(1)[:, : f.k],
    "these are the distances, not the ids of the words": lambda f: f.away.sort(1)[0][:, : f.k],
    "all words are returned, not the k nearest": lambda f: f.order,
    "one word per token, where the k nearest are asked": lambda f: f.order[:, 0],
    "the shape must be (tokens, k) for k = 1 too": lambda f: f.order[:, : f.k].squeeze(1),
    "the other way round: for each word the nearest tokens":
        lambda f: f.away.T.argsort(1)[:, : f.k],
    "transposed: (tokens, k) is asked": lambda f: f.order[:, : f.k].T,
    "one list for the whole text: each token has its own nearest words":
        lambda f: f.away.sum(0).argsort()[: f.k],
}  # fmt: skip


# ---------------------------------------------------------------- the course's own functions


def fgsm_step(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """The δ of the L∞ ball of radius eps that raises grad·δ most.

    grad: (batch, tokens, hidden). mask: (batch, tokens), True where a token may be perturbed.
    Returns (batch, tokens, hidden), zero where masked.
    """
    return eps * grad.sign() * mask[..., None]


def fgm_step(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """The δ of the L2 ball of radius eps, one ball per example, that raises grad·δ most.

    grad: (batch, tokens, hidden). mask: (batch, tokens), True where a token may be perturbed.
    Returns (batch, tokens, hidden), zero where masked and where an example has no gradient.
    """
    grad = grad * mask[..., None]
    size = grad.norm(dim=(1, 2), keepdim=True)
    return eps * grad / torch.where(size > 0, size, 1)


def noise_like(delta: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """A random direction for every example, as long as its δ: the control of an attack.

    delta: (batch, tokens, hidden), zero where masked. mask: (batch, tokens). generator: on the CPU.
    Returns (batch, tokens, hidden), zero where masked.
    """
    noise = torch.randn(delta.shape, generator=generator).to(delta) * mask[..., None]
    size = noise.norm(dim=(1, 2), keepdim=True)
    wanted = delta.norm(dim=(1, 2), keepdim=True)
    return wanted * noise / torch.where(size > 0, size, 1)


def losses(model, batch, delta: Tensor) -> Tensor:
    """The cross-entropy of each text, (batch,), as the page has it."""
    with torch.no_grad():
        logits = perturbed_logits(model, batch, delta)
    return F.cross_entropy(logits, batch["labels"], reduction="none")


def forecast(model, batch, delta: Tensor) -> tuple[Tensor, Tensor]:
    """(predicted, actual) change of each example's cross-entropy from 0 to δ, both (batch,).

    predicted: g·δ with the gradient g at zero; actual: measured by a forward pass at each end.
    delta: (batch, tokens, hidden), zero where masked.
    """
    zero = torch.zeros_like(delta)
    predicted = (embedding_gradient(model, batch, zero) * delta).sum((1, 2))
    actual = losses(model, batch, delta) - losses(model, batch, zero)
    return predicted, actual


def nearest_words(embedded: Tensor, table: Tensor, k: int) -> Tensor:
    """The ids of the k words of the table that are nearest (L2) to each token, nearest first.

    embedded: (tokens, hidden). table: (vocabulary, hidden). Returns (tokens, k).
    """
    return torch.cdist(embedded, table).topk(k, largest=False).indices


EXERCISES: dict[str, Exercise] = {
    "03.1": Exercise("the sign step, FGSM", check_fgsm_step, fgsm_step),
    "03.2": Exercise("the L2 step, FGM", check_fgm_step, fgm_step),
    "03.3": Exercise("noise of the same size", check_noise_like, noise_like),
    "03.4": Exercise("what the gradient forecasts", check_forecast, forecast),
    "03.5": Exercise("the nearest real words", check_nearest_words, nearest_words),
}
