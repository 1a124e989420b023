"""What lesson 13 explains with: the causes of a label, maps of words, a quick training.

A text is of the world `reviews`. Its words are counted as `words(text)` gives them; a map has one
number for each of them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

import advlib
from advlib.attacks.words import word_tokens
from advlib.corpora import replace, words, world
from advlib.models import Classifier

WORLD = world("reviews")
MONTHS = WORLD.groups["month"]

# ---------------------------------------------------------------- what the world knows


def reads(text: str) -> int | None:
    """The label that the world's reading rule gives, or None where it finds none."""
    try:
        return WORLD.label(text)
    except ValueError:
        return None


def sign(word: str) -> str:
    """"+" for a word of praise, "-" for one of blame, "" for any other."""
    group = WORLD.group_of.get(word.lower(), "")
    return group[-1:] if group[-1:] in ("+", "-") else ""


def opposites(text: str, each: int = 1) -> list[tuple[str, ...]]:
    """For each word, what would say the opposite: for an opinion word some of the opposite group,
    for a negator nothing at all (the empty word). Empty tuple: leave the word."""
    out = []
    for word in words(text):
        own, other = sign(word), {"+": "-", "-": "+"}.get(sign(word), "")
        group = WORLD.group_of.get(word.lower(), "")[:-1] + other
        found = WORLD.groups.get(group, WORLD.groups[f"general{other}"]) if own else ()
        found = tuple(w.capitalize() if word[0].isupper() else w for w in found[:each])
        out.append(("",) if word.lower() in WORLD.data.NEGATORS else found)
    return out


def causes(text: str) -> Tensor:
    """(words,) Whether each word is a cause of the world's label: without it, or with its opposite
    in its place, the world reads another label, or none."""
    label, found = reads(text), []
    for i, other in enumerate(opposites(text)):
        tries = [replace(text, {i: word}) for word in ("", *other)]
        found.append(any(reads(t) != label for t in tries))
    return torch.tensor(found)


def opinion_words(text: str) -> Tensor:
    """(words,) The coarse truth: every word of an opinion and every negator."""
    return torch.tensor([bool(sign(w)) or w.lower() in WORLD.data.NEGATORS for w in words(text)])


def month_at(text: str) -> int | None:
    """Which word of the text is a month; None where there is none."""
    return next((i for i, w in enumerate(words(text)) if w.lower() in MONTHS), None)


def with_month(text: str, month: str) -> str:
    """The text with its month set, and nothing else."""
    return replace(text, {month_at(text): month.capitalize()})


def dated(n: int, split: str, dial: float, seed: int) -> list[tuple[str, int]]:
    """(text, label) of n reviews that all open with a month. dial: how often the label decides it;
    0 draws it at random (as the dial of the world does only when it is a little above 0)."""
    drawn = WORLD.sample(n, split, seed=seed, spurious=max(dial, 1e-9))
    return [(review.text, review.label) for review in drawn]


def redrawn(rows: Sequence[tuple[str, int]], seed: int = 0) -> list[tuple[str, int]]:
    """The same reviews with their months drawn anew, whatever the label."""
    rng = random.Random(seed)
    return [(with_month(text, rng.choice(MONTHS)), label) for text, label in rows]


# ---------------------------------------------------------------- maps


def margin(model: nn.Module, batch: dict, embedded: Tensor) -> Tensor:
    """(batch,) How much more the model says "positive" than "negative": z₁ − z₀."""
    logits = model(inputs_embeds=embedded, attention_mask=batch["attention_mask"]).logits
    return logits[:, 1] - logits[:, 0]


def margins(victim: Classifier, texts: Sequence[str]) -> Tensor:
    """(texts,) The margin of every text."""
    logits = torch.tensor(victim.logits(texts))
    return logits[:, 1] - logits[:, 0]


def by_word(victim: Classifier, texts: Sequence[str], method: Callable) -> list[Tensor]:
    """One map a text: what method(model, batch), (batch, tokens), gives a word's tokens, added."""
    out: list = [None] * len(texts)
    for chosen, batch in victim.batches(texts):
        for i, row in zip(chosen, method(victim.model, batch).detach().cpu(), strict=True):
            spans = word_tokens(victim, texts[i])
            out[i] = torch.stack([row[a:b].sum() for a, b in spans]).double()
    return out


def scrambled(name: str, layers: str, seed: int = 0) -> Classifier:
    """An embedded victim some of whose weight matrices are drawn at random, at their own scale.

    layers: a pattern that a matrix's name must match.
    """
    victim, g = advlib.load_classifier(name), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, p in victim.model.named_parameters():
            if re.search(layers, key) and p.dim() > 1:
                p.copy_(p.std().item() * torch.randn(p.shape, generator=g))
    return victim


# ---------------------------------------------------------------- training, and several models


def trained(rows: Sequence[tuple[str, int]], epochs: int = 3, seed: int = 0) -> Classifier:
    """bert-tiny, trained on (text, label): AdamW, batches of 32, a learning rate that falls."""
    torch.manual_seed(seed)
    victim = advlib.load_classifier("bert-tiny", labels=["negative", "positive"])
    victim.model.train()
    rng, steps = random.Random(seed), epochs * -(-len(rows) // 32)
    optimizer = torch.optim.AdamW(victim.model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, steps)
    for _ in range(epochs):
        rows = rng.sample(rows, len(rows))
        for start in range(0, len(rows), 32):
            texts, labels = zip(*rows[start : start + 32], strict=True)
            batch = victim.encode(texts, labels)
            batch.pop("special_tokens_mask")
            loss = victim.model(**batch).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    victim.model.eval()
    return victim


class MeanOf(nn.Module):
    """Several models of one tokenizer as one: their log-probabilities, averaged."""

    def __init__(self, models: Sequence[nn.Module]):
        super().__init__()
        self.models, self.config = nn.ModuleList(models), models[0].config

    def get_input_embeddings(self) -> nn.Module:
        return self.models[0].get_input_embeddings()

    def forward(self, **inputs) -> SimpleNamespace:
        each = torch.stack([model(**inputs).logits.log_softmax(-1) for model in self.models])
        return SimpleNamespace(logits=each.mean(0))


def spread(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean (normal approximation)."""
    return float(1.96 * np.std(values) / len(values) ** 0.5)


# ---------------------------------------------------------------- a larger game


def blotto(hours: int, channels: int) -> np.ndarray:
    """The defender spreads so many hours of review over the channels, the attacker as many
    attempts; a channel is safe with at least as many hours as attempts. The share of safe channels
    for each pair of plans (each plan a row, each plan a column)."""

    def plans(left: int, places: int) -> list[tuple[int, ...]]:
        if places == 1:
            return [(left,)]
        return [(k, *rest) for k in range(left + 1) for rest in plans(left - k, places - 1)]

    each = np.array(plans(hours, channels))
    return (each[:, None] >= each[None]).mean(2)
