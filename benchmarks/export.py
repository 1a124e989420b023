"""Texts per second: the exported model under ONNX Runtime beside the original under PyTorch.

    python benchmarks/export.py                  the embedded victim reviews-clean
    python benchmarks/export.py --model FOLDER   any encoder of your own

Writes docs/results/export-NAME.md. Both get the same tensors and the same number of threads, and
take turns batch by batch; reading text into tokens is left out, for both do it alike.
"""

from __future__ import annotations

import argparse
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

import advlib
from advlib.app.deploy import PROBES, export_onnx, load_onnx
from advlib.models import embedded_checkpoints, load_classifier

from common import table, time_all, write


def batches(victim, texts: list[str], size: int, copies: int) -> list[dict]:
    """Eight batches; each text is `copies` texts one after the other, to make it longer."""
    long = [" ".join(texts[(i + k) % len(texts)] for k in range(copies)) for i in range(8 * size)]
    found = [victim.encode(long[i * size : (i + 1) * size]) for i in range(8)]
    for batch in found:
        batch.pop("special_tokens_mask")
    return found


def main(source: str, rounds: int, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)  # of the head that a model without one gets
    head = None if source in embedded_checkpoints() else ["negative", "positive"]
    victim = load_classifier(source, labels=head, device="cpu")
    texts = list(advlib.load_text("reviews", train_size=1, test_size=256)["test"]["text"])
    rows = []
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        gap = export_onnx(victim, folder)
        served = load_onnx(folder, threads)
        megabytes = (Path(folder) / "model.onnx").stat().st_size / 1e6
        for copies, kind in ((1, "short"), (8, "long")):
            for size in (1, 32):
                given = batches(victim, texts, size, copies)
                seconds = time_all(
                    {
                        "torch": lambda turn, given=given: victim.model(**given[turn % 8]),
                        "onnx": lambda turn, given=given: served.model(**given[turn % 8]),
                    },
                    rounds,
                )
                gaps = [
                    (victim.model(**b).logits - served.model(**b).logits).abs().max() for b in given
                ]
                gap = max(gap, *map(float, gaps))
                tokens = np.mean([b["attention_mask"].sum(1).float().mean() for b in given])
                ratio = seconds["torch"] / seconds["onnx"]
                low, middle, high = np.percentile(ratio, [25, 50, 75])
                speed = [f"{size / np.median(s):,.0f}" for s in seconds.values()]
                rows.append([f"{kind}, {tokens:.0f} tokens", size, *speed,
                             f"{middle:.2f} [{low:.2f}, {high:.2f}]"])  # fmt: skip
    name = Path(source).name if Path(source).name != "model" else Path(source).parent.name
    name = name.removeprefix("gt_").replace("_", "-")
    header = ["texts", "batch", "PyTorch, texts/s", "ONNX Runtime, texts/s", "how much faster"]
    parameters = sum(p.numel() for p in victim.model.parameters())
    text = (
        f"`{name}` ({parameters:,} parameters, float32, {megabytes:.1f} MB as ONNX), texts of the "
        f"world `reviews`; long ones are eight in a row. {threads} thread(s) for both, medians of "
        f"{rounds} rounds in which the two take turns on the same batch; *how much faster* is the "
        "median of PyTorch's time over ONNX Runtime's in the same round, with quartiles. Tokens: "
        "mean length of a text, without padding. Tokenization is not timed. Whatever else ran on "
        "the machine slowed both: the ratio says more than the speeds. Where its quartiles lie "
        "far apart, the machine was too busy to tell.\n\n"
        f"{table(header, rows)}\n\n"
        f"Largest difference of a logit, over all these texts and {len(PROBES)} odd ones: "
        f"{gap:.1g}. ONNX Runtime {version('onnxruntime')}, onnx {version('onnx')}, onnxscript "
        f"{version('onnxscript')}."
        + " The classification head is new and random: speed does not depend on it."
        * bool(head)
    )
    model = "" if source == "reviews-clean" else " --model FOLDER"
    command = f"python benchmarks/export.py{model} --rounds {rounds} --threads {threads}"
    write(f"export-{name}", f"An exported model at work: {name}", text, command)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="reviews-clean")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    main(args.model, args.rounds, args.threads)
