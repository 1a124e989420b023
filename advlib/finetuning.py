"""`finetune`: a training with what was not decided decided, and gone back on where it collapses.

`recipe` says how long, how fast, and when the attack sets in. A training that falls to one class is
seen while it happens, taken back and made softer.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from torch import nn
from transformers import TrainerCallback, TrainingArguments

from advlib.attacks.embedding import EmbeddingAttack
from advlib.models import Classifier
from advlib.objectives import UNLABELLED, After, Clean, Objective, RDrop
from advlib.training import AdversarialTrainer, check_objective, tokenize

SMALL = 2_000_000  # weights; below are the embedded models and their like
LEAST_STEPS = 240
PLAIN = 0.3  # of the steps come before the attack
SETTINGS = dict(
    lr_scheduler_type="linear", warmup_steps=0.1, weight_decay=0.01, logging_steps=10,
    train_sampling_strategy="group_by_length", save_strategy="no", report_to="none",
)  # fmt: skip
# Ten evaluations, each with a checkpoint, of which the best and the last are kept.
BEST = dict(
    eval_strategy="steps", eval_steps=0.1, save_strategy="steps", save_steps=0.1,
    save_total_limit=2, load_best_model_at_end=True, metric_for_best_model="choice",
    greater_is_better=True,
)  # fmt: skip
SOFTER = "softer.txt"  # in a training's folder: why its ε was halved


class Collapsed(ValueError):
    """Training fell to one class, and a softer attack did not help."""


@dataclass(frozen=True)
class Recipe:
    """How a model is fine-tuned.

    epochs, learning_rate: of the whole training; the rate rises over the first tenth of the steps
        and falls linearly to zero.
    after: plain steps before an adversarial objective sets in.
    """

    epochs: float
    learning_rate: float
    after: int


def recipe(
    model: nn.Module, texts: int, batch_size: int = 32, replays: int = 1, *,
    epochs: float | None = None, learning_rate: float | None = None, after: int | None = None,
    max_steps: int = -1,
) -> Recipe:  # fmt: skip
    """What `finetune` does: what was asked for, and where nothing was, what did well on real data
    (docs/results/strangers-data.md).

    texts, batch_size: of the training data, and of an optimiser step over all processes.
    replays: see `Objective`. max_steps: of the training, above 0 in place of epochs.

    For a pre-trained encoder it is the number of steps that counts: 3 epochs of 700 texts are 66,
    too few to leave chance under attack. So it makes 3 epochs but at least 240 steps. The first
    three in ten are plain: with so many steps that matters little for L + λ·L_adv
    (docs/results/onset.md), but an objective without a clean term falls to one class when it begins
    at once (docs/results/defence-reviews.md). A model of less than two million weights, such as
    bert-tiny, takes 10 epochs at a larger rate and needs no plain steps.
    """
    an_epoch = -(-texts // batch_size)
    real = is_real(model)
    if epochs is None:
        epochs = max(3, -(-LEAST_STEPS // an_epoch)) if real else 10
    if learning_rate is None:
        learning_rate = 5e-5 if real else 1e-3
    if after is None:
        steps = max_steps if max_steps > 0 else epochs * an_epoch * replays
        after = int(PLAIN * steps) if real else 0
    return Recipe(epochs, learning_rate, after)


def is_real(model: nn.Module) -> bool:
    """Whether a model is larger than the embedded ones, which were pre-trained for one world."""
    return sum(p.numel() for p in model.parameters()) >= SMALL


def finetune(
    victim: Classifier,
    data: Dataset,
    objective: Objective | None = None,
    *,
    out: str,
    epochs: float | None = None,
    batch_size: int = 32,
    learning_rate: float | None = None,
    after: int | None = None,
    seed: int = 0,
    balanced: bool = False,
    evaluation: Dataset | None = None,
    attack: EmbeddingAttack | None = None,
    floor: float | None = None,
    watch: bool | None = None,
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = False,
    **arguments,
) -> AdversarialTrainer:
    """Fine-tune `victim.model` in place and return the trainer, whose `recipe` says what was done.

    data, evaluation: columns text, label, and text_pair for sentence pairs.
    epochs, learning_rate, after: None is what `recipe` says for this model and so many texts. An
        adversarial objective sets in `after` so many plain steps (see `After`).
    balanced: every class has the same share in the loss, however rare it is.
    evaluation: where it is not said when to evaluate and to save, a model of more than two million
        weights is evaluated on these texts ten times, and the best checkpoint is kept: by robust
        accuracy under `attack`, with a floor on clean accuracy (see `AdversarialTrainer`).
    watch: whether to look for a collapse; None: wherever the attack sets in late by default. A
        training that has collapsed goes back to its last good checkpoint, or to its beginning, and
        goes on with half of ε. Raises Collapsed, a ValueError, where that collapses too.
    arguments: further `TrainingArguments`.
    Raises ValueError for an attack in the place of the objective, and for labels that are no class
    of the model; among the training texts `UNLABELLED` may be one.
    """
    check_objective(objective)
    known = [y for y in data["label"] if y != UNLABELLED]
    for labels in [known] if evaluation is None else [known, list(evaluation["label"])]:
        victim.classes(labels, labels)
    objective = objective or Clean()
    real, attacks = is_real(victim.model), not isinstance(objective, Clean | RDrop)
    settings = SETTINGS | dict(
        per_device_train_batch_size=batch_size, per_device_eval_batch_size=batch_size, seed=seed,
        dataloader_pin_memory=torch.cuda.is_available(),
    )  # fmt: skip
    if real and evaluation is not None and not {"eval_strategy", "save_strategy"} & {*arguments}:
        settings |= BEST
    settings |= arguments
    processes = TrainingArguments(out, **settings)
    block = batch_size * processes.gradient_accumulation_steps * processes.world_size
    found = recipe(victim.model, len(data), block, objective.replays, epochs=epochs,
                   learning_rate=learning_rate, after=after if attacks else 0,
                   max_steps=processes.max_steps)  # fmt: skip
    if found.after and not isinstance(objective, After):
        objective = After(objective, found.after)
    watch = real and attacks if watch is None else watch
    texts = tokenize(victim, data, balanced)
    held_out = None if evaluation is None else tokenize(victim, evaluation)
    weights = victim.model.named_parameters()
    start = {n: p.detach().cpu().clone() for n, p in weights if watch and p.requires_grad}

    def train(objective: Objective, go_on: str | bool) -> AdversarialTrainer:
        trainer = AdversarialTrainer(
            victim.model,
            TrainingArguments(out, num_train_epochs=found.epochs,
                              learning_rate=found.learning_rate, **settings),
            objective=objective, attack=attack, floor=floor, watch=watch, train_dataset=texts,
            processing_class=victim.tokenizer, eval_dataset=held_out, callbacks=list(callbacks),
        )  # fmt: skip
        trainer.recipe = found
        trainer.train(resume_from_checkpoint=go_on or None)
        return trainer

    note = Path(out) / SOFTER
    softened = note.read_text("utf-8") if resume and note.is_file() else None
    if not resume:
        note.unlink(missing_ok=True)  # of an earlier training in this folder
    trainer = train(objective.softer() if softened else objective, resume)
    if trainer.collapse and not softened and not trainer.is_fsdp_enabled:
        softened, back = trainer.collapse, trainer.last_good()
        where = Path(back).name if back else "the beginning"
        print(f"\n{softened}. Back to {where}, and on with half of ε: {objective.softer()}")
        if trainer.is_world_process_zero():
            Path(out).mkdir(parents=True, exist_ok=True)
            note.write_text(softened, "utf-8")
            for file in Path(out).glob("checkpoint-*") if not back else ():
                shutil.rmtree(file)
        trainer.accelerator.wait_for_everyone()
        if not back:
            victim.model.load_state_dict(start, strict=False)
        trainer = train(objective.softer(), back or False)
    if trainer.collapse:
        raise Collapsed(
            f"{trainer.collapse}{', with half of ε too' if softened else ''}: take a smaller ε or "
            "λ, more epochs or more texts; are the labels right?"
        )
    trainer.softened = softened
    victim.model.eval()
    return trainer
