"""Lesson 06: RIGHT answers, and WRONG ones with what the feedback must say."""

import numpy as np
import torch

from advlib.corpora import replace, words

# ---------------------------------------------------------------- right answers


def swaps_by_list(word):
    found = []
    for i in range(1, len(word) - 2):
        cut = list(word)
        cut[i], cut[i + 1] = cut[i + 1], cut[i]
        found.append("".join(cut))
    return [new for new in found if new != word]


def swaps_by_comprehension(word):
    return [
        word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        for i in range(1, len(word) - 2)
        if word[i] != word[i + 1]
    ]


def gains_by_product(grad, e_old, table):
    return grad @ table.T - (grad * e_old).sum(1, keepdim=True)


def gains_by_einsum(grad, e_old, table):
    return torch.einsum("tvh,th->tv", table[None] - e_old[:, None], grad)


def rises_in_one(score, text):
    n = len(words(text))
    scores = score([text, *(replace(text, {i: "[UNK]"}) for i in range(n))])
    return scores[1:] - scores[0]


def rises_one_by_one(score, text):
    base = score([text])[0]
    return [
        float(score([replace(text, {i: "[UNK]"})])[0] - base) for i, _ in enumerate(words(text))
    ]


def greedy(
    score, text, options, order=None, accept=lambda new, now: new > now, keep=True, stop=True,
    pick=np.argmax, count=lambda spent, found: spent, early=True, least=-1e-12, give_up=False,
    forget=False, skip=True,
):  # fmt: skip
    """The search, with places to go wrong at."""
    now, changes, spent = score([text])[0], {}, 1
    if now > least and early:
        return text, 1
    rises = np.asarray(rises_in_one(score, text))
    spent += len(rises) + 1
    for i in np.argsort(-rises) if order is None else order(rises):
        if (skip and not options[i]) or (now > least and stop):
            continue
        under = changes if keep else {}
        scores = score([replace(text, {**under, i: w}) for w in options[i]])
        spent += len(scores)
        best = int(pick(scores))
        if accept(scores[best], now):
            changes = {} if forget else changes
            changes[int(i)], now = options[i][best], scores[best]
        elif give_up:
            break
    return replace(text, changes), count(spent, len(words(text)))


def greedy_frugal(score, text, options):
    """Counts by wrapping score, and ranks only words with options."""
    asked = []

    def ask(some):
        asked.extend(some)
        return score(some)

    now = ask([text])[0]
    places = [i for i, some in enumerate(options) if some]
    if now < 0 and places:
        rise = dict(
            zip(places, ask([replace(text, {i: "[UNK]"}) for i in places]) - now, strict=True)
        )
        done = {}
        for i in sorted(places, key=rise.get, reverse=True):
            tries = {w: s for w, s in zip(
                options[i], ask([replace(text, {**done, i: w}) for w in options[i]]), strict=True
            )}  # fmt: skip
            best = max(tries, key=tries.get)
            if tries[best] > now:
                now, done[i] = tries[best], best
            if now >= 0:
                break
        return replace(text, done), len(asked)
    return text, len(asked)


def swaps_by_keys(word):
    found = {}
    for i in range(1, len(word) - 2):
        found.setdefault("".join([word[:i], word[i + 1], word[i], word[i + 2 :]]))
    found.pop(word, None)
    return list(found)


def gains_in_loops(grad, e_old, table):
    rows = [[(g * (word - old)).sum() for word in table]
            for g, old in zip(grad.double(), e_old, strict=True)]  # fmt: skip
    return torch.stack([torch.stack(row) for row in rows])


def greedy_one_by_one(score, text, options):
    """Every text in a call of its own, and nothing twice."""
    now, done, spent = score([text])[0], {}, 1
    if now >= 0:
        return text, spent
    rises = [score([replace(text, {i: "[UNK]"})])[0] for i in range(len(options))]
    spent += len(rises)
    for i in sorted(range(len(rises)), key=rises.__getitem__, reverse=True):
        before = dict(done)
        for word in options[i]:
            new = score([replace(text, {**before, i: word})])[0]
            spent += 1
            if new > now:
                done[i], now = word, new
        if now >= 0:
            break
    return [replace(text, done), np.int64(spent)]


def kappa_in_torch(ratings, truth):
    pairs = [p for p in zip(ratings, truth, strict=True) if p[0] is not None and p[1] is not None]
    if not pairs:
        raise ValueError("nothing to compare")
    a, b = torch.tensor(pairs, dtype=torch.double).T
    same = (a == b).double().mean()
    chance = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
    return same, torch.zeros(()) if chance == 1 else (same - chance) / (1 - chance)


def kappa_by_counts(ratings, truth):
    pairs = [(a, b) for a, b in zip(ratings, truth, strict=True) if None not in (a, b)]
    if not pairs:
        raise ValueError("nothing to compare")
    n = len(pairs)
    same = sum(a == b for a, b in pairs) / n
    r, t = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    chance = r * t + (1 - r) * (1 - t)
    return same, (same - chance) / (1 - chance) if chance < 1 else 0.0


def kappa_by_sklearn(ratings, truth):
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    a, b = (np.array(x, dtype=object) for x in (ratings, truth))
    known = np.array([x is not None and y is not None for x, y in zip(a, b, strict=True)], bool)
    if not known.any():
        raise ValueError("nothing to compare")
    a, b = a[known].astype(bool), b[known].astype(bool)
    if len({*a, *b}) == 1:
        return [accuracy_score(a, b), 0.0]
    return [accuracy_score(a, b), cohen_kappa_score(a, b)]


RIGHT = [
    ("06.1", swaps_by_list), ("06.1", swaps_by_comprehension),
    ("06.2", gains_by_product), ("06.2", gains_by_einsum),
    ("06.3", rises_in_one), ("06.3", rises_one_by_one),
    ("06.4", greedy), ("06.4", greedy_frugal),
    ("06.5", kappa_by_counts), ("06.5", kappa_by_sklearn),
    ("06.1", swaps_by_keys), ("06.2", gains_in_loops),
    ("06.3", lambda s, x: torch.tensor(np.array(rises_in_one(s, x)))),
    ("06.4", greedy_one_by_one), ("06.5", kappa_in_torch),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def swapped(word, low, high):
    found = []
    for i in range(low, len(word) - high):
        found.append(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    return [new for new in found if new != word]


def any_pair(word):
    found = []
    for i in range(1, len(word) - 1):
        for j in range(i + 1, len(word) - 1):
            cut = list(word)
            cut[i], cut[j] = cut[j], cut[i]
            found.append("".join(cut))
    return [new for new in dict.fromkeys(found) if new != word]


def with_itself(word):
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 2)]


def gains_in_place(grad, e_old, table):
    table -= e_old[:1]
    return grad @ table.T


def rises_with(make, sign=1.0, base=True):
    def answer(score, text):
        n = len(words(text))
        scores = score([text, *(replace(text, make(i, n)) for i in range(n))])
        return sign * (scores[1:] - (scores[0] if base else 0))

    return answer


def unk(i, n):
    return {i: "[UNK]"}


def rises_wasteful(score, text):
    return [
        float(score([replace(text, {i: "[UNK]"})])[0] - score([text])[0])
        for i, _ in enumerate(words(text))
    ]


def rises_of(make, base=lambda x: x):
    """make(text, words, i) -> the text that is asked about."""

    def answer(score, text):
        found = words(text)
        scores = score([base(text), *(make(text, found, i) for i in range(len(found)))])
        return scores[1:] - scores[0]

    return answer


def joined(text, found, i):
    return " ".join([*found[:i], "[UNK]", *found[i + 1 :]])


def split_at_spaces(text, found, i):
    parts = text.split()
    return " ".join([*parts[:i], "[UNK]", *parts[i + 1 :]])


def greedy_by_str(score, text, options):
    now, current, spent = score([text])[0], text, 1
    if now >= 0:
        return text, spent
    rises, found = np.asarray(rises_in_one(score, text)), words(text)
    spent += len(rises) + 1
    for i in np.argsort(-rises):
        if options[i]:
            tries = [current.replace(found[i], w) for w in options[i]]
            scores = score(tries)
            spent += len(tries)
            if max(scores) > now:
                now, current = max(scores), tries[int(np.argmax(scores))]
        if now >= 0:
            break
    return current, spent


def greedy_steepest(score, text, options):
    now, changes, spent = score([text])[0], {}, 1
    while now < 0:
        tries = [(i, w) for i, some in enumerate(options) if i not in changes for w in some]
        if not tries:
            break
        scores = score([replace(text, {**changes, i: w}) for i, w in tries])
        spent += len(tries)
        if max(scores) <= now:
            break
        i, w = tries[int(np.argmax(scores))]
        changes[i], now = w, max(scores)
    return replace(text, changes), spent


def greedy_once_more(score, text, options):
    new, spent = greedy(score, text, options)
    score([new])
    return new, spent + 1


def greedy_ranking_anew(score, text, options):
    """The ranking is made again after every change."""
    now, done, spent = score([text])[0], {}, 1
    open_ = [i for i, some in enumerate(options) if some]
    while now < 0 and open_:
        rises = score([replace(text, {**done, i: "[UNK]"}) for i in open_])
        i = open_.pop(int(np.argmax(rises)))
        scores = score([replace(text, {**done, i: w}) for w in options[i]])
        spent += len(open_) + 1 + len(scores)
        if scores.max() > now:
            done[i], now = options[i][int(scores.argmax())], scores.max()
    return replace(text, done), spent


def greedy_all_or_nothing(score, text, options):
    new, spent = greedy(score, text, options)
    return (new if score.one(new) >= 0 else text), spent


def greedy_twice_at_the_start(score, text, options):
    if score([text])[0] >= 0:
        return text, len(score([text])) + 1
    new, spent = greedy(score, text, options)
    return new, spent + 1


def greedy_with_words(score, text, options):
    return greedy(score, text, options) if options else (None, 0)


def gains_with_flag(grad, e_old, table):
    return gains_by_product(grad, e_old, table.requires_grad_())


def rises_with_one_more(score, text):
    score([text])
    return rises_in_one(score, text)


def kappa_of_two_at_least(ratings, truth):
    if len(ratings) < 2:
        raise ValueError("too few")
    return kappa_by_counts(ratings, truth)


def kappa_apart(ratings, truth):
    a, b = ([x for x in side if x is not None] for side in (ratings, truth))
    if not a or not b:
        raise ValueError("nothing to compare")
    n = min(len(a), len(b))
    return kappa_by_counts(a[:n], b[:n])


def kappa_apart_strict(ratings, truth):
    a, b = ([x for x in side if x is not None] for side in (ratings, truth))
    return kappa_by_counts(a, b)


def scott(s, r, t):
    return true_kappa(s, (r + t) / 2, (r + t) / 2)


def greedy_in_place(score, text, options):
    result = greedy(score, text, options)
    options[0] = ()
    return result


def kappa_of(rule, same=lambda both: np.mean([a == b for a, b in both]), leave_out=True):
    """An answer to 06.5 from (p_same, r, t) -> kappa."""

    def answer(ratings, truth):
        both = [(a, b) for a, b in zip(ratings, truth, strict=True)
                if not leave_out or (a is not None and b is not None)]  # fmt: skip
        if not both:
            raise ValueError("nothing to compare")
        r, t = (np.mean([bool(x) for x in side]) for side in zip(*both, strict=True))
        return same(both), rule(same(both), r, t)

    return answer


def true_kappa(s, r, t, edge=0.0):
    chance = r * t + (1 - r) * (1 - t)
    return edge if chance == 1 else (s - chance) / (1 - chance)


def no_edge(ratings, truth):
    pairs = [(a, b) for a, b in zip(ratings, truth, strict=True) if None not in (a, b)]
    n = len(pairs)
    same = sum(a == b for a, b in pairs) / n
    r, t = sum(a for a, _ in pairs) / n, sum(b for _, b in pairs) / n
    return same, (same - r * t - (1 - r) * (1 - t)) / (1 - r * t - (1 - r) * (1 - t))


def zero_for_nothing(ratings, truth):
    try:
        return kappa_by_counts(ratings, truth)
    except ValueError:
        return 0.0, 0.0


WRONG = [
    ("06.1", lambda word: swapped(word, 0, 2), "first letter"),
    ("06.1", lambda word: swapped(word, 1, 1), "last letter"),
    ("06.1", lambda word: swapped(word, 0, 1), "first letter|last letter"),
    ("06.1", lambda word: swapped(word, 1, 3), "one step early"),
    ("06.1", any_pair, "not neighbours"),
    ("06.1", with_itself, "word itself"),
    ("06.1", lambda word: swaps_by_list(word) * 2, "twice"),
    ("06.1", lambda word: swaps_by_list(word.lower()), "upper and lower"),
    ("06.1", lambda word: [word[:i] + word[i + 1 :] for i in range(1, len(word) - 2)],
     "lost or were added"),
    ("06.1", lambda word: [], "empty"),
    ("06.1", lambda word: None, "return"),
    ("06.1", lambda word: next(iter(swaps_by_list(word)), ""), "list of words"),
    ("06.1", lambda w: [w.replace(w[i : i + 2], w[i + 1] + w[i]) for i in range(1, len(w) - 2)
                        if w[i] != w[i + 1]], "str.replace"),
    ("06.1", lambda w: [w.replace(w[i : i + 2], w[i + 1] + w[i], 1) for i in range(1, len(w) - 2)
                        if w[i] != w[i + 1]], "str.replace"),
    ("06.1", lambda word: swaps_by_list(word)[::-1], "left to right"),
    ("06.1", lambda word: sorted(swaps_by_list(word)), "left to right"),
    ("06.1", lambda word: set(swaps_by_list(word)), "list of words, not set"),
    ("06.1", lambda word: tuple(swaps_by_list(word)), "list of words, not tuple"),
    ("06.1", lambda word: [w for w in swaps_by_list(word) if w.lower() != word.lower()],
     "different letters"),
    ("06.1", lambda w: [w[:i] + w[i + 1] + w[i] + w[i + 2 :] for i in range(1, len(w) - 2)
                        if w[i] != w[i + 1] and w[i : i + 2].isalpha()], "apostrophe"),
    ("06.1", lambda w: swaps_by_list(w) if w[0] else [], "IndexError"),
    ("06.1", lambda w: swaps_by_list(w) if w.isascii() else [], "'élèves'"),
    ("06.1", lambda w: swaps_by_list(w) or [w], "not as expected\n  word = 'cat'"),
    ("06.1", lambda w: swaps_by_list(w)[1:] if len(w) < 5 else swaps_by_list(w), "'form'\n"),
    ("06.2", gains_with_flag, "requires_grad of `table`"),
    ("06.2", lambda g, e, t: g @ t.T - (g[0] * e[0]).sum(), "gains is not as expected\n  grad"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).clamp_min(0), "cut off at 0"),
    ("06.2", lambda g, e, t: g @ t.T - (g * e).sum(1), "keepdim"),
    ("06.2", lambda g, e, t: g @ t, r"table\.T"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).numpy(), "tensor"),
    ("06.2", lambda g, e, t: -gains_by_product(g, e, t), "wrong sign"),
    ("06.2", lambda g, e, t: g @ t.T, "e_old is missing"),
    ("06.2", lambda g, e, t: g @ t.T + (g * e).sum(1, keepdim=True), "added instead"),
    ("06.2", lambda g, e, t: g @ t.T - (g * e).sum(), "over all tokens"),
    ("06.2", lambda g, e, t: gains_by_product(g / g.norm(dim=1, keepdim=True), e, t),
     "normalised"),
    ("06.2", lambda g, e, t: (t[None] - e[:, None]).norm(dim=2), "not used"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).T, "axes"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).amax(1), "best word"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).abs(), "absolute"),
    ("06.2", lambda g, e, t: gains_by_product(g, e, t).tolist(), "tensor"),
    ("06.2", gains_in_place, "in place"),
    ("06.2", lambda g, e, t: None, "return"),
    ("06.3", rises_with(unk, sign=-1.0), "wrong sign"),
    ("06.3", rises_with(unk, base=False), "not subtracted"),
    ("06.3", rises_with(lambda i, n: {i: ""}), "left out"),
    ("06.3", rises_with(lambda i, n: {i: "[MASK]"}), "MASK"),
    ("06.3", rises_with(lambda i, n: {j: "[UNK]" for j in range(i + 1)}), "one at a time"),
    ("06.3", rises_with(lambda i, n: {j: "[UNK]" for j in range(n) if j != i}), "all other"),
    ("06.3", lambda s, x: np.abs(rises_in_one(s, x)), "absolute"),
    ("06.3", lambda s, x: np.sort(rises_in_one(s, x))[::-1], "order of the words"),
    ("06.3", lambda s, x: np.argsort(-rises_in_one(s, x)), "order of importance"),
    ("06.3", lambda s, x: dict(enumerate(rises_in_one(s, x))), "dict"),
    ("06.3", lambda s, x: s(x), "list of texts"),
    ("06.3", rises_wasteful, "enough"),
    ("06.3", lambda s, x: None, "return"),
    ("06.3", rises_of(lambda x, f, i: x.replace(f[i], "[UNK]")), "str.replace changes every"),
    ("06.3", rises_of(lambda x, f, i: x.replace(f[i], "[UNK]", 1)), "str.replace changes the f"),
    ("06.3", rises_of(joined), "punctuation"),
    ("06.3", rises_of(joined, lambda x: " ".join(words(x))), "punctuation"),
    ("06.3", rises_of(split_at_spaces), r"text\.split"),
    ("06.3", rises_with(lambda i, n: {i: "UNK"}), "brackets"),
    ("06.3", lambda s, x: np.maximum(rises_in_one(s, x), 0), "cut off at 0"),
    ("06.3", lambda s, x: np.asarray(rises_in_one(s, x))[:, None], r"shape \(8, 1\)"),
    ("06.3", lambda s, x: [str(v) for v in rises_in_one(s, x)], "list or an array of numbers"),
    ("06.3", lambda s, x: rises_in_one(s, x) if words(x) else [0.0], r"expected \(0,\)"),
    ("06.3", rises_with_one_more, "number of texts that score was asked about"),
    ("06.4", greedy_ranking_anew, "not as expected\n  score"),
    ("06.4", greedy_all_or_nothing, "where the search ended is not as expected\n  score"),
    ("06.4", greedy_twice_at_the_start, "number of texts|`queries` minus"),
    ("06.4", greedy_with_words, "string, not NoneType"),
    ("06.4", lambda *a: (greedy(*a)[0], float(greedy(*a)[1])), "whole number, not float"),
    ("06.4", lambda *a: greedy(*a, order=lambda r: range(len(r))), "left to right"),
    ("06.4", greedy_by_str, "str.replace"),
    ("06.4", lambda *a: greedy(*a, accept=lambda new, now: new >= now), "tie"),
    ("06.4", lambda *a: greedy(*a, least=1e-12), "exactly 0"),
    ("06.4", lambda *a: greedy(*a, stop=False), "goes on"),
    ("06.4", lambda *a: greedy(*a, early=False), "no test at the start"),
    ("06.4", lambda *a: greedy(*a, give_up=True), "gives up"),
    ("06.4", lambda *a: greedy(*a, keep=False, forget=True), "forgotten"),
    ("06.4", lambda *a: greedy(*a, skip=False), "no options"),
    ("06.4", greedy_steepest, "every round"),
    ("06.4", greedy_once_more, "once more"),
    ("06.4", lambda *a: greedy(*a, order=np.argsort), "least important"),
    ("06.4", lambda *a: greedy(*a, accept=lambda new, now: True), "lowers the score"),
    ("06.4", lambda *a: greedy(*a, keep=False), "earlier changes"),
    ("06.4", lambda *a: greedy(*a, stop=False, early=False), "goes on"),
    ("06.4", lambda *a: greedy(*a, pick=lambda s: 0, accept=lambda new, now: True),
     "without a look"),
    ("06.4", lambda *a: greedy(*a, count=lambda spent, n: spent - n - 1), "not counted|left out"),
    ("06.4", lambda *a: greedy(*a, count=lambda spent, n: 3), "`queries` minus"),
    ("06.4", lambda s, x, o: greedy(s, x, o)[0], "two things"),
    ("06.4", lambda s, x, o: (x, 1 if s([x])[0] else 0), "nothing was changed"),
    ("06.4", greedy_in_place, "changes its input `options`"),
    ("06.4", lambda s, x, o: (s([x]), greedy(s, x, o))[1], "asked"),
    ("06.5", kappa_of(lambda s, r, t: s), "chance is not subtracted"),
    ("06.5", kappa_of(lambda s, r, t: s - r * t - (1 - r) * (1 - t)), "not divided"),
    ("06.5", kappa_of(lambda s, r, t: (s - 0.5) / 0.5), "one half"),
    ("06.5", kappa_of(lambda s, r, t: (s - r * t) / (1 - r * t) if r * t < 1 else 0.0),
     "True with True"),
    ("06.5", kappa_of(lambda s, r, t: true_kappa(s, t, t)), "truth alone"),
    ("06.5", kappa_of(lambda s, r, t: true_kappa(s, r, r)), "ratings alone"),
    ("06.5", kappa_of(lambda s, r, t: true_kappa(s, r, t, edge=1.0)), "0, not 1"),
    ("06.5", kappa_of(true_kappa, leave_out=False), "None"),
    ("06.5", kappa_of(true_kappa, same=lambda both: np.mean([a != b for a, b in both])),
     "disagreement"),
    ("06.5", kappa_of(true_kappa, same=lambda both: sum(a == b for a, b in both)), "number of"),
    ("06.5", lambda r, t: kappa_by_counts(r, t)[::-1], "order"),
    ("06.5", lambda r, t: kappa_by_counts(r, t)[0], "two things"),
    ("06.5", kappa_apart, "separately"),
    ("06.5", kappa_apart_strict, "separately"),
    ("06.5", kappa_of(scott), "Scott"),
    ("06.5", kappa_of(lambda s, r, t: max(0.0, true_kappa(s, r, t))), "cut off at 0"),
    ("06.5", no_edge, "divides by zero"),
    ("06.5", kappa_of_two_at_least, "raises ValueError"),
    ("06.5", lambda r, t: tuple(map(str, kappa_by_counts(r, t))), "two numbers"),
    ("06.5", kappa_of(lambda s, r, t: max(-0.5, true_kappa(s, r, t))), "kappa is not as expected"),
    ("06.5", lambda r, t: (kappa_by_counts(r, t), r.clear())[0], "changes its input `ratings`"),
    ("06.5", zero_for_nothing, "ValueError"),
]  # fmt: skip
