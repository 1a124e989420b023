# %% [markdown]
# # 10 · Fewer labels, fewer parameters
#
# {{BADGE}}
#
# **You will**
#
# - train with a hundred labels and a heap of texts without one, and set honest controls beside it;
# - adapt a language model to a domain that it has never read, before labels are spent on it;
# - write LoRA, and measure how robust few parameters can be and what they save;
# - train nothing but the perturbation: one vector that is added to every word of every text;
# - let a search choose `eps`, `lam` and `steps`, and see what that does to a test set.
#
# **Time** {{TIME}} About 70 minutes for you.
#
# **Before** Lesson 08 (the loop), and VAT and the units of work of lesson 09.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A hundred labels
#
# So far every training text had a label. In practice texts are free and labels are not: somebody
# must read each text and decide. Suppose that you can pay for a hundred. The others stay what they
# are, texts. We play this with labelled data and hide most of the labels, so that afterwards we
# can look up what was right.
#
# In the built-in world (the made-up reviews that come with the course, for the profile `smoke`) the
# question is not what a review thinks but what it is *about*, a restaurant or a phone or one of
# thirteen other things. On real data it is the opinion.

# %%
import copy
import math
import warnings

import torch
import torch.nn.functional as F
from datasets import ClassLabel, Dataset, Features, Value
from transformers import set_seed

from advlib.attacks import FGM, PGD, Noise, VirtualAdversarial
from advlib.attacks.embedding import attackable, divergence, perturbed_logits, wrong_margin
from advlib.evaluation import attack_all
from advlib.objectives import UNLABELLED, VAT, Adversarial, Clean
from course.lesson_10 import figures

ENCODER = profile.pick(smoke="bert-tiny", colab="distilbert/distilbert-base-uncased")
SHORT = profile.pick(14, 60)  # words: short texts keep the page quick


def load(source, **sizes):
    """The texts of a source that have SHORT words at most."""
    return advlib.load_text(source, **sizes).filter(lambda row: len(row["text"].split()) <= SHORT)


data = load(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
            train_size=profile.pick(5400, 3200), test_size=profile.pick(260, 400))


def as_task(rows, column):
    """The same texts with another column for their label."""
    values = sorted(set(rows[column]))
    kinds = Features({"text": Value("string"), "label": ClassLabel(names=[str(v) for v in values])})
    numbers = [values.index(v) for v in rows[column]]
    return Dataset.from_dict({"text": list(rows["text"]), "label": numbers}, kinds)


ABOUT = profile.pick(smoke="domain", colab="label")
train, test = as_task(data["train"], ABOUT), as_task(data["test"], ABOUT)
texts, truth, names = list(train["text"]), list(train["label"]), train.features["label"].names


def hide(seed, known=100):
    """(rows with a label, rows without, labels): all but `known` labels become UNLABELLED."""
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed))
    labels = [UNLABELLED] * len(texts)
    for i in order[:known].tolist():
        labels[i] = truth[i]
    return order[:known], order[known:], labels


labelled, unlabelled, labels = hide(seed=0)
print(f"{len(names)} classes; {len(labelled)} texts with a label, {len(unlabelled)} without, "
      f"{len(test)} to test on; UNLABELLED = {UNLABELLED}")

# %% [markdown]
# The loop of lesson 08, with two additions: it takes a table of row numbers, one row per step,
# that says which texts make up each batch; and it adds up the work. One unit is a forward pass, or
# a backward pass to the input, or one on to the weights (lesson 09); `parts.units` counts those of
# a step. We take them *times the texts in the batch*, because in a moment batches of different
# sizes will be compared.


# %%
def start(seed):
    """The pretrained encoder with a new head."""
    set_seed(seed)
    return advlib.load_classifier(ENCODER, labels=names)


def fit(victim, texts, labels, rows, objective, lr):
    """One optimiser step per row of row numbers; returns the work in units x texts."""
    model, work = victim.model.train(), 0.0
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=lr, fused=True)  # fused: a quicker step
    warmup = 0.1 * len(rows)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min(
        1.0, (s + 1) / warmup, (len(rows) - s) / (len(rows) - warmup)))
    generator = torch.Generator(victim.device).manual_seed(0)
    for step, numbers in enumerate(rows.tolist()):
        batch = victim.encode([texts[i] for i in numbers], [labels[i] for i in numbers])
        parts = objective(model, batch, step=step, generator=generator)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        work += parts.units * len(numbers)
    model.eval()
    return work


def measure(victim, data, attack):
    """The shares of texts that are right without attack, and still right under it."""
    found = attack_all(victim, data, attack)
    return float((found.clean == found.labels).mean()), float(found.robust.mean())


# %% [markdown]
# ### The loss of the texts that have a label
#
# A batch now mixes both kinds, and the first term of the loss can only speak of one kind:
#
# $$L=\frac1{\lvert K\rvert}\sum_{i\in K} -\log M(x_i)_{y_i},\qquad
# K=\{i:\ y_i\ne\texttt{UNLABELLED}\}.$$
#
# −100 is PyTorch's own convention: `F.cross_entropy` passes over such rows (its argument is called
# `ignore_index`). There is a trap. Where *no* row has a label, the mean is 0 divided by 0:

# %% tags=["nbval-check-output"]
print(F.cross_entropy(torch.zeros(4, 2), torch.tensor([0, UNLABELLED, 1, UNLABELLED])))
print(F.cross_entropy(torch.zeros(4, 2), torch.full((4,), UNLABELLED)))

# %% [markdown]
# The weights survive such a batch, because PyTorch's gradient happens to be 0 there. But the loss
# that you add to, log and prune by is `nan`, and so is everything that it is added to. (The
# library's objectives stop where they see one.)

# %% [markdown]
# ### Exercise 10.1: the loss of the labelled texts · ●○○ · 6 min
#
# Write `labelled_loss(logits, labels)`. `logits` has shape `(batch, classes)`, `labels` has shape
# `(batch,)` and holds a class or `UNLABELLED`. Return a scalar tensor: the *mean* cross-entropy
# over the texts that have a label, and 0 where none has. In that case too `backward()` must work
# on what you return (and give a gradient of 0), so it has to depend on `logits`. Models may be
# very sure: the logarithm of a softmax that was rounded to 0 is not finite. Leave both inputs as
# they are.
#
# <details><summary>Hint</summary>
#
# Either pick the rows with a mask, `logits[known]`, and treat the empty case by itself; or let
# PyTorch add up (`reduction="sum"`) and divide by a count that is never 0. A sum of logits times 0
# is a zero with a graph.
#
# </details>


# %%
def labelled_loss(logits, labels):
    """The mean cross-entropy over the texts that have a label; 0 where none has."""
    # SOLUTION


labelled_loss = course.exercise("10.1", labelled_loss)

# %% [markdown]
# ### Which texts make a batch?
#
# With 100 labels among 2,000 texts, a batch of 24 drawn at random has one labelled text on average,
# and often none: the first term would be a lottery. So we fix the mix: in every batch `k`
# texts with a label and `u` without. The two lists then run out at different times, and that is as
# it should be: the hundred come round again and again, the others seldom.

# %% [markdown]
# ### Exercise 10.2: batches that mix · ●●○ · 12 min
#
# Write `mixed_rows(labelled, unlabelled, k, u, steps, generator)`. `labelled` and `unlabelled` are
# 1-dimensional tensors of row numbers, in any order (at least `k` and `u` of them). Return a
# tensor of shape `(steps, k + u)`: in each row first `k` numbers of labelled texts, then `u`
# numbers of unlabelled ones.
#
# For both kinds: shuffle the list with `torch.randperm(..., generator=generator)`, and cut it into
# pieces of `k` (of `u`); when fewer than a whole piece is left, pass over these few, shuffle the
# *whole* list anew and go on. So no text comes twice in a batch, and none twice before the list is
# through. No other source of random numbers than `generator`.
#
# Both lists draw from one generator, so **the order of the draws** is part of the task (else your
# race below would not be ours): first everything for the labelled list, all passes that `steps`
# batches need and no more, then everything for the unlabelled one. Pieces are cut from the front.
#
# <details><summary>Hint</summary>
#
# Write an inner function for one list, `stream(numbers, take)`, that collects pieces until it has
# `steps` of them. `x.split(take)` cuts a tensor into pieces (the last may be short: cut the list
# to a multiple first). Then `torch.stack` each, and `torch.cat(..., dim=1)`.
#
# </details>


# %%
def mixed_rows(labelled, unlabelled, k, u, steps, generator):
    """Row numbers of `steps` batches, (steps, k + u): k labelled texts, then u unlabelled."""
    # SOLUTION


mixed_rows = course.exercise("10.2", mixed_rows)


# %%
def shuffled(count, size, steps):
    """Row numbers for `steps` batches of texts that all have a label; your mixed_rows does it."""
    everything = torch.arange(count)
    draw = torch.Generator().manual_seed(0)
    return mixed_rows(everything, everything, size, 1, steps, draw)[:, :size]

# %% [markdown]
# ### What a text without a label can say
#
# Nobody knows what is right for it. But whatever the answer is, it should not change when the text
# is moved a little. That is the second term of VAT (lesson 09): find, without a label, the `delta`
# that moves the prediction most, and ask that it move little.
#
# $$L+\texttt{lam}\cdot\frac1{k+u}\sum_{i}\mathrm{KL}\bigl(f(x_i)\,\|\,f(x_i+\delta_i)\bigr),$$
#
# over *all* texts of the batch, with $f(x_i)$ held constant. Miyato, Dai and Goodfellow introduced
# it for texts in just this situation. In four lines, with your loss, beside the library's `VAT`.
# (`same_dropout=True`: the attack sees the dropout mask of this very step, lesson 08.
# `keep_best=False`: take the last point of the attack; to look for the best one costs a pass more.)

# %%
eps = 0.3
attack = VirtualAdversarial(eps, same_dropout=True)
victim = start(0)
rows = mixed_rows(labelled, unlabelled, 8, 16, 1, torch.Generator().manual_seed(0))[0].tolist()
batch = victim.encode([texts[i] for i in rows], [labels[i] for i in rows])

delta = attack(victim.model, batch, keep_best=False)
logits = perturbed_logits(victim.model, batch, None)
moved = perturbed_logits(victim.model, batch, delta)
own = labelled_loss(logits, batch["labels"]) + divergence(logits.detach(), moved).mean()

parts = VAT(attack, lam=1.0)(victim.model, batch)
print(f"yours {own.item():.4f}, the library's {parts.loss.item():.4f}; "
      f"{parts.units:.0f} units where a plain step costs 3")
course.claim("10.vat", own=own, library=parts.loss)

# %% [markdown]
# ### The race, with honest controls
#
# A model is trained plainly on the hundred labels. Then there is time left, and the question is
# what to spend it on. A step of VAT is dear, it sees other texts, and it has an adversary; each of
# these gets a control that has it without the others. All start from the same plain model, and
# **all get the same work** on top of it: where a step costs less there are more steps.
#
# - **longer**: plain training on the labelled texts goes on.
# - **pseudo-labels**: the plain model labels the unlabelled texts where it is sure (above 0.9),
#   right or wrong, and these labels are trained on. More texts, no adversary.
# - **FGM, labelled**: the adversary of lesson 08, on the labelled texts alone.
# - **VAT**: the mixed batches, two thirds of each without a label.
#
# A hundred texts can be chosen luckily or unluckily, so everything is done twice, with two seeds
# (other texts, other head, other batches), and both are shown. Two is the least that can warn you;
# more would be better.
#
# ### Prediction 10.a: the race

# %%
guess = course.predict(
    "10.a",
    "The same work each: whose mean under FGM is ahead of all others by 5 points or more?",
    guess=None,
    options=("longer", "pseudo-labels", "FGM, labelled", "VAT", "nobody's"),
)

# %%
FIRST, STEPS = profile.pick(80, 100), profile.pick(18, 60)
ATTACK = FGM(0.3)
race = {}  # name -> one (clean, attacked, work) per seed
# In batches of 24 a step of VAT costs 8 units per text, one of plain training 3, one of FGM 6.
cheap, dear = 8 * STEPS // 3, 8 * STEPS // 6


def enter(name, victim, rows, labels, objective, lr):
    work = fit(victim, texts, labels, rows, objective, lr)
    race.setdefault(name, []).append((*measure(victim, test, ATTACK), work))


def guessed(victim, rows, labels):
    """The labels, and the model's own where it is sure and there is none."""
    pseudo, used = list(labels), rows[:, 8:].flatten().unique().tolist()
    for i, p in zip(used, victim.predict([texts[i] for i in used]), strict=True):
        if p.max() > 0.9:
            pseudo[i] = int(p.argmax())
    return pseudo


# %%
fgm = Adversarial(FGM(0.3, same_dropout=True), lam=1.0)
for seed in range(2):
    labelled, unlabelled, labels = hide(seed)
    draw, slow = torch.Generator().manual_seed(seed), profile.pick(1e-3, 2e-5)
    first = mixed_rows(labelled, unlabelled, 8, 16, FIRST, draw)[:, :8]
    mixed = mixed_rows(labelled, unlabelled, 8, 16, cheap, draw)
    known = mixed_rows(labelled, unlabelled, 24, 1, cheap, draw)[:, :24]
    plain = start(seed)
    enter("plain", plain, first, labels, Clean(), profile.pick(2e-3, 5e-5))
    for name, its_rows, its_labels, objective in (
        ("longer", known, labels, Clean()),
        ("pseudo-labels", mixed, guessed(plain, mixed, labels), Clean()),
        ("FGM, labelled", known[:dear], labels, fgm),
        ("VAT", mixed[:STEPS], labels, VAT(attack, lam=1.0)),
    ):
        enter(name, copy.deepcopy(plain), its_rows, its_labels, objective, slow)

# %%
means = {name: torch.tensor(found).mean(0).tolist() for name, found in race.items()}
ahead = sorted((means[name][1], name) for name in race if name != "plain")
guess.reveal(ahead[-1][1] if ahead[-1][0] > ahead[-2][0] + 0.05 else "nobody's")
print("                  clean: each seed   mean      FGM: each seed   mean    work")
for name, found in race.items():
    clean, attacked, work = means[name]
    each = [" ".join(f"{result[k]:5.0%}" for result in found) for k in (0, 1)]
    print(f"{name:14} {each[0]:>20} {clean:6.1%} {each[1]:>19} {attacked:6.1%} "
          f"{work / 1000:6.1f}k")
print(f"Work of the last four: on top of the plain model's. In {STEPS} batches VAT saw "
      f"{STEPS * 16} of the {len(unlabelled):,} texts without a label.")
course.claim("10.work", means=means)
if profile.name == "smoke":  # on other data the race is open
    course.claim("10.race", means=means)

# %%
figures.race(race, means)

# %% [markdown]
# *The figure: accuracy without attack (left) and under FGM (right). Each dot is a seed, each bar a
# mean, the dotted line the plain model.*
#
# <details><summary>What you should see</summary>
#
# On the built-in world the bars hardly differ without attack; under FGM the best of them lie within
# a few points, which is less than the distance between the two dots of some rows.
#
# </details>
#
# Read it soberly, and on other data read it anew.
#
# - **At the same work nobody is clearly ahead** in the built-in world, without attack and under it.
#   VAT is among the best under attack although two thirds of its texts have no label and it took
#   fewer steps than any other. With two seeds no more can be said, not even who is last.
# - **The control decides what you would have believed.** With the same number of *steps* VAT would
#   have had more work than any other (8 units per text against 3 or 6), and a lead could have come
#   from that alone. Whatever "longer" gains over the plain model is bought by work alone; without
#   that row it would be put down to the adversary.
# - **A seed counts as much as a method.** With few labels, which texts have one can matter more
#   than all the rest. Miyato et al. report lower test errors with VAT on long film reviews and on
#   other sets, and on one set of single sentences an *in*crease for VAT alone. To be smooth helps
#   accuracy where the classes are clouds with gaps between them, so that a boundary can be pushed
#   into a gap.
# - **The run is short**: in the built-in world VAT saw 288 of 2,001 texts without a label. A race
#   there with seven times the work, in which VAT's batches went through the 2,001 once (16 at a
#   time; one was left over), is *recorded* (`python benchmarks/recorded_10.py`, seven minutes on
#   one core, three seeds, the same 103 test texts). There VAT was ahead of all controls in every
#   seed under attack, in the mean with 73.5 % against 57.9 % for the best of them under FGM and
#   65.3 % against 49.8 % under PGD; without attack it was not (90.6 %, "longer" 91.6 %). What VAT
#   has and the controls on labelled texts have not is that it does not run out of texts. No control
#   has both the texts *and* an adversary.

# %% [markdown]
# ## 2 · Words that the model has never read
#
# Texts without labels have a second use. The encoder was pretrained by guessing masked words. If
# the texts of your users are unlike those that it read, go on with just that on *their* texts,
# before you fine-tune: domain-adaptive pretraining (Gururangan et al. 2020, who found gains in the
# four domains that they tried, and that texts of an *unrelated* domain often do harm).
#
# The course has a second world for it (in every profile): `sailing`. People write about
# boats as they write about restaurants, but what is good or bad about a keel has words of its own,
# and bert-tiny has read none of them. Its tokenizer cuts them into pieces. You have 2,500 labelled
# reviews, a model trained on them with `L + lam·L_adv` (`reviews-fgm`), and for boats texts
# without labels. What is that robustness worth out at sea?

# %%
from tokenizers import AddedToken
from transformers import DataCollatorForLanguageModeling

from advlib.attacks.embedding import embedding_table
from advlib.corpora import world
from advlib.models import load_language_model


def short_texts(name, split, count):
    """Texts of at most 16 words, of `count` drawn from a world."""
    drawn = [r for r in world(name).sample(count, split) if len(r.text.split()) <= 16]
    return Dataset.from_dict({"text": [r.text for r in drawn], "label": [r.label for r in drawn]})


boats, land = (short_texts(name, "test", 400) for name in ("sailing", "reviews"))
unread = {name: short_texts(name, "unlabelled", 2000)["text"] for name in ("sailing", "reviews")}
NEW = sorted(set(world("sailing").vocabulary) - set(world("reviews").vocabulary))
tokenizer = advlib.load_classifier("reviews-fgm").tokenizer
print(f"{len(boats)} texts, such as: {boats[0]['text']}")
print(f"{len(NEW)} new words; in pieces:")
for word in ("keel", "leaky", "watertight"):
    print(f"  {word}: {' '.join(tokenizer.tokenize(word))}")
course.claim("10.pieces", new=NEW, vocabulary=tokenizer.get_vocab())

# %% [markdown]
# Three steps. (1) Every new word gets a row of its own in the table of words, near the mean row.
# (2) The encoder reads boat texts: masked-word modelling, as in pretraining. Only the new rows are
# trained, so nothing that the model knows can be lost, and the learning rate may be high. (3) The
# new rows move into the model that was trained adversarially. Reading stands before adversarial
# training in the books, but here the order does not matter: no new word occurs in the labelled
# reviews, so that training gives their rows no gradient.


# %%
def add_words(victim):
    """Give every word of NEW a row of its own, near the mean row; returns the first new row."""
    first = len(victim.tokenizer)
    victim.tokenizer.add_tokens([AddedToken(word, single_word=True) for word in NEW])
    victim.model.resize_token_embeddings(len(victim.tokenizer), mean_resizing=False)
    table = victim.model.get_input_embeddings().weight.data
    old = table[:first]
    noise = torch.randn(len(NEW), table.shape[1], generator=torch.Generator().manual_seed(0))
    table[first:] = old.mean(0) + 0.3 * old.std(0) * noise.to(table.device)
    return first


def read(lm, texts, first, steps=100, lr=2e-2):
    """Masked-word modelling that trains the rows from `first` on; returns the loss of each step."""
    set_seed(0)
    collate = DataCollatorForLanguageModeling(lm.tokenizer, mlm_probability=0.15)
    table = lm.model.requires_grad_(False).get_input_embeddings().weight.requires_grad_(True)
    optimizer = torch.optim.AdamW([table], lr=lr, weight_decay=0.0, fused=True)
    ids, losses = lm.tokenizer(list(texts))["input_ids"], []
    for step in range(steps):
        rows = torch.randint(len(ids), (32,)).tolist()
        batch = collate([{"input_ids": ids[i]} for i in rows]).to(lm.device)
        labels = batch.pop("labels")  # UNLABELLED where no word is hidden
        hidden = lm.model.base_model(**batch).last_hidden_state[labels != UNLABELLED]
        loss = F.cross_entropy(lm.model.cls(hidden), labels[labels != UNLABELLED])
        loss.backward()
        table.grad[:first] = 0  # what it knows stays
        optimizer.param_groups[0]["lr"] = lr * (1 - step / steps)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses

# %% [markdown]
# There is a trap in the comparison. `FGM(0.3)` measures `eps` in mean lengths of *all* rows of the
# table, and we are about to add rows: the ruler itself would change, and an attack would seem
# weaker where new rows are short. So `eps` is fixed in absolute units, as it was before.
#
# Four ways to meet boats: the words in **pieces**, as the tokenizer cuts them; new rows that have
# read **nothing**; and, as the control that Gururangan et al. ask for, as many batches of
# **reviews** read as of **boats**. (Reviews contain no new word, yet they move the new rows: in
# masked-word modelling the table is also the output layer, so each new word is one of the wrong
# answers to every hidden word.)
#
# ### Prediction 10.b: reading boats

# %%
guess = course.predict(
    "10.b",
    "reviews-fgm on texts about boats, under FGM: by how much does reading boat texts (no "
    "label!) raise its accuracy, against words in pieces?",
    guess=None,
    low=-0.1,
    high=0.5,
)

# %%
WAYS = {"pieces": None, "nothing": None, "reviews": "reviews", "boats": "sailing"}
tables, losses, old = {}, {}, {}
for way, source in WAYS.items():
    if way == "pieces":
        continue
    lm = load_language_model("bert-tiny")
    before = embedding_table(lm.model).clone()
    first = add_words(lm)
    if source:
        losses[way] = read(lm, unread[source], first)
    tables[way] = embedding_table(lm.model)[first:].clone()
    old[way] = embedding_table(lm.model)[:first].clone()
course.claim("10.kept", before=before, after=old)


# %%
def sees(data, name, way="pieces"):
    """(clean, attacked) of a victim that was trained on reviews."""
    victim = advlib.load_classifier(name)
    unit = embedding_table(victim.model).norm(dim=1).mean().item()
    if way in tables:
        first = add_words(victim)
        victim.model.get_input_embeddings().weight.data[first:] = tables[way]
    return measure(victim, data, FGM(0.3 * unit, relative=False))


sea = {name: {way: sees(boats, name, way) for way in WAYS}
       for name in ("reviews-clean", "reviews-fgm")}
home, robust = sees(land, "reviews-fgm"), sea["reviews-fgm"]
guess.reveal(robust["boats"][1] - robust["pieces"][1])
print(f"reviews-fgm at home, on reviews: clean {home[0]:.1%}, under FGM {home[1]:.1%}")
for name, found in sea.items():
    for way, (clean, attacked) in found.items():
        print(f"{name:14} {way:8} clean {clean:6.1%}, under FGM {attacked:6.1%}")
for way, found in losses.items():
    print(f"{way}: loss on hidden words, first five batches {sum(found[:5]) / 5:.2f}, "
          f"last five {sum(found[-5:]) / 5:.2f}")
course.claim("10.boats", sea=sea)
course.claim("10.home", robust=robust, home=home)
course.claim("10.unread", losses=losses)

# %%
figures.boats(sea)

# %% [markdown]
# *The figure: accuracy on texts about boats without attack (black) and under FGM (green, hatched),
# of the model trained on L (left) and of the one trained with L_adv (right), neither of which has
# seen a label of such a text. From left to right: words in pieces, and rows that read nothing,
# reviews, boats.*
#
# Reading pays, with texts that nobody had to label: against words in pieces accuracy on boats
# rises by five to eight points, and under FGM by sixteen to twenty, in both models. Without attack
# the gain is due to the *boats*: neither control moves accuracy by more than two points. Under FGM
# it is so in part only: a row that has read nothing gives four or five of these points, as many
# batches of reviews three or four more, and the boats the other eight (`reviews-fgm`) to twelve
# (`reviews-clean`). (230 texts and one seed: under FGM each value has an interval of about six
# points to either side.) It does not bring boats up to home: on reviews the same model stands far
# higher under the same attack (94.6 % against 61.3 %). What labels of boats would add we did not
# measure. What it knows of *leaky* is in which company the word was met; that it counts against
# the boat nobody told it.
#
# So: adapt when the texts are foreign to the encoder. A cheap test before you spend a night on it:
# compare the encoder's masked-word loss on your texts with that on texts of the kind that it was
# trained on. The first batches (the last two lines of the output) show such a gap; but 3.89
# overstates it, since the new rows began untrained. On your own texts measure before you add rows
# and before you train.

# %% [markdown]
# ## 3 · Fewer parameters
#
# Now the other scarcity. A trained model has been delivered, and it is not robust. Must every
# weight be trained again, and a second copy of the whole model be kept? With AdamW a weight that
# is trained costs four numbers: itself, its gradient, and two running means. One that is frozen
# costs one.
#
# Who may move? Three candidates, for the same hardening (`L + lam·L_adv` with FGM, the same texts,
# the same number of steps):
#
# - **full**: all weights.
# - **head only**: pooler and classifier. The backbone is frozen, so texts lie where they lay.
# - **LoRA** of rank 1 (and 4, for the memory): all weights are frozen, but beside each linear layer
#   of the backbone a narrow path is added (Hu et al. 2022).
#
# Does the attack still work when the model is frozen? Yes: `delta` sits on the *output* of the
# embedding layer, and the gradient with respect to it flows through frozen layers as through
# others. "Frozen" says that the gradient is not *stored for the weights*; it has to pass all the
# same.
#
# ### A narrow path
#
# A linear layer computes $Wx+b$. Instead of changing $W$ (`out × in` numbers), LoRA adds a second
# way through only $r$ numbers in the middle:
#
# $$y \;=\; Wx+b+\frac{\texttt{alpha}}{r}\,B\,A\,x,\qquad A:\ r\times\texttt{in},\quad
# B:\ \texttt{out}\times r .$$
#
# $BA$ has the shape of $W$ and rank $r$ at most; it costs $r\,(\texttt{in}+\texttt{out})$ numbers.
# $A$ starts random and $B$ at zero: then the layer begins as what it was, and $B$ has a gradient
# at once (that of $B$ is a product with $Ax$; were both zero, neither would ever move). The factor
# $\texttt{alpha}/r$ keeps the size of the change about the same when you try another $r$.

# %% [markdown]
# ### Exercise 10.3: a low-rank layer · ●●○ · 12 min
#
# Write `add_lora(linear, r, alpha)` for an `nn.Linear`, with or without bias. It freezes the
# layer's own parameters, gives it two new ones, `linear.lora_A` of shape `(r, in_features)`,
# random, and `linear.lora_B` of shape `(out_features, r)`, zero (both `nn.Parameter`, of the dtype
# and on the device of `linear.weight`), and sees to it (best with a forward hook) that from then on
# `linear(x)` is $Wx+b+(\texttt{alpha}/r)\,BAx$ for `x` of shape `(..., in_features)`. Any spread
# will do for A, such as a standard deviation of $1/r$; draw it from PyTorch's own random numbers
# without seeding them, or all layers of one shape get the same A. `r` may be larger than
# `out_features`. Return the same layer; `linear.weight` keeps its values.
#
# <details><summary>Hint</summary>
#
# `linear.register_forward_hook(f)` calls `f(layer, inputs, output)` after each pass, where
# `inputs` is a tuple; what `f` returns takes the place of `output` (this is how `delta` gets onto
# the embeddings, too). In code `x` holds rows, so $Ax$ is `x @ A.T`. `weight.new_zeros(...)` has
# the dtype and device of `weight`, and so has `weight.new_empty(...)`, which `.normal_()` fills.
#
# </details>


# %%
def add_lora(linear, r, alpha):
    """Freeze `linear` and add (alpha / r) B A x to what it gives; returns the same layer."""
    # SOLUTION


add_lora = course.exercise("10.3", add_lora)

# %% [markdown]
# From here on all labels are there, and they are opinions. In daily life `peft` adds the narrow
# paths: it finds the layers by name, saves and loads the small matrices, and can add them into $W$
# for good. Is it the same as yours? We give both the same two matrices everywhere.

# %%
import peft

SOURCE = profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english")
train, test, opinions = data["train"], data["test"], list(data["train"]["label"])
HEAD = ("pooler", "pre_classifier", "classifier")


def is_head(name):
    return any(part in name for part in HEAD)


def backbone_layers(model):
    """The names of the backbone's linear layers."""
    return [name for name, layer in model.named_modules()
            if isinstance(layer, torch.nn.Linear) and not is_head(name)]


def with_lora(victim, r):
    """The victim with a path of rank r beside every linear layer of its backbone."""
    settings = peft.LoraConfig(r=r, lora_alpha=2 * r, target_modules=backbone_layers(victim.model))
    with warnings.catch_warnings():  # about a name that transformers will change
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(victim.model, settings)
    return advlib.Classifier(model, victim.tokenizer)


def count(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


set_seed(0)
theirs = with_lora(advlib.load_classifier(SOURCE), 4)
ours = advlib.load_classifier(SOURCE)
ours.model.requires_grad_(False)
layers, weights = dict(ours.model.named_modules()), dict(theirs.model.named_parameters())
for name in backbone_layers(ours.model):
    layer = add_lora(layers[name], 4, 8)
    for letter in "AB":
        matrix = weights[f"base_model.model.{name}.lora_{letter}.default.weight"]
        torch.nn.init.normal_(matrix, std=0.15)
        getattr(layer, f"lora_{letter}").data.copy_(matrix.data)
sample = test["text"][:16]
before = advlib.load_classifier(SOURCE).logits(sample)
moved, apart = (abs(ours.logits(sample) - x).max() for x in (before, theirs.logits(sample)))
print(f"trained: yours {count(ours.model):,}, peft's {count(theirs.model):,} of "
      f"{ours.model.num_parameters():,}\nthe logits moved by up to {moved:.2f}, and those of the "
      f"two models differ by at most {apart:.5f}")
course.claim("10.peft", yours=count(ours.model), theirs=count(theirs.model), apart=apart,
             moved=moved)

# %% [markdown]
# ### Memory, by arithmetic and by measurement
#
# For $P$ weights of which $T$ are trained, in float32:
#
# $$\underbrace{4P}_{\text{weights}}+\underbrace{4T}_{\text{gradients}}
# +\underbrace{8T}_{\text{AdamW}}+\;\text{activations}.$$
#
# The last part is what the forward pass keeps for the backward pass, and it does not ask for $T$:
# to get a gradient to a matrix $A$ in the first layer, or to `delta` below it, one must come back
# through all layers above. PyTorch lets us listen to what it keeps (`saved_tensors_hooks`).


# %%
def harden(kind):
    """The delivered victim, with those parameters free that `kind` says."""
    set_seed(0)
    victim = advlib.load_classifier(SOURCE)
    if kind.startswith("LoRA"):
        return with_lora(victim, int(kind.split()[1]))
    for name, p in victim.model.named_parameters():
        p.requires_grad_(kind == "full" or is_head(name))
    return victim


def memory(victim, batch, delta):
    """Bytes of weights, gradients, AdamW's states and activations in one training step."""
    model = victim.model.train()
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def listen(tensor):
        place = tensor.untyped_storage()
        if place.data_ptr() not in own:
            kept[place.data_ptr()] = place.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(listen, lambda tensor: tensor):
        loss = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    loss.backward()
    optimizer.step()
    states = [s for state in optimizer.state.values() for s in state.values() if s.numel() > 1]
    model.zero_grad()
    return {"weights": sum(p.nbytes for p in model.parameters()),
            "gradients": sum(p.nbytes for p in trained), "AdamW": sum(s.nbytes for s in states),
            "activations": sum(kept.values())}


KINDS = ("head only", "LoRA 1", "LoRA 4", "full")
bytes_of, trained = {}, {}
print("MiB            trained     weights  gradients   AdamW   activations: clean   with delta")
for kind in KINDS:
    victim = harden(kind)
    batch = victim.encode(texts[:32], opinions[:32])
    delta = torch.zeros(*batch["input_ids"].shape, 1, device=victim.device, requires_grad=True)
    hidden = victim.model.get_input_embeddings().weight.shape[1]
    clean = memory(victim, batch, None)
    found = memory(victim, batch, delta.expand(-1, -1, hidden))
    bytes_of[kind], trained[kind] = found, count(victim.model)
    mib = {name: value / 2**20 for name, value in found.items()}
    print(f"{kind:10} {trained[kind]:11,} {mib['weights']:11.2f} {mib['gradients']:10.3f} "
          f"{mib['AdamW']:7.3f} {clean['activations'] / 2**20:20.2f} {mib['activations']:12.2f}")
course.claim("10.memory", held=bytes_of, trained=trained)

# %% [markdown]
# Gradients and optimiser states shrink with the number of trained parameters; activations stay.
# *Head only* needs next to none of them in clean training, and most of them (here two thirds) as
# soon as an attack asks for the gradient at the embeddings; LoRA needs about those of full training
# anyway. So for a small model little is saved. For a large one it is 12 of the 16 bytes per weight.
# And the disk is always saved: a second, hardened model is a small file beside the first.
#
# ### Prediction 10.c: three ways to harden

# %%
guess = course.predict(
    "10.c",
    "hardened with the same texts and steps: which of these three is least robust under PGD?",
    guess=None,
    options=("head only", "LoRA 1", "full", "all about the same"),
)

# %%
PGD5 = PGD(0.3, steps=5)
RATE = {"full": profile.pick(2e-3, 2e-5), "head only": profile.pick(5e-3, 1e-3)}
LORA_RATE = profile.pick(1e-2, 1e-3)
hard_rows = shuffled(len(texts), profile.pick(24, 32), profile.pick(26, 100))
as_delivered = measure(advlib.load_classifier(SOURCE), test, PGD5)
RUN = ("head only", "LoRA 1", "full")
hardened = {}
for kind in RUN:
    victim = harden(kind)
    target = Adversarial(FGM(0.3, same_dropout=True), lam=1.0)
    fit(victim, texts, opinions, hard_rows, target, RATE.get(kind, LORA_RATE))
    hardened[kind] = measure(victim, test, PGD5)
order = sorted(RUN, key=lambda kind: hardened[kind][1])
spread = hardened[order[-1]][1] - hardened[order[0]][1]
guess.reveal(order[0] if spread > 0.05 else "all about the same")
print(f"as delivered           clean {as_delivered[0]:6.1%}, under PGD {as_delivered[1]:6.1%}")
for kind, (clean, under) in hardened.items():
    print(f"{kind:9} {trained[kind]:11,}  clean {clean:6.1%}, under PGD {under:6.1%}")
course.claim("10.hardened", hardened=hardened, delivered=as_delivered[1])

# %% [markdown]
# One run of each, and some hundred texts, say little. So here are five seeds (other batches, other
# dropout), *recorded* in the built-in world with `python benchmarks/recorded_10.py`: the share
# still right under PGD, in %.
#
# | seed | 0 | 1 | 2 | 3 | 4 |
# |---|---|---|---|---|---|
# | head only | 45.6 | 42.7 | 44.7 | 42.7 | 44.7 |
# | LoRA 1 | 54.4 | 45.6 | 57.3 | 52.4 | 51.5 |
# | full | 53.4 | 52.4 | 63.1 | 58.3 | 58.3 |
#
# In five seeds LoRA lay above the head every time, by 3 to 13 points, and *full* above LoRA in
# four. This page shows one of them. At rank 1 LoRA has fewer parameters than the head, so their
# number is not what decides. The head can only draw another boundary through the features as they
# are; LoRA reaches the layers that *make* the features. (Each kind has a learning rate of its own,
# chosen on other texts: small paths that carry all the change want several times the rate of
# *full*. And these runs are short: lesson 08 shows what *full* comes to when it is given time. For
# rank 4 put `"LoRA 4"` into `RUN`.)

# %%
figures.hardened(hardened, as_delivered, trained, bytes_of)

# %% [markdown]
# *The figure: left, accuracy without attack (black dots) and under PGD (pink squares) against the
# number of trained parameters, on a log scale; the thin lines are the model as delivered. Right,
# what a training step holds in memory.*
#
# <details><summary>What you should see</summary>
#
# In the built-in world the head lies, under PGD, below LoRA of a similar size. The orange part of
# the memory, the activations, is there in every row.
#
# </details>

# %% [markdown]
# And at the size of your own model? Weights, gradients and AdamW are arithmetic; activations grow
# in proportion to the batch and (roughly) to layers times width. Move the sliders: (1) BERT-base,
# a batch of 8, rank 4: about which share of the memory of full training is left? (2) From which
# batch size on do the activations of BERT-base outweigh all the rest, at rank 4 and for *full*?

# %%
config = victim.model.config
layers, tokens = config.num_hidden_layers, batch["input_ids"].shape[1]
each = bytes_of["full"]["activations"] / (32 * tokens * layers * hidden)  # bytes per number
MODELS = {  # parameters, LoRA's parameters per rank, activations of one text in bytes
    "this model": (victim.model.num_parameters(), trained["LoRA 1"],
                   each * tokens * layers * hidden),
    "BERT-base": (109_483_778, 12 * (4 * 1536 + 2 * 3840), each * tokens * 12 * 768),
}


def bill(name, rank, size):
    """Bytes in a training step of a model, for a rank (None: full) and a batch size."""
    total, per_rank, per_text = MODELS[name]
    free = total if rank is None else rank * per_rank
    fixed = total if rank is None else total + free
    return {"weights": 4 * fixed, "gradients": 4 * free, "AdamW": 8 * free,
            "activations": size * per_text}


figures.bills(bill, [(name, 4, size) for name in MODELS for size in (8, 128)])

# %% [markdown]
# *The figure: what a training step holds, for LoRA of rank 4 and for full training: weights (grey),
# gradients (light blue, crossed), AdamW (blue, hatched) and activations (orange, dotted).*
#
# <details><summary>What you should see</summary>
#
# With a small batch the weights' own share (grey, light and dark blue) decides, and LoRA leaves a
# fraction of it; with a large batch the activations (orange) do, and LoRA leaves nearly all of
# them.
#
# </details>
#
# <details><summary>Answers</summary>
#
# (1) About three tenths: the weights are left, a quarter of the 16 bytes, and the activations
# come on top. (2) At rank 4 as soon as the activations exceed 4 bytes per weight, for
# *full* four times later. (Both answers depend on the length of your texts.)
#
# </details>

# %%
figures.explore_bill(bill, MODELS, hardened)
small, whole = (sum(bill("BERT-base", r, 8).values()) for r in (4, None))
course.claim("10.share", small=small, whole=whole, most=profile.pick(0.35, 0.5))

# %% [markdown]
# ## 4 · Only the perturbation
#
# At the far end of the scale the model is not trained at all. So far every text had a `delta` of
# its own. How good can *one* be, made once and for all texts? (Moosavi-Dezfooli et al. 2017 found
# such universal perturbations for images; the triggers of lesson 06 are the same thought in
# words.) Texts have different lengths, so we take one vector $v$ and add it to *every* word:
#
# $$\max_{\|v\|\le\texttt{eps}}\ \frac1n\sum_i m\bigl(x_i+v\bigr),$$
#
# with $m$ the log-odds of being wrong (lesson 04), gradient ascent and projection as in PGD. The
# length is that of one word's push; the library's attacks measure it so with `scope="token"` (every
# word has a ball of its own, instead of one ball for the whole text). The number of parameters of
# this attack is `hidden`.

# %% [markdown]
# ### Exercise 10.4: one vector for all texts · ●●○ · 12 min
#
# Write `universal_step(model, batch, v, eps, step_size)`. `v` has shape `(hidden,)` and is added
# to every attackable token of every text (not to padding and special tokens). Take the gradient of
# the *mean* log-odds of being wrong over the batch with respect to `v`, go a step of length
# `step_size` along it, and back to the nearest point of the ball $\|v\|_2\le$ `eps`. Return the
# new `v`, without a graph. Where the gradient is zero, `v` stays. `eps` and `step_size` are
# lengths as they are (no relative units). Leave the old `v`, the batch and the model (the mode in
# which it runs, its parameters' `.grad`) as they are.
#
# You have `attackable(batch)`, `perturbed_logits(model, batch, delta)` with `delta` of shape
# `(batch, tokens, hidden)`, and `wrong_margin(logits, labels)`, the log-odds per text.
#
# <details><summary>Hint</summary>
#
# A fresh leaf: `v.detach().clone().requires_grad_()`. A vector times a mask of shape `(batch,
# tokens, 1)` gives a `delta`; the gradient finds its way back through that product and adds up
# over all tokens and texts by itself. `torch.autograd.grad` leaves no traces in the model.
#
# </details>


# %%
def universal_step(model, batch, v, eps, step_size):
    """One step of ascent on the mean log-odds for the one vector v, (hidden,); projected."""
    # SOLUTION


universal_step = course.exercise("10.4", universal_step)

# %% [markdown]
# The attacker learns `v` on 60 texts of each class and uses it on texts that he has never seen.
# We let him have one vector per direction, one that steers negative texts to "positive" and one
# the other way; why, the last line of the next output says.
#
# ### Prediction 10.d: one vector on unseen texts

# %%
guess = course.predict(
    "10.d",
    "one vector per direction, 0.2 of a word's length on every word: the share of unseen texts "
    "that stay right?",
    guess=None,
    low=0,
    high=1,
)

# %%
victim = advlib.load_classifier(SOURCE)
model, table = victim.model, victim.model.get_input_embeddings().weight.detach()
unit, hidden = table.norm(dim=1).mean().item(), table.shape[1]


def of_class(data, c, most=60):
    """A batch of texts of class c."""
    chosen = [t for t, y in zip(data["text"], data["label"], strict=True) if y == c][:most]
    return victim.encode(chosen, [c] * len(chosen))


def learn(batch, eps, steps=6):
    v = torch.zeros(hidden, device=victim.device)
    for _ in range(steps):
        v = universal_step(model, batch, v, eps * unit, eps * unit / 3)
    return v


def right_under(v, batch):
    with torch.no_grad():
        logits = perturbed_logits(model, batch, v * attackable(batch)[..., None])
    return (wrong_margin(logits, batch["labels"]) < 0).float().mean().item()


seen, unseen = [[of_class(d, c) for c in (0, 1)] for d in (train, test)]
SIZES = (0.1, 0.2, 0.4)
found = {name: [] for name in ("any vector", "noise", "seen", "unseen", "FGM")}
kept = {}
for size in SIZES:
    pair = kept[size] = [learn(batch, size) for batch in seen]
    chance = torch.randn(hidden, generator=torch.Generator().manual_seed(0)).to(victim.device)
    chance = size * unit * chance / chance.norm()
    found["any vector"].append(sum(right_under(chance, b) for b in unseen) / 2)
    found["seen"].append(sum(map(right_under, pair, seen)) / 2)
    found["unseen"].append(sum(map(right_under, pair, unseen)) / 2)
    found["noise"].append(measure(victim, test, Noise(size, scope="token"))[1])
    found["FGM"].append(measure(victim, test, FGM(size, scope="token"))[1])
guess.reveal(found["unseen"][1])
print("length, in words" + "".join(f"{size:8}" for size in SIZES))
for name, values in found.items():
    print(f"{name:16}" + "".join(f"{value:8.1%}" for value in values))
course.claim("10.universal", found=found)

both = victim.encode(train["text"][:120], train["label"][:120])
one = learn(both, 0.2)
sides = [right_under(one, b) for b in unseen]
print(f"one vector for both directions, length 0.2: right on {sides[0]:.0%} of the texts of "
      f"class 0, {sides[1]:.0%} of class 1")

# %% [markdown]
# *One* vector for both directions mostly harms one class: a push towards "positive" confirms what
# is positive already. Per direction it is a real attack. When it is used it needs no access to the
# model, no gradient, not even the text, and it works on texts that it has never met. For small
# lengths it is weaker than FGM, which looks at each text: in the built-in world by far, with a real
# encoder perhaps by a few points only. For large ones compare with care: FGM has one look at the
# gradient, and the vector was made in six steps; PGD on each text would again be stronger than
# both.

# %%
figures.universal(SIZES, found)

# %% [markdown]
# *The figure: the share of texts that stay right against the length of the push on every word: one
# random vector (open circles), noise (grey squares), the universal vectors on the texts that they
# were made on (orange, dotted) and on unseen ones (orange, full), and FGM, made for each text
# (green, dashed).*
#
# <details><summary>What you should see</summary>
#
# A random vector and noise do next to nothing. In the built-in world the universal vectors do
# little while they are short, and much when they are longer; a real encoder may give way to short
# ones already. Seen and unseen texts fare nearly alike. FGM bites from the beginning.
#
# </details>
#
# Which words does `v` look like? The rows of the embedding table that it points to most (one line
# per vector, named after the class of the texts that it is used on):

# %%
# The cosine of v with every word's embedding, the words measured from the mean word.
centred = F.normalize(table - table.mean(0), dim=1)
for c, v in enumerate(kept[0.4]):
    nearest = (centred @ F.normalize(v, dim=0)).topk(6).indices.tolist()
    words = " ".join(victim.tokenizer.convert_ids_to_tokens(nearest))
    print(f"used on {victim.labels[c]:8}: {words}")

# %% [markdown]
# In the built-in world one vector leads where one would expect: the push on positive texts points
# to words of the opposite opinion. The other does not: the push on negative texts points mostly to
# words that name things. (A real encoder may show words of opinion for both.) A vector is made to
# move the model's answer, not to be a word, and nothing says that there is a fitting word near it.

# %% [markdown]
# ## 5 · Let a search choose
#
# `eps`, `lam` and `steps` have been chosen by hand all along. Optuna tries settings, remembers
# what they gave and proposes better ones; a *pruner* stops a run early that looks worse than the
# runs before it did at the same point. What it needs from us is **one number** per run, and here
# two matter: robust accuracy, as long as clean accuracy does not fall below what the product can
# bear.
#
# A weighted sum would let a lot of the one buy any lack of the other (a model that says "positive"
# to everything is perfectly robust on half of the texts). So: a constraint, `clean >= least`.

# %% [markdown]
# ### Exercise 10.5: a score with a limit · ●○○ · 6 min
#
# Write `search_score(clean, robust, least)`, three numbers in, one number out; larger is better:
#
# - where `clean` is at least `least` (equal counts): `robust`;
# - else the shortage, `clean - least`, which is negative: so every run that keeps the limit beats
#   every run that does not, and among the latter the search learns which way is back;
# - where `clean` or `robust` is `nan` (a run that blew up): −1.0, below all others.
#
# <details><summary>Hint</summary>
#
# `nan >= 0.9` is False and `nan < 0.9` is False as well, so ask first: `math.isnan`.
#
# </details>


# %%
def search_score(clean, robust, least):
    """Robust accuracy within the limit, else the shortage of clean accuracy; -1 for nan."""
    # SOLUTION


search_score = course.exercise("10.5", search_score)

# %% [markdown]
# Each trial hardens the delivered victim (LoRA, rank 1) with its own `eps`, `lam` and `steps`, in
# three rounds. After each round the model is judged on *validation* texts, always by the same
# attack and the same `eps = 0.3`: what is searched for may not change what is measured. The test
# set is not touched until one setting has been chosen.
#
# Optuna's parts: `TPESampler` draws the first settings (`n_startup_trials`) at random, and later
# ones near those that scored well; `MedianPruner` stops a trial that is below the median of the
# earlier ones after the same round (from the third trial on, and with `n_warmup_steps=0` from the
# first round on).

# %%
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
LEAST, TRIALS, ROUND = 0.9, profile.pick(5, 10), profile.pick(7, 25)
validation = data["validation"].select(range(profile.pick(100, 200)))
JUDGE = PGD(0.3, steps=2)
scores = {}  # number of the trial -> (clean, robust) on validation after each round
models = {}


def objective(trial):
    eps = trial.suggest_float("eps", 0.03, 1.0, log=True)
    lam = trial.suggest_float("lam", 0.1, 10.0, log=True)
    steps = trial.suggest_int("steps", 1, 2)
    victim = models[trial.number] = harden("LoRA 1")
    target = Adversarial(PGD(eps, steps=steps, same_dropout=True), lam=lam)
    for k in range(3):
        rows = hard_rows[k * ROUND : (k + 1) * ROUND]
        fit(victim, texts, opinions, rows, target, LORA_RATE)
        pair = measure(victim, validation, JUDGE)
        scores.setdefault(trial.number, []).append(pair)
        score = search_score(*pair, LEAST)
        trial.report(score, k)
        if trial.should_prune():
            raise optuna.TrialPruned()
    return score


study = optuna.create_study(
    direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, n_startup_trials=3),
    pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=0))
study.optimize(objective, n_trials=TRIALS)

print("trial    eps    lam  steps   rounds   clean   robust    score")
for t in study.trials:
    clean, robust = scores[t.number][-1]
    mark = "  best" if t.number == study.best_trial.number else ""
    mark = "  pruned" if t.state == optuna.trial.TrialState.PRUNED else mark
    print(f"{t.number:5} {t.params['eps']:6.2f} {t.params['lam']:6.2f} {t.params['steps']:6} "
          f"{len(scores[t.number]):8} {clean:7.1%} {robust:8.1%} "
          f"{search_score(clean, robust, LEAST):8.3f}{mark}")

# %%
curves = {number: [search_score(*pair, LEAST) for pair in found]
          for number, found in scores.items()}
figures.search({t.number: t.params for t in study.trials}, curves, study.best_trial.number)

# %% [markdown]
# *The figure: left, the score of every trial after each round, with the trial's number where it
# ends; the full blue line is the best. A trial that ends before round 3 was pruned. Right, where
# the trials lay: a larger dot is a better score (the smallest is the worst trial), a pale one was
# pruned, and a cross, if there is one, broke the limit on clean accuracy.*
#
# So few trials are hardly a search: three of them were drawn at random, and some may have ended
# after one round. It shows how one is set up; raise `TRIALS` when you have the time. Where a curve
# falls, remember that each round is a call of `fit`, which goes back to the full learning rate and
# disturbs the model before it mends it. The pruner sees only what comes of that. It saves work, not
# mistakes. And one text more or less is a percent here (half of one in the larger profiles): the
# order of trials that lie two or three percent apart is chance.
#
# Now, once, the test set:

# %%
best = study.best_trial
delivered = advlib.load_classifier(SOURCE)
for name, victim, seen_there in (
    ("as delivered", delivered, measure(delivered, validation, JUDGE)),
    ("hardened by the best trial", models[best.number], scores[best.number][-1]),
):
    (vc, vr), (tc, tr) = seen_there, measure(victim, test, JUDGE)
    print(f"{name:27} validation: clean {vc:.1%}, robust {vr:.1%}   test: clean {tc:.1%}, "
          f"robust {tr:.1%}")
if profile.name == "smoke":
    course.claim("10.limit", clean=scores[best.number][-1][0], least=LEAST)

# %% [markdown]
# ### What a search does to a test set
#
# Why not search on the test set directly, when that is what is reported in the end? Take runs that
# are *all equally good*: each has a true robust accuracy of 60 %, measured on `n` texts. Report the
# best of `k`. No model is needed to see what happens.
#
# ### Prediction 10.e: the best of a hundred

# %%
guess = course.predict(
    "10.e",
    "100 runs, all truly at 60 %, each measured on 100 texts: what does the best one show?",
    guess=None,
    low=0.5,
    high=1,
)

# %%
coins = torch.Generator().manual_seed(0)
winners = {}
for n in (100, 1000):
    hits = (torch.rand(200, 100, n, generator=coins) < 0.6).float().mean(2)  # repeats, runs
    winners[n] = [hits[:, :k].amax(1).mean().item() for k in (1, 10, 100)]
guess.reveal(winners[100][2])

# %% tags=["nbval-check-output"]
print("best of    1      10     100 runs")
for n, best_of in winners.items():
    print(f"n = {n:4} " + "  ".join(f"{w:.0%}".rjust(5) for w in best_of))

# %% [markdown]
# With 100 texts and 100 runs, twelve points of "progress" where there is none: the best of many
# numbers is partly the luckiest. The cure is what
# you just did: choose on one set, report on another, once. Every look at the test set that changes
# what you do next uses it up.

# %% [markdown]
# ## Recap
#
# - **Texts without labels** can take part in the second term of VAT. Average the first term over
#   the labelled texts only, mind the batch that has none, and mix batches on purpose.
# - **Controls decide, and they need the same work.** With a hundred labels in the built-in world
#   nobody was clearly ahead in this page's short race; in the recorded longer one, through nearly
#   all texts without a label, VAT was ahead under attack, but not without one.
# - **Reading on** (masked words, no labels) in a domain that is new to the encoder raises accuracy
#   there, and robust accuracy too; reading as much of the old domain raises the first hardly at
#   all and the second by less. Give new words rows of their own and train those alone: nothing
#   that is known can be lost.
# - **LoRA** freezes $W$ and trains $(\texttt{alpha}/r)\,BA$, with $B=0$ at the start. Where the
#   parameters sit counted more than how many they are: in five seeds of five on the built-in
#   world, rank 1 inside the layers withstood more than a head with more parameters.
# - Frozen weights save gradients and optimiser states, **not activations**, and they do not stop
#   an attack.
# - **One vector** for all texts is a real attack once it is long enough, and it carries over to
#   texts that it was not made on.
# - **Search** with one score and a hard limit, on validation; the test set once.
#
# ## What could go wrong
#
# - **A mean over no label**: `nan` in the loss, in every sum and log that it enters, and in every
#   decision that is based on them.
# - **−100 into a function that does not know it**: as an index it may mean "from the end".
# - **A control that was not run**, or one with less work: VAT beside *plain* alone looks like the
#   only difference is the adversary.
# - **One seed with few labels.** Which texts have one can matter more than the method.
# - **`lam` or `eps` of VAT too large, too early**: a model that says the same to everything has no
#   divergence at all.
# - **Language modelling on the test texts**: even without their labels it is a look at the test
#   set.
# - **LoRA with B random, or A and B zero**: a damaged start, or no training at all. An `alpha`
#   that is not divided by `r`: every rank then wants its own learning rate.
# - **"Frozen, so it cannot be attacked"**, or an attack that silently does nothing because
#   somebody wrote `torch.no_grad()` round the backbone. The library's attacks refuse then.
# - **The search may choose the `eps` it is judged at**: it will choose a small one.
#
# ## Further reading
#
# - T. Miyato, A. Dai, I. Goodfellow, *Adversarial Training Methods for Semi-Supervised Text
#   Classification*, ICLR 2017, arXiv 1605.07725. On long reviews VAT lowers the error well below
#   that of random perturbations; on one data set of short ones, Rotten Tomatoes, VAT alone was
#   *worse* than the baseline. They say so, and you should.
# - D.-H. Lee, *Pseudo-Label: The Simple and Efficient Semi-Supervised Learning Method for Deep
#   Neural Networks*, ICML 2013 workshop. The control of section 1.
# - S. Gururangan, A. Marasović, S. Swayamdipta, K. Lo, I. Beltagy, D. Downey, N. Smith, *Don't
#   Stop Pretraining: Adapt Language Models to Domains and Tasks*, ACL 2020, arXiv 2004.10964.
# - E. Hu, Y. Shen, P. Wallis, Z. Allen-Zhu, Y. Li, S. Wang, L. Wang, W. Chen, *LoRA: Low-Rank
#   Adaptation of Large Language Models*, ICLR 2022, arXiv 2106.09685.
# - S.-M. Moosavi-Dezfooli, A. Fawzi, O. Fawzi, P. Frossard, *Universal Adversarial Perturbations*,
#   CVPR 2017, arXiv 1610.08401.
# - E. Wallace, S. Feng, N. Kandpal, M. Gardner, S. Singh, *Universal Adversarial Triggers for
#   Attacking and Analyzing NLP*, EMNLP 2019, arXiv 1908.07125. The same in words.
# - T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, *Optuna: A Next-generation Hyperparameter
#   Optimization Framework*, KDD 2019, arXiv 1907.10902.
#
# > **Ethics** The threat model of this lesson: an attacker who knows the model (white box) and
# > writes to its embeddings, at most `eps` far per text, or per word in section 4. There one
# > vector, made once, serves against all texts, and whoever has it needs neither the model nor the
# > texts: publish how well it works, not the vector of a system that is in use. Texts without
# > labels are somebody's texts all the same: that nobody had to label them does not mean that
# > nobody had to be asked.

# %%
course.progress("10")
