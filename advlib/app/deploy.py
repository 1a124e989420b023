"""Hand a model on: a model card written from its evaluation, and an ONNX file that is checked.

A folder that `Classifier.save` or `advlib run` wrote needs no conversion: it is what
`transformers.pipeline("text-classification", FOLDER, truncation=True)` loads, and
`hf upload OWNER/NAME FOLDER` (after `hf auth login`) puts it on the Hub, with the README.md that
`write_card` wrote as its page. An exported folder goes there in the same way.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from advlib.app.in_words import in_words
from advlib.app.protocol import verify, weights_hash
from advlib.app.rows import cells, duration, line, some, templates
from advlib.attacks.embedding import wrong_margin
from advlib.embeddings import attack_mode, perturbed_logits, shifted, zero_delta
from advlib.evaluation import MAJORITY
from advlib.models import Classifier, ModelError, load_onnx, quiet
from advlib.onnx import FILE, GRADIENT, OnnxModel, exported_file, needed

TOLERANCE = 1e-4  # between two logits; float32 in another order of sums stays well below
# What goes wrong first: words of several lengths, other scripts, nothing, and more than fits.
PROBES = ("good", "The soup was cold, and nobody came back to ask.", "Ünïcödé, 漢字 и 😀!", "",
          "never again " * 600)  # fmt: skip


# ---------------------------------------------------------------------- the model card


def model_card(
    card: dict, labels: list[str], training: dict | None = None, *, contact: str | None = None,
    use: str | None = None, **metadata,
) -> str:  # fmt: skip
    """A Hugging Face model card as Markdown with YAML front matter.

    card: what `advlib.app.protocol.evaluate` returned; every number of the page comes from it.
    labels: the model's class names. training: how it was made, name -> value, where that is known.
    contact, use: whom to ask, and what the model is meant for, in a person's words.
    metadata: what else only a person can say, as `huggingface_hub.ModelCardData` names it: license,
        base_model, language. What is not given is left out.

    After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019, arXiv 1810.03993. Names and
    threat models stand in the page as code, so none of them can be markup. Raises ValueError for
    a card that was edited or is none.
    """
    if not isinstance(card, dict) or "rows" not in card or not verify(card):
        raise ValueError("this is not the card of an evaluation, or its numbers are not those of "
                         "its digest: make it with `advlib evaluate`")  # fmt: skip
    data = ModelCardData(
        pipeline_tag="text-classification", library_name="transformers",
        tags=["text-classification", "adversarial-robustness", "advlib"],
        model_name=line(card["model"]["name"]), eval_results=_results(card), **metadata,
    )  # fmt: skip
    page = f"---\n{data.to_yaml()}\n---\n\n{_body(card, labels, training or {}, contact, use)}"
    return str(ModelCard(page))  # parses the front matter again, as the Hub will


def write_card(folder: str | Path, card: dict, **metadata) -> Path:
    """Write FOLDER/README.md, the model card of the model in this folder, and return its path.

    card, metadata: as for `model_card`. Raises ValueError where the card was measured on other
    weights than those in the folder, and where another README.md is there.
    """
    folder = Path(folder).expanduser()
    weights = list(folder.glob("*.safetensors")) or exported_file(folder)
    if not (folder / "config.json").is_file() or not weights:
        raise ValueError(f"{folder} is no folder of a trained model: it needs config.json and "
                         "*.safetensors, as `advlib run` writes them, or the model.onnx of `advlib "
                         "export`")  # fmt: skip
    config = json.loads((folder / "config.json").read_text("utf-8"))
    names = config.get("id2label") or {}
    page = model_card(card, [names[i] for i in sorted(names, key=int)], _training(folder),
                      **metadata)  # fmt: skip
    found, wanted = weights_hash(folder.resolve(), nn.Module()), card["model"]["sha256"]
    if found != wanted:
        raise ValueError(
            f"the evaluation was made with other weights (SHA-256 {wanted[:12]}…) than those in "
            f"{folder} ({found[:12]}…): evaluate this folder"
        )
    file = folder / "README.md"
    if file.exists() and file.read_text("utf-8") != page:
        raise ValueError(f"{file} is there and says something else: move it away first")
    file.write_text(page, "utf-8")
    return file


def _results(card: dict) -> list:
    """The rows of the card as the Hub's `model-index` has them."""
    data = line(card["data"]["name"])
    of_data = dict(task_type="text-classification", dataset_type=data, dataset_name=data,
                   dataset_split="test")  # fmt: skip
    clean = card["rows"][0]
    return [
        EvalResult(
            **of_data, metric_type="accuracy", metric_value=row["accuracy"],
            metric_name="accuracy" if row["attack"] == "none" else
                        f"accuracy under attack: {line(row['attack'])}",
            metric_args={"threat model": line(row["threat model"]), "n": row["n"],
                         "95 % interval": [row["low"], row["high"]]},
        )
        for row in _rows(card)
    ] + [
        EvalResult(**of_data, metric_type="f1", metric_name="macro-F1", metric_value=score,
                   metric_args={"average": "macro", "n": clean["n"]})
        for score in [clean.get("macro_f1")] if score is not None
    ]  # fmt: skip


def _rows(card: dict) -> list[dict]:
    """Clean, attacks, and the worst case where that is a row of its own."""
    worst = card["worst case"]
    return card["rows"] + [worst] * (worst["attack"] not in {r["attack"] for r in card["rows"]})


def _body(card: dict, labels: list[str], training: dict, contact, use) -> str:
    (clean, *attacked), constant = card["rows"], card.get(MAJORITY)
    shown = [clean, *[constant] * bool(constant), *_rows(card)[1:]]
    # Only attacks that change words count queries; the others move embeddings.
    kinds = {kind: ", ".join(_code(r["attack"]) for r in attacked if (r["queries"] is None) == kind)
             for kind in (True, False)}  # fmt: skip
    env = templates()
    env.filters |= dict(code=_code, plain=_plain, threat=_threat)
    return env.get_template("card.md").render(
        card=card, groups=card.get("groups"), contact=contact, use=use, clean=clean,
        attacked=attacked, constant=constant,
        warning=card["warning"].partition(": ") if card.get("warning") else None,
        classes=", ".join(map(_code, some(labels))), rows=[r | cells(r) for r in shown],
        moved=kinds[True], worded=kinds[False],
        training={k: _measure(k, v) for k, v in training.items()},
    )  # fmt: skip


def _threat(exact: str) -> str:
    """The threat model in words where they are known, and its settings."""
    said = in_words(exact)  # numbers and words of our own, no text from the card
    return f"{said}\n  - exactly: {_code(exact)}" if said else _code(exact)


def _measure(name: str, value) -> str:
    if isinstance(value, float) and name == "seconds":
        return duration(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plain(text) -> str:
    """A line in which no sign means anything to Markdown or HTML."""
    signs = r"[^\w\s.,;%“”…-]|_|\.(?=[^\W\d])"  # www.name is a link on some pages
    return re.sub(signs, lambda sign: f"&#{ord(sign[0])};", line(text))


def _code(text) -> str:
    """A code span: neither Markdown nor HTML means anything inside. Its fence is longer than any
    run of backticks in the text."""
    text = line(text) or "(empty)"
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _training(folder: Path) -> dict:
    """What `advlib run` left beside a model, and what an embedded checkpoint's card says. Of a path
    only the last part: the rest is the business of the machine."""
    options, done, made = folder.parent / "options.json", folder / "training.json", {}
    if done.is_file() and options.is_file():
        made = json.loads(options.read_text("utf-8"))
        kept = json.loads(done.read_text("utf-8"))
        made |= kept.get("used", {}) | kept["cost"]
        if not any("adv_loss" in entry for entry in kept["log"]):  # the plain one of the two
            made |= dict.fromkeys(("attack", "eps", "steps", "lam")) | {"objective": "clean"}
    elif (folder / "card.json").is_file():
        made = json.loads((folder / "card.json").read_text("utf-8"))
        made = made if "made by" in made else {}  # `advlib evaluate` writes a card.json as well
    return {key: Path(value).name if key in ("model", "data", "test") and value else value
            for key, value in made.items()
            if value is not None and key != "sha256" and not isinstance(value, dict)}  # fmt: skip


# ---------------------------------------------------------------------- ONNX


def export_onnx(victim: Classifier, folder: str | Path) -> float:
    """Write FOLDER/model.onnx, config and tokenizer, and return the largest difference between
    ONNX Runtime's logits and PyTorch's over `PROBES`.

    Inputs are the tokenizer's (input_ids, attention_mask, token_type_ids where the model takes
    them), int64, (batch, tokens), both of any size up to the model's length; the output `logits` is
    (batch, classes) float32. The weights are inside the file, so a model can have 2 GB of them, the
    limit of protobuf.

    Raises ValueError where a package is missing, where the model cannot be exported, and where two
    logits differ by more than 1e-4; no model.onnx is left then.
    """
    with _exporting(victim, Path(folder) / FILE) as (example, axes, file):
        _write(victim, file, lambda: _Logits(victim.model, list(example)).eval(), example,
               ["logits"], ((axes,) * len(example),))  # fmt: skip
        return _compare(victim, load_onnx(folder))


def export_gradient(victim: Classifier, folder: str | Path) -> float:
    """Write FOLDER/gradient.onnx, config and tokenizer, and return the largest difference from
    PyTorch's logits and gradients over `PROBES`: a model that brings its backward pass along, so
    that embeddings can be attacked where there is no PyTorch, as in a browser.

    Inputs are those of `export_onnx`, delta (batch, tokens, hidden) float32, which is added to the
    token embeddings, and labels (batch,) int64; outputs are logits (batch, classes) and gradient,
    of the shape of delta: that of what `FGM` and `PGD` climb, the log-odds of a wrong answer.

    Raises ValueError as `export_onnx` does, and where the model has no embeddings that δ reaches.
    """
    with _exporting(victim, Path(folder) / GRADIENT) as (example, axes, file):
        given = dict(delta=zero_delta(victim.model, example),
                     labels=torch.zeros(2, dtype=torch.int64)) | example  # fmt: skip
        shapes = (axes, {0: axes[0]}) + (axes,) * len(example)
        _write(victim, file, lambda: _with_gradient(victim.model, given, shapes), given,
               ["logits", "gradient"], shapes)  # fmt: skip
        return _compare_gradients(victim, file)


@contextmanager
def _exporting(victim: Classifier, file: Path) -> Iterator[tuple[dict, dict, Path]]:
    """An example of the model's inputs, which of their axes are free, and the file, its folder
    made. Where something goes wrong inside, no file is left."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        needed(package)
    if isinstance(victim.model, OnnxModel):
        raise ModelError("this model is exported already: name the original")
    file.parent.mkdir(parents=True, exist_ok=True)
    example = victim.encode(["the film was good", "it"])  # two of each, for 1 would be a constant
    example.pop("special_tokens_mask")
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens", max=victim.max_length)}
    try:
        yield example, axes, file
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _write(victim: Classifier, file: Path, made, given: dict, outputs: list, shapes: tuple) -> None:
    """Export what `made()` is, and put config and tokenizer beside it."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # else it names what it could support if it were installed
    try:
        with (attack_mode(victim.model, same_dropout=False), torch.no_grad(), quiet(),
              warnings.catch_warnings(action="ignore")):  # fmt: skip
            program = torch.onnx.export(
                made(), tuple(given.values()), input_names=list(given), output_names=outputs,
                verbose=False, dynamo=True, dynamic_shapes=shapes,
            )  # fmt: skip
            for node in program.model.graph.all_nodes():
                node.metadata_props.clear()  # the lines of code they come from, with their paths
            program.save(file, external_data=False)
    except Exception as error:  # the exporter raises many kinds; the reader needs one sentence
        kind = victim.model.config.model_type
        what = " with its gradient" if "gradient" in outputs else ""
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"this {kind} model cannot be exported to ONNX{what}: {first}") from error
    finally:
        logging.disable(disabled)
    victim.tokenizer.model_max_length = victim.max_length  # many tokenizers do not know it
    with quiet():
        victim.tokenizer.save_pretrained(file.parent)
        victim.model.config.save_pretrained(file.parent)


class _Logits(nn.Module):
    """The model as the exporter wants it: tensors in the order of `names` in, one tensor out."""

    def __init__(self, model: nn.Module, names: list[str]):
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs, strict=True))).logits


class _ShiftedLogits(_Logits):
    """The same with δ on the embeddings."""

    def forward(self, delta, *inputs):
        with shifted(self.model, delta):
            return super().forward(*inputs)


def _with_gradient(model: nn.Module, given: dict, shapes: tuple) -> nn.Module:
    """The graph of (logits, gradient on δ), its sizes free.

    The forward pass is exported first, for the model's own code asks about masks and sizes; the
    graph that comes out asks nothing, and is differentiated operation by operation.
    """
    delta, _, *inputs = given.values()
    names = list(given)[2:]
    graph = torch.export.export(_ShiftedLogits(model, names).eval(), (delta, *inputs),
                                dynamic_shapes=(shapes[0], shapes[2:]))  # fmt: skip
    forward = graph.module(check_guards=False)

    # Not torch.func.grad: inside it every size is a constant.
    def both(delta, labels, *inputs):
        delta = delta.detach().requires_grad_()
        with torch.enable_grad():
            logits = forward(delta, *inputs)
            (grad,) = torch.autograd.grad(wrong_margin(logits, labels).sum(), delta)
        return logits.detach(), grad

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no backward pass in ONNX
        traced = make_fx(both, tracing_mode="symbolic", _allow_non_fake_inputs=True)
        return traced(*given.values()).eval()


def _compare(victim: Classifier, exported: Classifier) -> float:
    """All probes as one batch and each alone, for padding and length are two ways to go wrong."""
    gaps = [np.abs(victim.logits(PROBES, size) - exported.logits(PROBES, size)).max(1)
            for size in (len(PROBES), 1)]  # fmt: skip
    gap = np.max(gaps, axis=0)
    if gap.max() > TOLERANCE:
        text = PROBES[int(gap.argmax())]
        raise ModelError(
            f"the exported model is not the original: its logits for {text[:40]!r} differ by "
            f"{gap.max():.2g}, allowed is {TOLERANCE:g}; nothing was kept"
        )
    return float(gap.max())


def _compare_gradients(victim: Classifier, file: Path) -> float:
    """As `_compare`, with a δ that is not zero and every class as the label."""
    generator, gaps = torch.Generator().manual_seed(0), []
    try:
        session = needed("onnxruntime").InferenceSession(file, providers=["CPUExecutionProvider"])
        for texts in (PROBES, *([text] for text in PROBES)):
            batch = victim.encode(texts, [i % len(victim.labels) for i in range(len(texts))])
            delta = 0.1 * torch.randn(zero_delta(victim.model, batch).shape, generator=generator)
            feed = batch | {"delta": delta}
            found = session.run(None, {i.name: feed[i.name].numpy() for i in session.get_inputs()})
            for ours, theirs in zip(found, _logits_and_gradient(victim, batch, delta), strict=True):
                gaps.append(np.abs(ours - theirs).max() / max(1, np.abs(theirs).max()))
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"what was exported does not run: {first}; nothing was kept") from error
    gap = float(np.max(gaps))
    if not gap <= TOLERANCE:  # or is no number
        raise ModelError(f"the exported gradient is not the original: logits or gradients differ "
                         f"by {gap:.2g}, allowed is {TOLERANCE:g}; nothing was kept")  # fmt: skip
    return gap


def _logits_and_gradient(victim: Classifier, batch: dict, delta) -> tuple[np.ndarray, np.ndarray]:
    """PyTorch's."""
    delta = delta.clone().requires_grad_()
    with attack_mode(victim.model, same_dropout=False), torch.enable_grad():
        logits = perturbed_logits(victim.model, batch, delta)
        (grad,) = torch.autograd.grad(wrong_margin(logits, batch["labels"]).sum(), delta)
    return logits.detach().numpy(), grad.numpy()
