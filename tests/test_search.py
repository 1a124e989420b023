"""Search, goals, constraints and proposals of word attacks."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from conftest import make_classifier

import advlib
from advlib.attacks import (
    EmbeddingNeighbours,
    HotFlip,
    MaskedLanguageModel,
    RandomTypos,
    Typos,
    WordSubstitution,
)
from advlib.attacks.search import TIE, Query, State, best, lockstep
from advlib.attacks.words import (
    KeepWords,
    LabelRule,
    Similarity,
    Untargeted,
    WordResult,
    best_others,
    gradients,
    slips,
    whole_words,
    word_tokens,
)
from advlib.corpora import replace, words, world
from advlib.models import Classifier


@pytest.fixture(scope="module")
def victim():
    return advlib.load_classifier("reviews-clean", device="cpu")


def test_success_is_no_tie_with_failure():
    pairs = [(-TIE / 2, {}), (TIE / 3, {0: "a"}), (TIE / 2, {0: "b"})]
    assert best(pairs, 1) == [pairs[1]]


@pytest.fixture(scope="module")
def sample():
    reviews = world().sample(24, "test", seed=5)
    return [r.text for r in reviews], [r.label for r in reviews]


ATTACKS = [
    WordSubstitution(),
    WordSubstitution(beam=3),
    WordSubstitution(rank="delete", max_changed=0.3),
    WordSubstitution(rank="gradient"),
    WordSubstitution(max_queries=12),
    Typos(constraints=(KeepWords(),), max_changed=0.2),
    EmbeddingNeighbours(constraints=(LabelRule(),), max_changed=0.2),
    MaskedLanguageModel(k=3, max_changed=0.2, constraints=(LabelRule(),)),
    HotFlip(max_changed=0.2),
    HotFlip(max_queries=1),
    HotFlip(rank="unknown", max_queries=9, max_changed=0.2),
    WordSubstitution(rank="gradient", max_queries=1),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_what_holds_for_every_attack(attack, victim, sample):
    texts, labels = sample
    results = attack(victim, texts, labels)
    clean = victim.predict(texts).argmax(1)
    after = victim.predict([r.text for r in results]).argmax(1)
    for r, text, label, was, now in zip(results, texts, labels, clean, after, strict=True):
        assert (r.original, r.label) == (text, label)
        assert len(r.changed) <= attack.max_changed * len(words(text))
        assert r.queries <= (attack.max_queries or np.inf)
        old, new = words(text), words(r.text)
        if len(old) == len(new):
            assert r.changed == tuple(i for i in range(len(old)) if old[i] != new[i])
        assert r.success == (was == label != now) and r.wrong_before == (was != label)
        for constraint in attack.constraints:
            assert not any(k for i, k in enumerate(constraint.keeps(old)) if i in r.changed)
            assert r.text == text or constraint.allows(victim, [(text, r.text)]) == [True]
    # An attack may return its input, so it never helps.
    assert (after == labels).mean() <= (clean == labels).mean()


@pytest.mark.parametrize("attack", ATTACKS, ids=repr)
def test_order_company_and_batch_do_not_matter(attack, victim, sample):
    texts, labels = sample[0][:10], sample[1][:10]
    together = attack(victim, texts, labels)
    back = attack(victim, texts[::-1], labels[::-1])
    alone = [attack(victim, [t], [y])[0] for t, y in zip(texts[:4], labels[:4], strict=True)]
    assert back[::-1] == together and alone == together[:4]


def test_a_beam_is_at_least_as_strong_here_and_asks_more(victim, sample):
    greedy, beam = (WordSubstitution(beam=b)(victim, *sample) for b in (1, 4))
    assert sum(r.success for r in beam) >= sum(r.success for r in greedy)
    assert sum(r.queries for r in beam) > sum(r.queries for r in greedy)


def test_no_texts_no_results_and_lengths_must_agree(victim):
    assert WordSubstitution()(victim, [], []) == []
    with pytest.raises(ValueError, match="one per text"):
        WordSubstitution()(victim, ["a", "b"], [0])


@pytest.mark.parametrize(
    "settings",
    [{"beam": 0}, {"rank": "luck"}, {"max_queries": 0}, {"max_changed": 0}],
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError):
        Typos(**settings)
    with pytest.raises(ValueError, match="kinds"):
        Typos(kinds=("slip",))


def test_the_repr_is_the_threat_model():
    assert repr(WordSubstitution()) == "WordSubstitution(world='reviews', max_changed=1.0)"
    shown = repr(HotFlip(k=3, beam=2, constraints=(LabelRule(),)))
    assert shown.startswith("HotFlip(k=3, max_changed=1.0, ")
    assert "beam=2" in shown and "LabelRule(world='reviews')" in shown


# ---------------------------------------------------------------------- lockstep


class Counting:
    """A victim whose score of a text is its length, and who counts what it is asked."""

    def __init__(self):
        self.asked = []

    def logits(self, texts, batch_size=None):
        self.asked += texts
        return np.array([[float(len(t)), 5.0] for t in texts])


def test_texts_are_asked_once_budgets_hold_and_forbidden_ones_are_free():
    seen = {}

    def search(name, texts):
        seen[name] = yield Query(texts)

    class NoX(KeepWords):
        def allows(self, victim, pairs):
            return ["x" not in b for _, b in pairs]

    states = [State("", 1, -1.0), State("", 1, -1.0, left=1), State("", 1, -1.0)]
    victim = Counting()
    lockstep(victim, Untargeted(), states,
             [search("a", ["aa", "x", "bbb"]), search("b", ["bbb", "aa"]), search("c", [])],
             [NoX()])  # fmt: skip
    assert victim.asked == ["aa", "bbb"]
    assert seen["a"].tolist() == [-3, -np.inf, -2]
    assert seen["b"].tolist() == [-2, -np.inf]
    assert [s.queries for s in states] == [3, 2, 1] and states[1].left == 0


def test_of_equal_scores_the_first_is_taken():
    pairs = [(1.0, {0: "a"}), (1.0 + TIE / 2, {1: "b"}), (0.5, {2: "c"})]
    assert [next(iter(c)) for _, c in best(pairs, 3)] == [0, 1, 2]
    assert best([(1.0, {0: "a"}), (1.0 + 2 * TIE, {1: "b"})], 1)[0][1] == {1: "b"}


# ---------------------------------------------------------------------- constraints


def test_the_label_rule_refuses_what_it_cannot_read(victim):
    rule = LabelRule()
    a = "The soup was delicious."
    pairs = [(a, f"The soup was {word}.") for word in ("tasty", "bland", "soup")]
    allowed = rule.allows(victim, [*pairs, ("No idea.", "No idea.")])
    assert allowed == [True, False, False, False]


def test_similarity_compares_with_the_original(victim):
    vectors = {"a": [1, 0], "b": [1, 0.1], "c": [0, 1]}
    limit = Similarity(lambda texts: [vectors[t] for t in texts], least=0.9)
    assert limit.allows(victim, [("a", "b"), ("a", "c"), ("c", "c")]) == [True, False, True]


# ---------------------------------------------------------------------- proposals


@pytest.mark.parametrize("kind", ["swap", "drop", "insert", "key", "look-alike"])
def test_a_slip_keeps_both_ends_and_is_one_edit(kind):
    made = slips("waiter", kind)
    assert made
    for word in made:
        assert word[0] == "w" and word[-1] == "r" and word != "waiter"
        assert len(word) - 6 == {"drop": -1, "insert": 1}.get(kind, 0)
    assert len(slips("waiter", "swap")) == 3 and len(slips("waiter", "drop")) == 4


def test_short_words_and_numbers_are_left_alone():
    assert Typos().options("bad") == () and Typos().options("2024") == ()
    assert 0 < len(Typos(kinds=("key",), per_kind=2).options("waiter")) <= 2


def test_random_typos_ask_for_few_texts_and_keep_the_harshest(victim, monkeypatch):
    """Each text of each query is the original with slips of the allowed kinds in allowed words."""
    text, label = "The waiter was friendly, and the soup was delicious.", 1
    asked = []
    logits = Classifier.logits
    monkeypatch.setattr(Classifier, "logits", lambda self, texts, *rest: (
        asked.append(list(texts)), logits(self, texts, *rest))[1])  # fmt: skip
    attack = RandomTypos(tries=6, kinds=("swap", "drop"), max_changed=0.5,
                         constraints=(KeepWords(),))  # fmt: skip
    (found,) = attack(victim, [text], [label])
    assert found.queries == 7 and [*map(len, asked)] == [1, len({*asked[1]})]
    old = words(text)
    for made in asked[1]:
        changed = [(v, w) for v, w in zip(old, words(made), strict=True) if v != w]
        assert 1 <= len(changed) <= len(old) // 2
        for before, after in changed:
            assert after in slips(before, "swap") + slips(before, "drop")
            assert before in ("waiter", "friendly", "soup", "delicious")
    scores = Untargeted().score(logits(victim, asked[1]), np.array([label] * len(asked[1])))
    assert found.text == asked[1][int(scores.argmax())]
    assert found.success == (scores.max() >= 0)


def test_random_typos_are_the_same_for_the_same_model_and_new_for_another(victim):
    texts = ["The waiter was friendly and the soup was delicious."] * 2
    attack = RandomTypos(max_changed=0.5)
    one, two = attack(victim, texts, [1, 1])
    assert one == two == attack(victim, texts[:1], [1])[0]
    other = Classifier(deepcopy(victim.model), victim.tokenizer)
    with torch.no_grad():
        other.model.classifier.bias[1] += 0.1
    assert attack(other, texts[:1], [1])[0].text != one.text


def test_random_typos_by_gradient_prefer_the_words_that_matter(victim):
    """Over many draws (as many tries as texts asked about), the word with the largest gradient
    is changed more often than the one with the smallest."""
    text = "The waiter was friendly, and Saturday evening came with delicious soup."
    counts = {}

    class Counted(RandomTypos):
        def scored(self, victim, state, most):
            search = super().scored(victim, state, most)
            query = next(search)
            for made in query.texts:
                for v, w in zip(words(text), words(made), strict=True):
                    counts[v] = counts.get(v, 0) + (v != w)
            sizes = {i: float(s.grad.norm()) for i, s in enumerate(state.slopes)}
            self.sizes.update({words(text)[i]: size for i, size in sizes.items()})
            return
            yield

    Counted.sizes = {}
    Counted(rank="gradient", tries=200, max_changed=0.2)(victim, [text], [1])
    free = [w for w in counts if counts[w]]
    most, least = (pick(free, key=Counted.sizes.get) for pick in (max, min))
    assert counts[most] > counts[least]


def test_random_typos_leave_alone_what_has_no_word_to_slip_in(victim):
    (found,) = RandomTypos()(victim, ["It is bad."], [0])
    assert found.text == "It is bad." and not found.success
    with pytest.raises(ValueError, match="tries must be a whole number of at least 1"):
        RandomTypos(tries=0)


def test_whole_words_come_back_as_one_token(victim):
    ids, names = whole_words(victim)
    assert len(ids) > 500 and "[CLS]" not in names
    for i, name in list(zip(ids.tolist(), names, strict=True))[::50]:
        assert victim.tokenizer(f"the {name}", add_special_tokens=False)["input_ids"][1:] == [i]


def test_words_and_their_tokens_are_aligned(victim):
    text = "Delectablish soup, waiter!"
    spans = word_tokens(victim, text)
    tokens = victim.tokenizer.convert_ids_to_tokens(victim.tokenizer(text)["input_ids"])
    joined = ["".join(tokens[a:b]).replace("##", "") for a, b in spans]
    assert joined == ["delectablish", "soup", "waiter"]
    long = " ".join(["soup"] * 300)
    assert word_tokens(victim, long)[-1] == (0, 0), "cut off: no tokens"


def test_hotflip_s_estimate_is_the_slope_of_the_score(victim):
    """(e_v − e_w)·g against the score a hundredth of the way from w to v, in double precision."""
    from copy import deepcopy

    from advlib.attacks.embedding import wrong_margin
    from advlib.embeddings import perturbed_logits, zero_delta

    double = advlib.models.Classifier(deepcopy(victim.model).double(), victim.tokenizer)
    text, label = "The waiter was friendly, and the soup was good.", 1
    slopes = gradients(double, [text], [label])[0]
    table = double.model.get_input_embeddings().weight.detach()
    batch = double.encode([text], [label])
    for word in (3, 8):
        slope, (first, _) = slopes[word], word_tokens(double, text)[word]
        for v in (700, 900):
            step = table[v] - table[slope.ids[0]]
            delta = zero_delta(double.model, batch)
            delta[0, first] = 1e-4 * step
            with torch.no_grad():
                up = wrong_margin(perturbed_logits(double.model, batch, delta), batch["labels"])
                down = wrong_margin(perturbed_logits(double.model, batch, -delta), batch["labels"])
            assert float((up - down) / 2e-4) == pytest.approx(float(step @ slope.grad[0]), rel=1e-3)


def test_neighbours_are_the_nearest_by_cosine(victim):
    (options,) = EmbeddingNeighbours(k=3).propose(victim, ["Delicious soup zzzqqq"], [1])
    table = victim.model.get_input_embeddings().weight.detach()
    ids, names = whole_words(victim)
    own = table[victim.tokenizer.convert_tokens_to_ids("delicious")]
    cosine = torch.cosine_similarity(table[ids], own[None], dim=1)
    best = [names[j] for j in cosine.argsort(descending=True)[1:4]]
    assert options[0] == tuple(w.capitalize() for w in best)
    assert options[2] == (), "a word that is no token has no neighbours"


@pytest.mark.parametrize(
    "attack, gradients",
    [(HotFlip(k=2), 1), (HotFlip(k=2, rank="unknown"), 1), (HotFlip(k=2, rank="delete"), 1),
     (WordSubstitution(rank="gradient"), 1), (WordSubstitution(), 0)],
    ids=repr,
)  # fmt: skip
def test_queries_are_the_texts_that_the_model_was_given(
    attack, gradients, victim, sample, monkeypatch
):
    seen = {"texts": 0, "gradients": 0}
    plain, sloped = advlib.models.Classifier.logits, advlib.attacks.words.gradients

    def logits(self, texts, batch_size=None):
        seen["texts"] += len(texts)
        return plain(self, texts, batch_size)

    def counted(victim, texts, labels):
        seen["gradients"] += len(texts)
        return sloped(victim, texts, labels)

    monkeypatch.setattr(advlib.models.Classifier, "logits", logits)
    monkeypatch.setattr(advlib.attacks.words, "gradients", counted)
    for text, label in zip(*sample, strict=True):  # alone, for texts that are shared cost no pass
        seen.update(texts=0, gradients=0)
        (result,) = attack(victim, [text], [label])
        assert seen["gradients"] == gradients * (not result.wrong_before)
        assert result.queries >= seen["texts"] + seen["gradients"], "a text asked twice counts"
        assert result.queries - seen["texts"] - seen["gradients"] <= 2, "and is rare"


@pytest.mark.parametrize("share, most", [(0.29, 29), (0.57, 57), (0.3, 30), (0.999, 99)])
def test_a_share_of_words_is_not_lost_to_rounding(victim, share, most):
    state = State(" ".join(["good"] * 100), 1, -200.0, options=[("fine",)] * 100)
    search = WordSubstitution(max_changed=share).search(victim, state)
    query, better = next(search), -200.0
    while query:
        better += 1  # every change helps
        try:
            query = search.send(np.full(len(query.texts), better))
        except StopIteration:
            query = None
    assert len(state.changes) == most


def test_typographic_apostrophes_keep_words_whole():
    text = "it didn’t work, it wasn't good"
    assert words(text) == ["it", "didn’t", "work", "it", "wasn't", "good"]
    assert KeepWords().keeps(words(text)) == [True, True, False, True, True, False]


def test_the_same_word_in_capitals_is_no_other_word():
    names = ["Good", "good", "fine", "GOOD", "Fine", "bad"]
    scores = torch.tensor([6.0, 5, 4, 3, 2, -torch.inf])
    assert best_others(scores, names, "good", 3) == ("fine",)
    assert best_others(scores, names, "Good", 3) == ("Fine",)
    assert best_others(torch.arange(6.0), names, "nice", 2) == ("bad", "Fine")


def test_a_language_model_that_reads_less_than_the_text_leaves_the_rest(victim):
    text = "The waiter was friendly, and the bill was high. " * 20
    (options,) = MaskedLanguageModel(k=3).propose(victim, [text], [1])
    read = [bool(o) for o in options]
    assert read[0] and not read[-1] and read == sorted(read, reverse=True)


def test_words_of_several_pieces_are_masked_as_a_whole(victim):
    reader = advlib.models.load_language_model("bert-tiny")
    texts = ["The zzqq was friendly.", "Our flumph and our grob were rather good, really.", "Ok."]
    together = MaskedLanguageModel(k=3).propose(victim, texts, [1, 1, 1])
    assert together == [MaskedLanguageModel(k=3).propose(victim, [t], [1])[0] for t in texts]
    row = reader.encode(["The [MASK] was friendly."])
    pieces = len(reader.tokenizer("zzqq", add_special_tokens=False)["input_ids"])
    assert pieces > 1
    ids = row["input_ids"][0].tolist()
    ids[2:3] = [reader.tokenizer.mask_token_id] * pieces
    with torch.no_grad():
        scores = reader.model(input_ids=torch.tensor([ids])).logits[0, 2]
    ids, names = whole_words(reader)
    assert together[0][1] == best_others(scores[ids], names, "zzqq", 3)


def test_a_language_model_without_a_head_is_refused():
    with pytest.raises(advlib.models.ModelError, match="cannot guess masked words"):
        advlib.models.load_language_model("reviews-clean")


def test_the_language_model_expects_plausible_words(victim):
    text = "The waiter was friendly."
    (options,) = MaskedLanguageModel(k=6).propose(victim, [text], [1])
    assert len(options) == 4 and all("friendly" not in o for o in options)
    assert {"helpful", "kind", "polite", "rude", "unfriendly"} & set(options[3])


def test_a_diff_shows_insertions_and_escapes_them():
    result = WordResult("good soup", "<i> good soup", 1, (), True, False, 2)
    assert "<i>" not in result.show(as_html=True) and "&lt;" in result.show(as_html=True)


def test_replacing_back_restores_the_text(victim, sample):
    for r in WordSubstitution()(victim, *sample):
        back = dict(zip(r.changed, (words(r.original)[i] for i in r.changed), strict=True))
        assert replace(r.text, back) == r.original


# ---------------------------------------------------------------------- what would pass in silence


def test_a_sentence_encoder_is_never_asked_about_nothing(victim, sample):
    """Ranking has no candidates: a constraint has nothing to judge there."""
    asked = []

    def encode(texts):
        asked.append(len(texts))
        return np.array([[1.0, len(text)] for text in texts])

    WordSubstitution(constraints=(Similarity(encode, 0.0),))(victim, *sample)
    assert asked and min(asked) > 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LabelRule("mars"), "mars"),
        (lambda: HotFlip(k=0), "k must be"),
        (lambda: EmbeddingNeighbours(k=-3), "k must be"),
        (lambda: MaskedLanguageModel(k=0), "k must be"),
        (lambda: WordSubstitution(beam=1.5), "beam"),
        (lambda: WordSubstitution(goal="untargeted"), "goal"),
        (lambda: WordSubstitution(constraints=KeepWords()), "tuple"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("label", [-1, -100, 2, 0.7])
def test_a_label_that_is_no_class_is_refused(victim, label):
    with pytest.raises(ValueError, match="class"):
        WordSubstitution()(victim, ["The soup was tasty."], [label])


def test_far_is_a_negation():
    assert KeepWords().keeps(["far", "Seldom", "soup"]) == [True, True, False]


def test_left_padding_moves_no_gradient():
    from advlib.models import Classifier

    made = make_classifier("llama", classes=2, seed=1)
    made.tokenizer.padding_side = "left"
    found = Classifier(made.model, made.tokenizer)
    texts = ["good film", "the film was very good but the ending felt slow"]
    beside, alone = gradients(found, texts, [0, 1])[0], gradients(found, texts[:1], [0])[0]
    for one, other in zip(beside, alone, strict=True):
        assert one.ids.tolist() == other.ids.tolist() != [0]
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_a_tokenizer_that_learned_a_word_knows_it():
    found = make_classifier("bert")
    assert "seaworthy" not in whole_words(found)[1]
    found.tokenizer.add_tokens(["seaworthy"])
    assert "seaworthy" in whole_words(found)[1]
