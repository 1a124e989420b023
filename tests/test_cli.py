"""The command line as a user meets it: `advlib run` at a small size, and bad input."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from advlib.cli import app

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
    from advlib.experiment import alone

    with alone(finished[0]):
        code, output = call(*RUN, "--out", finished[0])
    assert code == 1 and "another process is at work" in output
    code, output = call(*RUN, "--no-curve", "--out", finished[0])  # the lock went with its holder
    assert code == 0 and "found in" in output


def test_what_was_attacked_is_not_attacked_again(finished, monkeypatch):
    from advlib import experiment

    def never(*arguments, **named):
        raise AssertionError("attacked again")

    monkeypatch.setattr(experiment, "attack_all", never)
    code, output = call("run", "--resume", finished[0])
    assert code == 0, output
    assert "found in" in output and (finished[0] / "report.html").is_file()


def test_ctrl_c_in_the_curve_leaves_a_report_and_says_how_to_go_on(finished, tmp_path, monkeypatch):
    import shutil

    from advlib import experiment

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
        assert code == 1 and "training.json is damaged" in output and "remove" in output


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


@pytest.fixture
def tiny_protocol(monkeypatch):
    from advlib.attacks import FGM, WordSubstitution
    from advlib.protocol import PROTOCOLS, Protocol

    attacks = (FGM(0.3), WordSubstitution())
    monkeypatch.setitem(PROTOCOLS, "tiny", Protocol("tiny", 1, attacks, n=9, calibration=20))


def test_evaluate_prints_a_table_and_fills_a_leaderboard(tiny_protocol, tmp_path):
    from advlib.protocol import LEADERBOARD, verify

    for times in (1, 2):
        code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--out", tmp_path)
        assert code == 0, output
        for words in ("protocol tiny (version 1)", "FGM", "WordSubstitution", "worst case"):
            assert words in output
        assert ("one row more" if times == 1 else "the row was there") in output
    card = json.loads((tmp_path / "card.json").read_text())
    assert verify(card) and card["digest"] in output
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--n", "4",
                        "--out", tmp_path)  # fmt: skip
    assert code == 0 and "protocol tiny, n = 4 (version 1)" in output
    lines = (tmp_path / "leaderboard.md").read_text()
    assert lines.startswith(LEADERBOARD) and len(lines.splitlines()) == 4


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
    code, output = call("evaluate", "reviews-clean", "--protocol", "tiny", "--data", other,
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
    import advlib.runtime as runtime

    real = runtime._version
    monkeypatch.setattr(runtime, "_version", lambda n: None if n == "tqdm" else
                        "1.0" if n == "pandas" else real(n))  # fmt: skip
    code, output = call("doctor")
    assert code == 1
    assert "! tqdm is missing: pip install 'tqdm" in output
    assert "! pandas 1.0 is outside" in output


def test_help_reads_well():
    for command in ([], ["run"], ["attack"], ["evaluate"], ["doctor"]):
        code, output = call(*command, "--help")
        assert code == 0 and "Usage" in output and len(output.splitlines()) > 4


def test_importing_advlib_does_not_import_torch():
    code = "import advlib, sys; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ).returncode == 0
