"""Checks of lesson 11, Certificates.

Specifications: every corner of a box is tried; every variant of a text is written out; a binomial
tail is summed and bisected; two distributions over texts are compared text by text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.stats import beta, norm
from torch import Tensor

from advlib.corpora import replace, words
from advlib.corpora.engine import WORD
from course.checking import (
    Exercise,
    Wrong,
    call,
    compare,
    expect,
    making,
    seeded,
    show,
    specified,
    tensors,
)

AT_ONCE = 512  # texts in one call of `margins`, at most


def corners(lower: Sequence[float], upper: Sequence[float]) -> list[tuple[float, ...]]:
    """All corners of one box."""
    return list(itertools.product(*zip(lower, upper, strict=True)))


def _ends(rows: list[list[list[float]]], like: Tensor) -> dict[str, Tensor]:
    """The smallest and the largest value of each output, over the rows of each box."""
    table = [torch.tensor(some, dtype=torch.double) for some in rows]
    return {"lower": torch.stack([t.amin(0) for t in table]).to(like.dtype),
            "upper": torch.stack([t.amax(0) for t in table]).to(like.dtype)}  # fmt: skip


def _ordered(answer: Callable, *inputs: Tensor, **named: Tensor) -> dict[str, Tensor]:
    """What a function that returns a box gives, of the dtype of what it was given."""
    found = tensors(answer(*inputs, **named), "lower", "upper")
    for name, end in found.items():
        wanted = inputs[-1].dtype
        expect(not end.is_floating_point() or end.dtype == wanted, f"{name} is of {end.dtype}, "
               f"where the box is of {wanted}")  # fmt: skip
    return found


# ---------------------------------------------------------------- 11.1


def _world_of_margins(seed: int):
    """A function of texts like a model's margin: each word counts, and pairs of words as well, so
    that the best single changes are not the best together. It keeps what it was asked."""
    rng, asked, calls = np.random.default_rng(seeded(seed)), {}, []
    single, pair = {}, {}

    def value(text: str) -> float:
        found = [w.lower() for w in words(text)]
        total = 1.5
        for w in found:
            total += single.setdefault(w, rng.normal(0, 0.5))
        for two in zip(found, found[1:], strict=False):
            total += pair.setdefault(two, rng.normal(0, 1.0))
        return float(total)

    def margins(texts):
        expect(isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts),
               "margins takes a list of texts", yours=show(texts),
               likely="a single text: margins([text])" if isinstance(texts, str)
               else None)  # fmt: skip
        expect(len(texts) <= AT_ONCE, f"margins was given {len(texts)} texts at once; the most is "
               f"{AT_ONCE}", likely="cut the list into pieces: texts[i : i + 512]")  # fmt: skip
        calls.append(len(texts))
        asked.update((t, value(t)) for t in texts if t not in asked)
        return np.array([asked[t] for t in texts])

    return margins, value, asked, calls


def _written_out(text: str, options) -> list[str]:
    """Every variant, put together from the pieces between the words."""
    spans = [m.span() for m in WORD.finditer(text)]
    choices = [(text[a:b], *found) for (a, b), found in zip(spans, options, strict=True)]
    edges = [0, *(x for span in spans for x in span), len(text)]
    between = [text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return ["".join(x for pair in itertools.zip_longest(between, chosen, fillvalue="")
                    for x in pair) for chosen in itertools.product(*choices)]  # fmt: skip


_TEXTS = (
    ("The room was clean, and the staff was kind.",
     {2: ("is",), 3: ("spotless", "tidy"), 7: ("seemed",), 8: ("friendly", "polite", "helpful")}),
    ("A dull film!", {1: ("boring", "tedious", "slow"), 2: ("movie", "picture")}),
    ("It rained.", {}),
    ("We loved the soup, the bread, the fish and the tea.",
     {1: ("enjoyed", "liked", "adored"), 3: ("broth", "stew"), 5: ("rolls", "loaf"),
      7: ("trout", "salmon", "cod"), 10: ("coffee", "cocoa", "juice", "water", "milk")}),
)  # fmt: skip


def check_exact_worst(answer) -> None:
    for turn, (text, places) in enumerate(_TEXTS):
        for seed in (0, 1, 2):
            options = [places.get(i, ()) for i in range(len(words(text)))]
            _one_text(answer, text, options, 1130 + 10 * turn + seed)


def _one_text(answer, text: str, options: list, seed: int) -> None:
    margins, value, asked, calls = _world_of_margins(seed)
    given = {"text": text, "options": [tuple(o) for o in options]}
    every = _written_out(text, options)
    handed = [tuple(o) for o in options]
    result = answer(text, options, margins)
    expect([tuple(o) for o in options] == handed, "your function changes its input `options`",
           given=given, likely="an append or insert on it: make a list of your own")  # fmt: skip
    expect(asked, "margins was never called", given=given)
    strange = [t for t in asked if t not in set(every)]
    if strange:
        raise Wrong("texts were tried that are no variants of this one", given=given,
                    yours=strange[0], likely=_why_strange(strange[0], text, options))  # fmt: skip
    missed = [t for t in every if t not in asked]
    if missed:
        raise Wrong(f"{len(asked)} of the {len(every)} variants were tried",
                    given=given | {"a variant that was not tried": missed[0]},
                    likely=_why_missed(text, asked, every, options))  # fmt: skip
    most = -(-len(every) // 32) + len(every) // 4 + 4
    expect(len(calls) <= most, f"{len(calls)} calls of margins for {len(every)} variants: that is "
           "far too slow with a model", given=given,
           likely="one text at a time: hand over lists of texts")  # fmt: skip
    expect(isinstance(result, tuple | list) and len(result) == 2, "the function should return two "
           "things, (text, margin)", given=given, yours=show(result),
           likely="is a return missing?" if result is None else None)  # fmt: skip
    found, least = result
    expect(isinstance(found, str), f"the first of the two should be a text, not "
           f"{type(found).__name__}", given=given, yours=show(found),
           likely="an index instead of the text" if isinstance(found, int | np.integer)
           else None)  # fmt: skip
    values = {t: value(t) for t in every}
    worst = min(every, key=values.__getitem__)
    others = {"the largest margin: the worst text for the model has the smallest":
              max(every, key=values.__getitem__),
              "the margin nearest to zero: below zero means wrong, so smaller is worse":
              min(every, key=lambda t: abs(values[t])),
              "the last text that was tried": list(asked)[-1],
              "the text itself": text}  # fmt: skip
    likely = next((why for why, t in others.items() if found == t), None)
    if found in asked and _within_piece(list(asked), calls, found, worst):
        likely = ("an index within its piece: where a piece begins at s, the text is the one with "
                  "the number s + k")
    expect(found in values and math.isclose(values[found], values[worst], abs_tol=1e-9),
           "this is not the variant with the smallest margin", given=given, yours=found,
           expected=worst, likely=likely)  # fmt: skip
    expect(np.ndim(least) == 0 and isinstance(least, float | np.floating | int),
           "the margin should be one number", given=given, yours=show(least))  # fmt: skip
    expect(math.isclose(float(least), values[worst], abs_tol=1e-6), "the margin is not that of the "
           "worst variant", given=given, yours=float(least), expected=values[worst])  # fmt: skip


def _within_piece(asked: list[str], calls: list[int], found: str, worst: str) -> bool:
    """Whether `found` has the number in the whole list that `worst` has in its piece."""
    starts = [sum(calls[:k]) for k in range(len(calls))]
    at = asked.index(worst)
    start = max(s for s in starts if s <= at)
    return start > 0 and asked.index(found) == at - start


def _why_strange(strange: str, text: str, options) -> str | None:
    if WORD.sub("", strange) != WORD.sub("", text):
        return ("punctuation or spaces are lost: replace(text, {number of the word: word}) keeps "
                "them")
    return "a word stands in the place of another: options[i] belongs to the i-th word"


def _why_missed(text: str, asked, every, options) -> str | None:
    changed = [sum(a != b for a, b in zip(words(t), words(text), strict=True)) for t in asked]
    if max(changed) == 1 and max(
            sum(a != b for a, b in zip(words(t), words(text), strict=True)) for t in every) > 1:
        return "one word at a time: several may change together, and the worst often needs that"
    free = sum(map(bool, options))
    if free and min(changed) == free:
        return "every word is changed in all of them: to stay as it is is an option, too"
    if text not in asked:
        return "the text itself is a variant, too: the one without changes"
    return "a search instead of an enumeration: it is cheap and may miss the worst" \
        if len(asked) < len(every) / 2 else None


# ---------------------------------------------------------------- 11.2


def _plain_affine(weight: Tensor, bias: Tensor, lower: Tensor, upper: Tensor, make=None) -> dict:
    """Every corner of every box through the layer, number by number; `make` makes a mistake."""
    if make:
        return dict(zip(("lower", "upper"), make(weight, bias, lower, upper), strict=True))
    w, b, rows = weight.tolist(), bias.tolist(), []
    for box in zip(lower.tolist(), upper.tolist(), strict=True):
        rows.append([[b[j] + sum(w[j][i] * x[i] for i in range(len(x))) for j in range(len(b))]
                     for x in corners(*box)])  # fmt: skip
    return _ends(rows, lower)


_NOT_AFFINE = {
    "the radius goes through the weights with their signs: a negative weight then shrinks the box. "
    "Take their absolute values":
        lambda w, b, lo, hi: (lo @ w.T + b, hi @ w.T + b),
    "the bias widens the box: it moves the centre, and has no part in the radius":
        lambda w, b, lo, hi: _by_centre(w, b, lo, hi, radius_bias=b),
    "the bias is missing": lambda w, b, lo, hi: _by_centre(w, 0 * b, lo, hi),
    "the radius is the whole width of the box, twice too large":
        lambda w, b, lo, hi: _by_centre(w, b, lo, hi, scale=2.0),
    "lower and upper are swapped": lambda w, b, lo, hi: _by_centre(w, b, lo, hi, scale=-1.0),
    "only two corners were tried, all inputs low and all inputs high: each input needs the end "
    "that is worst for the output, and that depends on the sign of its weight":
        lambda w, b, lo, hi: tuple(f(lo @ w.T + b, hi @ w.T + b)
                                   for f in (torch.minimum, torch.maximum)),
    "this is (centre, radius): the ends are centre − radius and centre + radius":
        lambda w, b, lo, hi: ((lo + hi) / 2 @ w.T + b, (hi - lo) / 2 @ w.abs().T),
    "the absolute weights are used for the centre, too":
        lambda w, b, lo, hi: (lo @ w.abs().T + b, hi @ w.abs().T + b),
}  # fmt: skip


def _by_centre(w, b, lo, hi, radius_bias=0.0, scale=1.0):
    centre, radius = (lo + hi) / 2 @ w.T + b, scale * ((hi - lo) / 2 @ w.abs().T) + radius_bias
    return centre - radius, centre + radius


def check_affine_box(answer) -> None:
    g, problems = torch.Generator().manual_seed(seeded(1110)), []
    for texts, inputs, outputs in ((3, 4, 2), (2, 3, 5), (1, 6, 3), (4, 1, 1)):
        weight = torch.randn(outputs, inputs, generator=g, dtype=torch.double)
        bias = torch.randn(outputs, generator=g, dtype=torch.double)
        at = torch.randn(texts, inputs, generator=g, dtype=torch.double)
        r = torch.rand(texts, inputs, generator=g, dtype=torch.double)
        problems.append(dict(weight=weight, bias=bias, lower=at - r, upper=at + r))
    problems[1] = {name: value.float() for name, value in problems[1].items()}
    specified(lambda *box: _ordered(answer, *box), problems, _plain_affine, making(_NOT_AFFINE))


# ---------------------------------------------------------------- 11.3


def _plain_softmax(lower: Tensor, upper: Tensor, make=None) -> dict:
    """Softmax at every corner of every box, in plain Python; `make` makes a mistake."""
    if make:
        return dict(zip(("lower", "upper"), make(lower, upper), strict=True))
    rows = []
    for box in zip(lower.tolist(), upper.tolist(), strict=True):
        rows.append([])
        for z in corners(*box):
            powers = [math.exp(x - max(z)) for x in z]
            rows[-1].append([p / math.fsum(powers) for p in powers])
    return _ends(rows, lower)


def _mixed(lower: Tensor, upper: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """exp(own) / (exp(own) + the others' exps), for each class."""
    n = own.shape[-1]
    rest = others[..., None, :].expand(*others.shape, n).masked_fill(
        torch.eye(n, dtype=torch.bool), -torch.inf).logsumexp(-1)  # fmt: skip
    return torch.sigmoid(own - rest)


def _divided(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    total_low = lower.logsumexp(-1, keepdim=True)
    total_high = upper.logsumexp(-1, keepdim=True)
    return (lower - total_high).exp(), (upper - total_low).exp()


_NOT_SOFTMAX = {
    "softmax of the lower ends and softmax of the upper ends: a probability is smallest where its "
    "own logit is low and the others are high":
        lambda lo, hi: (lo.softmax(-1), hi.softmax(-1)),
    "sound, but too wide: in the smallest value the own logit stands in the sum as well, and there "
    "it is at its lower end, too": _divided,
    "lower and upper are swapped": lambda lo, hi: (_mixed(lo, hi, hi, lo), _mixed(lo, hi, lo, hi)),
    "the sum runs over the first dimension, the texts":
        lambda lo, hi: (lo.softmax(0), hi.softmax(0)),
}  # fmt: skip


def check_softmax_box(answer) -> None:
    g, problems = torch.Generator().manual_seed(seeded(1120)), []
    for texts, classes, scale in ((3, 3, 1.0), (2, 5, 3.0), (4, 2, 0.5), (3, 4, 1.0)):
        at = scale * torch.randn(texts, classes, generator=g, dtype=torch.double)
        r = scale * torch.rand(texts, classes, generator=g, dtype=torch.double)
        problems.append(dict(lower=at - r, upper=at + r))
    problems[1] = {name: value.float() for name, value in problems[1].items()}
    problems[3]["upper"] = problems[3]["lower"].clone()  # no width: softmax itself
    specified(lambda *box: _ordered(answer, *box), problems, _plain_softmax, making(_NOT_SOFTMAX))
    far = [torch.tensor([[-size, 0.0, size], [size, size - 1, 0.0]], dtype=torch.double)
           for size in (1000.0, 800.0)]  # fmt: skip
    boxes = [dict(lower=at - 0.5, upper=at + 0.5) for at in far]
    for kind in (torch.double, torch.float):  # one logit that may be almost anything
        for low, high in ((-10.0, 20.0), (-40.0, 60.0), (-1000.0, 1000.0)):
            ends = torch.zeros(2, 1, 3, dtype=kind)
            ends[:, 0, 0] = torch.tensor([low, high])
            boxes.append(dict(lower=ends[0], upper=ends[1]))
    for box in boxes:
        found = call(lambda *inputs: _ordered(answer, *inputs), **box)
        wide = float((box["upper"] - box["lower"]).max())
        for name, right in _plain_softmax(**box).items():
            shown = dict(given=box, yours=found[name], expected=right)
            expect(found[name].isfinite().all(), f"{name} has values that are not finite",
                   likely=_TOO_LARGE if wide <= 1 else _CANCELLED, **shown)  # fmt: skip
            same = torch.allclose(found[name].double(), right.double(), atol=1e-5, rtol=1e-4)
            if not same and wide > 1:
                raise Wrong(f"{name} is not as expected for a wide box", **shown,
                            likely=_CANCELLED)  # fmt: skip
            compare(found[name], right, given=box, what=name)


_TOO_LARGE = ("exp(1000) is too large for a float: stay with logarithms, logsumexp and sigmoid")
_CANCELLED = ("a sum minus its largest part, or exp of a number far from the largest: what matters "
              "is rounded away, and 0 / 0 remains. Sum the others alone, with logsumexp")


# ---------------------------------------------------------------- 11.4


def _tail(k: int, n: int, p: float) -> float:
    """The chance of k or more of n, exactly: the smaller of the two sums is added up."""
    def term(j: int) -> float:
        logs = math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1)
        return math.exp(logs + j * math.log(p) + (n - j) * math.log1p(-p))

    return math.fsum(term(j) for j in range(k, n + 1))


def _plain_bound(hits: int, n: int, alpha: float, make=None) -> float:
    """The p at which `hits` or more of n has chance alpha, by bisection; `make` makes a mistake."""
    if make:
        return float(make(hits, n, alpha))
    if hits == 0:
        return 0.0
    low, high = 1e-12, 1 - 1e-12
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(hits, n, middle) < alpha else (low, middle)
    return (low + high) / 2


_OR_MORE = ("the p at which *more* than hits has the chance alpha: “hits or more” counts hits, so "
            "sf(hits - 1), or beta with hits and n − hits + 1")

_NOT_BOUND = {
    "the share hits / n itself: an estimate is no bound": lambda k, n, a: k / n,
    "alpha is cut in half, as for an interval with two ends: here only the lower end is asked for":
        lambda k, n, a: beta.ppf(a / 2, k, n - k + 1) if k else 0.0,
    "this is the upper bound": lambda k, n, a: beta.ppf(1 - a, k + 1, n - k) if k < n else 1.0,
    "alpha and 1 − alpha are swapped": lambda k, n, a: beta.ppf(1 - a, k, n - k + 1) if k else 0.0,
    _OR_MORE: lambda k, n, a: beta.ppf(a, k + 1, n - k) if k < n else 1.0,
    _OR_MORE + " (for hits = 0 yours is right)":
        lambda k, n, a: 0.0 if k == 0 else beta.ppf(a, k + 1, n - k) if k < n else 1.0,
    "the normal approximation: near 0 and 1 it fails, and there a certificate lives":
        lambda k, n, a: max(0.0, k / n - norm.ppf(1 - a) * (k / n * (1 - k / n) / n) ** 0.5),
    "the normal approximation: near 0 and 1 it fails, and there a certificate lives. Below zero it "
    "is not even a probability":
        lambda k, n, a: k / n - norm.ppf(1 - a) * (k / n * (1 - k / n) / n) ** 0.5,
    "Hoeffding's bound: it holds, but it is not as large as the one asked for":
        lambda k, n, a: max(0.0, k / n - (math.log(1 / a) / (2 * n)) ** 0.5),
}  # fmt: skip


def check_lower_bound(answer) -> None:
    def number(hits, n, alpha):
        found = answer(hits, n, alpha)
        expect(found is not None, "the result is None: does the function return it?")
        expect(np.ndim(found) == 0 and isinstance(found, float | int | np.number | Tensor),
               f"the result should be one number, not {type(found).__name__}",
               yours=show(found))  # fmt: skip
        expect(not math.isnan(found), "the result is nan", likely={
            0: "beta.ppf with the parameter 0, where hits is 0: then the bound is 0",
            n: "beta.ppf with the parameter 0, where hits is n: the second parameter is "
               "n − hits + 1"}.get(hits))  # fmt: skip
        return float(found)

    problems = [dict(hits=k, n=n, alpha=a) for k, n, a in
                ((200, 200, 0.001), (150, 200, 0.001), (9, 10, 0.05), (1, 10, 0.05),
                 (0, 25, 0.01), (600, 600, 0.001), (31, 60, 0.1), (1, 1, 0.2))]  # fmt: skip
    specified(number, problems, _plain_bound, making(_NOT_BOUND), what="the bound", atol=1e-6)


# ---------------------------------------------------------------- 11.5


def _plain_distance(here, there, make=None) -> float:
    """Half the sum of |P − Q| over all texts; `make` makes a mistake."""
    if make:
        return float(make(here, there))
    both = [{text: 1 / math.prod(map(len, sets)) for text in itertools.product(*sets)}
            for sets in (here, there)]  # fmt: skip
    return math.fsum(abs(both[0].get(t, 0) - both[1].get(t, 0)) for t in both[0] | both[1]) / 2


def _shares(here, there, size):
    return [len({*a} & {*b}) / size(len(a), len(b)) for a, b in zip(here, there, strict=True)]


def _common(here, there) -> int:
    return math.prod(len({*a} & {*b}) for a, b in zip(here, there, strict=True))


_NOT_DISTANCE = {
    "this is the overlap: the distance is what is missing to 1":
        lambda h, t: math.prod(_shares(h, t, max)),
    "this is the overlap: 1 minus it is the distance":
        lambda h, t: _common(h, t) / max(math.prod(map(len, x)) for x in (h, t)),
    "the smaller of the two products of sizes: the text with more choices has the smaller chance, "
    "and min(P, Q) is the smaller one": lambda h, t: 1 - _common(h, t) / min(
        math.prod(map(len, x)) for x in (h, t)),
    "the words' distances are added up: that is a bound, and not the distance (it can exceed 1)":
        lambda h, t: sum(1 - s for s in _shares(h, t, max)),
    "the words' distances are added up and cut at 1: that is a bound, and not the distance":
        lambda h, t: min(1, sum(1 - s for s in _shares(h, t, max))),
    "the words' distances are multiplied: the overlaps are what multiplies":
        lambda h, t: math.prod(1 - s for s in _shares(h, t, max)),
    "common words over all words (Jaccard): the overlap of two even draws is common words times "
    "the smaller of the two chances":
        lambda h, t: 1 - math.prod(len({*a} & {*b}) / len({*a} | {*b})
                                   for a, b in zip(h, t, strict=True)),
    "common words over the words of the first set: the second may be larger":
        lambda h, t: 1 - math.prod(_shares(h, t, lambda a, b: a)),
    "common words over the words of the second set: the first may be larger":
        lambda h, t: 1 - math.prod(_shares(h, t, lambda a, b: b)),
    "common words over the smaller set: a text of the larger one has the smaller chance":
        lambda h, t: 1 - math.prod(_shares(h, t, min)),
    "the larger set is chosen word by word: compare the chances of whole texts, one over the "
    "product of the sizes": lambda h, t: 1 - math.prod(_shares(h, t, max)),
    "the worst word alone: all words move together":
        lambda h, t: max(1 - s for s in _shares(h, t, max)),
    "twice the distance: half the sum of the differences is asked for":
        lambda h, t: 2 * _plain_distance(h, t),
}  # fmt: skip


def check_total_variation(answer) -> None:
    def number(here, there):
        found = answer(here, there)
        expect(found is not None, "the result is None: does the function return it?")
        expect(np.ndim(found) == 0 and isinstance(found, float | int | np.floating | Tensor),
               f"the result should be one number, not {type(found).__name__}",
               yours=show(found))  # fmt: skip
        return float(found)

    names = ("good", "fine", "nice", "kind", "neat")
    three = [names[i : i + 3] for i in range(3)]
    problems = [
        dict(here=[("a", "b", "c")], there=[("b", "c", "d")]),
        dict(here=[three[0], three[1]], there=[three[1], three[1]]),
        dict(here=[three[0], three[1], ("the",)], there=[three[1], three[2], ("the",)]),
        dict(here=[("a", "b"), ("c", "d", "e")], there=[("a", "b"), ("c", "d", "e")]),
        dict(here=[("a",), ("c", "d")], there=[("b",), ("c", "d")]),
        dict(here=[("a", "b"), ("c", "d", "e")], there=[("a", "b", "x"), ("d", "e")]),
        dict(here=[("a", "b", "c", "d")], there=[("a", "b")]),
        dict(here=[("a", "b")], there=[("b", "a", "c", "d")]),
        dict(here=[three[0]] * 4, there=[three[1]] * 4),
    ]  # fmt: skip
    specified(number, problems, _plain_distance, making(_NOT_DISTANCE), what="the distance")
    long = [tuple(f"{i}{c}" for c in "abcdefgh") for i in range(30)]
    here, there = long, [(*some[1:], "new") if i % 7 == 0 else some for i, some in enumerate(long)]
    right = 1 - (7 / 8) ** 5
    given = {"words": 30, "the product of the sizes": "8 to the 30th"}
    found = number(here, there)
    expect(math.isfinite(found), "the distance is not finite", given=given, yours=found,
           expected=right, likely="numpy's whole numbers have 64 bits and overflow (np.prod): "
           "math.prod has no limit")  # fmt: skip
    compare(found, right, given=given, what="the distance")


# ---------------------------------------------------------------- the course's own functions


def exact_worst(text: str, options: list, margins: Callable) -> tuple[str, float]:
    """The variant with the smallest margin, and that margin; every variant is asked about."""
    choices = [(word, *found) for word, found in zip(words(text), options, strict=True)]
    texts = [replace(text, dict(enumerate(chosen))) for chosen in itertools.product(*choices)]
    found = [margins(texts[i : i + 512]) for i in range(0, len(texts), 512)]
    found = np.concatenate(found)
    return texts[int(found.argmin())], float(found.min())


def affine_box(weight: Tensor, bias: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest box round all images of a box: (lower, upper), (batch, outputs)."""
    centre = (lower + upper) / 2 @ weight.T + bias
    radius = (upper - lower) / 2 @ weight.abs().T
    return centre - radius, centre + radius


def softmax_box(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest of each probability over a box of logits, (batch, classes)."""
    n = lower.shape[-1]
    own = torch.eye(n, dtype=torch.bool, device=lower.device)

    def others(z):
        return z[:, None, :].expand(-1, n, n).masked_fill(own, -torch.inf).logsumexp(-1)

    return torch.sigmoid(lower - others(upper)), torch.sigmoid(upper - others(lower))


def lower_bound(hits: int, n: int, alpha: float) -> float:
    """The Clopper–Pearson lower bound of a probability, after `hits` of n."""
    return float(beta.ppf(alpha, hits, n - hits + 1)) if hits else 0.0


def total_variation(here: list, there: list) -> float:
    """How far apart the random texts of two texts are, 0 to 1."""
    common = sizes_here = sizes_there = 1
    for a, b in zip(here, there, strict=True):
        common *= len(set(a) & set(b))
        sizes_here *= len(a)
        sizes_there *= len(b)
    return 1 - common / max(sizes_here, sizes_there)


EXERCISES: dict[str, Exercise] = {
    "11.1": Exercise("the exact worst text", check_exact_worst, exact_worst),
    "11.2": Exercise("a box through an affine layer", check_affine_box, affine_box),
    "11.3": Exercise("a box through softmax", check_softmax_box, softmax_box),
    "11.4": Exercise("the lower end of a vote", check_lower_bound, lower_bound),
    "11.5": Exercise("how far two votes are apart", check_total_variation, total_variation),
}
