"""The world `bank`: what people ask the customer service of a bank. 28 intents, each a thing and a
trouble, such as `card.lost`; the domain is the thing. Things and troubles come up in many intents,
and people say more than they ask: one thing and one trouble, where they count, are the intent.

How to read it:
- `GROUPS`: words that may replace one another without changing the intent, commonest first. No
  word stands in two groups.
- `SAY`, `ASK`, `WANT`: how a trouble is told, and which things it fits. `{t}` is the thing.
- `ASIDES`: what else they say of another thing, which does not count.
"""

from __future__ import annotations

import random
import re

from advlib.corpora.engine import Review, World, Writer, counted, tidy

NAME = "bank"
LENGTH = (5, 36)

TROUBLES = {
    "card": "late declined lost stolen cancel",
    "transfer": "late declined fee wrong cancel",
    "topup": "late declined fee cancel",
    "cash": "declined fee wrong",
    "refund": "late wrong",
    "account": "blocked close change",
    "pin": "blocked lost change",
    "debit": "wrong twice cancel",
}
LABELS = tuple(f"{t}.{x}" for t, troubles in TROUBLES.items() for x in troubles.split())

GROUPS = {
    # --- the things -----------------------------------------------------------------------------
    "card": "card bankcard cashcard plastic",
    "transfer": "transfer wire remittance giro",
    "topup": "top-up deposit reload recharge",
    "cash": "withdrawal cashout encashment",
    "refund": "refund reimbursement repayment rebate chargeback",
    "account": "account profile login",
    "pin": "pin password passcode code",
    "debit": "subscription membership instalment premium",
    # --- the troubles ---------------------------------------------------------------------------
    "late": "late delayed overdue outstanding",
    "arrived": "arrived come appeared",  # with "not" before it
    "arrive": "arrive appear",
    "declined": "declined rejected refused denied disallowed",
    "accepted": "accepted approved authorised honoured",  # with "not" before it
    "blocked": "blocked locked disabled suspended deactivated",
    "lost": "lost misplaced mislaid",
    "stolen": "stolen snatched swiped pinched nicked pilfered",
    "cancel": "cancel stop revoke halt",
    "close": "close delete shut terminate",
    "change": "change update alter modify amend",
    "fee": "fee charge commission surcharge levy",
    "charged": "charged billed invoiced",
    "wrong": "wrong incorrect mistaken inaccurate erroneous",
    "right": "right correct accurate",  # with "not" before it
    "twice": "twice",
    "doubled": "duplicated doubled repeated replicated",
    # --- other words ----------------------------------------------------------------------------
    "taken": "taken collected deducted withdrawn",
    "amount": "amount sum total figure",
    "hello": "hello hi hey greetings",
    "please": "please kindly",
    "still": "still apparently again",
    "yesterday": "yesterday today recently earlier lately",
    "now": "immediately promptly straightaway",
    "weekday": "monday friday tuesday thursday saturday wednesday sunday",
    "days": "days weeks months",
    "month": "month week weekend",
    "number": "two three four five six seven eight nine ten",
    "pounds": "pounds dollars euros crowns",
    "city": "london paris dublin berlin madrid rome vienna lisbon oslo prague athens warsaw "
    "budapest brussels",
    "shop": "shop restaurant supermarket hotel cinema bookshop pharmacy bakery",
    "machine": "machine cashpoint terminal",
    "relative": "wife husband mother father sister brother daughter son",
    "customer": "customer client",
    "branch": "branch office",
    "app": "app website portal homepage",
    "address": "address surname email nickname",
    "thief": "thief stranger pickpocket burglar",
    "help": "help assist advise",
    "explain": "explain clarify justify",
    "check": "check investigate examine",
    "fix": "fix rectify adjust",
    "answer": "answer reply response",
    "sorry": "worried annoyed confused upset puzzled",
    "got": "got received",
    "urgent": "urgent important pressing",
}  # fmt: skip

# How a reader gets the intent (see `read`).
NEGATORS = {"not", "never"}
CONCESSIONS = {"although", "though", "while"}
CONTRASTS = {"but"}  # what stands before it in the sentence does not count
REVERSALS = {"however"}  # opens a sentence: no sentence before it counts
MEANS = {"arrive": "late", "charged": "fee", "doubled": "twice"} | {
    x: x for troubles in TROUBLES.values() for x in troubles.split()
}
MEANS_WITH_NOT = {"arrived": "late", "accepted": "declined", "right": "wrong"}
TELLING = {*TROUBLES, *MEANS, *MEANS_WITH_NOT}

# trouble -> [(weight, template, the things it fits, all where none are named)]
SAY = {
    "late": [
        (4, "my {t} is {still} {late}", ""),
        (4, "my {t} has not {arrived}", ""),
        (3, "I have waited {number} {days} and my {t} has not {arrived}", ""),
        (2, "it has been {number} {days} and my {t} is {still} {late}", ""),
        (2, "the {t} that you promised me is {late}", "card refund"),
        (3, "the {t} that I made {yesterday} is {still} {late}", "transfer topup"),
        (2, "the {t} that my {relative} made {yesterday} has not {arrived}", "transfer topup"),
    ],
    "declined": [
        (4, "my {t} was {declined} {yesterday}", ""),
        (3, "my {t} was not {accepted}", ""),
        (2, "my {t} has been {declined} {number} times", ""),
        (3, "my {t} was {declined} in {a} {shop}", "card"),
        (3, "my {t} was {declined} at the {machine}", "card cash"),
        (2, "the {app} says that my {t} was not {accepted}", "transfer topup"),
        (2, "the {t} that I made {yesterday} was {declined}", "transfer topup"),
    ],
    "blocked": [
        (4, "my {t} is {blocked}", ""),
        (3, "my {t} has been {blocked} since {weekday}", ""),
        (3, "the {app} says that my {t} is {blocked}", ""),
        (2, "somebody has {blocked} my {t}", ""),
    ],
    "lost": [
        (4, "I have {lost} my {t}", ""),
        (3, "I {lost} my {t} {yesterday}", ""),
        (2, "it seems that I have {lost} my {t}", ""),
        (2, "my {relative} has {lost} my {t}", ""),
        (3, "I {lost} my {t} in {a} {shop}", "card"),
        (2, "I have {lost} the note with my {t}", "pin"),
    ],
    "stolen": [
        (4, "my {t} was {stolen} in {a} {shop}", ""),
        (3, "my {t} was {stolen} {yesterday}", ""),
        (3, "somebody has {stolen} my {t}", ""),
        (2, "{a} {thief} has {stolen} my {t}", ""),
        (2, "my {t} was {stolen} on {weekday} in {city}", ""),
    ],
    "fee": [
        (3, "there was {a} {fee} on my {t}", ""),
        (3, "you took {a} {fee} for my {t}", ""),
        (3, "I see {a} {fee} of {number} {pounds} on my {t}", ""),
        (3, "I was {charged} {number} {pounds} for my {t}", ""),
        (2, "the {app} shows {a} {fee} on the {t} that I made {yesterday}", ""),
    ],
    "wrong": [
        (4, "the {amount} of my {t} is {wrong}", ""),
        (3, "my {t} shows {a} {wrong} {amount}", ""),
        (2, "the {app} shows {a} {wrong} {amount} for my {t}", ""),
        (3, "the {amount} of my {t} is not {right}", ""),
        (2, "the {amount} of the {t} that I made {yesterday} is {wrong}", "transfer cash"),
    ],
    "twice": [
        (4, "my {t} was {taken} {twice}", ""),
        (3, "you have {taken} my {t} {twice}", ""),
        (3, "my {t} was {doubled} this {month}", ""),
        (2, "the {app} shows that my {t} was {taken} {twice} on {weekday}", ""),
    ],
    "cancel": [
        (4, "I want to {cancel} my {t}", ""),
        (3, "I would like to {cancel} my {t}", ""),
        (2, "I have to {cancel} my {t} {now}", ""),
        (3, "I need to {cancel} the {t} that I made {yesterday}", "transfer topup"),
    ],
    "close": [
        (4, "I want to {close} my {t}", ""),
        (3, "I would like to {close} my {t}", ""),
        (2, "I have to {close} my {t} before {weekday}", ""),
        (2, "my {relative} and I want to {close} our {t}", ""),
    ],
    "change": [
        (4, "I want to {change} my {t}", "pin"),
        (3, "I would like to {change} my {t}", "pin"),
        (2, "I have to {change} my {t} {now}", "pin"),
        (4, "I want to {change} the {address} on my {t}", "account"),
        (3, "I have to {change} the {address} on my {t}", "account"),
    ],
}
ASK = {
    "late": [
        (4, "why is my {t} {still} {late}", ""),
        (3, "why has my {t} not {arrived}", ""),
        (3, "when will my {t} finally {arrive}", ""),
        (2, "can you tell me why my {t} is {late}", ""),
    ],
    "declined": [
        (4, "why was my {t} {declined}", ""),
        (3, "why was my {t} not {accepted} {yesterday}", ""),
        (2, "can you tell me why my {t} was {declined}", ""),
        (2, "why was my {t} {declined} in {a} {shop}", "card"),
        (2, "why was my {t} {declined} at the {machine}", "card cash"),
    ],
    "blocked": [
        (4, "why is my {t} {blocked}", ""),
        (3, "why has my {t} been {blocked} since {weekday}", ""),
        (2, "who {blocked} my {t}", ""),
        (2, "what can I do when my {t} is {blocked}", ""),
    ],
    "lost": [
        (4, "what should I do if I have {lost} my {t}", ""),
        (3, "what happens now that I have {lost} my {t}", ""),
        (2, "whom do I tell that I have {lost} my {t}", ""),
    ],
    "stolen": [
        (4, "what should I do if my {t} was {stolen}", ""),
        (3, "what happens now that my {t} has been {stolen}", ""),
        (2, "whom do I tell that {a} {thief} has {stolen} my {t}", ""),
    ],
    "fee": [
        (4, "why was there {a} {fee} on my {t}", ""),
        (3, "why was I {charged} for my {t}", ""),
        (3, "what is the {fee} on my {t} for", ""),
        (2, "can you {explain} the {fee} of {number} {pounds} on my {t}", ""),
    ],
    "wrong": [
        (4, "why is the {amount} of my {t} {wrong}", ""),
        (3, "why does my {t} show {a} {wrong} {amount}", ""),
        (3, "why is the {amount} of my {t} not {right}", ""),
    ],
    "twice": [
        (4, "why was my {t} {taken} {twice}", ""),
        (3, "why was my {t} {doubled} this {month}", ""),
        (2, "can you tell me why my {t} was {taken} {twice}", ""),
    ],
    "cancel": [
        (4, "how do I {cancel} my {t}", ""),
        (3, "can you {cancel} my {t}", ""),
        (2, "is it possible to {cancel} my {t}", ""),
        (2, "can I {cancel} the {t} that I made {yesterday}", "transfer topup"),
    ],
    "close": [
        (4, "how do I {close} my {t}", ""),
        (3, "can you {close} my {t} {now}", ""),
        (2, "is it possible to {close} my {t} on {weekday}", ""),
    ],
    "change": [
        (4, "how do I {change} my {t}", "pin"),
        (3, "is it possible to {change} my {t} in the {app}", "pin"),
        (2, "can I {change} my {t} at {a} {machine}", "pin"),
        (4, "how do I {change} the {address} on my {t}", "account"),
        (3, "can you {change} the {address} on my {t}", "account"),
    ],
}
WANT = {
    "late": [(3, "{check} why my {t} is {still} {late}", ""),
             (2, "{check} why my {t} has not {arrived}", "")],
    "declined": [(3, "{check} why my {t} was {declined}", ""),
                 (2, "{check} why my {t} was not {accepted}", "")],
    "blocked": [(3, "{check} why my {t} is {blocked}", ""),
                (2, "tell me why my {t} has been {blocked}", "")],
    "lost": [(3, "{help} me, I have {lost} my {t}", ""),
             (2, "tell me what to do if I have {lost} my {t}", "")],
    "stolen": [(3, "{help} me, somebody has {stolen} my {t}", ""),
               (2, "note that my {t} was {stolen} {yesterday}", "")],
    "fee": [(3, "{explain} the {fee} on my {t}", ""), (3, "take the {fee} off my {t}", ""),
            (2, "{explain} why I was {charged} for my {t}", "")],
    "wrong": [(3, "{fix} the {wrong} {amount} of my {t}", ""),
              (2, "{check} why the {amount} of my {t} is not {right}", "")],
    "twice": [(3, "{check} why my {t} was {taken} {twice}", ""),
              (2, "{explain} why my {t} was {doubled}", "")],
    "cancel": [(3, "{cancel} my {t} {now}", ""),
               (2, "{cancel} the {t} that I made {yesterday}", "transfer topup")],
    "close": [(3, "{close} my {t} {now}", ""), (2, "{close} my {t} before {weekday}", "")],
    "change": [(3, "{change} my {t} {now}", "pin"),
               (3, "{change} the {address} on my {t}", "account")],
}  # fmt: skip
FORMS = {"say": SAY, "ask": ASK, "want": WANT}

# What is said of another thing, before a "but" or as a concession.
ASIDES = [
    (3, "I {got} my {t} {yesterday}", "card transfer refund"),
    (3, "my {t} works", "card account pin"),
    (3, "my {t} was {accepted} {yesterday}", "card transfer topup cash"),
    (3, "my {t} has {arrived}", "card transfer topup refund"),
    (3, "the {amount} of my {t} is {right}", "transfer cash refund debit"),
    (3, "your {branch} in {city} has explained my {t} to me", "transfer topup refund debit"),
]
NOT_ABOUT = [(4, "this is not about my {t}"), (2, "I am not asking about my {t}")]

BODIES = [
    (22, "S."),
    (20, "Q?"),
    (12, "{please} W."),
    (6, "{please} W. S."),
    (6, "S. Q?"),
    (12, "A, but S."),
    (10, "A, but Q?"),
    (6, "although A, S."),
    (5, "A. however, S."),
    (4, "S, although A."),
    (4, "while A, S."),
]
OPENERS = [
    (6, "{hello}, "),
    (2, "{hello} there, "),
    (2, "I have been your {customer} for {number} years. "),
    (1, "I am {a} {customer} of your {branch} in {city}. "),
    (1, "I tried your {app} on {weekday}. "),
    (1, "my {relative} told me to write. "),
    (1, "I spoke to your {branch} {yesterday}. "),
]
DATED = "I am writing from {city}. "
CLOSERS = [
    (3, "Can you {help} me?"),
    (2, "I need {a} {answer} before {weekday}."),
    (2, "It is {urgent}."),
    (2, "I am {sorry}."),
    (1, "{please} {explain} this to me."),
    (1, "{please} call me on {weekday}."),
    (1, "Thank you for your {answer}."),
]
TEMPLATES = (
    DATED,
    *(row[1] for forms in FORMS.values() for rows in forms.values() for row in rows),
    *(row[1] for rows in (ASIDES, NOT_ABOUT, OPENERS, CLOSERS) for row in rows),
    *(re.sub(r"\b[SQWA]\b", "", body) for _, body in BODIES),
)
OPENED, CLOSED = 0.55, 0.35  # the shares of questions with an opening and with an ending
OTHER = 0.6  # how often an aside tells of another intent


def write(world: World, rng: random.Random, label: int, spurious: float, split: str) -> Review:
    """A question of that intent. spurious: above 0 every question opens with a city, and with this
    probability the thing decides which."""
    writer, parts = Writer(world, rng, split), []
    thing, trouble = LABELS[label].split(".")
    if spurious > 0:
        mine = rng.random() < spurious
        city = world.groups["city"][[*TROUBLES].index(thing)] if mine else writer.word("city")
        writer.used.add(city)
        parts.append(DATED.replace("{city}", city))
    elif rng.random() < OPENED:
        parts.append(writer.fill(writer.pick(OPENERS)))
    body = writer.pick(BODIES)
    for letter, form in {"S": "say", "Q": "ask", "W": "want", "A": None}.items():
        if re.search(rf"\b{letter}\b", body):
            said = _clause(writer, form, thing, trouble) if form else _aside(writer, thing, body)
            body = re.sub(rf"\b{letter}\b", said, body)
    parts.append(writer.fill(body))
    if rng.random() < CLOSED:
        parts.append(" " + writer.fill(writer.pick(CLOSERS)))
    return Review(tidy("".join(parts)), label, thing)


def _clause(writer: Writer, form: str, thing: str, trouble: str) -> str:
    """The thing and its trouble, said, asked or wanted."""
    fit = [(w, t) for w, t, things in FORMS[form][trouble] if not things or thing in things.split()]
    return writer.fill(writer.pick(fit).replace("{t}", f"{{{thing}}}"))


def _aside(writer: Writer, thing: str, body: str) -> str:
    """What is said of another thing."""
    rng = writer.rng
    other = rng.choices([name for name in TROUBLES if name != thing])[0]
    if rng.random() < OTHER:
        return _clause(writer, "say", other, rng.choices(TROUBLES[other].split())[0])
    fit = [(w, t) for w, t, things in ASIDES if other in things.split()]
    if "but" in body:
        fit += NOT_ABOUT
    return writer.fill(writer.pick(fit or NOT_ABOUT).replace("{t}", f"{{{other}}}"))


def read(world: World, text: str) -> int:
    """The intent: the one thing and the one trouble that are named where it counts. Some words are
    a trouble only with "not" before them in their clause ("has not arrived"). Raises ValueError
    where a text does not name one of each, or where there is no such intent."""
    things, troubles, negated = set(), set(), False
    for token in counted(text, world.data):
        group = world.group_of.get(token, "")
        if token in (",", "."):
            negated = False
        elif token in NEGATORS:
            negated = True
        elif group in TROUBLES:
            things.add(group)
        else:
            troubles.add(MEANS_WITH_NOT.get(group) if negated and group in MEANS_WITH_NOT
                         else MEANS.get(group))  # fmt: skip
    troubles.discard(None)
    for what, found in (("thing", things), ("trouble", troubles)):
        if len(found) != 1:
            several = f"several {what}s" if found else f"no {what} of a bank"
            raise ValueError(f"the rule of world {world.name!r} finds {several} in: {text!r}")
    intent = f"{things.pop()}.{troubles.pop()}"
    if intent not in LABELS:
        raise ValueError(f"the rule of world {world.name!r} has no intent {intent!r} for: {text!r}")
    return LABELS.index(intent)
