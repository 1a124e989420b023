"""The small network of lesson 11: its boxes hold what they say, and padding has no voice."""

import pytest
import torch

import advlib
from advlib.attacks import WordSubstitution
from advlib.certify import Certificate, OpinionsOnly, sandwich
from advlib.corpora import world
from course.lesson_11 import cnn


@pytest.fixture(scope="module")
def words():
    return cnn.Vocabulary(world("reviews"))


@pytest.fixture(scope="module")
def data(words):
    texts = advlib.load_text("reviews")["train"].select(range(120))
    return list(texts["text"]), words.ids(list(texts["text"])), torch.tensor(texts["label"])


@pytest.fixture(scope="module")
def trained(words, data):
    _, x, y = data
    return cnn.train(words, x, y, "ibp", epochs=3, width=12, hidden=16)


def test_no_random_member_leaves_the_bounds(trained, words, data):
    _, x, _ = data
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        lower, upper = trained.bound(x)
        for _ in range(20):
            z = trained(words.random_members(x, draw))
            assert (z >= lower - 1e-5).all() and (z <= upper + 1e-5).all()
        still = trained.bound(x, free=torch.zeros_like(x, dtype=torch.bool))
        assert all(torch.allclose(end, trained(x), atol=1e-5) for end in still)
        assert (upper - lower).mean() > (still[1] - still[0]).mean() + 1e-3, "no box at all"


def test_padding_changes_nothing(trained, words, data):
    texts, _, _ = data
    short, long = (words.ids(texts[:8], length=n) for n in (32, 60))
    with torch.no_grad():
        assert torch.allclose(trained(short), trained(long), atol=1e-5)
        for a, b in zip(trained.bound(short), trained.bound(long), strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_lower_exact_and_attack_stand_in_order(trained, words, data):
    texts, x, y = data
    few = [i for i, text in enumerate(texts) if len(text) < 60][:10]
    some, labels = [texts[i] for i in few], y[few].tolist()
    proved = cnn.certified(trained, x[few], y[few], free=words.judging[x[few]])
    sandwich(cnn.Reader(trained), some, labels, WordSubstitution(constraints=(OpinionsOnly(),)),
             [Certificate(bool(c), True) for c in proved], limit=20_000)  # fmt: skip
    assert not (cnn.certified(trained, x, y) & ~cnn.search(trained, x, y, rounds=1)).any()


def test_a_training_leaves_the_global_random_state_and_refuses_an_unknown_mode(words, data):
    _, x, y = data
    before = torch.random.get_rng_state()
    nets = [cnn.train(words, x[:32], y[:32], "words", epochs=1, width=4, hidden=4) for _ in "ab"]
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(nets[0].out.weight, nets[1].out.weight)
    with pytest.raises(ValueError, match="mode"):
        cnn.train(words, x[:2], y[:2], "boxes")
