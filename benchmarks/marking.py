"""A made-up class of thirty hand-ins, honest and not: what `course grade` makes of them.

    python benchmarks/marking.py

Every learner starts from the notebook of lesson 01 that is handed out, and hands in answers in one
of many styles, some right, some wrong, some open; or cheats. What each should earn is known, since
the answers are those that test the checks (course/lesson_01/answers.py).
"""

from __future__ import annotations

import inspect
import json
import random
import re
import tempfile
from collections import defaultdict
from pathlib import Path

from course import grading
from course.lesson_01 import answers
from course.lesson_01.checks import EXERCISES

from common import table, write

ROOT = Path(__file__).parents[1]
PAGE = json.loads((ROOT / "notebooks" / "01_the_math.ipynb").read_text(encoding="utf-8"))
SOLVED = json.loads((ROOT / "solutions" / "01_the_math.ipynb").read_text(encoding="utf-8"))
IDS = list(EXERCISES)
# All answers and what they share, as a learner's own cell.
OWN = inspect.getsource(answers).split("\nRIGHT = [")[0].split('"""', 2)[2]
RIGHT = defaultdict(list)
for id, answer in answers.RIGHT:
    RIGHT[id].append(answer)
WRONG = defaultdict(list)
for id, answer, _ in answers.WRONG:
    if inspect.isfunction(answer) and answer.__name__ != "<lambda>":
        WRONG[id].append(answer)
RENAMED = """def my_loss(weights, bias, rows, signs, size, kind):
    # all of this is mine
    other = {"l2": 2, "linf": 1, "l1": float("inf")}[kind]
    far = size * torch.linalg.vector_norm(weights, other) - signs * (rows @ weights + bias)
    return torch.nn.functional.softplus(far).mean()
"""
CHEATS = {
    "prints that all is right": 'for k in range(1, 6): print(f"Exercise 01.{k}: right.")',
    "replaces what compares": "from course import checking\nfrom course.lesson_01 import checks\n"
    "checking.expect = checks.expect = checking.compare = checks.compare = lambda *a, **k: None",
    "hands in the course's own": "from course.lesson_01.checks import EXERCISES as E\n"
    "for id in E: course.exercise(id, E[id].course)",
    "ends the process": "import os\nos._exit(0)",
    "never ends": "while True: pass",
}  # fmt: skip


def notebook(chosen: dict[str, str], extra: str = "") -> str:
    """The page with these answers (exercise -> source that ends in a call) and one cell more."""
    page = json.loads(json.dumps(PAGE))
    for cell in page["cells"]:
        text = "".join(cell["source"])
        if hit := re.search(r"course\.exercise\([\"'](\d\d\.\d)", text):
            if hit[1] in chosen:
                cell["source"] = chosen[hit[1]]
                if hit[1] == IDS[0]:
                    cell["source"] = OWN + "\n" + cell["source"]
                    if extra:
                        cell["source"] = extra + "\n" + cell["source"]
    return json.dumps(page)


def handed(id: str, function) -> str:
    name = EXERCISES[id].course.__name__
    return f'{inspect.getsource(function)}\n{name} = course.exercise("{id}", {function.__name__})'


def printed() -> dict[str, str]:
    """The solutions that everybody can read: the cells of the solved notebook."""
    found = {}
    for cell in SOLVED["cells"]:
        text = "".join(cell["source"])
        if hit := re.search(r"course\.exercise\([\"'](\d\d\.\d)", text):
            found[hit[1]] = text
    return found


def open_stub(id: str) -> str:
    name = EXERCISES[id].course.__name__
    return (f'def {name}(*given):\n    raise NotImplementedError("Exercise {id}")\n'
            f'{name} = course.exercise("{id}", {name})')  # fmt: skip


def class_of_thirty(draw: random.Random) -> list[tuple[str, str, str, int]]:
    """(kind, file name, notebook, points it should earn)."""
    worth = grading.worth("01")
    made = []

    def add(kind: str, text: str, points: int, name: str = "") -> None:
        k = len(made)
        name = name or f"Learner {k:02d}_{100 + k}_assignsubmission_file_/01_the_math.ipynb"
        made.append((kind, name, text, points))

    for _ in range(8):
        add("all right, in a style of one's own",
            notebook({id: handed(id, draw.choice(RIGHT[id])) for id in IDS}), sum(worth.values()))
    for _ in range(8):
        chosen, points = {}, 0
        for id in IDS:
            how = draw.choice(["right", "right", "wrong", "open"])
            chosen[id] = {"right": lambda id=id: handed(id, draw.choice(RIGHT[id])),
                          "wrong": lambda id=id: handed(id, draw.choice(WRONG[id])),
                          "open": lambda id=id: open_stub(id)}[how]()  # fmt: skip
            points += worth[id] * (how == "right")
        add("some right, some wrong, some open", notebook(chosen), points)
    for names in ("my_loss", "our_loss"):  # the same answer under other names
        text = RENAMED.replace("my_loss", names).replace("weights", names[:2] + "_w")
        chosen = {id: open_stub(id) for id in IDS}
        chosen["01.2"] = f'{text}\nrobust_loss = course.exercise("01.2", {names})'
        add("one answer, copied under other names", notebook(chosen), worth["01.2"])
    for _ in range(2):
        add("the printed solution", notebook(printed()), sum(worth.values()))
    for kind, extra in CHEATS.items():
        add(f"cheat: {kind}", notebook({id: handed(id, WRONG[id][0]) for id in IDS}, extra), 0)
    add("untouched", json.dumps(PAGE), 0)
    add("no notebook inside", "this is no JSON", 0)
    add("a notebook of another course", json.dumps(
        {"cells": [{"cell_type": "code", "source": "1 + 1"}], "nbformat": 4}), 0)  # fmt: skip
    late = "leeann_LATE_55_9001_01_the_math"
    add("two attempts, the first wrong", notebook({id: handed(id, WRONG[id][0]) for id in IDS}), 0,
        f"{late}.ipynb")  # fmt: skip
    add("two attempts, the second right",
        notebook({id: handed(id, RIGHT[id][0]) for id in IDS}), sum(worth.values()),
        f"{late}-1.ipynb")  # fmt: skip
    return made


def main() -> None:
    made = class_of_thirty(random.Random(0))
    worth = grading.worth("01")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "in"
        for _, name, text, _ in made:
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(text, encoding="utf-8")
        done = grading.grade(home, Path(folder) / "out", seconds=400)
        got = {one.file.relative_to(home).as_posix(): one for one in done}
        pairs = grading.alike(done)
    rows, wrong = defaultdict(list), []
    for kind, name, _, points in made:
        one = got.get(name)
        earned = one.points(worth) if one else None  # None: an earlier attempt
        rows[kind].append((points, earned))
        if one and earned != points:
            wrong.append(f"{kind}: {earned} in place of {points}")
    shown = [[kind, len(pairs_), " ".join(str(p) for p, _ in pairs_),
              " ".join("not counted" if e is None else str(e) for _, e in pairs_)]
             for kind, pairs_ in rows.items()]  # fmt: skip
    most = sum(worth.values())
    text = (
        f"Hand-ins of lesson 01, {len(made)} files of {len(done)} learners, at most {most} points. "
        "The right and the wrong answers are those that test the checks, drawn with seed 0; "
        "answers are judged with inputs that are drawn anew for each notebook.\n\n"
        + table(["hand-in", "files", "should earn", "earned"], shown)
        + f"\n\nMarked other than they should be: {len(wrong)}"
        + (f" ({'; '.join(wrong)})" if wrong else "") + ".\n\n"
        "Look-alikes named (exercise: learners): "
        + "; ".join(f"{id}: {', '.join(names)}" for id, _, names in pairs)
        + ".\n\nThe answers come from a few dozen functions, so honest learners share some of "
        "them here, which a real class seldom does."
    )  # fmt: skip
    write("marking", "A class of thirty, marked", text, "python benchmarks/marking.py")


if __name__ == "__main__":
    main()
