"""exercise(), predict(), progress(): right, not attempted, wrong, and nothing in between."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from course import cli, record
from course import ledger as ledger_module
from course.checking import (
    Exercise,
    Wrong,
    call,
    comparable,
    compare,
    expect,
    making,
    of_dtype,
    show,
    small_bert,
    specified,
    tensors,
    unchanged,
    used,
)
from course.claims import Claim, ClaimFailed, claim
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
    monkeypatch.setattr(ledger_module, "LESSONS", {"98": "a_test"})


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
    assert record.answers()["98.1"] == "wrong"


@pytest.mark.parametrize("fails", [
    lambda x: torch.autograd.grad(x.sum(), x),  # deep in an installed package
    lambda x: json.loads("{"),  # in Python's own library
    lambda x: show(),  # in the call of a function of the course
])  # fmt: skip
def test_an_error_is_told_with_the_learners_own_deepest_line(fails):
    def helper(x):
        return fails(x)  # deeper, and the learner's own too

    with pytest.raises(ledger_module.NotYet) as caught:
        exercise("98.1", lambda x: helper(x))
    first, where = str(caught.value).splitlines()[0], str(caught.value).splitlines()[-1]
    assert "your code stopped with" in first
    line = fails.__code__.co_firstlineno
    assert where.startswith(f"  at line {line}: lambda x:"), where


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
        {"guess": float("nan"), "low": 0, "high": 1},
        {"guess": "x", "options": ("y",)},
        {"low": 0, "high": 1, "options": ("y",)},
    ],
)
def test_a_prediction_without_sense_is_refused(settings):
    with pytest.raises(ValueError):
        predict("98.a", "?", **settings)


@pytest.mark.parametrize("guess", ["20", "20 %", True, [20]])
def test_a_guess_that_is_no_number_is_told_so(guess):
    with pytest.raises(ValueError, match="a number, without quotes or unit, got"):
        predict("98.a", "?", guess, low=0, high=100)


@pytest.mark.parametrize("guess", [0, 20.5, np.float32(20), np.int64(20)])
def test_every_kind_of_number_is_a_guess(guess):
    assert predict("98.a", "?", guess, low=0, high=100).guess == guess


def test_a_picture_is_shown_with_the_feedback(monkeypatch):
    def check_with_picture(answer):
        raise Wrong("not so", picture="the picture")

    shown = []
    monkeypatch.setattr(ledger_module, "find", lambda id: Exercise("t", check_with_picture, course))
    monkeypatch.setattr(ledger_module, "_display", lambda *what: shown.append(what))
    with pytest.raises(ledger_module.NotYet, match="not so"):
        exercise("98.1", course)
    assert shown[0][1] == "the picture"


def test_a_notebook_shows_one_box_and_one_red_line(monkeypatch):
    shown = []
    monkeypatch.setattr(ledger_module, "_kernel", lambda: True)
    monkeypatch.setattr(ledger_module, "_display", lambda *what: shown.append(what[0]))
    with pytest.raises(ledger_module.NotYet) as caught:
        exercise("98.1", lambda x: x.square().sum())
    (line,) = caught.value._render_traceback_()
    assert line.startswith("Exercise 98.1: not yet.") and "expected" not in line
    (box,) = shown
    assert "you forgot the root" in box.html and "you forgot the root" in box.plain
    assert box.html.count("<div>expected</div>") == 1 and "text-align:left" in box.html


def test_the_first_difference_is_marked_and_only_wrong_rows_are_shown():
    expected = torch.arange(120.0).reshape(4, 6, 5)
    yours = expected.clone()
    yours[1, 2, 3] = -1
    yours[3] = 0
    wrong = Wrong("no", yours=yours, expected=expected)
    rows = wrong.rows()
    assert rows["yours"].splitlines()[0] == "7 of 24 rows differ, shape (4, 6, 5)"
    assert rows["yours"].splitlines()[1].startswith("[1, 2]") and "-1" in rows["yours"]
    assert len(rows["expected"].splitlines()) == 5
    assert "<b style" in wrong.html()


def test_kinds_of_numbers_are_told_apart():
    with pytest.raises(Wrong, match="floating-point numbers, expected whole numbers"):
        compare(torch.tensor([1.0]), torch.tensor([1]))
    with pytest.raises(Wrong, match="whole numbers .* expected True and False"):
        compare(torch.tensor([1]), torch.tensor([True]))


def model_and_batch():
    model, batch = small_bert(0, labels=(0, 2, 1), classes=3)
    return used(model), batch


def clear(model, batch):
    model.zero_grad()


def pop(model, batch):
    batch.pop("labels")


def pop_and_fail(model, batch):
    batch.pop("labels")
    return batch["labels"]


@pytest.mark.parametrize(
    "answer, says",
    [
        (lambda m, b: m.eval(), "another mode"),
        (lambda m, b: m.requires_grad_(True), "requires_grad of the model"),
        (clear, "changes the .grad of the model"),
        (lambda m, b: m(b["input_ids"], b["attention_mask"]).logits.sum().backward(), r"\.grad"),
        (lambda m, b: m.classifier.bias.data.add_(1), "changes the weights"),
        (pop, "takes 'labels' out"),
        (pop_and_fail, "takes 'labels' out"),
        (lambda m, b: b.update(more=1), "puts 'more' into"),
        (lambda m, b: b["labels"].add_(1), "in place"),
    ],
)
def test_what_an_answer_leaves_changed_is_seen(answer, says):
    with pytest.raises(Wrong, match=says):
        call(answer, *model_and_batch())


def test_an_answer_that_leaves_all_as_it_was_passes():
    call(lambda m, b: m(b["input_ids"], b["attention_mask"]), *model_and_batch())

    def train(model, batch):
        model.classifier.bias.data.add_(1)
        model.zero_grad()

    call(train, *model_and_batch(), trains=True)


def test_a_nan_is_as_it_was():
    assert call(lambda x, rows: 1, x=float("nan"), rows=[{"y": float("nan")}]) == 1


def test_another_mode_inside_is_seen_where_it_matters():
    def quiet(model, batch):
        model.eval()
        model(batch["input_ids"], batch["attention_mask"])
        model.train()

    def quiet_inside(model, batch):
        model.bert.eval()
        model(batch["input_ids"], batch["attention_mask"])
        model.bert.train()

    call(quiet, *model_and_batch())
    with pytest.raises(Wrong, match="runs the model in another mode"):
        call(quiet, *model_and_batch(), same_mode=True)
    with pytest.raises(Wrong, match="runs the model in another mode"):
        call(quiet_inside, *model_and_batch(), same_mode=True)


def test_a_tensors_flags_and_grad_are_compared():
    x = torch.ones(2)
    with pytest.raises(Wrong, match="requires_grad of `x`"):
        call(lambda x: x.requires_grad_(), x=x)
    y = torch.ones(2, requires_grad=True)
    with pytest.raises(Wrong, match=r"`y.grad`"):
        call(lambda y: y.sum().backward(), y=y)


def test_a_hint_is_given_only_where_one_mistake_explains_every_problem():
    def spec(x, root=True, double=False):
        return (2 if double else 1) * (x.square().sum().sqrt() if root else x.square().sum())

    problems = [dict(x=torch.tensor([1.0, 0.0])), dict(x=torch.tensor([3.0, 4.0]))]
    mistakes = {"the root is missing": {"root": False}, "twice": {"double": True}}
    specified(lambda x: x.norm(), problems, spec, mistakes)
    with pytest.raises(Wrong) as caught:
        specified(lambda x: x.square().sum(), problems, spec, mistakes)
    assert caught.value.likely == "the root is missing"
    with pytest.raises(Wrong) as caught:
        specified(lambda x: torch.tensor(7.0), problems, spec, mistakes)
    assert caught.value.likely is None


def test_a_mistake_that_changes_nothing_is_no_hint():
    def spec(x, late=0):
        return {"a": x, "b": x + late}

    with pytest.raises(Wrong, match="floating-point") as caught:
        specified(lambda x: spec(x.float()), [dict(x=torch.tensor([1]))], spec,
                  {"late": {"late": 1}})  # fmt: skip
    assert caught.value.likely is None


def test_a_result_of_several_parts_is_compared_part_by_part():
    def spec(x, twice=False, late=False):
        return {"start": 2 * x if twice else x, "end": x + late + twice}

    problems = [dict(x=torch.tensor([1.0])), dict(x=torch.tensor([3.0]))]
    mistakes = {"twice": {"twice": True}, "twice and late": {"twice": True, "late": True},
                "late": {"late": True}}  # fmt: skip
    specified(spec, problems, spec, mistakes)
    with pytest.raises(Wrong, match="x = 'a tensor'"):
        specified(lambda x: {"start": x, "end": 7 * x}, problems, spec,
                  tell=lambda problem: {"x": "a tensor"})  # fmt: skip
    for keywords, says in (
        ({"twice": True}, r"^start is not as expected\nLikely mistake: twice\n"),
        ({"late": True}, r"^end is not as expected\nLikely mistake: late\n"),
    ):
        with pytest.raises(Wrong, match=says):
            specified(lambda x, k=keywords: spec(x, **k), problems, spec, mistakes)


def test_what_comes_back_is_told_by_name():
    x = torch.ones(2)
    assert tensors((x, 2 * x), "a", "b")["b"].tolist() == [2, 2]
    assert tensors(x, "a")["a"] is x
    for result, names, says in (
        (None, ("a",), "does the function return a"),
        (x, ("a", "b"), r"two things, \(a, b\)"),
        ((x, [1.0, 1.0]), ("a", "b"), "b should be a tensor, not list"),
        (x.clone().requires_grad_(), ("a",), "tied to the graph"),
    ):
        with pytest.raises(Wrong, match=says):
            tensors(result, *names)


def test_the_dtype_of_a_result_is_compared_where_a_model_will_take_it():
    single = torch.ones(2)
    assert of_dtype(lambda x: x * 2)(single).dtype == torch.float32
    assert of_dtype(lambda k, x: x.long(), 1)(3, single).dtype == torch.long
    with pytest.raises(Wrong, match="float64, where the input is of torch.float32"):
        of_dtype(lambda x: x.double())(single)


def test_mistakes_that_are_functions_are_named_and_their_numbers_looked_into():
    def spec(x, make=lambda x: 2 * x):
        return make(x)

    mistakes = making({"not doubled": lambda x: x, "squared": lambda x: x**2})
    with pytest.raises(Wrong) as caught:
        specified(lambda x: x, [dict(x=torch.ones(2)), dict(x=torch.full((2,), 3.0))], spec,
                  mistakes)  # fmt: skip
    assert caught.value.likely == "not doubled" and comparable(caught.value)
    assert not comparable(Wrong("", yours=torch.ones(3), expected=torch.ones(2)))
    assert not comparable(Wrong("", yours=torch.ones(2) / 0, expected=torch.ones(2)))


def test_a_slider_has_the_decimals_and_the_unit_of_its_quantity():
    angle = ledger_module.Prediction("98.a", "?", None, 0, 90, unit="degrees")
    assert angle.text(42.3) == "42 degrees"
    assert ledger_module.Prediction("98.b", "?", None, 0, 1).text(0.5) == "0.50"
    assert ledger_module.Prediction("98.c", "?", None, 0, 10).text(5) == "5.0"


# ---------------------------------------------------------------- claims


@pytest.fixture
def claims(monkeypatch):
    module = type(sys)("course.lesson_98.claims")
    module.CLAIMS = {"98.more": Claim("More is more.", lambda a, b: a > b)}
    monkeypatch.setitem(sys.modules, "course.lesson_98.claims", module)


def test_a_claim_that_holds_says_so(claims, capsys):
    claim("98.more", a=2, b=1)
    assert capsys.readouterr().out == "✓ More is more.\n"


def test_a_claim_that_fails_stops_the_builder_and_not_the_learner(claims, capsys, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    claim("98.more", a=1, b=2)
    out = capsys.readouterr().out
    assert out.startswith("✗ Here it did not come out so: More is more.") and "a = 1" in out
    claim("98.more", a=torch.ones(2), b=1)  # no truth value: not borne out, and no crash
    assert "RuntimeError" in capsys.readouterr().out
    monkeypatch.setenv("COURSE_STRICT", "1")
    with pytest.raises(ClaimFailed, match="98.more: More is more"):
        claim("98.more", a=1, b=2)
    with pytest.raises(ValueError, match="no claim"):
        claim("98.less", a=1)


# ---------------------------------------------------------------- the record


def test_the_record_outlives_the_kernel_and_shows_the_next_exercise(own_record, capsys):
    exercise("98.1", course)
    script = "from course import record; print(record.answers())"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "{'98.1': 'right'}"
    progress()
    assert "1 of 2 exercises right; next: 98.2 (another)" in capsys.readouterr().out


def test_a_stub_that_is_run_again_takes_nothing_away():
    def stub(x):
        raise NotImplementedError("Exercise 98.1")

    exercise("98.1", course)
    exercise("98.1", stub)
    assert record.answers()["98.1"] == "right"


@pytest.mark.parametrize("content", [
    "", "{", "[]", "null", '{"answers": 3, "guesses": {}}',
    '{"answers": {"98.1": 1}, "guesses": {}}', '{"answers": {}, "guesses": {"98.a": 3}}',
])  # fmt: skip
def test_a_broken_record_is_set_aside(own_record, content, capsys):
    own_record.write_text(content)
    assert record.answers() == {}
    assert own_record.with_suffix(".broken.json").read_text() == content
    assert "could not be read" in capsys.readouterr().out
    record.keep_answer("98.1", "right")
    assert record.answers() == {"98.1": "right"}


def test_two_kernels_at_once_lose_nothing(own_record):
    script = ("import sys; from course import record\n"
              "for i in range(25): record.keep_answer(f'{sys.argv[1]}.{i}', 'right')")  # fmt: skip
    both = [subprocess.Popen([sys.executable, "-c", script, n]) for n in ("10", "12")]
    assert [p.wait() for p in both] == [0, 0]
    assert len(record.answers()) == 50
    assert not list(own_record.parent.glob("record.json.[0-9]*"))


def test_a_record_that_cannot_be_written_stops_nobody(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("COURSE_RECORD", str(tmp_path / "a file" / "record.json"))
    (tmp_path / "a file").touch()
    assert exercise("98.1", course) is course
    assert "COURSE_RECORD names another" in capsys.readouterr().out


def test_the_command_shows_the_course_and_writes_a_certificate(own_record, tmp_path, monkeypatch):
    monkeypatch.setattr("course.cli.LESSONS", {"98": "a_test"})
    exercise("98.1", course)
    record.keep_answer("97.1", "right")  # of no lesson
    page = tmp_path / "page.html"
    done = CliRunner().invoke(cli.app, ["progress", "--certificate", str(page), "--name", "<A>"])
    assert done.exit_code == 0 and "98 a test" in done.output
    text = page.read_text()
    assert "98.1 the norm" in text and "1 of 2 exercises" in text and record.digest() in text
    assert "&lt;A&gt;" in text and "<A>" not in text
    assert CliRunner().invoke(cli.app, ["progress", "97"]).exit_code
