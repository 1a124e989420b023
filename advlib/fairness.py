"""What an average hides: groups, words that should not matter, and answers better not given.

    by_group, worst_group     accuracy by group, with intervals
    gap_by_chance             the gap between groups that are all the same
    counterfactuals           a text in which one word is another
    Counterfactual            L + λ·|z(x) − z(x′)|, an objective like those of `advlib.objectives`
    conformal_threshold       from scores of held-out texts to sets that hold the truth
    conformal_sets            which classes are in the set
    risk_coverage             the error of those answers that a model is surest of
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha1

import numpy as np
import torch
from datasets import Dataset

from advlib.corpora.engine import Text, replace, words
from advlib.data import texts_of
from advlib.embeddings import bare, perturbed_logits, random_state
from advlib.models import Classifier
from advlib.objectives import Clean, OfTexts, is_random, mean_loss, minimise
from advlib.statistics import wilson

Pairs = Mapping[str, Iterable[str] | str] | Iterable[Iterable[str]]


# ---------------------------------------------------------------------- groups


def by_group(outcome, groups: Sequence) -> list[dict]:
    """Accuracy of every group, the worst first: `group`, `n`, `hits`, `accuracy`, and `low` and
    `high`, the 95 % Wilson interval.

    outcome: what `attack_all` returned, of which `robust` counts, or (n,) booleans: right or not.
    groups: (n,) the group of each text.

    Each interval is of its own group alone. The lowest of many such intervals lies low by chance:
    `gap_by_chance` says how far. Raises ValueError for shapes that differ and where there is no
    text.
    """
    rows = []
    for name, right in _grouped(outcome, groups).items():
        k, n = sum(right), len(right)
        low, high = wilson(k, n)
        rows.append(dict(group=name, n=n, hits=k, accuracy=k / n, low=low, high=high))
    return sorted(rows, key=lambda row: (row["accuracy"], str(row["group"])))


def worst_group(outcome, groups: Sequence, draws: int = 1000, seed: int = 0) -> dict:
    """The row of `by_group` with the lowest accuracy, and `gap`, the accuracy of the best group
    less that of the worst, and `p`, the share of gaps that chance alone makes as large (of `draws`
    and the one that was seen).

    Worst-group accuracy: Sagawa et al., "Distributionally Robust Neural Networks for Group Shifts",
    ICLR 2020, arXiv 1911.08731. Arguments and errors as for `by_group` and `gap_by_chance`.
    """
    rows = by_group(outcome, groups)
    gap = rows[-1]["accuracy"] - rows[0]["accuracy"]
    larger = int((gap_by_chance(outcome, groups, draws, seed) >= gap - 1e-12).sum())
    return rows[0] | {"gap": gap, "p": (1 + larger) / (1 + draws)}


def gap_by_chance(outcome, groups: Sequence, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """(draws,) the gap between best and worst group if the group did not matter: as many texts are
    right as were, and chance says which (a permutation test). So group sizes and the number of
    right texts stay as they are, and no rate must be guessed.

    Raises ValueError where `by_group` does, and for draws < 1.
    """
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws!r}")
    found = _grouped(outcome, groups).values()
    sizes, hits = [len(right) for right in found], sum(map(sum, found))
    random = np.random.default_rng(seed)
    shares = random.multivariate_hypergeometric(sizes, hits, size=draws) / sizes
    return shares.max(1) - shares.min(1)


def _grouped(outcome, groups: Sequence) -> dict[object, list[bool]]:
    """group -> for each of its texts, whether it is right."""
    right = np.asarray(getattr(outcome, "robust", outcome))
    if right.ndim != 1 or len(right) != len(groups):
        raise ValueError(f"give the group of each text: {len(groups)} groups for outcomes of shape "
                         f"{right.shape}")  # fmt: skip
    if not len(right):
        raise ValueError("there are no texts, so there is no worst group")
    if not np.isin(right, (0, 1)).all():
        raise ValueError("an outcome is right or not, so each must be True or False")
    found = defaultdict(list)
    for name, one in zip(groups, right.astype(bool).tolist(), strict=True):
        found[name].append(one)
    return found


# ---------------------------------------------------------------------- counterfactuals


def exchanges(pairs: Pairs) -> dict[str, tuple[str, ...]]:
    """word -> the words that may take its place, in lower case and in order.

    pairs: {"monday": ["tuesday", "friday"]}, in this direction alone; or groups, as
        [{"monday", "tuesday"}, {"he", "she"}], whose words may all take each other's place.

    Raises ValueError for anything else, for what is no single word, and where nothing is left.
    """
    if isinstance(pairs, str) or not isinstance(pairs, Iterable):
        raise ValueError("pairs must be a mapping such as {'he': ['she']}, or groups of words such "
                         f"as [{{'he', 'she'}}], got {pairs!r}")  # fmt: skip
    if isinstance(pairs, Mapping):
        listed = [(word, [o] if isinstance(o, str) else list(o)) for word, o in pairs.items()]
    else:
        groups = [[group] if isinstance(group, str) else list(group) for group in pairs]
        listed = [(word, group) for group in groups for word in group]
    found: dict[str, set[str]] = {}
    for word, others in listed:
        for one in (word, *others):
            if not isinstance(one, str) or words(one) != [one]:
                raise ValueError(f"pairs exchange one word for one word, and {one!r} is none")
        found.setdefault(word.lower(), set()).update(o.lower() for o in others)
    left = {word: tuple(sorted(found[word] - {word})) for word in sorted(found)}
    left = {word: others for word, others in left.items() if others}
    if not left:
        raise ValueError(f"pairs exchange no word for another one: {pairs!r}")
    return left


def counterfactuals(text: Text, pairs: Pairs) -> list[Text]:
    """Φ(x): the text with one of its words exchanged, wherever that word stands in it, for each of
    the words in `pairs` that may take its place. A capital stays one. Empty where the text holds
    none of them.

    One word at a time: a text with "he" and "his" becomes one with "she" and "his", so write groups
    whose words need no other word to change. Errors as for `exchanges`.
    """
    return _counterfactuals(text, exchanges(pairs))


def _counterfactuals(text: Text, known: Mapping[str, tuple[str, ...]]) -> list[Text]:
    places: dict[str, list[tuple[int, bool]]] = {}
    for i, word in enumerate(words(text)):
        if word.lower() in known:
            places.setdefault(word.lower(), []).append((i, word[0].isupper()))
    return [replace(text, {i: new.capitalize() if capital else new for i, capital in at})
            for word, at in places.items() for new in known[word]]  # fmt: skip


@dataclass(frozen=True)
class Counterfactual(OfTexts):
    """L + λ·|z(x) − z(x′)|: logits stay where they are when a word that should not matter changes.

    Counterfactual logit pairing: Garg et al., "Counterfactual Fairness in Text Classification
    through Robustness", AIES 2019, arXiv 1809.10610. x′ is drawn anew for every step, each of
    `counterfactuals(x, pairs)` as likely as another; |·| is the sum over classes, which for
    z = (−g/2, g/2) is their |g(x) − g(x′)|; and the term is the mean over all texts of the batch,
    0 for those without such a word. Gradients go through both logits. No label is needed for it:
    texts with `UNLABELLED` are left out of L alone.

    pairs: as for `exchanges`; lam: λ.
    victim: the model that is trained, with its tokenizer.
    data: the texts that it is trained on, since a batch holds only their token ids.
    same_dropout: x and x′ see one dropout mask. So the term is 0 for a model that does not read the
        word. It costs a second pass over the whole batch; without it, or without dropout, x′ is
        made of those texts alone that have such a word, in the same pass.

    Raises ValueError where none of the texts holds a word of `pairs`: nothing would be trained.
    """

    pairs: Pairs
    victim: Classifier = field(repr=False)
    data: Dataset = field(repr=False)
    lam: float = 1.0
    same_dropout: bool = True

    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "pairs", exchanges(self.pairs))
        if not any(_counterfactuals(text, self.pairs) for text in texts_of(self.data)):
            first = ", ".join(list(self.pairs)[:5])
            raise ValueError(f"none of the {len(self.data)} texts holds a word of pairs ({first}): "
                             "the term would be 0")  # fmt: skip

    def losses(self, model, batch, backward, step, generator):
        texts = self.texts(batch)
        drawn = self.draw(texts, generator)
        rows = [i for i, text in enumerate(drawn) if text is not None]
        if self.lam == 0 or not rows:
            return Clean().losses(model, batch, backward, step, generator)
        size, labels = len(texts), batch["labels"].tolist()
        if twice := self.same_dropout and is_random(model):
            rows = list(range(size))
        others = [texts[i] if drawn[i] is None else drawn[i] for i in rows]
        both = self.victim.encode([*texts, *others], labels + [labels[i] for i in rows])
        if twice:  # of one shape, so that the mask is the same
            first = {name: value[:size] for name, value in both.items()}
            second = {name: value[size:] for name, value in both.items()}
            rewind = random_state(bare(model))
            logits = perturbed_logits(bare(model), first, None)
            rewind()
            moved = perturbed_logits(model, second, None)
        else:
            logits, moved = perturbed_logits(model, both, None).split([size, len(rows)])
        term = (logits[rows] - moved).abs().sum() / size
        return minimise(backward, mean_loss(logits, batch), self.lam, term)

    def draw(self, texts: Sequence[Text], generator: torch.Generator | None) -> list[Text | None]:
        """One of the counterfactuals of each text; None for a text that has none. Without a
        generator a text gets the same one each time."""
        if generator is None:
            chance = [int(sha1(repr(t).encode()).hexdigest()[:8], 16) / 16**8 for t in texts]
        else:
            chance = torch.rand(len(texts), generator=generator, device=generator.device,
                                dtype=torch.float64).tolist()  # fmt: skip
        found = [_counterfactuals(text, self.pairs) for text in texts]
        return [some[int(u * len(some))] if some else None
                for some, u in zip(found, chance, strict=True)]  # fmt: skip


# ---------------------------------------------------------------------- abstention


def conformal_threshold(scores: Sequence[float], alpha: float) -> float:
    """The ⌈(n + 1)(1 − α)⌉-th smallest of n scores; infinite where n is too small for that.

    scores: (n,) how badly the true class fits, of texts that the model was not trained on, such as
        1 − p[y]. A set of all classes whose score is at most this threshold then holds the true
        class of a new text with probability 1 − α or more: on average over calibration sets and
        texts, and where new texts are drawn like those (exchangeable). Under an attack they are
        not, and nothing promises anything.
    alpha: α, 0 < α < 1, the share of sets that may miss.

    Split conformal prediction, after Papadopoulos et al., ECML 2002, as in Angelopoulos and Bates,
    "A Gentle Introduction to Conformal Prediction and Distribution-Free Uncertainty
    Quantification", arXiv 2107.07511. Raises ValueError for α outside (0, 1), for no scores, and
    for one that is not a number.
    """
    found = np.asarray(scores, dtype=float)
    if not 0 < alpha < 1:
        raise ValueError(f"alpha (α) is a share, 0 < alpha < 1, got {alpha!r}")
    if found.ndim != 1 or not len(found):
        raise ValueError(f"give one score per calibration text, (n,), got shape {found.shape}")
    if np.isnan(found).any():
        raise ValueError("a score is not a number: is there a text without a label?")
    place = math.ceil((len(found) + 1) * (1 - alpha) - 1e-9)  # 10 · (1 − 0.7) is above 3 in floats
    return float(np.sort(found)[place - 1]) if place <= len(found) else math.inf


def conformal_sets(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    """(n, classes) True where a class is in the set of a text: where 1 − p is at most `threshold`.

    probabilities: (n, classes), as `Classifier.predict` gives them. The threshold comes from scores
        1 − p[y] of the same kind of number. A set may be empty, which is no answer and not a wrong
        one. Raises ValueError for another shape, and for what are no probabilities.
    """
    found = np.asarray(probabilities)
    if found.ndim != 2:
        raise ValueError(f"probabilities have the shape (n, classes), got {found.shape}")
    if not ((found >= 0) & (found <= 1)).all():
        raise ValueError("probabilities lie between 0 and 1: are these logits?")
    return 1 - found <= threshold


def risk_coverage(
    confidence: Sequence[float], right: Sequence[bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(threshold, coverage, risk), each (k,): who answers only from a confidence of `threshold` on
    answers a share `coverage` of the texts, of which a share `risk` is wrong.

    confidence, right: (n,). There is a point for each confidence that occurs, the highest first;
    texts of equal confidence come in together, for no threshold can tell them apart. So the last
    point is all texts.

    The risk-coverage curve of El-Yaniv and Wiener, "On the Foundations of Noise-free Selective
    Classification", JMLR 11, 2010. Raises ValueError for shapes that differ, for no texts, and for
    a confidence that is not a number.
    """
    sure, right = np.asarray(confidence, dtype=float), np.asarray(right)
    if sure.ndim != 1 or sure.shape != right.shape or not len(sure):
        raise ValueError("give the confidence of each text and whether it is right, both (n,): got "
                         f"{sure.shape} and {right.shape}")  # fmt: skip
    if np.isnan(sure).any() or not np.isin(right, (0, 1)).all():
        raise ValueError("a confidence is a number, and an answer is right (True) or not (False)")
    order = np.argsort(-sure, kind="stable")
    last = np.flatnonzero(np.append(np.diff(sure[order]) != 0, True))  # of each confidence
    wrong = np.cumsum(~right[order].astype(bool))
    return sure[order][last], (last + 1) / len(sure), wrong[last] / (last + 1)
