"""Defences of a policy: look at the prompt, ask several times, or train against the attack."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from scipy import stats
from torch import Tensor
from torch.nn.functional import pad

from advlib.corpora.engine import Text, parts_of
from advlib.generative.attacks import ContinuousAttack, check_counts
from advlib.generative.models import Generator
from advlib.models import ModelError

Rows = Sequence[tuple[Text, str]]  # prompts with the answers to learn


@dataclass(frozen=True)
class PerplexityFilter:
    """Turns away prompts that a language model finds unlikely (Jain et al., "Baseline Defenses for
    Adversarial Attacks Against Aligned Language Models", 2023, arXiv 2309.00614).

    limit: the highest perplexity that passes. window: None for the whole prompt, else the highest
    of so many tokens in a row, which sees a short suffix behind a long text.
    """

    reader: Generator
    limit: float
    window: int | None = None

    def __post_init__(self):
        if self.window is not None:
            check_counts(window=self.window)

    @classmethod
    def fit(
        cls, reader: Generator, prompts: Sequence[Text], false_alarms: float = 0.05,
        window: int | None = None,
    ) -> PerplexityFilter:  # fmt: skip
        """The limit that at most a share `false_alarms` of harmless prompts exceeds, for prompts
        like these (a conformal quantile: in expectation over the prompts handed in)."""
        place = math.ceil((1 - false_alarms) * (len(prompts) + 1) - 1e-9)  # 10 · (1 − 0.7) > 3
        if not 0 < false_alarms < 1 or place > len(prompts):
            raise ValueError(f"{len(prompts)} prompts cannot tell a share of {false_alarms!r}: "
                             "give more, or a larger share below 1")  # fmt: skip
        found = cls(reader, math.inf, window).perplexity(prompts)
        return cls(reader, sorted(found)[place - 1], window)

    def perplexity(self, prompts: Sequence[Text]) -> list[float]:
        """e to the mean loss of a prompt's tokens; with a window, the highest of any."""
        found = []
        for losses in self.reader.prompt_losses(prompts):
            size = min(self.window or len(losses), len(losses))
            found.append(losses.unfold(0, size, 1).mean(1).max().exp().item() if size else 1.0)
        return found

    def passes(self, prompts: Sequence[Text]) -> list[bool]:
        return [found <= self.limit for found in self.perplexity(prompts)]


@dataclass(frozen=True)
class SmoothVote:
    """Asks `copies` times, each time with a share of the prompt's words replaced by random ones,
    and answers as most copies do. After Robey, Wong, Hassani, Pappas, "SmoothLLM: Defending Large
    Language Models Against Jailbreaking Attacks", 2023, arXiv 2310.03684, which replaces letters.

    A word is what stands between spaces; `round(share · words)` of them are replaced in a copy.
    """

    copies: int = 7
    share: float = 0.2
    seed: int = 0

    def __post_init__(self):
        check_counts(copies=self.copies)
        if self.copies % 2 == 0 or not 0 < self.share <= 1:
            raise ValueError("a vote needs an odd number of copies and a share above 0 and at most "
                             f"1, got copies={self.copies!r}, share={self.share!r}")  # fmt: skip

    def shaken(self, generator: Generator, prompt: Text) -> list[str]:
        """The copies of a prompt."""
        tokens, rng = " ".join(parts_of(prompt)).split(" "), random.Random(f"{self.seed}/{prompt}")
        free = (~generator.banned).nonzero()[:, 0].tolist()
        out, count = [], round(self.share * len(tokens))
        for _ in range(self.copies):
            copy = list(tokens)
            for place in rng.sample(range(len(tokens)), count):
                copy[place] = generator.tokenizer.decode([rng.choice(free)]).strip()
            out.append(" ".join(copy))
        return out

    def answer(
        self, generator: Generator, prompts: Sequence[Text], refuses: Callable[[str], bool],
        max_new_tokens: int = 32,
    ) -> list[str]:  # fmt: skip
        """Of each prompt the answer to the first copy that goes with the majority."""
        copies = [copy for prompt in prompts for copy in self.shaken(generator, prompt)]
        said, out = generator.answer(copies, max_new_tokens), []
        for at in range(0, len(said), self.copies):
            own = said[at : at + self.copies]
            no = [bool(refuses(answer)) for answer in own]
            out.append(own[no.index(2 * sum(no) > self.copies)])
        return out


def vote(copies: int, p: float) -> float:
    """How likely most of `copies` refuse, where each does by itself with probability p."""
    return float(stats.binom.sf(copies // 2, copies, p))


def still_whole(words: int, suffix: int, share: float, k: int) -> float:
    """How likely fewer than k of a suffix's words are replaced in a copy of `words` words, of which
    round(share · words) are: what is left of a suffix that breaks when k of its words change."""
    return float(stats.hypergeom.cdf(k - 1, words, suffix, round(share * words)))


# ---------------------------------------------------------------------- training


@dataclass(frozen=True)
class Likelihood:
    """The mean loss of the right answers: training without an adversary."""

    def __call__(self, generator: Generator, rows: Rows) -> Tensor:
        prompts, answers = zip(*rows, strict=True)
        return generator.loss(prompts, answers, end=True).mean()


@dataclass(frozen=True)
class ContinuousTraining:
    """utility · L + toward · L(refusal | δ) − away · min(cap, L(target | δ)), δ found on the
    prompts that are to be refused; L is the loss of all rows, plain.

    Xhonneux, Sordoni, Günnemann, Gidel, Schwinn, "Efficient Adversarial Training in LLMs with
    Continuous Attacks", NeurIPS 2024, arXiv 2405.15589. With `attack.layer` above 0 δ is latent:
    Casper, Schulze, Patel, Hadfield-Menell, "Defending Against Unforeseen Failure Modes with Latent
    Adversarial Training", 2024, arXiv 2403.05030.

    refusal: the answer that marks a row as one to attack. most: rows that are attacked in a step.
    cap: without it the third term alone could lower the whole for ever.
    """

    attack: ContinuousAttack
    refusal: str
    toward: float = 1.0
    away: float = 0.5
    cap: float = 3.0
    utility: float = 1.0
    most: int = 8

    def __post_init__(self):
        check_counts(most=self.most)
        weights = (self.toward, self.away, self.cap, self.utility)
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
            raise ValueError("toward, away, cap and utility are finite and at least 0, "
                             f"got {weights}")  # fmt: skip

    def __call__(self, generator: Generator, rows: Rows) -> Tensor:
        loss = self.utility * Likelihood()(generator, rows)
        attacked = [prompt for prompt, answer in rows if answer == self.refusal][: self.most]
        if not attacked:
            return loss
        layer, delta = self.attack.layer, self.attack(generator, attacked)
        good = generator.batch(attacked, [self.refusal] * len(attacked), end=True)
        bad = generator.batch(attacked, [self.attack.target] * len(attacked))
        more = good["input_ids"].shape[1] - delta.shape[1]  # or fewer: δ is zero behind the prompts
        same = pad(delta, (0, 0, 0, more))
        toward = generator.losses(good, same, layer).mean()
        away = generator.losses(bad, delta, layer).clamp_max(self.cap).mean()
        return loss + self.toward * toward - self.away * away


def tune(
    generator: Generator, rows: Rows, objective: Callable[[Generator, Rows], Tensor] | None = None,
    *, steps: int = 120, batch_size: int = 32, learning_rate: float = 5e-4, seed: int = 0,
) -> list[float]:  # fmt: skip
    """Train the weights that require a gradient, in place, and return the loss of every step.

    rows: prompts with the answers to learn; a batch is drawn at random. objective: of the generator
    and a batch of rows; None is `Likelihood()`. Raises ValueError where a loss is not finite.
    """
    check_counts(steps=steps, batch_size=batch_size)
    objective, rng, losses = objective or Likelihood(), random.Random(seed), []
    weights = [p for p in generator.model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, learning_rate)
    if len(rows) < batch_size:
        raise ValueError(f"{len(rows)} rows make no batch of {batch_size}: give more")
    generator.model.train()
    try:
        for _ in range(steps):
            loss = objective(generator, rng.sample(rows, batch_size))
            if not loss.isfinite():
                raise ValueError(f"the loss became {loss.item()} after {len(losses)} steps: lower "
                                 "the learning rate, ε or the weights")  # fmt: skip
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            losses.append(loss.item())
    finally:
        generator.model.eval()
    return losses


def with_lora(generator: Generator, rank: int = 8, **settings) -> Generator:
    """The same model with low-rank updates that are trained in place of its weights (LoRA).
    settings: for peft's `LoraConfig`."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise ModelError('LoRA needs peft: pip install "advlib[course]"') from error
    settings = dict(r=rank, lora_alpha=2 * rank, target_modules="all-linear") | settings
    config = LoraConfig(task_type="CAUSAL_LM", **settings)
    return Generator(get_peft_model(generator.model, config).eval(), generator.tokenizer)
