"""What the checks are written with: expectations that say what is wrong, and with which input."""

from __future__ import annotations

import functools
import hashlib
import os
import zlib
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
        lines += [f"  {name} = {text}" for name, text in self.rows().items()]
        return "\n".join(lines)

    def rows(self) -> dict[str, str]:
        """Everything there is to show, in reading order."""
        rows = {name: show(value) for name, value in self.given.items()}
        yours, expected = side_by_side(self.yours, self.expected)
        if self.yours is not None:
            rows["yours"] = yours
        if self.expected is not None:
            rows["expected"] = expected
        difference = largest_difference(self.yours, self.expected)
        if difference is not None:
            rows["largest difference"] = show(difference)
        return rows

    def html(self) -> str:
        """The same for a page: what was given, then yours and expected beside each other, with
        the first line in which they differ marked. Everything is escaped."""
        rows = self.rows()
        pair = [rows.pop(name, None) for name in ("yours", "expected")]
        parts = [f"<div>{escape(self.problem)}</div>"]
        if self.likely:
            parts.append(f"<div><b>Likely mistake:</b> {escape(self.likely)}</div>")
        parts += [f"<div>{escape(name)}</div>{_pre(text)}" for name, text in rows.items()]
        if any(pair):
            first = _first_difference(*pair)
            cells = [f"<td {LEFT}><div>{name}</div>{_pre(text, first)}</td>"
                     for name, text in zip(("yours", "expected"), pair, strict=True) if text]
            parts.append(f"<table><tr>{''.join(cells)}</tr></table>")
        return "".join(parts)


# Front ends align table cells to the right and cut their borders each in its own way.
LEFT = 'style="text-align:left;vertical-align:top;padding:2px 24px 2px 0"'


def _pre(text: str, marked: int | None = None) -> str:
    """Lines in a font of equal widths, one of them marked."""
    lines = [escape(line) for line in text.splitlines()]
    if marked is not None and marked < len(lines):
        lines[marked] = f'<b style="border-bottom:2px solid #d55e00">{lines[marked]}</b>'
    style = ("margin:0;text-align:left;font-family:monospace;white-space:pre;background:none;"
             "color:inherit")  # fmt: skip
    return f'<pre style="{style}">' + "\n".join(lines) + "</pre>"


def _first_difference(yours: str | None, expected: str | None) -> int | None:
    if not yours or not expected:
        return None
    lines = zip(yours.splitlines(), expected.splitlines(), strict=False)
    return next((i for i, (a, b) in enumerate(lines) if a != b), None)


def side_by_side(yours: Any, expected: Any) -> tuple[str, str]:
    """Both as text. Of large tensors of one shape only the first rows that differ are shown."""
    pair, wrong = (yours, expected), []
    if all(isinstance(x, torch.Tensor) and x.numel() > 40 for x in pair) and (
            yours.shape == expected.shape):  # fmt: skip
        tables = [x.detach().cpu().double().reshape(-1, x.shape[-1]) for x in pair]
        differs = ~torch.isclose(*tables, atol=1e-5, rtol=1e-4, equal_nan=True)
        wrong = differs.any(1).nonzero()[:, 0].tolist()
    if not wrong:
        return show(yours), show(expected)
    head = f"{len(wrong)} of {len(differs)} rows differ, shape {tuple(expected.shape)}"
    first = {i: int(differs[i].int().argmax()) for i in wrong[:4]}  # column of the difference
    return tuple(head + "".join(f"\n{_place(i, expected.shape)} {_row(table[i], first[i])}"
                                for i in first) for table in tables)


def _place(row: int, shape: Sequence[int]) -> str:
    """The index of a row of the last dimension, as [1, 3]."""
    return str([int(i) for i in np.unravel_index(row, tuple(shape[:-1]))])


def _row(values: torch.Tensor, column: int, most: int = 3) -> str:
    """Some numbers of a row, the one in `column` among them."""
    start = max(0, min(column, len(values) - most))
    shown = " ".join(f"{v:9.4g}" for v in values[start : start + most].tolist())
    return "… " * (start > 0) + shown + " …" * (start + most < len(values))


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
    kinds = [_kind(value) for value in (yours, expected)]
    if None not in kinds and kinds[0] != kinds[1]:
        problem = f"{what} holds {kinds[0]}, expected {kinds[1]}"
        raise Wrong(problem, likely=likely, **details)
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


def specified(
    answer: Callable,
    problems: Sequence[Mapping[str, Any]],
    spec: Callable,
    mistakes: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    what: str = "the result",
    picture: Callable | None = None,
    tell: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
    atol: float = 1e-5,
    rtol: float = 1e-4,
) -> None:
    """Compare the answer with a plain specification on every problem.

    problems: the inputs by name, in the order of the answer's parameters. spec(**problem) is what
    should come out; where that is a dict, its entries are compared one after the other, each by its
    name. mistakes: sentence -> keywords with which spec makes that mistake; one is named only where
    it alone explains what came out of *every* problem. picture(yours, expected, problem) draws the
    first failure. tell(problem) is what a learner sees of it.
    """
    results = []
    for problem in problems:
        try:
            results.append(call(answer, **problem))
        except Wrong as wrong:
            wrong.given = wrong.given or tell(problem)
            raise
    expected = [spec(**problem) for problem in problems]

    def gives(sentence: str, values: list, part: str | None) -> bool:
        """Whether spec with this mistake gives these values on every problem."""
        return all(_close(_part(v, part), _part(spec(**p, **mistakes[sentence]), part), atol, rtol)
                   for v, p in zip(values, problems, strict=True))  # fmt: skip

    def explain(sentences: Sequence[str], part: str | None) -> list[str]:
        return [name for name in sentences
                if gives(name, results, part) and not gives(name, expected, part)]  # fmt: skip

    for given, yours, right in zip(problems, results, expected, strict=True):
        for part in right if isinstance(right, dict) else [None]:
            try:
                compare(_part(yours, part), _part(right, part), given=tell(given),
                        what=part or what, atol=atol, rtol=rtol)  # fmt: skip
            except Wrong as wrong:
                fits = explain(list(mistakes or {}), part)
                if len(fits) > 1 and part:  # which of them explains all the other parts, too?
                    fits = explain(fits, None)
                wrong.likely = wrong.likely or (fits[0] if len(fits) == 1 else None)
                wrong.picture = picture(yours, right, given) if picture else None
                raise


def remembered(spec: Callable) -> Callable:
    """spec, with a memory of what it gave: whoever hands in a second answer does not wait for it
    again. For a slow one that depends on its inputs alone, and whose result nobody changes."""
    kept: dict[Any, Any] = {}

    @functools.wraps(spec)
    def ask(*inputs: Any, **named: Any) -> Any:
        key = _key((inputs, named))
        if key not in kept:
            kept[key] = spec(*inputs, **named)
        return kept[key]

    return ask


def _key(value: Any) -> Any:
    """The same for inputs that are alike: tensors by their numbers, a model by its make, its modes,
    its flags and its weights, what else there is by itself."""
    if isinstance(value, torch.nn.Module):
        flags = [p.requires_grad for p in value.parameters()]
        return repr(value), _key([_modes(value), flags, value.state_dict()])
    if isinstance(value, torch.Tensor):
        numbers = value.detach().numpy()
        return str(numbers.dtype), numbers.shape, hashlib.sha256(numbers.tobytes()).digest()
    if isinstance(value, Mapping):
        return tuple((name, _key(v)) for name, v in value.items())
    return tuple(map(_key, value)) if isinstance(value, list | tuple) else value


def _part(result: Any, name: str | None) -> Any:
    return result if name is None else result[name]


# ---------------------------------------------------------------- nothing is left changed


def call(answer: Callable, *inputs: Any, trains: bool = False, same_mode: bool = False,
         **named: Any) -> Any:  # fmt: skip
    """answer(*inputs, **named); raises Wrong where something handed in is not as it was.

    Compared, through dicts, lists and tuples: a tensor's values, `requires_grad` and `.grad`; the
    keys of a dict; a model's modes and, unless it `trains`, its weights and their `.grad`; and its
    flags. Named inputs go by place, in order: what a learner calls a parameter is theirs.
    same_mode: the model must run in the mode in which it was handed in, too, with all its parts.
    """
    handed = {f"input {i + 1}": value for i, value in enumerate(inputs)} | named
    before = {name: _state(value, trains) for name, value in handed.items()}
    modes, hooks = [], []
    for name, model in handed.items():
        if same_mode and isinstance(model, torch.nn.Module):
            hooks.append(model.register_forward_pre_hook(
                lambda m, _, was=before[name][""]: modes.append(_modes(m) == was)))  # fmt: skip
    try:
        result = answer(*handed.values())
    except Exception:
        _expect_same(before, handed, trains)  # a popped key explains the KeyError after it
        raise
    finally:
        for hook in hooks:
            hook.remove()
    _expect_same(before, handed, trains)
    expect(all(modes), "your function runs the model in another mode (train or eval) than the one "
           "in which it was handed in")  # fmt: skip
    return result


def used(model: torch.nn.Module) -> torch.nn.Module:
    """The model as somebody else left it: in training mode, its first parameter frozen, and a
    `.grad` on all others. What a function does to it shows afterwards, in `call`."""
    model.train()
    for i, p in enumerate(model.parameters()):
        p.requires_grad_(i > 0)
        p.grad = torch.full_like(p, 0.5) if i else None
    return model


def _modes(model: torch.nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


def _state(value: Any, trains: bool) -> Any:
    """Everything about a value that a function could leave changed."""
    if isinstance(value, torch.nn.Module):
        state = {"": _modes(value),
                 " flags": [(n, p.requires_grad) for n, p in value.named_parameters()]}  # fmt: skip
        if not trains:
            numbers = list(value.named_parameters()) + list(value.named_buffers())
            state[" weights"] = {n: t.detach().clone() for n, t in numbers}
            state[" grad"] = {n: None if p.grad is None else p.grad.clone()
                              for n, p in value.named_parameters()}  # fmt: skip
        return state
    if isinstance(value, torch.Tensor):
        grad = value.grad if value.is_leaf else None
        return (value.detach().clone(), value.requires_grad,
                None if grad is None else grad.clone())  # fmt: skip
    if isinstance(value, dict):
        return {key: _state(v, trains) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_state(v, trains) for v in value]
    return value if isinstance(value, str | int | float | bool | None) else None


CHANGED = {
    "": ("leaves the model in another mode (train or eval)", "model.train() or model.eval()"),
    " flags": ("changes requires_grad of the model's weights",
               "requires_grad_ on the model; afterwards each parameter needs the flag that it had"),
    " weights": ("changes the weights of the model", "an optimizer's step, or changes in place"),
    " grad": ("changes the .grad of the model's weights",
              "backward() adds to every .grad and zero_grad() clears it; torch.autograd.grad does "
              "neither"),
}  # fmt: skip


def _expect_same(before: dict, handed: dict, trains: bool) -> None:
    for name, value in handed.items():
        now = _state(value, trains)
        if isinstance(value, torch.nn.Module):
            for part, (does, likely) in CHANGED.items():
                expect(_same(before[name].get(part), now.get(part)), f"your function {does}",
                       likely=likely)  # fmt: skip
        else:
            _expect_same_value(name, before[name], now)


COPY = "dict(…) of the outer level, or copy.deepcopy(…) of all levels"


def _expect_same_value(name: str, before: Any, now: Any) -> None:
    if isinstance(before, tuple):  # of a tensor
        unchanged(before[0], now[0], name)
        expect(before[1] == now[1], f"your function leaves requires_grad of `{name}` at {now[1]}",
               likely="requires_grad_() on the input itself: work on a detached copy")  # fmt: skip
        expect(_same(before[2], now[2]), f"your function changes `{name}.grad`",
               likely="backward() writes into .grad; torch.autograd.grad does not")  # fmt: skip
        return
    if isinstance(before, dict):
        gone, new = before.keys() - now.keys(), now.keys() - before.keys()
        expect(not gone, f"your function takes {', '.join(map(repr, gone))} out of `{name}`",
               likely=f".pop() on the input: work on a copy, {COPY}")
        expect(not new, f"your function puts {', '.join(map(repr, new))} into `{name}`",
               likely=f"an assignment to the input: work on a copy, {COPY}")
        for key in before:
            _expect_same_value(f"{name}[{key!r}]", before[key], now[key])
        return
    expect(_same(before, now), f"your function changes its input `{name}`; work on a copy")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        alike = isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor) and a.shape == b.shape
        return alike and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return a == b or (a != a and b != b)  # nan is as it was


def unchanged(before: torch.Tensor, now: torch.Tensor, name: str) -> None:
    """Raise Wrong where an input was changed in place."""
    expect(torch.equal(before, now), f"your function changes its input `{name}` in place; work on "
           "a copy", yours=now, expected=before,
           likely="an in-place operation such as += or .clamp_()")  # fmt: skip


def show(value: Any) -> str:
    """A value as a learner can read it: few digits, shapes of large tensors, nothing endless."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.numel() > 40:
            return f"tensor of shape {tuple(value.shape)}, norm {value.float().norm():.4g}"
        value = value.float().numpy() if value.is_floating_point() else value.numpy()
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, suppress_small=True)
    text = f"{value:.6g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 400 else text[:399] + "…"


def largest_difference(a: Any, b: Any) -> float | None:
    """max |a − b| where both are numbers of one shape, else None: and None for tensors of whole
    numbers, which number words, places and classes."""
    if a is None or b is None or not (_numeric(a) and _numeric(b)) or _shape(a) != _shape(b):
        return None
    if isinstance(b, torch.Tensor) and not b.is_floating_point():
        return None
    x, y = _array(a), _array(b)
    return float(np.abs(x - y).max()) if x.size else 0.0


def _close(a: Any, b: Any, atol: float, rtol: float) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close(a[k], b[k], atol, rtol) for k in a)
    if not (_numeric(a) and _numeric(b)):
        return type(a) is type(b) and bool(a == b)
    return _shape(a) == _shape(b) and np.allclose(_array(a), _array(b), atol=atol, rtol=rtol)


def _kind(value: Any) -> str | None:
    """What kind of numbers a tensor holds; None for everything else."""
    if not isinstance(value, torch.Tensor):
        return None
    if value.dtype == torch.bool:
        return "True and False (torch.bool)"
    real = value.is_floating_point() or value.is_complex()
    return "floating-point numbers" if real else "whole numbers (torch.long)"


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


# ---------------------------------------------------------------- numbers of one's own

# Whose numbers the checks draw. Read once: a notebook that is marked has no say in it.
LEARNER = os.environ.get("COURSE_LEARNER", "")


def seeded(n: int) -> int:
    """The seed that stands for n: n itself, or, where COURSE_LEARNER names somebody, one of theirs.

    The inputs of a check then differ from learner to learner, and with them the numbers that it
    shows, while right stays right: a number copied from a neighbour is of no use. A check whose
    cases are drawn so that they tell mistakes apart keeps its own seeds.
    """
    return zlib.crc32(f"{LEARNER} {n}".encode()) if LEARNER else n


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


# ---------------------------------------------------------------- what an answer returns


def tensors(result: Any, *names: str) -> dict[str, torch.Tensor]:
    """The result by name: a tensor for one name, a tuple or a list of them for several. Raises
    Wrong where something is no tensor, or still has a graph."""
    said = f"({', '.join(names)})" if len(names) > 1 else names[0]
    expect(result is not None, f"the result is None: does the function return {said}?")
    if len(names) == 1:
        result = (result,)
    number = {2: "two", 3: "three", 4: "four"}.get(len(names), str(len(names)))
    expect(isinstance(result, tuple | list) and len(result) == len(names),
           f"the function should return {number} things, {said}", yours=show(result))  # fmt: skip
    for name, value in zip(names, result, strict=True):
        expect(isinstance(value, torch.Tensor), f"{name} should be a tensor, not "
               f"{type(value).__name__}", yours=show(value))  # fmt: skip
        expect(not value.requires_grad, f"{name} is still tied to the graph, or asks for a "
               "gradient", likely="a missing .detach()")  # fmt: skip
    return dict(zip(names, result, strict=True))


def of_dtype(answer: Callable, place: int = 0) -> Callable:
    """The answer; raises Wrong where its floats have not the dtype of its input number `place`."""

    def checked(*inputs: Any) -> Any:
        result, wanted = answer(*inputs), inputs[place].dtype
        if isinstance(result, torch.Tensor) and result.is_floating_point():
            expect(result.dtype == wanted, f"the result is of {result.dtype}, where the input is "
                   f"of {wanted}: a model takes no other")  # fmt: skip
        return result

    return checked


def making(mistakes: Mapping[str, Callable]) -> dict[str, dict]:
    """For `specified`, where each mistake is another function in the keyword `make`."""
    return {sentence: dict(make=make) for sentence, make in mistakes.items()}


def comparable(wrong: Wrong) -> bool:
    """Whether the numbers are worth looking into: finite, and of the shape that is expected."""
    yours, right = wrong.yours, wrong.expected
    both = isinstance(yours, torch.Tensor) and isinstance(right, torch.Tensor)
    return both and yours.shape == right.shape and bool(yours.isfinite().all())
