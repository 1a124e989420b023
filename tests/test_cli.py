"""The command line as a user meets it: `advlib run` at a small size, and bad input."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from advlib.app.cli import app

RUN = ["run", "--train-size", "40", "--test-size", "12", "--epochs", "1", "--steps", "1"]


def call(*arguments):
    found = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return found.exit_code, found.output


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    code, output = call(*RUN, "--out", folder)
    assert code == 0, output
    return folder, output


def test_run_prints_one_table_and_keeps_report_and_models(finished):
    folder, output = finished
    assert "40 texts to train on, 12 to test on, classes: negative, positive" in output
    assert "! 12 test texts can show little" in output
    for name in ("no attack", "Noise", "FGM", "PGD", "WordSubstitution", "standard", "adversarial"):
        assert name in output
    found = json.loads((folder / "report.json").read_text())
    assert len(found["table"]) == 10 and {row["n"] for row in found["table"]} == {12}
    assert (folder / "report.html").stat().st_size > 10_000
    assert found["cost"]["adversarial"]["backward"] > found["cost"]["standard"]["backward"]
    assert not (folder / "standard" / "checkpoints").exists()


def test_the_saved_models_are_plain_hugging_face(finished):
    from transformers import pipeline

    import advlib

    for model in ("standard", "adversarial"):
        folder = str(finished[0] / model)
        victim = advlib.load_classifier(folder, device="cpu")
        text = "The soup was tasty."
        found = pipeline("text-classification", folder, device="cpu")(text)[0]
        p = victim.predict([text])[0]
        assert found["label"] == victim.labels[p.argmax()]
        assert found["score"] == pytest.approx(p.max(), abs=1e-4)


def test_an_interrupted_run_goes_on(finished, tmp_path):
    """Half of the run is there: it is loaded, not trained again, and the numbers are the same."""
    import shutil

    folder = tmp_path / "half"
    shutil.copytree(finished[0], folder)
    shutil.rmtree(folder / "adversarial")
    code, output = call("run", "--resume", folder)
    assert code == 0 and "found in" in output
    old, new = (json.loads((f / "report.json").read_text()) for f in (finished[0], folder))
    pairs = zip(old["table"], new["table"], strict=True)
    assert all(a["accuracy"] == b["accuracy"] for a, b in pairs)


def test_a_run_on_a_file_with_names_for_labels(tmp_path):
    rows = [f"the food was {w}\t{y}" for w, y in [("good", "up"), ("bad", "down")] * 20]
    file = tmp_path / "mine.tsv"
    file.write_text("text\tsentiment\n" + "\n".join(f"{i} {r}" for i, r in enumerate(rows)) + "\n")
    code, output = call(
        "run", "--data", file, "--epochs", "1", "--steps", "1", "--out", tmp_path / "out"
    )
    assert code == 0, output
    assert "classes: down, up" in output and "WordSubstitution" not in output
    assert "EmbeddingNeighbours" in output and "Typos" in output and "name an encoder" in output
    assert json.loads((tmp_path / "out" / "report.json").read_text())["examples_kind"] == "tokens"


def test_a_folder_of_other_options_is_not_gone_on_with(finished):
    """Its models would be reported under the new options."""
    before = (finished[0] / "options.json").read_text()
    code, output = call(*RUN, "--eps", "0.1", "--seed", "7", "--out", finished[0])
    assert code != 0 and "eps None, not 0.1; seed 0, not 7" in output and "--out" in output
    assert (finished[0] / "options.json").read_text() == before
    code, output = call("run", "--resume", finished[0], "--eps", "0.1")
    assert code != 0 and "leave out the others" in output


def test_a_file_with_other_content_is_noticed(tmp_path):
    """The old models would be shown as those of the new texts."""
    file, rows = tmp_path / "mine.csv", [f"{i} it was {w},{w}" for w in ("good", "bad")
                                         for i in range(15)]  # fmt: skip
    for k, words in enumerate(("it was", "it felt")):
        file.write_text("text,label\n" + "\n".join(rows).replace("it was", words) + "\n")
        code, output = call("run", "--data", file, "--epochs", "1", "--no-curve", "--out",
                            tmp_path / "out")  # fmt: skip
        assert (code, "made from other texts" in output) == (k, bool(k)), output


def test_two_runs_do_not_share_a_folder(finished):
    from advlib.app.experiment import alone

    with alone(finished[0]):
        code, output = call(*RUN, "--out", finished[0])
    assert code == 1 and "another process is at work" in output
    assert not (finished[0] / ".lock").exists()
    code, output = call(*RUN, "--data", "nowhere.csv", "--out", finished[0] / "new")
    assert code == 1 and not (finished[0] / "new").exists()  # refused: nothing is left
    code, output = call(*RUN, "--no-curve", "--out", finished[0])  # the lock went with its holder
    assert code == 0 and "found in" in output


def test_what_was_attacked_is_not_attacked_again(finished, monkeypatch):
    from advlib.app import experiment

    def never(*arguments, **named):
        raise AssertionError("attacked again")

    monkeypatch.setattr(experiment, "attack_all", never)
    code, output = call("run", "--resume", finished[0])
    assert code == 0, output
    assert "found in" in output and (finished[0] / "report.html").is_file()


def test_ctrl_c_in_the_curve_leaves_a_report_and_says_how_to_go_on(finished, tmp_path, monkeypatch):
    import shutil

    from advlib.app import experiment

    folder, attack, seen = tmp_path / "one", experiment.attack_all, []
    shutil.copytree(finished[0], folder)
    whole = json.loads((folder / "report.json").read_text())["curve"]
    for file in (folder / "outcomes").glob("*.json"):
        if "PGD(eps=0.15" in file.read_text():  # the third of seven points, of both models
            file.unlink()

    def interrupted(*arguments, **named):
        seen.append(arguments)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return attack(*arguments, **named)

    monkeypatch.setattr(experiment, "attack_all", interrupted)
    code, output = call("run", "--resume", folder)
    assert code == 0 and f"advlib run --resume {folder}" in output
    assert len(json.loads((folder / "report.json").read_text())["curve"]) == 7 + 2
    monkeypatch.setattr(experiment, "attack_all", attack)
    code, output = call("run", "--resume", folder)
    assert code == 0 and json.loads((folder / "report.json").read_text())["curve"] == whole


def test_a_damaged_record_is_one_sentence(finished, tmp_path):
    import shutil

    folder = tmp_path / "one"
    shutil.copytree(finished[0], folder)
    for content in ('{"log": [', "[]", '{"log": []}'):
        (folder / "standard" / "training.json").write_text(content)
        code, output = call("run", "--resume", folder)
        assert code == 1 and "training.json is damaged" in output and "delete it" in output


def test_options_that_another_version_wrote(tmp_path):
    for content in ("{", '{"radius": 1}'):
        (tmp_path / "options.json").write_text(content)
        code, output = call("run", "--resume", tmp_path)
        assert code != 0 and "options.json" in output and "--out" in output


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["--epochs", "0"], "--epochs must be above 0"),
        (["--epochs", "-1"], "--epochs must be above 0"),
        (["--learning-rate", "nan"], "--learning-rate must be above 0"),
        (["--eps", "-1"], "--eps must be above 0"),
        (["--eps", "nan"], "--eps must be above 0"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--precision", "fp16"], "needs a GPU"),
        (["--objective", "clean"], "nothing to compare"),
        (["--eps", "50"], "exceeds the embeddings themselves"),
        (["--steps", "0"], "at least 1"),
        (["--lam", "-1"], "lam"),
        (["--data", "nowhere.csv"], "nowhere.csv"),
        (["--model", "./nowhere"], "no model folder"),
        (["--resume", "nowhere"], "no run to go on with"),
        (["--out", "/proc/none"], "--out"),
    ],
)
def test_bad_input_is_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = call(*RUN, *arguments)
    assert code != 0 and words in output
    assert "Traceback" not in output


def test_a_full_disk_is_noticed_before_training(tmp_path, monkeypatch):
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")(10**9, 10**9, 10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    code, output = call(*RUN, "--out", tmp_path / "out")
    assert code != 0 and "are free" in output and "--out" in output


def test_attack_shows_words_and_embeddings():
    code, output = call("attack", "The soup was tasty, and the waiter was friendly.")
    assert code == 0
    assert "->" in output and "queries" in output and "pgd" in output
    code, output = call("attack", " ")
    assert code != 0 and "the text is empty" in output
    code, output = call("attack", "The soup was tasty.", "--eps", "-1")
    assert code != 0 and "->" not in output, "refused before anything is shown"
    code, output = call("attack", "zzz")
    assert code == 0 and "no word of this text has known substitutes" in output
    assert "0 words changed, 1 query:" in output


def test_attack_counts_one_word_as_one_and_knows_its_world():
    code, output = call("attack", "The soup was tasty, and the waiter was friendly.")
    assert code == 0 and "1 word changed" in output and "says little" not in output
    code, output = call("attack", "a treaty with the parliament was ratified in november")
    assert code == 0 and "WordSubstitution knows the words of the world 'reviews' alone" in output
    assert "6 of the 9 words here: the text is of another kind" in output


# ---------------------------------------------------------------------- attack a file

ODD = [
    ('The soup was tasty, and the "waiter" was friendly.', "positive"),
    ("=1+1 The soup was awful.", "negative"),
    ("The room was dirty;\nthe staff was rude.", "negative"),
    ("", "positive"),
    ("@The soup was tasty.", ""),
    ("  The phone was slow.  ", "negative"),
    ("-The café was \u2018great\u2019.\r", "positive"),
]


@pytest.fixture
def odd(tmp_path):
    import csv

    file = tmp_path / "odd.csv"
    with open(file, "w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("text", "label"), *ODD])
    return file


def table_of(file):
    import csv

    with open(file, newline="", encoding="utf-8") as opened:
        return list(csv.DictReader(opened))


def test_attack_a_file_keeps_every_row_and_every_character(odd, tmp_path):
    import advlib
    from advlib.app.recipes import for_text
    from advlib.evaluation import wilson

    out = tmp_path / "deep" / "out.csv"
    code, output = call("attack", "--data", odd, "--attack", "typos", "--out", out)
    assert code == 0, output
    rows = table_of(out)
    assert list(rows[0]) == ["original", "attacked", "label", "before", "after", "success",
                             "changed", "queries"]  # fmt: skip
    assert [(r["original"], r["label"]) for r in rows] == ODD
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    whole = [(text, y) for text, y in ODD if text and y]
    labels = [victim.labels.index(y) for _, y in whole]
    results = iter(for_text()[1](victim, [text for text, _ in whole], labels))
    hits = stood = 0
    for row in rows:
        if not row["original"] or not row["label"]:
            assert row["attacked"] == row["original"] and row["queries"] == "0"
            assert row["before"] == row["after"] == row["success"] == row["changed"] == ""
            continue
        r = next(results)
        assert (row["original"], row["attacked"]) == (r.original, r.text)
        assert (row["success"], row["queries"]) == (str(r.success), str(r.queries))
        assert len(row["changed"].split("; ")) == max(1, len(r.changed))
        for pair in filter(None, row["changed"].split("; ")):
            old, new = pair.split(" -> ")
            assert old in r.original and new in r.text and old != new
        for name, text in (("before", r.original), ("after", r.text)):
            assert row[name] == victim.labels[victim.predict([text])[0].argmax()]
        hits += row["before"] == row["label"]
        stood += row["before"] == row["label"] == row["after"]
    for name, k in (("before", hits), ("after ", stood)):
        low, high = wilson(k, len(whole))
        assert f"accuracy {name} {k / len(whole):6.1%} [{low:.1%}, {high:.1%}]" in output
    assert 0 < stood < hits
    assert "2 rows without text or label" in output and "7 rows; 95 % Wilson" in output
    assert repr(for_text()[1]) in output and "meaning unchecked" not in output


def test_attack_a_file_overwrites_nothing_and_leaves_nothing_behind(odd, tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("kept")
    code, output = call("attack", "--data", odd, "--attack", "Typos", "--out", out)
    assert code != 0 and "and it stays" in output and out.read_text() == "kept"
    code, output = call("attack", "--data", odd, "--attack", "Typos", "--out", odd)
    assert code != 0 and [tuple(row.values()) for row in table_of(odd)] == ODD
    code, output = call("attack", "--data", odd, "--attack", "Typos", "--out", tmp_path / "new.csv",
                        "--model", "./nowhere")  # fmt: skip
    assert code != 0 and not (tmp_path / "new.csv").exists()


def test_attack_the_first_rows_with_a_thesaurus_of_another_kind(odd, tmp_path):
    groups = tmp_path / "ships.txt"
    groups.write_text("anchor, grapnel\n")
    out = tmp_path / "out.csv"
    code, output = call("attack", "--data", odd, "--attack", "PWWS", "--thesaurus", groups,
                        "--n", "2", "--out", out)  # fmt: skip
    assert code == 0, output
    assert len(table_of(out)) == 2 and "PWWS(thesaurus='ships.txt'" in output
    assert "meaning unchecked" in output
    assert "PWWS knows the words of this thesaurus alone, 0 of the 15 words here" in output
    groups.write_text("soup, broth\nwas, felt\ntasty, nice\n")
    code, output = call("attack", "--data", odd, "--attack", "PWWS", "--thesaurus", groups,
                        "--n", "2", "--out", tmp_path / "two.csv")  # fmt: skip
    assert code == 0 and "says little" not in output


@pytest.mark.parametrize(
    "names, words",
    [
        (("1", "0"), "taken for the model's classes: '0' for 'negative', '1' for 'positive'"),
        (("yes", "no"), "taken for the model's classes: 'no' for 'negative', 'yes' for 'positive'"),
        (("Positive", "NEGATIVE"), None),
    ],
)
def test_labels_of_the_file_find_the_model_s_classes(names, words, tmp_path):
    good, bad = names
    file = tmp_path / "d.csv"
    file.write_text(f"text,label\nThe soup was tasty.,{good}\nThe soup was awful.,{bad}\n")
    out = tmp_path / "out.csv"
    code, output = call("attack", "--data", file, "--attack", "DeepWordBug", "--out", out)
    assert code == 0, output
    assert (words in output) if words else ("taken for" not in output)
    assert [r["before"] for r in table_of(out)] == ["positive", "negative"]
    assert "accuracy before 100.0%" in output


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "give one text to attack, or a file of them with --data"),
        (["a text", "--data", "x.csv"], "give one text to attack, or a file"),
        (["--data", "x.csv"], "say which attack with --attack: one of A2T, DeepWordBug"),
        (["--data", "x.csv", "--attack", "Fooler"], "no word attack 'Fooler': one of A2T"),
        (["--data", "x.csv", "--attack", "Typos"], "there is no file x.csv"),
        (["--data", "odd.csv", "--attack", "TextFooler"], "TextFooler needs word vectors"),
        (["--data", "odd.csv", "--attack", "A2T", "--vectors", "v"], "there is no file v"),
        (["--data", "odd.csv", "--attack", "PWWS"], "PWWS needs synonyms"),
        (["--data", "odd.csv", "--attack", "Typos", "--thesaurus", "t"], "Typos has no thesaurus"),
        (["--data", "odd.csv", "--attack", "Typos", "--label", "mood"], "no column 'mood'"),
        (["--data", "three.csv", "--attack", "Typos"], "the labels of the data are a, b, c"),
        (["--data", "blank.csv", "--attack", "Typos"], "no row with both a text and a label"),
        (["--data", "odd.csv", "--attack", "Typos", "--out", "/proc/none/a.csv"], "--out"),
    ],
)
def test_attack_refuses_in_one_sentence(arguments, words, odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "three.csv").write_text("text,label\nx y,a\nx z,b\nz y,c\n")
    (tmp_path / "blank.csv").write_text("text,label\nx y,\n,b\n")
    code, output = call("attack", *arguments)
    assert code != 0 and words in output and "Traceback" not in output
    assert not (tmp_path / "attacked.csv").exists()


@pytest.fixture
def tiny_protocol(monkeypatch):
    from advlib.app.protocol import PROTOCOLS, Protocol
    from advlib.attacks import FGM, WordSubstitution

    attacks = (FGM(0.3), WordSubstitution())
    monkeypatch.setitem(PROTOCOLS, "tiny", Protocol("tiny", 1, attacks, n=9, calibration=20))


def test_evaluate_prints_a_table_and_fills_a_leaderboard(tiny_protocol, tmp_path):
    from advlib.app.protocol import LEADERBOARD, verify

    for times in (1, 2):
        code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--out", tmp_path)
        assert code == 0, output
        for words in ("protocol tiny (version 1)", "FGM", "WordSubstitution", "worst case"):
            assert words in output
        assert ("one row more" if times == 1 else "the row was there") in output
    card = json.loads((tmp_path / "card.json").read_text())
    assert verify(card) and card["digest"] in output
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--eps", "0.1",
                        "--out", tmp_path)  # fmt: skip
    assert code != 0 and "fixes eps" in output
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--n", "4",
                        "--out", tmp_path)  # fmt: skip
    assert code == 0 and "protocol tiny, n = 4 (version 1)" in output
    lines = (tmp_path / "leaderboard.md").read_text()
    assert lines.startswith(LEADERBOARD) and len(lines.splitlines()) == 4


def test_evaluate_certifies_and_the_digest_stays(tiny_protocol, tmp_path):
    from advlib.app.protocol import verify

    cards = []
    for more in ([], ["--certify"]):
        code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--out", tmp_path,
                            *more)  # fmt: skip
        assert code == 0, output
        cards.append(json.loads((tmp_path / "card.json").read_text()))
    plain, proved = cards
    assert "certified" not in plain and plain["digest"] == proved["digest"] and verify(proved)
    assert "the row was there" in output
    found = {row["method"]: row for row in proved["certified"]}
    assert list(found) == ["ExactWorst", "Canonical", "SmoothedWords"]
    assert all(f"{row['certified']:.1%} [" in output for row in found.values())
    assert found["ExactWorst"]["n"] <= found["Canonical"]["n"] == 9
    assert found["SmoothedWords"]["radius"] is None
    rows = "\n".join(f"a {w} story {i},{y}" for i in range(20) for w, y in
                     (("bad", "negative"), ("good", "positive")))  # fmt: skip
    (tmp_path / "mine.csv").write_text("text,label\n" + rows + "\n")
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--certify", "--data",
                        tmp_path / "mine.csv", "--n", "2", "--out", tmp_path / "out")  # fmt: skip
    assert code == 0 and "SmoothedEmbeddings" in output, output
    (row,) = json.loads((tmp_path / "out" / "card.json").read_text())["certified"]
    assert 0 < row["radius"] < 0.17 and row["n"] == 2


def test_evaluate_says_what_it_leaves_out(tiny_protocol, tmp_path):
    rows = [f"the food was {w} {i},{y}" for i in range(15) for w, y in
            (("bad", "negative"), ("good", "positive"))]  # fmt: skip
    file = tmp_path / "mine.csv"
    file.write_text("\n".join(["words,mood", *rows]) + "\n")
    columns = ("--text", "words", "--label", "mood")
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--data", file, *columns,
                        "--out", tmp_path / "out")  # fmt: skip
    assert code == 0, output
    assert "left out: WordSubstitution(" in output and "tiny, n = 6" in output
    assert "taken for" not in output  # the names are the model's
    other = tmp_path / "other.csv"
    renamed = file.read_text().replace("positive", "good one").replace("negative", "bad one")
    other.write_text(renamed)
    again = tmp_path / "again.csv"
    again.write_text(renamed.replace("food", "soup"))
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--data", again,
                        "--test", other, *columns, "--out", tmp_path / "other")  # fmt: skip
    assert code == 0 and "'bad one' for 'negative', 'good one' for 'positive'" in output, output
    card = json.loads((tmp_path / "other" / "card.json").read_text())
    assert card["classes"]["bad one"] == "negative"
    assert card["data"]["n"] == 9 and card["data"]["name"] == "other.csv"


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["reviews-clean", "--protocol", "gold"], "no protocol 'gold'"),
        (["./nowhere"], "no model folder"),
        (["bert-tiny"], "no trained classification head"),
        (["reviews-clean", "--data", "nowhere.csv"], "nowhere.csv"),
        (["reviews-clean", "--n", "0"], "--n"),
        (["reviews-clean", "--out", "/proc/none"], "--out"),
    ],
)
def test_evaluate_refuses_in_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, output = call("evaluate", *arguments)
    assert code != 0 and words in output
    assert "Traceback" not in output


def test_doctor_says_what_is_there():
    code, output = call("doctor")
    assert code == 0, output
    for name in ("torch", "transformers", "device", "checkpoint reviews-clean: ok"):
        assert name in output


def test_doctor_names_the_command_that_mends(monkeypatch):
    import advlib.app.doctor as runtime

    real = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda n: None if n == "tqdm" else
                        "1.0" if n == "pandas" else real(n))  # fmt: skip
    code, output = call("doctor")
    assert code == 1
    assert "! tqdm is missing: pip install 'tqdm" in output
    assert "! pandas 1.0 is outside" in output


def test_doctor_where_advlib_is_not_installed(monkeypatch):
    import advlib.app.doctor as runtime

    def missing(name):
        raise runtime.PackageNotFoundError(name)

    monkeypatch.setattr(runtime, "version", missing)
    monkeypatch.setattr(runtime, "requires", missing)
    code, output = call("doctor")
    assert code == 1 and "! advlib is not installed: pip install -e ." in output


def test_help_reads_well():
    for command in ([], ["run"], ["attack"], ["evaluate"], ["doctor"]):
        code, output = call(*command, "--help")
        assert code == 0 and "Usage" in output and len(output.splitlines()) > 4


def test_importing_advlib_does_not_import_torch():
    code = "import advlib, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0


def test_a_run_that_learned_nothing_says_so_first(finished):
    """40 texts and one epoch: chance, which no attack can lower much."""
    folder, output = finished
    said = [line for line in output.splitlines() if line.startswith("! The ")]
    assert said and all("than one answer" in line or "has collapsed" in line for line in said)
    report = json.loads((folder / "report.json").read_text())
    assert any(report["warnings"].values()) and report["majority"]["accuracy"] >= 0.5
    assert "neither is called better" in output
    page = (folder / "report.html").read_text()
    assert page.index("than one answer") < page.index("Accuracy, clean and under attack")
    assert report["recipe"]["adversarial: epochs"] == 1 and report["recipe"]["eps"] == 0.3


def test_evaluate_says_that_a_model_collapsed(tiny_protocol, tmp_path):
    import torch

    import advlib

    victim = advlib.load_classifier("reviews-clean", device="cpu")
    with torch.no_grad():
        victim.model.classifier.weight.mul_(1e-3)
        victim.model.classifier.bias.copy_(torch.tensor([2.0, 0.0]))
    victim.save(tmp_path / "constant")
    code, output = call("evaluate", tmp_path / "constant", "--protocol", "tiny", "--n", "30",
                        "--out", tmp_path / "out")  # fmt: skip
    assert code == 0 and "! Collapsed: 30 of 30 answers are “negative”" in output, output
    assert "majority class" in output and "macro-F1" in output
    assert "collapsed" in (tmp_path / "out" / "leaderboard.md").read_text()


def test_a_run_on_sentence_pairs(tmp_path):
    rows = [f"the room {i} was cold,it was {w},{y}" for i in range(15)
            for w, y in (("good", "yes"), ("bad", "no"))]  # fmt: skip
    file = tmp_path / "pairs.csv"
    file.write_text("\n".join(["premise,hypothesis,gold", *rows]) + "\n")
    code, output = call("run", "--data", file, "--text", "premise,hypothesis", "--label", "gold",
                        "--epochs", "1", "--no-curve", "--out", tmp_path / "out")  # fmt: skip
    assert code == 0, output
    assert "columns: text from 'premise,hypothesis', label from 'gold'" in output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {row["attack"] for row in report["table"]} >= {"FGM", "PGD", "Typos"}
    code, output = call("attack", "--data", file, "--text", "premise,hypothesis", "--label", "gold",
                        "--model", tmp_path / "out" / "standard", "--attack", "DeepWordBug",
                        "--n", "4", "--out", tmp_path / "attacked.csv")  # fmt: skip
    assert code == 0 and "‖ it was good" in (tmp_path / "attacked.csv").read_text(), output


def test_the_sentences_of_the_help_are_whole():
    found = CliRunner().invoke(app, ["--help"]).output.split("Commands")[1]
    assert "..." not in found and "…" not in found


def test_changed_words_are_coloured_on_a_terminal_alone(monkeypatch):
    from advlib.app import cli

    text = "a [good -> fine] film"
    assert cli._coloured(text) == text
    monkeypatch.setattr(cli.sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in cli._coloured(text) and cli._coloured(text).endswith(" film")
    monkeypatch.setenv("NO_COLOR", "1")
    assert cli._coloured(text) == text
