# %% [markdown]
# # 04 · PGD
#
# {{BADGE}}
#
# **You will**
#
# - project a perturbation back into its ball, and prove that you land on the nearest point;
# - write PGD, and see what step size, random start, restarts and keep-best do for it;
# - draw the landscape that it climbs, and read robust-accuracy curves without being fooled;
# - count what an attack costs, per token and per text, untargeted and targeted;
# - compare PGD with the exact worst case, found by trying everything.
#
# **Time** {{TIME}} About 75 minutes for you.
#
# **Before** Lessons 02 and 03.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · The compass turns
#
# FGM looks at its compass once, at the clean text, and then walks the whole way `eps` with its eyes
# shut. Lesson 03 ended with a suspicion: steps with a second look do more. We take some texts (the
# shorter ones, to save time) and the `eps` of lesson 03.

# %%
import math

import torch

from advlib.attacks import FGM, PGD, Noise
from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin, zero_delta

# The course's versions of what you wrote in lessons 02 and 03:
from course.lesson_02.checks import embedding_gradient
from course.lesson_03.checks import fgm_step
from course.lesson_04 import figures

victim = advlib.load_classifier(profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"))
test = advlib.load_text(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
                        test_size=profile.pick(96, 300))["test"]
by_length = sorted(range(len(test)), key=lambda i: len(test["text"][i]))
by_length = [i for i in by_length if len(test["text"][i]) > 20][: profile.pick(32, 100)]
test = test.select(by_length)

model = victim.model
batch = victim.encode(test["text"], test["label"])
mask = attackable(batch)
unit = model.get_input_embeddings().weight.norm(dim=1).mean().item()
eps = 0.3 * unit
print(f"{len(test)} texts with {mask.sum(1).min()} to {mask.sum(1).max()} free tokens; "
      f"eps = 0.3 · {unit:.2f} = {eps:.2f}")

# %% [markdown]
# Instead of the loss we shall mostly draw its **log-odds** $m = z_\text{wrong} - z_\text{right}$,
# the difference of the two logits. It says the same, loss $=\log(1+e^m)$, on a scale on which
# something is to be seen when the model is very sure, and above 0 the model is wrong. The library's
# `wrong_margin(logits, labels)` computes it. With more classes it is the log-odds of all wrong ones
# together; `hard=True` takes the strongest alone, and only then "above 0" still means wrong.


# %%
def odds(delta, model=model):
    """The log-odds of being wrong, one number per text; above 0 the model is fooled."""
    with torch.no_grad():
        return wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).cpu()


def share_right(delta, model=model):
    return (odds(delta, model) < 0).float().mean().item()


def walk(looks, pieces=8):
    """A walk of length eps, with so many looks at the compass: log-odds after every piece."""
    delta, heights = zero_delta(model, batch), []
    for k in range(pieces):
        if k % (pieces // looks) == 0:
            push = fgm_step(embedding_gradient(model, batch, delta), mask, eps / pieces)
        heights.append(odds(delta))
        delta = delta + push
    return torch.stack([*heights, odds(delta)]), delta


zero = zero_delta(model, batch)
first_look = embedding_gradient(model, batch, zero)
walks = {looks: walk(looks) for looks in (1, 2, 8)}
parts, compass = (0, 0.25, 0.5, 1), []
for part in parts:
    there = embedding_gradient(model, batch, fgm_step(first_look, mask, max(part, 1e-6) * eps))
    cosine = (fgm_step(there, mask, 1.0) * fgm_step(first_look, mask, 1.0)).sum((1, 2))
    compass.append(cosine.mean().item())

# %%
ends, reached = {}, {}
for looks, (heights, delta) in walks.items():
    ends[looks] = heights[-1].mean().item()
    reached[looks] = (delta.norm(dim=(1, 2)) / eps).mean().item()
    print(f"{looks} looks: {(heights[-1] < 0).float().mean():.1%} still right, mean log-odds "
          f"{ends[looks]:+.2f}, distance from the text {reached[looks]:.2f} eps")
course.claim("04.looks", ends=ends, reached=reached, compass=compass)
figures.walks(walks, parts, compass)

# %% [markdown]
# *The figure: left, the mean log-odds while walking the same distance eps with one, two and eight
# looks at the gradient. Right, the cosine of the gradient on FGM's way with the gradient at its
# start.*
#
# <details><summary>What you should see</summary>
#
# Left: the more looks, the higher. Right, why: the cosine begins at 1 and falls; at the end of the
# walk the compass points somewhere else.
#
# </details>
#
# There is more to gain. A walk that turns ends nearer to its start than it is long (the last number
# of each line; by how much depends on how sharply it turns, not on how often), so it has not used
# up its `eps`. Why not walk on? Because then some texts would leave the ball, and that breaks the
# rules. The idea of **projected gradient ascent** (everybody says PGD, projected gradient
# *descent*): walk on, and whenever you have stepped out, go to the nearest point of the ball.

# %% [markdown]
# ## 2 · The nearest point
#
# For a point $d$ outside, which point $p$ of the ball is nearest (in ordinary, Euclidean distance)?
#
# **L∞, a cube.** $\|d-q\|^2=\sum_k (d_k-q_k)^2$, and every $q_k$ may be chosen freely between
# −`eps` and `eps`. So each term is made small by itself: $p_k$ is $d_k$ if that is allowed, else
# the end of the interval on its side.
#
# **L2, a ball.** Claim: go straight towards the centre, $p = \texttt{eps}\cdot d/\|d\|$, and the
# distance is $\|d\|-\texttt{eps}$. Proof: for any $q$ of the ball the triangle inequality gives
# $\|d\| \le \|d-q\| + \|q\|$, so
#
# $$\|d-q\| \;\ge\; \|d\|-\|q\| \;\ge\; \|d\|-\texttt{eps} \;=\; \|d-p\|.$$
#
# A point *inside* is its own nearest point: it stays where it is.
#
# There is a test for "nearest" that holds for every convex set. Stand at $p$ and look to $d$: then
# the whole set lies behind you,
#
# $$(d-p)\cdot(q-p)\;\le\;0\qquad\text{for all } q \text{ in the set.}$$
#
# For the ball this is Cauchy–Schwarz: $d-p$ is a positive multiple of $p$, and
# $p\cdot q - p\cdot p \le \|p\|\,\|q\|-\texttt{eps}^2\le 0$.

# %% [markdown]
# ### Exercise 04.1: the projection · ●●○ · 10 min
#
# Write `project(delta, eps, norm)`. `delta` has shape `(batch, tokens, hidden)`; return the
# nearest point, of the same shape and dtype, in the ball of radius `eps`. For `norm="l2"` every
# text has one ball of its own, over all its tokens and coordinates together; for `norm="linf"` it
# is the cube. Texts that are inside come back as they are; a text with `delta = 0` must not become
# `nan`; do not change the input in place.
#
# <details><summary>Hint</summary>
#
# L2: multiply with a factor of shape `(batch, 1, 1)`, `eps / norm`, but never more than 1. The
# method `.norm` takes `dim=(1, 2)` and `keepdim=True`. To keep a divisor from becoming too small,
# `clamp_min` helps, and with the right argument it takes care of "never more than 1" as well.
#
# </details>


# %%
def project(delta, eps, norm):
    """The nearest point in each text's ball of radius eps, (batch, tokens, hidden)."""
    # SOLUTION


project = course.exercise("04.1", project)

# %% tags=["nbval-check-output"]
three_four = torch.tensor([[[3.0, 4.0]]])
for norm in ("l2", "linf"):
    p = project(three_four, 1.0, norm)
    print(f"{norm:4}: (3, 4) goes to ({p[0, 0, 0]:.1f}, {p[0, 0, 1]:.1f}), "
          f"{(three_four - p).norm():.1f} away")

# %% [markdown]
# Try to refute it: ten thousand random points $q$ of each ball, and none may lie in front of
# somebody who stands at $p$ and looks to $d$. (Rescaling does not pass this test for the cube: it
# lands *in* the cube, and not at the nearest point.)

# %%
draw = torch.Generator().manual_seed(0)
d = torch.randn(10_000, 2, 3, generator=draw) * 2
q = torch.randn(10_000, 2, 3, generator=draw)
ahead, nearer = {}, {}
for norm in ("l2", "linf"):
    p, others = project(d, 1.0, norm), project(q, 1.0, norm)
    ahead[norm] = ((d - p) * (others - p)).sum((1, 2)).max().item()
    closer = (d - others).norm(dim=(1, 2)) < (d - p).norm(dim=(1, 2)) - 1e-5
    nearer[norm] = closer.sum().item()
    print(f"{norm:4}: largest (d − p)·(q − p) = {ahead[norm]:.5f}, "
          f"points that are nearer: {nearer[norm]}")
scaled = d / d.abs().amax((1, 2), keepdim=True).clamp_min(1)
rescaled = ((d - scaled) * (others - scaled)).sum((1, 2)).max().item()
course.claim("04.nearest", ahead=ahead, nearer=nearer, ahead_if_rescaled=rescaled)

# %%
starts = torch.tensor([[1.7, 0.4], [1.4, 1.5], [-0.6, 1.6], [-1.6, -0.9], [0.4, -0.5]])
goals = {norm: project(starts[:, None], 1.0, norm)[:, 0] for norm in ("l2", "linf")}
figures.projections(starts, goals)

# %% [markdown]
# *The figure: five points and, as arrows, where they are projected to, in the disc and in the
# square.*
#
# <details><summary>What you should see</summary>
#
# In the disc every arrow points to the centre. In the square an arrow is upright or level, or ends
# in a corner. The fifth point is inside and does not move.
#
# </details>
#
# ## 3 · Step, project, repeat
#
# PGD is three lines in a loop, and you have written all three: ask for the gradient *where you
# are*, take a normalised step of length `step_size` along it, go back into the ball.
#
# $$\delta \;\leftarrow\; \Pi_{\texttt{eps}}\bigl(\delta + \texttt{step\_size}\cdot g/\|g\|\bigr),
# \qquad g=\nabla_\delta L(x+\delta)$$
#
# The gradient's length is *not* used: where the model is sure the loss is flat and $g$ tiny, but
# its direction is as good as ever.

# %% [markdown]
# ### Exercise 04.2: projected gradient ascent · ●●● · 15 min
#
# Write `pgd(model, batch, eps, steps, step_size, start=None)`. Begin at `delta = 0`, or at `start`
# where one is given (it lies in the ball and is zero on padding and special tokens), and take
# `steps` steps of length `step_size` that *raise* the loss, in the L2 ball of radius `eps` round
# each clean text. Return the last `delta`, `(batch, tokens, hidden)`: within the ball, zero on
# padding and special tokens, without a graph. Leave the model (its mode, for the passes too; its
# parameters' `.grad` and `requires_grad`), the batch and `start` as they are.
#
# What you have: `zero_delta(model, batch)`, a delta of zeros; `attackable(batch)`, the mask;
# `embedding_gradient(model, batch, delta)`, detached, not masked; `fgm_step(grad, mask, eps)`,
# which masks the gradient and gives it the length `eps` per text (any length that you ask for);
# and your own `project`.
#
# <details><summary>Hint</summary>
#
# The gradient belongs *inside* the loop, at the present `delta`. The projection comes last in a
# round, so that what you return has been projected.
#
# </details>


# %%
def pgd(model, batch, eps, steps, step_size, start=None):
    """Projected gradient ascent in the L2 ball of each text; the last delta."""
    # SOLUTION


pgd = course.exercise("04.2", pgd)

# %% [markdown]
# Your PGD beside FGM, and beside `advlib.attacks.PGD`. The library climbs the log-odds instead of
# the cross-entropy: the same direction, but it does not fade to exactly 0 when the model is *very*
# sure (lesson 03). Its `eps` and `step_size` are in units of `unit`. By default it returns for each
# text the best point that it saw ("keep-best", section 4); `keep_best=False` returns the last, as
# yours does.

# %%
one_step = fgm_step(first_look, mask, eps)
ten_steps = pgd(model, batch, eps, 10, eps / 3)
library = PGD(eps=0.3, steps=10, step_size=0.1)(model, batch, keep_best=False)
right, mean_odds = {}, {}
for name, delta in {"no attack": zero, "FGM": one_step, "your PGD, 10 steps": ten_steps,
                    "library's PGD": library}.items():
    right[name], mean_odds[name] = share_right(delta), odds(delta).mean().item()
    print(f"{name:20} {right[name]:6.1%} right, mean log-odds {mean_odds[name]:+.2f}")
course.claim("04.pgd", right=right, mean_odds=mean_odds)

# %% [markdown]
# ## 4 · How long a step, from where, how often?
#
# ### Step size
#
# We watch twelve steps with three constant step sizes: twice the ball's diameter (`4·eps`), half of
# its radius (`eps/2`), a twentieth of it (`eps/20`).
#
# ### Prediction 04.a: how long a step?

# %%
guess = course.predict(
    "04.a",
    "after 12 steps, which constant step size has reached the largest mean log-odds?",
    guess=None,
    options=("4·eps", "eps/2", "eps/20"),
)


# %%
def record(sizes):
    """Mean log-odds after every step of a PGD run with these step sizes."""
    delta, heights = zero, [odds(zero).mean().item()]
    for size in sizes:
        delta = pgd(model, batch, eps, 1, size, delta)
        heights.append(odds(delta).mean().item())
    return heights


steps = 12
runs = {"4·eps": record([4 * eps] * steps), "eps/2": record([eps / 2] * steps),
        "eps/20": record([eps / 20] * steps),
        "2.5·eps/steps": record([2.5 * eps / steps] * steps),
        "eps/√k": record([eps / k**0.5 for k in range(1, steps + 1)])}
guess.reveal(max(list(runs)[:3], key=lambda name: runs[name][-1]))
for name, heights in runs.items():
    print(f"{name:14} after 3 steps {heights[3]:+.2f}, after 12 steps {heights[-1]:+.2f}")

# %%
course.claim("04.step_size", runs=runs)
figures.step_sizes(runs)

# %% [markdown]
# *The figure: mean log-odds after every step, a line for each step size.*
#
# <details><summary>What you should see</summary>
#
# Steps of 4·eps lead at first and then stall: they jump from rim to rim. Steps of eps/2 climb more
# slowly and end a little higher. Steps of eps/20 have not arrived: twelve of them are only 0.6 eps
# long. Steps that shrink like eps/√k start long and end short, and do about as well as eps/2 or
# better.
#
# </details>
#
# The light blue line is the rule of thumb of Madry et al. (2018), 2.5 · `eps` / `steps`: it reaches
# the rim from everywhere and can still move along it. They used it for 100 steps; with twelve it
# arrives late. The library's default shrinks, `eps`, `eps/√2`, `eps/√3`, …: its first
# step *is* FGM, and a run of 20 steps begins with the run of 10, so with the best point kept more
# steps are never weaker. **Look at the curve before you report a number**: if it is still rising at
# the last step, the attack is not done.
#
# ### Random start
#
# From zero, PGD always takes the same way. Another start may lead to another top. Madry et al.
# start at a random point; but what is a *uniform* random point? The direction is easy:
# normal random numbers, normalised (lesson 03). The distance from the centre is not uniform! In a
# disc, the inner half of the radius covers only a quarter of the area, so it deserves a quarter of
# the points. In $d$ dimensions the volume inside $r$ grows like $r^d$, and
#
# $$P(\|\delta\|\le r) = (r/\texttt{eps})^d \qquad\Longrightarrow\qquad
# \|\delta\| = \texttt{eps}\cdot u^{1/d},\quad u \text{ uniform in } [0,1]:$$
#
# then $P(\texttt{eps}\,u^{1/d}\le r)=P(u\le (r/\texttt{eps})^d)$, as it should be.

# %% [markdown]
# ### Exercise 04.3: a random point of the ball · ●●○ · 10 min
#
# Write `random_in_ball(mask, hidden, eps, generator)`. `mask` has shape `(batch, tokens)`, True
# where a token is free. Return `delta`, `(batch, tokens, hidden)`, float32: for each text a point
# that is uniform in the L2 ball of radius `eps` of *its* free coordinates, zero on all others. All
# random numbers come from `generator` (a CPU one; build `delta` on the CPU, and return it on the
# mask's device). A text without a free token gets zeros, not `nan`.
#
# <details><summary>Hint</summary>
#
# Three parts per text: a normal direction on the free tokens, one number `u`, and `d`, which is how
# many coordinates of this text are free. `torch.randn` and `torch.rand` take `generator=`. Then
# direction / its norm · `eps` · `u ** (1 / d)`, with shapes `(batch, 1, 1)` for what is per text.
#
# </details>


# %%
def random_in_ball(mask, hidden, eps, generator):
    """A uniform point of each text's L2 ball, (batch, tokens, hidden), zero where masked."""
    # SOLUTION


random_in_ball = course.exercise("04.3", random_in_ball)

# %%
draw = torch.Generator().manual_seed(4)
single = torch.ones(600, 1, dtype=torch.bool)
yours = random_in_ball(single, 2, 1.0, draw)[:, 0]
naive = yours / yours.norm(dim=1, keepdim=True) * torch.rand(600, 1, generator=draw)
within_half = (yours.norm(dim=1) < 0.5).float().mean().item()
course.claim("04.uniform", within_half=within_half)
figures.discs({"radius u": naive, "radius √u (yours)": yours})

# %% [markdown]
# *The figure: 600 random points of a disc; the dotted circle is half the radius. Left the radius is
# u itself, right it is √u.*
#
# <details><summary>What you should see</summary>
#
# Left the points crowd at the centre: half of them within half the radius. Right a quarter, and the
# disc is evenly filled.
#
# </details>
#
# And in the 2,560 dimensions of a text of 20 tokens with 128 numbers each?

# %% tags=["nbval-check-output"]
many = random_in_ball(torch.ones(1000, 20, dtype=torch.bool), 128, 1.0,
                      torch.Generator().manual_seed(0)).norm(dim=(1, 2))
print(f"in 2,560 dimensions, of 1000 points nearer to the centre than 0.99 eps: "
      f"{(many < 0.99).sum()}")

# %% [markdown]
# Nearly the whole ball is skin: a uniform random point *is* a point of the surface, and $u^{1/d}$
# makes no difference there. (It will in section 8, where $d$ is 3.) A random start spends the whole
# budget on a direction that does next to nothing, and the first steps must walk it back. That is
# why the library's first run starts at zero.
#
# ### Restarts and keep-best
#
# Several runs from several starts give each text several candidates, and an attacker needs only
# one. Which one? For each text *its own* best, by the loss.

# %% [markdown]
# ### Exercise 04.4: keep the best · ●○○ · 6 min
#
# Write `keep_best(losses, deltas)`. `losses` has shape `(runs, batch)`, `deltas` has shape
# `(runs, batch, tokens, hidden)`. Return `(batch, tokens, hidden)`, of the dtype of `deltas`: for
# every text the delta of that run in which *this text's* loss was largest. With equal losses either
# is fine. Losses may be negative, all of them.
#
# <details><summary>Hint</summary>
#
# `losses.argmax(0)` says for every text which run. Then two index tensors of the same length, one
# for the run and one for the text, pick one `(tokens, hidden)` block per pair.
#
# </details>


# %%
def keep_best(losses, deltas):
    """Per text the delta with the largest loss, (batch, tokens, hidden)."""
    # SOLUTION


keep_best = course.exercise("04.4", keep_best)

# %% [markdown]
# ### Prediction 04.b: what restarts add
#
# Five runs of ten steps: one from zero, four from random points.

# %%
guess = course.predict(
    "04.b",
    "how many more texts (as a share of all) do five runs fool than the first alone?",
    guess=None,
    low=0,
    high=1,
)

# %%
deltas = [pgd(model, batch, eps, 10, eps / 3)]
for run in range(1, 5):
    start = random_in_ball(mask, zero.shape[-1], eps, torch.Generator().manual_seed(run))
    deltas.append(pgd(model, batch, eps, 10, eps / 3, start))
deltas = torch.stack(deltas)
losses = torch.stack([odds(delta) for delta in deltas])  # (runs, batch)

best = [share_right(keep_best(losses[:k], deltas[:k])) for k in range(1, 6)]
guess.reveal(best[0] - best[-1])
print("runs kept   right   mean log-odds")
for k in range(1, 6):
    print(f"{k:9} {best[k - 1]:7.1%} {losses[:k].amax(0).mean():+15.2f}")

# %%
course.claim("04.restarts", right=best)
within = (losses.amax(0) - losses.amin(0)).median().item()
between = losses.amax(0).std().item()
ahead = (losses[0] >= losses[1:].amax(0) - 1e-3).float().mean().item()
print(f"median spread over the five runs {within:.2f}, spread over the texts {between:.2f}; "
      f"the run from zero is the best of the five for {ahead:.0%} of the texts")
course.claim("04.starts", within=within, between=between, ahead=ahead)
figures.five_runs(losses, odds(one_step))

# %% [markdown]
# *The figure: for every text the log-odds that five PGD runs reached (dots and black dashes),
# beside FGM's (green crosses).*
#
# <details><summary>What you should see</summary>
#
# For most texts the runs lie nearly on top of one another, however differently they started, and
# FGM lies lower. The random starts are seldom above the black dashes (from zero), as printed.
#
# </details>
#
# Madry et al. found the same for images. It is the reason why PGD is trusted as a yardstick, and no
# proof: five runs of *one method* may all miss the same thing. In section 8 they differ.
#
# ## 5 · The landscape along two directions
#
# Nobody can draw 2,560 dimensions, but two of them can be drawn. We take one text that FGM does
# not fool and PGD does, or nearly, and cut its ball in two ways.

# %%
gain = torch.where(odds(zero) < 0, odds(ten_steps) - odds(one_step), -torch.inf)
pick = int(torch.where(odds(one_step) < 0, gain, gain - 100).argmax())
print(f"{test['text'][pick]!r}, label {victim.labels[test['label'][pick]]}")
print(f"log-odds: clean {odds(zero)[pick]:+.1f}, FGM {odds(one_step)[pick]:+.1f}, "
      f"PGD {odds(ten_steps)[pick]:+.1f}")


def plane(a, b):
    """Two directions of length 1 at right angles that span a and b."""
    first = a / a.norm()
    second = b - (b * first).sum() * first
    return first, second / second.norm()


def landscape(axes2, reach=1.4, side=29):
    """Log-odds of the text on a square of the plane, (side, side), and the coordinates."""
    ticks = torch.linspace(-reach, reach, side) * eps
    here = victim.encode([test["text"][pick]] * side, [test["label"][pick]] * side)
    u, v = (axis[: here["input_ids"].shape[1]] for axis in axes2)
    rows = []
    for y in ticks.tolist():
        delta = ticks.to(u.device)[:, None, None] * u + y * v
        with torch.no_grad():
            rows.append(wrong_margin(perturbed_logits(model, here, delta), here["labels"]).cpu())
    return ticks / eps, torch.stack(rows)


elsewhere = random_in_ball(mask, zero.shape[-1], eps, torch.Generator().manual_seed(9))
cuts = {"a random direction": plane(ten_steps[pick], elsewhere[pick]),
        "across, towards FGM": plane(ten_steps[pick], one_step[pick])}
maps = {name: landscape(cut) for name, cut in cuts.items()}


# %%
def seen(cut, deltas):
    """Where the deltas of the text lie in the plane of a cut, in eps."""
    return {name: [(delta[pick] * axis).sum().item() / eps for axis in cut]
            for name, delta in deltas.items()}


places = {"text": zero, "PGD": ten_steps}
ends = {name: seen(cut, places | ({"FGM": one_step} if "FGM" in name else {}))
        for name, cut in cuts.items()}
course.claim("04.slope", surface=maps["a random direction"][1])
figures.planes(maps, ends)

# %% [markdown]
# *The figure: the log-odds of one text on two planes through the centre of its ball, which they cut
# in the dashed circle. Blue: right, red: wrong, black line: the boundary. From one white line to
# the next the log-odds rise by twice as much as before, so that the gentle slope at the text shows
# too. Left, PGD's direction to the right and a random one upwards; right, the plane of both end
# points.*
#
# <details><summary>What you should see</summary>
#
# Left, walking upwards changes next to nothing, which is why noise is harmless. Right, FGM leaves
# the text square to the lines and goes straight on while they turn; PGD bent off to higher ground.
#
# </details>
#
# Such a picture is a keyhole: there may be higher ground in thousands of other directions.
#
# ## 6 · Robust-accuracy curves and how to read them
#
# One number at one `eps` is a photograph, the curve is the film. Four things must hold, else the
# *attack* is broken, whatever the model is like:
#
# 1. noise ≥ FGM ≥ PGD: more effort never leaves more texts right;
# 2. a larger `eps` never helps the model, for keep-best PGD (up to a text or two);
# 3. for large `eps` the accuracy goes to 0. The ball then holds embeddings of whole other words,
#    even of words that *say the opposite*: a classifier that works cannot be right on all of them.
#    A curve that levels off above 0 shows an attack that has got stuck;
# 4. at `eps` → 0 all curves start from the clean accuracy.
#
# `advlib.robustness(victim, test, attacks)` measures it: a table with a row per attack, before them
# one without any and one for a model that always says the most frequent class, after them one for
# the worst case, all attacks together. `Noise` is the control of lesson 03, a random direction of
# length `eps`.

# %%
models = {"standard": victim}
if profile.name == "smoke":
    models["adversarial"] = advlib.load_classifier("reviews-fgm")
grid = (0.1, 0.3, 0.5, 0.8, 1.2)
curves = {}
for name, who in models.items():
    attacks = [kind(eps=e) for kind in (Noise, FGM) for e in grid]
    attacks += [PGD(eps=e, steps=10) for e in grid]
    table = advlib.robustness(who, test, attacks, batch_size=profile.pick(16, 100))
    curves[name] = {kind: [table["accuracy"][0], *table["accuracy"][table["attack"] == kind]]
                    for kind in ("Noise", "FGM", "PGD")}
    print(f"{name}\n  eps   " + "".join(f"{e:8g}" for e in (0, *grid)))
    for kind, values in curves[name].items():
        print(f"  {kind:5} " + "".join(f"{value:8.1%}" for value in values))

# %%
slack = 2.5 / len(test)  # two texts
course.claim("04.curves", curves=curves, slack=slack)
figures.curves(grid, curves)

# %% [markdown]
# *The figure: accuracy against eps under three attacks (in the built-in world also for a model that
# was trained adversarially).*
#
# <details><summary>What you should see</summary>
#
# Noise stays on top, FGM falls, PGD falls faster and goes to zero. FGM and PGD begin together, and
# part as eps grows.
#
# </details>
#
# ### Why one step can look strong and is not
#
# At a small `eps` the loss is nearly a plane across the ball, and one step nearly does it. As `eps`
# grows the compass turns on the way, FGM misses the high ground, and flatters the model.

# %%
for name, lines in curves.items():
    apart = [f - p for f, p in zip(lines["FGM"], lines["PGD"], strict=True)]
    widest = max(range(len(apart)), key=apart.__getitem__)
    print(f"{name:12} FGM − PGD at eps {grid[0]}: {apart[1]:5.1%};  widest at eps "
          f"{(0, *grid)[widest]}: FGM {lines['FGM'][widest]:.1%}, PGD {lines['PGD'][widest]:.1%}")
course.claim("04.one_step", curves=curves)

# %% [markdown]
# Who tests a defence with FGM alone would publish the left number of the widest pair; the
# truth is at most the right one. Worse: a model that is *trained* on FGM can learn to bend its
# loss where FGM lands (lesson 09 calls it catastrophic overfitting). So: never report a one-step
# number as robustness. PGD's number is an **upper bound on the robust accuracy** too, only a better
# one. Double the steps, add restarts, and look whether it moves. AutoAttack (Croce and Hein) makes
# a routine of that: several attacks, step sizes that adapt, nothing to tune.
#
# ## 7 · The small print: scope, target, cost
#
# **Scope.** `eps` per *text* (`scope="sequence"`, as in FreeLB) is one budget for all $n$ tokens;
# per *token* (`scope="token"`) each has its own. Tokens that all use up their budget have together
# $\sqrt{n}\cdot$`eps`: the same number means something else.

# %%
free = mask.sum(1).float().mean().item()
print(f"mean number of free tokens {free:.1f}, square root {free**0.5:.1f}\n"
      "scope      eps    ‖delta‖ over the text   right")
scoped = {}
for scope, size in (("sequence", 0.1), ("token", 0.1), ("sequence", 0.1 * free**0.5)):
    delta = PGD(eps=size, steps=5, scope=scope)(model, batch)
    length = (delta.norm(dim=(1, 2)) / unit).mean().item()
    scoped[scope, round(size, 3)] = (length, share_right(delta))
    print(f"{scope:9} {size:5.2f} {length:17.2f} {share_right(delta):18.1%}")
per_text, per_token, same_total = scoped.values()
course.claim("04.scope", per_text=per_text, per_token=per_token, same_total=same_total)

# %% [markdown]
# The ball per token lies *inside* the ball per text of radius $\sqrt n\cdot$`eps`, and so can do no
# more: there the attacker may also put everything on one word.
#
# **Target.** So far anything but the truth would do. A *targeted* attack wants one particular
# class, and climbs the log-odds *of that class*. With two classes it is the same attack, on those
# texts that are not there yet:

# %%
towards = 1
aimed = PGD(eps=0.3, steps=5, target=towards)(model, batch)
usual = PGD(eps=0.3, steps=5)(model, batch)
others = (batch["labels"] != towards).cpu()
with torch.no_grad():
    said = perturbed_logits(model, batch, aimed).argmax(1).cpu()
hit = (said[others] == towards).float().mean().item()
turned = (odds(usual)[others] > 0).float().mean().item()
rest = (said[~others] == towards).float().mean().item()
print(f"{int(others.sum())} texts that are not {victim.labels[towards]}: the targeted attack turns "
      f"{hit:.1%} of them, the untargeted one {turned:.1%}")
course.claim("04.target", targeted=hit, untargeted=turned, rest=rest)

# %% [markdown]
# With more classes they part: to be pushed anywhere is easier than to *one* place. When you read a
# rate, ask which it is, and over which texts (those already in the target class do not count).
#
# **Cost.** Passes through the model are the currency (a backward pass to the input costs about as
# much as a forward one); `attack.passes()` counts both, keep-best's last look at each run included.
# Say you can pay for 30 gradients per text: one run of 30 steps (`1 × 30`), or three of ten
# (`3 × 10`, two of them from random starts)?
#
# ### Prediction 04.c: deep or wide?

# %%
guess = course.predict(
    "04.c",
    "30 backward passes for the tougher model: what leaves fewer texts right?",
    guess=None,
    options=("1 × 30", "3 × 10", "equal"),
)

# %%
tough, radius = list(models.values())[-1], profile.pick(0.5, 0.2)
plan = {"FGM": FGM(radius), "1 × 5": PGD(radius, steps=5),
        "1 × 10": PGD(radius, steps=10), "3 × 10": PGD(radius, steps=10, restarts=3),
        "1 × 30": PGD(radius, steps=30), "1 × 60": PGD(radius, steps=60)}
print(f"runs × steps   forward   backward   right   mean log-odds   (eps = {radius})")
cost = {}
for name, attack in plan.items():
    delta = attack(tough.model, batch)  # the models share one tokenizer, and so the batch
    forward, backward = attack.passes()
    cost[name] = (share_right(delta, tough.model), odds(delta, tough.model).mean().item())
    print(f"{name:12} {forward:9} {backward:10} {cost[name][0]:7.1%} {cost[name][1]:+15.2f}")
deep, wide, short = cost["1 × 30"], cost["3 × 10"], cost["1 × 10"]
guess.reveal("1 × 30" if deep[0] < wide[0] else "3 × 10" if wide[0] < deep[0] else "equal")

# %%
course.claim("04.deep", cost=cost)
per_step = [(cost["1 × 5"][1] - cost["FGM"][1]) / 4, (deep[1] - short[1]) / 20]
print(f"gain in mean log-odds per step: {per_step[0]:.2f} from 1 to 5 steps, "
      f"{per_step[1]:.2f} from 10 to 30")
print(f"10 steps, as in section 6, leave {short[0]:.1%} right; 30 leave {deep[0]:.1%}, "
      f"60 {cost['1 × 60'][0]:.1%}: section 6 was {100 * (short[0] - cost['1 × 60'][0]):.0f} "
      "points too friendly")
course.claim("04.more_steps", cost=cost, per_step=per_step)

# %% [markdown]
# **The last picture of section 6 was too friendly**: its curve looked finished, and yet more steps
# leave fewer texts right (last line). Go back and compare.
#
# Why deep and not wide? From a random start, a wasted direction on the skin, ten steps lead to
# about where the first run ended; steps 11 to 30 *begin* there. Late steps gain less than early
# ones, so training, which attacks every batch, takes few (FreeLB two or three).
#
# ## 8 · The exact worst case
#
# How near does PGD come to the truth? For a real model nobody knows. So we build one that is so
# small that we can try *everything*: a real BERT of hidden size 3, with ten words and 24
# sentences. "very good" and "not bad" are positive, "very bad" and "not good" negative. (The long
# cells of this section build it and draw it; they need not be read.)

# %%
from transformers import BertConfig, BertForSequenceClassification

words = ["[PAD]", "[CLS]", "[SEP]", "very", "truly", "not", "hardly",
         "good", "great", "fine", "bad", "awful", "dull"]
sentences = [(m, a) for m in words[3:7] for a in words[7:]]
ids = torch.tensor([[1, words.index(m), words.index(a), 2] for m, a in sentences])
labels = torch.tensor([int((a in words[7:10]) != (m in words[5:7])) for m, a in sentences])


def tiny_bert(seed):
    """A BERT of hidden size 3 that has learned the 24 sentences, in double precision."""
    config = BertConfig(
        vocab_size=13, hidden_size=3, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=16, max_position_embeddings=4, type_vocab_size=1, num_labels=2,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, layer_norm_eps=1.0,
    )
    tiny = BertForSequenceClassification(config).double().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(tiny.named_parameters()):
            if weight.dim() > 1:
                size = 1.0 if "embeddings" in name else 0.7
                weight.copy_(size * torch.randn(weight.shape, generator=draw, dtype=torch.double))
    optimizer = torch.optim.Adam(tiny.parameters(), lr=0.03)
    for _ in range(250):
        loss = tiny(input_ids=ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return tiny.requires_grad_(False), loss.item()


tiny, loss = tiny_bert(seed=9)  # this seed was looked for: most balls of other models have one top
tiny_unit = tiny.get_input_embeddings().weight.norm(dim=1).mean().item()
tiny_eps = 0.5 * tiny_unit
print(f"loss {loss:.4f} on all {len(ids)} sentences; eps = 0.5 · {tiny_unit:.2f} = {tiny_eps:.2f}")
course.claim("04.tiny", loss=loss)

# %% [markdown]
# The attacker may push *one* word, the adjective. That is a `delta` of three numbers, and one of
# them is for nothing: BERT's first act is a LayerNorm, which subtracts the mean of the three
# coordinates, so a push along $(1,1,1)$ has no effect at all. What remains is the plane at right
# angles to it, and **the whole ball has shrunk to a disc**. (`layer_norm_eps=1` lets LayerNorm
# keep a length, too.)

# %%
u, v = torch.tensor([[1.0, -1, 0], [1, 1, -2]], dtype=torch.double)
basis = torch.stack([u / u.norm(), v / v.norm()])  # (2, 3)


def tiny_batch(i, n):
    """Sentence i, n times; only its adjective is free."""
    special = torch.tensor([1, 1, 0, 1]).expand(n, 4)
    return dict(input_ids=ids[i].expand(n, 4), attention_mask=torch.ones(n, 4, dtype=torch.long),
                special_tokens_mask=special, labels=labels[i].expand(n))


def tiny_odds(i, delta):
    """Log-odds of sentence i for deltas (n, 4, 3)."""
    with torch.no_grad():
        here = tiny_batch(i, len(delta))
        return wrong_margin(perturbed_logits(tiny, here, delta), here["labels"])


def to_delta(points):
    """Points of the disc (n, 2) as deltas (n, 4, 3)."""
    delta = torch.zeros(len(points), 4, 3, dtype=torch.double)
    delta[:, 2] = points @ basis
    return delta


push = to_delta(torch.tensor([[0.3, -0.2]], dtype=torch.double))
along = push.clone()
along[:, 2] += 0.5
apart = (tiny_odds(7, push) - tiny_odds(7, along)).abs().item()
print(f"a push along (1, 1, 1) changes the log-odds by {apart:.0e}")
course.claim("04.disc", apart=apart)

# %% [markdown]
# ### Exercise 04.5: the exact worst case · ●●● · 12 min
#
# Write `exact_worst(loss_at, eps, resolution)`. `loss_at` takes points of the disc, a `float64`
# tensor `(n, 2)` with `n` ≤ 4096, and returns their losses `(n,)`. Try so many points of the disc
# of radius `eps` that *every* point of the disc is at most `eps / resolution` away from one that
# you tried; the centre and the rim belong to the disc, and points outside are forbidden. Return
# `(point, loss)`: the worst point, shape `(2,)`, and its loss.
#
# <details><summary>Hint</summary>
#
# A polar grid is easy: radii `k · eps / resolution` for `k = 0 … resolution`, and equally spaced
# angles. How many angles, so that neighbours on the rim are about `eps / resolution` apart? The
# rim is `2π · eps` long. `radius[:, None] * angle.cos()` makes all pairs; `.flatten()` and
# `torch.stack` make points of them, and `points.split(4096)` batches. Look for the best over *all*
# batches.
#
# </details>


# %%
def exact_worst(loss_at, eps, resolution):
    """(point, loss): the largest loss on a fine grid of the disc of radius eps."""
    # SOLUTION


exact_worst = course.exercise("04.5", exact_worst)

# %% [markdown]
# "Exact" is meant up to the grid, and that can be measured: with the resolution doubled, the
# answer must hardly change. And a check on the shrinking of the ball to a disc: random points of
# the *three*- dimensional ball never beat it.

# %%
show = sentences.index(("truly", "great"))
coarse, fine = (float(exact_worst(lambda p: tiny_odds(show, to_delta(p)), tiny_eps, n)[1])
                for n in (24, 48))
draw = torch.Generator().manual_seed(0)
ball = random_in_ball(attackable(tiny_batch(show, 4000)), 3, tiny_eps, draw).double()
solid = tiny_odds(show, ball).max().item()
print(f"disc, resolution 24: {coarse:.4f}, 48: {fine:.4f}; 4,000 points of the ball: {solid:.4f}")
course.claim("04.grid", coarse=coarse, fine=fine, solid=solid)

# %% [markdown]
# Now the picture that no large model can give: the *whole* landscape, with PGD's way through it,
# from four starts.


# %%
def path(i, start, step_size, steps=20):
    """The points of the disc that your pgd passes through."""
    here = tiny_batch(i, 1)
    delta, points = to_delta(torch.as_tensor(start, dtype=torch.double)[None]), []
    for _ in range(steps + 1):
        points.append(delta[0, 2] @ basis.T)
        delta = pgd(tiny, here, tiny_eps, 1, step_size, delta)
    return torch.stack(points)


rings = torch.linspace(0, 1, 33, dtype=torch.double)[:, None] * tiny_eps
turns = torch.linspace(0, 2 * torch.pi, 97, dtype=torch.double)
disc = torch.stack([rings * turns.cos(), rings * turns.sin()], dim=-1)  # (33, 97, 2)
surface = tiny_odds(show, to_delta(disc.reshape(-1, 2))).reshape(33, 97)
summit, summit_odds = exact_worst(lambda p: tiny_odds(show, to_delta(p)), tiny_eps, 48)


def at(radius, angle):
    """A point of the disc, from its radius in eps and its angle in degrees."""
    turn = math.radians(angle)
    return [radius * tiny_eps * math.cos(turn), radius * tiny_eps * math.sin(turn)]


def run_from(radius, angle, step_size=0.25):
    """One run of PGD: its way, in eps, and the log-odds at each of its points."""
    way = path(show, at(radius, angle), step_size * tiny_eps)
    return way / tiny_eps, tiny_odds(show, to_delta(way)).tolist()


runs = {"from the centre": run_from(0, 0)}
runs |= {f"from {angle}°": run_from(0.8, angle) for angle in (30, 150, 270)}
from_centre = [run_from(0, 0, step_size)[1][-1] for step_size in (0.1, 0.5, 2.0)]
round_trip = to_delta(torch.tensor([at(0.8, k) for k in range(0, 360, 15)], dtype=torch.double))
arrived = tiny_odds(show, pgd(tiny, tiny_batch(show, 24), tiny_eps, 20, tiny_eps / 4, round_trip))
course.claim("04.hills", summit=summit_odds, ends=[odds[-1] for _, odds in runs.values()],
             from_centre=from_centre, arrived=arrived)
landscape = (disc / tiny_eps, surface, summit / tiny_eps, summit_odds)
figures.hills(landscape, runs)

# %% [markdown]
# *The figure: the log-odds of "truly great" over all pushes of its adjective. The white line is
# PGD's way from the white dot to the cross, the star the exact worst point.*
#
# <details><summary>What you should see</summary>
#
# There are two hills with a valley between them, and the text lies on the side of the lower one.
# From the centre PGD climbs that one, to the top, and stops: every gradient said "up", and still
# the model looks safe by a wide margin where it is not. A start beyond the valley (30°, 270°) finds
# the true top.
#
# </details>
#
# Move the sliders: `steps` walks along the way, one step of PGD at a time, up to 20. With all 20:
# (1) At `radius = 0.8`, from about which share of the angles does PGD find the star? (2) Is there a
# `step_size` that saves the run from the centre, `radius = 0`?
#
# <details><summary>Answers</summary>
#
# (1) From a little more than half: 13 of the 24 angles on the slider. (2) None: whatever the step,
# the first one chooses the hill, and all later gradients confirm the choice.
#
# </details>

# %%
figures.explore_hill(landscape, run_from)

# %% [markdown]
# That sentence was picked because it shows the trap, and so was the model. How does PGD do over all
# 24 sentences? "Gain" is the share of the possible rise: 0 is no better than no attack, 1 is exact.

# %%
every = dict(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels,
             special_tokens_mask=torch.tensor([1, 1, 0, 1]).expand(24, 4))


def odds_of_all(delta=None, ids=ids):
    with torch.no_grad():
        return wrong_margin(perturbed_logits(tiny, every | {"input_ids": ids}, delta), labels)


def exact_of_all(eps):
    found = [exact_worst(lambda p, i=i: tiny_odds(i, to_delta(p)), eps, 24)[1] for i in range(24)]
    return torch.tensor([float(loss) for loss in found], dtype=torch.double)


def restarted(eps, runs):
    """PGD from zero and from random points, the best of each sentence."""
    found = []
    for run in range(runs):
        draw = torch.Generator().manual_seed(run)
        start = random_in_ball(attackable(every), 3, eps, draw).double() if run else None
        found.append(pgd(tiny, every, eps, 20, eps / 4, start))
    return keep_best(torch.stack([odds_of_all(d) for d in found]), torch.stack(found))


clean, exact = odds_of_all(), exact_of_all(tiny_eps)
results = {"no attack": clean, "FGM": odds_of_all(pgd(tiny, every, tiny_eps, 1, tiny_eps))}
for runs in (1, 2, 5):
    results[f"PGD, {runs} run{'s'[: runs - 1]}"] = odds_of_all(restarted(tiny_eps, runs))
results["exact"] = exact
print("              mean log-odds   gain   fooled   within 0.1 of exact")
for name, found in results.items():
    gain = ((found - clean) / (exact - clean)).mean()
    print(f"{name:12} {found.mean():+14.2f} {gain:6.2f} {int((found > 0).sum()):5} of 24 "
          f"{int((found > exact - 0.1).sum()):10} of 24")
course.claim("04.gain", once=results["PGD, 1 run"], often=results["PGD, 5 runs"], exact=exact,
             others=results)

# %% [markdown]
# In section 4 restarts found next to nothing, here they more than double the number of fooled
# sentences and make PGD exact. Nothing in a single run tells the two cases apart.
# That is why one restarts: to learn *whether* it helps. (And five starts cover a disc, but not
# 2,560 dimensions.)
#
# ### And real words?
#
# The attacker of a real system types words. Which words would not change what is said? In this
# tiny language we know: *good*, *great*, *fine* may replace one another, and *bad*, *awful*,
# *dull*. A ball that is large enough to hold all three, and too small to hold an opposite,
# contains every allowed text. Hence, for every sentence,
#
# $$\text{worst allowed text inside the ball} \;\le\; \text{exact over the ball},\qquad
# \text{PGD}\;\le\;\text{exact over the ball}.$$
#
# Between PGD and the worst text nothing is promised: a PGD that got stuck can lie below both.

# %%
table = tiny.get_input_embeddings().weight
distance = torch.cdist(table[7:], table[7:])  # between the six adjectives
alike = torch.tensor([[a // 3 == b // 3 for b in range(6)] for a in range(6)])
wide = 1.05 * distance[alike].max().item()
print(f"alike: at most {distance[alike].max() / tiny_unit:.2f} apart, opposites at least "
      f"{distance[~alike].min() / tiny_unit:.2f}; eps = {wide / tiny_unit:.2f}, in word lengths")

texts = []
for k in range(3):  # every adjective replaced by the k-th of its kind
    other = ids.clone()
    other[:, 2] = 7 + 3 * ((ids[:, 2] - 7) // 3) + k
    texts.append(odds_of_all(ids=other))
worst_text, ball = torch.stack(texts).amax(0), exact_of_all(wide)
pgd_wide = odds_of_all(restarted(wide, 5))
for name, found in {"clean": clean, "worst allowed text": worst_text, "PGD, 5 runs": pgd_wide,
                    "exact over the ball": ball}.items():
    print(f"{name:20} mean log-odds {found.mean():+6.2f}, fooled {int((found > 0).sum()):2} of 24")
course.claim("04.words", eps=wide, nearest_opposite=distance[~alike].min(), clean=clean,
             worst_text=worst_text, pgd=pgd_wide, ball=ball)

# %% [markdown]
# Both extremes at once: **no allowed text fools this model, and yet its ball is full of points
# that do.** The ball holds three texts and a continuum that nobody can write. So an exact answer
# over the ball is a *guarantee* for words when it comes out well, and says little about words when
# it comes out badly. Lesson 06 attacks with words themselves.
#
# ## Recap
#
# - **Project** to the nearest point: scale back per text for L2, clamp for L∞; inside, do nothing.
# - **PGD**: gradient where you are, normalised step, projection, again. Its first long step is FGM.
# - **Step size**: too short does not arrive, too long does not settle; look at the curve.
# - A uniform point of the ball has radius `eps·u^(1/d)`; in a text's thousands of dimensions that
#   is the surface. **Keep the best** per text: then more runs and steps are never weaker.
# - Curves: noise ≥ FGM ≥ PGD, falling, down to 0. Between FGM and PGD believe
#   PGD.
# - State norm, scope, target, steps, restarts; count passes; double the steps.
# - PGD is a lower bound on the worst loss. On the tiny model five runs reached it, and one run
#   overlooked more than half of what can be fooled.
#
# ## What could go wrong
#
# - **Projection left out, or before the step**: a strong attack, for it cheats. Assert the norm of
#   what you return.
# - **One norm for the whole batch**: results depend on who else is in the batch.
# - **The last point instead of the best**, at long steps: more steps may then look *weaker*.
# - **Climbing a loss that has faded to exactly 0**: the attack stands still, and the curve levels
#   off above zero. Athalye et al. broke most defences of one conference that hid their gradients.
# - **Too few steps**: report a number when doubling the steps no longer changes it.
# - **Restarts that all begin alike**, or a `step_size` meant for another `eps`.
# - **"Robust at eps = 0.3"** without norm, scope and unit.
#
# ## Further reading
#
# - A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, *Towards Deep Learning Models Resistant
#   to Adversarial Attacks*, ICLR 2018, arXiv 1706.06083. PGD with random starts.
# - A. Kurakin, I. Goodfellow, S. Bengio, *Adversarial Examples in the Physical World*, ICLR 2017
#   workshop, arXiv 1607.02533. The iterated step, one year before.
# - C. Zhu, Y. Cheng, Z. Gan, S. Sun, T. Goldstein, J. Liu, *FreeLB: Enhanced Adversarial Training
#   for Natural Language Understanding*, ICLR 2020, arXiv 1909.11764. PGD on the embeddings of a
#   text.
# - F. Croce, M. Hein, *Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
#   Parameter-free Attacks* (AutoAttack), ICML 2020, arXiv 2003.01690.
# - A. Athalye, N. Carlini, D. Wagner, *Obfuscated Gradients Give a False Sense of Security*, ICML
#   2018, arXiv 1802.00420. Seven of nine defences of one conference, broken in full or in part.
# - N. Carlini et al., *On Evaluating Adversarial Robustness*, 2019, arXiv 1902.06705. A checklist;
#   section 6 is a part of it.
#
# > **Ethics** The threat model of this lesson: an attacker who knows the model completely (white
# > box) and writes to its embeddings at test time, at most `eps` far in L2 over the whole text (in
# > one place per token). No user can do that, and the numbers do not say how many users can fool
# > the model. They serve the defender: a strong attack keeps you from calling a model safe when
# > nobody has looked hard.

# %%
course.progress("04")
