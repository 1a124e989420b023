"""What lesson 13 measures with: margins, maps of words, a quick training, several models as one.

A map has one number for each word of a text, counted as `words(text)` gives them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Container, Sequence
from types import SimpleNamespace

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

import advlib
from advlib.attacks.words import word_tokens
from advlib.corpora import replace
from advlib.models import Classifier
from course.lesson_13.facts import WORLD

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
        rows = method(victim.model, batch).detach().cpu().double().cumsum(1)
        for i, row in zip(chosen, nn.functional.pad(rows, (1, 0)), strict=True):
            first, end = torch.tensor(word_tokens(victim, texts[i])).T
            out[i] = row[end] - row[first]
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


def agreement(old: Tensor, new: Tensor, changed: Container[int]) -> float:
    """Rank correlation of |map| on the words that were not changed."""
    kept = [i for i in range(len(old)) if i not in changed]
    return float(spearmanr(old.abs()[kept], new.abs()[kept]).statistic)


def at_random(
    victim: Classifier, text: str, method: Callable, count: int, draws: int = 10
) -> list[float]:
    """The agreement after so many random substitutions, for some draws."""
    rng, options = np.random.default_rng(len(text)), WORLD.substitutes(text)
    places = [i for i, o in enumerate(options) if o]
    drawn = [{i: str(rng.choice(options[i])) for i in rng.choice(places, count, replace=False)}
             for _ in range(draws)]  # fmt: skip
    old, *new = by_word(victim, [text, *(replace(text, d) for d in drawn)], method)
    return [agreement(old, m, d) for m, d in zip(new, drawn, strict=True)]


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
