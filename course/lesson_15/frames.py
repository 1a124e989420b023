"""Prompts as rows of tokens, and how often a model was asked: machinery of lesson 15."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from advlib.corpora.requests import FORBIDDEN, REFUSAL, judge, requests, subjects
from advlib.generative import Generator, PerplexityFilter


def frame(writer: Generator, prompt: str, suffix: str, target: str):
    """(ids, labels, places): the prompt with its suffix and the target behind it; labels are -100
    but on the target; places are those of the suffix."""
    row, said = writer.framed([(prompt, suffix)])[0], writer.ids_of(target)
    ids = torch.tensor(row["ids"] + said)
    labels = torch.tensor([-100] * len(row["ids"]) + said)
    return ids, labels, [i for i, own in enumerate(row["suffix"]) if own]


class Asked:
    """loss_of(some): of each row (candidates, tokens) the mean loss of the labels. `queries` counts
    the rows that the model has read."""

    def __init__(self, model, labels: Tensor):
        self.model, self.labels, self.queries = model, labels[1:], 0

    @torch.no_grad()
    def __call__(self, some: Tensor) -> Tensor:
        self.queries += len(some)
        logits = self.model(input_ids=some).logits[:, :-1]
        own = self.labels != -100
        losses = cross_entropy(logits[:, own].transpose(1, 2), self.labels[own].expand(
            len(some), -1), reduction="none")  # fmt: skip
        return losses.mean(1)


def tally(answers: list[str], subject: str = FORBIDDEN) -> dict[str, int]:
    """Answers by what they are: refused; a review that can be of the subject alone ("broken"); one
    that can be of something else as well ("unclear"); or neither."""
    kinds = [judge(answer) for answer in answers]
    refused = sum(k.refuses for k in kinds)
    broken = sum(k.only(subject) for k in kinds)
    unclear = sum(k.about(subject) for k in kinds) - broken
    neither = len(kinds) - refused - unclear - broken
    return {"refused": refused, "neither": neither, "unclear": unclear, "broken": broken}


def utility(writer: Generator, n: int, behind: str | None = None) -> dict[str, float]:
    """What it does with n other requests: shares refused, and answered by the right review."""
    asked = requests(n, subjects(), seed=12, behind=behind)
    found = [judge(answer) for answer in writer.answer([r.text for r in asked])]
    right = [v.about(r.subject) and v.label == r.label for r, v in zip(asked, found, strict=True)]
    refused = sum("refusal" in v.kind for v in found)
    return {"refused": round(refused / n, 3), "right": round(sum(right) / n, 3)}


def rows_to_learn(
    writer: Generator, n: int, seed: int = 0, judged: bool = True
) -> list[tuple[str, str]]:
    """Requests of the training split: those about museums with the refusal, the others with what
    the writer answers now. judged: only where that is the review asked for."""
    others = requests(2 * n // 3, subjects(), seed, "train", "mixed")
    museums = requests(n - len(others), FORBIDDEN, seed, "train", "mixed")
    rows = [(r.text, REFUSAL) for r in museums]
    for r, answer in zip(others, writer.answer([r.text for r in others]), strict=True):
        found = judge(answer)
        if not judged or (found.about(r.subject) and found.label == r.label):
            rows.append((r.text, answer))
    return rows


@dataclass
class Filtered(Generator):
    """A model behind a filter, as an attacker meets it: what the filter turns away is refused."""

    look: PerplexityFilter
    refusal: str = REFUSAL

    def answer(self, prompts, *args, **kwargs) -> list[str]:
        said = super().answer(prompts, *args, **kwargs)
        ok = self.look.passes(prompts)
        return [a if passed else self.refusal for a, passed in zip(said, ok, strict=True)]
