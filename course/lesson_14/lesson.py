# %% [markdown]
# # 14 · Ethics gates
#
# {{BADGE}}
#
# **You will**
#
# - tell a group that is treated worse from the bad luck of a small group;
# - train a model not to react to a word that should not matter, and see where that fails;
# - build a filter that holds texts back, and count what it lets out and what it holds wrongly;
# - let a model say "I do not know", and see what an attack does to that;
# - write a gate that reads an evaluation and refuses it, with a reason for each fault.
#
# **Time** {{TIME}} About 95 minutes for you: 42 of reading, 53 of exercises. The appendix (classes
# that are rare, a person with little time) is another 20 minutes and can be left out: nothing
# builds on it.
#
# **Before** Lessons 06 and 08. (Lesson 07, on honest evaluation, helps.)

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A gate is code that says no
#
# Good intentions stop nothing. A **gate** stops something: it is a piece of code with a number in
# it, it runs every time, and now and then it says no. This lesson builds five, and looks at how
# each of them is passed or deceived.

# %%
import copy
import math
import tomllib
from dataclasses import replace

import numpy as np

from advlib.attacks import FGM, Typos, WordSubstitution
from advlib.corpora import words, world
from course.lesson_14 import figures, workshop

figures.gates()

# %% [markdown]
# *The figure: the way of a model and its answers from left to right, the five gates, and below them
# what they refuse. The numbers are the sections that build them.*
#
# Everything here is made of harmless reviews, and what the gates hold back is harmless as well.
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
# ### Exercise 14.1: the worst group, and chance · ●●○ · 12 min
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
# between groups" would judge the number of texts, not the model. How many texts per group would it
# take? The lines answer for 15 groups; in the widget you can move everything.

# %%
for m in (40, 200, 400, 1000):
    worlds = rng.binomial(m, 0.725, size=(4000, 15)) / m
    often = np.mean(np.ptp(worlds, 1) >= 0.1)
    print(f"{m:4} texts per group: a gap of 10 points or more by chance in {often:.1%}")
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
        chance = f"{p:.2%}" if p else "< 1/4000"
        print(f"{name:8} {when:6} worst {group:9} {accuracy:6.1%}, gap {gap:6.1%}, "
              f"as large by chance: {chance}")
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
# model the gap is much smaller, and chance does not explain that one either.
#
# </details>
#
# Two things follow. **Attacks show plainly what clean accuracy shows only faintly**: without attack
# the conceded texts are a few points behind (more than luck, so the gate fires there too), under
# attack they are the ones that go. And **here adversarial training made the gap smaller**; what is
# left of it is still more than chance makes. Others have found the opposite: Xu et al. (ICML 2021)
# see a larger gap between classes after adversarial training on CIFAR-10. Appendix A plants what is
# missing here, a class that is rare, and finds their effect too. Measure yours.
#
# ## 3 · Gate two: a word that should not matter
#
# Groups need labels for groups. Often one can say something simpler: *this word must not matter*.
# Not the month of a visit, not the name of a person, not the town. Garg et al. (AIES 2019) ask of
# every text $x$ what would come out of its **counterfactual** $x'$, the same text with that word
# exchanged. How far apart the two are, $|z(x)-z(x')|$ with the logits $z$, is what we call their
# **distance**. That is a robustness question: the attacker may change one word, and which one is
# known.
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
# We make two copies of the test texts: in the first all are from July, in the second all are from
# November.

# %%
guess = course.predict("14.b", "for which share of the test texts does the answer change?",
                       guess=None, low=0, high=1)


# %%
def judged(victim, before=lambda text: text):
    """Right where the month agrees and misleads, answers that it turns, and the distance."""
    return workshop.judged(victim, dated_test, dated_labels, before)


table, honest = {"as it is": judged(biased)}, judged(plain)
row = table["as it is"]
guess.reveal(row["flips"])
print(f"the standard model: the month turns {honest['flips']:.1%}, right {honest['agrees']:.1%}")
print(f"the biased one is right where the month agrees {row['agrees']:.1%}, where it misleads "
      f"{row['against']:.1%}")
course.claim("14.planted", agrees=row["agrees"], against=row["against"], flips=row["flips"],
             honest=honest["flips"])

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
# The library's objective is `Counterfactual`. It finds the words and draws $x'$ anew for each step;
# without dropout it is your function (a test of the library says so). It is what the penalty uses.

# %%
from advlib.fairness import Counterfactual

pairs = [set(workshop.MONTHS)]
both = [[workshop.with_month(t, month) for t in texts] for month in workshop.MONTHS]


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
    print(f"{name:13} cost {cost[name] / cost['as it is']:.1f}; right where the month agrees "
          f"{row['agrees']:.1%}, misleads {row['against']:.1%}; turned by it {row['flips']:.1%}; "
          f"distance {row['distance']:.2f}")
course.claim("14.cures", table=table)
figures.cures(table)

# %% [markdown]
# *The figure: the share that is right where the month agrees with the label, and where it speaks
# for the other one; and the share of answers that turn when only the month changes.*
#
# All three make the month (nearly) powerless. What is won where it misleads is mostly lost where it
# agrees: without the month the model has only its reading, and so little training gives no more
# (the standard model, which was trained for longer on other texts, is the upper limit). The cures
# differ in the price (the penalty needs a second pass over every batch and costs twice as much),
# and in what they ask of whoever uses the model: blindness has to be kept up for every text for
# ever, and the other two are inside the weights.
#
# ### What goes with the word
#
# Now each text also has the sentence "It was summer." or "It was winter.", which goes with the
# month. We make the model blind to the month again, as above, and test it where the *season*
# agrees with the label, where no season is named, and where it misleads.

# %%
def with_seasons(texts, labels):
    """The season that goes with the label in training, and the month made invisible."""
    return [may(workshop.with_season(t, workshop.MONTHS[y]))
            for t, y in zip(texts, labels, strict=True)]


half_blind = workshop.half_read()
workshop.train(half_blind, workshop.dataset(with_seasons(texts, answers), answers), epochs=4)
tests = {"agrees": with_seasons(dated_test, dated_labels), "none": list(map(may, dated_test)),
         "misleads": with_seasons(dated_test, 1 - dated_labels)}
season = {how: (half_blind.logits(t).argmax(1) == dated_labels).mean() for how, t in tests.items()}
print("blind to the month, right where the season "
      + ", ".join(f"{how}: {share:.1%}" for how, share in season.items()))
course.claim("14.correlate", season=season)

# %% [markdown]
# The word is gone and the bias is not: the model goes by the season, and without one it does little
# better than a coin. (So this model reads less than those of the table above: the season, with a
# sentence of its own, is a stronger cue than the month was.) The distance for months is exactly
# zero, and a report could say so. **The blindfold removes the words that were listed, and nothing
# that goes with them**; the other two cures know only the listed words as well. With people it is
# the same: take the name out, and the address is still there. Ask for the counterfactual of the
# *cause* (another season, with all that goes with it), and measure groups as well (gate one), which
# need no list of words.

# %% [markdown]
# ## 4 · Gate three: what must not leave
#
# A shop lets a program answer its customers, and the program likes to quote reviews. One rule: **no
# answer may name a member of somebody's family**. So a filter reads what the program wants to send.
# It can be wrong in two ways: it **lets out** what must stay, or **holds wrongly** what is
# harmless. Either number alone is worth nothing: the filter that holds everything lets nothing out.
#
# We try four. The truth is known, for the world has a list of 14 words for relatives.
#
# - `first eight`: a list, written by somebody who thought of eight of them;
# - `all words`: a list with all 14;
# - `near words`: the same list, and a word that is one small change of letters away from one of its
#   words counts as well;
# - `learned`: a small classifier, trained on texts of both kinds.

# %%
held, free = workshop.letters(160, "train", seed=1)
learned = advlib.load_classifier("bert-tiny", labels=["free", "held"])
workshop.train(learned, workshop.dataset(held + free, [1] * len(held) + [0] * len(free)))
filters = {
    "first eight": workshop.ListFilter(workshop.RELATIVES[:8]),
    "all words": workshop.ListFilter(workshop.RELATIVES),
    "near words": workshop.ListFilter(workshop.RELATIVES, workshop.near),
    "learned": learned,
}
must_stay, may_go = workshop.letters(80, "test", seed=2)
dentist = [workshop.without_relatives(text, "dentist") for text in must_stay]
print(f"{len(must_stay)} texts that must stay, such as: {must_stay[0]}")

# %% [markdown]
# The attacker writes reviews, and wants one quoted although it names a relative. He may mistype one
# word in ten (a person still reads "brotehr"), or replace words by others of their group (a brother
# becomes a nephew: still a relative). Both are attacks of lesson 06; only the victim has changed.
# Two kinds of harmless texts show what is held wrongly: ordinary ones, and the texts that must stay
# with a dentist in place of each relative ("my dentist" is no family).
#
# ### Prediction 14.c: typos and the learned filter

# %%
guess = course.predict(
    "14.c", "with typos in at most one word of ten, which share does the learned filter let out?",
    guess=None, low=0, high=1,
)

# %%
let_out, wrongly = {}, {}
attacks = {"as it is": None, "typos": Typos(max_changed=0.1), "other words": WordSubstitution()}
for name, door in filters.items():
    for what, harmless in {"ordinary": may_go, "my dentist": dentist}.items():
        wrongly[name, what] = (door.predict(harmless).argmax(1) == 1).mean()
    for how, attack in attacks.items():
        let_out[name, how] = workshop.let_out(door, must_stay, attack)
guess.reveal(round(let_out["learned", "typos"], 2))
print("              lets out: " + "  ".join(attacks) + "   holds wrongly: ordinary  my dentist")
for name in filters:
    print(f"{name:22}" + "".join(f"{let_out[name, how]:9.1%}" for how in attacks) + " " * 14
          + "".join(f"{wrongly[name, what]:11.1%}" for what in ("ordinary", "my dentist")))
close = filters["near words"]
word = next(w for t in may_go for w in words(t) if close.holds(w.lower()))
print(f"near words holds {word!r}: {close.holds(word.lower())}, 'brotehr': "
      f"{close.holds('brotehr')}, 'rbotehr': {close.holds('rbotehr')}")
course.claim("14.filter", let_out=let_out, wrongly=wrongly)
figures.filters(let_out, wrongly)

# %% [markdown]
# *The figure: for each filter the share of texts that it lets out (three marks) and the share of
# harmless texts that it holds, of both kinds (bars below).*
#
# A list knows words and not readers: for us "brotehr" is a brother, for a list it is a word like
# any other, and both lists fall to one typo. The short one also falls to other words. The third
# filter, `near words`, lets nothing out here, for its rule is the attacker's own: one letter too
# many, too few or another, or two swapped. With two such changes in one word he would be past it
# (the last line). And it is the one that holds ordinary texts, for a short word is soon near a
# relative. The learned filter was trained on clean texts only and still holds most mistyped ones.
# Its last column shows the price: it goes in part by the frame, "my ...", and holds a dentist too.
# A test of ordinary texts alone would have hidden that. None of the four is the right one. Which
# error costs more is a decision, and it belongs in writing.
#
# What one can try: correct the spelling before the filter reads, train it on what its attackers
# send, or hold in doubt and let a person decide. The last needs a model that knows when it is in
# doubt.

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
# ### Exercise 14.3: the conformal threshold · ●●○ · 9 min
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
# words (the texts that he makes can be read, and we keep them for appendix B).

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
def sets_of(p, alpha):
    """(the true class is in the set, the set is empty, the set has both classes), as shares."""
    sets = 1 - p <= conformal_threshold(scores, alpha)
    true = sets[np.arange(len(p)), labels[: len(p)]]
    return true.mean(), (sets.sum(1) == 0).mean(), (sets.sum(1) == 2).mean()


inside = {(when, alpha): sets_of(p[when], alpha) for when in p for alpha in (0.1, 0.02)}
guess.reveal(inside["FGM", 0.1][0])
for (when, alpha), (true, empty, two) in inside.items():
    q = conformal_threshold(scores, alpha)
    print(f"promised {1 - alpha:.0%} (q = {q:.4f}), {when:11} true class in the set {true:6.1%}, "
          f"set empty {empty:6.1%}, both classes {two:.1%}")
course.claim("14.coverage", inside=inside)
figures.scores(scores, p, labels, conformal_threshold(scores, 0.1))

# %% [markdown]
# *The figure: the scores of the true class without attack, under FGM and with other words, and the
# threshold for 90 %. For what lies right of the line, the set misses the true class.*
#
# The promise is kept without attack, up to the luck of one calibration set, and broken under both
# attacks. Nobody lied: it holds *on average over texts that are drawn like those that were
# calibrated on* (exchangeable), and an attacked text is not. Does anything warn you? At 90 % yes,
# if somebody looks: most sets are suddenly empty, for the sure model of clean texts made a small
# $q$ that hardly any attacked text gets under. At 98 % far fewer are empty, yet many times as many
# as without attack; all other misses are sets of one class, the wrong one. The set of both classes
# never occurs. It cannot: both scores would have to be at most $q$, and with two classes they add
# up to 1, so it takes $q \ge 0.5$. A model this sure of clean texts says "none" and never "either".
# So watch the share of empty sets (and, where $q$ is large, of full ones).
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
    print(f"{name:8} {when:6} wrong: {curves[name, when][1][-1]:.1%} of all; if the least sure "
          f"20 % go to a person, {risk:.1%} of the rest")
share, risk = curves["plain", "FGM"]
half = risk[np.searchsorted(share, 0.5)]
print(f"plain, FGM: of the surest half {half:.1%} are wrong")
course.claim("14.doubt", at=at, all={key: risk[-1] for key, (_, risk) in curves.items()})
figures.risk(curves)

# %% [markdown]
# *The figure: risk over coverage, for both models, without attack and under FGM. Right, everything
# is answered; left, only the surest texts.*
#
# <details><summary>What you should see</summary>
#
# Three curves lie near zero, or rise a little at the right end. The fourth, the standard model
# under FGM, is clearly higher: even among the surest half of its answers there are wrong ones.
#
# </details>
#
# Without attack doubt works: the few mistakes are among the unsure texts. Under attack it still
# helps, for the unsure fifth of the standard model has more mistakes than the rest. But it helps
# *less*: **many of that model's mistakes are sure**, and stay. In the trained model nearly all
# mistakes that are left are unsure. (And doubt is not for everybody alike: Jones et al., ICLR 2021,
# show that abstaining can lower the accuracy of a group while the average rises. Gate one comes
# again after gate four.)
#
# What is handed on needs a person with time. Appendix B gives that person fifteen minutes, and lets
# somebody flood the queue.

# %% [markdown]
# ## 6 · Gate five: the release
#
# The last gate reads no text. It reads what was written *about* a model: the evaluation and the
# model card (Mitchell et al., FAT* 2019). It is the place where all earlier numbers meet, and where
# a hurry meets a rule that was written when nobody was in a hurry.
#
# ### Exercise 14.5: a gate that says all · ●●○ · 12 min
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
# limits are for the *lower end* of the 95 % interval, and it checks that the numbers fit each other
# and the card's digest. A policy is a TOML file: the first is for a model that is studied, the
# second for one that decides something. Its words: `worst_case` is the share that is right whatever
# attack is tried; `calibrated` the same after the model's temperature was set on `calibration`
# other texts (some attacks fail only because a model is too sure, lesson 07; this has nothing to do
# with conformal sets); `left_out` is how many attacks of the protocol could not be run.

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
quick = Protocol("lesson 14", version=1, attacks=(FGM(0.3),), n=150, calibration=150)
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
# (Two policies of the course: `configs/gate-course.toml` and `configs/gate-strict.toml`.)
#
# The gate names the lowest of 15 groups, and section 2 warned of that. But it does not accuse: it
# asks whether a group's texts *show* 80 %, and two texts show nothing, whatever the model does.
# More texts are the cure.
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
weak = evaluate("reviews-clean", protocol=replace(quick, attacks=(FGM(0.02),)))
bar = Policy(evaluation={"attacks": ["FGM"], "worst_case": 0.8}, name="bar")
print("eps = 0.3: ", gate(card, bar))
print("eps = 0.02:", gate(weak, bar) or "passes")
course.claim("14.past", edited=said, new_digest=gate(again, study), honest=gate(card, bar),
             weak=gate(weak, bar))

# %% [markdown]
# The edited card is found out: by its digest, or, where somebody computes a new one, by numbers
# that do not fit each other. (Whoever makes all of them fit *is not* found out. A digest shows
# accidents and no fraud; where much depends on it, let the gate's own job run the evaluation.) The
# weak card is perfectly honest. It passes because the policy asks for "FGM" and forgets to ask how
# strong. The cure is a policy that names a protocol whose settings are fixed, `protocols =
# ["standard"]`. **A gate enforces what was written, and nothing of what was meant.**

# %% [markdown]
# ## 7 · What this course does, and what it leaves out
#
# **Dual use.** Everything in lessons 02 to 06 can be turned against a system that is in use. It is
# taught with harmless texts and small models, and each attack beside its defence.
#
# **What is left out, on purpose.** No attack on a named product, no text that does harm, no search
# for requests that make a chat model break its rules, no data about real people.
#
# **Disclosure.** Test only what is yours or what you were allowed to test. Where you find a weak
# place: write down what you did; tell those who can mend it, first and alone; agree on a date;
# publish after it, with what helps the defender. Where nobody answers, a coordination centre such
# as a national CERT will.
#
# **What no gate does.** A group that nobody listed has no gap. A word that nobody paired is free to
# matter. A policy with a low bar is a stamp. Who sets the bar, who is asked, and who may say no to
# the gate itself are questions for people.
#
# ## Recap
#
# - **Groups**: simulate what luck makes before you accuse or acquit. The gap by domain could be
#   luck, the one by how a text is built could not. Adversarial training narrowed it here; with a
#   rare class it can do the opposite (appendix A).
# - **Pairs**: $\lambda\,|z(x)-z(x')|$ removes the word, and nothing that goes with the word.
# - **Filters** have two errors. Count both, clean and under attack.
# - **Conformal sets** hold the truth as promised for texts drawn like the calibration set. Under
#   attack they promise nothing.
# - **Doubt** helps where mistakes are unsure; many mistakes of an attacked standard model are sure.
# - **The release gate** says all that is wrong, fails closed, and knows only what was written.
# - `advlib.fairness` has the same functions for your own work (its null keeps the number of right
#   texts and draws which ones they are); `advlib review` (appendix B) and `advlib gate`
#   are the programs.
#
# ## What could go wrong
#
# - **A gap reported without its null.** The smaller and the more groups, the larger the gap.
# - **Looking for groups until one is bad.** The null is for groups chosen before looking; of twenty
#   ways to form groups one is "significant" at 5 % by luck.
# - **Blindness.** A removed word leaves what goes with it (section 3).
# - **Calibrating on texts that the model was trained on**: scores are too small, and the sets
#   hold the truth less often than promised, without any attacker.
# - **α well above the error rate**: about α less the error rate of the sets must then be empty, for
#   the promise is kept closely and not exceeded by much. Empty is "no answer", not a wrong one;
#   count it.
# - **Choosing λ, a threshold and a bar on one validation set**, and reporting on it too.
# - **Handing on only the least sure**: a sure mistake is never seen. Keep a part of the person's
#   time for texts drawn at random.
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
# > four); somebody who sends harmless texts in large numbers (appendix B); somebody who releases a
# > model and would like the card to look better (the last gate). The gates are for texts and models
# > of your own. None of them makes a decision right that should not be made by a machine at all.

# %%
course.progress("14")

# %% [markdown]
# ## Appendix: two pieces that can be left out
#
# About 20 minutes of reading, no exercises. They build on the page and not on one another.
#
# ## Appendix A · When a class is rare
#
# Xu et al. (ICML 2021) train on CIFAR-10, where standard training treats classes about alike, and
# adversarial training leaves 93 % clean accuracy on cars and 65 % on cats, 67 % and 17 % under PGD.
# Ma, Wang and Liu (NeurIPS 2022) find that the gap grows with the `eps` of the training. Our two
# classes have one size and one grammar. `benchmarks/groups.py` plants what is missing: in one world
# a *class* has a tenth of the training texts, in another the conceded *kind* has a fiftieth. Each
# is trained plainly and with FGM, three seeds each, for a short time from a model that reads a
# little (`docs/results/groups.md`):
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
# made one gap smaller, left one as it was, and made another much larger.
#
# ## Appendix B · A person with fifteen minutes
#
# What is handed on lands in a queue. `advlib review` keeps one in a SQLite file: texts wait, the
# least sure first; a person decides; nothing is ever overwritten; a budget of minutes ends the day.
# The same in Python:

# %%
import tempfile
from pathlib import Path

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
# (`advlib review` lets 100 texts of one source wait, which 60 addresses do not feel), and a part
# of the minutes for texts drawn at random, of which a flood gets its share and no more.
#
# What the person decides can go back into the training. Here is a second model, trained on the
# decisions of that day and on twice as many ordinary texts, beside one that got only the ordinary
# texts. Both are judged on attacked texts that the person never saw:

# %%
old = [(r.text, r.label) for r in world("reviews").sample(2 * len(decided), "train", seed=5)]
new = [(text, plain.labels.index(label)) for text, label in decided]
students = {"before": plain}
for name, rows in {"ordinary texts alone": old, "with the decisions": new + old}.items():
    students[name] = copy.deepcopy(plain)
    workshop.train(students[name], workshop.dataset(*zip(*rows, strict=True)), epochs=6)
rest = [i for i, text in enumerate(sent) if text not in dict(decided)]
print(f"{len(rest)} attacked texts that nobody decided on")
back = {}
for name, victim in students.items():
    back[name] = (victim.predict([sent[i] for i in rest]).argmax(1) == labels[rest]).mean()
    clean = (victim.logits(test["text"]).argmax(1) == labels).mean()
    print(f"{name:22} right {back[name]:.1%}; without attack {clean:.1%}")
back["clean"] = clean
course.claim("14.back", back=back)

# %% [markdown]
# The gain comes from the decisions, not from more training: ordinary texts alone bring none.
#
# This is no measure of robustness: the texts were made against the *old* model, and an attacker
# will turn to the new one (lesson 07). And whoever can decide can also mislabel: a queue whose
# answers are trained on is an entrance for poison. Two people per text, some texts with known
# answers among them, and a store that shows who decided what are the gates of the gate. The sure
# mistakes never reach the person at all: the least sure come first.
