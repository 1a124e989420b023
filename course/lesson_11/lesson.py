# %% [markdown]
# # 11 · Certificates
#
# {{BADGE}}
#
# **You will**
#
# - find the exact worst case of a text by trying all its variants, and see what an attack missed;
# - carry a box through affine layers, and watch what it does in a whole BERT;
# - train a small network on its own boxes, and compare being robust with being certifiable;
# - certify a vote over random texts, and say how many samples that takes;
# - certify by one form for all variants, and say when that is allowed.
#
# **Time** {{TIME}} About 75 minutes for you: 44 to read, 31 for the exercises. The
# appendix (softmax, and how far two votes are apart, each with an exercise, and four short pieces)
# is another 45 minutes and can be left out: nothing builds on it.
#
# **Before** Lessons 04 and 06.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · An attack that failed
#
# An attack finds nothing. Is the text robust, or did the attack look in the wrong place? An attack
# alone cannot tell. It gives an **upper bound**: what it broke is broken, so at most the rest is
# robust. A **certificate** gives a **lower bound**: a proof that no allowed change turns the
# answer. Between the two lies the truth. For every text by itself,
#
# $$\text{certified} \;\le\; \text{robust in truth} \;\le\; \text{withstands the attack}$$
#
# where each of the three is 0 or 1, and so it holds for their means.

# %%
import copy
import itertools
import math

import numpy as np
import torch
from scipy.stats import beta

from advlib.attacks import PGD, WordSubstitution
from advlib.attacks.embedding import attackable, mean_norm
from advlib.certify import (
    Certificate,
    ExactWorst,
    Neighbours,
    OpinionsOnly,
    SmoothedEmbeddings,
    SmoothedWords,
    canonical,
    canonical_text,
    options_of,
    sandwich,
    variants,
)
from advlib.corpora import replace, words, world
from advlib.evaluation import attack_all
from advlib.intervals import bert_bounds
from course.lesson_11 import cnn, figures

figures.chain()

# %% [markdown]
# *The figure: all texts side by side, those that are proved robust on the left. A better
# certificate moves the left mark to the right, a better attack moves the right mark to the left.*
#
# In this course's world of reviews we know which words may replace one another: those of one
# group. So we can try *everything*, where everything is not too much. How much is it? We count the
# variants of a text, first with every known word free, then with only those that carry an opinion
# (*good*, *hated*, *outrageous*).

# %%
plain = advlib.load_classifier("reviews-clean")
robust = advlib.load_classifier("reviews-robust")
data = advlib.load_text("reviews")
pool = data["test"].select(range(profile.pick(150, 600)))

attack = WordSubstitution(constraints=(OpinionsOnly(),))
counts = ExactWorst(attack).counts(plain, pool["text"])
all_counts = ExactWorst(WordSubstitution()).counts(plain, pool["text"])
print(f"median number of variants: all words {np.median(all_counts):,.0f} (the most: "
      f"{max(all_counts):,}), words of opinion {np.median(counts):,.0f}")

few = [i for i, n in enumerate(counts) if 1 < n <= 200][: profile.pick(60, 200)]
test = pool.select(few)
texts, labels = list(test["text"]), np.array(test["label"])
options = options_of(attack, plain, texts, labels)
clean = (plain.logits(texts).argmax(1) == labels).mean()
print(f"{len(texts)} texts with at most 200 variants, {sum(counts[i] for i in few):,} in all; "
      f"reviews-clean is right on {clean:.1%} of them as they are")

# %% [markdown]
# Only the second is few enough. So our **threat model** for most of this page is: any number of
# words of opinion, each replaced by any word of its group. The label stays (lesson 06).
#
# `options[k]` holds, for each word of text `k`, a tuple of what may stand in its place; it is empty
# where the word stays. What shall "worst" mean? Of a text with label `y` we look at the **margin**
# $z_y - \max_{c\ne y} z_c$: the label's logit minus the best other one. Above 0 the model is right.
# The worst variant is the one with the smallest margin.

# %% [markdown]
# ### Exercise 11.1: the exact worst text · ●●○ · 15 min
#
# Write `exact_worst(text, options, margins)`. `options` is a list with a tuple for each word, as
# above. Each word stays or becomes one of its options; the text itself counts as a variant.
# `margins(texts)` takes a list of at most 512 texts and returns an array of their margins. Ask
# about **every** variant, in long lists (one text at a time, or a few, is too slow for a model).
# Return `(worst, margin)`: the text with the smallest margin, and that margin as one number. Of
# equal ones any will do. Leave `options` as it is.
#
# `words(text)` gives the words, and `replace(text, {i: word})` puts another word in place `i` and
# keeps punctuation and spaces.
#
# <details><summary>Hint</summary>
#
# `itertools.product(*choices)` runs through all combinations, where `choices[i]` is the word `i`
# itself followed by its options.
#
# </details>


# %%
def exact_worst(text, options, margins):
    """The variant with the smallest margin, and that margin; every variant is asked about."""
    # SOLUTION


exact_worst = course.exercise("11.1", exact_worst)

# %% [markdown]
# ### Prediction 11.a: what did the attack miss?
#
# The greedy attack of lesson 06 tries the options of the word that matters most, keeps the best,
# goes on to the next word, and never comes back.


# %%
def margins_of(victim, label):
    """A function that gives the margins of texts."""

    def margins(texts):
        z = victim.logits(list(texts))
        return z[:, label] - np.delete(z, label, axis=1).max(1)

    return margins


found = attack(plain, texts, labels)
withstood = np.array([r.robust for r in found])
queries = np.mean([r.queries for r in found])
print(f"the attack: {withstood.mean():.1%} of the texts withstand it, {queries:.0f} queries each, "
      f"of {sum(counts[i] for i in few) / len(few):.0f} variants")
guess = course.predict("11.a", f"of the {withstood.sum()} texts that withstood, how many (in %) "
                       "can be broken, by some variant that the attack did not see?",
                       guess=None, low=0, high=100, unit="%")  # fmt: skip

# %%
worst = [exact_worst(t, o, margins_of(plain, y))
         for t, o, y in zip(texts, options, labels, strict=True)]  # fmt: skip
exact = np.array([margin > 0 for _, margin in worst])
missed = np.flatnonzero(withstood & ~exact)
guess.reveal(100 * len(missed) / withstood.sum())
print(f"the attack missed {len(missed)} of {withstood.sum()} texts; "
      f"exact {exact.mean():.1%} ≤ attack {withstood.mean():.1%}")
for k in missed[:3]:
    print(f"missed: {texts[k]}\n    →   {worst[k][0]}")
course.claim("11.exact", exact=exact, attack=withstood)

# %% [markdown]
# On all other texts the attack was *exact*: there no better attack of this threat model can exist.
# We know that only because we tried everything. `ExactWorst` of the library does the same. We
# compare, and take it to `reviews-robust`, trained against attacks on embeddings, words and typos:

# %%
library = np.array([c.certified for c in ExactWorst(attack)(plain, texts[:20], labels[:20])])
course.claim("11.same", yours=exact[:20], library=library)
exact_robust = np.array([c.certified for c in ExactWorst(attack)(robust, texts, labels)])
print(f"exact worst case: reviews-clean {exact.mean():.1%}, reviews-robust "
      f"{exact_robust.mean():.1%} of {len(texts)} texts")
course.claim("11.proved", exact=exact_robust)

# %% [markdown]
# When is the greedy search *not* exact? When it may not ask enough. We give it a budget.

# %%
left = {}
for budget in (10, 15, 20, 30, None):
    small = WordSubstitution(constraints=(OpinionsOnly(),), max_queries=budget)
    left[budget] = np.array([r.robust for r in small(plain, texts, labels)])
    print(f"{budget or 'no limit of':>11} queries: {left[budget].mean():6.1%} withstand, "
          f"{(left[budget] & ~exact).sum()} of them can be broken")
course.claim("11.budget", missed={b: (ok & ~exact).sum() for b, ok in left.items()})
figures.budgets({b: ok.mean() for b, ok in left.items()}, exact.mean())

# %% [markdown]
# *The figure: the share of texts that withstand the greedy attack against its budget of queries,
# and the exact worst case as a line.*
#
# <details><summary>What you should see</summary>
#
# The points fall towards the line, and the line does not move. A weak attack makes a model look
# strong. Without the line nobody could say where to stop.
#
# </details>
#
# ## 2 · A box
#
# With all known words free, the longest texts have billions of variants. Another idea: put all
# variants into one **box**. For each coordinate we keep the smallest value (`lower`) and the
# largest (`upper`), and carry the box through the network, layer by layer, so that *whatever is
# inside stays inside*. At the end we have a box of logits. If the label's lowest logit is above
# every other highest, all that is in the box is certified. The name is **interval bound
# propagation**, IBP (Gowal et al. 2018).
#
# **ReLU**, and every function that rises: both ends go through it. **Affine**, $Wx+b$: write the
# box by its centre $c=(\text{lower}+\text{upper})/2$ and its radius
# $r=(\text{upper}-\text{lower})/2$. A member is $c+s\odot r$ with every $s_i$ between −1 and 1, so
#
# $$W(c+s\odot r)+b \;=\; (Wc+b) + \sum_i W_{\cdot i}\,s_i r_i .$$
#
# The sum is largest when each $s_i$ has the sign of the weight: then it is $|W|\,r$.

# %% [markdown]
# ### Exercise 11.2: a box through an affine layer · ●○○ · 8 min
#
# Write `affine_box(weight, bias, lower, upper)` for the layer `x @ weight.T + bias`. `weight` is
# `(outputs, inputs)`, `bias` `(outputs,)`; `lower` and `upper` are `(batch, inputs)`. Return two
# tensors `(lower, upper)`, `(batch, outputs)`, of the dtype of the box: for each output the exact
# smallest and largest value over the box. Do not change the inputs.
#
# <details><summary>Hint</summary>
#
# The centre goes through the layer as any point does. The radius goes through the absolute weights,
# and no bias is added to it.
#
# </details>


# %%
def affine_box(weight, bias, lower, upper):
    """The smallest box round all images of a box: (lower, upper), (batch, outputs)."""
    # SOLUTION


affine_box = course.exercise("11.2", affine_box)

# %% [markdown]
# Try to refute it with random members, and try whether it could be smaller: is each side reached by
# a corner of the input?

# %%
draw = torch.Generator().manual_seed(0)
W, b = torch.randn(3, 5, generator=draw), torch.randn(3, generator=draw)
low, high = -torch.rand(1, 5, generator=draw), torch.rand(1, 5, generator=draw)
out_low, out_high = affine_box(W, b, low, high)

members = low + (high - low) * torch.rand(10_000, 5, generator=draw)
images = members @ W.T + b
outside = int(((images < out_low - 1e-5) | (images > out_high + 1e-5)).sum())
ends = torch.tensor(list(itertools.product((0.0, 1.0), repeat=5)))
reached = (low + (high - low) * ends) @ W.T + b
gap = max((reached.amin(0) - out_low).abs().max(), (reached.amax(0) - out_high).abs().max())
print(f"random members outside: {outside} of 30,000; largest distance of a side from the nearest "
      f"corner: {gap:.1e}")
course.claim("11.affine", outside=outside, gap=gap)

# %% [markdown]
# One layer is exact, side by side. Through many layers it goes wrong: a box forgets how its
# coordinates go together, and every layer pays for that again. Appendix A shows it with a square
# that is turned by 45° eight times: it ends where it began, and the box round it is 16 times as
# wide. Attention needs a box through softmax, too: appendix B.
#
# ### Through a whole BERT
#
# `advlib.intervals.bert_bounds` chains such steps through embeddings, attention, LayerNorm, GELU
# and the head. The box: every coordinate of every word's embedding may move by `radius`, in units
# of the typical size of a coordinate (the mean norm of an embedding over √128). All in float64: at
# small sizes rounding matters. Boxes cost time, so we take the 20 shortest of our texts.
#
# ### Prediction 11.b: how small must the box be?
#
# For which sizes of the box are at least half of the 20 texts certified? First, how large a box
# would have to be that holds two words:

# %%
unit = mean_norm(plain.model) / 128**0.5
ids = plain.tokenizer(["good", "great"], add_special_tokens=False)["input_ids"]
two = plain.model.get_input_embeddings().weight.detach()[[row[0] for row in ids]]
print(f"a box that holds “good” and “great”: radius {(two[0] - two[1]).abs().max() / 2 / unit:.1f}")
guess = course.predict("11.b", "the largest radius at which at least half of the 20 texts "
                       "are certified through the whole model", guess=None,
                       options=("1e-2", "1e-4", "1e-6", "1e-8", "1e-10",
                                "smaller still"))  # fmt: skip

# %%
short = sorted(range(len(texts)), key=lambda k: len(texts[k]))[:20]
batch = plain.encode([texts[k] for k in short], labels[short])
widths, proved = {}, {}
for radius in (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12):
    bounds = bert_bounds(plain.model, batch, radius)
    widths[radius] = bounds.widths.mean(0).tolist()
    proved[radius] = bounds.certified(batch["labels"]).double().mean().item()
    print(f"radius {radius:.0e}: certified {proved[radius]:.0%}; mean width after each layer "
          + ", ".join(f"{w:.0e}" for w in widths[radius]))
guess.reveal(next((f"{r:.0e}".replace("-0", "-") for r in widths if proved[r] >= 0.5
                   and r > 1e-12), "smaller still"))  # fmt: skip

# %% [markdown]
# Are these bounds sound, and are they tight? We follow random corners of the smallest box through
# the layers. (A weak attack: they underestimate what the members of the box fill.)

# %%
double = copy.deepcopy(plain.model).double()
smallest = min(widths)
bounds, inside, seen = bert_bounds(plain.model, batch, smallest), True, []
start = double.get_input_embeddings()(batch["input_ids"]).detach()
free = attackable(batch)[..., None].double()
for _ in range(20):
    corner = torch.randint(0, 2, start.shape, generator=draw).to(start) * 2 - 1
    with torch.no_grad():
        out = double(inputs_embeds=start + corner * free * smallest * unit,
                     attention_mask=batch["attention_mask"], output_hidden_states=True)
    inside &= bool(((out.logits >= bounds.lo - 1e-9) & (out.logits <= bounds.hi + 1e-9)).all())
    seen.append(out.hidden_states)
real = batch["attention_mask"].bool()
spread = [(torch.stack(h).amax(0) - torch.stack(h).amin(0))[real].mean().item()
          for h in zip(*seen, strict=True)]  # fmt: skip
print("random corners, mean width after each layer: " + ", ".join(f"{w:.0e}" for w in spread))
course.claim("11.bert", widths=widths[smallest], certified=list(proved.values()))
course.claim("11.members", inside=inside, spread=spread, widths=widths[smallest])
figures.widths(widths, spread, smallest)

# %% [markdown]
# *The figure: mean width of a coordinate after the embedding and after each layer, on a logarithmic
# axis: bounds for several sizes of the box, and the width that random corners of the smallest box
# reach.*
#
# <details><summary>What you should see</summary>
#
# The random corners hardly spread: their line is flat. The bounds of the smallest box rise by a
# factor of more than ten thousand in each of the first two layers, and reach in the third the
# largest value that LayerNorm allows. Random corners underestimate the true width, but not by 13
# powers of ten. No change of a word fits into a box of 1e-12. So for BERT the lower bound is 0, and
# the truth (section 1) is far above it: the *bound* fails, not the model.
#
# </details>
#
# Shi et al. (2020) name the reason: in attention both factors of a product vary, and every place
# depends on all others. Their bounds follow how coordinates go together, and are much tighter.
#
# ## 3 · Train for the bound
#
# So take a network that boxes can pass, and *train it to keep them narrow* (for words: Jia et al.
# 2019, Huang et al. 2019). It stands in [cnn.py](../course/lesson_11/cnn.py): a table of word
# vectors, a layer for each word, a filter over five words, the largest over the text, two more
# layers.

# %%
figures.network()

# %% [markdown]
# *The figure: the parts of the network, and below each how a box passes it.*
#
# A word's box holds the rows of its whole group: for each coordinate the smallest and the largest.
# So **all words** may change at once, and the box is a little larger than the attack's sets (which
# keep *a* and *an* right). What is proved for more holds for fewer.
#
# The four trainings differ in one line of the loss:
#
# - `plain`: cross-entropy on the texts;
# - `words`: half of the cross-entropy is on texts whose words were replaced by random members of
#   their groups;
# - `ibp`: a growing share of the cross-entropy is on the **worst logits** of a growing box: the
#   label's lower end and all others' upper ends. The word vectors begin small (standard deviation
#   0.1), so that the first boxes are narrow;
# - `ibp` once more, begun with PyTorch's own standard deviation of 1.

# %%
vocabulary = cnn.Vocabulary(world("reviews"))
learn = data["train"].select(range(profile.pick(1200, 5000)))
X, Y = vocabulary.ids(list(learn["text"])), torch.tensor(learn["label"])
runs = {"plain": ("plain", 0.1), "random words": ("words", 0.1), "boxes": ("ibp", 0.1),
        "boxes, wide start": ("ibp", 1.0)}  # fmt: skip
nets = {name: cnn.train(vocabulary, X, Y, mode, start=start, epochs=profile.pick(8, 12))
        for name, (mode, start) in runs.items()}  # fmt: skip

more = data["test"].select(range(min(500, len(data["test"]))))
x, y = vocabulary.ids(list(more["text"])), torch.tensor(more["label"])
for name, net in nets.items():
    print(f"{name:18} clean {cnn.right(net, x, y).double().mean():6.1%}")

# %% [markdown]
# ### Prediction 11.c: robust and certifiable?
#
# On our texts, with words of opinion free, we can know the truth for these networks as well, by
# enumeration. `sandwich` makes the table of lower bound, exact worst case and greedy attack, and
# complains where a text is out of order; `Reader` lets a network read texts. A `Certificate` is
# made of two answers: certified, and right on the text as it is. The network that saw random words:

# %%
ids, truth = vocabulary.ids(texts), torch.tensor(labels)
judging = vocabulary.judging[ids]  # the places of words of opinion
chains = {}
for name, net in nets.items():
    proof, ok = cnn.certified(net, ids, truth, free=judging), cnn.right(net, ids, truth)
    lower = [Certificate(bool(a), bool(b)) for a, b in zip(proof, ok, strict=True)]
    table = sandwich(cnn.Reader(net), texts, labels, attack, lower)
    chains[name] = table.mean().to_dict()
print(f"random words: robust in truth on {chains['random words']['exact']:.1%} of the texts")
guess = course.predict("11.c", "on which share of these texts is it certified by its boxes, words "
                       "of opinion free?", guess=None, low=0, high=1)  # fmt: skip

# %%
guess.reveal(chains["random words"]["lower"])
for name, row in chains.items():
    print(f"{name:18}" + " ≤ ".join(f"{kind} {v:6.1%}" for kind, v in row.items()))
course.claim("11.not_certifiable", chains=chains)
figures.chains(chains)

# %% [markdown]
# *The figure: for each network the share of texts that its boxes certify, that is robust in truth,
# and that withstands the greedy attack; words of opinion are free.*
#
# <details><summary>What you should see</summary>
#
# **Robust is not certifiable.** The network that saw random words is robust, and its boxes prove
# nothing; a lower bound of 0 does not say that a model is weak. (The plain network is weak in
# truth, far weaker than the BERT of section 1.) The network that was trained on its boxes is robust
# and certified. In the fourth row all three numbers agree, and that is no good sign.
#
# </details>
#
# Look at that fourth network, now with **all words** free and on more texts:

# %%
majority = max((y == c).double().mean().item() for c in (0, 1))
print(f"{'':18}  clean  certified  different answers")
for name, net in nets.items():
    said = net(x).argmax(1).unique().numel()
    print(f"{name:18} {cnn.right(net, x, y).double().mean():6.1%} "
          f"{cnn.certified(net, x, y).double().mean():10.1%} {said:10}")
print(f"{'majority class':18} {majority:6.1%} {majority:10.1%} {1:10}")
wide = nets["boxes, wide start"]
course.claim("11.collapsed", certified=cnn.certified(wide, x, y).double().mean().item(),
             right=cnn.right(wide, x, y).double().mean().item(),
             commonest=wide(x).argmax(1).bincount().max().item() / len(x), majority=majority)

# %% [markdown]
# A model that says the same to everything cannot be attacked. **A certificate is worth as much as
# the clean accuracy beside it, and that is worth what it is above the majority class.** Why did the
# fourth network collapse? With wide vectors the worst logits of the first boxes are so bad that one
# constant answer may be the best way out. One run does not prove this cause, but the only thing
# that differs is the start. (That training on boxes cost the third network no clean accuracy is a
# gift of this small world; elsewhere it often does.) Appendix C lets the boxes grow and watches the
# certificates.
#
# ## 4 · A vote
#
# Boxes look inside the model. A **vote** does not need to. Build a new classifier around the model:
# replace words at random, `n` times, and let the model vote. Ye et al. (2020) call it SAFER.
#
# Our groups are **equivalence classes**: if *good* may become *fine*, *fine* may become *good*, and
# both have the same set. So a text and each of its variants lead to the same random texts, with
# *the same chances*. Let $p$ be the chance of the right class. It belongs to the whole class of
# variants, and nobody can change it from inside. (`n` fresh samples of a variant may vote
# otherwise; their chances cannot differ.) All that is left to know is whether $p$ is above one
# half, and that is a matter of counting.
#
# We see `hits` of `n` samples. How small can the true chance be? The **Clopper–Pearson** bound is
# the `p` at which `hits` or more of `n` would happen with a chance of only `alpha`. The bound is
# too high in at most a share `alpha` of all cases.

# %% [markdown]
# ### Exercise 11.4: the lower end of a vote · ●○○ · 8 min
#
# Write `lower_bound(hits, n, alpha)`: the `p` between 0 and 1 for which the chance of `hits` *or
# more* right ones among `n` independent samples, each right with chance `p`, is exactly `alpha`.
# For `hits = 0` it is 0. Return one number, right to six digits, for whole numbers
# `0 ≤ hits ≤ n`.
#
# <details><summary>Hint</summary>
#
# In closed form it is the `alpha`-quantile of a beta distribution with the parameters `hits` and
# `n - hits + 1`: `scipy.stats.beta.ppf(alpha, a, b)`. Or bisect with `scipy.stats.binom.sf`.
#
# </details>


# %%
def lower_bound(hits, n, alpha):
    """The Clopper–Pearson lower bound of a probability, after `hits` of n."""
    # SOLUTION


lower_bound = course.exercise("11.4", lower_bound)

# %% [markdown]
# With all samples right, the bound is $\alpha^{1/n}$. Nothing that the model does can lift it
# higher: **the number of samples is a ceiling.**

# %%
alpha = 0.001
ceilings = {n: lower_bound(n, n, alpha) for n in (5, 20, 100, 1000)}
for n, bound in ceilings.items():
    print(f"{n:5} of {n:5} right: chance at least {bound:.4f}")
course.claim("11.ceiling", bounds=ceilings, alpha=alpha)

# %%
n = profile.pick(100, 1000)
safer = SmoothedWords(attack, n=n, alpha=alpha)
voted = np.array([c.certified for c in safer(plain, texts, labels)])
broken = np.array([r.success for r in found])  # right at first, until the greedy attack came
print(f"the model alone: exact {exact.mean():.1%}. The vote: certified {voted.mean():.1%}")
print(f"texts with a certificate for the vote on which the attack breaks the model alone: "
      f"{(voted & broken).sum()}")
course.claim("11.vote", certified=voted, exact=exact, broken=broken)

# %% [markdown]
# The certified share of the vote lies *above* the upper bound from section 1. A contradiction? No:
# they are two classifiers. **An attack on the model alone is no upper bound for the vote.** And the
# price: `n` passes for each answer, not one.
#
# ### Sets that overlap
#
# A thesaurus knows no equivalence classes: *good* is near *fine*, *fine* near *sunny*, but *good*
# is not *sunny*. To build this we put the words of a group on a **ring**. The attacker may move a
# word by one step; the vote draws from the words at most `reach` steps away.

# %%
group = world("reviews").groups["general+"][:12]
figures.words_on_a_ring(group, 2)

# %% [markdown]
# *The figure: the words of a group on a ring, and the sets from which two neighbours are drawn.*
#
# Now a text and its variant have *different* random texts. Let $P$ and $Q$ be their distributions.
# Whatever the model does, the chance of the right class can fall by at most their **total
# variation** distance, $\text{TV}(P,Q)=1-\sum_t\min(P(t),Q(t))$: the part $\min(P,Q)$ is common to
# both, and only in the rest, of size TV, can the model be right for one and wrong for the other.
# The vote is certified if $p_\text{low}-\text{TV}>\tfrac12$ for the worst variant. In the figure
# one changed word has TV 1/5: one word in five is not common. (Exercise 11.5, appendix D: TV for
# whole texts.)

# %%
reaches, overlap, sure = (1, 2, 3, 5, 7), [], []
one_step = Neighbours(within=1, constraints=(OpinionsOnly(),))
some = profile.pick(20, 100)
for reach in reaches:
    ringed = SmoothedWords(one_step, neighbours=reach, n=n, alpha=alpha)
    overlap.append(np.mean([ringed.overlap(plain, t) for t in texts[:some]]))
    sure.append(np.mean([c.certified for c in ringed(plain, texts[:some], labels[:some])]))
    print(f"reach {reach}: 1 − TV for the worst variant {overlap[-1]:.2f} on average, certified "
          f"{sure[-1]:.1%}")
course.claim("11.ring", overlap=overlap, certified=sure)
figures.ring(reaches, overlap, sure)

# %% [markdown]
# *The figure: mean overlap (1 − TV) with the worst variant, and the share of texts certified,
# against how far the drawn words reach.*
#
# <details><summary>What you should see</summary>
#
# With a short reach the overlap eats the certificate, and faster with every further word that may
# change. With a long one the sets become the whole group: equal sets, overlap 1, nothing to pay.
# (The attacker is much weaker here than before: one step, not the whole group.)
#
# </details>
#
# ### A vote over noise
#
# The same idea for the balls of lessons 03 and 04 (Cohen et al. 2019): add Gaussian noise to the
# embeddings and let the model vote. If the right class has at least the chance $p_\text{low}$, the
# vote stays as it is for every `delta` whose L2 norm over the whole text is below
#
# $$\text{radius} = s\,\Phi^{-1}(p_\text{low}),\qquad s=\texttt{sigma}/\sqrt{128},$$
#
# where $s$ is the noise's standard deviation in a coordinate, $\Phi^{-1}$ the quantile of the
# normal distribution, and all is in the course's unit, the mean norm of a token embedding. `sigma`
# is about the norm of the noise on one token.

# %%
noisy = range(profile.pick(16, 100))
here, known = [texts[k] for k in noisy], labels[list(noisy)]
radii, most, right = {}, {}, {}
for sigma in (0.5, 1.0, 2.0, 4.0):
    method = SmoothedEmbeddings(sigma, n=n, alpha=alpha)
    found = method(robust, here, known)
    radii[sigma] = np.array([c.radius for c in found])
    most[sigma], right[sigma] = method.ceiling(128), np.mean([c.right for c in found])
    print(f"sigma {sigma}: the vote is right on {right[sigma]:.0%}; certified at eps 0, 0.1, 0.2, "
          "0.3: " + ", ".join(f"{(radii[sigma] > e).mean():.0%}" for e in (0, 0.1, 0.2, 0.3)))
course.claim("11.noise", radii=radii, ceilings=most)
figures.noise(radii, most)

# %% [markdown]
# *The figure: the share of texts certified for each `eps`, a line for each size of the noise, and
# on the axis the ceiling of each: no radius can be larger with so many samples.*
#
# <details><summary>What you should see</summary>
#
# With little noise everything is certified *up to the ceiling*, and that is no achievement: `n`
# decided it. To reach further takes more noise, and in more noise the model sees less and less.
#
# </details>
#
# Move the parts of a vote yourself: `n`, the share of `right` samples, and `sigma`.

# %%
figures.vote()

# %%
figures.explore_the_vote()

# %% [markdown]
# *The figure: the share of right samples, its lower bound, and the ceiling of `n`, on a line from 0
# to 1. In the grey half nothing is certified. Which `n` of the slider is the first that can certify
# at all? Which is the first that reaches a radius of 0.2 with `sigma` = 1 and every sample right?
# By hand, all right samples reach a radius from the `n` on for which
# $\alpha^{1/n}\ge\Phi(\text{radius}\cdot\sqrt{128}/\texttt{sigma})$.*
#
# ## 5 · One form for all
#
# The simplest certificate comes last. If a group's words may replace one another, replace them all
# by the *first* of the group, before the model reads the text. All variants become one text. One
# pass decides them all, exactly. Jones et al. (2020) do this for typos and call it **robust
# encodings**.

# %%
print(f"{texts[0]}\n→ {canonical_text(texts[0])}")
forms = [len({canonical_text(v) for v in variants(t, o)})
         for t, o in zip(texts[:20], options[:20], strict=True)]  # fmt: skip
one_form = canonical(plain)
canon = one_form.logits(texts).argmax(1) == labels
print(f"canonical forms of all variants of a text: {set(forms)}; certified {canon.mean():.1%}, the "
      f"model alone exact {exact.mean():.1%}")
course.claim("11.canonical", forms=forms, certified=canon.mean(), exact=exact.mean())

# %% [markdown]
# No training, no samples, no bounds: as many certificates as any other way on this page gives, at
# one pass a text. Why doesn't everybody do it? Because it stands and falls with the sets. One wrong
# link is enough: *fine* to *sunny*, and by a second link *good* is *sunny*. Classes swallow each
# other. We make the mistake on purpose and put praise and blame of one kind into one set.


# %%
def first_of(groups):
    """A function that replaces every word by the first of its group."""
    first = {word: ws[0] for ws in groups for word in ws}

    def form(text):
        changes = {i: first[w.lower()] for i, w in enumerate(words(text)) if w.lower() in first}
        return replace(text, changes)

    return form


groups = world("reviews").groups
kinds = {name[:-1] for name in groups if name[-1] in "+-"}
both = [groups.get(f"{k}+", ()) + groups.get(f"{k}-", ()) for k in sorted(kinds)]
share, merged = {}, first_of(both)
for name, form, sets in (("groups as they are", first_of(groups.values()), groups.values()),
                         ("opposites merged", merged, both)):  # fmt: skip
    share[name] = (plain.logits([form(t) for t in texts]).argmax(1) == labels).mean()
    stable = all(len({form(word) for word in ws}) == 1 for ws in sets if ws)
    print(f"{name:18} one form for all words of each of its sets: {stable}; right, and so "
          f"certified, on {share[name]:.1%}")
pair = ("The soup was delicious.", "The soup was bland.")
print(f"“{pair[0]}” and “{pair[1]}” → {sorted({merged(t) for t in pair})}")
course.claim("11.merged", stable=stable, right=share["opposites merged"],
             before=share["groups as they are"])

# %%
figures.one_form(groups["taste+"][:4], groups["taste-"][:4])

# %% [markdown]
# *The figure: words of two sets and the form that they go to, with the sets as they are and with
# one wrong link between them.*
#
# *Stability* did not notice: no change within the sets turns an answer, now as before. The
# certified share did, because it asks for the right label, too. And even that share knows nothing
# of what people mean: it believes the sets. Jones et al. name the two things that an encoding must
# have: *stability* (variants go to few forms) and *fidelity* (the form still tells what is needed).
# Merged opposites have all of the first and have lost the second.
#
# ## 6 · All of them on one line
#
# Words of opinion, the texts of this page: all of them, except that the lower bounds of the two
# rows of boxes through BERT are from the 20 shortest alone. For these boxes we take the smallest
# size that we tried: the boxes of words are larger and certify no more. For the vote we know a
# lower bound only: its exact worst case would need the true chances.

# %%
robust_batch = robust.encode([texts[k] for k in short], labels[short])
robust_boxes = bert_bounds(robust.model, robust_batch, smallest).certified(robust_batch["labels"])
withstood_robust = np.array([r.robust for r in attack(robust, texts, labels)])
under_one_form = np.array([r.robust for r in attack(one_form, texts, labels)])
nothing = math.nan
rows = {
    "BERT, boxes (20 texts)": dict(lower=proved[smallest], exact=exact.mean(),
                                   attack=withstood.mean()),
    "BERT, more robust, boxes (20)": dict(lower=robust_boxes.double().mean().item(),
                                          exact=exact_robust.mean(),
                                          attack=withstood_robust.mean()),
    "BERT, vote over words": dict(lower=voted.mean(), exact=nothing, attack=nothing),
    "BERT, one form": dict(lower=canon.mean(), exact=canon.mean(), attack=under_one_form.mean()),
    **{f"small network, {name}": row for name, row in chains.items()},
}
for name, row in rows.items():
    print(f"{name:32}" + " ".join(f"{v:8.1%}" if v == v else f"{'':>8}" for v in row.values()))
figures.chains(rows)

# %% [markdown]
# *The figure: for each classifier on this page the lower bound, the exact share and the upper bound
# where they are known.*
#
# <details><summary>What you should see</summary>
#
# In every row the marks stand in order. The gap between the first and the second is what the
# *method* cannot prove; the gap between the second and the third is what the *attack* did not find.
# The best row costs nothing, and depends on sets that only this world has.
#
# </details>
#
# ## Recap
#
# - **lower ≤ exact ≤ upper**, for every text: a certificate, every variant, an attack.
# - Where all variants can be tried, do it: it tells how good the attack was.
# - A **box** passes an affine layer by centre and radius, a rising function by its ends. It forgets
#   how coordinates go together, and through BERT it explodes.
# - **Robust is not certifiable**: random words gave robustness without certificates; training on
#   the box gave both. A collapsed model is certified and worthless.
# - A **vote** is a classifier of its own. Equal sets make it easy, overlapping sets cost their TV,
#   and $\alpha^{1/n}$ is a ceiling for all of them.
# - **One form** for all variants is exact and free, where sets are equivalence classes.
# - In the library: `advlib.certify` and `advlib.intervals`; on the command line,
#   `advlib evaluate --certify`.
# - One seed and few texts are no measurement. Three victims, three seeds and intervals stand in
#   [docs/results/certificates.md](../docs/results/certificates.md).
#
# ## What could go wrong
#
# - **Numbers of two classifiers in one row**: an attack on the model alone is no upper bound for
#   its vote or its canonical form. Attack what you certify.
# - **Class and bound from the same samples**: the promise `alpha` is broken. With a given label one
#   sample is enough; without one, draw twice (appendix E).
# - **"100 % certified" at small noise**: look at the ceiling. And look at the answers: are there
#   still two of them?
# - **float32 at tiny sizes**: rounding is larger than the box, and the bound is no bound any more.
#   Use double there. Our bounds do not count rounding at all; a strict proof would.
# - **A certificate per text is not one for all**: each vote may be wrong with a chance of `alpha`,
#   so of 1,000 texts at 0.001 at most one gets a false certificate on average.
# - **What is certified is the threat model**, and not safety: sets, places, norms. A typo is
#   outside of everything on this page.
#
# ## Further reading
#
# - R. Jia, A. Raghunathan, K. Göksel, P. Liang, *Certified Robustness to Adversarial Word
#   Substitutions*, EMNLP 2019, arXiv 1909.00986. Boxes over word sets.
# - P.-S. Huang et al., *Achieving Verified Robustness to Symbol Substitutions via Interval Bound
#   Propagation*, EMNLP 2019, arXiv 1909.01492. The same month, with a simplex in place of a box.
# - S. Gowal et al., *On the Effectiveness of Interval Bound Propagation for Training Verifiably
#   Robust Models*, 2018, arXiv 1810.12715. How to train on boxes: the loss and its schedule.
# - Z. Shi, H. Zhang, K.-W. Chang, M. Huang, C.-J. Hsieh, *Robustness Verification for
#   Transformers*, ICLR 2020, arXiv 2002.06622.
# - M. Ye, C. Gong, Q. Liu, *SAFER: A Structure-free Approach for Certified Robustness to
#   Adversarial Word Substitutions*, ACL 2020, arXiv 2005.14424.
# - J. Cohen, E. Rosenfeld, J. Z. Kolter, *Certified Adversarial Robustness via Randomized
#   Smoothing*, ICML 2019, arXiv 1902.02918.
# - E. Jones, R. Jia, A. Raghunathan, P. Liang, *Robust Encodings: A Framework for Combating
#   Adversarial Typos*, ACL 2020, arXiv 2005.01229.
#
# > **Ethics** The threat model of this lesson: an attacker who may replace words by words of the
# > same group (in section 4 also move embeddings within an L2 ball), who knows everything, and has
# > all the time in the world. A certificate holds for this attacker and for no other. To sell
# > "certified" without the threat model, the clean accuracy and the classifier it speaks of is a
# > false promise, and those who trust it pay.

# %%
course.progress("11")

# %% [markdown]
# ## Appendix: six pieces that can be left out
#
# They build on the page and not on one another; take what you need. Together about 45 minutes: 17
# of reading, 28 of exercises. Run the cell above again when you have done exercises 11.3 and 11.5.
#
# | | minutes |
# |---|--:|
# | A · A square that is turned | 3 |
# | B · A box through softmax, with exercise 11.3 | 16 |
# | C · Boxes that grow | 3 |
# | D · How far two votes are apart, with exercise 11.5 | 17 |
# | E · Choose and bound on two samples | 3 |
# | F · PGD against the model, noise for the vote | 3 |
#
# ## Appendix A · A square that is turned
#
# Turn a square by 45° eight times. At the end every point is where it was. The box?

# %%
c = math.cos(math.pi / 4)
turn = torch.tensor([[c, -c], [c, c]])
box = (-torch.ones(1, 2), torch.ones(1, 2))
boxes = [box]
for _ in range(8):
    box = affine_box(turn, torch.zeros(2), *box)
    boxes.append(box)
sizes = [float(b[1][0, 0] - b[0][0, 0]) for b in boxes]
print("width of the box after each turn:", ", ".join(f"{s:.1f}" for s in sizes))
course.claim("11.turned", sizes=sizes)
corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])
figures.turned([(low[0], high[0]) for low, high in boxes], corners)

# %% [markdown]
# *The figure: the square in the middle, and the box after each turn; from the fourth on with its
# number (the first ones lie too close).*
#
# <details><summary>What you should see</summary>
#
# A nest: each box has to hold the turned box before it, corners included, so each is √2 times as
# wide. The square itself never grew. A box forgets how its coordinates go together, and every layer
# pays for that again.
#
# </details>
#
# ## Appendix B · A box through softmax
#
# Attention needs a box through softmax. Is the probability $p_i=e^{z_i}/\sum_j e^{z_j}$ of a class
# over a box of logits smallest where all logits are low? No: the others must be *high*.
#
# ### Exercise 11.3: a box through softmax · ●●○ · 13 min
#
# Write `softmax_box(lower, upper)` for logits `(batch, classes)`. Return `(lower, upper)`, two
# tensors of this shape and dtype: for each class the exact smallest and largest probability over
# the box. Where the box has no width, both are softmax. The results must be finite and right for
# logits of ±1000 and for boxes as wide as that, too. Do not change the inputs. (There are at least
# two classes.)
#
# <details><summary>Hint</summary>
#
# $p_i = 1/(1+e^{a-z_i})$ = `torch.sigmoid(z_i - a)`, where $a$ is `logsumexp` of the *other*
# logits. `masked_fill` with `-torch.inf` takes the class itself out of that sum.
#
# </details>


# %%
def softmax_box(lower, upper):
    """The smallest and the largest of each probability over a box of logits, (batch, classes)."""
    # SOLUTION


softmax_box = course.exercise("11.3", softmax_box)

# %% tags=["nbval-check-output"]
z = torch.tensor([[2.0, 0.0, -1.0]])
for radius in (0.0, 0.5, 2.0):
    ends = softmax_box(z - radius, z + radius)
    print(f"logits ± {radius}: " + ", ".join(f"{a:.2f} to {b:.2f}" for a, b in zip(
        *(end[0].tolist() for end in ends), strict=True)))  # fmt: skip

# %% [markdown]
# (A trap in many a program: softmax as exp over a sum overflows to NaN, and `nan > 0` is False,
# which looks like "not certified".)
#
# ## Appendix C · Boxes that grow
#
# How large may the boxes be before a certificate is lost? We let them grow from the text alone (0)
# to the whole group (1), for three networks of section 3.

# %%
steps = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
curves = {name: [] for name in list(nets)[:3]}
with torch.no_grad():
    for (name, shares), grown in itertools.product(curves.items(), steps):
        ends = nets[name].bound(x, grown)
        least = cnn.margin(cnn.worst_logits(*ends, y), y)
        shares.append((least > 0).double().mean().item())
course.claim("11.boxes_grow", curves=curves)
figures.boxes_grow(steps, curves)

# %% [markdown]
# *The figure: the share of texts that are certified, all words free, while the boxes grow from
# nothing to their full size.*
#
# <details><summary>What you should see</summary>
#
# At 0 the curves show the clean accuracy. Two of them fall to nothing long before the boxes hold
# another word; the third stays.
#
# </details>
#
# ## Appendix D · How far two votes are apart
#
# In section 4 a text and its variant have random texts with distributions $P$ and $Q$, and
#
# $$\text{TV}(P,Q)=\tfrac12\sum_t |P(t)-Q(t)| \;=\; 1-\sum_t \min(P(t),Q(t)).$$
#
# ### Exercise 11.5: how far two votes are apart · ●●● · 15 min
#
# Write `total_variation(here, there)`. Each is a list with a set of words (a tuple) for each place
# of the text; a random text takes one word from each set, evenly and independently. Return the
# exact TV distance between the random texts of the two, one number. Both lists have one length; the
# two sets of one place may differ in size. Texts may have 30 places, so writing out all random
# texts takes too long. Do not change the inputs.
#
# <details><summary>Hint</summary>
#
# $P(t)$ is one over the product of the sizes, for every $t$ that it can draw at all. So
# $\min(P,Q)$ is one number for all common texts. How many texts have they in common?
#
# </details>


# %%
def total_variation(here, there):
    """How far apart the random texts of two texts are, 0 to 1."""
    # SOLUTION


total_variation = course.exercise("11.5", total_variation)


# %%
def drawn(word, reach, ring=group):
    """The words of the ring at most `reach` steps from a word."""
    at = ring.index(word)
    return tuple({ring[(at + k) % len(ring)] for k in range(-reach, reach + 1)})


for reach in (1, 2, 4, 6):
    tv = [total_variation([drawn("good", reach)] * k, [drawn("great", reach)] * k)
          for k in (1, 3, 5)]
    print(f"reach {reach}: TV between neighbours in 1, 3 and 5 words: "
          + ", ".join(f"{v:.2f}" for v in tv))

# %% [markdown]
# ## Appendix E · Choose and bound on two samples
#
# So far the label was given. In use there is none: the class is chosen *by the vote* and then
# bounded. If the same samples do both, the bound is that of the luckiest class. We try it where the
# truth is known: all classes have the same chance, and a bound above it is wrong.

# %%
rng, runs_of, level = np.random.default_rng(0), 2000, 0.05
bound_of = np.array([lower_bound(k, 100, level) for k in range(101)])
same, fresh = {}, {}
for classes in (2, 10):
    chances = np.full(classes, 1 / classes)
    first, second = rng.multinomial(100, chances, size=(2, runs_of))
    top = first.argmax(1)
    rows = np.arange(runs_of)
    same[classes] = (bound_of[first[rows, top]] > 1 / classes).mean()
    fresh[classes] = (bound_of[second[rows, top]] > 1 / classes).mean()
    print(f"{classes:2} classes, alpha {level}: wrong bounds with one sample {same[classes]:.1%}, "
          f"with a second one {fresh[classes]:.1%}")
course.claim("11.two_samples", same=same, fresh=fresh, alpha=level)

# %% [markdown]
# The library's votes have a method `predict` that draws a sample of its own, for this reason.
#
# ## Appendix F · PGD against the model, noise for the vote
#
# PGD on the model alone tells us nothing about the vote, in either direction:

# %%
vote = SmoothedEmbeddings(4.0, n=n, alpha=alpha)
radius = np.array([c.radius for c in vote(plain, here, known)])
said = vote.predict(plain, here)
for eps in (0.2, 0.3, 0.4):
    stood = attack_all(plain, test.select(noisy), PGD(eps=eps, steps=10)).robust
    print(f"eps {eps}: reviews-clean alone under PGD {stood.mean():.0%}; its vote certified "
          f"{(radius > eps).mean():.0%}")
print("but the vote answers", {plain.labels[c]: int((said == c).sum()) for c in (0, 1)})
course.claim("11.not_the_base", certified=radius > eps, withstood=stood)

# %% [markdown]
# At the largest `eps` PGD breaks the model alone nearly everywhere, and the vote has certificates.
# Before you celebrate, read the last line: in this much noise the model says nearly always the
# same, and section 3 has told you what a certificate of a constant answer is worth.
