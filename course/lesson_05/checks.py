"""Checks of lesson 05, three sources of adversarial examples.

The specification: what a generator proposes is scaled text by text in double precision; both
losses and both steps of the game are worked out with plain functions of the parameters, without an
optimiser, on a BERT of hidden size 6; the break-even point and the transfer rate are counted.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from numbers import Integral

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from advlib import plots
from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin
from course.checking import Exercise, Wrong, compare, expect, small_bert, unchanged

# ---------------------------------------------------------------- 05.1


class _Net(nn.Module):
    """A small generator in double precision that remembers with what it was called."""

    def __init__(self, hidden: int, seed: int, silent: int | None = None, loud: float = 1.0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        draw = functools.partial(torch.randn, generator=g, dtype=torch.double)
        self.weight = nn.Parameter(0.7 * draw(hidden, hidden))
        self.told = nn.Parameter(0.8 * draw(2, hidden))
        self.silent, self.loud, self.calls, self.modes = silent, loud, [], []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(batch, tokens, hidden) from the embeddings and (batch,) labels."""
        self.calls.append((embeddings.detach().clone(), labels.clone()))
        self.modes.append(self.training)
        raw = self.loud * torch.tanh(embeddings.double() @ self.weight + self.told[labels][:, None])
        if self.silent is not None:
            raw = raw * (labels != self.silent)[:, None, None]
        return raw


def _plain_generate(net, embeddings, labels, mask, eps, *, when="before", over="text", power=1.0,
                    stretch=True, masked=True, root=0.5, wide=False,
                    cut=False) -> Tensor:  # fmt: skip
    """The specification, one text at a time; the keywords are its mistakes."""
    raw = net(embeddings, labels)
    whole = torch.stack([row[keep].square().sum() for row, keep in zip(raw, mask, strict=True)])
    out = []
    for row, keep in zip(raw, mask, strict=True):
        free = row * keep[:, None] if masked else row
        counted = free if when == "before" else row
        if over == "token":
            square = counted.square().sum(1, keepdim=True)
        elif over == "batch":
            square = whole.sum()
        elif over == "coordinate":
            square = counted.square().sum(0, keepdim=True)
        elif over == "largest":
            square = counted.square().max()
        else:
            square = counted.square().sum()
        size = torch.where(square > 0, square, 1) ** root if stretch else 1
        size = size.clamp(min=eps) if cut else size
        size = size / keep.sum() ** 0.5 if wide and keep.any() else size
        out.append(eps**power * free / size)
    return torch.stack(out)


def check_generate(answer) -> None:
    g = torch.Generator().manual_seed(510)
    for turn, ((n, tokens, hidden), eps, case) in enumerate((
            ((3, 5, 4), None, None), ((3, 5, 4), 0.7, None), ((1, 3, 2), 1.9, None),
            ((4, 2, 3), 0.3, "empty"), ((4, 4, 3), 1.3, "silent"),
            ((3, 5, 3), 0.8, "quiet"))):  # fmt: skip
        net = _Net(hidden, 511 + n, silent=1 if case == "silent" else None,
                   loud=1e-4 if case == "quiet" else 1.0).train(turn % 2 == 0)  # fmt: skip
        embeddings = torch.randn(n, tokens, hidden, generator=g, dtype=torch.double)
        labels = torch.arange(n) % 2
        mask = torch.ones(n, tokens, dtype=torch.bool)
        mask[:, 0] = False
        for i in range(n):
            mask[i, tokens - i % (tokens - 1) :] = False
        if case == "empty":
            mask[1] = False
        if eps is None:  # between the lengths of what the network says
            with torch.no_grad():
                lengths = (net(embeddings, labels) * mask[..., None]).square().sum((1, 2)).sqrt()
            eps = round((lengths.min() + lengths.max()).item() / 2, 2)
        _one_generate(answer, net, embeddings, labels, mask, eps, case)


def _one_generate(answer, net, embeddings, labels, mask, eps, case) -> None:
    given = {"embeddings": embeddings, "labels": labels, "mask": mask, "eps": eps}
    if case:
        given["note"] = {
            "empty": "text 1 has no free token",
            "silent": "the network returns zeros for the texts of label 1",
            "quiet": "the network says little: its numbers are about 0.0001",
        }[case]
    copies = [embeddings.clone(), labels.clone(), mask.clone()]
    net.calls.clear()
    net.modes.clear()
    mode = net.training
    yours = answer(net, *copies, eps)
    for before, now, name in zip((embeddings, labels, mask), copies,
                                 ("embeddings", "labels", "mask"), strict=True):  # fmt: skip
        unchanged(before, now, name)
    expect(net.calls, "the network was never asked: call net(embeddings, labels)", given=given)
    expect(net.training == mode and all(now == mode for now in net.modes),
           "the network's mode was changed: net.train() and net.eval() are the caller's business",
           given=given)  # fmt: skip
    _asked(net, embeddings, labels, given)
    spec = functools.partial(_plain_generate, net, embeddings, labels, mask, eps)
    with torch.no_grad():
        right = spec()
        mistakes = {
            "the mask comes after the length was measured: what is cut away has taken its share "
            "of eps": spec(when="after"),
            "the mask is forgotten: padding and special tokens are pushed too": spec(
                when="after", masked=False),
            "the length is taken over the whole batch: each text has a ball of its own": spec(
                over="batch"),
            "the length is taken per token: eps is for the whole text": spec(over="token"),
            "the length is taken over the tokens only (dim=1)": spec(over="coordinate"),
            "divided by the squared length: its root is missing": spec(root=1.0),
            "divided by the largest entry: that is the max norm, the length is L2": spec(
                over="largest"),
            "eps times the root of the number of tokens: eps is for the whole text": spec(
                wide=True),
            "eps is missing: the length is 1": spec(power=0.0),
            "projected onto the ball: what was shorter than eps stays shorter, but every delta is "
            "exactly eps long": spec(cut=True),
            "not normalised: eps times what the network says": spec(stretch=False),
            "neither eps nor a length: this is what the network says": spec(
                stretch=False, power=0.0),
            "the embeddings were added: delta is the push alone": embeddings + right,
            "delta is zero": torch.zeros_like(right),
            "the sign is turned around": -right,
        }  # fmt: skip
    mistakes = {k: v for k, v in mistakes.items() if not _same(v, right)}
    if isinstance(yours, Tensor) and yours.isnan().any():
        raise Wrong("delta has nan: a length of zero was divided by", given=given, yours=yours,
                    expected=right, likely="0/0; torch.where(size > 0, size, 1)")  # fmt: skip
    if case == "quiet" and _short(yours, right, eps):
        raise Wrong("delta points the right way and is too short", given=given, yours=yours,
                    expected=right, likely="the length was kept from being small (clamp, or a "
                    "number added to it); only a length of zero needs care")  # fmt: skip
    compare(None if yours is None else _detached(yours), right, given=given, what="delta",
            mistakes=mistakes)  # fmt: skip
    expect(yours.requires_grad, "no gradient can flow back from delta to the network: it could "
           "never be trained", given=given,
           likely="detach() or torch.no_grad() in your function")  # fmt: skip
    weights = torch.randn(right.shape, generator=torch.Generator().manual_seed(1)).double()
    found = torch.autograd.grad((yours * weights).sum(), tuple(net.parameters()), allow_unused=True)
    expect(all(grad is not None for grad in found), "no gradient reaches a part of the network",
           given=given)  # fmt: skip
    found = torch.cat([grad.flatten() for grad in found])
    expect(found.isfinite().all(), "the gradient that the network gets is not finite", given=given,
           yours=found, likely="a division by a length of zero")  # fmt: skip
    if case != "silent":
        raw = net(embeddings, labels) * mask[..., None]
        size = raw.square().sum((1, 2), keepdim=True).sqrt().detach()
        stiff = eps * raw / torch.where(size > 0, size, 1)
        compare(found, _slope(spec(), weights, net), given=given, atol=1e-6,
                what="the gradient that the network gets from sum(weights · delta)",
                mistakes={"the length was treated as a constant (detached), but it depends on the "
                          "network": _slope(stiff, weights, net)})  # fmt: skip


def _asked(net: _Net, embeddings: Tensor, labels: Tensor, given: Mapping) -> None:
    """The network was shown the texts as they are: all at once, or one after the other."""
    shown = torch.cat([call[1].flatten() for call in net.calls])
    times = max(1, len(shown) // len(labels))
    wanted = labels.repeat(times)
    expect(torch.equal(shown, wanted), "the network was given other labels", given=given,
           yours=shown, expected=wanted)  # fmt: skip
    words = [call[0] for call in net.calls]
    whole = all(w.dim() == 3 and w.shape[1:] == embeddings.shape[1:] for w in words)
    same = whole and _same(torch.cat(words), embeddings.repeat(times, 1, 1))
    expect(same, "the network was given other embeddings than yours", given=given,
           yours=torch.cat(words) if whole else None, expected=embeddings,
           likely="it reads the text as it is; the mask belongs on what it answers")  # fmt: skip


def _short(yours, right: Tensor, eps: float) -> bool:
    """The direction of every text is right, and some are shorter than eps."""
    if not isinstance(yours, Tensor) or yours.shape != right.shape:
        return False
    mine, wanted = yours.detach().double().flatten(1), right.double().flatten(1)
    said = wanted.norm(dim=1) > 0
    along = F.cosine_similarity(mine[said], wanted[said], eps=1e-30)
    size = mine[said].norm(dim=1)
    return bool((along > 1 - 1e-6).all() and (size <= eps * (1 + 1e-6)).all()
                and (size < eps * (1 - 1e-6)).any())  # fmt: skip


def _slope(delta: Tensor, weights: Tensor, net: nn.Module) -> Tensor:
    grads = torch.autograd.grad((delta * weights).sum(), tuple(net.parameters()))
    return torch.cat([grad.flatten() for grad in grads])


def _detached(value):
    return value.detach() if isinstance(value, Tensor) else value


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- 05.2


@functools.cache
def _bert() -> tuple[nn.Module, dict[str, Tensor]]:
    return small_bert(520, labels=(1, 0, 1, 1), lengths=(7, 5, 4, 6), scale=0.7)


def _logits(model, batch, delta: Tensor | None) -> Tensor:
    """Logits by handing the model its embeddings."""
    words = model.get_input_embeddings().weight[batch["input_ids"]]
    words = words if delta is None else words + delta
    return model(inputs_embeds=words, attention_mask=batch["attention_mask"]).logits


def _gap(model, batch, delta: Tensor | None) -> Tensor:
    """z_wrong − z_right for two classes, (batch,)."""
    logits = _logits(model, batch, delta)
    rows = torch.arange(len(logits))
    return logits[rows, 1 - batch["labels"]] - logits[rows, batch["labels"]]


def check_generator_loss(answer) -> None:
    bert, batch = _bert()
    with torch.no_grad():
        says = _logits(bert, batch, None).argmax(1)
    batch = batch | {"labels": torch.where(torch.arange(4) < 2, says, 1 - says)}  # half are wrong
    g = torch.Generator().manual_seed(521)
    loud = copy.deepcopy(bert)
    with torch.no_grad():
        loud.classifier.weight.mul_(40)
    for training, scale, original in ((False, 0.5, bert), (True, 1.5, bert),
                                      (False, 0.0, bert), (True, 0.7, loud)):  # fmt: skip
        model = copy.deepcopy(original).train(training)
        modes = _watch(model)
        frozen = model.get_input_embeddings().weight.requires_grad_(False)
        delta = scale * torch.randn(4, 7, 6, generator=g, dtype=torch.double)
        delta = (delta * attackable(batch)[..., None]).requires_grad_()
        given = {"batch": "4 texts of different lengths", "delta": delta.detach(),
                 "labels": batch["labels"]}  # fmt: skip
        gap = _gap(original, batch, delta)
        wanted = torch.autograd.grad(-gap.mean(), delta)[0]
        right = -gap.mean().detach()
        with torch.no_grad():
            mistakes = _loss_mistakes(original, batch, delta, gap)
        mistakes = {k: v for k, v in mistakes.items() if abs(float(v - right)) > 1e-4}
        copies = {k: v.clone() for k, v in batch.items()}
        mine = delta.detach().clone().requires_grad_()
        loss = answer(model, copies, mine)
        for name in batch:
            unchanged(batch[name], copies[name], f"batch[{name!r}]")
        unchanged(delta.detach(), mine.detach(), "delta")
        compare(_detached(loss), right, given=given, what="the loss", mistakes=mistakes)
        _model_as_before(model, training, frozen, given)
        expect(all(mode == training for mode in modes), "the model's mode was changed for the "
               "pass: the caller has chosen it", given=given,
               likely="model.eval() or model.train() is not needed here")  # fmt: skip
        expect(loss.requires_grad, "the loss hangs on nothing that could be trained", given=given,
               likely="delta was detached, or the passes ran under torch.no_grad()")  # fmt: skip
        expect(mine.grad is None, "your function runs backward() itself: return the loss, and the "
               "training loop will do that", given=given)  # fmt: skip
        loss.backward()
        left = [n for n, p in model.named_parameters() if p.grad is not None]
        expect(not left, f"after loss.backward() {len(left)} parameters of the model have a .grad: "
               "the victim's next step would add the attacker's gradient to its own", given=given,
               likely="switch the parameters' requires_grad off for the forward pass, and "
                      "afterwards back to what it was")  # fmt: skip
        expect(mine.grad is not None, "no gradient reaches delta", given=given,
               likely="delta was detached or copied")  # fmt: skip
        compare(mine.grad, wanted, given=given, what="the gradient of the loss in delta")


def _watch(module: nn.Module) -> list[bool]:
    """A list that gets the module's mode at each of its passes."""
    modes: list[bool] = []
    module.register_forward_pre_hook(lambda now, inputs: modes.append(now.training))
    return modes


def _loss_mistakes(model, batch, delta, gap) -> dict[str, Tensor]:
    other = batch | {"labels": 1 - batch["labels"]}
    entropy = F.cross_entropy(_logits(model, batch, delta), batch["labels"])
    says = batch | {"labels": _logits(model, batch, None).argmax(1)}
    return {
        "the sign: this falls when the model is *right*; what is minimised must fall when the "
        "model is wrong": gap.mean(),
        "the sum instead of the mean": -gap.sum(),
        "the cross-entropy, turned around, instead of the log-odds": -entropy,
        "the cross-entropy, and with the sign of a defender": entropy,
        "delta is not used: this is the loss of the clean texts": -_gap(model, batch, None).mean(),
        "the labels are ignored: away from what the model says is not away from the truth":
            -_gap(model, says, delta).mean(),
        "the labels are ignored: all taken for 1":
            -_gap(model, batch | {"labels": torch.ones_like(other["labels"])}, delta).mean(),
        "the labels are ignored: all taken for 0":
            -_gap(model, batch | {"labels": torch.zeros_like(other["labels"])}, delta).mean(),
        "the sign of delta: the texts were moved by −delta": -_gap(model, batch, -delta).mean(),
        "the largest log-odds instead of the mean": -gap.max(),
        **{f"the log-odds are cut off at {c}: all of them count": -gap.clamp(max=c).mean()
           for c in (0, 1, 2, 5, 10)},
        **{f"the log-odds are cut off at {c} on both sides: all of them count":
           -gap.clamp(-c, c).mean() for c in (1, 2, 5, 10)},
    }  # fmt: skip


def _model_as_before(model, training: bool, frozen: Tensor, given: Mapping) -> None:
    expect(model.training == training, "the model's mode was changed and not put back", given=given,
           likely="model.eval() or model.train() is not needed here")  # fmt: skip
    expect(not frozen.requires_grad, "a parameter that was frozen before is no longer frozen "
           "(requires_grad)", given=given,
           likely="requires_grad_(True) on everything; put back what each one had")  # fmt: skip
    thawed = all(p.requires_grad for p in model.parameters() if p is not frozen)
    expect(thawed, "parameters are left without requires_grad: the victim could not learn any "
           "more", given=given,
           likely="requires_grad_(False) must be undone before you return")  # fmt: skip


# ---------------------------------------------------------------- 05.3

RATES = (0.3, 0.2)  # of the generator's and of the victim's optimiser in the check


def _plain_round(net, model, batch, eps, lam, *, sign=1.0, stale=False, clean=1.0, lam_power=1.0,
                 net_moves=True, model_moves=True, left_net=None, left_model=None, mixed=0.0,
                 victim_first=False, share=False, entropy=False, climbs=1, clip_net=None,
                 clip_model=None):  # fmt: skip
    """One round by hand: both models changed in place. Returns the losses and the raw gradients.

    left_*: what an earlier round left in .grad and nobody cleared. mixed: how much of the
    generator's loss gets into the victim's gradient.
    """
    mask = attackable(batch)

    def propose() -> Tensor:
        words = model.get_input_embeddings().weight.detach()[batch["input_ids"]]
        return _plain_generate(net, words, batch["labels"], mask, eps)

    def net_gradient():
        if entropy:
            loss = -F.cross_entropy(_logits(model, batch, propose()), batch["labels"])
        else:
            loss = -sign * _gap(model, batch, propose()).mean()
        inside = torch.autograd.grad(loss, tuple(model.parameters()), retain_graph=True,
                                     allow_unused=True)  # fmt: skip
        return loss, torch.autograd.grad(loss, tuple(net.parameters())), inside

    def model_gradient(delta):
        calm = F.cross_entropy(_logits(model, batch, None), batch["labels"])
        pushed = F.cross_entropy(_logits(model, batch, delta), batch["labels"])
        loss = (1 - lam if share else clean) * calm + lam**lam_power * pushed
        return loss, torch.autograd.grad(loss, tuple(model.parameters()), allow_unused=True)

    old = propose().detach()
    model_loss = None
    if victim_first:
        model_loss, own = model_gradient(old)
        _descend(model, own, RATES[1])
    net_loss, own_net, inside = net_gradient()
    own_net = _clipped(_added(own_net, left_net), clip_net)
    if net_moves:
        _descend(net, own_net, RATES[0])
    for _ in range(climbs - 1):
        net_loss, own_net, inside = net_gradient()
        _descend(net, own_net, RATES[0])
    if not victim_first:
        model_loss, own = model_gradient(old if stale else propose().detach())
        own = _added(_added(own, left_model), [None if i is None else mixed * i for i in inside])
        own = _clipped(own, clip_model)
        if model_moves:
            _descend(model, own, RATES[1])
    return net_loss.item(), model_loss.item(), own_net, own


def _added(grads, more):
    if more is None:
        return grads
    return [a if b is None else b if a is None else a + b for a, b in zip(grads, more, strict=True)]


def _clipped(grads, most: float | None):
    """The gradients, together no longer than `most`, as clip_grad_norm_ makes them."""
    if most is None:
        return grads
    size = torch.stack([g.norm() for g in grads if g is not None]).norm()
    factor = (most / (size + 1e-6)).clamp(max=1)
    return [None if g is None else factor * g for g in grads]


def _descend(module: nn.Module, grads, rate: float) -> None:
    with torch.no_grad():
        for p, grad in zip(module.parameters(), grads, strict=True):
            if grad is not None:
                p.sub_(rate * grad)


def _two_rounds(net, model, batch, eps, lam, keep_net=False, keep_model=False, **how):
    """(losses, [(generator's parameters, victim's parameters) after each of two rounds]);
    keep_*: .grad is never cleared."""
    net, model, losses, ends = copy.deepcopy(net), copy.deepcopy(model), [], []
    left_net = left_model = None
    for _ in range(2):
        *both, own_net, own = _plain_round(net, model, batch, eps, lam, left_net=left_net,
                                           left_model=left_model, **how)  # fmt: skip
        losses += both
        left_net = own_net if keep_net else None
        left_model = own if keep_model else None
        ends.append((_flat(net), _flat(model)))
    return torch.tensor(losses), ends


def _flat(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def check_game_step(answer) -> None:
    bert, batch = _bert()
    loud = copy.deepcopy(bert)
    with torch.no_grad():
        loud.classifier.weight.mul_(6)
    for seed, eps, lam, original in ((530, 1.1, 0.4, bert), (531, 0.6, 1.7, bert),
                                     (532, 0.9, 6.0, loud)):  # fmt: skip
        _one_game(answer, original, batch, seed, eps, lam)


def _one_game(answer, original, batch, seed: int, eps: float, lam: float) -> None:
    net, model = _Net(6, seed), copy.deepcopy(original).eval()
    given = {"eps": eps, "lam": lam, "rounds": 2, "optimisers": f"SGD, rates {RATES}"}
    spec = functools.partial(_two_rounds, net, model, batch, eps, lam)
    losses, ends = spec()
    start_net, start_model = _flat(net), _flat(model)
    wrong = {
        "the generator's step is missing": spec(net_moves=False),
        "the victim's step is missing": spec(model_moves=False),
        "the sign: the generator learns to help the victim": spec(sign=-1.0),
        "the victim sees the old delta, of before the generator's step: propose anew": spec(
            stale=True),
        "the victim moves first: the generator comes first": spec(victim_first=True),
        "lam is ignored": spec(lam_power=0.0),
        "the clean loss is missing: the victim learns attacked texts only": spec(clean=0.0),
        "the clean loss is missing, and lam: the victim learns attacked texts only": spec(
            clean=0.0, lam_power=0.0),
        "(1 - lam) · clean + lam · attacked: here the clean loss counts fully": spec(share=True),
        "the generator takes two steps in a round": spec(climbs=2),
        "the generator climbs the cross-entropy; its loss is generator_loss": spec(entropy=True),
        "the generator's gradient was clipped before its step": spec(clip_net=1.0),
        "the victim's gradient was clipped before its step": spec(clip_model=1.0),
        "both gradients were clipped before the steps": spec(clip_net=1.0, clip_model=1.0),
        "the generator's zero_grad is missing: gradients of earlier rounds are added": spec(
            keep_net=True),
        "the victim's zero_grad is missing: gradients of earlier rounds are added": spec(
            keep_model=True),
        "both zero_grad are missing: gradients of earlier rounds are added": spec(
            keep_net=True, keep_model=True),
        "the generator's loss flows into the victim's parameters": spec(mixed=1.0),
        "one loss for both players: the victim also minimises the generator's loss, or climbs it":
            spec(mixed=-1.0),
    }  # fmt: skip
    net_optimizer = torch.optim.SGD(net.parameters(), lr=RATES[0])
    model_optimizer = torch.optim.SGD(model.parameters(), lr=RATES[1])
    copies, yours, seen = {k: v.clone() for k, v in batch.items()}, [], []
    modes = _watch(model)
    net.eval().modes.clear()
    for turn in range(2):
        result = answer(net, model, copies, eps, lam, net_optimizer, model_optimizer)
        expect(result is not None, "the function returns None: return the two losses", given=given)
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "return two things, (net_loss, model_loss)", given=given, yours=result)  # fmt: skip
        yours += [_number(value, given) for value in result]
        expect(
            not model.training and not net.training,
            "the model's mode, or the generator's, was changed and not put back",
            given=given,
        )
        expect(
            not any(modes) and not any(net.modes),
            "the model's mode, or the generator's, was changed for a pass",
            given=given,
            likely="model.train() is not asked for: dropout would change the losses",
        )
        seen.append((_flat(net), _flat(model)))
        expect(all(p.requires_grad for p in model.parameters()),
               "parameters of the victim are left without requires_grad", given=given)  # fmt: skip
        if turn == 0:
            _no_spill(net, original, batch, seed, eps, given)
    for name in batch:
        unchanged(batch[name], copies[name], f"batch[{name!r}]")
    likely = next((name for name, (_, other) in wrong.items()
                   if all(_same(a, b) for x, y in zip(other, seen, strict=True)
                          for a, b in zip(x, y, strict=True))), None)  # fmt: skip
    picture = _way(start_net, start_model, ends[-1], seen[-1])
    for when, now, wanted in zip(("one round", "two rounds"), seen, ends, strict=True):
        for name, mine, right in zip(("generator", "victim"), now, wanted, strict=True):
            if not _same(mine, right):
                raise Wrong(f"after {when} the {name}'s parameters are not as expected",
                            given=given, likely=likely, yours=mine, expected=right,
                            picture=picture)  # fmt: skip
    compare(torch.tensor(yours), losses.float(), given=given, atol=1e-4,
            what="what you return: (net_loss, model_loss) of two rounds",
            mistakes={"the two losses are the wrong way around":
                      losses[[1, 0, 3, 2]].float()})  # fmt: skip


def _number(value, given) -> float:
    expect(isinstance(value, int | float | Tensor) and not isinstance(value, bool),
           f"the losses should be numbers, not {type(value).__name__}", given=given)  # fmt: skip
    expect(not (isinstance(value, Tensor) and value.requires_grad),
           "a loss that you return is still tied to its graph, which would be kept in memory",
           given=given, likely="return loss.item()")  # fmt: skip
    return float(value)


def _no_spill(net, original, batch, seed, eps, given) -> None:
    """After the first round the generator's .grad holds its own gradient, or nothing."""
    found = [p.grad for p in net.parameters()]
    if any(grad is None or not grad.any() for grad in found):
        return
    twin, model = _Net(6, seed), copy.deepcopy(original)
    *_, own, _ = _plain_round(twin, model, batch, eps, 1.0)
    if not _same(_flat(net), _flat(twin)):
        return  # another mistake, which is named later
    yours, wanted = (torch.cat([g.flatten() for g in grads]) for grads in (found, own))
    if not _same(yours, wanted) and not _same(yours, -wanted):
        raise Wrong("the generator's .grad holds more than the gradient of its own loss",
                    given=given, yours=yours, expected=wanted,
                    likely="delta is not detached for the victim: its backward pass runs on into "
                           "the generator")  # fmt: skip


def _way(start_net, start_model, right, got):
    """How far each player went, beside how far it should have gone."""
    with plots.style():
        fig, ax = plots.figure(4.6, 2.6)
        far = [[(now - start).norm().item() for now, start in
                zip(ends, (start_net, start_model), strict=True)]
               for ends in (right, got)]  # fmt: skip
        for k, (name, colour) in enumerate((("expected", plots.COLOURS["fgm"]),
                                            ("yours", plots.COLOURS["standard"]))):  # fmt: skip
            ax.bar([i + 0.38 * k for i in range(2)], far[k], 0.36, label=name, color=colour)
        ax.set_xticks([0.19, 1.19], ["generator", "victim"])
        ax.set_ylabel("way in two rounds")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return fig


# ---------------------------------------------------------------- 05.4


def _counted(train, own, other, strict=True) -> float:
    """The first n, in exact fractions."""
    train, gain = Fraction(train), Fraction(other) - Fraction(own)
    if gain <= 0:
        return 1 if not strict and train == gain == 0 else math.inf
    n = math.floor(train / gain) + 1
    return max(1, n - 1) if not strict and (n - 1) * gain == train else n


def check_break_even(answer) -> None:
    cases = [(101, 2, 12), (100, 2, 12), (99, 2, 12), (7, 0, 2), (3840, 0.25, 20), (0, 1, 3),
             (10, 5, 5), (10, 6, 5), (0, 4, 4), (1, 0.5, 0.75), (9, 1.5, 6), (199, 0, 200),
             (10_000, 0, 3), (100_000, 0, 1), (1, 0, 0.0625)]  # fmt: skip
    for train, own, other in cases:
        given = {"train_passes": train, "per_example_generator": own, "per_example_pgd": other}
        right = _counted(train, own, other)
        gain = other - own
        mistakes = {
            "something was added before rounding up: ask for the whole number above x": math.ceil(
                train / gain + 0.01) if gain else None,
            "the costs were cut to whole numbers": _counted(int(train), int(own), int(other)),
            "cheaper means strictly less: at this n both cost the same":
                _counted(train, own, other, strict=False),
            "the generator's own cost per text is forgotten": _counted(train, 0, other),
            "a number of texts is whole: this is not rounded": train / gain if gain else None,
            "rounded down: at this n the generator is not yet cheaper":
                math.floor(train / gain) if gain else None,
            "one text too many": right + 1,
            "the smallest n is 1": 0,
            "the costs are added where their difference counts":
                math.floor(train / (own + other)) + 1 if own + other else None,
            "where it never becomes cheaper, return math.inf": -1,
        }  # fmt: skip
        mistakes = {k: v for k, v in mistakes.items() if v is not None and v != right}
        try:
            yours = answer(train, own, other)
        except ZeroDivisionError:
            raise Wrong("your function divides by zero where both cost the same per text",
                        given=given, expected=right,
                        likely="where the generator never becomes cheaper, return "
                               "math.inf") from None  # fmt: skip
        expect(yours is not None, "break_even is None: does the function return it?", given=given,
               expected=right, likely="where it never becomes cheaper, return math.inf"
               if math.isinf(right) else None)  # fmt: skip
        if not math.isinf(right) and isinstance(yours, float) and math.isinf(yours):
            raise Wrong(
                "the generator does become cheaper here, and your function says never",
                given=given,
                yours=yours,
                expected=right,
                likely="a loop that ends too early, or a saving that is taken for none",
            )
        if math.isinf(right) and isinstance(yours, int | float) and not math.isinf(yours):
            raise Wrong("the generator never becomes cheaper here: return math.inf", given=given,
                        yours=yours, expected=right)  # fmt: skip
        compare(yours, right, given=given, what="break_even", mistakes=mistakes, atol=1e-9,
                rtol=0)  # fmt: skip
        whole = math.isinf(right) or (isinstance(yours, Integral) and not isinstance(yours, bool))
        expect(
            whole,
            "the number of texts should be an int",
            given=given,
            yours=repr(yours),
            expected=right,
            likely="math.floor gives an int; float(…) is not needed",
        )


# ---------------------------------------------------------------- 05.5


def check_transfer_rate(answer) -> None:
    g = torch.Generator().manual_seed(550)
    everything = torch.cartesian_prod(*[torch.tensor([False, True])] * 3)
    cases = [everything[torch.randint(8, (n,), generator=g)] for n in (40, 23, 60)]
    some = everything[torch.tensor([0, 3, 5, 5, 7, 7, 7, 2, 1])]
    cases += [some, some[some[:, 2]], torch.ones(4, 3, dtype=torch.bool)]
    none = torch.tensor([[True, False, False], [False, False, True], [True, True, False]])
    for case in (*cases, none):
        before, after, fooled = case.unbind(1)
        rows = [(bool(b), bool(a)) for b, a, f in case.tolist() if f and b]
        right = sum(not a for _, a in rows) / len(rows) if rows else math.nan
        shown = len(case) <= 12
        given = {"right_on_b": before, "right_under_delta_on_b": after, "fooled_on_a": fooled}
        given = given if shown else {"texts": len(case)}
        copies = [before.clone(), after.clone(), fooled.clone()]
        try:
            yours = answer(*copies)
        except ZeroDivisionError:
            raise Wrong("your function divides by zero where no text counts", given=given,
                        expected=right, likely="return math.nan there") from None  # fmt: skip
        for was, now, name in zip((before, after, fooled), copies,
                                  ("right_on_b", "right_under_delta_on_b", "fooled_on_a"),
                                  strict=True):  # fmt: skip
            unchanged(was, now, name)
        expect(yours is not None, "the rate is None: does the function return it?", given=given)
        expect(isinstance(yours, int | float | Tensor) and not isinstance(yours, bool),
               f"the rate should be a number, not {type(yours).__name__}", given=given)  # fmt: skip
        expect(not isinstance(yours, Tensor) or yours.numel() == 1,
               "the rate should be one number", given=given, yours=yours)  # fmt: skip
        yours = float(yours)
        if math.isnan(right):
            expect(math.isnan(yours), "no text was fooled on A and right on B: there is nothing to "
                   "take a share of", given=given, yours=yours, expected=right,
                   likely="return math.nan; 0 would say that nothing transfers")  # fmt: skip
            continue
        compare(yours, right, given=given, what="the transfer rate",
                mistakes=_rate_mistakes(before, after, fooled, right))  # fmt: skip


def _rate_mistakes(before, after, fooled, right: float) -> dict[str, float]:
    n = len(before)

    def share(hits: Tensor, of: Tensor | int) -> float | None:
        of = of if isinstance(of, int) else int(of.sum())
        return int(hits.sum()) / of if of else None

    either = before | fooled
    known = {
        "`|` where `&` belongs: a text counts if *both* hold": share(either & ~after, either),
        "how far the accuracy drops, over all texts: texts that B got right only under delta are "
        "set off": (int(before.sum()) - int(after.sum())) / n,
        "how far the accuracy drops among those fooled on A: texts that B got right only under "
        "delta are set off":
            (int((fooled & before).sum()) - int((fooled & after).sum())) / int(fooled.sum())
            if fooled.any() else None,
        "the share that is still *right* on B": share(fooled & before & after, fooled & before),
        "divided by all texts: only those count that were fooled on A and right on B":
            share(fooled & before & ~after, n),
        "divided by all that were fooled on A: some were wrong on B from the start":
            share(fooled & before & ~after, fooled),
        "texts that were wrong on B from the start count as successes": share(fooled & ~after,
                                                                              fooled),
        "texts that were wrong on B from the start are in the numerator":
            share(fooled & ~after, fooled & before),
        "fooled_on_a is not used: this is B's loss over all its right texts":
            share(before & ~after, before),
        "fooled_on_a is turned around: these are the texts that were not fooled":
            share(~fooled & before & ~after, ~fooled & before),
        "a count instead of a share": float((fooled & before & ~after).sum()),
        "in per cent instead of a share": 100 * right,
        "fooled_on_a is not used in the numerator": share(before & ~after, fooled & before),
    }  # fmt: skip
    return {k: v for k, v in known.items() if v is not None and abs(v - right) > 1e-6}


# ---------------------------------------------------------------- the course's functions


def embed(model: nn.Module, batch: Mapping[str, Tensor]) -> Tensor:
    """The clean embeddings of the batch, (batch, tokens, hidden), without a graph."""
    with torch.no_grad():
        return model.get_input_embeddings()(batch["input_ids"])


def generate(net, embeddings: Tensor, labels: Tensor, mask: Tensor, eps: float) -> Tensor:
    """net's proposal for each text, stretched to the length eps; (batch, tokens, hidden)."""
    raw = net(embeddings, labels) * mask[..., None]
    length = raw.norm(dim=(1, 2), keepdim=True)
    return eps * raw / torch.where(length > 0, length, 1)


def generator_loss(model: nn.Module, batch: Mapping[str, Tensor], delta: Tensor) -> Tensor:
    """Minus the mean log-odds of being wrong, a scalar; the model's parameters get no gradient."""
    flags = [p.requires_grad for p in model.parameters()]
    model.requires_grad_(False)
    margin = wrong_margin(perturbed_logits(model, batch, delta), batch["labels"])
    for p, flag in zip(model.parameters(), flags, strict=True):
        p.requires_grad_(flag)
    return -margin.mean()


def propose(net, model, batch, eps) -> Tensor:
    """The generator's delta for a batch, as the page has it."""
    return generate(net, embed(model, batch), batch["labels"], attackable(batch), eps)


def game_step(net, model, batch, eps, lam, net_optimizer, model_optimizer) -> tuple[float, float]:
    """One round: the generator's step, then the victim's; (net_loss, model_loss) as numbers."""
    net_loss = generator_loss(model, batch, propose(net, model, batch, eps))
    net_optimizer.zero_grad()
    net_loss.backward()
    net_optimizer.step()

    delta = propose(net, model, batch, eps).detach()
    calm = cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    hard = cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    model_loss = calm + lam * hard
    model_optimizer.zero_grad()
    model_loss.backward()
    model_optimizer.step()
    return net_loss.item(), model_loss.item()


def break_even(train_passes, per_example_generator, per_example_pgd):
    """The smallest number of texts from which on the generator is cheaper; math.inf if never."""
    saving = per_example_pgd - per_example_generator
    if saving <= 0:
        return math.inf
    return math.floor(train_passes / saving) + 1


def transfer_rate(right_on_b: Tensor, right_under_delta_on_b: Tensor, fooled_on_a: Tensor) -> float:
    """Of the texts (n,) fooled on A and right on B before, the share fooled on B; nan for none."""
    count = fooled_on_a & right_on_b
    if not count.any():
        return math.nan
    return (~right_under_delta_on_b[count]).float().mean().item()


EXERCISES: dict[str, Exercise] = {
    "05.1": Exercise("a proposal on the ball", check_generate, generate),
    "05.2": Exercise("what the generator minimises", check_generator_loss, generator_loss),
    "05.3": Exercise("one round of the game", check_game_step, game_step),
    "05.4": Exercise("the break-even point", check_break_even, break_even),
    "05.5": Exercise("the transfer rate", check_transfer_rate, transfer_rate),
}
