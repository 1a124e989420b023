"""Threat models in words: every attack has a sentence, and no text gets out of a repr."""

import pytest

from advlib.app.in_words import UNCHECKED, in_words
from advlib.app.recipes import A2T, PWWS, DeepWordBug, TextFooler
from advlib.attacks import (
    FGM,
    FGSM,
    PGD,
    Divergence,
    EmbeddingNeighbours,
    HotFlip,
    MaskedLanguageModel,
    Noise,
    Typos,
    VirtualAdversarial,
    WordSubstitution,
)
from advlib.attacks.search import KeepWords, LabelRule

TEXT = "the embeddings of the whole text move by at most 0.3 of a mean token embedding"


@pytest.mark.parametrize(
    "attack,sentence",
    [
        (Noise(0.3, restarts=4), f"a random direction, the best of 4 tries; {TEXT}"),
        (FGM(0.3), f"one gradient step; {TEXT}"),
        (FGSM(0.3), "one step along the signs of the gradient; each coordinate of each embedding "
         "moves by at most 0.3 of a typical coordinate"),
        (PGD(0.3, steps=20, restarts=5), f"20 gradient steps, the best of 5 tries; {TEXT}"),
        (PGD(0.3, steps=1, scope="token", random_start=True, target=1, relative=False),
         "1 gradient step from a random start, towards class 1; the embedding of each token moves "
         "by at most 0.3 in the model's own units"),
        (Divergence(0.3, steps=2), f"2 steps away from the answer; {TEXT}"),
        (VirtualAdversarial(0.3), f"1 step away from the answer; {TEXT}"),
        (WordSubstitution(), "words become others that keep the label; any number of words"),
        (Typos(max_changed=0.2, constraints=(KeepWords(), LabelRule())),
         "words get a typing slip; at most 20% of the words; stop words and negations stay; 1 more "
         "constraint"),
        (EmbeddingNeighbours(k=5), "words become one of the 5 nearest in the embedding table; any "
         "number of words"),
        (MaskedLanguageModel(max_queries=9), "words become one of 8 that a language model puts in "
         "their place; any number of words; at most 9 queries a text"),
        (HotFlip(), "words become one of 8 that the gradient asks for; any number of words"),
        (TextFooler(vectors="model"), "words become one of the 50 nearest in word vectors, with a "
         "cosine of 0.7 or more; any number of words; stop words and negations stay"),
        (A2T(vectors="model", max_queries=9), "words become one of the 20 nearest in word vectors, "
         "with a cosine of 0.8 or more; at most 10% of the words, or 4; at most 9 queries a text; "
         "stop words and negations stay"),
        (DeepWordBug(), "words get a letter changed; any number of words; 1 more constraint"),
    ],
)  # fmt: skip
def test_every_attack_has_a_sentence(attack, sentence):
    assert in_words(repr(attack)) == sentence


def test_synonyms_and_an_unchecked_meaning_are_said(tmp_path):
    (tmp_path / "<b>.txt").write_text("film, movie")
    attack = PWWS(thesaurus=str(tmp_path / "<b>.txt"))
    assert "<b>" in repr(attack) and in_words(repr(attack)) == "words become synonyms; any number "\
        "of words"  # fmt: skip
    assert in_words(repr(attack) + UNCHECKED).endswith("; nobody checked that the meaning stays")
    assert in_words("none" + UNCHECKED) is None


@pytest.mark.parametrize("text", [
    "none", "any of these attacks", "", "TextFooler(k=50)", "PGD(0.3)", "PGD(eps='<b>', steps=1)",
    "PGD(eps=0.3, steps='<b>')", "Typos(max_changed='*', kinds=())", "PGD(eps=open('x'), steps=1)",
    "FGM(eps=0.3, target='<i>')", "(" * 9999, "PGD(eps=\0)", "a.b()", "HotFlip(k=5)",
    "Typos(max_changed=0.2, constraints=('',))", f"FGM(eps=1{'0' * 400})",
])  # fmt: skip
def test_what_is_not_known_has_none(text):
    assert in_words(text) is None
