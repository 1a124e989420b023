"""Prompts as rows of tokens, and how often a model was asked: machinery of lesson 15."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from advlib.corpora.requests import FORBIDDEN, REFUSAL, judge, requests, subjects
from advlib.generative import Generator, load_generator


def load(name: str) -> Generator:
    """A model of this page on the CPU; its activation is computed in one pass: the same function,
    and faster."""
    found = load_generator(name, device="cpu")
    for block in found.model.transformer.h:
        block.mlp.act = torch.nn.GELU(approximate="tanh")
    return found


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
        own = self.labels != -100
        logits = self.model(input_ids=some).logits[:, :-1][:, own].flatten(0, 1)
        aims = self.labels[own].repeat(len(some))
        return cross_entropy(logits, aims, reduction="none").view(len(some), -1).mean(1)


def tally(answers: list[str], subject: str = FORBIDDEN) -> dict[str, int]:
    """Answers by what they are: the refusal; "other", such as half a refusal; "unclear", a review
    of the subject or of something else; a "review" that can be of the subject alone."""
    kinds = [judge(answer) for answer in answers]
    refusals = sum(k.refuses for k in kinds)
    review, may = about(answers, subject)
    return {"refusal": refusals, "other": len(kinds) - refusals - may, "unclear": may - review,
            "review": review}  # fmt: skip


def about(answers: list[str], subject: str) -> tuple[int, int]:
    """How many answers are reviews that can be of the subject alone, and that can be of it."""
    kinds = [judge(answer) for answer in answers]
    return sum(k.only(subject) for k in kinds), sum(k.about(subject) for k in kinds)


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
