"""Checks of lesson 02, text has no gradient.

The specification: gradients are central finite differences, in double precision, of a small BERT
that gets its embeddings as `inputs_embeds` (and not through a hook); nearest rows are found one by
one; items of a data set are put together from the tokenizer's pieces by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
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
from course.checking import (
    Exercise,
    Wrong,
    call,
    compare,
    expect,
    remembered,
    seeded,
    show,
    small_bert,
    specified,
    used,
)

# ---------------------------------------------------------------- a small model, and its batch


def _problem(seed: int, lengths: tuple[int, ...], size: float = 0.4, dropout: float = 0.0) -> dict:
    """A model with three classes, texts of these lengths, and a delta on all positions."""
    labels = [(seed + i) % 3 for i in range(len(lengths))]
    model, batch = small_bert(seed, labels, lengths, classes=3, dropout=dropout)
    g = torch.Generator().manual_seed(seeded(seed))
    delta = size * torch.randn(*batch["input_ids"].shape, 6, generator=g, dtype=torch.double)
    return dict(model=model, batch=batch, delta=delta)


def _lent(seed: int, lengths: tuple[int, ...], **settings) -> dict:
    """As somebody else uses it: a model with `used`, and a delta with a flag and a `.grad`."""
    problem = _problem(seed, lengths, **settings)
    used(problem["model"])
    problem["delta"].requires_grad_().grad = torch.ones_like(problem["delta"])
    return problem


def _on_bert(answer, problems: list[dict], right: Callable, mistaken: Callable,
             same_mode: bool = False, **settings) -> None:  # fmt: skip
    """`specified`, from right(**problem) and mistaken(**problem), a value for each sentence."""
    expected = cache(lambda k: right(**problems[k]))
    mistakes = cache(lambda k: mistaken(**problems[k]))

    def one(k: int):
        result = call(answer, **problems[k], same_mode=same_mode)
        hooks = [m._forward_hooks or m._forward_pre_hooks for m in problems[k]["model"].modules()]
        expect(not any(hooks), "your function leaves a hook on the model: every later pass would "
               "be moved, too", likely="`with shifted(…)`, or .remove() on the handle")  # fmt: skip
        return result

    try:
        specified(one, [dict(k=k) for k in range(len(problems))],
                  lambda k, says=None: mistakes(k)[says] if says else expected(k),
                  {name: dict(says=name) for name in mistakes(0)}, **settings)  # fmt: skip
    except Wrong as wrong:
        if wrong.given:
            model, batch, delta = problems[wrong.given["k"]].values()
            wrong.given = dict(batch, delta=delta, mode="training" if model.training else "eval")
        raise


def _logits(model: nn.Module, ids: Tensor, mask: Tensor, delta: Tensor) -> Tensor:
    embeds = model.get_input_embeddings().weight[ids] + delta
    return model(inputs_embeds=embeds, attention_mask=mask).logits


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return -logits.log_softmax(-1).gather(1, labels[:, None]).squeeze(1)


@remembered
def _slopes(model: nn.Module, batch: dict, delta: Tensor, of=_losses, h: float = 1e-5) -> Tensor:
    """Central differences of each text's `of(logits, labels)` in every coordinate of delta."""
    model, delta = deepcopy(model).double(), delta.detach().double()
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


# ---------------------------------------------------------------- 02.1


def check_embedding_gradient(answer) -> None:
    def bare(model, batch, delta):
        result = answer(model, batch, delta)
        expect(not isinstance(result, tuple | list), "the result is a tuple, and should be one "
               "tensor", likely="torch.autograd.grad returns a tuple; take its entry")  # fmt: skip
        if isinstance(result, Tensor):
            expect(not result.requires_grad, "the gradient still hangs on a graph: in a loop, "
                   "memory would fill up",
                   likely="create_graph=True, or a gradient that was not detached")  # fmt: skip
            expect(result.shape != delta.shape or result.dtype == delta.dtype,
                   f"the gradient has type {result.dtype}, delta {delta.dtype}")  # fmt: skip
        return result

    frozen, still, single = (_problem(seed, (3, 6)) for seed in (212, 213, 214))
    frozen["model"].requires_grad_(False)
    still["delta"] *= 0
    single |= dict(model=single["model"].float(), delta=single["delta"].float())
    for problems, atol in (([_problem(210, (5, 3, 4)), _problem(211, (4,)), still], 1e-6),
                           ([_lent(215, (6, 3)), frozen], 1e-6), ([single], 2e-3)):  # fmt: skip
        _on_bert(bare, problems, _slopes, _gradient_mistakes, what="the gradient",
                 picture=_scatter, atol=atol, rtol=1e-3)  # fmt: skip


@remembered
def _gradient_mistakes(model: nn.Module, batch: dict, delta: Tensor) -> dict[str, Tensor]:
    right = _slopes(model, batch, delta)
    model, delta = deepcopy(model).double().requires_grad_(), delta.detach().double()
    labels, weight = batch["labels"], model.get_input_embeddings().weight
    logits = _logits(model, batch["input_ids"], batch["attention_mask"], delta)
    said = logits.argmax(1)
    (table,) = torch.autograd.grad(_losses(logits, labels).sum(), weight)
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


def _scatter(yours, expected: Tensor, _given):
    """Yours against expected, an entry per point; None where shapes differ."""
    if not isinstance(yours, Tensor) or yours.shape != expected.shape:
        return None
    with plots.style():
        fig, ax = plots.figure(3.6, 3.2)
        ax.axline((0, 0), slope=1, color="#999999", linewidth=1)
        ax.plot(expected.flatten(), yours.detach().flatten(), "o", color=plots.COLOURS["fgm"],
                markersize=3)  # fmt: skip
        ax.set(xlabel="expected (finite differences)", ylabel="yours")
    return fig


# ---------------------------------------------------------------- 02.2


def check_nearest_other(answer) -> None:
    g = torch.Generator().manual_seed(seeded(220))
    twins = torch.randn(9, 4, generator=g)
    twins[7] = twins[2]
    problems = [dict(table=table, ids=torch.tensor(ids)) for table, ids in (
        (torch.randn(24, 5, generator=g), [0, 5, 17, 20, 23]),  # ids[0] is 0
        (torch.randn(12, 3, generator=g), [7, 3, 11, 7]),
        (torch.randn(8, 3, generator=g), [5]),
        (torch.randn(6, 2, generator=g), [0, 1, 2, 3, 4, 5]),
        (20 + 3 * torch.rand(40, 6, generator=g), list(range(39, 0, -2))),  # here cdist rounds
        (twins, [2, 3, 4, 7]),  # both rows of an equal pair
    )]  # fmt: skip

    def distances(table, ids):
        result = answer(table, ids)
        expect(isinstance(result, tuple | list) and len(result) == 2, "the function should return "
               "two tensors, (distances, neighbours)", yours=repr(result))  # fmt: skip
        return result[0]

    for group, known in ((problems[:4], DISTANCES), (problems[4:5], ROUNDED),
                         (problems[5:], DISTANCES)):  # fmt: skip
        specified(distances, group, _nearest, {name: dict(by=f) for name, f in known.items()},
                  what="distances", atol=2e-3, rtol=1e-3)  # fmt: skip
    for given in problems:
        table, ids = given.values()
        far = _far(table, ids)
        neighbours = answer(table, ids)[1]
        details = dict(given=given, yours=neighbours, expected=far.argmin(1))
        expect(isinstance(neighbours, Tensor) and neighbours.shape == ids.shape,
               f"neighbours should be a tensor of shape {tuple(ids.shape)}", **details)  # fmt: skip
        whole = not (neighbours.is_floating_point() or neighbours.dtype == torch.bool)
        expect(whole, f"neighbours should be ids, whole numbers, and has the type "
               f"{neighbours.dtype}", **details)  # fmt: skip
        own = neighbours == ids
        expect(not own.any(), "a word is named as its own neighbour", likely=None
               if far.amin(1)[own].any() else "the second-smallest distance was taken: of two ids "
               "with equal rows either may come first. Leave out entry ids[k] of row k",
               **details)  # fmt: skip
        expect(((neighbours >= 0) & (neighbours < len(table))).all(),
               "neighbours has ids that are not in the table", **details)  # fmt: skip
        there = far[range(len(ids)), neighbours]  # by distance: of two twins either is right
        shifted = neighbours + (neighbours >= ids).long()
        expect(torch.allclose(there, far.amin(1), atol=2e-3), "the distances are right, but "
               "neighbours names other rows", likely="neighbours are ids in the whole table; a "
               "place in a list from which the word itself was taken out is shifted by one"
               if torch.equal(shifted, far.argmin(1)) else None, **details)  # fmt: skip


def _far(table: Tensor, ids: Tensor, out: float = torch.inf) -> Tensor:
    """Distances from the rows of ids, one by one; out: what stands for a word's own."""
    far = torch.stack([(table.double() - row).norm(dim=1) for row in table[ids].double()])
    far[range(len(ids)), ids] = out
    return far


def _nearest(table: Tensor, ids: Tensor, by: Callable | None = None) -> Tensor:
    return by(table, ids) if by else _far(table, ids).amin(1)


def _without(far: Tensor, *places) -> Tensor:
    far[places] = torch.inf
    return far.amin(1)


def _unit(table: Tensor) -> Tensor:
    return table.double() / table.double().norm(dim=1, keepdim=True)


# A mistake, and the distances that it gives.
DISTANCES = {
    "the nearest row is the word itself, at distance 0: leave it out":
        lambda t, i: 0 * _far(t, i).amin(1),
    "this is the squared distance": lambda t, i: _far(t, i).amin(1) ** 2,
    "this is the farthest row": lambda t, i: _far(t, i, 0).amax(1),
    "only the rows of `ids` were searched; the whole table is asked for":
        lambda t, i: _without(_far(t, i, 0)[:, i], range(len(i)), range(len(i))),
    "entry k of row k was left out, and the word itself is entry ids[k] of row k":
        lambda t, i: _without(_far(t, i, 0), range(len(i)), range(len(i))),
    "rows at distance 0 were left out: another id with an equal row counts":
        lambda t, i: _far(t, i).where(_far(t, i) > 1e-6, torch.inf).amin(1),
    "all of `ids` were left out in every row; in row k only ids[k] is the word itself":
        lambda t, i: _without(_far(t, i), slice(None), i),
    "this is the distance in the sum of absolute differences (L1), not the Euclidean one":
        lambda t, i: _without(torch.cdist(t[i], t, p=1), range(len(i)), i),
    "this is one minus the cosine, not the Euclidean distance":
        lambda t, i: _without(1 - _unit(t)[i] @ _unit(t).T, range(len(i)), i),
    "rows were scaled to length 1 first": lambda t, i: _far(_unit(t), i).amin(1),
    "divided by the mean length of a row: plain distances are asked for":
        lambda t, i: _far(t, i).amin(1) / t.norm(dim=1).mean(),
    "distances and neighbours have changed places": lambda t, i: _far(t, i).argmin(1),
    "all distances came back; the smallest of each row is asked for": lambda t, i: _far(t, i, 0),
}  # fmt: skip


ROUNDED = {
    "d == 0 was left out: torch.cdist rounds, so its distance of a row from itself can be above 0. "
    "Leave out by place: entry ids[k] of row k":
        lambda t, i: torch.where((d := torch.cdist(t[i], t)) > 0, d, torch.inf).amin(1),
}  # fmt: skip


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
    cases = (
        (["The soup was delicious.", "Bad.", "I loved the room, and the staff was kind."],
         [1, 0, 1], 64),
        (["the tea was cold and good and the tea was good", "good tea", "tea"], [2, 0, 1], 7),
        (["the tea", "the tea was cold and good", "cold", "good tea", "", "cold"],
         np.array([0, 1, 1, 0, 1, 0]), 5),
    )  # fmt: skip
    for tokenizer in _tokenizers():
        for texts, labels, most in cases:
            _one_dataset(answer, tokenizer, texts, labels, most)
    expect(isinstance(answer, type), "TextDataset should be a class", yours=repr(answer))


OTHER = 3  # max_length of a data set that is made beside the one that is looked at


def _one_dataset(answer, tokenizer, texts: list, labels: list | np.ndarray, most: int) -> None:
    given = dict(texts=texts, labels=labels, max_length=most)
    copies = texts.copy(), labels.copy()
    made = answer(*copies, tokenizer, most)
    answer(["good soup"], [1], tokenizer, OTHER)
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


def _one_item(item, tokenizer, text: str, label: int, most: int, given: dict) -> None:
    expect(item is not None, "the item is None: does __getitem__ return it?", given=given)
    expect(isinstance(item, Mapping), "an item should be a dictionary", given=given,
           yours=repr(item))  # fmt: skip
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    whole = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text))
    inner = whole[: most - 2]
    ids = [first, *inner, last]
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
    known = (  # token ids, and the mistake that gives them
        ([first, *whole, last], f"the text is not cut to {most} tokens: truncation=True and "
         "max_length"),
        ([first, *whole][:most], "cut after the special tokens were put in, so that the one "
         "at the end is gone: let the tokenizer cut, truncation=True"),
        (inner, "the special tokens are missing"),
        (whole, "the special tokens are missing"),
        ([first, *whole[: most - 4], last], "cut too short: max_length counts the special tokens, "
         "but only once"),
        ([first, *whole[: OTHER - 2], last], "the max_length of another data set, made later, is "
         "used: keep it in self"),
    )  # fmt: skip
    for name, right in wanted.items():
        value = item[name]
        detail = dict(given=given, yours=show(value), expected=right)
        expect(isinstance(value, list),
               f"{name} should be a plain list, not {type(value).__name__}",
               likely='return_tensors="pt": the collator makes the tensors', **detail)  # fmt: skip
        expect(not (value and isinstance(value[0], list)), f"{name} is a list in a list: one text "
               "was tokenized as a batch of one", **detail)  # fmt: skip
        likely = next((why for other, why in known if value == other), None)
        if value[: len(right)] == right and {*value[len(right) :]} <= {tokenizer.pad_token_id}:
            likely = "padding: an item is as long as its text, the collator pads"
        if name != "input_ids":
            detail["given"] = dict(given, tokens=tokenizer.convert_ids_to_tokens(ids))
            unknown = [1 if i == tokenizer.unk_token_id else mask
                       for i, mask in zip(ids, right, strict=True)]  # fmt: skip
            likely = ("an unknown word counts as special here, and was still written by somebody: "
                      "return_special_tokens_mask=True says 0 there"
                      if name == "special_tokens_mask" and value == unknown else None)  # fmt: skip
        expect(value == right, f"{name} is not as expected", likely=likely, **detail)
    for name in set(item) - {*wanted, "labels"}:
        expect(isinstance(item[name], list) and len(item[name]) == len(ids),
               f"{name} is not a list as long as input_ids", given=given, yours=show(item[name]))
    value = item["labels"]
    plain = isinstance(value, int) and not isinstance(value, bool)
    whole_number = isinstance(value, np.integer) or (
        isinstance(value, Tensor) and value.dim() == 0 and not value.is_floating_point()
    )
    expect(plain, f"labels should be a plain int, not {type(value).__name__}: cross-entropy takes "
           "class numbers, neither one-hot nor float labels", given=given, yours=repr(value),
           expected=label, likely="use int(...)" if whole_number else None)  # fmt: skip
    expect(value == label, "labels is not the label of this text", given=given, yours=value,
           expected=label)  # fmt: skip


# ---------------------------------------------------------------- 02.5


def check_adversarial_loss(answer) -> None:
    def loss(model, batch, delta):
        value = answer(model, batch, delta)
        expect(not isinstance(value, float), "the loss is a number: no gradient flows from it to "
               "the parameters", likely=".item() or float()")  # fmt: skip
        return value

    problems = [_problem(250, (5, 3, 6), 0.6), _problem(251, (4,), 0.6), _lent(252, (3, 7), size=2)]
    _on_bert(loss, problems, _adversarial, _loss_mistakes, same_mode=True, what="the loss",
             atol=1e-6, rtol=1e-5)  # fmt: skip
    for problem in (_problem(254, (5, 3, 6)), _problem(255, (4,))):
        model, batch, delta = problem.values()
        inputs = {"delta": delta.requires_grad_(), **dict(model.named_parameters())}
        each = []
        for value in (answer(model, batch, delta), _adversarial(model, batch, delta)):
            expect(value.requires_grad, "no gradient flows from the loss to the parameters",
                   likely=".item(), .detach() or torch.no_grad() on the way")  # fmt: skip
            each.append(torch.autograd.grad(value, inputs.values(), allow_unused=True))
        for name, mine, right in zip(inputs, *each, strict=True):
            if name == "delta":
                expect(mine is None, "a gradient flows to delta: it must be detached in here, as a "
                       "fixed push", likely="delta.detach() is missing")  # fmt: skip
            elif right is not None and right.any():
                expect(mine is not None, f"no gradient reaches {name}",
                       likely="part of the network is detached")  # fmt: skip
                compare(mine, right, what=f"the gradient of your loss with respect to {name}",
                        given=dict(batch, delta=delta), atol=1e-6)  # fmt: skip
    values, random = [], _lent(253, (4, 6), dropout=0.1)
    with torch.random.fork_rng([]):
        for seed in (1, 2):
            torch.manual_seed(seed)
            values.append(call(answer, **random, same_mode=True).item())
    expect(values[0] != values[1], "the model is in training mode, and dropout is off: the mode is "
           "the caller's business", yours=values)  # fmt: skip


def _adversarial(model: nn.Module, batch: dict, delta: Tensor, allowed=None, seen=None) -> Tensor:
    """allowed: the mask of delta; seen: the mask that the model gets, if not the right ones."""
    if allowed is None:
        allowed = (batch["attention_mask"] == 1) & (batch["special_tokens_mask"] == 0)
    fixed = torch.where(allowed[..., None], delta.detach(), 0)
    seen = batch["attention_mask"] if seen is None else seen
    logits = _logits(model, batch["input_ids"], seen, fixed)
    return _losses(logits, batch["labels"]).mean()


def _loss_mistakes(model: nn.Module, batch: dict, delta: Tensor) -> dict[str, Tensor]:
    delta = delta.detach()
    words = (batch["attention_mask"] == 1) & (batch["special_tokens_mask"] == 0)
    every = torch.ones_like(words)
    inner = every.clone()
    inner[:, [0, -1]] = False
    with torch.no_grad():
        own = torch.where(words[..., None], delta, 0)
        per_text = (delta.flatten(1).norm(dim=1) / own.flatten(1).norm(dim=1))[:, None, None]
        logits = _logits(model, batch["input_ids"], batch["attention_mask"], own)
        each = _losses(logits, batch["labels"])
        return {
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
