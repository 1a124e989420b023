"""Right and wrong answers to the exercises of lesson 17."""

import math
import re
import string
from difflib import SequenceMatcher

import numpy as np

# ---------------------------------------------------------------- 17.1


def cusum_by_walk(items, p0, p1):
    walk = np.cumsum(np.where(items == 1, np.log(p1 / p0), np.log((1 - p1) / (1 - p0))), axis=-1)
    return walk - np.minimum(0, np.minimum.accumulate(walk, axis=-1))


def cusum_above_lowest(items, p0, p1):
    """The lowest value so far without the 0 before the first item."""
    walk = np.cumsum(np.where(items == 1, np.log(p1 / p0), np.log((1 - p1) / (1 - p0))), axis=-1)
    return walk - np.minimum.accumulate(walk, axis=-1)


def cusum_by_loop(items, p0, p1):
    if items.ndim == 2:
        return np.array([cusum_by_loop(row, p0, p1) for row in items])
    s, out = 0.0, []
    for x in items:
        s = max(0.0, s + x * math.log(p1 / p0) + (1 - x) * math.log((1 - p1) / (1 - p0)))
        out.append(s)
    return np.array(out)


def cusum_with(reset=True, log=math.log, terms=None, make=None, after=None, change=None):
    """Answers to 17.1 that do one thing in another way."""

    def answer(items, p0, p1):
        up, down = log(p1 / p0), log((1 - p1) / (1 - p0))
        up, down = terms(up, down) if terms else (up, down)
        s, out = np.zeros(items.shape[:-1]), make(items) if make else np.empty(items.shape)
        for k in range(items.shape[-1]):
            s = s + np.where(items[..., k] == 1, up, down)
            s = np.maximum(0, s) if reset else s
            out[..., k] = s
        if change:
            change(items)
        return after(out) if after else out

    return answer


def cusum_best_only(items, p0, p1):
    """Without the 0: the best sum of at least one term."""
    up, down = math.log(p1 / p0), math.log((1 - p1) / (1 - p0))
    s, out = np.full(items.shape[:-1], -np.inf), np.empty(items.shape)
    for k in range(items.shape[-1]):
        s = np.maximum(0, s) + np.where(items[..., k] == 1, up, down)
        out[..., k] = s
    return out


def cusum_one_stream(items, p0, p1):
    """Only for one stream."""
    s, out = 0.0, []
    for x in items:
        s = max(0.0, s + (math.log(p1 / p0) if x else math.log((1 - p1) / (1 - p0))))
        out.append(s)
    return np.array(out)


def cusum_of_last(window):
    """Only the last items are looked at."""

    def answer(items, p0, p1):
        terms = np.where(items == 1, np.log(p1 / p0), np.log((1 - p1) / (1 - p0)))
        walk = np.concatenate([np.zeros_like(terms[..., :1]), np.cumsum(terms, axis=-1)], axis=-1)
        ends = range(1, walk.shape[-1])
        return np.stack([walk[..., n] - walk[..., max(0, n - window) : n + 1].min(-1)
                         for n in ends], axis=-1)  # fmt: skip

    return answer


def cusum_across(items, p0, p1):
    return cusum_by_walk(items.T, p0, p1).T


def clear(items):
    items[..., 0] = 0
    items[..., 1] = 1


# ---------------------------------------------------------------- 17.2


def ewma_with(start=None, weight=None, variance=None, after=None, change=None):
    """Answers to 17.2 that do one thing in another way."""

    def answer(items, p0, lam):
        w = weight(lam) if weight else lam
        first = p0 if start is None else items[..., 0] if start == "first" else start
        z, out = np.broadcast_to(first, items.shape[:-1]).astype(float), np.empty(items.shape)
        for k in range(items.shape[-1]):
            z = (1 - w) * z + w * items[..., k]
            out[..., k] = z
        n = items.shape[-1]
        squares = np.cumsum((lam * (1 - lam) ** np.arange(n)) ** 2)
        v = variance(p0, lam, n, squares) if variance else squares * p0 * (1 - p0)
        if change:
            change(items)
        return after(out, v) if after else (out, v)

    return answer


def ewma_before(items, p0, lam):
    z, v = ewma_with()(items, p0, lam)
    return np.concatenate([np.full_like(z[..., :1], p0), z[..., :-1]], axis=-1), v


def ewma_recursive(items, p0, lam):
    z, v, out, spread = p0, 0.0, [], []
    for k in range(items.shape[-1]):
        z = z + lam * (items[..., k] - z)
        v = (1 - lam) ** 2 * v + lam**2 * p0 * (1 - p0)
        out.append(z)
        spread.append(v)
    return np.stack(out, axis=-1), np.array(spread)


# ---------------------------------------------------------------- 17.3


def calibrate_with(runs=800, length=4, mean=None, rate=None, generator=None, after=None):
    """Answers to 17.3 that do one thing in another way."""

    def answer(chart, p0, between, rng):
        draw = generator() if generator else rng
        items = (draw.random((runs, length * between)) < (rate or p0)).astype(int)
        highest = np.maximum.accumulate(chart(items), axis=1)
        levels = np.linspace(highest.min(), highest.max(), 300)
        n = items.shape[1]

        def length_at(h):
            before = (highest < h).sum(1)
            if mean:
                return mean(before, n)
            alarms = (before < n).sum()
            return (before.sum() + alarms) / alarms if alarms else math.inf

        h = next((h for h in levels if length_at(h) >= between), levels[-1])
        return after(h) if after else float(h)

    return answer


def calibrate_by_halves(length=1, keep_lower=True, mean=None):
    """As the page does it; `keep_lower` and `mean` are what it can get wrong."""

    def answer(chart, p0, between, rng):
        items = (rng.random((2000, length * between)) < p0).astype(int)
        highest = np.maximum.accumulate(chart(items), axis=1)
        low, high = highest.min(), highest.max()
        for _ in range(40):
            h = (low + high) / 2
            before = (highest < h).sum(1)
            alarms = (before < items.shape[1]).sum()
            if mean:
                long = mean(before, items.shape[1]) >= between
            else:
                long = before.sum() + alarms >= between * alarms
            low, high = (low, h) if long == keep_lower else (h, high)
        return high

    return answer


def own_item_forgotten(before, n):
    return before.sum() / (before < n).sum() if (before < n).any() else math.inf


def taken_off(before, n):
    return (before.sum() - (before < n).sum()) / max(1, (before < n).sum())


def one_each(before, n):
    return (before + 1).sum() / max(1, (before < n).sum())


def last_missed(before, n):
    late = (before < n - 1).sum()
    return (before.sum() + late) / max(1, late)


def half_counted(before, n):
    over = before < n
    return (before[over].sum() + before[~over].sum() / 2 + over.sum()) / max(1, over.sum())


def calibrate_by_scan(chart, p0, between, rng):
    """Every value that occurs is tried, by halves, on one long list of streams."""
    items = (rng.random((900, 5 * between)) < p0).astype(int)
    statistic = chart(items)
    levels = np.unique(np.round(statistic.max(axis=1), 6))
    low, high = 0, len(levels) - 1
    while low < high:
        half = (low + high) // 2
        hit = statistic >= levels[half] - 1e-9
        first = np.where(hit.any(1), hit.argmax(1) + 1, statistic.shape[1])
        long = first.sum() >= between * hit.any(1).sum()
        low, high = (low, half) if long else (half + 1, high)
    return levels[high] - 1e-9


def without(before, n):
    """The runs without an alarm left out."""
    return (before[before < n] + 1).mean() if (before < n).any() else math.inf


def cut(before, n):
    """An alarm at the end of each run without one."""
    return np.minimum(before + 1, n).mean()


def calibrate_by_argmax(chart, p0, between, rng):
    statistic = chart((rng.random((800, 4 * between)) < p0).astype(int))
    low, high = 0.0, float(statistic.max())
    for _ in range(30):
        h = (low + high) / 2
        mean = ((statistic >= h).argmax(1) + 1).mean()
        low, high = (low, h) if mean >= between else (h, high)
    return high


def calibrate_quantile(chart, p0, between, rng):
    """A height that four streams in ten of the length `between` exceed."""
    return float(np.quantile(chart((rng.random((900, between)) < p0).astype(int)).max(1), 0.4))


def calibrate_one_item(chart, p0, between, rng):
    """The height that one item in `between` exceeds."""
    items = (rng.random((500, 4 * between)) < p0).astype(int)
    return float(np.quantile(chart(items), 1 - 1 / between))


def calibrate_by_maximum(chart, p0, between, rng):
    """The mean of the highest values in `between` items."""
    items = (rng.random((500, between)) < p0).astype(int)
    return float(chart(items).max(axis=1).mean() * 1.4)


def calibrate_mean_of_highest(chart, p0, between, rng):
    return float(chart((rng.random((2000, between)) < p0).astype(int)).max(axis=1).mean())


def calibrate_one_in_e(chart, p0, between, rng):
    """The height that 1/e of the streams stay below."""
    highest = chart((rng.random((2000, between)) < p0).astype(int)).max(axis=1)
    return float(np.quantile(highest, 1 / math.e))


# ---------------------------------------------------------------- 17.4


def fakes_by_loop(h, p0, p1, at=0.0):
    count = 0
    while at < h:
        at += math.log(p1 / p0)
        count += 1
    return count


def fakes_by_division(h, p0, p1, at=0.0):
    return int(max(0, -((at - h) // np.log(p1 / p0))))


def fakes_over(guarded):
    """One too many where the division comes out even."""

    def answer(h, p0, p1, at=0.0):
        if guarded and at >= h:
            return 0
        return max(0, 1 + int((h - at) / math.log(p1 / p0)))

    return answer


def fakes_with(step, rounding=math.ceil):
    return lambda h, p0, p1, at=0.0: max(0, rounding((h - at) / step(p0, p1)))


# ---------------------------------------------------------------- 17.5


def near_with(kinds="swap drop insert key", shortest=4, lower=True, pattern="[a-z]+", known=True,
              give=bool, new=string.ascii_lowercase, instead=string.ascii_lowercase,
              enough=lambda shared: len(shared) > 0):  # fmt: skip
    """Answers to 17.5 that do one thing in another way."""

    def answer(text, vocabulary):
        found = []
        for w in re.findall(pattern, text.lower() if lower else text):
            if len(w) < shortest or known and w in vocabulary:
                continue
            made = set()
            for i in range(len(w) + 1):
                a, b = w[:i], w[i:]
                if "swap" in kinds and len(b) > 1:
                    made.add(a + b[1] + b[0] + b[2:])
                if "insert" in kinds and b:
                    made.add(a + b[1:])
                if "drop" in kinds:
                    made |= {a + c + b for c in new}
                if "key" in kinds and b:
                    made |= {a + c + b[1:] for c in instead}
            found += [w] * enough((made - {w}) & set(vocabulary))
        return give(found)

    return answer


def near_soon(text, vocabulary):
    """It returns after the first unknown word."""
    for w in re.findall("[a-z]+", text.lower()):
        if len(w) >= 4 and w not in vocabulary:
            return near_with()(w, vocabulary)
    return False


def near_itself(text, vocabulary):
    words = re.findall("[a-z]{4,}", text.lower())
    return near_with()(text, vocabulary) or any(w in vocabulary for w in words)


def near_inside(first=0, last=0):
    """The first or the last place of a word is left out."""

    def answer(text, vocabulary):
        for w in re.findall("[a-z]+", text.lower()):
            made = set()
            for i in range(first, len(w) + 1 - last):
                a, b = w[:i], w[i:]
                made |= {a + b[1] + b[0] + b[2:]} if len(b) > 1 + last else set()
                made |= {a + b[1:]} if len(b) > last else set()
                for c in string.ascii_lowercase:
                    made |= {a + c + b, a + c + b[1:]} if len(b) > last else {a + c + b}
            if len(w) > 3 and w not in vocabulary and made & vocabulary:
                return True
        return False

    return answer


def near_but_front(kind):
    """A swap of the first two letters, or a letter too many before the word, is not undone."""

    def answer(text, vocabulary):
        for w in re.findall("[a-z]+", text.lower()):
            made = set()
            for i in range(len(w) + 1):
                a, b = w[:i], w[i:]
                if len(b) > 1 and not (kind == "swap" and i == 0):
                    made.add(a + b[1] + b[0] + b[2:])
                if b and not (kind == "insert" and i == 0):
                    made.add(a + b[1:])
                made |= {a + c + b for c in string.ascii_lowercase}
                made |= {a + c + b[1:] for c in string.ascii_lowercase if b}
            if len(w) > 3 and w not in vocabulary and made & vocabulary:
                return True
        return False

    return answer


def near_by_ratio(text, vocabulary):
    words = re.findall("[a-z]{4,}", text.lower())
    return any(w not in vocabulary and SequenceMatcher(None, w, v).ratio() > 0.8
               for w in words for v in vocabulary)  # fmt: skip


def near_unknown(text, vocabulary):
    return any(w not in vocabulary for w in re.findall("[a-z]{4,}", text.lower()))


def near_from_vocabulary(text, vocabulary):
    """The other way round: all slips of all known words."""
    letters = string.ascii_lowercase
    slips = set()
    for v in vocabulary:
        for i in range(len(v) + 1):
            a, b = v[:i], v[i:]
            slips |= {a + b[1:]} | {a + c + b for c in letters} | {a + c + b[1:] for c in letters}
            slips |= {a + b[1] + b[0] + b[2:]} if len(b) > 1 else set()
    words = {w for w in re.findall("[A-Za-z]+", text)}
    return any(len(w) > 3 and w.lower() in slips - vocabulary for w in words)


def near_learning(text, vocabulary):
    found = near_with()(text, vocabulary)
    vocabulary.update(re.findall("[a-z]+", text.lower()))
    return found


RIGHT = [
    ("17.1", cusum_by_walk),
    ("17.1", cusum_by_loop),
    ("17.1", cusum_with(change=None)),
    ("17.2", ewma_recursive),
    ("17.2", ewma_with()),
    ("17.3", calibrate_with()),
    ("17.3", calibrate_by_halves()),
    ("17.3", calibrate_by_halves(length=3)),
    ("17.3", calibrate_by_scan),
    ("17.3", calibrate_with(runs=1500, length=3, after=np.float64)),
    ("17.4", fakes_by_loop),
    ("17.4", fakes_by_division),
    ("17.5", near_with()),
    ("17.5", near_from_vocabulary),
]

WRONG = [
    ("17.1", cusum_with(reset=False), "since the beginning"),
    ("17.1", cusum_best_only, "falls below 0"),
    ("17.1", cusum_above_lowest, "begins with the first item is missed"),
    ("17.1", cusum_with(terms=lambda up, down: (-up, -down)), "not as expected"),
    ("17.1", cusum_with(terms=lambda up, down: (down, up)), "swapped"),
    ("17.1", cusum_with(terms=lambda up, down: (up, 0.0)), "0 changes nothing"),
    ("17.1", cusum_with(terms=lambda up, down: (up, up)), "a 0 adds as much as a 1"),
    ("17.1", cusum_with(terms=lambda up, down: (down, down)), "a 1 adds the term of a 0"),
    ("17.1", cusum_of_last(39), "only the last items"),
    ("17.1", cusum_of_last(200), "only the last items"),
    ("17.1", cusum_with(after=lambda out: np.minimum(out, 10)), "no upper end"),
    ("17.1", cusum_with(log=math.log10), "base 10"),
    ("17.1", cusum_with(make=np.empty_like), "cut to whole"),
    ("17.1", cusum_with(after=lambda out: out[..., -1]), "shape|after the last"),
    ("17.1", cusum_with(change=clear), "changes what it was given"),
    ("17.1", cusum_with(after=lambda out: None), "None"),
    ("17.1", cusum_with(after=lambda out: out.tolist()), "numpy array, not list"),
    ("17.1", cusum_one_stream, "several streams at once"),
    ("17.1", cusum_across, "first axis"),
    ("17.1", cusum_with(after=lambda out: out > 3), "hold numbers"),
    ("17.2", ewma_with(start=0.0), "begins at 0"),
    ("17.2", ewma_with(start="first"), "begins at the first"),
    ("17.2", ewma_with(weight=lambda lam: 1 - lam), "swapped"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: np.full(n, lam / (2 - lam) * p * (1 - p))),
     "very many items, the same for all"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: lam / (2 - lam) * p * (1 - p)),
     "numpy array|shape"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: np.sqrt(s * p * (1 - p))),
     "standard deviation"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: s * p), "1 − p0 is missing"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: p * (1 - p) / np.arange(1, n + 1)),
     "equal weights"),
    ("17.2", ewma_with(after=lambda z, v: (z.astype(int), v)), "whole numbers"),
    ("17.2", ewma_before, "before each item"),
    ("17.2", ewma_with(after=lambda z, v: (z.tolist(), v)), "numpy array, not list"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: s), r"p0\(1 − p0\) is missing"),
    ("17.2", ewma_with(variance=lambda p, lam, n, s: p * (1 - p) * np.cumsum(
        lam * (1 - lam) ** np.arange(n))), "each is squared"),
    ("17.2", ewma_with(after=lambda z, v: z), "two things|shape"),
    ("17.2", ewma_with(after=lambda z, v: None), "None"),
    ("17.2", ewma_with(change=clear), "changes what it was given"),
    ("17.3", calibrate_with(mean=lambda before, n: np.median(before + 1)), "median run"),
    ("17.3", calibrate_one_item, "clusters"),
    ("17.3", calibrate_by_maximum, "items pass until an alarm"),
    ("17.3", calibrate_with(length=1, mean=without), "items pass until an alarm"),
    ("17.3", calibrate_with(length=2, mean=cut), "not of runs"),
    ("17.3", calibrate_with(length=4, mean=without), "left out"),
    ("17.3", calibrate_by_argmax, "argmax of a row"),
    ("17.3", calibrate_quantile, "until an alarm(?!.*median run)"),
    ("17.3", calibrate_by_halves(keep_lower=False), "kept the wrong half"),
    ("17.3", calibrate_by_halves(mean=without), "is left out"),
    ("17.3", calibrate_by_halves(mean=cut), "ends with an alarm"),
    ("17.3", calibrate_by_halves(mean=own_item_forgotten), "raises the alarm is not counted"),
    ("17.3", calibrate_with(mean=own_item_forgotten), "raises the alarm is not counted"),
    ("17.3", calibrate_by_halves(mean=taken_off), "alarms are taken off"),
    ("17.3", calibrate_by_halves(mean=one_each), "one is added for each run"),
    ("17.3", calibrate_by_halves(mean=last_missed), "last item of its stream"),
    ("17.3", calibrate_by_halves(mean=half_counted), "only a part is counted"),
    ("17.3", calibrate_by_halves(mean=lambda before, n: np.median(before + 1)), "median run"),
    ("17.3", calibrate_mean_of_highest, "mean of the highest"),
    ("17.3", calibrate_one_in_e, "a share 1/e"),
    ("17.3", calibrate_with(rate=0.3), "items pass until an alarm"),
    ("17.3", calibrate_with(after=lambda h: None), "None"),
    ("17.3", calibrate_with(after=lambda h: [h]), "should be a number"),
    ("17.3", calibrate_with(generator=np.random.default_rng), "come from `rng`"),
    ("17.3", calibrate_with(generator=lambda: np.random), "come from `rng`"),
    ("17.4", lambda h, p0, p1, at=0.0: math.ceil(h / math.log(p1 / p0)), "`at` is left out"),
    ("17.4", lambda h, p0, p1, at=0.0: max(0, int((h - at) / math.log(p1 / p0))), "rounded down"),
    ("17.4", lambda h, p0, p1, at=0.0: max(0, math.ceil((h - at) / math.log(p1 / p0))) + 1,
     "one too many"),
    ("17.4", lambda h, p0, p1, at=0.0: max(0, math.ceil((h - at) / math.log10(p1 / p0))),
     "base 10"),
    ("17.4", lambda h, p0, p1, at=0.0: max(0, math.ceil((h - at) / (p1 - p0))), "not p1 − p0"),
    ("17.4", lambda h, p0, p1, at=0.0: max(1, math.ceil((h - at) / math.log(p1 / p0))),
     "at least one"),
    ("17.4", lambda h, p0, p1, at=0.0: max(0, int((h - at) / math.log(p1 / p0) + 0.999)),
     "or nearly"),
    ("17.4", fakes_over(True), "whole number of steps"),
    ("17.4", fakes_over(False), "0 among them"),
    ("17.4", fakes_with(lambda p0, p1: p1), r"not p1\n"),
    ("17.4", fakes_with(lambda p0, p1: p1 / p0), "logarithm is left out"),
    ("17.4", fakes_with(lambda p0, p1: math.log(p1 / p0), round), "nearest"),
    ("17.4", lambda h, p0, p1, at=0.0: float(math.ceil((h - at) / math.log(p1 / p0))), "an int"),
    ("17.4", lambda h, p0, p1, at=0.0: math.ceil((h - at) / math.log(p1 / p0)), "negative"),
    ("17.4", lambda h, p0, p1, at=0.0: math.ceil((at - h) / math.log(p1 / p0)), "not at − h"),
    ("17.4", lambda h, p0, p1, at=0.0: None, "None"),
    ("17.5", near_with(kinds="swap"), "only swapped"),
    ("17.5", near_with(kinds="key"), "only another letter is undone"),
    ("17.5", near_with(kinds="drop"), "only a missing letter is undone"),
    ("17.5", near_but_front("swap"), "swap of the first two"),
    ("17.5", near_but_front("insert"), "very beginning"),
    ("17.5", near_with(kinds="drop insert key"), "swapped letters are not undone"),
    ("17.5", near_with(kinds="swap insert key"), "missing letter is not undone"),
    ("17.5", near_with(shortest=1), "three letters and fewer"),
    ("17.5", near_with(shortest=5), "four letters do not count"),
    ("17.5", near_with(lower=False, pattern="[A-Za-z]+"), "capitals"),
    ("17.5", near_with(known=False), "what is known is no miss"),
    ("17.5", near_with(pattern=r"\S+"), "stays at its word"),
    ("17.5", near_with(pattern=r"\w+"), "digits and _"),
    ("17.5", near_soon, "first unknown word"),
    ("17.5", near_itself, "near miss of itself"),
    ("17.5", near_inside(first=1), "first letter"),
    ("17.5", near_inside(last=1), "last letter"),
    ("17.5", near_with(enough=lambda shared: len(shared) == 1), "one is enough"),
    ("17.5", near_with(new=string.ascii_lowercase[:-1]), "letter z is never put in where"),
    ("17.5", near_with(instead=string.ascii_lowercase[:-1]), "letter z is never put in place"),
    ("17.5", near_with(new=string.ascii_lowercase[1:], instead=string.ascii_lowercase[1:]),
     "letter a is never put in, nor"),
    ("17.5", near_with(give=list), "True or False"),
    ("17.5", near_with(give=len), "True or False"),
    ("17.5", near_unknown, "an unknown word"),
    ("17.5", near_by_ratio, "not as expected"),
    ("17.5", near_learning, "changes what it was given"),
]
