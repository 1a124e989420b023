"""Checks of lesson 10, fewer labels and fewer parameters.

The specification: losses are summed text by text in plain Python; index tables are judged by what
they must never do (a text twice, a batch without labels); a low-rank layer is multiplied out in
double precision; the gradient of the one vector comes from finite differences over single texts
without padding; the score is judged by the order that it gives.
"""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin
from course.checking import (
    Exercise,
    Wrong,
    call,
    expect,
    seeded,
    small_bert,
    specified,
    tensors,
    unchanged,
    used,
)

UNLABELLED = -100

# ---------------------------------------------------------------- 10.1

SLOPE = "the gradient with respect to the logits"

def _labelled(logits, labels, *, as_class=None, counts=lambda y, place: True,
              reduce=lambda total, n, size: total / max(n, 1)) -> dict[str, Tensor]:  # fmt: skip
    """Text by text, in double precision; the keywords are mistakes."""
    z = logits.double().requires_grad_()
    classes = [as_class if y == UNLABELLED else y for y in labels.tolist()]
    known = [i for i, y in enumerate(classes) if y is not None]
    each = [z[i].logsumexp(0) - z[i, classes[i]] for place, i in enumerate(known)
            if counts(classes[i], place)]  # fmt: skip
    loss = reduce(sum(each, 0 * z.sum()), len(each), len(labels))
    (slope,) = torch.autograd.grad(loss, z)
    return {"the loss": loss.detach(), SLOPE: slope}


def check_labelled_loss(answer) -> None:
    def run(logits, labels) -> dict[str, Tensor]:
        call(answer, logits=logits.clone(), labels=labels.clone())  # leaves a bare tensor bare
        free, known = logits.clone().requires_grad_(), (labels != UNLABELLED).any()
        yours = call(answer, logits=free, labels=labels.clone())
        expect(yours is not None, "the loss is None: does the function return it?")
        expect(isinstance(yours, Tensor), "the loss should be a tensor, not "
               f"{type(yours).__name__}")  # fmt: skip
        none = "the mean over no text is 0/0; a batch without a label has the loss 0"
        sure = "log(softmax) of a very sure model: use F.cross_entropy or log_softmax"
        expect(yours.isfinite().all(), "the loss is not finite", yours=yours,
               likely=none if not known else sure if logits.max() > 100 else None)  # fmt: skip
        where = "" if known else " of a batch without a label: it is no part of the graph"
        expect(yours.requires_grad, f"backward() does not work on the loss{where}", yours=yours,
               likely="detach, .item() or a new tensor: multiply a sum over the logits by 0 "
               "instead")  # fmt: skip
        yours.sum().backward()
        slope = torch.zeros_like(free) if free.grad is None else free.grad
        return {"the loss": yours.detach(), SLOPE: slope}

    g = torch.Generator().manual_seed(seeded(1010))
    problems = []
    for labels, classes in (
        ([2, UNLABELLED, 0, 1, UNLABELLED], 3), ([2, 0, 1], 3), ([UNLABELLED, 1], 2), ([1], 2),
        ([UNLABELLED] * 3 + [3] + [UNLABELLED] * 2, 4), ([UNLABELLED] * 4, 2),
    ):  # fmt: skip
        logits = 3 * torch.randn(len(labels), classes, generator=g)
        problems.append(dict(logits=logits, labels=torch.tensor(labels)))
    # So sure, and so wrong, that a softmax rounds to 0 before its logarithm.
    problems[1]["logits"][0] = torch.tensor([150.0, 20.0, -60.0])
    specified(run, problems, _labelled, {
        "the sum, not the mean, over the labelled texts": dict(reduce=lambda s, n, size: s),
        "the mean is over the whole batch: divide by the number of labelled texts":
            dict(reduce=lambda s, n, size: s / size),
        "the texts without a label were counted as class 0": dict(as_class=0),
        "the texts without a label were counted as the last class": dict(as_class=-1),
        "the wrong sign": dict(reduce=lambda s, n, size: -s / max(n, 1)),
        "class 0 is a class: `labels > 0` passes over its texts": dict(counts=lambda y, k: y > 0),
        "only the first labelled text": dict(counts=lambda y, k: k == 0),
    }, atol=1e-4)  # fmt: skip


def labelled_loss(logits, labels):
    """The mean cross-entropy over the texts that have a label; 0 where none has.

    logits: (batch, classes). labels: (batch,), `UNLABELLED` where there is none. A scalar.
    """
    known = labels != UNLABELLED
    if not known.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[known], labels[known])


# ---------------------------------------------------------------- 10.2

LATER = "the next random number that `generator` gives after the call"


def _mix(labelled, unlabelled, k, u, steps, *, swap=False, by_step=False, back=False, more=(0, 0),
         rest=None) -> dict[str, Tensor]:  # fmt: skip
    """What a generator with seed 1 gives in the right order of draws; the keywords are mistakes.

    swap: the unlabelled list first. by_step: the two lists in turn. more: batches too many of each.
    rest: what comes after the first pass, the texts that were "left" over or the pass "rolled"."""
    generator = torch.Generator().manual_seed(seeded(1))
    kinds, pieces, last = ((labelled, k), (unlabelled, u)), ([], []), [None, None]

    def fill(j: int, until: int) -> None:
        numbers, take = kinds[j]
        while len(pieces[j]) < until:
            before = last[j]
            if rest == "rolled" and before is not None:
                last[j] = before.roll(1)
            else:
                last[j] = numbers[torch.randperm(len(numbers), generator=generator)]
            if rest == "left" and before is not None:
                kept = before[len(before) // take * take :]
                last[j] = torch.cat([kept, last[j][~torch.isin(last[j], kept)]])
            row = last[j].flip(0) if back else last[j]
            pieces[j].extend(row[i : i + take] for i in range(0, len(row) - take + 1, take))

    for until in range(1, steps + 1) if by_step else [steps]:
        for j in (1, 0) if swap else (0, 1):
            fill(j, until + more[j])
    rows = torch.cat([torch.stack(kind[:steps]) for kind in pieces], 1)
    return {"rows": rows, LATER: torch.randint(10**6, (), generator=generator)}


_ORDERS = {
    "the unlabelled list is drawn first, then the labelled one": dict(swap=True),
    "the two lists are shuffled in turn, step by step: all of the labelled list comes first":
        dict(by_step=True),
    "in turn, step by step, and pieces from the end (pop): all of the labelled list comes "
    "first, and pieces are cut from the front": dict(by_step=True, back=True),
    "the pieces are cut from the end of the shuffled list, not from the front": dict(back=True),
    "one shuffle too many: the list was shuffled anew though no further batch is needed":
        dict(more=(1, 1)),
    "one shuffle too many, of the labelled list: no further batch is needed": dict(more=(1, 0)),
    "one shuffle too many, of the unlabelled list: no further batch is needed, and whoever draws "
    "from the generator next gets other numbers": dict(more=(0, 1)),
    "the few that are left over come first in the next pass: pass over them, and shuffle the whole "
    "list anew": dict(rest="left"),
    "only the first pass is shuffled, the others are that one moved along: shuffle anew for "
    "every pass": dict(rest="rolled"),
}  # fmt: skip


def check_mixed_rows(answer) -> None:
    def run(labelled, unlabelled, k, u, steps, seed: int = 1) -> dict[str, Tensor]:
        draw = torch.Generator().manual_seed(seeded(seed))
        given = dict(labelled=labelled.clone(), unlabelled=unlabelled.clone(), k=k, u=u,
                     steps=steps, generator=draw)  # fmt: skip
        with torch.random.fork_rng([]):
            torch.manual_seed(1234567)
            before = torch.random.get_rng_state()
            parts = tensors(call(answer, **given), "rows")
            same = torch.equal(before, torch.random.get_rng_state())
        expect(same, "there is another source of random numbers than `generator`, PyTorch's own",
               likely="torch.randperm without generator=generator, or a torch.manual_seed")
        return parts | {LATER: torch.randint(10**6, (), generator=draw)}

    g = torch.Generator().manual_seed(seeded(1020))
    problems = []
    for n, m, k, u, steps in ((10, 37, 4, 9, 20), (6, 20, 6, 5, 7), (9, 8, 2, 8, 11),
                              (7, 30, 1, 3, 20), (9, 11, 4, 4, 6)):  # fmt: skip
        numbers = torch.randperm(1000, generator=g)[: n + m] + 5
        problems.append(dict(labelled=numbers[:n], unlabelled=numbers[n:], k=k, u=u, steps=steps))
    try:
        specified(run, problems, _mix, _ORDERS)
    except Wrong as wrong:
        rows = wrong.yours
        whole = isinstance(rows, Tensor) and not rows.is_floating_point()
        if wrong.likely is None and whole and rows.dim() == 2:
            wrong.problem, wrong.likely = next(_broken_rules(rows, run, **wrong.given))
        raise


def _broken_rules(rows, run, labelled, unlabelled, k, u, steps):
    """(problem, likely mistake) of what batches must never do, in any order of the draws; at the
    end, that the order is wrong."""
    if rows.shape != (steps, k + u):
        short = "a list ran out: shuffle it anew and go on" if len(rows) < steps else None
        yield f"rows has shape {tuple(rows.shape)}, expected {(steps, k + u)}", short
    with_label = torch.isin(rows, labelled)
    if not (with_label | torch.isin(rows, unlabelled)).all():
        positions = rows.min() >= 0 and rows.max() < max(len(labelled), len(unlabelled))
        likely = "these are positions in the lists: return the row numbers that stand there"
        yield ("there are numbers in the result that are in neither list",
               likely if positions else None)  # fmt: skip
    count = with_label.sum(1)
    low, high = int(count.min()), int(count.max())
    if not low == high == k:
        likely = "k and u are exchanged" if low == high == u else None
        if low < high:
            likely = ("labelled and unlabelled texts were shuffled together: draw k from the one "
                      "list and u from the other")  # fmt: skip
        yield (f"every batch should have {k} labelled texts; yours have between {low} and {high}",
               likely)  # fmt: skip
    if not with_label[:, :k].all():
        yield "the labelled texts should come first, in the first k columns", None
    given = dict(labelled=labelled, unlabelled=unlabelled, k=k, u=u, steps=steps)
    again, other = (run(**given, seed=seed)["rows"] for seed in (1, 2))
    if not torch.equal(rows, again):
        yield "a generator of the same state gives other batches", None
    if torch.equal(rows, other):
        yield "another generator gives the same batches", "seeded inside, or nothing is shuffled"
    yield from _broken_passes(rows[:, :k], labelled, "labelled")
    yield from _broken_passes(rows[:, k:], unlabelled, "unlabelled")
    yield ("the batches are fair, but not those that the order of the draws gives: first all "
           "shuffles of the labelled list, as many as `steps` batches need, then those of the "
           "unlabelled one; pieces are cut from the front", None)  # fmt: skip


def _broken_passes(part: Tensor, source: Tensor, name: str):
    """The same for one kind: passes over a shuffled list, each text at most once in a pass."""
    take = part.shape[1]
    length = len(source) // take  # batches in a pass
    passes = part.split(length)
    for batch in part:
        if len(batch.unique()) < take:
            yield (f"a {name} text is twice in one batch: {batch.tolist()}", "drawn with "
                   "replacement (torch.randint), or a batch that takes the last texts of one pass "
                   "and the first of the next")  # fmt: skip
    for one in passes:
        if len(one.unique()) < one.numel():
            yield (f"a text comes twice in one pass over the {name} texts, while others wait: "
                   f"{one.tolist()}", "each batch is drawn by itself, or the pass is cut wrongly: "
                   f"{length} batches of {take} use up a shuffled list of {len(source)}, then "
                   "shuffle the whole list anew")  # fmt: skip
    whole = [one for one in passes if len(one) == length]
    if len(whole) > 1 and take * length > 1 and torch.equal(whole[0], whole[1]):
        yield (f"the second pass over the {name} texts is the first once more: shuffle anew for "
               "every pass", "one torch.randperm before the loop")  # fmt: skip
    missing = sorted(set(source.tolist()) - set(part.flatten().tolist()))
    if missing and len(passes) > 3 and len(source) > length * take:
        yield (f"these {name} texts never come, in {len(passes)} passes: {missing}",
               "the list was cut before it was shuffled")  # fmt: skip


def mixed_rows(labelled, unlabelled, k, u, steps, generator):
    """Row numbers of `steps` batches, (steps, k + u): k labelled texts, then u unlabelled ones.

    labelled, unlabelled: (n,) and (m,) row numbers. A list that runs out is shuffled anew.
    """
    def stream(numbers, take):
        length, pieces = len(numbers) // take, []
        while len(pieces) < steps:
            shuffled = numbers[torch.randperm(len(numbers), generator=generator)]
            pieces += shuffled[: length * take].split(take)
        return torch.stack(pieces[:steps])

    return torch.cat([stream(labelled, k), stream(unlabelled, u)], dim=1)


# ---------------------------------------------------------------- 10.3

START, RESULT = "W x + b at the start, when B = 0,", "W x + b + (alpha / r) B A x"


def _layer(inside, outside, r, bias, dtype, shape) -> tuple[nn.Linear, Tensor, Tensor, Tensor]:
    """(layer, x, A, B), always the same ones."""
    g = torch.Generator().manual_seed(seeded(inside))
    sizes = (*shape, inside), (r, inside), (outside, r)
    x, a, b = (torch.randn(*s, generator=g, dtype=torch.double).to(dtype) for s in sizes)
    torch.manual_seed(inside)
    return nn.Linear(inside, outside, bias=bias, dtype=dtype), x, a, b


def _multiplied(inside, outside, r, alpha, bias, dtype, shape, *, base=1,
                factor=lambda alpha, r: alpha / r) -> dict[str, Tensor]:  # fmt: skip
    """In double precision; the keywords are mistakes."""
    with torch.random.fork_rng([]):
        linear, x, a, b = _layer(inside, outside, r, bias, dtype, shape)
    x = x.double().requires_grad_()
    plain = F.linear(x, *(p.detach().double() for p in linear.parameters()))
    right = base * plain + factor(alpha, r) * x @ a.double().T @ b.double().T
    (slope,) = torch.autograd.grad(right.square().sum(), x)
    return {START: base * plain.detach(), RESULT: right.detach(),
            "the gradient with respect to x": slope}  # fmt: skip


_FACTORS = {
    "alpha // r rounds down: divide with /": dict(factor=lambda alpha, r: alpha // r),
    "the low rank is not added: W x + b alone": dict(factor=lambda alpha, r: 0),
    "the factor is alpha / sqrt(r): divide by r": dict(factor=lambda alpha, r: alpha / r**0.5),
    "W x + b is missing: the low rank is added to it": dict(base=0),
    "the factor alpha / r is missing": dict(factor=lambda alpha, r: 1),
    "the factor is alpha, without the division by r": dict(factor=lambda alpha, r: alpha),
    "the factor is r / alpha, upside down": dict(factor=lambda alpha, r: r / alpha),
    "the factor is 1 / r, alpha is missing": dict(factor=lambda alpha, r: 1 / r),
    "the factor is taken twice": dict(factor=lambda alpha, r: (alpha / r) ** 2),
    "the low rank is subtracted": dict(factor=lambda alpha, r: -alpha / r),
    "the low rank is added twice": dict(factor=lambda alpha, r: 2 * alpha / r),
    "W x + b is added twice: the hook's output has it already": dict(base=2),
}  # fmt: skip


def check_add_lora(answer) -> None:
    problems = [
        dict(inside=inside, outside=outside, r=r, alpha=alpha, bias=bias, dtype=dtype, shape=shape)
        for inside, outside, r, alpha, bias, dtype in (
            (5, 3, 2, 8.0, True, torch.float32), (4, 7, 3, 1.5, False, torch.float32),
            (6, 6, 1, 16.0, True, torch.float64), (7, 2, 4, 6.0, True, torch.float32),
        ) for shape in ((4,), (2, 3), ())
    ]  # fmt: skip

    def tell(problem) -> dict:
        layer = "nn.Linear({inside}, {outside}, bias={bias}, dtype={dtype})".format(**problem)
        x = f"of shape {(*problem['shape'], problem['inside'])}"
        return dict(linear=layer, r=problem["r"], alpha=problem["alpha"], x=x)

    specified(functools.partial(_lora_of, answer), problems, _multiplied, _FACTORS, tell=tell,
              atol=1e-4, rtol=1e-3)  # fmt: skip


def _lora_of(answer, inside, outside, r, alpha, bias, dtype, shape) -> dict[str, Tensor]:
    with torch.random.fork_rng([]):
        linear, x, new_a, new_b = _layer(inside, outside, r, bias, dtype, shape)
        frozen = {name: p.detach().clone() for name, p in linear.named_parameters()}
        made = answer(linear, r, alpha)
        twin = answer(nn.Linear(inside, outside, bias=bias, dtype=dtype), r, alpha)
        again = answer(_layer(inside, outside, r, bias, dtype, shape)[0], r, alpha)
    expect(made is not None, "the result is None: return the layer")
    expect(made is linear, "return the layer that was given, with the two matrices added to it",
           yours=type(made).__name__,
           likely="a new layer: then the model goes on using the old one")  # fmt: skip
    a, b = _low_rank_parameters(linear, inside, outside, r, dtype)
    names = {name for name, p in linear.named_parameters() if p.requires_grad}
    extra = {name for name, _ in linear.named_parameters()} - {*frozen, "lora_A", "lora_B"}
    expect(not extra, f"lora_A and lora_B are the only new parameters; here are also "
           f"{sorted(extra)}")  # fmt: skip
    expect(names == {"lora_A", "lora_B"},
           f"only lora_A and lora_B are to be trained; here {sorted(names)} are",
           likely="the layer's own weight and bias must be frozen: requires_grad_(False)"
           if names & frozen.keys() else "lora_A and lora_B are frozen too")  # fmt: skip
    expect(a.any() or b.any(), "A and B are both zero: then neither ever gets a gradient",
           likely="A is random, B is zero")  # fmt: skip
    expect(not b.any(), "B must be zero at the start, so that the layer says what it said before",
           yours=b.detach(), likely="A random and B zero, not the other way round" if not a.any()
           else None)  # fmt: skip
    expect(a.unique().numel() > a.numel() // 2, "A must be random: equal rows stay equal",
           yours=a.detach())  # fmt: skip
    size = a.detach().square().mean().sqrt().item()
    expect(size > 1e-4, "A is random, but so small that B would hardly ever get a gradient",
           yours=a.detach(), likely=f"its numbers have a size of {size:.1g}; take a spread such as "
           "1/r")  # fmt: skip
    expect(not torch.equal(a, twin.lora_A), "a second layer of the same shape gets the same A",
           yours=a.detach(), likely="the random numbers are seeded inside: that also takes them "
           "from everybody else; leave the seed to the caller")  # fmt: skip
    expect(torch.equal(a, again.lora_A), "after the same torch.manual_seed A is another one: draw "
           "it from PyTorch's own random numbers", yours=a.detach(),
           expected=again.lora_A.detach())  # fmt: skip
    start = linear(x.clone()).detach()
    with torch.no_grad():
        a.copy_(new_a)
        b.copy_(new_b)
    free = x.clone().requires_grad_()
    result = linear(free)
    unchanged(x, free.detach(), "x")
    result.square().sum().backward()
    for name, value in (("lora_A", a), ("lora_B", b)):
        expect((value.grad is not None and value.grad.any()) or torch.equal(result, start),
               f"no gradient reaches {name}",
               likely="detach, .data or torch.no_grad in the forward")  # fmt: skip
    expect(free.grad is not None, "no gradient reaches x: an attack on the embeddings would be "
           "blind", likely="detach")  # fmt: skip
    for name, value in frozen.items():
        unchanged(value, dict(linear.named_parameters())[name].detach(), f"linear.{name}")
    return {START: start, RESULT: result.detach(), "the gradient with respect to x": free.grad}


def _low_rank_parameters(linear, inside, outside, r, dtype) -> tuple[Tensor, Tensor]:
    found = []
    for name, shape in (("lora_A", (r, inside)), ("lora_B", (outside, r))):
        value = getattr(linear, name, None)
        expect(value is not None, f"the layer has no {name}")
        expect(isinstance(value, nn.Parameter), f"{name} is no nn.Parameter: no optimiser finds it "
               "among linear.parameters()", yours=type(value).__name__)  # fmt: skip
        likely = "transposed" if tuple(value.shape) == shape[::-1] else None
        if tuple(value.shape) == (outside, inside) and name == "lora_A":
            likely = (
                "cut out of a matrix like W, which has only out_features rows"
                if r > outside
                else "made like W (randn_like): A has r rows"
            )
        expect(tuple(value.shape) == shape,
               f"{name} has shape {tuple(value.shape)}, expected {shape}",
               likely=likely)  # fmt: skip
        expect(value.dtype == dtype, f"{name} has dtype {value.dtype}, the layer {dtype}",
               likely="make it with linear.weight.new_zeros, or "
               "dtype=linear.weight.dtype")  # fmt: skip
        found.append(value)
    return found[0], found[1]


def add_lora(linear, r, alpha):
    """Freeze `linear` and add (alpha / r) B A x to what it gives; returns the same layer.

    linear: nn.Linear. Its new parameters: `lora_A` (r, in_features), random, and `lora_B`
    (out_features, r), zero.
    """
    linear.requires_grad_(False)
    weight, inside = linear.weight, linear.in_features
    linear.lora_A = torch.nn.Parameter(weight.new_empty(r, inside).normal_(std=inside**-0.5))
    linear.lora_B = torch.nn.Parameter(weight.new_zeros(len(weight), r))
    linear.register_forward_hook(
        lambda layer, inputs, output: output
        + alpha / r * inputs[0] @ layer.lora_A.T @ layer.lora_B.T
    )
    return linear


# ---------------------------------------------------------------- 10.4


def _steered(classes, lengths, words, size) -> tuple[nn.Module, dict, Tensor]:
    """(model, batch, v); words=False: every token is special. size: the length of v."""
    labels = [(i + 1) % classes for i in range(len(lengths))]
    model, batch = small_bert(1040 + classes, labels, lengths, classes=classes)
    if not words:
        batch["special_tokens_mask"] = torch.ones_like(batch["special_tokens_mask"])
    v = torch.randn(6, generator=torch.Generator().manual_seed(seeded(1041)), dtype=torch.double)
    return model, batch, size * v / v.norm()


def _slope(model, batch, v: Tensor, *, special=False, beside=False, per_token=False,
           loss="margin", rows=None, two=False) -> Tensor:  # fmt: skip
    """The slope of the mean log-odds in v, by finite differences over single texts.

    special: special tokens are pushed, too. beside: they are not pushed, but the slope is asked
    there as well. per_token: the slope of a text is divided by its number of words. two: only the
    class after the label counts as another one."""
    table, h = model.get_input_embeddings().weight.detach(), 1e-5
    lengths = batch["attention_mask"].sum(1).tolist()
    probes = h * torch.cat([torch.eye(len(v)), -torch.eye(len(v))]).to(v)[:, None]
    heights = []
    for i in rows if rows is not None else range(len(lengths)):
        n, y = lengths[i], int(batch["labels"][i])
        free = 1.0 - batch["special_tokens_mask"][i, :n, None].to(v)
        everywhere = torch.ones_like(free)
        shift = v * (everywhere if special else free)
        shift = shift + probes * (everywhere if special or beside else free)
        with torch.no_grad():
            z = model(inputs_embeds=table[batch["input_ids"][i, :n]] + shift).logits
        others = [(y + 1) % z.shape[1]] if two else [j for j in range(z.shape[1]) if j != y]
        odds = z[:, others].exp().sum(1).log() - z[:, y]
        odds = odds if loss == "margin" else odds.exp().log1p()
        heights.append(odds / free.sum() if per_token else odds)
    up, down = torch.stack(heights).mean(0).chunk(2)
    return (up - down) / (2 * h)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm() if v.any() else v


def _into_ball(v: Tensor, eps: float) -> Tensor:
    size = v.square().sum().sqrt().item()
    return v * (eps / size) if size > eps else v.clone()


def _ball_step(push, v, eps, step_size) -> Tensor:
    return _into_ball(v + step_size * _unit(push), eps)


@functools.cache
def _universal(classes, lengths, words, training, size, eps, step_size, *, move=_ball_step,
               at=1.0, each=False, **slope) -> Tensor:  # fmt: skip
    """The new v; the keywords are mistakes. move(slope, v, eps, step_size) is where it goes."""
    model, batch, v = _steered(classes, lengths, words, size)
    if each:
        push = sum(_unit(_slope(model, batch, v, rows=[i])) for i in range(len(lengths)))
    else:
        push = _slope(model, batch, at * v, **slope)
    return move(push, v, eps, step_size)


_MOVES = {
    "nothing moved: this is v as it was": lambda g, v, eps, s: v,
    "descent: this lowers the log-odds, the attacker climbs":
        lambda g, v, eps, s: _ball_step(-g, v, eps, s),
    "no projection after the step: v leaves the ball": lambda g, v, eps, s: v + s * _unit(g),
    "the step was projected: it is v that must come back into the ball":
        lambda g, v, eps, s: v + _into_ball(s * _unit(g), eps),
    "this always rescales to the surface: inside the ball a point stays where it is":
        lambda g, v, eps, s: eps * _unit(v + s * _unit(g)),
    "this projects on the linf cube: the ball is an l2 ball":
        lambda g, v, eps, s: (v + s * _unit(g)).clamp(-eps, eps),
    "the step is not normalised: its length must be step_size":
        lambda g, v, eps, s: _into_ball(v + s * g, eps),
    "the step follows the sign of the gradient (linf): the ball is an l2 ball":
        lambda g, v, eps, s: _into_ball(v + s * g.sign(), eps),
    "the new v is only the step: add it to the old v":
        lambda g, v, eps, s: _into_ball(s * _unit(g), eps),
    "eps was taken as the step size": lambda g, v, eps, s: _ball_step(g, v, eps, eps),
}  # fmt: skip

_UNIVERSAL_MISTAKES = {name: dict(move=move) for name, move in _MOVES.items()} | {
    "the gradient is asked at zero, not at v": dict(at=0.0),
    "the mask is forgotten: special tokens are pushed too": dict(special=True),
    "the gradient was added up over special tokens, too: the mask belongs into the sum":
        dict(beside=True),
    "the mean over the tokens of each text: then a word of a long text counts less; add up":
        dict(per_token=True),
    "the cross-entropy in place of the log-odds": dict(loss="ce"),
    "the gradient of the first text alone: v is to serve them all": dict(rows=(0,)),
    "each text's gradient was normalised before the mean": dict(each=True),
    "only one of the other classes is looked at: the log-odds of being wrong have them all":
        dict(two=True),
}  # fmt: skip


def check_universal_step(answer) -> None:
    def run(classes, lengths, words, training, size, eps, step_size) -> Tensor:
        model, batch, v = _steered(classes, lengths, words, size)
        used(model).train(training)
        given = dict(model=model, batch=batch, v=v, eps=eps, step_size=step_size)
        yours = tensors(call(answer, **given, same_mode=True), "v")["v"]
        expect(words or yours.isfinite().all(), "v has values that are not finite where no text "
               "has a word, so that the gradient is zero: 0/0 is no direction",
               yours=yours)  # fmt: skip
        return yours

    problems = [
        dict(classes=classes, lengths=lengths, words=words, training=training, size=size, eps=eps,
             step_size=step_size)
        for classes, lengths, words, training, size, eps, step_size in (
            (2, (7, 5, 4), True, True, 0.3, 0.32, 0.9), (2, (7, 5, 4), True, False, 0.3, 2.0, 0.35),
            (3, (7, 5, 4), True, True, 0.8, 0.8, 0.5), (2, (7, 5, 4), True, True, 0.0, 0.9, 0.4),
            (4, (6,), True, True, 0.5, 0.9, 0.3), (2, (7,), False, True, 0.3, 0.9, 0.2),
        )
    ]  # fmt: skip

    def tell(problem) -> dict:
        kind = "texts" if problem["words"] else "texts without a word"
        told = {kind: "{lengths} tokens long, of {classes} classes".format(**problem),
                "model": f"in {'training' if problem['training'] else 'eval'} mode",
                "v": f"of length {problem['size']}"}  # fmt: skip
        return told | dict(eps=problem["eps"], step_size=problem["step_size"])

    specified(run, problems[:-1], _universal, _UNIVERSAL_MISTAKES, what="the new v", tell=tell)
    specified(run, problems[-1:], _universal, what="the new v", tell=tell)


def universal_step(model, batch, v, eps, step_size):
    """One step of length step_size that raises the mean log-odds of the batch, and back into the
    ball |v| <= eps. v: (hidden,), added to every attackable token. Returns the new v."""
    free = v.detach().clone().requires_grad_()
    delta = free * attackable(batch)[..., None]
    odds = wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).mean()
    (grad,) = torch.autograd.grad(odds, free)
    if grad.any():
        v = v + step_size * grad / grad.norm()
    return v * (eps / v.norm().clamp_min(eps))


# ---------------------------------------------------------------- 10.5


def _score(clean, robust, least, *, kept=lambda c, r: r, broken=lambda c, r, least: c - least,
           nan=-1.0, asks=lambda c, r: math.isnan(c + r), strict=False, slack=0.0,
           digits=None) -> float | str:  # fmt: skip
    """The keywords are mistakes. "nan" in words, because nan != nan."""
    if asks(clean, robust):
        value = nan
    elif clean >= least - slack and not (strict and clean == least):
        value = kept(clean, robust)
    else:
        value = broken(clean, robust, least)
    value = value if digits is None else round(value, digits)
    return "nan" if math.isnan(value) else value


def _alone(c, r, least=None) -> float:
    return c


_SCORES = {
    "the constraint is ignored: robust accuracy alone": dict(broken=lambda c, r, least: r),
    "clean accuracy alone": dict(kept=_alone, broken=_alone),
    "clean accuracy alone where the limit is kept: there robust is asked for": dict(kept=_alone),
    "the shortage has the wrong sign: below the limit the score must be negative":
        dict(broken=lambda c, r, least: least - c),
    "a flat penalty: among runs below the limit the nearer one must be better":
        dict(broken=lambda *_: -1.0),
    "0 for every run below the limit: a run that keeps it with robust = 0 is better than one "
    "that does not, and the nearer one better than the farther": dict(broken=lambda *_: 0.0),
    "the mean of both: a lot of the one then buys the other": dict(kept=lambda c, r: (c + r) / 2),
    "the sum of both: a lot of the one then buys the other":
        dict(kept=lambda c, r: c + r, broken=lambda c, r, least: c + r),
    "the product of both is no constraint": dict(kept=lambda c, r: c * r),
    "robust plus the shortage: a very robust run may then beat one that keeps the limit":
        dict(broken=lambda c, r, least: r + c - least),
    "the smaller of the two is no constraint": dict(kept=min, broken=lambda c, r, least: min(c, r)),
    "clean = least keeps the constraint: >=, not >": dict(strict=True),
    "a tolerance: the limit is a hard one, and clean is below it (by little)": dict(slack=0.01),
    "the score is rounded: then runs that differ count as equal": dict(digits=2),
    "a run that blew up is recognised, but -1.0 was asked for, not minus infinity":
        dict(nan=-math.inf),
    "a run that blew up is recognised, but -1.0 was asked for, not 0": dict(nan=0.0),
    "nan slips through: every comparison with nan is False, so ask for it with math.isnan":
        dict(asks=lambda c, r: False),
    "`robust` can be nan, too: a run blows up between two measurements":
        dict(asks=lambda c, r: math.isnan(c)),
    "`clean` can be nan, too": dict(asks=lambda c, r: math.isnan(r)),
    "nan slips through, and the constraint is ignored: robust accuracy alone":
        dict(asks=lambda c, r: False, broken=lambda c, r, least: r),
}  # fmt: skip


def check_search_score(answer) -> None:
    def run(clean, robust, least) -> float | str:
        value = answer(clean, robust, least)
        expect(value is not None, "the result is None: does the function return it?")
        expect(isinstance(value, int | float) and not isinstance(value, bool),
               f"the score is a number, not a {type(value).__name__}")  # fmt: skip
        return "nan" if math.isnan(value) else float(value)

    problems = [
        dict(clean=clean, robust=robust, least=least)
        for least in (0.9, 0.85, 0.5, 0.0, 1.0)
        for clean in (0.85, 0.31, 0.97, 0.899, 0.9, 0.5, 0.0, 1.0, math.nan)
        for robust in (0.643, 0.2, 1.0, 0.0, math.nan)
    ]
    specified(run, problems, _score, _SCORES, what="the score", atol=1e-9, rtol=0)


def search_score(clean, robust, least):
    """Robust accuracy where clean accuracy is at least `least`; else the shortage, negative; -1
    where a number is nan. Any run that keeps the limit beats any that does not."""
    if math.isnan(clean) or math.isnan(robust):
        return -1.0
    return robust if clean >= least else clean - least


EXERCISES = {
    "10.1": Exercise("the loss of the labelled texts", check_labelled_loss, labelled_loss),
    "10.2": Exercise("batches that mix", check_mixed_rows, mixed_rows),
    "10.3": Exercise("a low-rank layer", check_add_lora, add_lora),
    "10.4": Exercise("one vector for all texts", check_universal_step, universal_step),
    "10.5": Exercise("a score with a limit", check_search_score, search_score),
}
