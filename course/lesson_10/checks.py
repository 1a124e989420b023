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
from course.checking import Exercise, Wrong, compare, expect, small_bert, unchanged

UNLABELLED = -100

# ---------------------------------------------------------------- 10.1


def check_labelled_loss(answer) -> None:
    g = torch.Generator().manual_seed(1010)
    cases = [([2, UNLABELLED, 0, 1, UNLABELLED], 3), ([2, 0, 1], 3), ([UNLABELLED, 1], 2),
             ([UNLABELLED] * 3 + [3] + [UNLABELLED] * 2, 4), ([UNLABELLED] * 4, 2)]  # fmt: skip
    for k, (labels, classes) in enumerate(cases):
        logits = 3 * torch.randn(len(labels), classes, generator=g)
        if k == 1:
            # So sure, and so wrong, that a softmax rounds to 0 before its logarithm.
            logits[0] = torch.tensor([150.0, 20.0, -60.0])
        _one_labelled_loss(answer, logits, torch.tensor(labels))


def _mean(losses: list[Tensor]) -> Tensor | None:
    return torch.stack(losses).mean() if losses else None


def _one_labelled_loss(answer, logits: Tensor, labels: Tensor) -> None:
    given = dict(logits=logits, labels=labels)
    free, kept = logits.clone().requires_grad_(), labels.clone()
    yours = answer(free, kept)
    unchanged(labels, kept, "labels")
    unchanged(logits, free.detach(), "logits")
    known = [i for i, y in enumerate(labels.tolist()) if y != UNLABELLED]
    each = {i: torch.logsumexp(logits[i].double(), 0) - logits[i, labels[i]].double()
            for i in known}  # fmt: skip
    total = sum(each.values(), torch.zeros((), dtype=torch.double))
    right = (total / max(len(known), 1)).float()
    as_zero = F.cross_entropy(logits, labels.clamp_min(0))
    mistakes = {
        "the sum, not the mean, over the labelled texts": total,
        "the mean is over the whole batch: divide by the number of labelled texts":
            total / len(labels),
        "the texts without a label were counted as class 0": as_zero,
        "the texts without a label were counted as the last class": F.cross_entropy(
            logits, labels.where(labels != UNLABELLED, torch.tensor(logits.shape[1] - 1))),
        "the wrong sign": -right,
        "one loss per text: average them": torch.stack(list(each.values())) if known else None,
        "class 0 is a class: `labels > 0` passes over its texts": _mean(
            [each[i] for i in known if labels[i] > 0]),
        "only the first labelled text": each[known[0]] if known else None,
    }  # fmt: skip
    mistakes = {k: v for k, v in mistakes.items()
                if v is not None and not torch.equal(v.float(), right)}  # fmt: skip
    if isinstance(yours, Tensor) and yours.isnan().any():
        likely = "the mean over no text is 0/0" if not known else "log(softmax) of a sure model"
        raise Wrong("the loss is nan", given=given, yours=yours, expected=right,
                    likely=f"{likely}; a batch without a label has the loss 0" if not known else
                    f"{likely}: use F.cross_entropy or log_softmax")  # fmt: skip
    compare(yours, right, given=given, what="the loss", mistakes=mistakes, atol=1e-4)
    where = "" if known else " of a batch without a label: a loss of 0 that is no part of the graph"
    expect(yours.requires_grad, f"backward() does not work on the loss{where}", given=given,
           yours=yours, expected=right,
           likely="detach, .item() or a new tensor: multiply a sum over the logits by "
                  "0 instead")  # fmt: skip
    yours.backward()
    slope = torch.zeros_like(logits)
    for i in known:
        slope[i] = logits[i].double().softmax(0).float() / len(known)
        slope[i, labels[i]] -= 1 / len(known)
    compare(free.grad, slope, given=given, what="the gradient with respect to the logits")


def labelled_loss(logits, labels):
    """The mean cross-entropy over the texts that have a label; 0 where none has.

    logits: (batch, classes). labels: (batch,), `UNLABELLED` where there is none. A scalar.
    """
    known = labels != UNLABELLED
    if not known.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[known], labels[known])


# ---------------------------------------------------------------- 10.2


def check_mixed_rows(answer) -> None:
    g = torch.Generator().manual_seed(1020)
    for n, m, k, u, steps in ((10, 37, 4, 9, 20), (6, 20, 6, 5, 7), (9, 8, 2, 8, 11),
                              (7, 30, 1, 3, 20)):  # fmt: skip
        numbers = torch.randperm(1000, generator=g)[: n + m] + 5
        labelled, unlabelled = numbers[:n], numbers[n:]
        _one_mix(answer, labelled, unlabelled, k, u, steps)


def _one_mix(answer, labelled, unlabelled, k, u, steps) -> None:
    given = {"labelled": labelled, "unlabelled": unlabelled, "k": k, "u": u, "steps": steps}
    one, two = labelled.clone(), unlabelled.clone()
    before = torch.random.get_rng_state()
    draw = torch.Generator().manual_seed(1)
    rows = answer(one, two, k, u, steps, draw)
    unchanged(labelled, one, "labelled")
    unchanged(unlabelled, two, "unlabelled")
    expect(rows is not None, "the result is None: does the function return it?", given=given)
    expect(isinstance(rows, Tensor), f"the result should be a tensor, not {type(rows).__name__}",
           given=given, likely="torch.stack the batches: (steps, k + u)")  # fmt: skip
    shape = tuple(rows.shape)
    expect(shape == (steps, k + u), f"the result has shape {shape}, expected {(steps, k + u)}",
           given=given, likely="the labelled texts ran out: shuffle them anew and go on"
           if len(shape) == 2 and shape[0] < steps else
           "one row per step, with k + u text numbers")  # fmt: skip
    with_label = torch.isin(rows, labelled)
    known = with_label | torch.isin(rows, unlabelled)
    positions = rows.min() >= 0 and rows.max() < max(len(labelled), len(unlabelled))
    expect(known.all(), "there are numbers in the result that are in neither list", given=given,
           yours=rows[0], likely="these are positions in the lists: return the row numbers that "
           "stand there" if positions else None)  # fmt: skip
    count = with_label.sum(1)
    if not (count == k).all():
        swapped = (count == u).all() and k != u
        raise Wrong(f"every batch should have {k} labelled texts; yours have between "
                    f"{int(count.min())} and {int(count.max())}", given=given, yours=count,
                    expected=torch.full_like(count, k),
                    likely="k and u are exchanged" if swapped else
                    "labelled and unlabelled texts were shuffled together: draw k from the one "
                    "list and u from the other")  # fmt: skip
    expect(with_label[:, :k].all(), "the labelled texts should come first, in the first k columns",
           given=given, yours=rows[0])  # fmt: skip
    again = answer(labelled, unlabelled, k, u, steps, torch.Generator().manual_seed(1))
    expect(torch.equal(before, torch.random.get_rng_state()) and torch.equal(rows, again),
           "the same generator state gives other batches: the random numbers do not come from "
           "`generator`", given=given,
           likely="pass generator=generator to torch.randperm")  # fmt: skip
    other = answer(labelled, unlabelled, k, u, steps, draw)
    expect(not torch.equal(rows, other), "a second call with the same generator gives the same "
           "batches again", given=given,
           likely="the generator is seeded inside, or nothing is shuffled")  # fmt: skip
    for name, part, source in (("labelled", rows[:, :k], labelled),
                               ("unlabelled", rows[:, k:], unlabelled)):  # fmt: skip
        _one_stream(part, source, name, given)
    orders = _orders(labelled, unlabelled, k, u, steps)
    right = orders.pop("right")
    expect(torch.equal(rows, right), "each batch is fair, but the random numbers were not drawn in "
           "the order of the task", given=given, yours=rows, expected=right,
           likely=next((name for name, other in orders.items() if torch.equal(rows, other)),
                       "first all shuffles of the labelled list, as many as `steps` batches need, "
                       "then those of the unlabelled one; pieces are cut from the "
                       "front"))  # fmt: skip


def _orders(labelled, unlabelled, k, u, steps) -> dict[str, Tensor]:
    """What the generator of _one_mix gives in the right order of draws, and in others."""
    kinds, start = ((labelled, k), (unlabelled, u)), torch.Generator().manual_seed(1)
    state = start.get_state()

    def cut(shuffled, take):  # the pieces of one pass
        return [shuffled[i : i + take] for i in range(0, len(shuffled) - take + 1, take)]

    def fresh(numbers, generator):
        return numbers[torch.randperm(len(numbers), generator=generator)]

    def leftovers(numbers, take, last, generator):
        new = fresh(numbers, generator)
        rest = [] if last is None else last[len(last) // take * take :].tolist()
        return torch.tensor(rest + [i for i in new.tolist() if i not in rest])

    def again(numbers, take, last, generator):
        return fresh(numbers, generator)

    def rolled(numbers, take, last, generator):
        return fresh(numbers, generator) if last is None else last.roll(1)

    def in_turn(kinds, shuffle=again, more=0, by_step=False, back=False):
        generator = torch.Generator()
        generator.set_state(state)
        pieces, last = [[] for _ in kinds], [None for _ in kinds]

        def fill(j, until):
            numbers, take = kinds[j]
            while len(pieces[j]) < until:
                last[j] = shuffle(numbers, take, last[j], generator)
                pieces[j] += cut(last[j].flip(0) if back else last[j], take)

        if by_step:
            for step in range(steps):
                for j in range(len(kinds)):
                    fill(j, step + 1)
        else:
            for j in range(len(kinds)):
                fill(j, steps + more)
        return [torch.stack(p[:steps]) for p in pieces]

    later = "the few that are left over come first in the next pass: pass over them, and shuffle "
    return {
        "right": torch.cat(in_turn(kinds), 1),
        "the unlabelled list is drawn first, then the labelled one":
            torch.cat(in_turn(kinds[::-1])[::-1], 1),
        "the two lists are shuffled in turn, step by step: all of the labelled list comes first":
            torch.cat(in_turn(kinds, by_step=True), 1),
        "in turn, step by step, and pieces from the end (pop): all of the labelled list comes "
        "first, and pieces are cut from the front":
            torch.cat(in_turn(kinds, by_step=True, back=True), 1),
        "the pieces are cut from the end of the shuffled list, not from the front":
            torch.cat(in_turn(kinds, back=True), 1),
        "one shuffle too many: the list was shuffled anew though no further batch is needed":
            torch.cat(in_turn(kinds, more=1), 1),
        later + "the whole list anew": torch.cat(in_turn(kinds, leftovers), 1),
        "only the first pass is shuffled, the others are that one moved along: shuffle anew for "
        "every pass": torch.cat(in_turn(kinds, rolled), 1),
    }  # fmt: skip


def _one_stream(part: Tensor, source: Tensor, name: str, given) -> None:
    """The rows of one kind: passes over a shuffled list, each text at most once in a pass."""
    take = part.shape[1]
    length = len(source) // take  # batches in a pass
    passes = [part[i : i + length] for i in range(0, len(part), length)]
    for batch in part:
        expect(len(batch.unique()) == take, f"a text is twice in one batch ({name})", given=given,
               yours=batch, likely="drawn with replacement (torch.randint), or a batch that "
               "takes the last texts of one pass and the first of the next")  # fmt: skip
    for one in passes:
        seen, n = one.flatten(), one.numel()
        expect(len(seen.unique()) == n,
               f"a text comes twice in one pass over the {name} texts, while others wait",
               given=given, yours=seen, likely="each batch is drawn by itself, or the pass is cut "
               f"wrongly: {length} batches of {take} use up a shuffled list of {len(source)}, then "
               "shuffle the whole list anew")  # fmt: skip
    if len(passes) > 1 and len(passes[0]) == len(passes[1]):
        same = sum(torch.equal(a, b) for a, b in zip(passes[0], passes[1], strict=True))
        expect(same < length or take * length == 1, f"the second pass over the {name} texts is "
               "the first once more: shuffle anew for every pass", given=given,
               yours=passes[1], likely="one torch.randperm before the loop")  # fmt: skip
    if len(source) > take and len(passes) > 1:
        firsts = torch.stack([p[0].sort().values for p in passes])
        expect(len(firsts.unique(dim=0)) > 1, f"the {name} texts are not shuffled: every pass "
               "begins with the same batch", given=given, yours=firsts)  # fmt: skip
    used = set(part.flatten().tolist())
    if len(passes) > 3 and len(source) - length * take:
        missing = sorted(set(source.tolist()) - used)
        expect(not missing, f"these {name} texts never come, in {len(passes)} passes: {missing}",
               given=given, likely="the list was cut before it was shuffled")  # fmt: skip


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


def check_add_lora(answer) -> None:
    cases = ((5, 3, 2, 8.0, True, torch.float32), (4, 7, 3, 1.5, False, torch.float32),
             (6, 6, 1, 16.0, True, torch.float64), (7, 2, 4, 6.0, True, torch.float32))  # fmt: skip
    for seed, (inside, outside, r, alpha, bias, dtype) in enumerate(cases):
        _one_lora(answer, seed, inside, outside, r, alpha, bias, dtype)


def _one_lora(answer, seed, inside, outside, r, alpha, bias, dtype) -> None:
    g = torch.Generator().manual_seed(1030 + seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        linear = nn.Linear(inside, outside, bias=bias, dtype=dtype)
        frozen = {name: p.detach().clone() for name, p in linear.named_parameters()}
        given = {"linear": f"nn.Linear({inside}, {outside}, bias={bias}, dtype={dtype})", "r": r,
                 "alpha": alpha}  # fmt: skip
        made = answer(linear, r, alpha)
        twin = answer(nn.Linear(inside, outside, bias=bias, dtype=dtype), r, alpha)
    expect(made is not None, "the result is None: return the layer", given=given)
    expect(made is linear, "return the layer that was given, with the two matrices added to it",
           given=given, yours=type(made).__name__,
           likely="a new layer: then the model goes on using the old one")  # fmt: skip
    a, b = _low_rank_parameters(linear, inside, outside, r, dtype, given)
    names = {name for name, p in linear.named_parameters() if p.requires_grad}
    expect(names == {"lora_A", "lora_B"},
           f"only lora_A and lora_B are to be trained; here {sorted(names)} are", given=given,
           likely="the layer's own weight and bias must be frozen: requires_grad_(False)"
           if names - {"lora_A", "lora_B"} else "lora_A and lora_B are frozen too")  # fmt: skip
    if not a.any() and not b.any():
        raise Wrong("A and B are both zero: then neither ever gets a gradient", given=given,
                    likely="A is random, B is zero")  # fmt: skip
    expect(not b.any(), "B must be zero at the start, so that the layer says what it said before",
           given=given, yours=b.detach(),
           likely="A random and B zero, not the other way round" if not a.any() else
           "both are random")  # fmt: skip
    expect(a.unique().numel() > a.numel() // 2, "A must be random: equal rows stay equal",
           given=given, yours=a.detach())  # fmt: skip
    size = a.detach().square().mean().sqrt().item()
    expect(size > 1e-4, "A is random, but so small that B would hardly ever get a gradient",
           given=given, yours=a.detach(), likely=f"its numbers have a size of {size:.1g}; take a "
           "spread such as 1/r")  # fmt: skip
    expect(not torch.equal(a, twin.lora_A), "a second layer of the same shape gets the same A",
           given=given, yours=a.detach(),
           likely="the random numbers are seeded inside (torch.manual_seed): that also takes them "
           "from everybody else; leave the seed to the caller")  # fmt: skip
    for shape in ((4,), (2, 3), ()):
        x = torch.randn(*shape, inside, generator=g, dtype=torch.double).to(dtype)
        plain = F.linear(x, frozen["weight"], frozen.get("bias"))
        compare(linear(x.clone()).detach(), plain, given=given | {"x": x},
                what="W x + b at the start, when B = 0,",
                mistakes={"W x + b is missing: the low rank is added to it":
                          torch.zeros_like(plain)})  # fmt: skip
    with torch.no_grad():
        a.copy_(torch.randn(a.shape, generator=g))
        b.copy_(torch.randn(b.shape, generator=g))
    for shape in ((4,), (2, 3), ()):
        x = torch.randn(*shape, inside, generator=g, dtype=torch.double).to(dtype)
        _one_lora_pass(linear, x, a, b, frozen, r, alpha, given)
    for name, value in frozen.items():
        unchanged(value, dict(linear.named_parameters())[name].detach(), f"linear.{name}")


def _low_rank_parameters(linear, inside, outside, r, dtype, given) -> tuple[Tensor, Tensor]:
    found = []
    for name, shape in (("lora_A", (r, inside)), ("lora_B", (outside, r))):
        value = getattr(linear, name, None)
        expect(value is not None, f"the layer has no {name}", given=given)
        expect(isinstance(value, nn.Parameter), f"{name} is no nn.Parameter: no optimiser finds it "
               "among linear.parameters()", given=given, yours=type(value).__name__)  # fmt: skip
        likely = "transposed" if tuple(value.shape) == shape[::-1] else None
        if tuple(value.shape) == (outside, inside) and name == "lora_A":
            likely = (
                "cut out of a matrix like W, which has only out_features rows"
                if r > outside
                else "made like W (randn_like): A has r rows"
            )
        expect(tuple(value.shape) == shape,
               f"{name} has shape {tuple(value.shape)}, expected {shape}", given=given,
               likely=likely)  # fmt: skip
        expect(value.dtype == dtype, f"{name} has dtype {value.dtype}, the layer {dtype}",
               given=given, likely="make it with linear.weight.new_zeros, or "
               "dtype=linear.weight.dtype")  # fmt: skip
        found.append(value)
    return found[0], found[1]


def _one_lora_pass(linear, x, a, b, frozen, r, alpha, given) -> None:
    free = x.clone().requires_grad_()
    yours = linear(free)
    unchanged(x, free.detach(), "x")
    weight, bias = frozen["weight"].double(), frozen.get("bias")
    low, down = b.detach().double(), a.detach().double()
    x64 = x.double()
    base = x64 @ weight.T + (0 if bias is None else bias.double())
    extra = x64 @ down.T @ low.T
    right = (base + alpha / r * extra).to(x)
    mistakes = {
        "alpha // r rounds down: divide with /": base + alpha // r * extra,
        "the low rank is not added: W x + b alone": base,
        "the factor is alpha / sqrt(r): divide by r": base + alpha / r**0.5 * extra,
        "W x + b is missing": alpha / r * extra,
        "the factor alpha / r is missing": base + extra,
        "the factor is alpha, without the division by r": base + alpha * extra,
        "the factor is r / alpha, upside down": base + r / alpha * extra,
        "the factor is 1 / r, alpha is missing": base + extra / r,
        "the factor is taken twice": base + (alpha / r) ** 2 * extra,
        "the low rank is subtracted": base - alpha / r * extra,
        "the low rank is added twice": base + 2 * alpha / r * extra,
        "W x + b is added twice: the hook's output has it already": 2 * base + alpha / r * extra,
    }
    mistakes = {k: v.to(x) for k, v in mistakes.items() if not torch.allclose(v.to(x), right)}
    compare(yours if yours is None else yours.detach(), right, given=given | {"x": x},
            what="W x + b + (alpha / r) B A x", mistakes=mistakes)  # fmt: skip
    yours.square().sum().backward()
    for name, value in (("lora_A", a), ("lora_B", b)):
        expect(value.grad is not None and value.grad.any(), f"no gradient reaches {name}",
               given=given, likely="detach, .data or torch.no_grad in the forward")  # fmt: skip
        value.grad = None
    expect(free.grad is not None, "no gradient reaches x: an attack on the embeddings would be "
           "blind", given=given, likely="detach")  # fmt: skip
    slope = 2 * right.double() @ (weight + alpha / r * low @ down)
    compare(free.grad, slope.to(x), given=given | {"x": x}, what="the gradient with respect to x",
            atol=1e-3, rtol=1e-3)  # fmt: skip


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


@functools.cache
def _small_bert():
    return small_bert(1040, labels=(1, 0, 1))


def _slope(model, batch, v: Tensor, *, special=False, beside=False, per_token=False,
           loss="margin", rows=None) -> Tensor:  # fmt: skip
    """The slope of the mean log-odds in v, by finite differences over single texts.

    special: special tokens are pushed, too. beside: they are not pushed, but the slope is asked
    there as well. per_token: the slope of a text is divided by its number of words."""
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
        odds = z[:, 1 - y] - z[:, y]
        odds = odds if loss == "margin" else odds.exp().log1p()
        heights.append(odds / free.sum() if per_token else odds)
    up, down = torch.stack(heights).mean(0).chunk(2)
    return (up - down) / (2 * h)


def _into_ball(v: Tensor, eps: float) -> Tensor:
    size = v.square().sum().sqrt().item()
    return v * (eps / size) if size > eps else v.clone()


def check_universal_step(answer) -> None:
    model, batch = _small_bert()
    g = torch.Generator().manual_seed(1041)
    long = torch.randn(6, generator=g, dtype=torch.double)
    unit = long / long.norm()
    for v, eps, step_size in ((0.3 * unit, 0.32, 0.9), (0.3 * unit, 2.0, 0.35),
                              (0.8 * unit, 0.8, 0.5), (0 * unit, 0.9, 0.4)):  # fmt: skip
        _one_universal(answer, model, batch, v, eps, step_size)
    blank = {k: t[:1].clone() for k, t in batch.items()}
    blank["special_tokens_mask"] = torch.ones_like(blank["special_tokens_mask"])
    v = 0.3 * unit
    yours = answer(model, blank, v.clone(), 0.9, 0.2)
    model.zero_grad(set_to_none=True)
    compare(yours, v, given=dict(v=v, batch="one text without a single word"),
            what="v where the gradient is zero",
            mistakes={"0/0: such a gradient has no direction": v * math.nan})  # fmt: skip


def _one_universal(answer, model, batch, v, eps, step_size) -> None:
    given = dict(v=v, eps=eps, step_size=step_size)
    copies, kept = {k: t.clone() for k, t in batch.items()}, v.clone()
    try:
        model.train()  # it has no dropout: the mode changes no number
        yours = answer(model, copies, kept, eps, step_size)
        expect(model.training, "the model's mode was changed and not put back", given=given,
               likely="model.eval() is not needed here")  # fmt: skip
        left = [n for n, p in model.named_parameters() if p.grad is not None]
        expect(not left, f"gradients were left in {len(left)} parameters (.grad): the next "
               "training step would add them to its own", given=given,
               likely="loss.backward(); torch.autograd.grad with respect to v "
                      "leaves none")  # fmt: skip
        expect(all(p.requires_grad for p in model.parameters()),
               "requires_grad of the parameters was changed", given=given)  # fmt: skip
    finally:
        model.eval()
        model.zero_grad(set_to_none=True)
        model.requires_grad_(True)
    for name in batch:
        unchanged(batch[name], copies[name], f"batch[{name!r}]")
    unchanged(v, kept.detach(), "v")
    expect(not kept.requires_grad, "v itself was switched to requires_grad: work on a copy",
           given=given, likely="v.detach().requires_grad_() shares nothing but the "
           "numbers")  # fmt: skip
    if isinstance(yours, Tensor):
        expect(not yours.requires_grad, "the new v is still tied to the graph", given=given,
               likely="missing detach")  # fmt: skip
    push = _unit(_slope(model, batch, v))
    right, near = _into_ball(v + step_size * push, eps), dict(atol=1e-5, rtol=1e-4)
    if (
        isinstance(yours, Tensor)
        and yours.shape == v.shape
        and torch.allclose(yours.double(), right, **near)
    ):
        return
    moves = _universal_mistakes(model, batch, v, eps, step_size, push)
    mistakes = {k: m for k, m in moves.items() if not torch.allclose(m, right, **near)}
    compare(yours, right, given=given, what="the new v", mistakes=mistakes, **near)


def _universal_mistakes(model, batch, v, eps, step_size, push) -> dict[str, Tensor]:
    def along(slope: Tensor, normalise: bool = True) -> Tensor:
        return _into_ball(v + step_size * (_unit(slope) if normalise else slope), eps)

    slope, free = _slope(model, batch, v), v + step_size * push
    each = [_unit(_slope(model, batch, v, rows=[i])) for i in range(len(batch["labels"]))]
    return {
        "nothing moved: this is v as it was": v,
        "descent: this lowers the log-odds, the attacker climbs": along(-slope),
        "no projection after the step: v leaves the ball": free,
        "the step was projected: it is v that must come back into the ball":
            v + _into_ball(step_size * push, eps),
        "this always rescales to the surface: inside the ball a point stays where it is":
            eps * _unit(free),
        "this projects on the linf cube: the ball is an l2 ball": free.clamp(-eps, eps),
        "the step is not normalised: its length must be step_size": along(slope, False),
        "the step follows the sign of the gradient (linf): the ball is an l2 ball":
            along(slope.sign(), False),
        "the new v is only the step: add it to the old v": _into_ball(step_size * push, eps),
        "eps was taken as the step size": _into_ball(v + eps * push, eps),
        "the gradient is asked at zero, not at v": along(_slope(model, batch, 0 * v)),
        "the mask is forgotten: special tokens are pushed too":
            along(_slope(model, batch, v, special=True)),
        "the gradient was added up over special tokens, too: the mask belongs into the sum":
            along(_slope(model, batch, v, beside=True)),
        "the mean over the tokens of each text: then a word of a long text counts less; add up":
            along(_slope(model, batch, v, per_token=True)),
        "the cross-entropy in place of the log-odds": along(_slope(model, batch, v, loss="ce")),
        "the gradient of the first text alone: v is to serve them all": along(each[0]),
        "each text's gradient was normalised before the mean": along(sum(each)),
    }  # fmt: skip


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()


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


def check_search_score(answer) -> None:
    def ask(clean: float, robust: float, least: float) -> float:
        value = answer(clean, robust, least)
        given = dict(clean=clean, robust=robust, least=least)
        expect(value is not None, "the result is None: does the function return it?", given=given)
        expect(isinstance(value, int | float) and not isinstance(value, bool),
               f"the score is a number, not a {type(value).__name__}", given=given)  # fmt: skip
        return float(value)

    shares = [0.85, 0.31, 0.97, 0.899, 0.9, 0.5, 0.0, 1.0]
    for least in (0.9, 0.85, 0.5, 0.0, 1.0):
        for clean in (*shares, math.nan):
            for robust in (0.643, 0.2, 1.0, 0.0, math.nan):
                given = dict(clean=clean, robust=robust, least=least)
                if math.isnan(clean) or math.isnan(robust):
                    right, kind = -1.0, "a run that blew up"
                elif clean >= least:
                    right, kind = robust, "the constraint is kept"
                else:
                    right, kind = clean - least, "the constraint is broken"
                yours = ask(clean, robust, least)
                if not abs(yours - right) < 1e-9:
                    raise Wrong(f"the score is not as expected ({kind})", given=given, yours=yours,
                                expected=right, likely=_score_mistake(yours, **given))  # fmt: skip


def _score_mistake(yours: float, clean: float, robust: float, least: float) -> str | None:
    if math.isnan(clean) or math.isnan(robust):
        if yours < -1 or yours == 0:
            return "a run that blew up is recognised, but -1.0 was asked for"
        return ("nan slips through: every comparison with nan is False, so ask for it with "
                "math.isnan")  # fmt: skip
    known = {
        "the constraint is ignored: robust accuracy alone": robust,
        "clean accuracy alone": clean,
        "the shortage has the wrong sign: below the limit the score must be negative":
            least - clean,
        "a flat penalty: among runs below the limit the nearer one must be better": -1.0,
        "0 for every run below the limit: a run that keeps it with robust = 0 is better than one "
        "that does not, and the nearer one better than the farther": 0.0,
        "the mean of both: a lot of the one then buys the other": (clean + robust) / 2,
        "the sum of both: a lot of the one then buys the other": clean + robust,
        "the product of both is no constraint": clean * robust,
        "robust plus the shortage: a very robust run may then beat one that keeps the limit":
            robust + clean - least,
        "the smaller of the two is no constraint": min(clean, robust),
    }  # fmt: skip
    at_limit = clean == least and robust != 0.0
    if at_limit and yours in (0.0, -1.0):
        return "clean = least keeps the constraint: >=, not >"
    if 0 < least - clean < 0.02 and yours == robust:
        return "a tolerance: the limit is a hard one, and clean is below it (by little)"
    if abs(yours - round(robust if clean >= least else clean - least, 2)) < 1e-9:
        return "the score is rounded: then runs that differ count as equal"
    return next((name for name, value in known.items() if abs(yours - value) < 1e-9), None)


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
