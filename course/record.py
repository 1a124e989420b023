"""The learner's record: a small JSON file that outlives the kernel.

It lies in the folder of the notebooks, on Colab in the Drive where it is mounted, or where
$COURSE_RECORD says. It is written whole or not at all, under a lock: two kernels do not harm it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

NAME = "course-progress.json"
DRIVE = Path("/content/drive/MyDrive")


def place() -> Path:
    """Where the record is, or will be."""
    if wanted := os.environ.get("COURSE_RECORD"):
        return Path(wanted)
    if "google.colab" in sys.modules and DRIVE.is_dir():
        return DRIVE / NAME
    notebooks = Path("notebooks")  # of a terminal in the checkout; a page runs in there already
    return (notebooks if notebooks.is_dir() else Path()) / NAME


def read() -> dict[str, dict]:
    """{"answers": {id: state}, "guesses": {id: {...}}}; empty where there is no record yet. A file
    that cannot be read is set aside, and that is said."""
    file, nothing = place(), {"answers": {}, "guesses": {}}
    with suppress(ValueError, KeyError, TypeError, AttributeError, OSError):
        if not file.exists():
            return nothing
        found = json.loads(file.read_text())
        if _whole(found):
            return found
    aside = file.with_suffix(".broken.json")
    with suppress(OSError):
        os.replace(file, aside)
        print(f"The record {file.name} could not be read; it is kept as {aside.name}, and a new "
              "one begins.")  # fmt: skip
    return nothing


def _whole(found) -> bool:
    """Whether this is what this file writes."""
    return (all(isinstance(state, str) for state in found["answers"].values())
            and all(guess.keys() == {"guess", "result", "low", "high"}
                    for guess in found["guesses"].values()))  # fmt: skip


def answers() -> dict[str, str]:
    return read()["answers"]


def guesses() -> dict[str, dict]:
    return read()["guesses"]


def keep_answer(id: str, state: str) -> None:
    """An exercise that is right stays right: an empty stub that is run again takes nothing away."""
    def change(found: dict) -> None:
        if not (state == "not attempted" and id in found["answers"]):
            found["answers"][id] = state

    _change(change)


def keep_guess(id: str, guess, result, low, high) -> None:
    kept = dict(guess=guess, result=result, low=low, high=high)
    kept = {k: v.item() if hasattr(v, "item") else v for k, v in kept.items()}
    _change(lambda found: found["guesses"].update({id: kept}))


def _change(change) -> None:
    """Read, change, write; where nothing can be written the page goes on without a record."""
    file = place()
    try:
        with FileLock(f"{file}.lock", timeout=5):
            found = read()
            change(found)
            new = file.with_name(f"{file.name}.{os.getpid()}")
            new.write_text(json.dumps(found, indent=1, sort_keys=True, default=str) + "\n")
            os.replace(new, file)
    except (OSError, Timeout) as error:
        print(f"(Your progress could not be kept in {file}: {error}. COURSE_RECORD names another "
              "file.)")  # fmt: skip


def digest() -> str:
    """SHA-256 of what the record says."""
    return hashlib.sha256(json.dumps(read(), sort_keys=True).encode()).hexdigest()
