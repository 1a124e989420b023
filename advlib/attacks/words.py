"""Attacks on words: `attack(victim, texts, labels)` returns one `WordResult` per text.

Each attack is one way to propose what a word may become; the search, the goals and the constraints
are those of `search.py`.

    Typos                a slip of the fingers, or a look-alike character
    RandomTypos          the same without a search, to train on
    WordSubstitution     what a world knows to keep the label
    EmbeddingNeighbours  words whose embeddings are near
    MaskedLanguageModel  what a language model expects in that place
    HotFlip              what the gradient of the loss asks for
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache, partial
from pathlib import Path
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from advlib.attacks.embedding import wrong_margin
from advlib.attacks.search import (
    Constraint,
    KeepWords,
    LabelRule,
    NotAnotherWord,
    Query,
    Ranking,
    Search,
    Similarity,
    State,
    Untargeted,
    WordResult,
    greedy,
    importances,
    in_part,
    lockstep,
)
from advlib.corpora import words, world
from advlib.corpora.engine import WORD, Text, parts_of
from advlib.embeddings import attack_mode, check_part, embedding_table, perturbed_logits, zero_delta
from advlib.models import CONFUSABLES, Classifier, load_language_model
from advlib.perturbation import check_counts

__all__ = [
    "Constraint",
    "EmbeddingNeighbours",
    "HotFlip",
    "KeepWords",
    "LabelRule",
    "MaskedLanguageModel",
    "NotAnotherWord",
    "RandomTypos",
    "Similarity",
    "Typos",
    "Untargeted",
    "WordAttack",
    "WordResult",
    "WordSubstitution",
]

FILES = ("vectors", "thesaurus", "language_model")  # settings that may be paths


@dataclass(frozen=True, repr=False, kw_only=True)
class WordAttack:
    """What all attacks on words share. Its repr is its threat model.

    max_changed: the share of words that may change, 0 < max_changed ≤ 1.
    max_queries: how often the model may be asked about one text; None: as often as needed.
    goal: `Untargeted()`, or one of your own with its `score`.
    rank: what makes a word important: by how much the score rises when it becomes the "unknown"
        token, the "mask" token, or is left out ("delete"); the length of the "gradient" on it, or
        "gradient-l1", see `search.importances`.
    beam: how many partial results the search keeps; 1 is greedy.
    constraints: what candidates must fulfil; see `search.py`.
    part: of sentence pairs, whether words of "both" texts may change, of the "first" or of the
        "second"; `max_changed` is a share of the words of that part.

    Raises ValueError for settings that make no sense.
    """

    keeps_label: ClassVar[bool] = False  # whether its candidates are known to keep the label
    ranks: ClassVar[tuple[str, ...]] = ("unknown", "mask", "delete", "gradient", "gradient-l1")

    max_changed: float = 1.0
    max_queries: int | None = None
    goal: Untargeted = Untargeted()
    rank: str = "unknown"
    beam: int = 1
    constraints: tuple[Constraint, ...] = ()
    part: str = "both"

    def __post_init__(self):
        check_part(self.part)
        if not 0 < self.max_changed <= 1:
            raise ValueError(
                f"max_changed is a share, 0 < max_changed <= 1, got {self.max_changed!r}"
            )
        if self.max_queries is not None and self.max_queries < 1:
            raise ValueError(f"max_queries must be at least 1 or None, got {self.max_queries!r}")
        if self.rank not in self.ranks:
            raise ValueError(f"rank must be one of {self.ranks}, got {self.rank!r}")
        check_counts(beam=self.beam)
        if not hasattr(self.goal, "score"):
            raise ValueError(f"goal must be Untargeted() or one of your own with its `score`, got "
                             f"{self.goal!r}")  # fmt: skip
        if not isinstance(self.constraints, tuple):
            raise ValueError(f"constraints must be a tuple, such as (KeepWords(),), got "
                             f"{self.constraints!r}")  # fmt: skip
        # One that proposes nothing would pass for a model that withstands.
        if getattr(self, "k", 1) < 1:
            raise ValueError(f"k must be at least 1, got {self.k!r}")

    @property
    def meaning_unchecked(self) -> bool:
        """Whether nobody knows that what comes out still has its label: neither the candidates nor
        a constraint see to it."""
        kept = (getattr(c, "keeps_label", False) for c in self.constraints)
        return not (self.keeps_label or any(kept))

    def __repr__(self) -> str:
        """The attack's own settings, max_changed, and of the rest what is not the default. Of a
        file its name alone, so that the threat model reads the same on another machine."""
        shared = {f.name: f.default for f in fields(WordAttack)}
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.repr}
        files = {n: Path(values[n]).expanduser() for n in FILES if values.get(n)}
        values |= {n: file.name for n, file in files.items() if file.exists()}
        own = {n: v for n, v in values.items() if n not in shared}
        own |= {n: values[n] for n, default in shared.items()
                if n == "max_changed" or values[n] != default}  # fmt: skip
        return f"{type(self).__name__}({', '.join(f'{n}={v!r}' for n, v in own.items())})"

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[WordResult]:
        """One result per text, in order. labels: the true class of each text."""
        start, labels = time.perf_counter(), victim.classes(texts, labels)
        texts = [t if isinstance(t, str) else tuple(t) for t in texts]
        if not texts:
            return []
        for text in texts:  # before the model is asked
            in_part(text, self.part)
        logits = victim.logits(texts)
        wrong = Untargeted().score(logits, labels) >= 0
        scores = self.goal.score(logits, labels)
        budget = np.inf if self.max_queries is None else self.max_queries - 1
        states = [State(t, y, float(s), budget)
                  for t, y, s in zip(texts, labels.tolist(), scores, strict=True)]  # fmt: skip
        chosen = [s for s in states if s.score < 0]
        self.prepare(victim, chosen)
        lockstep(victim, self.goal, chosen, [self.search(victim, s) for s in chosen],
                 self.constraints)  # fmt: skip
        seconds = (time.perf_counter() - start) / sum(s.queries for s in states)
        return [
            WordResult(s.text, s.with_changes(s.changes), s.label, tuple(sorted(s.changes)),
                       bool(s.changes and s.score >= 0), bool(before), s.queries,
                       seconds * s.queries, s.tried)
            for s, before in zip(states, wrong, strict=True)
        ]  # fmt: skip

    def propose(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[list[tuple[str, ...]]]:
        """For each text and each of its words (as `words(text)` gives them), what the word may
        become: `options(word)`, where an attack does not say more."""
        return [[self.options(word) for word in words(text)] for text in texts]

    # ------------------------------------------------- what a call goes through

    def prepare(self, victim: Classifier, states: Sequence[State]) -> None:
        """Fill in the options of every text, and before them its gradient, where one is needed.
        A gradient is one query; a text that has none left gets no options."""
        if self.needs_gradient:
            states = [s for s in states if s.left >= 1]
            found = gradients(victim, [s.text for s in states], [s.label for s in states])
            for state, slopes in zip(states, found, strict=True):
                state.slopes = slopes
                state.queries += 1
                state.left -= 1
        for state, options in zip(states, self.proposals(victim, states), strict=True):
            for constraint in self.constraints:
                kept = constraint.keeps(words(state.text))
                options = [() if k else o for k, o in zip(kept, options, strict=True)]
            free = in_part(state.text, self.part)
            state.options = [o if f else () for f, o in zip(free, options, strict=True)]

    @property
    def needs_gradient(self) -> bool:
        return self.rank.startswith("gradient")

    def proposals(self, victim: Classifier, states: Sequence[State]) -> list[list[tuple[str, ...]]]:
        return self.propose(victim, [s.text for s in states], [s.label for s in states])

    def search(self, victim: Classifier, state: State) -> Search:
        return self.scored(victim, state, self.most(sum(in_part(state.text, self.part))))

    def scored(self, victim: Classifier, state: State, most: int) -> Search:
        """How a way is looked for; at most so many words may change."""
        ranking = partial(self.ranking, unknown=self.blank(victim))
        return greedy(state, ranking, most, self.beam)

    def ranking(self, state: State, places: list[int], unknown: str) -> Ranking:
        """How important the words at these places are; `unknown` stands for one left out."""
        return importances(state, places, self.rank, unknown)

    def most(self, count: int) -> int:
        """How many of `count` words may change."""
        return int(self.max_changed * count + 1e-9)  # 0.29 · 100 is 28.99…

    def blank(self, victim: Classifier) -> str:
        """What stands in the place of a word that is left out: the mask token where it is asked for
        and there is one, else the unknown token."""
        mask = victim.tokenizer.mask_token if self.rank == "mask" else None
        return mask or victim.tokenizer.unk_token or "?"


@dataclass(frozen=True, repr=False)
class WordSubstitution(WordAttack):
    """Greedy substitution from the sets that a world knows to keep the label.

    The search of TextFooler (Jin et al. 2020, arXiv 1907.11932) with known synonyms in place of
    guessed ones.

    world: whose substitution sets to use.
    """

    world: str = "reviews"
    keeps_label: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        world(self.world)

    def propose(self, victim, texts, labels):
        return [self.options(text) for text in texts]

    def options(self, text: Text) -> list[tuple[str, ...]]:
        """For each word of the text, what it may become."""
        return [o for part in parts_of(text) for o in world(self.world).substitutes(part)]


# ---------------------------------------------------------------------- typos

ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
NEIGHBOURS = {
    key: "".join(
        ROWS[r][c]
        for r in range(max(0, row - 1), min(3, row + 2))
        for c in range(max(0, place - 1), min(len(ROWS[r]), place + 2))
        if (r, c) != (row, place)
    )
    for row, keys in enumerate(ROWS)
    for place, key in enumerate(keys)
}
LOOK_ALIKES = {letter: CONFUSABLES[letter][0] for letter in "aceiopsxyj"}  # Cyrillic
TYPOS = ("swap", "drop", "insert", "key", "look-alike")


@dataclass(frozen=True, repr=False)
class Typos(WordAttack):
    """Words with one slip: two letters swapped, one dropped, one doubled or inserted, one replaced
    by its neighbour on the keyboard, or by a character that looks the same. The first and the last
    letter stay, and so do words of fewer than four letters, because people read such words without
    trouble (Pruthi et al. 2019, arXiv 1905.11268); so `keeps_label`, where negations stay.

    kinds: which slips.
    per_kind: at most so many candidates of each kind for a word, chosen by a seed that depends on
        the word alone.
    """

    kinds: tuple[str, ...] = TYPOS
    per_kind: int = 4
    keeps_label: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        unknown = set(self.kinds) - set(TYPOS)
        if unknown or not self.kinds or self.per_kind < 1:
            raise ValueError(f"kinds must be some of {TYPOS} and per_kind at least 1, got {self!r}")

    def options(self, word: str) -> tuple[str, ...]:
        """The misspellings of one word that are tried."""
        return misspellings(word, self.kinds, self.per_kind)


@dataclass(frozen=True, repr=False)
class RandomTypos(Typos):
    """Slips anywhere in a text, all at once, and the harshest of a few such texts: no search, so it
    is weak as an attack and cheap to train on (`Words(RandomTypos(), …)`).

    tries: so many texts, one query each. In each a random number of words, at most `max_changed`,
        has a slip. They are drawn anew whenever the model says something else of the text.
    rank: "gradient" or "gradient-l1" draws words by the size of the gradient on them, any other
        rank all words alike.
    """

    tries: int = 1

    def __post_init__(self):
        super().__post_init__()
        check_counts(tries=self.tries)

    def scored(self, victim, state, most):
        places = [i for i, options in enumerate(state.options) if options] if most else []
        if not places:
            return
        odds = dict.fromkeys(places, 1.0)
        if self.rank.startswith("gradient"):
            odds = yield from importances(state, places, self.rank, "")
        # Rounded: a score differs in its last digits with the texts beside it in the batch.
        rng, made = random.Random(f"{state.text}{state.score:.2f}"), []
        for _ in range(self.tries):
            # A draw without replacement by odds (Efraimidis and Spirakis 2006).
            order = sorted(places, key=lambda i: -(rng.random() ** (1 / max(odds[i], 1e-9))))
            count = rng.randint(1, min(most, len(places)))
            made.append({i: rng.choice(state.options[i]) for i in order[:count]})
        scores = yield Query([state.with_changes(changes) for changes in made])
        best = int(np.argmax(scores))
        if scores[best] > -np.inf:
            state.score, state.changes = float(scores[best]), made[best]


@cache
def misspellings(word: str, kinds: tuple[str, ...], per_kind: int) -> tuple[str, ...]:
    """Slips of one word, at most so many of each kind, chosen by a seed that is the word's own."""
    if len(word) < 4 or not word.isalpha():
        return ()
    rng = random.Random(zlib.crc32(word.encode()))
    found: list[str] = []
    for kind in kinds:
        made = [w for w in dict.fromkeys(slips(word, kind)) if w != word and w not in found]
        found += made if len(made) <= per_kind else rng.sample(made, per_kind)
    return tuple(found)


def slips(word: str, kind: str) -> list[str]:
    """All misspellings of one kind, first and last letter kept."""
    inner = range(1, len(word) - 1)
    if kind == "swap":
        return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in inner[:-1]]
    if kind == "drop":
        return [word[:i] + word[i + 1 :] for i in inner]
    if kind == "look-alike":
        return [word[:i] + LOOK_ALIKES[word[i]] + word[i + 1 :]
                for i in inner if word[i] in LOOK_ALIKES]  # fmt: skip
    near = {i: NEIGHBOURS.get(word[i], "") for i in inner}
    if kind == "key":
        return [word[:i] + c + word[i + 1 :] for i in inner for c in near[i]]
    return [word[:i] + c + word[i:] for i in inner for c in word[i] + near[i]]  # insert


# ---------------------------------------------------------------------- words of the vocabulary


KNOWN_WORDS = WeakKeyDictionary()  # tokenizer -> (its size, what `whole_words` found)


def whole_words(victim: Classifier) -> tuple[torch.Tensor, list[str]]:
    """(ids, words): the tokens that are a whole word by themselves, when written as text."""
    tokenizer = victim.tokenizer
    size, found = KNOWN_WORDS.get(tokenizer, (0, None))
    if size == len(tokenizer):  # else a second of work for 30,000 tokens
        return found
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    special = set(tokenizer.all_special_ids)
    pairs = [(i, tokenizer.convert_tokens_to_string([t]).strip()) for t, i in tokens]
    pairs = [(i, w) for i, w in pairs if i not in special and len(w) > 1 and w.isalpha()]
    # As it stands inside a sentence: some tokenizers mark the space before a word.
    again = tokenizer([f"a {w}" for _, w in pairs], add_special_tokens=False)["input_ids"]
    kept = [(i, w) for (i, w), ids in zip(pairs, again, strict=True) if ids[1:] == [i]]
    found = torch.tensor([i for i, _ in kept], dtype=torch.long), [w for _, w in kept]
    KNOWN_WORDS[tokenizer] = len(tokenizer), found
    return found


def like(word: str, original: str) -> str:
    """The word with a capital where the original has one."""
    return word.capitalize() if original[:1].isupper() else word


def best_others(scores: torch.Tensor, names: Sequence[str], word: str, k: int) -> tuple[str, ...]:
    """The k names with the largest finite scores that are another word, not the same one in
    capitals, and each once; written as the word is."""
    chosen: dict[str, str] = {word.lower(): word}
    order = scores.argsort(descending=True, stable=True)[: 3 * k + 3]  # good, Good, GOOD
    for j in order[scores[order] > -torch.inf].tolist():
        if len(chosen) <= k:
            chosen.setdefault(names[j].lower(), like(names[j], word))
    return tuple(chosen.values())[1:]


@dataclass(frozen=True, repr=False)
class EmbeddingNeighbours(WordAttack):
    """Words whose rows in the model's own embedding table are nearest (cosine).

    k: how many for each word.
    least: the smallest cosine that still counts as near.
    """

    k: int = 8
    least: float = 0.0

    def propose(self, victim, texts, labels):
        rows, names = self.table(victim)
        place = {name: j for j, name in enumerate(names)}

        @cache
        def near(word: str) -> tuple[str, ...]:
            known = word if word in place else word.lower()
            if known not in place:
                return ()
            cosine = rows @ rows[place[known]]
            return best_others(cosine.where(cosine >= self.least, -torch.inf), names, word, self.k)

        return [[near(word) for word in words(text)] for text in texts]

    def table(self, victim: Classifier) -> tuple[torch.Tensor, list[str]]:
        """(rows of length 1, their words), one for each word that can be a neighbour."""
        rows = torch.nn.functional.normalize(embedding_table(victim.model), dim=1)
        ids, names = whole_words(victim)
        return rows[ids.to(rows.device)], names


@dataclass(frozen=True, repr=False)
class MaskedLanguageModel(WordAttack):
    """What a masked language model expects in the place of each word, the word itself visible (Li
    et al. 2020, BERT-ATTACK, arXiv 2004.09984). A word of several pieces is masked as a whole.

    language_model: "bert-tiny", a local folder or a name on the Hub. Its tokenizer may be another
        one than the victim's.
    k: how many for each word.
    """

    language_model: str = "bert-tiny"
    k: int = 8

    def propose(self, victim, texts, labels):
        reader = load_language_model(self.language_model, device=victim.device)
        ids, names = whole_words(reader)
        ids, out = ids.to(reader.device), [[() for _ in words(text)] for text in texts]
        for chosen, batch in reader.batches(texts):
            places = []  # (text, word as written, its number, row, first token, one past the last)
            for row, i in enumerate(chosen):
                found = zip(words(texts[i]), word_tokens(reader, texts[i]), strict=True)
                places += [(i, word, k, row, *span) for k, (word, span) in enumerate(found)
                           if span != (0, 0)]  # fmt: skip
            logits = self._logits(reader, batch, [place[3:] for place in places])[:, ids]
            for (i, word, k, *_), scores in zip(places, logits, strict=True):
                out[i][k] = best_others(scores, names, word, self.k)
        return out

    @torch.no_grad()
    def _logits(self, reader: Classifier, batch, places) -> torch.Tensor:
        """(places, vocabulary): a pass over the texts for words of one piece, and a copy of the
        text, the word masked in it, for each longer one."""
        rows, first = (torch.tensor([p[n] for p in places], dtype=torch.long) for n in (0, 1))
        names = ["input_ids", "attention_mask", *["token_type_ids"] * ("second_at" in batch)]
        inputs = {name: batch[name] for name in names if name in batch}
        out = reader.model(**inputs).logits[rows, first]
        longer = [k for k, (_, a, b) in enumerate(places) if b - a > 1]
        size = len(batch["input_ids"])
        for start in range(0, len(longer), size):
            some = longer[start : start + size]
            masked = {name: value[rows[some]] for name, value in inputs.items()}  # copies
            for copy, k in zip(masked["input_ids"], some, strict=True):
                copy[places[k][1] : places[k][2]] = reader.tokenizer.mask_token_id
            out[some] = reader.model(**masked).logits[torch.arange(len(some)), first[some]]
        return out


# ---------------------------------------------------------------------- the gradient


@dataclass(frozen=True)
class Slope:
    """The gradient on one word, at its tokens; of one that was cut off there are none."""

    first: int  # its tokens are first to last − 1
    last: int
    grad: torch.Tensor  # (last − first, hidden)
    ids: torch.Tensor


def word_tokens(victim: Classifier, text: Text) -> list[tuple[int, int]]:
    """For each word, as `words(text)` gives them, the span of its tokens; (0, 0) where it was cut
    off."""
    row = victim.tokens([text], return_offsets_mapping=True)
    offsets, parts, spans = row["offset_mapping"][0], row.sequence_ids(0), []
    for part, one in enumerate(parts_of(text)):  # each counts its characters from 0
        for a, b in (match.span() for match in WORD.finditer(one)):
            own = [t for t, (c, d) in enumerate(offsets)
                   if parts[t] == part and c < b and d > a and c < d]  # fmt: skip
            spans.append((own[0], own[-1] + 1) if own else (0, 0))
    return spans


def gradients(
    victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
) -> list[list[Slope]]:
    """For each text and each of its words the gradient of the log-odds of being wrong on the word's
    embeddings."""
    out: list[list[Slope]] = [[] for _ in texts]
    for chosen, batch in victim.batches(texts, labels):
        delta = zero_delta(victim.model, batch).requires_grad_()
        with attack_mode(victim.model, same_dropout=False), torch.enable_grad():
            logits = perturbed_logits(victim.model, batch, delta)
            climbed = wrong_margin(logits, batch["labels"])
            (grad,) = torch.autograd.grad(climbed.sum(), delta)
        for row, i in enumerate(chosen):
            out[i] = [Slope(a, b, grad[row, a:b], batch["input_ids"][row, a:b])
                      for a, b in word_tokens(victim, texts[i])]  # fmt: skip
    return out


@dataclass(frozen=True, repr=False)
class HotFlip(WordAttack):
    """Words that the gradient asks for: by the first-order estimate, replacing the embedding e_w
    by e_v raises the score by (e_v − e_w)·g (Ebrahimi et al. 2018, arXiv 1712.06751, eq. 2, for
    words). The best k for every word are then tried for real. A word of several sub-words is
    replaced by one token at its first place; the others are taken to vanish, −e·g each.

    k: how many for each word.
    Alone it knows nothing of meaning: add constraints, or read what comes out.
    """

    k: int = 8
    rank: str = "gradient"
    needs_gradient = True

    def propose(self, victim, texts, labels):
        return self._flips(victim, texts, gradients(victim, texts, labels))

    def proposals(self, victim, states):
        return self._flips(victim, [s.text for s in states], [s.slopes for s in states])

    def _flips(self, victim, texts, found):
        table = embedding_table(victim.model)
        ids, names = whole_words(victim)
        rows = table[ids.to(table.device)]

        def flips(word: str, slope: Slope) -> tuple[str, ...]:
            if not len(slope.ids):
                return ()
            gain = rows @ slope.grad[0] - (table[slope.ids] * slope.grad).sum()
            return best_others(gain.where(gain > 0, -torch.inf), names, word, self.k)

        return [[flips(word, slope) for word, slope in zip(words(text), slopes, strict=True)]
                for text, slopes in zip(texts, found, strict=True)]  # fmt: skip
