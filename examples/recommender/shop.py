"""Items and clicks: those of the embedded market, or two CSV files."""

from __future__ import annotations

import csv
import math
import random
from datetime import date
from pathlib import Path

from advlib.corpora.shop import market
from examples.serving import ServingError, usable

LONGEST_TEXT, LONGEST_NAME = 2000, 100  # characters
MOST_ITEMS, MOST_CLICKS = 20_000, 500_000
LEFT_PER_CLICK = 3  # items drawn as "shown and left" for a click, where a file has clicks alone
WORLD = "shop"  # whose words the embedded items are written in

Row = dict[str, object]


def embedded_shop(**settings) -> tuple[list[Row], list[Row]]:
    """Items and clicks of the embedded market, as `read_shop` gives them. settings: of `market`."""
    made = market(**settings)
    items = [dict(id=f"{row.kind}-{row.id}", kind=row.kind, text=row.text,
                  price=float(row.price), released=int(row.day))
             for row in made.items.itertuples()]  # fmt: skip
    name = dict(zip(made.items["id"], (item["id"] for item in items), strict=True))
    clicks = [dict(user=f"user {row.user}", item=name[row.item], day=int(row.day),
                   clicked=int(row.clicked)) for row in made.clicks.itertuples()]  # fmt: skip
    return items, clicks


def read_shop(items_file: Path, clicks_file: Path) -> tuple[list[Row], list[Row]]:
    """Two CSV files in UTF-8.

    items: id, text, and if there are any kind, price, released. clicks: user, item, day, and
    clicked (1, or 0 for what was shown and left). A day is a whole number, or a date as 2026-11-29.
    Where no row was left, three other items that were there on that day are drawn for each click.

    Raises ServingError for the first thing that is wrong, with its row.
    """
    items = [_item(row, where) for row, where in _rows(items_file, ("id", "text"), MOST_ITEMS)]
    known = {item["id"]: item for item in items}
    if len(known) < len(items):
        ids = [item["id"] for item in items]
        twice = next(name for i, name in enumerate(ids) if name in ids[:i])
        raise ServingError(f"{items_file} has the id {twice!r} twice: give each item its own")
    clicks = [_click(row, where, known)
              for row, where in _rows(clicks_file, ("user", "item", "day"), MOST_CLICKS)]
    if all(click["clicked"] for click in clicks):
        clicks += _left(items, clicks)
    if len({click["clicked"] for click in clicks}) < 2:
        raise ServingError(f"{clicks_file} has no row that was clicked, or none that was left: a "
                           "ranker learns from both")  # fmt: skip
    return items, clicks


def _rows(file: Path, needed: tuple[str, ...], most: int) -> list[tuple[dict, str]]:
    """The rows and where each stands, for messages."""
    csv.field_size_limit(1_000_000)
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened, strict=True))
    except OSError as error:
        raise ServingError(f"{file} cannot be read: {error.strerror or error}") from error
    except UnicodeError as error:
        raise ServingError(f"{file} is no text in UTF-8: save it anew") from error
    except csv.Error as error:
        raise ServingError(f"{file} cannot be read as CSV: {error}") from error
    if not rows or not {*needed} <= {*rows[0]}:
        raise ServingError(f"{file} needs a first row with the column names {', '.join(needed)}, "
                           "and rows below it")  # fmt: skip
    if len(rows) > most:
        raise ServingError(f"{file} has {len(rows)} rows, and {most} is the most here: take fewer")
    return [(row, f"row {i} of {file}") for i, row in enumerate(rows, 2)]


def _item(row: dict, where: str) -> Row:
    return dict(id=usable(row["id"], f"the id in {where}", LONGEST_NAME),
                kind=kind_of(row.get("kind"), f"the kind in {where}"),
                text=usable(row["text"], f"the text in {where}", LONGEST_TEXT),
                price=number(row.get("price") or "0", f"the price in {where}"),
                released=_day(row.get("released") or "0", where))  # fmt: skip


def _click(row: dict, where: str, known: dict[str, Row]) -> Row:
    clicked = (row.get("clicked") or "1").strip()
    if clicked not in ("0", "1"):
        raise ServingError(f"clicked in {where} is {clicked[:20]!r}: it is 1, or 0 for what was "
                           "shown and left")  # fmt: skip
    item = (row["item"] or "").strip()
    if item not in known:
        raise ServingError(f"{where} names the item {item[:40]!r}, which is not among the items")
    return dict(user=usable(row["user"], f"the user in {where}", LONGEST_NAME), item=item,
                day=_day(row["day"], where), clicked=int(clicked))  # fmt: skip


def _left(items: list[Row], clicks: list[Row]) -> list[Row]:
    """For each click three items that were there on its day and that its user never clicked."""
    rng, drawn = random.Random(0), []
    taken = {(click["user"], click["item"]) for click in clicks}
    for click in clicks:
        for item in rng.sample(items, min(LEFT_PER_CLICK, len(items))):
            there = item["released"] <= click["day"]
            if there and (click["user"], item["id"]) not in taken:
                drawn.append(click | dict(item=item["id"], clicked=0))
    return drawn


def kind_of(value, what: str = "the kind") -> str:
    """A name, or "" where a shop does not tell kinds apart."""
    return usable(value, what, LONGEST_NAME) if value and str(value).strip() else ""


def number(value, what: str) -> float:
    """Raises ServingError for what is no number that one can count with."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not abs(found) <= 1e9:
        raise ServingError(f"{what} is {str(value)[:20]!r}, and must be a number up to a billion")
    return found


def _day(value: str | None, where: str) -> int:
    value = (value or "").strip()
    try:
        return date.fromisoformat(value).toordinal() if "-" in value[1:] else _whole(value)
    except ValueError as error:
        raise ServingError(f"the day {value[:20]!r} in {where} is neither a whole number nor a "
                           "date such as 2026-11-29") from error  # fmt: skip


def _whole(value: str) -> int:
    if abs(found := int(value)) > 10**6:
        raise ValueError
    return found
