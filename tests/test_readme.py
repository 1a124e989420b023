"""What README and the pages point to is there."""

import re
import sys
from pathlib import Path

from course import LESSONS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import course_map

ROOT = Path(__file__).parents[1]


def test_every_link_into_the_repository_leads_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not target.startswith(("http", "mailto")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_lesson_is_in_the_table():
    readme = (ROOT / "README.md").read_text()
    for number, title in LESSONS.items():
        for folder in ("solutions", "notebooks"):
            assert (ROOT / folder / f"{number}_{title}.ipynb").is_file()
            assert f"{folder}/{number}_{title}.ipynb" in readme, title


def test_the_commands_of_the_readme_exist():
    readme, makefile = (ROOT / "README.md").read_text(), (ROOT / "Makefile").read_text()
    for target in re.findall(r"`?make (\w[\w-]*)", readme):
        assert re.search(rf"^{target}:", makefile, re.M), target


def test_the_times_in_the_table_are_those_of_the_pages():
    readme = (ROOT / "README.md").read_text()
    for page in ROOT.glob("notebooks/*.ipynb"):
        stated = re.search(r"Runs in (\d+) s", page.read_text())[1]
        row = next(line for line in readme.splitlines() if f"](notebooks/{page.name}" in line)
        assert f"| {stated} s |" in row, page.name


def test_every_badge_leads_to_the_repository_of_the_notebooks():
    readme = (ROOT / "README.md").read_text()
    for page in ROOT.glob("notebooks/*.ipynb"):
        badge = re.search(rf"https://colab[^)]*/{page.name}", readme)[0]
        shown = "make notebooks REPO=owner/name" if "OWNER/REPOSITORY" in badge else f"({badge})"
        assert shown in page.read_text(), page.name


def test_the_map_shows_every_lesson_after_what_it_needs():
    drawn = (ROOT / "docs" / "img" / "map.svg").read_text()
    order = list(LESSONS)
    for number, needed in course_map.needs().items():
        assert f">{number}</" in drawn, f"lesson {number}: run python tools/course_map.py"
        assert all(order.index(other) < order.index(number) for other in needed)
    assert course_map.needs()["06"] == {"00", "03"}  # as its page says, less what 03 needs itself
