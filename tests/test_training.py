"""The trainer: Trainer's own machinery, with the objective's passes inside."""

import math
import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pytest
import torch
from conftest import make_classifier
from datasets import Dataset
from safetensors.torch import load_file
from test_objectives import NAMES, SAME, objective_named
from transformers import TrainerCallback, TrainingArguments, set_seed

from advlib.attacks import FGM, PGD, Divergence, WordSubstitution
from advlib.evaluation import robustness
from advlib.finetuning import finetune
from advlib.objectives import TRADES, Adversarial, Free
from advlib.training import STATE, AdversarialTrainer, last_checkpoint, tokenize

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


def test_torch_compile_is_refused(bert, tmp_path):
    with pytest.raises(ValueError, match="torch_compile"):
        AdversarialTrainer(bert.model, TrainingArguments(str(tmp_path), torch_compile=True))


# --- what trackers see -----------------------------------------------------------------------


def test_evaluation_reports_clean_and_robust_accuracy(data, tmp_path):
    victim, attack = make_classifier("bert", classes=2), PGD(0.3, steps=3)
    trainer = run(data, tmp_path, victim=victim, evaluation=data, attack=attack, max_steps=4,
                  eval_strategy="steps", eval_steps=2, per_device_eval_batch_size=8)  # fmt: skip
    logged = [log for log in trainer.state.log_history if "eval_robust_accuracy" in log]
    assert [log["step"] for log in logged] == [2, 4]
    measured = robustness(victim, data, [attack])["accuracy"]
    assert logged[-1]["eval_accuracy"] == pytest.approx(measured[0])
    assert logged[-1]["eval_robust_accuracy"] == pytest.approx(measured.iloc[-1])
    assert measured.iloc[-1] < measured[0]


def test_the_most_robust_checkpoint_can_be_kept(data, tmp_path):
    trainer = run(
        data, tmp_path, evaluation=data, attack=FGM(0.3), epochs=3, learning_rate=0.03,
        eval_strategy="epoch", save_strategy="epoch", load_best_model_at_end=True,
        metric_for_best_model="robust_accuracy",
    )  # fmt: skip
    found = [log["eval_robust_accuracy"] for log in trainer.state.log_history
             if "eval_robust_accuracy" in log]  # fmt: skip
    assert trainer.state.best_metric == max(found)


def test_word_attacks_cannot_be_evaluated_while_training(bert, tmp_path):
    with pytest.raises(ValueError, match="advlib.robustness after training"):
        AdversarialTrainer(bert.model, TrainingArguments(str(tmp_path)), attack=WordSubstitution())


def test_the_log_has_the_schedules_of_lambda_and_eps(data, tmp_path):
    objective = Adversarial(FGM(0.25), lam=2.0, warmup=4)
    trainer = run(data, tmp_path, objective, max_steps=6, logging_steps=1)
    logs = [log for log in trainer.state.log_history if "lam" in log]
    assert [log["lam"] for log in logs] == [0, 0.5, 1, 1.5, 2, 2]
    assert {log["eps"] for log in logs} == {0.25}
    assert TRADES(Divergence(0.1), beta=3).settings(0) == {"beta": 3, "eps": 0.1}


def test_tensorboard_gets_losses_passes_schedules_and_robust_accuracy(data, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(tmp_path / "board")
    try:
        run(data, tmp_path, Adversarial(FGM(0.3)), max_steps=4, logging_steps=1,
            report_to="tensorboard", evaluation=data, attack=FGM(0.3), eval_strategy="steps",
            eval_steps=4)  # fmt: skip
    finally:
        del os.environ["TENSORBOARD_LOGGING_DIR"]
    board = events.EventAccumulator(str(next((tmp_path / "board").rglob("events*")).parent))
    names = {name.split("/")[1] for name in board.Reload().Tags()["scalars"]}
    assert {"loss", "clean_loss", "adv_loss", "forward", "backward", "lam", "eps",
            "robust_accuracy"} <= names  # fmt: skip


def test_weights_and_biases_offline_gets_the_same(data, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SILENT", "true")
    run(data, tmp_path / "a", Adversarial(FGM(0.3)), max_steps=4, logging_steps=1,
        report_to="wandb", evaluation=data, attack=FGM(0.3), eval_strategy="steps",
        eval_steps=4)  # fmt: skip
    summary = dict(wandb.run.summary)
    wandb.finish()
    assert {"train/adv_loss", "train/lam", "train/forward", "eval/robust_accuracy"} <= set(summary)
    assert list(tmp_path.rglob("*.wandb"))  # on this machine, to be sent by `wandb sync` or never


# --- every objective through the trainer ----------------------------------------------------

every = pytest.mark.parametrize("name", NAMES)


def run_named(name, data, out, callbacks=(), hook=None, settings=None, **arguments):
    """The objective and the trainer after it."""
    set_seed(0)
    dropout = arguments.pop("dropout", 0.1 if name == "RDrop" else 0.0)
    victim = make_classifier("bert", classes=2, dropout=dropout)
    objective = objective_named(name, victim, data, **(settings or {}))
    if hook is not None:
        hook(victim.model)
    plain = dict(epochs=2, batch_size=8, disable_tqdm=True, use_cpu=True, learning_rate=1e-2)
    arguments = {**plain, **arguments}
    trainer = finetune(
        victim, data, objective, out=str(out), callbacks=list(callbacks), **arguments
    )
    return objective, trainer


class StopAt(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop = state.global_step == self.step


def inputs_of(model):
    """The token ids of every training pass (a list that fills)."""
    seen = []

    def record(module, args, inputs):
        if module.training:
            seen.append(inputs["input_ids"].clone())

    model.register_forward_pre_hook(record, with_kwargs=True)
    return seen


@every
def test_every_objective_trains_in_the_trainer(data, tmp_path, name):
    _, trainer = run_named(name, data, tmp_path, batch_size=44, max_steps=4, logging_steps=1,
                           warmup_steps=0)  # fmt: skip
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 4 and all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]
    assert trainer.passes["forward"] >= 4 and trainer.passes["weights"] >= 4


@pytest.mark.parametrize("name", ["FreeLB", "Free", "Words"])
def test_accumulation_in_the_trainer_equals_the_full_batch(data, tmp_path, name):
    # Starts at zero: a generator would draw others for the micro-batches.
    shared = dict(optim="sgd", train_sampling_strategy="random", max_steps=4)
    _, once = run_named(name, data, tmp_path / "a", batch_size=8, **shared)
    _, parts = run_named(name, data, tmp_path / "b", batch_size=2, gradient_accumulation_steps=4,
                         **shared)  # fmt: skip
    assert_same(weights(once), weights(parts), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "name, way", [("SMART", "bf16"), ("Words", "bf16"), ("FreeLB", "gradient_checkpointing")]
)  # test_objectives.py has them all
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_half_precision_and_checkpointing_train_the_same(data, tmp_path, name, way):
    arguments = dict(max_steps=2, learning_rate=1e-3, batch_size=22)
    _, plain = run_named(name, data, tmp_path / "a", **arguments)
    _, other = run_named(name, data, tmp_path / "b", **arguments, **{way: True})
    close = dict(atol=5e-3, rtol=0.1) if way == "bf16" else dict(atol=1e-5, rtol=1e-4)
    assert_same(weights(plain), weights(other), **close)


def poisoned(step):
    """A model whose output is NaN in the second micro-batch of a step, and the callback for it."""
    now = []

    class Second(TrainerCallback):
        def on_substep_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                now.append(True)

    def hook(model):
        def spoil(module, args, out):
            if now:
                out.logits = out.logits * math.nan
            return out

        model.register_forward_hook(spoil)

    return hook, Second()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("Clean", "Madry", "R3F")])
def test_nan_in_one_micro_batch_stops_and_keeps_the_last_checkpoint(data, tmp_path, name):
    hook, second = poisoned(step=3)
    arguments = dict(batch_size=4, gradient_accumulation_steps=2, save_strategy="steps")
    with pytest.raises(ValueError, match="last checkpoint is untouched|not finite"):
        run_named(name, data, tmp_path, [second], hook, save_steps=2, **arguments)
    saved = load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert saved and all(value.isfinite().all() for value in saved.values())
    assert not (tmp_path / "checkpoint-4").exists()


def test_weights_that_are_not_finite_reach_no_checkpoint(data, tmp_path):
    """A gradient may overflow where the loss does not."""
    victim = make_classifier("bert", classes=2)
    steps = []

    def spoil(grad):
        steps.append(None)
        return grad * math.inf if len(steps) == 4 else grad

    victim.model.classifier.weight.register_hook(spoil)
    with pytest.raises(ValueError, match="not finite"):
        run(data, tmp_path, Adversarial(FGM(0.3)), victim=victim, max_grad_norm=0,
            save_strategy="steps", save_steps=1, save_total_limit=1)  # fmt: skip
    saved = load_file(Path(last_checkpoint(tmp_path)) / "model.safetensors")
    assert all(value.isfinite().all() for value in saved.values())


def test_several_gpus_without_a_launcher_are_not_shared(tmp_path):
    """DataParallel would cut the batch and not δ."""
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    args._n_gpu = 2
    AdversarialTrainer(make_classifier("bert", classes=2).model, args)
    assert args.n_gpu == 1


def test_fp16_under_fsdp_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    args = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    args.fp16 = True
    with pytest.raises(ValueError, match="bf16"):
        AdversarialTrainer(make_classifier("bert", classes=2).model, args)


# --- replays --------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulated, strategy", [(1, "random"), (3, "group_by_length")])
def test_free_sees_every_batch_so_many_times_in_a_row(data, tmp_path, accumulated, strategy):
    victim = make_classifier("bert", classes=2)
    seen, starts = inputs_of(victim.model), []
    objective = Free(FGM(0.3), replays=3)
    trainer = run(data, tmp_path, objective, victim=victim, epochs=2, batch_size=4,
                  gradient_accumulation_steps=accumulated,
                  train_sampling_strategy=strategy)  # fmt: skip
    blocks = 44 // (4 * accumulated)
    assert trainer.state.global_step == 2 * 3 * blocks
    assert len(seen) == trainer.state.global_step * accumulated == trainer.passes["forward"]
    steps = [seen[i : i + accumulated] for i in range(0, len(seen), accumulated)]
    for i in range(0, len(steps), 3):
        first, *again = steps[i : i + 3]
        for replay in again:
            assert all(map(torch.equal, first, replay))
        starts.append(tuple(tuple(row.tolist()) for ids in first for row in ids))
    for epoch in (starts[:blocks], starts[blocks:]):
        rows = [tuple(i for i in row if i) for batch in epoch for row in batch]
        assert len(rows) == len(set(rows)) == 4 * accumulated * blocks  # no text twice an epoch
    assert starts[:blocks] != starts[blocks:]  # a new order every epoch
    assert objective.state() == {}


def test_free_with_one_replay_from_zero_is_plain_training(data, tmp_path):
    settings = dict(epochs=1, batch_size=11)
    free = run(data, tmp_path / "a", Free(FGM(0.3), replays=1), **settings)
    plain = run(data, tmp_path / "b", **settings)
    assert_same(weights(free), weights(plain), atol=0, rtol=0)


def test_too_few_texts_for_one_block_of_replays_are_an_error(data, tmp_path):
    with pytest.raises(ValueError, match="batch"):
        run(data, tmp_path, Free(FGM(0.3), replays=2), batch_size=64)


# --- resuming with the objective's state ----------------------------------------------------


@pytest.mark.parametrize(
    "name, strategy, saved, accumulated",
    [
        ("SMART", "random", 9, 2),
        ("SMART", "group_by_length", 4, 1),
        ("Free", "random", 15, 2),
        ("Free", "group_by_length", 5, 2),
        ("Free", "group_by_length", 15, 1),
    ],
)
def test_resuming_goes_on_with_the_objectives_state(
    data, tmp_path, name, strategy, saved, accumulated
):
    # An epoch has 6 steps, for Free 5 times 2: it is cut after the first of two replays.
    arguments = dict(batch_size=8 // accumulated, gradient_accumulation_steps=accumulated,
                     train_sampling_strategy=strategy, save_strategy="steps", save_steps=saved,
                     dropout=0.2, settings=SAME, epochs=2)  # fmt: skip
    _, whole = run_named(name, data, tmp_path / "whole", **arguments)
    run_named(name, data, tmp_path / "cut", [StopAt(saved + 1)], **arguments)
    kept = load_file(tmp_path / "cut" / f"checkpoint-{saved}" / STATE.format(""))
    assert len(kept) == (accumulated if name == "Free" else 1 + len(weights(whole)))
    _, again = run_named(name, data, tmp_path / "cut", resume=True, **arguments)
    assert again.state.global_step == whole.state.global_step > saved
    assert_same(weights(whole), weights(again), atol=0, rtol=0)
    assert again.passes == whole.passes


def test_an_interrupted_objective_of_another_run_is_forgotten(data, tmp_path):
    used = Free(FGM(0.3), replays=3)
    settings = dict(batch_size=11, train_sampling_strategy="sequential")
    run(data, tmp_path / "a", used, callbacks=[StopAt(2)], **settings)
    assert used.state()
    again = run(data, tmp_path / "b", used, **settings)
    fresh = run(data, tmp_path / "c", Free(FGM(0.3), replays=3), **settings)
    assert_same(weights(again), weights(fresh), atol=0, rtol=0)


def test_objectives_without_a_state_write_none(data, tmp_path):
    run_named("TRADES", data, tmp_path, save_strategy="steps", save_steps=2, max_steps=2)
    assert (tmp_path / "checkpoint-2").is_dir()
    assert not (tmp_path / "checkpoint-2" / STATE.format("")).exists()


# --- the ledger -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective, units, accumulated",
    [
        (Adversarial(PGD(0.3, steps=3)), 10, 2),
        (Free(FGM(0.3), replays=2), 3, 2),
        (TRADES(Divergence(0.3)), 8, 1),
    ],
)
def test_the_ledger_counts_per_batch(data, tmp_path, objective, units, accumulated):
    before = time.perf_counter()
    trainer = run(data, tmp_path, objective, max_steps=4, gradient_accumulation_steps=accumulated,
                  batch_size=4)  # fmt: skip
    passed, ledger = time.perf_counter() - before, trainer.ledger()
    assert ledger["units"] == units and ledger["limit"] == pytest.approx(units / 3)
    batches = 4 * accumulated
    inside = trainer.state.log_history[-1]["train_runtime"]
    assert inside - 1e-3 <= ledger["ms"] * batches / 1e3 <= passed
    if not torch.cuda.is_available():
        here = psutil.Process().memory_info().rss / 2**20
        assert ledger["MB"] == pytest.approx(here, rel=0.2)


def test_the_ledger_of_a_resumed_run_counts_its_own_batches_alone(data, tmp_path):
    settings = dict(save_strategy="steps", save_steps=3, epochs=2)
    run(data, tmp_path, Adversarial(FGM(0.3), warmup=5), callbacks=[StopAt(3)], **settings)
    again = run(data, tmp_path, Adversarial(FGM(0.3), warmup=5), resume=True, **settings)
    steps = range(3, again.state.global_step)
    assert again.ledger()["units"] == 6 and again.passes["forward"] > 2 * len(steps)


@pytest.mark.parametrize("when", [{"save_strategy": "epoch"},
                                  {"save_strategy": "steps", "save_steps": 5}])  # fmt: skip
def test_a_resumed_run_goes_on_counting_passes(data, tmp_path, when):
    """Also where a checkpoint falls between two log lines."""
    settings = dict(epochs=2, logging_steps=1000, **when)
    whole = run(data, tmp_path / "whole", Adversarial(FGM(0.3)), **settings)
    first = min((tmp_path / "whole").glob("checkpoint-*"), key=lambda p: int(p.name[11:]))
    shutil.copytree(first, tmp_path / "cut" / first.name)
    again = run(data, tmp_path / "cut", Adversarial(FGM(0.3)), resume=True, **settings)
    assert again.ledger()["units"] > 0 and again.passes == whole.passes


def test_a_ledger_without_training_is_all_zero(bert, tmp_path):
    ledger = AdversarialTrainer(bert.model, TrainingArguments(str(tmp_path), use_cpu=True)).ledger()
    assert ledger["units"] == ledger["limit"] == ledger["ms"] == 0


def test_the_ledger_is_printed_beside_the_bar(data, tmp_path, capsys):
    run(data, tmp_path, max_steps=1, disable_tqdm=False)
    out = capsys.readouterr().out
    assert "Per batch: forward 1, backward 1, units 3, limit 1, ms " in out and ", MB " in out
