"""Objectives: the gradient is that of the formula, whichever way it is computed."""

import copy

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertForSequenceClassification

from advlib.attacks import FGM, PGD, Noise
from advlib.attacks.embedding import perturbed_logits
from advlib.objectives import Adversarial, Clean


def make_model(dropout=0.0, seed=0):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=16, initializer_range=0.3,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    return BertForSequenceClassification(config).double().train()


def make_batch(size=6, tokens=9, seed=1):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, 50, (size, tokens), generator=g)
    mask = torch.ones_like(ids)
    for i in range(size):
        mask[i, tokens - i % 4 :] = 0
    special = 1 - mask
    special[:, 0] = 1
    return {"input_ids": ids * mask, "attention_mask": mask, "special_tokens_mask": special,
            "labels": torch.randint(0, 2, (size,), generator=g)}  # fmt: skip


def gradients(model, objective, batch, **kwargs):
    model.zero_grad()
    parts = objective(model, batch, **kwargs)
    return parts, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def assert_same(a, b, tolerance=1e-10):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=tolerance, rtol=1e-7, msg=name)


@pytest.mark.parametrize(
    "attack", [FGM(0.3), PGD(0.3, steps=3), PGD(0.3, steps=2, random_start=True)]
)
@pytest.mark.parametrize("lam,ratio", [(1.0, 1.0), (0.4, 1.0), (2.0, 0.5)])
def test_the_gradient_is_that_of_the_formula(attack, lam, ratio):
    """L + λ·L_adv with δ held fixed (Danskin), against finite differences in float64."""
    model, batch = make_model(), make_batch()
    parts, grads = gradients(model, Adversarial(attack, lam=lam, ratio=ratio), batch)
    part = {k: v[: round(ratio * 6)] for k, v in batch.items()}
    delta = attack(model, part, keep_best=False)

    def formula():
        clean = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
        return clean + lam * F.cross_entropy(perturbed_logits(model, part, delta), part["labels"])

    with torch.no_grad():
        torch.testing.assert_close(parts.loss, formula())
        for name in ("classifier.weight", "bert.encoder.layer.0.output.dense.weight"):
            p = model.get_parameter(name)
            for where in ((0, 0), (1, 3)):
                h, old = 1e-6, p[where].item()
                p[where] = old + h
                up = formula()
                p[where] = old - h
                down = formula()
                p[where] = old
                assert grads[name][where].item() == pytest.approx(
                    float(up - down) / (2 * h), abs=1e-6
                )


@pytest.mark.parametrize("steps", [1, 3])
def test_the_lent_gradient_changes_nothing(steps):
    model, batch = make_model(), make_batch()
    objective = Adversarial(PGD(0.3, steps=steps), lam=0.7)
    assert objective._can_lend(model, whole=True)
    lent_parts, lent = gradients(model, objective, batch)
    part = dict(batch)
    model.zero_grad()
    parts = objective._together(model, batch, part, 0.7, lambda loss: loss.backward(), None)
    own = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    assert_same(lent, own)
    assert lent_parts.backward == parts.backward - 1  # that is what lending saves
    assert lent_parts.forward == parts.forward - 1


def test_same_dropout_uses_one_mask_for_clean_inner_and_outer_pass():
    model, batch = make_model(dropout=0.3), make_batch()
    objective = Adversarial(PGD(0.3, steps=2, same_dropout=True))
    torch.manual_seed(5)
    parts, grads = gradients(model, objective, batch)
    # The same by hand, with the mask drawn anew from the same state each time.
    model.zero_grad()
    torch.manual_seed(5)
    delta = objective.attack(model, batch, keep_best=False)
    torch.manual_seed(5)
    clean = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    torch.manual_seed(5)
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (clean + adv).backward()
    torch.testing.assert_close(parts.clean, clean.detach())
    torch.testing.assert_close(parts.adv, adv.detach())
    assert_same(grads, {n: p.grad for n, p in model.named_parameters() if p.grad is not None})


def test_the_next_step_sees_another_dropout_mask():
    model, batch = make_model(dropout=0.3), make_batch()
    objective = Adversarial(FGM(0.3, same_dropout=True))
    torch.manual_seed(5)
    losses = {objective(model, batch).clean.item() for _ in range(4)}
    assert len(losses) == 4


def test_lending_is_refused_where_it_would_be_wrong():
    dry, wet = make_model(), make_model(dropout=0.1)
    assert Adversarial(FGM(0.3))._can_lend(dry, whole=True)
    assert not Adversarial(FGM(0.3))._can_lend(wet, whole=True)
    assert Adversarial(FGM(0.3))._can_lend(wet.eval(), whole=True)
    wet.train()
    same = FGM(0.3, same_dropout=True)
    assert Adversarial(same)._can_lend(wet, whole=True)
    assert not Adversarial(same)._can_lend(wet, whole=False)
    assert not Adversarial(PGD(0.3, random_start=True))._can_lend(dry, whole=True)
    assert not Adversarial(Noise(0.3))._can_lend(dry, whole=True)
    assert not Adversarial(FGM(0.3, target=1))._can_lend(dry, whole=True)


def test_ratio_attacks_a_share_and_the_clean_term_sees_all():
    model, batch = make_model(), make_batch()
    parts = Adversarial(FGM(0.3), ratio=0.5)(model, batch)
    whole = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    torch.testing.assert_close(parts.clean, whole.detach())
    assert (parts.forward, parts.backward) == (1.5, 1.5)


def test_warmup_raises_lambda_linearly_and_starts_with_plain_training():
    model, batch = make_model(), make_batch()
    objective = Adversarial(FGM(0.3), lam=0.8, warmup=4)
    first = objective(model, batch, step=0)
    assert first.adv is None and first.forward == 1
    for step, lam in ((1, 0.2), (2, 0.4), (4, 0.8), (9, 0.8)):
        parts = objective(model, batch, step=step)
        torch.testing.assert_close(parts.loss, parts.clean + lam * parts.adv)


def test_the_counted_passes_are_the_real_ones():
    model, batch = make_model(dropout=0.1), make_batch()
    seen = []
    model.register_forward_hook(lambda m, args, out: seen.append(len(out.logits)))
    for objective in (Clean(), Adversarial(FGM(0.3)), Adversarial(PGD(0.3, steps=3), ratio=0.5),
                      Adversarial(PGD(0.3, steps=3, same_dropout=True))):  # fmt: skip
        seen.clear()
        parts = objective(model, batch)
        assert parts.forward == sum(seen) / 6


def test_adversarial_training_lowers_the_adversarial_loss():
    model, batch = make_model(), make_batch(size=12)
    attack = PGD(0.3, steps=5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    objective = Adversarial(FGM(0.3))
    losses = [
        F.cross_entropy(perturbed_logits(model, batch, attack(model, batch)), batch["labels"])
    ]
    for _ in range(60):
        objective(model, batch)
        optimizer.step()
        optimizer.zero_grad()
    after = F.cross_entropy(perturbed_logits(model, batch, attack(model, batch)), batch["labels"])
    assert after < 0.5 * losses[0]


def test_a_loss_that_is_not_finite_stops_before_the_weights_change():
    model, batch = make_model(), make_batch()
    with torch.no_grad():
        model.classifier.weight[0, 0] = float("nan")
    before = copy.deepcopy(model.state_dict())
    for objective in (Clean(), Adversarial(FGM(0.3)), Adversarial(FGM(0.3), ratio=0.5)):
        with pytest.raises(ValueError, match="finite|became nan"):
            objective(model, batch)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], equal_nan=True)


@pytest.mark.parametrize(
    "settings", [{"lam": -1}, {"lam": float("nan")}, {"ratio": 0}, {"ratio": 1.5}, {"warmup": -1}]
)
def test_settings_without_sense_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Adversarial(FGM(0.3), **settings)


def test_an_attack_on_words_is_refused():
    with pytest.raises(ValueError, match="embedding attack"):
        Adversarial("PGD")
