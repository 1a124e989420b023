# %% [markdown]
# # 02 · Text has no gradient
#
# {{BADGE}}
#
# **You will**
#
# - follow a sentence from words to ids, one-hot rows and embeddings, and see which of them have a
#   gradient;
# - compute the gradient that every attack of this course stands on;
# - measure how far words lie apart, and so what an `eps` of 0.3 can and cannot do;
# - see what goes wrong without masks for padding and special tokens;
# - find twelve mistakes in a data-set class by small experiments, and write the version without
#   them.
#
# **Time** {{TIME}} About 80 minutes for you.
#
# **Before** Lesson 01, sections 1 to 5; PyTorch tensors and a first training loop.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · From words to numbers
#
# In lesson 01 an attacker pushed points in a plane: `x + delta`. What is `x + delta` when `x` is
# a sentence? Let us see what a model makes of one.

# %%
import torch

from course.lesson_02 import figures

victim = advlib.load_classifier(
    profile.pick(
        smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"
    )
)
model, tokenizer = victim.model, victim.tokenizer
layer = model.get_input_embeddings()  # the embedding table, an nn.Embedding
table = layer.weight.detach().cpu()  # (vocabulary, hidden)

text = "The waiter was friendly, and the soup was delicious."
ids = victim.encode([text])["input_ids"][0].cpu()
tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
print("the model knows", len(table), "tokens; each has a row of", table.shape[1], "numbers")
for token, i in zip(tokens, ids.tolist(), strict=True):
    print(f"{i:6}  {token:12} {'  '.join(f'{v:+.2f}' for v in table[i, :5])} …")

# %% [markdown]
# Four steps, and a name for each:
#
# 1. The **tokenizer** cuts the sentence into tokens: words, pieces of rare words, punctuation. In
#    front it puts `[CLS]`, at the end `[SEP]`; these are **special tokens**, nobody wrote them.
# 2. Every token has an **id**, its place in the vocabulary.
# 3. An id stands for a **one-hot row**: as long as the vocabulary, 1 in one place, 0 elsewhere.
# 4. The **embedding** of the token is that row times the table, which just picks a row of the
#    table:
#
# $$e = \text{onehot}(\text{id})\; E, \qquad E: (\text{vocabulary},\ \text{hidden}).$$

# %%
one_hot = torch.nn.functional.one_hot(ids, len(table)).float()  # (tokens, vocabulary)
print("one-hot rows", tuple(one_hot.shape), "x table", tuple(table.shape), end=" ")
print("= embeddings", tuple((one_hot @ table).shape))
course.claim("02.rows", product=one_hot @ table, picked=table[ids])
figures.rows(ids, tokens, table)

# %% [markdown]
# *The figure: one sentence, a token per line. Left: the single place in the vocabulary where its
# one-hot row is 1. Right: the beginning of its embedding row, blue above zero and red below.*
#
# Only the left side is text. The right side is a matrix of real numbers, and the rest of the
# network never sees anything else.
#
# ## 2 · Why `id + 0.01` is nonsense
#
# An id is a number in the way that a locker has a number. Locker 917 is next to locker 916, and
# that says nothing about what is inside. Which words are neighbours depends on how somebody sorted
# the list: by the alphabet, or by how frequent a word was.

# %%
for word in ("good", "soup", "friendly"):
    i = tokenizer.convert_tokens_to_ids(word)
    around = tokenizer.convert_ids_to_tokens([i - 2, i - 1, i, i + 1, i + 2])
    print(f"ids {i - 2} to {i + 2}:".ljust(24), "  ".join(around))

# %% [markdown]
# Is the step from an id to the next one at least a *small* step where it counts, in the embedding?
# We measure in units of `unit`, the mean length of a row of the table, here and from now on.


# %%
def step_length(other):
    """The mean distance between the rows of some words and those of the ids `other`, in units."""
    return ((table[other] - table[some]).norm(dim=1).mean() / unit).item()


unit = table.norm(dim=1).mean()  # the mean length of a row
words = torch.tensor([
    i for token, i in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    if token.isascii() and token.isalpha() and len(token) > 2
])
some = words[:-1]
shuffled = words[torch.randperm(len(words), generator=torch.Generator().manual_seed(0))][:-1]
print(f"{len(words)} ordinary words")
print(f"from a word to the next in the list  {step_length(words[1:]):.3f}")
print(f"from a word to a random other word   {step_length(shuffled):.3f}")
course.claim("02.next-id", following=step_length(words[1:]), anywhere=step_length(shuffled))

# %% [markdown]
# One step in the list is about as far as a jump to anywhere. PyTorch knows that ids are not
# quantities, and says so at every door:

# %%
from textwrap import shorten

plain = torch.nn.Embedding.from_pretrained(table)
refused = {}
for what, action in {
    "a gradient for the ids": lambda: ids.clone().requires_grad_(),
    "the embedding of id + 0.01": lambda: plain(ids + 0.01),
}.items():
    try:
        action()
    except (RuntimeError, TypeError) as error:
        refused[what] = shorten(str(error).splitlines()[0], 92, placeholder=" …")
    print(f"{what}:\n    {refused.get(what, 'no error')}")
course.claim("02.refused", refused=refused)

# %% [markdown]
# ### Prediction 02.a: tiny noise on ids
#
# And if we insist? `(ids + noise).long()` turns everything into ids again, and runs without any
# complaint. The noise is tiny: a standard deviation of 0.01, where neighbouring ids are 1 apart.

# %%
guess = course.predict(
    "02.a",
    "ids + 0.01 * randn, then .long(): which share of the words is now another word?",
    guess=None,
    low=0,
    high=1,
)

# %%
tiny = 0.01 * torch.randn(words.shape, generator=torch.Generator().manual_seed(1))
cast = (words + tiny).long()
changed = (cast != words).double().mean().item()
guess.reveal(changed)

# %%
rounded = ((words + tiny).round() != words).double().mean().item()
upwards = (cast > words).sum().item()
print(f"with .round() in place of .long(): {rounded}; ids that became larger: {upwards}")
course.claim("02.long", changed=changed, rounded=rounded, upwards=upwards)

# %% [markdown]
# `.long()` cuts off the fraction: 916.995 becomes 916, and a push of minus one two-hundredth is a
# new word. Half of all words turn into their left-hand neighbour, none into the right-hand one.
# Rounding instead changes nothing at all. There is no noise "of size 0.01" on ids: there is
# either nothing, or another word.
#
# And the gradient? What comes out of `.long()` has forgotten where it came from:

# %%
x = ids.float().requires_grad_()
print("after .clamp():", x.clamp(0, 100).grad_fn is not None)
print("after .long(): ", x.long().grad_fn is not None)
course.claim("02.integers", after=x.long().grad_fn)

# %% [markdown]
# ## 3 · Where the gradient lives
#
# Between the table and the rest of the network the sentence is a matrix of real numbers, and there
# `x + delta` means something:
#
# $$\text{ids} \;\longrightarrow\; e = E[\text{ids}] \;\longrightarrow\; e + \delta
# \;\longrightarrow\; \text{logits} \;\longrightarrow\; \text{loss}.$$

# %%
figures.one_pass()

# %% [markdown]
# *The figure: the way of a text through the model (black arrows), and the way that the gradient
# takes back (green, dashed).*
#
# `delta` has the shape `(batch, tokens, hidden)`: a push of its own for every token of every
# text. Miyato et al. attacked text classifiers at this place in 2016, and most embedding attacks
# have done so since. The library has this pass:

# %%
from advlib.attacks.embedding import perturbed_logits, zero_delta

reviews = advlib.load_text(
    profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
    train_size=512,
    test_size=64,
)
train, test = reviews["train"], reviews["test"]
batch = victim.encode(test["text"], test["label"])
delta = zero_delta(model, batch)
for name, value in {**batch, "delta": delta}.items():
    print(f"{name:20} {tuple(value.shape)}  {value.dtype}")

# %% [markdown]
# `perturbed_logits(model, batch, delta)` runs the model on the batch and returns the logits, with
# `delta` added to whatever comes out of `model.get_input_embeddings()`; `None` as `delta` adds
# nothing. It does so with a *forward hook*: a function that PyTorch calls with the output of a
# layer, and whose result takes the place of that output. BERT and its relatives offer another way,
# which computes the same: pass the embeddings yourself, as `inputs_embeds`. We do not use it
# because some models need the ids as well: a GPT with a classifier on top searches them for the
# last token that is not padding, and takes the wrong one when it does not get them.

# %%
from torch.nn.functional import cross_entropy

first = {name: value[:4] for name, value in batch.items()}
shape = zero_delta(model, first).shape
bump = 0.05 * torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(victim.device)
with torch.no_grad():
    hooked = perturbed_logits(model, first, bump)
    embeds = layer(first["input_ids"]) + bump
    direct = model(inputs_embeds=embeds, attention_mask=first["attention_mask"]).logits
    still = perturbed_logits(model, first, None)
print(f"largest difference between the two ways {(hooked - direct).abs().max():.0e}")
print(f"largest change that this delta makes    {(hooked - still).abs().max():.0e}")
course.claim("02.two-ways", hooked=hooked, direct=direct)

# %% [markdown]
# **The gradient alone.** `loss.backward()` computes the gradient of *everything* and leaves it in
# the `.grad` field of every parameter, where the next optimizer step will find it.
# `torch.autograd.grad(loss, x)` computes the one that you ask for, and hands it over:

# %% tags=["nbval-check-output"]
x = torch.tensor([1.0, 2.0])
weight = torch.tensor([3.0, 4.0], requires_grad=True)
probe = x.detach().requires_grad_()  # the same numbers, with a flag of its own
(grad,) = torch.autograd.grad((weight * probe**2).sum(), probe)
print("gradient", grad.tolist(), "weight.grad", weight.grad, "x.requires_grad", x.requires_grad)

# %% [markdown]
# **Sum, not mean.** A loss for training is a mean over the batch. An attacker looks at one text at
# a time, and the texts of a batch do not know of each other: the gradient of a *sum* of losses
# holds, for each text, exactly the gradient of its own loss. With a mean it would be divided by
# the batch size, and the same text would get another gradient in another batch.

# %% [markdown]
# ### Exercise 02.1: the gradient on the embeddings · ●●○ · 10 min
#
# Write `embedding_gradient(model, batch, delta)`: the gradient, with respect to `delta`, of the
# **sum** of the cross-entropies of the batch, at **this** `delta`. `batch` is as above (with
# `labels`); the result has the shape and the type of `delta`, `(batch, tokens, hidden)`, and its
# `requires_grad` is `False`.
#
# Leave everything as it was: `delta` (its values, its `requires_grad`, its `grad`), every
# parameter's `.grad` and `requires_grad`, and the mode of the model (training or evaluation; that
# is the caller's business). No mask and no normalisation here: the bare gradient, on all
# positions.
#
# <details><summary>Hint</summary>
#
# The last cell has the pattern, with `probe` where `delta` comes in. `cross_entropy` takes bare
# logits and has a `reduction`; `torch.autograd.grad` returns a tuple.
#
# </details>


# %%
def embedding_gradient(model, batch, delta):
    """d(sum of cross-entropies)/d(delta) at this delta: (batch, tokens, hidden), detached."""
    # SOLUTION


embedding_gradient = course.exercise("02.1", embedding_gradient)

# %%
grad = embedding_gradient(model, batch, delta)
single = victim.encode([test["text"][0]], [test["label"][0]])
own = embedding_gradient(model, single, zero_delta(model, single))[0]
apart = (grad[0, : len(own)] - own).norm() / own.norm()
print(f"the gradient of text 0, in a batch of {len(grad)} and alone: {apart:.0e} apart")
course.claim("02.sum", apart=apart)

# %% [markdown]
# Does it point upwards? Two small steps of the same length, in every text: one along its gradient,
# one in a random direction.


# %%
def of_length(size, direction):
    """For each text its direction (batch, tokens, hidden), stretched to the length `size`."""
    return size * direction / direction.flatten(1).norm(dim=1)[:, None, None].clamp_min(1e-12)


def mean_loss(model, batch, delta):
    """The mean cross-entropy of the batch with delta on its embeddings."""
    with torch.no_grad():
        return cross_entropy(perturbed_logits(model, batch, delta), batch["labels"]).item()


aimless = torch.randn(grad.shape, generator=torch.Generator().manual_seed(3)).to(grad.device)
radius = 0.1 * unit.item()  # a tenth of the mean length of a row
start = mean_loss(model, batch, delta)
uphill = mean_loss(model, batch, of_length(radius, grad))
sideways = mean_loss(model, batch, of_length(radius, aimless))
print(f"no step {start:.5f}, random step {sideways:.5f}, along the gradient {uphill:.5f}")
course.claim("02.uphill", start=start, sideways=sideways, uphill=uphill)

# %%
label = 1  # positive
one = victim.encode([text], [label])
lengths = embedding_gradient(model, one, zero_delta(model, one))[0].norm(dim=1).cpu()
unwritten = one["special_tokens_mask"][0].bool().cpu()
figures.lengths(tokens, lengths, unwritten)

# %% [markdown]
# *The figure: how long the gradient is on each token of our sentence; special tokens are grey and
# hatched. The gradient on a token is a vector with as many numbers as an embedding, and also says
# in which direction.*
#
# <details><summary>What you should see</summary>
#
# A tall bar is a token that the model would react to if its embedding moved a little: one word, or
# a few, stand out.
#
# </details>
#
# The gradient knows nothing of words, though: a direction in which no word lies is as good to it as
# any other. (With respect to the one-hot row it is `grad @ table.T`: one number per word of the
# vocabulary, a guess of what putting *that* word here would do to the loss. This is HotFlip, and
# you will build it in lesson 06.)
#
# ## 4 · What ε means
#
# `eps` is in units of `unit`, too: `eps = 0.3` says "delta is at most 0.3 times as long as a
# typical embedding". That is how the library reads it, so that one number means the same for
# models of any size. In code, the length itself is `radius = eps * unit`. But is 0.3 much? Compare
# it with the way from a word to the nearest other word.

# %% [markdown]
# ### Exercise 02.2: the nearest other word · ●○○ · 7 min
#
# Write `nearest_other(table, ids)`. `table` is `(vocabulary, hidden)`, `ids` is `(m,)`. Return two
# tensors of shape `(m,)`, `(distances, neighbours)`: for each id the Euclidean distance from its
# row to the nearest row of the **whole** table with **another id**, and that id. Two ids may have
# equal rows; their distance is then 0, and it counts. Where two are equally near, either will do.
#
# `torch.cdist(a, b)` gives the distances of all rows of `a` from all rows of `b`. Do not form the
# differences themselves, `(m, vocabulary, hidden)`: for a vocabulary of 30,000 words, m = 1,000 and
# 768 coordinates that would be 92 GB. (This is not checked.)
#
# <details><summary>Hint</summary>
#
# Each word's nearest row is its own, at distance 0. Make that one entry of the distances,
# number `ids[k]` in row `k`, infinitely large before you look for the minimum.
# `distances.min(dim=1)` returns values and places.
#
# </details>


# %%
def nearest_other(table, ids):
    """For each id: the distance to the nearest other row of the table, and the id of that row."""
    # SOLUTION


nearest_other = course.exercise("02.2", nearest_other)

# %% [markdown]
# ### Prediction 02.b: words within reach
#
# Now for ordinary words: letters only, three or more. With a large vocabulary we take a random
# thousand of them.

# %%
guess = course.predict(
    "02.b",
    "eps = 0.3: which share of the words has another word within that distance?",
    guess=None,
    low=0,
    high=1,
)

# %%
asked = words[torch.randperm(len(words), generator=torch.Generator().manual_seed(4))][:1000]
pieces = [nearest_other(table, part) for part in asked.split(100)]  # in parts: less memory
gap = torch.cat([distances for distances, _ in pieces]) / unit
neighbour = torch.cat([found for _, found in pieces])
reach = {e: (gap <= e).double().mean().item() for e in (0.1, 0.3, 0.7, 1.0)}
guess.reveal(reach[0.3])

# %%
print("within eps =", ",  ".join(f"{e}: {share:.1%}" for e, share in reach.items()))
by_gap = gap.argsort().tolist()
for k in (*by_gap[:3], *by_gap[len(by_gap) // 2 :][:3], *by_gap[-3:]):
    here, there = tokenizer.convert_ids_to_tokens([asked[k].item(), neighbour[k].item()])
    print(f"  {gap[k]:.2f}  {here} – {there}")
course.claim("02.gaps", reach=reach, gap=gap)

# %%
figures.gaps(gap, count=int((~unwritten).sum()))  # the words and marks of our sentence

# %% [markdown]
# *The figure: how far the nearest other row of the table is, for up to a thousand words. The right
# line is a budget of this course, 0.3; the left one is what each token gets when a budget of 0.3
# for the whole text is spread evenly over our sentence (eps/√n: squares of lengths add up).*
#
# <details><summary>What you should see</summary>
#
# Hardly any word has a neighbour to the left of the lines.
#
# </details>
#
# So an embedding attack at `eps = 0.3` is **not a word swap**. In nearly all cases no other word
# lies in the ball, and when the budget is shared by all tokens, it is smaller still. The attacked
# embedding lies in the empty space between the words, close to the word that was written. That cuts
# both ways:
#
# - The word is still there: after a push of less than half the way to the nearest other word, the
#   written word is still the nearest one.
# - No text has this embedding. The attacker must get at the inside of the model, which few real
#   ones can. Embedding attacks are a tool for *training* and *measuring*; real words come in
#   lesson 06.
#
# Which words come within reach as `eps` grows? Look at the titles for the share of all words that
# have company, and at the bars: do a word's neighbours mean the same, or the opposite?


# %%
def neighbourhood(word, eps, most=9):
    """The words nearest to `word`, their distances, and the share of all words with company."""
    i = tokenizer.convert_tokens_to_ids(word)
    far = (table[words] - table[i]).norm(dim=1) / unit
    near = [k for k in far.argsort().tolist() if words[k] != i][:most]
    names = tokenizer.convert_ids_to_tokens(words[near].tolist())
    company = (gap <= eps).double().mean().item()
    return dict(word=word, eps=eps, near=names, far=far[near].tolist(), company=company)


settings = (("very", 0.3), ("delicious", 0.75), ("soup", 1.0))
figures.neighbourhoods([neighbourhood(word, e) for word, e in settings])

# %% [markdown]
# *The figure: for three words the nine nearest ordinary words, at three settings of eps (the line).
# Words within eps are coloured, the others hatched. The title says which share of all words has
# company: any other row of the table within eps, also a piece of a word or a mark.*
#
# <details><summary>What you should see</summary>
#
# At 0.3 next to no word has company; at 1.0 most have.
#
# </details>
#
# Near words are used in the same places, which need not mean the same: see where some opposites
# stand. The slider below shows more words; find with it the `eps` at which half of all words have
# company.

# %%
for word, opposite in (("delicious", "tasteless"), ("good", "appalling"), ("good", "bad")):
    i, j = tokenizer.convert_tokens_to_ids([word, opposite])
    if tokenizer.unk_token_id not in (i, j):  # a small vocabulary may lack one
        far = (table[words] - table[i]).norm(dim=1) / unit
        gap_ij = ((table[j] - table[i]).norm() / unit).item()
        print(f"{opposite}: {gap_ij:.2f} from {word}, number {int((far < gap_ij).sum())} of the "
              f"{len(words)} words")

# %%
figures.explore_neighbourhood(neighbourhood, ["delicious", "good", "friendly", "soup", "very"])

# %% [markdown]
# ## 5 · Masks: which positions may move
#
# A batch is a rectangle and texts are not: short ones are filled up with `[PAD]`. Three masks of
# shape `(batch, tokens)` say what is what:
#
# | mask | 1 on | what for |
# |---|---|---|
# | `attention_mask` | everything but padding | what the model may look at |
# | `special_tokens_mask` | `[CLS]`, `[SEP]`, and padding | what nobody wrote |
# | attackable = attention and not special | the words | where `delta` may be |
#
# (Our special mask is 1 on padding already. One that was padded with zeros is not, so the rule asks
# both.)

# %%
pair = victim.encode([text, "Bad soup."], [1, 0])
print(tokenizer.convert_ids_to_tokens(pair["input_ids"][1].tolist()))
for name in ("attention_mask", "special_tokens_mask"):
    print(f"{name:20}", pair[name][1].tolist())
may_move = pair["attention_mask"].bool() & ~pair["special_tokens_mask"].bool()
print(f"{'attackable':20}", may_move[1].int().tolist())

# %% [markdown]
# What happens without them? First **padding**, with a short text beside a long one. We shake the
# padding hard; we leave `attention_mask` out; and we put a random push of length `eps` on all
# positions.

# %%
by_length = sorted(range(len(test)), key=lambda i: len(test["text"][i]))
both = [by_length[0], by_length[-1]]
two = victim.encode([test["text"][i] for i in both], [test["label"][i] for i in both])
pad = ~two["attention_mask"].bool()
shake = torch.randn(zero_delta(model, two).shape, generator=torch.Generator().manual_seed(5))
shake = shake.to(victim.device)


def short_logits(batch, delta, drop=()):
    """The logits of the first text, with some inputs left out of the call."""
    with torch.no_grad():
        rest = {name: value for name, value in batch.items() if name not in drop}
        return perturbed_logits(model, rest, delta)[0]


quiet, unmasked = short_logits(two, None), short_logits(two, None, drop=["attention_mask"])
shaken = short_logits(two, shake * pad[..., None])
reached = of_length(1, shake)[0][~pad[0]].norm().item()
inner = embedding_gradient(model, two, zero_delta(model, two))[0]

print(f"short text: {int((~pad[0]).sum())} tokens, and {int(pad[0].sum())} of padding beside it")
print(f"1 its logits change when the padding is shaken        {(shaken - quiet).abs().max():.0e}")
print(f"2 ... when attention_mask is left out                 {(unmasked - quiet).abs().max():.2f}")
print(f"3 the gradient on its padding                         {inner[pad[0]].norm():.0e}")
print(f"4 a random push of length 1: what reaches the tokens  {reached:.2f}")
course.claim("02.padding", quiet=quiet, shaken=shaken, unmasked=unmasked,
             on_padding=inner[pad[0]], reached=reached)

# %% [markdown]
# With an attention mask the model does not see the padding, so its gradient there is zero and a
# *gradient* step spends nothing on it. Random pushes do: those that some attacks begin with
# (lesson 04), and those of the same length that an attack is compared with. They leave part of
# their budget on padding, and the same text gets a weaker push beside a longer neighbour.
# An attack whose strength depends on the neighbours is not measured by its `eps`.
#
# Now **special tokens**. One step of length 0.3 along the gradient, on three sets of positions:

# %%
seen, special = batch["attention_mask"].bool(), batch["special_tokens_mask"].bool()
sets = {"words": seen & ~special, "words + special": seen, "special only": seen & special}
hit = {"none": mean_loss(model, batch, delta)}
print("positions        per text   share of gradient   loss")
print(f"none             {0:8} {0:19.0%} {hit['none']:6.3f}")
for name, allowed in sets.items():
    inside = grad * allowed[..., None]
    share = (inside.norm() / grad.norm()).item() ** 2  # of the squared length
    hit[name] = mean_loss(model, batch, of_length(0.3 * unit.item(), inside))
    print(f"{name:16} {allowed.sum(1).double().mean():8.1f} {share:19.0%} {hit[name]:6.3f}")
course.claim("02.special", hit=hit)

# %% [markdown]
# A push on `[CLS]` and `[SEP]` alone, with every word left as it is, raises the loss. How much of
# the gradient lies there depends on the model, which is one more reason to leave them alone: no
# writer can change them, so harm done there is nobody's threat. A model trained against it defends
# a door that does not exist.
#
# In the library, `attackable(batch)` is the mask of the table above; every attack multiplies by it,
# and refuses a batch without `special_tokens_mask`.
#
# ## 6 · A class with twelve mistakes
#
# Here is a data-set class for adversarial training. It runs, its numbers look like numbers, and a
# model can be trained on its clean items, in one process. Twelve of its lines, marked A to L, are
# mistakes, each of a kind that people make. Read it once, without trying to find them all by
# looking.

# %%
from torch.nn import functional as F
from torch.utils.data import Dataset


class AdversarialDataset(Dataset):
    """Serves every text together with an adversarial version and the loss that it causes."""

    def __init__(self, texts, labels, tokenizer, model, epsilon=0.01):
        self.encodings = tokenizer(
            texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt"
        )
        self.labels = torch.tensor(labels)
        self.epsilon = epsilon
        self.model = model  # line A

    def __len__(self):
        return len(self.labels)

    def loss(self, logits, label):
        target = F.one_hot(label, 2).float()
        return F.binary_cross_entropy_with_logits(logits, target)  # line B

    def add_noise(self, ids):
        where = torch.ones_like(ids)  # line C
        noise = torch.randn(ids.shape) / self.epsilon  # line D
        return ids + where * noise  # line E

    def to_ids(self, x):
        x = x.clamp(0, 1)  # line F
        return x.long()  # line G

    def __getitem__(self, i):
        ids, mask = self.encodings["input_ids"][i], self.encodings["attention_mask"][i]
        x = self.add_noise(ids).requires_grad_()
        self.model.train()  # line H
        adv = self.to_ids(x)
        logits = self.model(adv[None], attention_mask=mask[None]).logits[0]  # line I
        loss = self.loss(logits, self.labels[i])
        loss.backward()  # line J
        if x.grad is not None:  # line K
            adv = self.to_ids(x + self.epsilon * x.grad.sign())  # a step up the loss
        return {"input_ids": ids, "attention_mask": mask, "labels": self.labels[i],
                "adv_ids": adv, "adv_loss": loss}  # line L


# %% [markdown]
# Staring at code finds some mistakes. **Small experiments** find the others, and also those in code
# that you cannot read: put in something whose result you know, change one thing, look. Twelve
# experiments follow, in four groups. Each shows one symptom, and one line is to blame for it; each
# line is to blame once. After each group, write down whom you suspect: a letter or `"?"`.
#
# `fresh()` makes a new data set over 32 texts, with its own copy of the model, on the CPU. (On a
# GPU the class would not even start: its tensors stay on the CPU. That one is too easy to count.)

# %%
import copy

lab = copy.deepcopy(model).cpu().eval()
written = batch["input_ids"][seen & ~special].cpu()  # the ids of all words of the test texts


def fresh(epsilon=0.01):
    """A new data set with a model of its own, and the random numbers at their beginning."""
    torch.manual_seed(0)
    texts, labels = list(test["text"])[:32], list(test["label"])[:32]
    return AdversarialDataset(texts, labels, tokenizer, copy.deepcopy(lab), epsilon)


def read(dataset, i):
    """Item i, always with the same random numbers."""
    torch.manual_seed(100 + i)
    return dataset[i]


# %% [markdown]
# **Ids and gradients.**
#
# - *Experiment 1.* The noise is turned down to a standard deviation of about one id, and rounded
#   fairly. The attack has not begun yet. What has become of the words?
# - *Experiment 2.* A tensor that asks for a gradient goes into `to_ids`. Does the result know where
#   it came from?
# - *Experiment 3.* An attacker pushes a positive text elsewhere than a negative one. Without any
#   noise, all labels are turned round: in how many texts does that change the adversarial ids? If
#   in none, then no attack took place; which line makes sure that nobody notices?

# %%
moved = fresh(epsilon=1).add_noise(written).round().long().clamp(0, len(table) - 1)
if moved.shape != written.shape:
    moved = written  # these are no ids any more, so no word became another
went = moved != written
jump = ((table[moved] - table[written]).norm(dim=1)[went].mean() / unit).item()
print(f"1  {went.double().mean():.0%} of the words changed. The first of them:")
print("  ", "  ".join(tokenizer.convert_ids_to_tokens(written[:8].tolist())))
print("  ", "  ".join(tokenizer.convert_ids_to_tokens(moved[:8].tolist())))
print(f"   Such a word moved by {jump:.2f}; a jump to a random word is {step_length(shuffled):.2f}")
course.claim("02.experiment-1", went=went, jump=jump, anywhere=step_length(shuffled))

# %%
x = written.float().requires_grad_()
after = fresh().to_ids(x)
print(f"2  asks for a gradient before: {x.requires_grad}, after: {after.requires_grad}")
course.claim("02.experiment-2", after=after.requires_grad)

# %%
faulty = fresh()
faulty.add_noise = lambda ids: ids.float()  # no noise
different, errors = 0, []
try:
    first_ids = [read(faulty, i)["adv_ids"] for i in range(32)]
    faulty.labels = 1 - faulty.labels
    then_ids = [read(faulty, i)["adv_ids"] for i in range(32)]
    different = sum(not torch.equal(a, b) for a, b in zip(first_ids, then_ids, strict=True))
except Exception as error:
    errors.append(repr(error))
print(f"3  adversarial ids that depend on the label: {different} of 32; "
      f"errors raised: {len(errors)}")
course.claim("02.experiment-3", different=different, errors=errors)

# %%
suspects = {1: "?", 2: "?", 3: "?"}

# %% [markdown]
# **Noise.**
#
# - *Experiment 4.* There is no noise: the ids of all 32 texts go straight into `to_ids`. Which
#   tokens come out, and how many words are still the original ones?
# - *Experiment 5.* `epsilon` is meant to be the size of the perturbation. We measure what is added
#   to words for three values of it.
# - *Experiment 6.* Noise of about one id again, on whole texts. Where does it strike?

# %%
faulty = fresh()
out = faulty.to_ids(faulty.encodings["input_ids"].float())
kept = (out == faulty.encodings["input_ids"])[faulty.encodings["attention_mask"].bool()]
some_out = tokenizer.convert_ids_to_tokens(out.unique()[:2].tolist())
print(f"4  {len(out.unique())} different tokens come out, such as {some_out}; "
      f"words kept: {kept.double().mean():.0%}")
course.claim("02.experiment-4", out=out, kept=kept)

# %%
spreads = {}
for epsilon in (0.1, 0.01, 0.001):
    added = fresh(epsilon).add_noise(written) - written
    spreads[epsilon] = added.double().std().item()
print("5 ", ", ".join(f"epsilon {e}: added {s:.4g}" for e, s in spreads.items()))
course.claim("02.experiment-5", spreads=spreads)

# %%
faulty = fresh(epsilon=1)
padded = faulty.encodings["input_ids"]
went = faulty.add_noise(padded).round() != padded
ends = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id])
kinds = {"padding": padded == tokenizer.pad_token_id, "[CLS] and [SEP]": torch.isin(padded, ends)}
kinds["words"] = ~kinds["padding"] & ~kinds["[CLS] and [SEP]"]
shares = {name: went[where].double().mean().item() for name, where in kinds.items()}
print("6  changed:", ", ".join(f"{share:.0%} of {name}" for name, share in shares.items()))
course.claim("02.experiment-6", struck=shares)

# %%
suspects |= {4: "?", 5: "?", 6: "?"}

# %% [markdown]
# **The loss.**
#
# - *Experiment 7.* We read one item, as a `DataLoader` would, and look at the model's parameters.
# - *Experiment 8.* Two pairs of logits that say exactly the same: their softmax is equal. We ask
#   `loss` about both.
# - *Experiment 9.* We send an item to another process, as the workers of a `DataLoader` do.

# %%
faulty = fresh()
with_grad = [sum(p.grad is not None for p in faulty.model.parameters())]
try:
    read(faulty, 0)
except RuntimeError as error:  # the parameters tell all the same
    print(f"   (reading fails: {error})")
with_grad.append(sum(p.grad is not None for p in faulty.model.parameters()))
print(f"7  parameters with a .grad: {with_grad[0]} before, {with_grad[1]} after reading one item")
course.claim("02.experiment-7", before=with_grad[0], after=with_grad[1])

# %%
asked_about, values = (torch.tensor([0.0, 2.0]), torch.tensor([5.0, 7.0])), []
for z in asked_about:
    p = z.softmax(0)
    values.append(fresh().loss(z, torch.tensor(1)).item())
    print(f"8  logits {z.tolist()}: probabilities {p[0]:.3f}, {p[1]:.3f}, loss {values[-1]:.2f}")
course.claim("02.experiment-8", values=values)

# %%
from multiprocessing.reduction import ForkingPickler

item, said = read(fresh(), 0), ""
try:
    ForkingPickler.dumps(item)
except RuntimeError as error:
    said = str(error)
print("9  sent to another process:", shorten(said or "no error", 92, placeholder=" …"))
course.claim("02.experiment-9", said=said)

# %%
suspects |= {7: "?", 8: "?", 9: "?"}

# %% [markdown]
# **Data set and training.**
#
# - *Experiment 10.* We read all 32 items and count the passes through the network. (A GPU has room
#   for all of them at once; one text at a time leaves most of it idle.)
# - *Experiment 11.* A worker process gets a *copy* of the data set. `copy.deepcopy` makes such a
#   copy without a process. Then the model is trained for three steps, and both are asked for the
#   same item.
# - *Experiment 12.* We read an item. Then we ask the model about one text, twice.

# %%
faulty, sizes = fresh(), []
counter = faulty.model.register_forward_pre_hook(
    lambda module, args, kwargs: sizes.append(len(args[0] if args else kwargs["input_ids"])),
    with_kwargs=True,
)
for i in range(32):
    read(faulty, i)
counter.remove()
print(f"10 to read 32 items: {len(sizes)} passes with at most {max(sizes, default=0)} text each; "
      "as a batch it is one pass")
course.claim("02.experiment-10", sizes=sizes)

# %%
faulty = fresh()
worker = copy.deepcopy(faulty)
told = []
sgd = torch.optim.SGD(faulty.model.parameters(), lr=0.05)
for when in ("before", "after"):
    told.append([torch.as_tensor(read(one, 0)["adv_loss"]).item() for one in (faulty, worker)])
    print(f"11 adversarial loss {when:6} training: main process {told[-1][0]:.3f}, "
          f"worker {told[-1][1]:.3f}")
    for _ in range(3 if when == "before" else 0):
        sgd.zero_grad()
        logits = faulty.model(**{name: v[:16] for name, v in faulty.encodings.items()}).logits
        cross_entropy(logits, 1 - faulty.labels[:16]).backward()  # learn something new
        sgd.step()
course.claim("02.experiment-11", before=told[0], after=told[1])

# %%
faulty = fresh()
item = read(faulty, 0)
asked_with = dict(input_ids=item["input_ids"][None], attention_mask=item["attention_mask"][None])
with torch.no_grad():
    answers = [faulty.model(**asked_with).logits[0, 1].item() for _ in range(2)]
print(f"12 the logit of class 1 is {answers[0]:.3f}, and asked again {answers[1]:.3f}")
course.claim("02.experiment-12", answers=answers)

# %%
suspects |= {10: "?", 11: "?", 12: "?"}

# %% [markdown]
# ### Exercise 02.3: diagnosis · ●●○ · 15 min
#
# Write `diagnosis()`. It returns a dictionary from the number of each experiment, 1 to 12, to the
# letter of the line that causes its symptom, such as `{1: "M", 2: "N", …}` (or `suspects`, once it
# is full). Every letter from A to L occurs once. The check tells how many are right, and helps with
# the first that is not.
#
# If you are unsure, change that one line in the class and run the experiment again. If the symptom
# is gone, the line with ✓ becomes one with ✗, “Here it did not come out so”: that is the good news.
# Other experiments may change or stop too, since they were made for the class as it is; undo the
# change before the next. (Two lines, A and I, cannot be mended within a line. Think about them
# instead.)
#
# <details><summary>Hint</summary>
#
# Begin with the sure ones. For each symptom ask which line *could be changed alone* to make it go
# away, if all other lines stayed as they are. In experiment 3 two lines have a part; one of them is
# already taken by experiment 2.
#
# </details>


# %%
def diagnosis():
    """Experiment number -> letter of the line that is to blame."""
    # SOLUTION


diagnosis = course.exercise("02.3", diagnosis)

# %% [markdown]
# <!-- SOLUTION -->
# | | line | what is wrong | what the repaired version does |
# |---|---|---|---|
# | 1 | E | noise on ids: the next id is a random word | `delta` on embeddings |
# | 2 | G | `.long()` cuts the graph | ids stay ids; the gradient is asked for at `delta` |
# | 3 | K | the missing gradient is passed over in silence | `torch.autograd.grad` raises an error |
# | 4 | F | clamp to [0, 1], a habit from pixels | a norm ball around the embedding |
# | 5 | D | divided by `epsilon`, and no bound at all | every `delta` has length `eps` or less |
# | 6 | C | no mask | `attackable`: neither padding nor special tokens |
# | 7 | J | `backward()` fills every parameter's `.grad` | `autograd.grad` for `delta` alone |
# | 8 | B | binary loss on two logits: two unrelated sigmoids | cross-entropy |
# | 9 | L | serves a loss that hangs on a graph, used up by J | the data set serves data |
# | 10 | I | one text at a time | the attack sees whole batches |
# | 11 | A | the model is part of the data: a worker's copy is stale | the data set knows no model |
# | 12 | H | switches the caller's model to training mode | the mode is the caller's business |
# <!-- END SOLUTION -->
#
# Reading from this class raises no error, and a model trained on the clean texts that it serves
# learns: clean accuracy shows nothing. The symptoms showed up because each experiment knew
# beforehand what a right result had to look like.
#
# ## 7 · The repair
#
# The class did three jobs: it made tokens, it attacked, and it computed a loss. Only the first
# belongs into a data set. An attack needs the model *as it is now* and a whole batch, and both are
# there in the training loop only. So we take it apart:
#
# | job | where |
# |---|---|
# | texts → tokens | the data set: no model, no randomness |
# | tokens → padded batch | the collator of the `DataLoader` |
# | batch → `delta` | the training loop, with `embedding_gradient` |
# | batch and `delta` → loss | a function |
#
# `transformers` has the collator: `DataCollatorWithPadding(tokenizer)` takes a list of items,
# dictionaries of plain lists of different lengths, and pads them to the longest of *this* batch. It
# knows how each mask is padded.

# %% tags=["nbval-check-output"]
from transformers import DataCollatorWithPadding

collate = DataCollatorWithPadding(tokenizer)
items = [
    {"input_ids": [5, 6, 7, 8], "attention_mask": [1, 1, 1, 1],
     "special_tokens_mask": [1, 0, 0, 1], "labels": 1},
    {"input_ids": [5, 6], "attention_mask": [1, 1], "special_tokens_mask": [1, 0], "labels": 0},
]
collated = collate(items)
for name in items[0]:
    print(f"{name:20} {collated[name].tolist()}")

# %% [markdown]
# ### Exercise 02.4: a data set that only knows data · ●●○ · 8 min
#
# Write the class `TextDataset` with `__init__(self, texts, labels, tokenizer, max_length)`,
# `__len__` and `__getitem__`. Item `i` is a dictionary of `input_ids`, `attention_mask` and
# `special_tokens_mask`, lists of ints as long as *this* text (no padding, no tensors), and
# `labels`, a plain int. (Other inputs that the tokenizer makes, such as `token_type_ids`, may
# stay.) `texts` is a list, `labels` a list or a NumPy array. Special tokens are put in as usual; a
# text of more than `max_length` tokens, these included, is cut to that.
#
# Reading an item twice gives the same. The inputs `texts` and `labels` are not changed. What the
# object keeps can be pickled, for workers: no model, no lambda, no open file.
#
# <details><summary>Hint</summary>
#
# A tokenizer takes `truncation=True`, `max_length=…` and `return_special_tokens_mask=True`; without
# `padding` and `return_tensors` it gives plain lists for one text. Tokenizing in `__init__` or in
# `__getitem__` is both fine. A label may arrive as a NumPy integer: `int(…)` makes it plain.
#
# </details>


# %%
class TextDataset(Dataset):
    """Tokenized texts with their labels; no model, no padding, nothing random."""

    def __init__(self, texts, labels, tokenizer, max_length):
        # SOLUTION
        self.texts, self.labels = list(texts), list(labels)
        self.tokenizer, self.max_length = tokenizer, max_length
        # END SOLUTION

    def __len__(self):
        # SOLUTION
        return len(self.texts)
        # END SOLUTION

    def __getitem__(self, i):
        # SOLUTION
        item = self.tokenizer(
            self.texts[i],
            truncation=True,
            max_length=self.max_length,
            return_special_tokens_mask=True,
        )
        return {**item, "labels": int(self.labels[i])}
        # END SOLUTION


TextDataset = course.exercise("02.4", TextDataset)

# %%
from torch.utils.data import DataLoader

served = TextDataset(list(train["text"]), list(train["label"]), tokenizer, victim.max_length)
loader = DataLoader(served, batch_size=32, shuffle=True, collate_fn=collate,
                    generator=torch.Generator().manual_seed(0))
part = next(iter(loader))
for name, value in part.items():
    print(f"{name:20} {tuple(value.shape)}")
course.claim("02.collated", on_padding=part["special_tokens_mask"][part["attention_mask"] == 0])

# %% [markdown]
# Such a batch is what `Classifier.encode` makes, and what every attack of the library takes. Now
# the loss. In training, `delta` is a *fixed* push that the attack has found; lesson 01 showed why
# it need not be differentiated (Danskin). So gradients flow to the parameters and stop at `delta`.
# And the mask belongs into the loss, not only into the attack: then no attack, however careless,
# can move what nobody wrote.

# %% [markdown]
# ### Exercise 02.5: the adversarial loss · ●●○ · 8 min
#
# Write `adversarial_loss(model, batch, delta)`: the **mean** cross-entropy of the batch, a scalar
# tensor, when `delta` is added to the embeddings of the attackable tokens and of no others.
# Whatever `delta` holds on padding and special tokens must have no effect. Gradients of the result
# reach the parameters of the model, but not `delta`, even if it asks for them. `batch`, `delta`,
# and the parameters' `.grad` stay as they are. So does the model's mode, and the model runs in it:
# whether dropout is on is the caller's business.
#
# <details><summary>Hint</summary>
#
# `attackable(batch)` is a mask of shape `(batch, tokens)`; give it a third dimension before you
# multiply. `perturbed_logits` lets gradients through to the parameters, and to `delta` too unless
# you `.detach()` it. `backward()` is the caller's.
#
# </details>

# %%
from advlib.attacks.embedding import attackable


def adversarial_loss(model, batch, delta):
    """Mean cross-entropy with delta on the attackable tokens, to be minimised."""
    # SOLUTION


adversarial_loss = course.exercise("02.5", adversarial_loss)

# %% [markdown]
# Everything together: a few steps on `L + lam·L_adv`, for a copy of the model. The attack is one
# step of length `eps * unit` along the gradient, for each text; lesson 03 derives it, lesson 08
# makes a proper training run of this. Dropout stays off, so that the two losses of a step see the
# same network. Three things that the old class got wrong are looked at in every step.

# %%
student = copy.deepcopy(model).eval()
optimizer = torch.optim.AdamW(student.parameters(), lr=profile.pick(smoke=3e-4, colab=2e-5))
eps, lam = 0.3, 1.0
radius = eps * unit.item()


def one_step_attack(model, batch):
    """One step of length radius along the gradient, on the attackable tokens of each text."""
    slope = embedding_gradient(model, batch, zero_delta(model, batch))
    return of_length(radius, slope * attackable(batch)[..., None])


def on_test():
    """(loss, accuracy) of the student on the test texts, without and with an attack."""
    result = []
    for push in (None, one_step_attack(student, held_out)):
        with torch.no_grad():
            logits = perturbed_logits(student, held_out, push)
        right = (logits.argmax(1) == held_out["labels"]).double().mean().item()
        result += [cross_entropy(logits, held_out["labels"]).item(), right]
    return result


def say(step):
    """Print and return what `on_test` finds now."""
    loss, right, adv_loss, adv_right = on_test()
    print(f"after {step:2} steps, on test texts: clean loss {loss:.2f} (right {right:.0%}), "
          f"under attack {adv_loss:.2f} ({adv_right:.0%})")
    return step, loss, adv_loss


held_out = victim.encode(test["text"], test["label"])
log, longest, touched, harm = [say(0)], [], [], []
for step, part in enumerate(loader, 1):
    part = {name: value.to(victim.device) for name, value in part.items()}
    push = one_step_attack(student, part)
    longest.append(push.flatten(1).norm(dim=1).max().item())
    touched.append(any(p.grad is not None for p in student.parameters()))
    L = cross_entropy(perturbed_logits(student, part, None), part["labels"])
    L_adv = adversarial_loss(student, part, push)
    harm.append((L_adv - L).item())
    (L + lam * L_adv).backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 4 == 0:
        log.append(say(step))
course.claim("02.loop", longest=longest, radius=radius, touched=touched, harm=harm)
course.claim("02.trained", first=log[0][2], last=log[-1][2])

# %%
figures.training(log)

# %% [markdown]
# *The figure: the loss of the student on test texts during these few steps, without and with an
# attack, which is made anew each time.*
#
# <details><summary>What you should see</summary>
#
# The loss under attack falls.
#
# </details>
#
# A falling loss is not yet a robust model: part of the fall is only that the model is less *sure*
# of its mistakes. Compare the accuracies above. Proper training follows in lesson 08.
#
# What you have written exists in the library, with more care for corner cases:
#
# | here | there |
# |---|---|
# | `TextDataset` | `advlib.training.tokenize(victim, data)` |
# | collated batch | `Classifier.encode(texts, labels)` |
# | the mask | `advlib.attacks.embedding.attackable(batch)` |
# | `embedding_gradient` | the inside of `FGSM`, `FGM`, `PGD` (there of the log-odds, lesson 03) |
# | `adversarial_loss` | the second term of `advlib.objectives.Adversarial` |
#
# Lessons 03 and 04 build their attacks on `embedding_gradient`, in the course's version.
#
# ## Recap
#
# - Ids are names. The next id is another word, `id + 0.01` is nothing or another word, and no
#   gradient passes through an integer.
# - `delta` lives on the **embeddings**, `(batch, tokens, hidden)`; its gradient is that of the
#   *sum* of losses, taken with `autograd.grad`, which leaves the parameters alone.
# - At `eps = 0.3` hardly any word has another word in reach: an embedding attack is **not a word
#   swap**, but a push into the empty space around the words.
# - Only **attackable** tokens may move. The attention mask protects padding from gradients, not
#   from random pushes, and it does nothing for special tokens.
# - Data set, attack and loss are three things. The attack belongs into the loop, where the current
#   model and the whole batch are.
#
# ## What could go wrong
#
# - **It runs.** Most of the twelve mistakes raise no error for as long as nobody looks. Assert
#   what you know: the loss rises, ‖delta‖ ≤ `eps`, parameters have no gradient after the attack.
# - **`allow_unused=True`** turns "your graph is cut" into a `None` that is easily passed over.
# - **An `eps` without its unit.** 0.3 here is relative to the mean length of an embedding. Papers
#   often give absolute numbers, or embeddings that were normalised first.
# - **A loss that comes to rest at 0.69.** That is log 2: the model says "50:50" to everything,
#   which no attack can make much worse. With a learning rate five times as large, the loop above
#   ends there on a real encoder. Look at the accuracies beside the losses.
# - **Tied embeddings.** A model that also *predicts* words uses the table a second time. A push on
#   the output of the layer concerns the input only; a change of the table would not.
#
# ## Further reading
#
# - T. Miyato, A. M. Dai, I. Goodfellow, *Adversarial Training Methods for Semi-Supervised Text
#   Classification*, ICLR 2017, arXiv 1605.07725. The perturbation on word embeddings; random
#   perturbations of the same size help far less.
# - C. Zhu, Y. Cheng, Z. Gan, S. Sun, T. Goldstein, J. Liu, *FreeLB: Enhanced Adversarial Training
#   for Natural Language Understanding*, ICLR 2020, arXiv 1909.11764. Several steps on the
#   embeddings, with one budget for the whole sequence.
# - J. Ebrahimi, A. Rao, D. Lowd, D. Dou, *HotFlip: White-Box Adversarial Examples for Text
#   Classification*, ACL 2018, arXiv 1712.06751. The gradient of the one-hot row picks a real
#   token.
#
# > **Ethics** The threat model of this lesson: an attacker who knows all weights (white box) and
# > may move the embeddings of the words, and of nothing else, by at most `eps` in L2 norm over the
# > whole text. No typed text does that. So these attacks harm nobody by themselves, and a model
# > that withstands them is not thereby safe from people who write words. Say which of the two you
# > have measured.

# %%
course.progress("02")
