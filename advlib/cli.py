"""The command line: `advlib run`, `attack`, `evaluate`, `card`, `export`, `doctor`."""

from __future__ import annotations

import shlex
import sys
import time
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from advlib.options import Options, take

app = typer.Typer(
    help="Attack language models, train them against it, and measure both honestly.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None,
)  # fmt: skip


def plainly(command):
    """Errors that a user can mend become one sentence instead of a traceback."""

    @wraps(command)
    def wrapped(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except KeyboardInterrupt as stopped:
            sys.exit(str(stopped) or "Stopped.")
        except (ValueError, OSError) as error:
            sys.exit(f"advlib: {error}")

    return wrapped


@app.command()
@plainly
@take(Options)
def run(
    options: Options,
    curve: Annotated[
        bool, typer.Option("--curve/--no-curve", help="Accuracy against ε, for the report.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Folder for models and report [runs/<time>].")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the interrupted run in this folder.")
    ] = None,
) -> None:
    """Train a standard and an adversarial model on the same data, attack both, and report."""
    from advlib.experiment import experiment

    folder = resume or out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    if resume:
        kept = Options.read(resume)
        if out or options not in (Options(), kept):
            raise ValueError("--resume goes on with the options of that run: leave out the others")
        options = kept
    experiment(options, folder, "advlib " + shlex.join(sys.argv[1:]), with_curve=curve)


@app.command()
@plainly
def attack(
    text: Annotated[str, typer.Argument(help="The text to attack.")],
    model: Annotated[
        str, typer.Option(help="An embedded checkpoint or a model folder.")
    ] = "reviews-clean",
    eps: Annotated[float, typer.Option(help="Size of the embedding perturbation.")] = 0.3,
) -> None:
    """Attack one text: change words that keep its meaning, then perturb its embeddings.

    What the model says before the attack is taken for the truth.
    """
    from advlib.attacks import PGD, Noise, WordSubstitution
    from advlib.attacks.embedding import perturbed_logits
    from advlib.models import load_classifier

    if not text.strip():
        raise ValueError("the text is empty: give one with words")
    perturbations = (Noise(eps), PGD(eps))
    victim = load_classifier(model)
    before = victim.predict([text])[0]
    y = int(before.argmax())
    _say("text", text, victim, before)
    result = WordSubstitution()(victim, [text], [y])[0]
    _say("words", result.show(), victim, victim.predict([result.text])[0])
    note = "the model is fooled" if result.success else "the model is not fooled"
    if not any(WordSubstitution().options(text)):
        note = "no word of this text has known substitutes"
    print(f"        {len(result.changed)} words changed, {result.queries} queries: {note}")
    batch = victim.encode([text], [y])
    for perturb in perturbations:
        logits = perturbed_logits(victim.model, batch, perturb(victim.model, batch)).detach()
        name = type(perturb).__name__
        _say(name.lower(), f"the same words, embeddings moved by eps = {eps:g}", victim,
             logits.softmax(-1)[0].cpu().numpy())  # fmt: skip


def _say(what: str, text: str, victim, probabilities) -> None:
    y = int(probabilities.argmax())
    print(f"{what:>6}  {text}\n        -> {victim.labels[y]} ({probabilities[y]:.1%})")


@app.command()
@plainly
def evaluate(
    model: Annotated[
        str, typer.Argument(help="An embedded checkpoint, a model folder, or a Hub name.")
    ],
    data: Annotated[
        str, typer.Option(help="A world (reviews), a file, a folder, or a Hub name.")
    ] = "reviews",
    test: Annotated[
        str | None,
        typer.Option(
            help="A second file to test on; else a fifth of a single --data file is set "
            "aside, which the model must not have been trained on."
        ),  # fmt: skip
    ] = None,
    protocol: Annotated[str, typer.Option(help="Which fixed set of attacks.")] = "standard",
    n: Annotated[
        int | None, typer.Option(min=1, help="So many test texts instead of the protocol's.")
    ] = None,
    text: Annotated[str | None, typer.Option(help="Name of the column with the texts.")] = None,
    label: Annotated[str | None, typer.Option(help="Name of the column with the labels.")] = None,
    encoding: Annotated[str, typer.Option(help="Encoding of the files.")] = "utf-8",
    out: Annotated[Path, typer.Option(help="Folder of card.json and leaderboard.md.")] = Path(
        "runs/evaluation"
    ),
) -> None:
    """Put a model through a fixed protocol; write a card and add a row to the leaderboard.

    The numbers of the card are sealed by a checksum: the same model on the same texts gets the
    same one again, on another machine up to a query or a text on the very edge.
    """
    from advlib.experiment import check_folder
    from advlib.protocol import evaluate as measure
    from advlib.protocol import publish

    check_folder(out, need=1e6)
    card = measure(model, data, protocol, n=n, progress=True, test=test, text=text, label=label,
                   encoding=encoding)  # fmt: skip
    new = publish(card, out)
    print(f"{card['model']['name']} on {card['data']['n']} texts of {card['data']['name']}, "
          f"protocol {card['protocol']} (version {card['version']})\n")  # fmt: skip
    print(f"! {card['warning']}\n" if "warning" in card else "", end="")
    print(_table([*card["rows"], card["worst case"], card["majority class"]]))
    print("".join(f"\nleft out: {attack}" for attack in card["left out"]))
    if "classes" in card:
        pairs = ", ".join(f"{ours!r} for {theirs!r}" for ours, theirs in card["classes"].items())
        print(f"the data's classes are taken for the model's, by place: {pairs}")
    print(f"temperature {card['calibration']['temperature']:g}\ndigest {card['digest']}\n"
          f"{out / 'card.json'}, {out / 'leaderboard.md'}"
          + (" (one row more)" if new else " (the row was there)"))  # fmt: skip


def _table(rows: list[dict]) -> str:
    import pandas as pd

    def number(value, form: str) -> str:
        return "" if value is None else format(value, form)

    shown = [{
        "attack": row["attack"],
        "accuracy [95 %]": f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]",
        "calibrated": f"{row['calibrated']:.1%}",
        "macro-F1": f"{row['macro_f1']:.2f}",
        "classes": row["classes"],
        "success": number(row["success"], ".1%"),
        "changed": number(row["changed"], ".1f"),
        "queries": number(row["queries"], ".1f"),
        "passes": number(row["forward"], ".0f") + " + " + number(row["backward"], ".0f"),
        "seconds": number(row["seconds"], ".1f"),
    } for row in rows]  # fmt: skip
    return pd.DataFrame(shown).to_string(index=False)


@app.command()
@plainly
def card(
    model: Annotated[Path, typer.Argument(help="The folder of the trained model.")],
    evaluation: Annotated[
        Path, typer.Option(help="The card.json that `advlib evaluate` wrote for this model.")
    ] = Path("runs/evaluation/card.json"),
    license: Annotated[
        str | None, typer.Option(help="Under which licence the model may be used, as mit.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="The model on the Hub that it was made from.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Of the texts, as en.")] = None,
) -> None:
    """Write README.md into a model's folder: a Hugging Face model card from its evaluation.

    `hf upload OWNER/NAME FOLDER` then puts the folder on the Hub, with this page.
    """
    import json

    from advlib.deploy import write_card

    try:
        found = json.loads(evaluation.read_text("utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ValueError(
            f"there is no evaluation {evaluation}: make one with `advlib evaluate {model}`, or "
            "name its card.json with --evaluation"
        ) from error
    except ValueError as error:
        raise ValueError(f"{evaluation} is no JSON: {error}") from error
    said = dict(license=license, base_model=base_model, language=language)
    print(write_card(model, found, **{name: value for name, value in said.items() if value}))


@app.command()
@plainly
def export(
    model: Annotated[str, typer.Argument(help="An embedded checkpoint or a model folder.")],
    out: Annotated[Path, typer.Option(help="Folder of model.onnx.")] = Path("runs/export"),
) -> None:
    """Write a model as ONNX, with its tokenizer, and check it against the original."""
    from advlib.deploy import export_onnx
    from advlib.experiment import check_folder
    from advlib.models import load_classifier

    victim = load_classifier(model, device="cpu")
    check_folder(out, need=5 * sum(p.numel() for p in victim.model.parameters()))
    gap = export_onnx(victim, out)
    print(f"{out / 'model.onnx'}: {(out / 'model.onnx').stat().st_size / 1e6:.1f} MB, "
          f"largest difference of a logit from PyTorch's {gap:.1g}")  # fmt: skip


@app.command()
@plainly
def doctor() -> None:
    """Say what is installed, which device and profile, what is missing and how to mend it."""
    from advlib.runtime import doctor as look

    lines = look()
    print("\n".join(lines))
    if any(line.startswith("  !") for line in lines):
        raise typer.Exit(1)


def main() -> None:
    """Entry point of the command `advlib`."""
    app()


if __name__ == "__main__":
    main()
