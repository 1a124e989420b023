"""Bounds against what lies in the box: random members, corners, and boxes of width 0."""

import math
from itertools import product as corners

import pytest
import torch
from conftest import LABELS, TEXTS, make_classifier
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks import PGD
from advlib.embeddings import attackable, mean_norm, perturbed_logits
from advlib.intervals import (
    affine,
    bert_bounds,
    gelu,
    layer_norm,
    matmul,
    product,
    relu,
    softmax,
    tanh,
    weighted_mean,
)

SIZE = 4


def draw(seed, *shape, scale=1.0):
    rng = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*shape, generator=rng, dtype=torch.float64)


WEIGHT, BIAS, OTHER = draw(1, 3, SIZE), draw(2, 3), draw(3, SIZE, 2)
GAIN, SHIFT = draw(4, SIZE), draw(5, SIZE)
# name -> (the function, its bounds)
FUNCTIONS = {
    "affine": (lambda x: x @ WEIGHT.T + BIAS, lambda lo, hi: affine(lo, hi, WEIGHT, BIAS)),
    "no bias": (lambda x: x @ WEIGHT.T, lambda lo, hi: affine(lo, hi, WEIGHT)),
    "relu": (torch.relu, relu),
    "tanh": (torch.tanh, tanh),
    "gelu": (nn.functional.gelu, gelu),
    "softmax": (lambda x: x.softmax(-1), softmax),
    "layer norm": (
        lambda x: nn.functional.layer_norm(x, (SIZE,), GAIN, SHIFT, 1e-3),
        lambda lo, hi: layer_norm(lo, hi, GAIN, SHIFT, 1e-3),
    ),
    "product": (
        lambda x: x[..., :2] * x[..., 2:],
        lambda lo, hi: product((lo[..., :2], hi[..., :2]), (lo[..., 2:], hi[..., 2:])),
    ),
    "matmul": (
        lambda x: x @ OTHER,
        lambda lo, hi: matmul((lo[None], hi[None]), (OTHER, OTHER)),
    ),
}


def members(lo, hi, count=200, seed=0):
    """(count + 16, …) random points of the box, and its corners along four coordinates."""
    rng = torch.Generator().manual_seed(seed)
    share = torch.rand(count, *lo.shape, generator=rng, dtype=torch.float64)
    edges = torch.tensor(list(corners((0.0, 1.0), repeat=SIZE)), dtype=torch.float64)
    return lo + torch.cat([share, edges]) * (hi - lo)


@pytest.mark.parametrize("name", FUNCTIONS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), place=st.sampled_from([0.1, 1, 30]),
       width=st.sampled_from([0.0, 1e-8, 0.1, 3, 100]))  # fmt: skip
def test_what_lies_in_the_box_stays_in_the_bounds(name, seed, place, width):
    function, bounds = FUNCTIONS[name]
    lo = draw(seed, SIZE, scale=place)
    hi = lo + draw(seed + 1, SIZE).abs() * width
    low, high = bounds(lo, hi)
    found = function(members(lo, hi, seed=seed))
    room = 1e-9 * (1 + found.abs().max())
    assert torch.isfinite(low).all() and torch.isfinite(high).all() and (low <= high).all()
    assert (found >= low.squeeze(0) - room).all() and (found <= high.squeeze(0) + room).all()
    if width == 0:
        assert torch.allclose(low.squeeze(0), function(lo), atol=1e-9, rtol=1e-9)
        assert torch.allclose(high.squeeze(0), function(lo), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["affine", "no bias", "relu", "tanh", "softmax", "product"])
@pytest.mark.parametrize("seed", range(5))
def test_no_bound_is_wider_than_the_corners_need(name, seed):
    """Of each output by itself, for what is monotone or linear in each coordinate."""
    function, bounds = FUNCTIONS[name]
    lo = draw(seed, SIZE)
    hi = lo + draw(seed + 50, SIZE).abs()
    low, high = bounds(lo, hi)
    found = function(members(lo, hi, count=0))
    assert torch.allclose(found.amin(0), low) and torch.allclose(found.amax(0), high)


def test_gelu_is_tight_left_of_its_turn_across_and_right_of_it():
    lo = torch.tensor([-3.0, -1.0, -2.0, 0.1, -0.7517915246935645], dtype=torch.float64)
    hi = torch.tensor([-1.0, -0.5, 1.5, 2.0, -0.7517915246935645], dtype=torch.float64)
    low, high = gelu(lo, hi)
    grid = nn.functional.gelu(
        lo + torch.linspace(0, 1, 20001, dtype=torch.float64)[:, None] * (hi - lo)
    )
    assert torch.allclose(low, grid.amin(0), atol=1e-8) and torch.allclose(high, grid.amax(0))
    assert (low <= grid.amin(0)).all()


def test_softmax_is_finite_where_exponentials_are_not():
    lo = torch.tensor([-1000.0, 999.0, 0.0], dtype=torch.float64)
    hi = torch.tensor([1000.0, 1000.0, 0.0], dtype=torch.float64)
    low, high = softmax(lo, hi)
    assert low.tolist() == pytest.approx([0, 1 / (1 + math.e), 0], abs=1e-12)
    assert high.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1, 0], abs=1e-12)
    assert softmax(lo.float(), hi.float())[0].isfinite().all()
    assert [x.item() for x in softmax(lo[:1], hi[:1])] == [1, 1]


def test_softmax_leaves_out_what_is_minus_infinity():
    lo = torch.tensor([0.0, -torch.inf, 1.0], dtype=torch.float64)
    low, high = softmax(lo, lo + 0.5)
    some = softmax(lo[[0, 2]], lo[[0, 2]] + 0.5)
    assert torch.equal(low[[0, 2]], some[0]) and torch.equal(high[[0, 2]], some[1])
    assert low[1] == high[1] == 0


def test_layer_norm_is_capped_however_wide_the_box():
    lo, hi = torch.full((9,), -1e6, dtype=torch.float64), torch.full((9,), 1e6, dtype=torch.float64)
    one = torch.ones(9, dtype=torch.float64)
    low, high = layer_norm(lo, hi, one, 0 * one)
    assert high.amax() <= math.sqrt(8) + 1e-12 and low.amin() >= -math.sqrt(8) - 1e-12
    spike = torch.zeros(9, dtype=torch.float64)
    spike[0] = 1e6
    assert nn.functional.layer_norm(spike, (9,))[0] == pytest.approx(math.sqrt(8))  # it is reached


def test_matmul_of_two_boxes_holds_every_product_of_members():
    a, b = draw(7, 2, 3, 4), draw(8, 2, 4, 5)
    wide = [draw(9, *a.shape).abs() * 0.3, draw(10, *b.shape).abs() * 0.3]
    low, high = matmul((a, a + wide[0]), (b, b + wide[1]))
    assert low.shape == (2, 3, 5)
    for seed in range(50):
        rng = torch.Generator().manual_seed(seed)
        x, y = (torch.rand(w.shape, generator=rng, dtype=torch.float64).round() * w for w in wide)
        found = (a + x) @ (b + y)
        assert (found >= low - 1e-12).all() and (found <= high + 1e-12).all()


def test_a_weighted_mean_holds_means_and_is_capped_by_its_values():
    lo, real = draw(11, 3, 2), torch.tensor([[True], [True], [False]])
    value = lo, lo + draw(12, 3, 2).abs()
    anything = torch.zeros(1, 3, dtype=torch.float64), torch.ones(1, 3, dtype=torch.float64)
    low, high = weighted_mean(anything, value, real)
    for one in (0, 1):  # all of the share on one value, at either end of it
        for end in value:
            assert (end[one] >= low[0]).all() and (end[one] <= high[0]).all()
    assert torch.equal(low[0], value[0][:2].amin(0)) and torch.equal(high[0], value[1][:2].amax(0))
    third = torch.full((1, 3), 1 / 3, dtype=torch.float64)
    low, high = weighted_mean((third, third), value, torch.ones(3, 1, dtype=torch.bool))
    assert torch.allclose(low[0], value[0].mean(0)) and torch.allclose(high[0], value[1].mean(0))


# ---------------------------------------------------------------------- a whole BERT


@pytest.fixture(scope="module")
def bert():
    victim = make_classifier("bert")
    victim.model.double()
    return victim, victim.encode(TEXTS, LABELS)


def test_a_box_of_width_0_gives_the_logits(bert):
    victim, batch = bert
    found = bert_bounds(victim.model, batch, 0.0)
    logits = perturbed_logits(victim.model, batch, None).detach()
    assert torch.allclose(found.lo, logits, atol=1e-10) and torch.equal(found.lo, found.hi)
    assert found.widths.shape == (4, 3) and (found.widths == 0).all()
    assert torch.equal(found.certified(logits.argmax(1)), torch.ones(4, dtype=torch.bool))


@pytest.mark.parametrize("radius", [1e-8, 1e-4, 1e-2])
def test_no_delta_of_the_box_leaves_the_bounds_of_the_logits(bert, radius):
    victim, batch = bert
    found = bert_bounds(victim.model, batch, radius)
    size = radius * mean_norm(victim.model) / math.sqrt(16) * attackable(batch)[..., None]
    deltas = [size * draw(seed, *size.shape[:2], 16).sign() for seed in range(20)]
    deltas.append(PGD(radius, norm="linf", steps=5)(victim.model, batch).double())
    for delta in deltas:
        with torch.no_grad():
            logits = perturbed_logits(victim.model, batch, delta)
        assert (logits >= found.lo - 1e-10).all() and (logits <= found.hi + 1e-10).all()
    assert (found.widths[:, 0] > 0).all() and (found.hi > found.lo).all()


def test_the_box_has_the_size_that_an_attack_in_linf_has(bert):
    victim, batch = bert
    inner, ids = victim.model.bert.embeddings, batch["input_ids"]
    kinds, places = batch["token_type_ids"], torch.arange(ids.shape[1])
    middle = (inner.word_embeddings(ids) + inner.position_embeddings(places)
              + inner.token_type_embeddings(kinds)).detach()  # fmt: skip
    unit = inner.word_embeddings.weight.norm(dim=1).mean().item() / 4  # a typical coordinate
    half = 0.1 * unit * attackable(batch)[..., None]
    norm = inner.LayerNorm
    low, high = layer_norm(middle - half, middle + half, norm.weight, norm.bias, norm.eps)
    real = batch["attention_mask"].bool()
    found = bert_bounds(victim.model, batch, 0.1).widths[:, 0]
    for row, width in enumerate(found):
        assert (high - low)[row, real[row]].mean().item() == pytest.approx(width.item())


def test_bounds_of_a_text_do_not_depend_on_the_padding_beside_it(bert):
    victim, batch = bert
    alone = bert_bounds(victim.model, victim.encode(TEXTS[2:3], LABELS[2:3]), 1e-5)
    beside = bert_bounds(victim.model, batch, 1e-5)
    assert torch.allclose(alone.lo[0], beside.lo[2]) and torch.allclose(alone.hi[0], beside.hi[2])
    assert torch.allclose(alone.widths[0], beside.widths[2])


def test_certified_asks_the_lowest_logit_of_the_label_against_the_highest_others(bert):
    victim, batch = bert
    right = victim.logits(TEXTS).argmax(1)
    labels = torch.tensor(right)
    assert bert_bounds(victim.model, batch, 1e-13).certified(labels).all()
    assert not bert_bounds(victim.model, batch, 1e-13).certified((labels + 1) % 3).any()
    assert not bert_bounds(victim.model, batch, 10.0).certified(labels).any()


def test_other_models_and_sizes_are_refused(bert):
    victim, batch = bert
    with pytest.raises(ValueError, match="radius must be at least 0"):
        bert_bounds(victim.model, batch, -1.0)
    with pytest.raises(ValueError, match="is no BERT classifier with GELU"):
        bert_bounds(make_classifier("distilbert").model, batch, 0.1)
