"""Checks of lesson 16, Customer service assistant.

The specification: means are added up text by text, token by token; a query is run on a small store
in SQLite, and what it finds is compared with what two loops over all rows find; the threshold is
looked for by trying each one; votes are counted answer by answer and source by source; fused scores
are exact fractions.
"""

from __future__ import annotations

import math
import random
import re
import sqlite3
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from advlib.systems.retrieval import fold, trigrams
from course.checking import Exercise, Wrong, call, expect, making, of_dtype, seeded, show, specified

# ---------------------------------------------------------------- 16.1

ROWS = ("my card was stolen", "i have lost my pin", "why is my transfer late", "near the branch",
        "cancel the top up", "and or not", "question", "a fee of two euros", "card card card",
        "the date 2026 11 29")  # fmt: skip
PIECES = (*ROWS, '"', "'", '""', "*", "^", "-", "+", "(", ")", ":", "{", "}", ",", " NEAR ",
          " AND ", " OR ", " NOT ", "NEAR(a b, 2)", "question:", "car*", "^card", '";--', "%",
          "\\", "\n",
          "é", "карта", "卡", " ", "  ", ".", "?", "\x00", "CARD", "St")  # fmt: skip
SIMPLE = ("card", "My card was stolen.", "Why is my transfer late?", "lost my pin",
          "Cancel, please", "ca", "", "?!", "euro", "stolen pin")  # fmt: skip
NASTY = ('my "card"', 'say "lost', "card*", "car* OR pin", "NEAR(card pin)", "pin AND card",
         "NOT card", "question: card", "^my card", "(card", "card - pin", "it's my card", "AND",
         '"', '" OR "pin', "{question} : fee")  # fmt: skip


def _shared(text: str) -> set[int]:
    """The rows with any run of three characters in common, by trying all of them."""
    runs = set(trigrams(text))
    return {i for i, row in enumerate(ROWS, 1)
            if any(row[j : j + 3] in runs for j in range(len(row)))}  # fmt: skip


def check_safe_query(answer) -> None:
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE past USING fts5(question, tokenize='trigram')")
    db.executemany("INSERT INTO past VALUES (?)", [(row,) for row in ROWS])
    rng = random.Random(seeded(1620))
    drawn = ["".join(rng.choices(PIECES, k=rng.randint(1, 6))) for _ in range(400)]
    for text in (*SIMPLE, *NASTY, *drawn):
        _one_query(db, answer, text[:300])
    for end in ROWS[:3]:  # long, and only its end is in the store
        filler = "".join(rng.choices("бвгджзклмнпрст", k=299 - len(end)))
        _one_query(db, answer, f"{filler} {end}")
    for end in ("pin", "fee"):  # no trigram stands twice, and only the last is in the store
        _one_query(db, answer, "".join(map(chr, rng.sample(range(0x4E00, 0x9000), 297))) + end)


def _one_query(db, answer, text: str) -> None:
    query, given = call(answer, text), {"text": text}
    expect(query is not None, "the result is None: does the function return the query?",
           given=given)  # fmt: skip
    expect(isinstance(query, str), f"the query should be a str, not {type(query).__name__}",
           given=given, yours=show(query))  # fmt: skip
    try:
        found = {n for n, in db.execute("SELECT rowid FROM past WHERE past MATCH ?", (query,))}
    except sqlite3.Error as error:
        why = ("a part of the text is read as FTS5's language: each trigram belongs within double "
               "quotes, and no quote within it")  # fmt: skip
        if not trigrams(text):
            why = ("a text without three characters in a row must give a query as well, one that "
                   "finds nothing: two quotes")  # fmt: skip
        elif '"' not in query:
            why = BARE
        raise Wrong(f"SQLite stops at this query: {error}", given=given, yours=query,
                    likely=why) from None  # fmt: skip
    wanted = _shared(text)
    if found != wanted:
        missed, extra = sorted(wanted - found), sorted(found - wanted)
        raise Wrong(
            "the query finds other rows than those that share a trigram with the text",
            given=given | {"your query": query, "rows missed": [ROWS[i - 1] for i in missed],
                           "rows too many": [ROWS[i - 1] for i in extra]},
            yours=sorted(found), expected=sorted(wanted),
            likely=_query_mistake(query, text, bool(missed)),
        )  # fmt: skip
    expect(trigrams(text) or not any(re.findall(r'"([^"]*)"', query)),
           "a text without a trigram looks for something", given=given, yours=query,
           expected='""', likely="nothing of it is in this store, but it may be in another: two "
           "double quotes with nothing between them find nothing anywhere")  # fmt: skip


BARE = "there are no quotes round the runs, so FTS5 reads them as its language: f'\"{run}\"'"


def _query_mistake(query: str, text: str, missed: bool) -> str | None:
    """What the parts between double quotes tell of how the query was made."""
    parts, runs = list(dict.fromkeys(re.findall(r'"([^"]*)"', query))), trigrams(text)
    if not any(parts):
        return BARE if '"' not in query else None
    if missed and re.search(r'" or "', query, re.IGNORECASE) and '" OR "' not in query:
        return "FTS5's operators are in capitals: or is a word to look for, OR is not"
    if missed and len(parts) > 1 and " OR " not in query:
        return "all parts must occur: put OR between them, so that any is enough"
    if any(re.search(r"[^\w ]|  ", part) or part != part.lower() for part in parts):
        return "capital letters or marks stay in the query: fold(text) first, as the rows were"
    if any(len(part) != 3 for part in parts):
        return ("a part is longer or shorter than three characters, such as a whole word: the runs "
                "of three characters of fold(text) count")  # fmt: skip
    if set(parts) == {run for word in fold(text).split() for run in trigrams(word)} < set(runs):
        return "the runs stay within words: runs cross spaces, as in 'he ', 'e p', ' pi'"
    if set(parts) < set(runs) and parts == runs[: len(parts)]:
        return "only the beginning of the text is in the query: all of it counts"
    if not set(parts) <= set(runs):
        return "the query holds something that is not a trigram of the folded text"
    return None


def safe_query(text):
    """An FTS5 query for the rows that share any trigram with the text, a str."""
    return " OR ".join(f'"{run}"' for run in trigrams(text)) or '""'


# ---------------------------------------------------------------- 16.2


def _lowest(confidence, correct, most_wrong, kind="right") -> float:
    """Every confidence is tried as the threshold; `kind` makes a mistake."""
    found, held = math.inf, True
    tried = sorted(set(confidence.tolist()), reverse=True)
    if kind == "own":  # the confidences of right answers alone
        tried = sorted(set(confidence[correct].tolist()), reverse=True)
    elif kind == "unsorted":
        tried = list(dict.fromkeys(confidence.tolist()))
    for t in tried:
        answered = [bool(ok) for c, ok in zip(confidence.tolist(), correct.tolist(), strict=True)
                    if (c > t if kind == "above" else c >= t)]  # fmt: skip
        wrong = answered.count(False)
        if kind == "of all":
            good = wrong <= most_wrong * len(confidence)
        elif kind == "right share":
            good = len(answered) - wrong <= most_wrong * len(answered)
        elif kind == "below":
            good = wrong < most_wrong * len(answered)
        else:
            good = bool(answered) and wrong <= most_wrong * len(answered)
        held = held and good
        if good and (held or kind != "first"):
            found = t
            if kind in ("highest", "unsorted"):
                break
    return found


_THRESHOLD = {
    "the share of wrong answers goes up and down along the thresholds: this stops where it is "
    "exceeded for the first time": dict(kind="first"),
    "wrong answers are counted as a share of all questions: of those answered": dict(kind="of all"),
    "this is the highest such threshold: the lowest answers the most": dict(kind="highest"),
    "answered means a confidence of the threshold or more, not only above it": dict(kind="above"),
    "`most_wrong` itself is accepted: <=, not <": dict(kind="below"),
    "this is the share that is *right*: `most_wrong` bounds the wrong ones":
        dict(kind="right share"),
    "this is the first confidence, in the order given, that will do: the lowest is asked for":
        dict(kind="unsorted"),
    "the confidences of wrong answers are thresholds as well": dict(kind="own"),
}  # fmt: skip


def check_threshold(answer) -> None:
    def checked(confidence, correct, most_wrong):
        before = confidence.copy(), correct.copy()
        try:
            result = answer(confidence, correct, most_wrong)
        except ValueError as error:
            if not math.isinf(_lowest(*before, most_wrong)):
                raise
            raise Wrong(f"your function stops with ValueError: {error}", likely="min() and max() "
                        "of an empty list stop: where no threshold will do, return math.inf"
                        ) from None  # fmt: skip
        same = np.array_equal(before[0], confidence) and np.array_equal(before[1], correct)
        expect(same, "your function changes an array that it was given; work on a copy",
               likely="x.sort() sorts in place; np.sort(x) and np.argsort(x) do not")  # fmt: skip
        expect(result is not None, "the result is None: does the function return it?")
        good = isinstance(result, int | float | np.number) and not isinstance(result, bool)
        good = good or isinstance(result, np.ndarray) and result.ndim == 0
        expect(good, f"the threshold should be a number, not {type(result).__name__}",
               yours=show(result))  # fmt: skip
        return float(result)

    rng = np.random.default_rng(seeded(1640))
    four = np.array([0.9, 0.8, 0.7, 0.6])
    cases = [
        *(dict(confidence=four, correct=np.array(right, dtype=bool), most_wrong=most_wrong)
          for right, most_wrong in (((1, 1, 0, 1), 0.3), ((1, 0, 1, 0), 0.3), ((1, 1, 1, 0), 0.25),
                                    ((1, 0, 1, 1), 0.45), ((1, 1, 0, 0), 0.3))),
        dict(confidence=np.array([0.8, 0.6, 0.6, 0.4]), most_wrong=0.3,
             correct=np.array([1, 1, 0, 0], dtype=bool)),
        dict(confidence=np.array([0.9, 0.8, 0.7, 0.6, 0.5]), most_wrong=0.35,
             correct=np.array([1, 0, 1, 1, 0], dtype=bool)),
        dict(confidence=np.array([0.6, 0.9, 0.6, 0.9, 0.6]), most_wrong=0.3,
             correct=np.array([1, 1, 0, 1, 0], dtype=bool)),
        dict(confidence=np.array([0.5, 0.4]), correct=np.array([False, False]), most_wrong=0.2),
        dict(confidence=np.array([0.5, 0.4]), correct=np.array([True, False]), most_wrong=0.0),
        dict(confidence=np.array([0.7, 0.9, 0.8]), correct=np.ones(3, dtype=bool), most_wrong=0.05),
        dict(confidence=rng.random(30) ** 0.2, correct=rng.random(30) < 0.9, most_wrong=0.08),
        dict(confidence=np.array([0.70012, 0.70013, 0.90001, 0.90002]), most_wrong=0.2,
             correct=np.array([0, 1, 0, 1], dtype=bool)),  # nearly equal is not equal
    ]  # fmt: skip
    for digits in (1, 2, 3, 3, 2):
        sure = rng.random(40).round(digits)
        cases.append(dict(confidence=sure, correct=rng.random(40) < 0.6 + 0.4 * sure,
                          most_wrong=0.0507 + 0.1 * rng.random()))  # fmt: skip
    ordered = [{key: case[key] for key in ("confidence", "correct", "most_wrong")}
               for case in cases]  # fmt: skip
    results = []
    for case in ordered:
        try:
            results.append(checked(*case.values()))
        except Wrong as wrong:
            wrong.given = wrong.given or case
            raise
    expected = [_lowest(**case) for case in ordered]
    if all(_same(a, b) for a, b in zip(results, expected, strict=True)):
        return
    fits = [why for why, how in _THRESHOLD.items() if all(
        _same(a, _lowest(**case, **how)) for a, case in zip(results, ordered, strict=True))]
    k = next(k for k in range(len(results)) if not _same(results[k], expected[k]))
    likely = fits[0] if len(fits) == 1 else None
    off = [case for a, b, case in zip(results, expected, ordered, strict=True) if not _same(a, b)]
    if likely is None and math.isinf(expected[k]):
        likely = "where no threshold will do, the result is math.inf: nothing is answered"
    elif likely is None and ordered[k]["correct"].all():
        likely = ("where all are right, the lowest confidence of all is the threshold, no lower or "
                  "higher number")  # fmt: skip
    elif likely is None and any(_same(results[k], float(np.float32(c)))
                                for c in set(ordered[k]["confidence"].tolist()) - {results[k]}):
        likely = "the confidences became float32 on the way: leave them as they are, in float64"
    elif likely is None and any(_same(results[k], round(c, digits)) for digits in (1, 2, 3, 4)
                                for c in ordered[k]["confidence"].tolist() if c != results[k]):
        likely = "the confidences are rounded: near ones are not equal, so try each as it is"
    elif likely is None and results[k] not in (math.inf, *ordered[k]["confidence"]):
        likely = ("this is none of the confidences: try each of them as the threshold, not the "
                  "values of a grid of your own")  # fmt: skip
    elif likely is None and all(len(set(c["confidence"].tolist())) < len(c["confidence"])
                                for c in off):
        likely = ("equal confidences come in together: who answers at 0.6 answers all questions "
                  "with 0.6, so look at the risk only after the last of them")  # fmt: skip
    raise Wrong("the threshold is not as expected", given=ordered[k], yours=results[k],
                expected=expected[k], likely=likely)  # fmt: skip


def _same(a: float, b: float) -> bool:
    return a == b or abs(a - b) < 1e-12


def threshold_for(confidence, correct, most_wrong):
    """The lowest confidence from which on at most this share of the answers is wrong, or inf."""
    lowest = math.inf
    for t in np.unique(confidence):
        answered = confidence >= t
        if (~correct[answered]).mean() <= most_wrong:
            lowest = min(lowest, float(t))
    return lowest


# ---------------------------------------------------------------- 16.3


def _votes(said, rule="right") -> dict:
    """answer -> its weight, by going through all answers and sources; `rule` makes a mistake."""
    found = {}
    for answer in {answer for answer, _, _ in said}:
        own = [(source, score) for a, source, score in said if a == answer]
        by = {s: [score for source, score in own if source == s] for s, _ in own}
        found[answer] = {
            "right": lambda by: sum(max(scores) for scores in by.values()),
            "rows": lambda by: sum(sum(scores) for scores in by.values()),
            "heads": lambda by: len(by),
            "count": lambda by: sum(len(scores) for scores in by.values()),
            "last": lambda by: sum(scores[-1] for scores in by.values()),
            "first": lambda by: sum(scores[0] for scores in by.values()),
            "mean": lambda by: sum(sum(scores) / len(scores) for scores in by.values()),
            "best": lambda by: max(max(scores) for scores in by.values()),
            "share": lambda by: sum(max(scores) for scores in by.values()) / len(by),
            "anywhere": lambda by: sum(max(x for _, s, x in said if s == who) for who in by),
            "set": lambda by: sum({max(scores) for scores in by.values()}),
            "cut": lambda by: sum(min(max(scores), 1) for scores in by.values()),
        }[rule](by)
    return found


def _one_answer(said, keep) -> dict:
    """The mistake of keeping one answer per source, and with it the others' weights."""
    kept = {}
    for answer, source, score in said:
        better = keep == "last" or keep == "best" and score > kept.get(source, ("", 0))[1]
        if source not in kept or better:
            kept[source] = answer, score
    return _votes([(answer, source, score) for source, (answer, score) in kept.items()])


_VOTE = {
    "every row counts: a source that says a thing often has said it once": "rows",
    "every source counts as 1: it counts its best score": "heads",
    "rows are counted: a source counts once per answer, with its best score": "count",
    "a source's last score counts: take its best": "last",
    "a source's first score counts: take its best": "first",
    "a source's mean score counts: take its best": "mean",
    "the best score of all sources: add the sources up": "best",
    "the weight is divided by the number of sources: it is a sum": "share",
    "this is a source's best score for any answer: take its best for this answer": "anywhere",
    "two sources with the same best score are counted once: add the best score of each":
        "set",
    "a score is cut off at 1: scores may be higher": "cut",
}


JOINED = [("ab", "c", 0.5), ("a", "bc", 0.25), ("a", "b c", 0.25), ("a b", "c", 0.75)]
KEYS = "'ab' + 'c' and 'a' + 'bc' are the same string: take the pair (answer, source) as the key"


def check_vote(answer) -> None:
    rng = random.Random(seeded(1630))
    cases = [
        [("a", "Ann", 0.5), ("a", "Bob", 0.25), ("b", "Ann", 0.5)],
        [("b", "Cy", 0.25), ("b", "Cy", 0.5), ("b", "Cy", 0.375), ("a", "Ann", 0.75)],
        [("a", "Ann", 0.25), ("b", "Ann", 0.75), ("b", "Bob", 0.5)],  # one source, two answers
        [],
        [("a", "Ann", 0.5), ("a", "Bob", 0.5), ("b", "Cy", 0.75)],  # equal scores, two sources
        [("a", "Ann", 2.5), ("b", "Bob", 1.5), ("b", "Cy", 0.5)],
        JOINED,
    ]
    for _ in range(30):
        cases.append([(rng.choice("abcd"), rng.choice(("Ann", "Bob", "Cy", 4)),
                       rng.randint(1, 64) / 64) for _ in range(rng.randint(1, 14))])
    results = [call(answer, said=said) for said in cases]
    for said, yours in zip(cases, results, strict=True):
        right = _votes(said)
        details = _pairs(yours, right, dict(said=said), "(answer, weight)")
        if {item for item, _ in yours} != set(right):
            raise Wrong("other answers than those in `said`", **details, likely=KEYS
                        if said is JOINED else _kept_one(cases, results))  # fmt: skip
        if not all(_near(weight, right[item]) for item, weight in yours):
            fits = [why for why, rule in _VOTE.items()
                    if all(_explained(pairs, _votes(s, rule))
                           for s, pairs in zip(cases, results, strict=True))]  # fmt: skip
            why = fits[0] if len(fits) == 1 else KEYS if said is JOINED else _kept_one(
                cases, results)  # fmt: skip
            raise Wrong("the weights are not as expected", likely=why, **details)
        _highest_first(yours, "weight", details)


def _kept_one(cases, results) -> str | None:
    for keep in ("best", "last", "first"):
        only = [_one_answer(said, keep) for said in cases]
        if all(_explained(pairs, own) and len(pairs) == len(own)
               for pairs, own in zip(results, only, strict=True)):  # fmt: skip
            return "a source may back two answers: keep its best score for each of them"
    return None


def _pairs(yours, right: dict, given: dict, form: str) -> dict:
    """Expect a list of pairs, no item twice; what a later `expect` shows."""
    expect(yours is not None, "the result is None: does the function return it?", given=given)
    good = isinstance(yours, list) and all(isinstance(p, tuple | list) and len(p) == 2
                                           for p in yours)  # fmt: skip
    expect(good, f"the result should be a list of pairs {form}", given=given, yours=show(yours))
    ideal = [(i, float(s)) for i, s in sorted(right.items(), key=lambda p: -p[1])]
    details = dict(given=given, yours=_lines(yours), expected=_lines(ideal))
    items = [item for item, _ in yours]
    expect(len(set(items)) == len(items), f"{form.strip('()').split(',')[0]} stands in the result "
           "twice", **details)  # fmt: skip
    return details


def _highest_first(yours, name: str, details: dict) -> None:
    scores = [float(score) for _, score in yours]
    expect(all(a >= b - 1e-12 for a, b in zip(scores, scores[1:], strict=False)),
           f"the highest {name} does not come first", **details)  # fmt: skip


def _lines(pairs) -> str:
    return ", ".join(f"{item}: {show(score)}" for item, score in pairs) or "nothing"


def _near(score, right) -> bool:
    return isinstance(score, int | float | np.number) and abs(float(score) - float(right)) < 1e-9


def _explained(pairs, scores: dict) -> bool:
    """Whether these pairs have just these scores."""
    try:
        return all(_near(score, scores[item]) for item, score in pairs)
    except (KeyError, TypeError, ValueError):
        return False


def vote(said):
    """[(answer, weight)], the heaviest first: the sum of each source's best score for it."""
    best = {}
    for answer, source, score in said:
        best[answer, source] = max(score, best.get((answer, source), 0))
    weights = {}
    for (answer, _), score in best.items():
        weights[answer] = weights.get(answer, 0) + score
    return sorted(weights.items(), key=lambda pair: -pair[1])


# ---------------------------------------------------------------- 16.4


def _means(hidden: Tensor, mask: Tensor, make=None) -> Tensor:
    """Each text's mean, added up token by token; `make` makes a mistake instead."""
    if make:
        return make(hidden, mask).to(hidden.dtype)
    out = []
    for vectors, real in zip(hidden.double(), mask.tolist(), strict=True):
        kept = [v for v, there in zip(vectors, real, strict=True) if there]
        out.append(sum(kept) / len(kept))
    return torch.stack(out).to(hidden.dtype)


def _shares(mask: Tensor) -> Tensor:
    return mask[..., None].double()


_POOLING = {
    "padding is counted: the mean is over all places": lambda h, m: h.double().mean(1),
    "padding is left out of the sum and still counted: divide by the number of tokens":
        lambda h, m: (h.double() * _shares(m)).mean(1),
    "this is the sum: it is not divided": lambda h, m: (h.double() * _shares(m)).sum(1),
    "one count for the whole batch: each text has its own":
        lambda h, m: (h.double() * _shares(m)).sum(1) / m.sum() * len(m),
    "the sum is divided by the tokens of the whole batch: each text has its own count":
        lambda h, m: (h.double() * _shares(m)).sum(1) / m.sum(),
    "the first vectors of each text are taken, as many as it has tokens: padding may stand on the "
    "left": lambda h, m: torch.stack([v[:n].double().mean(0)
                                      for v, n in zip(h, m.sum(1), strict=True)]),
    "this is the first token alone": lambda h, m: h[:, 0].double(),
    "the mask is turned round: 1 is a token, 0 is padding":
        lambda h, m: (h.double() * (1 - _shares(m))).sum(1) / (1 - m).sum(1)[:, None],
    "the mean is over the coordinates or the texts, not over the tokens":
        lambda h, m: h.double().mean(2),
}  # fmt: skip


def check_mean_pool(answer) -> None:
    g = torch.Generator().manual_seed(seeded(1610))
    cases = []
    for lengths, size in (((5, 2, 3), 4), ((1, 6), 3), ((4,), 2)):
        hidden = torch.randn(len(lengths), max(lengths) + 1, size, generator=g)
        mask = torch.zeros(hidden.shape[:2], dtype=torch.long)
        for i, n in enumerate(lengths):  # some are padded on the left, as GPTs are
            mask[i, -n:] = 1
            if i != 1:
                mask[i] = mask[i].flip(0)
        cases.append(dict(hidden=hidden, mask=mask))
    cases.append(dict(hidden=cases[0]["hidden"].double(), mask=cases[0]["mask"]))
    specified(of_dtype(answer), cases, _means, making(_POOLING),
              what="the mean of each text")  # fmt: skip

    for fill in (math.nan, math.inf):
        def padded(hidden, mask, fill=fill):  # here: nan is not equal to itself, so nothing changes
            return of_dtype(answer)(torch.where(mask.bool()[..., None], hidden, fill), mask)

        try:
            specified(padded, cases[:1], _means,
                      what=f"the mean of each text, where padding holds {fill},")  # fmt: skip
        except Wrong as wrong:
            if isinstance(wrong.yours, Tensor) and not wrong.yours.isfinite().all():
                wrong.likely = (f"0 · {fill} is nan: choose with torch.where instead of "
                                "multiplying")  # fmt: skip
            raise


def mean_pool(hidden, mask):
    """The mean of each text's token vectors, padding left out, (batch, hidden)."""
    real = mask.bool()[..., None]
    return torch.where(real, hidden, 0).sum(1) / real.sum(1)


# ---------------------------------------------------------------- 16.5


def _fused(rankings, k, first=1, size=None, best=False, weight=None,
           last=False) -> dict:  # fmt: skip
    """item -> its score, as exact fractions; the keywords are mistakes."""
    found: dict = {}
    for item in {item for ranking in rankings for item in ranking}:
        places = [list(r).index(item) + first for r in rankings if item in r]
        if weight:
            scores = [weight(place, k) for place in places]
        else:
            scores = [Fraction(1) / (Fraction(k) + place) for place in places]
        scores = scores[-1:] if last else scores
        found[item] = max(scores) if best else sum(scores) / (size(rankings, places) if size else 1)
    return found


_FUSION = {
    "places are counted from 0: the first place is 1": dict(first=0),
    "k is forgotten: 1 / place": dict(weight=lambda place, k: Fraction(1, place)),
    "k is always 60": dict(weight=lambda place, k: Fraction(1, 60 + place)),
    "the best place alone counts: add up over the rankings": dict(best=True),
    "this is the mean over the rankings that hold the item: it is a sum":
        dict(size=lambda rankings, places: len(places)),
    "this is the mean over all rankings: it is a sum":
        dict(size=lambda rankings, places: len(rankings)),
    "a later ranking overwrites what an earlier one gave: add up over the rankings":
        dict(last=True),
    "this is 1 / k + place: it needs brackets round k + place":
        dict(weight=lambda place, k: 1 / Fraction(k) + place),
    "this is 1 / k + 1 / place: one over the sum is not the sum of two such":
        dict(weight=lambda place, k: 1 / Fraction(k) + Fraction(1, place)),
}  # fmt: skip


def check_fuse(answer) -> None:
    rng = random.Random(seeded(1630))
    cases = [([["a", "b", "c"], ["b", "d"]], 60), ([["x", "y"]], 1), ([[3, 1, 2], [], [2, 7]], 10),
             ([[5, 0, 2], [0, 7]], 60)]  # fmt: skip
    for _ in range(30):
        items = rng.sample(range(100), 9)
        cases.append(([rng.sample(items, rng.randint(0, 9)) for _ in range(rng.randint(1, 4))],
                      rng.choice((1, 5, 60, 200))))  # fmt: skip
    results = [call(answer, rankings=rankings, k=k) for rankings, k in cases]
    for (rankings, k), yours in zip(cases, results, strict=True):
        right = _fused(rankings, k)
        details = _pairs(yours, right, dict(rankings=rankings, k=k), "(item, score)")
        items = {item for item, _ in yours}
        expect(items == set(right), "other items than those in any of the rankings",
               likely=_left_out(rankings, set(right) - items) if items < set(right) else None,
               **details)  # fmt: skip
        if not all(_near(score, right[item]) for item, score in yours):
            raise Wrong("the scores are not as expected", likely=_fusion_mistake(cases, results),
                        **details)  # fmt: skip
        _highest_first(yours, "score", details)
    rankings = cases[0][0]
    try:
        yours = call(answer, rankings)
    except TypeError as error:
        raise Wrong(f"without `k` your function stops with TypeError: {error}",
                    given=dict(rankings=rankings),
                    likely="k has a default: def fuse(rankings, k=60)") from None  # fmt: skip
    right = _fused(rankings, 60)
    details = _pairs(yours, right, dict(rankings=rankings), "(item, score)")
    expect(_explained(yours, right), "without `k` the scores are not those of k = 60",
           likely="the default of k is 60", **details)  # fmt: skip


def _left_out(rankings, missing: set) -> str | None:
    once = {item for item in missing if sum(item in ranking for ranking in rankings) == 1}
    if missing == {0}:
        return "item 0 is an item as well: `if item` is False for it"
    if once == missing:
        return "an item of one ranking alone belongs into the result as well"
    return None


def _fusion_mistake(cases, results) -> str | None:
    fits = [why for why, how in _FUSION.items()
            if all(_explained(yours, _fused(rankings, k, **how))
                   for (rankings, k), yours in zip(cases, results, strict=True))]  # fmt: skip
    return fits[0] if len(fits) == 1 else None


def fuse(rankings, k=60):
    """[(item, score)], the highest score first: the sum of 1 / (k + place) over the rankings."""
    scores = {}
    for ranking in rankings:
        for place, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + 1 / (k + place)
    return sorted(scores.items(), key=lambda pair: -pair[1])


EXERCISES = {
    "16.1": Exercise("a query that survives its user", check_safe_query, safe_query),
    "16.2": Exercise("at most 5 % wrong", check_threshold, threshold_for),
    "16.3": Exercise("a vote of sources", check_vote, vote),
    "16.4": Exercise("mean pooling", check_mean_pool, mean_pool),
    "16.5": Exercise("reciprocal rank fusion", check_fuse, fuse),
}
