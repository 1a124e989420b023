"""What `advlib run` does, from top to bottom: load, train twice, attack both, report."""

from __future__ import annotations

import json
import platform
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from transformers import set_seed

from advlib.attacks import FGM, PGD, EmbeddingAttack, Noise, WordSubstitution
from advlib.corpora import WORLDS
from advlib.corpora.engine import Text, parts_of
from advlib.data import load_text, texts_of
from advlib.evaluation import attack_all, summarise
from advlib.html_report import write_report
from advlib.models import Classifier, embedded_checkpoints, load_classifier
from advlib.objectives import Adversarial
from advlib.training import finetune

MODELS = ("standard", "adversarial")
CURVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # times eps
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "numpy")


@dataclass
class Options:
    """Everything that decides a run; kept in its folder as `options.json`."""

    data: str = "reviews"
    test: str | None = None
    model: str = "bert-tiny"
    text: str | None = None
    label: str | None = None
    encoding: str = "utf-8"
    train_size: int | None = None
    test_size: int | None = None
    eps: float = 0.3
    steps: int = 1
    lam: float = 1.0
    epochs: float | None = None
    learning_rate: float | None = None
    batch_size: int = 32
    seed: int = 0

    @classmethod
    def read(cls, folder: Path) -> Options:
        """The options of an earlier run. Raises ValueError where the folder holds none."""
        file = folder / "options.json"
        if not file.is_file():
            raise ValueError(f"{folder} holds no run to go on with: it has no options.json")
        try:
            return cls(**json.loads(file.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file} is not what this version of advlib writes ({error}): begin "
                             "anew with another --out") from error  # fmt: skip


def experiment(options: Options, folder: Path, command: str) -> dict:
    """Run it and return what stands in `report.json`. A folder with trained models or checkpoints
    of the same options is gone on with, not begun again.

    Raises ValueError for a folder that holds a run with other options: its models would be shown
    under the wrong names."""
    trained, attacks = make_attacks(options)
    objectives = {"standard": None, "adversarial": Adversarial(trained, lam=options.lam)}
    if any((folder / model).is_dir() for model in MODELS):
        check_same(folder, asdict(Options.read(folder)), asdict(options))
    data = load_data(options)
    check_folder(folder)
    (folder / "options.json").write_text(json.dumps(asdict(options), indent=1) + "\n")
    names = data["train"].features["label"].names
    probe(options, data["train"], names, [trained, *attacks])
    print(
        f"{len(data['train'])} texts to train on, {len(data['test'])} to test on, "
        f"classes: {', '.join(names)}"
    )
    if options.data not in WORLDS:
        print("Word attacks are left out: only a world knows which words keep the label.")
        if options.model in embedded_checkpoints():
            print(f"{options.model} knows the words of the embedded worlds alone; for other texts "
                  "name an encoder with --model.")  # fmt: skip

    victims, logs, costs = {}, {}, {}
    for model, objective in objectives.items():
        title = (
            f"{model}: L" if objective is None else f"{model}: L + {options.lam:g}·L_adv, {trained}"
        )
        print(f"\nTraining {title}")
        victims[model], logs[model], costs[model] = train(
            options, data["train"], names, objective, folder / model, folder
        )

    print("\nAttacking both")
    rows, outcomes = [], {}
    for model, victim in victims.items():
        for attack in [None, *attacks]:
            outcome = attack_all(victim, data["test"], attack, progress=True)
            outcomes[model, type(attack).__name__] = outcome
            rows.append({"model": model, **summarise(outcome, attack)})
    print_table(rows)

    texts = data["test"].select(range(min(200, len(data["test"]))))
    result = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command,
        "seed": options.seed,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "data": {
            "source": options.data,
            "train": len(data["train"]),
            "test": len(data["test"]),
            "labels": names,
        },
        "recipe": {**asdict(options), "training attack": repr(trained)},
        "table": rows,
        "curve": curve(victims, texts, options.eps),
        "training": logs,
        "cost": costs,
        **examples(victims["standard"], data["test"], outcomes),
    }
    page = write_report(folder, result)
    print(f"\nReport: {page}\nModels: {folder / 'standard'}, {folder / 'adversarial'}")
    return result


def make_attacks(options: Options) -> tuple[EmbeddingAttack, list]:
    """The attack that trains and those that test. Raises ValueError for settings without sense."""
    if options.steps < 1:
        raise ValueError(f"--steps must be at least 1, got {options.steps}")
    for name in ("epochs", "learning_rate"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {value}")
    trained = FGM(options.eps) if options.steps == 1 else PGD(options.eps, steps=options.steps)
    attacks = [Noise(options.eps), FGM(options.eps), PGD(options.eps, steps=10)]
    if options.data in WORLDS:  # elsewhere nobody knows which words keep the label
        attacks.append(WordSubstitution(options.data))
    return trained, attacks


def check_same(folder: Path, there: dict, now: dict) -> None:
    """Raise ValueError where the folder's models or checkpoints were made with other options."""
    others = [f"{name} {there.get(name)!r}, not {value!r}" for name, value in now.items()
              if there.get(name) != value]  # fmt: skip
    if others:
        raise ValueError(f"{folder} holds a run with other options ({'; '.join(others)}): choose "
                         "another folder with --out")  # fmt: skip


def probe(options: Options, data: Dataset, names: list[str], attacks: list) -> None:
    """Load the model and attack a few texts, so that what cannot work fails before hours of
    training and not after."""
    victim = load_classifier(options.model, labels=names)
    few = data.select(range(min(8, len(data))))
    for attack in attacks:
        attack_all(victim, few, attack)
    batch = victim.encode(texts_of(few), list(few["label"]))
    attacks[0](victim.model, batch, keep_best=False)  # also where no guess above was right


def load_data(options: Options) -> DatasetDict:
    sizes = dict(train_size=options.train_size, test_size=options.test_size)
    if options.data in WORLDS:
        sizes["test_size"] = options.test_size or 500
    return load_text(
        options.data,
        test=options.test,
        text=options.text,
        label=options.label,
        encoding=options.encoding,
        seed=options.seed,
        **sizes,
    )


def check_folder(folder: Path, need: float = 0.2e9) -> None:
    """Raise OSError with a sentence where the folder cannot be written or the disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise OSError(
            f"cannot write to {folder} ({error.strerror}): choose another folder with --out"
        ) from error
    free = shutil.disk_usage(folder).free
    if free < need:
        raise OSError(
            f"only {free / 1e9:.2f} GB are free where {folder} is, {need / 1e9:.2f} GB are needed: "
            "make room or choose another folder with --out"
        )


def train(
    options: Options, data: Dataset, names: list[str], objective, folder: Path, run: Path
) -> tuple[Classifier, list[dict], dict]:
    """A fine-tuned model, its training log, and what it cost. Resumes where there is a checkpoint;
    a model that is there already is loaded."""
    done = folder / "training.json"
    if done.is_file():
        print(f"found in {folder}")
        return load_classifier(folder), *read_training(done)
    epochs, rate = recipe(options.model)
    set_seed(options.seed)  # the new classification head is random
    victim = load_classifier(options.model, labels=names)
    weights = 4 * sum(p.numel() for p in victim.model.parameters())
    check_folder(folder, need=8 * weights)  # two checkpoints with their optimiser states
    start = time.perf_counter()
    trainer = finetune(
        victim,
        data,
        objective,
        out=str(folder / "checkpoints"),
        seed=options.seed,
        epochs=options.epochs or epochs,
        learning_rate=options.learning_rate or rate,
        batch_size=options.batch_size,
        save_strategy="epoch",
        save_total_limit=2,
        resume=bool(list(folder.glob("checkpoints/checkpoint-*"))),
    )
    if trainer.state.global_step < trainer.state.max_steps:
        raise KeyboardInterrupt(
            f"Stopped; a checkpoint is kept. Go on with: advlib run --resume {run}"
        )
    log = [entry for entry in trainer.state.log_history if "clean_loss" in entry]
    cost = {"seconds": time.perf_counter() - start, **trainer.passes}
    victim.save(folder)
    done.write_text(json.dumps({"log": log, "cost": cost}, indent=1) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return victim, log, cost


def read_training(file: Path) -> tuple[list[dict], dict]:
    """(log, cost) of a training that was ended. Raises ValueError where the file is damaged."""
    try:
        kept = json.loads(file.read_text())
        return list(kept["log"]), dict(kept["cost"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}): delete it, and this model is trained "
                         "anew") from error  # fmt: skip


def recipe(model: str) -> tuple[float, float]:
    """(epochs, learning rate) that suit an embedded model or a real encoder."""
    return (10, 1e-3) if model in embedded_checkpoints() else (3, 5e-5)


def curve(victims: dict[str, Classifier], texts: Dataset, eps: float) -> list[dict]:
    """Accuracy against ε under PGD-10, for each model."""
    rows = []
    for model, victim in victims.items():
        for factor in (0.0, *CURVE):
            attack = PGD(eps * factor, steps=10) if factor else None
            try:
                row = summarise(attack_all(victim, texts, attack), attack)
            except ValueError:  # so large that δ could erase the text: the curve ends here
                break
            kept = {name: row[name] for name in ("n", "accuracy", "low", "high")}
            rows.append({"model": model, "eps": eps * factor, **kept})
    return rows


def examples(victim: Classifier, data: Dataset, outcomes: dict, most: int = 10) -> dict:
    """Ten attacked texts: changed words where words were attacked, else where PGD's δ lies."""
    words = outcomes.get(("standard", "WordSubstitution"))
    if words is not None:
        fooled = [i for i, r in enumerate(words.results) if r.success][:most]
        return {
            "examples_kind": "words",
            "examples": [
                {
                    "model": "standard",
                    "original": " ‖ ".join(parts_of(words.results[i].original)),
                    "text": " ‖ ".join(parts_of(words.results[i].text)),
                    "changed": list(words.results[i].changed),
                    "label": victim.labels[words.labels[i]],
                    "predicted": victim.labels[words.attacked[i]],
                    "success": True,
                }
                for i in fooled
            ],
        }
    pgd = outcomes["standard", "PGD"]
    fooled = np.flatnonzero((pgd.clean == pgd.labels) & ~pgd.robust)[:most]
    texts = texts_of(data)
    return {
        "examples_kind": "tokens",
        "examples": [
            {
                "model": "standard",
                "label": victim.labels[pgd.labels[i]],
                "predicted": victim.labels[pgd.attacked[i]],
                **token_weights(victim, texts[i], int(pgd.labels[i])),
            }
            for i in fooled
        ],
    }


def token_weights(victim: Classifier, text: Text, label: int, eps: float = 0.1) -> dict:
    """Tokens of a text and how much of an FGM perturbation falls on each, the largest being 1."""
    batch = victim.encode([text], [label])
    sizes = FGM(eps)(victim.model, batch)[0].norm(dim=-1)
    keep = ~batch["special_tokens_mask"][0].bool()
    tokens = victim.tokenizer.convert_ids_to_tokens(batch["input_ids"][0][keep].tolist())
    weights = (sizes[keep] / sizes.max().clamp_min(1e-12)).tolist()
    return {"tokens": tokens, "weights": [round(w, 3) for w in weights]}


def print_table(rows: list[dict]) -> None:
    """Accuracy of both models, clean and under each attack, with 95 % intervals."""
    frame = pd.DataFrame(rows)
    frame["shown"] = [f"{r['accuracy']:6.1%} [{r['low']:.1%}, {r['high']:.1%}]" for r in rows]
    wide = frame.pivot(index="attack", columns="model", values="shown")
    order = list(dict.fromkeys(frame["attack"]))
    shown = wide.loc[order, list(MODELS)].rename(index={"none": "no attack"})
    print(f"\nAccuracy on {rows[0]['n']} texts, with 95 % intervals")
    print(shown.rename_axis(index=None, columns=None).to_string())
