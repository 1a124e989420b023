"""Right and wrong answers to the exercises of lesson 02."""

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from advlib.embeddings import attackable, perturbed_logits, shifted

# ---------------------------------------------------------------- right answers


def gradient(model, batch, delta):
    d = delta.detach().clone().requires_grad_()
    loss = F.cross_entropy(perturbed_logits(model, batch, d), batch["labels"], reduction="sum")
    return torch.autograd.grad(loss, d)[0]


def gradient_text_by_text(model, batch, delta):
    """Without the sum: one text after another, and -log p by hand."""
    rows = []
    for i, own in enumerate(delta.detach()):
        d = own[None].clone().requires_grad_()
        logits = perturbed_logits(model, {k: v[i : i + 1] for k, v in batch.items()}, d)
        loss = -logits.log_softmax(-1)[0, batch["labels"][i]]
        rows.append(torch.autograd.grad(loss, d)[0][0])
    return torch.stack(rows)


def gradient_of_embeds(model, batch, delta):
    embeds = (model.get_input_embeddings()(batch["input_ids"]) + delta).detach().requires_grad_()
    logits = model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
    loss = F.cross_entropy(logits, batch["labels"], reduction="sum")
    return torch.autograd.grad(loss, embeds)[0]


def nearest_by_cdist(table, ids):
    distances = torch.cdist(table[ids], table)
    distances.scatter_(1, ids[:, None], torch.inf)
    return distances.min(1)


def nearest_by_loop(table, ids):
    distances, neighbours = [], []
    for i in ids.tolist():
        far = (table - table[i]).norm(dim=1)
        far[i] = float("inf")
        neighbours.append(int(far.argmin()))
        distances.append(far.min())
    return torch.stack(distances), torch.tensor(neighbours)


CAUSES = dict(zip(range(1, 13), "EGKFDCJBLIAH", strict=True))


class Lazy(Dataset):
    """Tokenizes when an item is read."""

    extra: dict = {}
    settings = dict(truncation=True, return_special_tokens_mask=True)

    def __init__(self, texts, labels, tokenizer, max_length):
        self.texts, self.labels = list(texts), list(labels)
        self.tokenizer, self.max_length = tokenizer, max_length

    def __len__(self):
        return len(self.texts)

    def label(self, i):
        return int(self.labels[i])

    def encode(self, i):
        return self.tokenizer(self.texts[i], max_length=self.max_length, **self.settings)

    def __getitem__(self, i):
        return {**self.encode(i), "labels": self.label(i)}


class Cached:
    """Tokenizes everything at the start, and is no Dataset by name."""

    def __init__(self, texts, labels, tokenizer, max_length):
        rows = tokenizer(list(texts), truncation=True, max_length=max_length,
                         return_special_tokens_mask=True)  # fmt: skip
        names = ("input_ids", "attention_mask", "special_tokens_mask")
        self.items = [
            {name: rows[name][i] for name in names} | {"labels": int(label)}
            for i, label in enumerate(labels)
        ]

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def nearest_by_numpy(table, ids):
    rows = table.numpy().astype(np.float64)
    d = np.sqrt(((rows[ids.numpy(), None] - rows[None]) ** 2).sum(-1))
    d[np.arange(len(ids)), ids.numpy()] = np.inf
    return [torch.tensor(d.min(1)), torch.tensor(d.argmin(1), dtype=torch.int32)]


class Slow:
    """Nothing of the tokenizer's conveniences, and lists made by hand."""

    def __init__(self, texts, labels, tokenizer, max_length):
        self.rows = [(text, int(label)) for text, label in zip(texts, labels, strict=True)]
        self.tokenizer, self.room = tokenizer, max_length - tokenizer.num_special_tokens_to_add()

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        text, label = self.rows[i]
        inner = self.tokenizer.encode(text, add_special_tokens=False)[: self.room]
        ids = [self.tokenizer.cls_token_id, *inner, self.tokenizer.sep_token_id]
        return dict(input_ids=ids, attention_mask=[1] * len(ids), labels=label,
                    special_tokens_mask=[1] + [0] * len(inner) + [1])  # fmt: skip


def adversarial_by_loop(model, batch, delta):
    """Every text alone, cut to its own length."""
    losses = []
    for i, n in enumerate(batch["attention_mask"].sum(1).tolist()):
        own = {k: v[i : i + 1] if k == "labels" else v[i : i + 1, :n] for k, v in batch.items()}
        push = torch.zeros_like(delta[i : i + 1, :n]) + delta[i : i + 1, :n].detach()
        push[~attackable(own)] = 0
        losses.append(F.nll_loss(perturbed_logits(model, own, push).log_softmax(1), own["labels"]))
    return torch.stack(losses).mean()


def adversarial(model, batch, delta):
    fixed = delta.detach() * attackable(batch).unsqueeze(-1)
    return F.cross_entropy(perturbed_logits(model, batch, fixed), batch["labels"])


def adversarial_by_embeds(model, batch, delta):
    words = (batch["attention_mask"] - batch["special_tokens_mask"]).clamp(min=0)
    with torch.no_grad():
        fixed = torch.where(words[..., None] == 1, delta, torch.zeros_like(delta))
    embeds = model.get_input_embeddings()(batch["input_ids"]) + fixed
    logits = model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
    return -logits.log_softmax(1)[range(len(logits)), batch["labels"]].mean()


RIGHT = [
    ("02.1", gradient), ("02.1", gradient_text_by_text), ("02.1", gradient_of_embeds),
    ("02.2", nearest_by_cdist), ("02.2", nearest_by_loop), ("02.2", nearest_by_numpy),
    ("02.3", lambda: CAUSES), ("02.3", lambda: {k: v.lower() for k, v in CAUSES.items()}),
    ("02.4", Lazy), ("02.4", Cached), ("02.4", Slow),
    ("02.5", adversarial), ("02.5", adversarial_by_embeds), ("02.5", adversarial_by_loop),
]  # fmt: skip

# ---------------------------------------------------------------- wrong answers: 02.1


def gradient_of(loss, at=1.0, mask=False, **settings):
    """An answer from what is differentiated, loss(logits, labels), and where (at * delta)."""

    def answer(model, batch, delta):
        d = (at * delta).detach().requires_grad_()
        value = loss(perturbed_logits(model, batch, d), batch["labels"])
        return torch.autograd.grad(value, d, **settings)[0]

    return answer


def changed_gradient(change):
    return lambda model, batch, delta: change(gradient(model, batch, delta))


def total(logits, labels):
    return F.cross_entropy(logits, labels, reduction="sum")


def by_backward(model, batch, delta):
    d = delta.detach().requires_grad_()
    total(perturbed_logits(model, batch, d), batch["labels"]).backward()
    return d.grad


def by_backward_and_zero(model, batch, delta):
    grad = by_backward(model, batch, delta)
    model.zero_grad()
    return grad


def switches_flag(model, batch, delta):
    delta.requires_grad_()
    loss = total(perturbed_logits(model, batch, delta), batch["labels"])
    return torch.autograd.grad(loss, delta)[0]


def leaves_eval(model, batch, delta):
    model.eval()
    return gradient(model, batch, delta)


def leaves_train(model, batch, delta):
    model.train()
    return gradient(model, batch, delta)


def freezes(model, batch, delta):
    model.requires_grad_(False)
    return gradient(model, batch, delta)


def leaves_a_hook(model, batch, delta):
    d = delta.detach().requires_grad_()
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, out: out + d)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    return torch.autograd.grad(total(model(**inputs).logits, batch["labels"]), d)[0]


def pops_labels(model, batch, delta):
    labels = batch.pop("labels")
    return gradient(model, batch | {"labels": labels}, delta)


def pops_and_reads_again(model, batch, delta):
    batch.pop("labels")
    return gradient(model, batch, delta)


def clears_delta_grad(model, batch, delta):
    delta.grad = None
    return gradient(model, batch, delta)


def of_two_classes(model, batch, delta):
    """The difference of two logits, as of a model with two classes."""
    d = delta.detach().requires_grad_()
    z, y = perturbed_logits(model, batch, d), batch["labels"].clamp(max=1)
    other, own = z.gather(1, 1 - y[:, None]), z.gather(1, y[:, None])
    return torch.autograd.grad(F.softplus(other - own).sum(), d)[0]


def with_first_length(model, batch, delta):
    """The padding of the first text is taken for that of all."""
    n = int(batch["attention_mask"][0].sum())
    grad = torch.zeros_like(delta)
    cut = {k: v if k == "labels" else v[:, :n] for k, v in batch.items()}
    grad[:, :n] = gradient(model, cut, delta[:, :n])
    return grad


def of_the_table(model, batch, delta):
    weight = model.get_input_embeddings().weight
    loss = total(perturbed_logits(model, batch, delta), batch["labels"])
    return torch.autograd.grad(loss, weight)[0]


def moves_delta(model, batch, delta):
    grad = gradient(model, batch, delta)
    with torch.no_grad():
        delta += 0.1 * grad
    return grad


def without_attention_mask(model, batch, delta):
    return gradient(model, {k: v for k, v in batch.items() if k != "attention_mask"}, delta)


def masked_gradient(model, batch, delta):
    return gradient(model, batch, delta) * attackable(batch)[..., None]


# ---------------------------------------------------------------- wrong answers: 02.2


def nearest_of(change):
    """An answer from what is done to the distances: change(distances, table, ids)."""
    return lambda table, ids: change(torch.cdist(table[ids], table), table, ids).min(1)


def without_own(distances, table, ids):
    return distances.scatter(1, ids[:, None], torch.inf)


def by_place(distances, table, ids):
    distances[range(len(ids)), range(len(ids))] = torch.inf
    return distances


def only_asked(table, ids):
    distances = torch.cdist(table[ids], table[ids]).fill_diagonal_(torch.inf).min(1)
    return distances.values, ids[distances.indices]


def cosine(distances, table, ids):
    unit = F.normalize(table, dim=1)
    return without_own(1 - unit[ids] @ unit.T, table, ids)


def shifted_places(table, ids):
    values, neighbours = nearest_by_loop(table, ids)
    return values, torch.where(neighbours > ids, neighbours - 1, neighbours)


def farthest(table, ids):
    return torch.cdist(table[ids], table).max(1)


def second_smallest(table, ids):
    return torch.cdist(table[ids], table).kthvalue(2, dim=1)


def second_of_sorted(table, ids, stable=False):
    distances, places = torch.cdist(table[ids], table).sort(dim=1, stable=stable)
    return distances[:, 1], places[:, 1]


def second_of_topk(table, ids):
    distances, places = torch.cdist(table[ids], table).topk(2, dim=1, largest=False)
    return distances[:, 1], places[:, 1]


def whole_columns(distances, table, ids):
    distances[:, ids] = torch.inf
    return distances


def squeezed(table, ids):
    return tuple(each.squeeze() for each in nearest_by_loop(table, ids))


def each_id_once(table, ids):
    return nearest_by_loop(table, ids.unique())


def changes_table(table, ids):
    result = nearest_by_loop(table, ids)
    table[ids] = torch.inf
    return result


# ---------------------------------------------------------------- wrong answers: 02.4


class MaxLength(Lazy):
    def encode(self, i):
        return self.tokenizer(self.texts[i], max_length=self.max_length, padding="max_length",
                              **self.settings)  # fmt: skip


class Tensors(Lazy):
    settings = dict(Lazy.settings, return_tensors="pt")


class KeepsModel(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        self.model = torch.nn.Linear(2, 2)


class LastMadeCounts(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        type(self).max_length = max_length
        del self.max_length


class LabelsByText(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        self.known = dict(zip(texts, labels, strict=True))

    def label(self, i):
        return int(self.known[self.texts[i]])


class DropsEmpty(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__([text for text in texts if text], labels, tokenizer, max_length)


class TypesUncut(Lazy):
    def encode(self, i):
        return super().encode(i) | {"token_type_ids": [0] * (2 + len(self.texts[i].split()))}


class NoTruncation(Lazy):
    settings = dict(return_special_tokens_mask=True)

    def encode(self, i):
        return self.tokenizer(self.texts[i], **self.settings)


class NoSpecialMask(Lazy):
    settings = dict(truncation=True)


class NoSpecialTokens(Lazy):
    settings = dict(Lazy.settings, add_special_tokens=False)


class FloatLabels(Lazy):
    def label(self, i):
        return float(self.labels[i])


class LabelsAsTheyAre(Lazy):
    def label(self, i):
        return self.labels[i]


class NumpyLabels(Lazy):
    def label(self, i):
        return np.int64(self.labels[i])


class TensorLabels(Lazy):
    def label(self, i):
        return torch.tensor(int(self.labels[i]))


class UnknownAsSpecial(Lazy):
    settings = dict(truncation=True)

    def encode(self, i):
        out = super().encode(i)
        mask = self.tokenizer.get_special_tokens_mask(
            out["input_ids"], already_has_special_tokens=True
        )
        return {**out, "special_tokens_mask": mask}


class CutAfterwards(NoTruncation):
    def encode(self, i):
        return {k: v[: self.max_length] for k, v in super().encode(i).items()}


class OneHotLabels(Lazy):
    def label(self, i):
        return F.one_hot(torch.tensor(self.labels[i]), 3)


class Noisy(Lazy):
    def encode(self, i):
        out = super().encode(i)
        out["input_ids"] = [j + int(torch.randint(100, ())) for j in out["input_ids"]]
        return out


class NoisyLater(Lazy):
    """The first reading is right."""

    reads = 0

    def encode(self, i):
        out = super().encode(i)
        self.reads += 1
        if self.reads > len(self):
            out["input_ids"][1] += 1
        return out


class SortsInput(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        texts.sort()


class PopsLabels(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        labels.clear()


class HasLambda(Lazy):
    def __init__(self, texts, labels, tokenizer, max_length):
        super().__init__(texts, labels, tokenizer, max_length)
        self.make = lambda i: i


class CalledLabel(Lazy):
    def __getitem__(self, i):
        return {**self.encode(i), "label": self.label(i)}


class ReturnsTuple(Lazy):
    def __getitem__(self, i):
        return self.encode(i), self.label(i)


class KeepsText(Lazy):
    def __getitem__(self, i):
        return {**super().__getitem__(i), "text": self.texts[i]}


class BatchOfOne(Lazy):
    def encode(self, i):
        return self.tokenizer([self.texts[i]], max_length=self.max_length, **self.settings)


class FixedLength(Lazy):
    def encode(self, i):
        return self.tokenizer(self.texts[i], max_length=512, **self.settings)


class TooShort(Lazy):
    def encode(self, i):
        return self.tokenizer(self.texts[i], max_length=self.max_length - 2, **self.settings)


class CountsLetters(Lazy):
    def __len__(self):
        return len(self.texts[0])


# ---------------------------------------------------------------- wrong answers: 02.5


def loss_of(push=lambda batch, delta: delta.detach() * attackable(batch)[..., None],
            finish=F.cross_entropy):  # fmt: skip
    """An answer from what is added to the embeddings, and from what is made of the logits."""
    return lambda model, batch, delta: finish(
        perturbed_logits(model, batch, push(batch, delta)), batch["labels"]
    )


def loss_with_backward(model, batch, delta):
    loss = adversarial(model, batch, delta)
    loss.backward(retain_graph=True)
    return loss


def pops_special(model, batch, delta):
    mask = attackable(batch)[..., None]
    batch.pop("special_tokens_mask")
    return F.cross_entropy(perturbed_logits(model, batch, delta.detach() * mask), batch["labels"])


def masks_in_place(model, batch, delta):
    delta.data *= attackable(batch)[..., None]
    return F.cross_entropy(perturbed_logits(model, batch, delta.detach()), batch["labels"])


def loss_in_train_mode(model, batch, delta):
    model.train()
    return adversarial(model, batch, delta)


def loss_in_eval_mode(model, batch, delta):
    model.eval()
    return adversarial(model, batch, delta)


def loss_in_eval_mode_and_back(model, batch, delta):
    mode = model.training
    model.eval()
    loss = adversarial(model, batch, delta)
    model.train(mode)
    return loss


def body_in_eval_mode(model, batch, delta):
    modes = [(module, module.training) for module in model.modules()]
    for module, _ in modes[1:]:
        module.training = False
    loss = adversarial(model, batch, delta)
    for module, mode in modes:
        module.training = mode
    return loss


def loss_leaves_a_hook(model, batch, delta):
    fixed = delta.detach() * attackable(batch)[..., None]
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, out: out + fixed)
    inputs = {k: batch[k] for k in ("input_ids", "attention_mask")}
    return F.cross_entropy(model(**inputs).logits, batch["labels"])


def pops_in_a_hurry(model, batch, delta):
    batch.pop("labels")
    return adversarial(model, batch, delta)


def clears_and_detaches(model, batch, delta):
    delta.grad = None
    return adversarial(model, batch, delta)


def unflags_delta(model, batch, delta):
    return adversarial(model, batch, delta.requires_grad_(False))


def zeroes_grad(model, batch, delta):
    model.zero_grad()
    return adversarial(model, batch, delta)


def stretched(each):
    def push(batch, delta):
        delta = delta.detach()
        own = delta * attackable(batch)[..., None]
        if not each:
            return own * delta.norm() / own.norm()
        return own * (delta.flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1))[:, None, None]

    return push


def without_the_ends(batch, delta):
    inner = delta.detach().clone()
    inner[:, 0] = inner[:, -1] = 0
    return inner


def hides_the_ends(model, batch, delta):
    return adversarial_with(model, batch, delta, attackable(batch).long())


def sees_padding(model, batch, delta):
    return adversarial_with(model, batch, delta, torch.ones_like(batch["attention_mask"]))


def adversarial_with(model, batch, delta, mask):
    fixed = delta.detach() * attackable(batch)[..., None]
    logits = perturbed_logits(model, dict(batch, attention_mask=mask), fixed)
    return F.cross_entropy(logits, batch["labels"])


def embeddings_detached(model, batch, delta):
    embeds = model.get_input_embeddings()(batch["input_ids"]).detach()
    embeds = embeds + delta.detach() * attackable(batch)[..., None]
    logits = model(inputs_embeds=embeds, attention_mask=batch["attention_mask"]).logits
    return F.cross_entropy(logits, batch["labels"])


def no_grad_inside(model, batch, delta):
    with torch.no_grad():
        return adversarial(model, batch, delta)


def clean_plus(model, batch, delta):
    clean = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    return clean + adversarial(model, batch, delta)


def with_library_loss(model, batch, delta):
    """The model's own loss: right, and another make; used below with the mask forgotten."""
    inputs = {k: v for k, v in batch.items() if k != "special_tokens_mask"}
    with shifted(model, delta.detach()):
        return model(**inputs).loss


def swapped(changes):
    return lambda: {**CAUSES, **changes}


WRONG = [
    ("02.1", gradient_of(F.cross_entropy), "mean instead of sum"),
    ("02.1", changed_gradient(lambda g: -g), "wrong sign"),
    ("02.1", gradient_of(total, at=0.0), "delta = 0"),
    ("02.1", gradient_of(lambda z, y: z.sum()), "gradient of the logits"),
    ("02.1", gradient_of(lambda z, y: z.gather(1, y[:, None]).sum()), "logit of the label"),
    ("02.1", gradient_of(lambda z, y: total(z, z.argmax(1))), "labels"),
    ("02.1", changed_gradient(lambda g: g / g.norm()), "whole batch"),
    ("02.1", changed_gradient(lambda g: g / g.flatten(1).norm(dim=1)[:, None, None]), "per text"),
    ("02.1", changed_gradient(torch.sign), "sign"),
    ("02.1", gradient_of(lambda z, y: total(z.softmax(1), y)), "twice"),
    ("02.1", gradient_of(lambda z, y: F.nll_loss(z, y, reduction="sum")), "log-probabilities"),
    ("02.1", gradient_of(lambda z, y: F.nll_loss(z.softmax(1), y, reduction="sum")), "logarithm"),
    ("02.1", without_attention_mask, "attention_mask"),
    ("02.1", changed_gradient(lambda g: g / g.norm(dim=-1, keepdim=True).clamp_min(1e-12)),
     "per token"),
    ("02.1", masked_gradient, "masked"),
    ("02.1", of_the_table, "embedding table"),
    ("02.1", changed_gradient(lambda g: g.sum(0)), "summed over the texts"),
    ("02.1", changed_gradient(lambda g: g.norm(dim=-1)), "length of the gradient"),
    ("02.1", gradient_of(total, create_graph=True), "graph"),
    ("02.1", changed_gradient(lambda g: (g,)), "tuple"),
    ("02.1", changed_gradient(lambda g: None), "return"),
    ("02.1", changed_gradient(lambda g: 0.9 * g), "not as expected"),
    ("02.1", changed_gradient(lambda g: g.float()), "type"),
    ("02.1", by_backward, "changes the .grad"),
    ("02.1", by_backward_and_zero, "changes the .grad"),
    ("02.1", switches_flag, "work on a detached copy"),
    ("02.1", leaves_eval, "mode"),
    ("02.1", leaves_train, "mode"),
    ("02.1", leaves_a_hook, "leaves a hook"),
    ("02.1", pops_labels, "takes 'labels' out of `batch`"),
    ("02.1", pops_and_reads_again, "takes 'labels' out of `batch`"),
    ("02.1", clears_delta_grad, "changes `delta.grad`"),
    ("02.1", of_two_classes, "not as expected"),
    ("02.1", with_first_length, "not as expected"),
    ("02.1", freezes, "requires_grad"),
    ("02.1", moves_delta, "in place"),
    ("02.1", lambda model, batch, delta: delta, "delta itself"),
    ("02.2", nearest_of(lambda d, t, i: d), "the word itself"),
    ("02.2", nearest_of(lambda d, t, i: without_own(d, t, i) ** 2), "squared"),
    ("02.2", farthest, "farthest"),
    ("02.2", only_asked, "whole table"),
    ("02.2", nearest_of(by_place), r"entry k of row k .* entry ids\[k\] of row k"),
    ("02.2", nearest_of(lambda d, t, i: d.fill_diagonal_(torch.inf)), "entry k of row k"),
    ("02.2", nearest_of(whole_columns), "in every row"),
    ("02.2", nearest_of(lambda d, t, i: d.masked_fill(d == 0, torch.inf)), "cdist rounds"),
    ("02.2", second_smallest, "second-smallest"),
    ("02.2", second_of_sorted, "second-smallest"),
    ("02.2", lambda t, i: second_of_sorted(t, i, stable=True), "second-smallest"),
    ("02.2", second_of_topk, "second-smallest"),
    ("02.2", nearest_of(lambda d, t, i: d.masked_fill(d < 0.05, torch.inf)), "equal row"),
    ("02.2", nearest_of(lambda d, t, i: without_own(torch.cdist(t[i], t, p=1), t, i)), "L1"),
    ("02.2", nearest_of(cosine), "cosine"),
    ("02.2", lambda t, i: nearest_by_loop(F.normalize(t, dim=1), i), "scaled to length 1"),
    ("02.2", nearest_of(lambda d, t, i: without_own(d, t, i) / t.norm(dim=1).mean()),
     "mean length"),
    ("02.2", lambda t, i: nearest_by_loop(t, i)[::-1], "changed places"),
    ("02.2", shifted_places, "shifted by one"),
    ("02.2", lambda t, i: nearest_by_loop(t, i)[0], "two tensors"),
    ("02.2", lambda t, i: (nearest_by_loop(t, i)[0], i), "own neighbour"),
    ("02.2", lambda t, i: (torch.cdist(t[i], t), i), "smallest of each row"),
    ("02.2", lambda t, i: (nearest_by_loop(t, i)[0], 1.0 * nearest_by_loop(t, i)[1]), "whole"),
    ("02.2", squeezed, "distances has shape"),
    ("02.2", each_id_once, "distances has shape"),
    ("02.2", lambda t, i: (nearest_by_loop(t, i)[0], nearest_by_loop(t, i)[1] > 3), "torch.bool"),
    ("02.2", changes_table, "in place"),
    ("02.2", lambda t, i: None, "two tensors"),
    ("02.3", swapped({1: "D", 5: "E"}), "10 of 12(.|\n)*experiment 1,"),
    ("02.3", swapped({2: "F", 4: "G"}), "to_ids"),
    ("02.3", swapped({3: "G", 2: "K"}), "10 of 12"),
    ("02.3", swapped({3: "G"}), "more than once"),
    ("02.3", swapped({11: "I", 10: "A"}), "which line runs it|Which line runs it"),
    ("02.3", swapped({12: "J", 7: "H"}), "Section 3 says"),
    ("02.3", swapped({12: "J"}), "mode"),
    ("02.3", swapped({12: "M"}), "A to L"),
    ("02.3", swapped({13: "A"}), "1 to 12"),
    ("02.3", lambda: {k: v for k, v in CAUSES.items() if k < 9}, "8 of 12(.|\n)*missing"),
    ("02.3", lambda: {str(k): v for k, v in CAUSES.items()}, "strings"),
    ("02.3", lambda: list(CAUSES.values()), "dictionary"),
    ("02.3", lambda: None, "dictionary"),
    ("02.4", MaxLength, "padding"),
    ("02.4", Tensors, "plain list"),
    ("02.4", KeepsModel, "keeps a model"),
    ("02.4", LastMadeCounts, "another data set"),
    ("02.4", LabelsByText, "labels is not the label of this text"),
    ("02.4", DropsEmpty, "len"),
    ("02.4", TypesUncut, "token_type_ids is not a list as long"),
    ("02.4", NoTruncation, "truncation"),
    ("02.4", NoSpecialMask, "return_special_tokens_mask"),
    ("02.4", NoSpecialTokens, "special tokens are missing"),
    ("02.4", FloatLabels, "float"),
    ("02.4", OneHotLabels, "one-hot"),
    ("02.4", LabelsAsTheyAre, r"int64(.|\n)*use int\("),
    ("02.4", NumpyLabels, r"use int\("),
    ("02.4", TensorLabels, r"Tensor(.|\n)*use int\("),
    ("02.4", UnknownAsSpecial, r"still written(.|\n)*tokens = "),
    ("02.4", CutAfterwards, "the one at the end is gone"),
    ("02.4", Noisy, "input_ids is not as expected"),
    ("02.4", NoisyLater, "twice"),
    ("02.4", SortsInput, "in place"),
    ("02.4", PopsLabels, "in place"),
    ("02.4", HasLambda, "pickled"),
    ("02.4", CalledLabel, "with an s"),
    ("02.4", ReturnsTuple, "dictionary"),
    ("02.4", KeepsText, "text"),
    ("02.4", BatchOfOne, "list in a list"),
    ("02.4", FixedLength, "cut to"),
    ("02.4", TooShort, "too short"),
    ("02.4", CountsLetters, "len"),
    ("02.4", lambda *inputs: Lazy(*inputs), "class"),
    ("02.5", loss_of(lambda b, d: d.detach()), "mask of the attackable"),
    ("02.5", with_library_loss, "mask of the attackable"),
    ("02.5", loss_of(lambda b, d: d.detach() * b["attention_mask"][..., None]), "special tokens"),
    ("02.5", loss_of(lambda b, d: d.detach() * ~attackable(b)[..., None]), "wrong way round"),
    ("02.5", loss_of(lambda b, d: None), "clean loss"),
    ("02.5", loss_of(lambda b, d: -d.detach() * attackable(b)[..., None]), "subtracted"),
    ("02.5", loss_of(lambda b, d: d * attackable(b)[..., None]), "detach"),
    ("02.5", loss_of(finish=total), "sum instead of mean"),
    ("02.5", loss_of(finish=lambda z, y: F.cross_entropy(z, y, reduction="none")), "mean"),
    ("02.5", loss_of(finish=lambda z, y: -F.cross_entropy(z, y)), "wrong sign"),
    ("02.5", loss_of(finish=lambda z, y: F.cross_entropy(z, z.argmax(1))), "labels"),
    ("02.5", loss_of(finish=lambda z, y: z), "logits"),
    ("02.5", loss_of(finish=lambda z, y: F.cross_entropy(z, y).item()), "number"),
    ("02.5", loss_of(finish=lambda z, y: None), "return"),
    ("02.5", no_grad_inside, "no gradient flows"),
    ("02.5", clean_plus, "added"),
    ("02.5", loss_with_backward, "backward"),
    ("02.5", pops_special, "batch"),
    ("02.5", masks_in_place, "in place"),
    ("02.5", loss_in_train_mode, "mode"),
    ("02.5", loss_in_eval_mode, "mode"),
    ("02.5", loss_in_eval_mode_and_back, "runs the model in another mode"),
    ("02.5", body_in_eval_mode, "runs the model in another mode"),
    ("02.5", loss_leaves_a_hook, "leaves a hook"),
    ("02.5", pops_in_a_hurry, "takes 'labels' out of `batch`"),
    ("02.5", clears_and_detaches, "changes `delta.grad`"),
    ("02.5", unflags_delta, "leaves requires_grad of `delta` at False"),
    ("02.5", zeroes_grad, "changes the .grad"),
    ("02.5", loss_of(stretched(False)), "stretched after the mask"),
    ("02.5", loss_of(stretched(True)), "stretched after the mask(.|\n)*each text"),
    ("02.5", loss_of(without_the_ends), "by position"),
    ("02.5", hides_the_ends, r"still see \[CLS\]"),
    ("02.5", sees_padding, "padding is seen"),
    ("02.5", embeddings_detached, "word_embeddings"),
]  # fmt: skip
