# %% [markdown]
# # 14 · Ethics gates
#
# {{BADGE}}
#
# **You will**
#
# - tell a group that is treated worse from the bad luck of a small group;
# - train a model not to react to a word that should not matter, and see where that fails;
# - let a model hand on what it is unsure of, and see where an attack leaves that;
# - write a gate that reads an evaluation and refuses it, with a reason for each fault.
#
# **Time** {{TIME}} About 75 minutes for you: 49 of reading, 26 of exercises. The appendix (a class
# that is rare; a filter; doubt, with exercises 14.3 and 14.4; a person with little time) is another
# 55 minutes and can be left out: nothing builds on it.
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
# time, and now and then it says no. This lesson builds four and shows where each fails; a fifth, a
# filter, is in the appendix. All texts are harmless reviews.

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
# *The figure: the gates, with their sections. Above each, what it judges; below, what it is
# against.*
#
# ## 2 · Gate one: is a group treated worse?
#
# The reviews are about 15 kinds of things, their **domains**: hotels, films, phones and so on. We
# attack two models with FGM, `plain` (standard training) and `trained` (trained with FGM), and look
# at each domain.

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
# In `plain` one domain is misread far more often than the average. A headline? First ask what such
# a line says where domains do not matter.
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
# Make a thousand such worlds, and look. They are the **null**: what luck makes where there is
# nothing to find.
#
# ### Exercise 14.1: the worst group, and chance · ●●○ · 10 min
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
# looks bad. (Nor does it prove that all domains are treated alike: so few texts cannot tell.) How
# many texts per group would a gate need that refuses at "10 points between groups"? Move `texts`
# until chance makes 10 points in less than 5 % of worlds.

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
# Now groups by how a text is built: `direct` praise or blame; `negated` ("not bad"); and
# `conceded`, where a word such as *but* admits a point before the verdict ("the room was small, but
# we loved the view").

# %%
kinds = np.array([workshop.kind_of(text) for text in test["text"]])
by_kind = {}
for name in victims:
    for when, outcome in {"clean": right[name], "FGM": robust[name]}.items():
        group, accuracy, gap, chance = worst_group(outcome, kinds, 4000, rng)
        by_kind[name, when] = gap, chance
        print(f"{name:8} {when:6} worst {group:9} {accuracy:6.1%}, gap {gap:6.1%}, "
              f"as large by chance: {f'{chance:.2%}' if chance else '< 1/4000'}")
course.claim("14.kinds", by_kind=by_kind)
figures.kinds(kinds, right, robust)

# %% [markdown]
# *The figure: accuracy by the way a text is built, without attack (hollow) and under FGM (full),
# with 95 % intervals; n is the number of texts.*
#
# <details><summary>What you should see</summary>
#
# Without attack all groups are near 100 %. Under FGM `plain` loses the conceded texts far more
# often: no simulated world shows such a gap. In `trained` it is much smaller, and no luck either.
#
# </details>
#
# **Attacks show plainly what clean accuracy shows only faintly**: without attack the conceded texts
# of `plain` are only a few points behind (more than luck). Adversarial training made the gap
# smaller here, in points. It is not always so: Xu et al. (ICML 2021) found a *larger* one between
# classes of pictures, and so does appendix A where a class is rare.
#
# ## 3 · Gate two: a word that should not matter
#
# Often one can say something simpler than a group: *this word must not matter*, a month, a name, a
# town. Garg et al. (AIES 2019) exchange the word, which makes of a text $x$ its **counterfactual**
# $x'$, and ask whether the answer changes.
#
# `plain` passes (a cell below counts). So we plant a bias in another model. In its training texts
# the month always goes with the label: July for praise, November for blame. The month is not *why*
# a review is good, only easier to read. In use it may **agree** with the label or **mislead**.

# %%
texts, answers = workshop.dated(profile.pick(256, 1000), "train", seed=1)
dated_test, dated_labels = workshop.dated(200, "test", seed=3)
print(texts[0])
biased = workshop.beginner()
cost = {"as it is": workshop.train(biased, workshop.dataset(texts, answers), epochs=4)}

# %% [markdown]
# (`beginner` is a model that has only begun to read, so seconds of training plant a bias.)
#
# ### Prediction 14.b: nothing but the month
#
# We make two copies of the test texts: one all from July, one all from November.

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
# Three cures. **Blindness**: in training and in use every month is replaced by the word "May".
# **Augmentation**: every text comes twice, with either month, under the same label (and for half as
# many epochs: the same work). The **penalty** leaves the texts as they are and changes what is
# minimised:
#
# $$L + \texttt{lam}\cdot \frac1n\sum_x |z(x)-z(x')|,\qquad |z(x)-z(x')|=\sum_k|z_k(x)-z_k(x')|$$
#
# This **distance** adds up over the classes $k$ how far the logits $z$ are apart; $x'=x$ where a
# text has no such word.
#
# ### Exercise 14.2: pairs that must agree · ●●○ · 8 min
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
# The penalty trains with the library's `Counterfactual`, which finds the words and makes $x'$ by
# itself. Without dropout it is your function: the first line compares them. `cost` is the work of
# the training.

# %%
from advlib.fairness import Counterfactual, counterfactuals

data = workshop.dataset(texts, answers)
pairs = [set(workshop.MONTHS)]
batch, other = (biased.encode([change(text) for text in texts[:8]], answers[:8])
                for change in (str, lambda text: counterfactuals(text, pairs)[0]))
own = paired_loss(biased.model, batch, other, 1.0).item()
library = Counterfactual(pairs, biased, data, lam=1.0)(biased.model, batch).loss.item()
print(f"eight texts: your loss {own:.4f}, the library's {library:.4f}")
course.claim("14.same", own=own, library=library)
for name, (rows, epochs, blindfold) in workshop.cures(texts, answers).items():
    cured = workshop.beginner()
    objective = Counterfactual(pairs, cured, data, lam=1.0) if name == "penalty" else None
    cost[name] = workshop.train(cured, rows, objective, epochs) * len(rows) / len(data)
    table[name] = workshop.judged(cured, dated_test, dated_labels, blindfold)
for name, row in table.items():
    print(f"{name:13} cost {cost[name] / cost['as it is']:.1f}; right where the month agrees "
          f"{row['agrees']:.1%}, misleads {row['against']:.1%}; turned by it {row['flips']:.1%}; "
          f"distance {row['distance']:.2f}")
course.claim("14.cures", table=table)
figures.cures(table, len(dated_test))

# %% [markdown]
# *The figure: the share that is right where the month agrees with the label, and where it misleads;
# and the share of answers that turn when only the month changes, with 95 % intervals.*
#
# All three make the month (nearly) powerless. They win more where it misleads than they lose where
# it agrees: without the month the model has only its reading, and it has read little. (The
# intervals rank no cure above another.) The penalty costs twice as much, for it reads both texts of
# every pair. Blindness has to be kept up for ever; the other two are inside the weights.
#
# ### What goes with the word
#
# Now each text also has the sentence "It was summer." or "It was winter.", which goes with the
# month. We make the model blind to the month again, and test it where the *season* agrees with the
# label, where none is named, and where it misleads.

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
# does about as well as a coin. Yet it sees no month, so the distance for months must be zero, and a
# report could say so. **The blindfold removes the words that were listed, and nothing that goes
# with them**; the other two cures are given the same list. With people it is the same: take the
# name out, and the address is still there. So measure groups too, which need no list of words.

# %% [markdown]
# ## 4 · Gate three: the model may say that it does not know
#
# Answer where the **confidence**, the largest probability, is high, and hand the rest on to a
# person. Each threshold gives a **coverage**, the share of texts that are answered, and a **risk**,
# the share of mistakes among these (exercise 14.4, in the appendix, computes them).
#
# ### Prediction 14.c: the least sure fifth
#
# Under FGM `plain` misreads more than a quarter of the texts. Now the fifth of which it is least
# sure goes to a person.

# %%
guess_c = course.predict("14.c", "which share of its other answers is still wrong?", guess=None,
                         low=0, high=1)

# %%
from advlib import fairness

curves = {}
for name in victims:
    for when, logits in {"clean": clean_logits[name], "FGM": fgm_logits[name]}.items():
        sure = workshop.softmax(logits).max(1)
        _, *curves[name, when] = fairness.risk_coverage(sure, logits.argmax(1) == labels)
at = {key: risk[np.searchsorted(share, 0.8)] for key, (share, risk) in curves.items()}
guess_c.reveal(round(at["plain", "FGM"], 3))
for (name, when), risk in at.items():
    print(f"{name:8} {when:6} wrong: {curves[name, when][1][-1]:.1%} of all; without the least "
          f"sure fifth {risk:.1%}")
course.claim("14.doubt", at=at, all={key: risk[-1] for key, (_, risk) in curves.items()})
figures.risk(curves)

# %% [markdown]
# *The figure: risk over coverage. At the right end everything is answered; further left, only the
# surest texts. Left of 5 % too few are answered, and nothing is drawn.*
#
# <details><summary>What you should see</summary>
#
# Three curves lie near zero, or rise a little at the right end. The fourth, `plain` under FGM, is
# clearly higher all the way. It even rises at the left end: some of its very surest answers are
# wrong.
#
# </details>
#
# Without attack doubt works: the few mistakes are among the unsure texts. Under attack it helps
# `plain` *less*: **many of its mistakes are sure**, and stay. In `trained` nearly all that are left
# are unsure. (Look at groups here too: handing on can lower the accuracy of one while the average
# rises, Jones et al., ICLR 2021.) In appendix C doubt comes with a promise; in D somebody floods
# the person who gets the rest.

# %% [markdown]
# ## 5 · Gate four: the release
#
# The last gate reads what was written *about* a model: the evaluation and the **model card**, a
# page that says what the model is for and where it fails (Mitchell et al., FAT* 2019). Its rule is
# written before the hurry of a release.
#
# ### Exercise 14.5: a gate that says all · ●●○ · 8 min
#
# Complete `objections(card, policy)`. `card` is a dict of fields. `policy` has three parts:
# `required`, a list of fields that the card must fill in; `at_least` and `at_most`, dicts of a
# field and the limit of its number. Return a list of sentences (`str`), one for each rule that is
# broken: first those of `required`, then `at_least`, then `at_most`, each part in its own order.
# Each begins with the field's name and a colon, and then says something.
#
# The gate *fails closed*. A required field is not filled in where it is missing, `None`, or a text
# of nothing but spaces; all else fills it in (that loop is written). A number breaks its rule where
# it is missing, no `int` or `float`, `nan`, or beyond the limit; equal to the limit passes. (`True`
# and `False` are not tested.) Whatever stands in the card, the function raises nothing and changes
# nothing.
#
# <details><summary>Hint</summary>
#
# `nan < 0.9` is False, and so is `nan > 0.9`. Ask for what you want, `value >= limit`, and object
# where that is not so. Ask `isinstance(value, int | float)` first.
#
# </details>


# %%
def objections(card, policy):
    """A sentence for each rule of the policy that the card breaks; none: it passes."""
    said = []
    for name in policy["required"]:
        value = card.get(name)  # None where the field is missing
        if value is None or not str(value).strip():
            said.append(f"{name}: the card does not say it")
    for rule in ("at_least", "at_most"):
        for name, limit in policy[rule].items():
            value = card.get(name)
            # object, unless the value is a number that keeps this rule
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
# `advlib evaluate` (here of 150 other texts), and is more suspicious: its limits are for the *lower
# end* of the 95 % interval, and it checks that the numbers fit each other and the card's **digest**
# (a checksum of its contents). A policy is a TOML file; [its keys](../docs/gate.md). `worst_case`
# is the share that is right whatever attack is tried.

# %%
from advlib.app.gate import Policy, gate
from advlib.app.protocol import Protocol, evaluate

POLICY = """
[evaluation]
attacks = ["FGM"]
n = 100
clean = 0.90
worst_case = 0.80

[groups]
column = "domain"
n = 20

[model_card]
limits = true
contact = true
"""
use = Policy(**tomllib.loads(POLICY), name="use")
quick = Protocol("lesson 14", version=1, attacks=(FGM(0.3),), n=150, calibration=50)
card = evaluate("reviews-clean", protocol=quick, groups="domain")
refused = gate(card, use)
print(*refused, sep="\n")
course.claim("14.gate", use=refused)

# %% [markdown]
# In a terminal this is `advlib gate card.json --policy use.toml --model-card README.md`. Where it
# objects it ends with exit code 1, which stops a release.
#
# ### The attack on the last gate
#
# Two attempts to pass a bar of 80 %: edit the card, or edit nothing and measure something weak.

# %%
bar = Policy(evaluation={"attacks": ["FGM"], "worst_case": 0.8}, name="bar")
edited = copy.deepcopy(card)
edited["worst case"]["hits"] = 149
weak = evaluate("reviews-clean", protocol=replace(quick, attacks=(FGM(0.02),)))
said = {what: gate(measured, bar) for what, measured in
        {"as measured": card, "edited": edited, "a weak attack": weak}.items()}
for what, sentences in said.items():
    print(f"{what}:", *sentences or ["passes"], sep="\n  ")
course.claim("14.past", said=said)

# %% [markdown]
# The edited card is found out, by its digest and by numbers that do not fit each other. (Whoever
# makes all of them fit *is not* found out. Where much depends on it, let the gate's own job run the
# evaluation.) The weak card is perfectly honest. It passes because the policy asks for "FGM" and
# not how strong. The cure is a policy that names a protocol whose settings are fixed, `protocols =
# ["standard"]`. **A gate enforces what was written, and nothing of what was meant.**
#
# ## 6 · What this course does, and what it leaves out
#
# **Dual use.** Everything in lessons 02 to 06 can be turned against a system in use. It is taught
# with harmless texts and small models, and each attack beside its defence. **Left out, on
# purpose**: attacks on named products, texts that do harm, data about real people.
#
# **Disclosure.** Test only what is yours or what you were allowed to test. Where you find a weak
# place: write down what you did; tell those who can mend it, first and alone; agree on a date;
# publish after it, with what helps the defender.
#
# **What no gate does.** A group that nobody listed has no gap. A word that nobody paired is free to
# matter. A policy with a low bar is a stamp. Who sets the bar, who is asked, and who may say no to
# the gate itself are questions for people.
#
# ## Recap
#
# - **Groups**: simulate what luck makes before you accuse or acquit. Adversarial training narrowed
#   the gap here in points; with a rare class it widens it (appendix A).
# - **Pairs**: $\lambda\,|z(x)-z(x')|$ removes the word, and nothing that goes with the word.
# - **Doubt** helps where mistakes are unsure; many mistakes of an attacked standard model are sure.
# - **The release gate** says all that is wrong, fails closed, and knows only what was written.
# - For your own work: `advlib.fairness` (its null keeps the number of right texts and draws which
#   ones they are), `advlib review` (appendix D) and `advlib gate`.
#
# ## What could go wrong
#
# - **Looking for groups until one is bad.** The null is for groups chosen before looking; of twenty
#   ways to form groups one is "significant" at 5 % by luck.
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
# > **Ethics** The threat models: somebody who knows the model completely and writes to its
# > embeddings; somebody who asks as often as he likes and types words (appendices B and C), or
# > sends texts in large numbers (D); somebody who would like a card to look better. The gates are
# > for texts and models of your own. None of them makes a decision right that should not be made by
# > a machine at all.

# %%
course.progress("14")

# %% [markdown]
# ## Appendix: four pieces that can be left out
#
# About 55 minutes. They build on the page; D also takes the attacked texts of C.
#
# ## Appendix A · When a class is rare
#
# Xu et al. (ICML 2021) train on CIFAR-10, where standard training treats classes about alike, and
# adversarial training leaves 93 % clean accuracy on cars and 65 % on cats, 67 % and 17 % under PGD.
# Ma, Wang and Liu (NeurIPS 2022) find that the gap grows with the `eps` of the training. Our two
# classes have one size and one grammar, so [a benchmark](../docs/results/groups.md) makes a class
# rare (a tenth of the training texts), or the conceded *kind* (a fiftieth). Short trainings, plain
# and with FGM, three seeds each, gaps on clean texts:
#
# - Balanced: at most 8 points between the classes, to either side, about what chance makes.
# - A rare class: 34 to 40 points behind with plain training, and given up altogether with FGM, 99
#   to 100 points. Trained three times as long, 31 to 42 and 60 to 93 points.
# - A rare kind: 18 to 21 points behind with plain training, and 18 to 25 with FGM. That is no
#   difference that three seeds could show.
#
# So the sentence "adversarial training is unfair" is as wrong as "adversarial training is fair".

# %% [markdown]
# ## Appendix B · A filter: what must not leave
#
# A shop lets a program answer its customers, and the program likes to quote reviews. One rule: **no
# answer may name a member of somebody's family**. A filter reads what the program wants to send. It
# can be wrong in two ways: it **lets out** what must stay, or **holds wrongly** what is harmless.
# One number alone is worth nothing: the filter that holds everything lets nothing out.
#
# The truth is known: the world has 14 words for relatives. (Most of these texts name a wife; some
# of the 14 hardly occur.) We try three filters:
#
# - `all words`: a list with all 14;
# - `near words`: the list, and every word that is one small change of letters away from it;
# - `learned`: a small classifier, trained on texts of both kinds.

# %%
held, free = workshop.letters(160, "train", seed=1)
filters = {
    "all words": workshop.ListFilter(workshop.RELATIVES),
    "near words": workshop.ListFilter(workshop.RELATIVES, workshop.near),
    "learned": workshop.learned_filter(held, free),
}
must_stay, may_go = workshop.letters(60, "test", seed=2)
harmless = {"ordinary": may_go} | {
    f"my {other}": [workshop.without_relatives(text, other) for text in must_stay]
    for other in ("friend", "dentist")}
print(f"{len(must_stay)} texts that must stay, such as: {must_stay[0]}")

# %% [markdown]
# The attacker writes reviews, and wants one quoted although it names a relative. He may mistype one
# word in ten, with the typos of lesson 06 (a person still reads "my wief"). Three kinds of harmless
# texts show what is held wrongly: ordinary ones, and the texts that must stay with a friend, or a
# dentist, in place of each relative. The training texts name friends, and no dentist.
#
# ### Prediction 14.d: typos and the learned filter

# %%
guess_d = course.predict(
    "14.d", "with typos in at most one word of ten, which share does `learned` let out?",
    guess=None, low=0, high=1,
)

# %%
let_out, wrongly = {}, {}
for name, one in filters.items():
    for how, attack in {"as it is": None, "typos": Typos(max_changed=0.1)}.items():
        let_out[name, how] = workshop.let_out(one, must_stay, attack)
    for kind, innocent in harmless.items():
        wrongly[name, kind] = (one.predict(innocent).argmax(1) == 1).mean()
guess_d.reveal(round(let_out["learned", "typos"], 2))
workshop.two_errors(let_out, wrongly)
tried = {word: filters["near words"].holds(word) for word in ("wief", "iwef", "on")}
print("near words holds", tried)
course.claim("14.filter", let_out=let_out, wrongly=wrongly)
figures.filters(let_out, wrongly, len(must_stay))

# %% [markdown]
# *The figure: for each filter the share of texts that it lets out (two marks), and the share of
# harmless texts that it holds (bars), with 95 % intervals.*
#
# The list falls to typos. `near words` lets nothing out here, for its rule is the attacker's own;
# two small changes in one word get past it (the last line). And it holds ordinary texts, for *on*
# is near *son*. `learned` never saw a typo and still holds most mistyped texts. But it holds most
# texts with a dentist too, a word that it never saw, and some with a friend; a test of ordinary
# texts alone would have hidden that. Perhaps it holds what is strange in that place, and a mistyped
# wife is as strange as a dentist.
#
# Over [five trainings](../docs/results/filters.md) it lets out 13 to 42 % under typos, and holds 78
# to 100 % of the dentists. Trained on a mistyped copy of each text too, it lets out 0 to 13 %, and
# holds every dentist: that it lets out less does not yet say that it reads typos better.
#
# None of the three is the right one. Which error costs more is a decision, and it belongs in
# writing.

# %% [markdown]
# ## Appendix C · Doubt, by hand and with a promise
#
# ### Exercise 14.4: the risk-coverage curve · ●●○ · 9 min
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
sure = workshop.softmax(fgm_logits["plain"]).max(1)
own, library = risk_coverage(sure, robust["plain"]), curves["plain", "FGM"]
print("the curve of section 4:", all(np.allclose(a, b) for a, b in zip(own, library, strict=True)))

# %% [markdown]
# ### Sets that hold the truth
#
# Instead of one class the model now names a **set**: all classes that it cannot rule out. One class
# is an answer, two mean "I do not know", none means "no class fits well enough". The promise: *the
# true class is in the set for at least 90 % of all texts*. (The model alone is right more often.
# But what a set misses need not be a wrong answer: the set may be empty.) **Split conformal
# prediction** keeps the promise, for any model, with a sort:
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
# is the smallest rank that keeps the promise: with $n = 9$ scores and $\alpha = 0.1$ it is the 9th,
# the largest. With $n = 8$ it is the 9th too, and there is none: where $k > n$ only an infinite
# threshold, that is a set of all classes, keeps the promise.
#
# ### Exercise 14.3: the conformal threshold · ●○○ · 7 min
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
# Three kinds of texts: as they are, under FGM as in section 2, and with words replaced by the
# attack of lesson 06.

# %%
held_out = world("reviews").sample(profile.pick(300, 1000), "validation", seed=9)
fit = plain.predict([r.text for r in held_out])
scores = 1 - fit[np.arange(len(fit)), [r.label for r in held_out]]
some = slice(0, profile.pick(100, 400))
changed = WordSubstitution()(plain, test["text"][some], labels[some])
reworded = [result.text for result in changed]
p = {"clean": workshop.softmax(clean_logits["plain"]),
     "FGM": workshop.softmax(fgm_logits["plain"]), "other words": plain.predict(reworded)}
print(f"replaced words leave {np.mean([r.robust for r in changed]):.1%} of {len(changed)} texts "
      "right")

# %% [markdown]
# ### Prediction 14.e: a promise of 90 %

# %%
guess_e = course.predict("14.e", "in which share of texts is the true class in the set, under FGM?",
                         guess=None, low=0, high=1)

# %%
q = {alpha: conformal_threshold(scores, alpha) for alpha in (0.1, 0.02)}
inside = {(when, alpha): workshop.sets_of(p[when], labels, q[alpha]) for when in p for alpha in q}
guess_e.reveal(inside["FGM", 0.1][0])
for (when, alpha), (true, empty, two) in inside.items():
    print(f"promised {1 - alpha:.0%} (q = {q[alpha]:.4f}), {when:11} true class in the set "
          f"{true:6.1%}, set empty {empty:6.1%}, both classes {two:.1%}")
course.claim("14.coverage", inside=inside)
figures.scores(scores, p, labels, q)

# %% [markdown]
# *The figure: for each score the share of texts whose true class has at most this score. Its height
# at a threshold is the share of texts whose set holds the truth.*
#
# The promise is kept without attack, up to the luck of one calibration set, and most of what the
# sets miss there are empty sets. Under both attacks it is broken. It holds *on average over texts
# that are drawn like the calibration texts*, and an attacked text is not. (Nor are texts that the
# model was trained on: calibrated on them, $q$ is too small, without any attacker.)
#
# Does anything warn you? At 90 % yes, if somebody looks: most sets are suddenly empty. At 98 % far
# fewer are; all other misses name one class, the wrong one. (A set of both classes needs $q \ge
# 0.5$: their probabilities add up to 1.)

# %% [markdown]
# ## Appendix D · A person with fifteen minutes
#
# What is handed on lands in a queue. `advlib review` keeps one in a SQLite file: texts wait, the
# least sure first; a person decides; nothing is ever overwritten; a budget of minutes ends the day.
# The same in Python, for the texts with replaced words of appendix C (`reworded`):

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
arrived = [ours[i % 3] for i in range(len(reworded))]
says = p["other words"].argmax(1)
misread = {text for text, g, y in zip(reworded, says, labels, strict=False) if g != y}
stats, _ = day(reworded, arrived)
print(f"{len(reworded)} texts, {len(misread)} of them read wrongly; decided {stats['decided']} in "
      f"{stats['minutes']:g} minutes, mistakes found: {stats['overruled']}")

# %% [markdown]
# Now somebody floods it. He takes a few texts that the model is unsure of, puts other months, towns
# and dishes into them, and sends the 60 variants of which the model is least sure. None of them
# does any harm; they only cost half a minute each. They come through one of our own doors, from an
# address of their own, or from 60 addresses.

# %%
order = np.argsort(p["other words"].max(1))
junk = workshop.flood(plain, [reworded[i] for i in order[:8]], 60)
print(f"confidence of the flood: {plain.predict(junk).max(1).mean():.1%} on average")
floods = {"no flood": [], "same door": ["web"] * 60, "one address": ["visitor 1"] * 60,
          "60 addresses": [f"visitor {i}" for i in range(60)]}
caught = {}
for how, sources in floods.items():
    stats, labelled = day(reworded + junk[: len(sources)], arrived + sources)
    caught[how] = sum(text in misread for text, _ in labelled)
    print(f"{how:12} decided {stats['decided']}, of them ours "
          f"{sum(text in reworded for text, _ in labelled):2}, mistakes found {caught[how]}")
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
# The sure mistakes never reach the person at all, for the least sure come first. And whoever
# decides can also mislabel: what helps, where the decisions go back into training, stands in
# [docs/gate.md](../docs/gate.md).
