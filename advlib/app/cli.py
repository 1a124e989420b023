"""The command line, `advlib`: run, attack, evaluate, board, card, gate, review, export, doctor."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import sys
import time
from dataclasses import fields, replace
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option
from typer.core import TyperGroup

import advlib
from advlib.app.options import Data, Encoding, Label, Options, Text, take


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


class Commands(TyperGroup):
    """All commands, and those of their groups."""

    invoke = plainly(TyperGroup.invoke)


app = main = typer.Typer(
    cls=Commands, help="Attack language models, train them against it, and measure both honestly.",
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    rich_markup_mode=None,
)  # fmt: skip


@app.command(short_help="Train plain and adversarial, attack both, report.")
@take(Options)
def run(
    options: Options,
    curve: Annotated[bool, Option(help="Accuracy against ε, for the report.")] = True,
    out: Annotated[Path | None, Option(help="Folder for models and report [runs/<time>].")] = None,
    resume: Annotated[
        Path | None, Option(help="Go on with the interrupted run in this folder.")
    ] = None,
) -> None:
    """Train a standard and an adversarial model on the same data, attack both, and report."""
    from advlib.app.experiment import experiment

    folder = resume or out or Path("runs") / time.strftime("%Y-%m-%d_%H-%M-%S")
    if resume:
        kept = Options.read(resume)
        if out or options not in (Options(), kept):
            raise ValueError("--resume goes on with the options of that run: leave out the others")
        options = kept
    experiment(options, folder, "advlib " + shlex.join(sys.argv[1:]), with_curve=curve)


@app.command(short_help="Attack one text, or a file of texts.")
def attack(
    text: Annotated[str | None, Argument(help="The text to attack.")] = None,
    data: Annotated[
        str | None, Option(help="Or a file of texts with labels: CSV, TSV, JSONL, Parquet.")
    ] = None,
    attack: Annotated[
        str | None,
        Option(help="Which word attack, as TextFooler, PWWS, DeepWordBug, Typos; one text: "
               "[WordSubstitution]."),
    ] = None,
    out: Annotated[
        Path, Option(help="With --data: the CSV file to write; one that is there stays.")
    ] = Path("attacked.csv"),
    model: Annotated[
        str, Option(help="An embedded checkpoint, a model folder, or an exported model.")
    ] = "reviews-clean",
    n: Annotated[int | None, Option(min=1, help="With --data: the first n rows [all].")] = None,
    vectors: Annotated[
        str | None,
        Option(help="For TextFooler, A2T: a file of word vectors, or 'model' for its own."),
    ] = None,
    thesaurus: Annotated[
        str | None, Option(help="For PWWS: a file with a group of synonyms a line.")
    ] = None,
    language_model: Annotated[
        str | None, Option(help="For MaskedLanguageModel: a folder with one [bert-tiny].")
    ] = None,
    text_column: Text = None,
    label: Label = None,
    encoding: Encoding = "utf-8",
    eps: Annotated[float, Option(help="One text: size of the embedding perturbation.")] = 0.3,
) -> None:  # fmt: skip
    """Attack one text, or the texts of a file with --data and --attack.

    One text: change words, then perturb its embeddings. What the model says before the attack is
    taken for the truth.

    A file: change words of each text, and write a CSV in UTF-8 with a line for each row, in order:
    original, attacked, label, before and after (what the model says), success, changed words,
    queries. Texts are written as they are: a spreadsheet may take one that begins with =, +, - or @
    for a formula, so import the columns there as text.
    """
    if (text is None) == (data is None):
        raise ValueError("give one text to attack, or a file of them with --data")
    given = dict(vectors=vectors, thesaurus=thesaurus, language_model=language_model)
    if data is not None:
        change = _word_attack(attack, given)
        columns = dict(text=text_column, label=label, encoding=encoding)
        return _attack_file(data, change, model, out, n, columns)
    change = _of_world(_word_attack(attack or "WordSubstitution", given), [text])
    from advlib.attacks import PGD, Noise
    from advlib.embeddings import perturbed_logits
    from advlib.onnx import OnnxModel

    if not text.strip():
        raise ValueError("the text is empty: give one with words")
    perturbations = (Noise(eps), PGD(eps))
    victim = advlib.load_classifier(model)
    before = victim.predict([text])[0]
    y = int(before.argmax())
    _say("text", text, victim, before)
    result = change(victim, [text], [y])[0]
    _say("words", _coloured(result.show()), victim, victim.predict([result.text])[0])
    note = "the model is fooled" if result.success else "the model is not fooled"
    if hasattr(change, "world") and not any(change.options(text)):
        note = "no word of this text has known substitutes"
    print(f"        {_count(len(result.changed), 'word')} changed, "
          f"{_count(result.queries, 'query', 'queries')}: {note}")  # fmt: skip
    _say_strange(change, [text])
    if isinstance(victim.model, OnnxModel):
        print("        embeddings: an exported model has no gradients, attack the original's")
        return
    batch = victim.encode([text], [y])
    for perturb in perturbations:
        logits = perturbed_logits(victim.model, batch, perturb(victim.model, batch)).detach()
        name = type(perturb).__name__
        _say(name.lower(), f"the same words, embeddings moved by eps = {eps:g}", victim,
             logits.softmax(-1)[0].cpu().numpy())  # fmt: skip


def _count(n: int, one: str, more: str | None = None) -> str:
    return f"{n:,} {one if n == 1 else more or one + 's'}"


def _word_attack(name: str | None, given: dict):
    """The word attack of that name, in any case, with the settings that were given."""
    from advlib import attacks
    from advlib.app import recipes

    there = {n: getattr(home, n) for home in (attacks, recipes) for n in home.__all__}
    kinds = {n.lower(): there[n] for n in sorted(there) if isinstance(there[n], type)
             and issubclass(there[n], attacks.WordAttack) and n != "WordAttack"}  # fmt: skip
    kind = kinds.get((name or "").lower())
    if kind is None:
        known = ", ".join(k.__name__ for k in kinds.values())
        start = "say which attack with --attack" if name is None else f"no word attack {name!r}"
        raise ValueError(f"{start}: one of {known}")
    given = {option: value for option, value in given.items() if value is not None}
    for option in given:
        if option not in {f.name for f in fields(kind)}:
            raise ValueError(f"{kind.__name__} has no {option.replace('_', ' ')}: leave "
                             f"--{option.replace('_', '-')} out")  # fmt: skip
    usual = {type(a): a for a in recipes.for_text()}  # as in `--protocol text`
    return replace(usual[kind], **given) if kind in usual else kind(**given)


def _of_world(attack, texts: list):
    """The attack with the world, where it has one, that knows the words of these texts best."""
    from advlib.corpora import world_of

    return replace(attack, world=world_of(texts)) if hasattr(attack, "world") else attack


def _say_strange(attack, texts: list) -> None:
    """Print a sentence where the words of the texts are not those that the attack knows."""
    from advlib.corpora import words, world

    found = [word.lower() for text in texts for word in words(text)]  # of both texts of a pair
    if hasattr(attack, "world"):
        known = sum(word in world(attack.world).known for word in found)
        enough, whose = 0.75, f"the world {attack.world!r}"
    elif hasattr(attack, "thesaurus"):
        (options,) = attack.propose(None, [" ".join(found)], [0])
        known, enough, whose = sum(map(bool, options)), 0.1, "this thesaurus"
    else:
        return
    if known < enough * len(found):
        print(f"{type(attack).__name__} knows the words of {whose} alone, {known:,} of the "
              f"{_count(len(found), 'word')} here: the text is of another kind, and what comes out "
              "says little")  # fmt: skip


def _attack_file(data: str, attack, model: str, out: Path, n: int | None, columns: dict) -> None:
    import numpy as np
    from tqdm.auto import tqdm

    from advlib.app.experiment import check_folder
    from advlib.corpora.engine import parts_of
    from advlib.data import read_file, texts_of
    from advlib.evaluation import UNCHECKED, wilson

    rows = read_file(data, **columns)[:n]
    whole = rows.notna().all(axis=1)
    if not whole.any():
        raise ValueError(f"{data} has no row with both a text and a label")
    victim = advlib.load_classifier(model)
    classes = _model_classes(sorted(set(rows.label[whole])), victim.labels)
    check_folder(out.parent, need=10e6)
    if out.exists():
        raise ValueError(f"there is a file {out}, and it stays: name another one with --out")
    attack = _of_world(attack, texts_of(rows[whole]))
    results = []
    with (
        open(out, "x", encoding="utf-8", newline="") as file,
        tqdm(total=len(rows), desc=type(attack).__name__, leave=False) as bar,
    ):
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow("original attacked label before after success changed queries".split())
        for start in range(0, len(rows), 64):  # what comes out for a text depends on it alone
            part, good = rows[start : start + 64], whole[start : start + 64]
            texts = texts_of(part[good])
            found = attack(victim, texts, [classes[y] for y in part.label[good]])
            before, after = ([victim.labels[y] for y in victim.predict(some).argmax(1)]
                             for some in (texts, [r.text for r in found]))  # fmt: skip
            done = iter(zip(found, before, after, strict=True))
            shown = [" ‖ ".join(parts_of(text)) for text in texts_of(part.fillna(""))]
            for text, label, attacked in zip(shown, part.label.fillna(""), good, strict=True):
                if not attacked:
                    table.writerow([text, text, label, "", "", "", "", 0])
                    continue
                r, was, now = next(done)
                table.writerow([text, " ‖ ".join(parts_of(r.text)), label, was, now, r.success,
                                _changes(r), r.queries])  # fmt: skip
            file.flush()
            results += found
            bar.update(len(part))
    print(repr(attack) + UNCHECKED * attack.meaning_unchecked)
    right = [r for r in results if not r.wrong_before]
    fooled = [r for r in right if r.success]
    for name, hits in (("before", len(right)), ("after", len(right) - len(fooled))):
        low, high = wilson(hits, len(results))
        print(f"accuracy {name:<6} {hits / len(results):6.1%} [{low:.1%}, {high:.1%}]")
    share = f" ({len(fooled) / len(right):.1%})" if right else ""
    print(f"{len(fooled):,} of {_count(len(right), 'right text')} turned wrong{share}"
          + (f", {np.mean([len(r.changed) for r in fooled]):.1f} words changed" if fooled else "")
          + f"; {np.mean([r.queries for r in results]):.1f} queries a text")  # fmt: skip
    _say_strange(attack, [r.original for r in results])
    if left := len(rows) - len(results):
        print(f"{_count(left, 'row')} without text or label: in the file as before, not attacked")
    print(f"{out}: {_count(len(rows), 'row')}; 95 % Wilson intervals")


def _coloured(shown: str) -> str:
    """Changed words in colour where somebody sees them: on a terminal, unless NO_COLOR is set."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return shown
    change = re.compile(r"\[[^\]]* -> [^\]]*\]")
    return change.sub(lambda found: typer.style(found[0], fg="yellow", bold=True), shown)


def _changes(result) -> str:
    """The changed words, as "good -> fine; film -> movie"; where a word became several, the text
    with its changes marked."""
    from advlib.corpora import words

    old, new = words(result.original), words(result.text)
    if len(old) != len(new):
        return result.show()
    return "; ".join(f"{old[i]} -> {new[i]}" for i in result.changed)


def _model_classes(found: list[str], labels: list[str]) -> dict[str, int]:
    """label of the data -> class of the model: by name, by number, or by place where there are as
    many; says so where it is not by name. Raises ValueError where none of these fits."""
    names = {name.lower(): i for i, name in enumerate(labels)}
    if all(name.lower() in names for name in found):
        return {name: names[name.lower()] for name in found}
    if all(name.isdecimal() and int(name) < len(labels) for name in found):
        classes = {name: int(name) for name in found}
    elif len(found) == len(labels) and not any(name.lower() in names for name in found):
        classes = {name: i for i, name in enumerate(found)}
    else:
        raise ValueError(f"the labels of the data are {', '.join(found[:9])} and the model's "
                         f"classes {', '.join(labels[:9])}: give them the same names")  # fmt: skip
    print("taken for the model's classes: "
          + ", ".join(f"{name!r} for {labels[i]!r}" for name, i in classes.items()))  # fmt: skip
    return classes


def _say(what: str, text: str, victim, probabilities) -> None:
    y = int(probabilities.argmax())
    print(f"{what:>6}  {text}\n        -> {victim.labels[y]} ({probabilities[y]:.1%})")


@app.command(short_help="Measure a model by a fixed protocol.")
def evaluate(
    model: Annotated[
        str,
        Argument(help="An embedded checkpoint, a model folder, an exported model, or a Hub name."),
    ],
    data: Data = "reviews",
    test: Annotated[
        str | None,
        Option(help="A second file to test on; else a fifth of a single --data file is set aside, "
               "which the model must not have been trained on."),
    ] = None,
    protocol: Annotated[
        str, Option(help="Which fixed set of attacks: standard, or text for any data.")
    ] = "standard",
    eps: Annotated[
        float | None, Option(help="With --protocol text: size of the embedding attacks [0.1].")
    ] = None,
    n: Annotated[
        int | None, Option(min=1, help="So many test texts instead of the protocol's.")
    ] = None,
    certify: Annotated[
        bool,
        Option("--certify", help="Count the texts that are proved robust, too: of a world against "
               "every substitution of words, else by noise on the embeddings (200 passes a text). "
               "The digest stays as it is."),
    ] = False,
    text: Text = None,
    label: Label = None,
    groups: Annotated[
        str | None, Option(help="A column of groups to tell apart; of a world: domain.")
    ] = None,
    encoding: Encoding = "utf-8",
    out: Annotated[Path, Option(help="Folder of card.json and leaderboard.md.")] = Path(
        "runs/evaluation"
    ),
) -> None:
    """Put a model through a fixed protocol; write a card and add a row to the leaderboard.

    The numbers of the card are sealed by a checksum: the same model on the same texts gets the
    same one again, on another machine up to a query or a text on the very edge.
    """
    import pandas as pd

    from advlib.app.certificates import shown
    from advlib.app.experiment import check_folder
    from advlib.app.protocol import evaluate as measure
    from advlib.app.protocol import publish
    from advlib.app.rows import cells, interval, line
    from advlib.evaluation import short

    check_folder(out, need=1e6)
    card = measure(model, data, protocol, eps=eps, n=n, progress=True, test=test, text=text,
                   label=label, encoding=encoding, groups=groups, certify=certify)  # fmt: skip
    new = publish(card, out)
    print(f"{card['model']['name']} on {card['data']['n']} texts of {card['data']['name']}, "
          f"protocol {card['protocol']} (version {card['version']})\n")  # fmt: skip
    if "warning" in card:
        print(f"! {card['warning']}\n")
    rows = [*card["rows"], card["worst case"], card["majority class"]]
    print(pd.DataFrame(map(cells, rows)).to_string(index=False))
    if "groups" in card:
        said = [{"group": short(line(row["group"])), "n": row["n"],
                 "clean [95 %]": interval(row["clean"]),
                 "worst case [95 %]": interval(row["worst case"])}
                for row in card["groups"]["rows"]]  # fmt: skip
        print(f"\nby {short(line(groups))}, the lowest first, which lies low by chance too\n"
              + pd.DataFrame(said).to_string(index=False))  # fmt: skip
    print("".join(f"\nleft out: {attack}" for attack in card["left out"]))
    if certify:
        proved = pd.DataFrame(map(shown, card["certified"]))
        print("\n" + ("nothing certified: an exported model has no embeddings to put noise on"
                      if proved.empty else proved.to_string(index=False)) + "\n")  # fmt: skip
    if "classes" in card:
        pairs = ", ".join(f"{ours!r} for {theirs!r}" for ours, theirs in card["classes"].items())
        print(f"the data's classes are taken for the model's, by place: {pairs}")
    print(f"temperature {card['calibration']['temperature']:g}\ndigest {card['digest']}\n"
          f"{out / 'card.json'}, {out / 'leaderboard.md'}"
          + (" (one row more)" if new else " (the row was there)"))  # fmt: skip


@app.command(short_help="Write a model's card from its evaluation.")
def card(
    model: Annotated[Path, Argument(help="The folder of the trained model.")],
    evaluation: Annotated[
        Path, Option(help="The card.json that `advlib evaluate` wrote for this model.")
    ] = Path("runs/evaluation/card.json"),
    license: Annotated[
        str | None, Option(help="Under which licence the model may be used, as mit.")
    ] = None,
    base_model: Annotated[
        str | None, Option(help="The model on the Hub that it was made from.")
    ] = None,
    language: Annotated[str | None, Option(help="Of the texts, as en.")] = None,
    contact: Annotated[
        str | None, Option(help="Whom to ask or to complain to: an address that stays.")
    ] = None,
    use: Annotated[str | None, Option(help="What the model is meant for.")] = None,
) -> None:
    """Write README.md into a model's folder: a Hugging Face model card from its evaluation.

    `hf upload OWNER/NAME FOLDER` then puts the folder on the Hub, with this page.
    """
    from advlib.app.deploy import write_card

    if not evaluation.is_file():
        raise ValueError(f"there is no evaluation {evaluation}: make one with `advlib evaluate "
                         f"{model}`, or name its card.json with --evaluation")  # fmt: skip
    try:
        found = json.loads(evaluation.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{evaluation} is no JSON: {error}") from error
    print(write_card(model, found, license=license, base_model=base_model, language=language,
                     contact=contact, use=use))  # fmt: skip


@app.command(short_help="Let a model pass, or say what it lacks.")
def gate(
    card: Annotated[Path, Argument(help="The card.json that `advlib evaluate` wrote.")],
    policy: Annotated[Path, Option(help="What is asked for: a TOML file, docs/gate.md.")],
    model_card: Annotated[
        Path | None, Option(help="The model's README.md, as `advlib card` writes it.")
    ] = None,
) -> None:
    """Read an evaluation, and a model card, against a policy, and say all that is missing.

    Exit code 0: the model passes. 1: it is refused, with a sentence for each thing that is missing
    or below its bar. 2: the card, the model card or the policy cannot be read. Bars are for the
    lower end of the 95 % interval.
    """
    from advlib.app.gate import Unreadable, read_card, read_policy, read_text
    from advlib.app.gate import gate as check
    from advlib.app.rows import line

    unread = []

    def read(how, file):
        try:
            return how(file)
        except Unreadable as error:
            unread.extend(error.sentences)

    asked, found = read(read_policy, policy), read(read_card, card)
    text = read(read_text, model_card) if model_card else None
    if unread:
        print("\n".join(f"advlib: {sentence}" for sentence in unread), file=sys.stderr)
        raise typer.Exit(2)
    missing = check(found, asked, text)
    name = line(found.get("model", {}).get("name") if isinstance(found.get("model"), dict) else "?")
    if missing:
        print(f"refused: {name} lacks {_count(len(missing), 'thing')} that {policy.name} asks for")
        print("\n".join(f"- {sentence}" for sentence in missing))
        raise typer.Exit(1)
    bars = "the lower end of 95 % intervals" if asked.low else "accuracies as they are"
    print(f"passed: {name} has all that {policy.name} asks for; bars were for {bars}")


@app.command(short_help="Write a model as ONNX, and compare.")
def export(
    model: Annotated[str, Argument(help="An embedded checkpoint or a model folder.")],
    out: Annotated[Path, Option(help="Folder of model.onnx.")] = Path("runs/export"),
    gradient: Annotated[
        bool,
        Option("--gradient", help="Write gradient.onnx instead, which gives the gradient on the "
               "embeddings too, for attacks in a browser."),
    ] = False,
) -> None:  # fmt: skip
    """Write a model as ONNX, with its tokenizer, and check it against the original."""
    from advlib.app.deploy import export_gradient, export_onnx
    from advlib.app.experiment import check_folder
    from advlib.onnx import FILE, GRADIENT

    victim = advlib.load_classifier(model, device="cpu")
    check_folder(out, need=5 * sum(p.numel() for p in victim.model.parameters()))
    gap = (export_gradient if gradient else export_onnx)(victim, out)
    file, what = out / (GRADIENT if gradient else FILE), " or gradient" * gradient
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB, "
          f"largest difference of a logit{what} from PyTorch's {gap:.1g}")  # fmt: skip


@app.command(short_help="Say what is installed and what is missing.")
def doctor() -> None:
    """Say what is installed, which device and profile, what is missing and how to mend it."""
    lines = advlib.doctor()
    print("\n".join(lines))
    if any(line.startswith("  !") for line in lines):
        raise typer.Exit(1)


review = typer.Typer(
    help="A queue of texts that a person decides on: add, next, decide, stats, export.",
    no_args_is_help=True,
)
app.add_typer(review, name="review", short_help="Let a person decide what a model is unsure of.")
Store = Annotated[Path, Argument(help="The file of the queue (SQLite).")]


@review.command(short_help="Put texts into the queue.")
def add(
    store: Store,
    data: Annotated[
        Path | None,
        Option(help="A CSV file with a column text, and source, prediction, confidence and reason "
               "where they are known."),
    ] = None,
    model: Annotated[
        str | None, Option(help="Predict with this model, and take what it is unsure of.")
    ] = None,
    below: Annotated[
        float, Option(help="With --model: take texts of a confidence below this.")
    ] = 0.9,
    source: Annotated[
        str | None, Option(help="Where texts without a source come from [the file].")
    ] = None,
    most_per_source: Annotated[
        int, Option(min=1, help="So many texts of a source wait at most; more are left out.")
    ] = 100,
    budget: Annotated[
        float | None, Option(help="Minutes that people have in all; kept, with its date.")
    ] = None,
    labels: Annotated[
        str | None, Option(help="Which labels there are, with commas [the model's, or any].")
    ] = None,
) -> None:  # fmt: skip
    """Put texts into a queue; the first time makes it. A text that is there already stays as it is.

    All texts of a file come in, or, where something goes wrong, none.
    """
    from advlib.app.review import Queue, read_texts, unsure

    if data is None and budget is None and labels is None:
        raise ValueError("name a file of texts with --data, or set --budget or --labels")
    if not 0 <= below <= 1:
        raise ValueError(f"--below is a confidence from 0 to 1, got {below:g}")
    rows = read_texts(data, source) if data else []
    names = [name.strip() for name in labels.split(",")] if labels else None
    if model and rows:
        victim = advlib.load_classifier(model)
        names = names or victim.labels
        rows = unsure(victim, rows, below)
    with Queue(store, create=True) as queue:
        done = queue.add(rows, most_per_source, budget=budget, labels=names)
    print(", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in done.items()))


@review.command("next", short_help="Show the next text.")
def next_one(
    store: Store,
    prediction: Annotated[
        bool, Option("--prediction", help="And what the model says, which leads people.")
    ] = False,
    as_html: Annotated[
        bool, Option("--html", help="As a piece of HTML, escaped, for a page.")
    ] = False,
) -> None:
    """Show the text that waits and is next: of the source that has had the fewest decisions, the
    one that the model is least sure of. Refused when the minutes are used up.
    """
    from advlib.app.review import Queue, shown

    with Queue(store) as queue:
        item = queue.next()
    print("nothing waits" if item is None else shown(item, prediction, as_html))


@review.command(short_help="Write down what a person decided.")
def decide(
    store: Store,
    number: Annotated[int, Argument(help="The number of the text, as `next` shows it.")],
    label: Annotated[
        str | None, Argument(help="Its label; without one: it cannot be told.")
    ] = None,
    who: Annotated[str, Option(help="Who decides.")] = "",
    minutes: Annotated[float, Option(help="How long that took.")] = 1.0,
) -> None:
    """Write down a decision. None is ever changed: a second one for the same text is a new line,
    and the last one counts.
    """
    from advlib.app.review import Queue

    with Queue(store) as queue:
        before = queue.decide(number, label, who, minutes)
    print(f"decided, for the {_ordinal(before + 1)} time" if before else "decided")


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


@review.command(short_help="How many wait, and what was decided.")
def stats(store: Store) -> None:
    """How many texts wait, how many were decided and by whom, and what is left of the minutes."""
    from advlib.app.review import Queue
    from advlib.app.rows import line

    with Queue(store) as queue:
        found = queue.stats()
    for name, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{line(key)} {count:,}" for key, count in value.items()) or "none"
        print(f"{name:<22} {value:g}" if isinstance(value, float) else f"{name:<22} {value}")


@review.command("export", short_help="Write texts and labels to train on.")
def export_labels(
    store: Store,
    out: Annotated[
        Path, Option(help="A .csv or .jsonl file to write; one that is there stays.")
    ] = Path("reviewed.csv"),
) -> None:
    """Write the texts that have a label, each with its last one, for `advlib run --data`.

    In a CSV a cell that a spreadsheet would take for a formula (it begins with =, +, -, @, a tab or
    a line break) gets an apostrophe in front. A .jsonl file has every text as it is.
    """
    from advlib.app.review import Queue

    with Queue(store) as queue:
        written, changed = queue.export(out)
    more = f", {changed:,} with an apostrophe in front, for spreadsheets" if changed else ""
    print(f"{out}: {_count(written, 'text')} with a label{more}")


board = typer.Typer(
    help="The board of defences and attacks, docs/board.md; without a command: show it."
)
app.add_typer(board, name="board", short_help="Defences and attacks that others entered.")


@board.callback(invoke_without_command=True)
def show_board(
    context: typer.Context,
    home: Annotated[Path, Option(help="The folder of the board.")] = Path("board"),
) -> None:
    """The defences, each with its worst case over all attacks on the board, the best first."""
    if context.invoked_subcommand:
        return
    import pandas as pd

    from advlib.app.board import Board, table

    found = Board(home)
    found.check_whole()
    print(pd.DataFrame(table(found)).to_string(index=False))


@board.command("verify", short_help="Check an entry, run it again, write results and page.")
def verify_entry(
    entry: Annotated[Path, Argument(help="board/defences/NAME or board/attacks/NAME.")],
) -> None:
    """Check an entry of the board, run it against all others, and compare with what is on record
    and with what it claims. Then write its results, a line for each number that is new, and
    docs/board.md. Refused with one sentence where something does not hold; then nothing is written.

    An attack is code, and it runs here: read it first.
    """
    from advlib.app.board import verify, write_page

    found = verify(entry)
    page = found.home / "../docs/board.md"
    write_page(found, page)
    print(f"verified: {entry.name}; {page.resolve()} is written")


if __name__ == "__main__":
    app()
