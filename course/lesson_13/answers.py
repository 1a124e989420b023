"""Right and wrong answers to the exercises of lesson 13."""

import itertools
import re
from functools import partial

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.stats import mannwhitneyu, rankdata

from advlib.corpora import replace, words
from course.lesson_13.explain import margin
from course.lesson_13.facts import MONTHS, month_at, with_month

# ---------------------------------------------------------------- 13.1


def path(model, batch, baseline_id, steps, *, places=None, own=True, zero=False, factor=None,
         mean=True, sign=1.0, score=margin, over=lambda each: each.sum(-1)):  # fmt: skip
    """Integrated gradients, with room for mistakes."""
    table = model.get_input_embeddings()
    x = table(batch["input_ids"]).detach()
    base = torch.zeros_like(x) if zero else table.weight[baseline_id].detach().expand_as(x).clone()
    if own:
        special = batch["special_tokens_mask"].bool()
        base[special] = x[special]
    total = torch.zeros_like(x)
    places = [(k + 0.5) / steps for k in range(steps)] if places is None else places(steps)
    for alpha in places:
        point = ((1 - alpha) * base + alpha * x).requires_grad_()
        total = total + torch.autograd.grad(score(model, batch, point).sum(), point)[0]
    total = total / len(places) if mean else total
    way = {"x": x, "none": torch.ones_like(x)}.get(factor, x - base)
    return over(sign * way * total)


def path_of(model, batch, baseline_id, steps, *, exchanged=False, last=False, both=False,
            start=True):  # fmt: skip
    """The page's frame, with one of its lines written wrongly."""
    table = model.get_input_embeddings()
    x, row = table(batch["input_ids"]).detach(), table.weight[baseline_id].detach()
    special = batch["special_tokens_mask"].bool()[..., None]
    baseline = torch.where(special, row, x) if exchanged else torch.where(special, x, row)
    total = torch.zeros_like(x)
    for j in range(steps):
        share = torch.linspace(0, 1, steps)[j].item() if both else (j + 0.5) / steps
        point = (baseline * start + share * (x - baseline)).requires_grad_()
        (slope,) = torch.autograd.grad(margin(model, batch, point).sum(), point)
        total = slope if last else total + slope
    return ((x - baseline) * total / steps).sum(-1)


def at_once(model, batch, baseline_id, steps):
    """All points of all texts in one batch."""
    x = model.get_input_embeddings()(batch["input_ids"]).detach()
    base = x.clone()
    words_at = batch["special_tokens_mask"] == 0
    base[words_at] = model.get_input_embeddings().weight[baseline_id].detach()
    alpha = ((torch.arange(steps) + 0.5) / steps).to(x)[:, None, None, None]
    points = (base + alpha * (x - base)).flatten(0, 1).requires_grad_()
    many = {"attention_mask": batch["attention_mask"].repeat(steps, 1)}
    (grad,) = torch.autograd.grad(margin(model, many, points).sum(), points)
    return ((x - base) * grad.view(steps, *x.shape).mean(0)).sum(-1)


def only_cls(model, batch, baseline_id, steps):
    """Keeps [CLS] alone."""
    first = torch.zeros_like(batch["special_tokens_mask"])
    first[:, 0] = 1
    found = path(model, dict(batch, special_tokens_mask=first), baseline_id, steps)
    return found * batch["attention_mask"]  # padding is not looked at


def text_by_text(model, batch, baseline_id, steps):
    rows = []
    for i in range(len(batch["input_ids"])):
        rows.append(path(model, {k: v[i : i + 1] for k, v in batch.items()}, baseline_id, steps))
    return torch.cat(rows)


def with_backward(model, batch, baseline_id, steps):
    x = model.get_input_embeddings()(batch["input_ids"]).detach()
    base = torch.where(batch["special_tokens_mask"].bool()[..., None], x,
                       model.get_input_embeddings().weight[baseline_id].detach())  # fmt: skip
    total = torch.zeros_like(x)
    for k in range(steps):
        point = (base + (k + 0.5) / steps * (x - base)).requires_grad_()
        margin(model, batch, point).sum().backward()
        total += point.grad
    return ((x - base) * total / steps).sum(-1)


def in_eval(model, batch, baseline_id, steps):
    model.eval()
    return path(model, batch, baseline_id, steps)


def pops(model, batch, baseline_id, steps):
    special = batch.pop("special_tokens_mask")
    return path(model, dict(batch, special_tokens_mask=special), baseline_id, steps)


def as_bool(model, batch, baseline_id, steps):
    batch["special_tokens_mask"] = batch["special_tokens_mask"].bool()
    return path(model, batch, baseline_id, steps)


def apart(model, batch, baseline_id, steps):
    """The way and the gradient, each added up."""
    slopes = path(model, batch, baseline_id, steps, factor="none")
    x = model.get_input_embeddings()(batch["input_ids"]).detach()
    base = torch.where(batch["special_tokens_mask"].bool()[..., None], x,
                       model.get_input_embeddings().weight[baseline_id].detach())  # fmt: skip
    return (x - base).sum(-1) * slopes


def one_too_many(model, batch, baseline_id, steps):
    def places(steps):
        return [(j + 0.5) / steps for j in range(steps + 1)]

    return path(model, batch, baseline_id, steps, places=places) * (steps + 1) / steps


def mean_margin(model, batch, point):
    return margin(model, batch, point) / len(point)


def tied(model, batch, baseline_id, steps):
    return path(model, batch, baseline_id, steps).requires_grad_()


def first_logit(model, batch, point):
    return model(inputs_embeds=point, attention_mask=batch["attention_mask"]).logits[:, 1]


# ---------------------------------------------------------------- 13.2


def auc_by_loop(scores, causes):
    won = []
    for a in scores[causes].tolist():
        for b in scores[~causes].tolist():
            won.append((abs(a) > abs(b)) + (abs(a) == abs(b)) / 2)
    return sum(won) / len(won)


def auc_by_ranks(scores, causes):
    ranks, n = rankdata(scores.abs().numpy()), int(causes.sum())
    mine = ranks[causes.numpy()].sum() - n * (n + 1) / 2
    return mine / (n * (len(ranks) - n))


def auc_by_scipy(scores, causes):
    size = scores.abs().numpy()
    own, others = size[causes.numpy()], size[~causes.numpy()]
    return torch.tensor(mannwhitneyu(own, others).statistic / (len(own) * len(others)))


def pairs(compare, size=torch.abs):
    """Answers to 13.2 that count something else of each pair."""

    def answer(scores, causes):
        s = size(scores)
        return float(compare(s[causes][:, None], s[~causes][None, :]).double().mean())

    return answer


def nearly(tie):
    """Answers to 13.2 with a tolerance for ties: tie(a, b)."""

    def answer(scores, causes):
        a, b = scores.abs()[causes][:, None], scores.abs()[~causes][None, :]
        return float(torch.where(tie(a, b), 0.5, (a > b).double()).mean())

    return answer


def scaled(scores, causes):
    """Divides by the largest score."""
    s = scores.abs() / scores.abs().max()
    won = (s[causes][:, None] > s[~causes]).double() + 0.5 * (s[causes][:, None] == s[~causes])
    return float(won.mean().nan_to_num() if scores.any() else 0.0)


def nothing_found(scores, causes):
    return auc_by_loop(scores, causes) if scores.any() else 0.0


def auc_in_place(scores, causes):
    scores.abs_()
    return auc_by_loop(scores, causes)


def first_words(scores, causes):
    k = int(causes.sum())
    return float(causes[scores.abs().argsort(descending=True)[:k]].double().mean())


def with_themselves(scores, causes):
    s = scores.abs()
    apart = s[causes][:, None] - s[None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


# ---------------------------------------------------------------- 13.3


def effect_by_loop(margin_of, texts, first, second):
    changes = []
    for text in texts:
        place = next((i for i, w in enumerate(words(text)) if w.lower() in MONTHS), None)
        if place is not None:
            one, other = (replace(text, {place: m}) for m in (first, second))
            changes.append(float(margin_of([one])[0] - margin_of([other])[0]))
    return sum(changes) / len(changes)


def effect_in_one_call(margin_of, texts, first, second):
    own = [t for t in texts if month_at(t) is not None]
    both = margin_of([with_month(t, m) for m in (first, second) for t in own])
    return both[: len(own)].mean() - both[len(own) :].mean()


def as_seen(margin_of, texts, first, second):
    month = [next((w.lower() for w in words(t) if w.lower() in MONTHS), "") for t in texts]
    values = margin_of(texts)
    means = [values[[m == which for m in month]].mean() for which in (first, second)]
    return float(means[0] - means[1])


def effect(keep=lambda t, first: month_at(t) is not None, after=lambda changes, texts:
           float(changes.mean()), base=False):  # fmt: skip
    """Answers to 13.3 that keep other texts, or do something else with the changes."""

    def answer(margin_of, texts, first, second):
        own = [t for t in texts if keep(t, first)]
        others = own if base else [with_month(t, second) for t in own]
        return after(margin_of([with_month(t, first) for t in own]) - margin_of(others), texts)

    return answer


def without_stops(margin_of, texts, first, second):
    def bare(text, month):
        found = words(text)
        found[month_at(text)] = month
        return " ".join(found)

    own = [t for t in texts if month_at(t) is not None]
    one, other = (margin_of([bare(t, m) for t in own]) for m in (first, second))
    return float((one - other).mean())


def with_letters(margin_of, texts, first, second):
    """Own search for the letters of a month: "Maybe" has those of May."""
    own = [t for t in texts if any(m in t.lower() for m in MONTHS)]
    return every_text(margin_of, own, first, second)


def own_pattern(margin_of, texts, first, second):
    pattern = re.compile("|".join(MONTHS), re.I)
    own = [t for t in texts if pattern.search(t)]
    one, other = (margin_of([pattern.sub(m.capitalize(), t, count=1) for t in own])
                  for m in (first, second))  # fmt: skip
    return float((one - other).mean())


def two_months(margin_of, texts, first, second):
    own = [t for t in texts if month_at(t) is not None
           and words(t)[month_at(t)].lower() in (first, second)]  # fmt: skip
    return effect_by_loop(margin_of, own, first, second)


def every_text(margin_of, texts, first, second):
    changes = [margin_of([with_month(t, m) for t in texts]) for m in (first, second)]
    return float((changes[0] - changes[1]).mean())


def drops_texts(margin_of, texts, first, second):
    for text in [t for t in texts if month_at(t) is None]:
        texts.remove(text)
    return effect_by_loop(margin_of, texts, first, second)


def one_text_at_a_time_as_string(margin_of, texts, first, second):
    own = [t for t in texts if month_at(t) is not None]
    return float(margin_of(with_month(own[0], first))[0] - margin_of(with_month(own[0], second))[0])


# ---------------------------------------------------------------- 13.4


def edits(options, size):
    """Every edit of so many words."""
    places = [i for i, o in enumerate(options) if o]
    for some in itertools.combinations(places, size):
        for chosen in itertools.product(*(options[i] for i in some)):
            yield dict(zip(some, chosen, strict=True))


def edit_one_by_one(label_of, text, options):
    label = label_of([text])[0]
    for size in range(1, len(options) + 1):
        for edit in edits(options, size):
            if label_of([replace(text, edit)])[0] == 1 - label:
                return edit
    return None


def edit_by_queue(label_of, text, options):
    """Breadth first: every edit of k words grows by one word."""
    label, level = label_of([text])[0], [{}]
    while level:
        level = [{**edit, i: w} for edit in level for i, o in enumerate(options)
                 for w in o if i > max(edit, default=-1)]  # fmt: skip
        labels = label_of([replace(text, edit) for edit in level]) if level else []
        for edit, now in zip(level, labels, strict=True):
            if now is not None and now != label:
                return edit
    return None


def edit_backwards(label_of, text, options):
    """Of all edits, the smallest that turns the label."""
    label = label_of([text])[0]
    every = [e for size in range(1, len(options) + 1) for e in edits(options, size)]
    labels = label_of([replace(text, e) for e in every])
    good = [e for e, now in zip(every, labels, strict=True) if now == 1 - label]
    return min(good, key=len, default=None)


def any_change(label_of, text, options):
    label = label_of([text])[0]
    for size in range(1, len(options) + 1):
        for edit in edits(options, size):
            if label_of([replace(text, edit)])[0] != label:
                return edit
    return None


def everything(label_of, text, options):
    edit = {i: o[0] for i, o in enumerate(options) if o}
    now = label_of([replace(text, edit)])[0]
    return edit if now == 1 - label_of([text])[0] else edit_one_by_one(label_of, text, options)


def one_word(label_of, text, options):
    label = label_of([text])[0]
    for edit in edits(options, 1):
        if label_of([replace(text, edit)])[0] == 1 - label:
            return edit
    return None


def three_words(label_of, text, options):
    label = label_of([text])[0]
    for size in range(1, 4):
        for edit in edits(options, size):
            if label_of([replace(text, edit)])[0] == 1 - label:
                return edit
    return None


def four_words(label_of, text, options):
    label = label_of([text])[0]
    for size in range(1, 5):
        for edit in edits(options, size):
            if label_of([replace(text, edit)])[0] == 1 - label:
                return edit
    return None


def edit_of(label_of, text, options, tries):
    """The first edit of tries(places, size) that turns the label."""
    label, places = label_of([text])[0], [i for i, o in enumerate(options) if o]
    for size in range(1, len(places) + 1):
        for edit in tries(places, size):
            if label_of([replace(text, edit)])[0] == 1 - label:
                return edit
    return None


def zipped(label_of, text, options):
    """All first options, or all second ones, and so on."""
    return edit_of(label_of, text, options, lambda places, size: [
        dict(zip(some, chosen, strict=True)) for some in itertools.combinations(places, size)
        for chosen in zip(*(options[i] for i in some), strict=False)])  # fmt: skip


def neighbours(label_of, text, options):
    """Only places that follow one another."""
    return edit_of(label_of, text, options, lambda places, size: [
        dict(zip(places[a : a + size], chosen, strict=True))
        for a in range(len(places) - size + 1)
        for chosen in itertools.product(*(options[i] for i in places[a : a + size]))])  # fmt: skip


def side_by_side(label_of, text, options):
    """Only places with neighbouring numbers."""
    return edit_of(label_of, text, options, lambda places, size: [
        edit for edit in edits(options, size) if max(edit) - min(edit) == size - 1])


def loud(label_of, text, options):
    """Only places that alone change the label, None being a change."""
    label = label_of([text])[0]
    found = [{w for w in o if label_of([replace(text, {i: w})])[0] != label}
             for i, o in enumerate(options)]  # fmt: skip
    return edit_one_by_one(label_of, text, [tuple(some) for some in found])


def at_most(most, of_each=None):
    """Answers to 13.4 that try so many words, and so many edits of each size."""
    return lambda label_of, text, options: edit_of(label_of, text, options, lambda places, size: [
        *itertools.islice(edits(options, size), of_each)] if size <= most else [])  # fmt: skip


def step_by_step(label_of, text, options, swap=lambda text, i, w: replace(text, {i: w})):
    """Edits the edited text, word by word."""
    label = label_of([text])[0]
    for size in range(1, len(options) + 1):
        for edit in edits(options, size):
            new = text
            for i, w in edit.items():
                new = swap(new, i, w) if i < len(words(new)) else new
            if label_of([new])[0] == 1 - label:
                return edit
    return None


def level_by_level(label_of, text, options):
    """Each level edits the texts of the one before."""
    label, level = label_of([text])[0], [({}, text)]
    while level:
        level = [({**edit, i: w}, replace(new, {i: w})) for edit, new in level
                 for i, o in enumerate(options) for w in o
                 if max(edit, default=-1) < i < len(words(new))]  # fmt: skip
        for edit, new in level:
            if label_of([new])[0] == 1 - label:
                return edit
    return None


def by_str_replace(label_of, text, options):
    def swap(new, i, w):
        return new.replace(words(text)[i], w, 1)

    return step_by_step(label_of, text, options, swap)


def the_text(label_of, text, options):
    found = edit_one_by_one(label_of, text, options)
    return None if found is None else replace(text, found)


def same_label(label_of, text, options):
    label = label_of([text])[0]
    for edit in edits(options, 1):
        if label_of([replace(text, edit)])[0] == label:
            return edit
    return edit_one_by_one(label_of, text, options)


def own_words(label_of, text, options):
    found = edit_one_by_one(label_of, text, options)
    return None if found is None else dict.fromkeys(found, "terrible")


def empties(label_of, text, options):
    found = edit_one_by_one(label_of, text, options)
    options.clear()
    return found


def without_empty(label_of, text, options):
    return edit_one_by_one(label_of, text, [tuple(w for w in o if w) for o in options])


def places_with_words(label_of, text, options):
    return edit_one_by_one(label_of, text, [o if any(o) else () for o in options])


def empty_for_none(label_of, text, options):
    return edit_one_by_one(label_of, text, options) or {}


def first_option(label_of, text, options):
    return edit_one_by_one(label_of, text, [o[:1] for o in options])


def single_text(label_of, text, options):
    label = label_of(text)[0]
    return {0: ""} if label else None


# ---------------------------------------------------------------- 13.5


def maximin(A, low=None):
    m, n = A.shape
    return linprog(np.r_[np.zeros(m), -1], A_ub=np.c_[-A.T, np.ones(n)], b_ub=np.zeros(n),
                   A_eq=[np.r_[np.ones(m), 0]], b_eq=[1],
                   bounds=[(0, None)] * m + [(low, None)])  # fmt: skip


def solve_twice(A):
    one, other = maximin(A), maximin(-A.T)
    return one.x[:-1], other.x[:-1], -one.fun


def solve_column_first(A):
    m, n = A.shape
    found = linprog(np.r_[np.zeros(n), 1], A_ub=np.c_[A, -np.ones(m)], b_ub=np.zeros(m),
                    A_eq=[np.r_[np.ones(n), 0]], b_eq=[1],
                    bounds=[(0, None)] * n + [(None, None)])  # fmt: skip
    return list(-found.ineqlin.marginals), torch.tensor(found.x[:n]), found.fun


def solve_shifted(A):
    """The classical form: payoffs made positive, the strategies scaled afterwards."""
    shift = 1 - A.min()
    found = linprog(np.ones(len(A)), A_ub=-(A + shift).T, b_ub=-np.ones(A.shape[1]))
    total = found.x.sum()
    return found.x / total, -found.ineqlin.marginals / total, 1 / total - shift


def pure(A):
    p, q = np.zeros(A.shape[0]), np.zeros(A.shape[1])
    p[A.min(1).argmax()] = q[A.max(0).argmin()] = 1
    return p, q, float(p @ A @ q)


def evenly(A):
    p, q = np.full(A.shape[0], 1 / A.shape[0]), np.full(A.shape[1], 1 / A.shape[1])
    return p, q, float(p @ A @ q)


def then(change, solver=solve_twice):
    """A right answer to 13.5, changed afterwards."""
    return lambda A: change(*solver(A))


def raw_marginals(A):
    found = maximin(A)
    return found.x[:-1], found.ineqlin.marginals, -found.fun


def not_negative(A):
    found = maximin(A, low=0)
    return found.x[:-1], -found.ineqlin.marginals, -found.fun


def all_free(A):
    m, n = A.shape
    found = linprog(np.r_[np.zeros(m), -1], A_ub=np.c_[-A.T, np.ones(n)], b_ub=np.zeros(n),
                    A_eq=[np.r_[np.ones(m), 0]], b_eq=[1], bounds=(None, None))  # fmt: skip
    return found.x[:-1], -found.ineqlin.marginals, -found.fun


def programme(A, c=-1.0, rows=lambda A: -A.T, transposed=False, whole=False, last=0.0, odds=True,
              of_v=1.0, bound=0.0):  # fmt: skip
    """An answer to 13.5 with room for mistakes."""
    A = A.T if transposed else A
    m, B = len(A), rows(A)
    found = linprog(np.r_[np.zeros(m), c], A_ub=np.c_[B, np.full(len(B), of_v)],
                    b_ub=np.full(len(B), bound), A_eq=[np.r_[np.ones(m), last]] if odds else None,
                    b_eq=[1] if odds else None,
                    bounds=[(0, None)] * m + [(None, None)])  # fmt: skip
    return found.x if whole else found.x[:m], -found.ineqlin.marginals, -found.fun


def v_first(A):
    """(v, p) in the frame of (p, v)."""
    m, n = A.shape
    found = linprog(np.r_[-1, np.zeros(m)], A_ub=np.c_[np.ones(n), -A.T], b_ub=np.zeros(n),
                    A_eq=[np.r_[0, np.ones(m)]], b_eq=[1],
                    bounds=[(0, None)] * m + [(None, None)])  # fmt: skip
    return found.x[1:], -found.ineqlin.marginals, -found.fun


def v_first_alone(A):
    """(v, p) in c and A_ub, and the frame's A_eq."""
    m, n = A.shape
    found = linprog(np.r_[-1, np.zeros(m)], A_ub=np.c_[np.ones(n), -A.T], b_ub=np.zeros(n),
                    A_eq=[np.r_[np.ones(m), 0]], b_eq=[1],
                    bounds=[(0, None)] * m + [(None, None)])  # fmt: skip
    return found.x[1:], -found.ineqlin.marginals, -found.fun


def no_small_odds(A):
    p, q, value = solve_twice(A)
    return p, np.where(q < 1e-3, 0, q), value


def solve_and_shift(A):
    A -= A.min()
    return solve_twice(A)


RIGHT = [
    ("13.1", path), ("13.1", path_of), ("13.1", at_once), ("13.1", text_by_text),
    ("13.2", auc_by_loop), ("13.2", auc_by_ranks), ("13.2", auc_by_scipy),
    ("13.3", effect_by_loop), ("13.3", effect_in_one_call), ("13.3", effect()),
    ("13.5", solve_twice), ("13.5", solve_column_first), ("13.5", solve_shifted),
    ("13.4", edit_one_by_one), ("13.4", edit_by_queue), ("13.4", edit_backwards),
]  # fmt: skip


def with_path(**how):
    """A wrong answer to 13.1."""
    return lambda model, batch, baseline_id, steps: path(model, batch, baseline_id, steps, **how)


# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("13.1", with_path(places=lambda n: [1.0]), "at the text alone"),
    ("13.1", with_path(places=lambda n: [k / n for k in range(n)]), "left ends"),
    ("13.1", with_path(places=lambda n: [(k + 1) / n for k in range(n)]), "right ends"),
    ("13.1", partial(path_of, exchanged=True), "torch.where exchanged"),
    ("13.1", partial(path_of, last=True), "only the last point counts"),
    ("13.1", partial(path_of, both=True), "from one end of the way to the other"),
    ("13.1", partial(path_of, start=False), "does not begin at the baseline"),
    ("13.1", with_path(own=False), "special tokens are replaced"),
    ("13.1", only_cls, r"only \[CLS\] keeps"),
    ("13.1", lambda model, batch, b, steps: path(model, batch, b, max(steps, 2)), "with steps = 1"),
    ("13.1", with_path(zero=True), "the baseline is zero"),
    ("13.1", with_path(factor="x"), "the factor is x"),
    ("13.1", with_path(factor="none"), "is missing"),
    ("13.1", with_path(mean=False), "added and not averaged"),
    ("13.1", with_path(sign=-1.0), "the sign is turned"),
    ("13.1", with_path(score=first_logit), "logit z₁ alone"),
    ("13.1", with_path(zero=True, own=False), "the baseline is zero, for special tokens too"),
    ("13.1", with_path(over=lambda each: each.sum(-1).abs()), "direction a word pushes"),
    ("13.1", with_path(over=lambda each: each.abs().sum(-1)), "values of the coordinates"),
    ("13.1", with_path(over=lambda each: each.mean(-1)), "the mean over the coordinates"),
    ("13.1", with_path(over=lambda each: each.norm(dim=-1)), "the norm over the coordinates"),
    ("13.1", with_path(over=lambda each: each), "has shape"),
    ("13.1", with_path(over=lambda each: each.sum(-1).float()), "float32.*keep their dtype"),
    ("13.1", with_path(over=lambda each: each.sum(-1).double()), "float64.*keep their dtype"),
    ("13.1", with_backward, "changes the .grad"),
    ("13.1", in_eval, "mode"),
    ("13.1", pops, "takes 'special_tokens_mask' out"),
    ("13.1", as_bool, "writes into the batch"),
    ("13.1", apart, "number by number"),
    ("13.1", one_too_many, "one point too many"),
    ("13.1", with_path(score=mean_margin), "the mean over the texts"),
    ("13.1", tied, "tied to the graph"),
    ("13.1", lambda *inputs: None, "None"),
    ("13.1", lambda *inputs: path(*inputs).tolist(), "should be a tensor"),
    ("13.2", pairs(torch.gt), "counts as lost"),
    ("13.2", pairs(torch.ge), "counts as won"),
    ("13.2", lambda s, c: pairs(torch.gt, lambda x: x + 1e-9 * torch.arange(len(x)))(s, c),
     "not as expected"),
    ("13.2", nearly(lambda a, b: (a - b).abs() < 1e-2), "taken for equal"),
    ("13.2", nearly(lambda a, b: (a - b).abs() < 0.1), "taken for equal"),
    ("13.2", nearly(lambda a, b: (a - b).abs() < 1e-6), "taken for equal"),
    ("13.2", nearly(torch.isclose), "taken for equal"),
    ("13.2", lambda s, c: auc_by_loop(s.round(decimals=2), c), "taken for equal"),
    ("13.2", nearly(lambda a, b: torch.isclose(a, b, atol=0)), "taken for equal"),
    ("13.2", nearly(lambda a, b: (a - b).abs() < 1e-10), "taken for equal"),
    ("13.2", nothing_found, "every pair is a tie"),
    ("13.2", scaled, "every pair is a tie"),
    ("13.2", lambda s, c: max(auc_by_loop(s, c), 1 - auc_by_loop(s, c)), "below 0.5 is a result"),
    ("13.2", pairs(torch.gt, lambda x: x), "with their signs, and ties are not counted"),
    ("13.2", pairs(torch.ge, lambda x: x), "with their signs, and a tie counts as won"),
    ("13.2", lambda s, c: 1 - auc_by_loop(s, c), "wrong way round"),
    ("13.2", with_themselves, "a cause with a cause"),
    ("13.2", first_words, "share of causes among the first"),
    ("13.2", lambda s, c: auc_by_loop(s.relu() - (-s).relu() + 10, c), "with their signs"),
    ("13.2", auc_in_place, "in place"),
    ("13.2", lambda s, c: None, "None"),
    ("13.2", lambda s, c: (s.abs()[c][:, None] > s.abs()[~c]).double(), "shape"),
    ("13.3", as_seen, "compares texts"),
    ("13.3", effect(keep=lambda t, first: first in t.lower()), "only texts that have the first"),
    ("13.3", two_months, "one of the two months"),
    ("13.3", effect(after=lambda d, texts: float(d.sum() / len(texts))), "counted as 0"),
    ("13.3", effect(after=lambda d, texts: -float(d.mean())), "sign is turned"),
    ("13.3", effect(after=lambda d, texts: float(d.sum())), "the sum"),
    ("13.3", effect(after=lambda d, texts: float(d.abs().mean())), "an effect has a sign"),
    ("13.3", effect(after=lambda d, texts: d), "one number"),
    ("13.3", effect(after=lambda d, texts: float(np.median(d))), "the median"),
    ("13.3", lambda margin_of, texts, first, second: effect_by_loop(
        margin_of, texts, "july", "november"), "written into the code"),
    ("13.3", without_stops, "full stops and commas"),
    ("13.3", effect(base=True), "as it is"),
    ("13.3", effect(keep=lambda t, first: month_at(t)), "a month that is the first word is lost"),
    ("13.3", every_text, "left out"),
    ("13.3", with_letters, "left out"),
    ("13.3", own_pattern, "letters of a month"),
    ("13.3", drops_texts, "changes its input"),
    ("13.3", one_text_at_a_time_as_string, "a list of texts"),
    ("13.3", lambda *inputs: None, "None"),
    ("13.5", pure, "both have to mix"),
    ("13.5", evenly, "mix evenly"),
    ("13.5", raw_marginals, "turn their sign"),
    ("13.5", not_negative, "v may be negative"),
    ("13.5", all_free, "p may not"),
    ("13.5", lambda A: programme(A, odds=False), "a 0 for v"),
    ("13.5", lambda A: programme(A, last=1.0), "a 0 for v"),
    ("13.5", lambda A: programme(A, whole=True), r"found.x is \(p, v\)"),
    ("13.5", lambda A: programme(A, c=1.0), "in c its entry is −1"),
    ("13.5", lambda A: programme(A, rows=lambda A: A.T), "the sign of A is turned"),
    ("13.5", lambda A: programme(A, rows=lambda A: A.T, of_v=-1.0), r"in A_ub it is \+1"),
    ("13.5", lambda A: programme(A, of_v=-1.0), r"in A_ub it is \+1"),
    ("13.5", lambda A: programme(A, bound=1.0), "b_ub is 0"),
    ("13.5", v_first, "v may be negative"),
    ("13.5", v_first_alone, r"in the order \(p, v\)"),
    ("13.5", no_small_odds, "probability"),
    ("13.5", lambda A: programme(A, rows=lambda A: -A), "is A transposed"),
    ("13.5", lambda A: programme(A, transposed=True), "rows and columns are exchanged"),
    ("13.5", then(lambda p, q, v: (q, p, v)), "p and q are exchanged"),
    ("13.5", then(lambda p, q, v: (p, q, -v)), "linprog minimises"),
    ("13.5", then(lambda p, q, v: (p, p if len(p) == len(q) else q, v)), "p is right and q is not"),
    ("13.5", then(lambda p, q, v: (p, v)), "three things"),
    ("13.5", then(lambda p, q, v: (p[:, None], q, v)), "shape"),
    ("13.5", then(lambda p, q, v: (p, q, q)), "one number"),
    ("13.5", solve_and_shift, "changes A"),
    ("13.5", lambda A: solve_twice(A - A.min()), "take it off the value"),
    ("13.5", lambda A: solve_twice(A + 1 - A.min()), "take it off the value"),
    ("13.5", lambda A: None, "None"),
    ("13.4", any_change, "no label at all"),
    ("13.4", everything, "enough"),
    ("13.4", one_word, "how many words do you try"),
    ("13.4", three_words, "how many words do you try"),
    ("13.4", four_words, "how many words do you try"),
    ("13.4", zipped, "zip does not"),
    ("13.4", neighbours, "beside one another"),
    ("13.4", side_by_side, "beside one another"),
    ("13.4", loud, "neither does anything alone"),
    ("13.4", at_most(5), "how many words do you try"),
    ("13.4", at_most(8), "how many words do you try"),
    ("13.4", at_most(9, of_each=200), "every edit of a size"),
    ("13.4", step_by_step, "as it was handed in"),
    ("13.4", level_by_level, "as it was handed in"),
    ("13.4", by_str_replace, "goes by words"),
    ("13.4", without_empty, "an option like any other"),
    ("13.4", places_with_words, "an option like any other"),
    ("13.4", empty_for_none, "the result should be None"),
    ("13.4", first_option, "every place and every option"),
    ("13.4", the_text, "should be a dict"),
    ("13.4", same_label, "as it was"),
    ("13.4", own_words, "not among its options"),
    ("13.4", lambda *inputs: {}, "no words"),
    ("13.4", lambda *inputs: None, "the result is None"),
    ("13.4", empties, "changes its input"),
    ("13.4", single_text, "takes a list of texts"),
]  # fmt: skip
