# %% [markdown]
# # 01 · The math of L + λ·L_adv
#
# {{BADGE}}
#
# **You will**
#
# - find the worst perturbation of a linear model exactly, for three norms, and the loss it causes;
# - differentiate that loss by hand, and say why the attack itself need not be differentiated;
# - take training steps on `L + lam·L_adv`, and watch `eps` and `lam` move the boundary;
# - see why it matters who moves first, the attacker or the defender;
# - find the error in a published loss, and see which numbers betray it.
#
# **Time** {{TIME}} About 90 minutes for you; sections 6 and 9 are 15 of them and can wait.
#
# **Before** Logistic regression, the chain rule, and PyTorch tensors.

# %% tags=["setup"]
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A model small enough to see
#
# Language models have millions of parameters and inputs that nobody can draw. So we begin with two
# coordinates and three parameters, where every quantity of adversarial training has an exact
# answer. Nothing here is an approximation; from lesson 03 on nearly everything will be.
#
# Three names come back all the time. $L$ is the loss on the inputs as they are. $L_\text{adv}$ is
# the loss after an attacker has changed them. And λ, in code `lam` (because `lambda` is taken),
# says how much the second counts beside the first.
#
# The two coordinates have different characters. The first is **wide**: the classes lie far apart,
# with much spread. The second is **narrow**: the classes lie close together, but with so little
# spread that it tells them apart even better. A small push can undo the narrow one, and hardly the
# wide one.

# %%
import torch
from torch.nn.functional import softplus

from course.lesson_01 import figures

generator = torch.Generator().manual_seed(1)
y = torch.ones(400)
y[::2] = -1  # the labels are -1 and +1
noise = torch.randn(2, 400, generator=generator)
X = torch.stack([1.5 * y + 0.8 * noise[0], 0.35 * y + 0.15 * noise[1]], dim=1)
X.shape, y.shape

# %% [markdown]
# The model gives every point $x$ a score $w\cdot x + b$. Its **margin** is the score seen from the
# right side, $y\,(w\cdot x+b)$: positive when the model is right, and large when it is sure.
# The probability of the true label is $M(x)_y = \sigma(\text{margin})$, and the loss is
#
# $$\ell = -\log M(x)_y = \log\left(1+e^{-\text{margin}}\right) = \texttt{softplus(-margin)}.$$


# %%
def clean_loss(w, b, X, y):
    """L: the mean of -log M(x)_y."""
    return softplus(-y * (X @ w + b)).mean()


def accuracy(w, b, X, y):
    """The share of points with a positive margin."""
    return (y * (X @ w + b) > 0).float().mean().item()


w_std, b_std = torch.tensor([0.1, 0.1]), torch.tensor(0.0)
for _ in range(200):
    w, b = w_std.clone().requires_grad_(), b_std.clone().requires_grad_()
    grad_w, grad_b = torch.autograd.grad(clean_loss(w, b, X, y), (w, b))
    w_std, b_std = w_std - grad_w, b_std - grad_b

print(f"w = ({w_std[0]:.2f}, {w_std[1]:.2f}), b = {b_std:.2f}")
print(f"loss {clean_loss(w_std, b_std, X, y):.3f}, accuracy {accuracy(w_std, b_std, X, y):.1%}")
course.claim("01.standard", clean=accuracy(w_std, b_std, X, y))

# %%
figures.points(X, y, w_std, b_std)

# %% [markdown]
# *The figure: the points, filled circles for y = +1 and hollow squares for y = −1, and the line
# where the standard model's score is 0.*
#
# <details><summary>What you should see</summary>
#
# Two clouds, and a boundary that is a slanted line: it leans on both coordinates, because both
# help.
#
# </details>
#
# ## 2 · The attacker
#
# Now somebody may push every point a little before the model sees it: $x' = x + \delta$, with
# $\delta$ inside a ball, $\|\delta\| \le \varepsilon$ (in code `eps`). Which ball is part of the
# **threat model**:
#
# | ball | length of $\delta$ | in words |
# |---|---|---|
# | `"linf"` | $\max_k \lvert\delta_k\rvert$ | every coordinate may move by `eps` |
# | `"l2"` | $\sqrt{\sum_k \delta_k^2}$ | the point moves at most `eps` in a straight line |
# | `"l1"` | $\sum_k \lvert\delta_k\rvert$ | the coordinates share a budget of `eps` |
#
# The attacker wants the loss as large as possible. The loss falls as the margin grows, so the wish
# is simply a small margin, and $\delta$ changes the margin by
# $y\,(w\cdot(x+\delta)+b) - y\,(w\cdot x+b) = y\,w\cdot\delta$: a linear function over a ball.

# %% [markdown]
# ### Exercise 01.1: the worst perturbation · ●○○ · 8 min
#
# Write `worst_case(w, y, eps, norm)`. `w` has shape `(d,)`, `y` has shape `(n,)` and holds −1 and
# +1, `norm` is `"l2"`, `"linf"` or `"l1"`. Return `delta` of shape `(n, d)`: in each row the
# $\delta$ with $\|\delta\|\le$ `eps` that makes $y\,w\cdot\delta$ as small (as negative) as it can
# be. The points `X` are not needed: for a linear model the worst push is the same wherever the
# point is. You may take it that no coordinate of `w` is zero.
#
# <details><summary>Hint</summary>
#
# L2: walk straight against $y\,w$; mind the length. L∞: every coordinate is free to choose its own
# sign. L1: the budget goes where one unit of it does most, and that is a single coordinate. For a
# column of labels beside a row of coordinates, `y[:, None]` helps.
#
# </details>


# %%
def worst_case(w, y, eps, norm):
    """For each label the delta in the ball that lowers the margin most, shape (n, d)."""
    # SOLUTION


worst_case = course.exercise("01.1", worst_case)

# %% [markdown]
# What you found has a picture. Lay a ruler through the middle of the ball, at a right angle to `w`
# (as the model's boundary lies), and slide it in the direction that harms the model, until it is
# about to leave the ball: the last point that it touches is $\delta$.

# %%
w_show = torch.tensor([1.0, 0.55])  # a model to look at
deltas = {norm: worst_case(w_show, torch.ones(1), 1.0, norm)[0] for norm in ("linf", "l2", "l1")}
figures.balls(w_show, deltas)

# %% [markdown]
# *The figure: for one model with w = (1, 0.55) and y = +1, the three balls of radius 1, the worst δ
# in each as an arrow, and, dashed, the level line of the margin that just touches the ball there.*
#
# <details><summary>What you should see</summary>
#
# The square is touched at a corner, the disc opposite to w, the diamond at the corner on the axis
# where |w| is largest. The larger the ball, the more harm.
#
# </details>
#
# ### Prediction 01.a: the standard model under the worst pushes
#
# Now the real data. The standard model is right on 99 % of the clean points. Every coordinate may
# move by at most `eps = 0.6`.

# %%
guess = course.predict(
    "01.a", "standard model, linf, eps = 0.6: which share is still right under the worst delta?",
    guess=None, low=0, high=1,
)

# %%
eps = 0.6
attacked = accuracy(w_std, b_std, X + worst_case(w_std, y, eps, "linf"), y)
guess.reveal(attacked)

# %%
noisy = accuracy(w_std, b_std, X + eps * (2 * torch.rand_like(X) - 1), y)
print(f"random pushes of the same size: {noisy:.1%} right")
course.claim("01.noise", attacked=attacked, noisy=noisy)

# %% [markdown]
# ## 3 · The worst-case loss, without the attack
#
# We know where the worst point is, so we know how bad it is: the whole inner maximisation
# $\max_{\|\delta\|\le\texttt{eps}} \ell(x+\delta)$ collapses into one number that is subtracted
# from the margin. That number is `eps` times a norm of `w`, but which norm? The one that answers
# "how much can a $\delta$ of length 1 gain against `w`?",
#
# $$\|w\|_* \;=\; \max_{\|\delta\|\le 1} w\cdot\delta ,$$
#
# the **dual norm**. The three titles of the last figure are its values for w = (1, 0.55): find the
# formula behind each.

# %% [markdown]
# ### Exercise 01.2: the worst-case loss · ●●○ · 10 min
#
# Write `robust_loss(w, b, X, y, eps, norm)`: the mean over the points of
# $\max_{\|\delta\|\le\texttt{eps}} \texttt{softplus}(-y\,(w\cdot(x+\delta)+b))$, in closed form,
# without a search. (Write it without a $\delta$: a later table compares it with searches.) `X` has
# shape `(n, d)`; return a scalar tensor through which autograd can reach `w` and `b`. It and its
# gradient must stay finite for large `w`, and at `eps = 0` it must be `clean_loss`.
#
# <details><summary>Hint</summary>
#
# Put your δ of exercise 01.1 into $w\cdot\delta$ and simplify. One of the three norms is its own
# dual; the other two are each other's. `w.norm(p=...)` takes `1`, `2` and `float("inf")`.
#
# </details>


# %%
def robust_loss(w, b, X, y, eps, norm):
    """L_adv: the mean loss when every point is pushed by its worst delta."""
    # SOLUTION


robust_loss = course.exercise("01.2", robust_loss)

# %% [markdown]
# A search can only find what it happens to try: it gives a **lower bound** on the worst loss. The
# closed form is the truth. Seldom will you have both beside each other, so look well:


# %%
orders = {"linf": float("inf"), "l2": 2, "l1": 1}


def searched_loss(w, b, X, y, eps, norm, tries):
    """The mean loss at the worst of `tries` random points of the ball's surface, for each point."""
    angles = torch.rand(tries, generator=torch.Generator().manual_seed(0)) * 2 * torch.pi
    deltas = torch.stack([angles.cos(), angles.sin()], dim=1)
    deltas = eps * deltas / deltas.norm(p=orders[norm], dim=1, keepdim=True)
    scores = (X[:, None, :] + deltas) @ w + b  # (points, tries)
    return softplus(-y[:, None] * scores).amax(1).mean()


print("norm   1 random  10 random  1000 random   closed form")
found, exact = {}, {}
for norm in ("l1", "l2", "linf"):
    found[norm] = [searched_loss(w_std, b_std, X, y, eps, norm, tries) for tries in (1, 10, 1000)]
    exact[norm] = robust_loss(w_std, b_std, X, y, eps, norm)
    one, ten, thousand = found[norm]
    print(f"{norm:5} {one:9.4f} {ten:10.4f} {thousand:12.4f} {exact[norm]:13.4f}")
course.claim("01.search", found=found, exact=exact)

# %% [markdown]
# With two coordinates a thousand random pushes come close. A text of 20 tokens with 128 numbers
# each has 2,560 coordinates, and there random search finds next to nothing; the gradient is then
# the only guide. For a *linear* model the gradient of the loss in $x$ points along $-y\,w$
# everywhere, so that one step along its sign (FGSM) *is* the exact answer for L∞. That is the idea
# that lesson 03 carries over to models that are not linear.
#
# ## 4 · The gradient by hand, and what Danskin's theorem licenses
#
# To train against the attacker, we must differentiate a maximum:
#
# $$\nabla_w \max_{\|\delta\|\le\texttt{eps}} \ell(w;\,x+\delta).$$
#
# The worst $\delta$ depends on $w$. Must we differentiate through it? Think of the maximum as the
# upper outline of a family of curves, one for each $\delta$. Where a single curve is on top, the
# outline *is* that curve, and has its slope. The other curves do not matter, and neither does the
# fact that further along another one takes over.
#
# > **Danskin's theorem.** Let $\varphi(w)=\max_{\delta\in S} f(w,\delta)$ with $S$ compact (a
# > ball is), $f$ continuous, and $\nabla_w f$ continuous in $(w,\delta)$. If the maximum is
# > reached at a single $\delta^\star$, then $\varphi$ is differentiable at $w$ and
# > $\nabla\varphi(w)=\nabla_w f(w,\delta^\star)$, **with $\delta^\star$ held fixed**. If it is
# > reached at several, the slope in each direction is the largest of theirs.

# %% [markdown]
# ### Exercise 01.3: the gradient by hand · ●●● · 12 min
#
# Write `robust_grad(w, b, X, y, eps, norm)`: return `(grad_w, grad_b)`, the gradient of
# `robust_loss` with respect to `w` (shape `(d,)`) and to `b` (a scalar tensor), finite for large
# `w` too. Do it by hand, with `worst_case` and the chain rule; autograd will be the judge
# afterwards.
#
# <details><summary>Hint</summary>
#
# For one point that stays fixed, $\ell=\texttt{softplus}(-\text{margin})$ and
# $\mathrm{d}\ell/\mathrm{d}\,\text{margin}=-\sigma(-\text{margin})$: a point that the model gets
# right with ease hardly counts. The margin is $y\,(w\cdot x+b)$. Danskin: do all this at
# $x+\delta$ in place of $x$, everywhere that $x$ occurs.
#
# </details>


# %%
def robust_grad(w, b, X, y, eps, norm):
    """The gradient of robust_loss with respect to w and b, by hand."""
    # SOLUTION


robust_grad = course.exercise("01.3", robust_grad)

# %% [markdown]
# Three ways to the same gradient: by hand; autograd on the closed form; autograd at
# $x+\delta^\star$, once with $\delta^\star$ held fixed (`detach`) and once differentiated through.


# %%
def grad_at(attack, detach):
    """d/dw of the clean loss at X + delta, where delta = attack(w), held fixed or not."""
    w = w_std.clone().requires_grad_()
    delta = attack(w).detach() if detach else attack(w)
    return torch.autograd.grad(clean_loss(w, b_std, X + delta, y), w)[0]


def worst(w):
    return -eps * y[:, None] * w / w.norm()


by_hand = robust_grad(w_std, b_std, X, y, eps, "l2")[0]
w = w_std.clone().requires_grad_()
closed = torch.autograd.grad(robust_loss(w, b_std, X, y, eps, "l2"), w)[0]
gradients = {"by hand": by_hand, "autograd, closed form": closed,
             "autograd, delta held": grad_at(worst, True),
             "autograd, through delta": grad_at(worst, False)}
for name, g in gradients.items():
    difference = (g - by_hand).abs().max()
    print(f"{name:24} ({g[0]:.5f}, {g[1]:.5f})   largest difference {difference:.0e}")
course.claim("01.gradients", gradients=gradients)

# %% [markdown]
# (The attack here is the L2 one. Why does differentiating *through* $\delta^\star$ change nothing?
# At the worst point no small move of $\delta$ within the ball gains anything, so how
# $\delta^\star$ moves with `w` has no first-order effect.)
#
# So the attack may be found without a graph, detached, and forgotten: **training against the worst
# case costs one ordinary gradient at the worst point.** Every adversarial training loop in this
# course stands on that.
#
# Read the small print, though. The theorem speaks of the *maximiser*. Below, an attacker who always
# pushes 60° off the best direction: now the two gradients part, and neither is that of the worst
# case. With deep networks the attack is never quite the maximiser; there Danskin is a good guide
# and no longer a guarantee.

# %%
turn = torch.tensor([[0.5, -(0.75**0.5)], [0.75**0.5, 0.5]])  # by 60 degrees
held = grad_at(lambda w: worst(w) @ turn.T, True)
through = grad_at(lambda w: worst(w) @ turn.T, False)
for name, g in {"worst delta": by_hand, "poor delta, held": held,
                "poor delta, through": through}.items():
    print(f"{name:20} ({g[0]:+.3f}, {g[1]:+.3f})")
course.claim("01.poor_attack", worst=by_hand, held=held, through=through)

# %% [markdown]
# The picture: one coordinate, one point at x = 0.6 with y = +1, `eps = 1`. Each thin curve is the
# loss as a function of the weight for one $\delta$ that stays fixed.

# %%
one_point = torch.tensor(0.0), torch.tensor([[0.6]]), torch.ones(1), 1.0, "linf"
grid = torch.linspace(-2.5, 3, 221)  # of weights; one_point is b, X, y, eps, norm
curves = softplus(-grid * (0.6 + torch.linspace(-1, 1, 9)[:, None]))  # a row per fixed delta
worst_curve = torch.stack([robust_loss(v.reshape(1), *one_point) for v in grid])
tangents = {}
for at in (-1.2, 1.4):
    here = torch.tensor([at])
    tangents[at] = robust_loss(here, *one_point), robust_grad(here, *one_point)[0]
figures.outline(grid, curves, worst_curve, tangents)

# %% [markdown]
# *The figure: thin grey curves, one per δ, dotted the one with δ = 0; blue, the worst case. The
# dashed orange lines go through a dot on the worst case, with the slope that your `robust_grad`
# gives there.*
#
# <details><summary>What you should see</summary>
#
# The worst case is the upper outline of the grey curves, and the orange lines touch it. At w = 0
# all curves meet and the outline has a kink: there the worst δ changes sides, it is not unique, and
# no single slope is right.
#
# </details>
#
# ## 5 · Both terms: what `lam` and `eps` do
#
# The defender wants to be right on the points as they are *and* on the points as an attacker would
# make them:
#
# $$\min_{w,b}\; L(w,b) + \texttt{lam}\cdot L_{\text{adv}}(w,b).$$

# %% [markdown]
# ### Exercise 01.4: one step on L + lam·L_adv · ●●○ · 6 min
#
# Write `step(w, b, X, y, eps, lam, lr, norm)`: one step of gradient descent, with learning rate
# `lr`, on `clean_loss + lam · robust_loss`. Return the new `(w, b)`; leave the old ones as they
# are.
#
# <details><summary>Hint</summary>
#
# The gradient of a sum is the sum of the gradients. You have a function that gives both of them:
# the clean loss is the robust loss at one particular `eps`.
#
# </details>


# %%
def step(w, b, X, y, eps, lam, lr, norm):
    """One step of gradient descent on L + lam * L_adv; returns the new w and b."""
    # SOLUTION


step = course.exercise("01.4", step)


# %%
def fit(X, y, eps, lam, norm="linf", steps=200):
    """Gradient descent on L + lam * L_adv. The learning rate falls, to settle even at a kink, and
    is divided by 1 + lam, the weight of both terms."""
    w, b = torch.tensor([0.1, 0.1]), torch.tensor(0.0)
    for k in range(steps):
        w, b = step(w, b, X, y, eps, lam, 2 * (1 - k / steps) / (1 + lam), norm)
    return w, b


def robust_accuracy(w, b, X, y, eps, norm="linf"):
    return accuracy(w, b, X + worst_case(w, y, eps, norm), y)


def trained(eps, lam):
    """A model that was trained with these settings, and how often it is right."""
    w, b = fit(X, y, eps, lam)
    clean, robust = accuracy(w, b, X, y), robust_accuracy(w, b, X, y, eps)
    return dict(eps=eps, lam=lam, w=w, b=b, clean=clean, robust=robust)


four = [trained(0.6, 0), trained(0.6, 0.3), trained(0.6, 3), trained(0.2, 3)]
course.claim("01.lam", clean=[m["clean"] for m in four], robust=[m["robust"] for m in four])
figures.models(X, y, four)

# %% [markdown]
# *The figure: four trained models, orange without attacks (λ = 0), blue with them. A point between
# the dashed lines can be pushed across the boundary.*
#
# <details><summary>What you should see</summary>
#
# At λ = 0 the boundary leans on both coordinates and the dashed lines are far apart; as λ grows it
# turns upright, until it uses the wide coordinate alone. With ε = 0.2 it leans again: against so
# small a push the narrow coordinate is still worth using.
#
# </details>
#
# Move the sliders. Three things to find: (1) at `eps = 0.6`, the smallest `lam` at which the
# boundary is upright, and what ‖w‖ still does after that; (2) at `lam = 10`, from `eps = 0` up,
# where the boundary starts to turn and where it is upright; (3) what has happened to ‖w‖ at
# `eps = 1.6` and `lam = 10`, and why (how far are the class centres from the middle?).
#
# <details><summary>Answers</summary>
#
# (1) About 1: at 0.5 it still leans a little, at 1 the second weight is 0.01. After that only ‖w‖
# changes: it shrinks, from 3.1 to 2.7 at `lam = 10`. (2) It leans on both up to 0.1, turns from
# 0.15 on, and is upright from 0.4. (3) It has fallen to 0.18: many points of a class can be pushed
# across any boundary, so whoever is sure pays most, and the loss asks for a model that says little.
#
# </details>

# %%
figures.explore_models(X, y, trained)

# %% [markdown]
# ## 6 · Robust loss is margin maximisation
#
# For a point that the model gets right, the shortest way to the boundary, measured in the
# attacker's norm, is $\;\text{margin}/\|w\|_*$, where the margin is the score $y(w\cdot x+b)$ as
# before: the dual norm again. For a wrong point the same
# formula gives that way with a minus. So
#
# $$\text{margin} - \texttt{eps}\,\|w\|_* > 0 \quad\Longleftrightarrow\quad
# \text{signed distance to the boundary} > \texttt{eps}.$$
#
# `robust_loss` calls a point right only if nothing within `eps` of it is wrong. It asks for a strip
# of half-width `eps` without points in it. (A support vector machine maximises that width; it is
# often called the margin as well, but it is a distance.) And it is *not* weight decay:
# $\texttt{eps}\,\|w\|_*$ sits inside the loss of each point, so the pressure on `w` fades
# for points that are safely far away, while a penalty outside never fades.
#
# Twelve points that a line can separate. How wide a strip is there at all? We try every direction.

# %%
right = torch.tensor([[0.8, 1.5], [0.7, -0.8], [1.0, 2.0], [1.2, 1.6], [0.9, 2.3], [0.8, 1.9]])
Z = torch.cat([right, right * torch.tensor([-1.0, -0.95])])
t = torch.cat([torch.ones(6), -torch.ones(6)])
turns = torch.linspace(0, 2 * torch.pi, 721)
directions = torch.stack([turns.cos(), turns.sin()])
heights = Z @ directions  # (points, directions): each point's place along each direction
widest = (heights[t > 0].amin(0) - heights[t < 0].amax(0)).max().item() / 2

print(f"the widest strip has half-width {widest:.3f}")
print("trained with eps   nearest point   robust accuracy")
kept, safe = {}, {}
for part in (0.0, 0.5, 0.8, 1.1):
    w, b = fit(Z, t, part * widest, 10.0, norm="l2", steps=1000)
    kept[part] = (t * (Z @ w + b)).min().item() / w.norm().item()
    safe[part] = robust_accuracy(w, b, Z, t, part * widest, "l2")
    print(f"{part * widest:10.3f} ({part:4.0%}) {kept[part]:13.3f} {safe[part]:16.0%}")
course.claim("01.strip", kept=kept, widest=widest)
course.claim("01.clear", safe=safe)

# %% [markdown]
# Below the widest strip, training finds a line that keeps `eps` clear of every point, and a larger
# `eps` makes it keep more. (Clean training widens the strip as well, if the points can be separated
# and you wait long enough; here the wish is in the loss.) Beyond the widest strip nobody can keep
# everyone safe: the loss has to choose whom to give up.
#
# ## 7 · A game, and why the order matters
#
# $\min_{w}\max_{\delta}$ is a game. The defender moves first and shows the model; the attacker
# answers *that* model. Now swap the order, $\max_\delta\min_w$: the attacker commits to a set of
# pushes, and the defender trains on the pushed points at leisure. Whoever moves second knows more,
# so
#
# $$\max_{\delta}\,\min_{w}\; L(w,\delta) \;\le\; \min_{w}\,\max_{\delta}\; L(w,\delta),$$
#
# where $L(w,\delta)$ is the loss of the model `w` on the pushed points.
#
# Swapping is no theory: it is what you do when you attack a model *once*, save the adversarial
# examples as a data set, and train on them. Let us do that for a few rounds: attack the current
# model, freeze the pushed points, train on them to the end, and repeat.

# %%
w, b = w_std, b_std
print("round   w                on the frozen points   against a fresh attack")
frozen_runs = []
for k in range(1, 5):
    frozen = X + worst_case(w, y, eps, "linf")
    w, b = fit(frozen, y, 0.0, 0.0)
    seen, fresh = accuracy(w, b, frozen, y), robust_accuracy(w, b, X, y, eps)
    frozen_runs.append((w[1].item(), seen, fresh, clean_loss(w, b, frozen, y).item()))
    print(f"{k:3}    ({w[0]:5.2f}, {w[1]:6.2f}) {seen:17.1%} {fresh:23.1%}    "
          f"loss on the frozen points {frozen_runs[-1][3]:.3f}")

w_rob, b_rob = fit(X, y, eps, 1e6)  # so large a lam that the clean term has no say
fresh = robust_accuracy(w_rob, b_rob, X, y, eps)
print("attack renewed at every step")
at_worst = robust_loss(w_rob, b_rob, X, y, eps, "linf")
print(f"       ({w_rob[0]:5.2f}, {w_rob[1]:6.2f}) {'':17} {fresh:23.1%}    "
      f"loss on its worst points {at_worst:.3f}")
course.claim("01.renewed", renewed=fresh, frozen=[run[2] for run in frozen_runs])
course.claim("01.game", narrow=[run[0] for run in frozen_runs], second=frozen_runs[0][3],
             first=at_worst)

# %% [markdown]
# In round 1 the frozen attack has pushed the narrow coordinate across to the other side, and the
# model simply learns to read it *backwards* (`w[1]` is negative). On its frozen points it does
# well, with a loss below that of the robust model: moving second pays. But the next attacker
# pushes the other way, and it falls. Then everything swings back, round
# after round, and never settles. Renewing the attack at every step is not a luxury: it keeps the
# `max` inside the `min`.
#
# ## 8 · A wrong formula, which you will find
#
# A published derivation of this very loss arrives at
#
# $$-\log M(x) \;-\; \lambda\,(-\log M(x')) \;+\; \lambda\,\log M(x').$$
#
# It looks plausible: the right logarithms, a λ, the right number of brackets. (Each $M$ should
# also carry the label, $M(x)_y$; let us grant that.) What was meant is `L + lam·L_adv`, where
# either loss is the mean of the negative logarithm.

# %% [markdown]
# ### Exercise 01.5: spot the sign · ●○○ · 8 min
#
# Write `two_losses(log_clean, log_adv, lam)`. `log_clean` holds $\log M(x)_y$ and `log_adv` holds
# $\log M(x')_y$, one per point. Return three things, `(intended, published, slopes)`:
#
# - `intended`: the mean of what was meant, a scalar tensor that autograd can differentiate;
# - `published`: the mean of what is printed above, symbol by symbol, a tensor of the same kind;
# - `slopes`: a pair of numbers, by how much `intended` and by how much `published` change when all
#   of `log_adv` rises by 1 (that is, as the model becomes *more* right on the attacked points).
#
# <details><summary>Hint</summary>
#
# Work out the printed brackets with pencil and paper: what is minus times minus, and how many terms
# with $x'$ are there? A loss that wants the model to be right must fall as the model becomes right.
#
# </details>


# %%
def two_losses(log_clean, log_adv, lam):
    """(intended, published, (slope of intended, slope of published) in log_adv)."""
    # SOLUTION


two_losses = course.exercise("01.5", two_losses)

# %% tags=["nbval-check-output"]
half = torch.full((1,), 0.5).log()  # M(x) = M(x') = 0.5
intended, published, slopes = two_losses(half, half, 0.1)
print(f"intended {intended:.3f}, slope {slopes[0]:+.1f}")
print(f"published {published:.3f}, slope {slopes[1]:+.1f}")
course.claim("01.slopes", slopes=slopes)

# %% [markdown]
# So the printed line is $-\log M(x) + 2\lambda\log M(x')$. **First finding:** its slope has the
# wrong sign, and twice the size: the model is *paid for being wrong* on attacked points.
#
# **Second finding:** a cross-entropy cannot fall below 0, this can fall without end. $\log M(x')$
# goes to −∞ as the model becomes ever more wrong, and nothing stops it. Take the model
# $w = c\cdot(0.001, 1)$, which looks at the narrow coordinate and hardly at the other, and let $c$
# grow:

# %%
def both_losses(w, b, lam):
    """(intended, published) on the data, with the worst delta of this very model."""
    delta = worst_case(w, y, eps, "linf").detach()
    log_clean = -softplus(-y * (X @ w + b))
    log_adv = -softplus(-y * ((X + delta) @ w + b))
    return two_losses(log_clean, log_adv, lam)[:2]


print("     c   intended   published    (lam = 0.1)")
falling = []
for c in (1, 10, 100, 1000, 10000):
    intended, published = both_losses(torch.tensor([0.001 * c, float(c)]), torch.tensor(0.0), 0.1)
    falling.append(published.item())
    print(f"{c:6} {intended:10.2f} {published:11.2f}")
course.claim("01.unbounded", losses=falling)

# %% [markdown]
# ### Prediction 01.b: trained on the published formula
#
# **The third finding is yours to guess.** We train with the published formula at `lam = 0.1`, for
# 200 steps, as in sections 1 to 5. Intended, it gives a clean accuracy of about 99 %.

# %%
guess = course.predict(
    "01.b", "trained on the PUBLISHED formula, lam = 0.1: what is the accuracy on clean points?",
    guess=None, low=0, high=1,
)


# %%
def descend(which, lam, steps):
    """Train on the intended (0) or the published (1) loss; a record of every step."""
    w, b, record = torch.tensor([0.1, 0.1]), torch.tensor(0.0), []
    for _ in range(steps):
        w, b = w.detach().requires_grad_(), b.detach().requires_grad_()
        loss = both_losses(w, b, lam)[which]
        grad_w, grad_b = torch.autograd.grad(loss, (w, b))
        w, b = w.detach() - grad_w, b.detach() - grad_b
        record.append((loss.item(), accuracy(w, b, X, y), robust_accuracy(w, b, X, y, eps)))
    return torch.tensor(record)


meant, printed = descend(0, 0.1, 400), descend(1, 0.1, 400)
guess.reveal(printed[199, 1].item())

# %%
print(f"after 200 steps     intended   published\n"
      f"loss             {meant[199, 0]:10.3f}  {printed[199, 0]:10.3f}\n"
      f"clean accuracy   {meant[199, 1]:10.1%}  {printed[199, 1]:10.1%}\n"
      f"robust accuracy  {meant[199, 2]:10.1%}  {printed[199, 2]:10.1%}")
course.claim("01.what_shows", intended=meant[199], published=printed[199])
figures.training(meant, printed, eps)

# %% [markdown]
# *The figure: loss, clean accuracy and robust accuracy while training on the intended and on the
# published formula at λ = 0.1; the dotted line marks step 200.*
#
# <details><summary>What you should see</summary>
#
# Up to step 200 both clean accuracies look excellent, that of the published one even a little
# better, while its robust accuracy has already broken away. Its loss goes below zero and keeps
# falling; in the end the clean accuracy goes too.
#
# </details>
#
# This is why the course reports robust accuracy beside clean accuracy from the first lesson on, and
# why it checks the sign of a gradient rather than trusting that a run "looks fine".
#
# ## 9 · One picture for the whole family
#
# | name | what is minimised | in our terms |
# |---|---|---|
# | standard training | $L$ | `lam = 0` |
# | this course's default | $L + \texttt{lam}\cdot L_\text{adv}$ | `lam` |
# | Goodfellow et al. | $\alpha L + (1-\alpha) L_\text{adv}$ | `lam` $= (1-\alpha)/\alpha$ |
# | Madry et al. | $L_\text{adv}$ alone | `lam` → ∞ |
# | TRADES | $L + \beta\cdot\max_\delta \mathrm{KL}(M(x)\,\Vert\,M(x'))$ | another second term |
#
# The first four are points on *one* curve (Goodfellow's $\alpha = 0.5$ is `lam = 1`). Dividing by
# $1+\texttt{lam}$ changes the learning rate and not the minimum. TRADES differs in kind: its
# second term, a Kullback–Leibler divergence (0 where two predictions are the same, and larger the
# further apart they are), does not ask whether the prediction is *right*, only whether it *stays
# the same*; the label is not in it. (So it also works on points without a label, which lesson 10
# makes use of.)


# %%
def fit_trades(beta, steps=800):
    """Gradient descent on L + beta * max KL. The KL grows with the change of score on either
    side, so that the worst change is the largest one, downwards or upwards."""
    w, b = torch.tensor([0.1, 0.1]), torch.tensor(0.0)
    for k in range(steps):
        w, b = w.detach().requires_grad_(), b.detach().requires_grad_()
        score, reach = X @ w + b, eps * w.norm(p=1)
        p = torch.sigmoid(score)
        kl = [p * (softplus(-s) - softplus(-score)) + (1 - p) * (softplus(s) - softplus(score))
              for s in (score + reach, score - reach)]
        loss = clean_loss(w, b, X, y) + beta * torch.maximum(*kl).mean()
        grad_w, grad_b = torch.autograd.grad(loss, (w, b))
        lr = 2 * (1 - k / steps) / (1 + beta)
        w, b = w.detach() - lr * grad_w, b.detach() - lr * grad_b
    return w.detach(), b.detach()


def place(w, b):
    """Where a model lies: (clean loss, adversarial loss)."""
    return clean_loss(w, b, X, y).item(), robust_loss(w, b, X, y, eps, "linf").item()


lams = (0.05, 0.07, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 1.0, 2.0, 5.0, 1e6)
models = {lam: fit(X, y, eps, lam, steps=800) for lam in lams}
rivals = {beta: fit_trades(beta) for beta in (0.1, 0.3, 1.0, 2.0)}
front = {lam: place(*model) for lam, model in models.items()}
trades = {beta: place(*model) for beta, model in rivals.items()}

for name, model in {"standard": (w_std, b_std), "lam = 1 (alpha = 0.5)": models[1.0],
                    "Madry": models[1e6], "TRADES, beta = 2": rivals[2.0]}.items():
    clean, robust = accuracy(*model, X, y), robust_accuracy(*model, X, y, eps)
    print(f"{name:22} clean {clean:.1%}, robust {robust:.1%}, length of w {model[0].norm():.2f}")
course.claim("01.curve", curve=front, others=[*trades.values(), place(w_std, b_std)])

# %%
figures.curve(front, trades)

# %% [markdown]
# *The figure: every trained model as a point, its loss on clean points to the right, its loss under
# attack upwards. The dashed line joins all places with the same $L + L_\text{adv}$ as the model
# with λ = 1: its slope is −1/λ = −1.*
#
# <details><summary>What you should see</summary>
#
# The weighted sum draws one curve, from leaning towards clean (upper left) to Madry's (lower
# right): the models for which neither loss can be lowered without raising the other. The dashed
# line touches the curve at λ = 1 and lies below it elsewhere: no other model has a smaller sum.
# TRADES with a small β lies almost on the curve, and never below it; with β = 2 it gives up a
# little of both losses for predictions that change less.
#
# </details>
#
# Which point is best? The curve cannot say: that depends on how likely an attack is and what a
# mistake costs. Nor is it a blemish on TRADES to lie above *this* curve; it was not made to
# minimise these two losses. Look at the printed accuracies: the last three have nearly the same
# boundary and differ mainly in how sure they are, and there losses differ where accuracies do not.
#
# ## Recap
#
# - For a linear model the worst δ is exact: against the sign of `w` for L∞, straight against `w`
#   for L2, all on the largest coordinate for L1 (for y = +1). It lowers the margin by `eps` times
#   the **dual norm** of `w`.
# - **Danskin**: the gradient of the worst case is the ordinary gradient at the worst point. Find δ,
#   detach it, differentiate. It needs the maximiser; a poor attack gives another gradient.
# - Robust loss asks for a distance of `eps` to the boundary; `lam` sets how loudly it asks.
# - The attacker moves **second**. A frozen adversarial data set turns the game round.
# - `-log M(x) + 2·lam·log M(x′)` pays the model for being wrong, is unbounded below, and at
#   `lam = 0.1` its clean accuracy looks perfect for the first two hundred steps.
#
# ## What could go wrong
#
# - **A sign.** Check it: raising $\log M(x')_y$ must lower the loss. And a cross-entropy that is
#   negative is no cross-entropy.
# - **The wrong dual norm**: L∞ attacks go with the L1 norm of `w`, and the other way round.
# - **Labels in {0, 1}** in a formula for {−1, +1}: half of the points then have no margin.
# - **Reading this lesson into deep networks.** There the inner maximum is not known, an attack
#   gives a lower bound only, and Danskin's condition does not hold exactly. What carries over is
#   the recipe; what does not is the certainty. Lesson 07 is about that gap.
# - **A trade-off is not a law.** Here robustness costs clean accuracy because one coordinate was
#   made fragile on purpose. Whether your data have such a coordinate is a question about your
#   data.
#
# ## Further reading
#
# - I. Goodfellow, J. Shlens, C. Szegedy, *Explaining and Harnessing Adversarial Examples*, ICLR
#   2015, arXiv 1412.6572. The linear view, FGSM, and the α-weighted loss.
# - A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, *Towards Deep Learning Models Resistant
#   to Adversarial Attacks*, ICLR 2018, arXiv 1706.06083. The min–max problem, PGD and Danskin.
# - H. Zhang et al., *Theoretically Principled Trade-off between Robustness and Accuracy* (TRADES),
#   ICML 2019, arXiv 1901.08573.
# - D. Tsipras et al., *Robustness May Be at Odds with Accuracy*, ICLR 2019, arXiv 1805.12152. A
#   wide and many narrow coordinates, as a theorem.
# - H. Xu, C. Caramanis, S. Mannor, *Robustness and Regularization of Support Vector Machines*,
#   JMLR 10, 2009, arXiv 0803.3490.
# - J. M. Danskin, *The Theory of Max-Min and Its Application to Weapons Allocation Problems*,
#   Springer, 1967.
#
# > **Ethics** The threat model of this lesson: an attacker who knows the model completely (white
# > box), may move every input by at most `eps` in a stated norm, at test time, and cannot change
# > the training data or the labels. There is nothing to harm here but points in a plane. A
# > robustness claim without such a sentence means little: say *against whom*, *how far* and *in
# > which norm*, and remember that whoever is harmed by a mistake rarely chose the `lam`.

# %%
course.progress("01")
