"""A gate before use: what an evaluation must show and a model card must say, or the model waits.

`advlib gate CARD --policy POLICY` reads the card that `advlib evaluate` wrote and a policy in TOML,
and says everything that is missing or too low, each in a sentence. Exit codes: 0 passes, 1 refused,
2 card, model card or policy cannot be read.

A bar is for the lower end of the 95 % Wilson interval, so that few texts are no excuse: 9 of 10
right may be chance. `bound = "value"` takes the accuracy itself.

The interval is computed here, from how many texts are right, and compared with what the card says.
A card's digest shows a slip and no fraud: whoever edits a card can compute a new one (`verify`).
Where much depends on it, run `advlib evaluate` again in the same job, and let the gate read that.

Nothing from a card is run, and its text is printed as one line without control characters.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from advlib.app.protocol import digest, verify
from advlib.app.rows import line
from advlib.evaluation import short
from advlib.statistics import wilson

MOST_BYTES = 10_000_000  # of a file that is read
Z2 = 1.959963984540054**2
# A heading of the model card says one of these.
HEADINGS = {
    "threat_models": ("threat models", "threat model"),
    "limits": ("limits", "limitations", "bias, risks, and limitations"),
    "intended_use": ("use", "uses", "intended use", "intended uses", "direct use"),
    "contact": ("contact", "model card contact"),
}
# What stands in a form that nobody filled in.
EMPTY = {"", "todo", "tbd", "none", "n/a", "na", "unknown", "more information needed", "your text",
         "none only clean accuracy was measured", "empty"}  # fmt: skip


class Unreadable(ValueError):
    """A card, model card or policy that cannot be read. `sentences`: all that is wrong with it."""

    def __init__(self, *sentences: str):
        self.sentences = list(sentences)
        super().__init__(" ".join(sentences))


# ---------------------------------------------------------------------- the policy


def _must(be: str, good: Callable) -> Callable:
    """What is wrong with a value of which `good` does not hold; None: nothing."""
    return lambda value: None if good(value) else f"must be {be}, and is {_shown(value)}"


def _share(value) -> str | None:
    if not is_number(value) or math.isnan(value):
        return f"must be a share such as 0.9, and is {_shown(value)}"
    if 1 < value <= 100:
        return f"is a share from 0 to 1, and {value:g} is out of reach: write {value / 100:g}"
    if value >= 1:
        return f"= {value:g} is out of reach: no number of texts shows that all others are right"
    return f"= {value:g} asks for nothing: leave it out" if value <= 0 else None


def _whole(least: int) -> Callable:
    return _must(f"a whole number from {least} on", lambda v: type(v) is int and v >= least)


def _is_name(value) -> bool:
    return isinstance(value, str) and bool(value.strip())


_flag = _must("true or false", lambda v: isinstance(v, bool))
_bound = _must('"low" or "value"', lambda v: v in ("low", "value"))
_name = _must("a name", _is_name)
_names = _must("a list of names such as ['PGD']",
               lambda v: isinstance(v, list) and v and all(map(_is_name, v)))  # fmt: skip

KEYS = {
    "evaluation": {
        "protocols": _names, "attacks": _names, "threat_models": _whole(1), "left_out": _whole(0),
        "n": _whole(1), "calibration": _whole(1), "clean": _share, "worst_case": _share,
        "calibrated": _share, "bound": _bound, "allow_warning": _flag,
    },
    "groups": {"column": _name, "n": _whole(1), "clean": _share, "worst_case": _share},
    "model_card": dict.fromkeys(HEADINGS, _flag),
}  # fmt: skip


@dataclass(frozen=True)
class Policy:
    """What is asked for. The keys of each part are those of `KEYS`; a part or a key that is not
    there asks for nothing, but a policy that asks for nothing at all is none.

    evaluation: protocols (one of these; ", n = …" behind the name does not count), attacks (all of
        these were measured), threat_models (so many different ones at least; 1), left_out (so many
        attacks may be; any), n and calibration (texts at least), clean, worst_case, calibrated
        (the worst case after calibration) as shares, bound ("low", the lower end of the interval,
        or "value"), allow_warning (false: a model that collapsed, or is not clearly better than one
        answer to all, is refused).
    groups: column, n (texts of every group at least), clean and worst_case of every group.
    model_card: threat_models, limits, intended_use, contact: true where the model card must say so.

    Raises Unreadable with a sentence for each key that is unknown, of the wrong type or out of
    reach.
    """

    evaluation: dict = field(default_factory=dict)
    groups: dict | None = None
    model_card: dict = field(default_factory=dict)
    name: str = "this policy"

    def __post_init__(self):
        wrong = []
        for part, known in KEYS.items():
            found = getattr(self, part)
            if not isinstance(found, dict | None) or found is None and part != "groups":
                wrong.append(f"{part} must be a table, [{part}], and is {_shown(found)}.")
                continue
            for key, value in (found or {}).items():
                if key not in known:
                    wrong.append(f"{part} has no key {_shown(key)}: there are {', '.join(known)}.")
                elif said := known[key](value):
                    wrong.append(f"{part}.{key} {said}.")
        wrong = wrong or self._contradictions()
        if wrong:
            raise Unreadable(*(f"{self.name}: {sentence}" for sentence in wrong))

    def _contradictions(self) -> list[str]:
        """Bars that no card can meet, and a policy that asks for nothing."""
        wrong, low = [], self.low
        for part in ("evaluation", "groups"):
            asked = getattr(self, part) or {}
            n, clean = asked.get("n"), asked.get("clean", 1.0)
            for key in ("clean", "worst_case", "calibrated"):
                bar = asked.get(key)
                if bar is None:
                    continue
                if n and low and wilson(n, n)[0] < bar:
                    wrong.append(f"{part}.{key} = {bar:g} is out of reach of {n} texts, all of "
                                 f"them right: ask for n = {needed(bar)} or more.")  # fmt: skip
                if bar > clean:
                    wrong.append(f"{part}.{key} = {bar:g} is above clean = {clean:g}, and under "
                                 "attack no more texts are right than without.")  # fmt: skip
        asked = set(self.evaluation) - {"bound", "allow_warning"} or self.groups is not None
        if not asked and not any(self.model_card.values()):
            wrong.append("it asks for nothing, so everything would pass.")
        return wrong

    @property
    def low(self) -> bool:
        return self.evaluation.get("bound", "low") == "low"


def needed(bar: float) -> int:
    """How many texts, all of them right, have `bar` below their interval: n / (n + z²) ≥ bar."""
    return math.ceil(bar * Z2 / (1 - bar) - 1e-9)


def read_policy(file: str | Path) -> Policy:
    """The policy in a TOML file. Raises Unreadable."""
    file = Path(file)
    try:
        found = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise Unreadable(f"{file.name} is no TOML: {line(error)}.") from error
    if unknown := [part for part in found if part not in KEYS]:
        raise Unreadable(*(f"{file.name} has no part {_shown(part)}: there are "
                           f"{', '.join(KEYS)}." for part in unknown))  # fmt: skip
    return Policy(**found, name=file.name)


def read_card(file: str | Path) -> dict:
    """The card in a JSON file. Raises Unreadable."""

    def once(pairs: list[tuple]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("one of its keys stands there twice")
        return dict(pairs)

    def number(text: str):
        raise ValueError(f"{text} is no number")

    file = Path(file)
    text = read_text(file)
    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=number)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else line(error)
        raise Unreadable(f"{file.name} is no JSON of a card: {said}.") from error
    if not isinstance(found, dict):
        raise Unreadable(f"{file.name} is no card: it holds {_shown(found)}.")
    return found


def read_text(file: str | Path) -> str:
    """A file in UTF-8 that is no larger than a card or a policy. Raises Unreadable."""
    file = Path(file)
    try:
        if file.stat().st_size > MOST_BYTES:
            raise Unreadable(f"{file.name} has more than {MOST_BYTES / 1e6:.0f} MB: no card or "
                             "policy is that large.")  # fmt: skip
        return file.read_text("utf-8")
    except UnicodeError as error:
        raise Unreadable(f"{file.name} is no text in UTF-8.") from error
    except OSError as error:
        raise Unreadable(f"{line(file)} cannot be read: {error.strerror or error}.") from error


# ---------------------------------------------------------------------- the gate


def gate(card: dict, policy: Policy, model_card: str | None = None) -> list[str]:
    """A sentence for each thing that is missing in a card or below the policy's bar; none: it
    passes. model_card: the text of the model's README.md, where there is one."""
    said = [
        *_seal(card), *_measured(card, policy), *_numbers(card), *_bars(card, policy),
        *_groups(card, policy), *_written(card, policy, model_card),
    ]  # fmt: skip
    return list(dict.fromkeys(said))  # with one attack its row and the worst case are the same


def _seal(card: dict) -> list[str]:
    try:
        whole, main = verify(card), card.get("digest") == digest(card)
    except (TypeError, ValueError, AttributeError, KeyError, RecursionError):
        whole = main = False
    if main and not whole:
        return ["The numbers of the groups are not those of their digest: they were edited."]
    return [] if whole else ["The numbers of the card are not those of its digest: it was edited, "
                             "or is no card of `advlib evaluate`."]  # fmt: skip


def _measured(card: dict, policy: Policy) -> list[str]:
    """Protocol, attacks, texts, warning."""
    asked, said = policy.evaluation, []
    attacked = rows_of(card)[1:]
    names = {str(row.get("attack")) for row in attacked}
    threats = {str(row.get("threat model")).strip() for row in attacked} - {"None", "none", ""}
    silent = [row for row in attacked
              if str(row.get("threat model") or "none").strip() in ("", "none")]  # fmt: skip
    if silent:
        listed = _listed(row.get("attack") for row in silent)
        said.append(f"The threat model is missing for {listed}.")
    least = asked.get("threat_models", 1)
    if len(threats) < least:
        said.append(f"The card has {len(threats)} different threat models, and the policy asks for "
                    f"{least} or more.")  # fmt: skip
    protocol = re.sub(r", n = \d+$", "", str(card.get("protocol")))
    if "protocols" in asked and protocol not in asked["protocols"]:
        said.append(f"The protocol is {_shown(protocol)}, and the policy takes "
                    f"{_listed(asked['protocols'])}.")  # fmt: skip
    left_out = card.get("left out") if isinstance(card.get("left out"), list) else []
    for name in asked.get("attacks", ()):
        if name not in names:
            why = [short(line(s), 200) for s in left_out if str(s).startswith(f"{name}(")]
            said.append(f"{name} was not measured{' and was left out: ' * bool(why)}"
                        f"{'; '.join(why)}.")  # fmt: skip
    if len(left_out) > asked.get("left_out", math.inf):
        said.append(f"{len(left_out)} attacks were left out, and the policy allows "
                    f"{asked['left_out']}: {_listed(left_out)}.")  # fmt: skip
    for part, key, what in (("data", "n", "test"), ("calibration", "calibration", "calibration")):
        n = _count(part_of(card, part).get("n"))
        if n is None:
            said.append(f"The card does not say how many {what} texts there are.")
        elif n < asked.get(key, 1):
            said.append(f"The evaluation has {n} {what} texts, and the policy asks for "
                        f"{asked[key]} or more.")  # fmt: skip
    if card.get("warning") and not asked.get("allow_warning", False):
        said.append(f"The evaluation warns: {short(line(card['warning']), 300).rstrip('.')}.")
    return said


def _numbers(card: dict) -> list[str]:
    """Whether the numbers fit together: who edits a card can make a new digest, but must make all
    of them fit."""
    said, n = [], _count(part_of(card, "data").get("n"))
    rows = rows_of(card)
    if not rows:
        said.append("The card has no rows, so nothing was measured.")
    elif rows[0].get("attack") != "none":
        said.append("The first row of the card is not the one without attack.")
    if isinstance(card.get("rows"), list) and len(rows) < len(card["rows"]):
        said.append("One of the rows of the card is no row.")
    worst = card.get("worst case")
    if not isinstance(worst, dict):
        said.append("The card has no worst case.")
    right = []
    for row in [*rows, *[worst] * isinstance(worst, dict)]:
        name = "The worst case" if row is worst else f"The row {_shown(row.get('attack'))}"
        found = counted(row)
        if found is None:
            said.append(f"{name} does not say how many texts are right, of how many.")
            continue
        right.append(found[0])
        if n is not None and found[1] != n:
            said.append(f"{name} is about {found[1]} texts, and the card about {n}.")
        if not agrees(row, *found):
            said.append(f"{name} has numbers that do not fit together: {found[0]} of {found[1]} "
                        f"right is {with_interval(*found)}.")  # fmt: skip
    if counted(worst) and counted(worst)[0] > min(right):
        said.append("The worst case is better than one of its attacks alone, so it is none.")
    return said


def _bars(card: dict, policy: Policy) -> list[str]:
    rows, worst = rows_of(card), part_of(card, "worst case")
    clean = rows[0] if rows and rows[0].get("attack") == "none" else {}
    found = {
        "clean": ("Without attack", counted(clean)),
        "worst_case": ("In the worst case", counted(worst)),
        "calibrated": ("In the worst case after calibration", _calibrated(worst)),
    }
    return [sentence for key, (what, level) in found.items() if key in policy.evaluation
            for sentence in _below(what, level, policy.evaluation[key], policy.low)]  # fmt: skip


def _groups(card: dict, policy: Policy) -> list[str]:
    asked, found = policy.groups, card.get("groups")
    if asked is None and found is None:
        return []
    asked = asked or {}
    column = asked.get("column", "COLUMN")
    if not isinstance(found, dict) or not isinstance(found.get("rows"), list) or not found["rows"]:
        return ["The card says nothing of groups: make it with `advlib evaluate --groups "
                f"{line(column)}`."]  # fmt: skip
    said, rows = [], found["rows"]
    if "column" in asked and found.get("column") != asked["column"]:
        said.append(f"The groups are those of {_shown(found.get('column'))}, and the policy asks "
                    f"for {_shown(asked['column'])}.")  # fmt: skip
    groups = []
    for row in rows:
        row = row if isinstance(row, dict) else {"group": row}
        parts, n = [part_of(row, key) for key in ("clean", "worst case")], _count(row.get("n"))
        counts = [counted(part | {"n": n}) for part in parts]
        if None in counts or not all(map(agrees, parts, *zip(*counts, strict=True))):
            name = row.get("group")
            said.append(f"The numbers of the group {_shown(name)} are missing or do not fit.")
            continue
        groups.append((str(row.get("group")), n, *(hits for hits, _ in counts)))
    totals = [counted(row) for row in (*(rows_of(card) or [{}])[:1], part_of(card, "worst case"))]
    sums = [(sum(g[i] for g in groups), sum(g[1] for g in groups)) for i in (2, 3)]
    if len(groups) == len(rows) and None not in totals and totals != sums:
        said.append("The groups do not add up to the numbers of the card.")
    if len({name for name, *_ in groups}) < len(groups):
        said.append("A group stands in the card twice.")
    few = [f"{short(line(name))} ({n})" for name, n, *_ in groups if n < asked.get("n", 1)]
    if few:
        have = "groups have" if len(few) > 1 else "group has"
        said.append(f"{len(few)} {have} fewer than {asked['n']} texts: {', '.join(few[:9])}"
                    f"{' and others' * (len(few) > 9)}.")  # fmt: skip
    for key, what, place in (("clean", "Without attack", 2), ("worst_case", "Attacked", 3)):
        if key not in asked or not groups:
            continue
        level = [(_level(g[place], g[1], policy.low), g) for g in groups]
        _, lowest = min(level)
        below = sum(value < asked[key] for value, _ in level)
        more = f" ({below} of {len(groups)} groups are below that)" * (below > 1)
        name = f"{what}, the lowest of {len(groups)} groups, {_shown(lowest[0])}"
        said += [s.removesuffix(".") + more + "." for s in
                 _below(name, (lowest[place], lowest[1]), asked[key], policy.low)]  # fmt: skip
    return said


def _written(card: dict, policy: Policy, text: str | None) -> list[str]:
    asked = [key for key in HEADINGS if policy.model_card.get(key)]
    if text is None:
        wanted = ", ".join(asked).replace("_", " ")
        return [f"The policy asks for a model card ({wanted}), and none was given: name it with "
                "--model-card."] * bool(asked)  # fmt: skip
    said, text = [], without_comments(text)
    if not isinstance(card.get("digest"), str) or card["digest"] not in text:
        said.append("The model card is about another evaluation, or none: it does not name the "
                    "digest of this one.")  # fmt: skip
    filled = sections(text)
    for key in asked:
        if not any(filled.get(name) for name in HEADINGS[key]):
            said.append(f"The model card says nothing under the heading "
                        f"{_shown(HEADINGS[key][0].capitalize())}.")  # fmt: skip
    return said


def sections(text: str) -> dict[str, bool]:
    """The headings of a page in Markdown, in lower case, and whether anything stands below: not a
    form that nobody filled in. A part of code is no heading; what is below a smaller heading is
    also below the larger one."""
    found: dict[str, bool] = {}
    above: list[tuple[int, str]] = []
    fence = None
    for row in text.splitlines():
        mark = re.match(r" {0,3}(```+|~~~+)", row)
        if mark and not fence:
            fence = mark[1]
            continue
        if mark and mark[1].startswith(fence) and not row.strip().strip(fence[0]):
            fence = None
            continue
        head = None if fence else re.match(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$", row)
        if head:
            level = len(head[1])
            above = [(deep, name) for deep, name in above if deep < level]
            name = head[2].strip("*_` :").lower()
            above.append((level, name))
            found.setdefault(name, False)
            continue
        said = re.sub(r"[\s*_`>|#\[\](){}.…:+-]+", " ", row.lower()).strip()
        said = re.sub(r"^(contact|e ?mail)( |$)", "", said)
        if said not in EMPTY and re.search(r"\w", said):
            for _, name in above:
                found[name] = True
    return found


# ---------------------------------------------------------------------- parts


def _below(what: str, found: tuple[int, int] | None, bar: float, low: bool) -> list[str]:
    """A sentence where the share is below the bar, or not known."""
    if found is None:
        return [f"{what}, the card does not say how many texts are right."]
    hits, n = found
    if _level(hits, n, low) >= bar:
        return []
    where = "at the lower end of the interval" if low else "at least"
    more = ""
    if low and wilson(n, n)[0] < bar:
        more = f"; {n} texts cannot show that even if all are right, take {needed(bar)} or more"
    return [f"{what}, {hits} of {n} texts are right, {with_interval(hits, n)}, and the policy asks "
            f"for {100 * bar:.4g} % {where}{more}."]  # fmt: skip


def _level(hits: int, n: int, low: bool) -> float:
    return wilson(hits, n)[0] if low else hits / n


def with_interval(hits: int, n: int) -> str:
    low, high = wilson(hits, n)
    return f"{hits / n:.1%} [{low:.1%}, {high:.1%}]"


def part_of(card: dict, key: str) -> dict:
    return card[key] if isinstance(card.get(key), dict) else {}


def rows_of(card: dict) -> list[dict]:
    rows = card.get("rows")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value) -> int | None:
    return value if type(value) is int and 1 <= value < 10**12 else None


def counted(row) -> tuple[int, int] | None:
    """(right, of how many), where a row says so."""
    hits, n = (row.get(key) for key in ("hits", "n")) if isinstance(row, dict) else (None, None)
    return (hits, n) if _count(n) and type(hits) is int and 0 <= hits <= n else None


def _calibrated(row: dict) -> tuple[int, int] | None:
    """The same after calibration, of which a card has the share alone."""
    share, n = row.get("calibrated"), _count(row.get("n"))
    if n is None or not is_number(share) or not 0 <= share <= 1:
        return None
    hits = round(share * n)
    return (hits, n) if abs(hits - share * n) < 1e-6 else None


def agrees(row: dict, hits: int, n: int, within: float = 1e-9) -> bool:
    """Whether accuracy and interval of a row are those of `hits` in n."""
    wanted = zip(("accuracy", "low", "high"), (hits / n, *wilson(hits, n)), strict=True)
    return all(isinstance(row.get(key), int | float) and -1 < row[key] < 2
               and abs(row[key] - value) < within for key, value in wanted)  # fmt: skip


def without_comments(text: str) -> str:
    """A page in Markdown, less what no reader sees."""
    return re.sub(r"<!--.*?(-->|\Z)", "", text, flags=re.S)


def _listed(items) -> str:
    shown = [_shown(item) for item in items]
    return ", ".join(shown[:5]) + (f" and {len(shown) - 5} more" if len(shown) > 5 else "")


def _shown(value) -> str:
    """What stands in a file, as one short line."""
    if isinstance(value, str):
        return f"“{short(line(value), 60)}”"
    return short(line(json.dumps(value, default=str)), 60)
