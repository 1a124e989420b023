"""The fixed protocol: what is pinned, what a card and its digest hold, the leaderboard."""

import copy
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import make_classifier

import advlib
from advlib.app.protocol import (
    LEADERBOARD,
    PROTOCOLS,
    Protocol,
    digest,
    evaluate,
    leaderboard_line,
    publish,
    verify,
    weights_hash,
)
from advlib.attacks import FGM, PGD, Noise, Typos, WordSubstitution
from advlib.evaluation import Outcome, collapse, majority, summarise
from advlib.statistics import wilson

FEW_TYPOS = Typos(max_changed=0.1, kinds=("swap",), per_kind=1)
TINY = Protocol(
    "tiny", 3, (Noise(0.3), PGD(0.3, steps=2), WordSubstitution(max_changed=0.1), FEW_TYPOS), 20, 60
)
CHEAP = Protocol("cheap", 1, (FGM(0.3),), 12, 40)


@pytest.fixture(scope="module")
def card():
    return evaluate("reviews-clean", protocol=TINY, device="cpu")


@pytest.fixture
def table(tmp_path):
    """A CSV file of thirty texts whose labels are in the order of the embedded models' classes."""
    rows = [f"the food was {w} {i},{y}" for i in range(15)
            for w, y in (("bad", "negative"), ("good", "positive"))]  # fmt: skip
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["text,label", *rows]) + "\n")
    return file


def scaled(folder, factor):
    """reviews-clean with `factor` times its logits, saved in a folder."""
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    with torch.no_grad():
        for parameter in victim.model.classifier.parameters():
            parameter *= factor
    victim.save(folder)
    return folder


def test_the_standard_protocol_is_what_its_version_says():
    """Whoever changes this list gives the protocol a new version."""
    shared = "norm='l2', scope='sequence', relative=True, target=None, same_dropout=False, seed=0"
    standard = PROTOCOLS["standard"]
    assert (standard.name, standard.version, standard.n, standard.calibration) == (
        "standard", 3, 500, 500)  # fmt: skip
    assert [repr(attack) for attack in standard.attacks] == [
        f"Noise(eps=0.3, {shared}, restarts=1)",
        f"FGM(eps=0.3, {shared})",
        f"PGD(eps=0.3, {shared}, steps=20, step_size=None, random_start=False, restarts=5)",
        "WordSubstitution(world='reviews', max_changed=1.0)",
        "Typos(kinds=('swap', 'drop', 'insert', 'key', 'look-alike'), per_kind=4, "
        "max_changed=0.2, constraints=(KeepWords(),))",
    ]
    kept = " ".join(sorted(standard.attacks[-1].constraints[0].words))
    assert hashlib.sha256(kept.encode()).hexdigest().startswith("b1d910db792c7574")


def test_the_protocol_for_text_is_what_its_version_says():
    """Whoever changes this list gives the protocol a new version."""
    text = PROTOCOLS["text"]
    assert (text.name, text.version, text.eps) == ("text", 1, 0.1)
    assert (text.n, text.calibration) == (500, 500)
    assert [repr(attack) for attack in text.attacks[3:]] == [
        "EmbeddingNeighbours(k=8, least=0.0, max_changed=0.2, constraints=(KeepWords(),))",
        repr(PROTOCOLS["standard"].attacks[-1]),
    ]
    for eps, name in ((None, "text, eps = 0.1"), (0.25, "text, eps = 0.25")):
        own = text.at(eps)
        assert own.name == name and own.attacks[3:] == text.attacks[3:]
        assert [a.eps for a in own.attacks[:3]] == [eps or 0.1] * 3
        assert [type(a).__name__ for a in own.attacks[:3]] == ["Noise", "FGM", "PGD"]
    assert (text.attacks[2].steps, text.attacks[2].restarts) == (20, 5)


def test_eps_is_a_setting_of_the_protocol_for_text_and_of_no_other(table):
    few = replace(PROTOCOLS["text"], n=6, calibration=6)
    few = replace(few, attacks=(few.attacks[1], *few.attacks[3:]))
    one, other, same = (evaluate("reviews-clean", str(table), few, eps=eps, device="cpu")
                        for eps in (None, 0.001, 0.001))  # fmt: skip
    assert one["protocol"] == "text, eps = 0.1" and other["protocol"] == "text, eps = 0.001"
    assert "eps=0.001" in other["rows"][1]["threat model"] and verify(other)
    assert one["digest"] != other["digest"] == same["digest"]
    names = ["none", "FGM", "EmbeddingNeighbours", "Typos"]
    assert [row["attack"] for row in one["rows"]] == names and one["left out"] == []
    unchecked = [row["threat model"].endswith("), meaning unchecked") for row in one["rows"]]
    assert unchecked == [False, False, True, False], "typos are readable, neighbours anything"
    assert "text, eps = 0.001 (v1)" in leaderboard_line(other)
    with pytest.raises(ValueError, match="standard fixes eps.*--protocol text"):
        evaluate("reviews-clean", eps=0.1)
    for eps in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="eps"):
            evaluate("reviews-clean", protocol="text", eps=eps)


def test_a_card_says_what_was_measured(card):
    assert (card["protocol"], card["version"]) == ("tiny", 3)
    shipped = advlib.embedded_checkpoints()["reviews-clean"]["sha256"]
    assert card["model"] == {"name": "reviews-clean", "sha256": shipped}
    assert card["data"]["name"] == "reviews" and card["data"]["n"] == 20
    assert card["calibration"]["n"] == 60 and 0.5 < card["calibration"]["temperature"] < 5
    names = ["none", "Noise", "PGD", "WordSubstitution", "Typos"]
    assert [row["attack"] for row in card["rows"]] == names
    assert [row["threat model"] for row in card["rows"][1:]] == [repr(a) for a in TINY.attacks]
    for row in card["rows"]:
        assert row["n"] == 20 and row["accuracy"] == row["hits"] / 20
        assert row["low"] <= row["accuracy"] <= row["high"]
    assert card["rows"][2]["queries"] is None and card["rows"][3]["queries"] > 1
    assert (card["rows"][2]["forward"], card["rows"][2]["backward"]) == (3, 2)
    assert card["left out"] == [] and set(card["versions"]) == {"advlib", "torch", "transformers"}
    assert json.loads(json.dumps(card, allow_nan=False)) == card


def test_no_attack_helps_the_model_and_the_worst_case_is_the_worst(card):
    clean, *attacked = (row["hits"] for row in card["rows"])
    assert max(attacked) <= clean and min(attacked) < clean
    assert card["worst case"]["hits"] <= min(attacked)


def test_the_digest_is_the_same_again_and_for_other_batches(card):
    again = evaluate("reviews-clean", protocol=TINY, device="cpu", batch_size=5)
    assert again["digest"] == card["digest"]
    assert again["rows"][2]["seconds"] != card["rows"][2]["seconds"]


def test_the_digest_knows_weights_texts_and_protocol_but_no_folder(tmp_path):
    from safetensors.torch import load_file, save_file

    folder = scaled(tmp_path / "a", 1)
    one = evaluate(folder, protocol=CHEAP, device="cpu")
    other = evaluate(folder.rename(tmp_path / "b"), protocol=CHEAP, device="cpu")
    assert one["digest"] == other["digest"] and other["model"]["name"] == "b"
    raw = (tmp_path / "b" / "model.safetensors").read_bytes()
    assert one["model"]["sha256"] == hashlib.sha256(raw).hexdigest()
    later = evaluate(tmp_path / "b", protocol=replace(CHEAP, version=2), device="cpu")
    assert later["rows"][1]["hits"] == one["rows"][1]["hits"]
    assert later["digest"] != one["digest"]
    weights = load_file(tmp_path / "b" / "model.safetensors")
    weights["classifier.bias"] += 1e-6  # no number changes, the model does
    save_file(weights, tmp_path / "b" / "model.safetensors", {"format": "pt"})
    changed = evaluate(tmp_path / "b", protocol=CHEAP, device="cpu")
    assert changed["rows"][0]["hits"] == one["rows"][0]["hits"]
    assert changed["digest"] != one["digest"]


@pytest.fixture(scope="module")
def grouped():
    tiny = replace(TINY, n=60, attacks=(FGM(0.3), FEW_TYPOS))
    plain = evaluate("reviews-clean", protocol=tiny, device="cpu")
    return plain, evaluate("reviews-clean", protocol=tiny, device="cpu", groups="domain")


def test_groups_of_a_card_are_those_of_its_texts(grouped):
    """Counted by hand: the same attacks on the texts of each group alone."""
    from advlib.evaluation import attack_all, worst_case

    plain, card = grouped
    rows = card["groups"]["rows"]
    assert card["groups"]["column"] == "domain" and len(rows) > 5
    assert [sum(r["n"] for r in rows), sum(r["clean"]["hits"] for r in rows),
            sum(r["worst case"]["hits"] for r in rows)] == [
        60, card["rows"][0]["hits"], card["worst case"]["hits"]]  # fmt: skip
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    test = advlib.load_text("reviews", test_size=60, train_size=1)["test"]
    for row in (rows[0], rows[-1]):
        some = test.select([i for i, d in enumerate(test["domain"]) if d == row["group"]])
        found = [attack_all(victim, some, a) for a in (None, FGM(0.3), FEW_TYPOS)]
        assert row["n"] == len(some) and row["clean"]["hits"] == found[0].robust.sum()
        assert row["worst case"]["hits"] == worst_case(found).robust.sum()
        assert (row["clean"]["low"], row["clean"]["high"]) == wilson(row["clean"]["hits"], row["n"])


def test_groups_leave_the_digest_as_it_was_and_have_one_of_their_own(grouped):
    plain, card = grouped
    assert "groups" not in plain and card["digest"] == plain["digest"]
    assert verify(card) and verify(json.loads(json.dumps(card, allow_nan=False)))
    for path, value in [
        (("groups", "rows", 0, "group"), "other"),
        (("groups", "rows", 0, "worst case", "hits"), 99),
        (("groups", "rows", 0, "n"), 99),
        (("groups", "column"), "city"),
        (("groups", "digest"), "0" * 64),
        (("groups", "rows"), card["groups"]["rows"][1:]),
        (("groups",), plain | {"digest": "0"}),
        (("groups",), ["x"]),
        (("rows", 1, "hits"), 0),
    ]:
        assert not verify(edited(card, *path, value=value)), path
    moved = copy.deepcopy(card["groups"])
    other = plain | {"version": 9}
    assert not verify(other | {"digest": digest(other), "groups": moved})


def test_groups_of_a_file_are_a_column_of_its_test_texts(tmp_path):
    rows = [f"the food was {w} {i},{y},{'=x' if i % 3 else ''}" for i in range(30)
            for w, y in (("bad", "negative"), ("good", "positive"))]  # fmt: skip
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["text,label,City", *rows]) + "\n")
    card = evaluate("reviews-clean", str(file), CHEAP, device="cpu", groups="city")
    by_hand = advlib.load_text(file, groups="city", test_size=12)["test"]
    assert {r["group"]: r["n"] for r in card["groups"]["rows"]} == {
        g: by_hand["group"].count(g) for g in ("=x", "")}  # fmt: skip
    for text, group in zip(by_hand["text"], by_hand["group"], strict=True):
        assert group == ("=x" if int(text.split()[-1]) % 3 else "")
    (tmp_path / "train.csv").write_text("text,label\nso good,positive\nso bad,negative\n" * 9)
    split = advlib.load_text(tmp_path / "train.csv", test=file, groups="City")
    assert "group" not in split["train"].column_names and len(split["test"]["group"]) == 60
    with pytest.raises(ValueError, match="no column 'town'.*--groups"):
        evaluate("reviews-clean", str(file), CHEAP, groups="town")
    with pytest.raises(ValueError, match="12 groups for 12 texts"):
        evaluate("reviews-clean", str(file), CHEAP, device="cpu", groups="text")
    with pytest.raises(ValueError, match="column 'domain' and no 'city'"):
        evaluate("reviews-clean", protocol=CHEAP, groups="city")


def test_a_hub_model_is_known_by_its_state():
    a, b = (make_classifier(seed=seed).model for seed in (0, 1))
    first = weights_hash("someone/something", a)
    assert first == weights_hash("someone/else", a) != weights_hash("someone/something", b)


def edited(card, *path, value):
    card = copy.deepcopy(card)
    part = card
    for key in path[:-1]:
        part = part[key]
    assert part[path[-1]] != value
    part[path[-1]] = value
    return card


def test_an_edited_card_does_not_verify(card):
    read = json.loads(json.dumps(card))
    assert verify(card) and verify(read) and digest(read) == card["digest"]
    for path, value in [
        (("rows", 2, "accuracy"), 0.99),
        (("rows", 2, "hits"), 20),
        (("rows", 3, "success"), 0.0),
        (("rows", 4, "threat model"), "Typos(max_changed=1.0)"),
        (("worst case", "low"), 0.5),
        (("worst case", "calibrated"), 1.0),
        (("protocol",), "standard"),
        (("version",), 1),
        (("model", "sha256"), "0" * 64),
        (("data", "n"), 500),
        (("calibration", "sha256"), "0" * 64),
        (("left out",), ["all"]),
        (("rows",), card["rows"][:2]),
        (("digest",), "0" * 64),
    ]:
        assert not verify(edited(card, *path, value=value)), path
    assert not verify({})


def test_what_may_differ_elsewhere_is_not_sealed(card):
    for path, value in [
        (("rows", 2, "seconds"), 1e3),
        (("worst case", "seconds"), 0.0),
        (("rows", 3, "queries"), 1.0),
        (("rows", 3, "forward"), 1.0),
        (("rows", 3, "changed"), 9.0),
        (("rows", 2, "macro_f1"), 9.0),
        (("rows", 2, "classes"), 9),
        (("majority class", "accuracy"), 9.0),
        (("calibration", "temperature"), 9.0),
        (("versions", "torch"), "9"),
        (("model", "name"), "copy"),
    ]:
        assert verify(edited(card, *path, value=value)), path


def test_published_digests_stay_as_they_are(card):
    """A card as it was before macro-F1, the classes and the majority class."""
    old = copy.deepcopy(card)
    del old["majority class"]
    for row in [*old["rows"], old["worst case"]]:
        row.pop("macro_f1", None), row.pop("classes", None)
    assert digest(old) == card["digest"] and "warning" not in card
    mapped = old | {"classes": {"no": "negative", "yes": "positive"}}
    assert digest(mapped) != digest(old)  # the names of the classes are sealed


@pytest.mark.parametrize("name,hits", [  # of 500; the same after calibration
    ("reviews-clean", [490, 489, 358, 201, 284, 90, 43]),
    ("reviews-fgm", [493, 493, 466, 438, 352, 115, 104]),
    ("reviews-robust", [499, 499, 497, 480, 499, 447, 436]),
])  # fmt: skip
def test_the_published_digest_is_that_of_the_published_numbers(name, hits, monkeypatch):
    """The rows of docs/results/leaderboard.md, put in the place of two minutes of attacks."""

    def published(victim, data, attacks, **settings):
        y = np.array(data["label"])
        spent = [0, *(a.passes()[1] if hasattr(a, "passes") else 0 for a in attacks)]
        answers = [np.where(np.arange(500) < h, y, 1 - y) for h in hits]
        found = [Outcome(answers[0], answer, y, 1.0, backward, 1.0)
                 for answer, backward in zip(answers, [*spent, sum(spent)], strict=True)]
        rows = [summarise(o, a) for o, a in zip(found, [None, *attacks, attacks], strict=True)]
        rows[-1] |= {"attack": "worst case", "threat model": "any of these attacks"}
        table = pd.DataFrame([rows[0], majority(y), *rows[1:]])
        table["calibrated"] = table["accuracy"]
        table.attrs = {"temperature": 1.53, "warning": collapse(found[0], victim.labels)}
        return table

    monkeypatch.setattr("advlib.app.protocol.robustness", published)
    board = Path(__file__).parents[1] / "docs" / "results" / "leaderboard.md"
    found = leaderboard_line(evaluate(name, device="cpu"))
    assert found in board.read_text("utf-8")


@pytest.fixture(scope="module")
def one_answer(tmp_path_factory):
    """A model that says "positive" to every text."""
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    with torch.no_grad():
        victim.model.classifier.weight *= 1e-3
        victim.model.classifier.bias.copy_(torch.tensor([0.0, 1.0]))
    folder = tmp_path_factory.mktemp("models") / "constant"
    victim.save(folder)
    return folder


@pytest.fixture(scope="module")
def constant(one_answer):
    return evaluate(one_answer, protocol=TINY, device="cpu")


def test_the_card_has_the_majority_class_macro_f1_and_classes(card, constant):
    for found in (card, constant):
        row = found["majority class"]
        assert row["attack"] == "majority class" and 0.5 <= row["accuracy"] == row["hits"] / 20
        assert row["success"] is row["queries"] is None and row["forward"] == row["seconds"] == 0
        assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert card["rows"][0]["classes"] == 2 and card["rows"][0]["macro_f1"] > 0.9
    assert {row["classes"] for row in constant["rows"]} == {1}


def test_a_collapsed_model_is_called_so_and_the_warning_is_sealed(constant):
    assert constant["warning"].startswith("Collapsed: 20 of 20 answers are “positive”")
    share = constant["rows"][0]["accuracy"]
    assert f"| {share:.1%}, collapsed |" in leaderboard_line(constant)
    assert verify(constant) and not verify({k: v for k, v in constant.items() if k != "warning"})


def test_99_percent_of_99_percent_is_no_success(one_answer, table, tmp_path):
    rows = [f"the food was good {i},positive" for i in range(495)]
    rows += [f"the food was good too {i},negative" for i in range(5)]
    (tmp_path / "rare.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    clean = Protocol("clean", 1, (), 500, 20)
    found = evaluate(one_answer, str(table), clean, test=tmp_path / "rare.csv", device="cpu")
    assert found["rows"][0]["accuracy"] == 0.99 == found["majority class"]["accuracy"]
    assert found["warning"].startswith("Collapsed: 500 of 500 answers are “positive”")


def test_another_number_of_texts_is_another_protocol(table):
    fewer = evaluate("reviews-clean", protocol=CHEAP, n=8, device="cpu")
    assert fewer["protocol"] == "cheap, n = 8" and fewer["data"]["n"] == 8
    same = evaluate("reviews-clean", protocol=CHEAP, n=12, device="cpu")
    assert same["protocol"] == "cheap"
    short = evaluate("reviews-clean", str(table), CHEAP, device="cpu")  # it has fewer than twelve
    assert short["protocol"] == "cheap, n = 6" and short["data"]["name"] == "mine.csv"


def test_word_substitution_stays_in_its_world(table):
    card = evaluate("reviews-clean", str(table), replace(TINY, n=6), device="cpu")
    assert [row["attack"] for row in card["rows"]] == ["none", "Noise", "PGD"]
    assert "WordSubstitution(" in card["left out"][0] and "Typos(" in card["left out"][1]
    assert "not the world 'reviews'" in card["left out"][0] and verify(card)
    assert "nothing to try on any" in card["left out"][1]


def test_one_attack_is_its_own_worst_case():
    card = evaluate("reviews-clean", protocol=CHEAP, device="cpu")
    assert len(card["rows"]) == 2 and card["worst case"] == card["rows"][1]


def test_a_model_that_is_only_surer_gains_nothing(card, tmp_path):
    """Twenty times the logits: T is twenty times as large, and what is left is the same model."""
    sure = evaluate(scaled(tmp_path / "sure", 20), protocol=TINY, device="cpu")
    ratio = sure["calibration"]["temperature"] / card["calibration"]["temperature"]
    assert ratio == pytest.approx(20, rel=0.02)
    for a, b in zip(card["rows"], sure["rows"], strict=True):
        assert a["calibrated"] == b["calibrated"]


@pytest.mark.parametrize(
    "settings,words",
    [
        (dict(protocol="gold"), "no protocol 'gold': choose one of standard"),
        (dict(source="./nowhere"), "no model folder"),
        (dict(source="bert-tiny"), "no trained classification head"),
        (dict(data="nowhere.csv"), "nowhere.csv"),
        (dict(n=0), "above zero"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_one_sentence(settings, words):
    with pytest.raises(ValueError, match=words) as found:
        evaluate(**{"source": "reviews-clean", "protocol": CHEAP, **settings})
    assert "\n" not in str(found.value)


def test_a_model_for_other_classes_is_refused(tmp_path):
    three, swapped = tmp_path / "three", tmp_path / "swapped"
    make_classifier(classes=3).save(three)
    with pytest.raises(ValueError, match="LABEL_2.*negative, positive"):
        evaluate(three, protocol=CHEAP)
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    victim.model.config.id2label = {0: "positive", 1: "negative"}
    victim.save(swapped)
    with pytest.raises(ValueError, match="in the same order"):
        evaluate(swapped, protocol=CHEAP)


def test_the_leaderboard_grows_by_one_row_a_result(card, tmp_path):
    folder = tmp_path / "new" / "board"
    assert publish(card, folder)
    assert json.loads((folder / "card.json").read_text()) == card
    assert (folder / "leaderboard.md").read_text() == LEADERBOARD + leaderboard_line(card)
    assert not publish(card, folder)
    other = evaluate("reviews-clean", protocol=CHEAP, device="cpu")
    board = folder / "leaderboard.md"
    board.write_text(board.read_text().rstrip())  # as some editors leave a file
    assert publish(other, folder)
    lines = (folder / "leaderboard.md").read_text()
    assert lines == LEADERBOARD + leaderboard_line(card) + leaderboard_line(other)
    assert len({line.count("|") for line in lines.splitlines()}) == 1
    assert json.loads((folder / "card.json").read_text()) == other


def test_a_name_cannot_break_the_table(card):
    plain = leaderboard_line(card)
    assert "| tiny (v3) | 20 |" in plain and card["digest"][:16] in plain
    line = leaderboard_line(edited(card, "model", "name", value="a|b\\|\n<b>c"))
    assert line.startswith("| a\\|b\\\\\\| &lt;b&gt;c | reviews |") and line.count("\n") == 1
