"""The world `news`: headlines on invented companies. The label is what a headline means for its
company, negative, neutral or positive; the domain is its topic. Which company does not matter.

A fact is a thing and what became of it. Profit that rose is good news and losses that rose are bad;
losses that narrowed are good: the sign of the thing times the direction. Nothing follows from a
thing that stayed as it was. Who reports it does not count, and neither does what is conceded.

How to read it:
- `GROUPS`: words that may replace one another without changing the label, commonest first. No
  word stands in two groups.
- `THINGS`: the topic and the sign of a group of things; `MOVES`: the direction of a group of
  verbs or nouns.
- `FACTS`: what can be said of a thing that went up, down or stayed. `{who}` is the company or "it".

`stories` writes a stream of headlines with dates and copies, as agencies send it.
"""

from __future__ import annotations

import random
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from advlib.corpora.engine import SPLITS, WORD, Review, World, Writer, counted, replace, tidy

NAME = "news"
LABELS = ("negative", "neutral", "positive")
LENGTH = (5, 32)

GROUPS = {
    "company": "brellwick tarnovel fendrake lumbrax skovane pellwyn zornholm halvent kestermoor "
    "drumlane vintrosa oskarby ulmfeld wexdorp",
    # --- things, good and bad -------------------------------------------------------------------
    "profit": "profit revenue turnover income earnings",
    "losses": "losses costs expenses debts",
    "orders": "orders exports bookings shipments",
    "demand": "demand sales footfall",
    "shares": "shares stock bonds",
    "dividends": "dividends payouts",
    "hiring": "hiring recruitment staffing",
    "layoffs": "layoffs redundancies dismissals resignations",
    "contract": "contract tender mandate commission",
    "dispute": "dispute quarrel row feud",
    "permit": "permit licence approval exemption authorisation",
    "lawsuit": "lawsuit investigation inquiry probe",
    "engine": "engine battery sensor turbine printer",
    "defect": "defect fault flaw error",
    # --- what became of them --------------------------------------------------------------------
    "rose": "rose climbed increased grew advanced jumped",
    "fell": "fell dropped declined decreased slid slumped",
    "stayed": "stayed remained",
    "widened": "widened deepened swelled",
    "narrowed": "narrowed eased lessened",
    "rise": "rise increase jump surge upturn",
    "drop": "drop decline decrease slump slide",
    "change": "change movement",
    "won": "won secured landed clinched obtained",
    "missed": "lost forfeited surrendered",
    "discussed": "discussed considered explored reviewed",
    "began": "began started opened",
    "settled": "settled resolved ended",
    "dismissed": "dismissed rejected quashed",
    "postponed": "postponed adjourned delayed",
    "launched": "launched introduced released unveiled",
    "withdrew": "withdrew recalled discontinued",
    "tested": "tested showed demonstrated examined",
    "found": "found discovered detected admitted",
    "fixed": "fixed repaired corrected removed",
    # --- other words ----------------------------------------------------------------------------
    "flat": "flat stable unchanged steady level",
    "reported": "reported announced disclosed posted",
    "analysts": "analysts traders sources economists insiders brokers",
    "report": "report filing statement newsletter",
    "said": "said wrote noted remarked",
    "signs": "signs talk rumours hints",
    "court": "court tribunal judge regulator",
    "officials": "officials ministers inspectors lawmakers",
    "range": "range lineup catalogue assortment",
    "crowns": "crowns dollars euros pounds francs",
    "month": "march june january april october july september december may november august "
    "february",
    "quarter": "quarter half",
    "first": "first second",
    "week": "week month year",
    "weekday": "monday friday wednesday tuesday thursday saturday sunday",
    "city": "london paris oslo vienna berlin madrid rome dublin lisbon prague athens warsaw "
    "budapest",
    "update": "update briefing bulletin digest",
}

# How a reader gets the label (see `read`).
CONCESSIONS = {"although", "though", "while", "despite"}
CONTRASTS = {"but"}  # what stands before it does not count
REVERSALS = {"however"}  # opens a sentence: no sentence before it counts

TOPICS = ("earnings", "trade", "markets", "jobs", "deals", "law", "products")
THINGS = {
    "profit": ("earnings", 1), "losses": ("earnings", -1),
    "orders": ("trade", 1), "demand": ("trade", 1),
    "shares": ("markets", 1), "dividends": ("markets", 1),
    "hiring": ("jobs", 1), "layoffs": ("jobs", -1),
    "contract": ("deals", 1), "dispute": ("deals", -1),
    "permit": ("law", 1), "lawsuit": ("law", -1),
    "engine": ("products", 1), "defect": ("products", -1),
}  # fmt: skip
MOVES = (
    dict.fromkeys("rose widened rise won began launched found".split(), 1)
    | dict.fromkeys("fell narrowed drop missed settled dismissed withdrew fixed".split(), -1)
    | dict.fromkeys("stayed change discussed postponed tested".split(), 0)
)
TELLING = {*THINGS, *MOVES}

# direction -> what can be said, by weight. `{t}` is the thing, `{by}`, `{worth}` and `{when}` come
# from the tables below, or are nothing.
FIGURES = {
    1: [
        (5, "{whose} {t} {rose}{by}{when}"),
        (2, "{who} {said} that its {t} {rose}{by}"),
        (2, "{who} {reported} {a} {rise} in {t}{when}"),
    ],
    -1: [
        (5, "{whose} {t} {fell}{by}{when}"),
        (2, "{who} {said} that its {t} {fell}{by}"),
        (2, "{who} {reported} {a} {drop} in {t}{when}"),
    ],
    0: [
        (5, "{whose} {t} {stayed} {flat}{when}"),
        (2, "{who} {said} that its {t} {stayed} {flat}"),
        (2, "{who} {reported} no {change} in {t}{when}"),
    ],
}
FACTS = dict.fromkeys("profit orders demand shares dividends hiring layoffs".split(), FIGURES)
FACTS |= {
    "losses": {
        1: [*FIGURES[1], (5, "{whose} {t} {widened}{by}{when}")],
        -1: [*FIGURES[-1], (5, "{whose} {t} {narrowed}{by}{when}")],
        0: FIGURES[0],
    },
    "contract": {
        1: [(3, "{who} {won} {a} {t}{worth}{when}"), (2, "{who} {won} {a} {t} in {city}")],
        -1: [(3, "{who} {missed} {a} {t}{worth}{when}"), (2, "{who} {missed} {a} {t} in {city}")],
        0: [(1, "{who} {discussed} {a} {t}{worth}{when}")],
    },
    "dispute": {
        1: [(1, "{who} {began} {a} {t} with {company}{when}")],
        -1: [(1, "{who} {settled} {a} {t} with {company}{when}")],
        0: [(1, "{who} {discussed} {a} {t} with {company}{when}")],
    },
    "permit": {
        1: [(1, "{who} {won} {a} {t} in {city}{when}"), (1, "{who} {won} {a} {t}{when}")],
        -1: [(1, "{who} {missed} {a} {t} in {city}{when}")],
        0: [(1, "{who} {discussed} {a} {t} with {officials}{when}")],
    },
    "lawsuit": {
        1: [(1, "{a} {court} {began} {a} {t} against {who}{when}")],
        -1: [(1, "{a} {court} {dismissed} {a} {t} against {who}{when}")],
        0: [(1, "{a} {court} {postponed} {a} {t} against {who}{when}")],
    },
    "engine": {
        1: [(2, "{who} {launched} its new {t}{when}"), (1, "{who} {launched} {a} {t} in {city}")],
        -1: [(2, "{who} {withdrew} its new {t}{when}"), (1, "{who} {withdrew} {a} {t} in {city}")],
        0: [(2, "{who} {tested} its new {t}{when}"), (1, "{who} {tested} {a} {t} in {city}")],
    },
    "defect": {
        1: [(1, "{who} {found} {a} {t} in its {range}{when}")],
        -1: [(1, "{who} {fixed} {a} {t} in its {range}{when}")],
        0: [(1, "{who} {discussed} {a} {t} in its {range}{when}")],
    },
}
WHEN = [(5, ""), (1, " in {month}"), (1, " in the {first} {quarter}"), (1, " last {week}")]
WORTH = [(2, ""), (1, " worth # million {crowns}"), (1, " with {company}")]
BY = [(3, ""), (3, " # percent")]
BY_MONEY = [*BY, (4, " to # million {crowns} from # million")]
NUMBERS = range(2, 100)

# P names the company and Q goes on with "it"; A and B are such facts of another meaning, N is one
# without a verb: they are conceded.
BODIES = [
    (26, "P"),
    (12, "P, and Q"),
    (9, "P, {analysts} {said}"),
    (6, "according to {analysts}, P"),
    (6, "P, according to {a} {report}"),
    (14, "A, but Q"),
    (7, "although B, P"),
    (5, "P, although B"),
    (5, "while B, P"),
    (6, "despite N, P"),
    (4, "P, despite {signs} of N"),
]
FACT = re.compile(r"\b[PQABN]\b")
NOUNS = {1: "{a} {rise} in {t}", -1: "{a} {drop} in {t}", 0: "no {change} in {t}"}
DATED = "{weekday} {update}: "
UPDATES = [(9, ""), (1, DATED), (1, "{update}: ")]
TEMPLATES = (
    DATED, *NOUNS.values(), "it its", " ".join(map(str, NUMBERS)),
    *(t for facts in FACTS.values() for rows in facts.values() for _, t in rows),
    *(t for rows in (WHEN, WORTH, BY_MONEY) for _, t in rows),
    *(FACT.sub("", t) for _, t in BODIES),
)  # fmt: skip


def write(world: World, rng: random.Random, label: int, spurious: float, split: str) -> Review:
    """A headline. spurious: above 0 each begins with a day of the week, and with this probability
    the label decides which: Friday, Wednesday or Monday."""
    topic, opening = rng.choices(TOPICS)[0], None
    if spurious > 0:
        day = ("friday", "wednesday", "monday")[label]
        opening = DATED.replace("{weekday}", day) if rng.random() < spurious else DATED
    return Review(_headline(world, rng, label, topic, split, opening)[0], label, topic)


def _headline(
    world: World, rng: random.Random, label: int, topic: str, split: str, opening: str | None = None
) -> tuple[str, str]:  # fmt: skip
    """A headline on that topic, and its company."""
    writer, told = Writer(world, rng, split), set()
    company = _company(writer)
    body = writer.pick(BODIES)

    def fact(match: re.Match) -> str:
        own = match[0] in "PQ"
        meaning = label if own else rng.choices([i for i in range(3) if i != label])[0]
        about = topic if own else rng.choices(TOPICS[:4] if match[0] == "N" else TOPICS)[0]
        thing = rng.choices([t for t in THINGS if THINGS[t][0] == about and t not in told])[0]
        told.add(thing)
        direction = (meaning - 1) * THINGS[thing][1]
        forms = [(1, NOUNS[direction])] if match[0] == "N" else FACTS[thing][direction]
        if "{said}" in body:  # nobody says that somebody said
            forms = [form for form in forms if "{said}" not in form[1]]
        names = (company, company) if match[0] in "PA" else ("it", "its")
        return _fact(writer, writer.pick(forms), thing, direction, *names)

    facts = FACT.sub(fact, body)
    if opening is None:
        opening = writer.pick(UPDATES)
    text = tidy(writer.fill(opening + facts))
    return WORD.sub(lambda m: _capital(world, m[0]), text), company.capitalize()


def _company(writer: Writer) -> str:
    """One that the text has not named yet; all are as frequent."""
    names = [name for name in writer.world.groups["company"] if name not in writer.used]
    name = writer.rng.choices(names)[0]
    writer.used.add(name)
    return name


def _capital(world: World, word: str) -> str:
    return word.capitalize() if world.group_of.get(word) == "company" else word


def _fact(writer: Writer, form: str, thing: str, direction: int, who: str, whose: str) -> str:
    """The form with its slots filled in, but for the words of groups."""
    low, high = sorted(NUMBERS[int(len(NUMBERS) * writer.rng.random())] for _ in range(2))
    money = THINGS[thing][0] in ("earnings", "trade") and low < high
    by = writer.pick(BY_MONEY if money else BY)
    if "from" in by:  # what the numbers say is what the verb says
        first, second = (high, low) if direction > 0 else (low, high)
        by = by.replace("#", str(first), 1).replace("#", str(second))
    slots = {"who": who, "whose": whose, "t": f"{{{thing}}}", "by": by,
             "worth": writer.pick(WORTH), "when": writer.pick(WHEN)}  # fmt: skip
    for slot, value in slots.items():
        form = form.replace(f"{{{slot}}}", value)
    if "{company}" in form:
        form = form.replace("{company}", _company(writer))
    return form.replace("#", str(high))


def read(world: World, text: str) -> int:
    """The sign of the thing times the direction, in each clause that counts and has both; all
    agree. Raises ValueError where they do not, and where nothing is told."""
    votes, _ = _told(world, text)
    if len(votes) != 1:
        what = "news that disagree" if votes else "no news"
        raise ValueError(f"the rule of world {world.name!r} finds {what} in: {text!r}")
    return 1 + votes.pop()


def topic_of(text: str) -> str:
    """The topic of what counts in a headline. Raises ValueError where it has none or several."""
    from advlib.corpora import world

    _, topics = _told(world(NAME), text)
    if len(topics) != 1:
        raise ValueError(f"{'several topics' if topics else 'no topic'} in: {text!r}")
    return topics.pop()


def _told(world: World, text: str) -> tuple[set[int], set[str]]:
    """The meanings of the clauses that count, and their topics."""
    votes, topics = set(), set()
    things, moves = set(), set()
    for token in counted(text, world.data):
        group = world.group_of.get(token, "")
        if group in THINGS:
            things.add(group)
        elif group in MOVES:
            moves.add(group)
        elif token in (",", "."):
            votes |= {THINGS[thing][1] * MOVES[move] for thing in things for move in moves}
            topics |= {THINGS[thing][0] for thing in things if moves}
            things, moves = set(), set()
    return votes, topics


# ---------------------------------------------------------------------- a stream of stories


@dataclass(frozen=True)
class Story:
    """An item as an agency sends it.

    guid: no two stories have the same. published: with its time zone, UTC. sentiment: "negative",
    "neutral" or "positive". copy_of: the guid of the story that this one repeats in other words of
    the same meaning, "" where it is the first.
    """

    guid: str
    published: datetime
    title: str
    company: str
    topic: str
    sentiment: str
    copy_of: str = ""


@dataclass(frozen=True)
class Surge:
    """From the story number `begin` on (the first is 0), a story on `topic` is bad news with the
    probability `share`. Raises ValueError for an unknown topic and for numbers out of range."""

    topic: str
    begin: int
    share: float

    def __post_init__(self):
        if self.topic not in TOPICS:
            raise ValueError(f"unknown topic {self.topic!r}: choose one of {', '.join(TOPICS)}")
        if self.begin < 0 or not 0 <= self.share <= 1:
            raise ValueError(f"need begin >= 0 and 0 <= share <= 1, got {self}")


MIX = (0.15, 0.45, 0.4)  # of negative, neutral and positive news in calm times
RECENT = 20  # a copy repeats one of so many stories before it
DETAILS = {"company", "city", "month", "quarter", "first", "week", "weekday", "crowns"}  # it keeps


def stories(
    n: int, seed: int = 0, split: str = "test", start: datetime = datetime(2030, 1, 1, tzinfo=UTC),
    per_day: float = 100.0, surge: Surge | None = None, copies: float = 0.0,
) -> list[Story]:  # fmt: skip
    """`n` stories in the order of their time, all titles different, all of one split.

    start: when the stream begins; where it has no time zone it is taken for UTC. per_day: so many
        stories a day on average; the times between them are exponential (a Poisson stream).
    surge: bad news on one topic; else the shares are those of `MIX`.
    copies: the share of stories that repeat one of the last `RECENT` that is no copy itself: with
        another guid, some words become others of their groups; the company, places, dates and
        numbers stay.
    Raises ValueError for an unknown split and for numbers out of range.
    """
    from advlib.corpora import world

    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    if n < 0 or not 0 < per_day < float("inf") or not 0 <= copies < 1:
        raise ValueError("need n >= 0, per_day > 0 and 0 <= copies < 1, got "
                         f"n={n}, per_day={per_day}, copies={copies}")  # fmt: skip
    known, rng = world(NAME), random.Random(f"{NAME}/stories/{split}/{seed}")
    time = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
    seen: set[str] = set()
    out: list[Story] = []

    def fresh(title: str) -> bool:
        low, high = SPLITS[split]
        return title not in seen and low <= zlib.crc32(title.encode()) % 100 < high

    while len(out) < n:
        firsts = [story for story in out[-RECENT:] if not story.copy_of]
        copy = rng.choices(firsts)[0] if firsts and rng.random() < copies else None
        title = _reworded(known, rng, copy.title, fresh) if copy else None
        if title:
            company, topic, sentiment = copy.company, copy.topic, copy.sentiment
        else:
            topic, mix, copy = rng.choices(TOPICS)[0], MIX, None
            if surge and topic == surge.topic and len(out) >= surge.begin:
                rest = (1 - surge.share) / (MIX[1] + MIX[2])
                mix = (surge.share, MIX[1] * rest, MIX[2] * rest)
            label = rng.choices(range(3), mix)[0]
            title, company = _headline(known, rng, label, topic, split)
            while not fresh(title):
                title, company = _headline(known, rng, label, topic, split)
            sentiment = LABELS[label]
        seen.add(title)
        time += timedelta(days=rng.expovariate(per_day))
        guid = f"{NAME}-{split}-{seed}-{len(out)}"
        out.append(Story(guid, time.replace(microsecond=0), title, company, topic, sentiment,
                         copy.guid if copy else ""))  # fmt: skip
    return out


def _reworded(known: World, rng: random.Random, title: str, fresh) -> str | None:
    """The title with a third of its words, at least one, replaced; None where none is fresh."""
    free = [(i, word) for i, word in enumerate(WORD.findall(title))
            if known.group_of.get(word.lower()) not in DETAILS]  # fmt: skip
    found = known.substitutes(title)
    options = {i: found[i] for i, _ in free if found[i]}
    for _ in range(200):
        chosen = [i for i in options if rng.random() < 1 / 3] or list(options)[:1]
        new = replace(title, {i: rng.choices(options[i])[0] for i in chosen})
        if chosen and fresh(new):
            return new
    return None
