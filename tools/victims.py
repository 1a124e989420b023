"""Ship checkpoints: put bert-tiny into the package, fine-tune the two victims from it, and write
their cards. `make checkpoints` runs tools/pretrain.py and then this.

    python tools/victims.py --pretrained runs/bert-tiny
    python tools/victims.py --only reviews-robust --seed 1 --out runs/robust-1    # not shipped
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from datasets import Dataset
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, RandomTypos, WordSubstitution
from advlib.attacks.words import KeepWords
from advlib.evaluation import MAJORITY
from advlib.models import CHECKPOINTS, Classifier, fold_look_alikes, load_classifier, quiet
from advlib.objectives import Adversarial, InTurn, Objective, Words
from advlib.protocol import evaluate
from advlib.training import AdversarialTrainer, finetune

EPS, LEARNING_RATE, SEED = 0.3, 1e-3, 0
TESTS = (FGM(EPS), PGD(EPS, steps=10), WordSubstitution())


def plain(victim: Classifier, data: Dataset) -> None:
    return None


def whole_protocol(victim: Classifier, data: Dataset) -> Objective:
    """Against all that `advlib evaluate --protocol standard` tries. Every second step is on typos,
    the hardest to withstand: the harshest of four texts with slips of any kind, mostly in words
    that matter. There is no search, so the model reads as many different slips as it can. The steps
    between take turns at PGD and at substitution."""
    # Look-alike letters are left out: the tokenizer reads them as the letters that they look like.
    typos = RandomTypos(kinds=("swap", "drop", "insert", "key"), tries=4, max_changed=0.3,
                        rank="gradient", constraints=(KeepWords(),))  # fmt: skip
    slips = Words(typos, victim, data)
    words = Words(WordSubstitution(rank="gradient", max_queries=20), victim, data)
    return InTurn(slips, Adversarial(PGD(EPS, steps=2)), slips, words)


@dataclass(frozen=True)
class Recipe:
    """objective: of the victim and its training texts. after: so many plain steps first.
    folds: whether look-alike letters are read as Latin ones."""

    objective: Callable[[Classifier, Dataset], Objective | None]
    texts: int = 2500
    epochs: int = 10
    after: int = 0
    folds: bool = False


VICTIMS = {  # reviews-clean is made as `advlib run` makes its own
    "reviews-clean": Recipe(plain),
    "reviews-robust": Recipe(whole_protocol, texts=5000, epochs=8, after=80, folds=True),
}


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


def train(recipe: Recipe, seed: int = SEED) -> tuple[Classifier, AdversarialTrainer, Objective]:
    """bert-tiny, fine-tuned by a recipe."""
    texts = advlib.load_text("reviews", train_size=recipe.texts)["train"]
    set_seed(seed)
    victim = load_classifier("bert-tiny", labels=texts.features["label"].names, device="cpu")
    if recipe.folds:
        victim = fold_look_alikes(victim)
    objective = recipe.objective(victim, texts)
    trainer = finetune(
        victim,
        texts,
        objective,
        out="runs/victims",
        epochs=recipe.epochs,
        after=recipe.after,
        learning_rate=LEARNING_RATE,
        seed=seed,
    )
    return victim, trainer, objective


def keep(name: str, recipe: Recipe, seed: int, target: Path) -> None:
    """Train a victim and write it, in half precision, with its card."""
    victim, trainer, objective = train(recipe, seed)
    shutil.rmtree(target, ignore_errors=True)
    with quiet():
        victim.model.to(torch.float16).save_pretrained(target)
        victim.tokenizer.save_pretrained(target)
    seal(target, {})
    card = {
        "made by": "tools/victims.py",
        "from": "bert-tiny",
        "objective": repr(objective or "L"),
        "texts": recipe.texts,
        "epochs": recipe.epochs,
        "learning rate": LEARNING_RATE,
        "batch": 32,
        "seed": seed,
        "torch": torch.__version__,
    }
    if recipe.after:
        card["plain steps first"] = recipe.after
    if recipe.folds:
        card["tokenizer"] = "bert-tiny's, behind advlib.models.fold_look_alikes"
    passes = {kind: round(count) for kind, count in trainer.passes.items()}
    plain_units = 3 * 10 * -(-2500 // 32)  # of reviews-clean
    card["passes over a batch"] = passes
    card["cost of training, that of reviews-clean being 1"] = round(
        sum(passes.values()) / plain_units, 1
    )
    seal(target, card)


def measure(target: Path, recipe: Recipe) -> None:
    """Add to the card what the weights as shipped, in half precision, withstand."""
    card = json.loads((target / "card.json").read_text())
    del card["sha256"]
    shipped = load_classifier(target, device="cpu")
    test = advlib.load_text("reviews", train_size=2)["test"]
    table = advlib.robustness(shipped, test, TESTS, progress=True)
    rows = table[table["attack"] != MAJORITY].to_dict("records")
    card["accuracy on 1,000 test texts"] = {
        row["threat model"]: round(row["accuracy"], 4) for row in rows
    }
    if recipe.folds:  # made for the protocol, so measured by it
        found = evaluate(target, device="cpu", progress=True)
        rows = [*found["rows"], found["worst case"]]
        card["protocol standard, 500 test texts"] = {
            row["threat model"]: round(row["accuracy"], 4) for row in rows
        }
    seal(target, card)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, default=Path("runs/bert-tiny"))
    parser.add_argument("--only", choices=VICTIMS, help="this one, and bert-tiny as it is")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, help="a folder in place of the package")
    chosen = parser.parse_args()
    if not chosen.only:
        ship_pretrained(chosen.pretrained)
    for name in [chosen.only] if chosen.only else VICTIMS:
        keep(name, VICTIMS[name], chosen.seed, chosen.out or CHECKPOINTS / name)
        if not chosen.out:
            measure(CHECKPOINTS / name, VICTIMS[name])
