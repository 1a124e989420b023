"""Build the notebooks from their sources: `make notebooks` (all, or LESSON=03).

`course/lesson_NN/lesson.py` (Jupytext percent format) is the page of a lesson. From it come
`notebooks/NN_title.ipynb`, the exercise copy without solutions and outputs, and
`solutions/NN_title.ipynb`, solved and executed. `--check` makes both in memory and fails where the
files on disk have other sources; nothing is executed then. Nor is with `--keep`, after a change of
text alone, or with `--repo owner/name`, which leads all badges to a fork, and README's links to the
site too.

The course's own answers stand once, in the lesson's `checks.py`: where a page has the line
`# SOLUTION` alone, the body of that exercise's answer is put in.

A lesson that breaks a rule is refused before anything is written: see `problems`.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import re
import sys
import tempfile
import textwrap
import tomllib
from pathlib import Path

import course_map
import jupytext
import nbformat
from nbformat import NotebookNode
from timings import SMOKE, execute, load, name_of, record

from course import LESSONS
from course.ledger import find

ROOT = Path(__file__).parents[1]
LARGEST = 1024 * 1024  # bytes of a notebook

# The one setup cell. Colab ships torch and numpy; they are kept as they are.
SETUP = """\
# Setup: on Colab this installs the course, elsewhere it is there already. Safe to run twice.
import importlib.util

if importlib.util.find_spec("course") is None:
{install}

import advlib
import course

profile = course.setup()"""
INSTALL = """\
    !pip freeze | grep -iE "^(torch|numpy)==" > keep.txt
    !pip install -q -c keep.txt "advlib[course] @ git+https://github.com/{repo}"
    assert _exit_code == 0, "the installation failed: read the lines above, then run this again\""""
BADGE = (
    "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
    "(https://colab.research.google.com/github/{repo}/blob/main/notebooks/{name}.ipynb)"
)

# Until the repository has an address, both say so: a badge would lead to a 404.
PLACEHOLDER = "OWNER/REPOSITORY"
HOW = "`make notebooks REPO=owner/name` sets it"
NO_BADGE = f"*(The address of this copy is not set yet, so there is no Colab badge: {HOW}.)*"
NO_INSTALL = f"""\
    raise ImportError("the course is not installed, and this copy does not know where it comes "
                      "from: {HOW}")"""

# What a figure shows is folded where nobody has seen the figure yet, and open in the solved copy.
SEE = "<details><summary>What you should see</summary>"

CODE_SOLUTION = re.compile(r"^([ \t]*)# SOLUTION\n.*?^[ \t]*# END SOLUTION$", re.M | re.S)
OPEN_SOLUTION = re.compile(r"^([ \t]+)# SOLUTION(?=\n\n|\n*\Z)", re.M)
TEXT_SOLUTION = re.compile(r"<!-- SOLUTION -->.*?<!-- END SOLUTION -->\n?", re.S)
CALL = re.compile(r"course\.exercise\(\s*\"(\d\d\.\d+)\"")
# What must not stand in a stored output.
NOISE = re.compile(
    r"/(home|root|Users|tmp)/|site.packages|ipykernel.|\w*Warning:|\bMISSING\b|\bUNEXPECTED\b"
)


class Refused(Exception):
    """A lesson that breaks the rules; the message lists them."""


def repository() -> str:
    """owner/name on GitHub: `[tool.advlib] repository` in pyproject.toml, the one place."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["advlib"]["repository"]


def point_to(repo: str, root: Path = ROOT) -> None:
    """Make `owner/name` the repository that all badges lead to, and its GitHub Pages the site that
    README names. Raises Refused for other forms."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise Refused(f"{repo!r} is no repository: give owner/name, as in REPO=me/my-fork")
    project, readme = (root / name for name in ("pyproject.toml", "README.md"))
    settings, text = project.read_text(), readme.read_text()
    field = r'(?<=^repository = ")[^"]*'
    before = re.search(field, settings, re.M)[0]
    project.write_text(re.sub(field, repo, settings, flags=re.M))
    text = re.sub(r"(?<=colab\.research\.google\.com/github/)[^/]+/[^/]+", repo, text)
    for old in (before, PLACEHOLDER):  # a line may have been added with the placeholder
        text = text.replace(site_of(old), site_of(repo))
    readme.write_text(text)


def site_of(repo: str) -> str:
    """The address of a repository's GitHub Pages."""
    owner, name = repo.split("/")
    return f"https://{owner}.github.io/{name}/"


def make(source: Path, repo: str, seconds: dict[str, float]) -> tuple[NotebookNode, NotebookNode]:
    """(exercise copy, solved notebook without outputs). Raises Refused."""
    solved = jupytext.read(source)
    name = name_of(source)
    found = problems(solved)
    if found:
        raise Refused("\n".join(f"{name}: {line}" for line in found))
    for cell in solved.cells:
        if cell.cell_type == "code" and OPEN_SOLUTION.search(cell.source):
            cell.source = with_answer(cell.source)
    if found := unused(solved):
        raise Refused(f"{name}: imported and never used: {', '.join(found)}")
    ran = seconds.get(name)
    took = f"Runs in {5 * -(-ran // 5):.0f} s on 2 CPU cores." if ran else ""
    install, badge = INSTALL.format(repo=repo), BADGE.format(repo=repo, name=name)
    if repo == PLACEHOLDER:
        install, badge = NO_INSTALL, NO_BADGE
    fill = {"{{BADGE}}": f"{badge}\n\n{neighbours(name[:2])}",
            "{{TIME}}": took}  # fmt: skip
    for number, cell in enumerate(solved.cells):
        cell.id = f"{name[:2]}-{number:03d}"
        if "setup" in cell.metadata.get("tags", []):
            cell.source = SETUP.format(install=install)
        for mark, text in fill.items():
            cell.source = cell.source.replace(mark, text)
    solved.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    copy = nbformat.from_dict(json.loads(json.dumps(solved)))
    for cell in copy.cells:
        cell.source = without_solution(cell)
    copy.cells = [cell for cell in copy.cells if cell.source.strip()]
    for cell in solved.cells:  # marks are for the tool, not for readers
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"<!-- (END )?SOLUTION -->\n?", "", cell.source)
            cell.source = cell.source.replace(SEE, SEE.replace("<details>", "<details open>"))
    leaks = leaked(solved, copy)
    if leaks:
        raise Refused(f"{name}: the exercise copy still shows solution lines: {leaks}")
    return copy, solved


def neighbours(number: str) -> str:
    """Links to the lesson before and the one after."""
    order = list(LESSONS)
    place, links = order.index(number), []
    for step, form in ((-1, "← [{0} · {1}]({2})"), (1, "[{0} · {1}]({2}) →")):
        if 0 <= place + step < len(order):
            other = order[place + step]
            title = LESSONS[other].replace("_", " ").capitalize()
            links.append(form.format(other, title, f"{other}_{LESSONS[other]}.ipynb"))
    return " &nbsp;|&nbsp; ".join(links)


def with_answer(source: str) -> str:
    """A cell with the course's own answer below its mark. Raises Refused where the page's function
    takes other parameters."""
    id = CALL.search(source)[1]
    own, page = parsed(inspect.getsource(find(id).course)), parsed(source)
    if parameters(own) != parameters(page):
        raise Refused(f"exercise {id}: the page has {page.name}({', '.join(parameters(page))}), "
                      f"the answer in checks.py ({', '.join(parameters(own))})")  # fmt: skip
    text = inspect.getsource(find(id).course).splitlines()
    statements = own.body[1:] if ast.get_docstring(own) else own.body
    start = own.body[0].end_lineno if ast.get_docstring(own) else statements[0].lineno - 1
    body = textwrap.dedent("\n".join(text[start : own.end_lineno])).strip("\n")
    return OPEN_SOLUTION.sub(
        lambda m: textwrap.indent(f"# SOLUTION\n{body}\n# END SOLUTION", m[1]), source)  # fmt: skip


def unused(nb: NotebookNode) -> list[str]:
    """Names that a page imports and does not use anywhere."""
    code = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "code"
                     and "setup" not in cell.metadata.get("tags", []))  # fmt: skip
    nodes = list(ast.walk(ast.parse(code)))
    imports = [x for x in nodes if isinstance(x, ast.Import | ast.ImportFrom)]
    bound = {(a.asname or a.name).split(".")[0] for x in imports for a in x.names}
    return sorted(bound - {x.id for x in nodes if isinstance(x, ast.Name)})


def parsed(source: str) -> ast.FunctionDef | ast.ClassDef:
    """The last function or class that a piece of code defines."""
    tree = ast.parse(textwrap.dedent(source))
    return [x for x in tree.body if isinstance(x, ast.FunctionDef | ast.ClassDef)][-1]


def parameters(made: ast.FunctionDef | ast.ClassDef) -> list[str]:
    """Names and defaults, in order."""
    if isinstance(made, ast.ClassDef):
        return []
    a = made.args
    plain = [x.arg for x in a.posonlyargs + a.args + a.kwonlyargs]
    given = [ast.unparse(d) for d in a.defaults + [d for d in a.kw_defaults if d]]
    ends = [f"{x}={d}" for x, d in zip(plain[len(plain) - len(given) :], given, strict=True)]
    return plain[: len(plain) - len(given)] + ends


def without_solution(cell: NotebookNode) -> str:
    if cell.cell_type == "markdown":
        return TEXT_SOLUTION.sub("", cell.source)
    found = CALL.search(cell.source)
    stub = f'raise NotImplementedError("Exercise {found[1]}")' if found else ""
    return CODE_SOLUTION.sub(lambda m: m[1] + stub, cell.source)


def leaked(solved: NotebookNode, copy: NotebookNode) -> list[str]:
    """Solution lines, long enough to mean something, that the exercise copy shows anywhere."""
    shown = {line.strip() for cell in copy.cells for line in cell.source.splitlines()}
    secret = set()
    for cell in solved.cells:
        for match in CODE_SOLUTION.finditer(cell.source):
            secret |= {line.strip() for line in match[0].splitlines()[1:-1]}
    return sorted(line for line in secret & shown if len(line) > 15 and not line.startswith("#"))


def problems(nb: NotebookNode) -> list[str]:
    """The rules that a lesson breaks, each as a sentence; empty where it keeps them all."""
    text = "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    out = []
    for mark, what in {"{{BADGE}}": "a badge", "**You will**": "objectives", "**Time**": "times",
                       "**Before**": "what to know before", "## Recap": "a recap",
                       "## What could go wrong": "what could go wrong", "**Ethics": "an ethics box",
                       "## Further reading": "further reading"}.items():  # fmt: skip
        if mark not in text:
            out.append(f"no {what} ({mark})")
    tags = [tag for cell in nb.cells for tag in cell.metadata.get("tags", [])]
    if tags.count("setup") != 1:
        out.append("exactly one cell must be tagged setup")
    if "raises-exception" in tags:
        out.append("a cell is tagged raises-exception: nbval then accepts any exception")
    for before, cell in zip([None, *nb.cells], nb.cells, strict=False):
        if cell.cell_type == "code":
            out += code_problems(cell, before)
    return out


def code_problems(cell: NotebookNode, before: NotebookNode | None) -> list[str]:
    out, source = [], cell.source
    opened = len(OPEN_SOLUTION.findall(source))
    if len(re.findall(r"# SOLUTION$", source, re.M)) != len(CODE_SOLUTION.findall(source)) + opened:
        out.append("a SOLUTION without its END SOLUTION")
    magics = re.findall(r"^\s*[!%]\S*", source, re.M)
    if magics and "setup" not in cell.metadata.get("tags", []):
        out.append(f"{magics[0].strip()}: no magics or shell lines; nbval does not see them fail")
    for id in CALL.findall(source):
        stated = before.source if before is not None and before.cell_type == "markdown" else ""
        if not re.search(rf"### Exercise {re.escape(id)}: .+ · [●○]{{3}} · \d+ min", stated):
            out.append(f"exercise {id}: no heading with difficulty and minutes before it")
        if "<summary>Hint" not in stated:
            out.append(f"exercise {id}: no hint")
        if not (CODE_SOLUTION.search(source) or opened):
            out.append(f"exercise {id}: no solution to take out")
        if not has_check(id):
            out.append(f"exercise {id}: no check in its lesson's checks.py")
    return out


def has_check(id: str) -> bool:
    try:
        find(id)
    except ValueError:
        return False
    return True


def output_problems(nb: NotebookNode) -> list[str]:
    out = []
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            text = output.get("text", "") + str(output.get("data", {}).get("text/plain", ""))
            text += str(output.get("data", {}).get("text/html", ""))
            found = NOISE.search(text)
            if found or output.get("name") == "stderr":
                out.append(f"an output has {found[0] if found else 'stderr'!r}: {text[:200]!r}")
    size = len(nbformat.writes(nb).encode())
    if size > LARGEST:
        out.append(f"{size / LARGEST:.1f} MiB, at most 1 is allowed: make figures smaller")
    return out


def differs(file: Path, made: NotebookNode) -> str | None:
    """Why the notebook on disk is not what the source makes; None where it is."""
    if not file.is_file():
        return f"{file.name} is missing"
    there = nbformat.read(file, as_version=4)
    cells = [(c.cell_type, c.source) for c in there.cells]
    if cells != [(c.cell_type, c.source) for c in made.cells]:
        return f"{file.parent.name}/{file.name} is not what its source makes: run `make notebooks`"
    return None


def carry(there: NotebookNode, solved: NotebookNode, name: str) -> None:
    """Give `solved` the outputs that were made by the same code. Raises Refused for other code."""
    pairs = list(zip(there.cells, solved.cells, strict=False))
    same = len(there.cells) == len(solved.cells) and all(
        old.cell_type == new.cell_type
        and (new.cell_type == "markdown" or old.source == new.source
             or "setup" in new.metadata.get("tags", []))
        for old, new in pairs
    )  # fmt: skip
    if not same:
        raise Refused(f"{name}: code has changed, or a cell came or went: build the lesson anew")
    for old, new in pairs:
        if new.cell_type == "code":
            new.outputs, new.execution_count = old.outputs, old.execution_count


def state_time(copy: NotebookNode, name: str, root: Path = ROOT) -> None:
    """Write into README's table what the page says that it takes."""
    took = re.search(r"Runs in (\d+) s", "".join(cell.source for cell in copy.cells))
    if took:
        file = root / "README.md"
        row = rf"(\]\(notebooks/{name}\.ipynb\).* \| \d+ min \| )\d+ s"
        file.write_text(re.sub(row, rf"\g<1>{took[1]} s", file.read_text()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lesson", default="", help="two digits; all lessons without it")
    parser.add_argument("--repo", default="", help="owner/name that all badges are to lead to")
    parser.add_argument("--check", action="store_true", help="compare sources, write nothing")
    parser.add_argument("--keep", action="store_true", help="keep the outputs, execute nothing")
    options = parser.parse_args()
    if options.repo:
        if options.lesson:
            sys.exit("--repo changes all lessons: leave --lesson out")
        try:
            point_to(options.repo)
        except Refused as refused:
            sys.exit(str(refused))
    repo = repository()
    seconds = {lesson: own[SMOKE] for lesson, own in load().items() if SMOKE in own}
    bad = []
    for source in sorted((ROOT / "course").glob(f"lesson_{options.lesson or '*'}/lesson.py")):
        name = name_of(source)
        target, page = (ROOT / folder / f"{name}.ipynb" for folder in ("notebooks", "solutions"))
        try:
            copy, solved = make(source, repo, seconds)
            if options.check:
                pairs = ((target, copy), (page, solved))
                bad += [why for file, made in pairs if (why := differs(file, made))]
                continue
            if options.keep or options.repo:
                executed = nbformat.read(page, as_version=4)
            else:
                record_of_the_build = tempfile.NamedTemporaryFile()  # not the one of who builds
                os.environ |= {"ADVLIB_PROFILE": "smoke", "COURSE_STRICT": "1",
                               "COURSE_RECORD": f"{record_of_the_build.name}.json"}  # fmt: skip
                seconds[name] = execute(solved, page.parent)
                executed = solved
                # Once more, because the page states the time that was measured just now.
                copy, solved = make(source, repo, seconds)
            carry(executed, solved, name)
            if found := output_problems(solved):
                raise Refused("\n".join(f"{name}: {line}" for line in found))
        except Refused as refused:
            bad.append(str(refused))
            continue
        target.parent.mkdir(exist_ok=True)
        nbformat.write(copy, target)
        nbformat.write(solved, page)
        state_time(copy, name)
        if not (options.keep or options.repo):
            record(name, SMOKE, seconds[name])
            print(f"{name}: {seconds[name]:.1f} s")
    if bad:
        sys.exit("\n".join(bad))
    if not options.check:
        course_map.draw()


if __name__ == "__main__":
    main()
