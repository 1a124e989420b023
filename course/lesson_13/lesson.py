# %% [markdown]
# # 13 · Explanation, causes and games
#
# {{BADGE}}
#
# **You will**
#
# - write integrated gradients, and score four kinds of explanation against causes that are known;
# - tell a cause from a correlation by setting a word;
# - solve attack against defence as a game of two players.
#
# **Time** {{TIME}} About 95 minutes for you: 63 to read, 32 for the exercises. Section 5, some 25
# of them, stands alone and can be another day's. The appendix (seven short pieces; an attack on
# explanations, exercise 13.4, predictions 13.c and 13.d are there) is another 70 minutes and can be
# left out: nothing builds on it.
#
# **Before** Lessons 06 and 08. (Lesson 07 helps.)

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · What a cause is
#
# A model says that a review is praise. *Because of which words?* Many methods answer with a
# **map**, one number for each word. On real data nobody can say which map is right. In the world
# `reviews` we can: its reading rule, `World.label`, gives the label of any text.
#
# A word is a **cause** of the label if the label depends on it: take the word out, or put its
# opposite in its place, and the world reads another label, or none. The opposite of *delicious* is
# a word of the opposite group, such as *bland*. Words without an opposite, such as the **negator**
# *not*, are only taken out.
#
# Why both? In "the soup was delicious, and the waiter was friendly" the label survives the loss of
# either word. But *bland* in the place of *delicious* leaves two opinions that disagree, and no
# label. Only opposites may come in: if any word might, *terrible* for *the* would leave no label
# either, and *the* would be a cause.
#
# The code is in [`facts.py`](../course/lesson_13/facts.py). All our texts open with a month;
# `dial=0` says that it is any of the twelve, all alike. In brackets: the causes. (Of *far from* the
# world takes *far* for the negator.)

# %%
import numpy as np
import torch

from advlib.corpora import replace, words
from course.lesson_13 import figures
from course.lesson_13.explain import attention, by_word, margin, margins, no_model, spread, trained
from course.lesson_13.facts import MONTHS, causes, dated, marked, opinion_words, reads

n = profile.pick(54, 200)
test = [(t, y) for t, y in dated(3 * n, "test", dial=0, seed=5) if causes(t).any()][:n]
texts, labels = [t for t, _ in test], np.array([y for _, y in test])
truth = [causes(t) for t in texts]
for word in ("I", "but", "not"):
    print(marked(next(t for t in texts if word in words(t))))
share = torch.cat(truth).double().mean().item()
differ = (torch.cat(truth) != torch.cat([opinion_words(t) for t in texts])).double().mean().item()
print(f"\n{n} texts, {share:.0%} of their words are causes; "
      f'"an opinion word or a negator" differs in {differ:.1%} of the words')

# %% [markdown]
# A list of opinion words and negators is nearly right. The rule knows more: the opinion before
# *but* does not count and is no cause. *but*, which decides that, is one.
#
# ## 2 · Four maps
#
# A map explains the **margin** $m = z_1 - z_0$, the logit for "positive" less the one for
# "negative". Above 0 the model predicts praise. With $x$ for the embedded text:
#
# - **Gradient × input**, $\sum_k x_k\,\partial m/\partial x_k$ over the coordinates of a word: the
#   slope at the text, times the text. One backward pass.
# - **Occlusion**: how much the margin falls when `[MASK]` stands in the word's place. One forward
#   pass for each word.
# - **Attention**: the model reads the class from the first token, `[CLS]`. How much does `[CLS]`
#   look at the word in the last layer (mean over its heads)? It has no sign. (The code is in
#   [`explain.py`](../course/lesson_13/explain.py).)
# - **Integrated gradients**: the one that you write.
#
# A word may have several tokens: `by_word` *adds* their numbers. In the code `margin` takes
# embeddings and `margins` takes texts; `spread` is half of a 95 % interval.


# %%
def gradient_times_input(model, batch):
    x = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    (slope,) = torch.autograd.grad(margin(model, batch, x).sum(), x)
    return (slope * x).sum(-1)


def occlusion(victim, text):
    hidden = [replace(text, {i: "[MASK]"}) for i in range(len(words(text)))]
    m = margins(victim, [text, *hidden]).double()
    return m[0] - m[1:]


# %% [markdown]
# **Integrated gradients** (Sundararajan, Taly and Yan 2017). Where the model is sure, the slope at
# the text may be flat. So walk to the text from a **baseline** $b$, a text without opinions (here:
# `[MASK]` in the place of each token), and take the mean of the slopes along the straight way, on
# which $\alpha$ goes from 0, the baseline, to 1, the text:
#
# $$\text{IG}_k = (x_k-b_k)\int_0^1 \frac{\partial m}{\partial x_k}\bigl(b+\alpha\,(x-b)\bigr)\,
# \mathrm d\alpha\;\approx\;\frac{x_k-b_k}{\texttt{steps}}\sum_{j=0}^{\texttt{steps}-1}
# \frac{\partial m}{\partial x_k}\Bigl(b+\tfrac{j+1/2}{\texttt{steps}}\,(x-b)\Bigr).$$
#
# By the chain rule $m$ changes along the way by $\sum_k (x_k-b_k)\,\partial m/\partial x_k$ for
# each unit of $\alpha$. So the numbers of all tokens must add up to $m(x)-m(b)$. This is
# **completeness**, a test that your code can fail.

# %% [markdown]
# ### Exercise 13.1: integrated gradients · ●●○ · 10 min
#
# The frame of `integrated_gradients(model, batch, baseline_id, steps)` stands below. Fill its three
# gaps, a line or two each:
#
# 1. `baseline`, of the shape of `x`: every token has the embedding of token `baseline_id`, but
#    special tokens (padding is among them) keep their own, so that the numbers are about words.
# 2. In the loop: the point at the *middle* of piece `j` of `steps` equal pieces of the way, as in
#    the formula, and the gradient there of the sum of `margin(model, batch, point)`; add it to
#    `total`.
# 3. Return one number per token, the sum over its coordinates: `(batch, tokens)`, in the dtype of
#    the embeddings and without a graph.
#
# Do not call `model.eval()` or `model.train()`, write into no parameter's `.grad`, and leave the
# batch as it is.
#
# <details><summary>Hint</summary>
#
# 1: `torch.where(condition, a, b)` takes `a` where the condition holds, and a row fits all tokens;
# the row is `table.weight[baseline_id]`, detached. 2: `requires_grad_()` on the point;
# `torch.autograd.grad(sum, point)` returns a tuple and writes into no `.grad`. 3: the way is
# `x - baseline`.
#
# </details>


# %%
def integrated_gradients(model, batch, baseline_id, steps):
    """(batch, tokens) What each token adds to the margin on the way from the baseline."""
    table = model.get_input_embeddings()
    x = table(batch["input_ids"]).detach()  # (batch, tokens, coordinates)
    special = batch["special_tokens_mask"].bool()[..., None]  # (batch, tokens, 1)
    # 1. the baseline
    # SOLUTION
    baseline = torch.where(special, x, table.weight[baseline_id].detach())
    # END SOLUTION
    total = torch.zeros_like(x)
    for j in range(steps):
        # 2. the point in the middle of piece j, and the gradient there
        # SOLUTION
        point = (baseline + (j + 0.5) / steps * (x - baseline)).requires_grad_()
        total += torch.autograd.grad(margin(model, batch, point).sum(), point)[0]
        # END SOLUTION
    # 3. the result
    # SOLUTION
    return ((x - baseline) * total / steps).sum(-1)
    # END SOLUTION


integrated_gradients = course.exercise("13.1", integrated_gradients)

# %%
from course.lesson_13.explain import completeness

victims = {name: advlib.load_classifier(f"reviews-{name}") for name in ("clean", "fgm", "robust")}
clean, mask_id = victims["clean"], victims["clean"].tokenizer.mask_token_id
gaps, blanks, sizes = {}, {}, {}
for name, victim in victims.items():
    missing, blanks[name], sizes[name] = completeness(
        victim, texts[: profile.pick(6, 32)], integrated_gradients, steps=(4, 16, 64))
    gaps |= {(name, steps): share for steps, share in missing.items()}
    print(f"{name:7}" + "  ".join(f"{k} steps: {v:.2%} missing" for k, v in missing.items())
          + f";  m(b) {blanks[name].mean():+.1f}, |m(x)| {sizes[name]:.1f} on average")
course.claim("13.complete", gaps=gaps)
course.claim("13.blank", blanks=blanks, sizes=sizes)

# %% [markdown]
# `clean` was trained plainly, `fgm` against FGM, and `robust` against everything that the standard
# protocol of lesson 07 tries ([how](../docs/results/robust.md)). *Missing* is the share of
# $m(x)-m(b)$ that the sum over the tokens fails to give. It falls with `steps`; 16 are enough for
# what follows. To the first two models the baseline, a blank text, is praise: for them integrated
# gradients explain how a text differs from *that*. (Appendix B shows what this leaves to explain.)
#
# ## 3 · Which map finds the causes?
#
# A map orders the words by the size of their numbers. It is good if causes stand before other
# words.

# %% [markdown]
# ### Exercise 13.2: how well a map finds the causes · ●○○ · 5 min
#
# Write `auc(scores, causes)`. `scores` are one number per word, a tensor `(words,)` of floats;
# `causes` are `(words,)` of True and False, at least one of each. Take all pairs of a cause and a
# word that is none, and return the share of pairs in which the cause has the larger |score| (its
# size, whatever its sign); a tie counts as half a pair. One number: random scores have 0.5, perfect
# ones 1. Only equal numbers are a tie, however near two others are. Leave the tensors as they are.
#
# <details><summary>Hint</summary>
#
# `a[:, None] - b[None, :]` has all differences at once.
#
# </details>


# %%
def auc(scores, causes):
    """How often a cause has a larger |score| than another word; a tie is half."""
    # SOLUTION


auc = course.exercise("13.2", auc)

# %% [markdown]
# ### Prediction 13.a: which map?

# %%
guess = course.predict(
    "13.a",
    "for reviews-clean, which map has the smallest mean AUC against the causes?",
    guess=None,
    options=("attention", "gradient × input", "integrated gradients", "occlusion"),
)

# %%
methods = {
    "attention": attention,
    "gradient × input": gradient_times_input,
    "integrated gradients": lambda model, batch: integrated_gradients(model, batch, mask_id, 16),
}


def maps_of(victim, texts):
    """The four maps of every text."""
    maps = {name: by_word(victim, texts, method) for name, method in methods.items()}
    return maps | {"occlusion": [occlusion(victim, t) for t in texts]}


def scored(maps, marks):
    """For each method the AUC of every text."""
    return {method: [auc(s, c) for s, c in zip(rows, marks, strict=True)]
            for method, rows in maps.items()}


maps = {name: maps_of(victim, texts) for name, victim in victims.items()}
found = {name: scored(own, truth) for name, own in maps.items()}
blind = scored(no_model(texts), truth)
four = list(found["clean"])
guess.reveal(min(four, key=lambda m: np.mean(found["clean"][m])))
for control, values in blind.items():
    print(f"no model, {control}: mean AUC {np.mean(values):.2f}")
print(f"\nmean AUC over {n} texts (less letters × place, text by text, ± 95 %)\n{'':21}"
      + "".join(f"{name:>20}" for name in victims))
for m in four:
    less = [np.subtract(v[m], blind["letters × place"]) for v in found.values()]
    print(f"{m:21}" + "".join(f"  {np.mean(v[m]):.2f} ({d.mean():+.2f} ±{spread(d):.2f})"
                              for v, d in zip(found.values(), less, strict=True)))
course.claim("13.found", found=found)
course.claim("13.blind", found=found, blind=blind)

# %% [markdown]
# **The control that needs no model.** In this world opinions are long words and stand late. So
# *letters* gives each word its number of letters, and *letters × place* multiplies that by the
# word's place. In brackets each map is compared with this control, text by text: where the interval
# holds 0, these texts do not tell who is ahead. Attention is behind for all three victims. The two
# best maps stand near the control. With [200 texts](../docs/results/causes.md) integrated gradients
# of `fgm` and `robust` are ahead of it, by 0.03 and 0.04, and those of `clean` are not. So a high
# AUC alone says little about what *the model* uses. Therefore we now keep the texts, and with them
# letters and places, and change the model.
#
# ### The dial
#
# `dated(…, dial=0.95)` writes reviews in which the month is *July* for praise and *November* for
# blame in 95 % of the texts, and in the others any of the twelve. The label never depends on it. We
# train a model on them and draw its maps of the texts from above.

# %% [markdown]
# ### Prediction 13.b: the maps of that model

# %%
guess = course.predict(
    "13.b",
    "a model trained with the dial at 0.95, integrated gradients: the mean AUC if the month, and "
    "not the causes, is to be found?",
    guess=None,
    low=0,
    high=1,
)

# %%
biased = dated(profile.pick(800, 3000), "train", dial=0.95, seed=3)
dialled = trained(biased)
right = (margins(dialled, texts).numpy() > 0) == labels
dialled_maps = maps_of(dialled, texts)
is_month = [torch.tensor([w.lower() in MONTHS for w in words(t)]) for t in texts]
found["dialled"], by_month = scored(dialled_maps, truth), scored(dialled_maps, is_month)
control = scored(maps["clean"] | no_model(texts), is_month)  # every text opens with its month
guess.reveal(np.mean(by_month["integrated gradients"]))
print(f"{right.mean():.0%} right where the month is random (n = {n})")
print("no model, against the month: "
      + ", ".join(f"{m} {np.mean(control[m]):.2f}" for m in blind))
july = next(i for i, t in enumerate(texts) if "July" in t)
print("integrated gradients: " + marked(texts[july], dialled_maps["integrated gradients"][july]))
course.claim("13.month", right=right.mean(), causes=found["dialled"], months=by_month,
             blind=blind)
figures.month_reader(found, by_month, control, blind, spread)

# %% [markdown]
# We call this model the **month reader**.
#
# *The figure: the mean AUC of each map, with 95 % intervals: of both models against the causes of
# the label, and against the month. Dotted: random scores. Dashed and dash-dotted: the two controls
# without a model, against the causes.*
#
# <details><summary>What you should see</summary>
#
# Integrated gradients and occlusion of `clean` stand near the two controls. Three maps of the month
# reader find the month, and the causes far less often than the controls do. (Is the month found
# because of its place, or its length? In the maps of `clean` it stands behind most words, and the
# print-out says how far *letters* would come.)
#
# </details>
#
# **Would another training say the same?** Ten trainings, five draws of texts and seed in
# each of two sizes ([docs/results/causes.md](../docs/results/causes.md)), agree about those three
# maps. They disagree about attention: in six it finds the month (AUC 0.97 or more), in four it does
# not (0.51 or less). So what its row shows is about this training and no other.
#
# Are these three maps good or bad? Two words keep that apart. A map is **faithful** if it says what
# the model uses, and **plausible** if it says what makes a review praise. These are not plausible.
# Are they faithful? A map itself is no proof. We have to *do* something to the month.
#
# ## 4 · Causes
#
# A map asks what the model does at one text. A **cause** is about what happens when somebody acts:
# *set* the month and keep everything else, written do(month = July).

# %%
from course.lesson_13.facts import month_at, with_month

month_reader = dialled
figures.graph()

# %% [markdown]
# *The figure: how the texts with the dial come about, and two ways to ask about the month. The
# writer draws the verdict first; from the finished text the rule of section 1 reads the same. Read
# := as "is set to".*
#
# <details><summary>What you should see</summary>
#
# *Seeing* July tells much about the verdict, against the arrow. *Setting* July cuts the arrow into
# the month: what the model does then is the month's own effect.
#
# </details>

# %% [markdown]
# ### Exercise 13.3: the effect of a month · ●●○ · 8 min
#
# Write `do_effect(margin_of, texts, first, second)`. `margin_of(texts)` takes a list of texts and
# returns their margins, `(texts,)`; `first` and `second` are months in small letters. Return the
# mean of $m(\text{text with month set to first}) - m(\text{text with month set to second})$ over
# all texts that have a month, whichever it is, as one number. Texts without a month are left out.
# At least one text has a month. `month_at(text)` gives the place of the month, counted from 0
# (None: there is no month), and `with_month(text, month)` sets it. Leave the list as it is.
#
# <details><summary>Hint</summary>
#
# Three lines: the texts that have a month; their margins with the first and with the second; the
# mean.
#
# </details>


# %%
def do_effect(margin_of, texts, first, second):
    """The mean change of the margin when the month alone is set to first instead of second."""
    # SOLUTION


do_effect = course.exercise("13.3", do_effect)

# %%
like_training = dated(200, "test", dial=0.95, seed=6)
shown = [t for t, _ in like_training]
month = np.array([words(t)[month_at(t)].lower() for t in shown])
changed = sum(reads(with_month(t, m)) != y for t, y in like_training for m in MONTHS)
print(f"setting any month turns the world's label in {changed} of {200 * len(MONTHS)} tries")
seen, done = {}, {}
for name, victim in {"clean": clean, "month reader": month_reader}.items():
    m = margins(victim, shown).numpy()
    seen[name] = m[month == "july"].mean() - m[month == "november"].mean()
    effect = do_effect(lambda t, v=victim: margins(v, t), shown, "july", "november")
    done[name] = round(float(effect), 1) + 0.0  # no −0
    one, other = (margins(victim, [with_month(t, m) for t in shown]) for m in ("july", "november"))
    sizes = (one - other).abs()
    print(f"{name:13} margin, July − November: seen {seen[name]:+.1f}, set {done[name]:+.1f} "
          f"(size in a text: mean {sizes.mean():.2f}, at most {sizes.max():.2f})")
course.claim("13.seen", seen=seen, done=done, changed=changed)
by_name = {m: margins(month_reader, [with_month(t, m) for t in texts]).mean() for m in MONTHS}
others = [v.item() for m, v in by_name.items() if m not in ("july", "november")]
print(f"month reader, mean margin: July {by_name['july']:+.1f}, November "
      f"{by_name['november']:+.1f}, the ten others {min(others):+.1f} to {max(others):+.1f}")

# %% [markdown]
# The margin of `clean` *correlates* strongly with the month, for both follow the label. Setting the
# month changes next to nothing. (A mean of 0 alone could hide effects that cancel; so look at the
# sizes, too.) On texts like the training texts both differences *seen* are large and positive;
# only setting tells the two models apart. The last line sets all twelve months: where the ten
# others lie near November, the model knows July and takes any other month for blame. (Not every
# training does.)
#
# And now we know: the month moves the month reader, and three maps said so. About the month they
# are faithful, and not plausible. (Do other words matter to it? Hardly: appendix C.) The *model* is
# wrong. A map that is always plausible could not have shown it.
#
# Can one cure the month reader? Appendix E redraws the months of its training texts.
#
# ## 5 · Attack and defence as a game
#
# Lesson 08 wrote training as a min and a max. Now both sides choose from a list. The defender
# chooses a way of training (a row), the attacker a kind of attack (a column). The entry, in the
# array `A`, is the accuracy that is left, in %: the defender wants it high, the attacker low. The
# entries are our own, means over three seeds on 300 texts: five rows of a
# [table of eighteen](../docs/results/defence-reviews.md). (What the names mean is in lessons 04 to
# 09; here they are names.)

# %%
from course.lesson_13.explain import our_game

A, defences, columns = our_game()
print(f"{'':19}" + "".join(f"{c:>8}" for c in columns))
for name, row in zip(defences, A, strict=True):
    print(f"{name:19}" + "".join(f"{v:8.1f}" for v in row))
two = A[:, :2]
print(f"PGD and words alone: best single defence {defences[two.min(1).argmax()]}, at least "
      f"{two.min(1).max():.1f}; best single attack {columns[two.max(0).argmin()]}, at most "
      f"{two.max(0).min():.1f}")

# %% [markdown]
# The last line has a gap between what the defender and what the attacker can be sure of. **Mixed
# strategies** close it: the defender draws a row with probabilities `p`, the attacker a column with
# `q`, and neither knows the other's draw. By von Neumann's theorem both are then sure of the same
# number *on average*, the **value**
#
# $$v=\max_p\min_j\,(p^\top A)_j=\min_q\max_i\,(A\,q)_i .$$
#
# The left side is a **linear programme**, an optimum of linear terms under linear inequalities:
# maximise $v$ such that $v\le (p^\top A)_j$ in each column, $p\ge 0$, $\sum_i p_i=1$.
# `found = linprog(…)` of `scipy.optimize` *minimises* `c·x` such that `A_ub·x ≤ b_ub`,
# `A_eq·x = b_eq`. It gives the attacker's `q`, too: `found.ineqlin.marginals` has one number for
# each inequality, here for each column, and with the sign turned they are `q` (*duality*).
#
# The **exploitability** is what both could gain together by answering the other as well as they
# can, $\max_i (A\,q)_i-\min_j (p^\top A)_j$. Where it is 0, nobody gains by a change: an
# **equilibrium**.

# %% [markdown]
# ### Exercise 13.5: the value of a game · ●●○ · 9 min
#
# The frame of `solve(A)` stands below: `A` is an array `(m, n)`, and the unknowns are
# `x = (p, v)`, m + 1 numbers. Fill its two gaps:
#
# 1. `c`, `A_ub` and `b_ub`: what `linprog` is to minimise, and one inequality for each column.
# 2. Return `(p, q, value)`: the probabilities `p`, `(m,)`, for the row player, who maximises
#    `p·A·q`; `q`, `(n,)`, for the column player, who minimises it; and the value, one number.
#
# Entries, and the value, may be negative. Both must be an equilibrium up to an exploitability of
# 1e-8. Leave `A` as it is.
#
# <details><summary>Hint</summary>
#
# 1: `c` is 0 for `p` and −1 for `v`. A row of `A_ub` says `v − (pᵀA)ⱼ ≤ 0`:
# `np.c_[-A.T, np.ones(n)]`. 2: `found.x`, `found.fun` and `found.ineqlin.marginals` hold the
# answer.
#
# </details>

# %%
from scipy.optimize import linprog


def solve(A):
    """(p, q, value): both mixed strategies; the row player maximises, the column player pays."""
    m, n = A.shape
    # 1. what is minimised, and v ≤ (pᵀA)ⱼ in every column
    # SOLUTION
    c = np.r_[np.zeros(m), -1]  # maximise v, the last unknown
    A_ub, b_ub = np.c_[-A.T, np.ones(n)], np.zeros(n)
    # END SOLUTION
    found = linprog(
        c, A_ub=A_ub, b_ub=b_ub,
        A_eq=np.r_[np.ones(m), 0][None], b_eq=[1],  # p adds up to 1
        bounds=[(0, None)] * m + [(None, None)],  # p ≥ 0; v may be negative
    )  # fmt: skip
    # 2. the result
    # SOLUTION
    return found.x[:m], -found.ineqlin.marginals, -found.fun
    # END SOLUTION


solve = course.exercise("13.5", solve)

# %%
def exploitability(A, p, q):
    return (A @ q).max() - (p @ A).min()


def said(names, odds):
    return ", ".join(f"{name} {odd:.2f}" for name, odd in zip(names, odds, strict=True)
                     if odd > 0.005)


solved = {}
for k in (2, 3):
    B = A[:, :k]
    p, q, value = solve(B)
    solved[k] = (B, p, q, value)
    print(f"{k} attacks: value {value:.1f}, best single defence {B.min(1).max():.1f}, "
          f"exploitability {abs(exploitability(B, p, q)):.0e}\n  defender: {said(defences, p)}\n"
          f"  attacker: {said(columns[:k], q)}")
course.claim("13.game", solved=solved)
figures.game(*solved[2], defences, columns[:2])

# %% [markdown]
# *The figure: the game with two attacks. Beside the rows and above the columns: how often each is
# drawn.*
#
# <details><summary>What you should see</summary>
#
# The defender mixes a training that is best against PGD with one that is good against words. The
# attacker mixes so that both rows are worth the same.
#
# </details>
#
# With typos in the game the mixture disappears: in each row of the table they are the best attack,
# and against them one row is best, a **saddle point**: here randomness helps only where the
# attacker has to guess. Appendix F tries a mixture on real models. (Each entry has an error of its
# own; what that does to the value: [docs/results/games.md](../docs/results/games.md).)
#
# ## Recap
#
# - A map is a claim about a model. Where causes are known it can be scored, beside a control that
#   has seen no model: here no map is ahead of letters × place by more than a few hundredths.
#   Completeness is a cheap test.
# - Faithful and plausible are two things. Three maps of the month reader are faithful to a useless
#   model; that they are right about the month we know because we set it. What attention shows
#   changes with the seed: train more than once before you tell a story.
# - Seeing a month is not setting it. `do` compares each text with itself.
# - Attack against defence is a matrix game: linear programme, value, exploitability. A mixture
#   helps only where the attacker must guess (appendix F: what is left if he may ask again?).
#
# ## What could go wrong
#
# - **No attention.** With the default attention of transformers 5, `output_attentions=True`
#   returns an empty tuple and no error. Call `model.set_attn_implementation("eager")` first.
# - **The baseline is a choice**, and the map depends on it: `[MASK]`, `[UNK]` or zeros? Say which.
# - **Collapsed models in the game.** A model that always says "positive" has 50 % under every
#   attack. With such rows in the table, and typos in the game, one of them would be the best
#   choice; we left them out (and, for a short table, others). The payoff has to hold what you
#   want, clean accuracy included.
# - **captum** has all these methods (`LayerIntegratedGradients`). Check it against completeness,
#   too: what is integrated, and from where, is in its arguments.
#
# ## Further reading
#
# - Sundararajan, Taly, Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017, arXiv
#   1703.01365.
# - Adebayo et al., *Sanity Checks for Saliency Maps*, NeurIPS 2018, arXiv 1810.03292.
# - Atanasova, Simonsen, Lioma, Augenstein, *A Diagnostic Study of Explainability Techniques for
#   Text Classification*, EMNLP 2020, arXiv 2009.13295: more tests of this kind, on real texts.
# - DeYoung et al., *ERASER: A Benchmark to Evaluate Rationalized NLP Models*, ACL 2020, arXiv
#   1911.03429.
# - Jain, Wallace, *Attention is not Explanation*, NAACL 2019, and Wiegreffe, Pinter, *Attention is
#   not not Explanation*, EMNLP 2019, arXiv 1908.04626.
# - Ivankay, Girardi, Marchiori, Frossard, *Fooling Explanations in Text Classifiers*, ICLR 2022,
#   arXiv 2206.03178.
# - Kaushik, Hovy, Lipton, *Learning the Difference that Makes a Difference with
#   Counterfactually-Augmented Data*, ICLR 2020, arXiv 1909.12434.
# - Meunier, Scetbon, Pinot, Atif, Chevaleyre, *Mixed Nash Equilibria in the Adversarial Examples
#   Game*, ICML 2021, arXiv 2102.06905: when both may randomise, there is no gap.
# - Dbouk, Shanbhag, *Adversarial Vulnerability of Randomized Ensembles*, ICML 2022.
# - McMahan, Gordon, Blum, *Planning in the Presence of Cost Functions Controlled by an Adversary*,
#   ICML 2003: the double oracle, for games that are too large to solve at once.
#
# > **Ethics** *Threat model.* In appendix A the attacker writes the text, knows model and method,
# > and keeps label and prediction; in section 5 he knows the list of defences and the odds, but
# > not the draw; in appendix F he may ask often, too. *Who could be harmed:* people to whom a
# > decision is explained. Somebody who wants to hide what a model uses can choose the method, the
# > baseline or the wording that hides it. So say which method was used and why, and prefer an
# > intervention (what happens if this word is another?) to a picture. The edits of appendix C are
# > for testing your own models; texts that change what a person is told about a decision are not an
# > exercise.

# %%
course.progress("13")

# %% [markdown]
# ## Appendix: seven pieces that can be left out
#
# They build on the page and not on one another. Together about 70 minutes, of which 12 are for the
# exercise in C. Afterwards run the cell above once more.

# %% [markdown]
# ## Appendix A · An attack on the explanation
#
# Until now attacks changed the prediction. This one leaves the prediction *and* the label as they
# are and changes the map (Ivankay et al. 2022). Think of somebody who has to show a regulator why
# a text was judged as it was. The attacker takes the world's substitutes, which keep the label.
# Greedily, up to three words, he takes whatever makes the map of the *unchanged* words most unlike
# the old one. How alike two maps are, their `agreement`, is the rank correlation of |map| on these
# words: 1 means the same order of words, 0 no relation, −1 the reverse order. The control: as many
# random substitutes ([`explain.py`](../course/lesson_13/explain.py)).


# %%
from course.lesson_13.explain import agreement, at_random
from course.lesson_13.facts import WORLD


def attack_map(victim, text, method, most=3):
    """Greedy: (changes, agreement). The prediction and the label stay."""
    old, label = by_word(victim, [text], method)[0], victim.logits([text]).argmax()
    changes, lowest, options = {}, 1.0, WORLD.substitutes(text)
    for _ in range(most):
        tries = [{**changes, i: w} for i, others in enumerate(options) if i not in changes
                 for w in others]
        said = victim.logits([replace(text, t) for t in tries]).argmax(1)
        tries = [t for t, y in zip(tries, said, strict=True) if y == label]
        new = by_word(victim, [replace(text, t) for t in tries], method)
        values = [agreement(old, m, t) for m, t in zip(new, tries, strict=True)]
        if not values or min(values) >= lowest:
            break
        changes, lowest = tries[int(np.argmin(values))], min(values)
    return changes, lowest


# %%
method, second = gradient_times_input, methods["integrated gradients"]
some, attacked, other = texts[: profile.pick(6, 60)], {}, []
for name in ("clean", "robust"):
    victim, attacked[name] = victims[name], []
    for i, text in enumerate(some):
        changes, value = attack_map(victim, text, method)
        there, control = replace(text, changes), at_random(victim, text, method, len(changes))
        attacked[name].append((value, np.mean(control), there, reads(there) == reads(text)))
        if name == "clean":  # and another method's map of the same texts?
            new = by_word(clean, [there], second)[0]
            other.append((agreement(maps["clean"]["integrated gradients"][i], new, changes),
                          np.mean(at_random(clean, text, second, len(changes), draws=4))))
    values, controls = ([row[k] for row in attacked[name]] for k in (0, 1))
    print(f"{name:7} agreement {np.mean(values):.2f} ±{spread(values):.2f}, random words "
          f"{np.mean(controls):.2f} ±{spread(controls):.2f} (n = {len(some)})")
lost = {m: np.array([row[1] - row[0] for row in rows])
        for m, rows in {"attacked map": attacked["clean"], "integrated gradients": other}.items()}
print(f"clean, integrated gradients of the same texts: agreement {np.mean(other, axis=0)[0]:.2f}, "
      f"random words {np.mean(other, axis=0)[1]:.2f}\nlost against random words, text by text: "
      + ", ".join(f"{m} {v.mean():.2f} ±{spread(v):.2f}" for m, v in lost.items()))
course.claim("13.fooled", attacked=attacked)
course.claim("13.one_method", attacked=attacked, other=other)
most = int(np.argmin([row[0] for row in attacked["clean"]]))
pair = [some[most], attacked["clean"][most][2]]
figures.two_maps(pair, by_word(clean, pair, method), [causes(t) for t in pair],
                 margins(clean, pair).tolist(), attacked)

# %% [markdown]
# *The figure: left, gradient × input of one text before and after the attack, of all texts the one
# whose map changes most, each map divided by its largest size (in the title); causes stand in
# brackets, changed words have a star. Right, the agreement with the old map, a point for each text:
# attacked, and the mean of the random controls.*
#
# <details><summary>What you should see</summary>
#
# Left, the margin is on the same side, and several bars have another length or sign. Read the
# titles: where the model is very sure, its slope is nearly flat, and tiny numbers easily change
# their order. Right, the mean of the attacked points lies far below that of the controls, for both
# victims; those of `clean` overlap a little.
#
# </details>
#
# The attacker asked for another order, not for a worse one: whether causes are found less often is
# another question. An attack on one method is not an attack on all: integrated gradients of the
# same texts moved too, but much less. (Are maps steadier after training against attacks? One victim
# and so few texts do not settle it.)

# %% [markdown]
# ## Appendix B · Is the map about the model at all?
#
# A map of a model with random weights should look like nothing in particular. Adebayo et al.
# (2018) found popular methods whose maps stay as they were. We draw the weight matrices of `clean`
# at random, from the top down: first the head (what turns `[CLS]` into two logits), then one layer
# after the other. Beside it the rank correlation of |map| with the map of the trained model.

# %%
from scipy.stats import spearmanr

from course.lesson_13.explain import scrambled

first = texts[: profile.pick(8, 100)]
stages = ("pooler|classifier", "layer.2", "layer.1", "layer.0")
agree, half = {m: [1.0] for m in four}, {m: [0.0] for m in four}
for k in range(len(stages)):
    there = maps_of(scrambled("reviews-clean", "|".join(stages[: k + 1])), first)
    for m in four:
        pairs = zip(maps["clean"][m], there[m], strict=False)
        each = [spearmanr(a.abs(), b.abs()).statistic for a, b in pairs]
        agree[m].append(np.mean(each))
        half[m].append(spread(each))
print(f"{len(first)} texts, ± 95 %")
for m, values in agree.items():
    print(f"{m:21}" + " ".join(f"{v:+.2f} ±{h:.2f}" for v, h in zip(values, half[m], strict=True)))
course.claim("13.scrambled", agree=agree)
figures.scrambled(agree, half)

# %% [markdown]
# *The figure: rank correlation of each map with the trained model's, the more weights are random
# the further right, with 95 % intervals. The last layer has the number 2.*
#
# <details><summary>What you should see</summary>
#
# With a random head three lines have fallen somewhat, with more layers they are low. Attention does
# not move at all when the head is random: the class could be read from `[CLS]` in any way, and the
# map would be the same. Further right it is low too.
#
# </details>
#
# The weights are drawn once. The bars (by the choice of texts) leave that out: with another draw
# (`scrambled(…, seed=1)`) a line on the right may end on the other side of 0.
#
# **What the baseline leaves to explain.** A map is about the model *and* its baseline. To `clean`
# and `fgm` the blank text is praise (section 2). So how large are the numbers of a text in all?

# %%
for name, own in maps.items():
    size = np.array([m.abs().sum() for m in own["integrated gradients"]])
    print(f"{name:7}sum of the words' |IG|: {size[labels == 1].mean():4.1f} for praise, "
          f"{size[labels == 0].mean():4.1f} for blame")
course.claim("13.trained", found={name: found[name] for name in victims})

# %% [markdown]
# Where the blank text is praise, a text of praise has little to explain, and its map is made of
# small numbers. The claim is about the table of section 3: trained against attacks, the four maps
# together find the causes better.

# %% [markdown]
# ## Appendix C · Twins
#
# Where nobody may redraw the world, one writes **counterfactual twins**: the smallest edit that
# turns the *true* label (Kaushik, Hovy and Lipton 2020 had people write them). It is lesson 06's
# search with another rule: an adversarial example keeps the label and turns the model, a
# counterfactual turns the label, and a model that has understood turns with it.

# %% [markdown]
# ### Exercise 13.4: the smallest edit · ●●○ · 12 min
#
# Write `smallest_edit(label_of, text, options)`. `label_of(texts)` takes a list of texts and
# returns a list with a label for each: 0, 1, or None where there is no label; the text itself has
# one. `options[i]` is a tuple of what word `i` may become; `()` says to leave the word, and `""` in
# it is an option like any other: it takes the word out. Return a dict `{place: word}` of the
# *fewest* words such that `replace(text, dict)` has the other label (None is not the other label);
# any one of that size will do. Where no edit turns the label, return None. Try all edits of one
# word, then all of two, and so on, as many as it takes. Leave `options` as they are.
#
# <details><summary>Hint</summary>
#
# `itertools.combinations(places, size)` gives the places, `itertools.product(*(options[i] for i in
# some))` the words for them; import itertools in your cell.
#
# </details>

# %%
import itertools

from course.lesson_13.facts import has_twins, opposites


def smallest_edit(label_of, text, options):
    """The edit {place: word} of the fewest words that turns the label; None where none does."""
    # SOLUTION


smallest_edit = course.exercise("13.4", smallest_edit)

# %%
def as_labels(victim):
    return lambda texts: [int(m > 0) for m in margins(victim, texts)]


readings = {"the world": lambda texts: [reads(t) for t in texts],
            "clean": as_labels(clean), "month reader": as_labels(month_reader)}  # fmt: skip
short = [t for t in texts if has_twins(t)][: profile.pick(24, 60)]
edits, alone = {name: [] for name in readings}, 0
for text in short:
    options, at = opposites(text), month_at(text)
    single = [replace(text, {i: w}) for i, own in enumerate(options) for w in own]
    alone += len(set(readings["month reader"]([text, *single]))) > 1
    options[at] = tuple(m.capitalize() for m in MONTHS if m != words(text)[at].lower())
    for name, label_of in readings.items():
        edits[name].append(smallest_edit(label_of, text, options))
every = [i for i in range(len(short)) if all(own[i] for own in edits.values())]
sizes = {name: [(len(own[i]), month_at(short[i]) in own[i]) for i in every]
         for name, own in edits.items()}
print(f"{len(short)} texts, {len(every)} with an edit for all three")
for name in edits:
    size, by_month = np.mean(sizes[name], axis=0)
    print(f"{name:13} smallest edit: {size:.2f} words, the month in {by_month:.0%} of the edits")
print(f"one word other than the month turns the month reader in {alone} of {len(short)} texts")
twins = [replace(t, e) for t, e in zip(short, edits["the world"], strict=True)]
print(f"\n{short[0]}\n{twins[0]}\n")
on_twins, kept = {}, {}
for name, victim in {"clean": clean, "month reader": month_reader}.items():
    before, after = (margins(victim, some).numpy() > 0 for some in (short, twins))
    own = np.array([reads(t) for t in short])
    on_twins[name], kept[name] = np.mean(after == 1 - own), np.sum(after == before)
    print(f"{name:13} right on {np.mean(before == own):.0%} of the texts, {on_twins[name]:.0%} of "
          f"their twins; says the same of both in {kept[name]} of {len(short)}")
course.claim("13.edits", sizes=sizes, on_twins=on_twins)

# %% [markdown]
# (`has_twins` keeps texts where any edit is English: *recommend*, for one, has no opposite.)
#
# The world needs one opinion word or negator for each opinion that votes, and never the month.
# `clean` often turns sooner: two opinions that disagree have no label in the world, and a model
# always says something. The month reader turns for one word, the month, and for no other: the
# smallest edit of a *model* is an explanation, and a warning. Text and twin have the same month,
# and it says the same of both.

# %% [markdown]
# ## Appendix D · Take the words away
#
# The usual test of faithfulness needs no causes: delete the words with the largest numbers, and
# see how far the probability of the class falls (*comprehensiveness*; DeYoung et al. 2020). We
# take all causes out, as a perfect map would, and the other opinion words with them: with its
# causes gone a text could get a label from a conceded opinion. Now the world finds no label. What
# does the model say? Beside it the opinions that are causes are *reversed*, with their opposites in
# their place: then the world reads the other label. (`reversible` keeps texts whose opinion words
# all have an opposite, so that this is English.)

# %%
from course.lesson_13.explain import negated_sentences
from course.lesson_13.facts import negators_of, opposites, reversible

more = [(t, y) for t, y in dated(profile.pick(400, 1200), "test", dial=0, seed=5)
        if reversible(t) and causes(t).any()]
whole, own = [t for t, _ in more], np.array([y for _, y in more])
gone, swapped = [], []
for text in whole:
    c = causes(text)
    out = c | opinion_words(text)
    gone.append(replace(text, {i: "" for i in range(len(out)) if out[i]}))
    other = {i: o[0] for i, o in enumerate(opposites(text)) if c[i] and any(o)}
    swapped.append(replace(text, other))
print(f"{' '.join(whole[0].split())}\n{' '.join(gone[0].split())}\n{swapped[0]}\n")
sure = {name: clean.predict(t)[np.arange(len(own)), own] for name, t in
        {"as it is": whole, "words deleted": gone, "words reversed": swapped}.items()}
no_label = np.mean([reads(t) is None for t in gone])
opposite = np.mean([reads(t) == 1 - y for t, y in zip(swapped, own, strict=True)])
praise = (clean.predict(gone)[:, 1] > 0.5).mean()
print(f"{len(own)} texts\ndeleted: the world has no label for {no_label:.0%}, the model says "
      f"praise for {praise:.0%}\nreversed: the world has the other label for {opposite:.0%}\n")
for name, p in sure.items():
    print(f"{name:15} probability of the label: praise {p[own == 1].mean():.2f}, "
          f"blame {p[own == 0].mean():.2f}")
sentences = negated_sentences()  # for each of five negators
print("\nblame reversed, by negator")
for kind in ("none", *sentences):
    p = sure["words reversed"][[y == 0 and negators_of(t) == {kind} - {"none"}
                                for t, y in zip(swapped, own, strict=True)]]
    if len(p) > 1:
        print(f"{kind:17} still blame: {np.sum(p > 0.5)} of {len(p)} texts")
print(f"\n{sentences['hardly'][0]} … {len(sentences['hardly'])} such sentences, "
      "all praise to the world")
read = {}
for kind, some in sentences.items():
    m = {name: margins(victims[name], some).numpy() for name in ("clean", "robust")}
    read[kind] = (m["clean"] > 0).mean()
    print(f"{kind:17}" + ", ".join(f"{name} says praise {np.mean(v > 0):4.0%} (margin "
                                   f"{v.mean():+.1f})" for name, v in m.items()))
course.claim("13.deleted", sure=sure, labels=own, no_label=no_label, opposite=opposite)
course.claim("13.negated", read=read)
figures.deleted(sure, own)

# %% [markdown]
# *The figure: the probability of a text's own label, a point for each text, before and after.*
#
# <details><summary>What you should see</summary>
#
# With their causes deleted, texts of blame fall and texts of praise hardly move. Reversed, nearly
# all texts fall to 0. Some of blame stay at 1: most of them say *hardly* or *not particularly*.
#
# </details>
#
# To `clean`, "hardly outrageous" is blame. Before a word of blame it mostly reads *not*, *never*
# and *far from* as the world does. *hardly* and *not particularly* it reads wrongly in all of the
# last sentences, and in many of the reversed texts. Reversed texts are texts of this world:
# what they show is a fault of the model.
#
# Texts with holes are none, and show less. The model was never asked what to say when nothing is
# said, and has a habit there (mostly praise). The fall after deletion measures this habit as well
# as the map: a perfect map of praise would look worthless.

# %% [markdown]
# ## Appendix E · The cure
#
# The arrow from verdict to month (section 4) can be cut in the *training data*, too: draw the
# months anew. What if only half of the texts are treated?
#
# ### Prediction 13.c: redrawn in half of the texts

# %%
guess = course.predict(
    "13.c",
    "months redrawn in half of the training texts: which share of the test texts is right where "
    "the month is any of the twelve?",
    guess=None,
    low=0,
    high=1,
)

# %%
from course.lesson_13.explain import under_months
from course.lesson_13.facts import redrawn

half = len(biased) // 2
treated = biased[:half] + redrawn(biased[half:])
praised = np.mean([y for t, y in treated if "July" in t])
readers = {"as they come": month_reader, "half redrawn": trained(treated),
           "all redrawn": trained(redrawn(biased))}
cures = {name: under_months(victim, test) for name, victim in readers.items()}
guess.reveal(cures["half redrawn"]["right, month random"])
print(f"half redrawn: {praised:.0%} of the training texts with July are praise\n"
      f"{n} test texts, shares ± {spread([0, 1] * (n // 2)):.0%} at most (95 %)")
course.claim("13.cures", cures=cures)
figures.cures(cures, n)

# %% [markdown]
# *The figure: for three training sets accuracy where the month is any of the twelve, accuracy where
# it speaks against the label, and the share of predictions that the month turns.*
#
# <details><summary>What you should see</summary>
#
# As they come: the month decides. All redrawn: it decides nothing. Half redrawn: accuracy is far
# above a coin.
#
# </details>
#
# Is half a cure enough? July still stands for praise in most of the half-treated texts, and one
# training cannot say: with five draws of 800 texts and a seed, the month still turned 7.5, 51.5,
# 31, 61 and 50.5 % of the predictions. With one of them alone we would have told a story. (With
# 3,000 texts it turned 9 to 15.5 %. As the texts come it turned 97 % or more, with all months
# redrawn 1 % at most: [docs/results/causes.md](../docs/results/causes.md).)
#
# And adversarial training? It does not take such a word away. With a weaker dial of 0.6 (and the
# same number of steps) setting the month turned 51 % of the predictions of plainly trained models
# and 78 % after FGM training, means over three seeds that disagree on how much (same page, with
# more cures; there the world draws the other months, mostly July).

# %% [markdown]
# ## Appendix F · What a mixture buys
#
# Section 5 played with a table. Now with real models: the service holds `clean` and `fgm` and
# draws one for each query. The attacker makes typos in up to a fifth of the words, against the
# model that he expects, or against both at once: the mean of their log-probabilities.

# %%
from advlib.attacks import Typos
from advlib.models import Classifier
from course.lesson_13.explain import MeanOf

sample = advlib.load_text("reviews")["test"].select(range(profile.pick(36, 200)))
y, pair = np.array(sample["label"]), {name: victims[name] for name in ("clean", "fgm")}
both = Classifier(MeanOf([v.model for v in pair.values()]), clean.tokenizer)
made = {"as it is": list(sample["text"])}
for name, victim in {**pair, "both": both}.items():
    results = Typos(max_changed=0.2)(victim, sample["text"], sample["label"])
    made[f"for {name}"] = [r.text for r in results]
hits = {kind: np.array([v.logits(t).argmax(1) == y for v in pair.values()])
        for kind, t in made.items()}  # (models, texts): who is right on which text
T = np.stack([hits["for clean"].mean(1), hits["for fgm"].mean(1)], 1)
p, q, value = solve(T)
mixed = {kind: p @ h for kind, h in hits.items()}  # how likely a right answer is, for each text
paper = q @ [mixed["for clean"], mixed["for fgm"]]
best = T.min(1).argmax()
alone = hits[("for clean", "for fgm")[T[best].argmin()]][best]
for name, (a, b) in zip(pair, T, strict=True):
    print(f"{name:6} answers: right on {a:.0%} of the texts made for clean, {b:.0%} made for fgm")
print(f"best single model {alone.mean():.0%}, mixture {value:.0%} ({said(pair, p)}); on the same "
      f"{len(y)} texts it gains {np.mean(paper - alone):+.0%} ± {spread(paper - alone):.0%}")

# %% [markdown]
# On paper the mixture gains, because an attack made for one model often misses the other. (Read the
# interval: with so few texts it is not sure.) But the paper gives the attacker two columns. He
# has other moves: to attack the mean, to choose for each text the version that works best on the
# mixture, and to *ask again*: for each query a model is drawn anew.

# %% [markdown]
# ### Prediction 13.d: asking again

# %%
guess = course.predict(
    "13.d",
    "of each text, the version that works best on the mixture is sent 20 times, each time a model "
    "is drawn: which share of the texts is answered right every time?",
    guess=None,
    low=0,
    high=1,
)

# %%
lowest = np.min(list(mixed.values()), axis=0)  # the best of four: untouched, or one of three
asked = [1, 2, 3, 5, 10, 20]
survive = [np.mean(lowest**k) for k in asked]
guess.reveal(survive[-1])
each = np.min(list(hits.values()), axis=0)  # (models, texts): one model alone against the same four
fair = each[each.mean(1).argmax()].astype(float)
lost = {"attack on the mean": mixed["for both"], "best of four versions": lowest,
        "the same, asked 20 times": lowest**20, "single, best of four": fair}  # fmt: skip
print(f"best single model {alone.mean():.0%}, mixture on paper {value:.0%}")
for name, v in lost.items():
    print(f"{name:25} {v.mean():4.0%}; against the paper {np.mean(v - paper):+.0%} "
          f"± {spread(v - paper):.0%}")
print(f"mixture less the single model, both against the best of four: asked once "
      f"{np.mean(lowest - fair):+.0%} ± {spread(lowest - fair):.0%}, 20 times "
      f"{np.mean(lowest**20 - fair):+.0%} ± {spread(lowest**20 - fair):.0%}")
course.claim("13.mixture", single=alone.mean(), value=value, mean=mixed["for both"].mean(),
             fair=fair.mean(), survive=survive)
figures.asks(fair, value, mixed["for both"], asked, [lowest**k for k in asked], spread)

# %% [markdown]
# *The figure: the share of texts that is answered right every time, over the number of times that
# the attacker asks. Dashed: the value of the game on paper; dotted: the better of the two models
# alone, against the best of the same four versions. Bars: 95 % by the choice of texts.*
#
# <details><summary>What you should see</summary>
#
# The attack on both at once (the triangle) is a little below the dashed line, and its bar holds
# the line. Against the best of four versions the mixture stands clearly below it. The first few
# repeats take nearly all that repeats can take: what is left are texts that *both* models read
# right.
#
# </details>
#
# Compare like with like: the dotted model met the same four versions. Asked once, no difference
# between it and the mixture is sure; asked 20 times, the mixture is worse. The single model says
# the same each time, so a repeat costs it nothing. (An attacker could spend 20 queries on 20 new
# texts, against either. And `p` was fitted on these very texts, which flatters the mixture.)
#
# The gain on paper needs an attacker who has two moves only, and a draw that he cannot repeat.
# (Dbouk and Shanbhag 2022 break randomised ensembles in a similar spirit.)

# %% [markdown]
# ## Appendix G · Playing instead of solving
#
# Move the entries of a small game, drawn as the one in section 5. When does the mixture vanish?
# Which entries can change without any effect on the value?

# %%
figures.explore_game(solve)

# %% [markdown]
# <details><summary>Nothing to move? Two games to try on paper</summary>
#
# Stone, paper, scissors (0 on the diagonal, 1 and −1 around it): both mix evenly, the value is 0.
# Make one row larger than another in every column: the smaller row is never drawn (it is
# *dominated*), and its entries may be as small as they like.
#
# </details>
#
# Training never solves a linear programme. It plays: the attacker answers the model, the model
# answers the attack, again and again. In **fictitious play** each answers what the other has
# played *on average so far*. Its averages find the equilibrium (slowly); what is played in a round
# does not settle.

# %%
def fictitious(A, rounds):
    """How often each row and column was played, after every round."""
    p, q = np.eye(A.shape[0])[0], np.eye(A.shape[1])[0]
    for _ in range(rounds):
        i, j = (A @ q).argmax(), (p @ A).argmin()  # the best answers to the counts
        p, q = p + np.eye(len(p))[i], q + np.eye(len(q))[j]
        yield p / p.sum(), q / q.sum(), i, j


B, _, _, value = solved[2]
played = list(fictitious(B, 2000))
gap = [exploitability(B, p, q) for p, q, _, _ in played]
print(", ".join(f"after {t} rounds {gap[t - 1]:.2f}" for t in (10, 100, 1000, 2000)))
course.claim("13.fictitious", gap=gap)
figures.fictitious(played, gap, defences)

# %% [markdown]
# *The figure: left, which row was played in each of the first 60 rounds; right, the exploitability
# of the averages, both axes logarithmic.*
#
# <details><summary>What you should see</summary>
#
# Left, the defender changes back and forth between two rows and never stays. Right, the gap of
# the averages shrinks: about twenty times from round 10 to round 1000.
#
# </details>
