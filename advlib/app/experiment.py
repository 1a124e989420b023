"""What `advlib run` does, from top to bottom: load, train twice, attack both, report."""

from __future__ import annotations

import json
import math
import os
import platform
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset, DatasetDict
from filelock import FileLock, Timeout
from tqdm.auto import tqdm
from transformers import set_seed

from advlib.app.options import Options, check_same, objective_of, prepare, record
from advlib.app.recipes import for_text
from advlib.app.report import result_sentence, warnings, write_report
from advlib.app.rows import interval, score, some
from advlib.attacks import FGM, PGD, Noise, WordSubstitution
from advlib.attacks.search import WordResult
from advlib.callbacks import ONE_CLASS
from advlib.corpora import WORLDS
from advlib.corpora.engine import Text, parts_of
from advlib.data import data_hash, load_text, texts_of
from advlib.evaluation import Outcome, attack_all, collapse, compare, majority, summarise
from advlib.finetuning import finetune, is_real
from advlib.models import Classifier, embedded_checkpoints, load_classifier

MODELS = ("standard", "adversarial")
CURVE = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)  # times eps
FEWER = (0.5, 1.0, 2.0)  # for a real model
CURVE_TEXTS = 200
FEW_TESTS = 50
WORD_TEXTS = 100  # real models: an attack on words asks a hundred times about a text
SELECTION = 200  # validation texts that choose the checkpoint, at most
EMBEDDED_EPS = 0.3
TOLERANCE = 0.02  # clean accuracy that the adversarial model may give away
PACKAGES = ("torch", "transformers", "datasets", "accelerate", "numpy")


def experiment(options: Options, folder: Path, command: str, *, with_curve: bool) -> dict:
    """Run it and return what stands in `report.json`. A folder with trained models, checkpoints or
    attacked texts of the same options and data is gone on with, not begun again.

    Raises ValueError for a folder that holds a run with other options or other data, or in which
    another process is at work: its models would be shown under the wrong names."""
    if options.objective == "clean":
        raise ValueError("--objective clean leaves nothing to compare: the standard model is that")
    check_folder(folder)
    with alone(folder):
        return _experiment(options, folder, command, with_curve)


def _experiment(options: Options, folder: Path, command: str, with_curve: bool) -> dict:
    data = load_data(options)
    kept = record(options, data_hash(data))
    if any((folder / name).is_dir() for name in MODELS):
        check_same(folder, kept)
    victim = fresh(options, data)
    real = is_real(victim.model)
    say_data(options, data, real)
    eps = options.eps or (None if real else EMBEDDED_EPS)
    if not all((folder / name / "training.json").is_file() for name in MODELS):
        probe(options, victim, data["train"], eps or EMBEDDED_EPS / 10)
    (folder / "options.json").write_text(json.dumps(kept, indent=1) + "\n")

    run = Run(options, folder, data, real)
    print("\nTraining standard: L")
    victims = {"standard": run.train("standard")}
    if not (folder / "adversarial" / "training.json").is_file():
        run.judge(victims["standard"])
    eps = eps or run.propose(victims["standard"])
    objective = objective_of(options, eps)
    print(f"\nTraining adversarial: {objective}")
    victims["adversarial"] = run.train("adversarial", objective, eps)

    print("\nAttacking both")
    rows = run.attack(victims, make_attacks(options, eps))
    found = run.judged()
    print_table(rows, found["majority"])
    points = run.curve(victims, eps) if with_curve else []
    result = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": command,
        "seed": options.seed,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in PACKAGES}},
        "data": {"source": options.data, **data.num_rows, "labels": victim.labels},
        "recipe": recipe_of(options, eps, run.trained),
        "table": rows,
        **found,
        "curve": points,
        "training": {name: trained["log"] for name, trained in run.trained.items()},
        "cost": {name: trained["cost"] for name, trained in run.trained.items()},
        **examples(victims["standard"], data["test"], run.outcomes),
    }
    page = write_report(folder, result)
    print("\n" + "\n".join(["! " + said for said in warnings(result)] + [result_sentence(result)]))
    print(f"\nReport: {page}\nModels: {folder / 'standard'}, {folder / 'adversarial'}")
    return result


# ---------------------------------------------------------------------- before any work is lost


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else writes into the folder inside. The lock goes with the process that holds it."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            try:
                yield
            finally:
                (folder / ".lock").unlink(missing_ok=True)
                with suppress(OSError):  # a run that was refused leaves no folder behind
                    folder.rmdir()
    except Timeout as error:
        raise ValueError(f"another process is at work in {folder}: wait for it, or choose another "
                         "folder with --out") from error  # fmt: skip


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


def load_data(options: Options) -> DatasetDict:
    few = {"test_size": options.test_size or 500} if options.data in WORLDS else {}
    return load_text(**options.loading() | few)


def say_data(options: Options, data: DatasetDict, real: bool) -> None:
    n, held_out = len(data["test"]), len(data["validation"])
    said = [f"{len(data['train'])} texts to train on", f"{n} to test on"]
    if options.data not in WORLDS:
        columns = (f"{role} from {name!r}" for role, name in data.columns.items())
        print(f"columns: {', '.join(columns)}")
        choose = f"{min(SELECTION, held_out)} to choose the checkpoint by"
        said.insert(1, choose if real else f"{held_out} set aside")
    names = ", ".join(some(data["train"].features["label"].names))
    print(f"{', '.join(said)}, classes: {names}")
    if n < FEW_TESTS:
        print(f"! {n} test text{'s' * (n > 1)} can show little: an interval of ± {98 / n**0.5:.0f} "
              "points around each number")  # fmt: skip
    if options.data not in WORLDS and options.model in embedded_checkpoints():
        print(f"{options.model} knows the words of the embedded worlds alone; for other texts name "
              "an encoder with --model.")  # fmt: skip


def fresh(options: Options, data: DatasetDict) -> Classifier:
    """The model before training; its new head depends on the seed alone."""
    set_seed(options.seed)
    return load_classifier(options.model, labels=data["train"].features["label"].names)


def probe(options: Options, victim: Classifier, data: Dataset, eps: float) -> None:
    """Attack a few texts, so that what cannot work fails before hours of training and not after."""
    few = data.select(range(min(8, len(data))))
    for attack in make_attacks(options, eps):
        attack_all(victim, few, attack)
    batch = victim.encode(texts_of(few), list(few["label"]))
    FGM(eps)(victim.model, batch, keep_best=False)  # also where no guess above was right
    objective_of(options, eps)


def make_attacks(options: Options, eps: float) -> list:
    """The attacks that test both models."""
    on_words = [WordSubstitution(options.data)] if options.data in WORLDS else for_text()
    return [Noise(eps), FGM(eps), PGD(eps, steps=10), *on_words]


# ---------------------------------------------------------------------- one run


class Run:
    """A run and what it has found so far; each part is kept in the folder as soon as it is there,
    so that an interrupted run goes on."""

    def __init__(self, options: Options, folder: Path, data: DatasetDict, real: bool):
        self.options, self.folder, self.data, self.real = options, folder, data, real
        held_out = data["validation"]
        self.held_out = held_out.select(range(min(SELECTION, len(held_out))))
        self.trained: dict[str, dict] = {}  # model -> what `read_training` returns
        self.outcomes: dict[tuple[str, str], Outcome] = {}  # (model, name of an attack)
        self.floor: float | None = None  # of clean accuracy, when checkpoints are chosen
        self.watch = False

    def train(self, name: str, objective=None, eps: float | None = None) -> Classifier:
        """A fine-tuned model. Resumes where there is a checkpoint; a model that is there already
        is loaded."""
        options, folder = self.options, self.folder / name
        if (folder / "training.json").is_file():
            print(f"found in {folder}")
            self.trained[name] = read_training(folder / "training.json")
            return load_classifier(folder)
        victim = fresh(options, self.data)
        weights = 4 * sum(p.numel() for p in victim.model.parameters())
        check_folder(folder, need=10 * weights)  # three checkpoints with their optimiser states
        victim.model = prepare(victim.model, options)
        start, checkpoints = time.perf_counter(), folder / "checkpoints"
        if options.report_to == "tensorboard":  # by default beside the checkpoints, which go
            os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.folder / "tensorboard" / name)
            print(f"tensorboard --logdir {self.folder / 'tensorboard'}")
        judged = dict(evaluation=self.held_out, attack=eps and PGD(eps, steps=3), floor=self.floor)
        trainer = finetune(
            victim, self.data["train"], objective, out=str(checkpoints),
            watch=self.watch, resume=True,
            **(judged if self.real else dict(save_strategy="epoch", save_total_limit=2)),
            **options.training(),
        )  # fmt: skip
        if trainer.state.global_step < trainer.state.max_steps:
            raise KeyboardInterrupt(
                f"Stopped; a checkpoint is kept. Go on with: advlib run --resume {self.folder}"
            )
        if options.lora:
            victim.model = victim.model.float().merge_and_unload()
        history = trainer.state.log_history
        self.trained[name] = {
            "log": [e for e in history if "clean_loss" in e or "eval_choice" in e],
            "cost": {"seconds": time.perf_counter() - start, **trainer.passes},
            "used": what_was_done(trainer),
        }
        victim.save(folder)
        write_json(folder / "training.json", self.trained[name])
        shutil.rmtree(checkpoints, ignore_errors=True)
        return victim

    def judge(self, victim: Classifier) -> None:
        """What the plain model says of the validation texts is what the other is measured by: a
        collapse can only be told where the plain model has not collapsed."""
        plain = attack_all(victim, self.held_out)
        self.floor = float(plain.robust.mean()) - TOLERANCE
        self.watch = np.bincount(plain.clean).max() < ONE_CLASS * len(plain.clean)
        if not self.watch:
            print(f"\n! The standard model says {victim.labels[plain.clean[0]]!r} for nearly every "
                  "text: more texts, more epochs or --class-weights may help; are the labels "
                  "right?")  # fmt: skip

    def propose(self, victim: Classifier) -> float:
        """The ε at which PGD takes half of the validation texts that the plain model gets right."""
        file = self.folder / "eps.json"
        if not file.is_file():
            eps, share, n = propose_eps(victim, self.held_out)
            write_json(file, {"eps": eps, "share": share, "texts": n})
        found = json.loads(file.read_text())
        print(f"\nNo --eps was given: ε = {found['eps']:g}, at which PGD turns "
              f"{found['share']:.0%} of the {found['texts']} validation texts that the standard "
              "model gets right")  # fmt: skip
        return found["eps"]

    def attack(self, victims: dict[str, Classifier], attacks: list) -> list[dict]:
        """The rows of the table: both models, clean and under each attack."""
        rows = []
        for name, victim in victims.items():
            for attack in [None, *attacks]:
                # A search asks a real model a hundred times about each text.
                slow = self.real and attack is not None and not hasattr(attack, "passes")
                most = WORD_TEXTS if slow else len(self.data["test"])
                outcome = self.outcome(name, victim, attack, most)
                rows.append({"model": name, **summarise(outcome, attack)})
                self.outcomes[name, rows[-1]["attack"]] = outcome
        return rows

    def outcome(self, name: str, victim: Classifier, attack, most: int) -> Outcome:
        """What an attack makes of the first texts of the test set. It is kept, and not done again;
        what comes out for a text does not depend on the others."""
        said, n = f"{name} {attack!r}", min(most, len(self.data["test"]))
        file = self.folder / "outcomes" / f"{name}-{zlib.crc32(said.encode()):08x}.json"
        kept = json.loads(file.read_text()) if file.is_file() else {}
        if kept.pop("of", None) == said and len(kept["labels"]) >= n:
            return read_outcome(kept, n)
        texts = self.data["test"].select(range(n))
        outcome = attack_all(victim, texts, attack, progress=True)
        file.parent.mkdir(exist_ok=True)
        write_json(file, {"of": said, **asdict(outcome)})
        return outcome

    def judged(self) -> dict:
        """Whether the models have learned anything, and whether one withstands more than the other:
        both met the same texts."""
        clean = {name: self.outcomes[name, "none"] for name in MODELS}
        labels = self.data["test"].features["label"].names
        attacks = dict.fromkeys(attack for _, attack in self.outcomes)
        verdicts = {attack: compare(*(self.outcomes[name, attack] for name in MODELS))
                    for attack in attacks}  # fmt: skip
        return {"warnings": {name: collapse(seen, labels) for name, seen in clean.items()},
                "verdicts": verdicts, "majority": majority(clean["standard"].labels)}  # fmt: skip

    def curve(self, victims: dict[str, Classifier], eps: float) -> list[dict]:
        """Accuracy against ε under PGD-10, for each model. Ctrl-C keeps what is there."""
        rows, factors = [], (0.0, *(FEWER if self.real else CURVE))
        points = [(name, eps * factor) for name in victims for factor in factors]
        try:
            for name, radius in tqdm(points, desc="accuracy against ε, points", leave=False):
                attack = PGD(radius, steps=10) if radius else None
                try:
                    row = summarise(self.outcome(name, victims[name], attack, CURVE_TEXTS), attack)
                except ValueError:  # δ could erase the text: the curve ends before
                    continue
                kept = {key: row[key] for key in ("n", "accuracy", "low", "high")}
                rows.append({"model": name, "eps": radius, **kept})
        except KeyboardInterrupt:
            print(f"\nStopped; the report has what is there. The rest of the curve: "
                  f"advlib run --resume {self.folder}")  # fmt: skip
        return rows


def recipe_of(options: Options, eps: float, trained: dict[str, dict]) -> dict:
    """What was asked for, and what each training really used, defaults too."""
    asked = asdict(options) | {"eps": eps}
    for name in ("epochs", "learning_rate", "after"):  # said below, as it was
        del asked[name]
    return asked | {f"{model}: {key}": value for model, own in trained.items()
                    for key, value in own["used"].items()}  # fmt: skip


def what_was_done(trainer) -> dict:
    """What a training really used, defaults too."""
    done = trainer.recipe
    found = {"minimised": repr(trainer.objective), "epochs": done.epochs,
             "steps": trainer.state.max_steps, "learning rate": done.learning_rate}  # fmt: skip
    if trainer.state.best_global_step:
        found["checkpoint"] = (f"step {trainer.state.best_global_step}, the best on "
                               f"{len(trainer.eval_dataset)} validation texts")  # fmt: skip
    return found | ({"taken back": trainer.softened} if trainer.softened else {})


def propose_eps(victim: Classifier, data: Dataset) -> tuple[float, float, int]:
    """(ε, the share of right texts that PGD with 5 steps turns wrong at it, how many right ones
    there are): the ε at which that share is nearest to a half, by bisection between 0.01 and 1.

    With a smaller one there is little to defend against, with a larger one little left to defend.
    One step would be no measure: what FGM takes hardly grows where its step is long.
    Raises ValueError where no ε takes between a third and two thirds of the texts.
    """
    n = int((attack_all(victim, data).robust).sum())
    tried, low, high = {}, 0.01, 1.0
    while n and high / low > 1.05:
        eps = float(f"{math.sqrt(low * high):.2g}")
        if eps in tried:
            break
        try:
            tried[eps] = 1 - attack_all(victim, data, PGD(eps, steps=5)).robust.sum() / n
        except ValueError:  # larger than the embeddings
            tried[eps] = math.inf
        low, high = (eps, high) if tried[eps] < 0.5 else (low, eps)
    best = min(tried, key=lambda eps: abs(tried[eps] - 0.5), default=None)
    if best is None or not 1 / 3 <= tried[best] <= 2 / 3:
        raise ValueError(
            f"no ε can be proposed: of {len(data)} validation texts the standard model gets {n} "
            "right, and at no ε between 0.01 and 1 PGD turns about half of them; give --eps"
        )
    return best, float(tried[best]), n


# ---------------------------------------------------------------------- files


def write_json(file: Path, content: dict) -> None:
    """At once or not at all, so that a process that is killed leaves no half of it."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps(content, default=np.ndarray.tolist) + "\n", "utf-8")
    new.replace(file)


def read_training(file: Path) -> dict:
    """{"log", "cost", "used"} of a finished training. Raises ValueError where it is damaged."""
    try:
        kept = json.loads(file.read_text("utf-8"))
        return {"log": list(kept["log"]), "cost": dict(kept["cost"]), "used": dict(kept["used"])}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{file} is damaged ({error}): delete it, and this model is trained "
                         "anew") from error  # fmt: skip


def read_outcome(kept: dict, n: int) -> Outcome:
    """An outcome as `Run.outcome` wrote it, of its first n texts; seconds are those of all."""
    kept |= {key: np.array(kept[key][:n]) for key in ("clean", "attacked", "labels")}
    if kept["results"] is not None:
        kept["results"] = [
            WordResult(**{k: tuple(v) if isinstance(v, list) else v for k, v in r.items()})
            for r in kept["results"][:n]
        ]
    return Outcome(**kept)


# ---------------------------------------------------------------------- what is shown


def examples(victim: Classifier, data: Dataset, outcomes: dict) -> dict:
    """Ten attacked texts: changed words where words were attacked, else where PGD's δ lies."""
    found = outcomes.get(("standard", "WordSubstitution"))
    kind = "tokens" if found is None else "words"
    found = found or outcomes["standard", "PGD"]
    shown = []
    for i in np.flatnonzero((found.clean == found.labels) & ~found.robust)[:10]:
        if kind == "words":
            r = found.results[i]
            original, text = (" ‖ ".join(parts_of(one)) for one in (r.original, r.text))
            own = dict(original=original, text=text, changed=list(r.changed), success=True)
        else:
            own = token_weights(victim, texts_of(data)[i], int(found.labels[i]))
        shown.append({"model": "standard", "label": victim.labels[found.labels[i]],
                      "predicted": victim.labels[found.attacked[i]], **own})  # fmt: skip
    return {"examples_kind": kind, "examples": shown}


def token_weights(victim: Classifier, text: Text, label: int) -> dict:
    """Tokens of a text and how much of an FGM perturbation falls on each, the largest being 1."""
    batch = victim.encode([text], [label])
    sizes = FGM(0.1)(victim.model, batch)[0].norm(dim=-1)
    keep = ~batch["special_tokens_mask"][0].bool()
    tokens = victim.tokenizer.convert_ids_to_tokens(batch["input_ids"][0][keep].tolist())
    weights = (sizes[keep] / sizes.max().clamp_min(1e-12)).tolist()
    return {"tokens": tokens, "weights": [round(w, 3) for w in weights]}


def print_table(rows: list[dict], constant: dict) -> None:
    """Accuracy of both models, clean and under each attack, with 95 % intervals."""
    shown = pd.DataFrame({model: {r["attack"]: interval(r) for r in rows if r["model"] == model}
                          for model in MODELS}).rename({"none": "no attack"})  # fmt: skip
    clean = {r["model"]: score(r["macro_f1"]) for r in rows if r["attack"] == "none"}
    shown.loc["macro-F1, no attack"] = clean
    n, fewer = rows[0]["n"], {r["attack"]: r["n"] for r in rows if r["n"] < rows[0]["n"]}
    less = "".join(f", {attack} on {count}" for attack, count in fewer.items())
    print(f"\nAccuracy on {n} texts{less}, with 95 % intervals; always the most frequent class: "
          f"{constant['accuracy']:.1%}")  # fmt: skip
    print(shown.to_string())
