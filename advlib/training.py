"""`AdversarialTrainer`: transformers' Trainer with an adversarial objective.

Checkpoints, resuming, accumulation, mixed precision, several processes and logging are the
Trainer's own. What is added: the objective runs the passes of a step, its state goes into the
checkpoints, every log line carries the clean loss, the adversarial loss and the passes so far, and
`ledger()` says what a step cost.
"""

from __future__ import annotations

import os
import time
from dataclasses import fields
from pathlib import Path

import psutil
import torch
import transformers
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sklearn.utils.class_weight import compute_sample_weight
from torch import nn
from torch.utils.data import Sampler
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import TrainOutput

from advlib.attacks.embedding import Divergence, EmbeddingAttack, VirtualAdversarial, wrong_margin
from advlib.attacks.words import WordAttack
from advlib.callbacks import (
    ONE_CLASS,
    Bar,
    Ordered,
    ResumePasses,
    StopOnInterrupt,
    Watch,
    is_whole,
    last_checkpoint,
    resume_passes,
)
from advlib.data import texts_of
from advlib.embeddings import attack_mode, perturbed_logits
from advlib.models import NOT_INPUTS, Classifier, quiet
from advlib.objectives import WEIGHT, Clean

SETTLED = 2 / 3  # of the steps are made before a checkpoint may be the best
STATE = "objective{}.safetensors"  # beside the Trainer's own files in a checkpoint
USES = {VirtualAdversarial: "VAT({})", Divergence: "TRADES({})",
        WordAttack: "Words({}, victim, data)", EmbeddingAttack: "Adversarial({})"}  # fmt: skip


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
        write = next(write for kind, write in USES.items() if isinstance(objective, kind))
        raise ValueError(f"{call} is an attack, and training needs an objective that says what to "
                         f"do with it: write {write.format(call)}")  # fmt: skip
    if isinstance(objective, type):
        raise ValueError(f"the objective {objective.__name__} is a class: write "
                         f"{objective.__name__}(…) with its settings")  # fmt: skip


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
        super().__init__(model, args, **kwargs)
        self.objective, self.attack, self.floor = objective or Clean(), attack, floor
        self.collapse: str | None = None  # why training was ended
        self.softened: str | None = None  # why ε was halved on the way
        # The objective's loss is a mean over the batch, not a sum over counted items.
        self.model_accepts_loss_kwargs = False
        self.passes = {"forward": 0.0, "backward": 0.0, "weights": 0.0}
        self._session = dict.fromkeys(("forward", "backward", "units", "batches", "seconds"), 0.0)
        self._sums: dict[str, tuple] = {}  # of losses since the last line, and how many they are
        self._interrupt = StopOnInterrupt()
        self.add_callback(self._interrupt)
        self.add_callback(ResumePasses(self.passes))
        if watch:
            self.add_callback(Watch(self))
        for noisy in (transformers.trainer.DEFAULT_PROGRESS_CALLBACK, PrinterCallback):
            self.remove_callback(noisy)
        if not args.disable_tqdm:
            self.add_callback(Bar())

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        self._signature_columns += [n for n in NOT_INPUTS if n not in self._signature_columns]

    def _get_train_sampler(self, *given) -> Sampler | None:
        sampler, replays = super()._get_train_sampler(*given), self.objective.replays
        if sampler is None:
            return None
        args = self.args
        block = args.train_batch_size * args.world_size * args.gradient_accumulation_steps
        if replays == 1:
            block = 1
        elif len(sampler) < block:
            raise ValueError(
                f"only whole batches are replayed, but {len(sampler)} texts do not fill one of "
                f"{block} (batch size times accumulation and processes): take a smaller batch"
            )
        return Ordered(sampler, args.seed, block, replays)

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
        there = (Path(self.args.output_dir) / f"checkpoint-{step}" for step in sorted(good)[::-1])
        return next((str(p) for p in there if is_whole(p, self.args.world_size)), None)

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
        resume_passes(self.passes, state)
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
        passes = {name: session[name] / batches for name in ("forward", "backward", "units")}
        return passes | {
            "limit": passes["units"] / 3,
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
            parts = self.objective(model, inputs, backward, step=self.state.global_step,
                                   generator=self._generator(inputs))  # fmt: skip
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
                total, count = self._sums.get(name, (0, 0))
                self._sums[name] = total + value, count + 1  # stays on the device

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs:
            for name, (total, count) in self._sums.items():
                logs[name] = round(float(self.accelerator.reduce(total / count, "mean")), 4)
            logs.update({name: round(count, 2) for name, count in self.passes.items()})
            logs.update(self.objective.settings(max(self.state.global_step - 1, 0)))
            self._sums = {}
        super().log(logs, *args, **kwargs)
