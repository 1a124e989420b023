"""From clicks to a ranker of items, without a look into the future.

    known  = Known(items, clicks, readings)          what happened when
    rows   = known.features(asked)                   of (user, item, day): what was known before
    ranker = Ranker.fit(rows, clicked)               boosted trees
    ranker.score(rows), ranker.why(rows)             P(click), and what of it comes from where

`asked` are the clicks themselves in training, and every pair of today in use: one function makes
both tables, so that what is learned is what is met later. A feature counts earlier *days* only: of
two clicks on one day nobody knows which was first.

A victim reads the texts (`Reader`). So whatever fools the victim moves the item, and whatever
protects the victim protects the ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import chain

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier

# What a score is made of, for `Ranker.why`. The last are of the user alone: equal for all items.
SOURCES = {
    "text": ("opinion",),
    "kind": ("liking", "liking_n"),
    "price": ("price",),
    "popularity": ("popularity", "popularity_n"),
    "age": ("age",),
    "user": ("thrift", "activity", "activity_n"),
}
RISES = ("opinion", "popularity", "liking")  # more of it never lowers a score
REMEMBERED = 200_000  # lines that a reader keeps the opinion of


class Reader:
    """texts -> (texts,): the opinion that a victim reads in each, the mean over its lines of
    P(positive); a text may be several short ones, one a line. No line, no opinion: one half.

    victim: `advlib.load_classifier(…)`, or `advlib.certify.canonical(…)` of it.
    positive: the class that is praise. Raises ValueError where the victim has none of that name.
    """

    def __init__(self, victim, positive: str = "positive"):
        if positive not in victim.labels:
            raise ValueError(f"this model knows the classes {', '.join(victim.labels)}, and none "
                             f"is {positive!r}: say which one is praise")  # fmt: skip
        self.victim, self.column = victim, victim.labels.index(positive)
        self.read: dict[str, float] = {}  # an attack changes one line and asks about all

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        # As the victim sees them: lines that are one to it have one opinion, to the last bit.
        see = self.victim.read or str
        lines = [[see(line) for line in text.split("\n") if line.strip()] for text in texts]
        if len(self.read) > REMEMBERED:
            self.read = {}  # another one, for another thread may be reading in the old
        read = self.read
        new = [line for line in dict.fromkeys(chain(*lines)) if line not in read]
        if new:
            said = self.victim.predict(new)[:, self.column]
            read.update(zip(new, said.tolist(), strict=True))
        return np.array([np.mean([read[x] for x in found]) if found else 0.5 for found in lines])


# ---------------------------------------------------------------------- what was known


def daily(log: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Sums up to the end of each day: of `log`'s numbers, over rows with the same `by` and that day
    or an earlier one. log: the columns of `by`, day, and numbers."""
    by = list(by)
    sums = [name for name in log.columns if name not in {*by, "day"}]
    days = log.groupby([*by, "day"], as_index=False)[sums].sum().sort_values("day", kind="stable")
    days[sums] = days.groupby(by)[sums].cumsum()
    return days


def before(asked: pd.DataFrame, days: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """For each row of `asked` the sums of `daily` up to the day before, 0 where there are none.
    Rows stand as in `asked`."""
    found = _latest(asked, days, by, allow_exact_matches=False)
    return found.drop(columns=[*by, "day"]).fillna(0.0)


def _latest(asked: pd.DataFrame, events: pd.DataFrame, by: Sequence[str], **how) -> pd.DataFrame:
    """The last event of the same `by` up to the row's day, for each row of `asked`."""
    left = asked[[*by, "day"]].assign(place=np.arange(len(asked))).sort_values("day", kind="stable")
    found = pd.merge_asof(left, events, on="day", by=list(by), **how)
    return found.sort_values("place").drop(columns="place").set_axis(asked.index)


@dataclass(frozen=True)
class Known:
    """What happened in a shop.

    items: id, kind, price, released (a day). clicks: user, item, day, and clicked, 1 or 0 for what
    was shown and left. readings: item, day, opinion: what the reader says of a text that the item
    has had since that day. Days are whole numbers.
    """

    items: pd.DataFrame
    clicks: pd.DataFrame
    readings: pd.DataFrame

    def features(self, asked: pd.DataFrame) -> pd.DataFrame:
        """asked: user, item, day. Returns the features of `SOURCES`, a row for each.

        Rates are (clicked + 1) / (shown + 2), Laplace's rule, so what was never shown has one half;
        the name with `_n` says of how many. thrift: what the user's clicks cost, less what was
        shown. Raises KeyError for an item that is not there.
        """
        asked = asked[["user", "item", "day"]].join(self._facts, on="item")
        if asked["price"].isna().any():
            raise KeyError(f"there is no item {asked['item'][asked['price'].isna()].iloc[0]!r}")
        item, user, taste = (before(asked, days, by) for by, days in self._days.items())
        paid = user["paid"] / user["clicked"].clip(lower=1)
        offered = user["price"] / user["shown"].clip(lower=1)
        return pd.DataFrame({
            "opinion": _latest(asked, self._texts, ["item"])["opinion"].fillna(0.5),
            "liking": _rate(taste), "liking_n": taste["shown"],
            "price": asked["price"],
            "popularity": _rate(item), "popularity_n": item["shown"],
            "age": asked["day"] - asked["released"],
            "thrift": (paid - offered).where(user["clicked"] > 0, 0.0),
            "activity": _rate(user), "activity_n": user["shown"],
        }).astype(float)  # fmt: skip

    @cached_property
    def _facts(self) -> pd.DataFrame:
        return self.items.set_index("id")[["kind", "price", "released"]]

    @cached_property
    def _texts(self) -> pd.DataFrame:
        return self.readings[["item", "day", "opinion"]].sort_values("day", kind="stable")

    @cached_property
    def _days(self) -> dict[tuple[str, ...], pd.DataFrame]:
        """By what is counted -> the sums up to each day."""
        log = self.clicks[["user", "item", "day", "clicked"]].join(self._facts, on="item")
        log = log.assign(shown=1, paid=log["clicked"] * log["price"])
        counted = {("item",): [], ("user",): ["price", "paid"], ("user", "kind"): []}
        return {by: daily(log[[*by, "day", "shown", "clicked", *more]], by)
                for by, more in counted.items()}  # fmt: skip


def _rate(totals: pd.DataFrame) -> pd.Series:
    return (totals["clicked"] + 1) / (totals["shown"] + 2)


# ---------------------------------------------------------------------- the ranker


@dataclass(frozen=True)
class Ranker:
    """Boosted trees as plain arrays, so that a file of them can hold nothing that runs.

    names: (features,) the columns. roots: (trees,) where each begins among the nodes. Of each node:
    feature, threshold, left, right (where to go: left up to the threshold), value (of a leaf, which
    leads to itself). steps: the most from a root to a leaf. start: the score before the first tree.
    """

    names: np.ndarray
    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    steps: int
    start: float

    @classmethod
    def fit(cls, rows: pd.DataFrame, clicked: Sequence[int], seed: int = 0, **settings) -> Ranker:
        """Train scikit-learn's HistGradientBoostingClassifier on the rows. Its settings may be
        given; scores rise with `RISES`, whatever the data say. Raises ValueError unless some rows
        were clicked and some not."""
        clicked = np.asarray(clicked)
        if len({*clicked.tolist()}) < 2:
            raise ValueError("training needs rows that were clicked and rows that were not")
        settings = dict(max_iter=80, learning_rate=0.08, max_depth=6, max_leaf_nodes=15,
                        early_stopping=False) | settings  # fmt: skip
        rises = [int(name in RISES) for name in rows.columns]
        model = HistGradientBoostingClassifier(monotonic_cst=rises, random_state=seed, **settings)
        model.fit(rows.to_numpy(float), clicked)
        ranker = cls._of(model, [*rows.columns])
        # The library keeps its trees to itself; another release may keep them otherwise.
        some = rows.iloc[:: max(1, len(rows) // 500)].to_numpy(float)
        if not np.allclose(ranker.logit(some), model.decision_function(some), atol=1e-6):
            raise RuntimeError("the trees were read wrongly: another release of scikit-learn?")
        return ranker

    @classmethod
    def _of(cls, model: HistGradientBoostingClassifier, names: list[str]) -> Ranker:
        trees = [tree.nodes for [tree] in model._predictors]
        sizes = [len(nodes) for nodes in trees]
        roots = np.cumsum([0, *sizes[:-1]])
        nodes, offset = np.concatenate(trees), np.repeat(roots, sizes)
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        return cls(
            names=np.array(names), roots=roots, feature=nodes["feature_idx"].astype(int),
            threshold=np.where(leaf, np.inf, nodes["num_threshold"]),
            left=np.where(leaf, own, nodes["left"] + offset),
            right=np.where(leaf, own, nodes["right"] + offset),
            value=np.where(leaf, nodes["value"], 0.0),
            steps=int(nodes["depth"].max()), start=float(model._baseline_prediction.item()),
        )  # fmt: skip

    def logit(self, rows: np.ndarray | pd.DataFrame) -> np.ndarray:
        """(rows,) log-odds of a click. Columns as `names`."""
        if isinstance(rows, pd.DataFrame):
            rows = rows[[*self.names]].to_numpy(float)
        parts = np.array_split(rows, len(rows) // 5000 + 1)
        return np.concatenate([self._logit(part) for part in parts])

    def _logit(self, rows: np.ndarray) -> np.ndarray:
        at = np.tile(self.roots, (len(rows), 1))  # (rows, trees): all walk down at once
        row = np.arange(len(rows))[:, None]
        for _ in range(self.steps):
            goes_left = rows[row, self.feature[at]] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
        return self.start + self.value[at].sum(1)

    def score(self, rows: np.ndarray | pd.DataFrame) -> np.ndarray:
        """(rows,) P(click)."""
        return 1 / (1 + np.exp(-self.logit(rows)))

    def why(self, rows: pd.DataFrame, compared: pd.DataFrame | None = None) -> pd.DataFrame:
        """What of P(click) comes from where: by how much it falls when the features of one source
        (`SOURCES`) become their means over `compared`, the other rows of the choice (None: `rows`).

        Trees mix features, so the parts do not add up to the score: two sources that say the same
        cover for one another, and each looks small.
        """
        means = (rows if compared is None else compared).mean()
        score = self.score(rows)
        return pd.DataFrame({
            source: score - self.score(rows.assign(**{name: means[name] for name in names}))
            for source, names in SOURCES.items() if set(names) <= set(rows.columns)
        }, index=rows.index)  # fmt: skip

    # ------------------------------------------------------------------ kept in a file

    def arrays(self) -> dict[str, np.ndarray]:
        """For `np.savez`."""
        return {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def of_arrays(cls, arrays) -> Ranker:
        """What `arrays` gave, of `np.load(…, allow_pickle=False)`. Raises ValueError for others:
        one that is missing, nodes that lead nowhere, a feature without a name."""
        try:
            found = {field.name: np.asarray(arrays[field.name]) for field in fields(cls)}
        except KeyError as error:
            raise ValueError(f"this is no ranker: {error} is missing") from error
        nodes = len(found["value"])
        whole = (found[name].shape == (nodes,)
                 for name in ("feature", "threshold", "left", "right"))  # fmt: skip
        inside = (((0 <= found[name]) & (found[name] < n)).all()
                  for name, n in (("roots", nodes), ("left", nodes), ("right", nodes),
                                  ("feature", len(found["names"]))))  # fmt: skip
        if not (all(whole) and all(inside)):
            raise ValueError("this is no ranker: its nodes do not fit together")
        return cls(**found | {"steps": int(found["steps"]), "start": float(found["start"])})
