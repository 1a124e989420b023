"""Rooms, not corridors: imports inside the package point one way."""

import ast
import re
from pathlib import Path

import advlib

HOME = Path(advlib.__file__).parent
# Each room may import from rooms before it, never from one after it.
ROOMS = [
    "corpora", "hub", "data", "onnx", "models", "embeddings", "perturbation", "attacks",
    "objectives", "generative", "callbacks", "training", "finetuning", "calibration",
    "statistics", "fairness", "evaluation", "intervals", "certify", "systems", "plots", "app",
]  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(HOME).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """The rooms that a file imports from, at its top and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.ImportFrom) and node.module == "advlib":
            names = [f"advlib.{alias.name}" for alias in node.names]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("advlib.")}
    return found


def test_imports_point_one_way():
    for path in HOME.rglob("*.py"):
        if path.parent == HOME and path.name == "__init__.py":
            continue
        here = room(path)
        assert here in ROOMS, f"{path.name}: give it a place in ROOMS"
        for there in imported(path) & set(ROOMS) - {here}:
            assert ROOMS.index(there) < ROOMS.index(here), f"{path.name} imports {there}"


def test_the_core_can_be_read_in_an_afternoon():
    names = ("perturbation", "objectives", "training", "evaluation")
    files = [*(HOME / f"{name}.py" for name in names), *(HOME / "attacks").glob("*.py")]
    assert sum(len(path.read_text("utf-8").splitlines()) for path in files) <= 3000


def test_perturbation_knows_no_model_and_evaluation_no_attack():
    assert imported(HOME / "perturbation.py") == set()
    for name in ("Noise", "FGM", "FGSM", "PGD", "WordSubstitution"):
        assert name not in (HOME / "evaluation.py").read_text().split()
        assert f"import {name}" not in (HOME / "evaluation.py").read_text()


def modules(path: Path) -> set[str]:
    """Every module that a file imports, by its full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def test_the_library_knows_nothing_of_the_course():
    for path in HOME.rglob("*.py"):
        assert not [m for m in modules(path) if m.split(".")[0] == "course"], path.name


def test_what_lessons_share_knows_no_lesson():
    """A lesson's checks may use those of the lessons before it."""
    course = HOME.parent / "course"
    for path in course.rglob("*.py"):
        here = path.parent.name.removeprefix("lesson_")
        for there in re.findall(r"course\.lesson_(\d\d)", " ".join(modules(path))):
            assert here.isdigit() and there <= here, f"{path} imports lesson {there}"


def test_no_pickle_and_no_remote_code():
    folders = (HOME.parent / name for name in ("advlib", "tools"))
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        text = path.read_text()
        assert "trust_remote_code=True" not in text, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "dill", "cloudpickle"} & set(names), path.name
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
