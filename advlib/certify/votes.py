"""Votes over random neighbours of a text: certificates for a classifier made around any model."""

from __future__ import annotations

import math
import random
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy.stats import beta, norm

from advlib.attacks.words import WordAttack, WordSubstitution
from advlib.certify.sets import Certificate, Neighbours, most_of, options_of
from advlib.corpora import replace as change
from advlib.corpora import words
from advlib.corpora.engine import Text
from advlib.embeddings import (
    attack_mode,
    attackable,
    embedding_layer,
    mean_norm,
    perturbed_logits,
    zero_delta,
)
from advlib.evaluation import NothingToTry
from advlib.models import Classifier


def lower_bound(hits: int, n: int, alpha: float = 0.001) -> float:
    """The one-sided lower bound of Clopper and Pearson (1934) for a proportion, from `hits` in `n`
    draws: the α-quantile of Beta(hits, n − hits + 1), 0 without a hit. It exceeds the true
    proportion in at most α of all samples. Raises ValueError for n < 1, hits outside 0..n or α
    outside (0, 1)."""
    check_draws(n, alpha)
    if not 0 <= hits <= n:
        raise ValueError(f"need 0 <= hits <= n, got hits={hits}, n={n}")
    return float(beta.ppf(alpha, hits, n - hits + 1)) if hits else 0.0


def ceiling(n: int, alpha: float = 0.001) -> float:
    """The largest value of `lower_bound`, with n hits in n: α^(1/n). It caps every certificate:
    with n = 9 and α = 0.001 it is below 1/2, and nothing can be certified."""
    check_draws(n, alpha)
    return alpha ** (1 / n)


def check_draws(n: int, alpha: float) -> None:
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError("n, the number of samples, must be a whole number of at least 1, got "
                         f"{n!r}")  # fmt: skip
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is the chance of a false certificate, 0 < alpha < 1, got "
                         f"{alpha!r}")  # fmt: skip


class Smoothed:
    """What votes share. The smoothed classifier gives a text the class that the model most likely
    gives to a random neighbour of it.

    n: samples of each text. alpha: the chance of a false certificate, for each text by itself: of
    1,000 certificates at α = 0.001 one may be false. seed: a text's samples are drawn from the seed
    and the text, whatever stands beside it.

    The certificate is about a given label y: "P(model says y) > 1/2 (+ a margin)" is one statement
    about one proportion, so one sample is enough. Whoever wants a certificate for the answer, with
    no label, must choose the class on another sample (as Certify of Cohen et al. 2019), or the
    bound is that of the luckiest class: `method(victim, texts, method.predict(victim, texts))` does
    so, because `predict` draws its own.
    """

    bound: ClassVar[str] = "lower"
    classifier: ClassVar[str] = "smoothed"

    def __post_init__(self):
        check_draws(self.n, self.alpha)

    def votes(self, victim: Classifier, texts: Sequence[Text], draw: str = "choice") -> np.ndarray:
        """(texts, classes) how many of the n samples of each text the model gives to each class; a
        tie of the logits is nobody's vote. draw: another word, another sample."""
        out = np.zeros((len(texts), len(victim.labels)), dtype=int)
        for row, text in zip(out, texts, strict=True):
            logits, weights = self.sample(victim, text, f"{self.seed}/{draw}/{text}")
            top = np.sort(logits, axis=1)
            clear = top[:, -1] > top[:, -2]
            np.add.at(row, logits.argmax(1)[clear], weights[clear])
        return out

    def predict(self, victim: Classifier, texts: Sequence[Text]) -> np.ndarray:
        """(texts,) the smoothed classifier's answer: the class with the most votes, an estimate."""
        return self.votes(victim, texts).argmax(1)

    def sample(self, victim: Classifier, text: Text, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(logits, how often each was drawn) of n random neighbours of the text."""
        raise NotImplementedError

    def judge(self, victim: Classifier, text: Text, p_low: float) -> tuple[bool, float]:
        """(certified, radius), where the label's probability is at least p_low."""
        raise NotImplementedError

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        out = []
        for text, y in zip(texts, victim.classes(texts, labels).tolist(), strict=True):
            start = time.perf_counter()
            (votes,) = self.votes(victim, [text], "certificate")
            right = bool(votes[y] > np.delete(votes, y).max())
            p_low = lower_bound(int(votes[y]), self.n, self.alpha)
            sure, radius = self.judge(victim, text, p_low)
            out.append(Certificate(sure, right, radius, self.n, time.perf_counter() - start))
        return out


@dataclass(frozen=True)
class SmoothedWords(Smoothed):
    """SAFER (Ye, Gong and Liu, ACL 2020, arXiv 2005.14424): each word that may change is drawn
    uniformly from its set, itself included, n times; the vote is certified.

    sets: an attack on words; its options are what the attacker may put in a word's place
        (`max_changed` and `part` count; `allows` of constraints does not, which only makes the
        threat larger).
    neighbours: None draws from the same sets. k draws from the k neighbours on either side in the
        circle of the word's group (`Neighbours`), whatever the attacker may do.
    n, alpha, seed: see `Smoothed`.

    Why it holds: let Π_x be the distribution of the samples of x, and p the probability that the
    model says y under it. For every x' of the threat model p' ≥ p − TV(Π_x, Π_x'), the total
    variation distance. Words are drawn independently, uniformly from A_i for x and A'_i for x', so
    TV ≤ 1 − Π_i |A_i ∩ A'_i| / max(|A_i|, |A'_i|), and only changed words have a factor below 1
    (SAFER bounds it so for sets of one size). Certified where p_low − (1 − the smallest product)
    > 1/2, for any number of classes. Where the sets are equivalence classes, as a world's are, x
    and x' have the same samples, the margin is 0, and p_low > 1/2 is enough.

    Raises ValueError where a word's set depends on another word that may change, NothingToTry where
    no word of any text may change.
    """

    sets: WordAttack = WordSubstitution()
    neighbours: int | None = None
    n: int = 200
    alpha: float = 0.001
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.neighbours is None:
            return
        if not hasattr(self.sets, "world"):
            raise ValueError(f"neighbours={self.neighbours!r} needs the groups of a world, and "
                             f"{self.sets!r} has none: leave it out")  # fmt: skip
        Neighbours(within=self.neighbours)  # raises ValueError for no whole number

    @property
    def threat(self) -> str:
        return repr(self.sets)

    @property
    def drawn(self) -> WordAttack:
        """The attack whose options the samples are drawn from."""
        if self.neighbours is None:
            return self.sets
        return Neighbours(within=self.neighbours, world=self.sets.world, part=self.sets.part,
                          constraints=self.sets.constraints)  # fmt: skip

    def _choices(self, victim: Classifier, texts: Sequence[Text]) -> list[list[tuple[str, ...]]]:
        """For each text and each of its words, what the word is drawn from: itself comes first."""
        found = options_of(self.drawn, victim, texts, [0] * len(texts))
        return [[(word, *some) for word, some in zip(words(text), options, strict=True)]
                for text, options in zip(texts, found, strict=True)]  # fmt: skip

    def sample(self, victim, text, key):
        (own,) = self._choices(victim, [text])
        free = [(i, some) for i, some in enumerate(own) if len(some) > 1]
        rng = random.Random(key)
        made = Counter(
            change(text, {i: some[int(rng.random() * len(some))] for i, some in free})
            for _ in range(self.n)
        )
        return victim.logits(list(made)), np.array(list(made.values()))

    def overlap(self, victim: Classifier, text: Text) -> float:
        """The smallest Π_i |A_i ∩ A'_i| / max(|A_i|, |A'_i|) over the texts of the threat model."""
        (threat,) = options_of(self.sets, victim, [text], [0])
        steps = [(i, word) for i, found in enumerate(threat) for word in found]
        made = [text, *(change(text, {i: word}) for i, word in steps)]
        mine, *others = [list(map(set, own)) for own in self._choices(victim, made)]
        least = [1.0] * len(mine)
        for (i, _), theirs in zip(steps, others, strict=True):
            same = [a == b for a, b in zip(mine, theirs, strict=False)]
            if len(theirs) != len(mine) or not all(same[:i] + same[i + 1 :]):
                raise ValueError(f"with {self.drawn!r}, what a word may become depends on other "
                                 "words that may change, so nobody knows how far the samples "
                                 "move")  # fmt: skip
            shared = len(mine[i] & theirs[i]) / max(len(mine[i]), len(theirs[i]))
            least[i] = min(least[i], shared)
        return math.prod(sorted(least)[: most_of(self.sets, text)])

    def judge(self, victim, text, p_low):
        return p_low - (1 - self.overlap(victim, text)) > 0.5, math.nan

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        labels = victim.classes(texts, labels)
        if len(texts) and not any(map(any, options_of(self.sets, victim, texts, labels))):
            raise NothingToTry(self.sets)
        return super().__call__(victim, texts, labels)


@dataclass(frozen=True)
class SmoothedEmbeddings(Smoothed):
    """Cohen, Rosenfeld and Kolter, ICML 2019, arXiv 1902.02918, on token embeddings: Gaussian noise
    on every token that may be attacked, n times; the vote is certified.

    sigma: the size of the noise on a token, in units of the mean norm of a token embedding: each
        coordinate has standard deviation s = sigma · unit / √hidden, so the noise on one token has
        norm of about sigma · unit.
    n, alpha, seed: see `Smoothed`.
    eps: certified means a radius of more than eps, in the same unit as the ε of `PGD`.

    The radius is s · Φ⁻¹(p_low) / unit = sigma · Φ⁻¹(p_low) / √hidden (theorem 1, with 1 − p_low
    for the runner-up): the vote stays at the label for every δ on these tokens whose L2 norm over
    the whole text is smaller. No radius exceeds `ceiling`, however good the model.
    """

    sigma: float
    n: int = 200
    alpha: float = 0.001
    seed: int = 0
    eps: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise ValueError(f"sigma must be a size above zero, got {self.sigma!r}")
        if not (self.eps >= 0 and math.isfinite(self.eps)):
            raise ValueError(f"eps must be a size of at least zero, got {self.eps!r}")

    @property
    def threat(self) -> str:
        return f"δ of L2 norm at most {self.eps!r} over the whole text"

    def radius(self, p_low: float, hidden: int) -> float:
        """In the course's unit; 0 where p_low ≤ 1/2. hidden: the size of an embedding."""
        return max(0.0, self.sigma * float(norm.ppf(p_low)) / math.sqrt(hidden))

    def ceiling(self, hidden: int) -> float:
        """The radius that n votes of n give."""
        return self.radius(ceiling(self.n, self.alpha), hidden)

    def sample(self, victim, text, key):
        rng, out = torch.Generator().manual_seed(zlib.crc32(key.encode())), []
        hidden = embedding_layer(victim.model).weight.shape[-1]
        size = self.sigma * mean_norm(victim.model) / math.sqrt(hidden)
        with attack_mode(victim.model, same_dropout=False), torch.no_grad():
            for _, batch in victim.batches([text] * self.n, [0] * self.n):
                zero = zero_delta(victim.model, batch)
                noise = size * torch.randn(zero.shape, generator=rng, dtype=zero.dtype).to(zero)
                noise *= attackable(batch)[..., None]
                out.append(perturbed_logits(victim.model, batch, noise).cpu().numpy())
        return np.concatenate(out), np.ones(self.n, dtype=int)

    def judge(self, victim, text, p_low):
        radius = self.radius(p_low, embedding_layer(victim.model).weight.shape[-1])
        return radius > self.eps, radius
