"""Right and wrong answers to the exercises of lesson 12; a regex names each mistake."""

import copy
import io
import math
import re
import statistics

import torch
import torch.nn.functional as F

from advlib.attacks.embedding import attackable, bare, perturbed_logits, zero_delta
from course.lesson_03.checks import fgm_step

# ---------------------------------------------------------------- 12.1


def bytes_with(
    c16=40, c32=64, masks=2, trained="trainable", moments=8, half=2, copied=None, wide=12,
    once=True, layer_input=None, unit=1, square=False, names=None, always=False,
    no_layers=False, swap=False, weight=4, half_weight=4, half_gradient=4, one_copy=False,
    dropout_once=False, dropout_always=False,
):  # fmt: skip
    """Answers to 12.1; without arguments a right one."""

    def answer(params, trainable, layers, hidden, batch, length, fp16=False, checkpointing=False,
               dropout=True):  # fmt: skip
        c = c16 if fp16 else c32
        if dropout or always:
            c += masks
        tokens = batch * hidden * (length**2 if square else length)
        taken = layer_input(fp16) if layer_input else 4
        if checkpointing != swap:
            kept = tokens * (taken * layers + (c if once is True else once))
        else:
            kept = tokens * c * (1 if no_layers else layers)
        if dropout and dropout_once and not checkpointing:
            kept -= masks * (layers - 1) * tokens
        if dropout and dropout_always and checkpointing:
            kept += masks * (layers - 1) * tokens
        many = 1 if one_copy else layers
        count = wide * many * hidden**2 if copied is None else copied(params, trainable)
        learned = trainable if trained == "trainable" else params
        found = {
            "weights": (half_weight if fp16 else weight) * params // unit,
            "half copies": half * count * fp16,
            "gradients": (half_gradient if fp16 else 4) * learned,
            "moments": moments * learned,
            "activations": kept,
        }
        return found if names is None else names(found)

    return answer


def bytes_by_table(params, trainable, layers, hidden, batch, length, fp16=False,
                   checkpointing=False, dropout=True):  # fmt: skip
    """Adds the lines of the table up."""
    table = [(1, 4, 6), (3, 4, 2), (1, 4, 2), (1, 4, 4), (1, 4, 2), (4, 4, 2), (4, 4, 2), (1, 4, 4)]
    one = sum(n * (b if fp16 else a) for n, a, b in table) + (2 if dropout else 0)
    layer = float(batch * length * hidden)
    return dict(weights=params * 4.0, moments=trainable * 8.0, gradients=trainable * 4.0,
                activations=layer * (one + 4 * layers if checkpointing else one * layers),
                **{"half copies": 24.0 * layers * hidden * hidden if fp16 else 0.0})  # fmt: skip


def bytes_renamed(n_params, n_trainable, n_layers, width, batch, length, fp16=False,
                  checkpointing=False, dropout=True):  # fmt: skip
    """Right by position, but the names of the task do not fit."""
    return bytes_with()(n_params, n_trainable, n_layers, width, batch, length, fp16, checkpointing,
                        dropout)  # fmt: skip


def bytes_without_dropout(params, trainable, layers, hidden, batch, length, fp16=False,
                          checkpointing=False):  # fmt: skip
    return bytes_with()(params, trainable, layers, hidden, batch, length, fp16, checkpointing)


def bytes_without_defaults(params, trainable, layers, hidden, batch, length, fp16, checkpointing,
                           dropout):  # fmt: skip
    return bytes_with()(params, trainable, layers, hidden, batch, length, fp16, checkpointing,
                        dropout)  # fmt: skip


# ---------------------------------------------------------------- 12.5


def diagnose_with(
    row=3, loss=True, grad=True, finite=math.isfinite, share=0.95, several=all, enough=3, drop=0.2,
    both=True, top="pgd", lowest=False, tail=3, begin=lambda clean: clean[0], near=0.9, want=None,
    order=("overflow", "learning rate", "collapse", "over-fitting", "warm-up"), change=False,
    skip=False, anywhere=False, late=False, mean=None, key="clean_loss", equal=False,
    judge=None, end="checks", lone=False, over_best=None, fell=None, kept=None, with_share=False,
    warm=None, windows=None, last_at=-1,
):  # fmt: skip
    """Answers to 12.5; without arguments a right one."""

    def answer(log, lam):
        def overflow():
            if windows:
                wild = [not finite(x.get("grad_norm", 0.0)) for x in log]
                return not all(finite(x["loss"]) for x in log) or any(
                    all(wild[k : k + 3]) for k in windows(len(log)))  # fmt: skip
            norms = [x["grad_norm"] for x in log if "grad_norm" in x]
            if anywhere and sum(not finite(x) for x in norms) >= 3:
                return True
            count = 0
            for line in log:
                if loss and not finite(line["loss"]):
                    return True
                if skip and "grad_norm" not in line:
                    continue
                norm = line.get("grad_norm")
                count = count + 1 if norm is not None and not finite(norm) else 0
                if grad and count == row and not late:
                    return True
            return late and count >= row

        def rate():
            clean = [line[key] for line in log]
            now = mean(clean[-tail:]) if mean else sum(clean[-tail:]) / tail
            return now > begin(clean) or (equal and now == begin(clean))

        def collapse():
            found = [line["share"] for line in log if "share" in line][-3:]
            if judge:
                return len(found) >= enough and judge(found)
            return len(found) >= enough and several(s >= share for s in found)

        def over():
            lines = [x for x in log if x.get("pgd") is not None and x.get("fgm") is not None]
            if lone:
                lines = [{"fgm": 0.0} | x for x in log if "pgd" in x]
            if with_share:
                lines = [x for x in lines if "share" in x]
            if not lines or (end == "log" and "pgd" not in log[-1]):
                return False
            best = lines[0]
            for x in lines:
                best = x if x[top] > best[top] else best
            best = over_best(lines) if over_best else best
            last = lines[max(last_at, -len(lines))]
            last = min(lines, key=lambda x: x["pgd"]) if lowest else last
            fallen = both and best["fgm"] - last["fgm"] > drop
            fallen = fallen if kept is None else not kept(best, last)
            return (fell(best, last) if fell else best["pgd"] - last["pgd"] > drop) and not fallen

        tests = {
            "overflow": overflow,
            "learning rate": rate,
            "collapse": collapse,
            "over-fitting": over,
            "warm-up": lambda: (
                warm(log, lam) if warm else log[-1]["lam"] < near * (lam if want is None else want)
            ),
        }
        if change:
            log.sort(key=lambda x: -x["step"])
            log.reverse()
            log[0]["seen"] = True
        return next((name for name in order if tests[name]()), "healthy")

    return answer


RULES = ("overflow", "learning rate", "collapse", "over-fitting", "warm-up")


def diagnose_without_looking(log, lam):
    """Takes it for granted that the last line has the checks."""
    best = max((line for line in log if "pgd" in line), key=lambda line: line["pgd"])
    return "over-fitting" if best["pgd"] - log[-1]["pgd"] > 0.2 else "healthy"


def diagnose_by_frames(log, lam):
    """With pandas."""
    import pandas as pd

    frame = pd.DataFrame(log)
    if "grad_norm" not in frame:
        frame["grad_norm"] = 0.0
    norm = pd.Series([line.get("grad_norm", 0.0) for line in log])
    bad = ~norm.map(math.isfinite)
    if (~frame.loss.map(math.isfinite)).any() or (
        bad & bad.shift(1, fill_value=False) & bad.shift(2, fill_value=False)
    ).any():
        return "overflow"
    if frame.clean_loss.tail(3).mean() > frame.clean_loss.iloc[0]:
        return "learning rate"
    shares = frame["share"].dropna().tail(3) if "share" in frame else []
    if len(shares) == 3 and (shares >= 0.95).all():
        return "collapse"
    if {"fgm", "pgd"} <= set(frame):
        checks = frame.dropna(subset=["fgm", "pgd"])
        if len(checks):
            best, last = checks.loc[checks.pgd.idxmax()], checks.iloc[-1]
            if best.pgd - last.pgd > 0.2 and not best.fgm - last.fgm > 0.2:
                return "over-fitting"
    return "warm-up" if frame.lam.iloc[-1] < 0.9 * lam else "healthy"


# ---------------------------------------------------------------- 12.2


def checkpoint_with(
    leave=(), deep=True, deep_back=True, consume=None, replace_optimizer=False, whole=False,
    returns=None, reseed=False, swap=False, none=False, quiet=None, rest_of_order=False,
):  # fmt: skip
    """Answers to 12.2; without arguments a right one."""

    def answer(loop, state=None):
        if state is None:
            found = {
                "model": loop.model.state_dict(), "optimizer": loop.optimizer.state_dict(),
                "scheduler": loop.scheduler.state_dict(), "generator": loop.generator.get_state(),
                "order": loop.order, "at": loop.at, "dropout": torch.get_rng_state(),
            }  # fmt: skip
            if quiet == "saving":
                loop.model.eval()
            if rest_of_order:
                found["order"], found["at"] = loop.order[loop.at :], 0
            if consume == "generator":
                torch.rand(1, generator=loop.generator)
            if consume == "global":
                torch.rand(1)
            if whole:
                found["scheduler"] = loop.scheduler
            found = copy.deepcopy(found) if deep else found
            return None if none else {k: v for k, v in found.items() if k not in leave}
        state = copy.deepcopy(state) if deep_back else state
        if "model" in state:
            loop.model.load_state_dict(state["model"])
        if replace_optimizer:
            loop.optimizer = torch.optim.AdamW(copy.deepcopy(loop.model).parameters(), lr=0.05)
        if "optimizer" in state:
            loop.optimizer.load_state_dict(state["optimizer"])
        if "scheduler" in state:
            loop.scheduler.load_state_dict(state["scheduler"])
        if "generator" in state:
            loop.generator.set_state(state["generator"])
        if reseed:
            loop.generator.manual_seed(loop.generator.initial_seed())
        loop.order, loop.at = state.get("order", loop.order), state.get("at", loop.at)
        if swap:
            loop.order, loop.at = [], 0
        if "dropout" in state:
            torch.set_rng_state(state["dropout"])
        if consume == "after":
            torch.rand(1)
        if quiet == "restoring":
            loop.model.eval()
        return returns

    return answer


def checkpoint_as_bytes(loop, state=None):
    """Everything in one tensor of bytes, written with torch.save."""
    if state is None:
        file = io.BytesIO()
        torch.save([loop.model.state_dict(), loop.optimizer.state_dict(),
                    loop.scheduler.state_dict(), loop.generator.get_state(), loop.order, loop.at,
                    torch.get_rng_state()], file)  # fmt: skip
        return {"all": torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)}
    kept = torch.load(io.BytesIO(state["all"].numpy().tobytes()), weights_only=True)
    for part, value in zip((loop.model, loop.optimizer, loop.scheduler), kept, strict=False):
        part.load_state_dict(value)
    loop.generator.set_state(kept[3])
    loop.order, loop.at = kept[4:6]
    torch.set_rng_state(kept[6])


# ---------------------------------------------------------------- 12.4


def step_with(
    inner="bare", how="grad", way="in turn", weight=None, sign=1.0, mask=True, whole=False,
    clear=False, detach=True, mode=None, summed=False, weighted=False, flow=None, optimise=False,
    outer=("bare", "wrapper"), use=True, swap=False, use_clean=True, use_adv=True,
    mix=False, zero=zero_delta, of="bare", freeze=None, key=None,
):  # fmt: skip
    """Answers to 12.4; without arguments a right one."""

    def answer(model, batch, eps, lam):
        choose = {"bare": bare(model), "wrapper": model}
        if mode == "eval":
            model.eval()
        if mode == "train":
            model.train()
        if mode in ("back to train", "back"):
            was = model.training
            bare(model).eval()
        flags = [p.requires_grad for p in model.parameters()]
        if freeze:
            bare(model).requires_grad_(False)
        if key == "popped":
            batch.pop("special_tokens_mask", None)
        if key == "added":
            batch["mask"] = attackable(batch)

        def loss_at(place, delta):
            logits = perturbed_logits(choose[place], batch, delta)
            loss = F.cross_entropy(logits, batch["labels"])
            return loss * len(batch["labels"]) if summed else loss

        free = attackable(batch)[..., None] if key != "popped" else 1
        delta = zero(choose[of], batch).requires_grad_()
        loss = loss_at(inner, delta)
        if how == "grad":
            (grad,) = torch.autograd.grad(loss, delta)
        else:
            loss.backward()
            grad = delta.grad
        if clear:
            model.zero_grad()
        if freeze:
            for p, flag in zip(model.parameters(), flags, strict=True):
                p.requires_grad_(flag if freeze == "back" else True)
        if mode in ("back to train", "back"):
            bare(model).train(was if mode == "back" else True)
        if mask:
            grad = grad * free
        norm = grad.norm() if whole else grad.flatten(1).norm(dim=1)[:, None, None]
        delta = (sign * eps * grad / norm).detach() if use else None
        scale = lam if weight is None else weight
        if way == "sum":
            clean, adv = loss_at(outer[0], None), loss_at(outer[1], delta)
            clean_weight = 1 - lam if mix else use_clean
            (clean_weight * clean + use_adv * scale * adv).backward()
        elif way == "adversary first":
            adv = loss_at(outer[1], delta)
            (scale * adv).backward()
            clean = loss_at(outer[0], None)
            clean.backward()
        else:
            clean = loss_at(outer[0], None)
            if use_clean:
                clean.backward()
            adv = loss_at(outer[1], delta)
            if use_adv:
                (scale * adv).backward()
        if optimise:
            with torch.no_grad():
                for p in model.parameters():
                    p -= 0.01 * p.grad
        adv = lam * adv if weighted else adv
        pair = (adv, clean) if swap else (clean, adv)
        return tuple(x.detach() for x in pair) if detach else pair

    return answer


def step_together(model, batch, eps, lam):
    """Clean and attacked batch in one pass through the wrapper."""
    delta = zero_delta(bare(model), batch).requires_grad_()
    loss = F.cross_entropy(perturbed_logits(bare(model), batch, delta), batch["labels"])
    delta = fgm_step(torch.autograd.grad(loss, delta)[0], attackable(batch), eps)
    both = {name: torch.cat([value, value]) for name, value in batch.items()}
    logits = perturbed_logits(model, both, torch.cat([torch.zeros_like(delta), delta]))
    size = len(batch["labels"])
    clean = F.cross_entropy(logits[:size], batch["labels"])
    adv = F.cross_entropy(logits[size:], batch["labels"])
    (clean + lam * adv).backward()
    return clean.detach(), adv.detach()


def step_that_restores(model, batch, eps, lam):
    """The inner loss backward, and .grad put back as it was."""
    inner, weights = bare(model), list(bare(model).parameters())
    kept = [None if p.grad is None else p.grad.clone() for p in weights]
    start = zero_delta(inner, batch).requires_grad_()
    F.cross_entropy(perturbed_logits(inner, batch, start), batch["labels"]).backward()
    for p, grad in zip(weights, kept, strict=True):
        p.grad = grad
    delta = fgm_step(start.grad, attackable(batch), eps)
    clean = F.cross_entropy(perturbed_logits(inner, batch, None), batch["labels"])
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (clean + lam * adv).backward()
    return clean.detach(), adv.detach()


def step_of_second_order(model, batch, eps, lam):
    """With create_graph, so that the update goes through delta."""
    inner = bare(model)
    start = zero_delta(inner, batch).requires_grad_()
    harm = F.cross_entropy(perturbed_logits(inner, batch, start), batch["labels"])
    (grad,) = torch.autograd.grad(harm, start, create_graph=True)
    free = attackable(batch)[..., None] * grad
    delta = eps * free / free.flatten(1).norm(dim=1)[:, None, None]
    clean = F.cross_entropy(perturbed_logits(inner, batch, None), batch["labels"])
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (clean + lam * adv).backward()
    return clean.detach(), adv.detach()


def step_of_delta_alone(model, batch, eps, lam):
    """backward(inputs=...) leaves the weights' .grad alone."""
    inner = bare(model)
    start = zero_delta(inner, batch).requires_grad_()
    harm = F.cross_entropy(perturbed_logits(inner, batch, start), batch["labels"])
    harm.backward(inputs=[start])
    delta = fgm_step(start.grad, attackable(batch), eps)
    clean = F.cross_entropy(perturbed_logits(inner, batch, None), batch["labels"])
    clean.backward()
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (lam * adv).backward()
    return clean.detach(), adv.detach()


def zero_by_hand(model, batch):
    """δ = 0 without the model's dtype."""
    width = bare(model).get_input_embeddings().weight.shape[1]
    return torch.zeros(*batch["input_ids"].shape, width)


def naive_step(model, batch, eps, lam):
    return step_with("wrapper", "backward", "in turn", outer=("wrapper", "wrapper"))(
        model, batch, eps, lam)  # fmt: skip


# ---------------------------------------------------------------- 12.3


def claims_with(
    interval=True, number="n = {}", model=True, digits=1, promise="", kinds=None, worst=True,
    few=0.2, which="accuracy", quiet="no attack", other=None, add="", change=False, shift=0,
    strange=None, wide=None, few_words="too few texts", shorten=None, form=None, first=True,
    n_of=lambda rows, row: row["n"],
):  # fmt: skip
    """Answers to 12.3; without arguments a right one."""

    def kind_of(row):
        if kinds:
            return kinds(row)
        return "changed words" if row["queries"] is not None else "moved embeddings"

    def answer(card):
        if change:
            card["rows"].append(card["worst case"])
        rows = [*card["rows"], *([card["worst case"]] if worst else [])]
        every = {kind_of(row) for row in card["rows"][1:]}
        out = []
        for k, row in enumerate(rows):
            last = worst and k == len(rows) - 1
            value = rows[(k + shift) % len(rows)][which]
            parts = [form(100 * value) if form else f"{value:.{digits}%}"]
            if interval:
                parts.append(f"[{row['low']:.1%}, {row['high']:.1%}]")
            parts.append(number.format(n_of(rows, row)))
            if k == 0:
                parts.append(quiet)
            else:
                named = row["threat model"] if model else row["attack"]
                parts.append(shorten(named) if shorten else named)
                parts += sorted(every) if last and other is None else [other or kind_of(row)]
            if wide(row) if wide else few is not None and row["high"] - row["low"] > few:
                parts.append(few_words)
            out.append(promise + ", ".join(parts) + add)
        out = out if first else out[1:]
        return strange(out) if strange else out

    return answer


def claims_in_prose(card):
    lines = []
    names = {True: "moved embeddings", False: "changed words"}
    for place, row in enumerate(card["rows"] + [card["worst case"]]):
        if place == 0:
            head = "With no attack"
        elif place == len(card["rows"]):
            both = {names[r["queries"] is None] for r in card["rows"][1:]}
            head = f"Under {row['threat model']}, with " + " and ".join(both)
        else:
            head = f"Under {row['threat model']}, with {names[row['queries'] is None]}"
        wide = row["high"] - row["low"] > 0.2
        lines.append(f"{head}, {100 * row['accuracy']:.1f}% are right (n = {row['n']}) "
                     f"[{100 * row['low']:.1f}%, {100 * row['high']:.1f}%]"
                     + " (too few texts)" * wide)  # fmt: skip
    return tuple(lines)


RIGHT = [
    ("12.1", bytes_with()),
    ("12.1", bytes_by_table),
    ("12.5", diagnose_with()),
    ("12.5", diagnose_by_frames),
    ("12.2", checkpoint_with()),
    ("12.2", checkpoint_as_bytes),
    ("12.4", step_with()),
    ("12.4", step_together),
    ("12.4", step_with(way="sum", outer=("wrapper", "wrapper"))),
    ("12.4", step_with(way="sum")),
    ("12.4", step_of_delta_alone),
    ("12.4", step_with(of="wrapper")),
    ("12.4", step_with(zero=zero_by_hand)),
    ("12.4", step_with(mode="back", freeze="back")),
    ("12.3", claims_with()),
    ("12.3", claims_with(shorten=lambda text: f"{text}, the strongest for each text")),
    ("12.3", claims_in_prose),
]

WRONG = [
    ("12.1", bytes_with(trained="all"), "trainable"),
    ("12.1", bytes_with(moments=4), "two moments"),
    ("12.1", bytes_with(masks=0), "dropout adds 2"),
    ("12.1", bytes_with(masks=8), "one byte"),
    ("12.1", bytes_with(always=True), "nothing where it is off"),
    ("12.1", bytes_with(half=4), "2 bytes"),
    ("12.1", bytes_with(copied=lambda p, t: p), "weight matrices alone"),
    ("12.1", bytes_with(wide=4), "12·hidden²"),
    ("12.1", bytes_with(half=0), "half copies are missing"),
    ("12.1", bytes_with(once=0), "one layer's activations"),
    ("12.1", bytes_with(layer_input=lambda fp16: 2 if fp16 else 4), "in either precision"),
    ("12.1", bytes_with(c16=32), "does not halve"),
    ("12.1", bytes_with(c16=64, c32=40), "other precision"),
    ("12.1", bytes_with(square=True), "length counts once"),
    ("12.1", bytes_with(no_layers=True), "every layer"),
    ("12.1", bytes_with(swap=True), "exchanged"),
    ("12.1", bytes_with(unit=4), "return bytes"),
    ("12.1", bytes_with(names=lambda found: sum(found.values())), "dictionary"),
    ("12.1", bytes_with(names=lambda found: {**found, "sum": 1}), "five names"),
    ("12.1", bytes_with(names=lambda found: None), "return it"),
    ("12.1", bytes_with(half_weight=2), "weights stay in float32"),
    ("12.1", bytes_with(weight=16, half_weight=16), "weights alone"),
    ("12.1", bytes_with(half_gradient=2), "gradients stay in float32"),
    ("12.1", bytes_with(one_copy=True), "not of one layer"),
    ("12.1", bytes_with(dropout_once=True), "every layer keeps its own two masks"),
    ("12.1", bytes_with(dropout_always=True), "with checkpointing dropout counts once"),
    ("12.1", bytes_renamed, "names of the task"),
    ("12.1", bytes_without_dropout, "dropout"),
    ("12.1", bytes_without_defaults, "defaults"),
    ("12.5", diagnose_with(row=1), "scaler skipped"),
    ("12.5", diagnose_with(row=2), "two lines in a row"),
    ("12.5", diagnose_with(grad=False), "grad_norm alone"),
    ("12.5", diagnose_with(loss=False), "`loss` alone"),
    ("12.5", diagnose_with(finite=lambda x: not math.isnan(x)), "infinity"),
    ("12.5", diagnose_with(both=False), "FGM's accuracy has fallen too"),
    ("12.5", diagnose_with(several=any), "not any"),
    ("12.5", diagnose_with(enough=1), "fewer than three"),
    ("12.5", diagnose_with(top="fgm"), "largest pgd"),
    ("12.5", diagnose_with(lowest=True), "not at the lowest"),
    ("12.5", diagnose_with(tail=1), "last three"),
    ("12.5", diagnose_with(begin=min), "first line"),
    ("12.5", diagnose_with(near=1.0), "0.9"),
    ("12.5", diagnose_with(want=1.0), "not 1"),
    ("12.5", diagnose_with(order=("overflow", "collapse", "learning rate", *RULES[3:])), "order"),
    ("12.5", diagnose_with(order=("warm-up", *RULES[:4])), "order"),
    ("12.5", diagnose_with(order=RULES[:4]), "warm-up is never"),
    ("12.5", diagnose_with(skip=True), "ends the row"),
    ("12.5", diagnose_with(anywhere=True), "follow one another"),
    ("12.5", diagnose_with(late=True), "anywhere in the log"),
    ("12.5", diagnose_with(mean=statistics.median), "median"),
    ("12.5", diagnose_with(key="loss"), "not at `loss`"),
    ("12.5", diagnose_with(equal=True), "equals the first"),
    ("12.5", diagnose_with(judge=lambda s: min(s) > 0.95), "at least 0.95, in EACH"),
    ("12.5", diagnose_with(judge=lambda s: sum(s) / 3 >= 0.95), "not in their mean"),
    ("12.5", diagnose_with(judge=lambda s: s[-1] >= 0.95), "last alone"),
    ("12.5", diagnose_with(end="log"), r"rule 4 \(over-fitting\) fits here"),
    ("12.5", diagnose_with(lone=True), "only if it has both"),
    ("12.5", diagnose_with(over_best=lambda x: max(x[::-1], key=lambda y: y["pgd"])),
     "`best` is the first"),
    ("12.5", diagnose_with(over_best=lambda x: x[0]), "not the first line"),
    ("12.5", diagnose_with(over_best=lambda x: {"pgd": max(y["pgd"] for y in x),
                                                "fgm": max(y["fgm"] for y in x)}),
     "not the largest fgm of all"),
    ("12.5", diagnose_with(fell=lambda b, x: x["pgd"] < 0.8 * b["pgd"]), "20 %"),
    ("12.5", diagnose_with(fell=lambda b, x: x["pgd"] <= b["pgd"] - 0.2), "exactly 0.2"),
    ("12.5", diagnose_with(fell=lambda b, x: x["fgm"] - x["pgd"] > 0.2, both=False),
     "not fgm with pgd"),
    ("12.5", diagnose_with(kept=lambda b, x: b["fgm"] - x["fgm"] < 0.2), "fgm: exactly 0.2"),
    ("12.5", diagnose_with(kept=lambda b, x: x["fgm"] >= b["fgm"]), "by up to 0.2"),
    ("12.5", diagnose_with(with_share=True), "without a share"),
    ("12.5", diagnose_with(warm=lambda log, lam: log[-1]["lam"] < lam - 0.1), "not below lam"),
    ("12.5", diagnose_with(warm=lambda log, lam: max(x["lam"] for x in log) < 0.9 * lam),
     "not the largest of the log"),
    ("12.5", diagnose_with(warm=lambda log, lam: log[-1]["lam"] < 0.9 * max(
        x["lam"] for x in log)), "not with the largest"),
    ("12.5", diagnose_with(key="loss", tail=1), "read it again|clean_loss"),
    ("12.5", diagnose_without_looking, "empty"),
    ("12.5", diagnose_with(windows=lambda n: range(n - 3)), "at the very end count too"),
    ("12.5", diagnose_with(windows=lambda n: range(1, n - 2)), "at the very beginning count too"),
    ("12.5", diagnose_with(row=4), "are enough"),
    ("12.5", diagnose_with(finite=lambda x: x < 1e4), "finite is finite"),
    ("12.5", diagnose_with(last_at=-2), "not the last but one"),
    ("12.5", diagnose_with(begin=lambda clean: max(clean[:2])), "rule 2"),
    ("12.5", diagnose_with(begin=lambda clean: max(clean[:3])), "first line, not"),
    ("12.5", diagnose_with(begin=lambda clean: max(clean[:-3] or clean[:1])), "rule 2"),
    ("12.5", diagnose_with(change=True), "changes its input `log`"),
    ("12.5", lambda log, lam: None, "return it"),
    ("12.5", lambda log, lam: "good", "six names"),
    ("12.2", checkpoint_with(leave=set("optimizer scheduler generator order at dropout".split())),
     "optimizer|moments"),
    ("12.2", checkpoint_with(leave={"optimizer"}), "moments"),
    ("12.2", checkpoint_with(leave={"scheduler"}), "schedule"),
    ("12.2", checkpoint_with(leave={"generator"}), "generator"),
    ("12.2", checkpoint_with(leave={"order"}), "order"),
    ("12.2", checkpoint_with(leave={"at"}), r"\(at\)|place in the data"),
    ("12.2", checkpoint_with(leave={"dropout"}), "dropout"),
    ("12.2", checkpoint_with(deep=False), "copy"),
    ("12.2", checkpoint_with(deep=False, deep_back=False), "copy"),
    ("12.2", checkpoint_with(deep_back=False), "copy"),
    ("12.2", checkpoint_with(consume="generator"), "saving changes|taking the state"),
    ("12.2", checkpoint_with(consume="global"), "taking the state"),
    ("12.2", checkpoint_with(consume="after"), "used up"),
    ("12.2", checkpoint_with(whole=True), r"state_dict\(\)"),
    ("12.2", checkpoint_with(replace_optimizer=True), "belongs"),
    ("12.2", checkpoint_with(reseed=True), "generator"),
    ("12.2", checkpoint_with(swap=True), "order"),
    ("12.2", checkpoint_with(none=True), "return the state"),
    ("12.2", checkpoint_with(returns={}), "return nothing"),
    ("12.2", checkpoint_with(quiet="saving"), "saving leaves the network in eval mode"),
    ("12.2", checkpoint_with(quiet="restoring"), "restoring leaves the network in eval mode"),
    ("12.2", checkpoint_with(rest_of_order=True), "order"),
    ("12.4", naive_step, "attacker's"),
    ("12.4", step_with(how="backward"), "attacker's"),
    ("12.4", step_that_restores, "put back"),
    ("12.4", step_of_second_order, "create_graph"),
    ("12.4", step_with(way="sum", mix=True), "not 1 - lam"),
    ("12.4", step_with(how="backward", clear=True), "gone"),
    ("12.4", step_with(inner="wrapper"), "bare"),
    ("12.4", step_with(inner="wrapper", way="sum", outer=("wrapper", "wrapper")), "bare"),
    ("12.4", step_with(inner="wrapper", outer=("bare", "bare")), "an inner pass goes through"),
    ("12.4", step_with(inner="wrapper", way="sum", outer=("bare", "bare")), "an inner pass"),
    ("12.4", step_with(outer=("wrapper", "wrapper")), "more than one exchange"),
    ("12.4", step_with(outer=("bare", "bare")), "no exchange"),
    ("12.4", step_with(outer=("wrapper", "bare")), "after the exchange"),
    ("12.4", step_with(way="adversary first"), "after the exchange"),
    ("12.4", step_with(weight=1.0), "lam"),
    ("12.4", step_with(sign=-1.0), "descent"),
    ("12.4", step_with(mask=False), "mask"),
    ("12.4", step_with(whole=True), "whole batch"),
    ("12.4", step_with(summed=True), "mean"),
    ("12.4", step_with(use=False), "not used"),
    ("12.4", step_with(use_clean=False), "clean loss is missing"),
    ("12.4", step_with(use_adv=False), "adversarial loss is missing"),
    ("12.4", step_with(detach=False), "detach"),
    ("12.4", step_with(mode="eval"), "mode"),
    ("12.4", step_with(mode="train"), "another mode"),
    ("12.4", step_with(mode="back to train"), "another mode"),
    ("12.4", step_with(freeze="all free"), "changes requires_grad"),
    ("12.4", step_with(key="added"), "puts 'mask' into"),
    ("12.4", step_with(key="popped", mask=False), "takes 'special_tokens_mask' out"),
    ("12.4", step_with(weighted=True), "without lam"),
    ("12.4", step_with(swap=True), "exchanged"),
    ("12.4", step_with(optimise=True), "optimizer's part"),
    ("12.3", claims_with(interval=False), "interval"),
    ("12.3", claims_with(number=""), "n is missing"),
    ("12.3", claims_with(number="{} texts"), "n is missing"),
    ("12.3", claims_with(n_of=lambda rows, row: rows[0]["n"]), "its own n"),
    ("12.3", claims_with(n_of=lambda rows, row: rows[1]["n"]), "its own n"),
    ("12.3", claims_with(kinds=lambda row: "moved embeddings"), "what was changed|not what this"),
    ("12.3", claims_with(model=False), "threat model"),
    ("12.3", claims_with(digits=0), "one digit"),
    ("12.3", claims_with(promise="Robust: "), "promises"),
    ("12.3", claims_with(promise="A safer model, "), "promises"),
    ("12.3", claims_with(add=", a secure model"), "promises"),
    ("12.3", claims_with(kinds=lambda row: "changed words"), "claimed as one on text"),
    ("12.3", claims_with(kinds=lambda row: "changed words" if row["queries"] else
                         "moved embeddings"), "0 queries"),
    ("12.3", claims_with(worst=False), "worst case"),
    ("12.3", claims_with(few=None), "too few texts"),
    ("12.3", claims_with(few=0.0), "not wider"),
    ("12.3", claims_with(which="success"), "success rate|another row"),
    ("12.3", claims_with(shift=1), "another row"),
    ("12.3", claims_with(add=", 99.9% sure"), "not in this row"),
    ("12.3", claims_with(quiet="clean"), "without attack"),
    ("12.3", claims_with(quiet="no attack, changed words"), "not what this row measured"),
    ("12.3", claims_with(promise="Not unsafe: "), "promises"),
    ("12.3", claims_with(promise="Hardly insecure: "), "promises"),
    ("12.3", claims_with(wide=lambda row: row["high"] - row["low"] >= 0.2), "not wider"),
    ("12.3", claims_with(wide=lambda row: round(row["high"] - row["low"], 3) > 0.2), "not rounded"),
    ("12.3", claims_with(quiet="No attack"), "lower case"),
    ("12.3", claims_with(few_words="Too few texts"), "lower case"),
    ("12.3", claims_with(quiet="accuracy under attack, no attack"), "says both"),
    ("12.3", claims_with(shorten=lambda text: text.replace(
        ", norm='l2', scope='sequence', relative=True, target=None", "")), "setting is left out"),
    ("12.3", claims_with(shorten=lambda text: re.sub(r", same_dropout=.*?\)", ")", text)),
     "setting is left out"),
    ("12.3", claims_with(form="{:.1f} %".format), "without a space"),
    ("12.3", claims_with(form="{:.1f} percent".format), "without a space"),
    ("12.3", claims_with(add=", 95 percent sure"), "not in this row"),
    ("12.3", claims_with(first=False), "first sentence, on no attack"),
    ("12.3", claims_with(change=True), r"changes its input `card"),
    ("12.3", claims_with(strange=" ".join), "list of sentences"),
    ("12.3", claims_with(strange=lambda lines: None), "return it"),
]  # fmt: skip
