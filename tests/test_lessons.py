"""Every exercise of every lesson against right and wrong answers.

`answers.py` in a lesson's folder has a list RIGHT of (id, answer) and a list WRONG of (id, answer,
what the feedback must say).
"""

import json
import re
from importlib import import_module
from pathlib import Path

import pytest

import course
from course import LESSONS, ledger, record
from course.ledger import NotYet, exercise
from course.lesson_00.checks import _results

CHECKS = {n: import_module(f"course.lesson_{n}.checks") for n in LESSONS}
ANSWERS = {n: import_module(f"course.lesson_{n}.answers") for n in LESSONS}
EXERCISES = {id: entry for checks in CHECKS.values() for id, entry in checks.EXERCISES.items()}
RIGHT = [pair for answers in ANSWERS.values() for pair in answers.RIGHT]
WRONG = [triple for answers in ANSWERS.values() for triple in answers.WRONG]


def test_every_lesson_has_its_folder_and_its_place_in_the_course():
    folders = Path(course.__file__).parent.glob("lesson_*/lesson.py")
    assert sorted(page.parent.name for page in folders) == [f"lesson_{n}" for n in LESSONS]


@pytest.mark.parametrize("id", EXERCISES)
def test_every_exercise_has_enough_of_both(id):
    assert sum(i == id for i, _ in RIGHT) >= 2
    assert sum(i == id for i, _, _ in WRONG) >= 6


@pytest.mark.parametrize("id, answer", RIGHT)
def test_right_answers_are_accepted_and_kept(id, answer, capsys):
    assert exercise(id, answer) is answer
    assert "right" in capsys.readouterr().out


@pytest.mark.parametrize("id, answer, says", WRONG)
def test_wrong_answers_are_told_what_is_wrong(id, answer, says, monkeypatch):
    def draw(shown, picture=None):
        assert shown.html and shown.plain
        if picture is not None:
            picture.draw_without_rendering()  # whatever cannot be drawn raises here

    monkeypatch.setattr(ledger, "_display", draw)
    with pytest.raises(NotYet) as caught:
        exercise(id, answer)
    assert re.search(says, str(caught.value)), str(caught.value)
    assert record.answers()[id] == "wrong"


@pytest.mark.parametrize("id", EXERCISES)
def test_an_empty_stub_is_not_attempted_and_the_course_takes_its_place(id, capsys):
    def stub(*inputs, **named):
        raise NotImplementedError(f"Exercise {id}")

    assert exercise(id, stub) is EXERCISES[id].course
    assert "not attempted" in capsys.readouterr().out


@pytest.mark.parametrize("id", EXERCISES)
def test_the_course_functions_pass_and_are_not_what_is_checked_with(id, monkeypatch):
    entry = EXERCISES[id]
    entry.check(entry.course)
    checks = CHECKS[id[:2]]
    for other in checks.EXERCISES.values():
        monkeypatch.setattr(checks, other.course.__name__, None)
    entry.check(next(answer for i, answer in RIGHT if i == id))


def test_results_for_the_checks_of_lesson_00_hold_what_was_ordered():
    results = _results(4, 3, 2)
    kinds = [(bool(r.success), bool(r.wrong_before)) for r in results]
    assert [kinds.count(k) for k in ((False, False), (True, False), (False, True))] == [4, 3, 2]
    assert any(r.changed and not r.success for r in results), "changed words are no sign"


PAGES = {n: (Path(course.__file__).parent / f"lesson_{n}" / "lesson.py").read_text()
         for n in LESSONS}  # fmt: skip


@pytest.mark.parametrize("number", LESSONS)
def test_every_claim_of_a_page_exists_and_is_made(number):
    made = re.findall(r"course\.claim\(\s*\"(.+?)\"", PAGES[number])
    file = Path(course.__file__).parent / f"lesson_{number}" / "claims.py"
    known = import_module(f"course.lesson_{number}.claims").CLAIMS if file.is_file() else {}
    assert sorted(set(made)) == sorted(known)
    for name, claim in known.items():
        assert name.startswith(f"{number}.") and claim.sentence.rstrip().endswith(".")


@pytest.mark.parametrize("number", [n for n in LESSONS if "import figures" in PAGES[n]])
def test_every_figure_of_a_solved_page_is_there_in_words(number):
    page = Path(course.__file__).parents[1] / "solutions" / f"{number}_{LESSONS[number]}.ipynb"
    shown = [output for cell in json.loads(page.read_text())["cells"]
             for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert shown
    for output in shown:
        assert len(output["metadata"]["image/png"].get("alt", "")) > 20
