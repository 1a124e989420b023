"""What stands around a training: checkpoints that are whole, an order of texts that can be resumed,
Ctrl-C, the bar, and the watch for a collapse."""

from __future__ import annotations

import json
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch.utils.data import Sampler
from transformers import ProgressCallback, TrainerCallback, TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from advlib.objectives import WEIGHT

ONE_CLASS = 0.98  # of the predictions: the model has fallen to one class
CHANCE = 0.97, 1.1  # times the loss of a model that reads nothing: it has learned nothing
RARE = 0.9  # of the texts are one class: then so are the predictions of a good model
JUDGED = 0.4  # of the steps are made before a training is judged, and at least:
JUDGED_STEPS = 50


def last_checkpoint(folder: str | Path, processes: int = 1) -> str | None:
    """The newest checkpoint of a training that was written to its end; None where there is none.

    processes: how many train together; each leaves a file of its own.

    A run that is killed while it saves leaves half a checkpoint behind. The Trainer's own record is
    the last of its files; the others are looked at too, for a mounted folder that is cut off need
    not keep that order.
    """
    found = [p for p in Path(folder).glob("checkpoint-*") if p.name[11:].isdigit()]
    for checkpoint in sorted(found, key=lambda p: -int(p.name[11:])):
        if is_whole(checkpoint, processes):
            return str(checkpoint)
        print(f"{checkpoint.name} was not written to its end; the one before it is used")
    return None


def is_whole(checkpoint: Path, processes: int) -> bool:
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


class Ordered(Sampler):
    """Another sampler's indices, in an order that depends on seed and epoch alone. So a run that is
    resumed in the middle of an epoch has the order of an uninterrupted one; the Trainer's samplers
    by length draw from a random state that has moved on by then.

    Blocks of indices come so often in a row as `times` says; a last part block is left out. For
    times > 1 a block is what all processes see between two optimiser steps, so every batch comes
    again whole and in the same process.
    """

    def __init__(self, sampler: Sampler, seed: int, block: int, times: int):
        self.sampler, self.seed, self.block, self.times = sampler, seed, block, times
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.sampler) // self.block * self.block * self.times

    def __iter__(self) -> Iterator[int]:
        self.sampler.generator = torch.Generator().manual_seed(self.seed + self.epoch)
        indices = list(self.sampler)
        for start in range(0, len(indices) - self.block + 1, self.block):
            yield from indices[start : start + self.block] * self.times


class StopOnInterrupt(TrainerCallback):
    """The first Ctrl-C ends training after the step in hand, with a checkpoint; a second one
    interrupts at once."""

    pressed = False

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


class Bar(ProgressCallback):
    """One line that moves, with the losses at its end, instead of a line per log entry."""

    def on_log(self, args, state, control, logs, **kwargs):
        if self.training_bar is not None and "clean_loss" in logs:
            shown = {"clean": logs["clean_loss"], "adv": logs.get("adv_loss")}
            self.training_bar.set_postfix({k: v for k, v in shown.items() if v is not None})


def resume_passes(passes: dict[str, float], state: TrainerState) -> None:
    last = next((log for log in reversed(state.log_history) if "forward" in log), None)
    if state.global_step and last:
        passes.update({name: last.get(name, 0.0) for name in passes})


class ResumePasses(TrainerCallback):
    """Takes the passes made before an interruption from the log, which the checkpoint holds."""

    def __init__(self, passes: dict[str, float]):
        self.passes = passes

    def on_train_begin(self, args, state, control, **kwargs):
        resume_passes(self.passes, state)

    def on_step_end(self, args, state, control, **kwargs):
        control.should_log = control.should_log or control.should_save
        return control

    on_epoch_end = on_step_end


class Watch(TrainerCallback):
    """Ends a training that has collapsed, without a checkpoint of what came of it."""

    def __init__(self, trainer):
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

    def on_log(self, args, state, control, logs, **kwargs):
        loss = logs.get("clean_loss", logs.get("adv_loss"))
        if loss is None:
            return
        self.losses = [*self.losses, loss][-5:]
        mean = sum(self.losses) / len(self.losses)
        least, most = (share * self.chance for share in CHANCE)
        if self._judges(state) and len(self.losses) == 5 and least <= mean <= most:
            self._end(control, f"the loss stands at {mean:.3f}, where a model stands that reads "
                      f"nothing ({self.chance:.3f})")  # fmt: skip

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        share = metrics.get("eval_one_class", 0.0)
        if self._judges(state) and share >= ONE_CLASS:
            self._end(control, f"{share:.0%} of the predictions on the validation texts are one "
                      "class")  # fmt: skip

    def _end(self, control, why: str) -> None:
        step = self.trainer.state.global_step
        self.trainer.collapse = f"training has collapsed by step {step}: {why}"
        control.should_training_stop, control.should_save = True, False
