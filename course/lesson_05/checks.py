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
from numbers import Integral, Real

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from advlib import plots
from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin
from course.checking import (
    Exercise,
    Wrong,
    call,
    comparable,
    compare,
    expect,
    making,
    remembered,
    seeded,
    small_bert,
    specified,
    used,
)

# ---------------------------------------------------------------- 05.1


class _Net(nn.Module):
    """A small generator in double precision that remembers with what it was called."""

    def __init__(self, hidden: int, seed: int, silent: int | None = None, loud: float = 1.0,
                 labels: int = 2):  # fmt: skip
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        draw = functools.partial(torch.randn, generator=g, dtype=torch.double)
        self.weight = nn.Parameter(0.7 * draw(hidden, hidden))
        self.told = nn.Parameter(0.8 * draw(labels, hidden))
        self.silent, self.loud, self.calls = silent, loud, []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """(batch, tokens, hidden) from the embeddings and (batch,) labels."""
        self.calls.append((embeddings.detach().clone(), labels.clone()))
        raw = self.loud * torch.tanh(embeddings.double() @ self.weight + self.told[labels][:, None])
        if self.silent is not None:
            raw = raw * (labels != self.silent)[:, None, None]
        return raw

    def extra_repr(self) -> str:
        """What is special about it, for the feedback."""
        if self.silent is not None:
            return f"returns zeros for the texts of label {self.silent}"
        return "" if self.loud == 1 else f"says little: about {self.loud:g}"


def _plain_generate(net, embeddings, labels, mask, eps, *, when="before", over="text", power=1.0,
                    stretch=True, masked=True, root=0.5, wide=False,
                    cut=False, sign=1.0, added=False) -> Tensor:  # fmt: skip
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
    return sign * torch.stack(out) + (embeddings if added else 0)


_GENERATE = {  # what to change in the specification
    "the mask comes after the length was measured: what is cut away has taken its share of eps":
        dict(when="after"),
    "the mask is forgotten: padding and special tokens are pushed too":
        dict(when="after", masked=False),
    "the length is taken over the whole batch: each text has a ball of its own": dict(over="batch"),
    "the length is taken per token: eps is for the whole text": dict(over="token"),
    "the length is taken over the tokens only (dim=1)": dict(over="coordinate"),
    "divided by the squared length: its root is missing": dict(root=1.0),
    "divided by the largest entry: that is the max norm, the length is L2": dict(over="largest"),
    "eps times the root of the number of tokens: eps is for the whole text": dict(wide=True),
    "eps is missing: the length is 1": dict(power=0.0),
    "projected onto the ball: what was shorter than eps stays shorter, but every delta is exactly "
    "eps long": dict(cut=True),
    "not normalised: eps times what the network says": dict(stretch=False),
    "neither eps nor a length: this is what the network says": dict(stretch=False, power=0.0),
    "the embeddings were added: delta is the push alone": dict(added=True),
    "the sign is turned around": dict(sign=-1.0),
}  # fmt: skip


def check_generate(answer) -> None:
    g, problems = torch.Generator().manual_seed(seeded(510)), []
    for turn, ((n, tokens, hidden), eps, special) in enumerate((
            ((3, 5, 4), None, {}), ((3, 5, 4), 0.7, {}), ((1, 3, 2), 1.9, {}), ((4, 2, 3), 0.3, {}),
            ((4, 4, 3), 1.3, dict(silent=1)), ((3, 5, 3), 0.8, dict(loud=1e-4)))):  # fmt: skip
        net = used(_Net(hidden, 511 + n, **special)).requires_grad_(True).train(turn % 2 == 0)
        embeddings = torch.randn(n, tokens, hidden, generator=g, dtype=torch.double)
        labels = torch.arange(n) % 2
        mask = torch.ones(n, tokens, dtype=torch.bool)
        mask[:, 0] = False
        for i in range(n):
            mask[i, tokens - i % (tokens - 1) :] = False
        if turn == 3:  # a text without a free token
            mask[1] = False
        if eps is None:  # between the lengths of what the network says
            with torch.no_grad():
                lengths = (net(embeddings, labels) * mask[..., None]).square().sum((1, 2)).sqrt()
            eps = round((lengths.min() + lengths.max()).item() / 2, 2)
        problems.append(dict(net=net, embeddings=embeddings, labels=labels, mask=mask, eps=eps))

    def run(net, embeddings, labels, mask, eps):
        net.calls.clear()
        yours = call(answer, net=net, embeddings=embeddings, labels=labels, mask=mask, eps=eps,
                     same_mode=True)  # fmt: skip
        given = dict(embeddings=embeddings, labels=labels, mask=mask)
        expect(net.calls, "the network was never asked: call net(embeddings, labels)", given=given)
        _asked(net, embeddings, labels, given)
        return yours

    try:
        specified(run, problems, _plain_generate, _GENERATE, what="delta")
    except Wrong as wrong:
        if isinstance(wrong.yours, Tensor) and wrong.yours.isnan().any():
            wrong.likely = "0/0: a length of zero was divided by; torch.where(size > 0, size, 1)"
        elif wrong.likely is None and comparable(wrong) and "net" in wrong.given:
            wrong.likely = _short(wrong) if wrong.given["net"].loud < 1 else None
        raise
    for given in problems:
        _flows_back(run, given)


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


def _short(wrong: Wrong) -> str | None:
    """Where the direction of every text is right, and some are shorter than eps."""
    mine, wanted = (t.detach().double().flatten(1) for t in (wrong.yours, wrong.expected))
    said, eps = wanted.norm(dim=1) > 0, wrong.given["eps"] * (1 + 1e-6)
    along = F.cosine_similarity(mine[said], wanted[said], eps=1e-30)
    if (along > 1 - 1e-6).all() and (mine[said].norm(dim=1) <= eps).all():
        return ("delta points the right way and is too short: the length was kept from being small "
                "(clamp, or a number added to it); only a length of zero needs care")  # fmt: skip
    return None


def _flows_back(run, given: Mapping) -> None:
    """The gradient that the network gets is that of the specification."""
    net, eps = given["net"], given["eps"]
    yours, right = run(**given), _plain_generate(**given)
    expect(yours.requires_grad, "no gradient can flow back from delta to the network: it could "
           "never be trained", given=given,
           likely="detach() or torch.no_grad() in your function")  # fmt: skip
    weights = torch.randn(right.shape, generator=torch.Generator().manual_seed(seeded(1))).double()

    def slope(delta: Tensor) -> Tensor:
        grads = torch.autograd.grad((delta * weights).sum(), tuple(net.parameters()),
                                    allow_unused=True)  # fmt: skip
        expect(all(grad is not None for grad in grads), "no gradient reaches a part of the network",
               given=given)  # fmt: skip
        return torch.cat([grad.flatten() for grad in grads])

    found = slope(yours)
    expect(found.isfinite().all(), "the gradient that the network gets is not finite", given=given,
           yours=found, likely="a division by a length of zero")  # fmt: skip
    if net.silent is None:
        raw = net(given["embeddings"], given["labels"]) * given["mask"][..., None]
        size = raw.square().sum((1, 2), keepdim=True).sqrt().detach()
        stiff = slope(eps * raw / torch.where(size > 0, size, 1))
        compare(found, slope(right), given=given, atol=1e-6,
                what="the gradient that the network gets from sum(weights · delta)",
                mistakes={"the length was treated as a constant (detached), but it depends on the "
                          "network": stiff})  # fmt: skip


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- 05.2


def _bert() -> tuple[nn.Module, dict[str, Tensor]]:
    return small_bert(520, labels=(1, 0, 2, 1), lengths=(7, 5, 4, 6), scale=0.7, classes=3)


def _logits(model, batch, delta: Tensor | None) -> Tensor:
    """Logits by handing the model its embeddings."""
    words = model.get_input_embeddings().weight[batch["input_ids"]]
    words = words if delta is None else words + delta
    return model(inputs_embeds=words, attention_mask=batch["attention_mask"]).logits


def _gap(model, batch, delta: Tensor | None, labels: Tensor | None = None) -> Tensor:
    """The log-odds of every other class against the label, (batch,)."""
    p = _logits(model, batch, delta).log_softmax(1).exp()
    rows = torch.arange(len(p))
    own = batch["labels"] if labels is None else labels
    others = p * (torch.arange(p.shape[1]) != own[:, None])
    return (others.sum(1) / p[rows, own]).log()


def _entropy(model, batch, delta) -> Tensor:
    return F.cross_entropy(_logits(model, batch, delta), batch["labels"])


_LOSS = {
    "the sign: this falls when the model is *right*; what is minimised must fall when the model is "
    "wrong": lambda m, b, d: _gap(m, b, d).mean(),
    "the sum instead of the mean": lambda m, b, d: -_gap(m, b, d).sum(),
    "the cross-entropy, turned around, instead of the log-odds": lambda m, b, d: -_entropy(m, b, d),
    "the cross-entropy, and with the sign of a defender": _entropy,
    "delta is not used: this is the loss of the clean texts":
        lambda m, b, d: -_gap(m, b, None).mean(),
    "the labels are ignored: away from what the model says is not away from the truth":
        lambda m, b, d: -_gap(m, b, d, _logits(m, b, None).argmax(1)).mean(),
    "the sign of delta: the texts were moved by −delta": lambda m, b, d: -_gap(m, b, -d).mean(),
    "the largest log-odds instead of the mean": lambda m, b, d: -_gap(m, b, d).max(),
    "one other class only: wrong are all but the label's, together":
        lambda m, b, d: -_margin(m, b, d).mean(),
    **{f"the log-odds are cut off at {c}: all of them count":
       lambda m, b, d, c=c: -_gap(m, b, d).clamp(max=c).mean() for c in (0, 1, 2, 5, 10)},
    **{f"the log-odds are cut off at {c} on both sides: all of them count":
       lambda m, b, d, c=c: -_gap(m, b, d).clamp(-c, c).mean() for c in (1, 2, 5, 10)},
}  # fmt: skip


def _margin(model, batch, delta) -> Tensor:
    """z_wrong − z_right, with the largest of the wrong ones."""
    logits, own = _logits(model, batch, delta), batch["labels"][:, None]
    return logits.scatter(1, own, -math.inf).amax(1) - logits.gather(1, own)[:, 0]


def check_generator_loss(answer) -> None:
    bert, batch = _bert()
    with torch.no_grad():
        says = _logits(bert, batch, None).argmax(1)
    batch = batch | {"labels": torch.where(torch.arange(4) < 2, says, (says + 1) % 3)}
    loud = copy.deepcopy(bert)
    with torch.no_grad():
        loud.classifier.weight.mul_(40)
    models = {"in eval mode": used(copy.deepcopy(bert)).eval(),
              "in training mode": used(copy.deepcopy(bert)),
              "in training mode, its numbers 40 times as large": used(loud)}  # fmt: skip
    for model in models.values():  # a parameter that has no .grad yet
        model.classifier.bias.grad = None
    g, problems = torch.Generator().manual_seed(521), []
    for name, scale in zip((*models, "in eval mode"), (0.5, 1.5, 0.7, 0.0), strict=True):
        delta = scale * torch.randn(4, 7, 6, generator=g, dtype=torch.double)
        delta = delta * attackable(batch)[..., None]
        problems.append(dict(model=name, labels=batch["labels"], delta=delta))

    def run(model, labels, delta):
        mine = delta if delta.requires_grad else delta.clone().requires_grad_()
        return call(answer, model=models[model], batch=batch, delta=mine, same_mode=True)

    def spec(model, labels, delta, make=lambda m, b, d: -_gap(m, b, d).mean()):
        return make(models[model], batch, delta).detach()

    specified(run, problems, spec, making(_LOSS), what="the loss")
    for given in problems:
        model, delta = models[given["model"]], given["delta"].clone().requires_grad_()
        wanted = torch.autograd.grad(-_gap(model, batch, delta).mean(), delta)[0]
        loss = run(given["model"], given["labels"], delta)
        expect(loss.requires_grad, "the loss hangs on nothing that could be trained", given=given,
               likely="delta was detached, or the passes ran under torch.no_grad()")  # fmt: skip
        before = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
        loss.backward()
        now = [p.grad for p in model.parameters()]
        new = sum(b is not a and (a is None or b is None or not torch.equal(a, b))
                  for a, b in zip(before, now, strict=True))  # fmt: skip
        expect(not new, f"loss.backward() changes the .grad of {new} parameters of the model: the "
               "victim's next step would add the attacker's gradient to its own", given=given,
               likely="switch the parameters' requires_grad off for the forward pass, and "
                      "afterwards back to what it was")  # fmt: skip
        expect(delta.grad is not None, "no gradient reaches delta", given=given,
               likely="delta was detached or copied")  # fmt: skip
        compare(delta.grad, wanted, given=given, what="the gradient of the loss in delta")


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
        loss = -sign * (_entropy if entropy else _gap)(model, batch, propose()).mean()
        inside = torch.autograd.grad(loss, tuple(model.parameters()), retain_graph=True,
                                     allow_unused=True)  # fmt: skip
        return loss, torch.autograd.grad(loss, tuple(net.parameters())), inside

    def model_gradient(delta):
        calm, pushed = _entropy(model, batch, None), _entropy(model, batch, delta)
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


@remembered
def _two_rounds(net, model, batch, eps, lam, keep_net=False, keep_model=False, late=False, **how):
    """(losses, [(generator's parameters, victim's parameters) after each of two rounds]);
    keep_*: .grad is never cleared. late: it is cleared at the end of a round."""
    net, model, losses, ends = copy.deepcopy(net), copy.deepcopy(model), [], []
    before = [[torch.full_like(p, 0.5) for p in module.parameters()] for module in (net, model)]
    left_net = before[0] if keep_net or late else None
    left_model = before[1] if keep_model or late else None
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


_GAME = {  # what to change in the specification
    "the generator's step is missing": dict(net_moves=False),
    "the victim's step is missing": dict(model_moves=False),
    "the sign: the generator learns to help the victim": dict(sign=-1.0),
    "the victim sees the old delta, of before the generator's step: propose anew": dict(stale=True),
    "the victim moves first: the generator comes first": dict(victim_first=True),
    "lam is ignored": dict(lam_power=0.0),
    "the clean loss is missing: the victim learns attacked texts only": dict(clean=0.0),
    "the clean loss is missing, and lam: the victim learns attacked texts only":
        dict(clean=0.0, lam_power=0.0),
    "(1 - lam) · clean + lam · attacked: here the clean loss counts fully": dict(share=True),
    "the generator takes two steps in a round": dict(climbs=2),
    "the generator climbs the cross-entropy; its loss is generator_loss": dict(entropy=True),
    "the generator's gradient was clipped before its step": dict(clip_net=1.0),
    "the victim's gradient was clipped before its step": dict(clip_model=1.0),
    "both gradients were clipped before the steps": dict(clip_net=1.0, clip_model=1.0),
    "the generator's zero_grad is missing: what .grad held before is added": dict(keep_net=True),
    "the victim's zero_grad is missing: what .grad held before is added": dict(keep_model=True),
    "both zero_grad are missing: what .grad held before is added":
        dict(keep_net=True, keep_model=True),
    "zero_grad comes after the step: what .grad held before the round is added": dict(late=True),
    "the generator's loss flows into the victim's parameters": dict(mixed=1.0),
}  # fmt: skip


def check_game_step(answer) -> None:
    bert, batch = _bert()
    loud = copy.deepcopy(bert)
    with torch.no_grad():
        loud.classifier.weight.mul_(12)
    for seed, eps, lam, original in ((530, 1.1, 0.4, bert), (531, 0.6, 1.7, bert),
                                     (532, 0.9, 6.0, loud)):  # fmt: skip
        _one_game(answer, original, batch, seed, eps, lam)


def _one_game(answer, original, batch, seed: int, eps: float, lam: float) -> None:
    net = used(_Net(6, seed, labels=3)).requires_grad_(True).eval()
    model = used(copy.deepcopy(original)).requires_grad_(True).train(lam == 1.7)
    for p in (next(net.parameters()), next(model.parameters())):
        p.grad = torch.full_like(p, 0.5)
    given = {"eps": eps, "lam": lam, "rounds": 2, "optimisers": f"SGD, rates {RATES}"}
    losses, ends = _two_rounds(net, model, batch, eps, lam)
    start_net, start_model = _flat(net), _flat(model)
    net_optimizer = torch.optim.SGD(net.parameters(), lr=RATES[0])
    model_optimizer = torch.optim.SGD(model.parameters(), lr=RATES[1])
    untouched, yours, seen = copy.deepcopy((net, model)), [], []
    for turn in range(2):
        result = call(answer, net=net, model=model, batch=batch, eps=eps, lam=lam, trains=True,
                      net_optimizer=net_optimizer, model_optimizer=model_optimizer,
                      same_mode=True)  # fmt: skip
        expect(result is not None, "the function returns None: return the two losses", given=given)
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "return two things, (net_loss, model_loss)", given=given, yours=result)  # fmt: skip
        yours += [_number(value, given) for value in result]
        seen.append((_flat(net), _flat(model)))
        if turn == 0:
            _no_spill(net, *untouched, batch, eps, given)
    for when, now, wanted in zip(("one round", "two rounds"), seen, ends, strict=True):
        for name, mine, right in zip(("generator", "victim"), now, wanted, strict=True):
            if not _same(mine, right):
                fits = [sentence for sentence, how in _GAME.items() if all(
                    _same(a, b) for x, y in zip(_two_rounds(*untouched, batch, eps, lam, **how)[1],
                                                seen, strict=True)
                    for a, b in zip(x, y, strict=True))]  # fmt: skip
                raise Wrong(f"after {when} the {name}'s parameters are not as expected",
                            given=given, likely=next(iter(fits), None), yours=mine, expected=right,
                            picture=_way(start_net, start_model, ends[-1], seen[-1]))  # fmt: skip
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


def _no_spill(net, twin, model, batch, eps, given) -> None:
    """After the first round the generator's .grad holds its own gradient, or nothing."""
    found = [p.grad for p in net.parameters()]
    if any(grad is None or not grad.any() for grad in found):
        return
    twin, model = copy.deepcopy(twin), copy.deepcopy(model)
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


def _counted(train_passes, per_example_generator, per_example_pgd, make=None, costs=None) -> float:
    """The first n, in exact fractions. A mistake has other costs, or makes another n of them."""
    train, own, other = train_passes, per_example_generator, per_example_pgd
    if costs:
        train, own, other = costs(train, own, other)
    if other <= own:
        return math.inf
    if make:
        return make(train, other - own)
    return math.floor(Fraction(train) / (Fraction(other) - Fraction(own))) + 1


_EVEN = making({
    "something was added before rounding up: ask for the whole number above x":
        lambda train, gain: math.ceil(train / gain + 0.01),
    "cheaper means strictly less: at this n both cost the same":
        lambda train, gain: math.ceil(train / gain),
    "cheaper is strictly less: at this n both cost the same":
        lambda train, gain: max(1, math.ceil(train / gain)),
    "a number of texts is whole: this is not rounded": lambda train, gain: train / gain,
    "rounded down: at this n the generator is not yet cheaper":
        lambda train, gain: math.floor(train / gain),
    "one text too many": lambda train, gain: math.floor(train / gain) + 2,
    "the smallest n is 1": lambda train, gain: math.floor(train / gain) + 1 if train else 0,
}) | {
    "the generator's own cost per text is forgotten": dict(costs=lambda t, g, p: (t, 0, p)),
    "the costs are added where their difference counts": dict(costs=lambda t, g, p: (t, -g, p)),
    "the costs were cut to whole numbers": dict(costs=lambda t, g, p: (int(t), int(g), int(p))),
    "the training passes were cut to a whole number": dict(costs=lambda t, g, p: (int(t), g, p)),
}  # fmt: skip


def check_break_even(answer) -> None:
    cases = [(101, 2, 12), (100, 2, 12), (99, 2, 12), (7, 0, 2), (3840, 0.25, 20), (0, 1, 3),
             (10, 5, 5), (10, 6, 5), (0, 4, 4), (1, 0.5, 0.75), (9, 1.5, 6), (199, 0, 200),
             (4.75, 0.5, 1), (5, 0, 0), (0, 0, 0),
             (10_000, 0, 3), (100_000, 0, 1), (1, 0, 0.0625)]  # fmt: skip
    names = ("train_passes", "per_example_generator", "per_example_pgd")
    problems, results = [dict(zip(names, case, strict=True)) for case in cases], []

    def run(*costs):
        try:
            results.append(answer(*costs))
        except ZeroDivisionError:
            raise Wrong("your function divides by zero where both cost the same per text",
                        given=dict(zip(names, costs, strict=True)), expected=_counted(*costs),
                        likely="where the generator never becomes cheaper, return "
                               "math.inf") from None  # fmt: skip
        return results[-1]

    try:
        specified(run, problems, _counted, _EVEN, what="break_even", atol=1e-9, rtol=0)
    except Wrong as wrong:
        yours, never = wrong.yours, wrong.expected == math.inf
        if isinstance(yours, float) and math.isinf(yours):
            wrong.problem = "the generator does become cheaper here, and your function says never"
        elif never and isinstance(yours, int | float | None):
            wrong.problem += ". The generator never becomes cheaper here: return math.inf"
        raise
    for given, yours in zip(problems, results, strict=True):
        expect(yours == math.inf or isinstance(yours, Integral) and not isinstance(yours, bool),
               "the number of texts should be an int", given=given, yours=repr(yours),
               likely="math.floor gives an int; float(…) is not needed"
               if isinstance(yours, float) else None)  # fmt: skip


# ---------------------------------------------------------------- 05.5


def _share(hits: Tensor, of: Tensor) -> float:
    return int(hits.sum()) / int(of.sum()) if of.any() else math.nan


def _counted_rate(right_on_b, right_under_delta_on_b, fooled_on_a, make=None) -> float:
    """The share, counted text by text; `make` makes a mistake instead."""
    if make:
        return make(right_on_b, right_under_delta_on_b, fooled_on_a)
    texts = zip(*(t.tolist() for t in (right_on_b, right_under_delta_on_b, fooled_on_a)),
                strict=True)  # fmt: skip
    rows = [not after for before, after, fooled in texts if fooled and before]
    return sum(rows) / len(rows) if rows else math.nan


_RATE = {
    "`|` where `&` belongs: a text counts if *both* hold":
        lambda b, d, a: _share((b | a) & ~d, b | a),
    "how far the accuracy drops, over all texts: texts that B got right only under delta are set "
    "off": lambda b, d, a: (int(b.sum()) - int(d.sum())) / len(b),
    "how far the accuracy drops among those fooled on A: texts that B got right only under delta "
    "are set off": lambda b, d, a: _share(a & b, a) - _share(a & d, a),
    "the share that is still *right* on B": lambda b, d, a: _share(a & b & d, a & b),
    "divided by all texts: only those count that were fooled on A and right on B":
        lambda b, d, a: _share(a & b & ~d, a | True),
    "divided by all that were fooled on A: some were wrong on B from the start":
        lambda b, d, a: _share(a & b & ~d, a),
    "texts that were wrong on B from the start count as successes":
        lambda b, d, a: _share(a & ~d, a),
    "texts that were wrong on B from the start are in the numerator":
        lambda b, d, a: _share(a & ~d, a & b),
    "fooled_on_a is not used: this is B's loss over all its right texts":
        lambda b, d, a: _share(b & ~d, b),
    "fooled_on_a is turned around: these are the texts that were not fooled":
        lambda b, d, a: _share(~a & b & ~d, ~a & b),
    "a count instead of a share": lambda b, d, a: float((a & b & ~d).sum()),
    "in per cent instead of a share": lambda b, d, a: 100 * _share(a & b & ~d, a & b),
}  # fmt: skip


def check_transfer_rate(answer) -> None:
    names = ("right_on_b", "right_under_delta_on_b", "fooled_on_a")

    def problem(rows: Tensor) -> dict[str, Tensor]:
        return dict(zip(names, (column.clone() for column in rows.unbind(1)), strict=True))

    def run(*columns):
        given = dict(zip(names, columns, strict=True))
        try:
            yours = call(answer, **given)
        except ZeroDivisionError:
            raise Wrong("your function divides by zero where no text counts", given=given,
                        expected=_counted_rate(*columns),
                        likely="return math.nan there") from None  # fmt: skip
        expect(yours is not None, "the rate is None: does the function return it?", given=given)
        expect(isinstance(yours, Real | Tensor) and not isinstance(yours, bool),
               f"the rate should be a number, not {type(yours).__name__}", given=given)  # fmt: skip
        expect(not isinstance(yours, Tensor) or yours.numel() == 1,
               "the rate should be one number", given=given, yours=yours)  # fmt: skip
        return float(yours)

    g = torch.Generator().manual_seed(seeded(550))
    everything = torch.cartesian_prod(*[torch.tensor([False, True])] * 3)
    cases = [everything[torch.randint(8, (n,), generator=g)] for n in (40, 23, 60)]
    some = everything[torch.tensor([0, 3, 5, 5, 7, 7, 7, 2, 1, 4, 6])]
    full = [some[some[:, 2]], torch.ones(4, 3, dtype=torch.bool), everything[[5]]]
    for several, known in (([*cases, some], making(_RATE)), (full, None)):
        specified(run, [problem(case) for case in several], _counted_rate, known,
                  what="the transfer rate")  # fmt: skip
    for case in ([4, 1, 6], [1, 3], [4, 2], []):
        given = problem(everything[torch.tensor(case, dtype=torch.long)])
        yours = run(*given.values())
        expect(math.isnan(yours), "no text was fooled on A and right on B: there is nothing to "
               "take a share of", given=given, yours=yours, expected=math.nan,
               likely="return math.nan; 0 would say that nothing transfers")  # fmt: skip


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
