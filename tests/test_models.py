"""Loading classifiers from folders, predicting, saving; no network."""

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from conftest import make_classifier, make_config, make_tokenizer
from tokenizers import Regex, normalizers
from tokenizers.pre_tokenizers import Whitespace

from advlib import models
from advlib.attacks.embedding import FGM
from advlib.models import (
    CONFUSABLES,
    ModelError,
    check_weights,
    embedded_checkpoints,
    fold_look_alikes,
    load_classifier,
    raw_logits,
)

HARD_TEXTS = {
    "10,000 words": "good " * 10_000,
    "nothing": "",
    "only whitespace": " \t \n ",
    "only emoji": "😀 👍🏽 🇩🇪 👩‍👩‍👧",
    "no known word": "zxqv wvut",
    "odd characters": "\x00 \ufeff ﷽ \u202e good",
}


@pytest.fixture
def folder(victim, tmp_path):
    """A saved classifier of every architecture."""
    victim.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def bert_folder(bert, tmp_path):
    bert.save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def headless(tmp_path):
    """A language model without a classification head, as `tools/pretrain.py` saves it."""
    from transformers import BertForMaskedLM

    torch.manual_seed(0)
    folder = tmp_path / "language-model"
    BertForMaskedLM(make_config("bert")).save_pretrained(folder)
    make_tokenizer("bert").save_pretrained(folder)
    return folder


# --- saving and loading ---------------------------------------------------------------------


def test_a_saved_classifier_loads_and_predicts_the_same(victim, folder, texts):
    expected = victim.predict(texts)
    loaded = load_classifier(folder, device="cpu")
    np.testing.assert_allclose(loaded.predict(texts), expected, atol=1e-6)
    assert np.array_equal(load_classifier(str(folder), device="cpu").predict(texts), expected)
    assert not loaded.model.training and loaded.labels == victim.labels


def test_a_saved_classifier_is_what_transformers_pipeline_loads(victim, folder, texts):
    import transformers

    with models.quiet():
        pipeline = transformers.pipeline("text-classification", model=str(folder), device="cpu")
        rows = pipeline(texts, top_k=None)
    for probabilities, row in zip(victim.predict(texts), rows, strict=True):
        found = {entry["label"]: entry["score"] for entry in row}
        assert [found[name] for name in victim.labels] == pytest.approx(probabilities, abs=1e-5)


def test_a_relative_folder_and_a_home_folder_load(bert_folder, texts, monkeypatch):
    monkeypatch.chdir(bert_folder.parent)
    monkeypatch.setenv("HOME", str(bert_folder.parent))
    for name in ("model", "./model", "~/model"):
        assert load_classifier(name, device="cpu").predict(texts).shape == (4, 3)


def test_a_language_model_gets_a_head_for_the_labels(headless, texts):
    import transformers

    found = []
    for seed in (1, 1, 2):
        transformers.set_seed(seed)
        victim = load_classifier(headless, labels=["bad", "mixed", "good"], device="cpu")
        assert victim.labels == ["bad", "mixed", "good"]
        assert victim.model.config.label2id == {"bad": 0, "mixed": 1, "good": 2}
        found.append(victim.predict(texts))
    assert found[0].shape == (4, 3)
    assert np.array_equal(found[0], found[1]) and not np.allclose(found[0], found[2], atol=1e-4)


def test_a_language_model_keeps_its_pretrained_weights(headless):
    from safetensors.torch import load_file

    victim = load_classifier(headless, labels=["a", "b"], device="cpu")
    kept = load_file(headless / "model.safetensors")
    own = victim.model.state_dict()
    shared = [name for name in kept if name in own]
    assert len(shared) > 30
    assert all(torch.equal(kept[name], own[name]) for name in shared)


def test_a_language_model_without_labels_is_no_classifier(headless):
    with pytest.raises(ModelError, match=r"no trained classification head: .* labels=\[...\]"):
        load_classifier(headless)


def test_labels_of_another_number_replace_the_head(bert, bert_folder, texts):
    victim = load_classifier(bert_folder, labels=["no", "yes"], device="cpu")
    assert victim.labels == ["no", "yes"] and victim.predict(texts).shape == (4, 2)
    old, new = (v.model.get_input_embeddings().weight for v in (bert, victim))
    assert torch.equal(old, new)


def test_labels_of_the_same_number_rename_the_head(bert, bert_folder, texts):
    victim = load_classifier(bert_folder, labels=["x", "y", "z"], device="cpu")
    assert victim.labels == ["x", "y", "z"]
    np.testing.assert_allclose(victim.predict(texts), bert.predict(texts), atol=1e-6)


def test_names_of_labels_survive_saving(headless, tmp_path):
    victim = load_classifier(headless, labels=["bad", "good"], device="cpu")
    victim.save(tmp_path / "again")
    assert load_classifier(tmp_path / "again", device="cpu").labels == ["bad", "good"]


def test_weights_saved_in_half_precision_load_in_float32(bert, tmp_path, texts):
    bert.model.half()
    bert.save(tmp_path / "half")
    victim = load_classifier(tmp_path / "half", device="cpu")
    assert {p.dtype for p in victim.model.parameters()} == {torch.float32}
    assert np.isfinite(victim.predict(texts)).all()


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_a_decoder_without_padding_token_gets_one(tiny, tmp_path, texts, architecture):
    victim = tiny(architecture)
    victim.model.config.pad_token_id = None
    victim.model.save_pretrained(tmp_path / "model")
    make_tokenizer(architecture).save_pretrained(tmp_path / "model")
    assert make_tokenizer(architecture).pad_token is None
    loaded = load_classifier(tmp_path / "model", device="cpu")
    assert loaded.tokenizer.pad_token == loaded.tokenizer.eos_token
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id
    alone = np.concatenate([loaded.predict([text]) for text in texts])
    np.testing.assert_allclose(loaded.predict(texts), alone, atol=1e-5)
    assert FGM(0.3)(loaded.model, loaded.encode(texts, [0, 1, 2, 0])).any()


# --- predicting -----------------------------------------------------------------------------


def test_predictions_are_the_softmax_of_the_models_own_logits(victim, texts):
    for text, found in zip(texts, victim.predict(texts), strict=True):
        batch = victim.tokenizer([text], return_tensors="pt")
        with torch.no_grad():
            expected = victim.model(**batch).logits[0].softmax(0)
        assert found == pytest.approx(expected.numpy(), abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_predictions_do_not_depend_on_batch_size_or_order(victim, texts, batch_size):
    texts = texts + texts[:2]
    expected = victim.predict(texts)
    np.testing.assert_allclose(victim.predict(texts, batch_size), expected, atol=1e-5)
    order = [3, 0, 5, 1, 4, 2]
    shuffled = victim.predict([texts[i] for i in order], batch_size)
    np.testing.assert_allclose(shuffled, expected[order], atol=1e-5)


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
def test_any_text_gets_probabilities_alone_and_beside_others(victim, text):
    alone = victim.predict([text])
    beside = victim.predict(["the film was good", text])
    for found in (alone, beside):
        assert np.isfinite(found).all() and found.sum(1) == pytest.approx(1, abs=1e-5)
    if text.strip():
        np.testing.assert_allclose(alone[0], beside[1], atol=1e-5)


def test_a_long_text_is_cut_to_what_the_model_can_read(victim):
    batch = victim.encode(["good " * 10_000, "good"])
    longest = 63 if victim.model.config.model_type == "roberta" else 64
    assert batch["input_ids"].shape == (2, longest)
    assert victim.max_length == longest


def test_no_text_longer_than_512_tokens_even_where_the_model_could(victim):
    victim.model.config.max_position_embeddings = 100_000
    assert victim.max_length == 512


def test_no_texts_give_no_predictions(bert):
    assert bert.predict([]).shape == (0, 3)


def test_one_text_in_place_of_a_list_is_an_error(bert):
    with pytest.raises(TypeError, match=r"predict\(\[text\]\)"):
        bert.predict("the film was good")


def test_huge_logits_give_probabilities_without_overflow(bert, texts):
    bert.model.classifier.weight.data *= 1e6
    found = bert.predict(texts)
    assert np.isfinite(found).all() and found.sum(1) == pytest.approx(1)


def test_predicting_leaves_modes_and_random_state_as_they_were(tiny, texts):
    victim = tiny(dropout=0.3)
    expected = victim.predict(texts)
    victim.model.train()
    victim.model.bert.embeddings.eval()
    modes = [module.training for module in victim.model.modules()]
    state = torch.get_rng_state()
    assert np.array_equal(victim.predict(texts), expected)  # dropout is off meanwhile
    assert [module.training for module in victim.model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


def test_an_exception_while_predicting_leaves_modes_as_they_were(tiny, texts, monkeypatch):
    victim = tiny(dropout=0.3)
    victim.model.train()
    monkeypatch.setattr(victim.model.classifier, "forward", None)
    with pytest.raises(TypeError):
        victim.predict(texts)
    assert victim.model.training


def test_encode_makes_the_batch_that_attacks_need(victim, texts, labels):
    batch = victim.encode(texts, labels)
    shape = (4, max(len(text.split()) for text in texts) + (2 if victim.tokenizer.cls_token else 0))
    for name in ("input_ids", "attention_mask", "special_tokens_mask"):
        assert batch[name].shape == shape
    assert batch["labels"].tolist() == labels and batch["labels"].dtype == torch.int64
    assert "labels" not in victim.encode(texts)


def test_batches_cover_each_text_once_and_keep_lengths_together(bert, texts):
    texts = texts * 3
    labels = list(range(len(texts)))
    seen, widths = [], []
    for chosen, batch in bert.batches(texts, labels, batch_size=3):
        assert batch["labels"].tolist() == chosen
        seen += chosen
        widths.append(batch["input_ids"].shape[1])
    assert sorted(seen) == labels
    assert widths == sorted(widths)


def test_batches_suit_device_and_lengths(bert, monkeypatch):
    monkeypatch.setattr(type(bert), "max_length", 512)

    def sizes(lengths):
        groups = list(bert._groups(lengths, None))
        order = [i for group in groups for i in group]
        assert sorted(order) == list(range(len(lengths)))
        assert [lengths[i] for i in order] == sorted(lengths)
        return [len(group) for group in groups]

    assert sizes([]) == []
    assert sizes([2] * 600) == [256, 256, 88]
    # As many as fit by their longest, and never fewer than eight.
    assert sizes([14] * 100) == [50, 50]
    assert sizes([512] * 20 + [2] * 40) == [40, 8, 8, 4]
    monkeypatch.setattr(type(bert), "device", torch.device("cuda"))
    assert sizes([14] * 300) == [256, 44]
    assert sizes([512] * 30) == [25, 5]


def test_texts_are_sorted_by_tokens_and_not_by_letters(bert, monkeypatch):
    """A long word of one token stands with the short ones; also across what is cut at once."""
    monkeypatch.setattr(models, "AT_ONCE", 4)
    texts = ["it was", "x" * 99, "good", "a b c d e f", "not bad", "y" * 50, "it was not awful"]
    widths = {}
    for chosen, batch in bert.batches(texts, batch_size=2):
        widths |= dict.fromkeys(chosen, batch["input_ids"].shape[1])
    assert sorted(widths) == list(range(len(texts)))
    monkeypatch.setattr(models, "AT_ONCE", 2048)
    found = [batch["input_ids"].shape[1] for _, batch in bert.batches(texts, batch_size=1)]
    assert found == sorted(found) == [3, 3, 3, 4, 4, 6, 8]


ODD = ["", " ", "  a  ", "Good, GOOD; good!", "no\tbreak\nhere", "Ünïcödé e\u0301 漢字 и 😀",
       "[MASK]x", "a[UNK] b [SEP] c", "\x00\x1fb\u00a0c\u2028d\x85e", "don't  stop", "word " * 300,
       "z" * 300,
       "\u0301a e \u0301b", "\ufb01ne \u00bd \u00a8x \uff21", "f\u0430ll g\u03bfod"]  # fmt: skip


@pytest.mark.parametrize("source", ["reviews-clean", "bert-tiny", "news-robust"])
def test_words_cut_one_by_one_give_the_tokens_of_the_whole_text(source):
    """The short way that predictions take, twice: the second time from memory."""
    labels = ["no", "yes"] if source == "bert-tiny" else None
    victim = load_classifier(source, device="cpu", labels=labels)
    for _ in range(2):
        short = [(i, b) for i, b in victim._batches(victim._inputs, ODD, None, 3)]
        whole = list(victim.batches(ODD, batch_size=3))
        assert models.word_pieces(victim.tokenizer) is not None
        for (i, found), (k, wanted) in zip(short, whole, strict=True):
            del wanted["special_tokens_mask"]
            assert i == k and found.keys() == wanted.keys()
            assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert len(models.word_pieces(victim.tokenizer)) > 10


def test_only_berts_own_way_is_cut_word_by_word():
    victim = load_classifier("reviews-clean", device="cpu")
    tokenizer = victim.tokenizer
    assert models.word_pieces(tokenizer) is not None
    victim.logits(["the new york times"])
    tokenizer.add_tokens(["new york"])  # a token with a space: words are not by themselves
    assert models.word_pieces(tokenizer) is None
    for text in ("the new york times", "a  b"):
        assert victim._inputs([text])["input_ids"] == victim.tokens([text])["input_ids"]
    inner = load_classifier("reviews-clean", device="cpu").tokenizer
    inner.backend_tokenizer.pre_tokenizer = Whitespace()
    assert models.word_pieces(inner) is None
    assert models.word_pieces(make_classifier("roberta").tokenizer) is None
    for odd in (normalizers.Replace(Regex("e .*"), ""), normalizers.Replace(" ", "-"),
                normalizers.Strip()):  # fmt: skip
        inner = load_classifier("news-robust", device="cpu").tokenizer
        assert models.word_pieces(inner) is not None
        usual = inner.backend_tokenizer.normalizer
        inner.backend_tokenizer.normalizer = normalizers.Sequence([usual, odd])
        assert models.word_pieces(inner) is None


def test_words_are_cut_anew_where_the_tokenizer_was_changed():
    victim = load_classifier("reviews-clean", device="cpu")
    before = victim._inputs(["a zxqv"])["input_ids"]
    victim.tokenizer.add_tokens(["zxqv"])
    after = victim._inputs(["a zxqv"])["input_ids"]
    assert after == victim.tokens(["a zxqv"])["input_ids"] != before


def test_the_memory_of_words_is_bounded(monkeypatch):
    victim = load_classifier("reviews-clean", device="cpu")
    monkeypatch.setattr(models, "MOST_PIECES", 5)
    texts = [f"word{i} film" for i in range(9)]
    assert np.allclose(victim.logits(texts), victim.logits(texts))
    assert not models.word_pieces(victim.tokenizer)


def test_predicting_leaves_nothing_that_gradients_cannot_use(victim, texts, labels):
    """Predictions run in inference mode, whose tensors no gradient may pass."""
    victim.logits(texts)
    delta = FGM(0.1)(victim.model, victim.encode(texts, labels))
    assert torch.isfinite(delta).all() and not delta.is_inference()
    victim.model.train()
    raw = raw_logits(victim.model, victim.encode(texts))
    raw.sum().backward()
    victim.model.eval()


# --- what cannot be loaded, and why ---------------------------------------------------------


@pytest.mark.parametrize("name", ["/no/such/folder", "./no-such-folder", "~/no/such/folder"])
def test_a_folder_that_is_missing_is_named(name):
    with pytest.raises(ModelError, match="there is no model folder .*no.such.folder: check"):
        load_classifier(name)


def test_a_file_in_place_of_a_folder_is_an_error(bert_folder):
    with pytest.raises(ModelError, match="there is no model folder"):
        load_classifier(bert_folder / "config.json")


@pytest.mark.parametrize(
    "gone, sentence",
    [
        (["config.json"], "it has no config.json"),
        (["model.safetensors"], "has no weights as safetensors"),
        (["tokenizer.json"], "has no tokenizer: put it there"),
    ],
)
def test_a_folder_that_lacks_a_part_says_which(bert_folder, gone, sentence):
    for name in gone:
        (bert_folder / name).unlink()
    with pytest.raises(ModelError, match=sentence):
        load_classifier(bert_folder)


@pytest.mark.parametrize("decoy", [False, True])
def test_pickled_weights_are_refused_and_never_opened(bert, bert_folder, decoy):
    marker = bert_folder / "opened"

    class Bomb:
        def __reduce__(self):
            return open, (str(marker), "w")

    weights = bert_folder / "model.safetensors"
    torch.save({**bert.model.state_dict(), "bomb": Bomb()}, bert_folder / "pytorch_model.bin")
    weights.rename(bert_folder / "other.safetensors") if decoy else weights.unlink()
    with pytest.raises(ModelError):
        load_classifier(bert_folder)
    assert not marker.exists()


def test_code_that_a_model_brings_along_never_runs(bert_folder, monkeypatch):
    import builtins

    marker, config = bert_folder / "ran", json.loads((bert_folder / "config.json").read_text())
    (bert_folder / "own.py").write_text(f"open({str(marker)!r}, 'w')\n")
    config["model_type"] = "own"
    config["auto_map"] = {
        "AutoConfig": "own.OwnConfig",
        "AutoModelForSequenceClassification": "own.OwnModel",
    }
    (bert_folder / "config.json").write_text(json.dumps(config))
    asked = []
    monkeypatch.setattr(builtins, "input", lambda text="": asked.append(text) or "y")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_classifier(bert_folder)
    assert not marker.exists() and not asked


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_file_is_one_sentence(bert_folder, name):
    path = bert_folder / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError) as caught:
        load_classifier(bert_folder)
    sentence = str(caught.value)
    assert "cannot be loaded: " in sentence and "\n" not in sentence


def test_weights_of_another_shape_are_an_error(bert_folder):
    config = json.loads((bert_folder / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (bert_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError):
        load_classifier(bert_folder)


def test_a_hub_name_without_network_says_that_embedded_models_work(monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    card(tmp_path / "shipped")
    monkeypatch.setattr(models, "CHECKPOINTS", tmp_path)
    with pytest.raises(ModelError, match="the embedded models work offline") as caught:
        load_classifier("nobody/no-such-model")
    assert "nobody/no-such-model" in str(caught.value) and "shipped" in str(caught.value)


def test_a_model_error_is_a_value_error():
    assert issubclass(ModelError, ValueError)


# --- embedded checkpoints -------------------------------------------------------------------


def card(folder, digest=None):
    """Write the card that belongs to the weights in a folder."""
    folder.mkdir(exist_ok=True)
    weights = folder / "model.safetensors"
    if digest is None and weights.exists():
        digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (folder / "card.json").write_text(json.dumps({"sha256": digest, "seed": 0}))


@pytest.fixture
def checkpoint(bert_folder, monkeypatch):
    """An embedded checkpoint of the name "model"."""
    card(bert_folder)
    monkeypatch.setattr(models, "CHECKPOINTS", bert_folder.parent)
    return bert_folder


def test_an_embedded_checkpoint_loads_by_its_name(bert, checkpoint, texts):
    found = load_classifier("model", device="cpu")
    np.testing.assert_allclose(found.predict(texts), bert.predict(texts), atol=1e-6)
    assert list(embedded_checkpoints()) == ["model"]
    assert embedded_checkpoints()["model"]["seed"] == 0


def test_a_changed_byte_in_an_embedded_checkpoint_is_noticed(checkpoint):
    check_weights(checkpoint)
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="'model' is damaged.*make checkpoints"):
        load_classifier("model")


def test_an_embedded_checkpoint_without_weights_is_noticed(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="is damaged: its SHA-256 is no file"):
        load_classifier("model")


def test_a_copy_of_a_checkpoint_may_be_trained_further(checkpoint, bert, tmp_path, texts):
    """The card describes the package's own folder, not what somebody made of a copy."""
    copy = tmp_path / "elsewhere" / "mine"
    shutil.copytree(checkpoint, copy)
    bert.model.classifier.bias.data += 1
    bert.save(copy)
    np.testing.assert_allclose(
        load_classifier(copy, device="cpu").predict(texts), bert.predict(texts), atol=1e-6
    )


def test_without_checkpoints_the_list_is_empty(monkeypatch, tmp_path):
    monkeypatch.setattr(models, "CHECKPOINTS", tmp_path / "none")
    assert embedded_checkpoints() == {}


# --- quiet ----------------------------------------------------------------------------------


@pytest.mark.parametrize("bars", [True, False])
def test_quiet_puts_verbosity_and_bars_back(bars):
    log = models.transformers.utils.logging
    level, shown = log.get_verbosity(), log.is_progress_bar_enabled()
    try:
        log.set_verbosity_info()
        log.enable_progress_bar() if bars else log.disable_progress_bar()
        with pytest.raises(KeyError), models.quiet():
            assert not log.is_progress_bar_enabled()
            raise KeyError
        assert log.get_verbosity() == log.INFO and log.is_progress_bar_enabled() == bars
    finally:
        log.set_verbosity(level)
        log.enable_progress_bar() if shown else log.disable_progress_bar()


def test_loading_prints_nothing(bert_folder, capfd):
    load_classifier(bert_folder, labels=["a", "b"], device="cpu")
    out, err = capfd.readouterr()
    assert out == "" and err == ""


# --- look-alikes ----------------------------------------------------------------------------


def test_folded_look_alikes_are_read_as_the_letters_that_they_look_like(tmp_path):
    victim = load_classifier("reviews-clean", device="cpu")
    plain = "The waiter was friendly, and the soup was delicious."
    odd = "The w\u0430iter was friendly, and the \u0455\u043eup was delici\uff4fus."
    folded = fold_look_alikes(victim)
    folded.save(tmp_path / "model")
    for found in (folded, load_classifier(tmp_path / "model", device="cpu")):
        a, b = (dict(found.tokens([t], return_offsets_mapping=True)) for t in (plain, odd))
        assert a == b and a["input_ids"] == victim.tokens([plain])["input_ids"]
        assert found.tokenizer.unk_token_id not in b["input_ids"][0]
        np.testing.assert_allclose(found.predict([odd]), victim.predict([plain]), atol=1e-6)
        assert found.max_length == victim.max_length
    assert victim.tokenizer.unk_token_id in victim.tokens([odd])["input_ids"][0], "left as it was"


def test_every_look_alike_of_the_typos_is_folded():
    from advlib.attacks.words import LOOK_ALIKES

    assert all(odd in CONFUSABLES[letter] for letter, odd in LOOK_ALIKES.items())
    known = [odd for found in CONFUSABLES.values() for odd in found]
    assert len({*known}) == len(known) and not any(odd.isascii() for odd in known)


def test_folding_keeps_every_tokenizer_as_it_was_for_other_texts(victim, texts):
    """Whatever the architecture: ids, marks and special tokens."""
    if not victim.tokenizer.is_fast:
        with pytest.raises(ModelError, match="fast tokenizers only"):
            fold_look_alikes(victim)
        return
    folded = fold_look_alikes(victim)
    assert dict(folded.tokens(texts)) == dict(victim.tokens(texts))
    assert folded.tokenizer.special_tokens_map == victim.tokenizer.special_tokens_map
    np.testing.assert_allclose(folded.predict(texts), victim.predict(texts), atol=1e-6)
