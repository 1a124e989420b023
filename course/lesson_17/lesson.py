# %% [markdown]
# # 17 · Financial news monitor
#
# {{BADGE}}
#
# **You will**
#
# - turn headlines into a stream of 0 and 1, and watch it with two charts, CUSUM and EWMA;
# - set their thresholds so that a stated number of stories passes between two false alarms;
# - hide a surge of bad news from the monitor, and ask what another threshold can do;
# - train the sensor against it, add a second thing to watch, and keep what was promised about
#   false alarms;
# - attack both, as somebody who knows them.
#
# **Time** {{TIME}} About 70 minutes for you: 52 of reading, 18 of exercises. Five appendices,
# another 50 minutes with exercises 17.2, 17.4 and 17.5, are optional: nothing builds on them.
#
# **Before** Lessons 06 and 08.

# %% tags=["setup"]
import advlib
import course

profile = course.setup()

# %% [markdown]
# ## 1 · A stream, a sensor, an alarm
#
# A desk reads thousands of headlines a day and wants to hear one thing soon: *bad news on this
# topic has become more frequent than usual*. Nobody acts on a single headline. So there are three
# parts: a **sensor**, a model that reads a headline and says 1 for bad news and 0 for the rest; a
# **chart**, which turns the items so far into one number; and an **alarm** when that number reaches
# a **threshold**. (The figure has two parts more: the feeds, and `once`, which takes out a story
# that is told again; appendix C.)

# %%
import math

import numpy as np

from advlib.corpora import news
from advlib.systems import charts as library
from advlib.systems.charts import delays
from course.lesson_17 import figures, workshop

figures.monitor()

# %% [markdown]
# *The figure: the parts of the monitor from left to right. Below, at the arrows, what somebody who
# does not want the alarm, or wants a false one, can do to each part; in brackets the sections and
# appendices.*
#
# The headlines are on invented companies (world `news`). The labels are exact, and so is the plan
# of the stream: in calm times 15 % of the stories are bad, and from story 1,000 on, 40 % of those
# on trade (orders and demand).

# %%
stream = news.stories(profile.pick(1600, 4000), seed="lesson 17",
                      surge=news.Surge("trade", 1000, 0.4))
victim = advlib.load_classifier("news-clean")


def bad(victim, texts):
    """1 where the sensor says bad news, else 0; (texts,)."""
    return (victim.predict(texts).argmax(1) == victim.labels.index("negative")).astype(int)


for story in [story for story in stream[1000:] if story.topic == "trade"][:3]:
    print(f"{story.published:%d %b %H:%M}  {story.title}  [{story.topic}, {story.sentiment}]")
titles = [story.title for story in stream]
says = bad(victim, titles)
topics = np.array([workshop.topic(title) for title in titles])
topics_right = np.mean(topics == [story.topic for story in stream])
truth = np.array([story.sentiment == "negative" for story in stream])
print(f"topic right {topics_right:.1%}; bad or not bad right:", ", ".join(
    f"{topic} {np.mean((says == truth)[topics == topic]):.0%}" for topic in news.TOPICS))

# %% [markdown]
# The topic comes from a table of words (one with a typo counts as the word that it was), the
# sentiment from the model. From here on we watch *trade*, one of the topics that this small
# model reads well. The sensor has two rates: `hit`, the share of bad news that it
# sees, and `false`, the share of other news that it calls bad. With a share $s$ of bad news it says
# 1 with the probability $s\cdot\texttt{hit}+(1-s)\cdot\texttt{false}$.

# %%
n = profile.pick(150, 500)  # drawn from stories of which half are bad, so that there are enough
bad_texts, other_texts = workshop.headlines("trade", n, "pool", 0.5)
hit, false = bad(victim, bad_texts).mean(), bad(victim, other_texts).mean()


def rate(share, hit=hit, false=false):
    """How often the sensor says 1 where so large a share of the news is bad."""
    return share * hit + (1 - share) * false


p0 = rate(0.15)
p1 = 3 * p0 / (1 + 2 * p0)  # three times the odds
print(f"hit {hit:.1%}, false {false:.1%} ({n} headlines each)")
print(f"calm p0 = {p0:.3f}; p1 = {p1:.3f}; in this surge {rate(0.4):.3f}")
course.claim("17.sensor", topics_right=topics_right, hit=hit, false=false)

# %% [markdown]
# `p0` is the rate of 1 in calm times, and `p1` a rate that we want to find fast. How large a surge
# will be, nobody knows; we ask for three times the odds.
#
# ## 2 · CUSUM: since when?
#
# Let $x_i$ be item number $i$, 0 or 1, and $P_p(x)$ its probability at the rate $p$: $p$ for a 1,
# $1-p$ for a 0. Suppose that the rate rose to `p1` with item $k$. Then items $k$ to $n$ are more
# likely under `p1` than under `p0` by a factor whose logarithm is a sum: each 1 adds
# $\log(p_1/p_0)$, each 0 adds $\log\frac{1-p_1}{1-p_0}$, which is below 0. We do not know $k$, so
# take the best one:
#
# $$S_n=\max\Bigl(0,\ \max_{1\le k\le n}\
# \sum_{i=k}^{n}\log\frac{P_{p_1}(x_i)}{P_{p_0}(x_i)}\Bigr).$$
#
# This is Page's CUSUM (1954). Trying all $k$ again after every item costs more and more. It need
# not: the best $k$ for item $n$ is either the best one so far, or the chart begins anew.
#
# ### Exercise 17.1: the CUSUM · ●●○ · 10 min
#
# Write `cusum(items, p0, p1)`. `items` is a numpy array of integers 0 and 1 with time along its
# *last* axis: `(n,)` for one stream, `(runs, n)` for many. Return an array of floats of the same
# shape: $S$ after each item, that item counted. Leave `items` as it is.
#
# <details><summary>Hint</summary>
#
# Two cases for the best sum that ends with item $n$: it begins before $n$, and is then the best sum
# that ends with $n-1$ plus one term; or it begins at $n$. With the 0 inside the maximum both are
# one line. `items[..., k]` is item $k$ of all streams at once, `np.where` chooses the term.
#
# </details>


# %%
def cusum(items, p0, p1):
    """The statistic after each item, an array of the shape of `items`."""
    # SOLUTION


cusum = course.exercise("17.1", cusum)

# %%
ours = says[topics == "trade"]
begin = (topics[:1000] == "trade").sum()
figures.walk(ours, cusum(ours, p0, p1), p0, p1, begin)

# %% [markdown]
# *The figure: above, the sum of all terms since the first item, and its lowest value so far, the 0
# before the first item included; marks on top are stories that the sensor calls bad; the surge is
# shaded. Below, the CUSUM, the distance between the two lines.*
#
# <details><summary>What you should see</summary>
#
# In calm times the sum falls, and the lowest value falls with it. In the surge the sum rises and
# the lowest value stays. The last lowest point is the chart's estimate of *when* it began.
#
# </details>
#
# ## 3 · EWMA: a mean that forgets
#
# The other classic (Roberts 1959) knows no `p1`. It is a mean in which a story counts less, the
# older it is: $z\leftarrow z+\texttt{lam}\,(x-z)$, beginning at $z=p_0$. Its variance in calm times
# is known (you derive it in appendix A); after many items it is
# $\frac{\texttt{lam}}{2-\texttt{lam}}\,p_0(1-p_0)$. We take the EWMA of the library, and compare
# your CUSUM with the library's:

# %%
rng = np.random.default_rng(17)
lam = 0.05
smooth = library.Ewma(p0, lam)
calm = (rng.random((profile.pick(1500, 5000), 1500)) < p0).astype(int)
z = library.path(smooth, calm)
apart = abs(cusum(ours, p0, p1) - library.path(library.Cusum(p0, p1), ours)).max()
print(f"largest difference from advlib.systems.charts: {apart:.1e}")
print(f"variance of the EWMA {smooth.variance:.6f}, simulated {z[:, -1].var():.6f}")
course.claim("17.charts", apart=apart, formula=smooth.variance, simulated=z[:, -1].var())

# %% [markdown]
# ## 4 · What a threshold promises
#
# Textbooks put the alarm of an EWMA at three standard deviations. What is that worth? The number
# that a desk understands is: *how many stories pass between two false alarms?* Its mean is called
# the **average run length**. We simulate calm streams of 1,500 stories and stop there. A run that
# had no alarm until then is **censored**: its length is not known, only that it is long. Leaving
# such runs out makes the mean too small; so does an alarm that is put at the end of the stream. The
# usual estimate: all items that were seen until the alarms (or the ends), divided by the number of
# *alarms*. It is exact where an alarm is equally likely at every item; charts begin low, so for
# them it is nearly right. `workshop.run_length` does so; you write it in a moment.

# %%
run_length = workshop.run_length
sigma3 = p0 + 3 * math.sqrt(smooth.variance)
print(f"EWMA at three standard deviations, {sigma3:.3f}: {run_length(z, sigma3):.0f} stories")
print(f"CUSUM at 3: {run_length(cusum(calm, p0, p1), 3.0):.0f} stories")

# %% [markdown]
# Two thresholds that look reasonable, and they promise different things. **Whoever compares two
# detectors like this compares thresholds.** So turn it round: state the promise, find the
# threshold.
#
# ### Exercise 17.3: a threshold for so many items · ●●○ · 8 min
#
# Complete `calibrate(chart, p0, between, rng)`. `chart(items)` takes an array `(runs, n)` of
# integers 0 and 1 and returns the statistic `(runs, n)`. The function returns the threshold, a
# number, at which the mean number of items until the first alarm is `between`, on calm streams. An
# alarm comes when the statistic is at the threshold or above. The streams, and the halving of an
# interval of thresholds, are there. You write what is counted at the threshold `h`, and which half
# to keep. A stream has only `between` items, so many runs are censored: where you leave them
# out, or put an alarm at their end, the mean comes out too small, so the threshold that gives
# `between` is far too high. The check runs fresh streams and accepts ±15 %.
#
# <details><summary>Hint</summary>
#
# `highest` never falls, so `(highest < h).sum(1)` is the number of items of each run *before* its
# alarm, or all of them where none came. An alarm's own item counts, too: add one for each alarm.
# The mean grows with `h`: where it is `between` or more, the threshold lies in the lower half.
#
# </details>


# %%
def calibrate(chart, p0, between, rng):
    """The threshold with about `between` items between false alarms, on the average."""
    items = (rng.random((2000, between)) < p0).astype(int)
    highest = np.maximum.accumulate(chart(items), axis=1)  # so far; the alarm: where it reaches h
    low, high = highest.min(), highest.max()
    for _ in range(40):
        h = (low + high) / 2
        # 1. all items seen, and the number of alarms
        # SOLUTION
        before = (highest < h).sum(1)  # items without an alarm
        alarms = (before < items.shape[1]).sum()
        seen = before.sum() + alarms
        # END SOLUTION
        # 2. the half that is kept: a new `low` or a new `high`
        # SOLUTION
        low, high = (low, h) if seen >= between * alarms else (h, high)
        # END SOLUTION
    return high


calibrate = course.exercise("17.3", calibrate)

# %%
between = 500
charts = {"CUSUM": lambda items: cusum(items, p0, p1),
          "EWMA": lambda items: library.path(smooth, items)}
h = {name: calibrate(chart, p0, between, rng) for name, chart in charts.items()}
promised, two_points_more = {}, {}
dice = rng.random((1000, 2500))
for name, chart in charts.items():
    promised[name] = run_length(chart((dice < p0).astype(int)), h[name])
    two_points_more[name] = run_length(chart((dice < p0 + 0.02).astype(int)), h[name])
    print(f"{name}: threshold {h[name]:.3f}, {promised[name]:.0f} stories between false alarms; "
          f"if calm is really {p0 + 0.02:.3f}, {two_points_more[name]:.0f}")
print(f"p0 from 100 stories: {p0:.1%} ± {196 * math.sqrt(p0 * (1 - p0) / 100):.1f} points")
course.claim("17.promise", promised=promised, sigma3=run_length(z, sigma3), more=two_points_more)

# %% [markdown]
# What comes "if calm is really" two points higher is a warning: `p0` is measured, too, and from 100
# stories not well (the last line is a 95 % interval).
#
# ### Prediction 17.a: how soon?
#
# One false alarm in 500 stories, and a surge in which 40 % of the stories are bad and not 15 %.

# %%
guess = course.predict(
    "17.a", "after how many stories of the surge does the CUSUM raise the alarm (median of 500 "
    "runs)?", guess=None, low=0, high=200, unit="stories",
)


# %%
def surge(chart, h, p, runs=500, longest=2000):
    """(mean, median, share without an alarm) of the stories until the alarm at the rate p."""
    found = delays(chart((rng.random((runs, longest)) < p).astype(int)), h)
    alarms = np.isfinite(found).sum()
    mean = np.minimum(found, longest).sum() / alarms if alarms else math.inf
    return mean, np.median(found), np.isinf(found).mean()


open_surge = {name: surge(chart, h[name], rate(0.4)) for name, chart in charts.items()}
guess.reveal(float(open_surge["CUSUM"][1]))
for name, (mean, median, never) in open_surge.items():
    print(f"{name}: mean {mean:.1f}, median {median:.0f}, never {never:.1%}")
p = rate(0.4)
drift = p * math.log(p1 / p0) + (1 - p) * math.log((1 - p1) / (1 - p0))
print(f"h / drift = {h['CUSUM'] / drift:.1f}")
course.claim("17.delay", found=open_surge, theory=h["CUSUM"] / drift)
figures.two_charts({name: chart(ours) for name, chart in charts.items()}, h, begin)

# %% [markdown]
# *The figure: both charts on the stream of section 1, their thresholds, and the first alarm after
# the beginning of the surge.*
#
# At equal promises the two charts are about equally fast here, with this `lam`. `drift` is what an
# item of the surge adds to the CUSUM on average, so it climbs to `h` in about `h / drift` items.
# Appendix B moves the threshold and the surge, and takes the upper end of the interval for `p0`.
#
# ## 5 · Somebody hides the surge
#
# Now somebody writes, or passes on, the bad headlines on trade, and would like the desk to
# sleep. He may ask the sensor up to 30 times about a headline and change at most **two words**: a
# slip of the fingers (two neighbouring letters swapped, one dropped, inserted or replaced), or
# another word of the same group in the table of the world (a coarse table: "orders fell" may become
# "shipments decreased"). As a control, slips at random.
#
# ### Prediction 17.b: what the sensor reports
#
# In the surge 40 % of the stories on trade are bad, and now *each of them* has slips that were
# chosen against the sensor. In calm times it calls the share `p0` of the stories bad (section 1).

# %%
guess = course.predict("17.b", "which share of the stories of the hidden surge does it call bad?",
                       guess=None, low=0, high=60, unit="%")

# %%
attacks = {"slips": workshop.slips(), "known words": workshop.substitutes()}


def ways(victim):
    """Bad headlines as they are, with two random slips, and disguised against this sensor."""
    return {"as it is": bad_texts, "random slips": workshop.mistyped(bad_texts, 2, seed=0)} | {
        name: workshop.hidden(victim, attack, bad_texts) for name, attack in attacks.items()}


sent = {"news-clean": ways(victim)}
seen = {"news-clean": {how: bad(victim, texts).mean() for how, texts in sent["news-clean"].items()}}
blind = seen["news-clean"]["slips"]
guess.reveal(100 * rate(0.4, blind))
for how, texts in sent["news-clean"].items():
    print(f"{how:12} seen {seen['news-clean'][how]:6.1%}   {texts[1]}")

# %%
hidden = {}
for part in (0.0, 0.5, 1.0):
    p = rate(0.4, part * blind + (1 - part) * hit)
    for name, chart in charts.items():
        hidden[name, part] = surge(chart, h[name], p)
        mean, median, never = hidden[name, part]
        print(f"{part:4.0%} disguised, rate {p:.3f}, {name}: median {median:.0f}, "
              f"never {never:.0%} in 2,000 stories")
course.claim("17.hidden", p0=p0, rate=rate(0.4, blind), hidden=hidden)

# %% [markdown]
# **The attacked surge looks calmer than calm.** There are more bad stories than usual, and the
# sensor calls fewer bad. (The few runs that end do so by chance, as in calm times. A median says
# nothing about runs that never end: report both.) Would a lower threshold help? Another chart?

# %%
grid = np.arange(0.5, 5.01, 0.5)
p = {"open": rate(0.4), "hidden": rate(0.4, blind), "calm": p0}
statistics = {name: cusum((dice < q).astype(int), p0, p1) for name, q in p.items()}
lengths = {name: [run_length(s, g) for g in grid] for name, s in statistics.items()}
stories = [stream[i] for i in np.flatnonzero(topics == "trade")]
after = workshop.disguised(victim, ours, stories, begin)
course.claim("17.blind", lengths=lengths)
figures.blind({"open": cusum(ours, p0, p1), "hidden": cusum(after, p0, p1)}, h["CUSUM"], begin,
              lengths, grid)

# %% [markdown]
# *The figure: left, the CUSUM of the same stream, with the bad stories of the surge as they are and
# disguised. Right, the mean number of stories until an alarm at each threshold: in the open surge,
# in calm times, and in the hidden surge; each curve comes from 2.5 million stories, so a mean of
# 100,000 rests on 25 alarms.*
#
# At *every* threshold the hidden surge takes longer to raise an alarm than no surge at all. The
# EWMA does not help: fewer items 1 mean a later alarm in every chart that rises with them. **A
# chart that waits for a rise cannot repair a blind sensor.** (One that waits for a fall, too? And
# who floods the monitor, or fakes a surge? Appendix D.)
#
# ## 6 · A better sensor
#
# Lesson 08: train on what the attacker does. `news-robust` has read the same 5,000 headlines as
# `news-clean`, with random slips and with known words in turn, and for longer: 10 epochs in place
# of 6. The attacker attacks *it*, anew. And a new sensor has other rates, hence another `p0`,
# another `p1` and other thresholds.

# %%
robust = advlib.load_classifier("news-robust")
sent["news-robust"] = ways(robust)
seen["news-robust"] = {how: bad(robust, texts).mean() for how, texts in sent["news-robust"].items()}
false_of = {"news-clean": false, "news-robust": bad(robust, other_texts).mean()}
for name, rates in seen.items():
    print(f"{name:11} false {false_of[name]:.1%};", ", ".join(f"{how} {r:.1%}" for how, r in
                                                               rates.items()))
course.claim("17.robust", seen=seen, false=false_of)
figures.seen(seen, n)

# %% [markdown]
# *The figure: the share of bad headlines that each sensor sees, as they are, with two random slips,
# and disguised against that very sensor; with 95 % intervals.*
#
# Training brings most of the known words back; chosen slips stay the harder attack. (It is not the
# longer training alone: three trainings of a control, as long but with no changed headline, are in
# [docs/results/monitor.md](../docs/results/monitor.md).) What remains of the hit rate decides: as
# long as the attacked surge lies above `p0`, a chart that waits for a rise sees it, only later; at
# `p0` or below it does not.
#
# ## 7 · A second thing to watch
#
# A disguise leaves traces. Typos are rare in headlines, and typos *in words that the monitor
# knows* rarer still. Why not count all unknown words? In real news each new company is one (here
# not, so section 8 comes back to it). A **near miss** is an unknown word that becomes a known one
# if one slip is undone: two neighbouring letters swapped back, a letter taken out, put in or
# replaced. We take the test of the library (you write one in appendix E). Journalists mistype as
# well. So that calm times have near misses, `typed` puts one random slip into every thirtieth
# headline, from here on into all that have no slips yet.


# %%
def misses(texts, test=workshop.SLIP):
    """1 where a text has a near miss, else 0; (texts,)."""
    return np.array([test(text) for text in texts]).astype(int)


typed = workshop.typed
q0 = misses(typed(other_texts)).mean()
q1 = 3 * q0 / (1 + 2 * q0)
only_swaps = library.NearMiss(workshop.KNOWN, ("swap",))
traces = {how: misses(sent["news-clean"][how]).mean() for how in ("slips", "known words")}
print(f"near misses: calm {q0:.1%};", ", ".join(f"{how} {r:.1%}" for how, r in traces.items()))
swaps = misses(sent["news-clean"]["slips"], only_swaps).mean()
print(f"a test that knows swaps alone finds {swaps:.1%} of the slips")
course.claim("17.traces", q0=q0, traces=traces, swaps=swaps)

# %% [markdown]
# The second chart sees what blinds the first. (Only if it looks for the right slips: see the last
# line.) But two charts give two kinds of false alarms.

# %%
def second(items):
    return cusum(items, q0, q1)


both = np.stack([dice < p0, rng.random(dice.shape) < q0], axis=-1).astype(int)
joint = {}
for times in (1, 2):
    heights = [calibrate(charts["CUSUM"], p0, times * between, rng),
               calibrate(second, q0, times * between, rng)]
    first_alarm = np.minimum(delays(charts["CUSUM"](both[..., 0]), heights[0]),
                             delays(second(both[..., 1]), heights[1]))
    joint[times] = np.minimum(first_alarm, dice.shape[1]).sum() / np.isfinite(first_alarm).sum()
    print(f"each chart {times * between} stories between false alarms: together {joint[times]:.0f}")
course.claim("17.joint", joint=joint, between=between)

# %% [markdown]
# Two charts at 500 each give a false alarm every 250 stories or so. So each is asked for twice as
# many: with $m$ charts at $m\cdot\texttt{between}$ the rates of their false alarms add up to
# $1/\texttt{between}$ (Bonferroni). The two streams of this cell are drawn independent of each
# other.
#
# ## 8 · An attacker who knows it
#
# The attacks of section 5 know the sensor, not the second chart. Whoever knows that chart runs the
# same test at home, and keeps only what it does not find: **two slips in one word**, in at most two
# words, again with 30 questions. As a control, slips of this kind at random.

# %%
sensors = {"news-clean": victim, "news-robust": robust}
unnoticed = {"chosen": {}, "random": {}}
for name, sensor in sensors.items():
    sent[name]["two slips"] = workshop.hidden(sensor, workshop.two_slips(), bad_texts)
    for how, texts in {"chosen": sent[name]["two slips"], "random": workshop.mistyped(
            bad_texts, 2, seed=0, slips=workshop.unnoticed)}.items():
        on_trade = np.mean([workshop.topic(text) == "trade" for text in texts])
        unnoticed[how][name] = bad(sensor, texts).mean(), misses(texts).mean()
        print(f"{name:11} two slips, {how}: seen {unnoticed[how][name][0]:5.1%}, near misses "
              f"{unnoticed[how][name][1]:.1%}, still on trade {on_trade:.1%}   {texts[1]}")

# %% [markdown]
# Where such a word told the topic, the story leaves the chart of trade: a second effect, with a
# column of its own. Now all attacks against each sensor, and each row with the same promise.


# %%
def readings(sensor, texts):
    """(texts, 3): bad news, near miss, any unknown word."""
    return np.stack([bad(sensor, texts), misses(texts), misses(texts, workshop.unknown)], axis=1)


read = {}  # what each sensor, and the other two tests, make of the headlines
for name, sensor in sensors.items():
    slips, two = sent[name]["slips"], sent[name]["two slips"]
    columns = {"other": typed(other_texts), "no surge": typed(bad_texts),
               "as it is": typed(bad_texts), "slips": slips,
               "known words": typed(sent[name]["known words"]), "two slips": two,
               "lost topics off": [text for text in two if workshop.topic(text) == "trade"]}
    read[name] = {how: readings(sensor, texts) for how, texts in columns.items()}


def watch(read, kinds):
    """What the alarms of charts on these kinds of readings come to: column -> (mean, never)."""
    return workshop.watch(read, kinds, n, cusum, calibrate, between, rng)


found = {}
for name in sensors:
    found[name] = watch(read[name], kinds=[0])
    found[name + " + near misses"] = watch(read[name], kinds=[0, 1])
course.claim("17.together", found=found)
course.claim("17.evaded", found=found, unnoticed=unnoticed)
figures.matrix(found)

# %% [markdown]
# *The figure: the mean number of stories until the alarm, by what watches (rows) and by how the
# surge is hidden (columns); the darker, the later. "No surge", without colour, is the time between
# false alarms. Runs end after 1,500 stories; where more than half have no alarm by then, their
# share stands there in place of the mean. In the last column stories that lost their topic are off
# the chart.*
#
# <details><summary>What you should see</summary>
#
# The plain sensor alone sees the open surge after some twenty stories, and next to nothing of the
# one with slips. The near misses catch those faster than the open surge: nearly every headline has
# one. Against known words they do harm: nothing is misspelt there, and of two charts each has a
# higher threshold. There only the trained sensor helps. Two slips in a word take the plain sensor
# far below `p0`. The trained one still sees about a third (of 150 headlines, so ± 8 points): its
# rate stays near `p0`, and alone it takes about as long as with no surge, a tie. Lost topics take
# it below; so do more words: where 30 % of them may change, three trainings end in "never"
# ([docs/results/monitor.md](../docs/results/monitor.md), "unnoticed"). The second chart cannot
# help: this attacker makes no other slips, so near misses are even rarer than in calm times.
#
# </details>
#
# **The next move** is a chart of *any* unknown word.

# %%
found["news-robust + unknown words"] = watch(read["news-robust"], kinds=[0, 2])
for how, (mean, never) in found["news-robust + unknown words"].items():
    print(f"{how:16} mean {mean:.0f}, never {never:.0%}")
course.claim("17.unknown", found=found["news-robust + unknown words"])

# %% [markdown]
# It stops him here, where even the names of companies are known words. Of real headlines more than
# half have an unknown word as they are: alone, at one false alarm in 1,000, such a chart takes 43
# stories there, and 5 here ([docs/results/monitor.md](../docs/results/monitor.md)). And slips that
# give another *known* word pass it; here there are few. Report a defence with the best attack of
# somebody who knows it.
#
# ## 9 · The program
#
# `make monitor` starts the whole of it ([docs/monitor.md](../docs/monitor.md)): it reads feeds, or
# plays this world. It takes the upper end for `p0` from the first 100 stories of each topic, and
# runs *four* charts on each (bad news and near misses, CUSUM and EWMA), every one at four times
# `between`. An alarm says *which* chart raised it.
#
# ```
# make monitor ARGS="--play hidden --model news-clean"
# ```
#
# ## Recap
#
# - A **CUSUM** is the largest log-likelihood ratio over all points at which the rise may have
#   begun; an **EWMA** is a mean that forgets, with a variance that one can write down.
# - A threshold is a promise: so many items between false alarms. Detectors are compared at equal
#   promises, and $m$ charts share one promise at $m$ times the length each.
# - A disguised surge can look calmer than calm, and then no chart *that waits for a rise* sees it
#   sooner than a false alarm.
# - Training the sensor helps most against known words, a chart on near misses against slips alone.
#   Each covers a hole of the other, as long as the attacker does not know the second chart. One who
#   knows it, and may make two slips in a word, leaves no near miss.
#
# ## What could go wrong
#
# - **Medians hide censored runs.** A median looks the same whether the slowest third of the
#   runs took a while or never ended. Say both; for a mean, divide all items seen by all alarms.
# - **p0 from a short history**, or from a history that had a surge in it: the promise is off, and
#   nobody notices until alarms come too often, or none. Calm drifts, too: measure it again.
# - **A surge measured in stories, a duty measured in hours.** Twenty stories are an hour on one
#   topic and a week on another. Say which one you promise.
#
# ## Further reading
#
# - E. S. Page, *Continuous Inspection Schemes*, Biometrika 41 (1954), 100–115.
# - S. W. Roberts, *Control Chart Tests Based on Geometric Moving Averages*, Technometrics 1 (1959),
#   239–250.
# - G. Lorden, *Procedures for Reacting to a Change in Distribution*, Annals of Mathematical
#   Statistics 42 (1971), 1897–1908.
# - R. P. Adams, D. J. C. MacKay, *Bayesian Online Changepoint Detection*, 2007, arXiv 0710.3742.
# - M. Li, Y. Yu, *Adversarially Robust Change Point Detection*, NeurIPS 2021. Hides and fakes
#   changes in the numbers themselves.
# - Y. Xie et al., *A Word is Worth A Thousand Dollars: Adversarial Attack on Tweets Fools Stock
#   Prediction*, NAACL 2022, arXiv 2205.01094. One replaced word, three predictors, and a loss.
# - P. Malo, A. Sinha, P. Korhonen, J. Wallenius, P. Takala, *Good Debt or Bad Debt: Detecting
#   Semantic Orientations in Economic Texts*, JASIST 65(4), 2014, arXiv 1307.5336. Real
#   headlines, with no dates. The licence, CC BY-NC-SA 3.0, lets nobody ship them here; download
#   them, and the monitor plays them (`--data`). What sensors withstand there:
#   [docs/results/monitor-phrasebank.md](../docs/results/monitor-phrasebank.md).
# - A. Z. Broder, *On the Resemblance and Containment of Documents*, SEQUENCES 1997.
#
# > **Ethics** The threat model: somebody who writes or passes on headlines may ask the sensor up to
# > 30 times about each, changes at most two words (one slip in each, in section 8 two; whether
# > readers still understand them was not tested), adds harmless or invented stories, and knows the
# > thresholds; the second chart he knows in section 8 alone. He does not touch the monitor itself.
# > All companies are invented. To hide or to invent news that moves prices is fraud in most
# > countries. This page is for those who keep watch, and its alarm is a reason to read, none to
# > trade.

# %% [markdown]
# ## Appendix A (optional, 11 min): how far an EWMA wanders
#
# Written out, $z_n$ is a weighted sum of independent items, with the weight
# $\texttt{lam}(1-\texttt{lam})^{i}$ for the one that is $i$ items old. Variances of independent
# terms add, with squared weights:
#
# $$\operatorname{Var}(z_n)=p_0(1-p_0)\,\sum_{i=0}^{n-1}\texttt{lam}^2(1-\texttt{lam})^{2i}.$$
#
# ### Exercise 17.2: the EWMA and its variance · ●●○ · 7 min
#
# Write `ewma(items, p0, lam)`. Return `(z, variance)`: `z`, an array of the shape of `items`, has
# the mean after each item; `variance`, an array `(n,)`, the variance of `z` in calm times after 1,
# 2, …, n items.
#
# <details><summary>Hint</summary>
#
# A geometric series with the ratio $(1-\texttt{lam})^2$: the sum is
# $\frac{\texttt{lam}}{2-\texttt{lam}}\bigl(1-(1-\texttt{lam})^{2n}\bigr)$. (Or add the weights up
# with `np.cumsum`.)
#
# </details>


# %%
def ewma(items, p0, lam):
    """(z, variance): the mean after each item, and its variance in calm times."""
    # SOLUTION


ewma = course.exercise("17.2", ewma)

# %%
own, variance = ewma(calm, p0, lam)
apart = abs(own - z).max()
print(f"largest difference from advlib.systems.charts: {apart:.1e}")
print(f"variance after 5 items {variance[4]:.6f}, simulated {z[:, 4].var():.6f}; "
      f"after 1500 {variance[-1]:.6f}, simulated {z[:, -1].var():.6f}")
course.claim("17.ewma", apart=apart, formula=variance[[4, -1]],
             simulated=z[:, [4, -1]].var(axis=0))

# %% [markdown]
# ## Appendix B (optional, 7 min): you pay for every false alarm that you avoid
#
# At the rate `p1` the drift of section 4 is the Kullback–Leibler divergence of `p1` from `p0`.
# Lorden showed in 1971 that no alarm with the same promise can be much faster, for large `h`.

# %%
late = (rng.random((300, 800)) < rate(0.4)).astype(int)
figures.thresholds(cusum(calm, p0, p1), cusum(late, p0, p1), cusum(ours, p0, p1), begin, h["CUSUM"])

# %% [markdown]
# *The figure: left, the CUSUM of the stream and a threshold. Right, on a log scale, the mean number
# of stories between false alarms and until the surge is seen, over the threshold (the title gives
# the median of the surge). The widget below moves the threshold, and the share of bad news.*

# %%
figures.explore_thresholds({share: rate(share) for share in (0.2, 0.3, 0.4, 0.6)}, p0, p1,
                           h["CUSUM"])

# %% [markdown]
# Who knows `p0` from 100 stories alone may take the upper end of its interval, to be safe. What
# does that cost? The control is a chart that knows `p0`, at the promise that then comes out.

# %%
upper = p0 + 1.96 * math.sqrt(p0 * (1 - p0) / 100)


def wary(items):
    """A CUSUM that takes the upper end for the calm rate."""
    return cusum(items, upper, 3 * upper / (1 + 2 * upper))


h_wary = calibrate(wary, upper, between, rng)
kept = run_length(wary((dice < p0).astype(int)), h_wary)  # at the true rate
h_strict = calibrate(charts["CUSUM"], p0, round(kept), rng)
cost = {f"p0 known, promise {between}": open_surge["CUSUM"][0],
        f"p0 known, promise {kept:.0f}": surge(charts["CUSUM"], h_strict, rate(0.4))[0],
        f"{upper:.1%} for p0, promise {between}": surge(wary, h_wary, rate(0.4))[0]}
for name, mean in cost.items():
    print(f"{name:27} surge seen after {mean:.1f} stories (mean)")
course.claim("17.wary", kept=kept, cost=list(cost.values()), between=between)

# %% [markdown]
# So being wary is mostly a promise of another length: false alarms become about ten times as rare,
# and that is what delays the alarm. Little of it comes from the wrong `p0`.

# %% [markdown]
# ## Appendix C (optional, 6 min): one story, told again
#
# The promise of section 4 is for independent items. News is not: one agency sends a story, and the
# others repeat it in other words. In the world some stories are such copies. What does that do to
# the promise, and does it help to count each story once, as far as copies are recognised? A copy is
# then taken out before the charts, and "stories" are what is left.

# %%
share_of_copies = 0.3
items, copied = workshop.told_again(rng, (dice < p0).astype(int), share_of_copies)
told = {name: run_length(chart(items), h[name]) for name, chart in charts.items()}
wire = news.stories(profile.pick(800, 3000), "wire", copies=share_of_copies)
first = workshop.original(wire)
is_copy = np.array([bool(story.copy_of) for story in wire])
repeats = np.array([j != i for i, j in enumerate(first)])
found, wrongly = repeats[is_copy].mean(), repeats[~is_copy].mean()
counted = workshop.counted_once(rng, items, copied, found, wrongly)
once = {name: run_length(chart(counted), h[name]) for name, chart in charts.items()}
print(f"copies found {found:.1%}; other stories taken for copies {wrongly:.1%}")
for name in charts:
    print(f"{name}: {told[name]:.0f} stories between false alarms where 30 % are copies, "
          f"{once[name]:.0f} where a story counts once (promised {between})")
course.claim("17.copies", told=told, once=once, promised=promised, found=found, wrongly=wrongly)

# %% [markdown]
# Copies of a bad story come together, so false alarms come more often. Counting once gives most of
# the promise back, not all, for some copies are missed. A headline is a copy if, on the same topic
# and within twelve hours, there was one with the same sentiment, the same names and numbers, and at
# least half of all words in common (Broder's **resemblance**; `near_duplicate`). The sentiment
# belongs to it: else somebody sends a harmless twin first, and the bad story counts as its copy.

# %% [markdown]
# ## Appendix D (optional, 14 min): a fall, floods and fakes
#
# The hidden surge of section 5 is "calmer than calm", and that is news, too: the rate *falls*. A
# CUSUM of the zeros waits for a fall, here to a third of the odds. Let either of the two raise the
# alarm, at one threshold, with the same promise:

# %%
p_low = p0 / (3 - 2 * p0)  # a third of the odds


def either(items):
    """The larger of two: a CUSUM that waits for a rise, and one that waits for a fall."""
    # The rate of zeros is 1 - p0 in calm times, and rises to 1 - p_low where that of ones falls.
    return np.maximum(cusum(items, p0, p1), cusum(1 - items, 1 - p0, 1 - p_low))


h_either = calibrate(either, p0, between, rng)
part = (rate(0.4) - p0) / (0.4 * (hit - blind))  # of the bad stories: then the rate stays at p0
two_sided = {name: surge(either, h_either, q) for name, q in {
    "calm": p0, "open surge": rate(0.4), "all hidden": rate(0.4, blind),
    f"{part:.0%} hidden": rate(0.4, part * blind + (1 - part) * hit)}.items()}
for name, (mean, median, never) in two_sided.items():
    print(f"{name:10} mean {mean:.0f}, median {median:.0f} stories to an alarm, never {never:.0%}")
course.claim("17.either", found=list(two_sided.values()))

# %% [markdown]
# It sees the surge that is hidden whole: later than an open one, and it says only "something is
# different". The attacker's answer is the last row. He hides just so many of the bad stories that
# the rate stays at `p0`, and then this stream of 0 and 1 looks like a calm one to any chart: **one
# that waits for both is evaded at `p0`.**
#
# ### Floods and fakes
#
# Who cannot change the headlines can add some. **Flood**: for each story on trade `k` harmless
# ones, all different. The rate falls, `rate / (1 + k)` if all of them are read as harmless:

# %%
flooded = {}
for k in (0, 1, 3):
    p = (rate(0.4) + k * false) / (1 + k)
    mean, median, never = flooded[k] = surge(charts["CUSUM"], h["CUSUM"], p)
    print(f"{k} harmless for each: rate {p:.3f}, median {median:.0f} stories "
          f"({median / (1 + k):.0f} of them real ones), never {never:.0%}; "
          f"rise or fall: median {surge(either, h_either, p)[1]:.0f}")
course.claim("17.flood", flooded=flooded, p0=p0)

# %% [markdown]
# Three for each take the rate below `p0`: one more case that only a chart for both sides sees. A
# flood has a price per story, and it is loud: the *number* of stories is a stream of its own.
# **Fake**: nothing happened, and somebody invents bad stories, in a row, each with other names and
# numbers, so that they are no copies.
#
# ### Exercise 17.4: how many fakes are enough · ●○○ · 4 min
#
# Write `fakes_needed(h, p0, p1, at=0.0)`: the least number of bad stories in a row, an `int`, that
# take a CUSUM from the value `at` to `h` or above. Where it is there already, that is 0.
#
# <details><summary>Hint</summary>
#
# Each fake adds the same. Divide, and round up.
#
# </details>


# %%
def fakes_needed(h, p0, p1, at=0.0):
    """The least number of bad stories in a row that take the CUSUM from `at` to h."""
    # SOLUTION


fakes_needed = course.exercise("17.4", fakes_needed)

# %% [markdown]
# ### Prediction 17.c: the price of a false alarm
#
# Your own chart, one false alarm in 500 stories. It stands at 0, and every fake is read as bad.

# %%
guess = course.predict("17.c", "how many fakes in a row raise the alarm?", guess=None, low=1,
                       high=60, unit="stories")

# %%
guess.reveal(fakes_needed(h["CUSUM"], p0, p1))
fakes, soon = {}, {}
for promise in (100, 500, 2500):
    height = calibrate(charts["CUSUM"], p0, promise, rng)
    fakes[promise] = fakes_needed(height, p0, p1)
    soon[promise] = surge(charts["CUSUM"], height, rate(0.4))[0]
    print(f"one false alarm in {promise:4} stories: threshold {height:.2f}, {fakes[promise]} fakes "
          f"are enough, a surge is seen after {soon[promise]:.0f} stories")
spread, by_chance = {}, {}
for gap in (0, 3, 10, 30):  # real, calm stories after each fake
    x = (rng.random((500, 60 * (gap + 1))) < p0).astype(int)
    alone = delays(cusum(x, p0, p1), h["CUSUM"])  # the control: the same stories, no fake
    x[:, :: gap + 1] = 1
    spread[gap] = np.median(np.ceil(delays(cusum(x, p0, p1), h["CUSUM"]) / (gap + 1)))
    by_chance[gap] = (alone <= spread[gap] * (gap + 1)).mean()
    print(f"{gap:2} real stories after each fake: {spread[gap]:.0f} fakes (median); by then "
          f"{by_chance[gap]:.0%} of the streams without fakes have an alarm, too")
calm_drift = p0 * math.log(p1 / p0) + (1 - p0) * math.log((1 - p1) / (1 - p0))
print(f"a fake adds {math.log(p1 / p0):.2f}, a calm story {calm_drift:.2f} on average")
course.claim("17.fakes", fakes=fakes, soon=soon, spread=spread, by_chance=by_chance)

# %% [markdown]
# A handful, if they come in a row. A few calm stories between them pull the chart down, so more are
# needed, but not many: a chart at 0 falls no further. With many between them the number says
# little, for false alarms do a part of the work (the control). No threshold is a way out: fakes and
# delay both grow with `h`. What helps is outside the chart: sources that are known, at most so many
# stories of one source, a person who reads the items *behind* the alarm (the program shows them).

# %% [markdown]
# ## Appendix E (optional, 12 min): a test for near misses
#
# ### Exercise 17.5: a near miss · ●●● · 8 min
#
# Complete `near_miss(text, vocabulary)`: `True` or `False`, whether some word of the text is a near
# miss. Words are runs of the letters a to z, in small letters or capitals; `vocabulary` is a set of
# words in small letters, and stays as it is. A word is a near miss if it has four letters or more,
# is not in the vocabulary, and a known word comes out when **one** slip is undone: two neighbouring
# letters changed places, there is a letter too many, one is missing, or one is another letter. The
# slip may be anywhere in the word, and the word anywhere in the text.
#
# <details><summary>Hint</summary>
#
# 1: `a + b[1:]` undoes a letter too many, `a + c + b` a missing `c`; the swap needs two letters in
# `b`. 2: `&` is what two sets share; a word that is no near miss says nothing on those after it.
#
# </details>

# %%
import re


def near_miss(text, vocabulary):
    """Whether a word is not known, and one slip away from a known one."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for w in re.findall("[a-z]+", text.lower()):
        if len(w) < 4 or w in vocabulary:
            continue
        cuts = [(w[:i], w[i:]) for i in range(len(w) + 1)]
        # 1. the set of all words that `w` may have been before one slip
        # SOLUTION
        meant = {a + b[1] + b[0] + b[2:] for a, b in cuts if len(b) > 1}
        meant |= {a + b[1:] for a, b in cuts if b}
        meant |= {a + c + b for a, b in cuts for c in letters}
        meant |= {a + c + b[1:] for a, b in cuts if b for c in letters}
        # END SOLUTION
        # 2. is one of them known?
        # SOLUTION
        if meant & vocabulary:
            return True
        # END SOLUTION
    return False


near_miss = course.exercise("17.5", near_miss)

# %%
test = library.NearMiss(workshop.KNOWN, workshop.KINDS)
for how in ("random slips", "slips", "known words"):
    yours = misses(sent["news-clean"][how], lambda text: near_miss(text, workshop.KNOWN))
    print(f"{how:12} your test finds {yours.mean():.1%}, the library's "
          f"{misses(sent['news-clean'][how], test).mean():.1%}")
yours, theirs = ([word for word in ("fll", "nd") if find(word)] for find in (
    lambda text: near_miss(text, workshop.KNOWN), test))
print("of fll and nd your test finds", yours, "and the library's", theirs)
course.claim("17.tests", yours=yours, theirs=theirs)

# %% [markdown]
# The library asks for four letters of the word that was *meant*, so it finds "fll" for "fell". Each
# rule has such an edge, and an attacker looks for it: slips in words of two letters pass both
# tests.

# %%
course.progress("17")
