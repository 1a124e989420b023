"""A stream of news, an alarm when bad news surges, and somebody who hides, floods or fakes it.

    python tools/victims.py --only news-clean --seed 1 --out runs/monitor/clean-1            and 2
    python tools/victims.py --only news-robust --seed 1 --out runs/monitor/robust-1          and 2
    python tools/victims.py --only news-plain-long --seed 0 --out runs/monitor/long-0        to 2
    python benchmarks/monitor.py --bad 100 --calm 200 --runs 200
    python benchmarks/monitor.py --data ../shared/data/financial_phrasebank/Sentences_AllAgree.txt
    python benchmarks/monitor.py --load --requests 200

Writes docs/results/monitor.md, monitor-phrasebank.md and monitor-load.md.

A topic has 15 % bad news in calm times, and 40 % from some item on. A model reads each item, and a
chart counts what it calls bad. Every detector, of one chart or of two, lets the same number of
items pass between false alarms: where there are two charts, each is set to twice as many
(Bonferroni).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from advlib.attacks import Typos, WordSubstitution
from advlib.attacks.words import misspellings
from advlib.corpora import world
from advlib.models import load_classifier
from advlib.statistics import wilson
from advlib.systems.charts import (
    Cusum,
    Ewma,
    NearMiss,
    calibrate,
    delays,
    fakes_needed,
    path,
)
from examples.monitor.app import worse
from examples.monitor.feeds import read_labelled
from examples.monitor.sensor import SLIPS

from common import put, table, write

BUDGET = dict(max_changed=0.3, max_queries=40)
CALM, SURGE = 0.15, 0.40
BEFORE, AFTER = 200, 2000  # items of a stream before and after the surge begins
LEAST_MISSES = 0.01  # a rate of near misses below it cannot be told from none


class TwoSlips(Typos):
    """Two slips in a word: the next move of somebody who knows how near misses are found."""

    def options(self, word: str) -> tuple[str, ...]:
        twice = (two for one in super().options(word)
                 for two in misspellings(one, self.kinds, 1))  # fmt: skip
        return tuple(dict.fromkeys(two for two in twice if two != word))[:16]


@dataclass(frozen=True, repr=False)
class Unnoticed(Typos):
    """Two slips in a word, only such as are no near miss and no known word: the attack of somebody
    who has the same test. near_miss: that test."""

    near_miss: NearMiss = field(default=NearMiss(frozenset()), repr=False)

    def options(self, word: str) -> tuple[str, ...]:
        return unnoticed(word, self.kinds, self.per_kind, self.near_miss)


@cache
def unnoticed(word: str, kinds: tuple, per_kind: int, near_miss: NearMiss) -> tuple[str, ...]:
    twice = {two for one in misspellings(word, kinds, per_kind)
             for two in misspellings(one, kinds, per_kind)} - {word}  # fmt: skip
    made = sorted(two for two in twice if two.lower() not in near_miss.vocabulary
                  and not near_miss.meant(two.lower()))  # fmt: skip
    return tuple(random.Random(zlib.crc32(word.encode())).sample(made, min(8, len(made))))


TYPOS = Typos(kinds=SLIPS, **BUDGET)
TWO_SLIPS = TwoSlips(kinds=SLIPS, **BUDGET)


# ---------------------------------------------------------------------- what a sensor sees


@dataclass(frozen=True)
class Seen:
    """For each way in which a text comes: (texts, 2), whether it is read as bad, and whether it
    holds a near miss."""

    ways: dict[str, np.ndarray]

    def rate(self, way: str, column: int = 0) -> float:
        return float(self.ways[way][:, column].mean())

    @property
    def usual(self) -> tuple[float, float]:
        """The rates of both in calm times."""
        return tuple(CALM * self.rate("open", k) + (1 - CALM) * self.rate("calm", k)
                     for k in (0, 1))  # fmt: skip


def seen_by(victim, bad: list[str], calm: list[str], near_miss: NearMiss, attacks: dict) -> Seen:
    """Read the texts, the bad ones also after each attack that wants them to look harmless."""
    label = victim.labels.index("negative")

    def read(texts: list[str]) -> np.ndarray:
        found = victim.predict(texts).argmax(1) == label
        return np.array([found, [near_miss(t) for t in texts]]).T.astype(float)

    ways = {"calm": read(calm), "open": read(bad)}
    for name, attack in attacks.items():
        results = attack(victim, bad, [label] * len(bad))
        ways[name] = read([r.text for r in results])
    return Seen(ways)


def kept(key: bytes, make) -> Seen:
    """What `make` gives, kept under runs/, so that a seed can be added without reading the others
    again. key: what it depends on."""
    file = Path(f"runs/monitor/seen/{zlib.crc32(key):08x}.npz")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, **make().ways)
    return Seen(dict(np.load(file)))


# ---------------------------------------------------------------------- streams and detectors

SCENARIOS = {  # the share of bad news that is disguised, how, and harmless items for each item
    "surge": (0.0, "open", 0.0),
    "half with typos": (0.5, "typos", 0.0),
    "all with typos": (1.0, "typos", 0.0),
    "all with two slips": (1.0, "two slips", 0.0),
    "all unnoticed": (1.0, "unnoticed", 0.0),
    "all reworded": (1.0, "reworded", 0.0),
    "flooded 1:1": (0.0, "open", 1.0),
}


def stream(seen: Seen, n: int, items: int, share: float, scenario: tuple, rng) -> np.ndarray:
    """(n, items, 2) what the sensor says of each item, drawn from the texts that it has read."""
    hidden, way, flood = scenario
    bad = rng.random((n, items)) < share / (1 + flood)
    hide = rng.random((n, items)) < hidden

    def drawn(name: str) -> np.ndarray:
        return seen.ways[name][rng.integers(0, len(seen.ways[name]), (n, items))]

    shown = np.where(hide[..., None], drawn(way), drawn("open"))
    return np.where(bad[..., None], shown, drawn("calm"))


@cache
def height(chart, between: float) -> float:
    return calibrate(chart, chart.p0, between)


def detectors(seen: Seen, between: int) -> dict[str, list[tuple]]:
    """name -> charts that raise the alarm together: (column, chart, threshold)."""
    p_bad, p_miss = (round(p, 3) for p in seen.usual)
    p_miss = max(p_miss, LEAST_MISSES)
    found = {}
    for name, make in {"CUSUM": lambda p: Cusum(p, worse(p, 3)), "EWMA": Ewma}.items():
        bad, miss = make(p_bad), make(p_miss)
        found[name] = [(0, bad, height(bad, between))]
        found[f"{name}, two charts"] = [(0, bad, height(bad, 2 * between)),
                                        (1, miss, height(miss, 2 * between))]  # fmt: skip
    return found


def first_alarm(charts: list[tuple], x: np.ndarray) -> np.ndarray:
    """(n,) items until one of the charts raises an alarm, inf where none does."""
    return np.minimum.reduce([delays(path(chart, x[..., column]), threshold)
                              for column, chart, threshold in charts])  # fmt: skip


def delay(charts: list[tuple], calm: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Median items from the beginning of the surge to the alarm, and the share of streams in which
    it does not come; of the streams without an alarm before."""
    found = first_alarm(charts, np.concatenate([calm, after], 1)) - calm.shape[1]
    found = found[found > 0]
    return float(np.median(found)), float(np.isinf(found).mean())


def between_false_alarms(charts: list[tuple], seen: Seen, between: int, rng) -> float:
    """Items between false alarms of all charts together, in fresh calm streams."""
    x = stream(seen, 200, 4 * between, CALM, SCENARIOS["surge"], rng)
    found = first_alarm(charts, x)
    return float(np.minimum(found, x.shape[1]).sum() / max(1, np.isfinite(found).sum()))


def fakes(charts: list[tuple], seen: Seen, runs: int, rng) -> float:
    """Median number of invented bad stories until the alarm, one after each calm story."""
    x = stream(seen, runs, 400, CALM, SCENARIOS["surge"], rng)
    invented = seen.ways["open"][rng.integers(0, len(seen.ways["open"]), (runs, 200))]
    x[:, 1::2] = invented
    return float(np.median(np.ceil(first_alarm(charts, x) / 2)))


def measured(seen: Seen, options) -> dict[str, dict]:
    """For each detector: what comes out in each scenario."""
    rng = np.random.default_rng(0)
    calm = stream(seen, options.runs, BEFORE, CALM, SCENARIOS["surge"], rng)
    after = {name: stream(seen, options.runs, AFTER, SURGE, s, rng)
             for name, s in SCENARIOS.items() if s[1] in seen.ways}  # fmt: skip
    out = {}
    for name, charts in detectors(seen, options.between).items():
        out[name] = {what: delay(charts, calm, x) for what, x in after.items()}
        out[name]["fakes"] = fakes(charts, seen, options.runs, rng)
        out[name]["least fakes"] = fakes_needed(*charts[0][1:])
        out[name]["between"] = between_false_alarms(charts, seen, options.between, rng)
    return out


# ---------------------------------------------------------------------- tables


def in_percent(hits: float, n: int) -> str:
    low, high = wilson(round(hits * n), n)
    return f"{100 * hits:.0f} ({100 * low:.0f}–{100 * high:.0f})"


def sensor_rows(sensors: dict[str, list[Seen]]) -> list[list]:
    rows = []
    for name, found in sensors.items():
        for way in found[0].ways:
            read, miss = (" / ".join(in_percent(s.rate(way, k), len(s.ways[way])) for s in found)
                          for k in (0, 1))  # fmt: skip
            rows.append([name, way, read, miss])
    return rows


def cell(pairs: list[tuple[float, float]]) -> str:
    """Medians over the seeds; "never" where the alarm comes in less than half of the streams."""
    return " / ".join(
        ("never" if math.isinf(median) else f"{median:.0f}")
        + (f" ({100 * missed:.0f} %)" if missed >= 0.005 else "")
        for median, missed in pairs
    )


def delay_rows(results: dict[str, list[dict]]) -> tuple[list[str], list[list]]:
    names = [s for s in SCENARIOS if s in next(iter(results.values()))[0]["CUSUM"]]
    header = ["sensor", "detector", *names, "fakes", "items between false alarms"]
    rows = []
    for sensor, seeds in results.items():
        for detector in seeds[0]:
            runs = [seed[detector] for seed in seeds]
            rows.append([
                sensor, detector, *(cell([r[name] for r in runs]) for name in names),
                " / ".join(f"{r['least fakes']}; {r['fakes']:.0f}" for r in runs),
                " / ".join(f"{r['between']:.0f}" for r in runs),
            ])  # fmt: skip
    return header, rows


def report(name: str, title: str, about: list[str], sensors: dict[str, list[Seen]], options,
           command: str, more: tuple[str, ...] = ()) -> None:  # fmt: skip
    results = {key: [measured(seen, options) for seen in found] for key, found in sensors.items()}
    header, rows = delay_rows(results)
    write(name, title, "\n\n".join([
        *about,
        "## What the model sees",
        "Read as bad, and with a near miss of a known word, in %, with 95 % Wilson intervals; "
        "numbers between slashes are seeds.",
        table(["sensor", "texts", "read as bad", "near miss"], sensor_rows(sensors)),
        "## When the alarm comes",
        f"Median number of items from the beginning of the surge, {options.runs} streams; in "
        f"brackets the share of streams without an alarm within {AFTER} items, which counts as "
        "longer than any number, so \"never\" stands where that is half of them or more. Streams "
        f"with an alarm in the {BEFORE} calm items before are left out. Fakes: the least number in "
        "a row that raises an alarm on the chart of bad news, if each is read as bad; and the "
        "median where one stands after each calm item and the model reads them. "
        "Thresholds are set by simulation, and what comes out is known to about 7 %. Near misses "
        f"rarer than {LEAST_MISSES:.0%} count as so frequent, so two charts often give fewer false "
        f"alarms than is allowed. Asked for were {options.between} items between false alarms; "
        "the last column is measured on fresh calm streams.",
        table(header, rows), *more,
    ]), command)  # fmt: skip


# ---------------------------------------------------------------------- the embedded world

SENSORS = (  # name, what of it advlib ships as seed 0, folders of the others in runs/monitor
    ("clean", "news-clean", "clean"), ("plain, as long", None, "long"),
    ("robust", "news-robust", "robust"),
)  # fmt: skip


def headlines(bad: int, calm: int) -> tuple[list[str], list[str]]:
    """Test headlines: bad ones, and others, 45 of 85 neutral as in the stream."""
    drawn = world("news").sample(6 * (bad + calm), "test", seed=17)
    by_label = [[r.text for r in drawn if r.label == k] for k in range(3)]
    neutral = round(calm * 45 / 85)
    return by_label[0][:bad], by_label[1][:neutral] + by_label[2][: calm - neutral]


def in_short(sensors: dict[str, list[Seen]]) -> str:
    """What the control says: the gain of longer training, and that of the changed headlines."""
    def mean(name: str, way: str) -> float:
        return 100 * float(np.mean([s.rate(way) for s in sensors[name]]))

    def gain(new: str, old: str) -> str:
        return " and ".join(f"{mean(new, way) - mean(old, way):+.0f}"
                            for way in ("typos", "reworded"))  # fmt: skip

    clean, control, robust = (name for name, *_ in SENSORS)
    read = "; ".join(f"{name} {mean(name, 'typos'):.0f} and {mean(name, 'reworded'):.0f} %"
                     for name in sensors)  # fmt: skip
    if not {clean, control, robust} <= sensors.keys():
        return f"**In short.** Bad headlines are read as bad, after typos and reworded: {read}."
    return (f"**In short.** Bad headlines are read as bad, after typos and reworded: {read} (means "
            f"over seeds). Training as long without changed headlines changes that by "
            f"{gain(control, clean)} points, the changed headlines by another "
            f"{gain(robust, control)}.")  # fmt: skip


def embedded(options) -> None:
    bad, calm = headlines(options.bad, options.calm)
    near_miss = NearMiss(frozenset(world("news").vocabulary), SLIPS)
    attacks = {"typos": TYPOS, "two slips": TWO_SLIPS,
               "unnoticed": Unnoticed(kinds=SLIPS, near_miss=near_miss, **BUDGET),
               "reworded": WordSubstitution("news", **BUDGET)}  # fmt: skip
    sensors = {}
    for name, embedded, folder in SENSORS:
        for seed in range(3):
            where = embedded if embedded and seed == 0 else f"runs/monitor/{folder}-{seed}"
            if where != embedded and not Path(where, "model.safetensors").is_file():
                print(f"left out: {where}", flush=True)
                continue
            print(name, where, flush=True)
            victim = load_classifier(where, device="cpu")
            weights = b"".join(p.detach().numpy().tobytes() for p in victim.model.parameters())
            seen = kept(repr((bad, calm, attacks)).encode() + weights,
                        partial(seen_by, victim, bad, calm, near_miss, attacks))  # fmt: skip
            sensors.setdefault(name, []).append(seen)
            print({way: x.mean(0).round(3).tolist() for way, x in seen.ways.items()}, flush=True)
    seeds = ", ".join(f"{len(found)} of *{name}*" for name, found in sensors.items())
    about = [
        in_short(sensors),
        __doc__.split("\n\n", 3)[3].strip(),
        "Threat model: somebody rewrites bad news so that the model calls it something else; he "
        "asks the model up to 40 times about a text and changes at most 30 % of its words. Typos: "
        f"`{TYPOS!r}`. Two slips: the same with two slips in a word. Unnoticed: two slips in a "
        "word by somebody who has the test for near misses, too, and keeps what it does not find. "
        "Reworded: by words that the world knows to mean the "
        "same. Streams are drawn from what the model says of "
        f"{options.bad} bad and {options.calm} other test headlines of the world `news`. A flood "
        "adds a harmless item for each item.",
        "Three trainings of bert-tiny on 5,000 headlines (tools/victims.py). *clean*: "
        "`news-clean`, plain, 6 epochs, 942 updates. *robust*: `news-robust`, 10 epochs, 1,570 "
        "updates, with typos and known substitutes in turn: after 80 plain updates each update "
        "reads its headlines as they are and changed. *plain, as long*: `news-plain-long`, the "
        "control of robust, as many epochs and updates without the changed ones. Seed 0 of clean "
        f"and robust is what advlib ships. Seeds measured: {seeds}.",
    ]
    more = (f"## {UNKNOWN}", unknown_words(bad, calm, options.headlines))
    report("monitor", "A news monitor under attack", about, sensors, options,
           "python benchmarks/monitor.py --bad 100 --calm 200 --runs 200 --headlines FILE",
           more)  # fmt: skip


UNKNOWN = "Any word that is not known"


@dataclass(frozen=True, repr=False)
class OtherWords(Typos):
    """Slips, one or two in a word, that make another known word: all that is left to somebody who
    is watched for unknown ones."""

    vocabulary: frozenset[str] = frozenset()

    def options(self, word: str) -> tuple[str, ...]:
        once = misspellings(word, self.kinds, 1000)
        twice = (two for one in once for two in misspellings(one, self.kinds, 1000))
        return tuple(sorted({w for w in (*once, *twice) if w.lower() in self.vocabulary} - {word}))


def wait(usual: float, disguised: float) -> str:
    """Median items until a CUSUM on unknown words alone raises its alarm, where all bad news of a
    surge is disguised. usual: the share of other texts with such a word."""
    usual = max(usual, LEAST_MISSES)
    rate = SURGE * disguised + (1 - SURGE) * usual
    chart, rng = Cusum(usual, worse(usual, 3)), np.random.default_rng(5)
    found = delays(path(chart, rng.random((500, AFTER)) < rate), height(chart, 1000))
    return "never" if np.median(found) == np.inf else f"{np.median(found):.0f}"


def unknown_words(bad: list[str], calm: list[str], headlines: Path | None) -> str:
    """The obvious remedy: watch for any unknown word, in place of near misses."""
    vocabulary = frozenset(world("news").vocabulary)

    def share(texts: list[str], known: frozenset) -> float:
        return float(np.mean([bool({*words_of(t)} - known) for t in texts]))

    near_miss, usual = NearMiss(vocabulary, SLIPS), share(calm, vocabulary)
    attacks = {"unnoticed": Unnoticed(kinds=SLIPS, near_miss=near_miss, **BUDGET),
               "other words": OtherWords(kinds=SLIPS, vocabulary=vocabulary, **BUDGET)}
    rows = [["calm", "–", in_percent(usual, len(calm)), "–"],
            ["bad, open", "–", in_percent(share(bad, vocabulary), len(bad)), "–"]]
    for model in ("news-clean", "news-robust"):
        victim = load_classifier(model, device="cpu")
        label = victim.labels.index("negative")
        for name, attack in attacks.items():
            texts = [r.text for r in attack(victim, bad, [label] * len(bad))]
            read = in_percent((victim.predict(texts).argmax(1) == label).mean(), len(texts))
            new = share(texts, vocabulary)
            rows.append([f"{name}, against {model}", read, in_percent(new, len(texts)),
                         wait(usual, new)])  # fmt: skip
    if headlines:
        found = [text for text, _ in dict(read_labelled(headlines)).items()]
        for seed in range(3):
            side = [zlib.crc32(f"{seed}{text}".encode()) % 100 for text in found]
            known = frozenset(w for t, s in zip(found, side, strict=True) if s >= 40
                              for w in words_of(t))  # fmt: skip
            others = [t for t, s in zip(found, side, strict=True) if s < 40]
            real = share(others, known)
            rows.append([f"Financial PhraseBank, split {seed}, as they are", "–",
                         in_percent(real, len(others)), f"{wait(real, 1)} (one word in each)"])
    header = ["texts", "read as bad", "an unknown word", "items until the alarm"]
    return f"{ABOUT_UNKNOWN}\n\n{table(header, rows)}"


ABOUT_UNKNOWN = """\
Who knows the test for near misses passes it; a chart of texts with *any* word that is not in the
vocabulary stops him. In the embedded world it costs nothing, since the names of its companies are
known words, and it leaves him slips that make another known word. Of real headlines more than half
have an unknown word as they are (known: the words of the other 60 % of the sentences), so there
the same chart is slow. Shares in %, with 95 % Wilson intervals; the alarm is that of a CUSUM on
unknown words alone, set to 1,000 items between false alarms, where all bad news of the surge is
disguised. Known substitutes pass this chart, too ("all reworded", above). How the words of real
news change from month to month was not tried."""


# ---------------------------------------------------------------------- Financial PhraseBank


class Linear:
    """A scikit-learn pipeline that attacks take for a Classifier."""

    tokenizer = SimpleNamespace(mask_token=None, unk_token="?")

    def __init__(self, features, texts: list[str], labels: list[str], seed: int):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        rule = LogisticRegression(C=30, max_iter=500, class_weight="balanced", random_state=seed)
        self.pipeline = make_pipeline(features, rule).fit(texts, labels)
        self.labels = tuple(self.pipeline.classes_)

    def predict(self, texts) -> np.ndarray:
        return self.pipeline.predict_proba(list(texts))

    def logits(self, texts) -> np.ndarray:
        return np.log(self.predict(texts) + 1e-12)

    def classes(self, texts, labels) -> np.ndarray:
        return np.asarray(labels, int)


def phrasebank(options) -> None:
    """Three splits stand for three seeds: the models are linear, and training them is exact."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = list(dict(read_labelled(options.data)).items())
    found: dict[str, list[Seen]] = {}
    right: dict[str, list[str]] = {}
    for seed in range(3):
        side = np.array([zlib.crc32(f"{seed}{text}".encode()) % 100 for text, _ in rows])
        train = [r for r, s in zip(rows, side, strict=True) if s >= 40]
        test = [r for r, s in zip(rows, side, strict=True) if s < 40]
        texts, labels = (list(part) for part in zip(*train, strict=True))
        known = frozenset(w for t in texts for w in words_of(t))
        bad = [t for t, label in test if label == "negative"][: options.bad]
        calm = [t for t, label in test if label != "negative"][: options.calm]

        def words_features():
            return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)

        def letters_features():
            return TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)

        slipped = random_slips(texts, seed)
        sensors = {"words": Linear(words_features(), texts, labels, seed),
                   "letters": Linear(letters_features(), texts, labels, seed),
                   "letters, trained on slips": Linear(letters_features(), texts + slipped,
                                                       labels * 2, seed)}  # fmt: skip
        for name, victim in sensors.items():
            hits = (np.array(victim.labels)[victim.predict([t for t, _ in test]).argmax(1)]
                    == np.array([label for _, label in test]))  # fmt: skip
            right.setdefault(name, []).append(in_percent(hits.mean(), len(test)))
            for slips, kinds in (("", ("swap",)), (", all slips", SLIPS)):
                if slips and name != "words":
                    continue
                seen = seen_by(victim, bad, calm, NearMiss(known, kinds),
                               {"typos": TYPOS, "two slips": TWO_SLIPS})  # fmt: skip
                found.setdefault(name + slips, []).append(seen)
                print(seed, name + slips, {w: x.mean(0).round(2).tolist()
                                           for w, x in seen.ways.items()}, flush=True)  # fmt: skip
    about = [
        "Financial PhraseBank (Malo et al. 2014, arXiv 1307.5336; CC BY-NC-SA 3.0, loaded and not "
        "shipped), the sentences on which all annotators agree. **It has no dates: the streams are "
        f"simulated**, with {CALM:.0%} of bad news in calm times and {SURGE:.0%} in a surge.",
        "Three splits by checksum stand for three seeds, 60 % for training. Sensors are linear "
        "models on TF-IDF of words or of letters; the last is also trained on a copy of each "
        "sentence with random slips. Threat model: "
        f"`{TYPOS!r}`. Near misses are swaps of two letters, of words that stand in the training "
        "sentences; in the row \"all slips\" they are of every kind of slip that the attack uses.",
        table(["sensor", "right of three classes, %"],
              [[name, " / ".join(r)] for name, r in right.items()]),
    ]  # fmt: skip
    report("monitor-phrasebank", "A news monitor under attack: Financial PhraseBank", about, found,
           options, "python benchmarks/monitor.py --data FILE")  # fmt: skip


def words_of(text: str) -> list[str]:
    from advlib.systems.charts import WORD

    return WORD.findall(text.lower())


def random_slips(texts: list[str], seed: int) -> list[str]:
    """Each text with a slip in about a fifth of its words, drawn without asking a model."""
    from advlib.corpora import replace, words

    rng = np.random.default_rng(seed)
    out = []
    for text in texts:
        options = [TYPOS.options(word) for word in words(text)]
        chosen = {i: o[rng.integers(len(o))] for i, o in enumerate(options)
                  if o and rng.random() < 0.2}  # fmt: skip
        out.append(replace(text, chosen))
    return out


# ---------------------------------------------------------------------- load


def load(options) -> None:
    """Ten requests a second at a real server, each with one new headline."""
    texts = [r.text for r in world("news").sample(options.requests, "test", seed=5)]
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "examples.monitor", "--port", "0", "--play", "calm", "--store",
             f"{folder}/store.sqlite", "--alarms", f"{folder}/alarms.jsonl", "--per-minute",
             "100000", "--model", options.model],
            stdout=subprocess.PIPE, text=True)  # fmt: skip
        try:
            address = next(line for line in server.stdout if "ready" in line).split()[2]
            while get(address, "/api/health")["items"] < 1200:  # the history is read first
                time.sleep(1)
            seconds, lock = [], threading.Lock()

            def one(k: int) -> None:
                body = json.dumps({"items": [{"guid": f"load-{k}", "text": texts[k]}]}).encode()
                start = time.perf_counter()
                request = urllib.request.Request(address + "/api/items", body,
                                                 {"Content-Type": "application/json"})  # fmt: skip
                with urllib.request.urlopen(request, timeout=60):
                    pass
                with lock:
                    seconds.append(time.perf_counter() - start)

            threads = []
            for k in range(options.requests):
                threads.append(threading.Thread(target=one, args=(k,)))
                threads[-1].start()
                time.sleep(0.1)
            for thread in threads:
                thread.join()
            alive = get(address, "/api/health")
        finally:
            server.terminate()
            server.wait()
    ms = 1000 * np.array(seconds)
    write("monitor-load", "The news monitor under load", "\n\n".join([
        f"{options.requests} requests, ten a second, each with one new headline, while the "
        "embedded news goes on at six a second. Each headline is read, compared with earlier "
        "ones, counted on four charts and written to disk before the answer.",
        table(["answered", "p50, ms", "p95, ms", "longest, ms"],
              [[len(ms), *(f"{np.percentile(ms, q):.0f}" for q in (50, 95, 100))]]),
        f"After it the store holds {alive['items']} items. {os.cpu_count()} cores, whose load "
        f"average was {os.getloadavg()[0]:.1f} (1 minute, the program itself among it); "
        "where it is far above the number of cores they are shared with other programs.",
    ]), "python benchmarks/monitor.py --load --requests 200")  # fmt: skip


def get(address: str, route: str):
    with urllib.request.urlopen(address + route, timeout=60) as answer:
        return json.load(answer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="Financial PhraseBank, lines text@label")
    parser.add_argument("--unknown", action="store_true", help=f"the section “{UNKNOWN}” alone")
    parser.add_argument("--headlines", type=Path, help="Financial PhraseBank, for that section")
    parser.add_argument("--load", action="store_true", help="a server and ten requests a second")
    parser.add_argument("--model", default="news-robust", help="of the load test")
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--bad", type=int, default=150, help="bad texts that are read")
    parser.add_argument("--calm", type=int, default=300, help="other texts that are read")
    parser.add_argument("--runs", type=int, default=300, help="streams")
    parser.add_argument("--between", type=int, default=1000, help="items between false alarms")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.load:
        load(options)
    elif options.unknown:
        put("monitor", UNKNOWN, unknown_words(*headlines(options.bad, options.calm),
                                              options.headlines))  # fmt: skip
    elif options.data:
        phrasebank(options)
    else:
        embedded(options)


if __name__ == "__main__":
    main()
