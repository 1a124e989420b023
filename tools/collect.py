"""Which exercises are right in the notebooks that a class handed in: one row each, as CSV.

    python tools/collect.py SUBMISSIONS > marks.csv                what their stored outputs say
    python tools/collect.py SUBMISSIONS --execute > marks.csv      run every notebook again first

SUBMISSIONS is a folder; what lies in it is looked through at any depth. Stored outputs can be
edited, so marks that count want `--execute`. That runs the code of strangers: do it in a container
or on a machine that holds nothing else. A cell that fails does not keep the next ones from running.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError

# What `course.exercise` prints, or raises, and the word for it in the table.
SAID = re.compile(
    r"Exercise (\d\d\.\d+)(?: \([^\n]*\))?(: right|: not yet|: your code stopped| is not)"
)
WORDS = {
    ": right": "right",
    " is not": "open",
    ": not yet": "wrong",
    ": your code stopped": "wrong",
}


def verdicts(nb: nbformat.NotebookNode) -> dict[str, str]:
    """Exercise -> "right", "wrong" or "open", as the outputs say; the last word counts."""
    found = {}
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            shown = output.get("data", {}).get("text/plain", "")  # right and wrong come as a box
            text = "\n".join([output.get("text", ""), shown, output.get("evalue", "")])
            found |= {id: WORDS[end] for id, end in SAID.findall(text)}
    return found


def exercises(nb: nbformat.NotebookNode) -> list[str]:
    """All exercises of the lesson that the notebook calls most of."""
    called = re.findall(r"course\.exercise\(\s*\"(\d\d)\.", "\n".join(c.source for c in nb.cells))
    if not called:
        return []
    lesson = max(set(called), key=called.count)
    return list(import_module(f"course.lesson_{lesson}.checks").EXERCISES)


def row(file: Path, home: Path, execute: bool) -> list[str]:
    """[name, lesson, number right, number of exercises, what was said of each]."""
    name = str(file.relative_to(home))
    try:
        nb = nbformat.read(file, as_version=4)
        ids = exercises(nb)
        if execute:
            for cell in nb.cells:
                cell.pop("outputs", None)  # what is not reached says nothing
                if cell.cell_type == "code":
                    cell.outputs = []
            with tempfile.TemporaryDirectory() as folder:  # the record of who marks stays as it is
                os.environ["COURSE_RECORD"] = str(Path(folder) / "record.json")
                NotebookClient(nb, timeout=600, allow_errors=True).execute()
    except (CellTimeoutError, DeadKernelError) as error:
        print(f"{name}: stopped, {type(error).__name__}", file=sys.stderr)
    except Exception as error:  # whatever was handed in, the others are still marked
        print(f"{name}: cannot be read as a notebook ({error})", file=sys.stderr)
        return [name, "", "", "", ""]
    if not ids:
        print(f"{name}: no exercise of the course in it", file=sys.stderr)
        return [name, "", "", "", ""]
    said = verdicts(nb)
    marks = {id: said.get(id, "not run") for id in ids}
    right = sum(word == "right" for word in marks.values())
    told = "; ".join(f"{id} {word}" for id, word in marks.items())
    return [name, ids[0].split(".")[0], str(right), str(len(ids)), told]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("submissions", type=Path, help="folder of notebooks")
    parser.add_argument("--execute", action="store_true", help="run them again (see above)")
    options = parser.parse_args()
    files = sorted(p for p in options.submissions.rglob("*.ipynb")
                   if ".ipynb_checkpoints" not in p.parts)  # fmt: skip
    if not files:
        sys.exit(f"there is no notebook in {options.submissions}: give the folder they lie in")
    table = csv.writer(sys.stdout)
    table.writerow(["notebook", "lesson", "right", "of", "exercises"])
    for file in files:
        table.writerow(row(file, options.submissions, options.execute))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
