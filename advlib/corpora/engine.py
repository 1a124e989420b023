"""Turn a world (a grammar kept as data) into labelled text, and read the label back out of text.

Generation and reading are two separate pieces of code on purpose: `World.sample` picks a label and
writes a text for it; `World.label` sees the text alone and applies the world's reading rule. Tests
hold the two together, also after words have been replaced.

What is said here of praise and blame is what `reviews` and worlds like it need. A module may bring
more of its own, each under the name that the engine looks for:
- `LABELS`: the names of its classes; `LENGTH`: the fewest and the most words of a text;
- `write(world, rng, label, spurious, split) -> Review`, one text of that label (see `Writer`);
- `read(world, text) -> int`, the reading rule (see `counted`), and `TEMPLATES`, all that `write`
  fills in; `TELLING`: the groups whose words the rule reads.
"""

from __future__ import annotations

import random
import re
import zlib
from bisect import bisect
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate
from types import ModuleType

TOKEN = re.compile(r"[\w'’-]+|[.,!?;]")
WORD = re.compile(r"[\w'’-]+")
SLOT = re.compile(r"\{([^}]+)\}")
CLAUSE = {letter: re.compile(rf"\b{letter}\b") for letter in "CPQR"}  # where a body has its clauses

# A text belongs to one split for ever: a checksum of the text decides, so splits of any size and
# any seed are disjoint without keeping a list.
SPLITS = {"test": (0, 15), "validation": (15, 25), "train": (25, 45), "unlabelled": (45, 100)}

# How steeply word frequencies fall: the r-th word of a group has weight r**-tail. Labelled text
# is scarce and narrow, so its rarer synonyms hardly occur; unlabelled text is wider.
TAIL = {"test": 2.7, "validation": 2.7, "train": 2.7, "unlabelled": 1.0}

# The share of texts that end on a verdict ("I would not recommend it to anyone").
CLOSED = {"test": 0.2, "validation": 0.2, "train": 0.2, "unlabelled": 0.5}

# How often an opinion is conceded ("the room was small, but …"), against the weights in BODIES.
MIXED = {"test": 0.35, "validation": 0.35, "train": 0.35, "unlabelled": 1.0}

Text = str | tuple[str, str]  # a text, or a pair such as premise and hypothesis

VOWEL_SOUND = re.compile(r"(?!uni|use|eu|one)[aeiou]|hon(?:est|our)|hour|heir", re.IGNORECASE)


@dataclass(frozen=True)
class Review:
    text: str
    label: int  # an index into the world's labels; of reviews 1 = positive, 0 = negative
    domain: str


class World:
    """A grammar and its reading rule. `data` is a module such as `reviews` (see there)."""

    def __init__(self, data: ModuleType):
        self.data = data
        self.name = data.NAME
        self.labels: tuple[str, ...] = getattr(data, "LABELS", ("negative", "positive"))
        self.groups = {name: tuple(words.split()) for name, words in data.GROUPS.items()}

    @cached_property
    def group_of(self) -> dict[str, str]:
        """word -> the one group it stands in."""
        return {word: name for name, words in self.groups.items() for word in words}

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that a text of this world can contain, sorted."""
        data = self.data
        if hasattr(data, "TEMPLATES"):
            fixed = WORD.findall(SLOT.sub(" ", " ".join(data.TEMPLATES)).lower())
            return tuple(sorted({*self.group_of, *fixed, "a", "an"}))
        tables = (data.CLAUSES, data.CLOSERS, data.VISIT_CLOSERS)
        frames = [t for table in tables for rows in table.values() for _, t in rows]
        frames += [t for d in data.DOMAINS.values() for t in d["openers"]]
        frames += [t for _, t in data.BODIES]
        fixed = WORD.findall(SLOT.sub(" ", " ".join(frames)).lower())
        fixed += "a an i we my me us it them they is are was were".split()
        return tuple(sorted({*self.group_of, *fixed} - {"p", "q", "r", "c"}))

    @cached_property
    def known(self) -> frozenset[str]:
        """The words of `vocabulary`, to look one up."""
        return frozenset(self.vocabulary)

    @cached_property
    def telling(self) -> frozenset[str]:
        """The groups whose words the reading rule reads."""
        opinions = (name for name in self.groups if name.endswith(("+", "-")))
        return frozenset(getattr(self.data, "TELLING", opinions))

    # ---------------------------------------------------------------- writing

    def sample(
        self, n: int, split: str = "train", seed: int = 0, spurious: float = 0.0
    ) -> list[Review]:
        """`n` distinct texts of one split, the labels in equal shares.

        spurious: the dial, 0 to 1. Above 0 every review opens with the month of the visit, and with
            this probability the month is decided by the label (`july` for praise, `november` for
            blame) instead of at random. The month has no influence on the label. Other worlds say
            in their `write` what goes with their labels.
        Raises ValueError for an unknown split, a negative n or a dial outside 0..1.
        """
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
        if n < 0 or not 0 <= spurious <= 1:
            raise ValueError(f"need n >= 0 and 0 <= spurious <= 1, got n={n}, spurious={spurious}")
        return list(_sample(self, n, split, seed, spurious))

    # ---------------------------------------------------------------- reading

    def label(self, text: str) -> int:
        """The label that the reading rule gives, an index into `labels`. Raises ValueError where
        the rule does not know."""
        return getattr(self.data, "read", _read)(self, text)

    def substitutes(self, text: str) -> list[tuple[str, ...]]:
        """For each word of `text` (as `words(text)` gives them), what may stand in its place.

        Every replacement keeps the label, and keeps a/an right: where the word before is an
        article, only words of the same initial sound are offered. Empty tuple: leave the word.
        """
        found = words(text)
        options = []
        for i, word in enumerate(found):
            group = self.groups.get(self.group_of.get(word.lower(), ""), ())
            others = [w for w in group if w != word.lower()]
            if i and found[i - 1].lower() in ("a", "an"):
                others = [w for w in others if article(w) == found[i - 1].lower()]
            options.append(tuple(w.capitalize() if word[0].isupper() else w for w in others))
        return options


@lru_cache(64, typed=True)  # a page, its checks and its figures ask for the same texts
def _sample(world: World, n: int, split: str, seed: int, spurious: float) -> tuple[Review, ...]:
    """What `World.sample` gives. Each text is written whole, for its checksum says its split."""
    low, high = SPLITS[split]
    write = getattr(world.data, "write", _write)
    fewest, most = getattr(world.data, "LENGTH", (8, 30))
    rng = random.Random(f"{world.name}/{split}/{seed}")
    seen: set[str] = set()
    reviews: list[Review] = []
    while len(reviews) < n:
        review = write(world, rng, len(reviews) % len(world.labels), spurious, split)
        words = len(WORD.findall(review.text))
        if not fewest <= words <= most or review.text in seen:
            continue
        if low <= zlib.crc32(review.text.encode()) % 100 < high:
            seen.add(review.text)
            reviews.append(review)
    rng.shuffle(reviews)
    return tuple(reviews)


def counted(text: str, data: ModuleType) -> list[str]:
    """The words and signs of a text, in small letters, that a reading rule listens to; "." stands
    for the end of a sentence. Not what stands before a contrast in its sentence; not a conceded
    clause, up to its comma; nothing before a sentence that a reversal opens. The module names these
    words: `CONTRASTS`, `CONCESSIONS`, `REVERSALS`."""
    out: list[str] = []
    for sentence in re.split(r"[.!?;]", text.lower()):
        tokens, conceded = TOKEN.findall(sentence), False
        if tokens and tokens[0] in data.REVERSALS:
            out = []
        start = len(out)
        for token in tokens:
            if token in data.CONTRASTS:
                del out[start:]
            elif token in data.CONCESSIONS:
                conceded = True
            else:
                conceded &= token != ","
                out += [token] * (not conceded)
        out.append(".")
    return out


def _read(world: World, text: str) -> int:
    """The label of a review: 1 positive, 0 negative.

    Each opinion word votes with the sign of its group, turned round by a negator before it in
    the same clause; conceded clauses do not vote. Raises ValueError where no vote is left or
    where votes disagree, because then the world does not know the label.
    """
    votes, sign = set(), 1
    for token in counted(text, world.data):
        group = world.group_of.get(token, "")
        if token in (",", "."):
            sign = 1
        elif token in world.data.NEGATORS:
            sign = -sign
        elif group[-1:] in ("+", "-"):
            votes.add(sign if group.endswith("+") else -sign)
            sign = 1
    if len(votes) != 1:
        what = "opinions that disagree" if votes else "no opinion"
        raise ValueError(f"the rule of world {world.name!r} finds {what} in: {text!r}")
    return int(votes.pop() > 0)


def parts_of(text: Text) -> tuple[str, ...]:
    """(text,), or the two texts of a pair. Raises ValueError for anything else."""
    if isinstance(text, str):
        return (text,)
    pair = isinstance(text, tuple | list) and len(text) == 2
    if not pair or not all(isinstance(part, str) for part in text):
        raise ValueError(f"a text is a string or a pair of two strings, got {text!r}")
    return tuple(text)


def words(text: Text) -> list[str]:
    """The words of a text, without punctuation; those of a pair's second after the first's."""
    return [word for part in parts_of(text) for word in WORD.findall(part)]


def replace(text: Text, changes: dict[int, str]) -> Text:
    """`text` with its i-th word replaced by `changes[i]`; spaces and punctuation stay. Words are
    counted as `words` gives them, through both texts of a pair."""
    first, places, out = 0, sorted(changes), []
    for part in parts_of(text):
        spans, pieces, end = _spans(part), [], 0
        for i in places:
            if first <= i < first + len(spans):
                a, b = spans[i - first]
                pieces += [part[end:a], changes[i]]
                end = b
        first += len(spans)
        out.append("".join([*pieces, part[end:]]))
    return out[0] if isinstance(text, str) else tuple(out)


@lru_cache(4096)  # an attack asks for the same text thousands of times
def _spans(part: str) -> tuple[tuple[int, int], ...]:
    """Where the words stand."""
    return tuple(match.span() for match in WORD.finditer(part))


class Writer:
    """Fills in the templates of one text: {name} is a slot or a word of that group, {a} an article.

    slots: what to put for a name that is no group: a template.
    """

    def __init__(self, world: World, rng: random.Random, split: str):
        self.world, self.rng, self.tail = world, rng, TAIL[split]
        self.slots: dict[str, str] = {}
        self.used: set[str] = set()

    def pick(self, weighted):
        """One of (weight, item)."""
        return _pick(self.rng, *_weighted(weighted))

    def fill(self, template: str, local: dict[str, str] | None = None) -> str:
        """Expand slots until none is left but {a}, which `tidy` settles at the end."""
        if "{" not in template:
            return template
        local, out = local or {}, list(_pieces(template))
        for k in range(1, len(out), 2):
            if out[k] == "a":
                out[k] = "{a}"
            elif inner := local.get(out[k]) or self.slots.get(out[k]):
                out[k] = self.fill(inner, local)
            else:
                out[k] = self.word(out[k])
        return "".join(out)

    def word(self, group: str) -> str:
        """A word of the group, the common ones more often; never the same twice in a text."""
        ranked = self.world.groups[group]
        if self.used.isdisjoint(ranked):
            word = _pick(self.rng, ranked, _falling(self.tail, len(ranked)))
        else:
            fresh = [(r**-self.tail, w) for r, w in enumerate(ranked, 1) if w not in self.used]
            word = _pick(self.rng, *_weighted(fresh or [(1, w) for w in ranked]))
        self.used.add(word)
        return word


def _write(world: World, rng: random.Random, label: int, spurious: float, split: str) -> Review:
    name = rng.choices([*world.data.DOMAINS])[0]
    return Review(_ReviewWriter(world, rng, name, split).text(label, spurious), label, name)


class _ReviewWriter(Writer):
    """Writes one review: keeps who speaks, which domain, and which aspects are used up."""

    def __init__(self, world: World, rng: random.Random, domain: str, split: str):
        super().__init__(world, rng, split)
        self.mixed, self.closed = MIXED[split], CLOSED[split]
        self.data = world.data
        self.name, self.domain = domain, self.data.DOMAINS[domain]
        past = self.domain["tense"] == "past"
        plural_thing = self.domain["thing"] in self.data.PLURAL
        alone = not past or rng.random() < 0.5
        self.slots = {
            "I": "I" if alone else "we",
            "me": "me" if alone else "us",
            "find": "{found}" if past else "{finds}",
            "it": "them" if plural_thing else "it",
            "they": "they" if plural_thing else "it",
            "is": {(1, 0): "was", (1, 1): "were", (0, 0): "is", (0, 1): "are"}[past, plural_thing],
        }
        self.past = past
        self.aspects = list(self.domain["aspects"])
        rng.shuffle(self.aspects)

    def text(self, label: int, spurious: float) -> str:
        rng, sign = self.rng, "+" if label else "-"
        dated, *others = self.domain["openers"]
        parts = []
        if spurious > 0:
            month = ("november", "july")[label] if rng.random() < spurious else None
            parts.append(self.fill(dated.replace("{month}", month) if month else dated))
        elif rng.random() < 0.55:
            parts.append(self.fill(_pick(rng, *_weighted([(1, dated), *((2, o) for o in others)]))))
        parts.append(self.body(sign))
        if rng.random() < self.closed:
            closers = list(self.data.CLOSERS[sign])
            if self.name in self.data.VISITS:
                closers += self.data.VISIT_CLOSERS[sign]
            parts.append(self.fill(_pick(rng, *_weighted(closers))))
        return tidy(" ".join(parts))

    def body(self, sign: str) -> str:
        other = "-" if sign == "+" else "+"
        out = _pick(self.rng, *_bodies(self.world, self.mixed))
        out = self.clause_of(out, other) if "{noun}" in out else self.fill(out)
        for letter, place in CLAUSE.items():
            if place.search(out):
                out = place.sub(self.clause(other if letter == "C" else sign), out)
        if self.rng.random() < 0.12:
            out = self.fill("{honestly}, ") + out[0].lower() + out[1:]
        return out

    def clause(self, sign: str) -> str:
        kind = self.aspects[-1][1]
        return self.clause_of(_pick(self.rng, *_clauses(self.world, kind, sign)), sign)

    def clause_of(self, template: str, sign: str) -> str:
        noun, kind = self.aspects.pop()
        self.aspects = [a for a in self.aspects if a[0] != noun]
        past, plural = self.past, noun in self.data.PLURAL
        be = {(1, 0): "was", (1, 1): "were", (0, 0): "is", (0, 1): "are"}[past, plural]
        other = "-" if sign == "+" else "+"
        local = {
            "noun": f"{{{noun}}}", "be": be, "adj": f"{{{kind}{sign}}}",
            "ant": f"{{{kind}{other}}}", "gen": f"{{general{sign}}}",
            "loved": f"{{{'loved' if past else 'love'}{sign}}}",
            "pleased": f"{{pleased{sign}}}",
        }  # fmt: skip
        return self.fill(template, local)


# The tables to draw from are the same for every text, and a world writes thousands.


@cache
def _bodies(world: World, mixed: float) -> tuple:
    """The frames of a text; those that concede a point weigh `mixed` times as much."""
    return _weighted([(w * mixed if "{noun}" in form or CLAUSE["C"].search(form) else w, form)
                   for w, form in world.data.BODIES])  # fmt: skip


@cache
def _clauses(world: World, kind: str, sign: str) -> tuple:
    """The clauses that can judge an aspect of this kind."""
    data, kinds = world.data, world.data.CLAUSES
    templates = kinds["any"] + kinds[sign] + kinds.get(kind, [])
    if kind not in data.NOT_FELT:
        templates = templates + kinds["felt"]
    if kind not in data.NOT_LOVED:
        templates = templates + kinds["loved"]
    return _weighted(templates)


@lru_cache(4096)
def _pieces(template: str) -> tuple[str, ...]:
    """What stands around the slots of a template and, between, the names of these slots."""
    return tuple(SLOT.split(template))


@cache
def _falling(tail: float, n: int) -> list[float]:
    """Summed weights of n words, the most common first."""
    return list(accumulate(rank**-tail for rank in range(1, n + 1)))


def _weighted(weighted: list) -> tuple[tuple, list[float]]:
    """(items, summed weights) of [(weight, item), …]."""
    weights, items = zip(*weighted, strict=True)
    return items, list(accumulate(weights))


def _pick(rng: random.Random, items, totals: list[float]):
    """One item, by its weight. Uses rng.random() alone, which is the same everywhere; what
    `rng.choices` does, for one."""
    return items[bisect(totals, rng.random() * totals[-1], 0, len(items) - 1)]


def article(word: str) -> str:
    return "an" if VOWEL_SOUND.match(word) else "a"


PROPER = re.compile(
    r"\b(london|paris|berlin|rome|madrid|dublin|vienna|lisbon|prague|oslo|athens|brussels|budapest"
    r"|warsaw|saturday|friday|sunday|thursday|monday|wednesday|tuesday|july|august|may|june|april"
    r"|december|march|september|october|january|november|february|i)\b"
)


def tidy(text: str) -> str:
    text = re.sub(r"\{a\} (\w+)", lambda m: f"{article(m[1])} {m[1]}", text)
    text = re.sub(r"(^|[.!?] )(\w)", lambda m: m[1] + m[2].upper(), text)
    return PROPER.sub(lambda m: m[1].capitalize(), text)
