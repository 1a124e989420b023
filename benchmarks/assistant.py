"""The customer service assistant: what it answers, what it leaves to people, and what an attack does.

    for s in 1 2; do python tools/victims.py --only bank-clean --seed $s --out runs/assistant/clean-$s
                     python tools/victims.py --only bank-robust --seed $s --out runs/assistant/robust-$s; done
    python benchmarks/assistant.py --data FOLDER-OF-BANKING77

Each part is kept in runs/assistant-benchmark, and docs/results/assistant.md is written from what is
there; --only PART measures one of them anew. FOLDER holds train.csv and test.csv.
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
from pathlib import Path

import numpy as np
import psutil
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))  # the programs in examples/ are not installed

from advlib import load_text
from advlib.attacks.words import misspellings
from advlib.corpora import replace, words, world
from advlib.fairness import by_group, risk_coverage
from advlib.models import load_classifier
from advlib.statistics import wilson
from advlib.systems.retrieval import fold, match_query, vote
from examples.assistant.app import Assistant, key_of
from examples.assistant.classifier import LettersLinear
from examples.assistant.history import embedded_history
from examples.assistant.store import QuestionStore
from examples.serving import Limiter, open_store

from common import table, write

KEPT = Path("runs/assistant-benchmark")
SLIPS = ("swap", "drop", "insert", "key")
CHANGED = 2  # words that an attack may change


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
    found = {"model": name, "sure": assistant.sure, "like": assistant.like, "n": {}, "cases": {}}
    for case, texts in cases.items():
        found["n"][case], found["cases"][case] = len(texts), outcomes(assistant, texts, intents)
    found["strange"] = sum(assistant.think(text).by != "person" for text in STRANGE)
    confidence = assistant.model.predict(STRANGE).max(1)
    found["strange, confidence alone"] = int((confidence >= assistant.sure).sum())
    given = [(outcome(assistant.think(t), y), y) for t, y in zip(cases["clean"], intents)]
    given = [(said == "right", y) for said, y in given if said != "person"]
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
    found = {"classifiers": [], "assistants": []}
    for name, model in bank_models(rows):
        row, made = measured(name, model, texts, intents, options.hard, ways)
        found["classifiers"].append(row | {"curve": curve(model, texts, intents)})
        if not isinstance(model, Lookup):
            rng = random.Random(0)
            cases = {"clean": texts, "random typos": [slipped(t, rng) for t in texts], **made}
            assistant = around_store(rows, model)
            found["assistants"].append(around(name, assistant, cases, intents))
    return found


def bank_models(rows: list[dict]):
    """(name, model) of all that are compared; a seed that is not there is left out."""
    labels, train = list(world("bank").labels), load_text("bank")["train"]
    for kind in ("clean", "robust"):
        for seed in range(3):
            where = f"bank-{kind}" if seed == 0 else f"runs/assistant/{kind}-{seed}"
            if seed and not Path(where, "model.safetensors").is_file():
                print(f"left out: {where}", flush=True)
                continue
            yield f"bank-{kind}, seed {seed}", load_classifier(where, device="cpu")
    intents = [labels[y] for y in train["label"]]
    yield "letters, linear (2,500 texts)", LettersLinear(train["text"], intents)
    yield "FTS5 trigrams (560 stored)", Lookup(rows, labels, "trigram")
    yield "FTS5 words (560 stored)", Lookup(rows, labels, "words")


def around_store(rows: list[dict], model) -> Assistant:
    store = QuestionStore(":memory:")
    store.add(rows)
    return Assistant(store, model)


def banking77(options) -> dict:
    """Real questions: all 10,003 stored and fitted on, 300 asked."""
    rows, asked = read_banking(options.data, "train"), read_banking(options.data, "test")
    asked = random.Random(0).sample(asked, options.questions)
    texts, intents = ([row[key] for row in asked] for key in ("question", "intent"))
    labels, found = sorted({row["intent"] for row in rows}), {"classifiers": []}
    letters = LettersLinear([row["question"] for row in rows], [row["intent"] for row in rows])
    models = {"letters, linear": letters, "FTS5 trigrams": Lookup(rows, labels, "trigram"),
              "FTS5 words": Lookup(rows, labels, "words")}  # fmt: skip
    for name, model in models.items():
        hard = options.hard if model is letters else options.hard // 2
        row, made = measured(name, model, texts, intents, hard, {"chosen typos": typos})
        found["classifiers"].append(row | {"curve": curve(model, texts, intents)})
        if model is letters:
            rng = random.Random(0)
            cases = {"clean": texts, "random typos": [slipped(t, rng) for t in texts], **made}
    assistant = around_store(rows, "letters")
    found["assistants"] = [around("letters, linear", assistant, cases, intents)]
    return found


def read_banking(folder: Path, split: str) -> list[dict]:
    """Rows for the store. Who answered is not known: five sources take turns."""
    with open(folder / f"{split}.csv", encoding="utf-8", newline="") as file:
        return [{"question": row["text"], "intent": row["category"], "answer": row["category"],
                 "source": f"agent {i % 5}"} for i, row in enumerate(csv.DictReader(file))]  # fmt: skip


def poison(options) -> dict:
    """One source writes k real questions of an intent with a wrong answer. Of other people's
    questions of that intent, how many get it?"""
    found = {}
    sets = {"bank": lambda seed: bank_poison(seed)}
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
    rows = read_banking(folder, "train")
    random.Random(seed).shuffle(rows)
    seen, kept = Counter(), []
    for row in rows:
        if seen[row["intent"]] < 20:
            seen[row["intent"]] += 1
            kept.append(row)
    return kept, read_banking(folder, "test")


def captured(good: list[dict], asked: list[dict], k: int, seed: int) -> Counter:
    """Counts over 12 intents, 10 questions each: by the nearest row, by rows and by sources."""
    rng, got = random.Random(seed), Counter()
    targets = rng.sample(sorted({row["intent"] for row in good}), 12)
    of = {c: [row["question"] for row in asked if row["intent"] == c] for c in targets}
    for questions in of.values():
        rng.shuffle(questions)
    bad = [{"question": q, "intent": "", "answer": "WRONG", "source": "mallory"}
           for questions in of.values() for q in questions[:k]]  # fmt: skip
    store = QuestionStore(":memory:")
    store.add([*good, *bad])
    for question in (q for questions in of.values() for q in questions[k : k + 10]):
        near = store.search(question, of_a_source=20, most=20)
        said = [(key_of(row), i, row["similarity"]) for i, row in enumerate(near)]
        fair = store.search(question)
        ways = {"nearest": key_of(near[0]), "rows": vote(said)[0][0],
                "sources": vote((key_of(r), r["source"], r["similarity"]) for r in fair)[0][0]}
        got["n"] += 1
        for way, key in ways.items():
            got[way] += key == ("answer", "WRONG")
    return got


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
    request = urllib.request.Request(f"{address}/api/ask", json.dumps({"question": question}).encode(),
                                     {"Content-Type": "application/json"})  # fmt: skip
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


PARTS = {"bank": bank, "banking77": banking77, "poison": poison, "load": load}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="the folder of Banking77")
    parser.add_argument("--only", choices=PARTS, nargs="+")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--hard", type=int, default=60, help="questions that are attacked")
    parser.add_argument("--requests", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    KEPT.mkdir(parents=True, exist_ok=True)
    for name in options.only or PARTS:
        if name == "banking77" and not options.data:
            print("left out: banking77, which needs --data")
            continue
        (KEPT / f"{name}.json").write_text(json.dumps(PARTS[name](options), default=float))
    found = {name: json.loads((KEPT / f"{name}.json").read_text())
             for name in PARTS if (KEPT / f"{name}.json").is_file()}  # fmt: skip
    print(found)


if __name__ == "__main__":
    main()
