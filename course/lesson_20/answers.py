"""Right and wrong answers to the exercises of lesson 20."""

import torch

RIGHT = [
    ("20.1", lambda delta: delta.flatten(1).norm(dim=1)),
    ("20.1", lambda d: d.square().sum((1, 2)).sqrt()),
]


def in_place(delta):
    return delta.square_().sum((1, 2)).sqrt()


# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("20.1", lambda delta: delta.square().sum((1, 2)), "root is missing"),
    ("20.1", lambda delta: delta.sum(1).norm(dim=1), "tokens were added up"),
    ("20.1", lambda delta: delta.norm(), "shape"),
    ("20.1", lambda delta: delta.norm(dim=2), "shape"),
    ("20.1", lambda delta: delta.norm(dim=(1, 2)).long(), "holds"),
    ("20.1", lambda delta: None, "None"),
    ("20.1", lambda delta: delta.norm(dim=(1, 2)) + torch.tensor(1.0), "not as expected"),
    ("20.1", in_place, "in place|changes"),
]
