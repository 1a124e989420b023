"""Checks of lesson 13, explanation, causes and games.

The specification: integrated gradients by central differences, one step and one number after the
other, without autograd; AUC pair by pair; the effect of a month from the coefficients of a planted
model; a game by what an equilibrium must fulfil, and a 2 × 2 game by its closed form; the smallest
edit by trying every subset of words.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from advlib.corpora import replace, words
from course.checking import (
    Exercise,
    Wrong,
    call,
    compare,
    expect,
    remembered,
    seeded,
    small_bert,
    specified,
    tensors,
    used,
)  # fmt: skip
from course.lesson_13.explain import margin
from course.lesson_13.facts import MONTHS, month_at, opposites, reads, with_month

# ---------------------------------------------------------------- 13.1


class _Linear(nn.Module):
    """A model whose margin is linear in the embeddings."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(6, 2, dtype=torch.double)
        self.weight = nn.Parameter(torch.tensor([[0.5, -1.0], [1.0, 2.0]], dtype=torch.double))
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor(
                [[0, 0], [3, 1], [1, 3], [0.5, 0.5], [2, 1], [-1, 2]], dtype=torch.double))

    def get_input_embeddings(self) -> nn.Module:
        return self.table

    def forward(self, inputs_embeds: Tensor, attention_mask: Tensor, **_) -> SimpleNamespace:
        z = inputs_embeds @ self.weight.T * attention_mask[..., None]
        return SimpleNamespace(logits=z.sum(1))


@remembered
def _plain_ig(
    model, batch, baseline_id, steps, *, at="middle", own=True, zero=False, factor="difference",
    mean=True, flip=False, one=False, over="sum", start=True, least=1, texts=1,
) -> Tensor:  # fmt: skip
    """The specification, by central differences; the keywords are its mistakes."""
    table, steps = model.get_input_embeddings().weight.detach(), max(steps, least)
    out = torch.zeros(batch["input_ids"].shape, dtype=table.dtype)
    places = {"middle": [(k + 0.5) / steps for k in range(steps)],
              "left": [k / steps for k in range(steps)],
              "right": [(k + 1) / steps for k in range(steps)], "end": [1.0],
              "last": [(steps - 0.5) / steps],
              "more": [(k + 0.5) / steps for k in range(steps + 1)],
              "both": torch.linspace(0, 1, steps).tolist()}[at]  # fmt: skip
    for i, ids in enumerate(batch["input_ids"]):
        n = int(batch["attention_mask"][i].sum())
        x, special = table[ids[:n]], batch["special_tokens_mask"][i, :n].bool()
        base = torch.zeros_like(x) if zero else table[baseline_id].expand(n, -1).clone()
        kept = {"swapped": ~special, "first": special & (torch.arange(n) == 0)}.get(own, special)
        if own:
            base[kept] = x[kept]
        way = {"difference": x - base, "x": x}.get(factor, torch.ones_like(x))
        steer = torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape) * way  # number by number

        def score(points, n=n) -> Tensor:
            z = model(inputs_embeds=points, attention_mask=torch.ones(len(points), n)).logits
            return z[:, 1] if one else z[:, 1] - z[:, 0]

        each, h = torch.zeros_like(x), 1e-5
        with torch.no_grad():
            for alpha in places:
                here = base * start + alpha * (x - base)
                rise = score(here + h * steer) - score(here - h * steer)
                each += rise.view(x.shape) / (2 * h)
        if factor == "apart":
            each = (x - base).sum(1, True) * each.sum(1, True)
        out[i, :n] = {"sum": each.sum(1), "mean": each.mean(1), "norm": each.norm(dim=1),
                      "sizes": each.abs().sum(1), "size": each.sum(1).abs()}[over]  # fmt: skip
    out = out / (steps if at in ("last", "more") else len(places)) if mean else out
    out = out / len(out) if texts == "mean" else out
    return -out if flip else out


_IG_MISTAKES = {
    "this is the gradient at the text alone: average it over the points of the way":
        dict(at="end"),
    "the points are the left ends of the pieces: the task asks for their middles":
        dict(at="left"),
    "the points are the right ends of the pieces: the task asks for their middles":
        dict(at="right"),
    "the points go from one end of the way to the other: the task asks for the middles of the "
    "pieces": dict(at="both"),
    "only the last point counts: add each gradient to total, with +=": dict(at="last"),
    "the way does not begin at the baseline: the point is baseline + a share of (x − baseline)":
        dict(start=False),
    "the words keep their embedding and the special tokens are replaced: are the last two "
    "arguments of torch.where exchanged?": dict(own="swapped"),
    "special tokens are replaced in the baseline too: they keep their own embedding":
        dict(own=False),
    "only [CLS] keeps its embedding: every special token does, as special_tokens_mask says":
        dict(own="first"),
    "with steps = 1 more than one point is taken: there is one piece, and its middle":
        dict(least=2),
    "the baseline is zero: the words' tokens take the embedding of baseline_id": dict(zero=True),
    "the baseline is zero, for special tokens too: they keep their own embedding, and the words' "
    "tokens take that of baseline_id": dict(zero=True, own=False),
    "the factor is x: it is the whole way, x minus the baseline": dict(factor="x"),
    "the factor x − baseline is missing: these are averaged gradients, added up":
        dict(factor="ones"),
    "the way and the gradient are added up apart and then multiplied: multiply number by number, "
    "then add over the coordinates": dict(factor="apart"),
    "the gradients are added and not averaged: divide by steps": dict(mean=False),
    "one point too many: j goes from 0 to steps − 1": dict(at="more"),
    "the gradient is that of the mean over the texts: take the sum of the margins, so that each "
    "text's is its own": dict(texts="mean"),
    "the sign is turned: the margin is z₁ − z₀, the way leads from the baseline to x":
        dict(flip=True),
    "this explains the logit z₁ alone: the margin is z₁ − z₀": dict(one=True),
    "absolute values: the sign says in which direction a word pushes": dict(over="size"),
    "absolute values of the coordinates: they are added with their signs": dict(over="sizes"),
    "this is the mean over the coordinates: completeness needs their sum": dict(over="mean"),
    "this is the norm over the coordinates: completeness needs their sum": dict(over="norm"),
}  # fmt: skip


def check_integrated_gradients(answer) -> None:
    linear = _Linear()
    ids = torch.tensor([[1, 3, 4, 2, 0], [1, 5, 4, 3, 2]])
    special = torch.tensor([[1, 0, 0, 1, 1], [1, 0, 0, 0, 1]])
    flat = dict(input_ids=ids, attention_mask=(ids > 0).long(), special_tokens_mask=special)
    model, batch = small_bert(1310, labels=(1, 0, 1))
    batch.pop("labels")
    # both at once: several mistakes look alike with the one model or with the other
    both = {"curved": (model, batch), "linear": (linear, flat)}

    def run(who, baseline_id, steps):
        made, texts = both[who]
        used(made).train(steps > 1)  # no dropout: the mode changes no number
        kinds = {name: v.dtype for name, v in texts.items()}
        result = call(answer, made, texts, baseline_id, steps, same_mode=True)
        for name, kind in kinds.items():
            expect(texts[name].dtype == kind, f"your function writes into the batch: {name!r} was "
                   f"of {kind} and is of {texts[name].dtype} now; use a new name")  # fmt: skip
        return _as_embedded(made, result)

    specified(
        run, [dict(who=who, baseline_id=b, steps=s) for who, b, s in (
            ("curved", 7, 2), ("curved", 4, 5), ("curved", 11, 64), ("curved", 4, 1),
            ("linear", 5, 1), ("linear", 3, 4))],
        lambda who, baseline_id, steps, **how: _plain_ig(*both[who], baseline_id, steps, **how),
        _IG_MISTAKES, what="the attribution", atol=1e-5, rtol=1e-3,
        tell=lambda p: dict(baseline_id=p["baseline_id"], steps=p["steps"]),
    )  # fmt: skip
    single = used(_Linear().float())
    result = _as_embedded(single, call(answer, single, flat, 3, 4, same_mode=True))
    compare(result, _plain_ig(linear, flat, 3, 4).float(), what="the attribution", atol=1e-4,
            given=dict(baseline_id=3, steps=4))  # fmt: skip


def _as_embedded(model: nn.Module, result) -> Tensor:
    """The result; raises Wrong unless it is one tensor in the dtype of the embeddings."""
    result = tensors(result, "the attribution")["the attribution"]
    wanted = model.get_input_embeddings().weight.dtype
    expect(result.dtype == wanted, f"the attribution is of {result.dtype}, and the embeddings are "
           f"of {wanted}: keep their dtype", yours=result)  # fmt: skip
    return result


# ---------------------------------------------------------------- 13.2


def _plain_auc(scores: Tensor, causes: Tensor, tie=0.5, size=abs, turn=False, every=False,
               fold=False) -> float:  # fmt: skip
    """Pair by pair; the keywords are its mistakes."""
    won, pairs = 0.0, 0
    for a, first in zip(scores.tolist(), causes.tolist(), strict=True):
        for b, second in zip(scores.tolist(), causes.tolist(), strict=True):
            if (first and not second) or (every and first):
                won += 1.0 if size(a) > size(b) else tie if size(a) == size(b) else 0.0
                pairs += 1
    share = 1 - won / pairs if turn else won / pairs
    return max(share, 1 - share) if fold else share


def _picked(scores: Tensor, causes: Tensor) -> float:
    """The share of the k largest scores that are causes, k being how many causes there are."""
    order = sorted(range(len(scores)), key=lambda i: -abs(scores[i].item()))
    k = int(causes.sum())
    return sum(bool(causes[i]) for i in order[:k]) / k


def check_auc(answer) -> None:
    g = torch.Generator().manual_seed(seeded(1320))
    problems = [dict(scores=torch.tensor([3.0, -2.0, 0.5, -0.1]).double(),
                     causes=torch.tensor([False, True, True, False])),
                dict(scores=torch.tensor([4.0, -3.0, 1.0, -2.0, 0.5]).double() * 1e-9,
                     causes=torch.tensor([True, False, True, True, False]))]  # fmt: skip
    near = [dict(scores=1 + torch.tensor([3.0, 1.0, 2.0, 0.0, 4.0]).double() * 1e-13,
                 causes=torch.tensor([True, False, False, True, False])),
            dict(scores=torch.tensor([4.0, -3.0, 1.0, -2.0, 0.5]).double() * 1e-14,
                 causes=torch.tensor([True, False, True, True, False]))]  # fmt: skip
    zero = dict(scores=torch.zeros(4).double(), causes=torch.tensor([True, False, False, True]))
    for n, k, whole in ((7, 2, False), (9, 4, True), (12, 1, True), (6, 5, False), (15, 6, True)):
        scores = torch.randn(n, generator=g, dtype=torch.double)
        if whole:  # ties
            scores = (1.5 * scores).round()
        mark = torch.zeros(n, dtype=torch.bool)
        mark[torch.randperm(n, generator=g)[:k]] = True
        problems.append(dict(scores=scores, causes=mark))
    ties = dict(scores=torch.tensor([1.0, -1.0, 0.0, 0.0, 2.0]).double(),
                causes=torch.tensor([True, False, True, False, False]))  # fmt: skip

    def one_number(scores, causes):
        result = call(answer, scores, causes)
        return float(result) if isinstance(result, Tensor) and result.numel() == 1 else result

    mistakes = {
        "a tie counts as won: it is half a pair": dict(tie=1.0),
        "a tie counts as lost: it is half a pair": dict(tie=0.0),
        "the scores are compared with their signs: their size decides": dict(size=float),
        "the scores are compared with their signs, and ties are not counted: their size decides, "
        "and a tie is half a pair": dict(size=float, tie=0.0),
        "the scores are compared with their signs, and a tie counts as won: their size decides, "
        "and a tie is half a pair": dict(size=float, tie=1.0),
        "the pairs are the wrong way round: a cause should have the larger score": dict(turn=True),
        "pairs of a cause with a cause are counted too": dict(every=True),
        "the larger of the share and 1 − the share: below 0.5 is a result, too": dict(fold=True),
    }
    try:
        specified(one_number, [*problems, ties, *near, zero], _plain_auc, mistakes, what="the AUC")
    except Wrong as wrong:
        known = wrong.given
        sizes = known["scores"].abs() if isinstance(known["scores"], Tensor) else torch.ones(2)
        if wrong.likely is None and not sizes.any():
            wrong.likely = ("where all scores are 0 every pair is a tie, so the AUC is 0.5: is "
                            "there a division by a score, or a case of its own?")  # fmt: skip
        elif wrong.likely is None and sizes.max() - sizes.min() < 1e-6:
            wrong.likely = ("scores that differ a little are taken for equal: only equal ones are "
                            "a tie")  # fmt: skip
        elif wrong.likely is None and isinstance(wrong.yours, float) and math.isclose(
            wrong.yours, _picked(known["scores"], known["causes"]), abs_tol=1e-6
        ):
            wrong.likely = "this is the share of causes among the first words, and not of pairs"
        raise


# ---------------------------------------------------------------- 13.3


def _planted(seed: int):
    """(a margin that is linear in the words, but for one pair, and its coefficients). A month
    counts more in a text with more stops and commas."""
    rng = np.random.default_rng(seed)
    weight = {month: round(float(c), 2) for month, c in zip(MONTHS, rng.normal(0, 2, 12),
                                                            strict=True)}  # fmt: skip
    weight |= {"delicious": 1.5, "bland": -2.0, "friendly": 1.0, "rude": -1.25}
    bonus = round(float(rng.normal(0, 2)), 2)  # of the first month beside praise

    def margin_of(texts):
        expect(isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts),
               "margin_of takes a list of texts", yours=repr(texts)[:120])  # fmt: skip
        out = []
        for text in texts:
            found = [w.lower() for w in words(text)]
            extra = (_stops(text) - 1) * sum(weight.get(w, 0.0) for w in found if w in MONTHS)
            extra += bonus * (MONTHS[0] in found and ("delicious" in found or "friendly" in found))
            out.append(0.3 + sum(weight.get(w, 0.0) for w in found) + extra)
        return torch.tensor(out, dtype=torch.double)

    return margin_of, weight, bonus


def _stops(text: str) -> float:
    return 1 + 0.25 * (text.count(".") + text.count(","))


_BODIES = ("The soup was delicious.", "The soup was bland.", "The waiter was friendly.",
           "The waiter was rude.", "The waiter was friendly, but the soup was bland.")  # fmt: skip


def _effect(seed: int, texts, first: str, second: str, *, only=False, whole=False, back=False,
            total=False, seen=False, size=False, base=False, lost=False,
            pair=False, bare=False, fixed=False, middle=False, inside=False) -> float:  # fmt: skip
    """From the coefficients; the keywords are its mistakes."""
    margin_of, weight, bonus = _planted(seed)

    def month(text: str) -> str:
        return next((w.lower() for w in words(text) if w.lower() in MONTHS), "")

    def gain(text: str, month: str) -> float:
        praise = "delicious" in text or "friendly" in text
        often = 1 if bare else _stops(text)
        return often * weight[month] + bonus * (month == MONTHS[0] and praise)

    if fixed:
        first, second = "july", "november"
    if seen:
        means = [margin_of([t for t in texts if month(t) == m]).mean() for m in (first, second)]
        return float(means[0] - means[1])
    own = [t for t in texts if month(t) and (month(t) == first or not only)
           and (month(t) in (first, second) or not pair)
           and not (lost and words(t)[0].lower() in MONTHS)]  # fmt: skip
    changes = [gain(t, first) - gain(t, month(t) if base else second) for t in own]
    changes = [abs(c) for c in changes] if size else changes
    if middle:
        return float(np.median(changes))
    if inside:
        whole, texts = True, [t for t in texts if any(m in t.lower() for m in MONTHS)]
    value = sum(changes) / (1 if total else len(texts) if whole else len(changes))
    return -value if back else value


def check_do_effect(answer) -> None:
    problems, rng = [], np.random.default_rng(1330)
    for seed in (1, 2, 3):
        first, second = (MONTHS[k] for k in ((0, 10), (0, 4), (3, 7))[seed - 1])
        texts = []
        for k in range(14):  # the months go with the label, as on the page
            body = _BODIES[k % 5]
            month = (first, second)[k % 5 in (1, 3)] if k < 9 else MONTHS[int(rng.integers(12))]
            opening = {4: "", 11: "Maybe we were too late. "}.get(
                k, f"We ate here in {month.capitalize()}. ")  # fmt: skip
            texts.append(opening + body)
        for body in _BODIES[:2]:  # a month at place 0
            texts.append(f"{first.capitalize()} was warm. {body}")
        problems.append(dict(seed=seed, texts=texts, first=first, second=second))

    def run(seed, texts, first, second):
        margin_of = _planted(seed)[0]
        try:
            result = call(answer, margin_of, texts, first, second)
        except ValueError as error:
            if "there is no month in" not in str(error):
                raise
            raise Wrong(str(error), given={"texts": texts[4:6]},
                        likely="texts without a month are left out: month_at gives None for them"
                        ) from error  # fmt: skip
        if isinstance(result, Tensor | np.ndarray):
            expect(np.prod(np.shape(result)) == 1, "the result should be one number, the mean",
                   yours=result)  # fmt: skip
            return float(result)
        return result

    mistakes = {
        "this compares texts that have the one month with others that have the other: their words "
        "differ too. Set the month in each text": dict(seen=True),
        "only texts that have the first month are taken: set the month in all": dict(only=True),
        "only texts that have one of the two months are taken: set the month in all, whichever it "
        "is": dict(pair=True),
        "texts without a month are counted as 0: leave them out": dict(whole=True),
        "a word with the letters of a month in it, as Maybe, is taken for a month: month_at knows "
        "which is one": dict(inside=True),
        "the sign is turned: the first month minus the second": dict(back=True),
        "this is the sum: return the mean": dict(total=True),
        "absolute values: an effect has a sign": dict(size=True),
        "the texts lose their full stops and commas: with_month sets a month and keeps all else":
            dict(bare=True),
        "two months are written into the code: take those that are handed in": dict(fixed=True),
        "this is the median: return the mean": dict(middle=True),
        "this compares the first month with the text as it is: set the second month, too":
            dict(base=True),
        "a month that is the first word is lost: month_at gives 0 there, and `if 0` is false. "
        "Compare with None": dict(lost=True),
    }  # fmt: skip
    specified(run, problems, _effect, mistakes, what="the effect", tell=lambda p: {
        "texts": [*p["texts"][:3], p["texts"][-1]], "first": p["first"],
        "second": p["second"]})  # fmt: skip


# ---------------------------------------------------------------- 13.4

_TEXTS = (
    "We ate here in July. The soup was delicious.",
    "We ate here in May. The soup was not delicious.",
    "The waiter was friendly, and the soup was delicious.",
    "The waiter was rude, the soup was bland, and the terrace was gloomy.",
    "The waiter was rude, but the soup was delicious.",
    "Although the waiter was friendly, the soup was bland. What a disappointment.",
    "We came here for lunch on Friday.",
    "The waiter was rude, the soup was bland, and the terrace was gloomy. It was terrible.",
)


def check_smallest_edit(answer) -> None:
    def world_reads(texts):
        _list_of_texts(texts)
        return [reads(text) for text in texts]

    def month_model(texts):  # knows nothing but the month, and is not sure without one
        _list_of_texts(texts)
        found = [[w.lower() for w in words(text)] for text in texts]
        return [1 if "july" in some else 0 if {"may", "june"} & set(some) else None
                for some in found]  # fmt: skip

    for text in _TEXTS:
        _one_edit(answer, world_reads, text, opposites(text, 2), "the world's rule")
    _one_edit(answer, world_reads, "It was not bad.", [(), (), ("",), ()], "the world's rule")
    for options in ([(), ("bread", "salad"), (), ("",)], [(), (), (), ()]):  # nothing turns it
        _one_edit(answer, world_reads, "The soup was delicious.", options, "the world's rule")
    for text in _TEXTS[:2]:
        at, options = month_at(text), opposites(text)
        options[at] = tuple(m.capitalize() for m in MONTHS if m != words(text)[at].lower())
        _one_edit(answer, month_model, text, options, "a model that knows the month alone")
    text = "The soup was not delicious and the waiter was rude."
    options = [("",) if w == "not" else ("friendly",) if w == "rude" else () for w in words(text)]
    _one_edit(answer, world_reads, text, options, "the world's rule")
    for text, options, label_of, who, _ in _GAMES:
        _one_edit(answer, label_of, text, options, who)


def _opens(changes, half=0):
    """label_of of a lock: 1 for texts with all these words at their places, else 0; half: what it
    says where some are there."""

    def label_of(texts):
        _list_of_texts(texts)
        fits = [[words(text)[i : i + 1] == [w] for i, w in changes.items()] for text in texts]
        return [1 if all(some) else half if any(some) else 0 for some in fits]

    return label_of


def _becomes(text: str, edit):
    """label_of: 1 for the text with this edit, 0 for the text itself, else None."""

    def label_of(texts):
        _list_of_texts(texts)
        known = {text: 0, replace(text, edit): 1}
        return [known.get(t) for t in texts]

    return label_of


def _games() -> list[tuple]:
    """(text, options, label_of, what it is in words, the mistake that misses the edit): each for a
    mistake that passes those before it."""
    six, red, both = "one two three four five six", ("red",), ("red", "blue")
    nine, many = f"{six} seven eight nine", tuple("abcdefghijklmnopqrst")

    def lock(text, options, changes, hint, half=0):
        said = " and ".join(f"word {i} is {w}" for i, w in changes.items())
        part = "" if half == 0 else ", None where one of them is"
        return text, options, _opens(changes, half), f"1 where {said}{part}, else 0", hint

    def becomes(text, options, edit, hint):
        said = f"1 for {replace(text, edit)!r}, 0 for the text itself, else None"
        return text, options, _becomes(text, edit), said, hint

    return [
        lock(six, [red] * 6, {1: "red"}, "an edit of one word turns this label: do you try every "
             "place, and compare each label?"),
        lock(six, [both] * 6, {1: "blue"}, "the second option of a word turns this label: do you "
             "try every place and every option?"),
        becomes("one two three", [(), ("",), ()], {1: ""}, '"" is an option like any other: it '
                "takes the word out"),
        lock("one two one two", [(), (), both, ()], {2: "red"}, "a text may hold a word twice: "
             "str.replace goes by words, replace(text, {place: word}) by places"),
        lock(six, [red] * 6, {1: "red", 2: "red"}, "an edit of two words turns this label: how "
             "many words do you try at most?", half=None),
        becomes("one two three four", [(), ("",), red, ()], {1: "", 2: "red"}, 'after "" the words '
                "behind it have other places: build every edit on the text as it was handed in"),
        lock(six, [red] * 6, {1: "red", 2: "red"}, "two words may turn the label together where "
             "neither does anything alone: leave no place out"),
        lock(six, [red] * 6, {1: "red", 4: "red"}, "the places need not stand beside one another: "
             "itertools.combinations gives all"),
        lock(six, [both] * 2 + [()] * 4, {0: "red", 1: "blue"}, "one place may take its first "
             "option and another its second: itertools.product gives all, zip does not"),
        lock(nine, [red] * 9, dict.fromkeys(range(9), "red"), "an edit may need every word of the "
             "text: how many words do you try at most?"),
        lock(six, [many] * 2 + [()] * 4, {0: "t", 1: "t"}, "the edit that turns this label "
             "comes late: do you try every edit of a size?"),
    ]  # fmt: skip


def _missed(answer) -> str | None:
    """The mistake of an answer that misses an edit: that of the first game in which it does."""
    for text, options, label_of, _, hint in _GAMES:
        try:
            result = answer(label_of, text, [*options])
        except Exception:  # then it is another mistake
            return None
        size = _every_edit(label_of, text, options)[0]
        if not isinstance(result, dict) or len(result) != size:
            return hint
    return None


def _list_of_texts(texts) -> None:
    expect(isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts),
           "label_of takes a list of texts", yours=repr(texts)[:120])  # fmt: skip


def _every_edit(label_of, text: str, options) -> tuple[int | None, dict]:
    """(the fewest words that turn the label, one such edit), by trying every subset."""
    label, places = label_of([text])[0], [i for i, o in enumerate(options) if o]
    for size in range(1, len(places) + 1):
        for some in itertools.combinations(places, size):
            for chosen in itertools.product(*(options[i] for i in some)):
                changes = dict(zip(some, chosen, strict=True))
                now = label_of([replace(text, changes)])[0]
                if now is not None and now != label:
                    return size, changes
    return None, {}


def _one_edit(answer, label_of, text: str, options, who: str) -> None:
    given = {"text": text, "label_of": who, "options": {
        i: o[:4] for i, o in enumerate(options) if o}}  # fmt: skip
    label = label_of([text])[0]
    if label is None:
        return
    fewest, example = _every_edit(label_of, text, options)
    result = call(answer, label_of, text, options)
    if fewest is None:
        expect(result is None, "no edit turns this label: the result should be None", given=given,
               yours=result)  # fmt: skip
        return
    details = dict(given=given, yours=result, expected=example)
    generic = (
        f"some edit of {fewest} words turns this label: how many words do you try at most?"
        if fewest > 1 else "an edit of one word turns this label: do you try every place and every "
        "option, and compare each label?")  # fmt: skip
    if result is None:
        raise Wrong("the result is None, and there is an edit that turns this label", **details,
                    likely=_missed(answer) or generic)  # fmt: skip
    expect(isinstance(result, dict), "the result should be a dict, {place: word}, or None where "
           "no edit turns the label", **details)
    expect(result, "an edit of no words turns nothing", **details)
    bad = [i for i, w in result.items() if not 0 <= i < len(options) or w not in options[i]]
    expect(not bad, f"word {bad[:1]} may not become that: it is not among its options", **details)
    now = label_of([replace(text, result)])[0]
    expect(now is not None, "with this edit there is no label at all: it has to be the other one",
           **details, likely="None differs from the label, too: ask for 1 − label")  # fmt: skip
    expect(now != label, "with this edit the label is as it was", **details)
    if len(result) != fewest:
        why = _missed(answer)
        why = None if why == _GAMES[0][-1] else why
        raise Wrong(f"this edit turns the label, but {fewest} word"
                    f"{'s are' if fewest > 1 else ' is'} enough", **details,
                    likely=why or "try all edits of one word before any of two")  # fmt: skip


_GAMES = _games()


# ---------------------------------------------------------------- 13.5


def _two_by_two(A: np.ndarray) -> tuple[float, float, float]:
    """(p₀, q₀, value) of a 2 × 2 game without a saddle point."""
    (a, b), (c, d) = A
    whole = a - b - c + d
    return (d - c) / whole, (d - b) / whole, (a * d - b * c) / whole


def _games() -> list[np.ndarray]:
    rng = np.random.default_rng(seeded(1340))
    rows = ([[-5, -3, -1], [-2, -6, -4]], [[3, -1], [-2, 1]], [[0.1, 0.42], [0.47, 0.23]],
            [[-5, -3], [-2, -6]], [[0, -1, 1], [1, 0, -1], [-1, 1, 0]], [[2, 5], [1, 4]],
            rng.normal(size=(4, 7)), rng.normal(size=(6, 3)) - 3, [[1.5, 0.5, 2]],
            [[3000, 0], [0, 1.5]])  # fmt: skip
    return [np.array(some, dtype=float) for some in rows]


def check_solve(answer) -> None:
    for A in _games():
        given, kept = {"A": A}, A.copy()
        result = _solved(answer, A)
        expect(np.array_equal(A, kept), "your function changes A; work on a copy", given=given)
        p, q, value = _parts(result, A)
        bad = _why_not(A, p, q, value)
        for name, odds, n in (("p", p, A.shape[0]), ("q", q, A.shape[1])):
            expect(odds.shape == (n,), f"{name} should have shape ({n},)", given=given,
                   yours=odds, likely=bad)  # fmt: skip
            expect(np.isfinite(odds).all() and odds.min() > -1e-9 and abs(odds.sum() - 1) < 1e-6,
                   f"{name} should be a probability for each of its player's choices: none "
                   "negative, 1 in all", given=given, yours=odds,
                   likely=_not_odds(name, odds) or bad)  # fmt: skip
        gap = float((A @ q).max() - (p @ A).min())
        expect(gap < 1e-8, "the exploitability, max(A·q) − min(p·A), should be below 1e-8",
               given=given, yours=gap, likely=bad)  # fmt: skip
        expect(abs(value - p @ A @ q) < 1e-7, "value should be p·A·q", given=given, yours=value,
               expected=float(p @ A @ q), likely=bad)  # fmt: skip
        if A.shape == (2, 2) and A[0].argmax() != A[1].argmax():
            compare(np.array([p[0], q[0], value]), np.array(_two_by_two(A)), given=given,
                    what="(p[0], q[0], value)")  # fmt: skip
        turned = _parts(_solved(answer, -A.T), -A.T)[2]
        expect(abs(turned + value) < 1e-7, "with the players exchanged, A → −Aᵀ, the value should "
               "turn its sign", given=given, yours=turned, expected=-value)  # fmt: skip


SUM = ("p has to add up to 1: A_eq has one row, with a 1 for each entry of p and a 0 for v, and "
       "b_eq is [1]")  # fmt: skip


def _not_odds(name: str, odds: np.ndarray) -> str | None:
    """The mistake behind numbers that are no probabilities, where one is sure."""
    if name == "q" and odds.max() <= 0 and odds.min() < 0:
        return "the marginals of linprog are not positive: turn their sign"
    if name == "p" and odds.min() < -1e-9:
        return "are your unknowns in the order (p, v), as A_eq and bounds have them?"
    return SUM if name == "p" else None


def _solved(answer, A: np.ndarray):
    """answer(A), with a linprog that found nothing said in words."""
    try:
        return answer(A)
    except ValueError as error:
        if "linprog" not in str(error) and "dimensions" not in str(error):
            raise
        raise Wrong(f"the shapes do not fit: {error}", given={"A": A}, likely="A_ub has a row for "
                    "each column of A, and a column for each of the m + 1 unknowns: is A "
                    "transposed?") from error  # fmt: skip
    except TypeError as error:
        if "NoneType" not in str(error):
            raise
        raise Wrong("linprog found nothing: its x is None", given={"A": A},
                    likely=_why_nothing(answer, A)) from error  # fmt: skip


def _why_nothing(answer, A: np.ndarray) -> str:
    """The mistake behind a linear programme without an optimum: which other games have one?"""

    def works(game: np.ndarray) -> Any:
        try:
            return answer(game)
        except TypeError:
            return None

    if found := works(A - A.min() + 1):
        p = np.asarray(found[0], float) if isinstance(found, tuple | list) else np.ones(1)
        if p.shape == (len(A),) and abs(p.sum() - 1) > 1e-6:
            return SUM
        return "v may be negative: bounds takes (None, None) for it"
    if works(np.array([[1.5, 0.5, 2]])) is not None:  # the one p is 1 here
        return "p may not be negative: bounds takes (0, None) for each of its entries"
    return ("nothing holds v back: in c its entry is −1, since linprog minimises; in A_ub it is "
            "+1, beside −A.T")  # fmt: skip


def _parts(result, A: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    given = {"A": A}
    expect(result is not None, "the result is None: does the function return (p, q, value)?",
           given=given)  # fmt: skip
    expect(isinstance(result, tuple | list) and len(result) == 3,
           "the function should return three things, (p, q, value)", given=given,
           yours=repr(result)[:200])  # fmt: skip
    p, q = (np.asarray(x.detach() if isinstance(x, Tensor) else x, float) for x in result[:2])
    try:
        return p, q, float(result[2])
    except (TypeError, ValueError):
        raise Wrong("value should be one number", given=given, yours=repr(result[2])) from None


def _why_not(A: np.ndarray, p: np.ndarray, q: np.ndarray, value: float) -> str | None:
    """The mistake that this answer shows, where one is sure."""
    m, n = A.shape
    if p.shape == (m + 1,) and q.shape == (n,):
        return "p has one number too many: found.x is (p, v), and v is its last"
    if p.shape == (n,) and q.shape == (m,) and m != n:
        if (A @ p).max() - (q @ A).min() < 1e-6:
            return "p and q are exchanged: p belongs to the rows"
        return "rows and columns are exchanged: A_ub needs a row for each column of A, −A.T"
    if p.shape != (m,) or q.shape != (n,):
        return None
    true, turned = _maximin(A), _maximin(-A)
    pure = sorted(p.tolist())[-1] > 1 - 1e-9 and sorted(q.tolist())[-1] > 1 - 1e-9
    if pure and A.min(1).max() < A.max(0).min() - 1e-9:
        return "both choose one row and one column: here both have to mix"
    if np.allclose(p, 1 / m) and np.allclose(q, 1 / n):
        return "both mix evenly, whatever the payoffs"
    solved = (A @ q).max() - (p @ A).min() < 1e-7 and p.min() > -1e-9 and abs(p.sum() - 1) < 1e-6
    if solved and abs(value - true - 1) < 1e-7:
        return "v stands 1 too high: v − (pᵀA)ⱼ ≤ 0, so b_ub is 0 in each row"
    if solved and any(
        abs(value - true - shift) < 1e-7 for shift in (-A.min(), 1 - A.min(), A.max() - A.min())
    ) and abs(value - true) > 1e-6:
        return "a number was added to all of A: take it off the value again"
    if abs(value + true) < 1e-7 and abs(true) > 1e-6:
        return "linprog minimises: the sign of the value is turned"
    if abs(value - true) > 1e-7 and min(abs(value - turned), abs(value + turned)) < 1e-7:
        return "the sign of A is turned: a row of A_ub says v − (pᵀA)ⱼ ≤ 0"
    if (A @ q).max() - true > 1e-6 and (p @ A).min() > true - 1e-7:
        return "p is right and q is not: q are the marginals of the inequalities, with sign turned"
    return None


def _maximin(A: np.ndarray) -> float:
    """What the row player is sure of."""
    m, n = A.shape
    return -linprog(np.r_[np.zeros(m), -1], A_ub=np.c_[-A.T, np.ones(n)], b_ub=np.zeros(n),
                    A_eq=[np.r_[np.ones(m), 0]], b_eq=[1],
                    bounds=[(0, None)] * m + [(None, None)]).fun  # fmt: skip


# ---------------------------------------------------------------- the course's own functions


def integrated_gradients(model, batch, baseline_id, steps):
    """(batch, tokens) What each token adds to the margin on the way from the baseline."""
    table = model.get_input_embeddings()
    x = table(batch["input_ids"]).detach()
    special = batch["special_tokens_mask"].bool()[..., None]
    baseline = torch.where(special, x, table.weight[baseline_id].detach())
    total = torch.zeros_like(x)
    for j in range(steps):
        point = (baseline + (j + 0.5) / steps * (x - baseline)).requires_grad_()
        total += torch.autograd.grad(margin(model, batch, point).sum(), point)[0]
    return ((x - baseline) * total / steps).sum(-1)


def auc(scores, causes):
    """How often a cause has a larger |score| than another word; a tie is half."""
    own, others = scores.abs()[causes], scores.abs()[~causes]
    apart = own[:, None] - others[None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def do_effect(margin_of, texts, first, second):
    """The mean change of the margin when the month alone is set to first instead of second."""
    own = [text for text in texts if month_at(text) is not None]
    one = margin_of([with_month(text, first) for text in own])
    other = margin_of([with_month(text, second) for text in own])
    return float((one - other).mean())


def solve(A):
    """(p, q, value): both mixed strategies; the row player maximises, the column player pays."""
    m, n = A.shape
    found = linprog(
        c=np.r_[np.zeros(m), -1],  # maximise v, the last unknown
        A_ub=np.c_[-A.T, np.ones(n)], b_ub=np.zeros(n),  # v ≤ p·A in every column
        A_eq=np.r_[np.ones(m), 0][None], b_eq=[1],  # p adds up to 1
        bounds=[(0, None)] * m + [(None, None)],
    )  # fmt: skip
    return found.x[:m], -found.ineqlin.marginals, -found.fun


def smallest_edit(label_of, text, options):
    """The edit {place: word} of the fewest words that turns the label; None where none does."""
    label = label_of([text])[0]
    places = [i for i, words_for in enumerate(options) if words_for]
    for size in range(1, len(places) + 1):
        edits = [dict(zip(some, chosen, strict=True))
                 for some in itertools.combinations(places, size)
                 for chosen in itertools.product(*(options[i] for i in some))]  # fmt: skip
        labels = label_of([replace(text, edit) for edit in edits])
        for edit, now in zip(edits, labels, strict=True):
            if now == 1 - label:
                return edit
    return None


EXERCISES: dict[str, Exercise] = {
    "13.1": Exercise("integrated gradients", check_integrated_gradients, integrated_gradients),
    "13.2": Exercise("how well a map finds the causes", check_auc, auc),
    "13.3": Exercise("the effect of a month", check_do_effect, do_effect),
    "13.4": Exercise("the smallest edit", check_smallest_edit, smallest_edit),
    "13.5": Exercise("the value of a game", check_solve, solve),
}
