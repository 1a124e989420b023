"""What lesson 12 measures with: what autograd keeps, the time of a step, the curves of a run."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import torch
from transformers import TrainerCallback


class Kept:
    """Counts what autograd keeps for backward passes: each block of memory once, weights not."""

    def __init__(self, model):
        self.weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.holders, self.now, self.peak = Counter(), 0, 0

    def count(self, tensor, sign: int) -> None:
        block = tensor.untyped_storage()
        if block.data_ptr() in self.weights:
            return
        self.holders[block.data_ptr()] += sign
        if self.holders[block.data_ptr()] == (sign > 0):  # the first to come, or the last to go
            self.now += sign * block.nbytes()
            self.peak = max(self.peak, self.now)


class Held:
    """A tensor that autograd holds; counted as long as this object lives."""

    def __init__(self, kept: Kept, tensor):
        self.kept, self.tensor = kept, tensor
        kept.count(tensor, 1)

    def __del__(self):
        self.kept.count(self.tensor, -1)


def peak(model, step) -> int:
    """The most bytes that autograd keeps at a time while `step()` runs; clears the gradients."""
    kept = Kept(model)
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda t: Held(kept, t), lambda h: h.tensor)
    with hooks:
        step()
    model.zero_grad()
    return kept.peak


def checkpointing(model, on: bool) -> None:
    """Switch checkpointing, by the name that this version of transformers has for it."""
    what = "enable" if on else "disable"
    getattr(model, f"activation_checkpointing_{what}",
            getattr(model, f"gradient_checkpointing_{what}"))()  # fmt: skip


class Clock(TrainerCallback):
    """Notes the time at the end of every step. A session of a few steps is mostly the start of the
    training, so the first step is thrown away."""

    def __init__(self):
        self.times = []

    def on_step_end(self, args, state, control, **kwargs):
        self.times.append(time.perf_counter())

    def milliseconds(self) -> float:
        """The median of a step."""
        return 1e3 * torch.tensor(self.times, dtype=torch.double).diff().median().item()


def from_events(folder) -> dict[str, dict[int, float]]:
    """{name of the curve: {step: value}}, from TensorBoard's event files in a run's folder. A run
    that was cut and resumed has several; where two have the same step, the later one counts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for file in sorted(Path(folder).rglob("events.out.tfevents.*"), key=lambda f: f.name):
        events = EventAccumulator(str(file)).Reload()
        for name in events.Tags()["scalars"]:
            found.setdefault(name, {}).update((e.step, e.value) for e in events.Scalars(name))
    return found


def from_log(history) -> dict[str, dict[int, float]]:
    """The same from the trainer's own log."""
    found = {}
    for line in history:
        for key, value in line.items():
            name = key.replace("eval_", "eval/") if key.startswith("eval_") else f"train/{key}"
            found.setdefault(name, {})[line["step"]] = value
    return found
