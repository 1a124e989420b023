"""A run that is killed, wherever it happens to be, ends as if nothing had happened."""

import json
import multiprocessing
import os
import random
import signal

import pytest
import torch
import transformers
from conftest import make_classifier
from datasets import Dataset
from safetensors.torch import load_file, save_file
from transformers import TrainerCallback, TrainerState, set_seed

import advlib.training
from advlib.attacks import FGM, PGD, Divergence
from advlib.finetuning import finetune
from advlib.objectives import SMART, Adversarial, Free
from advlib.training import last_checkpoint

OBJECTIVES = {
    "PGD": Adversarial(PGD(0.3, steps=2, random_start=True)),
    "SMART": SMART(Divergence(0.3, symmetric=True), momentum=0.5),
    "Free": Free(FGM(0.3), replays=2),
}
ENDINGS = ("good", "bad", "great", "awful", "warm and bright", "very dull indeed")
FILES = [f"writing {name}" for name in ("model.safetensors", "optimizer.pt", "scheduler.pt",
                                        "rng_state.pth", "trainer_state.json")]  # fmt: skip
TEXTS = [f"the {n} was {a}" for n in ("film", "plot", "acting", "ending") for a in ENDINGS]


class Killer(TrainerCallback):
    """Kills the process at the n-th moment of a kind; at = (kind, n), or None."""

    def __init__(self, at):
        self.at, self.moments = at, []

    def moment(self, kind, file=None):
        self.moments.append(kind)
        if self.at == (kind, self.moments.count(kind) - 1):
            if file is not None:  # in the middle of writing it
                whole = open(file, "rb").read()
                open(file, "wb").write(whole[: len(whole) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    def on_step_end(self, *args, **kwargs):
        self.moment("between steps")

    def on_epoch_end(self, *args, **kwargs):
        self.moment("between epochs")

    def on_save(self, *args, **kwargs):
        self.moment("after saving")

    def watch_inner_loop(self, patch):
        inner = PGD._gradient

        def gradient(attack, *rest):
            self.moment("inner loop")
            return inner(attack, *rest)

        for kind in (PGD, Divergence):
            patch.setattr(kind, "_gradient", gradient)

    def watch_saving(self, patch):
        """Every file of a checkpoint: weights, objective, optimiser and random state, record."""
        for home, name in (
            (transformers.modeling_utils, "safe_save_file"), (advlib.training, "save_file"),
            (torch, "save"), (TrainerState, "save_to_json"),
        ):  # fmt: skip
            self._watch(patch, home, name)

    def _watch(self, patch, home, name):
        write = getattr(home, name)

        def saved(what, file, *rest, **named):
            write(what, file, *rest, **named)
            if isinstance(file, str | os.PathLike):
                self.moment(f"writing {os.path.basename(file)}", file)

        patch.setattr(home, name, saved)


def run(folder, objective, at=None, limit=1):
    """Train to the end, or until killed at moment number `at`; leaves weights and moments."""
    torch.set_num_threads(1)
    killer = Killer(at)
    data = Dataset.from_dict({"text": TEXTS, "label": [i % 2 for i in range(len(TEXTS))]})
    set_seed(0)
    victim = make_classifier("bert", classes=2, dropout=0.2)
    with pytest.MonkeyPatch.context() as patch:
        killer.watch_inner_loop(patch)
        killer.watch_saving(patch)
        trainer = finetune(
            victim, data, OBJECTIVES[objective], out=str(folder), epochs=5, batch_size=4,
            learning_rate=1e-2, save_strategy="steps", save_steps=3, save_total_limit=limit,
            use_cpu=True, disable_tqdm=True, callbacks=[killer], resume=True,
        )  # fmt: skip
    save_file({n: p.detach().clone() for n, p in victim.model.named_parameters()},
              folder / "end.safetensors")  # fmt: skip
    (folder / "end.json").write_text(
        json.dumps({"moments": killer.moments, "passes": trainer.passes,
                    "loss": [e["clean_loss"] for e in trainer.state.log_history
                             if "clean_loss" in e][-1]})
    )  # fmt: skip


@pytest.fixture(scope="module")
def process():
    """Starts a function in a process of its own, cheaply, and returns its exit code."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["advlib.training", "conftest"])

    def start(*arguments):
        child = server.Process(target=run, args=arguments)
        child.start()
        child.join(120)
        assert child.exitcode is not None, "the run hangs"
        return child.exitcode

    return start


@pytest.mark.parametrize("objective, kills", [("PGD", 12), ("SMART", 4), ("Free", 4)])
def test_killed_again_and_again_it_ends_the_same(tmp_path, process, objective, kills):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert process(whole, objective) == 0
    end = json.loads((whole / "end.json").read_text())
    kinds = sorted(set(end["moments"]))
    assert set(kinds) >= {"between steps", "between epochs", "after saving", *FILES}
    assert ("writing objective.safetensors" in kinds) == (objective != "PGD")
    rng = random.Random(objective)
    rng.shuffle(kinds)
    for kind in (kinds * kills)[:kills]:
        code = process(cut, objective, (kind, rng.randrange(3) if kind != "between epochs" else 0))
        assert code == -signal.SIGKILL, f"not killed {kind}"
    assert process(cut, objective) == 0
    found, wanted = load_file(cut / "end.safetensors"), load_file(whole / "end.safetensors")
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0, msg=name)
    again = json.loads((cut / "end.json").read_text())
    assert again["passes"] == end["passes"]
    assert again["loss"] == end["loss"]


def checkpoint(folder, step):
    """A checkpoint as far as `last_checkpoint` looks at it."""
    home = folder / f"checkpoint-{step}"
    home.mkdir()
    save_file({"w": torch.zeros(99)}, home / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"w": torch.zeros(99)}, home / name)
    (home / "trainer_state.json").write_text('{"global_step": 1}')
    return home


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt", "trainer_state.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
def test_a_checkpoint_with_half_a_file_is_passed_over(tmp_path, capsys, file, share):
    for step in (2, 10, 14):
        last = checkpoint(tmp_path, step)
    assert last_checkpoint(tmp_path) == str(last)
    whole = (last / file).read_bytes()
    (last / file).write_bytes(whole[: int(share * len(whole))])
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert "checkpoint-14 was not written to its end" in capsys.readouterr().out


NEEDED = ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth",
          "trainer_state.json"]  # fmt: skip


@pytest.mark.parametrize("file", NEEDED)
def test_a_checkpoint_that_lacks_a_file_is_passed_over(tmp_path, file):
    checkpoint(tmp_path, 2)
    (checkpoint(tmp_path, 10) / file).unlink()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def test_a_checkpoint_that_lacks_the_file_of_one_process_is_passed_over(tmp_path):
    for step in (2, 10):
        home = checkpoint(tmp_path, step)
        for rank in range(2 if step == 2 else 1):
            torch.save({}, home / f"rng_state_{rank}.pth")
    assert last_checkpoint(tmp_path, processes=2) == str(tmp_path / "checkpoint-2")


@pytest.mark.parametrize("length", [{"max_steps": 4}, {"epochs": 1.5}])
def test_a_finished_training_is_loaded_and_goes_no_further(tmp_path, length):
    """Also where its end lies inside an epoch."""
    data = Dataset.from_dict({"text": TEXTS, "label": [i % 2 for i in range(len(TEXTS))]})

    def train():
        victim = make_classifier("bert", classes=2)
        arguments = {"epochs": 2, **length}
        trainer = finetune(victim, data, out=str(tmp_path), batch_size=4, learning_rate=1e-2,
                           lr_scheduler_type="constant", save_strategy="steps", save_steps=2,
                           use_cpu=True, disable_tqdm=True, resume=True, **arguments)  # fmt: skip
        return trainer, {n: p.detach().clone() for n, p in victim.model.named_parameters()}

    first, wanted = train()
    again, found = train()
    assert again.state.global_step == first.state.global_step > 0
    assert again.passes == first.passes
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, atol=0, rtol=0, msg=name)


def test_without_a_whole_checkpoint_there_is_none(tmp_path):
    (tmp_path / "checkpoint-3").mkdir()
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nowhere") is None
