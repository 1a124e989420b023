"""Where are we running, how much can it do, and what is missing?"""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

PROFILES = ("smoke", "colab", "full")


@dataclass(frozen=True)
class Profile:
    """How much to do. Lessons size data, steps and models by it, never by changed code.

    name: "smoke" (CPU, seconds), "colab" (one small GPU such as a T4, minutes) or "full".
    device: "cpu", "cuda" or "mps".
    """

    name: str
    device: str
    seed: int

    def pick(self, smoke, colab=None, full=None):
        """The value for this profile; a value left out is that of the next smaller profile."""
        colab = smoke if colab is None else colab
        return {"smoke": smoke, "colab": colab, "full": colab if full is None else full}[self.name]


def setup(profile: str | None = None, seed: int = 0) -> Profile:
    """Seed every random number generator, choose device and profile, say so in one line.

    profile: None takes $ADVLIB_PROFILE, or else "smoke" without a GPU, "colab" with one of less
        than 30 GB, "full" with a larger one. Raises ValueError for an unknown name.
    Safe to call again; changes nothing that is installed.
    """
    import torch
    import transformers

    transformers.set_seed(seed)
    # Load reports and progress bars of the libraries are noise on a page.
    transformers.utils.logging.set_verbosity_error()
    device = find_device()
    name = profile or _profile_for(device)
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}: choose one of {', '.join(PROFILES)}")
    if device == "cuda":
        what = torch.cuda.get_device_name()
    else:
        what = device
    print(f"advlib {version('advlib')}: profile {name!r} on {what}, seed {seed}")
    if device == "cpu" and "google.colab" in sys.modules:
        print("No GPU is on, which is fine for the small profile. For a real model on real data: "
              "Runtime > Change runtime type > T4 GPU.")  # fmt: skip
    elif device == "cpu" and name != "smoke":
        print("This profile wants a GPU; on a CPU it works too, but takes long.")
    return Profile(name, device, seed)


def find_device() -> str:
    """ "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _profile_for(device: str) -> str:
    import torch

    if wanted := os.environ.get("ADVLIB_PROFILE"):
        return wanted
    if device != "cuda":
        return "smoke"
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return "colab" if memory < 30 else "full"


def doctor() -> list[str]:
    """What is installed, which device and profile, what is missing and the command that mends it.

    Returns the lines of the report. Looks only; changes nothing.
    """
    lines = [
        f"advlib {_version('advlib') or 'is not installed: pip install -e .'}",
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}",
    ]
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        lines.append("  ! advlib is tested with Python 3.11 to 3.13; install one of these")
    lines += _packages()
    device = find_device()
    lines.append(f"device {device}, profile {_profile_for(device)!r}")
    if device == "cpu":
        lines.append("  no GPU is needed for the embedded default; real models train faster on one")
    from advlib.models import CHECKPOINTS as home
    from advlib.models import ModelError, embedded_checkpoints, verify

    found = embedded_checkpoints()
    if not found:
        lines.append("  ! no embedded checkpoint: install advlib again, or `make checkpoints`")
    for name in found:
        try:
            verify(home / name)
            lines.append(f"checkpoint {name}: ok")
        except ModelError as error:
            lines.append(f"  ! {error}")
    return lines


def _packages() -> list[str]:
    """One line per required package, with the command that mends what is missing or too old."""
    from packaging.requirements import Requirement

    lines = []
    seen = set()
    for text in requires("advlib") or []:
        need = Requirement(text)
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
