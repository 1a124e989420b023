"""The parts of the project of lesson 20 that are not its exercises: the defence, the control, the
rows of a table. `benchmarks/capstone.py` runs the same on real text."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers
from transformers import PreTrainedTokenizerFast

from advlib.attacks import RandomTypos
from advlib.corpora import words
from advlib.evaluation import Outcome, attack_all
from advlib.models import Classifier
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


@dataclass(frozen=True, repr=False)
class Random(RandomTypos):
    """The control of an attack on words: its candidates, drawn at random and all at once.

    attack: whose candidates, and how many words may change. tries: so many texts, the harshest of
    which counts; 1 is chance alone.
    """

    attack: object = None
    keeps_label = False  # as unknown as the attack's own

    def propose(self, victim, texts, labels):
        return self.attack.propose(victim, texts, labels)

    def __repr__(self) -> str:
        return f"Random({self.attack!r}, tries={self.tries})"


def control(attack, tries: int = 1) -> Random:
    """Random changes from the same candidates, in as many words at most."""
    return Random(attack=attack, tries=tries, max_changed=attack.max_changed)


def row(name: str, attack, outcome: Outcome) -> dict:
    """A row of a project's table: as in the card of `advlib evaluate`, with the queries."""
    hits, n = int(outcome.robust.sum()), len(outcome.labels)
    low, high = wilson(hits, n)
    return {"name": name, "attack": "none" if attack is None else type(attack).__name__,
            "threat model": "none" if attack is None else repr(attack), "n": n, "hits": hits,
            "accuracy": hits / n, "low": low, "high": high,
            "queries": round(outcome.forward, 2)}  # fmt: skip


def table(victim: Classifier, data, attacks: dict) -> tuple[list[dict], dict]:
    """(rows, outcomes) without attack and under each attack, by name."""
    outcomes = {name: attack_all(victim, data, attack)
                for name, attack in {"clean": None, **attacks}.items()}  # fmt: skip
    rows = [row(name, attacks.get(name), found) for name, found in outcomes.items()]
    return rows, outcomes


def kept_best(victim: Classifier, data, attack, budgets=(5, 10, 20, 40, 80)) -> list[dict]:
    """How many texts withstand an attacker who may ask so often, and keeps the best of all he
    tried with less: [{"queries", "hits"}]."""
    stands, found = np.ones(len(data), bool), []
    for budget in budgets:
        stands &= attack_all(victim, data, replace(attack, max_queries=budget)).robust
        found.append({"queries": budget, "hits": int(stands.sum())})
    return found


def pairs(outcome: Outcome, names: list[str], most: int) -> list[dict]:
    """The first attacked texts that the model gets wrong, beside their originals."""
    turned = [i for i, result in enumerate(outcome.results or [])
              if outcome.clean[i] == outcome.labels[i] and not outcome.robust[i]]  # fmt: skip
    return [{"original": outcome.results[i].original, "changed": outcome.results[i].text,
             "label": names[outcome.labels[i]], "fooled into": names[outcome.attacked[i]]}
            for i in turned[:most]]  # fmt: skip


def changed_words(results) -> int:
    """How many words were changed in all."""
    return sum(sum(a != b for a, b in zip(words(r.original), words(r.text), strict=True))
               for r in results)  # fmt: skip
