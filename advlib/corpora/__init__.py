"""Worlds: labelled text made from grammars, where label preservation is known, not hoped for."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from advlib.corpora.engine import Review, World, replace, words

WORLDS = ("reviews", "sailing", "bank")

__all__ = ["WORLDS", "Review", "World", "replace", "words", "world"]


def world(name: str = "reviews") -> World:
    """The world of that name. Raises ValueError for a name that is not in `WORLDS`."""
    return _world(name)


@cache
def _world(name: str) -> World:
    if name not in WORLDS:
        raise ValueError(f"no world called {name!r}: choose one of {', '.join(WORLDS)}")
    return World(import_module(f"advlib.corpora.{name}"))
