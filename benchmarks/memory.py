"""What training holds in memory: activations kept for the backward pass, by objective and setting.

    python benchmarks/memory.py               BERT-base with random weights, 4 texts of 64 tokens
    python benchmarks/memory.py --small       a tiny model, for a trial

Counts the bytes that PyTorch keeps for backward passes (each storage once, weights not), at the
moment when they are most. It needs no GPU: what is kept depends on shapes and types alone. Writes
docs/results/memory.md.
"""

from __future__ import annotations

import argparse
from contextlib import contextmanager, nullcontext

import gpu
import torch
from transformers import BertConfig, BertForSequenceClassification

from advlib.attacks import Divergence
from advlib.objectives import SMART

from common import table, write

OBJECTIVES = gpu.OBJECTIVES | {"SMART-1": SMART(Divergence(gpu.EPS, symmetric=True))}


class Meter:
    """Bytes that are kept for backward passes, now and at the peak."""

    def __init__(self, model):
        self.weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.users: dict[int, int] = {}
        self.now = self.peak = 0

    def keep(self, tensor):
        return Kept(self, tensor)

    @contextmanager
    def running(self):
        with torch.autograd.graph.saved_tensors_hooks(self.keep, lambda kept: kept.tensor):
            yield


class Kept:
    """A tensor in the graph; counted until the graph lets go of it."""

    def __init__(self, meter: Meter, tensor: torch.Tensor):
        self.meter, self.tensor = meter, tensor
        storage = tensor.untyped_storage()
        self.key = storage.data_ptr()
        self.size = 0 if self.key in meter.weights else storage.nbytes()
        meter.users[self.key] = meter.users.get(self.key, 0) + 1
        if meter.users[self.key] == 1:
            meter.now += self.size
            meter.peak = max(meter.peak, meter.now)

    def __del__(self):
        self.meter.users[self.key] -= 1
        if not self.meter.users[self.key]:
            self.meter.now -= self.size


def measure(model, batch, objective, kind: torch.dtype | None) -> int:
    """The peak in bytes of one step."""
    meter = Meter(model)
    with meter.running(), torch.autocast("cpu", kind) if kind else nullcontext():
        objective(model, batch, lambda loss: loss.backward())
    model.zero_grad()
    return meter.peak


def main(args) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    size = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256)
    config = BertConfig(num_labels=2, **(size if args.small else {}))
    model = BertForSequenceClassification(config).train()
    ids = torch.randint(1000, 20_000, (args.batch, args.tokens))
    special = torch.zeros_like(ids)
    special[:, [0, -1]] = 1
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
             "special_tokens_mask": special, "labels": torch.arange(args.batch) % 2}  # fmt: skip
    cells = args.batch * args.tokens * config.num_hidden_layers * config.hidden_size
    rows = []
    for setting in ("fp32", "bf16", "fp32, checkpointing"):
        if "checkpointing" in setting:
            model.gradient_checkpointing_enable()
        kind = torch.bfloat16 if setting == "bf16" else None
        base = None
        for name, objective in OBJECTIVES.items():
            peak = measure(model, batch, objective, kind)
            base = base or peak
            rows.append([setting, name, f"{peak / 2**20:.0f}", f"{peak / cells:.0f}",
                         f"{peak / base:.2f}"])  # fmt: skip
            print(rows[-1], flush=True)
    what = "a tiny BERT" if args.small else "BERT-base (random weights)"
    header = ["setting", "objective", "MB kept", "bytes a token, layer and hidden unit",
              "ratio to clean"]  # fmt: skip
    text = (
        f"{what}, {args.batch} texts of {args.tokens} tokens, dropout on, SDPA attention. Bytes "
        "that are kept for backward passes where they are most, without weights, gradients and "
        "the optimiser's moments (16 bytes a weight with AdamW in fp32). In bf16 autocast keeps "
        "half-precision copies of the weights too, which are counted here. Embeddings and head "
        "are counted with the layers. The ways with one outer pass for clean and attacked texts "
        "together keep the activations of two (in bf16 the copies of the weights are kept once, so "
        "the ratio is smaller); those with one dropout mask take the two in turn and keep no "
        "more.\n\n" + table(header, rows)
    )
    options = " --small" if args.small else f" --batch {args.batch} --tokens {args.tokens}"
    write("memory", f"Memory of adversarial training: {what}", text,
          f"python benchmarks/memory.py{options}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--small", action="store_true")
    main(parser.parse_args())
