"""The defaults on data that nobody here made: no collapse, and what they gain.

    python benchmarks/strangers.py --model FOLDER --home FOLDER

--home holds sst2/train.tsv and dev.tsv (text, tab, label; no header), banking77/train.csv and
test.csv (columns text, category) and financial_phrasebank/Sentences_75Agree.txt (text@label,
Latin-1). Every row is `advlib run` with its defaults, three seeds with 800 texts and one with
3,000; it is kept in runs/strangers/, so an interrupted benchmark goes on where it stopped.
`--onset` adds what other moments for the attack to set in would have given, `--others` other
objectives and class weights. Writes docs/results/strangers-data.md and, with these two,
docs/results/onset.md and docs/results/strangers-others.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD
from advlib.finetuning import finetune
from advlib.models import load_classifier
from advlib.objectives import Adversarial

from common import table, write

RUNS = Path(__file__).parents[1] / "runs" / "strangers"
SETS = {"sst2": (2, 800), "phrasebank": (3, 800), "banking10": (10, 800), "sst2-3000": (2, 3000)}
TEXTS = 200
ATTACKS = {"none": "clean", "Noise": "noise", "FGM": "FGM", "PGD": "PGD-10",
           "EmbeddingNeighbours": "neighbours", "Typos": "typos"}  # fmt: skip
# How the attack sets in: plain steps before it, or λ that grows from the first step on.
ONSETS = {"at once": dict(after=0), "λ grows over the first half": dict(after=0, grow=0.5),
          "after 30 % of the steps": dict()}  # fmt: skip
# Other settings of `advlib run`, and the sets that they are tried on.
OTHERS = {"madry": ("sst2", ["--objective", "madry"]),
          "freelb": ("sst2", ["--objective", "freelb"]),
          "free": ("sst2", ["--objective", "free"]),
          "class weights": ("phrasebank", ["--class-weights"])}  # fmt: skip


def prepare(home: Path) -> None:
    """One CSV to train on and one to test on for each set, without texts that are in both."""
    RUNS.mkdir(parents=True, exist_ok=True)
    raw = dict(sep="\t", header=None, names=["text", "label"], quoting=csv.QUOTE_NONE)
    names = {0: "negative", 1: "positive"}
    sst2 = [pd.read_csv(home / "sst2" / f, **raw).replace({"label": names})
            for f in ("train.tsv", "dev.tsv")]  # fmt: skip
    banking = [pd.read_csv(home / "banking77" / f).rename(columns={"category": "label"})
               for f in ("train.csv", "test.csv")]  # fmt: skip
    intents = sorted(banking[0].label.value_counts().index[:10])
    banking = [table[table.label.isin(intents)] for table in banking]
    file = home / "financial_phrasebank" / "Sentences_75Agree.txt"
    lines = [line.rsplit("@", 1) for line in file.read_text("latin-1").splitlines()]
    phrases = shuffled(pd.DataFrame(lines, columns=["text", "label"]))
    files = {"sst2": sst2, "banking10": banking, "phrasebank": [phrases[400:], phrases[:400]]}
    for name, (train, test) in files.items():
        test = shuffled(test)
        train = shuffled(train[~train.text.isin(test.text)])
        test.to_csv(RUNS / f"{name}-test.csv", index=False)
        train[:800].to_csv(RUNS / f"{name}.csv", index=False)
        if name == "sst2":
            train[:3000].to_csv(RUNS / f"{name}-3000.csv", index=False)


def shuffled(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.drop_duplicates("text").sample(frac=1, random_state=0, ignore_index=True)


def command(name: str, seed: int, model: str, other: str = "") -> list[str]:
    test = f"{name.split('-')[0]}-test.csv"
    own = OTHERS[other][1] if other else []
    return ["run", "--model", model, "--data", f"{name}.csv", "--test", test,
            "--test-size", str(TEXTS), "--seed", str(seed), *own, "--no-curve"]  # fmt: skip


def run(name: str, seed: int, model: Path, other: str = "") -> dict:
    """The report of a run, which is made where it is not there."""
    folder = RUNS / (f"{name}-{seed}" + f" {other}" * bool(other))
    if not (folder / "report.json").is_file():
        print(f"{name}, seed {seed} {other}", flush=True)
        called = command(name, seed, str(model.resolve()), other) + ["--out", str(folder)]
        script = "from advlib.app.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", script, *called], cwd=RUNS,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
        (folder / "log.txt").write_bytes(done.stdout)
        if done.returncode:  # a training that stopped with its reason is a result too
            return {"failed": done.stdout.decode().strip().splitlines()[-1]}
    return json.loads((folder / "report.json").read_text())


def is_there(name: str, seed: int) -> bool:
    return (RUNS / f"{name}-{seed}" / "report.json").is_file()


def accuracies(report: dict, model: str) -> dict[str, float]:
    return {ATTACKS[r["attack"]]: 100 * r["accuracy"] for r in report["table"]
            if r["model"] == model and r["attack"] in ATTACKS}  # fmt: skip


def onset(name: str, way: str, seed: int, model: Path) -> list[float]:
    """[clean, FGM, PGD-10] of another onset, with everything else as in the run."""
    report = run(name, seed, model)
    kept = RUNS / f"{name}-{seed}" / f"onset {way}.json"
    if way == "after 30 % of the steps":
        found = accuracies(report, "adversarial")
        return [found[k] for k in ("clean", "FGM", "PGD-10")]
    if kept.is_file():
        return json.loads(kept.read_text())
    print(f"{name}, seed {seed}: {way}", flush=True)
    data = advlib.load_text(RUNS / f"{name}.csv", test=RUNS / f"{name.split('-')[0]}-test.csv",
                            test_size=TEXTS, seed=seed)  # fmt: skip
    set_seed(seed)
    victim = load_classifier(model, labels=data["train"].features["label"].names)
    eps, steps = report["recipe"]["eps"], report["recipe"]["adversarial: steps"]
    settings = dict(ONSETS[way])
    warmup = int(settings.pop("grow", 0) * steps)
    with tempfile.TemporaryDirectory() as folder:
        finetune(victim, data["train"], Adversarial(FGM(eps, same_dropout=True), warmup=warmup),
                 out=folder, seed=seed, evaluation=data["validation"], attack=PGD(eps, steps=3),
                 watch=False, disable_tqdm=True, **settings)  # fmt: skip
    measured = advlib.robustness(victim, data["test"], [FGM(eps), PGD(eps, steps=10)])
    found = [100 * float(measured.set_index("attack")["accuracy"][attack])
             for attack in ("none", "FGM", "PGD")]  # fmt: skip
    kept.write_text(json.dumps(found))
    return found


def others(chosen: list[str], model: Path) -> None:
    """The page of other objectives and class weights, seed 0."""
    rows, notes = [], []
    for other in chosen:
        name = OTHERS[other][0]
        reports = {"the default": run(name, 0, model), other: run(name, 0, model, other)}
        for way, report in reports.items():
            if "failed" in report:
                notes.append(f"- {name}, {way}: {report['failed']}")
                continue
            found = accuracies(report, "adversarial")
            clean = next(r for r in report["table"]
                         if r["model"] == "adversarial" and r["attack"] == "none")  # fmt: skip
            rows.append([name, way, f"{report['recipe']['eps']:g}", f"{found['clean']:.1f}",
                         f"{100 * clean['macro_f1']:.1f}", clean["classes"],
                         f"{found['FGM']:.1f}", f"{found['PGD-10']:.1f}"])  # fmt: skip
        notes.append(f"- {other}: `advlib {' '.join(command(name, 0, 'FOLDER', other))}`")
    text = (
        "`advlib run` with another objective or with class weights and all else by default, seed "
        f"0, {TEXTS} test texts: clean accuracy, macro-F1 in %, number of classes predicted, and "
        "accuracy under `FGM` and `PGD(steps=10)`, all of the adversarial model.\n\n"
        + table(["data", "way", "ε", "clean", "macro-F1", "classes", "FGM", "PGD-10"],
                list(map(list, dict.fromkeys(map(tuple, rows)))))
        + "\n\n" + "\n".join(notes)
    )  # fmt: skip
    write("strangers-others", "Other objectives on a stranger's data", text,
          "python benchmarks/strangers.py --model FOLDER --home FOLDER --others")  # fmt: skip


def spread(values: list[float]) -> str:
    return f"{np.mean(values):.1f}" + (f" ({', '.join(f'{v:.1f}' for v in values)})"
                                       if len(values) > 1 else "")  # fmt: skip


def main(args) -> None:
    torch.set_num_threads(args.threads)
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    prepare(Path(args.home))
    model, rows, notes = Path(args.model), [], []
    for name in (chosen := args.only or list(SETS)):
        classes, texts = SETS[name]
        seeds = args.seeds[:1] if name == "sst2-3000" else args.seeds
        seeds = [s for s in seeds if not args.there or is_there(name, s)]
        if not seeds:
            continue
        reports = [run(name, seed, model) for seed in seeds]
        for seed, report in zip(seeds, reports, strict=True):
            if "failed" in report:
                notes.append(f"- {name}, seed {seed}: {report['failed']}")
        reports = [r for r in reports if "failed" not in r]
        for kind in ("standard", "adversarial"):
            found = [accuracies(report, kind) for report in reports]
            eps = ", ".join(f"{r['recipe']['eps']:g}" for r in reports)
            rows.append([f"{name}: {classes} classes, {texts} texts", eps, kind,
                         *(spread([f[k] for f in found]) for k in ATTACKS.values())])  # fmt: skip
        shown = " ".join(command(name, seeds[0], "FOLDER"))
        notes.append(f"- {name}: `advlib {shown}`" + ", and so on for each seed" * (len(seeds) > 1))
    interval = 98 / TEXTS**0.5
    text = (
        "`advlib run` with its defaults on sets of other people, with an encoder of 22 M "
        f"parameters: accuracy in % on {TEXTS} test texts (words: on the first 100), mean over the "
        "training seeds and each seed in brackets, the first being 0. The choice of texts, the "
        f"same in both rows of a set, adds up to ± {interval:.0f} points (95 %) to each, ± 10 for "
        "words. A tenth of the texts chooses the checkpoint, the rest trains. ε was measured by "
        "the run on its plain model; attacks: `Noise`, `FGM` and `PGD(steps=10)` of that ε, "
        "neighbours in the embedding table and typos on a fifth of the words (meaning unchecked)."
        "\n\n"
        + table(["data", "ε by seed", "model", *ATTACKS.values()], rows)
        + "\n\n" + "\n".join(notes)
    )  # fmt: skip
    note = "python benchmarks/strangers.py --model FOLDER --home FOLDER"
    write("strangers-data", "The defaults on a stranger's data", text, note)
    if args.others is not None:
        others(args.others or list(OTHERS), model)
    if args.onset:
        lines = []
        for name, way in ((n, w) for n in chosen if n != "sst2-3000" for w in ONSETS):
            seeds = [s for s in args.onset
                     if not args.there or (RUNS / f"{name}-{s}" / f"onset {way}.json").is_file()
                     or (way == list(ONSETS)[-1] and is_there(name, s))]  # fmt: skip
            if found := [onset(name, way, seed, model) for seed in seeds]:
                lines.append([name, way, *(spread([f[k] for f in found]) for k in range(3))])
        text = (
            f"When the attack sets in: accuracy in % on {TEXTS} test texts, FGM training with the "
            f"ε of the run, seed {', '.join(map(str, args.onset))}; everything else as in "
            f"[the defaults](strangers-data.md). ± {interval:.0f} points (95 %) by the choice of "
            "texts, which all rows of a set share. The last way is the default: not because it is "
            "ahead, but because an objective without a clean term collapses when it begins at "
            "once ([eighteen ways](defence-reviews.md)).\n\n"
            + table(["data", "the attack sets in", "clean", "FGM", "PGD-10"], lines)
        )
        write("onset", "When the attack sets in", text, f"{note} --onset 0")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub name of the encoder")
    parser.add_argument("--home", required=True, help="folder of the three data sets")
    parser.add_argument("--only", nargs="*", choices=list(SETS))
    parser.add_argument("--others", nargs="*", choices=list(OTHERS))
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--onset", type=int, nargs="*", help="seeds of the comparison of onsets")
    parser.add_argument("--there", action="store_true", help="only the runs that are kept")
    parser.add_argument("--threads", type=int, default=1)
    main(parser.parse_args())
