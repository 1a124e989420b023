"""A run as two files: `report.json` for programs, `report.html` for people.

The page is one file, `templates/report.html`: no script, nothing loaded from elsewhere. All that
comes from the data or from the command line is escaped, and a policy in the page forbids the
browser to run or load more.
"""

from __future__ import annotations

import base64
import json
import math
from pathlib import Path

from advlib import plots
from advlib.app.in_words import in_words
from advlib.app.rows import cells, interval, percent, some, templates
from advlib.corpora import words
from advlib.corpora.engine import WORD
from advlib.evaluation import MAJORITY, short

MODELS = {"adversarial": "adversarially trained"}
COLLAPSED = "Collapsed"  # how the warning of `evaluation.collapse` begins


def write_report(folder: Path, run: dict) -> Path:
    """Write `report.json` and `report.html` into `folder`; return the path of the page.

    run: what `experiment` returns. Parts that are missing or empty are left out of the page. From
    `evaluation` come `warnings` (model -> `collapse`), `verdicts` (attack -> `compare`) and
    `majority` (the row of the majority class); `used` is what training really used, defaults too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = _plain(run)
    kept = json.dumps(run, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    # A path may hold bytes that are no text; JSON can escape them, a page shows a question mark.
    (folder / "report.json").write_text(kept, "utf-8", errors="backslashreplace")
    page = folder / "report.html"
    page.write_text(_page(run), "utf-8", errors="replace")
    return page


def warnings(run: dict) -> list[str]:
    """A sentence for each model that has learned nothing, or has not been shown to."""
    found = {model: said for model, said in (run.get("warnings") or {}).items() if said}
    out = []
    for model in sorted(found, key=lambda m: not found[m].startswith(COLLAPSED)):
        kind, _, numbers = found[model].partition(": ")
        kind = "has collapsed" if kind == COLLAPSED else f"is {kind[:1].lower()}{kind[1:]}"
        out.append(f"The {MODELS.get(model, model)} model {kind}: {numbers}")
    return out


def result_sentence(run: dict) -> str:
    """The result in one sentence, whichever way it went."""
    table, share = run.get("table") or [], (run.get("majority") or {}).get("accuracy")
    if not table:
        return "No model was evaluated."
    at = {(r["model"], r["attack"]): r for r in table}
    attacks = list(dict.fromkeys(r["attack"] for r in table))
    shown = [a for a in attacks if a in ("none", "PGD", "WordSubstitution")]
    if shown in ([], ["none"]):
        shown = list(dict.fromkeys([*shown, attacks[-1]]))
    parts = []
    models = dict.fromkeys(r["model"] for r in table)
    for model in sorted(models, key=lambda m: m == "adversarial"):  # what is judged comes last
        right = [f"on {at[model, a]['accuracy']:.1%}" + ("" if a == "none" else f" {_under(a)}")
                 for a in shown if (model, a) in at]  # fmt: skip
        noun = "one" if parts else "model is right"
        parts += [f"the {MODELS.get(model, model)} {noun} {_join(right)}"] if right else []
    verdicts: dict[str, list[str]] = {}
    for a in shown:
        if found := (run.get("verdicts") or {}).get(a):
            verdicts.setdefault(found["verdict"], []).append(_under(a))
    ending = ", ".join(f"{verdict} {_join(where)}" for verdict, where in verdicts.items())
    if ending and any((run.get("warnings") or {}).values()):
        ending = "so neither is called better by its accuracy"
    sentence = "T" + "; ".join(parts)[1:] + (f": {ending}." if ending else ".")
    sentence = sentence.replace("%", f"% of the {table[0]['n']} test texts", 1)
    if share is not None:
        sentence += f" Always the most frequent class: right on {share:.1%}, whatever the attack."
    return sentence


def _page(run: dict) -> str:
    data = run.get("data") or {}
    source = str(data.get("source", "your data"))
    facts = [run.get("created"), source]
    facts += [f"{data[k]} texts to {k} on" for k in ("train", "test") if k in data]
    names = some(list(map(str, data.get("labels") or [])))
    facts += ["classes: " + ", ".join(names)] if names else []
    recipe = {**(run.get("recipe") or {}), **(run.get("used") or {}), "seed": run.get("seed"),
              **(run.get("versions") or {})}  # fmt: skip
    page = templates().get_template("report.html")
    parts = ("verdicts", "examples", "examples_kind", "cost", "command")
    return page.render(
        {part: run.get(part) for part in parts},
        title=f"Adversarial training on {Path(source).name or source}", warnings=warnings(run),
        facts=list(filter(None, facts)), sentence=result_sentence(run), groups=_groups(run),
        pictures=_pictures(run), recipe={k: v for k, v in recipe.items() if v is not None},
        name=_name, shaded=_shaded, changed=_changed,
    )  # fmt: skip


def _groups(run: dict) -> list[dict]:
    """The rows of the table, those of one attack together: its name, its threat model in words and
    as it is exactly, its rows."""
    table, verdicts = run.get("table") or [], run.get("verdicts") or {}
    warned = run.get("warnings") or {}
    groups: dict[tuple, dict] = {}
    for r in [*table[:1], *filter(None, [run.get("majority") if table else None]), *table[1:]]:
        attack, threat, shown = r["attack"], r.get("threat model") or "", cells(r)
        known = {MAJORITY: threat, "none": ""}.get(attack, in_words(threat))
        exact = "" if attack in (MAJORITY, "none") else threat
        group = groups.setdefault((attack, threat), dict(
            attack=_name(attack), words=known, exact=exact, rows=[]))  # fmt: skip
        fewer = f" on {r['n']} texts" if r.get("n") != table[0].get("n") else ""
        model = r.get("model") or "one answer"
        collapsed = (warned.get(model) or "").startswith(COLLAPSED)
        group["rows"].append([
            model + ", collapsed" * collapsed, shown["accuracy [95 %]"] + fewer,
            *(shown[key] for key in ("macro-F1", "classes", "success", "passes", "time")),
        ])  # fmt: skip
    for (attack, _), group in groups.items():
        if found := verdicts.get(attack):
            p = "p < 0.001" if found["p"] < 0.001 else f"p = {found['p']:.2g}"
            said = f"{found['gained']} texts gained, {found['lost']} lost, {p}"
            group["rows"].append(["difference", said])
    return list(groups.values())


def _pictures(run: dict) -> list[dict]:
    """The figures, each with its numbers in words for those who cannot see it."""
    table, curve, training = (run.get(k) for k in ("table", "curve", "training"))
    out = []

    def add(figure: plots.Picture, alt: list[str], caption: str) -> None:
        svg = base64.b64encode(figure.svg()).decode()
        out.append(dict(svg=svg, caption=caption, alt=f"{caption} {'; '.join(alt)}."))

    if table:
        alt = [f"{r['model']} model, {_name(r['attack'])}: {interval(r)}" for r in table]
        constant = [run["majority"]] if run.get("majority") else []
        alt += [f"majority class: {interval(r)}" for r in constant]
        note = " The dashed line is one answer to all." * bool(constant)
        add(plots.accuracy_bars([*table, *constant]), alt,
            "Accuracy by attack; whiskers are 95 % intervals." + note)  # fmt: skip
    if curve:
        alt = [f"{r['model']} model, ε {r['eps']:.3g}: {percent(r['accuracy'])}" for r in curve]
        add(plots.accuracy_curve(curve), alt, "Accuracy under PGD as ε grows, on "
            f"{curve[0]['n']} texts; bands are 95 % intervals.")  # fmt: skip
    alt, longest = [], 0
    for model, log in (training or {}).items():
        for key, kind in (("clean_loss", "clean"), ("adv_loss", "adversarial")):
            ends = [f"{e[key]:.3g} at step {e['step']}" for e in log if e.get(key) is not None]
            alt += [f"{model} model, {kind} loss: from {ends[0]} to {ends[-1]}"] if ends else []
            longest = max(longest, len(ends))
    if longest > 1:  # one point is no curve
        add(plots.training_curves(training), alt, "Loss while training.")
    return out


def _changed(example: dict) -> list[tuple[str, str]]:
    """The text in pieces (tag, piece): old words struck through and new ones marked."""
    original, text = (str(example.get(key, "")) for key in ("original", "text"))
    first, *others = WORD.split(original)  # what stands between the words
    if WORD.split(text) != [first, *others]:  # more than words has changed
        return [("del", original), ("", " "), ("ins", text)]
    out = [("", first)]
    for old, new, kept in zip(words(original), words(text), others, strict=True):
        out += [("", old)] if old == new else [("del", old), ("", " "), ("ins", new)]
        out.append(("", kept))
    return out


def _shaded(example: dict) -> list[tuple[str, str, float]]:
    """The tokens in pieces (space, token, weight), spaced as in the text."""
    tokens, weights = example.get("tokens") or [], example.get("weights") or []
    begins = ("Ġ", "▁")  # how some tokenizers write the space before a word; BERT's write ## inside
    spaced, out = any(t.startswith(begins) for t in tokens), []
    for token, weight in zip(tokens, weights, strict=False):
        space = token.startswith(begins) if spaced else not token.startswith("##")
        shown = token.removeprefix("##").lstrip("Ġ▁")
        out.append((" " * space, shown, min(max(weight or 0.0, 0.0), 1.0)))
    return out


def _plain(value):
    """`value` as JSON has it: six digits, no NaN, no numpy, no paths."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, int | str) else str(value)


def _name(name) -> str:
    """The name of an attack or a class, as the page shows it."""
    return short(plots.NAMES.get(str(name), str(name)).replace("\n", " "))


def _under(attack: str) -> str:
    return "without attack" if attack == "none" else f"under {_name(attack)}"


def _join(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)
