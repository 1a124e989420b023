"""What the checks are written with: expectations that say what is wrong, and with which input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True)
class Exercise:
    """check: called with the learner's function; raises Wrong, or returns when it is right.
    course: the function that takes its place where it was not attempted."""

    title: str
    check: Callable[[Any], None]
    course: Any


@dataclass(eq=False)
class Wrong(Exception):
    """A wrong answer, with all that helps to mend it.

    problem: one sentence. given, yours, expected: what was put in, what came out, what should have.
    likely: the mistake that would give just this answer, where the check recognises it.
    picture: a figure of yours beside what was expected, where it says more than numbers.
    """

    problem: str
    given: Mapping[str, Any] = field(default_factory=dict)
    yours: Any = None
    expected: Any = None
    likely: str | None = None
    picture: Any = None

    def __str__(self) -> str:
        lines = [self.problem]
        if self.likely:
            lines.append(f"Likely mistake: {self.likely}")
        lines += [f"  {name} = {show(value)}" for name, value in self.rows().items()]
        return "\n".join(lines)

    def rows(self) -> dict[str, Any]:
        """Everything there is to show, in reading order."""
        rows = dict(self.given)
        if self.yours is not None:
            rows["yours"] = self.yours
        if self.expected is not None:
            rows["expected"] = self.expected
        difference = largest_difference(self.yours, self.expected)
        if difference is not None:
            rows["largest difference"] = difference
        return rows

    def html(self) -> str:
        """The same as a small table; everything is escaped."""
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
            f"<td><pre style='margin:0'>{escape(show(value))}</pre></td></tr>"
            for name, value in self.rows().items()
        )
        likely = f"<p><b>Likely mistake:</b> {escape(self.likely)}</p>" if self.likely else ""
        return f"<p>{escape(self.problem)}</p>{likely}<table>{rows}</table>"


def expect(condition: Any, problem: str, **details) -> None:
    """Raise Wrong with the problem unless the condition holds. details: as in `Wrong`."""
    if not bool(condition):
        raise Wrong(problem, **details)


def compare(
    yours: Any,
    expected: Any,
    *,
    given: Mapping[str, Any] | None = None,
    what: str = "the result",
    atol: float = 1e-5,
    rtol: float = 1e-4,
    mistakes: Mapping[str, Any] | None = None,
) -> None:
    """Raise Wrong unless `yours` equals `expected` in type, shape and value.

    mistakes: description -> the value that this mistake would give; the first that fits is named.
    """
    given = given or {}
    details = dict(given=given, yours=yours, expected=expected)
    if yours is None:
        raise Wrong(f"{what} is None: does the function return it?", given=given, expected=expected)
    if isinstance(expected, torch.Tensor) and not isinstance(yours, torch.Tensor):
        raise Wrong(f"{what} should be a tensor, not {type(yours).__name__}", **details)
    likely = next((name for name, value in (mistakes or {}).items()
                   if _close(yours, value, atol, rtol)), None)  # fmt: skip
    shape, wanted = _shape(yours), _shape(expected)
    if shape != wanted:
        raise Wrong(f"{what} has shape {shape}, expected {wanted}", likely=likely, **details)
    if isinstance(expected, str | bool | list | tuple | dict) and not isinstance(yours, float):
        if not _numeric(expected):
            expect(yours == expected, f"{what} is not as expected", likely=likely, **details)
            return
    if not np.isfinite(_array(yours)).all() and np.isfinite(_array(expected)).all():
        raise Wrong(f"{what} has values that are not finite", likely=likely, **details)
    if not _close(yours, expected, atol, rtol):
        raise Wrong(f"{what} is not as expected", likely=likely, **details)


def unchanged(before: torch.Tensor, now: torch.Tensor, name: str) -> None:
    """Raise Wrong where an input was changed in place."""
    if not torch.equal(before, now):
        raise Wrong(f"your function changes its input `{name}` in place; work on a copy",
                    yours=now, expected=before,
                    likely="an in-place operation such as += or .clamp_()")  # fmt: skip


def show(value: Any, most: int = 400) -> str:
    """A value as a learner can read it: few digits, shapes of large tensors, nothing endless."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.numel() > 40:
            return f"tensor of shape {tuple(value.shape)}, norm {value.float().norm():.4g}"
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, suppress_small=True)
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def largest_difference(a: Any, b: Any) -> float | None:
    """max |a − b| where both are numbers of one shape, else None."""
    if a is None or b is None or not (_numeric(a) and _numeric(b)) or _shape(a) != _shape(b):
        return None
    x, y = _array(a), _array(b)
    return float(np.abs(x - y).max()) if x.size else 0.0


def _close(a: Any, b: Any, atol: float, rtol: float) -> bool:
    if not (_numeric(a) and _numeric(b)):
        return type(a) is type(b) and bool(a == b)
    return _shape(a) == _shape(b) and np.allclose(_array(a), _array(b), atol=atol, rtol=rtol)


def _numeric(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    try:
        return np.asarray(value).dtype.kind in "biuf"
    except (ValueError, TypeError):
        return False


def _array(value: Any) -> np.ndarray:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().double().numpy()
    return np.asarray(value, dtype=float)


def _shape(value: Any) -> tuple[int, ...]:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    return np.shape(value) if _numeric(value) else ()


# ---------------------------------------------------------------- a small model to check with


def small_bert(
    seed: int, labels: Sequence[int], lengths: Sequence[int] = (7, 5, 4), scale: float = 0.9,
    classes: int = 2, dropout: float = 0.0,
):  # fmt: skip
    """(model, batch): a BERT of hidden size 6 in double precision and eval mode, and texts of these
    lengths between 1 ([CLS]) and 2 ([SEP]), padded with 0. Weights are so large that its loss is
    curved, and the same on every machine."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20, hidden_size=6, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=12, max_position_embeddings=8, num_labels=classes, layer_norm_eps=0.1,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    with torch.random.fork_rng([]):
        model = BertForSequenceClassification(config).double().eval()
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, p in sorted(model.named_parameters()):
            if p.dim() > 1:
                p.copy_(scale * torch.randn(p.shape, generator=g, dtype=torch.double))
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    special = torch.ones_like(ids)
    for i, n in enumerate(lengths):
        middle = 3 + torch.randint(17, (n - 2,), generator=g)
        ids[i, :n] = torch.cat([torch.tensor([1]), middle, torch.tensor([2])])
        special[i, 1 : n - 1] = 0
    return model, dict(input_ids=ids, attention_mask=(ids > 0).long(), special_tokens_mask=special,
                       labels=torch.tensor(labels))  # fmt: skip
