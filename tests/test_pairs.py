"""Sentence pairs through the whole library: encoding, attacks, training, evaluation."""

import numpy as np
import pytest
import torch
from conftest import DECODERS, ENCODERS, make_classifier
from datasets import Dataset
from transformers import DataCollatorWithPadding

import advlib
from advlib.app.experiment import probe, token_weights
from advlib.app.options import Options
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
from advlib.attacks.search import WordResult
from advlib.attacks.words import (
    KeepWords,
    LabelRule,
    Similarity,
    gradients,
    word_tokens,
)
from advlib.corpora import replace, words, world
from advlib.data import data_hash, texts_of
from advlib.embeddings import attackable
from advlib.evaluation import calibrate, robustness
from advlib.finetuning import finetune
from advlib.models import NOT_INPUTS, ModelError
from advlib.objectives import Adversarial, Free, FreeLB, Words
from advlib.training import tokenize

# Unknown words, an empty text on either side, and lengths that differ.
PAIRS = [
    ("good film", "the film was very good but the ending felt slow and rather dull"),
    ("it was not awful and they felt zxqv", "never bad"),
    ("", "they felt cold"),
    ("bright", ""),
    ("the plot", "the plot"),
]
LABELS = [0, 1, 2, 0, 1]


def pairs_as_data():
    first, second = zip(*PAIRS, strict=True)
    return Dataset.from_dict({"text": first, "text_pair": second, "label": LABELS})


@pytest.fixture(params=ENCODERS)
def encoder(request):
    return make_classifier(request.param)


@pytest.fixture(scope="module")
def reader():
    """An embedded model. It never saw a pair, but its tokenizer knows how they are written."""
    return advlib.load_classifier("reviews-clean", device="cpu")


@pytest.fixture(scope="module")
def reviews():
    made = [review.text for review in world().sample(20, "test", seed=5)]
    return list(zip(made[:10], made[10:], strict=True))


# ---------------------------------------------------------------------- words of a pair


def test_words_of_a_pair_are_those_of_the_first_and_then_of_the_second():
    pair = ("It's good, really.", "No: bad!")
    assert words(pair) == ["It's", "good", "really", "No", "bad"]
    assert replace(pair, {1: "fine", 4: "awful"}) == ("It's fine, really.", "No: awful!")
    assert replace(list(pair), {}) == pair and replace("a b", {1: "c"}) == "a c"
    with pytest.raises(ValueError, match="a string or a pair of two strings"):
        words(("a", "b", "c"))


# ---------------------------------------------------------------------- encoding


def test_a_pair_is_encoded_as_its_tokenizer_writes_pairs(encoder):
    batch = encoder.encode(PAIRS, LABELS)
    for i, (first, second) in enumerate(PAIRS):
        alone = encoder.tokenizer([first], [second])
        n = len(alone["input_ids"][0])
        for name, values in alone.items():
            assert batch[name][i, :n].tolist() == values[0]
        assert not batch["attention_mask"][i, n:].any()
        # The words of both texts are free, and nothing between, around or behind them.
        ids = batch["input_ids"][i]
        for part, text in (("both", f"{first} {second}"), ("first", first), ("second", second)):
            free = ids[attackable(batch, part)[i]].tolist()
            assert free == encoder.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ("token_type_ids" in batch) == (encoder.model.config.model_type == "bert")


def test_predictions_for_pairs_are_the_models_own(encoder):
    found = encoder.predict(PAIRS)
    for (first, second), probabilities in zip(PAIRS, found, strict=True):
        with torch.no_grad():
            alone = encoder.tokenizer([first], [second], return_tensors="pt")
            logits = encoder.model(**alone).logits
        np.testing.assert_allclose(probabilities, logits[0].softmax(0), atol=1e-5)
    np.testing.assert_allclose(encoder.predict([list(p) for p in PAIRS], 2), found, atol=1e-5)
    swapped = encoder.predict([pair[::-1] for pair in PAIRS])
    assert not np.allclose(swapped[0], found[0], atol=1e-3)


@pytest.mark.parametrize("long", [0, 1])
def test_of_a_pair_that_is_too_long_the_longer_text_is_cut(encoder, long):
    pair = ["never bad", "never bad"]
    pair[long] = "good " * 300
    batch = encoder.encode([tuple(pair)], [0])
    assert batch["input_ids"].shape[1] == encoder.max_length
    kept = [int(attackable(batch, part).sum()) for part in ("first", "second")]
    assert kept[1 - long] == 2 and kept[long] == encoder.max_length - 2 - (
        4 if encoder.model.config.model_type == "roberta" else 3
    )


@pytest.mark.parametrize("architecture", DECODERS)
def test_a_tokenizer_that_marks_no_border_is_refused(architecture):
    victim = make_classifier(architecture)
    for use in (victim.predict, victim.encode, lambda texts: tokenize(victim, pairs_as_data())):
        with pytest.raises(ModelError, match="no mark between the two texts of a pair.*: take a"):
            use(PAIRS)


def test_texts_of_two_kinds_and_other_things_are_refused(bert):
    with pytest.raises(ValueError, match="1 of 2 texts are pairs"):
        bert.predict(["good", ("good", "bad")])
    for odd in (("a", "b", "c"), ("a", None), 3, None):
        with pytest.raises(ValueError, match="a text is a string or a pair"):
            bert.predict([odd, "good"])


# ---------------------------------------------------------------------- embedding attacks

EMBEDDING = [Noise(0.3), FGM(0.3), FGSM(0.3), PGD(0.3, steps=2, restarts=2),
             Divergence(0.3), VirtualAdversarial(0.3), PGD(0.3, scope="token")]  # fmt: skip


@pytest.mark.parametrize("attack", EMBEDDING, ids=lambda a: type(a).__name__)
@pytest.mark.parametrize("part", ["both", "first", "second"])
def test_only_the_attacked_part_moves(encoder, attack, part):
    attack = type(attack)(**{**vars(attack), "part": part})
    batch = encoder.encode(PAIRS, LABELS)
    moved = attack(encoder.model, batch).norm(dim=-1) > 0
    assert torch.equal(moved, attackable(batch, part))


@pytest.mark.parametrize("attack", EMBEDDING[:4], ids=lambda a: type(a).__name__)
def test_a_part_of_a_single_text_is_refused(bert, attack):
    attack = type(attack)(0.3, part="second")
    with pytest.raises(ValueError, match="part='second' is for sentence pairs.*leave it out"):
        attack(bert.model, bert.encode(["good film"], [0]))
    with pytest.raises(ValueError, match="part must be one of"):
        type(attack)(0.3, part="premise")


def test_the_repr_says_which_part_and_nothing_where_it_is_both():
    assert repr(FGM(0.3)) == ("FGM(eps=0.3, norm='l2', scope='sequence', relative=True, "
                              "target=None, same_dropout=False, seed=0)")  # fmt: skip
    assert "seed=0, part='first', restarts=2" in repr(Noise(0.3, part="first", restarts=2))
    assert repr(PGD(0.3)).endswith("seed=0, steps=10, step_size=None, random_start=False, "
                                   "restarts=1)")  # fmt: skip
    assert repr(Typos(part="second")).endswith("max_changed=1.0, part='second')")
    assert "part" not in repr(Typos())


def test_objectives_keep_to_the_part(bert):
    """With the second text's embeddings alone free, the first step is one on them alone."""
    batch, single = bert.encode(PAIRS, LABELS), bert.encode(["good film"], [0])
    for objective in (FreeLB(PGD(0.3, steps=2, random_start=True, part="second")),
                      Free(FGM(0.3, part="second")), Adversarial(FGM(0.3, part="second"))):
        seen = []
        handle = bert.model.get_input_embeddings().register_forward_hook(
            lambda module, args, out, seen=seen: seen.append(out.detach())
        )
        for _ in range(2):
            objective(bert.model, batch)
        handle.remove()
        clean = bert.model.get_input_embeddings()(batch["input_ids"])
        assert seen and all(torch.equal(out[: len(PAIRS)], clean) for out in seen)
        with pytest.raises(ValueError, match="is for sentence pairs"):
            objective(bert.model, single)


# ---------------------------------------------------------------------- training, evaluation


def test_a_training_batch_of_pairs_is_what_encode_makes(encoder):
    rows = tokenize(encoder, pairs_as_data())
    batch = DataCollatorWithPadding(encoder.tokenizer)([rows[i] for i in range(len(PAIRS))])
    wanted = encoder.encode(PAIRS, LABELS)
    assert batch.keys() == wanted.keys() and "second_at" in NOT_INPUTS
    for part in ("both", "first", "second"):
        assert torch.equal(attackable(batch, part), attackable(wanted, part))
    for name in ("input_ids", "attention_mask", "second_at", "labels"):
        assert torch.equal(batch[name], wanted[name])


def test_pairs_are_trained_and_evaluated(encoder, tmp_path):
    """What is learned is in the second text, and the first is attacked."""
    rows = [{"text": a, "text_pair": f"it was {b}", "label": int(b == "good")}
            for a in ("film", "plot was") for b in ("good", "bad") for _ in range(4)]  # fmt: skip
    data, attacks = Dataset.from_list(rows), [FGM(0.05, part="first"), Typos(part="first")]
    trainer = finetune(encoder, data, Adversarial(FGM(0.05, part="second")), out=str(tmp_path),
                       epochs=4, batch_size=8, learning_rate=1e-2, disable_tqdm=True,
                       logging_steps=1, evaluation=data, attack=attacks[0])  # fmt: skip
    table = robustness(encoder, data, attacks, calibrate_on=data)
    found, log = trainer.evaluate(), trainer.state.log_history
    assert log[-3]["clean_loss"] < log[0]["clean_loss"]
    assert found["eval_accuracy"] == pytest.approx(table["accuracy"][0])
    assert found["eval_robust_accuracy"] == pytest.approx(
        table.set_index("attack")["accuracy"]["FGM"]
    )
    assert calibrate(encoder, data).temperature > 0


def test_words_of_pairs_are_trained_on(bert):
    data = pairs_as_data()
    objective = Words(Typos(max_changed=0.5, part="second"), bert, data)
    batch = bert.encode(PAIRS, LABELS)
    assert objective.texts(batch) == PAIRS
    assert objective(bert.model, batch).adv is not None


# ---------------------------------------------------------------------- word attacks

CHANGES = [
    Typos(max_changed=0.3, constraints=(KeepWords(),)),
    EmbeddingNeighbours(max_changed=0.3),
    HotFlip(max_changed=0.3),
    HotFlip(k=3, max_queries=9),
    MaskedLanguageModel(k=3, max_changed=0.3),
    WordSubstitution(constraints=(LabelRule(),)),
    WordSubstitution(constraints=(Similarity(lambda t: np.ones((len(t), 2))),)),
    Typos(rank="gradient", max_changed=0.3),
]


@pytest.mark.parametrize("attack", CHANGES, ids=lambda a: repr(a)[:40])
@pytest.mark.parametrize("part", ["both", "first", "second"])
def test_word_attacks_change_the_part_and_nothing_else(reader, reviews, attack, part):
    attack = type(attack)(**{**vars(attack), "part": part})
    texts = reviews[:4]
    labels = reader.predict(texts).argmax(1).tolist()
    results = attack(reader, texts, labels)
    again = attack(reader, texts[::-1], labels[::-1])[::-1]
    assert again == results
    for pair, found in zip(texts, results, strict=True):
        cut, old, new = len(words(pair[0])), words(pair), words(found.text)
        assert found.original == pair and isinstance(found.text, tuple)
        assert len(old) == len(new)
        assert found.changed == tuple(i for i in range(len(old)) if old[i] != new[i])
        size = {"both": len(old), "first": cut, "second": len(old) - cut}[part]
        assert len(found.changed) <= attack.max_changed * size
        if part != "both":
            kept = ("first", "second").index(part) ^ 1
            assert found.text[kept] == pair[kept]
    predicted = reader.predict([r.text for r in results]).argmax(1)
    assert [r.success for r in results] == (predicted != labels).tolist()
    assert any(r.changed for r in results)


def test_word_attacks_refuse_a_part_of_a_single_text_before_they_ask(reader, monkeypatch):
    monkeypatch.setattr(type(reader), "logits", None)
    with pytest.raises(ValueError, match="part='first' is for sentence pairs"):
        Typos(part="first")(reader, ["The soup was tasty."], [1])
    with pytest.raises(ValueError, match="part must be one of"):
        Typos(part="hypothesis")


def test_words_of_pairs_and_their_tokens_are_aligned(reader):
    pair = ("Delectablish soup, waiter!", "waiter, the soup")
    row = reader.encode([pair])["input_ids"][0]
    tokens = reader.tokenizer.convert_ids_to_tokens(row.tolist())
    joined = ["".join(tokens[a:b]).replace("##", "") for a, b in word_tokens(reader, pair)]
    assert joined == ["delectablish", "soup", "waiter", "waiter", "the", "soup"]
    (slopes,) = gradients(reader, [pair], [1])
    assert [slope.ids.tolist() for slope in slopes] == [
        row[a:b].tolist() for a, b in word_tokens(reader, pair)
    ]


def test_constraints_judge_each_text_of_a_pair(reader):
    asked = []

    class Judge(KeepWords):
        def allows(self, victim, pairs):
            asked.extend(pairs)
            return ["bland" not in new for _, new in pairs]

    pair = ("The soup was delicious.", "The waiter was kind.")
    attack = WordSubstitution(constraints=(Judge(frozenset()),), part="first")
    attack(reader, [pair], [int(reader.predict([pair]).argmax())])
    assert asked and {old for old, _ in asked} == {pair[0]}
    assert all(isinstance(new, str) for _, new in asked)


def test_changes_in_both_texts_are_shown():
    old, new = ("good soup", "no <b>"), ("fine soup", "not <b>")
    result = WordResult(old, new, 1, (0, 2), True, False, 2)
    assert result.show() == "[good -> fine] soup ‖ [no -> not] <b>"
    marked = result.show(as_html=True)
    assert marked.count("<ins>") == 2 and "<b>" not in marked


def test_a_run_looks_at_pairs(reader, bert):
    """What `advlib run` does with texts itself: it tries the attacks on a few, and shows tokens."""
    probe(Options(data="mine.csv"), bert, pairs_as_data(), 0.1)
    pair = ("The soup was good.", "The room was bad.")
    assert token_weights(reader, pair, 1)["tokens"].count(".") == 2


# ---------------------------------------------------------------------- hashes


def test_pairs_come_through_the_data_set_and_its_hash():
    data = pairs_as_data()
    assert texts_of(data) == PAIRS
    frame = data.to_pandas().drop(index=[2, 3])
    frame = frame[["text", "text_pair", "label"]]
    splits = [advlib.load_text(Dataset.from_pandas(f.loc[f.index.repeat(5)], preserve_index=False),
                               text=text)
              for f, text in ((frame, "text,text_pair"), (frame, "text_pair,text"))]  # fmt: skip
    assert data_hash(splits[0]) != data_hash(splits[1])
