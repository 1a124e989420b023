"""Checks of lesson 06, real words.

The specification: swapped words are found among all rearrangements of the letters; the gain of a
flip is measured on a score that is linear, where the estimate is exact; importance and the greedy
search are followed by a loop of their own on scores made from a table, which also counts every
text that is asked about; agreement is counted pair by pair.
"""

from __future__ import annotations

import functools
import math
import zlib
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from advlib.corpora import replace, words
from course.checking import Exercise, Wrong, call, expect, making, seeded, specified

# ---------------------------------------------------------------- 06.1


def _swapped(word: str, make=lambda word, found: found) -> str:
    """Rearrangements of the inner letters that differ in two neighbouring places, by trying all;
    from left to right. make(word, found) makes a mistake of them."""
    found = {}
    for inner in set(permutations(word[1:-1])):
        new = word[:1] + "".join(inner) + word[-1:]
        places = [i for i in range(len(word)) if new[i] != word[i]]
        if len(word) > 3 and len(places) == 2 and places[1] - places[0] == 1:
            found[new] = places[0]
    return ", ".join(make(word, sorted(found, key=found.get))) or "(no words)"


def _exchanged(word: str, low: int, high: int, apart: int | None = 1) -> list[str]:
    """Two places in low … high − 1 exchanged, `apart` letters apart (None: any)."""
    found = []
    for i in range(low, high):
        for j in range(i + 1, high):
            if apart is None or j - i == apart:
                letters = list(word)
                letters[i], letters[j] = letters[j], letters[i]
                found.append("".join(letters))
    return list(dict.fromkeys(w for w in found if w != word))


def _by_replace(word: str, count: int) -> list[str]:
    """What str.replace makes of every inner pair; it changes `count` places (-1: all)."""
    made = [word.replace(word[i : i + 2], word[i + 1] + word[i], count)
            for i in range(1, len(word) - 2)]  # fmt: skip
    return [w for w in made if w != word]


REPLACE = "str.replace looks for the two letters in the whole word: cut the word at place i"
_SWAP_MISTAKES = {
    "the order: go through the word from left to right": lambda w, found: found[::-1],
    "the order: go through the word from left to right, do not sort": lambda w, found:
        sorted(found),
    "upper and lower case must stay": lambda w, found: _exchanged(w.lower(), 1, len(w) - 1),
    "the list is empty: nothing was swapped": lambda w, found: [],
    "the word itself is among them: two equal letters swapped change nothing":
        lambda w, found: [w[:i] + w[i + 1] + w[i] + w[i + 2 :] for i in range(1, len(w) - 2)],
    "a word stands in the list twice": lambda w, found: 2 * found,
    REPLACE: lambda w, found: _by_replace(w, 1),
    REPLACE + "; it changes all places": lambda w, found: _by_replace(w, -1),
    "A and a are different letters: their swap is another word":
        lambda w, found: [v for v in found if v.lower() != w.lower()],
    "every character counts as a letter, an apostrophe too": lambda w, found:
        [v for v in found if all(a == b or a.isalpha() for a, b in zip(v, w, strict=True))],
    "the first letter has moved: only inner letters may change places":
        lambda w, found: _exchanged(w, 0, len(w) - 1),
    "the last letter has moved: only inner letters may change places":
        lambda w, found: _exchanged(w, 1, len(w)),
    "the first letter and the last letter have moved: only inner letters may change places":
        lambda w, found: _exchanged(w, 0, len(w)),
    "letters that are not neighbours were swapped":
        lambda w, found: _exchanged(w, 1, len(w) - 1, None),
    "the last pair of inner letters is missing: the loop ends one step early":
        lambda w, found: _exchanged(w, 1, len(w) - 2),
    "the first pair of inner letters is missing": lambda w, found: _exchanged(w, 2, len(w) - 1),
}  # fmt: skip


def check_swaps(answer) -> None:
    def run(word: str) -> str:
        yours = answer(word)
        expect(yours is not None, "the result is None: does the function return it?")
        expect(isinstance(yours, list), "the result should be a list of words, not "
               f"{type(yours).__name__}", yours=yours)  # fmt: skip
        expect(all(isinstance(w, str) for w in yours), "the list should hold words (strings)",
               yours=yours)  # fmt: skip
        expect(all(sorted(w.lower()) == sorted(word.lower()) for w in yours), "a word has other "
               "letters than before: letters got lost or were added", yours=yours)  # fmt: skip
        return ", ".join(yours) or "(no words)"

    problems = [dict(word=word) for word in (
        "waiter", "form", "Great", "dull", "aloof", "letters", "cat", "is", "a", "", "noon",
        "boost", "banana", "MaAmo", "don't", "élèves", "b2b-4",
    )]  # fmt: skip
    specified(run, problems, _swapped, making(_SWAP_MISTAKES), what="the list of swaps")


# ---------------------------------------------------------------- 06.2


def _gains(grad, e_old, table, make=lambda right, grad, e_old, table: right) -> Tensor:
    """On a score that is linear in the embeddings, with gradient `grad`: there the estimate is
    exact. make(right, grad, e_old, table) makes a mistake of it."""
    g, e, words = grad.double(), e_old.double(), table.double()
    right = torch.zeros(len(grad), len(table), dtype=torch.double)
    for t in range(len(grad)):
        for v in range(len(table)):
            flipped = e.clone()
            flipped[t] = words[v]
            right[t, v] = (g * flipped).sum() - (g * e).sum()
    return make(right, g, e, words)


def _distance(e: Tensor, table: Tensor) -> Tensor:
    return (table[None] - e[:, None]).norm(dim=2)


_GAIN_MISTAKES = {
    "wrong sign: this is e_old − e_v, and the flip goes from the old word to the new one":
        lambda right, g, e, t: -right,
    "e_old is missing: staying with the old word must have a gain of 0":
        lambda right, g, e, t: g @ t.T,
    "e_old is added instead of subtracted": lambda right, g, e, t: 2 * g @ t.T - right,
    "e_old·g was summed over all tokens: each token has its own":
        lambda right, g, e, t: g @ t.T - (g * e).sum(),
    "the gradient was normalised: the gain is not a cosine":
        lambda right, g, e, t: right / g.norm(dim=1, keepdim=True),
    "divided by the distance: the gain is for the whole way to the new word":
        lambda right, g, e, t: (right / _distance(e, t)).nan_to_num(),
    "divided by the lengths of both: that is a cosine, not a gain": lambda right, g, e, t:
        (right / g.norm(dim=1, keepdim=True) / _distance(e, t)).nan_to_num(),
    "the gradient is not used: this is a distance between embeddings":
        lambda right, g, e, t: _distance(e, t),
    "the axes are exchanged: the shape is (tokens, vocabulary)": lambda right, g, e, t: right.T,
    "only the gain of the best word is there": lambda right, g, e, t: right.amax(1),
    "the mean over the hidden size instead of the sum":
        lambda right, g, e, t: right / g.shape[1],
    "absolute values: a flip may also lower the score, and that has to be seen":
        lambda right, g, e, t: right.abs(),
    "cut off at 0: a flip may also lower the score, and that has to be seen":
        lambda right, g, e, t: right.clamp_min(0),
}  # fmt: skip


def check_flip_gains(answer) -> None:
    def run(grad, e_old, table) -> Tensor:
        try:
            return call(answer, grad=grad, e_old=e_old, table=table)
        except NotImplementedError:
            raise
        except RuntimeError as error:
            likely = None
            if "must match" in str(error):
                likely = ("from grad @ table.T, (tokens, vocabulary), one number a token is taken, "
                          "(tokens, 1); a sum has that shape with keepdim=True")
            elif "multiplied" in str(error):
                likely = "the product is grad (tokens, hidden) with table.T (hidden, vocabulary)"
            raise Wrong(f"your function stops with an error: {error}", likely=likely) from None

    g = torch.Generator().manual_seed(seeded(620))
    problems = []
    for tokens, vocabulary, hidden in ((3, 7, 4), (1, 5, 2), (6, 4, 5), (4, 4, 4)):
        grad = torch.randn(tokens, hidden, generator=g)
        table = torch.randn(vocabulary, hidden, generator=g)
        ids = torch.randint(vocabulary, (tokens,), generator=g)
        problems.append(dict(grad=grad, e_old=table[ids] + 0.0, table=table))
    specified(run, problems, _gains, making(_GAIN_MISTAKES), what="the table of gains", atol=1e-4)


# ---------------------------------------------------------------- scores for 06.3 and 06.4


class _Score:
    """A score from a table, which remembers what it was asked about."""

    def __init__(self, seed: int, start: float, mixed: bool = True):
        self.seed, self.mixed, self.asked, self.shift = seed, mixed, [], start
        self.one = functools.cache(self._one)

    def __repr__(self) -> str:
        return "a score from a table"

    def _number(self, *key) -> float:
        """A number between −1 and 1 for the key, always the same one."""
        return zlib.crc32(repr((self.seed, *key)).encode()) / 2**31 - 1

    def _one(self, text: str) -> float:
        found = words(text)
        alone = sum(self._number(i, w) for i, w in enumerate(found))
        pairs = sum(self._number(*pair) for pair in zip(found, found[1:], strict=False))
        signs = 0.5 * self._number("as it is written", text)  # sees punctuation and brackets
        return self.shift + alone + self.mixed * 0.7 * pairs + signs

    def __call__(self, texts) -> np.ndarray:
        if isinstance(texts, str):
            raise Wrong("score takes a list of texts, and got one text", yours=texts,
                        likely="score([text]) instead of score(text)")  # fmt: skip
        self.asked += list(texts)
        return np.array([self.one(text) for text in texts])


class _Table(_Score):
    """A score that is written down for each text; -1.5 for all others."""

    def __init__(self, table: dict[str, float]):
        super().__init__(0, 0.0)
        self.table = table

    def _one(self, text: str) -> float:
        return self.table.get(text, -1.5)


TEXTS = (
    "The soup was good, and the waiter smiled.",
    "never again",
    "Not bad: the film's end is moving!",
    "so",
    "Five long hours without any food or water, and nobody cared.",
    "The bill was bad but the soup was bad",
)


# ---------------------------------------------------------------- 06.3

ASKED = "the number of texts that score was asked about"


def _unk(text: str, found: list[str], i: int, new: str = "[UNK]") -> str:
    return replace(text, {i: new})


def _joined(text, found, i) -> str:
    return " ".join([*found[:i], "[UNK]", *found[i + 1 :]])


def _split(text, found, i) -> str:
    parts = text.split()
    return " ".join([*parts[:i], "[UNK]", *parts[i + 1 :]]) if len(parts) == len(found) else ""


def _rises(score, text, *, make=_unk, base=lambda text: text, change=lambda rise, each: rise,
           again=0) -> dict:  # fmt: skip
    """Word by word; the keywords are mistakes. again: times that a text is asked for each word."""
    found = words(text)
    each = np.array([score.one(make(text, found, i)) for i in range(len(found))])
    return {"the importance of the words": change(each - score.one(base(text)), each),
            ASKED: len(found) + 1 + again * max(len(found) - 1, 0)}  # fmt: skip


_RISE_MISTAKES = {
    "wrong sign: a word is important when the score rises without it":
        dict(change=lambda rise, each: -rise),
    "the score of the unchanged text is not subtracted": dict(change=lambda rise, each: each),
    "absolute values: a word whose loss lowers the score helps the attacker already":
        dict(change=lambda rise, each: np.abs(rise)),
    "the words are left out; they should become [UNK]":
        dict(make=functools.partial(_unk, new="")),
    "the words become [MASK]; they should become [UNK]":
        dict(make=functools.partial(_unk, new="[MASK]")),
    "the word becomes UNK without its brackets; it should become [UNK]":
        dict(make=functools.partial(_unk, new="UNK")),
    "str.replace changes every place where these letters stand: use replace(text, {i: …})":
        dict(make=lambda text, found, i: text.replace(found[i], "[UNK]")),
    "str.replace changes the first place where these letters stand: use replace(text, {i: …})":
        dict(make=lambda text, found, i: text.replace(found[i], "[UNK]", 1)),
    "the words joined with spaces: the punctuation is lost; use replace(text, {i: …})":
        dict(make=_joined),
    "the words joined with spaces, in all texts: the punctuation is lost; use "
    "replace(text, {i: …})": dict(make=_joined, base=lambda text: " ".join(words(text))),
    "text.split() cuts at spaces: the punctuation goes with the word": dict(make=_split),
    "cut off at 0: a fall of the score has to be seen as well":
        dict(change=lambda rise, each: np.maximum(rise, 0)),
    "all words up to this one are [UNK]: only one at a time":
        dict(make=lambda text, found, i: replace(text, {j: "[UNK]" for j in range(i + 1)})),
    "all other words are [UNK]: this is what the word does alone":
        dict(make=lambda text, found, i: replace(
            text, {j: "[UNK]" for j in range(len(found)) if j != i})),
    "sorted: the numbers should stand in the order of the words":
        dict(change=lambda rise, each: np.sort(rise)[::-1]),
    "these are the numbers of the words in order of importance, not their importance":
        dict(change=lambda rise, each: np.argsort(-rise).astype(float)),
    "the text as it is was asked about anew for each word: once is enough": dict(again=1),
}  # fmt: skip


def check_importance(answer) -> None:
    def run(score, text) -> dict:
        score.asked.clear()
        yours = call(answer, score=score, text=text)
        n = len(words(text))
        return {"the importance of the words": _numbers(yours),
                ASKED: max(len(score.asked), n + 1) if n else 1}  # fmt: skip

    problems = [dict(score=_Score(630 + k, -1.5), text=text)
                for k, text in enumerate((*TEXTS, "..."))]  # fmt: skip
    specified(run, problems, _rises, _RISE_MISTAKES)


def _numbers(value) -> np.ndarray:
    """One number per word, whatever it is kept in."""
    expect(value is not None, "the importance is None: does the function return it?")
    try:
        expect(not isinstance(value, dict), "the importance should be a list or an array, not a "
               "dict", yours=value)  # fmt: skip
        found = np.array([x.item() if isinstance(x, Tensor) else x for x in value])
        return (found + 0).astype(float)  # no adding to strings
    except (TypeError, ValueError):
        raise Wrong("the importance should be a list or an array of numbers, one per word, not "
                    f"{type(value).__name__}", yours=repr(value)) from None  # fmt: skip


# ---------------------------------------------------------------- 06.4

END, SAID = "the text where the search ended", f"`queries` minus {ASKED}"


def _follow(
    score, text: str, options, *, order=lambda i, rise: -rise, accept="raises", base="current",
    stop=lambda value: value >= 0, start=lambda value: value >= 0, pick="best", give_up=False,
    forget=lambda n: 0, last=0, least=0,
) -> dict:  # fmt: skip
    """The greedy search as a plain loop; the keywords are mistakes.

    forget(words): how many texts are not counted. last: how often the end is asked about. least:
    words that are tried in any case."""
    now, found = score.one(text), words(text)
    if start(now):
        return {END: text, SAID: 0, ASKED: 1 + last}
    count = 1 + len(found)
    rise = [score.one(replace(text, {i: "[UNK]"})) for i in range(len(found))]
    tried, chosen = 0, {}
    current = text  # only for base="replace"

    def made(i, w):
        if base == "replace":
            return current.replace(found[i], w)
        return replace(text, {**(chosen if base == "current" else {}), i: w})

    for i in sorted((i for i in range(len(found)) if options[i]), key=lambda i: order(i, rise[i])):
        if stop(now) and tried >= least:
            break
        tried += 1
        tries = [(score.one(made(i, w)), w) for w in options[i]]
        count += len(tries)
        best = max(tries, key=lambda t: t[0]) if pick == "best" else tries[0]
        if pick == "first":
            best = next((t for t in tries if t[0] > now), tries[0])
        if best[0] > now or accept == "always" or (accept == "ties" and best[0] == now):
            current = made(i, best[1])
            if base == "alone":
                chosen = {}
            chosen[i] = best[1]
            now = max(now, best[0]) if base == "original" else best[0]
        elif give_up:
            break
    end = current if base == "replace" else replace(text, chosen)
    return {END: end, SAID: -forget(len(found)), ASKED: count + last}


def _specified_search(score, text, options, *, steepest=False, nothing=False, **mistakes) -> dict:
    right = _follow(score, text, options, **mistakes)
    if steepest and right[ASKED] > 1:  # every round tries all options, and takes the best one
        now, chosen = score.one(text), {}
        while now < 0:
            open_ = [(i, w) for i, some in enumerate(options) if i not in chosen for w in some]
            tries = [(score.one(replace(text, {**chosen, i: w})), i, w) for i, w in open_]
            best = max(tries, key=lambda t: t[0], default=(now, 0, ""))
            if best[0] <= now:
                break
            now, chosen[best[1]] = best[0], best[2]
        right[END] = replace(text, chosen)
    return right | {END: _with_score(score, text if nothing else right[END])}


def _with_score(score, text: str) -> str:
    return f"{text} (score {score.one(text):+.3f})"


def _never(value: float) -> bool:
    return False


_GREEDY_MISTAKES = {
    "the words are taken from left to right: take the most important one first":
        dict(order=lambda i, rise: i),
    "the least important word is taken first": dict(order=lambda i, rise: rise),
    "a replacement is taken even where it lowers the score": dict(accept="always"),
    "a tie is taken: a replacement that leaves the score as it was is not larger":
        dict(accept="ties"),
    "each word is tried in the original text: earlier changes must stay in place":
        dict(base="original"),
    "earlier changes are forgotten: only the last one is in the text at the end":
        dict(base="alone"),
    "str.replace changes every place where these letters stand: use replace(text, {…})":
        dict(base="replace"),
    "it goes on after the score has reached 0": dict(stop=_never),
    "it goes on after the score has reached 0, at the start, too": dict(stop=_never, start=_never),
    "it stops above 0 only: a score of exactly 0 fools the model already":
        dict(stop=lambda value: value > 0, start=lambda value: value > 0),
    "no test at the start: where the score is ≥ 0 already there is nothing to do":
        dict(start=_never),
    "no test at the start: where the score is ≥ 0 already there is nothing to do; the first word "
    "is tried": dict(start=_never, least=1),
    "it gives up at the first word that does not help: the next one may": dict(give_up=True),
    "the first replacement that helps is taken, and not the one that helps most":
        dict(pick="first"),
    "the first replacement is taken without a look at the others":
        dict(pick="given", accept="always"),
    "every round tries all words: the order is fixed at the beginning, by importance, and each "
    "word has one turn": dict(steepest=True),
    "nothing was changed": dict(nothing=True),
    "the texts of the importance ranking are not counted": dict(forget=lambda n: n + 1),
    "the text as it is is asked about twice, at the start and for the ranking, and counted once":
        dict(forget=lambda n: 1),
    "the text at the end is asked about once more: its score is known already": dict(last=1),
}  # fmt: skip


def _options(text: str, seed: int) -> list[tuple[str, ...]]:
    """0 to 3 options for every word."""
    return [tuple(f"{w}{k}" for k in range((zlib.crc32(f"{seed} {i}".encode()) >> 3) % 4))
            for i, w in enumerate(words(text))]  # fmt: skip


@functools.cache
def _searches() -> list[dict]:
    cases = []
    for seed in range(18):
        text = TEXTS[seed % 6]
        score = _Score(640 + seed, (-2.2, -0.8, -6.0)[(seed + seed // 6) % 3])
        cases.append((score, text, _options(text, seed)))
    cases.append((_Score(660, 50.0), TEXTS[0], _options(TEXTS[0], 0)))  # wrong from the start
    cases.append((_Score(661, -2.0), TEXTS[1], [(), ()]))  # nothing to try
    cases.append((_Table({"fine day": -1.0, "nice day": -1.0, "[UNK] day": -0.9}), "fine day",
                  [("nice",), ()]))  # fmt: skip  # a tie
    reach = {"fine day": -1.0, "poor day": 0.0, "[UNK] day": -0.9, "poor night": 0.5}
    cases.append((_Table(reach), "fine day", [("poor",), ("night",)]))  # exactly 0 on the way
    cases.append((_Table({"fine day": 0.0, "poor day": 0.5}), "fine day", [("poor",), ()]))
    cases.append((_Score(662, -2.0), "...", []))  # no words
    return [dict(score=score, text=text, options=options) for score, text, options in cases]


def check_greedy_attack(answer) -> None:
    def run(score, text, options) -> dict:
        score.asked.clear()
        try:
            result = call(answer, score=score, text=text, options=list(options))
        except (ValueError, IndexError) as error:
            if ("empty" not in str(error) and "zero-size" not in str(error)) or all(options):
                raise
            raise Wrong(f"your function stops with an error: {error}",
                        likely="the best of no options: leave out words that have none",
                        ) from None  # fmt: skip
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "the function should return two things, (text, queries)",
               yours=repr(result))  # fmt: skip
        new, queries = result
        expect(isinstance(new, str), f"the text should be a string, not {type(new).__name__}",
               yours=repr(new))  # fmt: skip
        expect(not isinstance(queries, bool) and isinstance(queries, int | np.integer),
               f"queries should be a whole number, not {type(queries).__name__}",
               yours=repr(queries))  # fmt: skip
        asked, least = len(score.asked), _follow(score, text, options)[ASKED]
        spare = asked > (2 if score.one(text) >= 0 else 1)  # importance asks about it once more
        return {END: _with_score(score, new), SAID: int(queries) - asked,
                ASKED: max(asked - spare, least)}  # fmt: skip

    specified(run, _searches(), _specified_search, _GREEDY_MISTAKES)


# ---------------------------------------------------------------- 06.5


def _both(ratings, truth) -> list[tuple]:
    return [(a, b) for a, b in zip(ratings, truth, strict=True) if None not in (a, b)]


def _apart(ratings, truth) -> list[tuple]:
    return list(zip(*([x for x in side if x is not None] for side in (ratings, truth)),
                    strict=False))  # fmt: skip


def _chance(r: float, t: float) -> float:
    """Two raters who say True with these shares agree so often by chance."""
    return r * t + (1 - r) * (1 - t)


def _count(ratings, truth, *, pairs=_both, share=lambda same, n, all_pairs: same / n,
           chance=_chance, edge=0.0, kappa=lambda s, p: (s - p) / (1 - p), least=-2.0,
           turned=False) -> dict:  # fmt: skip
    """Agreement and kappa, counted over the pairs that both have judged; the keywords are
    mistakes. edge: kappa where p_chance is 1. least: what kappa is cut off at."""
    both = pairs(ratings, truth)
    n = len(both)
    same = sum(a == b for a, b in both)
    r, t = (sum(bool(x) for x in side) / n for side in zip(*both, strict=True))
    p, parts = chance(r, t), (share(same, n, len(ratings)), edge)
    if p != 1:
        parts = (parts[0], max(least, kappa(parts[0], p)))
    names = ("the share of agreement", "kappa")
    return dict(zip(names, parts[::-1] if turned else parts, strict=True))


_AGREEMENT_MISTAKES = {
    "None was taken out of each list separately: the pairs fall apart": dict(pairs=_apart),
    "pairs with None were counted: leave out what one of the two has not judged":
        dict(pairs=lambda ratings, truth: list(zip(ratings, truth, strict=True))),
    "pairs with None were counted in the number of pairs":
        dict(share=lambda same, n, all_pairs: same / all_pairs),
    "the share of disagreement": dict(share=lambda same, n, all_pairs: 1 - same / n),
    "the number of agreements, not their share": dict(share=lambda same, n, all_pairs: same),
    "the two are in the wrong order: (agreement, kappa)": dict(turned=True),
    "where p_chance is 1 there is nothing beyond chance: kappa is 0, not 1": dict(edge=1.0),
    "negative agreement was cut off at 0": dict(least=0.0),
    "this is the share of agreement: chance is not subtracted":
        dict(kappa=lambda s, p: s, edge=1.0),
    "not divided by 1 − p_chance": dict(kappa=lambda s, p: s - p),
    "divided by p_chance instead of 1 − p_chance":
        dict(kappa=lambda s, p: (s - p) / p if p else 0.0),
    "chance is taken as one half: it depends on how often each says True":
        dict(chance=lambda r, t: 0.5),
    "chance counts only True with True: False with False agree as well":
        dict(chance=lambda r, t: r * t),
    "chance is taken from the ratings alone": dict(chance=lambda r, t: _chance(r, r)),
    "chance is taken from the truth alone": dict(chance=lambda r, t: _chance(t, t)),
    "chance is taken from the mean of both shares (that is Scott's pi)":
        dict(chance=lambda r, t: _chance((r + t) / 2, (r + t) / 2)),
}  # fmt: skip


def check_agreement(answer) -> None:
    def run(ratings, truth) -> dict:
        try:
            result = call(answer, ratings=ratings, truth=truth)
        except ZeroDivisionError:
            raise Wrong("your function divides by zero", likely="where p_chance is 1, kappa is 0 "
                        "by definition") from None  # fmt: skip
        except ValueError as error:
            raise Wrong(f"your function raises ValueError ({error}), and there are pairs that both "
                        "have judged", likely="None was taken out of each list separately: the "
                        "pairs fall apart" if "zip" in str(error) else "perhaps False was taken "
                        "for no answer: test with `is not None`") from None  # fmt: skip
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "the function should return two things, (agreement, kappa)",
               yours=repr(result))  # fmt: skip
        expect(not any(isinstance(x, str | bool | None) for x in result), "the function should "
               "return two numbers, (agreement, kappa)", yours=repr(result))  # fmt: skip
        share, kappa = map(float, result)
        expect(math.isfinite(kappa), "kappa is not a finite number", yours=kappa,
               likely="where p_chance is 1, kappa is 0 by definition"
               if len({x for pair in _both(ratings, truth) for x in pair}) == 1 else None)
        return {"the share of agreement": share, "kappa": kappa}

    T, F, N = True, False, None
    problems = [dict(ratings=ratings, truth=truth) for ratings, truth in (
        ([T, T, T, F, T, T, F, T], [T, F, F, F, T, T, F, F]),
        ([T, F, F, T, F, F, T, T], [F, F, T, T, F, T, T, T]),
        ([T, T, F, T, F], [F, T, T, T, T]),  # worse than chance
        ([T, F, T, F], [F, T, F, T]),  # never agree
        ([T, F, T], [T, F, T]),  # always agree
        ([T, T, T, T], [T, F, F, T]),  # a rater who says yes to everything
        ([T, T, T], [T, T, T]),  # agreement that chance alone would give
        ([F, F], [F, F]),
        ([T], [F]),  # a single pair
        ([T, N, F, F, N], [T, T, F, T, N]),  # unanswered pairs
        ([T, F, F, T], [T, N, N, F]),  # pairs of which the truth is not known
        ([F, T, T, T, T, T, T, T, F, T], [F, T, T, T, T, T, F, T, T, T]),
    )]  # fmt: skip
    specified(run, problems, _count, _AGREEMENT_MISTAKES)
    for ratings, truth in (([], []), ([N, N], [T, F]), ([T, N], [N, F])):
        given = dict(ratings=ratings, truth=truth)
        try:
            result = call(answer, **given)
        except ValueError:
            continue
        except ZeroDivisionError:
            raise Wrong("no pair was judged by both: raise ValueError, and do not divide by zero",
                        given=given) from None  # fmt: skip
        raise Wrong("no pair was judged by both: the function should raise ValueError",
                    given=given, yours=repr(result))  # fmt: skip


# ---------------------------------------------------------------- the course's functions


def swaps(word: str) -> list[str]:
    """The words that arise when two neighbouring inner letters change places."""
    found = []
    for i in range(1, len(word) - 2):
        new = word[:i] + word[i + 1] + word[i] + word[i + 2 :]
        if new != word:
            found.append(new)
    return found


def flip_gains(grad: Tensor, e_old: Tensor, table: Tensor) -> Tensor:
    """First-order gain of every flip: grad and e_old (tokens, hidden), table (vocabulary, hidden);
    returns (tokens, vocabulary)."""
    stay = (grad * e_old).sum(dim=1, keepdim=True)
    return grad @ table.T - stay


def importance(score, text: str) -> np.ndarray:
    """(words,): by how much the score rises when each word becomes [UNK]."""
    asked = [text] + [replace(text, {i: "[UNK]"}) for i in range(len(words(text)))]
    scores = score(asked)
    return scores[1:] - scores[0]


def greedy_attack(score, text: str, options) -> tuple[str, int]:
    """Greedy substitution, the most important word first: (text, texts asked about)."""
    now, queries, changes = score([text])[0], 1, {}
    if now >= 0:
        return text, queries
    rises = np.asarray(importance(score, text))
    queries += len(rises) + 1
    for i in np.argsort(-rises):
        if not options[i]:
            continue
        scores = score([replace(text, {**changes, i: w}) for w in options[i]])
        queries += len(scores)
        if max(scores) > now:
            changes[i], now = options[i][int(np.argmax(scores))], max(scores)
        if now >= 0:
            break
    return replace(text, changes), queries


def agreement(ratings, truth) -> tuple[float, float]:
    """(share of agreement, Cohen's kappa) over the pairs that both have judged."""
    both = [(a, b) for a, b in zip(ratings, truth, strict=True)
            if a is not None and b is not None]
    if not both:
        raise ValueError("no pair has two answers")
    same = np.mean([a == b for a, b in both])
    r, t = np.mean([a for a, _ in both]), np.mean([b for _, b in both])
    chance = r * t + (1 - r) * (1 - t)
    return same, 0.0 if chance == 1 else (same - chance) / (1 - chance)


EXERCISES: dict[str, Exercise] = {
    "06.1": Exercise("swapped letters", check_swaps, swaps),
    "06.2": Exercise("the gain of every flip", check_flip_gains, flip_gains),
    "06.3": Exercise("which word matters", check_importance, importance),
    "06.4": Exercise("the greedy search", check_greedy_attack, greedy_attack),
    "06.5": Exercise("agreement beyond chance", check_agreement, agreement),
}
