"""python -m examples.assistant                      with the embedded bank
python -m examples.assistant --data FILE.csv      with questions of your own
python -m examples.assistant import FILE.csv      more of them
python -m examples.assistant staff NAME           a key for a person who answers
"""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from examples.assistant.history import embedded_history, read_history
from examples.serving import Limiter, ServingError

STORE = Path("runs/assistant/store.sqlite")
app = typer.Typer(add_completion=False, help=__doc__, rich_markup_mode=None)
Store = Annotated[Path, typer.Option("--store", help="The file that keeps everything.")]


def plainly(command):
    """Errors that a user can mend become one sentence instead of a traceback."""

    @wraps(command)
    def wrapped(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except (ServingError, OSError) as error:
            sys.exit(f"assistant: {error}")

    return wrapped


@app.callback(invoke_without_command=True)
@plainly
def start(
    context: typer.Context,
    store: Store = STORE,
    data: Annotated[
        Path | None, typer.Option(help="CSV: question, answer, intent, source. Has its own store.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="letters, an embedded model, or a folder, also one of `advlib export`."),
    ] = None,
    most_wrong: Annotated[
        float, typer.Option(help="The share of answers that may be wrong on past questions.")
    ] = 0.05,
    per_minute: Annotated[float, typer.Option(help="Requests of a client in a minute.")] = 60,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 7861,
) -> None:
    """Start the assistant: a page and an API on one port."""
    if context.invoked_subcommand:
        return
    from examples.assistant.api import routes
    from examples.assistant.app import Assistant
    from examples.assistant.page import CSS, page
    from examples.assistant.store import QuestionStore
    from examples.serving import serve

    limiter = Limiter(per_minute, burst=max(20, int(per_minute / 6)))
    if data and store == STORE:
        store = STORE.with_name(f"{data.stem}.sqlite")
    kept = QuestionStore(store)
    if data:
        told(kept.add(read_history(data)), store)
    elif not kept.intents() and not kept.history():
        told(kept.add(embedded_history()), store)
    if not kept.has_staff():
        for name in ("ann", "ben"):
            print(f"{name} answers and confirms with the key {kept.new_key(name)}")
    assistant = Assistant(kept, model, most_wrong, limiter)
    print(f"{assistant.name}: answers from confidence {assistant.sure:.2f} and likeness "
          f"{assistant.like:.2f} on, by vote from {assistant.clear:.2f} on")  # fmt: skip
    serve(routes(assistant), page(assistant), host, port, css=CSS)


@app.command("import")
@plainly
def import_(file: Path, store: Store = STORE) -> None:
    """Add past questions from a CSV file: all of them or, where a row is wrong, none. A running
    assistant answers from them at once; its classifier reads them at the next start."""
    from examples.assistant.store import QuestionStore

    told(QuestionStore(store).add(read_history(file)), store)


@app.command()
@plainly
def staff(name: str, store: Store = STORE) -> None:
    """Make a key for a person who answers and confirms. An earlier key of this name ends."""
    from examples.assistant.store import QuestionStore

    print(f"{name} answers and confirms with the key {QuestionStore(store).new_key(name)}")


def told(added: tuple[int, int], store: Path) -> None:
    print(f"{store}: {added[0]} past questions are new, {added[1]} were there already", flush=True)


if __name__ == "__main__":
    app(prog_name="python -m examples.assistant")
