"""The world `shop`: short opinions about things that a shop sends, and a market around them.

People write as in `reviews`, in its sentences and with its praise and blame, about other things.
Data only; how to read it stands in `reviews.py`. `market` makes items that such texts describe,
users with tastes, and clicks from a formula, so that the best ranking is known.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pandas as pd

from advlib.corpora import reviews

NAME = "shop"

# The grammar, and how a reader gets the label.
CLAUSES, BODIES = reviews.CLAUSES, reviews.BODIES
CLOSERS, VISIT_CLOSERS = reviews.CLOSERS, reviews.VISIT_CLOSERS
NEGATORS, CONCESSIONS = reviews.NEGATORS, reviews.CONCESSIONS
CONTRASTS, REVERSALS = reviews.CONTRASTS, reviews.REVERSALS
NOT_FELT, NOT_LOVED = reviews.NOT_FELT, reviews.NOT_LOVED
VISITS: set[str] = set()

# Of `reviews`: its praise and blame, and what fits any thing.
KEPT = (
    "general+ general- taste+ taste- comfort+ comfort- price+ price- speed+ speed- build+ build- "
    "sound+ sound- image+ image- trust+ trust- look+ look- clarity+ clarity- fun+ fun- loved+ "
    "loved- love+ love- pleased+ pleased- gladly+ joy+ joy- recommend+ return+ avoid- worth+ "
    "waste- refund- complain- thanked+ very simply particularly found finds honestly relative "
    "friend weekday month occasion number weeks week city anyone money penny bill manual styling "
    "screen battery phone_app audio delivery"
).split()

GROUPS = {name: reviews.GROUPS[name] for name in KEPT} | {
    "kettle": "kettle teapot percolator samovar",
    "spout": "spout lid handle filter",
    "heater": "heater thermostat element",
    "lamp": "lamp lantern nightlight chandelier",
    "shade": "shade lampshade pedestal",
    "switch": "switch dimmer timer",
    "backpack": "backpack rucksack satchel briefcase",
    "harness": "harness padding waistbelt",
    "pockets": "pockets zips flaps clasps",
    "bicycle": "bicycle bike tandem tricycle",
    "saddle": "saddle handlebar grip",
    "pedals": "pedals spokes mudguards tyres",
    "chain": "chain gearshift dynamo",
    "blender": "blender juicer mixer grinder",
    "motor": "motor blade rotor",
    "jug": "jug beaker flask",
    "smoothie": "smoothie milkshake sorbet puree",
    "watch": "watch wristwatch stopwatch pedometer",
    "wristband": "wristband bracelet strap",
    "chair": "chair stool rocker footstool",
    "cushion": "cushion backrest seat",
    "legs": "legs castors armrests hinges",
    "velvet": "velvet upholstery leather varnish",
    "radio": "radio stereo loudspeaker gramophone",
    "knobs": "knobs sliders levers",
    "antenna": "antenna tuner receiver",
    "game": "puzzle jigsaw boardgame cardgame",
    "rules": "rules hints instructions",
    "tiles": "tiles figurines dice counters",
    "round": "round quest riddle contest",
    "box": "packaging box wrapper lettering",
    "coffee": "coffee tea cocoa espresso",
    "aroma": "aroma flavour aftertaste blend",
    "beans": "beans leaves capsules sachets",
}

PLURAL = {"pockets", "pedals", "legs", "knobs", "rules", "tiles", "beans"}

DOMAINS = {
    "kettles": {
        "thing": "kettle",
        "tense": "present",
        "aspects": [
            ("spout", "build"),
            ("heater", "speed"),
            ("styling", "look"),
            ("manual", "clarity"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} bought this {kettle} for my {occasion}.",
            "my {relative} gave me this {kettle} last {week}.",
            "{I} have used this {kettle} for {number} {weeks}.",
            "my {friend} has the same {kettle}.",
        ],
    },
    "lamps": {
        "thing": "lamp",
        "tense": "present",
        "aspects": [
            ("shade", "look"),
            ("shade", "build"),
            ("switch", "trust"),
            ("manual", "clarity"),
            ("delivery", "speed"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} put this {lamp} beside the desk {number} {weeks} ago.",
            "my {relative} chose this {lamp} for my {occasion}.",
            "my {friend} found the same {lamp} in {city}.",
            "{I} bought this {lamp} last {week}.",
        ],
    },
    "backpacks": {
        "thing": "backpack",
        "tense": "present",
        "aspects": [
            ("harness", "comfort"),
            ("pockets", "build"),
            ("styling", "look"),
            ("delivery", "speed"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} carry this {backpack} to work every {weekday}.",
            "{I} took this {backpack} to {city} last {week}.",
            "my {relative} gave me this {backpack} for my {occasion}.",
            "my {friend} has had the same {backpack} for {number} {weeks}.",
        ],
    },
    "bicycles": {
        "thing": "bicycle",
        "tense": "present",
        "aspects": [
            ("saddle", "comfort"),
            ("pedals", "build"),
            ("chain", "trust"),
            ("styling", "look"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} ride this {bicycle} to work every {weekday}.",
            "{I} rode this {bicycle} from {city} to {city}.",
            "my {relative} found this {bicycle} for my {occasion}.",
            "my {friend} sold me this {bicycle} {number} {weeks} ago.",
        ],
    },
    "blenders": {
        "thing": "blender",
        "tense": "present",
        "aspects": [
            ("motor", "speed"),
            ("jug", "build"),
            ("smoothie", "taste"),
            ("manual", "clarity"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} have used this {blender} every {weekday} for {number} {weeks}.",
            "my {relative} bought this {blender} last {week}.",
            "my {friend} gave me this {blender} for my {occasion}.",
            "{I} saw this {blender} in a shop in {city}.",
        ],
    },
    "watches": {
        "thing": "watch",
        "tense": "present",
        "aspects": [
            ("screen", "image"),
            ("wristband", "comfort"),
            ("battery", "trust"),
            ("phone_app", "trust"),
            ("styling", "look"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} have worn this {watch} for {number} {weeks}.",
            "my {relative} gave me this {watch} for my {occasion}.",
            "my {friend} wears the same {watch}.",
            "{I} found this {watch} in {city} last {week}.",
        ],
    },
    "chairs": {
        "thing": "chair",
        "tense": "present",
        "aspects": [
            ("cushion", "comfort"),
            ("legs", "build"),
            ("velvet", "look"),
            ("delivery", "speed"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} put this {chair} by the window {number} {weeks} ago.",
            "my {relative} chose this {chair} last {week}.",
            "my {friend} brought this {chair} from {city}.",
            "{I} bought this {chair} for my {occasion}.",
        ],
    },
    "radios": {
        "thing": "radio",
        "tense": "present",
        "aspects": [
            ("audio", "sound"),
            ("knobs", "build"),
            ("antenna", "trust"),
            ("styling", "look"),
            ("manual", "clarity"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} listen to this {radio} every {weekday}.",
            "my {relative} gave me this {radio} {number} {weeks} ago.",
            "my {friend} has the same {radio} in {city}.",
            "{I} got this {radio} for my {occasion}.",
        ],
    },
    "games": {
        "thing": "game",
        "tense": "present",
        "aspects": [
            ("rules", "clarity"),
            ("tiles", "build"),
            ("round", "fun"),
            ("box", "look"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} bring out this {game} every {weekday}.",
            "{I} tried this {game} with my {friend} last {week}.",
            "my {relative} gave me this {game} for my {occasion}.",
            "my {friend} brought this {game} from {city}.",
        ],
    },
    "coffees": {
        "thing": "coffee",
        "tense": "present",
        "aspects": [
            ("aroma", "taste"),
            ("beans", "taste"),
            ("box", "look"),
            ("delivery", "speed"),
            ("bill", "price"),
        ],
        "openers": [
            "{I} ordered it in {month}.",
            "{I} have had this {coffee} every {weekday} for {number} {weeks}.",
            "my {relative} sent me this {coffee} from {city}.",
            "my {friend} serves the same {coffee}.",
            "{I} got this {coffee} for my {occasion}.",
        ],
    },
}
KINDS = tuple(DOMAINS)


# ---------------------------------------------------------------------- the market

OLD_DAYS, DAYS = 60, 90  # items come out in the first; clicks go on until the end
LIKED = 3  # kinds that a user likes
LIKES, OPINION, BASE = 2.5, 4.0, -2.5  # of the formula
PRICE, SPREAD = 20.0, 0.5  # the median, and the standard deviation of the logarithm


@dataclass(frozen=True)
class Market:
    """Items, users and clicks, and the formula that they come from.

    items: id, kind (a domain of the world), text (the reviews, one a line), quality (the share of
        them that praise), price, day (when it came out) and new (whether it came out after the last
        click). users: id, tastes (the kinds they like), thrift (how much a price repels them).
    clicks: user, item, day and clicked (0 or 1), a row for each time that an item was shown, in the
        order of days; shown were items that were out, at random.
    """

    items: pd.DataFrame
    users: pd.DataFrame
    clicks: pd.DataFrame

    def utility(self, user, item):
        """What an item is worth to a user; they click with the probability 1/(1 + exp(−utility)):

            2.5·[the user likes the kind] + 4·(quality − ½) − thrift·log(price/20)/0.5 − 2.5

        user, item: ids, or arrays of them that NumPy broadcasts, as in utility(users[:, None],
        items), which is (users, items). Raises ValueError for an id that there is not.
        """
        user, item = np.asarray(user), np.asarray(item)
        for name, ids, n in (("user", user, len(self.users)), ("item", item, len(self.items))):
            if ids.size and not (ids.dtype.kind in "iu" and 0 <= ids.min() <= ids.max() < n):
                raise ValueError(f"the {name}s are 0 to {n - 1}, got {ids}")
        items = self.items.iloc[item.ravel()]
        kind, quality, price = (items[name].to_numpy().reshape(item.shape)
                                for name in ("kind", "quality", "price"))  # fmt: skip
        likes = np.array([[name in liked for name in KINDS] for liked in self.users["tastes"]])
        number = np.array([KINDS.index(name) for name in kind.ravel()], int).reshape(item.shape)
        thrift = self.users["thrift"].to_numpy()[user]
        return (LIKES * likes[user, number] + OPINION * (quality - 0.5)
                - thrift * np.log(price / PRICE) / SPREAD + BASE)  # fmt: skip


def market(
    users: int = 300, items: int = 400, new: int = 100, seed: int = 0, shown: int = 60,
    texts: int = 3,
) -> Market:  # fmt: skip
    """A market of so many users and items, the last `new` of them new.

    shown: how often each user was shown an old item. texts: reviews of each item, all different,
        of the split "unlabelled". How many of them praise is drawn by a quality of the item's own.
    Raises ValueError for numbers that make no market.
    """
    from advlib.corpora import world

    if users < 1 or shown < 1 or texts < 1 or not 0 <= new < items or shown > items - new:
        raise ValueError(
            "need users, shown and texts above 0 and new from 0 to below items, and no more shown "
            f"than there are old items, got users={users}, items={items}, new={new}, "
            f"shown={shown}, texts={texts}"
        )
    if seed < 0:
        raise ValueError(f"need seed >= 0, got {seed}")
    rng, py = np.random.default_rng(seed), random.Random(seed)
    kind = rng.integers(len(KINDS), size=items)
    praise = rng.random((items, texts)) < rng.beta(2, 2, items)[:, None]
    shelf = _shelf(world(NAME), kind, praise, seed)
    old = np.arange(items) < items - new
    table = pd.DataFrame({
        "id": np.arange(items),
        "kind": [KINDS[k] for k in kind],
        "text": ["\n".join(shelf[KINDS[k], int(good)].pop() for good in row)
                 for k, row in zip(kind, praise, strict=True)],
        "quality": praise.mean(axis=1),
        "price": np.round(PRICE * np.exp(SPREAD * rng.normal(size=items)), 2).clip(0.01),
        "day": np.where(old, rng.integers(OLD_DAYS, size=items), DAYS),
        "new": ~old,
    })  # fmt: skip
    people = pd.DataFrame({
        "id": np.arange(users),
        "tastes": [tuple(sorted(py.sample(KINDS, LIKED))) for _ in range(users)],
        "thrift": rng.gamma(2, 0.4, users),
    })  # fmt: skip
    made = Market(table, people, pd.DataFrame())
    user = np.repeat(np.arange(users), shown)
    item = np.concatenate([rng.choice(items - new, shown, replace=False) for _ in range(users)])
    day = rng.integers(table["day"].to_numpy()[item], DAYS)
    chance = 1 / (1 + np.exp(-made.utility(user, item)))
    clicks = pd.DataFrame({"user": user, "item": item, "day": day,
                           "clicked": (rng.random(len(user)) < chance).astype(int)})  # fmt: skip
    return Market(table, people, clicks.sort_values("day", kind="stable", ignore_index=True))


def _shelf(of, kind: np.ndarray, praise: np.ndarray, seed: int) -> dict[tuple[str, int], list[str]]:
    """Enough texts of each kind and label."""
    need = defaultdict(int)
    for k, row in zip(kind, praise, strict=True):
        for good in row:
            need[KINDS[k], int(good)] += 1
    n = int(1.3 * len(KINDS) * 2 * max(need.values())) + 50
    while True:
        shelf = defaultdict(list)
        for review in of.sample(n, "unlabelled", seed=seed):
            shelf[review.domain, review.label].append(review.text)
        if all(len(shelf[key]) >= count for key, count in need.items()):
            return shelf
        n *= 2
