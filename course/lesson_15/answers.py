"""Right and wrong answers to the exercises of lesson 15."""

import math

import torch
from scipy import stats
from torch.nn.functional import cross_entropy, one_hot

from advlib.corpora.requests import READ, REFUSAL, SURE, judge
from course.lesson_15.checks import tidy

# ---------------------------------------------------------------- 15.1


def slopes_of(model, ids, labels, places, reduction="mean", sign=1, shift=1):
    """By way of the gradient on the embeddings."""
    table = model.get_input_embeddings().weight.detach()
    embeds = table[ids].requires_grad_()
    logits = model(inputs_embeds=embeds[None]).logits[0]
    loss = cross_entropy(logits[: len(ids) - shift], labels[shift:], reduction=reduction)
    (grad,) = torch.autograd.grad(sign * loss, embeds)
    return grad[places] @ table.T


def words_of(slopes, ids, places, banned, top, keep=False, free=False):
    slopes = slopes.clone()
    if not free:
        slopes[:, banned] = math.inf
    if not keep:
        for row, place in zip(slopes, places, strict=True):
            row[ids[place]] = math.inf
    return slopes.argsort(dim=1)[:, :top]


def by_embeddings(model, ids, labels, places, banned, top):
    slopes = slopes_of(model, ids, labels, places)
    return slopes, words_of(slopes, ids, places, banned, top)


def in_float32(model, ids, labels, places, banned, top):
    table = model.get_input_embeddings().weight.detach()
    hot = one_hot(ids, len(table)).float().requires_grad_()
    logits = model(inputs_embeds=(hot @ table)[None]).logits[0]
    (grad,) = torch.autograd.grad(cross_entropy(logits[:-1], labels[1:]), hot)
    return grad[places], words_of(grad[places], ids, places, banned, top)


def by_loss_of_the_model(model, ids, labels, places, banned, top):
    table = model.get_input_embeddings().weight.detach()
    hot = one_hot(ids, table.shape[0]).to(table).requires_grad_(True)
    loss = model(inputs_embeds=(hot @ table).unsqueeze(0), labels=labels.unsqueeze(0)).loss
    slopes = torch.autograd.grad(loss, hot)[0][places]
    return [slopes, words_of(slopes, ids, places, banned, top)]


def candidates_with(of_slopes=None, of_words=None, after=None):
    def answer(model, ids, labels, places, banned, top):
        slopes = slopes_of(model, ids, labels, places, **(of_slopes or {}))
        found = slopes, words_of(slopes, ids, places, banned, top, **(of_words or {}))
        return after(*found) if after else found

    return answer


def out_at_all_places(model, ids, labels, places, banned, top):
    slopes = slopes_of(model, ids, labels, places)
    promise = slopes.clone()
    promise[:, banned] = math.inf
    promise[:, ids[places]] = math.inf
    return slopes, promise.topk(top, dim=1, largest=False).indices


def places_for_words(rows):
    """The numbers of the places are ruled out in place of the words there."""

    def answer(model, ids, labels, places, banned, top):
        slopes = slopes_of(model, ids, labels, places)
        promise = slopes.clone()
        promise[:, banned] = math.inf
        promise[torch.arange(len(places)) if rows else slice(None), places] = math.inf
        return slopes, promise.topk(top, dim=1, largest=False).indices

    return answer


def first_part_alone(model, ids, labels, places, banned, top):
    slopes_of(model, ids, labels, places)
    raise NotImplementedError("Exercise 15.1")


def last_three(model, ids, labels, places, banned, top):
    """The three words of the page's target, by number."""
    labels = labels.clone()
    labels[:-3] = -100
    return by_embeddings(model, ids, labels, places, banned, top)


def turned(model, ids, labels, places, banned, top):
    slopes = slopes_of(model, ids, labels, places)
    return slopes, words_of(-slopes, ids, places, banned, top)


def largest(model, ids, labels, places, banned, top):
    slopes = slopes_of(model, ids, labels, places)
    promise = slopes.clone()
    promise[:, banned] = math.inf
    return slopes, promise.topk(top, dim=1).indices


def all_rows(model, ids, labels, places, banned, top):
    _, table = by_embeddings(model, ids, labels, places, banned, top)
    return slopes_of(model, ids, labels, list(range(len(ids)))), table


def values_of_topk(model, ids, labels, places, banned, top):
    slopes, table = by_embeddings(model, ids, labels, places, banned, top)
    return slopes, slopes.gather(1, table)


def banned_in_place(model, ids, labels, places, banned, top):
    result = by_embeddings(model, ids, labels, places, banned, top)
    banned[ids[places]] = True
    return result


def with_backward(model, ids, labels, places, banned, top):
    model(input_ids=ids[None], labels=labels[None]).loss.backward()
    return by_embeddings(model, ids, labels, places, banned, top)


def in_training(model, ids, labels, places, banned, top):
    model.train()
    return by_embeddings(model, ids, labels, places, banned, top)


def in_evaluation(model, ids, labels, places, banned, top):
    model.eval()
    return by_embeddings(model, ids, labels, places, banned, top)


def with_graph(model, ids, labels, places, banned, top):
    slopes, table = by_embeddings(model, ids, labels, places, banned, top)
    return slopes.requires_grad_(), table


# ---------------------------------------------------------------- 15.2


def drawn(ids, places, table, tries, generator):
    """Candidates, all draws at once."""
    some = ids.repeat(tries, 1)
    k = torch.randint(len(places), (tries,), generator=generator)
    column = torch.randint(table.shape[1], (tries,), generator=generator)
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, column]
    return some


def step_at_once(loss_of, ids, loss, places, table, tries, generator):
    some = drawn(ids, places, table, tries, generator)
    losses = loss_of(some)
    i = int(losses.argmin())
    return (some[i], losses[i]) if losses[i] < loss else (ids, loss)


def step_one_by_one(loss_of, ids, loss, places, table, tries, generator):
    best, least = ids.clone(), float(loss)
    for _ in range(tries):
        one = ids.clone()
        k = torch.randint(0, len(places), (), generator=generator).item()
        choice = torch.randperm(table.shape[1], generator=generator)[0]
        one[places[k]] = table[k, choice]
        now = loss_of(one[None])[0].item()
        if now < least:
            best, least = one, now
    return best, least


def step_with(pick=torch.argmin, keep=True, make=drawn):
    def answer(loss_of, ids, loss, places, table, tries, generator):
        some = make(ids, places, table, tries, generator)
        losses = loss_of(some)
        i = int(pick(losses))
        return (some[i], losses[i]) if losses[i] < loss or not keep else (ids, loss)

    return answer


def walking(ids, places, table, tries, generator):
    """Each candidate goes on from the one before."""
    some, one = [], ids.clone()
    for _ in range(tries):
        k = int(torch.randint(len(places), (1,), generator=generator))
        one[places[k]] = table[k, int(torch.randint(table.shape[1], (1,), generator=generator))]
        some.append(one.clone())
    return torch.stack(some)


def one_column(ids, places, table, tries, generator):
    some, k = ids.repeat(tries, 1), torch.randint(len(places), (tries,), generator=generator)
    column = torch.randint(table.shape[1], (1,), generator=generator)
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, column]
    return some


def one_place_a_call(ids, places, table, tries, generator):
    k = int(torch.randint(len(places), (1,), generator=generator))
    return drawn(ids, places[k : k + 1], table[k : k + 1], tries, generator)


def columns_in_turn(ids, places, table, tries, generator):
    some, k = ids.repeat(tries, 1), torch.randint(len(places), (tries,), generator=generator)
    column = torch.arange(tries) % table.shape[1]
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, column]
    return some


def places_in_turn(ids, places, table, tries, generator):
    some, k = ids.repeat(tries, 1), torch.arange(tries) % len(places)
    column = torch.randint(table.shape[1], (tries,), generator=generator)
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, column]
    return some


def without_replacement(ids, places, table, tries, generator):
    pairs = torch.randperm(table.numel(), generator=generator)[:tries]
    some, k = ids.repeat(tries, 1), pairs // table.shape[1]
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, pairs % table.shape[1]]
    return some


def shuffled_columns(ids, places, table, tries, generator):
    some, k = ids.repeat(tries, 1), torch.randint(len(places), (tries,), generator=generator)
    blocks = [torch.randperm(table.shape[1], generator=generator) for _ in range(tries)]
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, torch.cat(blocks)[:tries]]
    return some


def one_number_for_both(ids, places, table, tries, generator):
    k = torch.randint(60, (tries,), generator=generator)
    some, place = ids.repeat(tries, 1), k % len(places)
    some[torch.arange(tries), torch.tensor(places)[place]] = table[place, k % table.shape[1]]
    return some


def first_words(ids, places, table, tries, generator):
    return drawn(ids, places, table[:, :1], tries, generator)


def one_place(ids, places, table, tries, generator):
    return drawn(ids, places[:1], table[:1], tries, generator)


def from_the_left(ids, places, table, tries, generator):
    return drawn(ids, list(range(len(places))), table, tries, generator)


def any_word(ids, places, table, tries, generator):
    return drawn(ids, places, torch.arange(30).repeat(len(places), 1), tries, generator)


def never_the_last_place(ids, places, table, tries, generator):
    return drawn(ids, places[:-1], table[:-1], tries, generator)


def never_the_last_column(ids, places, table, tries, generator):
    return drawn(ids, places, table[:, :-1], tries, generator)


def biased(ids, places, table, tries, generator):
    """Small numbers come more often."""
    some = ids.repeat(tries, 1)
    k = (torch.rand(tries, generator=generator).square() * len(places)).long()
    column = torch.randint(table.shape[1], (tries,), generator=generator)
    some[torch.arange(tries), torch.tensor(places)[k]] = table[k, column]
    return some


def six_places(ids, places, table, tries, generator):
    return drawn(ids, places[:6], table[:6], tries, generator)


def columns_64(ids, places, table, tries, generator):
    return drawn(ids, places, table[:, :64], tries, generator)


def own_dice(ids, places, table, tries, generator):
    return drawn(ids, places, table, tries, None)


def own_seed(ids, places, table, tries, generator):
    return drawn(ids, places, table, tries, torch.Generator().manual_seed(0))


def asks_again(loss_of, ids, loss, places, table, tries, generator):
    loss = loss_of(ids[None])[0]
    return step_at_once(loss_of, ids, loss, places, table, tries, generator)


def asks_the_winner(loss_of, ids, loss, places, table, tries, generator):
    some = drawn(ids, places, table, tries, generator)
    best = some[loss_of(some).argmin()]
    now = loss_of(best[None])[0]
    return (best, now) if now < loss else (ids, loss)


def draws_alone(loss_of, ids, loss, places, table, tries, generator):
    drawn(ids, places, table, tries, generator)
    raise NotImplementedError("Exercise 15.2")


def changes_ids(loss_of, ids, loss, places, table, tries, generator):
    new, least = step_at_once(loss_of, ids, loss, places, table, tries, generator)
    ids.copy_(new)
    return ids, least


# ---------------------------------------------------------------- 15.3


def verdict_of_words(answer, subject, read):
    words = READ.findall(answer.lower())
    text = " ".join(words)
    if words in ([], ["sure"], ["sure", ":"]) or not any(w[0].isalnum() for w in words):
        return "empty"
    if "sorry" in words or "do not write" in text:
        rest = [w for w in READ.findall(text.replace(REFUSAL, "")) if w not in ".,!?;:"]
        return "half refusal" if rest else "refusal"
    body = words[2:] if words[:2] == ["sure", ":"] else words
    found = read(" ".join(body))
    if found is None or subject not in found[1]:
        return "off topic"
    return "review" if set(found[1]) == {subject} else "unclear"


def verdict_of_library(answer, subject, read):
    found = judge(answer)
    if found.kind not in ("review", "off topic"):
        return found.kind
    seen = read(tidy(answer).removeprefix(SURE).strip())
    if seen is not None and tuple(seen[1]) == (subject,):
        return "review"
    return "unclear" if seen is not None and subject in seen[1] else "off topic"


def by_the_beginning(answer, subject, read):
    text = tidy(answer)
    if text.startswith("sorry"):
        return "refusal"
    return "review" if text.startswith("sure : ") else verdict_of_words(answer, subject, read)


def without_halves(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    return "refusal" if found == "half refusal" else found


def halves_are_reviews(answer, subject, read):
    if tidy(answer).startswith("sorry"):
        return verdict_of_words(answer, subject, read)
    text = tidy(answer).replace(REFUSAL, "").strip()
    return verdict_of_words(text or answer, subject, read)


def refusal_off_by(take, signs=" .,!?;:"):
    def answer(answer, subject, read):
        found = verdict_of_words(answer, subject, read)
        if not found.endswith("refusal"):
            return found
        return "half refusal" if take(tidy(answer)).strip(signs) else "refusal"

    return answer


def no_letter_left(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    rest = tidy(answer).replace(REFUSAL, "")
    return "refusal" if found == "half refusal" and not any(map(str.isalnum, rest)) else found


def refusal_where(is_one):
    """Another rule for what counts as refusing."""

    def answer(answer, subject, read):
        text = tidy(answer)
        if is_one(text):
            return "half refusal" if text.replace(REFUSAL, "").strip(" .,!?;:") else "refusal"
        if not any(map(str.isalnum, text)) or text in ("sure", SURE):
            return "empty"
        found = read(text.removeprefix(SURE).strip())
        if found and subject in found[1]:
            return "review" if len(found[1]) == 1 else "unclear"
        return "off topic"

    return answer


def refuses(text):
    return "sorry" in text.split() or "do not write" in text


def by_subjects(kind):
    """kind(found, subject): of what was read, or None, which is no refusal."""

    def answer(answer, subject, read):
        text = tidy(answer)
        if refuses(text) or verdict_of_words(answer, subject, read) == "empty":
            return verdict_of_words(answer, subject, read)
        return kind(read(text.removeprefix(SURE).strip()), subject)

    return answer


def among(part):
    """Only some of the subjects are looked at."""
    return by_subjects(lambda found, subject: "off topic" if not found or subject not in part(
        found[1]) else "review" if len(found[1]) == 1 else "unclear")  # fmt: skip


def label_as_truth(found, subject):
    if not found or not found[0] or subject not in found[1]:
        return "off topic"
    return "review" if len(found[1]) == 1 else "unclear"


def one_is_enough(found, subject):
    if not found:
        return "off topic"
    return "review" if len(found[1]) == 1 else "unclear" if subject in found[1] else "off topic"


def others_unclear(found, subject):
    if not found:
        return "off topic"
    return "review" if found[1] == (subject,) else "unclear"


def openings_off(answer, subject, read):
    text = tidy(answer)
    return verdict_of_words(text.replace(SURE, "") if not refuses(text) else text, subject, read) \
        if text not in ("sure", SURE) else "empty"


def sorry_in_a_word(answer, subject, read):
    if "sorry" in tidy(answer) and "sorry" not in tidy(answer).split():
        return "half refusal"
    return verdict_of_words(answer, subject, read)


def subjects_are(wanted, other):
    """The only subject is looked for by ==."""

    def answer(answer, subject, read):
        found = verdict_of_words(answer, subject, read)
        if found != "review":
            return found
        seen = read(tidy(answer).removeprefix(SURE).strip())
        return "review" if seen[1] == wanted(subject) else other

    return answer


def refusals_alone(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    if found == "empty" or found.endswith("refusal"):
        return found
    read(tidy(answer))
    raise NotImplementedError("Exercise 15.3")


def first_subject(answer, subject, read):
    return verdict_of_words(answer, subject, lambda text: (found := read(text)) and
                            (found[0], found[1][:1]))  # fmt: skip


def one_of_the_subjects(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    return "review" if found == "unclear" else found


def one_subject(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    seen = read(tidy(answer).removeprefix(SURE).strip())
    known = seen and seen[1] in (("museums",), ("phones",))
    return "review" if found == "off topic" and seen and len(seen[1]) == 1 and not known else found


def unclear_is_off_topic(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    return "off topic" if found == "unclear" else found


def any_subject(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    seen = read(tidy(answer).removeprefix(SURE).strip())
    return "review" if found == "off topic" and seen else found


def keeps_the_opening(answer, subject, read):
    found = verdict_of_words(answer, subject, read)
    return "off topic" if found in ("review", "unclear") and not read(tidy(answer)) else found


# ---------------------------------------------------------------- 15.4


def loss_of_rows(model, batch, delta, shift=1):
    embeds = model.get_input_embeddings()(batch["input_ids"]) + delta
    logits = model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
    labels = batch["labels"][:, shift:]
    own, said = labels != -100, logits[:, : labels.shape[1]].log_softmax(-1)
    picked = said.gather(2, labels.clamp_min(0)[..., None])[..., 0]
    return (-(picked * own).sum(1) / own.sum(1)).sum()


def push_with(sign=1, mask="prompt", ball="token", unit="token", size=2.5, fresh=True, more=0,
              shift=1, whole=torch.nan_to_num, end=lambda delta: delta, late=False):  # fmt: skip
    def answer(model, batch, eps, steps):
        table = model.get_input_embeddings().weight
        delta = torch.zeros(*batch["input_ids"].shape, table.shape[1], dtype=table.dtype)
        free = {"prompt": batch["prompt"], "all": torch.ones_like(batch["prompt"]),
                "before": (batch["labels"] == -100) & (batch["attention_mask"] > 0)}[mask]
        kept = None
        for _ in range(steps + more):
            at = delta.detach().clone().requires_grad_()
            (grad,) = torch.autograd.grad(loss_of_rows(model, batch, at, shift), at)
            kept = grad if kept is None else kept
            grad = (grad if fresh else kept) * (1 if late else free[..., None])
            long = {"token": lambda g: g.norm(dim=2, keepdim=True), "none": lambda g: 1,
                    "row": lambda g: g.norm(dim=(1, 2), keepdim=True),
                    "batch": lambda g: g.norm(), "sign": torch.abs}[unit](grad)  # fmt: skip
            delta = delta - sign * size * eps / steps * whole(grad / long) * free[..., None]
            if ball == "box":
                delta = delta.clamp(-eps, eps)
            elif ball == "end" and _ < steps - 1:
                pass
            elif ball == "sphere":
                delta = eps * torch.nan_to_num(delta / delta.norm(dim=2, keepdim=True))
            elif ball != "none":
                dims = 2 if ball in ("token", "end") else (1, 2)
                delta = delta / (delta.norm(dim=dims, keepdim=True) / eps).clamp_min(1)
        return end(delta)

    return answer


def push_by_loop(model, batch, eps, steps):
    """Row by row."""
    rows = []
    for i in range(len(batch["input_ids"])):
        one = {name: value[i : i + 1] for name, value in batch.items()}
        rows.append(push_with()(model, one, eps, steps))
    return torch.cat(rows)


def push_in_training(model, batch, eps, steps):
    model.train()
    return push_with()(model, batch, eps, steps)


def push_in_eval(model, batch, eps, steps):
    mode = model.training
    model.eval()
    delta = push_with()(model, batch, eps, steps)
    model.train(mode)
    return delta


def push_backward(model, batch, eps, steps):
    loss_of_rows(model, batch, 0).backward()
    return push_with()(model, batch, eps, steps)


def push_pops(model, batch, eps, steps):
    delta = push_with()(model, batch, eps, steps)
    batch.pop("labels")
    return delta


# ---------------------------------------------------------------- 15.5


def failure_by_scipy(words, suffix, replaced, k, copies):
    broken = stats.hypergeom.sf(k - 1, words, suffix, replaced)
    return float(stats.binom.cdf(copies // 2, copies, broken))


def failure_one_by_one(words, suffix, replaced, k, copies):
    """The number of hits place by place, then the votes copy by copy."""
    hits = {0: 1.0}
    for i in range(replaced):
        after = {}
        for j, p in hits.items():
            q = (suffix - j) / (words - i)
            after[j + 1] = after.get(j + 1, 0) + p * q
            after[j] = after.get(j, 0) + p * (1 - q)
        hits = after
    broken = sum(p for j, p in hits.items() if j >= k)
    votes = [1.0]
    for _ in range(copies):
        votes = [(1 - broken) * a + broken * b
                 for a, b in zip([*votes, 0.0], [0.0, *votes], strict=True)]
    return sum(votes[: copies // 2 + 1])


def failure_with(broken=lambda w, s, r, k: stats.hypergeom.sf(k - 1, w, s, r),
                 vote=lambda n, p: stats.binom.cdf(n // 2, n, p)):  # fmt: skip
    def answer(words, suffix, replaced, k, copies):
        return float(vote(copies, broken(words, suffix, replaced, k)))

    return answer


def with_replacement(words, suffix, replaced, k):
    """How likely k different words of the suffix are hit by draws with replacement."""
    chance = {0: 1.0}
    for _ in range(replaced):
        after = {}
        for j, p in chance.items():
            q = (suffix - j) / words
            after[j + 1] = after.get(j + 1, 0) + p * q
            after[j] = after.get(j, 0) + p * (1 - q)
        chance = after
    return sum(p for j, p in chance.items() if j >= k)


RIGHT = [
    ("15.1", by_embeddings),
    ("15.1", by_loss_of_the_model),
    ("15.1", in_float32),
    ("15.2", step_at_once),
    ("15.2", step_one_by_one),
    ("15.3", verdict_of_words),
    ("15.3", verdict_of_library),
    ("15.4", push_with()),
    ("15.4", push_by_loop),
    ("15.5", failure_by_scipy),
    ("15.5", failure_one_by_one),
]

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("15.1", candidates_with(dict(sign=-1)), "minus the loss"),
    ("15.1", turned, "raise the loss come first"),
    ("15.1", candidates_with(dict(shift=0)), "speak of the next one"),
    ("15.1", largest, "the smallest are wanted"),
    ("15.1", candidates_with(dict(reduction="sum")), "not their mean"),
    ("15.1", candidates_with(of_words=dict(free=True)), "banned words are candidates"),
    ("15.1", candidates_with(of_words=dict(keep=True)), "stands there already is a candidate"),
    ("15.1", candidates_with(of_words=dict(keep=True, free=True)), "and the word that stands"),
    ("15.1", out_at_all_places, "ruled out at all places"),
    ("15.1", all_rows, "for every token"),
    ("15.1", last_three, "last three words"),
    ("15.1", values_of_topk, "the values of topk"),
    ("15.1", places_for_words(rows=True), r"taken for that of the word .* ids\[places\]"),
    ("15.1", places_for_words(rows=False), r"and not the words that stand there: ids\[places\]"),
    ("15.1", first_part_alone, "part 2 is missing"),
    ("15.1", candidates_with(after=lambda s, t: (s, t[:, 1:])), "shape"),
    ("15.1", candidates_with(after=lambda s, t: t), "two things|return"),
    ("15.1", candidates_with(after=lambda s, t: None), "None"),
    ("15.1", banned_in_place, "input `banned` in place"),
    ("15.1", with_backward, r"changes the \.grad"),
    ("15.1", in_training, "another mode"),
    ("15.1", in_evaluation, "another mode"),
    ("15.1", with_graph, "graph"),
    ("15.2", step_with(keep=False), "worse than what stands there"),
    ("15.2", step_with(pick=torch.argmax), "not the one with the smallest|nothing was changed"),
    ("15.2", step_with(pick=lambda losses: 0), "not the one with the smallest|nothing was changed"),
    ("15.2", step_with(make=walking), "fresh copy"),
    ("15.2", step_with(make=first_words), "always the first of the row"),
    ("15.2", step_with(make=one_place), "not drawn equally often"),
    ("15.2", step_with(make=one_place_a_call), "one draw serves several"),
    ("15.2", step_with(make=one_column), "one draw serves several"),
    ("15.2", step_with(make=columns_in_turn), "in turn"),
    ("15.2", step_with(make=places_in_turn), "in turn"),
    ("15.2", step_with(make=shuffled_columns), "without replacement"),
    ("15.2", step_with(make=without_replacement), "without replacement"),
    ("15.2", step_with(make=one_number_for_both), "two draws|one draw serves several"),
    ("15.2", step_with(make=from_the_left), r"places\[k\]"),
    ("15.2", step_with(make=any_word), "not in the table|exactly 1"),
    ("15.2", step_with(make=never_the_last_place), "last one is never drawn"),
    ("15.2", step_with(make=never_the_last_column), "last one is never drawn"),
    ("15.2", step_with(make=biased), "not drawn equally often"),
    ("15.2", step_with(make=six_places), "number of places is built in"),
    ("15.2", step_with(make=columns_64), "number of columns of the table is built in"),
    ("15.2", step_with(make=own_dice), "come from `generator`"),
    ("15.2", step_with(make=own_seed), "of its own|not drawn equally"),
    ("15.2", asks_again, "it is handed in"),
    ("15.2", asks_the_winner, "the loss of the best candidate is known"),
    ("15.2", draws_alone, "part 2 is missing"),
    ("15.2", changes_ids, "input `ids` in place"),
    ("15.2", lambda f, ids, *rest: (ids, rest[0]), "read 0 rows"),
    ("15.2", lambda *i: step_at_once(*i)[0], "two things"),
    ("15.2", lambda *i: (step_at_once(*i)[0].float(), i[2]), "whole numbers"),
    ("15.2", lambda f, ids, loss, *rest: (step_at_once(f, ids, loss, *rest)[0], loss),
     "loss after the step"),
    ("15.3", by_the_beginning, "not at its beginning|says something else|does not tell"),
    ("15.3", without_halves, "says something else as well"),
    ("15.3", halves_are_reviews, "look for the refusal first"),
    ("15.3", any_subject, "of what it is a review"),
    ("15.3", refusal_off_by(lambda text: text.removeprefix(REFUSAL)), "wherever it stands"),
    ("15.3", refusal_off_by(lambda text: text.removesuffix(REFUSAL)), "wherever it stands"),
    ("15.3", refusal_off_by(lambda text: text.replace(REFUSAL, "", 1)), "as often as it stands"),
    ("15.3", refusal_off_by(lambda text: text.replace(REFUSAL, ""), ".,!?;:"), "the space and all"),
    ("15.3", refusal_off_by(lambda text: text.replace(REFUSAL, ""), " ."), "the space and all of"),
    ("15.3", no_letter_left, "another sign does"),
    ("15.3", refusal_where(lambda t: "sorry" in t.split() or " do not write " in t), "by itself"),
    ("15.3", refusal_where(lambda t: "sorry" in t.split() or "i do not write" in t), "by itself"),
    ("15.3", refusal_where(lambda t: "sorry" in t.split()
                           or {"do", "not", "write"} <= {*t.split()}),
     "three words in this order"),
    ("15.3", refusal_where(lambda t: t.removeprefix("sure : ").startswith("sorry")
                           or "do not write" in t), "in the whole answer"),
    ("15.3", among(lambda names: names[:2]), "at whatever place"),
    ("15.3", among(lambda names: (names[0], names[-1])), "at whatever place"),
    ("15.3", by_subjects(label_as_truth), "counts as False"),
    ("15.3", by_subjects(one_is_enough), "one subject alone is not enough"),
    ("15.3", by_subjects(others_unclear), "not unclear"),
    ("15.3", openings_off, "taken off once"),
    ("15.3", refusal_off_by(lambda text: text, ".,!?;:"), "wherever it stands"),
    ("15.3", first_subject, "need not be the first"),
    ("15.3", one_of_the_subjects, "the only one of the subjects"),
    ("15.3", unclear_is_off_topic, "is one of the subjects here"),
    ("15.3", one_subject, "has to be `subject`"),
    ("15.3", keeps_the_opening, "opening"),
    ("15.3", sorry_in_a_word, "a word of its own"),
    ("15.3", subjects_are(lambda s: [s], "unclear"), "a tuple of names"),
    ("15.3", subjects_are(lambda s: [s], "off topic"), "a tuple of names"),
    ("15.3", subjects_are(lambda s: s, "unclear"), "a tuple of names"),
    ("15.3", refusals_alone, "part 2 is missing"),
    ("15.3", lambda a, s, r: verdict_of_words(a, "museums", r), "use `subject`"),
    ("15.3", lambda a, s, r: judge(a).kind, "of what it is a review|not as expected"),
    ("15.3", lambda a, s, r: None, "None"),
    ("15.3", lambda a, s, r: verdict_of_words(a, s, r) == "review", "not as expected"),
    ("15.3", lambda a, s, r: [verdict_of_words(a, s, r)], "not as expected|shape"),
    ("15.4", push_with(sign=-1), "raises the loss"),
    ("15.4", push_with(shift=0), "speak of the next one"),
    ("15.4", push_with(mask="all"), "marks and answer too"),
    ("15.4", push_with(mask="before"), "on the marks too"),
    ("15.4", push_with(ball="none"), "leaves its ball"),
    ("15.4", push_with(ball="box"), "the length of a token's δ"),
    ("15.4", push_with(ball="end"), "at the end alone"),
    ("15.4", push_with(ball="row"), "one budget for the whole prompt"),
    ("15.4", push_with(ball="row", unit="row"), "one budget and one step"),
    ("15.4", push_with(unit="row"), "a step of its own"),
    ("15.4", push_with(unit="none"), "not normalised"),
    ("15.4", push_with(unit="batch"), "all prompts together"),
    ("15.4", push_with(unit="row", late=True), "a whole prompt, marks and answer too"),
    ("15.4", push_with(unit="batch", late=True), "whole batch, marks and answers too"),
    ("15.4", push_with(unit="sign"), "gradient's sign"),
    ("15.4", push_with(ball="sphere"), "always made eps long"),
    ("15.4", push_with(whole=lambda x: x), "1e-12"),
    ("15.4", push_with(fresh=False), "once, at the start"),
    ("15.4", push_with(more=1), "too many"),
    ("15.4", push_with(more=-1), "too few"),
    ("15.4", push_with(size=1), r"2\.5 times"),
    ("15.4", push_in_training, "mode"),
    ("15.4", push_in_eval, "mode"),
    ("15.4", push_backward, r"changes the \.grad"),
    ("15.4", push_pops, "takes 'labels' out"),
    ("15.4", push_with(end=lambda delta: delta[:, 1:]), "shape"),
    ("15.4", push_with(end=lambda delta: delta.clone().requires_grad_()), "graph"),
    ("15.4", push_with(end=lambda delta: delta.tolist()), "should be a tensor"),
    ("15.4", push_with(end=lambda delta: None), "None"),
    ("15.5", failure_with(vote=lambda n, p: stats.binom.sf(n // 2, n, p)), "1 minus it"),
    ("15.5", failure_with(broken=lambda w, s, r, k: stats.hypergeom.sf(k, w, s, r)), "more than k"),
    ("15.5", failure_with(vote=lambda n, p: 1 - p), "the vote is missing"),
    ("15.5", failure_with(broken=with_replacement), "with replacement"),
    ("15.5", failure_with(vote=lambda n, p: stats.binom.cdf(n // 2 - 1, n, p)),
     "the sum ends too early"),
    ("15.5", failure_with(vote=lambda n, p: stats.binom.cdf(n // 2 + 1, n, p)), "ends too late"),
    ("15.5", failure_with(vote=lambda n, p: stats.binom.cdf(round(n / 2), n, p)), "round"),
    ("15.5", failure_with(broken=lambda w, s, r, k: sum(
        stats.hypergeom.pmf(j, w, s, r) for j in range(k, min(s, r)))), "j ends too early"),
    ("15.5", failure_with(broken=lambda w, s, r, k: stats.binom.sf(k - 1, r, s / w)),
     "counts twice"),
    ("15.5", failure_with(broken=lambda w, s, r, k: stats.binom.sf(k - 1, s, r / w)),
     "changes by itself"),
    ("15.5", failure_with(vote=lambda n, p: stats.binom.pmf(n // 2, n, p)), "not as expected"),
    ("15.5", lambda *i: None, "None"),
    ("15.5", lambda *i: torch.tensor([failure_by_scipy(*i)]), "shape|not as expected"),
    ("15.5", lambda *i: str(failure_by_scipy(*i)), "not as expected|should be|holds"),
]  # fmt: skip
