"""exercise(), predict(), progress(): right, not attempted, wrong, and nothing in between."""

import sys

import numpy as np
import pytest
import torch

from course import ledger as ledger_module
from course.checking import Exercise, Wrong, compare, expect, show, unchanged
from course.ledger import exercise, predict, progress


def check(norm):
    for x in (torch.tensor([3.0, 4.0]), torch.tensor([-1.0, 0.0])):
        kept = x.clone()
        compare(norm(x), x.square().sum().sqrt(), given={"x": x},
                mistakes={"you forgot the root": x.square().sum()})  # fmt: skip
        unchanged(kept, x, "x")


def course(x):
    return x.norm()


@pytest.fixture(autouse=True)
def lesson_98(monkeypatch):
    module = type(sys)("course.lesson_98.checks")
    module.EXERCISES = {"98.1": Exercise("the norm", check, course),
                        "98.2": Exercise("another", check, course)}  # fmt: skip
    monkeypatch.setitem(sys.modules, "course.lesson_98.checks", module)
    monkeypatch.setattr(ledger_module, "LEDGER", ledger_module.Ledger())


def test_a_right_answer_is_kept(capsys):
    def mine(x):
        return (x * x).sum() ** 0.5

    assert exercise("98.1", mine) is mine
    assert "right" in capsys.readouterr().out


def test_an_empty_stub_gets_the_courses_version(capsys):
    def stub(x):
        raise NotImplementedError("Exercise 98.1")

    assert exercise("98.1", stub) is course
    assert "not attempted" in capsys.readouterr().out


def test_a_missing_kernel_is_not_an_empty_stub():
    def other(x):
        raise NotImplementedError('"norm" not implemented for Half')

    with pytest.raises(ledger_module.NotYet, match="NotImplementedError"):
        exercise("98.1", other)


def test_a_wrong_answer_stops_with_input_yours_expected_and_the_likely_mistake():
    with pytest.raises(ledger_module.NotYet) as caught:
        exercise("98.1", lambda x: x.square().sum())
    text = str(caught.value)
    for part in ("you forgot the root", "x = [3. 4.]", "yours = 25", "expected = 5",
                 "largest difference = 20"):  # fmt: skip
        assert part in text
    assert caught.value._render_traceback_() == text.splitlines()


@pytest.mark.parametrize(
    "answer,words",
    [
        (lambda x: None, "is None"),
        (lambda x: 5.0, "should be a tensor"),
        (lambda x: x, "has shape"),
        (lambda x: torch.tensor(float("nan")), "not finite"),
        (lambda x: torch.tensor(5.0), "not as expected"),
        (lambda x: x.mul_(x).sum().sqrt(), "not as expected|in place"),
        (lambda x: x.no_such_method(), "AttributeError"),
    ],
)
def test_wrong_answers_are_named(answer, words):
    with pytest.raises(ledger_module.NotYet, match=words):
        exercise("98.1", answer)
    assert ledger_module.LEDGER.answers["98.1"] == "wrong"


def test_an_unknown_exercise_is_an_error():
    for id in ("98.9", "97.1", "x"):
        with pytest.raises(ValueError, match="no exercise"):
            exercise(id, course)


def test_feedback_is_escaped():
    wrong = Wrong("no <b>", {"x": "<script>"}, yours="<i>", expected="y", likely="<u>")
    html = wrong.html()
    for bad in ("<b>no", "<script>", "<i>", "<u>"):
        assert bad not in html


def test_compare_takes_numbers_arrays_texts_and_lists():
    compare(1.0, 1)
    compare(np.array([1.0, 2.0]), [1, 2])
    compare("a", "a")
    compare({"a": 1}, {"a": 1})
    for yours, expected in (
        (1.1, 1),
        ([1, 2, 3], [1, 2]),
        ("a", "b"),
        ({"a": 2}, {"a": 1}),
        ("1", 1),
    ):
        with pytest.raises(Wrong):
            compare(yours, expected)
    with pytest.raises(Wrong, match="sure"):
        expect(False, "are you sure")


def test_show_is_short():
    assert "shape (30, 30)" in show(torch.zeros(30, 30))
    assert len(show("x" * 10_000)) <= 400


def test_a_prediction_is_kept_and_judged(capsys):
    guess = predict("98.a", "how many?", 0.5, low=0, high=1)
    guess.reveal(0.75)
    assert guess.error == 0.25
    choice = predict("98.b", "which?", "this", options=("this", "that"))
    choice.reveal("that")
    assert choice.error == 1
    assert predict("98.c", "none?", low=0, high=1).error is None
    predict("97.a", "of another lesson?", 0.5, low=0, high=1).reveal(1)
    exercise("98.1", course)
    capsys.readouterr()
    progress("98")
    out = capsys.readouterr().out
    assert "1 of 2 exercises right" in out and "98.2  another: not attempted" in out
    assert "guessed numbers (1): on average 25% of the range off, 0 of them too high" in out
    assert "guessed choices (1): 0 right" in out


def test_guesses_are_drawn_beside_their_results():
    close = ledger_module.Prediction("98.a", "?", 20, 0, 100, 30)
    far = ledger_module.Prediction("98.b", "?", 0.9, 0, 1, 0.1)
    fig = ledger_module._draw([close, far])
    (ax,) = fig.axes
    dots = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert dots == pytest.approx([0.2, 0.3, 0.9, 0.1])
    assert [t.get_text() for t in ax.get_yticklabels()] == ["98.a", "98.b"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"low": 0},
        {"guess": 2, "low": 0, "high": 1},
        {"guess": "x", "options": ("y",)},
        {"low": 0, "high": 1, "options": ("y",)},
    ],
)
def test_a_prediction_without_sense_is_refused(settings):
    with pytest.raises(ValueError):
        predict("98.a", "?", **settings)


def test_a_picture_is_shown_with_the_feedback(monkeypatch):
    def check_with_picture(answer):
        raise Wrong("not so", picture="the picture")

    shown = []
    monkeypatch.setattr(ledger_module, "find", lambda id: Exercise("t", check_with_picture, course))
    monkeypatch.setattr(ledger_module, "_display", lambda *what: shown.append(what))
    with pytest.raises(ledger_module.NotYet, match="not so"):
        exercise("98.1", course)
    assert shown[0][1] == "the picture"
