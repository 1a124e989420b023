"""Checks of lesson 09, stronger and cheaper.

The specification: FreeLB, Free and the virtual adversarial direction are plain loops over single
texts in double precision, without padding, that hand the model its embeddings and ask autograd for
every gradient by name; passes are counted with hooks. Histories of a training are judged by going
through all pairs of checks; a choice of a method by removing rows from a table one by one.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import plots
from advlib.attacks.embedding import attackable, divergence, perturbed_logits
from course.checking import Exercise, Wrong, compare, expect, small_bert, unchanged
from course.lesson_03.checks import fgm_step
from course.lesson_04.checks import project

UNLABELLED = -100
HIDDEN = 6

# ---------------------------------------------------------------- what the first three share


def _bert(seed: int, classes: int = 2, dropout: float = 0.0, lengths: Sequence[int] = (7, 5, 4)):
    """A BERT in training mode, and a batch of texts of these lengths."""
    labels = [i % classes for i in range(len(lengths))]
    model, batch = small_bert(seed, labels, lengths, classes=classes, dropout=dropout)
    return model.train(), batch


def _start(batch, length: float, seed: int) -> Tensor:
    """A random point of that length for each text, zero on padding and special tokens."""
    g = torch.Generator().manual_seed(seed)
    point = torch.randn(*batch["input_ids"].shape, HIDDEN, generator=g, dtype=torch.double)
    point = point * (batch["special_tokens_mask"] == 0)[..., None]
    return length * point / point.flatten(1).norm(dim=1)[:, None, None]


def _free_places(batch) -> list[Tensor]:
    lengths = batch["attention_mask"].sum(1).tolist()
    return [1.0 - row[:n, None].double()
            for row, n in zip(batch["special_tokens_mask"], lengths, strict=True)]  # fmt: skip


def _cut(batch, delta: Tensor) -> list[Tensor]:
    """The rows of delta without their padding."""
    lengths = batch["attention_mask"].sum(1).tolist()
    return [delta[i, :n].detach().double().clone() for i, n in enumerate(lengths)]


def _pad(batch, rows: list[Tensor]) -> Tensor:
    out = torch.zeros(*batch["input_ids"].shape, HIDDEN, dtype=torch.double)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _logits_of(model, batch, at: list[Tensor]) -> Tensor:
    """Logits (batch, classes), text by text, differentiable in the weights and in `at`."""
    table = model.get_input_embeddings().weight
    rows = []
    for i, push in enumerate(at):
        words = table[batch["input_ids"][i, : len(push)]]
        rows.append(model(inputs_embeds=(words + push)[None]).logits[0])
    return torch.stack(rows)


def _length(rows: list[Tensor]) -> Tensor:
    return torch.cat([row.flatten() for row in rows]).norm()


def _into(row: Tensor, eps: float) -> Tensor:
    size = row.norm()
    return row * eps / size if size > eps else row


def _moved(batch, at, grads, eps, step_size, *, sign=1.0, ball=True, mask=True, whole=False,
           scale=True) -> list[Tensor]:  # fmt: skip
    """One step of the ascent in the l2 ball of each text; the keywords are its mistakes."""
    if mask:
        grads = [g * m for g, m in zip(grads, _free_places(batch), strict=True)]
    much = _length(grads)
    sizes = [(much if whole else g.norm()) if scale else 1.0 for g in grads]
    at = [a + sign * step_size * g / s for a, g, s in zip(at, grads, sizes, strict=True)]
    return [_into(a, eps) for a in at] if ball else at


def _flat(tensors) -> Tensor:
    return torch.cat([t.detach().double().flatten() for t in tensors])


def _gradient(model) -> Tensor:
    """All `.grad` fields in one vector, zero where there is none."""
    return _flat(torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters())


@contextmanager
def _counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """Counts the passes: forward through the model, backward through its logits."""
    count = {"forward": 0, "backward": 0}

    def back(grad: Tensor) -> None:
        count["backward"] += 1

    def forth(module, args, output) -> None:
        count["forward"] += 1
        if output.logits.requires_grad:
            output.logits.register_hook(back)

    handle = model.register_forward_hook(forth)
    try:
        yield count
    finally:
        handle.remove()


def _two(result, given) -> tuple[Tensor, Tensor]:
    """(losses, delta), detached, or Wrong."""
    expect(result is not None, "the result is None: does the function return (losses, delta)?",
           given=given)  # fmt: skip
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, (losses, delta)", given=given,
           yours=repr(result)[:200])  # fmt: skip
    losses, delta = result
    if isinstance(losses, list | tuple):
        tensors = [torch.as_tensor(one) for one in losses]
        expect(tensors and all(t.numel() == 1 for t in tensors), "losses should hold one number "
               "for each point", given=given, yours=repr(losses)[:200])  # fmt: skip
        losses = torch.stack([t.reshape(()) for t in tensors])
    expect(isinstance(losses, Tensor), "losses should be a tensor of one number for each point",
           given=given, yours=repr(losses)[:200])  # fmt: skip
    expect(isinstance(delta, Tensor), "delta should be a tensor", given=given,
           yours=repr(delta)[:200])  # fmt: skip
    expect(not losses.requires_grad, "the losses are still tied to the graph: a list of them keeps "
           "all graphs alive", given=given, likely="missing detach")  # fmt: skip
    expect(not delta.requires_grad, "delta still asks for a gradient, or is tied to the graph",
           given=given, likely="missing detach")  # fmt: skip
    return losses.double(), delta.double()


def _left_alone(model, batch, copies, start, begin, given) -> None:
    expect(model.training, "the model's mode was changed and not put back", given=given,
           likely="model.eval() is not needed here: leave the mode as it is")  # fmt: skip
    expect(all(p.requires_grad for p in model.parameters()),
           "requires_grad of the parameters was changed", given=given)  # fmt: skip
    for name in batch:
        unchanged(batch[name], copies[name], f"batch[{name!r}]")
    unchanged(start, begin, "start")


def _same(a, b) -> bool:
    return (isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape
            and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-6))  # fmt: skip


def _names(found: dict[str, dict], part: str, right: dict) -> dict[str, Tensor]:
    """description -> the value of this part, for the mistakes that change it."""
    return {name: value[part] for name, value in found.items()
            if not _same(value[part], right[part])}  # fmt: skip


# ---------------------------------------------------------------- 09.1 FreeLB


def _plain_freelb(model, batch, eps, steps, step_size, start, *, weight=None, points=None, late=0,
                  fresh=True, walk=True, clean=False, piled=False, home=False,
                  radius=None, **move) -> dict[str, Tensor]:  # fmt: skip
    """The specification; the keywords are its mistakes.

    weight: of each point's loss, 1/K. points: which points count for the weights. late: moves made
    before the first gradient is gathered. piled: the slopes of all points so far are added up.
    home: every step goes from the start. Returns losses, delta, grad.
    """
    weight = 1 / steps if weight is None else weight
    parameters = list(model.parameters())
    at = _cut(batch, torch.zeros_like(start) if clean else start)
    losses, total, first = [], torch.zeros_like(_flat(parameters)), None
    begin, pile = at, [torch.zeros_like(a) for a in at]
    for t in range(steps + late):
        here = [a.clone().requires_grad_() for a in at]
        loss = F.cross_entropy(_logits_of(model, batch, here), batch["labels"])
        found = torch.autograd.grad(loss, [*here, *parameters], allow_unused=True)
        slopes = found[: len(here)]
        of_weights = [torch.zeros_like(p) if g is None else g
                      for p, g in zip(parameters, found[len(here) :], strict=True)]  # fmt: skip
        if t >= late:
            losses.append(loss.detach())
            if points is None or (t - late) in points:
                total = total + weight * _flat(of_weights)
        first = first or slopes
        pile = [a + b for a, b in zip(pile, slopes, strict=True)]
        at = [h.detach() for h in here]
        last = t == steps + late - 1
        if walk and not last:
            push = (pile if piled else slopes) if fresh else first
            at = _moved(batch, begin if home else at, push, radius or eps, step_size, **move)
    return {"losses": torch.stack(losses), "delta": _pad(batch, at), "grad": total}


def _freelb_mistakes(model, batch, eps, steps, step_size, start) -> dict[str, dict[str, Tensor]]:
    args = (model, batch, eps, steps, step_size, start)
    last = (steps - 1,)
    changes = {
        "the gradients of the points are added up but not divided by K: with K points the step is "
        "K times too long": dict(weight=1.0),
        "only the last point counts for the weights, as in Madry's training; FreeLB gathers all K":
            dict(points=last, weight=1.0),
        "only the last point counts for the weights, and that is divided by K": dict(points=last),
        "the last point is left out: its loss counts as well": dict(points=tuple(range(steps - 1))),
        "the first point is left out: its loss counts as well": dict(points=tuple(range(1, steps))),
        "the last point counts by its delta alone": dict(points=()),
        "delta moves before its first gradient is gathered: the first point is `start` itself":
            dict(late=1),
        "start is not used: this begins at delta = 0": dict(clean=True),
        "delta stays where it was: no point is another one": dict(walk=False),
        "descent: this lowers the loss, the attacker climbs": dict(sign=-1.0),
        "no projection: delta leaves the ball": dict(ball=False),
        "no mask: padding and special tokens move too": dict(mask=False),
        "one norm for the whole batch: each text has a step of its own": dict(whole=True),
        "the gradient is not normalised: its length is no guide to the step": dict(scale=False),
        "the gradient is not normalised, and divided by K besides: its length is no guide":
            dict(scale=False, step_size=step_size / steps),
        "the gradient of the first point is used for every step": dict(fresh=False),
        "delta.grad holds the sum of all points so far: one leaf for the whole walk accumulates; "
        "make a fresh one at each point": dict(piled=True),
        "every step goes from `start`; it goes from the point where you are": dict(home=True),
        "the projection is into a ball of radius step_size; its radius is eps":
            dict(radius=step_size),
        "the loss is summed over the texts, not their mean": dict(
            weight=len(batch["labels"]) / steps),
        "the loss is summed over the texts, not their mean, and not divided by K": dict(
            weight=len(batch["labels"])),
        "delta makes no step, but the losses of K dropout masks would be gathered": dict(
            step_size=0.0),
        "the step has the length eps, not step_size": dict(step_size=eps),
    }  # fmt: skip
    moved = _plain_freelb(model, batch, eps, steps + 1, step_size, start, weight=1 / steps,
                          points=tuple(range(steps)))  # fmt: skip
    moved["losses"] = moved["losses"][:steps]
    found = {"the last move is made: return the last point that the weights were trained on": moved}
    for name, change in changes.items():
        change = dict(change)
        size = change.pop("step_size", step_size)
        found[name] = _plain_freelb(*args[:4], size, start, **change)
    found["one point too many: K points, K − 1 moves"] = _plain_freelb(
        model, batch, eps, steps + 1, step_size, start)  # fmt: skip
    return found


def check_freelb(answer) -> None:
    for seed, classes, lengths, eps, steps, step_size, size in (
        (910, 2, (7, 5, 4, 6), 0.7, 3, 0.5, 0.3),  # four texts, three points
        (911, 3, (5, 8), 1.1, 4, 0.6, 1.1),
        (912, 2, (4,), 0.5, 1, 0.4, 0.2),
    ):
        model, batch = _bert(seed, classes, lengths=lengths)
        _one_freelb(answer, model, batch, eps, steps, step_size, _start(batch, size, seed))
    _with_dropout(answer)


def _one_freelb(answer, model, batch, eps, steps, step_size, start) -> None:
    given = dict(eps=eps, steps=steps, step_size=step_size, start=start)
    right = _plain_freelb(model, batch, eps, steps, step_size, start)
    copies, begin = {k: v.clone() for k, v in batch.items()}, start.clone()
    before = [p.detach().clone() for p in model.parameters()]
    g = torch.Generator().manual_seed(7)
    for p in model.parameters():  # an accumulated gradient of an earlier batch
        p.grad = 0.01 * torch.randn(p.shape, generator=g, dtype=torch.double)
    old = _gradient(model)
    with _counted(model) as count:
        result = answer(model, copies, eps, steps, step_size, begin)
    new = _gradient(model)
    losses, delta = _two(result, given)
    _left_alone(model, batch, copies, start, begin, given)
    for p, was in zip(model.parameters(), before, strict=True):
        expect(
            torch.equal(p, was),
            "the weights were changed: that is the optimizer's part, after your function",
            given=given,
            likely="an optimizer step, or p -= … inside",
        )
    near = dict(atol=1e-6, rtol=1e-4)
    yours = {"losses": losses, "delta": delta, "grad": new - old}
    fine = all(yours[k].shape == v.shape and torch.allclose(yours[k], v, **near)
               for k, v in right.items())  # fmt: skip
    found = {} if fine else _freelb_mistakes(model, batch, eps, steps, step_size, start)
    fits = losses.shape == right["losses"].shape
    sums = {"the losses are divided by K: return them as they are": right["losses"] / steps,
            "the losses are summed over the texts, not their mean":
                right["losses"] * len(batch["labels"])}  # fmt: skip
    sums = {k: v for k, v in sums.items() if not _same(v, right["losses"])}
    names = _names(found, "losses", right)
    if not fits or not torch.allclose(losses, right["losses"], **near):
        compare(losses, right["losses"], given=given, what="losses", mistakes={**sums, **names},
                **near)  # fmt: skip
    compare(delta, right["delta"], given=given, what="delta",
            mistakes=_names(found, "delta", right), **near)  # fmt: skip
    mine, wanted = new - old, right["grad"]
    details = dict(given=given, yours=mine, expected=wanted)
    expect(mine.abs().max() > 0, "no gradient reached the weights' .grad", **details,
           likely="torch.autograd.grad gives gradients back and leaves none in .grad; "
                  "loss.backward() does")  # fmt: skip
    if _same(new, wanted) and not _same(mine, wanted):
        raise Wrong("the gradient that lay in .grad before is gone: add to it, the caller clears "
                    "it", **details, likely="model.zero_grad() inside")  # fmt: skip
    if not torch.allclose(mine, wanted, **near):
        named = {k: v["grad"] for k, v in found.items() if not _same(v["grad"], wanted)}
        cleared = next((k for k, v in named.items() if _same(new, v)), None)
        compare(mine, wanted, given=given, what="the gradient that was added to the weights' .grad",
                mistakes={**({cleared: mine} if cleared else {}), **named}, **near)  # fmt: skip
    expect(count["forward"] == steps, f"{count['forward']} forward passes for {steps} points: one "
           "for each is enough", given=given,
           likely="the gradient of delta and that of the weights come from one pass")  # fmt: skip
    expect(count["backward"] == steps, f"{count['backward']} backward passes for {steps} points: "
           "one loss.backward() gives both gradients", given=given,
           likely="a pass of its own for delta: where delta.requires_grad, its gradient lies in "
                  "delta.grad after loss.backward()")  # fmt: skip


def _with_dropout(answer) -> None:
    """Dropout stays on, and the random state is used as any training pass uses it."""
    model, batch = _bert(913, dropout=0.4, lengths=(8, 7, 8, 6))
    start = _start(batch, 0.2, 913)
    seen = []
    with torch.random.fork_rng([]):
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            model.zero_grad()
            seen.append(_two(answer(model, dict(batch), 0.5, 2, 0.2, start.clone()), {})[0])
    given = {"the model has": "dropout, in training mode"}
    expect(not torch.equal(seen[0], seen[2]), "with dropout, two calls gave the same losses to the "
           "last digit: the network was not in training mode", given=given,
           likely="model.eval() inside: leave the mode as it is")  # fmt: skip
    expect(torch.equal(seen[0], seen[1]), "two calls after the same torch.manual_seed differ",
           given=given, likely="a random number from elsewhere")  # fmt: skip


# ---------------------------------------------------------------- 09.2 the virtual direction


def _plain_virtual(model, batch, eps, xi, steps, start, *, sign=1.0, mask=True, whole=False,
                   reverse=False, add=False, again=False, at_one=None, stay=False,
                   labels=False, squash=False, beyond=None, end=1.0) -> Tensor:  # fmt: skip
    """The specification, text by text; the keywords are its mistakes."""
    begin = _cut(batch, start)
    with torch.no_grad():
        clean = _logits_of(model, batch, [torch.zeros_like(b) for b in begin])
    ahead, size = begin, xi * eps if at_one is None else at_one
    for _ in range(steps):
        points = [(size * d).requires_grad_() for d in (begin if again else ahead)]
        moved = _logits_of(model, batch, points)
        p, q = (moved, clean) if reverse else (clean, moved)
        if squash:
            p, q = p.softmax(1), q.softmax(1)
        if labels:
            loss = F.cross_entropy(moved, clean.argmax(1), reduction="sum")
        else:
            p, q = p.log_softmax(1), q.log_softmax(1)
            loss = (p.exp() * (p - q)).sum()
        grads = list(torch.autograd.grad(loss, points))
        if mask:
            grads = [g * m for g, m in zip(grads, _free_places(batch), strict=True)]
        much = _length(grads)
        grads = [sign * g / (much if whole else g.norm()) for g in grads]
        if add:
            grads = [d + g for d, g in zip(ahead, grads, strict=True)]
            grads = [g / g.norm() for g in grads]
        behind, ahead = ahead, grads
    if beyond:  # the point of the search is added to the result
        base = begin if beyond == "start" else behind
        ends = [xi * eps * b + eps * d for b, d in zip(base, ahead, strict=True)]
        return _pad(batch, ends if beyond == "out" else [_into(e, eps) for e in ends])
    return _pad(batch, [end * eps * d for d in (begin if stay else ahead)])


def check_virtual(answer) -> None:
    for seed, classes, lengths, eps, xi, steps in (
        (920, 3, (7, 5, 4), 0.8, 0.5, 1),
        (921, 4, (5, 8), 1.2, 0.3, 3),
        (922, 2, (4, 6), 0.5, 0.6, 2),
    ):
        model, batch = _bert(seed, classes, lengths=lengths)
        batch["labels"] = torch.full_like(batch["labels"], UNLABELLED)
        _one_virtual(answer, model, batch, eps, xi, steps, _start(batch, 1.0, seed))
    _passes_with_dropout(answer)


def _passes_with_dropout(answer) -> None:
    """Another clean pass would be another dropout mask, so another reference in every round."""
    model, batch = _bert(923, 3, dropout=0.3, lengths=(6, 5, 8))
    batch["labels"] = torch.full_like(batch["labels"], UNLABELLED)
    with torch.random.fork_rng([]), _counted(model) as count:
        torch.manual_seed(0)
        answer(model, dict(batch), 0.8, 0.3, 3, _start(batch, 1.0, 923))
    _expect_passes(count, 3, {"the model has": "dropout, in training mode", "steps": 3})


def _expect_passes(count, steps, given) -> None:
    expect(count["forward"] <= steps + 1, f"{count['forward']} forward passes for {steps} steps: "
           f"one for the clean prediction and one a step make {steps + 1}", given=given,
           likely="the clean prediction is computed anew in every round; take it once, before the "
                  "loop")  # fmt: skip


def _one_virtual(answer, model, batch, eps, xi, steps, start) -> None:
    given = dict(eps=eps, xi=xi, steps=steps, start=start)
    copies, begin = {k: v.clone() for k, v in batch.items()}, start.clone()
    with _counted(model) as count:
        delta = answer(model, copies, eps, xi, steps, begin)
    _left_alone(model, batch, copies, start, begin, given)
    left = [n for n, p in model.named_parameters() if p.grad is not None]
    expect(not left, f"gradients were left in {len(left)} parameters (.grad): the next training "
           "step would add them to its own", given=given,
           likely="loss.backward(); torch.autograd.grad with respect to the perturbation leaves "
                  "none")  # fmt: skip
    if isinstance(delta, Tensor):
        expect(not delta.requires_grad, "delta is still tied to the graph", given=given,
               likely="missing detach")  # fmt: skip
        bad = not delta.isfinite().all()
        if bad or not delta.any():
            known = {**batch, "labels": torch.zeros_like(batch["labels"])}
            again = answer(model, known, eps, xi, steps, start.clone())
            likely = (
                "did you use the labels? They are −100 here: this direction needs no label"
                if again.isfinite().all() and again.any()
                else "the divergence is flat where delta = 0, its gradient there is zero: begin "
                "at xi · eps · start; or the reference was computed at the same point"
            )
            raise Wrong("delta has values that are not finite" if bad else
                        "delta is zero everywhere", given=given, yours=delta,
                        likely=likely)  # fmt: skip
    args = (model, batch, eps, xi, steps, start)
    right = _plain_virtual(*args)
    changes = {
        "the start came back at length eps: no gradient was used": dict(stay=True),
        "the wrong sign: this moves the prediction back to where it was": dict(sign=-1.0),
        "no mask: padding and special tokens move too": dict(mask=False),
        "one norm for the whole batch: each text has a direction of its own": dict(whole=True),
        "the divergence the other way round: KL(f(x) ‖ f(x + δ)) has the clean prediction first":
            dict(reverse=True),
        "the direction is added to the one before; a power iteration puts it in its place":
            dict(add=True),
        "only one round counts: `steps` is not used, or every round begins at `start`; the next "
        "one begins at the direction found": dict(again=True),
        "the gradient is taken at size eps; it belongs at xi · eps": dict(at_one=eps),
        "the gradient is taken at size xi; it belongs at xi · eps": dict(at_one=xi),
        "the gradient is taken at size 1, xi and eps are forgotten": dict(at_one=1.0),
        "this climbs the cross-entropy of the predicted class (FGM), not the divergence":
            dict(labels=True),
        "the result has size xi · eps: only the points of the search are so near":
            dict(end=xi),
        "the result has size 1: eps is forgotten": dict(end=1 / eps),
        "probabilities went into `divergence`; it takes logits": dict(squash=True),
        "the point of the search was added to the result; return eps · d alone":
            dict(beyond="start"),
        "the last point of the search was added to the result; return eps · d alone":
            dict(beyond="last"),
        "the last point of the search was added to the result, which is longer than eps; return "
        "eps · d alone": dict(beyond="out"),
    }  # fmt: skip
    if isinstance(delta, Tensor) and delta.shape == right.shape:
        if torch.allclose(delta.double(), right, atol=1e-5, rtol=1e-3):
            _expect_passes(count, steps, given)
            return
    found = {name: _plain_virtual(*args, **change) for name, change in changes.items()}
    found["one round too many"] = _plain_virtual(*args[:4], steps + 1, start)
    mistakes = {k: v for k, v in found.items() if not _same(v, right)}
    if isinstance(delta, Tensor) and delta.shape == right.shape:
        named = any(_same(delta, value) for value in mistakes.values())
        if not named and _own_start(answer, model, batch, eps, xi, steps, start):
            mistakes["`start` is not used: this begins at a random direction of its own"] = delta
    compare(delta, right, given=given, what="delta", atol=1e-5, rtol=1e-3, mistakes=mistakes)


def _own_start(answer, model, batch, eps, xi, steps, start) -> bool:
    """Whether another random state changes the result, or another start does not."""
    found = []
    with torch.random.fork_rng([]):
        for seed, begin in ((0, start), (1, start), (0, start.flip(-1))):
            torch.manual_seed(seed)
            found.append(answer(model, dict(batch), eps, xi, steps, begin.clone()))
    return not torch.equal(found[0], found[1]) or torch.equal(found[0], found[2])


# ---------------------------------------------------------------- 09.3 Free


def _plain_free(model, batch, optimizer, eps, step_size, replays, start, *, clear=True,
                stale=True, opt_every=True, last=False, weight=1.0, walk=True, piled=False,
                home=False, idle=False, ahead=False, **move) -> dict[str, Tensor]:  # fmt: skip
    """The specification, on a copy of the model; the keywords are its mistakes."""
    model = copy.deepcopy(model)
    optimizer = optimizer(model.parameters())
    parameters = list(model.parameters())
    at, losses = _cut(batch, start), []
    begin, pile = at, [torch.zeros_like(a) for a in at]

    def slopes_at(points) -> Sequence[Tensor]:
        points = [a.clone().requires_grad_() for a in points]
        loss = F.cross_entropy(_logits_of(model, batch, points), batch["labels"])
        return torch.autograd.grad(loss, points)

    for t in range(replays):
        if ahead:  # an attack before every training pass
            at = _moved(batch, at, slopes_at(at), eps, step_size, **move)
        here = [a.clone().requires_grad_() for a in at]
        loss = F.cross_entropy(_logits_of(model, batch, here), batch["labels"])
        found = torch.autograd.grad(loss, [*here, *parameters], allow_unused=True)
        slopes, losses = found[: len(here)], [*losses, loss.detach()]
        for p, g in zip(parameters, found[len(here) :], strict=True):
            g = torch.zeros_like(p) if g is None else weight * g
            p.grad = g if clear or p.grad is None else p.grad + g
        if (opt_every or t == replays - 1) and not (idle and t == replays - 1):
            optimizer.step()
        pile = [a + b for a, b in zip(pile, slopes, strict=True)]
        at = [h.detach() for h in here]
        if walk and not ahead and (last or t < replays - 1):
            if not stale:  # a second pass, through the new weights
                slopes = slopes_at(at)
            push = pile if piled else slopes
            at = _moved(batch, begin if home else at, push, eps, step_size, **move)
    return {"losses": torch.stack(losses), "delta": _pad(batch, at), "weights": _flat(parameters)}


_FREE_MISTAKES = {
    "delta is `start` in every replay: it is never moved, or begins there again; it is kept from "
    "one replay to the next": dict(walk=False),
    "the gradients of earlier replays are still in .grad: clear them before each backward pass":
        dict(clear=False),
    "one optimizer step after all replays: that is FreeLB; Free makes one in every replay":
        dict(opt_every=False, clear=False),
    "one optimizer step after all replays, with the last gradient alone": dict(opt_every=False),
    "the weights' gradient is divided by the number of replays: each replay is a step of its own":
        dict(weight=-1.0),
    "delta's gradient is taken after the optimizer's step, by a pass of its own; both gradients "
    "come from one backward pass": dict(stale=False),
    "the last move is made: return the last point that the weights were trained on":
        dict(last=True),
    "every step goes from `start`; it goes from the point where you are": dict(home=True),
    "no optimizer step in the last replay: there is one in each": dict(idle=True),
    "delta is moved first and the weights are trained by a second pass; both gradients come from "
    "one backward pass, and the first point is `start`": dict(ahead=True),
    "delta.grad holds the sum of all replays so far: one leaf for all of them accumulates; make a "
    "fresh one in each": dict(piled=True),
    "descent: this lowers the loss, the attacker climbs": dict(sign=-1.0),
    "no projection: delta leaves the ball": dict(ball=False),
    "no mask: padding and special tokens move too": dict(mask=False),
    "one norm for the whole batch: each text has a step of its own": dict(whole=True),
    "the gradient is not normalised: its length is no guide to the step": dict(scale=False),
}  # fmt: skip


def _free_mistakes(model, batch, make, eps, step_size, replays, start, rest) -> dict[str, dict]:
    args = (model, batch, make, eps, step_size, replays, start)
    old = (model, rest, batch, make, eps, step_size, replays, start)
    found = {_OLD: _with_old_gradient(*old, True), _NEVER: _with_old_gradient(*old, False)}
    for name, change in _FREE_MISTAKES.items():
        change = {**change, "weight": 1 / replays} if "weight" in change else change
        found[name] = _plain_free(*args, **change)
    nowhere = torch.zeros_like(start)
    found["start is not used: this begins at delta = 0"] = _plain_free(*args[:-1], nowhere)
    found["the step has the length eps, not step_size"] = _plain_free(
        model, batch, make, eps, eps, replays, start)  # fmt: skip
    return found


def check_free(answer) -> None:
    for seed, classes, lengths, eps, step_size, replays, size, momentum in (
        (930, 2, (7, 5, 4), 0.7, 0.5, 3, 0.3, 0.0),
        (931, 3, (5, 8), 1.1, 0.6, 4, 0.5, 0.9),
        (932, 2, (6, 4), 0.9, 0.4, 1, 0.4, 0.0),
    ):
        model, batch = _bert(seed, classes, lengths=lengths)
        make = functools.partial(torch.optim.SGD, lr=0.05, momentum=momentum)
        start = _start(batch, size, seed)
        _one_free(answer, model, batch, make, eps, step_size, replays, start)


def _one_free(answer, model, batch, make, eps, step_size, replays, start) -> None:
    given = dict(eps=eps, step_size=step_size, replays=replays, start=start)
    args = (model, batch, make, eps, step_size, replays, start)
    right = _plain_free(*args)
    copies, begin = {k: v.clone() for k, v in batch.items()}, start.clone()
    pupil = copy.deepcopy(model)
    g = torch.Generator().manual_seed(9)
    rest = [torch.randn(p.shape, generator=g, dtype=torch.double) for p in pupil.parameters()]
    for p, old in zip(pupil.parameters(), rest, strict=True):
        p.grad = old.clone()  # of an earlier batch: it must not count here
    optimizer, steps = make(pupil.parameters()), []
    own = optimizer.step
    optimizer.step = lambda *a, **k: (steps.append(1), own(*a, **k))[1]
    with _counted(pupil) as count:
        result = answer(pupil, copies, optimizer, eps, step_size, replays, begin)
    losses, delta = _two(result, given)
    _left_alone(pupil, batch, copies, start, begin, given)
    near = dict(atol=1e-6, rtol=1e-4)
    expect(steps, "the optimizer made no step: the weights are as they were", given=given,
           likely="optimizer.step() in every replay, after the backward pass")  # fmt: skip
    yours = {"losses": losses, "delta": delta, "weights": _flat(pupil.parameters())}
    fine = all(yours[k].shape == v.shape and torch.allclose(yours[k], v, **near)
               for k, v in right.items())  # fmt: skip
    found = {} if fine else _free_mistakes(*args, rest)
    for part, what in (("losses", "losses"), ("delta", "delta"), ("weights", "the weights")):
        named = _names(found, part, right)
        if part == "losses" and replays > 1:
            named["the recorded loss is divided by the number of replays: return it as it is"] = (
                right["losses"] / replays)  # fmt: skip
            size = len(batch["labels"])
            named["the losses are summed over the texts, not their mean"] = right["losses"] * size
        compare(yours[part], right[part], given=given, what=what, mistakes=named, **near)
    expect(len(steps) == replays, f"{len(steps)} optimizer steps in {replays} replays: one in each",
           given=given)  # fmt: skip
    expect(count["forward"] == replays, f"{count['forward']} forward passes in {replays} replays: "
           "one in each is enough", given=given,
           likely="the gradient of delta and that of the weights come from one pass")  # fmt: skip
    expect(count["backward"] == replays, f"{count['backward']} backward passes in {replays} "
           "replays: one in each gives both gradients", given=given,
           likely="a pass of its own for delta; its gradient lies in delta.grad after "
                  "loss.backward()")  # fmt: skip


_OLD = ("what lay in .grad before the call was used: clear it before the first backward pass as "
        "well, optimizer.zero_grad() at the beginning of each replay")  # fmt: skip


_NEVER = "the gradients are never cleared: what lies in .grad is added to every replay's own"


def _with_old_gradient(
    model, rest, batch, make, eps, step_size, replays, start, clear
) -> dict[str, Tensor]:
    """What comes out where .grad is cleared after each step only, or never: the first step sees
    the rest of an earlier batch."""
    model = copy.deepcopy(model)
    for p, old in zip(model.parameters(), rest, strict=True):
        p.grad = old.clone()
    optimizer, at, losses = make(model.parameters()), _cut(batch, start), []
    for t in range(replays):
        here = [a.clone().requires_grad_() for a in at]
        loss = F.cross_entropy(_logits_of(model, batch, here), batch["labels"])
        loss.backward()
        losses.append(loss.detach())
        optimizer.step()
        if clear:
            optimizer.zero_grad()
        at = [h.detach() for h in here]
        if t < replays - 1:
            at = _moved(batch, at, [h.grad for h in here], eps, step_size)
    return {"losses": torch.stack(losses), "delta": _pad(batch, at),
            "weights": _flat(model.parameters())}  # fmt: skip


# ---------------------------------------------------------------- 09.4 catastrophic over-fitting


def _collapse(fgm, pgd, drop) -> tuple[int, int] | None:
    """By going through all pairs of checks."""
    for k in range(len(pgd)):
        before = sorted(range(k), key=lambda j: (-pgd[j], j))
        if before:
            best = before[0]
            if pgd[best] - pgd[k] > drop and fgm[best] - fgm[k] <= drop:
                return k, best
    return None


def _all_fall(fgm, pgd, drop):
    return next(((k, max(range(k), key=pgd.__getitem__)) for k in range(1, len(pgd))
                 if max(pgd[:k]) - pgd[k] > drop), None)  # fmt: skip


def _from_one_to_next(fgm, pgd, drop):
    return next(((k, k - 1) for k in range(1, len(pgd)) if pgd[k - 1] - pgd[k] > drop
                 and fgm[k - 1] - fgm[k] <= drop), None)  # fmt: skip


def _wide_gap(fgm, pgd, drop):
    wide = (k for k in range(1, len(pgd)) if fgm[k] - pgd[k] > drop)
    return next(((k, pgd.index(max(pgd[:k]))) for k in wide), None)


def _only_at_the_end(fgm, pgd, drop):
    k = len(pgd) - 1
    best = max(range(k), key=pgd.__getitem__) if k > 0 else 0
    falls = k > 0 and pgd[best] - pgd[k] > drop and fgm[best] - fgm[k] <= drop
    return (k, best) if falls else None


def _last_one(fgm, pgd, drop):
    found = [k for k in range(1, len(pgd)) if max(pgd[:k]) - pgd[k] > drop
             and fgm[pgd.index(max(pgd[:k]))] - fgm[k] <= drop]  # fmt: skip
    return (found[-1], pgd.index(max(pgd[: found[-1]]))) if found else None


def _knows_the_future(fgm, pgd, drop):
    best = pgd.index(max(pgd)) if pgd else 0
    fallen = (k for k in range(1, len(pgd)) if pgd[best] - pgd[k] > drop)
    return next(((k, best) for k in fallen if fgm[best] - fgm[k] <= drop), None)


def _against_best_fgm(fgm, pgd, drop):
    return next(
        (
            (k, pgd.index(max(pgd[:k])))
            for k in range(1, len(pgd))
            if max(pgd[:k]) - pgd[k] > drop and max(fgm[:k]) - fgm[k] <= drop
        ),
        None,
    )


def _swapped(fgm, pgd, drop):
    return _collapse(pgd, fgm, drop)


def _to_zero(fgm, pgd, drop):
    return next(((k, pgd.index(max(pgd[:k]))) for k in range(1, len(pgd)) if pgd[k] < 0.05
                 and fgm[pgd.index(max(pgd[:k]))] - fgm[k] <= drop), None)  # fmt: skip


def _shares(fgm, pgd, drop):
    return next(((k, pgd.index(max(pgd[:k]))) for k in range(1, len(pgd))
                 if pgd[k] < (1 - drop) * max(pgd[:k])
                 and fgm[pgd.index(max(pgd[:k]))] - fgm[k] <= drop), None)  # fmt: skip


def _best_fgm_kept(fgm, pgd, drop):
    found = _collapse(fgm, pgd, drop)
    return found and (found[0], fgm.index(max(fgm[: found[0]])))


def _rule(fgm, pgd, drop, *, falls=None, holds=None, top="pgd", end=False):
    """The first k that fits the two conditions, functions of (list, k, best, drop)."""
    falls = falls or (lambda pgd, k, best, drop: pgd[best] - pgd[k] > drop)
    holds = holds or (lambda fgm, k, best, drop: fgm[best] - fgm[k] <= drop)
    for k in range(1, len(pgd)):
        best = max(range(k), key=(pgd if top == "pgd" else fgm).__getitem__)
        if falls(pgd, k, best, drop):
            if holds(fgm, k, best, drop):
                return k, best
            if end:
                return None
    return None


def _reaches(x, k, best, drop):
    return x[best] - x[k] >= drop


def _below(x, k, best, drop):
    return x[best] - x[k] < drop


_RULE_MISTAKES = {
    "`drop` is not used: 0.2 is only its default": lambda f, p, drop: _rule(f, p, 0.2),
    "PGD accuracy that has fallen by exactly `drop` counts here; it must be more":
        functools.partial(_rule, falls=_reaches),
    "FGM accuracy that has fallen by exactly `drop` has not fallen by more: such a check is a fall":
        functools.partial(_rule, holds=_below),
    "both ties are wrong: a fall by exactly `drop` is not more than `drop`": functools.partial(
        _rule, falls=_reaches, holds=_below),
    "FGM accuracy may fall a little, up to `drop`; here it must not fall at all": functools.partial(
        _rule, holds=lambda x, k, best, drop: x[best] - x[k] <= 0),
    "FGM accuracy must have risen here; it is enough that it has not fallen by more than `drop`":
        functools.partial(_rule, holds=lambda x, k, best, drop: x[best] - x[k] < 0),
    "FGM is compared with the check just before k; compare it with `best`": functools.partial(
        _rule, holds=lambda x, k, best, drop: x[k - 1] - x[k] <= drop),
    "the absolute change of FGM is looked at; it may rise as far as it likes": functools.partial(
        _rule, holds=lambda x, k, best, drop: abs(x[best] - x[k]) <= drop),
    "`best` is the check with the best FGM accuracy; it is the one with the largest PGD accuracy":
        functools.partial(_rule, top="fgm"),
    "this gives up where both fall; later checks can still be the fall": functools.partial(
        _rule, end=True),
}  # fmt: skip

_COLLAPSE_MISTAKES = {
    **_RULE_MISTAKES,
    "the accuracies changed places: it is PGD's that falls while FGM's holds": _swapped,
    "FGM's accuracy is not looked at: where both fall, training as a whole has broken down":
        _all_fall,
    "each check is compared with the one before it: compare with the best before, a slow slide is "
    "a fall too": _from_one_to_next,
    "the gap between FGM and PGD: a harmless gap is there from the beginning; it is PGD's own fall "
    "that counts": _wide_gap,
    "only the last check is looked at: training may have recovered, or could have stopped long ago":
        _only_at_the_end,
    "the last check that fits, not the first: training could have stopped long ago": _last_one,
    "the best of the whole history was used, also from checks that come later; at check k only "
    "those before it are known": _knows_the_future,
    "FGM is compared with its own best check; compare it with what it was at the check `keep`":
        _against_best_fgm,
    "only an accuracy near zero counts: the rule is a fall by more than `drop`": _to_zero,
    "`drop` is used as a share of the best; it is a difference of accuracies": _shares,
    "keep is the check with the best FGM accuracy; what is worth keeping is robust under PGD":
        _best_fgm_kept,
}  # fmt: skip


def _histories() -> list[tuple[list[float], list[float], float]]:
    """(fgm, pgd, drop). Ties are exact (quarters), else no difference is within 0.004 of drop."""
    fixed = [
        ([0.62, 0.75, 0.81, 0.97, 0.99], [0.48, 0.57, 0.61, 0.12, 0.01], 0.2),  # the classic
        ([0.70, 0.75, 0.78, 0.80], [0.66, 0.69, 0.71, 0.72], 0.2),  # all is well
        ([0.70, 0.82, 0.51, 0.50], [0.60, 0.71, 0.41, 0.40], 0.2),  # both fall
        ([0.70, 0.74, 0.80, 0.86, 0.92, 0.95], [0.66, 0.60, 0.53, 0.45, 0.38, 0.30], 0.2),  # slides
        ([0.80, 0.85, 0.97, 0.84, 0.86], [0.61, 0.64, 0.21, 0.66, 0.68], 0.2),  # recovers
        ([0.95, 0.93, 0.94], [0.35, 0.42, 0.44], 0.3),  # a wide gap from the beginning
        ([0.99], [0.02], 0.2),  # one check says nothing
        ([0.90, 0.80, 0.83, 0.82, 0.99], [0.50, 0.60, 0.58, 0.31, 0.05], 0.25),
        ([0.95, 0.60, 0.70, 0.72], [0.30, 0.55, 0.54, 0.18], 0.15),  # FGM was higher earlier
        ([0.66, 0.70, 0.69, 0.95], [0.52, 0.52, 0.50, 0.20], 0.2),  # two bests: the first
        ([0.64, 0.72, 0.75, 0.80], [0.30, 0.36, 0.28, 0.27], 0.2),  # a small fall
        ([], [], 0.2),
        ([0.70, 0.72, 0.74], [0.60, 0.66, 0.55], 0.05),  # a small drop
        ([0.70, 0.61], [0.60, 0.45], 0.05),  # a small drop, both fall
        ([0.70, 0.70], [0.66, 0.30], 0.2),  # FGM stays
        ([0.80, 0.82, 0.85], [0.70, 0.40, 0.36], 0.4),  # a large one: not yet
        ([0.90, 0.62, 0.66], [0.80, 0.30, 0.20], 0.4),  # FGM falls, but by less
        ([0.75, 0.75], [0.75, 0.5], 0.25),  # PGD falls by drop, not by more
        ([0.75, 0.5], [0.75, 0.25], 0.25),  # FGM falls by drop, not by more
        ([0.5, 0.75, 0.5, 0.5], [0.5, 0.75, 0.5, 0.25], 0.25),  # both ties
        ([0.90, 0.60, 0.85], [0.60, 0.30, 0.20], 0.2),  # both fall, then FGM comes back
    ]
    g = torch.Generator().manual_seed(940)
    for i, n in enumerate((3, 4, 6, 9) * 9):
        hundredths = torch.randint(0, 101, (2, n), generator=g).tolist()
        fgm, pgd = ([v / 100 for v in row] for row in hundredths)
        fixed.append((fgm, pgd, (0.195, 0.345, 0.095)[i % 3]))
    return fixed


def check_first_collapse(answer) -> None:
    histories = _histories()
    wants = [_collapse(*history) for history in histories]
    got = []
    for (fgm, pgd, drop), want in zip(histories, wants, strict=True):
        one, two = list(fgm), list(pgd)
        yours = answer(one, two, drop)
        expect(one == fgm and two == pgd, "your function changes its input; work on a copy",
               given=dict(fgm=fgm, pgd=pgd))  # fmt: skip
        got.append(_pair(yours, dict(fgm=fgm, pgd=pgd, drop=drop), want))
    wrong = [case for case in zip(histories, wants, got, strict=True) if case[1] != case[2]]
    if wrong:  # the shortest one is shown
        (fgm, pgd, drop), want, yours = min(wrong, key=lambda case: len(case[0][1]))
        likely = _why_not(histories, got, wants)
        raise Wrong("the check and the one to keep are not right for this history",
                    given=dict(fgm=fgm, pgd=pgd, drop=drop), yours=_said(yours),
                    expected=_said(want), likely=likely,
                    picture=_history(fgm, pgd, yours, want))  # fmt: skip


def _why_not(histories, got, wants) -> str | None:
    for name, wrong in _COLLAPSE_MISTAKES.items():
        values = []
        for history in histories:
            try:
                values.append(wrong(*history))
            except (ValueError, IndexError):
                values.append(None)
        if values == got:
            return name
    pairs = list(zip(got, wants, strict=True))
    if all(y is None for y in got):
        return "this never finds anything"
    if all((y is None) == (w is None) for y, w in pairs):
        found = [(y, w) for y, w in pairs if w is not None]
        if all(y == (w[1], w[0]) for y, w in found):
            return "the two numbers changed places: first the check of the fall, then that to keep"
        if all(y == (w[0] + 1, w[1] + 1) for y, w in found):
            return "the checks are counted from 0"
        if all(y[0] == w[0] for y, w in found):
            if all(y[1] == y[0] - 1 for y, _ in found):
                return "the one to keep is the best before the fall, not just the one before it"
            if all(y[1] == y[0] for y, _ in found):
                return "the one to keep is the best before the fall, not the fallen one"
            return "the fall is right; the one to keep is the earlier check with the largest PGD " \
                   "accuracy (the first of several)"  # fmt: skip
    if any(y is not None and y[0] == 0 for y in got):
        return "the first check has none before it to fall from"
    return None


def _pair(value, given, want) -> tuple[int, int] | None:
    if value is None:
        return None
    fits = isinstance(value, tuple | list) and len(value) == 2
    expect(fits and all(isinstance(v, int) or (hasattr(v, "item") and float(v).is_integer())
                        for v in value),
           "the function should return two whole numbers, (stop, keep), or None", given=given,
           yours=repr(value)[:200], expected=_said(want))  # fmt: skip
    return int(value[0]), int(value[1])


def _said(pair) -> str:
    return "None" if pair is None else f"stop {pair[0]}, keep {pair[1]}"


def _history(fgm, pgd, yours, want):
    if len(pgd) < 2:
        return None
    with plots.style():
        fig, ax = plots.figure(4.8, 2.6)
        ax.plot(range(len(fgm)), fgm, "o-", color=plots.COLOURS["fgm"], label="fgm")
        ax.plot(range(len(pgd)), pgd, "s-", color=plots.COLOURS["pgd"], label="pgd")
        for pair, name, line in ((want, "expected stop", "-"), (yours, "your stop", ":")):
            if pair is not None and 0 <= pair[0] < len(pgd):
                ax.axvline(pair[0], color="#222222", linestyle=line, linewidth=1.5, label=name)
        ax.set(xlabel="check", ylabel="accuracy", ylim=(0, 1.03))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return fig


# ---------------------------------------------------------------- 09.5 choosing


def _choice(table, budget, least_clean, *, use_budget=True, use_clean=True, overlap=True,
            pick="cheapest", best_of_all=False, by="robust", either=False, near_of_all=False,
            reach=("high", "low"), touch=True) -> str | None:  # fmt: skip
    """By removing rows; the keywords are its mistakes."""
    left = list(table)
    for row in table:
        dear = use_budget and row["units"] > budget
        weak = use_clean and row["clean"] < least_clean
        if (dear and weak) if either else (dear or weak):
            left.remove(row)
    if not left:
        return None
    best = sorted(table if best_of_all else left, key=lambda row: row[by])[-1]
    if overlap:
        end, begin = reach
        near = [row for row in (table if near_of_all else left)
                if row[end] > best[begin] or (touch and row[end] == best[begin])]  # fmt: skip
    else:
        near = [row for row in left if row[by] >= best[by]]
    if not near:
        return None
    order = {"cheapest": lambda row: (row["units"], -row["robust"]),
             "dearest": lambda row: (-row["units"], -row["robust"]),
             "first": lambda row: (0,), "clean": lambda row: (-row["clean"],),
             "first of equal": lambda row: (row["units"],),
             "clean of equal": lambda row: (row["units"], -row["clean"]),
             "weakest": lambda row: (row["units"], row["robust"])}[pick]  # fmt: skip
    return sorted(near, key=order)[0]["name"]


_CHOICE_MISTAKES = {
    "the budget is not looked at": dict(use_budget=False),
    "least_clean is not looked at": dict(use_clean=False),
    "neither the budget nor least_clean is looked at": dict(use_budget=False, use_clean=False),
    "the intervals are not looked at: this is the largest robust accuracy, though a cheaper method "
    "cannot be told from it": dict(overlap=False),
    "the reference is the best of the whole table; it must be one that you can have":
        dict(best_of_all=True),
    "among those that cannot be told apart the dearest was taken; take the cheapest":
        dict(pick="dearest"),
    "among those that cannot be told apart the first of the table was taken; take the cheapest":
        dict(pick="first"),
    "among those that cannot be told apart the best clean accuracy was taken; take the cheapest":
        dict(pick="clean"),
    "of two that cost the same, the more robust one": dict(pick="weakest"),
    "of two that cost the same, the first of the table was taken; take the more robust one":
        dict(pick="first of equal"),
    "of two that cost the same, the one with the better clean accuracy was taken; take the more "
    "robust one": dict(pick="clean of equal"),
    "an interval that reaches exactly to the best's `low` counts: `high` is *at least* `low`":
        dict(touch=False),
    "`high` is compared with the best's `robust`; it need only reach its `low`":
        dict(reach=("high", "robust")),
    "`robust` is compared with the best's `low`; it is enough that `high` reaches it":
        dict(reach=("robust", "low")),
    "a row with one of the two, budget or clean, is kept: it must have both": dict(either=True),
    "rows that were left out come back: the cheapest is sought in the whole table":
        dict(near_of_all=True),
    "the best is the one with the largest clean accuracy; robust was asked for": dict(by="clean"),
    "the best is the one with the largest `high`: a wide interval is no merit": dict(by="high"),
    "the best is the one with the largest `low`; the rule takes `robust`": dict(by="low"),
}  # fmt: skip


def _row(name: str, units: int, clean: float, robust: float, half: float) -> dict:
    return dict(name=name, units=units, clean=clean, robust=robust,
                low=max(0.0, robust - half), high=min(1.0, robust + half))  # fmt: skip


def _tables() -> list[tuple[list[dict], float, float]]:
    table = [
        _row("plain", 300, 0.99, 0.30, 0.08), _row("long plain", 900, 0.992, 0.34, 0.08),
        _row("FGM", 300, 0.98, 0.60, 0.09), _row("FreeLB", 600, 0.97, 0.66, 0.08),
        _row("PGD", 1200, 0.96, 0.79, 0.07), _row("strong", 1200, 0.80, 0.88, 0.05),
        _row("Free", 300, 0.97, 0.62, 0.09),
    ]  # fmt: skip
    out = [(table, budget, clean) for budget in (200, 300, 650, 900, 1200, 5000)
           for clean in (0.0, 0.9, 0.965, 0.985, 0.995)]  # fmt: skip
    traps = [
        _row("safe", 600, 0.985, 0.70, 0.02), _row("vague", 600, 0.98, 0.62, 0.15),
        _row("cheap", 100, 0.975, 0.50, 0.05),
    ]  # fmt: skip
    out.append((traps, 1000, 0.9))
    traps = [_row("vague", 600, 0.98, 0.72, 0.20), traps[0], _row("cheap", 100, 0.975, 0.58, 0.05)]
    out.append((traps, 1000, 0.9))
    ties = [
        dict(name="best", units=900, clean=0.95, robust=0.75, low=0.5, high=0.875),
        dict(name="touches", units=300, clean=0.75, robust=0.375, low=0.25, high=0.5),
        dict(name="dear", units=600, clean=0.96, robust=0.625, low=0.375, high=0.75),
    ]
    out += [(ties, 900, 0.75), (ties, 900, 0.5), (ties, 900, 0.8), (ties, 900, 0.95)]
    same = [
        dict(name="first", units=300, clean=0.93, robust=0.60, low=0.50, high=0.70),
        dict(name="robust", units=300, clean=0.94, robust=0.70, low=0.60, high=0.80),
        dict(name="clean", units=300, clean=0.97, robust=0.65, low=0.55, high=0.75),
    ]
    out.append((same, 300, 0.9))
    g = torch.Generator().manual_seed(950)
    for n in (1, 3, 5, 8, 8, 8, 8, 8):
        rows = []
        for k in range(n):
            a, b, half = torch.rand(3, generator=g, dtype=torch.double).tolist()
            units = 100 * int(torch.randint(1, 6, (), generator=g))
            rows.append(_row(f"m{k}", units, 0.7 + 0.3 * a, 0.2 + 0.7 * b, 0.02 + 0.13 * half))
        out += [(rows, budget, clean) for budget in (100, 300, 500) for clean in (0.0, 0.85)]
    return out


def check_choose(answer) -> None:
    cases = _tables()
    wants = [_choice(*case) for case in cases]
    got = []
    for (table, budget, clean), want in zip(cases, wants, strict=True):
        rows = [dict(row) for row in table]
        yours = answer(rows, budget, clean)
        expect(rows == table, "your function changes its table; work on a copy",
               given=dict(budget=budget, least_clean=clean))  # fmt: skip
        if isinstance(yours, dict):
            raise Wrong("return the name of the method, not its row", yours=yours, expected=want)
        expect(
            yours is None or isinstance(yours, str),
            "the function should return a name, or None where no row is left",
            yours=repr(yours)[:200],
            expected=repr(want),
        )
        got.append(yours)
    wrong = [case for case in zip(cases, wants, got, strict=True) if case[1] != case[2]]
    if wrong:  # the smallest table is shown
        (table, budget, clean), want, yours = min(wrong, key=lambda case: len(case[0][0]))
        known = {name: [_choice(*case, **change) for case in cases]
                 for name, change in _CHOICE_MISTAKES.items()}  # fmt: skip
        likely = next((name for name, value in known.items() if value == got), None)
        if likely is None and all(y is not None for y in got):
            likely = "where no row fits the budget and least_clean, the answer is None"
        if likely is None and _strict(cases, got):
            likely = "the limits are allowed: units equal to the budget, clean equal to least_clean"
        shown = {row["name"]: "units {units}, clean {clean:.3f}, robust {robust:.3f} "
                 "({low:.3f} to {high:.3f})".format(**row) for row in table}  # fmt: skip
        raise Wrong(
            "another method should be chosen",
            yours=repr(yours),
            expected=repr(want),
            given=dict(budget=budget, least_clean=clean, **shown),
            likely=likely,
        )


def _strict(cases, got) -> bool:
    little = 1e-9
    return any(got == [_choice(t, b - x, c + y) for t, b, c in cases]
               for x, y in ((little, 0), (0, little), (little, little)))  # fmt: skip


# ---------------------------------------------------------------- the course's own functions


def freelb(model, batch, eps: float, steps: int, step_size: float, start: Tensor):
    """(losses, delta) of FreeLB's `steps` points; adds the gradient of the mean of the losses to
    the weights' .grad.

    start: the first point, (batch, tokens, hidden), in the l2 ball of radius eps. losses: (steps,),
    the batch's mean cross-entropy at each point. delta: the last point.
    """
    delta, losses = start, []
    for t in range(steps):
        delta = delta.detach().requires_grad_()
        loss = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
        (loss / steps).backward()
        losses.append(loss.detach())
        if t < steps - 1:
            push = fgm_step(delta.grad, attackable(batch), step_size)
            delta = project(delta.detach() + push, eps, "l2")
    return torch.stack(losses), delta.detach()


def virtual(model, batch, eps: float, xi: float, steps: int, start: Tensor) -> Tensor:
    """The δ of length eps per text that moves the prediction most, by `steps` power iterations
    from the direction `start`, (batch, tokens, hidden), of length 1 per text. Needs no labels."""
    clean = perturbed_logits(model, batch, None).detach()
    direction = start
    for _ in range(steps):
        delta = (xi * eps * direction).requires_grad_()
        kl = divergence(clean, perturbed_logits(model, batch, delta)).sum()
        (grad,) = torch.autograd.grad(kl, delta)
        direction = fgm_step(grad, attackable(batch), 1.0)
    return eps * direction


def free(model, batch, optimizer, eps: float, step_size: float, replays: int, start: Tensor):
    """(losses, delta) of `replays` optimizer steps on one batch, each of which moves δ as well.

    start, losses, delta: as in `freelb`.
    """
    delta, losses = start, []
    for t in range(replays):
        optimizer.zero_grad()
        delta = delta.detach().requires_grad_()
        loss = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
        if t < replays - 1:
            push = fgm_step(delta.grad, attackable(batch), step_size)
            delta = project(delta.detach() + push, eps, "l2")
    return torch.stack(losses), delta.detach()


def first_collapse(
    fgm: Sequence[float], pgd: Sequence[float], drop: float = 0.2
) -> tuple[int, int] | None:
    """(stop, keep): the first check at which PGD accuracy lies more than `drop` below its best so
    far while FGM accuracy does not, and the check of that best; None where there is none."""
    for k in range(1, len(pgd)):
        best = max(range(k), key=pgd.__getitem__)
        if pgd[best] - pgd[k] > drop and fgm[best] - fgm[k] <= drop:
            return k, best
    return None


def choose(table: Sequence[dict], budget: float, least_clean: float) -> str | None:
    """The cheapest method that the table cannot tell from the most robust one, among those within
    the budget and with enough clean accuracy; None where there is none."""
    left = [r for r in table if r["units"] <= budget and r["clean"] >= least_clean]
    if not left:
        return None
    best = max(left, key=lambda r: r["robust"])
    equal = [r for r in left if r["high"] >= best["low"]]
    return min(equal, key=lambda r: (r["units"], -r["robust"]))["name"]


EXERCISES: dict[str, Exercise] = {
    "09.1": Exercise("FreeLB's gathering", check_freelb, freelb),
    "09.2": Exercise("the virtual direction", check_virtual, virtual),
    "09.3": Exercise("two gradients from one pass", check_free, free),
    "09.4": Exercise("the moment of the fall", check_first_collapse, first_collapse),
    "09.5": Exercise("choose by budget", check_choose, choose),
}
