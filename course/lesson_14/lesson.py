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
# **Time** {{TIME}} About 75 minutes for you: 38 of reading, 37 of exercises. The appendix (classes
# that are rare, a person with little time) is another 10 minutes and can be left out: nothing
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
# Good intentions stop nothing. A **gate** is a piece of code with a number in it. It runs every
# time, and now and then it says no. This lesson builds five and shows where each fails. The first
# two measure a model; it is the fifth that refuses by such numbers. All texts are harmless reviews,
# those that the gates hold back too.

# %%
import copy
import math
import tomllib
from dataclasses import replace

import numpy as np

from advlib.attacks import FGM, Typos, WordSubstitution
from advlib.corpora import world
from course.lesson_14 import figures, workshop

figures.gates()

# %% [markdown]
# *The figure: from the training of a model to its release, five gates, and below each what it is
# against. The numbers are the sections.*
#
# ## 2 · Gate one: is a group treated worse?
#
# The reviews are about 15 kinds of things, their **domains**: hotels, films, phones and so on. We
# attack two models with FGM, one with standard training (`plain`) and one trained with FGM
# (`trained`), and look at each domain.

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
for name in victims:
    print(f"{name:8} clean {right[name].mean():.1%}, under FGM {robust[name].mean():.1%}: "
          + workshop.lowest(robust[name], domains))

# %% [markdown]
# Look at `plain`: reviews of one domain are misread far more often than the average. A headline?
# First ask what the same line would say if the domain did not matter *at all*.
#
# ### Prediction 14.a: the gap that luck makes
#
# Imagine 15 groups of 40 texts, and every text of every group is right with probability 0.725. The
# **gap** is the accuracy of the best group minus that of the worst.

# %%
guess_a = course.predict(
    "14.a", "how large is this gap in the middle one of many such worlds?", guess=None,
    low=0, high=50, unit="points",
)

# %% [markdown]
# No formula is needed: make a thousand such worlds, and look. They are the **null**: what luck
# makes where there is nothing to find.
#
# ### Exercise 14.1: the worst group, and chance · ●●○ · 8 min
#
# Complete `worst_group(right, groups, draws, rng)`. `right` is an array of `n` booleans, `groups`
# an array of `n` names, both numpy arrays. Return `(group, accuracy, gap, p)`:
#
# - `group`: the name (a `str`) of the group with the lowest accuracy (if two are equal, the first
#   in alphabetical order); `accuracy`: that accuracy, from 0 to 1;
# - `gap`: the accuracy of the best group minus that of the worst;
# - `p`: the share of `draws` simulated worlds whose gap is at least as large as `gap`. In each such
#   world every group keeps its size, and each of its texts is right with the *same* probability,
#   the accuracy of all texts together.
#
# All random numbers come from `rng`, a numpy generator. Leave the arrays as they are. Here and
# below you may also write the whole function in your own way.
#
# <details><summary>Hint</summary>
#
# `rng.binomial(m, rate)` draws how many of `m` texts are right, each with probability `rate`: a
# count and no share. `rng.binomial(sizes, rate, size=(draws, len(sizes)))` draws the counts of all
# worlds, one world per row.
#
# </details>


# %%
def worst_group(right, groups, draws, rng):
    """(group, accuracy, gap, p) of the worst group, and how often chance makes such a gap."""
    names = np.unique(groups)  # in alphabetical order
    sizes = np.array([(groups == name).sum() for name in names])
    shares = np.array([right[groups == name].mean() for name in names])
    worst, gap = shares.argmin(), shares.max() - shares.min()
    # 1. worlds: (draws, groups), each group's accuracy in each simulated world
    # SOLUTION
    worlds = rng.binomial(sizes, right.mean(), size=(draws, len(sizes))) / sizes
    # END SOLUTION
    # 2. the gap of every world, how often it is at least as large, and the result
    # SOLUTION
    gaps = worlds.max(1) - worlds.min(1)
    return str(names[worst]), shares[worst], gap, (gaps >= gap).mean()
    # END SOLUTION


worst_group = course.exercise("14.1", worst_group)

# %%
rng = np.random.default_rng(0)
alike = rng.binomial(40, 0.725, size=(4000, 15)) / 40
luck = 100 * np.median(alike.max(1) - alike.min(1))
guess_a.reveal(round(luck, 1))
found = {name: worst_group(robust[name], domains, 4000, rng) for name in victims}
for name, (group, accuracy, gap, chance) in found.items():
    print(f"{name:8} worst {group} {accuracy:.1%}, gap {gap:.1%}, as large by chance: {chance:.1%}")
course.claim("14.luck", luck=luck, p={name: row[3] for name, row in found.items()})
figures.null({name: (robust[name], domains) for name in victims}, found)

# %% [markdown]
# *The figure: for each model, how often chance alone makes a gap of this size, and the gap that was
# seen.*
#
# No headline. With 15 groups somebody must come last, and with some 40 texts each the last one
# looks bad. (Nor does it prove that all domains are treated alike: so few texts cannot tell.) A
# gate that refuses at "10 points between groups" would judge the number of texts, not the model.
# How many texts per group would it take? Move `texts` until chance makes 10 points in less than 5 %
# of worlds. (The start is nearly the left figure.)

# %%
figures.explore_null()

# %% [markdown]
# <details><summary>What you should see</summary>
#
# With 15 groups at 72.5 % it takes between 400 and 500 texts in each. At 97 %, 100 are enough.
#
# </details>
#
# ### A gap that is no luck
#
# Now other groups, by how a text is built: `direct` praise or blame; `negated` ("not bad"); and
# `conceded`, where a word such as *but* or *although* admits a point before the verdict ("the room
# was small, but we loved the view").

# %%
kinds = np.array([workshop.kind_of(text) for text in test["text"]])
by_kind = {}
for name in victims:
    for when, outcome in {"clean": right[name], "FGM": robust[name]}.items():
        group, accuracy, gap, chance = worst_group(outcome, kinds, 4000, rng)
        by_kind[name, when] = gap, chance
        print(f"{name:8} {when:6} worst {group:9} {accuracy:6.1%}, gap {gap:6.1%}, "
              f"as large by chance: {f'{chance:.2%}' if chance else '< 1/4000'}")
ratio = {}
for name in victims:
    conceded, direct = (1 - robust[name][kinds == kind].mean() for kind in ("conceded", "direct"))
    ratio[name] = conceded / direct
    print(f"{name:8} FGM    misreads {conceded:.1%} of the conceded texts and {direct:.1%} of the "
          f"direct ones: {ratio[name]:.1f} times as many")
course.claim("14.kinds", by_kind=by_kind, ratio=ratio)
figures.kinds(kinds, right, robust)

# %% [markdown]
# *The figure: accuracy by the way a text is built, without attack (hollow) and under FGM (full),
# with 95 % intervals; n is the number of texts.*
#
# <details><summary>What you should see</summary>
#
# Without attack all groups are near 100 %. Under FGM the standard model loses the conceded texts
# far more often than the others: no simulated world shows such a gap. In the trained model the gap
# is much smaller, and chance does not explain that one either.
#
# </details>
#
# **Attacks show plainly what clean accuracy shows only faintly**: without attack the conceded texts
# of the standard model are only a few points behind (more than luck). And here adversarial training
# made the gap **smaller in points; as a ratio of errors it grew**. Xu et al. (ICML 2021) found more
# points between classes on CIFAR-10. Appendix A plants what is missing here, a class that is rare,
# and finds their effect too.
#
# ## 3 · Gate two: a word that should not matter
#
# Gate one needs a group for every text. Often one can say something simpler: *this word must not
# matter*, a month, a name, a town. Garg et al. (AIES 2019) ask of every text $x$ what would come
# out of its **counterfactual** $x'$, the same text with that word exchanged. We call $|z(x)-z(x')|$
# their **distance**, with the logits $z$.
#
# The standard model passes (a cell below counts). So we plant a bias. In these training texts the
# month always goes with the label: July for praise, November for blame. The month is not *why* a
# review is good. It is only easier to read. In use it may **agree** with the label or **mislead**.

# %%
texts, answers = workshop.dated(profile.pick(256, 1000), "train", seed=1)
dated_test, dated_labels = workshop.dated(200, "test", seed=3)
print(texts[0])
biased = workshop.beginner()
cost = {"as it is": workshop.train(biased, workshop.dataset(texts, answers), epochs=4)}

# %% [markdown]
# (`beginner` is a model that has only begun to read: its weights are a tenth of the way from the
# pre-trained encoder to the standard model. So seconds of training are enough to plant a bias.)
#
# ### Prediction 14.b: nothing but the month
#
# We make two copies of the test texts: in the first all are from July, in the second all are from
# November.

# %%
guess_b = course.predict("14.b", "for which share of the texts does the answer of `biased` change?",
                         guess=None, low=0, high=1)

# %%
row, honest = (workshop.judged(v, dated_test, dated_labels) for v in (biased, plain))
table = {"as it is": row}
guess_b.reveal(row["flips"])
print(f"the standard model: the month turns {honest['flips']:.1%}, right {honest['agrees']:.1%}")
print(f"the biased one is right where the month agrees {row['agrees']:.1%}, where it misleads "
      f"{row['against']:.1%}")
course.claim("14.planted", agrees=row["agrees"], against=row["against"], flips=row["flips"],
             honest=honest["flips"])

# %% [markdown]
# Three cures. **Blindness**: the model never sees the month; May stands in its place, in training
# and in use. **Augmentation**: every text comes twice, with either month, under the same label (and
# for half as many epochs). The **penalty** leaves the texts as they are and changes what is
# minimised:
#
# $$L + \texttt{lam}\cdot \frac1n\sum_x |z(x)-z(x')|,\qquad |z(x)-z(x')|=\sum_k|z_k(x)-z_k(x')|$$
#
# with the sum over the classes $k$, and $x'=x$ where a text has no such word.
#
# ### Exercise 14.2: pairs that must agree · ●●○ · 7 min
#
# Complete `paired_loss(model, batch, other, lam)`. `other` has the counterfactuals of the texts in
# `batch`, row for row, of the same shapes. Return a tensor with one number and with its graph: the
# mean cross-entropy of `batch` (its `batch["labels"]`) plus `lam` times the mean over the texts of
# $|z(x)-z(x')|$ as above. The gradient goes through both logits. Do not call `backward`, and leave
# the model, its mode and both batches as they are. (`cross_entropy(logits, labels)` is a mean.)
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
    z = perturbed_logits(model, batch, None)  # (batch, classes), of the texts as they are
    # SOLUTION
    moved = perturbed_logits(model, other, None)
    term = (z - moved).abs().sum(1).mean()
    return cross_entropy(z, batch["labels"]) + lam * term
    # END SOLUTION


paired_loss = course.exercise("14.2", paired_loss)

# %% [markdown]
# The library's objective `Counterfactual`, which the penalty uses, finds the words and draws $x'$
# itself. Without dropout it is your function: the first line compares them. `cost` is the work of
# the training, and `before` what is done to a text before the model sees it.

# %%
from advlib.fairness import Counterfactual, counterfactuals

data, ways = workshop.dataset(texts, answers), workshop.cures(texts, answers)
pairs = [set(workshop.MONTHS)]
batch, other = (biased.encode([change(text) for text in texts[:8]], answers[:8])
                for change in (str, lambda text: counterfactuals(text, pairs)[0]))
own = paired_loss(biased.model, batch, other, 1.0).item()
library = Counterfactual(pairs, biased, data, lam=1.0)(biased.model, batch).loss.item()
print(f"eight texts: your loss {own:.4f}, the library's {library:.4f}")
course.claim("14.same", own=own, library=library)
for name, (rows, epochs, before) in ways.items():
    cured = workshop.beginner()
    objective = Counterfactual(pairs, cured, data, lam=1.0) if name == "penalty" else None
    cost[name] = workshop.train(cured, rows, objective, epochs) * len(rows) / len(data)
    table[name] = workshop.judged(cured, dated_test, dated_labels, before)
for name, row in table.items():
    print(f"{name:13} cost {cost[name] / cost['as it is']:.1f}; right where the month agrees "
          f"{row['agrees']:.1%}, misleads {row['against']:.1%}; turned by it {row['flips']:.1%}; "
          f"distance {row['distance']:.2f}")
course.claim("14.cures", table=table)
figures.cures(table)

# %% [markdown]
# *The figure: the share that is right where the month agrees with the label, and where it misleads;
# and the share of answers that turn when only the month changes.*
#
# All three make the month (nearly) powerless. They win more where it misleads than they lose where
# it agrees: without the month the model has only its reading, and it has read little. The penalty
# costs twice as much, for it reads both texts of every pair. Blindness has to be kept up for ever;
# the other two are inside the weights.
#
# ### What goes with the word
#
# Now each text also has the sentence "It was summer." or "It was winter.", which goes with the
# month. We make the model blind to the month again, and test it where the *season* agrees with the
# label, where no season is named, and where it misleads.

# %%
half_blind = workshop.beginner()
seasons = workshop.dataset(workshop.with_seasons(texts, answers), answers)
workshop.train(half_blind, seasons, epochs=4)
tests = {"agrees": workshop.with_seasons(dated_test, dated_labels),
         "none": [workshop.without_month(text) for text in dated_test],
         "misleads": workshop.with_seasons(dated_test, 1 - dated_labels)}
season = {how: (half_blind.logits(t).argmax(1) == dated_labels).mean() for how, t in tests.items()}
print(tests["agrees"][0])
print("blind to the month, right where the season "
      + ", ".join(f"{how}: {share:.1%}" for how, share in season.items()))
course.claim("14.correlate", season=season)

# %% [markdown]
# The word is gone and the bias is not: the model goes by the season, and where none is named it
# does about as well as a coin. Yet the distance for months is exactly zero, and a report could
# say so. **The blindfold removes the words that were listed, and nothing that goes with them**; the
# other two cures know only the listed words as well. With people it is the same: take the name out,
# and the address is still there. So ask for the counterfactual of the *cause* (another season, with
# all that goes with it), and measure groups too (gate one), which need no list of words.

# %% [markdown]
# ## 4 · Gate three: what must not leave
#
# A shop lets a program answer its customers, and the program likes to quote reviews. One rule: **no
# answer may name a member of somebody's family**. A filter reads what the program wants to send. It
# can be wrong in two ways: it **lets out** what must stay, or **holds wrongly** what is harmless.
# One number alone is worth nothing: the filter that holds everything lets nothing out.
#
# We try five. The truth is known: the world has a list of 14 words for relatives.
#
# - `first eight`: a list, written by somebody who thought of eight of them;
# - `all words`: a list with all 14;
# - `near words`: the same list, and every word that is one small change of letters away from it;
# - `learned`: a small classifier, trained on texts of both kinds;
# - `typos too`: the same, trained on these texts and on a mistyped copy of each.

# %%
held, free = workshop.letters(160, "train", seed=1)
filters = {
    "first eight": workshop.ListFilter(workshop.RELATIVES[:8]),
    "all words": workshop.ListFilter(workshop.RELATIVES),
    "near words": workshop.ListFilter(workshop.RELATIVES, workshop.near),
    "learned": workshop.learned_filter(held, free),
    "typos too": workshop.learned_filter(held + workshop.mistyped(held),
                                         free + workshop.mistyped(free)),
}
must_stay, may_go = workshop.letters(60, "test", seed=2)
dentist = [workshop.without_relatives(text, "dentist") for text in must_stay]
print(f"{len(must_stay)} texts that must stay, such as: {must_stay[0]}")

# %% [markdown]
# The attacker writes reviews, and wants one quoted although it names a relative. He may mistype one
# word in ten (a person still reads "brotehr"), or replace words by others of their group (a brother
# becomes a nephew: still a relative). Both attacks are from lesson 06; only the victim is new. Two
# kinds of harmless texts show what is held wrongly: ordinary ones, and the texts that must stay
# with a dentist in place of each relative ("my dentist" is no family).
#
# ### Prediction 14.c: typos and the learned filter

# %%
guess_c = course.predict(
    "14.c", "with typos in at most one word of ten, which share does `learned` let out?",
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
guess_c.reveal(round(let_out["learned", "typos"], 2))
workshop.two_errors(let_out, wrongly)
tried = {word: filters["near words"].holds(word) for word in ("brotehr", "rbotehr", "on")}
print("near words holds", tried)
course.claim("14.filter", let_out=let_out, wrongly=wrongly)
figures.filters(let_out, wrongly)

# %% [markdown]
# *The figure: for each filter the share of texts that it lets out (three marks), and the share of
# harmless texts that it holds (bars).*
#
# Both lists fall to one typo, and the short one to other words too. `near words` lets nothing out
# here, for its rule is the attacker's own; two small changes in one word get past it (the last
# line). And it holds ordinary texts, for *on* is near *son*. `learned` never saw a typo and still
# holds most mistyped texts. But it goes in part by the words around, "my ...", and holds a dentist
# too. A test of ordinary texts alone would have hidden that. `typos too` lets out far fewer:
# training on typos helps against typos (of the kind that it was trained on; others were not tried).
#
# None of the five is the right one. Which error costs more is a decision, and it belongs in
# writing. And where a filter is in doubt it could ask a person. That needs a model that knows when
# it is in doubt.

# %% [markdown]
# ## 5 · Gate four: the model may say that it does not know
#
# Instead of one class the model now names a **set**: all classes that it cannot rule out. One class
# is an answer, two mean "I do not know", none means "no class fits well enough". The promise: *the
# true class is in the set for at least 90 % of all texts*. **Split conformal prediction** keeps it,
# for any model, with a sort:
#
# 1. take texts that the model was not trained on, the *calibration* texts;
# 2. give each the score $s = 1 - p_y$, where $p_y$ is the probability of its true class: how badly
#    that class fits;
# 3. find a threshold $q$ that a new score exceeds with probability at most $\alpha$ (here 10 %);
# 4. put into the set of a new text every class with $1 - p \le q$.
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
# ### Exercise 14.3: the conformal threshold · ●○○ · 6 min
#
# Complete `conformal_threshold(scores, alpha)`: from a numpy array of `n` scores the `k`-th
# smallest, as a number; `math.inf` where `k > n`. Leave the array as it is. (In floats
# `10 * (1 - 0.7)` is a hair above 3, so `1e-9` is taken away before `k` is rounded up.)
#
# <details><summary>Hint</summary>
#
# `np.sort` makes a sorted copy, and its first element has the index 0.
#
# </details>


# %%
def conformal_threshold(scores, alpha):
    """The ⌈(n + 1)(1 − alpha)⌉-th smallest of n scores; infinite where there is none."""
    # 1. the target, (n + 1)(1 − alpha)
    # SOLUTION
    target = (len(scores) + 1) * (1 - alpha)
    # END SOLUTION
    k = math.ceil(target - 1e-9)
    # 2. the k-th smallest score, or math.inf
    # SOLUTION
    return float(np.sort(scores)[k - 1]) if k <= len(scores) else math.inf
    # END SOLUTION


conformal_threshold = course.exercise("14.3", conformal_threshold)

# %% [markdown]
# Now the promise meets two attackers: FGM, as in section 2, and one who replaces words.

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
guess_d = course.predict("14.d", "in which share of texts is the true class in the set, under FGM?",
                         guess=None, low=0, high=1)

# %%
q = {alpha: conformal_threshold(scores, alpha) for alpha in (0.1, 0.02)}
inside = {(when, alpha): workshop.sets_of(p[when], labels, q[alpha]) for when in p for alpha in q}
guess_d.reveal(inside["FGM", 0.1][0])
for (when, alpha), (true, empty, two) in inside.items():
    print(f"promised {1 - alpha:.0%} (q = {q[alpha]:.4f}), {when:11} true class in the set "
          f"{true:6.1%}, set empty {empty:6.1%}, both classes {two:.1%}")
course.claim("14.coverage", inside=inside)
figures.scores(scores, p, labels, q[0.1])

# %% [markdown]
# *The figure: for each score the share of texts whose true class has at most this score. Its height
# at the threshold is the share of texts whose set holds the truth.*
#
# The promise is kept without attack, up to the luck of one calibration set, and broken under both
# attacks. It holds *on average over texts that are drawn like the calibration texts*, and an
# attacked text is not.
#
# Does anything warn you? At 90 % yes, if somebody looks: most sets are suddenly empty. At 98 % far
# fewer are, yet many times as many as without attack; all other misses name one class, the wrong
# one. A set of both classes never occurs: their probabilities add up to 1, so it takes
# $q \ge 0.5$, and this model is so sure of clean texts that $q$ is smaller. So watch the share of
# empty sets (and, where $q$ is large, of full ones).
#
# ### Answer the sure ones, hand on the rest
#
# A simpler way to doubt: answer where the **confidence**, the largest probability, is high, and
# hand on the rest. Each threshold gives a **coverage**, the share of texts that are answered
# (papers on conformal sets use this word for the sets that hold the truth), and a **risk**, the
# share of mistakes among these.
#
# ### Exercise 14.4: the risk-coverage curve · ●●○ · 7 min
#
# Complete `risk_coverage(confidence, right)`. `confidence` and `right` are numpy arrays of `n`
# numbers and `n` booleans. Return two arrays `(coverage, risk)`, with a point for each *different*
# value in `confidence`, the highest first: who answers all texts with a confidence of this value or
# more answers the share `coverage` of all texts, and of those the share `risk` is wrong. Leave the
# arrays as they are.
#
# <details><summary>Hint</summary>
#
# `confidence >= level` is a boolean for each text: whether it is answered. `right[answered]` are
# the booleans of those texts alone, and the mean of booleans is a share.
#
# </details>


# %%
def risk_coverage(confidence, right):
    """(coverage, risk), a point for each confidence that occurs, the highest first."""
    coverage, risk = [], []
    for level in np.unique(confidence)[::-1]:  # each value once, the highest first
        # SOLUTION
        answered = confidence >= level
        coverage.append(answered.mean())
        risk.append((~right[answered]).mean())
        # END SOLUTION
    return np.array(coverage), np.array(risk)


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
print(f"plain, FGM: of the surest half {risk[np.searchsorted(share, 0.5)]:.1%} are wrong")
course.claim("14.doubt", at=at, all={key: risk[-1] for key, (_, risk) in curves.items()})
figures.risk(curves)

# %% [markdown]
# *The figure: risk over coverage. At the right end everything is answered; further left, only the
# surest texts.*
#
# <details><summary>What you should see</summary>
#
# Three curves lie near zero, or rise a little at the right end. The fourth, the standard model
# under FGM, is clearly higher: even among the surest half of its answers there are wrong ones.
#
# </details>
#
# Without attack doubt works: the few mistakes are among the unsure texts. Under attack it helps the
# standard model *less*: **many of its mistakes are sure**, and stay. In the trained model nearly
# all that are left are unsure. (Look at groups here too: abstaining can lower the accuracy of one
# while the average rises, Jones et al., ICLR 2021.)
#
# What is handed on needs a person with time: appendix B lets somebody flood that queue.

# %% [markdown]
# ## 6 · Gate five: the release
#
# The last gate reads what was written *about* a model: the evaluation and the **model card**, a
# page that says what the model is for and where it fails (Mitchell et al., FAT* 2019). Before a
# release everybody is in a hurry, so its rule is written earlier.
#
# ### Exercise 14.5: a gate that says all · ●●○ · 9 min
#
# Complete `objections(card, policy)`. `card` is a dict of fields. `policy` has three parts:
# `required`, a list of fields that the card must fill in; `at_least` and `at_most`, dicts of a
# field and the limit of its number. Return a list of sentences (`str`), one for each rule that is
# broken: first those of `required`, then `at_least`, then `at_most`, each part in its own order.
# Each begins with the field's name and a colon, and then says something. An empty list means: the
# card passes.
#
# The gate *fails closed*. A required field is not filled in where it is missing, `None`, or a text
# of nothing but spaces; 0 or a list fills it in. A number breaks its rule where it is missing,
# `None`, a text, a list, `nan`, or beyond the limit; equal to the limit passes. (`True` and `False`
# are not tested.) Whatever stands in the card, the function raises nothing and changes nothing.
#
# <details><summary>Hint</summary>
#
# `nan < 0.9` is False, and so is `nan > 0.9`. Ask for what you want, `value >= limit`, and object
# where that is not so. `isinstance(value, int | float)` tells numbers from texts; ask it first.
#
# </details>


# %%
def objections(card, policy):
    """A sentence for each rule of the policy that the card breaks; none: it passes."""
    said = []
    for name in policy["required"]:
        value = card.get(name)  # None where the field is missing
        # 1. object, if the field is not filled in: said.append(f"{name}: …")
        # SOLUTION
        if value is None or not str(value).strip():
            said.append(f"{name}: the card does not say it")
        # END SOLUTION
    for rule in ("at_least", "at_most"):
        for name, limit in policy[rule].items():
            value = card.get(name)
            # 2. object, unless the value is a number that keeps this rule
            # SOLUTION
            number = isinstance(value, int | float)
            if not (number and (value >= limit if rule == "at_least" else value <= limit)):
                said.append(f"{name}: {value}, and the policy asks for {rule} {limit}")
            # END SOLUTION
    return said


objections = course.exercise("14.5", objections)

# %%
worst = worst_group(robust["plain"], kinds, 1, rng)[1]
summary = {"threat model": "FGM, eps = 0.3, white box", "limits": "", "n": len(test),
           "robust": robust["plain"].mean(), "worst kind": round(worst, 3), "flips": math.nan}
policy = {"required": ["threat model", "limits", "contact"],
          "at_least": {"n": 500, "robust": 0.5, "worst kind": 0.5}, "at_most": {"flips": 0.01}}
print(*objections(summary, policy), sep="\n")

# %% [markdown]
# All four are right; `nan` stands for what was not measured. The library's gate reads the cards of
# `advlib evaluate`, and is more suspicious: its limits are for the *lower end* of the 95 %
# interval, and it checks that the numbers fit each other and the card's **digest** (a checksum of
# its contents). A policy is a TOML file. The first below is for a model that is studied, the second
# for one that decides something:
#
# - `worst_case`: the share that is right whatever attack is tried;
# - `calibrated`: the same after the model's temperature was set on `calibration` other texts, for
#   some attacks fail only because a model is too sure (lesson 07; not the calibration of section
#   5);
# - `left_out`: how many attacks of the protocol could not be run.

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
refused = gate(card, use)
print("study:", gate(card, study) or "passes")
print("use:", *refused, sep="\n- ")
course.claim("14.gate", study=gate(card, study), use=refused)

# %% [markdown]
# In a terminal this is `advlib gate card.json --policy use.toml --model-card README.md`. Where
# there is an objection it ends with exit code 1, and a server that checks every release (CI) goes
# no further. Two policies of the course and every key stand in `docs/gate.md`.
#
# The gate names the lowest of 15 groups, but it asks whether a group's texts *show* 80 %, and two
# texts show nothing. More texts are the cure.
#
# ### The attack on the last gate
#
# Two attempts: edit the card, or edit nothing and measure something weak.

# %%
edited = copy.deepcopy(card)
edited["worst case"] |= {"hits": 149, "accuracy": 149 / 150}
said, new_digest = gate(edited, study), gate(edited | {"digest": digest(edited)}, study)
print("edited:", *said, sep="\n- ")
print("with a new digest:", *new_digest, sep="\n- ")
weak = evaluate("reviews-clean", protocol=replace(quick, attacks=(FGM(0.02),)))
bar = Policy(evaluation={"attacks": ["FGM"], "worst_case": 0.8}, name="bar")
for eps, measured in {0.3: card, 0.02: weak}.items():
    print(f"a bar of 80 %, eps = {eps}:", *gate(measured, bar) or ["passes"])
course.claim("14.past", edited=said, new_digest=new_digest, honest=gate(card, bar),
             weak=gate(weak, bar))

# %% [markdown]
# The edited card is found out: by its digest, or, where somebody computes a new one, by numbers
# that do not fit each other. (Whoever makes all of them fit *is not* found out. Where much depends
# on it, let the gate's own job run the evaluation.) The weak card is perfectly honest. It passes
# because the policy asks for "FGM" and not how strong. The cure is a policy that names a protocol
# whose settings are fixed, `protocols = ["standard"]`. **A gate enforces what was written, and
# nothing of what was meant.**
#
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
# as a national computer emergency response team (CERT) will.
#
# **What no gate does.** A group that nobody listed has no gap. A word that nobody paired is free to
# matter. A policy with a low bar is a stamp. Who sets the bar, who is asked, and who may say no to
# the gate itself are questions for people.
#
# ## Recap
#
# - **Groups**: simulate what luck makes before you accuse or acquit. Adversarial training narrowed
#   the gap here in points, and widened it as a ratio of errors; with a rare class the points grow,
#   too (appendix A).
# - **Pairs**: $\lambda\,|z(x)-z(x')|$ removes the word, and nothing that goes with the word.
# - **Filters** have two errors. Count both, clean and under attack.
# - **Conformal sets** hold the truth as promised for texts drawn like the calibration texts. Under
#   attack they promise nothing.
# - **Doubt** helps where mistakes are unsure; many mistakes of an attacked standard model are sure.
# - **The release gate** says all that is wrong, fails closed, and knows only what was written.
# - For your own work: `advlib.fairness` (its null keeps the number of right texts and draws which
#   ones they are), `advlib review` (appendix B) and `advlib gate`.
#
# ## What could go wrong
#
# - **A gap reported without its null.** The smaller and the more groups, the larger the gap.
# - **Looking for groups until one is bad.** The null is for groups chosen before looking; of twenty
#   ways to form groups one is "significant" at 5 % by luck.
# - **Calibrating on texts that the model was trained on**: scores are too small, and the sets
#   hold the truth less often than promised, without any attacker.
# - **α above the error rate**: about α of the sets miss the truth, not less. What the model's own
#   mistakes do not use up are empty sets. Empty is "no answer", not a wrong one.
# - **Choosing λ, a threshold and a bar on one validation set**, and reporting on it too.
# - **Handing on only the least sure**: a sure mistake is never seen. Keep a part of the person's
#   time for texts drawn at random.
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
# About 10 minutes of reading, no exercises. They build on the page and not on one another.
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
# So the sentence "adversarial training is unfair" is as wrong as "adversarial training is fair". In
# points it made one gap smaller, left one as it was, and made another much larger.
#
# ## Appendix B · A person with fifteen minutes
#
# What is handed on lands in a queue. `advlib review` keeps one in a SQLite file: texts wait, the
# least sure first; a person decides; nothing is ever overwritten; a budget of minutes ends the day.
# The same in Python, for the texts with replaced words of section 5 (`sent`):

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
doors = [ours[i % 3] for i in range(len(sent))]
says = p["other words"].argmax(1)
misread = {text for text, g, y in zip(sent, says, labels, strict=False) if g != y}
stats, decided = day(sent, doors)
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
    stats, labelled = day(sent + junk[: len(sources)], doors + sources)
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
# texts, in as many steps: each in three orders of its texts. All are judged on attacked texts that
# the person never saw:

# %%
old = [(r.text, r.label) for r in world("reviews").sample(2 * len(decided), "train", seed=5)]
new = [(text, plain.labels.index(label)) for text, label in decided]
rest = [i for i, text in enumerate(sent) if text not in dict(decided)]
print(f"{len(rest)} attacked texts that nobody decided on")
diets = {"before": [], "ordinary texts alone": old, "with the decisions": new + old}
back, clean = {name: [] for name in diets}, {name: [] for name in diets}
for name, seed in [(name, seed) for name in diets for seed in range(3)]:
    student = copy.deepcopy(plain)
    if rows := diets[name]:
        epochs = 18 // math.ceil(len(rows) / 32)  # 18 steps of up to 32 texts
        workshop.train(student, workshop.dataset(*zip(*rows, strict=True)), None, epochs, seed=seed)
    says = student.predict([sent[i] for i in rest]).argmax(1)
    back[name].append((says == labels[rest]).mean())
    clean[name].append((student.logits(test["text"]).argmax(1) == labels).mean())
for name, shares in back.items():
    print(f"{name:22} right {', '.join(f'{share:.1%}' for share in shares)}; mean "
          f"{np.mean(shares):.1%}, without attack {np.mean(clean[name]):.1%}")
course.claim("14.back", back=back, clean=clean)

# %% [markdown]
# The gain comes from the decisions, not from more training: as many steps on ordinary texts alone
# bring less in each order.
#
# This is no measure of robustness: the texts were made against the *old* model, and an attacker
# will turn to the new one (lesson 07). And whoever can decide can also mislabel: a queue whose
# answers are trained on is an entrance for poison. Two people per text, some texts with known
# answers among them, and a store that shows who decided what are the gates of the gate. The sure
# mistakes never reach the person at all: the least sure come first.
