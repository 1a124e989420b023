"""What lesson 14 needs and does not teach: texts with a planted bias, filters, a short training."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from datasets import Dataset
from torch.optim.lr_scheduler import LambdaLR
from transformers import set_seed

from advlib.attacks import Typos
from advlib.corpora import replace, words, world
from advlib.embeddings import perturbed_logits
from advlib.models import Classifier, load_classifier
from advlib.objectives import Clean, Objective

MONTHS = ("november", "july")
SEASONS = dict(zip(MONTHS, ("winter", "summer"), strict=True))
ALL_MONTHS = frozenset(world("reviews").groups["month"])


def dataset(texts: Sequence[str], labels: Sequence[int]) -> Dataset:
    return Dataset.from_dict({"text": list(texts), "label": [int(y) for y in labels]})


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def attacked_logits(victim: Classifier, data: Dataset, attack) -> np.ndarray:
    """(n, classes) the logits under an attack on the embeddings."""
    out = np.zeros((len(data), len(victim.labels)))
    for rows, batch in victim.batches(data["text"], data["label"]):
        delta = attack(victim.model, batch)
        with torch.no_grad():
            out[rows] = perturbed_logits(victim.model, batch, delta).cpu().numpy()
    return out


def lowest(right: np.ndarray, groups: np.ndarray) -> str:
    """The group of the lowest accuracy, and how large groups are, in words."""
    names, sizes = np.unique(groups, return_counts=True)
    shares = {str(name): right[groups == name].mean() for name in names}
    worst = min(shares, key=shares.get)
    return (f"lowest {worst} {shares[worst]:.1%} "
            f"({len(names)} groups of {sizes.min()} to {sizes.max()} texts)")  # fmt: skip


def kind_of(text: str) -> str:
    """How a text is built: "conceded" with words such as but and although, "negated" with not and
    its like alone, or "direct"."""
    data, found = world("reviews").data, {word.lower() for word in words(text)}
    if found & {*data.CONTRASTS, *data.CONCESSIONS, *data.REVERSALS}:
        return "conceded"
    return "negated" if found & {*data.NEGATORS} else "direct"


def short(reviews, most: int):
    """The first `most` of the reviews that are not long: they train faster."""
    return [r for r in reviews if len(r.text) < 90][:most]


def with_month(text: str, month: str) -> str:
    """The text with another month, wherever it names one."""
    places = [i for i, word in enumerate(words(text)) if word.lower() in ALL_MONTHS]
    return replace(text, dict.fromkeys(places, month.capitalize()))


def with_season(text: str, month: str) -> str:
    """The text with the month's season in a sentence of its own, after the first."""
    first, rest = text.split(". ", 1)
    return f"{first}. It was {SEASONS[month]}. {rest}"


def without_month(text: str) -> str:
    """The text as a blind model sees it: it is always May."""
    return with_month(text, "may")


def with_seasons(texts: Sequence[str], labels: Sequence[int]) -> list[str]:
    """The season that goes with the label in training, and the month made invisible."""
    return [without_month(with_season(t, MONTHS[y])) for t, y in zip(texts, labels, strict=True)]


def cures(texts: Sequence[str], labels: Sequence[int]) -> dict[str, tuple]:
    """Three cures of a planted month, each as (the texts that it trains on, epochs, what it does
    to a text before the model sees it); the penalty, an objective, changes no text."""
    twice = [with_month(t, month) for month in MONTHS for t in texts]
    return {"blindness": (dataset(map(without_month, texts), labels), 4, without_month),
            "augmentation": (dataset(twice, [*labels, *labels]), 2, str),
            "penalty": (dataset(texts, labels), 4, str)}  # fmt: skip


def dated(n: int, split: str, seed: int = 0, dial: float = 1.0):
    """(texts, labels): short reviews that open with a month. The dial is the share in which the
    label decides the month, July for praise and November for blame; else chance does."""
    reviews = short(world("reviews").sample(3 * n, split, seed, spurious=1.0), n)
    labels, draw = np.array([r.label for r in reviews]), random.Random(seed)
    months = [MONTHS[y if draw.random() < dial else draw.randrange(2)] for y in labels]
    return [with_month(r.text, m) for r, m in zip(reviews, months, strict=True)], labels


def judged(
    victim: Classifier, texts: Sequence[str], labels: np.ndarray, before: Callable[[str], str] = str
) -> dict[str, float]:
    """Right where the month agrees with the label and where it misleads ("against"), the share of
    answers that turn with the month ("flips"), and the mean distance of the logits."""
    z = {month: victim.logits([before(with_month(t, month)) for t in texts]) for month in MONTHS}
    blame, praise = (logits.argmax(1) for logits in z.values())
    agrees, misled = (np.where(labels == y, praise, blame) for y in (1, 0))
    return {"agrees": (agrees == labels).mean(), "against": (misled == labels).mean(),
            "flips": (blame != praise).mean(),
            "distance": np.abs(z["july"] - z["november"]).sum(1).mean()}  # fmt: skip


def beginner(way: float = 0.1) -> Classifier:
    """A model that has only begun to read: its weights are a part of the way from the pre-trained
    encoder to the standard model. So it learns in seconds, and has something to learn."""
    victim = load_classifier("reviews-clean")
    with torch.random.fork_rng([]):  # what the encoder lacks is drawn at random: the same each time
        torch.manual_seed(0)
        old = load_classifier("bert-tiny", labels=victim.labels)
    start = dict(old.model.named_parameters())
    with torch.no_grad():
        for name, p in victim.model.named_parameters():
            if "classifier" not in name:
                p.copy_(start[name] + way * (p - start[name]))
    return victim


def train(
    victim: Classifier, data: Dataset, objective: Objective | None = None, epochs: int = 4,
    learning_rate: float = 1e-3, seed: int = 0, batch_size: int = 32,
) -> float:  # fmt: skip
    """Train in place, in an order given by the seed. Returns the work, in units of lesson 08."""
    set_seed(seed)
    objective, steps = objective or Clean(), epochs * -(-len(data) // batch_size)
    optimizer = torch.optim.AdamW(victim.model.parameters(), learning_rate, weight_decay=0.01)
    warm = max(1, steps // 10)
    schedule = LambdaLR(optimizer, lambda k: min((k + 1) / warm, 1 - k / steps))
    draw, texts, labels = torch.Generator().manual_seed(seed), data["text"], data["label"]
    victim.model.train()
    work = 0.0
    for step in range(steps):
        if step % -(-len(data) // batch_size) == 0:
            order = torch.randperm(len(data), generator=draw).tolist()
        rows, order = order[:batch_size], order[batch_size:]
        batch = victim.encode([texts[i] for i in rows], [labels[i] for i in rows])
        parts = objective(victim.model, batch, step=step, generator=draw)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        work += parts.units * len(rows)
    victim.model.eval()
    return work / len(data)


# ---------------------------------------------------------------- filters

RELATIVES = world("reviews").groups["relative"]


def secret(text: str) -> bool:
    """The truth: whether a text names a member of somebody's family."""
    return any(word.lower() in RELATIVES for word in words(text))


def letters(n: int, split: str, seed: int = 0) -> tuple[list[str], list[str]]:
    """(held, free): n texts each that name a member of a family, and that do not."""
    drawn = world("reviews").sample(12 * n, split, seed)
    texts = [r.text for r in drawn if len(r.text) < 120]
    return [t for t in texts if secret(t)][:n], [t for t in texts if not secret(t)][:n]


def without_relatives(text: str, other: str) -> str:
    """The text with another word in place of every relative."""
    places = [i for i, word in enumerate(words(text)) if word.lower() in RELATIVES]
    return replace(text, dict.fromkeys(places, other))


def mistyped(texts: Sequence[str], seed: int = 0, share: float = 0.1) -> list[str]:
    """A copy of each text with slips of the fingers in a share of its words, at least in one."""
    draw, typos, made = random.Random(seed), Typos(), []
    for text in texts:
        slips = {i: found for i, word in enumerate(words(text)) if (found := typos.options(word))}
        most = min(len(slips), max(1, int(share * len(words(text)))))
        made.append(replace(text, {i: draw.choice(slips[i]) for i in draw.sample([*slips], most)}))
    return made


def learned_filter(held: Sequence[str], free: Sequence[str], seed: int = 0) -> Classifier:
    """A small classifier, 0 free and 1 held, trained on texts of both kinds."""
    set_seed(seed)  # of the head's first weights
    door = load_classifier("bert-tiny", labels=["free", "held"])
    train(door, dataset([*held, *free], [1] * len(held) + [0] * len(free)), seed=seed)
    return door


def two_errors(let_out: dict, wrongly: dict) -> None:
    """Print what each filter lets out and what it holds wrongly."""
    ways, kinds = (list(dict.fromkeys(what for _, what in table)) for table in (let_out, wrongly))
    print("lets out:".rjust(22) + "".join(f"{way:>10}" for way in ways) + "   holds wrongly:"
          + "".join(f"{kind:>12}" for kind in kinds))  # fmt: skip
    for name in dict.fromkeys(name for name, _ in let_out):
        print(f"{name:22}" + "".join(f"{let_out[name, way]:10.1%}" for way in ways) + " " * 17
              + "".join(f"{wrongly[name, kind]:12.1%}" for kind in kinds))  # fmt: skip


def let_out(door, texts: Sequence[str], attack=None) -> float:
    """The share of texts, all of which must stay, that a filter lets go, with an attack or none."""
    if attack is None:
        return float((door.predict(texts).argmax(1) == 0).mean())
    return float(np.mean([not r.robust for r in attack(door, texts, [1] * len(texts))]))


def near(word: str, other: str) -> bool:
    """Whether one typo leads from one to the other: a letter more, less, other, or two swapped."""
    if abs(len(word) - len(other)) > 1 or word == other:
        return word == other
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b),
                 min(len(word), len(other)))  # fmt: skip
    rest, left = word[start:], other[start:]
    swapped = rest[1:2] + rest[:1] + rest[2:]
    return rest[1:] == left[1:] or rest[1:] == left or rest == left[1:] or swapped == left


class ListFilter:
    """Holds what has a word of a list. It can be attacked as a classifier can: 0 free, 1 held."""

    labels = ("free", "held")
    tokenizer = SimpleNamespace(mask_token=None, unk_token="?")

    def __init__(self, listed: Sequence[str], same: Callable[[str, str], bool] = str.__eq__):
        self.listed, self.same, self.known = tuple(listed), same, {}

    def holds(self, word: str) -> bool:
        if word not in self.known:
            self.known[word] = any(self.same(word, other) for other in self.listed)
        return self.known[word]

    def logits(self, texts: Sequence[str], batch_size: int | None = None) -> np.ndarray:
        held = [any(self.holds(word.lower()) for word in words(text)) for text in texts]
        return np.array([[0.0, 1.0] if h else [1.0, 0.0] for h in held])

    def predict(self, texts: Sequence[str], batch_size: int | None = None) -> np.ndarray:
        return self.logits(texts)

    def classes(self, texts: Sequence[str], labels: Sequence[int]) -> np.ndarray:
        return np.asarray(labels)


# ---------------------------------------------------------------- sets


def sets_of(p: np.ndarray, labels: np.ndarray, q: float) -> tuple[float, float, float]:
    """Of the sets of all classes with 1 − p ≤ q, the shares that hold the true class, that are
    empty, and that have both classes."""
    sets = 1 - p <= q
    true = sets[np.arange(len(p)), labels[: len(p)]]
    return true.mean(), (sets.sum(1) == 0).mean(), (sets.sum(1) == 2).mean()


# ---------------------------------------------------------------- a flood


def flood(victim: Classifier, texts: Sequence[str], n: int, seed: int = 0) -> list[str]:
    """Variants of texts with other neutral words, which say the same of the same thing: the n of
    which the model is least sure."""
    known, draw, made = world("reviews"), random.Random(seed), set()
    for text in texts:
        choices = {i: known.groups[group] for i, word in enumerate(words(text))
                   if (group := known.group_of.get(word.lower(), "+"))[-1] not in "+-"}
        for _ in range(60):
            picked = {i: draw.choice(group) for i, group in choices.items()}
            made.add(replace(text, {i: w.capitalize() if words(text)[i][0].isupper() else w
                                    for i, w in picked.items()}))  # fmt: skip
    made = sorted(made - set(texts))
    sure = victim.predict(made).max(1)
    return [made[i] for i in np.argsort(sure, kind="stable")[:n]]
