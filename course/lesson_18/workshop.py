"""What lesson 18 uses and does not explain: a shop with a reader and a ranker, and sellers at work.

The parts are those of `examples/recommender`; `benchmarks/recommender.py` measures three markets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import pandas as pd

from advlib.corpora import words, world
from advlib.corpora.shop import DAYS, Market
from advlib.systems.clicks import Known, Ranker, Reader, before, daily
from advlib.systems.ranking import extend, ndcg, promote, reword_at_random, seen

WORLD = world("shop")
SHARE, LIES, STUFFED, DRAWS = 0.3, 2, 5, 5


@dataclass
class Shop:
    """A market on the day after its last click: who reads the texts, and what the trees make of it.

    without: features that the ranker does not get. new: ids of the new items. grid: the features of
    every user (in blocks) with every new item, on that day. scores: (users, new items) P(click).
    """

    market: Market
    reader: Reader
    without: tuple[str, ...] = ()

    def __post_init__(self):
        items = self.market.items.rename(columns={"day": "released"})
        self.known = Known(items, self.market.clicks, pd.DataFrame(
            {"item": items["id"], "day": items["released"], "opinion": self.reader(items["text"])}
        ))  # fmt: skip
        self.ranker = Ranker.fit(self.features(self.market.clicks), self.market.clicks["clicked"])
        self.new = np.flatnonzero(items["new"])
        self.grid = self.features(tomorrow(self.market, self.new))
        self.scores = self.ranker.score(self.grid).reshape(-1, len(self.new))

    def features(self, asked: pd.DataFrame) -> pd.DataFrame:
        return self.known.features(asked).drop(columns=[*self.without])

    def with_opinion(self, item: int, opinion: float) -> np.ndarray:
        """(users, new items) scores, had the reader this opinion of one new item."""
        out, column = self.scores.copy(), self.column(item)
        rows = self.grid.iloc[column :: len(self.new)].assign(opinion=opinion)
        out[:, column] = self.ranker.score(rows)
        return out

    @cached_property
    def everything(self) -> np.ndarray:
        """(users, items) scores of all items, new or not; -inf for what the user was shown."""
        scores = self.ranker.score(self.features(tomorrow(self.market)))
        unseen = not_shown(self.market)
        return np.where(unseen, scores.reshape(unseen.shape), -np.inf)

    def seen_with(self, item: int, opinion: float, k: int = 10, among_all=False) -> np.ndarray:
        """(users,) whether each sees a new item among the first k, had the reader this opinion of
        it; in a list of the new items, or of all that the user was not shown yet."""
        scores, column = self.with_opinion(item, opinion), self.column(item)
        if among_all:
            own, scores, column = scores[:, column], self.everything.copy(), item
            scores[:, item] = own
        return seen(scores, k)[:, column]

    def column(self, item: int) -> int:
        """Where a new item stands among the new ones."""
        return int(np.searchsorted(self.new, item))


def tomorrow(market: Market, items=None) -> pd.DataFrame:
    """Every user with every item (None: all), on the day after the last click."""
    items, users = market.items["id"] if items is None else items, len(market.users)
    return pd.DataFrame({"user": np.repeat(np.arange(users), len(items)),
                         "item": np.tile(items, users), "day": DAYS})  # fmt: skip


def chances(market: Market) -> np.ndarray:
    """(users, items): the true probability of a click."""
    users, items = len(market.users), len(market.items)
    return 1 / (1 + np.exp(-market.utility(np.arange(users)[:, None], np.arange(items))))


def not_shown(market: Market) -> np.ndarray:
    """(users, items): whether the user has not been shown the item yet."""
    unseen = np.ones((len(market.users), len(market.items)), bool)
    unseen[market.clicks["user"], market.clicks["item"]] = False
    return unseen


def clicks_tomorrow(market: Market) -> tuple[pd.DataFrame, np.ndarray]:
    """(asked, clicked): old items that were not shown yet, and the clicks that they get."""
    asked = tomorrow(market)
    old = (not_shown(market) & ~market.items["new"].to_numpy()).ravel()
    draws = np.random.default_rng(0).random(old.sum())
    return asked[old], draws < chances(market).ravel()[old]


def quality(market: Market, scores, k: int = 10) -> tuple[float, float]:
    """NDCG@k of all items that the user was not shown yet, and of the new ones alone."""
    truth, new, unseen = chances(market), market.items["new"].to_numpy(), not_shown(market)
    scores = np.asarray(scores, float).reshape(truth.shape)
    every = ndcg(np.where(unseen, truth, 0), np.where(unseen, scores, -np.inf), k)
    return float(np.nanmean(every)), float(ndcg(truth[:, new], scores[:, new], k).mean())


def baselines(shop: Shop) -> dict[str, tuple[float, float]]:
    """What one ranks by -> `quality`: nothing, one feature, all but the text, all."""
    blind = Shop(shop.market, shop.reader, without=("opinion",))
    grid = shop.features(tomorrow(shop.market))
    return {name: quality(shop.market, scores) for name, scores in {
        "chance": np.zeros(len(grid)), "price alone": -grid["price"],
        "popularity alone": grid["popularity"], "opinion alone": grid["opinion"],
        "all but the text": blind.ranker.score(grid.drop(columns="opinion")),
        "all": shop.ranker.score(grid)}.items()}  # fmt: skip


# ---------------------------------------------------------------------- a table made in haste


def hasty(items: pd.DataFrame):
    """features(log, asked) -> a table with a row for each row of `asked`."""
    facts = items.set_index("id")

    def rate(log, asked, by):
        days = daily(log[[*by, "day"]].assign(shown=1, clicked=log["clicked"]), by)
        found = before(asked, days, by)
        return (found["clicked"] + 1) / (found["shown"] + 2)

    def features(log, asked):
        log, asked = (table.assign(kind=table["item"].map(facts["kind"])) for table in (log, asked))
        of_all = log.groupby(["user", "kind"])["clicked"].agg(["sum", "count"])
        found = of_all.reindex(pd.MultiIndex.from_frame(asked[["user", "kind"]])).fillna(0)
        evening = asked.assign(day=asked["day"] + 1)
        return pd.DataFrame({
            "price": asked["item"].map(facts["price"]),
            "popularity": rate(log, asked, ["item"]),
            "liking": ((found["sum"] + 1) / (found["count"] + 2)).to_numpy(),
            "activity": rate(log, evening, ["user"]),
            "age": asked["day"] - asked["item"].map(facts["day"]),
        }, index=asked.index).astype(float)  # fmt: skip

    return features


def careful(items: pd.DataFrame):
    """The same five columns, of earlier days only."""
    known = items.rename(columns={"day": "released"})
    none = pd.DataFrame({"item": items["id"], "day": items["day"], "opinion": 0.5})

    def features(log, asked):
        rows = Known(known, log, none).features(asked)
        return rows[["price", "popularity", "liking", "activity", "age"]]

    return features


# ---------------------------------------------------------------------- sellers


@cache
def _written() -> list:
    return WORLD.sample(500, "test", seed=77)


def praise_of(kind: str, most: int = 10) -> list[str]:
    """Sentences that praise things of this kind."""
    return [r.text for r in _written() if r.label and r.domain == kind][:most]


def worst(market: Market, most: int) -> pd.DataFrame:
    """New items of the lowest quality."""
    new = market.items[market.items["new"]]
    return new.sort_values("quality", kind="stable").head(most)


def deeds(reader: Reader, item, attack=None) -> dict[str, list[str]]:
    """What a seller may do with an item's text: how -> texts. attack: as the exercise's, or None
    for the library's. The score never falls with the opinion, so what the reader likes best is
    what the ranker likes best."""
    text, options = item.text, WORLD.substitutes(item.text)
    most = int(SHARE * len(words(text)))
    if attack is None:
        new = promote(reader, text, options, most).text
    else:
        new = attack(reader, text, options, most)[0]
    n = sum(a != b for a, b in zip(words(text), words(new), strict=True))
    keywords = [group[0] for name, group in WORLD.groups.items() if not name.endswith("-")]
    keywords, praise = random.Random(0).sample(keywords, 20), praise_of(item.kind)
    return {"as it is": [text],
            "random synonyms": [reword_at_random(text, options, n, seed=i) for i in range(DRAWS)],
            "reworded": [new],
            "stuffed": [extend(reader, text, keywords, STUFFED, " ").text],
            "one lie": [extend(reader, text, praise, 1).text],
            "two lies": [extend(reader, text, praise, LIES).text]}  # fmt: skip


def attacked(shop: Shop, items, attack=None, among_all=False) -> dict[str, np.ndarray]:
    """how -> (items, users): whether each user sees the attacked item among the first ten, of the
    new items or of all. Sellers act one at a time."""
    out = {}
    for item in items.itertuples():
        for how, texts in deeds(shop.reader, item, attack).items():
            seen_by = [shop.seen_with(item.id, opinion, among_all=among_all)
                       for opinion in shop.reader(texts)]  # fmt: skip
            out.setdefault(how, []).append(np.mean(seen_by, axis=0))
    return {how: np.array(found) for how, found in out.items()}


def reached(reader: Reader, items, attack) -> list[tuple[float, float]]:
    """For each item the opinion that the exercise's attack reaches, and that of the library's."""
    out = []
    for text in items["text"]:
        options, most = WORLD.substitutes(text), int(SHARE * len(words(text)))
        out.append((attack(reader, text, options, most)[1],
                    promote(reader, text, options, most).after))  # fmt: skip
    return out


def at_opinion(shop: Shop, items, opinion: float) -> float:
    """The mean per cent of users who see each of these items, had the reader this opinion of it."""
    return 100 * float(np.mean([shop.seen_with(i, opinion) for i in items["id"]]))
