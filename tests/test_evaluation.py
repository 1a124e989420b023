"""Evaluation: what counts as robust, intervals, costs, and no attack known by name."""

import copy

import numpy as np
import pytest
import torch
from conftest import TEXTS, make_classifier
from datasets import Dataset
from scipy.stats import binomtest

from advlib.attacks import (
    FGM,
    FGSM,
    PGD,
    EmbeddingNeighbours,
    HotFlip,
    Noise,
    Typos,
    WordSubstitution,
)
from advlib.attacks.words import Constraint
from advlib.embeddings import attackable, perturbed_logits, zero_delta
from advlib.evaluation import (
    MAJORITY,
    Outcome,
    answers,
    attack_all,
    calibrate,
    collapse,
    compare,
    macro_f1,
    robustness,
    wilson,
)
from advlib.models import Classifier


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
    names = ["none", MAJORITY, "Noise", "PGD", "WordSubstitution", "worst case"]
    assert list(table["attack"]) == names
    assert table["threat model"][3] == repr(attacks[1])
    assert (table["n"] == 6).all() and (table["low"] <= table["accuracy"]).all()
    assert table["forward"][3] == 2 * 3 + 2 and table["backward"][3] == 6
    assert table["forward"][4] >= 1  # queries
    clean = table["accuracy"][0]
    np.testing.assert_allclose(table["success"][2:], 1 - table["accuracy"][2:] / clean)


def test_any_object_of_the_right_shape_is_an_attack(victim, data):
    class Flip:
        """Replaces every text by the one that the model is surest is of the other class."""

        def __call__(self, victim, texts, labels):
            from advlib.attacks.words import WordResult

            return [
                WordResult(t, "zzz", y, (), True, False, 7)
                for t, y in zip(texts, labels, strict=True)
            ]

    row = robustness(victim, data, [Flip()]).iloc[-1]
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


# ---------------------------------------------------------------------- words, worst case


@pytest.fixture(scope="module")
def reviews():
    import advlib

    splits = advlib.load_text("reviews", train_size=1, test_size=20)
    return splits["test"], splits["validation"].select(range(150))


@pytest.fixture(scope="module")
def clean_model():
    import advlib

    return advlib.load_classifier("reviews-clean", device="cpu")


class Table:
    """An attack that replaces chosen texts by chosen ones."""

    def __init__(self, swaps, changed=(0,), queries=3):
        self.swaps, self.changed, self.queries = swaps, changed, queries

    def __call__(self, victim, texts, labels):
        from advlib.attacks.words import WordResult

        return [
            WordResult(t, self.swaps.get(t, t), y, self.changed, t in self.swaps, False,
                       self.queries + i)
            for i, (t, y) in enumerate(zip(texts, labels, strict=True))
        ]  # fmt: skip


def test_word_attacks_report_changes_and_queries_and_others_do_not(clean_model, reviews):
    attack = WordSubstitution()
    table = robustness(clean_model, reviews[0], [FGM(0.3), attack])
    results = attack(clean_model, reviews[0]["text"], reviews[0]["label"])
    won = [len(r.changed) for r in results if r.success]
    assert won and table["changed"][3] == pytest.approx(np.mean(won))
    assert table["queries"][3] == pytest.approx(np.mean([r.queries for r in results]))
    assert table.loc[[0, 1, 2, 4], ["changed", "queries"]].isna().all(axis=None)


def test_texts_that_an_attack_has_nothing_to_try_on_are_counted_and_said(clean_model):
    known, unknown = "The soup was tasty and the bread was good.", "Zyx qwv was here at noon."
    labels = clean_model.predict([known, unknown]).argmax(1).tolist()
    data = Dataset.from_dict({"text": [known, unknown], "label": labels})
    attack = WordSubstitution()
    assert not attack.options(unknown)[0] and any(attack.options(known))
    with pytest.warns(UserWarning, match="nothing to try on 50% of the texts"):
        table = robustness(clean_model, data, [FGM(0.3), attack])
    assert table["untried"][3] == 0.5 and table["untried"][[0, 1, 2, 4]].isna().all()
    with (pytest.warns(UserWarning, match="100%"),
          pytest.raises(ValueError, match="nothing to try on any of these texts")):  # fmt: skip
        robustness(clean_model, data.select([1]), [attack])


def test_a_candidate_that_every_constraint_refuses_was_not_tried(clean_model, reviews):
    class Nobody(Constraint):
        def allows(self, victim, pairs):
            return [False] * len(pairs)

    few = reviews[0]["text"][:4], reviews[0]["label"][:4]
    refused = WordSubstitution(constraints=(Nobody(),))(clean_model, *few)
    assert {result.tried for result in refused} == {0}
    assert any(result.tried for result in WordSubstitution()(clean_model, *few))


GOOD = [f"The {thing} was tasty." for thing in ("soup", "bread", "cake", "coffee", "pasta", "rice")]
BAD = "The soup was bland."


def test_changes_are_counted_where_the_attack_won(clean_model):
    data = Dataset.from_dict({"text": GOOD, "label": [1] * 6})
    row = robustness(clean_model, data, [Table({GOOD[0]: BAD}, changed=(1, 2, 5))]).iloc[-1]
    assert (row["changed"], row["queries"], row["accuracy"]) == (3, 5.5, 5 / 6)
    assert np.isnan(robustness(clean_model, data, [Table({}, (1,))])["changed"].iloc[-1])


def test_the_worst_case_counts_examples_that_withstand_every_attack(clean_model):
    data = Dataset.from_dict({"text": GOOD, "label": [1] * 5 + [0]})  # the last: wrong at once
    one, two = (Table({GOOD[i]: BAD for i in hit}) for hit in ([0, 1, 5], [1, 2]))
    table = robustness(clean_model, data, [one, two])
    assert list(table["accuracy"] * 6) == pytest.approx([5, 5, 3, 3, 2])
    last = table.iloc[-1]
    assert (last["attack"], last["n"]) == ("worst case", 6)
    assert (last["low"], last["high"]) == wilson(2, 6)
    assert last["success"] == pytest.approx(3 / 5)
    assert last["seconds"] == pytest.approx(table["seconds"][:4].sum())
    assert len(robustness(clean_model, data, [one])) == 3


def test_no_attack_makes_a_model_better_and_the_worst_case_is_the_worst(clean_model, reviews):
    attacks = [
        Noise(0.3),
        FGM(0.3),
        PGD(0.3, steps=3),
        WordSubstitution(),
        Typos(max_changed=0.2, per_kind=1),
    ]
    accuracy = robustness(clean_model, reviews[0], iter(attacks))["accuracy"].drop(1)
    assert len(accuracy) == 7
    assert (accuracy[1:] <= accuracy[0]).all() and accuracy[7] <= accuracy[1:6].min()


def test_a_tie_counts_for_the_attacker():
    labels = np.array([0, 1, 1, 0])
    logits = np.array([[2, 2, 1], [2, 2, 1], [1, 3, 2], [np.nan, 0, 0]], dtype=np.float32)
    assert list(answers(logits, labels) == labels) == [False, False, True, False]


# ---------------------------------------------------------------------- is that anything?


def outcome(labels, clean, attacked=None):
    labels, clean = np.asarray(labels), np.asarray(clean)
    return Outcome(clean, clean if attacked is None else np.asarray(attacked), labels, 1, 0, 0.0)


def noisy(labels, right, classes, random):
    """Answers of which a share is right, whatever the class."""
    wrong = (labels + random.integers(1, classes, len(labels))) % classes
    return np.where(random.random(len(labels)) < right, labels, wrong)


def kind(labels, clean):
    said = collapse(outcome(labels, clean), [f"class {i}" for i in range(100)])
    return said and said.partition(":")[0]


EVEN = np.arange(500) % 2
RARE = np.repeat([1, 0], [5, 495])  # 5 of 500
TENTH = np.repeat([1, 0], [50, 450])


def test_the_majority_class_has_a_row_that_no_attack_turns(victim, data):
    data = Dataset.from_dict({"text": data["text"], "label": [0, 1, 0, 0, 1, 0]})
    attacks = [FGM(0.3), PGD(0.5, steps=2)]
    for tried in ([], attacks[:1], attacks):
        table = robustness(victim, data, tried, calibrate_on=data)
        row = table.iloc[1]
        assert list(table["attack"]).count(MAJORITY) == 1 and table["attack"][0] == "none"
        assert row["threat model"] == "the most frequent class of these texts, whatever the text"
        assert row["accuracy"] == row["calibrated"] == 4 / 6 and row["classes"] == 1
        assert (row["low"], row["high"]) == wilson(4, 6)
        assert row["macro_f1"] == pytest.approx(0.4)  # (2 · 4 / 10 + 0) / 2
        assert row[["success", "changed", "queries"]].isna().all()
        assert not row[["forward", "backward", "seconds"]].any()


def test_every_row_says_macro_f1_and_how_many_classes_are_predicted(victim, data):
    attack = PGD(0.5, steps=3)
    table, found = robustness(victim, data, [attack]), attack_all(victim, data, attack)
    for row, predicted in ((table.iloc[0], found.clean), (table.iloc[2], found.attacked)):
        assert row["classes"] == len(set(predicted))
        assert row["macro_f1"] == macro_f1(found.labels, predicted)
    assert table["macro_f1"][2] < table["macro_f1"][0]


def test_macro_f1_is_over_the_classes_of_the_texts():
    assert macro_f1(np.array([3, 3, 5]), np.array([3, 3, 5])) == 1
    assert macro_f1(np.array([3, 3, 5, 5]), np.array([3, 7, 5, 5])) == pytest.approx(5 / 6)
    assert macro_f1(RARE, 0 * RARE) == pytest.approx(495 / 995)


def test_the_table_knows_that_a_model_collapsed(clean_model):
    data = Dataset.from_dict({"text": [*GOOD, *[BAD] * 6], "label": [1] * 6 + [0] * 6})
    constant = sharpened(clean_model, 1e-3)
    constant.model.classifier.bias.data[1] = 1
    table = robustness(constant, data, [FGM(0.3)])
    assert table.attrs["warning"].startswith("Collapsed: 12 of 12 answers are “positive”; 50.0%")
    assert list(table["classes"]) == [1, 1, 1] and table["accuracy"].nunique() == 1
    assert robustness(clean_model, data).attrs["warning"] is None


@pytest.mark.parametrize("labels", [EVEN, RARE, TENTH, np.arange(12) % 2, np.arange(154) % 77])
def test_one_answer_to_every_text_has_collapsed(labels):
    for answer in (0, 1):
        assert kind(labels, np.full(len(labels), answer)) == "Collapsed"
    odd = np.zeros(len(labels), int)
    odd[-1] = 1
    assert (kind(labels, odd) == "Collapsed") == (len(labels) >= 50)  # one in fifty


def test_two_answers_in_a_hundred_make_no_classifier_even_if_they_are_right():
    few = np.where(np.arange(500) < 20, EVEN, 0)
    assert few.sum() == 10 and kind(EVEN, few) == "Collapsed"


def test_99_percent_is_no_success_where_one_answer_gets_99():
    found = collapse(outcome(RARE, np.roll(RARE, 9)), ["no", "yes"])  # five alarms, all false
    assert found == ("Collapsed: 495 of 500 answers are “no”; 98.0% right and macro-F1 0.49; "
                     "always saying “no” gives 99.0% and 0.50.")  # fmt: skip
    three = np.where(np.arange(500) < 3, 1, 0)
    assert collapse(outcome(RARE, three), ["no", "yes"]) == (
        "Better by macro-F1 alone: 99.6% right and macro-F1 0.87; always saying “no” gives "
        "99.0% and 0.50."
    )
    assert kind(RARE, RARE) is None  # it says one class 495 times, and is right


def test_good_models_pass_and_guesses_do_not():
    random = np.random.default_rng(0)
    many, runs = np.arange(770) % 77, range(30)
    for labels, classes, right in ((EVEN, 2, 0.6), (EVEN, 2, 0.9), (TENTH, 2, 0.97),
                                   (many, 77, 0.1), (many, 77, 0.9)):  # fmt: skip
        found = [kind(labels, noisy(labels, right, classes, random)) for _ in runs]
        assert found.count(None) >= 28, (classes, right)
    for labels in (EVEN, RARE, TENTH, many, EVEN[:20]):
        found = [kind(labels, random.permutation(labels)) for _ in runs]
        assert found.count(None) + found.count("Better by macro-F1 alone") <= 4
    # Worse by accuracy than one answer, and yet it knows something.
    found = [kind(TENTH, noisy(TENTH, 0.8, 2, random)) for _ in runs]
    assert set(found) == {"Better by macro-F1 alone"}


def test_few_texts_prove_little():
    assert kind(EVEN[:3], EVEN[:3]) == "Not clearly better than one answer"  # all three right
    assert kind(EVEN[:6], EVEN[:6]) is None
    assert kind(EVEN[:6], np.zeros(6, int)) == "No better than one answer"  # three others only
    assert kind(np.zeros(9, int), np.zeros(9, int)) == "Not put to the test"
    assert kind(np.zeros(9, int), np.ones(9, int)) == "Not put to the test"


def test_long_names_are_cut():
    said = collapse(outcome(EVEN, 0 * EVEN), ["n" * 300, "p"])
    assert "“" + "n" * 39 + "…”" in said and len(said) < 250


def test_two_models_are_compared_text_by_text():
    """Hits of 60 and 70 in 100: the same numbers are chance or not, as they pair up."""
    y = np.zeros(100, int)
    first, nested = (np.where(np.arange(100) < k, 0, 1) for k in (60, 70))
    found = compare(outcome(y, first), outcome(y, nested))
    assert found == {"verdict": "clearly better", "gained": 10, "lost": 0, "p": 2 / 1024}
    assert compare(outcome(y, nested), outcome(y, first))["verdict"] == "clearly worse"
    other = compare(outcome(y, first), outcome(y, nested[::-1]))
    assert (other["gained"], other["lost"]) == (40, 30) and other["p"] > 0.05
    assert other["verdict"] == "no clear difference"
    assert compare(outcome(y, first), outcome(y, first))["p"] == 1


def test_comparing_counts_what_withstands_the_attack():
    y = np.zeros(20, int)
    weak, strong = outcome(y, y, y + 1), outcome(y, y)
    assert compare(weak, strong)["gained"] == 20
    with pytest.raises(ValueError, match="different texts"):
        compare(weak, outcome(y + 1, y))


# ---------------------------------------------------------------------- calibration


def sharpened(victim, factor):
    """A copy of the classifier with `factor` times its logits."""
    model = copy.deepcopy(victim.model)
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter *= factor
    return Classifier(model, victim.tokenizer)


class Naive:
    """FGM on the label's probability, whose gradient is nothing where that is rounded to 1."""

    def passes(self):
        return 1, 1

    def __call__(self, model, batch):
        delta, ball = zero_delta(model, batch).requires_grad_(), FGM(0.3).ball(model)
        p = perturbed_logits(model, batch, delta).softmax(-1).gather(1, batch["labels"][:, None])
        (grad,) = torch.autograd.grad(-p.sum(), delta)
        return ball.eps * ball.steepest(grad * attackable(batch)[:, :, None])


@pytest.mark.parametrize("factor", [20, 0.05, 1e4])
def test_the_temperature_takes_away_what_sharpens(clean_model, reviews, factor):
    plain = calibrate(clean_model, reviews[1])
    sharp = calibrate(sharpened(clean_model, factor), reviews[1])
    assert sharp.temperature / plain.temperature == pytest.approx(factor, rel=0.02)
    np.testing.assert_allclose(sharp.predict(["The soup was bland."]),
                               plain.predict(["The soup was bland."]), atol=0.01)  # fmt: skip


def test_the_temperature_minimises_the_negative_log_likelihood(clean_model, reviews):
    labels = torch.tensor(list(reviews[1]["label"]))
    z = torch.from_numpy(clean_model.logits(reviews[1]["text"])).double()

    def loss(t):
        return torch.nn.functional.cross_entropy(z / t, labels).item()

    best = calibrate(clean_model, reviews[1]).temperature
    grid = np.exp(np.linspace(np.log(best / 30), np.log(best * 30), 400))
    assert loss(best) <= min(map(loss, grid)) + 1e-6


@pytest.mark.parametrize("classes", [2, 3])
def test_predictions_stay_and_so_does_the_original(classes):
    victim = make_classifier("bert", classes=classes)
    before = copy.deepcopy(victim.model.state_dict())
    victim.model.train()
    victim.model.classifier.eval()
    modes = [module.training for module in victim.model.modules()]
    data = Dataset.from_dict({"text": TEXTS, "label": [0, 1, 1, 0]})
    found = calibrate(victim, data)
    assert (found.predict(TEXTS).argmax(1) == victim.predict(TEXTS).argmax(1)).all()
    np.testing.assert_allclose(found.logits(TEXTS) * found.temperature, victim.logits(TEXTS),
                               rtol=1e-4, atol=1e-6)  # fmt: skip
    assert (found.labels, found.max_length) == (victim.labels, victim.max_length)
    assert found.model.device == found.device == victim.device
    assert found.model.get_input_embeddings() is victim.model.get_input_embeddings()
    assert found.model.config is victim.model.config
    assert [module.training for module in victim.model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in victim.model.state_dict().items())


def test_attacks_of_both_kinds_work_on_a_calibrated_model(clean_model, reviews):
    few = reviews[0].select(range(6))
    calibrated = calibrate(clean_model, reviews[1])
    attacks = [Noise(0.3), FGSM(0.3), PGD(0.3, steps=2, restarts=2), WordSubstitution(),
               Typos(max_changed=0.2),
               HotFlip(k=2), EmbeddingNeighbours(k=2)]  # fmt: skip
    a, b = (robustness(v, few, attacks) for v in (clean_model, calibrated))
    np.testing.assert_array_equal(a["accuracy"], b["accuracy"])  # two classes: scale is nothing
    assert (b["accuracy"][2:] < 1).any()
    assert a.set_index("attack")["changed"]["HotFlip"] >= 1


@pytest.mark.parametrize("wrong", [False, True])
def test_where_all_is_right_or_all_is_wrong_the_temperature_is_bounded(victim, data, wrong):
    predicted = victim.predict(data["text"]).argmax(1)
    sure = Dataset.from_dict({"text": data["text"], "label": abs(predicted - wrong)})
    found = calibrate(victim, sure)
    z = victim.logits(data["text"])
    size = abs(z[:, 0] - z[:, 1]).mean()
    assert found.temperature == pytest.approx(size * (20 if wrong else 1 / 20), rel=0.02)
    assert np.isfinite(robustness(found, sure, [PGD(0.3, steps=2)])["accuracy"]).all()


def test_a_model_that_knows_nothing_keeps_its_temperature(victim, data):
    with torch.no_grad():
        for parameter in victim.model.classifier.parameters():
            parameter.zero_()
    assert 0 < calibrate(victim, data).temperature < 100


def test_calibration_shows_robustness_that_a_sharp_softmax_faked(clean_model, reviews):
    sharp = sharpened(clean_model, 20)
    table = robustness(sharp, reviews[0], [Naive(), FGM(0.3)], calibrate_on=reviews[1])
    faked, honest = table.iloc[2], table.iloc[3]
    assert faked["accuracy"] == table["accuracy"][0] > honest["accuracy"]
    assert honest["accuracy"] == honest["calibrated"] == faked["calibrated"]
    assert table["accuracy"][0] == table["calibrated"][0]
    assert table["calibrated"][4] <= table["calibrated"][2:4].min()
    assert table.attrs["temperature"] == calibrate(sharp, reviews[1]).temperature
    assert "calibrated" not in robustness(clean_model, reviews[0])


# ---------------------------------------------------------------------- bad input


def test_a_model_that_answers_with_nan_is_refused(clean_model):
    broken = sharpened(clean_model, float("nan"))
    data = Dataset.from_dict({"text": GOOD, "label": [1] * 6})
    with pytest.raises(ValueError, match="not finite"):
        robustness(broken, data, [FGM(0.3)])


@pytest.mark.parametrize("label", [-1, -100, 2])
def test_labels_that_are_no_class_are_refused(clean_model, label):
    data = Dataset.from_dict({"text": GOOD, "label": [1] * 5 + [label]})
    for measure in (lambda: robustness(clean_model, data), lambda: calibrate(clean_model, data)):
        with pytest.raises(ValueError, match="class"):
            measure()


def test_no_texts_are_refused(clean_model):
    nothing = Dataset.from_dict({"text": [], "label": []})
    for measure in (robustness, calibrate):
        with pytest.raises(ValueError, match="no texts|there are none"):
            measure(clean_model, nothing)
