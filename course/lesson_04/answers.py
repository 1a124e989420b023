"""Right and wrong answers to the exercises of lesson 04."""

import math

import numpy as np
import torch

from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin, zero_delta

# ---------------------------------------------------------------- right answers


def project_by_cases(delta, eps, norm):
    if norm == "linf":
        return torch.minimum(torch.maximum(delta, torch.tensor(-eps)), torch.tensor(eps))
    rows = []
    for one in delta:
        size = one.square().sum().sqrt()
        rows.append(one if size <= eps else one * (eps / size))
    return torch.stack(rows)


def project_in_one(delta, eps, norm):
    if norm == "linf":
        return delta.clamp(min=-eps, max=eps)
    size = torch.linalg.vector_norm(delta, dim=(1, 2), keepdim=True)
    return delta / (size / eps).clamp_min(1)


def climb(model, batch, delta, sign=1.0, mask=True, whole=False, normalise=True):
    """The direction of one step."""
    d = delta.detach().clone().requires_grad_()
    loss = wrong_margin(perturbed_logits(model, batch, d), batch["labels"]).sum()
    (grad,) = torch.autograd.grad(sign * loss, d)
    if mask:
        grad = grad * attackable(batch)[..., None]
    if not normalise:
        return grad
    size = grad.norm() if whole else grad.flatten(1).norm(dim=1)[:, None, None]
    return grad / size


def pgd_by_hand(model, batch, eps, steps, step_size, start=None):
    delta = zero_delta(model, batch) if start is None else start.clone()
    for _ in range(steps):
        delta = project_in_one(delta + step_size * climb(model, batch, delta), eps, "l2")
    return delta


def pgd_recursive(model, batch, eps, steps, step_size, start=None):
    if not steps:
        return zero_delta(model, batch) if start is None else start
    before = pgd_recursive(model, batch, eps, steps - 1, step_size, start)
    return project_by_cases(before + step_size * climb(model, batch, before), eps, "l2")


def ball_by_loop(mask, hidden, eps, generator):
    delta = torch.zeros(*mask.shape, hidden)
    for i, row in enumerate(mask):
        count = int(row.sum())
        if count:
            point = torch.randn(count, hidden, generator=generator)
            radius = torch.rand((), generator=generator) ** (1 / (count * hidden))
            delta[i, row] = eps * radius * point / point.norm()
    return delta


def ball_in_one(mask, hidden, eps, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator) * mask[..., None]
    d = hidden * mask.sum(1).clamp_min(1)
    radius = torch.rand(len(mask), generator=generator) ** (1 / d)
    size = noise.flatten(1).norm(dim=1).clamp_min(1e-9)
    return noise * (eps * radius / size)[:, None, None]


def best_by_loop(losses, deltas):
    rows = [deltas[losses[:, i].argmax(), i] for i in range(losses.shape[1])]
    return torch.stack(rows)


def best_by_gather(losses, deltas):
    index = losses.argmax(0)[None, :, None, None].expand(1, *deltas.shape[1:])
    return deltas.gather(0, index)[0]


def polar(eps, radii, angles):
    a = 2 * math.pi * torch.arange(angles, dtype=torch.float64) / angles
    ring = torch.stack([a.cos(), a.sin()], 1)
    points = radii.double()[:, None, None] * ring
    return eps * points.reshape(-1, 2)


def worst_of(points, loss_at, pick=torch.argmax):
    losses = torch.cat([loss_at(p) for p in points.split(4096)])
    k = pick(losses)
    return points[k], losses[k]


def worst_polar(loss_at, eps, resolution):
    return worst_of(polar(eps, torch.linspace(0, 1, 2 * resolution), 8 * resolution), loss_at)


def worst_square_cut(loss_at, eps, resolution):
    """A square grid, cut to the disc, and the rim."""
    side = torch.linspace(-eps, eps, 2 * resolution + 1, dtype=torch.float64)
    points = torch.cartesian_prod(side, side)
    points = points[points.norm(dim=1) <= eps]
    rim = polar(eps, torch.ones(1), 8 * resolution)
    best, top = None, -math.inf
    for some in torch.cat([points, rim]).split(1000):
        losses = loss_at(some)
        if losses.max() > top:
            best, top = some[losses.argmax()], losses.max().item()
    return best, top


def worst_ring_by_ring(angles):
    """A call for each ring of `angles(k, resolution)` points."""

    def answer(loss_at, eps, resolution):
        best, top = None, -math.inf
        for k in range(resolution + 1):
            points = polar(eps, torch.tensor([k / resolution]), angles(k, resolution))
            losses = loss_at(points)
            if losses.max() > top:
                best, top = points[losses.argmax()], losses.max()
        return best, top

    return answer


def worst_row_by_row(loss_at, eps, resolution):
    """A square grid, each row cut to the disc, and the rim."""
    side = torch.linspace(-eps, eps, 2 * resolution + 1, dtype=torch.float64)
    rows = [torch.stack([side, torch.full_like(side, y)], dim=1) for y in side.tolist()]
    rows = [row[row.norm(dim=1) <= eps] for row in rows]
    tried = [(p, loss_at(p)) for p in (polar(eps, torch.ones(1), 8 * resolution), *rows) if len(p)]
    points, losses = max(tried, key=lambda pair: pair[1].max())
    return points[losses.argmax()], losses.max()


def project_by_numpy(delta, eps, norm):
    rows = delta.numpy().copy()
    if norm == "linf":
        return torch.from_numpy(rows.clip(-eps, eps).astype(rows.dtype))
    for row in rows:
        size = np.linalg.norm(row)
        if size > eps:
            row *= eps / size
    return torch.from_numpy(rows)


def pgd_text_by_text(model, batch, eps, steps, step_size, start=None):
    rows = []
    for i in range(len(batch["labels"])):
        begin = [] if start is None else [start[i : i + 1]]
        one = {k: v[i : i + 1] for k, v in batch.items()}
        rows.append(pgd_by_hand(model, one, eps, steps, step_size, *begin))
    return torch.cat(rows)


def ball_from_a_sphere(mask, hidden, eps, generator):
    """All but two coordinates of a uniform point of a sphere are uniform in the ball."""
    delta = torch.zeros(*mask.shape, hidden)
    for i, row in enumerate(mask):
        point = torch.randn(int(row.sum()) * hidden + 2, generator=generator, dtype=torch.double)
        delta[i, row] = (eps * point / point.norm())[:-2].view(-1, hidden).float()
    return delta


def best_on_the_way(losses, deltas):
    best, top = deltas[0], losses[0]
    for loss, delta in zip(losses[1:], deltas[1:], strict=True):
        best = torch.where((loss >= top)[:, None, None], delta, best)
        top = torch.maximum(loss, top)
    return best


RIGHT = [
    ("04.1", project_by_cases), ("04.1", project_in_one), ("04.1", project_by_numpy),
    ("04.2", pgd_by_hand), ("04.2", pgd_recursive), ("04.2", pgd_text_by_text),
    ("04.3", ball_by_loop), ("04.3", ball_in_one), ("04.3", ball_from_a_sphere),
    ("04.4", best_by_loop), ("04.4", best_by_gather), ("04.4", best_on_the_way),
    ("04.5", worst_polar), ("04.5", worst_square_cut), ("04.5", worst_row_by_row),
    ("04.5", lambda f, e, n: worst_from(-math.inf)(f, e, n)),
    ("04.5", worst_ring_by_ring(lambda k, n: 6 * n)),
    ("04.5", worst_ring_by_ring(lambda k, n: 10 * n)),
    ("04.5", worst_ring_by_ring(lambda k, n: max(1, 7 * k))),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def scaled(dims, least=True):
    """Answers to 04.1 that take the norm over other dimensions, or always rescale."""

    def answer(delta, eps, norm):
        if norm == "linf":
            return delta.clamp(-eps, eps)
        size = delta.norm(dim=dims, keepdim=True) if dims else delta.norm()
        return delta * eps / (size.clamp_min(eps) if least else size)

    return answer


def project_in_place(delta, eps, norm):
    if norm == "linf":
        return delta.clamp_(-eps, eps)
    delta *= eps / delta.norm(dim=(1, 2), keepdim=True).clamp_min(eps)
    return delta


def project_nan(delta, eps, norm):
    if norm == "linf":
        return delta.clamp(-eps, eps)
    size = delta.norm(dim=(1, 2), keepdim=True)
    return delta / size * size.clamp_max(eps)


def linf_rescaled(delta, eps, norm):
    if norm == "l2":
        return project_in_one(delta, eps, norm)
    return delta * (eps / delta.abs().amax((1, 2), keepdim=True).clamp_min(eps))


def pgd_with(order=False, free=False, again=0, stale=False, **how):
    """Answers to 04.2 with one mistake each."""

    def answer(model, batch, eps, steps, step_size, start=None):
        delta = zero_delta(model, batch) if start is None else start
        at = delta
        for _ in range(steps + again):
            push = step_size * climb(model, batch, at if stale else delta, **how)
            if order:
                delta = project_in_one(delta, eps, "l2") + push
            else:
                delta = delta + push
                delta = delta if free else project_in_one(delta, eps, "l2")
        return delta

    return answer


def pgd_backward(model, batch, eps, steps, step_size, start=None):
    delta = (zero_delta(model, batch) if start is None else start.clone()).requires_grad_()
    for _ in range(steps):
        wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).sum().backward()
        grad = delta.grad * attackable(batch)[..., None]
        grad = grad / grad.norm(dim=(1, 2), keepdim=True)
        delta = project_in_one(delta.detach() + step_size * grad, eps, "l2").requires_grad_()
    return delta.detach()


def pgd_eval(model, batch, eps, steps, step_size, start=None):
    model.eval()
    return pgd_by_hand(model, batch, eps, steps, step_size, start)


def pgd_attached(model, batch, *settings):
    return pgd_by_hand(model, batch, *settings).requires_grad_()


def pgd_whole_ball(model, batch, eps, steps, step_size, start=None):
    delta = zero_delta(model, batch) if start is None else start
    for _ in range(steps):
        delta = delta + step_size * climb(model, batch, delta)
        delta = delta * (eps / delta.norm().clamp_min(eps))
    return delta


def pgd_rounds(after=None, length=None, before_mask=False, at_end=False, keep=False):
    """Answers to 04.2: what follows a step, how long it is, when the mask comes, what is kept."""

    def answer(model, batch, eps, steps, step_size, start=None):
        begin = zero_delta(model, batch) if start is None else start
        free = attackable(batch)[..., None]
        size = length(eps, step_size) if length else step_size
        delta, seen = begin, [begin]
        for _ in range(steps):
            push = climb(model, batch, delta, mask=not (before_mask or at_end))
            delta = delta + size * (push * free if before_mask else push)
            delta = (after or (lambda d, e, b: project_in_one(d, e, "l2")))(delta, eps, begin)
            seen.append(delta)
        if keep:
            losses = [wrong_margin(perturbed_logits(model, batch, d), batch["labels"])
                      for d in seen]  # fmt: skip
            return best_by_loop(torch.stack(losses).detach(), torch.stack(seen))
        return delta * free if at_end else delta

    return answer


def pgd_project_once(model, batch, eps, steps, step_size, start=None):
    free = pgd_rounds(after=lambda d, e, b: d)
    return project_in_one(free(model, batch, eps, steps, step_size, start), eps, "l2")


def pgd_from_zero(model, batch, eps, steps, step_size, start=None):
    return pgd_by_hand(model, batch, eps, steps, step_size)


def pgd_start_in_place(model, batch, eps, steps, step_size, start=None):
    delta = zero_delta(model, batch) if start is None else start
    for _ in range(steps):
        delta += step_size * climb(model, batch, delta)
        delta *= eps / delta.norm(dim=(1, 2), keepdim=True).clamp_min(eps)
    return delta


def ball_with(radius, direction=torch.randn):
    """Answers to 04.3 from a formula for the radius: radius(u, free coordinates, all)."""

    def answer(mask, hidden, eps, generator):
        noise = direction(*mask.shape, hidden, generator=generator) * mask[..., None]
        u = torch.rand(len(mask), generator=generator)
        d = hidden * mask.sum(1).clamp_min(1)
        size = noise.flatten(1).norm(dim=1).clamp_min(1e-9)
        share = radius(u, d, mask.shape[1] * hidden, hidden)
        return noise * (eps * share / size)[:, None, None]

    return answer


def cube_of(cut):
    def answer(mask, hidden, eps, generator):
        delta = eps * (2 * torch.rand(*mask.shape, hidden, generator=generator) - 1)
        delta = delta * mask[..., None]
        return project_in_one(delta, eps, "l2") if cut else delta

    return answer


def centred(*shape, generator):
    return torch.rand(*shape, generator=generator) - 0.5


def ball_no_generator(mask, hidden, eps, generator):
    return ball_in_one(mask, hidden, eps, None)


def ball_unmasked(mask, hidden, eps, generator):
    return ball_in_one(torch.ones_like(mask), hidden, eps, generator)


def ball_own_seed(mask, hidden, eps, generator):
    return ball_in_one(mask, hidden, eps, torch.Generator().manual_seed(0))


def ball_of_batch(mask, hidden, eps, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator) * mask[..., None]
    return eps * noise / noise.norm()


def ball_nan(mask, hidden, eps, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator) * mask[..., None]
    u = torch.rand(len(mask), generator=generator)
    share = u ** (1 / (hidden * mask.sum(1).clamp_min(1)))
    return noise * (eps * share)[:, None, None] / noise.norm(dim=(1, 2), keepdim=True)


def ball_per_token(mask, hidden, eps, generator):
    flat = torch.ones(mask.numel(), 1, dtype=torch.bool)
    return ball_in_one(flat, hidden, eps, generator).view(*mask.shape, hidden) * mask[..., None]


def ball_one_direction(mask, hidden, eps, generator):
    noise = torch.randn(len(mask), 1, hidden, generator=generator) * mask[..., None]
    u = torch.rand(len(mask), 1, 1, generator=generator)
    d = hidden * mask.sum(1).clamp_min(1)[:, None, None]
    size = noise.norm(dim=(1, 2), keepdim=True).clamp_min(1e-9)
    return noise * eps * u ** (1 / d) / size


def ball_equal_tokens(mask, hidden, eps, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator)
    noise = noise / noise.norm(dim=2, keepdim=True) * mask[..., None]
    u = torch.rand(len(mask), 1, 1, generator=generator)
    n = mask.sum(1).clamp_min(1)[:, None, None]
    return noise * eps * u ** (1 / (n * hidden)) / n**0.5


def ball_masked_late(mask, hidden, eps, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator)
    noise = noise / noise.norm(dim=(1, 2), keepdim=True) * mask[..., None]
    d = hidden * mask.sum(1).clamp_min(1)
    return noise * (eps * torch.rand(len(mask), generator=generator) ** (1 / d))[:, None, None]


def ball_d_of_batch(mean):
    def answer(mask, hidden, eps, generator):
        count = hidden * mask.sum() / (len(mask) if mean else 1)
        return ball_with(lambda u, d, D, h: u ** (1 / count))(mask, hidden, eps, generator)

    return answer


def worst_with(make, pick=torch.argmax):
    return lambda loss_at, eps, resolution: worst_of(make(eps, resolution), loss_at, pick)


def disc(eps, n):
    return polar(eps, torch.linspace(0, 1, 2 * n), 8 * n)


def square(eps, n):
    side = torch.linspace(-eps, eps, 2 * n + 1, dtype=torch.float64)
    return torch.cartesian_prod(side, side)


def square_cut(eps, n):
    side = eps * torch.arange(-n, n + 1, dtype=torch.float64) / n
    points = torch.cartesian_prod(side, side)
    return points[points.norm(dim=1) <= eps]


def worst_at_once(loss_at, eps, resolution):
    points = disc(eps, 2 * resolution)
    losses = loss_at(points)
    return points[losses.argmax()], losses.max()


def worst_one_by_one(loss_at, eps, resolution):
    points = disc(eps, resolution)
    losses = torch.cat([loss_at(p[None]) for p in points])
    return points[losses.argmax()], losses.max()


def worst_index(loss_at, eps, resolution):
    losses = torch.cat([loss_at(p) for p in disc(eps, resolution).split(4096)])
    return losses.argmax(), losses.max()


def worst_last_batch(loss_at, eps, resolution):
    for points in disc(eps, resolution).split(500):
        losses = loss_at(points)
        best = points[losses.argmax()], losses.max()
    return best


def worst_single(loss_at, eps, resolution):
    points = disc(eps, resolution).float()
    losses = torch.cat([loss_at(p) for p in points.split(4096)])
    return points[losses.argmax()], losses.max()


def tracked(answer, place=0):
    """An answer that switches the gradient of one of its inputs on."""

    def tracking(*inputs):
        kept = inputs[place].requires_grad_().detach()
        return answer(*inputs[:place], kept, *inputs[place + 1 :])

    return tracking


def project_by_first(delta, eps, norm):
    if norm == "linf":
        return delta.clamp(-eps, eps)
    return delta * (eps / delta[0].norm().clamp_min(eps))


def pgd_after(change, tidy=None):
    """An answer to 04.2 that does something to the model or the batch, and perhaps undoes it."""

    def answer(model, batch, *settings):
        kept = change(model, batch)
        result = pgd_by_hand(model, batch, *settings)
        if tidy:
            tidy(model, kept)
        return result

    return answer


def to_eval(model, batch):
    mode = model.training
    model.eval()
    return mode


def pgd_frozen_for_a_while(model, batch, *settings):
    return pgd_after(lambda m, b: m.requires_grad_(False), lambda m, _: m.requires_grad_(True))(
        model, batch, *settings)  # fmt: skip


def pgd_two_classes(model, batch, eps, steps, step_size, start=None):
    delta = zero_delta(model, batch) if start is None else start
    for _ in range(steps):
        at = delta.detach().clone().requires_grad_()
        logits, rows = perturbed_logits(model, batch, at), torch.arange(len(delta))
        odds = logits[rows, 1 - batch["labels"]] - logits[rows, batch["labels"]]
        (grad,) = torch.autograd.grad(odds.sum(), at)
        grad = grad * attackable(batch)[..., None]
        push = step_size * grad / grad.norm(dim=(1, 2), keepdim=True)
        delta = project_in_one(delta + push, eps, "l2")
    return delta


def ball_of_direction(draw):
    def answer(mask, hidden, eps, generator):
        noise = draw(mask, hidden, generator) * mask[..., None]
        radius = torch.rand(len(mask), 1, 1, generator=generator)
        d = hidden * mask.sum(1).clamp_min(1)[:, None, None]
        size = noise.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
        return eps * radius ** (1 / d) * noise / size

    return answer


def one_for_all(mask, hidden, generator):
    return torch.randn(1, mask.shape[1], hidden, generator=generator)


def one_or_its_opposite(mask, hidden, generator):
    sign = torch.randn(len(mask), 1, 1, generator=generator).sign()
    return sign * one_for_all(mask, hidden, generator)


def stretched(mask, hidden, generator):
    noise = torch.randn(*mask.shape, hidden, generator=generator)
    return noise * torch.linspace(1, 1.5, hidden)


def best_from_zero(losses, deltas):
    best, top = deltas[0].clone(), torch.full_like(losses[0], -10)
    for loss, delta in zip(losses, deltas, strict=True):
        best[loss > top] = delta[loss > top]
        top = torch.maximum(loss, top)
    return best


def worst_from(start):
    """An answer to 04.5 that remembers the best so far, beginning with `start`."""

    def answer(loss_at, eps, resolution):
        best, top = torch.zeros(2, dtype=torch.float64), start
        for points in disc(eps, resolution).split(4096):
            losses = loss_at(points)
            if losses.max() > top:
                best, top = points[losses.argmax()], losses.max().item()
        return best, top

    return answer


WRONG = [
    ("04.1", lambda d, e, n: project_in_one(d.double(), e, n), "a model takes no other"),
    ("04.1", tracked(project_in_one), "requires_grad of `delta`"),
    ("04.1", project_by_first, "l2 ball is not as expected"),
    ("04.2", pgd_after(lambda m, b: m.zero_grad()), r"changes the \.grad"),
    ("04.2", pgd_after(lambda m, b: m.requires_grad_(False)), "the flag that it had"),
    ("04.2", pgd_frozen_for_a_while, "the flag that it had"),
    ("04.2", pgd_after(to_eval, lambda model, mode: model.train(mode)), "another mode"),
    ("04.2", pgd_after(lambda m, b: b.pop("labels")), "takes 'labels' out"),
    ("04.2", lambda m, b, *rest: (pgd_by_hand(m, b, *rest), b.pop("special_tokens_mask"))[0],
     "takes 'special_tokens_mask' out"),
    ("04.2", pgd_two_classes, "after the last step"),
    ("04.2", lambda *i: pgd_by_hand(*i).squeeze(), "shape"),
    ("04.3", lambda *i: ball_in_one(*i).double(), "torch.float32"),
    ("04.3", lambda *i: ball_in_one(*i).squeeze(0), "shape"),
    ("04.3", ball_of_direction(one_for_all), "drawn for all texts"),
    ("04.3", ball_of_direction(one_or_its_opposite), "drawn for all texts"),
    ("04.3", ball_of_direction(stretched), "some coordinates get more"),
    ("04.4", lambda a, d: best_by_loop(a, d.double()), "a model takes no other"),
    ("04.4", tracked(best_by_loop, 1), "requires_grad of `deltas`"),
    ("04.4", best_from_zero, "not as expected"),
    ("04.5", worst_from(0.0), "point is not as expected"),
    ("04.5", worst_from(-10.0), "point is not as expected"),
    ("04.5", lambda f, e, n: (lambda p, loss: (p, abs(loss)))(*worst_polar(f, e, n)), "as it is"),
    ("04.5", lambda f, e, n: (lambda p, loss: (p.tolist(), loss))(*worst_polar(f, e, n)),
     "a tensor of shape"),
    ("04.1", lambda d, e, n: d, "nothing is projected"),
    ("04.1", scaled((1, 2), least=False), "always rescales|0/0"),
    ("04.1", scaled(None), "whole batch"),
    ("04.1", scaled(2), "per token"),
    ("04.1", scaled(1), "dim=1"),
    ("04.1", lambda d, e, n: d.clamp(-e, e), "cube"),
    ("04.1", lambda d, e, n: project_in_one(d, e, "l2"), "wrong norm|l2 ball"),
    ("04.1", linf_rescaled, "rescaling"),
    ("04.1", lambda d, e, n: project_in_one(d, 1.0, n), "eps is forgotten"),
    ("04.1", project_in_place, "in place"),
    ("04.1", project_nan, "nan"),
    ("04.1", lambda d, e, n: None, "return"),
    ("04.1", lambda d, e, n: project_in_one(d, e, n)[0], "shape"),
    ("04.1", lambda d, e, n: project_in_one(d, e, n) if n == "l2" else d.clamp(max=e), "negative"),
    ("04.1", lambda d, e, n: project_in_one(d, e, n) if n == "l2" else e * d.sign(), "sign"),
    ("04.2", pgd_with(sign=-1.0), "descent"),
    ("04.2", pgd_with(free=True), "no projection"),
    ("04.2", pgd_with(order=True), "before the step"),
    ("04.2", pgd_with(again=1), "too many"),
    ("04.2", pgd_with(again=-1), "too few|nothing moved"),
    ("04.2", pgd_with(stale=True), "always asked"),
    ("04.2", pgd_with(mask=False), "mask"),
    ("04.2", pgd_with(normalise=False), "not normalised"),
    ("04.2", pgd_whole_ball, "whole batch"),
    ("04.2", pgd_with(whole=True), "step is normalised over the whole batch"),
    ("04.2", pgd_rounds(lambda d, e, b: b + project_in_one(d - b, e, "l2")), "round the clean"),
    ("04.2", pgd_rounds(lambda d, e, b: e * d / d.norm(dim=(1, 2), keepdim=True)), "ends on the"),
    ("04.2", pgd_rounds(lambda d, e, b: d.clamp(-e, e)), "linf"),
    ("04.2", pgd_rounds(length=lambda e, size: e * size), "multiplied by eps"),
    ("04.2", pgd_rounds(before_mask=True), "normalised first and masked afterwards"),
    ("04.2", pgd_rounds(at_end=True), "mask comes at the end"),
    ("04.2", pgd_rounds(keep=True), "best delta on the way"),
    ("04.2", pgd_project_once, "one projection after the loop"),
    ("04.2", pgd_backward, r"changes the \.grad"),
    ("04.2", pgd_eval, "mode"),
    ("04.2", pgd_attached, "graph"),
    ("04.2", pgd_from_zero, "start is ignored"),
    ("04.2", pgd_start_in_place, "in place"),
    ("04.2", lambda m, b, e, s, a, start=None: pgd_by_hand(m, b, e, s, e, start), "eps was taken"),
    ("04.2", lambda m, b, e, s, a, start=None: zero_delta(m, b), "nothing moved"),
    ("04.2", lambda *i: None, "return"),
    ("04.2", lambda *i: pgd_by_hand(*i)[:, 1:], "shape"),
    ("04.3", ball_with(lambda u, d, D, h: u), "u itself"),
    ("04.3", ball_with(lambda u, d, D, h: u ** (1 / D)), "padding"),
    ("04.3", ball_with(lambda u, d, D, h: u ** (h / d)), "number of free tokens|`hidden`"),
    ("04.3", ball_with(lambda u, d, D, h: u ** (1 / h)), "`hidden`"),
    ("04.3", ball_with(lambda u, d, D, h: torch.ones_like(u)), "surface"),
    ("04.3", ball_with(lambda u, d, D, h: u[:1] ** (1 / d)), "one radius"),
    ("04.3", ball_with(lambda u, d, D, h: u ** (1 / d), direction=torch.rand), "one side"),
    ("04.3", ball_with(lambda u, d, D, h: u ** (1 / d), direction=centred), "cube"),
    ("04.3", cube_of(False), "cube"),
    ("04.3", cube_of(True), "not uniform|cube"),
    ("04.3", ball_no_generator, "generator"),
    ("04.3", ball_own_seed, "seeded inside"),
    ("04.3", ball_unmasked, "mask"),
    ("04.3", ball_of_batch, "whole batch"),
    ("04.3", ball_d_of_batch(mean=False), "d is counted over the whole batch"),
    ("04.3", ball_d_of_batch(mean=True), "d is counted over the whole batch"),
    ("04.3", ball_per_token, "each token has a ball of its own"),
    ("04.3", ball_one_direction, "one direction is drawn per text"),
    ("04.3", ball_equal_tokens, "each token is normalised alone"),
    ("04.3", ball_masked_late, "normalised before the mask"),
    ("04.3", ball_nan, "nan"),
    ("04.3", lambda m, h, e, g: ball_in_one(m, h, 1.0, g), "eps is missing"),
    ("04.3", lambda m, h, e, g: ball_in_one(m, h, e, g).flatten(1), "shape"),
    ("04.3", lambda m, h, e, g: None, "return"),
    ("04.4", lambda a, d: d[a.sum(1).argmax()], "one run for the whole batch"),
    ("04.4", lambda a, d: d[a.max(1).values.argmax()], "the largest loss of all"),
    ("04.4", lambda a, d: d[a.argmax(0), 0], "always of text 0"),
    ("04.4", lambda a, d: best_by_loop(-a, d), "minimum"),
    ("04.4", lambda a, d: d[-1], "last run"),
    ("04.4", lambda a, d: d[0], "first run"),
    ("04.4", lambda a, d: d.mean(0), "mean"),
    ("04.4", lambda a, d: best_by_loop(a.abs(), d), "absolute"),
    ("04.4", lambda a, d: d[a.argmax(0)], "whole batches"),
    ("04.4", lambda a, d: d.amax(0), "mixes"),
    ("04.4", lambda a, d: a.argmax(0), "index"),
    ("04.4", lambda a, d: a.amax(0), "largest loss"),
    ("04.4", lambda a, d: best_by_loop(a, d.mul_(1.0).add_(1.0)), "in place"),
    ("04.4", lambda a, d: None, "return"),
    ("04.5", worst_with(square), "square"),
    ("04.5", worst_with(lambda e, n: disc(1.0, n)), "outside|rim"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.ones(1), 8 * n)), "rim"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, n + 1)[:-1], 6 * n)), "rim"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, 12), 60)), "not used"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, 200), 314)), "not used"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, 2 * n), 4)), "only doubles"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, n + 1), 360)), "only doubles"),
    ("04.5", worst_with(lambda e, n: polar(e, torch.linspace(0, 1, n + 1), 3 * n)), "coarse"),
    ("04.5", worst_with(square_cut), "cut off at the circle"),
    ("04.5", worst_with(disc, torch.argmin), "minimum"),
    ("04.5", worst_with(disc, lambda losses: losses.abs().argmax()), "absolute"),
    ("04.5", worst_at_once, "at once"),
    ("04.5", worst_one_by_one, "one point at a time"),
    ("04.5", worst_index, "index"),
    ("04.5", worst_last_batch, "last batch"),
    ("04.5", worst_single, "float64"),
    ("04.5", lambda f, e, n: worst_of(disc(e, n), f)[0], "two things"),
    ("04.5", lambda f, e, n: (torch.zeros(2), 0.0), "never called"),
]  # fmt: skip
