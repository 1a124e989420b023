"""Lesson 00: RIGHT answers, and WRONG ones with what the feedback must say."""

import math

import numpy as np
import torch

from advlib.corpora import replace, words, world

REVIEWS = world("reviews")


def substitutes(text):
    return [(i, new) for i, some in enumerate(REVIEWS.substitutes(text)) for new in some]


# ------------------------------------------------------------------------ right answers


def one_by_one(victim, text, label):
    for i, new in substitutes(text):
        changed = replace(text, {i: new})
        if victim.predict([changed])[0].argmax() != label:
            return changed
    return None


def the_last_one(victim, text, label):
    found = None
    for i, new in substitutes(text):
        changed = replace(text, {i: new})
        if victim.predict([changed])[0].argmax() != label:
            found = changed
    return found


def the_most_damaging(victim, text, label):
    tries = [replace(text, {i: new}) for i, new in substitutes(text)]
    if not tries:
        return None
    logits = victim.logits(tries)
    margin = np.delete(logits, label, axis=1).max(axis=1) - logits[:, label]
    return tries[margin.argmax()] if margin.max() > 0 else None


def with_recursion(victim, text, label, tries=None):
    tries = tries or substitutes(text)
    if not tries:
        return None
    half = len(tries) // 2
    if half:
        first = with_recursion(victim, text, label, tries[:half])
        return first or with_recursion(victim, text, label, tries[half:])
    changed = replace(text, dict(tries))
    return None if label in victim.predict((changed,)).argmax(1) else changed


def label_by_two_tries(world, original, changed):
    found = []
    for text in (original, changed):
        try:
            found.append(world.label(text))
        except ValueError:
            return False
    return len(set(found)) == 1


def label_by_set(world, *texts):
    known = set()
    try:
        for text in texts:
            known.add(world.label(text))
    except Exception:
        known = ()
    return np.bool_(len(known) == 1)


def label_one_line(world, a, b):
    try:
        return bool(world.label(a) - world.label(b) == 0)
    except ValueError:
        return False


def rate_by_counting(results):
    fooled = below = 0
    for r in results:
        if not r.wrong_before:
            below += 1
            fooled += r.success
    return fooled / below if below else math.nan


def rate_by_numpy(results):
    attacked = [r.success for r in results if not r.wrong_before]
    return np.mean(attacked, dtype=np.float32) if attacked else np.float32("nan")


def rate_by_identity(results):
    clean = sum(not r.wrong_before for r in results) / len(results)
    return 1 - sum(r.robust for r in results) / len(results) / clean if clean else float("nan")


RIGHT = [
    ("00.1", one_by_one), ("00.1", the_last_one), ("00.1", the_most_damaging),
    ("00.1", with_recursion),
    ("00.2", label_by_two_tries), ("00.2", label_one_line), ("00.2", label_by_set),
    ("00.3", lambda rs: sum(r.robust for r in rs) / len(rs)),
    ("00.3", lambda rs: 1 - sum(r.success + r.wrong_before for r in rs) / len(rs)),
    ("00.3", lambda rs: torch.tensor([r.robust for r in rs]).float().mean()),
    ("00.3", lambda rs: np.float32(np.mean([r.robust for r in rs]))),
    ("00.4", rate_by_counting), ("00.4", rate_by_identity), ("00.4", rate_by_numpy),
]  # fmt: skip


# ------------------------------------------------------------------------ wrong answers


def original_back(victim, text, label):
    changed = one_by_one(victim, text, label)
    return None if changed is None else text


def original_for_nothing(victim, text, label):
    return one_by_one(victim, text, label) or text


def changes_add_up(victim, text, label):
    changed = text
    for i, new in substitutes(text):
        changed = replace(changed, {i: new})
        if victim.predict([changed])[0].argmax() != label:
            return changed
    return None


def ignores_label(victim, text, label):
    return one_by_one(victim, text, 1)


def returns_the_worst(victim, text, label):
    tries = [replace(text, {i: new}) for i, new in substitutes(text)]
    return tries[victim.predict(tries)[:, label].argmin()] if tries else None


def gives_up_at_once(victim, text, label):
    for i, new in substitutes(text):
        changed = replace(text, {i: new})
        return changed if victim.predict([changed])[0].argmax() != label else None


def first_substitute_only(victim, text, label):
    for i, some in enumerate(REVIEWS.substitutes(text)):
        changed = replace(text, {i: some[0]}) if some else text
        if victim.predict([changed])[0].argmax() != label:
            return changed


def returns_the_word(victim, text, label):
    for i, new in substitutes(text):
        if victim.predict([replace(text, {i: new})])[0].argmax() != label:
            return i, new


def below_one_half(victim, text, label):
    for i, new in substitutes(text):
        if victim.predict([replace(text, {i: new})])[0][label] < 0.5:
            return replace(text, {i: new})


def other_of_two(victim, text, label):
    for i, new in substitutes(text):
        chances = victim.predict([replace(text, {i: new})])[0]
        if chances[1 - label] > chances[label]:
            return replace(text, {i: new})


def falls_far(victim, text, label):
    before = victim.predict([text])[0][label]
    for i, new in substitutes(text):
        if before - victim.predict([replace(text, {i: new})])[0][label] > 0.3:
            return replace(text, {i: new})


def four_of_each(victim, text, label):
    """As many as the page prints."""
    for i, some in enumerate(REVIEWS.substitutes(text)):
        for new in some[:4]:
            if victim.predict([replace(text, {i: new})])[0].argmax() != label:
                return replace(text, {i: new})


def word_by_word(victim, text, label):
    """Each word is looked up alone, so that a/an before it is not seen."""
    for i, word in enumerate(words(text)):
        for new in REVIEWS.substitutes(word)[0]:
            if victim.predict([replace(text, {i: new})])[0].argmax() != label:
                return replace(text, {i: new})


def returns_the_last(victim, text, label):
    changed = None
    for i, new in substitutes(text):
        changed = replace(text, {i: new})
        if victim.predict([changed])[0].argmax() != label:
            break
    return changed


def replaced_everywhere(victim, text, label):
    return str_replace(victim, text, label) or (
        text.replace("very", "really") if "very" in text else None
    )


def str_replace(victim, text, label):
    for i, new in substitutes(text):
        changed = text.replace(words(text)[i], new)
        if victim.predict([changed])[0].argmax() != label:
            return changed


def first_place_only(victim, text, label):
    for i, new in substitutes(text):
        changed = replace(text, {words(text).index(words(text)[i]): new})
        if victim.predict([changed])[0].argmax() != label:
            return changed


def each_word_once(victim, text, label):
    seen = set()
    for i, some in enumerate(REVIEWS.substitutes(text)):
        word = words(text)[i]
        for new in some if word not in seen else ():
            changed = replace(text, {i: new})
            if victim.predict([changed])[0].argmax() != label:
                return changed
        seen.add(word)


def joined_words(victim, text, label):
    for i, new in substitutes(text):
        tokens = words(text)
        tokens[i] = new
        if victim.predict([" ".join(tokens)])[0].argmax() != label:
            return " ".join(tokens)


def two_words(victim, text, label):
    changed = one_by_one(victim, text, label)
    return changed and replace(changed, {0: "One"})


def hard_coded(victim, text, label):
    return "The waiter was friendly, and the soup was delectable."


def one_text_not_a_list(victim, text, label):
    for i, new in substitutes(text):
        if victim.predict(replace(text, {i: new})).argmax() != label:
            return replace(text, {i: new})


def keeps_any_error(world, a, b):
    return world.label(a) == world.label(b)


def unknown_is_kept(world, a, b):
    try:
        return world.label(a) == world.label(b)
    except ValueError:
        return True


def positive_stays(world, a, b):
    try:
        return world.label(a) == 1 and world.label(b) == 1
    except ValueError:
        return False


def second_only(world, a, b):
    try:
        before = world.label(a)
    except ValueError:
        return False
    return before == world.label(b)


def not_the_same_text(world, a, b):
    return a != b and label_one_line(world, a, b)


def of_two_labels(world, a, b):
    try:
        return world.label(a) + world.label(b) in (0, 2)
    except ValueError:
        return False


def other_world(_, a, b):
    return label_by_two_tries(REVIEWS, a, b)


def gives_the_label(world, a, b):
    try:
        return world.label(b)
    except ValueError:
        return False


def turned_round(world, a, b):
    try:
        return world.label(a) != world.label(b)
    except ValueError:
        return False


def forgets_return(world, a, b):
    label_by_two_tries(world, a, b)


def takes_away(results):
    for r in [r for r in results if r.wrong_before]:
        results.remove(r)
    return sum(not r.success for r in results) / len(results)


def takes_away_rate(results):
    for r in [r for r in results if r.wrong_before]:
        results.remove(r)
    return sum(r.success for r in results) / len(results) if results else math.nan


def nan_for_nothing(results):
    return standing(results) / n(results) if tried(results) else math.nan


def by_queries(results):
    return sum(not r.success for r in results if r.queries > 1) / n(results)


def n(results):
    return len(results)


def standing(results):
    return sum(r.robust for r in results)


def fooled(results):
    return sum(r.success for r in results)


def tried(results):
    return sum(not r.wrong_before for r in results)


def guarded(rate):
    """The rate, and nan where nothing was right before."""
    return lambda rs: rate(rs) if tried(rs) else math.nan


WRONG = [
    ("00.1", original_back, "original text"),
    ("00.1", original_for_nothing, "original text where nothing was found"),
    ("00.1", lambda v, t, y: t, "original text"),
    ("00.1", changes_add_up, r"words are changed, and only one(.|\n)*start from `text`"),
    ("00.1", two_words, r"words are changed, and only one may be\n  text"),
    ("00.1", replaced_everywhere, r"words are changed(.|\n)*str.replace"),
    ("00.1", ignores_label, "compared with 1, and not with `label`"),
    ("00.1", below_one_half, "two classes only"),
    ("00.1", other_of_two, "two classes only"),
    ("00.1", falls_far, r"None came back, but one changed word does fool the model\n  text"),
    ("00.1", four_of_each, r"None came back, but one changed word does fool the model\n  text"),
    ("00.1", word_by_word, "none of substitutes"),
    ("00.1", returns_the_last, "last try"),
    ("00.1", returns_the_worst, "hurts most"),
    ("00.1", gives_up_at_once, "too early"),
    ("00.1", first_substitute_only, "all substitutes"),
    ("00.1", returns_the_word, "not a tuple"),
    ("00.1", str_replace, "in every place"),
    ("00.1", first_place_only, "tried in both places"),
    ("00.1", each_word_once, "tried in both places"),
    ("00.1", joined_words, "punctuation"),
    ("00.1", lambda v, t, y: (one_by_one(v, t, y) or "").lower() or None, "2 words are changed"),
    ("00.1", hard_coded, "words are changed"),
    ("00.1", lambda v, t, y: None, "None came back"),
    ("00.1", one_text_not_a_list, "pass a list of texts"),
    ("00.2", keeps_any_error, "inside try"),
    ("00.2", second_only, "inside try"),
    ("00.2", unknown_is_kept, "nobody can vouch"),
    ("00.2", positive_stays, "positive"),
    ("00.2", other_world, "a world of its own"),
    ("00.2", not_the_same_text, r"the label is kept here\n  original = 'a pear'"),
    ("00.2", of_two_labels, r"the label is kept here\n  original = 'a brick'"),
    ("00.2", gives_the_label, "True or False"),
    ("00.2", turned_round, "turned round"),
    ("00.2", forgets_return, "return"),
    ("00.2", lambda w, a, b: True, "says True whatever"),
    ("00.2", lambda w, a, b: a == b, "compares the texts"),
    ("00.3", lambda rs: standing(rs) / tried(rs), "forgets those that were wrong"),
    ("00.3", lambda rs: sum(not r.success for r in rs) / n(rs), "counts as robust"),
    ("00.3", lambda rs: tried(rs) / n(rs), "without attack"),
    ("00.3", lambda rs: fooled(rs) / n(rs), "wrong way round"),
    ("00.3", lambda rs: fooled(rs) / tried(rs), "the other measure"),
    ("00.3", lambda rs: 1 - standing(rs) / n(rs), "take it from 1"),
    ("00.3", standing, "count"),
    ("00.3", lambda rs: 100 * standing(rs) / n(rs), "per cent"),
    ("00.3", nan_for_nothing, "not finite"),
    ("00.3", by_queries, "not as expected"),
    ("00.3", lambda rs: fooled(rs) / (n(rs) - standing(rs)), "not as expected"),
    ("00.3", lambda rs: round(standing(rs) / n(rs), 2), "not as expected"),
    ("00.3", takes_away, "changes the list"),
    ("00.3", lambda rs: 0.61, "not as expected"),
    ("00.3", lambda rs: sum(not r.changed for r in rs) / n(rs), "not as expected"),
    ("00.3", lambda rs: None, "return"),
    ("00.4", guarded(lambda rs: fooled(rs) / n(rs)), "divides by all results"),
    ("00.4", guarded(lambda rs: 1 - standing(rs) / n(rs)), "1 - accuracy under attack"),
    ("00.4", guarded(lambda rs: standing(rs) / n(rs)), "the other measure"),
    ("00.4", guarded(lambda rs: standing(rs) / tried(rs)), "wrong way round"),
    ("00.4", guarded(fooled), "count"),
    ("00.4", guarded(lambda rs: 100 * fooled(rs) / tried(rs)), "per cent"),
    ("00.4", lambda rs: fooled(rs) / tried(rs), "divides by zero"),
    ("00.4", lambda rs: fooled(rs) / tried(rs) if tried(rs) else 0.0, r"float\('nan'\)"),
    ("00.4", lambda rs: fooled(rs) / tried(rs) if fooled(rs) else math.nan, "not finite"),
    ("00.4", lambda rs: fooled(rs) / tried(rs) if tried(rs) else None, r"float\('nan'\)"),
    ("00.4", guarded(lambda rs: sum(bool(r.changed) for r in rs) / tried(rs)), "not as expected"),
    ("00.4", takes_away_rate, "changes the list"),
    ("00.4", lambda rs: 0.37, "not as expected"),
]  # fmt: skip
