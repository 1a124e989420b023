"""`make lesson`: a lesson that was just begun passes as it is."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ["course", "tools", "tests/test_lessons.py", "tests/conftest.py", "README.md",
         "pyproject.toml", "docs/timings.json", "docs/img/map.svg"]  # fmt: skip


@pytest.fixture
def house(tmp_path):
    """A copy of what a new lesson touches; `run` runs a command there."""
    for part in PARTS:
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, tmp_path / part)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "solutions").mkdir()

    def run(*command):
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}  # its course
        return subprocess.run([sys.executable, *command], cwd=tmp_path, env=env, text=True,
                              capture_output=True)  # fmt: skip

    run.folder = tmp_path
    return run


def test_a_new_lesson_builds_and_passes(house):
    begun = house("tools/scaffold.py", "22", "Tables & trees")
    assert begun.returncode == 0 and "make notebooks LESSON=22" in begun.stdout, begun.stderr
    built = house("tools/notebooks.py", "--lesson", "22")
    assert built.returncode == 0, built.stdout + built.stderr
    assert (house.folder / "solutions" / "22_tables_trees.ipynb").is_file()
    page = (house.folder / "notebooks" / "22_tables_trees.ipynb").read_text()
    assert "Tables & trees" in page and "NN" not in page
    row = next(x for x in (house.folder / "README.md").read_text().splitlines() if "| 22 |" in x)
    assert "notebooks/22_tables_trees.ipynb" in row and "| 0 s |" not in row
    tested = house("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_lessons.py",
                   "-k", "22")  # fmt: skip
    assert tested.returncode == 0 and " passed" in tested.stdout, tested.stdout


@pytest.mark.parametrize("number, title, says", [
    ("4", "A title", "two digits"), ("04", "A title", "there already"), ("22", "!?", "TITLE"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_changes_nothing(house, number, title, says):
    before = (house.folder / "README.md").read_text()
    begun = house("tools/scaffold.py", number, title)
    assert begun.returncode != 0 and says in begun.stderr and "Traceback" not in begun.stderr
    assert (house.folder / "README.md").read_text() == before
    assert not (house.folder / "course" / "lesson_22").exists()
