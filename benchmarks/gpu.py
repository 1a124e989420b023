"""Adversarial training at BERT-base size: texts per second and memory, by objective and precision.

    python benchmarks/gpu.py                 BERT-base with random weights, 32 texts of 128 tokens
    python benchmarks/gpu.py --small         the same table for a tiny model, for a trial on a CPU

Writes docs/results/gpu.md (gpu-on-a-cpu.md without a GPU, gpu-small.md for the trial). Random
weights and ids will do: what a step costs does not depend on them. Each precision is measured
against its own clean step, all objectives taking turns.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from advlib.attacks import FGM, PGD
from advlib.objectives import Adversarial, Clean, FreeLB

from common import table, time_all, write
from speed import conventional

EPS = 0.3
# Dense peak of the makers' data sheets in TFLOP/s: (fp32 as PyTorch runs it by default, 16 bit).
PEAKS = {"T4": (8.1, 65), "L4": (30.3, 121), "A100": (19.5, 312), "H100": (67, 989),
         "H200": (67, 989)}  # fmt: skip
ONE = dict(same_dropout=True)
OBJECTIVES = {
    "clean": Clean(),
    "FGM": Adversarial(FGM(EPS)),
    "FGM, one mask": Adversarial(FGM(EPS, **ONE)),
    "PGD-3": Adversarial(PGD(EPS, steps=3)),
    "PGD-3, one mask": Adversarial(PGD(EPS, steps=3, **ONE)),
    "FreeLB-3": FreeLB(PGD(EPS, steps=3, random_start=True, **ONE)),
}
LIMITS = {"conventional, K = 3": 4.0}


def stepper(model, batch, precision: str, compute: Callable) -> Callable[[int], object]:
    """A whole training step in one precision: passes, loss scaling, optimiser."""
    device = batch["input_ids"].device.type
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, foreach=True)
    scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)

    def backward(loss: torch.Tensor) -> None:
        scaler.scale(loss).backward()

    def run(turn: int):
        with torch.autocast(device, kind) if kind else nullcontext():
            out = compute(model, batch, backward)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        return out

    return run


def peak(precision: str) -> float | None:
    """The card's peak in FLOP/s, where it is known."""
    if not torch.cuda.is_available():
        return None
    name = torch.cuda.get_device_name()
    found = [peaks for card, peaks in PEAKS.items() if card in name]
    return 1e12 * found[0][precision != "fp32"] if found else None


def measure(model, batch, precision: str, rounds: int) -> list[list]:
    """Rows of the table for one precision."""
    size, tokens = batch["input_ids"].shape
    weights = sum(p.numel() for n, p in model.named_parameters() if "embeddings" not in n)
    ways, units = {}, {}
    for name, objective in OBJECTIVES.items():
        ways[name] = stepper(model, batch, precision, objective)
        units[name] = ways[name](0).units
    if precision == "fp32":  # it calls backward itself, so it knows no loss scaling
        old = "conventional, K = 3"
        ways[old] = stepper(model, batch, precision, lambda m, b, _: conventional(m, b, 3))
        units[old] = 3 * LIMITS[old]
    seconds = time_all(ways, rounds)
    rows = []
    for name, times in seconds.items():
        ratio, limit = np.median(times / seconds["clean"]), units[name] / 3
        rate, top = size / np.median(times), peak(precision)
        memory = "–"
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            ways[name](0)
            memory = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}"
        # A unit is 2 operations for each weight and token; attention itself is not counted.
        share = f"{2 * weights * tokens * units[name] * rate / top:.0%}" if top else "–"
        rows.append([precision, name, f"{rate:.0f}", memory, f"{ratio:.2f}", f"{limit:.2f}",
                     f"{ratio / limit:.2f}", share])  # fmt: skip
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
    header = ["precision", "objective", "texts a second", "GB at the peak", "time / clean",
              "limit", "time / limit", "share of the card's peak"]  # fmt: skip
    what = "a tiny BERT" if args.small else "BERT-base (random weights)"
    alone = "" if torch.cuda.is_available() else (
        "Without a GPU: with so few tokens the optimiser, which all ways share, is a large part of "
        "a step, so times fall below the limit of the passes. ")  # fmt: skip
    text = alone + (
        f"{what}, {batch_size} texts of {tokens} tokens, AdamW, weights in fp32 with autocast, "
        f"median of {args.rounds} rounds in which all objectives take turns. Limit: units of work "
        "over the 3 of a clean step. The conventional way perturbs the embedding weight in place "
        "and copies all gradients aside; its limit is that of 4 full passes. Share of the peak: "
        "operations of the linear layers over the maker's figure.\n\n" + table(header, rows)
    )
    options = " --small" if args.small else f" --batch {batch_size} --tokens {tokens}"
    options += f" --precision {' '.join(args.precision)} --threads {args.threads}"
    page = "gpu" if torch.cuda.is_available() else "gpu-on-a-cpu"
    write("gpu-small" if args.small else page, f"Adversarial training of {what}", text,
          f"python benchmarks/gpu.py{options} --rounds {args.rounds}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16", "fp16"])
    parser.add_argument("--small", action="store_true")
    main(parser.parse_args())
