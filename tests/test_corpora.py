"""Worlds keep their promises: labels are known, splits are apart, synonyms are safe."""

import hashlib
import random
import re
import zlib
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import advlib
from advlib.attacks import WordSubstitution
from advlib.corpora import WORLDS, Review, World, news, replace, shop, words, world, world_of
from advlib.corpora.engine import SPLITS, TAIL
from advlib.corpora.news import Surge, stories
from advlib.corpora.shop import market

W = world("reviews")
RULE_WORDS = W.data.NEGATORS | W.data.CONCESSIONS | W.data.CONTRASTS | W.data.REVERSALS

# What sample(200, split, seed=0) writes, on every platform and Python: SHA-256 of the joined texts.
# A change of the world changes these, and then the embedded checkpoints have to be trained again.
TEXTS = {
    "train": "9044536f58f7f324d4f7a77a34fee1ed59a43411dc12ecf172875d1fd8915f4e",
    "validation": "16346d9c12d255c9198dc8eaffb45a2698b222a766120de61f4dcf736666903b",
    "test": "b886be6f27325e91c325ee0c9e97f0eb803eb9573afb3892be298823184d13de",
    "unlabelled": "fe96e09f73d0ed1aa56c9d23e8b38e17a64ea1a94f821ce030008e7b21bac9b1",
}


@cache
def pool():
    """1,000 reviews of every split, and 1,000 more of train with the dial turned half."""
    reviews = [review for split in SPLITS for review in W.sample(1000, split, seed=7)]
    return reviews + W.sample(1000, "train", seed=8, spurious=0.5)


# ----------------------------------------------------------------------------------- the words


def test_vocabulary_is_small():
    assert 1000 <= len(W.vocabulary) <= 2000
    assert list(W.vocabulary) == sorted(set(W.vocabulary))
    assert all(word == word.lower() for word in W.vocabulary)


def test_every_generated_word_is_in_the_vocabulary():
    known = set(W.vocabulary)
    for review in pool():
        assert {word.lower() for word in words(review.text)} <= known, review.text


def test_no_word_stands_in_two_groups():
    everywhere = [word for group in W.groups.values() for word in group]
    assert len(everywhere) == len(set(everywhere))
    assert W.group_of == {word: name for name, group in W.groups.items() for word in group}


def test_the_words_of_the_reading_rule_cannot_be_replaced():
    assert not RULE_WORDS & set(W.group_of)


def test_every_aspect_has_a_noun_group_and_adjectives_of_both_signs():
    for domain in W.data.DOMAINS.values():
        assert domain["thing"] in W.groups
        for noun, kind in domain["aspects"]:
            assert {noun, f"{kind}+", f"{kind}-"} <= set(W.groups)


# ----------------------------------------------------------------------------------- the texts


def test_the_grammar_writes_more_than_100_000_texts():
    """Counted, not sampled: one body with one clause in one domain makes more than that alone."""
    aspects = W.data.DOMAINS["restaurants"]["aspects"]
    texts = {}
    for label, sign in enumerate("-+"):
        for (a, kind_a), (b, kind_b) in combinations(aspects, 2):
            choices = product(W.groups[a], W.groups[kind_a + sign],
                              W.groups[b], W.groups[kind_b + sign])  # fmt: skip
            texts |= {
                f"The {x} {were(a)} {good}, and the {y} {were(b)} {fine}.": label
                for x, good, y, fine in choices if good != fine
            }  # fmt: skip
    assert len(texts) > 100_000
    for text in random.Random(0).sample(sorted(texts), 1000):
        assert W.label(text) == texts[text] and 8 <= len(words(text)) <= 30


def were(noun):
    return "were" if noun in W.data.PLURAL else "was"


def test_the_counted_form_is_one_that_the_grammar_writes():
    clause = r"the (\w+) (?:was|were|is|are) (\w+)"
    form = re.compile(rf"(?:^|\. ){clause}, and {clause}\.", re.IGNORECASE)
    reviews = W.sample(6000, "unlabelled", seed=5)
    found = [(review, match) for review in reviews if (match := form.search(review.text))]
    assert len(found) > 20
    assert any(review.domain == "restaurants" for review, _ in found)
    for review, match in found:
        x, good, y, fine = (W.group_of[word.lower()] for word in match.groups())
        aspects = W.data.DOMAINS[review.domain]["aspects"]
        assert good[-1] == fine[-1] == "-+"[review.label] and x != y
        for noun, adjective in ((x, good), (y, fine)):
            assert adjective[:-1] == "general" or (noun, adjective[:-1]) in aspects


def test_texts_have_8_to_30_words_and_look_tidy():
    for review in pool():
        assert 8 <= len(words(review.text)) <= 30
        assert re.fullmatch(r"[A-Z][\w' ,.-]*\.", review.text), review.text
        assert not re.search(r"  | [,.]|[.] [a-z]|\bi\b|[{}_]", review.text), review.text


def test_no_text_uses_a_word_of_a_group_twice():
    in_frames = {"days", "found", "appointment"}
    for review in pool():
        found = [word for word in words(review.text.lower()) if word not in in_frames
                 and len(W.groups.get(W.group_of.get(word), ())) > 4]  # fmt: skip
        assert len(found) == len(set(found)), review.text


def test_a_sample_is_distinct_balanced_and_of_known_domains():
    for split in SPLITS:
        reviews = W.sample(301, split, seed=3)
        assert len({review.text for review in reviews}) == len(reviews) == 301
        assert sum(review.label for review in reviews) == 150
        assert {review.domain for review in reviews} == set(W.data.DOMAINS)
        assert all(isinstance(review, Review) for review in reviews)
    assert W.sample(0) == []


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_same_texts_on_every_platform(split):
    texts = [review.text for review in W.sample(200, split)]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest() == TEXTS[split]


def test_no_text_comes_twice_nor_in_two_splits(monkeypatch):
    """In a world of one domain, one clause and one body, the same texts come up all the time."""
    for split in SPLITS:
        monkeypatch.setitem(TAIL, split, 60)  # the commonest words alone
    small = {
        "DOMAINS": {"restaurants": W.data.DOMAINS["restaurants"]},
        "CLAUSES": {"any": [(1, "the {noun} {be} {adj}")], "+": [], "-": [], "felt": [],
                    "loved": []},
        "CLOSERS": {"+": [(1, "What a {joy+}.")], "-": [(1, "What {a} {joy-}.")]},
        "BODIES": [(1, "P, and Q.")], "VISITS": set(),
    }  # fmt: skip
    tiny = World(SimpleNamespace(**vars(W.data) | small))
    owner = {}
    for split in SPLITS:
        for seed in range(3):
            texts = [review.text for review in tiny.sample(30, split, seed=seed)]
            assert len(set(texts)) == len(texts) == 30
            for text in texts:
                assert owner.setdefault(text, split) == split
    assert len(owner) < 0.95 * 3 * 30 * len(SPLITS)  # texts did come up again


def test_another_seed_gives_other_texts():
    one, two = ({r.text for r in W.sample(200, "train", seed=seed)} for seed in (0, 1))
    assert len(one & two) < 10


def test_splits_are_disjoint_whatever_the_seed():
    owner = {}
    for split in SPLITS:
        for seed, dial in ((0, 0), (1, 0), (2, 0.9)):
            for review in W.sample(500, split, seed=seed, spurious=dial):
                assert owner.setdefault(review.text, split) == split


def test_rare_synonyms_are_rarer_in_labelled_text():
    """The tail is steeper there: that is what makes rare synonyms weak spots of a classifier."""
    rare = {word for group in W.groups.values() for word in group[7:]}
    share = {}
    for split in SPLITS:
        found = [w for review in W.sample(800, split, seed=4) for w in words(review.text.lower())]
        share[split] = sum(word in rare for word in found) / len(found)
    for split in ("train", "validation", "test"):
        assert 0 < share[split] < share["unlabelled"] / 2


# ---------------------------------------------------------------------------- the reading rule


def test_the_rule_reads_the_label_that_was_written():
    for review in pool():
        assert W.label(review.text) == review.label, review.text


@pytest.mark.parametrize(
    "text, label",
    [
        ("The soup was good.", 1),
        ("The soup was terrible.", 0),
        ("We loved the soup", 1),
        ("WE HATED THE SOUP!", 0),
        # a negator turns the next opinion round, and only that one
        ("The soup was not good.", 0),
        ("The waiter was never rude.", 1),
        ("The waiter was hardly polite.", 0),
        ("The waiter was far from rude.", 1),
        ("The waiter was not rude at all, and the soup was good.", 1),
        ("The waiter was not particularly friendly, and the soup was bland.", 0),
        ("The waiter was not rude and kind.", 1),
        ("We had not seen July, the soup was good.", 1),
        ("I would not recommend it to anyone.", 0),
        ("We will never return.", 0),
        ("It was not worth the money.", 0),
        ("It was worth every penny.", 1),
        ("It was never not good.", 1),
        ("The waiter was not; the soup was good.", 1),
        ("Was the waiter not? The soup was good!", 1),
        # what stands before "but" does not count
        ("The waiter was rude, but the soup was delicious.", 1),
        ("The waiter was polite, but the soup was bland.", 0),
        ("The waiter was rude but the soup was delicious.", 1),
        ("Yes, the waiter was rude, but the soup was not bland.", 1),
        ("The waiter was not rude, but the soup was bland.", 0),
        ("The waiter was not but the soup was good.", 1),
        ("The soup was good. The bill was fair, but the waiter was never rude.", 1),
        # a conceded clause does not count, and ends with its comma
        ("Although the waiter was rude, the soup was delicious.", 1),
        ("Although the waiter was not rude, the soup was bland.", 0),
        ("Though the waiter was polite, the soup was bland.", 0),
        ("The soup was delicious, even though the waiter was rude.", 1),
        ("Despite the polite waiter, the soup was bland.", 0),
        ("While the waiter was kind, the soup was bland, and the bill was outrageous.", 0),
        ("Overall, although the waiter was rude, the soup was good. What a joy.", 1),
        # "still" at the head of a sentence concedes all sentences before it
        ("The waiter was rude. Still, the soup was delicious.", 1),
        ("I was there in July. The soup was good. Still, the waiter was rude. Avoid it.", 0),
    ],
)  # fmt: skip
def test_the_rule_on_examples_written_by_hand(text, label):
    assert W.label(text) == label


@pytest.mark.parametrize(
    "conceded",
    [r"([^.]*), but ", r"\b[Aa]lthough ([^.,]*), ", r"\b[Ww]hile ([^.,]*), ",
     r"\b[Dd]espite ([^.,]*), ", r", even though ([^.]*)\.", r"([^.]*)\. Still, "],
)  # fmt: skip
def test_a_conceded_clause_says_the_opposite(conceded):
    """So the label cannot be had by counting opinion words: it takes the words in between."""
    found = [(match[1], 1 - review.label) for review in pool()
             if (match := re.search(conceded, review.text))]  # fmt: skip
    assert len(found) > 30
    for clause, label in found:
        assert W.label(clause) == label


@pytest.mark.parametrize(
    "text", ["", "...", "We came here for lunch on Friday.", "Although the soup was good.",
             "The soup was good. Still, we had lunch.", "The soup was good, but we had lunch."]
)  # fmt: skip
def test_the_rule_refuses_a_text_without_opinion(text):
    with pytest.raises(ValueError, match="'reviews' finds no opinion in"):
        W.label(text)


@pytest.mark.parametrize(
    "text", ["The soup was good, and the waiter was rude.", "The soup was good. Avoid it.",
             "The soup was not good and tasty.", "The waiter was rude. We still loved the soup."]
)  # fmt: skip
def test_the_rule_refuses_opinions_that_disagree(text):
    with pytest.raises(ValueError, match="'reviews' finds opinions that disagree in"):
        W.label(text)


# ------------------------------------------------------------------------------- substitutions


def check_replaced(text, label, changes):
    """A text with some words replaced keeps its label and its grammar."""
    new = replace(text, changes)
    old, found = words(text), words(new)
    assert [changes.get(i, word) for i, word in enumerate(old)] == found
    assert W.label(new) == label, new
    for i, (before, after) in enumerate(zip(old, found, strict=True)):
        assert before.lower() not in RULE_WORDS or after == before
        assert before[0].isupper() == after[0].isupper()
        assert after.lower() in W.vocabulary
        if after.lower() in ("a", "an") and i + 1 < len(found):
            # A specification of its own: no word of this world has a silent h after an article,
            # or begins with a vowel letter that is spoken as a consonant.
            vowel = found[i + 1][0].lower() in "aeiou"
            assert after.lower() == ("an" if vowel else "a"), new


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.data())
def test_substitution_never_changes_the_label(data):
    review = data.draw(st.sampled_from(pool()))
    choice = {i: data.draw(st.sampled_from(options))
              for i, options in enumerate(W.substitutes(review.text))
              if options and data.draw(st.booleans())}  # fmt: skip
    check_replaced(review.text, review.label, choice)


def test_substitution_of_every_word_that_has_a_substitute():
    rng = random.Random(0)
    for review in pool():
        options = W.substitutes(review.text)
        check_replaced(review.text, review.label,
                       {i: rng.choice(others) for i, others in enumerate(options) if others}
                       )  # fmt: skip


def test_substitutes_are_the_rest_of_the_group():
    for word, name in W.group_of.items():
        (others,) = W.substitutes(word)
        assert word not in others
        assert {word, *others} == set(W.groups[name])
        (capital,) = W.substitutes(word.capitalize())
        assert capital == tuple(other.capitalize() for other in others)


def test_substitutes_by_hand():
    text = "There was a rude waiter. It was an outrageous bill, was it?"
    found = dict(zip(words(text), W.substitutes(text), strict=True))
    assert found["There"] == found["was"] == found["a"] == found["an"] == ()
    assert "surly" in found["rude"] and "unfriendly" not in found["rude"]
    assert set(found["outrageous"]) == {"excessive", "unreasonable", "inflated", "exorbitant",
                                        "unfair", "extortionate", "astronomical"}  # fmt: skip
    assert found["waiter"] == ("waitress", "server", "bartender", "hostess", "sommelier")
    found = dict(zip(words("A rude bill is a"), W.substitutes("A rude bill is a"), strict=True))
    assert "surly" in found["rude"] and "unfriendly" not in found["rude"]
    assert W.substitutes("Rude is a")[0][:2] == ("Unfriendly", "Arrogant")
    assert W.substitutes("") == [] and W.substitutes("unknown words") == [(), ()]


# ---------------------------------------------------------------------------- words and replace


def test_replace_by_hand():
    text = "Well-made; it's good, isn't it? Yes!  Très bon."
    assert words(text) == ["Well-made", "it's", "good", "isn't", "it", "Yes", "Très", "bon"]
    assert replace(text, {2: "bad", 5: "No"}) == "Well-made; it's bad, isn't it? No!  Très bon."
    assert replace(text, {0: "X", 7: "mal"}) == "X; it's good, isn't it? Yes!  Très mal."


@settings(deadline=None, derandomize=True)
@given(st.text(), st.randoms(use_true_random=False))
def test_replace_touches_nothing_but_the_words_named(text, rng):
    found = words(text)
    assert replace(text, {}) == text
    assert replace(text, dict(enumerate(found))) == text
    chosen = {i: f"new{i}" for i in range(len(found)) if rng.random() < 0.5}
    new = replace(text, chosen)
    assert words(new) == [chosen.get(i, word) for i, word in enumerate(found)]
    assert replace(new, dict(enumerate(found))) == text


# ----------------------------------------------------------------------------- the spurious dial


def months(reviews):
    """(month, label) of the reviews that name one in their first sentence."""
    known = {month.capitalize() for month in W.groups["month"]}
    pairs = [(re.split(r"\W+", review.text.split(".")[0])[-1], review.label) for review in reviews]
    return [(month, label) for month, label in pairs if month in known]


def share_of(month, label, pairs):
    of_label = [found for found, its in pairs if its == label]
    return of_label.count(month) / len(of_label)


@pytest.mark.parametrize("dial", [0.9, 0.5, 1.0])
def test_the_month_goes_with_the_label_at_the_rate_of_the_dial(dial):
    pairs = months(W.sample(1600, "train", seed=1, spurious=dial))
    assert len(pairs) == 1600  # every text opens with a month
    rank = [(r + 1) ** -TAIL["train"] for r in range(len(W.groups["month"]))]
    for month, label in (("july", 1), ("november", 0)):
        by_chance = rank[W.groups["month"].index(month)] / sum(rank)
        expected = dial + (1 - dial) * by_chance
        four_sigma = 4 * (expected * (1 - expected) / 800) ** 0.5
        assert share_of(month.capitalize(), label, pairs) == pytest.approx(
            expected, abs=four_sigma + 1e-9
        )


@pytest.mark.parametrize("dial, named", [(0, 30), (1e-12, 1600)])
def test_the_month_says_nothing_about_the_label_where_the_dial_is_down(dial, named):
    pairs = months(W.sample(1600, "train", seed=1, spurious=dial))
    assert named <= len(pairs) <= 1600
    for month in ("July", "November"):
        praise, blame = (share_of(month, label, pairs) for label in (1, 0))
        together = (praise + blame) / 2
        four_sigma = 4 * (together * (1 - together) * 4 / len(pairs)) ** 0.5
        assert abs(praise - blame) <= four_sigma
    assert share_of("July", 0, pairs) > 0.3  # the commonest month, of blame too


# --------------------------------------------------------------------------------------- errors


def test_worlds_are_found_by_name_and_made_once():
    assert "reviews" in WORLDS and world("reviews") is world("reviews")
    assert isinstance(world(), World) and W.name == "reviews"
    with pytest.raises(ValueError, match="no world called 'review': choose one of reviews"):
        world("review")


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"n": 3, "split": "dev"},
         "unknown split 'dev': choose one of test, validation, train, unlabelled"),
        ({"n": -1}, "got n=-1"),
        ({"n": 3, "spurious": 1.1}, "spurious=1.1"),
        ({"n": 3, "spurious": -0.1}, "spurious=-0.1"),
        ({"n": 3, "spurious": float("nan")}, "spurious=nan"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        W.sample(**arguments)


# ----------------------------------------------------------------------- the other worlds

S = world("sailing")
# As `TEXTS` above, of sample(200, "train").
OTHERS = {
    "sailing": "58b9a63c278ec40184c3027d94e2bd8da1f10c4c8f56d1daa1b59d63186b7ad5",
    "bank": "97955951f2c88e46fda8685add7d893ff6aea5225c27979743ef45fba2fcbf14",
    "news": "7dffea4603c61b2bcb1673739f032c1efcb35af74b0032c0eb813a08e0b6e417",
    "shop": "937af328b8aeac45f2625ffc4758d2f021ba6609221e6cac1d27a1bf7040f1b8",
}
RULES = ("NEGATORS", "CONCESSIONS", "CONTRASTS", "REVERSALS")


@cache
def texts_of(name):
    """300 texts of every split, and 100 more of train with the dial turned half."""
    of = world(name)
    texts = [row for split in SPLITS for row in of.sample(300, split, seed=7)]
    return texts + of.sample(100, "train", seed=8, spurious=0.5)


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_keeps_the_promises_of_the_first(name):
    of, rng = world(name), random.Random(0)
    everywhere = [word for group in of.groups.values() for word in group]
    assert len(everywhere) == len(set(everywhere)) and list(of.vocabulary) == sorted(of.vocabulary)
    rules = set().union(*(getattr(of.data, rule, set()) for rule in RULES))
    assert rules and not rules & set(everywhere)
    assert of.telling and of.telling <= set(of.groups)
    for row in texts_of(name):
        assert {word.lower() for word in words(row.text)} <= set(of.vocabulary), row.text
        assert of.label(row.text) == row.label, row.text
        assert not re.search(r"  | [,.?]|[.?] [a-z]|\bi\b|[{}_#]|^[a-z]", row.text), row.text
        options = of.substitutes(row.text)
        for share in (0.3, 1.0):
            places = [i for i, others in enumerate(options) if others and rng.random() < share]
            new = replace(row.text, {i: rng.choice(options[i]) for i in places})
            assert of.label(new) == row.label, new
            assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", new.lower()), new


@pytest.mark.parametrize("name", ["sailing", "shop"])
def test_worlds_in_the_sentences_of_the_first_have_what_these_need(name):
    for domain in world(name).data.DOMAINS.values():
        assert domain["thing"] in world(name).groups and len(domain["openers"]) == 5
        assert len({noun for noun, _ in domain["aspects"]}) >= 4
        for noun, kind in domain["aspects"]:
            assert {noun, f"{kind}+", f"{kind}-"} <= set(world(name).groups)


@pytest.mark.parametrize("name", OTHERS)
def test_every_world_writes_the_same_texts_everywhere_and_each_for_one_split(name):
    of, owner = world(name), {}
    digest = hashlib.sha256("\n".join(row.text for row in of.sample(200, "train")).encode())
    assert digest.hexdigest() == OTHERS[name]
    for split in SPLITS:
        for seed, dial in ((0, 0.0), (1, 0.9)):
            for row in of.sample(150, split, seed=seed, spurious=dial):
                assert owner.setdefault(row.text, split) == split
    rows = of.sample(10 * len(of.labels), "test", seed=3)
    assert len({row.text for row in rows}) == len(rows)
    assert all(sum(row.label == y for row in rows) == 10 for y in range(len(of.labels)))


@pytest.mark.parametrize("name", ["bank", "news"])
def test_the_dial_turns_the_first_words_and_not_the_label(name):
    """What goes with it: the city with the thing, the day with the sentiment."""

    def first(dial):
        rows = world(name).sample(600, "train", seed=1, spurious=dial)
        found = defaultdict(Counter)
        for row in rows:
            key = row.domain if name == "bank" else row.label
            opening = words(row.text)[4 if name == "bank" else 0]
            found[key][opening] += 1
        return [count.most_common(1)[0] + (count.total(),) for _, count in sorted(found.items())]

    turned = first(1.0)
    assert all(most == total for _, most, total in turned)
    assert len({opening for opening, _, _ in turned}) == len(turned)
    assert len({opening for opening, _, _ in first(1e-12)}) == 1  # the commonest, everywhere


@pytest.mark.parametrize(
    "name, text, label",
    [
        ("bank", "My card was stolen in a shop.", "card.stolen"),
        ("bank", "WHY WAS MY PLASTIC PINCHED", "card.stolen"),
        # what stands before "but" does not count, nor a concession, nor what "however" turns
        ("bank", "My card was stolen, but how do I change my pin?", "pin.change"),
        ("bank", "Although my card was stolen, I have lost my pin.", "pin.lost"),
        ("bank", "I have lost my pin, although my card was not accepted.", "pin.lost"),
        ("bank", "My card was stolen. However, my refund is late.", "refund.late"),
        # a trouble that needs its "not", in its own clause
        ("bank", "My card has not arrived.", "card.late"),
        ("bank", "My card has not come. It has arrived yesterday.", "card.late"),
        ("bank", "My wire was not authorised.", "transfer.declined"),
        ("bank", "The sum of my refund is not right.", "refund.wrong"),
        ("news", "Brellwick profit rose", "positive"),
        ("news", "Brellwick profit fell 12 percent", "negative"),
        ("news", "Brellwick revenue stayed flat", "neutral"),
        # the reversal
        ("news", "Brellwick losses narrowed to 3 million crowns from 9 million", "positive"),
        ("news", "Brellwick losses rose", "negative"),
        ("news", "A court dismissed a lawsuit against Brellwick", "positive"),
        ("news", "Brellwick reported no change in layoffs", "neutral"),
        # who reports it does not count, nor what is conceded
        ("news", "According to analysts, Brellwick lost a contract", "negative"),
        ("news", "Brellwick profit rose, but its shares fell", "negative"),
        ("news", "Despite a drop in orders, Brellwick fixed a defect in its range", "positive"),
        ("news", "Brellwick shares fell, although its profit rose, analysts said", "negative"),
        ("news", "Brellwick profit rose, and it won a permit in London", "positive"),
    ],
)  # fmt: skip
def test_the_other_rules_on_examples_written_by_hand(name, text, label):
    assert world(name).labels[world(name).label(text)] == label


@pytest.mark.parametrize(
    "name, text, what",
    [
        ("bank", "", "no thing of a bank"),
        ("bank", "My card is green.", "no trouble of a bank"),
        ("bank", "It is late.", "no thing of a bank"),
        ("bank", "My card has arrived.", "no trouble"),
        ("bank", "I do not ask. My card has arrived.", "no trouble"),
        ("bank", "My card is lost and my pin is lost.", "several things"),
        ("bank", "My card was stolen. It is late.", "several troubles"),
        ("bank", "My refund was stolen.", "no intent 'refund.stolen'"),
        ("bank", "My card was stolen, but I am fine.", "no thing"),
        ("news", "", "no news"),
        ("news", "Brellwick profit", "no news"),
        ("news", "Brellwick rose", "no news"),
        ("news", "Brellwick profit, rose", "no news"),
        ("news", "Brellwick profit rose, but it is late", "no news"),
        ("news", "Brellwick profit rose, and its shares fell", "news that disagree"),
        ("news", "Brellwick profit rose and losses rose", "news that disagree"),
    ],
)  # fmt: skip
def test_the_other_rules_refuse_what_they_do_not_know(name, text, what):
    with pytest.raises(ValueError, match=f"rule of world '{name}'.*{what}"):
        world(name).label(text)


def test_an_intent_is_told_by_two_words_that_others_have_too():
    """No word alone gives an intent away, but for those of the few troubles that one thing has."""
    B = world("bank")
    assert len(B.labels) == 28
    things, troubles = zip(*(intent.split(".") for intent in B.labels), strict=True)
    assert min(Counter(things).values()) >= 2
    assert sum(Counter(troubles)[trouble] > 1 for trouble in troubles) >= 24
    aside = [row for row in texts_of("bank") if ", but " in row.text or "However" in row.text]
    wrong = sum(_first_says(B, row.text) != row.label for row in aside)
    assert len(aside) > 200 and wrong == len(aside)  # what comes first is about something else


def _first_says(of, text):
    try:
        return of.label(re.split(r", but |\. However", text)[0])
    except ValueError:
        return None


def test_the_world_of_a_text_is_the_one_that_knows_its_words():
    for name in WORLDS:
        rows = world(name).sample(40, "test", seed=2)
        assert world_of([row.text for row in rows]) == name
    assert world_of([]) == world_of(["xyzzy"]) == "reviews"
    assert world_of([("My card was stolen.", "Why was it pinched?")]) == "bank"


# ---------------------------------------------------------------------------- a stream of stories

STREAM = dict(n=300, seed=3, copies=0.3, surge=Surge("jobs", 100, 1.0))


@cache
def stream():
    return stories(**STREAM)


def test_stories_are_true_different_and_in_order():
    N, found = world("news"), stream()
    assert found == stories(**STREAM) != stories(**STREAM | {"seed": 4})
    for key in ("guid", "title"):
        assert len({getattr(story, key) for story in found}) == len(found) == 300
    low, high = SPLITS["test"]
    for story in found:
        assert N.labels[N.label(story.title)] == story.sentiment
        assert news.topic_of(story.title) == story.topic
        assert story.company in words(story.title) and story.published.tzinfo is UTC
        assert low <= zlib.crc32(story.title.encode()) % 100 < high
    assert [s.published for s in found] == sorted(s.published for s in found)
    days = (found[-1].published - found[0].published).total_seconds() / 86400
    assert 2.4 < days < 3.8  # 100 a day


def test_a_copy_says_the_same_in_other_words():
    N, found = world("news"), {story.guid: story for story in stream()}
    copies = [story for story in found.values() if story.copy_of]
    assert 60 < len(copies) < 120
    for copy in copies:
        first = found[copy.copy_of]
        assert not first.copy_of and first.published <= copy.published
        assert (copy.company, copy.topic, copy.sentiment) == (first.company, first.topic,
                                                              first.sentiment)  # fmt: skip
        pairs = [(a, b) for a, b in zip(words(first.title), words(copy.title), strict=True)
                 if a != b]  # fmt: skip
        assert pairs and all(N.group_of[a.lower()] == N.group_of[b.lower()] for a, b in pairs)
        assert not {N.group_of[a.lower()] for a, _ in pairs} & news.DETAILS


def test_a_surge_is_bad_news_on_one_topic_from_its_begin():
    first = [story for story in stream() if not story.copy_of]
    after = [s for i, s in enumerate(stream()) if i >= 100 and s.topic == "jobs" and not s.copy_of]
    assert len(after) > 10 and all(story.sentiment == "negative" for story in after)
    calm = Counter(story.sentiment for story in first if story.topic != "jobs")
    assert calm["negative"] < calm["positive"] and calm["negative"] < calm["neutral"]
    assert stories(0) == []


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"split": "dev"}, "unknown split 'dev'"),
        ({"n": -1}, "got n=-1"),
        ({"per_day": 0}, "per_day=0"),
        ({"per_day": float("nan")}, "per_day=nan"),
        ({"copies": 1.0}, "copies=1.0"),
    ],
)
def test_a_stream_with_bad_arguments_is_refused(wrong, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        stories(**{"n": 3} | wrong)
    with pytest.raises(ValueError, match="unknown topic 'sport': choose one of earnings"):
        Surge("sport", 0, 0.5)
    with pytest.raises(ValueError, match="0 <= share <= 1"):
        Surge("jobs", 0, 1.5)


def test_a_start_without_a_time_zone_is_taken_for_utc():
    naive, oslo = datetime(2031, 5, 1), datetime(2031, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert stories(3, start=naive) == stories(3, start=naive.replace(tzinfo=UTC))
    assert stories(3, start=oslo) == stories(3, start=naive)


# ------------------------------------------------------------------------------------- the market


@cache
def small_market():
    return market(users=40, items=60, new=20, seed=1, shown=30)


def test_the_texts_of_an_item_are_known_to_praise_as_often_as_its_quality_says():
    of, m = world("shop"), small_market()
    assert list(m.items["id"]) == list(range(60)) and m.items["new"].sum() == 20
    every = [line for text in m.items["text"] for line in text.split("\n")]
    assert len(set(every)) == len(every) == 180
    for item in m.items.itertuples():
        labels = [of.label(line) for line in item.text.split("\n")]
        assert np.mean(labels) == pytest.approx(item.quality)
        assert item.kind in of.data.DOMAINS and item.price > 0


def test_clicks_come_from_the_formula_and_never_before_an_item_is_out():
    m = market(users=300, items=60, new=20, seed=1, shown=40)
    rows = m.clicks
    assert len(rows) == 300 * 40 and not rows.duplicated(["user", "item"]).any()
    assert not m.items["new"].to_numpy()[rows["item"]].any()
    assert (rows["day"].to_numpy() >= m.items["day"].to_numpy()[rows["item"]]).all()
    assert rows["day"].is_monotonic_increasing and rows["day"].max() < shop.DAYS
    chance = 1 / (1 + np.exp(-m.utility(rows["user"], rows["item"])))
    for low in (0.0, 0.1, 0.3, 0.5):  # calibrated, up to four standard errors
        part = (chance >= low) & (chance < low + 0.2)
        error = np.sqrt((chance[part] * (1 - chance[part])).sum()) / part.sum()
        assert abs(rows["clicked"][part].mean() - chance[part].mean()) < 4 * error


def test_the_utility_is_the_formula_for_one_and_for_all():
    m = small_market()
    user, item = m.users.iloc[3], m.items.iloc[5]
    by_hand = (2.5 * (item.kind in user.tastes) + 4 * (item.quality - 0.5)
               - user.thrift * np.log(item.price / 20) / 0.5 - 2.5)  # fmt: skip
    assert m.utility(3, 5) == pytest.approx(by_hand)
    everything = m.utility(np.arange(40)[:, None], np.arange(60))
    assert everything.shape == (40, 60) and everything[3, 5] == m.utility(3, 5)
    for wrong in ((40, 0), (0, 60), (-1, 0), (0.5, 0)):
        with pytest.raises(ValueError, match="s are 0 to "):
            m.utility(*wrong)


def test_a_market_is_the_same_for_a_seed_and_needs_sensible_numbers():
    again, other = (market(users=40, items=60, new=20, seed=s, shown=30) for s in (1, 2))
    for name in ("items", "users", "clicks"):
        assert getattr(again, name).equals(getattr(small_market(), name))
        assert not getattr(other, name).equals(getattr(again, name))
    for wrong in (dict(users=0), dict(new=400), dict(shown=301), dict(texts=0), dict(seed=-1)):
        with pytest.raises(ValueError, match="need "):
            market(**wrong)


def test_the_second_domain_has_words_that_the_embedded_model_never_read():
    known = advlib.load_classifier("reviews-clean", device="cpu").tokenizer.get_vocab()
    new = set(S.vocabulary) - set(W.vocabulary)
    assert len(new) > 180 and not new & set(known)
    texts = S.sample(500, "test")
    assert sum(bool(new & set(words(r.text.lower()))) for r in texts) > 0.95 * len(texts)


def test_the_second_domain_is_loaded_and_substituted_by_its_name():
    data = advlib.load_text("sailing", train_size=20, test_size=20)
    assert set(data["test"]["domain"]) <= set(S.data.DOMAINS)
    options = WordSubstitution(world="sailing").options("The keel is leaky.")
    assert "mast" in options[1] and "corroded" in options[3]
