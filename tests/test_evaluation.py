"""Evaluation: what counts as robust, intervals, costs, and no attack known by name."""

import numpy as np
import pytest
import torch
from conftest import make_classifier
from datasets import Dataset
from scipy.stats import binomtest

from advlib.attacks import FGM, PGD, Noise, WordSubstitution
from advlib.evaluation import attack_all, report, robustness, wilson


@pytest.fixture
def data():
    texts = [
        "the film was good",
        "the plot was bad and dull",
        "it was very fine",
        "acting felt slow",
        "they never seemed great",
        "the ending was warm but it felt cold",
    ]
    return Dataset.from_dict({"text": texts, "label": [0, 1, 1, 0, 1, 0]})


@pytest.fixture
def victim():
    return make_classifier("bert", classes=2)


@pytest.mark.parametrize("hits,n", [(0, 10), (10, 10), (1, 3), (550, 1000), (990, 1000)])
def test_the_interval_is_wilsons(hits, n):
    want = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits, n) == pytest.approx((want.low, want.high), abs=1e-9)


@pytest.mark.parametrize("hits,n", [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(ValueError, match="hits"):
        wilson(hits, n)


def test_an_example_that_is_wrong_from_the_start_counts_as_wrong(victim, data):
    right = victim.predict(data["text"]).argmax(1) == np.array(data["label"])
    for attack in (Noise(0.1), FGM(0.5), PGD(0.5, steps=5), PGD(0.5, steps=5, target=1)):
        outcome = attack_all(victim, data, attack)
        assert not (outcome.robust & ~right).any()
        assert outcome.robust.sum() <= right.sum()


def test_the_table_has_threat_model_size_interval_and_cost(victim, data):
    attacks = [Noise(0.1), PGD(0.5, steps=3, restarts=2), WordSubstitution()]
    table = robustness(victim, data, attacks)
    assert list(table["attack"]) == ["none", "Noise", "PGD", "WordSubstitution"]
    assert table["threat model"][2] == repr(attacks[1])
    assert (table["n"] == 6).all() and (table["low"] <= table["accuracy"]).all()
    assert table["forward"][2] == 2 * 3 + 2 and table["backward"][2] == 6
    assert table["forward"][3] >= 1  # queries
    clean = table["accuracy"][0]
    np.testing.assert_allclose(table["success"][1:], 1 - table["accuracy"][1:] / clean)


def test_any_object_of_the_right_shape_is_an_attack(victim, data):
    class Flip:
        """Replaces every text by the one that the model is surest is of the other class."""

        def __call__(self, victim, texts, labels):
            from advlib.attacks.words import WordResult

            return [
                WordResult(t, "zzz", y, (), True, False, 7)
                for t, y in zip(texts, labels, strict=True)
            ]

    row = robustness(victim, data, [Flip()]).iloc[1]
    always = int(victim.predict(["zzz"]).argmax())
    right = victim.predict(data["text"]).argmax(1)
    want = sum(a == y == always for a, y in zip(right, data["label"], strict=True)) / 6
    assert (row["attack"], row["forward"], row["accuracy"]) == ("Flip", 7, want)


def test_the_model_and_the_random_state_are_as_before(victim, data):
    victim.model.train()
    state = torch.get_rng_state()
    robustness(victim, data, [PGD(0.3, steps=2, random_start=True)])
    assert victim.model.training and torch.equal(state, torch.get_rng_state())


def test_batch_size_does_not_change_the_result(victim, data):
    one = attack_all(victim, data, PGD(0.4, steps=4, restarts=2), batch_size=1)
    all_ = attack_all(victim, data, PGD(0.4, steps=4, restarts=2), batch_size=6)
    np.testing.assert_array_equal(one.attacked, all_.attacked)


def test_report_is_scikit_learns(victim, data):
    text = report(victim, data)
    assert "precision" in text and "LABEL_0" in text and "accuracy" in text
    assert report(victim, data, PGD(0.8, steps=5)) != text
