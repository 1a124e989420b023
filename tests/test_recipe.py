"""The recipe: enough steps, the attack sets in late, the best checkpoint; a collapse is seen."""

import math

import pytest
import torch
import transformers
from conftest import make_classifier
from datasets import Dataset
from transformers import TrainerCallback, TrainingArguments, set_seed

import advlib.finetuning
import advlib.training
from advlib.attacks import FGM, PGD
from advlib.finetuning import Collapsed, finetune, recipe
from advlib.objectives import Adversarial, After, Clean, FreeLB, Madry, Objective, Parts, RDrop

GOOD, BAD = "good great fine bright warm", "bad awful dull curt slow"
TEXTS = [(f"the {n} {v} {a}", y) for n in ("film", "plot", "acting", "ending")
         for v in ("was", "felt", "seemed") for y, words in enumerate((BAD, GOOD))
         for a in words.split()]  # fmt: skip


@pytest.fixture
def data():
    texts, labels = zip(*TEXTS, strict=True)
    return Dataset.from_dict({"text": texts, "label": labels})


@pytest.fixture
def real(monkeypatch):
    """Tiny models count as pre-trained encoders, and a hundred steps are enough."""
    monkeypatch.setattr(advlib.finetuning, "SMALL", 0)
    monkeypatch.setattr(advlib.finetuning, "LEAST_STEPS", 100)


def train(data, out, objective=None, **arguments):
    set_seed(0)
    victim = make_classifier("bert", classes=2)
    settings = dict(batch_size=12, learning_rate=5e-3, disable_tqdm=True, use_cpu=True)
    return victim, finetune(victim, data, objective, out=str(out), **settings | arguments)


def test_small_sets_get_steps_and_not_epochs():
    encoder = torch.nn.Linear(2000, 1001)
    wanted = ((40, 240, 72), (720, 253, 75), (2700, 255, 76), (60_000, 5625, 1687))
    for texts, steps, plain in wanted:
        found = recipe(encoder, texts)
        assert found.epochs * -(-texts // 32) == steps and found.after == plain, texts
        assert found.learning_rate == 5e-5
    assert recipe(torch.nn.Linear(2, 2), 720) == advlib.finetuning.Recipe(10, 1e-3, 0)


def test_what_was_asked_for_is_kept():
    encoder = torch.nn.Linear(2000, 1001)
    found = recipe(encoder, 720, epochs=2, learning_rate=1e-4)
    assert (found.epochs, found.learning_rate) == (2, 1e-4) and found.after == int(0.3 * 46)
    assert recipe(encoder, 720, after=0).after == 0
    assert recipe(encoder, 720, batch_size=720, epochs=10).after == 3
    assert recipe(encoder, 720, max_steps=20).after == 6
    assert recipe(encoder, 720, replays=4, epochs=10).after == int(0.3 * 230 * 4)


@pytest.mark.parametrize("objective", [Adversarial(FGM(0.3)), Madry(FGM(0.3)),
                                       FreeLB(PGD(0.3, steps=2))])  # fmt: skip
def test_every_objective_sets_in_after_plain_steps(data, tmp_path, real, objective):
    _, trainer = train(data, tmp_path, objective, epochs=2, logging_steps=1)
    assert trainer.objective == After(objective, 6) and trainer.recipe.after == 6
    eps = [entry["eps"] for entry in trainer.state.log_history if "eps" in entry]
    assert eps == [0.0] * 6 + [0.3] * 14
    assert train(data, tmp_path, objective, epochs=1, after=0)[1].objective == objective


@pytest.mark.parametrize("objective", [None, RDrop()])
def test_where_nothing_is_attacked_nothing_is_late(data, tmp_path, real, objective):
    set_seed(0)
    victim = make_classifier("bert", classes=2, dropout=0.1)
    trainer = finetune(victim, data, objective, out=str(tmp_path), epochs=1, disable_tqdm=True)
    assert trainer.recipe.after == 0 and not isinstance(trainer.objective, After)


def test_the_best_checkpoint_is_kept(data, tmp_path, real):
    """A training that is good in the middle and is spoiled afterwards ends as it was there."""
    rows = {}

    class Spoil(TrainerCallback):
        @torch.no_grad()
        def on_step_end(self, args, state, control, model=None, **kwargs):
            if state.global_step > 80:
                model.classifier.weight.mul_(1e-3)
                model.classifier.bias.copy_(torch.tensor([0.0, 1.0]))

        def on_evaluate(self, args, state, control, metrics=None, **kwargs):
            rows[state.global_step] = metrics

    victim, trainer = train(data, tmp_path, Adversarial(FGM(0.1)), evaluation=data,
                            attack=FGM(0.1), callbacks=[Spoil()], watch=False)  # fmt: skip
    assert list(rows) == list(range(10, 101, 10))
    assert rows[100]["eval_accuracy"] == 0.5 and rows[100]["eval_one_class"] == 1.0
    best = trainer.state.best_global_step
    assert 70 <= best <= 80 and rows[best]["eval_robust_accuracy"] > 0.8
    right = (victim.predict(data["text"]).argmax(1) == data["label"]).mean()
    assert right == pytest.approx(rows[best]["eval_accuracy"])
    assert not isinstance(trainer.objective, Clean)


@pytest.mark.parametrize(
    "floor, before, wanted", [(None, [], 0.5), (0.9, [], 0.5 - 3 * 0.1), (None, [0.92], 0.5 - 0.3)]
)
def test_robust_accuracy_counts_as_long_as_clean_accuracy_does_not_fall(tmp_path, floor, before,
                                                                        wanted, monkeypatch):
    """choice: 80 % clean and 50 % robust; what clean lacks to the floor counts three times."""
    trainer = advlib.training.AdversarialTrainer(
        make_classifier("bert").model, TrainingArguments(str(tmp_path)), floor=floor
    )
    trainer.state.global_step = trainer.state.max_steps = 9
    trainer.state.log_history += [{"eval_accuracy": value} for value in before]
    margins = iter([torch.tensor([-1.0] * 8 + [1.0] * 2), torch.tensor([-1.0] * 5 + [1.0] * 5)])
    monkeypatch.setattr(advlib.training, "wrong_margin", lambda *args, **named: next(margins))
    monkeypatch.setattr(trainer, "_logits", lambda *args: torch.eye(3)[[0, 1, 2, 0, 0] * 2])
    monkeypatch.setattr(trainer, "_prepare_inputs", lambda batch: batch)
    trainer.attack = lambda model, batch: None
    found = trainer._judged([{"labels": torch.zeros(10, dtype=torch.long)}])
    assert (found["accuracy"], found["robust_accuracy"], found["one_class"]) == (0.8, 0.5, 0.6)
    assert found["choice"] == pytest.approx(wanted, abs=1e-5)


# --- collapse ------------------------------------------------------------------------------------


class Ruinous(Objective):
    """Drives the model to class 0 while its ε is above some size, and trains it below."""

    def __init__(self, eps, bearable):
        self.eps, self.bearable = eps, bearable

    def __call__(self, model, batch, backward, *, step=0, generator=None):
        if self.eps <= self.bearable:
            return Clean()(model, batch, backward)
        logits = model(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits
        backward(loss := 5 * (logits[:, 1] - logits[:, 0] + 4).square().mean())
        loss = loss.detach() * 0 + math.log(2)
        return Parts(loss, loss, loss, 1, 1)

    def softer(self):
        return Ruinous(self.eps / 2, self.bearable)


def test_a_collapse_is_taken_back_and_made_softer(data, tmp_path, real, capsys):
    victim, trainer = train(data, tmp_path, Ruinous(0.4, 0.2), evaluation=data, attack=FGM(0.1))
    said = capsys.readouterr().out
    assert "training has collapsed by step" in said and "Back to checkpoint-" in said
    assert trainer.softened and trainer.collapse is None
    assert trainer.state.global_step == trainer.state.max_steps
    assert trainer.objective.objective.eps == 0.2
    assert (victim.predict(data["text"]).argmax(1) == data["label"]).mean() > 0.9


def test_without_texts_to_judge_by_the_loss_shows_it(data, tmp_path, real, capsys):
    victim, trainer = train(data, tmp_path, Ruinous(0.4, 0.2), after=0)
    said = capsys.readouterr().out
    assert "the loss stands at 0.693" in said and "Back to the beginning" in said
    assert (victim.predict(data["text"]).argmax(1) == data["label"]).mean() > 0.9


def test_what_collapses_again_stops_with_the_reason(data, tmp_path, real):
    with pytest.raises(Collapsed, match="one class, with half of ε too.*smaller ε"):
        train(data, tmp_path, Ruinous(0.4, 0.1), evaluation=data, attack=FGM(0.1), after=0)


def test_a_run_that_was_interrupted_goes_on_with_the_softer_objective(data, tmp_path, real):
    class Stop(TrainerCallback):
        def on_save(self, args, state, control, **kwargs):
            control.should_training_stop = trained == 2 and state.global_step >= 80

        def on_train_begin(self, args, state, control, **kwargs):
            nonlocal trained
            trained += 1

    trained, arguments = 0, dict(evaluation=data, attack=FGM(0.1))
    _, first = train(data, tmp_path, Ruinous(0.4, 0.2), callbacks=[Stop()], **arguments)
    assert first.state.global_step == 80 < first.state.max_steps
    _, second = train(data, tmp_path, Ruinous(0.4, 0.2), resume=True, **arguments)
    assert second.state.global_step == second.state.max_steps
    assert second.objective.objective.eps == 0.2 and second.softened


def test_a_new_training_knows_nothing_of_a_collapse_of_the_one_before(data, tmp_path, real):
    (tmp_path / "softer.txt").write_text("an earlier training in this folder collapsed")
    train(data, tmp_path, max_steps=1)
    assert not (tmp_path / "softer.txt").exists()


def test_in_a_notebook_there_is_one_bar_alone(data, tmp_path, monkeypatch):
    from transformers.utils.notebook import NotebookProgressCallback

    monkeypatch.setattr(transformers.trainer, "DEFAULT_PROGRESS_CALLBACK", NotebookProgressCallback)
    _, trainer = train(data, tmp_path, max_steps=1, disable_tqdm=False)
    names = [type(one).__name__ for one in trainer.callback_handler.callbacks]
    assert "Bar" in names and not [n for n in names if n in ("NotebookProgressCallback",
                                                             "ProgressCallback")]  # fmt: skip


def test_a_folder_with_another_name_is_no_checkpoint(data, tmp_path, real):
    _, trainer = train(data, tmp_path, evaluation=data)
    (tmp_path / "checkpoint-mine").mkdir()
    assert trainer.last_good() and trainer.last_good().rpartition("-")[2].isdigit()


def test_a_healthy_training_is_left_alone(data, tmp_path, real, capsys):
    for objective in (Adversarial(FGM(0.1)), Madry(FGM(0.1))):
        _, trainer = train(data, tmp_path, objective, evaluation=data, attack=FGM(0.1))
        assert trainer.softened is None and "collapsed" not in capsys.readouterr().out


def test_a_rare_class_is_no_collapse_of_the_training(tmp_path, real, capsys):
    """One class for nearly all texts is what nearly all texts are; the evaluation judges that."""
    texts, labels = zip(*TEXTS, strict=True)
    kept = [(t, y) for k, (t, y) in enumerate(TEXTS) if y == 0 or k == 5]
    data = Dataset.from_dict({"text": [t for t, _ in kept], "label": [y for _, y in kept]})
    _, trainer = train(data, tmp_path, Adversarial(FGM(0.1)), evaluation=data, attack=FGM(0.1),
                       learning_rate=1e-4)  # fmt: skip
    assert trainer.softened is None and "collapsed" not in capsys.readouterr().out


def test_class_weights_give_rare_classes_their_share(tmp_path):
    kept = [(t, y) for k, (t, y) in enumerate(TEXTS) if y == 0 or k % 20 == 5]
    data = Dataset.from_dict({"text": [t for t, _ in kept], "label": [y for _, y in kept]})
    rows = advlib.training.tokenize(make_classifier("bert", classes=2), data, balanced=True)
    sums = [sum(w for w, y in zip(rows["weight"], rows["labels"], strict=True) if y == k)
            for k in (0, 1)]  # fmt: skip
    assert sums[0] == pytest.approx(sums[1]) and sum(sums) == pytest.approx(len(data))
    found = {}
    for balanced in (False, True):
        victim, _ = train(data, tmp_path, Adversarial(FGM(0.1)), balanced=balanced, epochs=3,
                          learning_rate=1e-3)  # fmt: skip
        rare = [t for t, y in TEXTS if y == 1]
        found[balanced] = (victim.predict(rare).argmax(1) == 1).mean()
    assert found[True] > found[False] + 0.2
