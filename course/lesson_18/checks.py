"""Checks of lesson 18, Recommender.

The specification: NDCG is the mean over every order that the scores allow, and the best order is
found among all permutations; a leak is planted, so it is known; the turns of the attack are
followed along the answer, where at each word all options are scored; all rewordings are found word
by word, as a set that grows.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd

from advlib.corpora import replace, words
from course.checking import Exercise, Wrong, compare, expect, show


def _number(value, name: str, given) -> float:
    """A number as a float; raises Wrong for anything else."""
    expect(value is not None, f"{name} is None: does the function return it?", given=given)
    good = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    good = good or isinstance(value, np.ndarray) and value.ndim == 0
    expect(good, f"{name} should be a number, not {type(value).__name__}", given=given,
           yours=show(value))  # fmt: skip
    return float(value)


# ---------------------------------------------------------------- 18.1


def _gain(relevance, order, k, *, log=math.log2, first=2, form=float, divide=True) -> float:
    return sum(form(relevance[i]) / (log(first + place) if divide else 1)
               for place, i in enumerate(order[:k]))  # fmt: skip


def _gain_inside(relevance, scores, k, summed=False) -> float:
    """The gain where a tie across place k takes the mean over its places up to k alone; or summed:
    where each item of a tie takes the sum of the weights of their places."""
    total = 0.0
    for value, score in zip(relevance, scores, strict=True):
        above, tied = sum(x > score for x in scores), list(scores).count(score)
        weights = [1 / math.log2(2 + place) for place in range(above, min(above + tied, k))]
        total += value * sum(weights) / (1 if summed else len(weights)) if weights else 0.0
    return total


def _by_orders(relevance, scores, k, *, ties="mean", ascending=False, best=None, near=None,
               small=0.0, nothing=0.0, least=1, less=0, **how) -> float:  # fmt: skip
    """NDCG by the mean over every order that the scores allow; the keywords are its mistakes."""
    sign = 1 if ascending else -1
    scores, k = [near(x) if near else x for x in scores], max(k, least) - less
    orders = [order for order in itertools.permutations(range(len(scores)))
              if all(sign * scores[a] <= sign * scores[b]
                     for a, b in itertools.pairwise(order))]  # fmt: skip
    if ties == "first":
        orders = [min(orders)]
    if ties == "last":
        orders = [max(orders)]
    gains = [_gain(relevance, order, k, **how) for order in orders]
    if ties in ("inside", "sum"):
        gains = [_gain_inside(relevance, scores, k, ties == "sum")]
    top = max(_gain(relevance, order, k, **how)
              for order in itertools.permutations(range(len(scores))))  # fmt: skip
    if best == "none":
        top = 1.0
    if best == "shown":  # only the first k were sorted, in place of all
        shown = [relevance[i] for i in orders[0][:k]]
        top = _gain(sorted(shown, reverse=True), range(len(shown)), k, **how)
    gain = sum(gains) / len(gains)
    if top == 0 or max(relevance) < small or gain == 0 and math.isnan(nothing):
        return math.nan
    return gain / top


def _ties(**how) -> list[dict]:
    """A mistake, with ties taken as they should be and as the rows come."""
    return [dict(how, ties=ties) for ties in ("mean", "first", "last")]


_NDCG_MISTAKES = {
    "it is not divided by the sum of the best order": _ties(best="none"),
    "the best order is one of *all* items, not of the first k that were shown":
        _ties(best="shown"),
    "the item with the lowest score stands first here": _ties(ascending=True),
    "ties: the order in which the items came decides here; take the mean":
        [dict(ties="first"), dict(ties="last")],
    "a tie that crosses place k: places behind k weigh 0 but still count in the mean":
        [dict(ties="inside")],
    "each item of a tie gets the mean weight of the places that they share, not the sum":
        [dict(ties="sum")],
    "place k itself counts; the places behind it weigh 0": [dict(less=1)],
    "the natural logarithm of the place, without + 1, or another discount": _ties(first=3),
    "2^relevance − 1 is another gain; here it is the relevance itself":
        _ties(form=lambda r: 2**r - 1),
    "no place weighs less than another here: divide by log2(1 + place)": _ties(divide=False),
    "something is relevant here, it only stands behind place k: that is 0, not nan":
        _ties(nothing=math.nan),
    "scores that are near each other are no tie: compare them as they are":
        [dict(near=lambda x: round(x, 2)), dict(near=lambda x: round(x, 3)),
         dict(near=lambda x: round(x, 5))],
    "a small relevance is one too: nothing is relevant where all of it is 0":
        _ties(small=1e-3) + _ties(small=1e-2),
    "at k = 1 the first place alone counts": _ties(least=2),
}  # fmt: skip
_NDCG = [
    ([3.0, 2.0, 0.0, 1.0], [0.9, 0.5, 0.7, 0.1], 2),
    ([3.0, 2.0, 0.0, 1.0], [0.9, 0.5, 0.7, 0.1], 4),
    ([0.0, 1.0, 0.5, 0.2, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5], 3),
    ([0.0, 1.0, 0.5], [0.3, 0.2, 0.1], 10),
    ([1.0, 0.0, 0.0, 0.4], [0.5, 0.5, 0.5, 0.5], 2),
    ([0.0, 2.0, 1.0, 0.3, 0.0], [0.2, 0.7, 0.7, 0.7, 0.1], 2),
    ([0.2, 1.0, 0.6], [1.0, 3.0, 2.0], 3),  # the best order
    ([0.0, 0.0, 1.0], [3.0, 2.0, 1.0], 1),  # what is relevant stands behind k
    ([0.3, 1.0, 0.5], [0.1, 0.2, 0.3], 1),
    ([0.2, 1.0, 0.6], [0.702, 0.701, 0.1], 1),  # near, and no tie
    ([0.2, 1.0, 0.6], [0.200001, 0.2, 0.1], 3),
    ([0.0, 0.0002, 0.0001], [0.1, 0.2, 0.3], 2),
]


NEAR = 1e-6  # float32 will do


def _same(values, others) -> bool:
    return np.allclose(values, others, rtol=0, atol=NEAR, equal_nan=True)


def check_ndcg(answer) -> None:
    values, right = [], []
    for relevance, scores, k in [*_NDCG, ([0.0, 0.0], [0.1, 0.9], 2)]:
        given = dict(relevance=relevance, scores=scores, k=k)
        handed = np.array(relevance), np.array(scores)
        try:
            with np.errstate(invalid="raise"):  # numpy would warn, and go on with nan
                result = answer(*handed, k)
        except (FloatingPointError, ZeroDivisionError) as error:
            raise Wrong(f"your function divides 0 by 0: {error}", given=given,
                        likely="ask whether anything is relevant before you divide") from error
        result = _number(result, "the result", given)
        for was, now in zip((relevance, scores), handed, strict=True):
            expect(np.array_equal(was, now), "your function changes an array that it was given; "
                   "work on a copy", given=given, yours=now, expected=np.array(was),
                   likely="x.sort() sorts in place; np.sort(x) makes a copy")  # fmt: skip
        values.append(result)
        right.append(_by_orders(relevance, scores, k))
    expect(math.isnan(values[-1]), "nothing is relevant here, so no order is better than another: "
           "the result is nan", given=given, yours=values[-1], expected=math.nan)  # fmt: skip
    for i, (relevance, scores, k) in enumerate(_NDCG):
        if math.isclose(values[i], right[i], abs_tol=NEAR):
            continue
        fits = [why for why, how in _NDCG_MISTAKES.items()
                if any(_same(values[:-1], [_by_orders(*case, **one) for case in _NDCG])
                       for one in how)]  # fmt: skip
        raise Wrong("the result is not as expected", yours=values[i], expected=right[i],
                    given=dict(relevance=relevance, scores=scores, k=k),
                    likely=fits[0] if len(fits) == 1 else None)  # fmt: skip


def ndcg_at(relevance, scores, k):
    """NDCG of the first k for one user; nan where nothing is relevant."""

    def gain(order):
        """DCG@k of the order that these scores make."""
        total, taken = 0.0, 0
        for score in np.sort(np.unique(order))[::-1]:
            if taken >= k:
                break
            tied = relevance[order == score]
            places = np.arange(taken + 1, taken + 1 + len(tied))
            weights = np.where(places <= k, 1 / np.log2(1 + places), 0.0)
            total += tied.sum() * weights.mean()
            taken += len(tied)
        return total

    best = gain(relevance)
    return float(gain(scores) / best) if best > 0 else float("nan")


# ---------------------------------------------------------------- 18.2


def _columns(**made):
    """features(log, asked) of columns, each a function of (what is counted of log, row)."""

    def features(log, asked):
        rows = [*zip(log["user"], log["item"], log["day"], log["clicked"], strict=True)]
        return pd.DataFrame({name: [float(column(rows, *row)) for row in zip(
            asked["user"], asked["item"], asked["day"], strict=True)]
            for name, column in made.items()}, index=asked.index)  # fmt: skip

    return features


def _honest(rows, user, item, day):
    return sum(c for _, i, d, c in rows if i == item and d < day)


def _rate(rows, user, item, day):  # nan where nothing is known, and that is honest
    seen = [c for u, _, d, c in rows if u == user and d < day]
    return sum(seen) / len(seen) if seen else math.nan


def _evening(rows, user, item, day):
    return sum(c for u, _, d, c in rows if u == user and d <= day)


def _whole(rows, user, item, day):
    return sum(c for _, i, _, c in rows if i == item)


def _shown(rows, user, item, day):  # counts what was shown, never a click
    return sum(u == user for u, _, d, _ in rows)


def _next(rows, user, item, day):  # of later days only, and only where others click again
    return any(c and i == item and u != user and d > day for u, i, d, c in rows)


def _last(rows, user, item, day):
    return max((d for _, i, d, _ in rows if i == item and d < day), default=math.nan)


def _where(asked_day):
    """A column that leaks in the rows of some days only, of clicks and of what was shown."""
    return lambda rows, user, item, day: asked_day(day) * sum(
        1 + c for _, _, d, c in rows if d >= day)  # fmt: skip


def _later(rows, day) -> bool:
    """Whether anything is known of the row's day or later."""
    return any(d >= day for _, _, d, _ in rows)


def _only(row: tuple):
    """A column that leaks in this row (user, item, day) alone."""
    return lambda rows, *one: float(one == row and _later(rows, row[2]))


def _swapped(first: list[tuple], second: list[tuple]):
    """0 and 1 in two rows of each day; with later clicks 1 and 0. Their sum tells nothing."""
    return lambda rows, *row: float((row in second) != ((row in first + second)
                                                        and _later(rows, row[2])))  # fmt: skip


def _asked(log: pd.DataFrame) -> pd.DataFrame:
    """The first row of the log, the last and ten between them, in no order of days."""
    asked = pd.concat([log.iloc[1:-1].sample(10, random_state=3), log.iloc[[0, -1]]])
    return asked.sample(frac=1, random_state=4)[["user", "item", "day"]]


def _small_log() -> pd.DataFrame:
    rng = np.random.default_rng(1802)
    day = np.sort(rng.integers(0, 8, 40))
    return pd.DataFrame({"user": rng.integers(0, 4, 40), "item": rng.integers(0, 6, 40),
                         "day": day, "clicked": rng.integers(0, 2, 40)})  # fmt: skip


# Of each day in `asked` its rows (user, item, day), as they come.
_OF_DAY = {day: [*rows.itertuples(index=False, name=None)]
           for day, rows in _asked(_small_log()).groupby("day")}  # fmt: skip
_PAIRS_OF_ROWS = [found for found in _OF_DAY.values() if len(found) > 1]
_HINTS = {
    "swapped": "compare row by row: sums, means and sorted values can agree where the rows differ",
    "falls": "a value that is lower with later clicks is different too",
    "slight": "0.3 and 0.300000001 are different: do not round, and allow no tolerance",
    "unknown": "nan in one table and a number in the other is a difference",
    "known": "nan in one table and a number in the other is a difference",
} | {f"{which}{day}": "look at every day of `asked`, and at all rows of it"
     for which in ("first", "last") for day in _OF_DAY}  # fmt: skip

_LEAKS = [
    (dict(price=lambda rows, u, i, day: 7 + i, clicks=_honest, rate=_rate), []),
    (dict(early=_where(lambda day: day <= 3), clicks=_honest, late=_where(lambda day: day > 3)),
     ["early", "late"]),  # who looks at the rows of one day sees one of them
    (dict(clicks=_honest, whole=_whole, rate=_rate), ["whole"]),
    (dict(shown=_shown, last=_last, rate=_rate), ["shown"]),
    (dict(zeal=_evening, clicks=_honest, again=_next), ["zeal", "again"]),
    (dict(swapped=_swapped([x[0] for x in _PAIRS_OF_ROWS], [x[-1] for x in _PAIRS_OF_ROWS]),
          clicks=_honest, falls=lambda rows, u, i, day: -_later(rows, day)), ["swapped", "falls"]),
    (dict(slight=lambda rows, u, i, day: 0.3 + 1e-9 * _later(rows, day), rate=_rate), ["slight"]),
    (dict(unknown=lambda rows, u, i, day: math.nan if _later(rows, day) else 0.0, rate=_rate,
          known=lambda rows, u, i, day: 0.0 if _later(rows, day) else math.nan),
     ["unknown", "known"]),
    # A column for each day, which leaks in the first or the last of its rows alone.
    *(({f"{which}{day}": _only(rows[at]) for day, rows in _OF_DAY.items()},
       [f"{which}{day}" for day in _OF_DAY]) for which, at in (("first", 0), ("last", -1))),
]


def _both(features, log, asked, name: str) -> pd.DataFrame:
    """What a column says in some rows of `asked`, those that differ first, then nan."""
    whole = features(log, asked)[name]
    then = pd.concat([features(log[log["day"] < day], rows)[name]
                      for day, rows in asked.groupby("day")])  # fmt: skip
    table = asked.assign(**{"whole log": whole, "days before": then})
    then = table["days before"]
    differs = ~((whole == then) | (whole.isna() & then.isna()))
    return table.loc[(2 * differs + whole.isna()).sort_values(kind="stable").index[::-1][:4]]


def check_leaking(answer) -> None:
    for columns, leaks in _LEAKS:
        log = _small_log()
        asked = _asked(log)
        was = log.copy(), asked.copy()
        result = answer(_columns(**columns), log, asked)
        given = dict(columns=[*columns], leaks="those that change where only earlier days are kept")
        for name, before, now in (("log", was[0], log), ("asked", was[1], asked)):
            expect(before.equals(now), f"your function changes the table `{name}`; work on a copy",
                   likely="an assignment to a column of it, or sort_values(inplace=True)")
        expect(result is not None, "the result is None: does the function return it?", given=given)
        expect(isinstance(result, list) and all(isinstance(name, str) for name in result),
               "the result should be a list of names", given=given, yours=show(result),
               expected=leaks)  # fmt: skip
        if result == leaks:
            continue
        missed, accused = [x for x in leaks if x not in result], [x for x in result
                                                                  if x not in leaks]
        likely, name = None, (missed + accused)[:1]
        if name and name[0] in columns:
            given = given | {f"{name[0]}, in rows of `asked`":
                             _both(_columns(**columns), log, asked, name[0])}  # fmt: skip
        if sorted(result) == sorted(leaks):
            likely = "the names should stand as in the table"
        elif missed == ["zeal"] and not accused:
            likely = ("`zeal` counts the clicks of the same day; keep only days *before* the row's "
                      "own")  # fmt: skip
        elif missed == ["shown"] and not accused:
            likely = ("`shown` counts rows, whether or not they were clicked: take the later rows "
                      "away instead of changing their clicks")  # fmt: skip
        elif "clicks" in accused:
            likely = ("an honest column is accused: each row may know all days before its own, not "
                      "only those before the first of all rows")  # fmt: skip
        elif {"rate", "last"} & {*accused}:
            likely = "an honest column is accused: nan in both tables is no difference"
        elif missed and not accused and missed[0] in _HINTS:
            likely = _HINTS[missed[0]]
        elif missed and not accused:
            likely = ("check every day: a column leaks where a row of any day in `asked` would be "
                      "different")  # fmt: skip
        raise Wrong("these are not the columns that leak", given=given, yours=result,
                    expected=leaks, likely=likely)  # fmt: skip


def leaking(features, log, asked):
    """The names of the columns that know of clicks on the row's day or later."""
    table, found = features(log, asked), []
    for day in asked["day"].unique():
        of_day = asked["day"] == day
        honest = features(log[log["day"] < day], asked[of_day])
        for name in table.columns:
            same = np.array_equal(table[name][of_day], honest[name], equal_nan=True)
            if not same and name not in found:
                found.append(name)
    return [name for name in table.columns if name in found]


# ---------------------------------------------------------------- 18.3


class _Score:
    """A score that adds up, word by word, or where pairs of words matter too; it keeps count of
    the texts that it was asked about."""

    def __init__(self, worth: dict[str, float], pairs: dict[tuple[str, str], float] | None = None):
        self.worth, self.pairs, self.asked, self.texts = worth, pairs or {}, 0, set()

    def of(self, text: str) -> float:
        there = {word.lower() for word in words(text)}
        return (sum(self.worth.get(word, 0.0) for word in there)
                + sum(v for pair, v in self.pairs.items() if {*pair} <= there))  # fmt: skip

    def __call__(self, texts):
        if isinstance(texts, str):
            raise Wrong("score was called with one str; it takes a list of texts", yours=texts,
                        likely="score([text])[0]")  # fmt: skip
        expect(isinstance(texts, list | tuple | np.ndarray), f"score was called with a "
               f"{type(texts).__name__}; it takes a list of texts", yours=show(texts),
               likely="score(sorted(texts)), or score(list(texts))")  # fmt: skip
        self.asked += len(texts)
        self.texts |= {*texts}
        return np.array([self.of(text) for text in texts])


_TEXT = "the box is big, and the lid was slow"
_OPTIONS = [(), ("case", "crate"), (), ("large", "great", "huge"), (), (), ("cover", "top"), (),
            ("tardy", "late")]  # fmt: skip
_ADDS = dict(case=0.3, crate=0.1, big=0.2, large=0.25, great=0.9, huge=0.4, lid=0.5, cover=0.1,
             top=0.2, tardy=0.35, late=0.75, box=0.05)  # fmt: skip
_FALLS = dict(box=1.0, big=1.0, lid=1.0, slow=1.0)  # whatever changes costs
_PAIRS = {("great", "late"): -1.5, ("case", "late"): 0.4}
# Beside "late" no other word for "big" helps, and "cover" helps once there is "case".
_LATER = {(word, "late"): -2.0 for word in ("great", "large", "huge")} | {("case", "cover"): 0.9}
_TIES = dict(box=0.25, case=0.25, lid=0.5, cover=0.5, great=1.0, late=0.5)  # exact in floats
# What counts is the best of a word's replacements, not the first, the last, the worst or the mean.
_SPREAD = dict(case=-0.5, crate=0.8, large=-0.6, great=0.9, huge=-0.9, cover=0.5, top=0.45,
               tardy=0.6, late=0.55)  # fmt: skip
_SLIGHT = dict(case=0.004, crate=0.001, great=0.003, cover=0.002, late=0.0015)
# A word that stands twice, and has options in one place.
_AGAIN = "The lid was slow, and the strap was slow"
_AGAIN_OPTIONS = [(), ("cover",), (), ("tardy", "late", "sluggish", "idle"), (), (), (), (), ()]
_CASES = [(_TEXT, _OPTIONS, *case) for case in [(_ADDS, {}, most) for most in (1, 2, 3, 4, 0)] + [
    (_FALLS, {}, 3), (_TIES, {}, 4), (_ADDS, _PAIRS, 3), (_ADDS, _LATER, 4), (_ADDS, _LATER, 3),
    (_ADDS, _LATER, 2), (_SPREAD, {}, 1), (_SPREAD, {}, 2), (_SPREAD, {}, 3), (_SLIGHT, {}, 4),
    (_ADDS | {"was": -9.0}, {}, 3)]]  # a score may be below 0
_CASES += [(_AGAIN, _AGAIN_OPTIONS, dict(cover=0.4, tardy=0.1, late=0.2, idle=0.75), {}, 2)]


def _called(answer, *inputs, given):
    """The result; a word without options, at which max() and its like stop, gets its hint."""
    try:
        return answer(*inputs)
    except (ValueError, IndexError) as error:
        if not any(word in str(error) for word in ("empty", "zero-size", "out of range")):
            raise
        raise Wrong(f"your function stops: {error}", given=given, likely="some `options[i]` are "
                    "empty: a word without options stays") from error  # fmt: skip


def check_promote_text(answer) -> None:
    done = []
    for was, found, worth, pairs, most in _CASES:
        score, options = _Score(worth, pairs), [tuple(o) for o in found]
        given = dict(text=was, options={w: o for w, o in zip(words(was), found, strict=True) if o},
                     most=most, score="a sum over the words" + " and some pairs" * bool(pairs))
        result = _called(answer, score, was, options, most, given=given)
        expect(options == found, "your function changes `options`; work on a copy", given=given)
        expect(result is not None, "the result is None: does the function return it?", given=given)
        expect(isinstance(result, tuple | list) and len(result) == 2, "the function should return "
               "two things, (text, score)", given=given, yours=show(result))  # fmt: skip
        text, earned = result
        expect(isinstance(text, str), "the first thing should be the new text, a str", given=given,
               yours=show(text))  # fmt: skip
        earned = _number(earned, "the score", given)
        _allowed(was, found, text, most, given)
        compare(earned, score.of(text), given=given | {"your text": text},
                what="the score beside the text",
                mistakes={"this is the score before the attack": score.of(was)})
        tries, turns = sum(map(len, found)), sum(map(bool, found))
        expect(score.asked <= 2 * tries + 2, f"{score.asked} texts were asked about; with "
               f"{tries} options at most {2 * tries + 2} are allowed", given=given,
               likely="`best` holds what the text so far earns: do not ask for it at every turn"
               if score.asked <= 2 * tries + 2 + turns else
               "all words are tried anew in every round, or all combinations are")  # fmt: skip
        done.append((score, was, found, text, most, given))
    for one in done:
        _turns(*one, done=done)


def _greedy(score: _Score, was: str, found, most: int, *, turn=max, few=None, margin=0.0,
            first=False) -> str:  # fmt: skip
    """The rewording of both steps; the keywords are mistakes."""
    found = [o[:few] for o in found]
    order = {i: turn([score.of(replace(was, {i: w})) for w in o])
             for i, o in enumerate(found) if o}  # fmt: skip
    chosen = {}
    for i in sorted(order, key=lambda i: -order[i]):
        if len(chosen) == most:
            break
        now = score.of(replace(was, chosen))
        better = {w: x for w in found[i]
                  if (x := score.of(replace(was, chosen | {i: w}))) > now + max(margin, 1e-12)}
        if better:
            chosen[i] = next(iter(better)) if first else max(better, key=better.get)
    return replace(was, chosen)


_GREEDY_MISTAKES = {
    "step 1: a word's turn is decided by its *best* replacement, not by the first, the last, the "
    "worst or the mean": [dict(turn=turn) for turn in (
        lambda x: x[0], lambda x: x[-1], min, lambda x: sum(x) / len(x))],
    "take the option that earns most, not the first that earns more": [dict(first=True)],
    "try *all* options of a word": [dict(few=n) for n in (1, 2, 3)],
    "any gain counts, however small": [dict(margin=x) for x in (0.01, 0.003, 0.1)],
}


def _turns(score: _Score, was: str, found, text: str, most: int, given, *, done) -> None:
    """Every word of the text has what earns most together with those before it. The turns are
    followed along the answer: at each word all that may stand there is scored. done: what was
    made of every case; a mistake is named where it explains all of them."""
    old, new = words(was), words(text)
    alone = {i: {w: score.of(replace(was, {i: w})) for w in more}
             for i, more in enumerate(found) if more}  # fmt: skip
    start, chosen, stayed = score.of(was), {}, 0
    for turn, i in enumerate(sorted(alone, key=lambda i: -max(alone[i].values()))):
        if len(chosen) == most:
            break
        now = score.of(replace(was, chosen))
        earned = {w: score.of(replace(was, chosen | {i: w})) for w in found[i]}
        top = max(earned.values())
        best = [w for w in earned if earned[w] > top - 1e-9] if top > now + 1e-9 else [old[i]]
        if new[i] in best:
            stayed += new[i] == old[i]
            chosen |= {} if new[i] == old[i] else {i: new[i]}
            continue
        fits = [why for why, hows in _GREEDY_MISTAKES.items() if any(
            all(_greedy(s, w, o, m, **how) == t for s, w, o, t, m, _ in done) for how in hows)]
        best_alone = max(alone[i], key=alone[i].get)
        judged_alone = new[i] == best_alone and alone[i][best_alone] > start + 1e-9 and chosen
        if len(fits) == 1:
            likely = fits[0]
        elif judged_alone:
            likely = "judge each option in the text that has the words chosen so far, not alone"
        elif new[i] != old[i] and best == [old[i]]:
            likely = "a word stays where nothing earns more than the text so far"
            likely += "; equal is not more" if abs(earned[new[i]] - now) < 1e-9 else ""
        elif new[i] == old[i] and turn >= most:
            likely = "`most` counts words that change, not words that had their turn"
        elif new[i] == old[i] and alone[i][best_alone] <= start:
            likely = "a word that earns nothing alone may earn some after others: it has a turn"
        elif new[i] == old[i] and stayed:
            likely = "go on after a word that stays: a later one may earn more"
        elif new[i] == old[i] and chosen and alone[i][best_alone] <= now:
            likely = "judge each option in the text that has the words chosen so far, not alone"
        else:
            likely = ("the words should take their turns from the one whose best replacement earns "
                      "most to the one whose best earns least")  # fmt: skip
        stays = best == [old[i]]
        should = "stay" if stays else "be " + " or ".join(map(repr, best))
        raise Wrong(f"{old[i]!r} should {should} when its turn comes: your rewording is not the "
                    "greedy one", given=given, likely=likely, yours=text,
                    expected=replace(was, chosen | ({} if stays else {i: best[0]})))  # fmt: skip


def _allowed(was: str, found, text: str, most: int, given) -> None:
    old, new = words(was), words(text)
    expect(len(old) == len(new) and replace(was, dict(enumerate(new))) == text,
           "only words may change; their number and all between them stay", given=given, yours=text,
           expected=was)  # fmt: skip
    changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    for i in changed:
        expect(new[i] in found[i], f"{new[i]!r} is no option for {old[i]!r}, word {i}",
               given=given, yours=text,
               likely=_EVERYWHERE if old.count(old[i]) > 1 else None)  # fmt: skip
    expect(len(changed) <= most, f"{len(changed)} words have changed, and most is {most}",
           given=given, yours=text, likely="ask whether `most` words have changed *before* you "
           "change one: at most=0 none may change" if most == 0 else "`most` counts words that "
           "change, not words that were looked at; stop when there are so many")  # fmt: skip


_EVERYWHERE = ("text.replace changes a word wherever it stands: replace(text, {i: new}) changes "
               "word i alone")  # fmt: skip


def promote_text(score, text, options, most):
    """(text, score) of a rewording that earns more: greedy, word by word."""
    best, gains = score([text])[0], {}
    for i, found in enumerate(options):
        if found:
            gains[i] = max(score([replace(text, {i: new}) for new in found]))
    chosen = {}
    for i in sorted(gains, key=gains.get, reverse=True):
        if len(chosen) == most:
            break
        earned = score([replace(text, chosen | {i: new}) for new in options[i]])
        top = int(np.argmax(earned))
        if earned[top] > best:
            chosen[i], best = options[i][top], earned[top]
    return replace(text, chosen), float(best)


# ---------------------------------------------------------------- 18.4

_TWICE = [(), ("case", "case"), (), ("large", "big", "huge"), (), (), (), (), ("late",)]
_NEEDLE = {("case", "great", "lid", "late"): 0.7}  # seen by nobody who tries one word at a time
_NONE = [()] * len(_OPTIONS)


class _Rare(_Score):
    """Nearly all texts have one score; the words of `_NEEDLE` together have another."""

    def of(self, text: str) -> float:
        return 0.2 + sum(v for found, v in self.worth.items() if {*found} <= {*words(text)})


def _closure(text: str, options) -> set[str]:
    """All rewordings, the text among them: word by word, of what there is so far."""
    found = {text}
    for i, more in enumerate(options):
        found |= {replace(one, {i: new}) for one in found for new in more}
    return found


def _strange(text: str, was: str) -> str | None:
    """Why a text is no rewording: the commas tell, capitals, and a word that stands twice."""
    if ",," in text:
        return "take the words from words(text): text.split() leaves commas at them"
    if text and "," not in text:
        return ("' '.join(words) loses what stands between them: replace(text, {place: word}) "
                "keeps it")  # fmt: skip
    if text and words(was)[0] == "The" and words(text)[0] == "the":
        return "a word without options stays as it is, its capital too"
    old, new = words(was), words(text)
    if len(old) == len(new) and any(a != b and old.count(a) > 1
                                    for a, b in zip(old, new, strict=True)):  # fmt: skip
        return _EVERYWHERE
    return None


def check_all_wordings(answer) -> None:
    sums = "a sum over the words"
    fine = dict(cover=0.2013, tardy=0.1042, idle=0.3076, late=-0.2029)
    cases = [(sums, _Score(_ADDS), _TEXT, _OPTIONS),
             ("one and the same for all texts", _Score({}), _TEXT, _OPTIONS),
             ("0.2, but for a few texts that differ in several words", _Rare(_NEEDLE), _TEXT,
              _OPTIONS),
             (sums, _Score(_ADDS), _TEXT, _TWICE), (sums, _Score(_ADDS), _TEXT, _NONE),
             (sums, _Score(fine), _AGAIN, _AGAIN_OPTIONS)]  # fmt: skip
    for how, score, text, chosen in cases:
        options = [tuple(found) for found in chosen]
        given = dict(text=text, options={w: o for w, o in zip(words(text), options, strict=True)
                                         if o}, score=how)  # fmt: skip
        result = _called(answer, score, text, options, given=given)
        expect(options == chosen, "your function changes `options`; work on a copy", given=given)
        expect(result is not None, "the result is None: does the function return it?", given=given)
        expect(isinstance(result, tuple | list) and len(result) == 3, "the function should return "
               "three things, (number, low, high)", given=given, yours=show(result))  # fmt: skip
        number, low, high = (_number(x, name, given) for x, name in
                             zip(result, ("number", "low", "high"), strict=True))  # fmt: skip
        every = _closure(text, options)
        strange = sorted(score.texts - every)
        expect(not strange, "score was asked about a text that is no rewording", given=given,
               yours=strange[:1] and strange[0], expected=text,
               likely=_strange("".join(strange[:1]), text))
        sizes = [len(found) for found in options if found]
        compare(number, len(every), given=given, what="the number of texts", mistakes={
            "the text itself is one of them": len(every) - 1,
            "a seller may replace several words at once": 1 + sum(sizes),
            "a word with options may also stay as it is": math.prod(sizes),
            "two choices may give one and the same text, and it counts once":
                math.prod(1 + n for n in sizes),
            "a word may have more options than you tried":
                math.prod(1 + min(n, 3) for n in sizes)})  # fmt: skip
        scores = [score.of(one) for one in every]
        right = min(scores), max(scores)
        compare([low, high], [*right], given=given, what="(low, high)", atol=1e-9, mistakes={
            "low and high are exchanged": [right[1], right[0]],
            "low is the score of the text itself": [score.of(text), right[1]],
            "the scores come back as they are: do not round": [*np.round(right, 2)]})  # fmt: skip


def all_wordings(score, text, options):
    """(number, low, high) of all rewordings: how many texts, the lowest and the highest score."""
    choices = [(word, *more) for word, more in zip(words(text), options, strict=True)]
    every = set()
    for chosen in itertools.product(*choices):
        every.add(replace(text, dict(enumerate(chosen))))
    scores = score(sorted(every))
    return len(every), min(scores), max(scores)


EXERCISES: dict[str, Exercise] = {
    "18.1": Exercise("NDCG", check_ndcg, ndcg_at),
    "18.2": Exercise("find the leak", check_leaking, leaking),
    "18.3": Exercise("a seller who rewords", check_promote_text, promote_text),
    "18.4": Exercise("all wordings", check_all_wordings, all_wordings),
}
