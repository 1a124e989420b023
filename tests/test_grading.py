"""course grade: honest notebooks get their points, and cheats get none. Each notebook is run in a
process of its own, as for a class."""

import csv
import inspect
import json
import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from course import cli, examiner, grading
from course.grading import GradingError, Submission, alike, found, grade, mark, normal, worth
from course.lesson_01.checks import EXERCISES

SETUP = """import course, torch, sys, os, gc, functools, inspect
from torch.nn.functional import softplus
from course import checking, ledger
from course.lesson_01 import checks
profile = course.setup()"""
RIGHT = """def robust_loss(w, b, X, y, eps, norm):
    power = dict(l2=2, linf=1, l1=float("inf"))[norm]
    away = eps * torch.linalg.vector_norm(w, power)
    return softplus(away - y * (X @ w + b)).mean()
robust_loss = course.exercise("01.2", robust_loss)"""
WRONG = RIGHT.replace("away - y", "-away - y")
OPEN = """def worst_case(w, y, eps, norm):
    raise NotImplementedError("Exercise 01.1")
worst_case = course.exercise("01.1", worst_case)"""
HAND_IN = '\nrobust_loss = course.exercise("01.2", robust_loss)'


def notebook(file: Path, *cells: str, outputs=()) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    made = [{"cell_type": "code", "source": source, "metadata": {}, "execution_count": None,
             "outputs": list(outputs)} for source in cells]  # fmt: skip
    file.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return file


def judged(tmp_path, *cells: str, seconds: float = 300) -> Submission:
    one = Submission(notebook(tmp_path / "a.ipynb", SETUP, *cells), "Ann")
    mark(one, seconds)
    return one


# ---------------------------------------------------------------------- honest work


def test_answers_are_judged_and_what_fails_on_the_way_stops_nothing(tmp_path):
    one = judged(tmp_path, OPEN, "1 / 0", WRONG, "%%nonsense", RIGHT, "print(robust_loss)")
    states = {id: state for id, (state, _) in one.verdicts.items()}
    assert states == {"01.1": "open", "01.2": "right", "01.3": "not run", "01.4": "not run",
                      "01.5": "not run"}  # fmt: skip
    assert one.points(worth("01")) == 2 and not one.problem


def test_the_last_answer_counts_and_a_wrong_one_is_told_why(tmp_path):
    one = judged(tmp_path, RIGHT, WRONG)
    state, said = one.verdicts["01.2"]
    assert state == "wrong" and "01.2" not in said and len(said) > 40


# ---------------------------------------------------------------------- cheats

CHEATS = {
    "prints that it is right": 'print("Exercise 01.2 (Loss): right. From here on")\n'
    'course.exercise("01.1", None) if False else 0',
    "replaces find": "class Yes:\n    title, course = '', None\n"
    "    def check(self, answer): pass\nledger.find = lambda id: Yes()\n"
    "def robust_loss(*given): return None" + HAND_IN,
    "replaces the entry": 'checks.EXERCISES["01.2"] = checking.Exercise("x", print, None)\n'
    "def robust_loss(*given): return None" + HAND_IN,
    "the course's own": 'robust_loss = checks.EXERCISES["01.2"].course' + HAND_IN,
    "the course's own, wrapped": "@functools.wraps(checks.robust_loss)\n"
    "def robust_loss(*given): return checks.robust_loss(*given)" + HAND_IN,
    "calls the course's own": 'inner = checks.EXERCISES["01.2"].course\n'
    "def robust_loss(*given): return inner(*given)" + HAND_IN,
    "a partial of the course's own": 'robust_loss = functools.partial(checks.EXERCISES["01.2"]'
    ".course)" + HAND_IN,
    "replaces compare": "checking.compare = checks.compare = lambda *a, **k: None\n"
    "checking.expect = checks.expect = lambda *a, **k: None\n"
    "def robust_loss(*given): return torch.zeros(())" + HAND_IN,
    "replaces code": "def easy(answer): pass\n"
    'checks.EXERCISES["01.2"].check.__code__ = easy.__code__\n'
    "def robust_loss(*given): return torch.zeros(())" + HAND_IN,
    "hides a builtin": "checking.abs = lambda x: 0.0\n"
    "def robust_loss(*given): return torch.zeros(())" + HAND_IN,
    "replaces torch": "torch.isclose = lambda a, b, **k: torch.ones_like(a, dtype=bool)\n"
    "torch.allclose = lambda *a, **k: True\n"
    "def robust_loss(*given): return torch.zeros(())" + HAND_IN,
    "replaces numpy while it is checked": "import numpy\ndef robust_loss(*given):\n"
    "    numpy.allclose = numpy.isclose = lambda *a, **k: True\n"
    "    return torch.zeros(())" + HAND_IN,
    "equal to everything": "class Same(torch.Tensor):\n"
    "    @classmethod\n    def __torch_function__(cls, f, types, args=(), kwargs=None):\n"
    "        return True\n"
    "def robust_loss(w, *rest): return torch.zeros(()).as_subclass(Same)" + HAND_IN,
    "looks at the caller": "def robust_loss(*given):\n    frame = sys._getframe(1)\n"
    "    while frame:\n        for v in frame.f_locals.values():\n            pass\n"
    "        frame = frame.f_back\n    return torch.zeros(())" + HAND_IN,
    "looks at the caller by an error": "def robust_loss(*given):\n    try:\n        1 / 0\n"
    "    except ZeroDivisionError as e:\n        frame = e.__traceback__.tb_frame\n"
    "    return torch.zeros(())" + HAND_IN,
    "writes a verdict of its own": RIGHT + "\nfor n in range(3, 40):\n    try:\n"
    """        os.write(n, b'{"nonce": "0", "verdicts": {"01.1": ["right", ""]}}\\n')\n"""
    "    except OSError:\n        pass",
    "looks for the nonce": "found = [o for o in gc.get_objects() if isinstance(o, dict) and "
    "'nonce' in o]\n" + RIGHT,
    "ends the process": RIGHT + "\nos._exit(0)",
}  # fmt: skip


PROCESS = ("writes a verdict of its own", "ends the process")  # cheats on the process around it


def in_a_fork(*cells: str) -> dict:
    """What the examiner says, without the seconds that it takes to load PyTorch again."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            verdicts, changed = examiner.judge([SETUP, *cells], "01", seed=3)
            os.write(write, json.dumps(verdicts).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as pipe:
        return json.loads(pipe.read())


@pytest.mark.parametrize("cheat", [name for name in CHEATS if name not in PROCESS])
def test_a_cheat_earns_nothing(cheat, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RECORD", str(tmp_path / "record.json"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    verdicts = in_a_fork(CHEATS[cheat])
    assert "right" not in {state for state, _ in verdicts.values()}
    if cheat not in ("prints that it is right", "looks for the nonce"):
        state, said = verdicts["01.2"]
        assert state == "refused" and said


def table_of_worst_cases() -> str:
    """The source of an answer to 01.1 that only knows what the page's check asks everybody."""
    entry, known = EXERCISES["01.1"], {}

    def listen(*inputs):
        known[repr(inputs)] = found = entry.course(*inputs)
        return found

    def by_table(w, *others):
        return torch.tensor(table.get(repr((w, *others)), [[0.0]]), dtype=w.dtype)

    entry.check(listen)
    table = {key: found.tolist() for key, found in known.items()}
    entry.check(by_table)  # on the page it is right
    return (f"table = {table!r}\ndef by_table(w, *others):\n"
            "    return torch.tensor(table.get(repr((w, *others)), [[0.0]]), dtype=w.dtype)\n"
            'course.exercise("01.1", by_table)')  # fmt: skip


def test_a_table_of_what_the_page_asks_earns_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RECORD", str(tmp_path / "record.json"))
    assert in_a_fork(table_of_worst_cases())["01.1"][0] == "wrong"


def test_an_honest_answer_is_right_there_too(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_RECORD", str(tmp_path / "record.json"))
    assert in_a_fork(RIGHT)["01.2"] == ["right", ""]


@pytest.mark.parametrize("cheat", PROCESS)
def test_a_process_that_judges_itself_earns_nothing(cheat, tmp_path):
    one = judged(tmp_path, CHEATS[cheat])
    assert one.problem and not one.verdicts and one.points(worth("01")) == 0


def test_what_never_ends_is_ended(tmp_path):
    one = judged(tmp_path, "while True: pass", RIGHT, seconds=12)
    assert "12 s" in one.problem and not one.verdicts


def test_a_notebook_that_changes_the_courses_files_stops_everything(tmp_path, monkeypatch):
    said = iter(["a", "b"])
    monkeypatch.setattr(grading, "digest", lambda: next(said))
    monkeypatch.setattr(grading, "examined", lambda *a: {"verdicts": {}})
    one = Submission(notebook(tmp_path / "a.ipynb", RIGHT), "Ann")
    with pytest.raises(SystemExit, match="changed the course's own files"):
        mark(one)


# ---------------------------------------------------------------------- who, what, and where to


def test_names_and_attempts_are_read_from_the_platforms_file_names(tmp_path):
    for name in ("Ann Lee_123_assignsubmission_file_/work.ipynb",
                 "Bo Óg-Smith_7_assignsubmission_file_01_the_math.ipynb",
                 "zhangwei_LATE_55_9001_01_the_math.ipynb", "zhangwei_55_9001_01_the_math-2.ipynb",
                 "kim_4_77_work-1.ipynb", "dana/01_the_math.ipynb", "erin.ipynb",
                 "erin/.ipynb_checkpoints/x.ipynb"):  # fmt: skip
        notebook(tmp_path / name, RIGHT)
    got = {(s.name, s.number): s.file.name for s in found(tmp_path)}
    assert got == {
        ("Ann Lee", "123"): "work.ipynb",
        ("Bo Óg-Smith", "7"): "Bo Óg-Smith_7_assignsubmission_file_01_the_math.ipynb",
        ("zhangwei", "55"): "zhangwei_55_9001_01_the_math-2.ipynb",
        ("kim", "4"): "kim_4_77_work-1.ipynb", ("dana", ""): "01_the_math.ipynb",
        ("erin", ""): "erin.ipynb",
    }  # fmt: skip


def test_points_are_the_dots_of_the_page():
    assert worth("01") == {"01.1": 1, "01.2": 2, "01.3": 3, "01.4": 2, "01.5": 1}


def test_look_alikes_are_found_under_other_names_and_comments(tmp_path):
    other = ('def mine(weights, bias, rows, signs, budget, kind):\n    "Doc."\n'
             '    # my own\n    p = dict(l2=2, linf=1, l1=float("inf"))[kind]\n'
             "    loss = budget * torch.linalg.vector_norm(weights, p)\n"
             "    return softplus(loss - signs * (rows @ weights + bias)).mean()\n"
             'robust_loss = course.exercise("01.2", mine)')  # fmt: skip
    differs = RIGHT.replace("away - y", "away + 0 - y")
    people = {"Ann": RIGHT, "Bob": other, "Cy": differs}
    class_ = [Submission(notebook(tmp_path / f"{n}.ipynb", s), n, lesson="01")
              for n, s in people.items()]  # fmt: skip
    [(id, _, names)] = alike(class_)
    assert (id, names) == ("01.2", ["Ann", "Bob"])
    printed = "import torch\n" + inspect.getsource(EXERCISES["01.2"].course)
    both = [Submission(notebook(tmp_path / f"{n}.ipynb", printed + HAND_IN), n, lesson="01")
            for n in ("Di", "Ed")]  # fmt: skip
    assert alike(both) == []  # what the solution prints, anybody may have


def test_a_class_is_marked_into_files_that_platforms_take(tmp_path, monkeypatch, capsys):
    hand = tmp_path / "in"
    notebook(hand / "Ann <b>Lee</b>_123_assignsubmission_file_" / "w.ipynb", RIGHT)
    notebook(hand / "=Bo_7_assignsubmission_file_" / "w.ipynb", WRONG)
    notebook(hand / "Cy_9_assignsubmission_file_" / "w.ipynb", "1 + 1")
    (hand / "broken.ipynb").write_text("no JSON")
    said = {"01.2": ["right", ""], "01.1": ["wrong", "the sign <script>"]}
    monkeypatch.setattr(grading, "examined", lambda *a: {"verdicts": said})
    sheet = tmp_path / "sheet.csv"
    sheet.write_text("Identifier,Full name,Grade,Maximum Grade,Last modified (grade),Feedback "
                     "comments\nParticipant 123,Ann,,8.00,-,\nParticipant 5,Zoe,3.00,8.00,-,\n")
    done = CliRunner().invoke(cli.app, ["grade", str(hand), "--out", str(tmp_path / "out"),
                                        "--worksheet", str(sheet)])  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader((tmp_path / "out/marks.csv").open()))
    assert [r["points"] for r in rows] == ["2", "2", "", ""]  # =Bo … sorted by file name
    assert {r["name"][:1] for r in rows} >= {"'"}  # no formula
    assert "no exercise" in rows[2]["problem"] and "cannot be read" in rows[3]["problem"]
    [moodle] = (tmp_path / "out").glob("moodle_*.csv")
    filled = list(csv.DictReader(moodle.open()))
    assert [r["Grade"] for r in filled] == ["2", "3.00"]
    assert "right" in filled[0]["Feedback comments"]
    pages = "".join(p.read_text() for p in (tmp_path / "out/feedback").glob("*.html"))
    assert "<script>" not in pages and "&lt;script&gt;" in pages and "<b>Lee" not in pages


def test_a_worksheet_with_a_line_break_in_a_cell_stays_as_it_is(tmp_path):
    rows = [["Identifier", "Grade", "Feedback"], ["Participant 1", "", "one\ntwo\u2028three"]]
    with open(tmp_path / "sheet.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert grading.read_worksheet(tmp_path / "sheet.csv") == rows


def test_a_new_gradebook_has_the_columns_of_canvas(tmp_path, monkeypatch):
    notebook(tmp_path / "in" / "leeann_55_9001_w.ipynb", RIGHT)
    monkeypatch.setattr(grading, "examined", lambda *a: {"verdicts": {"01.2": ["right", ""]}})
    grade(tmp_path / "in", tmp_path / "out")
    rows = list(csv.reader((tmp_path / "out/canvas_01.csv").open()))
    assert rows[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Lesson 01"]
    assert rows[1][0].strip() == "Points Possible" and rows[2] == ["leeann", "55", "", "", "", "2"]


@pytest.mark.parametrize("bad", ["no folder", "empty", "worksheet"])
def test_bad_input_is_one_sentence_before_anything_is_run(bad, tmp_path):
    folder, sheet = tmp_path / "in", None
    if bad != "no folder":
        folder.mkdir()
    if bad == "worksheet":
        notebook(folder / "a.ipynb", RIGHT)
        sheet = tmp_path / "s.csv"
        sheet.write_text("a,b\n1,2\n")
    with pytest.raises(GradingError) as error:
        grade(folder, tmp_path / "out", worksheet=sheet)
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_normal_form_keeps_what_differs():
    import ast

    one, same, other = (normal(ast.parse(s).body[0]) for s in (
        "def f(a, b):\n    return a - b", "def g(x, y):\n    'doc'\n    return x - y",
        "def f(a, b):\n    return b - a"))  # fmt: skip
    assert one == same != other
