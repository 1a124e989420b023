"""Adversarial fine-tuning of any classifier, on one device or on many.

    python examples/train.py --model bert-tiny --data reviews --out runs/mine
    accelerate launch --config_file configs/ddp.yaml examples/train.py \\
        --model google-bert/bert-base-cased --data stanfordnlp/sst2 --precision bf16 --out runs/sst2

The same command again goes on after an interruption, from the last whole checkpoint. Leaves the
model in --out, with evaluation.json beside it; with --lora the adapters are merged into it. Works
as it stands; copy it to change it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

import advlib
from advlib.attacks import FGM, PGD, Noise
from advlib.cli import plainly
from advlib.experiment import check_same, recipe
from advlib.objectives import Adversarial, Clean, FreeLB

Precision = Literal["fp32", "bf16", "fp16"]


def objective_of(name: str, eps: float, steps: int, lam: float, warmup: int):
    """What is minimised, by the name that the command line gives it."""
    attack = PGD(eps, steps=steps, same_dropout=True)
    start = PGD(eps, steps=steps, random_start=True, same_dropout=True)
    known = {
        "clean": Clean(),
        "fgm": Adversarial(FGM(eps, same_dropout=True), lam=lam, warmup=warmup),
        "pgd": Adversarial(attack, lam=lam, warmup=warmup),
        "freelb": FreeLB(start),
    }
    if name not in known:
        raise typer.BadParameter(f"there is no objective {name!r}: choose of {', '.join(known)}")
    return known[name]


def with_adapters(model: torch.nn.Module, rank: int, half: bool) -> torch.nn.Module:
    """LoRA on every linear layer; head and adapters are trained.

    half: the frozen matrices are held in bf16, as autocast would use them anyway. Embeddings, to
    which δ is added, and norms stay in float32.
    """
    from peft import LoraConfig, get_peft_model

    if half:
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.to(torch.bfloat16)
    config = LoraConfig(task_type="SEQ_CLS", r=rank, target_modules="all-linear")
    model = get_peft_model(model, config)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model


def note(out: Path, settings: dict) -> None:
    """Keep the settings in the folder. Raises ValueError where it holds checkpoints of others: they
    would be gone on with, and shown under the wrong name."""
    file = out / "options.json"
    if file.is_file() and (out / "checkpoints").is_dir():
        check_same(out, json.loads(file.read_text()), settings)
    elif os.environ.get("RANK", "0") == "0":
        out.mkdir(parents=True, exist_ok=True)
        file.with_suffix(".new").write_text(json.dumps(settings, indent=1) + "\n")
        file.with_suffix(".new").replace(file)  # at once: other processes may be reading it


def main(
    model: Annotated[str, typer.Option(help="Checkpoint, folder or Hub name.")] = "bert-tiny",
    data: Annotated[str, typer.Option(help="World, file, folder or Hub name.")] = "reviews",
    test: Annotated[str | None, typer.Option(help="A second file to test on.")] = None,
    text: str | None = None,
    label: str | None = None,
    encoding: str = "utf-8",
    out: Path = Path("runs/train"),
    objective: Annotated[str, typer.Option(help="clean, fgm, pgd or freelb.")] = "fgm",
    eps: float = 0.3,
    steps: int = 3,
    lam: float = 1.0,
    warmup: Annotated[int, typer.Option(help="Steps in which λ grows from 0.")] = 0,
    epochs: Annotated[float | None, typer.Option(help="10 for an embedded model, else 3.")] = None,
    batch: Annotated[int, typer.Option(help="Texts a pass and process.")] = 32,
    accumulate: Annotated[int, typer.Option(help="Passes that make a step.")] = 1,
    lr: Annotated[float | None, typer.Option(help="1e-3 embedded, else 5e-5.")] = None,
    precision: Annotated[Precision, typer.Option(help="fp16 on a GPU only.")] = "fp32",
    checkpointing: Annotated[bool, typer.Option(help="Activations are computed twice.")] = False,
    lora: Annotated[int, typer.Option(help="Rank; 0 trains all weights.")] = 0,
    train_size: int | None = None,
    test_size: int = 500,
    save_steps: int = 200,
    report_to: Annotated[str, typer.Option(help="tensorboard or wandb.")] = "none",
    seed: int = 0,
) -> None:
    """Train, evaluate, save."""
    settings = dict(locals())
    for name in ("out", "test_size", "save_steps", "report_to"):  # these may change in between
        del settings[name]
    if not all(value is None or value > 0 for value in (epochs, lr)):
        raise ValueError("--epochs and --lr must be above 0")
    if lora and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        raise typer.BadParameter("--lora goes with one GPU or configs/ddp.yaml, not with FSDP")
    minimised = objective_of(objective, eps, steps, lam, warmup)
    splits = advlib.load_text(
        data, test=test, text=text, label=label, encoding=encoding, train_size=train_size,
        test_size=test_size,
    )  # fmt: skip
    note(out, settings)
    device = advlib.setup(seed=seed).device
    # To the CPU: with several processes each has a GPU of its own, to which the Trainer moves it.
    names = splits["train"].features["label"].names
    victim = advlib.load_classifier(model, labels=names, device="cpu")
    if checkpointing:
        victim.model.gradient_checkpointing_enable()
    if lora:
        victim.model = with_adapters(victim.model, lora, half=precision == "bf16")
    trainer = advlib.finetune(
        victim, splits["train"], minimised,
        out=str(out / "checkpoints"), resume=True, seed=seed,
        epochs=recipe(model)[0] if epochs is None else epochs,
        learning_rate=recipe(model)[1] if lr is None else lr,
        batch_size=batch, gradient_accumulation_steps=accumulate,
        evaluation=splits["validation"], attack=PGD(eps, steps=5), eval_strategy="epoch",
        save_strategy="steps", save_steps=save_steps, save_total_limit=2, report_to=report_to,
        use_cpu=device == "cpu",  # several processes on a CPU find each other only if told so
        ddp_find_unused_parameters=False,
        **({precision: True} if precision != "fp32" else {}),
    )  # fmt: skip
    if not lora:
        trainer.save_model(str(out))  # all processes: under FSDP each holds a part of the weights
    if not trainer.is_world_process_zero():
        return
    if lora:  # a plain model, as load_classifier and transformers.pipeline read it
        victim.model = victim.model.float().merge_and_unload()
        victim.save(out)
    victim.tokenizer.save_pretrained(out)
    if trainer.is_fsdp_enabled:
        victim = advlib.load_classifier(out)
    table = advlib.robustness(
        victim, splits["test"], [Noise(eps), FGM(eps), PGD(eps, steps=20, restarts=2)]
    )
    shown = table[["attack", "n", "accuracy", "low", "high"]]
    print(shown.to_string(index=False, float_format="{:.1%}".format))
    record, file = {"rows": json.loads(table.to_json(orient="records"))}, out / "evaluation.json"
    if (cost := trainer.ledger())["forward"]:  # of this session; none where all was done before
        record["ledger"] = cost
    elif file.is_file():
        record["ledger"] = json.loads(file.read_text()).get("ledger")
    file.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    typer.run(plainly(main))
