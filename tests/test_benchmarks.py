"""The benchmarks that wait for a GPU run, small, without one."""

import argparse
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))


@pytest.fixture
def pages(monkeypatch, tmp_path):
    """Results go to a folder of their own, and the number of threads is put back."""
    import common

    monkeypatch.setattr(common, "RESULTS", tmp_path)
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def rows(page):
    """The cells of every line of the table but its head."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_a_section_is_put_anew_and_the_rest_stays(pages):
    import common

    page = pages / "page.md"
    page.write_text("# Page\n\n## A\n\nold\n\n## B\n\nolder\n\nRepeat with `it`. Measured on: x.\n")
    common.put("page", "A", "new")
    common.put("page", "B", "newer")
    assert page.read_text() == (
        "# Page\n\n## A\n\nnew\n\n## B\n\nnewer\n\nRepeat with `it`. Measured on: x.\n")


def test_gpu_measures_every_objective_in_every_precision(pages, monkeypatch):
    import gpu

    optimizers, backward, casting = [], torch.Tensor.backward, []

    class Counted(torch.optim.AdamW):
        def __init__(self, *args, **settings):
            super().__init__(*args, **settings)
            optimizers.append(self)

    def watched(loss, *args, **settings):
        casting.append(torch.is_autocast_enabled("cpu"))
        return backward(loss, *args, **settings)

    monkeypatch.setattr(torch.optim, "AdamW", Counted)
    monkeypatch.setattr(torch.Tensor, "backward", watched)
    gpu.main(argparse.Namespace(batch=2, tokens=8, rounds=1, threads=1, small=True,
                                precision=["fp32", "bf16", "fp16"]))  # fmt: skip
    table = rows(pages / "gpu-small.md")
    found = {precision: [r[1] for r in table if r[0] == precision] for precision, *_ in table}
    assert found["fp32"] == found["bf16"] == found["fp16"]
    assert found["fp32"] == [*gpu.OBJECTIVES, gpu.CONVENTIONAL]
    assert all(float(row[2]) > 0 and float(row[4]) > 0 and float(row[7]) > 0 for row in table)
    assert all(row[7] == "1.00" for row in table if row[1] == gpu.CONVENTIONAL)
    limits = {row[1]: float(row[5]) for row in table if row[0] == "fp16"}
    assert limits["clean"] == 1 and limits["FreeLB-3"] == 3 and limits["PGD-3"] == 4
    assert limits[gpu.CONVENTIONAL] == 4
    assert len(optimizers) == 3  # one a precision: the moments of more would count as memory
    assert casting and not any(casting)  # as in the Trainer


def test_conventional_way_in_half_precision_has_a_scaled_gradient():
    import gpu
    from conftest import LABELS, TEXTS, make_classifier

    victim = make_classifier("bert")
    batch = victim.encode(list(TEXTS), list(LABELS))
    plain = {name: value for name, value in batch.items() if name != "special_tokens_mask"}
    victim.model(**plain).loss.backward()
    wanted = victim.model.get_input_embeddings().weight.grad.clone()
    victim.model.zero_grad()
    gpu.half_precision(victim.model, torch.float16)
    labels = plain.pop("labels")
    with gpu.scaled(victim.model, torch.amp.GradScaler("cpu", init_scale=256.0)):
        torch.nn.functional.cross_entropy(victim.model(**plain).logits, labels).backward()
    found = victim.model.get_input_embeddings().weight.grad / 256
    assert not torch.equal(found, wanted)
    assert (found - wanted).norm() < 0.02 * wanted.norm()


@pytest.mark.parametrize(
    "card, fp32, half",
    [("NVIDIA L4", 30.3e12, 121e12), ("NVIDIA L40S", 91.6e12, 362e12),
     ("NVIDIA H100 80GB HBM3", 67e12, 989e12), ("NVIDIA H100 PCIe", 51e12, 756e12),
     ("NVIDIA H100 NVL", None, 835e12), ("NVIDIA GH200 480GB", None, None),
     ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None, None)],
)  # fmt: skip
def test_peaks_are_those_of_the_very_card(monkeypatch, card, fp32, half):
    import gpu

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: card)
    assert gpu.peak("fp32") == fp32 and gpu.peak("fp16") == gpu.peak("bf16") == half


def test_memory_of_one_mask_is_that_of_clean_training(pages):
    import memory

    memory.main(argparse.Namespace(batch=2, tokens=16, threads=1, small=True))
    ratio = {(row[0], row[1]): float(row[4]) for row in rows(pages / "memory.md")}
    assert ratio["fp32", "PGD-3, one mask"] == ratio["fp32", "FreeLB-3"] == 1
    assert ratio["fp32", "PGD-3"] == pytest.approx(2, abs=0.1)
    kept = {row[1]: float(row[3]) for row in rows(pages / "memory.md") if "check" in row[0]}
    plain = {row[1]: float(row[3]) for row in rows(pages / "memory.md") if row[0] == "fp32"}
    assert all(kept[name] < plain[name] / 3 for name in kept)
