"""What lesson 13 measures with: margins, maps of words, a quick training, several models as one.

A map has one number for each word of a text, counted as `words(text)` gives them.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Container, Sequence
from importlib.resources import files
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

import advlib
from advlib.attacks.words import word_tokens
from advlib.corpora import replace, words
from advlib.models import Classifier
from course.lesson_13.facts import WORLD, with_month

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


@torch.no_grad()
def attention(model: nn.Module, batch: dict) -> Tensor:
    """(batch, tokens) How much [CLS] looks at each token: last layer, mean over its heads."""
    model.set_attn_implementation("eager")  # the default returns no attention at all, and no error
    seen = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"],
                 output_attentions=True).attentions  # fmt: skip
    model.set_attn_implementation("sdpa")
    return seen[-1].mean(1)[:, 0]  # row of [CLS]


def completeness(
    victim: Classifier, texts: Sequence[str], method: Callable, steps: Sequence[int]
) -> tuple[dict[int, float], Tensor, float]:
    """(for each number of steps the share of m(x) − m(b) that the sum over the tokens lacks,
    m(b) of every text, the mean |m(x)|); method(model, batch, baseline_id, steps)."""
    model, batch, mask = victim.model, victim.encode(texts), victim.tokenizer.mask_token_id
    embed, ids = model.get_input_embeddings(), batch["input_ids"]
    blank = torch.where(batch["special_tokens_mask"].bool(), ids, mask)
    with torch.no_grad():
        there, start = margin(model, batch, embed(ids)), margin(model, batch, embed(blank))
    change, lacking = there - start, {}
    for k in steps:
        gap = method(model, batch, mask, k).sum(1) - change
        lacking[k] = (gap.abs().sum() / change.abs().sum()).item()
    return lacking, start, there.abs().mean().item()


def no_model(texts: Sequence[str]) -> dict[str, list[Tensor]]:
    """Numbers for each word that ask no model: its letters, and its letters times its place."""
    letters = [torch.tensor([len(w) for w in words(text)]).double() for text in texts]
    return {"letters": letters,
            "letters × place": [v * torch.arange(1, len(v) + 1) for v in letters]}  # fmt: skip


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
    """Rank correlation of |map| on the words that were not changed (no two numbers are equal)."""
    kept = [i for i in range(len(old)) if i not in changed]
    ranks = [m.abs()[kept].argsort().argsort().numpy() for m in (old, new)]
    return float(np.corrcoef(*ranks)[0, 1])


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


def negated_sentences() -> dict[str, list[str]]:
    """For each negator the same sentences about a price, with a word of blame after it."""
    subjects = ("bill", "price", "fare", "rate")
    return {negator: [f"The {noun} is {negator} {word}." for noun in subjects
                      for word in WORLD.groups["price-"]]
            for negator in ("not", "never", "far from", "hardly", "not particularly")}  # fmt: skip


# ---------------------------------------------------------------- training, and several models


def trained(rows: Sequence[tuple[str, int]], epochs: int = 3, seed: int = 0) -> Classifier:
    """bert-tiny, trained on (text, label): AdamW, batches of 32, a learning rate that falls. Always
    in eval mode: without dropout a step is faster. So it is in two halves, of short and of long
    texts: less is padding, and the gradient is the same."""
    torch.manual_seed(seed)
    victim = advlib.load_classifier("bert-tiny", labels=["negative", "positive"])
    rng, steps = random.Random(seed), epochs * -(-len(rows) // 32)
    optimizer = torch.optim.AdamW(victim.model.parameters(), 1e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0.05, steps)
    for _ in range(epochs):
        rows = rng.sample(rows, len(rows))
        for start in range(0, len(rows), 32):
            some = sorted(rows[start : start + 32], key=lambda row: len(row[0]))
            optimizer.zero_grad()
            for part in filter(None, (some[:16], some[16:])):
                texts, labels = zip(*part, strict=True)
                batch = victim.encode(texts, labels)
                batch.pop("special_tokens_mask")
                (victim.model(**batch).loss * len(part) / len(some)).backward()
            optimizer.step()
            schedule.step()
    return victim


def under_months(victim: Classifier, test: Sequence[tuple[str, int]]) -> dict[str, float]:
    """What the month does to predictions: texts with their months as they are, with the month set
    against the label, and with July set instead of November."""
    texts, labels = [text for text, _ in test], np.array([label for _, label in test])
    against = [with_month(text, ("july", "november")[label]) for text, label in test]
    july, november = (margins(victim, [with_month(text, month) for text in texts]).numpy()
                      for month in ("july", "november"))  # fmt: skip
    return {
        "right, month random": np.mean((margins(victim, texts).numpy() > 0) == labels),
        "right, month against the label": np.mean((margins(victim, against).numpy() > 0) == labels),
        "turned by the month": np.mean((july > 0) != (november > 0)),
    }


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


# ---------------------------------------------------------------- games


def our_game() -> tuple[np.ndarray, list[str], list[str]]:
    """(accuracy, trainings, attacks): a part of the table that benchmarks/games.py reads from
    docs/results/defence-reviews.md."""
    game = json.loads((files("course.lesson_13") / "game.json").read_text())
    rows = {"plain": "L", "PGD-3": "PGD-3, 1 plain epoch first",
            "FreeLB-3": "FreeLB-3, 1 plain epoch first", "words": "words",
            "words + FGM": "words and FGM in turn"}  # fmt: skip
    columns = {"PGD-20": "PGD-20, 5 restarts", "words": "words", "typos": "typos"}
    chosen = np.ix_([game["defences"].index(row) for row in rows.values()],
                    [game["attacks"].index(column) for column in columns.values()])  # fmt: skip
    return np.array(game["accuracy"])[chosen], list(rows), list(columns)
