"""Objectives: the gradient is that of the formula, whichever way it is computed."""

import copy
import shutil
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from conftest import make_classifier
from datasets import Dataset
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

from advlib import load_classifier
from advlib.attacks import FGM, PGD, Divergence, Noise, VirtualAdversarial, WordSubstitution
from advlib.attacks.embedding import wrong_margin
from advlib.attacks.words import EmbeddingNeighbours, HotFlip
from advlib.corpora import world
from advlib.embeddings import perturbed_logits, zero_delta
from advlib.fairness import Counterfactual
from advlib.objectives import (
    R3F,
    SMART,
    TRADES,
    UNLABELLED,
    VAT,
    Adversarial,
    After,
    Clean,
    Free,
    FreeLB,
    InTurn,
    Madry,
    Objective,
    RDrop,
    Words,
)


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
    part = {k: v[[1, 3, 5] if ratio == 0.5 else slice(None)] for k, v in batch.items()}
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
def test_the_lent_gradient_changes_nothing(steps, monkeypatch):
    model, batch = make_model(), make_batch()
    objective = Adversarial(PGD(0.3, steps=steps), lam=0.7)
    assert objective._can_lend(model, whole=True)
    lent_parts, lent = gradients(model, objective, batch)
    monkeypatch.setattr(Adversarial, "_can_lend", lambda *_: False)
    parts, own = gradients(model, objective, batch)
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


@pytest.mark.parametrize("margin", [1, 16, 26, 50])
def test_the_lent_gradient_is_right_where_the_model_is_sure(margin, monkeypatch):
    """In float32 as in float64. Through a softmax it would be rounding from margins of 16 on."""
    model, batch = make_model(), make_batch(size=1)
    with torch.no_grad():
        batch["labels"] = perturbed_logits(model, batch, None).argmax(1)
        sure = -wrong_margin(perturbed_logits(model, batch, None), batch["labels"]).max()
        model.classifier.weight *= margin / sure
        model.classifier.bias *= margin / sure
    seen = {}

    def keep(self, model, batch, *, first_grad=None, **settings):
        seen[model.dtype] = first_grad
        return zero_delta(model, batch)

    monkeypatch.setattr(FGM, "__call__", keep)
    for dtype in (torch.float64, torch.float32):
        Adversarial(FGM(0.3))(model.to(dtype), batch)
    exact, lent = (seen[d].double().flatten() for d in (torch.float64, torch.float32))
    assert exact @ lent > 0.999 * exact.norm() * lent.norm() > 0


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


def test_a_small_ratio_of_a_small_batch_attacks_one_text():
    model, batch = make_model(), make_batch()
    two = {name: value[:2] for name, value in batch.items()}
    parts = Adversarial(FGM(0.3), ratio=0.01)(model, two)
    assert parts.adv is not None and parts.forward == 1.5


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


# --- every objective against its paper's formula --------------------------------------------


def entropy(z, labels):
    """−log p_y, the mean over the texts."""
    return -(z.exp() / z.exp().sum(1, keepdim=True)).log()[range(len(z)), labels].mean()


def kl(z, w):
    """Σ p log(p / q), the mean over the texts."""
    p, q = z.softmax(1), w.softmax(1)
    return (p * (p / q).log()).sum(1).mean()


def both_ways(z, w):
    return kl(z, w) + kl(w, z)


def assert_slopes(model, grads, formula):
    """Along random directions through all weights at once, the slope of the formula."""
    own = torch.Generator().manual_seed(0)
    weights = [p for p in model.parameters() if p.requires_grad]
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert grads.keys() == named.keys()
    with torch.no_grad():
        for _ in range(3):
            ways = [torch.randn(p.shape, generator=own, dtype=p.dtype) for p in weights]
            values = []
            for h in (1e-6, -2e-6):
                for p, way in zip(weights, ways, strict=True):
                    p.add_(way, alpha=h)
                values.append(float(formula()))
            for p, way in zip(weights, ways, strict=True):
                p.add_(way, alpha=1e-6)
            slope = (values[0] - values[1]) / 2e-6
            found = sum((grads[n] * way).sum() for n, way in zip(named, ways, strict=True))
            assert found.item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


def seeing(model, batch):
    """look(δ): the logits, always with the same dropout mask."""

    def look(delta=None):
        torch.manual_seed(5)
        return perturbed_logits(model, batch, delta)

    return look


FORMULAS = {
    "Madry": (
        lambda **k: Madry(PGD(0.3, steps=3, **k)),
        lambda z, moved, before, y: entropy(moved, y),
    ),
    "Madry, random start": (
        lambda **k: Madry(PGD(0.3, steps=2, random_start=True, scope="token", **k)),
        lambda z, moved, before, y: entropy(moved, y),
    ),
    "TRADES": (
        lambda **k: TRADES(Divergence(0.3, steps=2, **k), beta=2.5),
        lambda z, moved, before, y: entropy(z, y) + 2.5 * kl(z, moved),
    ),
    "VAT": (
        lambda **k: VAT(VirtualAdversarial(0.3, steps=2, **k), lam=0.7),
        lambda z, moved, before, y: entropy(z, y) + 0.7 * kl(before, moved),
    ),
    "SMART": (
        lambda **k: SMART(Divergence(0.3, steps=2, symmetric=True, **k), lam=0.7, mu=0),
        lambda z, moved, before, y: entropy(z, y) + 0.7 * both_ways(z, moved),
    ),
    "R3F": (
        lambda **k: R3F(Noise(0.3, **k), lam=1.5),
        lambda z, moved, before, y: entropy(z, y) + 1.5 * both_ways(z, moved),
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["", "same dropout"])
def test_every_gradient_is_that_of_its_paper(name, dropout):
    make, formula = FORMULAS[name]
    objective = make(same_dropout=dropout > 0)
    model, batch = make_model(dropout), make_batch()
    torch.manual_seed(5)
    parts, grads = gradients(model, objective, batch)
    torch.manual_seed(5)
    attack = objective.noise if name == "R3F" else objective.attack
    delta = attack(model, batch, keep_best=False)
    look = seeing(model, batch)
    before = look().detach()

    def value():
        return formula(look(), look(delta), before, batch["labels"])

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(model, grads, value)


@pytest.mark.parametrize("name", [n for n in FORMULAS if "Madry" not in n])
def test_without_one_mask_for_all_the_attack_sees_the_network_without_dropout(name):
    """Clean and attacked texts then go through one pass together, each with a mask of its own."""
    make, formula = FORMULAS[name]
    objective, model, batch = make(), make_model(dropout=0.3), make_batch()
    attack = objective.noise if name == "R3F" else objective.attack
    sure = copy.deepcopy(model).eval()
    delta = attack(sure, batch, keep_best=False)
    twice = {key: torch.cat([value, value]) for key, value in batch.items()}
    shift = torch.cat([torch.zeros_like(delta), delta])
    look = seeing(model, twice)
    before = look(shift)[:6].detach()
    torch.manual_seed(5)
    parts, grads = gradients(model, objective, batch)

    def value():
        z = look(shift)
        return formula(z[:6], z[6:], before, batch["labels"])

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(model, grads, value)


class Linear(nn.Module):
    """A softmax head on the mean of the embeddings."""

    def __init__(self):
        super().__init__()
        own = torch.Generator().manual_seed(0)
        self.table, self.head = nn.Embedding(50, 6), nn.Linear(6, 2)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=own, dtype=torch.float64)

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids, attention_mask):
        real = attention_mask[..., None].double()
        return SimpleNamespace(
            logits=self.head((self.table(input_ids) * real).sum(1) / real.sum(1))
        )


def test_madry_on_a_linear_model_is_a_loss_with_a_margin():
    """There the worst δ is known: it raises the log-odds by ε·‖w‖·√(words)/tokens."""
    model, batch = Linear(), make_batch()
    parts, grads = gradients(model, Madry(FGM(0.4, relative=False)), batch)
    words = (1 - batch["special_tokens_mask"]).sum(1).double()
    step = 0.4 * words.sqrt() / batch["attention_mask"].sum(1)

    def value():
        z = model(batch["input_ids"], batch["attention_mask"]).logits
        w = model.head.weight[1] - model.head.weight[0]
        odds = (z[:, 0] - z[:, 1]) * (2 * batch["labels"] - 1) + step * w.norm()
        return F.softplus(odds).mean()

    torch.testing.assert_close(parts.loss, value().detach())
    # Danskin: the slope of the maximum is that at the fixed worst δ.
    assert_slopes(model, grads, value)


# --- VAT: texts without a label -------------------------------------------------------------


def test_vat_leaves_texts_without_a_label_out_of_the_first_term_only():
    model, batch = make_model(), make_batch()
    some = {**batch, "labels": batch["labels"].clone()}
    some["labels"][2:5] = UNLABELLED
    objective = VAT(VirtualAdversarial(0.3), lam=0.7)
    delta = objective.attack(model, batch, keep_best=False)
    parts, grads = gradients(model, objective, some)
    look, known = seeing(model, batch), [0, 1, 5]
    before = look().detach()

    def value():
        first = entropy(look()[known], batch["labels"][known])
        return first + 0.7 * kl(before, look(delta))

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(model, grads, value)


def test_vat_minimises_the_divergence_that_its_attack_maximises():
    model, batch = make_model(), make_batch()
    objective = VAT(VirtualAdversarial(0.3, symmetric=True), lam=0.7)
    delta = objective.attack(model, batch, keep_best=False)
    parts, grads = gradients(model, objective, batch)
    look = seeing(model, batch)
    before = look().detach()

    def value():
        there, back = kl(before, look(delta)), kl(look(delta), before)
        return entropy(look(), batch["labels"]) + 0.7 * (there + back)

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(model, grads, value)


def test_vat_trains_on_a_batch_with_no_label_at_all():
    model, batch = make_model(), make_batch()
    batch["labels"].fill_(UNLABELLED)
    parts, grads = gradients(model, VAT(VirtualAdversarial(0.3)), batch)
    assert parts.clean == 0 and parts.loss == parts.adv > 0
    assert all(g.isfinite().all() for g in grads.values())
    assert grads["classifier.weight"].any()


# --- SMART: the moving average --------------------------------------------------------------


def smart(**settings):
    return SMART(Divergence(0.3, symmetric=True), **settings)


def test_smart_stays_near_the_moving_average_of_its_weights():
    model, batch = make_model(), make_batch()
    objective = smart(lam=0.0, mu=0.8, momentum=0.6)
    past = {n: p.detach().clone() for n, p in model.named_parameters()}
    own = torch.Generator().manual_seed(0)
    for step in range(4):
        if step:
            with torch.no_grad():
                for p in model.parameters():
                    p += 0.05 * torch.randn(p.shape, generator=own, dtype=p.dtype)
            past = {n: 0.6 * past[n] + 0.4 * p.detach() for n, p in model.named_parameters()}
        teacher = copy.deepcopy(model)
        teacher.load_state_dict(past, strict=False)
        there = perturbed_logits(teacher, batch, None).detach()
        parts, grads = gradients(model, objective, batch, step=step)
        look = seeing(model, batch)

        def value(look=look, there=there):
            z = look()
            return entropy(z, batch["labels"]) + 0.8 * both_ways(there, z)

        torch.testing.assert_close(parts.loss, value().detach())
        assert_slopes(model, grads, value)
    assert both_ways(there, look()) > 1e-3


def test_the_average_moves_only_when_the_step_does():
    model, batch = make_model(), make_batch()
    objective = smart(momentum=0.5)
    objective(model, batch, step=0)
    before = {n: p.clone() for n, p in objective.state().items()}
    with torch.no_grad():
        model.classifier.weight += 1
    for _ in range(3):  # micro-batches of one step
        objective(model, batch, step=0)
    assert_same(objective.state(), before, 0)
    for _ in range(3):
        objective(model, batch, step=1)
    moved = objective.state()["classifier.weight"] - before["classifier.weight"]
    torch.testing.assert_close(moved, torch.full_like(moved, 0.5))


def test_a_new_training_starts_a_new_average():
    first, second, batch = make_model(seed=0), make_model(seed=1), make_batch()
    objective = smart()
    for step in range(3):
        objective(first, batch, step=step)
    parts, grads = gradients(second, objective, batch, step=0)
    fresh_parts, fresh = gradients(second, smart(), batch, step=0)
    torch.testing.assert_close(parts.loss, fresh_parts.loss)
    assert_same(grads, fresh, 0)


def test_the_past_answers_without_dropout_and_leaves_the_random_state():
    model, batch = make_model(dropout=0.3), make_batch()
    objective = SMART(Divergence(0.3, symmetric=True, same_dropout=True), lam=0, mu=0.8)
    torch.manual_seed(5)
    parts, grads = gradients(model, objective, batch)
    assert model.training and all(m.training for m in model.modules())
    there = perturbed_logits(copy.deepcopy(model).eval(), batch, None).detach()
    look = seeing(model, batch)

    def value():
        z = look()
        return entropy(z, batch["labels"]) + 0.8 * both_ways(there, z)

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(model, grads, value)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_only_trained_weights_are_kept_in_the_average():
    model, batch = make_model(), make_batch()
    model.bert.embeddings.requires_grad_(False)
    objective = smart()
    objective(model, batch)
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert set(objective.state()) - {"step"} == trained
    lora = with_lora(model)
    objective = smart()
    objective(lora, batch)
    trained = {n for n, p in lora.named_parameters() if p.requires_grad}
    assert set(objective.state()) - {"step"} == trained and len(trained) < 12


def test_smart_without_mu_keeps_nothing():
    model, batch = make_model(), make_batch()
    objective = smart(mu=0)
    with_mu = smart()(model, batch)
    parts = objective(model, batch)
    assert objective.state() == {}
    assert parts.forward == with_mu.forward - 1 and parts.units == with_mu.units - 1


def test_smart_restored_goes_on_where_it_was():
    model, batch = make_model(), make_batch()
    one = smart(momentum=0.7)
    for step in range(3):
        one(model, batch, step=step)
        with torch.no_grad():
            model.classifier.weight += 0.1
    other = smart(momentum=0.7)
    other.restore({n: t.clone() for n, t in one.state().items()})
    for step in (3, 4):
        assert one(model, batch, step=step).loss == other(model, batch, step=step).loss
    assert_same(one.state(), other.state(), 0)


# --- FreeLB and Free: the weights' gradient on the way --------------------------------------


def recorded(model, batch):
    """The δ of every pass over the whole batch, as the first layer sees them (a list that
    fills)."""
    layer, seen = model.bert.embeddings.LayerNorm, []
    words = model.bert.embeddings.word_embeddings
    rest = model.bert.embeddings
    at = rest.position_embeddings.weight[: batch["input_ids"].shape[1]]
    plain = (words(batch["input_ids"]) + at + rest.token_type_embeddings.weight[0]).detach()
    layer.register_forward_pre_hook(lambda m, args: seen.append(args[0].detach() - plain))
    return seen


def unit(model):
    return model.bert.embeddings.word_embeddings.weight.detach().norm(dim=1).mean().item()


def ascent(model, batch, delta, points, eps, steps, seed=5):
    """`points` points of projected gradient ascent on the cross-entropy, one length a text."""
    mask = (1 - batch["special_tokens_mask"])[..., None]
    found = [delta]
    for t in range(points - 1):
        at = found[-1].clone().requires_grad_()
        torch.manual_seed(seed)
        loss = F.cross_entropy(perturbed_logits(model, batch, at), batch["labels"])
        (grad,) = torch.autograd.grad(loss, at)
        rows = []
        for d, g in zip(found[-1], grad * mask, strict=True):
            d = d + steps[t] * g / g.norm()
            rows.append(d * min(1.0, eps / d.norm().item()))
        found.append(torch.stack(rows))
    return found


@pytest.mark.parametrize("random_start", [False, True], ids=["from zero", "from random"])
@pytest.mark.parametrize("step_size", [None, 0.17])
@pytest.mark.parametrize("dropout", [0.0, 0.3], ids=["", "same dropout"])
def test_freelb_is_the_mean_over_the_points_of_its_ascent(random_start, step_size, dropout):
    model, batch = make_model(dropout), make_batch()
    attack = PGD(0.3, steps=4, step_size=step_size, random_start=random_start,
                 same_dropout=dropout > 0)  # fmt: skip
    twin = copy.deepcopy(model)
    seen = recorded(model, batch)
    torch.manual_seed(5)
    parts, grads = gradients(model, FreeLB(attack), batch)
    assert len(seen) == 4 and (parts.forward, parts.backward, parts.weights) == (4, 4, 4)
    eps = 0.3 * unit(model)
    sizes = [0.17 * unit(model)] * 3 if step_size else [eps / (t + 1) ** 0.5 for t in range(3)]
    start = seen[0] if random_start else torch.zeros_like(seen[0])
    points = ascent(twin, batch, start, 4, eps, sizes)
    for found, point in zip(seen, points, strict=True):
        torch.testing.assert_close(found, point, atol=1e-12, rtol=1e-9)
    look = seeing(twin, batch)

    def value():
        return sum(entropy(look(point), batch["labels"]) for point in points) / 4

    torch.testing.assert_close(parts.loss, value().detach())
    assert_slopes(twin, grads, value)


def test_the_random_start_of_freelb_is_in_the_ball_and_new_for_every_generator():
    model, batch = make_model(), make_batch()
    objective = FreeLB(PGD(0.3, steps=2, random_start=True))
    seen = recorded(model, batch)
    own = torch.Generator().manual_seed(0)
    for generator in (None, None, own, own):
        parts = objective(model, batch, generator=generator)
        assert parts.clean is None  # no pass saw the clean text
    starts = seen[::2]
    torch.testing.assert_close(starts[0], starts[1])
    assert not torch.allclose(starts[0], starts[2]) and not torch.allclose(starts[2], starts[3])
    special = batch["special_tokens_mask"].bool()
    for start in starts:
        assert start[special].abs().max() < 1e-12
        assert start[~special].abs().sum(1).gt(0).all()
        assert start.flatten(1).norm(dim=1).max() <= 0.3 * unit(model)


def test_freelb_of_one_point_from_zero_is_clean_training():
    model, batch = make_model(), make_batch()
    parts, grads = gradients(model, FreeLB(PGD(0.3, steps=1)), batch)
    plain_parts, plain = gradients(model, Clean(), batch)
    assert_same(grads, plain)
    assert parts.units == plain_parts.units == 3
    _, moved = gradients(model, FreeLB(PGD(0.3, steps=1, random_start=True)), batch)
    assert not torch.allclose(moved["classifier.weight"], plain["classifier.weight"])


def test_freelb_with_another_mask_each_time_still_trains_on_all_points():
    model, batch = make_model(dropout=0.3), make_batch()
    masks = dropped(model)
    FreeLB(PGD(0.3, steps=3))(model, batch)
    for one in masks.values():
        assert len(one) == 3 and differ(one[0], one[1]) and differ(one[1], one[2])


def test_free_carries_delta_over_the_replays_and_then_drops_it():
    model, batch = make_model(), make_batch()
    objective = Free(FGM(0.3), replays=3)
    twin, seen = copy.deepcopy(model), recorded(model, batch)
    eps = 0.3 * unit(model)
    zero = zero_delta(model, batch)
    points = ascent(twin, batch, zero, 3, eps, [eps, eps])  # the weights stay as they are
    for replay in range(3):
        parts, grads = gradients(model, objective, batch)
        torch.testing.assert_close(seen[replay], points[replay], atol=1e-12, rtol=1e-9)
        assert (parts.forward, parts.backward, parts.units) == (1, 1, 3)
        look, point = seeing(twin, batch), points[replay]

        def value(look=look, point=point):
            return entropy(look(point), batch["labels"])

        assert_slopes(twin, grads, value)
    assert objective.state() == {}
    objective(model, batch)
    assert seen[3].abs().max() < 1e-12


def test_free_moves_delta_by_the_gradient_of_the_very_pass_that_trains():
    """One pass a step: its weights and its dropout mask are those of the ascent, too."""
    model, batch = make_model(dropout=0.3), make_batch()
    objective, twin = Free(FGM(0.3), replays=4), copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    delta = zero_delta(model, batch)
    for replay in range(3):
        twin.load_state_dict(model.state_dict())
        torch.manual_seed(replay)
        objective(model, batch)
        eps = 0.3 * unit(twin)
        _, delta = ascent(twin, batch, delta, 2, eps, [eps], seed=replay)
        (kept,) = objective.state().values()
        torch.testing.assert_close(kept, delta, atol=1e-12, rtol=1e-9)
        optimizer.step()
        optimizer.zero_grad()


def test_free_knows_its_batches_apart_and_goes_on_after_a_restore():
    model, one, other = make_model(), make_batch(seed=1), make_batch(seed=2)
    objective = Free(FGM(0.3), replays=3)
    first = [objective(model, b).loss for b in (one, other)]
    again = Free(FGM(0.3), replays=3)
    again.restore({n: t.clone() for n, t in objective.state().items()})
    for _ in range(2):
        for batch in (one, other):
            assert objective(model, batch).loss == again(model, batch).loss
    assert objective.state() == again.state() == {}
    assert [objective(model, b).loss for b in (one, other)] == first


@pytest.mark.parametrize("objective", [Free(FGM(0.3)), SMART(Divergence(0.3, symmetric=True))])
def test_restoring_nothing_forgets_what_was(objective):
    model, batch = make_model(), make_batch()
    objective(model, batch)
    assert objective.state()
    objective.restore({})
    assert objective.state() == {}


# --- the controls ---------------------------------------------------------------------------


def test_rdrop_compares_two_dropout_masks():
    model, batch = make_model(dropout=0.3), make_batch()
    masks = dropped(model)
    torch.manual_seed(5)
    parts, grads = gradients(model, RDrop(alpha=1.3), batch)
    for one in masks.values():
        (mask,) = one
        assert differ(mask[:6], mask[6:])
    twice = {key: torch.cat([value, value]) for key, value in batch.items()}
    look, y = seeing(model, twice), batch["labels"]

    def value():
        one, two = look()[:6], look()[6:]
        return entropy(one, y) + entropy(two, y) + 1.3 * both_ways(one, two) / 2

    torch.testing.assert_close(parts.loss, value().detach())
    assert parts.adv > 0
    assert_slopes(model, grads, value)


def test_rdrop_without_dropout_is_refused():
    with pytest.raises(ValueError, match="two dropout masks.*no dropout or is in eval mode"):
        RDrop()(make_model(), make_batch())
    with pytest.raises(ValueError, match="model.train()"):
        RDrop()(make_model(dropout=0.3).eval(), make_batch())


def test_the_noise_of_r3f_is_new_for_every_step_of_a_generator():
    model, batch, own = make_model(), make_batch(), torch.Generator().manual_seed(0)
    seen, r3f = recorded(model, batch), R3F(Noise(0.3))
    for _ in range(2):
        r3f(model, batch, generator=own)
    one, other = seen[1], seen[3]
    assert not torch.allclose(one, other)
    for delta in (one, other):
        lengths = delta.flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, torch.full_like(lengths, 0.3 * unit(model)))


# --- real words -----------------------------------------------------------------------------

TEXTS = [
    "the film was very good",
    "the plot was awful and dull",
    "an ending never cold",
    "it felt bright",
    "the acting seemed warm but slow",
    "they felt great",
]
LABELS = [1, 0, 0, 1, 0, 1]
DATA = Dataset.from_dict({"text": TEXTS, "label": LABELS})
NEAR = EmbeddingNeighbours(k=4, rank="gradient", max_queries=12)


def make_victim(dropout=0.0):
    victim = make_classifier("bert", classes=2, dropout=dropout)
    victim.model.double().train()
    return victim


def trained_on(victim):
    """The texts of every pass in training mode (a list that fills)."""
    seen = []

    def record(module, args, inputs):
        if module.training:
            ids = inputs["input_ids"]
            seen.append(victim.tokenizer.batch_decode(ids, skip_special_tokens=True))

    victim.model.register_forward_pre_hook(record, with_kwargs=True)
    return seen


def test_words_trains_on_what_the_attack_makes_of_the_texts():
    victim = make_victim()
    batch, seen = victim.encode(TEXTS, LABELS), trained_on(victim)
    parts, grads = gradients(victim.model, Words(NEAR, victim, DATA, lam=0.6), batch)
    (texts,) = seen
    found = [result.text for result in NEAR(victim, TEXTS, LABELS)]
    assert texts == TEXTS + found and sum(map(str.__ne__, TEXTS, found)) >= 3
    options = NEAR.propose(victim, TEXTS, LABELS)
    for old, new, allowed in zip(TEXTS, found, options, strict=True):
        for a, b, choice in zip(old.split(), new.split(), allowed, strict=True):
            assert a == b or b in choice
    moved = victim.encode(found, LABELS)

    def value():
        clean = entropy(perturbed_logits(victim.model, batch, None), batch["labels"])
        return clean + 0.6 * entropy(perturbed_logits(victim.model, moved, None), moved["labels"])

    torch.testing.assert_close(parts.loss, value().detach())
    assert parts.adv > parts.clean
    assert_slopes(victim.model, grads, value)


def test_words_of_a_world_keep_the_label():
    victim = load_classifier("reviews-clean", device="cpu")
    reviews = world().sample(10, "train", seed=1)
    texts, labels = [r.text for r in reviews], [r.label for r in reviews]
    data = Dataset.from_dict({"text": texts, "label": labels})
    attack = WordSubstitution(rank="gradient", max_queries=20)
    batch, harsh = victim.encode(texts, labels), []
    kept = attack_spy(attack, harsh)
    Words(kept, victim, data)(victim.model.train(), batch)
    (results,) = harsh
    assert [r.original for r in results] == texts
    assert sum(r.text != r.original for r in results) > 5
    for result, label in zip(results, labels, strict=True):
        assert world().label(result.text) == label and result.queries <= 20


def attack_spy(attack, seen):
    """The same attack, whose results are put into `seen`."""

    class Spy(type(attack)):
        def __call__(self, *args):
            seen.append(super().__call__(*args))
            return seen[-1]

    return Spy(**vars(attack))


ROWS = [(0.5, [1, 3, 5]), (0.34, [1, 4]), (1.0, [0, 1, 2, 3, 4, 5]), (0.01, [3])]


@pytest.mark.parametrize("ratio, attacked", ROWS)
def test_words_attacks_a_share_of_the_batch(ratio, attacked):
    victim = make_victim()
    batch, seen, results = victim.encode(TEXTS, LABELS), trained_on(victim), []
    spy = attack_spy(NEAR, results)
    parts = Words(spy, victim, DATA, ratio=ratio)(victim.model, batch)
    assert seen == [TEXTS + [r.text for r in results[0]]]
    assert [r.original for r in results[0]] == [TEXTS[i] for i in attacked]
    whole = entropy(perturbed_logits(victim.model, batch, None), batch["labels"])
    torch.testing.assert_close(parts.clean, whole.detach())


def test_words_attacks_the_model_of_the_moment():
    victim, results = make_victim(), []
    objective = Words(attack_spy(NEAR, results), victim, DATA)
    batch = victim.encode(TEXTS, LABELS)
    objective(victim.model, batch)
    objective(victim.model, batch)
    with torch.no_grad():
        victim.model.classifier.weight.neg_()
        victim.model.classifier.bias.neg_()
    objective(victim.model, batch)
    first, second, third = ([r.text for r in found] for found in results)
    assert first == second != third
    assert victim.model.training


def test_a_text_that_words_was_not_given_is_an_error():
    victim = make_victim()
    objective = Words(NEAR, victim, DATA)
    with pytest.raises(ValueError, match="not in the data that Words was given.*never slow"):
        objective(victim.model, victim.encode([TEXTS[0], "never slow"], [1, 0]))


@pytest.mark.parametrize("architecture", ["bert", "roberta", "modernbert", "gpt2", "llama"])
def test_words_finds_the_texts_of_a_batch_whatever_the_padding(architecture):
    victim = make_classifier(architecture, classes=2)
    data = Dataset.from_dict({"text": [*TEXTS, "good " * 99], "label": [*LABELS, 1]})
    objective = Words(NEAR, victim, data)
    for side in ("left", "right"):
        victim.tokenizer.padding_side = side
        batch = victim.encode(data["text"], data["label"])
        assert objective.texts(batch) == list(data["text"])


# --- all of them in the ways that training goes ---------------------------------------------

SAME = dict(same_dropout=True)
NAMES = ["Clean", "Adversarial", "Madry", "TRADES", "VAT", "SMART", "FreeLB", "Free", "RDrop",
         "R3F", "Words", "Counterfactual"]  # fmt: skip
# Words that move each logit by more than bf16 rounds: where x and x′ are alike |·| has a kink.
EXCHANGED = [{"was", "seemed", "felt"}]
every = pytest.mark.parametrize("name", NAMES)


def objective_named(name, victim, data=DATA, **settings):
    """A small one of its kind; `settings` are those of its attack."""
    return {
        "Clean": lambda: Clean(),
        "Adversarial": lambda: Adversarial(PGD(0.3, steps=2, **settings)),
        "Madry": lambda: Madry(PGD(0.3, steps=2, **settings)),
        "TRADES": lambda: TRADES(Divergence(0.3, **settings)),
        "VAT": lambda: VAT(VirtualAdversarial(0.3, **settings)),
        "SMART": lambda: SMART(Divergence(0.3, symmetric=True, **settings)),
        "FreeLB": lambda: FreeLB(PGD(0.3, steps=3, **settings)),
        "Free": lambda: Free(FGM(0.3, **settings), replays=2),
        "RDrop": lambda: RDrop(),
        "R3F": lambda: R3F(Noise(0.3, **settings)),
        "Words": lambda: Words(NEAR, victim, data),
        "Counterfactual": lambda: Counterfactual(EXCHANGED, victim, data, **settings),
    }[name]()


def dropped(model):
    """Which entries every call of a dropout layer in training mode set to zero."""
    seen = {}

    def record(module, args, output):
        if module.training:
            seen.setdefault(module, []).append((output == 0) & (args[0] != 0))

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(record)
    return seen


def differ(a, b):
    return not torch.equal(a, b)


def nudge(model, seed=0):
    own = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p += (0.02 * torch.randn(p.shape, generator=own)).to(p)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "RDrop"])
def test_micro_batches_add_up_to_the_whole(name):
    victim = make_victim()
    batch = victim.encode(TEXTS, LABELS)
    whole, parts = objective_named(name, victim), objective_named(name, victim)
    for step in range(3):
        _, expected = gradients(victim.model, whole, batch, step=step)
        victim.model.zero_grad()
        for at in (0, 2, 4):
            micro = {key: value[at : at + 2] for key, value in batch.items()}
            parts(victim.model, micro, lambda loss: (loss / 3).backward(), step=step)
        found = {n: p.grad for n, p in victim.model.named_parameters()}
        assert_same(found, expected)
        nudge(victim.model, step)


@every
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("same_dropout", [True, False])
def test_gradient_checkpointing_changes_no_objective(name, same_dropout):
    victim = make_victim(dropout=0.3)
    batch, found = victim.encode(TEXTS, LABELS), []
    for enable in (lambda: None, victim.model.gradient_checkpointing_enable):
        enable()
        objective = objective_named(name, victim, same_dropout=same_dropout)
        torch.manual_seed(3)
        first = gradients(victim.model, objective, batch)[1]
        found.append((first, gradients(victim.model, objective, batch, step=1)[1]))
    for plain, saved in zip(*found, strict=True):
        assert_same(plain, saved)


@every
def test_under_bf16_autocast_the_gradient_points_the_same_way(name):
    victim = make_victim(dropout=0.1)
    victim.model.float()
    batch, found = victim.encode(TEXTS, LABELS), []
    for enabled in (False, True):
        objective = objective_named(name, victim)
        torch.manual_seed(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            parts, grads = gradients(victim.model, objective, batch)
        assert parts.loss.dtype == torch.float32
        found.append(torch.cat([g.flatten() for g in grads.values()]))
    assert F.cosine_similarity(*found, dim=0) > 0.95


def with_lora(model):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query", "value"])
    return peft.get_peft_model(model, config)


@every
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_lora_weights_and_the_head_alone_get_gradients(name, checkpointing):
    victim = make_victim(dropout=0.1)
    victim.model = with_lora(victim.model).train()
    if checkpointing:
        victim.model.gradient_checkpointing_enable()
    objective, batch = objective_named(name, victim), victim.encode(TEXTS, LABELS)
    for step in range(2):
        _, grads = gradients(victim.model, objective, batch, step=step)
        trained = {n for n, p in victim.model.named_parameters() if p.requires_grad}
        assert grads.keys() == trained and all("lora" in n or "classifier" in n for n in trained)
        moved = {n for n, g in grads.items() if g.any()}
        assert all("lora_A" in n for n in trained - moved)  # B is zero at first
        assert any("layer.0" in n for n in moved)


@pytest.mark.parametrize("name", ["Adversarial", "FreeLB", "Free", "Madry", "TRADES"])
def test_a_model_that_detaches_its_embeddings_is_refused(name):
    victim = make_victim()
    victim.model.bert.embeddings.register_forward_hook(lambda m, i, out: out.detach())
    with pytest.raises(ValueError, match="gradient reaches the embeddings"):
        objective_named(name, victim)(victim.model, victim.encode(TEXTS, LABELS))


def test_words_wants_a_label_for_every_text():
    victim = make_victim()
    batch = victim.encode(TEXTS, [1, 0, 0, UNLABELLED, 0, 1])
    with pytest.raises(ValueError, match="every text needs one"):
        objective_named("Words", victim)(victim.model, batch)


@every
def test_frozen_embeddings_change_no_other_gradient(name):
    victim = make_victim(dropout=0.2)
    table, batch = victim.model.get_input_embeddings(), victim.encode(TEXTS, LABELS)
    found = []
    for trained in (True, False):
        table.requires_grad_(trained)
        objective = objective_named(name, victim, **SAME)
        torch.manual_seed(3)
        found.append(gradients(victim.model, objective, batch)[1])
    free, frozen = found
    assert free.pop("bert.embeddings.word_embeddings.weight").any()
    assert_same(free, frozen)


@pytest.mark.parametrize(
    "name", ["Adversarial", "Madry", "TRADES", "VAT", "SMART", "FreeLB", "R3F", "Counterfactual"]
)
def test_with_same_dropout_all_passes_of_a_step_see_one_mask(name):
    victim = make_victim(dropout=0.3)
    masks = dropped(victim.model)
    objective, batch = objective_named(name, victim, **SAME), victim.encode(TEXTS, LABELS)
    for step in range(2):
        objective(victim.model, batch, step=step)
    for seen in masks.values():
        half = len(seen) // 2
        assert half >= 2 and seen[0].any()
        for step in (seen[:half], seen[half:]):
            assert all(torch.equal(mask, step[0]) for mask in step)
        assert differ(seen[0], seen[-1])  # the next step has its own


class Wrapper(nn.Module):
    """What DistributedDataParallel looks like from outside."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, **inputs):
        self.calls += 1
        return self.module(**inputs)


@every
@pytest.mark.parametrize("settings", [{}, SAME], ids=["", "same dropout"])
def test_a_wrapped_model_is_called_through_its_wrapper_once(name, settings):
    victim = make_victim(dropout=0.2)
    batch, wrapped = victim.encode(TEXTS, LABELS), Wrapper(victim.model)
    torch.manual_seed(3)
    _, plain = gradients(victim.model, objective_named(name, victim, **settings), batch)
    victim.model.zero_grad()
    torch.manual_seed(3)
    objective_named(name, victim, **settings)(wrapped, batch)
    assert wrapped.calls == 1
    assert_same({n: p.grad for n, p in victim.model.named_parameters()}, plain, 0)


def count_rows(monkeypatch, model):
    """Rows that go forward, back to the embeddings, and back to the weights."""
    rows, attacking, real = dict(forward=0, backward=0, weights=0), [], torch.autograd.grad

    def spy(*args, **settings):
        attacking.append(True)
        try:
            return real(*args, **settings)
        finally:
            attacking.pop()

    def back(grad):
        rows["backward"] += len(grad)
        rows["weights"] += 0 if attacking else len(grad)

    def forth(module, args):
        rows["forward"] += len(args[0])
        if args[0].requires_grad:
            args[0].register_hook(back)

    monkeypatch.setattr(torch.autograd, "grad", spy)
    model.bert.embeddings.LayerNorm.register_forward_pre_hook(forth)
    return rows


def others_for_counting(victim):
    return {
        "half": Adversarial(PGD(0.3, steps=3, random_start=True), ratio=0.5),
        "three from random": FreeLB(PGD(0.3, steps=3, random_start=True)),
        "two steps": TRADES(Divergence(0.3, steps=2)),
        "power": VAT(VirtualAdversarial(0.3, steps=3)),
        "half of the words": Words(NEAR, victim, DATA, ratio=0.5),
        "words by deletion": Words(EmbeddingNeighbours(k=4, rank="delete"), victim, DATA),
        "hotflip": Words(HotFlip(k=3), victim, DATA),
    }


OTHERS = ["half", "three from random", "two steps", "power", "half of the words",
          "words by deletion", "hotflip"]  # fmt: skip


@pytest.mark.parametrize(
    "name, dropout, settings",
    [(name, 0.2, {}) for name in NAMES + OTHERS]
    + [(name, 0.2, SAME) for name in NAMES[1:7]]
    + [(name, 0.0, {}) for name in NAMES if name != "RDrop"],
)
def test_the_passes_that_are_counted_are_made(monkeypatch, name, dropout, settings):
    victim = make_victim(dropout)
    named = others_for_counting(victim) if name in OTHERS else {}
    objective = named.get(name) or objective_named(name, victim, **settings)
    batch = victim.encode(TEXTS, LABELS)
    rows = count_rows(monkeypatch, victim.model)
    parts = objective(victim.model, batch)
    for kind, count in rows.items():
        assert getattr(parts, kind) == pytest.approx(count / 6), kind
    assert parts.units == pytest.approx(sum(rows.values()) / 6)


@pytest.mark.parametrize(
    "objective, units",
    [
        (Clean(), 3),
        (Adversarial(PGD(0.3, steps=3)), 10),
        (Adversarial(PGD(0.3, steps=3, random_start=True)), 12),
        (Madry(PGD(0.3, steps=3)), 9),
        (FreeLB(PGD(0.3, steps=3)), 9),
        (Free(FGM(0.3)), 3),
        (TRADES(Divergence(0.3, steps=3)), 12),
        (VAT(VirtualAdversarial(0.3)), 8),
        (SMART(Divergence(0.3, symmetric=True)), 9),
        (R3F(Noise(0.3)), 6),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Objective) else str(value),
)
def test_the_units_of_work_are_those_of_a_hand_count(objective, units):
    assert objective(make_model(), make_batch()).units == units


@every
def test_no_objective_lets_a_loss_that_is_not_finite_through(name):
    victim = make_victim(dropout=0.1)
    objective, batch = objective_named(name, victim), victim.encode(TEXTS, LABELS)
    with torch.no_grad():
        victim.model.classifier.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite|became nan"):
        objective(victim.model, batch)
    assert all(p.grad is None or p.grad.isfinite().all() for p in victim.model.parameters())


@every
def test_the_terms_that_are_reported_carry_no_graph(name):
    victim = make_victim(dropout=0.1)
    parts = objective_named(name, victim)(victim.model, victim.encode(TEXTS, LABELS))
    for value in (parts.loss, parts.clean, parts.adv):
        assert value is None or (value.dim() == 0 and not value.requires_grad)
    assert all(not t.requires_grad for t in objective_named(name, victim).state().values())


PLAIN, SYMMETRIC = Divergence(0.3), Divergence(0.3, symmetric=True)


@pytest.mark.parametrize(
    "make, named",
    [
        (lambda: Madry("PGD"), "attack"),
        (lambda: Madry(NEAR), "attack"),
        (lambda: TRADES(PGD(0.3)), "attack must be Divergence"),
        (lambda: VAT(FGM(0.3)), "attack must be VirtualAdversarial"),
        (lambda: SMART(PGD(0.3)), "attack must be Divergence"),
        (lambda: SMART(PLAIN), "symmetric=True"),
        (lambda: SMART(SYMMETRIC, momentum=1), "momentum"),
        (lambda: SMART(SYMMETRIC, momentum=-0.1), "momentum"),
        (lambda: SMART(SYMMETRIC, momentum=float("nan")), "momentum"),
        (lambda: FreeLB("PGD"), "attack"),
        (lambda: FreeLB(Noise(0.3)), "PGD"),
        (lambda: FreeLB(PGD(0.3, restarts=2)), "restarts"),
        (lambda: Adversarial(PGD(0.3, restarts=2)), "restarts"),
        (lambda: Madry(PGD(0.3, restarts=2)), "restarts"),
        (lambda: TRADES(Divergence(0.3, restarts=2)), "restarts"),
        (lambda: R3F(Noise(0.3, restarts=3)), "restarts"),
        (lambda: FreeLB(PGD(0.3, target=1)), "no target"),
        (lambda: Free(None), "attack"),
        (lambda: Free(FGM(0.3, target=1)), "target"),
        (lambda: Free(FGM(0.3), replays=0), "replays"),
        (lambda: Free(FGM(0.3), replays=-1), "replays"),
        (lambda: Free(FGM(0.3), replays=1.5), "replays"),
        (lambda: R3F(FGM(0.3)), "noise"),
        (lambda: Words(FGM(0.3), make_classifier(), DATA), "attack must be a word attack"),
        (lambda: Words(NEAR, make_classifier(), DATA, ratio=0), "ratio"),
        (lambda: Words(NEAR, make_classifier(), DATA, ratio=1.1), "ratio"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "make, named",
    [
        (lambda v: TRADES(PLAIN, beta=v), "beta"),
        (lambda v: VAT(VirtualAdversarial(0.3), lam=v), "lam"),
        (lambda v: SMART(SYMMETRIC, lam=v), "lam"),
        (lambda v: SMART(SYMMETRIC, mu=v), "mu"),
        (lambda v: RDrop(alpha=v), "alpha"),
        (lambda v: R3F(Noise(0.3), lam=v), "lam"),
        (lambda v: Words(NEAR, make_classifier(), DATA, lam=v), "lam"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_weight_that_is_negative_or_not_finite_is_refused_by_its_name(make, named, value):
    with pytest.raises(ValueError, match=named):
        make(value)


# --- when it sets in, and for whom ------------------------------------------------------------


def test_after_is_plain_training_first_and_then_the_objective():
    model, batch = make_model(), make_batch()
    attack = Adversarial(FGM(0.3))
    late = After(attack, steps=2)
    plain, hard = (gradients(model, objective, batch)[1] for objective in (Clean(), attack))
    for step, wanted in enumerate((plain, plain, hard, hard)):
        assert_same(gradients(model, late, batch, step=step)[1], wanted)
    assert [late.settings(step)["lam"] for step in (0, 1, 2)] == [0, 0, 1]
    assert late.settings(1)["eps"] == 0 and late.settings(2)["eps"] == 0.3


def test_after_counts_the_objectives_own_steps_from_its_onset():
    late = After(Adversarial(FGM(0.3), lam=1.0, warmup=4), steps=10)
    assert [late.settings(step)["lam"] for step in (9, 10, 12, 14)] == [0, 0, 0.5, 1]


def test_after_keeps_what_its_objective_must_keep():
    free = Free(FGM(0.3), replays=3)
    late = After(free, steps=0)
    assert late.replays == 3 and late.differs and not After(Madry(FGM(0.3)), 1).differs
    late(make_model(), make_batch(), step=0)
    assert late.state() and late.state().keys() == free.state().keys()
    late.restore({})
    assert not free.state()


@pytest.mark.parametrize(
    "make, names",
    [
        (lambda eps: Adversarial(PGD(eps, steps=3), lam=2.0), ["lam", "attack"]),
        (lambda eps: After(FreeLB(PGD(eps, steps=2)), 5), ["objective"]),
        (lambda eps: R3F(Noise(eps)), ["noise"]),
        (lambda eps: SMART(Divergence(eps, symmetric=True)), ["attack"]),
    ],
)
def test_softer_is_the_same_with_half_of_eps(make, names):
    assert make(0.4).softer() == make(0.2)


@pytest.mark.parametrize("arguments", [(FGM(0.3), 1), (Clean(), -1), (Clean(), 1.5)])
def test_after_refuses_what_makes_no_sense(arguments):
    with pytest.raises(ValueError, match="After needs an objective|steps must be a whole number"):
        After(*arguments)


def test_in_turn_takes_one_objective_a_step_and_costs_what_that_one_costs():
    model, batch = make_model(), make_batch()
    one, two = Adversarial(FGM(0.3), lam=0.5), TRADES(Divergence(0.2), beta=3.0)
    several = InTurn(one, Clean(), two)
    for step in range(7):
        own = (one, Clean(), two)[step % 3]
        parts, grads = gradients(model, several, batch, step=step)
        wanted, formula = gradients(model, own, batch, step=step)
        assert_same(grads, formula)
        assert parts.units == wanted.units and torch.equal(parts.loss, wanted.loss)
        assert several.settings(step) == own.settings(step)
    assert [several.settings(step) for step in (3, 4, 5)] == [
        {"lam": 0.5, "eps": 0.3}, {}, {"beta": 3.0, "eps": 0.2}
    ]  # fmt: skip


def test_in_turn_says_what_it_is_made_of():
    several = InTurn(Adversarial(FGM(0.4)), Clean())
    assert repr(several) == f"InTurn({Adversarial(FGM(0.4))!r}, Clean())"
    assert several == InTurn(Adversarial(FGM(0.4)), Clean()) != InTurn(Clean())
    assert several.softer() == InTurn(Adversarial(FGM(0.2)), Clean())
    twice = InTurn(smart := SMART(Divergence(0.4, symmetric=True)), Clean(), smart).softer()
    assert twice.objectives[0] is twice.objectives[2] and twice.objectives[0] is not smart
    assert not several.differs and several.replays == 1 and not several.state()


def test_in_turn_keeps_apart_what_its_objectives_remember():
    """Each has its own past; one that stands there twice has one."""
    slow, quick = (SMART(Divergence(0.3, symmetric=True), momentum=m) for m in (0.9, 0.1))
    several, model, batch = InTurn(slow, quick, slow), make_model(), make_batch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        gradients(model, several, batch, step=step)
        optimizer.step()
    kept = {name: value.clone() for name, value in several.state().items()}
    assert kept["0.step"] == 3 and kept["1.step"] == 4  # of steps 0, 2, 3 and of 1, 4
    assert len(kept) == len(slow.state()) + len(quick.state())
    others = [SMART(Divergence(0.3, symmetric=True), momentum=m) for m in (0.9, 0.1)]
    again = InTurn(*others, others[0])
    again.restore(kept)
    for step in (5, 6, 7):
        found = gradients(copy.deepcopy(model), again, batch, step=step)[1]
        assert_same(found, gradients(copy.deepcopy(model), several, batch, step=step)[1])
    again.restore({})
    assert not again.state()


def test_in_turn_goes_on_with_the_turn_that_a_checkpoint_was_written_before(tmp_path):
    from advlib.finetuning import finetune

    turns = []

    class Noted(InTurn):
        def __call__(self, *given, step=0, **named):
            turns.append(self.objectives.index(self.turn(step)))
            return super().__call__(*given, step=step, **named)

    adjectives = ("good", "bad", "great", "awful")
    texts = [f"the {noun} was {adjective}" for noun in ("film", "plot") for adjective in adjectives]
    data = Dataset.from_dict({"text": texts, "label": [1, 0, 1, 0] * 2})

    def train(out, **how):
        torch.manual_seed(0)
        victim = make_classifier("bert")
        several = Noted(Adversarial(FGM(0.1)), SMART(Divergence(0.1, symmetric=True)), Clean())
        finetune(victim, data, several, out=str(tmp_path / out), epochs=4, batch_size=4, seed=1,
                 disable_tqdm=True, logging_steps=100, **how)  # fmt: skip
        return dict(victim.model.named_parameters())

    whole = train("whole", save_strategy="steps", save_steps=4)
    assert turns == [0, 1, 2, 0, 1, 2, 0, 1]
    shutil.rmtree(tmp_path / "whole" / "checkpoint-8")
    turns.clear()
    resumed = train("whole", save_strategy="steps", save_steps=4, resume=True)
    assert turns == [1, 2, 0, 1]
    assert_same(resumed, whole, 1e-6)


@pytest.mark.parametrize(
    "parts, wanted",
    [((), "one or more objectives"), ((FGM(0.3),), "InTurn takes one or more objectives"),
     (([Clean()],), "InTurn takes one or more objectives"), ((Clean(), Free(FGM(0.3))), "replays")],
)  # fmt: skip
def test_in_turn_refuses_what_makes_no_sense(parts, wanted):
    with pytest.raises(ValueError, match=wanted):
        InTurn(*parts)


@pytest.mark.parametrize(
    "objective",
    [Clean(), Adversarial(FGM(0.3)), Madry(FGM(0.3)), FreeLB(PGD(0.3, steps=2)), Free(FGM(0.3)),
     TRADES(Divergence(0.3), beta=0.0)],
)  # fmt: skip
def test_an_example_of_weight_two_counts_as_if_it_were_there_twice(objective):
    model, batch = make_model(), make_batch(4)
    weights = torch.tensor([2.0, 1, 0, 1], dtype=torch.float64)
    _, weighted = gradients(model, objective, {**batch, "weight": weights})
    _, plain = gradients(model, objective, {n: v[[0, 0, 1, 3]] for n, v in batch.items()})
    assert_same(weighted, plain, 1e-9)
