"""The report tells the numbers rightly, in words and pictures, and no text can break out of it."""

import json
import math
import subprocess
import sys
import xml.etree.ElementTree as ET
from base64 import b64decode
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from advlib import plots
from advlib.app.report import result_sentence, warnings, write_report
from advlib.attacks import FGM, PGD, WordSubstitution
from advlib.evaluation import Outcome, collapse, compare, majority, summarise, wilson

HOSTILE = "<script>alert(1)</script> <img src=x onerror=alert(2)> \"'><a href=http://e.org>&amp;"


def row(model, attack, accuracy, n=500):
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n) + 0.002
    return {
        "model": model, "attack": attack, "n": n, "accuracy": accuracy,
        "threat model": "none" if attack == "none" else f"{attack}(eps=0.3)",
        "low": max(0.0, accuracy - half), "high": min(1.0, accuracy + half / 2),
        "success": float("nan") if attack == "none" else 1 - accuracy,
        "forward": 11.0, "backward": 10, "seconds": 3.14159265,
    }  # fmt: skip


def table(standard, adversarial, attacks=("none", "FGM", "PGD", "WordSubstitution")):
    return [
        row(model, attack, accuracy)
        for model, accuracies in (("standard", standard), ("adversarial", adversarial))
        for attack, accuracy in zip(attacks, accuracies, strict=True)
    ]


def make_run(text="The food was great, and the waiter kind.", changed=None, source="reviews"):
    log = [{"step": s, "loss": 1 / s, "clean_loss": 1 / s} for s in (10, 20, 30)]
    return {
        "created": "2026-01-05T10:11:12+00:00", "command": f"advlib run --data {source}", "seed": 7,
        "versions": {"torch": "2.13.0"},
        "data": {"source": source, "train": 2000, "test": 500, "labels": ["bad", text]},
        "recipe": {"eps": 0.3, "note": text, "epochs": None},
        "table": table((0.991, 0.6, 0.47, 0.3), (0.989, 0.9, 0.88, 0.7)),
        "curve": [{"model": m, "eps": e, "n": 200, "accuracy": 0.9 - e, "low": 0.8 - e,
                   "high": 0.95 - e} for m in ("standard", "adversarial") for e in (0.0, 0.3)],
        "training": {"standard": log, "adversarial": [{**e, "adv_loss": 2.0} for e in log]},
        "cost": {"standard": {"seconds": 20.0, "forward": 378, "backward": 378}},
        "examples_kind": "words",
        "examples": [{"original": text, "text": changed or text, "label": text, "predicted": text,
                      "changed": [1], "success": True, "model": "standard", "html": HOSTILE}],
    }  # fmt: skip


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and the text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.said = [], ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.said += data

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(tmp_path, run):
    return Page(write_report(tmp_path, run).read_text("utf-8"))


def assert_harmless(page):
    assert {tag for tag, _ in page.tags} <= set(
        "html head meta title style body h1 h2 p div table thead tr th td code b figure figcaption "
        "img ol li del ins span pre details summary".split()
    )
    for tag, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "href"
            assert name != "src" or (
                tag == "img" and value.startswith("data:image/svg+xml;base64,")
            )


# --- escaping --------------------------------------------------------------------------------


def test_hostile_texts_stay_text(tmp_path):
    run = make_run(HOSTILE, HOSTILE.replace("alert", "boom"), source=HOSTILE)
    for entry in run["table"]:
        entry["threat model"] = HOSTILE
        entry["model"] += HOSTILE
    run["versions"][HOSTILE] = run["recipe"][HOSTILE] = HOSTILE
    page = page_of(tmp_path, run)
    assert_harmless(page)
    assert page.said.count("<script>alert(1)</script>") > 5
    assert HOSTILE in page.all("img")[0]["alt"]
    assert f"true label {HOSTILE[:39]}…" in page.said


def test_hostile_tokens_stay_text(tmp_path):
    run = make_run()
    run["examples_kind"] = "tokens"
    run["examples"] = [{"tokens": [HOSTILE, "##ing", "b"], "weights": [9.0, float("nan"), 0.5],
                        "label": HOSTILE, "predicted": HOSTILE, "model": HOSTILE}]  # fmt: skip
    page = page_of(tmp_path, run)
    assert_harmless(page)
    assert HOSTILE + "ing b" in page.said
    assert [s["title"] for s in page.all("span") if "title" in s] == ["100%", "0%", "50%"]


@pytest.mark.parametrize("text", ["a\0" + "1\0b c", "caf\udce9 was good", "{title} %s {css} 日本"])
def test_odd_characters(tmp_path, text):
    run = make_run(text, text.replace("b", "x").replace("was", "is"), source=text)
    page = page_of(tmp_path, run)
    assert_harmless(page)
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["data"]["source"] == text


def test_page_forbids_scripts_and_requests(tmp_path):
    policy = page_of(tmp_path, make_run()).all("meta")[2]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'; img-src data:;")


# --- examples --------------------------------------------------------------------------------


def source_of(tmp_path, original, text):
    return write_report(tmp_path, make_run(original, text)).read_text("utf-8")


def test_changed_words_are_marked_in_place(tmp_path):
    page = source_of(tmp_path, "Bad food, a <cold> room.", "Awful food, a <chilly> room.")
    assert (
        "<li><del>Bad</del> <ins>Awful</ins> food, a "
        "&lt;<del>cold</del> <ins>chilly</ins>&gt; room.<div"
    ) in page


@pytest.mark.parametrize("text", ["good food", "go od food.", "good food!", "?"])
def test_other_changes_show_both_texts(tmp_path, text):
    page = source_of(tmp_path, "good food.", text)
    assert f"<del>good food.</del> <ins>{text}</ins>" in page


def test_tokens_are_spaced_as_their_tokenizer_means(tmp_path):
    for tokens in (
        ["un", "##kind", "waiter"],
        ["un", "kind", "Ġwaiter"],
        ["▁un", "kind", "▁waiter"],
    ):
        run = make_run()
        run["examples_kind"] = "tokens"
        run["examples"] = [{"tokens": tokens, "weights": [0, 1, 0.2], "label": "a"}]
        assert "unkind waiter" in page_of(tmp_path, run).said


# --- JSON ------------------------------------------------------------------------------------


def test_json_round_trip(tmp_path):
    run = make_run()
    run["cost"]["standard"]["seconds"] = np.float32(20.123456789)
    run["curve"][0]["n"] = np.int64(200)
    write_report(tmp_path, run)
    read = json.loads((tmp_path / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert read["table"][0]["success"] is None and read["table"][0]["seconds"] == 3.14159
    assert read["cost"]["standard"]["seconds"] == 20.1235 and read["curve"][0]["n"] == 200
    assert read["seed"] == 7 and read["examples"][0]["changed"] == [1]
    again = tmp_path / "again"
    assert write_report(again, read).read_text("utf-8") == (tmp_path / "report.html").read_text(
        "utf-8"
    )
    assert json.loads((again / "report.json").read_text("utf-8")) == read


# --- missing parts ---------------------------------------------------------------------------


@pytest.mark.parametrize("part", list(make_run()))
@pytest.mark.parametrize("empty", [True, False])
def test_any_part_may_be_missing(tmp_path, part, empty):
    run = make_run()
    if empty and isinstance(run[part], dict | list):
        run[part] = type(run[part])()
    else:
        del run[part]
    assert_harmless(page_of(tmp_path, run))


def test_an_empty_run(tmp_path):
    page = page_of(tmp_path / "new" / "folder", {})
    assert "No model was evaluated." in page.said and "What this does not show" in page.said
    assert not page.all("img") and not page.all("table")


# --- the sentence ----------------------------------------------------------------------------


def sentence(rows, *verdicts):
    """verdicts: of the attacks in the order of the rows, as `compare` gives them."""
    attacks = dict.fromkeys(r["attack"] for r in rows)
    found = {a: {"verdict": v} for a, v in zip(attacks, verdicts, strict=False)}
    return result_sentence({"table": rows, "verdicts": found})


def test_sentence_when_training_helped():
    rows, better = table((0.991, 0.6, 0.47, 0.3), (0.989, 0.9, 0.88, 0.7)), ["clearly better"] * 3
    assert sentence(rows, "no clear difference", *better) == (
        "The standard model is right on 99.1% of the 500 test texts, on 47.0% under PGD and on "
        "30.0% under word substitution; the adversarially trained one on 98.9%, on 88.0% under PGD "
        "and on 70.0% under word substitution: no clear difference without attack, clearly better "
        "under PGD and under word substitution."
    )


def test_sentence_when_training_hurt_and_words_are_missing():
    rows = table((0.99, 0.7, 0.6), (0.9, 0.5, 0.4), ("none", "FGM", "PGD"))
    expected = (
        "The standard model is right on 99.0% of the 500 test texts and on 60.0% under PGD; "
        "the adversarially trained one on 90.0% and on 40.0% under PGD: "
        "clearly worse without attack and under PGD."
    )
    worse = ["clearly worse"] * 3
    assert sentence(rows, *worse) == expected
    assert sentence(rows[3:] + rows[:3], *worse) == expected  # what is judged comes last


def test_sentence_without_pgd_or_with_one_model():
    rows = table((0.99, 0.7), (0.9, 0.7), ("none", "FGM"))
    assert "on 70.0% under FGM; the adversarially" in sentence(rows)
    assert sentence(rows, "clearly worse", "no clear difference").endswith(
        "clearly worse without attack, no clear difference under FGM."
    )
    only = table((0.99,), (0.9,), ("none",))
    assert (
        sentence(only[:1]) == "The standard model is right on 99.0% of the 500 test texts."
    )
    assert sentence(only[1:]) == (
        "The adversarially trained model is right on 90.0% of the 500 test texts."
    )
    assert sentence(only, "clearly worse").endswith(": clearly worse without attack.")


# --- what is no success ------------------------------------------------------------------------


ATTACKS = (None, FGM(0.3), PGD(0.3, steps=10), WordSubstitution())
Y = np.arange(800) % 100 < 51  # 51 % of one class


def run_of(labels, names, **models):
    """A run as `experiment` returns it. models: name -> predictions per attack, clean first."""
    outcomes = {m: [Outcome(p[0], own, labels, 11, 10, 271.11938607600007) for own in p]
                for m, p in models.items()}  # fmt: skip
    rows = [{"model": m, **summarise(o, a)} for m, found in outcomes.items()
            for a, o in zip(ATTACKS, found, strict=True)]  # fmt: skip
    pairs = zip(ATTACKS, *outcomes.values(), strict=True)
    return make_run() | {
        "table": rows, "majority": majority(labels),
        "warnings": {m: collapse(found[0], names) for m, found in outcomes.items()},
        "verdicts": {rows[i]["attack"]: compare(a, b) for i, (_, a, b) in enumerate(pairs)},
    }  # fmt: skip


def answers(labels, *shares, classes=2):
    """Predictions that are right on these shares of the texts, spread over the classes."""
    place = np.arange(len(labels)) * 7919 % len(labels)
    return [np.where(place < share * len(labels), labels, (labels + 1) % classes)
            for share in shares]  # fmt: skip


def collapsed_run():
    y = Y.astype(int)
    return run_of(y, ["dull", "fine"], standard=answers(y, 0.93, 0.5, 0.22, 0.3),
                  adversarial=[np.ones(800, int)] * 4)  # fmt: skip


def test_a_collapsed_model_is_never_called_better(tmp_path):
    run = collapsed_run()
    assert warnings(run) == [
        "The adversarially trained model has collapsed: 800 of 800 answers are “fine”; 51.0% right "
        "and macro-F1 0.34; always saying “fine” gives 51.0% and 0.34."
    ]
    said = result_sentence(run)
    assert "clearly" not in said and said.endswith(
        "on 51.0%, on 51.0% under PGD and on 51.0% under word substitution: so neither is called "
        "better by its accuracy. Always the most frequent class: right on 51.0%, whatever the "
        "attack."
    )
    assert "clearly better under PGD" in result_sentence(run | {"warnings": {}})
    source = write_report(tmp_path, run).read_text("utf-8")
    first = source.partition("</h1>")[2].strip()
    assert first.startswith('<p class="lead warning">The adversarially trained model has collapsed')
    page = Page(source)
    assert page.said.count("adversarial, collapsed") == 4 and "clearly better" not in page.said
    assert_harmless(page)


def test_an_imbalanced_set_makes_no_success(tmp_path):
    y = np.repeat([1, 0], [5, 495])
    few = np.roll(y, 3)  # two of five found, three false alarms
    run = run_of(y, ["no", "yes"], standard=[0 * y] * 4, adversarial=[few] * 4)
    assert warnings(run) == [
        "The standard model has collapsed: 500 of 500 answers are “no”; 99.0% right and macro-F1 "
        "0.50; always saying “no” gives 99.0% and 0.50.",
        "The adversarially trained model is better by macro-F1 alone: 98.8% right and macro-F1 "
        "0.70; always saying “no” gives 99.0% and 0.50.",
    ]
    assert "so neither is called better by its accuracy" in result_sentence(run)
    page = page_of(tmp_path, run)
    assert "99.0% [97.7%, 99.6%]0.501" in page.said and "98.8% [97.4%, 99.4%]0.702" in page.said


def test_good_models_get_a_verdict_from_pairs_of_answers(tmp_path):
    y = Y.astype(int)
    run = run_of(y, ["dull", "fine"], standard=answers(y, 0.95, 0.85, 0.84, 0.5),
                 adversarial=answers(y, 0.95, 0.86, 0.87, 0.7))  # fmt: skip
    assert warnings(run) == []
    # 24 texts gained and none lost: the intervals of 84 % and 87 % overlap, the pairs are clear.
    assert "clearly better under PGD and under word substitution" in result_sentence(run)
    page = page_of(tmp_path, run)
    assert "160 texts gained, 0 lost, p < 0.001" in page.said
    assert "majority class the most frequent class of these texts, whatever the text" in page.said


def test_many_classes_and_long_names(tmp_path):
    y = np.arange(770) % 77
    names = [f"intent number {i} with a name that goes on and on and on" for i in range(77)]
    run = run_of(y, names, standard=answers(y, 0.9, 0.6, 0.4, 0.3, classes=77),
                 adversarial=answers(y, 0.9, 0.8, 0.7, 0.6, classes=77))  # fmt: skip
    run["data"]["labels"] = names
    page = page_of(tmp_path, run)
    assert warnings(run) == [] and "1.3% [0.7%, 2.4%]" in page.said
    assert "intent number 11 with a name that goes …, 65 more" in page.said
    assert "on and on and on" not in page.said


def test_threat_models_stand_in_words_and_the_exact_ones_unfold(tmp_path):
    page = page_of(tmp_path, collapsed_run())
    assert "10 gradient steps; the embeddings of the whole text move by at most 0.3" in page.said
    assert len(page.all("details")) == 3
    for attack in ATTACKS[1:]:
        assert "exactly" + repr(attack) in page.said
    odd = make_run()
    odd["table"][2]["threat model"] = "Recipe(name='TextFooler')"
    assert "PGD Recipe(name='TextFooler')" in page_of(tmp_path, odd).said


def test_times_have_three_digits_and_a_unit(tmp_path):
    run = collapsed_run()
    run["cost"]["standard"]["seconds"] = 12345.678
    page = page_of(tmp_path, run)
    assert "271 s" in page.said and "271.1" not in page.said and "3.43 h" in page.said


def test_the_recipe_shows_what_was_really_used(tmp_path):
    run = make_run() | {"used": {"epochs": 10, "learning_rate": 0.001}}
    said = page_of(tmp_path, run).said
    assert "epochs10" in said and "learning_rate0.001" in said and said.count("epochs") == 1


def test_a_loss_chart_of_one_point_is_left_out(tmp_path):
    run = make_run()
    for log in ([], [{"step": 1, "clean_loss": 0.7, "adv_loss": 0.8}]):
        run["training"] = {"standard": log, "adversarial": log}
        assert len(page_of(tmp_path, run).all("img")) == 2


# --- pictures --------------------------------------------------------------------------------


def test_pictures_in_the_page_have_words_and_are_svg(tmp_path):
    images = page_of(tmp_path, make_run()).all("img")
    assert len(images) == 3
    bars, curve, losses = (image["alt"] for image in images)
    assert "adversarial model, PGD: 88.0% [" in bars
    assert "standard model, ε 0.3: 60.0%" in curve
    assert "standard model, clean loss: from 0.1 at step 10 to 0.0333 at step 30" in losses
    for image in images:
        assert ET.fromstring(b64decode(image["src"].partition(",")[2])).tag.endswith("svg")


def test_bars_and_whiskers_stand_where_the_numbers_are():
    rows = table((0.99, 0.6, 0.47, 0.3), (0.98, 0.9, 0.88, 0.7))
    axes = plots.accuracy_bars(rows).axes[0]
    bars, others = [c for c in axes.containers if hasattr(c, "patches")]
    for own, model in ((bars, "standard"), (others, "adversarial")):
        expected = [r for r in rows if r["model"] == model]
        np.testing.assert_allclose([p.get_height() for p in own], [r["accuracy"] for r in expected])
        whiskers = own.errorbar.lines[2][0].get_segments()
        ends = [[r["low"], r["high"]] for r in expected]
        np.testing.assert_allclose([segment[:, 1] for segment in whiskers], ends)
        middles = [p.get_x() + p.get_width() / 2 for p in own]
        np.testing.assert_allclose([segment[0, 0] for segment in whiskers], middles)
    assert [t.get_text() for t in axes.texts][:2] == ["99.0%", "60.0%"]


def test_the_majority_class_is_a_line_across_the_bars():
    rows = [*table((0.9,) * 4, (0.8,) * 4), majority(Y.astype(int))]
    axes = plots.accuracy_bars(rows).axes[0]
    assert len(axes.patches) == 8 and len(axes.get_xticklabels()) == 4
    (line,) = [line for line in axes.lines if "majority" in line.get_label()]
    assert list(line.get_ydata()) == [0.51, 0.51]


def test_curves_that_coincide_are_told_apart():
    rows = [{"model": m, "eps": e, "n": 9, "accuracy": 0.5, "low": 0.2, "high": 0.8}
            for m in ("standard", "adversarial") for e in (0, 0.3)]  # fmt: skip
    one, two = plots.accuracy_curve(rows).axes[0].lines
    assert one.get_linestyle() != two.get_linestyle() and one.get_marker() != two.get_marker()
    assert two.get_label() == "adversarial (the same as standard)"
    log = [{"step": s, "clean_loss": 0.7, "adv_loss": 0.7} for s in (1, 2)]
    labels = [x.get_label() for x in plots.training_curves({"adversarial": log}).axes[0].lines]
    assert labels[1].endswith("adversarial loss (the same as adversarial model, clean loss)")
    rows[3]["accuracy"] = 0.4
    assert plots.accuracy_curve(rows).axes[0].lines[1].get_label() == "adversarial"


def test_whiskers_at_the_ends_survive_rounding():
    for n in (1, 3, 7, 49, 500, 1821):
        for hits in (0, n):
            low, high = wilson(hits, n)
            noisy = row("standard", "PGD", hits / n) | {"low": low + 1e-16, "high": high - 1e-16}
            plots.accuracy_bars([noisy])


def test_the_same_thing_has_the_same_colour_everywhere():
    run = make_run()
    bars = plots.accuracy_bars(run["table"]).axes[0].containers
    bars = [c for c in bars if hasattr(c, "patches")]
    curves = plots.accuracy_curve(run["curve"]).axes[0].lines
    losses = plots.training_curves(run["training"]).axes[0].lines
    for k, model in enumerate(("standard", "adversarial")):
        colour = plots.COLOURS[model].lower()
        assert to_hex(bars[k][0].get_facecolor()) == to_hex(curves[k].get_color()) == colour
        of_model = [line for line in losses if line.get_label().startswith(model)]
        assert {to_hex(line.get_color()) for line in of_model} == {colour}
    assert len(losses) == 3  # plain training has no adversarial loss
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)


def test_curve_begins_at_clean_and_is_sorted():
    rows = make_run()["curve"][::-1]
    axes = plots.accuracy_curve(rows).axes[0]
    for line in axes.lines:
        np.testing.assert_allclose(line.get_xdata(), [0, 0.3])
        np.testing.assert_allclose(line.get_ydata(), [0.9, 0.6])
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(0.5) and band.max() == pytest.approx(0.95)


def test_tables_of_robustness_need_no_model_and_may_repeat_an_attack():
    rows = table((0.99, 0.6, 0.47), (0.98, 0.9, 0.88), ("none", "PGD", "PGD"))[:3]
    rows[2]["threat model"] = "PGD(eps=0.5, steps=3)"
    figure = plots.accuracy_bars(pd.DataFrame(rows).drop(columns="model"))
    assert [p.get_height() for p in figure.axes[0].patches] == [0.99, 0.6, 0.47]
    colours = [to_hex(p.get_facecolor()).upper() for p in figure.axes[0].patches]
    assert colours == [plots.COLOURS[name] for name in ("clean", "pgd", "pgd")]
    ticks = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert ticks[0] == "no attack" and "eps=0.3" in ticks[1] and "eps=0.5" in ticks[2]


def test_nothing_global_is_left_behind():
    code = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from advlib import plots
with plots.style():
    assert matplotlib.rcParams["axes.grid"]
    fig, axes = plots.figure()
axes.plot([1, 2])
png, size = fig._repr_png_()
assert png.startswith(b"\\x89PNG") and size == {"width": 512, "height": 288}
assert fig.svg() == fig.svg()
assert matplotlib.rcParams.copy() == before
assert "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_style_is_undone_after_an_error():
    before = matplotlib.rcParams.copy()
    with pytest.raises(ZeroDivisionError), plots.style():
        raise ZeroDivisionError
    assert matplotlib.rcParams.copy() == before


def test_an_attack_on_fewer_texts_says_so(tmp_path):
    run = make_run()
    run["table"][-1]["n"] = 100
    page = write_report(tmp_path, run).read_text("utf-8")
    assert page.count(" on 100 texts</td>") == 1
    assert " on 500 texts</td>" not in page
