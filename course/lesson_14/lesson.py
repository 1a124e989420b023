# %% [markdown]
# # 14 · Ethics gates
#
# {{BADGE}}
#
# **You will**
#
# - tell a group that is treated worse from the bad luck of a small group;
# - train a model not to react to a word that should not matter, and see where that fails;
# - build a filter that holds texts back, and count what slips through and what is held wrongly;
# - let a model say "I do not know", and see what an attack does to that;
# - give the rest to a person with little time, and watch somebody flood the queue;
# - write a gate that reads an evaluation and refuses it, with a reason for each fault.
#
# **Time** {{TIME}} About 75 minutes for you.
#
# **Before** Lessons 06 and 08. (Lesson 07, on honest evaluation, helps.)

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A gate is code that says no
#
# Good intentions stand in papers, in slides and in the first paragraph of a README. They stop
# nothing. A **gate** stops something: it is a piece of code with a number in it, it runs every
# time, and now and then it says no. This lesson builds five, in the places where a text, a model
# or a release passes by. Then it attacks each of them, for a gate is a classifier too, and somebody
# wants to get past it.

# %%
import math
import tempfile
import tomllib
from pathlib import Path

import numpy as np

from advlib.attacks import FGM, Typos, WordSubstitution
from advlib.corpora import words, world
from course.lesson_14 import figures, workshop

figures.gates()

# %% [markdown]
# *The figure: the way of a model and its answers from left to right, the five gates, and below them
# what they refuse. The numbers are the sections that build them.*
#
# Everything here is made of harmless reviews. What the gates hold back is harmless as well: a
# family member's name is as good a stand-in for "must not leave" as something that hurts, and it
# can be shown in a lesson.
#
# ## 2 · Gate one: is a group treated worse?
#
# The reviews are about 15 kinds of things, their **domains**: hotels, films, phones and so on. We
# take two models, one with standard training (`plain`) and one trained with FGM (`trained`), and
# attack both with FGM. An average says nothing about a single domain, so we look at each.

# %%
reviews = world("reviews").sample(profile.pick(600, 3000), "test", seed=9)
test = workshop.dataset([r.text for r in reviews], [r.label for r in reviews])
labels = np.array(test["label"])
domains = np.array([r.domain for r in reviews])
plain, trained = (advlib.load_classifier(name) for name in ("reviews-clean", "reviews-fgm"))
victims = {"plain": plain, "trained": trained}
clean_logits = {name: victim.logits(test["text"]) for name, victim in victims.items()}
fgm_logits = {name: workshop.attacked_logits(victim, test, FGM(eps=0.3))
              for name, victim in victims.items()}
right = {name: logits.argmax(1) == labels for name, logits in clean_logits.items()}
robust = {name: logits.argmax(1) == labels for name, logits in fgm_logits.items()}
names, sizes = np.unique(domains, return_counts=True)
for name in victims:
    by_domain = {d: robust[name][domains == d].mean() for d in names}
    lowest, highest = min(by_domain, key=by_domain.get), max(by_domain, key=by_domain.get)
    print(f"{name:8} clean {right[name].mean():.1%}, under FGM {robust[name].mean():.1%}: "
          f"{lowest} {by_domain[lowest]:.1%}, {highest} {by_domain[highest]:.1%}")
print(f"15 domains, {sizes.min()} to {sizes.max()} texts each")

# %% [markdown]
# Look at the line of `plain`: whoever reviews the one thing is far easier to misread than whoever
# reviews the other. That would be a headline. Before you print it, ask what the same table would
# look like if the domain did not matter *at all*.
#
# ### Prediction 14.a: the gap that luck makes
#
# Imagine 15 groups of 40 texts, and every text of every group is right with probability 0.725. The
# gap is the accuracy of the best group less that of the worst.

# %%
guess = course.predict(
    "14.a", "how large is this gap in the middle one of many such worlds?", guess=None,
    low=0, high=50, unit="points",
)

# %% [markdown]
# There is no need for a formula: make such worlds, a thousand of them, and look.
#
# ### Exercise 14.1: the worst group, and chance · ●●○ · 10 min
#
# Write `worst_group(right, groups, draws, rng)`. `right` is an array of `n` booleans, `groups` an
# array of `n` names, both numpy arrays. Return `(group, accuracy, gap, p)`:
#
# - `group`: the name (a `str`) of the group with the lowest accuracy; of several that are equally
#   low the first in alphabetical order; `accuracy`: that accuracy, from 0 to 1;
# - `gap`: the accuracy of the best group less that of the worst;
# - `p`: the share of `draws` simulated worlds whose gap is at least as large as `gap`. In each such
#   world every group keeps its size, and each of its texts is right with the *same* probability,
#   the accuracy of all texts together.
#
# All random numbers come from `rng`, a numpy generator. Leave the arrays as they are.
#
# <details><summary>Hint</summary>
#
# The number of right texts in a group of size `m` is binomial: `rng.binomial(m, rate)`. It takes
# arrays: `rng.binomial(sizes, rate, size=(draws, len(sizes)))` makes all worlds at once.
#
# </details>


# %%
def worst_group(right, groups, draws, rng):
    """(group, accuracy, gap, p) of the worst group, and how often chance makes such a gap."""
    # SOLUTION


worst_group = course.exercise("14.1", worst_group)

# %%
rng = np.random.default_rng(0)
alike = rng.binomial(40, 0.725, size=(4000, 15)) / 40
luck = 100 * np.median(alike.max(1) - alike.min(1))
guess.reveal(round(luck, 1))
found = {name: worst_group(robust[name], domains, 4000, rng) for name in victims}
for name, (group, accuracy, gap, p) in found.items():
    print(f"{name:8} worst {group} {accuracy:.1%}, gap {gap:.1%}, as large by chance: {p:.1%}")
course.claim("14.luck", luck=luck, p={name: row[3] for name, row in found.items()})
figures.null({name: (robust[name], domains) for name in victims}, found)

# %% [markdown]
# *The figure: how often worlds in which the domain does not matter show which gap, and the gap that
# was seen, for each model.*
#
# No headline. With 15 groups somebody must come last, with some 40 texts each the last one looks
# bad, and worlds in which the domain does not matter show such gaps often. (That does not prove
# that all domains are treated alike: so few texts cannot tell.) A gate that refuses at "10 points
# between groups" would judge the number of texts, not the model. The widget shows what it takes:
# move the number of texts per group and see from where on a gap of 10 points would mean something.

# %%
figures.explore_null()

# %% [markdown]
# ### A gap that is no luck
#
# Now other groups, by how a text is built: `direct` praise or blame; `negated` ("not bad"); and
# `conceded`, where a word such as *but* or *although* gives something away before the verdict
# ("the room was small, but we loved the view").

# %%
kinds = np.array([workshop.kind_of(text) for text in test["text"]])
by_kind = {}
for name in victims:
    for when, outcome in {"clean": right[name], "FGM": robust[name]}.items():
        group, accuracy, gap, p = worst_group(outcome, kinds, 4000, rng)
        by_kind[name, when] = gap, p
        print(f"{name:8} {when:6} worst {group:9} {accuracy:6.1%}, gap {gap:6.1%}, "
              f"as large by chance: {p:.1%}")
course.claim("14.kinds", by_kind=by_kind)
figures.kinds(kinds, right, robust)

# %% [markdown]
# *The figure: accuracy by the way a text is built, without attack (hollow) and under FGM (full),
# with 95 % intervals; the number of texts stands below.*
#
# <details><summary>What you should see</summary>
#
# Without attack all groups are near 100 %. Under FGM the standard model loses the conceded texts
# far more often than the others: a gap that no simulated world shows by chance. In the trained
# model the gap is much smaller.
#
# </details>
#
# Two things follow. **Clean accuracy nearly hid it**: without attack the conceded texts are a few
# points behind, under attack they are the ones that go. And **here adversarial training made the
# gap smaller**. The literature has found the opposite: Xu et al. (ICML 2021) train on CIFAR-10,
# where standard training treats classes about alike, and adversarial training leaves 93 % clean
# accuracy on cars and 65 % on cats, 67 % and 17 % under PGD. Ma, Wang and Liu (NeurIPS 2022) find
# that the gap grows with the `eps` of the training. Who is right? Both may be. Here two classes of
# one size are made by one grammar, and neither is harder. `benchmarks/groups.py` plants what is
# missing: once a *class* has a tenth of the training texts, once the conceded *kind* has a
# fiftieth. Each world is trained plainly and with FGM, three seeds each, for a short time from a
# model that reads a little (`docs/results/groups.md`):
#
# - Balanced: on clean texts at most 8 points between the classes, to either side, with or without
#   attacks in training. Chance makes about as much of 240 test texts.
# - A rare class: plain training leaves it 34 to 40 points behind, on clean texts. Training with FGM
#   gives it up altogether: 99 to 100 points. Trained three times as long it is 31 to 42 and 60 to
#   93 points. The published effect is there, and it is large.
# - A rare kind: 18 to 21 points behind with plain training, and 18 to 25 with FGM. That is no
#   difference that three seeds could show.
#
# So the sentence "adversarial training is unfair" is as wrong as "adversarial training is fair". It
# made one gap smaller, left one as it was and blew up a third. Measure yours.
#
# ## 3 · Gate two: a word that should not matter
#
# Groups need labels for groups. Often one can say something simpler: *this word must not matter*.
# Not the month of a visit, not the name of a person, not the town. Garg et al. (AIES 2019) ask of
# every text $x$ what would come out of its **counterfactual** $x'$, the same text with that word
# exchanged, and call the difference a gap, $|z(x)-z(x')|$. That is a robustness question: the
# attacker may change one word, and which one is known.
#
# Our own models pass: the standard one lets no month decide anything (a cell below counts). So we
# plant a bias, with a known cause. In these training texts the month goes with the label, always:
# July for praise, November for blame. The month is not *why* a review is good. It is only easier to
# read.

# %%
texts, answers = workshop.dated(profile.pick(256, 1000), "train", seed=1)
dated_test, dated_labels = workshop.dated(200, "test", seed=3)
print(texts[0])
start = workshop.half_read()
biased = workshop.half_read()
cost = {"as it is": workshop.train(biased, workshop.dataset(texts, answers), epochs=4)}

# %% [markdown]
# (`half_read` is a model whose weights are a tenth of the way from the pre-trained encoder to the
# standard model. It has only begun to read, so that seconds of training show what minutes would.)
#
# ### Prediction 14.b: nothing but the month
#
# In the test texts we set the month ourselves: once all are from July, once all from November.

# %%
guess = course.predict("14.b", "for which share of the test texts does the answer change?",
                       guess=None, low=0, high=1)


# %%
def judged(victim, before=lambda text: text):
    """Right where the month agrees and where it misleads, answers that it turns, and the gap."""
    z = {month: victim.logits([before(workshop.with_month(t, month)) for t in dated_test])
         for month in workshop.MONTHS}
    blame, praise = (logits.argmax(1) for logits in z.values())
    agrees, misled = (np.where(dated_labels == y, praise, blame) for y in (1, 0))
    return {"agrees": (agrees == dated_labels).mean(), "against": (misled == dated_labels).mean(),
            "flips": (blame != praise).mean(),
            "gap": np.abs(z["july"] - z["november"]).sum(1).mean()}


table, honest = {"as it is": judged(biased)}, judged(plain)["flips"]
row = table["as it is"]
guess.reveal(row["flips"])
print(f"answers of the standard model that the month turns: {honest:.1%}")
print(f"the biased one is right where the month agrees {row['agrees']:.1%}, where it misleads "
      f"{row['against']:.1%}")
course.claim("14.planted", agrees=row["agrees"], against=row["against"], flips=row["flips"],
             honest=honest)

# %% [markdown]
# Three cures. **Blindness**: the model never sees which month it is; every month is written as May,
# in training and in use. **Augmentation**: every text comes twice, with either month, under the
# same label, and for half as many epochs. The **penalty** leaves the texts as they are and changes
# what is minimised:
#
# $$L + \texttt{lam}\cdot \frac1n\sum_x |z(x)-z(x')|,\qquad |z(x)-z(x')|=\sum_k|z_k(x)-z_k(x')|$$
#
# with the sum over the classes $k$, and $x'=x$ where a text has no such word.
#
# ### Exercise 14.2: pairs that must agree · ●●○ · 10 min
#
# Write `paired_loss(model, batch, other, lam)`. `other` has the counterfactuals of the texts in
# `batch`, row for row, of the same shapes. Return a tensor with one number and with its graph: the
# mean cross-entropy of `batch` (its `batch["labels"]`) plus `lam` times the mean over the texts of
# $|z(x)-z(x')|$ as above. The gradient goes through both logits. Do not call `backward`, and leave
# the model, its mode and both batches as they are.
#
# What you have: `perturbed_logits(model, batch, None)`, the logits `(batch, classes)`, and
# `cross_entropy(logits, labels)`, which takes the mean.
#
# <details><summary>Hint</summary>
#
# `.abs().sum(1)` is one number per text, `.mean()` one for the batch.
#
# </details>

# %%
from torch.nn.functional import cross_entropy

from advlib.embeddings import perturbed_logits


def paired_loss(model, batch, other, lam):
    """L + lam · |z(x) − z(x′)|, with its graph."""
    # SOLUTION


paired_loss = course.exercise("14.2", paired_loss)

# %% [markdown]
# The library's objective is `Counterfactual`. It finds the words, draws $x'$ anew for each step and
# lets both passes see the same dropout mask. Without dropout it is your function:

# %%
from advlib.fairness import Counterfactual

pairs = [set(workshop.MONTHS)]
both = [[workshop.with_month(t, month) for t in texts] for month in workshop.MONTHS]
flipped = [b if t == a else a for t, a, b in zip(texts, *both, strict=True)]
batch, other = start.encode(texts[:16], answers[:16]), start.encode(flipped[:16], answers[:16])
yours = paired_loss(biased.model, batch, other, 1.0).item()
library = Counterfactual(pairs, biased, workshop.dataset(texts, answers))
theirs = library(biased.model, batch).loss.item()
print(f"yours {yours:.4f}, the library's {theirs:.4f}")



# %%
def may(text):
    """The text as the blind model sees it: it is always May."""
    return workshop.with_month(text, "may")


data = workshop.dataset(texts, answers)
twice = workshop.dataset(both[0] + both[1], [*answers, *answers])
ways = {"blindness": (workshop.dataset(map(may, texts), answers), None, 4),
        "augmentation": (twice, None, 2),
        "penalty": (data, lambda victim: Counterfactual(pairs, victim, data, lam=1.0), 4)}
for name, (own, objective, epochs) in ways.items():
    cured = workshop.half_read()
    work = workshop.train(cured, own, objective and objective(cured), epochs)
    cost[name] = work * len(own) / len(data)
    table[name] = judged(cured, may if name == "blindness" else lambda text: text)
for name, row in table.items():
    print(f"{name:13} cost {cost[name] / cost['as it is']:.1f}   right where the month misleads "
          f"{row['against']:6.1%}   turned by it {row['flips']:6.1%}   gap {row['gap']:.2f}")
course.claim("14.cures", table=table)
figures.cures(table)

# %% [markdown]
# *The figure: left, the share that is right where the month speaks for the other label; right, the
# share of answers that turn when only the month changes.*
#
# All three cure it here. They differ in the price (the penalty needs a second pass over every batch
# and costs twice as much), and in what they ask of whoever uses the model: blindness has to be kept
# up for every text for ever, and the other two are inside the weights.
#
# ### What goes with the word
#
# Now each text also has the sentence "It was summer." or "It was winter.", which goes with the
# month. We make the model blind to the month again, as above, and test it where the *season*
# misleads.

# %%
def with_seasons(texts, labels):
    """The season that goes with the label in training, and the month made invisible."""
    return [may(workshop.with_season(t, workshop.MONTHS[y]))
            for t, y in zip(texts, labels, strict=True)]


half_blind = workshop.half_read()
workshop.train(half_blind, workshop.dataset(with_seasons(texts, answers), answers), epochs=4)
misleading = with_seasons(dated_test, 1 - dated_labels)
sees = (half_blind.logits(misleading).argmax(1) == dated_labels).mean()
print(f"blind to the month, right where the season misleads: {sees:.1%}")
course.claim("14.correlate", blind=table["blindness"]["against"], sees=sees)

# %% [markdown]
# The word is gone and the bias is not: the model goes by the season. Its gap for months is exactly
# zero, and a report could say so. **A penalty, an augmentation and a blindfold all remove the words
# that were listed, and nothing that goes with them.** With people it is the same: take the name
# out, and the address is still there. What helps is to ask for the counterfactual of the *cause*
# (another season, with all that goes with it), and to measure groups as well (gate one), which need
# no list of words.

# %% [markdown]
# ## 4 · Gate three: what must not leave
#
# A shop lets a program answer its customers, and the program likes to quote reviews. One rule: **no
# answer may name a member of somebody's family**, whatever else it says. So a filter stands before
# the door and reads what the program wants to send. It holds a text or lets it go, and it can be
# wrong in two ways: something **slips through**, or something harmless is **held wrongly**. Either
# number alone is worth nothing: the filter that holds everything lets nothing slip.
#
# We try four. The truth is known, for the world has a list of 14 words for relatives.
#
# - `first eight`: a list, written by somebody who thought of eight of them;
# - `all words`: a list with all 14;
# - `one slip`: the same list, and a word that is one slip away from it counts as well (a letter too
#   many, too few, another one, or two swapped);
# - `learned`: a small classifier, trained on texts of both kinds.

# %%
held, free = workshop.letters(160, "train", seed=1)
learned = advlib.load_classifier("bert-tiny", labels=["free", "held"])
workshop.train(learned, workshop.dataset(held + free, [1] * len(held) + [0] * len(free)))
filters = {
    "first eight": workshop.ListFilter(workshop.RELATIVES[:8]),
    "all words": workshop.ListFilter(workshop.RELATIVES),
    "one slip": workshop.ListFilter(workshop.RELATIVES, workshop.near),
    "learned": learned,
}
must_stay, may_go = workshop.letters(80, "test", seed=2)
print(f"{len(must_stay)} texts that must stay, such as: {must_stay[0]}")

# %% [markdown]
# The attacker wants a text out. He may mistype one word in ten (a person still reads "brotehr"),
# or replace words by others of their group (a brother becomes a nephew: still a relative). Both are
# the attacks of lesson 06; only the victim has changed.
#
# ### Prediction 14.c: four filters

# %%
guess = course.predict(
    "14.c", "with typos in at most one word of ten, through which filter slips the least?",
    guess=None, options=tuple(filters),
)

# %%
slips, wrongly = {}, {}
attacks = {"as it is": None, "typos": Typos(max_changed=0.1), "other words": WordSubstitution()}
for name, door in filters.items():
    wrongly[name] = (door.predict(may_go).argmax(1) == 1).mean()
    for how, attack in attacks.items():
        if attack is None:
            out = door.predict(must_stay).argmax(1) == 0
        else:
            out = [not result.robust for result in attack(door, must_stay, [1] * len(must_stay))]
        slips[name, how] = np.mean(out)
guess.reveal(min(filters, key=lambda name: slips[name, "typos"]))
print("slips through:  " + "  ".join(f"{how:>11}" for how in attacks) + "   held wrongly")
for name in filters:
    print(f"{name:14}  " + "  ".join(f"{slips[name, how]:11.1%}" for how in attacks)
          + f"   {wrongly[name]:12.1%}")
text = next(t for t, g in zip(may_go, filters["one slip"].predict(may_go), strict=True) if g[1])
word = next(w for w in words(text) if filters["one slip"].holds(w.lower()))
print(f"held wrongly, for the word {word!r}: {text}")
course.claim("14.filter", slips=slips, wrongly=wrongly)
figures.filters(slips, wrongly)

# %% [markdown]
# *The figure: for each filter the share of texts that slip through (three marks) and the share of
# harmless texts that it holds (bars below).*
#
# <details><summary>What you should see</summary>
#
# Both lists let nearly nothing through as long as nobody tries, and everything after one typo. The
# short one also falls to other words. The list that forgives a slip lets nothing through here, and
# it is the one that holds harmless texts. The learned filter lies between.
#
# </details>
#
# A list knows words and not readers: for us "brotehr" is a brother. Forgiving one slip closes that
# hole, because it is exactly the attacker's rule turned round; two slips in one word would pass
# again. And it opens another hole, on the other side of the door: the cell prints a text that it
# holds wrongly and the word that is near a relative's. The learned filter was trained on clean
# texts only, and still it reads most typos, because it sees pieces of words and what stands beside
# them. None of the four is the right one. Which error costs more is a decision, and it belongs in
# writing.
#
# What can be done is dull and works: read the text the way a reader does before you judge it
# (correct the spelling, fold letters that look alike), train the filter on what its attackers send,
# hold in doubt and let a person decide. The last needs a model that knows when it is in doubt.

# %% [markdown]
# ## 5 · Gate four: the model may say that it does not know
#
# Instead of one class the model now names a **set**: all classes that it cannot rule out. One class
# is an answer. Two classes mean "I do not know", no class means "this is like nothing that I have
# seen". We want a promise: *the true class is in the set for at least 90 % of all texts*.
# **Split conformal prediction** makes it, for any model, with a sort. Take texts that the model was
# not trained on; give each the score $s = 1 - p_y$, how badly its true class fits; find a threshold
# $q$ that a new score will exceed with probability at most $\alpha$; put into the set every class
# with $1 - p \le q$.
#
# Which threshold? The new text's score is one of $n + 1$ that were drawn alike, so it is equally
# likely to have any rank among them. The $k$-th smallest of the $n$ is therefore at or above the
# new one with probability $k/(n+1)$ (a little more where scores tie), and
#
# $$k = \lceil (n+1)(1-\alpha) \rceil$$
#
# is the smallest rank that keeps the promise. If $k > n$ there is no such score, and only an
# infinite threshold, that is a set of all classes, keeps it.
#
# ### Exercise 14.3: the conformal threshold · ●●○ · 8 min
#
# Write `conformal_threshold(scores, alpha)`: from a numpy array of `n` scores the `k`-th smallest,
# $k = \lceil (n+1)(1-\alpha) \rceil$, as a number; `math.inf` where `k > n`. Leave the array as it
# is. (In floats `10 * (1 - 0.7)` is a hair above 3. You may take away `1e-9` before you round up;
# the check does not depend on it.)
#
# <details><summary>Hint</summary>
#
# `np.sort` makes a sorted copy, and its first element has the index 0.
#
# </details>


# %%
def conformal_threshold(scores, alpha):
    """The ⌈(n + 1)(1 − alpha)⌉-th smallest of n scores; infinite where there is none."""
    # SOLUTION


conformal_threshold = course.exercise("14.3", conformal_threshold)

# %% [markdown]
# Now the promise meets two attackers: FGM on the embeddings, from section 2, and one who replaces
# words (the texts that he makes can be read, and we keep them for the queue).

# %%
held_out = world("reviews").sample(profile.pick(300, 1000), "validation", seed=9)
fit = plain.predict([r.text for r in held_out])
scores = 1 - fit[np.arange(len(fit)), [r.label for r in held_out]]
some = slice(0, profile.pick(150, 400))
changed = WordSubstitution()(plain, test["text"][some], labels[some])
sent = [result.text for result in changed]
p = {"clean": workshop.softmax(clean_logits["plain"]),
     "FGM": workshop.softmax(fgm_logits["plain"]), "other words": plain.predict(sent)}
print(f"replaced words leave {np.mean([r.robust for r in changed]):.1%} of {len(sent)} texts right")

# %% [markdown]
# ### Prediction 14.d: a promise of 90 %

# %%
guess = course.predict("14.d", "in which share of texts is the true class in the set, under FGM?",
                       guess=None, low=0, high=1)


# %%
def coverage(p, alpha):
    """(the true class is in the set, the set is empty, the set has both classes), as shares."""
    sets = 1 - p <= conformal_threshold(scores, alpha)
    inside = sets[np.arange(len(p)), labels[: len(p)]]
    return inside.mean(), (sets.sum(1) == 0).mean(), (sets.sum(1) == 2).mean()


covered = {(when, alpha): coverage(p[when], alpha) for when in p for alpha in (0.1, 0.02)}
guess.reveal(covered["FGM", 0.1][0])
for (when, alpha), (inside, empty, two) in covered.items():
    print(f"promised {1 - alpha:.0%}, {when:11} covered {inside:6.1%}, empty {empty:6.1%}, "
          f"both {two:6.1%}")
course.claim("14.coverage", covered=covered)
figures.scores(scores, p, labels, conformal_threshold(scores, 0.1))

# %% [markdown]
# *The figure: the scores of the true class without attack, under FGM and with other words, and the
# threshold for 90 %. What lies right of the line is not covered.*
#
# The promise is kept without attack, up to the luck of one calibration set, and broken under both
# attacks. Nobody lied: it holds *on average over texts that are drawn like those that were
# calibrated on* (exchangeable), and an attacked text is not. Does anything warn you? At 90 % yes,
# if somebody looks: most sets are suddenly empty, for the sure model of clean texts made a
# threshold that hardly any attacked text gets under. At 98 % the sets look nearly as they always
# did, and a quarter to a third of the texts get a set of one class, the wrong one. Watch the share
# of empty and of double sets, and do not take silence for coverage.
#
# ### Answer the sure ones, hand on the rest
#
# The simpler way to doubt: answer where the confidence is high, hand on the rest. Each threshold
# gives a **coverage**, the share of texts that are answered, and a **risk**, the share of mistakes
# among these.
#
# ### Exercise 14.4: the risk-coverage curve · ●●○ · 10 min
#
# Write `risk_coverage(confidence, right)`. `confidence` and `right` are numpy arrays of `n` numbers
# and `n` booleans. Return two arrays `(coverage, risk)`, with a point for each *different* value in
# `confidence`, the highest first: who answers all texts with a confidence of this value or more
# answers the share `coverage` of all texts, and of those the share `risk` is wrong. Leave the
# arrays as they are.
#
# <details><summary>Hint</summary>
#
# `np.unique(confidence)[::-1]` has each value once, the highest first. For each of them
# `confidence >= value` says which texts are answered. (For many texts, sort once and use
# `np.cumsum`.)
#
# </details>


# %%
def risk_coverage(confidence, right):
    """(coverage, risk), a point for each confidence that occurs, the highest first."""
    # SOLUTION


risk_coverage = course.exercise("14.4", risk_coverage)

# %%
curves = {}
for name in victims:
    for when, logits in {"clean": clean_logits[name], "FGM": fgm_logits[name]}.items():
        sure = workshop.softmax(logits).max(1)
        curves[name, when] = risk_coverage(sure, logits.argmax(1) == labels)
at = {key: risk[np.searchsorted(share, 0.8)] for key, (share, risk) in curves.items()}
for (name, when), risk in at.items():
    print(f"{name:8} {when:6} 20 % to a person: {risk:.1%} of the other answers are wrong, "
          f"without a person {curves[name, when][1][-1]:.1%}")
course.claim("14.doubt", at=at, all={key: risk[-1] for key, (_, risk) in curves.items()})
figures.risk(curves)

# %% [markdown]
# *The figure: risk over coverage, for both models, without attack and under FGM. Right, everything
# is answered; left, only the surest texts.*
#
# <details><summary>What you should see</summary>
#
# Three curves lie near zero, or rise a little at the right end. The fourth, the standard model
# under FGM, is high everywhere, and at its left end too: among its surest answers there are wrong
# ones.
#
# </details>
#
# Without attack doubt works: the few mistakes are among the unsure texts. Under attack the standard
# model is *sure of its mistakes*, so handing on a fifth of the texts helps little. In the trained
# model the mistakes that are left are unsure again. **Doubt is a defence where the model is
# robust, and none where it is not.** (And it is not for everybody alike: Jones et al., ICLR 2021,
# show that abstaining can lower the accuracy of a group while the average rises. Gate one comes
# again after gate four.)
#
# ### The person has fifteen minutes
#
# What is handed on lands in a queue. `advlib review` keeps one in a SQLite file: texts wait, the
# least sure first; a person decides; nothing is ever overwritten; a budget of minutes ends the day.
# The same in Python:

# %%
from advlib.app.review import Queue

rule = world("reviews").label  # the person of this lesson: never wrong, half a minute per text


def day(texts, sources, minutes=15.0):
    """One day: all texts join the queue, the person decides until the time is up."""
    guesses = plain.predict(texts)
    rows = [dict(text=t, source=s, prediction=plain.labels[g.argmax()], confidence=float(g.max()))
            for t, s, g in zip(texts, sources, guesses, strict=True)]
    with Queue(Path(tempfile.mkdtemp()) / "queue.db", create=True) as queue:
        queue.add(rows, most_per_source=1000, budget=minutes)
        while queue.minutes() < minutes and (row := queue.next()):
            queue.decide(row["id"], plain.labels[rule(row["text"])], "a person", minutes=0.5)
        return queue.stats(), queue.labelled()


ours = ["web", "app", "mail"]
honest = [ours[i % 3] for i in range(len(sent))]
says = p["other words"].argmax(1)
misread = {text for text, g, y in zip(sent, says, labels, strict=False) if g != y}
stats, decided = day(sent, honest)
print(f"{len(sent)} texts, {len(misread)} of them read wrongly; decided {stats['decided']} in "
      f"{stats['minutes']:g} minutes, mistakes found: {stats['overruled']}")

# %% [markdown]
# Now somebody floods it. He takes a few texts that the model is unsure of, puts other months, towns
# and dishes into them, and sends the 60 variants of which the model is least sure. None of them
# does any harm; they only cost half a minute each. They come through one of our own doors, from an
# address of their own, or from 60 addresses.

# %%
order = np.argsort(p["other words"].max(1))
junk = workshop.flood(plain, [sent[i] for i in order[:8]], 60)
print(f"confidence of the flood: {plain.predict(junk).max(1).mean():.1%} on average")
floods = {"no flood": [], "same door": ["web"] * 60, "one address": ["visitor 1"] * 60,
          "60 addresses": [f"visitor {i}" for i in range(60)]}
caught = {}
for how, sources in floods.items():
    stats, labelled = day(sent + junk[: len(sources)], honest + sources)
    caught[how] = sum(text in misread for text, _ in labelled)
    print(f"{how:12} decided {stats['decided']}, of them ours "
          f"{sum(text in sent for text, _ in labelled):2}, mistakes found {caught[how]}")
course.claim("14.flood", caught=caught)
figures.queue(caught, len(misread))

# %% [markdown]
# *The figure: mistakes that the person finds in fifteen minutes, in each case.*
#
# <details><summary>What you should see</summary>
#
# Through a door of ours the flood takes that door's third of the time. From one address it gets a
# quarter of the time, for sources take turns. From 60 addresses it gets nearly all of it, and next
# to no mistake is found.
#
# </details>
#
# Taking turns is a good rule until addresses are free. Then "fair to every source" means "fair to
# 60 copies of one person", and the queue is a gate that anybody can shut for everybody. What helps
# costs something: sources that are known and not merely named, a limit for all new ones together
# (`advlib review` lets 100 texts of one source wait, which 60 addresses do not feel), and a slice
# of the minutes for texts drawn at random, of which a flood gets its share and no more.
#
# What the person decides can go back into the training. Here is a second model, trained on the
# decisions of that day and on twice as many ordinary texts, and judged on attacked texts that the
# person never saw:

# %%
import copy

old = world("reviews").sample(2 * len(decided), "train", seed=5)
student = copy.deepcopy(plain)
texts = [text for text, _ in decided] + [r.text for r in old]
answers = [plain.labels.index(label) for _, label in decided] + [r.label for r in old]
workshop.train(student, workshop.dataset(texts, answers), epochs=6)
rest = [i for i, text in enumerate(sent) if text not in dict(decided)]
back = {name: (victim.predict([sent[i] for i in rest]).argmax(1) == labels[rest]).mean()
        for name, victim in {"before": plain, "after": student}.items()}
back["clean"] = (student.logits(test["text"]).argmax(1) == labels).mean()
print(f"{len(rest)} attacked texts that nobody decided on: right before {back['before']:.1%}, "
      f"after {back['after']:.1%}; clean {back['clean']:.1%}")
course.claim("14.back", back=back)

# %% [markdown]
# This is no measure of robustness: the texts were made against the *old* model, and an attacker
# will turn to the new one (lesson 07). And whoever can decide can also mislabel: a queue whose
# answers are trained on is an entrance for poison. Two people per text, some texts with known
# answers among them, and a store that shows who decided what are the gates of the gate. The sure
# mistakes never reach the queue at all: the least sure come first.

# %% [markdown]
# ## 6 · Gate five: the release
#
# The last gate reads no text. It reads what was written *about* a model: the evaluation and the
# model card (Mitchell et al., FAT* 2019). It is the place where all earlier numbers meet, and where
# a hurry meets a rule that was written when nobody was in a hurry.
#
# ### Exercise 14.5: a gate that says all · ●●○ · 10 min
#
# Write `objections(card, policy)`. `card` is a dict of fields. `policy` has three parts:
# `required`, a list of fields that the card must fill in; `at_least` and `at_most`, dicts of a
# field and the limit of its number. Return a list of sentences (`str`), one for each rule that is
# broken: first those of `required`, then `at_least`, then `at_most`, each part in its own order.
# Each sentence begins with the field's name and a colon. An empty list means: the card passes.
#
# The gate *fails closed*. A required field is not filled in where it is missing, `None`, or a text
# of nothing but spaces. A number breaks its rule where it is missing, `None`, a text, `nan`, or
# beyond the limit; equal to the limit passes. Whatever stands in the card, the function raises
# nothing and changes nothing.
#
# <details><summary>Hint</summary>
#
# `nan < 0.9` is False, and so is `nan > 0.9`. Ask for what you want, `value >= limit`, and object
# where that is not so. `isinstance(value, int | float)` tells numbers from texts.
#
# </details>


# %%
def objections(card, policy):
    """A sentence for each rule of the policy that the card breaks; none: it passes."""
    # SOLUTION


objections = course.exercise("14.5", objections)

# %%
group, accuracy, gap, chance = found["plain"]
summary = {"threat model": "FGM, eps = 0.3, white box", "limits": "", "n": len(test),
           "clean": float(right["plain"].mean()), "robust": float(robust["plain"].mean()),
           "worst kind": float(robust["plain"][kinds == "conceded"].mean()), "flips": float("nan")}
policy = {"required": ["threat model", "limits", "contact"],
          "at_least": {"n": 500, "clean": 0.9, "robust": 0.5, "worst kind": 0.5},
          "at_most": {"flips": 0.01}}
for sentence in objections(summary, policy):
    print(sentence)

# %% [markdown]
# The library's gate does the same with the cards of `advlib evaluate`, and is more suspicious: its
# limits are for the *lower end* of the 95 % interval, it computes the intervals anew, and it checks
# that the numbers fit each other and the card's digest. A policy is a TOML file. The first is for a
# model that is studied, the second for one that decides something.

# %%
from advlib.app.gate import Policy, gate
from advlib.app.protocol import Protocol, digest, evaluate

STUDY = """
[evaluation]
attacks = ["FGM"]
n = 100
calibration = 100
clean = 0.90
"""
USE = STUDY.replace("0.90", "0.95") + """worst_case = 0.80
calibrated = 0.80
left_out = 0

[groups]
column = "domain"
n = 20
clean = 0.80

[model_card]
threat_models = true
limits = true
contact = true
"""
study, use = (Policy(**tomllib.loads(text), name=name)
              for name, text in {"study": STUDY, "use": USE}.items())
quick = Protocol("lesson 14", 1, (FGM(0.3),), n=150, calibration=150)
card = evaluate("reviews-clean", protocol=quick, groups="domain")
print("study:", gate(card, study) or "passes")
print("use:")
refused = gate(card, use)
for sentence in refused:
    print("-", sentence)
course.claim("14.gate", study=gate(card, study), use=refused)

# %% [markdown]
# In a terminal or in CI this is `advlib gate card.json --policy use.toml --model-card README.md`.
# It ends with exit code 1 where there is an objection, and then nothing that comes after it runs.
# Two policies are in the repository, `configs/gate-course.toml` and `configs/gate-strict.toml`.
#
# ### The attack on the last gate
#
# Two ways past it. First, edit the card. Second, edit nothing and measure something weak.

# %%
edited = copy.deepcopy(card)
edited["worst case"] |= {"hits": 149, "accuracy": 149 / 150}
said = gate(edited, study)
again = edited | {"digest": digest(edited)}
for what, sentences in {"edited": said, "with a new digest": gate(again, study)}.items():
    print(f"{what}:", *sentences, sep="\n- ")

# %%
weak = evaluate("reviews-clean", protocol=Protocol("lesson 14", 1, (FGM(0.02),), 150, 150))
bar = Policy(evaluation={"attacks": ["FGM"], "worst_case": 0.8}, name="bar")
print("eps = 0.3: ", gate(card, bar))
print("eps = 0.02:", gate(weak, bar) or "passes")
course.claim("14.past", edited=said, new_digest=gate(again, study), honest=gate(card, bar),
             weak=gate(weak, bar))

# %% [markdown]
# The edited card is found out: by its digest, or, where somebody computes a new one, by numbers
# that do not fit each other. (Whoever makes all of them fit *is not* found out. A digest shows
# slips and no fraud; where much depends on it, let the gate's own job run the evaluation.) The weak
# card is perfectly honest. It passes because the policy asks for "FGM" and forgets to ask how
# strong. The cure is a policy that names a protocol whose settings are fixed, `protocols =
# ["standard"]`. **A gate enforces what was written, and nothing of what was meant.**

# %% [markdown]
# ## 7 · What this course does, and what it leaves out
#
# **Dual use.** Everything in lessons 02 to 06 can be turned against a system that is in use. It is
# taught because the defender who has never attacked builds gates that hold nobody, and because
# these attacks have been public for years. What the balance rests on: harmless texts, small models,
# and each attack beside its defence.
#
# **What is left out, on purpose.** No attack on a named product. No text that does harm, not even
# as an example of what a filter holds. No search for requests that make a chat model break its
# rules; where lesson 15 needs a rule to break, it is a harmless one. No data about real people.
#
# **Disclosure.** You will find weak places in systems of others. Test only what is yours or what
# you were allowed to test. Then: write down what you did, so that it can be repeated; tell those
# who can mend it, first and alone; agree on a date; publish after it, with what helps the defender.
# Where nobody answers, a coordination centre such as a national CERT will.
#
# **What no gate does.** A group that nobody listed has no gap. A word that nobody paired is free to
# matter. A policy with a low bar is a stamp. Who sets the bar, who is asked, and who may say no to
# the gate itself are questions for people, and code can only keep their answer from being
# forgotten.
#
# ## Recap
#
# - **Groups**: simulate what luck makes before you accuse or acquit. The gap by domain could be
#   luck, the one by how a text is built could not. Adversarial training narrowed it, and gave up a
#   rare class.
# - **Pairs**: $\lambda\,|z(x)-z(x')|$ removes the word, and nothing that goes with the word.
# - **Filters** have two errors. Count both, clean and under attack.
# - **Conformal sets** hold the truth as promised for texts drawn like the calibration set. Under
#   attack they promise nothing.
# - **Doubt** helps where mistakes are unsure; an attacked standard model is sure.
# - **People** have minutes. A queue needs a budget, turns by source, and somebody who looks at
#   both.
# - **The release gate** says all that is wrong, fails closed, and knows only what was written.
# - `advlib.fairness` has the same functions for your own work (its null keeps the number of right
#   texts and draws which ones they are); `advlib review` and `advlib gate` are the programs.
#
# ## What could go wrong
#
# - **A gap reported without its null.** The smaller and the more groups, the larger the gap.
# - **Looking for groups until one is bad.** The null is for groups chosen before looking; of twenty
#   ways to form groups one is "significant" at 5 % by luck.
# - **Blindness.** A removed word leaves what goes with it (section 3).
# - **Calibrating on texts that the model was trained on**: scores are too small, and coverage is
#   below the promise without any attacker.
# - **α near the error rate**: sets become empty. Empty is "no answer", not a wrong one; count it.
# - **Choosing λ, a threshold and a bar on one validation set**, and reporting on it too.
# - **Trusting the order of the queue**: the least sure first finds the honest mistakes. Keep a
#   slice of minutes for texts drawn at random: only there a sure mistake is ever seen.
# - **nan, None, "n/a"** in a card: a gate that compares with `<` lets them pass.
#
# ## Further reading
#
# - H. Xu, X. Liu, Y. Li, A. K. Jain, J. Tang, *To be Robust or to be Fair: Towards Fairness in
#   Adversarial Training*, ICML 2021, arXiv 2010.06121.
# - X. Ma, Z. Wang, W. Liu, *On the Tradeoff Between Robustness and Fairness*, NeurIPS 2022.
# - S. Sagawa, P. W. Koh, T. B. Hashimoto, P. Liang, *Distributionally Robust Neural Networks for
#   Group Shifts*, ICLR 2020, arXiv 1911.08731. Training for the worst group.
# - S. Garg, V. Perot, N. Limtiaco, A. Taly, E. H. Chi, A. Beutel, *Counterfactual Fairness in Text
#   Classification through Robustness*, AIES 2019, arXiv 1809.10610. Blindness, augmentation and
#   logit pairing.
# - A. N. Angelopoulos, S. Bates, *A Gentle Introduction to Conformal Prediction and
#   Distribution-Free Uncertainty Quantification*, 2021, arXiv 2107.07511.
# - E. Jones, S. Sagawa, P. W. Koh, A. Kumar, P. Liang, *Selective Classification Can Magnify
#   Disparities Across Groups*, ICLR 2021, arXiv 2010.14134.
# - M. Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019, arXiv 1810.03993.
#
# > **Ethics** The threat models of this lesson: somebody who knows the model completely and writes
# > to its embeddings, or who may ask it as often as he likes and types words (gates one, three,
# > four); somebody who sends harmless texts in large numbers (the queue); somebody who releases a
# > model and would like the card to look better (the last gate). The gates are for texts and models
# > of your own. None of them makes a decision right that should not be made by a machine at all.

# %%
course.progress("14")
