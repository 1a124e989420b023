"""Right and wrong answers to the exercises of lesson 18."""

import math

import numpy as np

from advlib.corpora import replace
from advlib.statistics import wilson
from advlib.systems.ranking import ndcg, promote

# ---------------------------------------------------------------- 18.1


def ndcg_of_library(relevance, scores, k):
    return ndcg(relevance[None], scores[None], k)[0]


def ndcg_by_items(relevance, scores, k):
    """Item by item, from how many are above it and how many beside it."""

    def gain(order):
        total = 0.0
        for i, score in enumerate(order):
            above, beside = int((order > score).sum()), int((order == score).sum())
            weights = [1 / math.log2(2 + p) if p < k else 0.0 for p in range(above, above + beside)]
            total += relevance[i] * sum(weights) / beside
        return total

    best = gain(relevance)
    return gain(scores) / best if best else math.nan


def ndcg_with(sign=-1, discount=lambda p: 1 / np.log2(2 + p), form=lambda r: r, best="all"):
    """Answers to 18.1 that let the order of items decide ties, and more."""

    def answer(relevance, scores, k):
        order = np.argsort(sign * scores, kind="stable")[:k]
        weights = discount(np.arange(len(order)))
        gain = (form(relevance[order]) * weights).sum()
        ideal = relevance if best == "all" else relevance[order]
        top = (form(np.sort(ideal)[::-1][:k]) * weights[: len(ideal)]).sum()
        if top == 0:
            return math.nan
        return float(gain if best == "none" else gain / top)

    return answer


def ndcg_in_place(relevance, scores, k):
    result = ndcg_by_items(relevance, scores, k)
    relevance.sort()
    return result


def ndcg_plain_gain(relevance, scores, k):
    best = ndcg_of_library(relevance, scores, k)
    top = np.sort(relevance)[::-1][:k]
    return best * (top / np.log2(2 + np.arange(len(top)))).sum() if top.sum() else math.nan


# ---------------------------------------------------------------- 18.2


def leak_row_by_row(features, log, asked):
    table = features(log, asked)
    found = set()
    for label in asked.index:
        row = asked.loc[[label]]
        then = features(log[log["day"] < row["day"].iloc[0]], row)
        for name in table:
            a, b = table.at[label, name], then.at[label, name]
            if not (a == b or (math.isnan(a) and math.isnan(b))):
                found.add(name)
    return [name for name in table if name in found]


def leak_with(earlier=lambda log, day: log[log["day"] < day], nan=True, give=list):
    """Answers to 18.2 that do one thing in another way."""

    def answer(features, log, asked):
        table, found = features(log, asked), set()
        for day, rows in asked.groupby("day"):
            then = features(earlier(log, day), rows)
            for name in table:
                if not np.array_equal(table.loc[rows.index, name], then[name], equal_nan=nan):
                    found.add(name)
        return give(name for name in table if name in found)

    return answer


def leak_flipped(log, day):
    return log.assign(clicked=log["clicked"].where(log["day"] < day, 1 - log["clicked"]))


def leak_one_cut(features, log, asked):
    table = features(log, asked)
    then = features(log[log["day"] < asked["day"].min()], asked)
    return [n for n in table if not np.array_equal(table[n], then[n], equal_nan=True)]


def leak_sorts(features, log, asked):
    result = leak_row_by_row(features, log, asked)
    asked["day"] = sorted(asked["day"])
    return result


def leak_zeroes(features, log, asked):
    result = leak_row_by_row(features, log, asked)
    log["clicked"] = 0
    return result


# ---------------------------------------------------------------- 18.3


def exposure_sorted(scores, item, k):
    first = np.argsort(-scores, axis=1)[:, :k]
    hits = sum(item in row for row in first.tolist())
    return (hits / len(scores), *wilson(hits, len(scores)))


def exposure_formula(scores, item, k):
    n, z = len(scores), 1.96
    p = float(((scores >= scores[:, item, None]).sum(1) <= k).mean())
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return p, centre - half, centre + half


def exposure_with(change=lambda p, low, high, n: (p, low, high), sign=1, more=0):
    def answer(scores, item, k):
        own = sign * scores
        hits, n = int(((own > own[:, [item]]).sum(1) < k + more).sum()), len(scores)
        return change(hits / n, *wilson(hits, n), n)

    return answer


def exposure_wald(p, low, high, n):
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return p, p - half, p + half


def exposure_in_place(scores, item, k):
    result = exposure_sorted(scores, item, k)
    scores.sort(axis=1)
    return result


# ---------------------------------------------------------------- 18.4


def promote_by_library(score, text, options, most):
    found = promote(score, text, options, most)
    return found.text, found.after


def promote_with(order=True, keep=True, one=True, limit=True, what=None):
    """Answers to 18.4 that do one thing in another way."""

    def answer(score, text, options, most):
        best = float(score([text])[0])
        gains = {i: max(float(score([replace(text, {i: w})])[0]) for w in found)
                 for i, found in enumerate(options) if found}  # fmt: skip
        chosen = {}
        for i in sorted(gains, key=gains.get, reverse=True) if order else gains:
            if limit and len(chosen) >= most:
                break
            earned = [float(x) for x in
                      score([replace(text, (chosen if one else {}) | {i: w}) for w in options[i]])]
            top = int(np.argmax(earned))
            if earned[top] > best or not keep:
                chosen, best = chosen | {i: options[i][top]}, earned[top]
        new = replace(text, chosen)
        return what(new, best) if what else (new, best)

    return answer


def promote_rounds(score, text, options, most):
    chosen, best = {}, float(score([text])[0])
    for _ in range(most):
        tries = [chosen | {i: w} for i, found in enumerate(options) for w in found
                 if i not in chosen]  # fmt: skip
        if not tries:
            break
        earned = score([replace(text, c) for c in tries])
        top = int(np.argmax(earned))
        if earned[top] <= best:
            break
        chosen, best = tries[top], float(earned[top])
    return replace(text, chosen), best


def promote_pops(score, text, options, most):
    result = promote_by_library(score, text, options, most)
    options[1] = ()
    return result


def promote_one_text(score, text, options, most):
    return text, score(text)


def promote_added(score, text, options, most):
    new = text + " " + options[3][1]
    return new, float(score([new])[0])


def promote_before(score, text, options, most):
    found = promote(score, text, options, most)
    return found.text, found.before


RIGHT = [
    ("18.1", ndcg_of_library),
    ("18.1", ndcg_by_items),
    ("18.2", leak_row_by_row),
    ("18.2", leak_with()),
    ("18.3", exposure_sorted),
    ("18.3", exposure_formula),
    ("18.4", promote_by_library),
    ("18.4", promote_with()),
]

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("18.1", ndcg_with(), "the order in which the items came"),
    ("18.1", ndcg_with(sign=1), "not as expected"),
    ("18.1", ndcg_with(best="first"), "not as expected"),
    ("18.1", ndcg_plain_gain, "not divided by"),
    ("18.1", ndcg_with(discount=lambda p: np.ones(len(p))), "not as expected"),
    ("18.1", lambda r, s, k: ndcg_of_library(2**r - 1, s, k), "another gain"),
    ("18.1", lambda r, s, k: np.nan_to_num(ndcg_of_library(r, s, k)), "the result is nan"),
    ("18.1", ndcg_in_place, "changes an array"),
    ("18.1", lambda r, s, k: ndcg(r[None], s[None], k), "should be a number"),
    ("18.1", lambda r, s, k: None, "None"),
    ("18.2", leak_with(earlier=lambda log, day: log[log["day"] <= day]), "same day"),
    ("18.2", leak_with(earlier=leak_flipped), "counts rows"),
    ("18.2", leak_with(nan=False), "honest column is accused"),
    ("18.2", leak_one_cut, "honest column|not the columns"),
    ("18.2", leak_with(give=set), "list of names"),
    ("18.2", leak_with(give=lambda found: sorted(found)), "as in the table"),
    ("18.2", leak_sorts, "changes the table"),
    ("18.2", leak_zeroes, "changes the table"),
    ("18.2", lambda f, log, asked: None, "None"),
    ("18.3", exposure_with(exposure_wald), "not Wilson"),
    ("18.3", exposure_with(sign=-1), "lowest scores"),
    ("18.3", exposure_with(more=1), "one place too many"),
    ("18.3", exposure_with(more=-1), "one place too few"),
    ("18.3", exposure_with(lambda p, low, high, n: (p * n, low, high)), "divide by"),
    ("18.3", exposure_with(lambda p, low, high, n: (p, high, low)), "exchanged"),
    ("18.3", exposure_with(lambda p, low, high, n: p), "three things"),
    ("18.3", exposure_in_place, "changes `scores`"),
    ("18.3", lambda s, i, k: None, "None"),
    ("18.4", promote_with(order=False), "take their turns|earns less"),
    ("18.4", promote_with(keep=False), "earns less|less than before"),
    ("18.4", promote_with(one=False), "beside the text|earns less"),
    ("18.4", promote_with(limit=False), "words have changed"),
    ("18.4", promote_with(what=lambda text, best: text), "two things"),
    ("18.4", promote_rounds, "texts were asked about"),
    ("18.4", promote_pops, "changes `options`"),
    ("18.4", promote_one_text, "list of texts"),
    ("18.4", promote_added, "only words may change"),
    ("18.4", promote_before, "before the attack"),
    ("18.4", lambda score, text, options, most: None, "None"),
]
