"""Checks of lesson 00.

They stand on toy victims and a toy world whose behaviour is known, and on brute force over every
one-word change. `course=` is what the notebook goes on with where nothing was attempted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest

import numpy as np

from advlib.attacks.words import WordResult
from advlib.corpora import replace, words, world
from course.checking import Exercise, Wrong, expect, seeded, specified

# ----------------------------------------------------------------- 00.1 one changed word


class ToyVictim:
    """Looks like a Classifier. A plain Python rule gives each text its probabilities."""

    labels = ["negative", "positive", "neutral"]

    def __init__(self, rule: Callable[[str], float | tuple]):
        self.rule = rule  # text -> probability of "positive" of two classes, or all probabilities

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Class probabilities, (texts, classes)."""
        if isinstance(texts, str):
            raise TypeError("pass a list of texts, not one text: predict([text])")
        said = [self.rule(text) for text in texts]
        rows = [p if isinstance(p, tuple) else (1 - p, p) for p in said]
        return np.array(rows, dtype=np.float32).reshape(len(rows), -1 if rows else 2)

    def logits(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        return np.log(self.predict(texts))


def _trap(right: int, *traps: str) -> Callable[[str], float]:
    """Right, until all the traps are words of the text; each trap alone lowers it a lot."""

    def rule(text: str) -> float:
        sprung = sum(trap in words(text) for trap in traps)
        chance = 0.1 if sprung == len(traps) else 0.9 - 0.35 * sprung
        return chance if right == 1 else 1 - chance

    return rule


def _one_left(word: str) -> Callable[[str], float]:
    """Wrong where one of two equal words is left. Only one of them may be changed, so a method
    that changes every one of them misses it."""
    return lambda text: 0.2 if words(text).count(word) == 1 else 0.8


def _first_left(word: str, second: int) -> Callable[[str], float]:
    """Wrong where of two equal words the second, word number `second`, is changed alone."""

    def rule(text: str) -> float:
        found = words(text)
        return 0.2 if found.count(word) == 1 and found[second] != word else 0.8

    return rule


def _of_three(text: str) -> tuple:
    """Right with less than one half; wrong where the third class has the most."""
    return (0.2, 0.3, 0.5) if "couch" in words(text) else (0.3, 0.4, 0.3)


# What is tested, text, true label, rule of the victim.
ONE_WORD = (
    ("the trap is the last word", "The waiter was polite, and the pizza was tasty.", 1,
     _trap(1, "scrummy")),
    ("the trap is the first of the substitutes", "The steak was tasty.", 1, _trap(1, "delicious")),
    ("the trap stands early, in a negative text", "The hotel was dreadful, and the bed was lumpy.",
     0, _trap(0, "lodge")),
    ("the trap is a negative word", "The phone is slow, and the screen is dim.", 0,
     _trap(0, "glacial")),
    ("the trap is a capital word", "Overall, the soup was great.", 1, _trap(1, "Frankly")),
    ("the model is only just wrong", "The phone is slow, and the screen is dim.", 0,
     lambda text: 0.52 if "display" in words(text) else 0.45),
    ("one word stands there twice", "The waiter was very polite, and the soup was very tasty.", 1,
     _one_left("very")),
    ("one word stands there twice, and only its second place counts",
     "The waiter was very polite, and the soup was very tasty.", 1, _first_left("very", 9)),
    ("only two changed words together fool this model", "The waiter was kind, and the soup was "
     "tasty.", 1, _trap(1, "affable", "scrummy")),
    ("the trap would need another article", "It was a tasty soup.", 1, _trap(1, "appetising")),
    ("nothing fools this model", "The film was boring, and the plot was trite.", 0,
     lambda text: 0.1),
    ("no word has a substitute", "It is not for me.", 0, lambda text: 0.3),
    ("this model has three classes", "The bed was lumpy.", 1, _of_three),
)  # fmt: skip


def _tries(text: str) -> list[tuple[int, str, str]]:
    """Every change of one word: its place, the new word, and the text with it."""
    options = world("reviews").substitutes(text)
    return [(i, new, replace(text, {i: new})) for i, some in enumerate(options) for new in some]


def check_one_word(one_word_attack) -> None:
    cases = []
    for what, text, label, rule in ONE_WORD:
        victim = ToyVictim(rule)
        fooling = [t for *_, t in _tries(text) if victim.predict([t]).argmax() != label]
        cases.append((text, label, fooling, one_word_attack(victim, text, label), what, victim))
    wrong = [case for case in cases if _problem(*case)]
    if wrong:
        text, label, fooling, got, what, _ = wrong[0]
        raise Wrong(_problem(*wrong[0]), yours=got, likely=_likely(cases, wrong),
                    expected=f"one of {fooling[:3]}" if fooling else None,
                    given={"text": text, "label": label, "what is special": what})  # fmt: skip


def _problem(text: str, label: int, fooling: list[str], got, *_) -> str | None:
    """What is wrong with this answer; None: nothing."""
    if got is None:
        return "None came back, but one changed word does fool the model" if fooling else None
    if not fooling:
        return "no single changed word fools the model here, so None is right"
    if not isinstance(got, str):
        return f"return the changed text, not a {type(got).__name__}"
    if got in fooling:
        return None
    if got == text:
        return "the original text came back"
    if any(got == changed for *_, changed in _tries(text)):
        return "the model is still right about this text"
    count = sum(old != new for old, new in zip_longest(words(text), words(got)))
    return (f"{count} words are changed, and only one may be" if count > 1 else
            "this text is not the original with one word replaced by a substitute")  # fmt: skip


EARLY = "it stops too early: a `return None` inside a loop ends the search there"
# A mistake that misses some changes, and which of all changes it tries.
TOO_FEW = (
    (EARLY, lambda tries, found: tries[:1]),
    (EARLY, lambda tries, found: [t for t in tries if t[0] == 0]),
    ("it tries one substitute of each word: try all substitutes",
     lambda tries, found: [t for k, t in enumerate(tries) if not k or tries[k - 1][0] < t[0]]),
    ("a word that stands there twice must be tried in both places, one at a time: index(word), or "
     "a set of the words, finds only the first",
     lambda tries, found: [t for t in tries if t[0] == found.index(found[t[0]])]),
    ("text.replace(old, new) changes a word in every place; use replace(text, {i: new})",
     lambda tries, found: [t for t in tries if found.count(found[t[0]]) == 1]),
)  # fmt: skip


def _likely(cases: list[tuple], wrong: list[tuple]) -> str | None:
    """The mistake, where what came out of all cases leaves no doubt about it."""
    text, label, fooling, got, _, victim = wrong[0]
    tries, old = _tries(text), words(text)
    if wrong == cases[-1:]:
        return "right for two classes only: compare the most probable one (argmax) with `label`"
    if got is None:
        missed = [case[3] is None and bool(case[2]) for case in cases]
        for why, tried in TOO_FEW if sum(missed) == len(wrong) else ():
            found = [{t[2] for t in tried(_tries(c[0]), words(c[0]))} & {*c[2]} for c in cases]
            if missed == [bool(c[2]) and not some for c, some in zip(cases, found, strict=True)]:
                return why
    if not isinstance(got, str):
        return None
    if got == text:
        return ("the text is returned, not the changed copy" if fooling else
                "it returns the original text where nothing was found")  # fmt: skip
    if any(got == changed for *_, changed in tries):
        if fooling and {case[1] for case in wrong if case[2]} == {0}:
            return "the prediction is compared with 1, and not with `label`"
        most = min(tries, key=lambda t: victim.predict([t[2]])[0, label])[2]
        last = tries[-1][2]
        return {(True, False): "it returns the change that hurts most, even if the model is right",
                (False, True): "it returns its last try, even if the model is right",
                }.get((got == most, got == last)) if not fooling else None  # fmt: skip
    changed = {i: new for i, new in enumerate(words(got)) if i >= len(old) or new != old[i]}
    if len(words(got)) != len(old):
        return None
    if got != replace(text, changed):
        return ("punctuation or spaces are not as they were: replace(text, {i: new}) leaves them")
    if len(changed) == 1:
        return f"{next(iter(changed.values()))!r} is none of substitutes(text)[i]"
    if len({(old[i], new) for i, new in changed.items()}) == 1:
        return "str.replace changes a word in every place: use replace(text, {i: new})"
    last = {i: new for i, new, _ in tries}  # each word's last substitute
    if all(last.get(i) == changed[i] for i in sorted(changed)[:-1]):
        return "changes add up from try to try: start from `text` every time"
    return None


reviews = world("reviews")  # as the page has it


def one_word_attack(victim, text, label):
    """The course's version: all one-word changes in one batch, the first that fools."""
    tries = [
        replace(text, {i: new})
        for i, some in enumerate(reviews.substitutes(text))
        for new in some
    ]
    if not tries:
        return None
    wrong = victim.predict(tries).argmax(axis=1) != label
    return tries[int(wrong.argmax())] if wrong.any() else None


# ----------------------------------------------------------------- 00.2 is the label kept?


class ToyWorld:
    """Knows the labels of a few texts, and raises ValueError for all others, as a World does."""

    def __init__(self, known: dict[str, int]):
        self.known = known

    def label(self, text: str) -> int:
        if text not in self.known:
            raise ValueError(f"this world knows no label for: {text!r}")
        return self.known[text]


FRUIT = ToyWorld({"an apple": 1, "a pear": 1, "a leek": 0, "a turnip": 0, "a brick": 2,
                  "a stone": 2})  # fmt: skip
TURNED = ToyWorld({"good": 0, "great": 0, "bad": 1})  # here good is 0: nobody may know better

SOUP = "The waiter was friendly, and the soup was delicious."
# World, original, changed, and their labels (None: unknown).
LABELS = (
    (FRUIT, "an apple", "a pear", (1, 1)),
    (FRUIT, "an apple", "a leek", (1, 0)),
    (FRUIT, "a leek", "a turnip", (0, 0)),
    (FRUIT, "a turnip", "a pear", (0, 1)),
    (FRUIT, "a brick", "a pear", (2, 1)),
    (FRUIT, "a brick", "a stone", (2, 2)),
    (FRUIT, "a pear", "a pear", (1, 1)),
    (FRUIT, "a leek", "a cloud", (0, None)),
    (FRUIT, "a cloud", "an apple", (None, 1)),
    (FRUIT, "a cloud", "a cloud", (None, None)),
    (TURNED, "good", "great", (0, 0)),
    (TURNED, "good", "bad", (0, 1)),
    (world("reviews"), SOUP, "The waiter was friendly, and the soup was delectable.", (1, 1)),
    (world("reviews"), SOUP, "The waiter was friendly, and the soup was not delicious.", (1, None)),
    (world("reviews"), "The soup was bland.", "The soup was not bland.", (0, 1)),
    (world("reviews"), "The soup was bland.", "The soup was not tasty.", (0, 0)),
)


def _alike_in_reviews(a: str, b: str) -> bool:
    try:
        return world("reviews").label(a) == world("reviews").label(b)
    except ValueError:
        return False


# A mistake -> what it answers for two texts, their labels, and whether both labels are known.
LABEL_MISTAKES = {
    "it says True whatever the labels": lambda a, b, p, q, known: True,
    "the comparison is turned round": lambda a, b, p, q, known: known and p != q,
    "where the world does not know a label, the answer is False: nobody can vouch":
        lambda a, b, p, q, known: not known or p == q,
    "it asks whether the labels are positive, and not whether they are the same":
        lambda a, b, p, q, known: p == q == 1,
    "it compares the texts, and not their labels": lambda a, b, p, q, known: a == b,
    "it asks a world of its own, and not the one that is passed in":
        lambda a, b, p, q, known: _alike_in_reviews(a, b),
}  # fmt: skip


def check_keeps_label(keeps_label) -> None:
    results = []
    for where, original, changed, _ in LABELS:
        try:
            results.append(keeps_label(where, original, changed))
        except ValueError as error:
            raise Wrong("your function let a ValueError out, and it should return False there",
                        given=dict(original=original, changed=changed), expected=False,
                        likely="world.label raises ValueError where it knows no label, for the "
                        "original too: put both calls inside try") from error  # fmt: skip
    for got, (_, original, changed, (p, q)) in zip(results, LABELS, strict=True):
        kept = p == q is not None
        unknown = "the world does not know"
        given = {"original": original, "changed": changed, "their labels":
                 tuple(unknown if label is None else label for label in (p, q))}  # fmt: skip
        expect(got is not None, "None came back: does the function return in every case?",
               given=given, expected=kept)  # fmt: skip
        expect(isinstance(got, bool | np.bool_), f"return True or False, not {got!r}", given=given,
               yours=got, expected=kept)  # fmt: skip
        fits = [name for name, says in LABEL_MISTAKES.items() if results == [
            says(a, b, *labels, None not in labels) for _, a, b, labels in LABELS]]  # fmt: skip
        expect(got == kept, f"the label is {'kept' if kept else 'not kept'} here", given=given,
               yours=got, expected=kept, likely=fits[0] if fits else None)  # fmt: skip


def keeps_label(world, original, changed):
    """The course's version."""
    try:
        return world.label(original) == world.label(changed)
    except ValueError:
        return False


# ----------------------------------------------------------------- 00.3 and 00.4 two measures


def _results(right: int, fooled: int, wrong: int) -> list[WordResult]:
    """So many results of each kind, mixed, of both labels. They differ in words and in queries, so
    that nothing but success and wrong_before tells the kinds apart."""
    kinds = [(False, False)] * right + [(True, False)] * fooled + [(False, True)] * wrong
    order = np.random.default_rng(seeded(7)).permutation(len(kinds))
    made = []
    for k, place in enumerate(order):
        success, before = kinds[place]
        # An attack may change words and still fail, so a changed text is no sign of success.
        changed = success or (not before and k % 3 == 0)
        text = "The soup was scrummy." if changed else "The soup was tasty."
        made.append(WordResult("The soup was tasty.", text, k % 2, (3,) if changed else (), success,
                               before, 1 if before or k % 4 == 0 else 5 + k % 4))  # fmt: skip
    return made


# right before and after, fooled, wrong from the start
COUNTS = ((6, 3, 2), (1, 6, 1), (4, 0, 4), (0, 3, 1), (6, 2, 0), (2, 7, 9), (0, 1, 0))


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _measured(function) -> Callable:
    """function, of how many results there are of each kind; it must leave the list alone."""

    def measure(right: int, fooled: int, wrong: int):
        results, before = _results(right, fooled, wrong), _results(right, fooled, wrong)
        given = dict(right=right, fooled=fooled, wrong=wrong)
        try:
            got = function(results)
        except ZeroDivisionError as error:
            likely = "no text was right before" if right + fooled == 0 else None
            raise Wrong("your function divides by zero", given=given, likely=likely) from error
        expect(results == before, "your function changes the list that it is given",
               given=given, likely="it sorts, pops or removes in place")  # fmt: skip
        return got

    return measure


def _check(function, counts: Sequence[tuple], what: str, formula: Callable, mistakes: dict) -> None:
    """Compare with formula(right, fooled, wrong) on results with these counts."""
    problems = [dict(zip(("right", "fooled", "wrong"), each, strict=True)) for each in counts]
    specified(_measured(function), problems, lambda says=formula, **given: says(*given.values()),
              {name: dict(says=f) for name, f in mistakes.items()},
              what=what, atol=1e-6, rtol=1e-6)  # fmt: skip


def check_accuracy(accuracy_under_attack) -> None:
    what = "the accuracy under attack"
    _check(accuracy_under_attack, COUNTS, what, lambda r, f, w: r / (r + f + w), {
        "it counts only the texts that were attacked, and forgets those that were wrong from the "
        "start: they stay below the line": lambda r, f, w: _ratio(r, r + f),
        "wrong from the start counts as robust, as if `not success` were enough":
            lambda r, f, w: (r + w) / (r + f + w),
        "this is the accuracy without attack": lambda r, f, w: (r + f) / (r + f + w),
        "this is the share that was fooled, so the wrong way round":
            lambda r, f, w: f / (r + f + w),
        "this is the attack success rate, the other measure": lambda r, f, w: _ratio(f, r + f),
        "this is the share of errors: take it from 1": lambda r, f, w: (f + w) / (r + f + w),
        "this is a count: divide it by the number of results": lambda r, f, w: r,
        "this is in per cent: a share from 0 to 1 is asked": lambda r, f, w: 100 * r / (r + f + w),
        "it divides by the number that were fooled or wrong": lambda r, f, w: _ratio(r, f + w),
    })  # fmt: skip
    _check(accuracy_under_attack, [(0, 0, 5)], what, lambda r, f, w: 0.0, {})


def check_success(attack_success_rate) -> None:
    _check(attack_success_rate, COUNTS, "the attack success rate",
           lambda r, f, w: _ratio(f, r + f), {
        "it divides by all results: texts that were wrong from the start were never attacked, so "
        "they do not belong below the line": lambda r, f, w: f / (r + f + w),
        "this is 1 - accuracy under attack: it counts texts that were wrong from the start as "
        "successes of the attack": lambda r, f, w: (f + w) / (r + f + w),
        "this is the accuracy under attack, the other measure": lambda r, f, w: r / (r + f + w),
        "this is the share that stood the attack, so the wrong way round":
            lambda r, f, w: _ratio(r, r + f),
        "this is a count: divide it by the number of texts that were right before":
            lambda r, f, w: f,
        "this is in per cent: a share from 0 to 1 is asked": lambda r, f, w: _ratio(100 * f, r + f),
        "it divides by the number that stood the attack": lambda r, f, w: _ratio(f, r),
    })  # fmt: skip
    got = _measured(attack_success_rate)(0, 0, 5)
    expect(isinstance(got, float | np.floating) and math.isnan(got),
           "where no text was right before, there is no rate: return float('nan')",
           given=dict(right=0, fooled=0, wrong=5), yours=got)  # fmt: skip


def accuracy_under_attack(results):
    """The course's version."""
    stood = [r for r in results if not r.success and not r.wrong_before]
    return len(stood) / len(results)


def attack_success_rate(results):
    """The course's version."""
    attacked = [r for r in results if not r.wrong_before]
    if not attacked:
        return float("nan")
    return sum(r.success for r in attacked) / len(attacked)


EXERCISES: dict[str, Exercise] = {
    "00.1": Exercise("one changed word", check_one_word, one_word_attack),
    "00.2": Exercise("is the label kept?", check_keeps_label, keeps_label),
    "00.3": Exercise("accuracy under attack", check_accuracy, accuracy_under_attack),
    "00.4": Exercise("attack success rate", check_success, attack_success_rate),
}
