"""Runs one notebook that was handed in and judges its answers, in a process of its own.

`course.grading` starts it, sends the cells as one line of JSON on stdin, and reads one line of JSON
from a pipe. What the cells print is thrown away: what is "right" is decided here, after the last
cell, by checks that were loaded before the first one.

Code in one process can, with enough work, find anything in it. So this is no safe: it makes the
known ways to an unearned mark fail or leave a trace. Strangers' code belongs into a container
without a network (see docs/marking.md).
"""

from __future__ import annotations

import builtins
import functools
import inspect
import json
import os
import random
import sys
import types
from collections.abc import Callable

LONGEST = 1500  # characters of what is said about an answer
OURS = ("course", "advlib")
# What the checks call of others. By name, so that nothing is loaded that a check does not use.
OTHERS = ("builtins", "torch", "torch.nn.functional", "torch.autograd", "torch.linalg", "numpy",
          "numpy.random", "math", "random", "inspect", "copy", "json", "itertools", "functools",
          "operator", "statistics", "os", "sys", "gc", "types")  # fmt: skip
PEEKS = {"sys._getframe", "sys._current_frames", "sys.setprofile", "sys.settrace", "gc.get_objects",
         "gc.get_referrers", "gc.get_referents"}  # fmt: skip
FRAMES = {"tb_frame", "gi_frame", "cr_frame", "ag_frame"}


class Refused(Exception):
    """Not an answer of the learner's own; the message says why."""


# ---------------------------------------------------------------------- has something been changed?


def snapshot() -> dict:
    """All that the checks rest on: names of the course, of the library, and of what they call."""
    found = {}
    for name, module in list(sys.modules.items()):
        ours = name.split(".")[0] in OURS
        if not ours and name not in OTHERS or not isinstance(module, types.ModuleType):
            continue
        for key, value in list(vars(module).items()):
            if key == "__builtins__":  # the front end adds to it; what is in it, see OTHERS
                found[name, key] = (value,)
            elif ours or callable(value):
                found[name, key] = state(value)
            if ours and isinstance(value, type) and value.__module__.split(".")[0] in OURS:
                found |= {(name, key, k): state(v) for k, v in list(vars(value).items())}
    torch = sys.modules["torch"]
    found |= {("torch", "Tensor", k): state(v) for k, v in list(vars(torch.Tensor).items())}
    return found


def state(value) -> tuple:
    """What a thing is: itself, of a function its code too, of a container what is in it."""
    value = getattr(value, "__func__", value)  # of a class method
    if isinstance(value, types.FunctionType):
        cells = tuple(_held(cell) for cell in value.__closure__ or ())
        defaults = tuple(value.__defaults__ or ()), tuple((value.__kwdefaults__ or {}).items())
        return (value, value.__code__, *cells, *(x for pair in defaults for x in pair))
    if isinstance(value, property):
        return (value, value.fget)
    if isinstance(value, list | tuple):
        return (value, *value)
    if isinstance(value, dict):
        return (value, *value, *value.values())
    return (value,)


def _held(cell):
    try:
        return cell.cell_contents
    except ValueError:
        return None


def changes(before: dict) -> list[str]:
    """Names that are bound to something else than before, or that now hide a builtin."""
    now, found = snapshot(), []
    for key, was in before.items():
        same = len(was) == len(now.get(key, ())) and all(map(_same, was, now[key]))
        if not same and key[-1] not in ("__warningregistry__", "__dict__", "__weakref__"):
            found.append(".".join(key))
    hiding = {key for key in now.keys() - before.keys()
              if len(key) == 2 and key[0].split(".")[0] in OURS and hasattr(builtins, key[1])
              and not key[1].startswith("__")}  # fmt: skip
    return found + [".".join(key) for key in sorted(hiding)]


def _same(one, other) -> bool:
    simple = int | float | str | bytes | tuple | None  # made anew each time they are looked at
    return one is other or isinstance(one, simple) and type(one) is type(other) and one == other


# ---------------------------------------------------------------------- is it the learner's own?


def own(answer, course) -> None:
    """Raises Refused for the course's own answer, as it is or wrapped by functools."""
    inner = answer
    while isinstance(inner, functools.partial) or hasattr(inner, "__wrapped__"):
        inner = inner.func if isinstance(inner, functools.partial) else inner.__wrapped__
    inner = getattr(inner, "__func__", inner)
    if not isinstance(inner, types.FunctionType | type):
        raise Refused(f"it is a {type(inner).__name__}, and should be your function or class")
    home = inner.__module__ if isinstance(inner, type) else inner.__globals__.get("__name__")
    if inner is course or home != "__main__":
        raise Refused("it is a function that somebody else wrote: the course's own, or a library's")


class Watch:
    """Who looks into frames and objects that are not his, and, while a check runs, who calls the
    course's answer."""

    def __init__(self) -> None:
        self.code, self.seen, self.busy = None, "", False
        sys.addaudithook(self._hear)  # stays for ever: no code of a notebook can take it away

    def _hear(self, event: str, values: tuple) -> None:
        what = values[1] if event == "object.__getattr__" else event
        if (what in PEEKS or what in FRAMES) and not self.busy:
            self.busy = True  # it looks at a frame itself
            frame = sys._getframe(1)
            self.busy = False
            if frame.f_code.co_filename == inspect.__file__:  # as inspect.currentframe does
                frame = frame.f_back
            if _is_theirs(frame.f_code):
                self.seen = f"it looks into the check ({what})"
                raise PermissionError(f"{what} is not for notebooks that are marked")

    def _call(self, frame, event: str, _) -> None:
        if event == "call" and frame.f_code is self.code:
            while frame := frame.f_back:
                if _is_theirs(frame.f_code):
                    self.seen = self.seen or "it calls the course's own answer"
                    return

    def run(self, check: Callable, answer, course) -> None:
        """The check; raises Refused where the answer did what it must not."""
        self.code, self.seen = getattr(course, "__code__", None), ""
        sys.setprofile(self._call)
        try:
            check(answer)
        finally:
            sys.setprofile(None)
            if self.seen:
                raise Refused(self.seen)


def _is_theirs(code: types.CodeType) -> bool:
    """Whether it was written in a cell."""
    return code.co_filename.startswith(("<ipython-input", "<string>")) or (
        "ipykernel" in code.co_filename)  # fmt: skip


def plain(answer):
    """The function, but an object of a class of its own is no result: it could be equal to all."""
    if isinstance(answer, type):
        return answer

    @functools.wraps(answer)
    def call(*values, **named):
        found = answer(*values, **named)
        _look(found)
        return found

    return call


def _look(found, depth: int = 0) -> None:
    if type(found).__module__ == "__main__":
        raise Refused(f"it returns an object of a class of its own, {type(found).__name__}")
    if isinstance(found, dict | list | tuple) and depth < 3:
        for inner in found.values() if isinstance(found, dict) else found:
            _look(inner, depth + 1)


# ---------------------------------------------------------------------- one notebook


def judge(cells: list[str], lesson: str, seed: int) -> tuple[dict[str, list[str]], list[str]]:
    """({exercise: [state, what is said]}, what was changed). The states are "right", "wrong",
    "open", "not run" and "refused"."""
    import numpy
    import torch

    import course
    from course import checking, ledger

    checking.LEARNER = f"marked {seed}"  # no inputs that anybody has seen
    trusted = dict(ledger.exercises(lesson))
    answers, given, watch = {}, ledger.exercise, Watch()

    def exercise(id: str, answer):
        answers[id] = answer
        return given(id, answer)

    course.exercise = exercise
    before = snapshot()
    run(cells)
    changed = changes(before)
    verdicts = {}
    for id, entry in trusted.items():
        if id not in answers:
            verdicts[id] = ["not run", ""]
            continue
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        torch.set_grad_enabled(True)
        verdicts[id] = verdict(watch, entry, answers[id])
        changed = changed or changes(before)  # an answer may do it while it is checked
    if changed:
        said = f"the notebook changes what the checks rest on: {', '.join(changed[:3])}"
        verdicts = {id: [state if state in ("open", "not run") else "refused", said]
                    for id, (state, _) in verdicts.items()}  # fmt: skip
    return verdicts, changed


def verdict(watch: Watch, entry, answer) -> list[str]:
    try:
        own(answer, entry.course)
        watch.run(entry.check, plain(answer), entry.course)
    except Refused as error:
        return ["refused", str(error)]
    except NotImplementedError as error:
        return ["open" if str(error).startswith("Exercise") else "wrong", ""]
    except BaseException as error:  # SystemExit too
        return ["wrong", f"{type(error).__name__}: {error}"[:LONGEST]]
    return ["right", ""]


def run(cells: list[str]) -> None:
    """All cells in order, as a front end does that goes on after an error."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for cell in cells:
        try:
            shell.run_cell(cell, store_history=False)
        except BaseException:
            continue


def main() -> None:
    job = json.loads(sys.stdin.readline())
    pipe, nonce = job["pipe"], job["nonce"]
    verdicts, _ = judge(job["cells"], job["lesson"], job["seed"])
    found = {"nonce": nonce, "verdicts": verdicts}
    os.write(pipe, (json.dumps(found) + "\n").encode())
    os._exit(0)  # what a notebook left to be done at the end is not done

