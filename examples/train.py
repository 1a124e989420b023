"""Adversarial fine-tuning of any classifier, on one device or on many.

    python examples/train.py --model bert-tiny --data reviews --out runs/mine
    accelerate launch --config_file configs/ddp.yaml examples/train.py \\
        --model google-bert/bert-base-cased --data stanfordnlp/sst2 --precision bf16 --out runs/sst2

The same command again goes on after an interruption, from the last whole checkpoint. Leaves the
model in --out, with evaluation.json beside it; with --lora the adapters are merged into it. Its
options are those of `advlib run`. Works as it stands; copy it to change it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import torch
import typer
from transformers import set_seed

import advlib
from advlib.app.cli import plainly
from advlib.app.doctor import find_device
from advlib.app.experiment import EMBEDDED_EPS, what_was_done, write_json
from advlib.app.options import Options, check_same, objective_of, prepare, record, take
from advlib.attacks import FGM, PGD, Noise
from advlib.data import data_hash
from advlib.finetuning import BEST, is_real

REAL_EPS = 0.15  # of a model for which none is measured

def note(out: Path, settings: dict) -> None:
    """Keep the settings in the folder. Raises ValueError where it holds checkpoints of others: they
    would be gone on with, and shown under the wrong name."""
    if (out / "options.json").is_file() and (out / "checkpoints").is_dir():
        check_same(out, settings)
    elif os.environ.get("RANK", "0") == "0":
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "options.json", settings)  # at once: other processes may be reading it


@take(Options)
def main(
    options: Options,
    save_steps: Annotated[
        float, typer.Option(help="Evaluate and keep a checkpoint so often; below 1 a share of all.")
    ] = 0.1,
    out: Path = Path("runs/train"),
) -> None:
    """Train, evaluate, save."""
    if options.lora and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise typer.BadParameter("--lora goes with one GPU or configs/ddp.yaml, not with FSDP")
    data = advlib.load_text(**options.loading())
    note(out, record(options, data_hash(data)))
    set_seed(options.seed)
    # To the CPU: with several processes each has a GPU of its own, to which the Trainer moves it.
    names = data["train"].features["label"].names
    victim = advlib.load_classifier(options.model, labels=names, device="cpu")
    # `advlib run` measures an ε for a model; here there is no plain model to measure it on.
    eps = options.eps or (REAL_EPS if is_real(victim.model) else EMBEDDED_EPS)
    victim.model = prepare(victim.model, options)
    trainer = advlib.finetune(
        victim, data["train"], objective_of(options, eps),
        out=str(out / "checkpoints"), resume=True,
        evaluation=data["validation"], attack=PGD(eps, steps=3),
        use_cpu=find_device() == "cpu",  # else several processes on a CPU do not find each other
        ddp_find_unused_parameters=False,
        **BEST | dict(eval_steps=save_steps, save_steps=save_steps) | options.training(),
    )  # fmt: skip
    if not options.lora:
        trainer.save_model(str(out))  # all processes: under FSDP each holds a part of the weights
    if not trainer.is_world_process_zero():
        return
    if options.lora:  # a plain model, as load_classifier and transformers.pipeline read it
        victim.model = victim.model.float().merge_and_unload()
        victim.save(out)
    victim.tokenizer.save_pretrained(out)
    if trainer.is_fsdp_enabled:
        victim = advlib.load_classifier(out)
    table = advlib.robustness(
        victim, data["test"], [Noise(eps), FGM(eps), PGD(eps, steps=20, restarts=2)]
    )
    shown = table[["attack", "n", "accuracy", "low", "high"]]
    print(shown.to_string(index=False, float_format="{:.1%}".format))
    found, file = {"rows": json.loads(table.to_json(orient="records"))}, out / "evaluation.json"
    found["used"] = {"eps": eps, **what_was_done(trainer)}
    if (cost := trainer.ledger())["forward"]:  # of this session; none where all was done before
        found["ledger"] = cost
    elif file.is_file():
        found["ledger"] = json.loads(file.read_text()).get("ledger")
    write_json(file, found)


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    typer.run(plainly(main))
