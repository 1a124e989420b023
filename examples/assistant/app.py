"""What happens to a question.

1. A classifier says its intent. It is sure, and some past question is like this one: the answer
   that most sources give to that intent.
2. It is not sure: the sources of the nearest past questions vote, and where the vote is clear
   enough, that is the answer.
3. Otherwise a person answers; whoever asked looks for the answer with a ticket.

How sure is sure enough? The thresholds are chosen at the start, on past questions whose answer is
known and that were kept from the model, so that at most a share `most_wrong` of these is answered
wrongly. But a classifier is sure of questions that it has never seen the like of, too. So a
question must also be as near to a past one as 98 % of the past ones are to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from advlib.fairness import conformal_threshold
from advlib.systems.retrieval import threshold_for, vote
from examples.assistant.classifier import EMBEDDED, LETTERS, LettersLinear, load_model
from examples.assistant.history import ANSWERS, LONGEST_QUESTION
from examples.assistant.store import QuestionStore
from examples.serving import Limiter, ServingError, usable

CALIBRATE_ON, TOO_FEW = 400, 20  # past questions
SURE, CLEAR = 0.9, 0.7  # the thresholds where there are too few to choose them on
UNLIKE = 0.02  # the share of past questions that would seem to be of another kind
PROMISE = "A person will answer this. Ask again with your ticket in a while."


@dataclass(frozen=True)
class Reply:
    """by: "intent", "store" or "person". ticket: where a person will answer."""

    answer: str
    by: str
    intent: str | None
    confidence: float
    ticket: str | None = None

    def as_dict(self) -> dict:
        return asdict(self)


class Assistant:
    """model: "letters", an embedded model or a folder; None: the embedded one where the store holds
    the embedded bank's intents, otherwise letters. Raises ServingError."""

    def __init__(self, store: QuestionStore, model: str | None = None, most_wrong: float = 0.05,
                 limiter: Limiter | None = None):  # fmt: skip
        if not 0 <= most_wrong <= 1:
            raise ServingError(f"--most-wrong is a share from 0 to 1, got {most_wrong!r}")
        self.store, self.limiter, self.most_wrong = store, limiter or Limiter(), most_wrong
        self.model, self.name = None, "none: the store has no intents"
        self.sure, self.clear, self.like = SURE, CLEAR, 0.0
        rows, intents = store.history(), store.intents()
        known = [row for row in rows if row["intent"]]
        if intents:
            self.name = model or (EMBEDDED if set(intents) <= set(ANSWERS) else LETTERS)
        if intents and self.name != LETTERS:
            self.model = load_model(self.name, intents)
            self._calibrate(spread(rows, CALIBRATE_ON))
        elif intents:  # some are kept from it, then it reads all of them
            held_out = spread(rows, min(CALIBRATE_ON, len(rows) // 4))
            numbers = {row["id"] for row in held_out}
            self.model = fitted([row for row in known if row["id"] not in numbers])
            self._calibrate(held_out)
            self.model = fitted(known)
        else:
            self._calibrate(spread(rows, CALIBRATE_ON))

    def _calibrate(self, rows: Sequence[dict]) -> None:
        """Choose the thresholds: those of the classifier, then that of the vote on what is left."""
        near = {row["id"]: self.store.search(row["question"], row["question"]) for row in rows}
        if len(rows) >= TOO_FEW:
            far = [1 - nearest(near[row["id"]]) for row in rows]
            self.like = max(0.0, 1 - conformal_threshold(far, UNLIKE))
        named = [row for row in rows if row["intent"]]
        if self.model is not None and len(named) >= TOO_FEW:
            found, sure = self.classify([row["question"] for row in named])
            right = [name == row["intent"] for name, row in zip(found, named, strict=True)]
            self.sure = threshold_for(sure, right, self.most_wrong)
            passed = {row["id"] for row, c in zip(named, sure, strict=True) if c >= self.sure}
            rows = [row for row in rows if row["id"] not in passed]
        if len(rows) >= TOO_FEW:
            voted = [by_vote(near[row["id"]]) for row in rows]
            right = [key == key_of(row) for (key, _), row in zip(voted, rows, strict=True)]
            self.clear = threshold_for([share for _, share in voted], right, self.most_wrong)

    # ------------------------------------------------------------------ a question

    def ask(self, question: str, client: str) -> Reply:
        """Answer a question. Raises TooMany for a client who asks too often, and ServingError for
        what is no question."""
        self.limiter.take(client)
        question = usable(question, "the question", LONGEST_QUESTION)
        reply = self.think(question)
        if reply.by == "person":
            ticket = self.store.hand_over(question, client, reply.intent, reply.confidence)
            reply = Reply(reply.answer, "person", reply.intent, reply.confidence, ticket)
        self.store.count(reply.by)
        return reply

    def think(self, question: str) -> Reply:
        """What the assistant would say; nothing is written down."""
        near, intent, confidence = self.store.search(question), None, 0.0
        if self.model is not None:
            (intent,), (confidence,) = self.classify([question])
            sure = confidence >= self.sure and nearest(near) >= self.like
            if sure and (answer := self.store.answer_of(intent)):
                return Reply(answer, "intent", intent, confidence)
        (kind, what), support = by_vote(near)
        answer = self.store.answer_of(what) if kind == "intent" else what
        if answer and support >= self.clear:
            return Reply(answer, "store", what if kind == "intent" else None, support)
        return Reply(PROMISE, "person", intent, confidence)

    def classify(self, questions: Sequence[str]) -> tuple[list[str], list[float]]:
        """The likeliest intent of each, and how sure the model is of it."""
        found = self.model.predict(questions)
        names = [self.model.labels[i] for i in found.argmax(1)]
        return names, found.max(1).tolist()


def nearest(near: list[dict]) -> float:
    """How near the nearest entry of a search is."""
    return near[0]["similarity"] if near else 0.0


def by_vote(near: list[dict]) -> tuple[tuple[str, str], float]:
    """What the sources of these entries say (see `key_of`), and how far to trust it: how near the
    nearest that says so is, times its share of the vote."""
    if not near:
        return ("answer", ""), 0.0
    votes = vote((key_of(row), row["source"], row["similarity"]) for row in near)
    first, weight = votes[0]
    closest = max(row["similarity"] for row in near if key_of(row) == first)
    return first, closest * weight / sum(w for _, w in votes)


def key_of(row: dict) -> tuple[str, str]:
    """What an entry says: its intent, or, where none is known, its answer."""
    return ("intent", row["intent"]) if row["intent"] else ("answer", row["answer"])


def spread(rows: list[dict], most: int) -> list[dict]:
    """So many of the rows at most, from all over them."""
    return rows if len(rows) <= most else [rows[i * len(rows) // most] for i in range(most)]


def fitted(rows: Sequence[dict]) -> LettersLinear:
    return LettersLinear([row["question"] for row in rows], [row["intent"] for row in rows])
