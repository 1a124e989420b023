"""The playground: its buttons work, hostile text stays text, and it does without a front end."""

import sys
from html.parser import HTMLParser

import pytest

import advlib
from advlib import plots
from advlib.attacks import WordSubstitution
from advlib.attacks.words import WordResult
from course import widgets
from course.widgets import (
    EXAMPLE,
    Playground,
    explorer,
    marked,
    playground,
    try_attack,
    verdict,
)

HOSTILE = 'The soup was <script>alert("1")</script> delicious & <img src=x onerror=alert(2)> good.'
OUR_TAGS = {"p", "br", "b", "del", "ins"}


class Tags(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


def is_safe(html):
    return all(tag in OUR_TAGS and not attrs for tag, attrs in Tags(html).found)


@pytest.fixture(scope="module")
def victim():
    return advlib.load_classifier("reviews-clean", device="cpu")


@pytest.fixture
def play(victim):
    pytest.importorskip("ipywidgets")
    return Playground(victim)


def test_the_predict_button_shows_what_the_model_says(play):
    play.predict_button.click()
    assert "<b>positive (99." in play.answer.value
    play.text.value = "The soup was bland."
    play.predict_button.click()
    assert "The soup was bland." in play.answer.value and "negative" in play.answer.value


def test_the_attack_button_marks_the_words_and_counts_the_queries(play, victim):
    play.attack_button.click()
    html = play.answer.value
    result = WordSubstitution()(victim, [EXAMPLE], [1])[0]
    assert "<del>delicious</del> <ins>delectable</ins>" in html
    assert "The model is fooled" in html and f"Queries: {result.queries}." in html
    assert "True label: positive (by the rule of the world)" in html


def test_nothing_typed_is_said_and_not_attacked(play):
    for blank in ("", "  \n ", "\x00"):
        play.text.value = blank
        for button in (play.predict_button, play.attack_button):
            play.answer.value = ""
            button.click()
            assert "Type a text first" in play.answer.value


@pytest.mark.parametrize(
    "typed",
    [HOSTILE, "<b>", "</p><a href='javascript:x'>good</a>", "&lt;b&gt;", "good \x000\x00<i>x</i>"],
)
def test_hostile_text_is_escaped_by_both_buttons(play, typed):
    play.text.value = typed
    for button in (play.predict_button, play.attack_button):
        play.answer.value = ""
        button.click()
        assert play.answer.value and is_safe(play.answer.value), play.answer.value


def test_the_guard_sees_what_is_not_escaped():
    assert not is_safe(f"<p>{HOSTILE}</p>") and not is_safe("<p onclick='x'>good</p>")


def test_hostile_class_names_are_escaped(victim, monkeypatch):
    monkeypatch.setattr(victim.model.config, "id2label", {0: "<script>", 1: "<img src=x>"})
    for shown in (verdict(victim, "good"), try_attack(victim, "The soup was good.")):
        assert is_safe(shown.html) and "&lt;img" in shown.html


def test_an_error_in_a_handler_is_shown_escaped(play, monkeypatch):
    def fails(*_):
        raise RuntimeError("<b>no memory</b>")

    monkeypatch.setattr(play.victim, "predict", fails, raising=False)
    play.predict_button.click()
    assert "RuntimeError: &lt;b&gt;no memory" in play.answer.value and is_safe(play.answer.value)


def test_the_truth_is_the_rules_where_the_rule_knows_it(victim):
    shown = try_attack(victim, "The fridge is lukewarm.")
    assert "taken from the model" in shown.plain
    assert "No word of this text has known substitutes" in shown.plain
    for label in ("taken from the model", "by the rule"):  # other classes: the rule says nothing
        with pytest.MonkeyPatch.context() as patch:
            if label != "by the rule":
                patch.setattr(victim.model.config, "id2label", {0: "angry", 1: "calm"})
            assert label in try_attack(victim, "The soup was good.").plain
    shown = try_attack(victim, "The plot was never gripping.")
    assert "wrong from the start" in shown.plain and "True label: negative" in shown.plain


def test_marked_says_the_same_in_both_forms():
    result = WordResult("A <b> good bed.", "A <b> great bed.", 1, (2,), False, False, 7)
    shown = marked(result)
    assert repr(shown) == str(shown) == shown.plain
    assert "[good -> great]" in shown.plain and "Queries: 7." in shown.plain
    assert shown._repr_html_() == shown.html and is_safe(shown.html)
    assert "<del>good</del> <ins>great</ins>" in shown.html and "Queries: 7." in shown.html
    assert "not fooled" in shown.html and "not fooled" in shown.plain


def test_without_a_front_end_a_sentence_says_what_to_do(victim, capsys):
    assert playground(victim) is None
    assert 'advlib attack "' in capsys.readouterr().out


def test_without_ipywidgets_a_sentence_says_what_to_do(victim, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # importing it fails now
    assert playground(victim) is None
    assert "ipywidgets" in capsys.readouterr().out


def test_in_a_notebook_the_playground_is_shown(victim, monkeypatch):
    pytest.importorskip("ipywidgets")
    display = pytest.importorskip("IPython.display")
    shown = []
    monkeypatch.setattr(widgets, "front_end", lambda: True)
    monkeypatch.setattr(display, "display", shown.append)
    play = playground(victim, "The bed was soft.")
    assert shown == [play.box] and play.text.value == "The bed was soft."


# ---------------------------------------------------------------- a figure that follows a slider


def picture_of(value):
    fig, axes = plots.figure(2, 1)
    axes.plot([0, value])
    fig.alt = f'a line up to "{value}"'
    return fig


def test_a_moved_control_draws_anew_and_the_picture_is_there_in_words():
    ipywidgets = pytest.importorskip("ipywidgets")
    box = explorer(lambda a, b: picture_of(a), a=(1, 0, 5, 1), b=("x", ["x", "y"]))
    slider, choice, screen = box.children
    assert isinstance(slider, ipywidgets.IntSlider) and slider.description == "a"
    assert isinstance(choice, ipywidgets.Dropdown) and choice.options == ("x", "y")
    first = screen.value
    ((tag, attrs),) = Tags(first).found
    assert tag == "img" and dict(attrs)["alt"] == 'a line up to "1"'
    slider.value = 4
    assert screen.value != first and "data:image/png;base64," in screen.value


def test_what_the_drawing_prints_and_its_errors_are_shown_escaped():
    pytest.importorskip("ipywidgets")

    def draw(a):
        if a > 1:
            raise ValueError("<b>no</b>")
        print("<i>" * a, "said")

    slider, screen = explorer(draw, a=(0, 0, 2, 1)).children
    assert "said</pre>" in screen.value
    slider.value = 1
    assert "&lt;i&gt; said" in screen.value
    slider.value = 2
    assert "ValueError: &lt;b&gt;no" in screen.value


def test_a_client_that_runs_the_page_has_nothing_to_answer(tmp_path, monkeypatch):
    """nbclient sends the outputs of an Output widget back to the kernel over the socket on which it
    waits for the end of the cell, and may then sleep through that end."""
    pytest.importorskip("ipywidgets")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    from nbclient.output_widget import OutputWidget

    def answered(self):
        raise AssertionError("the page makes the client answer")

    monkeypatch.setattr(OutputWidget, "sync_state", answered)
    cell = nbformat.v4.new_code_cell(
        "from advlib import plots\nfrom course.widgets import explore\n"
        "from course.widgets import Shown\nfrom IPython.display import display\n"
        "def draw(a):\n    display(Shown('<b>said</b>', 'said'))\n"
        "    return plots.figure()[0]\n"
        "explore(draw, a=(1, 0, 5, 1))")  # fmt: skip
    page = nbformat.v4.new_notebook(cells=[cell])
    client = nbclient.NotebookClient(page, timeout=60, kernel_name="python3",
                                     resources={"metadata": {"path": str(tmp_path)}})  # fmt: skip
    client.execute()
    (shown,) = cell.outputs
    assert "application/vnd.jupyter.widget-view+json" in shown["data"]
    values = [str(state.get("value")) for state in client.widget_state.values()]
    screens = [value for value in values if "<img" in value]
    assert [screen[: len("<b>said</b><img")] for screen in screens] == ["<b>said</b><img"]
