"""The judge of the board: what an attack may do, and whether it did that alone.

What an attack says of itself counts for nothing. Its code runs in a process of its own, which hands
back texts or δ (`run_attack`). `judge` holds these against the threat model and asks the model
itself, in a process in which no line of the attack has run.
"""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

import advlib
from advlib.attacks.words import TYPOS as SLIPS
from advlib.attacks.words import KeepWords, slips
from advlib.corpora import words, world
from advlib.corpora.engine import WORD
from advlib.embeddings import attack_mode, mean_norm, perturbed_logits, zero_delta
from advlib.evaluation import answers
from advlib.models import Classifier
from advlib.perturbation import Ball


class BoardError(ValueError):
    """An entry that is refused; the message says in one sentence why, and what to do."""


@dataclass(frozen=True)
class Threat:
    """What an attack may do to a text. substitutes: any word becomes one that the world knows to
    keep the label. slips: the share of words that may have one slip each. eps: the length of δ over
    the whole text, in mean norms of a token embedding; None: embeddings stay."""

    in_words: str
    substitutes: bool = False
    slips: float = 0.0
    eps: float | None = None


THREATS = {
    "words": Threat("any word becomes a substitute that the world knows to keep the label", True),
    "typos": Threat("one slip in each of at most a fifth of the words, first and last letter kept; "
                    "stop words and negations stay", slips=0.2),
    "words and typos": Threat("known substitutes anywhere, and one slip in each of at most a fifth "
                              "of the words", True, 0.2),
    "embedding": Threat("δ on the token embeddings, at most 0.3 mean embedding norms long over the "
                        "whole text", eps=0.3),
}  # fmt: skip
LONGEST = 20_000  # characters of a text that an attack hands back


# ---------------------------------------------------------------------- is it within the threat?


def judge(victim: Classifier, threat: str, name: str, texts: Sequence[str], labels, found) -> list:
    """Of each text whether the model is wrong on what the attack made of it.

    found: texts, or for embeddings a δ for each text, (tokens, hidden). Raises BoardError with the
    number of the text where one is outside the threat model, for then none of them counts.
    """
    allowed, moved = THREATS[threat], THREATS[threat].eps is not None
    if len(found) != len(texts):
        raise BoardError(f"it made {len(found)} results of {len(texts)} texts: hand back one for "
                         "each, in order")  # fmt: skip
    if not moved:
        for i, (text, label, new) in enumerate(zip(texts, labels, found, strict=True)):
            if why := unfair(allowed, name, text, label, new):
                raise BoardError(f"it breaks its threat model ({threat}) at text {i}: {why}")
        logits = victim.logits(found) if found else np.zeros((0, len(victim.labels)))
        return (answers(logits, np.array(labels, int)) != labels).tolist()
    broken, ball = np.zeros(len(texts), bool), Ball(allowed.eps * mean_norm(victim.model))
    with attack_mode(victim.model, same_dropout=False), torch.no_grad():
        for chosen, batch in victim.batches(texts, labels):
            delta = zero_delta(victim.model, batch)
            for row, i in enumerate(chosen):
                real = batch["attention_mask"][row].bool()
                special = batch["special_tokens_mask"][row][real].bool()
                if why := too_far(ball, found[i], delta[row][real], special):
                    raise BoardError(f"it breaks its threat model ({threat}) at text {i}: {why}")
                delta[row, real] = found[i].to(delta)
            logits, right = perturbed_logits(victim.model, batch, delta), batch["labels"].numpy()
            broken[chosen] = answers(logits.numpy(), right) != right
    return broken.tolist()


def unfair(threat: Threat, name: str, text: str, label: int, new) -> str | None:
    """Why `new` is not a text that this threat model may make of `text`; None where it is one."""
    if not isinstance(new, str) or len(new) > LONGEST:
        return "it handed back no text, or one of more than 20,000 characters"
    if WORD.sub("·", text) != WORD.sub("·", new):
        return "spaces, signs or the number of words are other than before; only words may change"
    known, kept = world(name), KeepWords().words
    old, slipped, read = words(text), 0, []
    substitutes = known.substitutes(text) if threat.substitutes else [()] * len(old)
    for before, after, options in zip(old, words(new), substitutes, strict=True):
        if after == before or after in options:
            read.append(after)
            continue
        meant = [word for word in (before, *options) if threat.slips
                 and word.lower() not in kept and is_slip(word, after)]  # fmt: skip
        if not meant:
            allowed = [*["a known substitute"] * threat.substitutes,
                       *["one slip in a word that may have one"] * bool(threat.slips)]  # fmt: skip
            return f"{before!r} became {after!r}, which is not {' or '.join(allowed)}"
        if after.lower() in known.known:
            return f"{before!r} became {after!r}, which is another word of this world and no slip"
        read.append(meant[0])
        slipped += 1
    most = int(threat.slips * len(old) + 1e-9)
    if slipped > most:
        return f"{slipped} of its {len(old)} words have a slip, and at most {most} may"
    return _label_kept(known, text, label, read)


def _label_kept(known, text: str, label: int, read: list[str]) -> str | None:
    """By the world's own reading rule, every slip taken for the word that was meant."""
    places = iter(read)
    try:
        found = known.label(WORD.sub(lambda _: next(places), text))
    except ValueError:
        return "the world's rule cannot read the label any more"
    if found != label:
        return f"the label is {known.labels[found]!r} now and was {known.labels[label]!r}"


def is_slip(word: str, new: str) -> bool:
    """Whether `new` is `word` with one slip, of all that `Typos` may take from."""
    return len(word) > 3 and word.isalpha() and any(new in slips(word, kind) for kind in SLIPS)


def too_far(ball: Ball, delta: Tensor, zero: Tensor, special: Tensor) -> str | None:
    """Why δ is not one of this threat model. zero: one of its shape; special: (tokens,) where it
    has to be 0."""
    if delta.shape != zero.shape or not delta.isfinite().all():
        return f"δ should be {tuple(zero.shape)} finite numbers and is {tuple(delta.shape)}"
    if delta[special].any():
        return "δ is not zero on special tokens"
    size = float(ball.size(delta[None].double()).max())
    if size > ball.eps * (1 + 1e-4):
        return f"δ is {size / ball.eps:.3g} times as long as it may be"


# ---------------------------------------------------------------------- an attack's code

IMPORTS = {"__future__", "advlib", "collections", "copy", "dataclasses", "functools", "heapq",
           "itertools", "math", "numpy", "operator", "random", "re", "string", "torch", "typing",
           "zlib"}  # fmt: skip
NAMES = {"open", "exec", "eval", "compile", "__import__", "globals", "locals", "vars", "getattr",
         "setattr", "delattr", "input", "breakpoint"}  # fmt: skip
ATTRIBUTES = {"load", "save", "hub", "ops", "classes", "fromfile", "tofile", "memmap", "loadtxt",
              "savetxt", "genfromtxt", "ctypeslib", "sys", "os"}  # fmt: skip
METHODS = {"__init__", "__post_init__", "__call__", "__name__"}


def check_code(source: str) -> None:
    """Raise BoardError for what no attack needs: files, processes, other modules, attributes of
    what is not its own. This stops accidents and the plainest tricks; it makes nothing safe, so a
    person reads the file before it runs."""

    def refuse(node, what: str):
        raise BoardError(f"attack.py, line {getattr(node, 'lineno', 1)}: {what}")

    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BoardError(f"attack.py is no Python: {error}") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            home = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = home + alias.name
                if name.split(".")[0] not in IMPORTS or name.startswith("advlib.app"):
                    refuse(node, f"it imports {name}, which attacks may not; they may import "
                                 f"{', '.join(sorted(IMPORTS))}")  # fmt: skip
                if alias.name in ATTRIBUTES | NAMES:
                    refuse(node, f"it uses {alias.name}; attacks read and write no files")
        elif isinstance(node, ast.Name) and node.id in NAMES:
            refuse(node, f"it uses {node.id}; attacks take what they are given and hand back")
        elif isinstance(node, ast.Attribute):
            name, mine = node.attr, getattr(node.value, "id", None) == "self"
            if name in ATTRIBUTES or name.startswith("__") and name not in METHODS:
                refuse(node, f"it uses .{name}; attacks read and write no files and look into no "
                             "object of Python's own")  # fmt: skip
            if not isinstance(node.ctx, ast.Load) and not mine:
                refuse(node, f"it changes .{name} of an object that is not its own")
    made = [t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets
            if isinstance(t, ast.Name)]  # fmt: skip
    if "attack" not in made:
        raise BoardError("attack.py makes no `attack`: end it with attack = YourClass(…)")


def run_attack(
    file: Path, threat: str, defence: tuple, texts: Sequence[str], labels: Sequence[int],
    seconds: float,
) -> tuple[str, list]:  # fmt: skip
    """(the attack's repr, what it made of the texts: texts, or a δ each), from a process of its
    own with limits of time and memory. defence: the arguments of `load_defence`.

    Raises BoardError where it fails. The process is no prison: see docs/board.md.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, moved = Path(folder), THREATS[threat].eps is not None
        asked = [str(Path(file).resolve()), moved, str(defence[0]), *defence[1:], list(texts),
                 list(map(int, labels))]  # fmt: skip
        (home / "asked.json").write_text(json.dumps(asked))
        env = {n: os.environ[n] for n in ("PATH", "OMP_NUM_THREADS") if n in os.environ}
        env |= {"HOME": folder, "HF_HUB_OFFLINE": "1",
                "PYTHONPATH": str(Path(advlib.__file__).parents[1])}  # fmt: skip
        child = subprocess.Popen(
            [sys.executable, "-m", "advlib.app.attacker", str(int(seconds))], cwd=home, env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
        late = f"it took more than {seconds:g} s of a processor: ask the model less"
        try:  # a busy machine gives it a tenth of a processor
            said = child.communicate(timeout=10 * seconds)[1].strip().splitlines()
        except subprocess.TimeoutExpired as error:
            raise BoardError(late) from error
        finally:
            end(child)
        if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise BoardError(late)
        if child.returncode:
            last = said[-1] if said else f"exit status {child.returncode}"
            raise BoardError(f"it stopped with an error: {last[:300]}")
        try:
            name, found = json.loads((home / "answer.json").read_text("utf-8"))
            if moved:
                tensors = load_file(home / "delta.safetensors")
                found = [tensors[str(i)] for i in range(len(texts))]
        except (OSError, ValueError, TypeError, KeyError, SafetensorError) as error:
            raise BoardError("it handed back nothing that can be read") from error
    if not isinstance(name, str) or " at 0x" in name or not isinstance(found, list):
        raise BoardError("its repr is no threat model: make the class a frozen dataclass")
    return name[:1000], found


def end(child: subprocess.Popen) -> None:
    """The process and all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
