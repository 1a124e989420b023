"""examples/train.py leaves a plain model, trained whole or by adapters, and can be called again."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer

import advlib

FILE = Path(__file__).parent.parent / "examples" / "train.py"
FEW = dict(model="reviews-clean", epochs=1, batch_size=16, learning_rate=1e-3, save_steps=2)


@pytest.fixture
def texts(tmp_path):
    """Few texts of the world, as files: its own validation split would take long."""
    world = advlib.load_text("reviews", train_size=40, test_size=12)
    files = {"data": "train", "test": "test"}
    for split in files.values():
        rows = world[split].select_columns(["text", "label"])
        names = rows.features["label"].int2str(rows["label"])
        pd.DataFrame({"text": rows["text"], "label": names}).to_csv(tmp_path / f"{split}.csv")
    return {name: str(tmp_path / f"{split}.csv") for name, split in files.items()}


@pytest.fixture
def example():
    spec = importlib.util.spec_from_file_location("train", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "settings",
    [dict(), dict(lora=4), dict(lora=4, precision="bf16", checkpointing=True)],
    ids=["whole", "adapters", "adapters in bf16"],
)
def test_leaves_a_plain_model_that_predicts_as_it_did(
    example, texts, tmp_path, monkeypatch, settings
):
    if settings:
        pytest.importorskip("peft")
    asked, seen, measure = [], [], advlib.robustness

    def watched(victim, data, attacks):
        asked[:] = data["text"]
        seen.append(victim.logits(asked))
        return measure(victim, data, attacks[:2])

    monkeypatch.setattr(advlib, "robustness", watched)
    folder = tmp_path / "model"
    for _ in range(2):  # the second time there is nothing left to do
        example.main(**FEW, **texts, **settings, out=folder)
    np.testing.assert_allclose(seen[1], seen[0], atol=1e-4)
    victim = advlib.load_classifier(folder, device="cpu")
    before = advlib.load_classifier("reviews-clean", device="cpu").model.state_dict()
    after = victim.model.state_dict()
    assert before.keys() == after.keys()
    assert {value.dtype for value in after.values()} == {torch.float32}
    matrices = {name for name in after if "encoder" in name and "dense.weight" in name}
    assert matrices and not any(torch.equal(before[name], after[name]) for name in matrices)
    logits = victim.logits(asked)
    np.testing.assert_allclose(logits, seen[0], atol=1e-4)
    labels = pd.read_csv(texts["test"]).set_index("text")["label"]
    right = np.mean(labels[asked] == [victim.labels[k] for k in logits.argmax(1)])
    record = json.loads((folder / "evaluation.json").read_text())
    assert right == pytest.approx(record["rows"][0]["accuracy"]) and right > 0.8


def test_a_folder_of_other_settings_is_refused(example, texts, tmp_path):
    """Its checkpoints would be gone on with, and shown under the wrong name."""
    (tmp_path / "model" / "checkpoints").mkdir(parents=True)
    kept = {"eps": 0.1, "seed": 3}
    (tmp_path / "model" / "options.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"seed 3, not 0.*--out"):
        example.main(**FEW, **texts, out=tmp_path / "model")
    assert json.loads((tmp_path / "model" / "options.json").read_text()) == kept


@pytest.mark.parametrize("wrong", [dict(epochs=0), dict(learning_rate=-1), dict(eps=float("nan"))])
def test_training_that_would_do_nothing_is_refused(example, tmp_path, wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        example.main(**{**FEW, **wrong}, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_cannot_work_is_one_sentence(tmp_path):
    command = [sys.executable, str(FILE), "--data", "nowhere.csv", "--out", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 1 and "Traceback" not in found.stderr
    assert found.stderr.strip().splitlines()[-1].startswith("advlib: there is no file nowhere.csv")


def test_adapters_under_fsdp_are_refused_before_anything_is_loaded(example, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(typer.BadParameter, match="not with FSDP"):
        example.main(**FEW, lora=4, out=tmp_path)
