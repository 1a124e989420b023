"""Checks of lesson 09, stronger and cheaper.

The specification: FreeLB, Free and the virtual adversarial direction are plain loops over single
texts in double precision, without padding, that hand the model its embeddings and ask autograd for
every gradient by name; passes are counted with hooks. Histories of a training are judged by going
through all pairs of checks; a choice of a method by removing rows from a table one by one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib import plots
from advlib.attacks.embedding import attackable, divergence, perturbed_logits
from course.checking import (
    Exercise,
    Wrong,
    call,
    expect,
    seeded,
    small_bert,
    specified,
    tensors,
    used,
)
from course.lesson_03.checks import fgm_step
from course.lesson_04.checks import project

UNLABELLED = -100
HIDDEN = 6

# ---------------------------------------------------------------- what the first three share


def _setting(classes: int, lengths: Sequence[int], size: float, training: bool):
    """(model, batch, start): texts of these lengths, and a point of length `size` for each, which
    is zero on padding and special tokens."""
    seed = 900 + 10 * classes + len(lengths)
    labels = [i % classes for i in range(len(lengths))]
    model, batch = small_bert(seed, labels, lengths, classes=classes)
    g = torch.Generator().manual_seed(seeded(seed))
    point = torch.randn(*batch["input_ids"].shape, HIDDEN, generator=g, dtype=torch.double)
    point = point * (batch["special_tokens_mask"] == 0)[..., None]
    return model.train(training), batch, size * point / point.flatten(1).norm(dim=1)[:, None, None]


def _told(problem) -> dict:
    """A problem in words."""
    rest = dict(problem)
    texts = f"{rest.pop('lengths')} tokens long, of {rest.pop('classes')} classes"
    mode = f"in {'training' if rest.pop('training') else 'eval'} mode"
    if "old" in rest and rest.pop("old") is not None:
        mode += ", with a .grad of an earlier batch"
    return {"texts": texts, "model": mode, "start": f"of length {rest.pop('size', 1.0)} for each "
            "text"} | {"momentum of the optimizer" if k == "momentum" else k: v
                       for k, v in rest.items()}  # fmt: skip


def _cut(batch, delta: Tensor) -> list[Tensor]:
    """The rows of delta without their padding."""
    return [row[:n].clone() for row, n in zip(delta, batch["attention_mask"].sum(1), strict=True)]


def _pad(batch, rows: list[Tensor]) -> Tensor:
    out = torch.zeros(*batch["input_ids"].shape, HIDDEN, dtype=torch.double)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def _logits_of(model, batch, at: list[Tensor]) -> Tensor:
    """Logits (batch, classes), text by text, differentiable in the weights and in `at`."""
    table = model.get_input_embeddings().weight
    words = [table[ids[: len(push)]] for ids, push in zip(batch["input_ids"], at, strict=True)]
    return torch.stack([model(inputs_embeds=(w + push)[None]).logits[0]
                        for w, push in zip(words, at, strict=True)])  # fmt: skip


def _units(batch, grads, mask=True, whole=False, scale=True) -> list[Tensor]:
    """The masked gradients at length 1, text by text; the keywords are mistakes."""
    if mask:
        special = batch["special_tokens_mask"]
        grads = [g * (1.0 - s[: len(g), None]) for g, s in zip(grads, special, strict=True)]
    much = torch.cat([g.flatten() for g in grads]).norm()
    return [g / (much if whole else g.norm()) if scale else g for g in grads]


def _into(row: Tensor, eps: float) -> Tensor:
    size = row.norm()
    return row * eps / size if size > eps else row


def _flat(values) -> Tensor:
    return torch.cat([v.detach().flatten() for v in values])


def _gradient(model) -> Tensor:
    """All `.grad` fields in one vector, zero where there is none."""
    return _flat(torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters())


def _leave_gradients(model, seed: int | None) -> None:
    """Gradients of an earlier batch in every `.grad`; none for seed None."""
    g = torch.Generator().manual_seed(seeded(seed or 0))
    for p in model.parameters():
        noise = torch.randn(p.shape, generator=g, dtype=torch.double)
        p.grad = None if seed is None else 0.3 * noise


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


# ---------------------------------------------------------------- 09.1 FreeLB and 09.3 Free

ADDED, WEIGHTS = "the gradient that was added to the weights' .grad", "the weights"
STEPS, FORWARD, BACKWARD = (f"the number of {x}" for x in ("optimizer steps", "forward passes",
                                                           "backward passes"))  # fmt: skip


@functools.cache
def _walk(
    classes, lengths, size, training, eps, steps, step_size, old, momentum=None, *,
    weight=None, points=range, clear=None, optimize=lambda t, k: True, shown=lambda n, k: 1,
    more=0, passes=(1, 1), begin=1.0, walk=True, ahead=False, last=False, stale=True, fresh=True,
    piled=False, home=False, sign=1.0, ball=True, radius=None, length=None, **unit,
) -> dict:  # fmt: skip
    """The specification of both: Free, where there is a momentum for its optimizer; else FreeLB.

    The keywords are mistakes. weight(texts, points): of a point's loss for the weights; shown: of
    what is returned. points(K): those that count for the weights. clear: when `.grad` is cleared,
    "each" or "after" each round, "first" or "never". more: points too many. ahead: delta moves
    before its first gradient is gathered. piled: the slopes of all points so far are added up.
    home: every step goes from the start.
    """
    model, batch, start = _setting(classes, lengths, size, training)
    _leave_gradients(model, old)
    parameters, before = list(model.parameters()), _gradient(model)
    free = None if momentum is None else torch.optim.SGD(parameters, 0.05, momentum=momentum)
    clear = clear or ("each" if free else "never")
    weight = weight or (lambda n, k: 1 if free else 1 / k)
    factors = [f(len(lengths), steps) for f in (weight, shown)]
    at, losses = _cut(batch, begin * start), []
    first, pile = None, [torch.zeros_like(a) for a in at]
    origin = at

    def gradients(points, *of) -> tuple[Tensor, Sequence[Tensor], Sequence[Tensor]]:
        here = [a.clone().requires_grad_() for a in points]
        loss = F.cross_entropy(_logits_of(model, batch, here), batch["labels"])
        found = torch.autograd.grad(loss, [*here, *of])
        return loss.detach(), found[: len(here)], found[len(here) :]

    def moved(slopes) -> list[Tensor]:
        by = sign * (length(eps, step_size, steps) if length else step_size)
        units = _units(batch, slopes, **unit)
        ends = [a + by * u for a, u in zip(origin if home else at, units, strict=True)]
        limit = radius(eps, step_size) if radius else eps
        return [_into(end, limit) for end in ends] if ball else ends

    for t in range(steps + more):
        if ahead:
            at = moved(gradients(at)[1])
        loss, slopes, of_weights = gradients(at, *parameters)
        losses.append(factors[1] * loss)
        for p, g in zip(parameters, of_weights, strict=True):
            kept = None if clear == "each" or (clear == "first" and t == 0) else p.grad
            g = factors[0] * (t in points(steps + more)) * g
            p.grad = g if kept is None else kept + g
        if free and optimize(t, steps):
            free.step()
        if clear == "after":
            model.zero_grad()
        first, pile = first or slopes, [a + b for a, b in zip(pile, slopes, strict=True)]
        if walk and not ahead and (last or t < steps + more - 1):
            slopes = slopes if stale else gradients(at)[1]
            at = moved(pile if piled else slopes if fresh else first)
    parts = {"losses": torch.stack(losses), "delta": _pad(batch, at)}
    parts |= {WEIGHTS: _flat(parameters)} if free else {ADDED: _gradient(model) - before}
    made = {STEPS: sum(optimize(t, steps) for t in range(steps))} if free else {}
    return parts | made | {FORWARD: passes[0] * steps, BACKWARD: passes[1] * steps}


def _walk_of(answer):
    """The learner's function as one of a setting, with the same result as `_walk`."""

    def run(classes, lengths, size, training, eps, steps, step_size, old, momentum=None) -> dict:
        model, batch, start = _setting(classes, lengths, size, training)
        _leave_gradients(model, old)
        before, weights = _gradient(model), _flat(model.parameters())
        given, made = dict(model=model, batch=batch), []
        if momentum is None:
            given |= dict(eps=eps, steps=steps, step_size=step_size, start=start)
        else:
            optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=momentum)
            optimizer.register_step_post_hook(lambda *_: made.append(1))
            given |= dict(optimizer=optimizer, eps=eps, step_size=step_size, replays=steps,
                          start=start)  # fmt: skip
        with _counted(model) as count:
            result = call(answer, **given, trains=True, same_mode=True)
        parts, now = tensors(result, "losses", "delta"), _flat(model.parameters())
        if momentum is None:
            expect(torch.equal(now, weights), "the weights were changed: that is the "
                   "optimizer's part, after your function",
                   likely="an optimizer step, or p -= … inside")  # fmt: skip
            parts[ADDED] = _gradient(model) - before
        else:
            parts |= {WEIGHTS: now, STEPS: len(made)}
        return parts | {FORWARD: count["forward"], BACKWARD: count["backward"]}

    return run


_MOVES = {
    "start is not used: this begins at delta = 0": dict(begin=0.0),
    "delta stays where it was: it is never moved, or begins there again in every round; it is kept "
    "from one to the next": dict(walk=False),
    "the last move is made: return the last point that the weights were trained on":
        dict(last=True),
    "every step goes from `start`; it goes from the point where you are": dict(home=True),
    "delta.grad holds the sum of all rounds so far: one leaf for all of them accumulates; make a "
    "fresh one in each": dict(piled=True),
    "descent: this lowers the loss, the attacker climbs": dict(sign=-1.0),
    "no projection: delta leaves the ball": dict(ball=False),
    "no mask: padding and special tokens move too": dict(mask=False),
    "one norm for the whole batch: each text has a step of its own": dict(whole=True),
    "the gradient is not normalised: its length is no guide to the step": dict(scale=False),
    "the gradient of the first point is used for every step": dict(fresh=False),
    "the step has the length eps, not step_size": dict(length=lambda eps, s, k: eps),
    "the projection is into a ball of radius step_size; its radius is eps":
        dict(radius=lambda eps, s: s),
    "the losses are divided by the number of points: return them as they are":
        dict(shown=lambda n, k: 1 / k),
    "the losses are summed over the texts, not their mean": dict(shown=lambda n, k: n),
    "a second pass for delta: both gradients come from one, and that of delta lies in delta.grad "
    "after loss.backward()": dict(passes=(2, 2)),
    "a backward pass of its own for delta: where delta.requires_grad, its gradient lies in "
    "delta.grad after loss.backward()": dict(passes=(1, 2)),
}  # fmt: skip

_FREELB_MISTAKES = _MOVES | {
    "the gradients of the points are added up but not divided by K: with K points the step is "
    "K times too long": dict(weight=lambda n, k: 1),
    "only the last point counts for the weights, as in Madry's training; FreeLB gathers all K":
        dict(points=lambda k: [k - 1], weight=lambda n, k: 1),
    "only the last point counts for the weights, and that is divided by K":
        dict(points=lambda k: [k - 1]),
    "the last point is left out: its loss counts as well": dict(points=lambda k: range(k - 1)),
    "the first point is left out: its loss counts as well": dict(points=lambda k: range(1, k)),
    "no gradient reached the weights' .grad: torch.autograd.grad gives gradients back and leaves "
    "none there; loss.backward() does": dict(weight=lambda n, k: 0),
    "what lay in .grad before is gone: add to it, the caller clears it": dict(clear="first"),
    ".grad is cleared in every round: only the last point is left in it": dict(clear="each"),
    "delta moves before its first gradient is gathered: the first point is `start` itself":
        dict(ahead=True),
    "one point too many: K points, K − 1 moves": dict(more=1),
    "the gradient is not normalised, and divided by K besides: its length is no guide":
        dict(scale=False, length=lambda eps, s, k: s / k),
    "the gradient is that of the losses' sum over the texts, not their mean":
        dict(weight=lambda n, k: n / k),
    "the gradient is that of the losses' sum over the texts, not their mean, and not divided by K":
        dict(weight=lambda n, k: n),
}  # fmt: skip

_FREE_MISTAKES = _MOVES | {
    "what lay in .grad before the call was used: clear it before the first backward pass as well, "
    "optimizer.zero_grad() at the beginning of each replay": dict(clear="after"),
    "the gradients are never cleared: what lies in .grad is added to every replay's own":
        dict(clear="never"),
    "the gradients of earlier replays are still in .grad: clear them before each backward pass":
        dict(clear="first"),
    "one optimizer step after all replays: that is FreeLB; Free makes one in every replay":
        dict(optimize=lambda t, k: t == k - 1, clear="first"),
    "one optimizer step after all replays, with the last gradient alone":
        dict(optimize=lambda t, k: t == k - 1),
    "no optimizer step in the last replay: there is one in each":
        dict(optimize=lambda t, k: t < k - 1),
    "the optimizer made no step: optimizer.step() in every replay, after the backward pass":
        dict(optimize=lambda t, k: False),
    "the weights' gradient is divided by the number of replays: each replay is a step of its own":
        dict(weight=lambda n, k: 1 / k),
    "delta's gradient is taken after the optimizer's step, by a pass of its own; both gradients "
    "come from one backward pass": dict(stale=False),
    "delta is moved first and the weights are trained by a second pass; both gradients come from "
    "one backward pass, and the first point is `start`": dict(ahead=True),
}  # fmt: skip


def _walks(answer, mistakes, *momenta) -> None:
    problems = [
        dict(classes=2, lengths=(7, 5, 4, 6), size=0.3, training=True, eps=0.7, steps=3,
             step_size=0.5, old=7),  # four texts, three points
        dict(classes=3, lengths=(5, 8), size=1.1, training=False, eps=1.1, steps=4, step_size=0.6,
             old=None),
        dict(classes=2, lengths=(4,), size=0.2, training=True, eps=0.5, steps=1, step_size=0.4,
             old=8),
    ]  # fmt: skip
    if momenta:
        problems = [p | dict(momentum=m) for p, m in zip(problems, momenta, strict=True)]
    specified(_walk_of(answer), problems, _walk, mistakes, tell=_told, atol=1e-6)


def check_freelb(answer) -> None:
    _walks(answer, _FREELB_MISTAKES)


def check_free(answer) -> None:
    _walks(answer, _FREE_MISTAKES, 0.0, 0.9, 0.0)


# ---------------------------------------------------------------- 09.2 the virtual direction


@functools.cache
def _plain_virtual(
    classes, lengths, training, eps, xi, steps, *, at=lambda eps, xi: xi * eps,
    end=lambda eps, xi: eps, rounds=lambda k: k, sign=1.0, reverse=False, add=False, labels=False,
    squash=False, beyond=None, passes=lambda k: k + 1, **unit,
) -> dict:  # fmt: skip
    """The specification, text by text; the keywords are its mistakes."""
    model, batch, start = _setting(classes, lengths, 1.0, training)
    ahead = behind = _cut(batch, start)
    with torch.no_grad():
        clean = _logits_of(model, batch, [torch.zeros_like(d) for d in ahead])
    for _ in range(rounds(steps)):
        points = [(at(eps, xi) * d).requires_grad_() for d in ahead]
        moved = _logits_of(model, batch, points)
        p, q = (moved, clean) if reverse else (clean, moved)
        if squash:
            p, q = p.softmax(1), q.softmax(1)
        p, q = p.log_softmax(1), q.log_softmax(1)
        loss = (p.exp() * (p - q)).sum()
        if labels:
            loss = F.cross_entropy(moved, clean.argmax(1), reduction="sum")
        units = _units(batch, torch.autograd.grad(loss, points), **unit)
        behind, ahead = ahead, [sign * u for u in units]
        if add:
            ahead = [(b + a) / (b + a).norm() for b, a in zip(behind, ahead, strict=True)]
    ends = [end(eps, xi) * d for d in ahead]
    if beyond:  # the point of the search is added to the result
        base = _cut(batch, start) if beyond == "start" else behind
        ends = [xi * eps * b + e for b, e in zip(base, ends, strict=True)]
        ends = ends if beyond == "out" else [_into(e, eps) for e in ends]
    return {"delta": _pad(batch, ends), FORWARD: passes(steps)}


def _virtual_of(answer, start_of=lambda start: start, label: int = UNLABELLED):
    """The learner's function as one of a setting, with the same result as `_plain_virtual`."""

    def run(classes, lengths, training, eps, xi, steps) -> dict:
        model, batch, start = _setting(classes, lengths, 1.0, training)
        used(model).train(training)
        batch["labels"] = torch.full_like(batch["labels"], label)
        given = dict(model=model, batch=batch, eps=eps, xi=xi, steps=steps, start=start_of(start))
        with _counted(model) as count:
            parts = tensors(call(answer, **given, same_mode=True), "delta")
        return parts | {FORWARD: max(count["forward"], steps + 1)}  # fewer are no mistake

    return run


_VIRTUAL_MISTAKES = {
    "the start came back at length eps: no gradient was used": dict(rounds=lambda k: 0),
    "only one round counts: `steps` is not used, or every round begins at `start`; the next "
    "one begins at the direction found": dict(rounds=lambda k: 1),
    "one round too many": dict(rounds=lambda k: k + 1),
    "the wrong sign: this moves the prediction back to where it was": dict(sign=-1.0),
    "no mask: padding and special tokens move too": dict(mask=False),
    "one norm for the whole batch: each text has a direction of its own": dict(whole=True),
    "the divergence the other way round: KL(f(x) ‖ f(x + δ)) has the clean prediction first":
        dict(reverse=True),
    "the direction is added to the one before; a power iteration puts it in its place":
        dict(add=True),
    "the gradient is taken at size eps; it belongs at xi · eps": dict(at=lambda eps, xi: eps),
    "the gradient is taken at size xi; it belongs at xi · eps": dict(at=lambda eps, xi: xi),
    "the gradient is taken at size 1, xi and eps are forgotten": dict(at=lambda eps, xi: 1.0),
    "this climbs the cross-entropy of the predicted class (FGM), not the divergence":
        dict(labels=True),
    "the result has size xi · eps: only the points of the search are so near":
        dict(end=lambda eps, xi: xi * eps),
    "the result has size 1: eps is forgotten": dict(end=lambda eps, xi: 1.0),
    "probabilities went into `divergence`; it takes logits": dict(squash=True),
    "the point of the search was added to the result; return eps · d alone": dict(beyond="start"),
    "the last point of the search was added to the result; return eps · d alone":
        dict(beyond="last"),
    "the last point of the search was added to the result, which is longer than eps; return "
    "eps · d alone": dict(beyond="out"),
    "the clean prediction is computed anew in every round; take it once, before the loop":
        dict(passes=lambda k: 2 * k),
    "the clean prediction is computed anew in every round; the one before the loop is enough":
        dict(passes=lambda k: 2 * k + 1),
}  # fmt: skip


def check_virtual(answer) -> None:
    problems = [
        dict(classes=3, lengths=(7, 5, 4), training=True, eps=0.8, xi=0.5, steps=1),
        dict(classes=4, lengths=(5, 8), training=False, eps=1.2, xi=0.3, steps=3),
        dict(classes=2, lengths=(4, 6), training=True, eps=0.5, xi=0.6, steps=2),
        dict(classes=3, lengths=(6,), training=True, eps=0.6, xi=0.4, steps=2),
    ]
    try:
        specified(_virtual_of(answer), problems, _plain_virtual, _VIRTUAL_MISTAKES,
                  tell=_told, rtol=1e-3)  # fmt: skip
    except Wrong as wrong:
        if wrong.likely is None and isinstance(wrong.yours, Tensor):
            wrong.likely = _why_another_direction(answer, problems[0])
        raise


def _why_another_direction(answer, problem) -> str | None:
    """What other labels, random states and starts tell about a delta that nothing else explains."""

    def found(seed=0, **other) -> Tensor:
        torch.manual_seed(seed)
        return _virtual_of(answer, **other)(**problem)["delta"]

    with torch.random.fork_rng([]):
        here, known = found(), found(label=0)
        if not here.isfinite().all() or not here.any():
            if known.isfinite().all() and known.any():
                return "did you use the labels? They are −100 here: this direction needs no label"
            return (
                "the divergence is flat where delta = 0, its gradient there is zero: begin at "
                "xi · eps · start; or the reference was computed at the same point"
            )
        other_start = found(start_of=lambda start: start.flip(-1))
        if not torch.equal(here, found(seed=1)) or torch.equal(here, other_start):
            return "`start` is not used: this begins at a random direction of its own"
    return None


# ---------------------------------------------------------------- 09.4 catastrophic over-fitting


def _before(fgm, pgd, k) -> int:
    return sorted(range(k), key=lambda j: (-pgd[j], j))[0]


def _pgd_falls(fgm, pgd, k, best, drop) -> bool:
    return pgd[best] - pgd[k] > drop


def _fgm_holds(fgm, pgd, k, best, drop) -> bool:
    return fgm[best] - fgm[k] <= drop


def _collapse(
    fgm, pgd, drop, *, falls=_pgd_falls, holds=_fgm_holds, best=_before, keep=None, known=None,
    swap=False, end=False, pick=0, late=False, turn=lambda pair: pair,
) -> dict:  # fmt: skip
    """By going through all pairs of checks; the keywords are its mistakes."""
    fgm, pgd = (pgd, fgm) if swap else (fgm, pgd)
    found, drop = [], known or drop
    for k in range(max(1, len(pgd) - 1) if late else 1, len(pgd)):
        j = best(fgm, pgd, k)
        if falls(fgm, pgd, k, j, drop) and holds(fgm, pgd, k, j, drop):
            found.append((k, keep(fgm, pgd, k) if keep else j))
        elif end and falls(fgm, pgd, k, j, drop):
            break
    return _named(turn(found[pick]) if found else None)


def _named(pair) -> dict[str, str]:
    """In words: a None of the answer's is no mistake in itself."""
    return dict(zip(("the check of the fall", "the check to keep"),
                    map(str, pair or (None, None)), strict=True))  # fmt: skip


def _reaches(fgm, pgd, k, best, drop) -> bool:
    return pgd[best] - pgd[k] >= drop


def _below(fgm, pgd, k, best, drop) -> bool:
    return fgm[best] - fgm[k] < drop


def _always(*_) -> bool:
    return True


_COLLAPSE_MISTAKES = {
    "`drop` is not used: 0.2 is only its default": dict(known=0.2),
    "PGD accuracy that has fallen by exactly `drop` counts here; it must be more":
        dict(falls=_reaches),
    "FGM accuracy that has fallen by exactly `drop` has not fallen by more: such a check is a fall":
        dict(holds=_below),
    "both ties are wrong: a fall by exactly `drop` is not more than `drop`":
        dict(falls=_reaches, holds=_below),
    "FGM accuracy may fall a little, up to `drop`; here it must not fall at all":
        dict(holds=lambda f, p, k, best, drop: f[best] <= f[k]),
    "FGM accuracy must have risen here; it is enough that it has not fallen by more than `drop`":
        dict(holds=lambda f, p, k, best, drop: f[best] < f[k]),
    "FGM is compared with the check just before k; compare it with `best`":
        dict(holds=lambda f, p, k, best, drop: f[k - 1] - f[k] <= drop),
    "the absolute change of FGM is looked at; it may rise as far as it likes":
        dict(holds=lambda f, p, k, best, drop: abs(f[best] - f[k]) <= drop),
    "`best` is the check with the best FGM accuracy; it is the one with the largest PGD accuracy":
        dict(best=lambda f, p, k: f.index(max(f[:k]))),
    "this gives up where both fall; later checks can still be the fall": dict(end=True),
    "the accuracies changed places: it is PGD's that falls while FGM's holds": dict(swap=True),
    "FGM's accuracy is not looked at: where both fall, training as a whole has broken down":
        dict(holds=_always),
    "each check is compared with the one before it: compare with the best before, a slow slide is "
    "a fall too": dict(best=lambda f, p, k: k - 1),
    "the gap between FGM and PGD: a harmless gap is there from the beginning; it is PGD's own fall "
    "that counts": dict(falls=lambda f, p, k, best, drop: f[k] - p[k] > drop, holds=_always),
    "only the last check is looked at: training may have recovered, or could have stopped long ago":
        dict(late=True),
    "the last check that fits, not the first: training could have stopped long ago": dict(pick=-1),
    "the best of the whole history was used, also from checks that come later; at check k only "
    "those before it are known": dict(best=lambda f, p, k: p.index(max(p))),
    "FGM is compared with its own best check; compare it with what it was at the check `best`":
        dict(holds=lambda f, p, k, best, drop: max(f[:k]) - f[k] <= drop),
    "only an accuracy near zero counts: the rule is a fall by more than `drop`":
        dict(falls=lambda f, p, k, best, drop: p[k] < 0.05),
    "`drop` is used as a share of the best; it is a difference of accuracies":
        dict(falls=lambda f, p, k, best, drop: p[k] < (1 - drop) * p[best]),
    "keep is the check with the best FGM accuracy; what is worth keeping is robust under PGD":
        dict(keep=lambda f, p, k: f.index(max(f[:k]))),
    "the one to keep is the best before the fall, not just the one before it":
        dict(keep=lambda f, p, k: k - 1),
    "the one to keep is the best before the fall, not the fallen one": dict(keep=lambda f, p, k: k),
    "of several checks with the largest PGD accuracy the first is to be kept":
        dict(keep=lambda f, p, k: max(range(k), key=lambda j: (p[j], j))),
    "the two numbers changed places: first the check of the fall, then that to keep":
        dict(turn=lambda pair: pair[::-1]),
    "the checks are counted from 0": dict(turn=lambda pair: (pair[0] + 1, pair[1] + 1)),
    "this never finds anything": dict(turn=lambda pair: None),
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
        ([0.50, 0.50, 0.50], [0.0, 0.0, 0.0], 0.2),  # never robust at all
    ]
    g = torch.Generator().manual_seed(940)
    for i, n in enumerate((3, 4, 6, 9) * 9):
        hundredths = torch.randint(0, 101, (2, n), generator=g).tolist()
        fgm, pgd = ([v / 100 for v in row] for row in hundredths)
        fixed.append((fgm, pgd, (0.195, 0.345, 0.095)[i % 3]))
    return sorted(fixed, key=lambda history: len(history[0]))  # the shortest one is shown


def check_first_collapse(answer) -> None:
    def run(fgm, pgd, *drop):
        yours = call(answer, fgm, pgd, *drop)
        if yours is None:
            return _named(None)
        try:
            stop, keep = map(operator.index, yours)
        except (TypeError, ValueError):
            raise Wrong("the function should return two whole numbers, (stop, keep), or None",
                        yours=repr(yours)[:200]) from None  # fmt: skip
        return _named((stop, keep))

    histories = [dict(fgm=f, pgd=p, drop=d) for f, p, d in _histories()]
    specified(run, histories, _collapse, _COLLAPSE_MISTAKES, picture=_history)
    for given in (h for h in histories if h["drop"] == 0.2):
        yours, right = run(given["fgm"], given["pgd"]), _collapse(**given)
        expect(yours == right, "without its third argument, `drop` should be 0.2", given=given,
               yours=yours, expected=right)  # fmt: skip


def _history(yours, want, given):
    fgm, pgd = given["fgm"], given["pgd"]
    with plots.style():
        fig, ax = plots.figure(4.8, 2.6)
        ax.plot(range(len(fgm)), fgm, "o-", color=plots.COLOURS["fgm"], label="fgm")
        ax.plot(range(len(pgd)), pgd, "s-", color=plots.COLOURS["pgd"], label="pgd")
        for parts, name, line in ((want, "expected stop", "-"), (yours, "your stop", ":")):
            stop = parts["the check of the fall"]
            if stop != "None" and 0 <= int(stop) < len(pgd):
                ax.axvline(int(stop), color="#222222", linestyle=line, linewidth=1.5, label=name)
        ax.set(xlabel="check", ylabel="accuracy", ylim=(0, 1.03))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    return fig


# ---------------------------------------------------------------- 09.5 choosing

NOTHING = "None, no method"
_ORDERS = {
    "cheapest": lambda row: (row["units"], -row["robust"]),
    "dearest": lambda row: (-row["units"], -row["robust"]),
    "first": lambda row: 0,
    "clean": lambda row: -row["clean"],
    "first of equal": lambda row: row["units"],
    "clean of equal": lambda row: (row["units"], -row["clean"]),
    "weakest": lambda row: (row["units"], row["robust"]),
}


def _choice(table, budget, least_clean, *, use_budget=True, use_clean=True, overlap=True,
            pick="cheapest", best_of_all=False, by="robust", either=False, near_of_all=False,
            reach=("high", "low"), touch=True, strict=(), none=None) -> str:  # fmt: skip
    """By removing rows; the keywords are its mistakes. The name, or NOTHING."""
    left = list(table)
    for row in table:
        dear = row["units"] > budget or ("units" in strict and row["units"] == budget)
        weak = row["clean"] < least_clean or ("clean" in strict and row["clean"] == least_clean)
        dear, weak = use_budget and dear, use_clean and weak
        if (dear and weak) if either else (dear or weak):
            left.remove(row)
    if not left:
        return none(table)["name"] if none else NOTHING
    best = sorted(table if best_of_all else left, key=lambda row: row[by])[-1]
    end, begin = reach
    near = [row for row in (table if near_of_all else left)
            if row[end] > best[begin] or (touch and row[end] == best[begin])]  # fmt: skip
    near = near if overlap else [best]
    return sorted(near, key=_ORDERS[pick])[0]["name"] if near else NOTHING


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
    "the limits are allowed: units may be equal to the budget": dict(strict=("units",)),
    "the limits are allowed: clean may be equal to least_clean": dict(strict=("clean",)),
    "the limits are allowed: units equal to the budget, clean equal to least_clean":
        dict(strict=("units", "clean")),
    "where no row fits the budget and least_clean, the answer is None; this is the most robust one":
        dict(none=lambda table: max(table, key=lambda row: row["robust"])),
    "where no row fits the budget and least_clean, the answer is None; this is the first one":
        dict(none=lambda table: table[0]),
    "where no row fits the budget and least_clean, the answer is None; this is an empty name":
        dict(none=lambda table: {"name": ""}),
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
    safe, cheap = _row("safe", 600, 0.985, 0.70, 0.02), _row("cheap", 100, 0.975, 0.50, 0.05)
    out.append(([safe, _row("vague", 600, 0.98, 0.62, 0.15), cheap], 1000, 0.9))
    cheap = _row("cheap", 100, 0.975, 0.58, 0.05)
    out.append(([_row("vague", 600, 0.98, 0.72, 0.20), safe, cheap], 1000, 0.9))
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
    broken, huge = _row("broken", 300, 0.95, 0.0, 0.05), _row("huge", 10**9, 0.9, 0.7, 0.1)
    out += [([broken], 300, 0.5), ([huge], 1e12, 0.0)]  # not robust at all; a huge bill
    g = torch.Generator().manual_seed(seeded(950))
    for n in (1, 3, 5, 8, 8, 8, 8, 8):
        rows = []
        for k in range(n):
            a, b, half = torch.rand(3, generator=g, dtype=torch.double).tolist()
            units = 100 * int(torch.randint(1, 6, (), generator=g))
            rows.append(_row(f"m{k}", units, 0.7 + 0.3 * a, 0.2 + 0.7 * b, 0.02 + 0.13 * half))
        out += [(rows, budget, clean) for budget in (100, 300, 500) for clean in (0.0, 0.85)]
    return sorted(out, key=lambda case: len(case[0]))  # the smallest one is shown


def check_choose(answer) -> None:
    def run(table, budget, least_clean) -> str:
        yours = call(answer, table=table, budget=budget, least_clean=least_clean)
        expect(not isinstance(yours, dict), "return the name of the method, not its row",
               yours=yours)  # fmt: skip
        expect(yours is None or isinstance(yours, str), "the function should return a name, or "
               "None where no row is left", yours=repr(yours)[:200])  # fmt: skip
        return NOTHING if yours is None else yours

    def tell(case) -> dict:
        row = "units {units}, clean {clean:.3f}, robust {robust:.3f} ({low:.3f} to {high:.3f})"
        return {r["name"]: row.format(**r) for r in case["table"]} | {
            "budget": case["budget"], "least_clean": case["least_clean"]}  # fmt: skip

    cases = [dict(table=t, budget=b, least_clean=c) for t, b, c in _tables()]
    specified(run, cases, _choice, _CHOICE_MISTAKES, what="the choice", tell=tell)
    expect(run([], 300, 0.5) == NOTHING, "of an empty table nothing can be chosen: return None")


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
