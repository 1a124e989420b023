"""Training against adversaries: every objective, several seeds, the same texts and attacks.

    python benchmarks/defence.py                              bert-tiny on the world `reviews`
    python benchmarks/defence.py --model FOLDER --data FILE --test FILE --text 0 --label 1 …

Each run is kept in runs/defence/ as soon as it is measured, so an interrupted benchmark goes on
where it stopped, and `--only NAME` or `--seeds 5` add to what is there. Writes
docs/results/defence-NAME.md and docs/img/defence-NAME.png.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import concatenate_datasets
from transformers import set_seed

import advlib
from advlib import plots
from advlib.attacks import (
    FGM,
    PGD,
    Divergence,
    EmbeddingNeighbours,
    Noise,
    Typos,
    VirtualAdversarial,
    WordSubstitution,
)
from advlib.evaluation import MAJORITY
from advlib.finetuning import finetune
from advlib.models import load_classifier
from advlib.objectives import (
    R3F,
    SMART,
    TRADES,
    VAT,
    Adversarial,
    After,
    Free,
    FreeLB,
    InTurn,
    Madry,
    RDrop,
    Words,
)

from common import RESULTS, table, write

NO_SETTING = ("only", "seeds", "command", "note")  # a kept run is the same without them
RUNS = Path(__file__).parents[1] / "runs" / "defence"
# What others report, with other models, data, budgets and code.
PUBLISHED = """

## Published, as context

Other harnesses: nothing here may be compared with the table above. The accuracy of a plain BERT on
AG News under TextFooler alone lies anywhere between 10 and 39 %, depending on the paper.

- Zhu et al. 2020 (FreeLB, arXiv 1909.11764): GLUE test, BERT-base 78.3 → 79.4. Clean scores.
- Raina et al., "Extreme Miscalibration and the Illusion of Adversarial Robustness", ACL 2024:
  Rotten Tomatoes, accuracy under TextFooler, plain 17.8, PGD training 19.9, FreeLB 19.5 (clean
  89.0, 88.2, 88.7).
"""


def methods(eps: float, victim, data, word_attack, batch: int = 32) -> dict:
    """Name -> (objective, times as many epochs as the others)."""
    one = dict(same_dropout=True)
    madry = Madry(PGD(eps, steps=3))
    freelb = FreeLB(PGD(eps, steps=3, random_start=True, **one))
    free = Free(FGM(eps), replays=4)
    epoch = -(-len(data) // batch)
    words = Words(word_attack, victim, data)
    return {
        "L": (None, 1),
        "L, 4 times as long": (None, 4),
        "R-Drop": (RDrop(), 1),
        "R3F": (R3F(Noise(eps)), 1),
        "FGM": (Adversarial(FGM(eps)), 1),
        "PGD-3": (Adversarial(PGD(eps, steps=3)), 1),
        "PGD-3, 1 plain epoch first": (After(Adversarial(PGD(eps, steps=3)), epoch), 1),
        "Madry, PGD-3": (madry, 1),
        "Madry, PGD-3, 1 plain epoch first": (After(madry, epoch), 1),
        "TRADES-3, β = 1": (TRADES(Divergence(eps, steps=3), beta=1.0), 1),
        "VAT": (VAT(VirtualAdversarial(eps)), 1),
        "SMART-1": (SMART(Divergence(eps, symmetric=True)), 1),
        "FreeLB-3": (freelb, 1),
        "FreeLB-3, 1 plain epoch first": (After(freelb, epoch), 1),
        "Free-4": (free, 1),
        "Free-4, 1 plain epoch first": (After(free, 4 * epoch), 1),
        "words": (words, 1),
        "words and FGM in turn": (InTurn(words, Adversarial(FGM(eps))), 1),
    }


def texts_of(args):
    """The splits. Nothing here looks at a validation set: where all texts are asked for, the tenth
    that `load_text` sets aside goes back."""
    columns = dict(test=args.test, text=args.text, label=args.label, encoding=args.encoding)
    data = advlib.load_text(args.data, train_size=args.train, test_size=args.texts, **columns)
    if args.train is None:
        data["train"] = concatenate_datasets([data["train"], data["validation"]])
    return data


def run(args, name: str, seed: int) -> dict:
    """Train once, measure, and keep the result."""
    file = RUNS / f"{args.name}-{re.sub('[^a-z0-9]+', '-', name.lower())}-{seed}.json"
    settings = {k: v for k, v in vars(args).items() if k not in NO_SETTING}
    if file.is_file():
        kept = json.loads(file.read_text())
        kept["settings"].pop("command", None)
        if kept["settings"] == settings:
            return kept
    data = texts_of(args)
    set_seed(seed)
    victim = load_classifier(args.model, labels=data["train"].features["label"].names)
    in_world = args.data == "reviews"
    swaps = WordSubstitution if in_world else EmbeddingNeighbours
    cheap = swaps(rank="gradient", max_queries=20, max_changed=1.0 if in_world else 0.2)
    objective, longer = methods(args.eps, victim, data["train"], cheap, args.batch)[name]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        trainer = finetune(
            victim, data["train"], objective, out=folder, epochs=args.epochs * longer, seed=seed,
            batch_size=args.batch, learning_rate=args.lr, after=0, watch=False, disable_tqdm=True,
        )  # fmt: skip
        seconds = time.perf_counter() - start
    attacks = [
        PGD(args.eps, steps=20, restarts=5),
        swaps(max_changed=1.0 if in_world else 0.2),
        Typos(max_changed=0.2),
    ]
    measured = advlib.robustness(victim, data["test"], attacks)
    measured = measured[measured["attack"] != MAJORITY]
    units = sum(trainer.passes.values())
    out = {
        "settings": settings, "name": name, "seed": seed, "units": units, "seconds": seconds,
        "accuracy": [100 * a for a in measured["accuracy"]],
        "attacks": ["clean", *map(repr, attacks), "worst of these"],
    }  # fmt: skip
    RUNS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(out, indent=1) + "\n")
    print(name, seed, [f"{a:.1f}" for a in out["accuracy"]], f"{seconds:.0f} s", flush=True)
    return out


def main(args) -> None:
    torch.set_num_threads(args.threads)
    known = methods(args.eps, *_placeholders())
    wanted = [name for name in known if not args.only or name in args.only]
    results = {name: [] for name in wanted}
    for seed in range(args.seeds):
        for name in wanted:
            results[name].append(run(args, name, seed))
    base = {r["seed"]: r["units"] for r in results.get("L", [])}
    rows = []
    for name, runs in results.items():
        cost = np.mean([r["units"] / base[r["seed"]] for r in runs]) if base else float("nan")
        columns = np.array([r["accuracy"] for r in runs]).T
        cells = [
            f"{c.mean():.1f} ± {c.std(ddof=1) if len(c) > 1 else float('nan'):.1f} "
            f"({', '.join(f'{v:.1f}' for v in c)})"
            for c in columns
        ]
        rows.append([name, f"{cost:.1f}", *cells])
    header = ["training", "cost", "clean", "PGD-20, 5 restarts", "words", "typos", "worst of these"]
    train = args.train or len(texts_of(args)["train"])
    text = (
        f"{args.note}Accuracy in % on {args.texts} test texts: mean ± standard deviation over the "
        f"training seeds 0 to {args.seeds - 1}, and each seed in brackets. The choice of texts, "
        f"the same for all rows, adds up to ± {98 / args.texts**0.5:.0f} points (95 %) to each. "
        f"Model `{Path(args.model).name}`, "
        f"data `{args.name}`, {train} training texts, {args.epochs:g} epochs, batch {args.batch}, "
        f"learning rate {args.lr:g}, ε = {args.eps:g} (relative, L2 over the sequence) in training "
        "and test. Cost: units of work over those of plain training (a forward pass, a backward "
        "pass to the input and one on to the weights are one unit each). The attacks:\n\n"
        + "\n".join(f"- `{a}`" for a in next(iter(results.values()))[0]["attacks"][1:-1])
        + "\n\nNo method was tuned: all have the learning rate, the epochs and the ε of the "
        "first row, and λ, β, α, μ = 1." + remarks(wanted)
        + NEIGHBOURS * (args.data != "reviews") + "\n\n" + table(header, rows)
        + verdicts(results) + PUBLISHED.rstrip()
    )  # fmt: skip
    write(f"defence-{args.name}", f"Training against adversaries: {args.name}", text, args.command)
    if base:
        picture(args, results, base)


def remarks(names: list[str]) -> str:
    """What is to be said of the rows that are there."""
    text = ""
    if "L, 4 times as long" in names:
        text += " Longer plain training is there because it is a strong baseline by itself."
    if any("plain epoch" in name for name in names):
        text += (
            ' Without a clean term training may collapse to one class; "1 plain epoch first" is '
            "the remedy. Rows with it may be compared with each other, and with the rest only with "
            "that in mind."
        )
    if "Free-4, 1 plain epoch first" in names:
        text += " Free sees each batch four times in a row, in its plain epoch too."
    if "Madry, PGD-3" in names:
        text += " The same accuracy in every column is a model that collapsed."
    return text


NEIGHBOURS = (
    " “words” puts neighbours in the embedding table in the place of words; antonyms are often "
    "neighbours, and nobody has checked that the label still holds."
)


def verdicts(results: dict[str, list[dict]]) -> str:
    """Two questions, answered from the table."""
    mean = {name: np.mean([r["accuracy"] for r in runs], axis=0) for name, runs in results.items()}
    cost = {name: np.mean([r["units"] for r in runs]) for name, runs in results.items()}
    lines = []
    if {"L", "words"} <= set(mean):
        lines.append(
            f"- Training on words takes accuracy under word substitution from "
            f"{mean['L'][2]:.1f} to {mean['words'][2]:.1f}: {mean['words'][2] - mean['L'][2]:+.1f} "
            "points."
        )
    for reference in ("PGD-3", "PGD-3, 1 plain epoch first"):
        late = "plain epoch" in reference
        rivals = [n for n in mean if n != reference and "word" not in n and n[0] != "L"
                  and ("plain epoch" in n) == late
                  and reference in mean and cost[n] <= cost[reference]]  # fmt: skip
        if rivals:
            best = max(rivals, key=lambda n: mean[n][1])
            gains = [a["accuracy"][1] - b["accuracy"][1]
                     for a, b in zip(results[best], results[reference], strict=True)]  # fmt: skip
            lines.append(
                f"- Of the embedding methods that cost no more than {reference}, {best} does best "
                f"under PGD-20: {mean[best][1]:.1f} against {mean[reference][1]:.1f} (by seed "
                f"{', '.join(f'{g:+.1f}' for g in gains)}), under words {mean[best][2]:.1f} "
                f"against {mean[reference][2]:.1f}."
            )
    return "\n\n## What the table says\n\n" + "\n".join(lines) if lines else ""


def picture(args, results: dict[str, list[dict]], base: dict[int, float]) -> None:
    """Clean and robust accuracy beside the cost of training: marks are means over the seeds, the
    lines through them go from the lowest seed to the highest."""
    cost = {n: np.mean([r["units"] / base[r["seed"]] for r in rs]) for n, rs in results.items()}
    seeds = {n: np.array([r["accuracy"] for r in rs]) for n, rs in results.items()}
    best = max(s[:, 0].mean() for s in seeds.values())  # far below it: collapsed to one class
    learned = [n for n in sorted(cost, key=cost.get)[::-1] if seeds[n][:, 0].min() > 0.75 * best]
    rows = range(len(learned))
    fig, (left, right) = plots.figure(
        9, 1.2 + 0.33 * len(learned), ncols=2, sharey=True, width_ratios=(1, 2.4)
    )
    with plots.style():
        left.barh(rows, [cost[n] for n in learned], height=0.5, color=plots.COLOURS["noise"])
        left.set(yticks=rows, yticklabels=learned, xlabel="cost of training (plain = 1)")
        marks = {"clean": "o", "pgd": "s", "words": "^"}
        for column, (kind, marker) in enumerate(marks.items()):
            colour, values = plots.COLOURS[kind], [seeds[n][:, column] for n in learned]
            right.hlines(rows, list(map(min, values)), list(map(max, values)), color=colour)
            label = {"clean": "clean", "pgd": "PGD-20, 5 restarts", "words": "words replaced"}[kind]
            right.plot(list(map(np.mean, values)), rows, marker, color=colour, label=label)
        right.set(xlabel=f"accuracy on {args.texts} texts (%)", xlim=(0, 101))
        right.grid(axis="x")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        fig.savefig(RESULTS.parent / "img" / f"defence-{args.name}.png", dpi=110)


def _placeholders():
    """What the names of the methods can be listed with, before anything is loaded."""
    victim = load_classifier("bert-tiny", labels=["negative", "positive"])
    attack = WordSubstitution(rank="gradient", max_queries=20)
    return victim, advlib.load_text("reviews", train_size=2)["train"], attack


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default="reviews", help="what to call the data")
    parser.add_argument("--model", default="bert-tiny")
    parser.add_argument("--data", default="reviews")
    parser.add_argument("--test")
    parser.add_argument("--text")
    parser.add_argument("--label")
    parser.add_argument("--encoding", default="utf-8")
    parser.add_argument("--train", type=int, help="so many training texts")
    parser.add_argument("--texts", type=int, default=500, help="so many test texts")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--eps", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="only these methods")
    chosen = parser.parse_args()
    changed = {k: v for k, v in vars(chosen).items() if v != parser.get_default(k)}
    hidden = ("model", "data", "test")  # a path of one machine is of no use to another
    words = [f"--{k} {'FILE' if k in hidden else v}" for k, v in changed.items() if k != "only"]
    chosen.note = ""
    chosen.command = " ".join(["python benchmarks/defence.py", *words])
    main(chosen)
