"""Ship checkpoints: put bert-tiny into the package, fine-tune the victims from it, and write
their cards. `make checkpoints` runs tools/pretrain.py and then this.

    python tools/victims.py --pretrained runs/bert-tiny
    python tools/victims.py --only reviews-robust --seed 1 --out runs/robust/seed-1    # not shipped
    python tools/victims.py --only reviews-robust --leave-out key --out runs/robust/without-key
    python tools/victims.py --only bank-clean bank-robust                     # these, shipped
    python tools/victims.py --only news-plain-long --out runs/monitor/long-0  # a control
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
from advlib.app.protocol import evaluate
from advlib.attacks import FGM, PGD, RandomTypos, Typos, WordSubstitution
from advlib.attacks.words import KeepWords
from advlib.evaluation import MAJORITY
from advlib.finetuning import finetune
from advlib.models import CHECKPOINTS, Classifier, fold_look_alikes, load_classifier, quiet
from advlib.objectives import Adversarial, InTurn, Objective, Words

EPS, SEED = 0.3, 0
RUNS = Path("runs/victims")
TESTS = (FGM(EPS), PGD(EPS, steps=10))  # and WordSubstitution of the world
TYPOS = Typos(max_changed=0.2, constraints=(KeepWords(),))


def plain(victim: Classifier, data: Dataset, world: str) -> None:
    return None


# What is trained on. Not look-alike letters: the tokenizer reads them as what they look like.
SLIPS = dict(kinds=("swap", "drop", "insert", "key"), constraints=(KeepWords(),))


def many_slips(victim: Classifier, data: Dataset, world: str) -> Objective:
    """Against the whole of `advlib evaluate --protocol standard`. Every second step is on typos,
    the hardest to withstand: as many different ones as possible, without a search. The steps
    between take turns at PGD and at substitution."""
    slips = Words(RandomTypos(per_kind=12, max_changed=0.3, **SLIPS), victim, data)
    return InTurn(slips, against_pgd(), slips, against_substitution(victim, data, world))


def harsh_slips(victim: Classifier, data: Dataset, world: str) -> Objective:
    """The same with the slips that hurt most: those that a search finds within 40 queries, and the
    harshest of four texts with random ones."""
    searched = Typos(rank="gradient", max_queries=40, max_changed=0.25, **SLIPS)
    drawn = RandomTypos(rank="gradient", tries=4, max_changed=0.25, **SLIPS)
    searched, drawn = (Words(attack, victim, data) for attack in (searched, drawn))
    others = against_pgd(), against_substitution(victim, data, world)
    return InTurn(searched, drawn, others[0], searched, drawn, others[1])


def slips_and_words(victim: Classifier, data: Dataset, world: str) -> Objective:
    """Against what a writer can do, typos and known substitutes in turn: cheap enough for a CPU."""
    slips = Words(RandomTypos(per_kind=12, max_changed=0.3, **SLIPS), victim, data)
    others = Words(WordSubstitution(world, rank="gradient", max_queries=6), victim, data)
    return InTurn(slips, others)


def against_fgm(victim: Classifier, data: Dataset, world: str) -> Objective:
    return Adversarial(FGM(EPS), lam=1.0)


def against_pgd() -> Objective:
    return Adversarial(PGD(EPS, steps=2))


def against_substitution(victim: Classifier, data: Dataset, world: str) -> Objective:
    return Words(WordSubstitution(world, rank="gradient", max_queries=20), victim, data)


@dataclass(frozen=True)
class Stage:
    """One training. objective: of the victim, its training texts and their world. after: so many
    plain steps first."""

    objective: Callable[[Classifier, Dataset, str], Objective | None]
    epochs: int = 10
    learning_rate: float = 1e-3
    after: int = 0


@dataclass(frozen=True)
class Recipe:
    """stages: one goes on from where the last ended. folds: whether look-alike letters are read as
    Latin ones."""

    stages: tuple[Stage, ...]
    texts: int = 2500
    folds: bool = False
    world: str = "reviews"


VICTIMS = {  # the first two are made as `advlib run` makes its own
    "reviews-clean": Recipe((Stage(plain),)),
    "reviews-fgm": Recipe((Stage(against_fgm),)),
    "reviews-robust": Recipe(
        (Stage(many_slips, 8, after=80), Stage(harsh_slips, 4, 7e-4), Stage(harsh_slips, 2, 7e-4),
         Stage(harsh_slips, 3, 5e-4)),
        texts=5000,
        folds=True,
    ),  # some twenty minutes on one CPU core
    "bank-clean": Recipe((Stage(plain, 6),), texts=5000, world="bank"),
    "news-clean": Recipe((Stage(plain, 6),), texts=5000, world="news"),
    "news-robust": Recipe(
        (Stage(slips_and_words, after=80),), texts=5000, folds=True, world="news"
    ),
    "bank-robust": Recipe((Stage(slips_and_words, after=80),), folds=True, world="bank"),
}
# The robust recipes without their adversary: as many texts, epochs and updates. Not shipped.
CONTROLS = {
    "news-plain-long": Recipe((Stage(plain),), texts=5000, folds=True, world="news"),
    "bank-plain-long": Recipe((Stage(plain),), folds=True, world="bank"),
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


def train(recipe: Recipe, seed: int, name: str) -> tuple[Classifier, list[dict]]:
    """bert-tiny, fine-tuned by a recipe, and what each stage was and cost. What the stages before
    the last one leave is kept in RUNS/name-1, -2, …"""
    texts = advlib.load_text(recipe.world, train_size=recipe.texts)["train"]
    set_seed(seed)
    victim = load_classifier("bert-tiny", labels=texts.features["label"].names, device="cpu")
    if recipe.folds:
        victim = fold_look_alikes(victim)
    done = []
    for k, stage in enumerate(recipe.stages, 1):
        objective = stage.objective(victim, texts, recipe.world)
        trainer = finetune(
            victim,
            texts,
            objective,
            out=RUNS,
            epochs=stage.epochs,
            after=stage.after,
            learning_rate=stage.learning_rate,
            seed=seed,
        )
        done.append({
            "objective": repr(objective or "L"),
            "texts": recipe.texts,
            "epochs": stage.epochs,
            "learning rate": stage.learning_rate,
            "batch": 32,
            "plain steps first": stage.after,
            "passes over a batch": {kind: round(n) for kind, n in trainer.passes.items()},
        })  # fmt: skip
        if k < len(recipe.stages):
            victim.save(RUNS / f"{name}-{k}")
    return victim, done


def keep(name: str, recipe: Recipe, seed: int, target: Path) -> None:
    """Train a victim and write it, in half precision, with its card."""
    victim, stages = train(recipe, seed, target.name)
    shutil.rmtree(target, ignore_errors=True)
    with quiet():
        victim.model.to(torch.float16).save_pretrained(target)
        victim.tokenizer.save_pretrained(target)
    card = {"made by": "tools/victims.py", "from": "bert-tiny", "world": recipe.world}
    card |= stages[0] if len(stages) == 1 else {"stages": stages}
    card |= {"seed": seed, "torch": torch.__version__}
    if recipe.folds:
        card["tokenizer"] = "bert-tiny's, behind advlib.models.fold_look_alikes"
    units = sum(sum(stage["passes over a batch"].values()) for stage in stages)
    plain_units = 3 * 10 * -(-2500 // 32)  # of reviews-clean
    card["cost of training, that of reviews-clean being 1"] = round(units / plain_units, 1)
    seal(target, card)


def measure(target: Path, recipe: Recipe) -> None:
    """Add to the card what the weights as shipped, in half precision, withstand."""
    card = json.loads((target / "card.json").read_text())
    del card["sha256"]
    shipped = load_classifier(target, device="cpu")
    test = advlib.load_text(recipe.world, train_size=2)["test"]
    attacks = [*TESTS, WordSubstitution(recipe.world)]
    tests = {1000: attacks}
    if recipe.world != "reviews":  # the others are tried on fewer, and with typos
        tests = {1000: [], 200: [*attacks, TYPOS]}
    for n, attacks in tests.items():
        table = advlib.robustness(shipped, test.select(range(n)), attacks, progress=True)
        rows = table[table["attack"] != MAJORITY].to_dict("records")
        card[f"accuracy on {n:,} test texts"] = {
            row["threat model"]: round(row["accuracy"], 4) for row in rows
        }
    if recipe.folds:  # made for the protocol, so measured by it
        found = evaluate(target, recipe.world, device="cpu", progress=True)
        rows = [*found["rows"], found["worst case"]]
        card["protocol standard, 500 test texts"] = {
            row["threat model"]: round(row["accuracy"], 4) for row in rows
        }
    seal(target, card)
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pretrained", type=Path, default=Path("runs/bert-tiny"))
    parser.add_argument("--only", choices=[*VICTIMS, *CONTROLS], nargs="+",
                        help="these, and bert-tiny as it is")  # fmt: skip
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--leave-out", choices=SLIPS["kinds"], help="a slip not to train on")
    parser.add_argument("--out", type=Path, help="a folder in place of the package")
    chosen = parser.parse_args()
    SLIPS["kinds"] = tuple(kind for kind in SLIPS["kinds"] if kind != chosen.leave_out)
    if chosen.leave_out and not chosen.out:
        parser.error("what is shipped is trained on all slips: with --leave-out name an --out too")
    if not chosen.out and (controls := CONTROLS.keys() & {*(chosen.only or ())}):
        parser.error(f"{', '.join(sorted(controls))}: a control is not shipped, so name an --out")
    if chosen.out and len(chosen.only or VICTIMS) > 1:
        parser.error("--out is the folder of one victim: name it with --only")
    if not chosen.only:
        ship_pretrained(chosen.pretrained)
    for name in chosen.only or VICTIMS:
        keep(name, (VICTIMS | CONTROLS)[name], chosen.seed, chosen.out or CHECKPOINTS / name)
        if not chosen.out:
            measure(CHECKPOINTS / name, VICTIMS[name])
