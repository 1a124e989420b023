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


def test_gpu_measures_every_objective_in_every_precision(pages):
    import gpu

    gpu.main(argparse.Namespace(batch=2, tokens=8, rounds=1, threads=1, small=True,
                                precision=["fp32", "bf16", "fp16"]))  # fmt: skip
    table = rows(pages / "gpu-small.md")
    found = {precision: [r[1] for r in table if r[0] == precision] for precision, *_ in table}
    assert found["fp32"][:-1] == found["bf16"] == found["fp16"] == list(gpu.OBJECTIVES)
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in table)
    limits = {row[1]: float(row[5]) for row in table if row[0] == "fp16"}
    assert limits["clean"] == 1 and limits["FreeLB-3"] == 3 and limits["PGD-3"] == 4


def test_memory_of_one_mask_is_that_of_clean_training(pages):
    import memory

    memory.main(argparse.Namespace(batch=2, tokens=16, threads=1, small=True))
    ratio = {(row[0], row[1]): float(row[4]) for row in rows(pages / "memory.md")}
    assert ratio["fp32", "PGD-3, one mask"] == ratio["fp32", "FreeLB-3"] == 1
    assert ratio["fp32", "PGD-3"] == pytest.approx(2, abs=0.1)
    kept = {row[1]: float(row[3]) for row in rows(pages / "memory.md") if "check" in row[0]}
    plain = {row[1]: float(row[3]) for row in rows(pages / "memory.md") if row[0] == "fp32"}
    assert all(kept[name] < plain[name] / 3 for name in kept)
