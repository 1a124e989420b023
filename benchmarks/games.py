"""Attack and defence as a game: the table of defences, mixtures, and training against the past.

    python benchmarks/games.py --make       the page of what was trained before, in half a minute
    python benchmarks/games.py              with the trainings

Reads docs/results/defence-reviews.md and writes course/lesson_13/game.json and
docs/results/games.md. What was measured is kept in runs/games/, so an interrupted benchmark goes on
where it stopped; the page holds what is there.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from scipy.optimize import linprog
from torch import nn
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, WordSubstitution
from advlib.embeddings import perturbed_logits
from advlib.evaluation import attack_all, wilson
from advlib.finetuning import finetune
from advlib.models import Classifier, load_classifier
from advlib.objectives import (
    Adversarial,
    After,
    FreeLB,
    InTurn,
    Objective,
    Words,
    logits_of_both,
    mean_loss,
)

from common import table, write

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "runs" / "games"
SOURCE = ROOT / "docs" / "results" / "defence-reviews.md"
JSON = ROOT / "course" / "lesson_13" / "game.json"
EPS, SEEDS, DRAWS, START = 0.3, (0, 1, 2), 1000, "reviews-clean"
PARTS = ("mixture", "repeated")
PGD20, WORDS, TYPOS = "PGD-20, 5 restarts", "words", "typos"
SETS = {
    "PGD, words": [PGD20, WORDS],
    "PGD, words, typos": [PGD20, WORDS, TYPOS],
    "all: no attack, PGD, words, typos, worst of these": ["clean", PGD20, WORDS, TYPOS,
                                                          "worst of these"],
}  # fmt: skip


# ---------------------------------------------------------------------- the table


def read_page(page: str) -> dict:
    """The table of docs/results/defence-reviews.md, number by number."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in page.splitlines() if line.startswith("|")]  # fmt: skip
    header, rows = rows[0], rows[2:]
    cells = [[re.fullmatch(r"([\d.]+) ± [\d.]+ \((.*)\)", cell).groups() for cell in row[2:]]
             for row in rows]  # fmt: skip
    return {
        "source": "docs/results/defence-reviews.md",
        "texts": int(re.search(r"on (\d+) test texts", page)[1]),
        "attacks": header[2:],
        "defences": [row[0] for row in rows],
        "cost": [float(row[1]) for row in rows],
        "accuracy": [[float(mean) for mean, _ in row] for row in cells],
        "seeds": [[[float(v) for v in seeds.split(", ")] for _, seeds in row] for row in cells],
    }


def as_json(game: dict) -> str:
    """One line for each key, and for each defence."""
    lines = []
    for key, value in game.items():
        rows = isinstance(value, list) and isinstance(value[0], list)
        said = (json.dumps(v, ensure_ascii=False) for v in (value if rows else [value]))
        said = ",\n  ".join(said)
        lines.append(f' "{key}": [\n  {said}\n ]' if rows else f' "{key}": {said}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def learned(game: dict) -> list[int]:
    """The defences that fell to one class on no seed: the rule of benchmarks/defence.py."""
    clean = game["attacks"].index("clean")
    best = max(row[clean] for row in game["accuracy"])
    return [i for i, row in enumerate(game["seeds"]) if min(row[clean]) > 0.75 * best]


# ---------------------------------------------------------------------- matrix games


def maximin(A: np.ndarray) -> tuple[np.ndarray, float]:
    """(p, value): how the row player mixes, and what he is sure of then: the linear programme that
    maximises v with p·A ≥ v in every column."""
    m, n = A.shape
    found = linprog(np.r_[np.zeros(m), -1.0], A_ub=np.c_[-A.T, np.ones(n)], b_ub=np.zeros(n),
                    A_eq=[np.r_[np.ones(m), 0.0]], b_eq=[1.0],
                    bounds=[(0, None)] * m + [(None, None)])  # fmt: skip
    p = np.clip(found.x[:m], 0, None)
    return p / p.sum(), -found.fun


def solve(A: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """(p, q, value): the row player chooses p and wants p·A·q large, the column player q and wants
    it small. One linear programme for each."""
    p, value = maximin(A)
    return p, maximin(-A.T)[0], value


def exploitability(A: np.ndarray, p: np.ndarray, q: np.ndarray) -> float:
    """What both players together would gain by the best answer to the other: 0 in equilibrium."""
    return float((A @ q).max() - (p @ A).min())


def fictitious(A: np.ndarray, rounds: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Fictitious play (Brown 1951): each answers what the other has played on average so far.
    The averages (p, q) after each round."""
    rows, columns = np.zeros(A.shape[0]), np.zeros(A.shape[1])
    rows[0] = columns[0] = 1.0
    for _ in range(rounds):
        i, j = (A @ columns).argmax(), (rows @ A).argmin()
        rows[i] += 1
        columns[j] += 1
        yield rows / rows.sum(), columns / columns.sum()


def double_oracle(A: np.ndarray, start: tuple[int, int] = (0, 0)) -> dict:
    """Solve a small game, let both add their best answer to it, until neither has a better one
    (McMahan, Gordon and Blum 2003)."""
    rows, columns, rounds = [start[0]], [start[1]], 0
    while True:
        rounds += 1
        p, q = np.zeros(A.shape[0]), np.zeros(A.shape[1])
        p[rows], q[columns], value = solve(A[np.ix_(rows, columns)])
        i, j = int((A @ q).argmax()), int((p @ A).argmin())
        if exploitability(A, p, q) < 1e-7 or (i in rows and j in columns):
            return {"p": p, "q": q, "value": value, "rounds": rounds,
                    "rows": len(rows), "columns": len(columns)}  # fmt: skip
        rows += [i] * (i not in rows)
        columns += [j] * (j not in columns)


def values(game: dict, rows: list[int], columns: list[int], draws: int = DRAWS) -> np.ndarray:
    """(draws,) Values of games that might have been measured: the seeds of a defence drawn again,
    with replacement, and of every entry as many texts. The three seeds met the same texts, so their
    mean counts for one set of texts and not for three."""
    rng, seeds = np.random.default_rng(0), np.array(game["seeds"])[np.ix_(rows, columns)] / 100
    found = []
    for _ in range(draws):
        drawn = rng.integers(seeds.shape[2], size=(len(rows), 1, seeds.shape[2]))
        mean = np.take_along_axis(seeds, np.broadcast_to(drawn, seeds.shape), axis=2).mean(2)
        found.append(maximin(rng.binomial(game["texts"], mean) / game["texts"])[1])
    return 100 * np.array(found)


def held_out(game: dict, rows: list[int], columns: list[int]) -> list[tuple[float, float]]:
    """For each seed: the mixture, and the one defence, that are best on the other seeds, as the
    worst attack finds them on this one."""
    seeds, found = np.array(game["seeds"])[np.ix_(rows, columns)], []
    for k in range(seeds.shape[2]):
        known = np.delete(seeds, k, axis=2).mean(2)
        p, _ = maximin(known)
        found.append((float((p @ seeds[:, :, k]).min()),
                      float(seeds[known.min(1).argmax(), :, k].min())))  # fmt: skip
    return found


# ---------------------------------------------------------------------- mixtures of real models


class Mixture(nn.Module):
    """Several models as one: their mean logits or, with odds, for each text those of a model that
    is drawn. δ on the embeddings reaches all of them."""

    def __init__(self, models: list[nn.Module], odds: np.ndarray | None = None, seed: int = 0):
        super().__init__()
        self.models, self.config = nn.ModuleList(models), models[0].config
        self.odds = odds
        self.rng = np.random.default_rng(seed)

    def get_input_embeddings(self):
        return self.models[0].get_input_embeddings()

    def forward(self, input_ids, attention_mask, **_):
        tables = [model.get_input_embeddings() for model in self.models]
        delta = tables[0](input_ids) - tables[0].weight[input_ids]  # what a hook has added
        logits = torch.stack([
            model(inputs_embeds=own.weight[input_ids] + delta, attention_mask=attention_mask).logits
            for model, own in zip(self.models, tables, strict=True)
        ])  # fmt: skip
        if self.odds is None:
            return SimpleNamespace(logits=logits.mean(0))
        drawn = self.rng.choice(len(self.models), len(input_ids), p=self.odds)
        return SimpleNamespace(logits=logits[drawn, range(len(input_ids))])


def survive(wrong: np.ndarray, odds: np.ndarray, asks: float) -> np.ndarray:
    """(texts,) How likely a text stays right whose attacker may ask `asks` times, each answered by
    a model drawn anew. wrong: (texts, candidates, models), whether a model is wrong on a candidate;
    he asks again and again with the candidate that fools the largest share."""
    return (1 - np.clip((wrong @ odds).max(1), 0, 1)) ** asks


MIXED = {
    "FreeLB-3, 1 plain epoch first": lambda victim, data: After(
        FreeLB(PGD(EPS, steps=3, random_start=True, same_dropout=True)), -(-len(data) // 32)),
    "words and FGM in turn": lambda victim, data: InTurn(
        Words(WordSubstitution(rank="gradient", max_queries=20), victim, data),
        Adversarial(FGM(EPS))),
}  # fmt: skip


def kept(name: str, make, may: bool = True) -> list[dict]:
    """[what `make` returns], from runs/games/ where it is there; [] where it may not be made."""
    file = RUNS / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
    if not file.is_file():
        if not may:
            return []
        found = make()
        RUNS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
        print(name, flush=True)
    return [json.loads(file.read_text())]


def trained(objective, seed: int, texts: int, epochs: float) -> Classifier:
    """The embedded victim `reviews-clean`, trained on: from bert-tiny it would take longer."""
    data = advlib.load_text("reviews", train_size=texts)["train"]
    set_seed(seed)
    victim = load_classifier(START, device="cpu")
    victim.model.float()
    with tempfile.TemporaryDirectory() as folder:
        finetune(victim, data, objective(victim, data), out=folder, epochs=epochs, seed=seed,
                 learning_rate=1e-3, after=0, watch=False, disable_tqdm=True)  # fmt: skip
    return victim


def wrong_on(victims, test, attack) -> tuple[np.ndarray, np.ndarray]:
    """(texts, 1 + attacked, models) whether each model is wrong on the text itself and on what the
    attack makes of it against each of `victims` (for δ: the best of its points); and (texts,)
    whether the last of them, which is the mean of the others, is wrong under its own attack."""
    models, texts = victims[:-1], list(test["text"])
    labels = np.array(test["label"])
    wrong = [np.stack([m.logits(texts).argmax(1) != labels for m in models], 1)]
    for victim in victims:
        if hasattr(attack, "passes"):
            one = np.zeros((len(texts), len(models)), bool)
            own = np.zeros(len(texts), bool)
            for chosen, batch in victim.batches(texts, labels, 32):
                delta = attack(victim.model, batch)
                with torch.no_grad():
                    for k, m in enumerate(models):
                        z = perturbed_logits(m.model, batch, delta)
                        one[chosen, k] = (z.argmax(1) != batch["labels"]).numpy()
                    z = perturbed_logits(victim.model, batch, delta)
                own[chosen] = (z.argmax(1) != batch["labels"]).numpy()
        else:
            made = [r.text for r in attack(victim, texts, labels)]
            one = np.stack([m.logits(made).argmax(1) != labels for m in models], 1)
            own = victim.logits(made).argmax(1) != labels
        wrong.append(one)
    return np.stack(wrong, 1), own | (victims[-1].logits(texts).argmax(1) != labels)


def mixture(seed: int, odds: np.ndarray, n: int, texts: int, epochs: float) -> dict:
    """Train the two models that the table mixes, and attack them one by one and together."""
    models = [trained(make, seed, texts, epochs) for make in MIXED.values()]
    for model in models:
        model.model.eval()
    both = Classifier(Mixture([m.model for m in models]).eval(), models[0].tokenizer)
    test = advlib.load_text("reviews", train_size=2, test_size=n)["test"]
    found = {}
    attacks = {"PGD": PGD(EPS, steps=20), "words": WordSubstitution()}
    for name, attack in attacks.items():
        wrong, mean = wrong_on([*models, both], test, attack)
        found[name] = {"wrong": wrong.astype(int).tolist(), "mean": mean.astype(int).tolist()}
    drawn = Classifier(Mixture([m.model for m in models], odds, seed).eval(), models[0].tokenizer)
    results = WordSubstitution()(drawn, list(test["text"]), test["label"])
    labels = np.array(test["label"])
    ends = np.stack([m.logits([r.text for r in results]).argmax(1) != labels for m in models], 1)
    found["drawn"] = {"lost": [int(r.success or r.wrong_before) for r in results],
                      "ends": ends.astype(int).tolist(),
                      "queries": float(np.mean([r.queries for r in results]))}  # fmt: skip
    return found


# ---------------------------------------------------------------------- training as repeated game


@dataclass
class AgainstPast(Objective):
    """L + L_adv, with δ made against the model as it was: one of the last `keep` snapshots, drawn
    anew for each batch; a snapshot is taken every so many steps. Costs what `Adversarial` does."""

    attack: PGD
    keep: int
    every: int = 10
    _past: list = field(default_factory=list, init=False, repr=False)

    def losses(self, model, batch, backward, step, generator):
        if step % self.every == 0:
            self._past = [*self._past, deepcopy(model).eval()][-self.keep :]
        chosen = int(torch.randint(len(self._past), (), generator=generator))
        delta = self.attack(self._past[chosen], batch, keep_best=False, generator=generator)
        logits, moved = logits_of_both(model, batch, batch, delta)
        clean, adv = mean_loss(logits, batch), mean_loss(moved, batch)
        backward(clean + adv)
        return clean + adv, clean, adv


WAYS = {
    "the model of this moment (usual)": lambda v, d: Adversarial(PGD(EPS, steps=2)),
    "its last snapshot": lambda v, d: AgainstPast(PGD(EPS, steps=2), 1),
    "one of the last five": lambda v, d: AgainstPast(PGD(EPS, steps=2), 5),
    "one of all so far": lambda v, d: AgainstPast(PGD(EPS, steps=2), 10**6),
    "nobody (plain), 3.3 times as long": None,
}
LENDERS = (START, "reviews-fgm")


def borrowed(lender: str, test) -> list:
    """[(indices, batch, δ), …] made against an embedded victim."""
    victim, attack = load_classifier(lender, device="cpu"), PGD(EPS, steps=20)
    victim.model.float().eval()
    return [(chosen, batch, attack(victim.model, batch))
            for chosen, batch in victim.batches(list(test["text"]), test["label"], 32)]  # fmt: skip


def repeated(way: str, seed: int, n: int, texts: int, epochs: float, lent: dict) -> dict:
    """Train in one way; right answers without attack, under PGD, and under δ of other models."""
    make = WAYS[way]
    victim = trained(make or (lambda v, d: None), seed, texts, epochs if make else epochs * 10 / 3)
    test = advlib.load_text("reviews", train_size=2, test_size=n)["test"]
    found = {"clean": attack_all(victim, test).robust,
             "PGD-20": attack_all(victim, test, PGD(EPS, steps=20)).robust}  # fmt: skip
    for lender in LENDERS:
        if lender not in lent:
            lent[lender] = borrowed(lender, test)
        right = found["clean"].copy()
        for chosen, batch, delta in lent[lender]:
            with torch.no_grad():
                z = perturbed_logits(victim.model, batch, delta)
            right[chosen] &= (z.argmax(1) == batch["labels"]).numpy()
        found[f"from {lender}"] = right
    return {name: right.astype(int).tolist() for name, right in found.items()}


# ---------------------------------------------------------------------- the page


def with_interval(by_seed: list[float], n: int) -> str:
    """Mean over the seeds, its interval by the choice of texts, and each seed."""
    mean = float(np.mean(by_seed))
    low, high = wilson(round(mean * n), n)
    each = ", ".join(f"{100 * v:.1f}" for v in by_seed)
    return f"{100 * mean:.1f} [{100 * low:.0f}, {100 * high:.0f}] ({each})"


def mixed(names: list[str], p: np.ndarray) -> str:
    return ", ".join(f"{name} {share:.2f}" for name, share in zip(names, p, strict=True)
                     if share > 0.005)  # fmt: skip


def of_the_table(game: dict) -> str:
    """The first part of the page."""
    A, rows_of, lines = np.array(game["accuracy"]), {}, []
    rows_of[f"the {len(learned(game))} that learned"] = learned(game)
    rows_of[f"all {len(A)}"] = list(range(len(A)))
    plays, oracles, outside = [], [], []
    for which, rows in rows_of.items():
        names = [game["defences"][i] for i in rows]
        for name, attacks in SETS.items():
            columns = [game["attacks"].index(a) for a in attacks]
            B = A[np.ix_(rows, columns)]
            p, q, value = solve(B)
            spread = values(game, rows, columns)
            low, high = np.percentile(spread, [2.5, 97.5])
            lines.append([which, name, f"{B.min(1).max():.1f} ({names[B.min(1).argmax()]})",
                          f"{B.max(0).min():.1f}", f"**{value:.1f}** [{low:.1f}, {high:.1f}]",
                          mixed(names, p), mixed(attacks, q),
                          f"{exploitability(B, p, q):.0e}"])  # fmt: skip
            if which.startswith("all"):
                continue
            gaps = [exploitability(B, *pair) for pair in fictitious(B, 2000)]
            plays.append([name, *(f"{gaps[t - 1]:.2f}" for t in (10, 100, 1000, 2000))])
            found = double_oracle(B)
            oracles.append([f"{name}, {len(rows)} × {len(columns)}", found["rounds"],
                            f"{found['rows']} × {found['columns']}", f"{found['value']:.1f}"])
            pairs = held_out(game, rows, columns)
            outside.append([name, *(", ".join(f"{pair[k]:.1f}" for pair in pairs) for k in (0, 1)),
                            f"{np.mean([a - b for a, b in pairs]):+.1f}"])  # fmt: skip
    B = np.random.default_rng(0).normal(size=(60, 400))
    found = double_oracle(B)
    oracles.append(["random numbers, 60 × 400", found["rounds"],
                    f"{found['rows']} × {found['columns']}", f"{found['value']:.3f}"])
    return f"""\
The defender chooses a training, the attacker a kind of attack; the defender gets the accuracy in %.
The entries are those of [eighteen ways of training](defence-reviews.md): means of three training
seeds on the same {game["texts"]} texts. course/lesson_13/game.json holds them, read from that page.

## The value

Best pure: the defence whose worst column is highest (maximin). Minimax: the attack whose best row
is lowest. Where the two agree, mixing helps nobody. The value is what the defender is sure of when
he draws his model and the attacker knows the odds.

{table(["defences", "attacks", "best pure", "minimax", "value [95 %]", "defender", "attacker",
        "exploitability"], lines)}

Every entry has an error of its own. The interval is of {DRAWS:,} tables that might have been
measured: the three seeds of each row drawn again, with replacement, and {game["texts"]} texts an
entry (not three times as many: the seeds met the same texts). Three seeds are few, so it is rough.
The value is a best of noisy numbers, and such a best is too high on average. Who chooses the
mixture on two seeds gets on the third, against the worst attack there:

{table(["attacks", "mixture, by seed", "one defence chosen in the same way", "gain"], outside)}

A row that fell to one class has 50 % in every column, for nobody can turn a constant answer. Such
rows are left out above, and where they are kept they are the best answer to typos: that is no
defence, but a game that counts accuracy alone cannot tell.

## Getting there

Fictitious play, exploitability after so many rounds (points; the defences that learned):

{table(["attacks", "10", "100", "1,000", "2,000"], plays)}

Double oracle, from one training (the first) and one attack (the first):

{table(["game", "rounds", "of it used", "value"], oracles)}"""


def of_the_mixture(found: list[dict], odds: np.ndarray, args) -> str:
    """The second part: two real models, drawn for each answer."""
    n, rows, worst = args.texts, [], {}
    for name in ("PGD", "words"):
        wrong = [np.array(f[name]["wrong"], float) for f in found]
        alone = [[1 - (w[:, 0, k] + w[:, 1 + k, k] > 0).mean() for k in (0, 1)] for w in wrong]
        lines = {
            f"{list(MIXED)[0]}, alone": [a[0] for a in alone],
            f"{list(MIXED)[1]}, alone": [a[1] for a in alone],
            "mixture, as in the table: the attack knows the draw":
                [float(odds @ a) for a in alone],
            "mixture, drawn after the attack, asked once":
                [survive(w, odds, 1).mean() for w in wrong],
            "asked 3 times": [survive(w, odds, 3).mean() for w in wrong],
            "asked 10 times": [survive(w, odds, 10).mean() for w in wrong],
            "asked without end": [(1 - w.any((1, 2))).mean() for w in wrong],
            "the same, attacks on the mean logits alone":
                [(1 - w[:, [0, 3]].any((1, 2))).mean() for w in wrong],
            "no draw: the mean logits answer":
                [1 - np.mean(f[name]["mean"]) for f in found],
        }  # fmt: skip
        if name == "words":
            lines["search on drawn answers, until one is wrong"] = [
                1 - np.mean(f["drawn"]["lost"]) for f in found]
            lines["what that search ends on, asked once more"] = [
                1 - (np.array(f["drawn"]["ends"]) @ odds).mean() for f in found]
        rows += [[name, what, with_interval(v, n)] for what, v in lines.items()]
        for what, v in lines.items():
            worst[what] = min(worst.get(what, 100.0), 100 * float(np.mean(v)))
    queries = np.mean([f["drawn"]["queries"] for f in found])
    alone, once, ten, mean = (max(x for what, x in worst.items() if part in what) for part in
                              (", alone", "attack, asked once", "asked 10", "no draw"))  # fmt: skip
    return f"""

## A mixture, and an attacker who may ask again

The two trainings that the table mixes against PGD and words, made anew: here they go on from
`{START}` with {args.train:,} texts for {args.epochs:g} epochs (in the table from bert-tiny, 2,500
and 5), so these are other models. Training seeds: {len(found)}; {n} test texts; accuracy in %
[95 %, by the choice of texts] (each seed). PGD has 20 steps, no restarts. Odds {odds[0]:.2f} and
{odds[1]:.2f}. An attacker may leave a text as it is; he has what the attack made against the first
model, the second, and their mean logits, and asks with whichever fools the largest share. Asked k
times, a text stays right if all k answers are right, each by a model drawn anew; computed, not
simulated. The search on drawn answers took {queries:.0f} queries a text.

{table(["attack", "defence and attacker", "accuracy"], rows)}

The worse of the two attacks leaves {alone:.1f} % of the better single model, {once:.1f} of the
mixture that is asked once, {ten:.1f} when it is asked ten times, and {mean:.1f} of the mean logits
(which meet the attack on themselves only). Asked again and again, a mixture is right only where
both models are: at most what either has alone. The mean of the logits needs both models' passes and
has no draw that one could wait for. And before mixing two defences, see whether one model can have
both: [`reviews-robust`](robust.md), trained at 22 times the cost of plain training,
had 95.8 % under PGD and 99.8 % under words (500 texts)."""


def of_the_repeated(found: dict[str, list[dict]], args) -> str:
    """The third part: training against the past."""
    rows = [[way, *(with_interval([np.mean(r[what]) for r in runs], args.texts)
                    for what in ("clean", "PGD-20", *(f"from {name}" for name in LENDERS)))]
            for way, runs in found.items() if runs]  # fmt: skip
    usual, gaps = list(WAYS)[0], ""
    for way, runs in found.items():
        less = [100 * (np.mean(b["PGD-20"]) - np.mean(a["PGD-20"]))
                for a, b in zip(found[usual], runs, strict=False)]  # fmt: skip
        if way != usual and less:
            gaps += (f"Under PGD-20, {way} less {usual}, seed by seed: "
                     f"{', '.join(f'{g:+.0f}' for g in less)} points. ")
    left = [way for way, runs in found.items() if not runs]
    missing = f"Not measured so far: {'; '.join(left)}. " if left else ""
    return f"""

## Training as a repeated game

Usual adversarial training answers the model of this moment. Fictitious play answers the average
of the past: δ (PGD-2, ε = {EPS}) is made against a snapshot, taken every 10 steps, and drawn anew
for each batch. All go on from `{START}`, {args.train:,} texts, {args.epochs:g} epochs, at equal
cost (10 units of work a step; plain training has 3, so it is 3.3 times as long). {args.texts} test
texts, accuracy in % [95 %, by the choice of texts] (seeds, from 0 on); PGD-20 without restarts, and
transfer: δ made by PGD-20 for `{START}`, where all began, and for `reviews-fgm`.

{table(["δ is made against", "clean", "PGD-20", "from reviews-clean", "from reviews-fgm"], rows)}

{gaps}{missing.strip()}

The game of weights is not the matrix game above: fictitious play promises something about the
average of all rounds, and what is kept of a training is its last model. Other values of k, longer
trainings and snapshots farther apart are not measured here."""


def main(args) -> None:
    torch.set_num_threads(1)
    game = read_page(SOURCE.read_text("utf-8"))
    JSON.parent.mkdir(parents=True, exist_ok=True)
    JSON.write_text(as_json(game), "utf-8")
    text = of_the_table(game)
    rows, names = learned(game), list(MIXED)
    columns = [game["attacks"].index(a) for a in SETS["PGD, words"]]
    p, _ = maximin(np.array(game["accuracy"])[np.ix_(rows, columns)])
    share = dict(zip((game["defences"][i] for i in rows), p, strict=True))
    if {name for name, x in share.items() if x > 0.005} != {*MIXED}:
        raise ValueError(f"the table mixes other trainings now than MIXED has: {share}")
    odds = np.array([share[name] for name in names])
    odds = odds / odds.sum()
    size, lent, found, runs = (args.texts, args.train, args.epochs), {}, [], {}
    for s in args.seeds:
        name = f"mixture {s} {size}"
        found += kept(name, partial(mixture, s, odds, *size), "mixture" in args.make)
        for way in WAYS:
            one = kept(f"repeated {way} {s} {size}", partial(repeated, way, s, *size, lent),
                       "repeated" in args.make)  # fmt: skip
            runs.setdefault(way, []).extend(one)
    if found:
        text += of_the_mixture(found, odds, args)
    if any(runs.values()):
        text += of_the_repeated(runs, args)
    write("games", "Attack and defence as a game", text, "python benchmarks/games.py")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--make", nargs="*", choices=PARTS, default=PARTS,
                        help="what to train where it is not kept; nothing: the page alone")
    parser.add_argument("--texts", type=int, default=100, help="so many test texts")
    parser.add_argument("--train", type=int, default=1200, help="so many training texts")
    parser.add_argument("--epochs", type=float, default=3.0)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(SEEDS))
    main(parser.parse_args())
