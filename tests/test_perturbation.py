"""The ball: every operation against its definition, on random tensors and on extreme ones."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from advlib.perturbation import NORMS, SCOPES, Ball

KINDS = [(norm, scope) for norm in NORMS for scope in SCOPES]
kinds = pytest.mark.parametrize("norm, scope", KINDS)
light = settings(deadline=None, max_examples=40)

tensors = st.builds(
    lambda seed, shape, scale: scale * random(seed, shape),
    st.integers(0, 10_000),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)),
    st.sampled_from([1e-30, 1e-3, 1.0, 1e4, 1e30]),
)
radii = st.sampled_from([1e-6, 0.3, 1.0, 70.0])
balls = st.builds(lambda kind, eps: Ball(eps, *kind), st.sampled_from(KINDS), radii)


def random(seed, shape):
    own = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=own, dtype=torch.float64)


def uniform(seed, like):
    """Numbers in [0, 1) of the shape of `like`."""
    own = torch.Generator().manual_seed(seed)
    return torch.rand(like.shape, generator=own, dtype=torch.float64)


def groups(ball, delta):
    """The vectors that a length is taken of, as rows of plain Python numbers."""
    if ball.scope == "sequence":
        return [example.flatten().tolist() for example in delta]
    return [token.tolist() for example in delta for token in example]


def length(ball, vector):
    return math.hypot(*vector) if ball.norm == "l2" else max(map(abs, vector))


def lengths(ball, delta):
    return [length(ball, vector) for vector in groups(ball, delta)]


def inside(ball, delta, slack=1e-9):
    return max(lengths(ball, delta)) <= ball.eps * (1 + slack)


def distances(ball, a, b):
    """Euclidean distance per group."""
    return [math.dist(x, y) for x, y in zip(groups(ball, a), groups(ball, b), strict=True)]


# --- size -----------------------------------------------------------------------------------


@given(balls, tensors)
@light
def test_size_is_the_norm_by_its_formula(ball, delta):
    size = ball.size(delta)
    tokens = 1 if ball.scope == "sequence" else delta.shape[1]
    assert size.shape == (len(delta), tokens, 1)
    assert size.flatten().tolist() == pytest.approx(lengths(ball, delta), rel=1e-12, abs=0)


@kinds
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30, 1e36])
def test_size_neither_underflows_nor_overflows_in_float32(norm, scope, scale):
    delta = torch.full((1, 2, 3), scale)
    count = {"linf": 1, "l2": 3 if scope == "token" else 6}[norm]
    expected = delta.max().item() * math.sqrt(count)
    size = Ball(1.0, norm, scope).size(delta).max().item()
    assert size == pytest.approx(expected, rel=1e-4, abs=0)


@kinds
def test_examples_do_not_share_a_budget(norm, scope):
    small, large = random(0, (1, 3, 4)), 100 * random(1, (1, 3, 4))
    ball = Ball(0.5, norm, scope)
    together = ball.project(torch.cat([small, large]))
    assert torch.equal(together[:1], ball.project(small))
    assert torch.equal(together[1:], ball.project(large))


# --- projection -----------------------------------------------------------------------------


@given(balls, tensors)
@light
def test_projection_lands_in_the_ball_and_stays_there(ball, delta):
    once = ball.project(delta)
    assert inside(ball, once)
    torch.testing.assert_close(ball.project(once), once, rtol=1e-12, atol=0)


@given(balls, st.integers(0, 100))
@light
def test_projection_leaves_points_of_the_ball_alone(ball, seed):
    delta = random(seed, (2, 3, 4))
    delta = delta * (0.999 * ball.eps / max(lengths(ball, delta)))
    torch.testing.assert_close(ball.project(delta), delta, rtol=0, atol=0)


@given(balls, tensors, st.integers(0, 100))
@light
def test_no_random_point_of_the_ball_is_nearer_than_the_projection(ball, delta, seed):
    nearest = distances(ball, ball.project(delta), delta)
    for k in range(20):
        noise = random(seed + k, delta.shape)
        rivals = [ball.random(noise, uniform(k, ball.size(delta))), ball.random(noise)]
        rivals.append(ball.project(ball.project(delta) + 0.05 * ball.random(noise)))
        for rival in rivals:
            reached = distances(ball, rival, delta)
            pairs = zip(nearest, reached, strict=True)
            assert all(best <= other * (1 + 1e-9) + 1e-12 * ball.eps for best, other in pairs)


@pytest.mark.parametrize("scope", SCOPES)
def test_projection_onto_the_l2_ball_keeps_the_direction(scope):
    ball, delta = Ball(0.1, "l2", scope), random(3, (2, 3, 4))
    ratio = ball.project(delta) / delta
    expected = [ball.eps / size for size in lengths(ball, delta)]
    assert ball.size(ratio).shape == ball.size(delta).shape
    dims = (1, 2) if scope == "sequence" else (2,)
    assert ratio.mean(dims).flatten().tolist() == pytest.approx(expected)
    assert ratio.std(dims).max() < 1e-12


@kinds
def test_projection_of_zero_is_zero(norm, scope):
    assert not Ball(1.0, norm, scope).project(torch.zeros(2, 3, 4)).any()


# --- the steepest step ----------------------------------------------------------------------


@given(balls, tensors, st.integers(0, 100))
@light
def test_no_random_direction_of_size_one_rises_more_than_the_steepest(ball, grad, seed):
    unit = Ball(1.0, ball.norm, ball.scope)
    best = unit.steepest(grad)
    assert inside(unit, best)
    rise = [sum(a * b for a, b in zip(g, d, strict=True)) for g, d in pairs_of(unit, grad, best)]
    # The most that a linear function can rise is the dual norm of its gradient.
    dual = [math.hypot(*g) if ball.norm == "l2" else sum(map(abs, g)) for g in groups(unit, grad)]
    assert rise == pytest.approx(dual, rel=1e-9, abs=0)
    for k in range(10):
        rival = unit.random(random(seed + k, grad.shape))
        for (g, d), most in zip(pairs_of(unit, grad, rival), rise, strict=True):
            assert sum(a * b for a, b in zip(g, d, strict=True)) <= most * (1 + 1e-9)


def pairs_of(ball, a, b):
    return zip(groups(ball, a), groups(ball, b), strict=True)


@kinds
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_steepest_step_does_not_depend_on_the_size_of_the_gradient(norm, scope, scale):
    ball, grad = Ball(1.0, norm, scope), random(5, (2, 3, 4)).float()
    step = ball.steepest(grad * scale)
    torch.testing.assert_close(step, ball.steepest(grad), rtol=1e-4, atol=1e-6)
    assert max(lengths(ball, step)) == pytest.approx(1, rel=1e-4)


@kinds
def test_zero_gradient_gives_a_zero_step_beside_others(norm, scope):
    grad = random(5, (2, 3, 4)).float()
    grad[0] = 0
    step = Ball(1.0, norm, scope).steepest(grad)
    assert step.isfinite().all() and not step[0].any() and step[1].any()


def test_a_token_without_gradient_gets_no_step_in_token_scope():
    grad = random(5, (1, 3, 4))
    grad[0, 1] = 0
    step = Ball(1.0, "l2", "token").steepest(grad)
    assert not step[0, 1].any()
    assert step.norm(dim=2)[0, [0, 2]].tolist() == pytest.approx([1, 1])


# --- random points --------------------------------------------------------------------------


@given(balls, st.integers(0, 1000))
@light
def test_random_point_without_radius_lies_on_the_surface(ball, seed):
    delta = ball.random(random(seed, (2, 3, 4)))
    assert lengths(ball, delta) == pytest.approx([ball.eps] * len(lengths(ball, delta)))


@given(balls, st.integers(0, 1000))
@light
def test_random_point_with_radius_lies_in_the_ball(ball, seed):
    noise = random(seed, (2, 3, 4))
    assert inside(ball, ball.random(noise, uniform(seed, ball.size(noise))))


@kinds
@pytest.mark.parametrize("whole", [True, False], ids=["in the ball", "on the surface"])
def test_random_point_is_zero_where_the_noise_is(norm, scope, whole):
    noise = random(0, (2, 3, 4))
    noise[0, 1:] = 0
    noise[1] = 0
    ball = Ball(1.0, norm, scope)
    radius = uniform(1, ball.size(noise)) if whole else None
    delta = ball.random(noise, radius)
    assert delta.isfinite().all()
    assert torch.equal(delta != 0, noise != 0)


@pytest.mark.parametrize("masked", [0, 2])
@pytest.mark.parametrize("scope", SCOPES)
def test_random_point_of_the_l2_ball_is_uniform_in_volume(scope, masked):
    # In n dimensions (‖δ‖/eps)ⁿ is uniform in [0, 1] when δ is uniform in the ball.
    noise = random(0, (4000, 3, 2))
    noise[:, :masked] = 0
    ball = Ball(2.0, "l2", scope)
    size = ball.size(ball.random(noise, uniform(1, ball.size(noise))))[:, -1, 0]
    dimensions = 2 if scope == "token" else 2 * (3 - masked)
    share = (size / ball.eps) ** dimensions
    assert uniform_gap(share) < 0.03


def test_random_point_of_the_cube_is_uniform_in_each_coordinate():
    ball = Ball(2.0, "linf")
    delta = ball.random(random(0, (2000, 1, 4)), torch.ones(2000, 1, 1))
    for coordinate in delta[:, 0].T:
        assert uniform_gap((coordinate / ball.eps + 1) / 2) < 0.05


def uniform_gap(numbers):
    """Kolmogorov-Smirnov distance to the uniform distribution on [0, 1]."""
    numbers = numbers.sort().values
    return (numbers - torch.arange(len(numbers)) / len(numbers)).abs().max().item()


# --- bad settings ---------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [-1, -1e-9, 0, 0.0, math.nan, math.inf, -math.inf, "0.3", None, 1j])
def test_a_radius_that_is_no_positive_number_is_refused(eps):
    with pytest.raises(ValueError, match="must be a positive number"):
        Ball(eps)


def test_unknown_norm_and_scope_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="norm must be one of .*l2.*linf.*'l1'"):
        Ball(1.0, "l1")
    with pytest.raises(ValueError, match="scope must be one of .*sequence.*token.*'batch'"):
        Ball(1.0, "l2", "batch")


def test_an_integer_radius_is_fine_and_a_ball_is_frozen():
    ball = Ball(1)
    assert ball.project(torch.full((1, 1, 4), 9.0)).norm() == pytest.approx(1)
    with pytest.raises(AttributeError):
        ball.eps = 2
