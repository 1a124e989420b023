"""A recommender that reads texts, and a seller who rewords, stuffs or lies. Three seeds.

    python benchmarks/recommender.py                              some ten minutes of a CPU core
    python benchmarks/recommender.py --train                      some thirty: four readers more
    python benchmarks/recommender.py --data ITEMS.csv CLICKS.csv  your own shop; prints NDCG alone

Writes docs/results/recommender.md. What a seed gave is kept in runs/benchmark-recommender; take it
away to measure anew. `--load` measures a running program only, and writes that section anew.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import torch
from datasets import Dataset
from sklearn.decomposition import PCA
from transformers import set_seed

import advlib
from advlib.attacks import FGM, WordSubstitution
from advlib.certify import canonical
from advlib.corpora import words, world
from advlib.corpora.shop import DAYS, Market, market
from advlib.finetuning import finetune
from advlib.objectives import Adversarial, Words
from advlib.systems.clicks import Known, Ranker, Reader
from advlib.systems.ranking import extend, ndcg, promote, reword_at_random, seen

from common import put, table, write

K, TARGETS, SHARE = 10, 10, 0.3  # the first K; items attacked; of the words, how many may change
STUFFED, LIES, DRAWS = 5, 2, 5  # words, sentences; random rewordings of a text
TEXTS, EPOCHS, EPS = 1000, 6, 0.3  # of a reader's training
WORLD = world("shop")
NOTHING = "no defence: `reviews-clean` reads"
WHOLE = "no defence, among all items"
LOAD = "Under load"
KEPT = Path("runs/benchmark-recommender")


# ---------------------------------------------------------------------- readers


def reworded(texts: list[str], seed: int) -> list[str]:
    """Each with three words in ten replaced at random, wherever there is another."""
    found = []
    for i, text in enumerate(texts):
        options = WORLD.substitutes(text)
        found.append(reword_at_random(text, options, int(SHARE * len(options)), 1000 * seed + i))
    return found


def train_reader(how: str, seed: int):
    """bert-tiny, trained anew to read opinions."""
    rows = WORLD.sample(TEXTS, "train", seed)
    texts, labels = [r.text for r in rows], [r.label for r in rows]
    if how == "random rewordings":
        texts, labels = texts + reworded(texts, seed), labels * 2
    data = Dataset.from_dict({"text": texts, "label": labels})
    set_seed(seed)
    victim = advlib.load_classifier("bert-tiny", labels=["negative", "positive"], device="cpu")
    attack = WordSubstitution(world="shop", rank="gradient", max_queries=20)
    objective = {"adversarial rewordings": lambda: Words(attack, victim, data),
                 "FGM on embeddings": lambda: Adversarial(FGM(EPS))}.get(how, lambda: None)()
    epochs = EPOCHS / 2 if how == "random rewordings" else EPOCHS
    with tempfile.TemporaryDirectory() as folder:
        finetune(victim, data, objective, out=Path(folder), epochs=epochs, learning_rate=1e-3,
                 seed=seed)  # fmt: skip
    return victim


def readers(seed: int, train: bool) -> dict[str, Reader]:
    """Who reads the texts. The ranker behind each is trained with what it reads."""
    clean, fgm, robust = (advlib.load_classifier(f"reviews-{kind}")
                          for kind in ("clean", "fgm", "robust"))
    found = {NOTHING: clean,
             "words made equal": canonical(clean, "shop"),
             "`reviews-robust` reads": robust,
             "`reviews-robust` reads, words made equal": canonical(robust, "shop"),
             "`reviews-fgm` reads": fgm}  # fmt: skip
    if train:
        found |= {f"reader trained on {how}": train_reader(how, seed) for how in
                  ("texts as they are", "random rewordings", "adversarial rewordings",
                   "FGM on embeddings")}  # fmt: skip
    return {name: Reader(victim) for name, victim in found.items()}


# ---------------------------------------------------------------------- a shop and its ranker


@dataclass
class Shop:
    """A market on the day after its last click, with a reader."""

    market: Market
    reader: Reader
    extra: np.ndarray | None = None  # (items, features) of the text besides the opinion

    def __post_init__(self):
        self.items = self.market.items.rename(columns={"day": "released"})
        users, items = len(self.market.users), len(self.items)
        self.shape, self.new = (users, items), self.items["new"].to_numpy()
        self.truth = 1 / (1 + np.exp(-self.market.utility(np.arange(users)[:, None],
                                                          np.arange(items))))
        self.grid = self.features(pd.DataFrame({"user": np.repeat(np.arange(users), items),
                                                "item": np.tile(np.arange(items), users),
                                                "day": DAYS}))  # fmt: skip
        self.ranker = self.fit()

    def features(self, asked: pd.DataFrame, texts: list[str] | None = None) -> pd.DataFrame:
        opinion = self.reader(self.items["text"] if texts is None else texts)
        known = Known(self.items, self.market.clicks, pd.DataFrame(
            {"item": self.items["id"], "day": self.items["released"], "opinion": opinion}))
        rows = known.features(asked)
        for i in range(0 if self.extra is None else self.extra.shape[1]):
            rows[f"text {i}"] = self.extra[asked["item"], i]
        return rows

    def fit(self, copies: list[list[str]] | None = None, without: tuple = ()) -> Ranker:
        """A ranker; of the clicks, each is once beside each of the copies of all texts."""
        log, rows = self.market.clicks, [self.features(self.market.clicks)]
        rows += [self.features(log, texts) for texts in copies or ()]
        clicked = np.tile(log["clicked"], len(rows))
        return Ranker.fit(pd.concat(rows).drop(columns=[*without]), clicked)

    def quality_of(self, scores: np.ndarray) -> tuple[float, float]:
        """NDCG@10, of all items that the user was not shown, and of the new ones alone; what is
        relevant is the true probability of a click."""
        scores, unseen = np.asarray(scores, float).reshape(self.shape), self.unseen()
        every = ndcg(np.where(unseen, self.truth, 0), np.where(unseen, scores, -np.inf), K)
        return float(np.nanmean(every)), float(ndcg(self.truth[:, self.new],
                                                    scores[:, self.new], K).mean())

    def unseen(self) -> np.ndarray:
        """(users, items), whether the user was never shown the item."""
        log, unseen = self.market.clicks, np.ones(self.shape, bool)
        unseen[log["user"], log["item"]] = False
        return unseen

    def attacked(self, seed: int, among_new: bool = True) -> dict[str, np.ndarray]:
        """(users,) for each thing that a seller does: the share of the attacked items that the user
        sees among the first ten of the new ones, or of all that he was not shown before. Sellers
        act one at a time."""
        bad = self.items[self.new].sort_values("quality", kind="stable").head(TARGETS)
        names = np.flatnonzero(self.new if among_new else self.new | True)
        scores = self.ranker.score(self.grid).reshape(self.shape)
        scores = np.where(self.unseen(), scores, -np.inf)[:, names]
        out = {}
        for item in bad.itertuples():
            column, rows = int(np.searchsorted(names, item.id)), self.grid.iloc[item.id::
                                                                                self.shape[1]]
            for how, texts in self.deeds(item, seed).items():
                shown = []
                for opinion in self.reader(texts):
                    with_it = scores.copy()
                    with_it[:, column] = self.ranker.score(rows.assign(opinion=opinion))
                    shown.append(seen(with_it, K)[:, column])
                out.setdefault(how, []).append(np.mean(shown, 0))
        return {how: np.mean(found, 0) for how, found in out.items()}

    def deeds(self, item, seed: int) -> dict[str, list[str]]:
        """What a seller may do with a text. The score rises with the opinion (`RISES`), so what the
        reader likes best is what the ranker likes best."""
        text, options = item.text, WORLD.substitutes(item.text)
        new = promote(self.reader, text, options, int(SHARE * len(words(text))))
        n = len(new.changed)
        keywords = [group[0] for name, group in WORLD.groups.items() if not name.endswith("-")]
        keywords = random.Random(seed).sample(keywords, 20)
        praise = praise_of(item.kind)
        return {"as it is": [text],
                "random synonyms": [reword_at_random(text, options, n, seed=DRAWS * seed + i)
                                    for i in range(DRAWS)],
                "reworded": [new.text],
                "stuffed": [extend(self.reader, text, keywords, STUFFED, " ").text],
                "one lie": [extend(self.reader, text, praise, 1).text],
                "two lies": [extend(self.reader, text, praise, LIES).text]}  # fmt: skip


@cache
def praise_of(kind: str, most: int = 10) -> list[str]:
    """Sentences that praise things of this kind."""
    return [r.text for r in WORLD.sample(500, "test", seed=77)
            if r.label and r.domain == kind][:most]  # fmt: skip


def worst_copies(shop: Shop) -> list[list[str]]:
    """A sixth of the old items as their sellers would reword them, two options a word: what an
    adversarial training of the ranker sees. The others as they are."""
    made = [*shop.items["text"]]
    for i in np.flatnonzero(~shop.new)[::6]:
        few = [found[:2] for found in WORLD.substitutes(made[i])]
        made[i] = promote(shop.reader, made[i], few, int(SHARE * len(few))).text
    return [made]


def vectors_of(texts: pd.Series, size: int = 8) -> np.ndarray:
    """bert-tiny's mean vector as it comes, its first principal components."""
    lm = advlib.load_classifier("bert-tiny", labels=["negative", "positive"], device="cpu")
    found = []
    with torch.no_grad():
        for i in range(0, len(texts), 100):
            batch = lm.tokenizer([*texts[i : i + 100]], padding=True, truncation=True,
                                 max_length=128, return_tensors="pt")  # fmt: skip
            hidden = lm.model.base_model(**batch).last_hidden_state
            mask = batch["attention_mask"][..., None]
            found.append((hidden * mask).sum(1) / mask.sum(1))
    return PCA(size, random_state=0).fit_transform(torch.cat(found).numpy())


# ---------------------------------------------------------------------- the tables


def one_seed(seed: int, train: bool) -> tuple[dict, dict]:
    """name -> NDCG@10 (of all items, of new ones); name -> what sellers earn."""
    drawn, quality, earned = market(seed=seed), {}, {}
    for name, reader in readers(seed, train).items():
        shop = Shop(drawn, reader)
        if name == NOTHING:
            quality |= baselines(shop)
        quality[name] = shop.quality_of(shop.ranker.score(shop.grid))
        earned[name] = shop.attacked(seed)
        tell(seed, name, quality[name], earned[name])
        if name != NOTHING:
            continue
        earned[WHOLE] = shop.attacked(seed, among_new=False)
        for how, copies in {"random": [reworded([*shop.items["text"]], 50 + i) for i in range(2)],
                            "adversarial": worst_copies(shop)}.items():
            shop.ranker = shop.fit(copies)
            name = f"ranker trained on {how} rewordings"
            quality[name] = shop.quality_of(shop.ranker.score(shop.grid))
            earned[name] = shop.attacked(seed)
            tell(seed, name, quality[name], earned[name])
    return quality, earned


def kept_or_new(seed: int, train: bool) -> tuple[dict, dict]:
    """`one_seed`, kept in a file."""
    file = KEPT / f"seed-{seed}{'-trained' * train}.npz"
    if not file.exists():
        quality, earned = one_seed(seed, train)
        KEPT.mkdir(parents=True, exist_ok=True)
        np.savez(file, **{f"quality|{name}": found for name, found in quality.items()},
                 **{f"earned|{name}|{how}": x for name, of in earned.items()
                    for how, x in of.items()})  # fmt: skip
    quality, earned = {}, {}
    for key, found in np.load(file).items():
        what, name, *how = key.split("|")
        if what == "quality":
            quality[name] = found
        else:
            earned.setdefault(name, {})[how[0]] = found
    return quality, earned


def tell(seed, name, quality, earned) -> None:
    print(seed, name, [round(x, 3) for x in quality],
          {how: round(100 * float(x.mean()), 1) for how, x in earned.items()}, flush=True)


def baselines(shop: Shop) -> dict[str, tuple[float, float]]:
    grid, text = shop.grid, ("opinion",)
    with_vectors = Shop(shop.market, shop.reader, vectors_of(shop.items["text"]))
    found = {
        "chance": np.zeros(len(grid)), "price alone": -grid["price"],
        "popularity alone": grid["popularity"], "opinion alone": grid["opinion"],
        "all but the text": shop.fit(without=text).score(grid),
        "all, and bert-tiny's mean vector": with_vectors.ranker.score(with_vectors.grid),
        "the truth": shop.truth,
    }  # fmt: skip
    return {name: shop.quality_of(scores) for name, scores in found.items()}


def interval(values: np.ndarray) -> str:
    """The mean and its 95 % interval over users, in per cent."""
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    return f"{100 * values.mean():.1f} ± {100 * half:.1f}"


def report(seeds: list[tuple[dict, dict]], load: str, command: str) -> None:
    n = len(seeds)
    quality = [[name, *(f"{np.mean([q[name][i] for q, _ in seeds]):.3f} ("
                        + " / ".join(f"{q[name][i]:.2f}" for q, _ in seeds) + ")" for i in (0, 1))]
               for name in seeds[0][0]]  # fmt: skip
    deeds = [*seeds[0][1][NOTHING]]
    earned = []
    for name in seeds[0][1]:
        all_ = {how: np.concatenate([e[name][how] for _, e in seeds]) for how in deeds}
        gained = all_["reworded"] - all_["random synonyms"]
        by_seed = " / ".join(f"{100 * found.mean():+.1f}" for found in np.split(gained, n))
        earned.append([name, *(interval(all_[how]) for how in deeds),
                       f"{interval(gained)} ({by_seed})"])  # fmt: skip
    users = len(all_["reworded"])
    write("recommender", "A recommender, and sellers who reword, stuff or lie", "\n\n".join([
        INTRODUCTION.format(n=n, users=users),
        "## How good", QUALITY.format(n=n), table(["ranked by", "all items", "new items"], quality),
        "## What sellers earn", EARNED.format(n=n, users=users),
        table(["defence", *deeds, "reworded − random"], earned),
        f"## {LOAD}", load,
    ]), command)  # fmt: skip


INTRODUCTION = f"""\
The market of the world `shop`: 300 users and 400 items of ten kinds, 100 of them new (nobody was
shown them before). An item's text is three short opinions; its quality is the share of them that
praise. Whether a user clicks follows a known formula of kind, quality and price, so the best
ranking is known. A ranker (boosted trees) learns from 18,000 rows of a log; each feature of a row
counts earlier days only. {{n}} seeds of the market. `reviews-…` are the embedded victims, one
training each. A "reader trained on" something (`--train`) is trained anew for each seed, on
{TEXTS} texts of the shop, {EPOCHS} epochs; random rewordings: the texts and a reworded copy of
each, half as many epochs; adversarial rewordings: known substitutes, found by gradient with 20
queries a text, anew in each update."""

QUALITY = """\
NDCG@10, relevance = the true probability of a click, one day after the log ends; the mean of {n}
seeds (and each). "All items" are those that the user was not shown before."""

EARNED = f"""\
Threat model: the seller of a new item knows the reader and may ask it as often as he likes; he may
change its text and nothing else. Attacked, one at a time, are {TARGETS} new items in whose text
nothing praises. *Random synonyms*: as many words as the rewording changes ({DRAWS} draws);
*reworded*: at most 30 % of the words, by known substitutes, greedy (`promote`); *stuffed*: up to
{STUFFED} bare words out of 20, the commonest of their groups, none of blame; *lies*: sentences of
praise of its kind, from other texts. In per cent: the share of users who see the item among their
first ten of the 100 new ones, the mean over the attacked items (one row: among the first ten of all
items that the user was not shown before, where a new one has it harder). ± is a 95 % interval over
the {{users}} users of {{n}} markets. It covers other users of these markets; it does not cover
other items, other markets or another training, for which look at the seeds in the last column. A
reader of one row has its ranker trained with it."""


# ---------------------------------------------------------------------- load, and data of one's own


def load_test(per_second: float = 10, seconds: float = 20) -> str:
    """Requests at a fixed rate to a running program, whether or not the last one was answered."""
    import json
    import os
    import subprocess
    import sys
    import threading
    from urllib.parse import quote
    from urllib.request import Request, urlopen

    rng, took, failed, place = random.Random(0), {}, [], threading.Lock()

    def ask(what: str, address: str, body: dict | None) -> None:
        start = time.perf_counter()
        data = None if body is None else json.dumps(body).encode()
        try:
            urlopen(Request(address, data, {"Content-Type": "application/json"}), timeout=60).read()
        except OSError as error:
            failed.append(str(error))
        with place:
            took.setdefault(what, []).append(1000 * (time.perf_counter() - start))

    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "examples.recommender", "--store", f"{folder}/s.sqlite",
             "--port", "0", "--per-minute", "100000"], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONUNBUFFERED": "1"})  # fmt: skip
        try:
            line = next(line for line in server.stdout if "http://" in line)
            home = "http://" + line.split("http://")[1].split()[0] + "/api/"
            ask("warm", home + "top?user=user%200", None)
            cpu = psutil.Process(server.pid).cpu_times()
            texts, threads = [r.text for r in WORLD.sample(200, "test", seed=5)], []
            for i in range(int(per_second * seconds)):
                if i % 5 < 4:
                    user = quote(f"user {rng.randrange(300)}")
                    job = ("a user's list", f"{home}top?user={user}", None)
                else:
                    job = ("a seller's place", home + "place",
                           {"text": texts[i % 200], "item": None, "kind": "lamps", "price": 20})
                threads.append(threading.Thread(target=ask, args=job))
                threads[-1].start()
                time.sleep(1 / per_second)
            for thread in threads:
                thread.join()
            later = psutil.Process(server.pid).cpu_times()
            spent = 1000 * (later.user + later.system - cpu.user - cpu.system) / len(threads)
        finally:
            server.terminate()
            server.wait()
    rows = [[what, len(found), *(f"{np.percentile(found, q):.0f}" for q in (50, 95))]
            for what, found in took.items() if what != "warm"]  # fmt: skip
    return (f"{per_second:g} requests a second for {seconds:g} s, whether or not the last one was "
            f"answered, to one process; {len(failed)} failed. A request took {spent:.0f} ms of "
            f"CPU in the mean; the load of the machine was {os.getloadavg()[0]:.0f} on "
            f"{os.cpu_count()} cores meanwhile.\n\n"
            + table(["request", "n", "p50, ms", "p95, ms"], rows))  # fmt: skip


def own_data(items_file: Path, clicks_file: Path) -> None:
    """NDCG@10 of the last fifth of the days' clicks, by what was learned before them. A user's list
    is what he was shown in that time."""
    from examples.recommender.shop import read_shop

    items, log = map(pd.DataFrame, read_shop(items_file, clicks_file))
    days = np.sort(log["day"].unique())
    late = log["day"] >= days[int(0.8 * len(days))]
    reader = Reader(advlib.load_classifier("reviews-robust"))
    known = Known(items, log[~late], items.rename(columns={"id": "item", "released": "day"})[
        ["item", "day"]].assign(opinion=reader(items["text"])))
    asked = log[late].assign(day=log["day"][late].min())  # nothing that happened since is known
    rows, grid = known.features(log[~late]), known.features(asked)
    text = ["opinion"]
    scores = {"price": -grid["price"], "popularity": grid["popularity"],
              "all but the text": Ranker.fit(rows.drop(columns=text), log["clicked"][~late])
              .score(grid), "all": Ranker.fit(rows, log["clicked"][~late]).score(grid)}  # fmt: skip
    out = []
    for name, found in scores.items():
        asked["score"] = np.asarray(found)
        each = [ndcg([part["clicked"]], [part["score"]], K)[0] for _, part in asked.groupby("user")]
        out.append([name, f"{np.nanmean(each):.3f}", int(np.isfinite(each).sum())])
    print(table(["ranked by", "NDCG@10", "users"], out))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--data", type=Path, nargs=2)
    parser.add_argument("--train", action="store_true", help="also readers trained anew, per seed")
    parser.add_argument("--load", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.data:
        own_data(*options.data)
    elif options.load:
        put("recommender", LOAD, load_test())
    else:
        found = [kept_or_new(seed, options.train) for seed in range(options.seeds)]
        report(found, load_test(), "python benchmarks/recommender.py" + " --train" * options.train)


if __name__ == "__main__":
    main()
