"""Tiny random classifiers, one per architecture, made on the spot and never downloaded."""

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("no clock", deadline=None)
settings.load_profile("no clock")

WORDS = (
    "the film plot acting ending was is not very a an but and good bad great awful fine dull "
    "bright curt slow warm cold it they felt seemed rather quite never always"
).split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
# One text with unknown words, lengths from one word to fifteen.
TEXTS = (
    "good",
    "the film was very good but the ending felt slow and the acting seemed rather dull",
    "it was not awful",
    "they felt zxqv never bad",
)
LABELS = (0, 1, 2, 0)
ENCODERS = ("bert", "distilbert", "roberta", "modernbert")
DECODERS = ("gpt2", "llama")  # these read left to right and add no special tokens here


def make_tokenizer(architecture="bert"):
    """A word-level tokenizer; encoders wrap a text, and both texts of a pair, in [CLS] and [SEP],
    decoders do not."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(SPECIAL + WORDS)}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    names = dict(unk_token="[UNK]", model_input_names=["input_ids", "attention_mask"])
    if architecture in DECODERS:
        return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="[PAD]", **names)
    if architecture == "bert":
        names["model_input_names"].insert(1, "token_type_ids")
    pair = {"bert": "[CLS] $A [SEP] $B:1 [SEP]:1", "roberta": "[CLS] $A [SEP] [SEP] $B [SEP]"}
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair=pair.get(architecture, "[CLS] $A [SEP] $B [SEP]"),
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", **names
    )


def make_config(architecture="bert", classes=3, dropout=0.0):
    """Two layers of 16 units, with weights large enough for the network to be far from linear."""
    import transformers as hf

    size = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    distil = dict(dim=16, n_layers=2, n_heads=2, hidden_dim=32)
    drop = dict(hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    kind, settings = {
        "bert": (hf.BertConfig, {**size, **drop}),
        "distilbert": (
            hf.DistilBertConfig,
            dict(dropout=dropout, attention_dropout=dropout, seq_classif_dropout=dropout, **distil),
        ),
        "roberta": (hf.RobertaConfig, {**size, **drop}),
        "modernbert": (
            hf.ModernBertConfig,
            dict(embedding_dropout=dropout, mlp_dropout=dropout, attention_dropout=dropout,
                 classifier_dropout=dropout, local_attention=4, **size),
        ),
        "gpt2": (
            hf.GPT2Config,
            dict(n_embd=16, n_layer=2, n_head=2, embd_pdrop=dropout, attn_pdrop=dropout,
                 resid_pdrop=dropout),
        ),
        "llama": (hf.LlamaConfig, dict(attention_dropout=dropout, **size)),
    }[architecture]  # fmt: skip
    ids = dict(pad_token_id=0, bos_token_id=None, eos_token_id=0)
    if architecture == "modernbert":
        ids |= dict(cls_token_id=2, sep_token_id=3)
    spread = dict(initializer_range=0.4, initializer_cutoff_factor=3.0)
    return kind(vocab_size=len(SPECIAL + WORDS), max_position_embeddings=64, num_labels=classes,
                **spread, **ids, **settings)  # fmt: skip


def make_classifier(architecture="bert", classes=3, dropout=0.0, seed=0):
    """A random `Classifier` in eval mode."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from advlib.models import Classifier, quiet

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        config = make_config(architecture, classes, dropout)
        model = AutoModelForSequenceClassification.from_config(config).eval()
        tokenizer = make_tokenizer(architecture)
    tokenizer.pad_token = "[PAD]"
    return Classifier(model, tokenizer)


@pytest.fixture
def tiny():
    """tiny(architecture="bert", classes=3, dropout=0.0, seed=0) -> Classifier."""
    return make_classifier


@pytest.fixture(params=ENCODERS + DECODERS)
def victim(request):
    """A random three-class classifier of every architecture."""
    return make_classifier(request.param)


@pytest.fixture
def bert():
    """A random three-class BERT."""
    return make_classifier("bert")


@pytest.fixture
def texts():
    return list(TEXTS)


@pytest.fixture
def labels():
    return list(LABELS)


@pytest.fixture(autouse=True)
def own_record(tmp_path_factory, monkeypatch):
    """What a test solves is kept in a file of its own."""
    file = tmp_path_factory.mktemp("record") / "record.json"
    monkeypatch.setenv("COURSE_RECORD", str(file))
    return file
