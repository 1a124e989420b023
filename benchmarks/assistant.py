"""The customer service assistant: what it answers, what it leaves to people, and under attack.

    python tools/victims.py --only bank-clean --seed 1 --out runs/assistant/clean-1            and 2
    python tools/victims.py --only bank-robust --seed 1 --out runs/assistant/robust-1          and 2
    python tools/victims.py --only bank-plain-long --seed 0 --out runs/assistant/plain-long-0  to 2
    python benchmarks/assistant.py --data FOLDER        Banking77: train.csv and test.csv
    python benchmarks/assistant.py --data FOLDER --encoder FOLDER --only encoder      fine-tunes it

Each part is kept in runs/assistant-benchmark, and docs/results/assistant.md is written from what is
there; --only PART measures that part alone, and a part that was not measured here stays on the page
as it is. A model of the bank that has been measured is not measured again: delete the folder for
that.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from datasets import Dataset
from transformers import set_seed

sys.path.insert(0, str(Path(__file__).parents[1]))  # the programs in examples/ are not installed

from advlib import load_text
from advlib.attacks import RandomTypos
from advlib.attacks.words import KeepWords, misspellings
from advlib.corpora import replace, words, world
from advlib.fairness import by_group, risk_coverage
from advlib.finetuning import finetune
from advlib.models import Classifier, embedded_checkpoints, load_classifier
from advlib.objectives import Words
from advlib.statistics import wilson
from advlib.systems.retrieval import fold, match_query
from course.lesson_16.checks import threshold_for
from course.lesson_16.workshop import drawn, halves, short_questions
from examples.assistant.app import Assistant, by_vote, key_of
from examples.assistant.classifier import LettersLinear
from examples.assistant.history import embedded_history
from examples.assistant.store import QuestionStore
from examples.serving import open_store

from common import RESULTS, table, write

KEPT, MODELS = Path("runs/assistant-benchmark"), Path("runs/assistant")
SLIPS = ("swap", "drop", "insert", "key")
CHANGED = 2  # words that an attack may change
ENCODER, EPOCHS = "encoder, {}, seed {}", 6


# ---------------------------------------------------------------------- attacks


def typos(text: str) -> list[tuple[str, ...]]:
    """For each word, what a slip of the fingers makes of it."""
    return [misspellings(word, SLIPS, 2) for word in words(text)]


def substitutes(text: str) -> list[tuple[str, ...]]:
    """For each word, those that keep the intent: known, for the world says so."""
    return world("bank").substitutes(text)


def attacked(predict, text: str, label: int, options) -> str:
    """Greedy: of all texts with one more word changed the one with the least margin of the label,
    until another class wins or two words are changed. It sees probabilities."""
    def margin(texts: list[str]) -> np.ndarray:
        p = predict(texts)
        return p[:, label] - np.delete(p, label, 1).max(1)

    best, done = margin([text])[0], set()
    for _ in range(CHANGED):
        tried = [(i, replace(text, {i: new})) for i, several in enumerate(options(text))
                 if i not in done for new in several]  # fmt: skip
        if best <= 0 or not tried:
            break
        margins = margin([new for _, new in tried])
        if margins.min() >= best:
            break
        best, (place, text) = margins.min(), tried[int(margins.argmin())]
        done.add(place)
    return text


def slipped(text: str, rng: random.Random) -> str:
    """The text with a slip in 30 % of its words, drawn at random."""
    options = typos(text)
    places = [i for i, several in enumerate(options) if several]
    drawn = rng.sample(places, min(len(places), max(1, round(0.3 * len(options)))))
    return replace(text, {i: rng.choice(options[i]) for i in drawn})


# ---------------------------------------------------------------------- what is compared


class Lookup:
    """The nearest past question by FTS5, as a classifier. tokenize: "trigram" or "words"."""

    def __init__(self, rows: list[dict], labels: list[str], tokenize: str):
        self.labels, self.tokenize = labels, tokenize
        kind = {"trigram": "trigram", "words": "porter unicode61"}[tokenize]
        self.store = open_store(":memory:", f"CREATE VIRTUAL TABLE past USING fts5(question, "
                                f"intent UNINDEXED, tokenize='{kind}');\n")  # fmt: skip
        with self.store.writing() as db:
            db.executemany("INSERT INTO past VALUES (?, ?)",
                           [(fold(row["question"]), row["intent"]) for row in rows])  # fmt: skip

    def predict(self, texts: list[str]) -> np.ndarray:
        """(n, classes) the best score of each intent, as shares of all of them."""
        out = np.full((len(texts), len(self.labels)), 1e-9)
        for i, text in enumerate(texts):
            for row in self.store.rows("SELECT intent, -rank AS score FROM past WHERE past MATCH ? "
                                       "ORDER BY rank LIMIT 50",
                                       match_query(text, self.tokenize)):  # fmt: skip
                at = self.labels.index(row["intent"])
                out[i, at] = max(out[i, at], row["score"])
        return out / out.sum(1, keepdims=True)


def accuracy(model, texts: list[str], intents: list[str]) -> float:
    names = [model.labels[i] for i in model.predict(texts).argmax(1)]
    return float(np.mean([a == b for a, b in zip(names, intents, strict=True)]))


def measured(name: str, model, texts: list[str], intents: list[str], hard: int, ways: dict):
    """A row of accuracies, and the attacked texts: the attacks see the first `hard` of them."""
    rng = random.Random(0)
    row = {"model": name, "n": len(texts), "hard": min(hard, len(texts)),
           "clean": accuracy(model, texts, intents),
           "random typos": accuracy(model, [slipped(t, rng) for t in texts], intents)}  # fmt: skip
    made = {}
    for way, options in ways.items():
        made[way] = [attacked(model.predict, t, model.labels.index(y), options)
                     for t, y in zip(texts[:hard], intents[:hard], strict=True)]  # fmt: skip
        row[way] = accuracy(model, made[way], intents[:hard])
    print(row, flush=True)
    return row, made


def outcomes(assistant: Assistant, texts: list[str], intents: list[str]) -> dict:
    """Counts of what the assistant does with questions: right, wrong and person."""
    found = Counter(outcome(assistant.think(t), y) for t, y in zip(texts, intents, strict=False))
    return {key: found[key] for key in ("right", "wrong", "person")}


def outcome(reply, intent: str) -> str:
    return "person" if reply.by == "person" else "right" if reply.intent == intent else "wrong"


def around(name: str, assistant: Assistant, cases: dict, intents: list[str]) -> dict:
    """What the assistant does in each case, and its worst intent on clean questions."""
    found = {"model": name, "sure": assistant.sure, "like": assistant.like,
             "cases": {case: outcomes(assistant, texts, intents) for case, texts in cases.items()}}
    found["strange"] = sum(assistant.think(text).by != "person" for text in STRANGE)
    confidence = assistant.model.predict(STRANGE).max(1)
    found["strange, confidence alone"] = int((confidence >= assistant.sure).sum())
    said = [outcome(assistant.think(text), y)
            for text, y in zip(cases["clean"], intents, strict=True)]  # fmt: skip
    given = [(one == "right", y) for one, y in zip(said, intents, strict=True) if one != "person"]
    found["worst intent"] = by_group([ok for ok, _ in given], [y for _, y in given])[0]
    print(found, flush=True)
    return found


def curve(model, texts: list[str], intents: list[str]) -> dict:
    """The share of wrong answers where the surest 100, 90, 80 and 60 % are answered."""
    p = model.predict(texts)
    right = [model.labels[i] == y for i, y in zip(p.argmax(1), intents, strict=True)]
    _, coverage, risk = risk_coverage(p.max(1), right)
    return {str(c): float(risk[min(np.searchsorted(coverage, c), len(risk) - 1)])
            for c in (1, 0.9, 0.8, 0.6)}  # fmt: skip


STRANGE = [r.text for name in ("reviews", "news") for r in world(name).sample(50, "test", seed=3)]


# ---------------------------------------------------------------------- the parts


def bank(options) -> dict:
    """The embedded bank: classifiers by seed, and the assistant around each."""
    rows = embedded_history()
    asked = world("bank").sample(options.questions, "test", seed=11)
    texts, intents = [r.text for r in asked], [world("bank").labels[r.label] for r in asked]
    ways = {"known substitutes": substitutes, "chosen typos": typos}
    found = kept("bank") or {"classifiers": [], "assistants": []}
    done = {row["model"] for row in found["classifiers"]}
    models = dict(bank_models(rows))
    for name, load in models.items():
        if name in done:
            continue
        model = load()
        hard = options.hard // 2 if isinstance(model, Lookup) else options.hard  # it is slow
        row, made = measured(name, model, texts, intents, hard, ways)
        found["classifiers"].append(row | {"curve": curve(model, texts, intents)})
        if not isinstance(model, Lookup):
            rng = random.Random(0)
            cases = {"clean": texts, "random typos": [slipped(t, rng) for t in texts], **made}
            assistant = around_store(rows, model)
            found["assistants"].append(around(name, assistant, cases, intents))
        keep("bank", found)
    for rows_of_a_table in found.values():
        rows_of_a_table.sort(key=lambda row: [*models].index(row["model"]))
    return found


def bank_models(rows: list[dict]):
    """(name, function that loads it) of all that are compared; a seed that is not there is left
    out."""
    labels, train = list(world("bank").labels), load_text("bank")["train"]
    intents = [labels[y] for y in train["label"]]
    for kind in ("clean", "plain-long", "robust"):
        for seed in range(3):
            shipped = seed == 0 and f"bank-{kind}" in embedded_checkpoints()
            where = f"bank-{kind}" if shipped else MODELS / f"{kind}-{seed}"
            if shipped or Path(where, "model.safetensors").is_file():
                yield f"bank-{kind}, seed {seed}", partial(load_classifier, where, device="cpu")
            else:
                print(f"left out: {where}", flush=True)
    yield "letters, linear (2,500 texts)", partial(LettersLinear, train["text"], intents)
    yield "FTS5 trigrams (560 stored)", partial(Lookup, rows, labels, "trigram")
    yield "FTS5 words (560 stored)", partial(Lookup, rows, labels, "words")


def around_store(rows: list[dict], model) -> Assistant:
    store = QuestionStore(":memory:")
    store.add(rows)
    return Assistant(store, model)


def banking77(options) -> dict:
    """Real questions. To compare, twenty an intent are stored and fitted on; the assistant itself
    has all of them."""
    rows, asked = read_banking(options.data, "train"), read_banking(options.data, "test")
    asked, few = random.Random(0).sample(asked, options.questions), twenty(rows, seed=0)
    texts, intents = ([row[key] for row in asked] for key in ("question", "intent"))
    labels, found = sorted({row["intent"] for row in rows}), {"classifiers": []}
    models = {"FTS5 words (1,540 stored)": Lookup(few, labels, "words"),
              "FTS5 trigrams (1,540 stored)": Lookup(few, labels, "trigram"),
              "letters, linear (1,540 texts)": fitted(few),
              "letters, linear (10,003 texts)": fitted(rows)}  # fmt: skip
    for name, model in models.items():
        hard = options.hard // 2 if isinstance(model, Lookup) else options.hard
        row, made = measured(name, model, texts, intents, hard, {"chosen typos": typos})
        found["classifiers"].append(row | {"curve": curve(model, texts, intents)})
    rng = random.Random(0)  # those made against the last one, which the assistant uses
    cases = {"clean": texts, "random typos": [slipped(t, rng) for t in texts], **made}
    assistant = around_store(rows, "letters")
    found["assistants"] = [around("letters, linear (10,003 texts)", assistant, cases, intents)]
    every = read_banking(options.data, "test")
    names = model.predict([row["question"] for row in every]).argmax(1)
    right = [model.labels[i] == row["intent"] for i, row in zip(names, every, strict=True)]
    found["worst"] = by_group(right, [row["intent"] for row in every])[:3]
    return found


def encoder(options) -> dict:
    """A pre-trained encoder, fine-tuned on twenty questions an intent: plain, and as often on the
    same with random typos. The assistant around it has the other training questions."""
    rows, asked = read_banking(options.data, "train"), read_banking(options.data, "test")
    asked, few = random.Random(0).sample(asked, options.questions), twenty(rows, seed=0)
    texts, intents = ([row[key] for row in asked] for key in ("question", "intent"))
    read = {row["question"] for row in few}
    unread = [row for row in rows if row["question"] not in read]
    found = kept("encoder") or {"classifiers": [], "assistants": []}
    names = {ENCODER.format(kind, seed): (kind, seed)
             for kind in ("plain", "typos") for seed in range(3)}  # fmt: skip
    done = {row["model"] for row in found["classifiers"]}
    for name in sorted(names.keys() - done, key=lambda name: names[name][1]):
        model = tuned(options.encoder, few, *names[name])
        row, made = measured(name, model, texts, intents, options.hard, {"chosen typos": typos})
        found["classifiers"].append(row | {"curve": curve(model, texts, intents)})
        rng = random.Random(0)
        cases = {"clean": texts, "random typos": [slipped(t, rng) for t in texts], **made}
        found["assistants"].append(around(name, around_store(unread, model), cases, intents))
        keep("encoder", found)
    for rows_of_a_table in found.values():
        rows_of_a_table.sort(key=lambda row: [*names].index(row["model"]))
    return found


def tuned(source: Path, rows: list[dict], kind: str, seed: int) -> Classifier:
    """The encoder at `source`, fine-tuned on these rows; kept."""
    where = MODELS / f"banking77-{kind}-{seed}"
    if (where / "model.safetensors").is_file():
        return load_classifier(where, device="cpu")
    labels = sorted({row["intent"] for row in rows})
    data = Dataset.from_dict({"text": [row["question"] for row in rows],
                              "label": [labels.index(row["intent"]) for row in rows]})
    set_seed(seed)
    victim = load_classifier(source, labels=labels, device="cpu")
    slips = RandomTypos(kinds=SLIPS, per_kind=12, max_changed=0.3, constraints=(KeepWords(),))
    began = time.process_time()
    trainer = finetune(victim, data, Words(slips, victim, data) if kind == "typos" else None,
                       out=MODELS / "training", epochs=EPOCHS, learning_rate=3e-4,
                       seed=seed)  # fmt: skip
    print(where, trainer.recipe, f"{time.process_time() - began:.0f} s of CPU", flush=True)
    victim.save(where)
    return victim


def fitted(rows: list[dict]) -> LettersLinear:
    return LettersLinear([row["question"] for row in rows], [row["intent"] for row in rows])


def read_banking(folder: Path, split: str) -> list[dict]:
    """Rows for the store. Who answered is not known: five sources take turns."""
    with open(folder / f"{split}.csv", encoding="utf-8", newline="") as file:
        return [dict(question=row["text"], intent=row["category"], answer=row["category"],
                     source=f"agent {i % 5}") for i, row in enumerate(csv.DictReader(file))]


def poison(options) -> dict:
    """One source writes k real questions of an intent with a wrong answer. Of other people's
    questions of that intent, how many get it?"""
    found = {}
    sets = {"bank": bank_poison}
    if options.data:
        sets["Banking77"] = lambda seed: real_poison(options.data, seed)
    for name, make in sets.items():
        for k in (1, 3, 5, 10):
            got = Counter()
            for seed in range(3):
                got += captured(*make(seed), k, seed)
            found[f"{name}, {k}"] = dict(got)
            print(name, k, dict(got), flush=True)
    return found


def bank_poison(seed: int):
    asked = world("bank").sample(28 * 22, "test", seed=20 + seed)
    labels = world("bank").labels
    return embedded_history(), [{"question": r.text, "intent": labels[r.label]} for r in asked]


def real_poison(folder: Path, seed: int):
    return twenty(read_banking(folder, "train"), seed), read_banking(folder, "test")


def twenty(rows: list[dict], seed: int) -> list[dict]:
    """Twenty rows of every intent, drawn at random."""
    rows, seen, drawn = list(rows), Counter(), []
    random.Random(seed).shuffle(rows)
    for row in rows:
        seen[row["intent"]] += 1
        if seen[row["intent"]] <= 20:
            drawn.append(row)
    return drawn


def captured(good: list[dict], asked: list[dict], k: int, seed: int) -> Counter:
    """Counts over 12 intents, 6 questions each: by the nearest row, by rows and by sources."""
    rng, got = random.Random(seed), Counter()
    targets = rng.sample(sorted({row["intent"] for row in good}), 12)
    of = {c: [row["question"] for row in asked if row["intent"] == c] for c in targets}
    for questions in of.values():
        rng.shuffle(questions)
    bad = [{"question": q, "intent": "", "answer": "WRONG", "source": "mallory"}
           for questions in of.values() for q in questions[:k]]  # fmt: skip
    store = QuestionStore(":memory:")
    store.add([*good, *bad])
    for question in (q for questions in of.values() for q in questions[k : k + 6]):
        near = store.search(question, of_a_source=12, most=12)
        rows = [row | {"source": i} for i, row in enumerate(near)]  # each a source of its own
        ways = {"nearest": key_of(near[0]), "rows": by_vote(rows)[0],
                "sources": by_vote(store.search(question))[0]}  # fmt: skip
        got["n"] += 1
        for way, key in ways.items():
            got[way] += key == ("answer", "WRONG")
    return got


def threshold(options) -> dict:
    """A threshold for 5 % wrong answers on typed questions, as in lesson 16: how far it misses by
    the number of questions, and whether it matters from which texts of the world they are."""
    model = load_classifier("bank-clean", device="cpu")
    sets = {split: drawn(model.predict, short_questions(60, split, seed=40), draws=3)
            for split in ("validation", "test")}  # fmt: skip
    found = {"questions": sets["test"][0].shape[1], "slips": 3, "rows": [], "all": {}}
    for split, (sure, right) in sets.items():  # one threshold, on all there is of both
        at = threshold_for(sure.ravel(), right.ravel(), 0.05)
        found["all"][split] = {"threshold": at} | {
            name: float(1 - fine[other >= at].mean()) for name, (other, fine) in sets.items()}
    for n in (140, 560):
        for m in (280, 1100):
            risks = halves(sets["test"], sets["validation"], threshold_for, chosen=n, used=m)
            found["rows"] += [{"from": name, "chosen": n, "used": m, "mean": float(own.mean()),
                               "range": np.quantile(own, (0.05, 0.95)).tolist()}
                              for name, own in zip(("test", "validation"), risks.values(),
                                                   strict=True)]  # fmt: skip
    print(found, flush=True)
    return found


def load(options) -> dict:
    """Ten requests a second, at times of their own, against the running server."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "examples.assistant", "--port", "0", "--per-minute", "9e9",
                   "--store", f"{folder}/store.sqlite"]  # fmt: skip
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            address = next(line.split()[1] for line in server.stdout if "is ready" in line)
            texts = [r.text for r in world("bank").sample(options.requests, "test", seed=31)]
            ask(address, texts[0])
            process, seconds, failed = psutil.Process(server.pid), [], []
            spent, threads, start = process.cpu_times(), [], time.perf_counter()

            def one(text: str) -> None:
                began = time.perf_counter()
                try:
                    ask(address, text)
                    seconds.append(time.perf_counter() - began)
                except OSError as error:
                    failed.append(str(error))

            for i, text in enumerate(texts):
                time.sleep(max(0.0, start + i / 10 - time.perf_counter()))
                threads.append(threading.Thread(target=one, args=(text,)))
                threads[-1].start()
            for thread in threads:
                thread.join()
            now = process.cpu_times()
            cpu = now.user + now.system - spent.user - spent.system
        finally:
            server.terminate()
            server.wait()
    p50, p95 = np.quantile(seconds, [0.5, 0.95])
    return {"n": len(seconds), "failed": len(failed), "p50": p50, "p95": p95,
            "cpu": cpu / len(texts), "others": psutil.getloadavg()[0]}  # fmt: skip


def ask(address: str, question: str) -> dict:
    body = json.dumps({"question": question}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/api/ask", body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def keep(part: str, found: dict) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    (KEPT / f"{part}.json").write_text(json.dumps(found, default=float))


def kept(part: str) -> dict | None:
    file = KEPT / f"{part}.json"
    return json.loads(file.read_text()) if file.is_file() else None


PARTS = {"bank": bank, "banking77": banking77, "encoder": encoder, "threshold": threshold,
         "poison": poison, "load": load}  # fmt: skip


# ---------------------------------------------------------------------- the page


def share(k: int, n: int) -> str:
    """k of n in percent, with the 95 % Wilson interval."""
    low, high = wilson(k, n)
    return f"{100 * k / n:.0f} [{100 * low:.0f}, {100 * high:.0f}]"


def classifier_table(found: dict) -> str:
    ways = [way for way in ("known substitutes", "chosen typos") if way in found["classifiers"][0]]
    header = ["classifier", "n", "clean", "random typos", *(f"{way} (n)" for way in ways),
              "wrong at coverage 100 / 90 / 80 / 60 %"]  # fmt: skip
    rows = []
    for row in found["classifiers"]:
        n, hard = row["n"], row["hard"]
        cells = [share(round(row[case] * n), n) for case in ("clean", "random typos")]
        cells += [f"{share(round(row[way] * hard), hard)} ({hard})" for way in ways]
        cells.append(" / ".join(f"{100 * risk:.1f}" for risk in row["curve"].values()))
        rows.append([row["model"], n, *cells])
    return table(header, rows)


def assistant_table(found: dict) -> str:
    header = ["assistant with", "questions", "n", "answered", "wrong, of those answered",
              "wrong, of all", "to a person"]  # fmt: skip
    rows = []
    for one in found["assistants"]:
        for case, k in one["cases"].items():
            n = sum(k.values())
            given = k["right"] + k["wrong"]
            rows.append([one["model"], case, n, share(given, n),
                         share(k["wrong"], given) if given else "–", share(k["wrong"], n),
                         share(k["person"], n)])  # fmt: skip
    return table(header, rows)


def other_table(found: dict, many: bool = True) -> str:
    """many: whether there are enough questions of each intent to tell the worst one."""
    header = ["assistant with", "threshold: confidence / likeness", "strange questions answered",
              "by confidence alone"] + ["worst intent, of those answered"] * many  # fmt: skip
    rows = []
    for one in found["assistants"]:
        worst, n = one["worst intent"], len(STRANGE)
        rows.append([one["model"], f"{one['sure']:.2f} / {one['like']:.2f}",
                     f"{one['strange']} of {n}", f"{one['strange, confidence alone']} of {n}",
                     f"{worst['group']}: {worst['hits']} of {worst['n']} right"])  # fmt: skip
    return table(header, rows)


def poison_table(found: dict) -> str:
    rows = [[*name.split(", "), k["n"], *(share(k.get(way, 0), k["n"])
                                         for way in ("nearest", "rows", "sources"))]
            for name, k in found.items()]  # fmt: skip
    return table(["store", "k", "n", "nearest row", "vote of rows", "vote of sources"], rows)


def page(found: dict) -> str:
    """What was measured here, and of the rest what stands on the page."""
    old = sections()
    texts = {name: SECTIONS[name](found[name]) if name in found else old.get(name, "")
             for name in PARTS}  # fmt: skip
    return "\n\n".join([INTRODUCTION, *filter(None, texts.values()), LIMITS])


def sections() -> dict[str, str]:
    """The parts that docs/results/assistant.md has, each from its title on."""
    file = RESULTS / "assistant.md"
    there = file.read_text("utf-8").split("\n## ") if file.is_file() else []
    return {name: f"## {text}".strip() for name, title in TITLES.items()
            for text in there if text.startswith(f"{title}\n")}  # fmt: skip


def bank_section(found: dict) -> str:
    return "\n\n".join([BANK, in_short(found), classifier_table(found), ASSISTANT,
                        assistant_table(found), OTHER, other_table(found)])  # fmt: skip


def in_short(found: dict) -> str:
    """What the control says, in means over seeds."""
    ways = ("clean", "random typos", "known substitutes", "chosen typos")
    lines = []
    for kind in ("bank-clean", "bank-plain-long", "bank-robust"):
        seeds = [row for row in found["classifiers"] if row["model"].startswith(f"{kind}, ")]
        means = (f"{100 * np.mean([row[way] for row in seeds]):.0f}" for way in ways)
        lines += [f"{kind} {' / '.join(means)} ({len(seeds)} trainings)"] * bool(seeds)
    return f"**In short.** Right, in %, {' / '.join(ways)}: {'; '.join(lines)}."


def banking77_section(found: dict) -> str:
    worst = "; ".join(f"{row['group']} {row['hits']} of {row['n']}" for row in found["worst"])
    return "\n\n".join([
        BANKING77, classifier_table(found),
        f"The intents that letters-linear (10,003) reads worst, of all 3,080 test questions: "
        f"{worst}.", assistant_table(found), other_table(found, many=False)])  # fmt: skip


def encoder_section(found: dict) -> str:
    return "\n\n".join([ABOUT_ENCODER, classifier_table(found), assistant_table(found),
                        other_table(found, many=False)])  # fmt: skip


def poison_section(found: dict) -> str:
    return f"{POISON}\n\n{poison_table(found)}"


def threshold_section(found: dict) -> str:
    header = ["chosen on", "n", "used on", "wrong, of those answered", "nine times in ten"]
    rows = [[row["from"], row["chosen"], row["used"], f"{100 * row['mean']:.1f}",
             "{:.1f} to {:.1f}".format(*(100 * end for end in row["range"]))]
            for row in found["rows"]]  # fmt: skip
    alls = "; ".join(f"{split} {row['threshold']:.3f}, at which {100 * row['validation']:.1f} % "
                     f"are wrong on validation and {100 * row['test']:.1f} % on test"
                     for split, row in found["all"].items())  # fmt: skip
    return (f"{THRESHOLD}\n\n{table(header, rows)}\n\nThe threshold on all {found['questions']:,} "
            f"with all {found['slips']} draws: {alls}.")  # fmt: skip


def load_section(k: dict) -> str:
    return (
        f"## {TITLES['load']}\n\n{k['n']} questions at the running server, sent at times of their "
        f"own whether or not the last was answered, {k['failed']} without an answer: p50 "
        f"{1000 * k['p50']:.0f} ms, p95 {1000 * k['p95']:.0f} ms; {1000 * k['cpu']:.0f} ms of one "
        f"CPU core a request. Meanwhile {k['others']:.1f} processes wanted the machine's "
        f"{psutil.cpu_count()} cores: where that is more than there are, the times are those of a "
        "busy machine, and the CPU time is the number to plan with."
    )


SECTIONS = {"bank": bank_section, "banking77": banking77_section, "encoder": encoder_section,
            "threshold": threshold_section, "poison": poison_section,
            "load": load_section}  # fmt: skip
TITLES = {"bank": "Embedded bank, 28 intents", "banking77": "Banking77, 77 intents",
          "encoder": "Banking77, an encoder", "poison": "One source writes wrong answers",
          "threshold": "A threshold for 5 %, and what 560 questions can promise",
          "load": "Ten requests a second"}  # fmt: skip
INTRODUCTION = """`examples/assistant` answers by intent where its classifier is sure and a past
question of that intent is like the new one, otherwise by a vote of the nearest past questions'
sources where it is clear, and hands over to a person where it is not. Shares are in percent,
with 95 % Wilson intervals of one model each: they say nothing of other seeds, which stand in
rows of their own.

Threat model: an attacker rewrites a question so that its intent stays: at most two words, each
by a known substitute of the world or by one slip of the fingers (swap, drop, insert,
neighbouring key; first and last letter stay). He sees the classifier's probabilities and goes on
greedily until another class wins. He does not see the store and does not attack the thresholds:
an attack on those too would find more. Random typos: one slip in 30 % of the words, drawn once
for all models."""
BANK = f"""## {TITLES['bank']}

Test questions that no model has read; 560 other ones, twenty an intent from five sources, are
stored. `bank-clean`: plain training, 5,000 texts, 6 epochs, 942 updates. `bank-robust`: 2,500
texts, 10 epochs, 790 updates, typos and known substitutes in turn; each update reads the texts as
they are and changed. `bank-plain-long` is its control: the same texts, epochs and updates without
the changed ones. Seed 0 of the first two is what advlib ships."""
ASSISTANT = """What the assistant does with them; thresholds for 5 % wrong answers, chosen on 400
past questions. Attacked questions are those made against its own classifier."""
OTHER = f"""Strange questions are {len(STRANGE)} reviews and headlines, to which no answer is
right. By confidence alone an encoder answers most of them."""
BANKING77 = f"""## {TITLES['banking77']}

Real questions (Casanueva et al., NLP for ConvAI 2020, CC BY 4.0): all 10,003 training questions
are stored, and letters-linear is fitted on them. **Over 1,400 of these labels (14 %) may be
wrong** (Ying and Thomas, "Label Errors in BANKING77", Insights 2022), and the test labels come
from the same hands: so a wrong answer here may be a right one, and thresholds are chosen on such
labels too. Who answered is not known: five sources take turns."""
ABOUT_ENCODER = f"""## {TITLES['encoder']}

all-MiniLM-L6-v2 (22 M weights) with a new head, fine-tuned on twenty questions an intent (1,540),
{EPOCHS} epochs of 49 updates, learning rate 3e-4, three seeds. (The rate is the second that was
tried: at 1e-4 so few epochs left the model unsure.) *plain*; *typos*: after three plain updates
in ten, each update reads the texts as they are and with random slips in up to 30 % of the words.
The other 8,463 training questions are stored, and thresholds are chosen on 400 of them."""
THRESHOLD = f"""## {TITLES['threshold']}

`bank-clean`, short questions with random typos, as in lesson 16: 1,680 of the world's texts for
validation and 1,680 of those for test, each with three draws of slips. 200 times a threshold for
5 % is chosen on n of one and used on other questions of test. Where two rows differ in the first
column alone and hardly in the shares, the questions have not shifted; how far single thresholds
miss is a matter of n, and of the number of questions that they are used on."""
POISON = f"""## {TITLES['poison']}

k real questions of an intent with a wrong answer, all by one source, beside the good ones:
twenty an intent, by five sources. Of other people's questions of that intent so many are answered
wrongly by the nearest row, by the vote of the twelve nearest rows, and by the vote of sources.
Three seeds, twelve intents each, six questions each; those of one seed share a store, so
intervals are a little too small. Whoever can be many sources still wins."""
LIMITS = """## What this does not say

The store only is protected by sources: letters-linear is fitted on rows, so an import with wrong
intents moves it. Thresholds hold for questions like the past ones. Names of sources are as good
as whoever gives them out. kill −9 in mid-write is a test (`tests/test_assistant.py`), not a
figure."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder of Banking77")
    parser.add_argument("--encoder", type=Path, help="the folder of an encoder to fine-tune")
    parser.add_argument("--only", choices=PARTS, nargs="+")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--hard", type=int, default=40, help="questions that are attacked")
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in () if options.page else options.only or PARTS:
        lacking = name in ("banking77", "encoder") and not options.data
        if lacking or name == "encoder" and not options.encoder:
            print(f"left out: {name}, which needs --data" + " and --encoder" * (name == "encoder"))
            continue
        keep(name, PARTS[name](options))
    found = {name: there for name in PARTS if (there := kept(name))}
    write("assistant", "The customer service assistant", page(found),
          "python benchmarks/assistant.py --data FOLDER")  # fmt: skip


if __name__ == "__main__":
    main()
