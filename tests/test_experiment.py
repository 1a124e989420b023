"""`advlib run` on texts that the project did not make: it measures an ε, and its defaults learn."""

import json

import numpy as np
import pytest
import torch
from conftest import LABELS, TEXTS, make_classifier
from datasets import Dataset
from typer.testing import CliRunner

import advlib
from advlib import finetuning
from advlib.app import experiment
from advlib.app.cli import app
from advlib.app.experiment import propose_eps
from advlib.attacks import FGM, PGD

MANY = Dataset.from_dict({"text": [f"{t} {w}" for t in TEXTS for w in ("slow", "warm", "plot")],
                          "label": [y for y in LABELS for _ in range(3)]})  # fmt: skip


def own_labels(victim):
    """The texts with the labels that the model gives them, so that it is right on all."""
    return Dataset.from_dict({"text": MANY["text"],
                              "label": victim.logits(MANY["text"]).argmax(1).tolist()})  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_at_the_proposed_eps_pgd_takes_half(seed):
    victim = make_classifier("bert", seed=seed)
    data = own_labels(victim)
    eps, share, n = propose_eps(victim, data)
    table = advlib.robustness(victim, data, [PGD(eps, steps=5)])
    assert 1 / 3 <= share <= 2 / 3 and n == len(data)
    assert share == pytest.approx(table.success.iloc[-1])


def test_no_eps_is_proposed_for_a_model_that_nothing_moves():
    victim = make_classifier("bert")
    with torch.no_grad():
        victim.model.classifier.weight.mul_(1e-6)
        victim.model.classifier.bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="no ε can be proposed.*give --eps"):
        propose_eps(victim, own_labels(victim))
    wrong = own_labels(victim)
    wrong = Dataset.from_dict({"text": wrong["text"], "label": [1] * len(wrong)})
    with pytest.raises(ValueError, match="gets 0 right"):
        propose_eps(victim, wrong)


@pytest.fixture
def files(tmp_path):
    """800 short texts of a world as somebody's CSV files, which say nothing of the world."""
    world = advlib.load_text("reviews", train_size=2000, test_size=250)
    for split, n in {"train": 800, "test": 100}.items():
        rows = world[split].to_pandas().rename(columns={"text": "review"})
        rows = rows.sort_values("review", key=lambda t: t.str.len(), kind="stable")[:n]
        rows = rows.assign(mark=rows["label"].map({0: "bad", 1: "good"}))
        rows = rows.sample(frac=1, random_state=0)
        rows[["review", "mark"]].to_csv(tmp_path / f"{split}.csv", index=False)
    return ["--data", tmp_path / "train.csv", "--test", tmp_path / "test.csv", "--text", "review",
            "--label", "mark", "--model", "bert-tiny", "--learning-rate", "1e-3"]  # fmt: skip


def test_the_defaults_learn_on_a_strangers_data(files, tmp_path, monkeypatch):
    """The whole of docs/results/strangers-data.md in small. bert-tiny counts as an encoder of its
    own here; its rate is named, for it is the one setting that depends on the model's size."""
    monkeypatch.setattr(finetuning, "SMALL", 0)
    monkeypatch.setattr(experiment, "WORD_TEXTS", 20)
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "")  # set by the run, and restored after it
    called = ["run", *map(str, files), "--no-curve", "--report-to", "tensorboard",
              "--out", str(tmp_path / "out")]  # fmt: skip
    found = CliRunner().invoke(app, called, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    assert "No --eps was given" in found.output and "80 to choose the checkpoint by" in found.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    rows = {(r["model"], r["attack"]): r["accuracy"] for r in report["table"]}
    assert rows["standard", "none"] > 0.8  # the most frequent class has half of the texts
    assert rows["adversarial", "none"] > rows["standard", "none"] - 0.1
    assert rows["adversarial", "PGD"] > rows["standard", "PGD"] + 0.08
    assert ("adversarial", "Typos") in rows and ("adversarial", "EmbeddingNeighbours") in rows
    used = report["recipe"]
    assert used["adversarial: steps"] == 253 and "After(" in used["adversarial: minimised"]
    logs = {file.parent.name for file in tmp_path.glob("out/tensorboard/*/events*")}
    assert logs == {"standard", "adversarial"}, "the logs outlive the checkpoints"
    assert 0.01 < used["eps"] < 1 and "validation texts" in used["adversarial: checkpoint"]


def test_what_the_defaults_were_before_learns_nothing_there(files, tmp_path):
    """Three epochs of 720 texts, attacked from the first step on: the case that the recipe is for.
    The test above would pass in vain if this passed too."""
    data = advlib.load_text(files[1], text="review", label="mark", test=files[3])
    torch.manual_seed(0)
    victim = advlib.load_classifier("bert-tiny", labels=["bad", "good"], device="cpu")
    from advlib.objectives import Adversarial

    finetuning.finetune(victim, data["train"], Adversarial(FGM(0.3)), out=str(tmp_path / "old"),
                      epochs=3, after=0, disable_tqdm=True)  # fmt: skip
    right = victim.predict(list(data["test"]["text"])).argmax(1) == np.array(data["test"]["label"])
    assert right.mean() < 0.75
