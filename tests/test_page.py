"""The local page: what its buttons compute, and that the page can be built where gradio is."""

import importlib.util
import sys
from pathlib import Path

import pytest

import advlib

FILE = Path(__file__).parent.parent / "examples" / "page.py"


@pytest.fixture(scope="module")
def shown():
    spec = importlib.util.spec_from_file_location("page", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def victim():
    return advlib.load_classifier("reviews-clean")


def test_predicts_with_confidence(shown, victim):
    said = shown.predict(victim, f"  {shown.EXAMPLES[0]}\n")
    assert set(said) == {"positive", "negative"} and said["positive"] > 0.9
    assert sum(said.values()) == pytest.approx(1, abs=1e-6)


def test_attacks_words_within_their_budget(shown, victim):
    way = next(iter(shown.WAYS))
    before, after, page = shown.attack_words(victim, shown.EXAMPLES[0], way, 0.5, 300)
    assert before["positive"] > 0.5 > after["positive"]
    assert "<del>delicious</del> <ins>" in page and "The model is fooled" in page
    *_, page = shown.attack_words(victim, shown.EXAMPLES[0], "Typos", 1.0, 10)
    assert int(page.split("asked ")[1].split()[0]) <= 10


def test_says_where_nothing_may_change(shown, victim):
    way = next(iter(shown.WAYS))
    before, after, page = shown.attack_words(victim, "zzz", way, 0.5, 300)
    assert before == after and "nothing in this text may change" in page


@pytest.mark.parametrize("way", range(3))
def test_escapes_what_was_typed(shown, victim, way):
    text = "<img src=x onerror=alert(1)> The soup was <b>delicious</b> & warm."
    *_, page = shown.attack_words(victim, text, list(shown.WAYS)[way], 1.0, 200)
    for mark in ("<p>", "</p>", "<del>", "</del>", "<ins>", "</ins>"):
        page = page.replace(mark, "")
    assert "<" not in page and "&lt;" in page and "&amp;" in page


def test_moves_embeddings(shown, victim):
    before, moved = shown.attack_embeddings(victim, shown.EXAMPLES[0], 0.5)
    assert moved["positive"] < before["positive"]


def test_refuses_what_is_no_text_or_too_long(shown, victim):
    with pytest.raises(ValueError, match="Type a text"):
        shown.predict(victim, " \n")
    with pytest.raises(ValueError, match="2001 characters; 2000 is the most"):
        shown.attack_embeddings(victim, "x" * 2001, 0.3)


def test_says_how_to_get_gradio(shown, victim, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ValueError, match="advlib.page"):
        shown.page(victim, "reviews-clean")


def test_page_is_built(shown, victim):
    pytest.importorskip("gradio")
    config = shown.page(victim, "reviews-clean").get_config_file()
    labels = {part["props"].get("value") for part in config["components"]
              if part["type"] == "button"}  # fmt: skip
    assert {"Attack this: words", "Attack this: embeddings"} <= labels
