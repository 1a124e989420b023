"""The worked example of lesson 20: a project on real questions to a bank, in examples/capstone/.

    python benchmarks/capstone.py --model FOLDER --home FOLDER

--home holds banking77/train.csv and test.csv (Casanueva et al. 2020, CC BY 4.0), of which the
questions on cards are taken; --model a small encoder. Trains two models, attacks them, evaluates
them as `advlib evaluate` does, each in a process of its own, and writes all files of the project
but README.md and the judgement in pairs.csv, which are a person's. What is there is kept, so this
can be interrupted; texts and weights go to runs/capstone/ and stay out of the repository.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binom
from transformers import set_seed

import advlib
from advlib.app import protocol
from advlib.app.rows import interval
from advlib.attacks import PGD, Noise, Typos
from advlib.attacks.words import KeepWords
from advlib.finetuning import finetune
from advlib.statistics import wilson
from course import capstone
from course.lesson_20.checks import Stretched, surviving
from course.lesson_20.workshop import MOST as QUERIES
from course.lesson_20.workshop import control, kept_best, pairs, read_as, remembering, squeezed
from course.lesson_20.workshop import table as measured

from common import machine, table, write

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
SENTENCE = ("Whoever writes to the bank may write one vowel of a word two to five times, in at "
            "most a quarter of the words and in no word of one letter, sees the model's scores, "
            "and may ask as often as needed.")  # fmt: skip
# A fifth of the steps of the protocol "text" and no restarts: as much as two cores manage.
PROTOCOL = protocol.Protocol("capstone example", 1, (
    Noise(0.1), PGD(0.1, steps=4), Typos(max_changed=0.2, per_kind=1, constraints=(KeepWords(),)),
), n=100, calibration=100)  # fmt: skip
COLUMNS = {"text": "text", "label": "category"}
# Model -> how many equal letters its tokenizer reads as one; 0: none, as it came.
MODELS = {"plain": 0, "defended": 2}
# Model -> the attack among whose candidates random search looks there.
SEARCHED = {"plain": "attack", "patched": "adaptive"}


@dataclass(frozen=True, repr=False)
class Surviving(Stretched):
    """Candidates that are read differently from the word where `least` letters are one."""

    least: int = 3

    def options(self, word):
        return surviving(word, super().options(word), read_as(self.least))


# Model -> what its full search looks through: the threat model, less what the defence undoes.
WHOLE = {"plain": THREAT, "patched": Surviving(times=THREAT.times, least=3, max_changed=MOST),
         "defended": THREAT}  # fmt: skip


def write_data(home: Path) -> None:
    """The questions on cards as two files."""
    RUNS.mkdir(parents=True, exist_ok=True)
    for name in ("train", "test"):
        found = pd.read_csv(home / "banking77" / f"{name}.csv")
        found = found[found["category"].isin(INTENTS)]
        found.to_csv(RUNS / f"{name}.csv", index=False)


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


def evaluate(name: str, out: str) -> None:
    """The card of one model, from a process of its own."""
    if not (OUT / out / "card.json").is_file():
        subprocess.run([sys.executable, __file__, "--card", name, out], check=True)


def card(name: str, out: str) -> None:
    """What that process does: as `advlib evaluate`, with a protocol that two cores manage."""
    found = protocol.evaluate(RUNS / name, RUNS / "train.csv", PROTOCOL, test=RUNS / "test.csv",
                              **COLUMNS)  # fmt: skip
    (OUT / out).mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (OUT / out / "card.json").write_text(text, "utf-8")


def own(data, seconds: dict[str, float]) -> None:
    """own.json and, unless somebody has begun to judge them, pairs.csv."""
    test, start = data["test"], time.process_time()
    plain, defended = (remembering(advlib.load_classifier(RUNS / name)) for name in MODELS)
    patched = remembering(squeezed(plain, 3))
    attacks = {"control": control(ATTACK), "attack": ATTACK, "adaptive": ADAPTIVE}
    rows, outcomes = {}, {}
    for name, victim in {"plain": plain, "patched": patched, "defended": defended}.items():
        rows[name], outcomes[name] = measured(victim, test, attacks, SEARCHED.get(name, ""),
                                              WHOLE[name])  # fmt: skip
        print(name, [(row["name"], row["hits"]) for row in rows[name]], flush=True)
    names = data["test"].features["label"].names
    if not (OUT / "pairs.csv").is_file():
        write_pairs(outcomes["plain"], names)
    best = kept_best(plain, test, ATTACK)
    cost = {f"training, {name}": round(s, 1) for name, s in seconds.items()}
    cost["attacks"] = round(time.process_time() - start, 1)
    capstone.write_own(OUT, {
        "threat model": repr(THREAT), "sentence": SENTENCE,
        "models": rows, "keep best": best, "pairs": {}, "cost": cost,
        "measured on": machine(), "intents": INTENTS, "training texts": len(data["train"]),
    })  # fmt: skip


def write_pairs(outcomes: dict, names: list[str]) -> None:
    """The first 25 texts that the attack turned, and the next 25 that the adaptive attack did."""
    first = pairs(outcomes["attack"], names, 25)
    both = [*first, *pairs(outcomes["adaptive"], names, 25, first[-1]["number"] + 1)]
    capstone.write_pairs(OUT, both, "judge A")


def judge() -> None:
    """Put what the judge said into own.json."""
    rows = capstone.read_pairs(OUT / "pairs.csv")
    kept = json.loads((OUT / "own.json").read_text())
    if capstone.judges(rows):
        capstone.write_own(OUT, kept | {"pairs": capstone.judged(rows)})


def called_clear(n: int, p: float) -> float:
    """How often the rule of exercise 20.2 calls a lead clear where there is none: both attacks
    leave the share `p`, measured on `n` other texts each. Exact, by summing over all counts."""
    hits = np.arange(n + 1)
    lows = np.array([wilson(int(k), n)[0] for k in hits])
    return float(binom.pmf(hits, n, p) @ binom.cdf(np.ceil(lows * n - 1e-9) - 1, n, p))


def publish(command: str) -> None:
    """The page of results, and the numbers that lesson 20 shows."""
    own = json.loads((OUT / "own.json").read_text())
    cards = {name: json.loads((OUT / name / "card.json").read_text()) for name in MODELS}
    shown = {name: {row["attack"]: row["accuracy"] for row in [*card["rows"], card["worst case"]]}
             for name, card in cards.items()}  # fmt: skip
    (ROOT / "course" / "lesson_20" / "worked.json").write_text(
        json.dumps({"own": own, "cards": shown}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    names = ["clean", "control", "random search", "attack", "adaptive", "full search", "worst"]
    found = {model: {row["name"]: row for row in rows} for model, rows in own["models"].items()}
    rows = [[model, *(interval(row[name]) if name in row else "–" for name in names)]
            for model, row in found.items()]  # fmt: skip
    searched = {name: row["random search"] for name, row in found.items() if "random search" in row}
    limits = "; ".join(
        f"{name}: {row['threat model'].rpartition('=')[2].rstrip(')')} queries, of which it took "
        f"{row['queries']:.1f}" for name, row in searched.items())  # fmt: skip
    false = [called_clear(size, p) for size in (100, 200) for p in (0.3, 0.5, 0.7, 0.8, 0.9)]
    attacks = [*cards["plain"]["rows"], cards["plain"]["worst case"]]
    others = [[name, *(interval(row) for row in [*card["rows"], card["worst case"]])]
              for name, card in cards.items()]  # fmt: skip
    kept, best = own["pairs"], own["keep best"]
    write("capstone", "A project on real questions: the worked example of lesson 20", f"""\
{len(own["intents"])} intents on cards of Banking77 (Casanueva et al. 2020, CC BY 4.0), \
{own["training texts"]} texts to train on, an encoder of 22 million weights, seed 0. Threat model: \
`{own["threat model"]}`. {own["sentence"]} `patched` is `plain` with three or more equal letters \
read as one, `defended` a model trained with two or more read as one.

{table(["model", *names], rows)}

n = {own["models"]["plain"][0]["n"]} test texts, 95 % Wilson intervals. `control` is one random \
change of as many words; `random search` tries such changes; its limit for each text is what the \
attack (the adaptive one, on `patched`) takes on average, rounded up ({limits}). `full search` \
tries them in the whole threat model, with up to {QUERIES} queries for each text; on `patched` \
without the candidates that its tokenizer undoes. `worst` is the worst of all columns that were \
measured, so more queries may find less. Plain model, texts that \
withstand so many queries of the attack: \
{", ".join(f"{b['queries']}: {b['hits']}" for b in best)}. \
{kept["hits"]} of {kept["n"]} pairs keep their label \
[{kept["low"]:.1%}, {kept["high"]:.1%}], by {kept["judges"]} judge. CPU seconds, where what the \
model reads alike is computed once: \
{", ".join(f"{name} {s:.0f}" for name, s in own["cost"].items())}.

The rule of exercise 20.2 (below the control's interval) takes the control for exact. Two \
attacks that leave the same share, between 30 % and 90 %, measured on 100 or 200 other texts each: \
it calls one clearly stronger in {min(false):.0%} to {max(false):.0%} of the draws (an exact sum, \
no simulation), where a one-sided test would in 2.5 %.

The cards of the protocol `{cards["plain"]["protocol"]}`, whose attacks the defence does not know:

{table(["model", *(row["attack"] for row in attacks)], others)}

The project's folder is [examples/capstone/](../../examples/capstone/README.md).""", command)


def main(args: argparse.Namespace) -> None:
    write_data(Path(args.home))
    data = advlib.load_text(RUNS / "train.csv", test=RUNS / "test.csv", train_size=TRAIN,
                            test_size=TEST, **COLUMNS)  # fmt: skip
    print({split: len(rows) for split, rows in data.items()}, flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    seconds = {name: train(name, args.model, data) for name in MODELS}
    if not (OUT / "own.json").is_file():
        own(data, seconds)
    for out, name in {"defended": "defended", "again": "defended", "plain": "plain"}.items():
        evaluate(name, out)
    judge()
    publish("python benchmarks/capstone.py --model FOLDER --home FOLDER")
    for sentence in sum(capstone.check(OUT), []):
        print("-", sentence)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="folder or Hub name of the encoder")
    parser.add_argument("--home", help="folder of banking77/")
    parser.add_argument("--card", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.card:
        card(*chosen.card)
    elif chosen.model and chosen.home:
        main(chosen)
    else:
        parser.error("give --model and --home")
