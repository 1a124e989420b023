"""Where are we running, and what is missing?"""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version


def find_device() -> str:
    """ "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def doctor() -> list[str]:
    """What is installed, which device, what is missing and the command that mends it.

    Returns the lines of the report. Looks only; changes nothing.
    """
    if _version("advlib") is None:
        return ["  ! advlib is not installed: pip install -e ."]
    lines = [
        f"advlib {_version('advlib')}",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    ]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        lines.append("  ! advlib is tested with Python 3.11 to 3.13; install one of these")
    lines += _packages()
    device = find_device()
    lines.append(f"device {device}")
    if device == "cpu":
        lines.append("  no GPU is needed for the embedded default; real models train faster on one")
    from advlib.models import CHECKPOINTS as home
    from advlib.models import ModelError, check_weights, embedded_checkpoints

    found = embedded_checkpoints()
    if not found:
        lines.append("  ! no embedded checkpoint: install advlib again, or `make checkpoints`")
    for name in found:
        try:
            check_weights(home / name)
            lines.append(f"checkpoint {name}: ok")
        except ModelError as error:
            lines.append(f"  ! {error}")
    return lines


def _packages() -> list[str]:
    """One line per required package, with the command that mends what is missing or too old."""
    from packaging.requirements import Requirement

    lines = []
    seen = set()
    for need in map(Requirement, requires("advlib")):
        extra = "" if need.marker is None else str(need.marker).split('"')[1]
        if extra == "test" or need.name in seen:  # several extras may ask for the same
            continue
        seen.add(need.name)
        have = _version(need.name)
        mend = f"pip install '{need.name}{need.specifier}'"
        if have is None and extra:
            lines.append(f"  - {need.name} is not installed (optional, for {extra!r}): {mend}")
        elif have is None:
            lines.append(f"  ! {need.name} is missing: {mend}")
        elif not need.specifier.contains(have, prereleases=True):
            lines.append(f"  ! {need.name} {have} is outside {need.specifier}: {mend}")
        else:
            lines.append(f"{need.name} {have}")
    return lines


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
