"""Make the source of the site: `make site`. Sphinx then builds it (settings: docs/conf.py).

Into build/site/source go the pages of docs/ as they are, CONTRIBUTING.md, and each solved notebook
as a page that can be read without a kernel:

- an exercise shows the learner's stub, with the solution folded below it;
- a prediction is a form that keeps the guess in the reader's browser and then shows the result;
- where a running notebook has controls, a sentence says so;
- figures become files, with their alt text.

Links into the repository lead to the site where it has that page, else to the repository's address;
where that is not set yet, their text alone stays. MathJax comes from npm, so that no page needs
another host. Nothing is executed here.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from base64 import b64decode
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath

import nbformat
from nbformat import NotebookNode

from course import LESSONS
from course.ledger import Prediction

from notebooks import BADGE, CALL, PLACEHOLDER, SEE, Refused, repository

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "site"
LABORATORY = ROOT / "build" / "laboratory"  # the page in the browser, where it has been built
MATHJAX = "3.2.2"
# What the pages load of MathJax, and what its menu offers to readers of a screen reader.
MATHJAX_PARTS = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions", "a11y", "sre")

WIDGET = "application/vnd.jupyter.widget-view+json"
# What a page prints of a prediction: the form shows it, and not before there is a guess.
REVEALED = re.compile(r"^(.+)\n  your guess: no guess\n  result:     (.+)\n", re.M)
ROW = re.compile(r"^\| (\d\d) \| \[(.+?)\]\(notebooks/\S+?\): (.+?) \(\[solved\].*?\) \| (\d+ min) "
                 r"\| (\d+ s) \|", re.M)  # fmt: skip
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
# What a notebook's first cell says of Colab, and of the lessons before and after it.
OWN_LINKS = re.compile(r"\[!\[Open in Colab|\*\(The address of this copy|←|\[.+\]\(\S+\.ipynb\) →$")
ARGUMENT = re.compile(r"(\w+(?:, \w+)*): +(\S.*)")
CODE = re.compile(r"(^```.*?^```|`+[^`]+`+)", re.M | re.S)


@dataclass(frozen=True)
class Row:
    """A lesson as README's table has it."""

    title: str
    about: str
    minutes: str  # for a reader, "65 min"
    seconds: str  # from top to bottom, "25 s"


def rows(readme: str) -> dict[str, Row]:
    """Number of a lesson -> its row in README's table."""
    return {number: Row(*rest) for number, *rest in ROW.findall(readme)}


# ------------------------------------------------------------------------------ links


def on_site(path: str) -> str | None:
    """The page of the site that a file of the repository has become; None where it has none."""
    fixed = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
    notebook = re.fullmatch(r"(?:notebooks|solutions)/(\d\d_\w+\.ipynb)", path)
    if notebook:
        return f"lessons/{notebook[1]}"
    return fixed.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)


def relink(text: str, page: str, repo: str = PLACEHOLDER, laboratory: bool = False) -> str:
    """Markdown of the file `page` of the repository with links that hold on the site.

    laboratory: whether the site has it; a link to it is HTML, for it is no page of Sphinx's.

    Raises Refused for a link to something that the repository does not have.
    """
    here = PurePosixPath(on_site(page)).parent

    def change(match: re.Match) -> str:
        picture, label, target = match.groups()
        label = LINK.sub(change, label)  # a picture that is a link
        if re.match(r"\w+:|#", target):
            return f"{picture}[{label}]({target})"
        name, _, anchor = target.partition("#")
        path = os.path.normpath(PurePosixPath(page).parent / name)
        if path.startswith("docs/laboratory/"):
            found = os.path.relpath("laboratory/index.html", here)
            return f'<a href="{found}">{label}</a>' if laboratory else label
        if not (ROOT / path).exists():
            raise Refused(f"{page}: a link to {target}, which is not there")
        site = "lessons/index.md" if target.endswith("README.md#lessons") else on_site(path)
        if site:
            anchor = f"#{anchor}" if anchor and site != "lessons/index.md" else ""
            return f"{picture}[{label}]({os.path.relpath(site, here)}{anchor})"
        if repo == PLACEHOLDER:
            return label
        return f"[{label}](https://github.com/{repo}/blob/main/{path})"

    code = []  # stays as it is

    def hide(match: re.Match) -> str:
        code.append(match[0])
        return "\0"

    return re.sub("\0", lambda _: code.pop(0), LINK.sub(change, CODE.sub(hide, text)))


# ------------------------------------------------------------------------------ a lesson


def page(solved: NotebookNode, learner: NotebookNode, name: str, row: Row, repo: str,
         figures: Path, laboratory: bool = False) -> NotebookNode:  # fmt: skip
    """The page of a lesson, from its two notebooks; pictures are written into `figures`."""
    stubs, cells = {cell.id: cell.source for cell in learner.cells}, []
    results = revealed(solved)
    for number, cell in enumerate(solved.cells):
        if cell.cell_type == "markdown":
            source = folded(cell.source, stubs.get(cell.id, ""))
            if number == 0:
                source = with_bar(source, name, row, repo)
            cell.source = relink(source, f"solutions/{name}.ipynb", repo, laboratory)
            cells.append(cell)
            continue
        asked = question(cell, results) if "course.predict(" in cell.source else None
        cell.outputs = [made for place, output in enumerate(cell.outputs)
                        if (made := still(output, figures / f"{cell.id}-{place}.png", name, repo,
                                          laboratory))]  # fmt: skip
        if "setup" in cell.metadata.get("tags", []):
            fold(cell, "Setup")
        elif asked:
            cell.outputs = [o for o in cell.outputs if o.output_type == "stream"]
            cell.outputs.append(html_output(form(*asked)))
            if len(ast.parse(cell.source).body) == 1:
                fold(cell, "The cell of the notebook")
        elif CALL.search(cell.source) and stubs[cell.id] != cell.source:
            stub = nbformat.v4.new_markdown_cell(f"```python\n{stubs[cell.id]}\n```")
            stub.id = f"{cell.id}-stub"
            cells.append(stub)
            cell.source = re.sub(r"^[ \t]*# (END )?SOLUTION\n", "", cell.source, flags=re.M)
            fold(cell, "Solution", outputs=True)
        cells.append(cell)
    solved.cells = cells
    # IPython's lexer, for the setup cell has lines that are no Python.
    solved.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    return solved


def with_bar(source: str, name: str, row: Row, repo: str) -> str:
    """The first cell, with what can be done with the page in place of badge and neighbours."""
    title, rest = source.split("\n\n", 1)
    rest = "\n\n".join(p for p in rest.split("\n\n") if not OWN_LINKS.match(p))
    links = [f"{{download}}`Learner's copy <../downloads/{name}.ipynb>`",
             f"{{download}}`Solved copy <../downloads/solved/{name}.ipynb>`",
             f"{row.minutes} for you"]  # fmt: skip
    if repo != PLACEHOLDER:
        target = re.search(r"\]\((https://colab\S+?)\)$", BADGE.format(repo=repo, name=name))[1]
        links.insert(0, f"[Open in Colab]({target}){{.colab}}")
    return f"{title}\n\n{{.lesson-bar}}\n{' · '.join(links)}\n\n{rest}"


def folded(solved: str, learner: str) -> str:
    """A text cell with the part that the learner's copy lacks folded."""
    learner = learner.replace(SEE, SEE.replace("<details>", "<details open>"))
    if solved == learner:
        return solved
    start = len(os.path.commonprefix([solved, learner]))
    extra = solved[start : start + len(solved) - len(learner)]
    if solved[:start] + solved[start + len(extra) :] != learner or not extra.strip():
        raise Refused(f"a text cell differs from the learner's in more than one place: {solved!r}")
    details = f"<details><summary>Solution</summary>\n\n{extra.strip()}\n\n</details>\n\n"
    return solved[:start] + details + solved[start + len(extra) :]


def fold(cell: NotebookNode, title: str, outputs: bool = False) -> None:
    """Hide a code cell (or its source alone) behind a line that opens it."""
    cell.metadata["tags"] = ["hide-cell" if outputs else "hide-input"]
    cell.metadata["mystnb"] = {"code_prompt_show": title, "code_prompt_hide": title}


def html_output(html: str) -> NotebookNode:
    return nbformat.v4.new_output("display_data", {"text/html": html})


def still(output: NotebookNode, file: Path, name: str, repo: str,
          laboratory: bool) -> NotebookNode | None:  # fmt: skip
    """An output that needs no kernel; None for one that says nothing without it."""
    if output.output_type == "stream":
        output.text = re.sub(r"^Predict: .+\n", "", REVEALED.sub("", output.text), flags=re.M)
        return output if output.text.strip() else None
    data = output.get("data", {})
    if WIDGET in data:
        shown = data["text/plain"]
        bar = re.search(r"it/s\]|\?it\b", shown)  # a progress bar that is over
        return None if bar else html_output(instead(shown, name, repo, laboratory))
    if "image/png" not in data:
        return output
    size = output.metadata.get("image/png", {})
    if not size.get("alt"):
        raise Refused(f"{name}: a figure without an alt text ({file.stem})")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b64decode(data["image/png"]))
    return html_output(
        f'<img class="figure" src="../_static/figures/{file.name}" loading="lazy" '
        f'width="{size["width"]}" height="{size["height"]}" alt="{escape(size["alt"])}">'
    )


def instead(shown: str, name: str, repo: str, laboratory: bool) -> str:
    """The sentence in place of a widget."""
    if "Textarea(" in shown:
        what = "a box to type into and a button that attacks; below is what it answers"
    elif "children=(HTML(" in shown:
        what = "buttons to answer with"
    else:
        what = "controls to move; the figure above shows the same without them"
    where = f"Download the learner's copy and open it with <code>make lab</code>: {what}."
    if repo != PLACEHOLDER:
        colab = f"https://colab.research.google.com/github/{repo}/blob/main/notebooks/{name}.ipynb"
        where = f'In <a href="{colab}">Colab</a>, or with <code>make lab</code>: {what}.'
    if laboratory and "Textarea(" in shown:
        where += ' The <a href="../laboratory/index.html">laboratory</a> does the same right here.'
    return f'<p class="live"><strong>Live in the notebook.</strong> {where}</p>'


# ------------------------------------------------------------------------------ predictions


def revealed(nb: NotebookNode) -> dict[str, str]:
    """Question -> result, as the page prints it."""
    texts = [o.get("text", "") for c in nb.cells for o in c.get("outputs", [])]
    return {asked: result for text in texts for asked, result in REVEALED.findall(text)}


def question(cell: NotebookNode, results: dict[str, str]) -> tuple[Prediction, list[str]]:
    """The prediction that a cell asks for, with its result, and the options. Raises Refused where
    the page never shows the result."""
    call = next(x for x in ast.walk(ast.parse(cell.source)) if isinstance(x, ast.Call)
                and ast.unparse(x.func) == "course.predict")  # fmt: skip
    id = ast.literal_eval(call.args[0])
    asked = re.search(r"^Predict: (.+)$", cell.outputs[0].text, re.M)[1]  # as it was printed
    given = {k.arg: k.value for k in call.keywords}
    if asked not in results:
        raise Refused(f"prediction {id}: no result is printed on the page")
    made = Prediction(id, asked, None, result=results[asked])
    options = []
    if "options" in given:
        try:
            options = list(ast.literal_eval(given["options"]))
        except ValueError:  # a name in the code: what the choice has shown
            shown = re.search(r"options=(\(.*?\))", str(cell.outputs))
            options = list(ast.literal_eval(shown[1]))
        made.result = made.result.strip("'\"")
    else:
        made.low, made.high = (float(ast.literal_eval(given[k])) for k in ("low", "high"))
        made.unit = ast.literal_eval(given["unit"]) if "unit" in given else ""
    return made, options


def form(made: Prediction, options: list[str]) -> str:
    """The form of a prediction; `_static/predict.js` keeps the guess and opens the result."""
    id = escape(made.id)
    if options:
        ask = "".join(
            f'<label><input type="radio" name="guess-{id}" value="{escape(o)}"> {escape(o)}</label>'
            for o in options
        )
    else:
        low, high = (escape(made.text(v)) for v in (made.low, made.high))
        ask = (
            f'<label>{low} <input type="range" min="{made.low:g}" max="{made.high:g}" '
            f'step="{10**-made.decimals:g}" value="{(made.low + made.high) / 2:g}" '
            f'aria-label="your guess, from {low} to {high}"> {high}</label> '
            f'<output data-decimals="{made.decimals}" data-unit="{escape(made.unit)}">'
            "not moved yet</output>"
        )
    result = escape(str(made.result))
    return (
        f'<form class="predict" data-id="{id}"><fieldset><legend>Prediction {id}</legend>'
        f"<p>{escape(made.question)}</p><div>{ask}</div>"
        '<button type="submit" disabled>Keep my guess</button>'
        f'<p class="predict-result" role="status" hidden>Your guess: '
        f'<b class="predict-guess"></b>. Result: <b>{result}</b>.</p>'
        f"<noscript><details><summary>Result</summary>{result}</details></noscript>"
        "</fieldset></form>"
    )


# ------------------------------------------------------------------------------ docstrings


def plain(lines: list[str]) -> list[str]:
    """A docstring of the library as reST that shows it as it is written.

    Docstrings are plain text: paragraphs, code set off by four spaces, and `name: what it is` for
    arguments. Nothing in them is markup but single backticks, for code.
    """
    out = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        rows = block.split("\n")
        if all(row.startswith("    ") for row in rows):
            out += ["::", "", *rows, ""]
            continue
        for name, text in _items(rows) if out else [("", " ".join(map(str.strip, rows)))]:
            shown = _escaped(text)
            out += [", ".join(f"``{n}``" for n in name.split(", ")), f"    {shown}", ""] if name \
                else [shown, ""]  # fmt: skip
    return out


def _items(rows: list[str]) -> list[tuple[str, str]]:
    """The pieces of a paragraph, (name, what it is) for an argument and ("", text) for the rest."""
    out = []
    for row in rows:
        found = ARGUMENT.match(row)
        if found:
            out.append((found[1], found[2]))
        elif out and (row.startswith(" ") or not out[-1][0]):  # it goes on
            out[-1] = (out[-1][0], f"{out[-1][1]} {row.strip()}")
        else:
            out.append(("", row.strip()))
    return out


def _escaped(text: str) -> str:
    """Text in which only single backticks mean something."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(rf"\ ``{p.strip()}``\ " if i % 2 else re.sub(r"([\\*|_`])", r"\\\1", p)
                   for i, p in enumerate(parts)).removeprefix("\\ ")  # fmt: skip


# ------------------------------------------------------------------------------ all of it


def lessons_page(table: dict[str, Row]) -> str:
    """The list of all lessons, with the order to read them in."""
    lines = ["# Lessons", "",
             "Read them here, solved and with their outputs. To work on one, download the learner's"
             " copy on its page, or clone the repository and say `make lab`. The minutes are for a"
             " reader, exercises included.", "",
             "![What to know before what: from 00 and 01 by way of FGSM, PGD and words to full GPU "
             "fine-tuning](../img/map.svg)", ""]  # fmt: skip
    for number, name in LESSONS.items():
        row = table[number]
        lines += [f"- **[{number} · {row.title}]({number}_{name}.ipynb)** · {row.minutes}  ",
                  f"  {row.about[0].upper()}{row.about[1:]}"]  # fmt: skip
    toc = [f"{number}_{name}" for number, name in LESSONS.items()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *toc, "```", ""])


def mathjax(target: Path) -> None:
    """MathJax's files, fetched once with npm into build/site."""
    pack = BUILD / f"mathjax-{MATHJAX}.tgz"
    if not pack.is_file():
        if not shutil.which("npm"):
            sys.exit("`make site` fetches MathJax with npm, and there is no npm here: "
                     "install Node.js, then run this again.")  # fmt: skip
        BUILD.mkdir(parents=True, exist_ok=True)
        got = subprocess.run(["npm", "pack", "--silent", f"mathjax@{MATHJAX}"], cwd=BUILD,
                             capture_output=True, text=True)  # fmt: skip
        if got.returncode or not pack.is_file():
            sys.exit(f"npm could not fetch mathjax {MATHJAX}:\n{got.stderr.strip()}")
    with tarfile.open(pack) as tar:
        wanted = tuple(f"package/es5/{part}" for part in MATHJAX_PARTS)
        members = [m for m in tar.getmembers() if m.name.startswith(wanted)]
        for member in members:
            member.name = member.name.removeprefix("package/es5/")
        tar.extractall(target, members, filter="data")


def main() -> None:
    repo, source = repository(), BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(ROOT / "docs", source, ignore=shutil.ignore_patterns("laboratory"))
    mathjax(source / "_static" / "mathjax")
    laboratory = (LABORATORY / "index.html").is_file()
    shutil.rmtree(BUILD / "extra", ignore_errors=True)
    (BUILD / "extra").mkdir()
    if laboratory:
        shutil.copytree(LABORATORY, BUILD / "extra" / "laboratory")
    table = rows((ROOT / "README.md").read_text())
    try:
        pages(source, repo, laboratory)
        start = source / "index.md"
        start.write_text(landing(start.read_text(), laboratory))
        (source / "lessons").mkdir()
        (source / "lessons" / "index.md").write_text(lessons_page(table))
        for number, title in LESSONS.items():
            lesson(f"{number}_{title}", table[number], source, repo, laboratory)
    except Refused as refused:
        sys.exit(str(refused))


def pages(source: Path, repo: str, laboratory: bool) -> None:
    """The Markdown of docs/ and CONTRIBUTING.md, with links that hold; the results get their
    table of contents."""
    for file in sorted((ROOT / "docs").glob("**/*.md")):
        name = file.relative_to(ROOT).as_posix()
        if not name.startswith("docs/laboratory/"):
            (source / on_site(name)).write_text(relink(file.read_text(), name, repo, laboratory))
    text = relink((ROOT / "CONTRIBUTING.md").read_text(), "CONTRIBUTING.md", repo)
    (source / "contributing.md").write_text(text)
    results = source / "results" / "README.md"
    toc = "\n\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"
    results.write_text(results.read_text() + toc)


def landing(text: str, laboratory: bool) -> str:
    """The landing page; what speaks of the laboratory stays only where there is one."""
    part = re.compile(r"<!-- laboratory -->\n(.*?)<!-- end -->\n", re.S)
    return part.sub(r"\1" if laboratory else "", text)


def lesson(name: str, row: Row, source: Path, repo: str, laboratory: bool) -> None:
    """The page of one lesson, and its two notebooks to download."""
    solved, learner = (nbformat.read(ROOT / folder / f"{name}.ipynb", as_version=4)
                       for folder in ("solutions", "notebooks"))  # fmt: skip
    downloads = source / "downloads"
    (downloads / "solved").mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", downloads)
    shutil.copy(ROOT / "solutions" / f"{name}.ipynb", downloads / "solved")
    made = page(solved, learner, name, row, repo, source / "_static" / "figures", laboratory)
    (source / "lessons" / f"{name}.ipynb").write_text(json.dumps(made))


if __name__ == "__main__":
    main()
