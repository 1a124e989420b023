"""The files that set the project up agree with one another and with what Colab ships."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {
    name: [Requirement(line) for line in lines]
    for name, lines in PROJECT["optional-dependencies"].items()
}
DECLARED = CORE + [requirement for extra in EXTRAS.values() for requirement in extra]


def lines_of(path):
    """The lines of a file without comments and empty lines."""
    text = (ROOT / path).read_text("utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and line[0] != "#"]


COLAB = [
    (canonicalize_name(name), Version(version))
    for name, version in (line.split() for line in lines_of("tests/colab_versions.txt"))
]
PINS = [Requirement(line) for line in lines_of("constraints.txt")]


def ranges_for(name):
    """Every range that pyproject.toml declares for a package (an extra may repeat one)."""
    if name == "python":
        return [SpecifierSet(PROJECT["requires-python"])]
    return [r.specifier for r in DECLARED if canonicalize_name(r.name) == name]


# --- the ranges -----------------------------------------------------------------------------


@pytest.mark.parametrize("name, version", COLAB, ids=lambda value: str(value))
def test_ranges_accept_what_colab_ships(name, version):
    ranges = ranges_for(name)
    assert ranges, f"{name} is in colab_versions.txt, but pyproject.toml does not name it"
    for allowed in ranges:
        assert version in allowed, f"Colab ships {name} {version}; pyproject.toml wants {allowed}"


def test_colab_table_covers_every_core_dependency():
    shipped = {name for name, _ in COLAB}
    assert {canonicalize_name(r.name) for r in CORE} | {"python"} <= shipped


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_every_dependency_is_a_range(requirement):
    operators = {clause.operator for clause in requirement.specifier}
    assert operators == {">=", "<"}, f"{requirement}: give a lower and an upper bound, no pin"
    assert not requirement.url


def test_every_mention_of_a_package_has_the_same_range():
    for name in {canonicalize_name(r.name) for r in DECLARED}:
        assert len(set(ranges_for(name))) == 1, f"pyproject.toml has two ranges for {name}"


# --- constraints.txt ------------------------------------------------------------------------


def test_constraints_pin_exactly_and_once():
    for pin in PINS:
        clauses = list(pin.specifier)
        assert [clause.operator for clause in clauses] == ["=="], f"{pin} is not one exact version"
        assert "*" not in clauses[0].version, f"{pin} is not one exact version"
        assert Version(clauses[0].version).local is None, f"{pin}: leave the local part out"
        assert not pin.url and not pin.marker, f"{pin}: a name and a version, nothing else"
    names = [canonicalize_name(pin.name) for pin in PINS]
    assert len(names) == len(set(names)), "constraints.txt names a package twice"


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_constraints_pin_every_dependency_within_its_range(requirement):
    name = canonicalize_name(requirement.name)
    pins = [pin for pin in PINS if canonicalize_name(pin.name) == name]
    assert len(pins) == 1, f"constraints.txt does not pin {name}"
    version = next(iter(pins[0].specifier)).version
    assert version in requirement.specifier, f"{pins[0]} lies outside {requirement}"


# --- environment.yml ------------------------------------------------------------------------


def test_environment_has_pythons_range_and_no_other():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    by_conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    by_pip = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]

    python, *others = by_conda
    assert re.split(r"[<>=! ]", python)[0] == "python"
    assert SpecifierSet(python.removeprefix("python")) == SpecifierSet(PROJECT["requires-python"])
    # Everything else comes by extras, so that its range stands in pyproject.toml alone.
    assert others == ["pip"]
    assert len(by_pip) == 1 and len(by_pip[0]) == 1
    extras = re.fullmatch(r"-e \.\[([a-z,]+)\]", by_pip[0][0])
    assert extras, f"environment.yml should install the project by its extras, not {by_pip[0][0]}"
    assert set(extras[1].split(",")) == set(EXTRAS)


# --- what the package carries ---------------------------------------------------------------


def test_every_data_file_of_the_package_is_shipped():
    package = ROOT / "advlib"
    globs = PYPROJECT["tool"]["setuptools"]["package-data"]["advlib"]
    shipped = {path for pattern in globs for path in package.glob(pattern)}
    skip = {".py", ".pyc"}
    data = {p for p in package.rglob("*") if p.is_file() and p.suffix not in skip}
    left_out = sorted(str(path.relative_to(ROOT)) for path in data - shipped)
    assert not left_out, f"package-data in pyproject.toml matches none of {left_out}"


def test_version_is_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]


# --- make and CI ----------------------------------------------------------------------------

MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


@pytest.mark.parametrize("target", "run test lab lint checkpoints bench clean help".split())
def test_makefile_has_target_and_says_what_it_does(target):
    assert re.search(rf"^{target}:.*## \w", MAKEFILE, re.MULTILINE)
    assert target in re.search(r"^\.PHONY:(.*)", MAKEFILE, re.MULTILINE)[1].split()


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_make_refuses_a_python_that_is_too_old(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    # Stands in for Python 3.9: runs what it is given, but with that version in sys.version_info.
    old = tmp_path / "old-python"
    shim = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])"
    old.write_text(f'#!/usr/bin/env bash\nexec "{sys.executable}" -c "{shim}" "$2"\n')
    old.chmod(0o755)
    command = ["make", "-C", str(tmp_path), "run", f"PYTHON={old}"]
    made = subprocess.run(command, capture_output=True, text=True)
    assert made.returncode != 0
    assert re.search(r"needs Python 3\.11.* is 3\.9\b", made.stderr)
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o111 == 0o111, "chmod +x .ci/run"
    assert "make test" in lines_of(".ci/run")


def test_workflow_covers_every_supported_python():
    workflow = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))
    supported = [f"3.{n}" for n in range(30) if Version(f"3.{n}") in ranges_for("python")[0]]
    for job in workflow["jobs"].values():
        assert job["strategy"]["matrix"]["python"] == supported
