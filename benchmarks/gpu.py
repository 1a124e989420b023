"""Adversarial training at BERT-base size: texts per second and memory, by objective and precision.

    python benchmarks/gpu.py                 BERT-base with random weights, 32 texts of 128 tokens
    python benchmarks/gpu.py --small         the same table for a tiny model, for a trial on a CPU

Writes docs/results/gpu.md (gpu-on-a-cpu.md without a GPU, gpu-small.md for the trial). Random
weights and ids will do: what a step costs does not depend on them. Each precision is measured
against its own clean step and its own conventional way, all taking turns.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from accelerate.utils import convert_outputs_to_fp32
from transformers import BertConfig, BertForSequenceClassification

from advlib.attacks import FGM, PGD
from advlib.objectives import Adversarial, Clean, FreeLB

from common import table, time_all, write
from speed import conventional

EPS = 0.3
A100, NVL = (19.5, 312), (None, 835)
# Dense peaks of the makers' data sheets in TFLOP/s by the name that PyTorch gives the card: fp32 as
# PyTorch runs it by default (no TF32), and 16 bit. None where no source was found.
PEAKS = {
    "Tesla T4": (8.1, 65),
    "NVIDIA L4": (30.3, 121),
    "NVIDIA L40": (90.5, 181),
    "NVIDIA L40S": (91.6, 362),
    "NVIDIA A100-SXM4-40GB": A100,
    "NVIDIA A100-SXM4-80GB": A100,
    "NVIDIA A100-PCIE-40GB": A100,
    "NVIDIA A100 80GB PCIe": A100,
    "NVIDIA H100 80GB HBM3": (67, 989),
    "NVIDIA H100 PCIe": (51, 756),
    "NVIDIA H100 NVL": NVL,
    "NVIDIA H200": (67, 989),
    "NVIDIA H200 NVL": NVL,
}
ONE = dict(same_dropout=True)
OBJECTIVES = {
    "clean": Clean(),
    "FGM": Adversarial(FGM(EPS)),
    "FGM, one mask": Adversarial(FGM(EPS, **ONE)),
    "PGD-3": Adversarial(PGD(EPS, steps=3)),
    "PGD-3, one mask": Adversarial(PGD(EPS, steps=3, **ONE)),
    "FreeLB-3": FreeLB(PGD(EPS, steps=3, random_start=True, **ONE)),
}
CONVENTIONAL = "conventional, K = 3"


def half_precision(model: torch.nn.Module, kind: torch.dtype) -> None:
    """What accelerate makes of a model for the Trainer: autocast inside each forward pass and not
    around the step, so that half copies of weights live as long as a pass; logits in float32."""
    model._original_forward = model.forward
    cast = torch.autocast(model.device.type, kind)
    model.forward = convert_outputs_to_fp32(cast(model.forward))


def scaled(model: torch.nn.Module, scaler: torch.amp.GradScaler):
    """Inside, for a loop that calls `loss.backward()` by itself: the gradient of the logits is
    scaled, which is to scale the loss."""

    def scale(module, args, out) -> None:
        out.logits.register_hook(scaler.scale)

    return model.register_forward_hook(scale)


def steppers(model, batch, precision: str) -> tuple[dict[str, Callable[[int], None]], dict]:
    """Whole training steps in one precision (passes, loss scaling, optimiser), and where each notes
    its units of work. All share one optimiser, whose moments are in memory once."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, fused=True)  # as the Trainer's
    scaler = torch.amp.GradScaler(model.device.type, enabled=precision == "fp16")
    if precision != "fp32":
        half_precision(model, {"bf16": torch.bfloat16, "fp16": torch.float16}[precision])
    units = {}

    def ours(objective) -> float:
        return objective(model, batch, lambda loss: scaler.scale(loss).backward()).units

    def theirs() -> float:
        with scaled(model, scaler):
            conventional(model, batch, 3)
        return 4 * 3  # four whole passes

    def step(name: str, compute: Callable[[], float], turn: int) -> None:
        units[name] = compute()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    computes = {name: partial(ours, objective) for name, objective in OBJECTIVES.items()}
    computes[CONVENTIONAL] = theirs
    return {name: partial(step, name, compute) for name, compute in computes.items()}, units


def peak(precision: str) -> float | None:
    """The card's peak in FLOP/s, where it is known."""
    if not torch.cuda.is_available():
        return None
    if precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return None  # such as a T4, whose 16 bit are fp16
    found = PEAKS.get(torch.cuda.get_device_name(), (None, None))[precision != "fp32"]
    return 1e12 * found if found else None


def measure(model, batch, precision: str, rounds: int) -> list[list]:
    """Rows of the table for one precision."""
    size, tokens = batch["input_ids"].shape
    weights = sum(p.numel() for n, p in model.named_parameters() if "embeddings" not in n)
    ways, units = steppers(model, batch, precision)
    seconds = time_all(ways, rounds)
    top, rows = peak(precision), []
    for name, times in seconds.items():
        ratio, limit = np.median(times / seconds["clean"]), units[name] / 3
        other = np.median(times / seconds[CONVENTIONAL])
        rate = size / np.median(times)
        memory = "–"
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            ways[name](0)
            memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}"
        # A unit is 2 operations for each weight and token; attention itself is not counted.
        share = f"{2 * weights * tokens * units[name] * rate / top:.0%}" if top else "–"
        rows.append([precision, name, f"{rate:.1f}", memory, f"{ratio:.2f}", f"{limit:.2f}",
                     f"{ratio / limit:.2f}", f"{other:.2f}", share])  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main(args) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    size = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=128, vocab_size=20_000)  # fmt: skip
    config = BertConfig(num_labels=2, **(size if args.small else {}))
    batch_size, tokens = (4, 16) if args.small else (args.batch, args.tokens)
    ids = torch.randint(1000, 20_000, (batch_size, tokens), device=device)
    special = torch.zeros_like(ids)
    special[:, [0, -1]] = 1
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids),
             "special_tokens_mask": special,
             "labels": torch.arange(batch_size, device=device) % 2}  # fmt: skip
    rows = []
    for precision in args.precision:
        model = BertForSequenceClassification(config).to(device).train()
        rows += measure(model, batch, precision, args.rounds)
        del model
        gc.collect()  # or its weights would count as the next one's memory
    header = ["precision", "objective", "texts a second", "GiB at the peak", "time / clean",
              "limit", "time / limit", "time / conventional",
              "share of the card's peak"]  # fmt: skip
    what = "a tiny BERT" if args.small else "BERT-base (random weights)"
    alone = "" if torch.cuda.is_available() else (
        "Without a GPU: with so few tokens the optimiser, which all ways share, is a large part of "
        "a step, so times may fall below the limit of the passes. ")  # fmt: skip
    if not torch.cuda.is_available() and "fp16" not in args.precision:
        alone += "fp16 is left out, for it is a GPU's. "
    text = alone + (
        f"{what}, {batch_size} texts of {tokens} tokens without padding, AdamW, weights in fp32, "
        f"bf16 and fp16 by autocast, fp16 with loss scaling, median of {args.rounds} rounds in "
        "which all objectives take turns. Limit: units of work over the 3 of a clean step. The "
        "conventional way perturbs the embedding weight in place and copies all gradients aside; "
        "its limit is that of 4 full passes. Time / conventional: against that way in the same "
        "precision. Share of the peak: operations of the linear layers over the maker's figure.\n\n"
        + table(header, rows)
    )
    options = " --small" if args.small else f" --batch {batch_size} --tokens {tokens}"
    options += f" --precision {' '.join(args.precision)} --threads {args.threads}"
    page = "gpu" if torch.cuda.is_available() else "gpu-on-a-cpu"
    write("gpu-small" if args.small else page, f"Adversarial training of {what}", text,
          f"python benchmarks/gpu.py{options} --rounds {args.rounds}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    gpu = torch.cuda.is_available()  # without one the same would take hours
    parser.add_argument("--batch", type=int, default=32 if gpu else 4)
    parser.add_argument("--tokens", type=int, default=128 if gpu else 32)
    parser.add_argument("--rounds", type=int, default=20 if gpu else 7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16", "fp16"][: 2 + gpu])
    parser.add_argument("--small", action="store_true")
    main(parser.parse_args())
