"""A run as two files: `report.json` for programs, `report.html` for people.

The page is one file: no script, nothing loaded from elsewhere. All that comes from the data or
from the command line is escaped, and a policy in the page forbids the browser to run or load more.
"""

from __future__ import annotations

import base64
import json
import math
from html import escape
from pathlib import Path

from advlib import plots
from advlib.app.in_words import in_words
from advlib.corpora import replace, words
from advlib.evaluation import MAJORITY, duration, short, some

MODELS = {"adversarial": "adversarially trained"}
COLLAPSED = "Collapsed"  # how the warning of `evaluation.collapse` begins

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1d1f; --soft: #5c5c63; --line: #d9d9de;
  --card: #f5f5f7; --old: #a02c00; --new: #00553d; --mark: #d5f0e5; }
@media (prefers-color-scheme: dark) { :root { --paper: #16171a; --ink: #e9e9ec; --soft: #a5a5ae;
  --line: #3a3b41; --card: #212226; --old: #ff9d73; --new: #a6ecd0; --mark: #0d4433; } }
body { margin: 0 auto; padding: 1rem 1rem 4rem; max-width: 46rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 1rem 0 .2rem; } h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; }
.lead { font-size: 1.15rem; } .note, code, thead th { color: var(--soft); font-size: .88rem; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: .35rem 1rem .35rem 0; font-weight: normal;
  border-top: 1px solid var(--line); font-variant-numeric: tabular-nums; }
thead th, .group ~ tr:not(.group) > * { border: 0; } .results td { white-space: nowrap; }
.group div { position: sticky; left: 0; max-width: calc(100vw - 2rem); }
.scroll { overflow-x: auto; } figure { margin: 1.2rem 0; } figcaption { margin-top: .4rem; }
figure .scroll { background: #fff; border: 1px solid var(--line); border-radius: 8px; }
img { display: block; width: 100%; min-width: 27rem; } ol { padding: 0; list-style: none; }
pre, li { background: var(--card); padding: .7rem .9rem; border-radius: 8px; margin: .6rem 0; }
.warning { border-left: .3rem solid var(--old); padding-left: .8rem; font-weight: 600; }
summary { color: var(--soft); font-size: .88rem; cursor: pointer; }
pre { white-space: pre-wrap; font-size: .88rem; } del { color: var(--old); }
ins { color: var(--new); background: var(--mark); font-weight: 600; text-decoration: none; }
"""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>{css}</style></head><body>{body}</body></html>
"""

LIMITS = """A model that stands here stands against these attacks, at these settings, and no
others: a stronger or a different attack may still turn it. Perturbed embeddings are not texts, so
nobody can type what noise, FGM and PGD add. Word substitution knows which words may replace one
another because its world is made from a grammar; for real text nobody has such sets, and nothing
here says how a model fares against people who write. The intervals cover the choice of test texts,
not the training: another seed gives other numbers."""


class Html(str):
    """Text that is HTML already. Only `tag` and the two lines that write an image make it."""


def tag(name: str, *inner, **attributes) -> Html:
    """An element. Whatever is not Html is escaped."""
    inside = "".join(x if isinstance(x, Html) else escape(str(x)) for x in inner)
    said = "".join(f' {k.rstrip("_")}="{escape(str(v))}"' for k, v in attributes.items())
    return Html(f"<{name}{said}>{inside}</{name}>")


def write_report(folder: Path, run: dict) -> Path:
    """Write `report.json` and `report.html` into `folder`; return the path of the page.

    run: what `experiment` returns. Parts that are missing or empty are left out of the page. From
    `evaluation` come `warnings` (model -> `collapse`), `verdicts` (attack -> `compare`) and
    `majority` (the row of the majority class); `used` is what training really used, defaults too.
    """
    folder = Path(folder)
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
        if (verdict := _verdict(run, a)) is not None:
            verdicts.setdefault(verdict, []).append(_under(a))
    ending = ", ".join(f"{verdict} {_join(where)}" for verdict, where in verdicts.items())
    if ending and any((run.get("warnings") or {}).values()):
        ending = "so neither is called better by its accuracy"
    sentence = "T" + "; ".join(parts)[1:] + (f": {ending}." if ending else ".")
    sentence = sentence.replace("%", f"% of the {table[0]['n']} test texts", 1)
    if share is not None:
        sentence += f" Always the most frequent class: right on {share:.1%}, whatever the attack."
    return sentence


def _verdict(run: dict, attack: str) -> str | None:
    """What the paired comparison said; for a run without it, the 95 % interval of the difference
    (Newcombe 1998, from the two Wilson intervals). None where there are not two models."""
    rows = {r["model"]: r for r in run["table"] if r["attack"] == attack}
    if not {"standard", "adversarial"} <= rows.keys():
        return None
    if found := (run.get("verdicts") or {}).get(attack):
        return found["verdict"]
    s, a = rows["standard"], rows["adversarial"]
    gain = a["accuracy"] - s["accuracy"]
    if gain > math.hypot(a["accuracy"] - a["low"], s["high"] - s["accuracy"]):
        return "clearly better"
    if -gain > math.hypot(a["high"] - a["accuracy"], s["accuracy"] - s["low"]):
        return "clearly worse"
    return "no clear difference"


def _page(run: dict) -> str:
    data = run.get("data") or {}
    source = str(data.get("source", "your data"))
    facts = [run.get("created"), source]
    facts += [f"{data[k]} texts to {k} on" for k in ("train", "test") if k in data]
    names = some(list(map(str, data.get("labels") or [])))
    facts += ["classes: " + ", ".join(names)] if names else []
    title = f"Adversarial training on {Path(source).name or source}"
    body = [
        tag("h1", title), *(tag("p", said, class_="lead warning") for said in warnings(run)),
        tag("p", " · ".join(filter(None, facts)), class_="note"),
        tag("p", result_sentence(run), class_="lead"), *_results(run), *_pictures(run),
        *_examples(run), *_cost(run.get("cost") or {}),
        tag("h2", "What this does not show"), tag("p", LIMITS), *_recipe(run),
    ]  # fmt: skip
    return PAGE.format(title=escape(title), css=CSS, body="\n".join(body))


def _results(run: dict) -> list[Html]:
    table, verdicts = run.get("table") or [], run.get("verdicts") or {}
    if not table:
        return []
    heads = ["model", "accuracy [95 % interval]", "macro-F1", "classes", "success rate",
             "passes per text", "time"]  # fmt: skip
    groups: dict[tuple, list] = {}
    for r in [*table[:1], *filter(None, [run.get("majority")]), *table[1:]]:
        fewer = f" on {r['n']} texts" if r.get("n") != table[0].get("n") else ""
        row = [_model(r.get("model") or "one answer", run), _interval(r) + fewer,
               _score(r.get("macro_f1")),
               _number(r.get("classes")), _percent(r.get("success")),
               f"{_number(r.get('forward'))} + {_number(r.get('backward'))}",
               _time(r.get("seconds"))]  # fmt: skip
        groups.setdefault((r["attack"], r.get("threat model") or ""), []).append(row)
    rows = []
    for (attack, threat), own in groups.items():
        rows += [_threat(attack, threat), *own]
        if found := verdicts.get(attack):
            p = "p < 0.001" if found["p"] < 0.001 else f"p = {found['p']:.2g}"
            said = f"{found['gained']} texts gained, {found['lost']} lost, {p}"
            rows.append(["difference", said])
    return [
        tag("h2", "Accuracy, clean and under attack"), _table(rows, heads, class_="results"),
        tag("p", "Accuracy: right before and after the attack. Macro-F1: of the answers under "
            "attack, the mean over the classes, so that rare ones count as much as frequent ones. "
            "Classes: how many different answers the model gives. Success rate: of the texts that "
            "were right, the share turned wrong. Passes: forward + backward; for attacks on words, "
            "how many texts the model was asked about."
            + " Difference: texts that only the adversarially trained model withstands, and those "
            "that only the standard one does; p is that of McNemar's exact test."
            * bool(verdicts), class_="note"),
    ]  # fmt: skip


def _threat(attack: str, threat: str) -> list[list]:
    """A row of one cell: the attack, its threat model in words, and the exact one to unfold."""
    title = [tag("b", _name(attack))]
    if said := in_words(threat):
        exact = tag("details", tag("summary", "exactly"), tag("code", threat))
        return [[*title, " ", tag("span", said, class_="note"), exact]]
    if attack == MAJORITY:
        return [[*title, " ", tag("span", threat, class_="note")]]
    return [[*title, " ", tag("code", threat)] if attack != "none" else title]


def _model(name: str, run: dict) -> str:
    """The model's name, and that it collapsed."""
    warning = (run.get("warnings") or {}).get(name) or ""
    return name + ", collapsed" * warning.startswith(COLLAPSED)


def _pictures(run: dict) -> list[Html]:
    """The figures, each with its numbers in words for those who cannot see it."""
    table, curve, training = (run.get(k) for k in ("table", "curve", "training"))
    out = [tag("h2", "Pictures")]
    if table:
        alt = [f"{r['model']} model, {_name(r['attack'])}: {_interval(r)}" for r in table]
        constant = [run["majority"]] if run.get("majority") else []
        alt += [f"majority class: {_interval(r)}" for r in constant]
        note = " The dashed line is one answer to all." * bool(constant)
        out.append(_picture(plots.accuracy_bars([*table, *constant]), alt,
                            "Accuracy by attack; whiskers are 95 % intervals." + note))  # fmt: skip
    if curve:
        alt = [f"{r['model']} model, ε {r['eps']:.3g}: {_percent(r['accuracy'])}" for r in curve]
        out.append(_picture(plots.accuracy_curve(curve), alt, "Accuracy under PGD as ε grows, on "
                            f"{curve[0]['n']} texts; bands are 95 % intervals."))  # fmt: skip
    alt, longest = [], 0
    for model, log in (training or {}).items():
        for key, kind in (("clean_loss", "clean"), ("adv_loss", "adversarial")):
            ends = [f"{e[key]:.3g} at step {e['step']}" for e in log if e.get(key) is not None]
            alt += [f"{model} model, {kind} loss: from {ends[0]} to {ends[-1]}"] if ends else []
            longest = max(longest, len(ends))
    if longest > 1:  # one point is no curve
        out.append(_picture(plots.training_curves(training), alt, "Loss while training."))
    return out if out[1:] else []


def _picture(figure: plots.Picture, alt: list[str], caption: str) -> Html:
    source = "data:image/svg+xml;base64," + base64.b64encode(figure.svg()).decode()
    image = Html(f'<img alt="{escape(caption + " " + "; ".join(alt))}." src="{source}">')
    return tag("figure", tag("div", image, class_="scroll", tabindex=0),
               tag("figcaption", caption, class_="note"))  # fmt: skip


def _examples(run: dict) -> list[Html]:
    tokens, items = run.get("examples_kind") == "tokens", []
    for e in run.get("examples") or []:
        text = (_shaded(e.get("tokens") or [], e.get("weights") or []) if tokens
                else _changed(str(e.get("original", "")), str(e.get("text", ""))))  # fmt: skip
        label, predicted = (_name(e.get(key, "?")) for key in ("label", "predicted"))
        said = ["true label ", tag("b", label), f"; the {e.get('model', '')} model ",
                "says under attack ", tag("b", predicted)]  # fmt: skip
        items.append(tag("li", *text, tag("div", *said, class_="note")))
    note = ("The stronger its colour, the more of the perturbation falls on a token's embedding."
            if tokens else "Every replacement keeps the true label.")  # fmt: skip
    return [tag("h2", "Attacked texts"), tag("p", note), tag("ol", *items)] if items else []


def _changed(original: str, text: str) -> list[str]:
    """The text in pieces, old words struck through and new ones marked."""
    mark = "\0"
    original, text = original.replace(mark, "\ufffd"), text.replace(mark, "\ufffd")
    old, new = words(original), words(text)
    changes = {i: w for i, w in enumerate(new[: len(old)]) if w != old[i]}
    if len(old) != len(new) or replace(original, changes) != text:  # more than words has changed
        return [tag("del", original), " ", tag("ins", text)]
    first, *others = replace(original, dict.fromkeys(changes, mark)).split(mark)
    out = [first]
    for (i, word), kept in zip(changes.items(), others, strict=True):
        out += [tag("del", old[i]), " ", tag("ins", word), kept]
    return out


def _shaded(tokens: list[str], weights: list[float]) -> list[str]:
    """The tokens in pieces, spaced as in the text, each on a shade that says its weight."""
    begins = ("Ġ", "▁")  # how some tokenizers write the space before a word; BERT's write ## inside
    spaced, out = any(t.startswith(begins) for t in tokens), []
    for token, weight in zip(tokens, weights, strict=False):
        shade = min(max(weight or 0.0, 0.0), 1.0)
        space = token.startswith(begins) if spaced else not token.startswith("##")
        style = f"background: rgba(213, 94, 0, {0.6 * shade:.2f})"
        shown = token.removeprefix("##").lstrip("Ġ▁")
        out += [" " * space, tag("span", shown, title=f"{shade:.0%}", style=style)]
    return out


def _cost(cost: dict) -> list[Html]:
    rows = [[model, _number(c.get("forward")), _number(c.get("backward")),
             _time(c.get("seconds"))] for model, c in cost.items()]  # fmt: skip
    heads = ["model", "forward passes", "backward passes", "time"]
    return [tag("h2", "What training cost"), _table(rows, heads)] if rows else []


def _recipe(run: dict) -> list[Html]:
    facts = {**(run.get("recipe") or {}), **(run.get("used") or {}), "seed": run.get("seed"),
             **(run.get("versions") or {})}  # fmt: skip
    rows = [[k, v] for k, v in facts.items() if v is not None]
    command = [tag("pre", run["command"])] if run.get("command") else []
    found = command + ([_table(rows)] if rows else [])
    return [tag("h2", "Recipe, and how to repeat it"), *found] if found else []


def _table(rows: list[list], heads: list[str] | None = None, **attributes) -> Html:
    """A table; a row of one cell is the heading of those below it."""
    lines = [tag("thead", tag("tr", *(tag("th", h, scope="col") for h in heads)))] if heads else []
    for first, *others in rows:
        if others:
            lines.append(tag("tr", tag("th", first, scope="row"), *(tag("td", c) for c in others)))
        else:
            head = tag("th", tag("div", *first), colspan=9, scope="rowgroup")
            lines.append(tag("tr", head, class_="group"))
    return tag("div", tag("table", *lines, **attributes), class_="scroll", tabindex=0)


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


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _interval(row: dict) -> str:
    return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _time(value: float | None) -> str:
    return "–" if value is None else duration(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _join(phrases: list[str]) -> str:
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)
