"""Ship checkpoints: put bert-tiny into the package, fine-tune the two victims from it, and write
their cards. `make checkpoints` runs tools/pretrain.py and then this.

    python tools/victims.py --pretrained runs/bert-tiny
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from pathlib import Path

import torch
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, WordSubstitution
from advlib.finetuning import finetune
from advlib.models import CHECKPOINTS, load_classifier, quiet
from advlib.objectives import Adversarial

# The same recipe as `advlib run`, so that what a learner sees is what the package ships.
EPOCHS, LEARNING_RATE, EPS, SEED = 10, 1e-3, 0.3, 0
VICTIMS = {"reviews-clean": None, "reviews-robust": Adversarial(FGM(EPS), lam=1.0)}
TESTS = (FGM(EPS), PGD(EPS, steps=10), WordSubstitution())


def seal(folder: Path, card: dict) -> None:
    """Write the card, with the checksum of the weights."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({**card, "sha256": digest}, indent=2) + "\n")


def ship_pretrained(source: Path) -> None:
    target = CHECKPOINTS / "bert-tiny"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, target)
    seal(target, json.loads((source / "card.json").read_text()))


def ship_victim(name: str, objective) -> None:
    data = advlib.load_text("reviews")
    set_seed(SEED)
    victim = load_classifier(
        "bert-tiny", labels=data["train"].features["label"].names, device="cpu"
    )
    finetune(
        victim,
        data["train"],
        objective,
        out="runs/victims",
        epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        seed=SEED,
    )
    target = CHECKPOINTS / name
    shutil.rmtree(target, ignore_errors=True)
    with quiet():
        victim.model.to(torch.float16).save_pretrained(target)
        victim.tokenizer.save_pretrained(target)
    seal(target, {})
    # Measured on the weights as shipped, in half precision.
    table = advlib.robustness(
        load_classifier(name, device="cpu"), data["test"], TESTS, progress=True
    )
    print(table)
    measured = {row["threat model"]: round(row["accuracy"], 4) for _, row in table.iterrows()}
    card = {
        "made by": "tools/victims.py",
        "from": "bert-tiny",
        "objective": repr(objective or "L"),
        "texts": len(data["train"]),
        "epochs": EPOCHS,
        "learning rate": LEARNING_RATE,
        "batch": 32,
        "seed": SEED,
        "torch": torch.__version__,
        "accuracy on 1,000 test texts": measured,
    }
    seal(target, card)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, default=Path("runs/bert-tiny"))
    ship_pretrained(parser.parse_args().pretrained)
    for victim, recipe in VICTIMS.items():
        ship_victim(victim, recipe)
