"""The cost ledger: what a training step costs with each objective, side by side in one run.

    python benchmarks/ledger.py                  bert-tiny on texts of the world
    python benchmarks/ledger.py --model FOLDER   any encoder of your own

Writes docs/results/ledger-NAME.md. The limit is what the passes allow: a forward pass, a backward
pass to the input and one on to the weights count as one unit each, a clean step has three.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

import advlib
from advlib.attacks import FGM, PGD, Divergence, Noise, VirtualAdversarial, WordSubstitution
from advlib.models import load_classifier
from advlib.objectives import (
    R3F,
    SMART,
    TRADES,
    VAT,
    Adversarial,
    Clean,
    Free,
    FreeLB,
    Madry,
    Objective,
    RDrop,
    Words,
)

from common import table, time_all, write

EPS, BATCH = 0.3, 32


def objectives(victim, data) -> dict[str, Objective]:
    """Every objective; "one mask" is the attack's same_dropout."""
    one = dict(same_dropout=True)
    return {
        "clean": Clean(),
        "R-Drop": RDrop(),
        "R3F": R3F(Noise(EPS)),
        "FGM": Adversarial(FGM(EPS)),
        "FGM, one mask": Adversarial(FGM(EPS, **one)),
        "PGD-3": Adversarial(PGD(EPS, steps=3)),
        "PGD-3, one mask": Adversarial(PGD(EPS, steps=3, **one)),
        "Madry, PGD-3": Madry(PGD(EPS, steps=3)),
        "Free-4, each step": Free(FGM(EPS), replays=4),
        "FreeLB-2": FreeLB(PGD(EPS, steps=2, random_start=True, **one)),
        "FreeLB-3": FreeLB(PGD(EPS, steps=3, random_start=True, **one)),
        "SMART-1": SMART(Divergence(EPS, symmetric=True)),
        "SMART-1, μ = 0": SMART(Divergence(EPS, symmetric=True), mu=0),
        "VAT": VAT(VirtualAdversarial(EPS)),
        "TRADES-3": TRADES(Divergence(EPS, steps=3)),
        "words, at most 20 queries": Words(
            WordSubstitution(rank="gradient", max_queries=20), victim, data
        ),
    }


class Kept:
    """Counts the memory that autograd keeps for backward passes, each storage once, weights not."""

    def __init__(self, model: torch.nn.Module):
        self.weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.holders: dict[int, int] = {}
        self.now = self.peak = 0

    def pack(self, tensor: torch.Tensor) -> _Held:
        return _Held(self, tensor)

    def add(self, tensor: torch.Tensor, sign: int) -> None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key in self.weights:
            return
        before = self.holders.get(key, 0)
        self.holders[key] = before + sign
        if (before, sign) in ((0, 1), (1, -1)):
            self.now += sign * storage.nbytes()
            self.peak = max(self.peak, self.now)


class _Held:
    def __init__(self, ledger: Kept, tensor: torch.Tensor):
        self.ledger, self.tensor = ledger, tensor
        ledger.add(tensor, 1)

    def __del__(self):
        self.ledger.add(self.tensor, -1)


def memory(model: torch.nn.Module, step) -> float:
    """MB at the peak of one step: of the GPU, or of what autograd keeps on a CPU."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() / 2**20
    kept = Kept(model)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda held: held.tensor):
        step()
    return kept.peak / 2**20


def main(source: str, rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    victim = load_classifier(source, labels=["negative", "positive"])
    model = victim.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=True)
    data = advlib.load_text("reviews", train_size=BATCH * 8)["train"]
    texts, labels = list(data["text"]), list(data["label"])
    batches = [
        victim.encode(texts[i : i + BATCH], labels[i : i + BATCH]) for i in range(0, 8 * BATCH, 32)
    ]
    parts = {}

    def step(name: str, objective: Objective):
        def run(turn: int) -> None:
            # Free wants a batch several times in a row; the others may have it so too.
            parts.setdefault(name, []).append(objective(model, batches[turn // 4 % 8], step=turn))
            optimizer.step()
            optimizer.zero_grad()

        return run

    made = objectives(victim, data)
    ways = {name: step(name, objective) for name, objective in made.items()}
    seconds = time_all(ways, rounds)
    rows = []
    for name, way in ways.items():
        units = np.mean([p.units for p in parts[name]])
        ratio = np.median(seconds[name] / seconds["clean"])
        rows.append([
            name,
            *(f"{np.mean([getattr(p, kind) for p in parts[name]]):.3g}"
              for kind in ("forward", "backward", "weights")),
            f"{1e3 * np.median(seconds[name]):.0f}",
            f"{memory(model, lambda way=way: way(0)):.0f}",
            f"{ratio:.2f}",
            f"{units / 3:.2f}",
            f"{ratio / (units / 3):.2f}",
        ])  # fmt: skip
    what = "of the GPU" if torch.cuda.is_available() else "kept for backward passes"
    header = ["objective", "forward", "backward", "of these on to the weights", "ms",
              f"MB {what}", "time / clean", "limit", "time / limit"]  # fmt: skip
    text = (
        f"One training step of `{Path(source).name}` on {BATCH} texts of the world `reviews` "
        f"(padded to the longest of the batch), seed 0, AdamW included, {threads} thread(s), "
        f"median of {rounds} rounds in which all objectives take turns. Passes are over the whole "
        "batch. Limit: units of work over the 3 of a clean step. A value below 1 in the last "
        "column means that the optimiser's own step, which all pay once, weighs in clean training "
        "more; word attacks also encode texts, which no pass counts.\n\n" + table(header, rows)
    )
    name, own = Path(source).name, "" if source == "bert-tiny" else " --model FOLDER"
    write(f"ledger-{name}", f"The cost ledger: {name}", text,
          f"python benchmarks/ledger.py{own} --rounds {rounds} --threads {threads}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bert-tiny")
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    main(args.model, args.rounds, args.threads)
