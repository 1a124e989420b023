"""Checks of lesson 03, FGSM and FGM on BERT embeddings.

The specification: the FGSM step tries every value of every coordinate, the FGM step is found by
projected ascent on the sphere; noise is judged by its properties (length, place, fourth moment,
reproducibility); forecasts by finite differences of losses that a small random BERT gives for
`inputs_embeds`; nearest words by sorting all distances, one word at a time.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from advlib import plots
from advlib.attacks.embedding import perturbed_logits
from course.checking import Exercise, Wrong, compare, expect, unchanged
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
    g = torch.Generator().manual_seed(seed)
    batch, tokens, hidden = size
    scale = 10 ** (2 * torch.rand(batch, tokens, 1, generator=g) - 1)
    scale = scale * torch.logspace(-1, 1, batch)[:, None, None]
    grad = scale * torch.randn(batch, tokens, hidden, generator=g)
    eps = round(0.2 + float(torch.rand((), generator=g)), 2)
    return dict(grad=grad, mask=_mask(batch, tokens), eps=eps)


def _best_in_cube(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """Every coordinate tries 0, eps and −eps, and keeps what gains most."""
    values = torch.tensor([0.0, eps, -eps], dtype=torch.double)
    gain = grad.double()[..., None] * values
    return values[gain.argmax(-1)] * mask[..., None]


def _best_in_ball(grad: Tensor, mask: Tensor, eps: float) -> Tensor:
    """For each example the point of the sphere that gains most, by projected ascent."""
    out = torch.zeros(grad.shape, dtype=torch.double)
    for i in range(len(grad)):
        slope = grad[i, mask[i]].double()
        if not slope.any():
            continue
        slope = slope / slope.abs().max()
        point = torch.ones_like(slope)
        for _ in range(60):  # up the slope, then back to the sphere
            point = point + 10 * slope
            point = point * (eps / point.square().sum().sqrt())
        out[i, mask[i]] = point
    return out


def _call(answer, inputs: dict):
    """Call with copies, and see that none of them was changed."""
    copies = {k: v.clone() if isinstance(v, Tensor) else v for k, v in inputs.items()}
    result = answer(*copies.values())
    for name, value in inputs.items():
        if isinstance(value, Tensor):
            unchanged(value, copies[name], name)
    return result


def _finite(result, given: dict, likely: str) -> None:
    if isinstance(result, Tensor):
        expect(torch.isfinite(result).all(), "the result has values that are not finite",
               given=given, yours=result, likely=likely)  # fmt: skip


def _other_than(expected: Tensor, mistakes: dict) -> dict:
    """Without the mistakes that happen to be right here."""
    expected = expected.double()
    return {
        name: value
        for name, value in mistakes.items()
        if value.shape != expected.shape
        or not torch.allclose(value.double(), expected, atol=1e-5, rtol=1e-3)
    }


def _unit(values: Tensor, dims) -> Tensor:
    return values / values.square().sum(dims, keepdim=True).sqrt().clamp_min(1e-30)


def _lengths_picture(yours, expected: Tensor, mask: Tensor):
    """How far each token is moved, yours beside what was expected; None where shapes differ."""
    if not isinstance(yours, Tensor) or yours.shape != expected.shape:
        return None
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


def check_fgsm_step(answer) -> None:
    for k, size in enumerate(SIZES):
        _one_cube(answer, _problem(310 + k, size))
    flat = _problem(315, (2, 6, 3))
    flat["grad"][0, 2] = 0  # a token without any gradient
    flat["grad"][1] = 0
    _one_cube(answer, flat)
    faint = _problem(316, (2, 6, 3))  # coordinates that are tiny, beside others that are not
    faint["grad"][:, ::2] = faint["grad"][:, ::2].sign() * 1e-10
    _one_cube(answer, faint)


def _one_cube(answer, given: dict) -> None:
    grad, mask, eps = given.values()
    result = _call(answer, given)
    best = _best_in_cube(grad, mask, eps)
    at, g = mask[..., None].double(), grad.double()
    mistakes = {
        "the mask is forgotten: padding and special tokens must stay as they are":
            _best_in_cube(grad, torch.ones_like(mask), eps),
        "wrong sign: this step lowers the loss": -best,
        "eps is missing: this is the sign alone": best / eps,
        "the sign is missing: this is eps · grad": eps * g * at,
        "this is the step of the L2 ball, eps · g/‖g‖": _best_in_ball(grad, mask, eps),
        "where the gradient is 0 there is nothing to gain, and the step is 0 (torch.sign)":
            torch.where(g > 0, eps, -eps) * at,
        "where the gradient is 0 there is nothing to gain: the step is 0 there (torch.sign)":
            torch.where(g >= 0, eps, -eps) * at,
        "the mask is the wrong way round: this moves only padding and special tokens":
            _best_in_cube(grad, ~mask, eps),
        "eps is divided by √hidden: here eps is the radius itself, in no other unit":
            best / grad.shape[-1] ** 0.5,
        "the step is spread over the tokens: in the L∞ ball every coordinate may move by eps":
            best / mask.sum(1)[:, None, None],
        "this is the gradient itself": g,
    }  # fmt: skip
    _finite(result, given, "a division by zero")
    try:
        compare(result, best.float(), given=given, what="delta",
                mistakes=_other_than(best, mistakes))  # fmt: skip
    except Wrong as wrong:
        if wrong.likely is None:
            wrong.likely = _off_the_corner(result, best, grad)
        wrong.picture = _lengths_picture(result, best, mask)
        raise


def _off_the_corner(result, best: Tensor, grad: Tensor) -> str | None:
    """Why a step is not in the corner of the cube that it should be in; None: not known."""
    if not isinstance(result, Tensor) or result.shape != best.shape:
        return None
    yours = result.double()
    factor = float((yours * best).sum() / best.square().sum())
    if factor > 0 and torch.allclose(yours, factor * best, rtol=1e-3, atol=1e-6):
        return (f"every coordinate is {factor:.3g} times what it should be: eps is the radius "
                "itself, no `unit` and no √hidden belong here")  # fmt: skip
    tiny = grad.abs() < 1e-6
    if torch.allclose(yours[~tiny], best[~tiny], rtol=1e-3):
        return ("a tiny coordinate of the gradient is taken for none, by a threshold or by a "
                "constant in the denominator: only its sign counts, however small")  # fmt: skip
    return None


# ---------------------------------------------------------------- 03.2


def check_fgm_step(answer) -> None:
    for k, size in enumerate(SIZES[::-1]):  # one example alone, last: it hides what a batch shows
        _one_ball(answer, _problem(320 + k, size))
    quiet = _problem(325, (4, 6, 3))
    quiet["grad"][1] = 0  # nothing to climb
    quiet["grad"][2] *= ~quiet["mask"][2][:, None]  # nothing but where nobody may push
    _one_ball(answer, quiet)
    faint = _problem(326, (2, 7, 4))
    faint["grad"] *= 1e-7 / faint["grad"].norm(dim=(1, 2), keepdim=True)  # a very sure model
    _one_ball(answer, faint, faint=True)


def _one_ball(answer, given: dict, faint: bool = False) -> None:
    grad, mask, eps = given.values()
    result = _call(answer, given)
    best = _best_in_ball(grad, mask, eps)
    at, g = mask[..., None].double(), grad.double()
    everywhere = _best_in_ball(grad, torch.ones_like(mask), eps)
    mistakes = {
        "the mask is forgotten: padding and special tokens must stay as they are": everywhere,
        "the mask comes after the normalisation: padding and special tokens have taken part of "
        "the length, and delta is too short": everywhere * at,
        "wrong sign: this step lowers the loss": -best,
        "eps is missing: this is the direction alone": best / eps,
        "one norm for the whole batch: every example has its own budget, so dim=(1, 2)":
            eps * _unit(g * at, (0, 1, 2)),
        "one norm for the whole batch, and the mask comes too late": eps * _unit(g, (0, 1, 2)) * at,
        "one norm per token: the budget is one for all tokens of an example, dim=(1, 2)":
            eps * _unit(g * at, (2,)),
        "one norm per coordinate, taken over the tokens: dim=(1, 2) takes the whole example":
            eps * _unit(g * at, (1,)),
        "this is the sign step of the L∞ ball": _best_in_cube(grad, mask, eps),
        "the sign is taken, and then its length: FGM keeps the gradient's own proportions":
            eps * _unit(g.sign() * at, (1, 2)),
        "the gradient is not normalised: this is eps · grad": eps * g * at,
        "the norm is squared: divide by ‖g‖, not by ‖g‖²":
            eps * g * at / (g * at).square().sum((1, 2), keepdim=True).clamp_min(1e-30),
        "divided by the L1 norm, not by the L2 norm":
            eps * g * at / (g * at).abs().sum((1, 2), keepdim=True).clamp_min(1e-30),
        "divided by the largest coordinate, not by the L2 norm":
            eps * g * at / (g * at).abs().amax((1, 2), keepdim=True).clamp_min(1e-30),
    }  # fmt: skip
    _finite(result, given, "0/0: an example whose gradient is zero has norm 0; its delta is 0")
    if faint:
        mistakes = _faint_mistakes(result, best) | mistakes
    try:
        compare(result, best.float(), given=given, what="delta", rtol=1e-3,
                mistakes=_other_than(best, mistakes))  # fmt: skip
    except Wrong as wrong:
        if wrong.likely is None:
            wrong.likely = _off_the_sphere(result, best, eps)
        wrong.picture = _lengths_picture(result, best, mask)
        raise


def _faint_mistakes(result, best: Tensor) -> dict[str, Tensor]:
    """Where only the length of a step along a faint gradient is wrong, and why it may be."""
    if not isinstance(result, Tensor) or result.shape != best.shape:
        return {}
    if not result.any():
        return {"a small gradient is taken for none: only norm 0 gives delta 0": result}
    if F.cosine_similarity(result.double().flatten(1), best.flatten(1)).min() < 0.99:
        return {}
    return {"a constant added to the norm (1e-8, say) swallows a gradient that is itself so short: "
            "add none, or treat norm 0 apart": result}  # fmt: skip


def _off_the_sphere(result, best: Tensor, eps: float) -> str | None:
    if not isinstance(result, Tensor) or result.shape != best.shape:
        return None
    size = result.double().flatten(1).norm(dim=1)
    if torch.allclose(size, best.flatten(1).norm(dim=1), rtol=1e-3):
        return "the length is right, the direction is not: is it the gradient's?"
    return (f"not on the surface of the ball: lengths {_few(size)}, where eps = {eps} (eps is the "
            "radius itself, in no other unit)")  # fmt: skip


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
    delta = problem["grad"] * problem["mask"][..., None]
    return delta, problem["mask"]


def _draw(answer, delta: Tensor, mask: Tensor, seed: int) -> tuple[Tensor, torch.Generator]:
    d, m, generator = delta.clone(), mask.clone(), torch.Generator().manual_seed(seed)
    result = answer(d, m, generator)
    unchanged(delta, d, "delta")
    unchanged(mask, m, "mask")
    return result, generator


def _one_noise(answer, seed: int, size: tuple[int, int, int]) -> None:
    delta, mask = _some_delta(seed, size)
    delta[-1] = 0
    if size[0] > 3:
        mask[-1] = False  # a text without a word
    given = dict(delta=delta, mask=mask, generator=f"torch.Generator().manual_seed({seed})")
    noise, generator = _draw(answer, delta, mask, seed)
    _finite(
        noise, given, "0/0: where nothing may be perturbed, or delta is zero, the noise is zero"
    )
    expect(isinstance(noise, Tensor), "the function should return a tensor: does it return one?",
           given=given, yours=noise)  # fmt: skip
    expect(noise.shape == delta.shape,
           f"the noise has shape {tuple(noise.shape)}, expected {tuple(delta.shape)}",
           given=given, yours=noise)  # fmt: skip
    expect(noise.dtype == delta.dtype, f"the noise is {noise.dtype}, delta is {delta.dtype}",
           given=given)  # fmt: skip
    expect(not torch.equal(noise, delta), "delta itself comes back: nothing is random",
           given=given, yours=noise)  # fmt: skip
    expect(not (noise * ~mask[..., None]).any(),
           "there is noise on padding or special tokens", given=given, yours=noise,
           likely="the mask is forgotten")  # fmt: skip
    size_now, wanted = (t.double().flatten(1).norm(dim=1) for t in (noise, delta))
    if not torch.allclose(size_now, wanted, rtol=1e-3, atol=1e-6):
        likely = _which_length(answer, noise, delta, seed)
        raise Wrong(f"the lengths of the noise are {_few(size_now)}, those of delta {_few(wanted)}",
                    given=given, yours=noise, likely=likely)  # fmt: skip
    again, _ = _draw(answer, delta, mask, seed)
    fresh = torch.Generator().manual_seed(seed).get_state()
    expect(torch.equal(noise, again) and not torch.equal(generator.get_state(), fresh),
           "the noise does not come from the generator that was passed in", given=given,
           likely="the generator is not used: torch.randn(..., generator=generator) can be "
           "repeated by whoever knows the seed")  # fmt: skip
    next_one = answer(delta.clone(), mask.clone(), generator)
    expect(not torch.equal(next_one, noise), "a second call with the same generator gives the same "
           "noise again", given=given,
           likely="the generator is seeded anew inside the function")  # fmt: skip


def _which_length(answer, noise: Tensor, delta: Tensor, seed: int) -> str:
    size, wanted = noise.double().norm(dim=(1, 2)), delta.double().norm(dim=(1, 2))
    whole = torch.isclose(size.square().sum().sqrt(), wanted.square().sum().sqrt(), rtol=1e-3)
    some = wanted > 0
    if whole:
        return "one norm for the whole batch: every example keeps its own length, so dim=(1, 2)"
    if torch.allclose(size[some], torch.ones_like(size[some]), rtol=1e-3):
        return "delta's length is forgotten: this noise has length 1"
    full = 3 * torch.randn(delta.shape, generator=torch.Generator().manual_seed(seed + 1))
    everywhere = torch.ones(full.shape[:2], dtype=torch.bool)
    unmasked, _ = _draw(answer, full, everywhere, seed)
    if torch.allclose(unmasked.norm(dim=(1, 2)), full.norm(dim=(1, 2)), rtol=1e-3):
        return ("the mask comes after the normalisation: padding and special tokens have taken "
                "part of the length")  # fmt: skip
    longer, _ = _draw(answer, 10 * full, everywhere, seed)
    if torch.allclose(longer, 10 * unmasked, rtol=1e-3):
        return ("the length depends on what was drawn: divide by the noise's own L2 norm, "
                "dim=(1, 2), and draw nothing for the length, which is delta's")  # fmt: skip
    return "the noise is not normalised: divide by its own norm, multiply by that of delta"


def _where_delta_is_zero(answer) -> None:
    """A word, or a coordinate, that delta happens to leave alone gets noise like the others."""
    delta, mask = _some_delta(339, (3, 7, 4))
    delta[0, 2] = 0
    delta[1, 1:3, 1] = 0
    noise, _ = _draw(answer, delta, mask, 339)
    expect((noise[mask] != 0).all(), "there is no noise where delta happens to be 0",
           given=dict(delta=delta, mask=mask), yours=noise,
           likely="delta != 0 stands for the mask: noise belongs on every coordinate of every "
           "word, and only the mask says which tokens are words")  # fmt: skip


def _statistics(answer) -> None:
    """What the direction is like: the same in every respect as that of a normal vector."""
    delta, mask = _some_delta(336, (96, 12, 12))
    mask[:] = _mask(1, 12)
    delta = torch.randn(delta.shape, generator=torch.Generator().manual_seed(337))
    delta = delta * mask[..., None] * torch.linspace(0.5, 3, 12)[:, None]
    noise, _ = _draw(answer, delta, mask, 338)
    given = dict(delta=delta, mask=mask)
    words = noise[mask].view(96, -1).double()  # (texts, coordinates)
    d = words.shape[1]
    rows = words / words.norm(dim=1, keepdim=True)
    close = F.cosine_similarity(noise.flatten(1), delta.flatten(1)).abs()
    expect(close.mean() < 0.4, "the noise is not random enough: its direction is that of delta",
           given=given, likely="delta is still in it")  # fmt: skip
    by_word = noise[mask].view(96, -1, noise.shape[-1])
    expect(not torch.allclose(by_word, by_word[:, :1].expand_as(by_word), rtol=1e-3),
           "all tokens of a text have the same noise", given=given, yours=noise,
           likely="drawn once per text, for all its tokens: draw delta's whole shape")  # fmt: skip
    expect(not torch.allclose(by_word, by_word[..., :1].expand_as(by_word), rtol=1e-3),
           "all coordinates of a token have the same noise", given=given, yours=noise,
           likely="one number drawn per token: draw delta's whole shape")  # fmt: skip
    same = (rows @ rows.T).abs() - torch.eye(len(rows))
    expect(same.max() < 0.9, "two texts have the same noise", given=given, yours=noise,
           likely="drawn for one text and used for all: draw delta's whole shape")  # fmt: skip
    expect(not torch.allclose(noise.abs(), delta.abs(), rtol=1e-3),
           "every coordinate of the noise is as large as delta's", given=given,
           likely="only the signs are random: draw the sizes too")  # fmt: skip
    sizes, its = (t[mask].norm(dim=-1) for t in (noise, delta))
    expect(not torch.allclose(sizes, its, rtol=1e-3),
           "every single token's noise is as long as its delta", given=given,
           likely="one norm per token: the length is the whole example's, dim=(1, 2)")  # fmt: skip
    expect(rows.mean().abs() * d**0.5 < 0.1, "the noise leans to one side: its mean is not 0",
           given=given, likely="one sign only: torch.rand draws from 0 to 1, .abs() drops "
           "the sign; torch.randn has both signs")  # fmt: skip
    by_token = rows.view(96, -1, noise.shape[-1]).square().sum(-1).mean(0)
    expect(by_token.max() < 1.5 * by_token.min(),
           "some tokens get more noise than others", given=given,
           likely="delta's own sizes are still in it: it must not know delta")  # fmt: skip
    fourth = rows.pow(4).mean() / rows.square().mean() ** 2
    expect(2.5 < fourth < 3.5,
           f"the direction is not uniform: the fourth moment of the coordinates is {fourth:.2f}, "
           "of normal numbers 3", given=given,
           likely="uniform numbers or signs prefer the corners of the cube (1.8, 1); only normal "
           "ones (torch.randn) prefer no direction")  # fmt: skip
    cosine = F.cosine_similarity(noise.flatten(1), delta.flatten(1)).double() * d**0.5
    expect(cosine.square().mean() > 0.3, "the noise is at a right angle to delta in every text",
           given=given, likely="delta's share was taken out of the noise: a uniformly random "
           "direction has a cosine of about 1/√d, of either sign")  # fmt: skip
    expect(cosine.mean().abs() < 0.6 and cosine.square().mean() < 2,
           "the noise leans to delta", given=given, likely="delta is still in it")  # fmt: skip
    flat = by_word.norm(dim=-1)
    expect(flat.std(dim=1).mean() > 1e-3 * flat.mean(),
           "all tokens of a text have noise of one length", given=given,
           likely="one norm per token: the length is the whole example's, dim=(1, 2)")  # fmt: skip


# ---------------------------------------------------------------- 03.4


def check_forecast(answer) -> None:
    for seed, size in ((340, 0.3), (341, 1.5)):
        _one_forecast(answer, seed, size)


def _small_model(seed: int):
    from transformers import BertConfig, BertForSequenceClassification

    state = torch.get_rng_state()
    torch.manual_seed(seed)
    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=16, num_labels=3,
                        initializer_range=0.8)  # fmt: skip
    model = BertForSequenceClassification(config).double().eval()
    torch.set_rng_state(state)
    return model


def _small_batch(seed: int, lengths=(7, 5, 4)) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(seed)
    most = max(lengths)
    ids = torch.randint(4, 30, (len(lengths), most), generator=g)
    attention, special = torch.zeros_like(ids), torch.ones_like(ids)
    for i, n in enumerate(lengths):
        attention[i, :n] = 1
        special[i, 1 : n - 1] = 0
        ids[i, 0], ids[i, n - 1], ids[i, n:] = 2, 3, 0
    labels = torch.tensor([0, 2, 1])
    return dict(input_ids=ids, attention_mask=attention, special_tokens_mask=special, labels=labels)


def _losses(model, batch, delta: Tensor) -> Tensor:
    """−log of the probability of each label, (batch,)."""
    with torch.no_grad():
        words = model.get_input_embeddings().weight[batch["input_ids"]]
        logits = model(inputs_embeds=words + delta, attention_mask=batch["attention_mask"]).logits
        p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -p[range(len(p)), batch["labels"]].log()


def _one_forecast(answer, seed: int, size: float) -> None:
    model, batch = _small_model(seed), _small_batch(seed)
    mask = (batch["attention_mask"] * (1 - batch["special_tokens_mask"])).double()[..., None]
    g = torch.Generator().manual_seed(seed)
    delta = size * torch.randn(*mask.shape[:2], 8, generator=g, dtype=torch.double) * mask
    h = 1e-4

    def along(delta: Tensor, at: float = 0.0) -> Tensor:
        """The slope of the losses along delta, by central differences."""
        ends = [_losses(model, batch, (at + shift) * delta) for shift in (h, -h)]
        return (ends[0] - ends[1]) / (2 * h)

    # Both signs occur: the first example's loss rises at first, the second's falls.
    delta[:2] *= (along(delta)[:2].sign() * torch.tensor([1.0, -1.0]))[:, None, None]
    given = dict(model="a small random BERT with 3 classes", **batch, delta=delta)
    copies = {k: v.clone() for k, v in batch.items()}
    before, own = model.training, delta.clone()
    result = _forecast_of(answer, model, copies, own, given)
    unchanged(delta, own, "delta")
    for name in batch:
        expect(name in copies, f"your function takes {name!r} out of the batch", given=given)
        unchanged(batch[name], copies[name], f"batch[{name!r}]")
    expect(model.training == before, "your function changes the model's mode", given=given)
    expect(all(p.grad is None for p in model.parameters()),
           "your function leaves gradients in the parameters' .grad", given=given,
           likely="loss.backward(): torch.autograd.grad asks for one gradient alone")  # fmt: skip
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, predicted and actual: does it return them?",
           given=given, yours=repr(result))  # fmt: skip
    for value, name in zip(result, ("predicted", "actual"), strict=True):
        expect(not (isinstance(value, Tensor) and value.requires_grad),
               f"{name} still carries the graph of the forward pass", given=given,
               likely="compute the losses under torch.no_grad(), or .detach()")  # fmt: skip
    start, end = _losses(model, batch, 0 * delta), _losses(model, batch, delta)
    slope, late = along(delta), along(delta, at=1.0)
    change = end - start
    predicted, actual = result
    swapped = "predicted and actual have changed places"
    tight = dict(given=given, atol=1e-5, rtol=1e-3)
    other = _other_functions(model, batch, delta)
    _compare_forecast(predicted, slope, "predicted", given, _other_than(slope, {
        swapped: change,
        "the gradient is taken at delta: the forecast may only know the gradient at zero": late,
        "summed over the batch: one number per example": slope.sum(),
        "the mean over the batch: one number per example": slope.mean(),
        "averaged over the batch: the gradient is that of the mean loss, not of the sum":
            slope / len(slope),
        "the mean of the gradients at zero and at delta: the forecast knows the one at zero only":
            (slope + late) / 2,
        "wrong sign: the loss changes by + g·delta": -slope,
        "the loss at zero is in it: asked is the change": start + slope,
        "the absolute value is taken: a forecast has a sign": slope.abs(),
        "divided by the length of delta: this is the slope along delta":
            slope / delta.flatten(1).norm(dim=1),
        "g·delta is averaged over tokens and coordinates: sum them": slope / delta[0].numel(),
        **_lengths(model, batch, delta, mask),
        **{name: pair[0] for name, pair in other.items()},
    }))  # fmt: skip
    compare(actual, change, what="actual", **tight, mistakes=_other_than(change, {
        "this is the loss at delta: asked is the change from zero to delta": end,
        "wrong sign: after minus before": -change,
        "summed over the batch: one number per example": change.sum(),
        "the mean over the batch: one number per example (reduction=\"none\")": change.mean(),
        "actual is the forecast again: it takes a forward pass at delta to know": slope,
        **{name: pair[1] for name, pair in other.items()},
    }))  # fmt: skip


def _forecast_of(answer, model, batch, delta: Tensor, given: dict):
    """The answer's result; two errors that PyTorch words for nobody are put in plain words."""
    try:
        return answer(model, batch, delta)
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


def _compare_forecast(yours, expected: Tensor, what: str, given: dict, mistakes: dict) -> None:
    """compare; and where the numbers are nearly right, say what they may be."""
    try:
        compare(yours, expected, given=given, what=what, atol=1e-5, rtol=1e-3, mistakes=mistakes)
    except Wrong as wrong:
        if (wrong.likely is None and isinstance(yours, Tensor) and yours.shape == expected.shape
                and torch.allclose(yours.double(), expected, rtol=0.1, atol=1e-3)):  # fmt: skip
            wrong.likely = ("nearly right, as a difference of two losses is, or a gradient taken "
                            "nearby: asked is the gradient at zero itself")  # fmt: skip
        raise


def _other_functions(model, batch, delta: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """(slope at zero, change) along delta of what may be mistaken for the loss of the label."""
    words = model.get_input_embeddings().weight[batch["input_ids"]].detach()

    def logits(at: float | Tensor) -> Tensor:
        moved = words + at * delta
        return model(inputs_embeds=moved, attention_mask=batch["attention_mask"]).logits

    rows, labels = torch.arange(len(delta)), batch["labels"]
    own = logits(0.0).argmax(1)
    functions = {
        "this is for the log-odds of a wrong answer: asked is the cross-entropy":
            lambda z: torch.log(1 / z.softmax(1)[rows, labels] - 1),
        "this is for the model's own label: asked is the loss of the true one, batch['labels']":
            lambda z: -z.log_softmax(1)[rows, own],
        "this is for the probability of the true label: asked is the cross-entropy":
            lambda z: z.softmax(1)[rows, labels],
    }  # fmt: skip
    results = {}
    for name, function in functions.items():
        scale = torch.zeros(len(delta), 1, 1, dtype=delta.dtype, requires_grad=True)
        start = function(logits(scale))
        (slope,) = torch.autograd.grad(start.sum(), scale)
        results[name] = (slope.flatten(), (function(logits(1.0)) - start).detach())
    return results


def _lengths(model, batch, delta: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What ‖g‖·‖delta‖ and its kin give, with g from the small model's own gradient."""
    words = model.get_input_embeddings().weight[batch["input_ids"]].detach().requires_grad_()
    logits = model(inputs_embeds=words, attention_mask=batch["attention_mask"]).logits
    (grad,) = torch.autograd.grad(F.cross_entropy(logits, batch["labels"], reduction="sum"), words)
    length = delta.flatten(1).norm(dim=1)
    product = grad.flatten(1).norm(dim=1) * length
    movable = (grad * mask).flatten(1).norm(dim=1)
    by_token = (grad * delta).sum(2)
    cosine = "this is the cosine between g and delta: asked is g·delta, lengths and all"
    fgm = "this is for the FGM step: asked is g·delta for the delta that is given"
    return {
        cosine: by_token.sum(1) / product,
        f"{cosine} (g on the words)": by_token.sum(1) / (movable * length),
        fgm: movable * length,
        f"{fgm} (of length 1)": movable,
        "this is ‖g‖·‖delta‖, the most that a delta of this length could gain: asked is g·delta":
            product,
        "one number per token: sum over the tokens too, dim=(1, 2)": by_token,
        "not summed: g·delta is one number per example, dim=(1, 2)": grad * delta,
    }  # fmt: skip


# ---------------------------------------------------------------- 03.5


def check_nearest_words(answer) -> None:
    for seed, tokens, vocabulary, hidden, k in (
        (350, 4, 9, 3, 2), (351, 6, 30, 5, 4), (352, 3, 12, 4, 1), (353, 1, 8, 2, 3),
    ):  # fmt: skip
        g = torch.Generator().manual_seed(seed)
        table = torch.randn(vocabulary, hidden, generator=g)
        table = table * (0.4 + 2 * torch.rand(vocabulary, 1, generator=g))
        chosen = torch.randint(vocabulary, (tokens,), generator=g)
        embedded = table[chosen] + 0.4 * torch.randn(tokens, hidden, generator=g)
        embedded[0] = table[chosen[0]]  # one that was not moved at all
        _one_search(answer, dict(embedded=embedded, table=table, k=k))


def _one_search(answer, given: dict) -> None:
    embedded, table, k = given.values()
    ids = _call(answer, given)
    e, t = embedded.double(), table.double()
    away = torch.tensor([[float((x - w).square().sum().sqrt()) for w in t] for x in e])
    order = torch.tensor([sorted(range(len(t)), key=row.tolist().__getitem__) for row in away])
    dot = e @ t.T
    cosine = dot / e.norm(dim=1)[:, None] / t.norm(dim=1)
    city = (e[:, None] - t).abs().sum(-1)
    mistakes = {
        "the farthest words come first: topk takes the largest unless largest=False":
            order.flip(1)[:, :k],
        "the right words in the wrong order: nearest first": order[:, :k].flip(1),
        "the nearest word of all, k times over: asked are the k nearest":
            order[:, :1].expand(-1, k),
        "the word at distance 0 is left out: an unmoved token's nearest word is its own":
            away.masked_fill(away < 1e-6, torch.inf).argsort(1)[:, :k],
        "these are the words' vectors, not their ids": t[order[:, :k]],
        "the nearest word itself is left out: an unmoved token's nearest word is its own":
            order[:, 1 : k + 1],
        "by dot product: a long vector wins although it is far away": dot.argsort(1).flip(1)[:, :k],
        "by cosine: it does not see lengths, only angles": cosine.argsort(1).flip(1)[:, :k],
        "by cosine, and the least similar first": cosine.argsort(1)[:, :k],
        "by dot product, and the smallest first": dot.argsort(1)[:, :k],
        "by L1 distance: asked is the straight line, L2": city.argsort(1)[:, :k],
        "these are the distances, not the ids of the words": away.sort(1)[0][:, :k],
        "all words are returned, not the k nearest": order,
        "one word per token, where the k nearest are asked": order[:, 0],
        "the shape must be (tokens, k) for k = 1 too": order[:, :k].squeeze(1),
        "the other way round: for each word the nearest tokens": away.T.argsort(1)[:, :k],
        "transposed: (tokens, k) is asked": order[:, :k].T,
        "one list for the whole text: each token has its own nearest words":
            away.sum(0).argsort()[:k],
    }  # fmt: skip
    right = order[:, :k]
    mistakes = {
        name: value
        for name, value in mistakes.items()
        if value.shape != right.shape or not torch.equal(value.to(right), right)
    }
    try:
        compare(ids, right, given=given, what="ids", mistakes=mistakes)
    except Wrong as wrong:
        if isinstance(ids, tuple):
            wrong.likely = "topk and sort return (values, indices): take `.indices`"
        elif wrong.likely is None and isinstance(ids, Tensor) and ids.shape == right.shape:
            if torch.equal(ids.sort(1)[0].to(right), right.sort(1)[0]):
                wrong.likely = "the right words, but not nearest first (sorted=False, or by id?)"
        raise
    expect(not ids.is_floating_point(), "ids should be whole numbers, to look words up with",
           given=given, yours=ids)  # fmt: skip


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
