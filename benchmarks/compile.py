"""What SDPA attention and torch.compile would gain, side by side.

    python benchmarks/compile.py                  a model of 6 layers × 384 with random weights
    python benchmarks/compile.py --layers 12 --hidden 768          BERT-base, for a GPU

A clean training step with attention written out (eager), with SDPA, and with SDPA under
torch.compile, on batches of changing length as training has them; and a PGD-3 step with both kinds
of attention. Compiled graphs pass over hooks, so the objectives never use them; the row of the
compiled step shows what that costs. Writes docs/results/compile.md.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from advlib.attacks import PGD
from advlib.objectives import Adversarial, Clean

from common import table, time_all, write

LENGTHS = (24, 32, 48, 64)  # padded lengths that take turns, as grouping by length gives them


def batches(count: int, device: str) -> list[dict[str, torch.Tensor]]:
    made = []
    for tokens in LENGTHS:
        ids = torch.randint(1000, 20_000, (count, tokens), device=device)
        special = torch.zeros_like(ids)
        special[:, [0, -1]] = 1
        made.append({"input_ids": ids, "attention_mask": torch.ones_like(ids),
                     "special_tokens_mask": special,
                     "labels": torch.arange(count, device=device) % 2})  # fmt: skip
    return made


def main(args) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data = batches(args.batch, device)
    heads = max(args.hidden // 64, 1)
    models = {}
    for kind in ("eager", "sdpa"):
        config = BertConfig(  # one for each model, which keeps it and looks into it at every pass
            num_labels=2, hidden_size=args.hidden, num_hidden_layers=args.layers,
            num_attention_heads=heads, intermediate_size=4 * args.hidden, attn_implementation=kind,
        )  # fmt: skip
        models[kind] = BertForSequenceClassification(config).to(device).train()
    found = {kind: model.config._attn_implementation for kind, model in models.items()}
    assert found == {"eager": "eager", "sdpa": "sdpa"}, found
    compiled = torch.compile(models["sdpa"], dynamic=True)

    def step(model, objective):
        def run(turn: int) -> None:
            objective(model, data[turn % len(data)])
            model.zero_grad()

        return run

    def graph(turn: int) -> None:
        batch = data[turn % len(data)]
        inputs = {k: v for k, v in batch.items() if k != "special_tokens_mask"}
        compiled(**inputs).loss.backward()
        models["sdpa"].zero_grad()

    start = time.perf_counter()
    for turn in range(len(data)):
        graph(turn)
    first = time.perf_counter() - start
    pgd = Adversarial(PGD(0.3, steps=3, same_dropout=True))
    ways = {
        "clean, eager attention": step(models["eager"], Clean()),
        "clean, SDPA": step(models["sdpa"], Clean()),
        "clean, SDPA, compiled": graph,
        "PGD-3, eager attention": step(models["eager"], pgd),
        "PGD-3, SDPA": step(models["sdpa"], pgd),
    }
    seconds = time_all(ways, args.rounds)
    rows, ratio = [], {}
    for name, times in seconds.items():
        base = "PGD-3, SDPA" if "PGD" in name else "clean, SDPA"
        low, middle, high = np.percentile(times / seconds[base], [25, 50, 75])
        ratio[name] = f"{middle:.2f}"
        rows.append(
            [name, f"{1e3 * np.median(times):.1f}", f"{middle:.2f} [{low:.2f}, {high:.2f}]"]
        )
    text = (
        f"BERT of {args.layers} layers × {args.hidden} with random weights, {args.batch} texts of "
        f"{', '.join(map(str, LENGTHS))} tokens in turn, fp32, dropout on, medians and quartiles "
        f"of {args.rounds} rounds in which all ways take turns. The first {len(data)} compiled "
        f"steps took {first:.0f} s.\n\n"
    ) + table(["training step", "ms", "time / SDPA, same step"], rows)
    text += (
        f"\n\nAttention written out takes {ratio['clean, eager attention']} times as long as SDPA "
        f"in a clean step and {ratio['PGD-3, eager attention']} times in PGD-3; the compiled step "
        f"takes {ratio['clean, SDPA, compiled']} times as long as the plain one."
    )
    if device == "cpu":
        text += (
            " On a CPU with dropout SDPA makes the table of attention weights too, so there is "
            "little for it to gain; a GPU, where it makes none, has not been measured."
        )
    options = f" --layers {args.layers} --hidden {args.hidden} --batch {args.batch}"
    write("compile", "SDPA attention and torch.compile", text,
          f"python benchmarks/compile.py{options} --rounds {args.rounds}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    main(parser.parse_args())
