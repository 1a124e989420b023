"""A queue of texts that people decide on, in one SQLite file: `advlib review`.

A text that a model is unsure of, or that somebody held back, waits until a person gives it a label.
Nothing is ever changed: texts and decisions are only added, which triggers in the store watch over.
So it shows who decided what and when; a second decision about a text is a new line, and the last
one counts. (Against slips and not against fraud: whoever may write the file can take triggers out.)
Everything that belongs together is one transaction, and the store keeps a log of its own (WAL): a
process that is killed leaves a whole store, with all that was finished and nothing of the rest.

People have little time, and whoever sends many texts can use it up. So there is a budget of
minutes, a source may have so many texts waiting and no more, and sources take turns.

Texts come from anybody. They are only ever values, never SQL; what is shown is one line without
control characters, or escaped HTML; and no cell of an exported CSV begins like a formula.

The store holds texts and the names of people. What must be deleted by law goes with the whole file:
take the rest out with `export` first, and begin a new one.
"""

from __future__ import annotations

import csv
import html
import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from advlib.app.rows import line
from advlib.data import DataError

ID = 0x61647672  # "advr": which program this file belongs to
LONGEST = 100_000  # characters of a text
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # how a cell begins that is run by a spreadsheet

# IF NOT EXISTS: another process may make the same store in the same moment.
SCHEMA = f"""
BEGIN IMMEDIATE;
PRAGMA application_id = {ID};
CREATE TABLE IF NOT EXISTS texts (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, text TEXT NOT NULL, prediction TEXT,
    confidence REAL, reason TEXT, added TEXT NOT NULL, UNIQUE (source, text)
);
CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, text INTEGER NOT NULL REFERENCES texts, label TEXT,
    who TEXT NOT NULL, at TEXT NOT NULL, minutes REAL NOT NULL CHECK (minutes >= 0)
);
CREATE TABLE IF NOT EXISTS settings (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS of_text ON decisions (text);
""" + "".join(
    f"CREATE TRIGGER IF NOT EXISTS no_{what}_{table} BEFORE {what} ON {table} BEGIN "
    f"SELECT RAISE(ABORT, 'the store only grows: no line of {table} is ever changed'); END;\n"
    for table in ("texts", "decisions", "settings") for what in ("UPDATE", "DELETE")
) + "COMMIT;"  # fmt: skip

WAITING = "FROM texts WHERE id NOT IN (SELECT text FROM decisions)"
LAST = "SELECT max(id) FROM decisions GROUP BY text"  # the decisions that count


class ReviewError(ValueError):
    """The queue cannot do this; the message says in one sentence why."""


class Queue:
    """The store in a file. `with Queue(file) as queue:` closes it.

    create: make it where there is none. Raises ReviewError for a file that is no such store, and
    where another process keeps it busy for more than ten seconds.
    """

    def __init__(self, file: str | Path, create: bool = False):
        self.file = Path(file)
        if not create and not self.file.is_file():
            raise ReviewError(f"there is no queue {self.file}: begin one with `advlib review add`")
        try:
            # Autocommit: a transaction is what stands in `_writing`, and nothing else is one.
            self.db = sqlite3.connect(self.file, timeout=10, isolation_level=None)
        except sqlite3.Error as error:
            raise ReviewError(f"{self.file} cannot be opened: {error}") from error
        self.db.row_factory = sqlite3.Row
        try:
            self._open(create)
        except BaseException:
            self.db.close()
            raise

    def _open(self, create: bool) -> None:
        with self._said(), self.db:  # which takes a half-made store back
            self.db.execute("PRAGMA trusted_schema = OFF")
            self.db.execute("PRAGMA foreign_keys = ON")
            # In this order: while another process makes the store, there are no tables yet.
            tables = self._value("SELECT count(*) FROM sqlite_master")
            if self._value("PRAGMA application_id") != ID and (tables or not create):
                raise ReviewError(f"{self.file} is a database, but no queue of `advlib review`")
            self.db.execute("PRAGMA journal_mode = WAL")
            self.db.execute("PRAGMA synchronous = FULL")  # also what a power cut would take
            if not tables:
                self.db.executescript(SCHEMA)

    def __enter__(self) -> Queue:
        return self

    def __exit__(self, *_) -> None:
        self.db.close()

    @contextmanager
    def _said(self) -> Iterator[None]:
        """What SQLite raises, as a sentence."""
        try:
            yield
        except sqlite3.Error as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                said = f"{self.file} is busy, somebody else writes: try again"
            else:
                said = f"{self.file} cannot be used as a queue: {error}"
            raise ReviewError(said) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction: taken back where something is raised."""
        with self._said(), self.db:
            self.db.execute("BEGIN IMMEDIATE")
            yield

    def _counts(self, sql: str) -> dict[str, int]:
        return dict(self.db.execute(sql).fetchall())

    def _value(self, sql: str, *values):
        """The first value that a query finds, or None."""
        row = self.db.execute(sql, values).fetchone()
        return None if row is None else row[0]

    # ------------------------------------------------------------------ adding

    def add(
        self, rows: Iterable[dict], most_per_source: int = 100, *, budget: float | None = None,
        labels: list[str] | None = None,
    ) -> dict[str, int]:  # fmt: skip
        """Add texts, all of them or, where something goes wrong, none.

        rows: dicts with `text` and `source`, and `prediction`, `confidence` (0 to 1) and `reason`
            where they are known.
        most_per_source: so many texts of a source wait at most; what has been decided makes room.
        budget: minutes that people have in all. labels: the labels there are. Both are kept with
            their date, and the last ones count.

        Returns how many were `added`, `there_already`, left out as `too_many_of_a_source`, and as
        `unusable` (blank, with a NUL, or longer than 100,000 characters). Raises ReviewError for a
        row without text or source, and for settings that make no sense.
        """
        if most_per_source < 1:
            raise ReviewError(f"most_per_source must be at least 1, got {most_per_source!r}")
        kept = {}
        if budget is not None:
            if not 0 <= budget < math.inf:
                raise ReviewError(f"a budget is a number of minutes, 0 or more, got {budget!r}")
            kept["budget"] = float(budget)
        if labels is not None:
            if not labels or any(not _usable(label, 200) for label in labels):
                raise ReviewError(f"labels are names, none of them empty, got {labels!r}")
            kept["labels"] = list(dict.fromkeys(labels))
        done = Counter(added=0, there_already=0, too_many_of_a_source=0, unusable=0)
        with self._writing():
            for name, value in kept.items():
                if self.setting(name) != value:
                    self.db.execute("INSERT INTO settings (name, value, at) VALUES (?, ?, ?)",
                                    (name, json.dumps(value), _now()))  # fmt: skip
            waiting = Counter(self._counts(f"SELECT source, count(*) {WAITING} GROUP BY source"))
            for row in rows:
                done[self._add(row, waiting, most_per_source)] += 1
        return dict(done)

    def _add(self, row: dict, waiting: Counter, most: int) -> str:
        text, source = row.get("text"), row.get("source")
        if not isinstance(text, str) or not isinstance(source, str) or not _usable(source, 200):
            raise ReviewError("each row needs a text and a source, a name of at most 200 "
                              f"characters, and one has {line(text)[:40]!r} and "
                              f"{line(source)[:40]!r}")  # fmt: skip
        confidence = row.get("confidence")
        if confidence is not None and not 0 <= confidence <= 1:
            raise ReviewError(f"a confidence lies between 0 and 1, and one is {confidence!r}")
        if not _usable(text, LONGEST):
            return "unusable"
        if self._value("SELECT 1 FROM texts WHERE source = ? AND text = ?", source, text):
            return "there_already"
        if waiting[source] >= most:
            return "too_many_of_a_source"
        waiting[source] += 1
        values = (source, text, row.get("prediction"), confidence, row.get("reason"), _now())
        self.db.execute("INSERT INTO texts (source, text, prediction, confidence, reason, added) "
                        "VALUES (?, ?, ?, ?, ?, ?)", values)  # fmt: skip
        return "added"

    def setting(self, name: str):
        """A setting as it was last given, or None."""
        last = "SELECT value FROM settings WHERE name = ? ORDER BY id DESC LIMIT 1"
        return json.loads(self._value(last, name) or "null")

    # ------------------------------------------------------------------ deciding

    def next(self) -> dict | None:
        """The text that is next, or None where none waits: of the source with the fewest decisions
        the one that the model is least sure of; without a confidence first; then the oldest.

        Two people who ask at once get the same one. Raises ReviewError where the budget is used up.
        """
        with self._said():
            used, budget = self.minutes(), self.setting("budget")
            if budget is not None and used >= budget:
                raise ReviewError(f"the budget of {budget:g} minutes is used up ({used:g}): the "
                                  "rest waits, or give more with `advlib review add FILE --budget`")
            row = self.db.execute(
                "SELECT t.* FROM texts t LEFT JOIN (SELECT x.source, count(*) AS n FROM decisions "
                "d JOIN texts x ON x.id = d.text GROUP BY x.source) s ON s.source = t.source "
                "WHERE t.id NOT IN (SELECT text FROM decisions) "
                "ORDER BY coalesce(s.n, 0), coalesce(t.confidence, -1), t.id LIMIT 1"
            ).fetchone()  # fmt: skip
        return None if row is None else dict(row)

    def minutes(self) -> float:
        """What all decisions took."""
        return self._value("SELECT total(minutes) FROM decisions")

    def decide(self, number: int, label: str | None, who: str, minutes: float = 1.0) -> int:
        """Write down a decision about the text of this number; label None: it cannot be told.
        Returns how many there were before.

        The minutes count whether or not the budget has room for them, for they are spent. Raises
        ReviewError for a number that is not there, a label that is none, nobody's name, and a time
        that is none.
        """
        who = who.strip()
        if not _usable(who, 200):
            raise ReviewError("say who decides: --who NAME")
        if not 0 <= minutes <= 24 * 60:
            raise ReviewError(f"a decision takes from 0 minutes to a day, got {minutes!r}")
        if label is not None and not _usable(label, 200):
            raise ReviewError("a label is a name; leave it out where it cannot be told")
        with self._writing():
            there = "SELECT 1 FROM texts WHERE id = ?"
            if not 0 < number < 2**63 or not self._value(there, number):
                raise ReviewError(f"there is no text with the number {number}")
            known = self.setting("labels")
            if known and label is not None and label not in known:
                raise ReviewError(f"there is no label {label!r}: take one of {', '.join(known)}, "
                                  "or none where it cannot be told")  # fmt: skip
            before = self._value("SELECT count(*) FROM decisions WHERE text = ?", number)
            self.db.execute("INSERT INTO decisions (text, label, who, at, minutes) VALUES "
                            "(?, ?, ?, ?, ?)", (number, label, who, _now(), minutes))  # fmt: skip
        return before

    # ------------------------------------------------------------------ looking

    def decisions(self) -> list[dict]:
        """All decisions, the oldest first: text (its number), label, who, at, minutes."""
        with self._said():
            return [dict(row) for row in self.db.execute("SELECT * FROM decisions ORDER BY id")]

    def stats(self) -> dict:
        """Counts: texts, waiting, decided, changed (a later decision has another label), overruled
        (the person's label is not the model's), cannot be told; minutes used, budget; and by whom,
        by label, waiting by source."""
        one, many = self._value, self._counts
        last = f"decisions d JOIN texts t ON t.id = d.text WHERE d.id IN ({LAST})"
        with self._said():
            return {
                "texts": one("SELECT count(*) FROM texts"),
                "waiting": one(f"SELECT count(*) {WAITING}"),
                "decided": one(f"SELECT count(*) FROM {last}"),
                "changed": one("SELECT count(*) FROM (SELECT 1 FROM decisions GROUP BY text HAVING "
                               "count(DISTINCT coalesce('=' || label, '')) > 1)"),
                "overruled": one(f"SELECT count(*) FROM {last} AND d.label IS NOT NULL AND "
                                 "t.prediction IS NOT NULL AND d.label <> t.prediction"),
                "cannot be told": one(f"SELECT count(*) FROM {last} AND d.label IS NULL"),
                "minutes": self.minutes(),
                "budget": self.setting("budget"),
                "decisions by": many("SELECT who, count(*) FROM decisions GROUP BY who ORDER BY 1"),
                "labels": many(f"SELECT d.label, count(*) FROM {last} AND d.label IS NOT NULL "
                               "GROUP BY d.label ORDER BY 1"),
                "waiting by source": many(f"SELECT source, count(*) {WAITING} GROUP BY source "
                                          "ORDER BY 1"),
            }  # fmt: skip

    def labelled(self) -> list[tuple[str, str]]:
        """(text, label) by the last decision, in the order of the texts; those that cannot be told
        are left out. A text that came from several sources stands there once, with its very last
        label."""
        with self._said():
            rows = self.db.execute(
                "SELECT t.text, d.label FROM decisions d JOIN texts t ON t.id = d.text WHERE d.id "
                "IN (SELECT max(d.id) FROM decisions d JOIN texts t ON t.id = d.text GROUP BY "
                "t.text) AND d.label IS NOT NULL ORDER BY t.id"
            ).fetchall()  # fmt: skip
        return [tuple(row) for row in rows]

    def export(self, file: str | Path) -> tuple[int, int]:
        """Write `labelled` as a CSV, or, where the name ends in .jsonl, as JSON lines, with the
        columns text and label, as `load_text` reads them. Returns how many, and how many cells of
        the CSV got an apostrophe in front.

        Raises ReviewError where there are none, and where the file is there.
        """
        file, rows = Path(file), self.labelled()
        if not rows:
            raise ReviewError("no text has a label yet: `advlib review next`, then `decide`")
        if file.suffix.lower() not in (".csv", ".jsonl"):
            raise ReviewError(f"{file} must end in .csv or .jsonl")
        if file.exists():
            raise ReviewError(f"there is a file {file}, and it stays: name another one with --out")
        with open(file, "x", encoding="utf-8", newline="") as out:
            if file.suffix.lower() == ".jsonl":
                out.writelines(json.dumps({"text": text, "label": label}) + "\n"
                               for text, label in rows)  # fmt: skip
                return len(rows), 0
            table = csv.writer(out, quoting=csv.QUOTE_ALL)
            table.writerows([("text", "label"), *(map(inert, row) for row in rows)])
        return len(rows), sum(inert(cell) != cell for row in rows for cell in row)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _usable(text: str, most: int) -> bool:
    """Not blank, not too long, and a string that SQLite and UTF-8 can hold."""
    return (bool(text.strip()) and len(text) <= most and "\0" not in text
            and not any("\ud800" <= c <= "\udfff" for c in text))  # fmt: skip


def inert(cell: str) -> str:
    """A cell that a spreadsheet takes for text: OWASP, "CSV Injection". A space in front of the
    sign does not help, for some programs take it away."""
    return "'" + cell if cell.startswith(FORMULA) or cell.lstrip().startswith(FORMULA) else cell


# ---------------------------------------------------------------------- what goes in and is shown


def read_texts(file: str | Path, source: str | None = None) -> list[dict]:
    """The rows of a CSV file in UTF-8 for `Queue.add`. source: of rows that name none; None: the
    name of the file. Raises DataError."""
    file = Path(file)
    csv.field_size_limit(10_000_000)
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise DataError(f"{file} is no text in UTF-8: save it anew") from error
    except csv.Error as error:
        raise DataError(f"{file} cannot be read as CSV: {error}") from error
    if not rows or "text" not in rows[0]:
        raise DataError(f"{file} needs a first row of column names, one of them `text`, and rows "
                        "below it")  # fmt: skip
    return [_row(row, i, file, source) for i, row in enumerate(rows, 2)]


def _row(row: dict, i: int, file: Path, source: str | None) -> dict:
    found = {key: row.get(key) or None for key in ("prediction", "reason")}
    found |= {"text": row["text"] or "", "source": row.get("source") or source or file.name}
    try:
        given = row.get("confidence") or None
        found["confidence"] = None if given is None else float(given)
    except ValueError as error:
        raise DataError(f"row {i} of {file} has the confidence {given[:40]!r}, which is no "
                        "number") from error  # fmt: skip
    return found


def unsure(victim, rows: list[dict], below: float) -> list[dict]:
    """The rows whose text a model gives less than `below` for its likeliest class, with what it
    says. Blank texts are left out."""
    rows = [row for row in rows if row["text"].strip()]
    found = victim.predict([row["text"] for row in rows]) if rows else []
    said = f"confidence below {below:g}"
    return [row | {"prediction": victim.labels[int(p.argmax())], "confidence": float(p.max()),
                   "reason": row.get("reason") or said}
            for row, p in zip(rows, found, strict=True) if p.max() < below]  # fmt: skip


def shown(item: dict, prediction: bool = False, markup: bool = False) -> str:
    """A text of the queue for the eye: lines without control characters, or a piece of HTML in
    which nothing of the text is markup.

    prediction: show what the model says too. People then tend to say the same, so leave it out
    where their answer should be their own.
    """
    facts = [f"source {item['source']}"]
    if item["reason"]:
        facts.append(f"reason {item['reason']}")
    if prediction and item["prediction"] is not None:
        sure = "" if item["confidence"] is None else f" ({item['confidence']:.1%})"
        facts.append(f"the model says {item['prediction']}{sure}")
    said = line("; ".join(facts))
    if markup:
        text = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in item["text"])
        return (f'<article data-number="{item["id"]}"><p dir="auto">{html.escape(text)}</p>'
                f"<footer>{html.escape(said)}</footer></article>")  # fmt: skip
    return f"{item['id']}  {line(item['text'])}\n({said})"
