"""Clean and robust accuracy, with the threat model, the sample size, intervals and the cost.

An attack comes in as an argument and is known by no name: one that has `passes` perturbs
embeddings (`attack(model, batch) -> δ`), any other changes words
(`attack(victim, texts, labels) -> results`).

A model that is only more sure of itself is not more robust: dividing its logits by a temperature
(Guo et al. 2017) takes that away, and what the attacks then find is what counts.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from scipy.stats import binomtest
from tqdm.auto import tqdm

from advlib.calibration import calibrate
from advlib.data import texts_of
from advlib.embeddings import attack_mode, perturbed_logits
from advlib.models import Classifier
from advlib.statistics import by_chance, macro_f1, wilson

UNCHECKED = ", meaning unchecked"  # what a row of `robustness` says behind the repr
MOST_UNTRIED = 0.1  # the share of texts without a candidate from which on a warning is due
MAJORITY = "majority class"  # the row of a model that gives every text the same answer


@dataclass(frozen=True)
class Outcome:
    """What an attack made of a set of texts, per example."""

    clean: np.ndarray  # predicted class without attack, (n,)
    attacked: np.ndarray  # predicted class under attack, (n,)
    labels: np.ndarray
    forward: float  # passes per example
    backward: float
    seconds: float
    results: list | None = None  # word attacks: one WordResult per text

    @property
    def robust(self) -> np.ndarray:
        """(n,) True where the model is right before and after: the attacker may also leave the
        text alone, so an example that is wrong from the start counts as wrong."""
        return (self.clean == self.labels) & (self.attacked == self.labels)


def attack_all(
    victim: Classifier,
    data: Dataset,
    attack=None,
    *,
    batch_size: int | None = None,
    progress: bool = False,
) -> Outcome:
    """Attack every text of `data` (columns text, label, and text_pair for sentence pairs).
    attack=None predicts only.

    A tie between the label and another class counts for the attacker.
    """
    texts, labels = texts_of(data), victim.classes(data["text"], data["label"])
    if not texts:
        raise ValueError("there are no texts to evaluate on")
    start = time.perf_counter()
    clean = answers(victim.logits(texts, batch_size), labels)
    if attack is None:
        return Outcome(clean, clean, labels, 1, 0, time.perf_counter() - start)
    bar = tqdm(total=len(texts), desc=type(attack).__name__, disable=not progress, leave=False)
    with bar:
        if hasattr(attack, "passes"):
            attacked = _embeddings(victim, texts, labels, clean, attack, batch_size, bar)
            forward, backward = attack.passes()
            results = None
        else:
            results = attack(victim, texts, labels)
            warn_untried(attack, results)
            bar.update(len(texts))
            attacked = answers(victim.logits([r.text for r in results], batch_size), labels)
            forward, backward = np.mean([r.queries for r in results]), 0
    seconds = time.perf_counter() - start
    return Outcome(clean, attacked, labels, float(forward), backward, seconds, results)


class NothingToTry(ValueError):
    """A word attack that has no candidate for any of the texts."""

    def __init__(self, attack):
        self.attack = attack
        super().__init__(
            f"{attack!r} has nothing to try on any of these texts, so accuracy under it would be "
            "clean accuracy: loosen it, or take another, such as Typos()"
        )


def warn_untried(attack, results: list) -> None:
    """Say so where an attack had nothing to try on many of the texts that it could have turned."""
    if (share := untried(results)) > MOST_UNTRIED:
        warnings.warn(f"{attack!r} has nothing to try on {share:.0%} of the texts: they count as "
                      "robust, and nobody attacked them", stacklevel=3)  # fmt: skip


def untried(results: list) -> float:
    """Of the texts that were right, the share for which a word attack found no candidate; nan
    where there are none."""
    return _mean([r.tried == 0 for r in results if not r.wrong_before])


def _embeddings(victim, texts, labels, clean, attack, batch_size, bar) -> np.ndarray:
    """Predictions under an embedding attack; only examples that are right so far are attacked."""
    attacked = clean.copy()
    right = [i for i in range(len(texts)) if clean[i] == labels[i]]
    bar.update(len(texts) - len(right))
    with attack_mode(victim.model, same_dropout=False):
        for chosen, batch in victim.batches([texts[i] for i in right], labels[right], batch_size):
            delta = attack(victim.model, batch)
            with torch.no_grad():
                logits = perturbed_logits(victim.model, batch, delta)
            hit = [right[i] for i in chosen]
            attacked[hit] = answers(logits.cpu().numpy(), labels[hit])
            bar.update(len(chosen))
    return attacked


def answers(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The predicted classes, where a tie between the label and another class goes to the other."""
    others, rows = logits.copy(), np.arange(len(labels))
    others[rows, labels] = -np.inf
    wins = logits[rows, labels] > others.max(1)  # False where a logit is not a number
    return np.where(wins, labels, others.argmax(1))


def robustness(
    victim: Classifier,
    data: Dataset,
    attacks: Iterable = (),
    *,
    calibrate_on: Dataset | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """One row without attack, one for the majority class (what a model reaches that gives every
    text the same answer: no attack can turn it), one per attack and, for two or more, the worst
    case: an example is robust only if it withstands all of them.

    calibrate_on: texts that are not in `data`. Every attack is repeated on the calibrated victim;
        the column `calibrated` holds that accuracy, `table.attrs["temperature"]` the temperature.
    `table.attrs["warning"]` is what `collapse` says, or None; `attrs["robust"]`, which texts stood.

    Columns: `attack` (name), `threat model` (the attack's repr, and "meaning unchecked" where
    nobody knows that changed words keep the label), `n`, `accuracy` (under attack, over all
    examples; wrong from the start counts as wrong), `low` and `high` (95 % Wilson interval),
    `calibrated`, `macro_f1` (of the predictions under attack, the mean over the classes of
    `data`), `classes` (how many different ones are predicted), `success` (attack success rate: of
    the examples that were right, the share turned wrong), `changed` (words, mean over those
    turned wrong), `queries` (mean per text) and `untried` (the share of the texts that were right
    for which the attack had no candidate; they count as robust), all three for word attacks only,
    `forward` and `backward` (passes per example; for word attacks queries), `seconds`.

    Raises NothingToTry for a word attack that has no candidate for any text.
    """
    tried = [None, *attacks]

    def outcomes(victim: Classifier) -> list[Outcome]:
        settings = dict(batch_size=batch_size, progress=progress)
        found = [attack_all(victim, data, attack, **settings) for attack in tried]
        return found + [worst_case(found)] * (len(tried) > 2)

    found = outcomes(victim)
    rows = [summarise(o, a) for o, a in zip(found, tried, strict=False)]
    for attack, row in zip(tried, rows, strict=True):
        if row["untried"] == 1:
            raise NothingToTry(attack)
    rows.insert(1, majority(found[0].labels))
    if len(found) > len(tried):
        names = {"attack": "worst case", "threat model": "any of these attacks"}
        rows.append(summarise(found[-1], tried) | names)
    table = pd.DataFrame(rows)
    table.attrs["warning"] = collapse(found[0], victim.labels)
    table.attrs["robust"] = [outcome.robust.tolist() for outcome in found]  # without the majority
    if calibrate_on is not None:
        tempered = calibrate(victim, calibrate_on, batch_size)
        accuracies = [float(outcome.robust.mean()) for outcome in outcomes(tempered)]
        accuracies.insert(1, rows[1]["accuracy"])  # the same answer at every temperature
        table.insert(table.columns.get_loc("high") + 1, "calibrated", accuracies)
        table.attrs["temperature"] = tempered.temperature
    return table


def worst_case(outcomes: list[Outcome]) -> Outcome:
    """What an attacker achieves who has all of these attacks and keeps the best for each text."""
    clean, labels = outcomes[0].clean, outcomes[0].labels
    attacked = clean
    for outcome in outcomes:
        attacked = np.where(outcome.robust, attacked, outcome.attacked)
    costs = [(o.forward, o.backward, o.seconds) for o in outcomes]
    return Outcome(clean, attacked, labels, *map(sum, zip(*costs, strict=True)))


def summarise(outcome: Outcome, attack=None) -> dict:
    """One row of `robustness`."""
    n, hits = len(outcome.labels), int(outcome.robust.sum())
    right = outcome.clean == outcome.labels
    low, high = wilson(hits, n)
    results = outcome.results or []
    turned = np.flatnonzero(right & ~outcome.robust) if results else []
    unchecked = UNCHECKED * getattr(attack, "meaning_unchecked", False)
    return {
        "attack": "none" if attack is None else type(attack).__name__,
        "threat model": "none" if attack is None else repr(attack) + unchecked,
        "n": n, "accuracy": hits / n, "low": low, "high": high,
        "macro_f1": macro_f1(outcome.labels, outcome.attacked),
        "classes": len(np.unique(outcome.attacked)),
        "success": math.nan if attack is None or not right.any() else 1 - hits / int(right.sum()),
        "changed": _mean([len(results[i].changed) or math.nan for i in turned]),
        "queries": _mean([result.queries for result in results]),
        "untried": untried(results),
        "forward": outcome.forward, "backward": outcome.backward, "seconds": outcome.seconds,
    }  # fmt: skip


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else math.nan


# ---------------------------------------------------------------------- is that anything?


def majority(labels: np.ndarray) -> dict:
    """The row of `robustness` for whoever always says the most frequent class of `labels`."""
    always = np.full(len(labels), np.bincount(labels).argmax())
    row = summarise(Outcome(always, always, labels, 0, 0, 0.0))
    said = "the most frequent class of these texts, whatever the text"
    return row | {"attack": MAJORITY, "threat model": said}


def collapse(outcome: Outcome, names: list[str]) -> str | None:
    """One sentence where a model, judged without attack, has not learned anything worth attacking,
    or has not been shown to; None where it has. What stands before the colon is one of

    "Collapsed": at least 98 % of its answers are one class, and macro-F1 is not clearly better
        than that of one answer. Two odd answers in a hundred do not make a classifier; but where
        99 % of the texts are of one class, a good one says so too, and macro-F1 tells them apart.
        At least five texts must be of other classes: who knows half of such texts misses five in a
        row in 3 of 100 cases, fewer in too many.
    "No better than one answer" / "Not clearly better than one answer": the lower end of the Wilson
        interval of accuracy does not exceed the share of the most frequent class. So 99 % is no
        success where one answer gets 99 %.
    "Better by macro-F1 alone": the same for accuracy, yet macro-F1 is clearly better: the model
        finds some of the rare classes.
    "Not put to the test": all texts are of one class.

    Macro-F1 is clearly better where it is 0.1 above that of one answer (which 2 % of the answers
    cannot bring about where classes are about even) and where fewer than 2.5 % of 1,000 shuffles of
    the answers among the texts reach it, the level of one end of a 95 % interval.

    names: of the classes, `victim.labels`.
    """
    labels, predicted, n = outcome.labels, outcome.clean, len(outcome.labels)
    most, said = np.bincount(labels).argmax(), np.bincount(predicted).argmax()
    share, same = float((labels == most).mean()), int((predicted == said).sum())
    if share == 1:
        return (f"Not put to the test: all {n} texts are {quoted(names[most])}, so one answer to "
                "all is right.")  # fmt: skip
    hits = int((predicted == labels).sum())
    one = same >= 0.98 * n and (labels != said).sum() >= 5
    better = wilson(hits, n)[0] > share
    if better and not one:
        return None
    found, constant = macro_f1(labels, predicted), majority(labels)["macro_f1"]
    clearly = found > constant + 0.1 and by_chance(labels, predicted) < 0.025
    numbers = (f"{hits / n:.1%} right and macro-F1 {found:.2f}; always saying "
               f"{quoted(names[most])} gives {share:.1%} and {constant:.2f}")  # fmt: skip
    if one and not clearly:
        return f"Collapsed: {same} of {n} answers are {quoted(names[said])}; {numbers}."
    if better:
        return None
    if clearly:
        return f"Better by macro-F1 alone: {numbers}."
    kind = "Not clearly better" if hits / n > share else "No better"
    return f"{kind} than one answer: {numbers}."


def compare(standard: Outcome, adversarial: Outcome) -> dict:
    """Whether the second model withstands more of the same texts than the first.

    McNemar's test (Psychometrika 1947), exact: of the texts on which the two differ, the second is
    right on half if they are equally good. Two models that met the same texts are compared text by
    text; intervals of each alone would hide much of what that shows.

    Returns "verdict" ("clearly better" or "clearly worse" where p < 0.05, else "no clear
    difference"), "gained" and "lost" (texts that only the second, only the first, withstands), "p".
    """
    if not np.array_equal(standard.labels, adversarial.labels):
        raise ValueError("the two models met different texts: compare them on the same ones")
    gained = int((adversarial.robust & ~standard.robust).sum())
    lost = int((standard.robust & ~adversarial.robust).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    clear = "clearly better" if gained > lost else "clearly worse"
    verdict = clear if p < 0.05 else "no clear difference"
    return {"verdict": verdict, "gained": gained, "lost": lost, "p": p}


def short(name: str, most: int = 40) -> str:
    """A name that fits into a line."""
    return name if len(name) <= most else name[: most - 1] + "…"


def quoted(name: str) -> str:
    return f"“{short(name)}”"
