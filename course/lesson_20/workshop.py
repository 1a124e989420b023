"""The parts of the project of lesson 20 that are not its exercises: the defence, the control, the
rows of a table, the same measurement in a fresh process. `benchmarks/capstone.py` runs the same on
real text."""

from __future__ import annotations

import copy
import json
import math
import random
import re
import string
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from advlib.app.protocol import check_classes, weights_hash
from advlib.attacks import WordAttack
from advlib.attacks.search import Query
from advlib.corpora import replace as put
from advlib.corpora import words
from advlib.data import load_text, texts_hash
from advlib.evaluation import Outcome, attack_all, worst_case
from advlib.models import Classifier, load_classifier
from advlib.statistics import wilson


def squeezed(victim: Classifier, least: int) -> Classifier:
    """The same model with a tokenizer that reads `least` equal letters in a row, or more, as one.

    The habit is saved with the tokenizer, as text: it needs no code when the model is loaded.
    """
    old = victim.tokenizer
    backend = Tokenizer.from_str(old.backend_tokenizer.to_str())
    runs = [normalizers.Replace(Regex(f"{letter}{{{least},}}"), letter)
            for letter in string.ascii_letters]  # fmt: skip
    before = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([*before, *runs])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=victim.max_length,
        model_input_names=old.model_input_names, **old.special_tokens_map,
    )  # fmt: skip
    return Classifier(victim.model, tokenizer, read=victim.read)


MOST = 200  # queries of a full search, for each text


@dataclass(frozen=True, repr=False)
class Random(WordAttack):
    """The controls of an attack on words. Each try draws at random as many words as may change, and
    for each a random one of the attack's candidates, whatever earlier tries found. It stops where
    the model is wrong, or after `max_queries`, of which the text itself is the first."""

    attack: WordAttack = None

    def propose(self, victim, texts, labels):
        return self.attack.propose(victim, texts, labels)

    def scored(self, victim, state, most):
        places = [i for i, options in enumerate(state.options) if options]
        if not places or not most:
            return
        rng, size, missed = random.Random(state.text), 1, 0
        while not state.done and missed < 100:
            # Several tries are sent at once, which is faster; those after a hit do not count.
            size, tries = min(2 * size, 16), []
            for _ in range(int(min(size, state.left))):
                chosen = rng.sample(places, min(most, len(places)))
                tries.append({i: rng.choice(state.options[i]) for i in chosen})
            scores = yield Query([state.with_changes(changes) for changes in tries])
            hit = next((k for k, score in enumerate(scores) if score >= 0), len(tries))
            for score, changes in zip(scores[: hit + 1], tries, strict=False):
                if np.isfinite(score) and (not state.changes or score > state.score):
                    state.score, state.changes = score, changes
            late = int(np.isfinite(scores[hit + 1 :]).sum())
            state.queries, state.tried = state.queries - late, state.tried - late
            state.left += late
            missed = 0 if np.isfinite(scores).any() else missed + 1  # a constraint forbids all

    def __repr__(self) -> str:
        return f"Random({self.attack!r}, max_queries={self.max_queries})"


def random_search(attack: WordAttack, queries: int) -> Random:
    """Random search among the attack's candidates, in as many words, with so many queries."""
    return Random(attack=attack, max_changed=attack.max_changed, max_queries=queries)


@dataclass(frozen=True, repr=False)
class Shuffled(WordAttack):
    """The control of a search's order: the same greedy search, with the words in a random order,
    for which the model is not asked. Another seed is another order."""

    attack: WordAttack = None
    seed: int = 0

    def propose(self, victim, texts, labels):
        return self.attack.propose(victim, texts, labels)

    def ranking(self, state, places, unknown):
        yield from ()
        rng = random.Random(f"{self.seed} {state.text}")
        return {i: rng.random() for i in places}

    def __repr__(self) -> str:
        return f"Shuffled({self.attack!r}, seed={self.seed})"


def shuffled(attack: WordAttack, seed: int = 0) -> Shuffled:
    """The attack, with the words in a random order."""
    return Shuffled(attack=attack, seed=seed, max_changed=attack.max_changed,
                    max_queries=attack.max_queries)  # fmt: skip


def in_turn(outcomes: list[Outcome]) -> tuple[np.ndarray, float]:
    """(robust, queries) of somebody who tries one attack on a text after the other, until one turns
    it. What the text itself costs is counted once."""
    robust, asked = np.ones(len(outcomes[0].labels), bool), 0
    for k, outcome in enumerate(outcomes):
        queries = np.array([result.queries - (k > 0) for result in outcome.results])
        asked = asked + queries * robust
        robust = robust & outcome.robust
    return robust, float(np.mean(asked))


def control(attack: WordAttack) -> Random:
    """One random change of as many words as the attack may change, and no second try."""
    return random_search(attack, 2)


def row(name: str, attack, outcome: Outcome) -> dict:
    """A row of a project's table: as in the card of `advlib evaluate`, with the queries."""
    hits, n = int(outcome.robust.sum()), len(outcome.labels)
    low, high = wilson(hits, n)
    return {"name": name, "attack": "none" if attack is None else type(attack).__name__,
            "threat model": "none" if attack is None else repr(attack), "n": n, "hits": hits,
            "accuracy": hits / n, "low": low, "high": high,
            "queries": round(outcome.forward, 2)}  # fmt: skip


def table(victim: Classifier, data, attacks: dict, search: str = "", threat=None,
          before: tuple[list[dict], dict] | None = None) -> tuple[list[dict], dict]:  # fmt: skip
    """(rows, outcomes) without attack, under each attack, and in the worst case, by name.

    search: the name of an attack; then with "random search" among its candidates, too, whose limit
        for each text is what that attack took on average, rounded up.
    threat: the whole threat model, an attack; then with a "full search", too, random search among
        all its candidates with up to `MOST` queries for each text. Where a defence undoes some
        candidates, an attack that leaves those out.
    before: what an earlier call gave for the same model and texts; its rows stay, and `worst` is
        the worst of all.

    Raises ValueError where the model's labels are not those of the data, as `advlib evaluate` does.
    """
    names = getattr(data.features["label"], "names", None)
    if names:
        check_classes(victim.labels, names)
    victim = remembering(victim)
    old, outcomes = before or ([], {})
    found, outcomes = [line for line in old if line["name"] != "worst"], dict(outcomes)

    def add(name: str, attack) -> None:
        outcomes[name] = attack_all(victim, data, attack)
        found.append(row(name, attack, outcomes[name]))

    for name, attack in (({} if before else {"clean": None}) | attacks).items():
        add(name, attack)
    if search:
        queries = math.ceil(outcomes[search].forward)
        add("random search", random_search(attacks[search], queries))
    if threat is not None:
        add("full search", random_search(threat, MOST))
    worst = row("worst", None, worst_case(list(outcomes.values())))
    more = {"attack": "worst case", "threat model": "any of these attacks"}
    return [*found, worst | more], outcomes


def remembering(victim: Classifier) -> Classifier:
    """The same model, which computes once what it reads: attacks ask much of it again, and a
    defence reads many texts alike. Queries are counted as before. Do not train it afterwards: it
    would remember what it said before."""
    if hasattr(victim, "known"):
        return victim
    known, twin = {}, copy.copy(victim)

    def logits(texts, batch_size=None):
        read = victim.tokenizer(list(texts), truncation=True, max_length=victim.max_length)
        read = [tuple(ids) for ids in read["input_ids"]]
        new = {ids: text for ids, text in zip(read, texts, strict=True) if ids not in known}
        if new:
            found = victim.logits(list(new.values()), batch_size)
            known.update(zip(new, found, strict=True))
        return np.stack([known[ids] for ids in read])

    twin.logits, twin.known = logits, known
    return twin


def read_as(least: int) -> Callable[[str], str]:
    """What a tokenizer of `squeezed` makes of a text before it cuts it into tokens: small letters,
    and `least` equal ones in a row, or more, are one."""
    runs = re.compile(rf"([a-z])\1{{{least - 1},}}")
    return lambda text: runs.sub(r"\1", text.lower())


def survivors(victim: Classifier, attack: WordAttack, texts) -> tuple[int, int]:
    """(survive, tried): of all texts with one changed word, each candidate of the attack in the
    place of each word, how many the tokenizer reads differently from the original."""
    read = victim.tokenizer.backend_tokenizer.normalizer.normalize_str
    differ = [read(text) != read(put(text, {i: candidate})) for text in texts
              for i, word in enumerate(words(text)) for candidate in attack.options(word)]
    return sum(differ), len(differ)


def kept_best(victim: Classifier, data, attack, budgets=(5, 10, 20, 40, 80)) -> list[dict]:
    """How many texts withstand an attacker who may ask so often, and keeps the best of all he
    tried with less: [{"queries", "hits"}]."""
    victim, stands, found = remembering(victim), np.ones(len(data), bool), []
    with warnings.catch_warnings(action="ignore"):  # that few queries buy no try is the point here
        for budget in budgets:
            stands &= attack_all(victim, data, replace(attack, max_queries=budget)).robust
            found.append({"queries": budget, "hits": int(stands.sum())})
    return found


def found_by(outcome: Outcome, budgets=(5, 10, 20, 40, 80)) -> list[dict]:
    """The same of one random search with the last of these limits, in which the shorter ones are
    the first tries."""
    right = outcome.clean == outcome.labels
    late = [np.array([r.queries > budget for r in outcome.results]) for budget in budgets]
    return [{"queries": budget, "hits": int((right & (outcome.robust | after)).sum())}
            for budget, after in zip(budgets, late, strict=True)]  # fmt: skip


def pairs(outcome: Outcome, names: list[str], most: int, first: int = 0) -> list[dict]:
    """Attacked texts that the model gets wrong, beside their originals: so many at most, from the
    text number `first` on."""
    turned = [i for i, result in enumerate(outcome.results or []) if i >= first
              and outcome.clean[i] == outcome.labels[i] and not outcome.robust[i]]  # fmt: skip
    return [{"original": outcome.results[i].original, "changed": outcome.results[i].text,
             "label": names[outcome.labels[i]], "fooled into": names[outcome.attacked[i]],
             "number": i} for i in turned[:most]]  # fmt: skip


WORKED = json.loads((Path(__file__).parent / "worked.json").read_text("utf-8"))


def shown(pairs: list[dict]) -> str:
    """Pairs as lines of text."""
    return "\n".join(f"  {p['original']}\n  {p['changed']}\n    {p['label']} -> {p['fooled into']}"
                     for p in pairs)  # fmt: skip


# ---------------------------------------------------------------------- the same once more


def measure(folder: str | Path, n: int, times: tuple[int, ...], most: float) -> dict:
    """A small card: what was measured on what, and how long it took."""
    from course.lesson_20.checks import Stretched

    attack, start = Stretched(times=tuple(times), max_changed=most), time.perf_counter()
    victim = load_classifier(folder)
    data = load_text("bank", train_size=1, test_size=n)["test"]
    rows, _ = table(victim, data, {"control": control(attack), "attack": attack})
    return {"weights": weights_hash(folder, victim.model), "texts": texts_hash(data), "rows": rows,
            "seconds": time.perf_counter() - start}  # fmt: skip


def in_a_fresh_process(folder: str | Path, n: int, times: tuple[int, ...], most: float) -> dict:
    """`measure`, by a Python that has seen nothing of this page."""
    command = [sys.executable, "-m", "course.lesson_20.workshop", str(folder),
               json.dumps([n, times, most])]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], *json.loads(sys.argv[2]))))
