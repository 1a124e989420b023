"""A project of one's own, kept as a folder: `course capstone start` and `course capstone check`.

    FOLDER/README.md            the report, in words: a form to fill in, which is the model card too
    FOLDER/own.json             the numbers of your own threat model: see `write_own`
    FOLDER/pairs.csv            fifty texts before and after the attack, and what people say of them
    FOLDER/plain/card.json      advlib evaluate PLAIN    --protocol text --out FOLDER/plain …
    FOLDER/defended/card.json   advlib evaluate DEFENDED --protocol text --out FOLDER/defended …
    FOLDER/again/card.json      the same command once more, in a fresh process

`check` says what is missing, a sentence each. Cards are read by the gate (`advlib.app.gate`), which
computes seals and intervals anew. What a program cannot tell, whether the words are true and the
judgement was honest, is for a person to read. Nothing in the folder is run.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from pathlib import Path

import pandas as pd

from advlib.app.gate import (
    HEADINGS,
    Policy,
    Unreadable,
    agrees,
    counted,
    gate,
    is_number,
    part_of,
    read_card,
    read_text,
    rows_of,
    sections,
    without_comments,
)
from advlib.app.protocol import PROTOCOLS
from advlib.statistics import wilson

CARDS = ("plain", "defended", "again")
ROWS = {"plain": ("clean", "control", "attack", "worst"),
        "defended": ("clean", "control", "attack", "adaptive", "worst")}  # fmt: skip
LEAST_TEXTS, LEAST_PAIRS, LEAST_WORDS, LEAST_SENTENCES = 100, 50, 40, 3
LEAST_QUERIES = 100  # of an attack with a limit that is said to search the whole threat model
# Settings that say how an attack searches, and not what it may do.
SEARCH = {"rank", "beam", "goal", "seed", "steps", "step_size", "random_start", "restarts"}
PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz"}
POLICY = Policy({"n": LEAST_TEXTS, "threat_models": 3, "attacks": ["Noise"]}, name="the capstone")
# Heading of the report -> the names under which it may stand.
PARTS = {"Intended use": HEADINGS["intended_use"], "Threat model": HEADINGS["threat_models"],
         "Data and labels": ("data and labels",), "Result": ("result",),
         "Limits": HEADINGS["limits"]}  # fmt: skip
A_ROW = {"name": "clean", "threat model": "none", "n": 0, "hits": 0, "accuracy": 0, "low": 0,
         "high": 0}  # fmt: skip
COLUMNS = ("original", "changed", "label")  # of pairs.csv, beside a column "judge NAME" for each
FORM = """\
# TODO: the name of the project

Digest of the defended model's evaluation: TODO

## Intended use

<!-- What the model decides, and for whom. -->
TODO

## Threat model

<!-- One sentence: who may change what, by how much, and what they know. The attack's repr, too. -->
TODO

## Data and labels

<!-- Where the texts come from, their licence, who gave the labels. Who judged the pairs, blind or
not, how often, and what share of them kept its label. -->
TODO

## Result

<!-- Clean, control, attack, adaptive attack; both models; n; intervals; what it cost. -->
TODO

## Limits

<!-- What was not attacked, and for which texts nothing is known. -->
TODO

## An honest failure

<!-- What did not come out as you had hoped, with its number; at least three sentences. -->
TODO
"""
OWN = {"threat model": "", "sentence": "", "models": {"plain": [A_ROW], "defended": []},
       "keep best": [{"queries": 0, "hits": 0}], "pairs": {}, "cost": {"training": 0}}  # fmt: skip


def start(folder: str | Path) -> Path:
    """Make a project's folder with the form to fill in. Raises ValueError where it has files."""
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already: name a new folder, nothing was written")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "README.md").write_text(FORM, "utf-8")
    write_own(folder, OWN)
    write_pairs(folder, [])
    return folder


def write_own(folder: str | Path, own: dict) -> None:
    """Write own.json.

    "threat model": the attack's repr. "sentence": the same for a reader.
    "models": {"plain": rows, "defended": rows}, each row with name, threat model, n, hits,
        accuracy, low, high; `course.lesson_20.workshop.table` makes them. Names: clean, control
        (one random change), attack, worst (right under all of them, text by text); of the defended
        one adaptive, too. Of the plain one "random search", whose limit of queries for each text
        is what the attack took on average. Each attack is a part of the stated threat model, and
        of each model one searches the whole of it, such as "full search".
    "keep best": [{"queries", "hits"}, …], how many texts withstand an attacker who may ask so often
        and keeps the best.
    "pairs": what `judged` returns. "cost": seconds by name, such as {"training": 310.0}.
    """
    text = json.dumps(own, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (Path(folder) / "own.json").write_text(text, "utf-8")


def write_pairs(folder: str | Path, pairs: list[dict], judge: str = "judge NAME") -> None:
    """Write pairs.csv, with an empty column for the first judge: yes, the label is kept, or no."""
    table = pd.DataFrame(pairs, columns=[*COLUMNS, judge])
    table.to_csv(Path(folder) / "pairs.csv", index=False, lineterminator="\n")


def check(folder: str | Path) -> tuple[list[str], list[str]]:
    """(what is missing, what a reader should know all the same), a sentence each.

    Raises ValueError where there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}: `course capstone start {folder}` makes it")
    missing, notes = _no_pickle(folder), []

    def read(how, name: str):
        if not (folder / name).is_file():
            twice = " (evaluate the defended model a second time)" * name.startswith("again")
            missing.append(f"The file {name} is missing{twice}.")
            return None
        try:
            return how(folder / name)
        except Unreadable as error:
            file = Path(name).name  # the gate calls every file a card
            for said in error.sentences:
                said = said.replace(f"{file} is no JSON of a card", "it is no JSON")
                said = said.replace(f"{file} is no card: it holds",
                                    "it must be an object in braces {…}, and holds")  # fmt: skip
                missing.append(f"{name}: {said}")

    report, own = read(read_text, "README.md"), read(read_card, "own.json")
    rows = read(read_pairs, "pairs.csv")
    cards = {name: read(read_card, f"{name}/card.json") for name in CARDS}
    missing += _cards(cards)
    if own is not None:
        missing += [*_threat(own), *_rows(own), *_parts(own), *_keep_best(own), *_cost(own)]
        notes += _searched(_named(own, "plain"))
    if rows is not None:
        said, more = _pairs(rows, (own or {}).get("pairs"))
        missing, notes = missing + said, notes + more
    if report is not None:
        missing += _report(report, cards["defended"])
    return missing, notes


# ---------------------------------------------------------------------- the parts of a check


def _no_pickle(folder: Path) -> list[str]:
    """Files that can run code when they are loaded, by their names or their first bytes."""
    found = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as opened:
                begins = opened.read(2)
            if file.suffix.lower() in PICKLES or begins in (b"\x80\x02", b"\x80\x04", b"\x80\x05"):
                found.append(str(file.relative_to(folder)))
    return [f"{name} may be a pickle, which runs code when it is loaded: keep weights as "
            "safetensors and numbers as text." for name in found]  # fmt: skip


def _cards(cards: dict) -> list[str]:
    said = []
    for name, card in cards.items():
        if card is None:
            continue
        said += [f"{name}/card.json: {sentence}" for sentence in gate(card, POLICY)]
        known = PROTOCOLS.get(str(card.get("protocol")).partition(",")[0])
        version = card.get("version")
        if known and version != known.version:
            said.append(f"{name}/card.json was made with version {version} of its protocol, and "
                        f"now there is {known.version}: make it again.")  # fmt: skip
        if not known and not (isinstance(version, int) and card.get("protocol")):
            said.append(f"{name}/card.json names no protocol and version: make it with `advlib "
                        "evaluate --protocol text`.")  # fmt: skip
        said += _control_of(name, card)
    first, again = cards.get("defended"), cards.get("again")
    if first and again:
        if first.get("digest") != again.get("digest"):
            said.append("The digest of again/card.json is not that of defended/card.json: the "
                        "result did not repeat in a fresh process.")  # fmt: skip
        elif first == again:
            said.append("again/card.json is a copy of defended/card.json: run the evaluation once "
                        "more, in a fresh process.")  # fmt: skip
    texts = {json.dumps([card.get("protocol"), card["data"].get("sha256")])
             for card in cards.values() if card and isinstance(card.get("data"), dict)}  # fmt: skip
    if len(texts) > 1:
        said.append("The cards are about different texts or protocols, so they cannot be compared.")
    return said


def _control_of(name: str, card: dict) -> list[str]:
    """The noise of a card beside its strongest attack of the same size."""
    hits = {str(row.get("attack")): row.get("hits") for row in rows_of(card)
            if isinstance(row.get("hits"), int)}  # fmt: skip
    if "Noise" in hits and "PGD" in hits and hits["Noise"] < hits["PGD"]:
        return [f"{name}/card.json: noise does more harm than PGD of the same size, so PGD failed."]
    return []


def _threat(own: dict) -> list[str]:
    said, stated = [], own.get("threat model")
    if not _is_repr(stated):
        said.append("own.json: the threat model is not the repr of an attack with its settings, "
                    "such as PGD(eps=0.1, steps=20).")  # fmt: skip
    elif not any(str(row.get("threat model")).startswith(stated.partition("(")[0] + "(")
                 for row in _named(own, "plain").values()):  # fmt: skip
        said.append("own.json: no row of the plain model is an attack of the stated kind, "
                    f"{stated.partition('(')[0]}(…).")  # fmt: skip
    sentence = str(own.get("sentence") or "").lower().split()
    if len(sentence) < 8 or len({*sentence}) < 6:
        said.append("own.json: the threat model needs a sentence that a reader without Python "
                    "understands (eight words or more).")  # fmt: skip
    return said


def _is_repr(stated) -> bool:
    """Whether it reads as an attack with its settings. It is parsed, and never run."""
    try:
        call = ast.parse(str(stated), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return isinstance(call, ast.Call) and bool(call.keywords or call.args)


def _settings(stated) -> dict:
    """The settings that a repr names, of the attack inside it, too: `Random(Typos(…), …)`."""
    call, found = ast.parse(str(stated), mode="eval").body, {}
    for part in call.args:
        if isinstance(part, ast.Call):
            found |= _settings(ast.unparse(part))
    for keyword in call.keywords:
        try:
            value = ast.literal_eval(keyword.value)
        except ValueError:  # an object, such as (KeepWords(),)
            parts = keyword.value.elts if isinstance(keyword.value, ast.Tuple) else [keyword.value]
            value = tuple(map(ast.unparse, parts))
        found[str(keyword.arg)] = value
    return {name: value for name, value in found.items() if name not in SEARCH}


def _beyond(mine: dict, stated: dict) -> str | None:
    """The first setting by which an attack is no part of what is stated; None: it is a part."""
    for name, most in stated.items():
        its = mine.get(name, ())
        if name == "constraints":
            fits = {*map(str, most)} <= {*map(str, its)}
        elif name not in mine:
            fits = False
        elif isinstance(most, tuple) and isinstance(its, tuple):
            fits = {*map(str, its)} <= {*map(str, most)}
        elif is_number(most) and is_number(its):
            fits = its <= most
        else:
            fits = its == most
        if not fits:
            return name
    return None


def _is_whole(mine: dict, stated: dict) -> bool:
    """Whether an attack may do all that is stated, and asks often enough to be a search."""
    free = {name: value for name, value in mine.items()
            if name in stated or name in ("constraints", "part")}  # fmt: skip
    limit = mine.get("max_queries")
    asks = limit is None or "max_queries" in stated or is_number(limit) and limit >= LEAST_QUERIES
    return asks and not _beyond(mine, stated) and not _beyond(stated, free)


def _parts(own: dict) -> list[str]:
    """Whether what was attacked is what is stated: each row a part of it, and one row the whole."""
    if not _is_repr(own.get("threat model")):
        return []
    said, stated = [], _settings(own["threat model"])
    for model in part_of(own, "models"):
        rows = {name: _settings(row["threat model"])
                for name, row in _named(own, model).items()
                if name not in ("clean", "worst") and _is_repr(row.get("threat model"))}
        for name, mine in rows.items():
            if key := _beyond(mine, stated):
                has = f"{key}={mine[key]!r}" if key in mine else f"no {key}"
                said.append(f"own.json: the row “{name}” of the {model} model is no part of the "
                            f"stated threat model: it has {has}, and stated is {key}="
                            f"{stated[key]!r}. State what was attacked, or attack what is stated.")
        if rows and not any(_is_whole(mine, stated) for name, mine in rows.items()
                            if name != "control"):  # fmt: skip
            said.append(f"own.json: no row of the {model} model searches the whole stated threat "
                        f"model with {LEAST_QUERIES} queries or more for each text, so its “worst” "
                        "is not the worst of that: workshop.table with `threat` adds such a row.")
    return said


def _named(own: dict, model: str) -> dict[str, dict]:
    rows = rows_of({"rows": part_of(own, "models").get(model)})
    return {str(row.get("name")): row for row in rows}


def _rows(own: dict) -> list[str]:
    said, sizes = [], set()
    for model in dict.fromkeys([*ROWS, *part_of(own, "models")]):
        rows = _named(own, model)
        for name in dict.fromkeys([*ROWS.get(model, ()), *rows]):
            wrong = _wrong_with(rows.get(name), name)
            if wrong:
                said.append(f"own.json: the row “{name}” of the {model} model {wrong}.")
                rows.pop(name, None)
            else:
                sizes.add(rows[name]["n"])
        said += _order(model, rows)
    if any("is missing" in sentence or "(hits)" in sentence for sentence in said):
        said.append(f"own.json: a row has {', '.join(A_ROW)}, such as the one in a new folder; "
                    "course.lesson_20.workshop.table makes all rows of a model.")  # fmt: skip
    if len(sizes) > 1:
        said.append("own.json: the rows are about different numbers of texts.")
    if sizes and min(sizes) < LEAST_TEXTS:
        said.append(f"own.json: {min(sizes)} texts are too few to say anything: take "
                    f"{LEAST_TEXTS} or more.")  # fmt: skip
    first, second = (_named(own, model).get("attack", {}).get("threat model") for model in ROWS)
    if first and second and first != second:
        said.append("own.json: the two models met different attacks, so they cannot be compared.")
    return said


def _wrong_with(row: dict | None, name: str) -> str | None:
    """What is wrong with one row by itself; None: nothing."""
    if row is None:
        return "is missing"
    if not counted(row):
        return "does not say how many texts are right (hits), of how many"
    if not agrees(row, *counted(row), within=1e-6):
        return "has an accuracy or an interval that is not Wilson's of its hits and n"
    if name not in ("clean", "worst") and not _is_repr(row.get("threat model")):
        return "does not name its threat model, the attack's repr"
    return None


def _order(model: str, rows: dict[str, dict]) -> list[str]:
    """What must hold between the rows of one model; rows that are not there say nothing."""
    said, hits = [], {name: row["hits"] for name, row in rows.items() if counted(row)}
    for name in ("control", "random search", "attack", "adaptive"):
        if {"clean", name} <= hits.keys() and hits[name] > hits["clean"]:
            said.append(f"own.json: the {model} model is right more often under the {name} than "
                        "without it: whoever attacks may leave a text alone.")  # fmt: skip
        if {"worst", name} <= hits.keys() and hits["worst"] > hits[name]:
            said.append(f"own.json: the worst case of the {model} model is better than its "
                        f"{name} alone, so it is none.")  # fmt: skip
    if model == "plain" and {"control", "attack"} <= hits.keys():
        if rows["attack"]["accuracy"] >= rows["control"]["low"]:
            said.append("own.json: on the plain model the attack does not beat its control by more "
                        "than the control's interval, so chance alone may do as much.")  # fmt: skip
    if model == "defended" and {"attack", "adaptive"} <= hits.keys():
        if hits["adaptive"] > hits["attack"]:
            said.append("own.json: the adaptive attack is weaker than the plain one: whoever knows "
                        "the defence can still use the plain attack.")  # fmt: skip
        if rows["adaptive"].get("threat model") == rows["attack"].get("threat model"):
            said.append("own.json: the adaptive attack is the plain attack again: change what the "
                        "defence makes useless.")  # fmt: skip
    return said


def _searched(rows: dict[str, dict]) -> list[str]:
    """Whether chance with a limit of queries does as much as the attack: no fault, but a note."""
    whole = {name for name, row in rows.items() if counted(row)}
    if "attack" not in whole:
        return []
    if "random search" not in whole:
        return ["Random search, with what the attack asks on average as its limit, was not "
                "measured, so it is not known what the attack's search is worth."]  # fmt: skip
    attack, chance = rows["attack"], rows["random search"]
    if attack["hits"] / attack["n"] >= wilson(chance["hits"], chance["n"])[0]:
        return ["The attack does not beat random search, which may ask as often as the attack does "
                "on average, by more than its interval: it is not shown that the attack's search "
                "is worth its queries."]  # fmt: skip
    return []


def _keep_best(own: dict) -> list[str]:
    found = own.get("keep best")
    numbers = [(row.get("queries"), row.get("hits")) for row in rows_of({"rows": found})]
    if len(numbers) < 3 or len(numbers) < len(found) or not all(
            isinstance(x, int) for pair in numbers for x in pair):  # fmt: skip
        return ["own.json: “keep best” needs three budgets or more, each with queries and hits."]
    pairs = list(zip(numbers, numbers[1:], strict=False))
    if any(b[0] <= a[0] for a, b in pairs):
        return ["own.json: the budgets under “keep best” do not rise."]
    if any(b[1] > a[1] for a, b in pairs):
        return ["own.json: with more queries more texts withstand, so the attack does not keep its "
                "best."]  # fmt: skip
    attack = _named(own, "plain").get("attack", {})
    asked, (most, stand) = attack.get("queries"), numbers[-1]
    # Only texts that cost more than `most` can differ, and of them there are asked / most at most.
    asks = counted(attack) and is_number(asked) and most > 0
    if asks and stand > attack["hits"] + attack["n"] * asked / most:
        return [f"own.json: under “keep best” {stand} texts withstand {most} queries, and the "
                f"attack leaves {attack['hits']} with {asked:g} on average: these are not of one "
                "attack."]  # fmt: skip
    return []


def _cost(own: dict) -> list[str]:
    cost = part_of(own, "cost")
    if bad := [name for name, x in cost.items() if not is_number(x) or x < 0]:
        return [f"own.json: the cost of “{bad[0]}” must be a number of seconds, such as 310.0."]
    if not sum(cost.values()) > 0:
        return ["own.json: the cost is missing: seconds of training and of the attack, by name."]
    return []


def _report(text: str, card: dict | None) -> list[str]:
    said, plain = [], without_comments(text)
    digest = (card or {}).get("digest")
    if not isinstance(digest, str) or digest not in plain:
        said.append("README.md does not name the digest of the defended model's evaluation: copy "
                    "`digest` from defended/card.json.")  # fmt: skip
    filled = sections(plain)
    said += [f"README.md says nothing under “{name}”."
             for name, names in PARTS.items() if not any(map(filled.get, names))]  # fmt: skip
    failure = below(text, "an honest failure")
    sentences = len(re.findall(r"[.!?](?:\s|$)", failure))
    if len(failure.split()) < LEAST_WORDS or sentences < LEAST_SENTENCES:
        said.append("README.md: under “An honest failure” say what did not come out, in "
                    f"{LEAST_SENTENCES} sentences and {LEAST_WORDS} words or more (there are "
                    f"{sentences} and {len(failure.split())}).")  # fmt: skip
    elif not re.search(r"\d", failure):
        said.append("README.md: the honest failure has no number: say how large it is.")
    return said


def below(text: str, heading: str) -> str:
    """What stands under a heading of a Markdown page, up to the next one, without comments."""
    parts = re.split(r"^#{1,6}\s+(.*?)\s*#*$", without_comments(text), flags=re.M)
    named = zip(map(str.lower, parts[1::2]), parts[2::2], strict=True)
    return dict(named).get(heading, "").strip()


# ---------------------------------------------------------------------- pairs and their judges


def read_pairs(file: str | Path) -> list[dict]:
    """The rows of pairs.csv. Raises Unreadable where a column is missing."""
    text = read_text(file).removeprefix("\ufeff")  # which spreadsheets put before UTF-8
    reader = csv.DictReader(io.StringIO(text), restkey="more")
    try:
        columns, rows = reader.fieldnames or [], list(reader)
    except csv.Error as error:
        raise Unreadable(f"It is no CSV: {error}.") from error
    if lacking := [name for name in COLUMNS if name not in columns]:
        raise Unreadable(f"The column {lacking[0]} is missing; columns are set apart by commas.")
    return rows


def judges(rows: list[dict]) -> dict[str, list[str]]:
    """Judge -> what each said of the pairs: "yes", "no", or "" where nothing was said."""
    return {name: answers for name, answers in _columns(rows).items() if any(answers)}


def _columns(rows: list[dict]) -> dict[str, list[str]]:
    names = [name for name in (rows[0] if rows else {}) if str(name).startswith("judge")]
    return {name: [str(row[name] or "").strip().lower() for row in rows] for name in names}


def judged(rows: list[dict]) -> dict:
    """What the judges found: {"n", "hits", "accuracy", "low", "high", "judges", "kappa"}. A pair
    counts as kept where all say so. kappa: of the first two judges; None for one judge."""
    found = list(judges(rows).values())
    n = len(rows)
    hits = sum(all(said == "yes" for said in row) for row in zip(*found, strict=True))
    low, high = wilson(hits, n)
    return {"n": n, "hits": hits, "accuracy": hits / n, "low": low, "high": high,
            "judges": len(found),
            "kappa": kappa(*found[:2]) if len(found) > 1 else None}  # fmt: skip


def kappa(first: list[str], second: list[str]) -> float | None:
    """Cohen's kappa of two judges; None where both gave one and the same answer to everything, for
    then chance would agree as well."""
    n = len(first)
    agree = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum(first.count(x) * second.count(x) for x in {*first, *second}) / n**2
    return None if chance == 1 else (agree - chance) / (1 - chance)


def _pairs(rows: list[dict], stated) -> tuple[list[str], list[str]]:
    said, notes = [], []
    if len(rows) < LEAST_PAIRS:
        said.append(f"pairs.csv has {len(rows)} pairs: judge {LEAST_PAIRS} or more.")
    if any(row["original"] == row["changed"] for row in rows):
        said.append("pairs.csv has a pair of which nothing was changed.")
    if len({(row["original"], row["changed"]) for row in rows}) < len(rows):
        said.append("pairs.csv has a pair twice.")
    found = judges(rows)
    if not found:
        return [*said, "pairs.csv was judged by nobody: fill in a column “judge NAME” with yes "
                "(the label is kept) or no."], notes  # fmt: skip
    said += [f"pairs.csv: the column “{name}” is empty: fill it in, or delete it."
             for name in _columns(rows) if name not in found]  # fmt: skip
    for name, answers in found.items():
        if bad := [answer for answer in answers if answer not in ("yes", "no")]:
            said.append(f"pairs.csv: {name} has {len(bad)} answers that are neither yes nor no.")
    if said:
        return said, notes
    right = judged(rows)
    if not isinstance(stated, dict) or any(
            stated.get(key) != value if value is None or isinstance(value, int)
            else not isinstance(stated.get(key), int | float)
            or not value - 1e-6 <= stated[key] <= value + 1e-6
            for key, value in right.items()):  # fmt: skip
        said.append(f"own.json: under “pairs” stands something else than pairs.csv gives: "
                    f"{right['hits']} of {right['n']} kept, interval {right['low']:.3f} to "
                    f"{right['high']:.3f}, judges {right['judges']}, kappa "
                    f"{'null' if right['kappa'] is None else format(right['kappa'], '.3f')}.")
    if len(found) == 1:
        notes.append("One person judged the pairs, so nobody knows how far two would agree: a "
                     "second judge is missing.")  # fmt: skip
    elif right["kappa"] is None:
        notes.append("All judges gave the same answer to every pair, so kappa says nothing.")
    return said, notes
