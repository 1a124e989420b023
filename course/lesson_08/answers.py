"""Right and wrong answers to the exercises of lesson 08."""

import math

import torch
import torch.nn.functional as F

from advlib.embeddings import perturbed_logits, shifted

# ---------------------------------------------------------------- right answers


def loss_of(model, batch, delta=None, reduction="mean"):
    return F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"],
                           reduction=reduction)  # fmt: skip


def part_of(batch, k):
    return {name: value[:k] for name, value in batch.items()}


def attacked(batch, lam, ratio):
    return round(ratio * len(batch["labels"])) if lam else 0


def step_in_two_passes(model, optimizer, batch, attack, lam, ratio=1.0):
    """Two backward passes, whose gradients add up."""
    optimizer.zero_grad()
    k = attacked(batch, lam, ratio)
    delta = attack(model, part_of(batch, k), keep_best=False) if k else None
    clean = loss_of(model, batch)
    clean.backward()
    adv = None
    if k:
        loss = loss_of(model, part_of(batch, k), delta)
        (lam * loss).backward()
        adv = loss.item()
    optimizer.step()
    return clean.item(), adv


def step_with_a_hook(model, optimizer, batch, attack, lam, ratio=1.0):
    """Without perturbed_logits: a forward hook on the embeddings, losses of single texts."""

    def each(part):
        inputs = {k: v for k, v in part.items() if k not in ("labels", "special_tokens_mask")}
        log_p = model(**inputs).logits.log_softmax(-1)
        return -log_p[torch.arange(len(log_p)), part["labels"]]

    clean = each(batch).mean()
    loss, adv = clean, None
    k = attacked(batch, lam, ratio)
    if k > 0:
        part = part_of(batch, k)
        delta = attack(model, part, keep_best=False)
        with shifted(model, delta):
            adv = each(part).sum() / k
        loss = clean + lam * adv
        adv = adv.detach()
    model.zero_grad()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return clean.detach(), adv


def evaluate_in_lists(victim, data, attack):
    model, mode = victim.model, victim.model.training
    model.eval()
    before, after = [], []
    for _, batch in victim.batches(data["text"], data["label"], 16):
        delta = attack(model, batch)
        with torch.no_grad():
            for found, d in ((before, None), (after, delta)):
                logits = perturbed_logits(model, batch, d)
                found += (logits.argmax(1) == batch["labels"]).tolist()
    if mode:
        model.train()
    both = [a and b for a, b in zip(before, after, strict=True)]
    return sum(before) / len(before), sum(both) / len(both)


def evaluate_right_ones(victim, data, attack):
    """Attacks only the texts that are right."""
    was = victim.model.training
    victim.model.eval()
    guessed = victim.logits(data["text"]).argmax(1)
    keep = [i for i, label in enumerate(data["label"]) if guessed[i] == label]
    robust = 0
    for i in keep:
        batch = victim.encode([data["text"][i]], [data["label"][i]])
        delta = attack(victim.model, batch)
        with torch.no_grad():
            robust += int(perturbed_logits(victim.model, batch, delta).argmax() == batch["labels"])
    victim.model.train(was)
    return torch.tensor(len(keep) / len(data)), robust / len(data)


def warmed_by_cases(lam, step, warmup):
    if step >= warmup:
        return lam
    return lam * step / warmup


def warmed_by_max(lam, step, warmup):
    return min(lam, lam * step / max(warmup, 1)) if warmup else lam


def stop_by_counting(robust, patience):
    best, top, since = 0, -math.inf, 0
    for epoch, value in enumerate(robust):
        if value > top:
            best, top, since = epoch, value, 0
        else:
            since += 1
        if since == patience:
            return best, epoch
    return best, len(robust) - 1


def stop_by_slices(robust, patience):
    for last in range(len(robust)):
        seen = robust[: last + 1]
        best = seen.index(max(seen))
        if last - best >= patience:
            break
    return [best, last]


def frontier_by_sorting(points):
    """From the best clean accuracy downwards, keep what raises the robust one."""
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], -points[i][1]))
    kept, top = [], -math.inf
    for i in order:
        if points[i][1] > top or (kept and tuple(points[i]) == tuple(points[kept[-1]])):
            kept.append(i)
            top = points[i][1]
    return sorted(kept)


def frontier_by_tensor(points):
    p = torch.tensor(points, dtype=torch.double)
    at_least = (p[:, None] >= p[None]).all(-1)
    better = (p[:, None] > p[None]).any(-1)
    return (~(at_least & better).any(0)).nonzero().flatten().tolist()


RIGHT = [
    ("08.1", step_in_two_passes), ("08.1", step_with_a_hook),
    ("08.2", evaluate_in_lists), ("08.2", evaluate_right_ones),
    ("08.3", frontier_by_sorting), ("08.3", frontier_by_tensor),
    ("08.4", warmed_by_cases), ("08.4", warmed_by_max),
    ("08.5", stop_by_counting), ("08.5", stop_by_slices),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers


def step(total, *, best=False, push=1.0, many=attacked, clear=True, clean_part=None,
         reduction="mean", always=False, last=False, mode=None, give=None, moves=1, order="usual",
         pair=True):  # fmt: skip
    """An answer to 08.1 with one thing changed; total(clean, adv, lam) is what is minimised."""

    def answer(model, optimizer, batch, attack, lam, ratio=1.0):
        if mode is not None:
            model.train(mode)
        k = many(batch, lam, ratio)
        if always:
            k = k or len(batch["labels"])
        part = {n: v[-k:] for n, v in batch.items()} if last else part_of(batch, k)
        seen = batch if clean_part is None else clean_part(batch, k)
        clean = loss_of(model, seen, None, reduction)
        loss, adv = clean, None
        if k:
            delta = attack(model, part) if best else attack(model, part, keep_best=False)
            adv = loss_of(model, part, push * delta, reduction)
            loss = total(clean, adv, lam)
        if clear and order == "usual":
            optimizer.zero_grad()
        if order != "no backward":
            loss.backward()
        if order == "cleared late":
            optimizer.zero_grad()
        for _ in range(moves):
            optimizer.step()
        if order == "cleared afterwards":
            optimizer.zero_grad()
        if not pair:
            return loss.item()
        if give is not None:
            return give(clean, adv, lam)
        return clean.item(), None if adv is None else adv.item()

    return answer


def both(clean, adv, lam):
    return clean + lam * adv


def step_twice(model, optimizer, batch, attack, lam, ratio=1.0):
    k = attacked(batch, lam, ratio)
    optimizer.zero_grad()
    clean = loss_of(model, batch)
    clean.backward()
    optimizer.step()
    if not k:
        return clean.item(), None
    optimizer.zero_grad()
    part = part_of(batch, k)
    adv = loss_of(model, part, attack(model, part, keep_best=False))
    (lam * adv).backward()
    optimizer.step()
    return clean.item(), adv.item()


def step_eval_inside(model, optimizer, batch, attack, lam, ratio=1.0):
    """Everything in eval mode, and the mode put back."""
    was = model.training
    model.eval()
    pair = step(both)(model, optimizer, batch, attack, lam, ratio)
    model.train(was)
    return pair


def step_in_place(model, optimizer, batch, attack, lam, ratio=1.0):
    labels = batch.pop("labels")
    batch["labels"] = labels
    batch["attention_mask"][:, 0] = 0
    pair = step(both)(model, optimizer, batch, attack, lam, ratio)
    return pair


def step_of_one(model, optimizer, batch, attack, lam, ratio=1.0):
    """Text by text."""
    k = attacked(batch, lam, ratio)
    rows = [{n: v[i : i + 1] for n, v in batch.items()} for i in range(k)]
    deltas = [attack(model, row, keep_best=False) for row in rows]
    clean = loss_of(model, batch)
    adv = None
    if k:
        adv = loss_of(model, part_of(batch, k), torch.cat(deltas))
    optimizer.zero_grad()
    (clean if adv is None else clean + lam * adv).backward()
    optimizer.step()
    return clean.item(), None if adv is None else adv.item()


def step_without_default(model, optimizer, batch, attack, lam, ratio=0.5):
    return step(both)(model, optimizer, batch, attack, lam, ratio)


def step_losses_afterwards(again):
    """The losses are computed once more, after the update; again: with an attack of its own."""

    def answer(model, optimizer, batch, attack, lam, ratio=1.0):
        k, kept = attacked(batch, lam, ratio), []

        def remembered(*args, **options):
            kept.append(attack(*args, **options))
            return kept[-1]

        step(both)(model, optimizer, batch, remembered, lam, ratio)
        clean = loss_of(model, batch).item()
        if not k:
            return clean, None
        part = part_of(batch, k)
        delta = attack(model, part, keep_best=False) if again else kept[0]
        return clean, loss_of(model, part, delta).item()

    return answer


def step_one_loss_afterwards(model, optimizer, batch, attack, lam, ratio=1.0):
    """Only the second of the two is of after the update."""
    clean, adv = step(both)(model, optimizer, batch, attack, lam, ratio)
    if adv is not None:
        part = part_of(batch, attacked(batch, lam, ratio))
        adv = loss_of(model, part, _Same(attack, model, part)()).item()
    return clean, adv


class _Same:
    """The check's own delta again, without a call that it would count."""

    def __init__(self, attack, model, part):
        self.attack, self.model, self.part = attack, model, part

    def __call__(self):
        calls = list(self.attack.calls)
        delta = self.attack(self.model, self.part, keep_best=False)
        self.attack.calls[:] = calls
        return delta


def step_random_rows(model, optimizer, batch, attack, lam, ratio=1.0):
    """Some texts of the batch, drawn anew."""
    n = len(batch["labels"])
    order = torch.arange(n).roll(1)
    mixed = {name: value[order] for name, value in batch.items()}
    return step(both)(model, optimizer, mixed, attack, lam, ratio)


def step_of_nobody(model, optimizer, batch, attack, lam, ratio=1.0):
    """Only lam is looked at: a ratio that rounds to 0 makes an empty part."""
    if not lam:
        return step(both)(model, optimizer, batch, attack, lam, ratio)
    part = part_of(batch, round(ratio * len(batch["labels"])))
    delta = attack(model, part, keep_best=False)
    clean, adv = loss_of(model, batch), loss_of(model, part, delta)
    optimizer.zero_grad()
    (clean + lam * adv).backward()
    optimizer.step()
    return clean.item(), adv.item()


def step_popping(model, optimizer, batch, attack, lam, ratio=1.0):
    labels = batch.pop("labels")
    return step(both)(model, optimizer, batch | {"labels": labels}, attack, lam, ratio)


def step_unfreezing(model, optimizer, batch, attack, lam, ratio=1.0):
    model.requires_grad_(True)
    return step(both)(model, optimizer, batch, attack, lam, ratio)


def step_of_two_classes(model, optimizer, batch, attack, lam, ratio=1.0):
    """The log-odds of the last two classes: right where there are two."""
    k = attacked(batch, lam, ratio)

    def loss(part, delta=None):
        z = perturbed_logits(model, part, delta)[:, -2:]
        return F.cross_entropy(z, (part["labels"] > 0).long())

    clean, adv = loss(batch), None
    if k:
        part = part_of(batch, k)
        adv = loss(part, attack(model, part, keep_best=False))
    optimizer.zero_grad()
    (clean if adv is None else clean + lam * adv).backward()
    optimizer.step()
    return clean.item(), None if adv is None else adv.item()


def step_first_push(model, optimizer, batch, attack, lam, ratio=1.0):
    """The delta of the first text for all."""
    return step(both)(model, optimizer, batch,
                      lambda *args, **more: (d := attack(*args, **more))[:1].expand_as(d),
                      lam, ratio)  # fmt: skip


def step_seeded(model, optimizer, batch, attack, lam, ratio=1.0):
    torch.manual_seed(0)
    return step(both)(model, optimizer, batch, attack, lam, ratio)


def judged(count, *, eval_mode=True, back=True, average=False, best=True, early=True):
    """An answer to 08.2; count(before, after, labels) -> (clean, robust), per text."""

    def answer(victim, data, attack):
        model, was = victim.model, victim.model.training
        if eval_mode:
            model.eval()
        found = []
        for _, batch in victim.batches(data["text"], data["label"]):
            delta = attack(model, batch) if best else attack(model, batch, keep_best=False)
            with torch.no_grad():
                a, b = (perturbed_logits(model, batch, d).argmax(1) for d in (None, delta))
            pair = torch.stack([v.double() for v in count(a, b, batch["labels"])])
            found.append(pair.mean(1, keepdim=True) if average else pair)
        if back is True:
            model.train(was)
        elif back is not None:
            model.train(back == "train")
        clean, robust = torch.cat(found, 1).mean(1).tolist()
        return clean, robust

    return answer


def proper(before, after, labels):
    return before == labels, (before == labels) & (after == labels)


def with_conditional(victim, data, attack):
    clean, robust = judged(proper)(victim, data, attack)
    return clean, robust / max(clean, 1e-9)


def with_counts(victim, data, attack):
    clean, robust = judged(proper)(victim, data, attack)
    return clean * len(data), robust * len(data)


def with_percent(victim, data, attack):
    clean, robust = judged(proper)(victim, data, attack)
    return 100 * clean, 100 * robust


def with_success(victim, data, attack):
    clean, robust = judged(proper)(victim, data, attack)
    return clean, 1 - robust


def swapped(victim, data, attack):
    return judged(proper)(victim, data, attack)[::-1]


def one_number(victim, data, attack):
    return judged(proper)(victim, data, attack)[1]


def leaves_gradients(victim, data, attack):
    batch = victim.encode(data["text"][:1], data["label"][:1])
    was = victim.model.training
    victim.model.eval()
    loss_of(victim.model, batch).backward()
    victim.model.train(was)
    return judged(proper)(victim, data, attack)


def with_frozen_weights(victim, data, attack):
    for p in victim.model.parameters():
        p.requires_grad_(False)
    pair = judged(proper)(victim, data, attack)
    for p in victim.model.parameters():
        p.requires_grad_(True)
    return pair


def attacks_in_training(victim, data, attack):
    """Eval mode for the predictions only."""
    model, was, clean, robust = victim.model, victim.model.training, 0, 0
    for _, batch in victim.batches(data["text"], data["label"]):
        delta = attack(model, batch)
        model.eval()
        with torch.no_grad():
            a, b = (perturbed_logits(model, batch, d).argmax(1) for d in (None, delta))
        model.train(was)
        clean += int((a == batch["labels"]).sum())
        robust += int(((a == batch["labels"]) & (b == batch["labels"])).sum())
    return clean / len(data), robust / len(data)


def no_attack(victim, data, attack):
    return judged(proper)(victim, data, lambda model, batch: None)


def labels_of_the_file(robust_too):
    """Compares with data["label"], which is in another order than the batches."""

    def answer(victim, data, attack):
        model, was = victim.model, victim.model.training
        model.eval()
        found, truth = [[], []], []
        for _, batch in victim.batches(data["text"], data["label"]):
            delta = attack(model, batch)
            truth += batch["labels"].tolist()
            for values, d in zip(found, (None, delta), strict=True):
                with torch.no_grad():
                    values += perturbed_logits(model, batch, d).argmax(1).tolist()
        model.train(was)
        rows = list(zip(*found, data["label"], truth, strict=True))
        clean = sum(a == (t if robust_too else y) for a, _, y, t in rows)
        return clean / len(data), sum(a == b == y for a, b, y, _ in rows) / len(data)

    return answer


def undominated(beats, out=list):
    return lambda points: out(
        [
            i
            for i, q in enumerate(points)
            if not any(beats(p, q) for j, p in enumerate(points) if j != i)
        ]
    )


def dominates(p, q):
    return p[0] >= q[0] and p[1] >= q[1] and tuple(p) != tuple(q)


def hull(points):
    ends = {max(range(len(points)), key=lambda i, w=w: w * points[i][0] + (1 - w) * points[i][1])
            for w in torch.linspace(0.001, 0.999, 999).tolist()}  # fmt: skip
    return sorted(ends)


def frontier_once(points):
    kept = undominated(dominates)(points)
    return [i for i in kept if points[i] not in points[:i]]


def frontier_in_place(points):
    kept = undominated(dominates)(points)
    points.sort()
    return kept


def stop_like(found):
    """An answer to 08.5 made from the right one."""
    return lambda robust, patience: found(robust, patience, *stop_by_counting(robust, patience))


def stop_at_falls(robust, patience):
    since = 0
    for epoch in range(1, len(robust)):
        since = since + 1 if robust[epoch] < robust[epoch - 1] else 0
        if since == patience:
            break
    else:
        epoch = len(robust) - 1
    seen = robust[: epoch + 1]
    return seen.index(max(seen)), epoch


def stop_total(robust, patience):
    best, since = 0, 0
    for epoch, value in enumerate(robust):
        if epoch and value > robust[best]:
            best = epoch
        elif epoch:
            since += 1
        if since == patience:
            return best, epoch
    return best, len(robust) - 1


def stop_with_gain(gain):
    def answer(robust, patience):
        best = 0
        for epoch, value in enumerate(robust):
            if value > robust[best] + gain:
                best = epoch
            if epoch - best >= patience:
                break
        return best, epoch

    return answer


def stop_from_zero(robust, patience):
    """The first best is 0: right where the first accuracy is larger."""
    best, top, since = 0, 0.0, 0
    for epoch, value in enumerate(robust):
        if value > top:
            best, top, since = epoch, value, 0
        else:
            since += 1
        if since == patience:
            return best, epoch
    return best, len(robust) - 1


def stop_late(robust, patience):
    """Stops at the right moment and keeps the last of the highest."""
    best, last = stop_by_counting(robust, patience)
    return max(k for k in range(last + 1) if robust[k] == robust[best]), last


def rounded_points(digits):
    return lambda points: undominated(dominates)([
        (round(a, digits), round(b, digits)) for a, b in points])  # fmt: skip


def frontier_of_earlier(points):
    return [i for i, q in enumerate(points) if not any(dominates(p, q) for p in points[:i])]


def stop_ties(robust, patience):
    best, since = 0, 0
    for epoch, value in enumerate(robust):
        if value >= robust[best]:
            best, since = epoch, 0
        else:
            since += 1
        if since == patience:
            return best, epoch
    return best, len(robust) - 1


WRONG = [
    ("08.1", step(lambda c, a, lam: c), "clean term alone"),
    ("08.1", step(lambda c, a, lam: lam * a), "adversarial term alone"),
    ("08.1", step(lambda c, a, lam: a), "adversarial term alone, without lam"),
    ("08.1", step(lambda c, a, lam: c + a), "lam is forgotten"),
    ("08.1", step(lambda c, a, lam: c - lam * a), "minus"),
    ("08.1", step(lambda c, a, lam: -(c + lam * a)), "climbs"),
    ("08.1", step(lambda c, a, lam: lam * c + a), "wrong term"),
    ("08.1", step(lambda c, a, lam: (1 - lam) * c + lam * a), r"\(1 - lam\)"),
    ("08.1", step(lambda c, a, lam: (c + lam * a) / (1 + lam)), "divided by 1 \\+ lam"),
    ("08.1", step(lambda c, a, lam: (c + lam * a) / 2), "their sum"),
    ("08.1", step(both, push=0.0), "no effect"),
    ("08.1", step(both, push=-1.0), "subtracted"),
    ("08.1", step(both, best=True), "keep_best=False is missing"),
    ("08.1", step(both, reduction="sum"), "sum instead of mean"),
    ("08.1", step(both, clear=False), "zero_grad"),
    ("08.1", step(both, order="cleared late"), "between backward"),
    ("08.1", step(both, order="cleared afterwards"), "from before were added"),
    ("08.1", step(both, order="no backward"), "backward\\(\\) is missing"),
    ("08.1", step(both, moves=0), "no step"),
    ("08.1", step(both, moves=2), "2 steps"),
    ("08.1", step_twice, "2 steps"),
    ("08.1", step(both, many=lambda b, lam, ratio: len(b["labels"]) if lam else 0), "ratio"),
    ("08.1", step(both, many=lambda b, lam, ratio: int(ratio * len(b["labels"])) if lam else 0),
     "rounded"),
    ("08.1", step(both, many=lambda b, lam, r: int(r * len(b["labels"]) + 0.5) if lam else 0),
     "rounded in another way"),
    ("08.1", step(both, many=lambda b, lam, ratio: round(ratio * len(b)) if lam else 0),
     "counts the keys"),
    ("08.1", step_of_nobody, "leave the attack out"),
    ("08.1", step_random_rows, "in another order"),
    ("08.1", step_seeded, "draws the same mask"),
    ("08.1", step(both, last=True), "the last texts"),
    ("08.1", step(both, many=lambda b, lam, ratio: round(ratio * len(b["labels"]))),
     "leave the attack out"),
    ("08.1", step(both, always=True), "leave the attack out"),
    ("08.1", step(both, clean_part=lambda b, k: part_of(b, k or len(b["labels"]))),
     "attacked texts only"),
    ("08.1", step(both, mode=False), "leaves the model in another mode"),
    ("08.1", step(both, mode=True), "leaves the model in another mode"),
    ("08.1", step_eval_inside, "runs the model in another mode"),
    ("08.1", step_in_place, "in place"),
    ("08.1", step_popping, "takes 'labels' out of"),
    ("08.1", step_unfreezing, "requires_grad"),
    ("08.1", step_of_two_classes, "the gradient that the step followed"),
    ("08.1", step_first_push, "the gradient that the step followed"),
    ("08.1", step(both, give=lambda c, a, lam: {"clean": c.item(), "adv": a and a.item()}),
     "two things"),
    ("08.1", step_of_one, "once per text"),
    ("08.1", step_without_default, "ratio|other texts"),
    ("08.1", step(both, give=lambda c, a, lam: (c, a)), "graph"),
    ("08.1", step(both, give=lambda c, a, lam: (c.item(), lam * a.item() if a else None)),
     "multiplied by lam"),
    ("08.1", step(both, give=lambda c, a, lam: (c.item(), 0.0 if a is None else a.item())),
     "should be None.*\n.*in the place of None"),
    ("08.1", step(both, give=lambda c, a, lam: (both(c, a or 0, lam).item(), a and a.item())),
     "the sum is returned"),
    ("08.1", step(both, give=lambda c, a, lam: (c.item(), c.item() if a is None else a.item())),
     "clean loss again"),
    ("08.1", step_losses_afterwards(True), "2 times for the same texts"),
    ("08.1", step_losses_afterwards(False), "loss of after the update"),
    ("08.1", step_one_loss_afterwards, "loss of after the update"),
    ("08.1", step(both, pair=False), "two things"),
    ("08.1", step(both, give=lambda c, a, lam: None), "two things|None"),
    ("08.2", judged(lambda a, b, y: (a == y, b == y)), "wrong from the start"),
    ("08.2", judged(lambda a, b, y: (a == y, a == b)), "stays the same"),
    ("08.2", judged(lambda a, b, y: (a == y, (a == y) | (b == y))), "OR"),
    ("08.2", judged(lambda a, b, y: (a == y, (a == y) & (b != y))), "has fooled"),
    ("08.2", judged(proper, eval_mode=False), "model.eval"),
    ("08.2", judged(proper, back=None), "leaves the model in another mode"),
    ("08.2", judged(proper, back="train"), "leaves the model in another mode"),
    ("08.2", with_frozen_weights, "requires_grad"),
    ("08.2", judged(lambda a, b, y: (a == y[0], (a == y[0]) & (b == y[0]))), "clean accuracy"),
    ("08.2", judged(lambda a, b, y: proper(a > 0, b > 0, y > 0)),
     "clean accuracy"),
    ("08.2", judged(proper, average=True), "mean over batches"),
    ("08.2", judged(proper, best=False), "keep_best"),
    ("08.2", attacks_in_training, "attacked"),
    ("08.2", with_conditional, "divide by all"),
    ("08.2", with_counts, "count"),
    ("08.2", with_percent, "per cent"),
    ("08.2", with_success, "success rate"),
    ("08.2", swapped, "swapped"),
    ("08.2", one_number, "two things"),
    ("08.2", leaves_gradients, "changes the .grad"),
    ("08.2", no_attack, "never called"),
    ("08.2", lambda victim, data, attack: None, "None"),
    ("08.2", labels_of_the_file(False), "sorted by length"),
    ("08.2", labels_of_the_file(True), "sorted by length"),
    ("08.3", undominated(lambda p, q: p[0] > q[0] and p[1] > q[1]), "better in one"),
    ("08.3", undominated(lambda p, q: p[0] >= q[0] and p[1] >= q[1]), "both stay"),
    ("08.3", frontier_once, "one is missing"),
    ("08.3", undominated(lambda p, q: p[0] >= q[0] and p[1] > q[1]), "equal in the robust"),
    ("08.3", undominated(lambda p, q: p[0] > q[0] and p[1] >= q[1]), "equal in the clean"),
    ("08.3", frontier_of_earlier, "those before it"),
    ("08.3", rounded_points(2), "rounded"),
    ("08.3", rounded_points(3), "rounded"),
    ("08.3", undominated(lambda p, q: dominates(q, p)), "lower left"),
    ("08.3", lambda points: [i for i in range(len(points))
                             if i not in undominated(dominates)(points)], "dominated ones"),
    ("08.3", lambda points: [points[i] for i in undominated(dominates)(points)], "indices"),
    ("08.3", undominated(dominates, lambda v: v[::-1]), "another order"),
    ("08.3", hull, "dent"),
    ("08.3", lambda points: [i for i, p in enumerate(points)
                             if p[1] == max(b for _, b in points)], "highest robust"),
    ("08.3", lambda points: [i for i, p in enumerate(points)
                             if sum(p) == max(map(sum, points))], "exchange rate"),
    ("08.3", lambda points: list(range(len(points))), "all points"),
    ("08.3", frontier_in_place, "changes its input"),
    ("08.3", undominated(dominates, set), "not a set.*\n.*no order"),
    ("08.3", undominated(dominates, tuple), "not a tuple"),
    ("08.3", undominated(dominates, torch.tensor), "not a Tensor"),
    ("08.3", undominated(lambda p, q: p[0] > q[0] or p[1] > q[1]), "in place of `and`"),
    ("08.3", undominated(lambda p, q: (p[0] >= q[0] or p[1] >= q[1]) and p != q),
     "in place of `and`"),
    ("08.3", lambda points: sorted(points.index(points[i])
                                   for i in undominated(dominates)(points)), "points.index"),
    ("08.3", lambda points: None, "None"),
    ("08.4", lambda lam, step, warmup: lam * step / warmup if warmup else lam, "no upper end"),
    ("08.4", lambda lam, step, warmup: lam * min(1, (step + 1) / warmup) if warmup else lam,
     "off by one"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step / max(warmup - 1, 1)) if warmup else lam,
     "off by one"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step / warmup), "division by zero"),
    ("08.4", lambda lam, step, warmup: lam if step >= warmup else 0.0, "jump"),
    ("08.4", lambda lam, step, warmup: lam, "no effect"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step / warmup) if warmup else 0.0,
     "0 for ever"),
    ("08.4", lambda lam, step, warmup: min(1.0, step / warmup) if warmup else 1.0,
     "lam is missing"),
    ("08.4", lambda lam, step, warmup: lam * (1 - min(1.0, step / warmup)) if warmup else lam,
     "falls"),
    ("08.4", lambda lam, step, warmup: lam * min(1.0, step / warmup) ** 2 if warmup else lam,
     "squared"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step // warmup) if warmup else lam,
     "jump|whole numbers"),
    ("08.4", lambda lam, step, warmup: None, "None"),
    ("08.4", lambda lam, step, warmup: min(lam, step / warmup) if warmup else lam,
     "does not multiply"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step / max(1, warmup)), "hold at once"),
    ("08.4", lambda lam, step, warmup: lam * min(1, step / (warmup + 1e-9)), "hold at once"),
    ("08.5", stop_like(lambda r, p, best, last: (r.index(max(r)), last)), "future"),
    ("08.5", lambda robust, patience: (robust.index(max(robust)), len(robust) - 1),
     "never stops"),
    ("08.5", stop_like(lambda r, p, best, last: (last, last)), "keep the best"),
    ("08.5", stop_like(lambda r, p, best, last: (last, best)), "swapped"),
    ("08.5", lambda robust, patience: stop_by_counting(robust, patience + 1), "too late"),
    ("08.5", stop_like(lambda r, p, best, last: (best + 1, last + 1)), "counted from 1"),
    ("08.5", stop_ties, "equal value is not one"),
    ("08.5", stop_late, "the later epoch is kept"),
    ("08.5", stop_with_gain(0.001), "is not counted"),
    ("08.5", stop_with_gain(0.005), "is not counted"),
    ("08.5", stop_with_gain(0.05), "is not counted"),
    ("08.5", stop_like(lambda r, p, best, last: (best, last if last - best >= p else None)),
     "last is None"),
    ("08.5", stop_like(lambda r, p, best, last: (None, last)), "best is None"),
    ("08.5", stop_like(lambda r, p, best, last: (str(best), "none")), "whole number"),
    ("08.5", stop_like(lambda r, p, best, last: (best, last if last - best >= p else len(r))),
     "one too many"),
    ("08.5", lambda robust, patience: (robust.index(max(robust)), len(robust)), "never stops"),
    ("08.5", stop_at_falls, "epoch before"),
    ("08.5", stop_total, "in a row"),
    ("08.5", stop_like(lambda r, p, best, last: (r.index(min(r[: last + 1])), last)),
     "smallest"),
    ("08.5", stop_like(lambda r, p, best, last: (r[best], last)), "whole number"),
    ("08.5", stop_like(lambda r, p, best, last: best), "two things"),
    ("08.5", stop_like(lambda r, p, best, last: (best, r.reverse() or last)),
     "changes its input"),
    ("08.5", stop_from_zero, "not as expected"),
]  # fmt: skip
