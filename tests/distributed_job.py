"""What each process of test_distributed.py runs.

accelerate launch … distributed_job.py FOLDER           train a few steps, leave weights and counts
torchrun … distributed_job.py FOLDER sharded            one step under FSDP, leave the gradients
"""

import copy
import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from conftest import make_classifier
from datasets import Dataset
from safetensors.torch import save_file
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from transformers import TrainingArguments

from advlib.attacks import FGM, PGD, Divergence, EmbeddingNeighbours, Noise, VirtualAdversarial
from advlib.objectives import (
    R3F,
    SMART,
    TRADES,
    VAT,
    Adversarial,
    Clean,
    Free,
    FreeLB,
    Madry,
    RDrop,
    Words,
)
from advlib.training import AdversarialTrainer, tokenize


def near_words(victim, data):
    attack = EmbeddingNeighbours(k=2, rank="gradient", max_queries=6)
    return Words(attack, victim, data)


# Without random starts, which differ from process to process. Objective, micro-batches to a step,
# activation checkpointing.
CASES = {
    "clean": (Clean(), 1, False),
    "lending": (Adversarial(PGD(0.3, steps=3)), 1, False),
    "lending, accumulated": (Adversarial(PGD(0.3, steps=3)), 2, False),
    "together": (Adversarial(PGD(0.3, steps=3, target=1)), 1, True),
    "madry": (Madry(PGD(0.3, steps=2)), 2, True),
    "freelb": (FreeLB(PGD(0.3, steps=3)), 2, True),
    "free": (Free(FGM(0.3), replays=2), 1, False),
    "words": (near_words, 2, True),
}
# With random starts or masks, two processes draw others than one: only exchanges are counted.
RANDOM = {
    "vat": (VAT(VirtualAdversarial(0.3)), 2, False),
    "trades": (TRADES(Divergence(0.3, steps=2)), 1, True),
    "smart": (SMART(Divergence(0.3, symmetric=True)), 2, False),
    "r-drop": (RDrop(), 1, False),
    "r3f": (R3F(Noise(0.3)), 1, False),
}
# No exchange is counted here: under FSDP every pass must gather the weights that it needs.
SHARDED = {
    **{name: objective for name, (objective, _, _) in CASES.items() if name != "words"},
    "one mask": Adversarial(PGD(0.3, steps=2, same_dropout=True)),
    "trades": TRADES(Divergence(0.3)),
    "smart": SMART(Divergence(0.3, symmetric=True), mu=0),
}
# Stopped after the third of five steps, for "free" between two replays of a batch.
RESUMED = {
    "random starts": (Adversarial(PGD(0.3, steps=2, random_start=True)), 1, False),
    "resumed free": (Free(FGM(0.3), replays=2), 1, False),
    "resumed smart": (SMART(Divergence(0.3, symmetric=True), momentum=0.5), 1, False),
}
BATCH, STEPS = 8, 3  # texts to a step, over all processes
QUALITIES = ("good", "bad", "great and very bright", "awful", "warm", "cold but never dull")
TEXTS = [f"the {n} was {a}" for n in ("film", "plot", "acting", "ending") for a in QUALITIES]


class Watched(AdversarialTrainer):
    """Counts the gradient exchanges between the processes."""

    exchanges = 0
    hooked = False

    def training_step(self, model, *rest):
        if isinstance(model, DistributedDataParallel) and not self.hooked:
            model.register_comm_hook(None, self.exchange)
            self.hooked = True
        return super().training_step(model, *rest)

    def exchange(self, state, bucket):
        self.exchanges += 1
        return allreduce_hook(None, bucket)


def train(name: str, folder: Path, processes: int, resume=None, **more) -> Watched:
    objective, accumulation, checkpointing = (CASES | RANDOM | RESUMED)[name]
    if processes == 1:
        accumulation, checkpointing = 1, False
    victim = make_classifier("bert", classes=2, dropout=0.1 * (name == "r-drop"))
    data = Dataset.from_dict({"text": TEXTS, "label": [i % 2 for i in range(len(TEXTS))]})
    made = near_words(victim, data) if objective is near_words else copy.deepcopy(objective)
    settings = dict(
        output_dir=str(folder / "run"), max_steps=STEPS,
        per_device_train_batch_size=BATCH // processes // accumulation,
        gradient_accumulation_steps=accumulation, activation_checkpointing=checkpointing,
        optim="sgd", learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0,
        train_sampling_strategy="sequential", use_cpu=True, disable_tqdm=True, report_to="none",
        save_strategy="no", dataloader_pin_memory=False,
    )  # fmt: skip
    trainer = Watched(victim.model, TrainingArguments(**settings | more),
                      objective=made, train_dataset=tokenize(victim, data),
                      processing_class=victim.tokenizer)  # fmt: skip
    trainer.train(resume)
    return trainer


def step(name: str, rank: int = 0, processes: int = 1) -> dict[str, torch.Tensor]:
    """The gradients of one step on this process's share of the texts."""
    victim = make_classifier("bert", classes=2)
    model = victim.model.double().train()
    if processes > 1:
        mesh = init_device_mesh("cpu", (processes,))
        for layer in (*model.bert.encoder.layer, model):
            fully_shard(layer, mesh=mesh)
    own = slice(rank * BATCH // processes, (rank + 1) * BATCH // processes)
    batch = victim.encode(TEXTS[:BATCH], [i % 2 for i in range(BATCH)])
    part = {key: value[own] for key, value in batch.items()}
    objective = copy.deepcopy(SHARDED[name])
    objective(model, part)
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    found = {n: g.full_tensor() if processes > 1 else g for n, g in grads.items()}
    if processes > 1 and name == "smart":
        with pytest.raises(ValueError, match="mu=0"):  # and not a past that is the present
            replace(objective, mu=1.0)(model, part)
    return found


def ddp(folder: Path) -> None:
    exchanges = {}
    for number, name in enumerate(CASES | RANDOM):
        trainer = train(name, folder, processes=2)
        exchanges[name] = trainer.exchanges
        keep(trainer, folder / f"{number}.safetensors")
    for name in RESUMED:
        home = folder / name.replace(" ", "-")
        saving = dict(processes=2, max_steps=5, save_strategy="steps", save_steps=3)
        keep(train(name, home, **saving), home / "whole.safetensors")
        again = train(name, home, **saving, resume=str(home / "run" / "checkpoint-3"))
        keep(again, home / "again.safetensors")
    if trainer.is_world_process_zero():
        (folder / "exchanges.json").write_text(json.dumps(exchanges))


def keep(trainer: Watched, file: Path) -> None:
    if trainer.is_world_process_zero():
        save_file({n: p.detach().contiguous() for n, p in trainer.model.named_parameters()}, file)


def sharded(folder: Path) -> None:
    dist.init_process_group("gloo")
    for number, name in enumerate(SHARDED):
        grads = step(name, dist.get_rank(), processes=2)
        if dist.get_rank() == 0:
            save_file(grads, folder / f"{number}.safetensors")


if __name__ == "__main__":
    run = sharded if "sharded" in sys.argv else ddp
    run(Path(sys.argv[1]))
    dist.barrier()
    os._exit(0)  # gloo's threads, taken down with the interpreter, sometimes abort the process
