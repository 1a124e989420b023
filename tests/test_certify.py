"""Certificates against brute force: over variants, over distributions, over known models."""

import math
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_tokenizer
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from torch import nn

import advlib
from advlib.attacks import Typos, WordAttack, WordSubstitution
from advlib.attacks.search import Constraint, KeepWords
from advlib.calibration import calibrate
from advlib.certify import (
    Canonical,
    Certificate,
    ExactWorst,
    Neighbours,
    OpinionsOnly,
    SmoothedEmbeddings,
    SmoothedWords,
    canonical,
    canonical_text,
    ceiling,
    certified,
    count_variants,
    exact_worst,
    lower_bound,
    options_of,
    sandwich,
    variants,
)
from advlib.corpora import WORLDS, words, world
from advlib.corpora import replace as change
from advlib.embeddings import mean_norm
from advlib.evaluation import NothingToTry
from advlib.models import Classifier, ModelError


class Rule:
    """A victim without a network: each word has a weight of its own, and so have pairs of words
    that follow each other. Counts what it is asked."""

    labels = ("negative", "positive")
    tokenizer = SimpleNamespace(mask_token="[MASK]", unk_token="[UNK]")
    classes = Classifier.classes

    def __init__(self, seed=0, lean=0.0):
        self.seed, self.lean, self.asked = seed, lean, 0

    def weight(self, part):
        return zlib.crc32(f"{self.seed}/{part}".encode()) / 2**31 - 1

    def margin(self, text):
        found = words(text)
        pairs = zip(found, found[1:], strict=False)
        return self.lean + sum(map(self.weight, found)) + sum(self.weight(p) for p in pairs)

    def logits(self, texts, batch_size=None):
        self.asked += len(texts)
        margins = np.array([self.margin(text) for text in texts], dtype=np.float32).reshape(-1)
        return np.stack([-margins, margins], axis=1)


# Sets that are no equivalence classes: of different sizes, and not even symmetric.
SETS = {"good": ("fine", "great"), "fine": ("good",), "great": ("good", "grand"),
        "bad": ("poor",), "grand": ("great", "huge", "vast"), "poor": ("bad", "weak"),
        "film": ("movie",)}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Listed(WordAttack):
    def propose(self, victim, texts, labels):
        return [[SETS.get(word, ()) for word in words(text)] for text in texts]


@dataclass(frozen=True)
class Without(Constraint):
    """No candidate may contain this word."""

    word: str

    def allows(self, victim, pairs):
        return [self.word not in words(new) for _, new in pairs]


SHORT = ["good film and bad plot", "great good fine", "poor grand film", "nothing here"]


def by_hand(text, most=math.inf, sets=SETS):
    """All variants of a text, by the book: every product, those with few enough changes kept."""
    old = text.split()
    for new in product(*[(word, *sets.get(word, ())) for word in old]):
        if sum(a != b for a, b in zip(old, new, strict=True)) <= most:
            yield " ".join(new)


# ---------------------------------------------------------------------- sets


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=5), st.none() | st.integers(0, 6))
def test_variants_are_all_there_once_and_counted_without_making_them(sizes, most):
    old = [f"w{i}" for i in range(len(sizes))]
    sets = {w: tuple(f"{w}x{k}" for k in range(n)) for w, n in zip(old, sizes, strict=True)}
    found = list(variants(" ".join(old), [sets[w] for w in old], most))
    assert found[0] == " ".join(old)
    assert Counter(found) == Counter(
        by_hand(" ".join(old), math.inf if most is None else most, sets)
    )
    assert count_variants([sets[w] for w in old], most) == len(found)


def test_many_variants_are_counted_at_once():
    assert count_variants([range(9)] * 60) == 10**60
    assert count_variants([range(9)] * 60, most=2) == 1 + 60 * 9 + 60 * 59 // 2 * 81


def test_variants_wants_options_for_each_word():
    with pytest.raises(ValueError, match="1 sets of options for 2 words"):
        list(variants("good film", [("fine",)]))


def test_opinions_only_keeps_all_other_words_and_says_so():
    attack = WordSubstitution(constraints=(OpinionsOnly(),))
    assert "OpinionsOnly(world='reviews')" in repr(attack)
    text = "The waiter was very friendly"
    (options,) = options_of(attack, None, [text], [1])
    (free,) = options_of(WordSubstitution(), None, [text], [1])
    assert [bool(o) for o in options] == [False, False, False, False, True]
    assert options[4] == free[4] and free[1] and free[3]
    with pytest.raises(ValueError, match="no world called 'mars'"):
        OpinionsOnly("mars")


def test_neighbours_stand_near_on_both_sides_of_the_circle():
    group = world().groups["general+"]
    (options,) = options_of(Neighbours(within=2), None, [group[0]], [1])
    assert set(options[0]) == {group[1], group[2], group[-1], group[-2]}
    (options,) = options_of(Neighbours(within=9), None, [group[0].capitalize()], [1])
    assert set(options[0]) == {w.capitalize() for w in group[1:]}
    near = [set(options_of(Neighbours(within=2), None, [w], [1])[0][0]) for w in group]
    assert all((a in near[j]) == (b in near[i])
               for i, a in enumerate(group) for j, b in enumerate(group))  # fmt: skip


# ---------------------------------------------------------------------- the truth


@pytest.mark.parametrize("most", [1.0, 0.4])
def test_the_exact_worst_case_is_that_of_all_products(most):
    rules = KeepWords(frozenset({"bad"})), Without("grand")
    attack = Listed(max_changed=most, constraints=rules)
    sets = {word: found for word, found in SETS.items() if word != "bad"}
    differ = 0
    for seed in range(30):
        victim = Rule(seed, lean=0.8)
        for text in SHORT:
            made = [t for t in by_hand(text, int(most * len(text.split()) + 1e-9), sets)
                    if t == text or "grand" not in t.split()]  # fmt: skip
            for y in (0, 1):
                (found,) = exact_worst(victim, [SHORT[0], text], [0, y], attack)[1:]
                margins = [victim.margin(t) * (2 * y - 1) for t in made]
                assert found.certified == (min(margins) > 0)
                assert found.right == (margins[0] > 0)
                assert found.samples == len(made) and math.isnan(found.radius)
                differ += found.right and not found.certified
    assert differ > 20  # or the test would only have seen clean accuracy


def test_no_attack_finds_more_than_the_exact_worst_case_and_greedy_can_find_less():
    less = 0
    for seed in range(40):
        victim = Rule(seed, lean=0.6)
        for attack in (Listed(), Listed(max_changed=0.4), Listed(max_queries=3, beam=2)):
            labels = victim.logits(SHORT).argmax(1)
            table = sandwich(victim, SHORT, labels, attack)
            less += (table["attack"] & ~table["exact"]).sum()
    assert less > 0


def test_the_sandwich_says_where_a_bound_is_wrong():
    victim = Rule(3, lean=0.5)
    labels = victim.logits(SHORT).argmax(1)
    truth = exact_worst(victim, SHORT, labels, Listed())
    weak = next(i for i, c in enumerate(truth) if not c.certified)
    lie = [replace(c, certified=True) if i == weak else c for i, c in enumerate(truth)]
    with pytest.raises(AssertionError, match=f"lower says that text {weak} is robust"):
        sandwich(victim, SHORT, labels, Listed(), lower=lie)
    none = [Certificate(False, True)] * len(SHORT)
    assert not sandwich(victim, SHORT, labels, Listed(), lower=none)["lower"].any()


def test_too_many_variants_are_refused_before_the_model_is_asked():
    victim, text = Rule(), "great good fine and grand film"
    wanted = 3 * 3 * 2 * 4 * 2
    with pytest.raises(
        ValueError, match=f"'great good .* has {wanted} variants, more than limit=20"
    ):
        exact_worst(victim, ["good", text], [1, 1], Listed(), limit=20)
    assert victim.asked == 0
    assert ExactWorst(Listed()).counts(victim, ["good", text]) == [3, wanted]
    assert exact_worst(victim, [text], [1], Listed(max_changed=0.2), limit=20)[0].samples == 10


def test_a_variant_of_two_texts_is_asked_about_once():
    victim = Rule()
    found = exact_worst(victim, ["good film", "good film", "fine film"], [1, 1, 1], Listed())
    assert [c.samples for c in found] == [6, 6, 4] and victim.asked == 6


def test_pairs_change_in_the_part_that_may():
    victim = Rule()
    pair = ("good film", "good plot")
    assert exact_worst(victim, [pair], [1], Listed())[0].samples == 18
    assert exact_worst(victim, [pair], [1], Listed(part="second"))[0].samples == 3


def test_texts_in_which_nothing_may_change_are_no_proof():
    for method in (ExactWorst(Listed()), SmoothedWords(Listed()), Canonical()):
        with pytest.raises(NothingToTry, match="nothing to try on any of these texts"):
            method(Rule(), ["zzz zz"], [1])
        assert method(Rule(), [], []) == []


# ---------------------------------------------------------------------- one form for all


def some_variants(text, options, most=300):
    """The first few, and those in which every word takes its last option, or its first."""
    free = {i: found for i, found in enumerate(options) if found}
    found = [t for t, _ in zip(variants(text, options), range(most), strict=False)]
    return found + [change(text, {i: o[k] for i, o in free.items()}) for k in (0, -1)]


@pytest.mark.parametrize("name", WORLDS)
def test_all_variants_of_a_text_have_one_canonical_form(name):
    for row in world(name).sample(60, "test"):
        options = world(name).substitutes(row.text)
        forms = {canonical_text(text, name) for text in some_variants(row.text, options)}
        (form,) = forms
        assert canonical_text(form, name) == form
        assert world(name).label(form) == row.label  # and it still says the same


@pytest.mark.parametrize("text", [
    "An excellent waiter and a good meal", "an good waiter", "A. Excellent food", "GOOD, Great?",
    "It was a an great film", "the Waiter's friend's good-will",
])  # fmt: skip
def test_odd_articles_and_capitals_have_one_form_too(text):
    options = world().substitutes(text)
    assert {canonical_text(new) for new in variants(text, options)} == {canonical_text(text)}


def test_behind_an_article_the_form_has_the_same_sound():
    first, *_ = world().groups["general+"]
    assert canonical_text("an outstanding day") == "an excellent day"
    assert canonical_text("An outstanding day") == "An excellent day"
    assert canonical_text("A superb day").startswith(f"A {first} ")
    assert canonical_text(("Superb!", "nothing")) == (f"{first.capitalize()}!", "nothing")


@pytest.fixture(scope="module")
def reviews():
    return advlib.load_text("reviews", train_size=1, test_size=60)["test"]


@pytest.fixture(scope="module")
def victim():
    return advlib.load_classifier("reviews-clean", device="cpu")


def test_one_pass_says_what_all_variants_say(victim, reviews):
    attack = WordSubstitution(constraints=(OpinionsOnly(),))
    counts = ExactWorst(attack).counts(victim, reviews["text"])
    few = reviews.select([i for i, count in enumerate(counts) if count <= 60])
    folded = canonical(victim)
    exact = exact_worst(folded, few["text"], few["label"], attack)
    plain = exact_worst(victim, few["text"], few["label"], attack)
    one = Canonical()(victim, few["text"], few["label"])
    assert [c.certified for c in one] == [c.certified for c in exact]
    assert sum(c.certified for c in plain) < sum(c.certified for c in exact)
    assert [r.robust for r in WordSubstitution()(folded, few["text"], few["label"])] == [
        c.certified for c in one]  # fmt: skip


def test_a_canonical_victim_stays_one_or_says_that_it_cannot(victim, reviews, tmp_path):
    folded, few = canonical(victim), reviews.select(range(12))
    form = [canonical_text(text) for text in few["text"]]
    assert np.allclose(folded.logits(few["text"]), victim.logits(form), atol=1e-5)
    assert folded.tokens(few["text"])["input_ids"] == victim.tokens(form)["input_ids"]
    tempered = calibrate(folded, few)
    assert np.allclose(tempered.logits(few["text"]) * tempered.temperature,
                       victim.logits(form), atol=1e-3)  # fmt: skip
    with pytest.raises(ModelError, match="cannot be saved"):
        folded.save(tmp_path)
    with pytest.raises(ModelError, match="no gradients on words"):
        WordSubstitution(rank="gradient")(folded, few["text"], few["label"])
    with pytest.raises(ValueError, match="no world called 'mars'"):
        canonical(victim, "mars")
    assert victim.read is None


# ---------------------------------------------------------------------- bounds of proportions


@pytest.mark.parametrize("n, alpha", [(10, 0.05), (57, 0.001), (200, 0.001)])
def test_the_lower_bound_is_that_of_clopper_and_pearson(n, alpha):
    for hits in range(1, n + 1):
        p = lower_bound(hits, n, alpha)
        assert binom.sf(hits - 1, n, p) == pytest.approx(alpha)  # by its definition
    assert lower_bound(0, n, alpha) == 0
    assert lower_bound(n, n, alpha) == pytest.approx(ceiling(n, alpha)) == alpha ** (1 / n)
    bounds = np.array([lower_bound(hits, n, alpha) for hits in range(n + 1)])
    for p in np.linspace(0.01, 0.99, 33):  # how often it is above the truth, summed exactly
        assert binom.pmf(np.arange(n + 1), n, p)[bounds > p].sum() <= alpha * (1 + 1e-9)


@pytest.mark.parametrize("make, words", [
    (lambda: lower_bound(3, 2), "0 <= hits <= n"),
    (lambda: lower_bound(-1, 2), "0 <= hits <= n"),
    (lambda: ceiling(0), "n, the number of samples"),
    (lambda: SmoothedWords(n=0), "n, the number of samples"),
    (lambda: SmoothedWords(n=1.5), "n, the number of samples"),
    (lambda: SmoothedWords(alpha=0), "0 < alpha < 1"),
    (lambda: SmoothedWords(alpha=1.0), "0 < alpha < 1"),
    (lambda: SmoothedWords(neighbours=0), "within must be a whole number"),
    (lambda: SmoothedWords(Typos(), neighbours=2), "needs the groups of a world"),
    (lambda: SmoothedEmbeddings(0.0), "sigma must be a size above zero"),
    (lambda: SmoothedEmbeddings(-1.0), "sigma must be a size above zero"),
    (lambda: SmoothedEmbeddings(math.nan), "sigma must be a size above zero"),
    (lambda: SmoothedEmbeddings(1.0, eps=-1), "eps must be a size"),
    (lambda: SmoothedEmbeddings(1.0, alpha=2), "0 < alpha < 1"),
    (lambda: Canonical("mars"), "no world called 'mars'"),
    (lambda: ExactWorst(limit=0), "limit must be at least 1"),
    (lambda: Neighbours(within=0), "within must be a whole number"),
    (lambda: ExactWorst(Listed())(Rule(), ["good"], [2]), "a label must be a class"),
    (lambda: SmoothedWords(Listed())(Rule(), ["good"], [-1]), "a label must be a class"),
    (lambda: Canonical()(Rule(), ["good"], [7]), "a label must be a class"),
    (lambda: certified(Rule(), Dataset.from_dict({"text": [], "label": []}), []), "no texts"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_sentence(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------- votes over words


def distribution(method, victim, text):
    """Of the samples of a text: variant -> its exact probability."""
    (options,) = options_of(method.drawn, victim, [text], [0])
    sets = [(word, *found) for word, found in zip(words(text), options, strict=True)]
    share = 1 / math.prod(map(len, sets))
    return {" ".join(new): share for new in product(*sets)}


def distance(a, b):
    """Total variation."""
    return sum(abs(a.get(t, 0) - b.get(t, 0)) for t in {*a, *b}) / 2


RING = "great staff"
CASES = [
    (SmoothedWords(Listed()), "good film"), (SmoothedWords(Listed(max_changed=0.5)), "great fine"),
    (SmoothedWords(Listed()), "grand poor bad"),
    (SmoothedWords(Neighbours(within=1), neighbours=3), "great film"),
    (SmoothedWords(Neighbours(within=2, max_changed=0.5), neighbours=2), "great friendly"),
    (SmoothedWords(WordSubstitution(), neighbours=3), "great cheap"),
    (SmoothedWords(WordSubstitution()), "great fast"),
]  # fmt: skip


def threats(method, text):
    (options,) = options_of(method.sets, None, [text], [0])
    return list(variants(text, options, method.sets.most(len(words(text)))))


@pytest.mark.parametrize("method, text", CASES)
def test_the_overlap_bounds_the_total_variation(method, text):
    own = distribution(method, None, text)
    exact = 1 - max(distance(own, distribution(method, None, t)) for t in threats(method, text))
    assert method.overlap(None, text) <= exact + 1e-9
    if isinstance(method.sets, WordSubstitution):  # sets of one size: no more is lost than must
        assert method.overlap(None, text) == pytest.approx(exact)


@pytest.mark.parametrize("method, text", CASES)
def test_no_text_of_the_threat_model_falls_below_the_bound(method, text):
    """For victims whose exact probabilities are summed over all samples."""
    overlap, close = method.overlap(None, text), 0
    for seed in range(12):
        victim = Rule(seed)

        def p(t, victim=victim):
            return sum(
                q for s, q in distribution(method, victim, t).items() if victim.margin(s) > 0
            )

        worst = min(p(t) for t in threats(method, text)[:400])
        assert worst >= p(text) - (1 - overlap) - 1e-9
        close += worst < p(text)
    assert close or overlap == 1


def test_certified_where_the_bound_exceeds_one_half():
    """With sets of one size and n large, against the exact probabilities."""
    method = SmoothedWords(Neighbours(within=1), neighbours=4, n=2000)
    text, found = "great", set()
    for seed in range(25):
        victim = Rule(seed, lean=0.3)
        share = sum(
            q for s, q in distribution(method, victim, text).items() if victim.margin(s) > 0
        )
        (one,) = method(victim, [text], [1])
        bound = share - (1 - method.overlap(victim, text)) - 0.5
        if abs(bound) > 0.08:  # what 2,000 samples can tell
            assert one.certified == (bound > 0)
            found.add(one.certified)
        assert not one.certified or all(
            sum(q for s, q in distribution(method, victim, t).items() if victim.margin(s) > 0) > 0.5
            for t in threats(method, text))  # fmt: skip
    assert found == {True, False}


def test_the_samples_are_uniform_over_the_product_of_the_sets():
    method = SmoothedWords(Listed(), n=6000)

    class Spy(Rule):
        def logits(self, texts, batch_size=None):
            self.texts = list(texts)
            return super().logits(texts)

    victim = Spy()
    _, weights = method.sample(victim, "good grand", "any")
    counts = dict(zip(victim.texts, weights, strict=True))
    assert set(counts) == set(by_hand("good grand")) and sum(counts.values()) == 6000
    assert all(abs(count - 500) < 5 * math.sqrt(500) for count in counts.values())


def test_a_text_gets_the_same_votes_in_any_company_and_the_choice_its_own():
    method, victim = SmoothedWords(Listed(), n=40), Rule(1)
    together, alone = method.votes(victim, SHORT), [method.votes(victim, [t])[0] for t in SHORT]
    assert (together == np.stack(alone)).all() and (together.sum(1) == 40).all()
    assert (method.predict(victim, SHORT) == together.argmax(1)).all()
    assert (method.votes(victim, SHORT, "certificate") != together).any()
    assert (replace(method, seed=1).votes(victim, SHORT) != together).any()
    labels = together.argmax(1)
    first = method(victim, SHORT, labels)
    assert first == method(victim, SHORT[::-1], labels[::-1])[::-1]
    assert all(c.samples == 40 and math.isnan(c.radius) for c in first)


def test_a_tie_is_nobodys_vote():
    class Flat(Rule):
        def margin(self, text):
            return 0.0

    method = SmoothedWords(Listed(), n=20)
    assert method.votes(Flat(), ["good"]).sum() == 0
    assert not method(Flat(), ["good"], [0])[0].certified


def test_sets_that_depend_on_other_words_are_refused():
    @dataclass(frozen=True, repr=False)
    class Next(WordAttack):
        def propose(self, victim, texts, labels):
            return [[SETS.get(w, ()) if t[i + 1 : i + 2] != ["film"] else ()
                     for i, w in enumerate(t)] for t in map(words, texts)]  # fmt: skip

    with pytest.raises(ValueError, match="depends on other words"):
        SmoothedWords(Next())(Rule(), ["good film"], [1])
    with pytest.raises(ValueError, match="depends on other words"):
        SmoothedWords(Gap())(Rule(), ["good"], [1])


@dataclass(frozen=True, repr=False)
class Gap(WordAttack):
    """One word becomes two."""

    def propose(self, victim, texts, labels):
        return [[("quite good",) if w == "good" else () for w in words(t)] for t in texts]


def test_equal_sets_lose_nothing_and_more_samples_certify_more(victim, reviews):
    few = reviews.select(range(12))
    method = SmoothedWords(n=60)
    assert all(method.overlap(victim, text) == 1 for text in few["text"])
    found = method(victim, few["text"], few["label"])
    assert sum(c.certified for c in found) >= 8
    assert all(c.right for c in found if c.certified)
    # Nine of nine cannot certify at 0.001, however sure the model is.
    assert not any(c.certified for c in SmoothedWords(n=9)(victim, few["text"], few["label"]))


# ---------------------------------------------------------------------- votes over noise


class Linear(nn.Module):
    """Logits (−m, m) with m = w · (sum of the embeddings of real tokens) + b: for such a model
    Cohen's radius is the true distance from the boundary."""

    def __init__(self, tokenizer, hidden=16):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(len(tokenizer), hidden)
        self.w = nn.Parameter(torch.randn(hidden))
        self.b = nn.Parameter(torch.tensor(0.3))
        names = {0: "negative", 1: "positive"}
        self.config = SimpleNamespace(id2label=names, model_type="linear", hidden_size=hidden,
                                      num_hidden_layers=1, max_position_embeddings=64)  # fmt: skip
        self.seen = []

    def get_input_embeddings(self):
        return self.words

    def forward(self, input_ids, attention_mask, **others):
        embedded = self.words(input_ids)
        self.seen.append(embedded.detach())
        margin = (embedded * attention_mask[..., None]).sum(1) @ self.w + self.b
        return SimpleNamespace(logits=torch.stack([-margin, margin], 1))


@pytest.fixture
def linear():
    tokenizer = make_tokenizer()
    return Classifier(Linear(tokenizer).eval(), tokenizer)


NOISY = ["good film", "the plot was very bad", "dull"]


def test_of_a_linear_model_the_radius_is_the_distance_from_its_boundary(linear):
    model, unit = linear.model, mean_norm(linear.model)
    margins = linear.logits(NOISY)[:, 1]
    labels = (margins > 0).astype(int)
    for text, margin, y in zip(NOISY, margins, labels, strict=True):
        tokens = len(text.split())  # each has noise of its own: m is moved by all of them
        away = abs(margin) / (model.w.norm().item() * math.sqrt(tokens)) / unit
        sigma = away * math.sqrt(16)  # Φ⁻¹ about 1
        method = SmoothedEmbeddings(sigma, n=2000)
        ((no, yes),) = method.votes(linear, [text])
        wanted = norm.cdf(1.0)
        share = (yes if y else no) / 2000
        assert share == pytest.approx(wanted, abs=4 * math.sqrt(wanted * (1 - wanted) / 2000))
        assert method.radius(wanted, 16) == pytest.approx(away)
        (found,) = method(linear, [text], [y])
        assert found.certified and found.right and 0.85 * away < found.radius < away
        (other,) = method(linear, [text], [1 - y])
        assert other == Certificate(False, False, 0.0, 2000)
        assert not replace(method, eps=away)(linear, [text], [y])[0].certified
        assert replace(method, eps=0.8 * away)(linear, [text], [y])[0].certified


def test_noise_has_the_size_it_says_and_only_where_attacks_may_go(linear):
    method, unit = SmoothedEmbeddings(0.5, n=400), mean_norm(linear.model)
    plain = linear.encode([NOISY[1]], [0])
    clean = linear.model.words(plain["input_ids"])
    linear.model.seen.clear()
    method.votes(linear, [NOISY[1]])
    noise = torch.cat(linear.model.seen) - clean
    special = plain["special_tokens_mask"][0].bool()
    assert (noise[:, special] == 0).all()
    real = noise[:, ~special]
    assert real.pow(2).mean().sqrt().item() == pytest.approx(0.5 * unit / 4, rel=0.03)
    assert real.norm(dim=-1).mean().item() == pytest.approx(0.5 * unit, rel=0.05)
    assert (real[0] != real[1]).all()


def test_the_radius_has_a_ceiling_and_a_text_its_own_noise(linear):
    sure = SmoothedEmbeddings(0.001, n=50)
    labels = linear.logits(NOISY).argmax(1)
    found = sure(linear, NOISY, labels)
    assert [c.radius for c in found] == pytest.approx([sure.ceiling(16)] * 3)
    assert sure.ceiling(16) == pytest.approx(0.001 / 4 * norm.ppf(0.001 ** (1 / 50)))
    wide = SmoothedEmbeddings(3.0, n=50)
    alone = np.concatenate([wide.votes(linear, [text]) for text in NOISY])
    assert (wide.votes(linear, NOISY) == alone).all()
    proof = wide.votes(linear, NOISY, "certificate")[range(3), labels]
    assert (proof != alone[range(3), labels]).any()
    bounds = [wide.radius(lower_bound(int(hits), 50), 16) for hits in proof]  # a draw of its own
    assert [c.radius for c in wide(linear, NOISY, labels)] == bounds and len({*bounds}) > 1


# ---------------------------------------------------------------------- the table


def test_the_table_counts_what_the_methods_say():
    rules = Rule(2, lean=0.5)
    labels = rules.logits(SHORT).argmax(1)
    labels[1] = 1 - labels[1]  # one text is wrong from the start
    data = Dataset.from_dict({"text": SHORT, "label": labels.tolist()})
    methods = [ExactWorst(Listed()), SmoothedWords(Listed(), n=30)]
    table = certified(rules, data, methods, [Listed()])
    assert list(table["method"]) == ["ExactWorst", "SmoothedWords", "Listed"]
    assert list(table["bound"]) == ["exact", "lower", "upper"]
    for row, method in zip(table.itertuples(), methods, strict=False):
        found = method(rules, SHORT, labels)
        assert row.certified == np.mean([c.certified for c in found])
        assert row.clean == np.mean([c.right for c in found])
        assert row.samples == np.mean([c.samples for c in found])
    exact, vote, attack = (table.loc[i] for i in range(3))
    assert exact["attacked"] == exact["certified"] <= attack["attacked"] <= attack["clean"] == 0.75
    assert math.isnan(attack["certified"]) and math.isnan(vote["attacked"])
    assert list(table["alpha"]) == [0, 0.001, 0]
    for row in table.to_dict("records"):
        share = row["certified"] if row["bound"] != "upper" else row["attacked"]
        assert row["low"] <= share <= row["high"] and row["n"] == 4
