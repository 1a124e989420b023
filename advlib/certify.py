"""Certificates: what no attack can turn. lower bound ≤ exact worst case ≤ accuracy under an attack.

An attack that finds nothing proves nothing. A method of this module does: each is a frozen
dataclass whose repr is its claim, and `method(victim, texts, labels)` returns one `Certificate` per
text.

    ExactWorst          every variant of a text asked about: the truth, where they are few
    Canonical           one form for all variants of a text, so one pass decides them all
    SmoothedWords       a vote over random words of each word's set (SAFER)
    SmoothedEmbeddings  a vote over Gaussian noise on the embeddings (Cohen et al.)

Only the first speaks of the model as it is. The others speak of a classifier built around it,
named in `classifier`: an attack on the bare model is no upper bound for that one.
"""

from __future__ import annotations

import math
import random
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, product
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from scipy.stats import beta, norm

from advlib.attacks.search import TIE, Constraint, State, _changed_parts, in_part
from advlib.attacks.words import WordAttack, WordSubstitution
from advlib.corpora import replace as change
from advlib.corpora import words, world
from advlib.corpora.engine import Text, World, _article, parts_of
from advlib.data import texts_of
from advlib.embeddings import attack_mode, attackable, mean_norm, perturbed_logits, zero_delta
from advlib.evaluation import NothingToTry, answers, attack_all
from advlib.models import Classifier
from advlib.statistics import wilson

AT_ONCE = 20_000  # variants whose answers are remembered at a time
SHORT = 40  # characters of a text that a message shows


@dataclass(frozen=True)
class Certificate:
    """What is known of one text.

    certified: the classifier is right on every text of the threat model, for certain or, where
        samples are drawn, with confidence 1 − α for each text by itself.
    right: it is right on the text as it is (of a vote: the most votes are the label's, no proof).
    radius: in the course's unit, the L2 norm of δ over the whole text relative to the mean norm of
        a token embedding; 0 where nothing is certified, nan where the threat is a set of texts.
    samples: texts that the model was asked about. seconds: the text's share of the time.
    """

    certified: bool
    right: bool
    radius: float = math.nan
    samples: int = 1
    seconds: float = field(default=0.0, compare=False)


# ---------------------------------------------------------------------- sets of words


@dataclass(frozen=True)
class OpinionsOnly(Constraint):
    """Only words that carry an opinion may change: those whose group ends in + or −.

    With `WordSubstitution(constraints=(OpinionsOnly(),))` most texts have few enough variants to
    try them all. world: whose groups. Raises ValueError for an unknown one.
    """

    world: str = "reviews"

    def __post_init__(self):
        world(self.world)

    def keeps(self, words: Sequence[str]) -> list[bool]:
        groups = world(self.world).group_of
        return [groups.get(word.lower(), "")[-1:] not in ("+", "-") for word in words]


@dataclass(frozen=True, repr=False)
class Neighbours(WordSubstitution):
    """Words of the same group that stand near in it: a group taken as a circle, `within` steps to
    either side. These sets overlap without being equal, as thesaurus sets of real language do."""

    within: int = 1

    def __post_init__(self):
        super().__post_init__()
        if not isinstance(self.within, int) or self.within < 1:
            raise ValueError(f"within must be a whole number of at least 1, got {self.within!r}")

    def options(self, text: Text) -> list[tuple[str, ...]]:
        return [_ring(world(self.world), word, others, self.within)
                for word, others in zip(words(text), super().options(text), strict=True)]  # fmt: skip


def _ring(known: World, word: str, others: Sequence[str], within: int) -> tuple[str, ...]:
    """Those of `others` that stand near to the word."""
    if not others:
        return ()
    group = known.groups[known.group_of[word.lower()]]
    circle = sorted({word, *others}, key=lambda w: group.index(w.lower()))
    at, size = circle.index(word), len(circle)
    return tuple(w for i, w in enumerate(circle) if w != word
                 and min((i - at) % size, (at - i) % size) <= within)  # fmt: skip


def options_of(
    attack: WordAttack, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
) -> list[list[tuple[str, ...]]]:
    """For each text and each of its words, what the attack's search could put there: its options
    after its constraints' `keeps` and its `part`."""
    if attack.rank.startswith("gradient"):  # the order of a search, of which there is none here
        attack = replace(attack, rank=attack.ranks[0])
    texts = [t if isinstance(t, str) else tuple(t) for t in texts]
    states = [State(t, int(y), 0.0) for t, y in zip(texts, labels, strict=True)]
    attack.prepare(victim, states)
    return [state.options for state in states]


def _most(attack: WordAttack, text: Text) -> int:
    """How many words of the text the attack may change."""
    return attack.most(sum(in_part(text, attack.part)))


def count_variants(options: Sequence[Sequence[str]], most: int | None = None) -> int:
    """How many texts `variants` gives, the text itself included, without making them: the product
    of 1 + |options| over the words, or, where at most so many words may change, the sum of the
    elementary symmetric polynomials of the |options| up to degree `most`."""
    places = sum(map(bool, options))
    most = places if most is None else min(most, places)
    by_changed = [1] + [0] * most  # how many texts have 0, 1, … words changed
    for found in options:
        for k in range(most, 0, -1):
            by_changed[k] += by_changed[k - 1] * len(found)
    return sum(by_changed)


def variants(
    text: Text, options: Sequence[Sequence[str]], most: int | None = None
) -> Iterator[Text]:
    """Every text that differs from `text` in at most `most` words (None: in any number), each word
    replaced by one of its options. The first is the text itself; fewer changes come first.

    Raises ValueError unless there are options, perhaps none, for each word.
    """
    if len(options) != len(words(text)):
        raise ValueError(f"{len(options)} sets of options for {len(words(text))} words: give one "
                         "per word, empty where it stays")  # fmt: skip
    free = [i for i, found in enumerate(options) if found]
    for k in range(len(free) + 1 if most is None else min(most, len(free)) + 1):
        for places in combinations(free, k):
            for chosen in product(*(options[i] for i in places)):
                yield change(text, dict(zip(places, chosen, strict=True)))


# ---------------------------------------------------------------------- the truth


@dataclass(frozen=True)
class ExactWorst:
    """Every text that an attack on words could make, asked about: the exact worst case.

    attack: whose threat model. Its options, the `keeps` and `allows` of its constraints, its
        `max_changed`, `part` and `goal` count; how it searches (`rank`, `beam`, `max_queries`)
        does not. A score within 1e-5 of success counts as success: passes in another batch differ
        that much. With a goal of your own, "certified" means right and the goal never reached.
    limit: the most variants of a text. More raise ValueError before the model is asked.

    Raises NothingToTry where no word of any text may change.
    """

    bound: ClassVar[str] = "exact"
    classifier: ClassVar[str] = "itself"

    attack: WordAttack = WordSubstitution()
    limit: int = 2000

    def __post_init__(self):
        if self.limit < 1:
            raise ValueError(f"limit must be at least 1, got {self.limit!r}")

    @property
    def threat(self) -> str:
        return repr(self.attack)

    def counts(self, victim: Classifier, texts: Sequence[Text], labels=None) -> list[int]:
        """How many variants each text has. labels: only an attack that asks for gradients needs
        them."""
        labels = [0] * len(texts) if labels is None else labels
        found = options_of(self.attack, victim, texts, labels)
        return [count_variants(o, _most(self.attack, t)) for t, o in zip(texts, found, strict=True)]

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        labels = victim.classes(texts, labels)
        options = options_of(self.attack, victim, texts, labels)
        if texts and not any(map(any, options)):
            raise NothingToTry(self.attack)
        jobs = [(text, int(y), found, _most(self.attack, text))
                for text, y, found in zip(texts, labels, options, strict=True)]  # fmt: skip
        counts = [count_variants(found, most) for *_, found, most in jobs]
        for text, count in zip(texts, counts, strict=True):
            if count > self.limit:
                shown = " ‖ ".join(parts_of(text))[:SHORT]
                raise ValueError(
                    f"the text {shown!r}… has {count:,} variants, more than limit={self.limit:,}: "
                    "raise the limit, let fewer words change (a smaller max_changed, or "
                    "constraints=(OpinionsOnly(),)), or certify by a vote (SmoothedWords)")
        out, group, size = [], [], 0
        for job, count in zip(jobs, counts, strict=True):
            if group and size + count > AT_ONCE:
                out, group, size = out + self._together(victim, group), [], 0
            group.append(job)
            size += count
        return out + (self._together(victim, group) if group else [])

    def _together(self, victim: Classifier, jobs: list) -> list[Certificate]:
        """Some texts; a variant of two of them is asked about once."""
        start = time.perf_counter()
        made = [self._fair(victim, text, found, most) for text, _, found, most in jobs]
        asked = list(dict.fromkeys(t for some in made for t in some))
        place = {text: k for k, text in enumerate(asked)}
        logits = victim.logits(asked)
        out = []
        for some, (_, y, *_) in zip(made, jobs, strict=True):
            z = logits[[place[t] for t in some]]
            labels = np.full(len(z), y)
            right = bool(answers(z[:1], labels[:1])[0] == y)
            worst = self.attack.goal.score(z, labels).max()
            out.append((bool(right and worst < -TIE), right, len(some)))
        share = (time.perf_counter() - start) / sum(n for *_, n in out)
        return [Certificate(c, r, samples=n, seconds=share * n) for c, r, n in out]

    def _fair(self, victim: Classifier, text: Text, options, most: int) -> list[Text]:
        """The text and those of its variants that the constraints allow."""
        found = list(dict.fromkeys(variants(text, options, most)))
        for constraint in self.attack.constraints:
            pairs = [(new, old, part) for new in found[1:]
                     for old, part in _changed_parts(text, new)]  # fmt: skip
            fair = constraint.allows(victim, [(old, part) for _, old, part in pairs])
            out = {new for (new, *_), ok in zip(pairs, fair, strict=True) if not ok}
            found = [new for new in found if new not in out]
        return found


def exact_worst(
    victim: Classifier, texts: Sequence[Text], labels: Sequence[int],
    attack: WordAttack | None = None, limit: int = 2000,
) -> list[Certificate]:  # fmt: skip
    """`ExactWorst(attack, limit)` in one call; attack=None is `WordSubstitution()`."""
    return ExactWorst(attack or WordSubstitution(), limit)(victim, texts, labels)


# ---------------------------------------------------------------------- one form for all


def canonical_text(text: Text, name: str = "reviews") -> Text:
    """Every word that a world knows becomes the first of its group, or behind a/an the first of the
    same initial sound, with a capital where it had one. So all texts that `World.substitutes` leads
    to have one form: which group, which article and which capital are what it leaves alone."""
    known, out = world(name), []
    for part in parts_of(text):
        changes, before = {}, ""
        for i, word in enumerate(words(part)):
            group = known.groups.get(known.group_of.get(word.lower(), ""), ())
            if before in ("a", "an"):
                group = [w for w in group if _article(w) == before]
            if group:
                changes[i] = group[0].capitalize() if word[0].isupper() else group[0]
            before = word.lower()
        out.append(change(part, changes))
    return out[0] if isinstance(text, str) else tuple(out)


def canonical(victim: Classifier, name: str = "reviews") -> Classifier:
    """The same model, which reads every text in the canonical form of a world (Jones et al., RobEn,
    ACL 2020, arXiv 2005.01229, with the world's groups for clusters).

    No substitution that the world knows changes what it says. It stands and falls with the sets
    being equivalence classes: where "good" may become "fine" and "fine" "sunny", but "good" not
    "sunny", one form for all would erase differences that count.
    Raises ValueError for an unknown world.
    """
    world(name)
    return replace(victim, read=partial(canonical_text, name=name))


@dataclass(frozen=True)
class Canonical:
    """The canonical form of a world before the model: one pass certifies all variants, exactly.

    Raises ValueError for an unknown world, NothingToTry where it knows no word of any text.
    """

    bound: ClassVar[str] = "lower"
    classifier: ClassVar[str] = "canonical forms"

    world: str = "reviews"

    def __post_init__(self):
        world(self.world)

    @property
    def threat(self) -> str:
        return repr(WordSubstitution(world=self.world))

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        start, labels = time.perf_counter(), victim.classes(texts, labels)
        attack = WordSubstitution(world=self.world)
        if texts and not any(any(attack.options(text)) for text in texts):
            raise NothingToTry(attack)
        logits = canonical(victim, self.world).logits(texts)
        right = (answers(logits, labels) == labels).tolist() if len(texts) else []
        seconds = (time.perf_counter() - start) / max(1, len(right))
        return [Certificate(r, r, seconds=seconds) for r in right]


# ---------------------------------------------------------------------- votes


def lower_bound(hits: int, n: int, alpha: float = 0.001) -> float:
    """The one-sided lower bound of Clopper and Pearson (1934) for a proportion, from `hits` in `n`
    draws: the α-quantile of Beta(hits, n − hits + 1), 0 without a hit. The true proportion lies
    below it in at most α of all samples. Raises ValueError for n < 1, hits outside 0..n or α
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
        raise ValueError(f"n, the number of samples, must be a whole number of at least 1, got "
                         f"{n!r}")  # fmt: skip
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is the chance of a false certificate, 0 < alpha < 1, got "
                         f"{alpha!r}")  # fmt: skip


class Smoothed:
    """What votes share. The smoothed classifier gives a text the class that the model most likely
    gives to a random neighbour of it.

    The certificate is about a given label y: "P(model says y) > 1/2 (+ a margin)" is one statement
    about one proportion, so one sample is enough. Whoever wants a certificate for the answer, with
    no label, must choose the class on another sample (Cohen et al. 2019, section 3.2.2), or the
    bound is that of the luckiest class: `method(victim, texts, method.predict(victim, texts))` does
    so, because `predict` draws its own.
    A text's samples are drawn from the seed and the text, whatever stands beside it.
    """

    bound: ClassVar[str] = "lower"
    n: int
    alpha: float
    seed: int

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
        """(texts,) the smoothed classifier's answer: the class with the most votes. It is an
        estimate; how sure it is, the certificate says."""
        return self.votes(victim, texts).argmax(1)

    def sample(self, victim: Classifier, text: Text, key: str) -> tuple[np.ndarray, np.ndarray]:
        """(logits, how often each was drawn) for n random neighbours of the text."""
        raise NotImplementedError

    def _counted(self, victim, texts, labels) -> Iterator[tuple[float, bool, float]]:
        """(p_low of the label, right, seconds) of each text."""
        for text, y in zip(texts, labels.tolist(), strict=True):
            start = time.perf_counter()
            (votes,) = self.votes(victim, [text], "certificate")
            others = np.delete(votes, y).max()
            p = lower_bound(int(votes[y]), self.n, self.alpha)
            yield p, bool(votes[y] > others), time.perf_counter() - start


@dataclass(frozen=True)
class SmoothedWords(Smoothed):
    """SAFER (Ye, Gong and Liu, ACL 2020, arXiv 2005.14424): each word that may change is drawn
    uniformly from its set, itself included, n times; the vote is certified.

    sets: an attack on words; its options are what the attacker may put in a word's place
        (`max_changed` and `part` count; `allows` of constraints does not, which only makes the
        threat larger).
    neighbours: None draws from the same sets. k draws from the k neighbours on either side in the
        circle of the word's group (`Neighbours`), whatever the attacker may do.
    n, alpha, seed: see `Smoothed`. Each certificate is wrong with probability at most α.

    Why it holds: let Π_x be the distribution of the samples of x, and p the probability that the
    model says y under it. For every x' of the threat model p' ≥ p − TV(Π_x, Π_x'), the total
    variation distance. Words are drawn independently, uniformly from A_i for x and A'_i for x', so
    TV ≤ 1 − Π_i |A_i ∩ A'_i| / max(|A_i|, |A'_i|), and only changed words have a factor below 1
    (SAFER, theorem 1, with sets of one size). Certified where p_low − (1 − the smallest product)
    > 1/2, for any number of classes. Where the sets are equivalence classes, as a world's are, x
    and x' have the same samples, the margin is 0, and p_low > 1/2 is enough.

    Raises ValueError where a word's set depends on another word that may change, NothingToTry where
    no word of any text may change.
    """

    classifier: ClassVar[str] = "smoothed"

    sets: WordAttack = WordSubstitution()
    neighbours: int | None = None
    n: int = 200
    alpha: float = 0.001
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.neighbours is not None and not hasattr(self.sets, "world"):
            raise ValueError(f"neighbours={self.neighbours!r} needs the groups of a world, and "
                             f"{self.sets!r} has none: leave it out")  # fmt: skip
        self.drawn  # raises ValueError for neighbours that are no number

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

    def sample(self, victim, text, key):
        (options,) = options_of(self.drawn, victim, [text], [0])
        sets = {i: (word, *found)
                for i, (word, found) in enumerate(zip(words(text), options, strict=True)) if found}
        rng = random.Random(key)
        made = Counter(
            change(text, {i: own[int(rng.random() * len(own))] for i, own in sets.items()})
            for _ in range(self.n))
        return victim.logits(list(made)), np.array(list(made.values()))

    def overlap(self, victim: Classifier, text: Text, label: int = 0) -> float:
        """The smallest Π_i |A_i ∩ A'_i| / max(|A_i|, |A'_i|) over the texts of the threat model."""
        mine, own = words(text), options_of(self.drawn, victim, [text], [label])[0]
        (threat,) = options_of(self.sets, victim, [text], [label])
        steps = [(i, w) for i, found in enumerate(threat) for w in found]
        made = [change(text, {i: w}) for i, w in steps]
        least = [1.0] * len(mine)
        found = options_of(self.drawn, victim, made, [label] * len(made))
        for (i, _), new, theirs in zip(steps, made, found, strict=True):
            pairs = zip(mine, words(new), own, theirs, strict=False)
            shares = [_shared({a, *some}, {b, *others}) for a, b, some, others in pairs]
            if len(theirs) != len(mine) or any(s < 1 for j, s in enumerate(shares) if j != i):
                raise ValueError(f"with {self.drawn!r}, what a word may become depends on other "
                                 "words that may change, so there is no bound on how far samples "
                                 "move")  # fmt: skip
            least[i] = min(least[i], shares[i])
        return math.prod(sorted(least)[: _most(self.sets, text)])

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        labels = victim.classes(texts, labels)
        if len(texts) and not any(map(any, options_of(self.sets, victim, texts, labels))):
            raise NothingToTry(self.sets)
        found = self._counted(victim, texts, labels)
        return [Certificate(p - (1 - self.overlap(victim, text)) > 0.5, right, samples=self.n,
                            seconds=seconds)
                for text, (p, right, seconds) in zip(texts, found, strict=True)]  # fmt: skip


def _shared(a: set[str], b: set[str]) -> float:
    """1 − the total variation distance of uniform draws from the two sets."""
    return len(a & b) / max(len(a), len(b))


@dataclass(frozen=True)
class SmoothedEmbeddings(Smoothed):
    """Cohen, Rosenfeld and Kolter, ICML 2019, arXiv 1902.02918, on token embeddings: Gaussian noise
    on every token that may be attacked, n times; the vote is certified.

    sigma: the size of the noise on a token, in units of the mean norm of a token embedding: each
        coordinate has standard deviation s = sigma · unit / √hidden, so the noise on one token has
        norm of about sigma · unit.
    eps: certified means a radius of more than eps, in the same unit as the ε of `PGD`.
    n, alpha, seed: see `Smoothed`.

    The radius is s · Φ⁻¹(p_low) / unit = sigma · Φ⁻¹(p_low) / √hidden (theorem 1, with 1 − p_low
    for the runner-up): the vote stays at the label for every δ on these tokens whose L2 norm over
    the whole text is smaller. No radius exceeds `ceiling`, however good the model.
    """

    classifier: ClassVar[str] = "smoothed"

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

    def ceiling(self, hidden: int) -> float:
        """The radius that n votes of n give. hidden: the model's embedding size."""
        return self._radius(ceiling(self.n, self.alpha), hidden)

    def _radius(self, p: float, hidden: int) -> float:
        return max(0.0, self.sigma * float(norm.ppf(p)) / math.sqrt(hidden))

    def sample(self, victim, text, key):
        rng, out = torch.Generator().manual_seed(zlib.crc32(key.encode())), []
        unit = mean_norm(victim.model)
        with attack_mode(victim.model, same_dropout=False), torch.no_grad():
            for _, batch in victim.batches([text] * self.n, [0] * self.n):
                zero = zero_delta(victim.model, batch)
                noise = torch.randn(zero.shape, generator=rng, dtype=torch.float64).to(zero)
                noise *= attackable(batch)[..., None] * (self.sigma * unit / zero.shape[-1] ** 0.5)
                out.append(perturbed_logits(victim.model, batch, noise).cpu().numpy())
        return np.concatenate(out), np.ones(self.n, dtype=int)

    def __call__(
        self, victim: Classifier, texts: Sequence[Text], labels: Sequence[int]
    ) -> list[Certificate]:
        labels = victim.classes(texts, labels)
        hidden = victim.model.get_input_embeddings().weight.shape[-1]
        out = []
        for p, right, seconds in self._counted(victim, texts, labels):
            radius = self._radius(p, hidden)
            out.append(Certificate(radius > self.eps, right, radius, self.n, seconds))
        return out


# ---------------------------------------------------------------------- tables


def certified(
    victim: Classifier, data: Dataset, methods: Iterable, attacks: Iterable = ()
) -> pd.DataFrame:
    """One row per method and per attack, as `robustness` has them.

    Columns: `method`, `bound` ("lower", "exact", or "upper" for an attack), `classifier` (which one
    is spoken of), `threat model`, `n` (texts), `clean` (accuracy), `certified` (share certified;
    nan for an attack), `attacked` (accuracy under an attack; nan for a lower bound), `low` and
    `high` (95 % Wilson interval over the texts, of `certified` or else of `attacked`), `radius`
    (median; nan for sets of words), `alpha` (chance of a false certificate, each text; 0: for
    certain), `samples` (mean per text; of an attack passes), `seconds` (in all).
    """
    texts, labels = texts_of(data), data["label"]
    if not texts:
        raise ValueError("there are no texts to certify")
    rows = []
    for method in methods:
        found = method(victim, texts, labels)
        hits = sum(c.certified for c in found)
        share, exact = hits / len(found), method.bound == "exact"
        rows.append(_row(method, method.bound, method.classifier, method.threat, hits, len(found),
                         clean=np.mean([c.right for c in found]), certified=share,
                         attacked=share if exact else math.nan,
                         radius=np.median([c.radius for c in found]),
                         alpha=getattr(method, "alpha", 0.0),
                         samples=np.mean([c.samples for c in found]),
                         seconds=sum(c.seconds for c in found)))  # fmt: skip
    for attack in attacks:
        found = attack_all(victim, data, attack)
        hits, n = int(found.robust.sum()), len(texts)
        rows.append(_row(attack, "upper", "itself", repr(attack), hits, n,
                         clean=np.mean(found.clean == found.labels), certified=math.nan,
                         attacked=hits / n, radius=math.nan, alpha=0.0,
                         samples=found.forward + found.backward, seconds=found.seconds))  # fmt: skip
    return pd.DataFrame(rows)


def _row(who, bound, classifier, threat, hits, n, **values) -> dict:
    low, high = wilson(hits, n)
    order = ("clean", "certified", "attacked", "low", "high", "radius", "alpha", "samples",
             "seconds")  # fmt: skip
    values |= {"low": low, "high": high}
    return {"method": type(who).__name__, "bound": bound, "classifier": classifier,
            "threat model": threat, "n": n} | {k: values[k] for k in order}  # fmt: skip


def sandwich(
    victim: Classifier, texts: Sequence[Text], labels: Sequence[int], attack: WordAttack,
    lower: Sequence[Certificate] | None = None, limit: int = 2000,
) -> pd.DataFrame:  # fmt: skip
    """Per text whether it is certified (`lower`, where given), robust in truth (`exact`), and
    whether it withstood the attack (`attack`).

    lower: certificates for this victim and threat model, by whatever method. Raises AssertionError,
    naming the text, unless lower ≤ exact ≤ attack for every text: then one of the three is wrong.
    """
    exact = [c.certified for c in exact_worst(victim, texts, labels, attack, limit)]
    found = [r.robust for r in attack(victim, texts, labels)]
    table = pd.DataFrame({"exact": exact, "attack": found}, dtype=bool)
    if lower is not None:
        table.insert(0, "lower", [c.certified for c in lower])
    for small, large in zip(table.columns, table.columns[1:], strict=False):
        for i in np.flatnonzero(table[small] & ~table[large]):
            raise AssertionError(f"{small} says that text {i} is robust, and {large} that it is "
                                 f"not: {texts[i]!r}")  # fmt: skip
    return table
