"""The trainer: Trainer's own machinery, with the objective's passes inside."""

import os
import signal

import pytest
import torch
from conftest import make_classifier
from datasets import Dataset
from transformers import TrainerCallback, TrainingArguments, set_seed

from advlib.attacks import FGM, PGD
from advlib.objectives import Adversarial
from advlib.training import AdversarialTrainer, finetune, tokenize

GOOD, BAD = "good great fine bright warm", "bad awful dull curt slow cold"


@pytest.fixture
def data():
    texts = [f"the {n} was {a}" for n in ("film", "plot", "acting", "ending") for a in GOOD.split()]
    more = [f"the {n} was {a}" for n in ("film", "plot", "acting", "ending") for a in BAD.split()]
    return Dataset.from_dict({"text": texts + more, "label": [1] * len(texts) + [0] * len(more)})


def run(data, out, objective=None, victim=None, **arguments):
    set_seed(0)
    victim = victim or make_classifier("bert", classes=2, dropout=arguments.pop("dropout", 0.0))
    settings = dict(epochs=2, batch_size=8, disable_tqdm=True, use_cpu=True, learning_rate=1e-2)
    return finetune(victim, data, objective, out=str(out), **{**settings, **arguments})


def weights(trainer):
    return {n: p.detach().clone() for n, p in trainer.model.named_parameters()}


def assert_same(a, b, **tolerance):
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=name, **tolerance)


def test_training_learns_and_logs_losses_and_passes(data, tmp_path):
    trainer = run(data, tmp_path, Adversarial(PGD(0.3, steps=3)), logging_steps=2, epochs=8)
    logs = [entry for entry in trainer.state.log_history if "clean_loss" in entry]
    assert logs[-1]["clean_loss"] < 0.8 * logs[0]["clean_loss"]
    assert logs[0]["loss"] == pytest.approx(logs[0]["clean_loss"] + logs[0]["adv_loss"], abs=2e-3)
    # No dropout, zero start: the clean pass lends its gradient, so 1 + 2 + 1 passes a step.
    assert logs[0]["forward"] == 2 * 4 and logs[0]["backward"] == 2 * 4
    assert logs[-1]["forward"] == trainer.state.global_step // 2 * 2 * 4


def test_plain_training_has_no_adversarial_loss(data, tmp_path):
    trainer = run(data, tmp_path, logging_steps=2)
    assert all("adv_loss" not in entry for entry in trainer.state.log_history)
    assert trainer.passes["forward"] == trainer.state.global_step


@pytest.mark.parametrize("attack", [FGM(0.3), PGD(0.3, steps=2, same_dropout=True)])
def test_accumulated_micro_batches_equal_the_full_batch(data, tmp_path, attack):
    # SGD, because Adam turns rounding into full steps where a gradient is zero.
    settings = dict(optim="sgd", train_sampling_strategy="random", max_steps=4)
    once = run(data, tmp_path / "a", Adversarial(attack), batch_size=8, **settings)
    parts = run(data, tmp_path / "b", Adversarial(attack), batch_size=2,
                gradient_accumulation_steps=4, **settings)  # fmt: skip
    assert_same(weights(once), weights(parts), atol=1e-6, rtol=1e-5)
    assert (
        parts.passes["forward"] == 4 * once.passes["forward"]
    )  # four times as many, a quarter the size


@pytest.mark.parametrize(
    "attack", [PGD(0.3, steps=2, random_start=True), FGM(0.3, same_dropout=True)]
)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(data, tmp_path, attack):
    settings = dict(save_strategy="steps", save_steps=3, dropout=0.2, epochs=2)

    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            control.should_training_stop = state.global_step == 5

    whole = run(data, tmp_path / "whole", Adversarial(attack), **settings)
    run(data, tmp_path / "cut", Adversarial(attack), callbacks=[Stop()], **settings)
    again = run(data, tmp_path / "cut", Adversarial(attack), resume=True, **settings)
    assert again.state.global_step == whole.state.global_step > 5
    assert_same(weights(whole), weights(again), atol=0, rtol=0)
    assert again.passes == whole.passes


def test_ctrl_c_ends_after_the_step_with_a_checkpoint(data, tmp_path, capsys):
    class Press(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    trainer = run(data, tmp_path, callbacks=[Press()])
    assert trainer.state.global_step == 4 < trainer.state.max_steps
    assert (tmp_path / "checkpoint-4" / "model.safetensors").is_file()
    assert "checkpoint will be kept" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    assert run(data, tmp_path, resume=True).state.global_step == trainer.state.max_steps


def test_a_nan_loss_stops_with_a_sentence_and_keeps_the_last_checkpoint(data, tmp_path):
    class Poison(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 3:
                with torch.no_grad():
                    model.classifier.bias.fill_(float("nan"))

    with pytest.raises(ValueError, match="last checkpoint is untouched|not finite"):
        run(data, tmp_path, Adversarial(FGM(0.3)), callbacks=[Poison()],
            save_strategy="steps", save_steps=2)  # fmt: skip
    assert (tmp_path / "checkpoint-2" / "model.safetensors").is_file()


def test_mixed_precision_and_gradient_checkpointing_train(data, tmp_path):
    plain = run(data, tmp_path / "a", Adversarial(FGM(0.3)), max_steps=3, learning_rate=1e-3)
    saved = run(data, tmp_path / "b", Adversarial(FGM(0.3)), max_steps=3, learning_rate=1e-3,
                gradient_checkpointing=True)  # fmt: skip
    half = run(
        data, tmp_path / "c", Adversarial(FGM(0.3)), max_steps=3, learning_rate=1e-3, bf16=True
    )
    assert_same(weights(plain), weights(saved), atol=1e-5, rtol=1e-4)
    assert all(p.isfinite().all() for p in weights(half).values())
    assert half.state.log_history[-1]["train_loss"] == pytest.approx(
        plain.state.log_history[-1]["train_loss"], rel=0.1
    )


def test_lora_trains_its_own_weights_alone(data, tmp_path):
    from peft import LoraConfig, get_peft_model

    victim = make_classifier("bert", classes=2)
    frozen = {n: p.clone() for n, p in victim.model.named_parameters()}
    victim.model = get_peft_model(
        victim.model, LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    )
    trainer = run(data, tmp_path, Adversarial(PGD(0.3, steps=2)), victim=victim, max_steps=3)
    assert trainer.passes["forward"] > 3
    after = dict(victim.model.base_model.model.named_parameters())
    table = "bert.embeddings.word_embeddings.weight"
    torch.testing.assert_close(after[table], frozen[table], atol=0, rtol=0)
    assert any(p.abs().sum() > 0 for n, p in after.items() if "lora_B" in n)


def test_long_texts_are_cut_and_special_tokens_marked(bert):
    data = Dataset.from_dict({"text": ["good " * 10_000, "", "\U0001f642"], "label": [0, 1, 0]})
    rows = tokenize(bert, data)
    assert [len(ids) for ids in rows["input_ids"]] == [64, 2, 3]
    assert rows[1]["special_tokens_mask"] == [1, 1]


def test_label_smoothing_is_refused(bert, tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor"):
        AdversarialTrainer(bert.model, TrainingArguments(str(tmp_path), label_smoothing_factor=0.1))
