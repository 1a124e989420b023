"""How numbers and rows are written: in the terminal, the report, a model card and a leaderboard."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from advlib.evaluation import short

MISSING = "–"


def percent(share: float | None) -> str:
    return MISSING if share is None else f"{share:.1%}"


def interval(row: dict) -> str:
    """Accuracy and its 95 % interval."""
    return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def score(value: float | None) -> str:
    return MISSING if value is None else f"{value:.2f}"


def number(value: float | None) -> str:
    """Three digits, or as many as stand before the point."""
    return MISSING if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def duration(seconds: float | None) -> str:
    """A time with three digits and its unit."""
    if seconds is None:
        return MISSING
    size, unit = (3600, "h") if seconds >= 3600 else (60, "min") if seconds >= 600 else (1, "s")
    return f"{seconds / size:.3g} {unit}"


def cells(row: dict) -> dict[str, str]:
    """A row of `advlib.robustness` (None where there is no number) as it is shown."""
    return {
        "attack": row["attack"],
        "accuracy [95 %]": interval(row),
        "calibrated": percent(row.get("calibrated")),
        "macro-F1": score(row.get("macro_f1")),
        "classes": number(row.get("classes")),
        "success": percent(row.get("success")),
        "changed": number(row.get("changed")),
        "queries": number(row.get("queries")),
        "passes": f"{number(row.get('forward'))} + {number(row.get('backward'))}",
        "time": duration(row.get("seconds")),
    }


def line(text) -> str:
    """One line without anything invisible, such as marks that turn the reading direction."""
    return "".join(c if c.isprintable() else "�" for c in " ".join(str(text).split()))


def some(names: list[str]) -> list[str]:
    """The first twelve names, each short, and how many more there are."""
    rest = len(names) - 12
    return [*map(short, names[:12]), *[f"{rest} more"] * (rest > 0)]


@cache
def templates() -> Environment:
    """The pages in `templates`. What goes into HTML is escaped; the one of Markdown has filters of
    its own for that."""
    made = Environment(
        loader=PackageLoader("advlib.app"), autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    made.filters |= dict(percent=percent, interval=interval, number=number, duration=duration)
    return made
