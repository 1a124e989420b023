"""What the recommender does. It knows no page."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from advlib.corpora import words, world
from advlib.systems.clicks import Known, Ranker, Reader
from advlib.systems.ranking import expected_weight, promote, seen
from examples.recommender.shop import LONGEST_NAME, LONGEST_TEXT, WORLD, kind_of, number
from examples.recommender.store import ShopStore
from examples.serving import Limiter, ServingError, usable

FIRST = 10  # items that a user is sure to see
PANEL = 100  # users whose lists are looked at for a seller
MOST_REWORDED = 0.3  # of the words, by `reword`
LONGEST_REWORDED = 800  # characters: the reader is asked about every other word
HOME = Path(__file__).parents[2]  # where `python -m examples.recommender` works


def load_reader(model: str, plain: bool) -> Reader:
    """A victim that reads texts; unless `plain`, in the canonical form of the world."""
    from advlib.certify import canonical  # with PyTorch, which nothing else here needs
    from advlib.models import load_classifier

    victim = load_classifier(model)
    if "positive" not in victim.labels:
        raise ServingError(f"the model {model!r} has no class named 'positive', so it reads no "
                           "opinions: take one that does, such as reviews-robust")  # fmt: skip
    return Reader(victim if plain else canonical(victim, WORLD))


def train(store: ShopStore, reader: Reader, name: str) -> int:
    """Train a ranker on all clicks and put it into the store. Returns on how many."""
    clicks = store.clicks()
    if clicks["clicked"].nunique() < 2:
        raise ServingError("the log has no row that was clicked, or none that was left: a ranker "
                           "learns from both")  # fmt: skip
    rows = known(store, reader, clicks).features(clicks)
    store.save(Ranker.fit(rows, clicks["clicked"]), name, len(clicks))
    return len(clicks)


def known(store: ShopStore, reader: Reader, clicks: pd.DataFrame) -> Known:
    texts = store.texts()
    return Known(store.items(), clicks, texts.assign(opinion=reader(texts["text"])))


@dataclass(frozen=True)
class State:
    """The shop as it is between two changes."""

    version: tuple
    today: int
    items: pd.DataFrame
    known: Known
    ranker: Ranker
    panel: list[str]
    scores: np.ndarray  # (panel, items)
    new: np.ndarray  # (items,) never shown before today


def pairs(users: list[str], items: list[str], day: int) -> pd.DataFrame:
    """All pairs, user by user, to ask for the features of."""
    return pd.DataFrame({"user": np.repeat(users, len(items)), "item": items * len(users),
                         "day": day})  # fmt: skip


@dataclass
class Recommender:
    """store: filled. reader, name: what reads texts, and what it is called. arguments: those of a
    training in the background (`--reader …`)."""

    store: ShopStore
    reader: Reader
    name: str
    limiter: Limiter
    arguments: list[str] = field(default_factory=list)

    def __post_init__(self):
        self._turn, self._state = threading.Lock(), None
        self.trains, self.said = False, ""

    def now(self) -> State:
        """The shop as it is, read anew only where something has changed."""
        with self._turn:
            version = self.store.version()
            if self._state is None or self._state.version != version:
                self._state = self._look(version)
            return self._state

    def _look(self, version: tuple) -> State:
        ranker = self.store.ranker(self.name)
        if ranker is None:
            raise ServingError(f"no ranker was trained with {self.name}: train one first")
        shop, panel = known(self.store, self.reader, self.store.clicks()), self.store.users(PANEL)
        today, names = version[0], [*shop.items["id"]]
        rows = shop.features(pairs(panel, names, today))
        scores = ranker.score(rows).reshape(len(panel), -1)
        new = rows["popularity_n"].to_numpy()[: len(names)] == 0
        return State(version, today, shop.items, shop, ranker, panel, scores, new)

    # ------------------------------------------------------------------ for a user

    def top(self, user: str, n: int = FIRST, new: bool = False) -> list[dict]:
        """The n items that the user most likely clicks, of those not clicked before, each with its
        score, P(click), and `why`: how much of it would be missing (`Ranker.why`).

        new: only items that nobody was shown before today. A user without a past is a user like any
        other, of whom nothing is known.
        """
        user, state = usable(user, "the user", LONGEST_NAME), self.now()
        if not 1 <= n <= 100:
            raise ServingError(f"a list has 1 to 100 items, not {n}")
        there = state.items[state.new] if new else state.items
        there = there[~there["id"].isin(self.store.clicked(user))]
        if there.empty:
            return []
        rows = state.known.features(pairs([user], [*there["id"]], state.today))
        score = state.ranker.score(rows)
        best = np.argsort(-score, kind="stable")[:n]
        why = state.ranker.why(rows.iloc[best], compared=rows).drop(columns="user")
        return [there.iloc[i][["id", "kind", "text", "price"]].to_dict()
                | {"score": float(score[i]), "why": why.loc[rows.index[i]].to_dict()}
                for i in best]  # fmt: skip

    # ------------------------------------------------------------------ for a seller

    def place(self, text: str, name: str | None = None, kind: str = "", price: float = 0) -> dict:
        """Where an item would stand with another text, and where it stands: `after` and `before`,
        each with the opinion that is read in it, the place (the middle one over 100 users), the
        share of them who see it among their first ten, and among how many items.

        name: of an item that is there; None: a new one of this kind and price, with no `before`.
        Nothing is saved.
        """
        text = usable(text, "the text", LONGEST_TEXT)
        if name is not None:
            item, state = self.store.item(name), self.now()
            column = [*state.items["id"]].index(name)
            new = bool(state.new[column])
        else:
            state = self.now()
            item, column, new = _draft(kind, price, state.today), len(state.items), True
        there = np.append(state.new if new else np.ones(len(state.items), bool), False)
        there[column] = True
        scores = np.c_[state.scores, np.full(len(state.panel), -np.inf)]
        out = {"item": name, "new": new}
        if name is not None:
            out["before"] = self._stand(scores, column, there, item["text"])
        scores[:, column] = self._scores_with(state, item, text)
        return out | {"after": self._stand(scores, column, there, text)}

    def _scores_with(self, state: State, item: dict, text: str) -> np.ndarray:
        """(panel,) the scores that the item would have with this text."""
        shop = state.known
        if item["id"] not in {*shop.items["id"]}:
            items = pd.concat([shop.items, pd.DataFrame([item])])
            shop = Known(items, shop.clicks, shop.readings)
        rows = shop.features(pairs(state.panel, [item["id"]], state.today))
        return state.ranker.score(rows.assign(opinion=self.reader([text])[0]))

    def _stand(self, scores: np.ndarray, column: int, there: np.ndarray, text: str) -> dict:
        scores, column = scores[:, there], int(there[:column].sum())
        places = expected_weight(scores, 1 + np.arange(scores.shape[1]))[:, column]
        return {"opinion": float(self.reader([text])[0]), "place": float(np.median(places)),
                "seen": float(seen(scores, FIRST)[:, column].mean()),
                "among": scores.shape[1]}  # fmt: skip

    def reword(self, text: str) -> str:
        """What a seller would try: other words that mean the same, chosen so that the reader likes
        the text better. Only words that the embedded world knows; of texts of another origin nobody
        knows whether the meaning stays."""
        text = usable(text, "a text to reword", LONGEST_REWORDED)
        most = int(MOST_REWORDED * len(words(text)))
        return promote(self.reader, text, world(WORLD).substitutes(text), most).text

    # ------------------------------------------------------------------ training

    def start_training(self) -> None:
        """Train in a process of its own. Raises ServingError while one is running."""
        with self._turn:
            if self.trains:
                raise ServingError("a training is running already: wait for its end")
            self.trains, self.said = True, ""
        threading.Thread(target=self._train, daemon=True).start()

    def _train(self) -> None:
        command = [sys.executable, "-m", "examples.recommender", "--train", "--store",
                   str(self.store.store.path.resolve()), *self.arguments]  # fmt: skip
        done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
        if done.returncode:
            self.said = (done.stderr.strip().splitlines() or ["the training was stopped"])[-1]
        self.trains = False

    def training(self) -> dict:
        """Whether one is running, what the last one said where it failed, and what there is."""
        return {"running": self.trains, "failed": self.said, "rankers": self.store.rankers()}


def _draft(kind: str, price: float, today: int) -> dict:
    """An item that is not there yet."""
    return dict(id="\0draft", kind=kind_of(kind), price=number(price, "the price"),
                released=today)  # fmt: skip
