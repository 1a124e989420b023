# %% [markdown]
# # 18 · Recommender
#
# {{BADGE}}
#
# **You will**
#
# - complete the measure that rankings are judged by, with its ties;
# - see what a ranker of clicks needs an item's text for, and what it does not;
# - be a seller who rewords, stuffs or lies, and count how many users see the item then;
# - prove what a defence stops, and measure what it does not.
#
# **Time** {{TIME}} About 85 minutes for you: 61 of reading, 24 of exercises. The appendix (columns
# that know the future, with exercise 18.2; all rewordings of a text, with exercise 18.4; and four
# short pieces) is another 50 minutes and optional.
#
# **Before** Lesson 06 (word substitution) and lesson 08 (adversarial training). Lesson 11
# (certificates) helps.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A shop in which the truth is known
#
# A recommender orders items for a user, and learns from clicks. An item that nobody was shown yet
# has no clicks. What can be known of it is its kind, its price, and its **text**. So its text is
# read by a model.

# %%
import numpy as np
import pandas as pd

from advlib.certify import canonical
from advlib.corpora import replace, words
from advlib.corpora.shop import market
from advlib.statistics import wilson
from advlib.systems.clicks import Reader
from advlib.systems.ranking import exposure
from course.lesson_18 import figures, workshop

figures.parts()

# %% [markdown]
# *The figure: the parts of a recommender, from left to right. A new item has no clicks; its seller
# hands in its text.*
#
# What you write in exercises 18.1 and 18.3 is `ndcg` and `promote` of `advlib.systems.ranking`.
#
# Real shops do not tell us which order would have been best. So this one is simulated: 300 users,
# 400 items of ten kinds, of which 100 are new. An item's text is three short opinions, one a
# line, of people who had the item before: an honest seller hands in their praise and their blame,
# and nobody checks. They are written by the world `shop`, a grammar that knows which words may
# replace one another (lesson 06). An item's **quality** is the share of its lines that praise. A
# user clicks with the probability $1/(1+e^{-u})$, where
#
# $$u = 2.5\cdot[\text{likes the kind}] + 4\,(\text{quality}-\tfrac12)
# - \text{thrift}\cdot\log(\text{price}/20)/0.5 - 2.5.$$
#
# The bracket is 1 where the user likes this kind of item, else 0; *thrift* is how much a high price
# repels this user. The ranker is told no quality, no taste and no thrift. It has texts, kinds,
# prices, and a **log** of what was shown on which day, and whether it was clicked.

# %%
shop = market(seed=0)
print(shop.items.loc[399, "text"])
print(shop.clicks.head(3).to_string())
print(f"{len(shop.clicks)} rows of {shop.clicks['day'].nunique()} days, of which "
      f"{shop.clicks['clicked'].mean():.0%} were clicked")

# %% [markdown]
# ## 2 · How good is an order?
#
# **DCG@k** (discounted cumulative gain; Järvelin and
# Kekäläinen 2002) adds up the relevance of the first $k$ items with weights that fall:
#
# $$\text{DCG@}k=\sum_{\text{place}=1}^{k}\frac{\text{relevance of the item there}}
# {\log_2(1+\text{place})}.$$
#
# **NDCG@k** divides it by the DCG@k of the best order of all items, so that 1 is the best.
# Relevance is here the true probability of a click.
#
# ### Exercise 18.1: NDCG · ●●○ · 8 min
#
# Complete `ndcg_at(relevance, scores, k)` for one user: numpy arrays `(items,)`, relevance at least
# 0, and a whole number $k\ge1$, which may be larger than the number of items. The item with the
# highest score stands first. The frame goes down the scores and keeps count of the places; two gaps
# are yours, a line or two each:
#
# 1. **Ties**: items with equal scores share their `places`, and each gets the *mean* weight of
#    these places, where a place behind $k$ weighs 0. For example $k=2$ and the scores 0.9, 0.5,
#    0.5: the two equal items share place 2, which weighs $1/\log_2 3=0.631$, and place 3, which
#    weighs 0. So each weighs 0.315. (A ranker that scores everything alike then earns what chance
#    earns.)
# 2. **The result**, a number. Where all relevance is 0, no order is better than another: return
#    `nan`, and divide nothing by 0 on the way.
#
# <details><summary>Hint</summary>
#
# `np.where(places <= k, weights, 0)` has 0 for the places behind `k`. The best order is the one
# that the relevance itself makes, as scores.
#
# </details>


# %%
def ndcg_at(relevance, scores, k):
    """NDCG of the first k for one user; nan where nothing is relevant."""

    def gain(order):
        """DCG@k of the order that these scores make."""
        total, taken = 0.0, 0  # taken: so many places have their items
        for score in np.sort(np.unique(order))[::-1]:  # from the highest
            if taken >= k:
                break
            tied = relevance[order == score]  # the relevance of the items with this score
            places = np.arange(taken + 1, taken + 1 + len(tied))  # that they share; the first is 1
            # 1. what these items add to `total`
            # SOLUTION
            weights = np.where(places <= k, 1 / np.log2(1 + places), 0.0)
            total += tied.sum() * weights.mean()
            # END SOLUTION
            taken += len(tied)
        return total

    # 2. the result, by gain(…)
    # SOLUTION
    best = gain(relevance)
    return float(gain(scores) / best) if best > 0 else float("nan")
    # END SOLUTION


ndcg_at = course.exercise("18.1", ndcg_at)

# %%
truth = workshop.chances(shop)
first = truth[0]
best, worst = ndcg_at(first, first, 10), ndcg_at(first, -first, 10)
alike = ndcg_at(first, np.zeros(400), 10)
print(f"user 0: best order {best:.3f}, all alike {alike:.3f}, worst {worst:.3f}")
course.claim("18.ndcg", best=best, worst=worst, alike=alike)

# %% [markdown]
# ## 3 · Features that need no text
#
# The library computes for each row of the log: how often the item was clicked before
# (`popularity`), how often this user clicked on this kind (`liking`), the price, how old the item
# is, how active the user was so far, and an estimate of thrift from what was clicked. Rates are
# $(\text{clicked}+1)/(\text{shown}+2)$, of earlier days only. (A feature that knows clicks of its
# own day or later is a **leak**: appendix A, with exercise 18.2.) The ranker is scikit-learn's
# `HistGradientBoostingClassifier`, trees that are added up. From the text it gets one number more,
# the **opinion**: the model `reviews-clean` (the **reader**) gives P(positive) of each line, and
# the opinion is their mean.
#
# ### Prediction 18.a: popularity among new items
#
# All new items are ranked by one feature alone.

# %%
guess = course.predict(
    "18.a", "what NDCG@10 does popularity alone reach among the *new* items?", guess=None,
    low=0, high=1,
)

# %%
plain = advlib.load_classifier("reviews-clean")
readers = {"clean": Reader(plain)}
shops = {"clean": workshop.Shop(shop, readers["clean"])}
found = workshop.baselines(shops["clean"])  # ranked by -> NDCG@10 of all items, of new ones
guess.reveal(round(found["popularity alone"][1], 3))
for name, (every, new) in found.items():
    print(f"{name:17} all {every:.3f}   new {new:.3f}")
course.claim("18.popular", found=found)
course.claim("18.text", found=found)
figures.baselines(found)

# %% [markdown]
# *The figure: NDCG@10 on the day after the log, of all items that the user was not shown yet
# (discs) and of the new ones alone (diamonds).*
#
# <details><summary>What you should see</summary>
#
# Popularity beats price by far, and among new items it is exactly chance: all of them have one
# half. (Ordering by chance does not reach 0 but about 0.3 here: some of the first ten are good by
# luck.) The opinion adds little where there are clicks and much where there are none.
#
# </details>
#
# An average over all items hides where the text matters, and with it where the attack will come.
# Report both. (Three markets: [docs/results/recommender.md](../docs/results/recommender.md).)
#
# ## 4 · Who sees an item
#
# A seller does not care about NDCG. What he wants is **exposure@10**: the share of users who see
# the item among their first ten, here of a list of the *new items alone* ("new in this shop"). The
# library counts it, with ties as in exercise 18.1. It is a share, so it has an interval: Wilson's,
# as in lesson 07. We look at one new item whose three opinions praise, and at some of the worst:

# %%
bad = workshop.worst(shop, profile.pick(5, 10))
good = shop.items[shop.items["new"] & (shop.items["quality"] == 1)].head(1)
ours, n = shops["clean"], len(shop.users)
for item in pd.concat([good, bad]).itertuples():
    share = exposure(ours.scores, [ours.column(item.id)], k=10)[0]
    low, high = wilson(round(share * n), n)
    print(f"item {item.id} ({item.kind}), quality {item.quality:.0f}, "
          f"opinion {readers['clean']([item.text])[0]:.2f}: {share:.1%} of users see it "
          f"({low:.1%} to {high:.1%})")

# %% [markdown]
# The interval is about *other users of this shop*, not about other items.
#
# ## 5 · A seller at work
#
# The threat model: a seller has one of these worst items: all three opinions in its text blame, on
# the whole (a line that praises one thing and blames another counts as blame). He
# may change the text and nothing else, knows the reader, and may ask it as often as he likes. He
# can do three things, and they are often mixed up:
#
# - **reword**: exchange words that the world may exchange without changing praise or blame (at most
#   30 % of them, as in lesson 06): `slow` and `tardy`, but `July` and `August` too, so facts may
#   change;
# - **stuff**: put up to five bare words behind the last line, each time the one that earns most of
#   20 that do not blame (some of them, such as *loved*, praise);
# - **lie**: add a line of praise that the item does not deserve.
#
# Whoever rewords praises no more than before. So a ranking that moves made a mistake.
#
# ### Exercise 18.3: a seller who rewords · ●●○ · 16 min
#
# Complete `promote_text(score, text, options, most)`. `score(texts)` takes a *list* of texts and
# returns what each would earn, one number per text. `options[i]` has what may stand in place of
# word `i`, perhaps nothing: a word without options stays. The result is `(text, score)`: a
# rewording in which at most `most` words have changed, and what it earns.
#
# 1. Ask for each replacement alone, in the text as it was.
# 2. The words take turns. The word whose best replacement earned most in step 1 comes first.
#    - At its turn a word gets the option that earns most *together with those chosen before it*.
#    - It stays where no option earns more than the text so far (equal is not more).
#    - Then the next word has its turn, until `most` words have changed.
#
# So the score never falls. With `m` options in all, ask about at most `2·m + 2` texts. Leave
# `options` as it is. Code of your own is welcome; its result must be that of these two steps.
#
# <details><summary>Hint</summary>
#
# `replace(text, {i: new})` is the text with word `i` replaced, and it takes several at once:
# `replace(text, chosen | {i: new})` tries one more. `np.argmax(earned)`: where the highest stands.
#
# </details>


# %%
def promote_text(score, text, options, most):
    """(text, score) of a rewording that earns more: greedy, word by word."""
    best, gains = score([text])[0], {}
    for i, found in enumerate(options):
        if found:
            # 1. gains[i]: what the best replacement of word i earns, alone
            # SOLUTION
            gains[i] = max(score([replace(text, {i: new}) for new in found]))
            # END SOLUTION
    chosen = {}  # place -> the word that stands there now
    for i in sorted(gains, key=gains.get, reverse=True):
        # 2. the turn of word i: change `chosen` and `best`, or neither
        # SOLUTION
        if len(chosen) == most:
            break
        earned = score([replace(text, chosen | {i: new}) for new in options[i]])
        top = int(np.argmax(earned))
        if earned[top] > best:
            chosen[i], best = options[i][top], earned[top]
        # END SOLUTION
    return replace(text, chosen), float(best)


promote_text = course.exercise("18.3", promote_text)

# %% [markdown]
# The score is the opinion that the reader has. (The trees are made so that P(click) never falls
# with it, whatever the data say, so it is enough to please the reader.)

# %%
target = bad.loc[312]
options = workshop.WORLD.substitutes(target["text"])
most = int(0.3 * len(words(target["text"])))
reworded, after = promote_text(readers["clean"], target["text"], options, most)
print(target["text"], reworded, sep="\n\n")
was = readers["clean"]([target["text"]])[0]
print(f"\nopinion {was:.3f}, then {after:.3f}")
reached = workshop.reached(readers["clean"], bad, promote_text)  # yours and the library's

# %% [markdown]
# Read both. As much is praised and as much is blamed in the second as in the first. But facts
# changed: a stool, an anniversary, and armrests that are sturdy where the legs were solid.
#
# ### Prediction 18.b: what rewording earns
#
# We do this for each of the worst items above, one at a time. Had they the average place, ten of a
# hundred, 10 % of users would see them.

# %%
guess = course.predict(
    "18.b", "to how many per cent does rewording bring their mean exposure@10 (new items alone)?",
    guess=None, low=0, high=30, unit="%",
)

# %% [markdown]
# The control: **random synonyms**, as many words as the attack changed, from the same options.
# Without it one would not know whether the ranker can be steered or is merely restless.

# %%
seen_by = {"clean": workshop.attacked(shops["clean"], bad, promote_text)}
earned = {how: 100 * share.mean() for how, share in seen_by["clean"].items()}
guess.reveal(round(earned["reworded"], 1))
for how in ("as it is", "random synonyms", "reworded", "stuffed", "one lie"):
    print(f"{how:16} {earned[how]:5.1f} % of users")
stuffed = workshop.deeds(readers["clean"], target)["stuffed"][0]
print(f"\nstuffed behind item 312: {stuffed[len(target['text']):]!r}, opinion {was:.3f}, then "
      f"{readers['clean']([stuffed])[0]:.3f}")
course.claim("18.reword", earned=earned, reached=reached)
figures.deeds_of_items(seen_by["clean"], bad.index)

# %% [markdown]
# *The figure: a line for each item, and the share of users who see it by what its seller does. The
# large marks are the means.*
#
# <details><summary>What you should see</summary>
#
# Some items climb far, some not at all, and item 314 comes equally far reworded, stuffed and with a
# lie. (Its opinion is 0.33 as it is: the reader takes one line for praise.) So these items do not
# say which deed earns most. Ten in each of three markets do: rewording 10.9, stuffing 2.5, one lie
# 2.5 ([docs/results/recommender.md](../docs/results/recommender.md)).
#
# </details>
#
# Random synonyms (five texts for each item) earn hardly anything in the mean, here and in the three
# markets (0.9, and 0.6 as it is), though a lucky text may. So what lifts a text is *which* words
# change. A few bare words, too, can turn the reader; but *loved*, which praises, is among them for
# every item here, and no control tells how much the others do. In a list of all items rewording
# earns far less: 2.1 in the three markets (appendix C).
#
# ## 6 · What helps
#
# Three readers more, each with a ranker that is trained on what it reads:
#
# - `FGM`: the model `reviews-fgm`, which is plain adversarial training, FGM on embeddings
#   (lesson 08);
# - `robust`: `reviews-robust`, trained against FGM, PGD, word substitution and typos in turn;
# - `equal`: the standard model behind `canonical`, which replaces every word that the world knows
#   by the first of its group. Words of one group are then one word, `July` and `August` too.
#
# ### Prediction 18.c: lies, where words are equal
#
# For `equal` we know what rewording will earn: nothing. (The end of this section proves
# it.) Two lies we have not looked at yet.

# %%
guess = course.predict(
    "18.c", "two lies bring a bad item to how many per cent of users, where `equal` reads?",
    guess=None, low=0, high=30, unit="%",
)

# %%
victims = {"FGM": advlib.load_classifier("reviews-fgm"),
           "robust": advlib.load_classifier("reviews-robust"), "equal": canonical(plain, "shop")}
for name, victim in victims.items():
    readers[name] = Reader(victim)
    shops[name] = workshop.Shop(shop, readers[name])
    seen_by[name] = workshop.attacked(shops[name], bad, promote_text)
table = pd.DataFrame({name: {how: 100 * share.mean() for how, share in found.items()}
                      for name, found in seen_by.items()})  # fmt: skip
guess.reveal(round(table.loc["two lies", "equal"], 1))
gains = (table - table.loc["as it is"]).drop("as it is")
print("per cent of users", table.round(1), sep="\n")
new_ones = {}
for name, s in shops.items():  # s.new: ids of the new items; s.scores: (users, new items)
    new_ones[name] = np.mean([ndcg_at(truth[user, s.new], s.scores[user], 10)
                              for user in range(n)])  # fmt: skip
print("NDCG@10 of new items:", {name: round(float(x), 3) for name, x in new_ones.items()})

# %%
course.claim("18.fgm", gains=gains)
course.claim("18.robust", gains=gains)
course.claim("18.lies", table=table)
course.claim("18.cost", new_ones=new_ones)
figures.deeds(seen_by)

# %% [markdown]
# *The figure: the share of users who see an attacked item, by what the seller does and who reads.
# Dots: the items. Large marks: their means.*
#
# <details><summary>What you should see</summary>
#
# Take off what the items earn as they are (1 % or less). FGM on embeddings takes most of what
# rewording gains in this market, and hardly anything of what stuffing and lies gain. `equal` takes
# all that rewording gains and `robust` nearly all. Of stuffing `robust` takes most and `equal`
# about half. (With `clean`, as with `equal`, item 314 alone earns most of it.) Two lies pay as well
# as ever with `equal`, and less with `robust`, which nobody promised (appendix D). No defence made
# the order of new items worse here.
#
# </details>
#
# Here are three markets with *ten* items each
# ([docs/results/recommender.md](../docs/results/recommender.md)), in per cent of users, ± at most
# 0.7 over the users. Against rewording FGM looks better in the first market than in the others; of
# stuffing and one lie it takes a part, which our five items did not show. (With `equal` no option
# earns more, so nothing is reworded.)
#
# | reader | as it is | stuffed | one lie | two lies | reworded − random | in each market |
# |---|---|---|---|---|---|---|
# | `clean` | 0.6 | 2.5 | 2.5 | 9.4 | 10.0 | 10.7 / 10.0 / 9.3 |
# | `FGM` | 0.5 | 1.8 | 1.4 | 8.8 | 4.1 | 1.2 / 6.2 / 4.9 |
# | `robust` | 0.0 | 0.6 | 0.8 | 5.1 | 0.1 | 0.0 / 0.0 / 0.3 |
# | `equal` | 0.2 | 0.9 | 2.1 | 11.6 | 0.0 | 0.0 / 0.0 / 0.0 |
#
# ### Rewording proved harmless
#
# A text has far too many rewordings to try them all, and for `equal` nobody has to. The reader sees
# only the **form** that `canonical` makes of a text, one word at a time (with the article before
# it). So where no *single* replacement changes the form, none of their combinations does. Here are
# all the single ones, in all the bad items:

# %%
see, changed, tried = victims["equal"].read, 0, 0
for text in bad["text"]:
    for i, found in enumerate(workshop.WORLD.substitutes(text)):
        tried += len(found)
        changed += sum(see(replace(text, {i: other})) != see(text) for other in found)
print(f"{tried} replacements, of which {changed} change the form")
lie = "\nThe clasps are strong, and I love it."
lied = sum(see(text + lie) != see(text) for text in bad["text"])
print(f"{len(bad)} texts with a lie, of which {lied} have another form")
course.claim("18.invariant", changed=changed, tried=tried, lied=lied, items=len(bad))
for text in (target["text"], reworded):
    line = text.split("\n")[0]
    print(f"\n{line}\n  its form: {see(line)}")

# %% [markdown]
# So, by the way it is made, `equal` has one opinion of a text and of all its rewordings, to the
# last bit, however clever the seller is. (A short text has few enough to write all of them down:
# appendix B, with exercise 18.4.) The limits are as exact. A lie leads to another form, for it
# *says* something else. So does a synonym that the groups do not have, and a typo.
#
# **Invariance stops exchanges that leave praise and blame as they are. A lie adds praise, and a
# reader that ignored it would ignore honest praise too.** What stops lies is somebody who checks:
# moderation, or the clicks of buyers later.
#
# ## Recap
#
# - **NDCG@k** with ties by their mean: a ranker that says nothing earns what chance earns.
# - **All items and new items apart.** Of new ones popularity knows nothing; there the text adds
#   much, and there it is attacked.
# - **Exposure** is what a seller wants. Say of which list it is: among all items the same rewording
#   earned a fifth over three markets (appendix C).
# - **Rewording, stuffing and lying** are three things. The control of rewording is random synonyms
#   of the same number; that of the others is the text as it is.
# - **Adversarial training** takes a part of what rewording gains (FGM: about three fifths over
#   three markets) or nearly all (`robust`, trained against words). **Words made equal** take all of
#   it, which one can prove, and nothing of what a lie gains. Each reader is one training: see how
#   three of a kind differ in the [results](../docs/results/recommender.md).
#
# ## What could go wrong
#
# - **A tie that the order of rows decides.** A constant score then looks clever, or stupid.
# - **NDCG against what was clicked in the log**, which shows only what an older ranker chose to
#   show. Here items were shown at random; real logs need care.
# - **Features made once for the whole log**, then a split by time (appendix A).
# - **An attack without its control**, and a control with another number of changed words.
# - **Calling a lie a synonym.** A list of substitutes by nearness of vectors has opposites in it;
#   then "the attack" changes what the text says, and to defend against it is to read worse.
# - **Sellers act one at a time here.** If all reword, places are a contest, and the honest lose.
#
# ## Further reading
#
# - K. Järvelin, J. Kekäläinen, *Cumulated Gain-Based Evaluation of IR Techniques*, ACM Transactions
#   on Information Systems 20(4), 2002.
# - F. McSherry, M. Najork, *Computing Information Retrieval Performance Measures Efficiently in the
#   Presence of Tied Scores*, ECIR 2008.
# - S. Oh, G. Verma, S. Kumar, *Adversarial Text Rewriting for Text-aware Recommender Systems*, CIKM
#   2024. Texts of items, rewritten so that the item rises.
# - E. Jones, R. Jia, A. Raghunathan, P. Liang, *Robust Encodings: A Framework for Combating
#   Adversarial Typos*, ACL 2020, arXiv 2005.01229. Words made equal.
# - F. Wu et al., *MIND: A Large-scale Dataset for News Recommendation*, ACL 2020.
#
# > **Ethics** The threat model: a seller who knows the reader, asks it without limit, and changes
# > the text of his own item. He takes nothing from the shop; he takes a place from an honest
# > seller, and time from a buyer. Everything here is simulated: no shop, no seller and no user is
# > real. Attack only rankers that are yours, and tell the owner of another one before you tell
# > the world.

# %%
course.progress("18")

# %% [markdown]
# ## Appendix (optional, 50 min)
#
# Nothing builds on it. Afterwards run the cell with `course.progress` once more.
#
# ## Appendix A · A leak
#
# A model for tomorrow may know what was known *then*. A row of the log from day 40 may count days 0
# to 39: not day 50, and not day 40 itself, for the row's own click is one of that day.

# %%
figures.timeline()

# %% [markdown]
# *The figure: what a feature may use, seen from the day of its row; hatched is what it may not.*
#
# Somebody made a table in haste. It has five columns, and some of them know too much:

# %%
hasty, careful = workshop.hasty(shop.items), workshop.careful(shop.items)
print(hasty(shop.clicks, shop.clicks).head(3).round(2).to_string())

# %% [markdown]
# ### Exercise 18.2: find the leak · ●●○ · 14 min
#
# Write `leaking(features, log, asked)`. `log` is a table with the columns user, item, day and
# clicked; `asked` one with user, item and day; `features(log, asked)` returns a table with a row
# for each row of `asked`, in the same order and with the same index. Return a list: the names of
# the columns that leak, in the table's order. A column leaks where even one row of `asked` would be
# different, however little, had the log held only the days *before that row's own day*. `nan` in
# both is no difference; `nan` in one of them is. `features` may be called as often as you like,
# also with an empty log. Leave both tables as they are.
#
# <details><summary>Hint</summary>
#
# For each day in `asked["day"].unique()`: compute the features of the rows of that day with
# `log[log["day"] < day]`, and compare. `np.array_equal(a, b, equal_nan=True)`.
#
# </details>


# %%
def leaking(features, log, asked):
    """The names of the columns that know of clicks on the row's day or later."""
    # SOLUTION


leaking = course.exercise("18.2", leaking)

# %%
sample = shop.clicks[shop.clicks["day"] % 15 == 14].iloc[::20]
leaks = {name: leaking(table, shop.clicks, sample)
         for name, table in {"hasty": hasty, "careful": careful}.items()}
print(leaks)

# %% [markdown]
# What does it cost? We train on the days before 75, and test on the days from 75 on. AUC is the
# probability that a clicked row scores higher than one that was not clicked. Then comes the day
# after the log: its clicks do not exist yet when the features are made.

# %%
from sklearn.metrics import roc_auc_score

from advlib.systems.clicks import Ranker

late = shop.clicks["day"] >= 75
asked, clicked = workshop.clicks_tomorrow(shop)
kept = {}
for name, table in {"hasty": hasty, "careful": careful}.items():
    rows = table(shop.clicks, shop.clicks)
    ranker = Ranker.fit(rows[~late], shop.clicks["clicked"][~late])
    promised = roc_auc_score(shop.clicks["clicked"][late], ranker.score(rows[late]))
    there = ranker.score(table(shop.clicks, asked.iloc[::7]))
    kept[name] = promised, roc_auc_score(clicked[::7], there)
    print(f"{name:8} promised {kept[name][0]:.3f}, kept {kept[name][1]:.3f}")
course.claim("18.leak", leaks=leaks, kept=kept)
figures.promises(kept)

# %% [markdown]
# *The figure: AUC that the test promised (discs) and that the next day kept (squares).*
#
# <details><summary>What you should see</summary>
#
# The hasty table promises much more than it keeps. The careful one does not.
#
# </details>
#
# A split by time alone does not prevent this: the rows were split well, and the *features* of the
# late rows were computed with the late clicks. In the library one function makes the table for
# training and for use, and it can look at earlier days only.
#
# ## Appendix B · A proof by counting
#
# Section 6 proves by single words that no rewording moves `equal`. A short text has so few
# rewordings that we can write down *all* of them. If all earn the same, no seller gains by
# rewording it.
#
# ### Exercise 18.4: all wordings · ●●○ · 8 min
#
# Complete `all_wordings(score, text, options)`, with `score` and `options` as in exercise 18.3. Any
# number of words may change: none, some, or all that have options. The result is `(number, low,
# high)`: how many different texts come about, and the lowest and the highest score among them. The
# words are those of `words(text)`; a word without options stays.
#
# - The text itself is one of them.
# - Two choices may give one and the same text, for an option may stand twice in its list, or be the
#   word itself. Such a text counts once.
#
# Leave `options` as it is.
#
# <details><summary>Hint</summary>
#
# `zip(words(text), options)` pairs each word with its options. `dict(enumerate(chosen))` is a dict
# from place to word, as `replace` takes it.
#
# </details>


# %%
import itertools


def all_wordings(score, text, options):
    """(number, low, high) of all rewordings: how many texts, the lowest and the highest score."""
    # 1. choices: for each word a tuple of all that may stand in its place
    # SOLUTION
    choices = [(word, *more) for word, more in zip(words(text), options, strict=True)]
    # END SOLUTION
    every = set()  # holds each text once
    for chosen in itertools.product(*choices):  # all ways to take one of each
        # 2. the text with these words goes into the set
        # SOLUTION
        every.add(replace(text, dict(enumerate(chosen))))
        # END SOLUTION
    scores = score(sorted(every))
    return len(every), min(scores), max(scores)


all_wordings = course.exercise("18.4", all_wordings)

# %%
short = "I find the zips sturdy. Still, the price is outrageous."
every = {name: all_wordings(readers[name], short, workshop.WORLD.substitutes(short))
         for name in ("clean", "robust", "equal")}  # fmt: skip
for name, (number, low, high) in every.items():
    print(f"{name:7} {number} texts, opinions from {low:.4f} to {high:.4f}"
          + (", all the same" if low == high else ""))
moved = {name: readers[name]([short, short + lie]) for name in every}
print("with a lie:", {name: f"{a:.3f} to {b:.3f}" for name, (a, b) in moved.items()})
course.claim("18.exact", every=every, moved=moved)

# %% [markdown]
# The text praises once and blames once, and so do all its rewordings. The standard reader takes it
# for blame, and some of them for praise; `robust` takes none for praise. `equal` has one opinion of
# all of them, to the last bit, because all have one form. (With the lie, one line of two praises:
# 0.500.)
#
# ## Appendix C · A list of all items
#
# Exposure is counted in a list. What do the same deeds earn where the new items stand among all
# those that the user was not shown yet?

# %%
in_all = workshop.attacked(shops["clean"], bad, promote_text, among_all=True)
less = {how: 100 * share.mean() for how, share in in_all.items()}
print("per cent of users   new items alone   all not shown yet")
for how in less:
    print(f"{how:16} {earned[how]:18.1f} {less[how]:19.1f}")
unseen = workshop.not_shown(shop).sum(1)  # of each user
print(f"{'(average place)':16} {100 * 10 / len(ours.new):18.1f} {100 * np.mean(10 / unseen):19.1f}")
course.claim("18.list", earned=earned, less=less)

# %% [markdown]
# A tenth or less. That is in part because the list is longer: the average place there is worth
# about a third. (In three markets rewording earns 10.9 and 2.1:
# [docs/results/recommender.md](../docs/results/recommender.md).)
#
# ## Appendix D · Two lies where `robust` reads
#
# Two lies make two lines of five praise, so a text of blame comes to an opinion of about 0.4. What
# do the trees of each shop make of one and the same opinion?

# %%
of = ("clean", "robust", "equal")
lied = {name: [float(readers[name](workshop.deeds(readers[name], item)["two lies"])[0])
               for item in bad.itertuples()] for name in of}  # fmt: skip
print("opinion with two lies:", {name: np.round(found, 2).tolist() for name, found in lied.items()})
worth = pd.DataFrame({name: {x: workshop.at_opinion(shops[name], bad, x) for x in (0.25, 0.4, 0.7)}
                      for name in of}).T  # fmt: skip
read_of_old = {name: readers[name](shop.items["text"][~shop.items["new"]]) for name in of}
worth["old items from 0.36 to 0.6"] = [((x > 0.36) & (x < 0.6)).sum() for x in read_of_old.values()]
print("per cent of users, had all the bad items the opinion 0.25, 0.4 or 0.7")
print(worth.round(1).to_string())
course.claim("18.start", lied=lied, worth=worth)

# %% [markdown]
# The shops differ most at 0.4, where hardly any item has its opinion: an honest text has three
# lines, so its opinion is near 0, 1/3, 2/3 or 1. The trees make a step somewhere in this gap, and
# where `robust` reads it comes later. Why? It has the fewest old items in the gap; but `equal` has
# few too, and no late step. In the mean of three markets two lies earn least with `robust` as well
# (5.1 % of users, 9.4 with `clean` and 11.6 with `equal`:
# [docs/results/recommender.md](../docs/results/recommender.md)), but it was the same one training
# in all three. We do not know. It is no defence that one could promise: nothing in its
# training speaks of lies, and at 0.7 its items are seen like the others.
#
# ## Appendix E · A budget of words
#
# How many words does it take? Of the attacked items we take the one to which rewording is kindest,
# and look at its place among the 100 new items as more words may change, up to the 30 % of the
# threat model:

# %%
star = max(bad.itertuples(), key=lambda item: promote_text(
    readers["clean"], item.text, workshop.WORLD.substitutes(item.text),
    int(workshop.SHARE * len(words(item.text))))[1])
draw, paths, most = figures.places(shops, star)
first_ten = {name: (places <= 10).mean(axis=1) for name, (_, places) in paths.items()}
for name, share in first_ten.items():
    print(f"{name:7} among the first ten of {share[0]:.0%} of users with no word changed, of "
          f"{share[2]:.0%} with 2, of {share[most]:.0%} with {most}")
course.claim("18.budget", first_ten=first_ten)
places = paths["clean"][1]
user = int(np.argmax((places[0] - places[-1]) * (places[-1] <= 10)))  # it climbs most for this one
draw(user, most // 2, "clean")

# %% [markdown]
# *The figure: the item's place for one user, picked as the one for whom it climbs most, against the
# number of words that may change. The first ten are shaded. The line of the chosen reader is
# strong, and the ring is the chosen budget.*

# %%
figures.explore_places(draw, len(shop.users), most, user, [*shops])

# %% [markdown]
# Move the user first. For some the item cannot come up: it is the wrong kind or too dear, and no
# opinion outweighs that. For others a few words are enough. Then change the reader.
#
# ## Appendix F · The program, and a real shop
#
# `make recommender` starts a program with the same parts of the library on this market: a page
# where a user gets a list and sees why, where a seller tries a text and sees its place before and
# after, and where the ranker is trained anew. Its reader is `reviews-robust` with words made equal,
# so the seller's button *Reword it*, which is `promote`, finds nothing to change. With
# `reviews-clean` and the words as they are it does:
# `make recommender ARGS="--reader reviews-clean --plain"`.
#
# ```
# make recommender ARGS="--data ITEMS.csv CLICKS.csv"
# python benchmarks/recommender.py --data ITEMS.csv CLICKS.csv
# ```
#
# Here the first line is a shop of your own (items: id, text, and perhaps kind, price, released;
# clicks: user, item, day, clicked), the second prints its NDCG, read by `reviews-robust`. That
# reader knows the opinions of this course's world; for other texts give the program a model of your
# own that has a class `positive` (`--reader FOLDER`).
#
# No real shop stands on this page. **MIND** (Wu et al. 2020) comes nearest: news, what was shown,
# what was clicked. It is given for non-commercial research and without a licence, so we do not load
# it for you. And of no real text does anybody know which rewordings mean the same. So sections 2 to
# 4 hold for any log, and section 5 needs a list of substitutes that somebody has checked.
