"""Models whose embeddings are unlike BERT's: attacked rightly, or refused with the true reason."""

import pytest
import torch
import transformers as hf

from advlib.attacks import FGM, PGD, Divergence, Noise, VirtualAdversarial
from advlib.embeddings import mean_norm, perturbed_logits
from advlib.models import ModelError
from advlib.objectives import R3F

SIZE = dict(vocab_size=60, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
            intermediate_size=32, num_labels=3)  # fmt: skip
SEQ2SEQ = dict(vocab_size=60, d_model=16, num_labels=3, pad_token_id=0)
BART = dict(encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, eos_token_id=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32)  # fmt: skip
GEMMA = dict(SIZE, num_key_value_heads=1, head_dim=8, pad_token_id=0)
KINDS = {
    "Gemma": GEMMA, "Gemma2": GEMMA, "Gemma3Text": GEMMA,
    "T5": dict(SEQ2SEQ, d_kv=8, d_ff=32, num_layers=1, num_heads=2, eos_token_id=2,
               decoder_start_token_id=0),
    "Bart": SEQ2SEQ | BART, "MBart": SEQ2SEQ | BART,
    "XLNet": dict(vocab_size=60, d_model=16, n_layer=1, n_head=2, d_inner=32, num_labels=3),
    "Longformer": dict(SIZE, attention_window=[8, 8], pad_token_id=0),
    "FNet": {k: v for k, v in SIZE.items() if k != "num_attention_heads"},
    "Bert": SIZE,
}  # fmt: skip


def make(kind):
    torch.manual_seed(0)
    config = getattr(hf, f"{kind}Config")(**KINDS[kind])
    return getattr(hf, f"{kind}ForSequenceClassification")(config).eval()


def batch_of(size=3, tokens=7):
    ids = torch.randint(3, 60, (size, tokens), generator=torch.Generator().manual_seed(1))
    ids[:, -1] = 2
    special = (ids == 2).long()
    return dict(input_ids=ids, attention_mask=torch.ones_like(ids), special_tokens_mask=special,
                labels=torch.arange(size) % 3)  # fmt: skip


@pytest.mark.parametrize("kind", ["Gemma", "Gemma2", "Gemma3Text", "Bert"])
def test_a_relative_eps_counts_in_what_leaves_the_embedding_layer(kind):
    model, batch = make(kind), batch_of()
    every = model.get_input_embeddings()(torch.arange(60)).detach().norm(dim=1).mean()
    assert mean_norm(model) == pytest.approx(every.item(), rel=1e-3)
    delta = FGM(0.3)(model, batch)
    assert delta.norm(dim=(1, 2)).tolist() == pytest.approx([0.3 * every.item()] * 3, rel=1e-3)
    with pytest.raises(ValueError, match="exceeds the embeddings"):
        FGM(3.0)(model, batch)


@pytest.mark.parametrize("attack", [Noise(0.3), FGM(0.3), PGD(0.3, steps=2)])
@pytest.mark.parametrize("kind", ["T5", "Bart", "MBart"])
def test_a_layer_that_is_never_called_is_refused_by_every_attack(kind, attack):
    model, batch = make(kind), batch_of()
    with pytest.raises(ValueError, match="never calls the layer"):
        delta = attack(model, batch)
        perturbed_logits(model, batch, delta)
    with pytest.raises(ValueError, match="never calls the layer"):
        R3F(Noise(0.3))(model.train(), batch)


@pytest.mark.parametrize("size", [3, 7])  # 7 texts of 7 tokens keep their shape when turned around
@pytest.mark.parametrize(
    "kind, reason", [("XLNet", "turns batch and tokens around"), ("Longformer", "text longer")]
)
def test_the_refusal_says_what_the_model_does(kind, reason, size):
    if (kind, size) == ("XLNet", 7):
        reason = "turns batch and tokens around"
    with pytest.raises(ValueError, match=reason):
        FGM(0.3)(make(kind), batch_of(size))


def test_a_precision_that_a_model_cannot_run_in_is_one_sentence():
    model, batch = make("FNet"), batch_of()
    assert FGM(0.3)(model, batch).abs().sum() > 0
    with pytest.raises(ModelError, match="cannot run in half precision.*float32"):
        FGM(0.3)(model.to(torch.bfloat16), batch)


@pytest.mark.parametrize("attack", [Divergence(0.3), VirtualAdversarial(0.3)])
def test_a_direction_that_may_be_rounding_is_said(attack):
    model, batch = make("Bert"), batch_of()
    attack(model, batch)  # in float32 there is nothing to say (warnings are errors here)
    with pytest.warns(UserWarning, match="half precision.*float32"):
        attack(model.to(torch.bfloat16), batch)
