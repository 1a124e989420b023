# %% [markdown]
# # 05 · Three sources of adversarial examples
#
# {{BADGE}}
#
# **You will**
#
# - build a network that proposes a perturbation in one forward pass, and train it on a victim;
# - find out, class by class, what such a generator has really learned;
# - compare noise, gradients and the generator at equal size: success, cost, transfer;
# - play the two networks against each other, and see what the victim becomes robust *against*;
# - end with a table that says which source is the right one for what, checked by your measurements.
#
# **Time** {{TIME}} About 65 minutes for you.
#
# **Before** Lessons 03 and 04.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · One review, arrows of one length
#
# Whoever wants an adversarial `delta` must get it from somewhere. You know two sources. **Noise**
# knows nothing: it takes any direction. The **gradient** asks the victim, at every text anew, once
# (FGM) or ten times (PGD). Today a third one is built: **a network that has learned** what to
# propose, looks at the text once, and asks the victim nothing any more.
#
# | source | what it must know | victim's passes per text | who can use it |
# |---|---|---|---|
# | noise | the size of the embeddings | 0 | everybody |
# | FGM, PGD | the victim's weights, at each text | 2, 21 | who holds the model |
# | generator | the victim's weights, while *training* | 0 | who once held the model |
#
# We compare them at equal size: every `delta` on this page has exactly the L2 length `eps`, over
# all tokens of its text together. The library's attacks are given the same length as `size`,
# counted in mean word lengths: `eps = size * unit`, where `unit` is the mean length of a word's
# embedding. Our own functions take `eps`, the plain number.

# %%
import copy
import functools
import math
import time

import torch
from torch.nn.functional import cross_entropy

from advlib.attacks import FGM, PGD, Noise
from advlib.attacks.embedding import attackable, perturbed_logits, wrong_margin
from advlib.evaluation import wilson
from advlib.objectives import Adversarial
from course.lesson_05 import figures

victim = advlib.load_classifier(profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"))
data = advlib.load_text(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
                        train_size=profile.pick(1400, 6000),
                        test_size=profile.pick(280, 600))


def some(rows, n, without=frozenset()):
    """The first n texts that are neither scraps nor long (to save time), and not in `without`."""
    fit = [i for i, text in enumerate(rows["text"])
           if 20 < len(text) < profile.pick(80, 120) and text not in without]
    return rows.select(fit[:n])


train = some(data["train"], profile.pick(800, 3200))
test = some(data["test"], profile.pick(80, 200), without=set(train["text"]))

model = victim.model
batch = victim.encode(test["text"], test["label"])
labels, mask = batch["labels"], attackable(batch)
train_batches = [victim.encode(train["text"][i : i + 16], train["label"][i : i + 16])
                 for i in range(0, len(train), 16)]
hidden = model.get_input_embeddings().weight.shape[1]
unit = model.get_input_embeddings().weight.norm(dim=1).mean().item()
size = profile.pick(0.5, 0.3)  # in units of a word's length, as the library counts
eps = size * unit
print(f"{len(test)} test texts, {len(train)} texts to train on; "
      f"size = {size} word lengths, eps = {size} · {unit:.2f} = {eps:.2f}")


# %%
def odds(delta, model=model, batch=batch):
    """The log-odds of being wrong, one number per text; above 0 the model is fooled."""
    with torch.no_grad():
        return wrong_margin(perturbed_logits(model, batch, delta), batch["labels"]).cpu()


def share_right(delta, model=model):
    return (odds(delta, model) < 0).double().mean().item()


@functools.cache  # the page needs some of them again; only for models that stand still
def attacked(attack, model=model):
    return attack(model, batch)


deltas = {"noise": attacked(Noise(size)), "FGM": attacked(FGM(size)),
          "PGD": attacked(PGD(size, steps=10))}
clean = odds(None)
right = {name: share_right(delta) for name, delta in {"no attack": None, **deltas}.items()}
for name, share in right.items():
    print(f"{name:10} {share:6.1%} right")
course.claim("05.sources", right=right)

# %% [markdown]
# One review, and what these sources do to it. Left, the arrows in the plane that FGM's and PGD's
# end points span; right, how the length is spread over the words.

# %%
short = (mask.sum(1).cpu() >= 6) & (mask.sum(1).cpu() <= 12) & (clean < -2)
one = int(torch.where(short, odds(deltas["FGM"]).abs(), torch.inf).argmin())
here = mask[one].nonzero()[:, 0].tolist()
tokens = victim.tokenizer.convert_ids_to_tokens(batch["input_ids"][one, here].tolist())


def of_one(deltas):
    """The review's deltas in eps, (tokens, hidden) each."""
    return {name: (delta[one] / eps).cpu() for name, delta in deltas.items()}


print(f"{test['text'][one]!r}, label {victim.labels[test['label'][one]]}")
for name, delta in deltas.items():
    print(f"log-odds of being wrong under {name:5} {odds(delta)[one]:+.1f}")
lengths = {name: delta[one].norm().item() for name, delta in deltas.items()}
course.claim("05.length", lengths=lengths, eps=eps)
figures.portrait(of_one(deltas), here, tokens)

# %% [markdown]
# *The figure: left, the arrows of the three sources in the plane of FGM and PGD; the dotted circle
# has radius eps. Right, the length of each source's push at each token.*
#
# <details><summary>What you should see</summary>
#
# Left, FGM and PGD reach the circle; they agree in part. The noise is just as long, but what of it
# lies in this plane is a dot in the middle: it points out of the page, into directions that do not
# matter. Right: noise spends the budget evenly on all words, the gradient attacks put more on some
# words.
#
# </details>
#
# ## 2 · A network that proposes
#
# Think of somebody who has attacked a thousand reviews with FGM, looking at the victim's gradient
# each time. After a while they need not look any more: they know what is worth doing to a
# "delicious". The **generator** $G$ is to learn that by itself. It reads the embeddings $e$ of a
# text, `(batch, tokens, hidden)`, and its label $y$, and writes a tensor of the same shape. Only
# its *direction* is used; the length is the threat model's:
#
# $$\delta \;=\; \texttt{eps}\cdot\frac{r}{\lVert r\rVert},\qquad
# r = \texttt{mask}\cdot G(e, y).$$
#
# So each proposal is on its ball by construction, and needs no projection. $G$ can be any network
# that turns a sequence into a sequence. Ours is small: two convolutions along the text, so that
# each token sees four neighbours on either side, and a switch for the label.


# %%
class Generator(torch.nn.Module):
    """Proposes a push for every token: (batch, tokens, hidden) -> (batch, tokens, hidden)."""

    def __init__(self, hidden, width=128):
        super().__init__()
        self.scale = torch.nn.LayerNorm(hidden)
        self.read = torch.nn.Conv1d(hidden, width, 5, padding=2)
        self.told = torch.nn.Embedding(2, width)  # one vector for each label
        self.think = torch.nn.Conv1d(width, width, 5, padding=2)
        self.write = torch.nn.Conv1d(width, hidden, 1)

    def forward(self, embeddings, labels):
        x = self.read(self.scale(embeddings).transpose(1, 2))  # (batch, width, tokens)
        x = (x + self.told(labels)[:, :, None]).relu()
        return self.write(self.think(x).relu()).transpose(1, 2)


def embed(model, batch):
    """The clean embeddings that the generator reads, (batch, tokens, hidden); plain numbers."""
    with torch.no_grad():
        return model.get_input_embeddings()(batch["input_ids"])


def weights(module):
    return sum(p.numel() for p in module.parameters())


print(f"generator: {weights(Generator(hidden)):,} weights; victim: {weights(model):,}")
course.claim("05.small", generator=weights(Generator(hidden)), victim=weights(model))

# %% [markdown]
# ### Exercise 05.1: a proposal on the ball · ●●○ · 10 min
#
# Write `generate(net, embeddings, labels, mask, eps)`. `net(embeddings, labels)` gives $G(e,y)$, of
# the shape of `embeddings`, `(batch, tokens, hidden)`; `mask` is `(batch, tokens)`, True where a
# token is free. Return `delta`: in every text exactly `eps` long over all its free tokens together,
# however little `net` says, and 0 where the mask is False. It is the push alone, without the
# embeddings. Hand `net` the embeddings and labels as they are (the mask belongs on the answer), and
# do not change its mode (`train()`, `eval()`).
#
# New is what comes *after*: `net` is trained through your function, so the gradient must be able to
# flow back through it, through the length as well. A text where $r$ is zero (no free token, or a
# network that says nothing) gets `delta` = 0, and neither `delta` nor the gradient may become
# `nan`.
#
# <details><summary>Hint</summary>
#
# It is `fgm_step` of lesson 03, with the network's answer in the place of the gradient: mask,
# measure, divide; `torch.where(size > 0, size, 1)`. No `detach`, no `torch.no_grad`.
#
# </details>


# %%
def generate(net, embeddings, labels, mask, eps):
    """The network's proposal for each text, of length eps; (batch, tokens, hidden)."""
    # SOLUTION


generate = course.exercise("05.1", generate)

# %% [markdown]
# What should $G$ minimise? The attacker wants the log-odds of being wrong,
# $m = z_\text{wrong} - z_\text{right}$, as large as possible. Not for one text: **on average over
# all texts**, since the weights of $G$ are shared by all of them. That is the difference to FGM and
# PGD, in one line:
#
# $$\text{PGD: } \max_{\delta}\; m(x+\delta)\ \text{ for each } x
# \qquad\qquad
# G:\; \max_{\theta}\; \mathbb{E}_{(x,y)}\; m\bigl(x+\delta_\theta(x,y)\bigr).$$
#
# $\mathbb{E}$ is the mean over texts and labels. Statisticians call the second *amortised*
# optimisation: pay once, while training, and afterwards every answer is cheap. And a bound comes
# for free: whatever $\theta$, the proposal is one point of the ball, so it never does more harm
# than the worst point.
#
# One trap. The loss of $G$ runs through the victim, so `loss.backward()` would leave a gradient in
# the *victim's* parameters as well: an unwanted one, that would make the victim *easier* to fool
# if an optimiser took it for its own. Whether a parameter gets a gradient is decided while the
# forward pass is recorded, by its flag `requires_grad`.

# %% [markdown]
# ### Exercise 05.2: what the generator minimises · ●●○ · 12 min
#
# Write `generator_loss(model, batch, delta)`: a scalar, minus the mean of the texts' log-odds of
# being wrong. `wrong_margin(logits, labels)` gives the log-odds, for any number of classes;
# `perturbed_logits(model, batch, delta)` gives the logits, `batch["labels"]` the truth. The
# gradient must reach `delta` (you only return the loss; the caller says `.backward()`), and that
# `.backward()` **gives no parameter of the model a `.grad`**; one that has a `.grad` already keeps
# it as it is. The pass runs in the mode in which the model comes. When you return, the model is as
# it was: its mode, and the `requires_grad` of every parameter. Some may have been frozen before;
# they stay frozen. Every text counts with its full log-odds, however large.
#
# <details><summary>Hint</summary>
#
# Remember the flags in a list, `[p.requires_grad for p in model.parameters()]`; switch all off with
# `model.requires_grad_(False)`; make the forward pass; give each parameter its flag back with
# `p.requires_grad_(flag)`.
#
# </details>


# %%
def generator_loss(model, batch, delta):
    """Minus the mean log-odds of being wrong, a scalar; no gradient for the model's parameters."""
    # SOLUTION


generator_loss = course.exercise("05.2", generator_loss)

# %% [markdown]
# ## 3 · The first generator, and what it learned
#
# Training is the loop that you know, with the victim standing still. The texts to train on are not
# the ones we test on. First we do *not* tell $G$ the label (it is always told 0): it must see for
# itself what it has before it.


# %%
def propose(net, model, batch, eps, told=True):
    """The generator's delta for a batch, with a graph to the generator."""
    say = batch["labels"] if told else torch.zeros_like(batch["labels"])
    return generate(net, embed(model, batch), say, attackable(batch), eps)


def train_generator(model, steps, told=True, seed=0):
    """A new generator, trained against a model that stands still, and its losses."""
    torch.manual_seed(seed)
    net = Generator(hidden).to(victim.device)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    losses = []
    for k in torch.randint(len(train_batches), (steps,)).tolist():
        loss = generator_loss(model, train_batches[k],
                              propose(net, model, train_batches[k], eps, told))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net.requires_grad_(False), losses


# %% [markdown]
# ### Prediction 05.a: a generator without labels

# %%
guess = course.predict(
    "05.a",
    "test accuracy under noise, FGM, PGD: see above. And under a generator without labels?",
    guess=None,
    low=0,
    high=1,
)

# %%
steps = profile.pick(80, 300)
blind, blind_losses = train_generator(model, steps, told=False)
by_blind = propose(blind, model, batch, eps, told=False)
guess.reveal(share_right(by_blind))

# %%
untrained = propose(Generator(hidden).to(victim.device), model, batch, eps).detach()
course.claim("05.blind", noise=right["noise"], blind=share_right(by_blind),
             untrained=share_right(untrained),
             untouched=all(p.grad is None for p in model.parameters()))

# %% [markdown]
# Somewhere in the middle. Why? An average hides things. Look at the two classes apart:

# %%
print("right by class       " + "".join(f"{name:>12}" for name in victim.labels))
by_class = {}
for name, delta in {"no attack": None, **deltas, "blind generator": by_blind}.items():
    held = odds(delta) < 0
    by_class[name] = [held[labels.cpu() == c].double().mean().item() for c in (0, 1)]
    print(f"{name:20} " + "".join(f"{value:12.1%}" for value in by_class[name]))
gap = {name: abs(a - b) for name, (a, b) in by_class.items()}
spared = by_class["blind generator"].index(max(by_class["blind generator"]))
surer = (odds(by_blind) < clean)[labels.cpu() == spared].double().mean().item()
print(f"of the {victim.labels[spared]} texts, {surer:.0%} are made surer by the blind generator")
course.claim("05.one_class", gap=gap)

# %% [markdown]
# It attacks one class and nearly spares the other. What happened is called **mode collapse**: there
# are two good answers (push praise towards blame, push blame towards praise), and the generator
# settled for one of them and gives it to every text. The texts of the other class are mostly made
# surer by it (the last line). Which class it is depends on the start: of the seeds 0 to 5 in the
# built-in world five end at the positive texts, seed 5 at the negative ones (measured by
# `python benchmarks/recorded_05.py`).
#
# To do better it would have to recognise the class by itself, that is, to become a classifier
# first. But the attacker *knows* the true label: FGM and PGD use it in every gradient. So it is
# only fair to tell the generator, too.

# %%
began = time.perf_counter()
net, losses = train_generator(model, steps)
training_seconds = time.perf_counter() - began
deltas["generator"] = propose(net, model, batch, eps)
told = [(odds(deltas["generator"])[labels.cpu() == c] < 0).double().mean().item() for c in (0, 1)]
print(f"blind: {share_right(by_blind):.1%} right, told the label: "
      f"{share_right(deltas['generator']):.1%}, "
      f"by class {told[0]:.1%} and {told[1]:.1%}")
course.claim("05.told", told=share_right(deltas["generator"]), blind=share_right(by_blind))

# %%
figures.training({"blind": blind_losses, "told the label": losses},
                 {**by_class, "generator, told": told}, victim.labels)

# %% [markdown]
# *The figure: left, the generator's loss while it is trained, minus the mean log-odds of being
# wrong, over equally many steps. Right, the accuracy of each class under each source.*
#
# <details><summary>What you should see</summary>
#
# Left, the loss falls, and further with the label than without. Right, the blind generator's pair
# of bars is the uneven one.
#
# </details>
#
# Here is the review of section 1 again, now with all three sources.

# %%
figures.portrait(of_one(deltas), here, tokens)

# %% [markdown]
# *The figure: as in section 1, with the generator's arrow and bars.*
#
# <details><summary>What you should see</summary>
#
# A good part of the generator's arrow lies in the plane that the gradients span, though nobody
# asked for a gradient at this text; the rest points out of the page. In the built-in world it
# spends nearly all of its length on one word, the one on which FGM and PGD spend most, too.
#
# </details>
#
# ### How many answers does it have?
#
# Take each text's mean push per token, and compare the pushes of different texts of one class by
# their cosine. If all texts of a class get the same push it is 1.


# %%
def alikeness(delta):
    """Mean cosine between the mean pushes of different texts, within each class."""
    free = mask[..., None]
    push = torch.nn.functional.normalize((delta * free).sum(1) / free.sum(1), dim=1)
    found = []
    for c in (0, 1):
        cosines = push[labels == c] @ push[labels == c].T
        n = len(cosines)
        found.append(((cosines.sum() - n) / (n * (n - 1))).item())
    return sum(found) / 2


arrow = torch.stack([(deltas["generator"] * mask[..., None])[labels == c].sum((0, 1))
                     for c in (0, 1)])
two_arrows = arrow[labels][:, None] * mask[..., None]
two_arrows = eps * two_arrows / two_arrows.norm(dim=(1, 2), keepdim=True)
per_token = deltas["generator"].norm(dim=2, keepdim=True)  # how it spreads the length
its_lengths = torch.nn.functional.normalize(two_arrows, dim=2) * per_token
its_directions = torch.nn.functional.normalize(deltas["generator"], dim=2)
its_directions = eps * its_directions / its_directions.norm(dim=(1, 2), keepdim=True)
left_right, alike = {}, {}
for name, delta in {**deltas, "two arrows, equal lengths": two_arrows,
                    "two arrows, generator's lengths": its_lengths,
                    "generator's directions, equal lengths": its_directions}.items():
    left_right[name], alike[name] = share_right(delta), alikeness(delta)
    print(f"{name:38} {left_right[name]:6.1%} right, alikeness {alike[name]:+.2f}")
course.claim("05.alike", alike=alike, right=left_right)
if profile.name == "smoke":
    course.claim("05.where", right=left_right, surer=surer)

# %% [markdown]
# Two things are to be seen. The gradients' pushes are alike, too: there is something common to all
# texts of a class, and *that* is why a network can learn to do without the gradient. And the
# generator's are more alike still; it has kept mostly the common part. The row "two arrows, equal
# lengths" takes that to the extreme: *one* fixed arrow per class, the same for every
# word of every text. A push that is meant to fit all inputs is called **universal**
# (Moosavi-Dezfooli et al. for images; Wallace et al. for text, with words). It does less than the
# generator. What is missing? Compare the last two rows. In one the two arrows are as long at each
# word as the generator's push is there; in the other the generator's directions are kept, and the
# length is spread evenly. In the built-in world the first does most of what the generator does, and
# the second about as little as the two arrows alone: the generator knows *where* to push, and in
# which direction hardly depends on the word.
#
# ## 4 · At equal size
#
# Now all of them, with 95 % intervals (`wilson(hits, n)`: the shares that `hits` of `n` texts are
# compatible with), and then over `eps`. The generator was trained at one `eps`
# only, and is used at all of them: its direction is kept and its length is set.

# %%
print("source      right      95 % interval")
hits = {}
for name, delta in {"no attack": None, **deltas}.items():
    hits[name] = int((odds(delta) < 0).sum())
    low, high = wilson(hits[name], len(test))
    print(f"{name:10} {hits[name] / len(test):6.1%}   {low:6.1%} to {high:6.1%}")
overlap = wilson(hits["FGM"], len(test)), wilson(hits["generator"], len(test))
tied = overlap[0][0] < overlap[1][1] and overlap[1][0] < overlap[0][1]
print(f"the intervals of FGM and the generator {'overlap' if tied else 'do not overlap'}")
course.claim("05.equal_size", hits=hits, n=len(test))

# %%
grid = [k * size for k in (0.4, 0.6, 1, 1.6)]
sweep = {"noise": [], "FGM": [], "PGD": [], "generator": []}
for e in grid:
    sweep["noise"].append(share_right(attacked(Noise(e))))
    sweep["FGM"].append(share_right(attacked(FGM(e))))
    sweep["PGD"].append(share_right(attacked(PGD(e, steps=5))))
    sweep["generator"].append(share_right(propose(net, model, batch, e * unit)))
for e, *row in zip(grid, *sweep.values(), strict=True):
    print(f"size {e:4.2f}  " + "   ".join(f"{n} {v:6.1%}" for n, v in zip(sweep, row, strict=True)))
course.claim("05.sweep", sweep=sweep, slack=profile.pick(0.03, 0.08))
figures.sizes(size, grid, share_right(None), sweep)

# %% [markdown]
# *The figure: accuracy against the size under noise, FGM, PGD and the generator, which was trained
# at the dotted line only.*
#
# <details><summary>What you should see</summary>
#
# In the built-in world PGD is nowhere above another curve; at the largest size five steps need not
# suffice: on a real encoder the generator was seen to pass them there. At the smallest size FGM is
# ahead of the generator (in the built-in world by three texts of 80 only: no interval tells these
# two points apart); as the size grows, the generator makes up for it (in the built-in world it
# overtakes FGM by far).
#
# </details>
#
# No gradient, and as good as one or better? That is no accident. At a small `eps` the loss is
# nearly a plane, and there the gradient of *this* text is the best direction that exists (lesson
# 03): a general habit cannot match it. At a larger `eps` FGM relies on a slope that no longer holds
# where it lands, while the generator was trained on what happens *at that distance*, on hundreds of
# other texts. At the size of its training, several looks at this very text still beat both.
#
# ## 5 · The game
#
# So far the victim stood still. Now it may answer: it trains on what the generator proposes, the
# generator adapts, and so on.
#
# $$\min_{w}\;\max_{\theta}\;\; \mathbb{E}_{(x,y)}\Bigl[\,L(w;\,x) +
# \texttt{lam}\cdot L\bigl(w;\,x+\delta_\theta(x,y)\bigr)\Bigr]$$
#
# It is the min–max of lesson 01, with the inner maximum handed to a network. Two networks with
# opposite wishes, trained in turns: this is the idea of generative adversarial networks, GANs
# (Goodfellow et al. 2014). There the second network says whether a picture is real; here it
# is the victim, and reads reviews. (In the formula $\theta$ climbs $L$; our generator goes on
# climbing the mean of $m$, as in section 3. At one text the two rise together; of two $\theta$ the
# mean of $L$ may prefer the one and the mean of $m$ the other.)

# %% [markdown]
# ### Exercise 05.3: one round of the game · ●●● · 15 min
#
# Write `game_step(net, model, batch, eps, lam, net_optimizer, model_optimizer)`, one round:
#
# 1. **The generator's step.** With a fresh proposal and `generator_loss`, one step of
#    `net_optimizer`.
# 2. **The victim's step.** With *another* proposal, made by the generator as it is now, one step of
#    `model_optimizer` on `clean + lam * attacked`, where both are the mean cross-entropy of the
#    batch.
#
# The generator is told the labels (`propose` does that; it takes the `eps` that it is given).
# Return `(net_loss, model_loss)`, two numbers without a graph. After the round each player's
# parameters have been moved by *its own* loss of *this* round and nothing else (there may be old
# gradients in `.grad` when the round begins), and the generator's `.grad` holds nothing that comes
# from the victim's loss. Leave modes and flags as they are, for the passes, too (no
# `model.train()`), and the gradients as well (no clipping).
#
# <details><summary>Hint</summary>
#
# Twice `zero_grad`, `backward`, `step`. Which of the two proposals must be detached, and which must
# not? `perturbed_logits(model, batch, None)` gives the clean logits; `cross_entropy` is imported.
#
# </details>


# %%
def game_step(net, model, batch, eps, lam, net_optimizer, model_optimizer):
    """The generator's step, then the victim's; returns (net_loss, model_loss) as numbers."""
    # SOLUTION


game_step = course.exercise("05.3", game_step)

# %% [markdown]
# The game begins with the trained generator and a copy of the victim. On the way we stop and ask
# how the victim does: without attack, under the present generator, under the one of the beginning,
# and under PGD, which has nothing to do with the game.
#
# ### Prediction 05.b: the victim of the game under PGD

# %%
guess = course.predict(
    "05.b",
    "PGD takes no part in the game. After it, which share survives PGD of the same size?",
    guess=None,
    low=0,
    high=1,
)

# %%
rounds = profile.pick(48, 120)
rate = profile.pick(5e-4, 3e-5)  # a real encoder wants small steps


def play(seed):
    """The victim and the generator at four moments of the game, from its beginning to its end."""
    torch.manual_seed(seed)
    player, rival = copy.deepcopy(model), copy.deepcopy(net).requires_grad_(True)
    player_optimizer = torch.optim.AdamW(player.parameters(), lr=rate, fused=True)  # much faster
    rival_optimizer = torch.optim.Adam(rival.parameters(), lr=2e-3)
    moments = [(0, model, net)]
    for k, choice in enumerate(torch.randint(len(train_batches), (rounds,)).tolist(), 1):
        game_step(rival, player, train_batches[choice], eps, 1.0, rival_optimizer, player_optimizer)
        if k % (rounds // 3) == 0:
            moments.append((k, copy.deepcopy(player), copy.deepcopy(rival).requires_grad_(False)))
    return moments


moments = play(seed=0)
player = moments[-1][1]
stops = [{"round": k, "no attack": odds(None, who),
          "generator": odds(propose(rival, who, batch, eps), who),
          "first generator": odds(propose(net, who, batch, eps), who),
          "PGD": odds(attacked(PGD(size, steps=5), who), who)} for k, who, rival in moments]
curves = {name: [(stop[name] < 0).double().mean().item() for stop in stops]
          for name in ("no attack", "generator", "first generator", "PGD")}
guess.reveal(curves["PGD"][-1])

# %%
print("round            " + " ".join(f"{stop['round']:6}" for stop in stops))
for name, values in curves.items():
    print(f"{name:16} " + " ".join(f"{value:6.1%}" for value in values))
course.claim("05.game", curves=curves)
figures.game([stop["round"] for stop in stops], curves)

# %% [markdown]
# *The figure: accuracy of the victim over the rounds of the game.*
#
# <details><summary>What you should see</summary>
#
# Without attack it stays high, at a price (the first row printed: some points below its beginning).
# Under the generator, which goes on learning, it rises well above its beginning. Under PGD of the
# same size it stays low.
#
# </details>
#
# The victim works on the task that it was set: to withstand **this opponent**. All the other points
# of the ball are nobody's business in this game, and PGD finds them. Compare with the formula: the
# game replaces the maximum over the ball by the maximum over what one small network can say. That
# is a lower bound on $L_\text{adv}$, and a model that is trained on a lower bound becomes good on
# the lower bound.
#
# ### Is it at least safe from generators?
#
# The rival of the game had to change its habits slowly. We train a *fresh* generator against the
# victim that now stands still, in the built-in world longer than the first. (In the row "before"
# the generator of section 3 is itself the one that was made to measure, so it stands in both
# columns; the control gets none.) And as a control we give another copy of the victim as many
# rounds of the ordinary adversarial training that lesson 08 is about, on FGM's `delta` (one line
# with the library: `Adversarial`).

# %%
fresh, _ = train_generator(player, profile.pick(120, 300), seed=1)
trained = copy.deepcopy(model)
optimizer = torch.optim.AdamW(trained.parameters(), lr=rate, fused=True)
objective = Adversarial(FGM(size), lam=1.0)
torch.manual_seed(0)
for choice in torch.randint(len(train_batches), (rounds,)).tolist():
    objective(trained, train_batches[choice])
    optimizer.step()
    optimizer.zero_grad()

after = {"before": model, "after the game": player, "trained on FGM": trained}
tests = ("no attack", "first generator", "fresh generator", "FGM", "PGD", "PGD at 0.6 eps")
print(f"{'':16}" + "".join(f"{name:>17}" for name in tests))
board = {}
for name, who in after.items():
    against = {"before": net, "after the game": fresh}.get(name)
    tried = (None, propose(net, who, batch, eps),
             None if against is None else propose(against, who, batch, eps),
             attacked(FGM(size), who), attacked(PGD(size, steps=5), who),
             attacked(PGD(0.6 * size, steps=5), who))
    board[name] = dict(zip(tests, [share_right(delta, who) for delta in tried], strict=True))
    if against is None:
        board[name]["fresh generator"] = math.nan
    print(f"{name:16}" + "".join(f"{'–' if math.isnan(value) else f'{value:.1%}':>17}"
                                 for value in board[name].values()))

# %% [markdown]
# Read the table by columns. The victim of the game resists the generator of the beginning much
# better than before. A fresh one, made to measure, wins a good part of that back: **better than
# before, not safe**. Then the columns to the right. At full size PGD breaks all three, and the few
# texts that are left show no order. At 0.6 `eps` there is one: the control, which got its
# `delta` from gradients for the same number of rounds, is ahead of the victim of the game, and on
# FGM, too (its own opponent). The victim of the game is there no better than the one *before* the
# game, in the built-in world even worse. Against gradients the control's gain over *before* shows
# at 0.6 `eps` only; at full size, 49 % against 45 % under FGM is no difference on 80 texts: so few
# rounds do not buy more. (Lesson 08 trains in earnest.)

# %%
game, control = board["after the game"], board["trained on FGM"]
course.claim("05.gradients", before=board["before"], game=game, control=control)
if profile.name == "smoke":
    course.claim("05.price", before=board["before"], game=game)

# %% [markdown]
# Averages hide things again. The next figure has a dot for every text.

# %%
figures.clouds(stops)

# %% [markdown]
# *The figure: the log-odds of all test texts at four moments of the game, without attack, under the
# generator of that moment, and under PGD; the numbers are the shares below the dotted line, where
# the victim is right.*
#
# <details><summary>What you should see</summary>
#
# The generator's cloud sinks; most of PGD's stays above the line. In the built-in world all clouds
# shrink towards it, too: the first thing that the victim learns is not to be so sure of itself.
#
# </details>
#
# Move the slider through the game. (1) When does the generator's cloud fall, and does the generator
# ever win it back? (2) Where PGD's log-odds become smaller: is that robustness? (Look at the
# shares, and remember the model of lesson 03 whose logits were multiplied by 100.)

# %%
figures.explore_game(stops)

# %% [markdown]
# ## 6 · What it costs
#
# As in lesson 04 we count passes of one text through the victim, forward or backward. The
# generator asks the victim nothing when it is used; its own pass is small change. But it had to be
# trained: a forward and a backward pass for each text of each batch.

# %%
def milliseconds(make, repeats=2):
    """The time to make the deltas, per text, the best of some repeats."""
    best = math.inf
    for _ in range(repeats):
        start = time.perf_counter()
        make().sum().item()
        best = min(best, time.perf_counter() - start)
    return 1000 * best / len(test)


cost = {"noise": (0, milliseconds(lambda: Noise(size)(model, batch))),
        **{name: (sum(attack.passes()), milliseconds(lambda a=attack: a(model, batch), repeats))
           for name, attack, repeats in (("FGM", FGM(size), 2), ("PGD", PGD(size, steps=10), 1))},
        "generator": (0, milliseconds(lambda: propose(net, model, batch, eps)))}
train_passes = 2 * sum(len(b["labels"]) for b in train_batches) / len(train_batches) * steps
print(f"training the generator: {train_passes:,.0f} passes, {training_seconds:.1f} s\n"
      "source      passes per text   ms per text    wrong")
for name, (passes, ms) in cost.items():
    print(f"{name:10} {passes:16} {ms:13.2f} {1 - share_right(deltas[name]):8.1%}")
course.claim("05.cost", ms={name: ms for name, (_, ms) in cost.items()})

# %% [markdown]
# A fixed price and then nothing, against a price per text: there must be a number of texts from
# which on the fixed price has paid off.

# %% [markdown]
# ### Exercise 05.4: the break-even point · ●○○ · 6 min
#
# Write `break_even(train_passes, per_example_generator, per_example_pgd)`. Training the generator
# costs `train_passes` once; then each text costs `per_example_generator`, where PGD costs
# `per_example_pgd` from the first text on. Return the smallest whole number of texts `n` ≥ 1 for
# which the generator is *cheaper* in all (strictly less), an `int`, and `math.inf` if there is
# none. The costs are numbers ≥ 0, whole or not, and may be large. The example below takes 4800
# passes, a round number; your own training's count is printed above.
#
# <details><summary>Hint</summary>
#
# Per text you save the difference. When is `n` times the difference more than what you paid?
# `math.floor(x) + 1` is the smallest whole number above `x`. No saving, no break-even.
#
# </details>


# %%
def break_even(train_passes, per_example_generator, per_example_pgd):
    """From how many texts on the generator is cheaper; math.inf if never."""
    # SOLUTION


break_even = course.exercise("05.4", break_even)

# %% tags=["nbval-check-output"]
for name, per_text in (("FGM", 2), ("PGD, 10 steps", 21)):
    print(f"4800 passes of training against {name:13} ({per_text:2} a text): worth it from "
          f"{break_even(4800, 0, per_text)} texts on")
print("against noise:", break_even(4800, 0, 0))

# %%
print("by the clock of this machine, the generator has paid off")
for name in ("FGM", "PGD"):
    after_texts = break_even(1000 * training_seconds, cost["generator"][1], cost[name][1])
    print(f"  against {name}: after {after_texts:,} texts, in "
          f"{after_texts / len(train):.1f} epochs of {len(train)} texts")
against = {name: break_even(train_passes, 0, cost[name][0]) for name in ("FGM", "PGD")}
course.claim("05.break_even", against_pgd=against["PGD"], against_fgm=against["FGM"])

# %% [markdown]
# Who evaluates a model on a hundred texts does not earn the training back, not even against PGD,
# and against FGM it takes more than a thousand. Who attacks every text of a long training might, if
# the victim stood still. In the game it does not: there the generator must be kept up to date, with
# a step per round that costs what FGM costs.
#
# ## 7 · To another model
#
# An attacker often has no access to the model that counts (model B), and trains one of their own
# (model A) to make the `delta` on. Does it **transfer**? Our B shares A's lower layers, which is
# the usual case, since everybody starts from the same published encoder; its top layer and its head
# are new and trained from scratch. (A random head on features that already separate the classes may
# be right by luck. And a caveat: `delta` lives on embeddings. To carry it over, both models must
# have about the same ones, and the attacker must be able to write to B's.)


# %%
def sibling(steps, seed=5):
    """A copy of the victim whose top layer and head are forgotten, then trained again."""
    torch.manual_seed(seed)
    other = copy.deepcopy(model)
    layers = next(part for part in other.modules() if isinstance(part, torch.nn.ModuleList))
    heads = [part for name, part in other.named_children() if name != other.base_model_prefix]
    for part in (layers[-1], *heads):
        for module in part.modules():
            if isinstance(module, torch.nn.Linear):
                module.reset_parameters()
    forgotten = share_right(None, other)
    optimizer = torch.optim.AdamW(other.parameters(), lr=2 * rate, fused=True)
    for k in torch.randint(len(train_batches), (steps,)).tolist():
        loss = cross_entropy(perturbed_logits(other, train_batches[k], None),
                             train_batches[k]["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return other, forgotten


others = {}
others["sibling"], forgotten = sibling(profile.pick(60, 150))
print(f"sibling: {forgotten:.1%} right after forgetting, "
      f"{share_right(None, others['sibling']):.1%} after training")
if profile.name == "smoke":
    others["adversarially trained"] = advlib.load_classifier("reviews-fgm").model
course.claim("05.other_models",
             right={name: share_right(None, who) for name, who in others.items()})

# %% [markdown]
# How to count? Not every text tells something about transfer. Where the `delta` did not even fool
# A, there was nothing to carry over; where B was wrong from the start, there was nothing to fool.

# %% [markdown]
# ### Exercise 05.5: the transfer rate · ●●○ · 8 min
#
# Write `transfer_rate(right_on_b, right_under_delta_on_b, fooled_on_a)`. All three are boolean
# tensors of shape `(n,)`, one entry per text: was B right without `delta`, is B right with it, and
# did it fool A. Return a number: of the texts that fooled A *and* were right on B before, the share
# that B gets wrong under `delta`; `math.nan` if there is no such text.
#
# <details><summary>Hint</summary>
#
# `a & b` and `~a` work on boolean tensors, and a boolean tensor as an index picks the texts that
# count. `.float().mean().item()` makes a share of it.
#
# </details>


# %%
def transfer_rate(right_on_b, right_under_delta_on_b, fooled_on_a):
    """The share of texts fooled on B, among those fooled on A and right on B before."""
    # SOLUTION


transfer_rate = course.exercise("05.5", transfer_rate)

# %% tags=["nbval-check-output"]
before = torch.tensor([True, True, True, False, True, False])
under = torch.tensor([False, True, False, False, False, True])
fooled = torch.tensor([True, True, True, True, False, False])
print(f"{transfer_rate(before, under, fooled):.2f}, {transfer_rate(before, under, ~before):.2f}")

# %% [markdown]
# ### Prediction 05.c: whose delta carries over?

# %%
guess = course.predict(
    "05.c",
    "of the texts that fooled A: whose delta fools the sibling most often?",
    guess=None,
    options=("FGM", "PGD", "generator"),
)

# %%
rates, harm = {}, {}
for scale in (1, 1.6):
    made = {"noise": attacked(Noise(scale * size)), "FGM": attacked(FGM(scale * size)),
            "PGD": attacked(PGD(scale * size, steps=10)),
            "generator": propose(net, model, batch, scale * eps)}
    on_a = {source: odds(delta) > 0 for source, delta in made.items()}
    for name, who in others.items():
        print(f"A → {name}, size = {scale * size:.2f}\n  source     A fooled   "
              "A fooled and B right before   rate (95 % interval)   right on B under delta")
        right_b = odds(None, who) < 0
        for source, delta in made.items():
            fooled = (clean < 0) & on_a[source]
            under = odds(delta, who) < 0
            rates[name, scale, source] = transfer_rate(right_b, under, fooled)
            harm[name, scale, source] = under.double().mean().item()
            n, rate_b = int((fooled & right_b).sum()), rates[name, scale, source]
            low, high = wilson(round(rate_b * n), n) if n else (math.nan, math.nan)
            shown = f"{rate_b:.1%} ({low:.0%} to {high:.0%})" if n else "–"
            print(f"  {source:10} {int(fooled.sum()):8} {n:29} {shown:>22} "
                  f"{under.double().mean():24.1%}")
guess.reveal(max(("FGM", "PGD", "generator"), key=lambda n: rates["sibling", 1, n]))

# %%
course.claim("05.transfer", rate=rates["sibling", 1, "generator"])
if profile.name == "smoke":
    course.claim("05.lead", generator={name: rates[name, 1, "generator"] for name in others},
                 pgd={name: rates[name, 1, "PGD"] for name in others})
figures.transfer(rates, list(others), size)

# %% [markdown]
# *The figure: the share of texts that also fool model B, among those that fooled A and that B was
# right on, for two sizes. Bars of one colour belong to one source.*
#
# <details><summary>What you should see</summary>
#
# Noise is missing, because it fooled nothing that could be carried over.
#
# </details>
#
# In the built-in world the generator's rate leads at the first size, on both models; but read the
# intervals before you believe in an order. They overlap there, and at the larger size PGD is level
# with it on the sibling. One result is clear: at size 0.80, on the adversarially trained model, the
# generator's rate is 67 %, PGD's 29 % and FGM's 32 %, and the generator's interval meets neither of
# theirs. An explanation that would fit: it could not adapt to one text, nor to the accidents of A's
# surface at that text; what it learned is the common part, and relatives have that in common with
# A. PGD fits A as closely as it can. And mind what a *rate* is: each source's is taken over texts
# of its own, those that *it* fooled on A, so three rates are about three sets of texts. The last
# column counts all texts, and there an attack that fools more texts on A starts with an advantage.
# The two need not agree; say which of them you report.
#
# ## 8 · Which source for what?
#
# | you want to … | take | because |
# |---|---|---|
# | measure how robust a model is | **PGD** | it finds most; every other number flatters |
# | judge an attack | **noise** of the same size, beside it | an attack must beat chance |
# | train a robust model | **gradients** | the game makes robust against its own generator |
# | attack very many texts, victim out of reach | **generator** | no pass of the victim |
# | attack a relative of the model | **PGD and generator** | both carry over, to be measured |
# | attack a handful of texts | **FGM, PGD** | training a generator does not pay |
#
# A table is quickly written. Let us hold each row against what *you* measured. A "NO" is a finding,
# too: your numbers do not support that row.

# %%
found = {
    "measure robustness: PGD": hits["PGD"] < min(hits["FGM"], hits["generator"]),
    "judge an attack: noise beside it": (
        abs(hits["noise"] - hits["no attack"]) <= 0.03 * len(test)
        and hits["generator"] < hits["noise"] - 0.2 * len(test)),
    "train: gradients, not a generator": (
        control["PGD at 0.6 eps"] > game["PGD at 0.6 eps"]
        and game["PGD"] < game["fresh generator"] - 0.1),
    "very many texts: the generator": (
        cost["generator"][1] < cost["FGM"][1]
        and break_even(1000 * training_seconds, cost["generator"][1], cost["PGD"][1])
        < 10 * len(train)),
    "a relative of the model: PGD and the generator": (
        max(harm["sibling", 1, "PGD"], harm["sibling", 1, "generator"])
        < harm["sibling", 1, "noise"] - 0.2),
    "a handful of texts: gradients": break_even(train_passes, 0, cost["PGD"][0]) > len(test),
}
for row, holds in found.items():
    print(f"{'yes' if holds else 'NO':4} {row}")

# %% [markdown]
# ## Recap
#
# - A **generator** maps a text to a `delta` in one pass of its own. On the ball by construction;
#   gradients flow to its weights, and never into the victim's `.grad`.
# - It maximises the harm *on average*: an amortised attack, and one more lower bound on the worst
#   case. PGD, which works on each text, found more at every size.
# - **Mode collapse**: without the label it attacked one class only, and the average hid it.
# - **The game** makes the victim robust against this generator. PGD, which took no part, still
#   broke it at full size; at 0.6 `eps` the same rounds on gradients did more.
# - **Cost**: a fixed price against a price per text; the break-even point decides.
# - **Transfer** counts texts that fooled A and that B was right on. Gradients and generator both
#   carried over to a relative, noise did not; which of them does better differs from pair to pair.
#
# ## What could go wrong
#
# - **"Robust against our GAN"** as the only evidence: a victim that was trained with the generator
#   is tested with the generator. Test with something that took no part.
# - **A missing `detach`, or a missing `zero_grad`**: each player learns the other's wish. Nothing
#   crashes; the curves just look like an undecided game.
# - **Unequal sizes**: a tanh at the end of a network bounds each coordinate, not the length. State
#   the norm, and measure it on what is handed out.
# - **Trained and tested on the same texts**: a generator, unlike PGD, can overfit.
# - **Only the average**: look at the classes, and at how alike the proposals are.
# - **A generator that sees the padding**: ours reads a few tokens past the end of a text, so that a
#   `delta` depends a little on the batch. Set those embeddings to zero if it matters.
# - **Transfer between models with different vocabularies**: a `delta` on embeddings means nothing
#   there. Words can be carried over (lesson 06).
#
# ## Further reading
#
# - I. Goodfellow et al., *Generative Adversarial Networks*, NeurIPS 2014, arXiv 1406.2661. Two
#   networks, one game.
# - S. Baluja, I. Fischer, *Adversarial Transformation Networks: Learning to Generate Adversarial
#   Examples*, 2017, arXiv 1703.09387. A network trained against a fixed victim, as in section 3.
# - C. Xiao, B. Li, J.-Y. Zhu, W. He, M. Liu, D. Song, *Generating Adversarial Examples with
#   Adversarial Networks* (AdvGAN), IJCAI 2018, arXiv 1801.02610. With a discriminator, so that
#   pictures stay plausible.
# - S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, *Universal Adversarial Perturbations*,
#   CVPR 2017, arXiv 1610.08401. One push for all images.
# - E. Wallace, S. Feng, N. Kandpal, M. Gardner, S. Singh, *Universal Adversarial Triggers for
#   Attacking and Analyzing NLP*, EMNLP 2019, arXiv 1908.07125. One phrase for all texts.
#
# > **Ethics** The threat model of this lesson: an attacker who holds the victim's weights while
# > training a generator, knows the true label of each text, and writes to the embeddings at test
# > time, at most `eps` far in L2 over the whole text; for transfer, one who holds a relative of the
# > victim. No user of a deployed system can write to its embeddings. What carries over to practice
# > is the economics: an attack that is expensive once and cheap for each use is the one that gets
# > passed around. Do not publish such a generator for a system that people rely on.

# %%
course.progress("05")
