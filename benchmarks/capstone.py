"""The worked example of lesson 20: a project on real questions to a bank, in examples/capstone/.

    python benchmarks/capstone.py --model FOLDER --home FOLDER

--home holds banking77/train.csv and test.csv (Casanueva et al. 2020, CC BY 4.0), of which the
questions on cards are taken; --model a small encoder. Trains two models, attacks them, evaluates
them with `advlib evaluate`, each in a process of its own, and writes all files of the project but
README.md and the judgement in pairs.csv, which are a person's. What is there is kept, so this can
be interrupted; texts and weights go to runs/capstone/ and stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from transformers import set_seed

import advlib
from advlib.finetuning import finetune
from course import capstone
from course.lesson_20.checks import Stretched
from course.lesson_20.workshop import control, kept_best, pairs, squeezed, table

from common import machine

ROOT = Path(__file__).parents[1]
RUNS, OUT = ROOT / "runs" / "capstone", ROOT / "examples" / "capstone"
INTENTS = """activate_my_card card_about_to_expire card_arrival card_not_working
card_payment_fee_charged card_swallowed change_pin compromised_card contactless_not_working
declined_card_payment lost_or_stolen_card pin_blocked""".split()
TRAIN, TEST, EPOCHS, RATE = 960, 200, 4, 3e-4
MOST = 0.25  # of the words
THREAT = Stretched(times=(2, 3, 4, 5), max_changed=MOST)
ATTACK = Stretched(times=(3, 4, 5), max_changed=MOST)  # as people write
ADAPTIVE = Stretched(times=(2,), max_changed=MOST)
SENTENCE = ("Whoever writes to the bank may write one vowel two to five times in at most a quarter "
            "of the words, knows the model's answers, and may ask as often as needed.")  # fmt: skip
# Model -> how many equal letters its tokenizer reads as one; 0: none, as it came.
MODELS = {"plain": 0, "defended": 2}


def write_data(home: Path) -> dict:
    """The questions on cards as two files; returns what `load_text` and the command need."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        found = pd.read_csv(home / "banking77" / f"{name}.csv")
        found = found[found["category"].isin(INTENTS)]
        found.to_csv(RUNS / f"{name}.csv", index=False)
    return {"text": "text", "label": "category"}


def train(name: str, model: str, data) -> float:
    """Train one model unless it is there; its folder. Returns the CPU seconds."""
    folder, clock = RUNS / name, RUNS / f"{name}.json"
    if not clock.is_file():
        set_seed(0)
        victim = advlib.load_classifier(model, labels=data["train"].features["label"].names)
        victim = squeezed(victim, MODELS[name]) if MODELS[name] else victim
        start = time.process_time()
        finetune(victim, data["train"], out=str(RUNS / "steps"), epochs=EPOCHS, learning_rate=RATE)
        victim.save(folder)
        clock.write_text(json.dumps(time.process_time() - start))
    return json.loads(clock.read_text())


def evaluate(name: str, out: str, eps: float, n: int) -> None:
    """The card of one model, from a process of its own."""
    if (OUT / out / "card.json").is_file():
        return
    command = ["evaluate", RUNS / name, "--data", RUNS / "train.csv", "--test", RUNS / "test.csv",
               "--text", "text", "--label", "category", "--protocol", "text", "--eps", eps,
               "--n", n, "--out", OUT / out]  # fmt: skip
    subprocess.run([sys.executable, "-m", "advlib.app.cli", *map(str, command)], check=True)


def own(data, seconds: dict[str, float]) -> None:
    """own.json and, unless somebody has begun to judge them, pairs.csv."""
    test, start = data["test"], time.process_time()
    plain, defended = (advlib.load_classifier(RUNS / name) for name in MODELS)
    patched = squeezed(plain, 3)
    attacks = {"control": control(ATTACK), "attack": ATTACK, "adaptive": ADAPTIVE}
    rows, outcomes = {}, {}
    for name, victim in {"plain": plain, "patched": patched, "defended": defended}.items():
        rows[name], outcomes[name] = table(victim, test, attacks)
        print(name, [(row["name"], row["hits"]) for row in rows[name]], flush=True)
    names = data["test"].features["label"].names
    if not (OUT / "pairs.csv").is_file():
        both = [*pairs(outcomes["plain"]["attack"], names, 30),
                *pairs(outcomes["plain"]["adaptive"], names, 20)]  # fmt: skip
        capstone.write_pairs(OUT, both, "judge A")
    best = kept_best(plain, test, ATTACK)
    cost = {f"training, {name}": round(s, 1) for name, s in seconds.items()}
    cost["attacks"] = round(time.process_time() - start, 1)
    capstone.write_own(OUT, {
        "threat model": repr(THREAT), "sentence": SENTENCE,
        "models": rows, "keep best": best, "pairs": {}, "cost": cost,
        "measured on": machine(), "intents": INTENTS, "training texts": len(data["train"]),
    })  # fmt: skip


def judge() -> None:
    """Put what the judge said into own.json."""
    rows = capstone.read_pairs(OUT / "pairs.csv")
    kept = json.loads((OUT / "own.json").read_text())
    if capstone.judges(rows):
        capstone.write_own(OUT, kept | {"pairs": capstone.judged(rows)})


def main(args: argparse.Namespace) -> None:
    columns = write_data(Path(args.home))
    data = advlib.load_text(RUNS / "train.csv", test=RUNS / "test.csv", train_size=TRAIN,
                            test_size=TEST, **columns)  # fmt: skip
    print({split: len(rows) for split, rows in data.items()}, flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    seconds = {name: train(name, args.model, data) for name in MODELS}
    if not (OUT / "own.json").is_file():
        own(data, seconds)
    judge()
    for out, name in {"defended": "defended", "again": "defended", "plain": "plain"}.items():
        evaluate(name, out, args.eps, args.n)
    for sentence in sum(capstone.check(OUT), []):
        print("-", sentence)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub name of the encoder")
    parser.add_argument("--home", required=True, help="folder of banking77/")
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("--n", type=int, default=100, help="texts of the cards")
    main(parser.parse_args())
