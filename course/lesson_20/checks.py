"""Checks of lesson 20, Capstone.

The specification: stretched words are looked for among all words that could have come from one, by
their letters; the end of an interval is where the squared z-score crosses 1.96², found by
bisection; what is sealed is written out by hand; judges' answers are counted from their table.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
import json
import math
import re
from dataclasses import FrozenInstanceError, dataclass

import numpy as np

from advlib.attacks import WordAttack
from advlib.corpora import words
from advlib.statistics import wilson
from course.checking import Exercise, Wrong, expect, seeded, show, specified

# ---------------------------------------------------------------- 20.1

SHOWN = ("card", "need", "Account", "Ill", "queue", "I", "a", "my", "why", "lost", "Oops", "PIN",
         "is", "can't", "e-mail", "für", "verification")


def _plain_options(word: str, times: tuple[int, ...], *, vowels="aeiouAEIOU", more=0, shortest=2,
                   first=False, every=False, bare=False, keep=False, alike=False, small=False,
                   fixed=None, index=False, letters=False) -> set[str]:
    """What the word may become; the keywords are mistakes."""
    times = fixed or times
    if len(word) < shortest or letters and not word.isalpha():
        return set()
    word = word.lower() if small else word
    places = [i for i, letter in enumerate(word) if letter in vowels]
    places = places[:1] if first else places
    places = [word.index(word[i]) for i in places] if index else places
    found = {word} if keep else set()
    for n in times:
        longer = {i: word[i] * (n + more) for i in places}
        if every:
            whole = "".join(longer.get(i, x) for i, x in enumerate(word))
            found |= {whole} if places or bare else set()
            continue
        found |= {word.replace(word[i], many) if alike else word[:i] + many + word[i + 1 :]
                  for i, many in longer.items()}  # fmt: skip
    return found


def _order(word: str, times: tuple[int, ...], *, rising=False, outside=False,
           alphabet=False) -> list[str]:  # fmt: skip
    """The candidates, vowel by vowel, each in the order of `times`; the keywords are mistakes."""
    vowels = [i for i, letter in enumerate(word) if letter.lower() in "aeiou" and len(word) > 1]
    times = tuple(sorted(times)) if rising else times
    steps = ([(i, n) for n in times for i in vowels] if outside
             else [(i, n) for i in vowels for n in times])  # fmt: skip
    found: list[str] = []
    for i, n in steps:
        longer = word[:i] + word[i] * n + word[i + 1 :]
        found += [longer] * (longer not in found)
    return sorted(found) if alphabet else found


_ORDER_MISTAKES = {
    "the times are sorted here (a set of small numbers does that, too); they come as `times` was "
    "given": dict(rising=True),
    "the loops are the other way round: a vowel after the other, and for each of them all `times`":
        dict(outside=True),
    "the candidates are sorted by the alphabet here": dict(alphabet=True),
}  # fmt: skip


_OPTIONS_MISTAKES = {
    "consonants are stretched, too": dict(vowels="abcdefghijklmnopqrstuvwxyz"
                                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "y counts as a vowel here; the five vowels are a, e, i, o and u": dict(vowels="aeiouyAEIOUY"),
    "capital vowels are left out": dict(vowels="aeiou"),
    "the letter is written once too often: n times in all, not n times more": dict(more=1),
    "the letter is written once too little": dict(more=-1),
    "words of one letter are stretched, too": dict(shortest=1),
    "words of two letters have candidates, too: only those of one letter stay": dict(shortest=3),
    "words with other characters than letters, such as can't, have candidates, too":
        dict(letters=True),
    "ä, ö and ü count as vowels here; the five vowels are a, e, i, o and u":
        dict(vowels="aeiouäöüAEIOUÄÖÜ"),
    "word.index, and word.replace with a 1, find the first such letter each time; enumerate gives "
    "every letter its own place": dict(index=True),
    "only the first vowel is stretched; any one of them may be": dict(first=True),
    "all vowels are stretched at once; it is one of them": dict(every=True),
    "all vowels are stretched at once; it is one of them, and a word without any has no candidate":
        dict(every=True, bare=True),
    "these are the default times, whatever was set: read self.times": dict(fixed=(3, 4, 5)),
    "these are the times 3 and 5, whatever was set: read self.times": dict(fixed=(3, 5)),
    "the word itself is among its changes": dict(keep=True),
    "word.replace changes a letter wherever it stands; asked is one place: "
    "word[:i] + word[i] * n + word[i + 1:]": dict(alike=True),
    "the word comes out in small letters; only the stretched letter changes": dict(small=True),
}  # fmt: skip


def check_stretched(answer) -> None:
    whole = "the answer should be the class, and a subclass of WordAttack"
    expect(not isinstance(answer, WordAttack), whole, yours=show(answer),
           likely="this is one attack: hand in Stretched, without brackets")  # fmt: skip
    frozen = dict(likely="the settings of a frozen dataclass are read, such as self.times, and "
                  "never assigned to")  # fmt: skip
    try:
        one, two = answer(), answer(times=(2, 5), max_changed=0.25)
    except FrozenInstanceError as error:
        raise Wrong(f"making the attack fails: {error}", **frozen) from error
    expect(isinstance(answer, type) and issubclass(answer, WordAttack), whole, yours=show(answer))
    try:
        one.times = (9,)
        raise Wrong("a setting can be changed afterwards, and then the repr that was printed is no "
                    "longer what runs", likely="frozen=True is missing in @dataclass")
    except FrozenInstanceError:
        pass
    expect(one.times == (3, 4, 5) and two.times == (2, 5), "`times` is not kept as it was given",
           yours=(one.times, two.times), expected=((3, 4, 5), (2, 5)))  # fmt: skip
    for attack in (one, two):
        try:
            again = eval(repr(attack), {answer.__name__: answer})  # noqa: S307 our own repr
        except Exception as error:
            raise Wrong("the repr cannot be read as Python again", yours=repr(attack)) from error
        expect(again == attack and repr(again) == repr(attack), "the repr does not name all "
               "settings: what it says is another attack", yours=repr(attack))  # fmt: skip
    for wrong in ((), (1,), (3, 1), (0,), (-2, 4)):
        try:
            answer(times=wrong)
        except ValueError:
            continue
        raise Wrong(f"times={wrong} is taken without a word: that attack would do nothing, or "
                    "take letters away", given={"times": wrong},
                    likely="a ValueError is missing in __post_init__")  # fmt: skip
    try:
        answer(max_changed=0)
        raise Wrong("max_changed=0 is taken without a word",
                    likely="super().__post_init__() was taken out")  # fmt: skip
    except ValueError:
        pass
    # A ValueError is no reason to refuse every attack.
    answer(times=(2,))

    def run(word, times):
        try:
            found = answer(times=times).options(word)
        except FrozenInstanceError as error:
            raise Wrong(f"options fails: {error}", **frozen) from error
        expect(isinstance(found, tuple) and all(isinstance(x, str) for x in found),
               "options should return a tuple of words", yours=show(found))  # fmt: skip
        return _listed({*found})

    problems = [dict(word=w, times=t)
                for w, t in itertools.product(SHOWN, ((3,), (2, 4), (5, 2), (3, 3)))]  # fmt: skip
    specified(run, problems, lambda word, times, **how: _listed(_plain_options(word, times, **how)),
              _OPTIONS_MISTAKES, what="the set of candidates")  # fmt: skip
    made = [[*answer(times=p["times"]).options(p["word"])] for p in problems]
    fits = [said for said, how in _ORDER_MISTAKES.items()
            if made == [_order(**p, **how) for p in problems]]  # fmt: skip
    for problem, found in zip(problems, made, strict=True):
        pair = re.search(r"([aeiou])\1", problem["word"].lower())
        expect(len({*found}) == len(found), "a candidate stands there twice, and would be asked "
               "about twice", given=problem, yours=found,
               likely="of two equal vowels side by side each gives the same word"
               if pair else "a number can stand in `times` twice"
               if len({*problem["times"]}) < len(problem["times"]) else None)  # fmt: skip
        expected = _order(**problem)
        expect(found == expected, "the candidates are right, and not in the order asked for",
               given=problem, yours=found, expected=expected,
               likely=fits[0] if fits else "a set has no order (if you used one), and another "
               "process another: dict.fromkeys keeps it; vowels come from the left, and for each "
               "the times as `times` was given")  # fmt: skip


def _listed(words, none="(no candidate)") -> str:
    """Words in the order of the alphabet, as one line of text."""
    return ", ".join(sorted(words)) or none


# ---------------------------------------------------------------- 20.2


def _low(hits: int, n: int, z: float = 1.959963984540054) -> float:
    """The p below hits / n at which (hits/n − p)² = z² p (1 − p) / n, by bisection."""
    low, high = 0.0, hits / n
    for _ in range(80):
        p = (low + high) / 2
        outside = (hits / n - p) ** 2 > z**2 * p * (1 - p) / n
        low, high = (p, high) if outside else (low, p)
    return low


def _plain_beats(control, attack, *, bar="control", turned=False, size=False, cut=False,
                 unit="share") -> dict:  # fmt: skip
    n, c, a = len(control), sum(map(int, control)), sum(map(int, attack))
    gain, low = (a - c if turned else c - a) / n, _low(c, n)
    gain = abs(gain) if size else max(gain, 0) if cut else gain
    clear = {
        "control": a / n < low, "on it": a / n <= low, "none": a < c, "half": gain > 0.05,
        "attack": wilson(a, n)[1] < c / n, "both": wilson(a, n)[1] < low,
        "high": a / n < wilson(c, n)[1], "of a share": a / n < wilson(c / n, n)[0],
        "two": a / n < _low(c, n, 2), "99": a / n < _low(c, n, 2.5758293035489),
        "outside": a / n < low or a / n > wilson(c, n)[1],
    }[bar]  # fmt: skip
    return {"gain": gain * {"share": 1, "points": 100, "texts": n}[unit], "clear": bool(clear)}


_BEATS_MISTAKES = {
    "gain is in points; asked is a share": dict(unit="points"),
    "gain is a number of texts; asked is a share, of n": dict(unit="texts"),
    "the sign is turned: gain is above 0 where the attack does more harm": dict(turned=True),
    "gain is without its sign; it is below 0 where the attack does less harm than the control":
        dict(size=True),
    "gain stops at 0 here; it is below 0 where the attack does less harm than the control":
        dict(cut=True),
    "this is True at the lower end itself, too; asked is below it: <, not <=": dict(bar="on it"),
    "this is True above the interval, too, where the attack does less harm than the control; asked "
    "is below its lower end": dict(bar="outside"),
    "this asks only whether the attack is ahead; it must be ahead by more than the interval":
        dict(bar="none"),
    "this asks for 5 points, whatever n is": dict(bar="half"),
    "this is the attack's Wilson interval, or p ± 1.96·√(p(1 − p)/n) of the control, which comes "
    "to the same; asked is Wilson's interval of the control": dict(bar="attack"),
    "this is the upper end of the control's interval; asked is the lower": dict(bar="high"),
    "this is z = 2; the 95 % interval has 1.96": dict(bar="two"),
    "this is the 99 % interval; asked is that of 95 %": dict(bar="99"),
    "wilson wants the number of texts that withstand, and not their share": dict(bar="of a share"),
    "this asks that the two intervals do not overlap, which is more than was asked":
        dict(bar="both"),
}  # fmt: skip


def check_beats(answer) -> None:
    rng = np.random.default_rng(seeded(2))

    def texts(hits, n):
        return rng.permutation(np.arange(n) < hits)

    counts = [(48, 30, 60), (60, 58, 60), (60, 55, 60), (55, 51, 60), (100, 92, 120),
              (55, 47, 60), (10, 12, 40), (40, 40, 40), (197, 192, 200), (60, 56, 60),
              (90, 80, 100), (90, 83, 100), (38, 33, 40), (0, 0, 30), (10, 30, 40),
              (79, 70, 100), (30, 16, 60), (96, 87, 100)]  # fmt: skip
    problems = [dict(control=texts(c, n), attack=texts(a, n)) for c, a, n in counts]

    def run(control, attack):
        before = control.copy(), attack.copy()
        found = answer(control, attack)
        expect(np.array_equal(before[0], control) and np.array_equal(before[1], attack),
               "your function changes its inputs")  # fmt: skip
        expect(isinstance(found, tuple) and len(found) == 2, "the function should return two "
               "things, (gain, clear)", yours=show(found))  # fmt: skip
        gain, clear = found
        expect(isinstance(clear, bool | np.bool_), "clear should be True or False",
               yours=show(clear))  # fmt: skip
        return {"gain": float(gain), "clear": bool(clear)}

    def tell(p):
        return {"texts": len(p["control"]), "right under the control": int(p["control"].sum()),
                "right under the attack": int(p["attack"].sum())}  # fmt: skip

    specified(run, problems, _plain_beats, _BEATS_MISTAKES, tell=tell, atol=1e-9)


# ---------------------------------------------------------------- 20.3


def _plain_surviving(word, candidates, read, *, own=False, fixed=False, twice=False, last=False,
                     latest=False, readings=False, undone=False, drop=True, small=False,
                     itself=False, inside=False, part=False, shortest=False,
                     rising=False) -> tuple:  # fmt: skip
    found: list[str] = []
    as_given = read

    def read(text):
        return as_given(text).lower() if small else as_given(text)

    candidates = sorted(candidates, key=len) if rising else candidates
    for candidate in reversed(candidates) if last else candidates:
        there = read(candidate)
        harmless = there == (word if own else read(word))
        if fixed:
            harmless = there != candidate
        if itself:
            harmless |= there == word
        if inside:
            harmless = there in read(word)
        known = any(there in read(x) if part else there == read(x) for x in found)
        if drop and harmless != undone or not twice and known:
            continue
        found.append(candidate)
    found = found[::-1] if last else found
    if latest:  # in the place of the first
        found = [[c for c in candidates if read(c) == read(x)][-1] for x in found]
    if shortest:
        found = [min((c for c in candidates if read(c) == read(x)), key=len) for x in found]
    return tuple(map(read, found) if readings else found)


_SURVIVING_MISTAKES = {
    "these are the candidates that the defence undoes; kept are the others": dict(undone=True),
    "this compares with the word as it stands; the model reads read(word)": dict(own=True),
    "this keeps what the defence leaves as it is; what it changes into another word survives, too":
        dict(fixed=True),
    "two candidates that are read alike are both kept: one of them is a wasted query":
        dict(twice=True),
    "of the candidates that are read alike the first is kept, and not the last": dict(last=True),
    "of the candidates that are read alike the last is kept here, and not the first: a dictionary "
    "keeps the last value of a key; .setdefault keeps the first": dict(latest=True),
    "those that the defence undoes are kept, too: they are read like the word itself":
        dict(drop=False),
    "nothing is left out: neither what the defence undoes nor what is read alike":
        dict(drop=False, twice=True),
    "small and capital letters count as the same here; two readings are alike where they are equal":
        dict(small=True),
    "this drops what is read as the word stands, too; undone is what is read like the word, "
    "read(word), and nothing else": dict(itself=True),
    "this drops a reading that is a part of the word's reading (`in`): “to” is in “too”, and "
    "another word; two readings are alike where they are equal (`==`)": dict(inside=True),
    "this drops a reading that is a part of an earlier one (`in`); two readings are alike where "
    "they are equal (`==`)": dict(part=True),
    "of the candidates that are read alike the shortest is kept here, and not the first":
        dict(shortest=True),
    "the candidates are sorted by their length here; the order stays": dict(rising=True),
    "these are the readings; the attacker sends the candidate": dict(readings=True),
}  # fmt: skip


def check_surviving(answer) -> None:
    def runs(least):
        return lambda text: re.sub(rf"([a-z])\1{{{least - 1},}}", r"\1", text.lower())

    def by_length(text):
        return text[:4]

    odd = {"neeed": "need", "neeeed": "ned", "need": "ned", "neeeeed": "NED", "Need": "Ned",
           "nee": "ne", "needy": "nedy", "neeedy": "edy", "neeeedy": "nedyy"}  # fmt: skip

    def by_table(text):
        return odd.get(text, text)

    reads = {"runs of three or more letters are read as one": runs(3),
             "runs of two or more letters are read as one": runs(2),
             "only four letters are read": by_length,
             f"{odd}, all others as they are": by_table}  # fmt: skip
    problems = []
    for read, word in itertools.product([*reads.values()][:3],
                                        ("card", "need", "too", "Account", "queue", "my")):
        made = tuple(dict.fromkeys(word[:i] + x * n + word[i + 1 :] for n in (5, 2, 3)
                                   for i, x in enumerate(word) if x in "aeiou"))  # fmt: skip
        problems.append(dict(word=word, candidates=made, read=read))

    others = "neeeed neeeeed neeed Need NEED nee needy neeedy neeeedy".split()
    problems.append(dict(word="need", candidates=tuple(others), read=by_table))

    def run(word, candidates, read):
        found = answer(word, candidates, read)
        expect(found is not None, "the result is None: does the function return it?")
        expect(isinstance(found, tuple), f"the result should be a tuple, not "
               f"{type(found).__name__}", yours=show(found))  # fmt: skip
        again = answer(word, candidates, read)
        expect(again == found, "a second call with the same inputs gives something else",
               yours=listed(again), expected=listed(found),
               likely="a set outside the function, or a default such as seen=set(), lives on from "
               "call to call: begin with an empty one inside")  # fmt: skip
        return listed(found)

    def listed(words):
        return ", ".join(map(str, words)) or "(no survivor)"

    def tell(p):
        said = next(name for name, read in reads.items() if read is p["read"])
        return {"word": p["word"], "candidates": p["candidates"], "read": said}

    specified(run, problems, lambda **p: listed(_plain_surviving(**p)), _SURVIVING_MISTAKES,
              what="the tuple of survivors", tell=tell)  # fmt: skip


# ---------------------------------------------------------------- 20.4


def _written(value, leave_out, *, deep=True, ordered=True, ascii=True, lists=True, nested=True,
             part=False, fold=False, strings=False, values=False, empty=False,
             rising=False) -> str:  # fmt: skip
    """A card as JSON, written out by hand; the keywords are mistakes."""
    how = dict(deep=deep, ordered=ordered, ascii=ascii, lists=lists, nested=nested, part=part,
               fold=fold, strings=strings, values=values, empty=empty, rising=rising)  # fmt: skip

    def out(key):
        return (key in leave_out or part and any(name in key for name in leave_out)
                or fold and key.lower() in {name.lower() for name in leave_out})  # fmt: skip

    def hollow(x):
        return empty and isinstance(x, dict) and all(out(key) or hollow(x[key]) for key in x)

    if isinstance(value, dict):
        keys = [key for key in value if not (out(key) or hollow(value[key])
                or values and isinstance(value[key], str) and value[key] in leave_out)]
        inner = leave_out if deep else ()
        kept = [f"{json.dumps(key)}: "
                + _written(value[key], inner, **how)
                for key in (sorted(keys) if ordered else keys)]  # fmt: skip
        return "{" + ", ".join(kept) + "}"
    if isinstance(value, list | tuple):
        inner = leave_out if lists else ()
        value = [x for x in value if not (strings and isinstance(x, str) and x in leave_out
                                          or hollow(x))]  # fmt: skip
        if rising and all(isinstance(x, int | float) for x in value):
            value = sorted(value)
        return "[" + ", ".join(
            _written(x, inner if nested or not isinstance(x, list) else (), **how)
            for x in value) + "]"  # fmt: skip
    return json.dumps(value, ensure_ascii=ascii)


def _plain_seal(card, leave_out, *, kind="sha256", upper=False, short=None, style=None,
                **how) -> str:  # fmt: skip
    text = _written(card, leave_out, **how)
    text = json.dumps(json.loads(text), **style) if style else text
    found = hashlib.new(kind, text.encode()).hexdigest()
    return (found.upper() if upper else found)[:short]


_SEAL_MISTAKES = {
    "keys are left out at the top only; they stand deeper, too": dict(deep=False),
    "keys inside lists are not left out: rows are a list of dicts": dict(lists=False),
    "the order of the keys counts here; another process may have another": dict(ordered=False),
    "letters such as é are written as they are; json.dumps escapes them by default":
        dict(ascii=False),
    "lists inside lists are not looked into; keys stand at any depth": dict(nested=False),
    "a key that only contains a name of leave_out is left out, too; asked are equal keys":
        dict(part=True),
    "small and capital letters count as the same here; asked are equal keys": dict(fold=True),
    "a string in a list is no key: it stays, also where it is in leave_out": dict(strings=True),
    "a value is no key: it stays, also where it is in leave_out": dict(values=True),
    "a dictionary that has lost all its keys stays, as {}": dict(empty=True),
    "numbers in a list are sorted; their order is part of the card": dict(rising=True),
    "this is JSON over several lines (indent); asked are the defaults of json.dumps":
        dict(style=dict(indent=2)),
    "this is JSON over several lines (indent=4); asked are the defaults of json.dumps":
        dict(style=dict(indent=4)),
    "this is JSON without spaces (separators); asked are the defaults of json.dumps":
        dict(style=dict(separators=(",", ":"))),
    "this is MD5": dict(kind="md5"),
    "this is SHA-1": dict(kind="sha1"),
    "this is cut off; a digest has 64 digits": dict(short=16),
}  # fmt: skip


def check_seal(answer) -> None:
    row = {"seconds": 1.25, "hits": 81, "attack": "PGD", "low": 0.1 + 0.2, "calibrated": None}
    cards = [
        {"protocol": "text", "n": 3},
        {"n": 100, "rows": [row, row | {"hits": 20, "seconds": 0.1}], "digest": "x",
         "model": {"name": "Café", "sha256": "ab"}, "classes": {"b": "B", "a": "A"}},
        {"versions": {"torch": "2"}, "data": {"name": "ü", "seconds": {"a": 1}, "n": 7},
         "rows": [{"queries": [1, {"seconds": 2, "k": [3]}]}], "left out": []},
        {"seconds in all": 5, "Name": "x", "fields": ["name", "hits"], "seeds": [3, 1, 2],
         "unit": "seconds", "cost": {"seconds": 2}, "rows": [{"name": "x"}, {"hits": 1}]},
        {"grid": [[{"name": "a", "hits": 1}, [{"seconds": 3}, 2]], []], "n": 4},
    ]  # fmt: skip
    problems = [dict(card=card, leave_out=leave_out) for card in cards
                for leave_out in (frozenset({"seconds", "digest", "versions", "name"}),
                                  frozenset())]  # fmt: skip

    def run(card, leave_out):
        found = answer(card, leave_out)
        expect(found is not None, "the result is None: does the function return the digest?")
        expect(isinstance(found, str), "a digest is a string of hexadecimal digits, not "
               f"{type(found).__name__}", yours=show(found),
               likely="Python's hash() differs from process to process"
               if isinstance(found, int) else None)  # fmt: skip
        other = dict(reversed(card.items()))
        kept = repr(json.loads(_written(card, leave_out, ordered=False)))
        expect(answer(other, leave_out) == found, "the same card with its keys in another order "
               "has another digest", likely="this is the digest of what repr or str writes; asked "
               "is json.dumps, with sort_keys=True"
               if found == hashlib.sha256(kept.encode()).hexdigest()
               else "sort_keys=True is missing")  # fmt: skip
        return found

    specified(run, problems, _plain_seal, _SEAL_MISTAKES, what="the digest")


# ---------------------------------------------------------------- 20.5


def _plain_corrected(first, second, clean, robust, n, *, kept="both", turned="here", off=False,
                     swapped=False, ends="judged", over="n") -> dict:  # fmt: skip
    """Text by text: those that were turned, and which share of them counts."""
    cells = {(a, b): sum((x, y) == (a, b) for x, y in zip(first, second, strict=True))
             for a, b in itertools.product((True, False), repeat=2)}  # fmt: skip
    judged = len(first)
    hits = {"both": cells[True, True], "first": cells[True, True] + cells[True, False],
            "second": cells[True, True] + cells[False, True],
            "any": judged - cells[False, False],
            "agree": cells[True, True] + cells[False, False],
            "mean": cells[True, True] + (cells[True, False] + cells[False, True]) / 2
            }[kept]  # fmt: skip
    least, most = wilson(hits, judged)
    if ends == "of n":
        least, most = wilson(hits, n)
    if ends == "normal":
        half = 1.96 * math.sqrt(hits / judged * (1 - hits / judged) / judged)
        least, most = hits / judged - half, hits / judged + half
    lost = {"here": clean - robust, "all": n - robust, "pairs": judged}[turned]

    def stands(share):
        share = 1 - share if off else share
        return (robust + lost * (1 - share)) / {"n": n, "clean": clean, "nothing": 1}[over]

    low, high = stands(most), stands(least)
    low, high = (high, low) if swapped else (low, high)
    return {"value": stands(hits / judged), "low": low, "high": high}


_CORRECTED_MISTAKES = {
    "pairs that either calls kept are counted; asked are those that both do": dict(kept="any"),
    "pairs that the first calls kept are counted; asked are those that both do":
        dict(kept="first"),
    "pairs that the second calls kept are counted (of two lists, `first and second` is the second "
    "one); asked are those that both do": dict(kept="second"),
    "pairs on which the two agree are counted; two that agree on “no” have not kept the label":
        dict(kept="agree"),
    "the two judges are averaged; asked are pairs that both call kept": dict(kept="mean"),
    "texts that were wrong from the start were not turned by the attack": dict(turned="all"),
    "only the judged texts are corrected; they stand for all that were turned":
        dict(turned="pairs"),
    "this gives back the texts whose label is kept: the attack counts on those, and not on the "
    "others": dict(off=True),
    "low and high are swapped: the more labels are kept, the more attacks count, and the fewer "
    "texts withstand": dict(swapped=True),
    "this is p ± 1.96·√(p(1 − p)/n); asked is Wilson's interval": dict(ends="normal"),
    "this is the interval of the judged pairs as if they were n; as many were judged as `first` "
    "is long": dict(ends="of n"),
    "this is a number of texts; accuracy is a share: divide by n": dict(over="nothing"),
    "this divides by the texts that were right; accuracy is a share of all n": dict(over="clean"),
}  # fmt: skip


def check_corrected(answer) -> None:
    rng = np.random.default_rng(seeded(5))
    problems = [dict(first=[True] * 4 + [False] * 2, second=[True] * 3 + [False, False, True],
                     clean=90, robust=40, n=100)]  # fmt: skip
    for judged, share, slip, clean, robust, n in ((50, 0.9, 0.05, 189, 95, 200),
                                                  (50, 0.5, 0.2, 430, 120, 500),
                                                  (30, 0.7, 0.4, 77, 30, 80)):  # fmt: skip
        first = (rng.random(judged) < share).tolist()
        second = [x != (rng.random() < slip) for x in first]
        problems.append(dict(first=first, second=second, clean=clean, robust=robust, n=n))
    problems.append(dict(first=[True] * 50, second=[True] * 50, clean=95, robust=30, n=100))
    problems.append(dict(first=[True] * 49 + [False], second=[True] * 49 + [False], clean=60,
                         robust=60, n=70))  # fmt: skip

    def run(**problem):
        found = answer(*problem.values())
        expect(isinstance(found, tuple) and len(found) == 3, "the function should return three "
               "things, (value, low, high)", yours=show(found))  # fmt: skip
        return {name: float(x) for name, x in zip(("value", "low", "high"), found, strict=True)}

    def tell(p):
        both = sum(map(all, zip(p["first"], p["second"], strict=False)))  # or they were changed
        return {"judged": len(p["first"]), "kept by the first": sum(p["first"]),
                "by the second": sum(p["second"]), "by both": both, "clean": p["clean"],
                "robust": p["robust"], "n": p["n"]}  # fmt: skip

    def run_whole(first, second, clean, robust, n):
        return run(first=first, second=second, clean=clean, robust=robust, n=n)

    try:
        specified(run_whole, problems, _plain_corrected, _CORRECTED_MISTAKES, tell=tell, atol=1e-6)
    except NotImplementedError:
        _still_open(answer)
        raise


def _still_open(answer, gaps=3) -> None:
    """Say how many gaps are left, where some are filled."""
    try:
        left = inspect.getsource(answer).count("raise NotImplementedError")
    except (OSError, TypeError):  # nobody can look it up
        return
    if 0 < left < gaps:
        print(f"Filled: {gaps - left} of the {gaps} gaps. The line `raise NotImplementedError` "
              "still stands in the rest.")  # fmt: skip


# ---------------------------------------------------------------- the course's own answers


@dataclass(frozen=True, repr=False)
class Stretched(WordAttack):
    """One vowel of a word is written several times, as people do who are upset: "my caaard".

    times: how often it may be written. Words of one letter stay. Nobody has checked that the label
    is kept (see `meaning_unchecked`).
    """

    times: tuple[int, ...] = (3, 4, 5)

    def __post_init__(self):
        super().__post_init__()
        if not self.times or any(n < 2 for n in self.times):
            raise ValueError(f"times must be numbers of at least 2, such as (3, 4, 5), got "
                             f"{self.times!r}: written once, a letter is as it was")  # fmt: skip

    def propose(self, victim, texts, labels):
        return [[self.options(word) for word in words(text)] for text in texts]

    def options(self, word):
        """What one word may become."""
        if len(word) < 2:
            return ()
        made = (word[:i] + letter * n + word[i + 1 :] for i, letter in enumerate(word)
                if letter in "aeiouAEIOU" for n in self.times)  # fmt: skip
        return tuple(dict.fromkeys(made))


def beats(control, attack):
    """(gain, clear): by how much the attack is ahead, and whether that is beyond the interval."""
    n, hits = len(control), int(control.sum())
    gain = hits / n - attack.sum() / n
    return gain, bool(attack.sum() / n < wilson(hits, n)[0])


def surviving(word, candidates, read):
    """The candidates that the defence does not undo, one for each reading."""
    found = {}
    for candidate in candidates:
        found.setdefault(read(candidate), candidate)
    found.pop(read(word), None)
    return tuple(found.values())


def seal(card, leave_out):
    """SHA-256 of the card without some keys, as 64 hexadecimal digits."""

    def kept(part):
        if isinstance(part, dict):
            return {key: kept(value) for key, value in part.items() if key not in leave_out}
        return [kept(value) for value in part] if isinstance(part, list | tuple) else part

    return hashlib.sha256(json.dumps(kept(card), sort_keys=True).encode()).hexdigest()


def corrected(first, second, clean, robust, n):
    """(value, low, high): robust accuracy when only attacks that keep the label count."""
    hits, judged = sum(a and b for a, b in zip(first, second, strict=True)), len(first)
    least, most = wilson(hits, judged)
    turned = clean - robust
    return tuple((robust + turned * (1 - share)) / n for share in (hits / judged, most, least))


EXERCISES: dict[str, Exercise] = {
    "20.1": Exercise("a threat model as an object", check_stretched, Stretched),
    "20.2": Exercise("beat the control", check_beats, beats),
    "20.3": Exercise("what survives the defence", check_surviving, surviving),
    "20.4": Exercise("a digest that repeats", check_seal, seal),
    "20.5": Exercise("what the judges give back", check_corrected, corrected),
}
