"""fp16 with loss scaling, and bf16: δ stays float32 and in its ball; an overflow skips the step.

A CPU does both under autocast and with its own GradScaler, which is what the Trainer uses on a GPU.
The Trainer itself refuses fp16 on a CPU, so its own test waits for a machine with a GPU.
"""

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from test_objectives import DATA, LABELS, NAMES, TEXTS, make_victim, objective_named

from advlib import load_classifier, load_text
from advlib.attacks import PGD, Divergence, VirtualAdversarial
from advlib.embeddings import perturbed_logits
from advlib.finetuning import finetune
from advlib.objectives import Adversarial

every = pytest.mark.parametrize("name", NAMES)
both = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])


class Loop:
    """A training loop with autocast and loss scaling, as the Trainer has it on a GPU."""

    def __init__(self, name, dtype=torch.float16, scale=2.0**16, lr=1e-3, **settings):
        torch.manual_seed(0)
        self.victim = make_victim(dropout=0.1)
        self.model, self.dtype = self.victim.model.float(), dtype
        self.objective = objective_named(name, self.victim, **settings)
        self.batch = self.victim.encode(TEXTS, LABELS)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=lr)
        fp16 = dtype == torch.float16
        self.scaler = torch.amp.GradScaler("cpu", enabled=fp16, init_scale=scale)
        self.steps = 0

    def passes(self):
        """The objective's part of a step: what it returned; the scaled gradients are in `.grad`."""
        with torch.autocast("cpu", dtype=self.dtype, enabled=self.dtype is not None):
            parts = self.objective(
                self.model,
                self.batch,
                self.backward,
                step=self.steps,
                generator=torch.Generator().manual_seed(self.steps),
            )
        return parts

    def backward(self, loss):
        with torch.autocast("cpu", enabled=False):
            self.scaler.scale(loss).backward()

    def step(self):
        """A whole step; True where the optimiser was called and not skipped."""
        parts, before = self.passes(), self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.steps += 1
        assert parts.loss.dtype == torch.float32 and parts.loss.isfinite()
        return self.scaler.get_scale() >= before

    def weights(self):
        return torch.cat([p.detach().flatten().clone() for p in self.model.parameters()])

    def gradient(self):
        """The gradient without its scale."""
        grads = [p.grad.flatten() for p in self.model.parameters() if p.grad is not None]
        return torch.cat(grads).clone() / self.scaler.get_scale()


def deltas_of(loop):
    """Every δ that is added to the embeddings of the model (a list that fills)."""
    seen, layer = [], loop.model.get_input_embeddings()
    plain = layer.register_forward_hook

    def register(hook, **named):
        if hook.__closure__:  # the hook of `shifted` holds δ
            cells = [cell.cell_contents for cell in hook.__closure__]
            tensors = [c for c in cells if isinstance(c, torch.Tensor) and c.is_floating_point()]
            seen.extend(tensor.detach().clone() for tensor in tensors)
        return plain(hook, **named)

    layer.register_forward_hook = register
    return seen


@both
@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("Clean", "Words", "RDrop", "Counterfactual")]
)
def test_delta_is_float32_and_eps_holds(name, dtype):
    loop = Loop(name, dtype)
    seen = deltas_of(loop)
    for _ in range(4):
        loop.step()
    found = [delta for delta in seen if delta.any()]
    ball = PGD(0.3).ball(loop.model)
    assert found and all(delta.dtype == torch.float32 for delta in found)
    assert all(delta.isfinite().all() for delta in found)
    # Both weights and radius move while training; of a step's size that is less than a percent.
    assert max(ball.size(delta).max().item() for delta in found) <= ball.eps * 1.01


@both
@every
def test_the_unscaled_gradient_is_that_of_float32(name, dtype):
    found = []
    for kind in (None, dtype):
        loop = Loop(name, kind, scale=256.0)  # small enough for no overflow
        loop.passes()
        found.append(loop.gradient())
    assert F.cosine_similarity(*found, dim=0) > 0.95
    assert 0.8 < found[1].norm() / found[0].norm() < 1.25


def wrapped_by_accelerate(victim, dtype):
    """As the Trainer does: `forward` brings its own autocast."""
    AcceleratorState._reset_state(True)  # it is one for the process, and an earlier test set it
    accelerator = Accelerator(mixed_precision="bf16", cpu=True)
    victim.model = accelerator.prepare_model(victim.model)
    AcceleratorState._reset_state(True)
    return nullcontext()


def under_autocast(victim, dtype):
    return torch.autocast("cpu", dtype=dtype)


@pytest.mark.parametrize(
    "dtype, way",
    [(torch.float16, under_autocast), (torch.bfloat16, under_autocast),
     (torch.bfloat16, wrapped_by_accelerate)], ids=["fp16", "bf16", "accelerate"],
)  # fmt: skip
@pytest.mark.parametrize("attack", [Divergence(0.3, steps=2), VirtualAdversarial(0.3)], ids=repr)
def test_the_divergence_is_climbed_in_float32(attack, dtype, way):
    """Of a sure model most directions would be rounding, or exactly zero, in half precision."""
    victim = load_classifier("reviews-clean")
    data = load_text("reviews", test_size=24)["test"]
    batch = victim.encode(list(data["text"]), list(data["label"]))
    exact = attack(victim.model, batch, keep_best=False)
    with way(victim, dtype):
        delta = attack(victim.model, batch, keep_best=False)
        half = perturbed_logits(victim.model, batch, None)
    torch.testing.assert_close(delta, exact, atol=1e-5, rtol=1e-3)
    again = load_classifier("reviews-clean").model
    assert (half - perturbed_logits(again, batch, None)).abs().max() > 1e-4  # half it was, and is


@every
def test_an_overflow_skips_the_step_and_training_goes_on(name):
    loop = Loop(name, scale=2.0**40)
    before, skipped = loop.weights(), 0
    while not loop.step():
        skipped += 1
        assert torch.equal(loop.weights(), before)  # nothing was learned from an overflow
        assert skipped < 40
    assert skipped > 5
    for _ in range(3):
        loop.step()
    assert loop.weights().isfinite().all() and not torch.equal(loop.weights(), before)
    assert all(kept.isfinite().all() for kept in loop.objective.state().values())


@pytest.mark.parametrize("name", ["Adversarial", "FreeLB", "Free", "TRADES"])
@both
def test_training_in_half_precision_learns(name, dtype):
    loop = Loop(name, dtype, lr=1e-2)
    losses = []
    for steps in (0, 40):
        for _ in range(steps):
            loop.step()
        loop.model.eval()
        logits = torch.tensor(loop.victim.logits(TEXTS))
        losses.append(F.cross_entropy(logits, torch.tensor(LABELS)).item())
        loop.model.train()
    assert losses[1] < losses[0] / 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the Trainer does fp16 on a GPU only")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_the_trainer_in_half_precision_on_a_gpu(tmp_path, precision):
    victim = make_victim(dropout=0.1)
    victim.model.float()
    trainer = finetune(
        victim, DATA, Adversarial(PGD(0.3, steps=2)), out=str(tmp_path), epochs=10, batch_size=2,
        disable_tqdm=True, **{precision: True},
    )  # fmt: skip
    assert all(p.isfinite().all() for p in trainer.model.parameters())
    assert trainer.state.log_history[-1]["train_loss"] < 3
