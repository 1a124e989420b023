"""The search under every attack on words: goals, constraints, and how a way is looked for.

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
import random
import time
import zlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from typing import ClassVar

import numpy as np

from advlib.corpora import replace, words, world
from advlib.corpora.engine import WORD, Text, parts_of
from advlib.embeddings import PARTS
from advlib.models import Classifier

# Scores that differ by less are equal: padding to another length shifts logits by about 1e-6.
TIE = 1e-5

NEGATIONS = frozenset(
    "not no never nobody nothing nowhere neither nor none hardly scarcely barely rarely seldom far "
    "without cannot isn't wasn't aren't weren't don't doesn't didn't won't wouldn't can't couldn't "
    "shouldn't mustn't needn't hasn't haven't hadn't ain't n't".split()
)
STOP_WORDS = frozenset(
    "a an the this that these those i me my we us our you your he him his she her it its they them "
    "their who whom which what is am are was were be been being have has had do does did will "
    "would shall should can could may might must and or but if because as until while of at by for "
    "with about against between into through during before after above below to from up down in "
    "out on off over under again further then once here there when where why how all any both each "
    "few more most other some such only own same so than too very just".split()
)


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


# ---------------------------------------------------------------------- goals


@dataclass(frozen=True)
class Untargeted:
    """Any wrong class. The score is the best other logit minus that of the label."""

    def score(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """(n,), at least 0 exactly where the goal is reached."""
        rows = np.arange(len(labels))
        others = logits.copy()
        others[rows, labels] = -np.inf
        return others.max(axis=1, initial=-np.inf) - logits[rows, labels]


@dataclass(frozen=True)
class Targeted:
    """One chosen class. Texts of that class are left alone."""

    target: int

    def score(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if not 0 <= self.target < logits.shape[1]:
            raise ValueError(f"target must lie in 0..{logits.shape[1] - 1}, got {self.target}")
        return -Untargeted().score(logits, np.full(len(labels), self.target))


@dataclass(frozen=True)
class HardLabel:
    """Any wrong class, when the attacker sees the predicted class and no number: 0 or −1."""

    def score(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        return np.where(Untargeted().score(logits, labels) >= 0, 0.0, -1.0)


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


@dataclass(frozen=True, repr=False)
class PartOfSpeech(Constraint):
    """Each changed word has the part of speech of the word that it replaces.

    tagger: the words of a text -> one tag for each, as `nltk.pos_tag` gives them, or with the word
        before it. Its name stands in the repr. A candidate of more or fewer words is not allowed.
    """

    tagger: Callable[[list[str]], Sequence]

    def __repr__(self) -> str:
        name = getattr(self.tagger, "__qualname__", type(self.tagger).__qualname__)
        return f"PartOfSpeech({name})"

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        texts = dict.fromkeys(text for pair in pairs for text in pair)
        tags = {text: self._tags(words(text)) for text in texts}
        return [len(tags[a]) == len(tags[b]) and all(
                    s == t for s, t, v, w in zip(tags[a], tags[b], words(a), words(b), strict=True)
                    if v != w)
                for a, b in pairs]  # fmt: skip

    def _tags(self, found: list[str]) -> list[str]:
        tags = self.tagger(found) if found else []
        return [tag if isinstance(tag, str) else tag[-1] for tag in tags]


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


@dataclass(frozen=True)
class SurvivesRecoding(Constraint):
    """What the tokenizer makes of the candidate can be written down as text and read again: its
    ids decode to a text with the same ids, without the unknown token where there was none."""

    def allows(self, victim: Classifier, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        tokenizer, unknown = victim.tokenizer, victim.tokenizer.unk_token_id

        def ids(texts):
            return tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else []

        before, after = ids([a for a, _ in pairs]), ids([b for _, b in pairs])
        again = ids([tokenizer.decode(row) for row in after])
        return [
            b == c and (unknown is None or b.count(unknown) <= a.count(unknown))
            for a, b, c in zip(before, after, again, strict=True)
        ]


# ---------------------------------------------------------------------- the search for one text

Search = Generator["Query", np.ndarray, None]
Ranking = Generator["Query", np.ndarray, dict[int, float]]
Options = Generator["Query", np.ndarray, dict[int, tuple[float, str]]]


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
    options: list[tuple[str, ...]] = field(default_factory=list)  # per word
    slopes: list | None = None  # per word the gradient on it (a `Slope`), where one is needed
    changes: dict[int, str] = field(default_factory=dict)
    tried: bool = False

    def with_changes(self, changes: dict[int, str]) -> Text:
        return replace(self.text, changes)

    @property
    def done(self) -> bool:
        return self.score >= 0 or self.left <= 0


def greedy(state: State, rank: str, unknown: str, most: int, beam: int) -> Search:
    """Words in the order of their importance; each takes the replacement that helps most, if any
    does. This is the search of TextFooler (Jin et al. 2020, arXiv 1907.11932); with beam > 1 the
    best few partial results are kept instead of one.

    rank: see `importances`. unknown: what stands in the place of a word that is left out.
    most: how many words may change.
    """
    places = [i for i, options in enumerate(state.options) if options] if most else []
    importance = yield from importances(state, places, rank, unknown)
    kept = [(state.score, {})]
    for i in sorted(places, key=lambda i: (-importance[i], i)):
        tries = [{**changes, i: word} for _, changes in kept if len(changes) < most
                 for word in state.options[i]]  # fmt: skip
        if state.done or not tries:
            return
        scores = yield Query([state.with_changes(changes) for changes in tries])
        kept = _best(kept + list(zip(scores, tries, strict=True)), beam)
        state.score, state.changes = kept[0]


def importances(state: State, places: list[int], rank: str, unknown: str) -> Ranking:
    """For each of the places a number, the largest for the word that is changed first.

    rank: "unknown", "mask" and "delete" ask how high the score is when the word becomes `unknown`
        or goes away; "gradient" takes the length of the gradient on the word and "gradient-l1" the
        sum of the sizes of its entries, tokens averaged; "saliency" and "combined" are those of
        `salient_options` and `heads_and_tails`.
    """
    if rank == "gradient":
        return {i: float(state.slopes[i].grad.norm()) for i in places}
    if rank == "gradient-l1":
        grads = {i: state.slopes[i].grad for i in places}
        return {i: float(g.mean(0).abs().sum()) if len(g) else 0.0 for i, g in grads.items()}
    if rank == "saliency":
        found = yield from salient_options(state, places, unknown)
        return {i: found[i][0] if i in found else -np.inf for i in places}
    if rank == "combined":
        return (yield from heads_and_tails(state, places))
    texts = [state.with_changes({i: "" if rank == "delete" else unknown}) for i in places]
    return dict(zip(places, (yield Query(texts, candidates=False)), strict=True))


def probability(score: np.ndarray) -> np.ndarray:
    """How probable the attacker's failure is: of two classes, the true one. Among more, that of the
    label against its strongest rival, for a score holds no more."""
    return 1 / (1 + np.exp(np.clip(score, -700, 700)))


def salient_options(state: State, places: list[int], unknown: str) -> Options:
    """The ranking of PWWS (Ren et al. 2019, eq. 4 to 8): for each word its best replacement and a
    weight, the softmax of its saliency (by how much the label's probability falls when the word
    becomes unknown) times the fall that this replacement brings. One query for each word and one
    for each replacement. Words none of whose replacements may be asked about have no entry."""
    before = probability(state.score)
    blanks = [state.with_changes({i: unknown}) for i in places]
    saliency = before - probability((yield Query(blanks, candidates=False)))
    share = np.exp(saliency) / np.exp(saliency).sum() if places else saliency
    tries = [(i, word) for i in places for word in state.options[i]]
    scores = yield Query([state.with_changes({i: word}) for i, word in tries])
    found = {}
    for k, i in enumerate(places):
        own = [(float(s), {i: word}) for s, (j, word) in zip(scores, tries, strict=True) if j == i]
        ((score, change),) = _best(own, 1)
        if score > -np.inf:
            found[i] = float(share[k] * (before - probability(score))), change[i]
    return found


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


def weighted_saliency(state: State, unknown: str, most: int) -> Search:
    """The search of PWWS: each word's replacement is chosen once, on the original text, and they
    are put in one after the other, those of the largest weight first, until the goal is reached."""
    places = [i for i, options in enumerate(state.options) if options] if most else []
    found = yield from salient_options(state, places, unknown)
    for i in sorted(found, key=lambda i: (-found[i][0], i)):
        if state.done or len(state.changes) == most:
            return
        changes = {**state.changes, i: found[i][1]}
        (score,) = yield Query([state.with_changes(changes)])
        if score > -np.inf:
            state.score, state.changes = float(score), changes


def _best(pairs: list[tuple[float, dict]], count: int) -> list[tuple[float, dict]]:
    """The `count` pairs with the largest scores; of equal ones (up to TIE) the first."""
    chosen, pairs = [], list(pairs)
    while pairs and len(chosen) < count:
        top = max(score for score, _ in pairs)
        least = max(top - TIE, 0.0) if top >= 0 else top - TIE  # success is no tie with failure
        chosen.append(pairs.pop(next(k for k, p in enumerate(pairs) if p[0] >= least)))
    return chosen


def blind(state: State, most: int, tries: int = 30, chunk: int = 10) -> Search:
    """For an attacker without scores: random changes of more and more words until the goal is
    reached, then every change is taken back that is not needed."""
    places = [i for i, options in enumerate(state.options) if options]
    rng = random.Random(zlib.crc32("\n".join(parts_of(state.text)).encode()))
    if not places or not most:
        return
    for start in range(0, tries, chunk):
        made = []
        for k in range(start, min(start + chunk, tries)):
            count = min(most, len(places), 1 + k * len(places) // tries)
            made.append({i: rng.choice(state.options[i]) for i in rng.sample(places, count)})
        scores = yield Query([state.with_changes(changes) for changes in made])
        hits = [k for k, score in enumerate(scores) if score >= 0]
        if hits:
            state.score, state.changes = 0.0, min((made[k] for k in hits), key=len)
            break
        if state.left <= 0:
            return
    for i in list(state.changes):
        fewer = {k: word for k, word in state.changes.items() if k != i}
        if fewer and state.left > 0:
            (score,) = yield Query([state.with_changes(fewer)])
            if score >= 0:
                state.changes = fewer


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
        for k, query in list(live.items()):
            scores = np.full(len(query.texts), -np.inf)
            if asked[k]:
                logits = np.stack([known[text] for text in asked[k].values()])
                labels = np.full(len(logits), states[k].label)
                scores[list(asked[k])] = goal.score(logits, labels)
            states[k].queries += len(asked[k])
            states[k].left -= len(asked[k])
            try:
                live[k] = searches[k].send(scores)
            except StopIteration:
                del live[k]


def _admitted(victim, states, live, constraints) -> dict[int, dict[int, Text]]:
    """For each live state, place -> text of those that may be asked about."""
    asked = {}
    for k, query in live.items():
        asked[k] = dict(enumerate(query.texts))
    for constraint in constraints:
        where = [(k, j) for k, query in live.items() if query.candidates for j in asked[k]]
        judged = [(k, j, old, new) for k, j in where
                  for old, new in _changed_parts(states[k].text, asked[k][j])]  # fmt: skip
        if not judged:
            continue
        fair = constraint.allows(victim, [(old, new) for *_, old, new in judged])
        for k, j in {(k, j) for (k, j, *_), ok in zip(judged, fair, strict=True) if not ok}:
            del asked[k][j]
    for k in live:
        if len(asked[k]) > states[k].left:
            asked[k] = dict(list(asked[k].items())[: max(0, int(states[k].left))])
    return asked


def _changed_parts(old: Text, new: Text) -> list[tuple[str, str]]:
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
    names = PARTS[1:] if part != "both" else ("both", "both")
    return [name == part for name, one in zip(names, parts_of(text), strict=False)
            for _ in WORD.findall(one)]  # fmt: skip


def attack_texts(attack, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]):
    """One WordResult per text: the attack's proposals, its constraints, its search, its goal."""
    start = time.perf_counter()
    texts, labels = [t if isinstance(t, str) else tuple(t) for t in texts], list(labels)
    if not texts:
        return []
    for text in texts:  # before the model is asked
        in_part(text, attack.part)
    logits = victim.logits(texts)
    wrong = Untargeted().score(logits, np.array(labels)) >= 0
    scores = attack.goal.score(logits, np.array(labels))
    budget = np.inf if attack.max_queries is None else attack.max_queries - 1
    states = [State(t, y, float(s), budget)
              for t, y, s in zip(texts, labels, scores, strict=True)]  # fmt: skip
    spared = [isinstance(attack.goal, Targeted) and y == attack.goal.target for y in labels]
    chosen = [s for s, spare in zip(states, spared, strict=True) if s.score < 0 and not spare]
    attack.prepare(victim, chosen)
    lockstep(victim, attack.goal, chosen, [attack.search(victim, s) for s in chosen],
             attack.constraints)  # fmt: skip
    seconds = (time.perf_counter() - start) / max(1, sum(s.queries for s in states))
    return [
        WordResult(s.text, s.with_changes(s.changes), s.label, tuple(sorted(s.changes)),
                   bool(s.changes and s.score >= 0), bool(before), s.queries, seconds * s.queries)
        for s, before in zip(states, wrong, strict=True)
    ]  # fmt: skip
