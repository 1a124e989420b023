"""Worlds: labelled text made from grammars, where label preservation is known, not hoped for."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib import import_module

from advlib.corpora.engine import Review, Text, World, replace, words

WORLDS = ("reviews", "sailing", "bank", "news", "shop")

__all__ = ["WORLDS", "Review", "World", "replace", "words", "world", "world_of"]


def world(name: str = "reviews") -> World:
    """The world of that name. Raises ValueError for a name that is not in `WORLDS`."""
    return _world(name)


def world_of(texts: Iterable[Text]) -> str:
    """The name of the world that knows the most words of these texts; of equals the first."""
    found = [word.lower() for text in texts for word in words(text)]
    return max(WORLDS, key=lambda name: sum(map(world(name).known.__contains__, found)))


@cache
def _world(name: str) -> World:
    if name not in WORLDS:
        raise ValueError(f"no world called {name!r}: choose one of {', '.join(WORLDS)}")
    return World(import_module(f"advlib.corpora.{name}"))
