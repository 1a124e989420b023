"""Right and wrong answers to the exercises of lesson 10; test_lessons.py runs them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin

UNLABELLED = -100

# ---------------------------------------------------------------- right answers


def loss_by_ignoring(logits, labels):
    known = (labels != UNLABELLED).sum().clamp_min(1)
    return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum") / known


def loss_by_gather(logits, labels):
    known = labels != UNLABELLED
    safe = labels.where(known, torch.zeros_like(labels))
    each = -logits.log_softmax(1).gather(1, safe[:, None])[:, 0] * known
    return each.sum() / max(int(known.sum()), 1)


def loss_in_a_loop(logits, labels):
    total, n = logits.sum() * 0.0, 0
    for row, label in zip(logits, labels, strict=True):
        if label != UNLABELLED:
            total, n = total - row.double().log_softmax(0)[label], n + 1
    return total / n if n else total


def stream_of(numbers, take, steps, generator, shuffle=torch.randperm):
    length, chunks = len(numbers) // take, []
    while len(chunks) < steps:
        shuffled = numbers[shuffle(len(numbers), generator=generator)]
        chunks += [shuffled[i * take : (i + 1) * take] for i in range(length)]
    return torch.stack(chunks[:steps])


def rows_by_stream(labelled, unlabelled, k, u, steps, generator):
    parts = [stream_of(labelled, k, steps, generator), stream_of(unlabelled, u, steps, generator)]
    return torch.cat(parts, dim=1)


def rows_by_passes(labelled, unlabelled, k, u, steps, generator):
    """As many passes as are needed, counted beforehand; in lists."""
    columns = []
    for numbers, take in ((labelled, k), (unlabelled, u)):
        length = len(numbers) // take
        column = []
        for _ in range(math.ceil(steps / length)):
            order = numbers[torch.randperm(len(numbers), generator=generator)].tolist()
            column += [order[i * take : (i + 1) * take] for i in range(length)]
        columns.append(column[:steps])
    return torch.tensor([one + two for one, two in zip(*columns, strict=True)])


def rows_in_lists(labelled, unlabelled, k, u, steps, generator):
    def stream(numbers, take):
        pieces = []
        while len(pieces) < steps:
            row = [numbers[i] for i in torch.randperm(len(numbers), generator=generator)]
            while len(row) >= take and len(pieces) < steps:
                pieces.append(row[:take])
                row = row[take:]
        return pieces

    first, second = stream(labelled.tolist(), k), stream(unlabelled.tolist(), u)
    return torch.tensor([a + b for a, b in zip(first, second, strict=True)])


def lora_by_outer_products(linear, r, alpha):
    linear.requires_grad_(False)
    a = torch.rand(r, linear.in_features).to(linear.weight) - 0.5
    linear.lora_A = nn.Parameter(a)
    linear.lora_B = nn.Parameter(torch.zeros(linear.out_features, r).to(linear.weight))

    def add(layer, inputs, output):
        for row, column in zip(layer.lora_A, layer.lora_B.T, strict=True):
            output = output + (inputs[0] * row).sum(-1, keepdim=True) * column * (alpha / r)
        return output

    linear.register_forward_hook(add)
    return linear


def lora_with_hook(linear, r, alpha):
    for p in linear.parameters():
        p.requires_grad = False
    like = dict(dtype=linear.weight.dtype, device=linear.weight.device)
    linear.lora_A = nn.Parameter(0.02 * torch.randn(r, linear.in_features, **like))
    linear.lora_B = nn.Parameter(torch.zeros(linear.out_features, r, **like))

    def add(layer, inputs, output):
        low = F.linear(F.linear(inputs[0], layer.lora_A), layer.lora_B)
        return output + low * (alpha / r)

    linear.register_forward_hook(add)
    return linear


def lora_with_forward(linear, r, alpha):
    """The layer's forward is replaced."""
    linear.requires_grad_(False)
    linear.register_parameter(
        "lora_A", nn.Parameter(torch.empty(r, linear.in_features).to(linear.weight))
    )
    linear.register_parameter(
        "lora_B", nn.Parameter(torch.zeros(linear.out_features, r).to(linear.weight))
    )
    nn.init.kaiming_uniform_(linear.lora_A, a=math.sqrt(5))

    def forward(x):
        weight = linear.weight + alpha / r * linear.lora_B @ linear.lora_A
        return F.linear(x, weight, linear.bias)

    linear.forward = forward
    return linear


def margin(model, batch, v, mask=True, loss=wrong_margin):
    free = attackable(batch)[..., None]
    delta = v * (free if mask else torch.ones_like(free))
    return loss(perturbed_logits(model, batch, delta), batch["labels"])


def step_by_hand(model, batch, v, eps, step_size):
    v = v.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(margin(model, batch, v).mean(), v)
    new = v.detach() + step_size * grad / grad.norm().clamp_min(1e-12)
    return new if new.norm() <= eps else new * (eps / new.norm())


def step_by_tokens(model, batch, v, eps, step_size):
    """The gradient at every token, summed afterwards."""
    delta = (v.detach() * attackable(batch)[..., None]).requires_grad_()
    odds = wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).sum()
    (grad,) = torch.autograd.grad(odds, delta)
    grad = (grad * attackable(batch)[..., None]).sum((0, 1))
    if grad.norm() > 0:
        v = v.detach() + step_size * grad / grad.norm()
    return v * min(1.0, eps / max(v.norm().item(), 1e-12))


def step_text_by_text(model, batch, v, eps, step_size):
    free, total = v.clone().requires_grad_(), 0
    for i in range(len(batch["labels"])):
        total = total + margin(model, {k: t[i : i + 1] for k, t in batch.items()}, free)[0]
    (grad,) = torch.autograd.grad(total / len(batch["labels"]), free)
    if not grad.any():
        return v.clone()
    return torch.renorm((v + step_size * F.normalize(grad, dim=0))[None], 2, 0, eps)[0].float()


def score_by_cases(clean, robust, least):
    if math.isnan(clean + robust):
        return -1
    if clean < least:
        return -(least - clean)
    return robust


def score_in_one(clean, robust, least):
    return (robust if clean >= least else clean - least) if clean + robust >= 0 else -1.0


RIGHT = [
    ("10.1", loss_by_ignoring), ("10.1", loss_by_gather),
    ("10.2", rows_by_stream), ("10.2", rows_by_passes),
    ("10.3", lora_with_hook), ("10.3", lora_with_forward),
    ("10.4", step_by_hand), ("10.4", step_by_tokens),
    ("10.5", score_by_cases), ("10.5", score_in_one),
    ("10.1", loss_in_a_loop), ("10.2", rows_in_lists), ("10.3", lora_by_outer_products),
    ("10.4", step_text_by_text),
    ("10.5", lambda c, r, least: np.float64(-1 if np.isnan([c, r]).any() else
                                            r if c >= least else c - least)),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def loss_sum(logits, labels):
    return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")


def loss_in_place(logits, labels):
    labels[labels == UNLABELLED] = 0
    return F.cross_entropy(logits, labels)


def loss_new_zero(logits, labels):
    known = labels != UNLABELLED
    return F.cross_entropy(logits[known], labels[known]) if known.any() else torch.tensor(0.0)


def loss_by_softmax(logits, labels):
    known = labels != UNLABELLED
    p = logits.softmax(1)[known].gather(1, labels[known][:, None])
    return -(p.log().sum()) / known.sum().clamp_min(1) if known.any() else logits.sum() * 0


def loss_clamped(logits, labels):
    known = labels != UNLABELLED
    p = logits.softmax(1)[known].gather(1, labels[known][:, None]).clamp_min(1e-7)
    return -(p.log().sum()) / known.sum().clamp_min(1) if known.any() else logits.sum() * 0


def loss_each(logits, labels):
    return F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="none")


def loss_first_only(logits, labels):
    known = labels != UNLABELLED
    return (
        F.cross_entropy(logits[known][:1], labels[known][:1]) if known.any() else logits.sum() * 0
    )


def loss_above_zero(logits, labels):
    known = labels > 0
    return F.cross_entropy(logits[known], labels[known]) if known.any() else logits.sum() * 0


def loss_with_flag(logits, labels):
    return loss_by_ignoring(logits.requires_grad_(), labels)


def loss_and_backward(logits, labels):
    loss = loss_by_ignoring(logits, labels)
    if loss.requires_grad:
        loss.backward(retain_graph=True)
    return loss


def loss_of_two_at_least(logits, labels):
    known = labels != UNLABELLED
    return F.cross_entropy(logits[known], labels[known]) if known.sum() > 1 else logits.sum() * 0


def replacement(labelled, unlabelled, k, u, steps, generator):
    parts = [n[torch.randint(len(n), (steps, take), generator=generator)]
             for n, take in ((labelled, k), (unlabelled, u))]  # fmt: skip
    return torch.cat(parts, dim=1)


def each_by_itself(labelled, unlabelled, k, u, steps, generator):
    out = []
    for _ in range(steps):
        parts = [n[torch.randperm(len(n), generator=generator)][:take]
                 for n, take in ((labelled, k), (unlabelled, u))]  # fmt: skip
        out.append(torch.cat(parts))
    return torch.stack(out)


def all_together(labelled, unlabelled, k, u, steps, generator):
    return stream_of(torch.cat([labelled, unlabelled]), k + u, steps, generator)


def shuffled_once(labelled, unlabelled, k, u, steps, generator):
    def stream(numbers, take):
        order = numbers[torch.randperm(len(numbers), generator=generator)]
        chunks = order[: len(numbers) // take * take].split(take)
        return torch.stack([chunks[i % len(chunks)] for i in range(steps)])

    return torch.cat([stream(labelled, k), stream(unlabelled, u)], dim=1)


def runs_out(labelled, unlabelled, k, u, steps, generator):
    a = stream_of(labelled, k, len(labelled) // k, generator)
    b = stream_of(unlabelled, u, len(unlabelled) // u, generator)
    n = min(len(a), len(b), steps)
    return torch.cat([a[:n], b[:n]], dim=1)


def over_the_edge(labelled, unlabelled, k, u, steps, generator):
    """The last texts of one pass and the first of the next share a batch."""

    def stream(numbers, take):
        order = torch.cat([torch.randperm(len(numbers), generator=generator)
                           for _ in range(steps * take // len(numbers) + 1)])  # fmt: skip
        return numbers[order[: steps * take]].view(steps, take)

    return torch.cat([stream(labelled, k), stream(unlabelled, u)], dim=1)


def never_shuffled(numbers, generator=None):
    return torch.arange(numbers)


def cut_first(labelled, unlabelled, k, u, steps, generator):
    a = stream_of(labelled[: len(labelled) // k * k], k, steps, generator)
    b = stream_of(unlabelled[: len(unlabelled) // u * u], u, steps, generator)
    return torch.cat([a, b], dim=1)


def mixed_with(shuffle):
    """rows_by_stream with another way to shuffle."""

    def answer(labelled, unlabelled, k, u, steps, generator):
        parts = [stream_of(n, take, steps, generator, shuffle)
                 for n, take in ((labelled, k), (unlabelled, u))]  # fmt: skip
        return torch.cat(parts, dim=1)

    return answer


def rows_in_turn(labelled, unlabelled, k, u, steps, generator, back=False):
    """Two lists that are filled anew, step by step, when too little is left."""
    queues, out = {k: [], -u: []}, []
    for _ in range(steps):
        batch = []
        for key, numbers in ((k, labelled), (-u, unlabelled)):
            take = abs(key)
            if len(queues[key]) < take:
                order = torch.randperm(len(numbers), generator=generator)
                queues[key] = numbers[order].tolist()
            batch += [queues[key].pop(-1 if back else 0) for _ in range(take)]
        out.append(batch)
    return torch.tensor(out)


def unlabelled_first(labelled, unlabelled, k, u, steps, generator):
    two = stream_of(unlabelled, u, steps, generator)
    return torch.cat([stream_of(labelled, k, steps, generator), two], dim=1)


def from_the_end(labelled, unlabelled, k, u, steps, generator):
    flip = mixed_with(lambda n, generator: torch.randperm(n, generator=generator).flip(0))
    return flip(labelled, unlabelled, k, u, steps, generator)


def one_more(labelled, unlabelled, k, u, steps, generator):
    """<= in place of <: a pass is drawn that is not needed."""
    one = stream_of(labelled, k, steps + 1, generator)[:steps]
    return torch.cat([one, stream_of(unlabelled, u, steps + 1, generator)[:steps]], dim=1)


def later_passes(after):
    """rows_by_stream whose second and later passes come from `after(last, take, new)`."""

    def answer(labelled, unlabelled, k, u, steps, generator):
        parts = []
        for numbers, take in ((labelled, k), (unlabelled, u)):
            last, chunks = None, []
            while len(chunks) < steps:
                last = after(last, take, lambda n=numbers: n[
                    torch.randperm(len(n), generator=generator)])  # fmt: skip
                chunks += last[: len(last) // take * take].split(take)
            parts.append(torch.stack(chunks[:steps]))
        return torch.cat(parts, dim=1)

    return answer


def rest_first(last, take, new):
    order = new()
    if last is None:
        return order
    rest = last[len(last) // take * take :]
    return torch.cat([rest, order[~torch.isin(order, rest)]])


def more_of_the_second(labelled, unlabelled, k, u, steps, generator):
    one = stream_of(labelled, k, steps, generator)
    return torch.cat([one, stream_of(unlabelled, u, steps + 1, generator)[:steps]], dim=1)


def rows_and_a_seed(*given):
    torch.manual_seed(0)
    return rows_by_stream(*given)


def rows_by_key(labelled, unlabelled, k, u, steps, generator):
    lists = {k: labelled, u: unlabelled}  # k and u may be the same number
    return rows_by_stream(lists[k], lists[u], k, u, steps, generator)


def positions(labelled, unlabelled, k, u, steps, generator):
    a, b = torch.arange(len(labelled)), torch.arange(len(unlabelled))
    return rows_by_stream(a, b, k, u, steps, generator)


def lora_with(first=torch.randn, second=torch.zeros, factor=lambda alpha, r: alpha / r,
              freeze=lambda linear: linear.requires_grad_(False), base=1, low=1):  # fmt: skip
    """Answers to 10.3 with one mistake each."""

    def answer(linear, r, alpha):
        freeze(linear)
        like = dict(dtype=linear.weight.dtype)
        linear.lora_A = nn.Parameter(first(r, linear.in_features, **like))
        linear.lora_B = nn.Parameter(second(linear.out_features, r, **like))
        linear.register_forward_hook(
            lambda layer, inputs, output: (
                base * output + low * factor(alpha, r) * inputs[0] @ layer.lora_A.T @ layer.lora_B.T
            )
        )
        return linear

    return answer


def lora_new_layer(linear, r, alpha):
    new = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
    new.load_state_dict(linear.state_dict())
    return lora_with_hook(new, r, alpha)


def lora_tensors(linear, r, alpha):
    linear.requires_grad_(False)
    linear.lora_A = torch.randn(r, linear.in_features, dtype=linear.weight.dtype)
    linear.lora_B = torch.zeros(linear.out_features, r, dtype=linear.weight.dtype)
    return linear


def lora_transposed(linear, r, alpha):
    linear.requires_grad_(False)
    linear.lora_A = nn.Parameter(torch.randn(linear.in_features, r, dtype=linear.weight.dtype))
    linear.lora_B = nn.Parameter(torch.zeros(r, linear.out_features, dtype=linear.weight.dtype))
    linear.register_forward_hook(
        lambda layer, inputs, output: output + alpha / r * inputs[0] @ layer.lora_A @ layer.lora_B
    )
    return linear


def lora_float32(linear, r, alpha):
    linear.requires_grad_(False)
    linear.lora_A = nn.Parameter(torch.randn(r, linear.in_features))
    linear.lora_B = nn.Parameter(torch.zeros(linear.out_features, r))
    linear.register_forward_hook(
        lambda layer, inputs, output: (
            output + alpha / r * inputs[0].float() @ layer.lora_A.T @ layer.lora_B.T
        )
    )
    return linear


def lora_seeded(linear, r, alpha):
    torch.manual_seed(0)
    return lora_with_hook(linear, r, alpha)


def lora_from(numbers):
    def answer(linear, r, alpha):
        made = lora_with_hook(linear, r, alpha)
        made.lora_A = nn.Parameter(numbers(r, linear.in_features).to(linear.weight))
        return made

    return answer


def lora_with_bias(linear, r, alpha):
    made = lora_with_hook(linear, r, alpha)
    if made.bias is None:
        made.bias = nn.Parameter(torch.zeros(made.out_features), requires_grad=False)
    return made


def lora_new_start(linear, r, alpha):
    linear.reset_parameters()
    return lora_with_hook(linear, r, alpha)


def lora_cut_out(linear, r, alpha):
    """randn_like(weight)[:r]: too few rows where r > out_features."""
    made = lora_with_hook(linear, r, alpha)
    made.lora_A = nn.Parameter(torch.randn_like(linear.weight)[:r])
    return made


def lora_like_weight(linear, r, alpha):
    made = lora_with_hook(linear, r, alpha)
    made.lora_A = nn.Parameter(torch.randn_like(linear.weight))
    return made


def lora_detached(linear, r, alpha):
    made = lora_with()(linear, r, alpha)
    made._forward_hooks.clear()
    made.register_forward_hook(
        lambda layer, inputs, output: (
            output + alpha / r * inputs[0] @ layer.lora_A.T.detach() @ layer.lora_B.T
        )
    )
    return made


def lora_merged(linear, r, alpha):
    """W + B A once, at the start."""
    made = lora_with()(linear, r, alpha)
    made._forward_hooks.clear()
    return made


def step_with(sign=1.0, loss=wrong_margin, mask=True, unit=None, after=None, base=1.0,
              rows=slice(None), at=1.0, length=None):  # fmt: skip
    """Answers to 10.4 with one mistake each."""

    def answer(model, batch, v, eps, step_size):
        free = (at * v).detach().clone().requires_grad_()
        own = margin(model, batch, free, mask, loss)[rows].mean()
        (grad,) = torch.autograd.grad(own, free)
        push = unit(grad) if unit else grad / grad.norm().clamp_min(1e-12)
        new = base * v + sign * (length(eps, step_size) if length else step_size) * push
        if after:
            return after(new, eps)
        return new * (eps / new.norm().clamp_min(eps))

    return answer


def entropies(logits, labels):
    return F.cross_entropy(logits, labels, reduction="none")


def step_project_first(model, batch, v, eps, step_size):
    v = v * (eps / v.norm().clamp_min(eps))
    return step_with(after=lambda new, eps: new)(model, batch, v, eps, step_size)


def step_nan(model, batch, v, eps, step_size):
    return step_with(unit=lambda g: g / g.norm())(model, batch, v, eps, step_size)


def step_backward(model, batch, v, eps, step_size):
    free = v.detach().clone().requires_grad_()
    margin(model, batch, free).mean().backward()
    new = v + step_size * free.grad / free.grad.norm().clamp_min(1e-12)
    return new * (eps / new.norm().clamp_min(eps))


def step_eval(model, batch, v, eps, step_size):
    model.eval()
    return step_by_hand(model, batch, v, eps, step_size)


def step_beside(before, after=lambda model, batch: None):
    """The right step, with something done to the model or the batch."""

    def answer(model, batch, v, eps, step_size):
        before(model, batch)
        new = step_by_hand(model, dict(batch), v, eps, step_size)
        after(model, batch)
        return new

    return answer


def one_other_class(logits, labels):
    other = (labels + 1) % logits.shape[1]
    return (logits.gather(1, other[:, None]) - logits.gather(1, labels[:, None]))[:, 0]


def step_in_place(model, batch, v, eps, step_size):
    v += step_by_hand(model, batch, v, eps, step_size) - v
    return v


def step_flags(model, batch, v, eps, step_size):
    v.requires_grad_()
    (grad,) = torch.autograd.grad(margin(model, batch, v).mean(), v)
    new = (v + step_size * grad / grad.norm().clamp_min(1e-12)).detach()
    return new * (eps / new.norm().clamp_min(eps))


def step_attached(model, batch, v, eps, step_size):
    return step_by_hand(model, batch, v, eps, step_size).requires_grad_()


def step_project_step(model, batch, v, eps, step_size):
    new = step_with(after=lambda new, eps: new)(model, batch, v, eps, step_size)
    step = new - v
    return v + step * (eps / step.norm().clamp_min(eps))


def step_from_delta(gather):
    """The gradient at every token, gathered wrongly."""

    def answer(model, batch, v, eps, step_size):
        free = attackable(batch)[..., None]
        delta = (v.detach() * free).requires_grad_()
        odds = wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).mean()
        (grad,) = torch.autograd.grad(odds, delta)
        grad = gather(grad, free)
        new = v + step_size * grad / grad.norm().clamp_min(1e-12)
        return new * (eps / new.norm().clamp_min(eps))

    return answer


def step_means(model, batch, v, eps, step_size):
    total = torch.zeros_like(v)
    for i in range(len(batch["labels"])):
        free = v.detach().clone().requires_grad_()
        (grad,) = torch.autograd.grad(margin(model, batch, free)[i], free)
        total += grad / grad.norm().clamp_min(1e-12)
    new = v + step_size * total / total.norm().clamp_min(1e-12)
    return new * (eps / new.norm().clamp_min(eps))


def scores(feasible, rest, nan=True, strict=False):
    """Answers to 10.5: what is given above the limit, what below it."""

    def answer(clean, robust, least):
        if nan and (math.isnan(clean) or math.isnan(robust)):
            return -1.0
        kept = clean > least if strict else clean >= least
        return feasible(clean, robust) if kept else rest(clean, robust, least)

    return answer


def own(clean, robust):
    return robust


WRONG = [
    ("10.1", loss_sum, "the sum"),
    ("10.1", lambda z, y: loss_sum(z, y) / len(y), "whole batch"),
    ("10.1", lambda z, y: F.cross_entropy(z, y, ignore_index=UNLABELLED), "nan"),
    ("10.1", lambda z, y: F.cross_entropy(z, y.clamp_min(0)), "class 0"),
    ("10.1", loss_in_place, "in place"),
    ("10.1", loss_new_zero, "backward"),
    ("10.1", loss_by_softmax, "not finite|log_softmax"),
    ("10.1", loss_clamped, "not as expected"),
    ("10.1", loss_each, "shape"),
    ("10.1", loss_first_only, "first labelled"),
    ("10.1", loss_above_zero, "class 0 is a class"),
    ("10.1", lambda z, y: -loss_by_ignoring(z, y), "sign"),
    ("10.1", lambda z, y: loss_by_ignoring(z.detach(), y), "backward"),
    ("10.1", lambda z, y: loss_by_ignoring(z, y).item(), "tensor"),
    ("10.1", lambda z, y: None, "return"),
    ("10.1", loss_with_flag, "requires_grad of `logits`"),
    ("10.1", loss_and_backward, "changes `logits.grad`"),
    ("10.1", loss_of_two_at_least, "the loss is not as expected"),
    ("10.1", lambda z, y: loss_by_ignoring(z, y)[None], r"shape \(1,\)"),
    ("10.1", lambda z, y: loss_by_ignoring(z.clamp(-50, 50), y), "the loss is not as expected"),
    ("10.2", replacement, "replacement"),
    ("10.2", each_by_itself, "drawn by itself"),
    ("10.2", all_together, "shuffled together"),
    ("10.2", shuffled_once, "anew"),
    ("10.2", runs_out, "ran out"),
    ("10.2", over_the_edge, "one pass"),
    ("10.2", mixed_with(never_shuffled), "nothing is shuffled|seeded inside"),
    ("10.2", mixed_with(lambda n, generator: torch.randperm(n)), "generator"),
    ("10.2", mixed_with(lambda n, generator: torch.randperm(
        n, generator=torch.Generator().manual_seed(0))), "seeded inside"),
    ("10.2", cut_first, "cut before"),
    ("10.2", rows_in_turn, "in turn, step by step: all"),
    ("10.2", lambda *given: rows_in_turn(*given, back=True), "pop"),
    ("10.2", unlabelled_first, "unlabelled list is drawn first"),
    ("10.2", from_the_end, "from the end"),
    ("10.2", one_more, "one shuffle too many"),
    ("10.2", later_passes(rest_first), "left over come first"),
    ("10.2", later_passes(lambda last, take, new: new() if last is None else last.roll(1)),
     "moved along|anew"),
    ("10.2", positions, "positions"),
    ("10.2", lambda a, b, k, u, s, g: rows_by_stream(a, b, u, k, s, g)
     if len(a) >= u else rows_by_stream(a, b, k, u, s, g)[:, [*range(k, k + u), *range(k)]],
     "come first|exchanged"),
    ("10.2", lambda a, b, k, u, s, g: rows_by_stream(a, b, k, u, s, g).flip(1), "come first"),
    ("10.2", lambda *given: rows_by_stream(*given).tolist(), "tensor"),
    ("10.2", lambda *given: rows_by_stream(*given)[:-1], "shape"),
    ("10.2", lambda *given: None, "return"),
    ("10.2", more_of_the_second, "one shuffle too many, of the unlabelled list"),
    ("10.2", rows_and_a_seed, "another source of random numbers"),
    ("10.2", rows_by_key, "every batch should have 4 labelled texts"),
    ("10.2", lambda *given: rows_by_stream(*given).float(), r"whole numbers \(torch.long\)\n  "),
    ("10.2", lambda *given: rows_by_stream(*given).sort(1).values, "first k columns|are fair"),
    ("10.3", lora_with(first=torch.zeros), "both zero"),
    ("10.3", lora_with(first=torch.zeros, second=torch.randn), "the other way round"),
    ("10.3", lora_with(second=torch.randn), "B must be zero"),
    ("10.3", lora_with(first=torch.ones), "random"),
    ("10.3", lora_with(factor=lambda alpha, r: 1.0), "alpha / r is missing"),
    ("10.3", lora_with(factor=lambda alpha, r: alpha), "without the division"),
    ("10.3", lora_with(factor=lambda alpha, r: r / alpha), "upside down"),
    ("10.3", lora_with(factor=lambda alpha, r: 1 / r), "alpha is missing"),
    ("10.3", lora_with(factor=lambda alpha, r: alpha // r), "rounds down"),
    ("10.3", lora_with(factor=lambda alpha, r: alpha / r**0.5), "sqrt"),
    ("10.3", lora_with(first=lambda *s, **d: 1e-12 * torch.randn(*s, **d)), "so small"),
    ("10.3", lora_seeded, "seeded inside"),
    ("10.3", lora_cut_out, "only out_features rows"),
    ("10.3", lora_like_weight, "A has r rows"),
    ("10.3", lora_with(freeze=lambda linear: linear), "frozen"),
    ("10.3", lora_with(freeze=lambda linear: linear.weight.requires_grad_(False)), "bias|frozen"),
    ("10.3", lora_with(base=0), "missing"),
    ("10.3", lora_with(base=2), "not as expected"),
    ("10.3", lora_with(low=-1), "subtracted"),
    ("10.3", lora_new_layer, "new layer"),
    ("10.3", lora_tensors, "Parameter"),
    ("10.3", lora_transposed, "transposed"),
    ("10.3", lora_float32, "dtype"),
    ("10.3", lora_detached, "no gradient reaches lora_A"),
    ("10.3", lora_merged, "not added"),
    ("10.3", lora_from(lambda *s: torch.from_numpy(np.random.default_rng().normal(size=s))),
     "PyTorch's own random numbers"),
    ("10.3", lora_from(lambda r, n: torch.randn(1, n).repeat(r, 1)), "equal rows"),
    ("10.3", lora_with_bias, "only new parameters"),
    ("10.3", lora_new_start, "linear.weight"),
    ("10.3", lambda linear, r, alpha: None, "None"),
    ("10.4", step_with(sign=-1.0), "descent"),
    ("10.4", step_with(after=lambda new, eps: new), "no projection"),
    ("10.4", step_with(after=lambda new, eps: eps * new / new.norm()), "surface"),
    ("10.4", step_with(after=lambda new, eps: new.clamp(-eps, eps)), "linf cube"),
    ("10.4", step_project_first, "no projection"),
    ("10.4", step_with(mask=False), "mask"),
    ("10.4", step_with(unit=lambda g: g), "not normalised"),
    ("10.4", step_with(unit=torch.sign), "sign"),
    ("10.4", step_with(loss=entropies), "cross-entropy"),
    ("10.4", step_with(rows=slice(0, 1)), "first text"),
    ("10.4", step_with(base=0.0), "only the step"),
    ("10.4", step_with(at=0.0), "asked at zero"),
    ("10.4", step_with(length=lambda eps, size: eps), "eps was taken"),
    ("10.4", step_means, "normalised before the mean"),
    ("10.4", step_project_step, "the step was projected"),
    ("10.4", step_from_delta(lambda grad, free: grad.sum((0, 1))), "special tokens, too: the mask"),
    ("10.4", step_from_delta(lambda grad, free: ((grad * free).sum(1) / free.sum(1)).sum(0)),
     "mean over the tokens"),
    ("10.4", step_nan, "0/0|not finite"),
    ("10.4", step_backward, "changes the .grad"),
    ("10.4", step_eval, "mode"),
    ("10.4", step_in_place, "in place"),
    ("10.4", step_flags, "requires_grad"),
    ("10.4", step_attached, "graph"),
    ("10.4", step_with(loss=one_other_class), "one of the other classes"),
    ("10.4", step_with(loss=lambda z, y: wrong_margin(z, y, hard=True)), "the new v is not as exp"),
    ("10.4", step_beside(lambda m, b: m.zero_grad()), r"zero_grad\(\) clears"),
    ("10.4", step_beside(lambda m, b: m.train()), "leaves the model in another mode"),
    ("10.4", step_beside(lambda m, b: m.eval(), lambda m, b: m.train()), "runs the model in"),
    ("10.4", step_beside(lambda m, b: b.pop("labels")), "takes 'labels' out"),
    ("10.4", step_beside(lambda m, b: None, lambda m, b: b.pop("labels")), "takes 'labels' out"),
    ("10.4", step_beside(lambda m, b: m.requires_grad_(False), lambda m, b: m.requires_grad_()),
     "changes requires_grad"),
    ("10.4", lambda m, b, v, e, s: v, "nothing moved"),
    ("10.4", lambda m, b, v, e, s: None, "return"),
    ("10.5", lambda c, r, least: r, "nan|ignored"),
    ("10.5", scores(own, lambda c, r, least: r), "ignored"),
    ("10.5", scores(own, lambda c, r, least: least - c), "wrong sign"),
    ("10.5", scores(own, lambda c, r, least: -1.0), "flat penalty"),
    ("10.5", scores(own, lambda c, r, least: 0.0), "0 for every"),
    ("10.5", scores(lambda c, r: c + r, lambda c, r, least: c + r), "sum"),
    ("10.5", scores(lambda c, r: (c + r) / 2, lambda c, r, least: c - least), "mean"),
    ("10.5", scores(lambda c, r: c * r, lambda c, r, least: c - least), "product"),
    ("10.5", scores(lambda c, r: c, lambda c, r, least: c - least), "clean accuracy alone"),
    ("10.5", scores(own, lambda c, r, least: r + c - least), "shortage"),
    ("10.5", scores(own, lambda c, r, least: c - least, nan=False), "nan"),
    ("10.5", scores(own, lambda c, r, least: c - least, strict=True), ">="),
    ("10.5", lambda c, r, least: score_by_cases(c + 0.01 if least - 0.01 <= c < least else c, r,
     least), "tolerance"),
    ("10.5", lambda c, r, least: round(score_by_cases(c, r, least), 2), "rounded"),
    ("10.5", lambda c, r, least: -math.inf if math.isnan(c + r) else score_by_cases(c, r, least),
     "-1.0 was asked for"),
    ("10.5", lambda c, r, least: None, "return"),
    ("10.5", lambda c, r, least: -1.0 if math.isnan(c) else r if c >= least else c - least,
     "`robust` can be nan"),
    ("10.5", lambda c, r, least: -1.0 if math.isnan(r) else r if c >= least else c - least,
     "`clean` can be nan"),
    ("10.5", lambda c, r, least: score_by_cases(c, r, least) if c and r else -1.0, "not as exp"),
    ("10.5", lambda c, r, least: torch.tensor(score_by_cases(c, r, least)), "number, not a Tens"),
]  # fmt: skip
