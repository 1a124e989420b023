"""What the monitor does, without a page: read items, move the charts, raise alarms, send them.

    monitor = Monitor(store, sensor, Settings(between=500))
    monitor.take(items)         # what is new is read by the model, counted and charted
    monitor.deliver()           # what has to be sent is sent, or tried again later

A topic begins by learning: its first items say how often news is bad in calm times. From then on
two charts watch for more bad news, and two more watch for near misses of known words, which are
rare unless somebody hides bad news from the model. All four together give one false alarm in
`between` items of the topic, so each of them is set to four times as many.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from advlib.statistics import wilson
from advlib.systems.charts import Chart, Cusum, Ewma, calibrate, near_duplicate, near_duplicate_keys
from examples.monitor.channels import DeliveryError
from examples.monitor.feeds import Item, read_feed
from examples.monitor.sensor import Reading
from examples.monitor.store import moment_of, stamp
from examples.serving import ServingError, Store

KINDS = {"bad news": "bad", "near misses": "miss"}  # what is watched -> its column in `items`
CHARTS = ("cusum", "ewma")
ONE_SIDED = 1.2816  # of ten rates that are taken from so few items, nine are not too low


@dataclass(frozen=True)
class Settings:
    """between: items of a topic between two false alarms, on the average.
    learn: the items of a topic that say what is usual.
    factor: the odds of bad news that are to be found fast, as a multiple of the usual ones.
    lam: the weight of the newest item in the EWMA.
    cooldown: after an alarm, so long no other one of its topic and kind is sent.
    window: two items further apart are two stories, however they resemble each other.
    """

    between: int = 500
    learn: int = 100
    factor: float = 3.0
    lam: float = 0.05
    cooldown: timedelta = timedelta(hours=1)
    window: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        fine = (10 <= self.between <= 100_000 and 20 <= self.learn <= 100_000 and self.factor > 1
                and 0 < self.lam <= 1 and self.cooldown >= timedelta(0))  # fmt: skip
        if not fine:
            raise ServingError("between lies in 10..100000, learn in 20..100000, factor is above "
                               "1, lam in 0..1 and the cool-down not below 0")  # fmt: skip


def now() -> datetime:
    return datetime.now(UTC)


# ---------------------------------------------------------------------- charts of a topic


def usual(hits: int, n: int) -> float:
    """A rate that is seldom too low, from hits in n items: the upper end of Wilson's interval, up
    to a whole hundredth. Too low a rate would give more false alarms than were asked for."""
    return min(0.9, math.ceil(100 * wilson(hits, n, ONE_SIDED)[1]) / 100)


def worse(p0: float, factor: float) -> float:
    """The rate whose odds are `factor` times those of p0."""
    odds = factor * p0 / (1 - p0)
    return odds / (1 + odds)


def chart_of(name: str, p0: float, settings: Settings) -> Chart:
    if name == "cusum":
        return Cusum(p0, worse(p0, settings.factor))
    return Ewma(p0, settings.lam)


@lru_cache(1024)
def threshold(chart: Chart, between: int) -> float:
    """Where all charts of a topic together give one false alarm in `between` items."""
    return calibrate(chart, chart.p0, len(KINDS) * len(CHARTS) * between, runs=400)


# ---------------------------------------------------------------------- the monitor


@dataclass
class Monitor:
    """sensor: reads texts. common: words in small letters that are no names where a text begins
    with one. channels: name -> a function that sends an alarm, a dict, or raises DeliveryError."""

    store: Store
    sensor: Callable[[list[str]], list[Reading]]
    settings: Settings = field(default_factory=Settings)
    channels: dict[str, Callable[[dict], None]] = field(default_factory=dict)
    clock: Callable[[], datetime] = now
    common: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Charts of an earlier start with other settings begin anew; what is usual stays known."""
        for w in self.store.rows("SELECT * FROM watches") if self.store else ():
            chart = chart_of(w["chart"], w["p0"], self.settings)
            if w["settings"] != repr((chart, self.settings.between)):
                with self.store.writing() as db:
                    self._watch(db, w["topic"], w["kind"], w["chart"], w["p0"])

    # ------------------------------------------------------------------ reading

    def read(self, feeds: Iterable[str]) -> dict[str, str]:
        """Read each feed once; a broken one is written down, and the others go on. Returns what is
        to be said about each."""
        said = {}
        for source in feeds:
            try:
                items, notes = read_feed(source, self.clock())
                counts, broken = self.take(items), False
                said[source] = "; ".join([summary(counts), *notes])
            except ServingError as error:
                said[source], broken = str(error), True
            at = stamp(self.clock())
            with self.store.writing() as db:
                db.execute(
                    "INSERT INTO feeds VALUES (?, ?, ?, ?, ?) ON CONFLICT (source) DO UPDATE SET "
                    "tried = excluded.tried, worked = coalesce(excluded.worked, worked), "
                    "said = excluded.said, broken = excluded.broken",
                    (source, at, None if broken else at, said[source], broken),
                )
        return said

    def take(self, items: list[Item]) -> Counter:
        """Read and count items in the order in which they stand: all of them or, where something
        is raised, none. Returns how many were new, known, repeated, and how many alarms came."""
        known = "SELECT 1 FROM items WHERE source = ? AND guid = ?"
        fresh = {(i.source, i.guid): i for i in reversed(items)
                 if not self.store.rows(known, i.source, i.guid)}  # fmt: skip
        fresh = [i for i in items if fresh.get((i.source, i.guid)) is i]
        readings = self.sensor([i.text for i in fresh]) if fresh else []
        done = Counter(new=0, known=len(items) - len(fresh), repeated=0, alarms=0)
        with self.store.writing() as db:
            for item, reading in zip(fresh, readings, strict=True):
                self._add(db, item, reading, done)
            if fresh:
                self._forget(db)
        return done

    def _forget(self, db) -> None:
        """The keys of stories that are too old to be repeated are needed no more."""
        latest = db.execute("SELECT max(published) FROM items").fetchone()[0]
        db.execute("DELETE FROM keys WHERE item < (SELECT min(id) FROM items WHERE published >= ?)",
                   (stamp(moment_of(latest) - self.settings.window),))  # fmt: skip

    def _add(self, db, item: Item, reading: Reading, done: Counter) -> None:
        keys = near_duplicate_keys(item.text)
        original = self._original(db, item, reading, keys)
        at = stamp(item.published)
        added = db.execute(
            "INSERT OR IGNORE INTO items (source, guid, published, arrived, dated, text, topic, "
            "sentiment, confidence, bad, miss, original) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (item.source, item.guid, at, stamp(self.clock()), item.dated, item.text, reading.topic,
             reading.sentiment, reading.confidence, reading.bad, reading.miss, original),
        )  # fmt: skip
        if not added.rowcount:  # another reader was faster
            done["known"] += 1
            return
        done["new"] += 1
        if original is not None:
            done["repeated"] += 1
            return
        number = added.lastrowid
        db.executemany("INSERT INTO keys VALUES (?, ?)", [(key, number) for key in set(keys)])
        done["alarms"] += self._move(db, number, reading)

    def _original(self, db, item: Item, reading: Reading, keys: list[str]) -> int | None:
        """The first telling of this story, or None. Only what is read alike is the same story, or a
        harmless twin that came first would keep the bad one from being counted."""
        marks = ",".join("?" * len(keys))
        rows = db.execute(
            "SELECT DISTINCT i.id, i.text FROM keys k JOIN items i ON i.id = k.item "
            f"WHERE k.key IN ({marks}) AND i.topic = ? AND i.sentiment = ? AND i.miss = ? "
            "AND i.published BETWEEN ? AND ? ORDER BY i.id DESC LIMIT 100",
            (*keys, reading.topic, reading.sentiment, reading.miss,
             stamp(item.published - self.settings.window),
             stamp(item.published + self.settings.window)),
        )  # fmt: skip
        return next((i for i, text in rows if near_duplicate(item.text, text, common=self.common)),
                    None)  # fmt: skip

    # ------------------------------------------------------------------ charts

    def _move(self, db, item: int, reading: Reading) -> int:
        """Move the charts of the topic by one item. Returns the number of alarms."""
        watches = db.execute("SELECT * FROM watches WHERE topic = ?", (reading.topic,)).fetchall()
        if not watches:
            self._learn(db, reading.topic)
            return 0
        return sum(self._step(db, dict(watch), item, reading) for watch in watches)

    def _learn(self, db, topic: str) -> None:
        """Begin to watch a topic that has enough items."""
        n, bad, miss = db.execute(
            "SELECT count(*), total(bad), total(miss) FROM items WHERE topic = ? AND original IS "
            "NULL", (topic,)).fetchone()  # fmt: skip
        if n < self.settings.learn:
            return
        for kind, hits in zip(KINDS, (bad, miss), strict=True):
            p0 = usual(int(hits), n)
            for name in CHARTS:
                self._watch(db, topic, kind, name, p0)

    def _watch(self, db, topic: str, kind: str, name: str, p0: float) -> None:
        """Begin a chart, or begin it anew with other settings."""
        chart = chart_of(name, p0, self.settings)
        height = threshold(chart, self.settings.between)
        db.execute("INSERT OR REPLACE INTO watches VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
                   (topic, kind, name, p0, height, repr((chart, self.settings.between)),
                    chart.start))  # fmt: skip

    def _step(self, db, watch: dict, item: int, reading: Reading) -> bool:
        chart = chart_of(watch["chart"], watch["p0"], self.settings)
        hit = getattr(reading, KINDS[watch["kind"]])
        s = float(chart.step(watch["statistic"], float(hit)))
        # The items behind an alarm: those since the chart last stood where it starts.
        since = None if s <= chart.start else watch["since"] or item
        name = (watch["topic"], watch["kind"], watch["chart"])
        db.execute("INSERT INTO points VALUES (?, ?, ?, ?, ?)", (item, *name, s))
        alarm = s >= watch["threshold"]
        if alarm:
            self._alarm(db, watch, s, since or item, item)
            s, since = chart.start, None
        db.execute("UPDATE watches SET statistic = ?, since = ? WHERE topic = ? AND kind = ? AND "
                   "chart = ?", (s, since, *name))  # fmt: skip
        return alarm

    def _alarm(self, db, watch: dict, s: float, first: int, last: int) -> None:
        """Write the alarm and, unless one of its topic and kind has been sent not long ago, what is
        to be sent. The clock is the news' own: the latest date of an item, which no item can set
        beyond the present."""
        topic, kind = watch["topic"], watch["kind"]
        at = moment_of(db.execute("SELECT max(published) FROM items").fetchone()[0])
        muted = db.execute(
            "SELECT 1 FROM alarms WHERE topic = ? AND kind = ? AND NOT muted AND at > ?",
            (topic, kind, stamp(at - self.settings.cooldown))).fetchone() is not None  # fmt: skip
        number = db.execute(
            "INSERT INTO alarms (at, topic, kind, chart, statistic, threshold, first, last, muted) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (stamp(at), topic, kind, watch["chart"], s, watch["threshold"], first, last, muted),
        ).lastrowid  # fmt: skip
        if not muted:
            db.executemany("INSERT INTO deliveries (alarm, channel, due) VALUES (?, ?, ?)",
                           [(number, name, stamp(self.clock())) for name in self.channels])

    # ------------------------------------------------------------------ sending

    def deliver(self) -> int:
        """Send what is due. What fails is tried again after 5 s, 10 s, … up to an hour, for ever.
        A process that dies between sending and writing it down sends twice: look at the `id`."""
        marks = ",".join("?" * len(self.channels))  # others are of a start with other settings
        due = self.store.rows(
            f"SELECT * FROM deliveries WHERE done IS NULL AND due <= ? AND channel IN ({marks}) "
            "ORDER BY alarm LIMIT 20", stamp(self.clock()), *self.channels)  # fmt: skip
        sent = 0
        for row in due:
            alarm = self.alarm(row["alarm"])
            try:
                self.channels[row["channel"]](alarm)
                change = (stamp(self.clock()), row["due"], None)
                sent += 1
            except DeliveryError as error:
                wait = timedelta(seconds=min(3600, 5 * 2 ** min(row["tries"], 10)))
                change = (None, stamp(self.clock() + wait), str(error))
            with self.store.writing() as db:
                db.execute(
                    "UPDATE deliveries SET done = ?, due = ?, problem = ?, tries = tries + 1 "
                    "WHERE alarm = ? AND channel = ?", (*change, row["alarm"], row["channel"]),
                )  # fmt: skip
        return sent

    # ------------------------------------------------------------------ looking

    def alarm(self, number: int) -> dict:
        """An alarm with the items behind it, the latest first. Raises ServingError."""
        found = self.store.rows("SELECT * FROM alarms WHERE id = ?", number)
        if not found:
            raise ServingError(f"there is no alarm with the number {number}")
        row = found[0]
        column = KINDS[row["kind"]]
        behind = self.store.rows(
            f"SELECT published, source, text, sentiment, confidence FROM items WHERE topic = ? AND "
            f"id BETWEEN ? AND ? AND original IS NULL AND {column} ORDER BY id DESC LIMIT 50",
            row["topic"], row["first"], row["last"])  # fmt: skip
        counted = self.store.rows(
            "SELECT count(*) AS n FROM items WHERE topic = ? AND id BETWEEN ? AND ? AND original "
            "IS NULL", row["topic"], row["first"], row["last"])[0]["n"]  # fmt: skip
        return {**row, "muted": bool(row["muted"]), "of": counted, "behind": behind}

    def alarms(self, most: int = 50) -> list[dict]:
        return self.store.rows(
            "SELECT id, at, topic, kind, chart, statistic, threshold, muted FROM alarms ORDER BY "
            "id DESC LIMIT ?", most)  # fmt: skip

    def last_alarm(self) -> dict | None:
        """The last one that was not muted."""
        found = self.store.rows("SELECT * FROM alarms WHERE NOT muted ORDER BY id DESC LIMIT 1")
        return found[0] if found else None

    def items(self, topic: str | None = None, most: int = 50) -> list[dict]:
        return self.store.rows(
            "SELECT * FROM items WHERE ? IS NULL OR topic = ? ORDER BY id DESC LIMIT ?",
            topic, topic, most)  # fmt: skip

    def topics(self, last: int = 100) -> list[dict]:
        """For each topic: how many items and repeats, the sentiments of the last ones, and whether
        it is still learning."""
        rows = self.store.rows(
            "SELECT topic, count(*) AS items, count(original) AS repeats, EXISTS (SELECT 1 FROM "
            "watches w WHERE w.topic = i.topic) AS watched FROM items i GROUP BY topic ORDER BY "
            "topic")  # fmt: skip
        for row in rows:
            counts = self.store.rows(
                "SELECT sentiment, count(*) AS n FROM (SELECT sentiment FROM items WHERE topic = ? "
                "AND original IS NULL ORDER BY id DESC LIMIT ?) GROUP BY sentiment",
                row["topic"], last)  # fmt: skip
            row["sentiments"] = {c["sentiment"]: c["n"] for c in counts}
            row["watched"] = bool(row["watched"])
        return rows

    def chart(self, topic: str, kind: str, chart: str, last: int = 300) -> dict:
        """A chart of a topic: p0, threshold, and its last points with their items' times. Raises
        ServingError where there is none."""
        watch = self.store.rows("SELECT * FROM watches WHERE topic = ? AND kind = ? AND chart = ?",
                                topic, kind, chart)  # fmt: skip
        if not watch:
            raise ServingError(f"{topic!r} has no such chart yet: it learns from its first "
                               f"{self.settings.learn} items")  # fmt: skip
        points = self.store.rows(
            "SELECT p.item, p.statistic, i.published FROM points p JOIN items i ON i.id = p.item "
            "WHERE p.topic = ? AND p.kind = ? AND p.chart = ? ORDER BY p.item DESC LIMIT ?",
            topic, kind, chart, last)  # fmt: skip
        return {**watch[0], "points": points[::-1]}

    def counts(self) -> dict:
        return self.store.rows(
            "SELECT (SELECT count(*) FROM items) AS items, (SELECT count(original) FROM items) AS "
            "repeats, (SELECT count(*) FROM alarms) AS alarms, (SELECT count(*) FROM deliveries "
            "WHERE done IS NULL) AS waiting")[0]  # fmt: skip

    def feeds(self) -> list[dict]:
        return self.store.rows("SELECT * FROM feeds ORDER BY source")

    def waiting(self) -> list[dict]:
        """What could not be sent yet."""
        return self.store.rows("SELECT * FROM deliveries WHERE done IS NULL ORDER BY alarm")


def summary(counts: Counter) -> str:
    said = f"{counts['new']} new, {counts['known']} known"
    if counts["repeated"]:
        said += f", {counts['repeated']} of the new ones repeat a story"
    return said + (f", {counts['alarms']} alarms" if counts["alarms"] else "")
