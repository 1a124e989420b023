"""Checks of lesson 08, adversarial training from scratch.

The specification: a training step is computed text by text, without padding, from embeddings that
the check hands to a small BERT in double precision, with perturbations that the check has chosen;
accuracies are counted one text at a time; schedules, stopping and frontiers are looked up by brute
force.
"""

from __future__ import annotations

import copy
import functools
import math
import zlib
from collections.abc import Callable, Sequence

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from advlib import plots
from advlib.attacks.embedding import perturbed_logits
from course.checking import (
    Exercise,
    Wrong,
    call,
    compare,
    expect,
    seeded,
    small_bert,
    specified,
    used,
)

# ---------------------------------------------------------------- what the checks attack with


def _words(batch) -> Tensor:
    """(batch, tokens, 1) True where a word stands."""
    return ((batch["attention_mask"] == 1) & (batch["special_tokens_mask"] == 0))[..., None]


def _push(ids: Sequence[int], width: int, hidden: int, size: float) -> Tensor:
    """The check's perturbation of a text: it depends on its token ids and on nothing else."""
    own = torch.Generator().manual_seed(seeded(zlib.crc32(repr(list(ids)).encode())))
    out = torch.zeros(width, hidden, dtype=torch.double)
    out[: len(ids)] = size * torch.randn(len(ids), hidden, generator=own, dtype=torch.double)
    return out


NOBODY = "the attack was called where nobody is to be attacked: passes for nothing"
LEAVE_OUT = "lam = 0 (or a ratio that rounds to no text): leave the attack out"


class _Attack:
    """Called like an attack of the library; remembers how, and what it saw of the model."""

    def __init__(self, size: float):
        self.size = size
        self.calls: list[dict] = []

    def __call__(self, model, batch, *, keep_best=True, generator=None, first_grad=None) -> Tensor:
        ids, real = batch["input_ids"], batch["attention_mask"].sum(1).tolist()
        if not real:  # before the model stumbles over an empty batch
            raise Wrong(NOBODY, given={"texts handed to the attack": 0}, likely=LEAVE_OUT)
        texts = [tuple(row[:n].tolist()) for row, n in zip(ids, real, strict=True)]
        self.calls.append(dict(texts=texts, keep_best=keep_best, training=model.training,
                               tracked=any(v.requires_grad for v in batch.values())))  # fmt: skip
        weight = model.get_input_embeddings().weight
        delta = torch.stack([_push(t, ids.shape[1], weight.shape[1], self.size) for t in texts])
        return (delta * _words(batch).cpu()).to(weight)

    @property
    def texts(self) -> list[tuple[int, ...]]:
        return [text for made in self.calls for text in made["texts"]]


# ---------------------------------------------------------------- 08.1


def _small_bert(seed: int, lengths: Sequence[int]):
    """(model, batch): three classes, dropout, other people's gradients, and texts of these lengths;
    in eval mode."""
    g = torch.Generator().manual_seed(seeded(seed))
    labels = torch.randint(3, (len(lengths),), generator=g).tolist()
    model, batch = small_bert(seed, labels, lengths, classes=3, dropout=0.1)
    for p in model.parameters():
        p.grad = torch.full_like(p, 0.5)
    return model, batch


class _SGD(torch.optim.SGD):
    """Plain gradient descent that counts its steps."""

    def __init__(self, model: nn.Module, rate: float):
        super().__init__(model.parameters(), lr=rate)
        self.made = 0

    def step(self, closure=None):
        self.made += 1
        return super().step(closure)


def _each_loss(model: nn.Module, batch, sign: float, size: float) -> list[Tensor]:
    """The losses of the single texts, at sign times the check's perturbation; 0 is clean."""
    table, out = model.get_input_embeddings().weight, []
    words = _words(batch)
    for i, n in enumerate(batch["attention_mask"].sum(1).tolist()):
        ids = batch["input_ids"][i, :n]
        delta = _push(ids.tolist(), n, table.shape[1], size) * words[i, :n]
        logits = model(inputs_embeds=(table[ids] + sign * delta)[None]).logits[0]
        out.append(torch.logsumexp(logits, 0) - logits[batch["labels"][i]])
    return out


def _gradient(model: nn.Module, losses: Sequence[Tensor]) -> tuple[float, Tensor]:
    """The mean of some losses and its gradient in all parameters, as one vector."""
    mean = sum(losses) / len(losses)
    grads = torch.autograd.grad(mean, list(model.parameters()), allow_unused=True,
                                retain_graph=True)  # fmt: skip
    flat = [torch.zeros_like(p) if g is None else g
            for g, p in zip(grads, model.parameters(), strict=True)]  # fmt: skip
    return mean.item(), torch.cat([g.flatten() for g in flat])


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def check_adversarial_step(answer) -> None:
    for seed, lengths, lam, ratio in (
        (811, (6, 4, 8), 0.7, 1.0),
        (812, (5, 7, 4, 6), 2.5, 0.55),
        (813, (5,), 1.6, 1.0),
        (814, (7, 4, 5), 0.4, 0.6),
        (821, (5, 4, 6, 4, 7, 5, 4, 6, 5), 0.9, 0.5),  # 4.5 texts, and 4 keys
        (815, (4, 6, 5), 0.0, 1.0),
        (816, (4, 6), 1.3, 0.2),
    ):
        _one_step(answer, seed, lengths, lam, ratio)
    _default_ratio(answer)
    _in_training(answer)
    _two_steps(answer)


def _call(answer, model, optimizer, batch, attack, lam, ratio, given):
    """The pair (clean, adv), after everything that must not change has been looked at."""
    more = {} if ratio is None else {"ratio": ratio}
    try:
        result = call(answer, model=model, optimizer=optimizer, batch=batch, attack=attack,
                      lam=lam, **more, trains=True, same_mode=True)  # fmt: skip
    except Wrong as wrong:
        wrong.given = wrong.given or given
        raise
    return _pair(result, "(clean, adv)", given)


def _pair(result, names: str, given):
    """The two things that a function returned."""
    expect(result is not None, f"the function returns None: return {names}", given=given)
    expect(isinstance(result, tuple | list) and len(result) == 2,
           f"the function should return two things, {names}", given=given,
           yours=repr(result)[:200])  # fmt: skip
    return result


def _one_step(answer, seed, lengths, lam, ratio) -> None:
    size, rate = 0.8, 0.05
    model, batch = _small_bert(seed, lengths)
    n = len(lengths)
    k = round(ratio * n) if lam else 0
    given = {"texts in the batch": n, "lam": lam, "ratio": ratio, "to be attacked": k}
    before = _flat(model)
    losses = {s: _each_loss(model, batch, s, size) for s in (0.0, 1.0, -1.0)}
    clean, g_clean = _gradient(model, losses[0.0])
    adv, g_adv = _gradient(model, losses[1.0][:k]) if k else (None, 0 * g_clean)
    right = g_clean + lam * g_adv
    optimizer, attack = _SGD(model, rate), _Attack(size)
    result = _call(answer, model, optimizer, batch, attack, lam, ratio, given)
    _attack_was_asked(attack, batch, k, given)
    expect(optimizer.made > 0, "the optimiser made no step: the weights stay as they are",
           given=given, likely="optimizer.step() is missing")  # fmt: skip
    expect(optimizer.made == 1, f"the optimiser made {optimizer.made} steps, one is asked for",
           given=given, likely="a step for each term: add the two losses, and make one "
           "step")  # fmt: skip
    moved = (before - _flat(model)) / rate  # the gradient that the step followed
    old = torch.full_like(right, 0.5)
    wrong = {
        "the weights did not move: zero_grad() comes between backward() and step()": 0 * right,
        "backward() is missing: this step followed the gradient that lay there before": old,
        "the gradients from before were added: call optimizer.zero_grad() before backward()":
            right + old,
        "wrong sign: this climbs the loss": -right,
        "sum instead of mean over the texts": n * g_clean + k * lam * g_adv,
    }  # fmt: skip
    if k:
        _, same = _gradient(model_at(model, before), _each_loss(model, batch, 0.0, size)[:k])
        _, minus = _gradient(model, _each_loss(model, batch, -1.0, size)[:k])
        _, every = _gradient(model, _each_loss(model, batch, 1.0, size))
        _, rest = (_gradient(model, _each_loss(model, batch, 0.0, size)[k:]) if k < n
                   else (0.0, 0 * right))  # fmt: skip
        wrong |= {
            "the clean term alone: lam * L_adv is missing": g_clean,
            "the adversarial term alone: the clean loss is missing": lam * g_adv,
            "the adversarial term alone, without lam: the clean loss is missing": g_adv,
            "lam is forgotten: this is L + L_adv": g_clean + g_adv,
            "minus: this pays the model for being wrong on attacked texts (lesson 01)":
                g_clean - lam * g_adv,
            "delta has no effect: the second term is the clean loss again": g_clean + lam * same,
            "delta is subtracted": g_clean + lam * minus,
            "lam stands at the wrong term: this is lam * L + L_adv": lam * g_clean + g_adv,
            "the weights are (1 - lam) and lam: the loss is L + lam * L_adv":
                (1 - lam) * g_clean + lam * g_adv,
            "divided by 1 + lam: the loss is L + lam * L_adv": right / (1 + lam),
            "the mean of the two terms: the loss is their sum": right / 2,
            "L_adv is divided by the size of the whole batch: it is the mean over the attacked "
            "texts": g_clean + lam * k / n * g_adv,
            "lam is multiplied by the ratio: L_adv is a mean, lam stays as it is":
                g_clean + lam * ratio * g_adv,
            "the clean loss is taken over the attacked texts only: it is for the whole batch":
                same + lam * g_adv,
            "the clean loss is taken over the texts that are not attacked: it is for the whole "
            "batch": rest + lam * g_adv,
            "the ratio is ignored: L_adv is over all texts": g_clean + lam * every,
        }  # fmt: skip
        model_at(model, before - rate * moved)
    near = dict(atol=1e-7, rtol=1e-5)
    wrong = {name: v for name, v in wrong.items() if not torch.allclose(v, right, atol=1e-6)}
    compare(moved, right, given=given, what="the gradient that the step followed",
            mistakes=wrong, **near)  # fmt: skip
    with torch.no_grad():
        later = {s: float(torch.stack(_each_loss(model, batch, s, size)[:count]).mean())
                 for s, count in ((0.0, n), (1.0, k or n))}  # fmt: skip
    _losses(result, clean, adv, lam, n, k, given, later)


def model_at(model: nn.Module, weights: Tensor) -> nn.Module:
    """Put a vector back into the parameters."""
    start = 0
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(weights[start : start + p.numel()].view_as(p))
            start += p.numel()
    return model


def _attack_was_asked(attack: _Attack, batch, k: int, given) -> None:
    """Once, for the right texts, and for its last point."""
    texts = [
        tuple(row[:n].tolist())
        for row, n in zip(batch["input_ids"], batch["attention_mask"].sum(1).tolist(), strict=True)
    ]
    if k == 0:
        expect(not attack.calls, NOBODY, given=given, likely=LEAVE_OUT)
        return
    expect(attack.calls, "the attack was never called", given=given)
    expect(all(not made["keep_best"] for made in attack.calls), "the attack was asked for its "
           "best point: that costs a pass more", given=given,
           likely="keep_best=False is missing in attack(model, part, keep_best=False)")  # fmt: skip
    if attack.texts == texts[:k]:
        expect(len(attack.calls) == 1, "the attack was called once per text: hand it the whole "
               "part", given=given)  # fmt: skip
        return
    if all(made["texts"] == texts[:k] for made in attack.calls):
        raise Wrong(f"the attack was called {len(attack.calls)} times for the same texts: once is "
                    "enough", given=given, likely="the losses are computed anew for the return "
                    "value, with an attack of their own: return those of before the update, from "
                    "which the gradients came")  # fmt: skip
    likely = None
    if attack.texts == texts:
        likely = "the ratio is ignored: the whole batch was attacked"
    elif attack.texts == texts[len(texts) - k :]:
        likely = "the last texts were attacked: the first ones are asked for"
    elif len(attack.texts) == k:
        likely = ("as many texts as asked for, but others or in another order: take the first ones "
                  "as they stand, the batch is in random order already")  # fmt: skip
    elif len(attack.texts) == round(given["ratio"] * len(batch)):
        likely = "len(batch) counts the keys of the dictionary: size is len(batch['labels'])"
    elif len(attack.texts) in (int(given["ratio"] * len(texts)),
                               math.ceil(given["ratio"] * len(texts))):  # fmt: skip
        likely = "rounded in another way: round(ratio * size) texts"
    elif len(attack.calls) > 1:
        likely = "the attack was called more than once"
    raise Wrong("the attack was called for other texts than the first round(ratio * size)",
                given=given, yours=f"{len(attack.texts)} texts", expected=f"the first {k}",
                likely=likely)  # fmt: skip


def _losses(
    result, clean: float, adv: float | None, lam: float, n: int, k: int, given, later: dict
) -> None:
    """The two numbers returned. later: those of after the update, clean (0.0) and adv (1.0)."""
    stale = "the loss of after the update: return that of before, from which the gradients came"
    for name, value in zip(("clean", "adv"), result, strict=True):
        expect(not (isinstance(value, Tensor) and value.requires_grad),
               f"{name} is a tensor with its graph: a list of such losses fills the memory",
               given=given, likely="return loss.item(), a number")  # fmt: skip
    first, second = (float(v) if isinstance(v, Tensor) and v.numel() == 1 else v for v in result)
    compare(first, clean, given=given, what="the first of the two, the clean loss", mistakes={
        "the sum is returned: return the two losses one by one": clean + lam * (adv or 0),
        "the adversarial loss stands first": math.inf if adv is None else adv,
        stale: later[0.0],
        "sum instead of mean": n * clean})  # fmt: skip
    if k == 0:
        likely = "a number in the place of None: 0.0 would say that the attacked texts have no loss"
        if second == first:
            likely = "the clean loss again: without an attack there is no adversarial loss"
        expect(second is None, "nobody was attacked, so adv should be None", given=given,
               yours=second, likely=likely)  # fmt: skip
        return
    compare(second, adv, given=given, what="the second of the two, the adversarial loss", mistakes={
        "it is multiplied by lam: return L_adv itself": lam * adv, "the clean loss": clean,
        stale: later[1.0],
        "the sum of both terms: return L_adv itself": clean + lam * adv,
        "sum instead of mean": k * adv})  # fmt: skip


def _default_ratio(answer) -> None:
    (model, batch), attack = _small_bert(817, (5, 6)), _Attack(0.5)
    given = dict(lam=1.0, ratio="left out: 1.0")
    _call(answer, model, _SGD(model, 0.05), batch, attack, 1.0, None, given)
    _attack_was_asked(attack, batch, 2, given | {"ratio": 1.0})


def _in_training(answer) -> None:
    """In training mode dropout is on: the mode stays, and the masks are drawn."""
    values = []
    for seed in (1, 2):
        model, batch = _small_bert(818, (6, 5, 4))
        used(model)  # in training mode, and its first parameter frozen
        given = {"mode": "training", "lam": 1.0, "ratio": 1.0}
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            pair = _call(answer, model, _SGD(model, 0.05), batch, _Attack(0.5), 1.0, 1.0, given)
        values.append([float(v) for v in pair])
    for a, b, name in zip(*values, ("clean", "adv"), strict=True):
        expect(a != b, f"the {name} loss does not depend on the dropout mask: dropout is off",
               given=given, yours=[a, b], likely="the step sets the random generator (set_seed, "
               "torch.manual_seed), so every step draws the same mask")  # fmt: skip


def _two_steps(answer) -> None:
    """The second step must not follow what the first has left."""
    model, rate, size = _small_bert(819, (5,))[0], 0.05, 0.8
    optimizer = _SGD(model, rate)
    for seed in (8191, 8192):
        batch = _small_bert(seed, (5, 4, 6))[1]
        given = {"step": seed - 8190, "lam": 1.2, "ratio": 1.0}
        before = _flat(model)
        right = sum(w * _gradient(model, _each_loss(model, batch, s, size))[1]
                    for w, s in ((1.0, 0.0), (1.2, 1.0)))  # fmt: skip
        _call(answer, model, optimizer, batch, _Attack(size), 1.2, 1.0, given)
        compare((before - _flat(model)) / rate, right, given=given, atol=1e-7, rtol=1e-5,
                what=f"the gradient that step {seed - 8190} followed")  # fmt: skip


# ---------------------------------------------------------------- 08.2


@functools.cache
def _reviews(classes: int = 2):
    """A trained classifier, and texts of the world of very different lengths. classes = 3: a class
    more in its head, which wins on a third of the texts."""
    import advlib

    victim = advlib.load_classifier("reviews-clean", device="cpu")
    texts = advlib.load_text("reviews", train_size=20, test_size=90)["test"]
    if classes == 3:
        model = copy.deepcopy(victim.model)
        wider = nn.Linear(model.classifier.in_features, 3)
        g = torch.Generator().manual_seed(seeded(822))
        with torch.no_grad():
            wider.weight[:2], wider.bias[:2] = model.classifier.weight, model.classifier.bias
            wider.weight[2] = 0.3 * torch.randn(wider.in_features, generator=g)
            wider.bias[2] = 0.0
            model.classifier = wider
            model.config.num_labels, model.config.id2label = 3, dict(enumerate("abc"))
            victim = type(victim)(model.eval(), victim.tokenizer)
            logits = torch.as_tensor(victim.logits(texts["text"]))
            lead = (logits[:, :2].max(1).values - logits[:, 2]).sort().values
            k = len(lead) // 3
            wider.bias[2] = ((lead[k - 1] + lead[k]) / 2).item()
    return victim, texts


@functools.cache
def _single_verdicts(size: float, first: int, last: int, classes: int = 2) -> tuple[Tensor, Tensor]:
    """Predicted classes of some texts, one at a time: clean, and at the check's perturbation."""
    victim, data = _reviews(classes)
    table = victim.model.get_input_embeddings().weight.detach()
    found = []
    for text in data["text"][first:last]:
        ids = torch.tensor(victim.tokenizer(text)["input_ids"])
        delta = _push(ids.tolist(), len(ids), table.shape[1], size).to(table)
        delta[[0, -1]] = 0
        with torch.no_grad():
            logits = victim.model(
                inputs_embeds=torch.stack([table[ids], table[ids] + delta])
            ).logits
        found.append(logits.argmax(1))
    return tuple(torch.stack(found).T)


def check_evaluate(answer) -> None:
    g = torch.Generator().manual_seed(827)  # tells all mistakes apart
    for first, last, size, mode, labels, classes in (
        (0, 70, 0.3, "training", "mixed", 2), (70, 90, 0.5, "eval", "mixed", 2),
        (10, 19, 0.5, "training", "all 1", 2), (30, 31, 0.3, "eval", "mixed", 2),
        (0, 40, 0.5, "training", "mixed", 3),
    ):  # fmt: skip
        clean, attacked = _single_verdicts(size, first, last, classes)
        n = last - first
        truth = torch.where(torch.rand(n, generator=g) < 0.3, (clean + 1) % classes, clean)
        if labels == "all 1":
            truth = torch.ones(n, dtype=torch.long)
        _one_evaluation(answer, first, last, size, mode == "training", truth, classes)


def _one_evaluation(answer, first, last, size, training, truth: Tensor, classes: int) -> None:
    victim, data = _reviews(classes)
    before, attacked = _single_verdicts(size, first, last, classes)
    n = last - first
    rows = Dataset.from_dict({"text": data["text"][first:last], "label": truth.tolist()})
    model, attack = victim.model, _Attack(size)
    mode = "training" if training else "eval"
    ok, still = before == truth, attacked == truth
    given = {"texts": n, "classes": classes, "wrong from the start": int((~ok).sum()),
             "wrong, but right under attack": int((~ok & still).sum()),
             "model handed over in": f"{mode} mode"}  # fmt: skip
    modes: list[bool] = []
    frozen = next(model.parameters()).requires_grad_(False)
    hook = model.register_forward_pre_hook(lambda module, args: modes.append(module.training))
    try:
        model.train(training)
        result = call(lambda model: answer(victim, rows, attack), model)
    except Wrong as wrong:
        wrong.given = wrong.given or given
        raise
    finally:
        hook.remove()
        frozen.requires_grad_(True)
        model.eval().zero_grad(set_to_none=True)
    _pair(result, "(clean, robust)", given)
    expect(attack.calls, "the attack was never called", given=given)
    expect(not any(modes), "the model was in training mode while it was judged: dropout makes the "
           "numbers random", given=given, likely="model.eval() is missing")  # fmt: skip
    expect(not any(made["training"] for made in attack.calls), "the model was in training mode "
           "while it was attacked", given=given, likely="model.eval() comes too late")  # fmt: skip
    expect(all(made["keep_best"] for made in attack.calls), "the attack was told not to keep its "
           "best point: evaluate with the strongest that it finds", given=given,
           likely="keep_best=False belongs to training, not to evaluation")  # fmt: skip
    for name, value in zip(("clean", "robust"), result, strict=True):
        expect(not (isinstance(value, Tensor) and value.requires_grad), f"{name} has a graph",
               given=given, likely="torch.no_grad() is missing")  # fmt: skip
    share = [float(v) if isinstance(v, Tensor) and v.numel() == 1 else v for v in result]
    clean, robust = ok.double().mean().item(), (ok & still).double().mean().item()
    parts = [chosen for chosen, _ in victim.batches(rows["text"])]
    order = sum(parts, [])
    filed = before[order] == truth  # predictions as the batches bring them, labels as the file

    def by_batch(right: Tensor) -> float:
        return sum(right[p].double().mean().item() for p in parts) / len(parts)

    same = dict(given=given, atol=1e-6, rtol=1e-6)
    compare(share[0], clean, what="the clean accuracy", **same, mistakes={
        "a count: divide by the number of texts": clean * n,
        "per cent: a share from 0 to 1 is asked for": clean * 100,
        "the labels are taken in the order of the file, but batches come sorted by length: use "
        "batch['labels'], or the indices": filed.double().mean().item(),
        "the mean over batches: they differ in size, so count texts": by_batch(ok),
        "clean and robust are swapped": robust,
        "the share that is wrong": 1 - clean})  # fmt: skip
    compare(share[1], robust, what="the robust accuracy", **same, mistakes={
        "texts that are wrong from the start count as right where the attack happened to put them "
        "right: ask for right before AND after": still.double().mean().item(),
        "the share of those that were right: divide by all texts":
            robust / clean if clean else math.nan,
        "a prediction that stays the same is not enough: it must be right":
            (before == attacked).double().mean().item(),
        "right before OR after: it must be both": (ok | still).double().mean().item(),
        "the share that the attack has fooled: ask for those that are right before AND after":
            (ok & ~still).double().mean().item(),
        "the labels are taken in the order of the file, but batches come sorted by length: use "
        "batch['labels'], or the indices":
            (filed & (attacked[order] == truth)).double().mean().item(),
        "a count: divide by the number of texts": robust * n,
        "the mean over batches: they differ in size, so count texts": by_batch(ok & still),
        "the success rate of the attack: the share that is still right is asked for": 1 - robust,
        "the clean accuracy again: delta has no effect": clean})  # fmt: skip


# ---------------------------------------------------------------- 08.4: warm-up


def _warmed(lam, step, warmup, mistake: Callable | None = None) -> float:
    """Looked up in the list of what lam is at step 0, 1, …, warmup; or a mistake."""
    if mistake is not None:
        return float(mistake(lam, step, warmup))
    grown = [lam * k / warmup for k in range(warmup)] + [lam]
    return float(grown[min(step, len(grown) - 1)])


def _if_warmed(rule: Callable) -> Callable:
    """A rule for a warm-up; without one lam holds at once."""
    return lambda lam, step, warmup: rule(lam, step, warmup) if warmup else lam


SLIPS = {
    "with warmup = 0 lam must hold at once: it is 0 for ever":
        lambda lam, step, w: lam * min(1, step / w) if w else 0.0,
    "with warmup = 0 lam must hold at once, also at step 0: a case of its own":
        lambda lam, step, w: lam * min(1, step / max(1, w)),
    "lam does not multiply, it only cuts off: the share of the way is min(1, step / warmup), times "
    "lam": _if_warmed(lambda lam, step, w: min(lam, step / w)),
    "no upper end: after the warm-up it is lam": _if_warmed(lambda lam, step, w: lam * step / w),
    "off by one: at step 0 nothing is attacked yet, and lam is reached at step warmup":
        _if_warmed(lambda lam, step, w: lam * min(1.0, (step + 1) / w)),
    "off by one: lam is reached at step warmup":
        _if_warmed(lambda lam, step, w: lam * min(1.0, step / max(w - 1, 1))),
    "a jump: it should grow evenly": lambda lam, step, w: lam * (step >= w),
    "the warm-up has no effect": lambda lam, step, w: lam,
    "lam is missing": lambda lam, step, w: min(1.0, step / w) if w else 1.0,
    "it falls where it should grow":
        _if_warmed(lambda lam, step, w: lam * (1 - min(1.0, step / w))),
    "squared: it should grow evenly": _if_warmed(lambda lam, step, w: lam * min(1, step / w) ** 2),
}  # fmt: skip


def check_warmed(answer) -> None:
    problems = [
        dict(lam=lam, step=step, warmup=warmup)
        for lam, warmup in ((1.0, 10), (0.4, 4), (3.0, 1), (2.0, 0), (0.0, 5), (1.5, 7))
        for step in (3, 0, 1, 2, 5, 6, 7, 9, 10, 11, 40)
    ]

    def as_number(lam, step, warmup):
        try:
            yours = answer(lam, step, warmup)
        except ZeroDivisionError as error:
            raise Wrong("division by zero: without warm-up (warmup = 0) lam holds at once",
                        given=dict(lam=lam, step=step, warmup=warmup),
                        expected=lam) from error  # fmt: skip
        return float(yours) if isinstance(yours, Tensor) and yours.numel() == 1 else yours

    specified(as_number, problems, _warmed, {name: dict(mistake=slip) for name, slip
                                             in SLIPS.items()},
              what="the lam of this step", atol=1e-9, rtol=1e-9)  # fmt: skip


# ---------------------------------------------------------------- 08.5: when to stop


def _stop(robust: Sequence[float], patience: int) -> tuple[int, int]:
    """By the words: for every epoch, how long ago was the first of the highest values so far?"""
    for now in range(len(robust)):
        seen = list(robust[: now + 1])
        best = seen.index(max(seen))
        if now - best >= patience:
            return best, now
    return best, now


def check_early_stop(answer) -> None:
    g = torch.Generator().manual_seed(seeded(840))
    cases = [([0.2, 0.5, 0.6, 0.4, 0.5, 0.3, 0.2, 0.9, 0.4], 2), ([0.1, 0.3, 0.5, 0.7], 3),
             ([0.5], 1), ([0.5, 0.6, 0.6, 0.4, 0.7], 2), ([0.5, 0.505, 0.51, 0.515, 0.4], 2),
             ([0.5, 0.5004, 0.5008, 0.5012, 0.4], 2), ([0.5, 0.52, 0.54, 0.56, 0.4], 2),
             ([0.6, 0.6, 0.6, 0.7], 2), ([0.7, 0.6, 0.5, 0.4, 0.3], 2), ([0.3, 0.5, 0.5, 0.4], 5),
             ([0.2, 0.6, 0.3, 0.5, 0.4, 0.5], 3), ([0.0, 0.0, 0.1], 2), ([0.4, 0.3, 0.5, 0.2], 1),
             ([0.5, 0.4, 0.45, 0.5, 0.47, 0.46], 3)]  # fmt: skip
    for _ in range(60):
        n = int(torch.randint(1, 9, (), generator=g))
        values = torch.randint(0, 5, (n,), generator=g).div(10).tolist()
        cases.append(([round(v, 1) for v in values], int(torch.randint(1, 5, (), generator=g))))
    problems = [dict(robust=robust, patience=patience) for robust, patience in cases]

    def epochs(robust, patience):
        return _two_epochs(answer(robust, patience), robust, patience)

    def spec(robust, patience, mistake=None):
        return _variants(robust, patience)[mistake] if mistake else _stop(robust, patience)

    specified(epochs, problems, spec, {name: dict(mistake=name) for name in _variants([0.5], 1)},
              what="(best, last)")  # fmt: skip


def _two_epochs(yours, robust, patience) -> tuple[int, int]:
    """What a function returned, as two whole numbers."""
    given, right = dict(robust=robust, patience=patience), _stop(robust, patience)
    best, last = _pair(yours, "(best, last)", given)
    for name, value in (("best", best), ("last", last)):
        expect(value is not None, f"{name} is None", given=given, yours=(best, last),
               expected=right, likely="if patience never runs out, last is the last epoch of the "
               "list" if name == "last" else "epoch 0 is always a new best, so there is "
               "one")  # fmt: skip
    try:
        whole = all(not isinstance(v, bool) and float(v) == int(v) for v in (best, last))
    except (TypeError, ValueError, OverflowError):  # a text, a list, nan, infinity
        whole = False
    expect(whole, "an epoch is a whole number: its place in the list, not its accuracy",
           given=given, yours=(best, last), expected=right)  # fmt: skip
    return int(best), int(last)


def _with_gain(robust: list[float], patience: int, gain: float) -> tuple[int, int]:
    """What comes out if a new best must be larger by more than gain."""
    best = 0
    for now, value in enumerate(robust):
        best = now if value - robust[best] > gain else best
        if now - best >= patience:
            break
    return best, now


def _variants(robust: list[float], patience: int) -> dict[str, tuple[int, int]]:
    """Likely mistakes, and what they give."""
    n, end = len(robust), len(robust) - 1
    top = robust.index(max(robust))
    best, last = _stop(robust, patience)
    falls = [k for k in range(n) if k >= patience and all(
        robust[j] < robust[j - 1] for j in range(k - patience + 1, k + 1))]  # fmt: skip
    late = max(k for k in range(last + 1) if robust[k] == max(robust[: last + 1]))
    since, mark, where, tied = 0, -math.inf, 0, end
    for k, value in enumerate(robust):  # a tie counts as a new best
        where, mark, since = (k, value, 0) if value >= mark else (where, mark, since + 1)
        if since >= patience:
            tied = k
            break
    total, best_so, gone = 0, -math.inf, end
    for k, value in enumerate(robust):  # all epochs without a new best, not those in a row
        total, best_so = (total, value) if value > best_so else (total + 1, best_so)
        if total >= patience:
            gone = k
            break
    head = list(robust[: gone + 1])
    low = list(robust[: last + 1])
    return {
        "a tie counts as a new best: an equal value is not one, only a strictly larger (> and not "
        ">=)": (where, tied),
        "one too many: where it never stops, last is the last epoch of the list, and the epochs "
        "are counted from 0": (best, last if last - best >= patience else n),
        "it never stops, and the length of the list is one more than its last epoch": (top, n),
        "it looks into the future: epochs after the stop are never trained": (top, last),
        "it never stops: patience is ignored": (top, end),
        "the last epoch's weights are kept: keep the best": (last, last),
        "the two are swapped: (best, last) is asked for": (last, best),
        "off by one: it stops one epoch too late": _stop(robust, patience + 1),
        "off by one: it stops one epoch too early":
            _stop(robust, patience - 1) if patience > 1 else (0, 0),
        "the epochs are counted from 1: the first is epoch 0": (best + 1, last + 1),
        "at a tie the later epoch is kept: only a strictly larger value is a new best":
            (late, last),
        "compared with the epoch before, not with the best so far": (
            robust.index(max(robust[: falls[0] + 1])), falls[0]) if falls else (top, end),
        "it counts all epochs without a new best: patience is for epochs in a row, and starts "
        "again after a new best": (head.index(max(head)), gone),
        "the smallest value: this is an accuracy and not a loss": (low.index(min(low)), last),
    } | {
        f"a gain as small as {gain:g} is not counted: a new best is any strictly larger value":
            _with_gain(robust, patience, gain) for gain in (0.001, 0.01, 0.05)
    }  # fmt: skip


# ---------------------------------------------------------------- 08.3: the frontier


def _undominated(points) -> list[int]:
    return [i for i, (a, b) in enumerate(points)
            if not any(c >= a and d >= b and (c > a or d > b) for c, d in points)]  # fmt: skip


def check_frontier(answer) -> None:
    g = torch.Generator().manual_seed(seeded(850))
    cases = [[(0.9, 0.2), (0.8, 0.55), (0.7, 0.4), (0.6, 0.7)], [(0.5, 0.5)],
             [(0.3, 0.9), (0.5, 0.55), (0.9, 0.5)], [(0.95, 0.1), (0.6, 0.3), (0.5, 0.9)],
             [(0.3, 0.1), (0.9, 0.3), (0.9, 0.6), (0.4, 0.6), (0.95, 0.2)],
             [(0.8001, 0.6), (0.8, 0.6), (0.5, 0.7), (0.5, 0.6999)],
             [(0.7, 0.7), (0.7, 0.7), (0.2, 0.1)],
             [(0.1, 0.2), (0.3, 0.4), (0.5, 0.6)]]  # fmt: skip
    for n in (2, 3, 5, 8, 12, 5, 6, 7, 9):
        cases.append([(round(a, 3), round(b, 3))
                      for a, b in torch.rand(n, 2, generator=g).tolist()])  # fmt: skip
        rough = torch.randint(0, 4, (n, 2), generator=g).div(4).tolist()
        cases.append([tuple(v) for v in rough])  # with ties and repetitions

    def spec(points, mistake=None):
        return _dominance_slips(points)[mistake] if mistake else _undominated(points)

    specified(
        lambda points: _indices(answer(points), points),
        [dict(points=points) for points in cases],
        spec,
        {name: dict(mistake=name) for name in _dominance_slips([(0.5, 0.5)])},
        what="the list of those that nobody dominates",
        picture=lambda yours, right, given: _frontier_picture(given["points"], yours, right),
    )


def _indices(yours, points) -> list[int]:
    """What a function returned, as a list of whole numbers."""
    given, right = dict(points=points), _undominated(points)
    expect(yours is not None, "the function returns None", given=given)
    expect(isinstance(yours, list), f"a sorted list is asked for, not a {type(yours).__name__}",
           given=given, yours=repr(yours)[:200], expected=right,
           likely="a set has no order: sorted(…) makes a sorted list of it"
           if isinstance(yours, set | frozenset)
           else "list(…) or .tolist() makes a list of it")  # fmt: skip
    try:
        listed = [v.item() if hasattr(v, "item") else v for v in yours]
        whole = all(not isinstance(v, bool | str) and float(v) == int(v) for v in listed)
    except (TypeError, ValueError):
        whole = False
    expect(whole and not any(isinstance(v, bool) for v in yours), "a list of indices is asked "
           "for: the places of the points in the list", given=given, yours=repr(yours)[:200],
           expected=right, likely="the points themselves, or True and False")  # fmt: skip
    listed = [int(v) for v in listed]
    if listed != right and sorted(set(listed)) == right:
        raise Wrong("these are the right points, but not as a sorted list without repetitions",
                    given=given, yours=listed, expected=right,
                    likely="the right ones, in another order: sort the indices"
                    if sorted(listed) == right else "an index occurs twice")  # fmt: skip
    return listed


def _dominance_slips(points) -> dict[str, list[int]]:
    """Likely mistakes, and what they give."""
    n, right = range(len(points)), _undominated(points)
    a, b = [p[0] for p in points], [p[1] for p in points]

    def free(beats) -> list[int]:
        return [i for i in n if not any(beats(j, i) for j in n)]

    hull = _hull(points, right)
    return {
        "the accuracies are rounded before they are compared: take them as they are":
            _undominated([(round(x, 2), round(y, 2)) for x, y in points]),
        "a point that is equal in the robust accuracy and larger in the clean one dominates too":
            free(lambda j, i: a[j] >= a[i] and b[j] > b[i]),
        "a point that is equal in the clean accuracy and larger in the robust one dominates too":
            free(lambda j, i: a[j] > a[i] and b[j] >= b[i]),
        "each point is compared with those before it in the list: compare it with all":
            free(lambda j, i: j < i and points[j] != points[i] and a[j] >= a[i] and b[j] >= b[i]),
        "these are the dominated ones": [i for i in n if i not in right],
        "`or` in place of `and`: a point is dominated only by one that is at least as large in "
        "BOTH": free(lambda j, i: a[j] > a[i] or b[j] > b[i]),
        "`or` in place of `and`: a point that is larger in one and smaller in the other dominates "
        "nothing": free(lambda j, i: (a[j] >= a[i] or b[j] >= b[i]) and points[j] != points[i]),
        "points.index(…) finds the first of equal points twice: go through with enumerate":
            sorted(points.index(points[i]) for i in right),
        "a point stays though another is better in one and equal in the other: that is enough to "
        "dominate it": free(lambda j, i: a[j] > a[i] and b[j] > b[i]),
        "of two equal points neither dominates the other: both stay":
            free(lambda j, i: j != i and a[j] >= a[i] and b[j] >= b[i]),
        "of two equal points one is missing: neither dominates the other, both stay":
            [i for i in right if points[i] not in points[:i]],
        "this is the lower left edge: large values are good in both":
            free(lambda j, i: a[j] <= a[i] and b[j] <= b[i] and points[j] != points[i]),
        "only the highest robust accuracy": [i for i in n if b[i] == max(b)],
        "only the highest clean accuracy": [i for i in n if a[i] == max(a)],
        "the convex hull: a point in a dent is dominated by no single point, and stays":
            hull,
        "the convex hull, and of two equal points one: a point in a dent stays, and so do both "
        "equal ones": [i for i in hull if points[i] not in points[:i]],
        "only the two ends: what lies between them belongs to the frontier too":
            sorted({a.index(max(a)), b.index(max(b))}),
        "the largest sum only: a frontier has no exchange rate":
            [i for i in n if a[i] + b[i] == max(map(sum, points))],
        "all points": list(n),
    }  # fmt: skip


def _hull(points, right) -> list[int]:
    """Those that win for some exchange rate between the two accuracies."""
    found = set()
    for k in range(1, 400):
        w = k / 400
        scores = [w * a + (1 - w) * b for a, b in points]
        found |= {i for i in right if scores[i] >= max(scores) - 1e-12}
    return sorted(found)


def _frontier_picture(points, yours, right):
    with plots.style():
        fig, ax = plots.figure(4, 3.4)
        ax.plot(*zip(*points, strict=True), "o", color=plots.COLOURS["noise"], label="points")
        for chosen, mark, colour, name in (
            (right, "s", plots.COLOURS["adversarial"], "expected"),
            (yours, "x", plots.COLOURS["standard"], "yours"),
        ):
            found = [points[i] for i in chosen if 0 <= i < len(points)]
            if found:
                ax.plot(*zip(*found, strict=True), mark, color=colour, markersize=11,
                        fillstyle="none", label=name)  # fmt: skip
        ax.set(xlabel="clean accuracy", ylabel="robust accuracy")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    return fig


# ---------------------------------------------------------------- the course's own versions


def adversarial_step(model, optimizer, batch, attack, lam: float, ratio: float = 1.0):
    """One step on L + lam * L_adv; L_adv is the mean over the first round(ratio * size) texts.

    batch: as `Classifier.encode` makes it. The model stays in the mode in which it is. Returns the
    two losses as numbers; the second is None where nobody was attacked (lam = 0, or no text).
    """
    attacked = round(ratio * len(batch["labels"])) if lam else 0
    clean = cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    loss, adv = clean, None
    if attacked:
        part = {name: value[:attacked] for name, value in batch.items()}
        delta = attack(model, part, keep_best=False)
        adv = cross_entropy(perturbed_logits(model, part, delta), part["labels"])
        loss = clean + lam * adv
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return clean.item(), adv if adv is None else adv.item()


def evaluate(victim, data, attack) -> tuple[float, float]:
    """(clean, robust) accuracy on `data` (columns text, label): robust texts are right before and
    after the attack. In eval mode; the model's mode is put back."""
    model, was = victim.model, victim.model.training
    model.eval()
    clean = robust = 0
    for _, batch in victim.batches(data["text"], data["label"]):
        delta = attack(model, batch)
        with torch.no_grad():  # judged, not trained
            right = perturbed_logits(model, batch, None).argmax(1) == batch["labels"]
            still = perturbed_logits(model, batch, delta).argmax(1) == batch["labels"]
        clean += right.sum().item()
        robust += (right & still).sum().item()
    model.train(was)
    return clean / len(data), robust / len(data)


def warmed(lam: float, step: int, warmup: int) -> float:
    """The lam of a step: it grows evenly from 0 at step 0 to lam at step `warmup`, and stays."""
    return lam * min(1.0, step / warmup) if warmup else lam


def early_stop(robust: Sequence[float], patience: int) -> tuple[int, int]:
    """(best, last): the epoch to keep, and the one after which training ends, because `patience`
    epochs in a row have brought no new best."""
    best = 0
    for epoch, value in enumerate(robust):
        if value > robust[best]:
            best = epoch
        if epoch - best >= patience:
            break
    return best, epoch


def frontier(points: Sequence[tuple[float, float]]) -> list[int]:
    """The sorted indices of the (clean, robust) points that no other point dominates."""

    def beats(p, q):
        return p[0] >= q[0] and p[1] >= q[1] and (p[0] > q[0] or p[1] > q[1])

    return [i for i, q in enumerate(points) if not any(beats(p, q) for p in points)]


EXERCISES: dict[str, Exercise] = {
    "08.1": Exercise("the adversarial step", check_adversarial_step, adversarial_step),
    "08.2": Exercise("clean and robust accuracy", check_evaluate, evaluate),
    "08.3": Exercise("the frontier", check_frontier, frontier),
    "08.4": Exercise("warm-up", check_warmed, warmed),
    "08.5": Exercise("when to stop", check_early_stop, early_stop),
}
