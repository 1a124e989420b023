# %% [markdown]
# # 03 · FGSM and FGM on BERT embeddings
#
# {{BADGE}}
#
# **You will**
#
# - derive the two classic one-step attacks, FGSM and FGM, from one linear approximation;
# - write both for a batch of texts, with padding and special tokens left alone;
# - set noise of the same size beside them, as the control;
# - measure where the linear approximation stops holding, and in which direction it errs;
# - look up the nearest real words of an attacked text, and judge whether it is a text.
#
# **Time** {{TIME}} About 65 minutes for you.
#
# **Before** Lesson 01 (the worst case on a linear model) and lesson 02 (`embedding_gradient`).

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · One review, two kinds of direction
#
# In lesson 02 you found the place where a text can be moved a little: the output of the embedding
# layer. A text of 20 tokens is there a point with 20 × 128 coordinates (20 × 768 for BERT-base),
# and `delta` is added to it. Today we ask: **in which direction?**

# %%
import copy

import torch
from torch.nn.functional import cosine_similarity, cross_entropy

from advlib.attacks import FGM, FGSM, Noise
from advlib.attacks.embedding import attackable, perturbed_logits, zero_delta

# The course's version of what you wrote in lesson 02:
from course.lesson_02.checks import embedding_gradient
from course.lesson_03 import figures

victim = advlib.load_classifier(profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"))
test = advlib.load_text(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
                        test_size=profile.pick(200, 500))["test"]
model = victim.model
table = model.get_input_embeddings().weight.detach()  # one row per word of the vocabulary
hidden = table.shape[1]
unit = table.norm(dim=1).mean().item()
print(f"{len(test)} texts, {len(table)} words, {hidden} coordinates each, of length {unit:.2f}")

# %% [markdown]
# In tables and figures all sizes are in units of `unit`, the mean length of a word's embedding.
# `eps = 0.3` means there: the whole text may be moved by 30 % of the length of *one* of its words.
# (The functions that you write get the radius itself; `make_delta`, further down, converts.)
#
# (`zero_delta(model, batch)`, as in lesson 02, is a tensor of zeros of the embeddings' shape.)
#
# We take one review that the model gets right and is sure of; among those, one that the attack of
# this lesson fools at `eps = 0.3`, and only just. (Section 4 has all the others.)


# %%
def losses(model, batch, delta):
    """The cross-entropy of each text with delta on its embeddings, (batch,)."""
    with torch.no_grad():
        logits = perturbed_logits(model, batch, delta)
    return cross_entropy(logits, batch["labels"], reduction="none")


sure = [i for i, p in enumerate(victim.predict(test["text"]))
        if p[test["label"][i]] > 0.9 and 40 < len(test["text"][i]) < 90]
several = victim.encode([test["text"][i] for i in sure], [test["label"][i] for i in sure])
harm = losses(model, several, FGM(eps=0.3)(model, several))
chosen = sure[int(torch.where(harm > 1, harm, torch.inf).argmin())]
text, label = test["text"][chosen], test["label"][chosen]
one = victim.encode([text], [label])
print(f"{text}\n  label: {victim.labels[label]}, loss {losses(model, one, None).item():.4f}")

# %% [markdown]
# Now we walk away from it, in eleven directions: one that the gradient chose (`FGM`, which you will
# write in a moment) and ten that chance chose (`Noise`). The walk is one `unit` long.

# %%
walk = torch.linspace(0, 1, 41, device=victim.device)
copies = victim.encode([text] * 41, [label] * 41)


def along(delta):
    """The loss at 41 points on the way from the review to the review + delta."""
    return losses(model, copies, walk[:, None, None] * delta).cpu()


uphill = along(FGM(eps=1.0)(model, one))
anywhere = torch.stack([along(Noise(eps=1.0, seed=k)(model, one)) for k in range(10)])

course.claim("03.walk", uphill=uphill, anywhere=anywhere)
figures.walk(walk, uphill, anywhere)

# %% [markdown]
# *The figure: the loss of one review on the way in eleven directions, along its gradient (green)
# and along ten random directions (grey). Each mark of the log scale is ten times the one below.*
#
# <details><summary>What you should see</summary>
#
# Along the gradient the loss climbs and crosses the dotted line, where the model changes its mind.
# Along the ten random directions it stays far below it.
#
# </details>
#
# ## 2 · The step that a linear loss asks for
#
# Near the review, the loss is nearly a plane. With $g$ for the gradient at `delta` = 0,
#
# $$L(x+\delta)\;\approx\;L(x)+g\cdot\delta .$$
#
# The first term cannot be changed, so the attacker wants $g\cdot\delta$ as large as possible, with
# $\delta$ in a ball of radius `eps`. A linear function over a ball: that was lesson 01, with $g$ in
# the place of $-y\,w$. Two balls, two answers:
#
# | ball | best $\delta$ | gain $g\cdot\delta$ | name |
# |---|---|---|---|
# | L∞ | $\texttt{eps}\cdot\mathrm{sign}(g)$ | $\texttt{eps}\,\lVert g\rVert_1$ | FGSM |
# | L2 | $\texttt{eps}\cdot g/\lVert g\rVert_2$ | $\texttt{eps}\,\lVert g\rVert_2$ | FGM |
#
# FGSM is the fast gradient *sign* method (Goodfellow et al., on images), FGM the fast gradient
# method (Miyato et al., on word embeddings).
#
# In the L∞ ball each coordinate has a limit of its own, so each goes to its limit, on the side that
# $g$ prefers: only the sign of $g_k$ counts. In the L2 ball the coordinates share one budget, and
# the best use of it is in proportion to $g$ (Cauchy–Schwarz). The gains are the dual norms of
# lesson 01.
#
# One thing is new. The input is a batch of texts of different lengths: some positions are padding,
# and `[CLS]` and `[SEP]` are not the writer's words. `attackable(batch)` says which positions may
# be moved: a `mask` of shape `(batch, tokens)`, True for words. The formulas do not show it, and
# most mistakes happen there.

# %% [markdown]
# ### Exercise 03.1: the sign step, FGSM · ●○○ · 6 min
#
# Write `fgsm_step(grad, mask, eps)`. `grad` has shape `(batch, tokens, hidden)`, `mask` has shape
# `(batch, tokens)` and is True where a token may be moved, `eps` is the radius itself, a number: no
# `unit` and no √`hidden` in here. Return `delta` of the shape and dtype of `grad`: the best step of
# the L∞ ball, and exactly 0 where the mask is False. Only the sign of a coordinate counts, however
# small it is; where it is 0 there is nothing to gain, and the step is 0 too. Leave `grad` as it is.
#
# <details><summary>Hint</summary>
#
# `torch.sign` gives −1, 0 or 1. `mask[..., None]` has shape `(batch, tokens, 1)` and can be
# multiplied with a `(batch, tokens, hidden)` tensor; True counts as 1.
#
# </details>


# %%
def fgsm_step(grad, mask, eps):
    """eps * sign(grad) on the words, 0 elsewhere; (batch, tokens, hidden)."""
    # SOLUTION


fgsm_step = course.exercise("03.1", fgsm_step)

# %% [markdown]
# ### Exercise 03.2: the L2 step, FGM · ●●○ · 12 min
#
# Write `fgm_step(grad, mask, eps)`, with the same inputs and the same shape and dtype. **Each text
# has one budget for all of its words together**: in every text, `delta` points along the gradient
# *of the words that may be moved* and is exactly `eps` long, counted over all tokens and
# coordinates of that text. It is 0 where the mask is False.
#
# Two cases to think of. A text whose gradient is zero (on its words) gets `delta` = 0, not `nan`.
# And a gradient may be short without being zero: a model that is very sure can give lengths of 1e-7
# and less (section 4 builds one), and they too are to be stretched to `eps`.
#
# <details><summary>Hint</summary>
#
# In this order: mask, measure, divide. What is masked afterwards has already taken its share of
# the length. `x.norm(dim=(1, 2), keepdim=True)` has shape `(batch, 1, 1)`. For the division by
# zero: `torch.where(size > 0, size, 1)`.
#
# </details>


# %%
def fgm_step(grad, mask, eps):
    """eps * grad / |grad|, one length per text; (batch, tokens, hidden), 0 where masked."""
    # SOLUTION


fgm_step = course.exercise("03.2", fgm_step)

# %% [markdown]
# A text of two tokens with two coordinates each, to see the difference with the naked eye:

# %% tags=["nbval-check-output"]
small = torch.tensor([[[3.0, -4.0], [0.5, 0.0]]])
both = torch.tensor([[True, True]])
for name, step in {"FGSM": fgsm_step, "FGM": fgm_step}.items():
    delta = step(small, both, 1.0)
    print(f"{name:5} gain {(small * delta).sum():.2f}  L2 length {delta.norm():.2f}  "
          f"largest coordinate {delta.abs().max():.2f}")

# %% [markdown]
# FGSM gains more, but look at the lengths: a cube of half-width `eps` reaches out to
# $\texttt{eps}\cdot\sqrt{\text{number of coordinates}}$ at its corners, and FGSM always stands in
# a corner. With 20 × 128 coordinates that is 51 times `eps`. **The same `eps` in two norms is
# not the same attack.**
#
# The library makes the two comparable: for L∞ it divides a relative `eps` by
# $\sqrt{\texttt{hidden}}$. Then `FGSM(eps=0.3)` moves *each word* by 0.3 units, where
# `FGM(eps=0.3)` moves *the whole text* by 0.3 units. That is still not equal: FGSM is longer by the
# square root of the number of words. So we shall also look at FGSM shortened to FGM's length.


# %%
def make_delta(name, grad, mask, eps):
    """The delta of one attack at a relative eps, with your two functions."""
    fgm = fgm_step(grad, mask, eps * unit)
    if name == "FGM":
        return fgm
    fgsm = fgsm_step(grad, mask, eps * unit / hidden**0.5)
    if name == "FGSM":
        return fgsm
    lengths = fgsm.norm(dim=(1, 2), keepdim=True).clamp_min(1e-12)
    return fgsm * fgm.norm(dim=(1, 2), keepdim=True) / lengths


batches = [batch for _, batch in victim.batches(test["text"], test["label"], 64)]
grads = [embedding_gradient(model, batch, zero_delta(model, batch)) for batch in batches]
batch, grad, mask = batches[0], grads[0], attackable(batches[0])
print("attack             L2 length   most moved word   gain, relative to FGM's   (means)")
gains = {}
for name in ("FGM", "FGSM", "FGSM, shortened"):
    delta = make_delta(name, grad, mask, 0.3) / unit
    gains[name] = (grad * delta).sum((1, 2))
    print(f"{name:17} {delta.norm(dim=(1, 2)).mean():10.2f} "
          f"{delta.norm(dim=2).amax(1).mean():17.2f} {(gains[name] / gains['FGM']).mean():24.2f}")
course.claim("03.gain", shortened=gains["FGSM, shortened"], fgm=gains["FGM"])

# %% [markdown]
# At equal length FGM gains most, to first order: that is what it was derived for. The share
# of it that shortened FGSM *keeps* (last column) is the cosine between $g$ and its own sign; it
# would be 1 if all coordinates of $g$ were equally large.
#
# ### The same as the library's?
#
# The library climbs another function: not the cross-entropy, but the **log-odds of a wrong
# answer**, $m=\log\frac{1-p}{p}$ with $p$ the probability of the true label. Because
# $L=\log(1+e^{m})$ rises exactly when $m$ rises, both gradients point the same way,
#
# $$\nabla L=(1-p)\,\nabla m ,$$
#
# and after normalising they are the same step. (Why the library does not take $L$ is a matter of
# the factor $1-p$; wait for section 4.)

# %%
off = {}
for name, attack in {"FGM": FGM(eps=0.3), "FGSM": FGSM(eps=0.3)}.items():
    delta, theirs = make_delta(name, grad, mask, 0.3), attack(model, batch)
    off[name] = (delta - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)
    print(f"{name:5} largest difference from the library's delta, as a share of its length: "
          f"{off[name].max():.1g}")
course.claim("03.same-step", off=off)

# %% [markdown]
# ## 3 · Noise is the control
#
# Whoever claims that an attack is clever must show that a *stupid* push of the same length does
# less. Hence the control: a random direction, of exactly the same length, on the same words. It
# is part of every table in this course. What should we expect of it? To first order its effect is
# again $g\cdot\delta = \lVert g\rVert\,\lVert\delta\rVert\cos\angle(g,\delta)$, so all hangs on
# the angle.
#
# ### Prediction 03.a: the angle of a random direction
#
# In a plane, a random arrow is as likely to go along as across. In many dimensions?

# %%
guess = course.predict(
    "03.a",
    "768 dimensions: which angle with the gradient is typical of a random direction (0 to 90)?",
    guess=None,
    low=0,
    high=90,
)

# %%
generator = torch.Generator().manual_seed(0)
cosines = {}
for d in (2, 128, 768, 2560):
    directions = torch.randn(4000, d, generator=generator)
    fixed = torch.randn(d, generator=generator)
    cosines[d] = cosine_similarity(directions, fixed[None], dim=1)
angles = {d: torch.rad2deg(c.abs().acos()).median() for d, c in cosines.items()}
guess.reveal(angles[768].round().item())

# %% tags=["nbval-check-output"]
spreads = {d: c.square().mean().sqrt() for d, c in cosines.items()}
print("dimensions   median angle   spread of the cosine   1 / sqrt(dimensions)")
for d in cosines:
    print(f"{d:10} {angles[d]:14.0f} {spreads[d]:22.2f} {d**-0.5:22.2f}")
course.claim("03.angle", spreads=spreads)

# %%
figures.angles(cosines)

# %% [markdown]
# *The figure: histograms of the cosine between a fixed direction and 4,000 random ones, in 2, 128,
# 768 and 2,560 dimensions. The dotted lines stand at ±1/√d.*
#
# <details><summary>What you should see</summary>
#
# In the plane the cosines pile up at −1 and 1; in many dimensions all of them crowd around 0.
#
# </details>
#
# The reason in one line: take the fixed direction as the first axis. The cosine is then the first
# coordinate of a random vector of length 1, and as the squares of all $d$ coordinates add up to 1
# and none is preferred, each has a mean square of $1/d$. **A random push of length `eps` acts, to
# first order, like a push of length $\texttt{eps}/\sqrt d$ along the gradient**, upwards or
# downwards. With 2,560 coordinates that is 2 % of the budget. The attacker's advantage over chance
# is $\sqrt d$, and comes from nothing but the number of dimensions.

# %% [markdown]
# ### Exercise 03.3: noise of the same size · ●●○ · 10 min
#
# Write `noise_like(delta, mask, generator)`. `delta` is some attack's perturbation
# `(batch, tokens, hidden)`, 0 where the `mask` `(batch, tokens)` is False. Return noise of the same
# shape: in each text a direction of its own, uniformly random, as long as that text's `delta` (over
# all its tokens and coordinates), and 0 where the mask is False. The noise knows only the length of
# `delta`: a word that `delta` happens to leave at 0 gets noise like the others. A text whose whole
# `delta` is 0, or which has no movable token, gets noise 0, not `nan`. Draw from `generator` (it
# lives on the CPU) and from nothing else, so that the control can be repeated.
#
# <details><summary>Hint</summary>
#
# Independent standard normal numbers, normalised, have no preferred direction; uniform numbers
# have (a cube has corners). `torch.randn(delta.shape, generator=generator).to(delta)` draws on the
# CPU and moves the result to where `delta` is. Then it is exercise 03.2 again: mask, measure,
# divide; and multiply with the length that is wanted.
#
# </details>


# %%
def noise_like(delta, mask, generator):
    """A random direction for each text, as long as its delta, 0 where masked."""
    # SOLUTION


noise_like = course.exercise("03.3", noise_like)

# %% [markdown]
# ## 4 · Accuracy against `eps`
#
# Now all test texts. A text counts as right if the model is right before *and* after the attack.
# The model is right on nearly all of the clean texts in the built-in world, and on about nine in
# ten of SST-2's.
#
# ### Prediction 03.b: FGM on all test texts

# %%
guess = course.predict(
    "03.b",
    "eps = 0.3: which share (0 to 1) of the test texts is still right under FGM?",
    guess=None,
    low=0,
    high=1,
)


# %%
def right(batch, delta):
    """True for each text that the model gets right with this delta."""
    with torch.no_grad():
        return perturbed_logits(model, batch, delta).argmax(1) == batch["labels"]


clean = torch.cat([right(batch, None) for batch in batches])


def still_right(name, eps):
    """True for each text that is right before and after this attack."""
    generator, found = torch.Generator().manual_seed(0), []
    for batch, grad in zip(batches, grads, strict=True):
        mask = attackable(batch)
        delta = make_delta("FGM" if name == "noise" else name, grad, mask, eps)
        if name == "noise":
            delta = noise_like(delta, mask, generator)
        found.append(right(batch, delta))
    return clean & torch.cat(found)


# %%
grid = (0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
names = ("noise", "FGM", "FGSM, shortened", "FGSM")
hits = {name: {eps: int(still_right(name, eps).sum()) for eps in grid} for name in names}

n = len(clean)
guess.reveal(hits["FGM"][0.3] / n)

# %%
print("eps              " + "".join(f"{eps:7}" for eps in (0, *grid)))
for name, row in hits.items():
    print(f"{name:16}" + "".join(f"{k / n:7.1%}" for k in (int(clean.sum()), *row.values())))
course.claim("03.control", hits=hits, clean=int(clean.sum()), n=n)
course.claim("03.more-eps", fgm=hits["FGM"], n=n)
course.claim("03.lengths", hits=hits, n=n)

# %%
figures.accuracy(hits, int(clean.sum()), n)

# %% [markdown]
# *The figure: accuracy against eps, with 95 % Wilson bands, under noise (grey, dotted), FGM
# (green), FGSM (solid light blue) and FGSM shortened to FGM's length (dashed light blue).*
#
# <details><summary>What you should see</summary>
#
# Noise leaves the accuracy where it was. FGM of the very same length takes it down. FGSM falls
# fastest, but it is the longer step; shortened to FGM's length it falls clearly behind FGM.
#
# </details>
#
# The same from the library, in one line each. Its FGM and FGSM are your functions in other words;
# its noise draws other random numbers.

# %%
rows = advlib.robustness(victim, test, [Noise(eps=0.3), FGM(eps=0.3), FGSM(eps=0.3)])
mine, library = {name: hits[name][0.3] / n for name in ("noise", "FGM", "FGSM")}, {}
for row, name in zip(rows.to_dict("records")[2:5], mine, strict=True):
    library[name] = row["accuracy"]
    print(f"{row['attack']:5} library {library[name]:.1%}, yours {mine[name]:.1%} "
          f"(95 % interval: {row['low']:.1%} to {row['high']:.1%})")
course.claim("03.library", mine=mine, library=library)

# %% [markdown]
# ### One review under the slider
#
# What does that look like for the review from section 1, and for all texts, at one `eps`?


# %%
def under_attack(eps):
    """This review's probability of its label under each attack, and the share of texts fooled."""
    grad = embedding_gradient(model, one, zero_delta(model, one))
    mask = attackable(one)
    fgm, fgsm = (make_delta(name, grad, mask, eps) for name in ("FGM", "FGSM"))
    noise = noise_like(fgm, mask, torch.Generator().manual_seed(0))
    deltas = {"clean": None, "noise": noise, "FGM": fgm, "FGSM": fgsm}
    p = {name: (-losses(model, one, delta)).exp().item() for name, delta in deltas.items()}
    fooled = {name: 1 - hits[name][eps] / int(clean.sum()) for name in ("noise", "FGM", "FGSM")}
    return p, fooled


figures.one_review({eps: under_attack(eps) for eps in (0.1, 0.3, 0.5)})

# %% [markdown]
# *The figure: for eps = 0.1, 0.3 and 0.5, above the probability of this review's true label (below
# the dotted line the model is wrong), beneath it the share that is fooled of the texts that were
# right.*
#
# <details><summary>What you should see</summary>
#
# Noise (grey) leaves the probability high, and fools no text at all, or next to none.
#
# </details>
#
# Now move `eps` yourself. Left is what was above, right what was beneath.

# %%
figures.explore_review(under_attack, grid)

# %% [markdown]
# ### A model that hides by being sure
#
# Here is a cheap "defence". Multiply the last layer by 100. Every prediction stays what it was,
# only the probabilities are now next to 0 and 1. Nothing has become harder to fool: `delta` changes
# the label exactly where it did before. Let your FGM have a try.

# %%
sharp = copy.deepcopy(model)
with torch.no_grad():
    sharp.classifier.weight *= 100
    sharp.classifier.bias *= 100

silent, survived = 0, []
for batch in batches:
    mask = attackable(batch)
    grad = embedding_gradient(sharp, batch, zero_delta(sharp, batch))
    silent += int((grad * mask[..., None]).flatten(1).any(dim=1).logical_not().sum())
    # `right` may ask the old model: with any delta, both give a text the same label.
    survived.append(right(batch, fgm_step(grad, mask, 0.3 * unit)))
naive = (clean & torch.cat(survived)).float().mean().item()
sharp_victim = type(victim)(sharp, victim.tokenizer)  # what load_classifier gives, around `sharp`
honest = advlib.robustness(sharp_victim, test, [FGM(eps=0.3)])["accuracy"].iloc[-1]
print(f"texts whose gradient is exactly 0: {silent} of {n}")
print(f"accuracy under your FGM, cross-entropy: {naive:.1%}, before: {hits['FGM'][0.3] / n:.1%}")
print(f"accuracy under the library's FGM, log-odds: {honest:.1%}")
course.claim("03.masking", silent=silent, n=n, naive=naive, honest=honest,
             before=hits["FGM"][0.3] / n)

# %% [markdown]
# There is the factor $1-p$ again. In float32 it is rounded to 0 once the model is sure enough,
# and then the gradient of the cross-entropy is *exactly zero*: there is no direction left to
# stretch. The robust accuracy looks splendid and means nothing. This is **gradient masking**, in
# its simplest form; the gradient of the log-odds has no such factor, which is why the library
# climbs that. Lesson 07 shows subtler forms. Ordinary models do it in part: the surer, the
# shorter the gradient, and the more it is worth to normalise.
#
# ## 5 · Where the plane ends
#
# Both steps rest on $L(x+\delta)\approx L(x)+g\cdot\delta$. How far does that hold? We can ask the
# plane for a forecast and then go and look.

# %% [markdown]
# ### Exercise 03.4: what the gradient forecasts · ●●○ · 12 min
#
# Write `forecast(model, batch, delta)`. Return a pair `(predicted, actual)`, both of shape
# `(batch,)`, one number per text, detached:
#
# - `predicted`: the change of the text's cross-entropy that the plane forecasts, $g\cdot\delta$,
#   with the gradient $g$ at zero;
# - `actual`: by how much its cross-entropy changes from zero to `delta`, measured.
#
# The loss is that of the true label, `batch["labels"]`. `delta` is 0 on padding and special tokens.
# Leave the model, the batch and `delta` as they are, and take the passes in the mode (train or
# eval) in which the model comes. The function is given its `model`; use that one, not the page's
# `victim.model`.
#
# <details><summary>Hint</summary>
#
# `embedding_gradient(model, batch, delta)` gives the gradient of the *summed* cross-entropy, and as
# a text's loss depends on its own embeddings alone, row i of it is the gradient of loss i. Evaluate
# it where the plane touches: `torch.zeros_like(delta)` (it wants zeros; `None` will not do).
# `losses` from section 1 needs two calls.
#
# </details>


# %%
def forecast(model, batch, delta):
    """(predicted, actual) change of each text's loss from 0 to delta, both (batch,)."""
    # SOLUTION


forecast = course.exercise("03.4", forecast)

# %%
sizes = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8)
part = list(zip(batches, grads, strict=True))[:: profile.pick(2, 3)]  # some batches are enough
quarters = torch.tensor([0.25, 0.5, 0.75])


def compared(eps):
    """Quartiles of predicted, actual, their ratio, and the two gradients' cosine, (4, 3)."""
    rows = []
    for batch, grad in part:
        mask = attackable(batch)
        delta = make_delta("FGM", grad, mask, eps)
        predicted, actual = forecast(model, batch, delta)
        arrived = embedding_gradient(model, batch, delta)
        ends = [(g * mask[..., None]).flatten(1) for g in (grad, arrived)]
        rows.append(torch.stack([predicted, actual, actual / predicted, cosine_similarity(*ends)]))
    return torch.cat(rows, dim=1).float().cpu().quantile(quarters, dim=1).T


found = torch.stack([compared(eps) for eps in sizes], dim=1)  # (4, sizes, quarters)
bands = dict(zip(("predicted", "actual", "ratio", "cosine"), found, strict=True))

# %%
ratio = bands["ratio"][:, 1]
outside = [eps for eps, r in zip(sizes, ratio, strict=True) if not 0.8 <= r <= 1.25]
print("eps   predicted     actual   actual/predicted   cosine of old and new gradient   (medians)")
for k, eps in enumerate(sizes):
    p, a, r, c = (bands[name][k, 1].item() for name in bands)
    print(f"{eps:<5} {p:9.2g} {a:10.2g} {r:18.3g} {c:22.2f}")
print("\nthe median ratio leaves 0.8 to 1.25 at eps =", *outside[:1] or ["none of these"])
course.claim("03.plane", sizes=sizes, ratio=ratio)

# %%
figures.plane(sizes, bands)

# %% [markdown]
# *The figure: medians, with the middle half of the texts. Left, the change of the loss that the
# plane predicts (dashed) and the actual one (solid) along the FGM step; middle, their ratio, with
# the strip from 0.8 to 1.25 in grey (cut off at 30; the table has the rest); right, the cosine
# between the gradient at the start and the gradient on arrival.*
#
# <details><summary>What you should see</summary>
#
# For small eps the curves agree; then the loss rises far above the forecast, and the gradient turns
# away.
#
# </details>
#
# You may have expected that the plane promises too much. It promises **too little**. The model is
# sure of these texts, so the loss starts on a flat floor (the factor $1-p$), and a floor that ends
# in a slope bends *upwards*. Do not read the forecast as a bound, then: a tiny gradient is no
# safety.
#
# The right-hand panel is the bad news for the attacker. By the time the step arrives, the gradient
# there points elsewhere; the step was chosen by a map of another place. What if the attacker stops
# halfway and looks again?

# %%
halfway, lengths = [], []
for batch, grad in zip(batches, grads, strict=True):
    mask = attackable(batch)
    delta = make_delta("FGM", grad, mask, 0.15)
    again = embedding_gradient(model, batch, delta)
    delta = delta + make_delta("FGM", again, mask, 0.15)  # two halves: at most 0.3 long together
    lengths.append(delta.flatten(1).norm(dim=1))
    halfway.append(right(batch, delta))
twice = (clean & torch.cat(halfway)).float().mean().item()
print(f"one step of 0.3: {hits['FGM'][0.3] / n:.1%} right; two steps of 0.15: {twice:.1%}")
course.claim("03.second-look", lengths=torch.cat(lengths), radius=0.3 * unit, twice=twice,
             once=hits["FGM"][0.3] / n)

# %% [markdown]
# Same ball, one more gradient, more harm. Two halves were a lucky case, as they cannot leave the
# ball. More and bolder steps could; bringing them back is called projection, and that is lesson 04.
#
# ## 6 · Which words carry the gradient
#
# FGM spends its budget in proportion to $g$. By Pythagoras, $\lVert g\rVert^2=\sum_t\lVert
# g_t\rVert^2$ over the tokens $t$, so $\lVert g_t\rVert^2/\lVert g\rVert^2$ is the share of token
# $t$; the shares of a text add up to 1.


# %%
def shares(batch, grad):
    """The share of each token in the squared length of the gradient, (batch, tokens)."""
    squares = (grad * attackable(batch)[..., None]).square().sum(2)
    return squares / squares.sum(1, keepdim=True).clamp_min(1e-30)


batch, grad = batches[len(batches) // 2], grads[len(grads) // 2]
weights, six = shares(batch, grad), []
for i in range(0, 48, 8):
    words = attackable(batch)[i].nonzero()[:, 0]
    tokens = victim.tokenizer.convert_ids_to_tokens(batch["input_ids"][i, words].tolist())
    six.append((tokens, weights[i, words].tolist()))
figures.tokens(six)

# %% [markdown]
# *The figure: six test texts, token by token. The darker the ground, the larger the token's share
# of the squared gradient; half of it or more is full orange.*
#
# <details><summary>What you should see</summary>
#
# Most tokens are white: a few words carry most of it.
#
# </details>

# %%
top, even = [], []
for batch, grad in zip(batches, grads, strict=True):
    counts = attackable(batch).sum(1)
    long = counts > 6
    weights = shares(batch, grad)[long]
    top.append(weights.topk(3, dim=1).values.sum(1))
    even.append(3 / counts[long])
top, even = torch.cat(top).mean().item(), torch.cat(even).mean().item()
print(f"the three strongest tokens carry {top:.0%} of the squared gradient; "
      f"evenly spread, three would carry {even:.0%}")
course.claim("03.few-tokens", top=top, even=even)

if profile.name == "smoke":  # here we know which words decide, because we made the world
    from advlib.corpora import world

    group_of = world("reviews").group_of
    opinion = {word for word, group in group_of.items() if group[-1] in "+-"}
    carried, counted, tokens = 0.0, 0, 0
    for batch, grad in zip(batches, grads, strict=True):
        mask = attackable(batch)
        strings = victim.tokenizer.convert_ids_to_tokens(batch["input_ids"][mask].tolist())
        is_opinion = torch.tensor([s in opinion for s in strings], device=mask.device)
        carried += shares(batch, grad)[mask][is_opinion].sum().item()
        counted, tokens = counted + int(is_opinion.sum()), tokens + len(strings)
    print(f"opinion words are {counted / tokens:.0%} of the tokens "
          f"and carry {carried / n:.0%} of the squared gradient")
    course.claim("03.opinion", carried=carried / n, counted=counted / tokens)

# %% [markdown]
# A warning for later: a large share means that the model is *sensitive* there, in a first-order
# sense and at this very point. It does not say that the word is the reason for the prediction.
#
# ## 7 · Which words are these?
#
# An attacked embedding is a list of points, one for each token. A text is a list of *words*, and
# the words are only some thousand points, the rows of `table` (30,522 for BERT). So which words
# did the attack write? Let us ask, for each perturbed token, which rows of the table are nearest.

# %% [markdown]
# ### Exercise 03.5: the nearest real words · ●○○ · 6 min
#
# In lesson 02 you looked for the nearest *other* word of a word. Now the point need not be a word.
# Write `nearest_words(embedded, table, k)`. `embedded` has shape `(tokens, hidden)`, `table` has
# shape `(vocabulary, hidden)`. Return the ids (row numbers of `table`) of the `k` words nearest to
# each token, in straight-line (L2) distance, nearest first: a tensor of whole numbers of shape
# `(tokens, k)`. A token that was not moved has itself as its nearest word, at distance 0.
#
# <details><summary>Hint</summary>
#
# `torch.cdist(a, b)` gives all distances between the rows of `a` and those of `b`. `topk` takes the
# largest values unless told `largest=False`, and returns `(values, indices)`.
#
# </details>


# %%
def nearest_words(embedded, table, k):
    """Ids of the k rows of table that are nearest to each row of embedded, (tokens, k)."""
    # SOLUTION


nearest_words = course.exercise("03.5", nearest_words)

# %% [markdown]
# ### Prediction 03.c: which word is nearest?

# %%
guess = course.predict(
    "03.c",
    "FGM, eps = 0.3: for which share (0 to 1) of the tokens is the own word still the nearest?",
    guess=None,
    low=0,
    high=1,
)


# %%
def rounded(batch, delta):
    """The batch with every movable token replaced by the word nearest to its perturbed point."""
    mask = attackable(batch)
    points = (table[batch["input_ids"]] + delta)[mask]
    ids = batch["input_ids"].clone()
    near = torch.cat([nearest_words(some, table, 1)[:, 0] for some in points.split(512)])
    ids[mask] = near.long()
    return dict(batch, input_ids=ids)


result = {}
for name, eps in (("FGM", 0.1), ("FGM", 0.3), ("FGM", 1.0), ("FGSM", 0.3), ("FGSM", 1.0)):
    kept, words, held, back = 0, 0, 0, 0
    for batch, grad in zip(batches, grads, strict=True):
        mask, delta = attackable(batch), make_delta(name, grad, attackable(batch), eps)
        other = rounded(batch, delta)
        kept += int((other["input_ids"] == batch["input_ids"])[mask].sum())
        words += int(mask.sum())
        held += int((right(batch, None) & right(batch, delta)).sum())
        back += int((right(batch, None) & right(other, None)).sum())
    result[name, eps] = (kept / words, held / n, back / n)
guess.reveal(result["FGM", 0.3][0])

# %%
print("attack   eps   tokens kept   right with delta   right after rounding to words")
for (name, eps), (kept, held, back) in result.items():
    print(f"{name:6} {eps:5} {kept:11.1%} {held:17.1%} {back:21.1%}")
print(f"without attack {clean.float().mean():28.1%}\n")
kept, attacked, back = result["FGM", 0.3]
course.claim("03.rounding", kept=kept, attacked=attacked, rounded=back)

# %% [markdown]
# At `eps = 0.3` the attack fools the model on many texts and changes next to **no word**. Rounded
# to real words, a text is the text that we started from, and the model is right again. One
# example, the review of section 1 at `eps = 0.5`:

# %%
grad = embedding_gradient(model, one, zero_delta(model, one))
delta = make_delta("FGM", grad, attackable(one), 0.5)
back = rounded(one, delta)
for name, batch, push in (("original", one, None), ("perturbed", one, delta),
                          ("rounded", back, None)):
    with torch.no_grad():
        p = perturbed_logits(model, batch, push).softmax(1)[0]
    shown = "(no words say this)" if push is not None else victim.tokenizer.decode(
        batch["input_ids"][0], skip_special_tokens=True)
    print(f"{name:10} {victim.labels[int(p.argmax())]:8} {p.max():.1%}  {shown}")

strongest = int((delta.norm(dim=2) / unit)[0].argmax())
point = (table[one["input_ids"]] + delta)[0, strongest]
near = nearest_words(point[None], table, 4)[0]
own = one["input_ids"][0, strongest]
words = victim.tokenizer.convert_ids_to_tokens([int(own), *near.tolist()])
print(f"\nmoved most: {words[0]!r}, by {delta[0, strongest].norm() / unit:.2f} units; its nearest:")
for word, id in zip(words[1:], near, strict=True):
    print(f"  {word:14} at {(table[id] - point).norm() / unit:.2f} units")
course.claim("03.own-word", nearest=near[0], own=own)

# %% [markdown]
# Why? Words lie far apart. As long as a point has gone less than **half of the way** to the nearest
# other word, its own word stays nearest, whatever the direction (the triangle inequality). And half
# the way is enough only in exactly the right direction, which the gradient's is not: it is nearly
# orthogonal to the way to that neighbour, as most directions are (section 3).

# %%
used = torch.cat([batch["input_ids"][attackable(batch)] for batch in batches]).unique()
other = torch.cat([nearest_words(table[some], table, 2) for some in used.split(512)])
other = torch.where(other[:, 0] == used, other[:, 1], other[:, 0])
half = (table[used] - table[other]).norm(dim=1) / 2 / unit
print(f"half the way to the nearest other word: median {half.median():.2f} units, "
      f"least {half.min():.2f}")

batch, grad = batches[0], grads[0]
delta, rows = make_delta("FGM", grad, attackable(batch), 0.3), attackable(batch)
towards = table[nearest_words(table[batch["input_ids"][rows]], table, 2)[:, 1]]
angle = cosine_similarity(delta[rows], towards - table[batch["input_ids"][rows]], dim=1)
print(f"cosine of a token's delta and the way to its neighbour: median {angle.abs().median():.2f}")
course.claim("03.far-apart", half=half, angle=angle)

# %% [markdown]
# What if we push harder, until words do change? At `eps = 1` a few may. Look at what they become:

# %%
from collections import Counter

pairs, lean = Counter(), []
for batch, grad in zip(batches, grads, strict=True):
    mask = attackable(batch)
    delta = make_delta("FGM", grad, mask, 1.0)
    ids = rounded(batch, delta)["input_ids"]
    changed = (ids != batch["input_ids"]) & mask
    ways = table[ids[changed]] - table[batch["input_ids"][changed]]
    lean.append(cosine_similarity(delta[changed], ways, dim=1))
    names = [victim.tokenizer.convert_ids_to_tokens(side[changed].tolist())
             for side in (batch["input_ids"], ids)]
    pairs.update(zip(*names, strict=True))
print(f"FGM, eps = 1: {pairs.total()} words changed" + ", most often:" * bool(pairs))
for (before, after), count in pairs.most_common(8):
    print(f"  {before:14} -> {after:14} {count}")
if pairs:
    lean = torch.cat(lean).median().item()
    print(f"cosine of a changed word's delta and the way to its new word: median {lean:.2f}")

if profile.name == "smoke":  # here we know what the words mean
    sides = [[group_of.get(word, "")[-1:] for word in pair] for pair in pairs.elements()]
    turned = sum(set(pair) == {"+", "-"} for pair in sides)
    print(f"from praise to blame, or from blame to praise: {turned} of {len(sides)}")
    course.claim("03.opposites", turned=turned, changed=len(sides), lean=lean, angle=angle)

# %% [markdown]
# In the built-in world nearly every changed word has turned into its *opposite*. That makes
# sense: opposites are neighbours in the table (lesson 02), and of all neighbours they are the
# ones that the gradient leans to (the last cosine: far from 1, but well above that of most ways),
# because they change the prediction. But whoever writes
# *terrible* for *great* has not fooled the model. They have written another review, and its label
# is another one too. (With another model's table words may lie further apart, and perhaps none
# changes at all.) So even where the embedding attack reaches real words, it is not after what we
# are after: a text that still *means* the same.
#
# An embedding attack is **not yet a text**. Nobody can type it. Is it of any use, then? Three:
#
# - **For training.** The defender feeds embeddings to the model anyway. Adversarial training on
#   embeddings needs no words, and it regularises: Miyato et al. report fewer errors from
#   it (IMDB, test error: 7.39 % without, 7.20 % with random noise, 6.21 % with FGM). See lessons 08
#   and 09.
# - **As an upper bound on what word swaps can do**, if the *worst* point of a ball is known that is
#   large enough to hold the swaps: no swap inside the ball can do more. FGM does not know the worst
#   point, so its result is no such bound; lesson 04 comes nearer.
# - **As a compass.** To first order, swapping word $a$ for word $b$ changes the loss by
#   $g_t\cdot(e_b-e_a)$: the forecast of section 5, for a step that ends on a word. Trying the swaps
#   with the best forecast is HotFlip (Ebrahimi et al.), lesson 06. Such steps are several times
#   longer than those that you saw the plane fail at, so it must check each with a forward pass.
#
# ## Recap
#
# - One plane, two balls, two steps: `eps·sign(g)` in L∞ (FGSM), `eps·g/‖g‖` in L2 (FGM). The gains
#   are the dual norms of lesson 01.
# - The norm is taken **per text, over its movable tokens**; mask first, then measure.
# - Noise of the same length is the control. In `d` dimensions it has a cosine of about `1/√d` with
#   the gradient, and hardly moves the accuracy where FGM takes much of it.
# - The same `eps` in two norms is not the same length: state norm, scope and unit.
# - The plane holds for small steps only. For a sure model it promises *too little*, and the
#   gradient turns on the way: steps with a second look do more.
# - A gradient of exactly zero may be a rounded one: gradient masking by confidence.
# - Rounded to the nearest words, the attacked text is the original; pushed harder, words turn into
#   their opposites. An embedding attack is not yet a text.
#
# ## What could go wrong
#
# - **The batch leaks into the norm.** With one norm for the whole batch, the result for a text
#   depends on its neighbours. Test: attack a text alone and in a batch.
# - **Masking too late**, or not at all: part of the budget goes to padding, and the attack looks
#   weaker than it is; or `[CLS]` is moved, which no writer can do.
# - **`1e-8` in the denominator** that was meant against 0/0, and switches the attack off for texts
#   of which the model is sure.
# - **No control.** "Accuracy fell to 70 %" says little until noise of the same size stands beside
#   it.
# - **Dropout left on** while attacking: the gradient is then that of another network each time. The
#   victim here is in eval mode.
# - **Reading FGM as the worst case.** It is one point of the ball, chosen by one look. A model
#   that withstands it has withstood very little; lesson 07 is about that.
#
# ## Further reading
#
# - I. Goodfellow, J. Shlens, C. Szegedy, *Explaining and Harnessing Adversarial Examples*, ICLR
#   2015, arXiv 1412.6572. FGSM and the linear view.
# - T. Miyato, A. M. Dai, I. Goodfellow, *Adversarial Training Methods for Semi-Supervised Text
#   Classification*, ICLR 2017, arXiv 1605.07725. FGM on word embeddings, with random noise as
#   control.
# - J. Ebrahimi, A. Rao, D. Lowd, D. Dou, *HotFlip: White-Box Adversarial Examples for Text
#   Classification*, ACL 2018, arXiv 1712.06751. The gradient as a compass for words.
# - A. Athalye, N. Carlini, D. Wagner, *Obfuscated Gradients Give a False Sense of Security*, ICML
#   2018, arXiv 1802.00420. What became of defences that hid their gradient.
#
# > **Ethics** The threat model of this lesson: an attacker who knows the model completely (white
# > box) and may write to its *embeddings* at test time, at most `eps` far in L2 over the whole text
# > (FGM) or in each coordinate (FGSM). Whoever can only type cannot do this, as section 7 shows;
# > whoever can write to the embeddings of a running system has easier ways to harm. So these
# > numbers say how fragile the model is, not how endangered its users are: do not quote one as
# > the other.

# %%
course.progress("03")
