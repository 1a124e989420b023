"""What lesson 16 uses and does not teach: questions and classifiers, slips of the fingers, queries,
splits in halves, a greedy attacker, a speller, a store with wrong rows, and counts by intent."""

from __future__ import annotations

import random
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from datasets import Dataset

from advlib.attacks import RandomTypos
from advlib.attacks.words import misspellings
from advlib.corpora import replace, words, world
from advlib.corpora.engine import SPLITS
from advlib.data import load_text
from advlib.finetuning import finetune
from advlib.models import Classifier, load_classifier
from advlib.objectives import Words
from advlib.systems.retrieval import fold, match_query, trigrams

BANK = world("bank")
KINDS = ("swap", "drop", "insert", "key")
ASIDE = {"but", "although", "however", "while"}  # what tells of another thing as well
STORED, ASKED = 20, 10  # questions of an intent


@dataclass(frozen=True)
class Questions:
    """texts, and the number of each one's intent (n,)."""

    texts: list[str]
    intents: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def first(self, n: int) -> Questions:
        return Questions(self.texts[:n], self.intents[:n])

    def written(self, texts: Sequence[str]) -> Questions:
        """The same questions in other words."""
        return Questions(list(texts), self.intents)


@dataclass(frozen=True)
class Bank:
    """names: of the intents. past: questions in the store. spare: others, of which an attacker
    makes rows. kept: what thresholds are chosen on. asked: what is measured on. train: what a
    classifier is fitted on; None for the world, which has its own two."""

    names: list[str]
    past: Questions
    spare: Questions
    kept: Questions
    asked: Questions
    train: Dataset | None = None


def bank(source: str) -> Bank:
    """The world "bank", or real questions: a data set of the Hub by its name, or a folder with
    train.csv and test.csv. No question of `kept` or `asked` is in `train` or `past`."""
    if source == "bank":
        first = short_questions(STORED + ASKED, "validation", seed=1)
        kept = short_questions(STORED, "validation", seed=7, without=first.texts)
        return Bank(list(BANK.labels), *_two(first, STORED * len(BANK.labels)), kept,
                    short_questions(ASKED, "test", seed=16))  # fmt: skip
    data = load_text(source)
    names, train = data["train"].features["label"].names, data["train"]
    past, spare = _two(_in_turn(train, STORED + ASKED), STORED * len(names))
    return Bank(names, past, spare, _in_turn(data["validation"], STORED),
                _in_turn(data["test"], ASKED), train)  # fmt: skip


def _in_turn(rows: Dataset, per: int) -> Questions:
    """So many questions of each intent at most, one of each in turn."""
    kept: dict[int, list[str]] = {}
    for text, label in zip(rows["text"], rows["label"], strict=True):
        kept.setdefault(label, []).append(text)
    turns = [(own[turn], label) for turn in range(per) for label, own in sorted(kept.items())
             if turn < len(own)]  # fmt: skip
    return Questions([text for text, _ in turns], np.array([label for _, label in turns]))


def _two(all_of_them: Questions, n: int) -> tuple[Questions, Questions]:
    """The first n, and the others."""
    texts, intents = all_of_them.texts, all_of_them.intents
    return Questions(texts[:n], intents[:n]), Questions(texts[n:], intents[n:])


def short_questions(per: int, split: str, seed: int, without: Sequence[str] = (),
                    most: int = 13) -> Questions:  # fmt: skip
    """So many questions of each intent of the world, of at most `most` words, that tell of one
    thing alone; one of each in turn."""
    seen, kept = set(without), {label: [] for label in range(len(BANK.labels))}
    (low, high), rng = SPLITS[split], random.Random(f"{split} {seed}")
    for label, own in kept.items():  # one by one: common intents need far fewer tries
        while len(own) < per:
            made = BANK.data.write(BANK, rng, label, 0, split)
            fits = (low <= zlib.crc32(made.text.encode()) % 100 < high
                    and BANK.data.LENGTH[0] <= len(words(made.text)) <= most)  # fmt: skip
            if fits and made.text not in seen and not ASIDE & set(fold(made.text).split()):
                seen.add(made.text)
                own.append(made)
    rows = [made for turn in zip(*kept.values(), strict=True) for made in turn]
    return Questions([r.text for r in rows], np.array([r.label for r in rows]))


def classifier(of: Bank, kind: str, encoder: str) -> Classifier:
    """kind: "clean" or "robust". The course's own for the world; for real questions `encoder` is
    fine-tuned, plainly or on random typos as well: for a GPU. It predicts each text once, and
    remembers what it said."""
    if of.train is None:
        victim = load_classifier(f"bank-{kind}")
    else:
        victim = load_classifier(encoder, labels=of.names)
        slips = RandomTypos(kinds=KINDS, per_kind=12, max_changed=0.3)
        objective = Words(slips, victim, of.train) if kind == "robust" else None
        with tempfile.TemporaryDirectory() as folder:
            finetune(victim, of.train, objective, out=folder, disable_tqdm=True)
    victim.predict = once(victim.predict)
    return victim


def once(predict: Callable) -> Callable:
    """The same predictions; no text is read twice."""
    known: dict[str, np.ndarray] = {}

    def answers(texts: Sequence[str]) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, np.asarray(predict(new)), strict=True))
        return np.stack([known[text] for text in texts])

    return answers


def typos(text: str, per_kind: int = 1) -> list[tuple[str, ...]]:
    """For each word, what one slip of the fingers makes of it; first and last letter stay."""
    return [misspellings(word, KINDS, per_kind) for word in words(text)]


def slipped(text: str, seed: int, share: float = 0.3) -> str:
    """The text with a slip in a share of its words, drawn at random."""
    rng, options = random.Random(f"{seed} {text}"), typos(text, 2)
    places = [i for i, several in enumerate(options) if several]
    drawn = rng.sample(places, min(len(places), max(1, round(share * len(options)))))
    return replace(text, {i: rng.choice(options[i]) for i in drawn})


def queries(texts: Sequence[str], tokenize: str) -> list[str]:
    """For each text the query for a store of this `tokenize`. How it is made is exercise 16.1."""
    kind = "trigram" if tokenize == "trigram" else "words"
    return [match_query(text, kind) for text in texts]


def drawn(predict: Callable, questions: Questions, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """(confidence, right), (draws, n) each: the questions with other slips each time."""
    p = np.stack([predict([slipped(text, seed) for text in questions.texts])
                  for seed in range(draws)])  # fmt: skip
    return p.max(2), p.argmax(2) == questions.intents


def halves(asked: tuple, kept: tuple, threshold_for: Callable, chosen: int, used: int,
           most_wrong: float = 0.05, times: int = 200) -> dict[str, np.ndarray]:  # fmt: skip
    """What share of the answers to `used` questions of `asked` is wrong, if the threshold was
    chosen on `chosen` others of them, or on as many of `kept`; questions and slips are drawn anew
    each time. asked, kept: (confidence, right), (draws of slips, questions) each."""
    rng, found = np.random.default_rng(0), {"asked": [], "kept": []}
    for _ in range(times):
        mixed, others = (rng.permutation(sure.shape[1]) for sure, _ in (asked, kept))
        now, then = rng.integers(len(asked[0])), rng.integers(len(kept[0]))
        sure, right = (array[now, mixed[chosen : chosen + used]] for array in asked)
        for name, (own, fine), at in (("asked", asked, mixed), ("kept", kept, others)):
            at = at[:chosen]
            answered = sure >= threshold_for(own[then, at], fine[then, at], most_wrong)
            found[name].append(1 - right[answered].mean() if answered.any() else 0.0)
    return {name: np.array(risks) for name, risks in found.items()}


def attacked(predict: Callable, asked: Questions, options: Callable, changed: int = 2) -> Questions:
    """Greedy, all texts at once: of all versions with one more word changed, the one with the
    least margin of the true intent, until another intent wins or `changed` words are changed.
    predict: texts -> (n, intents), probabilities. options: text -> for each word its versions."""
    texts = list(asked.texts)
    best, done = _margins(predict, texts, asked.intents), [set() for _ in texts]
    for _ in range(changed):
        tried = [(j, i, replace(texts[j], {i: new}))
                 for j in np.flatnonzero(best > 0) for i, several in enumerate(options(texts[j]))
                 if i not in done[j] for new in several]  # fmt: skip
        if not tried:
            break
        owner = np.array([j for j, _, _ in tried])
        margins = _margins(predict, [text for _, _, text in tried], asked.intents[owner])
        for j in np.unique(owner):
            own = np.flatnonzero(owner == j)
            k = own[margins[own].argmin()]
            if margins[k] < best[j]:
                best[j], texts[j] = margins[k], tried[k][2]
                done[j].add(tried[k][1])
    return asked.written(texts)


def _margins(predict: Callable, texts: list[str], intents: np.ndarray) -> np.ndarray:
    p, rows = np.array(predict(texts)), np.arange(len(texts))
    right = p[rows, intents].copy()
    p[rows, intents] = -1
    return right - p.max(1)


class Speller:
    """Letters in front: each word that stands in none of `texts` becomes the nearest one that does,
    by pairs of letters (Dice), where any is near enough."""

    def __init__(self, texts: Sequence[str], near: float = 0.5):
        self.known = sorted({word for text in texts for word in fold(text).split()})
        self.pairs = [_pairs(word) for word in self.known]
        self.near, self.seen = near, {word: word for word in self.known}

    def word(self, word: str) -> str:
        if word not in self.seen:
            mine = _pairs(word)
            likeness = [2 * len(mine & other) / (len(mine) + len(other)) for other in self.pairs]
            best = int(np.argmax(likeness))
            self.seen[word] = self.known[best] if likeness[best] >= self.near else word
        return self.seen[word]

    def __call__(self, text: str) -> str:
        return replace(text, {i: self.word(word.lower()) for i, word in enumerate(words(text))
                              if len(word) > 3 and fold(word) == word.lower()
                              and self.word(word.lower()) != word.lower()})  # fmt: skip


def read_back(speller: Speller, before: Questions, after: Questions) -> list[bool]:
    """For each word that differs: does the speller make of it the word that stood there?"""
    return [speller.word(new.lower()) == old.lower()
            for a, b in zip(before.texts, after.texts, strict=True)
            for old, new in zip(words(a), words(b), strict=True) if old != new]  # fmt: skip


def behind(speller: Speller, predict: Callable) -> Callable:
    """The classifier behind a speller."""
    return lambda texts: predict([speller(text) for text in texts])


def _pairs(word: str) -> set[str]:
    word = f"^{word}$"
    return {word[i : i + 2] for i in range(len(word) - 1)}


def worst_intents(right: np.ndarray, intents: np.ndarray, names: Sequence[str],
                  n: int = 3) -> list[tuple[str, int, int]]:  # fmt: skip
    """(intent, right, questions) of those with the lowest shares of right answers."""
    rows = [(names[k], int(right[intents == k].sum()), int((intents == k).sum()))
            for k in np.unique(intents)]  # fmt: skip
    return sorted(rows, key=lambda row: row[1] / row[2])[:n]


def worst_by_chance(right: np.ndarray, answered: np.ndarray, intents: np.ndarray,
                    times: int = 500) -> float:  # fmt: skip
    """The share wrong of the worst intent that 95 of 100 deals do not exceed, where questions are
    dealt to the intents at random. right, answered: (draws of slips, questions); a question goes to
    its new intent with all its draws, for these are alike."""
    rng, found = np.random.default_rng(0), []
    member = np.eye(intents.max() + 1)[intents]  # (questions, intents)
    all_of_them, wrong = answered.sum(0), (answered & ~right).sum(0)
    for _ in range(times):
        dealt = member[rng.permutation(len(intents))]
        found.append(max((wrong @ dealt) / np.maximum(all_of_them @ dealt, 1)))
    return float(np.quantile(found, 0.95))


def same_trouble(rankings: Sequence[Sequence[int]], past: Questions, asked: Questions,
                 names: Sequence[str]) -> tuple[int, int]:  # fmt: skip
    """Of the questions whose first row has another intent: how many, and how many of these have the
    trouble, the last part of the intent's name, nevertheless."""
    missed = [(names[past.intents[r[0]]], names[y])
              for r, y in zip(rankings, asked.intents, strict=True) if r and past.intents[r[0]] != y
              ]  # fmt: skip
    return len(missed), sum(a.split(".")[-1] == b.split(".")[-1] for a, b in missed)


class Poisoned:
    """The store with k wrong rows in it: do other people's questions get the wrong answer?

    people: so many have answered the past questions, in turn. vote: of sources, as exercise 16.3
    has it. A row's score is its likeness squared: who is half as near counts a quarter.
    """

    def __init__(self, of: Bank, vote: Callable, nearest: int = 12):
        self.of, self.vote, self.nearest = of, vote, nearest
        self.good = likeness(of.asked.texts, of.past.texts)
        self.wrong = likeness(of.asked.texts, of.spare.texts)

    def captured(self, k: int, ballot: str, sources: int = 1, people: int = 5) -> float:
        """The share that gets the wrong answer. ballot: "nearest row", "vote of rows" or "vote of
        sources". sources: so many have entered the wrong rows, in turn."""
        return float(np.mean([self._answer(j, k, ballot, sources, people) == "wrong"
                              for j in range(len(self.of.asked))]))  # fmt: skip

    def right(self, ballot: str, people: int = 5) -> float:
        """The share that gets the right answer as long as no row is wrong."""
        return float(np.mean([self._answer(j, 0, ballot, 1, people) == y
                              for j, y in enumerate(self.of.asked.intents)]))  # fmt: skip

    def table(self, ks: Sequence[int]) -> dict[tuple[str, int], float]:
        """(vote, k) -> captured, printed by k; "k sources": each wrong row has one of its own."""
        found = {}
        for k in ks:
            row = {name: self.captured(k, name)
                   for name in ("nearest row", "vote of rows", "vote of sources")}  # fmt: skip
            row["k sources"] = self.captured(k, "vote of sources", sources=k)
            print(f"k = {k:2}:", ", ".join(f"{name} {share:.1%}" for name, share in row.items()))
            found |= {(name, k): share for name, share in row.items()}
        return found

    def _answer(self, j: int, k: int, ballot: str, sources: int, people: int) -> int | str:
        past, intent = self.of.past, self.of.asked.intents[j]
        rows = [(int(past.intents[i]), f"agent {i // len(self.of.names) % people}", self.good[j, i])
                for i in np.argsort(-self.good[j], kind="stable")[: self.nearest]]  # fmt: skip
        own = np.flatnonzero(self.of.spare.intents == intent)[:k]
        rows += [("wrong", f"stranger {n % sources}", self.wrong[j, i]) for n, i in enumerate(own)]
        rows = sorted((row for row in rows if row[2] > 0), key=lambda row: -row[2])[: self.nearest]
        if ballot == "nearest row":
            return rows[0][0]
        if ballot == "vote of rows":  # each row a source of its own
            rows = [(answer, n, like) for n, (answer, _, like) in enumerate(rows)]
        return self.vote([(answer, who, like**2) for answer, who, like in rows])[0][0]


def likeness(a: Sequence[str], b: Sequence[str]) -> np.ndarray:
    """(a, b): the library's `similarity` of each text with each, all at once."""
    from sklearn.feature_extraction.text import CountVectorizer

    count = CountVectorizer(analyzer=trigrams, binary=True, dtype=np.float32)
    found = count.fit_transform([*a, *b])
    first, second = found[: len(a)], found[len(a) :]
    size = np.asarray(first.sum(1)) + np.asarray(second.sum(1)).T
    return 2 * (first @ second.T).toarray() / np.maximum(size, 1)
