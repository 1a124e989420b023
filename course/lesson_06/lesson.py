# %% [markdown]
# # 06 · Real words
#
# {{BADGE}}
#
# **You will**
#
# - attack one review in several ways, and take an attack on words apart into its four parts;
# - measure one change with four rulers that disagree: letters, words, word pieces, embeddings;
# - write HotFlip's forecast, the ranking of words and the greedy search, and count every query;
# - find by brute force what greedy misses, and draw accuracy against two kinds of budget;
# - judge twenty pairs blind, and see how many "successes" had changed the meaning.
#
# **Time** {{TIME}} About 90 minutes for you; section 7, where you rate pairs, is 20 of them and can
# be done on another day.
#
# **Before** Lessons 00, 02 and 03.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · One review, several attackers
#
# Lesson 03 ended with a warning: an attacked embedding is not yet a text. Nobody can type it. From
# here on the attacker writes **words**. We let several attackers loose on the same texts, and look
# at one text before we count anything.

# %%
import itertools
import random
from dataclasses import dataclass

import numpy as np
import torch

from advlib.attacks.words import (
    EmbeddingNeighbours,
    HotFlip,
    KeepWords,
    LabelRule,
    MaskedLanguageModel,
    Similarity,
    Typos,
    WordAttack,
    WordSubstitution,
    gradients,
    whole_words,
)
from advlib.corpora import replace, words, world
from advlib.models import load_language_model
from course.lesson_06 import figures
from course.widgets import marked

victim = advlib.load_classifier(profile.pick(
    smoke="reviews-clean", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"))
pool = advlib.load_text(profile.pick(smoke="reviews", colab="stanfordnlp/sst2"),
                        test_size=profile.pick(240, 600))["test"]
test = pool.select(range(profile.pick(40, 100)))
texts, labels = list(test["text"]), list(test["label"])
in_world = profile.name == "smoke"  # only in the built-in world are true labels known by a rule
reader = profile.pick("bert-tiny", colab="distilbert/distilbert-base-uncased")
attacks = {"typos": Typos(), "HotFlip": HotFlip(), "neighbours": EmbeddingNeighbours(),
           "language model": MaskedLanguageModel(language_model=reader)}
if in_world:
    attacks["substitution"] = WordSubstitution()
results = {name: attack(victim, texts, labels) for name, attack in attacks.items()}

# %%
hits = [sum(found[i].success for found in results.values()) for i in range(len(texts))]
pick = min(range(len(texts)), key=lambda i: (-hits[i], len(texts[i])))
print(f"{texts[pick]}\n(true label: {victim.labels[labels[pick]]})\n")
for name, found in results.items():
    one = found[pick]
    print(f"{name}: {len(one.changed)} of {len(words(one.original))} words changed, "
          f"{one.queries} queries, {'fooled' if one.success else 'not fooled'}\n  {one.show()}")
course.claim("06.fooled", hits=hits)

# %% [markdown]
# The brackets mark what changed, `[old -> new]`. A **query** is one text that the attacker asked
# the model about. In a notebook, `marked` shows a result in colour:

# %%
marked(results["typos"][pick], victim)

# %% [markdown]
# Before you read on: which of these texts would *you* call an adversarial example? In lesson 00 it
# was an input that was changed so that the model is wrong about it, **while the right answer stays
# what it was**. Keep your answer until section 6.
#
# ### Four parts
#
# All these attacks are put together from four parts (the vocabulary is that of TextAttack, Morris
# et al.):
#
# | part | the question | here |
# |---|---|---|
# | **goal** | when is it done? | any wrong class (elsewhere: one chosen class) |
# | **transformation** | what may a word become? | this is what tells our attacks apart |
# | **constraints** | what is forbidden? | nothing yet; section 6 |
# | **search** | which change is tried next? | greedy: the most important word first (section 4) |
#
# And the transformations, each with the paper that made it known:
#
# | attack | a word may become | what the attacker has to see |
# |---|---|---|
# | `Typos` | itself with one slip of the fingers (Pruthi et al.) | scores |
# | `HotFlip` | what the gradient asks for (Ebrahimi et al.) | the weights |
# | `EmbeddingNeighbours` | a word with a near embedding | the embeddings |
# | `MaskedLanguageModel` | what a language model expects there (BERT-Attack, Li et al.) | scores |
# | `WordSubstitution` | what a world knows to keep the label (lesson 00) | scores |
#
# Since the parts are separate, a new attack is a new transformation and nothing else. You write one
# now, and the search for it in section 4.

# %% [markdown]
# ## 2 · Typos, and what a change is
#
# "Aoccdrnig to" (according to) a popular claim we read words whose inner letters are out of order
# without much trouble, if the first and the last letter stand. That is exaggerated; but for two
# *neighbouring* letters it is a fair bet. What does a model make of them?

# %% [markdown]
# ### Exercise 06.1: swapped letters · ●○○ · 7 min
#
# Write `swaps(word)`: the list of all words that arise when two neighbouring **inner** letters
# change places. The first and the last letter stay. The word itself is not in the list (two equal
# letters swapped change nothing). A word without two inner letters gives an empty list. For
# `"form"` the answer is `["from"]`. Go from left to right, so that the leftmost swap comes first.
# Every character counts as a letter, an apostrophe too, and `A` and `a` are two different ones.
#
# <details><summary>Hint</summary>
#
# Which positions `i` may be the left one of the two? In `"form"` only 1. A string can be cut and
# put together again: `word[:i]`, two single letters, and the rest.
#
# </details>


# %%
def swaps(word):
    """All words with two neighbouring inner letters exchanged, a list of strings."""
    # SOLUTION


swaps = course.exercise("06.1", swaps)

# %% tags=["nbval-check-output"]
print(swaps("delicious"))
print(swaps("letters"))

# %% [markdown]
# The last swap of *letters* is a word of its own, by the way: *lettres* is French. And *form* has
# become *from*. A typo may hit a real word.
#
# The model does not read letters. Its tokenizer looks up whole words, and cuts a word that it does
# not know into **pieces** that it knows (`##` marks a piece that continues a word):

# %%
for word in ("delicious", "beautiful", "terrible"):
    for new in (word, *swaps(word)[:2]):
        print(f"{new:12} {victim.tokenizer.tokenize(new)}")
split = [len(victim.tokenizer.tokenize(new)) for w in ("delicious", "terrible") for new in swaps(w)]
course.claim("06.pieces", pieces=split)

# %% [markdown]
# So how *large* a change is a typo? To limit an attacker we need a unit, and here are four:
#
# - **letters**: how many must be put in, taken out or replaced (edit distance; a swap counts 2);
# - **words**: how many differ;
# - **pieces**: how many tokens the model reads instead of the old one;
# - **embedding**: how far the point moves that the word is for the model: here the distance between
#   the sums of the pieces' embeddings, in mean embedding lengths, as in lessons 02 to 04. (A sum of
#   several pieces is longer than one embedding; part of what follows is that.)

# %%
table = victim.model.get_input_embeddings().weight.detach()
unit = table.norm(dim=1).mean()


def letters(a, b):
    """Edit distance: letters put in, taken out or replaced on the cheapest way from a to b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (x != y)))
    return row[-1]


def pieces(word):
    return victim.tokenizer(word, add_special_tokens=False)["input_ids"]


def jump(a, b):
    """How far the sum of the pieces' embeddings moves."""
    return ((table[pieces(a)].sum(0) - table[pieces(b)].sum(0)).norm() / unit).item()


trios = """delicious tasty bland, friendly kind rude, boring dull exciting, clean spotless dirty,
beautiful elegant ugly, gripping engaging predictable, terrible awful great, slow sluggish fast,
comfortable soft lumpy, clear understandable confusing, reliable dependable unreliable"""
trios = [trio.split() for trio in trios.split(",")]
groups = {
    "typo": [(word, swaps(word)[0]) for word, _, _ in trios],
    "same opinion": [(word, same) for word, same, _ in trios],
    "opposite": [(word, other) for word, _, other in trios],
}
print("middle value of      letters   words   pieces   embedding")
middle = {}
for name, group in groups.items():
    rulers = [(letters(*p), 1, len(pieces(p[1])), jump(*p)) for p in group]
    middle[name] = np.median(rulers, axis=0)
    print(f"  {name:16} {middle[name][0]:9.0f} {middle[name][1]:7.0f} {middle[name][2]:8.0f} "
          f"{middle[name][3]:11.2f}")

# %%
course.claim("06.rulers", typo=middle["typo"], same=middle["same opinion"],
             opposite=middle["opposite"])
figures.rulers({name: [(letters(*p), jump(*p)) for p in group] for name, group in groups.items()})

# %% [markdown]
# *The figure: pairs of words, letters to the right, embedding distance upwards.*
#
# <details><summary>What you should see</summary>
#
# Typos are at the left, two letters away from the original, and at the top: for the model they are
# the largest change of all. Words with the same opinion and opposites are alike in letters.
#
# </details>
#
# There is no ruler that is right. Each one that a paper uses ("at most 10 % of the words", "edit
# distance 2", "cosine at least 0.9") is a stand-in for what was meant, *a reader does not mind*,
# and says nothing about readers. In letters, words and pieces opposites are about as far off as
# words of the same opinion. The embedding sees a difference in our small world (and hardly any in a
# model that has read free text), but calls the typo, which a reader hardly notices, **a larger
# change than the opposite**, which turns the text round.
#
# Your swaps become an attack of the library with a class of five lines. A transformation is a
# method `propose`: for every text and every word, what that word may become. Goal, search and
# constraints come from `WordAttack`.


# %%
@dataclass(frozen=True, repr=False)
class Swaps(WordAttack):
    """Swapped letters, the first `per_word` swaps of each word."""

    per_word: int = 2

    def propose(self, victim, texts, labels):
        return [[tuple(swaps(word)[: self.per_word]) for word in words(text)] for text in texts]


swapped = Swaps()(victim, texts, labels)
rate = np.mean([one.success for one in swapped if not one.wrong_before])
print(f"{Swaps()!r}\nfools the model on {rate:.0%} of the texts that it got right, for example")
for one in [one for one in swapped if one.success][:1]:
    print(one.show())
course.claim("06.swaps", rate=rate)

# %% [markdown]
# ## 3 · HotFlip: let the gradient propose
#
# A gradient says how the score changes when an embedding moves a little. To replace a word is to
# move its embedding a long way, from `e_old` to the row `e_v` of another word `v`. If the score
# were a plane all the way, the gain would be
#
# $$\text{gain}(t, v) \;=\; (e_v - e_\text{old})\cdot g_t$$
#
# with $g_t$ the gradient of the score on token $t$. One gradient, one product with the whole
# embedding table, and there is a forecast for *every* word of the vocabulary at *every* place. That
# is HotFlip.
#
# The **score** in all of this lesson is the log-odds of being wrong, $z_\text{wrong} -
# z_\text{right}$ (the other class's logit minus that of the true one): the attacker wants it
# high, and from 0 on the model is fooled.

# %% [markdown]
# ### Exercise 06.2: the gain of every flip · ●●○ · 10 min
#
# Write `flip_gains(grad, e_old, table)`, with tensors. `grad` and `e_old` have shape `(tokens,
# hidden)`: the gradient on each token, and its present embedding. `table` has shape `(vocabulary,
# hidden)`. Return the forecast gains, a tensor of shape `(tokens, vocabulary)`. Where `v` is the
# word that is there already, the gain must be 0. No loop over the vocabulary is needed.
#
# <details><summary>Hint</summary>
#
# Multiply out: $e_v\cdot g_t - e_\text{old}\cdot g_t$. The first part is one matrix product. The
# second is one number per token, as a column of shape `(tokens, 1)`.
#
# </details>


# %%
def flip_gains(grad, e_old, table):
    """First-order gain of putting each word in each place, (tokens, vocabulary)."""
    # SOLUTION


flip_gains = course.exercise("06.2", flip_gains)

# %% [markdown]
# ### Prediction 06.a: how good is the forecast?
#
# We know from lesson 03 that the plane ends early, and a flip is a long
# way. So we try flips for real, in texts that the model gets right. A flip is a pair: which word of
# the text goes, and which word of the vocabulary comes. For each text we try the 12 flips with the
# highest forecast, the 12 with the lowest, and 24 random ones. Of the random ones we correlate the
# *ranks* (1 if the forecast has them in the right order), because a few unsure texts have gradients
# many times as long as the rest.
#
# Two helpers of the library do the book-keeping. `whole_words(victim)` lists the tokens that are a
# word by themselves. `gradients(victim, texts, labels)` gives, for each text, one entry per word:
# its tokens are number `first` to `last - 1` of the text, with these `ids` and gradients `grad`.
# And `wrong_before` marks a text that the model got wrong before any attack.

# %%
guess = course.predict(
    "06.a",
    "random flips: rank correlation of the forecast with the real change of the log-odds?",
    guess=None,
    low=-1,
    high=1,
)


# %%
def score_of(label):
    """score(texts) -> the log-odds of being wrong, one number per text."""

    def score(some):
        z = victim.logits(some, batch_size=256)
        return z[:, 1 - label] - z[:, label]

    return score


ids, names = whole_words(victim)  # tokens that are a word by themselves, and these words
draw = random.Random(0)
right = [i for i in range(len(texts)) if not swapped[i].wrong_before]
forecast, truth = [], []  # one row per text: 12 highest, 24 random, 12 lowest forecasts
for i in right[: profile.pick(14, 24)]:
    slopes = gradients(victim, [texts[i]], [labels[i]])[0]  # per word: its tokens and the gradient
    at = [k for k, s in enumerate(slopes) if s.last - s.first == 1]  # words of one piece
    grad = torch.cat([slopes[k].grad for k in at])
    old = torch.cat([slopes[k].ids for k in at])
    gains = flip_gains(grad, table[old], table[ids]).flatten().cpu()  # over all words and places
    order = gains.argsort(descending=True).tolist()
    tried = order[:12] + draw.sample(order, 24) + order[-12:]
    flips = [replace(texts[i], {at[n // len(ids)]: names[n % len(ids)]}) for n in tried]
    after = score_of(labels[i])([texts[i], *flips])
    forecast.append([gains[n].item() for n in tried])
    truth.append(after[1:] - after[0])
forecast, truth = np.array(forecast), np.array(truth)

# %%
kinds = {"highest forecast": slice(0, 12), "random": slice(12, 36),
         "lowest forecast": slice(36, 48)}
x, y = forecast[:, kinds["random"]].ravel(), truth[:, kinds["random"]].ravel()
plain = float(np.corrcoef(x, y)[0, 1])
ranks = float(np.corrcoef(x.argsort().argsort(), y.argsort().argsort())[0, 1])
guess.reveal(round(ranks, 2))

# %%
print(f"correlation of the values themselves: {plain:.2f}")
print(f"spread of the forecasts {x.std():.2f}, of the truth {y.std():.2f}")
mean = {name: truth[:, columns].mean() for name, columns in kinds.items()}
for name, columns in kinds.items():
    there = truth[:, columns]
    print(f"{name:17} forecast {forecast[:, columns].mean():+6.2f}   truth {mean[name]:+6.2f}   "
          f"the best of (the first) 12 of each text {there[:, :12].max(1).mean():+6.2f}")
print(f"of the lowest {(there < 0).mean():.0%} lower the score, by {-there.min():.1f} at most; on "
      f"{(there > 5).all(1).sum()} of {len(there)} texts all raise it by more than 5")
course.claim("06.forecast", ranks=ranks, highest=mean["highest forecast"], random=mean["random"],
             lowest=mean["lowest forecast"])
if in_world:
    course.claim("06.bottom", lowest=mean["lowest forecast"], values=plain)
figures.forecasts(forecast, truth, kinds)

# %% [markdown]
# *The figure: one mark per flip, truth upwards, forecast to the right (in factors of ten beyond
# ±0.1). Triangles that point up have the highest forecasts, those that point down the lowest; the
# grey dots are random flips.*
#
# <details><summary>What you should see</summary>
#
# In the built-in world real changes of ten stand over forecasts of a tenth, and some flips do the
# opposite of what was forecast. But those with the highest forecasts lie far up much more often
# than random ones.
#
# </details>
#
# For flips taken at random the forecast gets the order right somewhat more often than chance. Where
# a model is sure, as in the built-in world, its sizes are wrong by far: such texts lie on a plateau
# (lesson 03), and the values themselves need not even correlate. Nor is the bottom of the list what
# it says: in the built-in world these flips hardly lower the score (half of them do, by 0.3 at
# most), and on two of the fourteen texts all of them raise it by about ten. A long way in a
# direction that matters may end anywhere. Yet the forecast is enough for an attacker. Only the top
# of the list matters, and what stands there is then *tried*: a few queries, where trying the whole
# vocabulary would take more than ten thousand. The forecast belongs to the transformation; the
# search decides by real scores.
#
# ## 4 · Which word first? Greedy search
#
# A text of twelve words with ten options each can be written in $11^{12}$ ways, about three million
# million. Nobody tries them all. The usual search of word attacks (TextFooler, BERT-Attack, and
# ours) asks two simple questions:
#
# 1. **Importance.** How much does the score rise when a word becomes `[UNK]`, the token for
#    "something unknown"? (TextFooler leaves the word out, BERT-Attack writes `[MASK]`.) That costs
#    one query for each word. (`HotFlip` saves them: it has the gradient, which counts as one query.
#    The longer the gradient on a word's embedding, the earlier that word has its turn.)
# 2. **Greedy.** Take the words in this order. For each, try all options, and keep the best one if
#    it raises the score. Stop when the model is fooled.

# %% [markdown]
# ### Exercise 06.3: which word matters · ●○○ · 7 min
#
# Two helpers from the imports: `words(text)` is the list of the words of a text, and
# `replace(text, {2: "new"})` is the text with its word number 2 (counted from 0) replaced; spaces
# and commas stay.
#
# Write `importance(score, text)`. `score` takes a *list* of texts and returns an array with one
# number per text. Return a list or an array with one number for each word of `words(text)`, in
# their order: the score of the text with this word replaced by `"[UNK]"`, minus the score of the
# text as it is. Ask about no more than `len(words(text)) + 1` texts. A text without words gives an
# empty result.
#
# <details><summary>Hint</summary>
#
# `replace(text, {i: "[UNK]"})` for each `i`. Put the text itself at the front of the list, ask
# once, and subtract the first score from the others.
#
# </details>


# %%
def importance(score, text):
    """By how much the score rises when each word becomes [UNK], (words,)."""
    # SOLUTION


importance = course.exercise("06.3", importance)

# %%
rises = importance(score_of(labels[pick]), texts[pick])
for word, rise in zip(words(texts[pick]), rises, strict=True):
    print(f"{word:14} {rise:+7.2f} {'█' * max(0, round(2 * float(rise)))}")

# %% [markdown]
# ### Exercise 06.4: the greedy search · ●●● · 15 min
#
# Write `greedy_attack(score, text, options)`. `options[i]` is a tuple of the words that word number
# `i` may become (perhaps an empty one). Return `(text, queries)`: the text where the search ended,
# and the number of *texts* that `score` was asked about, all of them.
#
# - Ask for the score of the text as it is. If it is ≥ 0, the model is wrong already: stop.
# - Rank the words with your `importance`, once, at the beginning. (It asks about
#   `len(words(text)) + 1` texts, the text itself among them for the second time; that counts.
#   Ranking only the words that have options would save some, and is allowed.)
# - From the most important word on: if it has options, try *all* of them, in the text with the
#   changes made so far. Keep the one with the largest score, if that is larger than the score until
#   now; otherwise (a tie, too) the word stays as it is, and the next one has its turn.
# - As soon as the score is ≥ 0, stop: ask nothing more, not even about the text that you return.
#   When no words are left, stop too.
#
# <details><summary>Hint</summary>
#
# Keep the changes in a dict `{i: new word}` and build each text to try with
# `replace(text, {**changes, i: w})`, always from the *original* `text`.
# `np.argsort(-np.asarray(rises))` gives the order.
#
# </details>


# %%
def greedy_attack(score, text, options):
    """Most important word first, the best option for each: (text, queries)."""
    # SOLUTION


greedy_attack = course.exercise("06.4", greedy_attack)

# %% [markdown]
# Your search beside the library's, with the same transformation. (The library asks about clearly
# less: it ranks only words that have options, and asks about the text as it is only once. It also
# attacks all texts side by side: what they ask at the same step goes to the model as one batch.)

# %%
options = Swaps().propose(victim, texts, labels)
some = right[: profile.pick(12, 30)]
mine = {i: greedy_attack(score_of(labels[i]), texts[i], options[i]) for i in some}
alike = sum(mine[i][0] == swapped[i].text for i in some)
print(f"the same text in {alike} of {len(some)} cases")
print(f"queries per text: yours {np.mean([mine[i][1] for i in some]):.1f}, "
      f"the library's {np.mean([swapped[i].queries for i in some]):.1f}")
course.claim("06.library", alike=alike, texts=len(some), yours=[mine[i][1] for i in some],
             library=[swapped[i].queries for i in some])

# %% [markdown]
# ## 5 · How good is greedy?
#
# Greedy goes upwards at each step and never takes anything back. Here is a score with two words
# that only work together, like *not bad*: each alone makes things worse.

# %% tags=["nbval-check-output"]
trap = {"fine day": -1.0, "poor day": -2.0, "fine night": -2.0, "poor night": 0.5}


def trap_score(some):
    return np.array([trap.get(text, -1.5) for text in some])  # -1.5: a word is [UNK]


end, asked = greedy_attack(trap_score, "fine day", [("poor",), ("night",)])
print(f"greedy ends at {end!r}, score {trap[end]:+.1f}, after {asked} queries")
print(f"the best of all four texts: {max(trap, key=trap.get)!r}, score {max(trap.values()):+.1f}")
course.claim("06.trap", greedy=trap[end], best=max(trap.values()))

# %% [markdown]
# Two ways to find it all the same. **Brute force** tries every combination, smallest first, and
# cannot be beaten; it is affordable only on short texts with few options. **Beam search** keeps the
# best few partial results instead of one (`beam=4` in the library).
#
# We take short texts, with at most two swaps for a word. Where greedy wins with *one* change there
# is nothing to improve. On all others we ask brute force: can the text be fooled at all, and with
# how few changes?


# %%
def smallest(score, text, options):
    """How few changes fool the model, by trying everything; None where nothing does."""
    places = [i for i, some in enumerate(options) if some]
    for size in range(1, len(places) + 1):
        tries = [replace(text, dict(zip(at, new, strict=True)))
                 for at in itertools.combinations(places, size)
                 for new in itertools.product(*(options[i] for i in at))]
        if (score(tries) >= 0).any():
            return size
    return None


def ways(options):
    """In how many ways the text can be written."""
    return int(np.prod([len(some) + 1 for some in options]))


short = [i for i in range(len(pool)) if len(words(pool["text"][i])) > 3]
size = {i: ways(Swaps().propose(victim, [pool["text"][i]], [0])[0]) for i in short}
short = sorted((i for i in short if 8 <= size[i] <= 400), key=size.get)
short = [pool[i] for i in short[-profile.pick(44, 80) :]]
short_texts, short_labels = ([row[name] for row in short] for name in ("text", "label"))
short_options = Swaps().propose(victim, short_texts, short_labels)
print(f"{len(short)} texts that can be written in {ways(short_options[0])} to "
      f"{ways(short_options[-1])} ways")

# %% [markdown]
# ### Prediction 06.b: greedy against brute force
#
# The attacker may swap two inner letters in as many words as needed. Brute force says which of
# these texts can be fooled at all, and by how few changed words. Of *those* texts, whatever their
# number: how often does greedy search find nothing, or change more words than brute force needs?

# %%
guess = course.predict(
    "06.b",
    "texts that CAN be fooled: on what share does greedy fail, or change more words than needed?",
    guess=None,
    low=0,
    high=1,
)

# %%
greedy = Swaps()(victim, short_texts, short_labels)
beam = Swaps(beam=4)(victim, short_texts, short_labels)
tried = [k for k, one in enumerate(greedy) if not one.wrong_before]


def changes(one):
    return len(one.changed) if one.success else None


rows = []  # (fewest, greedy, beam), None: not fooled
for k in tried:
    fewest = 1
    if changes(greedy[k]) != 1:
        fewest = smallest(score_of(short_labels[k]), short_texts[k], short_options[k])
    rows.append((fewest, changes(greedy[k]), changes(beam[k])))

possible = [row for row in rows if row[0] is not None]
missed = [row for row in possible if row[1] is None]
longer = [row for row in possible if row[1] is not None and row[1] > row[0]]
guess.reveal((len(missed) + len(longer)) / max(1, len(possible)))

# %%
print(f"{len(rows)} texts that the model got right; {len(possible)} can be fooled by swaps")
for name, column in (("greedy", 1), ("beam of 4", 2)):
    failed = sum(row[column] is None for row in possible)
    more = sum(row[column] is not None and row[column] > row[0] for row in possible)
    print(f"{name:10} fails on {failed}, changes more words than needed on {more}")
spent = [np.mean([found[k].queries for k in tried]) for found in (greedy, beam)]
tried_all = np.mean([ways(short_options[k]) for k in tried])
print(f"queries per text: greedy {spent[0]:.0f}, beam {spent[1]:.0f}, all ways {tried_all:.0f}")
course.claim("06.brute_force", rows=rows)
course.claim("06.greedy", missed=missed, longer=longer)
if in_world:
    course.claim("06.finds_a_way", missed=missed)
figures.fewest(possible)

# %% [markdown]
# *The figure: for each text that greedy did not win with one change (and that can be fooled), the
# fewest changes that fool the model (black bar), what greedy needed (cross) and what beam search
# needed (circle). A line "fails" at the top, if there is one, holds texts where a search failed
# although a way exists.*
#
# <details><summary>What you should see</summary>
#
# Where cross or circle lie above the bar, the search changed more than it had to.
#
# </details>
#
# In the built-in world greedy finds a way wherever there is one: its fault on these texts is length
# only, and outright failure is shown by the small trap above. Beam search is no cure. It looks at
# more texts, but for the largest score at each step, and not for the fewest words in the end. (Nor
# does a beam of 4 cost four times as much: the ranking is the same, and so is the first word, where
# many searches end.)
#
# So a greedy attack gives an **upper bound on robust accuracy**, like PGD in lesson 04: "the model
# withstood" means "this search found nothing". And "it changed 4 words" does not mean that 4 were
# needed. Lesson 11 tries *every* variant of longer texts: of 25 that some substitution turns,
# greedy search missed one (`docs/results/certificates.md`).
#
# ### Budgets
#
# Real attackers have limits. `max_changed` is the share of words that may change, `max_queries` how
# often the model may be asked. An accuracy under attack without its budget says nothing.
#
# We need not attack again for every budget: the first steps of a greedy run do not depend on how
# many may follow. A text is fooled within the budget if its successful run fits. So *one* run
# without limits tells the accuracy at each share of *words*. For *queries* it gives an upper bound:
# a run with a limit stops in the midst of a word's options, and one of those that it has tried may
# be enough, while the run without limits pays for all of them.


# %%
def fooled_within(one, share=1.0, queries=10**9):
    """Whether this result is a success with at most this share of words and so many queries."""
    most = int(share * len(words(one.original)))
    return one.success and len(one.changed) <= most and one.queries <= queries


def accuracy(found, **budget):
    """Accuracy under attack; wrong from the start counts as wrong."""
    return np.mean([not (r.wrong_before or fooled_within(r, **budget)) for r in found])


by_words, by_queries = (HotFlip(**limit)(victim, texts, labels)
                        for limit in (dict(max_changed=0.1), dict(max_queries=8)))
one_run = {"words": accuracy(results["HotFlip"], share=0.1),
           "queries": accuracy(results["HotFlip"], queries=8)}
print(f"HotFlip, 10 % of the words: from the one run {one_run['words']:.1%}, attacked again with "
      f"this limit {accuracy(by_words):.1%}")
print(f"HotFlip, 8 queries: from the one run {one_run['queries']:.1%}, attacked again with "
      f"this limit {accuracy(by_queries):.1%}")
course.claim("06.one_run", **one_run, words_again=accuracy(by_words),
             queries_again=accuracy(by_queries), texts=len(texts))

# %%
for name, found in results.items():
    line = [accuracy(found, share=s) for s in (0.05, 0.1, 0.2, 0.4)]
    print(f"{name:15} accuracy at 5, 10, 20, 40 % of the words: "
          + "  ".join(f"{value:6.1%}" for value in line))
spent = {name: np.mean([one.queries for one in found]) for name, found in results.items()}
course.claim("06.queries", spent=spent)
figures.budgets(results, accuracy)

# %% [markdown]
# *The figure: accuracy under attack against the share of words that may change (left) and against
# queries (right, on a logarithmic scale; upper bounds only, as the cell before shows).*
#
# <details><summary>What you should see</summary>
#
# All curves begin at the clean accuracy. In the left panel they stay flat until the budget allows
# one whole word of a text, in the right one until the ranking and all options of one word are paid
# for. HotFlip, which looks at the weights, needs the fewest queries.
#
# </details>
#
# Move the slider. (1) At which budget does the text at hand fall, and to which attack first? (2)
# For which attack does a budget beyond 20 % of the words still matter?
#
# <details><summary>What we saw in the built-in world</summary>
#
# (1) One word is enough for every attack, and the text has ten: it falls at 10 %, to all of them at
# once. (2) Most for the neighbours: between 20 and 40 % their curve falls by another 25 points. The
# others fall by about 10 or less; HotFlip and the language model have hardly any text left.
#
# </details>

# %%
figures.explore_budgets(results, pick, accuracy, fooled_within)

# %% [markdown]
# ## 6 · How many of these successes count?
#
# Look back at your answer of section 1. A language model asked for a word that fits in "the soup
# was …" proposes *tasty* and *bland* alike: opposites stand in the same places. Embeddings learned
# from such places put them side by side. So two of our attackers propose **opposites**, and
# whoever writes *rude* for *friendly* has written another review. The model that changes its mind
# is right!
#
# In the built-in world a rule knows the label of a text (lesson 00). It reads the opinion words of
# its lexicon, and negations. Know its limits before you trust it:

# %% tags=["nbval-check-output"]
reviews = world("reviews")


def label_kept(original, changed):
    """Whether the rule gives both texts the same label; False where it knows none."""
    try:
        return reviews.label(original) == reviews.label(changed)
    except ValueError:
        return False


lounge = "The lounge was gloomy, and the bed was lumpy."
for change in ({3: "dreary"}, {3: "cosy", 8: "comfy"}, {3: "cosy"}, {3: "free"}, {3: "gloomily"}):
    print(f"{replace(lounge, change):48} kept: {label_kept(lounge, replace(lounge, change))}")
slides = "The slides were hardly clear."
print(f"{'The slides were hadrly clear.':48} kept: "
      f"{label_kept(slides, 'The slides were hadrly clear.')}")

# %% [markdown]
# The first three lines are right: kept, turned round, and no longer clear (praise beside blame).
# The other three are blunders. A *free* lounge is not gloomy; the rule does not know *free* as an
# opinion and simply counts the bed. *Gloomily* passes in the same way, though it makes no sentence.
# And it reads *hadrly* as some unknown word, not as *hardly* with a slip of the fingers, where any
# reader sees the negation. So:
#
# - for **substitution**, **neighbours** and the **language model**, which mostly exchange words of
#   the lexicon, we ask the rule;
# - for **typos** we take it that readers see through one slip per word. That is an assumption;
#   *form* → *from* and *clean* → *clan* show its limit;
# - for **HotFlip**, which writes any word anywhere, the rule is too kind; read its number as an
#   upper bound.
#
# On free text there is no rule at all. There this column stays empty, and section 7 is what
# remains.
#
# ### Prediction 06.c: the language model under constraints
#
# **Constraints** are the remedy. `KeepWords` forbids changing negations and stop words (*not*,
# *the*, *of*), `LabelRule` asks the rule about each candidate, `Similarity` demands that a sentence
# embedding stays near, and `EmbeddingNeighbours` has its `least` cosine.
#
# The language model gets two of them: `KeepWords`, and `LabelRule` in the built-in world or
# `Similarity` on free text, where there is no rule. Section 1 and the table above say from where
# its success rate starts.

# %%
guess = course.predict(
    "06.c",
    "with constraints, by how many points does the language model attack's success rate fall?",
    guess=None,
    low=0,
    high=100,
)

# %%
language_model = load_language_model(reader)


def encode(some):
    """Sentence embeddings: the mean of the last hidden states, (texts, hidden)."""
    out = np.zeros((len(some), language_model.model.config.hidden_size))
    for chosen, batch in language_model.batches(some):
        mask = batch["attention_mask"]
        with torch.no_grad():
            hidden = language_model.model.base_model(
                input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        out[chosen] = mean.float().cpu().numpy()
    return out


if in_world:
    rules, least = (KeepWords(), LabelRule()), 0.0
else:
    rules, least = (KeepWords(), Similarity(encode, least=0.97)), 0.5
fair_attacks = {
    "neighbours": EmbeddingNeighbours(least=least, constraints=rules),
    "language model": MaskedLanguageModel(language_model=reader, constraints=rules),
}
fair = {name: attack(victim, texts, labels) for name, attack in fair_attacks.items()}


# %%
def success(found):
    return np.mean([one.success for one in found if not one.wrong_before])


def counts(name, one):
    """Whether the right answer stayed what it was; None where nobody knows."""
    if not in_world:
        return None
    return True if name == "typos" else label_kept(one.original, one.text)


def line(name, found, note=""):
    won = [one for one in found if one.success]
    kept = [counts(name, one) for one in won]
    share = f"{np.mean(kept):.0%}" if won and None not in kept else "?"
    share += ("*" if name == "typos" else "†" if note else "") if in_world else ""
    print(f"{name + note:28} {accuracy(found):8.1%} {success(found):8.1%} "
          f"{np.mean([len(one.changed) for one in won] or [0]):7.1f} "
          f"{np.mean([one.queries for one in found]):8.0f} {share:>11}")


print("attack                       accuracy  success  words  queries  label kept")
for name, found in results.items():
    line(name, found)
for name, found in fair.items():
    line(name, found, ", constrained")
falls = {name: 100 * (success(results[name]) - success(fair[name])) for name in fair}
if in_world:
    print("* taken to be so, not measured\n"
          "† by construction: the rule that judges has chosen the candidates")
guess.reveal(round(falls["language model"]))

# %%
print("success falls by " + ", ".join(f"{v:.0f} points ({k})" for k, v in falls.items()))
course.claim("06.constraints", falls=falls)
if in_world:
    won = {name: [one for one in found if one.success] for name, found in results.items()}
    kept = {name: np.mean([counts(name, one) for one in won[name]]) for name in won}
    constrained = [label_kept(one.original, one.text)
                   for found in fair.values() for one in found if one.success]
    course.claim("06.kept", kept=kept, constrained=constrained)
    rates = {name: success(found) for name, found in results.items()}
    course.claim("06.counterfeit", rates=rates, kept=kept, fall=falls["language model"])

# %% [markdown]
# In the built-in world the language model attack has a success rate that none beats, and the fewest
# successes that count. (The 100 % of the constrained rows says nothing: `LabelRule` lets only such
# candidates through, and the same rule judges.) This is not a fault of a small world. Morris et al.
# (2020) let people read what published attacks had made, and adjusted the constraints until people
# found that the meaning was kept: the success rate fell by **more than 70 percentage points**. A
# success rate without a judge of the meaning measures how loosely the attacker was held. What do
# constrained successes look like?

# %%
shown = [("language model", fair["language model"]), ("neighbours", fair["neighbours"])]
for name, found in shown:
    print(f"{name}, constrained:")
    for one in [one for one in found if one.success][:3]:
        print(f"  {one.show()}")

# %% [markdown]
# Even these are not all fine texts. In the built-in world the label is kept, by the rule, and yet
# some sentences are odd: a label is not the whole meaning, and grammar is no part of the rule. On
# free text look for *good* → *bad* and the like: opposites pass a cosine with ease.
#
# ## 7 · Twenty pairs, judged by you
#
# Now you are the judge. Below are twenty pairs of texts. B was made from A: by one of four attacks
# (only runs that fooled the model), or by us as a control. The four are typos, neighbours, the
# language model, and substitution or, on free text, HotFlip. The pairs are shuffled, and you do not
# see which is which. Ask of each pair one question:
#
# > Would a reader give A and B **the same label** (positive or negative)?
#
# *No* also where the opinion of B has become unclear. Spelling and style do not matter: read a slip
# of the fingers as the word that was meant, even where it hits another word (*clan* for *clean*).
# That is the assumption of section 6, and so the "truth" of the typo pairs; disagree if you like.

# %%
def control(text, keep):
    """A review with one opinion word replaced: by one of its group, or by an opposite one."""
    found = words(text)
    for i, word in enumerate(found):
        group = reviews.group_of.get(word.lower(), "")
        other = group if keep else group[:-1] + {"+": "-", "-": "+"}.get(group[-1:], "")
        if group[-1:] in "+-" and group and other in reviews.groups:
            new = [w for w in reviews.groups[other][:6] if w != word.lower()]
            changed = replace(text, {i: new[len(text) % len(new)]})
            if new and label_kept(text, changed) == keep:
                return changed
    return None


judged = profile.pick(("typos", "neighbours", "language model", "substitution"),
                      ("typos", "HotFlip", "neighbours", "language model"))
per = 4
draw, pairs = random.Random(6), []
for name in judged:
    used = {original for _, original, _, _ in pairs}
    won = [one for one in results[name] if one.success and one.original not in used]
    for one in draw.sample(won, min(per, len(won))):
        pairs.append((name, one.original, one.text, counts(name, one)))
fresh = reviews.sample(100, "test", seed=6)
while len(pairs) < 20:  # controls: half of them keep the label
    keep, text = len(pairs) % 2 == 0, fresh.pop().text
    if control(text, keep) is not None:
        pairs.append(("control", text, control(text, keep), keep))
draw.shuffle(pairs)
for k, (_, a, b, _) in enumerate(pairs, 1):
    print(f"{k:2}  A  {a}\n    B  {b}")

# %% [markdown]
# In a notebook with widgets, press one button per pair. Or write your answers as a list into the
# cell after it: twenty times `True` (the same label) or `False`, and `None` where you cannot say.

# %%
buttons = figures.rating_buttons(pairs)

# %%
ratings = None  # or a list of twenty: [True, False, …]
if ratings is None and any(button.value != "?" for button in buttons):
    ratings = [{"same": True, "not the same": False}.get(button.value) for button in buttons]
if ratings is not None and len(ratings) != len(pairs):
    raise ValueError("one answer per pair: True, False or None")
by_rule = [pair[3] for pair in pairs]
print(f"{sum(t is not None for t in by_rule)} of the 20 pairs have a known answer")
if ratings is None:
    print("you have not rated yet")
else:
    print(f"your ratings: {ratings}")
    differ = [k for k in range(20) if None not in (ratings[k], by_rule[k])
              and ratings[k] != by_rule[k]]
    print(f"you and the rule differ on pairs {[k + 1 for k in differ]}: read them once more")

# %% [markdown]
# How well does a rater agree with the truth? The share of equal answers flatters: who says *same*
# to everything agrees with half of a half-and-half sample, without reading a word. **Cohen's
# kappa** asks how much of the agreement goes beyond chance:
#
# $$\kappa = \frac{p_\text{same} - p_\text{chance}}{1 - p_\text{chance}},\qquad
# p_\text{chance} = r\,t + (1-r)(1-t)$$
#
# with $p_\text{same}$ the share of pairs with equal answers, $r$ the share of `True` among the
# ratings and $t$ among the truth: so often would two agree that answer independently, with these
# shares. 1 is perfect, 0 is chance, below 0 is worse.

# %% [markdown]
# ### Exercise 06.5: agreement beyond chance · ●○○ · 8 min
#
# Write `agreement(ratings, truth)`, two lists of the same length with `True`, `False` or `None`.
# Return `(share, kappa)`, two numbers. Pairs where either of the two is `None` are left out of
# everything. If none is left, raise `ValueError`. Where $p_\text{chance}=1$ (both gave one and the
# same answer to everything) nothing shows that anybody has read the pairs: kappa is 0 by
# definition here.
#
# <details><summary>Hint</summary>
#
# First make a list of the pairs `(a, b)` in which neither is `None` (test with `is not None`:
# `False` is an answer). Everything else is counting in that list.
#
# </details>


# %%
def agreement(ratings, truth):
    """(share of equal answers, Cohen's kappa) over the pairs that both have judged."""
    # SOLUTION


agreement = course.exercise("06.5", agreement)

# %% [markdown]
# Besides you, two machines rate. One believes every attack: *same*, always. The other computes what
# many attacks rely on, the cosine of two sentence embeddings, and calls the ten most similar pairs
# the same.

# %%
vectors = encode([text for _, a, b, _ in pairs for text in (a, b)])
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
cosines = (vectors[::2] * vectors[1::2]).sum(1)
raters = {"believes everything": [True] * 20,
          "cosine of embeddings": [bool(c >= np.median(cosines)) for c in cosines]}
if ratings is not None and any(r is not None for r in ratings):
    raters["you"] = ratings
for name in judged:
    one = [k for k, pair in enumerate(pairs) if pair[0] == name]
    print(f"median cosine of the pairs from {name:15} {np.median(cosines[one]):.3f}")
print("\nrater                   agreement   kappa")
for name, answers in raters.items():
    share, kappa = agreement(answers, by_rule)
    print(f"{name:22} {share:10.0%} {kappa:7.2f}")
course.claim("06.believer", kappa=agreement(raters["believes everything"], by_rule)[1])
if in_world:
    middles = {name: np.median(cosines[[pair[0] == name for pair in pairs]]) for name in judged}
    course.claim("06.cosine", typos=middles["typos"], language_model=middles["language model"])

# %% [markdown]
# Who believes everything may agree with half of the truth, and has a kappa of 0. What is the
# cosine's? And look at the medians before you trust a cosine as a constraint. In the built-in world
# it puts the pairs of the language model, most of which turned round, *above* those with typos,
# which you can read.

# %% [markdown]
# And now what the exercise is for: the successes of each attack, by what is reported and by what
# counts. The success rate times the share of its pairs that kept the label is the rate of *real*
# adversarial examples. (Four pairs per attack are a small sample: one pair more or less moves the
# share by 25 points. A study takes hundreds, and several readers for each.)

# %%
by_you = ratings if ratings is not None else [None] * 20
print("attack            reported   counts by the truth   counts by you")
for name in judged:
    rows = [k for k, pair in enumerate(pairs) if pair[0] == name]
    reported = success(results[name])
    cells = []
    for answers in (by_rule, by_you):
        known = [answers[k] for k in rows if answers[k] is not None]
        cells.append(f"{reported * np.mean(known):.0%}" if known else "?")
    cells[0] += "*" if name == "typos" and in_world else ""
    print(f"{name:16} {reported:9.0%} {cells[0]:>21} {cells[1]:>15}")
if in_world:
    print("* taken to be so, not measured")

# %%
picture = "on free text there is no known truth: your ratings are all there is"
if in_world:
    rates = {name: (success(found), np.mean([bool(r.success and counts(name, r)) for r in found
                                             if not r.wrong_before]))
             for name, found in results.items()}
    course.claim("06.order", rates=rates)
    picture = figures.counted(rates)
picture

# %% [markdown]
# *The figure (built-in world): for each attack the reported success rate (the whole bar) and,
# filled, the share that keeps the label by the judges of section 6. It counts all successes, where
# the table above had four pairs each. For typos all of it is taken to count; for HotFlip the filled
# part is an upper bound.*
#
# <details><summary>What you should see</summary>
#
# The language model, which no attack beats by what is reported, is far behind by what counts. Of
# substitution everything counts.
#
# </details>
#
# ## Recap
#
# - An attack on words has four parts: goal, transformation, constraints, search.
# - There is no one unit of change. A typo is one word and two letters, but several pieces and a
#   further jump than the opposite of the word; no unit knows what a reader minds.
# - HotFlip's forecast $(e_v-e_\text{old})\cdot g$ is poor, and good enough: the search tries what
#   stands at its top.
# - Importance plus greedy costs a few dozen queries, and is no optimum: it fails where words work
#   only together, and may change more than needed. "Withstood" means "this search found nothing".
# - State the budget: words, queries. One greedy run gives the whole curve for the share of words.
# - A success counts only if the right answer stayed what it was. Language models and embeddings
#   propose opposites; with constraints most of their success is gone.
#
# ## What could go wrong
#
# - **Counting turned labels as successes.** Read fifty of your "adversarial examples" before you
#   publish a rate.
# - **A judge with a blind side.** The rule reads its lexicon, a cosine reads topics. Both call some
#   ruined texts fine and some fine texts ruined.
# - **Queries not counted**: the ranking, the failed tries and the gradients belong to the cost.
# - **The constraint is looser than the paper says.** Thresholds differ between paper, code and
#   library; compare attacks only under the same constraints.
# - **Wrong from the start** counted as a success: it raises the rate with no work done.
# - **A weak search read as a strong model.** Try a beam, another ranking, more queries.
#
# ## Further reading
#
# - J. Ebrahimi, A. Rao, D. Lowd, D. Dou, *HotFlip: White-Box Adversarial Examples for Text
#   Classification*, ACL 2018, arXiv 1712.06751.
# - D. Pruthi, B. Dhingra, Z. Lipton, *Combating Adversarial Misspellings with Robust Word
#   Recognition*, ACL 2019, arXiv 1905.11268.
# - D. Jin, Z. Jin, J. Zhou, P. Szolovits, *Is BERT Really Robust?* (TextFooler), AAAI 2020, arXiv
#   1907.11932. Importance ranking and greedy substitution.
# - L. Li, R. Ma, Q. Guo, X. Xue, X. Qiu, *BERT-ATTACK: Adversarial Attack Against BERT Using BERT*,
#   EMNLP 2020, arXiv 2004.09984.
# - J. Morris et al., *TextAttack*, EMNLP 2020 (system demonstrations), arXiv 2005.05909. The four
#   parts.
# - J. Morris, E. Lifland, J. Lanchantin, Y. Ji, Y. Qi, *Reevaluating Adversarial Examples in
#   Natural Language*, Findings of EMNLP 2020, arXiv 2004.14174. People as judges; the fall by over
#   70 points.
#
# > **Ethics** The threat model of this lesson: an attacker who may rewrite a text at test time,
# > word by word, sees scores (or, for HotFlip, the weights), and may ask as often as the budget
# > says. Such attackers exist: whoever wants to get past a filter rewrites until it is passed. Try
# > attacks on models of your own, or with leave. Note also who writes "typos" without any intent:
# > people with dyslexia, learners of the language, anyone on a small keyboard. A model that breaks
# > under swapped letters is unfair to them long before anybody attacks it.

# %%
course.progress("06")
