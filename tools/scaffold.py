"""Begin a lesson: `make lesson LESSON=22 TITLE="Tables and trees"`.

Makes course/lesson_22/ from tools/lesson/ (a small page with one prediction, one exercise, one
claim and one figure, which passes every test as it is), and gives it its place in
course/__init__.py and README.md.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parent / "lesson"
ROOT = Path(__file__).parents[1]
ROW = """\
| {n} | [{title}](notebooks/{n}_{name}.ipynb): its idea ([solved](solutions/{n}_{name}.ipynb)) \
| 60 min | 0 s | [![Colab](https://colab.research.google.com/assets/colab-badge.svg)]\
(https://colab.research.google.com/github/{repo}/blob/main/notebooks/{n}_{name}.ipynb) |
"""


def scaffold(number: str, title: str, root: Path = ROOT) -> Path:
    """The folder that was made. Raises ValueError where nothing was changed, and says why."""
    name = re.sub(r"[^a-z0-9]+", "_", title.lower()).strip("_")
    folder = root / "course" / f"lesson_{number}"
    if not re.fullmatch(r"\d\d", number):
        raise ValueError(f"LESSON={number!r}: give two digits, as in LESSON=22")
    if not name:
        raise ValueError(f"TITLE={title!r}: give a title with letters, as in TITLE=\"Tables\"")
    if folder.exists():
        raise ValueError(f"lesson {number} is there already: {folder.relative_to(root)}")
    folder.mkdir()
    (folder / "__init__.py").touch()
    for file in sorted(TEMPLATE.glob("*.py")):
        text = file.read_text().replace("NN", number).replace("TITLE", title)
        (folder / file.name).write_text(text)
    order, readme = root / "course" / "__init__.py", root / "README.md"
    place(order, r'    "(\d\d)": ".*",\n', f'    "{number}": "{name}",\n')
    repo = re.search(r"research\.google\.com/github/([^/]+/[^/]+)/", readme.read_text())[1]
    row = ROW.format(n=number, title=title, name=name, repo=repo)
    place(readme, r"\| (\d\d) \| \[.*\n", row)
    return folder


def place(file: Path, pattern: str, line: str) -> None:
    """Put a line after the last one of its kind with a smaller number."""
    text, number = file.read_text(), re.match(pattern, line)[1]
    before = [m for m in re.finditer(pattern, text) if m[1] < number]
    at = before[-1].end() if before else re.search(pattern, text).start()
    file.write_text(text[:at] + line + text[at:])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("number")
    parser.add_argument("title")
    options = parser.parse_args()
    try:
        made = scaffold(options.number, options.title)
    except ValueError as error:
        sys.exit(str(error))
    print(f"{made.relative_to(ROOT)} is there: write its page, then make its notebooks with\n"
          f"make notebooks LESSON={options.number}")
