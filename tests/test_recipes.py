"""The word attacks by name: what they need, propose and rank, against brute force."""

import gzip

import numpy as np
import pytest
import torch
from conftest import WORDS, make_classifier

import advlib
from advlib.app.recipes import (
    A2T,
    PWWS,
    DeepWordBug,
    EditDistance,
    TextFooler,
    edits,
    for_text,
    synonyms,
    word_vectors,
)
from advlib.attacks import (
    EmbeddingNeighbours,
    HotFlip,
    MaskedLanguageModel,
    Typos,
    WordAttack,
    WordSubstitution,
)
from advlib.attacks.words import (
    KeepWords,
    LabelRule,
    gradients,
)
from advlib.corpora import replace, words
from advlib.evaluation import attack_all, robustness, summarise

GROUPS = "good, great, fine  # praise\nbad, awful\n\nfilm plot\nvery quite rather\nwas felt seemed"
TEXT = "the film was very good but a slow ending felt bad"


@pytest.fixture(scope="module")
def two():
    """A random classifier of two classes, for which probabilities and scores say the same."""
    return make_classifier("bert", classes=2, seed=3)


@pytest.fixture(scope="module")
def reviews():
    return advlib.load_classifier("reviews-clean", device="cpu")


@pytest.fixture
def thesaurus(tmp_path):
    file = tmp_path / "groups.txt"
    file.write_text(GROUPS)
    return str(file)


@pytest.fixture
def vectors(tmp_path):
    """Eight numbers for each word of the tiny vocabulary, and its table."""
    table = np.random.default_rng(0).normal(size=(len(WORDS), 8)).round(3)
    lines = [f"{w} {' '.join(map(str, row))}" for w, row in zip(WORDS, table, strict=True)]
    file = tmp_path / "vectors.txt"
    file.write_text("\n".join(lines) + "\n")
    return str(file), table / np.linalg.norm(table, axis=1, keepdims=True)


def truth(victim, text=TEXT):
    """What the model says: then the attack has something to do."""
    return int(victim.predict([text])[0].argmax())


# ---------------------------------------------------------------------- what is missing


@pytest.mark.parametrize(
    "make, message",
    [
        (TextFooler, "TextFooler needs word vectors: vectors=FILE.*counter-fit.*'model'"),
        (A2T, "A2T needs word vectors: vectors=FILE"),
        (lambda: TextFooler(vectors="none.txt"), "TextFooler finds no word vectors.*none.txt"),
        (PWWS, "PWWS needs synonyms: thesaurus=FILE with one group"),
        (lambda: DeepWordBug(kinds=("slip",)), "kinds must be some of"),
        (lambda: DeepWordBug(kinds=()), "kinds must be some of"),
        (lambda: TextFooler(vectors="model", k=0), "k must be"),
    ],
)
def test_what_is_missing_is_said_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message) as found:
        make()
    assert "\n" not in str(found.value)


def test_a_language_model_that_is_not_there_is_said_when_it_is_needed(two):
    with pytest.raises(ValueError, match="no model folder nowhere"):
        MaskedLanguageModel(language_model="./nowhere")(two, [TEXT], [truth(two)])


# ---------------------------------------------------------------------- word vectors


def test_word_vectors_are_read_and_have_length_one(tmp_path):
    lines = ["5 3", "Good 3 0 4", "bad 0 -2 0", "", "don't 1 1 1", "... 1 2 3", "nil 0 0 0",
             "bad 9 9 9"]  # fmt: skip
    for name in ("a.txt", "a.txt.gz"):
        opened = gzip.open if name.endswith("gz") else open
        with opened(tmp_path / name, "wt") as file:
            file.write("\n".join(lines))
        rows, names = word_vectors(tmp_path / name)
        assert names == ["Good", "bad", "don't"], "one word of a text each, the first of two"
        assert rows.dtype == torch.float32
        assert rows.tolist()[:2] == [pytest.approx([0.6, 0, 0.8]), [0, -1, 0]]
        assert rows.norm(dim=1).tolist() == pytest.approx([1, 1, 1])


@pytest.mark.parametrize(
    "content, message",
    [
        (b"good 1 2\nbad 1 x\n", "line 2 of .*bad.txt is no word vector"),
        (b"good 1 2\nbad 1\n", "line 2 of"),
        (b"good 1 2\nbad 1 nan\n", "line 2 of .*finite"),
        (b"", "holds no word vectors"),
        (b"good\nbad\n", "holds no word vectors"),
        (b"g\xfcte 1 2\n", "no plain or gzipped text in UTF-8"),
    ],
)
def test_bad_word_vectors_are_refused_with_their_line(tmp_path, content, message):
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        word_vectors(tmp_path / "bad.txt")


def test_a_file_that_was_changed_is_read_again(tmp_path):
    import os

    file = tmp_path / "v.txt"
    file.write_text("good 1 0\n")
    assert word_vectors(file)[1] == ["good"]
    file.write_text("fine 1 0\n")
    os.utime(file, (1, 1))
    assert word_vectors(file)[1] == ["fine"]


@pytest.mark.parametrize("kind, k, least", [(TextFooler, 30, 0.3), (A2T, 2, -1.0)])
def test_neighbours_are_the_nearest_of_the_file(two, vectors, kind, k, least):
    file, unit = vectors
    (options,) = kind(vectors=file, k=k, least=least).propose(two, ["Good film zzz"], [0])
    for found, word in zip(options, ("good", "film"), strict=False):
        cosine = unit @ unit[WORDS.index(word)]
        near = [j for j in np.argsort(-cosine) if WORDS[j] != word and cosine[j] >= least][:k]
        assert [w.lower() for w in found] == [WORDS[j] for j in near]
        assert 0 < len(found) < k or kind is A2T, "here the cosine is what ends the list"
    assert all(w[0].isupper() for w in options[0]) and options[0] and options[2] == ()


def test_the_model_s_own_table_is_one_of_the_choices(reviews):
    text = ["Delicious soup, but a slow waiter."]
    own = TextFooler(vectors="model", k=6, least=0.1).propose(reviews, text, [1])
    assert own == EmbeddingNeighbours(k=6, least=0.1).propose(reviews, text, [1])
    assert any(own[0])


def test_the_numbers_are_the_papers(vectors):
    fooler, a2t = TextFooler(vectors=vectors[0]), A2T(vectors=vectors[0])
    assert (fooler.k, fooler.least, fooler.rank, fooler.max_changed) == (50, 0.7, "delete", 1.0)
    assert (a2t.k, a2t.least, a2t.rank, a2t.max_changed) == (20, 0.8, "gradient-l1", 0.1)
    assert [a2t.most(n) for n in (3, 4, 20, 40, 41, 55)] == [3, 4, 4, 4, 4, 5]
    assert (DeepWordBug().rank, DeepWordBug().constraints) == ("combined", (EditDistance(30),))
    for attack in (fooler, a2t):
        assert attack.constraints == (KeepWords(),)


def test_the_repr_holds_no_folder(vectors, thesaurus):
    assert repr(A2T(vectors=vectors[0])) == (
        "A2T(k=20, least=0.8, vectors='vectors.txt', at_least=4, max_changed=0.1, "
        "rank='gradient-l1', constraints=(KeepWords(),))"
    )
    assert repr(PWWS(thesaurus=thesaurus)).startswith("PWWS(thesaurus='groups.txt', ")
    assert "language_model='own/er'" in repr(MaskedLanguageModel(language_model="own/er"))


# ---------------------------------------------------------------------- ranking


def test_a2t_ranks_by_the_l1_norm_of_the_gradient_on_the_words(reviews):
    """The gradient of the loss at the embeddings, taken here without the library's own."""
    text = "The soup was delectablish, and the waiter was friendly."
    label = truth(reviews, text)
    batch = reviews.encode([text], [label])
    embeds = reviews.model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    loss = reviews.model(inputs_embeds=embeds, attention_mask=batch["attention_mask"],
                         labels=batch["labels"]).loss  # fmt: skip
    (grad,) = torch.autograd.grad(loss, embeds)
    tokens = reviews.tokenizer.convert_ids_to_tokens(batch["input_ids"][0])
    pieces, sizes = [], []
    for token, row in zip(tokens, grad[0], strict=True):
        if token.startswith("##"):
            pieces[-1].append(row)
        elif token[0].isalpha():
            pieces.append([row])
    sizes = [float(torch.stack(rows).mean(0).abs().sum()) for rows in pieces]
    assert len(sizes) == len(words(text)) and max(map(len, pieces)) > 1
    asked = order_of_words(A2T(vectors="model", least=-1.0, k=1, constraints=(), at_least=99),
                           reviews, text, label)  # fmt: skip
    with_options = [i for i in np.argsort(sizes)[::-1] if i in asked]
    assert asked == with_options[: len(asked)] and len(asked) > 2


def order_of_words(attack, victim, text, label):
    """In which order the search of the attack tries the words: nothing ever helps, so each place is
    asked about once, with the others as they were."""
    from advlib.attacks.search import State

    state = State(text, label, -5.0)
    attack.prepare(victim, [state])
    search, order = attack.search(victim, state), []
    query = next(search, None)
    while query is not None:
        if query.candidates:
            new = words(query.texts[0])
            order += [i for i, (a, b) in enumerate(zip(words(text), new, strict=True)) if a != b]
        try:
            query = search.send(np.full(len(query.texts), -5.0))
        except StopIteration:
            query = None
    return order


def test_pwws_is_the_paper_s_formula(two, thesaurus):
    """Equations 3 to 8 and algorithm 1 with the model's probabilities, one text at a time."""

    def p(text):
        return float(two.predict([text])[0][label])

    known = {w: g for g in (["good", "great", "fine"], ["bad", "awful"], ["film", "plot"],
                            ["very", "quite", "rather"], ["was", "felt", "seemed"]) for w in g}
    compared = 0
    for text in (TEXT, "it was not a bad plot", "they felt the acting was very dull and awful",
                 "good film", "a fine film felt rather good and was great"):  # fmt: skip
        label = truth(two, text)
        old = words(text)
        saliency, fall, best = {}, {}, {}
        for i, word in enumerate(old):
            if word not in known:
                continue
            saliency[i] = p(text) - p(replace(text, {i: "[UNK]"}))
            tried = {v: p(text) - p(replace(text, {i: v})) for v in known[word] if v != word}
            best[i] = max(tried, key=tried.get)
            fall[i] = tried[best[i]]
        total = sum(np.exp(list(saliency.values())))
        weight = {i: np.exp(saliency[i]) / total * fall[i] for i in saliency}
        found = options_and_weights(two, text, label, thesaurus)
        assert {i: word for i, (_, word) in found.items()} == best
        assert {i: w for i, (w, _) in found.items()} == pytest.approx(weight, abs=1e-6, rel=1e-3)
        changes, steps = {}, 0
        for i in sorted(weight, key=weight.get, reverse=True):
            changes[i] = best[i]
            steps += 1
            if p(replace(text, changes)) < 0.5:
                break
        (result,) = PWWS(thesaurus=thesaurus)(two, [text], [label])
        assert result.text == replace(text, changes) and result.changed == tuple(sorted(changes))
        assert result.success == (p(result.text) < 0.5)
        options = sum(len(known[w]) - 1 for w in old if w in known)
        assert result.queries == 1 + len(weight) + options + steps
        compared += len(changes) > 1
    assert compared > 1


def options_and_weights(victim, text, label, thesaurus):
    """What `salient_options` makes of the text, asked by hand."""
    from advlib.app.recipes import salient_options
    from advlib.attacks.search import State, Untargeted

    def score(texts):
        return Untargeted().score(victim.logits(texts), np.full(len(texts), label))

    state = State(text, label, float(score([text])[0]))
    state.options = PWWS(thesaurus=thesaurus).propose(victim, [text], [label])[0]
    ranking = salient_options(state, [i for i, o in enumerate(state.options) if o], "[UNK]")
    query = next(ranking)
    while True:
        try:
            query = ranking.send(score(query.texts))
        except StopIteration as end:
            return end.value


def test_saliency_ranks_the_greedy_search_too(two, thesaurus):
    """The same order as PWWS, in which the other synonyms are looked at again."""

    class Greedy(PWWS):
        scored = WordAttack.scored

    label = truth(two)
    pwws = PWWS(thesaurus=thesaurus)(two, [TEXT], [label])[0]
    again = order_of_words(Greedy(thesaurus=thesaurus), two, TEXT, label)
    assert pwws.changed and set(pwws.changed) <= set(again)


def test_deepwordbug_s_score_is_head_and_tail(two):
    label = truth(two)

    def p(text):
        return float(two.predict([text])[0][label]) if text else 0.5

    old = words(TEXT)
    head = [p(" ".join(old[:i])) for i in range(len(old) + 1)]
    tail = [p(" ".join(old[i:])) for i in range(len(old) + 1)]
    score = [head[i + 1] - head[i] + tail[i] - tail[i + 1] for i in range(len(old))]
    from advlib.app.recipes import heads_and_tails
    from advlib.attacks.search import State
    from advlib.attacks.search import Untargeted as Goal

    def logits(texts):
        return Goal().score(two.logits(texts), np.full(len(texts), label))

    state = State(TEXT, label, float(logits([TEXT])[0]), options=[()] * len(old))
    ranking = heads_and_tails(state, [1, 3, 4, 9])
    query = next(ranking)
    assert not query.candidates and len(query.texts) == 2 * (len(old) - 1)
    with pytest.raises(StopIteration) as end:
        ranking.send(logits(query.texts))
    assert end.value.value == pytest.approx({i: score[i] for i in (1, 3, 4, 9)}, abs=1e-5)


def test_a_language_model_masks_and_textfooler_leaves_out(reviews, monkeypatch):
    text = "The soup was tasty, and the waiter was friendly."
    seen = []
    bare = type(reviews).logits
    monkeypatch.setattr(type(reviews), "logits",
                        lambda self, texts, *a: seen.extend(texts) or bare(self, texts, *a))
    label = truth(reviews, text)
    MaskedLanguageModel(rank="mask")(reviews, [text], [label])
    assert "The soup was [MASK], and the waiter was friendly." in seen
    seen.clear()
    TextFooler(vectors="model", least=0.0)(reviews, [text], [label])
    assert "The soup was , and the waiter was friendly." in seen


# ---------------------------------------------------------------------- thesaurus


def test_a_thesaurus_has_one_group_a_line(tmp_path, thesaurus):
    known = synonyms(thesaurus)
    assert known("good") == ("great", "fine") and known("great") == ("good", "fine")
    assert known("film") == ("plot",) and known("plot") == ("film",) and known("praise") == ()
    more = tmp_path / "more.txt.gz"
    with gzip.open(more, "wt") as file:
        file.write("film, motion picture\nFilm, movie, FILM, movie\n")
    assert synonyms(more)("film") == ("motion picture", "movie")
    (tmp_path / "alone.txt").write_text("good\n# bad, awful\n")
    with pytest.raises(ValueError, match="holds no synonyms"):
        PWWS(thesaurus=str(tmp_path / "alone.txt"))


def test_pwws_keeps_capitals_and_takes_several_words(two, tmp_path):
    (tmp_path / "t.txt").write_text("film, motion picture\n")
    (options,) = PWWS(thesaurus=str(tmp_path / "t.txt")).propose(two, ["Film film"], [0])
    assert options == [("Motion picture",), ("motion picture",)]
    results = PWWS(thesaurus=str(tmp_path / "t.txt"))(two, ["the film was good"], [0])
    assert results[0].text in ("the film was good", "the motion picture was good")


# ---------------------------------------------------------------------- letters


def test_deepwordbug_makes_one_edit_of_each_kind():
    for word in ("waiter", "good", "it", "Delicious", "aa"):
        made = DeepWordBug().options(word)
        assert made == DeepWordBug().options(word) and word not in made
        assert len(made) >= 2 and all(edits(word, w) <= 2 for w in made)
        for kind, longer, cost in (("swap", 0, 2), ("substitute", 0, 1), ("drop", -1, 1),
                                   ("insert", 1, 1)):  # fmt: skip
            for w in DeepWordBug(kinds=(kind,)).options(word):
                assert len(w) - len(word) == longer and 1 <= edits(word, w) <= cost
                assert kind != "swap" or sorted(w) == sorted(word)
    first = [w for w in ("waiter", "menu", "soup", "kitchen", "table", "price", "room", "staff")
             for v in DeepWordBug().options(w) if v[0] != w[0]]  # fmt: skip
    assert first, "any letter may change, the first one too"
    assert DeepWordBug().options("a") == DeepWordBug().options("2024") == ()


def test_edits_count_letters():
    pairs = {("", ""): 0, ("kitten", "sitting"): 3, ("ab", "ba"): 2, ("flaw", "lawn"): 2,
             ("", "abc"): 3, ("good", "good"): 0}  # fmt: skip
    for (a, b), distance in pairs.items():
        assert edits(a, b) == edits(b, a) == distance


def test_the_edit_distance_of_the_whole_text_is_limited(reviews):
    texts = [r.text for r in advlib.corpora.world().sample(4, "test", seed=2)]
    labels = reviews.predict(texts).argmax(1)
    limit = DeepWordBug(constraints=(EditDistance(2),))
    for r in limit(reviews, texts, labels):
        cost = sum(edits(a, b) for a, b in zip(words(r.original), words(r.text), strict=True))
        assert cost <= 2
    assert EditDistance(3).allows(None, [("a good film", "a gxod fxlx"), ("a b", "a bcdef"),
                                         ("one", "one two"), ("one", "one four")]) == [
        True, False, True, False]  # fmt: skip


# ---------------------------------------------------------------------- what holds for all


def recipes(vectors, thesaurus):
    return [
        TextFooler(vectors=vectors, least=0.0), A2T(vectors=vectors, least=0.0, k=4),
        MaskedLanguageModel(rank="mask"), PWWS(thesaurus=thesaurus), DeepWordBug(),
        PWWS(thesaurus=thesaurus, max_changed=0.1),
        DeepWordBug(max_queries=9), PWWS(thesaurus=thesaurus, max_queries=8),
        DeepWordBug(beam=2, constraints=()), DeepWordBug(rank="delete", max_queries=30),
        A2T(vectors=vectors, least=0.0, max_queries=1),
    ]  # fmt: skip


def test_what_holds_for_every_recipe(vectors, thesaurus, texts, monkeypatch):
    victim = make_classifier("bert", classes=2, seed=3)
    texts = [*texts, TEXT, "", "good"]
    labels = victim.predict(texts).argmax(1)
    seen = {"texts": 0, "gradients": 0}
    plain, sloped = advlib.models.Classifier.logits, gradients

    def logits(self, texts, batch_size=None):
        seen["texts"] += len(texts)
        return plain(self, texts, batch_size)

    def counted(victim, texts, labels):
        seen["gradients"] += len(texts)
        return sloped(victim, texts, labels)

    monkeypatch.setattr(advlib.models.Classifier, "logits", logits)
    monkeypatch.setattr(advlib.attacks.words, "gradients", counted)
    for attack in recipes(vectors[0], thesaurus):
        together = attack(victim, texts, labels)
        for text, label, result in zip(texts, labels, together, strict=True):
            seen.update(texts=0, gradients=0)
            (alone,) = attack(victim, [text], [int(label)])
            assert alone == result, (attack, text)
            asked = seen["texts"] + seen["gradients"]
            assert asked <= result.queries <= (attack.max_queries or np.inf), attack
            assert result.queries - asked <= 5, "a text asked twice counts, and is rare"
            assert len(result.changed) <= attack.most(len(words(text)))
            now = int(plain(victim, [result.text])[0].argmax())
            assert result.success == (now != label)


# ---------------------------------------------------------------------- is the meaning kept?


def test_the_row_says_where_nobody_knows_the_label(two, thesaurus):
    from datasets import Dataset

    data = Dataset.from_dict({"text": [TEXT, "good film"], "label": [0, 1]})
    attacks = [PWWS(thesaurus=thesaurus), DeepWordBug(), HotFlip(k=1), EmbeddingNeighbours(k=1)]
    rows = robustness(two, data, attacks)
    rows = rows[rows.attack.isin([type(a).__name__ for a in attacks])]
    assert rows["threat model"].tolist() == [f"{a!r}, meaning unchecked" for a in attacks]
    for attack in (WordSubstitution(), Typos(max_changed=0.2, constraints=(KeepWords(),)),
                   HotFlip(k=1, constraints=(LabelRule(),)), advlib.attacks.FGM(0.1)):
        assert not getattr(attack, "meaning_unchecked", False)
        assert summarise(attack_all(two, data, None), attack)["threat model"] == repr(attack)


def test_the_attacks_for_real_text_need_nothing(two):
    neighbours, typos = for_text()
    assert isinstance(neighbours, EmbeddingNeighbours) and isinstance(typos, Typos)
    assert neighbours.meaning_unchecked and not typos.meaning_unchecked
    for attack in (neighbours, typos):
        assert attack.max_changed == 0.2 and attack.constraints == (KeepWords(),)
        assert len(attack(two, [TEXT], [truth(two)])) == 1
