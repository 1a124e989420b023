"""Checks of lesson 17, Financial news monitor.

The specification: the CUSUM is the largest sum over all points at which the rise may have begun,
each added up by itself; the EWMA is a weighted sum, and its variance comes from going through all
streams of so many items; a threshold is judged on fresh streams; fakes are added one by one; a near
miss is a known word at an edit distance of one.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from functools import cache

import numpy as np

from course.checking import Exercise, Wrong, expect, seeded, show, specified


def _kept(answer):
    """The answer; raises Wrong where it changes an array or a set that it was given."""

    def checked(*inputs):
        before = [x.copy() if isinstance(x, np.ndarray | set) else None for x in inputs]
        result = answer(*inputs)
        for was, now in zip(before, inputs, strict=True):
            same = np.array_equal(was, now) if isinstance(was, np.ndarray) else was == now
            if was is not None and not same:
                raise Wrong("your function changes what it was given; work on a copy", yours=now,
                            expected=was, likely="x += 1, x[0] = 1 or .add() on an input")
        return result

    return checked


def _array(value, what: str, given) -> np.ndarray:
    """An array of numbers as one of floats; raises Wrong for anything else."""
    expect(value is not None, f"{what} is None: does the function return it?", given=given)
    expect(isinstance(value, np.ndarray | np.generic), f"{what} should be a numpy array, not "
           f"{type(value).__name__}", given=given, yours=show(value))  # fmt: skip
    expect(value.dtype.kind in "fiu", f"{what} should hold numbers", given=given, yours=show(value))
    return np.asarray(value, dtype=float)


def _several(answer, items, *more):
    """The answer; where several streams at once stop it, Wrong says so."""
    try:
        return answer(items, *more)
    except (ValueError, TypeError, IndexError) as error:
        if items.ndim == 1:
            raise
        raise Wrong(f"your function stops on several streams at once, items of the shape "
                    f"{items.shape}: {type(error).__name__}: {error}",
                    likely="`if x`, `max` and `for x in items` work on one stream; items[..., k] "
                    "with np.where and np.maximum work on all") from error  # fmt: skip


def _number(value, what: str, given) -> float:
    """A number as a float; raises Wrong for anything else."""
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    good = good or isinstance(value, np.ndarray) and value.ndim == 0
    expect(good, f"{what} should be a number, not {type(value).__name__}", given=given,
           yours=show(value))  # fmt: skip
    return float(value)


def _streams() -> list[np.ndarray]:
    """Items along the last axis: one stream, and several."""
    rng = np.random.default_rng(seeded(1710))
    return [np.array([0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1]), np.zeros(4, dtype=int),
            (rng.random((3, 40)) < 0.3).astype(int), (rng.random((4, 9)) < 0.5).astype(int)]


# ---------------------------------------------------------------- 17.1


def _plain_cusum(items, p0, p1, *, reset=True, best=True, signs=1, up=None, log=math.log,
                 shifted=False, last=False, whole=False, across=False,
                 first=True) -> np.ndarray:  # fmt: skip
    """All points of change, one by one; the keywords are its mistakes."""
    if across:
        return _plain_cusum(items.T, p0, p1).T

    def ratio(x) -> float:
        one, zero = log(p1 / p0), log((1 - p1) / (1 - p0))
        if up == "swapped":
            one, zero = zero, one
        if up == "no zeros":
            zero = 0.0
        if up == "both up":
            zero = one
        if up == "both down":
            one = zero
        return signs * (one if x else zero)

    rows = []
    for stream in np.reshape(items, (-1, items.shape[-1])).tolist():
        row = []
        for n in range(len(stream)):
            ratios = [ratio(x) for x in stream[: n + 1]]
            sums = np.cumsum(ratios[::-1])[::-1] if best else [sum(ratios)]  # from each k on
            sums = sums if first else sums[1:]
            row.append(max([*sums, 0.0]) if reset else max(sums))
        rows.append([0.0, *row[:-1]] if shifted else row)
    out = np.reshape(rows, items.shape)
    if whole:
        out = np.trunc(out)
    return out[..., -1] if last else out


_CUSUM_MISTAKES = {
    "it falls below 0: where no point of change speaks for a rise, the statistic is 0":
        dict(reset=False),
    "this adds up all items since the beginning: the point of change is free, so take the best one":
        dict(best=False, reset=False),
    "a rise that begins with the first item is missed: the lowest value of the sum so far is 0 "
    "before that item, so np.minimum with 0": dict(first=False),
    "all terms have the wrong sign": dict(signs=-1),
    "the terms of 0 and 1 are swapped: a 1 adds log p1/p0": dict(up="swapped"),
    "a 0 adds as much as a 1 here: it adds log (1−p1)/(1−p0)": dict(up="both up"),
    "a 1 adds the term of a 0 here: it adds log p1/p0": dict(up="both down"),
    "a 0 changes nothing here: it adds log (1−p1)/(1−p0), which is below 0": dict(up="no zeros"),
    "these are logarithms to the base 10: math.log is the natural one": dict(log=math.log10),
    "these are logarithms to the base 2: math.log is the natural one": dict(log=math.log2),
    "this is the statistic before each item: the item itself counts": dict(shifted=True),
    "this is only the statistic after the last item": dict(last=True),
    "time runs along the first axis here; it is the last one: items[..., k]": dict(across=True),
    "the numbers are cut to whole ones: an array made like `items` holds integers; np.empty or "
    "np.zeros of its shape holds floats": dict(whole=True),
}  # fmt: skip


def check_cusum(answer) -> None:
    answer = _kept(answer)
    rates = ((0.15, 0.35), (0.1, 0.2), (0.15, 0.35), (0.4, 0.6))
    problems = [dict(items=x, p0=p0, p1=p1)
                for x, (p0, p1) in zip(_streams(), rates, strict=True)]  # fmt: skip
    specified(lambda items, p0, p1: _array(_several(answer, items, p0, p1), "the statistic", {}),
              problems, _plain_cusum, _CUSUM_MISTAKES, what="the statistic")  # fmt: skip
    _check_long(answer)


def _check_long(answer, n: int = 600) -> None:
    """A rise that began long ago: the statistic is far above every threshold, and still grows."""
    items = (np.random.default_rng(seeded(1711)).random(n) < 0.4).astype(int)
    yours = _array(_several(answer, items, 0.15, 0.35), "the statistic", {})
    right = _plain_cusum(items, 0.15, 0.35)
    (off,) = np.nonzero(~np.isclose(yours, right, atol=1e-5, rtol=1e-4))
    if not len(off):
        return
    k = int(off[0])
    raise Wrong(
        f"on a stream of {n} items in which the rate rose at the beginning, the statistic is wrong "
        f"from item {k + 1} on", given={"p0": 0.15, "p1": 0.35, "item": k + 1},
        yours=float(yours[k]), expected=float(right[k]),
        likely="the statistic never grows beyond some value here; it has no upper end"
        if np.allclose(yours[off], yours[k]) else
        "only the last items are looked at; the rise may have begun any number of items ago"
        if (yours <= right + 1e-5).all() else None)  # fmt: skip


# ---------------------------------------------------------------- 17.2


def _weighted(items, p0, lam, start=None, turned=False) -> np.ndarray:
    """(…, n) each mean as a sum of all items with their weights, and the start with the rest."""
    if turned:
        lam = 1 - lam
    out = np.empty(items.shape)
    for place in np.ndindex(*items.shape):
        seen = items[(*place[:-1], slice(0, place[-1] + 1))].tolist()
        n = len(seen)
        first = p0 if start is None else seen[0] if start == "first" else start
        weights = [lam * (1 - lam) ** (n - 1 - i) for i in range(n)]
        out[place] = (1 - lam) ** n * first + sum(w * x for w, x in zip(weights, seen, strict=True))
    return out


def _enumerated(n: int, p0: float, lam: float) -> np.ndarray:
    """(n,) the variance of the mean after each item, from all 2^n streams of calm items."""
    streams = np.array(list(itertools.product((0, 1), repeat=n)))
    odds = np.prod(np.where(streams == 1, p0, 1 - p0), axis=1)
    z = _weighted(streams, p0, lam)
    centre = odds @ z
    return odds @ (z - centre) ** 2


def _plain_ewma(items, p0, lam, *, start=None, turned=False, variance="exact",
                z="after") -> dict:  # fmt: skip
    n = items.shape[-1]
    exact = _enumerated(n, p0, lam) if n <= 9 else None
    limit = lam / (2 - lam) * p0 * (1 - p0)
    if exact is None:  # too many streams: what each item adds is independent, so variances add
        exact = np.array([sum((lam * (1 - lam) ** i) ** 2 for i in range(k)) for k in
                          range(1, n + 1)]) * p0 * (1 - p0)  # fmt: skip
    found = {
        "exact": exact, "limit": np.full(n, limit), "root": np.sqrt(exact),
        "item": np.full(n, p0 * (1 - p0)), "first": exact / (1 - p0),
        "mean": np.array([p0 * (1 - p0) / k for k in range(1, n + 1)]),
        "before": np.array([0.0, *exact[:-1]]),
        "power": limit * (1 - (1 - lam) ** np.arange(1, n + 1)),
        "one": np.array(limit), "bare": exact / (p0 * (1 - p0)),
        "plain": p0 * (1 - p0) * (1 - (1 - lam) ** np.arange(1, n + 1)),
    }  # fmt: skip
    mean = _weighted(items, p0, lam, start, turned)
    if z == "before":
        mean = np.concatenate([np.full_like(mean[..., :1], p0), mean[..., :-1]], axis=-1)
    return {"z": np.trunc(mean) if z == "whole" else mean, "variance": found[variance]}


_EWMA_MISTAKES = {
    "it begins at 0; before the first item it is p0": dict(start=0.0),
    "it begins at the first item; before that it is p0": dict(start="first"),
    "lam and 1 − lam are swapped: lam is the weight of the newest item": dict(turned=True),
    "this is the variance after very many items, the same for all; at the beginning there is less "
    "of it": dict(variance="limit"),
    "this is one number, the variance after very many items; asked is one after each item":
        dict(variance="one"),
    "this is the standard deviation: the variance is its square": dict(variance="root"),
    "this is the variance of one item; the mean of many has less": dict(variance="item"),
    "1 − p0 is missing: an item that is 1 with probability p0 has the variance p0(1 − p0)":
        dict(variance="first"),
    "this is the variance of the mean of all items with equal weights": dict(variance="mean"),
    "this is the variance before each item": dict(variance="before"),
    "these are the means before each item: the item itself counts": dict(z="before"),
    "the means are cut to whole numbers: an array made like `items` holds integers; np.empty of "
    "its shape holds floats": dict(z="whole"),
    "p0(1 − p0) is missing, the variance of one item": dict(variance="bare"),
    "the weights are added up as they are; in a variance each is squared": dict(variance="plain"),
    "weights are squared in a variance, so the power of 1 − lam is twice as large":
        dict(variance="power"),
}  # fmt: skip


def check_ewma(answer) -> None:
    answer = _kept(answer)
    problems = [dict(items=x, p0=p0, lam=lam) for x, p0, lam in zip(
        [*_streams()[2:], np.array([1, 0, 0, 1, 1, 0])], (0.15, 0.3, 0.2), (0.05, 0.4, 0.25),
        strict=True)]  # fmt: skip
    problems = problems[::-1]  # the short ones first: they are shown

    def run(items, p0, lam):
        result = _several(answer, items, p0, lam)
        expect(result is not None, "the result is None: does the function return (z, variance)?")
        expect(isinstance(result, tuple | list) and len(result) == 2, "the function should return "
               "two things, (z, variance)", yours=show(result))  # fmt: skip
        return {name: _array(x, name, {}) for name, x in zip(("z", "variance"), result,
                                                             strict=True)}  # fmt: skip

    specified(run, problems, _plain_ewma, _EWMA_MISTAKES, atol=1e-7)


# ---------------------------------------------------------------- 17.3


def _fresh(chart, p0: float, longest: int, runs: int = 1500) -> np.ndarray:
    """(runs, longest) the highest value so far, on calm streams of the checker's own."""
    items = (np.random.default_rng(seeded(1730)).random((runs, longest)) < p0).astype(int)
    return np.maximum.accumulate(chart(items), axis=1)


def _mean(highest: np.ndarray, threshold: float) -> float:
    """Items seen / alarms seen. Runs without an alarm end where they end."""
    before = (highest < threshold).sum(1)
    alarms = int((before < highest.shape[1]).sum())
    return (before.sum() + alarms) / alarms if alarms else math.inf


def _wrong_means(statistic: np.ndarray, threshold: float, between: int) -> dict[str, float]:
    """Mistake -> what it takes for the mean number of items, on the streams of the answer."""
    highest = np.maximum.accumulate(statistic, axis=1)
    before = (highest < threshold).sum(1)
    n = highest.shape[1]
    over = before < n
    alarms, calm = int(over.sum()), float(1 - over.mean())
    if not alarms:
        return {}
    late = before < n - 1  # an alarm that the last item raises is missed
    means = {
        "the item that raises the alarm is not counted: `(highest < h).sum(1)` is what came before "
        "it, so add one for each alarm": before.sum() / alarms,
        "the alarms are taken off here: an alarm's own item was seen, too, so add one for each":
            (before.sum() - alarms) / alarms,
        "one is added for each run: a run without an alarm has no item of its own more. Add one "
        "for each alarm": (before + 1).sum() / alarms,
        "an alarm that comes with the last item of its stream is an alarm, too":
            (before.sum() + late.sum()) / max(1, late.sum()),
        "of a run without an alarm only a part is counted: all its items were seen":
            (before[over].sum() + before[~over].sum() / 2 + alarms) / alarms,
        "runs without an alarm are left out: they are the long ones, so the mean looks too small "
        "and the threshold comes out too high. Their items count, too":
            (before[over] + 1).mean(),
        "a run without an alarm is counted as if its alarm came at the end of the stream: divide "
        "all items seen by the number of alarms, not of runs": np.minimum(before + 1, n).mean(),
        "a run without an alarm got the length 1: argmax of a row without True is 0":
            np.where(over, before + 1, 1).mean(),
        "this is a height that one item in `between` exceeds; such items come in clusters, so "
        "the alarms are further apart": between**2 * (statistic >= threshold).mean(),
        "this is the mean of the highest values of the streams; asked is how many items pass":
            between * threshold / highest[:, -1].mean(),
        "this is the median run; asked is the mean, and long runs make it larger":
            between * 2 * (before < between).mean(),
    }  # fmt: skip
    if 0 < calm < 1:
        means["this is a height that a share 1/e of the streams stays below. That is the mean only "
              "where runs are long: count items and alarms"] = -n / math.log(calm)  # fmt: skip
    return {why: float(mean) for why, mean in means.items()}


def _likely(statistic: np.ndarray, threshold: float, between: int) -> str | None:
    """The mistake that shows on the streams of the answer, the one that fits best; None where they
    say the threshold is right, or nothing fits."""
    highest = np.maximum.accumulate(statistic, axis=1)
    before = (highest < threshold).sum(1)
    if abs(_mean(highest, threshold) / between - 1) < 0.08:
        return None
    if (highest[:, -1] < threshold).mean() > 0.995:
        return ("you kept the wrong half, or a run without an alarm is counted wrongly. At your "
                "threshold hardly a stream has an alarm. Where the mean is `between` or more, the "
                "threshold lies in the lower half; and where a run without an alarm is left out, "
                "ends with an alarm or gets the length 1 (argmax of a row without True is 0), the "
                "mean never grows to what is asked")  # fmt: skip
    if (before == 0).mean() > 0.9:
        return ("you kept the wrong half: at your threshold the first item raises the alarm. Where "
                "the mean is less than `between`, the threshold lies in the upper half")
    means = _wrong_means(statistic, threshold, between)
    best = min(means, key=lambda why: abs(means[why] / between - 1), default=None)
    return best if best and abs(means[best] / between - 1) < 0.04 else None


def _charts() -> list[tuple]:
    """(name, chart, p0, between); steps of every chart are fine enough for 15 %."""

    def sums(items, up=0.47, down=0.0813):
        walk = np.cumsum(np.where(items == 1, up, -down), axis=1)
        return walk - np.minimum(0, np.minimum.accumulate(walk, axis=1))

    def smooth(items, p0=0.2, lam=0.07):
        weights = lam * (1 - lam) ** np.arange(160)
        rows = [np.convolve(row - p0, weights)[: items.shape[1]] for row in items]
        return p0 + np.array(rows)

    def noise(items):  # so few items that the alarm's own one counts
        return np.random.default_rng(zlib.crc32(items.tobytes())).random(items.shape)

    return [("a CUSUM", sums, 0.12, 150), ("an EWMA", smooth, 0.2, 300),
            ("a CUSUM", sums, 0.12, 80), ("numbers by chance, from 0 to 1", noise, 0.5, 4)]


def check_calibrate(answer) -> None:
    for name, chart, p0, between in _charts():
        given = {"chart": name, "p0": p0, "between": between}
        state = np.random.get_state()[1].copy()
        values = []  # of the chart on the streams of the answer: what its mistakes show on

        def watched(items, chart=chart, values=values):
            values.append(chart(items))
            return values[-1].copy()

        found = answer(watched, p0, between, np.random.default_rng(seeded(3)))
        expect(found is not None, "the result is None: does the function return the threshold?",
               given=given)  # fmt: skip
        threshold = _number(found, "the threshold", given)
        expect(math.isfinite(threshold), "the threshold should be a finite number", given=given,
               yours=threshold)  # fmt: skip
        again = answer(watched, p0, between, np.random.default_rng(seeded(3)))
        expect(np.array_equal(state, np.random.get_state()[1]) and again == found,
               "the same rng gives another threshold, or numpy's global generator is used: all "
               "random numbers come from `rng`", given=given,
               likely="np.random.random, or a generator of its own")  # fmt: skip
        mean = _mean(_fresh(chart, p0, 5 * between), threshold)
        likely = _likely(values[-1], threshold, between) if values else None
        if 0.85 * between <= mean <= 1.15 * between and likely is None:
            continue
        raise Wrong(f"on fresh calm streams {mean:.{0 if mean > 20 else 1}f} items pass until an "
                    f"alarm, {between} were asked for", given=given, yours=threshold,
                    likely=likely)  # fmt: skip


# ---------------------------------------------------------------- 17.4


def _plain_fakes(h, p0, p1, at=0.0, *, start=True, step=None, more=0, down=False,
                 signed=False, turned=False, nearest=False, over=None, least=0,
                 add=0.0) -> int:  # fmt: skip
    """One by one; the keywords are mistakes."""
    up = step(p0, p1) if step else math.log(p1 / p0)
    if down:
        return max(0, math.floor((h - at) / up))
    if step:
        return max(0, math.ceil((h - at) / up))
    if add:
        return max(0, int((h - at) / up + add))
    if least:
        return max(least, math.ceil((h - at) / up))
    if nearest:
        return max(0, round((h - at) / up))
    if over:
        return 0 if over == "guarded" and at >= h else max(0, 1 + int((h - at) / up))
    if signed or turned:
        return math.ceil((at - h if turned else h - at) / up)
    s, k = (at if start else 0.0), 0
    while s < h:
        s, k = s + up, k + 1
    return k + more


_FAKES_MISTAKES = {
    "`at` is left out: so much is there already": dict(start=False),
    "one too many": dict(more=1),
    "rounded down, or nearly: a little short of the threshold is no alarm. math.ceil rounds up":
        dict(add=0.999),
    "rounded down: then the threshold is not reached yet": dict(down=True),
    "at least one even where the chart is there already: then no fake is needed": dict(least=1),
    "rounded to the nearest whole number: half a step below the threshold is no alarm":
        dict(nearest=True),
    "one too many where the way is a whole number of steps: math.ceil leaves such a number as it "
    "is, 1 + int(…) does not": dict(over="guarded"),
    "one too many where the way is a whole number of steps, 0 among them: math.ceil leaves such a "
    "number as it is, 1 + int(…) does not": dict(over="always"),
    "these are logarithms to the base 10": dict(step=lambda p0, p1: math.log10(p1 / p0)),
    "these are logarithms to the base 2": dict(step=lambda p0, p1: math.log2(p1 / p0)),
    "negative where the chart is there already: then no fake is needed": dict(signed=True),
    "the way is from `at` to h: h − at, not at − h": dict(turned=True),
    "a fake adds log p1/p0, not p1 − p0": dict(step=lambda p0, p1: p1 - p0),
    "a fake adds log p1/p0, not p1": dict(step=lambda p0, p1: p1),
    "a fake adds log p1/p0, not p1/p0: the logarithm is left out":
        dict(step=lambda p0, p1: p1 / p0),
}  # fmt: skip


def check_fakes_needed(answer) -> None:
    problems = [dict(h=h, p0=p0, p1=p1, at=at) for h, p0, p1, at in (
        (9.05, 0.15, 0.35, 0.0), (9.05, 0.15, 0.35, 2.1), (7.0, 0.02, 0.05, 0.0),
        (5.51, 0.1, 0.12, 1.0), (2.0, 0.15, 0.35, 2.0), (2.0, 0.15, 0.35, 3.9),
        (0.5, 0.05, 0.6, 0.0), (2 * math.log(2), 0.25, 0.5, 0.0),
        (3 * math.log(2) + 1e-6, 0.25, 0.5, 0.0))]  # fmt: skip

    def run(h, p0, p1, at):
        found = answer(h, p0, p1, at)
        expect(found is not None, "the result is None: does the function return the number?")
        expect(isinstance(found, int | np.integer) and not isinstance(found, bool),
               f"a number of stories is an int, not {type(found).__name__}", yours=show(found))
        return int(found)

    specified(run, problems, _plain_fakes, _FAKES_MISTAKES, what="the number of fakes")
    expect(answer(9.05, 0.15, 0.35) == _plain_fakes(9.05, 0.15, 0.35),
           "without `at` the chart stands at 0")  # fmt: skip


# ---------------------------------------------------------------- 17.5


@cache
def _distance(a: str, b: str) -> tuple[int, str]:
    """The number of slips between two words (swapped neighbours are one), and the kind of the last
    of them; by the table of all beginnings."""
    table = {(i, 0): (i, "") for i in range(len(a) + 1)}
    table |= {(0, j): (j, "") for j in range(len(b) + 1)}
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        steps = [(table[i - 1, j][0] + 1, "insert"), (table[i, j - 1][0] + 1, "drop")]
        same = a[i - 1] == b[j - 1]
        steps.append((table[i - 1, j - 1][0] + (not same), table[i - 1, j - 1][1] if same
                      else "key"))  # fmt: skip
        if i > 1 and j > 1 and a[i - 2 : i] == b[j - 1] + b[j - 2] and a[i - 1] != b[j - 1]:
            steps.append((table[i - 2, j - 2][0] + 1, "swap"))
        table[i, j] = min(steps)
    return table[len(a), len(b)]


def _plain_near(text, vocabulary, *, kinds=("swap", "drop", "insert", "key"), shortest=4,
                lower=True, known=True, words="[a-zA-Z]+", most=1, far=False, unknown=False,
                itself=False, soon=False, kept=None, front=None, untried=(), single=False) -> bool:
    """The keywords are mistakes."""
    text = text.lower() if lower else text
    for word in re.findall(words, text):
        if itself and len(word) >= shortest and word in vocabulary:
            return True
        if len(word) < shortest or known and word in vocabulary:
            continue
        if unknown:
            return True
        if single and sum(_distance(word, v)[0] == 1 for v in vocabulary) > 1:
            continue
        for other in vocabulary:
            if untried and _last(word, other) in untried[1] and (
                    other.count(untried[0]) > word.count(untried[0])):  # fmt: skip
                continue
            if kept is not None and word[kept] != other[kept]:
                continue
            if front and word[0] != other[0] and _last(word, other) == front:
                continue
            if abs(len(word) - len(other)) > most:
                continue
            if far and len(word) == len(other):
                apart = [i for i in range(len(word)) if word[i] != other[i]]
                if len(apart) == 2 and [word[i] for i in apart] == [other[i] for i in apart[::-1]]:
                    return True
            count, _ = _distance(word, other)
            if 0 < count < most or count == most and _last(word, other) in kinds:
                return True
        if soon:
            return False
    return False


def _last(word: str, other: str) -> str:
    """The kind of slip that makes `word` from `other`."""
    if len(word) != len(other):
        return "insert" if len(word) > len(other) else "drop"
    apart = [i for i in range(len(word)) if word[i] != other[i]]
    return "swap" if len(apart) == 2 else "key"


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_NEAR_MISTAKES = {
    "swapped letters are not undone": dict(kinds=("drop", "insert", "key")),
    "a missing letter is not undone": dict(kinds=("swap", "insert", "key")),
    "a letter too many is not undone": dict(kinds=("swap", "drop", "key")),
    "another letter is not undone": dict(kinds=("swap", "drop", "insert")),
    "only swapped letters are undone": dict(kinds=("swap",)),
    **{f"only {what} is undone. Does the last line replace the set? `|=` adds to it, `=` begins "
       "a new one": dict(kinds=(kind,)) for kind, what in (
           ("drop", "a missing letter"), ("insert", "a letter too many"),
           ("key", "another letter"))},
    "words of three letters and fewer count too": dict(shortest=1),
    "words of four letters do not count": dict(shortest=5),
    "words with capitals are not found: the vocabulary has small letters": dict(lower=False),
    "a known word counts, if it is near another known one; what is known is no miss":
        dict(known=False),
    "a comma or a full stop stays at its word; words are runs of letters": dict(words=r"\S+"),
    "digits and _ stay at their word: \\w is more than the letters a to z": dict(words=r"\w+"),
    "a known word counts as a near miss of itself; what is known is no miss": dict(itself=True),
    "this stops at the first unknown word; the text may have more of them": dict(soon=True),
    "a slip in the first letter is not undone": dict(kept=0),
    "a letter too many at the very beginning is not undone": dict(front="insert"),
    "a swap of the first two letters is not undone": dict(front="swap"),
    "a slip in the last letter is not undone: i goes up to len(w)": dict(kept=-1),
    "two slips in one word count here": dict(most=2),
    "letters that are no neighbours are swapped, too": dict(far=True),
    "this says whether there is an unknown word": dict(unknown=True),
    "two known words may come out, and one is enough: any word that both sets share":
        dict(single=True),
    **{f"the letter {c} is never put {where}": dict(untried=(c, kinds)) for c in _LETTERS
       for where, kinds in (("in place of another", ("key",)), ("in where one is missing",
                            ("drop",)), ("in, nor in place of another", ("drop", "key")))},
}  # fmt: skip

_KNOWN = {"profit", "fell", "fall", "grew", "shares", "share", "slid", "losses", "rose", "rise",
          "its", "the", "in", "and", "debts", "narrowed"}  # fmt: skip


def check_near_miss(answer) -> None:
    answer = _kept(answer)
    texts = [
        "The profit fell in May", "The proift fell", "Its profit fel", "its proffit fell",
        "Its ptofit fell", "the Proift, slid", "and the porift fell", "the pforit fell",
        "its profits rose", "teh profit", "Iits losses grew", "Losses norrawed", "Debts rsoe.",
        "(debst) fell", "Shares rosse!", "the hares slid", "FELK", "Lumbrax grew", "", "12 % up",
        "its lossse-rose", "the sahre rose", "prfoti fell", "loses fell", "narrowe fell in April",
        "Zornholm proift fell", "Its 2proift", "profit2 fell", "loses_fell", "the shaer fell",
        "its wrofit", "its xprofit fell", "rpofit fell", "Its profit foll", "its dobts",
    ]  # fmt: skip
    problems = [dict(text=text, vocabulary=set(_KNOWN)) for text in texts]
    for c in _LETTERS:  # each letter is missing once, and once it is another
        other = "q" if c != "q" else "w"
        problems += [dict(text=f"its ba{x}es", vocabulary={f"ba{c}es"}) for x in ("", other)]

    def run(text, vocabulary):
        found = answer(text, vocabulary)
        expect(isinstance(found, bool | np.bool_), f"the result should be True or False, not "
               f"{type(found).__name__}", yours=show(found))  # fmt: skip
        return bool(found)

    specified(run, problems, _plain_near, _NEAR_MISTAKES, what="whether there is a near miss")


# ---------------------------------------------------------------- the course's own functions


def cusum(items, p0, p1):
    """The statistic after each item, an array of the shape of `items`."""
    up, down = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    s, out = np.zeros(items.shape[:-1]), np.empty(items.shape)
    for k in range(items.shape[-1]):
        s = np.maximum(0, s + np.where(items[..., k], up, down))
        out[..., k] = s
    return out


def ewma(items, p0, lam):
    """(z, variance): the mean after each item, and its variance in calm times."""
    z, out = np.full(items.shape[:-1], p0), np.empty(items.shape)
    for k in range(items.shape[-1]):
        z = z + lam * (items[..., k] - z)
        out[..., k] = z
    n = np.arange(1, items.shape[-1] + 1)
    return out, lam / (2 - lam) * (1 - (1 - lam) ** (2 * n)) * p0 * (1 - p0)


def calibrate(chart, p0, between, rng):
    """The threshold with about `between` items between false alarms, on the average."""
    items = (rng.random((2000, between)) < p0).astype(int)
    highest = np.maximum.accumulate(chart(items), axis=1)
    low, high = highest.min(), highest.max()
    for _ in range(40):
        h = (low + high) / 2
        before = (highest < h).sum(1)  # items without an alarm
        alarms = (before < items.shape[1]).sum()
        seen = before.sum() + alarms
        low, high = (low, h) if seen >= between * alarms else (h, high)
    return high


def fakes_needed(h, p0, p1, at=0.0):
    """The least number of bad stories in a row that take the CUSUM from `at` to h."""
    return max(0, math.ceil((h - at) / math.log(p1 / p0)))


def near_miss(text, vocabulary):
    """Whether a word is not known, and one slip away from a known one."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for w in re.findall("[a-z]+", text.lower()):
        if len(w) < 4 or w in vocabulary:
            continue
        cuts = [(w[:i], w[i:]) for i in range(len(w) + 1)]
        meant = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        meant |= {a + b[1:] for a, b in cuts if b}
        meant |= {a + c + b for a, b in cuts for c in letters}
        meant |= {a + c + b[1:] for a, b in cuts if b for c in letters}
        if meant & vocabulary:
            return True
    return False


EXERCISES: dict[str, Exercise] = {
    "17.1": Exercise("the CUSUM", check_cusum, cusum),
    "17.2": Exercise("the EWMA and its variance", check_ewma, ewma),
    "17.3": Exercise("a threshold for so many items", check_calibrate, calibrate),
    "17.4": Exercise("how many fakes are enough", check_fakes_needed, fakes_needed),
    "17.5": Exercise("a near miss", check_near_miss, near_miss),
}
