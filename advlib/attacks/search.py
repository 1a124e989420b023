"""The search under every attack on words: the goal, constraints, and how a way is looked for.

An attack has four parts (the vocabulary is TextAttack's, Morris et al. 2020, arXiv 2005.05909): a
**goal**, a **search**, a **transformation** that proposes changes, and **constraints**. Goals,
constraints and the search live here; the attacks in `words.py` bring the transformations.

All texts advance in lockstep. The search of one text is a generator: it yields texts that it wants
scored, and is sent their scores. `lockstep` runs the generators of all texts side by side and puts
their questions together into full batches of similar length. What comes out for a text depends on
that text alone, not on its company.
"""

from __future__ import annotations

import difflib
import html
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from advlib.corpora import replace, words, world
from advlib.corpora.engine import WORD, Text, parts_of
from advlib.corpora.english import NEGATIONS, STOP_WORDS
from advlib.embeddings import PARTS
from advlib.models import Classifier

# Scores that differ by less are equal: padding to another length shifts logits by about 1e-6.
TIE = 1e-5


# ---------------------------------------------------------------------- results


@dataclass(frozen=True)
class WordResult:
    """What one attack made of one text. A failure is a result too."""

    original: Text
    text: Text
    label: int
    changed: tuple[int, ...]  # which words of the original; those of a second text come after
    success: bool  # the goal, not reached before, is reached now
    wrong_before: bool  # the model was wrong from the start
    queries: int  # texts that the model was asked about, gradients included
    seconds: float = field(default=0.0, compare=False)  # the share of the run's time
    tried: int | None = field(default=None, compare=False)  # candidates asked about, where counted

    @property
    def robust(self) -> bool:
        """The model withstood, and was right before."""
        return not (self.success or self.wrong_before)

    def show(self, as_html: bool = False) -> str:
        """The text with its changes marked: `[old -> new]`, or escaped HTML. Between the two texts
        of a pair stands ` ‖ `."""
        both = zip(parts_of(self.original), parts_of(self.text), strict=True)
        return " ‖ ".join(self._show(old, new, as_html) for old, new in both)

    def _show(self, old: str, new: str, as_html: bool) -> str:
        old, new = _pieces(old), _pieces(new)
        shown = []
        matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
        for kind, a, b, c, d in matcher.get_opcodes():
            gone, come = "".join(old[a:b]), "".join(new[c:d])
            if as_html:
                gone, come = html.escape(gone), html.escape(come)
            if kind == "equal":
                shown.append(come)
            elif as_html:
                marks = [f"<del>{gone}</del>"] * bool(gone) + [f"<ins>{come}</ins>"] * bool(come)
                shown.append(" ".join(marks))
            else:
                shown.append(f"[{gone} -> {come}]" if gone else f"[+ {come.strip()}] ")
        return "".join(shown)


def _pieces(text: str) -> list[str]:
    """The text cut into words and what lies between them; joined they give it back."""
    cuts = [0, *(at for m in WORD.finditer(text) for at in m.span()), len(text)]
    return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False) if a < b]


# ---------------------------------------------------------------------- the goal


@dataclass(frozen=True)
class Untargeted:
    """Any wrong class. The score is the best other logit minus that of the label.

    A goal of your own is an object with such a `score`.
    """

    def score(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n,), at least 0 exactly where the goal is reached."""
        rows = np.arange(len(labels))
        others = logits.copy()
        others[rows, labels] = -np.inf
        return others.max(axis=1, initial=-np.inf) - logits[rows, labels]


# ---------------------------------------------------------------------- constraints


class Constraint:
    """What an attack may not do. Either method may be left as it is."""

    keeps_label: ClassVar[bool] = False  # whether a candidate that it allows is known to keep it

    def keeps(self, words: Sequence[str]) -> list[bool]:
        """For each word of a text, whether it has to stay."""
        return [False] * len(words)

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """For each (original, candidate), whether the candidate is a fair text. Both are strings:
        of sentence pairs, each text that was changed is judged by itself."""
        return [True] * len(pairs)


@dataclass(frozen=True)
class KeepWords(Constraint):
    """Some words stay: by default stop words and negations."""

    words: frozenset[str] = field(default=STOP_WORDS | NEGATIONS, repr=False)

    def keeps(self, words: Sequence[str]) -> list[bool]:
        return [word.lower().replace("’", "'") in self.words for word in words]


@dataclass(frozen=True)
class LabelRule(Constraint):
    """The candidate's label, as the rule of a world reads it, is that of the original."""

    world: str = "reviews"
    keeps_label: ClassVar[bool] = True

    def __post_init__(self):
        world(self.world)  # raises ValueError for an unknown one

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [self._label(a) is not None and self._label(a) == self._label(b) for a, b in pairs]

    def _label(self, text: str) -> int | None:
        try:
            return world(self.world).label(text)
        except ValueError:
            return None


@dataclass(frozen=True)
class NotAnotherWord(Constraint):
    """No word becomes another one that a world knows: "speedy" with a letter dropped is "seedy",
    and that is no slip that people read without trouble, but another opinion. For attacks that
    misspell; a known substitute is another word, too."""

    world: str = "reviews"

    def __post_init__(self):
        world(self.world)

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [self._fair(*map(words, pair)) for pair in pairs]

    def _fair(self, old: list[str], new: list[str]) -> bool:
        known = world(self.world).known
        return len(old) == len(new) and not any(
            a != b and b.lower() in known for a, b in zip(old, new, strict=True)
        )


@dataclass(frozen=True)
class Similarity(Constraint):
    """The sentence embeddings of candidate and original have at least this cosine.

    encode: texts -> array (n, d), such as `SentenceTransformer(...).encode`.
    """

    encode: Callable[[list[str]], np.ndarray] = field(repr=False)
    least: float = 0.9

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        vectors = np.asarray(self.encode(texts), dtype=float)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
        at = {text: row for text, row in zip(texts, vectors, strict=True)}
        return [bool(at[a] @ at[b] >= self.least) for a, b in pairs]


# ---------------------------------------------------------------------- the search for one text

Search = Generator["Query", np.ndarray, None]
Ranking = Generator["Query", np.ndarray, dict[int, float]]


@dataclass(frozen=True)
class Query:
    """Texts to score. candidates: they may be the result, so constraints apply to them."""

    texts: list[Text]
    candidates: bool = True


@dataclass
class State:
    """One text under attack. Its search changes `changes` and `score`; `lockstep` the rest."""

    text: Text
    label: int
    score: float  # of the text as it is now; at least 0 when the goal is reached
    left: float = np.inf  # queries that it may still make
    queries: int = 1
    tried: int = 0  # of the queries, texts that could have been the result
    options: list[tuple[str, ...]] = field(default_factory=list)  # per word
    slopes: list | None = None  # per word the gradient on it (a `Slope`), where one is needed
    changes: dict[int, str] = field(default_factory=dict)

    def with_changes(self, changes: dict[int, str]) -> Text:
        return replace(self.text, changes)

    @property
    def done(self) -> bool:
        return self.score >= 0 or self.left <= 0


def greedy(state: State, ranking: Callable, most: int, beam: int) -> Search:
    """Words in the order of their importance; each takes the replacement that helps most, if any
    does. This is the search of TextFooler (Jin et al. 2020, arXiv 1907.11932); with beam > 1 the
    best few partial results are kept instead of one.

    ranking: (state, places) -> Ranking, such as `importances`. most: how many words may change.
    """
    places = [i for i, options in enumerate(state.options) if options] if most else []
    importance = yield from ranking(state, places)
    kept = [(state.score, {})]
    for i in sorted(places, key=lambda i: (-importance[i], i)):
        tries = [{**changes, i: word} for _, changes in kept if len(changes) < most
                 for word in state.options[i]]  # fmt: skip
        if state.done or not tries:
            return
        scores = yield Query([state.with_changes(changes) for changes in tries])
        kept = best(kept + list(zip(scores, tries, strict=True)), beam)
        state.score, state.changes = kept[0]


def importances(state: State, places: list[int], rank: str, unknown: str) -> Ranking:
    """For each of the places a number, the largest for the word that is changed first.

    rank: "unknown", "mask" and "delete" ask how high the score is when the word becomes `unknown`
        or goes away; "gradient" takes the length of the gradient on the word and "gradient-l1" the
        sum of the sizes of its entries, tokens averaged.
    """
    if rank == "gradient":
        return {i: float(state.slopes[i].grad.norm()) for i in places}
    if rank == "gradient-l1":
        grads = {i: state.slopes[i].grad for i in places}
        return {i: float(g.mean(0).abs().sum()) if len(g) else 0.0 for i, g in grads.items()}
    texts = [state.with_changes({i: "" if rank == "delete" else unknown}) for i in places]
    return dict(zip(places, (yield Query(texts, candidates=False)), strict=True))


def best(pairs: list[tuple[float, dict]], count: int) -> list[tuple[float, dict]]:
    """The `count` pairs with the largest scores; of equal ones (up to TIE) the first."""
    chosen, pairs = [], list(pairs)
    while pairs and len(chosen) < count:
        top = max(score for score, _ in pairs)
        least = max(top - TIE, 0.0) if top >= 0 else top - TIE  # success is no tie with failure
        chosen.append(pairs.pop(next(k for k, p in enumerate(pairs) if p[0] >= least)))
    return chosen


# ---------------------------------------------------------------------- all texts together


def lockstep(
    victim: Classifier, goal, states: Sequence[State], searches: Sequence[Search],
    constraints: Sequence[Constraint] = (),
) -> None:  # fmt: skip
    """Run the searches of all states to their ends; fills in the states.

    A candidate that a constraint forbids, or that the query budget does not reach, scores −inf and
    costs nothing. A text that was asked before, for whichever state, is answered from memory; it
    counts as a query all the same, since an attacker on one text would have had to ask.
    """
    known: dict[Text, np.ndarray] = {}
    live = {}
    for k, search in enumerate(searches):
        if (query := next(search, None)) is not None:
            live[k] = query
    while live:
        asked = _admitted(victim, states, live, constraints)
        fresh = list(dict.fromkeys(t for texts in asked.values() for t in texts.values()))
        fresh = [text for text in fresh if text not in known]
        if fresh:
            known.update(zip(fresh, victim.logits(fresh), strict=True))
        labels = np.repeat([states[k].label for k in live], [len(asked[k]) for k in live])
        logits = [known[text] for texts in asked.values() for text in texts.values()]
        found = iter(goal.score(np.stack(logits), labels) if logits else ())
        for k, query in list(live.items()):
            scores = np.full(len(query.texts), -np.inf)
            for j in asked[k]:
                scores[j] = next(found)
            states[k].queries += len(asked[k])
            states[k].tried += len(asked[k]) * query.candidates
            states[k].left -= len(asked[k])
            try:
                live[k] = searches[k].send(scores)
            except StopIteration:
                del live[k]


def _admitted(victim, states, live, constraints) -> dict[int, dict[int, Text]]:
    """For each live state, place -> text of those that may be asked about."""
    asked = {k: dict(enumerate(query.texts)) for k, query in live.items()}
    for constraint in constraints:
        where = [(k, j) for k, query in live.items() if query.candidates for j in asked[k]]
        judged = [(k, j, old, new) for k, j in where
                  for old, new in changed_parts(states[k].text, asked[k][j])]  # fmt: skip
        if not judged:
            continue
        fair = constraint.allows(victim, [(old, new) for *_, old, new in judged])
        for k, j in {(k, j) for (k, j, *_), ok in zip(judged, fair, strict=True) if not ok}:
            del asked[k][j]
    for k in live:
        if len(asked[k]) > states[k].left:
            asked[k] = dict(list(asked[k].items())[: max(0, int(states[k].left))])
    return asked


def changed_parts(old: Text, new: Text) -> list[tuple[str, str]]:
    """(original, candidate) of a text, or of each text of a pair that is another now."""
    if isinstance(old, str):
        return [(old, new)]
    return [(a, b) for a, b in zip(old, new, strict=True) if a != b]


def in_part(text: Text, part: str) -> list[bool]:
    """For each word, whether it stands in the part of the pair that is attacked.

    Raises ValueError for a part of a single text."""
    if part != "both" and isinstance(text, str):
        raise ValueError(f"part={part!r} is for sentence pairs, and this is a single text: leave "
                         f"it out ({text[:40]!r})")  # fmt: skip
    return [part in ("both", name) for name, one in zip(PARTS[1:], parts_of(text), strict=False)
            for _ in WORD.findall(one)]  # fmt: skip
