"""From clicks to a ranker: nothing of the future is known; what is saved is what was trained."""

import io

import numpy as np
import pandas as pd
import pytest

import advlib
from advlib.certify import canonical, count_variants, variants
from advlib.corpora import world
from advlib.systems.clicks import RISES, SOURCES, Known, Ranker, Reader, before, daily

USERS, ITEMS, DAYS = 8, 12, 10


def shop(seed=0, n=400):
    rng = np.random.default_rng(seed)
    items = pd.DataFrame({"id": [f"i{k}" for k in range(ITEMS)], "kind": [*"abc"] * (ITEMS // 3),
                          "price": rng.normal(size=ITEMS), "released": 0})  # fmt: skip
    clicks = pd.DataFrame({"user": rng.integers(USERS, size=n),
                           "item": items["id"].to_numpy()[rng.integers(ITEMS, size=n)],
                           "day": rng.integers(DAYS, size=n),
                           "clicked": rng.integers(2, size=n)})  # fmt: skip
    readings = pd.DataFrame({"item": [*items["id"]] * 2, "day": [0] * ITEMS + [6] * ITEMS,
                             "opinion": rng.random(2 * ITEMS)})  # fmt: skip
    return Known(items, clicks, readings)


@pytest.fixture(scope="module")
def known():
    return shop()


@pytest.fixture(scope="module")
def ranker(known):
    return Ranker.fit(known.features(known.clicks), known.clicks["clicked"], min_samples_leaf=5)


def test_sums_are_those_of_a_loop(known):
    log = known.clicks.assign(shown=1)[["user", "item", "day", "shown", "clicked"]]
    found = before(log, daily(log, ["user", "item"]), ["user", "item"])
    assert found.index.equals(log.index)
    for i, row in log.iloc[::7].iterrows():
        earlier = log[(log.user == row.user) & (log.item == row["item"]) & (log.day < row.day)]
        assert found.loc[i].tolist() == [len(earlier), earlier.clicked.sum()]


@pytest.mark.parametrize("day", [0, 3, 9])
def test_a_click_knows_nothing_of_its_day_and_of_later_ones(known, day):
    """Leak-free: whatever happens from a day on, the features of that day's clicks are the same."""
    told = known.features(known.clicks)
    rng, clicks = np.random.default_rng(1), known.clicks.copy()
    late = clicks["day"] >= day
    clicks.loc[late, "clicked"] = 1 - clicks.loc[late, "clicked"]
    later = pd.DataFrame({"user": rng.integers(USERS, size=50), "item": "i3", "day": day,
                          "clicked": 1})  # fmt: skip
    texts = known.readings.assign(opinion=lambda t: t["opinion"].where(t["day"] <= day, 0.123))
    other = Known(known.items, pd.concat([clicks, later]), texts).features(known.clicks)
    asked = known.clicks["day"] <= day
    assert other[asked].equals(told[asked])
    assert day == 9 or not other.equals(told)  # later ones do change: the test can fail


def test_a_leak_would_be_seen(known):
    """The same sums with the day itself in them know the click that they should foretell."""
    log = known.clicks.assign(shown=1)[["item", "user", "day", "shown", "clicked"]]
    honest = before(log, daily(log, ["item", "user"]), ["item", "user"])
    leaky = before(log.assign(day=log.day + 1), daily(log, ["item", "user"]), ["item", "user"])
    rate = [(t.clicked + 1) / (t.shown + 2) for t in (honest, leaky)]
    low, high = (abs(np.corrcoef(r, log.clicked)[0, 1]) for r in rate)
    assert low < 0.15 and high > 0.4


def test_features_are_of_the_row(known):
    asked = pd.DataFrame({"user": [0, 99, 0], "item": ["i1", "i1", "i0"], "day": [10, 0, 7]},
                         index=[5, 3, 9])  # fmt: skip
    rows = known.features(asked)
    assert rows.index.tolist() == [5, 3, 9] and not rows.isna().any().any()
    assert {*rows.columns} == set(sum(SOURCES.values(), ())) >= set(RISES)
    log = known.clicks
    of_0, of_1 = log[log.user == 0], log[log["item"] == "i1"]
    assert rows.loc[5, "popularity"] == (of_1.clicked.sum() + 1) / (len(of_1) + 2)
    mean_of_clicked = known.items.set_index("id").price[of_0["item"][of_0.clicked == 1]].mean()
    mean_of_shown = known.items.set_index("id").price[of_0["item"]].mean()
    assert rows.loc[5, "thrift"] == pytest.approx(mean_of_clicked - mean_of_shown)
    new = rows.loc[3, ["popularity", "popularity_n", "liking", "activity", "thrift", "age"]]
    assert new.tolist() == [0.5, 0, 0.5, 0.5, 0, 0]
    texts = known.readings.set_index(["item", "day"]).opinion
    assert rows["opinion"].tolist() == [texts["i1", 6], texts["i1", 0], texts["i0", 6]]
    with pytest.raises(KeyError, match="no item 'i99'"):
        known.features(asked.assign(item="i99"))


def test_the_trees_are_scikit_learns_and_survive_a_file(known, ranker):
    rows = known.features(known.clicks)
    file = io.BytesIO()
    np.savez(file, **ranker.arrays())
    file.seek(0)
    again = Ranker.of_arrays(np.load(file, allow_pickle=False))
    assert (again.logit(rows) == ranker.logit(rows)).all()  # fit compares them with the library's
    assert ((0 < again.score(rows)) & (again.score(rows) < 1)).all()
    assert np.corrcoef(again.score(rows), known.clicks["clicked"])[0, 1] > 0.3
    assert len(ranker.logit(rows.iloc[:0])) == 0


@pytest.mark.parametrize("break_it, said", [
    (lambda a: a.pop("left"), "'left' is missing"),
    (lambda a: a["left"].__setitem__(0, 10**6), "do not fit together"),
    (lambda a: a["feature"].__setitem__(0, 99), "do not fit together"),
    (lambda a: a.update(right=a["right"][:-1]), "do not fit together"),
])  # fmt: skip
def test_a_damaged_file_is_refused(ranker, break_it, said):
    arrays = {name: array.copy() for name, array in ranker.arrays().items()}
    break_it(arrays)
    with pytest.raises(ValueError, match=said):
        Ranker.of_arrays(arrays)


def test_a_better_opinion_never_lowers_a_score(known, ranker):
    rows = known.features(known.clicks)
    for name in RISES:
        scores = [ranker.score(rows.assign(**{name: x})) for x in np.linspace(0, 1, 9)]
        assert (np.diff(scores, axis=0) >= 0).all()


def test_why_is_the_score_less_the_score_without(known, ranker):
    rows = known.features(known.clicks).iloc[:30]
    why = ranker.why(rows)
    plain = rows.assign(opinion=rows["opinion"].mean())
    assert why["text"].to_numpy() == pytest.approx(ranker.score(rows) - ranker.score(plain))
    alike = pd.concat([rows.iloc[:1]] * 3)
    assert (ranker.why(alike).abs() < 1e-12).all().all()


def test_training_needs_both_answers(known):
    with pytest.raises(ValueError, match="clicked and rows that were not"):
        Ranker.fit(known.features(known.clicks), [1] * len(known.clicks))


# ---------------------------------------------------------------------- what a victim reads


class Counts:
    """Says 0.9 where a line has the word good, else 0.1, and counts what it is asked."""

    labels = ["negative", "positive"]
    asked, read = 0, None

    def predict(self, texts):
        self.asked += len(texts)
        return np.array([[0.1, 0.9] if "good" in text else [0.9, 0.1] for text in texts])


def test_a_text_has_the_mean_opinion_of_its_lines():
    victim = Counts()
    reader = Reader(victim)
    assert reader(["a good one\nbad\n\n", "", "bad"]) == pytest.approx([0.5, 0.5, 0.1])
    assert victim.asked == 2
    reader(["bad\na good one"])
    assert victim.asked == 2  # remembered
    with pytest.raises(ValueError, match="say which one is praise"):
        Reader(victim, "praise")


def test_no_rewording_moves_a_canonical_reader(known, ranker):
    """Proved for these texts by enumeration: every rewording that the world knows has one score,
    and so has the item, for every user. Without the canonical form it has many."""
    world_ = world("reviews")
    options = {r.text: world_.substitutes(r.text) for r in world_.sample(300, "test", seed=5)}
    few = sorted(t for t, found in options.items() if 100 < count_variants(found) <= 1500)
    victim = advlib.load_classifier("reviews-clean")
    safe, plain = Reader(canonical(victim)), Reader(victim)
    row = known.features(known.clicks).iloc[:USERS]
    assert len(few) >= 3
    for wordings in (list(variants(text, options[text])) for text in few[:3]):
        opinions = np.unique(safe(wordings))
        assert len(opinions) == 1 and len(np.unique(plain(wordings))) > 50
        every = [ranker.score(row.assign(opinion=x)) for x in opinions]
        assert len(np.unique(every, axis=0)) == 1
