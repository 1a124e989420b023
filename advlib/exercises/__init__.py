"""Exercises that check themselves, predictions before results, and the ledger of both.

    fgm_step = advlib.exercise("03.1", fgm_step)

runs the check of exercise 03.1. Right: says so, and the learner's own function goes on being used.
Not attempted (it raises NotImplementedError and nothing else): says so, and the course's function
takes its place, so that the notebook runs to its end. Wrong: stops, with the learner's answer
beside what was expected.

A lesson's checks live in `lesson_NN.py` beside this file, in a dictionary `EXERCISES`. A check
rests on a specification of its own (a property, finite differences, brute force), never on the
course's function.
"""

from __future__ import annotations

from advlib.exercises.check import Exercise, Wrong, compare, expect, show
from advlib.exercises.ledger import exercise, predict, progress

__all__ = ["Exercise", "Wrong", "compare", "exercise", "expect", "predict", "progress", "show"]
