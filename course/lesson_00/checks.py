"""Checks of lesson 00.

They stand on toy victims and a toy world whose behaviour is known, and on brute force over every
one-word change. `course=` is what the notebook goes on with where nothing was attempted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from advlib.attacks.words import WordResult
from advlib.corpora import replace, words, world
from course.checking import Exercise, Wrong, compare, expect

# ----------------------------------------------------------------- 00.1 one changed word


class ToyVictim:
    """Looks like a Classifier. It gives each text the label that a plain Python rule gives it."""

    labels = ["negative", "positive"]

    def __init__(self, rule: Callable[[str], float]):
        self.rule = rule  # text -> probability of "positive"

    def predict(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Class probabilities, (texts, classes)."""
        if isinstance(texts, str):
            raise TypeError("pass a list of texts, not one text: predict([text])")
        positive = np.array([self.rule(text) for text in texts], dtype=np.float32)
        return np.stack([1 - positive, positive], axis=1)

    def logits(self, texts: Sequence[str], batch_size: int = 64) -> np.ndarray:
        return np.log(self.predict(texts))


def _trap(right: int, *traps: str) -> Callable[[str], float]:
    """Right, until all the traps are words of the text; each trap alone lowers it a little."""

    def rule(text: str) -> float:
        sprung = sum(trap in words(text) for trap in traps)
        chance = 0.1 if sprung == len(traps) else 0.9 - 0.1 * sprung
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
    ("one word stands there twice", "The waiter was very polite, and the soup was very tasty.", 1,
     _one_left("very")),
    ("one word stands there twice, and only its second place counts",
     "The waiter was very polite, and the soup was very tasty.", 1, _first_left("very", 9)),
    ("only two changed words together fool this model", "The waiter was kind, and the soup was "
     "tasty.", 1, _trap(1, "affable", "scrummy")),
    ("nothing fools this model", "The film was boring, and the plot was trite.", 0,
     lambda text: 0.1),
    ("no word has a substitute", "It is not for me.", 0, lambda text: 0.3),
)  # fmt: skip


def _neighbours(text: str) -> list[str]:
    """Every text with exactly one word replaced by one of its substitutes."""
    options = world("reviews").substitutes(text)
    return [replace(text, {i: new}) for i, some in enumerate(options) for new in some]


def check_one_word(one_word_attack) -> None:
    for what, text, label, rule in ONE_WORD:
        victim = ToyVictim(rule)
        fooling = [t for t in _neighbours(text) if (rule(t) > 0.5) != bool(label)]
        got = one_word_attack(victim, text, label)
        given = {"text": text, "label": label, "what is special": what}
        found = dict(given=given, yours=got)
        if not fooling:
            expect(got is None, "no single changed word fools the model here, so None is right",
                   likely=_why_not_none(got, text, rule, label), **found)  # fmt: skip
            continue
        found["expected"] = fooling[0] if len(fooling) == 1 else f"one of {fooling[:3]}"
        expect(got is not None, "None came back, but one changed word does fool the model",
               likely=_why_none(text, label), **found)  # fmt: skip
        expect(isinstance(got, str), f"return the changed text, not a {type(got).__name__}",
               likely="the word, the position or a list came back: use replace(text, {i: new})",
               **found)  # fmt: skip
        if got not in fooling:
            problem, likely = _why_wrong(got, text, rule, label)
            raise Wrong(problem, likely=likely, **found)


def _why_not_none(got, text: str, rule, label: int) -> str | None:
    if not isinstance(got, str):
        return "something other than a text came back where the search found nothing"
    if got == text:
        return "it returns the original text where nothing was found"
    if _changed(got, text) > 1:
        return "it goes on from a text that is changed already: start from `text` every time"
    if (rule(got) > 0.5) == bool(label):
        return "it returns the change that hurts most, or the last one, even if the model is right"
    return None


def _why_none(text: str, label: int) -> str:
    options = world("reviews").substitutes(text)
    movable = [word for word, some in zip(words(text), options, strict=True) if some]
    if len(set(movable)) < len(movable):
        return ("a word that stands there twice must be tried in both places, one at a time: "
                "text.replace(old, new) changes it in every place, and index(word) finds only the "
                "first. Use replace(text, {i: new})")  # fmt: skip
    why = "it stops too early (a `return None` inside the loop?) or does not try all substitutes"
    return why if label else why + "; or it looks for the prediction 0 and ignores `label`"


def _why_wrong(got: str, text: str, rule, label: int) -> tuple[str, str | None]:
    if got == text:
        return "the original text came back", "the text is returned, not the changed copy"
    if got not in _neighbours(text):
        count = _changed(got, text)
        if count > 1:
            return (f"{count} words are changed, and only one may be",
                    "changes add up from try to try, or str.replace changes a word everywhere: "
                    "use replace(text, {i: new})")  # fmt: skip
        return ("this text is not the original with one word replaced by a substitute",
                "the new word is none of substitutes(text)[i], or the rest of the text is not as "
                "it was: an answer kept for one sentence, or words joined again without their "
                "punctuation")  # fmt: skip
    return ("the model is still right about this text",
            "the prediction is not compared with `label`, or the lowest probability counts as "
            "fooled already")  # fmt: skip


def _changed(a: str, b: str) -> int:
    x, y = words(a), words(b)
    return sum(p != q for p, q in zip(x, y, strict=False)) + abs(len(x) - len(y))


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


FRUIT = ToyWorld({"an apple": 1, "a pear": 1, "a leek": 0, "a turnip": 0, "a brick": 2})
TURNED = ToyWorld({"good": 0, "great": 0, "bad": 1})  # here good is 0: nobody may know better

SOUP = "The waiter was friendly, and the soup was delicious."
# world ("reviews" stands for the real one), original, changed, whether the label is kept, and why.
LABELS = (
    (FRUIT, "an apple", "a pear", True, "1 and 1"),
    (FRUIT, "an apple", "a leek", False, "1 and 0"),
    (FRUIT, "a leek", "a turnip", True, "0 and 0"),
    (FRUIT, "a turnip", "a pear", False, "0 and 1"),
    (FRUIT, "a brick", "a pear", False, "2 and 1"),
    (FRUIT, "a leek", "a cloud", False, "0 and unknown"),
    (FRUIT, "a cloud", "an apple", False, "unknown and 1"),
    (FRUIT, "a cloud", "a cloud", False, "unknown and unknown"),
    (TURNED, "good", "great", True, "0 and 0 in this world"),
    (TURNED, "good", "bad", False, "0 and 1 in this world"),
    ("reviews", SOUP, "The waiter was friendly, and the soup was delectable.", True, "1 and 1"),
    ("reviews", SOUP, "The waiter was friendly, and the soup was not delicious.", False,
     "1 and unknown: the opinions disagree"),
    ("reviews", "The soup was bland.", "The soup was not bland.", False, "0 and 1"),
    ("reviews", "The soup was bland.", "The soup was not tasty.", True, "0 and 0"),
)  # fmt: skip


def check_keeps_label(keeps_label) -> None:
    for where, original, changed, kept, why in LABELS:
        given = {"original": original, "changed": changed, "their labels": why}
        try:
            got = keeps_label(world(where) if isinstance(where, str) else where, original, changed)
        except ValueError as error:
            raise Wrong("your function let a ValueError out, and it should return False there",
                        given=given, expected=False,
                        likely="world.label raises ValueError where it knows no label, for the "
                        "original too: put both calls inside try") from error  # fmt: skip
        expect(got is not None, "None came back: does the function return in every case?",
               given=given, expected=kept)  # fmt: skip
        if isinstance(got, bool | np.bool_) and bool(got) == kept:
            continue
        raise Wrong("the label is kept here" if kept else "the label is not kept here",
                    given=given, yours=got, expected=kept,
                    likely=_label_mistake(got, kept, why))  # fmt: skip


def _label_mistake(got, kept: bool, why: str) -> str | None:
    if not isinstance(got, bool | np.bool_):
        return "a label or something else came back: return True or False"
    if "unknown" in why:
        return "where the world does not know the label, the answer is False: nobody can vouch"
    if kept:
        if why.startswith("0"):
            return "it asks whether the label is positive, or knows a label by itself: compare "\
                   "world.label of both texts, of the world that is passed in"  # fmt: skip
        return "it compares the texts and not their labels, or the comparison is turned round"
    return "it says True whatever the labels, or compares in the wrong direction"


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
    order = np.random.default_rng(7).permutation(len(kinds))
    made = []
    for k, place in enumerate(order):
        success, before = kinds[place]
        # An attack may change words and still fail, so a changed text is no sign of success.
        changed = success or (not before and k % 3 == 0)
        text = "The soup was scrummy." if changed else "The soup was tasty."
        made.append(WordResult("The soup was tasty.", text, k % 2, (3,) if changed else (), success,
                               before, 1 if before else 5 + k % 4))  # fmt: skip
    return made


# right before and after, fooled, wrong from the start
COUNTS = ((6, 3, 2), (1, 6, 1), (4, 0, 4), (0, 3, 1), (6, 2, 0), (2, 7, 9))


def _ratio(above: float, below: float) -> float:
    return above / below if below else math.nan


def _measure(function, counts: tuple[int, int, int]):
    """Call the learner's function on results with these counts, and see that it leaves them."""
    results = _results(*counts)
    before = list(results)
    given = dict(zip(("right before and after", "fooled", "wrong from the start"), counts,
                     strict=True))  # fmt: skip
    try:
        got = function(results)
    except ZeroDivisionError as error:
        likely = "no text was right before: return float('nan') there"
        raise Wrong("your function divides by zero", given=given, likely=likely) from error
    expect(results == before, "your function changes the list that it is given",
           given=given, likely="it sorts, pops or removes in place; work on a copy")  # fmt: skip
    return got, given


def check_accuracy(accuracy_under_attack) -> None:
    for counts in COUNTS:
        got, given = _measure(accuracy_under_attack, counts)
        right, fooled, wrong = counts
        n = sum(counts)
        mistakes = {
            "it counts only the texts that were attacked, and forgets those that were wrong from "
            "the start: they stay below the line": _ratio(right, right + fooled),
            "wrong from the start counts as robust, as if `not success` were enough":
                (right + wrong) / n,
            "this is the accuracy without attack": (right + fooled) / n,
            "this is the share that was fooled, so the wrong way round": fooled / n,
            "this is the attack success rate, the other measure": _ratio(fooled, right + fooled),
            "this is the share of errors: take it from 1": (fooled + wrong) / n,
            "this is a count: divide it by the number of results": right,
            "this is in per cent: a share from 0 to 1 is asked": 100 * right / n,
            "it divides by the number that were fooled or wrong": _ratio(right, fooled + wrong),
        }  # fmt: skip
        _same(got, right / n, given, mistakes, "the accuracy under attack")


def check_success(attack_success_rate) -> None:
    for counts in (*COUNTS, (0, 0, 5)):
        got, given = _measure(attack_success_rate, counts)
        right, fooled, wrong = counts
        n = sum(counts)
        mistakes = {
            "it divides by all results: texts that were wrong from the start were never attacked, "
            "so they do not belong below the line": fooled / n,
            "this is 1 - accuracy under attack: it counts texts that were wrong from the start as "
            "successes of the attack": (fooled + wrong) / n,
            "this is the accuracy under attack, the other measure": right / n,
            "this is the share that stood the attack, so the wrong way round":
                _ratio(right, right + fooled),
            "this is a count: divide it by the number of texts that were right before": fooled,
            "this is in per cent: a share from 0 to 1 is asked": _ratio(100 * fooled,
                                                                        right + fooled),
            "it divides by the number that stood the attack": _ratio(fooled, right),
        }  # fmt: skip
        if right + fooled == 0:
            expect(isinstance(got, float | np.floating) and math.isnan(got),
                   "where no text was right before, there is no rate: return float('nan')",
                   given=given, yours=got, likely="it returns a number all the same")  # fmt: skip
        else:
            _same(got, fooled / (right + fooled), given, mistakes, "the attack success rate")


def _same(got, expected: float, given, mistakes, what: str) -> None:
    # A mistake that gives the right answer on this input says nothing about it.
    telling = {name: value for name, value in mistakes.items() if not math.isclose(value, expected)}
    compare(got, expected, given=given, what=what, atol=1e-6, rtol=1e-6, mistakes=telling)


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
