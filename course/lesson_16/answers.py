"""Right and wrong answers to the exercises of lesson 16."""

import math
import re
from collections import Counter

import numpy as np
import torch

from advlib.systems.retrieval import fold

# ---------------------------------------------------------------- 16.1


def query_by_loop(text):
    folded, parts = fold(text), []
    for i in range(len(folded) - 2):
        parts.append('"' + folded[i : i + 3] + '"')
    return " OR ".join(parts) if parts else '""'


def query_by_set(text):
    letters = " ".join(re.findall(r"\w+", text.lower()))
    runs = sorted({letters[i : i + 3] for i in range(len(letters) - 2)})
    return "(" + " OR ".join(f'"{run}"' for run in runs) + ")" if runs else '""'


def query_with(join=" OR ", read=fold, quote='"{}"'.format, size=3, empty='""', after=None):
    """Answers to 16.1 that do one thing in another way."""

    def answer(text):
        letters = read(text)
        runs = [letters[i : i + size] for i in range(len(letters) - size + 1)]
        query = join.join(map(quote, runs)) or empty
        return after(query) if after else query

    return answer


def query_within_words(text):
    return " OR ".join(f'"{word[i : i + 3]}"' for word in fold(text).split()
                       for i in range(len(word) - 2)) or '""'  # fmt: skip


def query_of_words(text):
    return " OR ".join(f'"{word}"' for word in fold(text).split()) or '""'


def query_capped(most):
    return lambda text: " OR ".join(query_by_loop(text).split(" OR ")[:most])


# ---------------------------------------------------------------- 16.2


def threshold_by_sorting(confidence, correct, most_wrong):
    order = np.argsort(-confidence, kind="stable")
    c, wrong = confidence[order], np.cumsum(~correct[order])
    risk = wrong / np.arange(1, len(c) + 1)
    last = np.append(c[1:] != c[:-1], True)
    good = c[last & (risk <= most_wrong)]
    return good.min() if len(good) else np.inf


def threshold_by_min(confidence, correct, most_wrong):
    return min((t for t in confidence.tolist()
                if np.mean(~correct[confidence >= t]) <= most_wrong), default=math.inf)  # fmt: skip


def threshold_with(at=None, of=None, pick=min, none=math.inf, after=None, change=None):
    """Answers to 16.2 that do one thing in another way."""

    def answer(confidence, correct, most_wrong):
        if change:
            change(confidence, correct)
        good = []
        for t in np.unique(confidence)[::-1]:
            answered = at(confidence, t) if at else confidence >= t
            wrong = (~correct[answered]).sum()
            if answered.sum() and wrong / (of(confidence) if of else answered.sum()) <= most_wrong:
                good.append(float(t))
        out = pick(good) if good else none
        return after(out) if after else out

    return answer


def threshold_first(confidence, correct, most_wrong):
    best = math.inf
    for t in np.unique(confidence)[::-1]:
        if (~correct[confidence >= t]).mean() > most_wrong:
            break
        best = float(t)
    return best


def threshold_cuts_ties(confidence, correct, most_wrong):
    order = np.argsort(-confidence, kind="stable")
    risk = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    good = confidence[order][risk <= most_wrong]
    return good.min() if len(good) else math.inf


def threshold_on_grid(confidence, correct, most_wrong):
    for t in np.linspace(0, 1, 101):
        answered = confidence >= t
        if answered.any() and (~correct[answered]).mean() <= most_wrong:
            return t
    return math.inf


def threshold_min_of_none(confidence, correct, most_wrong):
    return min(t for t in confidence.tolist() if (~correct[confidence >= t]).mean() <= most_wrong)


def threshold_strictly_below(confidence, correct, most_wrong):
    return min((t for t in confidence.tolist() if (~correct[confidence >= t]).mean() < most_wrong),
               default=math.inf)  # fmt: skip


def threshold_of(tried, share=lambda correct, at: (~correct[at]).mean(), pick=min):
    """Answers to 16.2 that try other numbers, or another share."""

    def answer(confidence, correct, most_wrong):
        good = [t for t in tried(confidence, correct) if (confidence >= t).any()
                and share(correct, confidence >= t) <= most_wrong]  # fmt: skip
        return float(pick(good)) if good else math.inf

    return answer


def threshold_if_all_right(result):
    def answer(confidence, correct, most_wrong):
        if correct.all():
            return float(result(confidence))
        return threshold_by_min(confidence, correct, most_wrong)

    return answer


def threshold_on_grid_mapped_back(confidence, correct, most_wrong):
    t = threshold_of(lambda c, ok: np.arange(1001) / 1000)(confidence, correct, most_wrong)
    return t if math.isinf(t) else float(confidence[confidence >= t].min())


def threshold_in_single(confidence, correct, most_wrong):
    return float(threshold_of(lambda c, ok: np.unique(c))(
        confidence.astype(np.float32), correct, most_wrong))  # fmt: skip


# ---------------------------------------------------------------- 16.3


def vote_with_equal_scores_once(said):
    best = {}
    for a, s, score in said:
        best[a, s] = max(score, best.get((a, s), 0))
    weights = {a: sum({x for (b, _), x in best.items() if b == a}) for a, _, _ in said}
    return sorted(weights.items(), key=lambda pair: -pair[1])


def vote_by_string(said, between=""):
    best = {}
    for a, s, score in said:
        key = f"{a}{between}{s}"
        if key not in best or score > best[key][1]:
            best[key] = a, score
    weights = Counter()
    for a, score in best.values():
        weights[a] += score
    return weights.most_common()


def vote_by_answer(said):
    said, out = list(said), []
    for answer in {a for a, _, _ in said}:
        sources = {s for a, s, _ in said if a == answer}
        out.append((answer, sum(max(x for a, s, x in said if (a, s) == (answer, source))
                                for source in sources)))  # fmt: skip
    return sorted(out, key=lambda pair: pair[1], reverse=True)


def vote_by_sorting(said):
    best = {}
    for answer, source, score in sorted(said, key=lambda row: row[2]):  # the best stays
        best[answer, source] = score
    weights = Counter()
    for (answer, _), score in best.items():
        weights[answer] += score
    return weights.most_common()


def vote_with(keep=max, add=lambda a, b: a + b, key=lambda a, s: (a, s), after=None, change=None,
              sort=-1):  # fmt: skip
    """Answers to 16.3 that do one thing in another way."""

    def answer(said):
        best, weights = {}, {}
        for a, s, score in said:
            best[key(a, s)] = keep(best[key(a, s)], score) if key(a, s) in best else score
        for (a, _), score in best.items():
            weights[a] = add(weights[a], score) if a in weights else score
        if change:
            change(said)
        out = sorted(weights.items(), key=lambda pair: sort * pair[1])
        return after(out) if after else out

    return answer


def vote_once_in_all(said, last=False):
    best = {}
    for answer, source, score in said:
        if last or source not in best or score > best[source][1]:
            best[source] = answer, score
    return vote_by_answer([(a, s, x) for s, (a, x) in best.items()])


def vote_by_best_of_all_answers(said):
    best, backed = {}, {}
    for answer, source, score in said:
        best[source] = max(score, best.get(source, 0))
        backed.setdefault(answer, set()).add(source)
    weights = {answer: sum(best[s] for s in sources) for answer, sources in backed.items()}
    return sorted(weights.items(), key=lambda pair: -pair[1])


# ---------------------------------------------------------------- 16.4


def pool_by_loop(hidden, mask):
    return torch.stack([h[m == 1].mean(0) for h, m in zip(hidden, mask, strict=True)])


def pool_by_product(hidden, mask):
    weights = mask / mask.sum(1, keepdim=True)
    return torch.einsum("bt,bth->bh", weights.to(hidden.dtype), hidden.nan_to_num())


def pool_with(count=None, change=None, after=None, keep=None):
    """Answers to 16.4 that do one thing in another way."""

    def answer(hidden, mask):
        if change:
            change(hidden, mask)
        m = mask[..., None].to(hidden.dtype)
        total = (torch.where(m > 0, hidden, 0) if keep is None else keep(hidden, m)).sum(1)
        out = total / (count(mask) if count else mask.sum(1, keepdim=True))
        return after(out) if after else out

    return answer


# ---------------------------------------------------------------- 16.5


def fuse_by_item(rankings, k=60):
    items = list(dict.fromkeys(item for ranking in rankings for item in ranking))
    scores = [sum(1 / (k + r.index(i) + 1) for r in rankings if i in r) for i in items]
    return [(items[j], scores[j]) for j in np.argsort(-np.array(scores), kind="stable")]


def fuse_with(first=1, score=lambda k, place: 1 / (k + place), add=lambda a, b: a + b, after=None,
              change=None, sort=-1):  # fmt: skip
    """Answers to 16.5 that do one thing in another way."""

    def answer(rankings, k=60):
        found = {}
        for ranking in rankings:
            for place, item in enumerate(ranking, first):
                found[item] = add(found.get(item, 0.0), score(k, place))
        if change:
            change(rankings)
        out = sorted(found.items(), key=lambda pair: sort * pair[1])
        return after(out, rankings) if after else out

    return answer


def in_all(out, rankings):
    return [(item, s) for item, s in out if all(item in ranking for ranking in rankings)]


def fuse_without_default(rankings, k):
    return fuse_by_item(rankings, k)


RIGHT = [
    ("16.1", query_by_loop), ("16.1", query_by_set), ("16.1", query_with()),
    ("16.2", threshold_by_sorting), ("16.2", threshold_by_min), ("16.2", threshold_with()),
    ("16.3", vote_by_answer), ("16.3", vote_by_sorting), ("16.3", vote_with()),
    ("16.3", lambda said: [list(pair) for pair in vote_by_answer(said)]),
    ("16.4", pool_by_loop), ("16.4", pool_by_product), ("16.4", pool_with()),
    ("16.5", fuse_by_item), ("16.5", fuse_with()),
    ("16.5", fuse_with(after=lambda out, _: [list(pair) for pair in out])),
]  # fmt: skip

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("16.1", lambda text: text, "FTS5's language|read as|SQLite stops|finds other rows"),
    ("16.1", lambda text: f'"{text}"', "SQLite stops|finds other rows"),
    ("16.1", query_with(join=" "), "put OR between"),
    ("16.1", query_with(quote="{}".format), "no quotes round the runs"),
    ("16.1", query_with(read=lambda text: text.replace('"', "")), "fold\\(text\\) first"),
    ("16.1", query_with(read=str), "finds other rows|SQLite stops"),
    ("16.1", query_of_words, "such as a whole word"),
    ("16.1", query_within_words, "runs cross spaces"),
    ("16.1", lambda text: query_by_loop(text[:100]), "only the beginning"),
    ("16.1", lambda text: query_by_loop(text[:250]), "only the beginning"),
    ("16.1", query_with(empty=""), "two quotes"),
    ("16.1", query_with(size=4), "finds other rows"),
    ("16.1", query_with(after=lambda q: [q]), "should be a str"),
    ("16.1", query_with(after=lambda q: None), "return"),
    ("16.1", query_with(after=lambda q: q + ' OR "car"'), "finds other rows"),
    ("16.1", query_with(join=" or "), "in capitals"),
    ("16.1", query_with(empty='"zzzqqq"'), "find nothing anywhere"),
    ("16.1", query_capped(290), "only the beginning"),
    ("16.1", query_capped(297), "only the beginning"),
    ("16.2", threshold_if_all_right(lambda c: 0.0), "the lowest confidence of all"),
    ("16.2", threshold_if_all_right(np.max), "the lowest confidence of all"),
    ("16.2", threshold_of(lambda c, ok: np.unique(c.round(3))), "are rounded"),
    ("16.2", threshold_on_grid_mapped_back, "not as expected"),
    ("16.2", threshold_in_single, "float32"),
    ("16.2", threshold_of(lambda c, ok: c, lambda ok, at: ok[at].mean()), r"that is \*right"),
    ("16.2", threshold_of(lambda c, ok: c, pick=lambda good: good[0]), "in the order given"),
    ("16.2", threshold_of(lambda c, ok: c[ok]), "of wrong answers are thresholds"),
    ("16.2", threshold_first, "for the first time"),
    ("16.2", threshold_with(of=len), "share of all"),
    ("16.2", threshold_with(pick=max), "highest such"),
    ("16.2", threshold_with(of=len), r"0\.9.*0\.8.*0\.7.*0\.6"),
    ("16.2", threshold_with(at=lambda c, t: c > t), "not only above"),
    ("16.2", threshold_cuts_ties, "equal confidences come in together"),
    ("16.2", threshold_strictly_below, "<=, not <"),
    ("16.2", threshold_on_grid, "none of the confidences"),
    ("16.2", threshold_min_of_none, "of an empty list"),
    ("16.2", threshold_with(none=1.0), "math.inf"),
    ("16.2", threshold_with(after=lambda t: (t, 0.5)), "a number"),
    ("16.2", threshold_with(after=lambda t: None), "return"),
    ("16.2", threshold_with(change=lambda c, ok: c.sort()), "changes an array"),
    ("16.3", vote_with(keep=lambda a, b: a + b), "every row counts"),
    ("16.3", vote_with(keep=lambda a, b: b), "last score"),
    ("16.3", vote_with(keep=lambda a, b: a), "first score"),
    ("16.3", vote_with(add=max), "best score of all"),
    ("16.3", vote_with(sort=1), "highest weight"),
    ("16.3", vote_by_best_of_all_answers, "for any answer"),
    ("16.3", vote_once_in_all, "a source may back two"),
    ("16.3", lambda said: vote_once_in_all(said, last=True), "a source may back two"),
    ("16.3", vote_with(after=dict), "list of pairs"),
    ("16.3", vote_with(after=lambda out: out[0] if out else None), "return|list of pairs"),
    ("16.3", vote_with(after=lambda out: [a for a, _ in out]), "list of pairs"),
    ("16.3", vote_with(after=lambda out: out[:1]), "other answers"),
    ("16.3", vote_with(change=lambda said: said.sort(key=str)), "input `said`"),
    ("16.3", lambda said: [("z", 1.0), *vote_with(keep=lambda a, b: b)(said)], "other answers"),
    ("16.3", lambda said: vote_with(keep=lambda a, b: b)(said) if said else None,
     "weights are not|return"),
    ("16.3", lambda said: None, "return"),
    ("16.3", vote_with_equal_scores_once, "counted once"),
    ("16.3", lambda said: vote_with()([(a, s, min(x, 1)) for a, s, x in said]), "cut off at 1"),
    ("16.3", vote_by_string, "take the pair"),
    ("16.3", lambda said: vote_by_string(said, " "), "take the pair"),
    ("16.4", lambda h, m: h.mean(1), "padding is counted"),
    ("16.4", pool_with(count=lambda m: m.shape[1]), "still counted"),
    ("16.4", pool_with(count=lambda m: 1), "not divided"),
    ("16.4", pool_with(count=lambda m: m.sum() / len(m)), "whole batch"),
    ("16.4", pool_with(count=lambda m: m.sum()), "tokens of the whole batch"),
    ("16.4", lambda h, m: torch.stack([x[:n].mean(0) for x, n in zip(h, m.sum(1), strict=True)]),
     "on the left"),
    ("16.4", lambda h, m: h[:, 0], "first token"),
    ("16.4", pool_with(keep=lambda h, m: h * m), "0 · nan"),
    ("16.4", pool_with(change=lambda h, m: h.mul_(m[..., None])), "in place"),
    ("16.4", pool_with(change=lambda h, m: m.fill_(1)), "in place"),
    ("16.4", pool_with(after=lambda out: out.double()), "a model takes no other"),
    ("16.4", pool_with(after=lambda out: out[:, None]), "shape"),
    ("16.4", pool_with(after=lambda out: out.numpy()), "should be a tensor"),
    ("16.4", lambda h, m: None, "return"),
    ("16.4", pool_with(after=lambda out: out.float()), "a model takes no other"),
    ("16.4", pool_with(keep=lambda h, m: torch.where(h.isnan(), 0, h * m)), "0 · inf"),
    ("16.5", fuse_with(first=0), "from 0"),
    ("16.5", fuse_with(score=lambda k, place: 1 / place), "k is forgotten"),
    ("16.5", fuse_with(score=lambda k, place: 1 / (60 + place)), "always 60"),
    ("16.5", fuse_with(score=lambda k, place: 1 / k + place), "brackets round k \\+ place"),
    ("16.5", fuse_with(score=lambda k, place: 1 / k + 1 / place), "1 / k \\+ 1 / place"),
    ("16.5", fuse_with(add=max), "best place alone"),
    ("16.5", fuse_with(add=lambda a, b: b), "overwrites"),
    ("16.5", fuse_with(sort=1), "highest score"),
    ("16.5", fuse_with(after=in_all), "one ranking alone"),
    ("16.5", fuse_with(after=lambda out, _: dict(out)), "list of pairs"),
    ("16.5", fuse_with(after=lambda out, _: [item for item, _ in out]), "list of pairs"),
    ("16.5", fuse_with(change=lambda rankings: rankings[0].reverse()), "input `rankings`"),
    ("16.5", lambda rankings, k=60: None, "return"),
    ("16.5", fuse_without_default, "k has a default"),
    ("16.5", lambda rankings, k=61: fuse_by_item(rankings, k), "the default of k is 60"),
    ("16.5", fuse_with(after=lambda out, _: [pair for pair in out if pair[0]]), "item 0"),
]
