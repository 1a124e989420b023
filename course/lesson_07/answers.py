"""Right and wrong answers to the exercises of lesson 07; a regex names each mistake."""

import math
from statistics import NormalDist

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar

from advlib.attacks.embedding import perturbed_logits, wrong_margin

# ---------------------------------------------------------------- 07.1


def by_scipy(logits, labels):
    def loss(t):
        return F.cross_entropy(logits.double() / math.exp(t), labels).item()

    return math.exp(minimize_scalar(loss, bounds=(-7, 12), method="bounded",
                                    options={"xatol": 1e-6}).x)  # fmt: skip


def by_slope(logits, labels):
    """The derivative in beta = 1 / T rises; where is it 0?"""
    z = logits.double()
    low, high = 1e-6, 1e4
    for _ in range(200):
        beta = math.sqrt(low * high)
        p = (beta * z).softmax(1)
        slope = (p * z).sum(1).mean() - z[torch.arange(len(z)), labels].mean()
        low, high = (low, beta) if slope > 0 else (beta, high)
    return torch.tensor(1 / beta)


def best_of(grid, score):
    """An answer from a grid and what is to be smallest."""
    return lambda z, y: float(min(grid, key=lambda T: score(z.double() / float(T), y)))


WIDE = torch.logspace(-3, 5, 1000, dtype=torch.double)


def confidence_gap(z, y):
    right = (z.argmax(1) == y).double().mean()
    return abs(float(z.softmax(1).amax(1).mean() - right))


def brier(z, y):
    return float((z.softmax(1) - F.one_hot(y, z.shape[1])).square().sum())


def in_place_T(z, y):
    z /= by_scipy(z.clone(), y)
    return 1.0


def by_lbfgs(z, y):
    """Descent in log T, in double precision."""
    t = torch.full((1,), math.log(float(z.std())), dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.LBFGS([t], max_iter=200, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(z.double() / t.exp(), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return t.exp()


def by_autograd_on_logits(z, y):
    z.requires_grad_()
    return by_scipy(z.detach(), y)


def few_steps(z, y):
    T = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([T], lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(z / T, y).backward()
        optimizer.step()
    return T.item()


# ---------------------------------------------------------------- 07.2


class Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        return y.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def by_function(f, x):
    return Identity.apply(x, f(x).detach())


def by_no_grad(f, x):
    with torch.no_grad():
        shift = f(x) - x
    return x + shift


def requires_grad_left(f, x):
    return x.requires_grad_() + (f(x) - x).detach()


def another_leaf(f, x):
    x = x.detach().clone().requires_grad_()
    return x + (f(x) - x).detach()


def grad_cleared(f, x):
    x.grad = None
    return x + (f(x) - x).detach()


def in_place_layer(f, x):
    x.data = f(x).detach()
    return x


# ---------------------------------------------------------------- 07.3


def eot_of(value="margin", together="mean", verdict=lambda hits, k: hits.sum(0) * 2 > k, fold=True):
    """An answer to 07.3 from its parts."""

    def answer(model, batch, delta, k):
        here = delta.detach().clone().requires_grad_()
        z = torch.stack([perturbed_logits(model, batch, here) for _ in range(k)])
        y = batch["labels"]
        if value == "loss":
            each = torch.stack([F.cross_entropy(one, y, reduction="none") for one in z])
        elif value == "hard":
            each = torch.stack([wrong_margin(one, y, hard=True) for one in z])
        elif value == "normalised":
            grads = [torch.autograd.grad(wrong_margin(one, y).sum(), here, retain_graph=True)[0]
                     for one in z]  # fmt: skip
            grads = [g / g.flatten(1).norm(dim=1)[:, None, None] for g in grads]
            return torch.stack(grads).mean(0), verdict(z.argmax(-1) == y, k)
        elif value == "mean logits":
            each = wrong_margin(z.mean(0), y)[None]
        elif value == "mean probability":
            each = wrong_margin(z.softmax(-1).mean(0).log(), y)[None]
        else:
            each = torch.stack([wrong_margin(one, y) for one in z])
        total = {"mean": each.mean(0).sum(), "sum": each.sum(), "first": each[0].sum(),
                 "last": each[-1].sum(), "mean of all": each.mean()}[together]  # fmt: skip
        (grad,) = torch.autograd.grad(total, here)
        return grad, verdict(z.argmax(-1) == y, k)

    return answer


def eot_judged(verdict):
    """The right gradient, and a verdict from the logits (k, batch, classes) and the labels."""

    def answer(model, batch, delta, k):
        here = delta.detach().clone().requires_grad_()
        z = torch.stack([perturbed_logits(model, batch, here) for _ in range(k)])
        y = batch["labels"]
        total = torch.stack([wrong_margin(one, y) for one in z]).mean(0).sum()
        return torch.autograd.grad(total, here)[0], verdict(z.detach(), y)

    return answer


def eot_in_a_loop(model, batch, delta, k):
    grads, votes = [], []
    for _ in range(k):
        here = delta.clone().requires_grad_()
        logits = perturbed_logits(model, batch, here)
        grads += torch.autograd.grad(wrong_margin(logits, batch["labels"]).sum(), here)
        votes.append(wrong_margin(logits, batch["labels"], hard=True).detach() < 0)
    return [torch.stack(grads).mean(0), torch.stack(votes).double().mean(0) > 0.5]


def eot_once(model, batch, delta, k):
    return eot_in_a_loop(model, batch, delta, 1)


def eot_twice(model, batch, delta, k):
    return eot_in_a_loop(model, batch, delta, k)[0], eot_in_a_loop(model, batch, delta, k)[1]


def eot_walking(model, batch, delta, k):
    here, total, votes = delta.clone(), 0, 0
    for _ in range(k):
        here = here.detach().requires_grad_()
        logits = perturbed_logits(model, batch, here)
        (grad,) = torch.autograd.grad(wrong_margin(logits, batch["labels"]).sum(), here)
        total, here = total + grad / k, here + 0.1 * grad
        votes = votes + (logits.argmax(1) == batch["labels"]).int()
    return total, votes * 2 > k


def in_mode(train, back):
    """The right answer in another mode, which it may put back."""

    def answer(model, batch, delta, k):
        before = model.training
        model.train(train)
        found = eot_in_a_loop(model, batch, delta, k)
        model.train(before if back else train)
        return found

    return answer


def eot_popping(model, batch, delta, k):
    labels = batch.pop("labels")
    return eot_in_a_loop(model, {**batch, "labels": labels}, delta, k)


def eot_zeroing(model, batch, delta, k):
    model.zero_grad()
    return eot_in_a_loop(model, batch, delta, k)


def eot_clearing_delta(model, batch, delta, k):
    delta.grad = None
    return eot_in_a_loop(model, batch, delta, k)


def eot_one_pass_more(model, batch, delta, k):
    perturbed_logits(model, batch, delta)
    return eot_in_a_loop(model, batch, delta, k)


def eot_unfreezing(model, batch, delta, k):
    model.requires_grad_(False)
    return eot_in_a_loop(model, batch, delta, k)


def eot_first_two(model, batch, delta, k):
    """Right for two classes only."""
    here, y = delta.detach().clone().requires_grad_(), batch["labels"]
    z = torch.stack([perturbed_logits(model, batch, here) for _ in range(k)])
    sign = torch.where(y == 1, -1.0, 1.0)
    (grad,) = torch.autograd.grad((sign * (z[..., 1] - z[..., 0])).sum() / k, here)
    return grad, (z.argmax(-1) == y).sum(0) * 2 > k


def eot_seeded(model, batch, delta, k):
    torch.manual_seed(0)
    return eot_in_a_loop(model, batch, delta, k)


def eot_backward(model, batch, delta, k):
    here = delta.clone().requires_grad_()
    votes = 0
    for _ in range(k):
        logits = perturbed_logits(model, batch, here)
        (wrong_margin(logits, batch["labels"]).sum() / k).backward()
        votes = votes + (logits.argmax(1) == batch["labels"]).int()
    return here.grad, votes * 2 > k


def eot_on_delta(model, batch, delta, k):
    delta.requires_grad_()
    grad, right = eot_in_a_loop(model, batch, delta, k)
    return grad.detach(), right


def eot_graph(model, batch, delta, k):
    here = delta.clone().requires_grad_()
    z = [perturbed_logits(model, batch, here) for _ in range(k)]
    total = sum(wrong_margin(one, batch["labels"]).sum() for one in z) / k
    (grad,) = torch.autograd.grad(total, here, create_graph=True)
    return grad, sum((one.argmax(1) == batch["labels"]).int() for one in z) * 2 > k


# ---------------------------------------------------------------- 07.4


def half(p, n, z=1.959964):
    return z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def count(enough):
    n = 1
    while not enough(n):
        n += 1
    return n


def needed_by_counting(p, half_width):
    return count(lambda n: half(p, n) <= half_width)


def count_from(p, half_width, z):
    """By counting, from a little below the right answer."""
    n = max(1, needed_by_root(p, half_width) - 3)
    while half(p, n, z) > half_width:
        n += 1
    return n


def needed_by_root(p, half_width):
    """half(n)² = w² is a quadratic equation in m = n + z²."""
    z2, w2 = NormalDist().inv_cdf(0.975) ** 2, half_width**2
    v = p * (1 - p)
    b, c = z2 * v, z2 * z2 * (0.25 - v)
    n = math.ceil((b + math.sqrt(b * b + 4 * w2 * c)) / (2 * w2) - z2)
    return max(n, 1)


# ---------------------------------------------------------------- 07.5


def missing_by_rules(e):
    e = {key: value for key, value in e.items() if value is not None}
    attacks = e.get("attacks", [])
    found = {code for key, code in (("norm", "no threat model"), ("eps", "no threat model"),
                                    ("clean", "no clean accuracy"), ("interval", "no interval"))
             if key not in e}  # fmt: skip
    if e.get("n", 0) < 100:
        found.add("n below 100")
    white = [a for a in attacks if a["kind"] == "white"]
    one = [a["accuracy"] for a in white if a["steps"] <= 1]
    more = [a["accuracy"] for a in white if a["steps"] > 1]
    if not more:
        found.add("one step only")
    if one and more and min(one) < min(more):
        found.add("one step beats many")
    if white and any(all(a["accuracy"] < w for w in one + more)
                     for a in attacks if a["kind"] != "white"):  # fmt: skip
        found.add("gradient beaten")
    for a in attacks:
        if a.get("loss") and a["loss"][1] <= a["loss"][0]:
            found.add("loss did not rise")
    if not e.get("curve") or sorted(e["curve"].items())[-1][1] > 0.05:
        found.add("curve not at 0")
    if not any(a["adaptive"] for a in attacks):
        found.add("no adaptive attack")
    if e.get("random") and e.get("draws", 0) < 10:
        found.add("random without averaging")
    if e.get("detector") and "false alarms" not in e:
        found.add("refusals hidden")
    return sorted(found)


def missing_with(code, wrong):
    """The right answer but for one code."""

    def answer(e):
        found = set(missing_by_rules(e)) - {code}
        return sorted(found | ({code} if wrong(e) else set()))

    return answer


def accuracies(e, test):
    return [a["accuracy"] for a in e.get("attacks") or [] if test(a)] or [2.0]


def truthy(e):
    """Only the attacks whose accuracy is not 0.0."""
    attacks = [a for a in e.get("attacks") or [] if a["accuracy"]]
    return e | {"attacks": attacks}


def missing_once_per_attack(e):
    """The code of the loss, once for every attack that has it."""
    found = set(missing_by_rules(e)) - {"loss did not rise"}
    flat = [a for a in e.get("attacks") or [] if a.get("loss") and a["loss"][1] <= a["loss"][0]]
    return sorted([*found, *["loss did not rise" for _ in flat]])


def present(key, code, only=lambda e: True):
    return missing_with(code, lambda e: only(e) and key not in e)


def white(e, steps):
    return [a["accuracy"] for a in e.get("attacks") or []
            if a["kind"] == "white" and steps(a["steps"])]  # fmt: skip


def free(e):
    return accuracies(e, lambda a: a["kind"] != "white")


def beats(pick_one, pick_many):
    """one step beats many, with something else than the best of each."""

    def wrong(e):
        once, many = white(e, lambda s: s == 1), white(e, lambda s: s > 1)
        return bool(once and many) and pick_one(once) < pick_many(many)

    return missing_with("one step beats many", wrong)


def missing_twice(e):
    found = missing_by_rules(e)
    return sorted(found + found[:1])


def missing_in_place(e):
    e.setdefault("attacks", [])
    return missing_by_rules(e)


def missing_in_table_order(e):
    found = missing_by_rules(e)
    return found[::-1]


RIGHT = [
    ("07.1", by_scipy), ("07.1", by_slope), ("07.1", by_lbfgs),
    ("07.2", by_function), ("07.2", by_no_grad),
    ("07.2", lambda f, x: f(x).detach() + (x - x.detach())),
    ("07.3", eot_of()), ("07.3", eot_in_a_loop),
    ("07.3", lambda *i: tuple(x.clone() for x in eot_of()(*i))),
    ("07.4", needed_by_counting), ("07.4", needed_by_root),
    ("07.4", lambda p, w: np.int64(needed_by_root(p, w))),
    ("07.5", missing_by_rules),
    ("07.5", lambda e: missing_by_rules({k: v for k, v in e.items() if v is not None})),
]  # fmt: skip

WRONG = [
    ("07.1", lambda z, y: 1 / by_scipy(z, y), "divided by T, not multiplied"),
    ("07.1", lambda z, y: math.log(by_scipy(z, y)), "log T"),
    ("07.1", best_of(torch.linspace(0.1, 10, 1000), F.cross_entropy), "T is 10 for logits"),
    ("07.1", best_of(torch.logspace(-3, 5, 40), F.cross_entropy), "finer grid"),
    ("07.1", best_of(WIDE, brier), "Brier"),
    ("07.1", lambda z, y: by_scipy(z[y < 2, :2], y[y < 2]), "first two classes"),
    ("07.1", best_of(WIDE, lambda z, y: F.cross_entropy(z, z.argmax(1))), "does not follow"),
    ("07.1", best_of(WIDE, confidence_gap), "confidence equal"),
    ("07.1", best_of(WIDE, lambda z, y: -F.cross_entropy(z, y)), "does not follow"),
    ("07.1", lambda z, y: 1.0, "T is 1 for logits"),
    ("07.1", few_steps, "right to within 1 %"),
    ("07.1", lambda z, y: z / by_scipy(z, y), "T itself"),
    ("07.1", in_place_T, "in place"),
    ("07.1", by_autograd_on_logits, "requires_grad"),
    ("07.1", best_of(torch.logspace(0, 5, 1000), F.cross_entropy), "right to within 1 %"),
    ("07.1", lambda z, y: None, "None"),
    ("07.1", lambda z, y: -by_scipy(z, y), "positive"),
    ("07.2", lambda f, x: f(x), "own gradient"),
    ("07.2", lambda f, x: x, "x itself"),
    ("07.2", lambda f, x: x + (f(x) - x), "own gradient"),
    ("07.2", lambda f, x: f(x) + x - x.detach(), "own gradient is added"),
    ("07.2", lambda f, x: x + f(x).detach(), "counted twice"),
    ("07.2", lambda f, x: (x + (f(x) - x)).detach(), "no gradient"),
    ("07.2", lambda f, x: x.detach() + (f(x) - x).detach(), "no gradient"),
    ("07.2", lambda f, x: x.detach() + (f(x).detach() - x), "minus"),
    ("07.2", lambda f, x: x - (f(x) - x).detach(), "wrong sign"),
    ("07.2", lambda f, x: (f(x) - x).detach() + 2 * x - x.detach(), "twice"),
    ("07.2", in_place_layer, "in place"),
    ("07.2", requires_grad_left, "requires_grad of `x`"),
    ("07.2", another_leaf, "no gradient flows back"),
    ("07.2", grad_cleared, "changes `x.grad`"),
    ("07.2", lambda f, x: (x + (f(x) - x).detach()).float(), "float32, where x is torch.float64"),
    ("07.2", lambda f, x: f(x.detach()), "no gradient flows back"),
    ("07.2", lambda f, x: (x + (f(x) - x).detach()).tolist(), "tensor"),
    ("07.2", lambda f, x: None, "None"),
    ("07.3", eot_of(together="sum"), "sum instead of mean"),
    ("07.3", eot_of(together="first"), "first draw"),
    ("07.3", eot_of(together="last"), "last draw"),
    ("07.3", eot_of(together="mean of all"), "over the texts"),
    ("07.3", eot_of("loss"), "cross-entropy"),
    ("07.3", eot_of("mean logits"), "logits are averaged"),
    ("07.3", eot_of("mean probability"), "probabilities are averaged"),
    ("07.3", eot_of(verdict=lambda h, k: h.sum(0) * 2 >= k), "tie"),
    ("07.3", eot_of(verdict=lambda h, k: h.any(0)), "any draw"),
    ("07.3", eot_of(verdict=lambda h, k: h.all(0)), "all draws"),
    ("07.3", eot_of(verdict=lambda h, k: h[-1]), "last draw"),
    ("07.3", eot_of(verdict=lambda h, k: h.double().mean(0)), "one half"),
    ("07.3", eot_of("hard"), "hard=True"),
    ("07.3", eot_of("normalised"), "by its length"),
    ("07.3", eot_judged(lambda z, y: z.argmax(-1).mode(0).values == y), "most frequent class"),
    ("07.3", eot_judged(lambda z, y: z.mean(0).argmax(-1) == y), "mean logits"),
    ("07.3", eot_judged(lambda z, y: torch.stack([wrong_margin(one, y) for one in z]).mean(0) < 0),
     "mean log-odds"),
    ("07.3", eot_of(verdict=lambda h, k: h.sum(0) * 2 <= k), "majority is wrong"),
    ("07.3", lambda *i: [-eot_in_a_loop(*i)[0], eot_in_a_loop(*i)[1]], "one pass serves"),
    ("07.3", eot_judged(lambda z, y: torch.stack([wrong_margin(one, y) < 0 for one in z]).sum(0)
                        * 2 > len(z)), "all other classes together"),
    ("07.3", eot_judged(lambda z, y: (z.argmax(-1) == y[0]).sum(0) * 2 > len(z)), "right is not"),
    ("07.3", eot_judged(lambda z, y: ((z.argmax(-1) == y).sum(0) * 2 > len(z)).int()),
     "whole numbers"),
    ("07.3", eot_judged(lambda z, y: (z.argmax(-1) == y).sum(0)), "compare it with k / 2"),
    ("07.3", eot_first_two, "grad is not"),
    ("07.3", in_mode(False, back=False), "leaves the model in another mode"),
    ("07.3", in_mode(False, back=True), "runs the model in another mode"),
    ("07.3", eot_popping, "takes 'labels' out"),
    ("07.3", eot_zeroing, "changes the .grad of the model"),
    ("07.3", eot_clearing_delta, "changes `delta.grad`"),
    ("07.3", eot_unfreezing, "requires_grad of the model's weights"),
    ("07.3", eot_one_pass_more, "called 5 times; k = 4"),
    ("07.3", eot_once, "loop over k"),
    ("07.3", eot_walking, "walks between"),
    ("07.3", eot_twice, "one pass serves"),
    ("07.3", eot_seeded, "seed"),
    ("07.3", eot_backward, "changes the .grad"),
    ("07.3", eot_on_delta, "copy"),
    ("07.3", eot_graph, "graph"),
    ("07.3", lambda *i: eot_in_a_loop(*i)[0], "two things"),
    ("07.4", lambda p, w: count_from(p, w, 1.96), "1.96 is rounded"),
    ("07.4", lambda p, w: needed_by_counting(p, w) + 1, "one too many"),
    ("07.4", lambda p, w: max(1, needed_by_counting(p, w) - 1), "one too few"),
    ("07.4", lambda p, w: max(1, math.ceil(1.959964**2 * p * (1 - p) / w**2)), "shorter formula"),
    ("07.4", lambda p, w: needed_by_root(p, w / 2), "taken for the whole"),
    ("07.4", lambda p, w: needed_by_root(p, 2 * w), "twice"),
    ("07.4", lambda p, w: needed_by_root(0.5, w), "worst case"),
    ("07.4", lambda p, w: count(lambda n: half(p, n, 1.645) <= w), "90 %"),
    ("07.4", lambda p, w: count(lambda n: half(p, n, 2.576) <= w), "99 %"),
    ("07.4", lambda p, w: count(lambda n: half(round(p * n) / n, n) <= w), "rounded to whole"),
    ("07.4", lambda p, w: float(needed_by_root(p, w)), "whole number"),
    ("07.4", lambda p, w: max(2, needed_by_root(p, w)), "smallest n that is enough is not"),
    ("07.4", lambda p, w: None, "None"),
    ("07.5", missing_with("no clean accuracy", lambda e: not e.get("clean")), "0.0 is not absent"),
    ("07.5", missing_with("refusals hidden", lambda e: e.get("detector")
                          and not e.get("false alarms")), "0.0 is not absent"),
    ("07.5", missing_with("n below 100", lambda e: (e.get("n") or 0) <= 100), "100 is enough"),
    ("07.5", missing_with("no threat model", lambda e: e.get("norm") is None
                          and e.get("eps") is None), "either"),
    ("07.5", missing_with("one step only", lambda e: all(
        a["steps"] == 1 for a in e.get("attacks") or [])), "only white"),
    ("07.5", missing_with("one step beats many", lambda e:
        min(accuracies(e, lambda a: a["steps"] <= 1))
        < min(accuracies(e, lambda a: a["steps"] > 1))), "white attacks only"),
    ("07.5", missing_with("one step beats many", lambda e:
        min(accuracies(e, lambda a: a["steps"] == 1))
        <= min(accuracies(e, lambda a: a["steps"] > 1)) < 2), "strictly"),
    ("07.5", missing_with("gradient beaten", lambda e:
        min(accuracies(e, lambda a: a["kind"] == "noise"))
        < min(accuracies(e, lambda a: a["kind"] == "white"))), "black or noise"),
    ("07.5", missing_with("curve not at 0", lambda e: not e.get("curve")
                          or min(e["curve"].values()) > 0.05), "largest eps"),
    ("07.5", missing_with("curve not at 0", lambda e: not e.get("curve")
                          or list(e["curve"].values())[-1] > 0.05), "largest eps"),
    ("07.5", missing_with("random without averaging", lambda e: (e.get("draws") or 0) < 10),
     "only where random"),
    ("07.5", missing_with("no adaptive attack", lambda e: not all(
        a["adaptive"] for a in e.get("attacks") or [{"adaptive": False}])), "is enough"),
    ("07.5", missing_with("loss did not rise", lambda e: any(
        a["loss"][1] < a["loss"][0] for a in e.get("attacks") or [] if a.get("loss"))), "larger"),
    ("07.5", present("norm", "no threat model", lambda e: "eps" in e and e["eps"] is not None
                     or "norm" not in e), "either is enough"),
    ("07.5", present("clean", "no clean accuracy"), "not reported.*None"),
    ("07.5", present("interval", "no interval"), "not reported.*None"),
    ("07.5", missing_with("n below 100", lambda e: e.get("n", 0) is not None
                          and e.get("n", 0) < 100), "not reported.*None"),
    ("07.5", missing_with("n below 100", lambda e: e.get("n", 0) < 100), "a value may be None"),
    ("07.5", missing_with("random without averaging", lambda e: e.get("random")
                          and e.get("draws", 0) is not None and e.get("draws", 0) < 10),
     "not reported.*None"),
    ("07.5", present("false alarms", "refusals hidden", lambda e: e.get("detector")),
     "not reported.*None"),
    ("07.5", lambda e: missing_by_rules(e) if e.get("attacks", []) or "attacks" not in e
     else [len(e.get("attacks", []))], "a value may be None"),
    ("07.5", missing_with("curve not at 0", lambda e: not e.get("curve", {0: 0})
                          and e.get("curve", 1) is not None or "curve" not in e
                          or bool(e["curve"]) and e["curve"][max(e["curve"])] > 0.05),
     "not reported.*None"),
    ("07.5", missing_with("no threat model", lambda e: not e.get("norm") or not e.get("eps")),
     "0.0 is not absent"),
    ("07.5", missing_with("no interval", lambda e: not all(e.get("interval") or (0,))),
     "0.0 in it"),
    ("07.5", missing_with("one step only", lambda e: not white(e, lambda s: s >= 10)), "2 steps"),
    ("07.5", missing_with("one step only", lambda e: not white(e, lambda s: s > 2)), "2 steps"),
    ("07.5", lambda e: missing_by_rules(truthy(e)), "0.0 counts|every white"),
    ("07.5", missing_with("gradient beaten", lambda e: bool(white(e, lambda s: s > 1))
                          and min(free(e)) < min(white(e, lambda s: s > 1))), "of one step or"),
    ("07.5", missing_with("gradient beaten", lambda e: bool(white(e, lambda s: s == 1))
                          and min(free(e)) < min(white(e, lambda s: s == 1))), "every white"),
    ("07.5", beats(lambda a: a[0], lambda a: a[0]), "lowest of all"),
    ("07.5", beats(lambda a: a[-1], lambda a: a[-1]), "lowest of all"),
    ("07.5", beats(min, max), "lowest of all"),
    ("07.5", beats(max, min), "lowest of all"),
    ("07.5", missing_once_per_attack, "twice"),
    ("07.5", missing_with("loss did not rise", lambda e: any(
        a["loss"][0] and a["loss"][1] <= a["loss"][0]
        for a in e.get("attacks") or [] if a.get("loss"))), "0.0 is reported"),
    ("07.5", missing_with("loss did not rise", lambda e: any(
        all(a["loss"]) and a["loss"][1] <= a["loss"][0]
        for a in e.get("attacks") or [] if a.get("loss"))), "0.0 is reported"),
    ("07.5", lambda e: missing_by_rules(e | {"norm": e["norm"]}), "KeyError"),
    ("07.5", lambda e: set(missing_by_rules(e)), "list"),
    ("07.5", missing_twice, "twice"),
    ("07.5", lambda e: missing_by_rules({"clean": e.pop("clean", None), **e}), "takes 'clean' out"),
    ("07.5", missing_in_place, "puts 'attacks' into"),
    ("07.5", missing_in_table_order, "sorted"),
    ("07.5", lambda e: [code.title() for code in missing_by_rules(e)], "spelled"),
    ("07.5", lambda e: None, "result is None"),
]  # fmt: skip
