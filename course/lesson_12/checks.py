"""Checks of lesson 12, full GPU adversarial fine-tuning.

The specification: memory is counted tensor by tensor from the table of the page; histories are
judged rule by rule with arrays; a resumed loop must make the steps of an uninterrupted one, bit for
bit; the gradient of a distributed step comes from finite sums in double precision, text by text,
with hooks that count passes and exchanges; claims are read back with regular expressions.
"""

from __future__ import annotations

import copy
import inspect
import math
import random
import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib.attacks.embedding import attackable, bare, perturbed_logits, zero_delta
from course.checking import Exercise, Wrong, expect, unchanged
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- 12.1 memory

TERMS = ("weights", "half copies", "gradients", "moments", "activations")
# Numbers (in units of hidden) that a token leaves in a layer; bytes in float32 and under autocast.
KEPT = ((1, 4, 6), (3, 4, 2), (1, 4, 2), (1, 4, 4), (1, 4, 2), (4, 4, 2), (4, 4, 2), (1, 4, 4))


def _memory(params, trainable, layers, hidden, batch, length, fp16, checkpointing, dropout, *,
            masks=2, sides=2, moments=2, all_trained=False, all_copied=False, wide=12, once=True,
            input_bytes=4, halved=False, square=False, copies=True, weight=4, half_weight=4,
            gradient=4, copied_layers=None, mask_once=False,
            mask_always=False) -> dict[str, int]:  # fmt: skip
    """The specification; the keywords are its mistakes."""
    layer = sum(numbers * (half if fp16 else full) for numbers, full, half in KEPT)
    if halved and fp16:
        layer = 32
    if dropout and not mask_once and not (mask_always and checkpointing):
        layer += masks
    tokens = batch * length * (length if square else 1) * hidden
    if checkpointing:
        kept = tokens * (layers * input_bytes + (layer if once else 0))
    else:
        kept = tokens * layers * layer
    if dropout and mask_always and checkpointing:
        kept += tokens * layers * masks
    if dropout and mask_once:
        kept += tokens * masks
    matrices = wide * (copied_layers or layers) * hidden * hidden
    learned = params if all_trained else trainable
    return {
        "weights": (half_weight if fp16 else weight) * params,
        "half copies": sides * (params if all_copied else matrices) if fp16 and copies else 0,
        "gradients": (gradient if fp16 else 4) * learned,
        "moments": 4 * moments * learned,
        "activations": kept,
    }


_MEMORY_MISTAKES = {
    "the weights stay in float32 with fp16 too, 4 bytes each; what is in half precision is counted "
    "as \"half copies\"": dict(half_weight=2),
    "\"weights\" are the weights alone, 4 bytes each: the 16 bytes a parameter hold gradients and "
    "moments as well, which are counted by themselves": dict(weight=16, half_weight=16),
    "the gradients stay in float32 with fp16 too, 4 bytes each": dict(gradient=2),
    "the half copies are of the matrices of all `layers`, not of one layer": dict(copied_layers=1),
    "dropout counts once here: without checkpointing every layer keeps its own two masks":
        dict(mask_once=True),
    "with checkpointing dropout counts once, as a part of c: the masks of the other layers are not "
    "kept": dict(mask_always=True),
    "gradients and moments are for the `trainable` parameters alone": dict(all_trained=True),
    "AdamW keeps two moments, 8 bytes a parameter": dict(moments=1),
    "dropout adds 2 bytes (two masks of one byte), in either precision": dict(masks=0),
    "a dropout mask has one byte a number, two of them make 2": dict(masks=8),
    "one dropout mask is missing: there are two": dict(masks=1),
    "half copies have 2 bytes a number": dict(sides=4),
    "half copies are of the weight matrices alone, 12·layers·hidden²": dict(all_copied=True),
    "the matrices of a layer have 12·hidden² numbers: 4 in the attention, 8 in the feed-forward":
        dict(wide=4),
    "the matrices of a layer have 12·hidden² numbers, not 8": dict(wide=8),
    "the half copies are missing": dict(copies=False),
    "with checkpointing one layer's activations are there in full: c counts once":
        dict(once=False),
    "with checkpointing a layer's input has 4·hidden bytes a token in either precision":
        dict(input_bytes=2),
    "half precision does not halve the activations: LayerNorm stays in float32, c is 40":
        dict(halved=True),
    "length counts once: SDPA keeps no table of length²": dict(square=True),
}  # fmt: skip


def check_bytes_needed(answer) -> None:
    names = ("params", "trainable", "layers", "hidden", "batch", "length")
    how = (110_000, 110_000, 5, 64, 8, 33)
    named = dict(zip(names, how, strict=True))
    for flags in ({}, dict(fp16=True, checkpointing=False, dropout=True)):
        try:
            inspect.signature(answer).bind(**named, **flags)
        except TypeError as error:
            raise Wrong("your function cannot be called with the names of the task",
                        given=named | flags, likely=f"{error}: keep the first line of the function "
                        "as it stands in the task, with its defaults") from None  # fmt: skip
    _one_memory(answer(**named, fp16=True), how, (True, False, True))
    rng = random.Random(121)
    for fp16 in (False, True):
        for checkpointing in (False, True):
            for dropout in (True, False):
                layers, hidden = rng.randint(2, 30), 16 * rng.randint(2, 80)
                params = 13 * layers * hidden**2 + 30_000
                how = (params, rng.randint(100, params // 2), layers, hidden, rng.randint(2, 65),
                       rng.randint(5, 513))  # fmt: skip
                flags = (fp16, checkpointing, dropout)
                _one_memory(answer(*how, *flags), how, flags)
    _one_memory(answer(*how), how, (False, False, True))
    _one_memory(answer(*how, checkpointing=True, dropout=False), how, (False, True, False))


def _one_memory(yours, how, flags) -> None:
    names = ("params", "trainable", "layers", "hidden", "batch", "length")
    given = dict(zip(names, how, strict=True))
    given |= dict(zip(("fp16", "checkpointing", "dropout"), flags, strict=True))
    expect(yours is not None, "the result is None: does the function return it?", given=given)
    expect(isinstance(yours, Mapping), "the result should be a dictionary of five numbers",
           given=given, yours=repr(yours)[:200])  # fmt: skip
    expect(set(yours) == set(TERMS), "the dictionary should have the five names of the page",
           given=given, yours=sorted(map(str, yours)), expected=sorted(TERMS))  # fmt: skip
    right = _memory(*how, *flags)
    for name in TERMS:
        value = yours[name]
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        expect(number and math.isfinite(value), f"{name!r} should be a number", given=given,
               yours=repr(value)[:100])  # fmt: skip
        if abs(value - right[name]) > 1e-9 * max(right[name], 1):
            likely = next((text for text, change in _MEMORY_MISTAKES.items()
                           if _memory(*how, *flags, **change)[name] == value), None)  # fmt: skip
            if likely is None and name == "activations":
                likely = _of_activations(value, how, flags)
            if likely is None and value * 4 == right[name]:
                likely = "numbers were counted, not bytes: float32 has 4"
            if likely is None and right[name] and value in (right[name] / 2**20,
                                                            right[name] / 2**30):  # fmt: skip
                likely = "return bytes, not MiB or GiB"
            raise Wrong(f"{name!r} is not as expected", given=given, yours=value,
                        expected=right[name], likely=likely)  # fmt: skip


def _of_activations(value, how, flags) -> str | None:
    _, _, layers, hidden, batch, length = how
    if value == _memory(*how, not flags[0], *flags[1:])["activations"]:
        return "c is that of the other precision: 40 with fp16, 64 without"
    if value == _memory(*how, flags[0], not flags[1], flags[2])["activations"]:
        return "the formulas with and without checkpointing are exchanged, or one is missing"
    if value == _memory(*how, *flags[:2], not flags[2])["activations"]:
        return "dropout adds 2 to c where it is on, and nothing where it is off"
    full = _memory(*how, flags[0], False, flags[2])["activations"]
    if value * layers == full:
        return "`layers` is missing: every layer keeps its own"
    if value == full + 4 * layers * batch * length * hidden:
        return "with checkpointing c counts once and not `layers` times"
    return None


# ---------------------------------------------------------------- 12.5 curves


def _verdict(log, lam, *, row=3, grad=True, loss=True, drop=0.2, both=True, any_share=False,
             order=None, first="first", tail=3, best="pgd", target=0.9, few=False, share=0.95,
             want=None, wild="not finite", use_last=True, skip=False, anywhere=False, late=False,
             average=np.mean, key="clean_loss", equal=False, shares="three", end="checks",
             lone=False, top="first", relative=False, fgm="fall", fgm_drop=0.2, at_drop=False,
             strict=False, with_share=False, away=None, lams="last", starts=slice(None),
             last_at=-1) -> str:  # fmt: skip
    """The specification, rule by rule with arrays; the keywords are its mistakes."""
    curve = np.array([line[key] for line in log])
    losses = np.array([line["loss"] for line in log])
    with_norm = [line for line in log if "grad_norm" in line or not skip]
    norms = np.array([line.get("grad_norm", 1.0) for line in with_norm])
    bad = np.isnan(norms) if wild == "nan" else ~np.isfinite(norms)
    bad = bad | (norms >= 1e4) if wild == "large" else bad
    bad = bad[-3:] if late else bad
    runs = np.convolve(bad.astype(int), np.ones(row, int)) if len(bad) else np.zeros(1)
    runs = runs[row - 1 : 1 - row or None][starts] if len(bad) >= row else runs[:0]
    ill = bad.sum() >= row if anywhere else runs.max(initial=0) >= row
    found = {}
    broken = np.isnan(losses) if wild == "nan" else ~np.isfinite(losses)
    broken = broken | (losses >= 1e4) if wild == "large" else broken
    found["overflow"] = bool((loss and broken.any()) or (grad and ill))
    begin = curve.min() if first == "min" else curve[0]
    if first == "largest" and len(curve) > 3:
        begin = curve[:3].max()
    mean = average(curve[-tail:])
    found["learning rate"] = bool(mean >= begin if equal else mean > begin)
    own = log[-3:] if shares == "lines" else log
    said = np.array([line["share"] for line in own if "share" in line][-3:])
    over = said > share if shares == "strict" else said >= share
    enough = len(said) == 3 or (few and len(said) > 0)
    found["collapse"] = bool(enough and (
        said.mean() >= share if shares == "mean" else over[-1] if shares == "last"
        else over.any() if any_share else over.all()))  # fmt: skip
    found["over-fitting"] = _over_fitted(
        log, drop, both, best, use_last, end, lone, top, relative, fgm, fgm_drop, at_drop, strict,
        with_share, last_at)  # fmt: skip
    wanted = max(line["lam"] for line in log) if lams == "own" else want or lam
    now = max(line["lam"] for line in log) if lams == "largest" else log[-1]["lam"]
    found["warm-up"] = now < (wanted - away if away else target * wanted)
    for name in order or ("overflow", "learning rate", "collapse", "over-fitting", "warm-up"):
        if found[name]:
            return name
    return "healthy"


def _over_fitted(log, drop, both, best, use_last, end, lone, top, relative, fgm, fgm_drop, at_drop,
                 strict, with_share, last_at) -> bool:  # fmt: skip
    """Rule 4 and its mistakes."""
    lines = [line for line in log if {"fgm", "pgd"} <= set(line) or (lone and "pgd" in line)]
    lines = [{"fgm": 0.0} | line for line in lines if not with_share or "share" in line]
    if not lines or (end == "log" and "pgd" not in log[-1]):
        return False
    values = [line[best] for line in lines]
    place = int(np.argmax(values)) if top == "first" else 0
    if top == "last":
        place = max(k for k, value in enumerate(values) if value == max(values))
    good = lines[place]
    if fgm == "separate":
        good = {"pgd": good["pgd"], "fgm": max(line["fgm"] for line in lines)}
    last = lines[max(last_at, -len(lines))]
    last = last if use_last else min(lines, key=lambda line: line["pgd"])
    fall, other = good["pgd"] - last["pgd"], good["fgm"] - last["fgm"]
    if fgm == "gap":
        return last["fgm"] - last["pgd"] > drop
    fell = last["pgd"] < (1 - drop) * good["pgd"] if relative else fall > drop
    fell = fall >= drop if at_drop else fell
    return bool(fell and (not both or (other < fgm_drop if strict else other <= fgm_drop)))


_RULES = ("overflow", "learning rate", "collapse", "over-fitting", "warm-up")
_CURVE_MISTAKES = {
    "a line without a grad_norm counts as finite and ends the row: do not drop it before counting":
        dict(skip=True),
    "three in a row at the very end count too: range(len(log) - 2) has all the places where three "
    "lines can begin": dict(starts=slice(0, -1)),
    "three in a row at the very beginning count too": dict(starts=slice(1, None)),
    "three lines in a row with an infinite grad_norm are enough for an overflow": dict(row=4),
    "finite is finite: a large loss or grad_norm is no overflow, `math.isfinite` tells":
        dict(wild="large"),
    "three lines with an infinite grad_norm are an overflow only if they follow one another":
        dict(anywhere=True),
    "grad_norm: three in a row anywhere in the log, not in the last three lines alone":
        dict(late=True),
    "the end of the loss is the mean of the last three lines, not their median":
        dict(average=np.median),
    "rule 2 looks at `clean_loss`, not at `loss`, which grows with λ": dict(key="loss"),
    "rule 2 says above: a mean that equals the first line is none": dict(equal=True),
    "a share of exactly 0.95 counts too: at least 0.95, in EACH of the three":
        dict(shares="strict"),
    "at least 0.95 in EACH of the three lines, not in their mean": dict(shares="mean"),
    "at least 0.95 in EACH of the three lines, not in the last alone": dict(shares="last"),
    "the last three lines that HAVE a share, not those among the log's last three":
        dict(shares="lines"),
    "`last` is the last line that has the checks; the log's last line may have none":
        dict(end="log"),
    "`last` is the last line that has the checks, not the last but one": dict(last_at=-2),
    "a line counts only if it has both, `fgm` and `pgd`": dict(lone=True),
    "of several lines with the largest pgd `best` is the first": dict(top="last"),
    "`best` is the line with the largest pgd, not the first line with checks": dict(top="begin"),
    "more than 0.2 below means a difference of more than 0.2 (20 points), not 20 % less":
        dict(relative=True),
    "exactly 0.2 below is not yet MORE than 0.2 below": dict(at_drop=True),
    "fgm: exactly 0.2 below is still \"not more than 0.2 below\"": dict(strict=True),
    "compare the last line with `best`, for pgd and for fgm; not fgm with pgd at the end":
        dict(fgm="gap"),
    "the fgm to compare with is that of the line `best`, not the largest fgm of all":
        dict(fgm="separate"),
    "fgm may have fallen too, by up to 0.2: it is still over-fitting": dict(fgm_drop=0.0),
    "rule 4 asks for `fgm` and `pgd` alone: a line without a share counts": dict(with_share=True),
    "λ is compared with the argument `lam`, not with the largest λ of the log": dict(lams="own"),
    "λ is that of the last line, not the largest of the log": dict(lams="largest"),
    "below 0.9 of `lam` means below 0.9·lam, not below lam − 0.1": dict(away=0.1),
    "one step with an infinite grad_norm is no overflow: the scaler skipped it; three in a row are":
        dict(row=1),
    "two lines in a row with an infinite grad_norm are not yet an overflow": dict(row=2),
    "an overflow can show in grad_norm alone": dict(grad=False),
    "an overflow can show in `loss` alone": dict(loss=False),
    "infinity is not finite either: this looks for nan alone": dict(wild="nan"),
    "where FGM's accuracy has fallen too, training as a whole broke down: that is not over-fitting":
        dict(both=False),
    "all of the last three lines with a share must have at least 0.95, not any":
        dict(any_share=True),
    "with fewer than three lines with a `share` there is no collapse": dict(few=True),
    "`best` is the line with the largest pgd, not fgm": dict(best="fgm"),
    "the fall is judged at the last line with checks, not at the lowest": dict(use_last=False),
    "the end is the mean of the last three lines, not the last alone": dict(tail=1),
    "the end is compared with the first line, not with the lowest": dict(first="min"),
    "the end is compared with the first line, not with the largest of several":
        dict(first="largest"),
    "the target of λ is `lam`, not 1: compare with 0.9·lam": dict(want=1.0),
    "λ need only come near: below 0.9·lam is the illness, not below lam": dict(target=1.0),
    "the rules go in order: collapse is asked before the learning rate here":
        dict(order=("overflow", "collapse", "learning rate", "over-fitting", "warm-up")),
    "the rules go in order: the warm-up comes last": dict(order=("warm-up", *_RULES[:4])),
    "the rules go in order: the overflow comes first": dict(order=(*_RULES[1:], "overflow")),
    "the overflow is never looked for": dict(order=_RULES[1:]),
    "the learning rate is never looked for": dict(order=("overflow", *_RULES[2:])),
    "the collapse is never looked for": dict(order=(*_RULES[:2], *_RULES[3:])),
    "the over-fitting is never looked for": dict(order=(*_RULES[:3], "warm-up")),
    "the warm-up is never looked for": dict(order=_RULES[:4]),
    "the rules go in order: over-fitting comes after collapse":
        dict(order=("overflow", "learning rate", "over-fitting", "collapse", "warm-up")),
}  # fmt: skip


def _log(rng: random.Random, lines: int, lam: float) -> list[dict]:
    """A healthy log; the cases below spoil it."""
    log = []
    for k in range(lines):
        clean = 0.7 - 0.5 * k / lines + 0.03 * rng.random()
        now = lam * min(1.0, 3 * k / lines + 0.1)
        line = {"step": 5 * k + 5, "clean_loss": clean, "lam": now,
                "loss": clean + now * (clean + 0.2), "learning_rate": 1e-3}  # fmt: skip
        if now:
            line["adv_loss"] = clean + 0.2
        if rng.random() < 0.8:
            line["grad_norm"] = 1 + rng.random()
        if k % 2:
            fgm = 0.5 + 0.3 * k / lines
            line |= {"fgm": fgm, "pgd": fgm - 0.1, "share": 0.5 + 0.1 * rng.random()}
        log.append(line)
    log[-1]["lam"] = lam
    return log


def _short(**columns) -> list[dict]:
    """A short log from columns, None where a line lacks the key; the loss falls, λ is there."""
    lines = max(map(len, columns.values()))
    columns = {"clean_loss": [0.7 - 0.06 * k for k in range(lines)], "lam": [1.0] * lines} | columns
    log = []
    for k in range(lines):
        line = {"step": 10 * k + 10}
        line |= {name: column[k] for name, column in columns.items() if column[k] is not None}
        log.append({"loss": line["clean_loss"] * (1 + line["lam"]), **line})
    return log


def _logs() -> list[tuple[list[dict], float]]:
    rng = random.Random(122)
    out = []

    def case(spoil=None, lines=20, lam=1.0):
        log = _log(rng, lines, lam)
        for line in log:
            if spoil:
                spoil(log.index(line), line)
        out.append((log, lam))

    inf, nan = math.inf, math.nan
    for lam in (0.5, 1.0, 3.0):
        case(lam=lam)
    case(lines=3)
    case(lambda k, x: x.update(grad_norm=inf) if k in (0, 1, 5, 7, 8) else None)
    case(lambda k, x: x.update(grad_norm=inf) if k in (0,) else None)
    case(lambda k, x: x.update(grad_norm=inf) if k in (17, 18, 19) else None)
    case(lambda k, x: x.update(grad_norm=nan) if k in (4, 5, 6) else None)
    case(lambda k, x: x.update(loss=inf) if k == 9 else None)
    case(lambda k, x: x.update(loss=nan, clean_loss=nan) if k > 12 else None)
    case(lambda k, x: x.update(loss=nan) if k == 19 else None)
    # The loss rises above its beginning; with and without one class at the end.
    case(lambda k, x: x.update(clean_loss=0.72 + 0.1 * k, loss=2.0))
    case(lambda k, x: x.update(clean_loss=0.72 + 0.1 * k, loss=2.0, share=0.99))
    case(lambda k, x: x.update(clean_loss=[0.6, 0.9, 0.3][k % 3] if k else 0.65, loss=1.2))
    case(lambda k, x: x.update(clean_loss={0: 0.7, 17: 0.2, 18: 0.2, 19: 1.0}.get(k, 0.3)))
    case(lambda k, x: x.update(clean_loss={0: 0.7, 17: 1.2, 18: 0.9, 19: 0.4}.get(k, 0.3)))
    # One class.
    case(lambda k, x: x.update(share=0.97) if k > 10 and k % 2 else None)
    case(lambda k, x: x.update(share=0.95) if k > 13 and k % 2 else None)
    case(lambda k, x: x.update(share=0.99) if k in (1, 3, 5, 19) else None)
    case(lambda k, x: x.update(share=0.99, pgd=0.1 if k > 15 else 0.6, fgm=0.7) if k % 2 else None)
    case(lambda k, x: (x.pop("share", None), x.update(share=0.99) if k > 17 else None))
    case(lambda k, x: x.update(share=0.99, lam=0.1) if k > 10 else None)
    # Over-fitting: at the end, with FGM or without, or only for a while.
    case(lambda k, x: x.update(fgm=0.9, pgd=0.2) if k > 14 and k % 2 else None)
    case(lambda k, x: x.update(fgm=0.2, pgd=0.1) if k > 14 and k % 2 else None)
    case(lambda k, x: x.update(fgm=0.9, pgd=0.1) if k == 9 else None)
    case(lambda k, x: x.update(fgm={3: 0.95}.get(k, 0.7), pgd={3: 0.5, 9: 0.75}.get(k, 0.5))
         if k % 2 else None)  # fmt: skip
    case(lambda k, x: x.update(fgm={9: 0.6}.get(k, 0.99 if k < 9 else 0.5),
                               pgd={9: 0.75}.get(k, 0.5)) if k % 2 else None)  # fmt: skip
    case(lambda k, x: x.update(fgm=0.9, pgd=0.2, lam=0.2) if k > 14 else None)
    # λ on its way.
    for lam, last in ((1.0, 0.4), (1.0, 0.95), (3.0, 2.0), (0.5, 0.48), (0.5, 0.3), (2.0, 0.0)):
        case(lambda k, x, last=last: x.update(lam=min(x["lam"], last)), lam=lam)
    case(lambda k, x: x.update(grad_norm=nan, lam=0.1) if k > 15 else None)
    case(lambda k, x: x.update(loss=nan, clean_loss=0.72 + 0.1 * k, share=0.99))
    case(lambda k, x: (x.pop("fgm", None), x.pop("pgd", None), x.pop("share", None)))
    case(lambda k, x: (x.pop("fgm", None) if k == 19 else None, x.update(pgd=0.1)
                       if k == 19 else None))  # fmt: skip
    return out + _edges()


def _edges() -> list[tuple[list[dict], float]]:
    """Short logs at the edges of the rules."""
    inf, no = math.inf, None
    logs = [
        _short(grad_norm=[inf, inf, no, inf]),
        _short(grad_norm=[1.0, inf, inf, inf, 1.0, 1.0, 1.0]),
        _short(grad_norm=[inf, inf, 1.0, 1.0]),
        _short(grad_norm=[inf, inf, inf, 1.0, 1.0]),
        _short(grad_norm=[1.0, 1.0, inf, inf, inf]),
        _short(grad_norm=[1.0, 7e4, 7e4, 7e4, 1.0]),  # large, but finite
        _short(loss=[1.4, 7e4, 7e4, 7e4, 1.3]),
        _short(grad_norm=[inf, 1.0, inf, 1.0, inf]),
        _short(clean_loss=[1.0, 0.9, 0.8, 0.7, 0.6, 3.0]),
        _short(clean_loss=[0.5] * 4),
        _short(clean_loss=[0.5, 0.6, 0.5, 0.5, 0.5]),
        _short(clean_loss=[0.5, 0.9, 0.9, 0.6, 0.6, 0.6]),
        _short(clean_loss=[0.5, 0.9, 0.6, 0.6, 0.6]),
        _short(pgd=[0.6, no, no, no, 0.3, no], fgm=[0.9, no, no, no, 0.9, no]),
        _short(pgd=[0.6, no, no, no, 0.6, 0.1], fgm=[0.9, no, no, no, 0.9, no]),
        _short(pgd=[0.5, 0.9, 0.5], fgm=[0.8, no, 0.8]),
        _short(pgd=[0.5, no, 0.5, no], fgm=[0.8, no, 0.8, 0.9]),
        _short(pgd=[0.6, 0.6, 0.3], fgm=[0.9, 0.6, 0.6]),
        _short(pgd=[0.6, 0.6, 0.3], fgm=[0.6, 0.9, 0.6]),
        _short(pgd=[0.5, 0.4, 0.35], fgm=[0.8] * 3),
        _short(pgd=[0.6, 0.4, 0.3], fgm=[0.9, 0.9, 0.8]),
        _short(pgd=[0.4, 0.8, 0.5], fgm=[0.8] * 3),
        _short(pgd=[0.6] * 3, fgm=[0.9] * 3),
        _short(pgd=[0.6, 0.5, 0.3], fgm=[0.45] * 3),
        _short(pgd=[0.4, 0.7, 0.4], fgm=[0.95, 0.7, 0.65]),
        _short(pgd=[0.2, 0.1, 0.0], fgm=[0.9] * 3),  # exactly 0.2
        _short(pgd=[0.5, 0.3, 0.1], fgm=[0.2, 0.1, 0.0]),
        _short(pgd=[0.6, no, 0.3], fgm=[0.9, no, 0.9], share=[0.6, 0.6, no]),
        _short(pgd=[0.6, 0.6, 0.3, 0.6], fgm=[0.9] * 4, share=[no, 0.6, 0.6, no]),
        _short(pgd=[0.6, 0.6, 0.3, 0.6], fgm=[0.9] * 4, share=[0.6] * 4),
        _short(share=[0.99, 0.93, 0.99]),
        _short(share=[0.99, 0.6, 0.6]),
        _short(share=[0.96, no, 0.95, no, no, 0.97, no, no]),
        _short(share=[0.95, 0.95, 0.95]),
        _short(lam=[1.0, 1.0, 0.5]),
        _short(lam=[0.0, 0.5, 0.2, 0.4]),
        _short(lam=[1.0, 1.0, 0.9]),
    ]
    out = [(log, 1.0) for log in logs]
    out += [(_short(lam=[0.1, 0.3, 0.42]), 0.5), (_short(lam=[1.0, 2.0, 3.0, 2.8]), 3.0)]
    return [*out, (_short(lam=[1.0, 1.5, 1.8]), 2.0)]


def check_diagnose(answer) -> None:
    cases = sorted(_logs(), key=lambda case: len(case[0]))  # the shortest says it best
    wants = [_verdict(*case) for case in cases]
    got = []
    for (log, lam), want in zip(cases, wants, strict=True):
        own = copy.deepcopy(log)
        try:
            yours = answer(own, lam)
        except KeyError as error:
            raise Wrong(f"your function stops at a line that has no {error}", expected=want,
                        given=_columns(log, lam), likely="`grad_norm` and the checks may be "
                        "missing in any line: ask whether the key is there") from None  # fmt: skip
        expect(repr(own) == repr(log), "your function changes the log; work on a copy")
        expect(isinstance(yours, str), "the function should return a name, a string",
               yours=repr(yours)[:100], expected=want)  # fmt: skip
        names = (*_RULES, "healthy")
        expect(yours in names, "this is none of the six names", yours=yours, expected=names)
        got.append(yours)
    wrong = [(log, lam, w, y) for (log, lam), w, y in zip(cases, wants, got, strict=True) if w != y]
    if wrong:
        likely = next((text for text, change in _CURVE_MISTAKES.items()
                       if [_verdict(*case, **change) for case in cases] == got), None)  # fmt: skip
        log, lam, want, yours = wrong[0]
        if likely is None:
            likely = _nearest(cases, got, wants)
        raise Wrong("another diagnosis is expected", yours=yours, expected=want, likely=likely,
                    given=_columns(log, lam))  # fmt: skip


def _columns(log, lam) -> dict:
    """The end of a log, key by key."""
    keys = ("loss", "clean_loss", "grad_norm", "share", "fgm", "pgd", "lam")
    shown = {"lam, wanted": lam}
    for key in keys:
        if any(key in line for line in log):
            shown[f"{key}, last lines"] = [
                round(line[key], 3) if key in line else "-" for line in log[-10:]
            ]
    return shown


def _nearest(cases, got, wants) -> str:
    """The mistake that explains every wrong verdict and hardly foretells others, or the rule."""
    found = []
    for text, change in _CURVE_MISTAKES.items():
        would = [_verdict(*case, **change) for case in cases]
        if all(y == v for y, v, w in zip(got, would, wants, strict=True) if y != w):
            found.append((sum(y != v for y, v in zip(got, would, strict=True)), text))
    if found and min(found)[0] <= 4:
        return min(found)[1]
    yours, want = next((y, w) for y, w in zip(got, wants, strict=True) if y != w)
    names = (*_RULES, "healthy")
    number = 1 + min(names.index(yours), names.index(want))
    fits = "does not fit" if names.index(yours) < names.index(want) else "fits"
    return f"rule {number} ({names[number - 1]}) {fits} here; read it again"


# ---------------------------------------------------------------- 12.2 resume


class Loop:
    """The training loop of the page: all that a step depends on is an attribute, except for the
    dropout, which draws from torch's global random state."""

    def __init__(self, X: Tensor, y: Tensor, seed: int = 0, batch: int = 4):
        self.X, self.y, self.batch = X, y, batch
        self.model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Dropout(0.3),
                                   nn.Linear(8, 2))  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.generator = torch.Generator().manual_seed(seed)
        self.order: list[int] = []
        self.at = 0

    def step(self) -> None:
        if self.at >= len(self.order):
            self.order = torch.randperm(len(self.X), generator=self.generator).tolist()
            self.at = 0
        chosen = self.order[self.at : self.at + self.batch]
        self.at += self.batch
        x, y = self.X[chosen], self.y[chosen]
        delta = 0.1 * torch.randn(x.shape, generator=self.generator)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x + delta), y).backward()
        self.optimizer.step()
        self.scheduler.step()


PIECES = {
    "model": "the weights",
    "optimizer": "the optimizer's moments",
    "scheduler": "the schedule: the learning rate goes on from elsewhere",
    "generator": "the generator of the order and of the random starts",
    "order": "the order of this epoch, so other texts come next",
    "at": "the place in the data (`at`)",
    "dropout": "the global random state, from which dropout draws",
}


def _now(loop) -> dict:
    """Each piece of a loop as something that can be compared."""
    moments = loop.optimizer.state_dict()
    return {
        "model": [p.detach().clone() for p in loop.model.parameters()],
        "optimizer": [t.clone() for s in moments["state"].values() for t in s.values()
                      if isinstance(t, Tensor)],  # fmt: skip
        "scheduler": (loop.scheduler.last_epoch, [g["lr"] for g in loop.optimizer.param_groups]),
        "generator": [loop.generator.get_state().clone()],
        "order": list(loop.order),
        "at": loop.at,
        "dropout": [torch.get_rng_state().clone()],
    }  # fmt: skip


def _equal(a, b) -> bool:
    if isinstance(a, list) and a and isinstance(a[0], Tensor):
        return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def check_checkpoint(answer) -> None:
    with torch.random.fork_rng([]):
        rng = random.Random(123)
        for trial in range(6):
            n = rng.choice((9, 10, 14))
            g = torch.Generator().manual_seed(trial)
            X = torch.randn(n, rng.choice((3, 5)), generator=g)
            before, after = (0, 5) if trial == 5 else (rng.randint(1, 11), rng.randint(2, 7))
            _one_resume(answer, X, (X[:, 0] > 0).long(), trial, before, after)


def _one_resume(answer, X, y, seed, before, after) -> None:
    given = {"steps before the checkpoint": before, "steps after it": after}
    torch.manual_seed(seed)
    loop = Loop(X, y, seed=seed, batch=4)
    for _ in range(before):
        loop.step()
    here = _now(loop)
    state = answer(loop)
    expect(state is not None, "checkpoint(loop) is None: does the function return the state?")
    expect(isinstance(state, Mapping), "the state should be a dictionary", yours=repr(state)[:200])
    _in_training(loop, "saving", given)
    _same(here, _now(loop), "saving changes the loop", given)
    for _ in range(after):
        loop.step()
    end = _now(loop)
    kept = _plain(state, given)
    for turn in ("saved and loaded", "as it is, a second time", "as it is, a third time"):
        torch.manual_seed(1000 + seed)
        other = Loop(X, y, seed=77 + seed, batch=4)
        for _ in range(seed % 3):
            other.step()  # a loop that was used before
        given["the state"] = turn
        try:
            out = answer(other, kept if turn == "saved and loaded" else state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise Wrong("the state cannot be restored into a new loop: "
                        f"{type(error).__name__}: {error}", given=given) from None  # fmt: skip
        expect(out is None, "restoring should return nothing: is `state=None` told apart from a "
               "state that was given?", given=given, yours=repr(out)[:120])  # fmt: skip
        _in_training(other, "restoring", given)
        _same(here, _now(other), "the restored loop is not where the saved one was", given)
        expect(other.generator is not loop.generator and other.model is not loop.model,
               "the two loops share an object", given=given)  # fmt: skip
        expect(_holds(other), "the optimizer, or the scheduler, no longer belongs to the loop's "
               "model: load into the objects that are there", given=given)  # fmt: skip
        for _ in range(after):
            other.step()
        _same(end, _now(other), "the resumed loop makes other steps", given)


def _in_training(loop, what, given) -> None:
    expect(loop.model.training, f"{what} leaves the network in eval mode", given=given,
           likely="its dropout is off from then on: leave the mode alone, or set it back with "
                  "loop.model.train()")  # fmt: skip


def _plain(value, given):
    """A copy such as a file can hold, without objects of a class."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {name: _plain(part, given) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(part, given) for part in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Wrong(
        "a file cannot hold this state: dictionaries, lists, numbers, strings and tensors "
        f"can be saved, but it contains a {type(value).__name__}",
        given=given,
        likely="an object is kept in place of its state_dict() or get_state()",
    )


def _holds(loop) -> bool:
    own = {id(p) for p in loop.model.parameters()}
    trained = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
    return own == trained and loop.scheduler.optimizer is loop.optimizer


def _same(wanted, found, problem, given) -> None:
    off = [name for name in PIECES if not _equal(wanted[name], found[name])]
    if not off:
        return
    likely = f"not kept, or not put back: {PIECES[off[0]]} ({off[0]})"
    if off[0] in ("model", "optimizer"):
        likely += "; or a living state_dict() was kept without a copy"
    if "third" in given.get("the state", ""):
        likely = "the loop shares tensors with the state, and its steps change them: restore a copy"
    elif problem.startswith("saving"):
        likely = f"taking the state changes {PIECES[off[0]]} ({off[0]})"
    elif len(off) >= 2 and given.get("the state", "").startswith("as it is"):
        likely = ("the state holds living tensors, which later steps change: keep a deep copy, and "
                  "restore a copy of it too")  # fmt: skip
    elif given.get("the state", "").startswith("as it is"):
        likely += "; or the state holds living objects, which later steps change: keep a deep copy"
    elif "dropout" in off and len(off) == 1:
        likely = "the global random state (dropout) is not put back, or is used up after it was"
    elif {"model", "optimizer"} <= set(off) and found["model"] and len(off) < 5:
        likely = ("weights and moments are not those of the moment of saving: not kept, or a "
                  "living state_dict() without a copy, which later steps changed")  # fmt: skip
    raise Wrong(problem, given={**given, "different": ", ".join(off)}, likely=likely)


# ---------------------------------------------------------------- 12.4 one exchange


class Counting(nn.Module):
    """In place of DistributedDataParallel: counts the exchanges that its passes set off, and notes
    in which order its passes and the gradients come."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.exchanges, self.ready = module, 0, False
        self.events: list[str] = []
        self.seen: set[int] = set()
        for weight in module.parameters():
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._filled)

    def forward(self, **inputs):
        self.ready = torch.is_grad_enabled()
        self.events.append("forward")
        out = self.module(**inputs)
        if out.logits.requires_grad:
            out.logits.register_hook(lambda grad: self.events.append("backward"))
        return out

    def _filled(self, weight) -> None:
        if not self.seen or id(weight) in self.seen:  # the first one of another backward pass
            self.seen = set()
            self.events.append("exchange" if self.ready else "filled")
            self.exchanges += self.ready
            self.ready = False
        self.seen.add(id(weight))


def _texts(seed: int, classes: int, lengths: Sequence[int]):
    """A BERT in double precision and training mode, and a batch of texts of these lengths."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20, hidden_size=6, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=10, num_labels=classes, layer_norm_eps=0.1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    with torch.random.fork_rng([]):
        model = BertForSequenceClassification(config).double().train()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):
            if p.dim() > 1:
                p.copy_(0.9 * torch.randn(p.shape, generator=g, dtype=torch.double))
    longest = max(lengths)
    ids = torch.zeros(len(lengths), longest, dtype=torch.long)
    special = torch.ones_like(ids)
    for i, n in enumerate(lengths):
        words = 3 + torch.randint(17, (n - 2,), generator=g)
        ids[i, :n] = torch.cat([torch.tensor([1]), words, torch.tensor([2])])
        special[i, 1 : n - 1] = 0
    labels = torch.randint(classes, (len(lengths),), generator=g)
    return model, dict(input_ids=ids, attention_mask=(ids > 0).long(),
                       special_tokens_mask=special, labels=labels)  # fmt: skip


def _plain_step(model, batch, eps, lam, *, attacker=0.0, both=(1.0, 1.0), sign=1.0, mask=True,
                whole=False, flow=False, summed=False) -> dict:  # fmt: skip
    """Text by text without padding; the keywords are mistakes. attacker: how much of the inner
    loss's gradient is left in the weights."""
    table = model.get_input_embeddings().weight
    weights = list(model.parameters())
    lengths = batch["attention_mask"].sum(1).tolist()
    size = len(lengths)

    def loss_of(i, push):
        words = table[batch["input_ids"][i, : lengths[i]]]
        logits = model(inputs_embeds=(words + push)[None]).logits
        return F.cross_entropy(logits, batch["labels"][i : i + 1])

    slopes, total = [], [torch.zeros_like(p) for p in weights]
    clean = adv = 0.0

    def gather(loss, weight):
        free = [p for p in weights if p.requires_grad]
        found = iter(torch.autograd.grad(loss, free, allow_unused=True))
        for sum_, p in zip(total, weights, strict=True):
            g = next(found) if p.requires_grad else None
            if g is not None:
                sum_ += weight * g

    for i, n in enumerate(lengths):
        push = torch.zeros(n, 6, dtype=torch.double, requires_grad=True)
        (g,) = torch.autograd.grad(loss_of(i, push) / size, push)
        free = 1.0 - batch["special_tokens_mask"][i, :n, None].double()
        slopes.append(g * free if mask else g)
    length = torch.cat([s.flatten() for s in slopes]).norm()
    part = 1.0 if summed else 1.0 / size
    for i, slope in enumerate(slopes):
        push = sign * eps * slope / (length if whole else slope.norm())
        one, two = loss_of(i, torch.zeros_like(push)), loss_of(i, push)
        gather(one, (both[0] + attacker) * part)
        gather(loss_of(i, push), both[1] * lam * part)
        clean, adv = clean + one.item() / size, adv + two.item() / size
    return {"grad": torch.cat([t.flatten() for t in total]), "clean": clean, "adv": adv}


_STEP_MISTAKES = {
    "the attacker's gradient is left in the weights' .grad: take the inner gradient with "
    "torch.autograd.grad for delta alone": dict(attacker=1.0),
    "the clean loss counts once, not 1 - lam times": "mix",
    "lam is missing: the adversarial loss counts lam times": "lam",
    "the clean loss is missing in the update": dict(both=(0.0, 1.0)),
    "the adversarial loss is missing in the update": dict(both=(1.0, 0.0)),
    "descent: this delta lowers the loss": dict(sign=-1.0),
    "no mask: padding and special tokens move too": dict(mask=False),
    "one norm for the whole batch: each text has a step of its own": dict(whole=True),
    "the losses are summed over the texts, not their mean": dict(summed=True),
    "delta is not used: both losses are the clean one": "eps",
}


def check_distributed_step(answer) -> None:
    for seed, classes, lengths, eps, lam, special in (
        (940, 2, (7, 5, 4, 6), 0.6, 0.5, None),
        (941, 3, (5, 9), 1.2, 2.0, None),
        (942, 2, (4,), 0.3, 1.0, None),
        (943, 2, (6, 4), 0.5, 0.5, "eval mode"),
        (944, 2, (5, 7), 0.5, 2.0, "a frozen layer"),
    ):
        model, batch = _texts(seed, classes, lengths)
        given = dict(eps=eps, lam=lam, texts=len(lengths))
        if special == "eval mode":
            model.eval()
        elif special:
            model.bert.encoder.layer[0].intermediate.requires_grad_(False)
        given |= {"the model has": special} if special else {}
        right = _plain_step(model, batch, eps, lam)
        _one_step(answer, model, batch, eps, lam, right, given)


def _one_step(answer, model, batch, eps, lam, right, given) -> None:
    wrapped = Counting(model).train(model.training)
    g = torch.Generator().manual_seed(5)
    for p in model.parameters():  # what an earlier micro-batch has left
        if p.requires_grad:
            p.grad = 0.01 * torch.randn(p.shape, generator=g, dtype=torch.double)
    old = _all_grads(model)
    modes = [module.training for module in wrapped.modules()]
    trained = [p.requires_grad for p in model.parameters()]
    before = [p.detach().clone() for p in model.parameters()]
    own = {name: value.clone() for name, value in batch.items()}
    came = [torch.zeros_like(p) for p in model.parameters()]  # all gradients that reach the weights
    hooks = []
    for weight, sum_ in zip(model.parameters(), came, strict=True):
        if weight.requires_grad:
            hooks.append(weight.register_hook(lambda grad, sum_=sum_: (sum_.add_(grad), None)[1]))
    try:
        result = answer(wrapped, own, eps, lam)
    except RuntimeError as error:
        if "derivative" not in str(error) and "double backward" not in str(error):
            raise
        raise Wrong("a gradient of a gradient is asked for, which fused attention does not have",
                    given=given, likely="create_graph=True is not needed: delta is a constant, so "
                    "leave it out (or detach delta)") from None  # fmt: skip
    for hook in hooks:
        hook.remove()
    new = _all_grads(model)
    expect(
        isinstance(result, tuple | list) and len(result) == 2,
        "the function should return (clean, adv)",
        yours=repr(result)[:120],
        given=given,
    )
    expect(
        not any(isinstance(r, Tensor) and r.requires_grad for r in result),
        "the losses are still tied to the graph",
        likely="missing detach",
        given=given,
    )
    expect(set(own) == set(batch), "the batch was changed: it has other keys than before",
           given=given, yours=sorted(map(str, own)), expected=sorted(batch),
           likely="work on a copy, dict(batch)")  # fmt: skip
    for name in batch:
        unchanged(batch[name], own[name], f"batch[{name!r}]")
    expect(modes == [module.training for module in wrapped.modules()],
           "the model's mode was changed", given=given,
           likely="leave it in the mode that it came in, training or eval")  # fmt: skip
    expect(trained == [p.requires_grad for p in model.parameters()],
           "requires_grad of the weights was changed", given=given,
           likely="each weight needs the flag that it had: some may have been frozen")  # fmt: skip
    expect(all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)),
           "the weights were changed: that is the optimizer's part", given=given)  # fmt: skip
    _gradients(model, batch, eps, lam, new, old, right, given)
    expect(torch.allclose(torch.cat([c.flatten() for c in came]), new - old, rtol=1e-6, atol=1e-9),
           "the weights' .grad was filled by the inner pass and put back afterwards", given=given,
           likely="loss.backward() inside touches every .grad; torch.autograd.grad for delta alone "
                  "touches none")  # fmt: skip
    expect(
        wrapped.exchanges,
        "there is no exchange at all: every process would go its own way",
        given=given,
        yours=0,
        expected=1,
        likely="no pass goes through the wrapper; the one that completes the gradients must",
    )
    expect(wrapped.exchanges == 1, "there is more than one exchange", given=given,
           yours=wrapped.exchanges, expected=1,
           likely="only the pass that completes the gradients goes through the wrapper, `model`; "
                  "the others through bare(model)")  # fmt: skip
    events = wrapped.events
    behind = events[1:] + ["nothing"]
    wrong = [b for a, b in zip(events, behind, strict=True)
             if a == "backward" and b not in ("backward", "exchange")]  # fmt: skip
    expect(
        not wrong,
        "an inner pass goes through the wrapper",
        given=given,
        likely="the wrapper got ready for an exchange that does not come: bare(model) inside",
    )
    expect("filled" not in events[events.index("exchange") :],
           "gradients come after the exchange, which so moves only a part of them", given=given,
           likely="the pass through the wrapper must be the last one")  # fmt: skip
    for name, yours, wanted in zip(("clean", "adv"), result, (right["clean"], right["adv"]),
                                   strict=True):  # fmt: skip
        value = float(yours)
        if abs(value - wanted) > 1e-6:
            likely = "the two losses are exchanged" if abs(
                value - right["adv" if name == "clean" else "clean"]) < 1e-6 else None  # fmt: skip
            if name == "adv" and abs(value - lam * wanted) < 1e-6:
                likely = "return the adversarial loss without lam"
            raise Wrong(f"the returned {name} loss is not as expected", given=given, yours=value,
                        expected=wanted, likely=likely)  # fmt: skip


def _all_grads(model) -> Tensor:
    """The `.grad` of all weights in one row, zeros where there is none."""
    return torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad.clone()).flatten()
                      for p in model.parameters()])  # fmt: skip


def _gradients(model, batch, eps, lam, new, old, right, given) -> None:
    wanted = old + right["grad"]
    if torch.allclose(new, wanted, rtol=1e-6, atol=1e-9):
        return
    likely = None
    if torch.allclose(new, right["grad"], rtol=1e-6, atol=1e-9):
        likely = "what lay in .grad before is gone: add to it, and leave zero_grad to the caller"
    for text, change in _STEP_MISTAKES.items():
        if likely:
            break
        if change == "lam":
            value = _plain_step(model, batch, eps, 1.0)["grad"]
        elif change == "mix":
            value = _plain_step(model, batch, eps, lam, both=(1.0 - lam, 1.0))["grad"]
        elif change == "eps":
            value = _plain_step(model, batch, 0.0, lam)["grad"]
        else:
            value = _plain_step(model, batch, eps, lam, **change)["grad"]
        if torch.allclose(new, old + value, rtol=1e-6, atol=1e-9):
            likely = text
        elif torch.allclose(new, value, rtol=1e-6, atol=1e-9):
            likely = f"{text}; and what lay in .grad before is gone"
    if likely is None and (new - wanted).norm() < 1e-4 * right["grad"].norm():
        likely = ("right but for rounding: this model has float64, and somewhere float32 came in. "
                  "zero_delta(model, batch) has the right dtype")  # fmt: skip
    if likely is None and torch.equal(new, old):
        likely = "no gradient reaches the weights"
    raise Wrong("the gradient in the weights' .grad is not that of L + lam·L_adv", given=given,
                yours=new - old, expected=right["grad"], likely=likely)  # fmt: skip


# ---------------------------------------------------------------- 12.3 claims

PROMISES = r"\w*(robust|safe|secur)\w*"
PERCENT = r"\d+(?:\.\d+)?\s*(?:%|per ?cent\b)"


def _row(rng, attack: str, queries: float | None, n: int, worst: float = 1.0) -> dict:
    hits = round(rng.uniform(0.2, 0.95) * worst * n)
    p, z = hits / n, 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    settings = {
        "none": "none",
        "worst case": "any of these attacks",
        "WordSubstitution": "WordSubstitution(world='reviews', max_changed=0.5)",
        "Typos": "Typos(kinds=('swap', 'drop', 'look-alike'), per_kind=4, max_changed=0.2)",
    }
    common = "norm='l2', scope='sequence', relative=True, target=None, same_dropout=False, seed=0"
    own = {"Noise": ", restarts=1",
           "PGD": ", steps=20, step_size=None, random_start=True, restarts=5"}  # fmt: skip
    model = settings.get(attack) or (
        f"{attack}(eps={rng.choice((0.1, 0.25, 0.4))}, {common}{own.get(attack, '')})"
    )
    return {"attack": attack, "threat model": model, "n": n, "accuracy": p, "hits": hits,
            "low": middle - half, "high": middle + half, "calibrated": p, "success": 0.3,
            "changed": None, "queries": queries}  # fmt: skip


def _cards() -> list[dict]:
    rng = random.Random(125)
    kinds = {"Noise": None, "FGM": None, "PGD": None, "WordSubstitution": 31.4, "Typos": 0.0}
    out = []
    for n, attacks in ((40, ("FGM", "WordSubstitution")), (500, ("Noise", "PGD", "Typos")),
                       (1000, ("PGD",)), (60, ("WordSubstitution",)), (91, ("Typos", "FGM", "PGD")),
                       (200, ("WordSubstitution", "Typos"))):  # fmt: skip
        rows = [_row(rng, "none", None, n)] + [_row(rng, a, kinds[a], n) for a in attacks]
        worst = _row(rng, "worst case", None, n, 0.7) if len(attacks) > 1 else dict(rows[1])
        out.append({"protocol": "standard", "version": 1, "model": {"name": "a"},
                    "data": {"name": "b", "n": n}, "rows": rows, "worst case": worst,
                    "left out": []})  # fmt: skip
    edge = copy.deepcopy(out[0])  # intervals as wide as 0.2, and very little wider
    for row, (low, high) in zip([*edge["rows"], edge["worst case"]],
                                ((0.4, 0.6004), (0.0, 0.2), (0.30004, 0.50025), (0.0, 0.2)),
                                strict=False):  # fmt: skip
        row |= {"low": low, "high": high, "accuracy": low + 0.09}
    return [*out, edge]


def check_claims(answer) -> None:
    for card in _cards():
        own = copy.deepcopy(card)
        lines = answer(own)
        expect(own == card, "your function changes the card; work on a copy")
        expect(lines is not None, "the result is None: does the function return it?")
        expect(
            isinstance(lines, list | tuple) and all(isinstance(x, str) for x in lines),
            "the result should be a list of sentences",
            yours=repr(lines)[:200],
        )
        rows = [*card["rows"], card["worst case"]]
        kinds = [[]] + [_kind(row) for row in card["rows"][1:]]
        kinds.append(sorted({kind for row in kinds for kind in row}))
        expect(
            len(lines) == len(rows),
            "one sentence for each row and one for the worst case",
            yours=len(lines),
            expected=len(rows),
            likely=_missing(lines, rows),
        )
        for k, (line, row, kind) in enumerate(zip(lines, rows, kinds, strict=True)):
            _one_claim(line, row, kind, k == 0, rows)


def _missing(lines, rows) -> str | None:
    if len(lines) != len(rows) - 1:
        return None
    if lines and "no attack" not in lines[0]:
        return "the first sentence, on no attack, is missing"
    last = rows[-1]["threat model"] in lines[-1]
    return None if last else "the worst case is missing"


def _kind(row) -> list[str]:
    return ["changed words" if row["queries"] is not None else "moved embeddings"]


def _case(words: str, line: str) -> str | None:
    return "write it in lower case" if words in line.lower() and words not in line else None


def _one_claim(line, row, kinds, first, rows) -> None:
    given = {"the row": f"{row['attack']}, n {row['n']}, accuracy {row['accuracy']:.4f}, low "
             f"{row['low']:.4f}, high {row['high']:.4f}, queries {row['queries']}"}  # fmt: skip
    details = dict(given=given, yours=line)
    found = re.search(PROMISES, line, re.I)
    expect(
        not found,
        f"the word {found and found[0]!r} promises more than was measured",
        likely="'robust', 'safe', 'secure' without saying against what",
        **details,
    )
    accuracy = f"{row['accuracy']:.1%}"
    interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
    if interval not in line:
        pair = re.search(r"\[([^\]]*)\]", line)
        likely = "the interval is of another row, or of another form"
        if pair is None:
            likely = "the interval is missing"
        raise Wrong("a claim needs its interval", expected=interval, likely=likely, **details)
    rest = line.replace(interval, "")
    numbers = re.findall(PERCENT, rest)
    expect(numbers, "a claim needs its accuracy", expected=accuracy, **details)
    others = [x for x in numbers if x != accuracy]
    if others:
        likely = "a number that is not in this row of the card"
        bare_numbers = [re.match(r"[\d.]+", x)[0] + "%" for x in others]
        if accuracy in bare_numbers:
            likely = f"write it as {accuracy}, with the sign and without a space"
        elif any(x in {f"{r['accuracy']:.1%}" for r in rows} for x in others):
            likely = "the accuracy of another row"
        elif any(x == f"{row['success']:.1%}" for x in others):
            likely = "this is the attack's success rate, not the accuracy"
        elif any(x == f"{row['accuracy']:.0%}" for x in others):
            likely = "one digit after the point, as in 62.5%"
        raise Wrong("a percentage is not that of the card", expected=accuracy, likely=likely,
                    **details)  # fmt: skip
    said = re.findall(r"\bn = (\d+)", line)
    expect(said, "a claim needs the number of texts", expected=f"n = {row['n']}",
           likely="n is missing, or not in the form n = 40", **details)  # fmt: skip
    expect(set(said) == {str(row["n"])}, "the number of texts is another one",
           expected=f"n = {row['n']}", **details)  # fmt: skip
    if first:
        expect("no attack" in line, "the first row is without attack, and the sentence must say so",
               expected="no attack", likely=_case("no attack", line), **details)  # fmt: skip
        both = re.search(r"(?<!not )under (an |the )?attack", line.replace("no attack", ""), re.I)
        expect(not both, "the first row is without attack, and the sentence says both",
               likely=f"{both and both[0]!r} does not belong here", **details)  # fmt: skip
    else:
        expect(row["threat model"] in line, "a claim needs its threat model, word for word",
               expected=row["threat model"], likely="a setting is left out: all of them belong to "
               "it" if f"{row['attack']}(" in line else "the name of an attack is not its settings",
               **details)  # fmt: skip
        expect("no attack" not in line, "this row is under attack", **details)
    for kind in kinds:
        if kind not in line:
            other = {"moved embeddings": "changed words", "changed words": "moved embeddings"}[kind]
            likely = _case(kind, line) or f"{kind} is missing"
            if other in line and other not in kinds:
                likely = (
                    "a result on embeddings is claimed as one on text"
                    if "moved" in kind
                    else "words were changed here, not embeddings; 0 queries are not None"
                )
            raise Wrong("a claim must say what was changed", expected=" and ".join(kinds),
                        likely=likely, **details)  # fmt: skip
    for kind in ("moved embeddings", "changed words"):
        expect(kind in kinds or kind not in line, f"{kind!r} is not what this row measured",
               likely="a result on embeddings is claimed as one on text" if "words" in kind else
                      "nothing was moved here", **details)  # fmt: skip
    wide = row["high"] - row["low"] > 0.2
    expect(
        not wide or "too few texts" in line,
        "the interval is wider than 0.2",
        expected="too few texts",
        likely=_case("too few texts", line)
        or "`too few texts` is missing (judge by `high` - `low` as they are, not rounded)",
        **details,
    )
    expect(wide or "too few texts" not in line, "the interval is not wider than 0.2: `too few "
           "texts` does not belong here", **details)  # fmt: skip


# ---------------------------------------------------------------- the course's own functions


def bytes_needed(
    params: int, trainable: int, layers: int, hidden: int, batch: int, length: int,
    fp16: bool = False, checkpointing: bool = False, dropout: bool = True,
) -> dict[str, int]:  # fmt: skip
    """Bytes of weights, half copies, gradients, moments and activations of a training step of a
    BERT with AdamW, where `trainable` of its `params` parameters are trained."""
    c = (40 if fp16 else 64) + 2 * dropout
    per_number = 4 * layers + c if checkpointing else layers * c
    return {
        "weights": 4 * params,
        "half copies": 2 * 12 * layers * hidden**2 if fp16 else 0,
        "gradients": 4 * trainable,
        "moments": 8 * trainable,
        "activations": batch * length * hidden * per_number,
    }


def diagnose(log: Sequence[dict], lam: float) -> str:
    """What went wrong in a training run, read off its log: "overflow", "learning rate",
    "collapse", "over-fitting", "warm-up", or "healthy"."""
    wild = [not math.isfinite(line.get("grad_norm", 0.0)) for line in log]
    in_a_row = any(all(wild[k : k + 3]) for k in range(len(log) - 2))
    if in_a_row or not all(math.isfinite(line["loss"]) for line in log):
        return "overflow"
    if sum(line["clean_loss"] for line in log[-3:]) / 3 > log[0]["clean_loss"]:
        return "learning rate"
    shares = [line["share"] for line in log if "share" in line]
    if len(shares) >= 3 and min(shares[-3:]) >= 0.95:
        return "collapse"
    checks = [line for line in log if "pgd" in line and "fgm" in line]
    if checks:
        best, last = max(checks, key=lambda line: line["pgd"]), checks[-1]
        if best["pgd"] - last["pgd"] > 0.2 and best["fgm"] - last["fgm"] <= 0.2:
            return "over-fitting"
    return "warm-up" if log[-1]["lam"] < 0.9 * lam else "healthy"


def checkpoint(loop, state: Mapping | None = None) -> dict | None:
    """The state of a `Loop`, a dictionary that a file can hold; with a state, the way back."""
    if state is None:
        return copy.deepcopy({
            "model": loop.model.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "scheduler": loop.scheduler.state_dict(),
            "generator": loop.generator.get_state(),
            "order": loop.order,
            "at": loop.at,
            "dropout": torch.get_rng_state(),
        })  # fmt: skip
    state = copy.deepcopy(state)
    loop.model.load_state_dict(state["model"])
    loop.optimizer.load_state_dict(state["optimizer"])
    loop.scheduler.load_state_dict(state["scheduler"])
    loop.generator.set_state(state["generator"])
    loop.order, loop.at = state["order"], state["at"]
    torch.set_rng_state(state["dropout"])
    return None


def distributed_step(model, batch, eps: float, lam: float) -> tuple[Tensor, Tensor]:
    """One step of FGM training under a wrapper: adds the gradient of L + lam·L_adv to the weights'
    .grad with one exchange, and returns (clean, adv)."""
    inner = bare(model)
    delta = zero_delta(inner, batch).requires_grad_()
    loss = F.cross_entropy(perturbed_logits(inner, batch, delta), batch["labels"])
    (grad,) = torch.autograd.grad(loss, delta)
    delta = fgm_step(grad, attackable(batch), eps)
    clean = F.cross_entropy(perturbed_logits(inner, batch, None), batch["labels"])
    clean.backward()
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (lam * adv).backward()
    return clean.detach(), adv.detach()


def claims(card: Mapping) -> list[str]:
    """One sentence for each row of an evaluation's card, and one for the worst case."""

    def sentence(row, what, kinds):
        changed = f" ({' and '.join(kinds)})" if kinds else ""
        text = (
            f"Under {what}{changed} it gets {row['accuracy']:.1%} "
            f"[{row['low']:.1%}, {row['high']:.1%}] of the texts right, n = {row['n']}"
        )
        return text + ("; too few texts for more." if row["high"] - row["low"] > 0.2 else ".")

    def kind(row):
        return "moved embeddings" if row["queries"] is None else "changed words"

    attacked, worst = card["rows"][1:], card["worst case"]
    return [
        sentence(card["rows"][0], "no attack", []),
        *[sentence(row, row["threat model"], [kind(row)]) for row in attacked],
        sentence(
            worst,
            worst["threat model"] + ", the strongest for each text",
            sorted({kind(row) for row in attacked}),
        ),
    ]


EXERCISES: dict[str, Exercise] = {
    "12.1": Exercise("the memory of a step", check_bytes_needed, bytes_needed),
    "12.5": Exercise("read a curve", check_diagnose, diagnose),
    "12.2": Exercise("make a resume exact", check_checkpoint, checkpoint),
    "12.4": Exercise("one exchange", check_distributed_step, distributed_step),
    "12.3": Exercise("claims that the evidence carries", check_claims, claims),
}
