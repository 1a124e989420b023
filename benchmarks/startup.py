"""How long the first things take: importing advlib, and what it loads.

    python benchmarks/startup.py

Writes docs/results/startup.md. Times are of whole processes, the median of 9.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from common import table, write

WAYS = {
    "python -c pass": "pass",
    "import advlib": "import advlib",
    "import advlib; advlib.load_classifier": "import advlib; advlib.load_classifier",
}


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    taken = {name: [] for name in WAYS}
    for _ in range(9):
        for name, code in WAYS.items():
            taken[name].append(seconds(code))
    base = statistics.median(taken["python -c pass"])
    rows = [
        [f"`{name}`", f"{statistics.median(t):.3f}", f"{statistics.median(t) - base:.3f}"]
        for name, t in taken.items()
    ]
    text = "PyTorch is loaded when a name that needs it is first used.\n\n"
    text += table(["process", "seconds", "more than bare Python"], rows)
    write("startup", "Start-up times", text, "python benchmarks/startup.py")
