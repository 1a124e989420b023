"""What can be moved and pressed on a page. Without ipywidgets or a front end, a sentence instead.

    playground(victim)        # type a text, see the prediction, press attack
    marked(result)            # one attacked text with its changed words marked; needs no kernel
    explore(draw, eps=(0.3, 0.1, 1.5, 0.05))     # a figure that follows a slider

A text that somebody typed is escaped before it becomes HTML, always in this file.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from importlib import import_module

from advlib.attacks.words import WordResult, WordSubstitution
from advlib.corpora import world
from advlib.models import Classifier
from advlib.plots import Picture

EXAMPLE = "The waiter was friendly, and the soup was delicious."
INSTEAD = (
    "The playground needs ipywidgets and a notebook that runs. In a terminal, this does the same:\n"
    f'  advlib attack "{EXAMPLE}"'
)


@dataclass(frozen=True)
class Shown:
    """Something to look at: HTML in a notebook, plain text everywhere else."""

    html: str
    plain: str

    def __repr__(self) -> str:
        return self.plain

    def _repr_html_(self) -> str:
        return self.html


def verdict(victim: Classifier, text: str) -> Shown:
    """What the model says of a text, and how sure it is."""
    says = _says(victim, text)
    return Shown(f"<p>{escape(text)}<br>→ <b>{escape(says)}</b></p>", f"{text}\n-> {says}")


def marked(result: WordResult, victim: Classifier | None = None) -> Shown:
    """An attacked text with its changed words marked, the outcome and the cost.

    victim: adds what the model says before and after.
    """
    note = f"{_outcome(result)}. Changed words: {len(result.changed)}. Queries: {result.queries}."
    lines = [note]
    if victim is not None:
        lines = [f"before: {_says(victim, result.original)}",
                 f"after: {_says(victim, result.text)}", note]  # fmt: skip
    parts = [result.show(as_html=True), *map(escape, lines)]
    return Shown("<p>" + "<br>".join(parts) + "</p>", "\n".join([result.show(), *lines]))


def try_attack(victim: Classifier, text: str, attack: WordSubstitution | None = None) -> Shown:
    """Attack one text of the learner's. Its true label is the reading rule's; where the rule finds
    none, what the model says before the attack is taken for the truth, and that is said."""
    attack = attack or WordSubstitution()
    label = _rule(victim, text, attack.world)
    source = "by the rule of the world"
    if label is None:
        label = int(victim.predict([text])[0].argmax())
        source = "taken from the model, because the rule of the world does not know this text"
    result = attack(victim, [text], [label])[0]
    shown = marked(result, victim)
    truth = f"True label: {victim.labels[label]} ({source})."
    if not any(attack.options(text)):
        truth += " No word of this text has known substitutes."
    return Shown(shown.html + f"<p>{escape(truth)}</p>", f"{shown.plain}\n{truth}")


class Playground:
    """A text area, two buttons and the answer below them, in `box`."""

    def __init__(self, victim: Classifier, text: str = EXAMPLE):
        import ipywidgets

        self.victim = victim
        wide = ipywidgets.Layout(width="100%", max_width="46em")
        self.text = ipywidgets.Textarea(value=text, placeholder="Type a review", layout=wide)
        self.predict_button = ipywidgets.Button(description="Predict")
        self.attack_button = ipywidgets.Button(description="Attack", button_style="primary")
        self.answer = ipywidgets.HTML()
        self.predict_button.on_click(lambda _: self._answer(verdict))
        self.attack_button.on_click(lambda _: self._answer(try_attack))
        buttons = ipywidgets.HBox([self.predict_button, self.attack_button])
        self.box = ipywidgets.VBox([self.text, buttons, self.answer])

    def _answer(self, what) -> None:
        text = " ".join(self.text.value.replace("\x00", " ").split())
        if not text:
            self.answer.value = "<p>Type a text first.</p>"
            return
        try:
            self.answer.value = what(self.victim, text).html
        except Exception as error:  # a front end would swallow it, and the page would stay silent
            self.answer.value = f"<p>{escape(f'{type(error).__name__}: {error}')}</p>"


def playground(victim: Classifier, text: str = EXAMPLE) -> Playground | None:
    """Show the playground; where there is nothing to show it in, say what to do instead.

    Returns the Playground, or None.
    """
    if not front_end():
        print(INSTEAD)
        return None
    from IPython.display import display

    made = Playground(victim, text)
    display(made.box)
    return made


def explore(draw: Callable, **controls: tuple) -> None:
    """Show what `draw(**values)` returns, and again whenever a control is moved.

    controls: (start, low, high, step) is a slider, (start, options) a choice: of numbers a slider
    over them, of words a list. What draw displays, prints and returns is shown.
    """
    if not front_end():
        print("Without ipywidgets there is nothing to move here; the figure above shows the same.")
        return
    from IPython.display import display

    display(explorer(draw, **controls))


def explorer(draw: Callable, **controls: tuple):
    """The box that `explore` shows: its controls, and below them a picture in HTML.

    Not ipywidgets' interact: its Output makes nbclient answer the kernel while the cell ends, and
    now and then it then waits for that cell until it gives up.
    """
    import ipywidgets
    from IPython.utils.capture import capture_output

    moved = {name: _control(*c) for name, c in controls.items()}
    screen = ipywidgets.HTML()

    def redraw(_=None) -> None:
        try:
            with capture_output() as said:
                drawn = draw(**{name: control.value for name, control in moved.items()})
            parts = [*map(_drawn, said.outputs), _preformatted(said.stdout.strip()), _drawn(drawn)]
            screen.value = "".join(parts)
        except Exception as error:  # a front end would swallow it, and an old picture would stay
            screen.value = f"<p>{escape(f'{type(error).__name__}: {error}')}</p>"

    for name, control in moved.items():
        control.description = name
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([*moved.values(), screen])


def _drawn(drawn) -> str:
    """A picture, or something that makes HTML, or anything else, as HTML; nothing for None."""
    if drawn is None:
        return ""
    if isinstance(drawn, Picture):
        png, size = drawn._repr_png_()
        return (f'<img src="data:image/png;base64,{b64encode(png).decode()}" '
                f'width="{size["width"]}" style="max-width:100%;height:auto" '
                f'alt="{escape(size.get("alt", ""))}">')  # fmt: skip
    html = drawn._repr_html_() if hasattr(drawn, "_repr_html_") else None
    return html or _preformatted(str(drawn))


def _preformatted(text: str) -> str:
    return f'<pre style="line-height:1.3">{escape(text)}</pre>' if text else ""


def _control(start, *rest):
    """One control, redrawing when it is let go: a figure takes longer than a mouse moves."""
    import ipywidgets

    if len(rest) == 1:
        options = list(rest[0])
        numbers = all(isinstance(o, int | float) for o in options)
        kind = ipywidgets.SelectionSlider if numbers else ipywidgets.Dropdown
        later = dict(continuous_update=False) if numbers else {}
        return kind(options=options, value=start, **later)
    low, high, step = rest
    kind = ipywidgets.IntSlider if isinstance(step, int) else ipywidgets.FloatSlider
    return kind(start, min=low, max=high, step=step, continuous_update=False)


def front_end() -> bool:
    """Whether this is a notebook's kernel with ipywidgets."""
    try:
        import_module("ipywidgets")
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


def _rule(victim: Classifier, text: str, name: str) -> int | None:
    """The label that the rule of the world gives, if it knows one and the model has its classes."""
    if [name.lower() for name in victim.labels] != ["negative", "positive"]:
        return None
    try:
        return world(name).label(text)
    except ValueError:
        return None


def _says(victim: Classifier, text: str) -> str:
    probabilities = victim.predict([text])[0]
    y = int(probabilities.argmax())
    return f"{victim.labels[y]} ({probabilities[y]:.1%})"


def _outcome(result: WordResult) -> str:
    if result.wrong_before:
        return "The model was wrong from the start, so nothing was tried"
    return "The model is fooled" if result.success else "The model is not fooled"
