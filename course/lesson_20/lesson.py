# %% [markdown]
# # 20 · Capstone
#
# {{BADGE}}
#
# **You will**
#
# - write a threat model as an object and as a sentence, and attack with it;
# - compare the attack with controls, each of which leaves something out;
# - defend the model, and judge the defence;
# - let people judge which labels survive the attack, and correct the number for the others;
# - do the same for your own data, in a folder that `course capstone check` reads.
#
# **Time** {{TIME}} About 90 minutes for you: 56 of reading, 34 of exercises. The appendix (a
# digest, with exercise 20.4; how judges agree, with prediction 20.c; three short pieces) is another
# 35 minutes and optional. Your own project takes days.
#
# **Before** Lessons 06, 07 and 08 (11 helps).

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · One project, from end to end
#
# So far every lesson has brought its own model, attack and question. A project begins with none of
# them. This page goes the whole way once, on questions to a bank. Then it is your turn.

# %%
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from advlib.attacks import Typos, WordAttack
from advlib.corpora import words
from advlib.evaluation import attack_all, wilson
from course import capstone
from course.lesson_20 import figures, workshop

figures.steps()

# %% [markdown]
# *The figure: the seven parts of a project, and the file that each fills. The pairs are texts
# before and after the attack, which people compare. They belong before the defence: where many
# labels are lost there is little to defend against. This page takes them later, because a page
# cannot judge.*

# %%
n = profile.pick(100, 400)
victim = workshop.remembering(advlib.load_classifier("bank-clean"))  # no text is computed twice
data = advlib.load_text("bank", train_size=1, test_size=n)["test"]
print(f"{n} questions, {len(victim.labels)} intents, such as {', '.join(victim.labels[:3])}")
for text in data["text"][1:4]:
    print(" ", text)

# %% [markdown]
# ## 2 · Who attacks, and what may they do?
#
# A result means nothing without its threat model. Say it twice: once so that a program can run it,
# once so that a reader without Python can object.
#
# > Whoever writes to the bank may write **one vowel of a word two to five times**, in at most **a
# > quarter of the words** and in no word of one letter. They see the model's scores and may ask as
# > often as they like.
#
# People do write so ("pleeease"), so we may hope that the label is kept. We do not know it:
# section 5.
#
# In the library an attack is a frozen dataclass, and its repr says what it may do. One that you
# write yourself inherits the search, the budgets and the repr of lesson 06 from `WordAttack`; what
# it adds is its own settings and what a word may become.

# %% [markdown]
# ### Exercise 20.1: a threat model as an object · ●○○ · 8 min
#
# In the frame of `options(word)` below one gap is yours: what a word may become. Go on from a vowel
# (a, e, i, o, u, small or capital) at place `i`: there it stands `n` times in place of once, and
# the rest of the word stays. Add one such word to `made` for each `n` in `self.times`, in that
# order. For other letters add nothing.
#
# The rest of the class is given; leave it as it is. With `frozen=True` nobody can change the
# settings afterwards; `repr=False` leaves the repr to `WordAttack`, which names them.
#
# <details><summary>Hint</summary>
#
# `word[:i] + letter * n + word[i + 1 :]`, and a loop over `self.times`.
#
# </details>


# %%
@dataclass(frozen=True, repr=False)
class Stretched(WordAttack):
    """One vowel of a word is written several times, as people do who are upset: "my caaard"."""

    times: tuple[int, ...] = (3, 4, 5)

    def __post_init__(self):
        super().__post_init__()
        if not self.times or any(n < 2 for n in self.times):
            raise ValueError(f"times must be numbers of at least 2, got {self.times!r}")

    def propose(self, victim, texts, labels):
        return [[self.options(word) for word in words(text)] for text in texts]

    def options(self, word):
        """What one word may become."""
        if len(word) < 2:
            return ()
        made = []
        for i, letter in enumerate(word):
            # the candidates that stretch this letter
            # SOLUTION
            if letter in "aeiouAEIOU":
                for n in self.times:
                    made.append(word[:i] + letter * n + word[i + 1 :])
            # END SOLUTION
        return tuple(dict.fromkeys(made))  # "need" has two vowels and, for one n, one candidate


Stretched = course.exercise("20.1", Stretched)

# %%
threat = Stretched(times=(2, 3, 4, 5), max_changed=0.25)
attack = Stretched(times=(3, 5), max_changed=0.25)
print("threat model:", threat)
print("first attack:", attack)
print(attack.options("need"), attack.options("my"))
course.claim("20.threat", again=eval(repr(attack)) == attack, unchecked=attack.meaning_unchecked)

# %% [markdown]
# The first attack is *part* of the threat model: three or five letters are what comes to mind. A
# defence must hold against everything in the threat model.
#
# ### Prediction 20.a: long vowels
#
# Without attack the model is right on nearly all questions. A text *withstands* an attack where the
# model is right before and after it.

# %%
guess = course.predict(
    "20.a", "which share of the questions withstands the first attack?", guess=None, low=0, high=1)

# %%
control = workshop.control(attack)
attacks = {"control": control, "attack": attack}
start = time.perf_counter()
rows, outcomes = workshop.table(victim, data, attacks, search="attack", threat=threat)
seconds = time.perf_counter() - start
plain = {row["name"]: row for row in rows}
guess.reveal(plain["attack"]["accuracy"])
for row in rows[:3]:
    print(f"{row['name']:8} {row['accuracy']:6.1%} [{row['low']:.1%}, {row['high']:.1%}]  "
          f"{row['queries']:5.1f} queries")
print("\n" + workshop.shown(workshop.pairs(outcomes["attack"], victim.labels, 3)))

# %% [markdown]
# ## 3 · Better than chance?
#
# A model that falls may fall over anything. So an attack needs **controls**: the same with
# something left out. What the attack does beyond a control is what that something is worth, and
# whatever else differs with it.
#
# - **One random change** (its row is called `control`): random words, as many as may change at all,
#   and for each a random candidate, sent once. What is left out is *asking again*: it has 2
#   queries, with the text itself, and the attack about 20.
# - **Random search**: one such change after another, until the model is wrong or a limit is
#   reached: for every text, the number of queries that the attack takes on average. What is left
#   out is *the scores*: it needs only the model's answers.
#
# How far apart must they be? A plain rule: the attack must lie **below the control's 95 % Wilson
# interval** (lesson 07). The rule takes the attack's number for exact. So of two equally strong
# attacks, measured on other texts each, it calls one clearly stronger in
# [6 to 10 % of the draws](../docs/results/capstone.md).

# %% [markdown]
# ### Exercise 20.2: beat the control · ●○○ · 8 min
#
# Write `beats(control, attack)`. Both are numpy arrays of booleans, `(n,)`, True where the text
# withstands. Return a tuple `(gain, clear)`: `gain`, a share, is the accuracy under the control
# minus that under the attack; `clear` is True where the attack's accuracy lies below the lower end
# of the control's 95 % Wilson interval. Leave both arrays as they are.
#
# <details><summary>Hint</summary>
#
# `wilson(hits, n)` returns `(low, high)`; it wants whole numbers, so `int(control.sum())`.
#
# </details>


# %%
def beats(control, attack):
    """(gain, clear): by how much the attack is ahead, and whether that is beyond the interval."""
    # SOLUTION


beats = course.exercise("20.2", beats)

# %%
robust = {name: found.robust for name, found in outcomes.items()}
gain, clear = beats(robust["control"], robust["attack"])
search_gain, search_clear = beats(robust["random search"], robust["attack"])
print(f"ahead of one random change by {gain:.1%}, beyond the interval: {clear}")
print(f"ahead of random search by {search_gain:.1%}, beyond the interval: {search_clear}")
for name in ("attack", "random search"):
    print(f"{name:14} {plain[name]['accuracy']:6.1%}  {plain[name]['queries']:5.1f} queries")
best = workshop.kept_best(victim, data, attack)
chance = workshop.found_by(attack_all(victim, data, workshop.random_search(attack, 80)))
full = workshop.found_by(outcomes["full search"], (5, 10, 20, 40, 80, 200))
course.claim("20.control", gain=gain, clear=clear)
course.claim("20.search", gain=search_gain, clear=search_clear,
             asked=[plain[name]["queries"] for name in ("attack", "random search")],
             curves=[[b["hits"] for b in found] for found in (best, chance)])
course.claim("20.best", hits=[b["hits"] for b in best], attack=plain["attack"]["hits"],
             clean=plain["clean"]["hits"])
figures.budgets(best, chance, full, plain["control"], n)

# %% [markdown]
# *The figure: which share of the texts withstands an attacker with so many queries for each text,
# on a log scale; the grey band is one random change with its interval. Random search has the
# attack's candidates, the full search all those of the threat model.*
#
# <details><summary>What you should see</summary>
#
# The lines fall and never rise: an attacker **keeps the best** that he has found, so a line that
# rises is a bug of the attack. With five queries the attack is weaker than one random change: it
# first asks which words matter. At its right end its line is nearly flat, and those of random
# search still fall.
#
# </details>
#
# So the attack is far ahead of one random change, and **not ahead of random search**. Why? Perhaps
# the order in which the attack takes the words is worth nothing. **A reason needs a control, just
# as a number does**: appendix A has this one's.
#
# What is the number to report? **`worst`**: text by text the worst of all that was tried. It is
# about the threat model only if something has searched *all* of that. The first attack knows three
# and five letters; the threat model has two to five. So the table has another row:
# **`full search`**, random search in the whole threat model, with up to 200 queries for each text.

# %%
for name in ("attack", "random search", "full search", "worst"):
    print(f"{name:14} {plain[name]['accuracy']:6.1%} [{plain[name]['low']:.1%}, "
          f"{plain[name]['high']:.1%}]")
course.claim("20.worst", full=[b["hits"] for b in full], worst=plain["worst"]["hits"],
             others=[plain[name]["hits"] for name in ("attack", "random search")])

# %% [markdown]
# A line that still falls was stopped too early, and its number flatters the model. So even `worst`
# is an **upper bound**: with more queries less withstands. Report the limit beside it.
#
# ## 4 · A defence
#
# The attack writes letters three times or more. English does not. So let the tokenizer read **three
# or more equal letters in a row as one**. That needs no training, and is saved with the model.

# %%
patched = workshop.remembering(workshop.squeezed(victim, 3))
for word in ("caaard", "neeeed"):
    print(f"{word:8} plain {victim.tokenizer.tokenize(word)}  patched "
          f"{patched.tokenizer.tokenize(word)}")
before = workshop.table(patched, data, {"control": control, "attack": attack})
patched_rows, _ = before
for row in patched_rows[:-1]:
    print(f"{row['name']:8} {row['accuracy']:6.1%}")
course.claim("20.patched", clean=patched_rows[0]["accuracy"], attack=patched_rows[2]["accuracy"],
             before=plain["attack"]["accuracy"])

# %% [markdown]
# ### Prediction 20.b: the next attacker
#
# Now somebody attacks who knows this defence. The threat model and the search are the same: one
# vowel, two to five times, a quarter of the words.

# %%
guess = course.predict(
    "20.b", "with the defence on, which share withstands an attack that is made for it?",
    guess=None, low=0, high=1)

# %% [markdown]
# The first attack was written before the defence and has not heard of it. **An adaptive attack
# knows the defence and is made for it** (Tramèr et al. 2020, lesson 07). The recipe is nearly
# always the same: find out what the defence undoes, leave it out, and look at what gets through.

# %% [markdown]
# ### Exercise 20.3: what survives the defence · ●●○ · 10 min
#
# Write `surviving(word, candidates, read)`. `candidates` is a tuple of words that `word` may
# become, and `read(w)` is what the defended model reads in the place of `w` (below it is
# `workshop.read_as(3)`). Return the tuple of those candidates that the defence does not undo: the
# model reads something else than it reads for the word itself. Of several candidates that are read
# alike keep only the first, for the others are wasted queries. The order stays.
#
# <details><summary>Hint</summary>
#
# Undone means `read(candidate) == read(word)`; the word itself may be read as something else, too
# (in small letters, say). For the rest a dictionary from reading to candidate:
# `found.setdefault(read(candidate), candidate)` keeps the first; the result is its values.
#
# </details>


# %%
def surviving(word, candidates, read):
    """The candidates that the defence does not undo, one for each reading."""
    # SOLUTION


surviving = course.exercise("20.3", surviving)


# %%
@dataclass(frozen=True, repr=False)
class Adaptive(Stretched):
    """The same attack by somebody who knows that `least` equal letters are read as one."""

    least: int = 3

    def options(self, word):
        return surviving(word, super().options(word), workshop.read_as(self.least))


adaptive = Adaptive(times=(2, 3, 4, 5), least=3, max_changed=0.25)

patched_rows, _ = workshop.table(patched, data, {"adaptive": adaptive}, threat=adaptive,
                                 before=before)
rows, outcomes = workshop.table(victim, data, {"adaptive": adaptive}, before=(rows, outcomes))
plain = {row["name"]: row for row in rows}
by_name = {row["name"]: row["accuracy"] for row in patched_rows}
guess.reveal(by_name["adaptive"])
for word in ("card", "need"):
    print(f"{word}: {Stretched.options(adaptive, word)}\n   survive: {adaptive.options(word)}")
for row in patched_rows:
    print(f"{row['name']:13} {row['accuracy']:6.1%} [{row['low']:.1%}, {row['high']:.1%}]")
print(f"the plain model: adaptive {plain['adaptive']['accuracy']:.1%}, "
      f"worst {plain['worst']['accuracy']:.1%}")
course.claim("20.adaptive", naive=by_name["attack"], adaptive=by_name["adaptive"],
             undefended=plain["adaptive"]["accuracy"],
             worst=[by_name["worst"], plain["worst"]["accuracy"]])

# %% [markdown]
# The defence made the *first attack* weak, and that was never the question. Report `worst` again,
# now with a full search among the candidates that survive, and compare it with the plain model's.
# (Of "card" only "caard" gets through. Of "need" all four do: each is read "ned", "need" itself
# stays, and "neeed" stands for them.)
#
# ### A defence that has no hole of this kind
#
# What would an attacker need? A stretched word that is read differently from the word. So leave
# none: read **two or more** equal letters as one. Then "need" and "neeed" are both "ned", and
# nothing that the threat model allows reaches the model. (Lesson 11 calls this a canonical form.)
# We count survivors, with every candidate in the place of every word; the rule works inside a word,
# so one at a time is enough. A count of 0 is a proof, a **certificate**: for these texts no attack
# of the threat model changes an answer, not even one that nobody has thought of.

# %%
defended = workshop.squeezed(victim, 2)
left = {}
for least, model in ((3, patched), (2, defended)):
    left[least], tried = workshop.survivors(model, threat, data["text"])
    print(f"{least} letters are one: {left[least]} of {tried} changed texts are read differently")
course.claim("20.nothing", left=left, tried=tried)

# %%
defended_rows, defended_outcomes = workshop.table(
    defended, data, {"control": control, "attack": attack, "adaptive": threat})
same = (defended_outcomes["adaptive"].attacked == defended_outcomes["clean"].clean).mean()
models = {"plain": rows, "3 letters are one": patched_rows,
          "2 letters are one": defended_rows}
typos, half = Typos(max_changed=0.25, per_kind=1), data.select(range(n // 2))
other = {name: attack_all(model, half, typos).robust.mean()
         for name, model in (("plain", victim), ("2 letters are one", defended))}
print(f"without attack: plain {plain['clean']['accuracy']:.1%}, "
      f"2 letters are one {defended_rows[0]['accuracy']:.1%}")
print(f"same answer with and without the attack: {same:.1%} of the questions")
print(f"outside the threat model, slips of the keys, {n // 2} questions:",
      ", ".join(f"{name} {share:.0%}" for name, share in other.items()))
course.claim("20.defended", rows=[row["accuracy"] for row in defended_rows], same=same, other=other,
             clean=plain["clean"]["accuracy"])
figures.bars(models)

# %% [markdown]
# *The figure: the share of texts that withstand, for the three models; lines are 95 % intervals.
# Where two letters are one no candidate survives, so the adaptive attack is the whole threat model:
# an attack that tries nothing shows nothing.*
#
# Against slips of the keys the defended model stands where the plain one stood: it holds for this
# threat model, exactly, and for no other. And on real English it has a price: "to" and "too",
# "lose" and "loose" become one word. On our questions, made from templates, it is small: see the
# two numbers without attack. Appendix D has the same project on **real questions**.
#
# ## 5 · Fifty pairs, read by people
#
# Does "my caaard" still ask for what "my card" asks for? Only people can say so. Take **fifty
# pairs** of original and changed text on which the attack *succeeded*, hide what the model said,
# and ask at least two people, who do not see each other's answers: **"Does the changed text still
# have this label?"** They see both texts, the label and the list of all labels, and write yes or
# no.
#
# The **share kept**, $s$, says what the attack was worth, with its interval: 50 of 50 is "at least
# 93 %", no more. It also corrects the robust accuracy. A text that was turned and lost its label
# was not attacked, it was *replaced*, so it counts as one that withstands. (This favours the model:
# another change might have kept the label.) Let `clean` of `n` texts be right before the attack and
# `robust` after it; the others of `clean` were *turned*. Then
#
# $$\text{value}=\frac{\texttt{robust}+(\texttt{clean}-\texttt{robust})\,(1-s)}{\texttt{n}},$$
#
# and the interval of $s$ gives one of the value: only the judges' part of the doubt. (Below, it is
# the first attack's number. To correct `worst`, draw the pairs from the texts that *any* of the
# attacks turned.)

# %% [markdown]
# ### Exercise 20.5: what the judges give back · ●●○ · 8 min
#
# Fill the three gaps of `corrected(first, second, clean, robust, n)`, a line each. `first` and
# `second` are lists of booleans of equal length, True where that judge calls the label kept; the
# pairs were drawn from the turned texts.
#
# 1. `kept`: for how many pairs *both* say so.
# 2. `value(s)`: the formula above.
# 3. Return a tuple of three numbers: the corrected robust accuracy, and its lowest and highest
#    value for shares from `least` to `most`, the 95 % Wilson interval of the share kept.
#
# Leave the lists as they are.
#
# <details><summary>Hint</summary>
#
# 1: `sum(a and b for a, b in zip(first, second))`; booleans add up as 0 and 1. 3: more labels kept
# means that more attacks count, so which end of the share gives the lowest value?
#
# </details>


# %%
def corrected(first, second, clean, robust, n):
    """(value, low, high): robust accuracy when only attacks that keep the label count."""
    # 1. how many pairs keep their label
    # SOLUTION
    kept = sum(a and b for a, b in zip(first, second, strict=True))
    # END SOLUTION
    least, most = wilson(kept, len(first))

    def value(s):
        # 2. the formula
        # SOLUTION
        return (robust + (clean - robust) * (1 - s)) / n
        # END SOLUTION

    # 3. the value, the lowest, the highest
    # SOLUTION
    return value(kept / len(first)), value(most), value(least)
    # END SOLUTION


corrected = course.exercise("20.5", corrected)

# %%
hits = {name: plain[name]["hits"] for name in ("clean", "attack")}
spans = {}
for kept in (50, 45, 25):
    judge = [True] * kept + [False] * (50 - kept)
    spans[kept] = corrected(judge, judge, hits["clean"], hits["attack"], n)
    print(f"{kept} of 50 kept: robust accuracy {spans[kept][0]:.1%} "
          f"[{spans[kept][1]:.1%}, {spans[kept][2]:.1%}]")
course.claim("20.corrected", spans=spans, plain=hits["attack"] / n)

# %% [markdown]
# With two judges report **their agreement and Cohen's kappa** (lesson 06), both: see appendix C. To
# know whether your judges are awake, mix **some pairs whose label is surely lost** into what they
# read, and take their rows out again before you count.
#
# ## 6 · Your own
#
# ```
# course capstone start my_project       makes the folder, with a form to fill in
# course capstone check my_project       says what is missing, a sentence each
# ```
#
# The next cell does both with this page's numbers, and once with a threat model that was made
# smaller afterwards. Appendix E has the code for your own models.

# %%
project = capstone.start(Path(tempfile.mkdtemp()) / "my_project")
empty, _ = capstone.check(project)
turned = workshop.pairs(outcomes["attack"], victim.labels, 50)
capstone.write_pairs(project, turned)
own = {
    "threat model": repr(threat),
    "sentence": "Whoever writes may write one vowel two to five times in a quarter of the words.",
    "models": {"plain": rows, "defended": defended_rows}, "keep best": best, "pairs": {},
    "cost": {"training": 0, "attacks": seconds}}
capstone.write_own(project, own | {"threat model": repr(Stretched(times=(2,), max_changed=0.25))})
smaller, _ = capstone.check(project)
capstone.write_own(project, own)
missing, _ = capstone.check(project)
print(f"new: {len(empty)} sentences. With this page's numbers: {len(missing)}")
for sentence in missing[:3]:
    print("-", sentence)
print("and so on. With a smaller threat model, among others:")
print("-", next((sentence for sentence in smaller if "no part" in sentence), "nothing"))
course.claim("20.check", empty=empty, missing=missing, smaller=smaller)

# %% [markdown]
# What is left is what only you can do. In the order that works:
#
# 1. **Data.** A file with `text` and `label`, whose licence you have read. Set the test texts aside
#    first.
# 2. **Threat model**: the sentence first. **Controls and attack** on 100 texts or more. No lead
#    over one random change: mend the attack. None over random search: try a better search, and say
#    so. Then the full search.
# 3. **Pairs, now**, before the defence.
# 4. **Defence**, then the **adaptive attack**; where nothing survives, the whole threat model.
# 5. **Cards** by `advlib evaluate`: of the plain model, of the defended one, and of that once more
#    by a fresh process, in the folder `again`. The check compares the two by their **digest**
#    (appendix B).
# 6. **Report**, with **an honest failure** and its number. There always is one.
#
# Nothing in the folder may be a pickle, and weights stay out of it. Others can attack your defended
# model on the course's [board](../docs/board.md).
#
# ## Recap
#
# - A threat model is an object whose repr says it, and a sentence. An attack is a part of it.
# - A control leaves something out; a lead counts beyond its interval. Report the worst of all that
#   was tried, over the whole threat model, with the limit of queries: it is an upper bound.
# - A defence is judged by the attack of somebody who has read it. Where nothing can get through,
#   count and say so: a certificate, for this threat model.
# - People judge fifty pairs: the share kept, with its interval, corrects the number.
#
# ## What could go wrong
#
# - **The adaptive attack is an afterthought.** Ten minutes for the attack and ten weeks for the
#   defence is no test. Let somebody else attack.
# - **The threat model shrinks with the results.** "Two letters" quietly leaves it, because the
#   defence cannot do that. Write it down before you measure, with the date.
# - **The control is weaker than it need be**: fewer words, fewer queries (appendix A).
# - **The test texts taught the defence.** Choosing among ten defences by the test accuracy is
#   training on it. Use the validation texts.
# - **Pairs chosen because they look good.** Take the first fifty successes, or draw them.
#
# ## Further reading
#
# - F. Croce et al., *RobustBench: A Standardized Adversarial Robustness Benchmark*, NeurIPS 2021
#   Datasets and Benchmarks, arXiv 2010.09670. One threat model, one evaluation, a form to enter.
# - F. Tramèr, N. Carlini, W. Brendel, A. Madry, *On Adaptive Attacks to Adversarial Example
#   Defenses*, NeurIPS 2020, arXiv 2002.08347.
# - M. Mitchell et al., *Model Cards for Model Reporting*, FAT* 2019, arXiv 1810.03993.
# - I. Casanueva, T. Temčinas, D. Gerz, M. Henderson, I. Vulić, *Efficient Intent Detection with
#   Dual Sentence Encoders*, NLP for ConvAI 2020, arXiv 2003.04807. Banking77, CC BY 4.0.
#
# > **Ethics** The threat model of this page: whoever writes to a bank may stretch one vowel in a
# > quarter of the words and sees the scores. Nobody is hurt by a "caaard" in a test; somebody is
# > by a question that goes to the wrong desk. For your own project: attack models that are yours or
# > that you may attack, keep other people's texts private, tell a maker before you tell the world,
# > and pay those who judge your pairs, or thank them by name if they like that.

# %%
course.progress("20")

# %% [markdown]
# ## Appendix (optional, 35 min)
#
# Five pieces that build on the page and not on one another. Afterwards run the cell with
# `course.progress` once more.
#
# ## Appendix A · Is the order of the words worth asking for?
#
# Before it changes anything the attack asks which words matter, and takes these first. A third
# control is the same search with **the words in a random order**. What is left out is *asking which
# words matter*:

# %%
orders = [attack_all(victim, data, workshop.shuffled(attack, seed)) for seed in (0, 1)]
for tried in (1, 2):
    stands, asked = workshop.in_turn(orders[:tried])
    ahead, clear = beats(stands, robust["attack"])
    print(f"{tried} random order(s): {stands.mean():.1%}, {asked:.1f} queries; the attack is ahead "
          f"by {ahead:.1%}, beyond the interval: {clear}")
print(f"the attack: {robust['attack'].mean():.1%}, {plain['attack']['queries']:.1f} queries")
course.claim("20.order", one=float(orders[0].robust.mean() - robust["attack"].mean()),
             two=float(stands.mean() - robust["attack"].mean()),
             asked=[plain["attack"]["queries"], asked])

# %% [markdown]
# One random order asks less than the attack, so its lead is partly a lead in queries. The fair
# control tries a second order where the first one fails. It asks more than the attack, and the lead
# shrinks to what the order is worth, together with *which* words are taken: only a quarter may
# change. It is not nothing, so why random search is as good all the same must have another reason.
#
# ## Appendix B · A result that somebody else gets, too
#
# Numbers are believed when another process finds them again. A **digest** makes the comparison
# short: 64 digits of everything that should be equal, and of nothing that may differ. What may
# differ: seconds, names of folders, versions.

# %%
import hashlib
import json

# %% [markdown]
# ### Exercise 20.4: a digest that repeats · ●●○ · 10 min
#
# Write `seal(card, leave_out)`. `card` is a dictionary of strings, numbers, None, lists and
# dictionaries, in each other at any depth. Take out every key that is in `leave_out` (a set),
# wherever it stands, also in dictionaries inside lists. Write the rest as JSON with sorted keys and
# otherwise the defaults of `json.dumps`, and return the SHA-256 of that text as 64 hexadecimal
# digits. Leave the card as it is.
#
# <details><summary>Hint</summary>
#
# `json.loads(json.dumps(card), object_hook=f)` calls `f` for every dictionary, the inner ones
# first, and puts what `f` returns in its place. `hashlib.sha256(text.encode()).hexdigest()`.
# Python's own `hash` will not do: for strings it differs from process to process.
#
# </details>


# %%
def seal(card, leave_out):
    """SHA-256 of the card without some keys, as 64 hexadecimal digits."""
    # SOLUTION


seal = course.exercise("20.4", seal)

# %% [markdown]
# Save the plain model, on which the attacks have something to find; measure it here and in a new
# Python that knows nothing of this page but the folder, the attack's settings and the number of
# texts; and compare.

# %%
folder = Path(tempfile.mkdtemp()) / "plain"
victim.save(folder)
few = profile.pick(30, 100)
here = workshop.measure(folder, few, attack.times, attack.max_changed)
again = workshop.in_a_fresh_process(folder, few, attack.times, attack.max_changed)
first, second = seal(here, {"seconds"}), seal(again, {"seconds"})
raw = seal(here, set()) == seal(again, set())
print("texts that withstand:", ", ".join(f"{r['name']} {r['hits']}" for r in here["rows"]))
print(f"here  {first[:16]}…\nagain {second[:16]}…\nwith the seconds sealed, too: equal is {raw}")
course.claim("20.repeat", equal=first == second, raw=raw, hits=[r["hits"] for r in here["rows"]],
             seconds=(here["seconds"], again["seconds"]))

# %% [markdown]
# A digest is no signature: who edits a card can make a new digest. What proves a number is that it
# is found again.
#
# ## Appendix C · Do two people agree?
#
# Cohen's kappa, which you wrote in lesson 06, is the share of equal answers beyond what chance
# would give.
#
# ### Prediction 20.c: 48 of 50
#
# Two careful readers judge fifty pairs. Each says no once, and not to the same pair: they agree on
# 48 of 50, which is 96 %.

# %%
guess = course.predict("20.c", "what is kappa?", guess=None, low=-1, high=1)

# %%
ann, ben = ["yes"] * 49 + ["no"], ["no"] + ["yes"] * 49
kappa = capstone.kappa(ann, ben)
guess.reveal(round(kappa, 3))
print(f"agreement {np.mean(np.equal(ann, ben)):.0%}, kappa {kappa:.3f}")
print("fifty times yes, twice:", capstone.kappa(["yes"] * 50, ["yes"] * 50))
course.claim("20.kappa", kappa=kappa)
figures.kappas()

# %% [markdown]
# *The figure: two judges who each err on 2 % of fifty pairs, independently, simulated. Agreement
# and kappa, over the share of pairs that really keep their label. Agreement is about 96 %, as
# above: they disagree where exactly one of them errs, 2 · 2 % · 98 % ≈ 4 %. Where both say yes
# fifty times there is no kappa, and such draws are left out.*
#
# <details><summary>What you should see</summary>
#
# Agreement does not depend on the share. Kappa falls towards 0 as nearly all labels are kept, with
# the same judges: chance alone would then agree nearly always, and little is left to agree *beyond*
# it. Above 90 % the band is wide: fifty pairs say little about kappa there.
#
# </details>
#
# So give both numbers, and the table of answers. A kappa near 0 beside 49 of 50 kept is no scandal;
# a kappa near 0 beside 30 of 50 is. In the widget, move how often judges err:

# %%
figures.explore_kappa()

# %% [markdown]
# ### Further reading
#
# - J. Cohen, *A Coefficient of Agreement for Nominal Scales*, Educational and Psychological
#   Measurement 20 (1960), 37–46.
# - A. R. Feinstein, D. V. Cicchetti, *High Agreement but Low Kappa: I. The Problems of Two
#   Paradoxes*, Journal of Clinical Epidemiology 43 (1990), 543–549.
#
# ## Appendix D · The worked example, on real questions
#
# The same project on the questions about cards in Banking77 (Casanueva et al. 2020), with an
# encoder of 22 million weights: [examples/capstone/](../examples/capstone/README.md), made by
# `benchmarks/capstone.py`. `patched` reads three letters as one, `defended` was trained with two
# read as one. Its first attack writes a vowel three to five times, its adaptive one two times.

# %%
worked = workshop.WORKED
print(f"threat model: {worked['own']['threat model']}")
for name, found in worked["own"]["models"].items():
    print(f"{name:9}" + "  ".join(f"{row['name']} {row['accuracy']:.1%}" for row in found))
judged, asked = worked["own"]["pairs"], worked["own"]["models"]["plain"]
print(f"{asked[0]['n']} texts; pairs: {judged['hits']} of {judged['n']} kept "
      f"[{judged['low']:.0%}, {judged['high']:.0%}], judges: {judged['judges']}")
print("the cards, of 100 texts, with other attacks:")
for name, card in worked["cards"].items():
    print(f"{name:9}" + "  ".join(f"{attack} {share:.0%}" for attack, share in card.items()))
course.claim("20.worked", models=worked["own"]["models"], judged=judged)

# %% [markdown]
# The story repeats itself. The first defence looks finished until the adaptive attack comes; the
# second, rule and training together, holds, as it must, and costs nothing that 200 texts could
# show. What it admits: on the plain model the attack lies inside the interval of random search, so
# nobody has shown that its search is worth its queries. `worst` is an upper bound, by a full search
# with 200 queries for each text. Slips of the keys (`Typos`, in the cards) leave both models half
# of the texts. One reader judged the pairs (25 of the attack, 25 of the adaptive one), once and not
# blind, so there is no kappa, and `course capstone check` says that a second judge is missing.
#
# ## Appendix E · Your own numbers, in code
#
# The numbers are in `own.json`: a list of rows for each model, which `workshop.table` makes. For
# your own models and file, with your own `attack` and `adaptive`:
#
# ```python
# plain_model = advlib.load_classifier("FOLDER OF THE PLAIN MODEL")
# defended = advlib.load_classifier("FOLDER OF THE DEFENDED MODEL")
# data = advlib.load_text("train.csv", test="test.csv", test_size=200)["test"]
# attacks = {"control": workshop.control(attack), "attack": attack}
# rows, outcomes = workshop.table(plain_model, data, attacks, search="attack", threat=threat)
# attacks = attacks | {"adaptive": adaptive}
# defended_rows, _ = workshop.table(defended, data, attacks, search="adaptive", threat=adaptive)
# best = workshop.kept_best(plain_model, data, attack)
# ```
#
# All this works for every attack that inherits from `WordAttack`. `threat` is the whole threat
# model; for the defended model it may leave out what the defence undoes, as `adaptive` does here.
# The file's labels must have the model's names, in its order: `table` refuses what differs. Write
# the result into the folder as section 6 does. To the steps there:
#
# - **Training.** `advlib run --data FILE` trains a plain and an adversarially trained model.
# - **Pairs.** Each judge fills in a copy of `pairs.csv`. Then put the answers side by side into one
#   file, whose first line is `original,changed,label,judge Ann,judge Ben`.
#   `capstone.judged(capstone.read_pairs(project / "pairs.csv"))` belongs under `pairs` in
#   `own.json`.
# - **Cards.** `advlib evaluate MODEL --data … --test … --protocol text --out my_project/plain`,
#   the same for `defended`, and once more into `again`. Their attacks are not yours: they show what
#   your defence does elsewhere.
