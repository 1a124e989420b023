"""exercise(), predict() and progress(): what a learner meets, and the record of it."""

from __future__ import annotations

import math
import re
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from html import escape
from importlib import import_module
from numbers import Real
from typing import Any

from course import LESSONS, record
from course.checking import Exercise, Wrong, show
from course.widgets import Shown, front_end

RIGHT, OPEN, WRONG = "right", "not attempted", "wrong"
WAIT = "The cells below wait for this one: mend it, or put the raise NotImplementedError back."
# Files that a learner did not write: the course's, those of installed packages, Python's own.
OTHERS = re.compile(r"[/\\](advlib|course|site-packages|dist-packages)[/\\]|^<frozen |^"
                    + re.escape(sysconfig.get_path("stdlib")) + r"[/\\]")
MARKS = {RIGHT: "●", OPEN: "○", WRONG: "✗"}
# Both colours can be read on white and on black; text keeps the colour of the front end's theme.
BOX = "border-left:4px solid {0};padding:4px 12px;margin:4px 0;text-align:left;overflow-x:auto"
GOOD, BAD = "#009e73", "#d55e00"


class NotYet(Exception):
    """Raised for a wrong answer: stops the notebook, without a traceback through the course's
    code. lines: what a front end shows in red; the box above it has said the rest."""

    def __init__(self, message: str, lines: list[str] | None = None):
        super().__init__(message)
        self.lines = lines or message.splitlines()

    def _render_traceback_(self) -> list[str]:  # IPython asks for this
        return self.lines


def find(id: str) -> Exercise:
    """The exercise of that id, "LL.N". Raises ValueError for an id that does not exist."""
    try:
        return exercises(id.split(".")[0])[id]
    except (ModuleNotFoundError, KeyError) as error:
        message = f"there is no exercise {id!r}: copy the line as the lesson has it"
        raise ValueError(message) from error


def exercise(id: str, answer: Any) -> Any:
    """Check the learner's answer and return what the notebook goes on with."""
    entry = find(id)
    try:
        entry.check(answer)
    except Exception as error:
        return _judge(id, entry, error)
    record.keep_answer(id, RIGHT)
    name = getattr(answer, "__name__", "your answer")
    said = f"Exercise {id} ({entry.title}): right. From here on the page runs your own {name}."
    _display(Shown(f'<div style="{BOX.format(GOOD)}">✓ {escape(said)}</div>', f"✓ {said}"))
    return answer


def _judge(id: str, entry: Exercise, error: Exception) -> Any:
    """The course's version for an empty stub; for all else the feedback, as an exception."""
    # PyTorch raises NotImplementedError too, for kernels that it lacks: the stub names itself.
    if isinstance(error, NotImplementedError) and str(error).startswith("Exercise"):
        record.keep_answer(id, OPEN)
        print(f"Exercise {id} ({entry.title}) is not attempted yet: the course's own version takes "
              "its place below.")  # fmt: skip
        return entry.course
    record.keep_answer(id, WRONG)
    if isinstance(error, Wrong):
        html = f'<div style="{BOX.format(BAD)}"><b>Exercise {escape(id)}: not yet</b>{error.html()}'
        _display(Shown(f"{html}</div>", f"Exercise {id}: not yet. {error}"), error.picture)
        red = [f"Exercise {id}: not yet. {WAIT}"] if _kernel() else None
        raise NotYet(f"Exercise {id}: not yet. {error}\n({WAIT})", red) from None
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if not OTHERS.search(line.filename)] or lines
    raise NotYet(
        f"Exercise {id}: your code stopped with {type(error).__name__}: {error}\n"
        f"  at line {own[-1].lineno}: {own[-1].line}"
    ) from error


@dataclass
class Prediction:
    """A guess made before the result is known."""

    id: str
    question: str
    guess: float | str | None
    low: float | None = None
    high: float | None = None
    result: float | str | None = None
    unit: str = ""

    def reveal(self, result: float | str) -> None:
        """Show the guess beside the result, and remember how far off it was."""
        self.result = result
        said = "no guess" if self.guess is None else self.text(self.guess)
        print(f"{self.question}\n  your guess: {said}\n  result:     {self.text(result)}")
        record.keep_guess(self.id, self.guess, result, self.low, self.high)

    @property
    def decimals(self) -> int:
        """As many as a hundredth of the range needs."""
        return max(0, 2 - math.floor(math.log10(self.high - self.low) + 0.05))

    def text(self, value: float | str) -> str:
        """A value of this question, with its unit."""
        if not self.is_number or isinstance(value, str):
            return show(value)
        return f"{float(value):.{self.decimals}f}" + (f" {self.unit}" if self.unit else "")

    @property
    def is_number(self) -> bool:
        """Whether a number was asked for; else one of several options."""
        return self.low is not None

    @property
    def error(self) -> float | None:
        """How far off, as a share of the possible range; 0 or 1 for a choice. None: no guess."""
        if self.guess is None or self.result is None:
            return None
        if not self.is_number:
            return float(self.guess != self.result)
        return abs(float(self.guess) - float(self.result)) / (self.high - self.low)


def predict(
    id: str,
    question: str,
    guess: float | str | None = None,
    *,
    low: float | None = None,
    high: float | None = None,
    options: tuple[str, ...] | None = None,
    unit: str = "",
) -> Prediction:
    """Record a guess before the result is shown; call `.reveal(result)` on what comes back.

    Give a range (low, high), with the unit of the numbers if they have one, or options. guess=None
    shows a slider or a choice where the front end can, and else asks for `guess=`. A slider that
    was not moved is no guess. Raises ValueError for a guess outside the range or the options.
    """
    if (options is None) == (low is None or high is None):
        raise ValueError("predict() needs either low and high, or options")
    if guess is not None and options is not None and guess not in options:
        raise ValueError(f"choose one of {options}, got {guess!r}")
    if guess is not None and options is None:
        if not isinstance(guess, Real) or isinstance(guess, bool):
            raise ValueError(f"the guess is a number, without quotes or unit, got {guess!r}")
        if not low <= guess <= high:
            raise ValueError(f"the guess must lie between {low} and {high}, got {guess}")
    made = Prediction(id, question, guess, low, high, unit=unit)
    print(f"Predict: {question}")
    if guess is None and not _ask(made, options):
        allowed = f"one of {options}" if options else f"a number from {low} to {high}"
        print(f"  put your guess into the cell as guess=…, {allowed}, and run it again")
    return made


def exercises(lesson: str) -> dict[str, Exercise]:
    """The exercises of a lesson, "03", by id."""
    return import_module(f"course.lesson_{lesson}.checks").EXERCISES


def progress(lesson: str | None = None) -> None:
    """The record: a line a lesson of the whole course, and the next open exercise; for one lesson,
    "03", each exercise with its state and how good the guesses were, first."""
    answers, guesses = record.answers(), record.guesses()
    if lesson is not None:
        _one_lesson(lesson, answers, guesses)
    print("  the course:")
    known, open_ones = {}, []
    for number, name in LESSONS.items():
        here = exercises(number)
        known |= here
        open_ones += [id for id in here if answers.get(id) != RIGHT]
        marks = "".join(MARKS[answers.get(id, OPEN)] for id in here)
        print(f"  {number} {name.replace('_', ' '):32} {marks}")
    then = f"next: {open_ones[0]} ({known[open_ones[0]].title})" if open_ones else "all done"
    print(f"  {len(known) - len(open_ones)} of {len(known)} exercises right; {then}")


def _one_lesson(lesson: str, answers: dict, guesses: dict) -> None:
    known = exercises(lesson)
    for id, entry in known.items():
        state = answers.get(id, OPEN)
        print(f"  {MARKS[state]} {id}  {entry.title}: {state}")
    done = sum(answers.get(id) == RIGHT for id in known)
    print(f"  {done} of {len(known)} exercises right")
    made = [Prediction(id, "", g["guess"], g["low"], g["high"], g["result"])
            for id, g in guesses.items() if id.startswith(lesson)]  # fmt: skip
    made = [p for p in made if p.error is not None]
    numbers, choices = [p for p in made if p.is_number], [p for p in made if not p.is_number]
    if numbers:
        off = sum(p.error for p in numbers) / len(numbers)
        high = sum(p.guess > p.result for p in numbers)
        print(f"  guessed numbers ({len(numbers)}): on average {off:.0%} of the range off, "
              f"{high} of them too high")  # fmt: skip
        _display(None, _draw(numbers))
    if choices:
        right = sum(p.error == 0 for p in choices)
        print(f"  guessed choices ({len(choices)}): {right} right")


def _draw(numbers: list[Prediction]) -> Any:
    """A line per prediction from its lowest to its highest value, with the guess and the result."""
    from advlib import plots

    fig, ax = plots.figure(6.4, 0.9 + 0.35 * len(numbers))
    for row, p in enumerate(numbers):
        guess, result = ((v - p.low) / (p.high - p.low) for v in (p.guess, p.result))
        ax.plot([0, 1], [row, row], color="#dddddd", linewidth=6, zorder=1)
        ax.plot([guess, result], [row, row], color="#777777", linewidth=1.5, zorder=2)
        for value, label, fill in ((guess, "your guess", "white"), (result, "result", "#222222")):
            ax.plot(value, row, "o", color=fill, markeredgecolor="#222222", markersize=8,
                    label=None if row else label)  # fmt: skip
    ax.set_yticks(range(len(numbers)), [p.id for p in numbers])
    ax.set_xticks([0, 1], ["lowest", "highest"])
    ax.set(xlim=(-0.03, 1.03), ylim=(len(numbers) - 0.5, -0.5))
    ax.grid(False)
    fig.legend(loc="outside upper left", ncols=2, frameon=False)
    fig.alt = "; ".join(f"{p.id}: guess {show(p.guess)}, result {show(p.result)}" for p in numbers)
    return fig


def _ask(made: Prediction, options: tuple[str, ...] | None) -> bool:
    """A widget that writes into the prediction; False where no front end can show one."""
    if not front_end():
        return False
    import ipywidgets
    from IPython.display import display

    if options:
        widget = shown = ipywidgets.ToggleButtons(options=list(options), value=None)
    else:
        # The slider stands in the middle, where it says nothing; it counts once it was moved.
        widget = ipywidgets.FloatSlider(
            (made.low + made.high) / 2, min=made.low, max=made.high, step=10**-made.decimals,
            readout=False, layout=ipywidgets.Layout(width="24em"),
        )  # fmt: skip
        said = ipywidgets.Label("(not moved yet)", layout=ipywidgets.Layout(margin="0 0 0 2em"))
        ends = [ipywidgets.Label(made.text(v)) for v in (made.low, made.high)]
        shown = ipywidgets.HBox([ends[0], widget, ends[1], said])

    def note(change) -> None:
        made.guess = change["new"]
        if not options:
            said.value = f"your guess: {made.text(made.guess)}"

    widget.observe(note, names="value")
    display(shown)
    return True


def _kernel() -> bool:
    """Whether this is IPython, in which things can be displayed."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


def _display(shown: Shown | None, picture: Any = None) -> None:
    """Show a box and a figure in a notebook; elsewhere the box is printed."""
    if _kernel():
        from IPython.display import display

        display(*(thing for thing in (shown, picture) if thing is not None))
    elif shown is not None:
        print(shown.plain)
