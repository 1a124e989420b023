"""Right and wrong answers to the exercises of lesson 18."""

import itertools
import math
import random

import numpy as np

from advlib.corpora import replace, words
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
        ideal = relevance[order] if best == "first" else relevance
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


def ndcg_inside(relevance, scores, k):
    """Of a tie that crosses place k only the places up to k count in the mean."""

    def gain(order):
        total, start = 0.0, 0
        for score in np.unique(order)[::-1]:
            tied = relevance[order == score]
            places = np.arange(start, min(start + len(tied), k))
            if len(places):
                total += tied.sum() * (1 / np.log2(2 + places)).mean()
            start += len(tied)
        return total

    best = gain(relevance)
    return gain(scores) / best if best else math.nan


def ndcg_frame(gap):
    """The page's frame; gap: (relevance of tied items, their places from 1, k) -> what they add."""

    def answer(relevance, scores, k):
        def gain(order):
            total, taken = 0.0, 0
            for score in np.sort(np.unique(order))[::-1]:
                if taken >= k:
                    break
                tied = relevance[order == score]
                total += gap(tied, np.arange(taken + 1, taken + 1 + len(tied)), k)
                taken += len(tied)
            return total

        best = gain(relevance)
        return float(gain(scores) / best) if best > 0 else math.nan

    return answer


def weights_to(places, k):
    return np.where(places <= k, 1 / np.log2(1 + places), 0.0)


def ndcg_best_of_shown(relevance, scores, k):
    """Ties as they should be, but the best order is sought among the first k alone."""
    shown = np.sort(relevance[np.argsort(-scores, kind="stable")[:k]])[::-1]
    top = (np.sort(relevance)[::-1][:k] / np.log2(2 + np.arange(min(k, len(scores))))).sum()
    best = (shown / np.log2(2 + np.arange(len(shown)))).sum()
    return ndcg_by_items(relevance, scores, k) * top / best if best else math.nan


def ndcg_zero_by_zero(relevance, scores, k):
    """numpy makes 0 / 0 nan, and warns."""
    if relevance.any():
        return ndcg_by_items(relevance, scores, k)
    return relevance.sum() / relevance.sum()


def ndcg_zero_by_zero_of_python(relevance, scores, k):
    gain = ndcg_by_items(relevance, scores, k)
    return gain if relevance.any() else 0.0 / float(relevance.sum())


def ndcg_nan_behind(relevance, scores, k):
    """nan where nothing relevant is among the first k, though something is behind."""
    return ndcg_by_items(relevance, scores, k) or math.nan


def ndcg_rounded(digits):
    return lambda r, s, k: ndcg_by_items(r, np.round(s, digits), k)


def ndcg_close(relevance, scores, k):
    """Scores that np.isclose calls equal are ties."""
    ranks = np.array([np.flatnonzero(np.isclose(scores, x))[0] for x in scores])
    return ndcg_by_items(relevance, scores[ranks], k)


def ndcg_two_at_least(relevance, scores, k):
    return ndcg_by_items(relevance, scores, max(k, 2))


def ndcg_small_is_nothing(relevance, scores, k):
    return ndcg_by_items(relevance, scores, k) if relevance.max() >= 1e-3 else math.nan


def ndcg_in_float32(relevance, scores, k):
    return np.float32(ndcg_by_items(relevance, scores, k))


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


def leak_one_day(pick):
    """An answer to 18.2 that looks at the rows of one day alone."""

    def answer(features, log, asked):
        rows = asked[asked["day"] == pick(asked["day"])]
        table, then = features(log, rows), features(log[log["day"] < rows["day"].iloc[0]], rows)
        return [n for n in table if not np.array_equal(table[n], then[n], equal_nan=True)]

    return answer


def leak_compared(same, days=lambda days: days.unique(), rows=lambda rows: rows):
    """Answers to 18.2 that compare in another way, or look at some days or rows alone."""

    def answer(features, log, asked):
        table, found = features(log, asked), set()
        for day in days(asked["day"]):
            of_day = rows(asked[asked["day"] == day])
            then = features(log[log["day"] < day], of_day)
            for name in table:
                if not same(table.loc[of_day.index, name].to_numpy(), then[name].to_numpy()):
                    found.add(name)
        return [name for name in table if name in found]

    return answer


def same_rows(a, b):
    return np.array_equal(a, b, equal_nan=True)


def leak_filled(a, b):
    return np.array_equal(np.nan_to_num(a), np.nan_to_num(b))


def every_second(days):
    return sorted(days.unique())[::2]


def with_history(days):
    return sorted(days.unique())[1:]


def leak_sorts(features, log, asked):
    result = leak_row_by_row(features, log, asked)
    asked["day"] = sorted(asked["day"])
    return result


def leak_zeroes(features, log, asked):
    result = leak_row_by_row(features, log, asked)
    log["clicked"] = 0
    return result


# ---------------------------------------------------------------- 18.3


def promote_by_library(score, text, options, most):
    found = promote(score, text, options, most)
    return found.text, found.after


def promote_with(
    order=True, keep=True, one=True, limit=True, what=None, go_on=True, equal=False, turns=None,
    helpful=False, alone=False, empty=False, least=-math.inf,
):  # fmt: skip
    """Answers to 18.3 that do one thing in another way."""

    def answer(score, text, options, most):
        best = start = float(score([text])[0])
        single = {i: [float(score([replace(text, {i: w})])[0]) for w in found]
                  for i, found in enumerate(options) if found or empty}  # fmt: skip
        gains = {i: max(earned) for i, earned in single.items()}
        chosen, best = {}, max(best, least)
        for i in (sorted(gains, key=gains.get, reverse=True) if order else [*gains])[
                : most if turns else None]:  # fmt: skip
            if limit and len(chosen) >= most or helpful and gains[i] <= start:
                break
            earned = [float(x) for x in
                      score([replace(text, (chosen if one else {}) | {i: w}) for w in options[i]])]
            if alone:
                earned = single[i]
            top, bar = int(np.argmax(earned)), start if alone else best
            if earned[top] > bar or not keep or equal and earned[top] == bar:
                chosen, best = chosen | {i: options[i][top]}, earned[top]
            elif not go_on:
                break
        new = replace(text, chosen)
        best = float(score([new])[0]) if alone else best
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


def promote_asks_late(score, text, options, most):
    """Asks for `most` after a word has changed: too late where none may."""
    if most:
        return promote_by_library(score, text, options, most)
    return promote_by_library(score, text, options, None)


def promote_step_1(turn, most_of=None, few=None, margin=0.0):
    """Answers to 18.3 with another step 1, or other options, or a gain that must be larger.
    most_of: earned -> the place of the option that is taken, or None for the highest."""

    def answer(score, text, options, most):
        best, options = float(score([text])[0]), [o[:few] for o in options]
        gains = {i: turn([float(x) for x in score([replace(text, {i: w}) for w in o])])
                 for i, o in enumerate(options) if o}  # fmt: skip
        chosen = {}
        for i in sorted(gains, key=gains.get, reverse=True):
            if len(chosen) == most:
                break
            earned = score([replace(text, chosen | {i: w}) for w in options[i]])
            top = int(np.argmax(earned))
            if most_of == "first":
                top = next((j for j, x in enumerate(earned) if x > best), 0)
            if earned[top] > best + margin:
                chosen[i], best = options[i][top], float(earned[top])
        return replace(text, chosen), best

    return answer


def promote_asks_again(score, text, options, most):
    """Asks for the text so far at every turn."""
    gains = {i: max(score([replace(text, {i: w}) for w in o])) for i, o in enumerate(options) if o}
    chosen = {}
    for i in sorted(gains, key=gains.get, reverse=True):
        if len(chosen) == most:
            break
        best = score([replace(text, chosen)])[0]
        earned = score([replace(text, chosen | {i: w}) for w in options[i]])
        if max(earned) > best:
            chosen[i] = options[i][int(np.argmax(earned))]
    return replace(text, chosen), float(score([replace(text, chosen)])[0])


def promote_everywhere(score, text, options, most):
    """text.replace in place of replace(text, …)."""
    old, best, changed = words(text), float(score([text])[0]), 0
    gains = {i: max(score([text.replace(old[i], w) for w in o])) for i, o in enumerate(options)
             if o}  # fmt: skip
    for i in sorted(gains, key=gains.get, reverse=True):
        if changed == most:
            break
        tries = [text.replace(old[i], w) for w in options[i]]
        earned = score(tries)
        top = int(np.argmax(earned))
        if earned[top] > best:
            text, best, changed = tries[top], float(earned[top]), changed + 1
    return text, best


def promote_one_text(score, text, options, most):
    return text, score(text)


def promote_added(score, text, options, most):
    new = text + " " + options[3][1]
    return new, float(score([new])[0])


def promote_before(score, text, options, most):
    found = promote(score, text, options, most)
    return found.text, found.before


# ---------------------------------------------------------------- 18.4


def wordings_grown(score, text, options):
    """Each word in turn, of all texts so far; every text is asked about by itself."""
    found = {text}
    for i, more in enumerate(options):
        found = {replace(one, {i: new}) for one in found for new in (words(one)[i], *more)}
    scores = [score([one])[0] for one in found]
    return len(found), min(scores), max(scores)


def wordings_deeper(score, text, options, i=0):
    """Word i, then the rest: by recursion, with what is found kept in a dict."""

    def rest(now, i):
        if i == len(options):
            return {now: float(score([now])[0])}
        found = rest(now, i + 1)
        for new in options[i]:
            found |= rest(replace(now, {i: new}), i + 1)
        return found

    earned = rest(text, 0)
    return [len(earned), min(earned.values()), max(earned.values())]


def wordings_of(texts, give=lambda number, low, high: (number, low, high)):
    """An answer to 18.4 that looks at the texts that `texts(text, options)` gives."""

    def answer(score, text, options):
        every = texts(text, options)
        scores = score(every)
        return give(len(every), float(min(scores)), float(max(scores)))

    return answer


def texts_all(text, options):
    choices = [(word, *more) for word, more in zip(words(text), options, strict=True)]
    return sorted({replace(text, dict(enumerate(c))) for c in itertools.product(*choices)})


def texts_twice(text, options):
    choices = [(word, *more) for word, more in zip(words(text), options, strict=True)]
    return [replace(text, dict(enumerate(c))) for c in itertools.product(*choices)]


def texts_single(text, options):
    return [text] + [replace(text, {i: new}) for i, found in enumerate(options) for new in found]


def texts_changed(text, options):
    choices = [found or (word,) for word, found in zip(words(text), options, strict=True)]
    return sorted({replace(text, dict(enumerate(c))) for c in itertools.product(*choices)})


def texts_drawn(text, options):
    return random.Random(0).sample(every := texts_all(text, options), min(50, len(every)))


def texts_few(text, options):
    return texts_all(text, [found[:3] for found in options])


def texts_everywhere(text, options):
    found = {text}
    for word, more in zip(words(text), options, strict=True):
        found |= {one.replace(word, new) for one in found for new in more}
    return sorted(found)


def texts_lowered(text, options):
    choices = [(word.lower(), *more) for word, more in zip(words(text), options, strict=True)]
    return sorted({replace(text, dict(enumerate(c))) for c in itertools.product(*choices)})


def wordings_rounded(score, text, options):
    number, low, high = wordings_grown(score, text, options)
    return number, round(float(low), 2), round(float(high), 2)


def texts_split(text, options):
    choices = [(word, *more) for word, more in zip(text.split(), options, strict=True)]
    return sorted({replace(text, dict(enumerate(c))) for c in itertools.product(*choices)})


def texts_joined(text, options):
    choices = [(word, *more) for word, more in zip(words(text), options, strict=True)]
    return sorted({" ".join(c) for c in itertools.product(*choices)})


def texts_only_options(text, options):
    return [replace(text, dict(enumerate(c))) for c in itertools.product(*options)]


def wordings_plain(score, text, options):
    """The scores as they come, numpy's numbers."""
    scores = score(texts_all(text, options))
    return len(scores), min(scores), max(scores)


def wordings_greedy(score, text, options):
    up, down = (promote(lambda texts, s=sign: [s * x for x in score(texts)], text, options)
                for sign in (1, -1))  # fmt: skip
    return len(texts_all(text, options)), -down.after, up.after


def wordings_pops(score, text, options):
    result = wordings_grown(score, text, options)
    options[1] = ()
    return result


RIGHT = [
    ("18.1", ndcg_of_library),
    ("18.1", ndcg_by_items),
    ("18.1", ndcg_in_float32),
    ("18.1", ndcg_frame(lambda r, p, k: r.mean() * weights_to(p, k).sum())),
    ("18.2", leak_row_by_row),
    ("18.2", leak_with()),
    ("18.2", leak_compared(same_rows)),
    ("18.3", promote_by_library),
    ("18.3", promote_with()),
    ("18.3", promote_step_1(max)),
    ("18.4", wordings_grown),
    ("18.4", wordings_deeper),
    ("18.4", wordings_of(texts_all)),
    ("18.4", wordings_plain),
]

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("18.1", ndcg_with(), "the order in which the items came"),
    ("18.1", ndcg_with(sign=1), "lowest score stands first"),
    ("18.1", ndcg_with(best="first"), "one of .all. items"),
    ("18.1", ndcg_best_of_shown, "one of .all. items"),
    ("18.1", ndcg_zero_by_zero, "before you divide"),
    ("18.1", ndcg_zero_by_zero_of_python, "before you divide"),
    ("18.1", ndcg_plain_gain, "not divided by"),
    ("18.1", ndcg_with(discount=lambda p: np.ones(len(p))), "no place weighs less"),
    ("18.1", ndcg_with(best="none"), "not divided by"),
    ("18.1", lambda r, s, k: ndcg_of_library(2**r - 1, s, k), "another gain"),
    ("18.1", lambda r, s, k: np.nan_to_num(ndcg_of_library(r, s, k)), "the result is nan"),
    ("18.1", ndcg_in_place, "changes an array"),
    ("18.1", lambda r, s, k: ndcg(r[None], s[None], k), "should be a number"),
    ("18.1", ndcg_inside, "places behind k weigh 0 but still count in the mean"),
    ("18.1", ndcg_frame(lambda r, p, k: r.sum() * weights_to(p[p <= k], k).mean()),
     "places behind k weigh 0 but still count in the mean"),
    ("18.1", ndcg_frame(lambda r, p, k: r.sum() * weights_to(p, k).sum()), "not the sum"),
    ("18.1", ndcg_frame(lambda r, p, k: r.sum() * weights_to(p, k - 1).mean()), "place k itself"),
    ("18.1", ndcg_frame(lambda r, p, k: (r * weights_to(p, k)).sum()),
     "the order in which the items came"),
    ("18.1", ndcg_frame(lambda r, p, k: r.sum() * weights_to(p + 1, k + 1).mean()), "without . 1"),
    ("18.1", lambda r, s, k: None, "None"),
    ("18.1", ndcg_nan_behind, "that is 0, not nan"),
    ("18.1", ndcg_rounded(2), "near each other are no tie"),
    ("18.1", ndcg_rounded(3), "near each other are no tie"),
    ("18.1", ndcg_close, "near each other are no tie"),
    ("18.1", ndcg_two_at_least, "at k = 1 the first place alone"),
    ("18.1", ndcg_small_is_nothing, "a small relevance is one too"),
    ("18.2", leak_with(earlier=lambda log, day: log[log["day"] <= day]), "same day"),
    ("18.2", leak_with(earlier=leak_flipped), "counts rows"),
    ("18.2", leak_with(nan=False), "accused: nan in both"),
    ("18.2", leak_with(nan=False), r"whole log +days before\n.* NaN +NaN"),
    ("18.2", leak_one_cut, "accused: each row may know all days before its own"),
    ("18.2", leak_one_cut, "whole log +days before"),
    ("18.2", leak_with(give=set), "list of names"),
    ("18.2", leak_with(give=lambda found: sorted(found)), "as in the table"),
    ("18.2", leak_one_day(lambda days: days.min()), "check every day"),
    ("18.2", leak_one_day(lambda days: days.max()), "check every day"),
    ("18.2", leak_one_day(lambda days: days.iloc[0]), "check every day"),
    ("18.2", leak_compared(same_rows, lambda days: [days.min(), days.max()]), "at every day"),
    ("18.2", leak_compared(same_rows, every_second), "at every day"),
    ("18.2", leak_compared(same_rows, with_history), "at every day"),
    ("18.2", leak_compared(same_rows, rows=lambda rows: rows.head(1)), "row by row|all rows of it"),
    ("18.2", leak_compared(same_rows, rows=lambda rows: rows.tail(1)), "row by row|all rows of it"),
    ("18.2", leak_compared(lambda a, b: np.nansum(a) == np.nansum(b)), "row by row"),
    ("18.2", leak_compared(lambda a, b: same_rows(a.mean(), b.mean())), "row by row"),
    ("18.2", leak_compared(lambda a, b: same_rows(np.sort(a), np.sort(b))), "row by row"),
    ("18.2", leak_compared(lambda a, b: not (a > b).any()), "a value that is lower"),
    ("18.2", leak_compared(lambda a, b: np.allclose(a, b, 0, 1e-2, equal_nan=True)), "tolerance"),
    ("18.2", leak_compared(lambda a, b: np.allclose(a, b, equal_nan=True)), "no tolerance"),
    ("18.2", leak_compared(lambda a, b: same_rows(np.round(a), np.round(b))), "no tolerance"),
    ("18.2", leak_compared(lambda a, b: not (abs(a - b) > 0).any()), "nan in one table"),
    ("18.2", leak_compared(leak_filled), "nan in one table"),
    ("18.2", leak_sorts, "changes the table"),
    ("18.2", leak_zeroes, "changes the table"),
    ("18.2", lambda f, log, asked: None, "None"),
    ("18.3", promote_with(order=False), "take their turns"),
    ("18.3", promote_with(keep=False), "a word stays where nothing earns more"),
    ("18.3", promote_with(one=False), "the words chosen so far, not alone"),
    ("18.3", promote_with(alone=True), "the words chosen so far, not alone"),
    ("18.3", promote_with(go_on=False), "go on after a word that stays"),
    ("18.3", promote_with(turns=True), "not words that had their turn"),
    ("18.3", promote_with(helpful=True), "earns nothing alone"),
    ("18.3", promote_with(least=0.0), "the score beside the text"),
    ("18.3", promote_with(equal=True), "equal is not more"),
    ("18.3", promote_with(empty=True), "a word without options stays"),
    ("18.3", lambda score, text, options, most: (text, score({text})[0]), "called with a set"),
    ("18.3", promote_with(limit=False), "words have changed"),
    ("18.3", promote_asks_late, "at most=0 none may change"),
    ("18.3", promote_with(what=lambda text, best: text), "two things"),
    ("18.3", promote_rounds, "texts were asked about"),
    ("18.3", promote_step_1(min), "decided by its .best. replacement"),
    ("18.3", promote_step_1(lambda earned: sum(earned) / len(earned)), "its .best. replacement"),
    ("18.3", promote_step_1(lambda earned: earned[0]), "decided by its .best. replacement"),
    ("18.3", promote_step_1(lambda earned: earned[-1]), "decided by its .best. replacement"),
    ("18.3", promote_step_1(max, most_of="first"), "not the first that earns more"),
    ("18.3", promote_step_1(max, few=2), "try .all. options"),
    ("18.3", promote_step_1(max, few=3), "try .all. options"),
    ("18.3", promote_step_1(max, margin=0.01), "any gain counts"),
    ("18.3", promote_asks_again, "do not ask for it at every turn"),
    ("18.3", promote_everywhere, "changes a word wherever it stands"),
    ("18.3", promote_with(keep=False), "should stay when its turn"),
    ("18.3", promote_pops, "changes `options`"),
    ("18.3", promote_one_text, "list of texts"),
    ("18.3", promote_added, "only words may change"),
    ("18.3", promote_before, "before the attack"),
    ("18.3", lambda score, text, options, most: None, "None"),
    ("18.4", wordings_of(texts_single), "several words at once"),
    ("18.4", wordings_of(texts_changed), "may also stay"),
    ("18.4", wordings_of(texts_twice), "counts once"),
    ("18.4", wordings_of(texts_drawn), "number of texts"),
    ("18.4", wordings_of(texts_split), "words\\(text\\): text.split"),
    ("18.4", wordings_of(texts_joined), "loses what stands between"),
    ("18.4", wordings_of(texts_only_options), "a word without options stays"),
    ("18.4", lambda score, text, options: score({text}), "called with a set"),
    ("18.4", wordings_of(texts_all, lambda n, low, high: (n - 1, low, high)), "itself is one"),
    ("18.4", wordings_of(texts_all, lambda n, low, high: (n, high, low)), "exchanged"),
    ("18.4", wordings_of(texts_all, lambda n, low, high: low == high), "three things"),
    ("18.4", lambda score, text, options: (108, score([text])[0], 9.0), "low, high"),
    ("18.4", wordings_greedy, "low, high"),
    ("18.4", wordings_of(texts_few), "more options than you tried"),
    ("18.4", wordings_of(texts_everywhere), "changes a word wherever it stands"),
    ("18.4", wordings_of(texts_lowered), "its capital too"),
    ("18.4", wordings_rounded, "do not round"),
    ("18.4", wordings_pops, "changes `options`"),
    ("18.4", lambda score, text, options: (1, score(text), 0), "list of texts"),
    ("18.4", lambda score, text, options: None, "None"),
]
