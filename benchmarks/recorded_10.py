"""The numbers that lesson 10 quotes as *recorded*, printed: a longer race (section 1), and five
seeds of head, LoRA and full training (section 3). About seven minutes on one core.

    python benchmarks/recorded_10.py

The model, the texts, the loop and the settings are those of the lesson's `smoke` profile; the
batches are the course's solution of its exercise. One thread, so that the sums of a machine with
many cores are added up in the same order.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import peft
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, VirtualAdversarial
from advlib.evaluation import attack_all
from advlib.models import Classifier
from advlib.objectives import UNLABELLED, VAT, Adversarial, Clean
from course.lesson_10.checks import mixed_rows

STEPS = 126  # of VAT in the longer race, 16 unlabelled texts each: once through the 2,001


def fit(victim: Classifier, texts: list[str], labels: list[int], rows: Tensor, objective: Callable,
        lr: float) -> float:  # fmt: skip
    """Lesson 10's loop: one step per row of row numbers; returns the work in units x texts."""
    model, work, warmup = victim.model.train(), 0.0, 0.1 * len(rows)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(
        1.0, (s + 1) / warmup, (len(rows) - s) / (len(rows) - warmup)))  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for step, numbers in enumerate(rows.tolist()):
        batch = victim.encode([texts[i] for i in numbers], [labels[i] for i in numbers])
        parts = objective(model, batch, step=step, generator=generator)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        work += parts.units * len(numbers)
    model.eval()
    return work


def measure(victim: Classifier, texts: Dataset, *attacks: Callable) -> tuple[float, ...]:
    """Clean accuracy in %, and that under each of the attacks."""
    found = [attack_all(victim, texts, attack) for attack in attacks]
    shares = (found[0].clean == found[0].labels).mean(), *(f.robust.mean() for f in found)
    return tuple(round(100 * float(share), 1) for share in shares)


def race(seed: int, texts: list[str], truth: list[int], names: list[str], test: Dataset,
         steps: int) -> dict[str, tuple[float, ...]]:  # fmt: skip
    """(clean, under FGM, under PGD, work) of each row of section 1; `steps` batches for VAT."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
    known, unknown, labels = order[:100], order[100:], [UNLABELLED] * len(texts)
    for i in known.tolist():
        labels[i] = truth[i]
    draw, cheap = torch.Generator().manual_seed(seed), 8 * steps // 3
    first = mixed_rows(known, unknown, 8, 16, 80, draw)[:, :8]
    mixed = mixed_rows(known, unknown, 8, 16, cheap, draw)
    own = mixed_rows(known, unknown, 24, 1, cheap, draw)[:, :24]
    set_seed(seed)
    plain = advlib.load_classifier("bert-tiny", labels=names, device="cpu")
    work = fit(plain, texts, labels, first, Clean(), 2e-3)
    judges, pseudo = (FGM(0.3), PGD(0.3, steps=5)), list(labels)
    used = mixed[:, 8:].flatten().unique().tolist()
    for i, p in zip(used, plain.predict([texts[i] for i in used]), strict=True):
        if p.max() > 0.9:
            pseudo[i] = int(p.argmax())
    found = {"plain": (*measure(plain, test, *judges), work)}
    for name, rows, its_labels, objective in (
        ("longer", own, labels, Clean()),
        ("pseudo-labels", mixed, pseudo, Clean()),
        ("FGM, labelled", own[: 8 * steps // 6], labels,
         Adversarial(FGM(0.3, same_dropout=True), lam=1.0)),
        ("VAT", mixed[:steps], labels, VAT(VirtualAdversarial(0.3, same_dropout=True), lam=1.0)),
    ):  # fmt: skip
        victim = copy.deepcopy(plain)
        work = fit(victim, texts, its_labels, rows, objective, 1e-3)
        found[name] = (*measure(victim, test, *judges), work)
    seen = len(mixed[:steps, 8:].unique())
    print(f"# seed {seed}: VAT saw {seen:,} of {len(unknown):,} texts without a label",
          flush=True)  # fmt: skip
    return found


def hardened(kind: str, seed: int, texts: list[str], opinions: list[int],
             test: Dataset) -> float:  # fmt: skip
    """Robust accuracy in % (PGD, 5 steps) of one kind of section 3."""
    set_seed(seed)
    victim = advlib.load_classifier("reviews-clean", device="cpu")
    head = {name for name, _ in victim.model.named_modules() if name.endswith("classifier")
            or "pooler" in name}  # fmt: skip
    if kind == "LoRA 1":
        layers = [name for name, layer in victim.model.named_modules()
                  if isinstance(layer, nn.Linear) and name not in head]  # fmt: skip
        with warnings.catch_warnings():  # about a name that transformers will change
            warnings.simplefilter("ignore")
            model = peft.get_peft_model(
                victim.model, peft.LoraConfig(r=1, lora_alpha=2, target_modules=layers))
        victim = Classifier(model, victim.tokenizer)
    else:
        for name, p in victim.model.named_parameters():
            p.requires_grad_(kind == "full" or name.rpartition(".")[0] in head)
    every, draw = torch.arange(len(texts)), torch.Generator().manual_seed(seed)
    rows = mixed_rows(every, every, 24, 1, 26, draw)[:, :24]
    rate = {"head only": 5e-3, "LoRA 1": 1e-2, "full": 2e-3}[kind]
    fit(victim, texts, opinions, rows, Adversarial(FGM(0.3, same_dropout=True), lam=1.0), rate)
    return measure(victim, test, PGD(0.3, steps=5))[1]


def main() -> None:
    torch.set_num_threads(1)
    data = advlib.load_text("reviews", train_size=5400, test_size=260)
    data = data.filter(lambda row: len(row["text"].split()) <= 14)
    train, test = data["train"], data["test"]
    texts, names = list(train["text"]), sorted(set(train["domain"]))

    print(f"# Section 3: under PGD, {len(test)} test texts, seeds 0 to 4")
    for kind in ("head only", "LoRA 1", "full"):
        values = [hardened(kind, s, texts, list(train["label"]), test) for s in range(5)]
        print(f'    "{kind}": {values},', flush=True)

    truth, answers = ([names.index(d) for d in rows["domain"]] for rows in (train, test))
    kinds = test.select_columns("text").add_column("label", answers)
    print("# Section 1: a longer race, seeds 0 to 2; clean, under FGM, under PGD")
    found = [race(seed, texts, truth, names, kinds, steps=STEPS) for seed in range(3)]
    for name in found[0]:
        *shares, work = zip(*(f[name] for f in found), strict=True)
        means = ", ".join(f"{sum(values) / len(values):.1f}" for values in shares)
        print(f"# {name:13} means {means}; each seed {shares}; work {work[0] / 1000:.1f}k")


if __name__ == "__main__":
    main()
