"""What the monitor makes of a text: topic, sentiment, and whether words in it look disguised.

The sentiment comes from a model. The topic comes from words: the topic that most words of the text
belong to. A table of words needs no training, says why, and is changed in a minute (`--topics`); a
word with a slip in it counts as the known word that it is a slip of, so hiding the topic is no way
to keep a text from being counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from advlib.corpora import news, world
from advlib.corpora.engine import counted
from advlib.systems.charts import WORD, NearMiss
from examples.monitor.feeds import read_labelled
from examples.serving import ServingError

if TYPE_CHECKING:  # PyTorch is loaded with a model
    from advlib.models import Classifier

OTHER = "other"  # the topic of a text that has no word of any
SLIPS = ("swap", "insert", "drop", "key")


@dataclass(frozen=True)
class Reading:
    """What the sensor makes of a text. miss: it holds a near miss of a known word."""

    topic: str
    sentiment: str
    confidence: float
    bad: bool
    miss: bool


@dataclass(frozen=True)
class Sensor:
    """topics: word in small letters -> topic. listened: the words of a text that count for its
    topic, in order. common: words in small letters that are no names where a text begins with one.
    bad: the label of bad news. Raises ServingError where the model has no such label."""

    victim: Classifier
    topics: dict[str, str]
    near_miss: NearMiss
    listened: Callable[[str], list[str]] = lambda text: WORD.findall(text.lower())
    common: frozenset[str] = frozenset()
    bad: str = "negative"

    def __post_init__(self) -> None:
        if self.bad not in self.victim.labels:
            raise ServingError(f"the model has no label {self.bad!r}: name one of "
                               f"{', '.join(self.victim.labels)} with --bad")  # fmt: skip

    def __call__(self, texts: list[str]) -> list[Reading]:
        labels = self.victim.labels
        return [
            Reading(self.topic(text), labels[k := int(p.argmax())], float(p[k]),
                    labels[k] == self.bad, self.near_miss(text))
            for text, p in zip(texts, self.victim.predict(texts), strict=True)
        ]  # fmt: skip

    def topic(self, text: str) -> str:
        """The topic of most words that count, of equals the first; else of all words."""
        for found in (self.listened(text), WORD.findall(text.lower())):
            words = (self.near_miss.meant(word) or word for word in found)
            counts = Counter(self.topics[word] for word in words if word in self.topics)
            if counts:
                return counts.most_common(1)[0][0]
        return OTHER


def news_sensor(victim: Classifier, bad: str = "negative") -> Sensor:
    """For the world `news`: its words, and what its reading rule listens to, so that a conceded
    fact on another topic does not count."""
    known = world("news")
    topics = {word: news.THINGS[group][0] for word, group in known.group_of.items()
              if group in news.THINGS}  # fmt: skip
    words = frozenset(known.vocabulary)
    return Sensor(victim, topics, NearMiss(words, SLIPS), lambda text: counted(text, news),
                  words - {*known.groups["company"]}, bad)  # fmt: skip


def own_sensor(victim: Classifier, file: Path, bad: str = "negative") -> Sensor:
    """With topics from a JSON file, {"topic": ["word", …], …}. Raises ServingError.

    Known words are those of the file: a near miss is a near miss of one of them.
    """
    try:
        found = json.loads(file.read_text("utf-8"))
        pairs = [(word, topic) for topic, words in found.items() for word in words]
        fine = pairs and all(isinstance(word, str) and WORD.fullmatch(word) for word, _ in pairs)
    except OSError as error:
        raise ServingError(f"{file} cannot be read: {error.strerror}") from error
    except (ValueError, AttributeError, TypeError):
        fine = False
    if not fine:
        raise ServingError(f'{file} is no table of topics: JSON such as {{"banks": ["bank", '
                           '"loan"]}, each word of letters alone')  # fmt: skip
    topics = {word.lower(): topic for word, topic in pairs}
    return Sensor(victim, topics, NearMiss(frozenset(topics), SLIPS), common=frozenset(topics),
                  bad=bad)  # fmt: skip


def labelled_sensor(victim: Classifier, file: Path, bad: str = "negative") -> Sensor:
    """For a file of texts and labels: one topic; the known words are those of the file."""
    words = {word for text, _ in read_labelled(file) for word in WORD.findall(text)}
    known = NearMiss(frozenset(map(str.lower, words)), SLIPS)
    return Sensor(victim, {}, known, common=frozenset(filter(str.islower, words)), bad=bad)
