"""exercise(), predict() and progress(): what a learner meets, and the record of it."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, field
from html import escape
from importlib import import_module
from typing import Any

from course.checking import Exercise, Wrong, show

RIGHT, OPEN, WRONG = "right", "not attempted", "wrong"
WAIT = "(The cells below wait for this one: mend it, or put the raise NotImplementedError back.)"
OURS = re.compile(r"[/\\](advlib|course)[/\\]")  # files that a learner did not write
MARKS = {RIGHT: "●", OPEN: "○", WRONG: "✗"}


@dataclass
class Ledger:
    """This session's answers and guesses, by id."""

    answers: dict[str, str] = field(default_factory=dict)
    guesses: dict[str, Prediction] = field(default_factory=dict)


LEDGER = Ledger()


class NotYet(Exception):
    """Raised for a wrong answer: stops the notebook with the feedback alone, without a traceback
    through the course's code."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for this
        return str(self).splitlines()


def find(id: str) -> Exercise:
    """The exercise of that id, "LL.N". Raises ValueError for an id that does not exist."""
    lesson = id.split(".")[0]
    try:
        return import_module(f"course.lesson_{lesson}.checks").EXERCISES[id]
    except (ModuleNotFoundError, KeyError) as error:
        raise ValueError(
            f"there is no exercise {id!r}: copy the line as the lesson has it"
        ) from error


def exercise(id: str, answer: Any) -> Any:
    """Check the learner's answer and return what the notebook goes on with."""
    entry = find(id)
    try:
        entry.check(answer)
    except Exception as error:
        return _judge(id, entry, error)
    LEDGER.answers[id] = RIGHT
    print(f"Exercise {id} ({entry.title}): right. The rest of the notebook uses your own version.")
    return answer


def _judge(id: str, entry: Exercise, error: Exception) -> Any:
    """The course's version for an empty stub; for all else the feedback, as an exception."""
    # PyTorch raises NotImplementedError too, for kernels that it lacks: the stub names itself.
    if isinstance(error, NotImplementedError) and str(error).startswith("Exercise"):
        LEDGER.answers[id] = OPEN
        print(f"Exercise {id} ({entry.title}) is not attempted yet: the course's own version takes "
              "its place below.")  # fmt: skip
        return entry.course
    LEDGER.answers[id] = WRONG
    if isinstance(error, Wrong):
        _display(f"<h4>Exercise {escape(id)}: not yet</h4>{error.html()}", error.picture)
        raise NotYet(f"Exercise {id}: not yet. {error}\n{WAIT}") from None
    lines = traceback.extract_tb(error.__traceback__)
    own = [line for line in lines if not OURS.search(line.filename)] or lines
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

    def reveal(self, result: float | str) -> None:
        """Show the guess beside the result, and remember how far off it was."""
        self.result = result
        said = "no guess" if self.guess is None else show(self.guess)
        print(f"{self.question}\n  your guess: {said}\n  result:     {show(result)}")

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
) -> Prediction:
    """Record a guess before the result is shown; call `.reveal(result)` on what comes back.

    Give a range (low, high) or options. guess=None shows a slider or a choice where the front end
    can (the guess is then where it was last moved to), and else asks for
    `guess=`. Raises ValueError for a guess outside the range or the options.
    """
    if (options is None) == (low is None or high is None):
        raise ValueError("predict() needs either low and high, or options")
    if guess is not None and options is not None and guess not in options:
        raise ValueError(f"choose one of {options}, got {guess!r}")
    if guess is not None and options is None and not low <= guess <= high:
        raise ValueError(f"the guess must lie between {low} and {high}, got {guess}")
    made = Prediction(id, question, guess, low, high)
    LEDGER.guesses[id] = made
    print(f"Predict: {question}")
    if guess is None and not _ask(made, options):
        allowed = f"one of {options}" if options else f"a number from {low} to {high}"
        print(f"  put your guess into the cell as guess=…, {allowed}, and run it again")
    return made


def progress(lesson: str | None = None) -> None:
    """The ledger: every exercise of the lesson with its state, and how good the guesses were.

    In a notebook the guesses that were numbers are also drawn, each beside its result.
    """
    answers = {i: a for i, a in LEDGER.answers.items() if lesson is None or i.startswith(lesson)}
    if lesson is not None:
        answers = {i: answers.get(i, OPEN) for i in
                   import_module(f"course.lesson_{lesson}.checks").EXERCISES}  # fmt: skip
    for id, state in answers.items():
        print(f"  {MARKS[state]} {id}  {find(id).title}: {state}")
    done = sum(state == RIGHT for state in answers.values())
    print(f"  {done} of {len(answers)} exercises right")
    made = [p for i, p in LEDGER.guesses.items()
            if p.error is not None and (lesson is None or i.startswith(lesson))]  # fmt: skip
    numbers, choices = [p for p in made if p.is_number], [p for p in made if not p.is_number]
    if numbers:
        off = sum(p.error for p in numbers) / len(numbers)
        high = sum(p.guess > p.result for p in numbers)
        print(f"  guessed numbers ({len(numbers)}): on average {off:.0%} of the range off, "
              f"{high} of them too high")  # fmt: skip
        _display(picture=_draw(numbers))
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
        label = row == 0
        ax.plot(guess, row, "o", color="white", markeredgecolor="#222222", markersize=8,
                label="your guess" if label else None)  # fmt: skip
        ax.plot(result, row, "o", color="#222222", markersize=8, label="result" if label else None)
    ax.set_yticks(range(len(numbers)), [p.id for p in numbers])
    ax.set_xticks([0, 1], ["lowest", "highest"])
    ax.set(xlim=(-0.03, 1.03), ylim=(len(numbers) - 0.5, -0.5))
    ax.grid(False)
    fig.legend(loc="outside upper left", ncols=2, frameon=False)
    return fig


def _ask(made: Prediction, options: tuple[str, ...] | None) -> bool:
    """A widget that writes into the prediction; False where no front end can show one."""
    try:
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is None:
            return False
        import ipywidgets
    except ImportError:
        return False
    if options:
        widget = ipywidgets.ToggleButtons(options=list(options), value=None)
    else:
        middle, step = (made.low + made.high) / 2, (made.high - made.low) / 100
        widget = ipywidgets.FloatSlider(middle, min=made.low, max=made.high, step=step)

    def note(change) -> None:
        made.guess = change["new"]

    widget.observe(note, names="value")
    display(widget)
    return True


def _display(html: str = "", picture: Any = None) -> None:
    """Show HTML and a figure where there is a front end; the printed text says the same."""
    try:
        from IPython import get_ipython
        from IPython.display import HTML, display
    except ImportError:
        return
    if get_ipython() is not None:
        if html:
            display(HTML(html))
        if picture is not None:
            display(picture)
