"""News to play with: embedded stories, or a file of texts with labels, as a stream with a surge.

What is played is made up, and so are its times: the stream runs much faster than news does.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from advlib.attacks import Typos
from advlib.corpora import news
from examples.monitor.app import Monitor
from examples.monitor.feeds import Item, read_labelled
from examples.serving import ServingError

PACE = 6.0  # stories a second
HISTORY = 1200  # stories that say what is usual
WARM_UP = 60  # calm stories before the first surge
LENGTH = 250  # stories of a scenario
SURGE = 0.7  # the share of bad news on the topic; it is 0.15 in calm times
FLOOD = 3  # harmless stories for each story on the topic
FAKES = 15  # invented bad stories, one after another
HIDE = Typos(max_changed=0.3, max_queries=40, kinds=("swap", "drop", "insert", "key"))
SCENARIOS = ("a surge", "a surge that is hidden by typos", "a surge that is flooded",
             "a surge that is faked")  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A text of a stream, its topic, and whether somebody disguises it if it is bad."""

    text: str
    bad: bool
    topic: str
    hidden: bool = False


class Stories:
    """The embedded world's stories: no text twice, with near-duplicates among them."""

    topics = news.TOPICS

    def calm(self, n: int, seed: str) -> list[Told]:
        return self._told(news.stories(n, seed=seed, copies=0.1))

    def surge(self, n: int, seed: str, topic: str) -> list[Told]:
        return self._told(news.stories(n, seed=seed, copies=0.1, surge=news.Surge(topic, 0, SURGE)))

    @staticmethod
    def _told(stories: list) -> list[Told]:
        return [Told(s.title, s.sentiment == "negative", s.topic) for s in stories]


class Labelled:
    """Texts with labels from a file, drawn at random: 13 % of them bad in calm times. Such a file
    has no dates and no order, so the stream is simulated, and a text comes more than once."""

    def __init__(self, file: Path, bad: str = "negative"):
        rows = dict(read_labelled(file))
        self.topics = ("other",)
        self.bad = [text for text, label in rows.items() if label == bad]
        self.other = [text for text, label in rows.items() if label != bad]
        if not self.bad or not self.other:
            raise ServingError(f"{file} needs texts with the label {bad!r} and with others")

    def calm(self, n: int, seed: str, share: float = 0.13) -> list[Told]:
        rng = random.Random(seed)
        return [Told(rng.choice(self.bad if bad else self.other), bad, "other")
                for bad in (rng.random() < share for _ in range(n))]  # fmt: skip

    def surge(self, n: int, seed: str, topic: str) -> list[Told]:
        return self.calm(n, seed, 0.5)


@dataclass
class Player:
    """Plays a stream into a monitor. `play` chooses what comes next; else the news is calm."""

    source: Stories | Labelled
    monitor: Monitor
    bad: str = "negative"
    seed: str = ""
    pace: float = PACE
    first: str | None = SCENARIOS[0]
    queue: deque[Told] = field(default_factory=deque)
    made: int = 0

    @property
    def topics(self) -> list[str]:
        return list(self.source.topics)

    def play(self, what: str, topic: str) -> str:
        """Let a scenario come next. Raises ServingError for an unknown one."""
        if what not in SCENARIOS or topic not in self.topics:
            raise ServingError("choose what to play, and a topic")
        self.queue = deque(self.scenario(what, topic))
        return f"Now playing: {what}, in {topic}. Watch its chart."

    def scenario(self, what: str, topic: str) -> list[Told]:
        if what == SCENARIOS[3]:  # nothing happened: somebody invents bad stories
            invented = self.source.surge(50 * FAKES, self._seed(), topic)
            fakes = [told for told in invented if told.topic == topic and told.bad][:FAKES]
            return [told for pair in zip(self.source.calm(FAKES, self._seed()), fakes, strict=False)
                    for told in pair]  # fmt: skip
        told = self.source.surge(LENGTH, self._seed(), topic)
        if what == SCENARIOS[1]:
            return [Told(t.text, t.bad, t.topic, hidden=t.topic == topic) for t in told]
        if what == SCENARIOS[2]:
            spare = iter([t for t in self.source.calm(30 * LENGTH // 7, self._seed())
                          if t.topic == topic and not t.bad])  # fmt: skip
            return [one for t in told for one in
                    (t, *(next(spare, t) for _ in range(FLOOD * (t.topic == topic))))]  # fmt: skip
        return told

    def _seed(self) -> str:
        self.made += 1
        return f"{self.seed}-{self.made}"

    # ------------------------------------------------------------------ into the monitor

    def history(self, now: datetime) -> None:
        """What was before the program was started for the first time: the same each time, so that
        it is counted once."""
        told = self.source.calm(HISTORY, "history")
        first = now - timedelta(seconds=len(told) / self.pace)
        for k in range(0, len(told), 100):
            self._take(told[k : k + 100], [first + timedelta(seconds=(k + j) / self.pace)
                                           for j in range(100)], f"history-{k}")  # fmt: skip

    def run(self, stop: threading.Event) -> None:
        """Play until told to stop: some calm news, the first scenario, calm news for ever."""
        self.history(self.monitor.clock())
        self.queue.extend(self.source.calm(WARM_UP, self._seed()))
        if self.first:
            self.queue.extend(self.scenario(self.first, self.topics[0]))
        batch, number = max(1, round(self.pace / 2)), 0
        while not stop.wait(batch / self.pace):
            if len(self.queue) < batch:
                self.queue.extend(self.source.calm(100, self._seed()))
            told = [self.queue.popleft() for _ in range(batch)]
            number += 1
            self._take(told, [self.monitor.clock()] * batch, f"{self.seed}-{number}")

    def _take(self, told: list[Told], times: list[datetime], name: str) -> None:
        texts = self.disguised(told)
        pairs = enumerate(zip(texts, times, strict=False))
        self.monitor.take([Item("embedded", f"{name}-{j}", at, text) for j, (text, at) in pairs])

    def disguised(self, told: list[Told]) -> list[str]:
        """The texts, those that somebody hides with the slips that serve him best."""
        texts = [t.text for t in told]
        places = [i for i, t in enumerate(told) if t.hidden and t.bad]
        if places:
            victim = self.monitor.sensor.victim
            label = victim.labels.index(self.bad)
            found = HIDE(victim, [texts[i] for i in places], [label] * len(places))
            for i, result in zip(places, found, strict=True):
                texts[i] = result.text
        return texts


def new_seed() -> str:
    """Another one at each start, for news that was not there before."""
    return f"{time.time_ns():x}"
