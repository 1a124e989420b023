"""Checks of lesson 06, real words.

The specification: swapped words are found among all rearrangements of the letters; the gain of a
flip is measured on a score that is linear, where the estimate is exact; importance and the greedy
search are followed by a loop of their own on scores made from a table, which also counts every
text that is asked about; agreement is counted pair by pair.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from advlib.corpora import replace, words
from course.checking import Exercise, Wrong, compare, expect, unchanged

# ---------------------------------------------------------------- 06.1


def _swapped(word: str) -> list[str]:
    """Rearrangements of the inner letters that differ in two neighbouring places, by trying all;
    from left to right."""
    if len(word) < 4:
        return []
    found = {}
    for inner in set(permutations(word[1:-1])):
        new = word[0] + "".join(inner) + word[-1]
        places = [i for i in range(len(word)) if new[i] != word[i]]
        if len(places) == 2 and places[1] - places[0] == 1:
            found[new] = places[0]
    return sorted(found, key=found.get)


def _by_replace(word: str, count: int) -> list[str]:
    """What str.replace makes of every inner pair; it changes `count` places (-1: all)."""
    return [word.replace(word[i : i + 2], word[i + 1] + word[i], count)
            for i in range(1, len(word) - 2)]  # fmt: skip


def _any_two(word: str, low: int, high: int, apart: int | None = 1) -> set[str]:
    """Two places in low … high − 1 exchanged, `apart` letters apart (None: any)."""
    found = set()
    for i in range(low, high):
        for j in range(i + 1, high):
            if apart is None or j - i == apart:
                letters = list(word)
                letters[i], letters[j] = letters[j], letters[i]
                found.add("".join(letters))
    return found - {word}


def check_swaps(answer) -> None:
    for word in ("waiter", "form", "Great", "dull", "aloof", "letters", "cat", "is", "a", "noon",
                 "boost", "banana", "MaAmo", "don't"):  # fmt: skip
        given, right = dict(word=word), _swapped(word)
        yours = answer(word)
        expect(yours is not None, "the result is None: does the function return it?", given=given,
               expected=right)  # fmt: skip
        expect(isinstance(yours, list), "the result should be a list of words, not "
               f"{type(yours).__name__}", given=given, yours=yours, expected=right,
               likely="a set, a tuple, yield or a string: collect the words in a list")  # fmt: skip
        expect(all(isinstance(w, str) for w in yours), "the list should hold words (strings)",
               given=given, yours=list(yours), expected=right)  # fmt: skip
        if yours == right:
            continue
        n, own = len(word), set(yours)
        by_replace = [[w for w in _by_replace(word, k) if w != word or j]
                      for k in (1, -1) for j in (0, 1)]  # fmt: skip
        named = {
            "the order: go through the word from left to right": sorted(yours) == sorted(right),
            "upper and lower case must stay": sorted(yours) == sorted(w.lower() for w in right),
            "the list is empty: nothing was swapped": not own,
            "the word itself is among them: two equal letters swapped change nothing":
                own - {word} == set(right) and word in own,
            "a word stands in the list twice": own == set(right),
            "str.replace looks for the two letters in the whole word: cut the word at place i":
                any(set(yours) == set(made) for made in by_replace),
            "A and a are different letters: their swap is another word": bool(right) and own
                == {w for w in right if w.lower() != word.lower()},
            "an apostrophe inside the word counts as a letter": not word.isalpha() and own
                < set(right),
            "the first letter has moved: only inner letters may change places":
                own - {word} in (_any_two(word, 0, n - 1), _any_two(word, 0, n)),
            "the last letter has moved: only inner letters may change places":
                own - {word} == _any_two(word, 1, n),
            "letters that are not neighbours were swapped":
                own - {word} == _any_two(word, 1, n - 1, None) != set(right),
            "the last pair of inner letters is missing: the loop ends one step early":
                own - {word} == _any_two(word, 1, n - 2),
            "letters got lost or were added": any(sorted(w) != sorted(word) for w in yours),
        }  # fmt: skip
        likely = next((name for name, true in named.items() if true), None)
        raise Wrong(f"the swaps of {word!r} are not as expected", given=given,
                    yours=yours, expected=right, likely=likely)  # fmt: skip


# ---------------------------------------------------------------- 06.2


def check_flip_gains(answer) -> None:
    g = torch.Generator().manual_seed(620)
    for tokens, vocabulary, hidden in ((3, 7, 4), (1, 5, 2), (6, 4, 5), (4, 4, 4)):
        grad = torch.randn(tokens, hidden, generator=g)
        table = torch.randn(vocabulary, hidden, generator=g)
        ids = torch.randint(vocabulary, (tokens,), generator=g)
        e_old = table[ids] + 0.0
        _one_gain(answer, grad, e_old, table)


def _one_gain(answer, grad: Tensor, e_old: Tensor, table: Tensor) -> None:
    given = dict(grad=grad, e_old=e_old, table=table)
    copies = [x.clone() for x in given.values()]
    try:
        yours = answer(*copies)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        likely = None
        if "must match" in str(error):
            likely = "a sum over dim=1 has shape (tokens,); keepdim=True leaves (tokens, 1)"
        elif "multiplied" in str(error):
            likely = "the product is grad (tokens, hidden) with table.T (hidden, vocabulary)"
        raise Wrong(f"your function stops with an error: {error}", given=given,
                    likely=likely) from None  # fmt: skip
    for (name, before), now in zip(given.items(), copies, strict=True):
        unchanged(before, now, name)
    # A score that is linear in the embeddings, with gradient `grad`: there the estimate is exact.
    before = (grad.double() * e_old.double()).sum()
    right = torch.zeros(len(grad), len(table))
    for t in range(len(grad)):
        for v in range(len(table)):
            flipped = e_old.double().clone()
            flipped[t] = table[v].double()
            right[t, v] = float((grad.double() * flipped).sum() - before)
    new, old = grad @ table.T, (grad * e_old).sum(1, keepdim=True)
    length = grad.norm(dim=1, keepdim=True)
    distance = (table[None] - e_old[:, None]).norm(dim=2)
    compare(yours, right, given=given, what="the table of gains", atol=1e-4, mistakes={
        "wrong sign: this is e_old − e_v, and the flip goes from the old word to the new one":
            -right,
        "e_old is missing: staying with the old word must have a gain of 0": new,
        "e_old is added instead of subtracted": new + old,
        "e_old·g was summed over all tokens: each token has its own": new - old.sum(),
        "the gradient was normalised: the gain is not a cosine": right / length,
        "divided by the distance: the gain is for the whole way to the new word":
            right / distance,
        "divided by the lengths of both: that is a cosine, not a gain":
            torch.where(distance > 0, right / (length * distance), 0.0),
        "the gradient is not used: this is a distance between embeddings": distance,
        "the axes are exchanged: the shape is (tokens, vocabulary)": right.T,
        "only the gain of the best word is there": right.amax(1),
        "the mean over the hidden size instead of the sum": right / grad.shape[1],
        "absolute values: a flip may also lower the score, and that has to be seen":
            right.abs(),
    })  # fmt: skip


# ---------------------------------------------------------------- scores for 06.3 and 06.4


class _Score:
    """A score from a table, which remembers what it was asked about."""

    def __init__(self, seed: int, start: float, mixed: bool = True):
        self.seed, self.mixed, self.asked, self.shift = seed, mixed, [], start

    def _number(self, *key) -> float:
        """A number between −1 and 1 for the key, always the same one."""
        return zlib.crc32(repr((self.seed, *key)).encode()) / 2**31 - 1

    def one(self, text: str) -> float:
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

    def one(self, text: str) -> float:
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


def check_importance(answer) -> None:
    for k, text in enumerate((*TEXTS, "...")):
        score = _Score(630 + k, -1.5)
        found, given = words(text), dict(text=text)
        yours = answer(score, text)
        asked = len(score.asked)
        base, n = score.one(text), len(found)

        def with_(make, score=score, text=text, found=found):
            return np.array([score.one(replace(text, make(i))) for i in range(len(found))])

        def of(make, score=score, n=n):
            return np.array([score.one(make(i)) for i in range(n)])

        def joined(i, found=found, new="[UNK]"):
            return " ".join([*found[:i], new, *found[i + 1 :]])

        parts = text.split()

        def cut(i, parts=parts, n=n):
            return " ".join([*parts[:i], "[UNK]", *parts[i + 1 :]]) if len(parts) == n else ""

        def everywhere(i, text=text, found=found):
            return text.replace(found[i], "[UNK]")

        def first(i, text=text, found=found):
            return text.replace(found[i], "[UNK]", 1)

        plain = score.one(" ".join(found))
        each = with_(lambda i: {i: "[UNK]"})
        right = each - base
        expect(yours is not None, "the importance is None: does the function return it?",
               given=given, expected=right)  # fmt: skip
        flat = _numbers(yours, "the importance", given)
        compare(flat, right, given=given, what="the importance of the words", mistakes={
            "wrong sign: a word is important when the score rises without it": -right,
            "the score of the unchanged text is not subtracted": each,
            "absolute values: a word whose loss lowers the score helps the attacker already":
                np.abs(right),
            "the words are left out; they should become [UNK]": with_(lambda i: {i: ""}) - base,
            "the words become [MASK]; they should become [UNK]":
                with_(lambda i: {i: "[MASK]"}) - base,
            "the word becomes UNK without its brackets; it should become [UNK]":
                with_(lambda i: {i: "UNK"}) - base,
            "str.replace changes every place where these letters stand: use replace(text, {i: …})":
                of(everywhere) - base,
            "str.replace changes the first place where these letters stand: use "
            "replace(text, {i: …})": of(first) - base,
            "the words joined with spaces: the punctuation is lost; use replace(text, {i: …})":
                of(joined) - base,
            "the words joined with spaces, in all texts: the punctuation is lost; use "
            "replace(text, {i: …})": of(joined) - plain,
            "text.split() cuts at spaces: the punctuation goes with the word": of(cut) - base,
            "cut off at 0: a fall of the score has to be seen as well": np.maximum(right, 0),
            "all words up to this one are [UNK]: only one at a time":
                with_(lambda i: {j: "[UNK]" for j in range(i + 1)}) - base,
            "all other words are [UNK]: this is what the word does alone":
                with_(lambda i, n=n: {j: "[UNK]" for j in range(n) if j != i}) - base,
            "sorted: the numbers should stand in the order of the words": np.sort(right)[::-1],
            "these are the numbers of the words in order of importance, not their importance":
                np.argsort(-right).astype(float),
        })  # fmt: skip
        expect(asked <= len(found) + 1 + (len(found) == 0),
               f"score was asked about {asked} texts, and {len(found) + 1} are enough: one for "
               "each word and one for the text as it is", given=given)  # fmt: skip


def _numbers(value, what: str, given: dict) -> np.ndarray:
    """One number per word, whatever it is kept in."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, dict):
        raise Wrong(f"{what} should be a list or an array, not a dict", given=given, yours=value)
    try:
        return np.array([float(x) for x in value])
    except (TypeError, ValueError):
        raise Wrong(f"{what} should be a list or an array of numbers, one per word, not "
                    f"{type(value).__name__}", given=given,
                    yours=repr(value)) from None  # fmt: skip


# ---------------------------------------------------------------- 06.4


def _follow(
    score: Callable[[str], float], text: str, options, order: str = "importance",
    accept: str = "raises", base: str = "current", stop: str = "at", start: bool = True,
    pick: str = "best", give_up: bool = False,
) -> tuple[str, int]:  # fmt: skip
    """The greedy search as a plain loop, and what mistakes would make of it: (text, queries)."""

    def done(value):
        return stop != "never" and (value > 0 if stop == "above" else value >= 0)

    count, now = 1, score(text)
    if start and done(now):
        return text, count
    found = words(text)
    rise = [score(replace(text, {i: "[UNK]"})) for i in range(len(found))]
    count += len(found)
    places = [i for i in range(len(found)) if options[i]]
    if order == "importance":
        places.sort(key=lambda i: -rise[i])
    elif order == "least":
        places.sort(key=lambda i: rise[i])
    chosen: dict[int, str] = {}
    current = text  # only for base="replace"

    def made(i, w):
        if base == "replace":
            return current.replace(found[i], w)
        return replace(text, {**(chosen if base == "current" else {}), i: w})

    for i in places:
        tries = [(score(made(i, w)), w) for w in options[i]]
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
        if done(now):
            break
    return current if base == "replace" else replace(text, chosen), count


def _steepest(score: Callable[[str], float], text: str, options) -> tuple[str, int]:
    """Every round tries all options of all words, and takes the best one."""
    count, now, chosen = 1, score(text), {}
    while now < 0:
        tries = [(score(replace(text, {**chosen, i: w})), i, w)
                 for i, some in enumerate(options) if i not in chosen for w in some]  # fmt: skip
        count += len(tries)
        best = max(tries, key=lambda t: t[0], default=(now, 0, ""))
        if best[0] <= now:
            break
        now, chosen[best[1]] = best[0], best[2]
    return replace(text, chosen), count


GREEDY_MISTAKES = {
    "the words are taken from left to right: take the most important one first":
        dict(order="left"),
    "the least important word is taken first": dict(order="least"),
    "a replacement is taken even where it lowers the score": dict(accept="always"),
    "a tie is taken: a replacement that leaves the score as it was is not larger":
        dict(accept="ties"),
    "each word is tried in the original text: earlier changes must stay in place":
        dict(base="original"),
    "earlier changes are forgotten: only the last one is in the text at the end":
        dict(base="alone"),
    "str.replace changes every place where these letters stand: use replace(text, {…})":
        dict(base="replace"),
    "it goes on after the score has reached 0": dict(stop="never"),
    "it stops above 0 only: a score of exactly 0 fools the model already": dict(stop="above"),
    "no test at the start: where the score is ≥ 0 already there is nothing to do":
        dict(start=False),
    "it gives up at the first word that does not help: the next one may":
        dict(give_up=True),
    "the first replacement that helps is taken, and not the one that helps most":
        dict(pick="first"),
    "the first replacement is taken without a look at the others":
        dict(pick="given", accept="always"),
}  # fmt: skip
STEEPEST = ("every round tries all words: the order is fixed at the beginning, by importance, and "
            "each word has one turn")  # fmt: skip


def check_greedy_attack(answer) -> None:
    cases = []
    for seed in range(18):
        text = TEXTS[seed % 6]
        score = _Score(640 + seed, (-2.2, -0.8, -6.0)[(seed + seed // 6) % 3])
        cases.append((score, text, _options(text, seed)))
    cases.append((_Score(660, 50.0), TEXTS[0], _options(TEXTS[0], 0)))  # wrong from the start
    cases.append((_Table({"fine day": -1.0, "nice day": -1.0, "[UNK] day": -0.9}), "fine day",
                  [("nice",), ()]))  # fmt: skip  # a tie
    reach = {"fine day": -1.0, "poor day": 0.0, "[UNK] day": -0.9, "poor night": 0.5}
    cases.append((_Table(reach), "fine day", [("poor",), ("night",)]))  # exactly 0 on the way
    cases.append((_Table({"fine day": 0.0, "poor day": 0.5}), "fine day", [("poor",), ()]))
    results = [_search_once(answer, *case) for case in cases]
    ends = [result[0] for result in results]
    named = {name: [_follow(score.one, text, options, **how) for score, text, options in cases]
             for name, how in GREEDY_MISTAKES.items()}  # fmt: skip
    named[STEEPEST] = [_steepest(score.one, text, options) for score, text, options in cases]
    fits = [name for name, found in named.items() if [end for end, _ in found] == ends]
    if ends == [text for _, text, _ in cases]:
        fits = ["nothing was changed"]
    for k, case in enumerate(cases):
        _judge_search(*case, *results[k], fits, {name: found[k] for name, found in named.items()})


def _options(text: str, seed: int) -> list[tuple[str, ...]]:
    """0 to 3 options for every word."""
    return [tuple(f"{w}{k}" for k in range((zlib.crc32(f"{seed} {i}".encode()) >> 3) % 4))
            for i, w in enumerate(words(text))]  # fmt: skip


def _search_once(answer, score: _Score, text: str, options) -> tuple[str, object]:
    """(text, queries) of the answer, in the right form; what was asked is in score.asked."""
    given = dict(text=text, options=options)
    held = [tuple(o) for o in options]
    try:
        result = answer(score, text, options)
    except (ValueError, IndexError) as error:
        if "empty" not in str(error) and "zero-size" not in str(error):
            raise
        raise Wrong(f"your function stops with an error: {error}", given=given,
                    likely="the best of no options: leave out words that have none",
                    ) from None  # fmt: skip
    expect(options == held, "your function changes `options` in place", given=given)
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return two things, (text, queries)", given=given,
           yours=repr(result))  # fmt: skip
    new, queries = result
    expect(isinstance(new, str), f"the text should be a string, not {type(new).__name__}",
           given=given, yours=repr(new))  # fmt: skip
    return new, queries


def _judge_search(score: _Score, text: str, options, new, queries, fits, named) -> None:
    given, found, asked = dict(text=text, options=options), words(text), len(score.asked)
    right, needed = _follow(score.one, text, options)
    likely = "; or: ".join(fits) or None
    expect(new == right, "the search ends with another text", given=given,
           yours=f"{new} (score {score.one(new):+.3f})",
           expected=f"{right} (score {score.one(right):+.3f})", likely=likely)  # fmt: skip
    expect(not isinstance(queries, bool) and isinstance(queries, int | np.integer),
           f"queries should be a whole number, not {type(queries).__name__}", given=given,
           yours=repr(queries))  # fmt: skip
    counts = {
        "the questions of the importance ranking are not counted": needed - len(found),
        "the question about the text as it is, or those of the ranking, are not counted":
            asked - 1,
        "calls of score were counted: count the texts": None,
    }  # fmt: skip
    if int(queries) != asked:
        likely = next((n for n, c in counts.items() if c == int(queries)), None)
        if likely is None and int(queries) < asked:
            likely = ("calls of score were counted instead of texts, or the texts of the "
                      "importance ranking were left out")  # fmt: skip
        raise Wrong(f"your function says {queries} queries, and score was asked about {asked} "
                    "texts", given=given, likely=likely)  # fmt: skip
    spare = 0 if score.one(text) >= 0 else 1  # importance asks about the text once more
    fits = [name for name, (end, count) in named.items()
            if end == right and count > needed and asked - count in (0, 1)]  # fmt: skip
    if score.one(text) >= 0:
        fits = ["no test at the start: where the score is ≥ 0 already there is nothing to do"]
    elif asked == needed + spare + 1:
        fits = ["the text at the end is asked about once more: its score is known already"]
    likely = "; or: ".join(fits) or "something is asked again, or the search goes on at its end"
    expect(asked <= needed + spare, f"score was asked about {asked} texts, and {needed + spare} "
           "are enough", given=given, likely=likely)  # fmt: skip


# ---------------------------------------------------------------- 06.5


def _count(ratings, truth) -> tuple[float, float]:
    """Agreement and kappa, counted over the pairs that both have judged."""
    both = [(bool(a), bool(b)) for a, b in zip(ratings, truth, strict=True)
            if a is not None and b is not None]  # fmt: skip
    n = len(both)
    same = sum(a == b for a, b in both) / n
    by_chance = 0.0
    for value in (True, False):
        by_chance += (sum(a == value for a, _ in both) / n) * (sum(b == value for _, b in both) / n)
    return same, 0.0 if by_chance == 1 else (same - by_chance) / (1 - by_chance)


def check_agreement(answer) -> None:
    T, F, N = True, False, None
    cases = [
        ([T, T, T, F, T, T, F, T], [T, F, F, F, T, T, F, F]),
        ([T, F, F, T, F, F, T, T], [F, F, T, T, F, T, T, T]),
        ([T, T, F, T, F], [F, T, T, T, T]),  # worse than chance
        ([T, F, T, F], [F, T, F, T]),  # never agree
        ([T, F, T], [T, F, T]),  # always agree
        ([T, T, T, T], [T, F, F, T]),  # a rater who says yes to everything
        ([T, T, T], [T, T, T]),  # agreement that chance alone would give
        ([F, F], [F, F]),
        ([T, N, F, F, N], [T, T, F, T, N]),  # unanswered pairs
        ([T, F, F, T], [T, N, N, F]),  # pairs of which the truth is not known
        ([F, T, T, T, T, T, T, T, F, T], [F, T, T, T, T, T, F, T, T, T]),
    ]
    for ratings, truth in cases:
        given = dict(ratings=ratings, truth=truth)
        a, b = list(ratings), list(truth)
        try:
            result = answer(a, b)
        except ZeroDivisionError:
            raise Wrong(
                "your function divides by zero", given=given, expected=_count(ratings, truth),
                likely="where p_chance is 1, kappa is 0 by definition",
            ) from None  # fmt: skip
        except ValueError as error:
            raise Wrong(
                f"your function raises ValueError ({error}), and there are pairs that both have "
                "judged", given=given, expected=_count(ratings, truth),
                likely="None was taken out of each list separately: the pairs fall apart"
                if "zip" in str(error) else None,
            ) from None  # fmt: skip
        expect(a == ratings and b == truth, "your function changes its input in place",
               given=given)  # fmt: skip
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "the function should return two things, (agreement, kappa)", given=given,
               yours=repr(result))  # fmt: skip
        _judge(result, ratings, truth, given)
    for ratings, truth in (([], []), ([N, N], [T, F]), ([T, N], [N, F])):
        given = dict(ratings=ratings, truth=truth)
        try:
            result = answer(list(ratings), list(truth))
        except ValueError:
            continue
        except ZeroDivisionError:
            raise Wrong("no pair was judged by both: raise ValueError, and do not divide by zero",
                        given=given) from None  # fmt: skip
        raise Wrong("no pair was judged by both: the function should raise ValueError",
                    given=given, yours=repr(result))  # fmt: skip


def _judge(result, ratings, truth, given: dict) -> None:
    same, kappa = _count(ratings, truth)
    n = len(ratings)
    known = [(a, b) for a, b in zip(ratings, truth, strict=True) if None not in (a, b)]
    yes = [sum(bool(p[k]) for p in known) / len(known) for k in (0, 1)]
    chance = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])

    pooled = sum(yes) / 2

    def over(p, what=same):
        return 0.0 if p == 1 else (what - p) / (1 - p)

    yours = [float(x) if x is not None else math.nan for x in result]
    left_out = sum(a == b for a, b in zip(ratings, truth, strict=True)) / n
    agreed = len(known) / n * same
    alone = [[x for x in side if x is not None] for side in (ratings, truth)]
    apart = [a == b for a, b in zip(*alone, strict=False)]
    separately = "None was taken out of each list separately: the pairs fall apart"
    compare(yours[0], same, given=given, what="the share of agreement", mistakes={
        separately: sum(apart) / len(apart),
        separately + " ": sum(apart) / len(alone[0]),
        "pairs with None were counted: leave out what one of the two has not judged":
            left_out if left_out != same else agreed,
        "pairs with None were counted in the number of pairs": agreed,
        "the share of disagreement": 1 - same,
        "the number of agreements, not their share": same * len(known),
        "the two are in the wrong order: (agreement, kappa)": kappa,
    })  # fmt: skip
    if not math.isfinite(yours[1]):
        raise Wrong("kappa is not a finite number", given=given, yours=yours[1], expected=kappa,
                    likely="where p_chance is 1, kappa is 0 by definition")  # fmt: skip
    compare(yours[1], kappa, given=given, what="kappa", mistakes={
        "where p_chance is 1 there is nothing beyond chance: kappa is 0, not 1":
            1.0 if chance == 1 else math.nan,
        "negative agreement was cut off at 0": max(0.0, kappa),
        "this is the share of agreement: chance is not subtracted": same,
        "not divided by 1 − p_chance": same - chance,
        "divided by p_chance instead of 1 − p_chance": (same - chance) / chance if chance else 9.9,
        "chance is taken as one half: it depends on how often each says True": over(0.5),
        "chance counts only True with True: False with False agree as well":
            over(yes[0] * yes[1]),
        "chance is taken from the ratings alone": over(yes[0] ** 2 + (1 - yes[0]) ** 2),
        "chance is taken from the truth alone": over(yes[1] ** 2 + (1 - yes[1]) ** 2),
        "chance is taken from the mean of both shares (that is Scott's pi)":
            over(pooled**2 + (1 - pooled) ** 2),
        "a correlation is something else": _phi(known),
    })  # fmt: skip


def _phi(pairs) -> float:
    a, b = np.array(pairs, dtype=float).T
    return float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else math.nan


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
