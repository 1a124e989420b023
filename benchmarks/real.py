"""A real encoder on real data, standard against adversarial training: SST-2 and Banking77.

    python benchmarks/real.py --model FOLDER --home FOLDER               what two CPU cores manage
    python benchmarks/real.py --model FOLDER --home FOLDER --full        all texts, for a GPU

--home holds sst2/train.tsv and dev.tsv (text, tab, label; no header) and banking77/train.csv and
test.csv (columns text, category). Measured by `defence.py`, which keeps every run, so this can be
interrupted; writes docs/results/defence-sst2.md and defence-banking77.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import defence

FILES = {
    "sst2": dict(data="sst2/train.tsv", test="sst2/dev.tsv", text=None, label=None),
    "banking77": dict(
        data="banking77/train.csv", test="banking77/test.csv", text="text", label="category"
    ),
}
METHODS = ["L", "L, 4 times as long", "FGM", "PGD-3", "FreeLB-3, 1 plain epoch first", "words"]
# What two cores manage: with 77 classes training and attacks take many times as long.
FEWER = {"sst2": METHODS, "banking77": ["L", "PGD-3"]}
# Texts to train and to test on, epochs. Many classes take longer to learn.
SMALL = {"sst2": (640, 60, 3), "banking77": (770, 60, 10)}
FULL = {"sst2": (None, 872, 3), "banking77": (None, 3080, 10)}
NOTE = (
    "**A part of the data, as much as two CPU cores manage; nobody has run all of it yet** "
    "(`--full` does, on a GPU). "
)


def settings(args, name: str) -> argparse.Namespace:
    """The options of `defence.py` for one data set."""
    train, texts, epochs = (FULL if args.full else SMALL)[name]
    files = {k: str(Path(args.home) / v) if k in ("data", "test") else v
             for k, v in FILES[name].items()}  # fmt: skip
    command = f"python benchmarks/real.py --model FOLDER --home FOLDER --data {name}"
    command += " --full" * args.full
    return argparse.Namespace(
        name=name, model=args.model, encoding="utf-8", train=train, texts=texts, epochs=epochs,
        batch=32, lr=args.lr, eps=args.eps, seeds=args.seeds, threads=args.threads,
        only=args.only or (METHODS if args.full else FEWER[name]), command=command,
        note="" if args.full else NOTE, **files,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder or Hub name of the encoder")
    parser.add_argument("--home", required=True, help="folder of sst2/ and banking77/")
    parser.add_argument("--data", nargs="*", default=list(FILES), choices=list(FILES))
    parser.add_argument("--full", action="store_true", help="all texts")
    parser.add_argument("--only", nargs="*", help="these methods of defence.py")
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--eps", type=float, default=0.2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    for name in chosen.data:
        defence.main(settings(chosen, name))
