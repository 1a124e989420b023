"""What a step of adversarial training costs, side by side in one run.

    python benchmarks/speed.py                  bert-tiny on texts of the world
    python benchmarks/speed.py --model FOLDER   any encoder of your own

Writes docs/results/speed-NAME.md. The unit of work: a forward pass, a backward pass to the input
and a backward pass to the weights cost one each, so a clean step costs 3. With K inner steps the
limit is 2K + 4 units where the clean pass lends its gradient, 2K + 6 where it cannot.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import advlib
from advlib.attacks import PGD
from advlib.models import load_classifier
from advlib.objectives import Adversarial, Clean

from common import table, time_all, write

EPS, BATCH = 0.3, 32


def conventional(model, batch: dict, steps: int) -> None:
    """The usual snippet: the embedding *weight* is perturbed in place, every inner step runs a full
    `loss.backward()`, and all parameter gradients are copied aside and put back."""
    inputs = {k: v for k, v in batch.items() if k not in ("labels", "special_tokens_mask")}
    weight = model.get_input_embeddings().weight
    F.cross_entropy(model(**inputs).logits, batch["labels"]).backward()
    kept = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    before = weight.data.clone()
    for k in range(steps):
        size = torch.norm(weight.grad)
        if size != 0 and not torch.isnan(size):
            weight.data.add_(EPS * weight.grad / size)
            shift = weight.data - before
            if torch.norm(shift) > EPS:
                weight.data = before + EPS * shift / torch.norm(shift)
        if k < steps - 1:
            model.zero_grad()
        else:
            for n, p in model.named_parameters():
                if p.grad is not None:
                    p.grad = kept[n]
        F.cross_entropy(model(**inputs).logits, batch["labels"]).backward()
    weight.data = before


def main(source: str, rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    victim = load_classifier(source, labels=["negative", "positive"])
    model = victim.model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, foreach=True)
    data = advlib.load_text("reviews", train_size=BATCH * 8)["train"]
    texts, labels = list(data["text"]), list(data["label"])

    def batch(turn: int, pad_to: int | None = None) -> dict:
        chosen = slice(turn % 8 * BATCH, (turn % 8 + 1) * BATCH)
        found = victim.encode(texts[chosen], labels[chosen])
        if pad_to:
            more = pad_to - found["input_ids"].shape[1]
            fill = {"input_ids": victim.tokenizer.pad_token_id, "special_tokens_mask": 1}
            found = {
                k: v if k == "labels" else F.pad(v, (0, more), value=fill.get(k, 0))
                for k, v in found.items()
            }
        return found

    def step(compute: Callable[[dict], None], pad_to: int | None = None) -> Callable[[int], None]:
        batches = [batch(turn, pad_to) for turn in range(8)]

        def run(turn: int) -> None:
            compute(batches[turn % 8])
            optimizer.step()
            optimizer.zero_grad()

        return run

    def ours(**settings) -> Callable[[dict], None]:
        objective = Adversarial(PGD(EPS, **settings))
        return lambda found: objective(model, found)

    rows, notes = [], []
    for k in (1, 3, 5):
        ways = {
            "clean": step(lambda found: Clean()(model, found)),
            "lending": step(ours(steps=k, same_dropout=True)),
            "together": step(ours(steps=k)),
            "conventional": step(lambda found, k=k: conventional(model, found, k)),
            "conventional, 128": step(lambda found, k=k: conventional(model, found, k), 128),
        }
        seconds = time_all(ways, rounds)
        ratio = {name: np.median(s / seconds["clean"]) for name, s in seconds.items()}
        against = {name: np.median(s / seconds["lending"]) for name, s in seconds.items()}
        limit = {"lending": (2 * k + 4) / 3, "together": (2 * k + 6) / 3}
        for name in ("lending", "together"):
            rows.append(
                [
                    k,
                    name,
                    f"{ratio[name]:.2f}",
                    f"{limit[name]:.2f}",
                    f"{ratio[name] / limit[name]:.2f}",
                    f"{against['conventional']:.2f}" if name == "lending" else "",
                    f"{against['conventional, 128']:.2f}" if name == "lending" else "",
                ]
            )
        notes.append(f"K = {k}: clean step {1e3 * np.median(seconds['clean']):.0f} ms")
    header = [
        "K",
        "way",
        "cost in clean steps",
        "limit",
        "cost / limit",
        "conventional / ours, equal padding",
        "conventional padded to 128 / ours",
    ]
    name = Path(source).name if Path(source).name != "model" else Path(source).parent.name
    text = (
        f"`{name}` ({sum(p.numel() for p in model.parameters()):,} parameters), batch {BATCH}, "
        "texts of the world `reviews`, AdamW step included, dropout on; medians of "
        f"{rounds} rounds in which all ways take turns. *lending*: zero start, one dropout mask "
        "(`same_dropout=True`), the clean pass lends its gradient. *together*: the attack runs "
        "with dropout off, then clean and attacked examples go through one pass. *conventional*: "
        "the embedding weight perturbed in place, `loss.backward()` in every inner step.\n\n"
        f"{table(header, rows)}\n\n{'; '.join(notes)}."
    )
    model = "" if source == "bert-tiny" else " --model FOLDER"
    command = f"python benchmarks/speed.py{model} --rounds {rounds}"
    write(f"speed-{name}", f"Cost of a training step: {name}", text, command)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bert-tiny")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    main(args.model, args.rounds, args.threads)
