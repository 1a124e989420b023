"""Lesson 01: RIGHT answers, and WRONG ones with what the feedback must say."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

INF = float("inf")
DUAL = {"l2": 2, "linf": 1, "l1": INF}
SAME = {"l2": 2, "linf": INF, "l1": 1}

# ---------------------------------------------------------------- right answers


def delta_by_cases(w, y, eps, norm):
    if norm == "l2":
        unit = w / w.norm()
    elif norm == "linf":
        unit = torch.sign(w)
    else:
        unit = torch.nn.functional.one_hot(w.abs().argmax(), len(w)) * w.sign()
    return torch.outer(-y, unit) * eps


def delta_by_autograd(w, y, eps, norm):
    """The gradient of the dual norm is the best direction."""
    v = w.clone().requires_grad_()
    (unit,) = torch.autograd.grad(v.norm(p=DUAL[norm]), v)
    return torch.stack([-eps * label * unit for label in y])


def delta_by_numpy(w, y, eps, norm):
    v = w.detach().numpy().astype(float)
    corner = np.zeros(len(v))
    corner[np.abs(v).argmax()] = np.sign(v[np.abs(v).argmax()])
    unit = {"l2": v / np.sqrt((v**2).sum()), "linf": np.sign(v), "l1": corner}[norm]
    return torch.from_numpy(-eps * y.numpy()[:, None] * unit).float()


def delta_shared_by_equals(w, y, eps, norm):
    """Of the l1 ball a point of the edge, where coordinates are equal."""
    if norm != "l1":
        return delta_by_numpy(w, y, eps, norm)
    most = w.abs() == w.abs().max()
    return -eps * y[:, None] * most * w.sign() / most.sum()


def loss_closed(w, b, X, y, eps, norm):
    return softplus(-(y * (X @ w + b) - eps * torch.linalg.vector_norm(w, DUAL[norm]))).mean()


def loss_by_delta(w, b, X, y, eps, norm):
    moved = X + delta_by_cases(w.detach(), y, eps, norm)
    return binary_cross_entropy_with_logits(moved @ w + b, (y + 1) / 2)


def loss_by_logaddexp(w, b, X, y, eps, norm):
    losses = []
    for x, label in zip(X, y, strict=True):
        margin = label * (x @ w + b) - eps * w.abs().pow(DUAL[norm]).sum() ** (1 / DUAL[norm]) \
            if norm != "l1" else label * (x @ w + b) - eps * w.abs().max()
        losses.append(torch.logaddexp(torch.zeros(()), -margin))
    return sum(losses) / len(losses)


def grad_closed(w, b, X, y, eps, norm):
    s = torch.sigmoid(-(y * (X @ w + b) - eps * w.norm(p=DUAL[norm])))
    unit = delta_by_cases(w, -torch.ones(1), 1.0, norm)[0]
    return -(s * y) @ X / len(y) + eps * s.mean() * unit, -(s * y).mean()


def grad_autograd(w, b, X, y, eps, norm):
    w, b = w.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()
    return torch.autograd.grad(loss_by_delta(w, b, X, y, eps, norm), (w, b))


def grad_by_loop(w, b, X, y, eps, norm):
    total_w, total_b = torch.zeros_like(w), 0.0
    for x, label in zip(X, y, strict=True):
        moved = x + delta_by_cases(w, label[None], eps, norm)[0]
        pull = -label * torch.sigmoid(-label * (moved @ w + b))
        total_w, total_b = total_w + pull * moved, total_b + pull
    return [total_w / len(y), total_b / len(y)]


def step_by_hand(w, b, X, y, eps, lam, lr, norm):
    (cw, cb), (aw, ab) = grad_closed(w, b, X, y, 0.0, norm), grad_closed(w, b, X, y, eps, norm)
    return w - lr * (cw + lam * aw), b - lr * (cb + lam * ab)


def step_by_optimizer(w, b, X, y, eps, lam, lr, norm):
    w, b = w.clone().requires_grad_(), b.clone().requires_grad_()
    optimizer = torch.optim.SGD([w, b], lr=lr)
    (loss_closed(w, b, X, y, 0.0, norm) + lam * loss_closed(w, b, X, y, eps, norm)).backward()
    optimizer.step()
    return w.detach(), b.detach()


def step_on_the_spot(w, b, X, y, eps, lam, lr, norm):
    new = torch.cat([w, b[None]]).requires_grad_()
    loss = loss_closed(new[:-1], new[-1], X, y, 0, norm) + lam * loss_by_delta(
        new[:-1], new[-1], X, y, eps, norm)  # fmt: skip
    loss.backward()
    with torch.no_grad():
        new -= lr * new.grad
    return [*new.detach().split([len(w), 1])[:1], new[-1].detach()]


def losses_symbol_by_symbol(c, a, lam):
    return (-c - lam * a).mean(), (-c - lam * (-a) + lam * a).mean(), (-lam, lam + lam)


def losses_simplified(c, a, lam):
    loss, adv = -c.mean(), -a.mean()
    return [loss + lam * adv, loss - 2 * lam * adv, torch.tensor([-lam, 2 * lam]).unbind()]


def losses_by_loop(c, a, lam):
    pairs = list(zip(c, a, strict=True))
    intended = sum(-(x + lam * z) for x, z in pairs) / len(pairs)
    return intended, sum(2 * lam * z - x for x, z in pairs) / len(pairs), np.array([-1, 2]) * lam


RIGHT = [
    ("01.1", delta_by_cases), ("01.1", delta_by_autograd), ("01.1", delta_by_numpy),
    ("01.1", delta_shared_by_equals),
    ("01.2", loss_closed), ("01.2", loss_by_delta), ("01.2", loss_by_logaddexp),
    ("01.3", grad_closed), ("01.3", grad_autograd), ("01.3", grad_by_loop),
    ("01.4", step_by_hand), ("01.4", step_by_optimizer), ("01.4", step_on_the_spot),
    ("01.5", losses_symbol_by_symbol), ("01.5", losses_simplified), ("01.5", losses_by_loop),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def in_place_delta(w, y, eps, norm):
    w /= w.norm()
    return delta_by_cases(w, y, eps, norm)


def hard_coded(w, y, eps, norm):
    return torch.tensor([[-0.6, -0.6], [0.6, 0.6], [-0.6, -0.6]])


def averaged_l1(w, y, eps, norm):
    return delta_by_cases(w, y, eps, "linf") / (len(w) if norm == "l1" else 1)


def all_the_largest(w, y, eps, norm):
    if norm != "l1":
        return delta_by_cases(w, y, eps, norm)
    return -eps * y[:, None] * (w.abs() == w.abs().max()) * w.sign()


def guarded_norm(w, y, eps, norm):
    if norm != "l2":
        return delta_by_cases(w, y, eps, norm)
    return -eps * torch.outer(y, w / (w.norm() + 1e-8))


def leaves_flag(w, y, eps, norm):
    (unit,) = torch.autograd.grad(w.requires_grad_().norm(p=DUAL[norm]), w)
    return -eps * y[:, None] * unit


def naive_loss(w, b, X, y, eps, norm):
    return torch.log(1 + torch.exp(-(y * (X @ w + b) - eps * w.norm(p=DUAL[norm])))).mean()


def loss_by_where(w, b, X, y, eps, norm):
    margin = y * (X @ w + b) - eps * w.norm(p=DUAL[norm])
    return torch.where(margin < -20, -margin, torch.log(1 + torch.exp(-margin))).mean()


def loss_of(margin):
    """An answer to 01.2 from a formula for the margin."""

    def answer(w, b, X, y, eps, norm):
        return softplus(-margin(X @ w + b, y, eps, w, DUAL[norm])).mean()

    return answer


def in_place_loss(w, b, X, y, eps, norm):
    X += delta_by_cases(w.detach(), y, eps, norm)
    return softplus(-y * (X @ w + b)).mean()


def half_detached(*norms):
    """An answer to 01.2 that cuts w off for these norms."""

    def answer(w, b, X, y, eps, norm):
        size = (w.detach() if norm in norms else w).norm(p=DUAL[norm])
        return softplus(-(y * (X @ w + b) - eps * size)).mean()

    return answer


def grad_of(factor, points, flip=1.0):
    """An answer to 01.3 from where the factor and the points are taken ("x" or "adv")."""

    def answer(w, b, X, y, eps, norm):
        place = {"x": X, "adv": X + flip * delta_by_cases(w, y, eps, norm)}
        s = -y * torch.sigmoid(-y * (place[factor] @ w + b))
        return s @ place[points] / len(y), s.mean()

    return answer


def grad_by_backward(w, b, X, y, eps, norm):
    w.requires_grad_(), b.requires_grad_()
    loss_closed(w, b, X, y, eps, norm).backward()
    return w.grad, b.grad


def naive_grad(w, b, X, y, eps, norm):
    moved = X + delta_by_cases(w, y, eps, norm)
    e = torch.exp(-y * (moved @ w + b))
    s = -y * e / (1 + e)
    return s @ moved / len(y), s.mean()


def changed_grad(change):
    return lambda *inputs: change(*grad_closed(*inputs), *inputs)


def step_of(clean, adv):
    """An answer to 01.4 from the weights of both gradients, functions of lam and lr."""

    def answer(w, b, X, y, eps, lam, lr, norm):
        c, a = grad_closed(w, b, X, y, 0.0, norm), grad_closed(w, b, X, y, eps, norm)
        return tuple(v - clean(lam, lr) * g - adv(lam, lr) * h
                     for v, g, h in zip((w, b), c, a, strict=True))  # fmt: skip

    return answer


def step_in_place(w, b, X, y, eps, lam, lr, norm):
    new = step_by_hand(w, b, X, y, eps, lam, lr, norm)
    w.copy_(new[0])
    b.copy_(new[1])
    return w, b


def two_steps(w, b, X, y, eps, lam, lr, norm):
    w, b = step_by_hand(w, b, X, y, eps, 0.0, lr, norm)
    grad_w, grad_b = grad_closed(w, b, X, y, eps, norm)
    return w - lr * lam * grad_w, b - lr * lam * grad_b


def step_by_backward(w, b, X, y, eps, lam, lr, norm):
    w.requires_grad_(), b.requires_grad_()
    (loss_closed(w, b, X, y, 0, norm) + lam * loss_closed(w, b, X, y, eps, norm)).backward()
    return (w - lr * w.grad).detach(), (b - lr * b.grad).detach()


def step_attached(w, b, X, y, eps, lam, lr, norm):
    w, b = w.clone().requires_grad_(), b.clone().requires_grad_()
    return step_by_hand(w, b, X, y, eps, lam, lr, norm)


def losses_as_floats(c, a, lam):
    return meant(c, a, lam).item(), printed(c, a, lam).item(), true_slopes(lam)


def losses_per_point(c, a, lam):
    slopes = torch.full_like(a, -lam), torch.full_like(a, 2 * lam)
    return meant(c, a, lam), printed(c, a, lam), slopes


def losses_of(intended, published, slopes):
    return lambda c, a, lam: (intended(c, a, lam), published(c, a, lam), slopes(lam))


def meant(c, a, lam):
    return (-c - lam * a).mean()


def printed(c, a, lam):
    return (-c + 2 * lam * a).mean()


def true_slopes(lam):
    return -lam, 2 * lam


WRONG = [
    ("01.1", lambda w, y, e, n: -delta_by_cases(w, y, e, n), "wrong sign"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, 1.0, n), "eps is missing"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, torch.ones_like(y), e, n), "y is missing"),
    ("01.1", lambda w, y, e, n: -e * y[:, None] * w, "not normalised"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, "l2"), "l2 ball"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, "linf"), "linf ball"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, "l1"), "l1 ball"),
    ("01.1", lambda w, y, e, n: -e * y[:, None] * torch.eye(len(w))[w.argmax()] * w.sign()
     if n == "l1" else delta_by_cases(w, y, e, n), "take abs first"),
    ("01.1", averaged_l1, "largest|l2 ball|linf ball"),
    ("01.1", lambda w, y, e, n: 0.9 * delta_by_cases(w, y, e, n), "more harm|does more"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, n)[0], "shape"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, n).tolist(), "tensor"),
    ("01.1", lambda w, y, e, n: delta_by_cases(w, y, e, n).double(), "is torch.float64"),
    ("01.1", all_the_largest, "leaves the ball"),
    ("01.1", guarded_norm, "more harm"),
    ("01.1", leaves_flag, "leaves requires_grad of `w` at True"),
    ("01.1", in_place_delta, "in place"),
    ("01.1", hard_coded, "ball|harm"),
    ("01.1", lambda w, y, e, n: None, "return"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * f + e * w.norm(p=p)), "wrong sign"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * f), "clean loss"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * f - w.norm(p=p)), "eps is missing"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * f - e * w.norm(p={2: 2, 1: INF, INF: 1}[p])),
     "dual"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * f - e * w.norm(p=p) ** 2), "squared"),
    ("01.2", loss_of(lambda f, y, e, w, p: y * (f - e * w.norm(p=p))), "y multiplies"),
    ("01.2", loss_of(lambda f, y, e, w, p: f - e * w.norm(p=p)), "y is missing"),
    ("01.2", loss_of(lambda f, y, e, w, p: -(y * f - e * w.norm(p=p))), "minus is missing"),
    ("01.2", lambda *i: loss_closed(*i) * len(i[3]), "sum instead of mean"),
    ("01.2", lambda w, b, X, y, e, n: binary_cross_entropy_with_logits(
        X @ w + b - e * y * w.norm(p=DUAL[n]), y), "labels"),
    ("01.2", lambda w, b, X, y, e, n: softplus(-(y * (X @ w + b) - e * w.norm(p=DUAL[n]))),
     "mean"),
    ("01.2", naive_loss, "overflow"),
    ("01.2", loss_by_where, "gradient of your loss .* values that are not finite"),
    ("01.2", lambda *i: loss_closed(*i).detach(), "cut off"),
    ("01.2", lambda *i: loss_closed(*i).item(), "cut off"),
    ("01.2", half_detached("linf"), "detached"),
    ("01.2", half_detached("l2"), "detached"),
    ("01.2", half_detached("l1"), "detached"),
    ("01.2", in_place_loss, "in place"),
    ("01.3", grad_of("x", "x"), "clean loss"),
    ("01.3", grad_of("adv", "x"), "delta .the eps term. is missing"),
    ("01.3", grad_of("x", "adv"), "not at x . delta"),
    ("01.3", grad_of("adv", "adv", flip=-1.0), "delta has the wrong sign"),
    ("01.3", changed_grad(lambda gw, gb, *i: (-gw, -gb)), "wrong sign"),
    ("01.3", changed_grad(lambda gw, gb, *i: (gw * len(i[3]), gb * len(i[3]))), "sum instead"),
    ("01.3", changed_grad(lambda gw, gb, *i: gw), "grad_w, grad_b"),
    ("01.3", changed_grad(lambda gw, gb, *i: (gw, 0 * gb)), "grad_b"),
    ("01.3", changed_grad(lambda gw, gb, *i: (gw.double(), gb.double())), "grad_w is .*float64"),
    ("01.3", grad_by_backward, "leaves requires_grad of `w` at True"),
    ("01.3", naive_grad, "grad_w has values that are not finite"),
    ("01.3", changed_grad(lambda gw, gb, *i: (gw, gb[None])), "grad_b has shape"),
    ("01.3", lambda *i: grad_closed(*i[:5], "l2"), "l2 ball"),
    ("01.3", lambda *i: grad_closed(*i[:4], 1.0, i[5]), "grad_w"),
    ("01.4", step_of(lambda lam, lr: -lr, lambda lam, lr: -lr * lam), "climbs"),
    ("01.4", step_of(lambda lam, lr: lr, lambda lam, lr: lr), "lam is missing"),
    ("01.4", step_of(lambda lam, lr: lr, lambda lam, lr: 0), "adversarial term is missing"),
    ("01.4", step_of(lambda lam, lr: 0, lambda lam, lr: lr * lam), "clean term is missing"),
    ("01.4", step_of(lambda lam, lr: lr * (1 - lam), lambda lam, lr: lr * lam), "1 − lam"),
    ("01.4", step_of(lambda lam, lr: lr * lam, lambda lam, lr: lr), "before the clean"),
    ("01.4", step_of(lambda lam, lr: lr * (1 + lam), lambda lam, lr: 0), "eps is missing"),
    ("01.4", step_of(lambda lam, lr: 1, lambda lam, lr: lam), "lr is missing"),
    ("01.4", step_of(lambda lam, lr: lr, lambda lam, lr: -lr * lam), "subtracted"),
    ("01.4", step_of(lambda lam, lr: 0, lambda lam, lr: 0), "nothing moved"),
    ("01.4", lambda *i: tuple(v.double() for v in step_by_hand(*i)), "new w is .*float64"),
    ("01.4", two_steps, "the new w is not as expected"),
    ("01.4", step_by_backward, "leaves requires_grad of `w` at True"),
    ("01.4", step_in_place, "in place"),
    ("01.4", step_attached, "graph"),
    ("01.5", losses_of(printed, meant, true_slopes), "changed places"),
    ("01.5", losses_of(lambda c, a, m: (-c + m * a).mean(), printed, true_slopes), "wrong sign"),
    ("01.5", losses_of(lambda c, a, m: (-c - a).mean(), printed, true_slopes), "lam is missing"),
    ("01.5", losses_of(lambda c, a, m: (-c - m * a).sum(), printed, true_slopes), "sum instead"),
    ("01.5", losses_of(lambda c, a, m: (-c - 2 * m * a).mean(), printed, true_slopes), "twice"),
    ("01.5", losses_of(lambda c, a, m: -c.mean(), printed, true_slopes), "missing"),
    ("01.5", losses_of(meant, lambda c, a, m: -c.mean(), true_slopes), "same sign"),
    ("01.5", losses_of(meant, lambda c, a, m: (-c + m * a).mean(), true_slopes), "one is missing"),
    ("01.5", losses_of(meant, meant, true_slopes), "changed places"),
    ("01.5", losses_of(meant, printed, lambda m: (-m, m)), "2·lam"),
    ("01.5", losses_of(meant, printed, lambda m: (-m, -m)), "minus"),
    ("01.5", losses_of(meant, printed, lambda m: (2 * m, -m)), "changed places"),
    ("01.5", lambda c, a, m: (meant(c, a, m), printed(c, a, m), (-m / len(c), 2 * m / len(c))),
     "rise together"),
    ("01.5", losses_of(meant, printed, lambda m: (m, -2 * m)), "wrong sign"),
    ("01.5", losses_of(meant, printed, lambda m: m), "pair"),
    ("01.5", losses_per_point, "pair of numbers"),
    ("01.5", losses_of(meant, printed, lambda m: (None, 2 * m)), "pair of numbers"),
    ("01.5", losses_of(meant, lambda c, a, m: (-c + m * a + m * a.detach()).mean(), true_slopes),
     "autograd's slope of the published loss in log_adv"),
    ("01.5", losses_of(lambda c, a, m: -c.detach().mean() - m * a.mean() + 0 * c.sum(), printed,
                       true_slopes), "autograd's slope of the intended loss in log_clean"),
    ("01.5", losses_as_floats, "should be a tensor, not float"),
    ("01.5", lambda c, a, m: losses_simplified(c.detach(), a.detach(), m), "cannot differentiate"),
    ("01.5", lambda c, a, m: losses_simplified(c, a.detach(), m), "cannot differentiate"),
    ("01.5", lambda c, a, m: meant(c, a, m), "3 things"),
]  # fmt: skip
