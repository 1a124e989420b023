"""Mark the notebooks of a class: every one is run again, and its answers are checked afresh.

    course grade SUBMISSIONS --out marks/

A notebook's stored outputs count for nothing. `course.examiner` runs its cells in a process of its
own, with limits of time and memory, and the checks, which were loaded before the first cell, judge
what the learner handed to `course.exercise`. That runs the code of strangers: do it in a container
without a network (docs/marking.md).
"""

from __future__ import annotations

import ast
import csv
import hashlib
import inspect
import json
import os
import re
import resource
import secrets
import subprocess
import sys
import tempfile
import textwrap
from collections import defaultdict
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

import advlib
import course
from advlib.app.judge import end
from advlib.app.review import inert
from course import ledger

HOME = Path(course.__file__).parent
SECONDS, MEMORY = 600, 6.0  # of a notebook; memory in GB
LARGEST = 20e6  # bytes of a notebook
TRIVIAL = 25  # nodes of a syntax tree: shorter functions are alike by nature
CALL = re.compile(r"course\.exercise\(\s*[\"'](\d\d)\.(\d+)[\"']\s*,\s*(\w+)")
TITLE = re.compile(r"^# ### Exercise (\d\d\.\d+): .+? · ([●○]{3}) ·", re.M)

# What learning platforms call the files that they hand out.
MOODLE = re.compile(r"(?P<name>.+?)_(?P<number>\d+)_assignsubmission_file(?:_|$)")
CANVAS = re.compile(r"(?P<name>[^\W\d_]+?)(?:_LATE)?_(?P<number>\d+)_\d+_.*?(?:-(?P<again>\d+))?$")


class GradingError(ValueError):
    """It cannot be marked; the message says in one sentence why, and what to do."""


# ---------------------------------------------------------------------- who handed what in


@dataclass
class Submission:
    """A notebook of a learner. number: the platform's for him, or ""; attempt: the last counts."""

    file: Path
    name: str
    number: str = ""
    attempt: tuple = (0, 0.0)
    lesson: str = ""
    verdicts: dict[str, list[str]] = field(default_factory=dict)
    problem: str = ""  # where it could not be marked

    def points(self, worth: dict[str, int]) -> int:
        return sum(worth[id] for id, (state, _) in self.verdicts.items() if state == "right")


def found(folder: Path) -> list[Submission]:
    """The notebooks in a folder, at any depth; of a learner and lesson the last attempt alone.

    Who it is: Moodle's "Ann Lee_123_assignsubmission_file_…" (a folder or a file), Canvas'
    "leeann_123_456_….ipynb" with "-1", "-2" for later attempts, else the folder's or file's name.
    Raises GradingError where there is none.
    """
    if not folder.is_dir():
        raise GradingError(f"there is no folder {folder}: give the one with the notebooks")
    files = sorted(p for p in folder.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
    if not files:
        raise GradingError(f"there is no notebook in {folder}: unpack what the platform gave you "
                           "first")  # fmt: skip
    last: dict[tuple, Submission] = {}
    for file in files:
        one = whose(file, folder)
        try:
            one.lesson = lesson_of(cells_of(file))
        except GradingError as error:
            one.problem = str(error)
        key = (one.name.casefold(), one.number, one.lesson or str(file))
        if key not in last or one.attempt >= last[key].attempt:
            last[key] = one
    return list(last.values())


def whose(file: Path, folder: Path) -> Submission:
    """Who handed a file in, by its name and that of the folders it lies in."""
    inside = file.relative_to(folder)
    time = file.stat().st_mtime
    for part in (*inside.parts[:-1], inside.stem):
        if hit := MOODLE.match(part):
            return Submission(file, hit["name"].strip(), hit["number"], (0, time))
    if hit := CANVAS.match(inside.stem):
        return Submission(file, hit["name"], hit["number"], (int(hit["again"] or 0), time))
    name = inside.parts[0] if len(inside.parts) > 1 else inside.stem
    return Submission(file, name, "", (0, time))


def cells_of(file: Path) -> list[str]:
    """The sources of the code cells. Raises GradingError for what is no notebook."""
    if file.stat().st_size > LARGEST:
        raise GradingError(f"it is larger than {LARGEST / 1e6:.0f} MB: hand it in without outputs")
    try:
        cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
        return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise GradingError("it cannot be read as a notebook: hand the .ipynb file in") from error


def lesson_of(cells: list[str]) -> str:
    """The lesson of which it calls most exercises."""
    called = [hit[0] for hit in CALL.findall("\n".join(cells)) if hit[0] in course.LESSONS]
    if not called:
        raise GradingError("no exercise of the course is in it: hand in the lesson's own notebook")
    return max(sorted(set(called)), key=called.count)


# ---------------------------------------------------------------------- one notebook


def worth(lesson: str) -> dict[str, int]:
    """Points of each exercise: as many as its page shows ●."""
    page = (HOME / f"lesson_{lesson}" / "lesson.py").read_text(encoding="utf-8")
    shown = {id: dots.count("●") for id, dots in TITLE.findall(page)}
    return {id: shown.get(id, 1) for id in ledger.exercises(lesson)}


def mark(one: Submission, seconds: float = SECONDS, memory: float = MEMORY) -> None:
    """Run a notebook again and fill in its verdicts, or the problem."""
    try:
        cells = cells_of(one.file)
        one.lesson = one.lesson or lesson_of(cells)
        before = digest()
        said = examined(cells, one.lesson, seconds, memory)
        if digest() != before:
            raise SystemExit(f"{one.file} has changed the course's own files: install the course "
                             "anew before you mark on, and use a container")  # fmt: skip
        one.verdicts = said["verdicts"]
    except GradingError as error:
        one.problem = str(error)


def examined(cells: list[str], lesson: str, seconds: float, memory: float) -> dict:
    """What the examiner says of these cells. Raises GradingError where it says nothing."""
    last = max((i for i, cell in enumerate(cells) if "exercise(" in cell), default=-1)
    job = {"cells": cells[: last + 1], "lesson": lesson, "seed": secrets.randbits(31),
           "nonce": secrets.token_hex(16)}  # fmt: skip
    read, write = os.pipe()
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG")}
    with tempfile.TemporaryDirectory() as folder:
        kept |= {"HOME": folder, "PYTHONPATH": str(HOME.parent), "MPLBACKEND": "Agg",
                 "COURSE_RECORD": f"{folder}/record.json",
                 "ADVLIB_PROFILE": "smoke", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
                 "CUDA_VISIBLE_DEVICES": "", "IPYTHONDIR": folder}  # fmt: skip
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", "from course.examiner import main; main()"], cwd=folder,
            env=kept, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[write], text=True, start_new_session=True,
            preexec_fn=lambda: _limit(seconds, memory),
        )  # fmt: skip
        os.close(write)
        try:
            child.communicate(json.dumps(job | {"pipe": write}) + "\n", timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise GradingError(f"it runs for more than {seconds:g} s: is there a loop without an "
                               "end?") from error  # fmt: skip
        except BrokenPipeError:
            pass  # it died at once
        finally:
            end(child)
            os.set_blocking(read, False)
            try:
                text = os.read(read, 1 << 20).decode(errors="replace")
            except BlockingIOError:
                text = ""
            os.close(read)
    return _verdict(text, job["nonce"])


def _verdict(text: str, nonce: str) -> dict:
    if not text:
        raise GradingError("it ended its own process, or ran out of memory, before it was judged")
    try:
        said = json.loads(text)
        if not secrets.compare_digest(said["nonce"], nonce):
            raise ValueError
    except (ValueError, KeyError, TypeError) as error:
        raise GradingError("it wrote a verdict of its own, which does not count") from error
    return said


def _limit(seconds: float, memory: float) -> None:
    """Of the child, before it begins."""
    most = int(memory * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (int(4 * seconds) + 1, int(4 * seconds) + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))


def digest() -> str:
    """SHA-256 of the course's and the library's Python files, which a notebook must leave alone."""
    found = hashlib.sha256()
    for folder in (HOME, Path(advlib.__file__).parent):
        for file in sorted(folder.rglob("*.py")):
            found.update(file.read_bytes())
    return found.hexdigest()


# ---------------------------------------------------------------------- look-alikes


def alike(submissions: list[Submission]) -> list[tuple[str, str, list[str]]]:
    """(exercise, how many nodes its syntax tree has, names) of answers that are the same but for
    names, comments and layout, and that are not the course's own printed solution."""
    same = defaultdict(list)
    for one in submissions:
        if one.problem:
            continue
        for id, tree in answers_of(cells_of(one.file), one.lesson).items():
            text, size = normal(tree), sum(1 for _ in ast.walk(tree))
            if size >= TRIVIAL and text != _printed(id):
                same[id, text].append((size, one.name))
    return [(id, str(whom[0][0]), sorted(name for _, name in whom))
            for (id, _), whom in sorted(same.items()) if len(whom) > 1]  # fmt: skip


def answers_of(cells: list[str], lesson: str) -> dict[str, ast.AST]:
    """exercise -> the function or class that is handed in for it, the last definition of it."""
    defined, called = {}, {}
    for cell in cells:
        called |= {f"{a}.{b}": name for a, b, name in CALL.findall(cell) if a == lesson}
        try:
            tree = ast.parse("\n".join("" if line.lstrip().startswith(("%", "!")) else line
                                       for line in cell.splitlines()))  # fmt: skip
        except (SyntaxError, ValueError, RecursionError):
            continue
        defined |= {node.name: node for node in tree.body
                    if isinstance(node, ast.FunctionDef | ast.ClassDef)}  # fmt: skip
    return {id: defined[name] for id, name in called.items() if name in defined}


def normal(tree: ast.AST) -> str:
    """The syntax tree as text, without docstrings and annotations, names numbered in the order in
    which they come."""
    tree = ast.parse(ast.unparse(tree))
    numbers: dict[str, str] = {}
    bound = {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and
              isinstance(n.ctx, ast.Store)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.name = numbers.setdefault(node.name, f"n{len(numbers)}")
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.arg, node.annotation = numbers.setdefault(node.arg, f"n{len(numbers)}"), None
        if isinstance(node, ast.Name) and (node.id in bound or node.id in numbers):
            node.id = numbers.setdefault(node.id, f"n{len(numbers)}")
    return ast.dump(tree)


def _printed(id: str) -> str:
    """The course's own answer, in the same form."""
    try:
        source = inspect.getsource(ledger.find(id).course)
        return normal(ast.parse(textwrap.dedent(source)).body[0])
    except (OSError, TypeError, SyntaxError):
        return ""


# ---------------------------------------------------------------------- what a lecturer gets


def grade(folder: Path, out: Path, seconds: float = SECONDS, memory: float = MEMORY,
          worksheet: Path | None = None) -> list[Submission]:  # fmt: skip
    """Mark all notebooks of a folder and write marks.csv, alike.csv, feedback/NAME.html and what a
    platform takes; see docs/marking.md. Raises GradingError before anything is run."""
    submissions = found(folder)
    sheet = read_worksheet(worksheet) if worksheet else None
    out.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(submissions, 1):
        if not one.problem:
            mark(one, seconds, memory)
        write_marks(submissions[:number], out)  # what is done is kept
        print(f"{number}/{len(submissions)} {one.name}: {summary(one)}", flush=True)
    for one in submissions:
        write_feedback(one, out / "feedback")
    rows = [[id, size, "; ".join(names)] for id, size, names in alike(submissions)]
    write_csv(out / "alike.csv", [["exercise", "nodes", "who"], *rows])
    write_platforms(submissions, out, sheet)
    return submissions


def summary(one: Submission) -> str:
    if one.problem:
        return one.problem
    points = worth(one.lesson)
    refused = sum(state == "refused" for state, _ in one.verdicts.values())
    return (f"lesson {one.lesson}, {one.points(points)} of {sum(points.values())} points"
            + f", {refused} refused" * bool(refused))  # fmt: skip


def write_marks(submissions: list[Submission], out: Path) -> None:
    rows = [["name", "number", "lesson", "points", "of", "exercises", "problem", "notebook"]]
    for one in submissions:
        points = worth(one.lesson) if one.verdicts else {}
        said = "; ".join(f"{id} {state}" for id, (state, _) in one.verdicts.items())
        got = [one.points(points), sum(points.values())] if one.verdicts else ["", ""]
        rows.append([one.name, one.number, one.lesson, *got, said, one.problem, one.file.name])
    write_csv(out / "marks.csv", rows)


def write_csv(file: Path, rows: list[list]) -> None:
    """Whole or not at all. A cell that a spreadsheet would take for a formula gets a quote."""
    told = [[inert(c) if isinstance(c, str) else c for c in row] for row in rows]
    aside = file.with_name(file.name + ".new")
    with open(aside, "w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows(told)
    os.replace(aside, file)


PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 :root {{ color-scheme: light dark }}
 body {{ font: 16px/1.5 sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em }}
 td, th {{ padding: .2em 1.2em .2em 0; vertical-align: top; text-align: left }}
 pre {{ white-space: pre-wrap; overflow-wrap: anywhere; margin: 0 }}
</style></head><body><h1>{title}</h1><p>{line}</p>
<table><tr><th>exercise</th><th>points</th><th>result</th><th></th></tr>{rows}</table>
</body></html>
"""
SIGNS = {"right": "✓ right", "wrong": "✗ not yet", "open": "○ not attempted",
         "not run": "○ its cell was not reached", "refused": "✗ not counted"}  # fmt: skip


def write_feedback(one: Submission, folder: Path) -> None:
    """A page for the learner; every text is escaped."""
    folder.mkdir(parents=True, exist_ok=True)
    points, rows = worth(one.lesson) if one.verdicts else {}, []
    for id, (state, said) in one.verdicts.items():
        got = points[id] if state == "right" else 0
        cells = (f"{id} {ledger.find(id).title}", f"{got} of {points[id]}", SIGNS[state])
        rows.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells)
                    + f"<td><pre>{escape(said)}</pre></td></tr>")  # fmt: skip
    html = PAGE.format(title=escape(f"{one.name}, lesson {one.lesson or '?'}"),
                       line=escape(summary(one)), rows="\n".join(rows))  # fmt: skip
    name = re.sub(r"[^\w-]+", "_", f"{one.name}_{one.number}_{one.lesson}").strip("_")
    (folder / f"{name}.html").write_text(html, encoding="utf-8")


# ---------------------------------------------------------------------- platforms


def read_worksheet(file: Path) -> list[list[str]]:
    """Moodle's grading worksheet or Canvas' gradebook, as downloaded. Raises GradingError."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GradingError(f"{file} cannot be read as CSV: {error}") from error
    if not rows or not ({"Identifier", "Grade"} <= {*rows[0]} or {"Student", "ID"} <= {*rows[0]}):
        raise GradingError(f"{file} has neither Moodle's columns Identifier and Grade nor Canvas' "
                           "Student and ID: download the worksheet again")  # fmt: skip
    return rows


def write_platforms(submissions: list[Submission], out: Path, sheet: list | None) -> None:
    """moodle_LL.csv or canvas_LL.csv of each lesson: the worksheet that was given, filled in, or
    else a new one."""
    done = [one for one in submissions if one.verdicts]
    for lesson in sorted({one.lesson for one in done}):
        ours = [one for one in done if one.lesson == lesson]
        rows = filled(sheet, ours, lesson) if sheet else fresh(ours, lesson)
        kind = "moodle" if "Identifier" in rows[0] else "canvas"
        write_csv(out / f"{kind}_{lesson}.csv", rows)


def fresh(ours: list[Submission], lesson: str) -> list[list]:
    """Moodle's columns where the files came from Moodle, Canvas' in all other cases."""
    points = worth(lesson)
    if any("assignsubmission" in str(one.file) for one in ours):
        return [["Identifier", "Full name", "Grade", "Maximum Grade", "Last modified (grade)",
                 "Feedback comments"],
                *[[f"Participant {one.number}", one.name, one.points(points),
                   sum(points.values()), "-", comment(one)] for one in ours]]  # fmt: skip
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", f"Lesson {lesson}"]
    return [head, ["    Points Possible", "", "", "", "", sum(points.values())],
            *[[one.name, one.number, "", "", "", one.points(points)] for one in ours]]  # fmt: skip


def filled(sheet: list[list[str]], ours: list[Submission], lesson: str) -> list[list]:
    """The worksheet with the points of everybody who is found in it by number; nothing else is
    changed."""
    head, points = sheet[0], worth(lesson)
    moodle = "Identifier" in head
    key = head.index("Identifier" if moodle else "ID")
    column = head.index("Grade") if moodle else len(head)
    if not moodle:
        named = [i for i, name in enumerate(head) if name.startswith(f"Lesson {lesson}")]
        column = named[0] if named else column
        head = head if named else [*head, f"Lesson {lesson}"]
    by = {one.number: one for one in ours if one.number}
    rows: list[list] = [head]
    for row in sheet[1:]:
        row = [*row, *[""] * (len(head) - len(row))]
        one = by.get(re.sub(r"\D", "", row[key]))
        if one is not None:
            row[column] = one.points(points)
            if "Feedback comments" in head:
                row[head.index("Feedback comments")] = comment(one)
        elif not moodle and "Points Possible" in row[0]:
            row[column] = row[column] or sum(points.values())
        rows.append(row)
    return rows


def comment(one: Submission) -> str:
    return "; ".join(f"{id}: {SIGNS[state][2:]}" for id, (state, _) in one.verdicts.items())
