"""The process in which an attack of the board runs: it loads the attack, runs it, and writes what
it made. `judge.run_attack` starts it, and believes nothing of it.

What it needs is loaded here and no more, for it is started for every attack and defence.
"""

from __future__ import annotations

import json
import random
import runpy
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from advlib.models import Classifier, load_classifier

MEMORY = 8 * 2**30  # bytes of address space
READS = (None, "canonical words")  # how a defence may read a text: functions of the library


def load_defence(model: str | Path, read: str | None, world: str) -> Classifier:
    """The classifier that an entry describes, on the CPU, where the board's numbers are made."""
    victim = load_classifier(model, device="cpu")
    if read == "canonical words":
        from advlib.certify import canonical

        return canonical(victim, world)
    return victim


def main() -> None:
    """asked.json in, answer.json out, and delta.safetensors for an attack on embeddings."""
    import resource  # Unix alone has it, and the board's table is for everybody

    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds + 1, seconds + 2))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**29, 2**29))
    file, moved, model, read, world, texts, labels = json.loads(Path("asked.json").read_text())
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    attack = runpy.run_path(file, run_name="attack")["attack"]  # writes no bytecode beside it
    victim, found = load_defence(model, read, world), []
    if moved:
        for chosen, batch in victim.batches(texts, labels):
            delta = attack(victim.model, batch).detach()
            real = batch["attention_mask"].bool()
            found += [(str(i), delta[row][real[row]]) for row, i in enumerate(chosen)]
        save_file(dict(found), "delta.safetensors")
        found = []
    else:
        found = [result.text for result in attack(victim, texts, labels)]
    Path("answer.json").write_text(json.dumps([repr(attack), found]), "utf-8")


if __name__ == "__main__":
    main()
