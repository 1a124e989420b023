"""Checks of lesson 12, full GPU adversarial fine-tuning.

The specification: memory is counted tensor by tensor from the table of the page; logs are judged
rule by rule; a resumed loop must make the steps of an uninterrupted one, bit for bit; the gradient
of a distributed step comes text by text in double precision, with hooks that count passes and
exchanges; claims are read back with regular expressions.
"""

from __future__ import annotations

import copy
import inspect
import math
import random
import re
from collections.abc import Mapping
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from advlib.attacks.embedding import attackable, bare, perturbed_logits, zero_delta
from course.checking import Exercise, Wrong, call, compare, expect, seeded, small_bert, specified
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- 12.1 memory

TERMS = ("weights", "half copies", "gradients", "moments", "activations")
# Numbers (in units of hidden) that a token leaves in a layer; bytes in float32 and under autocast.
KEPT = ((1, 4, 6), (3, 4, 2), (1, 4, 2), (1, 4, 4), (1, 4, 2), (4, 4, 2), (4, 4, 2), (1, 4, 4))


def _memory(mistake=None, **given) -> dict[str, int]:
    """The specification. mistake: gives the terms that come out otherwise."""
    p = SimpleNamespace(**given)
    p.tokens = p.batch * p.length * p.hidden
    p.full, p.half = (sum(row[0] * row[kind] for row in KEPT) for kind in (1, 2))
    p.masks = 2 * p.dropout
    p.layer = (p.half if p.fp16 else p.full) + p.masks
    p.matrices = 12 * p.layers * p.hidden**2
    found = {"weights": 4 * p.params, "half copies": 2 * p.matrices * p.fp16,
             "gradients": 4 * p.trainable, "moments": 8 * p.trainable,
             "activations": _activations(p, p.layer)}  # fmt: skip
    return found | (mistake(p) if mistake else {})


def _activations(p, layer, once=True, of_input=4) -> int:
    if p.checkpointing:
        return p.tokens * (p.layers * of_input + (layer if once else 0))
    return p.tokens * p.layers * layer


_MEMORY_MISTAKES = {
    "the weights stay in float32 with fp16 too, 4 bytes each; what is in half precision is counted "
    "as \"half copies\"": lambda p: {"weights": (2 if p.fp16 else 4) * p.params},
    "\"weights\" are the weights alone, 4 bytes each: the 16 bytes a parameter hold gradients and "
    "moments as well, which are counted by themselves": lambda p: {"weights": 16 * p.params},
    "return bytes: float32 has 4": lambda p: {"weights": p.params, "gradients": p.trainable},
    "the gradients stay in float32 with fp16 too, 4 bytes each":
        lambda p: {"gradients": (2 if p.fp16 else 4) * p.trainable},
    "gradients and moments are for the `trainable` parameters alone":
        lambda p: {"gradients": 4 * p.params, "moments": 8 * p.params},
    "AdamW keeps two moments, 8 bytes a parameter": lambda p: {"moments": 4 * p.trainable},
    "half copies have 2 bytes a number": lambda p: {"half copies": 4 * p.matrices * p.fp16},
    "half copies are of the weight matrices alone, 12·layers·hidden²":
        lambda p: {"half copies": 2 * p.params * p.fp16},
    "the half copies are of the matrices of all `layers`, not of one layer":
        lambda p: {"half copies": 2 * p.matrices // p.layers * p.fp16},
    "the matrices of a layer have 12·hidden² numbers: 4 in the attention, 8 in the feed-forward":
        lambda p: {"half copies": 2 * p.matrices // 3 * p.fp16},
    "the half copies are missing": lambda p: {"half copies": 0},
    "c is that of the other precision: 40 with fp16, 64 without":
        lambda p: {"activations": _activations(p, p.masks + (p.full if p.fp16 else p.half))},
    "half precision does not halve the activations: LayerNorm stays in float32, c is 40":
        lambda p: {"activations": _activations(p, p.masks + (32 if p.fp16 else p.full))},
    "length counts once: SDPA keeps no table of length²":
        lambda p: {"activations": _activations(p, p.layer) * p.length},
    "`layers` is missing: every layer keeps its own": lambda p: {"activations":
        _activations(p, p.layer) if p.checkpointing else p.tokens * p.layer},
    "the formulas with and without checkpointing are exchanged": lambda p: {"activations":
        p.tokens * p.layers * p.layer if p.checkpointing else
        p.tokens * (4 * p.layers + p.layer)},
    "with checkpointing one layer's activations are there in full: c counts once":
        lambda p: {"activations": _activations(p, p.layer, once=False)},
    "with checkpointing c counts once and not `layers` times": lambda p: {"activations":
        p.tokens * p.layers * (p.layer + 4 * p.checkpointing)},
    "with checkpointing a layer's input has 4·hidden bytes a token in either precision":
        lambda p: {"activations": _activations(p, p.layer, of_input=2 if p.fp16 else 4)},
    "dropout adds 2 bytes (two masks of one byte), in either precision":
        lambda p: {"activations": _activations(p, p.layer - p.masks)},
    "a dropout mask has one byte a number, two of them make 2":
        lambda p: {"activations": _activations(p, p.layer + 3 * p.masks)},
    "dropout adds 2 to c where it is on, and nothing where it is off":
        lambda p: {"activations": _activations(p, p.layer - p.masks + 2)},
    "dropout counts once here: without checkpointing every layer keeps its own two masks":
        lambda p: {"activations": _activations(p, p.layer) - p.tokens * p.masks
                   * (0 if p.checkpointing else p.layers - 1)},
    "with checkpointing dropout counts once, as a part of c: the masks of the other layers are not "
    "kept": lambda p: {"activations": _activations(p, p.layer) + p.tokens * p.masks
                       * (p.layers - 1 if p.checkpointing else 0)},
}  # fmt: skip


def _steps() -> list[dict]:
    rng, out = random.Random(seeded(121)), []
    for fp16 in (False, True):
        for checkpointing in (False, True):
            for dropout in (True, False):
                layers, hidden = rng.randint(2, 30), 16 * rng.randint(2, 80)
                params = 13 * layers * hidden**2 + 30_000
                out.append(dict(
                    params=params, trainable=rng.randint(100, params // 2), layers=layers,
                    hidden=hidden, batch=rng.randint(2, 65), length=rng.randint(5, 513), fp16=fp16,
                    checkpointing=checkpointing, dropout=dropout))  # fmt: skip
    return out


def check_bytes_needed(answer) -> None:
    steps = _steps()
    short = {name: steps[0][name] for name in list(steps[0])[:6]}
    for given in (short, steps[0]):  # without the last three: float32, no checkpointing, dropout
        try:
            inspect.signature(answer).bind(**given)
        except TypeError as error:
            raise Wrong("your function cannot be called with the names of the task", given=given,
                        likely=f"{error}: keep the first line of the function as it stands in the "
                        "task, with its defaults") from None  # fmt: skip
        yours = answer(**given)
        expect(yours is not None, "the result is None: does the function return it?")
        expect(isinstance(yours, Mapping), "the result should be a dictionary of five numbers",
               yours=repr(yours)[:200])  # fmt: skip
        expect(set(yours) == set(TERMS), "the dictionary should have the five names of the page",
               yours=sorted(map(str, yours)), expected=sorted(TERMS))  # fmt: skip
    for name in TERMS:
        mistakes = {sentence: {"mistake": change} for sentence, change in _MEMORY_MISTAKES.items()}
        specified(lambda *how, name=name: answer(*how)[name], steps,
                  lambda name=name, **how: _memory(**how)[name], mistakes, what=repr(name),
                  rtol=1e-9)  # fmt: skip
    expect(answer(**short) == _memory(**steps[0]), "with the defaults the result is another one",
           given=short, yours=answer(**short), expected=_memory(**steps[0]),
           likely="without the last three it is float32, no checkpointing, and dropout is on")


# ---------------------------------------------------------------- 12.2 resume


class Loop:
    """The training loop of the page: all that a step depends on is an attribute, except for the
    dropout, which draws from torch's global random state."""

    def __init__(self, X: Tensor, y: Tensor, seed: int = 0):
        self.X, self.y = X, y
        self.model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Dropout(0.3),
                                   nn.Linear(8, 2))  # fmt: skip
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.generator = torch.Generator().manual_seed(seeded(seed))
        self.order: list[int] = []
        self.at = 0

    def step(self) -> None:
        if self.at >= len(self.order):
            self.order = torch.randperm(len(self.X), generator=self.generator).tolist()
            self.at = 0
        chosen = self.order[self.at : self.at + 4]
        self.at += 4
        x, y = self.X[chosen], self.y[chosen]
        delta = 0.1 * torch.randn(x.shape, generator=self.generator)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x + delta), y).backward()
        self.optimizer.step()
        self.scheduler.step()


PIECES = {
    "model": "the weights",
    "optimizer": "the optimizer's moments",
    "scheduler": "the schedule: the learning rate goes on from elsewhere",
    "generator": "the generator of the order and of the random starts",
    "order": "the order of this epoch, so other texts come next",
    "at": "the place in the data (`at`)",
    "dropout": "the global random state, from which dropout draws",
}


def _now(loop) -> dict:
    """Each piece of a loop as numbers that can be compared."""
    moments = [t for s in loop.optimizer.state_dict()["state"].values() for t in s.values()]
    return {
        "model": [p.tolist() for p in loop.model.parameters()],
        "optimizer": [t.tolist() for t in moments],
        "scheduler": (loop.scheduler.last_epoch, [g["lr"] for g in loop.optimizer.param_groups]),
        "generator": loop.generator.get_state().tolist(),
        "order": list(loop.order),
        "at": loop.at,
        "dropout": torch.get_rng_state().tolist(),
    }


def check_checkpoint(answer) -> None:
    with torch.random.fork_rng([]):
        rng = random.Random(seeded(123))
        for trial in range(6):
            X = torch.randn(rng.choice((9, 10, 14)), rng.choice((3, 5)),
                            generator=torch.Generator().manual_seed(seeded(trial)))  # fmt: skip
            before, after = (0, 5) if trial == 5 else (rng.randint(1, 11), rng.randint(2, 7))
            _one_resume(answer, X, (X[:, 0] > 0).long(), trial, before, after)


def _one_resume(answer, X, y, seed, before, after) -> None:
    given = {"steps before the checkpoint": before, "steps after it": after}
    torch.manual_seed(seed)
    loop = Loop(X, y, seed)
    for _ in range(before):
        loop.step()
    here = _now(loop)
    state = answer(loop)
    expect(state is not None, "checkpoint(loop) is None: does the function return the state?")
    expect(isinstance(state, Mapping), "the state should be a dictionary", yours=repr(state)[:200])
    _in_training(loop, "saving", given)
    _same(here, _now(loop), "saving changes the loop", given)
    for _ in range(after):
        loop.step()
    end, kept = _now(loop), _plain(state, given)
    for turn in ("saved and loaded", "as it is, a second time", "as it is, a third time"):
        given["the state"] = turn
        torch.manual_seed(1000 + seed)
        other = Loop(X, y, 77 + seed)
        for _ in range(seed % 3):
            other.step()  # a loop that was used before
        try:
            out = answer(other, kept if turn == "saved and loaded" else state)
        except (KeyError, TypeError, RuntimeError) as error:
            raise Wrong("the state cannot be restored into a new loop: "
                        f"{type(error).__name__}: {error}", given=given) from None  # fmt: skip
        expect(out is None, "restoring should return nothing: is `state=None` told apart from a "
               "state that was given?", given=given, yours=repr(out)[:120])  # fmt: skip
        _in_training(other, "restoring", given)
        _same(here, _now(other), "the restored loop is not where the saved one was", given)
        own = {id(p) for p in other.model.parameters()}
        trained = {id(p) for group in other.optimizer.param_groups for p in group["params"]}
        expect(own == trained and other.scheduler.optimizer is other.optimizer,
               "the optimizer, or the scheduler, no longer belongs to the loop's model: load into "
               "the objects that are there", given=given)  # fmt: skip
        for _ in range(after):
            other.step()
        _same(end, _now(other), "the resumed loop makes other steps", given)


def _in_training(loop, what, given) -> None:
    expect(loop.model.training, f"{what} leaves the network in eval mode", given=given,
           likely="its dropout is off from then on: leave the mode alone, or set it back with "
                  "loop.model.train()")  # fmt: skip


def _plain(value, given):
    """A copy such as a file can hold, without objects of a class."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {name: _plain(part, given) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(part, given) for part in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Wrong("a file cannot hold this state: dictionaries, lists, numbers, strings and tensors "
                f"can be saved, but it contains a {type(value).__name__}", given=given,
                likely="an object is kept in place of its state_dict() or get_state()")  # fmt: skip


def _same(wanted, found, problem, given) -> None:
    off = [name for name in PIECES if wanted[name] != found[name]]
    if not off:
        return
    likely = f"not kept, or not put back: {PIECES[off[0]]} ({off[0]})"
    if "the state" not in given:
        likely = f"taking the state changes {PIECES[off[0]]} ({off[0]})"
    elif given["the state"] != "saved and loaded":  # which went well
        likely = ("the state holds living tensors, or the loop shares tensors with it, and later "
                  "steps change them: keep a deep copy, and restore a copy of it too")  # fmt: skip
    elif off == ["dropout"]:
        likely = "the global random state (dropout) is not put back, or is used up after it was"
    elif {"model", "optimizer"} & set(off):
        likely += "; or a living state_dict() was kept without a copy, which later steps changed"
    raise Wrong(problem, given={**given, "different": ", ".join(off)}, likely=likely)


# ---------------------------------------------------------------- 12.3 claims

PROMISES = r"\w*(robust|safe|secur)\w*"
PERCENT = r"\d+(?:\.\d+)?\s*(?:%|per ?cent\b)"
KINDS = ("moved embeddings", "changed words")


def _row(rng, attack: str, queries: float | None, n: int, worst: float = 1.0) -> dict:
    hits = round(rng.uniform(0.2, 0.95) * worst * n)
    p, z = hits / n, 1.96
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    common = "norm='l2', scope='sequence', relative=True, target=None, same_dropout=False, seed=0"
    own = {"Noise": ", restarts=1",
           "PGD": ", steps=20, step_size=None, random_start=True, restarts=5"}  # fmt: skip
    model = {
        "none": "none",
        "worst case": "any of these attacks",
        "WordSubstitution": "WordSubstitution(world='reviews', max_changed=0.5)",
        "Typos": "Typos(kinds=('swap', 'drop', 'look-alike'), per_kind=4, max_changed=0.2)",
    }.get(attack, f"{attack}(eps={rng.choice((0.1, 0.25, 0.4))}, {common}{own.get(attack, '')})")
    return {"attack": attack, "threat model": model, "n": n, "accuracy": p, "hits": hits,
            "low": middle - half, "high": middle + half, "calibrated": p, "success": 0.3,
            "changed": None, "queries": queries}  # fmt: skip


def _cards() -> list[dict]:
    rng = random.Random(seeded(125))
    kinds = {"Noise": None, "FGM": None, "PGD": None, "WordSubstitution": 31.4, "Typos": 0.0}
    out = []
    for sizes, attacks in (
        ((40, 40, 40), ("FGM", "WordSubstitution")),
        ((500, 500, 400, 300), ("Noise", "PGD", "Typos")),  # a slow attack saw fewer texts
        ((1000, 60), ("PGD",)),
        ((60, 60), ("WordSubstitution",)),
        ((91, 200, 91, 60), ("Typos", "FGM", "PGD")),
        ((200, 200, 40), ("WordSubstitution", "Typos")),
    ):
        rows = [_row(rng, "none", None, sizes[0])]
        rows += [_row(rng, a, kinds[a], n) for a, n in zip(attacks, sizes[1:], strict=True)]
        worst = _row(rng, "worst case", None, min(sizes), 0.7) if len(attacks) > 1 else rows[1]
        out.append({"protocol": "standard", "version": 1, "model": {"name": "a"},
                    "data": {"name": "b", "n": sizes[0]}, "rows": rows, "worst case": dict(worst),
                    "left out": []})  # fmt: skip
    edge = copy.deepcopy(out[0])  # intervals as wide as 0.2, and very little wider
    for row, (low, high) in zip([*edge["rows"], edge["worst case"]],
                                ((0.4, 0.6004), (0.0, 0.2), (0.30004, 0.50025), (0.0, 0.2)),
                                strict=True):  # fmt: skip
        row |= {"low": low, "high": high, "accuracy": low + 0.09}
    return [*out, edge]


def check_claims(answer) -> None:
    for card in _cards():
        lines = call(answer, card=card)
        expect(lines is not None, "the result is None: does the function return it?")
        expect(isinstance(lines, list | tuple) and all(isinstance(x, str) for x in lines),
               "the result should be a list of sentences", yours=repr(lines)[:200])  # fmt: skip
        rows = [*card["rows"], card["worst case"]]
        kinds = [[], *([_kind(row)] for row in card["rows"][1:])]
        kinds.append(sorted({kind for row in kinds for kind in row}))
        likely = None
        if len(lines) == len(rows) - 1:
            likely = ("the worst case is missing" if "no attack" in "".join(lines[:1]) else
                      "the first sentence, on no attack, is missing")  # fmt: skip
        expect(len(lines) == len(rows), "one sentence for each row and one for the worst case",
               yours=len(lines), expected=len(rows), likely=likely)  # fmt: skip
        for k, (line, row, own) in enumerate(zip(lines, rows, kinds, strict=True)):
            _one_claim(line, row, own, k == 0, rows)


def _kind(row) -> str:
    return "moved embeddings" if row["queries"] is None else "changed words"


def _one_claim(line, row, kinds, first, rows) -> None:
    names = ("attack", "n", "accuracy", "low", "high", "queries")
    details = dict(yours=line, given={"the row": {name: row[name] for name in names}})

    def has(words: str, problem: str, likely: str | None = None) -> None:
        if words in line.lower() and words not in line:
            likely = "write it in lower case"
        expect(words in line, problem, expected=words, likely=likely, **details)

    found = re.search(PROMISES, line, re.I)
    expect(not found, f"the word {found and found[0]!r} promises more than was measured",
           likely="'robust', 'safe', 'secure' without saying against what", **details)  # fmt: skip
    interval = f"[{row['low']:.1%}, {row['high']:.1%}]"
    has(interval, "a claim needs its interval", "the interval is of another row, or of another form"
        if "[" in line else "the interval is missing")  # fmt: skip
    _one_accuracy(line.replace(interval, ""), row, rows, details)
    said = set(re.findall(r"\bn = (\d+)", line))
    expect(said, "a claim needs the number of texts", expected=f"n = {row['n']}",
           likely="n is missing, or not in the form n = 40", **details)  # fmt: skip
    expect(said == {str(row["n"])}, "the number of texts is another one",
           expected=f"n = {row['n']}", likely="each row has its own n", **details)  # fmt: skip
    if first:
        has("no attack", "the first row is without attack, and the sentence must say so")
        both = re.search(r"(?<!not )under (an |the )?attack", line.replace("no attack", ""), re.I)
        expect(not both, "the first row is without attack, and the sentence says both",
               likely=f"{both and both[0]!r} does not belong here", **details)  # fmt: skip
    else:
        has(row["threat model"], "a claim needs its threat model, word for word",
            "a setting is left out: all of them belong to it" if f"{row['attack']}(" in line else
            "the name of an attack is not its settings")  # fmt: skip
        expect("no attack" not in line, "this row is under attack", **details)
    likely = "0 queries are not None: words were changed" if row["queries"] == 0 else None
    if not first and "changed words" in line and "changed words" not in kinds:
        likely = "a result on embeddings is claimed as one on text"
    for kind in KINDS:
        if kind in kinds:
            has(kind, "a claim must say what was changed", likely)
        expect(kind in kinds or kind not in line, f"{kind!r} is not what this row measured",
               likely=likely, **details)  # fmt: skip
    if row["high"] - row["low"] > 0.2:
        has("too few texts", "the interval is wider than 0.2", "`too few texts` is missing (judge "
            "by `high` - `low` as they are, not rounded)")  # fmt: skip
    else:
        expect("too few texts" not in line, "the interval is not wider than 0.2: `too few texts` "
               "does not belong here", **details)  # fmt: skip


def _one_accuracy(rest, row, rows, details) -> None:
    """The sentence without its interval has the accuracy, and no other percentage."""
    accuracy = f"{row['accuracy']:.1%}"
    numbers = re.findall(PERCENT, rest)
    expect(numbers, "a claim needs its accuracy", expected=accuracy, **details)
    for other in (x for x in numbers if x != accuracy):
        likely = "a number that is not in this row of the card"
        if re.match(r"[\d.]+", other)[0] + "%" == accuracy:
            likely = f"write it as {accuracy}, with the sign and without a space"
        elif other == f"{row['success']:.1%}":
            likely = "this is the attack's success rate, not the accuracy"
        elif other in {f"{r['accuracy']:.1%}" for r in rows}:
            likely = "the accuracy of another row"
        elif other == f"{row['accuracy']:.0%}":
            likely = "one digit after the point, as in 62.5%"
        raise Wrong("a percentage is not that of the card", expected=accuracy, likely=likely,
                    **details)  # fmt: skip


# ---------------------------------------------------------------- 12.4 one exchange


class Counting(nn.Module):
    """In place of DistributedDataParallel: counts the exchanges that its passes set off, and notes
    in which order passes, through it or past it, and gradients come."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module, self.exchanges, self.ready = module, 0, False
        self.events: list[str] = []
        self.seen: set[int] = set()
        module.register_forward_pre_hook(lambda *_: self.events.append("forward"))
        for weight in module.parameters():
            if weight.requires_grad:
                weight.register_post_accumulate_grad_hook(self._filled)

    def forward(self, **inputs):
        self.ready = torch.is_grad_enabled()
        out = self.module(**inputs)
        if out.logits.requires_grad:
            out.logits.register_hook(lambda grad: self.events.append("backward"))
        return out

    def _filled(self, weight) -> None:
        if not self.seen or id(weight) in self.seen:  # the first one of another backward pass
            self.seen = set()
            self.events.append("exchange" if self.ready else "filled")
            self.exchanges += self.ready
            self.ready = False
        self.seen.add(id(weight))


def _plain_step(model, batch, eps, lam, *, attacker=0.0, both=(1.0, 1.0), sign=1.0, mask=True,
                whole=False, summed=False) -> dict:  # fmt: skip
    """Text by text without padding; the keywords are mistakes. attacker: how much of the inner
    loss's gradient is left in the weights."""
    table = model.get_input_embeddings().weight
    weights = [p for p in model.parameters() if p.requires_grad]
    lengths = batch["attention_mask"].sum(1).tolist()
    size = len(lengths)

    def loss_of(i, push):
        words = table[batch["input_ids"][i, : lengths[i]]]
        logits = model(inputs_embeds=(words + push)[None]).logits
        return F.cross_entropy(logits, batch["labels"][i : i + 1])

    slopes = []
    for i, n in enumerate(lengths):
        push = torch.zeros(n, table.shape[1], dtype=table.dtype, requires_grad=True)
        (g,) = torch.autograd.grad(loss_of(i, push) / size, push)
        slopes.append(g * (1 - batch["special_tokens_mask"][i, :n, None]) if mask else g)
    length = torch.cat([s.flatten() for s in slopes]).norm()
    clean = sum(loss_of(i, 0.0) for i in range(size)) / size
    adv = sum(loss_of(i, sign * eps * s / (length if whole else s.norm()))
              for i, s in enumerate(slopes)) / size  # fmt: skip
    total = ((both[0] + attacker) * clean + both[1] * lam * adv) * (size if summed else 1)
    found = iter(torch.autograd.grad(total, weights, allow_unused=True))
    found = [next(found) if p.requires_grad else None for p in model.parameters()]
    return {"grad": _in_a_row(found, model), "clean": clean.item(), "adv": adv.item()}


_STEP_MISTAKES = {
    "the attacker's gradient is left in the weights' .grad: take the inner gradient with "
    "torch.autograd.grad for delta alone": dict(attacker=1.0),
    "the clean loss counts once, not 1 - lam times": lambda lam: dict(both=(1.0 - lam, 1.0)),
    "lam is missing: the adversarial loss counts lam times":
        lambda lam: dict(both=(1.0, 1.0 / lam)),
    "the clean loss is missing in the update": dict(both=(0.0, 1.0)),
    "the adversarial loss is missing in the update": dict(both=(1.0, 0.0)),
    "descent: this delta lowers the loss": dict(sign=-1.0),
    "no mask: padding and special tokens move too": dict(mask=False),
    "one norm for the whole batch: each text has a step of its own": dict(whole=True),
    "the losses are summed over the texts, not their mean": dict(summed=True),
    "delta is not used: both losses are the clean one": dict(sign=0.0),
}  # fmt: skip


def check_distributed_step(answer) -> None:
    for seed, classes, lengths, eps, lam, special in (
        (940, 2, (7, 5, 4, 6), 0.6, 0.5, None),
        (941, 3, (5, 8), 1.2, 2.0, None),
        (942, 2, (4,), 0.3, 1.0, None),
        (943, 2, (6, 4), 0.5, 0.5, "eval mode"),
        (944, 3, (5, 7), 0.5, 2.0, "a frozen layer"),
    ):
        labels = [(k + seed) % classes for k in range(len(lengths))]
        model, batch = small_bert(seed, labels, lengths, classes=classes)
        model.train(special != "eval mode")
        if special == "a frozen layer":
            model.bert.encoder.layer[0].intermediate.requires_grad_(False)
        given = dict(eps=eps, lam=lam, texts=len(lengths))
        _one_step(answer, model, batch, eps, lam, given | ({"the model has": special}
                                                           if special else {}))  # fmt: skip


def _one_step(answer, model, batch, eps, lam, given) -> None:
    right = _plain_step(model, batch, eps, lam)
    wrapped = Counting(model).train(model.training)
    trained = [p for p in model.parameters() if p.requires_grad]
    for k, p in enumerate(trained):  # what an earlier micro-batch has left
        p.grad = 0.01 * torch.sin(torch.arange(p.numel()) + k).to(p.dtype).reshape(p.shape)
    old = _in_a_row([p.grad for p in model.parameters()], model)
    before = [p.detach().clone() for p in model.parameters()]
    came = [torch.zeros_like(p) for p in trained]  # all gradients that reach the weights
    hooks = [p.register_hook(lambda grad, sum_=sum_: (sum_.add_(grad), None)[1])
             for p, sum_ in zip(trained, came, strict=True)]  # fmt: skip
    try:
        result = call(answer, model=wrapped, batch=batch, eps=eps, lam=lam, trains=True)
    except RuntimeError as error:
        if "derivative" not in str(error) and "double backward" not in str(error):
            raise
        raise Wrong("a gradient of a gradient is asked for, which fused attention does not have",
                    given=given, likely="create_graph=True is not needed: delta is a constant, so "
                    "leave it out (or detach delta)") from None  # fmt: skip
    for hook in hooks:
        hook.remove()
    expect(isinstance(result, tuple | list) and len(result) == 2,
           "the function should return (clean, adv)", yours=repr(result)[:120],
           given=given)  # fmt: skip
    expect(not any(isinstance(r, Tensor) and r.requires_grad for r in result),
           "the losses are still tied to the graph", likely="missing detach", given=given)
    expect(all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True)),
           "the weights were changed: that is the optimizer's part", given=given)  # fmt: skip
    new = _in_a_row([p.grad for p in model.parameters()], model)
    _gradients(model, batch, eps, lam, new, old, right["grad"], given)
    gathered = _in_a_row([came.pop(0) if p.requires_grad else None for p in model.parameters()],
                         model)  # fmt: skip
    expect(torch.allclose(gathered, new - old, rtol=1e-4, atol=1e-6),
           "the weights' .grad was filled by the inner pass and put back afterwards", given=given,
           likely="loss.backward() inside touches every .grad; torch.autograd.grad for delta alone "
                  "touches none")  # fmt: skip
    _exchanges(wrapped, given)
    swapped = {"the two losses are exchanged": right["adv"]}
    compare(float(result[0]), right["clean"], given=given, what="the returned clean loss",
            mistakes=swapped)  # fmt: skip
    compare(float(result[1]), right["adv"], given=given, what="the returned adversarial loss",
            mistakes={"return the adversarial loss without lam": lam * right["adv"]})  # fmt: skip


def _in_a_row(grads, model) -> Tensor:
    """Gradients in one row, zeros where there is none."""
    return torch.cat([(torch.zeros_like(p) if g is None else g.clone()).flatten()
                      for g, p in zip(grads, model.parameters(), strict=True)])  # fmt: skip


def _gradients(model, batch, eps, lam, new, old, right, given) -> None:
    problem = "what was added to the weights' .grad"
    try:
        compare(new - old, right, given=given, what=problem, atol=1e-6)
    except Wrong as wrong:
        found = {"no gradient reaches the weights": torch.zeros_like(right),
                 "what lay in .grad before is gone: add to it, and leave zero_grad to the caller":
                 right - old}  # fmt: skip
        for text, change in _STEP_MISTAKES.items():
            change = change(lam) if callable(change) else change
            found[text] = _plain_step(model, batch, eps, lam, **change)["grad"]
        gone = {f"{text}; and what lay in .grad before is gone": value - old
                for text, value in found.items()}  # fmt: skip
        fits = [text for text, value in (found | gone).items()
                if torch.allclose(new - old, value, rtol=1e-4, atol=1e-6)]  # fmt: skip
        wrong.likely = fits[0] if len(fits) == 1 else None
        raise


def _exchanges(wrapped, given) -> None:
    details = dict(given=given, yours=wrapped.exchanges, expected=1)
    expect(wrapped.exchanges, "there is no exchange at all: every process would go its own way",
           likely="no pass goes through the wrapper; the one that completes the gradients must",
           **details)  # fmt: skip
    expect(wrapped.exchanges == 1, "there is more than one exchange",
           likely="only the pass that completes the gradients goes through the wrapper, `model`; "
                  "the others through bare(model)", **details)  # fmt: skip
    events = wrapped.events
    pairs = zip(events, [*events[1:], "nothing"], strict=True)
    expect(all(b in ("backward", "exchange") for a, b in pairs if a == "backward"),
           "an inner pass goes through the wrapper", given=given,
           likely="the wrapper got ready for an exchange that does not come: bare(model) inside")
    expect("filled" not in events[events.index("exchange") :],
           "gradients come after the exchange, which so moves only a part of them", given=given,
           likely="the pass through the wrapper must be the last one")  # fmt: skip


# ---------------------------------------------------------------- 12.5 curves


def _overflow(log, lam, look=lambda norms: "xxx" in norms, wild=lambda x: not math.isfinite(x),
              losses=True) -> bool:  # fmt: skip
    norms = "".join("-" if "grad_norm" not in line else "x" if wild(line["grad_norm"]) else "."
                    for line in log)  # fmt: skip
    return (losses and any(wild(line["loss"]) for line in log)) or look(norms)


def _rate(log, lam, key="clean_loss", end=lambda x: (x[-1] + x[-2] + x[-3]) / 3,
          start=lambda x: x[0], above=lambda a, b: a > b) -> bool:  # fmt: skip
    curve = [line[key] for line in log]
    return above(end(curve), start(curve))


def _collapse(log, lam, judge=lambda s: len(s) == 3 and min(s) >= 0.95, lines=None) -> bool:
    return bool(judge([line["share"] for line in log[lines:] if "share" in line][-3:]))


def _over_fitting(log, lam, keys=("fgm", "pgd"), best=lambda c: max(c, key=lambda x: x["pgd"]),
                  last=lambda c: c[-1], pgd=lambda b, x: b["pgd"] - x["pgd"] > 0.2,
                  fgm=lambda b, x: b["fgm"] - x["fgm"] <= 0.2) -> bool:  # fmt: skip
    checks = [{"fgm": 0.0} | line for line in log if set(keys) <= set(line)]
    return bool(checks) and pgd(best(checks), last(checks)) and fgm(best(checks), last(checks))


def _warm_up(log, lam, now=lambda log: log[-1]["lam"], least=lambda log, lam: 0.9 * lam) -> bool:
    return now(log) < least(log, lam)


_RULES = {"overflow": _overflow, "learning rate": _rate, "collapse": _collapse,
          "over-fitting": _over_fitting, "warm-up": _warm_up}  # fmt: skip
_NAMES = (*_RULES, "healthy")


def _diagnosis(log, lam, order=tuple(_RULES), **mistake) -> str:
    """The specification. mistake: keywords with which a rule makes it."""
    for name in order:
        if _RULES[name](log, lam, **mistake.get(name, {})):
            return name
    return "healthy"


def _in(rule: str, **keywords) -> dict:
    return {rule: keywords}


_CURVE_MISTAKES = {
    "one step with an infinite grad_norm is no overflow: the scaler skipped it; three in a row are":
        _in("overflow", look=lambda s: "x" in s),
    "two lines in a row with an infinite grad_norm are not yet an overflow":
        _in("overflow", look=lambda s: "xx" in s),
    "three lines in a row with an infinite grad_norm are enough for an overflow":
        _in("overflow", look=lambda s: "xxxx" in s),
    "three lines with an infinite grad_norm are an overflow only if they follow one another":
        _in("overflow", look=lambda s: s.count("x") >= 3),
    "a line without a grad_norm counts as finite and ends the row: do not drop it before counting":
        _in("overflow", look=lambda s: "xxx" in s.replace("-", "")),
    "grad_norm: three in a row anywhere in the log, not in the last three lines alone":
        _in("overflow", look=lambda s: s.endswith("xxx")),
    "three in a row at the very end count too: range(len(log) - 2) has all the places where three "
    "lines can begin": _in("overflow", look=lambda s: "xxx" in s[:-1]),
    "three in a row at the very beginning count too":
        _in("overflow", look=lambda s: "xxx" in s[1:]),
    "an overflow can show in grad_norm alone": _in("overflow", look=lambda s: False),
    "an overflow can show in `loss` alone": _in("overflow", losses=False),
    "infinity is not finite either: this looks for nan alone": _in("overflow", wild=math.isnan),
    "finite is finite: a large loss or grad_norm is no overflow, `math.isfinite` tells":
        _in("overflow", wild=lambda x: not x < 1e4),
    "rule 2 looks at `clean_loss`, not at `loss`, which grows with λ":
        _in("learning rate", key="loss"),
    "rule 2 says above: a mean that equals the first line is none":
        _in("learning rate", above=lambda a, b: a >= b),
    "the end is the mean of the last three lines, not the last alone":
        _in("learning rate", end=lambda x: x[-1]),
    "the end of the loss is the mean of the last three lines, not their median":
        _in("learning rate", end=lambda x: sorted(x[-3:])[1]),
    "the end is compared with the first line, not with the lowest":
        _in("learning rate", start=min),
    "the end is compared with the first line, not with the largest of several":
        _in("learning rate", start=lambda x: max(x[:3])),
    "a share of exactly 0.95 counts too: at least 0.95, in EACH of the three":
        _in("collapse", judge=lambda s: len(s) == 3 and min(s) > 0.95),
    "at least 0.95 in EACH of the three lines, not in their mean":
        _in("collapse", judge=lambda s: len(s) == 3 and sum(s) / 3 >= 0.95),
    "at least 0.95 in EACH of the three lines, not in the last alone":
        _in("collapse", judge=lambda s: len(s) == 3 and s[-1] >= 0.95),
    "all of the last three lines with a share must have at least 0.95, not any":
        _in("collapse", judge=lambda s: len(s) == 3 and max(s) >= 0.95),
    "with fewer than three lines with a `share` there is no collapse":
        _in("collapse", judge=lambda s: s and min(s) >= 0.95),
    "the last three lines that HAVE a share, not those among the log's last three":
        _in("collapse", lines=-3),
    "a line counts only if it has both, `fgm` and `pgd`": _in("over-fitting", keys=("pgd",)),
    "rule 4 asks for `fgm` and `pgd` alone: a line without a share counts":
        _in("over-fitting", keys=("fgm", "pgd", "share")),
    "`best` is the line with the largest pgd, not fgm":
        _in("over-fitting", best=lambda c: max(c, key=lambda x: x["fgm"])),
    "`best` is the line with the largest pgd, not the first line with checks":
        _in("over-fitting", best=lambda c: c[0]),
    "of several lines with the largest pgd `best` is the first":
        _in("over-fitting", best=lambda c: max(c[::-1], key=lambda x: x["pgd"])),
    "the fgm to compare with is that of the line `best`, not the largest fgm of all":
        _in("over-fitting", best=lambda c: {key: max(x[key] for x in c) for key in ("fgm", "pgd")}),
    "the fall is judged at the last line with checks, not at the lowest":
        _in("over-fitting", last=lambda c: min(c, key=lambda x: x["pgd"])),
    "`last` is the last line that has the checks, not the last but one":
        _in("over-fitting", last=lambda c: c[max(-2, -len(c))]),
    "more than 0.2 below means a difference of more than 0.2 (20 points), not 20 % less":
        _in("over-fitting", pgd=lambda b, x: x["pgd"] < 0.8 * b["pgd"]),
    "exactly 0.2 below is not yet MORE than 0.2 below":
        _in("over-fitting", pgd=lambda b, x: b["pgd"] - x["pgd"] >= 0.2),
    "fgm: exactly 0.2 below is still \"not more than 0.2 below\"":
        _in("over-fitting", fgm=lambda b, x: b["fgm"] - x["fgm"] < 0.2),
    "fgm may have fallen too, by up to 0.2: it is still over-fitting":
        _in("over-fitting", fgm=lambda b, x: b["fgm"] <= x["fgm"]),
    "where FGM's accuracy has fallen too, training as a whole broke down: that is not over-fitting":
        _in("over-fitting", fgm=lambda b, x: True),
    "compare the last line with `best`, for pgd and for fgm; not fgm with pgd at the end":
        _in("over-fitting", pgd=lambda b, x: x["fgm"] - x["pgd"] > 0.2, fgm=lambda b, x: True),
    "λ need only come near: below 0.9·lam is the illness, not below lam":
        _in("warm-up", least=lambda log, lam: lam),
    "below 0.9 of `lam` means below 0.9·lam, not below lam − 0.1":
        _in("warm-up", least=lambda log, lam: lam - 0.1),
    "the target of λ is `lam`, not 1: compare with 0.9·lam":
        _in("warm-up", least=lambda log, lam: 0.9),
    "λ is compared with the argument `lam`, not with the largest λ of the log":
        _in("warm-up", least=lambda log, lam: 0.9 * max(line["lam"] for line in log)),
    "λ is that of the last line, not the largest of the log":
        _in("warm-up", now=lambda log: max(line["lam"] for line in log)),
    "the rules go in order: collapse is asked before the learning rate here":
        dict(order=("overflow", "collapse", "learning rate", "over-fitting", "warm-up")),
    "the rules go in order: over-fitting comes after collapse":
        dict(order=("overflow", "learning rate", "over-fitting", "collapse", "warm-up")),
    "the rules go in order: the overflow comes first": dict(order=(*_NAMES[1:5], "overflow")),
    "the rules go in order: the warm-up comes last": dict(order=("warm-up", *_NAMES[:4])),
    **{f"the {rule} is never looked for": dict(order=tuple(r for r in _RULES if r != rule))
       for rule in _RULES},
}  # fmt: skip


def _log(wanted=1.0, **columns) -> dict:
    """A log from columns, None where a line lacks the key; without them the loss falls, and λ is
    there. wanted: the λ that was."""
    lines = max(map(len, columns.values()), default=3)
    falling = [0.7 - 0.06 * k for k in range(lines)]
    columns = {"clean_loss": falling, "lam": [wanted] * lines} | columns
    log = []
    for k in range(lines):
        line = {"step": 10 * k + 10}
        line |= {name: column[k] for name, column in columns.items() if column[k] is not None}
        log.append({"loss": line["clean_loss"] * (1 + line["lam"]), **line})
    return dict(log=log, lam=wanted)


def _logs() -> list[dict]:
    """Short logs at the edges of the rules; the shortest first, since it says it best."""
    inf, nan, no = math.inf, math.nan, None
    rising, fall, low = [0.5, 0.6, 0.7], [0.6, 0.6, 0.3], [0.1, 0.3, 0.4]
    return sorted([
        *(_log(wanted) for wanted in (0.5, 1.0, 3.0)),
        _log(grad_norm=[inf, inf, no, inf]),
        _log(grad_norm=[1.0, inf, inf, inf, 1.0, 1.0, 1.0]),
        _log(grad_norm=[nan, nan, nan, 1.0]),
        _log(grad_norm=[inf, inf, 1.0, 1.0]),
        _log(grad_norm=[inf, 1.0, 1.0]),
        _log(grad_norm=[inf, inf, inf, 1.0, 1.0]),
        _log(grad_norm=[1.0, 1.0, inf, inf, inf]),
        _log(grad_norm=[1.0, inf, inf, inf, inf, 1.0]),
        _log(grad_norm=[1.0, 7e4, 7e4, 7e4, 1.0]),  # large, but finite
        _log(grad_norm=[inf, 1.0, inf, 1.0, inf]),
        _log(grad_norm=[inf, inf, inf], lam=low),
        _log(loss=[1.4, 7e4, 7e4, 7e4, 1.3]),
        _log(loss=[1.4, inf, 1.3, 1.2]),
        _log(clean_loss=[0.7, nan, nan, nan], share=[0.6, 1.0, 1.0, 1.0]),
        _log(loss=[1.4, 1.3, nan], clean_loss=rising, share=[0.99] * 3),
        _log(clean_loss=[1.0, 0.9, 0.8, 0.7, 0.6, 3.0]),
        _log(clean_loss=[0.7, 0.3, 0.2, 0.2, 1.0]),
        _log(clean_loss=[0.7, 0.3, 1.2, 0.9, 0.4]),
        _log(clean_loss=[0.65, 0.6, 0.9, 0.3]),
        _log(clean_loss=[0.5] * 4),
        _log(clean_loss=[0.5, 0.6, 0.5, 0.5, 0.5]),
        _log(clean_loss=[0.5, 0.9, 0.9, 0.6, 0.6, 0.6]),
        _log(clean_loss=[0.5, 0.9, 0.6, 0.6, 0.6]),
        _log(clean_loss=[0.7, 0.6, 0.5], lam=[0.0, 0.5, 1.0]),  # `loss` grows with λ
        _log(clean_loss=rising, share=[0.99] * 3),
        _log(share=[0.99, 0.93, 0.99]),
        _log(share=[0.99, 0.6, 0.6]),
        _log(share=[0.6, 0.6, 0.99]),
        _log(share=[no, 0.99, 0.99]),
        _log(share=[0.6, 0.96, no, 0.95, no, no, 0.97, no, no]),
        _log(share=[0.95, 0.95, 0.95]),
        _log(share=[0.99] * 3, pgd=fall, fgm=[0.9] * 3),
        _log(share=[0.99] * 3, lam=low),
        _log(pgd=fall, fgm=[0.9] * 3, lam=low),
        _log(pgd=[0.6, no, no, no, 0.3, no], fgm=[0.9, no, no, no, 0.9, no]),
        _log(pgd=[0.6, no, no, no, 0.6, 0.1], fgm=[0.9, no, no, no, 0.9, no]),
        _log(pgd=[0.5, 0.9, 0.5], fgm=[0.8, no, 0.8]),
        _log(pgd=[0.5, no, 0.5, no], fgm=[0.8, no, 0.8, 0.9]),
        _log(pgd=fall, fgm=[0.9, 0.6, 0.6]),
        _log(pgd=fall, fgm=[0.6, 0.9, 0.6]),
        _log(pgd=[0.5, 0.4, 0.35], fgm=[0.8] * 3),
        _log(pgd=[0.6, 0.4, 0.3], fgm=[0.9, 0.9, 0.8]),
        _log(pgd=[0.4, 0.8, 0.5], fgm=[0.8] * 3),
        _log(pgd=[0.5, 0.75, 0.5], fgm=[0.95, 0.7, 0.7]),
        _log(pgd=[0.6] * 3, fgm=[0.9] * 3),
        _log(pgd=[0.6, 0.1, 0.6], fgm=[0.9] * 3),
        _log(pgd=[0.6, 0.5, 0.3], fgm=[0.45] * 3),
        _log(pgd=[0.6, 0.5, 0.1], fgm=[0.9, 0.8, 0.2]),
        _log(pgd=[0.4, 0.7, 0.4], fgm=[0.95, 0.7, 0.65]),
        _log(pgd=[0.2, 0.1, 0.0], fgm=[0.9] * 3),  # exactly 0.2
        _log(pgd=[0.5, 0.3, 0.1], fgm=[0.2, 0.1, 0.0]),
        _log(pgd=[0.6, no, 0.3], fgm=[0.9, no, 0.9], share=[0.6, 0.6, no]),
        _log(pgd=[0.6, 0.6, 0.3, 0.6], fgm=[0.9] * 4, share=[no, 0.6, 0.6, no]),
        _log(lam=[1.0, 1.0, 0.5]),
        _log(lam=[0.0, 0.5, 0.2, 0.4]),
        _log(lam=[0.5, 0.7, 0.95]),
        _log(lam=[1.0, 1.0, 0.9]),
        _log(0.5, lam=[0.1, 0.3, 0.42]),
        _log(0.5, lam=[0.1, 0.3, 0.46]),
        _log(3.0, lam=[1.0, 2.0, 3.0, 2.8]),
        _log(2.0, lam=[1.0, 1.5, 1.75]),
    ], key=lambda case: len(case["log"]))  # fmt: skip


def check_diagnose(answer) -> None:
    def asked(log, lam):
        try:
            return answer(log, lam)
        except KeyError as error:
            raise Wrong(f"your function stops at a line that has no {error}",
                        given=_columns(log, lam), likely="`grad_norm` and the checks may be "
                        "missing in any line: ask whether the key is there") from None  # fmt: skip

    try:
        specified(asked, _logs(), _diagnosis, _CURVE_MISTAKES, what="the diagnosis")
    except Wrong as wrong:
        if "log" in wrong.given:
            if wrong.yours is not None:
                wrong.likely = wrong.likely or _rule(wrong.yours, wrong.expected)
            wrong.given = _columns(**wrong.given)
        raise


def _columns(log, lam) -> dict:
    """A log, key by key."""
    shown = {"lam, wanted": lam}
    for key in ("loss", "clean_loss", "grad_norm", "share", "fgm", "pgd", "lam"):
        if any(key in line for line in log):
            shown[key] = [round(line[key], 3) if key in line else "-" for line in log]
    return shown


def _rule(yours, expected) -> str:
    """The first rule that was judged otherwise: that much is sure."""
    if yours not in _NAMES:
        return f"this is none of the six names: {', '.join(_NAMES)}"
    number = min(_NAMES.index(yours), _NAMES.index(expected))
    fits = "does not fit" if _NAMES[number] == yours else "fits"
    return f"rule {number + 1} ({_NAMES[number]}) {fits} here"


# ---------------------------------------------------------------- the course's own functions


def bytes_needed(params, trainable, layers, hidden, batch, length, fp16=False,
                 checkpointing=False, dropout=True):  # fmt: skip
    """Bytes of weights, half copies, gradients, moments and activations of a training step of a
    BERT with AdamW, where `trainable` of its `params` parameters are trained."""
    c = (40 if fp16 else 64) + 2 * dropout
    per_number = 4 * layers + c if checkpointing else layers * c
    return {
        "weights": 4 * params,
        "half copies": 2 * 12 * layers * hidden**2 if fp16 else 0,
        "gradients": 4 * trainable,
        "moments": 8 * trainable,
        "activations": batch * length * hidden * per_number,
    }


def checkpoint(loop, state=None):
    """The state of a `Loop`, a dictionary that a file can hold; with a state, the way back."""
    if state is None:
        return copy.deepcopy({
            "model": loop.model.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "scheduler": loop.scheduler.state_dict(),
            "generator": loop.generator.get_state(),
            "order": loop.order,
            "at": loop.at,
            "dropout": torch.get_rng_state(),
        })
    state = copy.deepcopy(state)
    loop.model.load_state_dict(state["model"])
    loop.optimizer.load_state_dict(state["optimizer"])
    loop.scheduler.load_state_dict(state["scheduler"])
    loop.generator.set_state(state["generator"])
    loop.order, loop.at = state["order"], state["at"]
    torch.set_rng_state(state["dropout"])


def claims(card):
    """One sentence for each row of an evaluation's card, and one for the worst case."""
    def sentence(row, what, kinds):
        text = (f"Under {what}{' (' + ' and '.join(kinds) + ')' if kinds else ''} it gets "
                f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}] of the texts right, "
                f"n = {row['n']}")
        return text + ("; too few texts for more." if row["high"] - row["low"] > 0.2 else ".")

    def kind(row):
        return "moved embeddings" if row["queries"] is None else "changed words"

    attacked = card["rows"][1:]
    worst = card["worst case"]
    return [
        sentence(card["rows"][0], "no attack", []),
        *[sentence(row, row["threat model"], [kind(row)]) for row in attacked],
        sentence(worst, worst["threat model"] + ", the strongest for each text",
                 sorted({kind(row) for row in attacked})),
    ]


def distributed_step(model, batch, eps, lam):
    """One step of FGM training under a wrapper: adds the gradient of L + lam·L_adv to the weights'
    .grad with one exchange, and returns (clean, adv)."""
    inner = bare(model)
    start = zero_delta(inner, batch).requires_grad_()
    harm = F.cross_entropy(perturbed_logits(inner, batch, start), batch["labels"])
    (grad,) = torch.autograd.grad(harm, start)
    push = fgm_step(grad, attackable(batch), eps)
    first = F.cross_entropy(perturbed_logits(inner, batch, None), batch["labels"])
    second = F.cross_entropy(perturbed_logits(model, batch, push), batch["labels"])
    (first + lam * second).backward()
    return first.detach(), second.detach()


def diagnose(log, lam):
    """What went wrong in a training run, read off its log: "overflow", "learning rate",
    "collapse", "over-fitting", "warm-up", or "healthy"."""
    wild = [not math.isfinite(line.get("grad_norm", 0.0)) for line in log]
    in_a_row = any(all(wild[k : k + 3]) for k in range(len(log) - 2))
    if in_a_row or not all(math.isfinite(line["loss"]) for line in log):
        return "overflow"
    if sum(line["clean_loss"] for line in log[-3:]) / 3 > log[0]["clean_loss"]:
        return "learning rate"
    shares = [line["share"] for line in log if "share" in line]
    if len(shares) >= 3 and min(shares[-3:]) >= 0.95:
        return "collapse"
    checks = [line for line in log if "pgd" in line and "fgm" in line]
    if checks:
        best, last = max(checks, key=lambda line: line["pgd"]), checks[-1]
        if best["pgd"] - last["pgd"] > 0.2 and best["fgm"] - last["fgm"] <= 0.2:
            return "over-fitting"
    return "warm-up" if log[-1]["lam"] < 0.9 * lam else "healthy"


EXERCISES: dict[str, Exercise] = {
    "12.1": Exercise("the memory of a step", check_bytes_needed, bytes_needed),
    "12.2": Exercise("make a resume exact", check_checkpoint, checkpoint),
    "12.3": Exercise("claims that the evidence carries", check_claims, claims),
    "12.4": Exercise("one exchange", check_distributed_step, distributed_step),
    "12.5": Exercise("read a curve", check_diagnose, diagnose),
}
