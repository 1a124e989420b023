"""Right and wrong answers to the exercises of lesson 09; a regex names each mistake."""

import numpy as np
import torch
import torch.nn.functional as F

from advlib.attacks.embedding import attackable, divergence, perturbed_logits
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- what they share


def length(d):
    return d.flatten(1).norm(dim=1)[:, None, None]


def into(d, eps):
    return d * (eps / length(d).clamp_min(eps))


def step(delta, grad, batch, eps, size, *, sign=1.0, mask=True, ball=True, whole=False, scale=True):
    """One move; the keywords are its mistakes."""
    if mask:
        grad = grad * attackable(batch)[..., None]
    if scale:
        grad = grad / (grad.norm() if whole else length(grad))
    delta = delta.detach() + sign * size * grad
    return into(delta, eps) if ball else delta


def mean_loss(model, batch, delta):
    return F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])


def beside(answer, before=lambda *a: None, after=lambda *a: None):
    """The answer, with something done before and after it to the model, the batch and start."""

    def run(model, batch, *rest):
        before(model, batch, rest[-1])
        result = answer(model, dict(batch), *rest)
        after(model, batch, rest[-1])
        return result

    return run


def disturbing(id, answer):
    """Right results, with side effects that no exercise of this lesson allows."""
    return [
        (id, beside(answer, after=lambda m, b, s: b.pop("labels")), "takes 'labels' out of"),
        (id, beside(answer, after=lambda m, b, s: s.requires_grad_()), "requires_grad of `start`"),
        (id, beside(answer, lambda m, b, s: m.train()), "leaves the model in another mode"),
        (id, beside(answer, lambda m, b, s: m.eval(), lambda m, b, s: m.train()),
         "runs the model in another mode"),
        (id, beside(answer, lambda m, b, s: m.bert.eval(), lambda m, b, s: m.bert.train()),
         "runs the model in another mode"),
        (id, beside(answer, after=lambda m, b, s: m.requires_grad_(False)),
         "changes requires_grad"),
    ]  # fmt: skip


# ---------------------------------------------------------------- 09.1


def freelb_with(
    divide=True, learn=None, more=0, early=0, begin=True, still=False, clear=False, fresh=True,
    last_move=False, mode=None, own_pass=False, summed=False, size=None, losses_divided=False,
    attached=False, optimise=False, in_place=False, only="both", labels=False, **move,
):  # fmt: skip
    """Answers to 09.1; without arguments a right one."""

    def answer(model, batch, eps, steps, step_size, start):
        if mode == "eval":
            model.eval()
        if mode == "eval and back":
            model.eval()
        if clear:
            model.zero_grad()
        if in_place:
            start *= 1.0 + 1e-3
        delta = start.clone() if begin else torch.zeros_like(start)
        losses, first = [], None
        rounds = steps + more
        for t in range(rounds):
            if early:
                d = delta.detach().requires_grad_()
                (g,) = torch.autograd.grad(mean_loss(model, batch, d), d)
                delta = step(delta, g, batch, eps, step_size, **move)
            delta = delta.detach().requires_grad_()
            loss = mean_loss(model, batch, delta)
            if summed:
                loss = loss * len(batch["labels"])
            part = loss / steps if divide else loss
            if own_pass:
                (g,) = torch.autograd.grad(loss, delta, retain_graph=True)
            teach = learn is None or (t in learn(steps))
            if only == "delta":
                (g,) = torch.autograd.grad(part, delta)
            elif teach:
                part.backward()
                g = delta.grad if not own_pass else g
            else:
                (g,) = torch.autograd.grad(part, delta)
            first = g if first is None else first
            kept = loss / steps if losses_divided else loss
            losses.append(kept if attached else kept.detach())
            if not still and not early and (last_move or t < rounds - 1):
                used = step_size if size is None else size(eps, step_size)
                delta = step(delta, g if fresh else first, batch, eps, used, **move)
        if mode == "eval and back":
            model.train()
        if optimise:
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.1 * p.grad
        return torch.stack(losses), delta.detach()

    return answer


def freelb_by_mean(model, batch, eps, steps, step_size, start):
    """All graphs are kept, and one backward pass through each at the end."""
    at, losses = start, []
    weights = [p for p in model.parameters()]
    total = [torch.zeros_like(p) for p in weights]
    for t in range(steps):
        at = at.detach().requires_grad_()
        loss = mean_loss(model, batch, at)
        found = torch.autograd.grad(loss, [at, *weights], allow_unused=True)
        for sum_, g in zip(total, found[1:], strict=True):
            if g is not None:
                sum_ += g / steps
        losses.append(loss.item())
        if t + 1 < steps:
            at = step(at, found[0], batch, eps, step_size)
    for p, g in zip(weights, total, strict=True):
        p.grad = g if p.grad is None else p.grad + g
    return torch.tensor(losses), at.detach()  # in float32


def freelb_in_loops(model, batch, eps, steps, step_size, start):
    """Text by text, and a list comes back."""
    at, losses = start, torch.zeros(steps, dtype=torch.double)
    for t in range(steps):
        leaf = at.clone().requires_grad_()
        loss = mean_loss(model, batch, leaf)
        loss.div(steps).backward()
        losses[t] = loss.item()
        if t + 1 < steps:
            grad, rows = leaf.grad * attackable(batch)[..., None], []
            for i in range(len(grad)):
                row = at[i] + step_size * grad[i] / grad[i].norm()
                rows.append(row if row.norm() <= eps else row * (eps / row.norm()))
            at = torch.stack(rows)
    return [losses, at]


def freelb_text_by_text(model, batch, eps, steps, step_size, start):
    """A backward pass for each text."""
    delta, losses = start, []
    for t in range(steps):
        delta = delta.detach().requires_grad_()
        logits = perturbed_logits(model, batch, delta)
        each = F.cross_entropy(logits, batch["labels"], reduction="none")
        for loss in each:
            (loss / len(each) / steps).backward(retain_graph=True)
        losses.append(each.mean().detach())
        if t < steps - 1:
            delta = step(delta, delta.grad, batch, eps, step_size)
    return torch.stack(losses), delta.detach()


def freelb_cleared(model, batch, eps, steps, step_size, start):
    delta, losses = start, []
    for t in range(steps):
        model.zero_grad()
        delta = delta.detach().requires_grad_()
        loss = mean_loss(model, batch, delta)
        (loss / steps).backward()
        losses.append(loss.detach())
        if t < steps - 1:
            delta = step(delta, delta.grad, batch, eps, step_size)
    return torch.stack(losses), delta.detach()


def listed(answer):
    """The losses in a list."""

    def run(*given):
        losses, delta = answer(*given)
        return losses.tolist(), delta

    return run


def freelb_none(model, batch, *rest):
    freelb_with()(model, batch, *rest)


def freelb_losses_only(*args):
    return freelb_with()(*args)[0]


def freelb_one_leaf(model, batch, eps, steps, step_size, start):
    """One leaf for the whole walk, whose .grad is never cleared."""
    delta, losses = start.clone().requires_grad_(), []
    for t in range(steps):
        loss = mean_loss(model, batch, delta)
        (loss / steps).backward()
        losses.append(loss.detach())
        if t < steps - 1:
            with torch.no_grad():
                delta.copy_(step(delta, delta.grad, batch, eps, step_size))
    return torch.stack(losses), delta.detach()


def freelb_odd(home=False, small=False, weight=None):
    """Every step from start; the ball of radius step_size; another weight of the loss."""

    def answer(model, batch, eps, steps, step_size, start):
        delta, losses = start, []
        for t in range(steps):
            delta = delta.detach().requires_grad_()
            loss = mean_loss(model, batch, delta)
            (loss * (weight(len(batch["labels"]), steps) if weight else 1 / steps)).backward()
            losses.append(loss.detach())
            if t < steps - 1:
                at, radius = (start if home else delta), (step_size if small else eps)
                delta = step(at, delta.grad, batch, radius, step_size)
        return torch.stack(losses), delta.detach()

    return answer


# ---------------------------------------------------------------- 09.2


def virtual_with(
    at=lambda eps, xi: xi * eps, end=lambda eps, xi: eps, rounds=lambda k: k, reverse=False,
    zero=False, again=False, add=False, mask=True, whole=False, sign=1.0, labels=False,
    backward=False, attached=False, mode=None, here=False, in_place=False, plain=False, own=False,
):  # fmt: skip
    """Answers to 09.2; without arguments a right one."""

    def answer(model, batch, eps, xi, steps, start):
        if mode:
            model.eval()
        if in_place:
            start *= xi
            start /= xi * 1.001
        with torch.no_grad():
            clean = perturbed_logits(model, batch, None)
        d = torch.zeros_like(start) if zero else start
        if own:
            d = torch.randn_like(start)
            d = d / length(d)
        for _ in range(rounds(steps)):
            r = (at(eps, xi) * (start if again else d)).detach().requires_grad_()
            moved = perturbed_logits(model, batch, r)
            p = moved.detach() if here else clean
            kl = divergence(moved, p) if reverse else divergence(p, moved)
            if labels:
                kl = F.cross_entropy(moved, batch["labels"], reduction="none", ignore_index=-100)
            if plain:
                kl = F.cross_entropy(moved, p.argmax(1), reduction="none")
            if backward:
                kl.sum().backward()
                g = r.grad
            else:
                (g,) = torch.autograd.grad(kl.sum(), r)
            if mask:
                g = g * attackable(batch)[..., None]
            g = sign * g / (g.norm() if whole else length(g))
            d = g + d if add else g
            d = d / length(d) if add else d
        d = end(eps, xi) * d
        return d.requires_grad_() if attached else d

    return answer


def virtual_by_hand(model, batch, eps, xi, steps, start):
    """The divergence from probabilities, the gradient text by text."""
    clean = perturbed_logits(model, batch, None).softmax(-1).detach()
    d = start.clone()
    for _ in range(steps):
        r = (d * xi * eps).detach().requires_grad_(True)
        q = perturbed_logits(model, batch, r).log_softmax(-1)
        kl = -(clean * q).sum()  # the entropy of `clean` does not depend on r
        g = torch.autograd.grad(kl, r)[0] * attackable(batch).unsqueeze(-1)
        d = torch.stack([one / one.norm() for one in g])
    return d * eps


def virtual_by_kl_div(model, batch, eps, xi, steps, start):
    clean, d = perturbed_logits(model, batch, None).log_softmax(1), start
    for _ in range(steps):
        r = (xi * eps * d).clone().requires_grad_()
        q = perturbed_logits(model, batch, r).log_softmax(1)
        kl = F.kl_div(q, clean, reduction="batchmean", log_target=True)
        (g,) = torch.autograd.grad(kl, r, retain_graph=True)
        g = g * attackable(batch)[..., None]
        d = g / g.flatten(1).norm(dim=1).view(-1, 1, 1)
    return (eps * d).float()


def virtual_of_two(model, batch, eps, xi, steps, start):
    """The divergence of the first class against all others."""
    clean, d = perturbed_logits(model, batch, None).softmax(-1)[:, 0].detach(), start
    for _ in range(steps):
        r = (xi * eps * d).requires_grad_()
        q = perturbed_logits(model, batch, r).softmax(-1)[:, 0]
        kl = clean * (clean / q).log() + (1 - clean) * ((1 - clean) / (1 - q)).log()
        d = fgm_step(torch.autograd.grad(kl.sum(), r)[0], attackable(batch), 1.0)
    return eps * d


def virtual_odd(squash=False, own=None, beyond=None, anew=False, ready=False):
    """Probabilities; an own start; the point of the search added; the clean pass in the loop."""

    def answer(model, batch, eps, xi, steps, start):
        clean = perturbed_logits(model, batch, None).detach()
        d = start
        if own:
            g = torch.Generator().manual_seed(3) if own == "seeded" else None
            d = torch.randn(start.shape, generator=g, dtype=start.dtype)
            d = d * attackable(batch)[..., None]
            d = d / length(d)
        for _ in range(steps):
            r = (xi * eps * d).detach().requires_grad_()
            if anew:
                clean = perturbed_logits(model, batch, None).detach()
            p, q = clean, perturbed_logits(model, batch, r)
            if squash:
                p, q = p.softmax(-1), q.softmax(-1)
            (g,) = torch.autograd.grad(divergence(p, q).sum(), r)
            last, d = d, fgm_step(g, attackable(batch), 1.0)
        if beyond:
            base = start if beyond == "start" else last
            d = xi * base + d
            return eps * d if beyond == "out" else into(eps * d, eps)
        return eps * d

    return answer


def virtual_labels(model, batch, eps, xi, steps, start):
    """The cross-entropy with the labels; fgm_step makes zeros of zeros."""
    d = start
    for _ in range(steps):
        r = (xi * eps * d).requires_grad_()
        logits = perturbed_logits(model, batch, r)
        loss = F.cross_entropy(logits, batch["labels"], reduction="sum")
        d = fgm_step(torch.autograd.grad(loss, r)[0], attackable(batch), 1.0)
    return eps * d


# ---------------------------------------------------------------- 09.3


def free_with(
    clear="before", keep=True, two=False, last_move=False, optimizer_at="each", begin=True,
    divide=False, still=False, mode=None, attached=False, size=None, own_step=False, **move,
):  # fmt: skip
    """Answers to 09.3; without arguments a right one."""

    def answer(model, batch, optimizer, eps, step_size, replays, start):
        if mode:
            model.eval()
        delta, losses = (start if begin else torch.zeros_like(start)), []
        if clear == "once":
            optimizer.zero_grad()
        for t in range(replays):
            if clear == "before":
                optimizer.zero_grad()
            if not keep:
                delta = start
            delta = delta.detach().requires_grad_()
            loss = mean_loss(model, batch, delta)
            if divide:
                (loss / replays).backward()
            else:
                loss.backward()
            g = delta.grad
            if optimizer_at == "each" or (optimizer_at == "end" and t == replays - 1):
                optimizer.step()
            if clear == "after":
                optimizer.zero_grad()
            if two:
                d = delta.detach().requires_grad_()
                (g,) = torch.autograd.grad(mean_loss(model, batch, d), d)
            losses.append(loss if attached else loss.detach())
            if not still and (last_move or t < replays - 1):
                used = step_size if size is None else size(eps, step_size)
                delta = step(delta, g, batch, eps, used, **move)
        return torch.stack(losses), delta.detach()

    return answer


def free_by_names(model, batch, optimizer, eps, step_size, replays, start):
    """The gradients are asked for by name and put where the optimizer looks."""
    weights, delta, losses, found = list(model.parameters()), start.clone(), [], None
    for _ in range(replays):
        if found is not None:
            delta = step(delta, found[0], batch, eps, step_size)
        delta.requires_grad_()
        loss = mean_loss(model, batch, delta)
        found = torch.autograd.grad(loss, [delta, *weights], allow_unused=True)
        for p, g in zip(weights, found[1:], strict=True):
            p.grad = torch.zeros_like(p) if g is None else g
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses, dtype=torch.double), delta.detach()


def free_of_its_own(model, batch, optimizer, *rest):
    return free_with()(model, batch, torch.optim.SGD(model.parameters(), 0.05), *rest)


def free_odd(home=False, share=False, idle=False, ahead=False, leaf=False):
    """Every step from start; the loss divided; no last step; attack first; one leaf."""

    def answer(model, batch, optimizer, eps, step_size, replays, start):
        delta, losses = start.clone().requires_grad_(), []
        for t in range(replays):
            if ahead:
                d = delta.detach().requires_grad_()
                (g,) = torch.autograd.grad(mean_loss(model, batch, d), d)
                delta = step(d, g, batch, eps, step_size)
            optimizer.zero_grad()
            if not leaf:
                delta = delta.detach().requires_grad_()
            loss = mean_loss(model, batch, delta)
            loss.backward()
            if not (idle and t == replays - 1):
                optimizer.step()
            losses.append(loss.detach() / (replays if share else 1))
            if not ahead and t < replays - 1:
                moved = step(start if home else delta, delta.grad, batch, eps, step_size)
                if leaf:
                    delta.data = moved
                else:
                    delta = moved
        return torch.stack(losses), delta.detach()

    return answer


# ---------------------------------------------------------------- 09.4


def collapse_with(
    before="all", fgm_rule=True, swap=False, keep="best", first=True, base="keep", near_zero=False,
    share=False, gap=False, shift=0, turned=False, end_only=False, no_none=False, future=False,
):  # fmt: skip
    """Answers to 09.4; without arguments a right one."""

    def answer(fgm, pgd, drop=0.2):
        if swap:
            fgm, pgd = pgd, fgm
        n, found = len(pgd), None
        for k in range(1, n):
            if end_only and k < n - 1:
                continue
            known = pgd if future else pgd[:k]
            best = pgd.index(max(known)) if before == "all" else k - 1
            falls = pgd[best] - pgd[k] > drop
            if near_zero:
                falls = pgd[k] < 0.05
            if share:
                falls = pgd[k] < pgd[best] * (1 - drop)
            if gap:
                falls = fgm[k] - pgd[k] > drop
            top = fgm[best] if base == "keep" else max(fgm[:k])
            holds = top - fgm[k] <= drop if fgm_rule else True
            if falls and holds and (found is None or not first):
                kept = {"best": best, "before": k - 1, "fgm": fgm.index(max(fgm[:k])),
                        "self": k}[keep]  # fmt: skip
                found = (k + shift, kept + shift)
        if found is None:
            return (-1, -1) if no_none else None
        return found[::-1] if turned else found

    return answer


def collapse_running(fgm, pgd, drop=0.2):
    best = None
    for k, (f, p) in enumerate(zip(fgm, pgd, strict=True)):
        if best is not None and pgd[best] - p > drop and f >= fgm[best] - drop:
            return [k, best]
        if best is None or p > pgd[best]:
            best = k
    return None


def collapse_in_place(fgm, pgd, drop=0.2):
    found = collapse_running(fgm, pgd, drop)
    pgd.sort()
    return found


def collapse_in_torch(fgm, pgd, drop=0.2):
    found = collapse_running(fgm, pgd, drop)
    return None if found is None else torch.tensor(found)


def collapse_late(fgm, pgd, drop=0.3):
    return collapse_running(fgm, pgd, drop)


def collapse_in_floats(fgm, pgd, drop=0.2):
    found = collapse_running(fgm, pgd, drop)
    return found and [float(x) for x in found]


def last_of_equals(fgm, pgd, drop=0.2):
    found = collapse_running(fgm, pgd, drop)
    return found and (found[0], max(range(found[0]), key=lambda j: (pgd[j], j)))


def collapse_odd(falls=None, holds=None, by=0, end=False):
    """The two conditions as functions of (list, k, best, drop)."""
    falls = falls or (lambda x, k, best, drop: x[best] - x[k] > drop)
    holds = holds or (lambda x, k, best, drop: not x[best] - x[k] > drop)

    def answer(fgm, pgd, drop=0.2):
        for k in range(1, len(pgd)):
            best = max(range(k), key=(pgd, fgm)[by].__getitem__)
            if falls(pgd, k, best, drop):
                if holds(fgm, k, best, drop):
                    return k, best
                if end:
                    break
        return None

    return answer


def fixed(size):
    return collapse_odd(
        lambda x, k, best, drop: x[best] - x[k] > size,
        lambda x, k, best, drop: not x[best] - x[k] > size,
    )


def reaches(x, k, best, drop):
    return x[best] - x[k] >= drop


def below(x, k, best, drop):
    return x[best] - x[k] < drop


# ---------------------------------------------------------------- 09.5


def choose_with(
    money=True, clean=True, overlap=True, among=False, key=None, by="robust", tie=-1,
    always=False, strict=False, row=False,
):  # fmt: skip
    """Answers to 09.5; without arguments a right one."""

    def answer(table, budget, least_clean):
        def fits(r):
            if strict:
                return r["units"] < budget and r["clean"] >= least_clean
            return (not money or r["units"] <= budget) and (not clean or r["clean"] >= least_clean)

        left = [r for r in table if fits(r)]
        if not left:
            return max(table, key=lambda r: r["robust"])["name"] if always else None
        best = max(table if among else left, key=lambda r: r[by])
        near = [r for r in left if r["high"] >= best["low"]] if overlap else [best]
        if not near:
            return None
        found = min(near, key=key or (lambda r: (r["units"], tie * r["robust"])))
        return found if row else found["name"]

    return answer


def choose_by_sorting(table, budget, least_clean):
    left = sorted(table, key=lambda r: r["robust"], reverse=True)
    left = [r for r in left if not (r["units"] > budget or r["clean"] < least_clean)]
    for r in sorted(left, key=lambda r: r["units"]):
        if r["high"] >= left[0]["low"]:
            return r["name"]


def choose_and_spoil(table, budget, least_clean):
    found = choose_by_sorting(table, budget, least_clean)
    table.clear()
    return found


def choose_unsafe(table, budget, least_clean):
    left = [r for r in table if r["units"] <= budget and r["clean"] >= least_clean]
    if not left:
        return table[0]["name"]
    return choose_by_sorting(table, budget, least_clean)


def choose_by_arrays(table, budget, least_clean):
    columns = ("units", "clean", "robust", "low", "high")
    units, clean, robust, low, high = (np.array([r[k] for r in table]) for k in columns)
    fits = (units <= budget) & (clean >= least_clean)
    if not fits.any():
        return None
    near = fits & (high >= low[fits][robust[fits].argmax()])
    return table[np.flatnonzero(near)[np.lexsort((-robust[near], units[near]))[0]]]["name"]


def choose_above(robust=-1.0, units=float("inf")):
    """Rows with less robust accuracy or more units are never seen."""

    def answer(table, budget, least_clean):
        seen = [r for r in table if r["robust"] > robust and r["units"] < units]
        return choose_by_sorting(seen, budget, least_clean)

    return answer


def choose_and_mark(table, budget, least_clean):
    for row in table:
        row["fits"] = row["units"] <= budget
    return choose_by_sorting(table, budget, least_clean)


def choose_from_some(table, budget, least_clean):
    return choose_by_sorting(table, budget, least_clean) if table else "nobody"


def choose_odd(
    fits=lambda r, money, clean: r["units"] <= money and r["clean"] >= clean,
    near=lambda r, best: r["high"] >= best["low"],
    key=lambda r: (r["units"], -r["robust"]),
    everywhere=False,
):
    def answer(table, budget, least_clean):
        left = [r for r in table if fits(r, budget, least_clean)]
        if not left:
            return None
        best = max(left, key=lambda r: r["robust"])
        return min([r for r in (table if everywhere else left) if near(r, best)], key=key)["name"]

    return answer


# ---------------------------------------------------------------- the lists

RIGHT = [
    ("09.1", freelb_with()), ("09.1", freelb_by_mean),
    ("09.2", virtual_with()), ("09.2", virtual_by_hand),
    ("09.3", free_with()), ("09.3", free_by_names),
    ("09.4", collapse_with()), ("09.4", collapse_running),
    ("09.5", choose_with()), ("09.5", choose_by_sorting),
    ("09.1", freelb_in_loops), ("09.2", virtual_by_kl_div), ("09.4", collapse_in_torch),
    ("09.5", lambda table, *limits: choose_by_arrays(table, *limits) if table else None),
]  # fmt: skip

WRONG = [
    ("09.1", freelb_with(divide=False), "not divided by K"),
    ("09.1", freelb_with(learn=lambda k: (k - 1,)), "only the last point counts"),
    ("09.1", freelb_with(learn=lambda k: range(k - 1)), "last point is left out"),
    ("09.1", freelb_with(learn=lambda k: range(1, k)), "first point is left out"),
    ("09.1", freelb_with(early=1), "first point is `start`"),
    ("09.1", freelb_with(more=1), "shape|one point too many"),
    ("09.1", freelb_with(last_move=True), "last move is made"),
    ("09.1", freelb_with(begin=False), "start is not used"),
    ("09.1", freelb_with(still=True), "stays where it was"),
    ("09.1", freelb_with(sign=-1.0), "descent"),
    ("09.1", freelb_with(mask=False), "no mask"),
    ("09.1", freelb_with(ball=False), "no projection"),
    ("09.1", freelb_with(whole=True), "whole batch"),
    ("09.1", freelb_with(scale=False), "not normalised"),
    ("09.1", freelb_with(fresh=False), "first point is used for every step"),
    ("09.1", freelb_with(size=lambda eps, s: eps), "length eps"),
    ("09.1", freelb_with(clear=True), "before is gone"),
    ("09.1", freelb_with(mode="eval"), "another mode"),
    ("09.1", freelb_with(mode="eval and back"), "in another mode"),
    ("09.1", freelb_with(own_pass=True), "backward pass of its own"),
    ("09.1", freelb_with(summed=True), "summed over the texts"),
    ("09.1", freelb_with(losses_divided=True), "losses are divided"),
    ("09.1", freelb_with(attached=True), "tied to the graph"),
    ("09.1", freelb_with(optimise=True), "weights were changed"),
    ("09.1", freelb_with(in_place=True), "in place"),
    ("09.1", freelb_with(only="delta"), "no gradient reached"),
    ("09.1", freelb_one_leaf, "one leaf"),
    ("09.1", freelb_odd(home=True), "every step goes from `start`"),
    ("09.1", freelb_odd(small=True), "radius step_size"),
    ("09.1", freelb_odd(weight=lambda size, k: size / k), "texts, not their mean\n"),
    ("09.1", freelb_odd(weight=lambda size, k: size), "their mean, and not divided by K"),
    *disturbing("09.1", freelb_with()),
    ("09.1", freelb_text_by_text, "number of backward passes is not as expected\n  texts"),
    ("09.1", beside(freelb_with(), lambda m, b, s: perturbed_logits(m, b, None)),
     "number of forward passes is not as expected\n  texts"),
    ("09.1", freelb_cleared, "cleared in every round"),
    ("09.1", listed(freelb_with()), "losses should be a tensor, not list"),
    ("09.1", freelb_none, "None"),
    ("09.1", freelb_losses_only, "two things|losses"),
    ("09.2", virtual_with(zero=True), "flat"),
    ("09.2", virtual_with(here=True), "flat|reference"),
    ("09.2", virtual_with(reverse=True), "other way round"),
    ("09.2", virtual_with(rounds=lambda k: 1), "only one round"),
    ("09.2", virtual_with(rounds=lambda k: k + 1), "one round too many"),
    ("09.2", virtual_with(rounds=lambda k: 0), "no gradient was used"),
    ("09.2", virtual_with(again=True), "begins at `start`"),
    ("09.2", virtual_with(add=True), "added to the one before"),
    ("09.2", virtual_with(mask=False), "no mask"),
    ("09.2", virtual_with(whole=True), "whole batch"),
    ("09.2", virtual_with(sign=-1.0), "wrong sign"),
    ("09.2", virtual_with(labels=True), "needs no label"),
    ("09.2", virtual_with(plain=True), "predicted class"),
    ("09.2", virtual_with(backward=True), "changes the .grad"),
    ("09.2", virtual_with(attached=True), "tied to the graph"),
    ("09.2", virtual_with(mode="eval"), "another mode"),
    ("09.2", virtual_with(at=lambda eps, xi: eps), "taken at size eps"),
    ("09.2", virtual_with(at=lambda eps, xi: xi), "taken at size xi"),
    ("09.2", virtual_with(end=lambda eps, xi: xi * eps), "size xi · eps"),
    ("09.2", virtual_with(end=lambda eps, xi: 1.0), "eps is forgotten"),
    ("09.2", virtual_with(in_place=True), "in place"),
    ("09.2", virtual_with(own=True), "random direction of its own"),
    ("09.2", virtual_odd(own="seeded"), "random direction of its own"),
    ("09.2", virtual_odd(squash=True), "it takes logits"),
    ("09.2", virtual_odd(beyond="start"), "point of the search was added"),
    ("09.2", virtual_odd(beyond="last"), "point of the search was added"),
    ("09.2", virtual_odd(beyond="out"), "longer than eps"),
    ("09.2", virtual_odd(anew=True), "anew in every round"),
    ("09.2", virtual_labels, "did you use the labels"),
    *disturbing("09.2", virtual_with()),
    ("09.2", beside(virtual_with(), lambda m, b, s: m.zero_grad()), r"zero_grad\(\) clears"),
    ("09.2", virtual_of_two, "delta is not as expected\n  texts"),
    ("09.2", beside(virtual_with(), lambda m, b, s: perturbed_logits(m, b, None)),
     "number of forward passes is not as expected\n  texts"),
    ("09.3", free_with(clear="never"), "never cleared"),
    ("09.3", free_with(clear="once"), "earlier replays"),
    ("09.3", free_with(clear="after"), "before the call"),
    ("09.3", free_with(keep=False), "begins there again"),
    ("09.3", free_with(still=True), "never moved"),
    ("09.3", free_with(two=True), "after the optimizer's step"),
    ("09.3", free_with(last_move=True), "last move is made"),
    ("09.3", free_with(optimizer_at="end"), "one optimizer step after all"),
    ("09.3", free_with(optimizer_at="end", clear="once"), "that is FreeLB"),
    ("09.3", free_with(optimizer_at="never"), "made no step"),
    ("09.3", free_with(divide=True), "divided by the number of replays"),
    ("09.3", free_with(begin=False), "start is not used"),
    ("09.3", free_with(sign=-1.0), "descent"),
    ("09.3", free_with(mask=False), "no mask"),
    ("09.3", free_with(ball=False), "no projection"),
    ("09.3", free_with(whole=True), "whole batch"),
    ("09.3", free_with(scale=False), "not normalised"),
    ("09.3", free_with(size=lambda eps, s: eps), "length eps"),
    ("09.3", free_with(mode="eval"), "another mode"),
    ("09.3", free_with(attached=True), "tied to the graph"),
    ("09.3", free_odd(home=True), "every step goes from `start`"),
    ("09.3", free_odd(share=True), "losses are divided"),
    ("09.3", free_odd(idle=True), "no optimizer step in the last replay"),
    ("09.3", free_odd(ahead=True), "second pass"),
    ("09.3", free_odd(leaf=True), "one leaf"),
    *disturbing("09.3", free_with()),
    ("09.3", listed(free_with()), "losses should be a tensor, not list"),
    ("09.3", free_of_its_own, "number of optimizer steps|made no step"),
    ("09.4", collapse_with(swap=True), "changed places"),
    ("09.4", collapse_with(fgm_rule=False), "not looked at"),
    ("09.4", collapse_with(before="last"), "one before it"),
    ("09.4", collapse_with(gap=True, fgm_rule=False), "gap"),
    ("09.4", collapse_with(end_only=True), "only the last check"),
    ("09.4", collapse_with(first=False), "not the first"),
    ("09.4", collapse_with(future=True), "whole history"),
    ("09.4", collapse_with(base="best"), "its own best"),
    ("09.4", collapse_with(near_zero=True), "near zero"),
    ("09.4", collapse_with(share=True), "share"),
    ("09.4", collapse_with(keep="before"), "not just the one before"),
    ("09.4", collapse_with(keep="self"), "not the fallen one"),
    ("09.4", collapse_with(keep="fgm"), "best FGM"),
    ("09.4", collapse_with(shift=1), "counted from 0"),
    ("09.4", collapse_with(turned=True), "changed places"),
    ("09.4", collapse_with(no_none=True), "the fall is not as expected"),
    ("09.4", fixed(0.2), "`drop` is not used"),
    ("09.4", fixed(0.19), "`drop` is not used"),
    ("09.4", collapse_odd(falls=reaches), "exactly `drop`"),
    ("09.4", collapse_odd(holds=below), "exactly `drop`"),
    ("09.4", collapse_odd(falls=reaches, holds=below), "ties"),
    ("09.4", collapse_odd(holds=lambda x, k, b, d: x[k] >= x[b]), "must not fall at all"),
    ("09.4", collapse_odd(holds=lambda x, k, b, d: x[k] > x[b]), "must have risen"),
    ("09.4", collapse_odd(holds=lambda x, k, b, d: x[k - 1] - x[k] <= d), "just before k"),
    ("09.4", collapse_odd(holds=lambda x, k, b, d: abs(x[k] - x[b]) <= d), "absolute change"),
    ("09.4", collapse_odd(by=1), "best FGM accuracy"),
    ("09.4", collapse_odd(end=True), "gives up where both fall"),
    ("09.4", lambda fgm, pgd, drop=0.2: None, "never finds"),
    ("09.4", lambda fgm, pgd, drop=0.2: True, "two whole numbers"),
    ("09.4", collapse_in_place, "changes its input"),
    ("09.4", collapse_late, "should be 0.2"),
    ("09.4", collapse_in_floats, "two whole numbers"),
    ("09.4", last_of_equals, "the first is to be kept"),
    ("09.5", choose_with(money=False), "budget is not looked at"),
    ("09.5", choose_with(clean=False), "least_clean is not looked at"),
    ("09.5", choose_with(money=False, clean=False), "neither"),
    ("09.5", choose_with(overlap=False), "intervals are not looked at"),
    ("09.5", choose_with(among=True), "one that you can have"),
    ("09.5", choose_with(key=lambda r: (-r["units"], -r["robust"])), "dearest"),
    ("09.5", choose_with(key=lambda r: 0), "first of the table"),
    ("09.5", choose_with(key=lambda r: -r["clean"]), "best clean"),
    ("09.5", choose_with(tie=1), "cost the same"),
    ("09.5", choose_with(by="clean"), "largest clean"),
    ("09.5", choose_with(by="high"), "wide interval"),
    ("09.5", choose_with(by="low"), "largest `low`"),
    ("09.5", choose_with(always=True), "None"),
    ("09.5", choose_unsafe, "None"),
    ("09.5", choose_with(strict=True), "limits are allowed"),
    ("09.5", choose_odd(lambda r, m, c: r["units"] <= m and r["clean"] > c), "limits are allowed"),
    ("09.5", choose_odd(lambda r, m, c: r["units"] < m and r["clean"] > c), "limits are allowed"),
    ("09.5", choose_odd(lambda r, m, c: r["units"] <= m or r["clean"] >= c), "must have both"),
    ("09.5", choose_odd(near=lambda r, best: r["high"] > best["low"]), "at least"),
    ("09.5", choose_odd(near=lambda r, best: r["high"] >= best["robust"]), "only reach its `low`"),
    ("09.5", choose_odd(near=lambda r, best: r["robust"] >= best["low"]), "`high` reaches"),
    ("09.5", choose_odd(key=lambda r: r["units"]), "first of the table"),
    ("09.5", choose_odd(key=lambda r: (r["units"], -r["clean"])), "better clean"),
    ("09.5", choose_odd(everywhere=True), "come back"),
    ("09.5", choose_with(row=True), "not its row"),
    ("09.5", choose_above(robust=0.0), "choice is not as expected"),
    ("09.5", choose_above(units=10**6), "choice is not as expected"),
    ("09.5", choose_and_mark, "changes its input `table`"),
    ("09.5", choose_from_some, "of an empty table"),
    ("09.5", lambda *given: choose_by_sorting(*given) or "", "an empty name"),
    ("09.5", lambda *given: choose_by_sorting(*given) or "None", "choice is not as expected"),
    ("09.5", choose_and_spoil, "changes its input `table`"),
]
