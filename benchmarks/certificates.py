"""Lower bound ≤ exact worst case ≤ accuracy under an attack, for three victims and small networks.

    python benchmarks/certificates.py            python benchmarks/certificates.py --small

What was measured is kept in runs/certificates/, so an interrupted benchmark goes on where it
stopped; --kept writes the page of what there is. Writes docs/results/certificates.md.
"""

from __future__ import annotations

import argparse
import inspect
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import advlib
from advlib.app.protocol import weights_hash
from advlib.attacks import PGD, WordSubstitution
from advlib.certify import (
    Canonical,
    ExactWorst,
    Neighbours,
    OpinionsOnly,
    SmoothedEmbeddings,
    SmoothedWords,
    sandwich,
)
from advlib.corpora import world
from advlib.evaluation import attack_all
from advlib.intervals import bert_bounds
from advlib.models import Classifier, load_classifier
from advlib.statistics import wilson
from course.lesson_11 import cnn

from common import table, write

RUNS = Path(__file__).parents[1] / "runs" / "certificates"
VICTIMS = ("reviews-clean", "reviews-fgm", "reviews-robust")
OPINIONS = (OpinionsOnly(),)
ALL = WordSubstitution(constraints=OPINIONS)
EIGHTH = dict(max_changed=0.13)  # two of sixteen words, any of them
SEARCHES = {
    "opinion words, greedy": ALL,
    "opinion words, by gradient": WordSubstitution(constraints=OPINIONS, rank="gradient"),
    "opinion words, 10 queries": WordSubstitution(constraints=OPINIONS, max_queries=10),
    "an eighth of all words, greedy": WordSubstitution(**EIGHTH),
    "an eighth of all words, by gradient": WordSubstitution(rank="gradient", **EIGHTH),
    "an eighth of all words, beam of 4": WordSubstitution(beam=4, **EIGHTH),
}
NOT_ASKED = dict(max_queries=None, rank="unknown", beam=1)  # what is the search's own
RADII, EPS = (1e-10, 1e-8, 1e-6, 1e-4), (0.05, 0.1, 0.2, 0.3)
DRAWS = (0, 1, 2)
RING = dict(within=1, constraints=OPINIONS)
VOTES = {
    "all words, all of the set": lambda seed: SmoothedWords(n=N, seed=seed),
    "opinion words, next in the ring; 3 a side":
        lambda seed: SmoothedWords(Neighbours(**RING), neighbours=3, n=N, seed=seed),
    "one in ten words, an opinion, next in the ring; 3 a side":
        lambda seed: SmoothedWords(Neighbours(max_changed=0.1, **RING), neighbours=3, n=N,
                                   seed=seed),
}  # fmt: skip
N = 200
NETWORKS = {("plain", 0.1): DRAWS, ("words", 0.1): DRAWS, ("ibp", 0.1): DRAWS,
            ("ibp", 1.0): DRAWS[:1]}  # fmt: skip


def kept(name: str, key, make: Callable[[], dict]) -> dict | None:
    """What `make()` gives, from a file where it was made before with the same key. None where it
    was not and nothing is to be made."""
    file, key = RUNS / f"{name}.json", json.loads(json.dumps(key))
    if file.is_file() and (found := json.loads(file.read_text()))["key"] == key:
        return found["made"]
    if args.kept:
        return None
    start = time.process_time()
    made = make()
    RUNS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"key": key, "made": made}))
    print(f"{name}: {time.process_time() - start:.0f} CPU s", flush=True)
    return made


def percent(hits) -> str:
    """A share with its Wilson interval. hits: of one run (n,), or of several (runs, n): then the
    mean, and from the lowest to the highest where they differ."""
    hits = np.atleast_2d(hits)
    shares = 100 * hits.mean(1)
    low, high = wilson(round(hits.sum() / len(hits)), hits.shape[1])
    apart = f" ({shares.min():.1f} to {shares.max():.1f})" if shares.min() < shares.max() else ""
    return f"{shares.mean():.1f} [{100 * low:.1f}, {100 * high:.1f}]{apart}"


def flags(values) -> list[int]:
    return [int(v) for v in values]


def exact_attack(attack: WordSubstitution) -> ExactWorst:
    """The truth over the threat model of an attack, however it searches."""
    return ExactWorst(replace(attack, **NOT_ASKED))


# ---------------------------------------------------------------------- parts


def exact(name: str, victim: Classifier, data) -> dict:
    """For each search the texts with few enough variants: whether exact, whether withstood."""
    out, truths = {}, {}
    for what, attack in SEARCHES.items():
        truth = exact_attack(attack)
        if truth not in truths:
            counts = truth.counts(victim, data["text"])
            rows = [i for i, count in enumerate(counts) if 1 < count <= truth.limit]
            rows = rows[: args.texts if attack.constraints else args.texts // 2]
            start, some = time.process_time(), data.select(rows)
            found = truth(victim, some["text"], some["label"])
            seconds = (time.process_time() - start) / len(rows)
            truths[truth] = (some, found, seconds, float(np.mean([counts[i] for i in rows])))
        some, found, seconds, count = truths[truth]
        start = time.process_time()
        results = attack(victim, some["text"], some["label"])
        robust = [r.robust for r in results]
        assert all(r or not c.certified for r, c in zip(robust, found, strict=True)), what
        out[what] = {
            "clean": flags(c.right for c in found), "exact": flags(c.certified for c in found),
            "attack": flags(robust), "variants": count, "seconds": seconds,
            "queries": float(np.mean([r.queries for r in results])),
            "attack seconds": (time.process_time() - start) / len(results),
        }  # fmt: skip
    return out


def votes(name: str, victim: Classifier, data) -> dict:
    some, out = data.select(range(args.voted)), {}
    for what, make in VOTES.items():
        runs, start = [], time.process_time()
        for seed in DRAWS if "all words" in what else DRAWS[:1]:
            runs.append(make(seed)(victim, some["text"], some["label"]))
        out[what] = {
            "right": [flags(c.right for c in run) for run in runs],
            "certified": [flags(c.certified for c in run) for run in runs],
            "seconds": (time.process_time() - start) / len(runs) / len(some),
        }
    start = time.process_time()
    found = Canonical()(victim, data["text"], data["label"])
    out["canonical"] = {"certified": flags(c.certified for c in found),
                        "seconds": (time.process_time() - start) / len(data)}  # fmt: skip
    free = attack_all(victim, some, WordSubstitution())
    out["attack"] = {"clean": flags(free.clean == free.labels), "robust": flags(free.robust)}
    return out


def noise(name: str, victim: Classifier, data) -> dict:
    some, out = data.select(range(args.noisy)), {}
    for sigma, seeds in ((1.0, DRAWS[:1]), (2.0, DRAWS)):
        runs, start = [], time.process_time()
        for seed in seeds:
            method = SmoothedEmbeddings(sigma, n=args.samples, seed=seed)
            runs.append(method(victim, some["text"], some["label"]))
        out[str(sigma)] = {
            "right": [flags(c.right for c in run) for run in runs],
            "radius": [[c.radius for c in run] for run in runs],
            "ceiling": method.ceiling(victim.model.config.hidden_size),
            "seconds": (time.process_time() - start) / len(runs) / len(some),
        }
    out["PGD"] = {str(eps): flags(attack_all(victim, some, PGD(eps, steps=20)).robust)
                  for eps in EPS}  # fmt: skip
    return out


def widths(name: str, victim: Classifier, data) -> dict:
    short = sorted(range(len(data)), key=lambda i: len(data["text"][i]))[:20]
    some = data.select(short)
    batch = victim.encode(some["text"], some["label"])
    out = {}
    for radius in RADII:
        found = bert_bounds(victim.model, batch, radius)
        out[str(radius)] = {"widths": found.widths.mean(0).tolist(),
                            "certified": flags(found.certified(batch["labels"]))}  # fmt: skip
    return out


class AsVictim:
    """A `WordCNN` as the attacks of the library take it."""

    labels, classes = ("negative", "positive"), Classifier.classes
    tokenizer = SimpleNamespace(mask_token=None, unk_token="[UNK]")

    def __init__(self, model: cnn.WordCNN):
        self.model = model

    @torch.no_grad()
    def logits(self, texts, batch_size=None) -> np.ndarray:
        ids = [self.model.words.ids(texts[k : k + 512]) for k in range(0, len(texts), 512)]
        return torch.cat([self.model(some) for some in ids]).numpy()


def network(mode: str, seed: int, start: float, data, train) -> dict:
    vocabulary = cnn.Vocabulary(world("reviews"))
    y = torch.tensor(train["label"])
    begun = time.process_time()
    model = cnn.train(vocabulary, vocabulary.ids(train["text"]), y, mode, seed=seed, start=start)
    trained = time.process_time() - begun
    ids, labels = vocabulary.ids(data["text"]), torch.tensor(data["label"])
    begun = time.process_time()
    sure = cnn.certified(model, ids, labels)
    each = (time.process_time() - begun) / len(ids)
    victim, few = AsVictim(model), args.texts
    counts = ExactWorst(ALL).counts(victim, data["text"])
    rows = [i for i, count in enumerate(counts) if 1 < count <= 2000][:few]
    some = data.select(rows)
    free = vocabulary.judging[ids[rows]]
    lower = [SimpleNamespace(certified=bool(c))
             for c in cnn.certified(model, ids[rows], labels[rows], free)]  # fmt: skip
    chain = sandwich(victim, some["text"], some["label"], ALL, lower)
    found = cnn.search(model, ids[:few], labels[:few])
    assert not (sure[:few] & ~found).any()
    return {
        "clean": flags(cnn.right(model, ids, labels)), "certified": flags(sure),
        "search": flags(found), "train": trained, "seconds": each,
        **{f"chain {name}": flags(chain[name]) for name in chain},
    }  # fmt: skip


# ---------------------------------------------------------------------- the page


def main() -> None:
    torch.set_num_threads(1)
    splits = advlib.load_text("reviews", train_size=args.train, test_size=args.test)
    data, found, networks = splits["test"], {}, {}
    sizes = [args.texts, args.test, args.train, args.voted, args.noisy, args.samples]
    for name in VICTIMS[:1]:
        measure(name, data, sizes, found)
    for (mode, start), seeds in NETWORKS.items():
        runs = [kept(f"cnn-{mode}-{start}-{seed}", [sizes, str(inspect.signature(cnn.train))],
                     lambda m=mode, k=seed, s=start: network(m, k, s, data, splits["train"]))
                for seed in seeds]  # fmt: skip
        networks[mode, start] = [run for run in runs if run]
    for name in VICTIMS[1:]:
        measure(name, data, sizes, found)
    networks = {what: runs for what, runs in networks.items() if runs}
    write(NAME, "Certificates: lower bound, truth, attack", page(found, networks),
          "python benchmarks/certificates.py" + " --small" * args.small)  # fmt: skip


def measure(name: str, data, sizes: list[int], found: dict) -> None:
    victim = load_classifier(name, device="cpu")
    for part in (exact, votes, noise, widths):
        key = [weights_hash(name, victim.model), sizes, inspect.getsource(part)]
        made = kept(f"{part.__name__}-{name}", key, partial(part, name, victim, data))
        if made:
            found[part.__name__, name] = made


def of(found: dict, part: str) -> dict:
    """Victim -> what was measured."""
    return {name: found[part, name] for name in VICTIMS if (part, name) in found}


def page(found: dict, networks: dict) -> str:
    return "\n\n".join([head_page(found), truth_page(found), votes_page(found), noise_page(found),
                        network_page(networks), widths_page(found)])  # fmt: skip


def head_page(found: dict) -> str:
    lines = []
    for what in SEARCHES:
        parts = [each[what] for each in of(found, "exact").values()]
        weak = sum(np.sum(f["clean"]) - np.sum(f["exact"]) for f in parts)
        missed = sum(np.sum(f["attack"]) - np.sum(f["exact"]) for f in parts)
        lines.append(f"- {what}: missed {missed} of {weak}")
    return f"""\
Test texts of the embedded world; accuracy in %, 95 % Wilson intervals over texts; of several runs
(draws of a vote, seeds of a training) the mean, and in round brackets the lowest and the highest. A
certificate by vote is wrong with probability at most 0.001, each by itself. lower ≤ exact ≤ attack
was checked for every text.

Of the texts that some variant turns, a search did not find, over {len(of(found, "exact"))} victims:

""" + "\n".join(lines)


def truth_page(found: dict) -> str:
    rows = []
    for name, each in of(found, "exact").items():
        for what, f in each.items():
            missed = int((np.array(f["attack"]) & ~np.array(f["exact"]).astype(bool)).sum())
            weak = int(np.sum(f["clean"]) - np.sum(f["exact"]))
            rows.append([f"`{name}`", what, len(f["exact"]), f"{100 * np.mean(f['clean']):.1f}",
                         percent(f["exact"]), percent(f["attack"]), f"{missed} of {weak}",
                         f"{f['variants']:.0f}", f"{f['queries']:.0f}",
                         f"{f['seconds']:.2f}, {f['attack seconds']:.2f}"])  # fmt: skip
    head = ["victim", "threat model and search", "n", "clean", "exact", "under the search",
            "missed", "variants", "queries", "CPU s a text"]  # fmt: skip
    return f"""\
## The truth, and what a search finds of it

The first test texts with 2 to 2,000 variants. `exact` asks about every variant
(`ExactWorst`), the search about a few. *Missed*: texts that some variant turns and the search did
not. CPU seconds a text: exact, search.

{table(head, rows)}"""


def votes_page(found: dict) -> str:
    rows = []
    for name, f in of(found, "votes").items():
        attack, canon = f["attack"], f["canonical"]
        itself = "the model itself, all words, greedy attack"
        rows.append([f"`{name}`", itself, len(attack["clean"]), percent(attack["clean"]),
                     f"at most {percent(attack['robust'])}", ""])  # fmt: skip
        rows.append([f"`{name}`", "canonical forms, all words", len(canon["certified"]),
                     percent(canon["certified"]), percent(canon["certified"]),
                     f"{canon['seconds']:.3f}"])  # fmt: skip
        for what in VOTES:
            v = f[what]
            rows.append([f"`{name}`", f"vote: {what}", len(v["right"][0]), percent(v["right"]),
                         percent(v["certified"]), f"{v['seconds']:.2f}"])  # fmt: skip
    head = ["victim", "classifier and threat model", "n", "clean", "certified", "CPU s a text"]
    return f"""\
## Words: one form for all, or a vote

`Canonical` and `SmoothedWords`, {N} samples a text, three draws for the whole sets. There samples
of a text and of its variants are the same, so the vote must only be clear; in a ring, where a word
may become one of its two neighbours and the vote draws from three on either side, each changed word
costs at most a seventh.

{table(head, rows)}"""


def noise_page(found: dict) -> str:
    rows = []
    for name, f in of(found, "noise").items():
        for sigma in ("1.0", "2.0"):
            radii = np.array(f[sigma]["radius"])
            rows.append([f"`{name}`", f"vote, sigma = {sigma}", percent(f[sigma]["right"]),
                         *[percent(radii > eps) for eps in EPS], f"{np.median(radii):.3f}",
                         f"{f[sigma]['ceiling']:.3f}", f"{f[sigma]['seconds']:.2f}"])  # fmt: skip
        rows.append([f"`{name}`", "itself, PGD-20: at most", "",
                     *[percent(f["PGD"][str(eps)]) for eps in EPS], "", "", ""])  # fmt: skip
    head = ["victim", "classifier", "clean", *[f"ε = {eps}" for eps in EPS], "median radius",
            "ceiling", "CPU s a text"]  # fmt: skip
    return f"""\
## Embeddings: a vote over noise

`SmoothedEmbeddings`, {args.samples} samples, {args.noisy} texts, at sigma = 2 three draws; share
certified at ε (L2 over the whole text, relative to the mean norm of a token embedding). No radius
exceeds the ceiling, however good the model. PGD attacks the model itself, which is another
classifier: no bound for the vote.

{table(head, rows)}"""


def network_page(networks: dict) -> str:
    rows = []
    for (mode, start), runs in networks.items():
        parts = ("clean", "certified", "search", "chain lower", "chain exact", "chain attack")
        rows.append([mode, start, *[percent([r[part] for r in runs]) for part in parts],
                     f"{np.mean([r['train'] for r in runs]):.0f}"])  # fmt: skip
    head = ["training", "start", "clean", "certified, all words", "search, all words",
            "certified, opinion words", "exact", "greedy", "training, CPU s"]  # fmt: skip
    return f"""\
## A small network, and boxes through it

`WordCNN` of lesson 11, three seeds of training; {args.test} texts, search and opinion words on
{args.texts}. *Start*: standard deviation of the embeddings before training; PyTorch's own is 1.

{table(head, rows)}"""


def widths_page(found: dict) -> str:
    rows = []
    for name, each in of(found, "widths").items():
        for radius, f in each.items():
            rows.append([f"`{name}`", radius, *[f"{w:.1e}" for w in f["widths"]],
                         f"{sum(f['certified'])} of {len(f['certified'])}"])  # fmt: skip
    layers = len(rows[0]) - 4
    head = ["victim", "radius", "after the embedding",
            *[f"layer {k}" for k in range(1, layers + 1)], "certified"]  # fmt: skip
    return f"""\
## Boxes through a BERT

`bert_bounds`, float64, the 20 shortest texts: mean width of a coordinate. Radius in units of a
typical coordinate of a token embedding (as ε with `norm="linf"`).

{table(head, rows)}"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=60)
    parser.add_argument("--test", type=int, default=500)
    parser.add_argument("--train", type=int, default=2500)
    parser.add_argument("--voted", type=int, default=40)
    parser.add_argument("--noisy", type=int, default=30)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--kept", action="store_true", help="measure nothing more")
    parser.add_argument("--small", action="store_true", help="a few texts, to see that it runs")
    args = parser.parse_args()
    NAME = "certificates-small" if args.small else "certificates"
    if args.small:
        RUNS = RUNS.with_name("certificates-small")
        args.texts, args.test, args.train = 6, 60, 200
        args.voted, args.noisy, args.samples = 4, 4, 20
    main()
