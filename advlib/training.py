"""`AdversarialTrainer`: transformers' Trainer with an adversarial objective.

Checkpoints, resuming, accumulation, mixed precision, several processes and logging are the
Trainer's own. What is added: the objective runs the passes of a step, its state goes into the
checkpoints, every log line carries the clean loss, the adversarial loss and the passes so far, and
`ledger()` says what a step cost.

`recipe` decides what was not decided: how long, how fast, and when the attack sets in. A training
that falls to one class is seen while it happens, taken back and made softer.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import psutil
import torch
from datasets import Dataset
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from sklearn.utils.class_weight import compute_sample_weight
from torch import nn
from torch.utils.data import Sampler
from transformers import (
    DataCollatorWithPadding,
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from advlib.attacks.embedding import Divergence, EmbeddingAttack, VirtualAdversarial, wrong_margin
from advlib.attacks.words import WordAttack
from advlib.data import texts_of
from advlib.embeddings import attack_mode, perturbed_logits
from advlib.models import NOT_INPUTS, Classifier, quiet
from advlib.objectives import UNLABELLED, WEIGHT, After, Clean, Objective, RDrop

SMALL = 2_000_000  # weights; below are the embedded models and their like
LEAST_STEPS = 240
PLAIN = 0.3  # of the steps come before the attack
ONE_CLASS = 0.98  # of the predictions: the model has fallen to one class
CHANCE = 0.97, 1.1  # times the loss of a model that reads nothing: it has learned nothing
RARE = 0.9  # of the texts are one class: then so are the predictions of a good model
SETTLED = 2 / 3  # of the steps are made before a checkpoint may be the best
JUDGED = 0.4  # of the steps are made before a training is judged, and at least:
JUDGED_STEPS = 50
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
STATE = "objective{}.safetensors"  # beside the Trainer's own files in a checkpoint


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

    def __str__(self) -> str:
        late = f", the attack sets in after {self.after} plain steps" if self.after else ""
        return f"{self.epochs:.3g} epochs, learning rate {self.learning_rate:g}{late}"


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


def tokenize(victim: Classifier, data: Dataset, balanced: bool = False) -> Dataset:
    """Columns text and label, and text_pair for pairs -> input_ids, attention_mask,
    special_tokens_mask, labels, and for pairs second_at, where the second text begins.

    balanced: and `weight`, with which every class has the same share in the loss.
    """
    columns = {**victim.tokens(texts_of(data)), "labels": list(data["label"])}
    if balanced:
        columns[WEIGHT] = compute_sample_weight("balanced", columns["labels"]).tolist()
    # In memory: a cache file would land beside the data, or in a home folder without room.
    return Dataset.from_dict(columns)


def check_objective(objective) -> None:
    """Raise ValueError where an attack or a class stands in the place of an objective."""
    if isinstance(objective, EmbeddingAttack | WordAttack):
        set_here = [f"{f.name}={getattr(objective, f.name)!r}" for f in fields(objective)
                    if getattr(objective, f.name) != f.default]  # fmt: skip
        call = f"{type(objective).__name__}({', '.join(set_here).removeprefix('eps=')})"
        name = "Words" if isinstance(objective, WordAttack) else "Adversarial"
        name = "TRADES" if isinstance(objective, Divergence) else name
        name = "VAT" if isinstance(objective, VirtualAdversarial) else name
        more = ", victim, data" * (name == "Words")
        raise ValueError(f"{call} is an attack, and training needs an objective that says what to "
                         f"do with it: write {name}({call}{more})")  # fmt: skip
    if isinstance(objective, type):
        raise ValueError(f"the objective {objective.__name__} is a class: write "
                         f"{objective.__name__}(…) with its settings")  # fmt: skip


def last_checkpoint(folder: str | Path, processes: int = 1) -> str | None:
    """The newest checkpoint of a training that was written to its end; None where there is none.

    processes: how many train together; each leaves a file of its own.

    A run that is killed while it saves leaves half a checkpoint behind. The Trainer's own record is
    the last of its files; the others are looked at too, for a mounted folder that is cut off need
    not keep that order.
    """
    found = [p for p in Path(folder).glob("checkpoint-*") if p.name[11:].isdigit()]
    for checkpoint in sorted(found, key=lambda p: -int(p.name[11:])):
        if _is_whole(checkpoint, processes):
            return str(checkpoint)
        print(f"{checkpoint.name} was not written to its end; the one before it is used")
    return None


def _is_whole(checkpoint: Path, processes: int) -> bool:
    """Whether all that training goes on from is there and each file reaches its end."""
    names = ["*model*", "optimizer*", "scheduler.pt"]
    names += [f"rng_state_{k}.pth" for k in range(processes)] if processes > 1 else ["rng_state*"]
    if not all(any(checkpoint.glob(name)) for name in names):
        return False
    try:
        json.loads((checkpoint / TRAINER_STATE_NAME).read_text())
        for file in checkpoint.glob("*.safetensors"):
            with safe_open(file, "pt"):  # reads the header, and compares it with the size
                pass
    except (OSError, ValueError, SafetensorError):
        return False
    archives = [f for end in ("pt", "pth", "bin") for f in checkpoint.glob(f"*.{end}")]
    return all(map(zipfile.is_zipfile, archives))


class AdversarialTrainer(Trainer):
    """Trainer that minimises an objective such as `Adversarial(FGM(0.3), lam=1.0)`.

    objective: see `advlib.objectives`; None is plain training.
    attack: an embedding attack. With it, evaluation also reports `eval_accuracy` and
        `eval_robust_accuracy` (right without and under the attack, over all examples), which
        trackers draw. Without one the two are the same.
    floor: evaluation also reports `eval_choice`, by which the best checkpoint is chosen: the robust
        accuracy, less three times what clean accuracy lacks to `floor`. None: to the best clean
        accuracy so far, less two points. A checkpoint of the first two thirds comes behind any
        later one: while the rate is high a few hundred texts tell little. Of equal ones the last
        is the best.
    watch: look for a collapse while training. It is seen in the predictions on the evaluation
        texts, of which nearly all are one class, and in a clean loss that stays where a model
        stands that reads nothing. Training then ends, and `collapse` says why.
    All other arguments are the Trainer's. Datasets come from `tokenize`; the default collator pads
    each batch to its longest text.

    A log line has `loss`, `clean_loss`, `adv_loss` (means since the last line), `forward`,
    `backward` and `weights` (passes over a batch so far; the last are those of `backward` that go
    on to the weights), and the step's λ and ε as `lam` and `eps`. Ctrl-C ends training after the
    current step with a checkpoint, from which `train(resume_from_checkpoint=True)` goes on.
    Label smoothing is not supported, because objectives define the loss, nor is torch_compile,
    because compiled graphs pass over the perturbation: ValueError.
    """

    def __init__(
        self, model: nn.Module, args: TrainingArguments, *, objective=None, attack=None,
        floor: float | None = None, watch: bool = False, **kwargs,
    ):  # fmt: skip
        check_objective(objective)
        if args.label_smoothing_factor:
            raise ValueError("label_smoothing_factor has no effect here: the objective is the loss")
        if args.torch_compile:
            raise ValueError(
                "torch_compile has no effect here: the perturbation enters the model by a hook, "
                "which a compiled graph passes over. Leave it off."
            )
        if args.n_gpu > 1:
            # Without a launcher the Trainer would copy the model to all GPUs in each pass
            # (DataParallel), where δ does not fit the parts of a batch. `accelerate launch` takes
            # them all, one process each.
            args._n_gpu = 1
        if args.fp16 and os.environ.get("ACCELERATE_USE_FSDP") == "true":
            raise ValueError("fp16 does not go with FSDP here: where the gradient overflows in one "
                             "process alone, the others wait for ever. Take bf16.")  # fmt: skip
        if attack is not None and not isinstance(attack, EmbeddingAttack):
            raise ValueError(
                f"attack must be an embedding attack such as PGD(0.3), got {attack!r}. Word "
                "attacks need texts: use advlib.robustness after training."
            )
        if "data_collator" not in kwargs and kwargs.get("processing_class") is not None:
            kwargs["data_collator"] = DataCollatorWithPadding(kwargs["processing_class"])
        super().__init__(model, args, **kwargs)
        self.objective, self.attack, self.floor = objective or Clean(), attack, floor
        self.collapse: str | None = None  # why training was ended
        self.softened: str | None = None  # why ε was halved on the way
        # The objective's loss is a mean over the batch, not a sum over counted items.
        self.model_accepts_loss_kwargs = False
        self.passes = {"forward": 0.0, "backward": 0.0, "weights": 0.0}
        self._session = dict.fromkeys(("forward", "backward", "units", "batches", "seconds"), 0.0)
        self._sums: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._interrupt = _StopOnInterrupt()
        self.add_callback(self._interrupt)
        self.add_callback(_ResumePasses(self.passes))
        if watch:
            self.add_callback(_Watch(self))
        for noisy in (ProgressCallback, PrinterCallback):
            self.remove_callback(noisy)
        if not args.disable_tqdm:
            self.add_callback(_Bar())

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns += [n for n in NOT_INPUTS if n not in self._signature_columns]

    def _get_train_sampler(self, *args) -> Sampler | None:
        sampler, replays = super()._get_train_sampler(*args), self.objective.replays
        if sampler is None:
            return None
        settings = self.args
        block = settings.train_batch_size * settings.world_size
        block *= settings.gradient_accumulation_steps
        if replays > 1 and len(sampler) < block:
            raise ValueError(
                f"only whole batches are replayed, but {len(sampler)} texts do not fill one of "
                f"{block} (batch size times accumulation and processes): take a smaller batch"
            )
        return _Ordered(sampler, settings.seed, block, replays)

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs):
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_checkpoint(self.args.output_dir, self.args.world_size)
        kept = self._state_file(resume_from_checkpoint or "")
        self.objective.restore(load_file(kept) if resume_from_checkpoint and kept.is_file() else {})
        if resume_from_checkpoint and self._finished(resume_from_checkpoint):
            return TrainOutput(self.state.global_step, 0.0, {})
        start, before = time.perf_counter(), self.state.global_step
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        with self._interrupt:
            out = super().train(resume_from_checkpoint, **kwargs)
        self._session["seconds"] += time.perf_counter() - start
        if not self.args.disable_tqdm and self.state.global_step > before:
            cost = self.ledger()
            print("Per batch: " + ", ".join(f"{name} {value:.3g}" for name, value in cost.items()))
        return out

    def last_good(self) -> str | None:
        """The newest whole checkpoint at which the model had not fallen to one class."""
        good = {e["step"] for e in self.state.log_history if e.get("eval_one_class", 1) < ONE_CLASS}
        there = [p for p in Path(self.args.output_dir).glob("checkpoint-*")
                 if int(p.name[11:]) in good and _is_whole(p, self.args.world_size)]  # fmt: skip
        return str(max(there, key=lambda p: int(p.name[11:]))) if there else None

    def _finished(self, checkpoint: str) -> bool:
        """Whether the checkpoint is the end of this training; then it is loaded. The Trainer would
        make one step more where the end lies inside an epoch."""
        state = TrainerState.load_from_json(str(Path(checkpoint) / TRAINER_STATE_NAME))
        last, epochs = self.args.max_steps, self.args.num_train_epochs
        at_end = state.global_step >= last if last > 0 else (state.epoch or 0) >= epochs
        if not at_end or self.is_fsdp_enabled:
            return False
        self._load_from_checkpoint(checkpoint)
        self.state = state
        _resume_passes(self.passes, state)
        return True

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        if not _internal_call:
            with quiet():
                return super().save_model(output_dir)
        # A checkpoint: first of its files, as the Trainer's own record is the last. That record, if
        # an earlier run left one here, must not vouch for what is only half written.
        own = (p.to_local() if hasattr(p, "to_local") else p for p in self.model.parameters())
        if not all(p.detach().isfinite().all() for p in own):
            raise ValueError(
                "a step left weights that are not finite, though its loss was: no checkpoint is "
                f"written, the last one in {self.args.output_dir} is whole. Lower the learning "
                "rate or ε, or clip gradients (max_grad_norm), and resume."
            )
        folder = Path(output_dir)
        found, file = self.objective.state(), self._state_file(folder)
        if self.is_world_process_zero() or self.objective.differs:
            folder.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            if self.is_world_process_zero():
                (folder / TRAINER_STATE_NAME).unlink(missing_ok=True)
            if found:
                save_file({name: t.contiguous() for name, t in found.items()}, file)
        with quiet():  # a bar for each file would tear the training's own bar
            super().save_model(output_dir, _internal_call=True)

    def _state_file(self, folder: str | Path) -> Path:
        """The objective's state; a file for each process where it differs between them."""
        rank = self.args.process_index
        return Path(folder) / STATE.format(f"_{rank}" if rank and self.objective.differs else "")

    def ledger(self) -> dict[str, float]:
        """What a batch cost in this session: `forward` and `backward` passes, `units` of work (see
        `Parts.units`), their ratio to clean training (the `limit` for the ratio of times),
        milliseconds with everything around, and memory in MB: the GPU's peak, elsewhere what the
        whole process holds now."""
        session, batches = self._session, max(self._session["batches"], 1)
        gpu = torch.cuda.is_available()
        memory = torch.cuda.max_memory_allocated() if gpu else psutil.Process().memory_info().rss
        return {
            "forward": session["forward"] / batches,
            "backward": session["backward"] / batches,
            "units": session["units"] / batches,
            "limit": session["units"] / batches / 3,
            "ms": 1e3 * session["seconds"] / batches,
            "MB": memory / 2**20,
        }

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        model.train()
        inputs = self._prepare_inputs(inputs)
        accumulated = self.current_gradient_accumulation_steps

        def backward(loss: torch.Tensor) -> None:
            with torch.autocast(loss.device.type, enabled=False):
                self.accelerator.backward(loss / accumulated)

        with self.compute_loss_context_manager():
            parts = self.objective(
                model,
                inputs,
                backward,
                step=self.state.global_step,
                generator=self._generator(inputs),
            )
        self._record(parts)
        return parts.loss / accumulated

    def evaluation_loop(self, dataloader, *args, metric_key_prefix: str = "eval", **kwargs):
        out = super().evaluation_loop(
            dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs
        )
        if "labels" in (dataloader.dataset[0] if len(dataloader.dataset) else {}):
            found = self._judged(dataloader)
            out.metrics.update({f"{metric_key_prefix}_{k}": x for k, x in found.items()})
        return out

    def _judged(self, dataloader) -> dict[str, float]:
        """Clean and robust accuracy, the share of the most frequent prediction, and what the best
        checkpoint is chosen by; over all processes together."""
        found = []
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            logits, labels = self._logits(batch, None), batch["labels"]
            right = robust = wrong_margin(logits, labels, hard=True) < 0  # a tie is the attacker's
            if self.attack is not None:
                moved = self._logits(batch, self.attack(self.model, batch))
                robust = right & (wrong_margin(moved, labels, hard=True) < 0)
            columns = torch.stack([right.long(), robust.long(), logits.argmax(1)], 1)
            found.append(self.accelerator.gather_for_metrics(columns))
        right, robust, predicted = torch.cat(found).T
        clean, robust = (float(x.double().mean()) for x in (right, robust))
        floor = self.floor
        if floor is None:
            before = [e["eval_accuracy"] for e in self.state.log_history if "eval_accuracy" in e]
            floor = max([clean, *before]) - 0.02
        choice = robust - 3 * max(0.0, floor - clean)
        done = self.state.global_step / max(1, self.state.max_steps)
        choice += 1e-6 * done - 10 * (done < SETTLED)
        one_class = float(predicted.bincount().max()) / len(predicted)
        return {"accuracy": clean, "robust_accuracy": robust, "one_class": one_class,
                "choice": choice}  # fmt: skip

    def _logits(self, batch, delta) -> torch.Tensor:
        with torch.no_grad(), attack_mode(self.model, same_dropout=False):
            return perturbed_logits(self.model, batch, delta)

    def _generator(self, inputs) -> torch.Generator:
        """Random starts depend on seed, step, micro-batch and process alone, so that a resumed run
        draws what an uninterrupted one would."""
        self._micro = getattr(self, "_micro", -1) + 1
        if self.state.global_step != getattr(self, "_last_step", None):
            self._last_step, self._micro = self.state.global_step, 0
        key = (self.args.seed, self.state.global_step, self._micro, self.args.process_index)
        seed = 0
        for number in key:
            seed = (seed * 1_000_003 + number) % 2**63
        return torch.Generator(inputs["input_ids"].device).manual_seed(seed)

    def _record(self, parts) -> None:
        for name in self.passes:
            self.passes[name] += getattr(parts, name)
        for name in ("forward", "backward", "units"):
            self._session[name] += getattr(parts, name)
        self._session["batches"] += 1
        for name, value in (("clean_loss", parts.clean), ("adv_loss", parts.adv)):
            if value is not None:
                self._sums[name] = self._sums.get(name, 0) + value  # stays on the device
                self._counts[name] = self._counts.get(name, 0) + 1

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs:
            for name, total in self._sums.items():
                mean = self.accelerator.reduce(total / self._counts[name], "mean")
                logs[name] = round(float(mean), 4)
            logs.update({name: round(count, 2) for name, count in self.passes.items()})
            logs.update(self.objective.settings(max(self.state.global_step - 1, 0)))
            self._sums, self._counts = {}, {}
        super().log(logs, *args, **kwargs)


class _Watch(TrainerCallback):
    """Ends a training that has collapsed, without a checkpoint of what came of it."""

    def __init__(self, trainer: AdversarialTrainer):
        self.trainer = trainer
        labels = torch.tensor(trainer.train_dataset["labels"])
        shares = labels[labels >= 0].bincount().double()
        shares = shares[shares > 0] / shares.sum()
        if WEIGHT in trainer.train_dataset.column_names:
            shares = torch.full_like(shares, 1 / len(shares))
        self.chance = -float((shares * shares.log()).sum())  # ln(classes) where all are as frequent
        self.frequent = float(shares.max())
        self.losses: list[float] = []

    def _judges(self, state) -> bool:
        late = state.global_step >= max(JUDGED * state.max_steps, JUDGED_STEPS)
        return late and self.frequent < RARE

    def on_log(self, args, state, control, logs=None, **kwargs):
        loss = (logs or {}).get("clean_loss", (logs or {}).get("adv_loss"))
        if loss is None:
            return
        self.losses = [*self.losses, loss][-5:]
        mean = sum(self.losses) / len(self.losses)
        least, most = (share * self.chance for share in CHANCE)
        if self._judges(state) and len(self.losses) == 5 and least <= mean <= most:
            self._end(control, f"the loss stands at {mean:.3f}, where a model stands that reads "
                      f"nothing ({self.chance:.3f})")  # fmt: skip

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        share = (metrics or {}).get("eval_one_class", 0.0)
        if self._judges(state) and share >= ONE_CLASS:
            self._end(control, f"{share:.0%} of the predictions on the validation texts are one "
                      "class")  # fmt: skip

    def _end(self, control, why: str) -> None:
        step = self.trainer.state.global_step
        self.trainer.collapse = f"training has collapsed by step {step}: {why}"
        control.should_training_stop, control.should_save = True, False


class _Bar(ProgressCallback):
    """One line that moves, with the losses at its end, instead of a line per log entry."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.training_bar is not None and logs and "clean_loss" in logs:
            shown = {"clean": logs["clean_loss"], "adv": logs.get("adv_loss")}
            self.training_bar.set_postfix({k: v for k, v in shown.items() if v is not None})


def _resume_passes(passes: dict[str, float], state: TrainerState) -> None:
    last = next((log for log in reversed(state.log_history) if "forward" in log), None)
    if state.global_step and last:
        passes.update({name: last.get(name, 0.0) for name in passes})


class _ResumePasses(TrainerCallback):
    """Takes the passes made before an interruption from the log, which the checkpoint holds."""

    def __init__(self, passes: dict[str, float]):
        self.passes = passes

    def on_train_begin(self, args, state, control, **kwargs):
        _resume_passes(self.passes, state)

    def on_step_end(self, args, state, control, **kwargs):
        control.should_log = control.should_log or control.should_save
        return control

    on_epoch_end = on_step_end


class _Ordered(Sampler):
    """Another sampler's indices, in an order that depends on seed and epoch alone. So a run that is
    resumed in the middle of an epoch has the order of an uninterrupted one; the Trainer's samplers
    by length draw from a random state that has moved on by then.

    times > 1: blocks of indices come so often in a row; a last part block is left out. A block is
    what all processes see between two optimiser steps, so every batch comes again whole and in the
    same process.
    """

    def __init__(self, sampler: Sampler, seed: int, block: int, times: int):
        self.sampler, self.seed, self.block, self.times = sampler, seed, block, times
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole = len(self.sampler) // self.block * self.block
        return len(self.sampler) if self.times == 1 else whole * self.times

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        indices = list(self.sampler)
        if self.times == 1:
            yield from indices
            return
        for start in range(0, len(indices) - self.block + 1, self.block):
            yield from indices[start : start + self.block] * self.times


class _StopOnInterrupt(TrainerCallback):
    """The first Ctrl-C ends training after the step in hand, with a checkpoint; a second one
    interrupts at once."""

    def __init__(self):
        self.pressed = False

    def __enter__(self):
        self.pressed = False
        try:
            self.before = signal.signal(signal.SIGINT, self._press)
        except ValueError:  # not the main thread: leave signals alone
            self.before = None
        return self

    def __exit__(self, *_):
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _press(self, signum, frame):
        if self.pressed:
            raise KeyboardInterrupt
        self.pressed = True
        print("\nStopping after this step; a checkpoint will be kept. Ctrl-C again stops at once.")

    def on_step_end(self, args, state, control, **kwargs):
        if self.pressed:
            control.should_save = control.should_training_stop = True
        return control


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
    start = [p.detach().cpu().clone() for p in _trained(victim.model)] if watch else []

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
            with torch.no_grad():
                for p, first in zip(_trained(victim.model), start, strict=True):
                    p.copy_(first)
        trainer = train(objective.softer(), back or False)
    if trainer.collapse:
        raise Collapsed(
            f"{trainer.collapse}{', with half of ε too' if softened else ''}: take a smaller ε or "
            "λ, more epochs or more texts; are the labels right?"
        )
    trainer.softened = softened
    victim.model.eval()
    return trainer


def _trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]
