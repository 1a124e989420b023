"""The games of benchmarks/games.py, against specifications that do not use its solver."""

import importlib
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
games = importlib.import_module("games")


def closed_form(A):
    """The value of a 2 × 2 game: a saddle point, or von Neumann's formula."""
    (a, b), (c, d) = A
    if A.min(1).max() == A.max(0).min():
        return A.min(1).max()
    return (a * d - b * c) / (a + d - b - c)


@pytest.mark.parametrize("seed", range(20))
def test_value_of_two_by_two_is_the_closed_form(seed):
    A = np.random.default_rng(seed).normal(size=(2, 2))
    p, q, value = games.solve(A)
    assert value == pytest.approx(closed_form(A), abs=1e-9)
    assert p.sum() == pytest.approx(1) and q.sum() == pytest.approx(1)
    assert min(*p, *q) >= 0


def by_brute_force(A, parts=60):
    """The best worst column over a fine grid of mixtures of three rows."""
    grid = [(i, j, parts - i - j) for i, j in itertools.product(range(parts + 1), repeat=2)
            if i + j <= parts]  # fmt: skip
    return (np.array(grid) / parts @ A).min(1).max()


@pytest.mark.parametrize("seed", range(5))
def test_linear_programme_is_the_best_of_all_mixtures(seed):
    A = np.random.default_rng(seed).uniform(0, 100, size=(3, 4))
    p, q, value = games.solve(A)
    found = by_brute_force(A)
    assert found - 1e-9 <= value <= found + 2  # a step of the grid is 1/60, and A goes to 100
    assert (p @ A).min() == pytest.approx(value) == (A @ q).max()
    assert games.solve(-A.T)[2] == pytest.approx(-value)


def test_exploitability_is_what_the_best_answers_gain():
    A = np.array([[1.0, -1.0], [-1.0, 1.0]])  # matching pennies
    half, first = np.array([0.5, 0.5]), np.array([1.0, 0.0])
    assert games.exploitability(A, half, half) == 0
    assert games.exploitability(A, first, half) == 1  # the column player turns 0 into −1
    assert games.exploitability(A, first, first) == 2
    p, q, _ = games.solve(A)
    assert games.exploitability(A, p, q) == pytest.approx(0, abs=1e-9)


def test_fictitious_play_and_double_oracle_come_to_the_value():
    A = np.random.default_rng(3).normal(size=(6, 9))
    value = games.solve(A)[2]
    gaps = [games.exploitability(A, *pair) for pair in games.fictitious(A, 3000)]
    assert gaps[-1] < 0.1 < gaps[0]
    found = games.double_oracle(A)
    assert found["value"] == pytest.approx(value, abs=1e-7)
    assert games.exploitability(A, found["p"], found["q"]) < 1e-6
    assert found["rows"] <= 6 and found["columns"] <= 9


def test_lesson_and_page_hold_the_same_table():
    page = games.SOURCE.read_text("utf-8")
    game = games.read_page(page)
    assert json.loads(games.JSON.read_text("utf-8")) == game
    rows = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert len(game["defences"]) == len(game["accuracy"]) == len(rows)
    columns = (game["defences"], game["accuracy"], game["seeds"], rows)
    for name, means, seeds, line in zip(*columns, strict=True):
        assert line.startswith(f"| {name} |")
        assert all(f"{mean:.1f} ± " in line for mean in means)
        assert np.allclose(np.mean(seeds, 1), means, atol=0.1)


def test_a_row_that_fell_to_one_class_is_not_among_those_that_learned():
    game = games.read_page(games.SOURCE.read_text("utf-8"))
    names = [game["defences"][i] for i in games.learned(game)]
    assert "Madry, PGD-3" not in names and "Free-4" not in names and "L" in names


def test_a_text_that_is_asked_about_again_is_lost_sooner():
    wrong = np.zeros((3, 2, 2))
    wrong[1, 1] = 1, 0  # one candidate fools the first model
    wrong[2, 0] = 1, 1  # wrong without an attack
    odds = np.array([0.25, 0.75])
    assert games.survive(wrong, odds, 1) == pytest.approx([1, 0.75, 0])
    assert games.survive(wrong, odds, 2) == pytest.approx([1, 0.75**2, 0])


def test_mixture_has_the_mean_logits_and_delta_reaches_both_models():
    from conftest import LABELS, TEXTS, make_classifier

    from advlib.embeddings import perturbed_logits, zero_delta

    one, two = make_classifier("bert"), make_classifier("bert")
    with torch.no_grad():
        for weights in two.model.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    both = games.Mixture([one.model, two.model]).eval()
    batch = one.encode(list(TEXTS), list(LABELS))
    delta = torch.randn_like(zero_delta(one.model, batch))
    with torch.no_grad():
        single = [perturbed_logits(m.model.eval(), batch, delta) for m in (one, two)]
        plain = perturbed_logits(both, batch, None)
        assert not torch.allclose(*single, atol=1e-3)
        found = perturbed_logits(both, batch, delta)
        assert not torch.allclose(found, plain, atol=1e-3)
        assert torch.allclose(found, (single[0] + single[1]) / 2, atol=1e-4)
        sure = games.Mixture([one.model, two.model], np.array([0.0, 1.0])).eval()
        assert torch.allclose(perturbed_logits(sure, batch, delta), single[1], atol=1e-4)


def test_training_against_the_past_keeps_so_many_snapshots():
    from conftest import LABELS, TEXTS, make_classifier

    from advlib.attacks import PGD

    victim = make_classifier("bert")
    batch = victim.encode(list(TEXTS), list(LABELS))
    objective = games.AgainstPast(PGD(0.3, steps=2), keep=2, every=1)
    optimizer = torch.optim.SGD(victim.model.parameters(), lr=0.1)
    seen = []
    for step in range(4):
        objective(victim.model, batch, step=step, generator=torch.Generator().manual_seed(step))
        seen.append([p.detach().clone() for p in victim.model.parameters()])
        optimizer.step()
        optimizer.zero_grad()
    for old, weights in zip(objective._past, seen[2:], strict=True):
        assert all(map(torch.equal, old.parameters(), weights))
    assert not all(map(torch.equal, *(old.parameters() for old in objective._past)))
