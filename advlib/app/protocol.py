"""A fixed test for text classifiers, and a card of its result that others can check.

As RobustBench does for images (Croce et al., NeurIPS 2021, arXiv 2010.09670), a protocol fixes
what usually differs from paper to paper: threat models, number of texts, seeds, calibration. Any
change of these is a new version, and results of two versions are not compared.
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from torch import nn

from advlib.app.certificates import certificates
from advlib.app.recipes import for_text
from advlib.app.rows import interval, percent
from advlib.attacks import FGM, PGD, Noise, Typos, WordSubstitution
from advlib.attacks.words import KeepWords
from advlib.corpora import WORLDS
from advlib.data import load_text, texts_hash, texts_of
from advlib.evaluation import MAJORITY, NothingToTry, robustness
from advlib.fairness import by_group
from advlib.models import CHECKPOINTS, Classifier, embedded_checkpoints, load_classifier
from advlib.onnx import FILE, NoGradients, OnnxModel, exported_file


@dataclass(frozen=True)
class Protocol:
    """What is measured. Whoever changes a setting, or what an attack does with it, counts
    `version` up.

    n: texts of the test split. calibration: texts of the validation split, for the temperature.
    eps: the size of the embedding attacks, where it is to be chosen; None: it is fixed.
    """

    name: str
    version: int
    attacks: tuple
    n: int = 500
    calibration: int = 500
    eps: float | None = None

    def at(self, eps: float | None) -> Protocol:
        """This protocol with its embedding attacks at eps, which becomes part of its name; None: at
        its own. Raises ValueError where eps is fixed or no size."""
        if self.eps is None:
            if eps is not None:
                raise ValueError(f"the protocol {self.name} fixes eps: leave --eps out, or take "
                                 "--protocol text, where it is a setting")  # fmt: skip
            return self
        eps = self.eps if eps is None else float(eps)
        attacks = tuple(replace(a, eps=eps) if hasattr(a, "eps") else a for a in self.attacks)
        return replace(self, name=f"{self.name}, eps = {eps!r}", attacks=attacks, eps=eps)


PROTOCOLS = {
    "standard": Protocol("standard", 3, (
        Noise(0.3), FGM(0.3), PGD(0.3, steps=20, restarts=5), WordSubstitution(),
        Typos(max_changed=0.2, constraints=(KeepWords(),)),
    )),
    # For text of any kind. Real models differ in how far their words lie apart: choose eps.
    "text": Protocol("text", 1, (
        Noise(0.1), FGM(0.1), PGD(0.1, steps=20, restarts=5), *for_text(),
    ), eps=0.1),
}  # fmt: skip

LEADERBOARD = """\
| model | data | protocol | n | clean | strongest attack | worst case [95 %] | calibrated | digest |
|---|---|---|--:|--:|---|--:|--:|---|
"""
# Not covered by the digest: what may differ where the same model meets the same texts. A folder may
# be called anything; a processor that adds up in another order may find one query more or less.
# Groups have a digest of their own, so that a card has the same one with and without them.
UNSEALED = {"digest", "name", "versions", "seconds", "queries", "forward", "changed",
            "temperature", MAJORITY, "groups", "certified"}  # fmt: skip
# Of a row. They and the majority class came later than the first published digests, which stay as
# they are: macro-F1 and classes follow from the same answers as `hits`, the majority class and
# texts without a candidate from the texts. What they would show of a model that learned nothing is
# sealed as `warning`.
UNSEALED_IN_ROWS = {"macro_f1", "classes", "untried"}


def evaluate(
    source: str | Path, data: str = "reviews", protocol: str | Protocol = "standard", *,
    eps: float | None = None, test: str | Path | None = None, n: int | None = None,
    device: str | None = None, batch_size: int | None = None, progress: bool = False,
    groups: str | None = None, certify: bool = False, **columns,
) -> dict:  # fmt: skip
    """Put a model through a protocol. Returns its card, a dict that goes into JSON as it is.

    source: as for `load_classifier`. data, test, columns: as for `load_text`. Of a single file a
        fifth is tested on: where the model was trained on that file, name another as `test`.
    eps: the size of the embedding attacks, for the protocol "text"; the card then says "text, eps =
        …", and another eps is another protocol.
    n: so many test texts instead of the protocol's. The card then says "standard, n = …", and so
        it does where the data have fewer texts.
    groups: a column of the test texts, of a world "domain". The card then has, under "groups",
        clean accuracy and worst case of each group that stands in it.
    certify: the card gets a further part, "certified", how many of the texts are proved robust (see
        `advlib.app.certificates`). The digest does not cover it.

    An attack that has a `world` takes the one that the data are, and is left out where they are
    none, for elsewhere nobody knows which words keep the label, and so is one that has nothing to
    try on any text; the card says so. Of a model that `advlib export` wrote all attacks that need
    gradients are left out, and the protocol's name says "without gradients". Raises ValueError with
    a sentence for an unknown protocol, and for a model or data that cannot be used.
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise ValueError(f"there is no protocol {protocol!r}: choose one of {known}")
        protocol = PROTOCOLS[protocol]
    protocol = protocol.at(eps)
    victim = load_classifier(source, device=device)
    size = protocol.n if n is None else n
    few = {"train_size": 1} if data in WORLDS else {}  # of a world no more need be made
    splits = load_text(data, test=test, test_size=size, groups=groups, **few, **columns)
    rows, held_out = splits["test"], splits["validation"]
    held_out = held_out.select(range(min(protocol.calibration, len(held_out))))
    others = check_classes(victim.labels, rows.features["label"].names)
    of = rows["group"] if groups else []
    if 2 * len(set(of)) > len(of):
        raise ValueError(f"the column {groups!r} has {len(set(of))} groups for {len(of)} texts, "
                         "and fewer than two texts a group say nothing: name another with "
                         "--groups, or take more texts")  # fmt: skip
    attacks = [a for a in protocol.attacks if data in WORLDS or not hasattr(a, "world")]
    left_out = {a: f"the data are not the world {a.world!r}"
                for a in protocol.attacks if a not in attacks}  # fmt: skip
    attacks = [replace(a, world=data) if hasattr(a, "world") else a for a in attacks]
    served = isinstance(victim.model, OnnxModel)
    for attack in [a for a in attacks if served and needs_gradients(a, victim, rows)]:
        attacks.remove(attack)
        left_out[attack] = "an exported model has no gradients"
    settings = dict(calibrate_on=held_out, batch_size=batch_size, progress=progress)
    table = None
    while table is None:
        try:
            table = robustness(victim, rows, attacks, **settings)
        except NothingToTry as error:
            attacks.remove(error.attack)
            left_out[error.attack] = "it has nothing to try on any of these texts"
    lines = table.astype(object).where(table.notna(), None).to_dict("records")
    for row in lines:
        row["hits"] = round(row["accuracy"] * row["n"])
    constant = lines.pop(1)
    card = {
        "protocol": protocol.name + ", without gradients" * served
                    + f", n = {len(rows)}" * (len(rows) != protocol.n),
        "version": protocol.version,
        "model": {"name": _short(source), "sha256": weights_hash(source, victim.model)},
        "data": {"name": _short(test or data), "n": len(rows), "sha256": texts_hash(rows)},
        "calibration": {"n": len(held_out), "sha256": texts_hash(held_out),
                        "temperature": table.attrs["temperature"]},
        "rows": lines[: 1 + len(attacks)],
        "worst case": lines[-1],  # where there is one attack, that attack
        MAJORITY: constant,
        "left out": [f"{a!r}: {why}" for a, why in left_out.items()],
        "versions": {name: version(name) for name in ("advlib", "torch", "transformers")},
    } | others  # fmt: skip
    if table.attrs["warning"]:  # of a model that collapsed, or is no better than one answer to all
        card["warning"] = table.attrs["warning"]
    card["digest"] = digest(card)
    if groups:
        clean, worst = table.attrs["robust"][0], table.attrs["robust"][-1]
        card["groups"] = group_table(groups, clean, worst, of)
        card["groups"]["digest"] = groups_digest(card)
    if certify:
        card["certified"] = certificates(victim, rows, data)
    return card


def group_table(column: str, clean: list[bool], worst: list[bool], groups: list[str]) -> dict:
    """What a card says of groups: the column, and of each group, the lowest worst case first, its
    name, n, and hits, accuracy and 95 % interval, clean and in the worst case.

    clean, worst: (n,) whether each text is right, without attack and under all of them.
    """
    unattacked = {row["group"]: row for row in by_group(clean, groups)}
    numbers = ("hits", "accuracy", "low", "high")
    return {"column": column, "rows": [
        {"group": row["group"], "n": row["n"],
         "clean": {key: unattacked[row["group"]][key] for key in numbers},
         "worst case": {key: row[key] for key in numbers}}
        for row in by_group(worst, groups)
    ]}  # fmt: skip


def needs_gradients(attack, victim: Classifier, rows) -> bool:
    """Whether an attack asks for what an exported model does not have: tried on one text, with the
    model's own answer for its label, so that it is attacked."""
    if hasattr(attack, "passes"):
        return True
    texts = texts_of(rows)[:1]
    try:
        attack(victim, texts, victim.logits(texts).argmax(1))
    except NoGradients:
        return True
    return False


def digest(card: dict) -> str:
    """SHA-256 of what should be equal wherever the same weights meet the same texts: the protocol,
    the hashes of weights and texts, and how many texts withstood each attack (`hits`, and the
    accuracies, intervals and success rates that follow from them), also after calibration; and the
    warning, where there is one.

    Of these, too, one can differ where a text stands on the very edge; the cards show where.
    """

    def kept(part: dict) -> dict:
        left_out = UNSEALED | (UNSEALED_IN_ROWS if "attack" in part else set())
        return {key: value for key, value in part.items() if key not in left_out}

    sealed = json.loads(json.dumps(card), object_hook=kept)
    return _sha256([json.dumps(sealed, sort_keys=True).encode()])


def groups_digest(card: dict) -> str:
    """SHA-256 of what a card says of groups, names too, and of the card's own digest."""
    said = {key: value for key, value in card["groups"].items() if key != "digest"}
    return _sha256([json.dumps([digest(card), said], sort_keys=True).encode()])


def verify(card: dict) -> bool:
    """Whether the numbers of a card are those that its digest was made of, and those of its groups,
    where it has them, those of theirs.

    This is a checksum and not the signature of a person: it shows a number that was edited, by
    slip or in haste, but whoever edits a card can compute a new digest as well. What proves a card
    is to run `evaluate` again and to find the same digest. Names are not covered, for the hashes
    of weights and texts say what was measured; nor are costs, the temperature, macro-F1 and what
    follows from the texts alone (`UNSEALED`, `UNSEALED_IN_ROWS`).
    """
    groups = card.get("groups", {})
    whole = not groups or isinstance(groups, dict) and groups.get("digest") == groups_digest(card)
    return card.get("digest") == digest(card) and whole


def leaderboard_line(card: dict) -> str:
    """The card as one row of a Markdown table whose head is `LEADERBOARD`."""
    (clean, *attacked), worst = card["rows"], card["worst case"]
    strongest = min(attacked or [clean], key=lambda r: r["accuracy"])
    warning = card.get("warning", "").partition(":")[0].lower()
    cells = [
        card["model"]["name"], card["data"]["name"], f"{card['protocol']} (v{card['version']})",
        str(worst["n"]), percent(clean["accuracy"]) + f", {warning}" * bool(warning),
        f"{strongest['attack']} {percent(strongest['accuracy'])}", interval(worst),
        percent(worst["calibrated"]), card["digest"][:16],
    ]  # fmt: skip
    return "| " + " | ".join(map(_cell, cells)) + " |\n"


def publish(card: dict, folder: str | Path) -> bool:
    """Write FOLDER/card.json and add the card to FOLDER/leaderboard.md, unless its digest stands
    there. Returns whether a row was added."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    board = folder / "leaderboard.md"
    lines = board.read_text(encoding="utf-8") if board.is_file() else LEADERBOARD
    lines = lines.rstrip("\n") + "\n"  # an editor may have taken the last one away
    new = card["digest"][:16] not in lines
    board.write_text(lines + leaderboard_line(card) * new, encoding="utf-8")
    return new


# ---------------------------------------------------------------------- parts


def weights_hash(source: str | Path, model: nn.Module) -> str:
    """SHA-256 of a folder's *.safetensors, in the order of their names (`cat *.safetensors |
    sha256sum`); of model.onnx where the model is exported; of names and tensors of the state dict
    where the model comes from the Hub."""
    if exported := exported_file(source):
        return _sha256([exported.read_bytes()])
    home = CHECKPOINTS if str(source) in embedded_checkpoints() else Path()
    if files := sorted((home / Path(source).expanduser()).glob("*.safetensors")):
        return _sha256(file.read_bytes() for file in files)
    state = sorted(model.state_dict().items())
    return _sha256(name.encode() + tensor.cpu().numpy().tobytes() for name, tensor in state)


def _sha256(parts: Iterable[bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()


def check_classes(model: list[str], data: list[str]) -> dict:
    """Nothing where the names are the same; else {"classes": the data's name -> the model's}, by
    place, for whoever reads the card to judge. Raises ValueError where they cannot fit."""
    ours, theirs = [name.lower() for name in model], [name.lower() for name in data]
    if len(ours) != len(theirs) or (ours != theirs and sorted(ours) == sorted(theirs)):
        raise ValueError(f"the model's classes are {', '.join(model)} and those of the data "
                         f"{', '.join(data)}: both need the same, in the same order")  # fmt: skip
    return {} if ours == theirs else {"classes": dict(zip(data, model, strict=True))}


def _short(source: str | Path) -> str:
    """A folder's or file's own name; names of worlds and of the Hub as they are."""
    path = Path(source).expanduser()
    if path.name == FILE:
        return f"{path.resolve().parent.name}/{FILE}"
    return path.resolve().name if path.exists() else str(source)


def _cell(text: str) -> str:
    text = html.escape(" ".join(text.split()), quote=False)
    return text.replace("\\", "\\\\").replace("|", "\\|")
