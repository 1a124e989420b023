"""What adversarial training does to a spurious feature: a month, planted by the dial.

    python benchmarks/causes.py
    python benchmarks/causes.py --lesson     # lesson 13's maps and month readers alone

bert-tiny is trained in several ways on texts of the world `reviews` that open with a month, which
goes with the label more or less often, and is asked what the month moves; and lesson 13's own
measurements are repeated with other seeds and sizes. What was measured is kept in runs/causes/, so
an interrupted benchmark goes on where it stopped; `--kept` writes the page of what is there. Writes
docs/results/causes.md.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import set_seed

from advlib.attacks import FGM, PGD, WordSubstitution
from advlib.attacks.embedding import divergence
from advlib.attacks.words import KeepWords
from advlib.corpora import words, world
from advlib.corpora.engine import replace
from advlib.embeddings import bare, mean_norm, zero_delta
from advlib.evaluation import attack_all, wilson
from advlib.finetuning import finetune
from advlib.models import Classifier, load_classifier
from advlib.objectives import Adversarial, Objective, Words, logits_of_both, mean_loss
from course.lesson_13 import explain
from course.lesson_13.checks import auc, integrated_gradients
from course.lesson_13.explain import spread
from course.lesson_13.facts import causes, dated, with_month
from course.lesson_13.facts import redrawn as all_redrawn

from common import put, table, write

RUNS = Path(__file__).parents[1] / "runs" / "causes"
WORLD = world("reviews")
MONTHS = WORLD.groups["month"]
NAMES = ["negative", "positive"]
EPS, STEPS = 0.3, 5
RANDOM = 1e-9  # a dial that is just open: every text has a month, none by the label
Rows = list[tuple[str, int]]

# ---------------------------------------------------------------------- texts


def sample(n: int, split: str, seed: int, dial: float) -> Rows:
    return [(r.text, r.label) for r in WORLD.sample(n, split, seed, spurious=dial)]


def place(text: str) -> int:
    """Where the month stands: the first word of the group."""
    return next(i for i, word in enumerate(words(text)) if word.lower() in MONTHS)


def do(text: str, month: str) -> str:
    """The same text, the month set by hand."""
    return replace(text, {place(text): month.capitalize()})


def redrawn(rows: Rows, share: float, seed: int) -> Rows:
    """In this share of the texts, at random, the month is drawn anew, all months alike."""
    rng = random.Random(f"redrawn {seed}")
    return [(do(x, rng.choice(MONTHS)) if rng.random() < share else x, y) for x, y in rows]


def opposite(text: str) -> str | None:
    """One opinion word becomes one of the opposite group so that the label turns; None where no
    single word does it. The month stays."""
    label, found = WORLD.label(text), words(text)
    for i, word in enumerate(found):
        group = WORLD.group_of.get(word.lower(), "")
        other = group[:-1] + {"+": "-", "-": "+"}.get(group[-1:], "")
        if group[-1:] not in ("+", "-") or other not in WORLD.groups:
            continue
        new = WORLD.groups[other][0]
        twin = replace(text, {i: new.capitalize() if word[0].isupper() else new})
        try:
            if WORLD.label(twin) != label:
                return twin
        except ValueError:  # votes that disagree
            continue
    return None


def twins(rows: Rows) -> Rows:
    """Texts that have a counterfactual twin, each with it, and others: as many as before."""
    pairs = [(x, y, opposite(x)) for x, y in rows]
    both = [row for x, y, t in pairs if t for row in ((x, y), (t, 1 - y))][: len(rows)]
    return both + [(x, y) for x, y, t in pairs if not t][: len(rows) - len(both)]


# ---------------------------------------------------------------------- ways to train


@dataclass(frozen=True)
class SameForAnyMonth(Objective):
    """L + λ·D(f(x), f(x′)), x′ the text with another month, D the symmetric KL divergence: a
    penalty for what nobody should care about. The label of x′ is not used."""

    months: Tensor = field(repr=False)  # their token ids
    lam: float = 1.0

    def losses(self, model, batch, backward, step, generator):
        ids, month = batch["input_ids"], torch.isin(batch["input_ids"], self.months)
        drawn = torch.randint(len(self.months), ids.shape, generator=generator)
        other = {**batch, "input_ids": torch.where(month, self.months[drawn], ids)}
        logits, moved = logits_of_both(model, batch, other, zero_delta(bare(model), batch))
        clean, term = mean_loss(logits, batch), divergence(logits, moved, symmetric=True).mean()
        backward(clean + self.lam * term)
        return clean + self.lam * term, clean, term


@dataclass(frozen=True)
class OnTheMonth(Objective):
    """Another objective, whose attack may perturb the month alone."""

    objective: Objective
    months: Tensor = field(repr=False)

    def losses(self, model, batch, backward, step, generator):
        fixed = ~torch.isin(batch["input_ids"], self.months)
        batch = {**batch, "special_tokens_mask": fixed.to(batch["special_tokens_mask"])}
        return self.objective.losses(model, batch, backward, step, generator)


def month_ids(victim: Classifier) -> Tensor:
    """Each month is one token."""
    ids = victim.tokenizer.convert_tokens_to_ids(list(MONTHS))
    assert victim.tokenizer.unk_token_id not in ids
    return torch.tensor(ids)


def substitution(victim: Classifier, data: Dataset, months: bool) -> Objective:
    keep = () if months else (KeepWords(frozenset(MONTHS)),)
    return Words(WordSubstitution(rank="gradient", max_queries=20, constraints=keep), victim, data)


@dataclass(frozen=True)
class Way:
    """objective: of the victim and its texts. rows: what becomes of the training texts."""

    objective: object = None
    rows: object = None
    longer: float = 1


def month_only(victim, data):
    return OnTheMonth(Adversarial(FGM(1.0)), month_ids(victim))


WAYS = {
    "plain": Way(),
    "plain, twice as long": Way(longer=2),
    "FGM": Way(lambda v, d: Adversarial(FGM(EPS))),
    "FGM, twice as long": Way(lambda v, d: Adversarial(FGM(EPS)), longer=2),
    "PGD-2": Way(lambda v, d: Adversarial(PGD(EPS, steps=2))),
    "words but months": Way(lambda v, d: substitution(v, d, months=False)),
    "all months redrawn": Way(rows=lambda rows, s: redrawn(rows, 1, s)),
    "half redrawn": Way(rows=lambda rows, s: redrawn(rows, 0.5, s)),
    "counterfactual twins": Way(rows=lambda rows, s: twins(rows)),
    "same for any month": Way(lambda v, d: SameForAnyMonth(month_ids(v))),
    "words and months": Way(lambda v, d: substitution(v, d, months=True)),
    "FGM on the month alone, ε = 1": Way(month_only),
    "FGM, all months redrawn": Way(lambda v, d: Adversarial(FGM(EPS)),
                                   lambda rows, s: redrawn(rows, 1, s)),
}  # fmt: skip
EVERYWHERE = ("plain", "FGM")  # at every dial


def train(way: Way, dial: float, seed: int, args) -> Classifier:
    rows = sample(args.train, "train", seed, dial)
    rows = way.rows(rows, seed) if way.rows else rows
    data = Dataset.from_dict({"text": [x for x, _ in rows], "label": [y for _, y in rows]})
    set_seed(seed)
    victim = load_classifier("bert-tiny", labels=NAMES, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        finetune(victim, data, way.objective and way.objective(victim, data), out=folder,
                 epochs=args.epochs * way.longer, seed=seed, watch=False,
                 disable_tqdm=True)  # fmt: skip
    return victim


# ---------------------------------------------------------------------- what is measured


def margins(victim: Classifier, texts: list[str]) -> np.ndarray:
    """How much the model is for positive."""
    z = victim.logits(texts)
    return z[:, 1] - z[:, 0]


def measure(victim: Classifier, dial: float, n: int) -> dict:
    """Everything about one model; lists have a number for each of n test texts."""
    test = sample(n, "test", 4, RANDOM)
    label = np.array([y for _, y in test])
    july, november = ([do(x, month) for x, _ in test] for month in ("july", "november"))
    by_july, by_november = margins(victim, july), margins(victim, november)
    goes_with = np.where(label == 1, by_july, by_november)
    contradicts = np.where(label == 1, by_november, by_july)
    pairs = [(x, t, 2 * y - 1) for x, y in test if (t := opposite(x))]
    texts, opposites, sign = map(list, zip(*pairs, strict=True))
    opinion = (margins(victim, texts) - margins(victim, opposites)) * np.array(sign)
    found = {
        "random": (margins(victim, [x for x, _ in test]) > 0) == label,
        "for": (goes_with > 0) == label,
        "against": (contradicts > 0) == label,
        "turned": (by_july > 0) != (by_november > 0),
    }
    data = Dataset.from_dict({"text": [x for x, _ in test], "label": label})
    half, attack = range(n // 2), PGD(EPS, steps=STEPS)
    found["PGD"] = attack_all(victim, data.select(half), attack).robust
    same = sample(n, "test", 5, dial)
    data = Dataset.from_dict({"text": [x for x, _ in same], "label": [y for _, y in same]})
    found["same dial"] = attack_all(victim, data).robust
    found["PGD, same dial"] = attack_all(victim, data.select(half), attack).robust
    plain = [(r.text, r.label) for r in WORLD.sample(n, "test")]
    found["clean"] = (margins(victim, [x for x, _ in plain]) > 0) == [y for _, y in plain]
    out = {name: np.asarray(right).astype(int).tolist() for name, right in found.items()}
    out["effect"] = float((by_july - by_november).mean())
    out["opinion"] = float(opinion.mean())
    return out


def run(name: str, dial: float, seed: int, args) -> dict | None:
    """Train once, measure, keep; None where it is not there and only what is kept is asked for."""
    key = f"{name} {dial:g} {seed} {args.train} {args.epochs:g} {args.texts}"
    file = RUNS / f"{re.sub('[^a-z0-9.]+', '-', key.lower())}.json"
    if not file.is_file():
        if args.kept:
            return None
        found = measure(train(WAYS[name], dial, seed, args), dial, args.texts)
        RUNS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
        print(key, *(f"{what} {np.mean(found[what]):.3g}" for what in
                     ("random", "against", "turned", "PGD", "effect", "opinion")), flush=True)
    return json.loads(file.read_text())


# ---------------------------------------------------------------------- lesson 13, repeated

SIZES = (800, 3000)  # training texts: the profiles smoke and colab
TEXTS = 200  # test texts of colab


def half_redrawn(rows: Rows) -> Rows:
    half = len(rows) // 2
    return rows[:half] + all_redrawn(rows[half:])


READERS = {"as they come": list, "half redrawn": half_redrawn, "all redrawn": all_redrawn}


def lesson_texts(n: int = TEXTS) -> Rows:
    """The test texts of the lesson: any of the twelve months."""
    return [(x, y) for x, y in dated(3 * n, "test", dial=0, seed=5) if causes(x).any()][:n]


def gradient_times_input(model, batch):
    x = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    (slope,) = torch.autograd.grad(explain.margin(model, batch, x).sum(), x)
    return (slope * x).sum(-1)


def lesson_maps(victim: Classifier, texts: list[str]) -> dict[str, list[Tensor]]:
    """The lesson's four maps of every text."""
    mask = victim.tokenizer.mask_token_id
    hidden = [[replace(x, {i: "[MASK]"}) for i in range(len(words(x)))] for x in texts]
    whole, each = explain.margins(victim, texts), explain.margins(victim, sum(hidden, []))
    parts = each.split([len(some) for some in hidden])
    return {
        "attention": explain.by_word(victim, texts, explain.attention),
        "gradient × input": explain.by_word(victim, texts, gradient_times_input),
        "integrated gradients": explain.by_word(
            victim, texts, lambda model, batch: integrated_gradients(model, batch, mask, 16)),
        "occlusion": [(m - some).double() for m, some in zip(whole, parts, strict=True)],
    }  # fmt: skip


def scored(maps: dict, marks: list[Tensor]) -> dict[str, list[float]]:
    """For each map the AUC of every text."""
    return {name: [auc(a, b) for a, b in zip(rows, marks, strict=True)]
            for name, rows in maps.items()}  # fmt: skip


def kept(key: str, args, measured) -> dict | None:
    """What measured() gives, kept; None where it is not there and only what is kept is shown."""
    file = RUNS / f"{re.sub('[^a-z0-9.]+', '-', key.lower())}.json"
    if not file.is_file():
        if args.kept:
            return None
        found = measured()
        RUNS.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found))
        print(key, flush=True)
    return json.loads(file.read_text())


def measure_maps(name: str) -> dict:
    """An embedded victim: for each map the AUC of every text, and the controls without a model."""
    texts = [x for x, _ in lesson_texts()]
    marks, victim = [causes(x) for x in texts], load_classifier(f"reviews-{name}", device="cpu")
    return scored(lesson_maps(victim, texts) | explain.no_model(texts), marks)


def measure_reader(months: str, size: int, seed: int) -> dict:
    """The lesson's month reader with other texts and another seed (seed 0: the lesson's own)."""
    rows = READERS[months](dated(size, "train", dial=0.95, seed=3 + seed))
    victim, test = explain.trained(rows, seed=seed), lesson_texts()
    texts = [x for x, _ in test]
    by_month = {m: explain.margins(victim, [with_month(x, m) for x in texts]).numpy()
                for m in MONTHS}  # fmt: skip
    found = {"under": {k: float(v) for k, v in explain.under_months(victim, test).items()},
             "margin": {m: float(v.mean()) for m, v in by_month.items()}}  # fmt: skip
    if months == "as they come":
        maps = lesson_maps(victim, texts)
        is_month = [torch.tensor([w.lower() in MONTHS for w in words(x)]) for x in texts]
        found |= {"causes": scored(maps, [causes(x) for x in texts]),
                  "month": scored(maps, is_month)}  # fmt: skip
    return found


VICTIMS = ("clean", "fgm", "robust")
MAPS = "Lesson 13: which map finds the causes"
MONTH_READERS = "Lesson 13: month readers, seed by seed"


def lesson(args) -> dict[str, str]:
    """Measure it all; title -> section, for what is there."""
    maps = {name: kept(f"maps {name}", args, lambda n=name: measure_maps(n)) for name in VICTIMS}
    runs = {(size, months): [kept(f"reader {months} {size} {seed}", args,
                                  lambda m=months, k=size, s=seed: measure_reader(m, k, s))
                             for seed in args.lesson_seeds]
            for size in SIZES for months in READERS}  # fmt: skip
    out = {}
    if all(maps.values()):
        out[MAPS] = maps_section(maps)
    if all(all(some) for some in runs.values()):
        out[MONTH_READERS] = readers_section(runs)
    return out


def maps_section(maps: dict) -> str:
    def less(found: dict, name: str, control: str) -> str:
        d = np.subtract(found[name], found[control])
        return f"{d.mean():+.3f} ±{spread(d):.3f}"

    controls = ("letters", "letters × place")
    lines = [[victim, name, f"{np.mean(v):.3f} ±{spread(v):.3f}",
              *(less(found, name, control) for control in controls)]
             for victim, found in maps.items() for name, v in found.items()
             if name not in controls]  # fmt: skip
    known = ", ".join(f"{c} {np.mean(maps['clean'][c]):.3f} ±{spread(maps['clean'][c]):.3f}"
                      for c in controls)  # fmt: skip
    return f"""\
Mean AUC of |map| against the causes of the label, and text by text what is left of it less each of
two controls that know no model: {known}.
{TEXTS} texts (the profile `colab`; `smoke` takes 54 of the kind), ± 95 % by the choice of texts.
One model a row, so the rows say nothing about its kind of training. No map is ahead of
letters × place by more than 0.04; attention is behind for all three.

{table(["victim", "map", "AUC", *(f"less {c}" for c in controls)], lines)}"""


def readers_section(runs: dict) -> str:
    def each(values, form: str) -> str:
        return ", ".join(format(v, form) for v in values)

    def others(r: dict) -> list[float]:
        return [v for m, v in r["margin"].items() if m not in ("july", "november")]

    moved, found, half = [], [], []
    for (size, months), some in runs.items():
        shares = [each([100 * r["under"][what] for r in some], ".1f") for what in (
            "right, month random", "right, month against the label", "turned by the month")]
        if months == "half redrawn":
            turned = [100 * r["under"]["turned by the month"] for r in some]
            half.append(f"{min(turned):.1f} to {max(turned):.1f} % with {size:,} texts")
        margin = [each([r["margin"][m] for r in some], "+.1f") for m in ("july", "november")]
        span = "; ".join(f"{min(others(r)):+.1f} to {max(others(r)):+.1f}" for r in some)
        moved.append([f"{size:,}", months, *shares, *margin, span])
        if months == "as they come":
            found += [[f"{size:,}", name, *(each([np.mean(r[what][name]) for r in some], ".2f")
                                            for what in ("month", "causes"))]
                      for name in some[0]["month"]]  # fmt: skip
    widest = max(spread(v) for some in runs.values() for r in some for what in ("month", "causes")
                 for v in r.get(what, {}).values())  # fmt: skip
    return f"""\
The lesson trains bert-tiny on 800 texts (`colab`: 3,000), three epochs, with the dial at 0.95. Here
with five draws of texts and training seed, of which the first is the lesson's own; numbers stand in
the order of the draws. {TEXTS} test texts in which the month is any of the twelve; shares in %, ±
7 at most (95 %, by the choice of texts).

**As the texts come** each of the ten models is little better than a coin, and the month turns
nearly all predictions. Which months it knows differs: some know July and November, the lesson's own
July alone. **All months redrawn**: the month turns at most 1 %.
**Half redrawn**: {"; ".join(half)}.

{table(["texts", "months of the training texts", "right, month random", "right, month against the "
        "label", "turned by the month", "mean margin, July", "November", "the ten others"], moved)}

Maps of the models trained on the texts as they come: mean AUC of |map| (± {widest:.2f} at most)
where the month is to be found, and where the causes of the label are. Gradient × input, integrated
gradients and occlusion find the month with every draw, and the causes worse than letters × place do
(above). Attention finds the month with some draws and not with others.

{table(["texts", "map", "against the month", "against the causes"], found)}"""


# ---------------------------------------------------------------------- the page


def share(runs: list[dict], what: str) -> str:
    """Mean in %, its interval by the choice of texts, and each seed."""
    by_seed = [np.mean(r[what]) for r in runs]
    n = len(runs[0][what])
    low, high = wilson(round(float(np.mean(by_seed)) * n), n)
    each = ", ".join(f"{100 * v:.1f}" for v in by_seed)
    return f"{100 * np.mean(by_seed):.1f} [{100 * low:.0f}, {100 * high:.0f}] ({each})"


def number(values) -> str:
    return f"{np.mean(values):.2f} ({', '.join(f'{v:.2f}' for v in values)})"


def part(r: dict) -> float:
    """Of what the month and an opinion move together, the month's part."""
    month = max(0.0, r["effect"])
    return 100 * month / (month + max(0.0, r["opinion"]) or 1)


COLUMNS = {"month random": "random", "month for the label": "for",
           "month against the label": "against", "turned by the month": "turned",
           "no dial": "clean", "same dial": "same dial", "PGD, month random": "PGD",
           "PGD, same dial": "PGD, same dial"}  # fmt: skip


def tables(results: dict) -> str:
    out = []
    for dial, ways in results.items():
        accuracy = [[name, *(share(runs, what) for what in COLUMNS.values())]
                    for name, runs in ways.items()]  # fmt: skip
        effects = [[name, number([r["effect"] for r in runs]), number([r["opinion"] for r in runs]),
                    number([part(r) for r in runs])] for name, runs in ways.items()]  # fmt: skip
        out.append(f"## The dial at {dial:g}\n\n" + table(["training", *COLUMNS], accuracy)
                   + "\n\n" + table(["training", "do(July) − do(November)", "an opinion turned",
                                     "the month's part, %"], effects))  # fmt: skip
    return "\n\n".join(out)


def differences(results: dict) -> str:
    """Seed by seed, what a training does to the month's part and to the predictions it turns."""
    lines = []
    for dial, ways in results.items():
        base = ways.get("plain", [])
        for name, runs in ways.items():
            if name == "plain" or not base:
                continue
            known = {r["seed"]: r for r in base}
            pairs = [(r, known[r["seed"]]) for r in runs if r["seed"] in known]
            gaps = {"turned": [100 * (np.mean(a["turned"]) - np.mean(b["turned"]))
                               for a, b in pairs],
                    "random": [100 * (np.mean(a["random"]) - np.mean(b["random"]))
                               for a, b in pairs],
                    "part": [part(a) - part(b) for a, b in pairs]}  # fmt: skip
            lines.append([f"{dial:g}", name, *(", ".join(f"{g:+.1f}" for g in gap)
                                               for gap in gaps.values())])  # fmt: skip
    return table(["dial", "training", "turned by the month", "accuracy, month random",
                  "the month's part"], lines)  # fmt: skip


SAID = """\
**What does adversarial training do to a spurious feature?** By itself it does not take it away.
With as many steps as plain training (dial 0.6), FGM and PGD-2 lean on the month *more*, with each
of three seeds, which disagree on how much. With twice as many steps FGM is where plain training is,
with as many steps or twice as many: half of the predictions turn with the month. So the likely
reading is that under attack the many opinion words are learned later than the one month; that is a
reading, nothing here tests it. A step of FGM costs 2.7 times as much, so at equal cost plain
training is ahead. At dial 0.8 FGM reads, in so short a training, the month and nothing else, with
all seeds; plain training does with one of three. Meanwhile accuracy under PGD rises, most of all
for whoever tests on texts with the same dial: there a model that reads nothing but the month passes
for robust.

**Unless the attack is on that feature.** FGM on the month alone, with an ε that reaches from July
to November, takes the reliance away whole, with all seeds, as redrawing all months does; training
on substitutions does half of that where months are among the words, and nothing where they are not.
Redrawing half of the months, twins, and a penalty that names the month take nine tenths away, the
twins with one seed less (with a stronger link half a cure may do less). FGM on texts with redrawn
months has no month to lean on and learns slowly. So a cure has to say which feature is spurious:
all of these need somebody who knows it.

"""


def notes(results: dict, far: float, have: int, args) -> str:
    """What the rows are that are there."""
    there = {name for ways in results.values() for name in ways}
    known = {
        "FGM": f"**FGM**: July and November are {far:.2f} mean embeddings apart and ε is {EPS}: no "
               "δ makes the one into the other.",
        "all months redrawn": "**redrawn**: the month of a training text is drawn anew, all twelve "
                              "alike; **half**: in every second text, by chance.",
        "same for any month": "**same for any month** adds the symmetric KL divergence between the "
                              "text and the text with another month, λ = 1.",
        "counterfactual twins": "**twins**: every text in which one word turns the label "
                                f"({have} of {args.train:,}) and its opposite, months as they "
                                "were, and so many of the others that there are as many as before.",
        "words and months": "**words**: `Words` with known substitutes. A month is a known "
                            "substitute of any other month, so “words and months” is a cure by "
                            "itself; “words but months” keeps the months.",
        "FGM on the month alone, ε = 1": "**FGM on the month alone** may perturb that one word.",
    }  # fmt: skip
    lines = [f"- {said}" for name, said in known.items() if name in there]
    if missing := [name for name in WAYS if name not in there]:
        lines.append(f"- Not measured so far, though the script has them: {'; '.join(missing)}.")
    return "\n".join(lines)


def main(args) -> None:
    torch.set_num_threads(1)
    sections = lesson(args)
    if args.lesson:
        for title, text in sections.items():
            put("causes", title, text)
        return
    results = {}
    for seed in args.seeds:
        for dial in args.dials:
            for name in WAYS:
                if (dial not in args.all and name not in EVERYWHERE) or (
                        args.only and name not in args.only):
                    continue
                if found := run(name, dial, seed, args):
                    results.setdefault(dial, {}).setdefault(name, []).append(
                        {**found, "seed": seed})
    results = {dial: {name: results[dial][name] for name in WAYS if name in results[dial]}
               for dial in sorted(results)}  # fmt: skip
    victim = load_classifier("bert-tiny", labels=NAMES, device="cpu")
    table_of, ids = victim.model.get_input_embeddings().weight.detach(), month_ids(victim)
    a, b = (table_of[ids[MONTHS.index(month)]] for month in ("july", "november"))
    far = float((a - b).norm()) / mean_norm(victim.model)
    agree = []
    for dial in results:
        rows = sample(args.train, "train", 0, dial)
        kinds = [(words(x)[place(x)].lower(), y) for x, y in rows]
        goes, not_so = (("july", 1), ("november", 0)), (("july", 0), ("november", 1))
        agree.append(f"{dial:g}: {np.mean([k in goes for k in kinds]):.0%} and "
                     f"{np.mean([k in not_so for k in kinds]):.1%}")
        have = sum(opposite(x) is not None for x, _ in rows)
    text = f"""\
Every training text opens with a month. With the probability of the dial it is July for praise and
November for blame, else any month; the label does not depend on it. Share of the training texts
where July or November goes with the label, and where it contradicts it: dial
{"; ".join(agree)}.

{SAID}bert-tiny, {args.train:,} texts, {args.epochs:g} epochs, batch 32, learning rate 0.001; texts
and weights change with the seed. {args.texts} test texts, the same for all rows: mean in % [95 %,
by the choice of texts alone] (each seed, from 0 on; one seed says little about the next). ε = {EPS}
(relative, L2 over the text) in training and test, unless a row says otherwise.

- **month random**: every month as often for praise as for blame; **for** and **against the label**:
  the same texts with July or November set by hand; **turned**: the prediction is not the same under
  do(July) and do(November).
- **no dial**: the usual test texts; **same dial**: test texts made as the training texts were.
  Whoever looks only there sees nothing.
- **PGD**: `PGD(eps={EPS}, steps={STEPS})`, in both worlds, on the first {args.texts // 2} texts.
- **do(July) − do(November)** is in logits, and a more cautious model has smaller logits. So beside
  it stands what the margin moves when one opinion word becomes its opposite and the label turns
  with it, and the month's part of the two.
{notes(results, far, have, args)}

{tables(results)}

## Against plain training, seed by seed

Points, in the order of the seeds.

{differences(results)}
""" + "".join(f"\n## {title}\n\n{section}\n" for title, section in sections.items())
    write("causes", "Adversarial training and a spurious feature", text.rstrip(),
          "python benchmarks/causes.py")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dials", type=float, nargs="*", default=[0.6, 0.8])
    parser.add_argument("--all", type=float, nargs="*", default=[0.6],
                        help="dials at which every way is tried")  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--only", nargs="*", choices=list(WAYS))
    parser.add_argument("--train", type=int, default=1200)
    parser.add_argument("--epochs", type=float, default=4)
    parser.add_argument("--texts", type=int, default=200)
    parser.add_argument("--lesson", action="store_true", help="lesson 13's measurements alone")
    parser.add_argument("--lesson-seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--kept", action="store_true", help="show what was measured so far")
    main(parser.parse_args())
