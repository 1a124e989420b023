"""What people get wrong: one sentence that says what to do, before any work is lost."""

import json

import pytest
import torch
from conftest import SPECIAL, WORDS, make_classifier, make_config, make_tokenizer
from datasets import Dataset
from typer.testing import CliRunner

from advlib.app.cli import app
from advlib.app.experiment import read_training
from advlib.attacks import FGM, PGD, Divergence, Typos, VirtualAdversarial
from advlib.evaluation import attack_all, calibrate
from advlib.finetuning import finetune
from advlib.models import Classifier, ModelError, load_classifier, load_language_model
from advlib.objectives import VAT, Adversarial
from advlib.training import AdversarialTrainer


def few(labels):
    return Dataset.from_dict({"text": ["good film"] * len(labels), "label": labels})


# --- training -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attack, call",
    [
        (FGM(0.3), "Adversarial(FGM(0.3))"),
        (PGD(0.3, steps=3, part="first"), "Adversarial(PGD(0.3, part='first', steps=3))"),
        (Divergence(0.3), "TRADES(Divergence(0.3))"),
        (VirtualAdversarial(0.3), "VAT(VirtualAdversarial(0.3))"),
        (Typos(max_changed=0.2), "Words(Typos(max_changed=0.2), victim, data)"),
    ],
    ids=lambda x: x if isinstance(x, str) else type(x).__name__,
)
def test_an_attack_in_the_place_of_an_objective(bert, tmp_path, attack, call, monkeypatch):
    monkeypatch.setattr(Classifier, "tokens", None)  # before the texts are looked at
    with pytest.raises(ValueError) as caught:
        finetune(bert, few([0, 1]), attack, out=str(tmp_path))
    assert str(caught.value).endswith(f"write {call}") and "is an attack" in str(caught.value)
    with pytest.raises(ValueError, match="is an attack"):
        AdversarialTrainer(bert.model, None, objective=attack)


@pytest.mark.parametrize("kind", [FGM, Adversarial])
def test_a_class_in_the_place_of_an_objective(bert, tmp_path, kind):
    with pytest.raises(ValueError, match=rf"{kind.__name__} is a class: write {kind.__name__}\("):
        finetune(bert, few([0, 1]), kind, out=str(tmp_path))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_that_are_no_class_are_refused_before_training(bert, tmp_path, label):
    with pytest.raises(ValueError, match=f"0 to 2, but one is {label}: leave out"):
        finetune(bert, few([0, label]), out=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_texts_without_a_label_are_trained_on_and_not_tested_on(bert, tmp_path):
    data, settings = few([0, -100, 1]), dict(out=str(tmp_path), max_steps=1, disable_tqdm=True)
    finetune(bert, data, VAT(VirtualAdversarial(0.3)), **settings)
    for use in (
        lambda: finetune(bert, data, VAT(VirtualAdversarial(0.3)), evaluation=data, **settings),
        lambda: attack_all(bert, data),
        lambda: attack_all(bert, data, FGM(0.3)),
        lambda: calibrate(bert, data),
    ):
        with pytest.raises(ValueError, match="but one is -100: leave out texts without a label"):
            use()


@pytest.mark.parametrize("content", ["", '{"log": [{"loss"', '{"log": []}', "null", "[1]", "\x00",
                                     '{"log": 3, "cost": 4, "used": 5}'])  # fmt: skip
def test_a_damaged_record_of_a_training(tmp_path, content):
    file = tmp_path / "training.json"
    file.write_text(content)
    with pytest.raises(ValueError) as caught:
        read_training(file)
    message = str(caught.value)
    assert message.startswith(f"{file} is damaged (") and "\n" not in message
    assert "delete it, and this model is trained anew" in message
    whole = {"log": [{"loss": 1.0}], "cost": {"seconds": 2.0}, "used": {"steps": 3}}
    file.write_text(json.dumps(whole))
    assert read_training(file) == whole


def test_a_negative_seed_is_refused_before_anything_is_written(tmp_path):
    out = CliRunner().invoke(app, ["run", "--seed", "-1", "--out", str(tmp_path / "run")])
    assert out.exit_code and "--seed must be at least 0, got -1" in out.output
    assert "Traceback" not in out.output and not (tmp_path / "run").exists()


# --- models ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels, sentence",
    [("pos", "labels='pos' is one name: give a list"), (["pos"], "two or more different names"),
     (["a", "b", "a"], "two or more different names"), ([], "two or more different names")],
)  # fmt: skip
def test_names_of_classes_that_are_no_list_of_names(bert, tmp_path, labels, sentence):
    bert.save(tmp_path)
    with pytest.raises(ModelError, match=sentence):
        load_classifier(tmp_path, labels=labels)


@pytest.fixture
def larger():
    """A tokenizer with a token more than the vocabulary of the models here."""
    tokenizer = make_tokenizer("bert")
    tokenizer.add_tokens(["seaworthy"])
    return tokenizer


def test_a_tokenizer_that_is_larger_than_the_embeddings(bert, tmp_path, larger):
    from transformers import BertForMaskedLM

    bert.save(tmp_path / "a")
    larger.save_pretrained(tmp_path / "a")
    size = len(SPECIAL + WORDS)
    with pytest.raises(ModelError, match=f"number {size} .'seaworthy'.*knows {size} only: save"):
        load_classifier(tmp_path / "a", device="cpu")
    larger.add_special_tokens({"mask_token": "[MASK]"})
    BertForMaskedLM(make_config("bert")).save_pretrained(tmp_path / "b")
    larger.save_pretrained(tmp_path / "b")
    with pytest.raises(ModelError, match="'.MASK.'.*knows"):
        load_language_model(tmp_path / "b", device="cpu")
    bert.model.resize_token_embeddings(len(larger))
    Classifier(bert.model, larger).save(tmp_path / "c")
    assert load_classifier(tmp_path / "c", device="cpu").predict(["seaworthy"]).shape == (1, 3)


def test_a_tokenizer_without_a_length_limit(victim, tmp_path):
    victim.save(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    for limit in (None, 1e30, int(1e30)):
        settings.pop("model_max_length", None)
        file.write_text(json.dumps(settings | ({"model_max_length": limit} if limit else {})))
        found = load_classifier(tmp_path, device="cpu")
        longest = 63 if found.model.config.model_type == "roberta" else 64
        assert found.tokenizer.model_max_length > 1e29
        assert found.encode(["good " * 300])["input_ids"].shape == (1, longest)
        assert found.predict(["good " * 300]).shape == (1, 3)


def test_a_model_without_a_limit_of_positions():
    """XLNet's config says -1, Bloom's says nothing."""
    import transformers as hf

    size = len(SPECIAL + WORDS)
    made = [
        (hf.XLNetForSequenceClassification,
         hf.XLNetConfig(vocab_size=size, d_model=16, n_layer=1, n_head=2, d_inner=32)),
        (hf.BloomForSequenceClassification,
         hf.BloomConfig(vocab_size=size, hidden_size=16, n_layer=1, n_head=2)),
    ]  # fmt: skip
    for kind, config in made:
        config.pad_token_id = 0
        torch.manual_seed(0)
        found = Classifier(kind(config).eval(), make_classifier("distilbert").tokenizer)
        assert found.max_length == 512
        assert found.encode(["good " * 600])["input_ids"].shape == (1, 512)
        assert found.predict(["good " * 600, "bad"]).shape == (2, 2)
