"""The command `course`: what a learner has done, without opening a page."""

from __future__ import annotations

from datetime import date
from html import escape
from pathlib import Path
from typing import Annotated

import typer

from course import LESSONS, ledger, record

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
project = typer.Typer(no_args_is_help=True, help="A project of your own (lesson 20).")
app.add_typer(project, name="capstone")

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Adversarial examples: what was solved</title>
<style>
 body {{ font: 16px/1.5 sans-serif; max-width: 44em; margin: 3em auto; padding: 0 1em }}
 td {{ padding: .1em 1.5em .1em 0; vertical-align: top }}
 code {{ overflow-wrap: anywhere }}
</style></head><body>
<h1>Adversarial examples for language models</h1>
<p>{name}{done} of {all} exercises are right, {day}.</p>
<table>{rows}</table>
<p>The record's SHA-256: <code>{digest}</code></p>
<p>It names a record, it does not prove who solved it: the file <code>{file}</code> with this digest
belongs to this page.</p>
</body></html>
"""


@app.command()
def progress(
    lesson: Annotated[str | None, typer.Argument(help="Two digits: one lesson in full.")] = None,
    certificate: Annotated[
        Path | None, typer.Option(help="Write one page (HTML) with what was solved.")
    ] = None,
    name: Annotated[str, typer.Option(help="Whose name the page has.")] = "",
) -> None:
    """Show every lesson, its exercises and the next one that is open."""
    if lesson is not None and lesson not in LESSONS:
        raise typer.BadParameter(f"no lesson {lesson!r}: choose one of {', '.join(LESSONS)}")
    print(record.place())
    ledger.progress(lesson)
    if certificate is not None:
        certificate.write_text(page(name), encoding="utf-8")
        print(f"written: {certificate}")


@app.command()
def grade(
    submissions: Annotated[Path, typer.Argument(help="The folder with the notebooks.")],
    out: Annotated[Path, typer.Option(help="The folder for what is written.")] = Path("marks"),
    seconds: Annotated[float, typer.Option(help="Most time for one notebook.")] = 600,
    memory: Annotated[float, typer.Option(help="Most memory for one notebook, in GB.")] = 6,
    worksheet: Annotated[
        Path | None, typer.Option(help="Moodle's worksheet or Canvas' gradebook, to fill in.")
    ] = None,
) -> None:
    """Run the notebooks of a class again and mark them. That runs code of strangers: use a
    container without a network (docs/marking.md)."""
    from course import grading

    try:
        done = grading.grade(submissions, out, seconds, memory, worksheet)
    except grading.GradingError as error:
        raise SystemExit(str(error)) from None
    print(f"{len(done)} notebooks; look at {out / 'marks.csv'}")


@project.command()
def start(folder: Annotated[Path, typer.Argument(help="A new folder.")]) -> None:
    """Make a project's folder with a form to fill in."""
    from course import capstone

    try:
        capstone.start(folder)
    except ValueError as error:
        raise SystemExit(str(error)) from None
    print(f"{folder} is made. What it needs: `course capstone check {folder}`")


@project.command()
def check(folder: Annotated[Path, typer.Argument(help="The project's folder.")]) -> None:
    """Say what is missing in a project. Exit code 0: nothing; 1: something; 2: no such folder."""
    from advlib.app.rows import line
    from course import capstone

    try:
        missing, notes = capstone.check(folder)
    except ValueError as error:
        print(f"course: {error}")
        raise typer.Exit(2) from None
    for sentence in missing:
        print(f"- {line(sentence)}")
    for sentence in notes:
        print(f"note: {line(sentence)}")
    print(f"{len(missing)} missing" if missing else "Nothing is missing that a program can see.")
    raise typer.Exit(1 if missing else 0)


def page(name: str = "") -> str:
    """The certificate as HTML; every text is escaped."""
    answers, rows, done, total = record.answers(), [], 0, 0
    for number, title in LESSONS.items():
        known = ledger.exercises(number)
        right = [f"{id} {entry.title}" for id, entry in known.items()
                 if answers.get(id) == ledger.RIGHT]  # fmt: skip
        done, total = done + len(right), total + len(known)
        cells = (number, title.replace("_", " "), f"{len(right)} of {len(known)}", "; ".join(right))
        rows.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return PAGE.format(name=f"{escape(name)}: " if name else "", done=done, all=total,
                       day=date.today(), rows="\n".join(rows), digest=record.digest(),
                       file=escape(record.place().name))  # fmt: skip


if __name__ == "__main__":
    app()
