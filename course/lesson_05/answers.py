"""Right and wrong answers to the exercises of lesson 05; a regex names each mistake."""

import copy
import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torch.func import functional_call

from advlib.attacks.embedding import wrong_margin
from advlib.embeddings import attackable, perturbed_logits, shifted

# ---------------------------------------------------------------- right answers


def on_ball(net, embeddings, labels, mask, eps):
    flat = (net(embeddings, labels) * mask.unsqueeze(-1)).flatten(1)
    return eps * F.normalize(flat, dim=1).view_as(embeddings)


def on_ball_one_by_one(net, embeddings, labels, mask, eps):
    raw = net(embeddings, labels)
    out = []
    for row, keep in zip(raw, mask, strict=True):
        free = torch.where(keep[:, None], row, torch.zeros_like(row))
        total = (free * free).sum()
        out.append(free * eps / total.sqrt() if total > 0 else torch.zeros_like(row))
    return torch.stack(out)


def loss_by_flags(model, batch, delta):
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    for p in model.parameters():
        p.requires_grad = False
    try:
        logits = perturbed_logits(model, batch, delta)
    finally:
        for name, p in model.named_parameters():
            p.requires_grad = flags[name]
    return -wrong_margin(logits, batch["labels"]).mean()


def loss_by_functional_call(model, batch, delta):
    still = {name: p.detach() for name, p in model.named_parameters()}
    inputs = {k: v for k, v in batch.items() if k not in ("labels", "special_tokens_mask")}
    with shifted(model, delta):
        logits = functional_call(model, still, (), inputs).logits
    y = batch["labels"][:, None]
    others = logits.scatter(1, y, -torch.inf).logsumexp(1)
    return (logits.gather(1, y)[:, 0] - others).mean()


def proposal(net, model, batch, eps):
    words = model.get_input_embeddings()(batch["input_ids"]).detach()
    return on_ball(net, words, batch["labels"], attackable(batch), eps)


def entropy(model, batch, delta):
    return F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])


def round_plain(net, model, batch, eps, lam, net_optimizer, model_optimizer):
    net_optimizer.zero_grad()
    first = loss_by_flags(model, batch, proposal(net, model, batch, eps))
    first.backward()
    net_optimizer.step()
    model_optimizer.zero_grad()
    with torch.no_grad():
        delta = proposal(net, model, batch, eps)
    second = entropy(model, batch, None) + lam * entropy(model, batch, delta)
    second.backward()
    model_optimizer.step()
    return first.detach(), second.detach()


def round_by_grads(net, model, batch, eps, lam, net_optimizer, model_optimizer):
    def step(optimizer, module, loss):
        grads = torch.autograd.grad(loss, list(module.parameters()), allow_unused=True)
        for p, grad in zip(module.parameters(), grads, strict=True):
            p.grad = grad
        optimizer.step()
        return loss.item()

    margin = wrong_margin(
        perturbed_logits(model, batch, proposal(net, model, batch, eps)), batch["labels"]
    )
    first = step(net_optimizer, net, -margin.mean())
    delta = proposal(net, model, batch, eps).detach()
    both = entropy(model, batch, None) + lam * entropy(model, batch, delta)
    return first, step(model_optimizer, model, both)


def even_by_floor(train_passes, per_example_generator, per_example_pgd):
    if per_example_generator >= per_example_pgd:
        return math.inf
    return int(train_passes // (per_example_pgd - per_example_generator)) + 1


def even_by_fractions(train_passes, per_example_generator, per_example_pgd):
    saving = Fraction(per_example_pgd) - Fraction(per_example_generator)
    if saving <= 0:
        return float("inf")
    n = max(1, math.ceil(Fraction(train_passes) / saving))
    return n + 1 if n * saving == train_passes else n


def rate_by_count(right_on_b, right_under_delta_on_b, fooled_on_a):
    of = int((fooled_on_a & right_on_b).sum())
    hits = int((fooled_on_a & right_on_b & ~right_under_delta_on_b).sum())
    return hits / of if of else float("nan")


def rate_by_loop(right_on_b, right_under_delta_on_b, fooled_on_a):
    rows = zip(right_on_b.tolist(), right_under_delta_on_b.tolist(), fooled_on_a.tolist(),
               strict=True)  # fmt: skip
    counted = [not after for before, after, fooled in rows if before and fooled]
    return torch.tensor(counted, dtype=torch.float).mean()


def on_ball_calls(net, embeddings, labels, mask, eps):
    rows = [on_ball(net, e[None], y[None], m[None], eps)
            for e, y, m in zip(embeddings, labels, mask, strict=True)]  # fmt: skip
    return torch.cat(rows)


def on_ball_by_power(net, embeddings, labels, mask, eps):
    raw = torch.where(mask[..., None], net(embeddings, labels), 0.0)
    square = (raw * raw).sum((1, 2), keepdim=True)
    return eps * raw * torch.where(square > 0, square, 1) ** -0.5


def loss_of_a_copy(model, batch, delta):
    frozen = copy.deepcopy(model).requires_grad_(False)
    return -wrong_margin(perturbed_logits(frozen, batch, delta), batch["labels"]).mean()


def round_in_numpy(*inputs):
    return [np.float64(loss) for loss in round_plain(*inputs)]


def even_by_numpy(train_passes, per_example_generator, per_example_pgd):
    saving = per_example_pgd - per_example_generator
    return np.int64(np.floor(train_passes / saving)) + 1 if saving > 0 else np.inf


def rate_by_numpy(right_on_b, right_under_delta_on_b, fooled_on_a):
    counted = (right_on_b & fooled_on_a).numpy()
    hits = ~right_under_delta_on_b.numpy()[counted]
    return hits.mean(dtype=np.float32) if counted.any() else np.nan


RIGHT = [
    ("05.1", on_ball), ("05.1", on_ball_one_by_one), ("05.1", on_ball_calls),
    ("05.1", on_ball_by_power), ("05.2", loss_of_a_copy),
    ("05.2", loss_by_flags), ("05.2", loss_by_functional_call),
    ("05.3", round_plain), ("05.3", round_by_grads), ("05.3", round_in_numpy),
    ("05.4", even_by_floor), ("05.4", even_by_fractions), ("05.4", even_by_numpy),
    ("05.5", rate_by_count), ("05.5", rate_by_loop), ("05.5", rate_by_numpy),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def ball_with(dims=(1, 2), masked="before", eps_too=True, divide=True, size_of=lambda size: size):
    """Answers to 05.1 with one mistake each."""

    def answer(net, embeddings, labels, mask, eps):
        raw = net(embeddings, labels)
        raw = raw * mask[..., None] if masked == "before" else raw
        size = size_of(raw.norm(dim=dims, keepdim=True) if dims else raw.norm())
        size = torch.where(size > 0, size, 1) if divide else 1
        delta = (eps if eps_too else 1) * raw / size
        return delta * mask[..., None] if masked == "after" else delta

    return answer


def ball_nan(net, embeddings, labels, mask, eps):
    raw = net(embeddings, labels) * mask[..., None]
    return eps * raw / raw.norm(dim=(1, 2), keepdim=True)


def ball_in_place(net, embeddings, labels, mask, eps):
    embeddings *= mask[..., None]
    return on_ball(net, embeddings, labels, mask, eps)


@torch.no_grad()
def ball_no_grad(*inputs):
    return on_ball(*inputs)


def ball_blind(net, embeddings, labels, mask, eps):
    return on_ball(net, embeddings, torch.zeros_like(labels), mask, eps)


def ball_of_embeddings(net, embeddings, labels, mask, eps):
    return on_ball(lambda e, y: e, embeddings, labels, mask, eps)


def ball_reads_masked(net, embeddings, labels, mask, eps):
    return on_ball(net, embeddings * mask[..., None], labels, mask, eps)


def ball_in_mode(name, back=True):
    def answer(net, *rest):
        mode = net.training
        getattr(net, name)()
        delta = on_ball(net, *rest)
        return (net.train(mode) if back else net, delta)[1]

    return answer


def ball_scaled(factor):
    """factor(raw, size, mask, eps): what the masked answer is multiplied with."""

    def answer(net, embeddings, labels, mask, eps):
        raw = net(embeddings, labels) * mask[..., None]
        size = raw.norm(dim=(1, 2), keepdim=True)
        return raw * factor(raw, torch.where(size > 0, size, 1), mask, eps)

    return answer


def plain_margin(model, batch, delta):
    return wrong_margin(perturbed_logits(model, batch, delta), batch["labels"])


def loss_with(make):
    """Answers to 05.2 that freeze the model as they should and then take another loss."""

    def answer(model, batch, delta):
        flags = [p.requires_grad for p in model.parameters()]
        model.requires_grad_(False)
        loss = make(model, batch, delta)
        for p, flag in zip(model.parameters(), flags, strict=True):
            p.requires_grad_(flag)
        return loss

    return answer


def loss_of_predictions(model, batch, delta):
    says = perturbed_logits(model, batch, None).argmax(1)
    return -wrong_margin(perturbed_logits(model, batch, delta), says).mean()


def loss_left_frozen(model, batch, delta):
    return -plain_margin(model.requires_grad_(False), batch, delta).mean()


def loss_thawed(model, batch, delta):
    loss = -plain_margin(model.requires_grad_(False), batch, delta).mean()
    model.requires_grad_(True)
    return loss


def loss_eval(model, batch, delta):
    return loss_by_flags(model.eval(), batch, delta)


def loss_train(model, batch, delta):
    return loss_by_flags(model.train(), batch, delta)


def loss_backward(model, batch, delta):
    loss = loss_by_flags(model, batch, delta)
    loss.backward(retain_graph=True)
    return loss


def game_with(sign=1.0, stale=False, clean=1.0, lam_too=True, zero_net=True, zero_model=True,
              net_moves=True, model_moves=True, detach=True, first="net", pollute=False,
              turned=False, number=torch.Tensor.item):  # fmt: skip
    """Answers to 05.3 with one mistake each."""

    def answer(net, model, batch, eps, lam, net_optimizer, model_optimizer):
        def climb():
            if zero_net:
                net_optimizer.zero_grad()
            push = proposal(net, model, batch, eps)
            loss = (lambda m, b, d: -plain_margin(m, b, d).mean()) if pollute else loss_by_flags
            loss = sign * loss(model, batch, push)
            loss.backward()
            if net_moves:
                net_optimizer.step()
            return loss

        def defend(push):
            if zero_model and not pollute:
                model_optimizer.zero_grad()
            push = push.detach() if detach else push
            loss = clean * entropy(model, batch, None)
            loss = loss + (lam if lam_too else 1) * entropy(model, batch, push)
            loss.backward()
            if model_moves:
                model_optimizer.step()
            return loss

        if pollute:
            model_optimizer.zero_grad()
        old = proposal(net, model, batch, eps).detach()
        if first == "net":
            a = climb()
            b = defend(old if stale else proposal(net, model, batch, eps))
        else:
            b = defend(old)
            a = climb()
        a, b = (b, a) if turned else (a, b)
        return number(a), number(b)

    return answer


def game_other(climbs=1, mix=None, net_loss=loss_by_flags, clip_net=None, clip_model=None):
    """Answers to 05.3 with another recipe."""

    def answer(net, model, batch, eps, lam, net_optimizer, model_optimizer):
        for _ in range(climbs):
            first = net_loss(model, batch, proposal(net, model, batch, eps))
            net_optimizer.zero_grad()
            first.backward()
            if clip_net:
                torch.nn.utils.clip_grad_norm_(net.parameters(), clip_net)
            net_optimizer.step()
        delta = proposal(net, model, batch, eps).detach()
        second = mix(entropy(model, batch, None), entropy(model, batch, delta), lam)
        model_optimizer.zero_grad()
        second.backward()
        if clip_model:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_model)
        model_optimizer.step()
        return first.item(), second.item()

    return answer


def plus(calm, hard, lam):
    return calm + lam * hard


def minus_entropy(model, batch, delta):
    return -entropy(model, batch, delta)


def game_train_for_a_while(net, model, *rest):
    result = round_plain(net, model.train(), *rest)
    model.eval()
    return result


def even_by_loop(train_passes, per_example_generator, per_example_pgd):
    for n in range(1, 1000):
        if train_passes + n * per_example_generator < n * per_example_pgd:
            return n
    return math.inf


def game_train_mode(net, model, *rest):
    return round_plain(net, model.train(), *rest)


def game_frozen(net, model, batch, eps, lam, net_optimizer, model_optimizer):
    result = round_plain(net, model, batch, eps, lam, net_optimizer, model_optimizer)
    model.requires_grad_(False)
    return result


def ball_tracked(net, embeddings, *rest):
    return on_ball(net, embeddings.requires_grad_().detach(), *rest)


def ball_cleared(net, *rest):
    net.zero_grad()
    return on_ball(net, *rest)


def loss_after(change):
    """An answer to 05.2 that then does something to the model or the batch."""

    def answer(model, batch, delta):
        loss = loss_by_flags(model, batch, delta)
        change(model, batch)
        return loss

    return answer


def loss_eval_for_a_while(model, batch, delta):
    mode = model.training
    loss = loss_by_flags(model.eval(), batch, delta)
    model.train(mode)
    return loss


def loss_pops(model, batch, delta):
    labels = batch.pop("labels")
    return loss_by_flags(model, dict(batch, labels=labels), delta)


def loss_two_classes(model, batch, delta):
    logits, rows = perturbed_logits(model, batch, delta), torch.arange(len(delta))
    y = batch["labels"]
    return (logits[rows, y] - logits[rows, 1 - y]).mean()


def loss_of_the_largest(model, batch, delta):
    logits, y = perturbed_logits(model, batch, delta), batch["labels"][:, None]
    return (logits.gather(1, y)[:, 0] - logits.scatter(1, y, -torch.inf).amax(1)).mean()


def loss_with_hooks(model, batch, delta):
    loss = -plain_margin(model, batch, delta).mean()
    for p in model.parameters():
        if p.requires_grad:
            p.register_hook(torch.zeros_like)
    return loss


def game_cleared_late(net, model, batch, eps, lam, net_optimizer, model_optimizer):
    first = loss_by_flags(model, batch, proposal(net, model, batch, eps))
    first.backward()
    net_optimizer.step()
    net_optimizer.zero_grad()
    delta = proposal(net, model, batch, eps).detach()
    second = entropy(model, batch, None) + lam * entropy(model, batch, delta)
    second.backward()
    model_optimizer.step()
    model_optimizer.zero_grad()
    return first.item(), second.item()


def game_pops(net, model, batch, *rest):
    result = round_plain(net, model, batch, *rest)
    batch.pop("special_tokens_mask")
    return result


WRONG = [
    ("05.1", ball_tracked, "requires_grad of `embeddings`"),
    ("05.1", ball_cleared, r"changes the \.grad"),
    ("05.1", lambda *i: on_ball(*i).squeeze(0), "shape"),
    ("05.2", loss_after(lambda m, b: m.zero_grad()), r"changes the \.grad"),
    ("05.2", loss_after(lambda m, b: b.pop("special_tokens_mask")), "special_tokens_mask' out"),
    ("05.2", loss_pops, "takes 'labels' out"),
    ("05.2", loss_eval_for_a_while, "another mode"),
    ("05.2", loss_with(loss_two_classes), "the loss"),
    ("05.2", loss_with(loss_of_the_largest), "one other class only"),
    ("05.2", loss_with_hooks, r"changes the \.grad of 1 parameters"),
    ("05.3", game_cleared_late, "comes after the step"),
    ("05.3", game_pops, "takes 'special_tokens_mask' out"),
    ("05.4", lambda t, g, p: even_by_floor(int(t), g, p), "training passes were cut"),
    ("05.4", lambda t, g, p: even_by_floor(round(t), g, p), "not as expected"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if g or p else 1, "math.inf"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if t or g >= p else 0, "smallest n is 1"),
    ("05.5", lambda b, d, a: rate_by_count(b, d, a) if len(a) else 0.0, "nan"),
    ("05.5", lambda b, d, a: rate_by_count(b, d, a) if a.any() else 1.0, "nan"),
    ("05.1", ball_with(masked="after"), "mask comes after"),
    ("05.1", ball_with(masked="never"), "mask is forgotten"),
    ("05.1", ball_with(dims=None), "whole batch"),
    ("05.1", ball_with(dims=2), "per token"),
    ("05.1", ball_with(dims=1), "dim=1"),
    ("05.1", ball_with(eps_too=False), "eps is missing"),
    ("05.1", ball_with(divide=False), "not normalised"),
    ("05.1", ball_with(divide=False, eps_too=False), "what the network says"),
    ("05.1", ball_with(size_of=torch.Tensor.detach), "constant"),
    ("05.1", lambda *i: on_ball(*i).detach(), "flow back"),
    ("05.1", ball_no_grad, "flow back"),
    ("05.1", ball_nan, "0/0|not finite"),
    ("05.1", ball_in_place, "in place"),
    ("05.1", ball_blind, "other labels"),
    ("05.1", ball_of_embeddings, "never asked"),
    ("05.1", lambda net, e, y, m, eps: e + on_ball(net, e, y, m, eps), "push alone"),
    ("05.1", lambda *i: -on_ball(*i), "sign"),
    ("05.1", lambda *i: on_ball(*i)[:, 1:], "shape"),
    ("05.1", lambda net, e, y, m, eps: (net(e, y), None)[1], "return"),
    ("05.1", ball_reads_masked, "other embeddings"),
    ("05.1", ball_in_mode("train"), "mode"),
    ("05.1", ball_in_mode("eval"), "mode"),
    ("05.1", ball_in_mode("eval", back=False), "mode"),
    ("05.1", ball_scaled(lambda r, size, m, eps: eps / size.clamp(min=0.1)), "kept from being"),
    ("05.1", ball_scaled(lambda r, size, m, eps: eps / (size + 1e-3)), "not as expected|too short"),
    ("05.1", ball_scaled(lambda r, size, m, eps: eps / size**2), "squared"),
    ("05.1", ball_scaled(lambda r, size, m, eps: (eps / size).clamp(max=1)), "projected"),
    ("05.1", ball_scaled(lambda r, size, m, eps:
                         eps / r.abs().amax((1, 2), keepdim=True).clamp(min=1e-9)), "max norm"),
    ("05.1", ball_scaled(lambda r, size, m, eps:
                         eps * m.sum(1).sqrt()[:, None, None] / size), "number of tokens"),
    ("05.2", loss_with(lambda *i: plain_margin(*i).mean()), "sign"),
    ("05.2", loss_with(lambda *i: -plain_margin(*i).clamp(max=5).mean()), "cut off at 5"),
    ("05.2", loss_with(lambda *i: -plain_margin(*i).clamp(-10, 10).mean()), "cut off at 10"),
    ("05.2", lambda m, b, d: (loss_by_flags(m.eval(), b, d), m.train(True))[0], "mode"),
    ("05.2", loss_with(lambda *i: -plain_margin(*i).sum()), "sum"),
    ("05.2", loss_with(lambda *i: -entropy(*i)), "cross-entropy"),
    ("05.2", loss_with(entropy), "cross-entropy"),
    ("05.2", loss_with(lambda m, b, d: -plain_margin(m, b, None).mean() + 0 * d.sum()), "not used"),
    ("05.2", loss_with(loss_of_predictions), "labels are ignored"),
    ("05.2", loss_with(lambda m, b, d: -plain_margin(m, b, -d).mean()), "−delta"),
    ("05.2", loss_with(lambda *i: -plain_margin(*i)), "shape"),
    ("05.2", lambda *i: -plain_margin(*i).mean(), r"changes the \.grad of \d+ parameters"),
    ("05.2", lambda m, b, d: loss_by_flags(m, b, d.detach()), "detached"),
    ("05.2", torch.no_grad()(loss_by_flags), "no_grad"),
    ("05.2", loss_left_frozen, "the flag that it had"),
    ("05.2", loss_thawed, "the flag that it had"),
    ("05.2", loss_eval, "mode"),
    ("05.2", loss_train, "mode"),
    ("05.2", loss_backward, "backward"),
    ("05.2", lambda *i: loss_by_flags(*i).item(), "tensor"),
    ("05.2", lambda *i: None, "return"),
    ("05.3", game_with(sign=-1.0), "sign"),
    ("05.3", game_with(stale=True), "old delta"),
    ("05.3", game_with(clean=0.0), "clean loss is missing"),
    ("05.3", game_with(lam_too=False), "lam is ignored"),
    ("05.3", game_with(zero_net=False), "generator's zero_grad"),
    ("05.3", game_with(zero_model=False), "victim's zero_grad"),
    ("05.3", game_with(zero_net=False, zero_model=False), "both zero_grad"),
    ("05.3", game_with(net_moves=False), "generator's step is missing"),
    ("05.3", game_with(model_moves=False), "victim's step is missing"),
    ("05.3", game_with(detach=False), "not detached"),
    ("05.3", game_with(first="model"), "victim moves first"),
    ("05.3", game_with(pollute=True), "flows into the victim"),
    ("05.3", game_with(turned=True), "wrong way around"),
    ("05.3", game_with(number=lambda loss: loss), "graph"),
    ("05.3", game_train_mode, "mode"),
    ("05.3", game_train_for_a_while, "mode"),
    ("05.3", game_other(mix=plus, clip_net=1.0, clip_model=1.0), "gradients? (was|were) clipped"),
    ("05.3", game_other(mix=plus, clip_net=1.0), "generator's gradient was clipped"),
    ("05.3", game_other(mix=plus, clip_model=1.0), "victim's gradient was clipped"),
    ("05.3", game_other(mix=plus, climbs=2), "two steps"),
    ("05.3", game_other(mix=plus, net_loss=loss_with(minus_entropy)), "climbs the cross-entropy"),
    ("05.3", game_other(mix=lambda calm, hard, lam: hard), "lam: the victim learns attacked"),
    ("05.3", game_other(mix=lambda calm, hard, lam: (1 - lam) * calm + lam * hard), "counts fully"),
    ("05.3", game_other(mix=lambda calm, hard, lam: calm), "the victim's parameters"),
    ("05.3", game_frozen, "the flag that it had"),
    ("05.3", lambda *i: round_plain(*i)[0], "two things"),
    ("05.3", lambda *i: None, "return"),
    ("05.4", lambda t, g, p: math.ceil(t / (p - g)) if p > g else math.inf, "strictly|smallest"),
    ("05.4", lambda t, g, p: t / (p - g) if p > g else math.inf, "not rounded"),
    ("05.4", lambda t, g, p: math.floor(t / (p - g)) if p > g else math.inf, "strictly|rounded"),
    ("05.4", lambda t, g, p: even_by_floor(t, 0, p), "own cost|math.inf"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) + 1, "too many"),
    ("05.4", lambda t, g, p: math.floor(t / (p - g)) + 1, "math.inf"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if p > g else -1, "math.inf"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if p > g else None, "return"),
    ("05.4", lambda t, g, p: even_by_floor(t, -g, p), "added|math.inf"),
    ("05.4", lambda t, g, p: math.ceil(t / (p - g) + 0.01) if p > g else math.inf, "added before"),
    ("05.4", even_by_loop, "says never"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if p - g > 0.1 else math.inf, "says never"),
    ("05.4", lambda t, g, p: float(even_by_floor(t, g, p)), "int"),
    ("05.4", lambda t, g, p: even_by_floor(t, g, p) if p > g else None, "math.inf"),
    ("05.4", lambda t, g, p: even_by_floor(int(t), int(g), int(p)), "whole numbers"),
    ("05.4", lambda t, g, p: float(even_by_floor(t, g, p)) + 0.5, "not as expected"),
    ("05.5", lambda b, d, a: (d[a & b]).float().mean().item(), "still"),
    ("05.5", lambda b, d, a: (~d[a | b]).float().mean().item(), "both"),
    ("05.5", lambda b, d, a: (b.float().mean() - d.float().mean()).item(), "over all texts"),
    ("05.5", lambda b, d, a: (b[a].float().mean() - d[a].float().mean()).item(), "set off"),
    ("05.5", lambda b, d, a: (a & b & ~d).float().mean().item(), "all texts"),
    ("05.5", lambda b, d, a: ((a & b & ~d).sum() / a.sum()).item(), "all that were fooled on A"),
    ("05.5", lambda b, d, a: (~d[a]).float().mean().item(), "wrong on B from the start"),
    ("05.5", lambda b, d, a: ((a & ~d).sum() / (a & b).sum()).item(), "numerator"),
    ("05.5", lambda b, d, a: (~d[b]).float().mean().item(), "not used"),
    ("05.5", lambda b, d, a: (~d[b & ~a]).float().mean().item(), "turned around"),
    ("05.5", lambda b, d, a: int((a & b & ~d).sum()), "count"),
    ("05.5", lambda b, d, a: 100 * rate_by_count(b, d, a), "per cent"),
    ("05.5", lambda b, d, a: rate_by_count(b, d, a) if (a & b).any() else 0.0, "nan"),
    ("05.5", lambda b, d, a: int((a & b & ~d).sum()) / int((a & b).sum()), "zero"),
    ("05.5", lambda b, d, a: ~d[a & b], "one number"),
    ("05.5", lambda b, d, a: rate_by_count(b, d, a.logical_and_(b)), "in place"),
    ("05.5", lambda b, d, a: None, "return"),
]  # fmt: skip
