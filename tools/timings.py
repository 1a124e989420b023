"""How long each lesson takes, by profile: writes docs/timings.json and the table docs/timings.md.

    python tools/timings.py --profile smoke
    python tools/timings.py --profile colab                    # real models and data from the Hub
    python tools/timings.py --profile colab --model PATH --data PATH     # without a network

With --model and --data, local folders stand in for the Hub: they are put where a lesson finds them
under the Hub's names (--encoder where a lesson trains an encoder that the task is new to). The
lessons are run as they are; one that fails is reported, not recorded.
Where a machine is too slow for a profile's sizes, `--instead "OLD -> NEW"` (as often as needed)
runs a page with other ones, as "profile.pick(12, 150, 500) -> 20"; say so in --called. What is not
on the page is an error. `--outputs FOLDER` keeps the notebooks that were run;
`--dry` keeps no time.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode

from course import LESSONS

ROOT = Path(__file__).parents[1]
MODEL = "distilbert/distilbert-base-uncased-finetuned-sst-2-english"
# Of single lessons, which train them from there:
ENCODERS = ("google-bert/bert-base-cased", "distilbert/distilbert-base-uncased")
DATA = "stanfordnlp/sst2"
TIMES = ROOT / "docs" / "timings.json"
SMOKE = "smoke on CPU"
SMALLER = """\
"smaller" is with the encoder of 22 M parameters and SST-2: lesson 09 from this encoder trained on
2,700 texts, with a race of 60 units, batches of 8 and 48 test texts; lesson 10 from both, with 60
texts to test and 60 to validate on, a race after 60 plain steps in which VAT makes six, 12
hardening steps on 16 texts, a search of three trials of twelve such steps above a clean accuracy
of 0.8; lesson 12 from the encoder itself in place of `google-bert/bert-base-cased`, with 2,560
texts, a run of 160 steps, 40 validation texts, a search of four trials of four steps, 20 test
texts under the protocol `standard`, four steps by the clock."""
HEAD = f"""# Run times

Seconds from the first cell to the last, measured by `tools/timings.py` and `make notebooks`.
"smoke" is the profile of a laptop without a GPU (here two CPU cores). "colab" is that of one small
GPU; where a column names no stand-in, its model is `{MODEL}` and its data are `{DATA}`.
A column "colab on CPU" was measured on a core that other work shared: it shows that a lesson runs
to its end on a real encoder, not how fast. A dash is a time that nobody has measured yet.
{SMALLER}
"""


def execute(nb: NotebookNode, folder: Path, timeout: int = 600) -> float:
    """Run all cells in place; seconds that it took. Raises where a cell fails, or takes longer than
    `timeout` seconds."""
    start = time.perf_counter()
    NotebookClient(nb, timeout=timeout, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in nb.cells:
        cell.metadata.pop("execution", None)  # times of day, other in every build
    return time.perf_counter() - start


def name_of(source: Path) -> str:
    """The name of the notebooks of a page, as 03_fgsm_and_fgm."""
    number = source.parent.name.removeprefix("lesson_")
    return f"{number}_{LESSONS[number]}"


def load() -> dict[str, dict[str, float]]:
    """Lesson -> what it ran on -> seconds."""
    return json.loads(TIMES.read_text()) if TIMES.is_file() else {}


def record(lesson: str, where: str, seconds: float) -> None:
    """Keep one measurement and write the table again."""
    times = load()
    times.setdefault(lesson, {})[where] = round(seconds, 1)
    TIMES.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n")
    columns = sorted({column for own in times.values() for column in own}, reverse=True)
    lines = [HEAD, "| lesson | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for lesson, own in sorted(times.items()):
        cells = [f"{own[column]:.0f}" if column in own else "–" for column in columns]
        lines.append(f"| {lesson} | " + " | ".join(cells) + " |")
    TIMES.with_suffix(".md").write_text("\n".join(lines) + "\n")


def stand_in(folder: Path, name: str, target: str) -> None:
    """Make `target` be found as `name` by whatever runs in the folder."""
    link = folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(Path(target).resolve(), target_is_directory=True)


def resized(nb: NotebookNode, changes: list[str]) -> NotebookNode:
    """The page with "OLD -> NEW" carried out in its code. Exits where OLD is not there."""
    for change in changes:
        old, _, new = change.partition(" -> ")
        cells = [c for c in nb.cells if c.cell_type == "code" and old in c.source]
        if not old or not cells:
            sys.exit(f"--instead {change!r}: there is no {old!r} in the code of the page")
        for cell in cells:
            cell.source = cell.source.replace(old, new)
    return nb


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--profile", default="smoke", choices=("smoke", "colab", "full"))
    parser.add_argument("--lesson", default="[0-9][0-9]", help="two digits; all without it")
    parser.add_argument("--model", help="a local model folder in place of the Hub's")
    parser.add_argument("--encoder", help="with --model: the folder of an encoder that is not "
                        "trained on the task, for lessons that train one")  # fmt: skip
    parser.add_argument("--data", help="a local folder of data in place of the Hub's")
    parser.add_argument("--called", default="local stand-ins", help="what to call these in a table")
    parser.add_argument("--instead", action="append", default=[], metavar="OLD -> NEW",
                        help="run the page with NEW for OLD in its code")  # fmt: skip
    parser.add_argument("--outputs", type=Path, help="a folder for the notebooks that were run")
    parser.add_argument("--dry", action="store_true", help="print the times and keep none")
    options = parser.parse_args()
    from notebooks import make, repository  # which imports this module

    os.environ["ADVLIB_PROFILE"] = options.profile
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    where = f"{options.profile} on {device}"
    where += f", {options.called}" if options.model else ""
    failed = []
    with tempfile.TemporaryDirectory() as name:
        if options.model:
            stand_in(Path(name), MODEL, options.model)
            for encoder in ENCODERS:
                stand_in(Path(name), encoder, options.encoder or options.model)
        if options.data:
            stand_in(Path(name), DATA, options.data)
        for source in sorted((ROOT / "course").glob(f"lesson_{options.lesson}/lesson.py")):
            try:
                slow = 600 if options.profile == "smoke" else 3600  # on a CPU in place of a GPU
                _, page = make(source, repository(), {})  # with the answers put in
                try:
                    seconds = execute(resized(page, options.instead), Path(name), slow)
                finally:  # of a page that failed, as far as it came
                    if options.outputs:
                        options.outputs.mkdir(parents=True, exist_ok=True)
                        nbformat.write(page, options.outputs / f"{name_of(source)}.ipynb")
            except (CellExecutionError, CellTimeoutError) as error:
                failed.append(f"{name_of(source)}: {str(error).strip().splitlines()[-1]}")
                continue
            if not options.dry:
                record(name_of(source), where, seconds)
            print(f"{name_of(source)}: {seconds:.0f} s, {where}", flush=True)
    if failed:
        sys.exit("\n".join(failed))


if __name__ == "__main__":
    main()
