"""A small network over words, and boxes that can be carried through it.

A word becomes a row of a table; a word's **box** holds the rows of all words that may stand in its
place: for every coordinate the smallest and the largest. Each layer is monotone or affine, so a box
goes in and a box comes out, and no member of the box can leave it (interval bound propagation, IBP:
Gowal et al. 2018, arXiv 1810.12715; for words Jia et al. 2019, arXiv 1909.00986).

    words = Vocabulary(world("reviews"))
    x, y = words.ids(texts), torch.tensor(labels)
    model = train(words, x, y, mode="ibp")
    certified(model, x, y)     # lower bound: no member of any group at any place makes it wrong
    search(model, x, y)        # upper bound: a search for members that do
    exact_worst(Reader(model), texts, labels, attack)         # the truth, as for any victim
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, cross_entropy, one_hot

from advlib.corpora.engine import TOKEN, World
from advlib.models import Classifier

PAD, UNKNOWN = 0, 1
MODES = ("plain", "words", "ibp")


class Vocabulary:
    """The words of a world as numbers, and the group of each.

    names: the word of each number. group: (words,), the number of a word's group; a word without
    one is alone in a group of its own. members: (groups, largest), the words of each group, the
    first repeated where it is smaller. size: (groups,).
    A group is a superset of what an attack may use: after "a" and "an" an attack keeps to the words
    of the same initial sound, and a bound over more words holds for fewer.
    """

    def __init__(self, world: World):
        self.names = ["[PAD]", "[UNK]", *world.vocabulary, *".,!?;"]
        self.number = {name: i for i, name in enumerate(self.names)}
        groups = [[self.number[w] for w in words] for words in world.groups.values()]
        grouped = {i for group in groups for i in group}
        groups += [[i] for i in range(len(self.names)) if i not in grouped]
        self.size = torch.tensor([len(group) for group in groups])
        most = int(self.size.max())
        self.members = torch.tensor([group + group[:1] * (most - len(group)) for group in groups])
        self.group = torch.zeros(len(self.names), dtype=torch.long)
        for k, group in enumerate(groups):
            self.group[group] = k
        judging = [name[-1:] in ("+", "-") for name in world.groups]
        judging += [False] * (len(groups) - len(judging))
        self.judging = torch.tensor(judging)[self.group]  # (words,): is it a word of opinion?

    def ids(self, texts: list[str], length: int = 40) -> Tensor:
        """(texts, length), padded with 0; punctuation counts, capitals do not."""
        out = torch.zeros(len(texts), length, dtype=torch.long)
        for row, text in zip(out, texts, strict=True):
            found = [self.number.get(t, UNKNOWN) for t in TOKEN.findall(text.lower())][:length]
            row[: len(found)] = torch.tensor(found, dtype=torch.long)
        return out

    def random_members(self, ids: Tensor, generator: torch.Generator) -> Tensor:
        """Every word replaced by one of its group, drawn evenly."""
        group = self.group[ids]
        draw = torch.rand(ids.shape, generator=generator) * self.size[group]
        return self.members[group, draw.long()]


class WordCNN(nn.Module):
    """Words to rows, a layer for each word, a filter over five words, the largest over the text,
    two layers on top. With masks no padding has a say."""

    def __init__(self, words: Vocabulary, width: int = 48, hidden: int = 64, classes: int = 2):
        super().__init__()
        self.words = words
        self.table = nn.Embedding(len(words.names), width, padding_idx=PAD)
        self.each = nn.Linear(width, hidden)
        self.filter = nn.Conv1d(hidden, hidden, 5, padding=2)
        self.inner = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, classes)

    def forward(self, ids: Tensor) -> Tensor:
        """Logits, (texts, classes)."""
        mask = (ids != PAD)[..., None]
        x = self.each(self.table(ids)).relu() * mask
        x = self.filter(x.mT).mT.relu() * mask
        return self.out(self.inner(x.amax(1)).relu())

    def boxes(self) -> tuple[Tensor, Tensor]:
        """(lower, upper), (words, width): of each word the corners of its group's box."""
        rows, group = self.table.weight, self.words.group
        index = group[:, None].expand_as(rows)
        empty = rows.new_zeros(len(self.words.size), rows.shape[1])
        ends = [empty.scatter_reduce(0, index, rows, how, include_self=False)
                for how in ("amin", "amax")]  # fmt: skip
        return ends[0][group], ends[1][group]

    def bound(self, ids: Tensor, grown: float = 1.0, free: Tensor | None = None):
        """(lower, upper) logits over all texts that the boxes hold.

        grown: 1 is the whole box, 0 the text alone. free: (texts, length), where words may change.
        """
        rows, (lower, upper) = self.table(ids), self.boxes()
        lower, upper = (rows + grown * (end[ids] - rows) for end in (lower, upper))
        if free is not None:
            lower, upper = (torch.where(free[..., None], end, rows) for end in (lower, upper))
        return self.through(lower, upper, (ids != PAD)[..., None])

    def through(self, lower: Tensor, upper: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """A box of rows, (texts, length, width) each, becomes a box of logits."""
        lower, upper = (end.relu() * mask for end in affine(self.each, lower, upper))
        lower, upper = (end.relu() * mask for end in affine(self.filter, lower, upper))
        lower, upper = affine(self.inner, lower.amax(1), upper.amax(1))
        return affine(self.out, lower.relu(), upper.relu())


def affine(layer: nn.Module, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The centre goes through the layer, the radius through its absolute weights."""
    centre, radius = (upper + lower) / 2, (upper - lower) / 2
    if isinstance(layer, nn.Conv1d):
        centre = layer(centre.mT).mT
        radius = conv1d(radius.mT, layer.weight.abs(), padding=layer.padding).mT
    else:
        centre, radius = layer(centre), radius @ layer.weight.abs().T
    return centre - radius, centre + radius


def worst_logits(lower: Tensor, upper: Tensor, labels: Tensor) -> Tensor:
    """The corner of the box that is worst for the label: its own logit low, all others high."""
    return torch.where(one_hot(labels, lower.shape[1]).bool(), lower, upper)


def train(
    words: Vocabulary, ids: Tensor, labels: Tensor, mode: str = "ibp", *, epochs: int = 8,
    start: float = 0.1, kappa: float = 0.8, lr: float = 2e-3, batch: int = 32, seed: int = 0,
    width: int = 48, hidden: int = 64,
) -> WordCNN:  # fmt: skip
    """A trained WordCNN, in eval mode. The global random state stays as it is.

    mode: "plain"; "words", where half of the loss is of texts with random members of the groups;
        "ibp", where a share of the loss is of the worst logits of the box. The share grows from 0
        to `kappa`, and the box from nothing to its whole size, from a tenth to seven tenths of the
        training.
    start: standard deviation of the table's rows at the start; PyTorch's own is 1.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {MODES}, got {mode!r}")
    draw = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = WordCNN(words, width, hidden)
    model.table.weight.data *= start
    optimizer = torch.optim.Adam(model.parameters(), lr)
    steps, step = epochs * -(-len(ids) // batch), 0
    longest = (ids != PAD).sum(1)
    for _ in range(epochs):
        for rows in torch.randperm(len(ids), generator=draw).split(batch):
            x, y = ids[rows, : int(longest[rows].max())], labels[rows]
            grown = min(1.0, max(0.0, (step / steps - 0.1) / 0.6))
            loss = cross_entropy(model(x), y)
            if mode == "words":
                loss = (loss + cross_entropy(model(words.random_members(x, draw)), y)) / 2
            elif mode == "ibp" and grown:
                worst = worst_logits(*model.bound(x, grown), y)
                loss = (1 - kappa * grown) * loss + kappa * grown * cross_entropy(worst, y)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
    return model.eval()


@torch.no_grad()
def right(model: WordCNN, ids: Tensor, labels: Tensor) -> Tensor:
    """(texts,) of bool: is the text itself read rightly?"""
    return model(ids).argmax(1) == labels


@torch.no_grad()
def certified(model: WordCNN, ids: Tensor, labels: Tensor, free: Tensor | None = None) -> Tensor:
    """(texts,) of bool: is every text of the box read rightly, for sure?"""
    worst = worst_logits(*model.bound(ids, free=free), labels)
    return margin(worst, labels) > 0


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """The label's logit minus the largest other one; above 0 the label wins."""
    own = one_hot(labels, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).amax(1)


@torch.no_grad()
def search(
    model: WordCNN, ids: Tensor, labels: Tensor, free: Tensor | None = None, rounds: int = 3
) -> Tensor:  # fmt: skip
    """(texts,) of bool: does the text withstand a search for a worse one? At each place in turn
    the member of the group that is worst for the label, again and again until nothing changes."""
    words, out = model.words, torch.ones(len(ids), dtype=torch.bool)
    for k, (text, label) in enumerate(zip(ids, labels, strict=True)):
        text = text[: int((text != PAD).sum())].clone()
        may = torch.ones_like(text, dtype=torch.bool) if free is None else free[k, : len(text)]
        places = [i for i in may.nonzero()[:, 0].tolist() if words.size[words.group[text[i]]] > 1]
        least = margin(model(text[None]), label[None])[0]
        for _ in range(rounds):
            before = text.clone()
            for i in places:
                group = words.group[text[i]]
                tries = text.repeat(int(words.size[group]), 1)
                tries[:, i] = words.members[group, : len(tries)]
                margins = margin(model(tries), label.expand(len(tries)))
                if margins.min() < least:
                    least, text = margins.min(), tries[int(margins.argmin())]
                if least <= 0:
                    break
            if least <= 0 or torch.equal(text, before):
                break
        out[k] = least > 0
    return out


class Reader:
    """A WordCNN in the place of a `Classifier`, for whatever asks about texts alone: attacks on
    words, the exact worst case, a vote over words."""

    labels = ["negative", "positive"]
    tokenizer = SimpleNamespace(unk_token="[UNK]", mask_token="[MASK]")
    classes, predict = Classifier.classes, Classifier.predict

    def __init__(self, model: WordCNN):
        self.model = model

    @torch.no_grad()
    def logits(self, texts: list[str], batch_size: int | None = None) -> np.ndarray:
        """(texts, classes)"""
        ids = self.model.words.ids(list(texts))
        parts = [self.model(some).numpy() for some in ids.split(batch_size or 256)]
        return np.concatenate(parts) if parts else np.zeros((0, self.model.out.out_features))
