# %% [markdown]
# # 12 · Full GPU adversarial fine-tuning
#
# {{BADGE}}
#
# **You will**
#
# - work out what a training step holds in memory, and measure it before the limit does;
# - predict the price of an adversarial run, and check it by the run's own ledger;
# - train in half precision and without needless padding;
# - see in the curves of a run what went wrong;
# - cut a run in the middle, and keep all that it takes to go on;
# - write claims that the evidence carries.
#
# **Time** {{TIME}} About 90 minutes for you: 45 of reading, 45 of exercises. The appendix (several
# GPUs, a search, curves read by rules, and more) is another 70 minutes and can be left out: nothing
# builds on it.
#
# **Before** Lessons 07 to 09; lesson 10 for LoRA.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · Will it fit?
#
# You have half an hour of a T4, the GPU that Colab lends: 15 GiB of memory, of which about 14.5 are
# yours, since the driver keeps some. You want to fine-tune `bert-base-cased`, 108 million
# parameters, on SST-2 against an attacker. Before you press run, three questions can be answered
# with a pencil: does it fit, how long does it take, and what happens when the machine goes away in
# the middle?
#
# In the small profile the same cells train the course's small BERT on its own world, on a CPU, in
# seconds (`reviews-clean` with a new head: from `bert-tiny` on, the way is longer than a page). In
# the `colab` profile they train the real thing on 20,000 texts, in `full`, on a larger GPU, on all
# texts there are and for longer. Nothing but `profile.pick` differs. For data of your own put the
# path of a CSV file in place of `"stanfordnlp/sst2"`.

# %%
import copy
import math
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from transformers import TrainerCallback, set_seed
from transformers.trainer_pt_utils import get_length_grouped_indices

from advlib.attacks import FGM, PGD, Noise, WordSubstitution
from advlib.attacks.embedding import perturbed_logits
from advlib.objectives import Adversarial, Clean, FreeLB
from course.lesson_12 import figures, measure

source = profile.pick(smoke="reviews-clean", colab="google-bert/bert-base-cased")
corpus = profile.pick(smoke="reviews", colab="stanfordnlp/sst2")
data = advlib.load_text(corpus, train_size=profile.pick(384, 20_000, 10**6),  # in full: all
                        test_size=profile.pick(40, 200, 500))
labels = data["train"].features["label"].names
half = torch.cuda.is_available()  # fp16 where there is a GPU for it


def fresh(seed=0):
    """The encoder with a new head, the same one for the same seed."""
    set_seed(seed)
    found = advlib.load_classifier(source, labels=labels)
    found.model.classifier.reset_parameters()
    return found


config = fresh().model.config
L, H = config.num_hidden_layers, config.hidden_size
print(f"{source}: {fresh().model.num_parameters() / 1e6:.1f} million parameters, {L} layers of "
      f"width {H}; {len(data['train'])} texts to train on")

# %% [markdown]
# ### What a step holds
#
# Think of the memory as two heaps. The first is there whatever the batch is, and counts in
# *parameters*: every weight has 4 bytes in float32, its gradient 4 more, and AdamW remembers two
# moving averages, 4 + 4. **16 bytes a parameter**, before the first text comes in.
#
# The second counts in *tokens*. To go backward through a layer, PyTorch needs what went forward:
# the input of every matrix product, the input of every GELU, of every LayerNorm. These
# **activations** wait until the backward pass fetches them. Through one BERT layer of width
# $H$ (`hidden`), a token leaves behind:
#
# | what is kept | numbers | bytes in float32 | bytes under fp16 autocast |
# |---|--:|--:|--:|
# | the input of the products for q, k and v | H | 4 H | 6 H: each keeps its own copy |
# | q, k, v | 3 H | 12 H | 6 H |
# | the result of the attention | H | 4 H | 2 H |
# | the input of the first LayerNorm | H | 4 H | 4 H: LayerNorm stays in float32 |
# | the input of the feed-forward part | H | 4 H | 2 H |
# | before the GELU, 4 H wide | 4 H | 16 H | 8 H |
# | after the GELU | 4 H | 16 H | 8 H |
# | the input of the second LayerNorm | H | 4 H | 4 H |
# | **sum** | **16 H** | **64 H** | **40 H** |
# | two dropout masks, a byte each on a GPU | 2 H | 2 H | 2 H |
#
# So the activations of a step are about
#
# $$\texttt{batch}\cdot\texttt{length}\cdot\texttt{hidden}\cdot\texttt{layers}\cdot c,\qquad
# c = 64 \text{ or } 40,\ \text{plus 2 with dropout.}$$
#
# Half precision does not halve: the weights, their gradients and moments stay in float32, LayerNorm
# does, and a *half copy* of the weight matrices comes on top (2 bytes for each of the
# $12\cdot\texttt{layers}\cdot\texttt{hidden}^2$ numbers in them: $4H^2$ in the attention and
# $8H^2$ in the feed-forward part).
#
# There is no `length`² anywhere, since **SDPA**, the fused attention that transformers uses,
# does not keep the table of attention weights.
#
# <details><summary>When is it otherwise?</summary>
#
# The `eager` attention keeps the table. So does a CPU while there is dropout, and its masks have 4
# bytes: docs/results/memory.md counts 85 H a token and layer there. That is why the page measures
# without dropout.
#
# </details>
#
# The formula leaves out embeddings and head, LayerNorm's statistics, the work space of the kernels,
# the gaps between blocks, and the 0.3 to 0.5 GiB that CUDA itself takes. So what comes within 10 %
# of the limit is on the edge.
#
# Three levers:
#
# - **Checkpointing** (`activation_checkpointing=True`, in older versions `gradient_checkpointing`)
#   keeps only each layer's input, 4 H bytes a token in either precision, and computes the layer
#   once more on the way back, when this *one* layer's activations are there in full:
#   $\texttt{batch}\cdot\texttt{length}\cdot\texttt{hidden}\cdot(4\cdot\texttt{layers}+c)$. The
#   price is about one more forward pass for every backward one.
# - **LoRA** (lesson 10) trains few parameters: gradients and moments are for these alone
#   (`trainable`). The weights stay, and so do nearly all activations; the formula keeps all.
# - **Accumulation** takes a batch in several smaller ones; `batch` is then the small one.

# %% [markdown]
# ### Exercise 12.1: the memory of a step · ●○○ · 12 min
#
# Write `bytes_needed(params, trainable, layers, hidden, batch, length, fp16=False,
# checkpointing=False, dropout=True)`. Return a dictionary of five numbers of bytes, by the rules
# above:
#
# - `"weights"`: float32, of all `params`, with `fp16` too (and nothing but the weights);
# - `"half copies"`: 2 bytes for each number in the weight matrices with `fp16`, else 0;
# - `"gradients"` and `"moments"`: of the `trainable` parameters, float32 as well;
# - `"activations"`: with $c$ for the precision, 2 more with `dropout`, and checkpointing or not.
#
# <details><summary>Hint</summary>
#
# First `c = (40 if fp16 else 64) + ...`. With checkpointing `c` counts once and not `layers` times.
#
# </details>

# %%
def bytes_needed(params, trainable, layers, hidden, batch, length, fp16=False,
                 checkpointing=False, dropout=True):
    """Bytes of weights, half copies, gradients, moments and activations of a training step."""
    # SOLUTION


bytes_needed = course.exercise("12.1", bytes_needed)

# %% [markdown]
# `bert-base-cased` on a T4, by your function. `rank` 8 of LoRA on q and v has 4 · 8 · H numbers in
# each layer.

# %% tags=["nbval-check-output"]
GIB, USABLE = 2**30, figures.USABLE  # 14.5 of the T4's 15 GiB
BASE = dict(params=108_311_810, layers=12, hidden=768)
LORA = 4 * 8 * BASE["hidden"] * BASE["layers"]


def base(batch, length, lora=False, **how):
    trainable = LORA if lora else BASE["params"]
    parts = bytes_needed(trainable=trainable, batch=batch, length=length, **BASE, **how)
    return {name: count / GIB for name, count in parts.items()}


plans = {
    "SST-2: 32 texts of 32 tokens": base(32, 32),
    "long texts: 64 of 512 tokens": base(64, 512),
    "the same in fp16": base(64, 512, fp16=True),
    "in fp16, with LoRA": base(64, 512, fp16=True, lora=True),
    "in fp16, checkpointing": base(64, 512, fp16=True, checkpointing=True),
}
for name, parts in plans.items():
    total = sum(parts.values())
    verdict = "too much" if total > USABLE else "on the edge" if total > 0.9 * USABLE else ""
    print(f"{name:30} {total:5.1f} GiB  {verdict}".rstrip())

# %%
figures.memory(plans)

# %% [markdown]
# *The figure: what one training step of `bert-base-cased` holds, by arithmetic. A bar has the
# weights (grey), the half copies (light blue, crossed), the gradients (blue, hatched), the moments
# (dark) and the activations (orange, dotted), and its sum at the end.*
#
# <details><summary>What you should see</summary>
#
# With short texts three quarters are the 16 bytes a parameter (grey, blue, dark); with long ones
# the orange part decides, and 64 texts of 512 tokens do not fit in float32. Half precision shortens
# the orange part by a third or so and adds the half copies, a stripe so thin that one has to look
# for it; LoRA takes away the blue and the dark part, and checkpointing most of the orange.
#
# </details>
#
# Move the sliders. (1) In fp16 with 512 tokens, from which batch on does the bar cross the line?
# (2) For SST-2 (32 texts, 32 tokens): which lever helps, and which does nothing?
#
# <details><summary>Answers</summary>
#
# (1) At 72; the formula leaves things out, so 64 is already on the edge. (2) LoRA takes away
# more than half, checkpointing a quarter; fp16 next to nothing, since the half copies come on top:
# there it is for speed.
#
# </details>

# %%
figures.explore_memory(base)

# %% [markdown]
# ### Measured
#
# A prediction is worth what its measurement says. On a GPU `torch.cuda.max_memory_allocated()`
# gives the highest point of all tensors in one number. On any machine autograd tells more: with
# `saved_tensors_hooks` PyTorch hands us every tensor that it wants to keep. `measure.peak(model,
# step)` counts each block of memory once, leaves out the weights, and returns the highest point in
# bytes (forty lines, in `course/lesson_12/measure.py`).

# %%
victim = fresh()
model = victim.model
longest = sorted(data["train"], key=lambda row: -len(row["text"]))[:16]
batch = victim.encode([row["text"] for row in longest], [row["label"] for row in longest])
size, length = batch["input_ids"].shape
print(f"{size} texts of {length} tokens")
predicted, measured = {}, {}
for kind in ("float32", "fp16", "checkpointing"):
    saving = kind == "checkpointing"
    model.train(saving)  # it is off in eval mode
    if saving:
        measure.checkpointing(model, True)

    def forward(fp16=kind == "fp16"):
        with torch.autocast(profile.device, dtype=torch.float16, enabled=fp16):
            return perturbed_logits(model, batch, None).sum()

    parts = bytes_needed(*[model.num_parameters()] * 2, L, H, size, length, fp16=kind == "fp16",
                         checkpointing=saving, dropout=False)
    # Under autocast autograd keeps the half copies too: the way back multiplies by them.
    predicted[kind] = parts["activations"] + parts["half copies"]
    if saving:
        # Without the one layer's + c: it comes on the way back only.
        predicted[kind] -= size * length * H * 64
    measured[kind] = measure.peak(model, forward)
    print(f"{kind:13}: predicted {predicted[kind] / 2**20:7.2f} MiB, measured "
          f"{measured[kind] / 2**20:7.2f}, ratio {measured[kind] / predicted[kind]:.2f}")
measure.checkpointing(model, False)
course.claim("12.formula", predicted=predicted, measured=measured)

# %% [markdown]
# The difference is what the formula leaves out: embeddings, head and small statistics. With
# checkpointing only one vector per token and layer is left to count, so what lies before and behind
# the layers weighs as much as a few of them; the fewer layers, the more. The `+ c` of exercise
# 12.1, the one layer on the way back, is **not** measured here: our step goes forward only.
#
# ### Prediction 12.a: the memory of an attack
#
# Now the attack. PGD with 3 steps goes forward and backward three times before the step that
# teaches. How many graphs of activations are there at the fullest moment? (The library's attacks
# can see the network in two ways: without dropout, or, with `same_dropout=True`, with one and the
# same random dropout mask in all passes of the step. On this page that is called *one mask*.)

# %%
guess = course.predict(
    "12.a",
    "PGD-3 with one dropout mask: how many times plain training's activations, at the peak?",
    guess=None,
    options=("1", "2", "4"),
)

# %%
one = dict(same_dropout=True)
ways = {  # each with its units of work, which section 2 explains
    "plain": (Clean(), 3),
    "FGM, one mask": (Adversarial(FGM(0.3, **one)), 6),
    "PGD-3, one mask": (Adversarial(PGD(0.3, steps=3, **one)), 10),
    "FreeLB-3": (FreeLB(PGD(0.3, steps=3, random_start=True, **one)), 9),
    "FGM, dropout off": (Adversarial(FGM(0.3)), 8),
}
model.train()
peaks = {name: measure.peak(model, lambda w=way: w(model, batch))
         for name, (way, _) in ways.items()}
guess.reveal(f"{peaks['PGD-3, one mask'] / peaks['plain']:.0f}")
for name, most in peaks.items():
    print(f"{name:17} {most / 2**20:7.1f} MiB, {most / peaks['plain']:.2f} times plain")
course.claim("12.peaks", peaks=peaks)

# %% [markdown]
# Once. Each backward pass fetches its activations and frees them before the next forward pass
# begins; what remains of a round is `delta`: H numbers a token, one single H of the table above,
# and that for the whole network and not in each layer. **One graph at a time: an adversarial step
# needs hardly more memory than a plain one.**
#
# The last line is the exception, and it is not the attack's fault. With one dropout mask for
# all passes of the step (`same_dropout=True`) the library goes through clean and attacked batch one
# after the other. Where the attack sees the network without dropout it takes both in *one* training
# pass, a batch of twice the size. If you are short of memory, use one mask.
#
# ## 2 · How long will it take?
#
# Lesson 09's units: a forward pass, a backward pass to the input, and one on to the weights cost
# about the same; plain training has one of each, 3. By the number K of `steps`, with one mask:
#
# | objective | units of a step | K = 1 | K = 3 |
# |---|---|--:|--:|
# | plain | 3 | 3 | 3 |
# | `Adversarial(FGM or PGD)` | 2K + 4 | 6 | 10 |
# | the same with dropout off in the attack | 2K + 6 | 8 | 12 |
# | `FreeLB` | 3K | 3 | 9 |
#
# Count them: with one mask there are K inner rounds of forward and backward to the input (2K). The
# first of them *is* the clean pass, which needs only to go on to the weights (1); then comes the
# step on the attacked batch (3). With dropout off in the attack the inner rounds teach nothing
# (2K), and clean and attacked batch are a batch of twice the size (2 · 3). FreeLB goes on to the
# weights in each of its K rounds (3K) and has no others.
#
# And what is a unit in seconds? One pass multiplies every number of the weight matrices with every
# token, and adds: 2 operations. So a unit takes
# $2\cdot 12\cdot\texttt{layers}\cdot\texttt{hidden}^2\cdot\texttt{batch}\cdot\texttt{length}$
# operations.
#
# The data sheet of the T4 says 65 TFLOP/s in fp16 (8.1 in float32). Nobody gets that; **we assume a
# quarter**. And a GPU cannot work faster than Python hands it work: **we assume at least 10 ms a
# unit** for BERT-base, whose passes are some three hundred small kernels (in the table below that
# is what counts for 16 tokens: half of 32, but not half the time). Both numbers are assumptions.
# They make an *estimate*, and the ledger of your own run replaces it: **the minutes below are
# computed, and no run of this page has been timed on a T4.** (The plan in docs/scaling.md assumes
# 35 % for larger batches, and no such floor.)

# %%
SHARE, LEAST = 0.25, 0.010


def estimate(units, steps, batch, length, layers=12, hidden=768):
    """Minutes on a T4 in fp16: an estimate, from two assumptions."""
    work = 2 * 12 * layers * hidden**2 * batch * length
    return units * steps * max(work / (SHARE * 65e12), LEAST) / 60


print("ESTIMATE, not measured: bert-base-cased, T4, two epochs of 20,000 texts in batches of 32")
print("                     units   16 tokens   32 tokens   128 tokens")
for name, (_, units) in ways.items():
    minutes = [estimate(units, 1250, 32, tokens) for tokens in (16, 32, 128)]
    print(f"{name:18} {units:7}" + "".join(f"{t:8.1f} min" for t in minutes))
course.claim("12.estimate", short=estimate(6, 1250, 32, 16), planned=estimate(6, 1250, 32, 32))

# %% [markdown]
# In `colab` the run of section 5 is at most the second line at 32 tokens: by this estimate
# minutes, not hours, so that even if it is several times too low the half hour is enough. Now the
# ledger. Every trainer keeps one; `trainer.ledger()` gives among others the units per batch and
# `limit` (units/3, the ratio to plain training if time follows units). For a session of a few
# steps we look at the clock ourselves: the median of all steps but the first.

# %%
few = data["train"].select(range(64))
plain_ms, counted = None, {}
print("                     units   ms a step   times plain   limit")
for name, (way, _) in ways.items():
    clock = measure.Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = advlib.finetune(
            fresh(), few, way, out=folder, max_steps=profile.pick(6, 20), batch_size=16,
            after=0, learning_rate=2e-5, fp16=half, disable_tqdm=True,
            callbacks=[clock])
    cost, ms = trainer.ledger(), clock.milliseconds()
    plain_ms = plain_ms or ms
    print(f"{name:17} {cost['units']:8.1f} {ms:11.0f} {ms / plain_ms:13.2f} {cost['limit']:7.2f}")
    counted[name] = cost["units"]
# In fp16 the first gradients may overflow; an attack then makes its first pass itself.
table = {name: units for name, (_, units) in ways.items()}
course.claim("12.units", table=table, counted=counted, half=half)

# %% [markdown]
# The units agree to the last one, since they are counted and not timed. The times of so few steps
# hold whatever else your machine does, and the optimizer's own share of a step, which an attack
# does not repeat. docs/results/ledger-bert-tiny.md, measured with patience, finds 0.94 to 1.03
# times the limit for every objective. On a GPU take the milliseconds here times the number of steps
# for your own estimate.

# %% [markdown]
# ## 3 · Half precision
#
# A number in float16 has 16 bits: one is the sign, five say how large it is, ten say exactly where.
# The largest is 65504; the smallest step away from zero is 6e-8; and near 1 it knows three digits.
# The T4 has fast fp16 and no bf16 (which has the range of float32 and only two digits).

# %% tags=["nbval-check-output"]
gradient = torch.tensor(1e-8)
scale = 2.0**16
print("70000 in half precision:", torch.tensor(70000.0).half().item())
print("1e-8 in half precision:", gradient.half().item())
print("scaled, halved, scaled back:", round(((gradient * scale).half().float() / scale).item(), 10))
print("1.0001 - 1 in half precision:", (torch.tensor(1.0001).half() - 1).item())

# %% [markdown]
# Three things to fear, then: **overflow** to infinity, **underflow** to zero, and the loss of small
# *differences*. Mixed precision deals with the first two:
#
# - `autocast` makes the matrix products in fp16, and what is delicate (softmax, LayerNorm, losses)
#   in float32; the weights stay in float32;
# - **loss scaling** against underflow: the backward pass starts from $S\cdot\text{loss}$, so that
#   all gradients are $S$ times as large, and the optimizer divides by $S$ again;
# - where a gradient then overflows, the step is **skipped**: no weight moves, $S$ is halved, and
#   after 2,000 good steps in a row it is doubled. A few skipped steps at the start are no illness.
#
# Here by hand, with a scale far too large at first, for the library's objective. The objective
# takes an argument `backward`, a function that is called with the loss: the place for the scaling.

# %%
student = fresh().model.train()
adam = torch.optim.AdamW(student.parameters(), lr=1e-4)
scaler = torch.amp.GradScaler(profile.device, init_scale=2.0**24)
hardening = Adversarial(FGM(0.3, same_dropout=True))
small = {name: value[:2, :16] for name, value in batch.items() if name != "labels"}
small["labels"] = batch["labels"][:2]


def scaled(loss):
    # The objective calls this under autocast, which is for forward passes only.
    with torch.autocast(profile.device, enabled=False):
        scaler.scale(loss).backward()


scales = []
for step in range(30):
    before = student.classifier.weight.detach().clone()
    with torch.autocast(profile.device, dtype=torch.float16):
        hardening(student, small, scaled, step=step)  # step: for warm-up and random starts
    scales.append(scaler.get_scale())
    scaler.step(adam)
    scaler.update()
    adam.zero_grad()
    if not torch.equal(before, student.classifier.weight):
        break
skipped = len(scales) - 1
print(f"{skipped} steps skipped, no weight moved; the first good one at "
      f"2^{math.log2(scales[-1]):.0f}")
course.claim("12.skipped", skipped=skipped, scales=scales)

# %% [markdown]
# With the Trainer all of it is one argument, `fp16=True`.
#
# ### Where δ lives
#
# And δ? It is small beside the embeddings: `eps` spread over every number of a text. It **stays
# float32**, as do its gradient's length and the projection. Only the passes are made in half:

# %%
sure = advlib.load_classifier("reviews-clean")
reviews = advlib.load_text("reviews", train_size=1, test_size=36)["test"]
texts = sure.encode(list(reviews["text"]), list(reviews["label"]))
fgm = FGM(0.3)
exact = fgm(sure.model, texts)
with torch.autocast(profile.device, dtype=torch.float16):
    found = fgm(sure.model, texts)


def cosine(a, b):
    return F.cosine_similarity(a.flatten(1).float(), b.flatten(1).float())


lengths = found.flatten(1).norm(dim=1) / fgm.ball(sure.model).eps
cosines = cosine(found, exact)
print(f"{found.dtype}, length / eps from {lengths.min():.4f} to {lengths.max():.4f}, mean cosine "
      f"with float32's {cosines.mean():.4f}")
course.claim("12.delta", found=found, lengths=lengths, cosines=cosines)

# %% [markdown]
# The third danger, the small difference, remains where an attack climbs the *divergence* of two
# predictions that are almost equal at the start (TRADES, VAT and SMART, lesson 09). advlib makes
# these passes in float32, even under `autocast`; the appendix shows what half precision would miss.
#
# ## 4 · Nothing but padding
#
# A batch is a rectangle, and texts are not. Short ones are filled up with padding, and the GPU
# multiplies padding as earnestly as words. Three customs: pad everything to a fixed 128; pad each
# batch to its own longest text (**dynamic padding**); and make batches of texts of similar length
# (**length grouping**), by sorting within a large random piece of the data.

# %%
counts = [len(ids) for ids in victim.tokenizer(list(data["train"]["text"]))["input_ids"]]
counts = [min(n, 128) for n in counts]
draw = torch.Generator().manual_seed(0)
shuffled = torch.randperm(len(counts), generator=draw).tolist()
grouped = get_length_grouped_indices(counts, 32, generator=draw)


def rectangles(order, fixed=None):
    """[(lengths of the texts, width of the batch)], 32 texts to a batch."""
    batches = [[counts[i] for i in order[at : at + 32]] for at in range(0, len(order), 32)]
    return [(own, fixed or max(own)) for own in batches]


customs = {"fixed 128": rectangles(shuffled, 128), "dynamic": rectangles(shuffled),
           "grouped": rectangles(grouped)}
padding = {}
for name, batches in customs.items():
    cells = sum(len(own) * width for own, width in batches)
    padding[name] = 1 - sum(counts) / cells
    print(f"{name:10}: {padding[name]:5.1%} of {cells:8,} tokens are padding")
course.claim("12.padding", padding=padding)

# %%
figures.padding(customs, padding)

# %% [markdown]
# *The figure: three batches of each custom, a line per text: blue is text, grey is padding, the
# title says what share of all tokens is padding.*
#
# <details><summary>What you should see</summary>
#
# With a fixed width nearly everything is grey. Dynamic padding cuts each block at its longest text,
# and in a grouped block the texts end near one another.
#
# </details>
#
# `finetune` does both: the collator pads dynamically, and `train_sampling_strategy=
# "group_by_length"` is on. For δ none of it matters: padding is masked (lesson 03). Grouping has a
# price, though. Batches are less random, and where length goes with the label, lopsided.
#
# ### Accumulation: a large batch in small pieces
#
# If 32 texts do not fit, take four times 8, add up the gradients, divide by four, and only then
# make a step. Each text has its own δ, which does not know its neighbours, so the adversarial term
# accumulates as well. Equal, not similar (without dropout; and pieces of equal size):

# %%
model = fresh().model.eval()
rows = data["train"].select(range(32))
whole = victim.encode(list(rows["text"]), list(rows["label"]))


def gradient_of(objective, pieces):
    for k in range(pieces):
        part = {name: value[k::pieces] for name, value in whole.items()}
        objective(model, part, lambda loss: (loss / pieces).backward())
    found = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad()
    return found


once, four = (gradient_of(Adversarial(FGM(0.3)), pieces) for pieces in (1, 4))
far = (once - four).abs().max() / once.abs().max()
print(f"largest difference: {far:.1e} of the largest entry")
course.claim("12.accumulation", once=once, four=four)

# %% [markdown]
# With the Trainer: `batch_size=8, gradient_accumulation_steps=4`.
#
# ## 5 · The run
#
# Everything is in place. `warmup` lets λ grow from 0 over so many steps: an encoder that is
# attacked before it has learned anything tends to say one class for everything. (For a real encoder
# `finetune` also puts plain steps first, three in ten; `after=0` would leave them out.) Where do
# the checkpoints go? A Colab machine is taken away when its time is up, with its disk, so they
# belong on your Drive. The cell mounts it only if you say so, and only on Colab.

# %%
KEEP_ON_DRIVE = False  # on Colab: True asks for your consent and keeps checkpoints on your Drive

scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
out = Path(profile.pick(smoke=scratch.name, colab="runs/lesson-12"))
if KEEP_ON_DRIVE and "google.colab" in sys.modules:
    from google.colab import drive

    drive.mount("/content/drive")
    out = Path("/content/drive/MyDrive/advlib/lesson-12")

# %% [markdown]
# A run of many minutes wants to be watched. The Trainer speaks to **trackers**; `report_to` names
# them, and every number of the log becomes a curve. **TensorBoard** (`pip install tensorboard`;
# Colab has it) keeps them in *event files* in the run's folder. With `evaluation=` (validation
# texts) and `attack=` the log gets the accuracies without and under attack as well, here every
# `eval_steps` steps and under PGD; `metric_for_best_model="robust_accuracy"` would choose the best
# checkpoint by the second.
#
# We keep the newest *two* checkpoints: what was written last may still be on its way to a Drive
# when the machine goes, and then there is the one before it. For BERT-base each takes 12 bytes a
# parameter (weights and two moments), 1.3 GB.

# %%
tracker = "tensorboard" if find_spec("tensorboard") else "none"
held_out = data["validation"]
held_out = held_out.select(range(min(profile.pick(60, 200, 500), len(held_out))))
judge = PGD(0.3, steps=3)

EPOCHS = profile.pick(2, 2, 3)
steps = math.ceil(len(data["train"]) / 32) * EPOCHS
objective = Adversarial(FGM(0.3, same_dropout=True), lam=1.0, warmup=steps // 6)
victim = fresh()
trainer = advlib.finetune(
    victim, data["train"], objective, out=str(out / "run"), epochs=EPOCHS, batch_size=32,
    learning_rate=profile.pick(1e-3, 3e-5), fp16=half, logging_steps=profile.pick(2, 25),
    evaluation=held_out, attack=judge, eval_strategy="steps",
    eval_steps=profile.pick(6, 125, 500), report_to=tracker, save_strategy="steps",
    save_steps=profile.pick(12, 250, 500), save_total_limit=2, resume=True,
    disable_tqdm=profile.name == "smoke")
log = [line for line in trainer.state.log_history if "clean_loss" in line]
print("a line of the log has:", ", ".join(log[-1]))
print(f"{trainer.state.global_step} steps; forward {log[-1]['forward']:.0f}, backward "
      f"{log[-1]['backward']:.0f}, of these on to the weights {log[-1]['weights']:.0f}")
course.claim("12.run", made=trainer.state.global_step, steps=steps,
             first=log[0]["clean_loss"], last=log[-1]["clean_loss"])

# %% [markdown]
# (FGM's first step is shared with the clean pass, so two passes a step each way. In step 0 λ is
# still 0, and nothing is attacked: one pass is missing.)
#
# `tensorboard --logdir FOLDER` in a terminal, with the folder of the run, draws the curves in a
# browser while the run goes on. (In Colab, in a cell of its own and before you start the run:
# `%load_ext tensorboard`, then `%tensorboard --logdir runs`.) Here we read the same files
# ourselves.

# %%
own = measure.from_log(trainer.state.log_history)
if tracker == "none":
    print("tensorboard is not installed: the curves are those of the trainer's own log")
    curves = own
else:
    curves = measure.from_events(out / "run")
    print(f"{len(curves)} curves in the event files, among them train/lam and eval/robust_accuracy")
course.claim("12.tracker", curves=curves, own=own)

# %%
figures.tracked(curves, n=len(held_out))

# %% [markdown]
# *The figure: three panels over the steps, from the tracker. The loss without attack (black dots)
# and under the attack of the training (green triangles); the accuracy on validation texts without
# attack (black dots) and under PGD-3 (pink squares), with 95 % intervals; λ (yellow dots) and the
# learning rate (grey squares), each divided by its largest value.*
#
# <details><summary>What you should see</summary>
#
# The accuracy under PGD-3 is never above the one without attack; how far apart they are is what the
# losses do not say. λ takes a sixth of the steps to grow; with a real encoder it is 0 before that,
# for three steps in ten. The learning rate goes up for a tenth of the steps and then down to zero
# (the log has a line every `logging_steps` steps, so a bend may look a little later than it is).
#
# </details>
#
# Two things may surprise. The loss under attack may climb before it falls, even above
# ln 2 = 0.69, where guessing lies: a model that has begun to learn has something to lose. It is an
# illness only if it stays there. And a point that stands highest at one check proves little: look
# at the intervals.
#
# Weights & Biases does it without an account too: `os.environ["WANDB_MODE"] = "offline"`, then
# `report_to="wandb"`; `wandb sync` uploads later, if you like. Offline first: such a tracker is a
# stranger's server, and a log can hold texts.
#
# ### Curves that went wrong
#
# A run that stops with an error is the lucky case. These run to their end. They are made up, but
# true to life.

# %%
figures.went_wrong()

# %% [markdown]
# *The figure: six runs, A to F, a column each, over the steps. Above: the clean loss (black) and λ
# (thin, yellow). Below, of the validation texts: the accuracy under FGM (a broad pale line) and
# under PGD (dashed, squares), and the share that gets the class said most often (dotted, dots). One
# run is healthy. The others suffer from an overflow, a learning rate that is too large, a collapse
# to one class, over-fitting to the attack of the training, and a warm-up that is too long.*
#
# ### Prediction 12.b: which run is which?
#
# Look at all six before you go on.

# %%
guess = course.predict(
    "12.b",
    "which panel shows the run that looks well to everybody but a stronger attacker?",
    guess=None,
    options=tuple(figures.PANELS),
)

# %%
guess.reveal(next(panel for panel, kind in figures.PANELS.items() if kind == "over-fitting"))
print(", ".join(f"{panel}: {kind}" for panel, kind in figures.PANELS.items()))

# %% [markdown]
# In the *collapse* the clean loss stays near ln 2 = 0.69, and one class is said of all texts. With
# the *warm-up* that is too long λ is still on its way when the run ends: on average it was a fifth
# of what was wanted, so the run was nearly plain training, and no loss says so. With the *learning
# rate* the clean loss rises above where it began. In *over-fitting* everything looks well except
# PGD. With the *overflow* the line of the clean loss simply ends: NaN cannot be drawn, and weights
# that are NaN say one class of all texts.
#
# | Illness | Cure |
# |---|---|
# | overflow | smaller learning rate, or float32 (the library stops before weights become NaN) |
# | learning rate | a tenth of it; let it, too, grow over more steps (`warmup_steps`) |
# | collapse | a smaller `eps`, λ from 0 (`warmup`), a plain epoch first |
# | over-fitting | PGD in place of FGM, the best checkpoint (lesson 09) |
# | warm-up | `warmup` in steps is more than the run has: count them |
#
# The log of the library's trainer has `lam` in each line. It helps only those who look. (In the
# appendix a function looks, exercise 12.5.)

# %% [markdown]
# ## 6 · A cut, and the way back
#
# Colab's promise is that the machine may go at any time. What must be on disk so that a run can go
# on *as if nothing had happened*? Everything that the next step depends on. Miss one thing, and
# the run goes on nevertheless, only that it is another run, which nobody can tell from its curve.
#
# Here is a training loop with everything in sight: a small network with dropout, AdamW, a schedule,
# an order of the data that is drawn anew in each epoch, and a random start of δ.

# %%
class Loop:
    """A training loop that can be looked at: all that a step depends on is an attribute, except
    for the dropout, which draws from torch's global random state."""

    def __init__(self, X, y, seed=0):
        self.X, self.y = X, y
        self.model = nn.Sequential(nn.Linear(X.shape[1], 8), nn.Tanh(), nn.Dropout(0.3),
                                   nn.Linear(8, 2))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.05)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.generator = torch.Generator().manual_seed(seed)  # of the order and of the starts
        self.order = []  # of the texts in this epoch, a list of numbers
        self.at = 0  # how far we are in it

    def step(self):
        if self.at >= len(self.order):
            self.order = torch.randperm(len(self.X), generator=self.generator).tolist()
            self.at = 0
        chosen = self.order[self.at : self.at + 4]
        self.at += 4
        x, y = self.X[chosen], self.y[chosen]
        delta = 0.1 * torch.randn(x.shape, generator=self.generator)
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x + delta), y).backward()
        self.optimizer.step()
        self.scheduler.step()

# %% [markdown]
# ### Exercise 12.2: make a resume exact · ●●○ · 18 min
#
# Somebody's checkpoint is `{"model": loop.model.state_dict()}`. Write `checkpoint(loop,
# state=None)`. With `state=None` it *returns the state*: a dictionary with everything that the next
# steps depend on. Called with such a state, it *restores* it into `loop` (another `Loop` on the
# same data, with other weights and another seed), all attributes as they were, and returns nothing;
# from then on both loops make the same steps, bit for bit, also if only a copy of the state is
# left, as a file would hold it: dictionaries, lists, numbers, strings and tensors, no other
# objects.
#
# The data need not be kept. Three traps: a `state_dict()` holds the *living* tensors, which the
# next step changes, so keep a copy; `optimizer.load_state_dict` keeps the tensors that it is given,
# so the next step changes the *state*, which may be restored twice; and neither saving nor
# restoring may take numbers from a generator that the loop still needs.
#
# You need: `state_dict()` and `load_state_dict()` of model, optimizer and scheduler;
# `generator.get_state()` and `generator.set_state(s)`; `torch.get_rng_state()` and
# `torch.set_rng_state(s)`, the global random state; `copy.deepcopy`.
#
# <details><summary>Hint</summary>
#
# Go through `__init__` and `step` line by line, and ask of each name: does it change from step to
# step? There are six such attributes, and the global state.
#
# </details>

# %%
def checkpoint(loop, state=None):
    """The state of a loop, or, with a state, the way back to it."""
    # SOLUTION


checkpoint = course.exercise("12.2", checkpoint)

# %%
set_seed(0)
X = torch.randn(10, 3)
loop = Loop(X, (X[:, 0] > 0).long())
for _ in range(7):
    loop.step()
kept = copy.deepcopy(checkpoint(loop))  # in place of a file
for _ in range(5):
    loop.step()
other = Loop(loop.X, loop.y, seed=9)
checkpoint(other, kept)
for _ in range(5):
    other.step()
pairs = list(zip(loop.model.parameters(), other.model.parameters(), strict=True))
course.claim("12.loop", pairs=pairs)

# %% [markdown]
# Now the real thing, with the library's trainer. A run of six steps, with a checkpoint every
# two. Once to the end; once with an accident in step 5. And to make it worse we leave half a
# checkpoint behind, as a machine does that goes away while it writes.

# %%
class Accident(TrainerCallback):
    """Takes the machine away after so many steps."""

    def __init__(self, after):
        self.after = after

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.after:
            raise RuntimeError("the machine is gone")


def run(folder, after=None):
    student = fresh()
    advlib.finetune(
        student, few, Adversarial(PGD(0.3, steps=1, random_start=True, same_dropout=True)),
        out=str(folder), max_steps=6, batch_size=8, learning_rate=profile.pick(1e-3, 3e-5),
        after=0, save_strategy="steps", save_steps=2, save_total_limit=2, resume=True,
        fp16=half, disable_tqdm=True, callbacks=[Accident(after)] if after else [])
    return torch.cat([p.detach().flatten().cpu() for p in student.model.parameters()])


place = tempfile.TemporaryDirectory()
straight = run(Path(place.name) / "whole")
cut = Path(place.name) / "cut"
try:
    run(cut, after=5)
except RuntimeError as error:
    print(error)
broken = cut / "checkpoint-5"
broken.mkdir()
weights = (cut / "checkpoint-4" / "model.safetensors").read_bytes()
(broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
print(sorted(folder.name for folder in cut.glob("checkpoint-*")))

# %% [markdown]
# ### Prediction 12.c: after the accident

# %%
guess = course.predict(
    "12.c",
    "the same command once more, in the folder as it is: how far from the uninterrupted weights?",
    guess=None,
    options=("not at all", "about 1e-6", "about 1e-3", "it stops: a broken checkpoint"),
)

# %%
resumed = run(cut)
far = (resumed - straight).abs().max().item()
guess.reveal("not at all" if far == 0 else "about 1e-6" if far < 1e-5 else "about 1e-3")
print(f"largest difference of {len(straight):,} weights: {far}")
if profile.device == "cpu":
    course.claim("12.resumed", resumed=resumed, straight=straight)
place.cleanup()

# %% [markdown]
# The library's trainer keeps all that your `checkpoint` keeps, and two things more: the state of
# the objective itself (SMART's moving average, the δ of Free), and the record of the passes. Its
# random starts depend on the seed, the step, the piece of the batch and the process alone, and so
# need no state at all.
#
# The broken checkpoint was passed over, and the run went on from the last whole one. On a CPU the
# two are equal to the last bit. On a GPU some kernels add in whatever order their
# threads arrive, so that two runs *without* any cut differ in the last digits as well;
# `TrainingArguments(full_determinism=True)` takes the ordered kernels, which are slower.
#
# **After a lost runtime on Colab**: connect again, run the cells up to section 5, `KEEP_ON_DRIVE`
# as before. `resume=True` (for a Trainer of your own: `trainer.train(
# resume_from_checkpoint=True)`) finds the newest whole checkpoint and goes on; with none there it
# starts at the beginning. So the same cell begins a run, continues it and, when it is done, just
# loads the result. Change the settings, and take a new folder: a checkpoint does not ask whether
# you meant to continue *this* run.
#
# ## 7 · Judge it, and hand it on
#
# Leave the last ten minutes of the half hour to the evaluation. Save the model, and put it through
# a **protocol**: threat models, number of texts and calibration are fixed before anybody looks
# (lesson 07). The library's `"standard"` has 500 texts and PGD with 20 steps and 5 restarts;
# `colab` takes 200 of these texts, and the card says so. In the small profile a protocol of our own
# with weaker attacks must do, under a name of its own.
#
# Three words of the card. `calibration` is the number of validation texts that a temperature is
# fitted on, so that attacks can be made against the calibrated model as well (lesson 07). The
# **worst case** counts a text only if it is right under every one of the attacks, so it is never
# above any row. The **digest** is a hash over model, texts, threat models and accuracies: `verify`
# computes it again, and an accuracy that was edited afterwards does not fit.

# %%
from advlib.app.deploy import write_card
from advlib.app.protocol import Protocol, evaluate, verify
from advlib.models import quiet

delivered = out / "delivered"
victim.save(delivered)
quick = Protocol("lesson 12", 1, (Noise(0.3), FGM(0.3), PGD(0.3, steps=5), WordSubstitution()),
                 n=40, calibration=60)
card = evaluate(delivered, corpus, profile.pick(quick, "standard"), n=profile.pick(40, 200, 500))
for row in [*card["rows"], card["worst case"]]:
    print(f"{row['attack']:17} {row['accuracy']:6.1%}  "
          f"[{row['low']:.1%}, {row['high']:.1%}]  n = {row['n']}")
for reason in card["left out"]:
    print("left out:", reason)
KEYS = ("attack", "threat model", "n", "accuracy", "low", "high", "queries")
for row in (card["rows"][1], card["worst case"]):
    print({key: row[key] for key in KEYS})
course.claim("12.evaluated", verified=verify(card), card=card)

# %% [markdown]
# ### What may be said
#
# "Our model is robust." Against whom? On how many texts? By how much? And does "robust" mean a
# vector that nobody can type? A claim is worth what stands beside it:
#
# - the accuracy **and** its interval **and** the number of texts;
# - the **threat model**, with its settings, as the card has it;
# - what was changed: *moved embeddings* (rows without `queries`) show how near a decision is, and
#   not what a person could send; *changed words* (rows with `queries`) can be typed;
# - no word that promises more than this: not *robust*, *safe* or *secure*.

# %% [markdown]
# ### Exercise 12.3: claims that the evidence carries · ●●○ · 15 min
#
# Write `claims(card)`: a list of sentences (strings), one for each row of `card["rows"]` in their
# order (the first is without attack), and a last one for `card["worst case"]`. Each sentence has
#
# - the row's `accuracy` in the form `62.5%`, and the interval in the form `[47.0%, 75.8%]` (`low`
#   and `high`, one digit after the point, no space before the %), and no other percentage;
# - the number of texts in the form `n = 40`;
# - for the first row the words `no attack`; for every other the row's `"threat model"`, word for
#   word (for the worst case that is already a phrase; write it as it is, and you may add that it is
#   the strongest of them for each text);
# - for a row of `card["rows"][1:]`: `moved embeddings` where its `queries` is `None`, else
#   `changed words`. In the worst case: both, if rows of both kinds are there, else the one. Never
#   the words of a kind that it does not have. The sentence on no attack has neither;
# - `too few texts` where `high` − `low` is more than 0.2, and only there;
# - none of the words *robust*, *safe*, *secure* in any form, *insecure* included.
#
# Such as `Under FGM(eps=0.3), 62.5% [47.0%, 75.8%] of the texts stay right, n = 40: moved
# embeddings, too few texts.` (with the whole threat model in the place of `FGM(eps=0.3)`).
#
# Write the fixed phrases as they stand here, in lower case. Do not change the card, and do not
# round before you compare with 0.2. The list of words is only the part that a program can check:
# "hardened" or "withstands every attack" would promise just as much.
#
# <details><summary>Hint</summary>
#
# `f"{0.625:.1%}"` is `62.5%`. Write a helper that makes one sentence of a row and a list of kinds.
#
# </details>

# %%
def claims(card):
    """One sentence for each row of the card and one for the worst case, with its evidence."""
    # SOLUTION


claims = course.exercise("12.3", claims)

# %%
for line in claims(card):  # shortened for this page alone: a claim has all settings
    print("-", line.replace(", norm='l2', scope='sequence', relative=True, target=None", ", ..."))

# %% [markdown]
# One claim is not among them: that the adversary *helped*. For that the same run without it, for as
# long, has to go through the same protocol (lessons 08 and 09).
#
# The **model card** goes with the weights. `write_card` makes it from the evaluation alone, refuses
# a card whose numbers were edited or that belongs to other weights, and writes README.md, which is
# what the Hub shows. What only a person can say (license, language) is an argument.

# %%
page = write_card(delivered, card, language="en").read_text("utf-8")
limits = page[page.index("## Limits") :]
print(limits[: limits.index("\n\n## ")])
course.claim("12.card", sentences=claims(card), card=card, page=page)

# %% [markdown]
# And it is a plain model: who has never heard of this course loads it in one line.

# %%
from transformers import pipeline

with quiet():
    classify = pipeline("text-classification", model=str(delivered), truncation=True)
again = advlib.load_classifier(delivered)
probes = list(data["test"]["text"][:3])
answers = classify(probes)
for text, said in zip(probes, answers, strict=True):
    print(f"{said['label']:9} {said['score']:.2f}  {text[:70]}")
course.claim("12.pipeline", theirs=[said["label"] for said in answers],
             ours=[again.labels[k] for k in again.logits(probes).argmax(1)])

# %% [markdown]
# To put it on the Hub (nothing here does so by itself; a model that is public stays public):
#
# ```text
# hf auth login
# hf upload OWNER/NAME runs/lesson-12/delivered
# ```
#
# or in Python `victim.model.push_to_hub("OWNER/NAME")` and the same for `victim.tokenizer`. The
# folder has the card in it, so the page on the Hub says what was measured. (In the small profile
# `delivered` is a temporary folder that the last cell deletes: save to a place of your own before.)
#
# On your own machine, `python examples/page.py runs/lesson-12/delivered` in a copy of the course's
# repository opens a page with prediction, confidence and a button “Attack this”
# (`pip install gradio`).

# %% [markdown]
# ## Recap
#
# - **Memory**: 16 bytes a parameter with AdamW, and 64·`hidden` (fp16: 40·`hidden`) bytes a token
#   and layer. The inner loop holds one graph at a time, so an attack hardly adds to it.
# - **Cost**: count units, then trust the ledger. A data sheet gives an estimate, no more.
# - **Half precision**: loss scaling against underflow, skipped steps against overflow; δ and the
#   ascent on a divergence stay in float32, since half precision cannot see small differences.
# - **Padding** is paid for like text; **accumulation** is exact, δ included.
# - **Resuming** is exact if *everything* that a step depends on is kept: weights, moments,
#   schedule, generators, place in the data. Half a checkpoint is passed over.
# - **Claims** carry n, interval and threat model, or they are none.
#
# ## What could go wrong
#
# - **Out of memory in the first minute**: often a single long batch. Grouping puts the longest
#   first for this very reason. Halve the batch, double the accumulation; then checkpointing.
# - **“Training has collapsed”**: the library stops a run of a real encoder that has learned nothing
#   or says one class. More texts or epochs first, then a smaller `eps`.
# - **Resuming with other settings** in the old folder: the schedule of the old run goes on.
# - **Checkpoints on the disk of a Colab machine**: they go with it.
# - **`loss.backward()` in the inner loop**: an attacker's gradient in the update, under DDP in
#   everybody's.
# - **A compiled model**: `torch.compile` passes over the hook that adds δ; the trainer refuses it.
# - **The total batch changes with the number of GPUs**, and with it what a learning rate means.
# - **The test set in the search**: then the last number is not a test.
# - **Milliseconds of the first steps**: a GPU has to warm up. Measure later, or longer.
#
# ## Further reading
#
# - P. Micikevicius et al., *Mixed Precision Training*, ICLR 2018, arXiv 1710.03740. Loss scaling.
# - T. Chen, B. Xu, C. Zhang, C. Guestrin, *Training Deep Nets with Sublinear Memory Cost*, 2016,
#   arXiv 1604.06174. Checkpointing.
# - I. Loshchilov, F. Hutter, *Decoupled Weight Decay Regularization* (AdamW), ICLR 2019, arXiv
#   1711.05101.
# - E. Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, ICLR 2022, arXiv 2106.09685.
# - C. Zhu et al., *FreeLB*, ICLR 2020, arXiv 1909.11764. Adversarial fine-tuning of BERT.
# - J. Devlin, M.-W. Chang, K. Lee, K. Toutanova, *BERT*, NAACL 2019, arXiv 1810.04805.
# - M. Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019, arXiv 1810.03993.
# - T. Akiba, S. Sano, T. Yanase, T. Ohta, M. Koyama, *Optuna: A Next-generation Hyperparameter
#   Optimization Framework*, KDD 2019, arXiv 1907.10902.
#
# > **Ethics** The threat model in training is an attacker who writes to the embeddings, at most
# > `eps` far, with the whole model at hand; the evaluation adds one who changes words: by those
# > that the world allows, where the data are that world, and under `standard` by typos. A model on
# > the Hub is used by people who read one line of its card. Write that line so that it cannot be
# > taken for a promise, keep others' texts out of logs and trackers, and do not publish a model
# > whose training texts you may not publish.

# %%
course.progress("12")

# %% [markdown]
# ## Appendix: five pieces that can be left out
#
# They build on the page and not on one another; take what you need. Together about 65 minutes: 20
# of reading, 45 of exercises.
#
# | | minutes |
# |---|--:|
# | A · Several GPUs, with exercise 12.4 | 32 |
# | B · A small search | 5 |
# | C · A curve read by rules, with exercise 12.5 | 20 |
# | D · What half precision cannot see | 6 |
# | E · Without PyTorch | 2 |

# %%
from advlib.app.deploy import export_onnx
from advlib.attacks import VirtualAdversarial
from advlib.attacks.embedding import attackable, bare, divergence, zero_delta
from advlib.evaluation import attack_all
from course.lesson_03.checks import fgm_step

# %% [markdown]
# ## Appendix A · Several GPUs
#
# **DDP** (distributed data-parallel): every process holds the whole model and takes its share of
# the batch. When a backward pass fills the `.grad` of the weights, the wrapper around the model
# **exchanges** them: all processes leave with the mean, and so make the same step. An exchange
# moves all gradients, 4 bytes each, 433 MB for BERT-base: nothing to do twice without need.
#
# How does the wrapper know when? A forward pass *through the wrapper* makes it **ready**; the next
# backward pass that fills the weights' `.grad` sets off the exchange, of all that lies in `.grad`
# by then, and the wrapper is not ready any more. A backward pass that finds it not ready adds to
# `.grad` and exchanges nothing.
#
# And the inner loop of an attack? It needs the gradient of *its own* texts' δ, which is nobody
# else's business. Two mistakes wait here:
#
# - `loss.backward()` in the inner loop fills the `.grad` of all weights with the *attacker's*
#   gradient. It is added to the update, by every process, and the wrapper exchanges it;
# - the inner pass made through the wrapper makes it ready for an exchange that should not come.
#
# So: inner passes through the **bare** model, by `torch.autograd.grad` for δ alone; one exchange,
# in the pass that completes the gradients. What comes before it, through the bare model, is
# gathered in `.grad` and goes along with it.
#
# One machine is enough to see it. This wrapper does what DDP's does, except that nobody is at the
# other end: it counts.

# %%
class Counting(nn.Module):
    """In place of DistributedDataParallel: counts the exchanges that its passes set off."""

    def __init__(self, module):
        super().__init__()
        self.module, self.exchanges, self.ready = module, 0, False
        for weight in module.parameters():
            weight.register_post_accumulate_grad_hook(self.filled)

    def forward(self, **inputs):
        self.ready = torch.is_grad_enabled()
        return self.module(**inputs)

    def filled(self, weight):  # a weight has got its gradient
        self.exchanges += self.ready
        self.ready = False


def naive_step(model, batch, eps, lam):
    """FGM training as one finds it in many repositories, here under a wrapper."""
    delta = zero_delta(bare(model), batch).requires_grad_()
    F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"]).backward()
    delta = fgm_step(delta.grad, attackable(batch), eps)
    clean = F.cross_entropy(perturbed_logits(model, batch, None), batch["labels"])
    clean.backward()
    adv = F.cross_entropy(perturbed_logits(model, batch, delta), batch["labels"])
    (lam * adv).backward()
    return clean.detach(), adv.detach()


def gradient_and_exchanges(step_function, lam=0.5):
    wrapped = Counting(copy.deepcopy(sure.model))
    eps = FGM(0.3).ball(sure.model).eps
    part = {name: value[:16] for name, value in texts.items()}
    clean, adv = step_function(wrapped, part, eps, lam)
    grads = [p.grad.flatten() for p in wrapped.parameters() if p.grad is not None]
    return torch.cat(grads), wrapped.exchanges


wrong, exchanges = gradient_and_exchanges(naive_step)
print(f"the naive step: {exchanges} exchanges")

# %% [markdown]
# Three, one for each of its forward and backward passes: the attacker's gradient has been
# exchanged, the clean one with it, and then both once more with the adversarial one. (Both forward
# passes before both backward passes would make it two, and that is worse: the wrapper is ready only
# once, and what the last backward pass adds is never exchanged.)

# %% [markdown]
# ### Exercise 12.4: one exchange · ●●○ · 25 min
#
# Mend it: write `distributed_step(model, batch, eps, lam)`. `model` is a wrapper (the model inside
# is `bare(model)`). The step is FGM's: the gradient, with respect to δ at δ = 0, of the batch's
# mean cross-entropy, **through the bare model** and without touching anybody's `.grad`; then
# `fgm_step(grad, attackable(batch), eps)`; then the gradient of
# $L + \texttt{lam}\cdot L_\text{adv}$ (means over the batch) is **added** to the weights' `.grad`,
# with δ as a constant and **exactly one** exchange. What the exchange moves must be complete: no
# gradient may come after it. Return `(clean, adv)`, the two losses without a graph and not
# weighted. Leave the batch, the model's mode (it may be eval) and the weights with their
# `requires_grad` (a layer may be frozen) as they are.
#
# You have `zero_delta(model, batch)`, a δ = 0 of the right shape and dtype, and
# `perturbed_logits(model, batch, delta)` (`None` for no δ); both take a wrapper or a bare model.
#
# <details><summary>Hint</summary>
#
# Two ways: *one* backward pass of the sum of both losses (then both forward passes may even go
# through the wrapper; DDP allows several before one backward pass); or the clean loss backward
# through the bare model first, and then the adversarial one through the wrapper.
#
# </details>

# %%
def distributed_step(model, batch, eps, lam):
    """One step of FGM training under a wrapper, with one exchange: (clean, adv)."""
    # SOLUTION


distributed_step = course.exercise("12.4", distributed_step)

# %%
right, exchanges = gradient_and_exchanges(distributed_step)
library, theirs = gradient_and_exchanges(
    lambda model, batch, eps, lam: (Adversarial(FGM(0.3), lam=lam)(model, batch), None))
gap = (wrong - right).norm() / right.norm()
print(f"yours: {exchanges} exchange; the library's: {theirs}; the naive gradient lies {gap:.2f} "
      "lengths of your gradient away from it")
course.claim("12.exchange", exchanges=exchanges, theirs=theirs, right=right, library=library,
             wrong=wrong)

# %% [markdown]
# With the library none of this is your business: under `accelerate launch` the trainer wraps, and
# the objectives know the bare model. The configurations are in `configs/` (this folder, `docs/` and
# `examples/` are in the course's repository; `pip install` does not bring them, so clone it). Each
# line goes on with `--model`, `--data` and `--out`:
#
# ```text
# accelerate launch --config_file configs/one_gpu.yaml    examples/train.py
# accelerate launch --config_file configs/ddp.yaml        examples/train.py
# accelerate launch --config_file configs/fsdp.yaml       examples/train.py
# accelerate launch --config_file configs/multi_node.yaml examples/train.py
# ```
#
# `fsdp` spreads the 16 bytes a parameter over the GPUs, for models that do not fit on one; every
# pass then has to gather weights, those of the attack too, so it is not free there.
# docs/scaling.md has whole command lines, a plan on paper from one GPU to several machines, and
# says which of it was tested. Two habits: the same *total* batch (per
# process × processes × accumulation) when you compare with one GPU; and checkpoints where all
# machines can read them.
#
# ## Appendix B · A small search
#
# How large should `eps` and λ be? Lesson 10 explained Optuna; here is what a GPU adds: a search is
# many runs, so it is cut more often than a run. With a `storage`, each finished trial is on disk,
# and `load_if_exists=True` opens the file of the last session. Three things are left to us. A trial
# that was cut stays in the file as `RUNNING` for ever, without a score: we look at the `COMPLETE`
# ones alone (and leave such a stump on purpose, with `study.ask()`, to see it). `n_trials` counts
# the trials of *this* session: we ask for those that are missing. And a sampler that begins with
# the old seed would propose the old values again: ours takes another one in each session.
#
# The score is accuracy under PGD **on the validation texts**, and a negative number where clean
# accuracy falls below a floor; every trial goes on from the model of section 5, whose own score is
# printed first. (With ten trials or fewer `TPESampler` is random search: it begins to learn after
# `n_startup_trials`, ten by Optuna's default.)

# %%
import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)


def trial_score(trial):
    eps = trial.suggest_float("eps", 0.05, 1.0, log=True)
    lam = trial.suggest_float("lam", 0.2, 5.0, log=True)
    student = fresh()
    student.model.load_state_dict(victim.model.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        advlib.finetune(
            student, data["train"], Adversarial(FGM(eps, same_dropout=True), lam=lam), out=folder,
            max_steps=profile.pick(6, 150, 500), batch_size=profile.pick(16, 32), fp16=half,
            learning_rate=profile.pick(5e-4, 2e-5), after=0, watch=False,
            disable_tqdm=True)
    judged = attack_all(student, held_out, judge)
    clean = (judged.clean == judged.labels).mean()
    trial.set_user_attr("clean", float(clean))
    return float(judged.robust.mean() if clean >= 0.7 else clean - 1)


out.mkdir(parents=True, exist_ok=True)
study = optuna.create_study(direction="maximize", study_name="lesson-12", load_if_exists=True,
                            storage=f"sqlite:///{out}/search.db")
if not study.trials:
    study.ask()  # what a cut leaves behind: a trial that was begun and never ended


def complete():
    return study.get_trials(states=[optuna.trial.TrialState.COMPLETE])


study.sampler = optuna.samplers.TPESampler(seed=len(study.trials))
study.optimize(trial_score, n_trials=max(0, profile.pick(3, 4, 10) - len(complete())))
print(f"before the search: score {attack_all(victim, held_out, judge).robust.mean():.2f}")
for t in complete():
    print(f"trial {t.number}: eps {t.params['eps']:.2f}, lam {t.params['lam']:.2f}: clean "
          f"{t.user_attrs['clean']:.0%}, score {t.value:.2f}")
print(f"{len(study.trials) - len(complete())} without a score")
course.claim("12.search", scored=len(complete()), asked=profile.pick(3, 4, 10))

# %% [markdown]
# Few trials, few texts, one seed: look at the differences, and at the size of the validation set,
# before you believe a winner. Take the searched values for a *new* run of full length, and open the
# test set once, at the end.
#
# ## Appendix C · A curve read by rules
#
# Section 5 read six runs by eye. A program reads the log of every run, also at night. Each line of
# such a log is a dictionary with `step`, `loss` (what was minimised, `clean_loss` + λ·`adv_loss`),
# `lam` (λ as it was in that step) and `grad_norm`, the length of the gradient; at some lines there
# are checks on the validation texts: `fgm` and `pgd`, the accuracies under attack, and `share`, the
# share of texts that get the class said most often. (In the trainer's log the losses are means over
# `logging_steps` steps, and `lam` is that of the last of them, so there the sum is not exact.)

# %% [markdown]
# ### Exercise 12.5: read a curve · ●●○ · 20 min
#
# Write `diagnose(log, lam)`: the first of these rules that fits names the illness.
#
# 1. `"overflow"`: some line's `loss` is not finite, **or** `grad_norm` is not finite in three lines
#    in a row. (One or two are steps that the scaler skipped.)
# 2. `"learning rate"`: the mean `clean_loss` of the last three lines lies above the `clean_loss` of
#    the first line.
# 3. `"collapse"`: `share` is at least 0.95 in each of the last three lines that have a `share`
#    (never if fewer than three have one).
# 4. `"over-fitting"`: among the lines with `fgm` and `pgd` let `best` be the one with the largest
#    `pgd` (the first of several). The *last* of these lines has a `pgd` more than 0.2 (a difference
#    of 20 points) below `best`'s, and an `fgm` that is **not** more than 0.2 below `best`'s.
# 5. `"warm-up"`: in the last line the `lam` is below 0.9 of the `lam` that was wanted, the
#    function's argument.
# 6. Otherwise `"healthy"`.
#
# A log has at least three lines; each has `loss`, `clean_loss` and `lam`. `grad_norm` and the
# checks may be missing in any line (a missing `grad_norm` counts as finite). Do not change the log.
#
# <details><summary>Hint</summary>
#
# `[line for line in log if "share" in line]` are the lines that have the check;
# `line.get("grad_norm", 0.0)` has a value in every line.
#
# </details>

# %%
def diagnose(log, lam):
    """The name of what went wrong in a training run, read off its log, or "healthy"."""
    # SOLUTION


diagnose = course.exercise("12.5", diagnose)

# %%
named = {kind: {diagnose(figures.history(kind, seed), 1.0) for seed in range(20)}
         for kind in figures.KINDS}
course.claim("12.diagnose", named=named)
checked = any("pgd" in line or "share" in line for line in log)
print(f"the run of this page: {diagnose(log, 1.0)}"
      + ", as far as its log can say" * (not checked))

# %% [markdown]
# Our run's lines have losses, λ and the length of the gradient, but no `fgm`, `pgd` and `share`:
# rules 3 and 4 had nothing to look at. For these there are the curves of accuracy in section 5.
#
# ## Appendix D · What half precision cannot see
#
# TRADES, VAT and SMART (lesson 09) climb the divergence of two predictions, from a start very near
# to the text, where the two are *almost equal*. Their difference is what the ascent lives on, and
# for a model that is sure of itself it is smaller than half precision can tell. So advlib makes
# these passes in float32, even under `autocast`.
#
# Is that care, or superstition? Let us write the gradient by hand in half precision and compare,
# with one and the same start (`xi`·`eps` long) for all: as it is, and with the loss scaled by
# $2^{16}$. Here we use the course's small model `reviews-clean` in every profile.

# %%
climb = VirtualAdversarial(0.3, steps=1, xi=0.1)
ball, mask = climb.ball(sure.model), attackable(texts)
# The library's own start, so that all begin alike: random directions, xi·eps long.
begin = climb.start(ball, texts, mask[..., None], zero_delta(sure.model, texts), 0, None)


def by_hand(fp16, *scales):
    """For each scale of the loss the direction that the divergence's gradient gives, from `begin`
    (zero where it is zero); and how far the start changes a text's logits at most."""
    point = begin.clone().requires_grad_()
    with torch.autocast(profile.device, dtype=torch.float16, enabled=fp16):
        with torch.no_grad():
            clean = perturbed_logits(sure.model, texts, None)
        moved = perturbed_logits(sure.model, texts, point)
        kl = divergence(clean, moved).sum()
    grads = [torch.autograd.grad(kl * scale, point, retain_graph=True)[0] for scale in scales]
    change = (clean - moved).detach().abs().amax(dim=1)
    return *[fgm_step(g.float() / s, mask, 1.0) for g, s in zip(grads, scales, strict=True)], change


(exact, change), (rough, rescued, seen) = by_hand(False, 1.0), by_hand(True, 1.0, 2.0**16)
with torch.autocast(profile.device, dtype=torch.float16):
    ours = climb(sure.model, texts)
found = {"advlib under autocast": ours, "half": rough, "half, loss scaled": rescued}
likeness = {name: cosine(delta, exact) for name, delta in found.items()}
zero = {name: delta.flatten(1).norm(dim=1) == 0 for name, delta in found.items()}
equal = seen == 0
print(f"cosine with float32's direction, {len(equal)} texts:  above 0.9   below 0   δ is zero")
for name, values in likeness.items():
    print(f"{name:42} {(values > 0.9).sum():9} {(values < 0).sum():9} {zero[name].sum():11}")
good = likeness["half, loss scaled"] > 0.9
print(f"The two predictions are equal in half precision for {equal.sum()} texts. With the loss\n"
      f"scaled, {good[~equal].sum()} of the other {(~equal).sum()} are above 0.9.")
course.claim("12.ours", likeness=likeness)
course.claim("12.lost", likeness=likeness)
course.claim("12.rescued", likeness=likeness, equal=equal, zero=zero)

# %%
figures.directions(likeness, change, equal)

# %% [markdown]
# *The figure: a panel for each of three ways under autocast, and in it a point for each text. To
# the right: how far the start changes the text's logits, in float32. Upwards: the cosine between
# float32's direction and the one that this way finds. Full marks are texts whose two predictions
# differ in half precision too, open marks those for which they are equal.*
#
# <details><summary>What you should see</summary>
#
# advlib: 1 throughout. By hand: nearly all points lie at 0, where no gradient was left, except some
# on the right, where the logits change most. With the loss scaled the full marks come up to 1;
# many of the open ones stay at 0, and a few go to the other end.
#
# </details>
#
# Underflow was only a part of it. Loss scaling rescues the texts whose two predictions still
# differ. Where the two are *equal* in half precision, there is no difference left to scale: the
# gradient is zero, or a remainder of rounding, which points the right way or the opposite one by
# chance. No error, no warning, a loss that goes down: for most of these texts there is no
# adversary, and for them the run is plain training in disguise.
#
#
# ## Appendix E · Without PyTorch
#
# To serve the model without PyTorch, export it to **ONNX**. The export compares its logits with the
# original's, on several lengths and scripts, and keeps nothing if they differ. The packages are in
# the extra `deploy` (`pip install onnx onnxscript onnxruntime`).

# %%

with tempfile.TemporaryDirectory() as folder:
    try:
        gap = export_onnx(advlib.load_classifier(delivered, device="cpu"), folder)
        size = (Path(folder) / "model.onnx").stat().st_size / 1e6
        print(f"model.onnx: {size:.1f} MB, logits at most {gap:.0e} from PyTorch's")
    except ValueError as error:
        print("not exported:", error)

# %%
scratch.cleanup()
