"""What the monitor keeps, in one SQLite file. Every time in it is UTC, as ISO 8601 text that sorts.

    items       what was read, once for each source and guid; `original`: the item that it repeats
    keys        for finding near-duplicates
    watches     a chart of a topic: the usual rate, its threshold, and where it stands
    points      where a chart stood after each item, to draw it
    alarms      each alarm, and the first of the items behind it; `muted`: within the cool-down
    deliveries  what still has to be sent, and what was: written in the transaction of the alarm
    feeds       how the last reading of each feed went
"""

from __future__ import annotations

from datetime import UTC, datetime

SCHEMA = """
CREATE TABLE items (
    id INTEGER PRIMARY KEY, source TEXT NOT NULL, guid TEXT NOT NULL, published TEXT NOT NULL,
    arrived TEXT NOT NULL, dated TEXT NOT NULL, text TEXT NOT NULL, topic TEXT NOT NULL,
    sentiment TEXT NOT NULL, confidence REAL NOT NULL, bad INTEGER NOT NULL, miss INTEGER NOT NULL,
    original INTEGER REFERENCES items, UNIQUE (source, guid)
);
CREATE INDEX items_of_topic ON items (topic, id);
CREATE INDEX items_in_time ON items (published);
CREATE TABLE keys (key TEXT NOT NULL, item INTEGER NOT NULL REFERENCES items,
    PRIMARY KEY (key, item)) WITHOUT ROWID;
CREATE INDEX keys_of_item ON keys (item);
CREATE TABLE watches (
    topic TEXT NOT NULL, kind TEXT NOT NULL, chart TEXT NOT NULL, p0 REAL NOT NULL,
    threshold REAL NOT NULL, settings TEXT NOT NULL, statistic REAL NOT NULL,
    since INTEGER REFERENCES items, PRIMARY KEY (topic, kind, chart)
);
CREATE TABLE points (
    item INTEGER NOT NULL REFERENCES items, topic TEXT NOT NULL, kind TEXT NOT NULL,
    chart TEXT NOT NULL, statistic REAL NOT NULL, PRIMARY KEY (topic, kind, chart, item)
) WITHOUT ROWID;
CREATE TABLE alarms (
    id INTEGER PRIMARY KEY, at TEXT NOT NULL, topic TEXT NOT NULL, kind TEXT NOT NULL,
    chart TEXT NOT NULL, statistic REAL NOT NULL, threshold REAL NOT NULL,
    first INTEGER NOT NULL REFERENCES items, last INTEGER NOT NULL REFERENCES items,
    muted INTEGER NOT NULL
);
CREATE TABLE deliveries (
    alarm INTEGER NOT NULL REFERENCES alarms, channel TEXT NOT NULL, done TEXT,
    tries INTEGER NOT NULL DEFAULT 0, due TEXT NOT NULL, problem TEXT,
    PRIMARY KEY (alarm, channel)
);
CREATE TABLE feeds (
    source TEXT PRIMARY KEY, tried TEXT NOT NULL, worked TEXT, said TEXT NOT NULL,
    broken INTEGER NOT NULL
);
"""


def stamp(moment: datetime) -> str:
    """A time as the store writes it. Raises ValueError for one without a zone."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def moment_of(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)
