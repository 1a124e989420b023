"""Two processes with batch B do what one with batch 2B does, and exchange gradients once a step."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_job import CASES, STEPS, train
from safetensors.torch import load_file

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def launched(tmp_path_factory):
    """The folder in which two gloo processes left what they trained."""
    folder = tmp_path_factory.mktemp("two")
    # --multi_gpu is how accelerate spells "several processes"; the job itself asks for the CPU.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu",
               "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no",
               "--dynamo_backend", "no", "--main_process_port", "0",
               HERE / "distributed_job.py", folder]  # fmt: skip
    quiet = {"OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True,
                          timeout=500, cwd=HERE)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one_with_twice_the_batch(launched, tmp_path, name):
    found = load_file(launched / f"{list(CASES).index(name)}.safetensors")
    alone = train(name, tmp_path, processes=1).model
    for parameter, value in alone.named_parameters():
        torch.testing.assert_close(found[parameter], value, atol=2e-5, rtol=1e-4, msg=parameter)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_exchanged_once_a_step_and_never_in_the_inner_loop(launched, name):
    exchanges = json.loads((launched / "exchanges.json").read_text())
    assert exchanges[name] == STEPS  # the model is one bucket
