"""Right and wrong answers to the exercises of lesson 11."""

import itertools
import math

import numpy as np
import torch
from scipy.stats import beta, binom

from advlib.corpora import replace, words

# ---------------------------------------------------------------- right answers


def affine_by_signs(weight, bias, lower, upper):
    """Each input at the end that is worst for the output: positive and negative weights apart."""
    plus, minus = weight.clamp(min=0), weight.clamp(max=0)
    return lower @ plus.T + upper @ minus.T + bias, upper @ plus.T + lower @ minus.T + bias


def affine_by_loop(weight, bias, lower, upper):
    low, high = [], []
    for row, b in zip(weight, bias, strict=True):
        ends = torch.stack([lower * row, upper * row])
        low.append(ends.amin(0).sum(1) + b)
        high.append(ends.amax(0).sum(1) + b)
    return torch.stack(low, 1), torch.stack(high, 1)


def softmax_by_class(lower, upper):
    low, high = torch.empty_like(lower), torch.empty_like(upper)
    for k in range(lower.shape[1]):
        one, other = upper.clone(), lower.clone()
        one[:, k], other[:, k] = lower[:, k], upper[:, k]
        low[:, k], high[:, k] = one.softmax(1)[:, k], other.softmax(1)[:, k]
    return low, high


def softmax_by_differences(lower, upper):
    """1 / (1 + the sum of exp(others − own)), with the largest taken out."""

    def share(own, others):
        gap = others[:, None, :] - own[:, :, None]
        gap = gap.masked_fill(torch.eye(own.shape[1], dtype=torch.bool), 0.0)
        return (-gap.logsumexp(2)).exp()

    return share(lower, upper), share(upper, lower)


def worst_by_recursion(text, options, margins):
    texts = [text]
    for i, found in enumerate(options):
        texts += [replace(t, {i: w}) for t in list(texts) for w in found]
    pairs = []
    for start in range(0, len(texts), 500):
        some = texts[start : start + 500]
        pairs += zip(margins(some), some, strict=True)
    least, worst = min(pairs)
    return worst, float(least)


def worst_as_it_goes(text, options, margins):
    free = [i for i, found in enumerate(options) if found]
    found, best = words(text), (text, math.inf)
    every = itertools.product(*((found[i], *options[i]) for i in free))
    while some := list(itertools.islice(every, 256)):
        texts = [replace(text, dict(zip(free, chosen, strict=True))) for chosen in some]
        values = np.asarray(margins(texts))
        k = int(values.argmin())
        best = min(best, (texts[k], float(values[k])), key=lambda pair: pair[1])
    return best


def bound_by_bisection(hits, n, alpha):
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if binom.sf(hits - 1, n, p) < alpha else (low, p)
    return low


def bound_by_interval(hits, n, alpha):
    from scipy.stats import binomtest

    found = binomtest(hits, n).proportion_ci(1 - 2 * alpha, "exact")
    return found.low


def distance_by_counting(here, there):
    total = 0.0
    both = [itertools.product(*sets) for sets in ([set(a) & set(b) for a, b in
                                                   zip(here, there, strict=True)],)]  # fmt: skip
    if len(here) > 10:  # too many to count: the same by multiplication
        return 1 - math.prod(len(set(a) & set(b)) for a, b in zip(here, there, strict=True)) * min(
            1 / math.prod(map(len, here)), 1 / math.prod(map(len, there)))  # fmt: skip
    smaller = min(1 / math.prod(map(len, here)), 1 / math.prod(map(len, there)))
    for _ in both[0]:
        total += smaller
    return 1 - total


def distance_by_logs(here, there):
    common = [len(set(a) & set(b)) for a, b in zip(here, there, strict=True)]
    if 0 in common:
        return 1.0
    most = max(sum(math.log(len(a)) for a in sets) for sets in (here, there))
    return -math.expm1(sum(map(math.log, common)) - most)


RIGHT = [
    ("11.2", affine_by_signs),
    ("11.2", affine_by_loop),
    ("11.2", lambda w, b, lo, hi: tuple((lo + hi) / 2 @ w.T + b + s * ((hi - lo) / 2 @ w.abs().T)
                                        for s in (-1, 1))),
    ("11.3", softmax_by_class),
    ("11.3", softmax_by_differences),
    ("11.1", worst_by_recursion),
    ("11.1", worst_as_it_goes),
    ("11.4", bound_by_bisection),
    ("11.4", bound_by_interval),
    ("11.4", lambda k, n, a: k and beta.isf(1 - a, k, n - k + 1)),
    ("11.5", distance_by_counting),
    ("11.5", distance_by_logs),
]  # fmt: skip


# ---------------------------------------------------------------- wrong answers


def affine_in_place(weight, bias, lower, upper):
    lower += 0.0
    weight.abs_()
    return affine_by_signs(weight, bias, lower, upper)


def affine_two_corners(w, b, lo, hi):
    ends = torch.stack([lo @ w.T + b, hi @ w.T + b])
    return ends.amin(0), ends.amax(0)


def affine_bias_widens(w, b, lo, hi):
    centre, radius = (lo + hi) / 2 @ w.T, (hi - lo) / 2 @ w.abs().T
    return centre - radius, centre + radius + 2 * b


def affine_twice(w, b, lo, hi):
    centre, radius = (lo + hi) / 2 @ w.T + b, (hi - lo) @ w.abs().T
    return centre - radius, centre + radius


def affine_random(w, b, lo, hi):
    """What random points find: inside the true box."""
    g = torch.Generator().manual_seed(0)
    share = torch.rand(200, *lo.shape, generator=g, dtype=lo.dtype)
    found = (lo + share * (hi - lo)) @ w.T + b
    return found.amin(0), found.amax(0)


def softmax_overflow(lower, upper):
    own_low, own_high = lower.exp(), upper.exp()
    total_low, total_high = (e.sum(1, keepdim=True) for e in (own_low, own_high))
    return (own_low / (own_low + total_high - own_high),
            own_high / (own_high + total_low - own_low))  # fmt: skip


def softmax_minus_largest(lower, upper):
    """The largest end is taken out, but the others are found as the sum minus the own one."""
    most = upper.amax(1, keepdim=True)
    own_low, own_high = (lower - most).exp(), (upper - most).exp()
    total_low, total_high = (e.sum(1, keepdim=True) for e in (own_low, own_high))
    return (own_low / (own_low + total_high - own_high),
            own_high / (own_high + total_low - own_low))  # fmt: skip


def softmax_minus_largest_careful(lower, upper):
    """The same without NaN: what is rounded away is wrong all the same."""
    return tuple(e.nan_to_num(0.5, 1.0, 0.0) for e in softmax_minus_largest(lower, upper))


def softmax_too_wide(lower, upper):
    return ((lower - upper.logsumexp(1, keepdim=True)).exp(),
            (upper - lower.logsumexp(1, keepdim=True)).exp())  # fmt: skip


def softmax_in_place(lower, upper):
    own = upper - lower
    upper -= own
    return softmax_by_class(upper, upper + own)


def worst_single(text, options, margins):
    texts = [text] + [replace(text, {i: w}) for i, found in enumerate(options) for w in found]
    found = margins(texts)
    return texts[int(np.argmin(found))], float(np.min(found))


def worst_greedy(text, options, margins):
    best, least = text, float(margins([text])[0])
    for i, found in enumerate(options):
        for w in found:
            new = replace(best, {i: w})
            value = float(margins([new])[0])
            if value < least:
                best, least = new, value
    return best, least


def worst_all_changed(text, options, margins):
    free = [i for i, found in enumerate(options) if found]
    texts = [replace(text, dict(zip(free, c, strict=True)))
             for c in itertools.product(*(options[i] for i in free))]  # fmt: skip
    found = np.concatenate([margins(texts[i : i + 512]) for i in range(0, len(texts), 512)])
    return texts[int(found.argmin())], float(found.min())


def worst_with(choose, size=512, give=None):
    def answer(text, options, margins):
        choices = [(w, *o) for w, o in zip(words(text), options, strict=True)]
        texts = [replace(text, dict(enumerate(c))) for c in itertools.product(*choices)]
        found = np.concatenate([margins(texts[i : i + size]) for i in range(0, len(texts), size)])
        k = int(choose(found))
        return give(texts, found, k) if give else (texts[k], float(found[k]))

    return answer


def worst_within_piece(text, options, margins):
    choices = [(w, *o) for w, o in zip(words(text), options, strict=True)]
    texts = [replace(text, dict(enumerate(c))) for c in itertools.product(*choices)]
    best, least = "", math.inf
    for start in range(0, len(texts), 512):
        found = margins(texts[start : start + 512])
        k = int(found.argmin())
        if found[k] < least:
            best, least = texts[k], float(found[k])
    return best, least


def worst_without_marks(text, options, margins):
    choices = [(w, *o) for w, o in zip(words(text), options, strict=True)]
    texts = [" ".join(c) for c in itertools.product(*choices)]
    found = np.concatenate([margins(texts[i : i + 512]) for i in range(0, len(texts), 512)])
    return texts[int(found.argmin())], float(found.min())


def worst_changes_options(text, options, margins):
    for i, w in enumerate(words(text)):
        options[i] = (w, *options[i])
    return worst_by_recursion(text, options, margins)


def bound_by_more(hits, n, alpha):
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if binom.sf(hits, n, p) < alpha else (low, p)
    return low if hits else 0.0


def distance_by_numpy(here, there):
    """Whole numbers of 64 bits overflow."""
    common = np.prod([len(set(a) & set(b)) for a, b in zip(here, there, strict=True)])
    with np.errstate(all="ignore"):
        return 1 - common / max(np.prod([len(a) for a in x]) for x in (here, there))


def products(here, there):
    common = math.prod(len(set(a) & set(b)) for a, b in zip(here, there, strict=True))
    return common, *(math.prod(map(len, x)) for x in (here, there))


def distance_of_sums(here, there):
    return sum(1 - len(set(a) & set(b)) / max(len(a), len(b))
               for a, b in zip(here, there, strict=True))  # fmt: skip


def shares(here, there, size):
    return [len(set(a) & set(b)) / size(a, b) for a, b in zip(here, there, strict=True)]


# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("11.2", lambda w, b, lo, hi: (lo @ w.T + b, hi @ w.T + b), "absolute"),
    ("11.2", affine_two_corners, "only two corners"),
    ("11.2", lambda w, b, lo, hi: ((lo + hi) / 2 @ w.T + b, (hi - lo) / 2 @ w.abs().T),
     "centre − radius"),
    ("11.2", affine_bias_widens, "not as expected"),
    ("11.2", affine_twice, "twice too large"),
    ("11.2", affine_random, "not as expected"),
    ("11.2", lambda w, b, lo, hi: affine_by_signs(w, 0 * b, lo, hi), "bias is missing"),
    ("11.2", lambda w, b, lo, hi: affine_by_signs(w, b, lo, hi)[::-1], "swapped"),
    ("11.2", lambda w, b, lo, hi: (lo @ w.abs().T + b, hi @ w.abs().T + b), "centre"),
    ("11.2", affine_in_place, "in place|changes"),
    ("11.2", lambda w, b, lo, hi: affine_by_signs(w, b, lo, hi)[0], "two things"),
    ("11.2", lambda w, b, lo, hi: [e.T for e in affine_by_signs(w, b, lo, hi)], "shape"),
    ("11.2", lambda w, b, lo, hi: [e.float() for e in affine_by_signs(w, b, lo, hi)], "float32"),
    ("11.2", lambda w, b, lo, hi: None, "None"),
    ("11.3", lambda lo, hi: (lo.softmax(1), hi.softmax(1)), "own logit is low"),
    ("11.3", softmax_too_wide, "too wide"),
    ("11.3", softmax_overflow, "not finite"),
    ("11.3", softmax_minus_largest, "rounded away"),
    ("11.3", softmax_minus_largest_careful, "rounded away"),
    ("11.3", lambda lo, hi: softmax_by_class(lo, hi)[::-1], "swapped"),
    ("11.3", lambda lo, hi: (lo.softmax(0), hi.softmax(0)), "first dimension"),
    ("11.3", lambda lo, hi: (torch.zeros_like(lo), torch.ones_like(hi)), "not as expected"),
    ("11.3", lambda lo, hi: [e.numpy() for e in softmax_by_class(lo, hi)], "tensor"),
    ("11.3", lambda lo, hi: softmax_by_class(lo.float(), hi.float()), "float32"),
    ("11.3", softmax_in_place, "in place|changes"),
    ("11.3", lambda lo, hi: torch.stack(softmax_by_class(lo, hi)), "two things"),
    ("11.1", worst_single, "one word at a time"),
    ("11.1", worst_greedy, "variants were tried|far too slow"),
    ("11.1", worst_all_changed, "stay as it is"),
    ("11.1", worst_with(np.argmax), "largest margin"),
    ("11.1", worst_with(lambda v: np.abs(v).argmin()), "nearest to zero"),
    ("11.1", worst_with(lambda v: len(v) - 1), "last text"),
    ("11.1", worst_with(np.argmin, size=100_000), "at once"),
    ("11.1", worst_with(np.argmin, size=1), "far too slow"),
    ("11.1", worst_with(np.argmin, give=lambda t, v, k: (k, float(v[k]))), "index"),
    ("11.1", worst_with(np.argmin, give=lambda t, v, k: t[k]), "two things"),
    ("11.1", worst_with(np.argmin, give=lambda t, v, k: (t[k], v)), "one number"),
    ("11.1", worst_with(np.argmin, give=lambda t, v, k: (t[k], float(v[0]))), "not that of"),
    ("11.1", worst_within_piece, "within its piece"),
    ("11.1", worst_without_marks, "punctuation"),
    ("11.1", worst_changes_options, "changes its input"),
    ("11.1", lambda text, options, margins: (text, 0.0), "never called"),
    ("11.4", lambda k, n, a: k / n, "no bound"),
    ("11.4", lambda k, n, a: beta.ppf(a / 2, k, n - k + 1) if k else 0.0, "cut in half"),
    ("11.4", lambda k, n, a: beta.ppf(1 - a, k + 1, n - k) if k < n else 1.0, "upper bound"),
    ("11.4", lambda k, n, a: beta.ppf(1 - a, k, n - k + 1) if k else 0.0, "swapped"),
    ("11.4", lambda k, n, a: beta.ppf(a, k + 1, n - k) if k < n else 1.0, "hits - 1"),
    ("11.4", bound_by_more, "hits - 1"),
    ("11.4", lambda k, n, a: beta.ppf(a, k + 1, n - k), "where hits is n"),
    ("11.4", lambda k, n, a: max(0.0, k / n - (math.log(1 / a) / (2 * n)) ** 0.5), "Hoeffding"),
    ("11.4", lambda k, n, a: beta.ppf(a, k, n - k + 1), "nan"),
    ("11.4", lambda k, n, a: (bound_by_bisection(k, n, a), 1.0), "one number"),
    ("11.4", lambda k, n, a: None, "None"),
    ("11.5", lambda h, t: math.prod(shares(h, t, lambda a, b: max(len(a), len(b)))), "overlap"),
    ("11.5", lambda h, t: products(h, t)[0] / max(products(h, t)[1:]), "overlap"),
    ("11.5", lambda h, t: 1 - products(h, t)[0] / min(products(h, t)[1:]), "more choices"),
    ("11.5", distance_by_numpy, "overflow"),
    ("11.5", distance_of_sums, "added up"),
    ("11.5", lambda h, t: min(1, distance_of_sums(h, t)), "cut at 1"),
    ("11.5", lambda h, t: 1 - math.prod(shares(h, t, lambda a, b: len({*a, *b}))), "Jaccard"),
    ("11.5", lambda h, t: 1 - math.prod(shares(h, t, lambda a, b: len(a))), "first set"),
    ("11.5", lambda h, t: 1 - math.prod(shares(h, t, lambda a, b: min(len(a), len(b)))), "smaller"),
    ("11.5", lambda h, t: 1 - math.prod(shares(h, t, lambda a, b: max(len(a), len(b)))),
     "word by word"),
    ("11.5", lambda h, t: 1 - min(shares(h, t, lambda a, b: max(len(a), len(b)))), "worst word"),
    ("11.5", lambda h, t: 2 * distance_by_logs(h, t), "twice"),
    ("11.5", lambda h, t: shares(h, t, lambda a, b: len(a)), "one number"),
    ("11.5", lambda h, t: h.pop() and 0.5, "changes|input"),
]  # fmt: skip
