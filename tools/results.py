"""Turn a run's report into a page of docs/results.

python tools/results.py runs/mine/report.json sst2 "SST-2 with a 22 M encoder"
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from common import RESULTS, table


def page(run: dict, title: str) -> str:
    models = list(dict.fromkeys(row["model"] for row in run["table"]))
    attacks = list(dict.fromkeys((row["attack"], row["threat model"]) for row in run["table"]))
    cell = {(row["model"], row["attack"]): row for row in run["table"]}

    def shown(row: dict) -> str:
        return f"{row['accuracy']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"

    rows = [
        [name if name != "none" else "no attack", *(shown(cell[m, name]) for m in models)]
        for name, _ in attacks
    ]
    cost = [
        [m, f"{c['forward']:.0f}", f"{c['backward']:.0f}", f"{c['seconds']:.0f}"]
        for m, c in run["cost"].items()
    ]
    threat = "\n".join(f"- {name}: `{threat}`" for name, threat in attacks if name != "none")
    versions = ", ".join(f"{name} {v}" for name, v in run["versions"].items())
    data, recipe = run["data"], run["recipe"]
    return (
        f"# {title}\n\n{data['train']} training texts, {data['test']} test texts, classes "
        f"{', '.join(data['labels'])}; seed {run['seed']} (one seed: the intervals, 95 % Wilson, "
        "cover the choice of test texts and not the training). Minimised: "
        f"`{recipe['adversarial: minimised']}`.\n\n"
        + table(["accuracy", *models], rows)
        + f"\n\nThreat models:\n\n{threat}\n\n"
        "Training, in passes over a batch (one thread; seconds depend on what else the machine "
        "did):\n\n"
        + table(["model", "forward", "backward", "seconds"], cost)
        + f"\n\nRepeat with\n\n```\n{run['command']}\n```\n\nMeasured on a CPU with {versions}.\n"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path)
    parser.add_argument("name")
    parser.add_argument("title")
    options = parser.parse_args()
    text = page(json.loads(options.report.read_text()), options.title)
    (RESULTS / f"{options.name}.md").write_text(text)
    print(text)
