# %% [markdown]
# # 00 · Start here
#
# {{BADGE}}
#
# With nothing installed, you can [fool a model in your browser](../docs/laboratory/index.html)
# first: the course's site has that page ready, and `make laboratory` builds it.
#
# **You will**
# - fool a sentiment model by changing one word, in the first minute and then with your own code
# - decide what "the same meaning" is, and see who else could decide it
# - measure an attack with two numbers that are often confused
# - learn how profiles, predictions, checked exercises and solutions work in this course
#
# **Time** {{TIME}} About 45 minutes for you.
#
# **Before** Python, and an idea of what a classifier is. No knowledge of attacks.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## One word
#
# Here is a small BERT that reads reviews and says whether they are positive or negative. It is
# right about nearly all reviews that it has never seen. We give it a sentence, and then ask an
# attack to fool it.

# %%
from advlib.attacks import WordSubstitution
from course.lesson_00 import figures
from course.widgets import marked

victim = advlib.load_classifier("reviews-clean")
text = "The waiter was friendly, and the soup was delicious."
result = WordSubstitution()(victim, [text], [1])[0]  # 1 = positive, the true label
marked(result, victim)

# %% [markdown]
# *Delectable* means *delicious*. You read both sentences in the same way; the model turns round,
# and it is sure of itself both times. That is an **adversarial example**: an input that was
# changed so that the model is wrong about it, while the right answer stays what it was.
#
# The same from a terminal, with any sentence you like:
#
# ```
# advlib attack "The waiter was friendly, and the soup was delicious."
# ```

# %% tags=["nbval-check-output"]
print(result.show())
course.claim("00.one_word", success=result.success, changed=result.changed)

# %% [markdown]
# ## How these pages work
#
# **Profiles.** `course.setup()` looked at your machine and chose a profile: `smoke` (any laptop,
# seconds), `colab` (a small GPU, minutes) or `full` (a large one). Pages never ask which machine
# this is; they ask `profile.pick` how much to do. You may choose for yourself:
# `course.setup("smoke")`.

# %%
n = profile.pick(smoke=100, colab=200, full=500)
test = advlib.load_text("reviews", train_size=2, test_size=n)["test"]
texts, labels = list(test["text"]), list(test["label"])
right = [i for i, p in enumerate(victim.predict(texts)) if p.argmax() == labels[i]]
print(f"profile {profile.name!r}: {n} test reviews; the model is right about {len(right)}")
print(f"the first one: {texts[0]!r}, label {labels[0]}")

# %% [markdown]
# **Predictions.** Before a result appears, you are asked to guess it. Move the slider, or write
# `guess=…` into the cell; a later cell shows your guess beside the result. A guess that was wrong
# is worth more than none: it shows you what you believed.
#
# **Exercises.** You fill in a function. The line below it, `f = course.exercise("00.1", f)`, checks
# it on inputs that you have not seen:
#
# | you | the page |
# |---|---|
# | got it right | says so, and goes on with *your* function |
# | left `raise NotImplementedError` as it was | says so, and goes on with the course's function |
# | got it wrong | stops, and shows the input, your answer, the right one, and the likely mistake |
#
# So you may skip an exercise and come back. ●○○ is easy, ●●○ takes some thought, ●●● is a
# challenge.
#
# **Solutions.** The folder `notebooks/` has the pages to work in; `solutions/` has the same pages
# solved, with all outputs. Look there after you tried, not before. The last cell of each page,
# `course.progress`, lists what you have done.

# %% [markdown]
# ## What may change
#
# The attacker must not cheat: *delicious* → *disgusting* also turns the prediction round, and the
# model is right to do so. We need to know which words may replace each other.
#
# In this course we know it, because we made the language. The reviews come from a small **world**:
# a grammar with a lexicon, in which words are put into groups. Words of one group may replace one
# another, and the label stays what it was.

# %% tags=["nbval-check-output"]
from advlib.corpora import replace, words, world

reviews = world("reviews")  # a World: knows its words, its groups, and how to read a label
options = reviews.substitutes(text)
for i, word in enumerate(words(text)):
    if options[i]:
        print(i, word, "->", ", ".join(options[i][:4]), "…")
print(replace(text, {8: "tasty"}))

# %% [markdown]
# `substitutes(text)` has one entry per word, empty where the word must stay.
# `replace(text, {i: new})` returns the text with word number `i` replaced; commas and spaces stay
# where they are.

# %% [markdown]
# ### Exercise 00.1: One changed word · ●●○ · 10 min
#
# Write `one_word_attack(victim, text, label)`. It returns a text in which exactly **one** word is
# replaced by one of its substitutes and about which the model is wrong, that is: the most probable
# class is not `label`. If there are several, any of them will do. If there is none, it returns
# `None`. You may take it that the model is right about `text` itself.
#
# `victim.predict([text, …])` takes a *list* of texts and returns their class probabilities, an
# array of shape (texts, classes). Here there are two classes; the check brings a model with three,
# too.
#
# <details><summary>Hint</summary>
#
# Two loops: over the positions `i`, and over the words in `reviews.substitutes(text)[i]`. Start
# from the original `text` every time, or the changes add up. `.argmax()` of a row of probabilities
# is the class. One call of `predict` for each try is fine; collecting all tries first and calling
# it once is faster, but then think of texts that have nothing to try.
#
# </details>

# %%
def one_word_attack(victim, text, label):
    """A text with one word replaced about which the model is wrong, or None if there is none."""
    # SOLUTION


one_word_attack = course.exercise("00.1", one_word_attack)

# %%
print(one_word_attack(victim, text, 1))
print(one_word_attack(victim, "The soup was delicious.", 1))

# %% [markdown]
# The picture shows everything that there was to try for the first sentence: one dot for each text
# that differs from it in one word.

# %%
tried, fooling = [], []
for i, some in enumerate(options):
    if some:
        positive = victim.predict([replace(text, {i: new}) for new in some])[:, 1]
        tried.append((words(text)[i], some, positive))
        fooling += [new for new, p in zip(some, positive, strict=True) if p < 0.5]
figures.one_word(tried)

# %% [markdown]
# *The figure: a row for each word that may be replaced, a dot for each of its substitutes, by how
# probable the model finds “positive” with it. Left of the dashed line the model is fooled.*
#
# <details><summary>What you should see</summary>
#
# Nearly all dots lie at the right, where the model is sure of “positive”; “delectable” alone lies
# far left.
#
# </details>

# %%
print(f"{sum(len(some) for some in options)} texts, one changed word each")
course.claim("00.delectable", fooling=fooling)

# %% [markdown]
# ### Prediction 00.a: texts that fall to one word
#
# Take reviews that the model reads correctly. Of every 100, how many fall to *one* changed word?

# %%
falling = course.predict("00.a", "Of every 100 texts that the model gets right, how many fall to "
                         "one changed word?", guess=None, low=0, high=100)

# %% [markdown]
# ### Prediction 00.b: the kind of word
#
# Some words of a review carry the opinion (*delicious*, *hated*). Some only make it stronger or
# weaker (*very*, *simply*, *particularly*). All others are neutral (*soup*, *London*, *Sunday*).
# Which kind, replaced by a word of the same group, flips the model the largest number of times?

# %%
kind_of_word = course.predict("00.b", "Which kind of word fools the model most often?", guess=None,
                              options=("opinion", "degree", "neutral"))

# %%
found = {i: one_word_attack(victim, texts[i], labels[i]) for i in right}
fallen = {i: new for i, new in found.items() if new is not None}
falling.reveal(round(100 * len(fallen) / len(right)))

# %%
course.claim("00.some_fall", fallen=len(fallen), right=len(right))

# %% [markdown]
# To see which kind of word does it, we try
# every substitute of every word, and count how often each kind flips the model.

# %%
def kind(word):
    """What a word of the world is for."""
    group = reviews.group_of.get(word.lower(), "")
    if group[-1:] in ("+", "-"):  # the world marks groups of praise and blame in this way
        return "opinion"
    return "degree" if group in ("very", "simply", "particularly") else "neutral"


tries = [
    (kind(words(texts[i])[k]), new.lower(), labels[i], replace(texts[i], {k: new}))
    for i in right
    for k, some in enumerate(reviews.substitutes(texts[i]))
    for new in some
]
guesses = victim.predict([t for *_, t in tries], batch_size=256).argmax(axis=1)
total = {"opinion": 0, "degree": 0, "neutral": 0}
flips = dict(total)
for (which, _, label, _), guess in zip(tries, guesses, strict=True):
    total[which] += 1
    flips[which] += int(guess != label)
kind_of_word.reveal(max(flips, key=flips.get))

# %%
course.claim("00.kinds", flips=flips)
figures.kinds(flips, total)

# %% [markdown]
# *The figure: for each kind of word, the share of its changes that fool the model.*
#
# Here are some of the texts that fell to one word. Nothing in them is a trick of spelling or of
# grammar.

# %%
for i in list(fallen)[:4]:
    pairs = zip(words(texts[i]), words(fallen[i]), strict=True)
    change = {k: f"[{old} -> {new}]" for k, (old, new) in enumerate(pairs) if old != new}
    print(replace(texts[i], change))

# %% [markdown]
# The words that carry the opinion are the weak spot; a neutral word can be exchanged almost freely.
# (In real models this is less clean; lesson 06 goes there.) But why *delectable* and not *tasty*?
# The model learned from labelled reviews. We count in how many of them each word stands.

# %%
from collections import Counter

seen = Counter(w for t in advlib.load_text("reviews")["train"]["text"] for w in words(t.lower()))
for word in ("delicious", "tasty", "delectable"):
    print(f"{word:>10}: {seen[word]:3} × in the training reviews")
share = {}
for name, rare in (("seen at most 5 times", True), ("seen more often", False)):
    hits = [guess != label for (which, new, label, _), guess in zip(tries, guesses, strict=True)
            if which == "opinion" and (seen[new] <= 5) == rare]
    share[rare] = sum(hits) / len(hits)
    print(f"opinion words {name}: {sum(hits)} of {len(hits)} fool the model ({share[rare]:.1%})")
course.claim("00.rare", rare=share[True], common=share[False])

# %% [markdown]
# Among the substitutes that carry an opinion, rare ones fool the model several times as often as
# common ones: it had little chance to learn what side they are on. Rare does not mean always
# fooled, though: most rare substitutes do no harm.

# %% [markdown]
# ## The other way round
#
# So far the meaning stayed and the prediction moved. Now let the meaning move. Each pair below
# differs in one word, and that word turns the opinion into its opposite.

# %%
pairs = [
    ("The plot was never predictable.", "The plot was never gripping."),
    ("The webcam is never blurry.", "The webcam is never sharp."),
    ("The soup was delicious.", "The soup was bland."),
]
true, says = [], []
for pair in pairs:
    true.append([reviews.label(one) for one in pair])
    probabilities = victim.predict(list(pair))
    says.append(probabilities.argmax(axis=1).tolist())
    for one, label, p in zip(pair, true[-1], probabilities, strict=True):
        print(f"{one:34} true: {victim.labels[label]:9}"
              f"model: {victim.labels[p.argmax()]} ({p.max():.0%})")
stuck = sum(before == after for before, after in says)
print(f"in {stuck} of {len(pairs)} pairs the model says the same of both")
course.claim("00.turned", true=true, says=says)

# %% [markdown]
# A model can be wrong in both directions: it moves where it should stay, and it stays where it
# should move. To say which is which, somebody must know the meaning. Who?
#
# - **The model** cannot be the judge: it is on trial.
# - **A person** can, and for real text there is nobody better. But people are slow, they cost
#   money, and they disagree.
# - **Another model** (one that measures how similar two sentences are) is fast, and can be wrong in
#   just the places where the attacker looks. Many published attacks rely on one; when people read
#   what came out, a large part no longer meant the same (Morris et al. 2020, below).
# - **A rule** can be the judge where it covers the language completely. In our world it does.
#
# Note also how much weaker our demand is than "the same meaning". *Soup* → *pizza* changes the
# meaning of a sentence. It does not change whether the review is positive. For a classifier the
# fair demand is: **the label is kept**.
#
# The world's rule reads a text and votes: each opinion word counts for its side, and a negation
# turns it round. In a sentence with *but* or *although* the main point decides, so *The bed was
# soft, but the carpet was dirty* is negative. Where votes still disagree (as in the last line
# below), or nobody votes, the rule does not guess: it raises `ValueError`.

# %% tags=["nbval-check-output"]
print(reviews.label("The soup was delicious."), reviews.label("The soup was not delicious."))
try:
    reviews.label("The soup was delicious, and the waiter was rude.")
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ### Exercise 00.2: Is the label kept? · ●○○ · 5 min
#
# Write `keeps_label(world, original, changed)`. It returns `True` if the world gives both texts the
# same label, and `False` if it gives them different ones. Where the world does not know the label
# of one of them (`world.label` raises `ValueError`), nobody can vouch for the change: return
# `False`.
#
# <details><summary>Hint</summary>
#
# `try:` … `except ValueError:`, with both calls inside. Use the `world` that is passed in: the
# check brings worlds of its own.
#
# </details>

# %%
def keeps_label(world, original, changed):
    """Whether the world knows the labels of both texts and they are the same."""
    # SOLUTION


keeps_label = course.exercise("00.2", keeps_label)

# %% [markdown]
# Now the judge looks at what the attack did, and at a few changes that we made up. *Fooled* means
# that the label is kept **and** the model's answer is not the label.

# %%
kept = [keeps_label(reviews, texts[i], new) for i, new in fallen.items()]
print(f"the label is kept in {sum(kept)} of the {len(kept)} texts of the one-word attack")
course.claim("00.kept_by_one", kept=kept)
print()

for old, new in [("delicious", "delectable"), ("delicious", "disgusting"), ("soup", "pizza"),
                 ("waiter", "lamp"), ("delicious", "tepid")]:
    changed = text.replace(old, new)
    kept = keeps_label(reviews, text, changed)
    moved = victim.predict([changed])[0].argmax() != 1
    verdict = "fooled" if kept and moved else "not fooled" if kept else "does not count"
    print(f"{old:>9} -> {new:11} label kept: {kept!s:6} model moved: {moved!s:6} {verdict}")

# %% [markdown]
# Look at the last two rows. A friendly *lamp* is nonsense, and *tepid* soup is no praise; the rule
# says "kept" to both, because it reads opinion words of its own lexicon and nothing else. It is a
# perfect judge inside its world and a poor one outside. That is why the attack takes words from
# `substitutes` alone. Every judge has an edge; know where it is.

# %% [markdown]
# ## Measure it
#
# One fooled sentence is an anecdote. We attack all test reviews, and now as many words as the
# attacker likes. `WordSubstitution` is greedy: it asks which words matter most, and replaces one
# after the other until the model is wrong. It returns one `WordResult` per text.

# %%
results = WordSubstitution()(victim, texts, labels)
one = results[0]
print(one.show())
print(f"success: {one.success}, wrong_before: {one.wrong_before}, changed: {one.changed}, "
      f"queries: {one.queries}")

# %% [markdown]
# There are three kinds of results:
#
# | | `success` | `wrong_before` |
# |---|---|---|
# | the model is right before and after | `False` | `False` |
# | the model was right and is **fooled** now | `True` | `False` |
# | the model was **wrong from the start**; nothing was tried | `False` | `True` |
#
# What do we do with the third kind? Somebody who relies on the model does not care why it is wrong.
# An attacker may also leave a text as it is. So for the *accuracy under attack* it counts as wrong:
#
# $$\text{accuracy under attack} = \frac{\text{right before and after}}{\text{all}}$$

# %% [markdown]
# ### Exercise 00.3: Accuracy under attack · ●○○ · 5 min
#
# Write `accuracy_under_attack(results)`: the share, from 0 to 1, of all results in which the model
# is right before and after. Texts that were wrong from the start count as wrong. `results` is a
# list of `WordResult`, never empty; leave it as it is.
#
# <details><summary>Hint</summary>
#
# A result is right before and after if it has neither `success` nor `wrong_before`. Below the line
# stand *all* results.
#
# </details>

# %%
def accuracy_under_attack(results):
    """Share of all results in which the model is right before and after."""
    # SOLUTION


accuracy_under_attack = course.exercise("00.3", accuracy_under_attack)

# %% [markdown]
# ### Exercise 00.4: Attack success rate · ●●○ · 5 min
#
# Papers on attacks often print another number, which takes the attacker's side: of the texts that
# there were to attack, how many fell?
#
# $$\text{attack success rate} = \frac{\text{fooled}}{\text{right before}}$$
#
# Write `attack_success_rate(results)`, a share from 0 to 1; leave `results` as it is. If the model
# was right about no text at all, there is no such rate: return `float("nan")`.
#
# <details><summary>Hint</summary>
#
# Texts with `wrong_before` stand neither above nor below the line. Look whether anything is left
# before you divide.
#
# </details>

# %%
def attack_success_rate(results):
    """Of the results in which the model was right before, the share that is wrong now."""
    # SOLUTION


attack_success_rate = course.exercise("00.4", attack_success_rate)

# %%
clean = len(right) / n
one_word = (len(right) - len(fallen)) / n
attacked = accuracy_under_attack(results)
success = attack_success_rate(results)
queries = sum(r.queries for r in results) / n
print(f"accuracy without attack            {clean:.0%}")
print(f"accuracy, one changed word         {one_word:.0%}")
print(f"accuracy, any number of words      {attacked:.0%}   ({queries:.0f} queries a text)")
print(f"attack success rate, any number    {success:.0%}")
course.claim("00.stronger", clean=clean, one_word=one_word, attacked=attacked)
course.claim("00.related", clean=clean, attacked=attacked, success=success)

# %%
figures.accuracies(clean, one_word, attacked)

# %% [markdown]
# *The figure: the accuracy without attack and under two attackers; the dashed line is a coin that
# nobody can attack.*
#
# <details><summary>What you should see</summary>
#
# The bars fall from left to right, and in none of these texts has the label changed.
#
# </details>

# %%
course.claim("00.kept", kept=[keeps_label(reviews, r.original, r.text) for r in results])

# %% [markdown]
# One of the sentences above is worth remembering:
#
# $$\text{accuracy under attack} = \text{clean accuracy} \cdot (1 - \text{attack success rate})$$
#
# So neither number says everything. Think of a "model" that calls every review positive. Nobody can
# ever fool it, because it does not read:

# %% tags=["nbval-check-output"]
from advlib.attacks.words import WordResult

stubborn = [WordResult("…", "…", y, (), False, y == 0, 1) for y in [0, 1] * 50]
print(f"attack success rate:   {attack_success_rate(stubborn):.0%}")
print(f"accuracy under attack: {accuracy_under_attack(stubborn):.0%}")

# %% [markdown]
# An attack success rate of 0 % looks perfect, and the model is useless. This course reports the
# accuracy **without** attack and **under** attack, side by side, always.

# %% [markdown]
# ## Another model
#
# Nothing above depends on which model it was. The same lines again: on a laptop for a second model
# of the course, which was trained against attacks (you will train such models yourself from lesson
# 08 on); with a GPU, for a DistilBERT that was fine-tuned on real film reviews, SST-2, both from
# the Hugging Face Hub.

# %%
other = advlib.load_classifier(profile.pick(
    smoke="reviews-fgm", colab="distilbert/distilbert-base-uncased-finetuned-sst-2-english"
))
source = profile.pick(smoke="reviews", colab="stanfordnlp/sst2")
more = advlib.load_text(source, test_size=n)["test"]
again = WordSubstitution()(other, list(more["text"]), list(more["label"]))
before = sum(not r.wrong_before for r in again) / len(again)
after = accuracy_under_attack(again)
print(f"accuracy without attack: {before:.0%}, under attack: {after:.0%}")
for r in [r for r in again if r.success][:3]:
    print(" ", r.show())
course.claim("00.other", before=before, after=after)

# %% [markdown]
# On texts from the world, every one of these changes keeps the label. On other texts our groups of
# words are only a good guess: nobody vouches that *bad* → *woeful* fits there, and some changes
# will read oddly. Lesson 06 is about that.

# %% [markdown]
# ## Playground
#
# Type a review and press *Predict*; press *Attack* to see which words are changed and how many
# queries it took, that is, how many texts the model was asked about. Words that the world does not
# know cannot be replaced. Things to try:
#
# - the review above with *tasty* in place of *delicious*: does the greedy attack find the shortest
#   way? Compare `one_word_attack`
# - *The bed was soft, but the carpet was dirty.*
# - a review in your own words: what does the model do with words that it never saw?

# %%
from course.widgets import playground

play = playground(victim)

# %% [markdown]
# Without a running notebook, this is what the playground shows after *Attack*. Struck out is the
# old word, underlined the new one; the cell after it has the same as plain text.

# %%
pairs_of_opinion = (
    r for r in results
    if r.success and len({words(r.text)[k] for k in r.changed}) == 2
    and all(kind(words(r.original)[k]) == "opinion" for k in r.changed)
)
example = next(pairs_of_opinion, result)
marked(example, victim)

# %%
print(marked(example, victim))

# %% [markdown]
# ## Recap
#
# - An adversarial example is an input that was changed so that the model is wrong, while the right
#   answer stays the same.
# - In text the right answer needs a judge. In our world a rule knows it; for real text, people do.
# - The demand for a classifier is that the *label* is kept, which is less than the whole meaning.
# - Rare words with an opinion are this model's weak spot.
# - *Accuracy under attack* counts texts that were wrong from the start as wrong; *attack success
#   rate* leaves them out. Report the first, beside the accuracy without attack.

# %% [markdown]
# ## What could go wrong
#
# - **You count a changed label as a success.** Then the best attack is to write the opposite.
# - **You attack texts that the model already gets wrong**, and call them fooled.
# - **You test on the texts that you tuned the attack on**, or on very few. A hundred texts, as on a
#   laptop here, leave an uncertainty of several points; lesson 07 puts intervals on every number.
# - **You take an attack that fails for a proof that the model is safe.** Another attacker may look
#   elsewhere: the greedy search does not try everything.
# - **You believe that a toy world is the real world.** It is a laboratory: we know the truth in it,
#   and that is all it is for.

# %% [markdown]
# ## Further reading
#
# - Ian J. Goodfellow, Jonathon Shlens, Christian Szegedy, *Explaining and Harnessing Adversarial
#   Examples*, ICLR 2015, arXiv 1412.6572. Where much of this began, on images.
# - Di Jin, Zhijing Jin, Joey Tianyi Zhou, Peter Szolovits, *Is BERT Really Robust? A Strong
#   Baseline for Natural Language Attack on Text Classification and Entailment*, AAAI 2020,
#   arXiv 1907.11932. The greedy search that you used, with guessed synonyms.
# - John X. Morris, Eli Lifland, Jack Lanchantin, Yangfeng Ji, Yanjun Qi, *Reevaluating Adversarial
#   Examples in Natural Language*, Findings of EMNLP 2020, arXiv 2004.14174. Who decides whether the
#   meaning is kept, and what happens when people are asked.

# %% [markdown]
# > **Ethics**
# >
# > **Threat model of this page.** The attacker sees the probabilities for any text, as often as
# > they like, and may replace words by words of the same group, any number of them. They see
# > neither weights nor training data. The model is a small one that was made for this course.
# >
# > To fool a model is the way to find out how far it can be trusted. Do it with models that are
# > yours, or that you are allowed to test; tell the owner first if you find a weakness in another.

# %%
course.progress("00")
