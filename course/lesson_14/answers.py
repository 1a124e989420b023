"""Right and wrong answers to the exercises of lesson 14."""

import math
from numbers import Number

import numpy as np
import torch
from torch.nn.functional import cross_entropy, nll_loss

from advlib.embeddings import perturbed_logits

# ---------------------------------------------------------------- 14.1


def shares_of(right, groups):
    found = {}
    for ok, name in zip(right, groups, strict=True):
        found.setdefault(str(name), []).append(bool(ok))
    return {name: sum(oks) / len(oks) for name, oks in sorted(found.items())}, found


def group_with(pick=min, rate=None, gap=None, count=None, sizes=None, draw=None, name=str):
    """Answers to 14.1 that do one thing in another way."""

    def answer(right, groups, draws, rng):
        shares, found = shares_of(right, groups)
        worst = pick(shares, key=shares.get)
        seen = max(shares.values()) - min(shares.values())
        n = [len(found[g]) for g in shares]
        n = sizes(n) if sizes else n
        p = rate(right, shares) if rate else right.mean()
        worlds = (draw or rng.binomial)(n, p, size=(draws, len(n))) / np.array(n)
        gaps = worlds.max(1) - worlds.min(1)
        share = count(gaps, seen) if count else (gaps >= seen).mean()
        return name(worst), shares[worst], gap(right, shares) if gap else seen, share

    return answer


def group_by_loop(right, groups, draws, rng):
    shares, found = shares_of(right, groups)
    worst = min(shares, key=shares.get)
    seen, rate, hits = max(shares.values()) - shares[worst], float(np.mean(right)), 0
    for _ in range(draws):
        world = [float((rng.random(len(texts)) < rate).mean()) for texts in found.values()]
        hits += max(world) - min(world) >= seen - 1e-12
    return worst, shares[worst], seen, hits / draws


def group_in_place(right, groups, draws, rng):
    result = group_by_loop(right, groups, draws, rng)
    right.sort()
    return result


def group_most_mistakes(right, groups, draws, rng):
    shares, found = shares_of(right, groups)
    worst = max(found, key=lambda name: found[name].count(False))
    return worst, shares[worst], max(shares.values()) - shares[worst], 0.5


def group_shuffled(right, groups, draws, rng):
    shares, found = shares_of(right, groups)
    worst, names = min(shares, key=shares.get), np.array([str(name) for name in groups])
    seen, hits = max(shares.values()) - shares[worst], 0
    for _ in range(draws):
        mixed = rng.permutation(right)
        world = [mixed[names == name].mean() for name in shares]
        hits += max(world) - min(world) >= seen - 1e-12
    return worst, shares[worst], seen, hits / draws


def group_worlds(shares):
    """Answers to 14.1 with another way from counts and sizes to (gaps of the worlds)."""

    def answer(right, groups, draws, rng):
        names = np.unique(groups)
        sizes = np.array([(groups == name).sum() for name in names])
        seen = np.array([right[groups == name].mean() for name in names])
        counts = rng.binomial(sizes, right.mean(), size=(draws, len(sizes)))
        return (str(names[seen.argmin()]), seen.min(), np.ptp(seen),
                (shares(counts, sizes) >= np.ptp(seen)).mean())  # fmt: skip

    return answer


def group_fixed(draws=None, seed=None):
    """Answers to 14.1 that take a number of worlds, or a generator, of their own."""

    def answer(right, groups, asked, rng):
        rng = rng if seed is None else np.random.default_rng(seed)
        return group_with()(right, groups, draws or asked, rng)

    return answer


def group_bell(right, groups, draws, rng):
    def draw(sizes, rate, size):
        n = np.array(sizes)
        return n * rng.normal(rate, np.sqrt(rate * (1 - rate) / n), size)

    return group_with(draw=draw)(right, groups, draws, rng)


# ---------------------------------------------------------------- 14.2


def pair_with(term=None, total=None, first=None, second=None):
    """Answers to 14.2 that do one thing in another way."""

    def answer(model, batch, other, lam):
        z, moved = perturbed_logits(model, batch, None), perturbed_logits(model, other, None)
        loss = cross_entropy(z, batch["labels"])
        a, b = first(z) if first else z, second(moved) if second else moved
        apart = term(a, b) if term else (a - b).abs().sum(1).mean()
        return total(loss, apart, lam) if total else loss + lam * apart

    return answer


def pair_by_text(model, batch, other, lam):
    losses = []
    z, moved = perturbed_logits(model, batch, None), perturbed_logits(model, other, None)
    for i, y in enumerate(batch["labels"]):
        losses.append(-z[i].log_softmax(0)[y] + lam * torch.norm(z[i] - moved[i], p=1))
    return torch.stack(losses).mean()


def pair_plain_calls(model, batch, other, lam):
    keep = ("input_ids", "attention_mask")
    z, moved = (model(**{k: b[k] for k in keep}).logits for b in (batch, other))
    return nll_loss(z.log_softmax(1), batch["labels"]) + lam * (z - moved).abs().sum() / len(z)


def pair_two_losses(weight):
    def answer(model, batch, other, lam):
        z, moved = perturbed_logits(model, batch, None), perturbed_logits(model, other, None)
        losses = [cross_entropy(logits, batch["labels"]) for logits in (z, moved)]
        return weight * sum(losses) + lam * (z - moved).abs().sum(1).mean()

    return answer


def pair_backward(model, batch, other, lam):
    loss = pair_by_text(model, batch, other, lam)
    loss.backward()
    return loss


def pair_eval(model, batch, other, lam):
    model.eval()
    return pair_by_text(model, batch, other, lam)


def pair_pop(model, batch, other, lam):
    labels = batch.pop("labels")
    return pair_by_text(model, batch | {"labels": labels}, other, lam)


# ---------------------------------------------------------------- 14.3


def threshold_by_partition(scores, alpha):
    k = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    return math.inf if k > len(scores) else np.partition(scores, k - 1)[k - 1]


def threshold_with_infinity(scores, alpha):
    padded = sorted([*scores.tolist(), math.inf])
    return padded[int(np.ceil(len(padded) * (1 - alpha) - 1e-9)) - 1]


def threshold_by_counting(scores, alpha):
    enough = [s for s in scores if (scores <= s).sum() >= (len(scores) + 1) * (1 - alpha) - 1e-9]
    return min(enough, default=math.inf)


def threshold_place(place, descending=False):
    def answer(scores, alpha):
        k = place(len(scores), alpha)
        ordered = np.sort(scores)[::-1] if descending else np.sort(scores)
        return math.inf if k > len(scores) else ordered[max(k, 1) - 1]

    return answer


def threshold_at(index, enough=lambda k, n: k <= n, hair=1e-9):
    """Answers to 14.3 that take another index, or think otherwise of where there is none."""

    def answer(scores, alpha):
        n = len(scores)
        k = math.ceil((n + 1) * (1 - alpha) - hair)
        return np.sort(scores)[index(k, n)] if enough(k, n) else math.inf

    return answer


def threshold_by_quantile(scores, alpha, guard=True, **how):
    n = len(scores)
    k = math.ceil((n + 1) * (1 - alpha) - 1e-9)
    return math.inf if guard and k > n else float(np.quantile(scores, k / n, **how))


def threshold_in_place(scores, alpha):
    scores.sort()
    return threshold_by_partition(scores, alpha)


def threshold_clipped(scores, alpha):
    k = math.ceil((len(scores) + 1) * (1 - alpha) - 1e-9)
    return np.sort(scores)[min(k, len(scores)) - 1]


# ---------------------------------------------------------------- 14.4


def curve_by_level(confidence, right):
    coverage, risk = [], []
    for level in np.unique(confidence)[::-1]:
        kept = confidence >= level
        coverage.append(kept.mean())
        risk.append(1 - right[kept].mean())
    return np.array(coverage), np.array(risk)


def curve_as_lists(confidence, right):
    levels = sorted(set(confidence), reverse=True)
    kept = [[r for c, r in zip(confidence, right, strict=True) if c >= x] for x in levels]
    return [len(k) / len(right) for k in kept], [k.count(False) / len(k) for k in kept]


def curve_by_sorting(confidence, right):
    order = np.argsort(-confidence)
    sure, wrong = confidence[order], np.cumsum(~right[order])
    last = np.flatnonzero(np.r_[np.diff(sure) != 0, True])
    return (last + 1) / len(sure), wrong[last] / (last + 1)


def curve_one_by_one(confidence, right):
    order = np.argsort(-confidence, kind="stable")
    n = np.arange(1, len(order) + 1)
    return n / len(order), np.cumsum(~right[order]) / n


def curve_of(kept):
    def answer(confidence, right):
        levels = np.unique(confidence)[::-1]
        return tuple(np.array(x) for x in zip(*[
            (kept(confidence, x).mean(), 1 - right[kept(confidence, x)].mean()) for x in levels],
            strict=True))  # fmt: skip

    return answer


def curve_in_place(confidence, right):
    result = curve_by_level(confidence, right)
    confidence[:] = np.sort(confidence)
    return result


def curve_with(make):
    return lambda confidence, right: make(*curve_by_level(confidence, right))


def curve_ascending(confidence, right):
    coverage, risk = [], []
    for level in np.unique(confidence):
        kept = confidence <= level
        coverage.append(kept.mean())
        risk.append(1 - right[kept].mean())
    return np.array(coverage), np.array(risk)


def curve_first_of_equals(confidence, right):
    order = np.argsort(-confidence, kind="stable")
    _, first = np.unique(-confidence[order], return_index=True)
    n = np.arange(1, len(order) + 1)
    return (n / len(order))[first], (np.cumsum(~right[order]) / n)[first]


def curve_within(confidence, right, hair=1e-4):
    levels = [level for level in np.unique(confidence)[::-1]]
    levels = [x for i, x in enumerate(levels) if not i or levels[i - 1] - x > hair]
    kept = [confidence >= level for level in levels]
    return np.array([k.mean() for k in kept]), np.array([1 - right[k].mean() for k in kept])


# ---------------------------------------------------------------- 14.5


def number(value):
    return isinstance(value, int | float) and not math.isnan(value)


def gate_with(empty=None, low=None, high=None, most=None, form="{}: objection", missing=True):
    """Answers to 14.5 that do one thing in another way."""

    def blank(card, name):
        value = card.get(name)
        return value is None or isinstance(value, str) and not value.strip()

    def below(card, name, limit):
        return not number(card.get(name)) or card[name] < limit

    def above(card, name, limit):
        return not number(card.get(name)) or card[name] > limit

    def answer(card, policy):
        said = [name for name in policy["required"] if (empty or blank)(card, name)]
        said += [name for name, limit in policy["at_least"].items()
                 if (missing or name in card) and (low or below)(card, name, limit)]
        said += [name for name, limit in policy["at_most"].items()
                 if (missing or name in card) and (high or above)(card, name, limit)]
        return [form.format(name) for name in said[:most]]

    return answer


def gate_by_try(card, policy):
    said = []
    for name in policy["required"]:
        value = card[name] if name in card else ""
        if value is None or not str(value).strip():
            said.append(name + ": empty")
    checks = {"at_least": lambda a, b: a >= b, "at_most": lambda a, b: a <= b}
    for part, good in checks.items():
        for name in policy[part]:
            try:
                passed = good(card[name], policy[part][name])
            except (KeyError, TypeError):
                passed = False
            if not passed:
                said.append(f"{name}: not {part} {policy[part][name]}")
    return said


def gate_first_of_each(card, policy):
    nothing = {"required": [], "at_least": {}, "at_most": {}}
    return sum((gate_with(most=1)(card, nothing | {part: policy[part]}) for part in nothing), [])


def gate_strips_all(card, policy):
    rest = gate_with(empty=lambda card, name: False)(card, policy)
    blank = [name for name in policy["required"]
             if card.get(name) is None or not card[name].strip()]  # fmt: skip
    return [f"{name}: empty" for name in blank] + rest


def read_number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def gate_no_text(card, policy):
    def outside(card, name, keeps):
        value = card.get(name)
        return not (value is not None and not isinstance(value, str | list) and keeps(value))

    return gate_with(low=lambda card, name, limit: outside(card, name, lambda x: x >= limit),
                     high=lambda card, name, limit: outside(card, name, lambda x: x <= limit))(
                         card, policy)  # fmt: skip


def gate_any_number(card, policy):
    def outside(card, name, keeps):
        value = card.get(name)
        return not (isinstance(value, Number) and keeps(value))

    return gate_with(low=lambda card, name, limit: outside(card, name, lambda x: x >= limit),
                     high=lambda card, name, limit: outside(card, name, lambda x: x <= limit))(
                         card, policy)  # fmt: skip


def gate_careless(card, policy):
    said = [f"{name}: empty" for name in policy["required"] if not card.get(name, "").strip()]
    return said + [f"{n}: low" for n, x in policy["at_least"].items() if card[n] < x]


def gate_pops(card, policy):
    said = gate_by_try(card, policy)
    card.pop("n", None)
    return said


RIGHT = [
    ("14.1", group_with()), ("14.1", group_by_loop),
    ("14.1", group_worlds(lambda counts, n: np.ptp(counts / n, axis=1))),
    ("14.2", pair_with()), ("14.2", pair_by_text), ("14.2", pair_plain_calls),
    ("14.3", threshold_by_partition), ("14.3", threshold_with_infinity),
    ("14.3", threshold_by_counting), ("14.3", threshold_at(lambda k, n: k - 1)),
    ("14.3", lambda s, a: threshold_by_quantile(s, a, method="inverted_cdf")),
    ("14.4", curve_by_level), ("14.4", curve_as_lists), ("14.4", curve_by_sorting),
    ("14.4", curve_of(lambda c, x: c >= x)),
    ("14.5", gate_with()), ("14.5", gate_by_try), ("14.5", gate_with(form="{}:no")),
]  # fmt: skip

# (exercise, answer, what the feedback must say): values, side effects, shapes and kinds.
WRONG = [
    ("14.1", group_with(pick=max), "best group"),
    ("14.1", group_most_mistakes, "most mistakes"),
    ("14.1", group_with(gap=lambda right, shares: right.mean() - min(shares.values())),
     "not from the mean"),
    ("14.1", group_with(rate=lambda right, shares: np.array(list(shares.values()))),
     "its own accuracy"),
    ("14.1", group_with(rate=lambda right, shares: 0.5), "p is not as expected"),
    ("14.1", group_with(count=lambda gaps, seen: (gaps < seen).mean()), "smaller gaps"),
    ("14.1", group_with(count=lambda gaps, seen: (gaps >= seen).sum()), "a share"),
    ("14.1", group_with(count=lambda gaps, seen: (gaps > seen).mean()), "exactly as large"),
    ("14.1", group_with(rate=lambda right, shares: np.mean(list(shares.values()))),
     "mean of the groups"),
    ("14.1", group_shuffled, "shuffled"),
    ("14.1", group_with(sizes=lambda n: [round(sum(n) / len(n))] * len(n)), "one size"),
    ("14.1", group_with(draw=np.random.binomial), "global generator"),
    ("14.1", group_with(count=lambda gaps, seen: (1 + (gaps >= seen - 1e-12).sum())
                        / (1 + len(gaps))), "never 0"),
    ("14.1", group_fixed(draws=1000), "it is `draws`"),
    ("14.1", group_fixed(draws=4000), "it is `draws`"),
    ("14.1", group_fixed(seed=0), "take `rng`"),
    ("14.1", group_bell, "normal approximation"),
    ("14.1", group_in_place, "changes an array"),
    ("14.1", group_worlds(lambda counts, n: np.ptp(counts, axis=1)), "divide by `sizes`"),
    ("14.1", group_worlds(lambda counts, n: np.ptp(counts / n, axis=0)), "along axis 1"),
    ("14.1", group_worlds(lambda counts, n: np.ptp(counts / n)), "along axis 1"),
    ("14.1", group_with(name=lambda name: 3), "should be the name"),
    ("14.1", lambda right, groups, draws, rng: group_by_loop(right, groups, draws, rng)[:3],
     "four things"),
    ("14.1", lambda right, groups, draws, rng: None, "None"),
    ("14.2", pair_with(term=lambda a, b: (a - b).square().sum(1).mean()), "squares"),
    ("14.2", pair_with(term=lambda a, b: (a - b).norm(dim=1).mean()), "L2 norm"),
    ("14.2", pair_with(term=lambda a, b: (a - b).abs().mean()), "mean over the classes"),
    ("14.2", pair_with(term=lambda a, b: (a - b).abs().sum()), "mean over the batch"),
    ("14.2", pair_with(term=lambda a, b: (a - b).abs().sum(0).mean()), "axis 1"),
    ("14.2", pair_with(total=lambda loss, term, lam: lam * (loss + term)), "cross-entropy, too"),
    ("14.2", pair_with(total=lambda loss, term, lam: loss + term), "lam is missing"),
    ("14.2", pair_with(total=lambda loss, term, lam: lam * loss + term), "belongs to the other"),
    ("14.2", pair_with(total=lambda loss, term, lam: loss - lam * term), "wrong sign"),
    ("14.2", pair_with(total=lambda loss, term, lam: lam * term), "cross-entropy .* is missing"),
    ("14.2", pair_with(first=lambda z: z.softmax(1), second=lambda z: z.softmax(1)),
     "probabilities"),
    ("14.2", pair_with(term=lambda a, b: (a - b).sum(1).abs().mean()), "before `abs`"),
    ("14.2", pair_two_losses(1), "that is augmentation"),
    ("14.2", pair_two_losses(0.5), "mean of two cross-entropies"),
    ("14.2", pair_with(second=lambda z: z.detach()), "held constant"),
    ("14.2", pair_with(first=lambda z: z.detach()), "held constant"),
    ("14.2", lambda *given: pair_by_text(*given).detach(), "no graph"),
    ("14.2", lambda *given: pair_by_text(*given).item(), "should be a tensor"),
    ("14.2", lambda *given: pair_by_text(*given)[None], "shape"),
    ("14.2", pair_backward, "changes the .grad"),
    ("14.2", pair_eval, "mode"),
    ("14.2", pair_pop, "takes 'labels' out"),
    ("14.3", lambda s, a: float(np.quantile(s, 1 - a)), "plain quantile"),
    ("14.3", threshold_place(lambda n, a: math.ceil((n + 1) * (1 - a) - 1e-9) + 1),
     "infinite where there is a k-th|index k − 1"),
    ("14.3", threshold_place(lambda n, a: math.ceil(n * (1 - a) - 1e-9)), "n in place of"),
    ("14.3", threshold_place(lambda n, a: math.floor((n + 1) * (1 - a) + 1e-9)), "rounded down"),
    ("14.3", threshold_at(lambda k, n: k - 1, enough=lambda k, n: k < n),
     "(?s)infinite where there is a k-th smallest score.*only k > n has none"),
    ("14.3", threshold_at(lambda k, n: k), "index k − 1"),
    ("14.3", threshold_at(lambda k, n: k, enough=lambda k, n: k < n), "index k − 1"),
    ("14.3", threshold_at(lambda k, n: k - 1, hair=0), "without the 1e-9"),
    ("14.3", lambda s, a: threshold_by_quantile(s, a, method="higher"), "above the k-th smallest"),
    ("14.3", lambda s, a: threshold_by_quantile(s, a, guard=False, method="inverted_cdf"),
     "from 0 to 1"),
    ("14.3", lambda s, a: np.sort(s)[math.ceil((len(s) + 1) * (1 - a) - 1e-9)],
     "one place too high|index k − 1"),
    ("14.3", threshold_place(lambda n, a: math.ceil((n + 1) * a - 1e-9)), "alpha in place"),
    ("14.3", threshold_place(lambda n, a: math.ceil((n + 1) * (1 - a) - 1e-9), descending=True),
     "from the largest"),
    ("14.3", threshold_clipped, "infinite"),
    ("14.3", threshold_place(lambda n, a: round((n + 1) * (1 - a))), "rounds up"),
    ("14.3", lambda s, a: min(threshold_by_partition(s, a), 1.0), "largest score that there can"),
    ("14.3", threshold_in_place, "changes an array"),
    ("14.3", lambda s, a: np.sort(s), "should be a number"),
    ("14.3", lambda s, a: None, "should be a number"),
    ("14.4", curve_one_by_one, "shape"),
    ("14.4", curve_first_of_equals, "only the first is counted"),
    ("14.4", lambda c, r: curve_by_level(c.round(3), r), "differ in the fourth"),
    ("14.4", lambda c, r: curve_by_level(c.round(4), r), "differ in the fifth"),
    ("14.4", curve_within, "shape"),
    ("14.4", curve_with(lambda c, r: (c, 1 - r)), "accuracy"),
    ("14.4", curve_with(lambda c, r: (c, r * c)), "divided by all"),
    ("14.4", curve_with(lambda c, r: (c[::-1], r[::-1])), "ascending order"),
    ("14.4", lambda c, r: (curve_by_level(c, r)[0] * len(c), curve_by_level(c, r)[1]),
     "number of texts"),
    ("14.4", curve_ascending, "least sure"),
    ("14.4", curve_with(lambda c, r: (r, c)), "exchanged"),
    ("14.4", curve_of(lambda c, x: c == x), "of this one confidence"),
    ("14.4", curve_of(lambda c, x: c <= x), "the least sure texts"),
    ("14.4", curve_with(lambda c, r: c), "two things"),
    ("14.4", curve_in_place, "changes an array"),
    ("14.4", lambda c, r: None, "None"),
    ("14.5", gate_with(most=1), "first fault"),
    ("14.5", gate_with(low=lambda card, name, limit: not isinstance(card.get(name), int | float)
                       or card[name] < limit,
                       high=lambda card, name, limit: not isinstance(card.get(name), int | float)
                       or card[name] > limit), "nan passes"),
    ("14.5", gate_with(missing=False), "not as expected|missing"),
    ("14.5", gate_with(low=lambda card, name, limit: not number(card.get(name))
                       or card[name] <= limit,
                       high=lambda card, name, limit: not number(card.get(name))
                       or card[name] >= limit), "equals its limit"),
    ("14.5", gate_with(empty=lambda card, name: card.get(name) is None), "empty text"),
    ("14.5", gate_first_of_each, "first fault of each part"),
    ("14.5", gate_with(empty=lambda card, name: card.get(name) in (None, "")), "text of spaces"),
    ("14.5", gate_with(empty=lambda card, name: not card.get(name)), "lets a text of spaces"),
    ("14.5", lambda card, policy: sorted(gate_by_try(card, policy)), "order of the policy"),
    ("14.5", gate_with(high=lambda card, name, limit: not isinstance(card.get(name), int | float)
                       or card[name] > limit), "nan passes in `at_most`"),
    ("14.5", gate_with(low=lambda card, name, limit: not isinstance(card.get(name), int | float)
                       or card[name] < limit), "nan passes in `at_least`"),
    ("14.5", gate_with(empty=lambda card, name: card.get(name) != card.get(name)
                       or not str(card.get(name) or 0).strip() or card.get(name) in (None, "")),
     "nan fills a required field"),
    ("14.5", gate_with(low=lambda card, name, limit: not number(card.get(name))
                       or math.isinf(card[name]) or card[name] < limit), "`inf` is a number"),
    ("14.5", gate_no_text, "the gate itself breaks"),
    ("14.5", gate_any_number, "the gate itself breaks"),
    ("14.5", gate_with(empty=lambda card, name: not card.get(name)
                       or not str(card[name]).strip()), "objects to 0"),
    ("14.5", gate_strips_all, "only a text has `strip`"),
    ("14.5", gate_with(low=lambda card, name, limit: not read_number(card.get(name)) >= limit,
                       high=lambda card, name, limit: not read_number(card.get(name)) <= limit),
     "reads like a number"),
    ("14.5", gate_with(low=lambda card, name, limit: not isinstance(card.get(name), list)
                       and (not number(card.get(name)) or card[name] < limit),
                       high=lambda card, name, limit: not isinstance(card.get(name), list)
                       and (not number(card.get(name)) or card[name] > limit)), "a list in the"),
    ("14.5", gate_with(high=lambda card, name, limit: False), "at_most"),
    ("14.5", gate_with(form="objection to {}"), "begins with the name"),
    ("14.5", gate_careless, "(?s)the gate itself breaks.*must become an objection"),
    ("14.5", gate_pops, "takes .n. out"),
    ("14.5", lambda card, policy: not gate_by_try(card, policy), "should be a list"),
]  # fmt: skip
