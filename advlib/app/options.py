"""What decides a training, in one place for `advlib run` and examples/train.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from typer import Option

from advlib.corpora import WORLDS

if TYPE_CHECKING:  # PyTorch is loaded where it is needed: `advlib --help` answers at once
    from torch import nn

    from advlib.objectives import Objective

# What several commands ask for.
Data = Annotated[
    str,
    Option(help=f"A world ({', '.join(WORLDS)}), a file (CSV, TSV, JSONL, Parquet), a folder, or "
           "a Hub name."),
]  # fmt: skip
Text = Annotated[
    str | None,
    Option("--text", help="Column of the texts; two with a comma between are a pair."),
]
Label = Annotated[str | None, Option(help="Column of the labels.")]
Encoding = Annotated[str, Option(help="Encoding of the files.")]


@dataclass
class Options:
    """Everything that decides a training; kept beside the models as `options.json`.

    Raises ValueError for a setting that makes no sense.
    """

    data: Data = "reviews"
    test: Annotated[
        str | None, Option(help="A second file to test on; else a part of --data is set aside.")
    ] = None
    model: Annotated[
        str, Option(help="An embedded checkpoint, a model folder, or a Hub name.")
    ] = "bert-tiny"
    text: Text = None
    label: Label = None
    encoding: Encoding = "utf-8"
    train_size: Annotated[int | None, Option(min=1, help="Train on so many texts.")] = None
    test_size: Annotated[int | None, Option(min=1, help="Test on so many texts.")] = None
    objective: Annotated[
        Literal["adversarial", "madry", "trades", "vat", "smart", "freelb", "free", "clean"],
        Option(help="What is minimised; adversarial is L + λ·L_adv."),
    ] = "adversarial"
    attack: Annotated[
        Literal["fgm", "pgd"], Option(help="The training attack of adversarial and madry.")
    ] = "fgm"
    eps: Annotated[
        float | None,
        Option(help="Size of the perturbation, relative to the mean token embedding [0.3 for an "
               "embedded model; else measured: where PGD takes half of the texts]."),
    ] = None  # fmt: skip
    steps: Annotated[int, Option(help="Steps of pgd, trades and freelb.")] = 3
    lam: Annotated[float, Option(help="λ, the weight of the adversarial term.")] = 1.0
    epochs: Annotated[
        float | None,
        Option(help="Passes over the training data [10 for an embedded model; else 3, and at least "
               "240 steps]."),
    ] = None  # fmt: skip
    after: Annotated[
        int | None,
        Option(min=0, help="Plain steps before the attack sets in [three in ten; 0 for an embedded "
               "model]."),
    ] = None  # fmt: skip
    learning_rate: Annotated[
        float | None,
        Option("--learning-rate", "--lr", help="Its peak [1e-3 for an embedded model, else 5e-5]."),
    ] = None  # fmt: skip
    batch_size: Annotated[
        int, Option("--batch-size", "--batch", min=1, help="Texts of a pass and process.")
    ] = 32
    accumulate: Annotated[int, Option(min=1, help="Passes that make a step.")] = 1
    class_weights: Annotated[
        bool, Option("--class-weights", help="Rare classes count as much as frequent ones.")
    ] = False
    precision: Annotated[
        Literal["fp32", "bf16", "fp16"], Option(help="Of training; fp16 on a GPU only.")
    ] = "fp32"
    checkpointing: Annotated[
        bool, Option("--checkpointing", help="Compute activations twice, to save memory.")
    ] = False
    lora: Annotated[int, Option(min=0, help="Rank of adapters; 0 trains all weights.")] = 0
    report_to: Annotated[str, Option(help="A tracker: tensorboard or wandb.")] = "none"
    seed: Annotated[int, Option(help="Of data, training and attacks.")] = 0

    def __post_init__(self):
        for name in ("eps", "epochs", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {value}")
        if self.steps < 1:
            raise ValueError(f"--steps must be at least 1, got {self.steps}")
        if self.seed < 0:
            raise ValueError(f"--seed must be at least 0, got {self.seed}")
        if self.precision == "fp16":
            import torch

            if not torch.cuda.is_available():
                raise ValueError("--precision fp16 needs a GPU: take bf16 or fp32")

    @classmethod
    def read(cls, folder: Path) -> Options:
        """The options of an earlier run. Raises ValueError where the folder holds none."""
        file = folder / "options.json"
        if not file.is_file():
            raise ValueError(f"{folder} holds no run to go on with: it has no options.json")
        try:
            kept = json.loads(file.read_text())
            kept.pop("texts", None)
            return cls(**kept)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{file} is not what this version of advlib writes ({error}): begin "
                             "anew with another --out") from error  # fmt: skip

    def loading(self) -> dict:
        """The arguments of `load_text`."""
        return dict(source=self.data, test=self.test, text=self.text, label=self.label,
                    encoding=self.encoding, train_size=self.train_size, test_size=self.test_size,
                    seed=self.seed)  # fmt: skip

    def training(self) -> dict:
        """The arguments of `finetune`."""
        half = {} if self.precision == "fp32" else {self.precision: True}
        return dict(epochs=self.epochs, learning_rate=self.learning_rate, after=self.after,
                    batch_size=self.batch_size, gradient_accumulation_steps=self.accumulate,
                    balanced=self.class_weights, report_to=self.report_to, seed=self.seed,
                    **half)  # fmt: skip


def take(options: type) -> Callable:
    """A command whose first argument is made from the options given on its command line; what else
    it takes, it names itself."""

    def wrap(command: Callable) -> Callable:
        shared = signature(options, eval_str=True).parameters
        own = list(signature(command, eval_str=True).parameters.values())[1:]

        @wraps(command)
        def called(**given):
            chosen = {name: given.pop(name) for name in shared if name in given}
            return command(options(**chosen), **given)

        called.__signature__ = Signature([*shared.values(), *own])
        called.__annotations__ = {p.name: p.annotation for p in [*shared.values(), *own]}
        return called

    return wrap


def objective_of(options: Options, eps: float) -> Objective:
    """What is minimised. Attacks see the network with the dropout mask that is trained."""
    from advlib.attacks import FGM, PGD, Divergence, VirtualAdversarial
    from advlib.objectives import SMART, TRADES, VAT, Adversarial, Clean, Free, FreeLB, Madry

    lam, steps, one = options.lam, options.steps, dict(same_dropout=True)
    attack = FGM(eps, **one) if options.attack == "fgm" else PGD(eps, steps=steps, **one)
    known = {
        "clean": lambda: Clean(),
        "adversarial": lambda: Adversarial(attack, lam=lam),
        "madry": lambda: Madry(attack),
        "trades": lambda: TRADES(Divergence(eps, steps=steps, **one), beta=lam),
        "vat": lambda: VAT(VirtualAdversarial(eps, **one), lam=lam),
        "smart": lambda: SMART(Divergence(eps, symmetric=True, **one), lam=lam),
        "freelb": lambda: FreeLB(PGD(eps, steps=steps, random_start=True, **one)),
        "free": lambda: Free(FGM(eps)),
    }
    return known[options.objective]()


def prepare(model: nn.Module, options: Options) -> nn.Module:
    """The model as it is trained: with checkpointing and adapters where they were asked for."""
    if options.checkpointing:
        # transformers calls it activation checkpointing now; the old name goes with version 6.
        enable = getattr(model, "activation_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)()
    if options.lora:
        return with_adapters(model, options.lora, half=options.precision == "bf16")
    return model


def with_adapters(model: nn.Module, rank: int, half: bool) -> nn.Module:
    """LoRA on every linear layer; head and adapters are trained.

    half: the frozen matrices are held in bf16, as autocast would use them anyway. Embeddings, to
    which δ is added, and norms stay in float32. Raises ValueError where peft is missing.
    """
    import torch

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ValueError("--lora needs the package peft: pip install peft") from error
    if half:
        for layer in model.modules():
            if isinstance(layer, torch.nn.Linear):
                layer.to(torch.bfloat16)
    config = LoraConfig(task_type="SEQ_CLS", r=rank, target_modules="all-linear")
    model = get_peft_model(model, config)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model


def check_same(folder: Path, now: dict) -> None:
    """Raise ValueError where the folder's models or checkpoints were made with other options, or
    from other texts (`texts` is their hash)."""
    file = folder / "options.json"
    there = json.loads(file.read_text()) if file.is_file() else {}
    others = [
        "made from other texts" if name == "texts" else f"{name} {there.get(name)!r}, not {value!r}"
        for name, value in now.items() if there.get(name) != value
    ]  # fmt: skip
    if others:
        raise ValueError(f"{folder} holds a run with other options ({'; '.join(others)}): choose "
                         "another folder with --out")  # fmt: skip


def record(options: Options, texts: str) -> dict:
    """What is kept as options.json; texts: the hash of the data."""
    return asdict(options) | {"texts": texts}
