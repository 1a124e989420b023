"""What lesson 17 works with: the topic of a headline, somebody who may change two words of it, and
streams that are drawn from headlines which the sensor has read."""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cache

import numpy as np

from advlib.attacks import Typos, WordSubstitution
from advlib.attacks.words import misspellings
from advlib.corpora import news, world
from advlib.corpora.engine import counted
from advlib.models import Classifier
from advlib.systems.charts import NearMiss, delays, near_duplicate

KINDS = ("swap", "drop", "insert", "key")  # slips of the fingers
KNOWN = frozenset(world("news").vocabulary)
TOPIC_OF = {word: news.THINGS[group][0] for word, group in world("news").group_of.items()
            if group in news.THINGS}  # fmt: skip
SLIP = NearMiss(KNOWN, KINDS)


def topic(text: str) -> str:
    """The topic that most words of the text belong to, "other" where none does. A word with a slip
    in it counts as the word that is meant, so typos do not take a story off its chart."""
    for heard in (counted(text, news), re.findall(r"[a-z]+", text.lower())):
        meant = (SLIP.meant(word) or word for word in heard)
        counts = Counter(TOPIC_OF[word] for word in meant if word in TOPIC_OF)
        if counts:
            return counts.most_common(1)[0][0]
    return "other"


# ---------------------------------------------------------------- somebody who may change two words


@dataclass(frozen=True, repr=False)
class TwoTypos(Typos):
    """Slips in at most two words."""

    def most(self, count):
        return min(2, count)


@dataclass(frozen=True, repr=False)
class TwoSubstitutes(WordSubstitution):
    """At most two words become others that the world knows to mean the same."""

    def most(self, count):
        return min(2, count)


@cache
def unnoticed(word: str, most: int = 8) -> tuple[str, ...]:
    """Two slips of a word that are no near miss of a known word, and no known word either: `most`
    of them, drawn by a seed that is the word's own."""
    twice = {two for one in misspellings(word, KINDS, 4) for two in misspellings(one, KINDS, 4)}
    made = sorted(two for two in twice - {word}
                  if two.lower() not in KNOWN and not SLIP.meant(two.lower()))  # fmt: skip
    return tuple(random.Random(zlib.crc32(word.encode())).sample(made, min(most, len(made))))


@dataclass(frozen=True, repr=False)
class Unnoticed(TwoTypos):
    """Two slips in each of at most two words, only such as a test for near misses does not find."""

    def options(self, word):
        return unnoticed(word)


def swaps(queries: int = 30) -> TwoTypos:
    """Two neighbouring letters change places, in at most two words."""
    return TwoTypos(kinds=("swap",), max_queries=queries)


def slips(queries: int = 30) -> TwoTypos:
    """Any slip of the fingers, in at most two words."""
    return TwoTypos(kinds=KINDS, per_kind=2, max_queries=queries)


def two_slips(queries: int = 30) -> Unnoticed:
    """Of somebody who knows how near misses are found."""
    return Unnoticed(kinds=KINDS, max_queries=queries)


def substitutes(queries: int = 30) -> TwoSubstitutes:
    return TwoSubstitutes(world="news", max_queries=queries)


def hidden(victim: Classifier, attack, texts: list[str]) -> list[str]:
    """Bad news, each changed until the sensor no longer calls it bad, as far as the attack can."""
    bad = victim.labels.index("negative")
    return [result.text for result in attack(victim, texts, [bad] * len(texts))]


def slips_of(word: str) -> tuple[str, ...]:
    """Slips of the fingers, one in the word."""
    return misspellings(word, KINDS, 2)


def mistyped(texts: list[str], words: int, seed: int, slips=slips_of) -> list[str]:
    """The texts with a slip in so many words, drawn at random: nobody's attack."""
    rng, out = random.Random(seed), []
    for text in texts:
        parts = re.split(r"([A-Za-z]+)", text)
        long = [i for i, part in enumerate(parts) if slips(part)]
        for i in rng.sample(long, min(words, len(long))):
            parts[i] = rng.choice(slips(parts[i]))
        out.append("".join(parts))
    return out


def typed(texts: list[str]) -> list[str]:
    """The texts with one random slip in every thirtieth, as journalists make them."""
    return [mistyped([text], 1, seed=i)[0] if i % 30 == 0 else text for i, text in enumerate(texts)]


def unknown(text: str) -> bool:
    """Whether a word of the text is not known."""
    return any(word not in KNOWN for word in re.findall("[a-z]+", text.lower()))


# ---------------------------------------------------------------- headlines and streams


def headlines(topic: str, n: int, seed: str, share: float) -> tuple[list[str], list[str]]:
    """(bad, other): n bad headlines on a topic, and n that are not bad. share: of bad ones in the
    stream that they come from, so that there is enough of both."""
    surge = news.Surge(topic, 0, share)
    found = [s for s in news.stories(20 * n, seed, surge=surge) if s.topic == topic]
    bad = [s.title for s in found if s.sentiment == "negative"][:n]
    return bad, [s.title for s in found if s.sentiment != "negative"][:n]


def original(stories, hours: float = 12.0, least: float = 0.5) -> list[int]:
    """For each story the number of the first one that it repeats, or its own: on the same topic, of
    the same sentiment, at most so many hours before, with the same names and numbers, and with
    `least` of all their words in common."""
    first: list[int] = []
    for i, story in enumerate(stories):
        found = i
        for j in range(i - 1, -1, -1):
            old = stories[j]
            if (story.published - old.published).total_seconds() > 3600 * hours:
                break
            if first[j] == j and (old.topic, old.sentiment) == (story.topic, story.sentiment) \
                    and near_duplicate(old.title, story.title, least, common=KNOWN):  # fmt: skip
                found = j
        first.append(found)
    return first


def drawn(rng, share: float, bad, other, runs: int, n: int) -> np.ndarray:
    """(runs, n, …) streams: each item is a row of `bad` with probability share, else of `other`;
    rows are what the sensor and the charts make of a headline."""
    bad, other = np.asarray(bad), np.asarray(other)
    is_bad = rng.random((runs, n)) < share
    ones = bad[rng.integers(len(bad), size=(runs, n))]
    rest = other[rng.integers(len(other), size=(runs, n))]
    return np.where(is_bad.reshape(is_bad.shape + (1,) * (bad.ndim - 1)), ones, rest)


def run_length(statistic: np.ndarray, h: float) -> float:
    """Mean number of items until an alarm: items seen / alarms. statistic: (runs, items)."""
    found = delays(statistic, h)  # inf where no alarm came
    ended = np.isfinite(found).sum()
    return np.minimum(found, statistic.shape[1]).sum() / max(ended, 1)


def watch(read, kinds, n, cusum, calibrate, between, rng, runs=400, longest=1500):
    """{column: (mean, share of runs without an alarm)} of the stories until the first alarm of a
    CUSUM on each of the `kinds` of readings, all of them together at one promise.

    read: what is read in the headlines of each column, each (headlines, kinds): of "other" ones, of
    bad ones in "no surge" (15 % of a stream), and of bad ones in a surge (40 %), the rest. n: the
    bad headlines that there were; a column with fewer has lost some to other topics.
    """
    calm = 0.15 * read["no surge"].mean(0) + 0.85 * read["other"].mean(0)
    rates = {k: (calm[k], 3 * calm[k] / (1 + 2 * calm[k])) for k in kinds}
    level = {k: calibrate(lambda x, pair=pair: cusum(x, *pair), pair[0], len(kinds) * between, rng)
             for k, pair in rates.items()}  # fmt: skip
    found = {}
    for how in (column for column in read if column != "other"):
        share = 0.15 if how == "no surge" else 0.4
        left = share * len(read[how]) / n  # the bad stories that are still on the chart
        items = drawn(rng, left / (left + 1 - share), read[how], read["other"], runs, longest)
        alarm = np.min([delays(cusum(items[..., k], *rates[k]), level[k]) for k in kinds], axis=0)
        ended = np.isfinite(alarm)
        found[how] = np.minimum(alarm, longest).sum() / max(1, ended.sum()), 1 - ended.mean()
    return found


def told_again(rng, items: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """(streams, copies), both (runs, n): with probability `share` an item is a copy of one of the
    three before it, which may be a copy itself."""
    out = items.copy()
    copies, back = rng.random(items.shape) < share, rng.integers(1, 4, size=items.shape)
    rows = np.arange(len(items))
    for k in range(3, items.shape[1]):
        out[:, k] = np.where(copies[:, k], out[rows, k - back[:, k]], out[:, k])
    copies[:, :3] = False
    return out, copies


def counted_once(rng, items, copies, found: float, wrongly: float) -> np.ndarray:
    """The streams without what is taken for a copy: the share `found` of copies, and `wrongly` of
    other items. All are cut to the length of the shortest."""
    kept = rng.random(items.shape) >= np.where(copies, found, wrongly)
    n = kept.sum(1).min()
    return np.array([row[k][:n] for row, k in zip(items, kept, strict=True)])


def disguised(victim: Classifier, says: np.ndarray, stories, begin: int) -> np.ndarray:
    """What the sensor says of the stories where each bad one has slips from the one number `begin`
    on. says: what it says of them as they are."""
    out, bad = says.copy(), victim.labels.index("negative")
    at = [i for i, story in enumerate(stories) if i >= begin and story.sentiment == "negative"]
    texts = hidden(victim, slips(), [stories[i].title for i in at])
    out[at] = victim.predict(texts).argmax(1) == bad
    return out
