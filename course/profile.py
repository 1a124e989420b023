"""How much a lesson does on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.metadata import version

from advlib.app.doctor import find_device

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
    name = profile or profile_for(device)
    if name not in PROFILES:
        raise ValueError(f"no profile {name!r}: choose one of {', '.join(PROFILES)}")
    what = torch.cuda.get_device_name() if device == "cuda" else device
    print(f"advlib {version('advlib')}: profile {name!r} on {what}, seed {seed}")
    if device == "cpu" and "google.colab" in sys.modules:
        print("No GPU is on, which is fine for the small profile. For a real model on real data: "
              "Runtime > Change runtime type > T4 GPU.")  # fmt: skip
    elif device == "cpu" and name != "smoke":
        print("This profile wants a GPU; on a CPU it works too, but takes long.")
    return Profile(name, device, seed)


def profile_for(device: str) -> str:
    import torch

    if wanted := os.environ.get("ADVLIB_PROFILE"):
        return wanted
    if device != "cuda":
        return "smoke"
    memory = torch.cuda.get_device_properties(0).total_memory / 1e9
    return "colab" if memory < 30 else "full"
