"""Greedy word substitution in lockstep against TextAttack's, same dictionary, goal and search.

Prints and writes to docs/results/words-MODEL.md: whether the adversarial texts and the queries are
the same, and how many queries a second each way manages, on short and on long texts, with one
thread and with two; with `--device cuda`, on a GPU. We run the PyTorch model and the same model
exported to ONNX (always on the CPU). TextAttack runs in runs/textattack, an environment that this
script makes (1.7 GB): as it comes (every text padded to the model's maximum; in the first round
only, for it takes long) and with `padding=True`.

    python benchmarks/words.py --alone --model reviews-clean FOLDER

leaves TextAttack out and writes docs/results/words-speed.md: our attack on the PyTorch model and on
the exported one, and the bare forward passes over the very texts that it asks about.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from transformers import set_seed

import advlib
from advlib.app.deploy import export_onnx, load_onnx
from advlib.attacks import WordAttack
from advlib.corpora import words, world
from advlib.models import NOT_INPUTS

from common import table, write

HERE = Path(__file__).parent
HOME = HERE.parent / "runs" / "textattack"


@dataclass(frozen=True, repr=False)
class Dictionary(WordAttack):
    """Substitution from a fixed dictionary, whatever stands around the word."""

    substitutes: dict[str, list[str]] = field(default_factory=dict, repr=False)

    def propose(self, victim, texts, labels):
        return [[tuple(self.substitutes.get(w, ())) for w in words(text)] for text in texts]


def environment() -> Path:
    """The Python that has TextAttack. Its dependencies need an older transformers and pyarrow."""
    python = HOME / "bin" / "python"
    if not (HOME / "made").is_file():
        venv.create(HOME, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet"]
        same = f"torch=={torch.__version__.partition('+')[0]}"
        subprocess.run([*pip, "uv", same], check=True)
        uv = [python, "-m", "uv", "pip", "install", "--quiet", "--python", python]
        wanted = ["textattack==0.3.11", "flair>=0.15", "transformers"]
        subprocess.run([*uv, *wanted, same], check=True)
        subprocess.run([*uv, "datasets>=3.6,<5", "pyarrow<21"], check=True)
        # It opens NLTK's stop words when it is imported; no attack here uses them.
        stop = HOME / "nltk_data" / "corpora" / "stopwords"
        stop.mkdir(parents=True)
        (stop / "english").write_text("the\n")
        (HOME / "made").touch()
    return python


def material(n: int, longer: bool) -> tuple[list[str], list[int]]:
    """n texts of about 20 words; or of about 100, several reviews of one label in a row."""
    reviews = world("reviews").sample(max(12 * n, 400), "test", seed=7)
    texts, labels = [], []
    for y in (0, 1):
        own = iter([r.text for r in reviews if r.label == y and len(words(r.text)) >= 14])
        for _ in range(n // 2):
            text = next(own)
            while longer and len(words(text)) < 90:
                text += " " + next(own)
            texts.append(text)
            labels.append(y)
    return texts, labels


def dictionary() -> dict[str, list[str]]:
    groups = world("reviews").groups.values()
    lower = {w: [v for v in group if v != w] for group in groups for w in group}
    upper = {w.capitalize(): [v.capitalize() for v in others] for w, others in lower.items()}
    return {w: others for w, others in (upper | lower).items() if others}


def peer(python: Path, job: dict, padded: bool) -> dict:
    """What TextAttack makes of the job."""
    task, result = HOME / "job.json", HOME / "result.json"
    task.write_text(json.dumps(job | {"padded": padded}))
    quiet = {"NLTK_DATA": str(HOME / "nltk_data"), "TOKENIZERS_PARALLELISM": "false",
             "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": str(job["threads"])}  # fmt: skip
    script = HERE / "peers" / "textattack_greedy.py"
    done = subprocess.run([python, script, task, result], env=os.environ | quiet,
                          capture_output=True, text=True)  # fmt: skip
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(result.read_text())


def ours(victim, attack, texts, labels) -> tuple[list, float]:
    """(results, seconds)."""
    start = time.perf_counter()
    results = attack(victim, texts, labels)
    return results, time.perf_counter() - start


def asked(victim, attack, texts, labels) -> list[str]:
    """The very texts that the attack asks the model about, in order; also warms up."""
    seen, bare = [], type(victim).logits

    def note(self, some, *rest, **named):
        seen.extend(some)
        return bare(self, some, *rest, **named)

    type(victim).logits = note
    attack(victim, texts, labels)
    type(victim).logits = bare
    return seen


def bare(victim, texts) -> Callable[[], None]:
    """The forward passes alone over these texts, tokenised and in well padded batches before."""
    ready = [{name: v for name, v in batch.items() if name not in NOT_INPUTS}
             for _, batch in victim.batches(texts)]  # fmt: skip

    def passes() -> None:
        with torch.inference_mode():
            for batch in ready:
                victim.model(**batch)

    return passes


def alone(sources: list[str], counts: list[int], rounds: int, device: str, short: bool) -> None:
    """The speed of ours, without TextAttack."""
    torch.set_num_threads(1)
    attack = Dictionary(substitutes=dictionary())
    gpu, rows = device == "cuda", []
    clock = time.perf_counter if gpu else time.process_time

    def seconds(work: Callable, *args) -> tuple:
        start = clock()
        done = work(*args)
        if gpu:
            torch.cuda.synchronize()
        return done, clock() - start

    for source, n in zip(sources, counts, strict=True):
        try:
            victim, head = advlib.load_classifier(source, device=device), ""
        except ValueError:  # an encoder without a head
            set_seed(0)
            labels = ["negative", "positive"]
            victim = advlib.load_classifier(source, device=device, labels=labels)
            head = ", random head"
        size = sum(p.numel() for p in victim.model.parameters()) / 1e6
        known = source in advlib.models.embedded_checkpoints()
        name = f"{source}, {size:.2f} M" if known else f"a {int(size)} M encoder"
        with tempfile.TemporaryDirectory() as folder:
            served = None
            if not gpu:
                export_onnx(victim, folder)
                served = load_onnx(folder, threads=1)
            for longer in (False, True)[: 2 - (short or size > 10 and not gpu)]:
                texts, labels = material(n if not longer else max(4, n // 5), longer)
                passes = bare(victim, asked(victim, attack, texts, labels))
                passes()
                spent, alike = defaultdict(list), "–"
                for _ in range(rounds):  # all ways take turns
                    results, took = seconds(attack, victim, texts, labels)
                    spent["ours"].append(took)
                    spent["bare"].append(seconds(passes)[1])
                    if served:
                        again, took = seconds(attack, served, texts, labels)
                        spent["onnx"].append(took)
                        alike = sum((a.text, a.queries) == (b.text, b.queries)
                                    for a, b in zip(results, again, strict=True))  # fmt: skip
                queries = sum(r.queries for r in results)
                speed = {way: queries / np.median(took) for way, took in spent.items()}
                shares = np.array(spent["bare"]) / np.array(spent["ours"])
                rows.append([
                    f"{name}{head}", f"{np.mean([len(words(t)) for t in texts]):.0f}",
                    len(texts), queries, alike, f"{speed['ours']:.0f}",
                    f"{speed['onnx']:.0f}" if served else "–", f"{speed['bare']:.0f}",
                    f"{np.median(shares):.0%}", f"{shares.min():.0%} to {shares.max():.0%}",
                ])  # fmt: skip
                print(rows[-1], flush=True)
    where = "on the GPU, by the clock" if gpu else (
        "with one thread, by the seconds that the process computed, in which other work on the "
        "machine counts less")  # fmt: skip
    text = (
        f"The attack of `benchmarks/words.py` {where}; texts drawn with seed 7, a random head with "
        f"seed 0, {rounds} rounds in which all ways take turns, medians. Bare: the forward passes "
        "alone over the very texts that the attack asks about, tokenised before, in batches that "
        "were sorted by tokens and padded before. Share: bare time over our time, round by round. "
        "On a CPU an encoder of more than 10 M parameters meets short texts alone. "
        "The attack cannot sort its texts as well, for it learns from round to round which it has "
        "to ask about. “Same, ONNX”: texts whose result and queries are those of PyTorch.\n\n"
        + table(["model", "words", "texts", "queries", "same, ONNX", "ours, queries a second",
                 "ours, ONNX", "bare", "ours: share of the bare passes", "from, to"], rows)
    )  # fmt: skip
    shown = " ".join(s if s in advlib.models.embedded_checkpoints() else "FOLDER" for s in sources)
    command = f"python benchmarks/words.py --alone --model {shown} --rounds {rounds} --n "
    command += " ".join(map(str, counts))
    command += " --short" * short + f" --device {device}" * gpu
    write("words-speed" + f"-{device}" * gpu, "How fast word attacks are", text, command)


def agreement(ours: list, peers: dict[str, list[dict]]) -> list:
    """Texts fooled by us, by the peer, by both with the same text; texts whose last state is the
    same, also where it fooled nobody: ours against the peer's, and the peer's two ways."""
    padded, stock = peers["padded"], peers["stock"]
    pairs = list(zip(ours, padded, strict=True))
    return [
        sum(r.success for r in ours),
        sum(r["success"] for r in padded),
        sum(r.success and p["success"] and r.text == p["text"] for r, p in pairs),
        sum(r.text == p["text"] for r, p in pairs),
        sum(p["text"] == s["text"] for p, s in zip(padded, stock, strict=True)),
    ]


def main(source: str, n: int, rounds: int, device: str) -> None:
    python = environment()
    victim = advlib.load_classifier(source, device=device)
    folder = Path(advlib.__file__).parent / "checkpoints" / source
    folder = folder if folder.is_dir() else Path(source)
    substitutes = dictionary()
    attack = Dictionary(substitutes=substitutes)
    exported = tempfile.TemporaryDirectory()
    export_onnx(victim, exported.name)
    rows, same = [], []
    for longer in (False, True):
        texts, labels = material(n if not longer else max(4, n // 5), longer)
        passes = bare(victim, asked(victim, attack, texts, labels))
        for threads in (1, 2) if device == "cpu" else (1,):
            torch.set_num_threads(threads)
            onnx = load_onnx(exported.name, threads=threads)
            job = dict(model=str(folder), device=device, texts=texts, labels=labels,
                       threads=threads, substitutes=substitutes, max_length=victim.max_length,
                       batch_size=256)  # fmt: skip
            speeds, peers = defaultdict(list), {}
            for turn in range(rounds):  # all ways take turns
                results, seconds = ours(victim, attack, texts, labels)
                queries = sum(r.queries for r in results)
                speeds["ours"].append(queries / seconds)
                served, seconds = ours(onnx, attack, texts, labels)
                speeds["onnx"].append(sum(r.queries for r in served) / seconds)
                start = time.perf_counter()
                passes()
                speeds["bare"].append(queries / (time.perf_counter() - start))
                for name in ("padded", "stock") if turn == 0 else ("padded",):
                    theirs = peer(python, job, name == "padded")
                    peers[name] = theirs["results"]
                    total = sum(r["queries"] for r in theirs["results"])
                    speeds[name].append(total / theirs["seconds"])
            alike = sum(a.text == b.text for a, b in zip(results, served, strict=True))
            long = f"{np.mean([len(words(t)) for t in texts]):.0f}"
            same.append([long, threads, len(texts), *agreement(results, peers), alike, queries,
                         total])  # fmt: skip
            speed = {name: np.median(values) for name, values in speeds.items()}
            rows.append([
                long, threads, *(f"{speed[k]:.0f}" for k in ("ours", "onnx", "stock", "padded")),
                f"{speed['ours'] / speed['stock']:.1f}", f"{speed['onnx'] / speed['stock']:.1f}",
                f"{speed['ours'] / speed['padded']:.2f}", f"{speed['onnx'] / speed['padded']:.2f}",
                f"{speed['ours'] / speed['bare']:.0%}",
            ])  # fmt: skip
            print(rows[-1], same[-1], dict(speeds), flush=True)
    name = "reviews-clean" if source == "reviews-clean" else Path(source).name
    name += f"-{device}" * (device != "cpu")
    text = (
        f"`{name}`, maximal length {victim.max_length} tokens, dictionary of the world `reviews`, "
        "untargeted, words ranked by the unknown token, greedy; texts drawn with seed 7, nothing "
        "else is random. TextAttack 0.3.11, model batch "
        f"256. Medians of {rounds} rounds in which all ways take turns; TextAttack as it comes had "
        "one round. “ONNX” is our attack on the model that `advlib export` writes, run by ONNX "
        "Runtime; TextAttack could be given such a model too, by a wrapper of one's own.\n\n"
        "The same attack? Adversarial texts found, how many of them are the same to the letter, "
        "texts whose last state is the same even where it fooled nobody, and queries in all. "
        "TextAttack is told to rank only words that the dictionary knows "
        "(`peers/textattack_greedy.py`), as we do. It scores 1 − p in single precision, where a "
        "sure model makes ties; we compare logits. Where nobody is fooled its last state may "
        "differ from ours for that reason, and on long texts even between its own two ways of "
        "padding (the fourth column from the right).\n\n"
        + table(["words", "threads", "texts", "fooled by us", "by TextAttack", "with the same text",
                 "same last state", "its padded against its own default", "ours, ONNX against "
                 "PyTorch", "queries, ours", "queries, TextAttack"], same)
        + "\n\nQueries a second:\n\n"
        + table(["words", "threads", "ours", "ours, ONNX", "TextAttack as it comes", "with "
                 "`padding=True`", "ratio, as it comes", "the same, ONNX", "ratio, padded",
                 "the same, ONNX", "ours: share of the bare passes"], rows)
    )  # fmt: skip
    model = "" if source == "reviews-clean" else " --model FOLDER"
    model += f" --device {device}" * (device != "cpu")
    write(f"words-{name}", f"Word substitution against TextAttack: {name}", text,
          f"python benchmarks/words.py{model} --n {n} --rounds {rounds}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", nargs="+", default=["reviews-clean"],
                        help="checkpoint or local folder; with --alone as many as you like")
    parser.add_argument("--n", type=int, nargs="+", default=[200],
                        help="short texts; with --alone a number for each model, if you like")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--alone", action="store_true", help="leave TextAttack out")
    parser.add_argument("--short", action="store_true", help="with --alone: no long texts")
    args = parser.parse_args()
    if args.alone:
        counts = args.n * len(args.model) if len(args.n) == 1 else args.n
        alone(args.model, counts, args.rounds, args.device, args.short)
        sys.exit()
    main(args.model[0], args.n[0], args.rounds, args.device)
