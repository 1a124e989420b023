"""What may differ on a GPU; skipped without one. `bash tools/on_a_gpu.sh` runs them there."""

import copy

import numpy as np
import pytest
import torch
from conftest import LABELS, TEXTS, make_classifier
from datasets import Dataset

import advlib
from advlib.attacks import FGM, PGD, Noise, WordSubstitution
from advlib.evaluation import attack_all
from advlib.finetuning import finetune
from advlib.objectives import Adversarial, Clean

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


@pytest.fixture(scope="module")
def reviews():
    return advlib.load_text("reviews", train_size=64, test_size=60)


def both():
    return [advlib.load_classifier("reviews-clean", device=d) for d in ("cpu", "cuda")]


@pytest.mark.parametrize("attack", [Noise(0.3), FGM(0.3), PGD(0.3, steps=5, random_start=True)])
def test_attacks_are_those_of_the_cpu(attack):
    for architecture in ("bert", "roberta", "gpt2"):
        here = make_classifier(architecture)
        there = advlib.models.Classifier(copy.deepcopy(here.model).cuda(), here.tokenizer)
        wanted, found = (attack(v.model, v.encode(list(TEXTS), list(LABELS))).cpu()
                         for v in (here, there))  # fmt: skip
        assert wanted.abs().max() > 0.01
        assert torch.allclose(found, wanted, atol=1e-4), architecture


@pytest.mark.parametrize("objective", [Clean(), Adversarial(PGD(0.3, steps=2))])
def test_a_step_in_fp16_is_finite_and_changes_the_weights(objective, reviews, tmp_path):
    victim = advlib.load_classifier("reviews-clean", device="cuda")
    before = {name: p.detach().clone() for name, p in victim.model.named_parameters()}
    finetune(victim, reviews["train"], objective, out=str(tmp_path), max_steps=8, batch_size=16,
             fp16=True, learning_rate=1e-4, disable_tqdm=True)  # fmt: skip
    after = dict(victim.model.named_parameters())
    assert all(torch.isfinite(p).all() for p in after.values())
    changed = [not torch.equal(before[name], p) for name, p in after.items()]
    assert sum(changed) > len(changed) / 2


def test_word_attacks_find_the_same_texts(reviews):
    rows = reviews["test"]
    wanted, found = (WordSubstitution()(v, rows["text"], rows["label"]) for v in both())
    assert [(r.text, r.queries) for r in found] == [(r.text, r.queries) for r in wanted]


@pytest.mark.parametrize("attack", [None, FGM(0.3), PGD(0.3, steps=5), WordSubstitution()])
def test_evaluation_counts_the_same_hits(attack, reviews):
    wanted, found = (attack_all(v, reviews["test"], attack) for v in both())
    assert np.array_equal(wanted.robust, found.robust)


def test_logits_are_those_of_the_cpu_in_the_order_of_the_texts():
    texts = ["good", "", "dull " * 300, "The soup was cold, and nobody came back to ask."] * 40
    wanted, found = (v.logits(texts) for v in both())
    assert found == pytest.approx(wanted, abs=1e-4)


def test_a_run_goes_on_from_its_checkpoint(tmp_path):
    data = Dataset.from_dict({"text": list(TEXTS) * 8, "label": list(LABELS) * 8})

    def train(folder, steps, resume=False):
        victim = make_classifier("bert", dropout=0.1)
        victim.model.cuda()
        finetune(victim, data, Adversarial(PGD(0.3, steps=2, random_start=True)), out=str(folder),
                 max_steps=steps, batch_size=4, save_strategy="steps", save_steps=4,
                 lr_scheduler_type="constant", learning_rate=1e-3, disable_tqdm=True,
                 resume=resume)  # fmt: skip
        return victim.model.state_dict()

    wanted = train(tmp_path / "whole", 8)
    train(tmp_path / "parts", 4)
    found = train(tmp_path / "parts", 8, resume=True)
    assert all(torch.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
