"""Checks of lesson 02, text has no gradient.

The specification: gradients are central finite differences, in double precision, of a small BERT
that gets its embeddings as `inputs_embeds` (and not through a hook); nearest rows are found one by
one; items of a data set are put together from the tokenizer's pieces by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from multiprocessing.reduction import ForkingPickler

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from advlib import plots
from advlib.attacks.embedding import attackable, perturbed_logits
from advlib.models import CHECKPOINTS
from course.checking import Exercise, Wrong, compare, expect, show, unchanged

# ---------------------------------------------------------------- a small model, and its batch


def _bert(seed: int, dtype: torch.dtype = torch.double) -> nn.Module:
    """A BERT of one layer with three classes, large weights (so that it is curved) and dropout."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=16, num_labels=3, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return BertForSequenceClassification(config).to(dtype).eval()


def _batch(seed: int, lengths: tuple[int, ...]) -> dict[str, Tensor]:
    """Texts of these lengths between 2 ([CLS]) and 3 ([SEP]), padded with 0."""
    g = torch.Generator().manual_seed(seed)
    rows, width = len(lengths), max(lengths)
    ids = torch.randint(5, 30, (rows, width), generator=g)
    real = torch.arange(width) < torch.tensor(lengths)[:, None]
    special = ~real
    for row, length in enumerate(lengths):
        ids[row, 0], ids[row, length - 1] = 2, 3
        special[row, [0, length - 1]] = True
    return {
        "input_ids": ids * real,
        "attention_mask": real.long(),
        "special_tokens_mask": special.long(),
        "labels": torch.randint(3, (rows,), generator=g),
    }


def _noise(seed: int, batch: dict, size: float = 0.4, dtype: torch.dtype = torch.double) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return size * torch.randn(*batch["input_ids"].shape, 8, generator=g, dtype=dtype)


def _logits(model: nn.Module, ids: Tensor, mask: Tensor, delta: Tensor) -> Tensor:
    embeds = model.get_input_embeddings().weight[ids] + delta
    return model(inputs_embeds=embeds, attention_mask=mask).logits


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(1, labels[:, None]).squeeze(1)


def _slopes(model: nn.Module, batch: dict, delta: Tensor, of=_losses, h: float = 1e-5) -> Tensor:
    """Central differences of each text's `of(logits, labels)` in every coordinate of delta."""
    rows, width, hidden = delta.shape
    steps = h * torch.eye(width * hidden, dtype=delta.dtype).reshape(-1, 1, width, hidden)
    moved = torch.cat([delta + steps, delta - steps]).flatten(0, 1)  # (2 · coordinates · rows, …)
    times = len(moved) // rows
    ids, mask, labels = (
        batch[name].repeat(times, *[1] * (batch[name].dim() - 1))
        for name in ("input_ids", "attention_mask", "labels")
    )
    with torch.no_grad():
        values = of(_logits(model, ids, mask, moved), labels).reshape(2, -1, rows)
    return ((values[0] - values[1]) / (2 * h)).T.reshape(delta.shape)


class _Watched:
    """Everything of a model and its inputs that a call must leave alone."""

    def __init__(self, model: nn.Module, batch: dict, delta: Tensor):
        self.model, self.batch, self.delta = model, batch, delta
        self.inputs = {name: value.clone() for name, value in batch.items()}
        self.push, self.flag = delta.detach().clone(), delta.requires_grad
        self.modes = [module.training for module in model.modules()]
        self.flags = [p.requires_grad for p in model.parameters()]
        self.grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]

    def check(self) -> None:
        expect(list(self.batch) == list(self.inputs),
               "your function changes the batch: an entry was taken out or added",
               yours=list(self.batch), expected=list(self.inputs))  # fmt: skip
        for name, value in self.inputs.items():
            unchanged(value, self.batch[name], name)
        unchanged(self.push, self.delta.detach(), "delta")
        expect(
            self.delta.requires_grad == self.flag,
            "delta.requires_grad was changed: work on a copy, delta.detach()",
            likely="delta.requires_grad_(); meant is delta.detach().requires_grad_()",
        )
        expect(
            self.delta.grad is None,
            "delta.grad was filled",
            likely="backward() in place of torch.autograd.grad, or a missing .detach()",
        )
        expect([m.training for m in self.model.modules()] == self.modes,
               "the mode of the model (training or evaluation) is not what it was before",
               likely="model.eval() or model.train() without going back")  # fmt: skip
        expect([p.requires_grad for p in self.model.parameters()] == self.flags,
               "the parameters' requires_grad is not what it was before")  # fmt: skip
        now = [p.grad for p in self.model.parameters()]
        filled = sum(b is None and n is not None for b, n in zip(self.grads, now, strict=True))
        expect(not filled, f"{filled} of {len(now)} parameters have a .grad now, which the next "
               "optimizer step would use", likely="loss.backward()")  # fmt: skip
        for old, new in zip(self.grads, now, strict=True):
            expect(
                old is None or (new is not None and torch.equal(old, new)),
                "the .grad of parameters that was there before the call is changed or gone",
                likely="zero_grad() or backward(): another loss may have left it there",
            )


# ---------------------------------------------------------------- 02.1


def check_embedding_gradient(answer) -> None:
    for seed, lengths in ((210, (5, 3, 4)), (211, (4,))):
        batch = _batch(seed, lengths)
        _one_gradient(answer, _bert(seed), batch, _noise(seed, batch))
    batch = _batch(212, (3, 6))
    _one_gradient(answer, _bert(212), batch, torch.zeros_like(_noise(212, batch)))
    frozen = _bert(213, torch.float32).requires_grad_(False)
    _one_gradient(answer, frozen, batch, _noise(213, batch, dtype=torch.float32), atol=2e-3)
    training = _bert(214, torch.float32).train()  # with gradients of somebody else
    for parameter in training.parameters():
        parameter.grad = torch.ones_like(parameter)
    delta = _noise(214, batch, dtype=torch.float32).requires_grad_()
    watched = _Watched(training, batch, delta)
    result = answer(training, batch, delta)
    watched.check()
    _is_bare(result, delta, dict(lengths="(3, 6)", mode="training"))


def _is_bare(result, delta: Tensor, given: dict) -> None:
    expect(not isinstance(result, tuple | list), "the result is a tuple, and should be one tensor",
           given=given, likely="torch.autograd.grad returns a tuple; take its entry")  # fmt: skip
    expect(isinstance(result, Tensor), "the result should be a tensor: does the function return "
           "the gradient?", given=given, yours=repr(result))  # fmt: skip
    expect(not result.requires_grad,
           "the gradient still hangs on a graph: in a loop, memory would fill up", given=given,
           likely="create_graph=True, or a gradient that was not detached")  # fmt: skip
    if result.shape == delta.shape:
        expect(
            result.dtype == delta.dtype,
            f"the gradient has type {result.dtype}, delta {delta.dtype}",
            given=given,
        )


def _one_gradient(answer, model, batch, delta, atol: float = 1e-6) -> None:
    given = dict(input_ids=batch["input_ids"], labels=batch["labels"], delta=delta)
    watched = _Watched(model, batch, delta)
    result = answer(model, batch, delta)
    watched.check()
    _is_bare(result, delta, given)
    double = _bert(0)
    double.load_state_dict(model.state_dict())
    delta = delta.double()
    right = _slopes(double, batch, delta)
    mistakes = _gradient_mistakes(double, batch, delta, right)
    expected = right.to(result.dtype)
    try:
        compare(result, expected, given=given, what="the gradient", atol=atol, rtol=1e-3,
                mistakes={name: value for name, value in mistakes.items()
                          if value.shape != right.shape
                          or not torch.allclose(value, right, atol=atol)})  # fmt: skip
    except Wrong as wrong:
        if result.shape == right.shape:
            wrong.picture = _scatter(result.double(), right)
        raise


def _gradient_mistakes(model, batch, delta, right: Tensor) -> dict[str, Tensor]:
    labels = batch["labels"]
    with torch.no_grad():
        said = _logits(model, batch["input_ids"], batch["attention_mask"], delta).argmax(1)
    weight = model.get_input_embeddings().weight
    frozen = weight.requires_grad
    weight.requires_grad_()
    loss = _losses(_logits(model, batch["input_ids"], batch["attention_mask"], delta), labels)
    (table,) = torch.autograd.grad(loss.sum(), weight)
    weight.requires_grad_(frozen)
    real = batch["attention_mask"].bool() & ~batch["special_tokens_mask"].bool()
    lengths = right.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-30)
    unmasked = dict(batch, attention_mask=torch.ones_like(batch["attention_mask"]))
    return {
        "mean instead of sum: the gradient of one text depends on the size of the batch":
            right / len(labels),
        "wrong sign: the attacker climbs": -right,
        "this is the gradient at delta = 0, not at the delta that was given":
            _slopes(model, batch, torch.zeros_like(delta)),
        "this is the gradient of the logits, without the loss":
            _slopes(model, batch, delta, lambda z, y: z.sum(1)),
        "this is the gradient of the logit of the label, without the loss":
            _slopes(model, batch, delta, lambda z, y: z.gather(1, y[:, None])[:, 0]),
        "cross_entropy takes bare logits; after a softmax of your own it is taken twice":
            _slopes(model, batch, delta, lambda z, y: _losses(z.softmax(-1), y)),
        "this is minus the logit of the label: nll_loss wants log-probabilities, and cross_entropy "
        "makes them from logits":
            _slopes(model, batch, delta, lambda z, y: -z.gather(1, y[:, None])[:, 0]),
        "the probability of the label is taken without its logarithm":
            _slopes(model, batch, delta, lambda z, y: -z.softmax(-1).gather(1, y[:, None])[:, 0]),
        "the attention_mask did not reach the model, so the padding is seen":
            _slopes(model, unmasked, delta),
        "the labels of the batch are not used: this is the loss of the predicted class":
            _slopes(model, dict(batch, labels=said), delta),
        "normalised over the whole batch: the bare gradient is asked for": right / right.norm(),
        "normalised per text: the bare gradient is asked for": right / lengths,
        "normalised per token: the bare gradient is asked for":
            right / right.norm(dim=-1, keepdim=True).clamp_min(1e-12),
        "this is its sign: the bare gradient is asked for": right.sign(),
        "masked: the bare gradient on all positions is asked for": right * real[..., None],
        "this is the gradient of the embedding table, (vocabulary, hidden); the one of delta is "
        "asked for": table,
        "summed over the texts: every text has a gradient of its own": right.sum(0),
        "summed over the hidden coordinates": right.sum(-1),
        "this is the length of the gradient on each token": right.norm(dim=-1),
        "delta itself came back": delta,
    }  # fmt: skip


def _scatter(yours: Tensor, expected: Tensor):
    """Yours against expected, an entry per point."""
    with plots.style():
        fig, ax = plots.figure(3.6, 3.2)
        ax.axline((0, 0), slope=1, color="#999999", linewidth=1)
        ax.plot(expected.flatten(), yours.flatten(), "o", color=plots.COLOURS["fgm"], markersize=3)
        ax.set(xlabel="expected (finite differences)", ylabel="yours")
    return fig


# ---------------------------------------------------------------- 02.2


def check_nearest_other(answer) -> None:
    g = torch.Generator().manual_seed(220)
    twins = torch.randn(9, 4, generator=g)
    twins[7] = twins[2]
    cases = (
        (torch.randn(24, 5, generator=g), torch.tensor([0, 5, 17, 20, 23])),  # ids[0] is 0
        (torch.randn(12, 3, generator=g), torch.tensor([7, 3, 11])),
        (torch.randn(6, 2, generator=g), torch.arange(6)),
        (20 + 3 * torch.rand(40, 6, generator=g), torch.arange(39, 0, -2)),  # here cdist rounds
        (twins, torch.tensor([2, 4, 7])),  # both rows of an equal pair
    )
    for table, ids in cases:
        given = dict(table=table, ids=ids)
        copies = table.clone(), ids.clone()
        result = answer(*copies)
        unchanged(table, copies[0], "table")
        unchanged(ids, copies[1], "ids")
        expect(isinstance(result, tuple | list) and len(result) == 2,
               "the function should return two tensors, (distances, neighbours)", given=given,
               yours=repr(result))  # fmt: skip
        distances, neighbours = result
        far = torch.stack([(table.double() - row).norm(dim=1) for row in table[ids].double()])
        own = torch.zeros_like(far, dtype=torch.bool)
        own[range(len(ids)), ids] = True
        others = far.masked_fill(own, torch.inf)
        right = others.amin(1)
        _no_leftovers(distances, right, given)
        mistakes = _distance_mistakes(table.double(), ids, far, own, right)
        compare(distances, right.float(), given=given, what="distances", atol=2e-3, rtol=1e-3,
                mistakes={name: value for name, value in mistakes.items()
                          if value.shape != right.shape
                          or not torch.allclose(value.double(), right, atol=5e-3)})  # fmt: skip
        expect(isinstance(neighbours, Tensor) and neighbours.shape == ids.shape,
               f"neighbours should be a tensor of shape {tuple(ids.shape)}", given=given,
               yours=neighbours)  # fmt: skip
        expect(not neighbours.is_floating_point(),
               f"neighbours should be ids, whole numbers, and has the type {neighbours.dtype}",
               given=given, yours=neighbours)  # fmt: skip
        expect((neighbours != ids).all(), "a word is named as its own neighbour", given=given,
               yours=neighbours, expected=others.argmin(1),
               likely="the second-smallest distance was taken: of two ids with equal rows either "
               "may come first. Leave out entry ids[k] of row k")  # fmt: skip
        places = (neighbours >= 0) & (neighbours < len(table))
        expect(places.all(), "neighbours has ids that are not in the table", given=given,
               yours=neighbours)  # fmt: skip
        there = others[range(len(ids)), neighbours]  # by distance: of two twins either is right
        if not torch.allclose(there, right, atol=2e-3):
            raise Wrong("the distances are right, but neighbours names other rows", given=given,
                        yours=neighbours, expected=others.argmin(1),
                        likely="neighbours are ids in the whole table; a place in a list from "
                        "which the word itself was taken out is shifted by one")  # fmt: skip


def _no_leftovers(distances, right: Tensor, given: dict) -> None:
    """A row's distance from itself is not always 0 in torch.cdist, so `d == 0` misses it."""
    if isinstance(distances, Tensor) and distances.shape == right.shape:
        tiny = (distances > 0) & (distances < 0.05) & (right > 0.1)
        expect(not tiny.any(), "a word's distance from itself came back", given=given,
               yours=distances, expected=right, likely="d == 0 was left out: torch.cdist rounds, "
               "so its distance of a row from itself can be above 0. Leave out by place: entry "
               "ids[k] of row k")  # fmt: skip


def _distance_mistakes(table, ids, far, own, right) -> dict[str, Tensor]:
    unit = table / table.norm(dim=1, keepdim=True)
    among = far[:, ids].masked_fill(torch.eye(len(ids), dtype=torch.bool), torch.inf)
    by_place = far.clone()
    by_place[range(len(ids)), range(len(ids))] = torch.inf
    columns = far.clone()
    columns[:, ids] = torch.inf
    apart = far.masked_fill(far < 1e-6, torch.inf)
    steps = torch.stack([(table - row).abs().sum(1) for row in table[ids]])
    known = {
        "the nearest row is the word itself, at distance 0: leave it out": far.amin(1),
        "this is the squared distance": right**2,
        "this is the farthest row": far.amax(1),
        "only the rows of `ids` were searched; the whole table is asked for": among.amin(1),
        "entry k of row k was left out, and the word itself is entry ids[k] of row k":
            by_place.amin(1),
        "rows at distance 0 were left out: another id with an equal row counts": apart.amin(1),
        "all of `ids` were left out in every row; in row k only ids[k] is the word itself":
            columns.amin(1),
        "this is the distance in the sum of absolute differences (L1), not the Euclidean one":
            steps.masked_fill(own, torch.inf).amin(1),
        "this is one minus the cosine, not the Euclidean distance":
            (1 - unit[ids] @ unit.T).masked_fill(own, torch.inf).amin(1),
        "rows were scaled to length 1 first": (
            torch.stack([(unit - row).norm(dim=1) for row in unit[ids]])
            .masked_fill(own, torch.inf).amin(1)),
        "divided by the mean length of a row: plain distances are asked for":
            right / table.norm(dim=1).mean(),
        "distances and neighbours have changed places":
            far.masked_fill(own, torch.inf).argmin(1),
        "all distances came back; the smallest of each row is asked for": far,
    }  # fmt: skip
    return known


# ---------------------------------------------------------------- 02.3

CAUSES = {1: "E", 2: "G", 3: "K", 4: "F", 5: "D", 6: "C",
          7: "J", 8: "B", 9: "L", 10: "I", 11: "A", 12: "H"}  # fmt: skip

HINTS = {
    1: "the noise is mild and everything is rounded fairly here. What is it that the noise is "
       "given to, and is that a quantity?",
    2: "two operations happen inside to_ids. Section 2 tried both on a tensor with a gradient.",
    3: "no gradient arrives at x. Which line meets that with a shrug, where an error would have "
       "told you?",
    4: "there is no noise here, and still only two tokens are left. Which operation can leave two "
       "whole numbers only?",
    5: "a tenth of epsilon makes ten times the noise. Look for the place where epsilon stands.",
    6: "the noise strikes words, special tokens and padding alike. Where is it decided which "
       "positions it may touch?",
    7: "reading changed the .grad of parameters. Section 3 says which call fills them.",
    8: "softmax looks at the difference of the logits only. Which line looks at each of them "
       "alone?",
    9: "what was served is still tied to the computation that made it. Where does it leave the "
       "class?",
    10: "the network ran once for every text. Which line runs it?",
    11: "the copy answers with old weights. What did it copy that a data set should not have?",
    12: "asked twice, the network answers differently: something random is switched on in it, by "
        "reading an item. Section 3 speaks of the mode.",
}  # fmt: skip


def check_diagnosis(answer) -> None:
    said = answer()
    expect(isinstance(said, Mapping),
           "diagnosis() should return a dictionary, experiment number -> letter",
           yours=repr(said))  # fmt: skip
    numbers = set(CAUSES)
    expect(not any(isinstance(key, str) for key in said),
           "the keys are the numbers of the experiments, 1 to 12, and not strings",
           yours=said)  # fmt: skip
    missing, extra = sorted(numbers - set(said)), sorted(set(said) - numbers, key=str)
    expect(not extra, f"there is no experiment {extra}: the keys go from 1 to 12", yours=said)
    letters = {}
    for key, value in said.items():
        fits = isinstance(value, str) and value.strip().upper() in CAUSES.values()
        expect(fits, f"experiment {key}: a letter from A to L is asked for, not {value!r}")
        letters[key] = value.strip().upper()
    hits = sum(CAUSES[key] == value for key, value in letters.items())
    score = f"{hits} of 12 are right"
    expect(not missing, f"{score}; still missing: experiments {missing}")
    wrong = [key for key in sorted(letters) if letters[key] != CAUSES[key]]
    if not wrong:
        return
    twice = sorted(v for v in set(letters.values()) if list(letters.values()).count(v) > 1)
    again = f" (each letter occurs once; you have {', '.join(twice)} more than once)"
    raise Wrong(f"{score}{again if twice else ''}. Look at experiment {wrong[0]} again",
                yours=letters, likely=f"in experiment {wrong[0]}, {HINTS[wrong[0]]}")  # fmt: skip


# ---------------------------------------------------------------- 02.4


@cache
def _tokenizers() -> tuple:
    """The embedded one, and a small one whose special tokens have other names and ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    words = ["the", "tea", "was", "cold", "and", "good"]
    vocabulary = {word: i for i, word in enumerate([*words, "<s>", "</s>", "<pad>", "<unk>"])}
    small = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    small.pre_tokenizer = pre_tokenizers.Whitespace()
    small.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 6), ("</s>", 7)]
    )
    other = PreTrainedTokenizerFast(
        tokenizer_object=small, bos_token="<s>", eos_token="</s>", cls_token="<s>",
        sep_token="</s>", pad_token="<pad>", unk_token="<unk>",
    )  # fmt: skip
    return AutoTokenizer.from_pretrained(CHECKPOINTS / "reviews-clean"), other


def check_text_dataset(answer) -> None:
    from transformers import DataCollatorWithPadding

    cases = (
        (["The soup was delicious.", "Bad.", "I loved the room, and the staff was kind."],
         [1, 0, 1], 64),
        (["the tea was cold and good and the tea was good", "good tea", "tea"], [2, 0, 1], 7),
        (["the tea", "the tea was cold and good", "cold", "good tea"],
         np.array([0, 1, 1, 0]), 5),
    )  # fmt: skip
    for tokenizer in _tokenizers():
        for texts, labels, most in cases:
            _one_dataset(answer, DataCollatorWithPadding(tokenizer), texts, labels, most)
    expect(isinstance(answer, type), "TextDataset should be a class", yours=repr(answer))


def _one_dataset(answer, collate, texts: list, labels: list | np.ndarray, most: int) -> None:
    tokenizer = collate.tokenizer
    given = dict(texts=texts, labels=labels, max_length=most)
    copies = texts.copy(), labels.copy()
    made = answer(*copies, tokenizer, most)
    expect(len(made) == len(texts), f"len() of the data set is {len(made)}, and there are "
           f"{len(texts)} texts", given=given)  # fmt: skip
    items = [made[i] for i in range(len(texts))]
    for before, now, name in zip((texts, labels), copies, ("texts", "labels"), strict=True):
        expect(list(before) == list(now),
               f"your class changes its input `{name}` in place; work on a copy",
               yours=now, expected=before)  # fmt: skip
    for i, item in enumerate(items):
        _one_item(item, tokenizer, texts[i], int(labels[i]), most, dict(given, item=i))
    again = [made[i] for i in range(len(texts))]
    expect([dict(a) for a in again] == [dict(b) for b in items],
           "reading an item twice gives two different things: a data set is not the place for "
           "noise", given=given)  # fmt: skip
    state = getattr(made, "__dict__", {})
    models = [name for name, value in state.items() if isinstance(value, nn.Module)]
    expect(not models, f"the data set keeps a model, in {models}: in a worker it would be a copy "
           "that does not learn", given=given)  # fmt: skip
    try:
        ForkingPickler.dumps(state)
    except Exception as error:  # many kinds, all with one meaning
        raise Wrong("what the data set keeps cannot be pickled, so no worker can have it",
                    given=given, yours=str(error), likely="a lambda, a generator or an open file "
                    "in an attribute") from error  # fmt: skip
    batch = collate(items)
    width = max(len(item["input_ids"]) for item in items)
    for name in ("input_ids", "attention_mask", "special_tokens_mask"):
        expect(tuple(batch[name].shape) == (len(texts), width),
               f"collated, {name} has shape {tuple(batch[name].shape)}, expected "
               f"{(len(texts), width)}", given=given)  # fmt: skip
    hidden = batch["attention_mask"] == 0
    expect((batch["special_tokens_mask"][hidden] == 1).all(),
           "collated, special_tokens_mask is not 1 on padding", given=given)  # fmt: skip
    expect(batch["labels"].tolist() == list(labels) and batch["labels"].dtype == torch.long,
           "collated, the labels are not what was given", given=given,
           yours=batch["labels"], expected=labels)  # fmt: skip


def _one_item(item, tokenizer, text: str, label: int, most: int, given: dict) -> None:
    expect(item is not None, "the item is None: does __getitem__ return it?", given=given)
    expect(isinstance(item, Mapping), "an item should be a dictionary", given=given,
           yours=repr(item))  # fmt: skip
    item = dict(item)
    whole = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    inner = whole[: most - 2]
    ids = [tokenizer.cls_token_id, *inner, tokenizer.sep_token_id]
    wanted = {
        "input_ids": ids,
        "attention_mask": [1] * len(ids),
        "special_tokens_mask": [1, *[0] * len(inner), 1],
    }
    for name in (*wanted, "labels"):
        near = {"labels": "it is called labels, with an s: `label` is another name",
                "special_tokens_mask": "return_special_tokens_mask=True"}.get(name)  # fmt: skip
        expect(name in item, f"the item has no {name!r}", given=given, yours=list(item),
               likely=near)  # fmt: skip
    extra = sorted(set(item) - {*wanted, "labels", *tokenizer.model_input_names})
    expect(not extra, f"the item has {extra}, which a model would not understand", given=given)
    for name, right in wanted.items():
        value = item[name]
        detail = dict(given=given, yours=show(value), expected=right)
        expect(isinstance(value, list),
               f"{name} should be a plain list, not {type(value).__name__}",
               likely='return_tensors="pt": the collator makes the tensors', **detail)  # fmt: skip
        expect(
            not (value and isinstance(value[0], list)),
            f"{name} is a list in a list: one text was tokenized as a batch of one",
            **detail,
        )
        if value == right:
            continue
        likely, cut = None, most < len(whole) + 2
        if len(value) > len(right) and cut:
            likely = f"the text is not cut to {most} tokens: truncation=True and max_length"
        elif len(value) > len(right):
            likely = "padding: an item is as long as its text, the collator pads"
        elif value == [tokenizer.cls_token_id, *whole][:most]:
            likely = ("cut after the special tokens were put in, so that the one at the end is "
                      "gone: let the tokenizer cut, truncation=True")  # fmt: skip
        elif name == "input_ids" and value in (inner, whole):
            likely = "the special tokens are missing"
        elif _unknown_as_special(name, value, right, ids, tokenizer):
            likely = ("an unknown word counts as special here, and was still written by somebody: "
                      "return_special_tokens_mask=True says 0 there")  # fmt: skip
        elif len(value) < len(right):
            likely = "cut too short: max_length counts the special tokens too"
        if name != "input_ids":
            detail["given"] = dict(given, tokens=tokenizer.convert_ids_to_tokens(ids))
        raise Wrong(f"{name} is not as expected", likely=likely, **detail)
    value = item["labels"]
    whole_number = isinstance(value, np.integer) or (
        isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point()
    )
    expect(not whole_number, f"labels should be a plain int, not {type(value).__name__}",
           given=given, yours=repr(value), expected=label, likely="use int(...)")  # fmt: skip
    expect(isinstance(value, int) and not isinstance(value, bool),
           f"labels should be an int, not {type(value).__name__}: cross-entropy takes class "
           "numbers", given=given, yours=repr(value), expected=label,
           likely="one-hot or float labels belong to another loss")  # fmt: skip
    expect(value == label, "labels is not the label of this text", given=given, yours=value,
           expected=label)  # fmt: skip


def _unknown_as_special(name: str, value, right: list, ids: list, tokenizer) -> bool:
    """Does the mask differ at unknown words, and nowhere else?"""
    return name == "special_tokens_mask" and value == [
        1 if i == tokenizer.unk_token_id else mask for i, mask in zip(ids, right, strict=True)
    ]


# ---------------------------------------------------------------- 02.5


def check_adversarial_loss(answer) -> None:
    for seed, lengths, flag in ((250, (5, 3, 6), True), (251, (4,), False), (252, (3, 7), True)):
        model, batch = _bert(seed), _batch(seed, lengths)
        delta = _noise(seed, batch, 0.6).requires_grad_(flag)
        given = dict({k: batch[k] for k in ("input_ids", "special_tokens_mask", "labels")},
                     delta=delta)  # fmt: skip
        watched = _Watched(model, batch, delta)
        value = answer(model, batch, delta)
        watched.check()
        right = _adversarial(model, batch, delta)
        _compare_loss(value, right.detach(), model, batch, delta.detach(), given)
        expect(value.requires_grad, "no gradient flows from the loss to the parameters",
               given=given, likely=".item(), .detach() or torch.no_grad() on the way")  # fmt: skip
        value.backward()
        expect(delta.grad is None, "a gradient flows to delta: it must be detached in here, as a "
               "fixed push", given=given, likely="delta.detach() is missing")  # fmt: skip
        mine = {name: p.grad for name, p in model.named_parameters()}
        model.zero_grad()
        right.backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is None or not parameter.grad.any():
                continue
            expect(mine[name] is not None, f"no gradient reaches {name}", given=given,
                   likely="part of the network is detached")  # fmt: skip
            compare(mine[name], parameter.grad, given=given, atol=1e-6, rtol=1e-4,
                    what=f"the gradient of your loss with respect to {name}")  # fmt: skip
    _in_training(answer)


def _in_training(answer) -> None:
    """A model in training mode, with gradients of somebody else: mode, dropout and .grad stay."""
    model, batch = _bert(253).train(), _batch(253, (4, 6))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    delta = _noise(253, batch)
    watched, values = _Watched(model, batch, delta), []
    with torch.random.fork_rng([]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            values.append(answer(model, batch, delta).item())
    watched.check()
    expect(values[0] != values[1], "the model is in training mode, and dropout is off: the mode is "
           "the caller's business", given=dict(mode="training"), yours=values,
           likely="model.eval() inside")  # fmt: skip


def _adversarial(model: nn.Module, batch: dict, delta: Tensor, allowed=None, seen=None) -> Tensor:
    """allowed: the mask of delta; seen: the mask that the model gets, if not the right ones."""
    if allowed is None:
        allowed = (batch["attention_mask"] == 1) & (batch["special_tokens_mask"] == 0)
    fixed = torch.where(allowed[..., None], delta.detach(), 0)
    seen = batch["attention_mask"] if seen is None else seen
    logits = _logits(model, batch["input_ids"], seen, fixed)
    return _losses(logits, batch["labels"]).mean()


def _compare_loss(value, right: Tensor, model, batch, delta, given: dict) -> None:
    words = (batch["attention_mask"] == 1) & (batch["special_tokens_mask"] == 0)
    every = torch.ones_like(words)
    inner = every.clone()
    inner[:, [0, -1]] = False
    with torch.no_grad():
        own = torch.where(words[..., None], delta, 0)
        per_text = (delta.flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1))[:, None, None]
        logits = _logits(model, batch["input_ids"], batch["attention_mask"], own)
        each = _losses(logits, batch["labels"])
        mistakes = {
            "the special tokens are moved too: the mask of the attackable tokens is missing":
                _adversarial(model, batch, delta, every),
            "the mask is the wrong way round: it moves the special tokens and not the words":
                _adversarial(model, batch, delta, ~words),
            "zeroed by position: the last token of a short text, [SEP], is not in the last place "
            "where there is padding": _adversarial(model, batch, delta, inner),
            "delta was stretched after the mask, to the length that it had before":
                _adversarial(model, batch, delta * delta.norm() / own.norm()),
            "delta was stretched after the mask, to the length that it had before in each text":
                _adversarial(model, batch, delta * per_text),
            "the model got the mask of the attackable tokens as attention_mask: it must still see "
            "[CLS] and [SEP]": _adversarial(model, batch, delta, seen=words.long()),
            "the attention_mask did not reach the model, so the padding is seen":
                _adversarial(model, batch, delta, seen=every.long()),
            "delta has no effect: this is the clean loss": _adversarial(model, batch, 0 * delta),
            "delta is subtracted": _adversarial(model, batch, -delta),
            "sum instead of mean over the texts": each.sum(),
            "the mean over the texts is missing": each,
            "wrong sign: this loss is to be minimised": -each.mean(),
            "the clean loss is added: L_adv alone is asked for":
                each.mean() + _adversarial(model, batch, 0 * delta),
            "the labels of the batch are not used": _losses(logits, logits.argmax(1)).mean(),
            "these are the logits, without the loss": logits,
        }  # fmt: skip
    if isinstance(value, float):
        raise Wrong("the loss is a number: no gradient flows from it to the parameters",
                    given=given, likely=".item() or float()")  # fmt: skip
    compare(value, right, given=given, what="the loss", atol=1e-6, rtol=1e-5,
            mistakes={name: v for name, v in mistakes.items()
                      if v.shape != () or not torch.isclose(v, right, atol=1e-5)})  # fmt: skip


# ---------------------------------------------------------------- the course's own versions


def embedding_gradient(model: nn.Module, batch: Mapping[str, Tensor], delta: Tensor) -> Tensor:
    """The gradient with respect to delta of the sum of the batch's cross-entropies, at delta.

    delta: (batch, tokens, hidden), added to the token embeddings. Returns the same shape, detached.
    The model, its `.grad` fields and delta stay as they are. No mask is applied.
    """
    pushed = delta.detach().requires_grad_()
    logits = perturbed_logits(model, batch, pushed)
    loss = cross_entropy(logits, batch["labels"], reduction="sum")
    (grad,) = torch.autograd.grad(loss, pushed)
    return grad


def nearest_other(table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """For each id (m,): the distance (m,) to the nearest row of another id, and that id (m,)."""
    distances = torch.cdist(table[ids], table)
    distances[torch.arange(len(ids)), ids] = torch.inf
    nearest = distances.min(dim=1)
    return nearest.values, nearest.indices


def diagnosis() -> dict[int, str]:
    """Number of the experiment -> letter of the line that causes its symptom."""
    return {1: "E", 2: "G", 3: "K", 4: "F", 5: "D", 6: "C",
            7: "J", 8: "B", 9: "L", 10: "I", 11: "A", 12: "H"}


class TextDataset(Dataset):
    """Tokenized texts with their labels; no model, no padding, nothing random.

    Item i: `input_ids`, `attention_mask`, `special_tokens_mask` (lists of ints) and `labels` (int).
    """

    def __init__(self, texts, labels, tokenizer, max_length: int):
        self.texts, self.labels = list(texts), list(labels)
        self.tokenizer, self.max_length = tokenizer, max_length

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, i: int) -> dict:
        item = self.tokenizer(self.texts[i], truncation=True, max_length=self.max_length,
                              return_special_tokens_mask=True)  # fmt: skip
        return {**item, "labels": int(self.labels[i])}


def adversarial_loss(model: nn.Module, batch: Mapping[str, Tensor], delta: Tensor) -> Tensor:
    """The mean cross-entropy (a scalar) with delta, (batch, tokens, hidden), held fixed, on the
    attackable tokens of the batch and on no others."""
    fixed = delta.detach() * attackable(batch)[..., None]
    logits = perturbed_logits(model, batch, fixed)
    return cross_entropy(logits, batch["labels"])


EXERCISES: dict[str, Exercise] = {
    "02.1": Exercise("the gradient on the embeddings", check_embedding_gradient,
                     embedding_gradient),
    "02.2": Exercise("the nearest other word", check_nearest_other, nearest_other),
    "02.3": Exercise("diagnosis", check_diagnosis, diagnosis),
    "02.4": Exercise("a data set that only knows data", check_text_dataset, TextDataset),
    "02.5": Exercise("the adversarial loss", check_adversarial_loss, adversarial_loss),
}  # fmt: skip
