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
        return (_moved if call.func.id in MOVED else _worded)(call.func.id, said) + unchecked
    except Exception:  # the text may come from anybody, and can go wrong in many ways
        return None


def _value(node):
    """A literal; of a call (`KeepWords()`, `Similarity(least=0.9)`) its name and its values."""
    if isinstance(node, ast.Call):
        return (node.func.id, *(_value(k.value) for k in node.keywords))
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    return ast.literal_eval(node)


def _moved(name: str, said: dict) -> str:
    """An embedding attack: how it looks for a point, and in which ball."""
    start = " from a random start" * bool(said.get("random_start"))
    how = MOVED[name].format(**said | {"s": "s" * (said.get("steps") != 1), "start": start})
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


def _worded(name: str, said: dict) -> str:
    """An attack on words: what a word may become, how many may, and what else bounds it."""
    share, queries = said["max_changed"], said.get("max_queries")
    least = f", or {said['at_least']:d}" if "at_least" in said else ""
    most = "any number of words" if share == 1 else f"at most {share:.0%} of the words{least}"
    out = [WORDED[name].format(**said), most]
    out += [f"at most {queries:d} queries a text"] if queries else []
    kept = [c[0] for c in said.get("constraints", ())]
    out += ["stop words and negations stay"] if "KeepWords" in kept else []
    others = len(kept) - kept.count("KeepWords")
    out += [f"{others} more constraint{'s' * (others > 1)}"] if others else []
    return "; ".join(out)


AWAY = "{steps:d} step{s} away from the answer"
MOVED = {
    "Noise": "a random direction",
    "FGM": "one gradient step",
    "FGSM": "one step along the signs of the gradient",
    "PGD": "{steps:d} gradient step{s}{start}",
    "Divergence": AWAY,
    "VirtualAdversarial": AWAY,
}

NEAR = "words become one of the {k:d} nearest in word vectors, with a cosine of {least:g} or more"
WORDED = {
    "WordSubstitution": "words become others that keep the label",
    "Typos": "words get a typing slip",
    "EmbeddingNeighbours": "words become one of the {k:d} nearest in the embedding table",
    "MaskedLanguageModel": "words become one of {k:d} that a language model puts in their place",
    "HotFlip": "words become one of {k:d} that the gradient asks for",
    "TextFooler": NEAR,
    "A2T": NEAR,
    "PWWS": "words become synonyms",
    "DeepWordBug": "words get a letter changed",
}
