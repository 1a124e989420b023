"""Word substitution: real texts, kept labels, results that depend on their own text alone."""

import numpy as np
import pytest

import advlib
from advlib.attacks import WordSubstitution
from advlib.attacks.words import WordResult
from advlib.corpora import words, world


@pytest.fixture(scope="module")
def clean_victim():
    return advlib.load_classifier("reviews-clean", device="cpu")


@pytest.fixture(scope="module")
def sample():
    reviews = world().sample(40, "test", seed=3)
    return [r.text for r in reviews], [r.label for r in reviews]


@pytest.fixture(scope="module")
def results(clean_victim, sample):
    return WordSubstitution()(clean_victim, *sample)


def test_every_result_is_a_text_of_the_same_label(results, sample):
    for result, text, label in zip(results, *sample, strict=True):
        assert (result.original, result.label) == (text, label)
        assert world().label(result.text) == label
        old, new = words(text), words(result.text)
        assert len(old) == len(new)
        assert tuple(
            i for i, pair in enumerate(zip(old, new, strict=True)) if len(set(pair)) > 1
        ) == (result.changed)
        for i in result.changed:
            assert new[i] in world().substitutes(text)[i]


def test_success_means_that_the_model_is_wrong_now(clean_victim, results):
    guess = clean_victim.predict([r.text for r in results]).argmax(1)
    for result, found in zip(results, guess, strict=True):
        assert (found != result.label) == (result.success or result.wrong_before)
    assert 0 < np.mean([r.success for r in results]) < 1


def test_batch_order_and_company_do_not_matter(clean_victim, sample, results):
    texts, labels = sample
    order = list(range(len(texts)))[::-1]
    back = WordSubstitution()(clean_victim, [texts[i] for i in order], [labels[i] for i in order])
    assert back[::-1] == results
    assert [
        WordSubstitution()(clean_victim, [t], [y])[0]
        for t, y in zip(texts[:6], labels[:6], strict=True)
    ] == results[:6]


def test_queries_are_counted_per_text(clean_victim, sample, monkeypatch):
    asked = []
    real = type(clean_victim).logits
    monkeypatch.setattr(
        type(clean_victim),
        "logits",
        lambda self, texts, *a, **k: asked.append(len(texts)) or real(self, texts, *a, **k),
    )
    found = WordSubstitution()(clean_victim, *sample)
    assert sum(r.queries for r in found) == sum(asked)


def test_the_share_of_changed_words_is_kept(clean_victim, sample):
    for result in WordSubstitution(max_changed=0.1)(clean_victim, *sample):
        assert len(result.changed) <= 0.1 * len(words(result.original))


def test_a_larger_budget_is_at_least_as_strong(clean_victim, sample, results):
    small = WordSubstitution(max_changed=0.1)(clean_victim, *sample)
    assert sum(r.robust for r in results) <= sum(r.robust for r in small)


def test_texts_without_known_words_come_back_unchanged(clean_victim):
    texts = ["", "   ", "\U0001f642 \U0001f600", "qwerty zxcvb"]
    guess = clean_victim.predict(texts).argmax(1)
    for result, text in zip(WordSubstitution()(clean_victim, texts, guess), texts, strict=True):
        assert result.text == text and not result.success and result.queries == 1


def test_what_is_wrong_from_the_start_is_not_attacked(clean_victim, sample):
    texts, labels = sample
    for result in WordSubstitution()(clean_victim, texts, [1 - y for y in labels]):
        if result.wrong_before:
            assert result.queries == 1 and not result.changed and not result.robust


def test_show_marks_words_and_escapes_html():
    result = WordResult("<b>good</b> film", "<b>great</b> film", 1, (1,), True, False, 3)
    assert result.show() == "<b>[good -> great]</b> film"
    assert result.show(as_html=True) == ("&lt;b&gt;<del>good</del> <ins>great</ins>&lt;/b&gt; film")


@pytest.mark.parametrize("settings", [{"max_changed": 0}, {"max_changed": 1.5}, {"world": "mars"}])
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError):
        WordSubstitution(**settings)
