"""Rankings: NDCG and exposure against brute force, and a seller who climbs by rewording."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from advlib.certify import canonical_text, count_variants, variants
from advlib.corpora import words, world
from advlib.systems.ranking import (
    exposure,
    extend,
    ndcg,
    promote,
    reword_at_random,
    seen,
)

ROW = st.lists(st.integers(0, 3), min_size=1, max_size=5)


def all_orders(scores):
    """Every order of the items in which no better one stands behind a worse one."""
    return [order for order in permutations(range(len(scores)))
            if all(scores[a] >= scores[b] for a, b in pairwise(order))]  # fmt: skip


@given(ROW, st.integers(1, 6), st.randoms())
@settings(max_examples=60, deadline=None)
def test_ties_are_the_mean_over_all_orders(scores, k, rng):
    relevance = [rng.choice([0, 1, 2, 5]) for _ in scores]
    orders, gain = all_orders(scores), 1 / np.log2(2 + np.arange(len(scores)))

    def dcg(order):
        return sum(relevance[i] * gain[place] for place, i in enumerate(order[:k]))

    got = ndcg([relevance], [scores], k)[0]
    best = max(map(dcg, permutations(range(len(scores)))))
    assert np.isnan(got) if best == 0 else got == pytest.approx(np.mean([*map(dcg, orders)]) / best)
    shown = np.mean([[i in o[:k] for i in range(len(scores))] for o in orders], axis=0)
    assert seen([scores], k)[0] == pytest.approx(shown)


def test_ndcg_is_scikit_learns():
    rng = np.random.default_rng(0)
    relevance, scores = rng.integers(1, 4, (30, 12)), rng.integers(0, 5, (30, 12))
    for k in (1, 3, 10):
        theirs = ndcg_score(relevance, scores, k=k)
        assert ndcg(relevance, scores, k).mean() == pytest.approx(theirs)


def test_the_best_order_has_1_and_length_does_not_matter():
    relevance = np.array([[0.9, 0.1, 0.5], [0, 0, 0.2]])
    assert ndcg(relevance, 7 * relevance - 2, 2) == pytest.approx(1)
    assert ndcg(relevance, relevance, 100) == pytest.approx(1)
    assert ndcg(relevance, -relevance, 1) == pytest.approx([0.1 / 0.9, 0])
    assert np.isnan(ndcg([[0, 0]], [[1, 2]])).all()


def test_an_item_that_must_not_be_shown_is_last():
    assert seen([[-np.inf, 0, 1]], 2).tolist() == [[0, 1, 1]]


def test_exposure_counts_users():
    scores = np.array([[3, 2, 1], [1, 2, 3], [3, 1, 2], [1, 1, 1]])
    assert exposure(scores, [0, 2], 1) == pytest.approx([(2 + 1 / 3) / 4, (1 + 1 / 3) / 4])
    assert seen(scores, 2).sum(1) == pytest.approx(2)
    assert exposure(scores, [], 1).shape == (0,)


@pytest.mark.parametrize("call, said", [
    (lambda: ndcg([[1, 2]], [[1]]), "differ in shape"),
    (lambda: ndcg([[-1]], [[1]]), "at least 0"),
    (lambda: ndcg([[1]], [[1]], 0), "k must be at least 1"),
    (lambda: seen([[float("nan")]]), "a score is nan"),
    (lambda: seen([1, 2]), "scores are"),
    (lambda: exposure([[1, 2]], [2]), "columns 0 to 1"),
    (lambda: exposure([[1, 2]], [-1]), "columns 0 to 1"),
    (lambda: promote(len, "two words", [()]), "1 sets of options for 2 words"),
    (lambda: promote(len, "one", [()], most=-1), "most must be at least 0"),
    (lambda: reword_at_random("one", [], 1), "0 sets of options for 1 words"),
    (lambda: extend(len, "one", [], -1), "most must be at least 0"),
])  # fmt: skip
def test_says_what_is_wrong(call, said):
    with pytest.raises(ValueError, match=said):
        call()


# ---------------------------------------------------------------------- a seller at work

LETTERS = {"good": 1.0, "fine": 2.0, "great": 5.0, "soup": 0.0, "broth": 3.0}
OPTIONS = [("fine", "great"), (), ("broth",)]


def worth(texts):
    """The sum of what the words are worth."""
    return [sum(LETTERS.get(w, 0) for w in words(t)) for t in texts]


def test_promote_finds_the_best_wording():
    found = promote(worth, "good hot soup", OPTIONS)
    assert found.text == "great hot broth" and found.changed == (0, 2)
    assert (found.before, found.after) == (1, 8) and found.asked <= 1 + 2 * 3
    assert promote(worth, "good hot soup", OPTIONS, most=1).text == "great hot soup"
    assert promote(worth, "good hot soup", OPTIONS, most=0).text == "good hot soup"


def test_promote_takes_what_helps_together():
    """Alone each word earns; together the second would lose, so it stays."""
    def jealous(texts):
        return [w - 10 * ("great" in t and "broth" in t) for w, t in zip(worth(texts), texts,
                                                                         strict=True)]
    found = promote(jealous, "good hot soup", OPTIONS)
    assert found.text == "great hot soup" and found.after == 5


def test_promote_never_loses():
    found = promote(lambda texts: [-w for w in worth(texts)], "good hot soup", OPTIONS)
    assert found.text == found.original and found.after == found.before and not found.changed


def test_promote_is_within_known_substitutes():
    known = world("reviews")
    text = known.sample(1, "test", seed=3)[0].text
    found = promote(lambda texts: [sum(map(len, words(t))) for t in texts], text,
                    known.substitutes(text), most=3)  # fmt: skip
    assert 0 < len(found.changed) <= 3 and found.after > found.before
    assert known.label(found.text) == known.label(text)
    assert canonical_text(found.text) == canonical_text(text)


def test_the_control_changes_as_many_words():
    drawn = {reword_at_random("good hot soup", OPTIONS, 1, seed) for seed in range(30)}
    assert drawn == {"fine hot soup", "great hot soup", "good hot broth"}
    assert reword_at_random("good hot soup", OPTIONS, 9, 0) in {"fine hot broth", "great hot broth"}


def test_extend_adds_what_earns_most_and_stops():
    found = extend(worth, "good", ["soup", "great", "fine", "broth"], most=2, between=" ")
    assert found.text == "good great broth" and found.after == 9
    assert extend(worth, "good", ["soup"], most=2).text == "good"
    assert extend(worth, "good", ["great"], most=9).text == "good\ngreat"


# ---------------------------------------------------------------------- a proof by enumeration


def test_every_rewording_of_a_short_text_has_one_canonical_form():
    """All of them, not a sample: so whatever reads canonical forms gives them all one score."""
    known = world("reviews")
    short = sorted((r.text for r in known.sample(300, "test", seed=5)), key=len)
    counted = [(count_variants(known.substitutes(t)), t) for t in short]
    few = [t for n, t in counted if 100 < n <= 3000][:5]
    assert len(few) == 5
    for text in few:
        made = list(variants(text, known.substitutes(text)))
        assert len({*made}) == count_variants(known.substitutes(text))
        assert {canonical_text(new) for new in made} == {canonical_text(text)}
    assert canonical_text("It is bad.") != canonical_text("It is good.")
