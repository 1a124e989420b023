"""Models exported with their gradient, and what of the laboratory needs no browser.

`make laboratory-check` tests the page itself.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import LABELS, TEXTS, make_classifier, make_config, make_tokenizer
from test_architectures import make
from transformers import AutoModelForSequenceClassification
from typer.testing import CliRunner

import advlib
from advlib.app.cli import app
from advlib.app.deploy import TOLERANCE, export_gradient
from advlib.app.protocol import PROTOCOLS
from advlib.attacks import FGM, PGD, Typos, WordSubstitution
from advlib.attacks.search import KeepWords
from advlib.corpora import world
from advlib.models import Classifier

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(victim, folder, what was said) of a random BERT of one layer, exported by the command."""
    folder, home = (tmp_path_factory.mktemp(name) for name in ("exported", "home"))
    torch.manual_seed(0)
    config = make_config("bert")
    config.num_hidden_layers = 1
    model = AutoModelForSequenceClassification.from_config(config).eval()
    Classifier(model, make_tokenizer("bert")).save(home)
    victim = advlib.load_classifier(home, device="cpu")
    command = ["export", str(home), "--gradient", "--out", str(folder)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return victim, folder, result.output


def session(folder):
    return onnxruntime.InferenceSession(folder / "gradient.onnx")


def run(exported, batch, delta):
    file, feed = session(exported[1]), batch | {"delta": delta}
    return file.run(None, {i.name: feed[i.name].numpy() for i in file.get_inputs()})


def test_the_exported_gradient_is_where_fgm_goes(exported):
    """Texts of four lengths in one batch, padded, and each alone."""
    victim = exported[0]
    for some in (range(4), [0], [1], [3]):
        texts, labels = [TEXTS[i] for i in some], [LABELS[i] for i in some]
        batch = victim.encode(texts, labels)
        zero = torch.zeros(*batch["input_ids"].shape, 16)
        logits, grad = run(exported, batch, zero)
        assert np.abs(logits - victim.logits(texts)).max() <= TOLERANCE
        grad = torch.from_numpy(grad) * ~batch["special_tokens_mask"].bool()[..., None]
        wanted = FGM(0.3)(victim.model, batch)
        size = wanted.norm(dim=(1, 2), keepdim=True)
        found = size * grad / grad.norm(dim=(1, 2), keepdim=True)
        assert (found - wanted).abs().max() < 1e-4 and size.min() > 0.1


def test_the_gradient_is_the_slope_of_the_exported_logits(exported):
    """Away from zero and for each class, by differences: no PyTorch in it."""
    victim = exported[0]
    generator = torch.Generator().manual_seed(1)
    batch = victim.encode([TEXTS[1]] * 3, [0, 1, 2])
    delta = 0.1 * torch.randn(3, batch["input_ids"].shape[1], 16, generator=generator)
    way = torch.randn(delta.shape, generator=generator)
    _, grad = run(exported, batch, delta)

    def odds(step):
        logits = run(exported, batch, delta + step * way)[0].astype(float)
        rest = [np.log(np.exp(np.delete(z, k)).sum()) - z[k] for k, z in enumerate(logits)]
        return np.array(rest)

    slope = (odds(1e-2) - odds(-1e-2)) / 2e-2
    assert slope == pytest.approx((grad * way.numpy()).sum((1, 2)), rel=0.02, abs=0.01)
    assert np.abs(slope).min() > 0.01


def test_names_axes_and_what_is_said(exported):
    _, folder, output = exported
    shapes = {i.name: i.shape for i in session(folder).get_inputs()}
    assert shapes.pop("delta") == ["batch", "tokens", 16] and shapes.pop("labels") == ["batch"]
    assert set(shapes) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(shape == ["batch", "tokens"] for shape in shapes.values())
    assert [o.name for o in session(folder).get_outputs()] == ["logits", "gradient"]
    assert {f.name for f in folder.iterdir()} == {"gradient.onnx", "config.json", "tokenizer.json",
                                                  "tokenizer_config.json"}  # fmt: skip
    assert "logit or gradient" in output and 0 < float(output.split()[-1]) <= TOLERANCE


def test_the_model_is_left_as_it_was(exported):
    model = exported[0].model
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not model.get_input_embeddings()._forward_hooks


def test_a_gradient_of_another_model_is_not_kept(exported, tmp_path, monkeypatch):
    """Its logits are right: only the comparison of gradients can tell."""
    import advlib.app.deploy as deploy

    victim, folder, _ = exported
    written = SimpleNamespace(
        model=SimpleNamespace(graph=SimpleNamespace(all_nodes=list)),
        save=lambda file, **how: shutil.copy(folder / "gradient.onnx", file),
    )
    monkeypatch.setattr(torch.onnx, "export", lambda *inputs, **settings: written)
    monkeypatch.setattr(deploy, "_with_gradient", lambda *given: None)
    assert export_gradient(victim, tmp_path) <= TOLERANCE
    real = deploy.wrong_margin
    monkeypatch.setattr(deploy, "wrong_margin", lambda z, y: 1.01 * real(z, y))
    with pytest.raises(ValueError, match="gradient is not the original.*nothing was kept"):
        export_gradient(victim, tmp_path)
    assert not (tmp_path / "gradient.onnx").exists()


def test_a_model_whose_embeddings_delta_does_not_reach_is_refused(tmp_path):
    victim = Classifier(make("Bart"), make_classifier("distilbert").tokenizer)
    with pytest.raises(ValueError, match="bart model cannot be exported to ONNX with its gra") as e:
        export_gradient(victim, tmp_path)
    assert "\n" not in str(e.value) and not (tmp_path / "gradient.onnx").exists()


# ---------------------------------------------------------------------- the page


def test_the_page_names_no_other_host_and_puts_in_no_html():
    files = [f for f in (ROOT / "docs" / "laboratory").iterdir()]
    assert {f.suffix for f in files} == {".html", ".css", ".js"}
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"https?:|[\"'(]//", text), file.name
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)
        assert not found, f"{file.name}: {found}"


def test_the_page_says_which_runtime_and_which_attacks_it_has():
    import build_laboratory

    text = re.sub(r"\s+", " ", (ROOT / "docs" / "laboratory" / "index.html").read_text("utf-8"))
    assert f"ONNX Runtime Web {build_laboratory.RUNTIME.partition('@')[2]}" in text
    typos = Typos(max_changed=0.2, constraints=(KeepWords(),))
    assert typos in PROTOCOLS["standard"].attacks
    assert "Typos(max_changed=0.2, constraints=(KeepWords(),))" in text
    assert WordSubstitution() in PROTOCOLS["standard"].attacks
    assert (PGD(0.3).steps, PGD(0.3).step_size, PGD(0.3).norm) == (10, None, "l2")


def test_the_examples_have_their_labels_and_the_victims_their_measures():
    import build_laboratory

    found = build_laboratory.examples()
    reviews = world("reviews")
    assert [reviews.label(e["text"]) for e in found] == [e["label"] for e in found]
    assert len({e["text"] for e in found}) == len(found) > 10
    victim = advlib.load_classifier("reviews-robust", device="cpu")
    about = json.loads(json.dumps(build_laboratory.about(victim)))
    assert (about["labels"], about["longest"]) == (["negative", "positive"], 128)
    assert about["unit"] == pytest.approx(np.mean(about["norms"]), abs=1e-3)
    assert len(about["norms"]) == victim.model.config.vocab_size


def test_weights_are_cut_off_and_both_halves_read_them(exported, tmp_path):
    import build_laboratory

    victim, folder, _ = exported
    shutil.copy(folder / "gradient.onnx", tmp_path)
    batch = victim.encode(list(TEXTS), list(LABELS))
    wanted = run(exported, batch, torch.zeros(*batch["input_ids"].shape, 16))
    for name, content in build_laboratory.halves(tmp_path / "gradient.onnx", "tiny").items():
        (tmp_path / name).write_bytes(content)
    for name, outputs in (("tiny.logits.onnx", 1), ("tiny.gradient.onnx", 2)):
        half = onnxruntime.InferenceSession(tmp_path / name)
        feed = batch | {"delta": torch.zeros(*batch["input_ids"].shape, 16)}
        found = half.run(None, {i.name: feed[i.name].numpy() for i in half.get_inputs()})
        assert len(found) == outputs
        for ours, theirs in zip(found, wanted, strict=False):
            assert np.abs(ours - theirs).max() < 1e-5


def test_another_package_than_the_checked_one_is_refused(tmp_path, monkeypatch):
    import build_laboratory

    def npm(command, **rest):
        (tmp_path / "some.tgz").write_bytes(b"another")
        return type("Done", (), {"returncode": 0, "stderr": ""})

    monkeypatch.setattr(build_laboratory.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(build_laboratory.subprocess, "run", npm)
    with pytest.raises(SystemExit, match="is not the package that was checked"):
        build_laboratory.runtime(tmp_path)
    monkeypatch.setattr(build_laboratory.shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs npm"):
        build_laboratory.runtime(tmp_path)
