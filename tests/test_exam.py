"""The answers to the exam questions, worked out with the course's own functions."""

import ast
import re
from math import comb, sqrt
from pathlib import Path

import numpy as np
import torch

from advlib.statistics import wilson
from course.lesson_01.checks import worst_case
from course.lesson_03.checks import fgm_step, fgsm_step
from course.lesson_04.checks import project, random_in_ball
from course.lesson_11.checks import affine_box, lower_bound

DOCS = Path(__file__).parents[1] / "docs"
NUMBER = re.compile(r"^(\d+)\. (.*?)(?=^\d+\. |\Z)", re.M | re.S)


def numbered(file: str) -> dict[int, str]:
    text = (DOCS / file).read_text(encoding="utf-8")
    return {int(n): " ".join(said.split()) for n, said in NUMBER.findall(text)}


ANSWERS = numbered("exam-answers.md")


def test_every_question_has_an_answer_and_a_lesson():
    questions = numbered("exam.md")
    assert list(questions) == list(ANSWERS) == list(range(1, 21))
    assert all(re.match(r"\(\d\d, \d+ min\)", q) for q in questions.values())


def test_margins_and_worst_deltas_of_question_2():
    w, x, y = torch.tensor([3.0, -4.0]), torch.tensor([2.0, 1.0]), torch.ones(1)
    margins = {}
    for norm, shown in (("l2", "(−0.3, 0.4)"), ("linf", "(−0.5, 0.5)"), ("l1", "(0, 0.5)")):
        [delta] = worst_case(w, y, 0.5, norm)
        assert shown in ANSWERS[2] and torch.allclose(
            delta, torch.tensor(ast.literal_eval(shown.replace("−", "-"))), atol=1e-6)  # fmt: skip
        margins[norm] = round(float((x + delta) @ w), 4)
    assert margins == {"l2": -0.5, "linf": -1.5, "l1": 0.0}
    assert "margin −0.5" in ANSWERS[2] and "margin −1.5" in ANSWERS[2]


def test_steps_and_projections_of_questions_6_and_8():
    grad, mask = torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]), torch.ones(1, 2)
    [fgm], [fgsm] = fgm_step(grad, mask, 1.0), fgsm_step(grad, mask, 1.0)
    assert torch.allclose(fgm, torch.tensor([[0.6, 0.0], [0.0, 0.8]]))
    assert fgsm.tolist() == [[1, 0], [0, 1]] and abs(fgsm.norm() / fgm.norm() - sqrt(2)) < 1e-6
    point = torch.tensor([[[3.0, 4.0]]])
    assert torch.allclose(project(point, 2.0, "l2"), torch.tensor([1.2, 1.6]))
    assert torch.allclose(project(point, 2.0, "linf"), torch.tensor([2.0, 2.0]))


def test_random_starts_and_directions_of_questions_7_and_9():
    g = torch.Generator().manual_seed(0)
    v = torch.nn.functional.normalize(torch.randn(20000, 50, generator=g), dim=1)
    assert abs(float((v[:, 0] ** 2).mean()) - 1 / 50) < 0.001
    starts = random_in_ball(torch.ones(20000, 1), 2, 1.0, g).norm(dim=(1, 2))
    assert abs(float((starts < 0.5).float().mean()) - 1 / 4) < 0.01


def test_counts_and_agreements_of_questions_11_to_13():
    assert 1 + comb(10, 1) * 3 + comb(10, 2) * 9 == 436 and "436" in ANSWERS[11]
    chance = 0.7**2 + 0.3**2
    assert f"{(0.8 - chance) / (1 - chance):.2f}" == "0.52" and "0.52" in ANSWERS[12]
    low, high = wilson(38, 40)
    assert f"from {100 * low:.0f} to {100 * high:.0f} %" in ANSWERS[13]


def test_bounds_of_questions_17_and_18():
    box = affine_box(torch.tensor([[2.0, -1.0]]), torch.zeros(1), torch.tensor([[0.0, -1.0]]),
                     torch.tensor([[1.0, 1.0]]))  # fmt: skip
    assert [float(end.reshape(())) for end in box] == [-1, 3]
    assert f"{lower_bound(100, 100, 0.05):.3f}" == "0.970" and "0.970" in ANSWERS[18]


def test_gaps_by_luck_of_question_19():
    right = np.random.default_rng(0).binomial(40, 0.8, (100_000, 15)) / 40
    gaps = right.max(1) - right.min(1)
    assert round(np.median(gaps), 3) == 0.225 and "22.5 points" in ANSWERS[19]
    assert 0.30 < (gaps > 0.2499).mean() < 0.34 and "one such world in three" in ANSWERS[19]
