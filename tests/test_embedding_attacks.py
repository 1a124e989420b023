"""Attacks on embeddings: the ball is kept, more effort never hurts, the model is left alone."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from advlib.attacks.embedding import (
    FGM,
    FGSM,
    PGD,
    Divergence,
    EmbeddingAttack,
    Noise,
    VirtualAdversarial,
    wrong_margin,
)
from advlib.embeddings import (
    attack_mode,
    attackable,
    has_dropout,
    perturbed_logits,
    shifted,
    zero_delta,
)
from advlib.models import NOT_INPUTS


def brief(attack):
    """The settings that are not the default, for the name of a test."""
    plain = vars(type(attack)(attack.eps))
    changed = {k: v for k, v in vars(attack).items() if v != plain[k]}
    return " ".join([type(attack).__name__, *(f"{k}={v}" for k, v in changed.items())])


BALLS = [("l2", "sequence"), ("l2", "token"), ("linf", "sequence")]
balls = pytest.mark.parametrize("norm, scope", BALLS, ids=["l2-sequence", "l2-token", "linf"])
starts = pytest.mark.parametrize("random_start", [False, True], ids=["from zero", "from random"])
ATTACKS = [
    Noise(0.3),
    Noise(0.3, restarts=3),
    FGM(0.3),
    FGM(0.3, scope="token"),
    FGSM(0.3),
    PGD(0.3, steps=3),
    PGD(0.3, steps=2, restarts=3),
    PGD(0.3, steps=3, random_start=True, norm="linf"),
    Divergence(0.3, steps=2),
    Divergence(0.3, steps=2, symmetric=True, scope="token", restarts=2),
    VirtualAdversarial(0.3),
    VirtualAdversarial(0.3, steps=3, norm="linf"),
]
attacks = pytest.mark.parametrize("attack", ATTACKS, ids=brief)


def mean_norm(model):
    weight = model.get_input_embeddings().weight.detach().double()
    return sum(row.norm().item() for row in weight) / len(weight)


def radius(attack, model):
    """ε in the model's units, computed anew."""
    scaled = attack.eps * mean_norm(model)
    hidden = model.get_input_embeddings().weight.shape[1]
    return scaled / math.sqrt(hidden) if attack.norm == "linf" else scaled


def lengths(attack, delta):
    """‖δ‖ of each example (of each token, for scope "token")."""
    if attack.norm == "linf":
        return delta.abs().flatten(1).max(1).values
    return delta.norm(dim=2) if attack.scope == "token" else delta.flatten(1).norm(dim=1)


def margins(model, batch, delta, hard=True):
    with torch.no_grad():
        logits = perturbed_logits(model, batch, delta)
    return wrong_margin(logits, batch["labels"], hard)


def coarse(model):
    """Whether the model computes in float32 inside even where its weights are float64."""
    return model.config.model_type in ("llama", "modernbert")


def free(batch):
    """The tokens that an attack may touch, token by token."""
    return [
        [bool(real) and not special for real, special in zip(*rows, strict=True)]
        for rows in zip(
            batch["attention_mask"].tolist(), batch["special_tokens_mask"].tolist(), strict=True
        )
    ]


# --- δ stays in the ball --------------------------------------------------------------------


@balls
@starts
def test_delta_is_in_the_ball_after_every_step(victim, texts, labels, norm, scope, random_start):
    batch = victim.encode(texts, labels)
    eps = 0.6 if scope == "token" else 0.9
    for steps in (1, 2, 4):
        attack = PGD(eps, norm, scope, steps=steps, random_start=random_start)
        delta = attack(victim.model, batch, keep_best=False)
        size = lengths(attack, delta)
        assert delta.dtype == torch.float32
        assert size.max() <= radius(attack, victim.model) * (1 + 1e-5)
        assert size.max() >= radius(attack, victim.model) * 0.5  # the budget is used


@attacks
def test_delta_is_zero_on_padding_and_special_tokens_only(victim, texts, labels, attack):
    batch = victim.encode(texts, labels)
    delta = attack(victim.model, batch, keep_best=False)
    touched = torch.tensor(free(batch))
    assert not delta[~touched].any()
    assert delta[touched].abs().sum(1).gt(0).all()


def test_special_tokens_and_padding_are_what_the_tokenizer_says(victim, texts, labels):
    batch = victim.encode(texts, labels)
    words = [len(text.split()) for text in texts]
    assert attackable(batch).sum(1).tolist() == words
    assert attackable(batch).tolist() == free(batch)


def test_padding_stays_zero_where_only_the_attention_mask_tells_it(victim, texts, labels):
    batch = victim.encode(texts, labels)
    batch["special_tokens_mask"] *= batch["attention_mask"]  # some collators pad it with 0
    for attack in (FGM(0.3), Noise(0.3)):
        expected = attack(victim.model, victim.encode(texts, labels))
        assert torch.equal(attack(victim.model, batch), expected)


@balls
def test_step_size_is_in_the_units_of_eps(bert, texts, labels, norm, scope):
    attack = PGD(0.5, norm, scope, steps=1, step_size=0.125)
    delta = attack(bert.model, bert.encode(texts, labels))
    expected = radius(PGD(0.125, norm, scope), bert.model)
    assert lengths(attack, delta).max().item() == pytest.approx(expected, rel=1e-5)


# --- what relative eps means ----------------------------------------------------------------


@balls
def test_relative_eps_counts_in_mean_embedding_norms(victim, texts, labels, norm, scope):
    batch = victim.encode(texts, labels)
    relative = FGM(0.25, norm, scope)
    absolute = FGM(radius(relative, victim.model), norm, scope, relative=False)
    assert relative.ball(victim.model).eps == pytest.approx(absolute.eps, rel=1e-6)
    torch.testing.assert_close(relative(victim.model, batch), absolute(victim.model, batch))


def test_scaled_embeddings_scale_a_relative_eps(bert):
    before = FGM(0.25).ball(bert.model).eps
    bert.model.get_input_embeddings().weight.data *= 8
    assert FGM(0.25).ball(bert.model).eps == pytest.approx(8 * before)


# --- more effort never hurts ----------------------------------------------------------------


@balls
@starts
def test_more_steps_are_never_weaker(victim, texts, labels, norm, scope, random_start):
    batch = victim.encode(texts, labels)
    reached = []
    for steps in (1, 2, 4):
        attack = PGD(0.8, norm, scope, steps=steps, random_start=random_start)
        reached.append(margins(victim.model, batch, attack(victim.model, batch)))
    for fewer, more in zip(reached, reached[1:], strict=False):
        assert (more >= fewer - 1e-5).all()
    if not random_start:  # a run of two or more steps has seen its start
        assert (reached[1] >= margins(victim.model, batch, None) - 1e-5).all()


@balls
@starts
def test_more_restarts_are_never_weaker(victim, texts, labels, norm, scope, random_start):
    batch = victim.encode(texts, labels)
    reached = []
    for restarts in (1, 2, 3):
        attack = PGD(0.8, norm, scope, steps=2, random_start=random_start, restarts=restarts)
        reached.append(margins(victim.model, batch, attack(victim.model, batch)))
    for fewer, more in zip(reached, reached[1:], strict=False):
        assert (more >= fewer - 1e-5).all()


def test_restarts_after_the_first_start_at_random(bert, texts, labels):
    batch, first = bert.encode(texts, labels), PGD(0.3, steps=2)
    expected = first(bert.model, batch, keep_best=False)
    last = [PGD(0.3, steps=2, restarts=n)(bert.model, batch, keep_best=False) for n in (1, 2, 3)]
    assert torch.equal(last[0], expected)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.allclose(last[one], last[other], atol=1e-3)


def test_more_random_points_are_never_weaker(victim, texts, labels):
    batch = victim.encode(texts, labels)
    reached = [
        margins(victim.model, batch, Noise(0.8, restarts=n)(victim.model, batch)) for n in (1, 3, 9)
    ]
    assert (reached[1] >= reached[0] - 1e-5).all() and (reached[2] >= reached[1] - 1e-5).all()
    assert reached[2].sum() > reached[0].sum()


@balls
def test_a_small_step_raises_the_log_odds_of_every_example(victim, texts, labels, norm, scope):
    batch = victim.encode(texts, labels)
    delta = FGM(1e-3, norm, scope)(victim.model, batch)
    before = margins(victim.model, batch, None, hard=False)
    assert (margins(victim.model, batch, delta, hard=False) > before).all()


# --- the loop against the textbook ----------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 4])
@balls
def test_pgd_is_projected_gradient_ascent(victim, norm, scope, steps):
    """Against a loop written from the definition that feeds `inputs_embeds`."""
    victim.model.double()
    batch = victim.encode(["the film was very good but the ending felt slow"], [1])
    attack = PGD(0.4, norm, scope, steps=steps)
    eps, mask = radius(attack, victim.model), torch.tensor(free(batch))[..., None]
    start = victim.model.get_input_embeddings()(batch["input_ids"]).detach()
    delta = torch.zeros_like(start)
    for k in range(1, steps + 1):
        delta.requires_grad_()
        inputs = dict(inputs_embeds=start + delta, attention_mask=batch["attention_mask"])
        z = victim.model(**inputs).logits[0]
        loss = (z[0].exp() + z[2].exp()).log() - z[1]
        (grad,) = torch.autograd.grad(loss, delta)
        grad, delta = (grad * mask)[0], delta.detach()[0]
        if norm == "linf":
            delta = (delta + eps / math.sqrt(k) * grad.sign()).clamp(-eps, eps)[None]
            continue
        rows = [grad.flatten()] if scope == "sequence" else list(grad)
        step = torch.stack([row / row.norm() if row.any() else row for row in rows])
        delta = delta + eps / math.sqrt(k) * step.view_as(grad)
        rows = [delta.flatten()] if scope == "sequence" else list(delta)
        rows = [row * min(1, eps / max(row.norm().item(), 1e-300)) for row in rows]
        delta = torch.stack(rows).view_as(grad)[None]
    found = attack(victim.model, batch, keep_best=False)
    slack = 1e-5 if coarse(victim.model) else 1e-9
    torch.testing.assert_close(found, delta, rtol=1e-6, atol=slack)


def test_one_step_of_pgd_is_fgm_and_of_pgd_linf_is_fgsm(victim, texts, labels):
    batch = victim.encode(texts, labels)
    assert torch.equal(PGD(0.3, steps=1)(victim.model, batch), FGM(0.3)(victim.model, batch))
    sign = PGD(0.3, "linf", steps=1)(victim.model, batch)
    assert torch.equal(sign, FGSM(0.3)(victim.model, batch))


@pytest.mark.parametrize("target", [None, 0, 2])
def test_gradient_equals_finite_differences(victim, texts, labels, target):
    model = victim.model.double()
    batch = victim.encode(texts, labels)
    h, slack = (3e-4, 2e-2) if coarse(model) else (1e-5, 1e-5)
    own = torch.Generator().manual_seed(0)
    shape = zero_delta(model, batch).shape
    delta = 0.1 * torch.randn(shape, generator=own, dtype=torch.float64)
    grad, _ = FGM(0.3, target=target)._gradient(model, batch, delta)

    def loss(shift):
        z = perturbed_logits(model, batch, shift).detach()
        classes = batch["labels"].tolist() if target is None else [target] * len(z)
        odds = [
            math.log(sum(math.exp(v) for j, v in enumerate(row) if j != y)) - row[y]
            for row, y in zip(z.tolist(), classes, strict=True)
        ]
        return sum(odds) if target is None else -sum(odds)

    for _ in range(4):
        way = torch.randn(shape, generator=own, dtype=torch.float64)
        slope = (loss(delta + h * way) - loss(delta - h * way)) / (2 * h)
        assert (grad * way).sum().item() == pytest.approx(slope, abs=slack)


rows = st.lists(st.floats(-30, 30, allow_subnormal=False), min_size=2, max_size=6)


@given(rows, st.data())
@settings(deadline=None, max_examples=100)
def test_wrong_margin_is_the_log_odds_by_its_formula(logits, data):
    y = data.draw(st.integers(0, len(logits) - 1))
    z, label = torch.tensor([logits], dtype=torch.float64), torch.tensor([y])
    p = torch.softmax(z[0], 0)
    wrong = sum(p[j].item() for j in range(len(p)) if j != y)
    soft = wrong_margin(z, label).item()
    assert soft == pytest.approx(math.log(wrong) - math.log(p[y].item()), abs=1e-9)
    others = [v for j, v in enumerate(logits) if j != y]
    assert wrong_margin(z, label, hard=True).item() == max(others) - logits[y]
    entropy = F.cross_entropy(z, label).item()
    assert entropy == pytest.approx(math.log1p(math.exp(soft)), abs=1e-9)


def test_wrong_margin_of_huge_logits_is_finite_and_has_a_gradient():
    z = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    margin = wrong_margin(z, torch.tensor([0]))
    (grad,) = torch.autograd.grad(margin.sum(), z)
    assert margin.item() == -1e4
    assert grad.tolist() == [[-1.0, 0.0, 1.0]]


# --- the exact maximum of a linear model ----------------------------------------------------


class Linear(nn.Module):
    """A softmax head on the mean of the embeddings: its margin is linear in δ."""

    def __init__(self, size=40, hidden=6, classes=2):
        super().__init__()
        own = torch.Generator().manual_seed(0)
        self.table, self.head = nn.Embedding(size, hidden), nn.Linear(hidden, classes)
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=own)

    def get_input_embeddings(self):
        return self.table

    def embed(self, input_ids):
        return self.table(input_ids)

    def forward(self, input_ids, attention_mask):
        weights = attention_mask[..., None].to(self.table.weight.dtype)
        mean = (self.embed(input_ids) * weights).sum(1) / weights.sum(1)
        return SimpleNamespace(logits=self.head(mean))


@pytest.fixture
def linear():
    return Linear()


@pytest.fixture
def batch(tiny, texts):
    """A batch of four texts for a two-class model that takes ids and a mask."""
    return tiny("distilbert").encode(texts, [0, 1, 1, 0])


@balls
@pytest.mark.parametrize(
    "make, slack",
    [
        (FGM, 1e-6),
        (lambda *ball: PGD(*ball, steps=20), 1e-4),
        (lambda *ball: PGD(*ball, steps=25, random_start=True), 1e-4),
    ],
    ids=["one step", "pgd", "pgd from random"],
)
def test_attacks_reach_the_maximum_of_a_linear_model(linear, batch, norm, scope, make, slack):
    linear.double()
    attack = make(0.3, norm, scope)
    before = margins(linear, batch, None)
    gain = margins(linear, batch, attack(linear, batch)) - before
    eps = radius(attack, linear)
    for i, (words, y) in enumerate(zip(free(batch), batch["labels"].tolist(), strict=True)):
        slope = linear.head.weight[1 - y] - linear.head.weight[y]
        slope = slope.detach() / batch["attention_mask"][i].sum()  # of the margin, at each word
        n = sum(words)
        exact = {
            ("l2", "sequence"): eps * slope.norm() * math.sqrt(n),
            ("l2", "token"): eps * slope.norm() * n,
            ("linf", "sequence"): eps * slope.abs().sum() * n,
        }[norm, scope]
        assert gain[i].item() == pytest.approx(exact.item(), rel=slack)
        assert gain[i] <= exact * (1 + 1e-9)


def test_fgsm_reaches_the_maximum_of_a_linear_model(linear, batch):
    linear.double()
    gain = margins(linear, batch, FGSM(0.2)(linear, batch)) - margins(linear, batch, None)
    assert gain.dtype == torch.float64
    slope = (linear.head.weight[0] - linear.head.weight[1]).abs().sum()
    share = attackable(batch).sum(1).double() / batch["attention_mask"].sum(1)
    expected = radius(FGSM(0.2), linear) * slope.detach() * share
    torch.testing.assert_close(gain, expected, rtol=1e-6, atol=0)


# --- each example on its own ----------------------------------------------------------------


@pytest.mark.parametrize(
    "attack",
    [FGM(0.3, scope="token"), FGSM(0.3), PGD(0.3, steps=3), Noise(0.3, restarts=3)],
    ids=brief,
)
def test_delta_does_not_depend_on_the_other_texts_of_the_batch(victim, texts, labels, attack):
    victim.model.double()
    together = attack(victim.model, victim.encode(texts, labels))
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        alone = attack(victim.model, victim.encode([text], [label]))[0]
        assert alone.dtype == torch.float64
        torch.testing.assert_close(together[i, : len(alone)], alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("scope", ["sequence", "token"])
def test_random_starts_do_not_depend_on_the_other_texts_of_the_batch(victim, texts, labels, scope):
    victim.model.double()
    attack = PGD(0.3, scope=scope, steps=2, random_start=True, restarts=2)
    together = attack(victim.model, victim.encode(texts, labels), keep_best=False)
    backwards = attack(victim.model, victim.encode(texts[::-1], labels[::-1]), keep_best=False)
    torch.testing.assert_close(together, backwards.flip(0), rtol=0, atol=1e-6)
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        alone = attack(victim.model, victim.encode([text], [label]), keep_best=False)[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, rtol=0, atol=1e-6)


# --- the model is left as it was ------------------------------------------------------------


def state_of(model):
    return {
        "modes": [module.training for module in model.modules()],
        "flags": [p.requires_grad for p in model.parameters()],
        "grads": [p.grad for p in model.parameters()],
        "gradients": [p.grad if p.grad is None else p.grad.clone() for p in model.parameters()],
        "weights": [p.detach().clone() for p in model.parameters()],
        "hooks": sum(len(module._forward_hooks) for module in model.modules()),
        "random": torch.get_rng_state(),
        "enabled": torch.is_grad_enabled(),
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def unsettle(model):
    """A model in the middle of a training: mixed modes, frozen parts, gradients here and there."""
    model.train()
    modules, parameters = list(model.modules()), list(model.parameters())
    for module in modules[2::3]:
        module.training = False
    for p in parameters[::4]:
        p.requires_grad_(False)
    for p in parameters[1::2]:
        p.grad = torch.ones_like(p)


@attacks
@pytest.mark.parametrize("same_dropout", [False, True])
def test_attack_leaves_everything_as_it_was(tiny, texts, labels, attack, same_dropout):
    victim = tiny(dropout=0.3)
    batch = victim.encode(texts, labels)
    kept = {name: value.clone() for name, value in batch.items()}
    unsettle(victim.model)
    before = state_of(victim.model)
    settings = {**vars(attack), "same_dropout": same_dropout}
    type(attack)(**settings)(victim.model, batch)
    assert same(before, state_of(victim.model))
    assert same(kept, batch)


def test_attack_leaves_every_architecture_as_it_was(victim, texts, labels):
    unsettle(victim.model)
    before = state_of(victim.model)
    PGD(0.3, steps=2, restarts=2)(victim.model, victim.encode(texts, labels))
    assert same(before, state_of(victim.model))


@pytest.mark.parametrize("at", [1, 2, 4])
@pytest.mark.parametrize("same_dropout", [False, True])
def test_an_exception_inside_leaves_everything_as_it_was(tiny, texts, labels, at, same_dropout):
    victim = tiny(dropout=0.3)
    batch, calls = victim.encode(texts, labels), []
    unsettle(victim.model)

    def fail(module, args, output):
        torch.rand(1)
        calls.append(module)
        if len(calls) == at:
            raise RuntimeError("out of memory, say")

    victim.model.classifier.register_forward_hook(fail)
    before = state_of(victim.model)
    with pytest.raises(RuntimeError, match="out of memory, say"):
        PGD(0.3, steps=3, same_dropout=same_dropout)(victim.model, batch)
    assert len(calls) == at
    assert same(before, state_of(victim.model))


def test_shifted_removes_its_hook_after_an_exception(bert, texts):
    before = state_of(bert.model)
    with pytest.raises(KeyError), shifted(bert.model, torch.zeros(1)):
        raise KeyError
    assert same(before, state_of(bert.model))


def test_attack_works_where_gradients_are_switched_off(bert, texts, labels):
    batch = bert.encode(texts, labels)
    expected = PGD(0.3, steps=2)(bert.model, batch)
    with torch.no_grad():
        assert torch.equal(PGD(0.3, steps=2)(bert.model, batch), expected)
        assert not torch.is_grad_enabled()
    assert not expected.requires_grad


# --- frozen models, LoRA, wrappers ----------------------------------------------------------


@pytest.mark.parametrize("attack", [FGM(0.3), PGD(0.3, steps=2, restarts=2)], ids=brief)
def test_frozen_models_are_attacked_like_any_other(victim, texts, labels, attack):
    batch = victim.encode(texts, labels)
    expected = attack(victim.model, batch)
    victim.model.get_input_embeddings().requires_grad_(False)
    assert torch.equal(attack(victim.model, batch), expected)
    victim.model.requires_grad_(False)
    assert torch.equal(attack(victim.model, batch), expected)


@pytest.mark.parametrize(
    "architecture, targets",
    [("bert", ["query", "value"]), ("bert", ["word_embeddings"]), ("llama", ["q_proj"]),
     ("gpt2", ["c_attn"])],
)  # fmt: skip
def test_a_fresh_lora_model_is_attacked_like_its_base(tiny, texts, labels, architecture, targets):
    peft = pytest.importorskip("peft")
    victim = tiny(architecture)
    batch = victim.encode(texts, labels)
    config = peft.LoraConfig(
        task_type="SEQ_CLS", target_modules=targets, fan_in_fan_out=architecture == "gpt2"
    )
    lora = peft.get_peft_model(copy.deepcopy(victim.model), config).eval()
    for attack in (FGM(0.3), PGD(0.3, steps=3, random_start=True)):
        torch.testing.assert_close(attack(lora, batch), attack(victim.model, batch))


class Wrapper(nn.Module):
    """What DistributedDataParallel looks like from outside."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, **inputs):
        self.calls += 1
        return self.module(**inputs)


def test_a_wrapped_model_is_attacked_inside_its_wrapper(bert, texts, labels):
    batch, wrapped = bert.encode(texts, labels), Wrapper(bert.model)
    delta = PGD(0.3, steps=2)(wrapped, batch)
    assert wrapped.calls == 0  # each pass through a real wrapper would exchange gradients
    assert torch.equal(delta, PGD(0.3, steps=2)(bert.model, batch))
    inner = perturbed_logits(bert.model, batch, delta)
    assert torch.equal(perturbed_logits(wrapped, batch, delta), inner)
    assert wrapped.calls == 1


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("same_dropout", [False, True])
def test_gradient_checkpointing_changes_nothing(tiny, texts, labels, same_dropout):
    victim = tiny(dropout=0.3)
    victim.model.train()
    batch, attack = victim.encode(texts, labels), PGD(0.3, steps=2, same_dropout=same_dropout)
    torch.manual_seed(0)
    expected = attack(victim.model, batch)
    victim.model.gradient_checkpointing_enable()
    torch.manual_seed(0)
    torch.testing.assert_close(attack(victim.model, batch), expected)


# --- dropout --------------------------------------------------------------------------------


def test_dropout_is_off_unless_asked_for(tiny, texts, labels):
    victim, sure = tiny(dropout=0.3), tiny(dropout=0.0)
    batch = victim.encode(texts, labels)
    victim.model.train()
    for attack in (FGM(0.3), PGD(0.3, steps=3, restarts=2)):
        expected = attack(sure.model, batch)
        assert torch.equal(attack(victim.model, batch), expected)


def dropped(model):
    """Records, for every call of a dropout layer, which entries it set to zero; True, False, or
    NaN where the entry was zero already."""
    seen = {}

    def record(module, args, output):
        zero = (output == 0).double()
        seen.setdefault(module, []).append(zero.masked_fill(args[0] == 0, torch.nan))

    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(record)
    return seen


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta", "modernbert", "gpt2"])
def test_same_dropout_draws_one_mask_for_all_passes(tiny, texts, labels, architecture):
    victim = tiny(architecture, dropout=0.3)
    batch = victim.encode(texts, labels)
    victim.model.train()
    seen = dropped(victim.model)
    attack = PGD(0.3, steps=3, restarts=2, same_dropout=True)
    attack(victim.model, batch)
    assert seen
    passes = attack.passes()[0]
    for masks in seen.values():
        calls = len(masks) // passes  # RoBERTa's head calls one layer twice
        assert len(masks) == calls * passes and (masks[0] == 1).any()
        for earlier, later in zip(masks, masks[calls:], strict=False):
            assert torch.equal(*(m[(earlier + later).isfinite()] for m in (earlier, later)))


def test_same_dropout_follows_the_global_random_state(tiny, texts, labels):
    victim = tiny(dropout=0.3)
    batch = victim.encode(texts, labels)
    victim.model.train()
    attack = PGD(0.3, steps=2, same_dropout=True)
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(attack(victim.model, batch))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_same_dropout_attacks_the_network_of_the_next_training_pass(tiny, texts, labels):
    victim = tiny(dropout=0.3)
    batch = victim.encode(texts, labels)
    victim.model.train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    delta = PGD(0.3, steps=4, same_dropout=True)(victim.model, batch)
    after = margins(victim.model, batch, delta)
    torch.set_rng_state(state)
    assert (after >= margins(victim.model, batch, None)).all()


def test_has_dropout_sees_layers_and_configured_attention_dropout(tiny):
    assert not has_dropout(tiny().model)
    assert has_dropout(tiny(dropout=0.1).model)
    assert has_dropout(tiny("llama", dropout=0.1).model)  # in no layer, only in the config
    assert not has_dropout(tiny("llama").model)
    assert not has_dropout(Linear())


def test_a_compiled_model_is_not_passed_over(bert, texts, labels):
    """Compiled before any hook was there, it would not see the one that adds δ."""
    batch, attack = bert.encode(texts, labels), PGD(0.3, steps=2)
    delta = attack(bert.model, batch)
    compiled = torch.compile(bert.model, backend="eager")
    with torch.no_grad():
        clean = compiled(**{k: v for k, v in batch.items() if k not in NOT_INPUTS}).logits
        moved = perturbed_logits(compiled, batch, delta)
        assert torch.equal(moved, perturbed_logits(bert.model, batch, delta))
    assert (moved - clean).abs().max() > 0.01
    assert torch.equal(attack(compiled, batch), delta)


@pytest.mark.parametrize("training", [True, False])
def test_an_attack_without_dropout_goes_on_saving_memory(tiny, texts, labels, training):
    """transformers' layers compute twice only in training mode; the attack is in eval mode, and so
    is the model while it is evaluated."""
    victim = tiny(dropout=0.2)
    batch, attack = victim.encode(texts, labels), PGD(0.3, steps=2)
    kept, found, modes = [], [], []

    def keep(tensor):
        kept[-1] += tensor.numel()
        return tensor

    for layer in victim.model.bert.encoder.layer:  # seen from inside its own forward pass
        layer.attention.register_forward_pre_hook(
            lambda *_, layer=layer: modes.append(layer.training)
        )

    for enable in (lambda: None, victim.model.gradient_checkpointing_enable):
        enable()
        victim.model.train(training)
        functions = [
            getattr(m, "_gradient_checkpointing_func", None) for m in victim.model.modules()
        ]
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            found.append(attack(victim.model, batch))
        now = [getattr(m, "_gradient_checkpointing_func", None) for m in victim.model.modules()]
        assert now == functions and {m.training for m in victim.model.modules()} == {training}
    assert kept[1] < kept[0] / 2 and modes and not any(modes)
    torch.testing.assert_close(found[0], found[1])


# --- precision ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@attacks
def test_delta_under_autocast_is_float32_and_in_the_ball(bert, texts, labels, dtype, attack):
    batch = bert.encode(texts, labels)
    with torch.autocast("cpu", dtype=dtype):
        delta = attack(bert.model, batch)
    assert delta.dtype == torch.float32 and delta.isfinite().all() and delta.any()
    assert lengths(attack, delta).max() <= radius(attack, bert.model) * (1 + 1e-5)


@attacks
def test_training_after_an_attack_in_one_autocast_gets_its_gradients(bert, texts, labels, attack):
    batch = bert.encode(texts, labels)

    def gradients(attack):
        bert.model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if attack is not None:
                attack(bert.model, batch)
            F.cross_entropy(perturbed_logits(bert.model, batch, None), batch["labels"]).backward()
        return [None if p.grad is None else p.grad.clone() for p in bert.model.parameters()]

    assert same(gradients(None), gradients(attack))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_half_precision_model_gets_a_float32_delta(bert, texts, labels, dtype):
    bert.model.to(dtype)
    attack = PGD(0.3, steps=2)
    delta = attack(bert.model, bert.encode(texts, labels))
    assert delta.dtype == torch.float32 and delta.isfinite().all() and delta.any()
    assert lengths(attack, delta).max() <= radius(attack, bert.model) * (1 + 1e-4)


# --- cost -----------------------------------------------------------------------------------


def count(monkeypatch, victim, batch, attack, **settings):
    """(forward, backward) passes that one call really makes."""
    forward, backward, real = [], [], torch.autograd.grad

    def spy(*args, **kwargs):
        backward.append(1)
        return real(*args, **kwargs)

    def refuse(*args, **kwargs):
        raise AssertionError("an attack must not run a backward pass to the weights")

    handle = victim.model.register_forward_hook(lambda *_: forward.append(1))
    with monkeypatch.context() as patch:
        patch.setattr(torch.autograd, "grad", spy)
        patch.setattr(torch.Tensor, "backward", refuse)
        attack(victim.model, batch, **settings)
    handle.remove()
    return len(forward), len(backward)


@attacks
@pytest.mark.parametrize("keep_best", [True, False])
def test_passes_are_those_that_are_made(monkeypatch, bert, texts, labels, attack, keep_best):
    made = count(monkeypatch, bert, bert.encode(texts, labels), attack, keep_best=keep_best)
    assert attack.passes(keep_best) == made


@pytest.mark.parametrize("attack", [FGM(0.3), PGD(0.3, steps=3), PGD(0.3, steps=2, restarts=3)])
@pytest.mark.parametrize("keep_best", [True, False])
def test_a_lent_gradient_saves_one_pass(monkeypatch, bert, texts, labels, attack, keep_best):
    batch = bert.encode(texts, labels)
    lent = dict(first_grad=gradient_at_zero(bert.model, batch), keep_best=keep_best)
    made = count(monkeypatch, bert, batch, attack, **lent)
    forward, backward = attack.passes(keep_best)
    assert made == (forward - 1, backward - 1)


def test_passes_of_known_attacks():
    assert FGM(1).passes() == FGSM(1).passes() == PGD(1, steps=1).passes() == (1, 1)
    assert Noise(1).passes() == (0, 0) and Noise(1, restarts=5).passes() == (5, 0)
    assert PGD(1, steps=5).passes() == (6, 5)
    assert PGD(1, steps=5).passes(keep_best=False) == (5, 5)
    assert PGD(1, steps=5, restarts=2).passes() == (12, 10)


# --- a lent first gradient ------------------------------------------------------------------


def gradient_at_zero(model, batch):
    """Of the mean cross-entropy, as a training pass has it."""
    delta = zero_delta(model, batch).requires_grad_()
    loss = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    return torch.autograd.grad(loss, delta)[0]


@balls
@pytest.mark.parametrize("steps", [1, 3])
def test_a_lent_gradient_gives_the_same_delta(victim, texts, labels, norm, scope, steps):
    victim.model.double()
    batch = victim.encode(texts, labels)
    attack = PGD(0.3, norm, scope, steps=steps)
    own = attack(victim.model, batch, keep_best=False)
    grad = gradient_at_zero(victim.model, batch)
    lent = attack(victim.model, batch, keep_best=False, first_grad=grad)
    torch.testing.assert_close(lent, own, rtol=0, atol=1e-5 if coarse(victim.model) else 1e-9)
    wrong = attack(victim.model, batch, keep_best=False, first_grad=-grad)
    assert not torch.allclose(wrong, own)  # the gradient is really taken from there


# --- targeted attacks -----------------------------------------------------------------------


def probability(model, batch, delta, target):
    with torch.no_grad():
        return perturbed_logits(model, batch, delta).softmax(-1)[:, target]


@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_targeted_attack_raises_its_target(victim, texts, labels, target):
    batch = victim.encode(texts, labels)
    before = probability(victim.model, batch, None, target)
    for small in (FGM(1e-3, target=target), FGSM(1e-3, target=target)):
        after = probability(victim.model, batch, small(victim.model, batch), target)
        assert (after > before).all()
    delta = PGD(0.5, steps=4, target=target)(victim.model, batch)
    after = probability(victim.model, batch, delta, target)
    assert after.mean() > before.mean() + 0.1


def test_a_target_does_not_look_at_the_labels(bert, texts):
    attack = PGD(0.3, target=1, steps=2)
    found = [attack(bert.model, bert.encode(texts, labels)) for labels in ([0] * 4, [1] * 4)]
    assert torch.equal(*found)


# --- noise ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    """A BERT that has learned to tell good from bad, with eight texts."""
    from conftest import make_classifier

    victim = make_classifier("bert", classes=2, seed=1)
    subjects = ("the film", "it", "the very slow plot", "an ending")
    texts = [f"{subject} was {word}" for subject in subjects for word in ("bad", "good")]
    batch = victim.encode(texts, [0, 1] * 4)
    optimizer = torch.optim.Adam(victim.model.parameters(), 5e-3)
    for _ in range(40):
        loss = F.cross_entropy(perturbed_logits(victim.model, batch, None), batch["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.2
    return victim.model, batch


@balls
def test_noise_has_exactly_the_length_eps(victim, texts, labels, norm, scope):
    batch = victim.encode(texts, labels)
    attack = Noise(0.3, norm, scope)
    size = lengths(attack, attack(victim.model, batch))
    if scope == "token":
        size = size[torch.tensor(free(batch))]
    expected = torch.full_like(size, radius(attack, victim.model))
    torch.testing.assert_close(size, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("attack", [Noise, lambda *a, **k: PGD(*a, random_start=True, **k)])
def test_random_numbers_follow_from_seed_and_text_alone(bert, attack):
    batch = bert.encode(["the film was good", "the film was bad", "the film was good"], [0, 0, 0])
    first = attack(0.3, seed=1)(bert.model, batch)
    torch.manual_seed(99)
    assert torch.equal(attack(0.3, seed=1)(bert.model, batch), first)
    assert torch.equal(first[0], first[2])
    assert not torch.allclose(first[0], first[1], atol=1e-3)
    assert not torch.allclose(attack(0.3, seed=2)(bert.model, batch), first, atol=1e-3)


def test_a_generator_takes_the_place_of_the_seed(bert, texts, labels):
    batch, attack = bert.encode(texts, labels), Noise(0.3)

    def draw(generator):
        return attack(bert.model, batch, generator=generator)

    own = torch.Generator().manual_seed(5)
    first, second = draw(own), draw(own)
    assert not torch.allclose(first, second, atol=1e-3)
    assert torch.equal(draw(torch.Generator().manual_seed(5)), first)
    assert not first[~torch.tensor(free(batch))].any()
    size = lengths(attack, first)
    assert size.tolist() == pytest.approx([radius(attack, bert.model)] * len(texts), rel=1e-5)


@balls
def test_noise_is_weaker_than_a_gradient_step(trained, norm, scope):
    model, batch = trained
    for eps in (0.1, 0.3):
        step = margins(model, batch, FGM(eps, norm, scope)(model, batch)).mean()
        noise = [Noise(eps, norm, scope, seed=seed)(model, batch) for seed in range(5)]
        assert max(margins(model, batch, delta).mean() for delta in noise) < step


def test_attacks_grow_stronger_in_their_order(trained):
    model, batch = trained
    order = [Noise(0.3), FGM(0.3), PGD(0.3, steps=10)]
    clean, noise, fgm, pgd = (
        margins(model, batch, None if a is None else a(model, batch)).mean().item()
        for a in [None, *order]
    )
    assert clean < fgm <= pgd + 1e-6 and noise < fgm


# --- attacks without a label ----------------------------------------------------------------

LABEL_FREE = [
    Divergence(0.3),
    Divergence(0.3, steps=3, symmetric=True),
    Divergence(0.3, scope="token", steps=2, restarts=2),
    VirtualAdversarial(0.3),
    VirtualAdversarial(0.3, steps=3),
    VirtualAdversarial(0.3, "linf", steps=2, restarts=2),
]
label_free = pytest.mark.parametrize("attack", LABEL_FREE, ids=brief)
kinds = pytest.mark.parametrize("kind", [Divergence, VirtualAdversarial])


def moved(model, batch, delta, symmetric=False):
    """KL(p(x) ‖ p(x + δ)) of each example, from its definition."""
    with torch.no_grad():
        p = perturbed_logits(model, batch, None).double().softmax(1)
        q = perturbed_logits(model, batch, delta).double().softmax(1)
    back = (q * (q / p).log()).sum(1) if symmetric else 0
    return (p * (p / q).log()).sum(1) + back


@balls
@pytest.mark.parametrize("steps", [1, 3])
def test_divergence_stays_in_the_ball(victim, texts, labels, norm, scope, steps):
    batch = victim.encode(texts, labels)
    for symmetric in (False, True):
        attack = Divergence(0.4, norm, scope, steps=steps, symmetric=symmetric)
        size = lengths(attack, attack(victim.model, batch, keep_best=False))
        assert size.max() <= radius(attack, victim.model) * (1 + 1e-5)
        assert size.max() >= radius(attack, victim.model) * 0.9


@balls
@pytest.mark.parametrize("steps", [1, 3])
def test_virtual_adversarial_lies_on_the_sphere(victim, texts, labels, norm, scope, steps):
    batch = victim.encode(texts, labels)
    attack = VirtualAdversarial(0.3, norm, scope, steps=steps)
    size = lengths(attack, attack(victim.model, batch, keep_best=False))
    if scope == "token":
        size = size[torch.tensor(free(batch))]
    expected = torch.full_like(size, radius(attack, victim.model))
    torch.testing.assert_close(size, expected, rtol=1e-5, atol=0)


@label_free
def test_divergence_does_not_look_at_the_labels(bert, texts, attack):
    found = [attack(bert.model, bert.encode(texts, y)) for y in ([0] * 4, [1, 2, 0, 1], [-100] * 4)]
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("symmetric", [False, True], ids=["", "symmetric"])
def test_divergence_is_projected_ascent_on_the_divergence(victim, steps, symmetric):
    """Against a loop written from the definition, from the same small random start."""
    victim.model.double()
    batch = victim.encode(["the film was very good but the ending felt slow"], [1])
    attack = Divergence(0.4, steps=steps, symmetric=symmetric, xi=0.2, step_size=0.3)
    eps, mask = radius(attack, victim.model), torch.tensor(free(batch))[..., None]
    delta = Noise(0.2 * 0.4)(victim.model, batch)
    assert delta.norm().item() == pytest.approx(0.2 * eps)
    p = perturbed_logits(victim.model, batch, None).softmax(1).detach()
    for _ in range(steps):
        delta = delta.requires_grad_()
        q = perturbed_logits(victim.model, batch, delta).softmax(1)
        loss = (p * (p / q).log()).sum() + (q * (q / p).log()).sum() * symmetric
        (grad,) = torch.autograd.grad(loss, delta)
        delta = delta.detach() + 0.75 * eps * (grad * mask) / (grad * mask).norm()
        delta = delta * min(1.0, eps / delta.norm().item())
    found = attack(victim.model, batch, keep_best=False)
    slack = 1e-2 * eps if coarse(victim.model) else 1e-8
    torch.testing.assert_close(found, delta, rtol=0, atol=slack)


@pytest.mark.parametrize("steps", [1, 3])
def test_virtual_adversarial_is_the_power_iteration(bert, texts, labels, steps):
    bert.model.double()
    batch = bert.encode(texts, labels)
    attack = VirtualAdversarial(0.4, steps=steps, xi=0.05)
    eps, mask = radius(attack, bert.model), torch.tensor(free(batch))[..., None]
    p = perturbed_logits(bert.model, batch, None).softmax(1).detach()
    delta = Noise(0.4)(bert.model, batch)
    for _ in range(steps):
        at = (0.05 * delta).requires_grad_()
        q = perturbed_logits(bert.model, batch, at).softmax(1)
        (grad,) = torch.autograd.grad((p * (p / q).log()).sum(), at)
        grad = grad * mask
        delta = eps * grad / grad.flatten(1).norm(dim=1)[:, None, None]
    torch.testing.assert_close(attack(bert.model, batch, keep_best=False), delta)


@pytest.mark.parametrize("classes, steps", [(2, 1), (3, 30)])
def test_virtual_adversarial_finds_the_top_eigenvector_of_the_fisher_matrix(batch, classes, steps):
    model = Linear(classes=classes).double()
    attack = VirtualAdversarial(0.2, relative=False, steps=steps, xi=1e-3)
    found = attack(model, batch, keep_best=False)
    for i in range(len(found)):
        one = {name: value[i : i + 1] for name, value in batch.items()}
        where = torch.tensor(free(one))[0]
        p = perturbed_logits(model, one, None).softmax(1).detach()

        def drift(shift, one=one, where=where, p=p):
            full = torch.zeros(1, len(where), 6, dtype=torch.float64)
            full[0, where] = shift.view(-1, 6)
            q = perturbed_logits(model, one, full).softmax(1)
            return (p * (p / q).log()).sum()

        zero = torch.zeros(int(where.sum()) * 6, dtype=torch.float64)
        fisher = torch.autograd.functional.hessian(drift, zero)
        values, vectors = torch.linalg.eigh(fisher)
        assert values[-1] > 1.3 * values[-2]
        cosine = found[i, where].flatten() @ vectors[:, -1] / 0.2
        assert abs(cosine.item()) == pytest.approx(1, abs=1e-4)


def test_the_most_sensitive_direction_beats_noise_of_the_same_length(trained):
    model, batch = trained
    for eps in (0.1, 0.3):
        noise = [moved(model, batch, Noise(eps, seed=s)(model, batch)).mean() for s in range(8)]
        for kind in (Divergence, VirtualAdversarial):
            found = kind(eps)(model, batch)
            assert moved(model, batch, found).mean() > 2 * max(noise)
            size = lengths(kind(eps), found)
            assert size.max() <= radius(kind(eps), model) * (1 + 1e-5)


@pytest.mark.parametrize("symmetric", [False, True])
def test_more_steps_of_divergence_are_never_weaker(victim, texts, labels, symmetric):
    victim.model.double()
    batch = victim.encode(texts, labels)
    reached = []
    for steps in (1, 2, 4):
        attack = Divergence(0.8, steps=steps, symmetric=symmetric)
        reached.append(moved(victim.model, batch, attack(victim.model, batch), symmetric))
    for fewer, more in zip(reached, reached[1:], strict=False):
        assert (more >= fewer - 1e-5).all()


@label_free
def test_keep_best_is_never_below_the_last_point(bert, texts, labels, attack):
    bert.model.double()
    batch = bert.encode(texts, labels)
    best, last = (attack(bert.model, batch, keep_best=keep) for keep in (True, False))
    gain = [moved(bert.model, batch, delta, attack.symmetric) for delta in (best, last)]
    assert (gain[0] >= gain[1] - 1e-6).all()


@pytest.mark.parametrize(
    "attack",
    [Divergence(0.3, scope="token", steps=2, restarts=2), VirtualAdversarial(0.3, steps=2)],
    ids=brief,
)
def test_label_free_attacks_do_not_depend_on_the_batch(victim, texts, labels, attack):
    victim.model.double()
    together = attack(victim.model, victim.encode(texts, labels), keep_best=False)
    backwards = attack(victim.model, victim.encode(texts[::-1], labels[::-1]), keep_best=False)
    close = dict(rtol=0, atol=1e-2 if coarse(victim.model) else 1e-6)
    torch.testing.assert_close(together, backwards.flip(0), **close)
    for i, (text, label) in enumerate(zip(texts, labels, strict=True)):
        alone = attack(victim.model, victim.encode([text], [label]), keep_best=False)[0]
        torch.testing.assert_close(together[i, : len(alone)], alone, **close)


@kinds
def test_a_generator_draws_the_small_start(bert, texts, labels, kind):
    batch, attack = bert.encode(texts, labels), kind(0.3)
    own, same = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    first, second = (attack(bert.model, batch, generator=own) for _ in range(2))
    assert not torch.allclose(first, second, atol=1e-4)
    assert torch.equal(attack(bert.model, batch, generator=same), first)
    assert not torch.allclose(attack(bert.model, batch), kind(0.3, seed=1)(bert.model, batch))


@label_free
@pytest.mark.parametrize("keep_best", [True, False])
def test_a_lent_reference_saves_one_pass(monkeypatch, bert, texts, labels, attack, keep_best):
    batch = bert.encode(texts, labels)
    expected = attack(bert.model, batch, keep_best=keep_best)
    lent = {**batch, "reference": perturbed_logits(bert.model, batch, None).detach()}
    assert torch.equal(attack(bert.model, lent, keep_best=keep_best), expected)
    made = count(monkeypatch, bert, lent, attack, keep_best=keep_best)
    forward, backward = attack.passes(keep_best)
    assert made == (forward - 1, backward)
    lent["reference"] = lent["reference"].flip(1)
    assert not torch.allclose(attack(bert.model, lent, keep_best=keep_best), expected)


@kinds
def test_the_reference_has_the_same_dropout_mask(tiny, texts, labels, kind):
    victim = tiny(dropout=0.3)
    batch = victim.encode(texts, labels)
    victim.model.train()
    seen = dropped(victim.model)
    kind(0.3, steps=2, same_dropout=True)(victim.model, batch)
    for masks in seen.values():
        assert len(masks) == 4 and (masks[0] == 1).any()
        for earlier, later in zip(masks, masks[1:], strict=False):
            assert torch.equal(*(m[(earlier + later).isfinite()] for m in (earlier, later)))


@kinds
def test_label_free_attacks_see_no_dropout_unless_asked(tiny, texts, labels, kind):
    victim, sure = tiny(dropout=0.3), tiny(dropout=0.0)
    batch = victim.encode(texts, labels)
    victim.model.train()
    assert torch.equal(kind(0.3)(victim.model, batch), kind(0.3)(sure.model, batch))


@kinds
@pytest.mark.parametrize("xi", [0, -0.1, 1.01, math.nan])
def test_a_start_outside_the_ball_is_an_error(kind, xi):
    with pytest.raises(ValueError, match="xi is a share of eps"):
        kind(0.3, xi=xi)


@kinds
def test_label_free_attacks_take_no_target(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} knows no classes.*no target"):
        kind(0.3, target=1)


@kinds
@pytest.mark.parametrize("setting", ["steps", "restarts", "step_size"])
def test_label_free_attacks_refuse_what_pgd_refuses(kind, setting):
    with pytest.raises(ValueError, match=setting.replace("step_size", "positive number")):
        kind(0.3, **{setting: 0})


# --- an attack that could do nothing says why -----------------------------------------------


class Detached(Linear):
    def embed(self, input_ids):
        return super().embed(input_ids).detach()


class Ignoring(Linear):
    def embed(self, input_ids):
        return self.table.weight[input_ids]


class Flat(Linear):
    def embed(self, input_ids):
        return 0 * super().embed(input_ids)


class Broken(Linear):
    """Its output is finite, its gradient is not: √ has an infinite slope at zero."""

    def embed(self, input_ids):
        return (0 * super().embed(input_ids)).sqrt()


class Silent(Linear):
    def forward(self, **inputs):
        with torch.no_grad():
            return super().forward(**inputs)


GRADIENT_ATTACKS = [
    FGM(0.3), FGSM(0.3), PGD(0.3, steps=2), PGD(0.3, steps=2, random_start=True, norm="linf"),
    PGD(0.3, steps=2, random_start=True, restarts=2),
    Divergence(0.3), VirtualAdversarial(0.3, steps=2),
]  # fmt: skip
gradient_attacks = pytest.mark.parametrize("attack", GRADIENT_ATTACKS, ids=brief)


@gradient_attacks
@pytest.mark.parametrize("kind", [Detached, Ignoring, Silent])
@pytest.mark.parametrize("frozen", [False, True])
def test_embeddings_without_gradient_are_an_error(batch, attack, kind, frozen):
    model = kind().requires_grad_(not frozen)
    reason = "never calls the layer" if kind is Ignoring else "no gradient reaches the embeddings"
    with pytest.raises(ValueError, match=reason):
        attack(model, batch)


@gradient_attacks
def test_a_gradient_of_zero_is_an_error(batch, attack):
    with pytest.raises(ValueError, match="the gradient on the embeddings is zero everywhere"):
        attack(Flat(), batch)


@gradient_attacks
def test_a_gradient_that_is_not_finite_is_an_error(batch, attack):
    with pytest.raises(ValueError, match="the gradient on the embeddings is not finite"):
        attack(Broken(), batch)


def test_an_example_without_gradient_beside_others_is_left_alone(linear, batch):
    class Partly(Linear):
        def forward(self, input_ids, attention_mask):
            out = super().forward(input_ids, attention_mask)
            out.logits = torch.cat([out.logits[:1].detach(), out.logits[1:]])
            return out

    delta = PGD(0.3, steps=2)(Partly(), batch)
    assert not delta[0].any() and delta[1:].any(2).any(1).all()


@pytest.mark.parametrize("attack", [*GRADIENT_ATTACKS, Noise(0.3, restarts=2)], ids=brief)
@pytest.mark.parametrize("where", ["head", "table"])
def test_weights_that_are_not_numbers_are_an_error(linear, batch, attack, where):
    getattr(linear, where).weight.data.fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite.*check its weights"):
        attack(linear, batch)


def test_embeddings_of_zero_have_no_unit(linear, batch):
    linear.table.weight.data.zero_()
    with pytest.raises(ValueError, match="embeddings are all zero"):
        FGM(0.3)(linear, batch)


def test_a_model_without_input_embeddings_is_an_error(batch):
    with pytest.raises(ValueError, match="Sequential has no input embeddings"):
        FGM(0.3)(nn.Sequential(nn.Linear(2, 2)), batch)


@pytest.mark.parametrize("found", [None, nn.Identity(), nn.LayerNorm(3)])
def test_input_embeddings_that_are_no_table_are_an_error(linear, batch, found):
    linear.get_input_embeddings = lambda: found
    with pytest.raises(ValueError, match="Linear.*no embedding table"):
        FGM(0.3)(linear, batch)


def test_a_model_that_embeds_more_than_its_input_is_an_error(batch):
    class Prompted(Linear):
        def embed(self, input_ids):
            return super().embed(torch.cat([input_ids, input_ids[:, :1]], 1))[:, 1:]

    with pytest.raises(ValueError, match="Prompted.*makes the text longer"):
        FGM(0.3)(Prompted(), batch)


def test_one_class_is_an_error(tiny, texts):
    victim = tiny(classes=1)
    with pytest.raises(ValueError, match="two or more classes"):
        FGM(0.3)(victim.model, victim.encode(texts, [0] * 4))


@pytest.mark.parametrize("label", [-1, 3, -100])
def test_labels_outside_the_classes_are_an_error(bert, texts, label):
    with pytest.raises(ValueError, match=r"classes must lie in 0\.\.2"):
        FGM(0.3)(bert.model, bert.encode(texts, [0, 1, label, 2]))


@pytest.mark.parametrize("target", [-1, 3])
def test_a_target_outside_the_classes_is_an_error(bert, texts, labels, target):
    with pytest.raises(ValueError, match=r"classes must lie in 0\.\.2"):
        PGD(0.3, target=target)(bert.model, bert.encode(texts, labels))


@pytest.mark.parametrize("name", ["special_tokens_mask", "attention_mask", "labels", "input_ids"])
def test_an_incomplete_batch_is_an_error(bert, texts, labels, name):
    batch = bert.encode(texts, labels)
    del batch[name]
    with pytest.raises(ValueError, match=f"the batch has no '{name}'"):
        Noise(0.3)(bert.model, batch)


@balls
@pytest.mark.parametrize("kind", [FGM, PGD, Noise])
def test_an_eps_beyond_the_embeddings_is_an_error(bert, texts, labels, norm, scope, kind):
    batch = bert.encode(texts, labels)
    rows = bert.model.get_input_embeddings().weight.detach()[batch["input_ids"]]
    rows = rows * torch.tensor(free(batch))[..., None]
    largest = lengths(FGM(1, norm, scope), rows).max().item()
    kind(0.99 * largest, norm, scope, relative=False)(bert.model, batch)
    with pytest.raises(ValueError, match="exceeds the embeddings themselves"):
        kind(1.01 * largest, norm, scope, relative=False)(bert.model, batch)


def test_the_eps_that_is_advised_works(bert, texts, labels):
    batch = bert.encode(texts, labels)
    with pytest.raises(ValueError) as caught:
        FGM(50)(bert.model, batch)
    advised = float(str(caught.value).split("Take eps below ")[1].rstrip("."))
    assert FGM(0.99 * advised)(bert.model, batch).any()


@pytest.mark.parametrize("steps", [0, -1, 1.5, "3", None])
def test_a_number_of_steps_below_one_is_an_error(steps):
    with pytest.raises(ValueError, match="steps must be a whole number"):
        PGD(0.3, steps=steps)


@pytest.mark.parametrize("kind", [PGD, Noise])
@pytest.mark.parametrize("restarts", [0, -1, 2.5, "3"])
def test_a_number_of_restarts_below_one_is_an_error(kind, restarts):
    with pytest.raises(ValueError, match="restarts must be a whole number"):
        kind(0.3, restarts=restarts)


@pytest.mark.parametrize(
    "kind", [EmbeddingAttack, Noise, FGM, FGSM, PGD, Divergence, VirtualAdversarial]
)
@pytest.mark.parametrize("eps", [-1, 0, math.nan, math.inf, "0.3"])
def test_a_bad_eps_is_an_error_before_any_model_is_seen(kind, eps):
    with pytest.raises(ValueError, match="must be a positive number"):
        kind(eps)


@pytest.mark.parametrize("step_size", [-0.1, math.nan, math.inf, 0])
def test_a_bad_step_size_is_an_error(step_size):
    with pytest.raises(ValueError, match="^step_size .* must be a positive number.*leave it out"):
        PGD(0.3, step_size=step_size)


# --- texts without words --------------------------------------------------------------------


wordless = pytest.mark.parametrize(
    "attack",
    [
        Noise(0.3, restarts=2),
        FGM(0.3),
        PGD(0.3, steps=2, norm="linf", random_start=True),
        Divergence(0.3, steps=2),
        VirtualAdversarial(0.3),
    ],
    ids=brief,
)


@wordless
def test_texts_without_words_get_zeros(victim, attack):
    batch = victim.encode(["  ", "", "\n"], [0, 1, 2])
    delta = attack(victim.model, batch)
    assert delta.shape[0] == 3 and not delta.any()


@wordless
def test_a_text_without_words_beside_others_gets_zeros(victim, attack):
    batch = victim.encode(["   ", "the film was good"], [0, 1])
    delta = attack(victim.model, batch, keep_best=False)
    assert delta.isfinite().all() and not delta[0].any() and delta[1].any()


# --- the threat model -----------------------------------------------------------------------


def test_an_attack_is_frozen_and_its_repr_makes_it_again():
    attack = PGD(0.25, "linf", steps=7, random_start=True, seed=3)
    assert eval(repr(attack)) == attack and hash(attack) == hash(eval(repr(attack)))
    with pytest.raises(AttributeError):
        attack.eps = 1


def test_attack_mode_yields_eval_mode_and_puts_back_what_was(tiny):
    model = tiny(dropout=0.3).model.train()
    model.dropout.eval()
    with attack_mode(model, same_dropout=False):
        assert not any(module.training for module in model.modules())
    assert model.training and not model.dropout.training
