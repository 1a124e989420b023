"""Right and wrong answers to the exercises of lesson 18."""

import torch

RIGHT = [
    ("18.1", lambda delta: delta.flatten(1).norm(dim=1)),
    ("18.1", lambda d: d.square().sum((1, 2)).sqrt()),
]


def in_place(delta):
    return delta.square_().sum((1, 2)).sqrt()


# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("18.1", lambda delta: delta.square().sum((1, 2)), "root is missing"),
    ("18.1", lambda delta: delta.sum(1).norm(dim=1), "tokens were added up"),
    ("18.1", lambda delta: delta.norm(), "shape"),
    ("18.1", lambda delta: delta.norm(dim=2), "shape"),
    ("18.1", lambda delta: delta.norm(dim=(1, 2)).long(), "holds"),
    ("18.1", lambda delta: None, "None"),
    ("18.1", lambda delta: delta.norm(dim=(1, 2)) + torch.tensor(1.0), "not as expected"),
    ("18.1", in_place, "in place|changes"),
]
