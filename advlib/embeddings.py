"""A model as attacks and objectives use it: its embeddings, a pass with δ on them, its modes.

δ (`delta`) is added to the *output* of `model.get_input_embeddings()`. Perturbing the output and
not the weight means that each position has its own δ, that frozen and LoRA models are attacked like
any other, and that ε does not depend on the batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers.modeling_layers import GradientCheckpointingLayer

from advlib.models import raw_logits

PARTS = ("both", "first", "second")  # of a sentence pair
ROWS = 8192  # of the table that are turned to float32 at a time


def bare(model: nn.Module) -> nn.Module:
    """The model inside a wrapper such as DistributedDataParallel: inner passes through it trigger
    no gradient exchange."""
    model = uncompiled(model)
    return uncompiled(getattr(model, "module", model))


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that torch.compile was given. A compiled graph does not see that a hook has come,
    and would pass over δ in silence."""
    return getattr(model, "_orig_mod", model)


def embedding_layer(model: nn.Module) -> nn.Module:
    """The token-embedding layer. Raises ValueError where the model has none."""
    try:
        layer = model.get_input_embeddings()
    except (AttributeError, NotImplementedError) as error:
        raise ValueError(
            f"{type(model).__name__} has no input embeddings to perturb (get_input_embeddings() "
            "fails); embedding attacks need a text model that has them"
        ) from error
    if not isinstance(getattr(layer, "weight", None), Tensor) or layer.weight.dim() != 2:
        raise ValueError(f"{type(model).__name__}: get_input_embeddings() is no embedding table")
    return layer


def embedding_table(model: nn.Module) -> Tensor:
    """The token embeddings, (words, hidden), detached. Under FSDP each process holds a part of the
    table; then it is gathered."""
    table = embedding_layer(model).weight.detach()
    return table.full_tensor() if hasattr(table, "full_tensor") else table


def mean_norm(model: nn.Module) -> float:
    """The mean norm of a token embedding as it leaves the layer: the unit of a relative ε."""
    table = embedding_table(model)
    wide = torch.promote_types(table.dtype, torch.float32)
    norms = torch.cat([rows.to(wide).norm(dim=1) for rows in table.split(ROWS)])
    return norms.mean().item() * output_scale(model, table)


def output_scale(model: nn.Module, table: Tensor) -> float:
    """By what the layer multiplies a row of its table before it hands it on: 1 nearly everywhere,
    √hidden in Gemma. Measured on some rows."""
    layer = embedding_layer(model)
    ids = torch.linspace(0, len(table) - 1, min(len(table), 8), device=table.device).long()
    with torch.no_grad():
        if hasattr(layer.weight, "full_tensor"):  # FSDP: the layer holds a part of its table
            out = functional_call(layer, {"weight": table}, (ids,))
        else:
            out = layer.forward(ids)  # past its hooks, which are about texts
    size, rows = out.float().norm(), table[ids].float().norm()
    scale = (size / rows).item() if rows > 0 else 1.0
    return 1.0 if abs(scale - 1) < 1e-3 or not math.isfinite(scale) else scale


def check_part(part: str) -> None:
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, got {part!r}")


def attackable(batch: Mapping[str, Tensor], part: str = "both") -> Tensor:
    """(batch, tokens) True where a token may be perturbed: neither padding nor special.

    part: of sentence pairs, "both" texts, the "first" or the "second".
    Raises ValueError where the batch does not say which tokens are special, and for a part of
    single texts.
    """
    for name in ("input_ids", "attention_mask", "special_tokens_mask", "labels"):
        if name not in batch:
            raise ValueError(
                f"the batch has no {name!r}. Classifier.encode(texts, labels) makes a complete "
                "one; a tokenizer needs return_special_tokens_mask=True."
            )
    mask = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    if part == "both":
        return mask
    check_part(part)
    if "second_at" not in batch:
        raise ValueError(f"part={part!r} is for sentence pairs, and these are single texts: leave "
                         "it out")  # fmt: skip
    place = torch.arange(mask.shape[1], device=mask.device)
    second = place >= batch["second_at"][:, None]
    return mask & (second if part == "second" else ~second)


def zero_delta(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """δ = 0 for the batch: (batch, tokens, hidden), float32 (float64 for a float64 model)."""
    weight, ids = embedding_layer(bare(model)).weight, batch["input_ids"]
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return torch.zeros(*ids.shape, weight.shape[-1], dtype=dtype, device=ids.device)


@contextmanager
def shifted(model: nn.Module, delta: Tensor, ids: Tensor | None = None) -> Iterator[None]:
    """Inside, the model's token embeddings are e + δ. Raises ValueError where the model embeds
    another tensor than its input ids, and where a pass never comes by the layer."""
    seen = False
    square = ids is not None and ids.shape[0] == ids.shape[1]  # turned around, it keeps its shape

    def add(module, args, output):
        nonlocal seen
        seen = True
        turned = square and args and not torch.equal(args[0], ids)
        if output.shape != delta.shape or turned:
            raise ValueError(
                f"{type(model).__name__} embeds a tensor of shape {tuple(output.shape)} where δ "
                f"has {tuple(delta.shape)}: {_why(output, delta)}, so δ has no place there"
            )
        return (output + delta).to(output.dtype)

    handle = embedding_layer(model).register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f"{type(model).__name__} never calls the layer that its get_input_embeddings() names, "
            "so δ reaches nothing (T5 and BART call another module with the same weights); "
            "attacks on words work"
        )


def _why(output: Tensor, delta: Tensor) -> str:
    """In words, how what is embedded differs from the ids that the batch holds."""
    if output.shape == delta.transpose(0, 1).shape:
        return "it turns batch and tokens around before it embeds"
    if output.dim() == 3 and output.shape[1] > delta.shape[1]:
        return "it makes the text longer (padding of its own, or a prefix) before it embeds"
    return "it embeds something else than its input ids"


def perturbed_logits(model: nn.Module, batch: Mapping[str, Tensor], delta: Tensor | None) -> Tensor:
    """Logits for the batch with δ on its embeddings; δ = None leaves them alone.

    A wrapped model (DistributedDataParallel) is called through its wrapper; a compiled one runs as
    it was before.
    Returns float32 (float64 for a float64 model) whatever the precision of the passes.
    """
    model = uncompiled(model)
    if delta is None:
        logits = raw_logits(model, batch)
    else:
        with shifted(bare(model), delta, batch["input_ids"]):
            logits = raw_logits(model, batch)
    if logits.dim() != 2 or logits.shape[-1] < 2:
        raise ValueError(
            f"need a classifier with two or more classes, got logits {tuple(logits.shape)}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


@contextmanager
def full_precision(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside, autocast is off: PyTorch's own, and the one that accelerate builds into `forward`."""
    built_in = vars(model).get("forward")
    if built_in is not None and hasattr(model, "_original_forward"):
        model.forward = model._original_forward
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        if built_in is not None:
            model.forward = built_in


def autocasts(model: nn.Module, device: torch.device) -> bool:
    """Whether passes are made in half precision here."""
    return torch.is_autocast_enabled(device.type) or hasattr(bare(model), "_original_forward")


@contextmanager
def attack_mode(model: nn.Module, same_dropout: bool) -> Iterator[Callable[[], None]]:
    """Eval mode (or the mode it is in, with one dropout mask), and all as it was afterwards.

    Yields `rewind`, to be called before each pass: it restores the random state, so that every
    pass draws the same dropout mask.
    """
    modes = [(module, module.training) for module in model.modules()]
    with ExitStack() as inside:
        inside.enter_context(torch.random.fork_rng(_cuda_of(model)))
        if not same_dropout:
            model.eval()
            for module, _ in modes:
                saves = isinstance(module, GradientCheckpointingLayer)
                if saves and module.gradient_checkpointing:
                    inside.enter_context(_still_checkpointing(module))
        try:
            yield random_state(model) if same_dropout else lambda: None
        finally:
            for module, mode in modes:
                module.training = mode


@contextmanager
def _still_checkpointing(layer: nn.Module) -> Iterator[None]:
    """A layer that computes its activations twice, to save memory, does so in training mode only;
    in eval mode an attack would keep them all. Inside, it believes to be in training when it
    decides that, and is in eval mode when it computes."""
    twice = layer._gradient_checkpointing_func

    def compute(function: Callable, *args):
        def evaluated(*args):
            layer.training = False
            try:
                return function(*args)
            finally:
                layer.training = True

        return twice(evaluated, *args)

    def without_gradient(layer, _):  # transformers 5.24 computes once then, and asks nobody
        layer.training = layer.training and torch.is_grad_enabled()

    def ask_again(layer, *_):
        layer.training = True

    hooks = (
        layer.register_forward_pre_hook(without_gradient),
        layer.register_forward_hook(ask_again, always_call=True),
    )
    layer.training, layer._gradient_checkpointing_func = True, compute
    try:
        yield
    finally:
        layer._gradient_checkpointing_func = twice
        for hook in hooks:
            hook.remove()


def random_state(model: nn.Module) -> Callable[[], None]:
    """A function that sets the random state back to what it is now."""
    devices = _cuda_of(model)
    cpu, cuda = torch.get_rng_state(), [torch.cuda.get_rng_state(d) for d in devices]

    def rewind() -> None:
        torch.set_rng_state(cpu)
        for device, state in zip(devices, cuda, strict=True):
            torch.cuda.set_rng_state(state, device)

    return rewind


def _cuda_of(model: nn.Module) -> list[torch.device]:
    return list({p.device for p in model.parameters() if p.device.type == "cuda"})


def has_dropout(model: nn.Module) -> bool:
    """Whether a training pass of the model is random."""
    layers = (m for m in model.modules() if isinstance(m, nn.modules.dropout._DropoutNd))
    config = getattr(model, "config", None)
    in_config = [v for k, v in vars(config).items() if "drop" in k] if config else []
    return any(m.p > 0 for m in layers) or any(isinstance(v, float) and v > 0 for v in in_config)


class Passes:
    """Counts the texts of all passes that are made inside.

    A hook on the model sees every forward pass, and a hook on its logits every backward pass;
    those that `learn` makes go on to the weights.
    """

    def __init__(self, model: nn.Module, backward: Callable[[Tensor], None]):
        self.model, self._backward, self._learning = model, backward, False
        self.forward = self.backward = self.weights = 0

    def __enter__(self):
        self._handle = self.model.register_forward_hook(self._forth)
        return self

    def __exit__(self, *_):
        self._handle.remove()

    def _forth(self, module, args, out) -> None:
        self.forward += len(out.logits)
        if out.logits.requires_grad:
            out.logits.register_hook(self._back)

    def _back(self, grad: Tensor) -> None:
        self.backward += len(grad)
        self.weights += len(grad) * self._learning

    def learn(self, loss: Tensor) -> None:
        """The gradient of a loss, into the weights. Raises ValueError where it is not finite."""
        if not torch.isfinite(loss):
            raise ValueError(
                f"the training loss became {loss.item()}: the last checkpoint is untouched. Lower "
                "the learning rate, λ or ε, or train in bf16 or fp32 instead of fp16, and resume."
            )
        self._learning = True
        self._backward(loss)
        self._learning = False
