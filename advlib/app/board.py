"""A board that others can enter, with defences and with attacks.

    board/defences/NAME/entry.json   and model/, weights in safetensors, unless they are embedded
    board/attacks/NAME/entry.json    and attack.py, which makes `attack`
    board/results/v1/DEFENCE/ATTACK.json    which texts withstood, by version
    board/lines.jsonl                a line for every number that was ever published

A defence is ranked by the worst case over all attacks on the board: a text counts where no attack
turns it, so numbers can only fall. No entry, result or line is ever changed: a new attack gives
each defence a new dated line, and the old ones stay. docs/board.md is made from these files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from advlib.app.attacker import READS, load_defence
from advlib.app.deploy import _code, _plain
from advlib.app.gate import with_interval
from advlib.app.judge import THREATS, BoardError, check_code, judge, run_attack
from advlib.app.rows import percent, templates
from advlib.data import load_text, texts_hash, texts_of
from advlib.embeddings import embedding_table
from advlib.evaluation import answers
from advlib.models import CHECKPOINTS, embedded_checkpoints
from advlib.statistics import wilson


@dataclass(frozen=True)
class Rules:
    """What is measured, and how closely a re-run has to agree. Whoever changes a setting, a threat
    model of `judge.THREATS` or the texts counts `version` up; two versions are never compared.

    agree: the share of texts on which a re-run says what is on record; other processors add up in
        another order. seconds: of an attack on one defence. size: bytes of a defence.
    """

    version: int = 1
    dated: str = "2026-11-29"
    world: str = "reviews"
    n: int = 200
    agree: float = 0.98
    seconds: float = 300
    size: int = 20_000_000

    def rows(self):
        return load_text(self.world, train_size=1, test_size=self.n)["test"]


RULES = Rules()
NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,39}")
CONTACT = re.compile(r"https://[\w.-]+\.[\w./@-]+|[\w.+-]+@[\w-]+(\.[\w-]+)+")
LICENCES = ("Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0", "CC0-1.0")
MODEL = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
         "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")  # fmt: skip
SHARED = {"name": str, "who": str, "contact": str, "date": str, "licence": str, "board": int,
          "about": str, "sha256": str, "claim": dict}  # fmt: skip
FIELDS = {"defences": SHARED | {"model": str, "read": str | None, "trained against": list},
          "attacks": SHARED | {"threat model": str}}  # fmt: skip
FILES = {"defences": ["entry.json"], "attacks": ["entry.json", "attack.py"]}
HOLDS = {"defences": "a defence is entry.json and, in model/, config.json, a tokenizer's files and "
                     "*.safetensors; it brings no code and no pickle",
         "attacks": "an attack is entry.json and attack.py"}  # fmt: skip
UNIT = 1.5  # how far the embeddings that the texts use may be longer than the table's mean


# ---------------------------------------------------------------------- an entry


@dataclass(frozen=True)
class Entry:
    """A folder that has passed every check that needs no model. said: its entry.json."""

    kind: str  # "defences" or "attacks"
    folder: Path
    said: dict

    @property
    def name(self) -> str:
        return self.said["name"]

    @property
    def defence(self) -> tuple:
        """The first arguments of `load_defence`."""
        own = self.said["model"] == "model"
        return str(self.folder / "model") if own else self.said["model"], self.said["read"]


def read_entry(folder: str | Path, rules: Rules = RULES) -> Entry:
    """The entry in HOME/defences/NAME or HOME/attacks/NAME. Raises BoardError for the first thing
    that is wrong with it. Nothing of it is run or loaded as a model."""
    folder = Path(folder).absolute()
    kind = folder.parent.name
    if kind not in FIELDS or ".." in folder.parts or not NAME.fullmatch(folder.name):
        raise BoardError(f"{folder} is no place for an entry: board/defences/NAME or "
                         "board/attacks/NAME, the name in small letters, digits and -")  # fmt: skip
    _check_files(folder, kind, rules)
    try:
        said = json.loads((folder / "entry.json").read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BoardError(f"entry.json is no JSON: {error}") from error
    _check_said(said, kind, folder, rules)
    entry = Entry(kind, folder, said)
    if kind == "attacks":
        check_code((folder / "attack.py").read_text("utf-8", errors="replace"))
    elif said["model"] == "model":
        _check_weights(folder / "model")
    if (found := files_hash(entry)) != said["sha256"]:
        raise BoardError(f"the files are not those that entry.json names: its sha256 is "
                         f"{said['sha256'][:12]!r}…, theirs is {found}")  # fmt: skip
    return entry


def files_hash(entry: Entry) -> str:
    """SHA-256 of an attack's code, or of a model: name and SHA-256 of each of its files, in the
    order of names."""
    if entry.kind == "attacks":
        return hashlib.sha256((entry.folder / "attack.py").read_bytes()).hexdigest()
    home = CHECKPOINTS / entry.said["model"]
    home = entry.folder / "model" if entry.said["model"] == "model" else home
    files = sorted(f for f in home.iterdir() if f.name in MODEL or f.suffix == ".safetensors")
    return _sha256([[f.name, hashlib.sha256(f.read_bytes()).hexdigest()] for f in files])


def _check_files(folder: Path, kind: str, rules: Rules) -> None:
    if folder.is_symlink() or not folder.is_dir():
        raise BoardError(f"there is no folder {folder}")
    needed, what, size = FILES[kind], HOLDS[kind], 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise BoardError(f"{name} is a link: put the file itself there")
        if path.is_dir() and kind == "defences" and name == "model":
            continue
        model = name.removeprefix("model/") in MODEL or path.suffix == ".safetensors"
        inside = kind == "defences" and name.startswith("model/")
        if not path.is_file() or not (model if inside else name in needed):
            raise BoardError(f"{name} has no place here: {what}")
        size += path.stat().st_size
        if name in needed and path.stat().st_size > 40_000:
            raise BoardError(f"{name} has more than 40 kB")
    if size > rules.size:
        raise BoardError(f"the entry has {size / 1e6:.1f} MB, and {rules.size / 1e6:g} MB are the "
                         "most: save it in half precision, or take a smaller model")  # fmt: skip
    for name in needed:
        if not (folder / name).is_file():
            raise BoardError(f"{name} is missing: {what}")


def _check_said(said, kind: str, folder: Path, rules: Rules) -> None:
    asked = FIELDS[kind]
    have = set(said) if isinstance(said, dict) else set()
    missing, extra = sorted(asked.keys() - have), sorted(have - asked.keys())
    if missing or extra:
        raise BoardError("entry.json " + " and ".join(
            [f"lacks {', '.join(missing)}"] * bool(missing)
            + [f"has {', '.join(extra)}, which nobody asked for"] * bool(extra)))  # fmt: skip
    for name, kinds in asked.items():
        value = said[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise BoardError(f"entry.json: {name} is {value!r} and should be of another kind")
        if isinstance(value, str) and not (0 < len(value) <= 400 and value.isprintable()):
            raise BoardError(f"entry.json: {name} should be one line of 1 to 400 characters")
    checks = {
        "name": (said["name"] == folder.name != "none", f"should be the folder's, {folder.name!r}, "
                 "and not 'none'"),
        "contact": (CONTACT.fullmatch(said["contact"]), "should be a mail address or an https page "
                    "where somebody answers"),
        "licence": (said["licence"] in LICENCES, f"should be one of {', '.join(LICENCES)}"),
        "date": (_is_past(said["date"]), "should be a day such as 2026-11-29, not in the future"),
        "board": (1 <= said["board"] <= rules.version, f"should be {rules.version}, the version of "
                  f"{rules.dated}"),
        "about": (len(said["about"]) >= 20, "should say in a sentence what was done"),
        "claim": (all(isinstance(v, int | float) and 0 <= v <= 1 for v in said["claim"].values())
                  and said["claim"], "should hold shares from 0 to 1"),
    }  # fmt: skip
    if kind == "attacks":
        checks["threat model"] = (said["threat model"] in THREATS, f"should be one of "
                                  f"{', '.join(THREATS)}")  # fmt: skip
    else:
        known = embedded_checkpoints()
        checks |= {
            "model": (said["model"] in ("model", *known), "should be 'model', the folder beside "
                      f"entry.json, or an embedded checkpoint: {', '.join(known)}"),
            "read": (said["read"] in READS, f"should be null or one of "
                     f"{', '.join(filter(None, READS))}"),
            "trained against": (all(str(t) in THREATS for t in said["trained against"]),
                                f"should be a list of some of {', '.join(THREATS)}"),
            "claim": (checks["claim"][0] and set(said["claim"]) == {"clean", "worst case"},
                      "should hold clean and worst case, shares from 0 to 1"),
        }  # fmt: skip
        if said["model"] == "model" and not (folder / "model").is_dir():
            raise BoardError("entry.json: there is no folder model beside it")
        if said["model"] != "model" and (folder / "model").exists():
            raise BoardError(f"there is a folder model, and entry.json names {said['model']!r}: "
                             "which is it?")  # fmt: skip
    for name, (good, why) in checks.items():
        if not good:
            raise BoardError(f"entry.json: {name} is {said[name]!r} and {why}")


def _is_past(day: str) -> bool:
    try:
        return date.fromisoformat(day) <= _today() and len(day) == 10
    except ValueError:
        return False


def _check_weights(folder: Path) -> None:
    for file in folder.glob("*.json"):
        if "auto_map" in file.read_text("utf-8", errors="replace"):
            raise BoardError(f"model/{file.name} asks for code of the model's own (auto_map): take "
                             "an architecture that transformers has")  # fmt: skip
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BoardError("model/ has no weights: model.save_pretrained(folder) writes "
                         "model.safetensors")  # fmt: skip
    for file in files:
        try:
            with safe_open(file, "pt") as weights:
                finite = all(weights.get_tensor(k).isfinite().all() for k in weights.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise BoardError(f"model/{file.name} is no safetensors file: {error}") from error
        if not finite:
            raise BoardError(f"model/{file.name} has weights that are no finite numbers")


# ---------------------------------------------------------------------- measuring


def measure(defence: Entry, attack: Entry | None, rows, rules: Rules) -> dict:
    """Which texts the defence gets right, and still gets right after the attack; None: no attack.
    Raises BoardError where the attack is not what it says, ModelError where the defence cannot be
    loaded."""
    start, texts, labels = sum(os.times()[:4]), texts_of(rows), np.array(rows["label"])
    how = (*defence.defence, rules.world)
    victim = load_defence(*how)
    if len(victim.labels) != len(rows.features["label"].names):
        raise BoardError(f"{defence.name} has the classes {', '.join(victim.labels)}, and the "
                         f"texts {', '.join(rows.features['label'].names)}")  # fmt: skip
    right = answers(victim.logits(texts), labels) == labels
    settings = "none"
    if attack is None:
        _check_unit(victim, texts)
    else:
        where = np.flatnonzero(right)
        tried, threat = [texts[i] for i in where], attack.said["threat model"]
        try:
            settings, found = run_attack(attack.folder / "attack.py", threat, how, tried,
                                         labels[where], rules.seconds)  # fmt: skip
            broken = judge(victim, threat, rules.world, tried, labels[where], found)
            right[where] = np.logical_not(broken)
        except BoardError as error:
            raise BoardError(f"{attack.name} on {defence.name}: {error}") from error
    result = {
        "board": rules.version, "defence": defence.name,
        "attack": attack.name if attack else "none",
        "files": [defence.said["sha256"], attack.said["sha256"] if attack else ""],
        "settings": settings, "n": len(rows), "texts": texts_hash(rows),
        "right": "".join("01"[int(r)] for r in right), "date": str(_today()),
        "versions": {name: version(name) for name in ("advlib", "torch", "transformers")},
        "seconds": round(sum(os.times()[:4]) - start, 1),  # of a processor, the child's too
    }  # fmt: skip
    return result | {"digest": _sha256(result)}


def _check_unit(victim, texts: list[str]) -> None:
    """ε is a share of the mean row of the embedding table. A table in which the rows that no text
    uses are short, or the others long, would shrink ε for this model alone."""
    norms = embedding_table(victim.model).norm(dim=1)
    used = np.unique([i for ids in victim.tokens(texts)["input_ids"] for i in ids])
    ratio = float(norms[used].mean() / norms.mean())
    if not ratio <= UNIT:
        raise BoardError(f"the embeddings of these texts are {ratio:.2g} times as long as the mean "
                         f"of the table, and {UNIT} is the most: ε would be smaller than for "
                         "others")  # fmt: skip


# ---------------------------------------------------------------------- the board


@dataclass
class Board:
    """All that lies in the folder. Raises BoardError where a part does not fit the rest."""

    home: Path
    rules: Rules = RULES
    results: dict[tuple[str, str], dict] = field(default_factory=dict)
    lines: list[dict] = field(default_factory=list)

    def __post_init__(self):
        self.home = Path(self.home)
        if not (self.home / "defences").is_dir():
            raise BoardError(f"there is no board in {self.home}: run this in the project's folder")
        for file in sorted(self.home.glob(f"results/v{self.rules.version}/*/*.json")):
            result = json.loads(file.read_text("utf-8"))
            if result.get("digest") != _sealed(result):
                raise BoardError(f"{file} is not what its digest was made of: results are never "
                                 "edited")  # fmt: skip
            if file != self.file(result["defence"], result["attack"]):
                raise BoardError(f"{file} is a result of something else")
            self.results[result["defence"], result["attack"]] = result
        file, before = self.home / "lines.jsonl", ""
        for k, text in enumerate(file.read_text("utf-8").splitlines() if file.is_file() else []):
            line = json.loads(text)
            if line.get("before") != before or line["digest"] != _sealed(line):
                raise BoardError(f"line {k + 1} of {file} is not what its digest was made of: "
                                 "lines are added, and never changed")  # fmt: skip
            last = self.last().get(line["defence"])
            if last and last["board"] == line["board"] and last["worst case"] < line["worst case"]:
                raise BoardError(f"line {k + 1} of {file} goes up: a worst case can only fall")
            before = line["digest"]
            self.lines.append(line)

    def file(self, defence: str, attack: str) -> Path:
        """Where a result is kept."""
        return self.home / "results" / f"v{self.rules.version}" / defence / f"{attack}.json"

    def _entries(self, kind: str) -> dict[str, Entry]:
        folders = sorted((self.home / kind).glob("*/"))
        return {folder.name: read_entry(folder, self.rules) for folder in folders}

    @cached_property
    def defences(self) -> dict[str, Entry]:
        return self._entries("defences")

    @cached_property
    def attacks(self) -> dict[str, Entry]:
        return self._entries("attacks")

    def of(self, defence: str) -> dict[str, dict]:
        """attack -> result of one defence, "none" first."""
        return {attack: self.results[defence, attack] for attack in ("none", *self.attacks)
                if (defence, attack) in self.results}  # fmt: skip

    def last(self) -> dict[str, dict]:
        """defence -> its newest line of this version, the best first."""
        lines = {line["defence"]: line for line in self.lines
                 if line["board"] == self.rules.version}  # fmt: skip
        return dict(sorted(lines.items(), key=lambda pair: (-pair[1]["worst case"], pair[0])))

    def now(self, name: str) -> dict:
        """What a line says of a defence, by its results."""
        found = self.of(name)
        right = {attack: _right(result) for attack, result in found.items()}
        strongest = min(right, key=lambda attack: right[attack].sum())
        worst = np.logical_and.reduce(list(right.values()))
        return {
            "board": self.rules.version, "defence": name, "who": self.defences[name].said["who"],
            "attacks": [attack for attack in found if attack != "none"], "n": len(worst),
            "clean": int(right["none"].sum()), "worst case": int(worst.sum()),
            "strongest": strongest, "left": int(right[strongest].sum()),
            "results": _sha256([result["digest"] for result in found.values()]),
        }  # fmt: skip

    def new_lines(self, because: str) -> list[dict]:
        """A line for each defence whose results are other than those of its last line."""
        made: list[dict] = []
        for name in self.defences:
            if (name, "none") not in self.results or self._said(name):
                continue
            before = ([*self.lines, *made] or [{"digest": ""}])[-1]["digest"]
            line = {"date": str(_today()), "because": because, **self.now(name), "before": before}
            made.append(line | {"digest": _sealed(line)})
        return made

    def _said(self, name: str) -> bool:
        """Whether the last line of a defence is that of its results."""
        last = self.last().get(name, {})
        return all(last.get(key) == value for key, value in self.now(name).items())

    def check_whole(self) -> None:
        """Raise BoardError unless every defence met every attack, and its last line says so."""
        for name, attack in self.results:
            if name not in self.defences or attack not in ("none", *self.attacks):
                raise BoardError(f"there are results of {attack} on {name}, and one of the two is "
                                 "gone: entries stay")  # fmt: skip
        for name in self.defences:
            missing = [a for a in ("none", *self.attacks) if (name, a) not in self.results]
            if missing or not self._said(name):
                what = f"has not met {', '.join(missing)}" if missing else "has another last line"
                raise BoardError(f"{name} {what}: run advlib board verify board/defences/{name}")


def _right(result: dict) -> np.ndarray:
    return np.array([c == "1" for c in result["right"]])


def verify(folder: str | Path, rules: Rules = RULES, say=print) -> Board:
    """Check an entry, run it against all that is on the board, compare with what is on record and
    with what it claims, then write what is new and the page. Raises BoardError, and writes nothing,
    where one does not hold."""
    entry = read_entry(folder, rules)
    board = Board(entry.folder.parents[1], rules)
    rows, found = rules.rows(), {}
    if entry.kind == "defences":
        pairs = [(entry, attack) for attack in (None, *board.attacks.values())]
    else:
        pairs = [(defence, entry) for defence in board.defences.values()]
    for defence, attack in pairs:
        key = defence.name, attack.name if attack else "none"
        result = measure(defence, attack, rows, rules)
        kept = board.results.get(key)
        if kept:
            _check_same(kept, result, rules)
        found[key] = kept or result
        right = int(_right(result).sum())
        say(f"{key[0]} under {key[1]}: {right} of {result['n']} right, {result['seconds']:g} s"
            + ("; as on record" if kept else ""))  # fmt: skip
    own = (line["attacks"] for line in board.lines if line["defence"] == entry.name)
    _check_claim(entry, found, next(own, list(board.attacks)))
    new = {key: result for key, result in found.items() if key not in board.results}
    board.results |= found
    lines = board.new_lines(f"{entry.kind[:-1]} {entry.name}")
    for key, result in new.items():
        file = board.file(*key)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    with open(board.home / "lines.jsonl", "a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    board.lines += lines
    return board


def _check_same(kept: dict, result: dict, rules: Rules) -> None:
    what = f"{kept['attack']} on {kept['defence']}"
    for name in ("files", "texts", "n", "settings"):
        if kept[name] != result[name]:
            raise BoardError(f"{what}: {name} are other than on record. What was measured stays as "
                             "it is: enter the new one under another name")  # fmt: skip
    other = int((_right(kept) != _right(result)).sum())
    if other > (1 - rules.agree) * result["n"] + 1e-9:
        raise BoardError(f"{what}: the re-run says otherwise on {other} of {result['n']} texts, "
                         f"and {1 - rules.agree:.0%} is the most")  # fmt: skip


def _check_claim(entry: Entry, found: dict, attacks: list[str]) -> None:
    """Every number that the entry claims lies in the 95 % interval of the re-run. attacks: those
    that were on the board when a defence came."""
    right = {key: _right(result) for key, result in found.items()}
    if entry.kind == "defences":
        met = [right[entry.name, attack] for attack in ("none", *attacks)]
        measured = {"clean": met[0], "worst case": np.logical_and.reduce(met)}
    else:
        measured = {defence: hits for (defence, _), hits in right.items()}
    for name, claimed in entry.said["claim"].items():
        if name not in measured:
            raise BoardError(f"the claim is about {name!r}, which is not on the board")
        hits, n = int(measured[name].sum()), len(measured[name])
        low, high = wilson(hits, n)
        if not low - 1e-9 <= claimed <= high + 1e-9:
            raise BoardError(f"the claim for {name} is {claimed:.1%}, and the re-run gives "
                             f"{with_interval(hits, n)}")  # fmt: skip


# ---------------------------------------------------------------------- the page


def table(board: Board) -> list[dict]:
    """The rows of the ranking, as they are shown."""
    return [{
        "": place, "defence": name, "who": line["who"], "date": line["date"],
        "clean": percent(line["clean"] / line["n"]),
        "worst case [95 %]": with_interval(line["worst case"], line["n"]),
        "strongest": f"{line['strongest']} {percent(line['left'] / line['n'])}",
        "attacks": len(line["attacks"]), "board": line["board"], "digest": line["digest"][:16],
    } for place, (name, line) in enumerate(board.last().items(), 1)]  # fmt: skip


def write_page(board: Board, page: str | Path) -> None:
    """docs/board.md, from what lies in the folder and nothing else."""
    board.check_whole()
    accuracy, alone = {}, {name: 0 for name in board.attacks}
    for name in board.last():
        right = {attack: _right(result) for attack, result in board.of(name).items()}
        accuracy[name] = {attack: percent(r.mean()) for attack, r in right.items()}
        for attack in board.attacks:
            others = [r for other, r in right.items() if other != attack]
            alone[attack] += int((np.logical_and.reduce(others) & ~right[attack]).sum())
    settings = {a: board.results[next(iter(board.last())), a]["settings"] for a in board.attacks}
    env = templates()
    env.filters |= dict(code=_code, plain=_plain)
    text = env.get_template("board.md").render(
        rows=table(board), lines=board.lines, attacks=board.attacks, defences=board.defences,
        accuracy=accuracy, alone=alone, settings=settings, rules=board.rules, threats=THREATS,
        licences=LICENCES, unit=UNIT,
    )  # fmt: skip
    Path(page).write_text(text, "utf-8")


def _today() -> date:
    return datetime.now(UTC).date()


def _sealed(part: dict) -> str:
    return _sha256({key: value for key, value in part.items() if key != "digest"})


def _sha256(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
