"""What the assistant knows, in one SQLite file.

An *entry* is a past question, its answer, its intent where one is known, and its source: who
answered. It is `served`, in `quarantine` until a second person has confirmed it, or `rejected`.
A question that nobody can answer yet is *waiting* for a person.

Everything that belongs together is one transaction, so a process that is killed leaves all of it or
nothing. Texts are values and never SQL, nor a part of FTS5's query language (`match_query`).
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from advlib.systems.retrieval import fold, match_query, similarity
from examples.assistant.history import LONGEST_ANSWER, LONGEST_NAME
from examples.serving import ServingError, open_store, usable

IMPORT = "import"  # who decided about an entry of an imported history
MOST_OF_A_CLIENT, MOST_WAITING = 20, 10_000  # questions that wait for a person

SCHEMA = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, question TEXT NOT NULL, answer TEXT NOT NULL, intent TEXT NOT NULL,
    source TEXT NOT NULL, state TEXT NOT NULL CHECK (state IN ('served', 'quarantine', 'rejected')),
    decided_by TEXT, added TEXT NOT NULL, UNIQUE (question, answer, intent, source)
);
CREATE INDEX of_intent ON entries (intent, state);
CREATE VIRTUAL TABLE letters USING fts5(question, content='', tokenize='trigram');
CREATE TABLE waiting (
    id INTEGER PRIMARY KEY, ticket TEXT NOT NULL UNIQUE, question TEXT NOT NULL,
    folded TEXT NOT NULL, client TEXT NOT NULL, intent TEXT, confidence REAL, asked TEXT NOT NULL,
    entry INTEGER REFERENCES entries
);
CREATE INDEX open_questions ON waiting (client, folded) WHERE entry IS NULL;
CREATE TABLE staff (name TEXT PRIMARY KEY, key TEXT NOT NULL UNIQUE);
CREATE TABLE tally (
    day TEXT NOT NULL, outcome TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (day, outcome)
);
"""


class NotThere(ServingError):
    status = 404


class NotStaff(ServingError):
    status = 403


class QuestionStore:
    """The store in a file, made where there is none. Raises ServingError (see `open_store`)."""

    def __init__(self, path: str | Path):
        self.store = open_store(path, SCHEMA)
        self.rows, self.writing, self.close = self.store.rows, self.store.writing, self.store.close

    # ------------------------------------------------------------------ what is known

    def add(self, rows: Iterable[dict]) -> tuple[int, int]:
        """Add a history that somebody vouches for: all of it or, where anything goes wrong,
        nothing. Its entries are served at once. Returns how many were new, and how many there
        already."""
        new = old = 0
        with self.writing() as db:
            for row in rows:
                if self._insert(db, row, "served", IMPORT) is None:
                    old += 1
                else:
                    new += 1
        return new, old

    def _insert(self, db, row: dict, state: str, by: str | None) -> int | None:
        """The number of the new entry, or None where it was there already."""
        done = db.execute(
            "INSERT OR IGNORE INTO entries (question, answer, intent, source, state, decided_by, "
            "added) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row["question"], row["answer"], row["intent"], row["source"], state, by, now()),
        )  # fmt: skip
        if not done.rowcount:
            return None
        if state == "served":
            self._index(db, done.lastrowid, row["question"])
        return done.lastrowid

    @staticmethod
    def _index(db, number: int, question: str) -> None:
        db.execute("INSERT INTO letters (rowid, question) VALUES (?, ?)", (number, fold(question)))

    def search(self, question: str, without: str | None = None, of_a_source: int = 5,
               most: int = 50) -> list[dict]:  # fmt: skip
        """The served entries whose letters are nearest, the nearest first, each with its
        `similarity`, above 0 and at most 1.

        without: leave entries with this question out, to see what the others would say of it.
        of_a_source: of one source so many at most, or one could fill the list with its own.
        """
        found = self.rows(
            "SELECT * FROM (SELECT e.id, e.question, e.answer, e.intent, e.source, letters.rank AS "
            "far, row_number() OVER (PARTITION BY e.source ORDER BY letters.rank) AS place "
            "FROM letters JOIN entries e ON e.id = letters.rowid "
            "WHERE letters MATCH ? AND e.state = 'served') WHERE place <= ? ORDER BY far LIMIT ?",
            match_query(question), of_a_source + (without is not None), most,
        )  # fmt: skip
        left = [row for row in found if without is None or fold(row["question"]) != fold(without)]
        near = [row | {"similarity": similarity(question, row["question"])} for row in left]
        return sorted((row for row in near if row["similarity"]), key=lambda r: -r["similarity"])

    def answer_of(self, intent: str) -> str | None:
        """The answer that most sources give to questions of an intent; of equals the oldest. None
        where nobody has answered one."""
        found = self.rows(
            "SELECT answer FROM entries WHERE intent = ? AND state = 'served' AND answer <> '' "
            "GROUP BY answer ORDER BY count(DISTINCT source) DESC, min(id) LIMIT 1", intent,
        )  # fmt: skip
        return found[0]["answer"] if found else None

    def intents(self) -> list[str]:
        sql = "SELECT DISTINCT intent FROM entries WHERE intent <> '' AND state = 'served'"
        return sorted(row["intent"] for row in self.rows(sql))

    def history(self) -> list[dict]:
        """All served entries: id, question, answer, intent."""
        return self.rows("SELECT id, question, answer, intent FROM entries WHERE state = 'served' "
                         "ORDER BY id")  # fmt: skip

    # ------------------------------------------------------------------ what waits for a person

    def hand_over(self, question: str, client: str, intent: str | None, confidence: float) -> str:
        """Let a question wait for a person. Returns the ticket that its client asks again with; who
        asks the same again gets the same one.

        Raises ServingError where too many wait, of this client or in all.
        """
        with self.writing() as db:
            mine = self.rows("SELECT ticket, folded FROM waiting WHERE client = ? AND entry IS "
                             "NULL", client)  # fmt: skip
            for row in mine:
                if row["folded"] == fold(question):
                    return row["ticket"]
            if len(mine) >= MOST_OF_A_CLIENT:
                raise ServingError(f"{len(mine)} of your questions wait for a person already: "
                                   "ask again when they have been answered")  # fmt: skip
            waiting = self.rows("SELECT count(*) AS n FROM waiting WHERE entry IS NULL")[0]["n"]
            if waiting >= MOST_WAITING:
                raise ServingError("too many questions wait for a person: please come back later")
            ticket = secrets.token_urlsafe(12)  # nobody reads another's by counting
            db.execute(
                "INSERT INTO waiting (ticket, question, folded, client, intent, confidence, asked) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (ticket, question, fold(question), client, intent, confidence, now()),
            )  # fmt: skip
        return ticket

    def queue(self, most: int = 100) -> list[dict]:
        """The questions that wait, clients taking turns: whoever asks a lot delays only himself."""
        return self.rows(
            "SELECT id, question, intent, confidence, asked FROM waiting WHERE entry IS NULL ORDER "
            "BY row_number() OVER (PARTITION BY client ORDER BY id), id LIMIT ?", most,
        )  # fmt: skip

    def ticket(self, ticket: str) -> dict:
        """The question of a ticket and a person's answer, None while it waits."""
        found = self.rows("SELECT w.question, e.answer FROM waiting w LEFT JOIN entries e ON "
                          "e.id = w.entry WHERE w.ticket = ?", ticket)  # fmt: skip
        if not found:
            raise NotThere("there is no such ticket: ask the question again")
        return found[0]

    def answer(self, number: int, answer: str, who: str, intent: str = "") -> int:
        """A person answers a waiting question, and all others that read the same. Whoever asked
        gets the answer with the ticket; as an entry it stays in quarantine. Returns how many were
        answered."""
        answer = usable(answer, "the answer", LONGEST_ANSWER)
        intent = usable(intent, "the intent", LONGEST_NAME) if intent else ""
        with self.writing() as db:
            found = self.rows("SELECT question, folded, entry FROM waiting WHERE id = ?", number)
            if not found:
                raise NotThere(f"there is no question with the number {number}")
            if found[0]["entry"] is not None:
                raise ServingError(f"question {number} has been answered already: show the queue "
                                   "anew")  # fmt: skip
            row = dict(question=found[0]["question"], answer=answer, intent=intent, source=who)
            entry = self._insert(db, row, "quarantine", None)
            if entry is None:
                sql = ("SELECT id FROM entries WHERE question = :question AND answer = :answer AND "
                       "intent = :intent AND source = :source")  # fmt: skip
                entry = db.execute(sql, row).fetchone()[0]
            return db.execute("UPDATE waiting SET entry = ? WHERE folded = ? AND entry IS NULL",
                              (entry, found[0]["folded"])).rowcount  # fmt: skip

    # ------------------------------------------------------------------ what waits to be confirmed

    def quarantine(self, most: int = 100) -> list[dict]:
        return self.rows("SELECT id, question, answer, intent, source, added FROM entries WHERE "
                         "state = 'quarantine' ORDER BY id LIMIT ?", most)  # fmt: skip

    def decide(self, number: int, serve: bool, who: str) -> None:
        """A second person confirms an entry, which is served from then on, or rejects it. Raises
        ServingError where it is the one who wrote it, and where it is not in quarantine."""
        with self.writing() as db:
            found = self.rows("SELECT * FROM entries WHERE id = ?", number)
            if not found:
                raise NotThere(f"there is no entry with the number {number}")
            if found[0]["state"] != "quarantine":
                raise ServingError(f"entry {number} is {found[0]['state']} already")
            if serve and found[0]["source"] == who:
                raise ServingError("you wrote this answer: somebody else must confirm it")
            db.execute("UPDATE entries SET state = ?, decided_by = ? WHERE id = ?",
                       ("served" if serve else "rejected", who, number))  # fmt: skip
            if serve:
                self._index(db, number, found[0]["question"])

    # ------------------------------------------------------------------ who may answer

    def new_key(self, name: str) -> str:
        """A key for a person who may answer and confirm; an earlier one of this name ends. Only its
        checksum is kept."""
        name, key = usable(name, "the name", LONGEST_NAME), secrets.token_urlsafe(12)
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO staff VALUES (?, ?)", (name, checksum(key)))
        return key

    def person(self, key: str | None) -> str:
        """Whose key it is. Raises NotStaff where it is nobody's."""
        found = self.rows("SELECT name FROM staff WHERE key = ?", checksum(key or ""))
        if not found:
            raise NotStaff("this is nobody's key: make one with `python -m examples.assistant "
                           "staff NAME`")  # fmt: skip
        return found[0]["name"]

    def has_staff(self) -> bool:
        return bool(self.rows("SELECT 1 FROM staff LIMIT 1"))

    # ------------------------------------------------------------------ counting

    def count(self, outcome: str) -> None:
        with self.writing() as db:
            db.execute("INSERT INTO tally VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
                       (now()[:10], outcome))  # fmt: skip

    def stats(self) -> dict:
        """How many questions were answered and how, and what there is. For this no question is
        kept."""
        asked = self.rows("SELECT outcome, sum(n) AS n FROM tally GROUP BY outcome ORDER BY 1")
        entries = self.rows("SELECT state, count(*) AS n FROM entries GROUP BY state ORDER BY 1")
        waiting = self.rows("SELECT count(*) AS n FROM waiting WHERE entry IS NULL")
        return {
            "asked": {row["outcome"]: row["n"] for row in asked},
            "entries": {row["state"]: row["n"] for row in entries},
            "waiting": waiting[0]["n"],
        }


def checksum(key: str) -> str:
    return hashlib.sha256(key.encode(errors="replace")).hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
