# %% [markdown]
# # 09 · Stronger and cheaper
#
# {{BADGE}}
#
# **You will**
#
# - read five training methods (Free, FreeLB, TRADES, VAT, SMART) off one picture;
# - write FreeLB's step, VAT's direction and Free's two gradients, and see why TRADES, VAT and SMART
#   need a random start;
# - keep a ledger: passes, units of work and milliseconds, predicted before they are measured;
# - race all methods at equal cost, against controls that have no adversary at all;
# - provoke, detect and cure catastrophic over-fitting, and choose a method for a budget.
#
# **Time** {{TIME}} About 70 minutes for you.
#
# **Before** Lessons 04 and 08.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · The bill
#
# Lesson 08 trained on `L + lam·L_adv`, and it worked. Look at the bill. For every batch, PGD with
# `steps = 3` goes forward and backward three times only to find out where to push; then the clean
# and the pushed batch go through the model once more, and only these two passes teach the weights
# anything. Two questions follow. Could the same work teach more? Could less work teach the same?
#
# What is a fair unit of work? A training pass has three parts of about equal size: forward (F);
# backward to the *input* (B), which is all that an attack needs; and on from there to the gradient
# of the *weights* (W). Plain training does F, B and W once: **3 units**. The library counts them,
# here for one step of each method of this page. The next three code cells, up to the figure, are
# set-up: run them and skip the code, section 2 says what the methods are. (Their settings, for
# later: the library's `eps` counts in mean lengths of a word's embedding, so 0.3 is 0.3 of such a
# length. `random_start` begins the ascent at a random point, `xi` is how near to the text VAT
# begins, `symmetric` adds both directions of a divergence, `mu` weighs SMART's brake, `Noise`
# pushes at random, `same_dropout` gives all passes of a step one dropout mask.)

# %%
import copy
import math
import tempfile
import time

import torch
import torch.nn.functional as F
from transformers import set_seed

from advlib.attacks import FGM, PGD, Divergence, Noise, VirtualAdversarial
from advlib.attacks.embedding import attackable, divergence, perturbed_logits, wrong_margin
from advlib.evaluation import attack_all, wilson
from advlib.objectives import R3F, SMART, TRADES, VAT, Adversarial, Clean, Free, FreeLB, RDrop

# The course's versions of what you wrote in lessons 03 and 04:
from course.lesson_03.checks import fgm_step
from course.lesson_04.checks import project, random_in_ball
from course.lesson_09 import figures

source = profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english")
victim = advlib.load_classifier(source)
data = advlib.load_text(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
                        train_size=profile.pick(1000, 8000), test_size=profile.pick(400, 872))


# %%
def methods(eps=0.3):
    """A fresh objective of each kind, with the settings of this page."""
    return {
        "plain": Clean(),
        "FGM": Adversarial(FGM(eps), lam=1.0),
        "PGD-3": Adversarial(PGD(eps, steps=3), lam=1.0),
        "TRADES-3": TRADES(Divergence(eps, steps=3), beta=2.0),
        "VAT": VAT(VirtualAdversarial(eps, steps=1, xi=0.1), lam=2.0),
        "SMART": SMART(Divergence(eps, steps=1, symmetric=True), lam=1.0, mu=1.0),
        "FreeLB-3": FreeLB(PGD(eps, steps=3, step_size=eps / 3, random_start=True,
                               same_dropout=True)),
        "Free-4": Free(FGM(eps), replays=4),
        "R-Drop": RDrop(alpha=1.0),
        "R3F": R3F(Noise(eps), lam=1.0),
    }


batch = victim.encode(data["train"]["text"][:16], data["train"]["label"][:16])
student = copy.deepcopy(victim.model).train()
units = {}
for name, objective in methods().items():
    parts = objective(student, batch, generator=torch.Generator(profile.device).manual_seed(0))
    units[name] = parts.units
    student.zero_grad()
print("units of work a step: " + ", ".join(f"{n} {u:.0f}" for n, u in units.items()))

# %% [markdown]
# ## 2 · One picture
#
# Every method of this lesson is a sequence of passes on one batch. Write a pass as the point at
# which it is made and the parts that it computes: `("x", "FBW")` is plain training. The other
# letters of a point: `d0`, `d1`, … are the points of the ascent, x + δ₀, x + δ₁, …, and `x+d` is
# x + δ, where it ended (the picture says +δ₀, +δ₁, …, +δ for short); `past` is the clean text in an
# older copy of the model.
# A `*` behind a pass is a step of the optimizer.


# %%
def plan(name, K):
    """The passes on one batch, in order: [(point, parts), …]."""
    climb = [(f"d{t}", "FB") for t in range(K)]
    pair = [("x", "FBW"), ("x+d", "FBW*")]
    return {
        "plain": [("x", "FBW*")],
        "PGD": climb + pair,
        "TRADES": [("x", "F")] + climb + pair,
        "VAT": [("x", "F")] + climb + pair,
        "SMART": [("x", "F")] + climb + [("past", "F")] + pair,
        "FreeLB": [(f"d{t}", "FBW" + "*" * (t == K - 1)) for t in range(K)],
        "Free": [(f"d{t}", "FBW*") for t in range(K)],
        "R3F": pair,
    }[name]


def cost(passes):
    return sum(len(parts.strip("*")) for _, parts in passes)


twins = (("plain", "plain", 1), ("PGD", "FGM", 1), ("PGD", "PGD-3", 3),
         ("TRADES", "TRADES-3", 3), ("VAT", "VAT", 1), ("SMART", "SMART", 1),
         ("FreeLB", "FreeLB-3", 3), ("R3F", "R3F", 1), ("R3F", "R-Drop", 1))
planned = {theirs: cost(plan(ours, K)) for ours, theirs, K in twins}
planned["Free-4"] = cost(plan("Free", 4)) / 4  # one step of four on the batch
course.claim("09.units", planned=planned, counted=units)

# %%
figures.passes(plan)

# %% [markdown]
# *The figure: a row per method, a box per unit of work, from left to right in the order in which
# they are done. Below the boxes stands the point; blue boxes are where the weights learn.*
#
# <details><summary>What you should see</summary>
#
# PGD spends half of its twelve units on the search; TRADES, VAT and SMART search too, without
# labels, and compare two predictions at the end. In FreeLB and Free every pass has a blue box. Free
# makes four optimizer steps where the others make one.
#
# </details>
#
# Why do TRADES, VAT and SMART begin with an F at x, when x comes again as FBW? The search needs a
# clean prediction to compare with, and it looks at the network without dropout; the FBW at the end
# is a training pass, in a dropout mask of its own. R3F and R-Drop share a row because they cost the
# same: R3F's second point is x plus noise; R-Drop has no δ at all, its second pass is x once more,
# in another dropout mask.
#
# The same as numbers, for more values of K (for Free, K is the number of replays):

# %% tags=["nbval-check-output"]
for name in ("PGD", "TRADES", "SMART", "FreeLB", "Free"):
    print(f"{name:7}" + "".join(f"  K={K}: {cost(plan(name, K)):2}" for K in (1, 2, 3, 6, 10)))

# %% [markdown]
# In words and formulas, with $f(x)$ the model's prediction, $L$ the cross-entropy with the label,
# $\delta$ a perturbation in the ball of radius `eps`, and $\mathrm{KL}(p\,\|\,q)=\sum_c p_c
# \log(p_c/q_c)$ a distance of two predictions:
#
# - **Free** (Shafahi et al. 2019) takes both gradients from one backward pass and uses both at
#   once. Each batch is replayed $m$ times (`replays`):
#   $\;w \leftarrow w - \text{lr}\cdot\nabla_w L(f(x+\delta_t))$ and
#   $\;\delta_{t+1} = \Pi\bigl(\delta_t + \text{step}\,(\nabla_\delta L(f(x+\delta_t)))\bigr)$.
# - **FreeLB** (Zhu et al. 2020) walks like PGD with $K$ = `steps`, and trains on every point that
#   it comes through: $\;\frac1K\sum_{t=0}^{K-1} L\bigl(f(x+\delta_t)\bigr)$.
# - **TRADES** (Zhang et al. 2019) asks for the right answer at $x$, and the *same* answer nearby:
#   $\;L(f(x)) + \texttt{beta}\cdot\mathrm{KL}\bigl(f(x)\,\|\,f(x+\delta)\bigr)$.
# - **VAT** (Miyato et al. 2017) has the same term with $f(x)$ held constant; label and term are
#   apart, so a text without a label can have the second:
#   $\;L(f(x)) + \texttt{lam}\cdot\mathrm{KL}\bigl(\bar f(x)\,\|\,f(x+\delta)\bigr)$.
# - **SMART** (Jiang et al. 2020) makes the distance symmetric, $D(p,q)=\mathrm{KL}(p\|q)+
#   \mathrm{KL}(q\|p)$, and adds a brake that keeps the model near a moving average $\tilde f$ of
#   its own past:
#   $\;L(f(x)) + \texttt{lam}\cdot D\bigl(f(x), f(x+\delta)\bigr) + \texttt{mu}\cdot
#   D\bigl(\tilde f(x), f(x)\bigr)$.
#
# And two **controls** that have no adversary: **R-Drop** (Liang et al. 2021) compares the
# predictions under two dropout masks, **R3F** (Aghajanyan et al. 2021) those with and without
# random noise. Whoever says that an adversary helped must beat these at the same price.

# %% [markdown]
# ## 3 · FreeLB: nothing is thrown away
#
# PGD computes a gradient at δ₀, at δ₁, at δ₂, uses each to find the next point, and throws it away.
# But the backward pass that reached the input has come almost all the way to the weights. One more
# unit, and the same pass teaches.
#
# In PyTorch that unit comes by itself. Let `delta` ask for a gradient, and one `loss.backward()`
# fills `delta.grad` *and adds to* the `.grad` of every weight:

# %% tags=["nbval-check-output"]
w = torch.tensor([1.0, 2.0], requires_grad=True)
for point in (0.0, 1.0):
    delta = torch.tensor([point, point], requires_grad=True)
    loss = ((torch.tensor([1.0, 1.0]) + delta) * w).sum() / 2
    loss.backward()
    print(f"delta.grad {delta.grad.tolist()}, w.grad {w.grad.tolist()}")

# %% [markdown]
# `delta.grad` is that of the last loss (a new `delta` each time), `w.grad` the *sum* over all
# losses so far. So if each of the K losses is divided by K before its backward pass, the sum is the
# gradient of their mean, and nothing needs to be stored in between.
#
# How long does a walk through K points need to be? K − 1 moves. The move after the last point would
# lead to a place where nobody looks: it is not made.

# %% [markdown]
# ### Exercise 09.1: FreeLB's gathering · ●●● · 15 min
#
# Write `freelb(model, batch, eps, steps, step_size, start)`. The first point is `start` (batch,
# tokens, hidden; it lies in the ball and is zero on padding and special tokens). At each of the
# K = `steps` points take the batch's mean cross-entropy and *one* backward pass; from a point to
# the next go as in lesson 04: a step of length `step_size` per text along the masked gradient, then
# `project` into the L2 ball of radius `eps`. When the function is done, the gradient of the mean of
# the K losses has been **added** to the weights' `.grad` (the caller clears it and makes the
# optimizer step). Return `(losses, delta)`: the K losses, undivided, in a tensor of shape
# `(steps,)`, and the last point that the weights were trained on; both without a graph. Leave
# `start`, the batch, the weights and the model's mode as they are: it runs in the mode it is in.
#
# You have `perturbed_logits(model, batch, delta)`, `attackable(batch)` (the mask),
# `fgm_step(grad, mask, length)` and `project(delta, eps, "l2")`.
#
# <details><summary>Hint</summary>
#
# Begin a round with `delta.detach().requires_grad_()`: a fresh leaf, so that `delta.grad` is filled
# and is of this round only. A tensor that has been given a `.grad` must be detached again before
# the next point is computed from it.
#
# </details>


# %%
def freelb(model, batch, eps, steps, step_size, start):
    """(losses, delta) of the K points; adds the gradient of the losses' mean to the weights."""
    # SOLUTION


freelb = course.exercise("09.1", freelb)

# %% [markdown]
# Yours against the library's `FreeLB`, gradient for gradient, on the real model (dropout off, so
# that both see the same network, and both from δ = 0, so that they begin alike). `unit` is the mean
# length of a word's embedding; the library multiplies its `eps` by it, your function does not:

# %%
unit = victim.model.get_input_embeddings().weight.norm(dim=1).mean().item()
eps = 0.3 * unit
nowhere = torch.zeros(*batch["input_ids"].shape, victim.model.config.hidden_size,
                      device=profile.device)


def all_gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


student.eval()
losses, last = freelb(student, batch, eps, 3, eps / 3, nowhere)
mine = all_gradients(student)
student.zero_grad()
parts = FreeLB(PGD(0.3, steps=3, step_size=0.1))(student, batch)
theirs = all_gradients(student)
student.zero_grad()
print("loss at the three points: " + ", ".join(f"{x:.4f}" for x in losses.tolist()))
print(f"largest difference of the gradients: {(mine - theirs).abs().max() / theirs.abs().max():.1e}"
      f" of the largest entry; the last point is {last.norm(dim=(1, 2)).mean() / eps:.2f} eps away")
course.claim("09.freelb", mine=mine, theirs=theirs)
course.claim("09.climb", losses=losses)

# %% [markdown]
# The first of these points is the clean text, and the last one has been moved K − 1 times. FreeLB
# begins at a *random* point instead, so that its first loss teaches something too. Its price, 3K
# units, buys K gradients; PGD's 2K + 6 buy two. What it gives up: the mean is taken over weak and
# strong points, so for the same `eps` it trains on a milder attack.

# %% [markdown]
# ## 4 · The prediction stays put
#
# ### Prediction 09.a: the gradient near δ = 0
#
# TRADES, VAT and SMART look for a δ that *changes the prediction*, whatever the label. There is a
# catch, and everybody who writes this loop falls into it once. The KL divergence is never negative,
# and at δ = 0 it is 0: both predictions are the same. So δ = 0 is a *minimum*, and the gradient at
# a minimum is ...

# %%
guess = course.predict(
    "09.a",
    "you halve the distance from δ = 0: what does the gradient of the KL divergence do there?",
    guess=None,
    options=("it stays", "it halves", "it quarters"),
)

# %%
mask = attackable(batch)
draw = torch.Generator().manual_seed(0)
direction = fgm_step(torch.randn(nowhere.shape, generator=draw).to(nowhere), mask, 1.0)
with torch.no_grad():
    reference = perturbed_logits(victim.model, batch, None)


def kl_gradient(push):
    push = push.clone().requires_grad_()
    kl = divergence(reference, perturbed_logits(victim.model, batch, push))
    return torch.autograd.grad(kl.sum(), push)[0] * mask[..., None], kl.detach()


found, lengths = {}, {}
for size in (0.2, 0.1, 0.05, 0.0):
    grad, found[size] = kl_gradient(size * eps * direction)
    lengths[size] = grad.norm().item()
ratio = lengths[0.1] / lengths[0.05]
answers = {"it stays": 1, "it halves": 2, "it quarters": 4}
guess.reveal(min(answers, key=lambda name: abs(math.log(ratio / answers[name]))))

# %%
for size, kl in found.items():
    print(f"at {size:.2f} eps: KL {kl.mean():.2e}, length of its gradient {lengths[size]:.2e}")
course.claim("09.flat", lengths=lengths)

# %% [markdown]
# No direction to go, then. FGM of the KL divergence from δ = 0 is noise from rounding, blown up to
# length `eps` by the normalisation: no error, no warning, and no adversary. Hence the **random
# start**: all three begin at a small random push of size `xi · eps`.
#
# What does one step from there find? Near 0 the divergence is a bowl, $\mathrm{KL}\approx
# \tfrac12\,\delta^\top H\delta$, so its gradient at $\delta = \texttt{xi}\cdot\texttt{eps}\cdot d$
# is $\texttt{xi}\cdot\texttt{eps}\cdot Hd$. Normalising gives $d \leftarrow Hd/\|Hd\|$. That is
# **power iteration**: repeat it, and $d$ turns to the eigenvector of $H$ with the largest
# eigenvalue, the direction in which the prediction is most easily moved, without $H$ ever being
# written down. Only then is $d$ scaled to `eps`.

# %% [markdown]
# ### Exercise 09.2: the virtual direction · ●●○ · 12 min
#
# Write `virtual(model, batch, eps, xi, steps, start)`. `start` (batch, tokens, hidden) is a random
# direction of length 1 per text, zero on padding and special tokens. Take the clean prediction
# once, as a constant. Then `steps` times: at `xi·eps·d` take the gradient, with respect to the
# perturbation, of $\mathrm{KL}(f(x)\,\|\,f(x+\delta))$. Masked and scaled to the length 1 per text
# (one call of `fgm_step` with length 1.0 does both) it is the new `d`, in place of the old. Return
# `eps·d`, without a graph. That makes `steps` + 1 forward passes in all. The labels may be missing
# (−100), so do not use them; leave `start`, the batch, the weights' `.grad` and the model's mode as
# they are (it runs in the mode it is in).
#
# You have `perturbed_logits(model, batch, None)`, the clean logits; `divergence(p, q)`, which takes
# two tensors of *logits* and returns KL(p ‖ q) for each text; and `fgm_step(grad, mask, length)`.
#
# <details><summary>Hint</summary>
#
# `torch.autograd.grad(kl.sum(), delta)` gives the gradient with respect to `delta` alone. The
# point at which it is taken and the direction are two variables.
#
# </details>


# %%
def virtual(model, batch, eps, xi, steps, start):
    """The δ of length eps that moves the prediction most, by power iteration from start."""
    # SOLUTION


virtual = course.exercise("09.2", virtual)

# %% [markdown]
# How does this direction, found without a label, compare with the gradient of the log-odds, which
# is FGM's? We take more texts, and the cosine of the two.

# %%
many = victim.encode(data["test"]["text"][:64], data["test"]["label"][:64])
free_places = attackable(many)
shape = (*many["input_ids"].shape, nowhere.shape[-1])
start = fgm_step(torch.randn(shape, generator=draw).to(nowhere), free_places, 1.0)
zero = torch.zeros_like(start).requires_grad_()
odds = wrong_margin(perturbed_logits(victim.model, many, zero), many["labels"])
compass = fgm_step(torch.autograd.grad(odds.sum(), zero)[0], free_places, 1.0)
cosines = {}
for steps in (0, 1, 3):
    d = virtual(victim.model, many, eps, 0.1, steps, start) / eps
    cosines[steps] = (d * compass).sum((1, 2))
    print(f"{steps} steps from a random start: mean |cosine| with FGM's direction "
          f"{cosines[steps].abs().mean():.3f}, > 0 for {(cosines[steps] > 0).sum()} of {len(d)}")

# %% [markdown]
# One step is enough to find the line on which FGM's direction lies, and the three steps do not find
# it better. But on that line they point to *either* side. Both have one reason. For two classes,
# with $g$ the gradient of the log-odds at the clean text and $p$ the probability,
#
# $$H = p\,(1-p)\,g\,g^\top,$$
#
# a matrix with only one eigenvector to find, so $Hd = p(1-p)\,(g\cdot d)\,g$ is a multiple of $g$
# after a single step, and its sign is the sign of $g\cdot d$: chance. On one side the model changes
# its mind, on the other it only becomes surer of what it says. With more classes there are more
# directions, and more steps may help. (The bowl is an approximation, so expect a cosine near 1 and
# not exactly 1.)

# %%
delta = virtual(victim.model, many, eps, 0.1, 1, start)
with torch.no_grad():
    before = perturbed_logits(victim.model, many, None)
    moved = divergence(before, perturbed_logits(victim.model, many, delta))
    other = divergence(before, perturbed_logits(victim.model, many, -delta))
    noise = divergence(before, perturbed_logits(victim.model, many, eps * start))
up = (delta * compass).sum((1, 2)) > 0
print(f"mean KL where it points to the mistake {moved[up].mean():.3f}, where it points away "
      f"{moved[~up].mean():.3f}; noise {noise.mean():.1e}")
course.claim("09.line", cosines=cosines)
course.claim("09.side", up=up)
course.claim("09.stronger", there=moved, opposite=other, noise=noise)

# %% [markdown]
# VAT, TRADES and SMART share this step, and differ in what they make of it: which prediction is
# held constant, in which order the two stand, how many steps are made, and whether they project.
#
# ## 5 · Free: two gradients, one pass
#
# FreeLB spends its K passes on one optimizer step. **Free** spends each on a step of its own: one
# backward pass, the weights move *and* δ moves, and the same batch comes again. A step costs what a
# plain one costs, 3 units; with m replays and an m-th of the epochs, so does the whole training.
#
# The price is hidden in two places. δ answers to the weights as they were *before* the step, so it
# runs one step behind; and the model sees the same texts m times in a row. In the paper δ even goes
# on to the next batch, since all images have one shape. Texts have not: here δ begins anew with
# each batch.

# %% [markdown]
# ### Exercise 09.3: two gradients from one pass · ●○○ · 10 min
#
# Write `free(model, batch, optimizer, eps, step_size, replays, start)`. `replays` times: clear the
# gradients (whatever lies there when you begin does not belong to this batch); mean cross-entropy
# at `delta`, which is `start` at first; *one* backward pass; `optimizer.step()`; then move `delta`
# by `step_size` along its own gradient *from that same backward pass*, and project, as in 09.1. As
# there, the move after the last replay is not made. Return `(losses, delta)`: the losses, of shape
# `(replays,)`, and the last point that was trained on, both tensors without a graph. Leave `start`,
# the batch and the model's mode as they are, as there.
#
# <details><summary>Hint</summary>
#
# Take your `freelb`: two lines come in, and one division goes.
#
# </details>


# %%
def free(model, batch, optimizer, eps, step_size, replays, start):
    """(losses, delta) of the replays; every one makes an optimizer step and moves delta."""
    # SOLUTION


free = course.exercise("09.3", free)

# %% [markdown]
# One batch, four replays, the same start; once with weights that move, once with a learning rate of
# zero, which leaves only the climb of `delta`:

# %%
passes = {"forward": 0}
count = student.register_forward_hook(lambda *_: passes.update(forward=passes["forward"] + 1))
start = random_in_ball(mask.cpu(), nowhere.shape[-1], eps, torch.Generator().manual_seed(0))
start = start.to(nowhere)
results = {}
for name, lr in {"weights move too (Free)": 1e-4, "weights stay (lr = 0)": 0.0}.items():
    student.load_state_dict(victim.model.state_dict())
    optimizer = torch.optim.AdamW(student.parameters(), lr=lr, weight_decay=0.0)
    results[name], _ = free(student, batch, optimizer, eps, eps / 3, 4, start)
    print(f"{name:24}: loss " + ", ".join(f"{x:.3f}" for x in results[name].tolist()))
count.remove()
course.claim("09.replays", passes=passes["forward"], replays=8)
tamed, wild = results.values()
course.claim("09.tamed", moving=tamed, still=wild)
student.zero_grad()

# %% [markdown]
# ### The paths
#
# All methods at once, on a loss with two coordinates that can be drawn: a text in the middle, its
# ball, two hills of which one is higher. A blue square is a point where the weights learn, a dot
# one that is only looked at; the numbers say which comes first.

# %%
figures.paths(plan)

# %% [markdown]
# *The figure: the same ball over the same two hills (dark is high, the higher one is at the top
# right), and the way of six methods. The line joins the points in their order.*
#
# <details><summary>What you should see</summary>
#
# PGD learns at the centre and at the end of its climb. TRADES and VAT begin with a small random
# push, which decides between the hills: VAT has gone to the lower one, in one long jump. In FreeLB
# and Free every point of the way is blue; noise goes anywhere. Free's fourth point turns back: its
# steps all have one length, so near the top a step goes past it. In Free the weights change between
# the points, so that the hill would sink under way, which a still picture cannot show.
#
# </details>
#
# Move the sliders. (1) Which methods can end on the lower hill, and on what does it depend?
# (2) At which K does FreeLB cost as much as PGD with the same K?
#
# <details><summary>Answers</summary>
#
# (1) All that start at random; it depends on `start`, and for VAT and TRADES, whose start is close
# to the centre, on the side of it (there are starts from which they go to no hill at all, but to
# where the model is surer of what it says). PGD from the centre always goes the same way.
# (2) 3K = 2K + 6 at K = 6; below that FreeLB is cheaper, above it is dearer.
#
# </details>

# %%
figures.explore_paths(plan)

# %% [markdown]
# ## 6 · The ledger
#
# Units are arithmetic. Do they say what a step costs in time?
#
# ### Prediction 09.b: a step of PGD-3 on the clock
#
# First your guess. A unit is meant to cost about the same everywhere. The units of a method,
# divided by the 3 of plain training (the column "limit" of the table that follows), are the value
# that the ratio of their times comes near to where that is so. The ratio may lie a little below or
# above it.

# %%
guess = course.predict(
    "09.b",
    "how many times as long as a plain step does a step of PGD-3 take on this machine?",
    guess=None,
    low=1,
    high=8,
)


# %%
def milliseconds(objective, repeats=2):
    """The shortest time of one training step on the same batch."""
    draw = torch.Generator(profile.device).manual_seed(0)
    adam, found = torch.optim.AdamW(student.parameters(), lr=1e-5), []
    for step in range(repeats + 1):
        begin = time.perf_counter()
        parts = objective(student, batch, step=step, generator=draw)
        adam.step()
        adam.zero_grad()
        parts.loss.item()  # waits until a GPU is done
        found.append(1e3 * (time.perf_counter() - begin))
    return min(found[1:]), parts


student.train()
ledger = {name: milliseconds(objective) for name, objective in methods().items()}
dear = ledger["PGD-3"][0] / ledger["plain"][0]
guess.reveal(round(dear, 2))

# %%
print("            forward  backward  weights   units   limit   ms a step   ratio")
for name, (ms, parts) in ledger.items():
    print(f"{name:10} {parts.forward:8.0f} {parts.backward:9.0f} {parts.weights:8.0f} "
          f"{parts.units:7.0f} {parts.units / 3:7.2f} {ms:10.1f} {ms / ledger['plain'][0]:8.2f}")
course.claim("09.dear", ratio=dear)

# %% [markdown]
# A backward pass through BERT costs about what the bookkeeping says, so the ratios lie near their
# limits; on a small model on a busy machine they scatter. The optimizer's own step counts in no
# unit, and every method pays it once. It goes through all weights, whatever the batch: with a real
# encoder and small batches it can take a good part of a plain step, and then the ratios of the dear
# methods stay clearly below their limits. TRADES and VAT pay a pass for the clean reference; with
# `same_dropout=True` all passes of a step see one dropout mask, the clean one can be lent to the
# search, and a step costs 2 (PGD from 0) or 1 (TRADES, VAT, SMART) units less.
#
# ## 7 · A fair race
#
# Give every method the same number of *epochs*, and PGD-3 gets four times the work of plain
# training. Whoever then reports that it is better has shown that work helps. So here every method
# gets the same number of **units**: from the same weights, on the same texts, with the same
# learning rate and schedule. What differs is how many optimizer steps it can afford. To keep the
# page short we go on from a trained model, with short texts, and measure accuracy clean and under
# PGD.
#
# Two controls have no adversary, R-Drop and R3F. The third is the one most often forgotten:
# **longer plain training**. Table 2 of the R3F paper has it as "Standard++", and on several tasks
# it makes up much of what the new methods had gained over the plain baseline. So plain training,
# and FGM, run a second time with three times the budget.

# %%
budget = profile.pick(60, 1800)
short = profile.pick(14, 30)  # words


def shortest(part, n):
    return part.select([i for i, t in enumerate(part["text"]) if len(t.split()) <= short][:n])


train_set = shortest(data["train"], profile.pick(640, 6000))
test_set = shortest(data["test"], profile.pick(80, 300))
judge = PGD(0.3, steps=5)
print(f"{len(train_set)} texts to train on, {len(test_set)} to test on; budget {budget} units")
for name, u in units.items():
    print(f"  {name:9} {round(budget / u):4} optimizer steps")

# %% [markdown]
# ### Prediction 09.c: clear of plain training
#
# Every method ends with an accuracy under PGD and its 95 % interval, plain training too.

# %%
guess = course.predict(
    "09.c",
    "for how many of the nine other methods does the interval under PGD not overlap plain's?",
    guess=None,
    low=0,
    high=9,
)


# %%
def race(name, work, seed=0):
    """One row of the table: a method trained for so many units, and what it withstands."""
    set_seed(seed)
    runner = advlib.load_classifier(source)
    with tempfile.TemporaryDirectory() as folder:
        trainer = advlib.finetune(
            runner, train_set, methods()[name], out=folder, seed=seed, disable_tqdm=True,
            max_steps=round(work / units[name]), batch_size=profile.pick(8, 16),
            logging_steps=10_000, after=0,
            learning_rate=profile.pick(2e-3, 2e-5))
    return summary(name, runner, work, trainer.state.global_step, trainer.ledger()["ms"])


def summary(name, runner, work=0, steps=0, ms=0.0):
    clean = attack_all(runner, test_set).robust.mean()
    outcome = attack_all(runner, test_set, judge)
    low, high = wilson(int(outcome.robust.sum()), len(test_set))
    return dict(name=name, units=work, steps=steps, clean=clean, robust=outcome.robust.mean(),
                low=low, high=high, seconds=ms * steps / 1000)


def long(name):
    return {**race(name, 3 * budget), "name": f"{name}, long"}


table = [summary("before", victim), *(race(name, budget) for name in units)]
table += [long("plain"), long("FGM")]
row = {r["name"]: r for r in table}
steps = [(r["steps"], units[r["name"].split(",")[0]], r["units"]) for r in table[1:]]
course.claim("09.equal", rows=steps)

# %%
told = [name for name in list(units)[1:] if row[name]["low"] > row["plain"]["high"]
        or row[name]["high"] < row["plain"]["low"]]
guess.reveal(len(told))

# %%
print(f"clear of plain at the same cost: {', '.join(told) or 'none'}\n")
print("               units   steps   clean   PGD-5   95 % interval    seconds")
for r in table:
    print(f"{r['name']:12} {r['units']:7} {r['steps']:7} {r['clean']:7.1%} {r['robust']:7.1%}   "
          f"{r['low']:5.1%} to {r['high']:5.1%} {r['seconds']:8.1f}")

# %%
figures.race(table)

# %% [markdown]
# *The figure: a row per method, all at the same cost except the two below the dotted line, which
# had three times as much. The coloured mark is the accuracy under PGD, the band its 95 % interval,
# the black stroke the clean accuracy; the shaded column is plain training's interval.*
#
# What may be said after this? **One seed, few texts**, in the small profile 80 of them and 5 to 20
# optimizer steps: this race decides nothing. Intervals that wide tell at most the best from the
# worst, perhaps nothing at all; and they do not contain what another seed would change. Whoever
# ranks ten methods from such a table is reading noise. The last two rows are there because a
# ranking at one budget need not be that at another: a search that leaves few optimizer steps may
# not have paid yet. For a comparison with three seeds, more texts, more work and attacks on words,
# though at equal *epochs*, read docs/results/defence-reviews.md, made by
# `python benchmarks/defence.py`.

# %%
for name in ("plain", "FGM"):
    one, three = row[name]["robust"], row[f"{name}, long"]["robust"]
    print(f"{name:5}: {one:.2f} under PGD for {budget} units, {three:.2f} for {3 * budget}")
course.claim("09.long", fgm=row["FGM, long"]["robust"], plain=row["plain, long"]["robust"])

# %% [markdown]
# ## 8 · Why not always FGM?
#
# FGM comes at two thirds of the price of PGD-3. We look for an answer in a small model, a network
# of three layers over the transformer's averaged last hidden states, in L∞ with a large `eps` (this
# section uses the course's small encoder in every profile). Whether a whole transformer does the
# same is not tried here. (In L∞ the single step is FGSM; in this section FGM stands for any single
# step.)

# %%
encoder = advlib.load_classifier("reviews-clean", device="cpu")
reviews = advlib.load_text("reviews", train_size=500, test_size=300)


@torch.no_grad()
def features(part):
    """Mean of the last hidden states over the words, (texts, 128), and the labels."""
    rows, labels = [], []
    for _, some in encoder.batches(list(part["text"]), list(part["label"])):
        inputs = {k: some[k] for k in ("input_ids", "attention_mask")}
        hidden = encoder.model.base_model(**inputs).last_hidden_state
        words = attackable(some)[..., None]
        rows.append((hidden * words).sum(1) / words.sum(1))
        labels.append(some["labels"])
    return torch.cat(rows), torch.cat(labels)


(X, y), (X_test, y_test) = features(reviews["train"]), features(reviews["test"])
mean, spread = X.mean(0), X.std(0)
X, X_test = (X - mean) / spread, (X_test - mean) / spread  # eps is now in standard deviations
wide = 1.0


def linf(net, x, y, steps, random=False):
    """L∞ ascent on the features: one step of size eps is FGSM."""
    delta = wide * (2 * torch.rand_like(x) - 1) if random else torch.zeros_like(x)
    size = wide * {1: 1.25 if random else 1.0}.get(steps, 2.5 / steps)
    while steps:
        steps = steps - 1
        delta.requires_grad_()
        loss = F.cross_entropy(net(x + delta), y, reduction="sum")
        (grad,) = torch.autograd.grad(loss, delta)
        delta = (delta.detach() + size * grad.sign()).clamp(-wide, wide)
    return delta


def right(net, delta=0.0):
    return (net(X_test + delta).argmax(1) == y_test).float().mean().item()


# %%
def go_on(net, epochs, steps, random=False, seed=0):
    """Train with so many attack steps; clean, FGM and PGD accuracy after every epoch."""
    torch.manual_seed(seed)
    net, history = copy.deepcopy(net), []
    adam = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for i in torch.randperm(len(X)).split(50):
            adam.zero_grad()
            F.cross_entropy(net(X[i] + linf(net, X[i], y[i], steps, random)), y[i]).backward()
            adam.step()
        history.append((right(net), right(net, linf(net, X_test, y_test, 1)),
                        right(net, linf(net, X_test, y_test, 10))))
    return net, history


torch.manual_seed(0)
layers = torch.nn.Linear(128, 256), torch.nn.Linear(256, 256), torch.nn.Linear(256, 2)
fresh = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
robust, beginning = go_on(fresh, 12, steps=4)
print("after 12 epochs with PGD-4: clean {:.2f}, FGM {:.2f}, PGD {:.2f}".format(*beginning[-1]))

# %% [markdown]
# ### Prediction 09.d: going on with single steps
#
# A model that PGD-4 has made fairly robust. Now somebody wants to save work and goes on with single
# steps.

# %%
guess = course.predict(
    "09.d",
    "20 more epochs, now with single steps: what will be the accuracy under FGM at the end?",
    guess=None,
    low=0,
    high=1,
)

# %%
roads = {"1 step": dict(steps=1), "1 step, random start": dict(steps=1, random=True),
         "4 steps": dict(steps=4)}
histories = {name: beginning + go_on(robust, 20, seed=1, **how)[1] for name, how in roads.items()}
late = {name: torch.tensor(h[-5:]).mean(0).tolist() for name, h in histories.items()}
guess.reveal(round(histories["1 step"][-1][1], 2))

# %%
for name, (clean, fgm, pgd) in late.items():
    print(f"{name:22} last five epochs: clean {clean:.2f}, FGM {fgm:.2f}, PGD {pgd:.2f}")
clean, fgm, pgd = late["1 step"]
course.claim("09.fall", fgm=fgm, pgd=pgd)
course.claim("09.easier", fgm=fgm, clean=clean)
course.claim("09.cure", random_start=late["1 step, random start"][2], four=late["4 steps"][2],
             one=pgd)

# %%
figures.falls(histories, len(beginning))

# %% [markdown]
# *The figure: accuracy clean, under FGM and under PGD with 10 steps, over 32 epochs. Up to the
# dotted line all three are trained alike with PGD-4.*
#
# <details><summary>What you should see</summary>
#
# After the dotted line, with single steps, the green line (FGM) climbs towards 0.9 while the pink
# one (PGD) falls; with a random start as well. The dashed line (clean) suffers too: in the first
# panel it jumps between good and chance from epoch to epoch, so that its mean over the last five,
# printed above, is the level of hardly any single one of them. With four steps all stay near where
# they were.
#
# </details>
#
# This is **catastrophic over-fitting**. A single-step attacker can be *tricked*. The model needs
# not be safe in the ball; it is enough that it is safe at the one point to which FGM jumps, and it
# can learn to bend its gradient so that FGM jumps to a harmless point. On images this comes all of
# a sudden: within an epoch the accuracy under FGM goes up, and that under PGD down to nothing (Wong
# et al. 2020; Andriushchenko and Flammarion 2020).
#
# Look at the green line alone, as somebody who saves work in the evaluation too would: a success.
# It even rises above the *clean* accuracy, and that is a tell-tale: an attack that makes texts
# easier. FGM's push carries the label in its signs, and the model has learned to read it there.
#
# What helps: **look with PGD** at every epoch, on a few hundred examples, and stop at the fall with
# the best model so far (Wong et al. did); **more steps**; a **smaller `eps`**. A random start
# merely shortens the step in effect, as Andriushchenko and Flammarion showed; they add a penalty
# for gradients that point elsewhere at a random point of the ball ("GradAlign").

# %% [markdown]
# ### Exercise 09.4: the moment of the fall · ●●○ · 10 min
#
# Write `first_collapse(fgm, pgd, drop=0.2)`. The lists hold the accuracies at the checks
# 0, 1, 2, …. For a check `k` let `best` be the check *before k* with the largest PGD accuracy (the
# first of several); check 0 has nothing before it and cannot be the fall. A check `k` is the fall
# if, both compared with `best`,
#
# - (a) PGD accuracy has fallen by *more* than `drop`, and
# - (b) FGM accuracy has **not** fallen by more than `drop` (falling by exactly `drop` is not more).
#
# Where both have fallen, training as a whole has broken down, which is another illness: that check
# is passed over, and a later one may still be the fall. Return `(k, best)` for the *first* `k` that
# fits: where to stop, and which check to go back to. Return `None` if there is none. Lists may be
# empty.
#
# <details><summary>Hint</summary>
#
# `max(range(k), key=pgd.__getitem__)` is the first index below `k` with the largest value.
#
# </details>


# %%
def first_collapse(fgm, pgd, drop=0.2):
    """(stop, keep): the check of the fall and the best one before it, or None."""
    # SOLUTION


first_collapse = course.exercise("09.4", first_collapse)

# %%
_, fgm, pgd = zip(*histories["1 step"], strict=True)
found = first_collapse(list(fgm), list(pgd), 0.2)
if found:
    stop, keep = found
    print(f"stop after epoch {stop + 1}: PGD {pgd[stop]:.2f}; go back to epoch {keep + 1}: PGD "
          f"{pgd[keep]:.2f}, FGM {fgm[keep]:.2f}")
course.claim("09.alarm", kept=pgd[found[1]] if found else 0, end=late["1 step"][2],
             quiet=first_collapse([0.6, 0.7, 0.7], [0.5, 0.6, 0.6]))
jumps = [abs(b[2] - a[2]) for a, b in zip(beginning[5:], beginning[6:], strict=False)]
print(f"largest jump of PGD from an epoch to the next under PGD-4, later half: {max(jumps):.2f}")

# %% [markdown]
# Compare the epoch of the alarm with the figure: it rings at a dip, soon after the change to single
# steps, and PGD may come back for a while before it is gone for good. Under PGD-4 the curve already
# swings from one epoch to the next by a good part of `drop`, so at 0.2 the rule stands hardly
# above the noise. Here the alarm was right about what came after; in general two checks in a row, a
# smoothed curve or more texts would be surer.

# %% [markdown]
# ## 9 · Which one?
#
# A budget, a floor for the clean accuracy, a table of measurements with intervals. Taking the
# largest number is not a decision, it is a lottery among those that the table cannot tell apart. A
# rule that does not pretend: among those that you can afford, find the most robust; everything
# whose interval reaches up to *its* interval may be as good; of these take the cheapest.

# %% [markdown]
# ### Exercise 09.5: choose by budget · ●●○ · 8 min
#
# Write `choose(table, budget, least_clean)`. `table` is a list of dictionaries with `name`,
# `units`, `clean`, `robust`, `low`, `high` (the interval of `robust`). Leave out every row with
# `units` above the budget or `clean` below `least_clean` (equal is allowed). If none is left return
# `None`. Of the rest let `best` be the row with the largest `robust`. Return the `name` of the row
# with the fewest `units` among those whose `high` is at least `best`'s `low`; of several with the
# same units, the one with the largest `robust`. Do not change the table.
#
# <details><summary>Hint</summary>
#
# `min(rows, key=lambda r: (r["units"], -r["robust"]))` orders by two things at once.
#
# </details>


# %%
def choose(table, budget, least_clean):
    """The name of the cheapest method that cannot be told from the best one, or None."""
    # SOLUTION


choose = course.exercise("09.5", choose)

# %%
trained = [r for r in table if r["name"] != "before"]
for limit in (budget, 3 * budget):
    for floor in (0.0, 0.9):
        print(f"up to {limit:5} units, clean at least {floor:.0%}: {choose(trained, limit, floor)}")
course.claim("09.budget", chosen=choose(trained, budget - 1, 0.0))
# Where all cost the same, the rule can only take the largest number: look at the intervals again.

# %% [markdown]
# The decision table, in words. This page's race is too short to rank anything. The first four lines
# are read off docs/results/ledger-bert-tiny.md (costs, in plain trainings) and defence-reviews.md
# beside it: a small model on the built-in world, equal epochs, three seeds, nothing tuned, PGD with
# 20 steps and 5 restarts. A plain epoch at the start may help by itself (Free-4's makes four steps
# on each batch, so it is worth four plain epochs), and another model or more data may turn these
# lines round. FGM with `same_dropout` is there with its cost only. The line on texts without labels
# follows from the formula of VAT (and is tried in lesson 10). SMART's is what its paper reports; in
# that table it does no better than FGM. The last line is section 8.
#
# | You have | Take | Because |
# |---|---|---|
# | twice the cost of plain training | FGM, `same_dropout=True` | cheapest; accuracy not measured |
# | nearly three times | FreeLB-3 after a plain epoch | above FGM (2.7), which had no such epoch |
# | four times | the same, or Free-4 after a plain epoch | PGD-3 not above them, TRADES-3 below |
# | FreeLB or Free in mind | a plain epoch first | without it some runs said one class for all |
# | texts without labels | VAT | its term needs none (lesson 10) |
# | little data, a large model | SMART | the brake on the weights |
# | no attacker in mind | longer plain training, R-Drop, R3F | beat these before you pay |
# | any single-step method | PGD checks during training | else you will not see the fall |

# %% [markdown]
# ## Recap
#
# - **Units**: forward, backward to the input, on to the weights; plain training costs 3, PGD
#   2K + 6, TRADES and VAT 2K + 7, FreeLB 3K, Free 3 a step. The clock stays near units/3, or below
#   it where the optimizer's own step weighs.
# - **FreeLB** trains on every point of the way, with the gradients added up and divided by K;
#   **Free** makes an optimizer step at each, and both gradients come from one backward pass.
# - **TRADES, VAT, SMART** move the prediction, not the loss. The divergence is flat at δ = 0, so
#   they need a random start; for two classes one power iteration finds FGM's line, on either side.
# - **Race at equal cost**, beside controls without an adversary and beside longer plain training.
# - **Catastrophic over-fitting**: FGM's accuracy rises while PGD's falls. Check with PGD during
#   training, keep the best, take more or shorter steps.
#
# ## What could go wrong
#
# - **Equal epochs instead of equal cost**: a method that makes four passes a step wins by having
#   trained longer. Count units, or run a clock.
# - **An untuned baseline.** In table 2 of the R3F paper "Standard++", plain fine-tuning that is
#   only longer and uses Adam as it was meant, makes up much of the distance to the new methods.
# - **A divergence without a random start**: no error, and an adversary made of rounding.
# - **Dropout between the two predictions**: the divergence then also measures two masks, as R-Drop
#   does. `same_dropout=True` gives all passes of a step one mask.
# - **FreeLB without the division by K**: the step is K times as long, and looks like a gain or like
#   a divergence of the training, as luck will have it.
# - **Free for as many epochs as the others**: m times the price. Divide the epochs by m.
# - **Judging single-step training with a single-step attack**: the one number that cannot show
#   catastrophic over-fitting.
# - **One seed, a hundred texts**: an interval of several points each way. Do not rank methods
#   that it cannot tell apart.
#
# ## Further reading
#
# - A. Shafahi, M. Najibi, A. Ghiasi, Z. Xu, J. Dickerson, C. Studer, L. Davis, G. Taylor,
#   T. Goldstein, *Adversarial Training for Free!*, NeurIPS 2019, arXiv 1904.12843.
# - C. Zhu, Y. Cheng, Z. Gan, S. Sun, T. Goldstein, J. Liu, *FreeLB: Enhanced Adversarial Training
#   for Natural Language Understanding*, ICLR 2020, arXiv 1909.11764.
# - H. Zhang, Y. Yu, J. Jiao, E. Xing, L. El Ghaoui, M. Jordan, *Theoretically Principled Trade-off
#   between Robustness and Accuracy* (TRADES), ICML 2019, arXiv 1901.08573.
# - T. Miyato, A. Dai, I. Goodfellow, *Adversarial Training Methods for Semi-Supervised Text
#   Classification* (VAT on text), ICLR 2017, arXiv 1605.07725.
# - H. Jiang, P. He, W. Chen, X. Liu, J. Gao, T. Zhao, *SMART: Robust and Efficient Fine-Tuning for
#   Pre-trained Natural Language Models through Principled Regularized Optimization*, ACL 2020,
#   arXiv 1911.03437.
# - A. Aghajanyan et al., *Better Fine-Tuning by Reducing Representational Collapse* (R3F), ICLR
#   2021, arXiv 2008.03156. Table 2 has the strong baseline.
# - X. Liang et al., *R-Drop: Regularized Dropout for Neural Networks*, NeurIPS 2021, arXiv
#   2106.14448.
# - E. Wong, L. Rice, J. Z. Kolter, *Fast is Better than Free: Revisiting Adversarial Training*,
#   ICLR 2020, arXiv 2001.03994. Single steps with a random start; the first report of the fall.
# - M. Andriushchenko, N. Flammarion, *Understanding and Improving Fast Adversarial Training*,
#   NeurIPS 2020, arXiv 2007.02617. Why a random start is no cure, and gradient alignment.
#
# > **Ethics** The threat model of this lesson is that of lesson 04: an attacker who writes to the
# > embeddings, at most `eps` far, with the whole model at hand. No user can do that. A cheap
# > defence that was checked with a cheap attack is worse than none, since it will be believed:
# > before you call a model robust, attack it with more than it was trained on, and say which
# > attacks those were.

# %%
course.progress("09")
