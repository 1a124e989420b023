"""What the shop knows, in one SQLite file.

Texts are only added: an item has the last one, and what it said on an earlier day stays known, both
to a ranker that learns from that day's clicks and to whoever asks what a seller changed. A ranker
is a row as well. It is written in one transaction: a training that is killed leaves the last one.

The shop's clock counts days. What is clicked today is counted from tomorrow on, and a training ends
the day.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from advlib.systems.clicks import Ranker
from examples.recommender.shop import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_CLICKS,
    MOST_ITEMS,
    kind_of,
    number,
)
from examples.serving import ServingError, open_store, usable

KEPT = 5  # rankers

SCHEMA = """
CREATE TABLE items (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, price REAL NOT NULL, released INTEGER NOT NULL
);
CREATE TABLE texts (
    id INTEGER PRIMARY KEY, item TEXT NOT NULL REFERENCES items, day INTEGER NOT NULL,
    text TEXT NOT NULL
);
CREATE TRIGGER texts_stay BEFORE UPDATE ON texts BEGIN SELECT RAISE(ABORT, 'texts stay'); END;
CREATE TABLE clicks (
    user TEXT NOT NULL, item TEXT NOT NULL REFERENCES items, day INTEGER NOT NULL,
    clicked INTEGER NOT NULL CHECK (clicked IN (0, 1))
);
CREATE INDEX clicks_of ON clicks (user, clicked);
CREATE TABLE rankers (
    id INTEGER PRIMARY KEY, reader TEXT NOT NULL, made TEXT NOT NULL, clicks INTEGER NOT NULL,
    arrays BLOB NOT NULL
);
CREATE TABLE clock (today INTEGER NOT NULL);
"""


class NotThere(ServingError):
    status = 404


class ShopStore:
    """The store in a file, made where there is none. Raises ServingError (see `open_store`)."""

    def __init__(self, path: str | Path):
        self.store = open_store(path, SCHEMA)
        self.rows, self.writing, self.close = self.store.rows, self.store.writing, self.store.close

    def is_empty(self) -> bool:
        return not self.rows("SELECT 1 FROM clock")

    def today(self) -> int:
        return self.rows("SELECT today FROM clock")[0]["today"]

    def version(self) -> tuple:
        """Changes when items, texts, the day or the ranker do."""
        [found] = self.rows("SELECT (SELECT today FROM clock) AS today, (SELECT max(id) FROM texts)"
                            " AS text, (SELECT max(id) FROM rankers) AS ranker")  # fmt: skip
        return tuple(found.values())

    # ------------------------------------------------------------------ items and clicks

    def fill(self, items: Iterable[dict], clicks: Iterable[dict]) -> None:
        """Put a whole shop into an empty store, or, where anything goes wrong, nothing. Its today
        is the day after the last click, or the last release."""
        items, clicks = list(items), list(clicks)
        with self.writing() as db:
            if not self.is_empty():
                raise ServingError(f"{self.store.path} holds a shop already: name another --store")
            db.executemany("INSERT INTO items VALUES (:id, :kind, :price, :released)", items)
            db.executemany("INSERT INTO texts (item, day, text) VALUES (:id, :released, :text)",
                           items)  # fmt: skip
            db.executemany("INSERT INTO clicks VALUES (:user, :item, :day, :clicked)", clicks)
            last = max(max(c["day"] for c in clicks) + 1, max(i["released"] for i in items))
            db.execute("INSERT INTO clock VALUES (?)", (last,))

    def items(self) -> pd.DataFrame:
        """id, kind, price, released, and the text of today."""
        return pd.DataFrame(self.rows(
            "SELECT items.*, text FROM items JOIN texts ON item = items.id WHERE texts.id IN "
            "(SELECT max(id) FROM texts GROUP BY item) ORDER BY items.rowid"))  # fmt: skip

    def texts(self) -> pd.DataFrame:
        """item, day, text: all, the oldest first; of a day the last one."""
        return pd.DataFrame(self.rows(
            "SELECT item, day, text FROM texts WHERE id IN (SELECT max(id) FROM texts GROUP BY "
            "item, day) ORDER BY id"))  # fmt: skip

    def clicks(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows("SELECT user, item, day, clicked FROM clicks"))

    def users(self, most: int) -> list[str]:
        """The users with most rows in the log."""
        return [row["user"] for row in self.rows(
            "SELECT user FROM clicks GROUP BY user ORDER BY count(*) DESC, user LIMIT ?",
            most)]  # fmt: skip

    def clicked(self, user: str) -> set[str]:
        return {row["item"] for row in self.rows(
            "SELECT item FROM clicks WHERE user = ? AND clicked = 1", user)}  # fmt: skip

    def item(self, name: str) -> dict:
        """An item with its text of today."""
        found = self.rows("SELECT items.*, text FROM items JOIN texts ON item = items.id WHERE "
                          "items.id = ? ORDER BY texts.id DESC LIMIT 1", name)  # fmt: skip
        if not found:
            raise NotThere(f"there is no item {name[:40]!r}")
        return found[0]

    def wordings(self, name: str) -> list[dict]:
        """day, text: what the item has said so far, the newest first."""
        self.item(name)
        return self.rows("SELECT day, text FROM texts WHERE item = ? ORDER BY id DESC", name)

    def add_item(self, name: str, kind: str, price: float, text: str) -> None:
        row = dict(id=usable(name, "the id", LONGEST_NAME), price=number(price, "the price"),
                   kind=kind_of(kind),
                   text=usable(text, "the text", LONGEST_TEXT))  # fmt: skip
        with self.writing() as db:
            if self._count("items") >= MOST_ITEMS:
                raise ServingError(f"the shop is full: {MOST_ITEMS} items is the most here")
            if self.rows("SELECT 1 FROM items WHERE id = ?", row["id"]):
                raise ServingError(f"there is an item {row['id']!r} already: take another id, or "
                                   "change its text")  # fmt: skip
            row["released"] = self.today()
            db.execute("INSERT INTO items VALUES (:id, :kind, :price, :released)", row)
            db.execute("INSERT INTO texts (item, day, text) VALUES (:id, :released, :text)", row)

    def change_text(self, name: str, text: str) -> None:
        text = usable(text, "the text", LONGEST_TEXT)
        if self.item(name)["text"] == text:
            return
        with self.writing() as db:
            db.execute("INSERT INTO texts (item, day, text) VALUES (?, ?, ?)",
                       (name, self.today(), text))  # fmt: skip

    def click(self, user: str, name: str, clicked: bool) -> None:
        """Write down that a user was shown an item today, and clicked it or not."""
        user = usable(user, "the user", LONGEST_NAME)
        self.item(name)
        with self.writing() as db:
            if self._count("clicks") >= MOST_CLICKS:
                raise ServingError(f"the log is full: {MOST_CLICKS} rows is the most here")
            db.execute("INSERT INTO clicks VALUES (?, ?, ?, ?)",
                       (user, name, self.today(), int(clicked)))  # fmt: skip

    def _count(self, table: str) -> int:
        return self.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"]

    # ------------------------------------------------------------------ rankers

    def save(self, ranker: Ranker, reader: str, clicks: int) -> None:
        """Keep a ranker, which is used from now on, and begin the next day. reader: what read the
        texts that it was trained on. clicks: how many rows it was trained on."""
        file = io.BytesIO()
        np.savez_compressed(file, **ranker.arrays())
        made = datetime.now(UTC).isoformat(timespec="seconds")
        with self.writing() as db:
            db.execute("INSERT INTO rankers (reader, made, clicks, arrays) VALUES (?, ?, ?, ?)",
                       (reader, made, clicks, file.getvalue()))  # fmt: skip
            db.execute("DELETE FROM rankers WHERE id NOT IN (SELECT id FROM rankers ORDER BY id "
                       "DESC LIMIT ?)", (KEPT,))  # fmt: skip
            if self.rows("SELECT 1 FROM clicks WHERE day = (SELECT today FROM clock) LIMIT 1"):
                db.execute("UPDATE clock SET today = today + 1")

    def rankers(self) -> list[dict]:
        """reader, made, clicks of those that are kept, the newest first."""
        return self.rows("SELECT id, reader, made, clicks FROM rankers ORDER BY id DESC")

    def ranker(self, reader: str) -> Ranker | None:
        """The newest that was trained with this reader, None where there is none."""
        found = self.rows("SELECT arrays FROM rankers WHERE reader = ? ORDER BY id DESC LIMIT 1",
                          reader)  # fmt: skip
        if not found:
            return None
        try:
            with np.load(io.BytesIO(found[0]["arrays"]), allow_pickle=False) as arrays:
                return Ranker.of_arrays(arrays)
        except (ValueError, OSError) as error:
            raise ServingError(f"the ranker in {self.store.path} is damaged ({error}): train anew "
                               "with --train") from error  # fmt: skip
