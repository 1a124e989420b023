"""claim(): what must come out on a page, by name.

    course.claim("03.rounding", kept=0.99, back=0.31)

A lesson's `claims.py` has the sentence and its condition. In tests and when notebooks are built
(COURSE_STRICT=1) a claim that fails stops the page. For a learner it never does: another model,
processor or release gives other numbers, and then the page says so and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from course.checking import show


@dataclass(frozen=True)
class Claim:
    """sentence: what holds, said in full. holds: called with the values that the page hands in by
    name; whether they bear the sentence out."""

    sentence: str
    holds: Callable[..., Any]


class ClaimFailed(AssertionError):
    """A claim that did not come out; raised where claims are strict."""


def find(name: str) -> Claim:
    """The claim of that name, "LL.name". Raises ValueError for a name that does not exist."""
    lesson = name.split(".")[0]
    try:
        return import_module(f"course.lesson_{lesson}.claims").CLAIMS[name]
    except (ModuleNotFoundError, KeyError) as error:
        message = f"there is no claim {name!r}: copy the line as the lesson has it"
        raise ValueError(message) from error


def claim(name: str, **values) -> None:
    """Print the claim's sentence with ✓ where the values bear it out, else the values.

    Raises ValueError for a name that does not exist, and ClaimFailed for a claim that fails where
    $COURSE_STRICT is set.
    """
    entry = find(name)
    try:
        held, why = bool(entry.holds(**values)), ""
    except Exception as error:  # such as a comparison of tensors of two shapes
        held, why = False, f"{type(error).__name__}: {error}"
    if held:
        print(f"✓ {entry.sentence}")
        return
    lines = [f"  {why}"] * bool(why) + [f"  {key} = {show(v)}" for key, v in values.items()]
    if os.environ.get("COURSE_STRICT"):
        raise ClaimFailed("\n".join([f"claim {name}: {entry.sentence}", *lines]))
    print("\n".join([
        f"✗ Here it did not come out so: {entry.sentence}", *lines,
        "  Other models, data, processors and releases give other numbers; the page goes on.",
    ]))  # fmt: skip
