"""Right and wrong answers to the exercises of lesson 20."""

import hashlib
import json
import math
from dataclasses import dataclass, field

import numpy as np

from advlib.attacks import WordAttack
from advlib.corpora import words
from advlib.statistics import wilson
from course.lesson_20.checks import Stretched, beats, corrected, seal, surviving

# ---------------------------------------------------------------- 20.1


def stretched(options=None, check=True, frozen=True, repr=False, first=True):
    """A class like the course's, with parts of it changed."""
    base = dict(times=(3, 4, 5))

    def post(self):
        if first:
            WordAttack.__post_init__(self)
        if check and (not self.times or min(self.times) < 2):
            raise ValueError("times")

    def propose(self, victim, texts, labels):
        return [[self.options(w) for w in words(t)] for t in texts]

    own = options or (lambda self, word: Stretched(times=self.times).options(word))
    made = type("Stretched", (WordAttack,), base | {
        "__annotations__": {"times": tuple}, "__post_init__": post, "propose": propose,
        "options": own})  # fmt: skip
    return dataclass(frozen=True, repr=repr)(made) if frozen else made


def by_places(self, word):
    places = [i for i, x in enumerate(word) if x.lower() in "aeiou"] if len(word) > 1 else []
    found = []
    for i in places:
        for n in self.times:
            letters = list(word)
            letters[i] *= n
            if "".join(letters) not in found:
                found.append("".join(letters))
    return tuple(found)


def by_replace(self, word):
    if len(word) < 2:
        return ()
    made = [word.replace(x, x * n) for x in word if x in "aeiouAEIOU" for n in self.times]
    return tuple(dict.fromkeys(made))


def in_small_letters(self, word):
    return each()(self, word.lower())


def reordered(order):
    return lambda self, word: tuple(order(each()(self, word)))


def each(vowels="aeiouAEIOU", more=0, shortest=2, once=True, kind=tuple):
    def options(self, word):
        if len(word) < shortest:
            return kind()
        made = [word[:i] + x * (n + more) + word[i + 1 :] for i, x in enumerate(word)
                if x in vowels for n in self.times]  # fmt: skip
        return kind(dict.fromkeys(made) if once else made)

    return options


def letters_only(self, word):
    return each()(self, word) if word.isalpha() else ()


def times_from(change):
    return lambda self, word: each()(Stretched(times=tuple(change(self.times))), word)


def unless_as_before(self, word):
    """No dict.fromkeys, but a vowel like the one before is skipped."""
    if len(word) < 2:
        return ()
    return tuple(word[:i] + x * n + word[i + 1 :] for i, x in enumerate(word)
                 if x in "aeiouAEIOU" and x != word[i - 1 : i] for n in self.times)  # fmt: skip


def by_index(self, word):
    if len(word) < 2:
        return ()
    made = [word[: word.index(x)] + x * n + word[word.index(x) + 1 :] for x in word
            if x in "aeiouAEIOU" for n in self.times]  # fmt: skip
    return tuple(dict.fromkeys(made))


def by_replace_once(self, word):
    if len(word) < 2:
        return ()
    made = [word.replace(x, x * n, 1) for x in word if x in "aeiouAEIOU" for n in self.times]
    return tuple(dict.fromkeys(made))


def times_outside(self, word):
    if len(word) < 2:
        return ()
    made = [word[:i] + x * n + word[i + 1 :] for n in self.times for i, x in enumerate(word)
            if x in "aeiouAEIOU"]  # fmt: skip
    return tuple(dict.fromkeys(made))


def below_twelve(self, word):
    return each()(self, word) if len(word) < 12 else ()


def three_and_five(self, word):
    return Stretched(times=(3, 5)).options(word)


def all_at_once(self, word):
    if len(word) < 2 or not {*word.lower()} & {*"aeiou"}:
        return ()
    return tuple("".join(x * n if x.lower() in "aeiou" else x for x in word) for n in self.times)


def all_at_once_or_itself(self, word):
    made = ("".join(x * n if x.lower() in "aeiou" else x for x in word) for n in self.times)
    return tuple(made) if len(word) > 1 else ()


def default_times(self, word):
    return Stretched().options(word)


def sets_times(self, word):
    self.times = tuple(self.times)
    return Stretched(times=self.times).options(word)


class Assigning(Stretched):
    """It assigns to its own setting while it is made."""

    def __post_init__(self):
        self.times = tuple(self.times)
        super().__post_init__()


def first_vowel(self, word):
    place = next((i for i, x in enumerate(word) if x.lower() in "aeiou"), None)
    if place is None or len(word) < 2:
        return ()
    return tuple(word[:place] + word[place] * n + word[place + 1 :] for n in self.times)


@dataclass(frozen=True, repr=False)
class Silent(Stretched):
    """Its repr does not name its own setting."""

    times: tuple = field(default=(3, 4, 5), repr=False)


@dataclass(frozen=True, repr=False)
class Loud(Stretched):
    """Its repr cannot be read again."""

    def __repr__(self):
        return f"<stretched {self.times}>"


class Thawed(Stretched):
    """Settings can be changed afterwards."""

    __setattr__ = object.__setattr__


# ---------------------------------------------------------------- 20.2


def beats_by_mean(control, attack):
    c, a, n = np.mean(control), np.mean(attack), control.size
    z = 1.959963984540054
    centre = (c + z * z / 2 / n) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(c * (1 - c) / n + (z / 2 / n) ** 2)
    return float(c - a), a < centre - half


def beats_with(clear, gain=lambda c, a: c.mean() - a.mean()):
    return lambda c, a: (gain(c, a), bool(clear(c, a)))


def beats_and_changes(control, attack):
    found = beats(control, attack)
    control &= attack
    return found


def low(c):
    return wilson(int(c.sum()), len(c))[0]


def low_at(z):
    def low(c):
        p, n = c.mean(), len(c)
        centre = (p + z * z / 2 / n) / (1 + z * z / n)
        return centre - z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + (z / 2 / n) ** 2)

    return low


# ---------------------------------------------------------------- 20.3


def survive_by_list(word, candidates, read):
    seen, out = [read(word)], []
    for candidate in candidates:
        if read(candidate) not in seen:
            seen.append(read(candidate))
            out.append(candidate)
    return tuple(out)


def survive_by_loop(word, candidates, read):
    readings = [read(c) for c in candidates]
    return tuple(c for i, c in enumerate(candidates)
                 if readings[i] != read(word) and readings[i] not in readings[:i])  # fmt: skip


def survive_small(word, candidates, read):
    return survive_by_list(word, candidates, lambda text: read(text).lower())


def survive_neither(word, candidates, read):
    return tuple(c for c in surviving(word, candidates, read) if read(c) != word)


def survive_of(keep):
    return lambda word, cs, read: tuple(c for c in cs if keep(word, c, read))


def survive_part_of_word(word, candidates, read):
    """A substring, where equal was asked."""
    return survive_by_list("", [c for c in candidates if read(c) not in read(word)], read)


def survive_part_of_kept(word, candidates, read):
    out = []
    for c in candidates:
        if read(c) != read(word) and not any(read(c) in read(o) for o in out):
            out.append(c)
    return tuple(out)


def survive_with_memory(word, candidates, read, seen=set()):  # noqa: B006 the mistake
    out = []
    for c in candidates:
        if read(c) != read(word) and read(c) not in seen:
            seen.add(read(c))
            out.append(c)
    return tuple(out)


def survive_shortest(word, candidates, read):
    kept = surviving(word, candidates, read)
    return tuple(min((c for c in candidates if read(c) == read(k)), key=len) for k in kept)


# ---------------------------------------------------------------- 20.4


def seal_by_hook(card, leave_out):
    text = json.dumps(card)
    kept = json.loads(text, object_hook=lambda part: {
        key: value for key, value in part.items() if key not in leave_out})  # fmt: skip
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode("utf-8")).hexdigest()


def without(card, leave_out, lists=True):
    if isinstance(card, dict):
        return {k: without(v, leave_out, lists) for k, v in card.items() if k not in leave_out}
    if lists and isinstance(card, list):
        return [without(v, leave_out, lists) for v in card]
    return card


def without_nested(card, leave_out):
    """Dictionaries in lists, but not those in lists of lists."""
    if isinstance(card, list):
        return [without_nested(v, leave_out) if isinstance(v, dict) else v for v in card]
    if isinstance(card, dict):
        return {k: without_nested(v, leave_out) for k, v in card.items() if k not in leave_out}
    return card


def sealed(make=lambda c, out: without(c, out), kind="sha256", **settings):
    settings = {"sort_keys": True} | settings
    return lambda card, leave_out: hashlib.new(
        kind, json.dumps(make(card, leave_out), **settings).encode()).hexdigest()  # fmt: skip


def without_where(out, empty=False, strings=False, values=False, rising=False):
    """Like `without`; out: (key, leave_out) -> whether the key goes."""

    def make(part, leave_out):
        if isinstance(part, dict):
            kept = {k: make(v, leave_out) for k, v in part.items() if not out(k, leave_out)
                    and not (values and isinstance(v, str) and v in leave_out)}  # fmt: skip
            return {k: v for k, v in kept.items() if not (empty and v == {})}
        if isinstance(part, list):
            kept = [make(v, leave_out) for v in part
                    if not (strings and isinstance(v, str) and v in leave_out)]  # fmt: skip
            kept = [v for v in kept if not (empty and v == {})]
            return sorted(kept) if rising and all(isinstance(v, int) for v in kept) else kept
        return part

    return make


def seal_by_repr(card, leave_out):
    return hashlib.sha256(repr(without(card, leave_out)).encode()).hexdigest()


def seal_in_place(card, leave_out):
    found = seal(card, leave_out)
    for key in leave_out:
        card.pop(key, None)
    return found


# ---------------------------------------------------------------- 20.5


def corrected_in_arrays(first, second, clean, robust, n):
    kept = np.array(first) & np.array(second)
    shares = np.array([kept.mean(), *wilson(int(kept.sum()), kept.size)[::-1]])
    return tuple(float(x) for x in (clean - (clean - robust) * shares) / n)


def corrected_by_loop(first, second, clean, robust, n):
    kept = 0
    for a, b in zip(first, second, strict=True):
        kept += 1 if a and b else 0
    low, high = wilson(kept, len(first))
    out = []
    for share in (kept / len(first), high, low):
        out.append(robust / n + (clean - robust) * (1 - share) / n)
    return tuple(out)


def corrected_with(hits=lambda a, b: (a & b).sum(), turned=None, stands=None, ends=wilson):
    """The course's, with parts of it changed."""

    def answer(first, second, clean, robust, n):
        k, judged = int(hits(np.array(first), np.array(second))), len(first)
        lost = turned(clean, robust, n, judged) if turned else clean - robust
        shares = (k / judged, *reversed(ends(k, judged)))
        return tuple((stands or (lambda s: (robust + lost * (1 - s)) / n))(s) for s in shares)

    return answer


def corrected_in_place(first, second, clean, robust, n):
    found = corrected(first, second, clean, robust, n)
    first.sort()
    return found


def corrected_shortening(first, second, clean, robust, n):
    found = corrected(first, second, clean, robust, n)
    second.pop()
    return found


def normal(k, n):
    half = 1.96 * math.sqrt(k / n * (1 - k / n) / n)
    return k / n - half, k / n + half


def swapped(first, second, clean, robust, n):
    value, low, high = corrected(first, second, clean, robust, n)
    return value, high, low


def of_clean(first, second, clean, robust, n):
    return corrected(first, second, clean, robust, clean)


def ends_of_n(first, second, clean, robust, n):
    kept = sum(map(all, zip(first, second, strict=True)))
    shares = kept / len(first), *reversed(wilson(kept, n))
    return tuple((robust + (clean - robust) * (1 - s)) / n for s in shares)


def averaged(first, second, clean, robust, n):
    hits = (sum(first) + sum(second)) / 2
    shares = hits / len(first), *reversed(wilson(hits, len(first)))
    return tuple((robust + (clean - robust) * (1 - s)) / n for s in shares)


def in_texts(first, second, clean, robust, n):
    return tuple(n * x for x in corrected(first, second, clean, robust, n))


def gives_back(first, second, clean, robust, n):
    value, low, high = corrected(first, second, clean, robust, n)
    return tuple((clean + robust) / n - x for x in (value, low, high))


RIGHT = [
    ("20.1", stretched()),
    ("20.1", stretched(by_places)),
    ("20.2", beats_by_mean),
    ("20.2", beats_with(lambda c, a: a.sum() < low(c) * len(a))),
    ("20.3", survive_by_list),
    ("20.3", survive_by_loop),
    ("20.4", seal_by_hook),
    ("20.4", sealed()),
    ("20.5", corrected_in_arrays),
    ("20.5", corrected_by_loop),
]

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("20.1", Stretched(), "should be the class"),
    ("20.1", stretched(check=False), "ValueError is missing"),
    ("20.1", stretched(first=False), r"super\(\)"),
    ("20.1", Thawed, "frozen=True is missing"),
    ("20.1", Silent, "does not name all settings"),
    ("20.1", Loud, "cannot be read"),
    ("20.1", stretched(each("aeiou")), "capital vowels"),
    ("20.1", stretched(each("aeiouyAEIOUY")), "y counts"),
    ("20.1", stretched(each(more=1)), "once too often"),
    ("20.1", stretched(each(shortest=1)), "one letter"),
    ("20.1", stretched(each(once=False)), "stands there twice"),
    ("20.1", stretched(each(kind=list)), "tuple"),
    ("20.1", stretched(all_at_once), "one of them"),
    ("20.1", stretched(all_at_once_or_itself), "a word without any"),
    ("20.1", stretched(default_times), "default times"),
    ("20.1", stretched(sets_times), "never assigned to"),
    ("20.1", Assigning, "never assigned to"),
    ("20.1", stretched(first_vowel), "only the first"),
    ("20.1", stretched(by_replace), "word.replace changes"),
    ("20.1", stretched(in_small_letters), "small letters"),
    ("20.1", stretched(reordered(set)), "a set has no order"),
    ("20.1", stretched(reordered(sorted)), "not in the order"),
    ("20.1", stretched(each(shortest=3)), "words of two letters"),
    ("20.1", stretched(letters_only), "such as can't"),
    ("20.1", stretched(times_from(set)), "was given"),
    ("20.1", stretched(times_from(sorted)), "was given"),
    ("20.1", stretched(each("aeiouäöüAEIOUÄÖÜ")), "ä, ö and ü"),
    ("20.1", stretched(unless_as_before), "in `times` twice"),
    ("20.1", stretched(by_index), "word.index"),
    ("20.1", stretched(by_replace_once), "word.replace with a 1"),
    ("20.1", stretched(times_outside), "other way round"),
    ("20.1", stretched(reordered(sorted)), "by the alphabet"),
    ("20.1", stretched(times_from(sorted)), "times are sorted"),
    ("20.1", stretched(below_twelve), "not as expected"),
    ("20.1", stretched(three_and_five), "times 3 and 5"),
    ("20.1", stretched(each("aeiouyAEIOUY")), r"expected = '\(no candidate\)'"),
    ("20.2", beats_with(lambda c, a: a.sum() < c.sum()), "only whether the attack is ahead"),
    ("20.2", beats_with(lambda c, a: c.mean() - a.mean() > 0.05), "5 points"),
    ("20.2", beats_with(lambda c, a: wilson(int(a.sum()), len(a))[1] < c.mean()),
     "attack's Wilson"),
    ("20.2", beats_with(lambda c, a: wilson(int(a.sum()), len(a))[1] < low(c)), "overlap"),
    ("20.2", lambda c, a: beats(a, c), "sign is turned"),
    ("20.2", beats_with(lambda c, a: a.mean() < low(c), lambda c, a: 100 * (c.mean() - a.mean())),
     "in points"),
    ("20.2", beats_with(lambda c, a: a.mean() < c.mean() - 1.96 * c.std() / len(c) ** 0.5),
     "comes to the same"),
    ("20.2", beats_with(lambda c, a: a.mean() < low(c), lambda c, a: int(c.sum()) - int(a.sum())),
     "number of texts"),
    ("20.2", beats_with(lambda c, a: a.mean() < wilson(int(c.sum()), len(c))[1]), "upper end"),
    ("20.2", beats_with(lambda c, a: a.mean() < wilson(c.mean(), len(c))[0]), "not their share"),
    ("20.2", beats_with(lambda c, a: not low(c) <= a.mean() <= wilson(int(c.sum()), len(c))[1]),
     "above the interval, too"),
    ("20.2", beats_with(lambda c, a: a.mean() < low(c), lambda c, a: abs(c.mean() - a.mean())),
     "without its sign"),
    ("20.2", beats_with(lambda c, a: a.mean() <= low(c)), "at the lower end itself"),
    ("20.2", beats_with(lambda c, a: a.mean() < low(c), lambda c, a: max(c.mean() - a.mean(), 0)),
     "stops at 0"),
    ("20.2", beats_with(lambda c, a: a.mean() < low_at(2)(c)), "z = 2"),
    ("20.2", beats_with(lambda c, a: a.mean() < low_at(2.5758293)(c)), "99 % interval"),
    ("20.2", beats_and_changes, "changes its inputs"),
    ("20.2", lambda c, a: beats(c, a)[0], "two things"),
    ("20.2", lambda c, a: (beats(c, a)[0], "yes"), "True or False"),
    ("20.3", survive_of(lambda w, c, read: read(c) != read(w)), "wasted query"),
    ("20.3", survive_of(lambda w, c, read: read(c) == c), "not as expected|leaves as it is"),
    ("20.3", survive_of(lambda w, c, read: read(c) == read(w)), "not as expected|undoes"),
    ("20.3", lambda w, cs, read: tuple(map(read, surviving(w, cs, read))), "readings"),
    ("20.3", lambda w, cs, read: tuple({read(c): c for c in cs if read(c) != read(w)}.values()),
     "the last value of a key"),
    ("20.3", lambda w, cs, read: tuple({read(c): c for c in cs[::-1]}.values()),
     "not as expected"),
    ("20.3", lambda w, cs, read: tuple({read(c): c for c in cs[::-1] if read(c) != read(w)}
                                       .values())[::-1], "not as expected"),
    ("20.3", lambda w, cs, read: survive_by_loop("", cs, read), "those that the defence undoes"),
    ("20.3", survive_small, "small and capital letters"),
    ("20.3", survive_neither, "read as the word stands"),
    ("20.3", survive_part_of_word, "part of the word's reading"),
    ("20.3", survive_part_of_kept, "part of an earlier one"),
    ("20.3", survive_with_memory, "lives on from call to call"),
    ("20.3", survive_shortest, "the shortest is kept"),
    ("20.3", lambda w, cs, read: surviving(w, sorted(cs, key=len), read), "sorted by their length"),
    ("20.3", lambda w, cs, read: list(surviving(w, cs, read)), "tuple, not list"),
    ("20.3", lambda w, cs, read: None, "None"),
    ("20.3", lambda w, cs, read: cs, "nothing is left out"),
    ("20.4", sealed(lambda c, out: {k: v for k, v in c.items() if k not in out}), "at the top"),
    ("20.4", sealed(lambda c, out: without(c, out, lists=False)), "inside lists"),
    ("20.4", sealed(sort_keys=False), "another order"),
    ("20.4", sealed(ensure_ascii=False), "escapes them"),
    ("20.4", sealed(without_nested), "inside lists are not looked into"),
    ("20.4", sealed(indent=2), "several lines"),
    ("20.4", sealed(separators=(",", ":")), "without spaces"),
    ("20.4", sealed(kind="md5"), "MD5"),
    ("20.4", lambda c, out: seal(c, out)[:16], "cut off"),
    ("20.4", lambda c, out: hash(json.dumps(without(c, out), sort_keys=True)), "hash"),
    ("20.4", lambda c, out: bytes.fromhex(seal(c, out)), "hexadecimal"),
    ("20.4", sealed(without_where(lambda k, out: any(name in k for name in out))), "only contains"),
    ("20.4", sealed(without_where(lambda k, out: k.lower() in out)), "small and capital letters"),
    ("20.4", sealed(without_where(lambda k, out: k in out, strings=True)), "is no key"),
    ("20.4", sealed(without_where(lambda k, out: k in out, empty=True)), "lost all its keys"),
    ("20.4", sealed(without_where(lambda k, out: k in out, rising=True)), "are sorted"),
    ("20.4", sealed(without_where(lambda k, out: k in out, values=True)), "a value is no key"),
    ("20.4", seal_by_repr, "what repr or str writes"),
    ("20.4", seal_in_place, "out of `card`"),
    ("20.4", seal_in_place, "copy.deepcopy"),
    ("20.4", lambda c, out: None, "None"),
    ("20.5", corrected_with(lambda a, b: (a | b).sum()), "either calls kept"),
    ("20.5", corrected_with(lambda a, b: a.sum()), "first calls kept"),
    ("20.5", corrected_with(lambda a, b: (a == b).sum()), "on which the two agree"),
    ("20.5", corrected_with(lambda a, b: b.sum()), "second calls kept"),
    ("20.5", corrected_shortening, "changes its input `second`"),
    ("20.5", averaged, "judges are averaged"),
    ("20.5", corrected_with(turned=lambda c, r, n, j: n - r), "wrong from the start"),
    ("20.5", corrected_with(turned=lambda c, r, n, j: j), "stand for all"),
    ("20.5", corrected_with(ends=normal), "asked is Wilson's"),
    ("20.5", ends_of_n, "as if they were n"),
    ("20.5", in_texts, "divide by n"),
    ("20.5", gives_back, "counts on those"),
    ("20.5", swapped, "swapped"),
    ("20.5", of_clean, "share of all n"),
    ("20.5", corrected_in_place, "changes its input `first`"),
    ("20.5", lambda *i: corrected(*i)[0], "three things"),
    ("20.5", lambda *i: list(corrected(*i)), "three things"),
    ("20.5", lambda *i: None, "three things"),
]  # fmt: skip
