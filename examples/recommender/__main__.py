"""python -m examples.recommender                                 the embedded market
python -m examples.recommender --data ITEMS.csv CLICKS.csv     a shop of your own
python -m examples.recommender --train                         train on the clicks so far, and end
"""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import Annotated

import typer

from examples.serving import Limiter, ServingError

STORE = Path("runs/recommender/store.sqlite")


command = typer.Typer(add_completion=False, rich_markup_mode=None)


def plainly(function):
    """Errors that a user can mend become one sentence instead of a traceback."""

    @wraps(function)
    def wrapped(**values):
        from advlib.models import ModelError  # with PyTorch, which `--help` needs nothing of

        try:
            function(**values)
        except (ServingError, ModelError, OSError) as error:
            sys.exit(f"recommender: {error}")

    return wrapped


@command.command(help=__doc__)
@plainly
def start(
    store: Annotated[Path, typer.Option(help="The file that keeps everything.")] = STORE,
    data: Annotated[
        tuple[Path, Path] | None,
        typer.Option(help="CSV of items (id, text; kind, price, released) and of clicks (user, "
                     "item, day; clicked). They get a store of their own."),
    ] = None,
    reader: Annotated[str, typer.Option(help="The model that reads opinions.")] = "reviews-robust",
    plain: Annotated[
        bool, typer.Option("--plain", help="Read the words as they are; else those that mean the "
                           "same are made equal first.")
    ] = False,
    train: Annotated[bool, typer.Option("--train", help="Train, and end.")] = False,
    per_minute: Annotated[float, typer.Option(help="Requests of a client in a minute.")] = 120,
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 7863,
) -> None:
    from examples.recommender import app
    from examples.recommender.shop import embedded_shop, read_shop
    from examples.recommender.store import ShopStore

    limiter = Limiter(per_minute, burst=max(20, int(per_minute / 6)))
    if data and store == STORE:
        store = STORE.with_name(f"{data[0].stem}.sqlite")
    kept, shop = ShopStore(store), None
    if data:
        shop = read_shop(*data)
    elif kept.is_empty():
        shop = embedded_shop()
    read, name = app.load_reader(reader, plain), reader + ("" if plain else ", words made equal")
    if shop:  # only now: a wrong name of a model leaves the store empty for the next try
        kept.fill(*shop)
    if train or kept.ranker(name) is None:
        print(f"{store}: a ranker was trained on {app.train(kept, read, name)} rows", flush=True)
    if train:
        return
    from examples.recommender.api import routes
    from examples.recommender.page import CSS, page
    from examples.serving import serve

    arguments = ["--reader", reader, *["--plain"] * plain]
    recommender = app.Recommender(kept, read, name, limiter, arguments)
    serve(routes(recommender), page(recommender), host, port, css=CSS)


if __name__ == "__main__":
    command(prog_name="python -m examples.recommender")
