"""Attacks on what a language model is asked: δ inside it, and words behind the request."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from advlib.corpora.engine import Text
from advlib.embeddings import attack_mode, embedding_table, output_scale, zero_delta
from advlib.generative.models import Batch, Generator, answered, unit
from advlib.perturbation import Ball, check_eps

JUDGED_AT_ONCE = 8  # answers that are written together for the attacker's judge


def check_counts(**counts) -> None:
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")


def check_prompts(prompts: Sequence[str]) -> None:
    if isinstance(prompts, str) or not prompts or not all(isinstance(p, str) for p in prompts):
        raise ValueError("give a list of one or more prompts, each a string")


def check_finite(loss: Tensor, attack: object) -> None:
    if not loss.isfinite():
        raise ValueError(f"{attack}: the model's output is not finite; check its weights")


@dataclass(frozen=True)
class ContinuousAttack:
    """PGD on δ towards a target answer; every token of the prompt has a budget of its own.

    eps: ‖δ‖ of a token, in units of the mean norm of a token embedding, or of what block `layer`
        puts out at the prompts' tokens. steps: each of size 2.5 · eps / steps.
    layer: 0 for the embeddings, k for the output of the k-th block (latent).
    part: "prompt", all of it, or "suffix", of prompts that are pairs.
    """

    eps: float
    steps: int = 10
    target: str = "sure : the"
    layer: int = 0
    part: str = "prompt"

    def __post_init__(self):
        check_eps(self.eps)
        check_counts(steps=self.steps)
        if self.part not in ("prompt", "suffix"):
            raise ValueError(f'part must be "prompt" or "suffix", got {self.part!r}')

    def __call__(self, generator: Generator, prompts: Sequence[Text]) -> Tensor:
        """δ, (prompts, tokens, hidden), zero on marks, padding and the target; its tokens are those
        of `generator.batch(prompts, targets)`. Raises ValueError where it has no place, or no
        answer to reach."""
        batch = generator.batch(prompts, [self.target] * len(prompts))
        where = batch[self.part].unsqueeze(-1)
        if not where.any():
            raise ValueError(f"no prompt has a {self.part} to perturb: give pairs "
                             "(request, suffix)")  # fmt: skip
        delta = zero_delta(generator.model, batch)
        with attack_mode(generator.model, False), torch.enable_grad():
            radius = self.eps * unit(generator, batch, self.layer)
            ball = Ball(radius, "l2", "token")
            for _ in range(self.steps):
                delta = delta.detach().requires_grad_()
                loss = generator.losses(batch, delta, self.layer).sum()
                check_finite(loss, self)
                (grad,) = torch.autograd.grad(loss, delta)
                if not (grad * where).any():
                    raise ValueError(f"{self} did nothing: no gradient reaches the {self.part}. "
                                     "Behind the last block no other word reads it.")  # fmt: skip
                step = 2.5 * radius / self.steps * ball.steepest(-grad * where)
                delta = ball.project(delta.detach() + step)
        return delta.detach()


# ---------------------------------------------------------------------- suffixes


@dataclass(frozen=True)
class Suffix:
    """What a search has found. losses: that of the target before the first step and after each, on
    average over the prompts. queries: sequences that the model has read or written. step: after
    which the search had reached its end (every word of the target the model's first choice for all
    prompts, or what the attacker's judge calls done), else None."""

    text: str
    losses: tuple[float, ...]
    queries: int
    step: int | None


@dataclass(frozen=True)
class SuffixSearch:
    """What the searches share: `length` words behind the request, `steps` times the best of
    `candidates` suffixes with one word changed. Calling it gives one `Suffix` for each prompt,
    `universal` one for all together.

    stop: end as soon as every word of the target is the model's first choice. restarts: how often
    it begins, with other random draws, where it has not reached its end. fluency: the weight of the
    loss of the prompt under `reader`, a model that the attacker has, to pass a filter.
    """

    length: int = 6
    steps: int = 25
    candidates: int = 48
    target: str = "sure : the"
    start: str = "!"
    stop: bool = True
    restarts: int = 1
    fluency: float = 0.0
    seed: int = 0

    def __post_init__(self):
        check_counts(length=self.length, steps=self.steps, candidates=self.candidates,
                     restarts=self.restarts)  # fmt: skip
        if not self.fluency >= 0:
            raise ValueError(f"fluency is a weight of at least 0, got {self.fluency!r}")

    def __call__(
        self, generator: Generator, prompts: Sequence[str], reader: Generator | None = None, *,
        targets: Sequence[str] | None = None, done: Callable[[str], bool] | None = None,
    ) -> list[Suffix]:  # fmt: skip
        """targets: one for each prompt, such as what a model without the policy answers; None:
        `target` for all. done: the attacker's judge. The model then writes an answer after every
        better suffix, and the search ends where `done(answer)`, not where the target is reached."""
        check_prompts(prompts)
        targets = [self.target] * len(prompts) if targets is None else list(targets)
        if len(targets) != len(prompts):
            raise ValueError(f"{len(prompts)} prompts have {len(targets)} targets: give one each")
        return [self._best(generator, [prompt], [target], reader, done, number)
                for number, (prompt, target) in enumerate(zip(prompts, targets, strict=True))]

    def universal(
        self, generator: Generator, prompts: Sequence[str], reader: Generator | None = None
    ) -> Suffix:
        """One suffix for all prompts (Zou et al. 2023, algorithm 2, all prompts from the start)."""
        check_prompts(prompts)
        return self._best(generator, prompts, [self.target] * len(prompts), reader)

    def _best(self, generator, prompts, targets, reader, done=None, number=0) -> Suffix:
        """Of all restarts the first that reaches its end, else the one with the lowest loss."""
        if bool(self.fluency) != (reader is not None):
            raise ValueError("fluency is measured by a reader: give both or none of the two")
        frame = _Frame(generator, prompts, targets, " ".join([self.start] * self.length), done)
        found = []
        with attack_mode(generator.model, False):
            for again in range(self.restarts):
                random = torch.Generator().manual_seed(1000 * self.seed + number + 10**6 * again)
                found.append(self._search(frame, reader, random))
                if found[-1].step is not None:
                    break
        best = min(found, key=lambda run: (run.step is None, run.losses[-1]))
        return replace(best, queries=sum(run.queries for run in found))

    def _search(self, frame, reader, random) -> Suffix:
        ids, queries, kept = frame.first, len(frame.prompts), 0
        best, hit, said = (x[0] for x in self._worth(frame, ids[None], reader))
        losses = [float(said)]
        check_finite(best, self)

        def now(step: int | None) -> Suffix:
            return Suffix(frame.text(ids), tuple(losses), queries, step)

        if frame.done:
            queries += 1
            if frame.first_done([now(0)]):
                return now(0)
        unread = []  # better suffixes, the answers to which are still to be judged
        for step in range(1, self.steps + 1):
            if hit and self.stop and not frame.done:
                return now(step - 1)
            pool, seen = self._pool(frame, ids, reader)
            some = _draw(pool, ids, self.candidates, random)
            some = some[frame.survive(some)]
            kept, queries = kept + len(some), queries + seen + len(some) * len(frame.prompts)
            better = False
            if len(some):
                worth, hits, told = self._worth(frame, some, reader)
                i = int(worth.argmin())
                if better := bool(worth[i] < best):
                    ids, best, said, hit = some[i], worth[i], told[i], hits[i]
            losses.append(float(said))
            if frame.done and better:
                queries += 1
                unread.append(now(step))
            if unread and (len(unread) == JUDGED_AT_ONCE or step == self.steps):
                if found := frame.first_done(unread):
                    return found
                unread = []
        if not kept:
            raise ValueError(f"{self}: no candidate is read again as the tokens it was written "
                             "from; give another start")  # fmt: skip
        return now(self.steps if hit and not frame.done else None)

    def _worth(self, frame, some, reader) -> tuple[Tensor, Tensor, Tensor]:
        """Of each suffix what is minimised, whether the target is reached, and its loss."""
        loss, hit = frame.losses(some)
        if not self.fluency:
            return loss, hit, loss
        return loss + self.fluency * frame.reading(some, reader), hit, loss

    def _pool(self, frame, ids, reader) -> tuple[list[Tensor], int]:
        """For each place the tokens that may stand there, and the queries that it took."""
        raise NotImplementedError


@dataclass(frozen=True)
class GCG(SuffixSearch):
    """Greedy coordinate gradient: Zou, Wang, Carlini, Nasr, Kolter, Fredrikson, "Universal and
    Transferable Adversarial Attacks on Aligned Language Models", 2023, arXiv 2307.15043.

    Candidates change one word into one of the `top` for which the gradient on the one-hot vector of
    that word promises most. With `fluency` the promise counts the reader's loss of the word itself.
    """

    top: int = 64

    def __post_init__(self):
        super().__post_init__()
        check_counts(top=self.top)

    def _pool(self, frame, ids, reader):
        scores = frame.token_gradient(ids)
        if self.fluency:
            scores = scores - self.fluency * frame.likely(ids, reader)
        scores[:, frame.banned] = torch.inf
        scores.scatter_(1, ids[:, None], torch.inf)  # to change nothing is no candidate
        top = min(self.top, int(scores.isfinite().sum(1).min()))
        return list((-scores).topk(top, 1).indices), len(frame.rows)


@dataclass(frozen=True)
class RandomSearch(SuffixSearch):
    """The same search without a gradient: a candidate changes one word into any other. What it
    reaches with as many queries, the gradient has not earned; where it breaks what GCG does not,
    the gradient is masked."""

    def _pool(self, frame, ids, reader):
        free = (~frame.banned).nonzero()[:, 0]
        return [free[free != token] for token in ids], 0


@dataclass(frozen=True)
class RandomSuffix(SuffixSearch):
    """Words drawn at random, the best of `candidates` suffixes for the target. The control: with
    candidates=1 nobody searches, and a policy that this breaks was never one."""

    steps: int = 1
    candidates: int = 1

    def __post_init__(self):
        super().__post_init__()
        if self.fluency:
            raise ValueError("RandomSuffix looks at the target alone: leave fluency out")
        if self.steps > 1:
            raise ValueError("RandomSuffix has no steps: candidates says how often it draws")

    def _search(self, frame, reader, random) -> Suffix:
        free = (~frame.banned).nonzero()[:, 0]
        drawn = free[torch.randint(len(free), (8 * self.candidates, self.length), generator=random)]
        some = drawn[frame.survive(drawn)][: self.candidates]
        if not len(some):
            raise ValueError(f"{self}: no suffix is read again as the tokens it was written from")
        loss, hit = frame.losses(some)
        i, queries = int(loss.argmin()), len(some) * len(frame.prompts) + bool(frame.done)
        found = Suffix(frame.text(some[i]), (float(loss[i]),), queries, 0)
        reached = frame.first_done([found]) if frame.done else hit[i]
        return found if reached else replace(found, step=None)


def _draw(pool: list[Tensor], ids: Tensor, count: int, random: torch.Generator) -> Tensor:
    """`count` copies of a suffix, each with one token changed, at a place and to a token of its
    pool drawn at random."""
    some = ids.repeat(count, 1)
    places = torch.randint(len(ids), (count,), generator=random).tolist()
    for row, place in enumerate(places):
        choice = pool[place]
        some[row, place] = choice[int(torch.randint(len(choice), (1,), generator=random))]
    return some.unique(dim=0)


class _Frame:
    """Prompts with a suffix and their targets, as tokens; the suffix alone changes. done: how the
    attacker sees that an answer is good enough, or None."""

    def __init__(self, generator: Generator, prompts, targets, start: str, done=None):
        self.generator, self.prompts, self.done = generator, prompts, done
        rows = generator.framed([(prompt, start) for prompt in prompts])
        places = [[i for i, own in enumerate(row["suffix"]) if own] for row in rows]
        kept = [[row["ids"][i] for i in at] for row, at in zip(rows, places, strict=True)]
        if any(other != kept[0] for other in kept) or not kept[0]:
            raise ValueError(f"the suffix {start!r} has other tokens behind other prompts: give "
                             "another start")  # fmt: skip
        self.first = torch.tensor(kept[0], device=generator.device)
        self.rows = [answered(row, generator.ids_of(target))
                     for row, target in zip(rows, targets, strict=True)]  # fmt: skip
        self.base = generator.padded(self.rows)
        self.banned = generator.banned.to(generator.device)
        if self.banned[self.first].any():
            raise ValueError(f"the suffix {start!r} holds words that the model does not know, or "
                             "marks: give another start")  # fmt: skip
        self.around = [(row["ids"][: at[0]], row["ids"][at[-1] + 1 :])
                       for row, at in zip(rows, places, strict=True)]  # fmt: skip

    def text(self, ids: Tensor) -> str:
        decode = self.generator.tokenizer.decode
        return decode(ids.tolist(), clean_up_tokenization_spaces=False).strip()

    def first_done(self, found: list[Suffix]) -> Suffix | None:
        """The first of these whose answer the attacker's judge calls done. They are written
        together, for time alone: what comes after the first is not counted as a query."""
        answers = self.generator.answer([(self.prompts[0], suffix.text) for suffix in found])
        done = (suffix for suffix, answer in zip(found, answers, strict=True) if self.done(answer))
        return next(done, None)

    def survive(self, some: Tensor) -> list[int]:
        """Which suffixes, written out, are read again as the same tokens behind every prompt."""
        kept = range(len(some))
        for prompt, (before, behind) in zip(self.prompts, self.around, strict=True):
            read = self.generator.ids([(prompt, self.text(some[i])) for i in kept]) if kept else []
            kept = [i for i, ids in zip(kept, read, strict=True)
                    if ids == before + some[i].tolist() + behind]  # fmt: skip
        return list(kept)

    def batch(self, some: Tensor) -> Batch:
        """Every prompt with every suffix: the prompts of the first suffix, then of the second."""
        batch = {name: value.repeat(len(some), 1) for name, value in self.base.items()}
        batch["input_ids"][batch["suffix"]] = some.repeat_interleave(len(self.rows), 0).flatten()
        return batch

    @cached_property
    def begun(self) -> list[dict]:
        """Of each prompt what the model keeps of the words before the suffix, which never change:
        its keys and values, under the name by which it takes them. Empty where it keeps none."""
        found = []
        for before, _ in self.around:
            ids = torch.tensor([before], device=self.generator.device)
            out = self.generator.model(input_ids=ids, use_cache=True) if before else {}
            name = "cache" if "cache" in out else "past_key_values"  # transformers before 5.24
            found.append({name: out[name]} if name in out else {})
        return found

    @torch.no_grad()
    def losses(self, some: Tensor) -> tuple[Tensor, Tensor]:
        """Of each suffix the mean loss of the target over the prompts, and whether every word of it
        is the first choice for all of them."""
        losses, hits, model = [], [], self.generator.model
        for row, (before, _), past in zip(self.rows, self.around, self.begun, strict=True):
            ids = torch.tensor(row["input_ids"], device=some.device)
            said = ids[row["labels"].count(-100) :]  # the target stands at the end
            keep, first = len(said) + 1, len(before) if past else 0
            for part in some.split(self.generator.at_once(len(ids))):
                rows = ids.repeat(len(part), 1)
                rows[:, len(before) : len(before) + part.shape[1]] = part
                kept = copy.deepcopy(past)  # a pass writes into it
                for cache in kept.values():
                    cache.batch_repeat_interleave(len(part))
                logits = model(input_ids=rows[:, first:], attention_mask=torch.ones_like(rows),
                               logits_to_keep=keep, **kept).logits[:, -keep:-1]
                logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
                aims = said.expand(len(part), -1)
                each = cross_entropy(logits.flatten(0, 1), aims.flatten(), reduction="none")
                losses.append(each.view(aims.shape).mean(1))
                hits.append((logits.argmax(-1) == aims).all(1))
        return (torch.cat(losses).view(len(self.rows), -1).mean(0),
                torch.cat(hits).view(len(self.rows), -1).all(0))  # fmt: skip

    def token_gradient(self, ids: Tensor) -> Tensor:
        """(places, words) by how much the loss would rise, to first order, per unit of each word of
        the vocabulary: the gradient on the one-hot vectors, by way of that on the embeddings."""
        model, batch = self.generator.model, self.batch(ids[None])
        table = embedding_table(model)
        delta = zero_delta(model, batch).requires_grad_()
        with torch.enable_grad():
            loss = self.generator.losses(batch, delta).mean()
            (grad,) = torch.autograd.grad(loss, delta)
        own = grad[batch["suffix"]].view(len(self.rows), len(ids), -1).sum(0)
        return own @ table.to(own.dtype).T * output_scale(model, table)

    def reading(self, some: Tensor, reader: Generator) -> Tensor:
        """Of each suffix the mean loss of the prompts with it, under the reader."""
        texts = [self.text(ids) for ids in some]
        found = reader.prompt_losses([(p, t) for t in texts for p in self.prompts])
        return torch.stack([x.mean() for x in found]).view(len(some), -1).mean(1).to(some.device)

    @torch.no_grad()
    def likely(self, ids: Tensor, reader: Generator) -> Tensor:
        """(places, words) log-probability of a word there, given what stands before it, divided by
        the length of the prompt; by a reader with the same tokens; of the first prompt."""
        row, batch = self.rows[0], self.batch(ids[None])
        logits = reader.model(input_ids=batch["input_ids"][:1],
                              attention_mask=batch["attention_mask"][:1]).logits  # fmt: skip
        begin = row["suffix"].index(True)
        told = logits[0, begin - 1 : begin - 1 + len(ids)].float().log_softmax(-1)
        return told / sum(row["prompt"])
