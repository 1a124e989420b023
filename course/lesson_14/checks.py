"""Checks of lesson 14, Ethics gates.

The specification: groups are counted text by text, and the null is simulated text by text too; the
paired loss is added up text by text, its gradient comes from finite differences; the conformal
threshold is found by counting, and judged by how often sets hold the truth; the risk-coverage curve
tries every threshold; the gate is read rule by rule.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from advlib.embeddings import perturbed_logits
from course.checking import (
    Exercise,
    Wrong,
    call,
    compare,
    expect,
    making,
    seeded,
    show,
    small_bert,
    specified,
    used,
)  # fmt: skip


def _kept(answer):
    """The answer; raises Wrong where it changes an array that it was given."""

    def checked(*inputs):
        before = [x.copy() if isinstance(x, np.ndarray) else None for x in inputs]
        result = answer(*inputs)
        for was, now in zip(before, inputs, strict=True):
            if was is not None and not np.array_equal(was, now):
                raise Wrong("your function changes an array that it was given; work on a copy",
                            yours=now, expected=was,
                            likely="x.sort() sorts in place, and x += 1 adds in place; np.sort(x) "
                            "makes a copy")  # fmt: skip
        return result

    return checked


def _number(value, name: str, given) -> float:
    """A number as a float; raises Wrong for anything else."""
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    good = good or isinstance(value, np.ndarray | Tensor) and value.ndim == 0
    expect(good, f"{name} should be a number, not {type(value).__name__}", given=given,
           yours=show(value))  # fmt: skip
    return float(value)


# ---------------------------------------------------------------- 14.1


def _counts(right, groups) -> dict[str, list[int]]:
    """group -> [right, texts], counted text by text, in alphabetical order."""
    found: dict[str, list[int]] = {}
    for ok, name in zip(right.tolist(), groups, strict=True):
        count = found.setdefault(str(name), [0, 0])
        count[0] += bool(ok)
        count[1] += 1
    return dict(sorted(found.items()))


def _null(counts, worlds: int, kind: str = "binomial") -> np.ndarray:
    """(worlds,) gaps of groups that are all the same; `kind` makes a mistake instead."""
    rng = np.random.default_rng(seeded(1401))
    sizes = [n for _, n in counts.values()]
    rate = sum(k for k, _ in counts.values()) / sum(sizes)
    rates = [k / n for k, n in counts.values()] if kind == "own rates" else [rate] * len(sizes)
    if kind == "equal sizes":
        sizes = [round(sum(sizes) / len(sizes))] * len(sizes)
    if kind == "one half":
        rates = [0.5] * len(sizes)
    if kind == "bell curve":
        scatter = [math.sqrt(rate * (1 - rate) / n) for n in sizes]
        return np.ptp(rng.normal(rate, scatter, (worlds, len(sizes))), axis=1)
    if kind == "mean of rates":
        rates = [sum(k / n for k, n in counts.values()) / len(counts)] * len(sizes)
    if kind == "shuffled":
        hits = rng.multivariate_hypergeometric(sizes, sum(k for k, _ in counts.values()), worlds)
        return np.ptp(hits / np.array(sizes), axis=1)
    shares = [(rng.random((worlds, n)) < r).mean(1) for n, r in zip(sizes, rates, strict=True)]
    return np.ptp(np.stack(shares), axis=0)


def check_worst_group(answer) -> None:
    answer = _kept(answer)
    rng = np.random.default_rng(seeded(1400))
    cases = []
    for sizes, rates in (((17, 60, 23), (0.55, 0.9, 0.6)), ((13, 150), (0.75, 0.9)),
                         ((40, 31, 37, 43), (0.7, 0.75, 0.7, 0.7)),
                         ((29, 41, 30, 37, 43, 31), (0.9,) * 6)):  # fmt: skip
        groups = np.concatenate([[f"group {chr(97 + i)}"] * n for i, n in enumerate(sizes)])
        right = np.concatenate([np.arange(n) < round(r * n) for n, r in zip(sizes, rates,
                                                                           strict=True)])
        order = rng.permutation(len(groups))
        cases.append((right[order], groups[order]))
    for right, groups in cases:
        _one_world(answer, right, groups)
    tie = np.array([True, False, True, False, True, True]), np.array(list("bbaacc"))
    _one_world(answer, *tie)
    _one_world(answer, np.ones(6, dtype=bool), tie[1])  # no gap: every world's is as large
    _one_world(answer, np.array([True, False]), np.array(["a", "b"]), ties=True)
    groups = np.repeat(["a", "b", "c"], [20, 30, 25])  # chance makes such a gap every second time
    right = np.concatenate([np.arange(n) < k for n, k in ((20, 13), (30, 24), (25, 17))])
    _few_worlds(answer, right, groups)


def _few_worlds(answer, right, groups) -> None:
    """The draws are those asked for, and come from the rng that was handed in."""
    counts = {name: f"{k} of {n} right" for name, (k, n) in _counts(right, groups).items()}
    shares = [float(answer(right, groups, 7, np.random.default_rng(seeded(seed)))[3])
              for seed in range(1410, 1420)]  # fmt: skip
    wrong = [p for p in shares if abs(7 * p - round(7 * p)) > 1e-9]
    if wrong:
        added = all(abs(8 * p - round(8 * p)) < 1e-9 for p in shares)
        raise Wrong("7 worlds are asked for, so p is 0, 1/7, 2/7 and so on", given=counts
                    | {"draws": 7}, yours=wrong[0], likely="(x + 1) / (draws + 1) is never 0; here "
                    "p is the plain share of the `draws` worlds" if added else
                    "the number of worlds is fixed: it is `draws`")  # fmt: skip
    expect(len(set(shares)) > 1, "ten generators with ten seeds all give the same p",
           given=counts | {"draws": 7}, yours=shares[0],
           likely="a generator of your own, such as np.random.default_rng(0): take `rng`")


def _one_world(answer, right, groups, draws: int = 3000, ties: bool = False) -> None:
    """ties: most worlds have the very gap that was seen, and no rounding hides one."""
    counts = _counts(right, groups)
    given = {name: f"{k} of {n} right" for name, (k, n) in counts.items()} | {"draws": draws}
    state = np.random.get_state()[1].copy()
    result, again = (answer(right, groups, draws, np.random.default_rng(seeded(7)))
                     for _ in range(2))  # fmt: skip
    expect(result is not None, "the result is None: does the function return it?", given=given)
    expect(isinstance(result, tuple | list) and len(result) == 4, "the function should return four "
           "things, (group, accuracy, gap, p)", given=given, yours=show(result))  # fmt: skip
    shares = {name: k / n for name, (k, n) in counts.items()}
    worst = min(shares, key=shares.get)
    group, accuracy, gap, p = result
    misses = max(counts, key=lambda name: counts[name][1] - counts[name][0])
    expect(isinstance(group, str), "group should be the name of a group, a str", given=given,
           yours=show(group), expected=worst)  # fmt: skip
    if group != worst:
        known = {"the group with the most mistakes is not the one with the lowest share: divide by "
                 "its size": misses,
                 "the group with the fewest right answers is not the one with the lowest share":
                     min(counts, key=lambda name: counts[name][0]),
                 "this is the best group": max(shares, key=shares.get)}  # fmt: skip
        fits = [why for why, name in known.items() if name == group]
        tied = shares.get(str(group)) == shares[worst]
        raise Wrong("group is not the worst one", given=given, yours=group, expected=worst,
                    likely="of equal groups, take the first in alphabetical order" if tied else
                    fits[0] if len(fits) == 1 else None)  # fmt: skip
    compare(_number(accuracy, "accuracy", given), shares[worst], given=given, what="accuracy",
            mistakes={"this is how many are right: divide by the size of the group":
                      counts[worst][0], "this is the error": 1 - shares[worst],
                      "this is the accuracy of all texts": float(right.mean())})  # fmt: skip
    compare(_number(gap, "gap", given), max(shares.values()) - shares[worst], given=given,
            what="gap", mistakes={"the gap is from the best group to the worst, not from the mean":
                                  float(right.mean()) - shares[worst],
                                  "the gap has the wrong sign":
                                  shares[worst] - max(shares.values())})  # fmt: skip
    p = _number(p, "p", given)
    expect(0 <= p <= 1, "p is a share, from 0 to 1", given=given, yours=p)
    expect(np.array_equal(state, np.random.get_state()[1]) and p == again[3],
           "the same rng gives another p, or numpy's global generator is used: all random numbers "
           "come from `rng`", given=given, likely="np.random.binomial; write rng.binomial")
    worlds, seen = 6000, max(shares.values()) - shares[worst]
    null = _null(counts, worlds)
    share = (null >= seen - 1e-9).mean()
    strict = share if ties else (null > seen + 1e-9).mean()  # elsewhere they are of little weight
    if seen < 1e-9:
        expect(p == 1, "all groups are alike, so the gap is 0, and every world's gap is at least "
               "as large: p is 1", given=given, yours=p, expected=1.0,
               likely="`>` leaves out the worlds whose gap is exactly as large; `>=` counts them")
        return
    slack = 4.5 * math.sqrt(0.25 / draws + 0.25 / worlds) if 0.02 < share < 0.98 else 0.03
    if strict - slack <= p <= share + slack:
        return
    if p == 1 and share < 0.5:
        raise Wrong("p is 1 here, as if every world had a gap at least as large", given=given,
                    yours=p, expected=float(share), likely=_one_everywhere(answer))  # fmt: skip
    likely = {"this is the share of smaller gaps: p counts those at least as large": 1 - share}
    for kind, why in {"own rates": "each group keeps its own accuracy here, so the groups differ; "
                      "chance alone means one accuracy for all, that of all texts",
                      "equal sizes": "all groups have one size here: a small group scatters more",
                      "mean of rates": "this is the mean of the groups' accuracies; take the share "
                      "of all texts, in which a large group counts for more",
                      "shuffled": "the right answers are shuffled among the texts here, so their "
                      "number is the same in every world (a good null too, the library's); here "
                      "each text is right by chance, on its own",
                      "bell curve": "this is a normal approximation, far off for groups of few "
                      "texts; rng.binomial draws how many of them are right",
                      "one half": "the texts are right with probability 1/2 here; take the "
                      "accuracy of all texts"}.items():  # fmt: skip
        likely[why] = (_null(counts, worlds, kind) >= seen - 1e-9).mean()
    fits = [why for why, value in likely.items() if abs(value - p) < slack]
    raise Wrong(f"p is not as expected: of {worlds} worlds in which the group does not matter, a "
                f"share of {share:.3f} has a gap of {seen:.3f} or more", given=given, yours=p,
                expected=float(share), likely=fits[0] if len(fits) == 1 else None)  # fmt: skip


def _one_everywhere(answer) -> str:
    """Why p is 1 for groups that differ: two groups of one text each tell two reasons apart, for
    there a number of right texts is the accuracy."""
    one_of_two = np.array([True, False]), np.array(["a", "b"])
    p = answer(*one_of_two, 2000, np.random.default_rng(seeded(8)))[3]
    if 0.4 < p < 0.6:
        return ("binomial gives counts, so these gaps are in texts; divide by `sizes`, which makes "
                "accuracies of them")  # fmt: skip
    return ("the gap is within one world: a row of `worlds` is a world, so the largest and the "
            "smallest are taken along axis 1")  # fmt: skip


# ---------------------------------------------------------------- 14.2


def _plain_paired(model, batch, other, lam, *, distance="sum", over="mean", detach=False,
                  weigh="term", both=0, squash=False) -> Tensor:  # fmt: skip
    """Text by text; the keywords are its mistakes."""
    z, moved = perturbed_logits(model, batch, None), perturbed_logits(model, other, None)
    moved_logits = moved
    if squash:
        z_, moved = z.softmax(1), moved.softmax(1)
    else:
        z_ = z
    loss, terms = 0.0, []
    for i, y in enumerate(batch["labels"].tolist()):
        loss = loss + torch.logsumexp(z[i], 0) - z[i, y]
        apart = [z_[i, k] - moved[i, k] for k in range(z.shape[1])]
        if distance == "signed":
            apart = [sum(apart)]
        terms.append(sum(a.abs() if distance in ("sum", "mean", "signed") else a**2 for a in apart))
        if distance == "norm":
            terms[-1] = terms[-1].sqrt()
    loss, term, n = loss / len(z), sum(terms), len(terms)
    if both:
        loss = both * (loss + cross_entropy(moved_logits, batch["labels"]))
    if over == "mean":
        term = term / n
    if distance == "mean":
        term = term / z.shape[1]
    return {"term": loss + lam * term, "none": loss + term, "loss": lam * loss + term,
            "both": lam * (loss + term), "alone": lam * term,
            "minus": loss - lam * term}[weigh]  # fmt: skip


_PAIRED_MISTAKES = {
    "squares instead of absolute values": dict(distance="square"),
    "the L2 norm: it is the sum of the absolute values": dict(distance="norm"),
    "the mean over the classes: it is the sum of |z_k(x) − z_k(x′)| over the classes":
        dict(distance="mean"),
    "the term is added up over the texts: take the mean over the batch": dict(over="sum"),
    "`sum(0)` adds up over the texts; the classes are axis 1": dict(distance="mean", over="sum"),
    "lam multiplies the cross-entropy, too; it belongs to the other term alone":
        dict(weigh="both"),
    "lam is missing: it multiplies the term": dict(weigh="none"),
    "lam multiplies the cross-entropy; it belongs to the other term": dict(weigh="loss"),
    "the cross-entropy of the batch is missing": dict(weigh="alone"),
    "the term has the wrong sign: this would pull the logits apart": dict(weigh="minus"),
    "the cross-entropy of the counterfactual texts is in it too: that is augmentation":
        dict(both=1),
    "this is the mean of two cross-entropies: that of the counterfactual texts does not belong in":
        dict(both=0.5),
    "the differences are added up before `abs`, so those of opposite signs cancel: first `abs`, "
    "then the sum over the classes": dict(distance="signed"),
    "these are probabilities: the term compares logits": dict(squash=True),
}  # fmt: skip


def check_paired_loss(answer) -> None:
    for seed, classes, lam in ((1420, 3, 0.7), (1421, 2, 2.5), (1422, 4, 1.3)):
        model, batch = small_bert(seed, labels=(1, 0, classes - 1), classes=classes)
        other = dict(batch) | {"input_ids": batch["input_ids"].clone()}
        other["input_ids"][0, 2] = 3 + (batch["input_ids"][0, 2] + 4) % 17
        other["input_ids"][2, 1] = 3 + (batch["input_ids"][2, 1] + 9) % 17
        used(model)
        for there in (other, batch):  # where nothing is exchanged, the term is 0
            result = []

            def run(*inputs, model=model, result=result):
                loss = call(answer, *inputs, same_mode=True)
                expect(isinstance(loss, Tensor), "the loss should be a tensor, not "
                       f"{type(loss).__name__}", yours=show(loss),
                       likely="the function returns nothing" if loss is None else
                       "a .item() too many: the trainer needs the graph")  # fmt: skip
                result.append(loss)
                return loss.detach()

            specified(run, [dict(model=model, batch=batch, other=there, lam=lam)],
                      lambda model, batch, other, lam, **how: _plain_paired(
                          model, batch, other, lam, **how).detach(),
                      _PAIRED_MISTAKES, what="the loss",
                      tell=lambda p: {"lam": p["lam"], "exchanged": p["other"] is not p["batch"]},
            )  # fmt: skip
            _gradients_agree(result[0], model, batch, there, lam)


def _gradients_agree(loss: Tensor, model, batch, other, lam: float) -> None:
    """The graph of the loss against finite differences, at some weights."""
    expect(loss.requires_grad, "the loss has no graph, so nothing could be trained with it",
           likely="torch.no_grad() or .detach()")  # fmt: skip
    named = [p for name, p in model.named_parameters() if p.requires_grad and p.dim() == 2
             and any(part in name for part in ("query", "dense", "classifier"))][:4]  # fmt: skip
    slopes = torch.autograd.grad(loss, named, retain_graph=True, allow_unused=True)
    with torch.no_grad():
        still = {name: perturbed_logits(model, texts, None)
                 for name, texts in (("z", batch), ("moved", other))}  # fmt: skip
    losses = {"right": lambda: _plain_paired(model, batch, other, lam),
              "moved held": lambda: _held(model, batch, other, lam, moved=still["moved"]),
              "z held": lambda: _held(model, batch, other, lam, z=still["z"])}  # fmt: skip
    places = [(p, slope, at) for p, slope in zip(named, slopes, strict=True)
              for at in ((0, 0), (1, 2))]  # fmt: skip
    yours = torch.tensor([0.0 if slope is None else slope[at].item() for _, slope, at in places])
    found = {name: torch.tensor([_slope(p, at, make) for p, _, at in places])
             for name, make in losses.items()}  # fmt: skip

    def same(name: str) -> bool:
        return torch.allclose(yours, found[name], atol=2e-5, rtol=2e-3)

    expect(same("right"), "the loss is right, but its gradient is not: finite differences of the "
           "loss in some weights say otherwise", given={"lam": lam}, yours=yours,
           expected=found["right"], likely="one of the two logits is held constant; the gradient "
           "must go through both" if same("moved held") or same("z held") else
           "a .detach() or torch.no_grad() in the middle")  # fmt: skip


def _held(model, batch, other, lam: float, z=None, moved=None) -> Tensor:
    """The loss in which one side of the difference is a constant."""
    logits = perturbed_logits(model, batch, None)
    moved = perturbed_logits(model, other, None) if moved is None else moved
    term = ((logits if z is None else z) - moved).abs().sum(1).mean()
    return cross_entropy(logits, batch["labels"]) + lam * term


def _slope(p: Tensor, at: tuple[int, int], loss, h: float = 1e-5) -> float:
    """The slope of the loss in one weight."""
    with torch.no_grad():
        was, ends = p[at].item(), []
        for sign in (1, -1):
            p[at] = was + sign * h
            ends.append(loss().item())
        p[at] = was
    return (ends[0] - ends[1]) / (2 * h)


# ---------------------------------------------------------------- 14.3


def _plain_threshold(scores, alpha: float, make=None) -> float:
    """The smallest score (or infinity) that enough of n + 1 are at or below, found by counting."""
    if make:
        return float(make(scores, alpha))
    n = len(scores)
    for q in sorted(scores.tolist()):
        if sum(s <= q for s in scores.tolist()) >= (n + 1) * (1 - alpha) - 1e-9:
            return q
    return math.inf


def _place(n: int, alpha: float) -> int:
    return math.ceil((n + 1) * (1 - alpha) - 1e-9)


def _pick(k) -> object:
    """An answer that takes the k(n, alpha)-th smallest score, and infinity above the largest."""

    def answer(scores, alpha):
        place = max(k(len(scores), alpha), 1)
        return np.sort(scores)[place - 1] if place <= len(scores) else math.inf

    return answer


_THRESHOLD_MISTAKES = {
    "a plain quantile of the n scores: the new text is one of n + 1": lambda s, a: np.quantile(
        s, 1 - a),
    "one place too high: the k-th smallest of a sorted array is the one at index k − 1":
        _pick(lambda n, a: _place(n, a) + 1),
    "np.quantile(…, k / n, method=\"higher\") takes the score above the k-th smallest; that one is "
    "np.sort(scores)[k - 1]": lambda s, a: np.sort(s)[min(_place(len(s), a), len(s) - 1)],
    "one place too low: n in place of n + 1, or rounded down":
        _pick(lambda n, a: math.ceil(n * (1 - a) - 1e-9)),
    "without the 1e-9 a product that is a hair above a whole number is rounded up to the next":
        _pick(lambda n, a: math.ceil((n + 1) * (1 - a))),
    "`round` rounds to the nearest whole number, so sometimes down; `math.ceil` rounds up":
        _pick(lambda n, a: round((n + 1) * (1 - a))),
    "alpha in place of 1 − alpha": _pick(lambda n, a: _place(n, 1 - a)),
    "sorted from the largest: the k-th smallest is asked for":
        lambda s, a: np.sort(s)[::-1][_place(len(s), a) - 1],
    "where k = n there is a k-th smallest score, the largest: only k > n has none":
        lambda s, a: np.sort(s)[_place(len(s), a) - 1] if _place(len(s), a) < len(s) else math.inf,
}
_BEYOND_MISTAKES = {
    "the largest score where n is too small: then no score will do, and the threshold is infinite":
        lambda s, a: np.max(s),
    "1 is the largest score that there can be, but not what is asked for where n is too small: "
    "`math.inf`": lambda s, a: 1.0,
}  # fmt: skip


def check_conformal_threshold(answer) -> None:
    answer = _kept(answer)
    rng = np.random.default_rng(seeded(1430))
    problems = [dict(scores=rng.random(n), alpha=a)
                for n, a in ((25, 0.1), (200, 0.1), (37, 0.25), (12, 0.3), (5, 0.5), (63, 0.02),
                             (9, 0.7))]  # fmt: skip
    problems += [dict(scores=np.repeat([0.5, 0.1, 0.9], 7), alpha=0.4)]
    beyond = [dict(scores=rng.random(n), alpha=a) for n, a in ((9, 0.05), (1, 0.1))]  # k > n

    def run(scores, alpha):
        n = len(scores)
        try:
            return _number(answer(scores, alpha), "the threshold", {"alpha": alpha})
        except IndexError as error:
            raise Wrong(f"IndexError: {error}",
                        given={"n": n, "alpha": alpha, "k": _place(n, alpha)},
                        likely="the k-th smallest of a sorted array is the one at index k − 1, and "
                        "where k > n there is none") from None  # fmt: skip
        except ValueError as error:
            raise Wrong(f"ValueError: {error}",
                        given={"n": n, "alpha": alpha, "k": _place(n, alpha)},
                        likely="np.quantile takes shares from 0 to 1, and where k > n there is no "
                        "score to take") from None  # fmt: skip

    try:
        for part, mistakes in ((problems, _THRESHOLD_MISTAKES), (beyond, _BEYOND_MISTAKES)):
            specified(run, part, _plain_threshold, making(mistakes), what="the threshold",
                      tell=lambda p: {"n": len(p["scores"]), "alpha": p["alpha"],
                                      "k": _place(len(p["scores"]), p["alpha"])})  # fmt: skip
    except Wrong as wrong:
        if isinstance(wrong.yours, float) and math.isinf(wrong.yours):
            wrong.problem = "the threshold is infinite where there is a k-th smallest score"
        wrong.problem += _coverage(run)
        raise
    said = _coverage(run)
    expect(not said, f"the threshold does not cover{said}")


def _coverage(run, n: int = 19, alpha: float = 0.2, splits: int = 1000) -> str:
    """What 1,000 random splits say of a threshold; empty where its sets hold the truth."""
    rng = np.random.default_rng(seeded(1431))
    try:
        held = np.mean([(rng.random(20) <= run(rng.random(n), alpha)).mean()
                        for _ in range(splits)])  # fmt: skip
    except Exception:
        return ""
    slack = 4 * math.sqrt(alpha * (1 - alpha) * (1 / splits / 20 + 1 / (n + 2) / splits))
    if abs(held - math.ceil((n + 1) * (1 - alpha)) / (n + 1)) < slack:
        return ""
    return (f". Over {splits} random splits with n = {n} and alpha = {alpha} your sets hold the "
            f"truth in {held:.1%}; {1 - alpha:.0%} are promised")  # fmt: skip


# ---------------------------------------------------------------- 14.4


def _plain_curve(confidence, right, *, of="kept", wrong=True, up=False, joined=True,
                 strict=False, turned=False, counts=False, only=None, digits=None,
                 swapped=False) -> dict[str, np.ndarray]:  # fmt: skip
    """Every threshold tried, one after the other; the keywords are its mistakes."""
    if digits:
        confidence = confidence.round(digits)
    levels = sorted(set(confidence.tolist()) if joined else confidence.tolist(), reverse=not up)
    coverage, risk = [], []
    for k, level in enumerate(levels, 1):
        if joined == "first":  # of texts of equal confidence only one is counted
            kept = [c > level for c in confidence.tolist()]
            kept[confidence.tolist().index(level)] = True
        elif joined:
            kept = [c == level if only == "equal" else c > level if strict
                    else c <= level if up or only == "below" else c >= level
                    for c in confidence.tolist()]  # fmt: skip
        else:
            first = np.argsort(-confidence, kind="stable")[:k]
            kept = np.isin(np.arange(len(right)), first).tolist()
        bad = sum(k and (bool(r) != wrong) for k, r in zip(kept, right.tolist(), strict=True))
        coverage.append(sum(kept) / len(kept))
        risk.append(bad / max(1, sum(kept) if of == "kept" else len(kept)))
    if turned:
        coverage, risk = coverage[::-1], risk[::-1]
    if counts:
        coverage = [share * len(right) for share in coverage]
    if swapped:
        coverage, risk = risk, coverage
    return {"coverage": np.array(coverage), "risk": np.array(risk)}


_CURVE_MISTAKES = {
    "texts of equal confidence are taken one by one: no threshold can tell them apart, so they "
    "make one point": dict(joined=False),
    "of texts of equal confidence only the first is counted: all of them are answered":
        dict(joined="first"),
    "confidences that differ in the fourth decimal are taken as one: every different value is a "
    "threshold of its own": dict(digits=3),
    "confidences that differ in the fifth decimal are taken as one: every different value is a "
    "threshold of its own": dict(digits=4),
    "the mistakes are divided by all texts: risk is the share of those that are answered":
        dict(of="all"),
    "this is the accuracy: risk is the share that is wrong": dict(wrong=False),
    "from the least sure on: the surest answers come first": dict(up=True),
    "the points are in ascending order: the highest confidence comes first": dict(turned=True),
    "coverage is a number of texts here: divide by all texts": dict(counts=True),
    "`>` leaves the texts at the threshold out: `>=` answers them": dict(strict=True),
    "`==` keeps the texts of this one confidence: those above it are answered too, `>=`":
        dict(only="equal"),
    "`<=` keeps the least sure texts: those of this confidence or more are answered, `>=`":
        dict(only="below"),
    "the two results are exchanged: first coverage, then risk": dict(swapped=True),
}  # fmt: skip


def check_risk_coverage(answer) -> None:
    answer = _kept(answer)
    rng = np.random.default_rng(seeded(1440))
    problems = []
    for n, levels in ((11, 1000), (30, 6), (40, 15), (1, 1)):
        sure = rng.integers(levels, size=n) / levels / 2 + 0.5
        problems.append(dict(confidence=sure, right=rng.random(n) < sure))
    close = 0.9994 + rng.permutation(12) * 7e-6  # as clean texts have them
    problems.append(dict(confidence=close, right=rng.random(12) < 0.7))

    def run(confidence, right):
        result = answer(confidence, right)
        expect(result is not None, "the result is None: does the function return (coverage, risk)?")
        expect(isinstance(result, tuple | list) and len(result) == 2, "the function should return "
               "two things, (coverage, risk)", yours=show(result))  # fmt: skip
        found = dict(zip(("coverage", "risk"), map(np.asarray, result), strict=True))
        for name, values in found.items():
            expect(values.dtype.kind in "fiu", f"{name} should hold numbers", yours=show(values))
        return {name: values.astype(float) for name, values in found.items()}

    specified(run, problems, _plain_curve, _CURVE_MISTAKES,
              tell=lambda p: {k: v if len(v) < 13 else f"{len(v)} values, "
                              f"{len(set(v.tolist()))} different" for k, v in p.items()})


# ---------------------------------------------------------------- 14.5


def _plain_objections(card, policy, *, nan="said", missing="said", equal="passes", blank="said",
                      inf="read", first=False, text="said", parts=3, other="said",
                      order=None) -> list[str]:  # fmt: skip
    """The fields that break a rule, rule by rule; the keywords are mistakes of a gate."""

    def empty(name) -> bool:
        value = card.get(name)
        if blank.startswith("not value") and not value:
            return True
        if blank == "not value alone":
            return False
        if blank == "nan" and isinstance(value, float) and math.isnan(value):
            return True
        said = value is None or isinstance(value, str) and not value.strip()
        if blank == "not stripped":
            return value is None or isinstance(value, str) and not value
        return value is None if blank == "passes" else said

    def outside(name, limit, sign) -> bool:
        value = card.get(name)
        if value is None:
            return missing == "said"
        if isinstance(value, str):
            if text == "read" and value.replace(".", "", 1).isdigit():
                return sign * float(value) < sign * limit
            return text != "passes"
        if not isinstance(value, int | float):
            return other == "said" or not isinstance(value, list)
        if math.isnan(value):
            return nan == "said" or nan == ("at_least", "at_most")[sign > 0]
        if math.isinf(value) and inf == "said":
            return True
        return sign * value < sign * limit or (equal != "passes" and value == limit)

    each = [[name for name in policy["required"] if empty(name)]]
    for rule, sign in (("at_least", 1), ("at_most", -1)):
        each.append([name for name, limit in policy[rule].items() if outside(name, limit, sign)])
    if first == "of each":
        each = [found[:1] for found in each]
    found = sum(each[:parts], [])
    if order:
        found = sorted(found)
    return found[:1] if first is True else found


_GATE_MISTAKES = {
    "it stops at the first fault: whoever has to mend a card wants to hear all": dict(first=True),
    "it stops at the first fault of each part: whoever has to mend a card wants to hear all":
        dict(first="of each"),
    "nan passes: `nan < 0.9` is False, so ask whether the value is >= the limit, and refuse where "
    "it is not": dict(nan="passes"),
    "nan passes in `at_least`: ask whether the value is >= the limit, and refuse where it is not":
        dict(nan="at_least"),
    "nan passes in `at_most`: ask whether the value is <= the limit, and refuse where it is not":
        dict(nan="at_most"),
    "`inf` is a number: it is beyond a limit of `at_most`, and keeps one of `at_least`":
        dict(inf="said"),
    "nan fills a required field in; only where a number is asked for it breaks a rule":
        dict(blank="nan"),
    "`not value` objects to 0 and to an empty list, and lets a text of spaces pass":
        dict(blank="not value alone"),
    "the objections are sorted: they come in the order of the policy": dict(order="sorted"),
    "a number that is missing passes: what was not measured is no pass": dict(missing="passes"),
    "a value that equals its limit is refused; it passes": dict(equal="refused"),
    "an empty text, or one of spaces, counts as said": dict(blank="passes"),
    "a text of spaces counts as said: `strip()` it first": dict(blank="not stripped"),
    "`not value` objects to 0 and to an empty list, too: they are no text of spaces, and count as "
    "filled in": dict(blank="not value"),
    "a text in the place of a number passes": dict(text="passes"),
    "a text that reads like a number passes: what is no number breaks the rule":
        dict(text="read"),
    "a list in the place of a number passes": dict(other="passes"),
    "`at_most` is not looked at": dict(parts=2),
    "only `required` is looked at": dict(parts=1),
}  # fmt: skip


def check_objections(answer) -> None:
    def run(card, policy):
        try:
            said = call(answer, card=card, policy=policy)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise Wrong(f"the gate itself breaks: {type(error).__name__}: {error}",
                        given={"card": card}, likely=_breaks(error)) from None
        expect(isinstance(said, list), "the result should be a list, empty where nothing is wrong",
               yours=show(said), given={"card": card})  # fmt: skip
        for sentence in said:
            name, colon, rest = sentence.partition(":") if isinstance(sentence, str) else [""] * 3
            expect(colon and name in _FIELDS and rest.strip(), "an objection begins with the name "
                   "of its field and a colon, and says what is wrong", yours=show(sentence),
                   expected=f"{next(iter(_plain_objections(card, policy)), 'accuracy')}: what the "
                   "card has there, and what the policy asks for")  # fmt: skip
        return "; ".join(sentence.partition(":")[0] for sentence in said) or "(no objection)"

    def spec(card, policy, **how):
        return "; ".join(_plain_objections(card, policy, **how)) or "(no objection)"

    specified(run, _cards(), spec, _GATE_MISTAKES, what="what is objected to")


def _breaks(error: Exception) -> str:
    """What makes a gate raise."""
    if "strip" in str(error) and "NoneType" not in str(error):
        return ("only a text has `strip`: once None is ruled out, ask isinstance(value, str), or "
                "write str(value).strip()")  # fmt: skip
    return ("a field that is missing, None, a text or a list where a number belongs must become an "
            "objection, never an error")  # fmt: skip


_FIELDS = ("threat model", "limits", "contact", "accuracy", "worst group", "n", "gap", "flips")
_POLICY = {
    "required": ["threat model", "limits", "contact"],
    "at_least": {"accuracy": 0.9, "worst group": 0.6, "n": 500},
    "at_most": {"gap": 0.2, "flips": 0.01},
}
_GOOD = {"threat model": "white box, eps = 0.3", "limits": "English reviews", "contact": "a person",
         "accuracy": 0.95, "worst group": 0.7, "n": 600, "gap": 0.1, "flips": 0.0}  # fmt: skip


def _cards() -> list[dict]:
    """Cards with faults, each beside the policy."""
    faults = [
        {}, {"accuracy": 0.9, "worst group": 0.6, "gap": 0.2, "n": 500}, {"limits": "  "},
        {"contact": None, "accuracy": 0.89, "gap": 0.21}, {"worst group": math.nan},
        {"flips": math.nan, "limits": ""}, {"accuracy": "0.95", "threat model": "", "n": 3},
        {"gap": None, "n": None}, {"accuracy": 0.0, "gap": 0.0, "extra": "more"},
        {"gap": "small"}, {"limits": 0, "contact": 5}, {"limits": ["English"], "contact": []},
        {"accuracy": [0.95], "flips": []}, {"n": math.inf, "gap": math.inf},
        {"limits": math.nan}, {"limits": "", "contact": "", "accuracy": 0.5, "worst group": 0.5},
        {"accuracy": {"all": 0.95}, "flips": {}}, {"n": (600,), "gap": b"small"},
        {"accuracy": 0.95 + 0j, "limits": {}},
    ]  # fmt: skip
    cards = [_GOOD | fault for fault in faults]
    cards += [{k: v for k, v in _GOOD.items() if k not in gone}
              for gone in (("limits",), ("accuracy",), ("flips", "contact"), tuple(_GOOD))]
    policies = [_POLICY] * len(cards)
    cards.append(_GOOD | {"accuracy": 0.5})
    policies.append({"required": [], "at_least": {"accuracy": 0.4}, "at_most": {"accuracy": 0.45}})
    return [dict(card=c, policy=p) for c, p in zip(cards, policies, strict=True)]


# ---------------------------------------------------------------- the course's own functions


def worst_group(right, groups, draws, rng):
    """(group, accuracy, gap, p) of the worst group, and how often chance makes such a gap.

    right, groups: (n,) whether each text is right, and the name of its group.
    """
    names = np.unique(groups)  # sorted
    sizes = np.array([(groups == name).sum() for name in names])
    shares = np.array([right[groups == name].mean() for name in names])
    null = rng.binomial(sizes, right.mean(), size=(draws, len(names))) / sizes
    gaps, gap = null.max(1) - null.min(1), shares.max() - shares.min()
    worst = shares.argmin()
    return str(names[worst]), shares[worst], gap, (gaps >= gap).mean()


def paired_loss(model, batch, other, lam):
    """L + lam · |z(x) − z(x′)|, with its graph: texts of `other` are those of `batch` with a word
    exchanged."""
    z = perturbed_logits(model, batch, None)
    moved = perturbed_logits(model, other, None)
    term = (z - moved).abs().sum(1).mean()
    return cross_entropy(z, batch["labels"]) + lam * term


def conformal_threshold(scores, alpha):
    """The ⌈(n + 1)(1 − alpha)⌉-th smallest of n scores; infinite where there is none."""
    k = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(scores)[k - 1]) if k <= len(scores) else math.inf


def risk_coverage(confidence, right):
    """(coverage, risk), a point for each confidence that occurs, the highest first."""
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order], np.cumsum(~right[order])
    last = np.append(sure[:-1] != sure[1:], True)  # the last text of each confidence
    counts = np.arange(1, len(sure) + 1)[last]
    return counts / len(sure), wrong[last] / counts


def objections(card, policy):
    """A sentence for each rule of the policy that the card breaks; none: it passes."""
    said = []
    for name in policy["required"]:
        value = card.get(name)
        if value is None or not str(value).strip():
            said.append(f"{name}: the card does not say it")
    for rule, sign in (("at_least", 1), ("at_most", -1)):
        for name, limit in policy[rule].items():
            value = card.get(name)
            number = isinstance(value, int | float)
            if not (number and sign * value >= sign * limit):  # nan is never >=
                shown = f"{value:.3g}" if number else "not measured"
                words = rule.replace("_", " ")
                said.append(f"{name}: {shown}, and the policy asks for {words} {limit}")
    return said


EXERCISES: dict[str, Exercise] = {
    "14.1": Exercise("the worst group, and chance", check_worst_group, worst_group),
    "14.2": Exercise("pairs that must agree", check_paired_loss, paired_loss),
    "14.3": Exercise("the conformal threshold", check_conformal_threshold, conformal_threshold),
    "14.4": Exercise("the risk-coverage curve", check_risk_coverage, risk_coverage),
    "14.5": Exercise("a gate that says all", check_objections, objections),
}
