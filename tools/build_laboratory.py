"""Build the laboratory, the page on which a reader fools a model in the browser.

    make laboratory

Puts into build/laboratory all that has to be served: the page from docs/laboratory, both victims
with their gradients (`advlib export --gradient`), what the attacks know of words, and ONNX Runtime
for the browser from npm, one version of it, whose checksum is compared.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import onnx

import advlib
from advlib.app.deploy import export_gradient
from advlib.attacks.search import KeepWords
from advlib.corpora import world
from advlib.embeddings import embedding_table, mean_norm
from advlib.onnx import GRADIENT

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "laboratory"
OUT = ROOT / "build" / "laboratory"
VICTIMS = ("reviews-clean", "reviews-robust")
RUNTIME = "onnxruntime-web@1.30.0"
INTEGRITY = ("q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4r"
             "KY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==")  # SHA-512
# In the package -> here. The smallest build: no WebGPU, no WebGL, and used with one thread.
PARTS = {
    "package/dist/ort.wasm.bundle.min.mjs": "ort.mjs",
    "package/dist/ort-wasm-simd-threaded.wasm": "ort.wasm",
}
SENTENCE = "The waiter was friendly, and the soup was delicious."  # of lesson 00; it is positive


def runtime(folder: Path) -> dict[str, bytes]:
    """Our name of each file that is needed -> what is in it. Raises SystemExit with what to do."""
    if not shutil.which("npm"):
        sys.exit("make laboratory needs npm, which comes with Node.js: https://nodejs.org")
    done = subprocess.run(["npm", "pack", RUNTIME, "--silent", "--pack-destination", folder],
                          capture_output=True, text=True)  # fmt: skip
    packed = list(folder.glob("*.tgz"))
    if done.returncode or not packed:
        sys.exit(f"npm could not load {RUNTIME}: {done.stderr.strip() or 'no file came'}")
    found = base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode()
    if found != INTEGRITY:
        sys.exit(f"{RUNTIME} is not the package that was checked (its SHA-512 is {found})")
    with tarfile.open(packed[0]) as archive:
        return {name: archive.extractfile(part).read() for part, name in PARTS.items()}


def about(victim: advlib.Classifier) -> dict:
    """What the page has to know of a victim besides its weights."""
    table = embedding_table(victim.model)
    return {
        "labels": victim.labels, "longest": victim.max_length, "hidden": table.shape[1],
        "unit": mean_norm(victim.model),
        "norms": [round(norm, 4) for norm in table.norm(dim=1).tolist()],
    }  # fmt: skip


def examples(count: int = 12) -> list[dict]:
    """Texts to begin with: test texts of the world, both labels in turn."""
    rows = advlib.load_text("reviews", train_size=1, test_size=count)["test"]
    by_label = [[text for text, y in zip(rows["text"], rows["label"], strict=True) if y == label]
                for label in (0, 1)]  # fmt: skip
    drawn = [{"text": text, "label": label} for pair in zip(*by_label, strict=True)
             for label, text in enumerate(pair)]  # fmt: skip
    return [{"text": SENTENCE, "label": 1}, *drawn]


def halves(file: Path, name: str) -> dict[str, bytes]:
    """The exported file as its weights and two graphs that read them, the whole and the part that
    gives logits alone: our name -> content. The weights come over the network once."""
    model = onnx.load(file)
    onnx.external_data_helper.convert_model_to_external_data(model, location=f"{name}.weights")
    onnx.save(model, file)
    whole = onnx.load(file, load_external_data=False)
    given = [i.name for i in whole.graph.input if i.name != "labels"]
    forward = onnx.utils.Extractor(whole).extract_model(given, ["logits"])
    return {f"{name}.weights": file.with_name(f"{name}.weights").read_bytes(),
            f"{name}.gradient.onnx": whole.SerializeToString(),
            f"{name}.logits.onnx": forward.SerializeToString()}  # fmt: skip


def pack(data: bytes, file: Path) -> None:
    """Write it compressed, so that the download is small whatever the server does."""
    file.write_bytes(gzip.compress(data, 9, mtime=0))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        shutil.rmtree(OUT, ignore_errors=True)
        shutil.copytree(PAGE, OUT)
        folder = Path(name)
        parts = runtime(folder)
        (OUT / "ort.mjs").write_bytes(parts["ort.mjs"])
        pack(parts["ort.wasm"], OUT / "ort.wasm.gz")
        data = {"groups": list(world("reviews").groups.values()),
                "keep": sorted(KeepWords().words), "examples": examples(), "victims": {}}
        for source in VICTIMS:
            victim = advlib.load_classifier(source, device="cpu")
            data["victims"][source] = about(victim)
            gap = export_gradient(victim, folder / source)
            for part, content in halves(folder / source / GRADIENT, source).items():
                pack(content, OUT / f"{part}.gz")
            shutil.copy(folder / source / "tokenizer.json", OUT / f"{source}.tokenizer.json")
            print(f"{source}: logits and gradient within {gap:.1g} of PyTorch's", flush=True)
        (OUT / "data.json").write_text(json.dumps(data, separators=(",", ":")), "utf-8")
    size = sum(file.stat().st_size for file in OUT.iterdir())
    print(f"{OUT.relative_to(ROOT)}: {size / 1e6:.1f} MB. Look at it: "
          f"python -m http.server -d {OUT.relative_to(ROOT)} 8000")  # fmt: skip


if __name__ == "__main__":
    main()
