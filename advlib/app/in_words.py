"""Threat models in words: what the repr of an attack says, as a sentence that a person can read."""

from __future__ import annotations

import ast

from advlib.evaluation import UNCHECKED


def in_words(threat_model: str) -> str | None:
    """The sentence for an attack's repr; None for an attack that is not known here, or for a text
    that is no repr. Nothing is run, and no text out of the repr stands in the sentence.

    Of "PGD(eps=0.3, norm='l2', scope='sequence', relative=True, steps=10)" it says "10 gradient
    steps; the embeddings of the whole text move by at most 0.3 of a mean token embedding".
    """
    try:
        plain = threat_model.removesuffix(UNCHECKED)
        call = ast.parse(plain, mode="eval").body
        said = {k.arg: _value(k.value) for k in call.keywords}
        unchecked = "; nobody checked that the meaning stays" * (plain != threat_model)
        return SENTENCES[call.func.id](said) + unchecked
    except (AttributeError, KeyError, SyntaxError, TypeError, ValueError, RecursionError,
            MemoryError):  # fmt: skip
        return None


def _value(node):
    """A literal; of a call (`KeepWords()`, `Similarity(least=0.9)`) its name and its values."""
    if isinstance(node, ast.Call):
        return (node.func.id, *(_value(k.value) for k in node.keywords))
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    return ast.literal_eval(node)


def _moved(how: str, said: dict) -> str:
    """An embedding attack: how it looks for a point, and in which ball."""
    restarts, target = said.get("restarts", 1), said.get("target")
    unit = "of a mean token embedding"
    what = "the embedding of each token moves" if said.get("scope") == "token" else (
           "the embeddings of the whole text move")  # fmt: skip
    if said.get("norm") == "linf":
        what, unit = "each coordinate of each embedding moves", "of a typical coordinate"
    if not said.get("relative", True):
        unit = "in the model's own units"
    tries = f", the best of {restarts:d} tries" * (restarts > 1)
    aim = "" if target is None else f", towards class {target:d}"
    return f"{how}{tries}{aim}; {what} by at most {said['eps']:g} {unit}"


def _steps(said: dict, kind: str = "gradient step") -> str:
    begin = " from a random start" * bool(said.get("random_start"))
    return f"{said['steps']:d} {kind}{'s' * (said['steps'] != 1)}{begin}"


def _worded(how: str, said: dict) -> str:
    """An attack on words: what a word may become, how many may, and what else bounds it."""
    share, queries = said["max_changed"], said.get("max_queries")
    out = [how, "any number of words" if share == 1 else f"at most {share:.0%} of the words"]
    out += [f"at most {queries:d} queries a text"] if queries else []
    kept = [c[0] for c in said.get("constraints", ())]
    out += ["stop words and negations stay"] if "KeepWords" in kept else []
    others = len(kept) - kept.count("KeepWords")
    out += [f"{others} more constraint{'s' * (others > 1)}"] if others else []
    return "; ".join(out)


NEAR = "words become one of the {k:d} nearest in word vectors, with a cosine of {least:g} or more"

SENTENCES = {
    "Noise": lambda said: _moved("a random direction", said),
    "FGM": lambda said: _moved("one gradient step", said),
    "FGSM": lambda said: _moved("one step along the signs of the gradient", said),
    "PGD": lambda said: _moved(_steps(said), said),
    "Divergence": lambda said: _moved(_steps(said, "step") + " away from the answer", said),
    "VirtualAdversarial": lambda said: _moved(_steps(said, "step") + " away from the answer", said),
    "WordSubstitution": lambda said: _worded("words become others that keep the label", said),
    "Typos": lambda said: _worded("words get a typing slip", said),
    "EmbeddingNeighbours": lambda said: _worded(
        f"words become one of the {said['k']:d} nearest in the embedding table", said),
    "MaskedLanguageModel": lambda said: _worded(
        f"words become one of {said['k']:d} that a language model puts in their place", said),
    "HotFlip": lambda said: _worded(
        f"words become one of {said['k']:d} that the gradient asks for", said),
    "TextFooler": lambda said: _worded(NEAR.format(**said), said),
    "A2T": lambda said: _worded(NEAR.format(**said), said | {"max_changed": 1}).replace(
        "any number of words",
        f"at most {said['max_changed']:.0%} of the words, or {said['at_least']:d}"),
    "PWWS": lambda said: _worded("words become synonyms", said),
    "DeepWordBug": lambda said: _worded("words get a letter changed", said),
}  # fmt: skip
