# %% [markdown]
# # 16 · Customer service assistant
#
# {{BADGE}}
#
# **You will**
#
# - take an assistant apart into three decisions: intent, answer, confidence;
# - look past questions up in SQLite, and keep users' text out of its query language;
# - choose from which confidence on to answer, so that at most 5 % of the answers are wrong;
# - attack all of it with words, typos and wrong entries, and say which defence helps how much;
# - let sources vote, not rows.
#
# **Time** {{TIME}} About 85 minutes for you: 53 of reading, 32 of exercises. The appendix (five
# parts, with exercises 16.4 and 16.5) is another 30 minutes and can be left out: nothing builds on
# it.
#
# **Before** Lessons 06 and 08.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · Three decisions
#
# Somebody asks a bank: *"My card was stolen yesterday."* A program makes three decisions. What does
# he want? That is the **intent**, here `card.stolen`. What do we **answer**? And are we sure enough
# to answer at all? That is the **confidence**; below some threshold the question goes to a person,
# the **hand-over**. (`make assistant` starts the whole program; exercises 16.1 to 16.3 are parts of
# it.)

# %%
import math
import sqlite3

import numpy as np
import torch

from advlib.corpora import world
from course.lesson_16 import figures, workshop
from course.lesson_16.workshop import fold, trigrams

figures.assistant()

# %% [markdown]
# *The figure: the way of a question ("like enough": see the appendix). In orange, what can be done
# to the parts ("other questions": than those on which a threshold was chosen); the numbers are the
# sections.*
#
# The questions are of the world `bank`: 28 intents, each a thing and a trouble. Its labels are
# exact. We take short questions that speak of one thing. 560 stand in the store (`past`), 560
# others serve to choose thresholds (`kept`), and 280 more are asked (`asked`). Two models come with
# the course: `bank-clean`, trained in the ordinary way and here called `plain`, and `bank-robust`
# (section 5). Neither has read these questions.

# %%
bank = workshop.bank(profile.pick(smoke="bank", colab="legacy-datasets/banking77"))
encoder = profile.pick(smoke="bert-tiny", colab="distilbert/distilbert-base-uncased")
names, past, asked = bank.names, bank.past, bank.asked
typed = asked.written([workshop.slipped(text, seed=0) for text in asked.texts])
plain = workshop.classifier(bank, "clean", encoder)

for text, slip, intent in zip(asked.texts[:3], typed.texts, asked.intents, strict=False):
    print(f"{names[intent]:18} {text}\n{'typed':18} {slip}")


# %%
def read(predict, questions):
    """(intent, confidence) of each question: the likeliest intent, and its probability."""
    p = np.asarray(predict(questions.texts))
    return p.argmax(1), p.max(1)


says, sure = read(plain.predict, asked)
right = says == asked.intents
worst = workshop.worst_intents(right, asked.intents, names)
print(f"intent right: {right.mean():.1%}; of the worst intent {worst[0][1]} of {worst[0][2]}")
course.claim("16.model", right=right.mean(), worst=worst[0][1] / worst[0][2],
             least=profile.pick(0.97, 0.75))

# %% [markdown]
# The worst intent counts, too: a mean over 28 can hide one that never works. `typed` are the same
# questions with a slip of the fingers in 30 % of the words, drawn at random.
#
# ## 2 · Look it up
#
# Where the model is not sure, past questions help (section 4 counts how often). SQLite, a database
# in one file, has a search engine, **FTS5**. A *tokenizer* cuts texts into *tokens*. A query names
# tokens, and `ORDER BY rank` puts the row first that shares most and rarest ones. By default tokens
# are words. With `tokenize='trigram'` they are all runs of three characters.
#
# ### Prediction 16.a: words or trigrams?
#
# Two stores hold the same 560 questions; only `tokenize` differs. "Right": the first row found has
# the intent that was asked.

# %%
guess = course.predict(
    "16.a",
    "which store loses more of its right answers when the questions have typos?",
    guess=None,
    options=("words", "trigrams", "about the same"),
)


# %%
def store(texts, tokenize):
    """Past questions in SQLite; row 1 is texts[0]."""
    db = sqlite3.connect(":memory:")
    db.execute(f"CREATE VIRTUAL TABLE past USING fts5(question, tokenize='{tokenize}')")
    db.executemany("INSERT INTO past VALUES (?)", [(fold(text),) for text in texts])
    return db


def rows(db, query, most=20):
    """The numbers of the past questions that a query finds, the nearest first."""
    sql = "SELECT rowid FROM past WHERE past MATCH ? ORDER BY rank LIMIT ?"
    return [row - 1 for (row,) in db.execute(sql, (query, most))]


def first_right(rankings, questions):
    """(n,): whether the first row of each question has the intent."""
    return np.array([bool(r) and past.intents[r[0]] == y
                     for r, y in zip(rankings, questions.intents, strict=True)])


stores = {kind: store(past.texts, kind) for kind in ("unicode61", "trigram")}
found, rankings = {}, {}
for kind, db in stores.items():
    for when, questions in (("as written", asked), ("with typos", typed)):
        rankings[kind, when] = [rows(db, q) for q in workshop.queries(questions.texts, kind)]
        found[kind, when] = first_right(rankings[kind, when], questions).mean()

# %%
lost = {kind: found[kind, "as written"] - found[kind, "with typos"] for kind in stores}
apart = lost["unicode61"] - lost["trigram"]
guess.reveal("about the same" if abs(apart) < 0.03 else "words" if apart > 0 else "trigrams")
course.claim("16.store", found=found)
missed, trouble = workshop.same_trouble(rankings["trigram", "as written"], past, asked, names)
print(f"trigrams, as written: {missed} first rows wrong, {trouble} of these with the right trouble")
course.claim("16.frame", missed=missed, trouble=trouble)
figures.stores(found)

# %% [markdown]
# *The figure: both stores (`unicode61` is the tokenizer of words), as written and with typos.*
#
# <details><summary>What you should see</summary>
#
# Words lose six of a hundred questions, trigrams none: a slip breaks the whole word, but
# at most four of its trigrams. (The slips are random ones. Nobody attacks the store on this page.)
# On questions as written neither comes near the model. Most misses have the right trouble and
# another thing, as *why my card is still late* beside *why my top-up is still late*: most letters
# are the frame of the sentence, and no store knows which words decide.
#
# </details>
#
# ## 3 · A query that survives its user
#
# `MATCH` takes a query, and queries have a language: `"quoted phrases"`, `*`, `AND`, `OR`, `NOT`,
# `NEAR(a b, 5)`, `column: word`. A user's text is *read as that language*. The `?` in the SQL does
# not help: it keeps the text out of SQL, and FTS5 still reads it. This is an **injection**: data
# that is taken for a program.

# %%
nasty = ['I "lost my card', "it's my card!", "card*", "my card - the blue one", "NEAR my branch",
         "question: card", "cards AND pins", "(", "cancel; drop it", "pin OR card", "", "^card"]


def stops(make):
    """The texts whose query SQLite refuses."""
    refused = []
    for text in nasty:
        try:
            rows(stores["trigram"], make(text))
        except sqlite3.Error:
            refused.append(text)
    return refused


broken = stops(str)
print(f"{len(broken)} of {len(nasty)} stop SQLite:", *map(repr, broken), sep="\n  ")
for query in ("pin OR card", '"pin OR card"'):
    print(f"{query!r} finds {len(rows(stores['trigram'], query, len(past)))} rows")
figures.injection()

# %% [markdown]
# *The figure: how FTS5 reads `pin OR card`, as it is (above) and between double quotes (below).*
#
# A crash is the mild case: `pin OR card` runs, and its `OR` is obeyed. The way out: **build the
# query from parts that can only be data.** In FTS5, what stands between double quotes is a string
# and nothing else, as long as it holds no double quote itself.
#
# ### Exercise 16.1: a query that survives its user · ●●○ · 12 min
#
# Write `safe_query(text)`: a string that is an FTS5 query for a trigram store, whatever the text. A
# query's time grows with its text, so `text` has at most 300 characters; all of them count. The
# query must find exactly the rows that share *at least one* trigram with the text. Rows are stored
# as `fold(row)`: words in lower case with one space between, all else gone. So read the text in the
# same way: its trigrams are all runs of three characters of `fold(text)`, spaces counted. A text
# without a trigram, such as `""`, `"?!"` or `"ca"`, must give a query that runs and finds nothing:
# two double quotes, `'""'`.
#
# <details><summary>Hint</summary>
#
# `trigrams(text)`, imported above, gives the list of runs. Each of them is to be data, and any of
# them is enough. Which word of the query language says "any"?
#
# </details>


# %%
def safe_query(text):
    """An FTS5 query for the rows that share any trigram with the text, a str."""
    # SOLUTION


safe_query = course.exercise("16.1", safe_query)

# %% tags=["nbval-check-output"]
print(trigrams('The "PIN"'))
print(safe_query('The "PIN"'))

# %%
yours = stops(safe_query)
print(f"{len(yours)} of {len(nasty)} stop SQLite")
course.claim("16.query", broken=len(broken), yours=len(yours))

# %% [markdown]
# The check was a **property test**: hundreds of random strings of quotes, stars and keywords.
#
# ## 4 · When to say nothing
#
# A wrong answer costs more than none. So fix the share of wrong answers that you accept, and answer
# as many questions as that allows. Each threshold gives a **coverage**, the share of questions that
# is answered, and a **risk**, the share of *these* that is wrong; all thresholds together are the
# **risk-coverage curve**.
#
# ### Exercise 16.2: at most 5 % wrong · ●●○ · 12 min
#
# Write `threshold_for(confidence, correct, most_wrong)`. `confidence` are floats `(n,)` and
# `correct` booleans `(n,)`, numpy arrays with at least one entry. Who has a threshold `t` answers
# where `confidence >= t`. Return the *lowest* of the confidences at which at most a share
# `most_wrong` of the answers is wrong, as a number; `math.inf` where there is none. Leave the
# arrays as they are.
#
# <details><summary>Hint</summary>
#
# The risk goes up *and down* along the thresholds, so do not stop at the first one that is too
# high: try them all. Equal confidences come in together: `np.unique(confidence)` has each once.
#
# </details>


# %%
def threshold_for(confidence, correct, most_wrong):
    """The lowest confidence from which on at most this share of the answers is wrong, or inf."""
    # SOLUTION


threshold_for = course.exercise("16.2", threshold_for)

# %% [markdown]
# ### Prediction 16.b: a promise
#
# We choose the threshold for 5 % on the clean questions in `kept`, and use it on *typed* ones.

# %%
guess = course.predict(
    "16.b",
    "what share of the answers to typed questions will be wrong?",
    guess=None,
    low=0,
    high=100,
    unit="%",
)

# %%
kept = bank.kept
kept_typed = kept.written([workshop.slipped(text, seed=3) for text in kept.texts])


def chosen_on(predict, questions):
    """(threshold, share right) on questions that are kept for this."""
    says, sure = read(predict, questions)
    right = says == questions.intents
    return threshold_for(sure, right, 0.05), right.mean()


def outcome(answers, questions, threshold):
    """(coverage, risk): the share that is answered, and what share of this is wrong."""
    says, sure = answers
    answered = sure >= threshold
    wrong = says[answered] != questions.intents[answered]
    return answered.mean(), wrong.mean() if answered.any() else 0.0


thresholds, table = {}, {}
for name, questions in (("loose", kept), ("strict", kept_typed)):
    thresholds[name], share = chosen_on(plain.predict, questions)
    print(f"{name:6} threshold {thresholds[name]:.3f}, chosen where {share:.1%} are right")
    for on, those in (("clean", asked), ("typed", typed)):
        table[name, on] = outcome(read(plain.predict, those), those, thresholds[name])
guess.reveal(round(100 * table["loose", "typed"][1], 1))
for (name, on), (coverage, wrong) in table.items():
    print(f"{name:6} threshold, {on} questions: {coverage:6.1%} answered, "
          f"{wrong:5.1%} of these wrong")

# %% [markdown]
# `loose` was chosen on clean questions, where the model is nearly always right, so it is only the
# lowest confidence that occurred: **on questions like those, a model that is wrong on under 5 %
# answers everything, and the threshold does nothing.** `strict` was chosen on typed ones. Does it
# keep its promise? One draw of slips says little: 5 % of 200 answers are 10, give or take 6 (two
# standard deviations). Here are five draws of slips, all on the same 280 questions.

# %%
five = workshop.drawn(plain.predict, asked, 5)
fine, answered_then = five[1], five[0] >= thresholds["strict"]
risks = [1 - one[there].mean() for one, there in zip(fine, answered_then, strict=True)]
print("strict, wrong of those answered, five draws:", *(f"{risk:.1%}" for risk in risks))
course.claim("16.threshold", coverage=table["loose", "clean"][0], wrong=table["loose", "typed"][1])
course.claim("16.typed", wrong=np.mean(risks), handed=1 - table["strict", "typed"][0],
             before=1 - table["loose", "typed"][0])

# %% [markdown]
# A threshold is a promise about questions *like those it was chosen on*, and one **on average**:
# single draws miss by points, and so do intents (appendix). It need not be a shift from `kept` to
# `asked`. With more questions ([measured](../docs/results/assistant.md)), thresholds chosen on 560
# typed ones and used on 280 others left 5.1 % wrong on average, nine times in ten 2.2 to 8.1 %,
# when both were of the kind of `asked`; chosen on the kind of `kept`, 4.7 % (1.7 to 8.3 %).
#
# What is handed over, the store can look up:

# %%
typed_says, typed_sure = read(plain.predict, typed)
typed_right, answered = typed_says == typed.intents, typed_sure >= thresholds["strict"]
store_right = first_right(rankings["trigram", "with typos"], typed)
shares = {"model": typed_right[~answered].mean(), "store": store_right[~answered].mean()}
print(f"of the {(~answered).sum()} handed over, right: "
      "model {model:.1%}, trigram store {store:.1%}".format(**shares))
course.claim("16.looked_up", **shares)
figures.curves({"clean": (sure, right), "typed": (typed_sure, typed_right)}, thresholds)

# %% [markdown]
# *The figure: the star is the loose threshold, the ring the strict one; on clean questions they
# nearly coincide.*
#
# The store knows more of these than the model. But a third of its first rows are wrong, six times
# the promise. So the program answers only where a vote (section 6) is clear; how clear it must be
# is one more threshold, which this page does not choose.
#
# ## 5 · Somebody chooses the words
#
# Now somebody rewrites his question so that its intent stays and the answer becomes wrong. The
# threat: he sees the probabilities, but neither the store nor the thresholds. He makes the change
# that hurts most, and then a second one (`workshop.attacked`). There are two attacks. By **known
# substitutes** a word becomes another of which the world guarantees that the intent stays; by
# **chosen typos** a word gets one of four slips.
#
# There are two defences. `trained` is `bank-robust`: it had ordinary adversarial training, on typos
# and known substitutes, as in lesson 08. **Letters in front** trains nothing: a word that no past
# question holds becomes the nearest one that does, by pairs of letters (`workshop.Speller`). Every
# system is attacked anew, the speller included. With 280 questions a share is good to about six
# points (two standard deviations); and each model is *one* training.
#
# ### Prediction 16.c: training or letters?

# %%
guess = course.predict(
    "16.c",
    "under chosen typos: which has more intents right?",
    guess=None,
    options=("the trained model", "letters in front of the plain model",
             "about the same (within 10 points)"),
)

# %%
trained = workshop.classifier(bank, "robust", encoder)
spell = workshop.Speller(past.texts)
systems = {
    "plain": plain.predict,
    "trained": trained.predict,
    "letters + plain": workshop.behind(spell, plain.predict),
    "letters + trained": workshop.behind(spell, trained.predict),
}
hard = asked.first(280)
options = {"chosen typos": workshop.typos}
if bank.train is None:  # of real questions nobody knows substitutes that keep the intent
    options["substitutes"] = world("bank").substitutes
sets, answers, correct = {}, {}, {}
for name, predict in systems.items():
    sets[name] = {"clean": asked, "typed": typed} | {
        way: workshop.attacked(predict, hard, option) for way, option in options.items()}
    for way, questions in sets[name].items():
        answers[name, way] = read(predict, questions)
        correct[name, way] = float(np.mean(answers[name, way][0] == questions.intents))

# %%
apart = correct["trained", "chosen typos"] - correct["letters + plain", "chosen typos"]
guess.reveal("about the same (within 10 points)" if abs(apart) <= 0.1 else
             "the trained model" if apart > 0 else "letters in front of the plain model")
for name in systems:
    print(f"{name:18}", ", ".join(f"{way} {correct[name, way]:.1%}" for way in sets[name]))
course.claim("16.defences", right={name: correct[name, "chosen typos"] for name in systems})
for name in ("plain", "letters + plain"):
    back = workshop.read_back(spell, hard, sets[name]["chosen typos"])
    print(f"of {len(back)} words changed by typos against {name}, letters read back "
          f"{np.mean(back):.0%}")


def alone(first, second, way):
    """How many questions the first system has right and the second has not."""
    one, other = (answers[name, way][0] == hard.intents for name in (first, second))
    return (one & ~other).sum()


pairs = [("letters + plain", "trained", "chosen typos")]
if "substitutes" in options:
    pairs += [(f"letters + {name}", name, "substitutes") for name in ("plain", "trained")]
    print({word: spell.word(word) for word in ("nicked", "amend")})
    course.claim("16.substitutes", right={name: correct[name, "substitutes"] for name in systems})
for one, other, way in pairs:
    print(f"{way}: right by {one} alone {alone(one, other, way)}, "
          f"by {other} alone {alone(other, one, way)}")
figures.attacks(correct, {way: len(questions) for way, questions in sets["plain"].items()})

# %% [markdown]
# *The figure: intents right, for four systems. Both attacks are made against the system itself.*
#
# <details><summary>What you should see</summary>
#
# Chosen typos bring the plain model down. Training helps a lot, and so do letters, here about
# as much; another training may put either in front. Each has questions right that the other has
# wrong; both together leave little. Of the words changed against `plain` letters read most back.
# Who attacks the speller chooses the others, and still seldom wins with two words. Substitutes hurt
# less, and there letters harm: one that no past question holds becomes a wrong word. (Letters have
# it easy: this world has few words, and the store holds most.)
#
# </details>
#
# Now to the promise: each system gets its own threshold, chosen on the kept questions with slips.

# %%
broken_promise = {}
for name, predict in systems.items():
    threshold, share = chosen_on(predict, kept_typed)
    print(f"{name}: threshold {threshold:.2f}, chosen where {share:.1%} are right")
    for way, questions in sets[name].items():
        coverage, risk = outcome(answers[name, way], questions, threshold)
        broken_promise[name, way] = risk
        print(f"    {way:13} {coverage:6.1%} answered, {risk:5.1%} of these wrong")
told, surest = answers["plain", "chosen typos"]
hindsight = threshold_for(surest, told == hard.intents, 0.05)
print(f"plain, chosen typos, the best threshold with hindsight: {(surest >= hindsight).sum()} "
      f"of {len(hard)} answered")
course.claim("16.attacked", wrong=broken_promise["plain", "chosen typos"],
             kept=np.mean(surest >= hindsight))

# %% [markdown]
# <details><summary>What you should see</summary>
#
# Under chosen typos the plain model is sure and wrong: even the best threshold keeps the promise
# only by answering almost nothing. The three other systems are wrong on under 5 % of the kept
# questions with slips, so their thresholds do next to nothing (section 4), and what is wrong under
# attack is answered, too. `letters + trained` stays within 5 % under typos because it is right, not
# because it hands over; under substitutes it does not. See `letters + plain` there: what the plain
# model handed over, it answers.
#
# </details>
#
# ## 6 · Somebody writes into the store
#
# Answers by people enter the store. Suppose that one source enters `k` real questions of one intent
# with a wrong answer ("call this number …"). Do *other* questions of this intent get it? A row
# costs nothing, so whoever wants many votes writes many rows. A *source* (a person with a name and
# a key) is harder to come by.

# %%
figures.ballots()

# %% [markdown]
# *The figure: five near rows, three of them wrong and all by one stranger. Here all scores are 1.*
#
# ### Exercise 16.3: a vote of sources · ●●○ · 8 min
#
# Write `vote(said)`. `said` is a list of triples `(answer, source, score)`, one a row, with scores
# above 0; it may be empty. For each answer, every source that gave it counts once, with its *best*
# score for that answer, however many rows it has; the answer's weight is the sum over these
# sources. A source may back two answers, and then counts for each. Return a list of pairs
# `(answer, weight)`, the heaviest first; equal weights may stand in any order. Leave `said` as it
# is.
#
# <details><summary>Hint</summary>
#
# Two dicts, one after the other: from `(answer, source)` to the best score, then from `answer` to
# the sum of those.
#
# </details>


# %%
def vote(said):
    """[(answer, weight)], the heaviest first: the sum of each source's best score for it."""
    # SOLUTION


vote = course.exercise("16.3", vote)

# %% [markdown]
# Who decides: the nearest row, a vote of the twelve nearest *rows*, or a vote of their *sources*?
# How near a row is, is not FTS5's rank here but its **similarity**, 2 · shared / (its trigrams +
# the question's), 0 to 1. Its score is that squared, so that a row half as near counts a quarter.
# Five people have answered the past questions. And what if the attacker has more than one source,
# or there are more people? (`workshop.Poisoned` counts, one intent after the other, with your
# `vote`.)

# %%
poisoned = workshop.Poisoned(bank, vote)
before = {ballot: poisoned.right(ballot)
          for ballot in ("nearest row", "vote of rows", "vote of sources")}
captured = poisoned.table(ks=(1, 3, 5, 10))
of = {n: poisoned.captured(10, "vote of sources", sources=n) for n in (1, 2, 3, 10)}
by = {n: poisoned.captured(10, "vote of sources", sources=10, people=n) for n in (5, 10, 20)}
for head, shares in (("k = 10, by so many sources:", of), ("10 sources, so many people:", by)):
    print(head, ", ".join(f"{n}: {share:.1%}" for n, share in shares.items()))
course.claim("16.poison", captured=captured, of=of, by=by, before=before)
figures.poisoned(captured, before)

# %% [markdown]
# *The figure: the share of other people's questions that get the wrong answer. "k sources" is the
# vote of sources where each wrong row has a source of its own.*
#
# <details><summary>What you should see</summary>
#
# By the nearest row the share of wrong answers grows with k, at most roughly to k/(k + 20), the
# share of wrong rows in that intent. Votes of rows help as long as the wrong rows are few. Votes of
# sources hold until he has a second source. With ten they do *worse* than votes of rows: five
# people give the good answer at most five votes, and each wrong row has one. More people help (last
# line); with 20 each good row has a source of its own, and both votes must be equal. And a vote has
# no price here: without wrong rows it is right more often than the nearest row.
#
# </details>
#
# So sources must be people whom somebody has let in. And what a person answers stays in
# **quarantine** until a *second* person has confirmed it (in SQL a column: appendix).
#
# ## Recap
#
# - Report wrong answers *at a coverage*, and the worst intent, not the mean accuracy.
# - Trigrams instead of words: one word in `CREATE TABLE`, and random slips cost next to nothing.
# - Users' text as a query is an injection. Build queries from parts that can only be data.
# - A threshold holds for questions like those it was chosen on, on average, and not under attack. A
#   model that is wrong on fewer of them than you accept answers all that are like them.
# - Against chosen typos training and letters in front both help much in this small world, together
#   most. Against substitutes letters harm.
# - In a store rows are free and sources are not: let sources vote, and let a second person confirm.
#
# ## What could go wrong
#
# - **The threshold is chosen on the training texts**: the model is surer of them.
# - **`MATCH` with an f-string**: then the text is SQL as well. `MATCH ?` *and* a safe query.
# - **Rows are stored as written and queries are folded**, or the other way round: commas make
#   trigrams of their own.
# - **Wrong labels set the threshold.** On a GPU (profile `colab`) the page takes real questions,
#   Banking77. More than 1,400 of the 10,003 labels of its training set, 14 %, may be wrong (Ying
#   and Thomas 2022), so there "at most 5 % wrong" asks for more than the labels can say.
#
# ## Further reading
#
# - G. V. Cormack, C. L. A. Clarke, S. Büttcher, *Reciprocal Rank Fusion Outperforms Condorcet and
#   Individual Rank Learning Methods*, SIGIR 2009.
# - I. Casanueva, T. Temčinas, D. Gerz, M. Henderson, I. Vulić, *Efficient Intent Detection with
#   Dual Sentence Encoders*, NLP for ConvAI 2020, arXiv 2003.04807. Banking77.
# - C. Ying, S. Thomas, *Label Errors in BANKING77*, Insights 2022.
# - R. El-Yaniv, Y. Wiener, *On the Foundations of Noise-free Selective Classification*, JMLR 11,
#   2010. Risk and coverage.
# - Z. Zhong et al., *Poisoning Retrieval Corpora by Injecting Adversarial Passages*, EMNLP 2023,
#   arXiv 2310.19156.
# - *SQLite FTS5 Extension*, sqlite.org/fts5.html: the query language, and "FTS5 Strings".
#
# > **Ethics** The threat model: users who write what they like, may read probabilities and change
# > at most two words of a question; and sources that may enter `k` rows. Nobody sees the store or
# > the thresholds. Who is hurt by a wrong answer about a stolen card is never the attacker. So a
# > person must be within reach, for all intents alike.

# %%
course.progress("16")

# %% [markdown]
# ## Appendix
#
# Five parts; nothing builds on them. About 30 minutes, of which 16 are for the two exercises.
# Afterwards run the cell with `course.progress` once more.
#
# ### Move the threshold
#
# How many more questions go to a person when six wrong answers are left instead of 13? The lines
# say it. With the slider, where the page runs, the least sure of those that go to a person stand
# below the curve, ✗ where the model would have been wrong.

# %%
figures.explore_threshold(typed.texts, [names[k] for k in typed_says],
                          [names[k] for k in typed.intents], typed_sure)

# %% [markdown]
# ### Which intents pay
#
# Over the five draws of section 4: which intents have most answers wrong? With 28 of them, the
# worst is bad by chance, too. So questions are also dealt to intents at random, 500 times.

# %%
worst = workshop.worst_intents(fine[answered_then], np.tile(asked.intents, (5, 1))[answered_then],
                               names)
chance = workshop.worst_by_chance(fine, answered_then, asked.intents)
print("worst intents (right, answered):", worst)
print(f"dealt at random, the worst has at most {chance:.0%} wrong, 95 times in 100")
course.claim("16.intents", worst=1 - worst[0][1] / worst[0][2], chance=chance)

# %% [markdown]
# ### Quarantine
#
# What a person answers is served after a *second* person has confirmed it.

# %%
db = sqlite3.connect(":memory:")
db.execute("CREATE TABLE entries (question, answer, source, state)")
db.execute("INSERT INTO entries VALUES (?, ?, ?, 'quarantine')",
           ("where is my card", "call this number", "stranger"))
served = "SELECT count(*) FROM entries WHERE state = 'served'"
before = db.execute(served).fetchone()[0]
confirm = "UPDATE entries SET state = 'served' WHERE rowid = ? AND source <> ?"
db.execute(confirm, (1, "stranger"))  # nobody confirms his own
alone = db.execute(served).fetchone()[0]
db.execute(confirm, (1, "agent 2"))
after = db.execute(served).fetchone()[0]
print(f"served: {before}, after the stranger's own yes: {alone}, after agent 2's: {after}")
course.claim("16.quarantine", before=before + alone, after=after)

# %% [markdown]
# ### A second look at strange questions
#
# A model is sure of what it has never seen the like of, too. To questions that are no bank's
# business (here reviews and financial news) no answer is right. So the program takes a second look:
# `near`, the similarity (section 6) to the nearest past question *of the intent that the model
# says*. It answers only where this is as high as for 98 % of the questions in `kept`. What does it
# cost, and can it replace the strict threshold?


# %%
def near(texts, intents):
    """How like each text the nearest past question of an intent is, 0 to 1."""
    like = workshop.likeness(texts, past.texts)
    return np.where(past.intents == np.asarray(intents)[:, None], like, 0).max(1)


least = np.quantile(near(kept.texts, kept.intents), 0.02)
strange = workshop.Questions([made.text for name in ("reviews", "news")
                              for made in world(name).sample(50, "test")], np.full(100, -1))
passed, wrong = {}, {}
for name, questions in {"clean": asked, "typed": typed, "strange": strange}.items():
    told, certain = read(plain.predict, questions)
    like = near(questions.texts, told) >= least
    looks = {which: certain >= t for which, t in thresholds.items()}
    looks |= {f"{which} and near": there & like for which, there in looks.items()}
    passed[name] = {which: there.mean() for which, there in looks.items()}
    if name == "typed":
        wrong = {which: np.mean(told[there] != typed.intents[there])
                 for which, there in looks.items()}
    print(f"{name:8} answered:", ", ".join(f"{k} {v:.1%}" for k, v in passed[name].items()))
print("typed, wrong of those answered:", ", ".join(f"{k} {v:.1%}" for k, v in wrong.items()))
course.claim("16.strange", passed=passed, wrong=wrong)

# %% [markdown]
# The strict threshold stops most strange questions already, the second look nearly all. But alone
# it does not keep the promise on typed questions: the program needs both, and fewer questions are
# answered.
#
# ### Vectors, and one ranking of two
#
# The program does without both: its store is searched by letters alone. You would add them to
# search by meaning.
#
# The model can look things up, too. Its last layer has a vector for each token; their mean is a
# vector for the question (**mean pooling**), and near questions have near vectors. A batch is
# padded to its longest text, and the vectors of padding are there as well.
#
# ### Exercise 16.4: mean pooling · ●○○ · 8 min
#
# Write `mean_pool(hidden, mask)`. `hidden` is `(batch, tokens, hidden)`, floats; `mask` is
# `(batch, tokens)`, integers, 1 for a token and 0 for padding, which may stand on either side.
# Return a tensor `(batch, hidden)` of the dtype of `hidden`: the mean of each text's token vectors.
# Vectors of padding may be anything, `nan` as well, and must not matter. Each text has at least one
# token. Leave the inputs as they are.
#
# <details><summary>Hint</summary>
#
# `mask.bool()[..., None]` has a shape that fits to `hidden`. `torch.where(real, hidden, 0)` takes 0
# where there is padding; multiplying would keep `nan`, for `0 · nan` is `nan`. Divide by each
# text's own count.
#
# </details>


# %%
def mean_pool(hidden, mask):
    """The mean of each text's token vectors, padding left out, (batch, hidden)."""
    # SOLUTION


mean_pool = course.exercise("16.4", mean_pool)


# %%
def vectors(victim, texts, pool=mean_pool):
    """(texts, hidden) of length 1."""
    out = []
    for k in range(0, len(texts), 64):
        batch = victim.encode(texts[k : k + 64], [0] * len(texts[k : k + 64]))
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            hidden = victim.model.base_model(**inputs).last_hidden_state
        out.append(pool(hidden, batch["attention_mask"]))
    found = torch.cat(out)
    return (found / found.norm(dim=1, keepdim=True)).cpu().numpy()


pair = [min(asked.texts, key=len), max(asked.texts, key=len)]
ways = {"without the mask": lambda hidden, mask: hidden.mean(1), "with the mask": mean_pool}
moved = {}
for name, pool in ways.items():
    alone, beside = vectors(plain, pair[:1], pool), vectors(plain, pair, pool)
    moved[name] = float(np.linalg.norm(alone[0] - beside[0]))
    print(f"{name:17} the vector of {pair[0]!r} moves by {moved[name]:.1e} beside a long text")

some, pool = typed.texts[:100], ways["without the mask"]
company = vectors(plain, some, pool), np.concatenate([vectors(plain, [t], pool) for t in some])
stored = vectors(plain, past.texts, pool)
beside, alone = (np.argmax(each @ stored.T, 1) for each in company)
other = np.mean(beside != alone)
print(f"without the mask: another first row in company than alone for {other:.0%} of {len(some)}, "
      f"another intent for {np.mean(past.intents[beside] != past.intents[alone]):.0%}")
course.claim("16.pooling", plain=moved["without the mask"], masked=moved["with the mask"],
             other=other)

# %% [markdown]
# So without the mask an answer depends on who else asks at that moment: a bug that no test with
# single questions shows.
#
# Now there are two rankings, by trigrams and by vectors. Their scores have nothing in common, but
# places do. **Reciprocal rank fusion** (Cormack, Clarke and Büttcher 2009) gives an item
#
# $$\sum_{\text{rankings that hold it}} \frac{1}{k + \text{place}},\qquad k = 60,$$
#
# with the first place 1. A large `k` makes places nearly equal, so that *being in both* counts; a
# small one makes the first place count.
#
# ### Exercise 16.5: reciprocal rank fusion · ●○○ · 8 min
#
# Write `fuse(rankings, k=60)`. `rankings` is a list of lists of items, the best first; some may be
# empty, none holds an item twice. Return a list of pairs `(item, score)` for every item that is in
# any ranking, the highest score first; equal scores may stand in any order. Leave the rankings as
# they are.
#
# <details><summary>Hint</summary>
#
# A dict from item to score, `enumerate(ranking, 1)` for the places, and
# `sorted(…, key=lambda pair: -pair[1])` at the end.
#
# </details>


# %%
def fuse(rankings, k=60):
    """[(item, score)], the highest score first: the sum of 1 / (k + place) over the rankings."""
    # SOLUTION


fuse = course.exercise("16.5", fuse)

# %%
stored = vectors(plain, past.texts)
nearest = [[int(i) for i in np.argsort(-(stored @ v), kind="stable")[:20]]
           for v in vectors(plain, typed.texts)]
letters = rankings["trigram", "with typos"]
fused = [fuse([a, b]) for a, b in zip(letters, nearest, strict=True)]

far = 0.0  # from the sums by hand, over all items
for a, b, pairs in zip(letters, nearest, fused, strict=True):
    for item, score in pairs:
        by_hand = sum(1 / (60 + r.index(item) + 1) for r in (a, b) if item in r)
        far = max(far, abs(score - by_hand))
lists = {"trigrams": letters, "vectors": nearest,
         "fused": [[item for item, _ in pairs] for pairs in fused]}
firsts = {name: first_right(each, typed).mean() for name, each in lists.items()}
print("with typos:", ", ".join(f"{name} {share:.1%}" for name, share in firsts.items()))
course.claim("16.fused", apart=far, found=firsts)

# %% [markdown]
# The two rankings err on different questions: fused, the first row is right more often here than by
# either alone, and about as often as the model's own intent (section 5, `plain`, typed).
