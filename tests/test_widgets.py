"""The playground: its buttons work, hostile text stays text, and it does without a front end."""

import sys
from html.parser import HTMLParser

import pytest

import advlib
from advlib.attacks import WordSubstitution
from advlib.attacks.words import WordResult
from course import widgets
from course.widgets import EXAMPLE, Playground, marked, playground, try_attack, verdict

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
    monkeypatch.setattr(widgets, "_front_end", lambda: True)
    monkeypatch.setattr(display, "display", shown.append)
    play = playground(victim, "The bed was soft.")
    assert shown == [play.box] and play.text.value == "The bed was soft."
