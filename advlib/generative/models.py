"""A language model that writes, with its tokenizer; and δ inside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from advlib.corpora.engine import Text, parts_of
from advlib.embeddings import attack_mode, embedding_layer, embedding_table, mean_norm
from advlib.hub import no_waiting
from advlib.models import ModelError, _check_vocabulary, _locate, _why, quiet

Batch = dict[str, Tensor]  # input_ids, attention_mask, labels, prompt, suffix; (batch, tokens)


@dataclass
class Generator:
    """A causal language model with its tokenizer. Where the tokenizer has a chat template, a prompt
    is what the user says in it; else it is read as it stands, with the tokenizer's own marks."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase

    def __post_init__(self):
        if not self.tokenizer.is_fast:
            raise ModelError(f"{type(self.tokenizer).__name__} is no fast tokenizer, so nobody can "
                             "tell which tokens are the prompt's")  # fmt: skip

    @property
    def device(self) -> torch.device:
        return embedding_layer(self.model).weight.device

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer."""
        own = getattr(self.model.generation_config, "eos_token_id", None)
        own = self.tokenizer.eos_token_id if own is None else own
        return [] if own is None else [own] if isinstance(own, int) else list(own)

    def framed(self, prompts: Sequence[Text]) -> list[dict[str, list]]:
        """Of each prompt the tokens as the model sees them, `ids`, and which of them are the
        `prompt`'s and the `suffix`'s own, True or False."""
        plain, texts, out = self._read(prompts, offsets=True)
        found = []
        for i, (prompt, text) in enumerate(zip(prompts, plain, strict=True)):
            begin = texts[i].rfind(text)
            end = begin + len(text)
            second = end if isinstance(prompt, str) else begin + len(prompt[0]) + 1
            spans = [(0, 0) if mark else span for span, mark in zip(
                out["offset_mapping"][i], out["special_tokens_mask"][i], strict=True)]  # fmt: skip
            found.append({"ids": out["input_ids"][i],
                          "prompt": [a < end and b > begin for a, b in spans],
                          "suffix": [a < end and b > second for a, b in spans]})  # fmt: skip
        return found

    def ids(self, prompts: Sequence[Text]) -> list[list[int]]:
        """The tokens of each prompt as the model sees it."""
        return self._read(prompts, offsets=False)[-1]["input_ids"]

    def _read(self, prompts: Sequence[Text], offsets: bool):
        """The prompts as one string each, what the tokenizer is given, and what it makes of it."""
        if isinstance(prompts, str):
            raise TypeError("give a list of prompts, not one prompt: [prompt]")
        plain = [" ".join(parts_of(prompt)) for prompt in prompts]
        chat = bool(self.tokenizer.chat_template)
        texts = [self._in_chat(text) for text in plain] if chat else plain
        return plain, texts, self.tokenizer(
            texts, add_special_tokens=not chat, return_offsets_mapping=offsets,
            return_special_tokens_mask=offsets,
        )  # fmt: skip

    def _in_chat(self, text: str) -> str:
        said = [{"role": "user", "content": text}]
        whole = self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
        if text not in whole:
            raise ModelError(f"the chat template of this model changes the prompt {text[:40]!r}")
        return whole

    def batch(self, prompts: Sequence[Text], answers: Sequence[str], end: bool = False) -> Batch:
        """Prompts with answers behind them, padded on the right; `labels` are -100 but on the
        answers. end: an answer ends where the model must end it."""
        last = self.ends[:1] if end else []
        return self.padded([answered(row, self.ids_of(answer) + last)
                            for row, answer in zip(self.framed(prompts), answers, strict=True)])

    def padded(self, rows: Sequence[Mapping[str, list]]) -> Batch:
        """The batch of rows that `answered` has made."""
        width = max(len(row["input_ids"]) for row in rows)
        most = getattr(self.model.config, "max_position_embeddings", None) or math.inf
        if width > most:
            raise ValueError(f"a prompt with its answer has {width} tokens and the model reads "
                             f"{most}: shorten it")  # fmt: skip
        padding = {"input_ids": self.tokenizer.pad_token_id, "attention_mask": 0, "labels": -100,
                   "prompt": False, "suffix": False}  # fmt: skip
        return {name: torch.tensor([row[name] + [rest] * (width - len(row[name])) for row in rows],
                                   device=self.device)
                for name, rest in padding.items()}  # fmt: skip

    def ids_of(self, answer: str) -> list[int]:
        """The tokens of an answer, without marks."""
        return self.tokenizer(answer, add_special_tokens=False)["input_ids"]

    @cached_property
    def banned(self) -> Tensor:
        """(words,) True for tokens that no suffix may hold: special ones and such as are no
        text."""
        rows = len(embedding_table(self.model))
        alone = [[i] for i in range(min(len(self.tokenizer), rows))]
        texts = self.tokenizer.batch_decode(alone)
        added = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        bad = [i in added or not text.strip() for i, text in enumerate(texts)]
        return torch.tensor(bad + [True] * (rows - len(bad)))

    def at_once(self, width: int) -> int:
        """How many sequences of so many tokens a pass takes: their logits stay below 1 GB."""
        return max(1, min(256, 2**28 // (width * len(self.banned))))

    def token_losses(self, batch: Batch, delta: Tensor | None = None, layer: int = 0):
        """(batch, tokens - 1) the loss of each label, 0 where there is none; and whether it is the
        model's first choice, True where there is none. delta, layer: see `pushed`."""
        with pushed(self.model, delta, layer):
            logits = self.model(input_ids=batch["input_ids"],
                                attention_mask=batch["attention_mask"]).logits  # fmt: skip
        labels = batch["labels"][:, 1:]
        own = labels != -100
        logits = logits[:, :-1][own]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        found = cross_entropy(logits, labels[own], reduction="none")
        losses = found.new_zeros(labels.shape).masked_scatter(own, found)
        first = (~own).masked_scatter(own, logits.argmax(-1) == labels[own])
        return losses, first

    def losses(self, batch: Batch, delta: Tensor | None = None, layer: int = 0) -> Tensor:
        """(batch,) the mean loss of a row's labels."""
        count = (batch["labels"][:, 1:] != -100).sum(1)
        return self.token_losses(batch, delta, layer)[0].sum(1) / count.clamp_min(1)

    def loss(
        self, prompts: Sequence[Text], answers: Sequence[str], delta: Tensor | None = None,
        layer: int = 0, end: bool = False,
    ) -> Tensor:  # fmt: skip
        """(prompts,) the mean loss of the answers' tokens, the prompts' not among them."""
        return self.losses(self.batch(prompts, answers, end), delta, layer)

    @torch.no_grad()
    def answer(
        self, prompts: Sequence[Text], max_new_tokens: int = 32, delta: Tensor | None = None,
        layer: int = 0,
    ) -> list[str]:  # fmt: skip
        """What the model answers, always taking the likeliest token. Prompts are padded on the
        left. delta: as `ContinuousAttack` gives it, on these prompts."""
        rows, out = self.ids(prompts), []
        config = GenerationConfig(max_new_tokens=max_new_tokens, do_sample=False,
                                  pad_token_id=self.tokenizer.pad_token_id,
                                  eos_token_id=self.ends or None)  # fmt: skip
        size = self.at_once(max(map(len, rows), default=1) + max_new_tokens)
        for at in range(0, len(rows), size):
            some = rows[at : at + size]
            width, push = max(map(len, some)), None
            if delta is not None:
                push = delta.new_zeros(len(some), width, delta.shape[-1])
                for i, row in enumerate(some):
                    push[i, width - len(row) :] = delta[at + i, : len(row)]
            with attack_mode(self.model, False), pushed(self.model, push, layer), quiet():
                inputs = self.tokenizer.pad({"input_ids": some}, padding_side="left",
                                            return_attention_mask=True, return_tensors="pt")
                whole = self.model.generate(**inputs.to(self.device), generation_config=config)
            out += self.tokenizer.batch_decode(whole[:, width:], skip_special_tokens=True)
        return [text.strip() for text in out]

    @torch.no_grad()
    def prompt_losses(self, prompts: Sequence[Text]) -> list[Tensor]:
        """Of each prompt the loss of its own tokens; not of a first one that nothing precedes."""
        found = []
        rows = [answered(row, []) for row in self.framed(prompts)]
        size = self.at_once(max((len(row["input_ids"]) for row in rows), default=1))
        for at in range(0, len(rows), size):
            batch = self.padded(rows[at : at + size])
            batch["labels"] = batch["input_ids"].where(batch["prompt"], -100)
            with attack_mode(self.model, False):
                losses, _ = self.token_losses(batch)
            own = batch["prompt"][:, 1:]
            found += [row[mask] for row, mask in zip(losses, own, strict=True)]
        return found

    def save(self, folder: str | Path) -> None:
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)


def answered(row: Mapping[str, list], said: list[int]) -> dict[str, list]:
    """A row of a batch: one of `Generator.framed` with the tokens of an answer behind it."""
    ids, none = row["ids"] + said, [False] * len(said)
    return {"input_ids": ids, "attention_mask": [1] * len(ids),
            "labels": [-100] * len(row["ids"]) + said,
            "prompt": row["prompt"] + none, "suffix": row["suffix"] + none}  # fmt: skip


def load_generator(
    source: str | Path = "writer-policy", *, device: str | torch.device | None = None
) -> Generator:
    """Load a causal language model and its tokenizer: an embedded checkpoint ("writer",
    "writer-policy"), a folder in the Hugging Face layout, or a name on the Hub.

    Raises ModelError. Never runs code that a model brings along, and never unpickles.
    """
    name, source = str(source), _locate(source)
    with quiet(), no_waiting(source):
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model, loading = AutoModelForCausalLM.from_pretrained(
                source, dtype=torch.float32, use_safetensors=True, trust_remote_code=False,
                output_loading_info=True,
            )  # fmt: skip
        except Exception as error:  # libraries raise many kinds; the reader needs one sentence
            raise ModelError(_why(name, source, error)) from error
    if loading["missing_keys"]:
        raise ModelError(f"{name} has no trained head that says the next word: give a causal "
                         "language model, such as 'writer'")  # fmt: skip
    _check_vocabulary(name, tokenizer, model)
    with torch.no_grad():  # a BERT loads too, and looks at the words that it should guess
        ids = torch.tensor([[0, 1], [0, 2]])
        one, other = model.eval()(input_ids=ids, attention_mask=ids * 0 + 1).logits[:, 0]
    if not torch.allclose(one, other, atol=1e-4):
        raise ModelError(f"{name} reads what stands behind a word as well, so it cannot write: "
                         "give a causal language model, such as 'writer'")  # fmt: skip
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Generator(model.to(device).eval(), tokenizer)


# ---------------------------------------------------------------------- δ inside the model


def blocks(model: nn.Module) -> nn.ModuleList:
    """The model's layers. Raises ValueError where they cannot be found."""
    count = getattr(model.config, "num_hidden_layers", None)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"{type(model).__name__} has no list of {count} blocks: take layer=0, the "
                     "embeddings")  # fmt: skip


def _place(model: nn.Module, layer: int) -> nn.Module:
    if layer and not 0 < layer <= len(blocks(model)):
        raise ValueError(f"layer is 0, the embeddings, or a block from 1 to {len(blocks(model))}, "
                         f"got {layer!r}")  # fmt: skip
    return blocks(model)[layer - 1] if layer else embedding_layer(model)


@contextmanager
def pushed(model: nn.Module, delta: Tensor | None, layer: int = 0) -> Iterator[None]:
    """Inside, δ is added to the token embeddings (layer 0) or to what block `layer` puts out. While
    the model writes, it is added to the prompt, and not to the words that follow."""
    if delta is None:
        yield
        return

    def add(module, args, output):
        first = output[0] if isinstance(output, tuple) else output
        if first.shape[1] == 1 < delta.shape[1]:  # a word that the model has written
            return output
        if first.shape != delta.shape:
            raise ValueError(f"δ has the shape {tuple(delta.shape)} and what it is added to "
                             f"{tuple(first.shape)}: find δ for the same prompts")  # fmt: skip
        moved = (first + delta).to(first.dtype)
        return (moved, *output[1:]) if isinstance(output, tuple) else moved

    with _place(model, layer).register_forward_hook(add):
        yield


def unit(generator: Generator, batch: Batch, layer: int = 0) -> float:
    """What ε is relative to: the mean norm of a token embedding, or of what a block puts out at the
    prompts' tokens."""
    if not layer:
        return mean_norm(generator.model)
    seen = []

    def see(module, args, output):
        first = output[0] if isinstance(output, tuple) else output
        seen.append(first.detach()[batch["prompt"]].float().norm(dim=-1).mean().item())

    with torch.no_grad(), _place(generator.model, layer).register_forward_hook(see):
        generator.token_losses(batch)
    return seen[0]
