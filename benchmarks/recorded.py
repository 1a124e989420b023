"""The numbers that lessons 05, 08 and 10 quote as measured by longer runs, printed.

    python benchmarks/recorded.py 05
    python benchmarks/recorded.py 08
    python benchmarks/recorded.py 10

The model, the texts, the loop and the settings are those of the lesson's `smoke` profile: of lesson
05 its own cells, of 08 and 10 the course's solutions of their exercises. One thread, so that the
sums of a machine with many cores are added up in the same order.
"""

from __future__ import annotations

import argparse
import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import jupytext
import peft
import torch
from datasets import Dataset
from torch import Tensor, nn
from transformers import set_seed

import advlib
from advlib.attacks import FGM, PGD, VirtualAdversarial
from advlib.evaluation import attack_all
from advlib.exercises.lesson_08 import adversarial_step, evaluate
from advlib.exercises.lesson_10 import mixed_rows
from advlib.models import Classifier
from advlib.objectives import UNLABELLED, VAT, Adversarial, Clean

PARTNER, REFEREE = FGM(eps=0.3), PGD(eps=0.3, steps=4)
STEPS = 126  # of VAT in the longer race, 16 unlabelled texts each: once through the 2,001


def short_ones(texts: Dataset, count: int | None) -> Dataset:
    """The first `count` texts that are not long; all of them for None."""
    fit = [i for i, text in enumerate(texts["text"]) if 20 < len(text) < 70]
    return texts.select(fit[:count])


def run(start: Classifier, seed: int, train: Dataset, orders: list[list[int]], size: int,
        lam: float, judges: Dataset) -> list[int]:  # fmt: skip
    """Robust accuracy on the judges, in %, after each epoch: one pass for each of its orders."""
    set_seed(seed)
    student, course = Classifier(copy.deepcopy(start.model), start.tokenizer), []
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=2e-3, weight_decay=0.01)
    for epoch in orders:
        for order in epoch:
            own = torch.Generator().manual_seed(order)
            places = torch.randperm(len(train), generator=own).tolist()
            student.model.train()
            for k in range(0, len(places), size):
                rows = train[places[k : k + size]]
                batch = student.encode(rows["text"], rows["label"])
                adversarial_step(student.model, optimizer, batch, PARTNER, lam)
        student.model.eval()
        course.append(round(100 * evaluate(student, judges, REFEREE)[1]))
    return course


def lesson_05(seeds: range = range(6)) -> None:
    """Lesson 05, section 3: both classes under generators that are not told the label."""
    os.environ["ADVLIB_PROFILE"] = "smoke"
    lesson = jupytext.read(Path(__file__).parents[1] / "solutions/05_three_sources.py")
    cells = [cell.source for cell in lesson.cells if cell.cell_type == "code"]
    last = next(k for k, cell in enumerate(cells) if "def train_generator" in cell)
    own: dict = {}
    exec("\n".join(cells[: last + 1]), own)
    torch.set_num_threads(1)  # the lesson's setup cell may have set another number
    labels = own["labels"].cpu()
    print(f"# Section 3: seed, right by class {own['victim'].labels}, spared class made surer")
    for seed in seeds:
        net, _ = own["train_generator"](own["model"], 120, told=False, seed=seed)
        odds = own["odds"](own["propose"](net, own["model"], own["batch"], own["eps"], told=False))
        right = [(odds[labels == c] < 0).double().mean().item() for c in (0, 1)]
        spared = labels == right.index(max(right))
        surer = (odds < own["clean"])[spared].double().mean()
        print(f"{seed}  {right[0]:4.0%} {right[1]:4.0%}  {surer:4.0%}", flush=True)


def lesson_08() -> None:
    start = advlib.load_classifier("reviews-clean", device="cpu")
    data = advlib.load_text("reviews", test_size=600)
    train, test = short_ones(data["train"], 192), short_ones(data["test"], 112)
    handful, others = train.select(range(48)), short_ones(data["validation"], None)

    print(f"# Section 10: {len(others)} validation texts\nRECORDED = {{")
    for seed in range(3):
        orders = [[1000 * seed + 2 * epoch + turn for turn in range(2)] for epoch in range(20)]
        values = run(start, seed, handful, orders, size=16, lam=1.0, judges=others)
        print(f'    "seed {seed}": {values},', flush=True)
    print(f"}}  # fmt: skip\n\n# Section 11: {len(test)} test texts")
    found = [
        [run(start, seed, train, [[2 * seed, 2 * seed + 1]], 12, lam, test)[-1]
         for seed in range(7)] for lam in (0.0, 1.0)
    ]  # fmt: skip
    print(f"CONTROL, SPARRING = {found[0]}, {found[1]}")


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


def lesson_10() -> None:
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lesson", choices=("05", "08", "10"))
    torch.set_num_threads(1)
    {"05": lesson_05, "08": lesson_08, "10": lesson_10}[parser.parse_args().lesson]()
