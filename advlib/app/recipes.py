"""The field's word attacks by name. Each is a setting of what `advlib.attacks` has: where the
candidates come from, which words come first, what is not allowed. Its docstring says what is the
paper's and what differs.

    TextFooler   near words of a table of word vectors
    PWWS         synonyms of a thesaurus, by saliency times gain
    DeepWordBug  one letter changed
    A2T          near words again, ranked by the gradient, few changes

What an attack needs (word vectors, a thesaurus) is named in its settings. Where it is missing, a
ValueError says how to get it; nothing is downloaded. None of these attacks knows that the label is
kept; `constraints` narrow that down, and what the repr does not name was not checked. BERT-Attack
(Li et al. 2020, arXiv 2004.09984) is near to `MaskedLanguageModel(language_model=FOLDER, k=48,
rank="mask", max_changed=0.4, constraints=(KeepWords(),))`.

Sentence similarity belongs to TextFooler and A2T. It needs an encoder, which is yours to choose:

    like = Similarity(SentenceTransformer("all-MiniLM-L6-v2").encode, least=0.9)
    A2T(vectors="counter-fitted.txt", constraints=(KeepWords(), like))
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import zip_longest
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from advlib.attacks.search import Constraint, KeepWords, Query, Ranking, State, best
from advlib.attacks.words import EmbeddingNeighbours, Typos, WordAttack, like
from advlib.corpora import words
from advlib.corpora.engine import WORD
from advlib.models import Classifier

__all__ = ["A2T", "DeepWordBug", "PWWS", "TextFooler", "for_text"]


@dataclass(frozen=True, repr=False)
class TextFooler(EmbeddingNeighbours):
    """Jin et al. 2020, "Is BERT Really Robust?", AAAI, arXiv 1907.11932.

    The paper's: words ranked by leaving each out; the 50 nearest in counter-fitted vectors with a
    cosine of at least 0.7 (the released code says 0.5); stop words stay; greedy.

    Different here: part of speech is not checked, and sentence similarity only where it is given as
    a constraint, of the whole text (the code compares a window of 15 words). Among replacements
    that fool the model the paper takes the one whose sentence is most similar, this the one that
    fools it most. The paper's importance has a second term where leaving a word out changes the
    class. Negations stay too.

    vectors: a file of word vectors (see `word_vectors`), or "model" for the victim's own table.
    k, least: how many neighbours, and their smallest cosine.
    """

    k: int = 50
    least: float = 0.7
    vectors: str = ""
    rank: str = "delete"
    constraints: tuple[Constraint, ...] = (KeepWords(),)

    def __post_init__(self):
        super().__post_init__()
        name = type(self).__name__
        if not self.vectors:
            raise ValueError(
                f"{name} needs word vectors: vectors=FILE, such as the counter-fitted ones of "
                "https://github.com/nmrksic/counter-fitting, or vectors='model' for the model's own"
            )
        if self.vectors != "model":
            _found(self.vectors, f"{name} finds no word vectors", "vectors")

    def table(self, victim):
        if self.vectors == "model":
            return super().table(victim)
        rows, names = word_vectors(self.vectors)
        return rows.to(victim.device), names


@dataclass(frozen=True, repr=False)
class A2T(TextFooler):
    """Yoo and Qi 2021, "Towards Improving Adversarial Training of NLP Models", Findings of EMNLP,
    arXiv 2109.00544; numbers as in the authors' recipe in TextAttack.

    The paper's: words ranked by the size of the gradient on them (L1, sub-words averaged), which
    costs one query in all; the 20 nearest in counter-fitted vectors with a cosine of at least 0.8;
    a tenth of the words may change, or `at_least` 4; stop words stay; greedy.

    Different here: as for `TextFooler`, part of speech is not checked, and similarity (0.9,
    DistilBERT) where it is given. The gradient is that of the log-odds and not of the loss, which
    for two classes ranks words alike. The tenth is rounded down, where the recipe rounds up.
    A2T-MLM is `MaskedLanguageModel(k=20, rank="gradient-l1", max_changed=0.1)`.
    """

    k: int = 20
    least: float = 0.8
    at_least: int = 4
    max_changed: float = 0.1
    rank: str = "gradient-l1"

    def most(self, count: int) -> int:
        return max(super().most(count), min(self.at_least, count))


@dataclass(frozen=True, repr=False)
class PWWS(WordAttack):
    """Ren et al. 2019, "Generating Natural Language Adversarial Examples through Probability
    Weighted Word Saliency", ACL, P19-1103.

    The paper's: for each word the synonym that lowers the label's probability most; words ranked by
    that fall times the softmax of their saliency; replaced in this order until the class changes,
    without looking at other synonyms again.

    Different here: names are not replaced by other names (the paper takes those from the data's
    other classes); synonyms of all parts of speech are tried; for more than two classes,
    probabilities are those of the label against its strongest rival.

    thesaurus: a file (see `synonyms`).
    """

    thesaurus: str = ""
    rank: str = "saliency"
    ranks: ClassVar = ("saliency",)

    def __post_init__(self):
        super().__post_init__()
        if not self.thesaurus:
            raise ValueError("PWWS needs synonyms: thesaurus=FILE with one group a line")
        synonyms(self.thesaurus)

    def propose(self, victim, texts, labels):
        known = synonyms(self.thesaurus)

        @cache
        def options(word: str) -> tuple[str, ...]:
            return tuple(dict.fromkeys(like(other, word) for other in known(word.lower())))

        return [[options(word) for word in words(text)] for text in texts]

    def scored(self, victim, state, most):
        """Each word's replacement is chosen once, on the original text, and they are put in one
        after the other, those of the largest weight first, until the goal is reached."""
        places = [i for i, options in enumerate(state.options) if options] if most else []
        found = yield from salient_options(state, places, self.blank(victim))
        for i in sorted(found, key=lambda i: (-found[i][0], i)):
            if state.done or len(state.changes) == most:
                return
            changes = {**state.changes, i: found[i][1]}
            (score,) = yield Query([state.with_changes(changes)])
            if score > -np.inf:
                state.score, state.changes = float(score), changes


def probability(score: np.ndarray) -> np.ndarray:
    """How probable the attacker's failure is: of two classes, the true one. Among more, that of the
    label against its strongest rival, for a score holds no more."""
    return 1 / (1 + np.exp(np.clip(score, -700, 700)))


def salient_options(state: State, places: list[int], unknown: str) -> Generator:
    """place -> (weight, best replacement) (Ren et al. 2019, eq. 4 to 8). The weight is the softmax
    of the word's saliency (by how much the label's probability falls when it becomes unknown) times
    the fall that this replacement brings. One query for each word and one for each replacement.
    Words none of whose replacements may be asked about have no entry."""
    before = probability(state.score)
    blanks = [state.with_changes({i: unknown}) for i in places]
    saliency = before - probability((yield Query(blanks, candidates=False)))
    share = np.exp(saliency) / np.exp(saliency).sum()
    tries = [(i, word) for i in places for word in state.options[i]]
    scores = yield Query([state.with_changes({i: word}) for i, word in tries])
    found = {}
    for k, i in enumerate(places):
        own = [(float(s), word) for s, (j, word) in zip(scores, tries, strict=True) if j == i]
        ((score, word),) = best(own, 1)
        if score > -np.inf:
            found[i] = float(share[k] * (before - probability(score))), word
    return found


EDITS = ("swap", "substitute", "drop", "insert")


@dataclass(frozen=True)
class EditDistance(Constraint):
    """The words of candidate and original differ by at most so many letters inserted, dropped or
    replaced (Levenshtein), all words together."""

    most: int = 30

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [
            sum(edits(v, w) for v, w in zip_longest(words(a), words(b), fillvalue="") if v != w)
            <= self.most
            for a, b in pairs
        ]


@cache
def edits(a: str, b: str) -> int:
    """The Levenshtein distance of two words."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        last, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
    return row[-1]


@dataclass(frozen=True, repr=False)
class DeepWordBug(WordAttack):
    """Gao et al. 2018, "Black-box Generation of Adversarial Text Sequences to Evade Deep Learning
    Classifiers", IEEE SPW, arXiv 1801.04354.

    The paper's: words ranked by the combined score of their head and tail; two letters swapped, one
    replaced, dropped or inserted, at random; an edit distance of at most 30 for the whole text.

    Different here: one edit of each kind is tried for a word and the best stays, and the search
    ends when the model is fooled; the authors' code changes a fixed number of the first words with
    one kind of edit and asks the model once more. A text without words counts as 1/2, there as one
    class of all. Words of one letter stay.

    kinds: which edits. The draw depends on the word alone.
    """

    kinds: tuple[str, ...] = EDITS
    rank: str = "combined"
    ranks: ClassVar = (*WordAttack.ranks, "combined")
    constraints: tuple[Constraint, ...] = (EditDistance(30),)

    def __post_init__(self):
        super().__post_init__()
        if not self.kinds or set(self.kinds) - set(EDITS):
            raise ValueError(f"kinds must be some of {EDITS}, got {self.kinds!r}")

    def propose(self, victim, texts, labels):
        return [[self.options(word) for word in words(text)] for text in texts]

    def ranking(self, state, places, unknown):
        if self.rank == "combined":
            return heads_and_tails(state, places)
        return super().ranking(state, places, unknown)

    def options(self, word: str) -> tuple[str, ...]:
        """The edits of one word that are tried, one of each kind."""
        if len(word) < 2 or not any(letter.isalpha() for letter in word):
            return ()
        made = [edit(word, kind, random.Random(zlib.crc32(f"{kind} {word}".encode())))
                for kind in self.kinds]  # fmt: skip
        return tuple(w for w in dict.fromkeys(made) if w != word and WORD.fullmatch(w))


def heads_and_tails(state: State, places: list[int]) -> Ranking:
    """The combined score of DeepWordBug (Gao et al. 2018, arXiv 1801.04354): what the word adds to
    the label's probability behind the words before it, plus what it adds in front of those after
    it. A text without words has the probability 1/2. Two queries for each word but one."""
    if not places:
        return {}
    every, cuts = range(len(state.options)), range(1, len(state.options))
    parts = [state.with_changes(dict.fromkeys(every[i:], "")) for i in cuts]
    parts += [state.with_changes(dict.fromkeys(every[:i], "")) for i in cuts]
    found, whole = probability((yield Query(parts, candidates=False))), probability(state.score)
    head = [0.5, *found[: len(cuts)], whole]  # head[i]: the first i words
    tail = [whole, *found[len(cuts) :], 0.5]  # tail[i]: all words from i on
    return {i: float(head[i + 1] - head[i] + tail[i] - tail[i + 1]) for i in places}


def edit(word: str, kind: str, rng: random.Random) -> str:
    """The word (two letters or more) with one random edit."""
    i = rng.randrange(len(word) + {"swap": -1, "insert": 1}.get(kind, 0))
    letter = rng.choice([c for c in "abcdefghijklmnopqrstuvwxyz" if c != word[i : i + 1].lower()])
    return {
        "swap": word[:i] + word[i + 1 : i + 2] + word[i : i + 1] + word[i + 2 :],
        "substitute": word[:i] + letter + word[i + 1 :],
        "drop": word[:i] + word[i + 1 :],
        "insert": word[:i] + letter + word[i:],
    }[kind]


def for_text() -> tuple[WordAttack, ...]:
    """The word attacks for text of any kind that need nothing but the model: neighbours in its own
    embedding table (their meaning unchecked) and typos, a fifth of the words, stop words and
    negations kept."""
    settings = dict(max_changed=0.2, constraints=(KeepWords(),))
    return EmbeddingNeighbours(**settings), Typos(**settings)


# ---------------------------------------------------------------------- resources in files


def _found(path: str | Path, what: str, name: str) -> tuple[Path, int]:
    """The file, and when it was changed: after that it is read again."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{what}: there is no file {path}; give the path of one as {name}=")
    return file, file.stat().st_mtime_ns


def _lines(file: Path) -> list[str]:
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            return lines.read().split("\n")
    except (UnicodeError, gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{file} is no plain or gzipped text in UTF-8: {error}") from error


def word_vectors(path: str | Path) -> tuple[torch.Tensor, list[str]]:
    """(rows, words) of a text file of word vectors, such as GloVe's or counter-fitted ones.

    A line is a word and its numbers, with blanks between; a first line with two numbers alone (the
    size, as word2vec writes it) is passed over; the file may be gzipped (.gz). Rows, (words,
    numbers) float32, have length 1. Left out are words that are not one word of a text, and rows of
    zeros; of a word that comes twice the first row counts. Raises ValueError for what cannot be
    read, with the line.
    """
    return _word_vectors(*_found(path, "word vectors", "vectors"))


@lru_cache(1)
def _word_vectors(file: Path, changed: int) -> tuple[torch.Tensor, list[str]]:
    lines = _lines(file)
    if len(lines[0].split()) == 2:
        lines[0] = ""
    size = len(next((line for line in lines if line.strip()), "").split()) - 1
    rows: dict[str, np.ndarray] = {}
    for number, line in enumerate(lines, 1):
        word, *values = line.split()[-size - 1 :] if line.strip() else [""]
        if not WORD.fullmatch(word) or word in rows:
            continue
        try:
            row = np.array(values, dtype=np.float32)
            if len(row) != size or not np.isfinite(row).all():
                raise ValueError(f"expected {size} finite numbers")
        except ValueError as error:
            raise ValueError(
                f"line {number} of {file} is no word vector ({error}): a line is a word and its "
                "numbers, as many as in the first"
            ) from error
        if row.any():
            rows[word] = row / np.linalg.norm(row)
    if size < 1 or not rows:
        raise ValueError(f"{file} holds no word vectors: a line is a word and its numbers")
    return torch.from_numpy(np.stack(list(rows.values()))), list(rows)


def synonyms(path: str | Path) -> Callable[[str], tuple[str, ...]]:
    """What gives the synonyms of a word in small letters, without itself, each once.

    path: of a file with one group of synonyms a line, commas between them or else blanks, `#`
        before a remark (.gz too); a word in several groups has the synonyms of all.
    """
    groups = _groups(*_found(path, "synonyms", "thesaurus"))
    return lambda word: groups.get(word, ())


@lru_cache(1)
def _groups(file: Path, changed: int) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for line in _lines(file):
        line = line.partition("#")[0]
        group = [w.strip() for w in (line.split(",") if "," in line else line.split())]
        group = [word for word in group if word]
        for word in group:
            others = found.setdefault(word.lower(), {})
            others |= dict.fromkeys(w for w in group if w.lower() != word.lower())
    if not any(found.values()):
        raise ValueError(f"{file} holds no synonyms: write one group a line, such as film, movie")
    return {word: tuple(others) for word, others in found.items()}
