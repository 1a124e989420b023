"""Two processes with batch B do what one with batch 2B does, and exchange gradients once a step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_job import CASES, RANDOM, RESUMED, SHARDED, STEPS, step, train
from safetensors.torch import load_file

HERE = Path(__file__).parent


def launch(folder, *command):
    """Two processes that leave in `folder` what they found."""
    quiet = {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run([sys.executable, "-m", *command], env=os.environ | quiet, cwd=HERE,
                          capture_output=True, text=True, timeout=500)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    # --multi_gpu is how accelerate spells "several processes"; the job itself asks for the CPU.
    return launch(folder, "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                  "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
                  "--main_process_port", "0", HERE / "distributed_job.py", folder)  # fmt: skip


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    return launch(folder, "torch.distributed.run", "--standalone", "--nproc_per_node", "2",
                  HERE / "distributed_job.py", folder, "sharded")  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_twice_the_batch(launched, tmp_path, name):
    found = load_file(launched / f"{list(CASES).index(name)}.safetensors")
    alone = train(name, tmp_path, processes=1).model
    for parameter, value in alone.named_parameters():
        torch.testing.assert_close(found[parameter], value, atol=2e-5, rtol=1e-4, msg=parameter)


@pytest.mark.parametrize("name", CASES | RANDOM)
def test_gradients_are_exchanged_once_a_step_and_never_in_the_inner_loop(launched, name):
    exchanges = json.loads((launched / "exchanges.json").read_text())
    assert exchanges[name] == STEPS  # the model is one bucket


@pytest.mark.parametrize("name", RESUMED)
def test_two_resumed_processes_end_as_if_never_stopped(launched, name):
    home = launched / name.replace(" ", "-")
    whole, again = load_file(home / "whole.safetensors"), load_file(home / "again.safetensors")
    for parameter, value in whole.items():
        torch.testing.assert_close(again[parameter], value, atol=1e-6, rtol=0, msg=parameter)
    kept = {file.name for file in (home / "run" / "checkpoint-3").glob("objective*")}
    assert (
        kept
        == {
            "random starts": set(),
            "resumed free": {
                "objective.safetensors",
                "objective_1.safetensors",
            },  # other texts each
            "resumed smart": {"objective.safetensors"},
        }[name]
    )


@pytest.mark.parametrize("name", SHARDED)
def test_sharded_weights_get_the_same_gradient(shards, name):
    """FSDP: each process holds half of every layer."""
    found = load_file(shards / f"{list(SHARDED).index(name)}.safetensors")
    alone = step(name)
    assert found.keys() == alone.keys()
    for parameter, value in alone.items():
        torch.testing.assert_close(found[parameter], value, atol=1e-9, rtol=1e-7, msg=parameter)
