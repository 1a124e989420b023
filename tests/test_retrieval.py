"""advlib.systems.retrieval: each part against a specification of its own."""

import math
import sqlite3

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from advlib.systems.retrieval import (
    fuse,
    match_query,
    mean_pool,
    similarity,
    threshold_for,
    trigrams,
    vote,
)

SYNTAX = [
    '"', '""', '" OR "', "'", "*", "card*", "^card", "-card", "NEAR(card lost, 2)", "NOT", "AND OR",
    "question : card", "{a b}: c", "card + lost", "(", ")", "\0", "\ud800", "", "ab", "%_",
    "; DROP", "a" * 5000, "💳💳💳💳", "卡丢了怎么办", "İstanbul ẞ", "a\u0301bc",
]  # fmt: skip


@pytest.fixture(scope="module")
def stores():
    found = {}
    for name, tokenize in (("trigram", "trigram"), ("words", "unicode61")):
        db = sqlite3.connect(":memory:")
        db.execute(f"CREATE VIRTUAL TABLE past USING fts5(question, tokenize='{tokenize}')")
        db.executemany("INSERT INTO past VALUES (?)", [("i lost my card",), ("a fee for cash",)])
        found[name] = db
    return found


def rows(db, query):
    sql = "SELECT question FROM past WHERE past MATCH ? ORDER BY rank"
    return [row[0] for row in db.execute(sql, (query,))]


@given(st.text(max_size=200) | st.lists(st.sampled_from(SYNTAX), max_size=6).map(" ".join))
@example("a b" * 3000)
def test_no_text_breaks_a_query(stores, text):
    for name, db in stores.items():
        rows(db, match_query(text, name))


@pytest.mark.parametrize("text", SYNTAX)
@pytest.mark.parametrize("around", ["{}", "my card {}", '{}" card'])
def test_syntax_is_text(stores, text, around):
    for name, db in stores.items():
        found = rows(db, match_query(around.format(text), name))
        assert ("i lost my card" in found) or "card" not in around + text


def test_a_query_finds_the_nearest_also_with_a_typo(stores):
    assert rows(stores["trigram"], match_query("I lsot my crad!"))[0] == "i lost my card"
    assert rows(stores["trigram"], match_query("x")) == []
    with pytest.raises(ValueError, match="tokenize"):
        match_query("card", "letters")


def test_similarity():
    assert similarity("My card, please!", "my CARD please") == 1
    assert similarity("abcd", "abce") == 2 * 1 / 4
    assert similarity("abc", "xyz") == similarity("", "") == similarity("ab", "ab") == 0
    assert trigrams("aaaa b") == ["aaa", "aa ", "a b"]


def test_mean_pool_ignores_padding():
    random = np.random.default_rng(0)
    hidden = random.normal(size=(2, 5, 3))
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    hidden[1, 2:] = np.nan
    pooled = mean_pool(hidden, mask)
    assert np.allclose(pooled[0], hidden[0].mean(0))
    assert np.allclose(pooled[1], mean_pool(hidden[1:, :2], mask[1:, :2])[0])
    for wrong in (mask[:, :4], np.zeros_like(mask)):
        with pytest.raises(ValueError):
            mean_pool(hidden, wrong)


@given(st.lists(st.permutations(range(6)).map(lambda p: p[:4]), max_size=5), st.integers(0, 90))
def test_fuse_is_the_sum_of_reciprocal_places(rankings, k):
    scores = {
        item: sum(1 / (k + r.index(item) + 1) for r in rankings if item in r) for item in range(6)
    }
    found = fuse(rankings, k)
    assert dict(found) == pytest.approx({i: s for i, s in scores.items() if s})
    assert [s for _, s in found] == sorted(dict(found).values(), reverse=True)


def test_fuse_refuses():
    assert fuse([["b", "a"], ["a", "b"]])[0][0] == "b"  # equal: seen first
    with pytest.raises(ValueError, match="twice"):
        fuse([[1, 1]])
    with pytest.raises(ValueError, match="k"):
        fuse([], -1)


def test_a_source_has_one_vote():
    good = [("right", "ann", 0.5), ("right", "ben", 0.5)]
    bad = [("wrong", "eve", 0.9)] * 100
    assert vote(good + bad) == [("right", 1.0), ("wrong", 0.9)]
    assert vote(bad + [("right", "ann", 0.5)])[0][0] == "wrong"  # one against one: the nearer
    assert vote([]) == []
    with pytest.raises(ValueError, match="above 0"):
        vote([("a", "b", 0.0)])


@given(
    st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7, 0.9]), st.booleans()), min_size=1),
    st.floats(0, 1),
)
def test_threshold_against_a_recount(told, most):
    sure, right = (np.array(x) for x in zip(*told, strict=True))
    found = threshold_for(sure, right, most)

    def wrong(threshold):
        return (~right[sure >= threshold]).mean()

    good = [t for t in sure if wrong(t) <= most]
    assert found == (min(good) if good else math.inf)


def test_threshold_refuses():
    with pytest.raises(ValueError, match="share"):
        threshold_for([0.5], [True], 1.5)
    with pytest.raises(ValueError, match="of each text"):
        threshold_for([0.5], [True, False], 0.5)
