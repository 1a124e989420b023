"""Groups, counterfactuals, conformal sets and abstention, each against brute force."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch
from conftest import make_classifier
from datasets import Dataset

from advlib.embeddings import perturbed_logits
from advlib.evaluation import Outcome
from advlib.fairness import (
    Counterfactual,
    by_group,
    conformal_sets,
    conformal_threshold,
    counterfactuals,
    exchanges,
    gap_by_chance,
    risk_coverage,
    worst_group,
)
from advlib.objectives import UNLABELLED, Clean
from advlib.statistics import wilson

# ---------------------------------------------------------------------- groups

RIGHT = [1, 1, 0, 1, 0, 0, 1, 1, 1, 1]
GROUPS = list("aabbbbcccc")


def test_every_group_has_its_accuracy_and_interval_the_worst_first():
    rows = by_group(np.array(RIGHT, bool), GROUPS)
    assert [r["group"] + f" {r['hits']} of {r['n']}" for r in rows] == [
        "b 1 of 4", "a 2 of 2", "c 4 of 4"]  # fmt: skip
    for row in rows:
        assert row["accuracy"] == row["hits"] / row["n"]
        assert (row["low"], row["high"]) == wilson(row["hits"], row["n"])


def test_of_an_outcome_what_withstood_the_attack_counts():
    y, clean, attacked = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([0, 0, 0, 1])
    outcome = Outcome(clean, attacked, y, 1, 0, 0.0)
    assert [(r["group"], r["hits"]) for r in by_group(outcome, ["x", "x", "y", "y"])] == [
        ("x", 1), ("y", 1)]  # fmt: skip
    worst = worst_group(outcome, ["x", "y", "y", "y"])
    assert worst["group"] == "y" and worst["gap"] == 1 - 1 / 3


def test_the_null_is_that_of_every_way_to_spread_the_right_texts():
    """All 2^10 outcomes with as many right, each as likely."""
    k, gaps = sum(RIGHT), []
    places = {g: [i for i, name in enumerate(GROUPS) if name == g] for g in "abc"}
    for spread in product((0, 1), repeat=10):
        if sum(spread) == k:
            shares = [np.mean([spread[i] for i in at]) for at in places.values()]
            gaps.append(max(shares) - min(shares))
    assert len(gaps) == math.comb(10, k)
    found = gap_by_chance(RIGHT, GROUPS, draws=20_000)
    assert found.shape == (20_000,)
    for value in sorted(set(gaps)):
        share = np.mean(np.array(gaps) >= value - 1e-9)
        error = math.sqrt(share * (1 - share) / 20_000)
        assert (found >= value - 1e-9).mean() == pytest.approx(share, abs=4 * error + 1e-9)


def test_groups_without_a_difference_are_called_different_as_often_as_said():
    random, said, times = np.random.default_rng(0), 0, 400
    groups = np.repeat(np.arange(15), 40)
    gaps = []
    for seed in range(times):
        found = worst_group(random.random(600) < 0.7, groups, draws=99, seed=seed)
        said += found["p"] <= 0.05
        gaps.append(found["gap"])
    assert said / times == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / times))
    assert np.median(gaps) > 0.2  # so large is a gap of nothing


def test_a_real_difference_is_found_and_a_seed_repeats_it():
    right = np.r_[np.ones(200), np.ones(100), np.zeros(100)]
    groups = ["easy"] * 200 + ["hard"] * 200
    found = worst_group(right, groups)
    assert found["group"] == "hard" and found["gap"] == 0.5 and found["p"] == 1 / 1001
    assert (gap_by_chance(right, groups) == gap_by_chance(right, groups)).all()
    assert (gap_by_chance(right, groups) != gap_by_chance(right, groups, seed=1)).any()
    assert worst_group(np.ones(4), list("aabb")) == {
        "group": "a", "n": 2, "hits": 2, "accuracy": 1.0, "low": wilson(2, 2)[0], "high": 1.0,
        "gap": 0.0, "p": 1.0}  # fmt: skip


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: by_group([1, 0], ["a"]), "1 groups for outcomes of shape .2,."),
        (lambda: by_group([[1, 0]], ["a"]), "group of each text"),
        (lambda: by_group([], []), "no texts"),
        (lambda: by_group([2, 0], ["a", "b"]), "True or False"),
        (lambda: by_group([0.5, float("nan")], ["a", "b"]), "True or False"),
        (lambda: gap_by_chance([1, 0], ["a", "b"], draws=0), "draws"),
    ],
)
def test_groups_that_make_no_sense_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ---------------------------------------------------------------------- counterfactuals


def test_the_counterfactuals_of_a_text_are_these():
    pairs = [{"he", "she", "they"}, {"Monday", "friday"}]
    assert counterfactuals("He came on Monday, and he left.", pairs) == [
        "She came on Monday, and she left.",
        "They came on Monday, and they left.",
        "He came on Friday, and he left.",
    ]
    assert counterfactuals("Nobody came.", pairs) == []
    assert counterfactuals("The shed.", pairs) == []  # a part of a word is no word
    pair = ("She came.", "He left on friday.")
    found = counterfactuals(pair, {"he": "she"})
    assert found == [("She came.", "She left on friday.")]


def test_pairs_are_a_mapping_in_one_direction_or_groups_in_all():
    assert exchanges({"He": ["she", "he", "She"]}) == {"he": ("she",)}
    assert exchanges({"he": "she"}) == {"he": ("she",)}
    assert exchanges([("a", "b"), ["b", "c"]]) == {"a": ("b",), "b": ("a", "c"), "c": ("b",)}
    assert exchanges(exchanges([{"he", "she"}])) == {"he": ("she",), "she": ("he",)}


@pytest.mark.parametrize(
    "pairs, words",
    [
        ("he", "mapping"), (3, "mapping"), ([], "no word"), ({}, "no word"), ([{"he"}], "no word"),
        (["he", "she"], "no word"), ({"he": ["he"]}, "no word"), ({"old man": ["boy"]}, "old man"),
        ({"he": ["old man"]}, "old man"), ({"he": [""]}, "''"), ({"he": [3]}, "3"),
        ({3: ["he"]}, "3"),
    ],
)  # fmt: skip
def test_pairs_that_exchange_nothing_are_refused(pairs, words):
    with pytest.raises(ValueError, match=words):
        exchanges(pairs)


TEXTS = ["the film was good", "the plot was a bad plot", "it was slow", "they felt warm but cold"]
LABELS = [1, 0, 0, 1]
DATA = Dataset.from_dict({"text": TEXTS, "label": LABELS})
PAIRS = [{"film", "plot", "ending"}, {"warm", "cold"}]


def make_victim(dropout=0.0, classes=2):
    victim = make_classifier("bert", classes, dropout)
    victim.model.double().train()
    return victim


def gradients(model, objective, batch, **settings):
    model.zero_grad()
    parts = objective(model, batch, **settings)
    return parts, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("dropout, same", [(0.0, True), (0.0, False), (0.3, True)])
def test_loss_and_gradient_are_those_of_the_formula(dropout, same, classes):
    """L + λ·|z(x) − z(x′)| with x′ as it was drawn, in float64; with dropout, of one mask."""
    victim = make_victim(dropout, classes)
    model, batch = victim.model, victim.encode(TEXTS, LABELS)
    objective = Counterfactual(PAIRS, victim, DATA, lam=0.7, same_dropout=same)
    own = torch.Generator().manual_seed(3)
    torch.manual_seed(5)
    parts, grads = gradients(model, objective, batch, generator=own)
    drawn = objective.draw(TEXTS, torch.Generator().manual_seed(3))
    assert [x is None for x in drawn] == [False, False, True, False]
    assert all(x in counterfactuals(t, PAIRS) for t, x in zip(TEXTS, drawn, strict=True) if x)
    moved = victim.encode([x or t for t, x in zip(TEXTS, drawn, strict=True)], LABELS)

    def term():
        z, w = [], []
        for found, b in ((z, batch), (w, moved)):
            torch.manual_seed(5)
            found.extend(perturbed_logits(model, b, None))
        return sum(abs(a - b) for two in zip(z, w, strict=True)
                   for a, b in zip(*two, strict=True)) / len(TEXTS)  # fmt: skip

    def value():
        torch.manual_seed(5)
        p = perturbed_logits(model, batch, None).softmax(1)
        return -sum(p[i, y].log() for i, y in enumerate(LABELS)) / len(TEXTS) + 0.7 * term()

    with torch.no_grad():
        assert float(parts.adv) == pytest.approx(float(term()), rel=1e-9)
        assert float(parts.loss) == pytest.approx(float(value()), rel=1e-9)
        assert float(parts.loss) == pytest.approx(float(parts.clean + 0.7 * parts.adv))
        random = torch.Generator().manual_seed(0)
        for _ in range(3):  # the slope along a direction through all weights
            ways = {n: torch.randn(p.shape, generator=random, dtype=p.dtype)
                    for n, p in model.named_parameters()}  # fmt: skip
            values = []
            for h in (1e-6, -2e-6):
                for n, p in model.named_parameters():
                    p.add_(ways[n], alpha=h)
                values.append(float(value()))
            for n, p in model.named_parameters():
                p.add_(ways[n], alpha=1e-6)
            slope = (values[0] - values[1]) / 2e-6
            found = sum(float((grads[n] * ways[n]).sum()) for n in ways)
            assert found == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_two_logits_that_are_one_give_the_distance_of_the_paper():
    victim = make_victim()
    with torch.no_grad():
        w, b = victim.model.classifier.weight, victim.model.classifier.bias
        w[0], b[0] = -w[1], -b[1]
    objective = Counterfactual({"film": "plot"}, victim, DATA)
    parts = objective(victim.model, victim.encode(TEXTS[:1], LABELS[:1]))
    g = victim.logits([TEXTS[0], TEXTS[0].replace("film", "plot")])
    g = g[:, 1] - g[:, 0]
    assert float(parts.adv) == pytest.approx(abs(g[0] - g[1]), rel=1e-4)


def blind(victim):
    """The model with one embedding for all words that may be exchanged: it cannot tell them."""
    ids = victim.tokenizer.convert_tokens_to_ids
    with torch.no_grad():
        table = victim.model.get_input_embeddings().weight
        for group in PAIRS:
            first, *others = sorted(group)
            for word in others:
                table[ids(word)] = table[ids(first)]
    return victim


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_term_is_zero_for_a_model_that_ignores_the_word(dropout):
    victim = blind(make_victim(dropout))
    batch = victim.encode(TEXTS, LABELS)
    objective = Counterfactual(PAIRS, victim, DATA, lam=3.0)
    for step in range(3):
        own = torch.Generator().manual_seed(step)
        torch.manual_seed(step)
        parts, grads = gradients(victim.model, objective, batch, step=step, generator=own)
        assert float(parts.adv) == pytest.approx(0, abs=1e-12)
        torch.manual_seed(step)
        _, plain = gradients(victim.model, Clean(), batch)
        table = "bert.embeddings.word_embeddings.weight"  # the words themselves stand on a kink
        for name in grads.keys() - {table}:
            torch.testing.assert_close(grads[name], plain[name], atol=1e-9, rtol=1e-6)
    other = make_victim(dropout)
    assert objective.lam and float(Counterfactual(PAIRS, other, DATA)(other.model, batch).adv) > 0.1


def test_training_on_it_takes_the_word_s_effect_away():
    victim = make_victim()
    batch = victim.encode(TEXTS, LABELS)

    def gap():
        found = [(t, x) for t in TEXTS for x in counterfactuals(t, PAIRS)]
        z, w = (victim.logits(list(some)) for some in zip(*found, strict=True))
        return float(np.abs(z - w).sum(1).mean())

    before, objective = gap(), Counterfactual(PAIRS, victim, DATA, lam=1.0)
    optimizer = torch.optim.Adam(victim.model.parameters(), lr=3e-3)
    for step in range(80):
        objective(victim.model, batch, generator=torch.Generator().manual_seed(step))
        optimizer.step(), optimizer.zero_grad()
    assert gap() < 0.3 * before
    assert (victim.logits(TEXTS).argmax(1) == LABELS).all()


def test_each_counterfactual_is_drawn_as_often_as_another():
    objective = Counterfactual(PAIRS, make_victim(), DATA)
    own, n = torch.Generator().manual_seed(0), 4000
    drawn = [objective.draw(["the plot was warm and the film cold"], own)[0] for _ in range(n)]
    wanted = counterfactuals("the plot was warm and the film cold", PAIRS)
    assert len(wanted) == 6 and set(drawn) == set(wanted)
    for text in wanted:
        assert drawn.count(text) / n == pytest.approx(1 / 6, abs=4 * math.sqrt(5 / 36 / n))
    assert objective.draw(TEXTS, None) == objective.draw(TEXTS, None)


def test_without_such_a_word_or_with_lambda_zero_a_step_is_plain_training():
    victim = make_victim()
    one = victim.encode(TEXTS[2:3], LABELS[2:3])
    parts = Counterfactual(PAIRS, victim, DATA)(victim.model, one)
    assert parts.adv is None and (parts.forward, parts.backward, parts.weights) == (1, 1, 1)
    batch = victim.encode(TEXTS, LABELS)
    parts = Counterfactual(PAIRS, victim, DATA, lam=0)(victim.model, batch)
    assert parts.adv is None and parts.units == 3
    wet = make_victim(dropout=0.1)
    for same, units in ((True, 6), (False, 3 * 1.75)):  # three of four texts have such a word
        parts = Counterfactual(PAIRS, wet, DATA, same_dropout=same)(wet.model, batch)
        assert parts.units == units


def test_texts_without_a_label_and_weights():
    victim = make_victim()
    objective = Counterfactual(PAIRS, victim, DATA, same_dropout=False)
    whole, batch = (victim.encode(TEXTS, LABELS) for _ in range(2))
    batch["labels"][1] = UNLABELLED
    a, b = (objective(victim.model, some) for some in (whole, batch))
    assert float(a.adv) == float(b.adv) and float(a.clean) != float(b.clean)
    kept = {name: value[[0, 2, 3]] for name, value in whole.items()}
    assert float(b.clean) == pytest.approx(float(Clean()(victim.model, kept).clean))
    whole["weight"] = torch.tensor([4.0, 0, 0, 0], dtype=torch.float64)
    c = objective(victim.model, whole)
    one = {name: value[:1] for name, value in whole.items() if name != "weight"}
    assert float(c.clean) == pytest.approx(float(Clean()(victim.model, one).clean))
    assert float(c.adv) == float(a.adv)


def test_settings_and_half_of_them():
    victim = make_victim()
    objective = Counterfactual(PAIRS, victim, DATA, lam=0.8)
    assert objective.settings(5) == {"lam": 0.8}
    assert objective.softer().lam == 0.4 and objective.softer().pairs == objective.pairs
    assert objective.state() == {} and replace(objective, lam=0.1).lam == 0.1
    assert "film" in repr(objective) and "victim" not in repr(objective)


def test_what_would_train_nothing_is_refused():
    victim = make_victim()
    with pytest.raises(ValueError, match="none of the 4 texts holds a word of pairs .king, queen."):
        Counterfactual([{"king", "queen"}], victim, DATA)
    for lam in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="lam"):
            Counterfactual(PAIRS, victim, DATA, lam=lam)
    with pytest.raises(ValueError, match="not in the data that Counterfactual was given.*never"):
        objective = Counterfactual(PAIRS, victim, DATA)
        objective(victim.model, victim.encode(["never the film"], [1]))


# ---------------------------------------------------------------------- abstention


@pytest.mark.parametrize("n", [1, 4, 9, 19, 20, 99, 200])
def test_the_threshold_is_that_of_exact_arithmetic(n):
    scores = list(np.random.default_rng(n).permutation(n) + 1.0)  # 1 to n: the value is the place
    for percent in range(1, 100):
        place = math.ceil((n + 1) * (1 - Fraction(percent, 100)))
        wanted = place if place <= n else math.inf
        assert conformal_threshold(scores, percent / 100) == wanted, percent


@pytest.mark.parametrize("n, alpha", [(9, 0.2), (40, 0.1), (31, 0.25)])
def test_sets_hold_the_truth_as_often_as_promised_over_1000_splits(n, alpha):
    """Over random splits of one pool the mean coverage is k/(n + 1), at least 1 − α and at most
    1/(n + 1) more; one place less would be below 1 − α."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(600, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = np.array([random.choice(3, p=row) for row in p])
    coverage = []
    for _ in range(1000):
        order = random.permutation(600)
        held, test = order[:n], order[n:]
        threshold = conformal_threshold(1 - p[held, y[held]], alpha)
        coverage.append(conformal_sets(p[test], threshold)[np.arange(600 - n), y[test]].mean())
    error = np.std(coverage) / math.sqrt(1000)
    k = math.ceil((n + 1) * (1 - Fraction(str(alpha))))
    assert np.mean(coverage) == pytest.approx(k / (n + 1), abs=4 * error)
    assert k / (n + 1) >= 1 - alpha - 1e-9 and (k - 1) / (n + 1) < 1 - alpha - 4 * error


def test_too_few_scores_promise_nothing_and_take_every_class():
    assert conformal_threshold([0.1, 0.2], 0.1) == math.inf
    p = np.array([[0.9, 0.1], [0.5, 0.5], [0.55, 0.45]])
    assert conformal_sets(p, math.inf).all()
    assert conformal_sets(p, 0.1).tolist() == [[True, False], [False, False], [False, False]]
    assert conformal_sets(p, 0.5).tolist() == [[True, False], [True, True], [True, False]]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: conformal_threshold([1.0], 0), "alpha"),
        (lambda: conformal_threshold([1.0], 1), "alpha"),
        (lambda: conformal_threshold([1.0], float("nan")), "alpha"),
        (lambda: conformal_threshold([], 0.1), "shape"),
        (lambda: conformal_threshold([[1.0]], 0.1), "shape"),
        (lambda: conformal_threshold([1.0, float("nan")], 0.1), "not a number"),
        (lambda: conformal_sets(np.array([0.1, 0.9]), 0.1), "shape"),
        (lambda: conformal_sets(np.array([[-3.0, 4.0]]), 0.1), "logits"),
        (lambda: conformal_sets(np.array([[float("nan"), 0.4]]), 0.1), "between 0 and 1"),
        (lambda: risk_coverage([0.1], [True, False]), "both"),
        (lambda: risk_coverage([], []), "both"),
        (lambda: risk_coverage([float("nan")], [True]), "number"),
        (lambda: risk_coverage([0.5], [3]), "True"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("kinds", [3, 1000])
def test_risk_and_coverage_are_those_of_every_threshold(kinds):
    random = np.random.default_rng(kinds)
    confidence = random.integers(0, kinds, 200) / kinds
    right = random.random(200) < confidence
    threshold, coverage, risk = risk_coverage(confidence, right)
    assert threshold.tolist() == sorted(set(confidence.tolist()), reverse=True)
    for t, c, r in zip(threshold, coverage, risk, strict=True):
        answered = [bool(ok) for sure, ok in zip(confidence, right, strict=True) if sure >= t]
        assert c == len(answered) / 200
        assert r == pytest.approx(answered.count(False) / len(answered))
    assert coverage[-1] == 1 and risk[-1] == pytest.approx(1 - right.mean())
    again = risk_coverage(confidence.tolist(), right.tolist())
    assert all((a == b).all() for a, b in zip(again, (threshold, coverage, risk), strict=True))
