"""The figures of lesson 17: what is drawn, not how it is measured."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import PercentFormatter

from advlib import plots
from advlib.statistics import wilson
from advlib.systems.charts import Cusum, delays, path
from course.widgets import explore

RED, BLUE, GREY = plots.COLOURS["standard"], plots.COLOURS["adversarial"], "#999999"
BLACK = "#222222"


def monitor():
    """The parts of the monitor from left to right, and what somebody can do to each."""
    parts = [("feeds", "headlines with\na date", "3 harmless stories for\neach: flooded (D)"),
             ("sensor", "topic, and:\nbad news, 0 or 1", "two words changed:\nhidden (5, 8)"),
             ("once", "a story told again\nis no news", "one story sent\nmany times (C)"),
             ("charts", "one per topic:\nCUSUM, EWMA", "invented stories:\nfaked (D)"),
             ("alarm", "the statistic is\nat its threshold", "")]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(8.8, 2.9)
        ax.set(xlim=(0, 10.6), ylim=(-1.35, 1.35))
        ax.axis("off")
        for k, (name, does, attack) in enumerate(parts):
            x = 1.05 + 2.12 * k
            if k:
                ax.annotate("", (x - 0.83, 0.45), (x - 1.29, 0.45),
                            arrowprops=dict(arrowstyle="-|>", color=BLACK, lw=1.8))
            ax.add_patch(FancyBboxPatch((x - 0.76, 0.02), 1.52, 0.86, facecolor="#eef4fb",
                         edgecolor=BLUE, lw=1.6, boxstyle="round,pad=0.03,rounding_size=0.12"))
            ax.text(x, 0.45, does, ha="center", va="center", fontsize=9)
            ax.text(x, 1.13, name, ha="center", va="center", fontsize=11, weight="bold")
            if attack:
                ax.annotate("", (x, -0.06), (x, -0.56),
                            arrowprops=dict(arrowstyle="-|>", color=RED, lw=1.5))
                ax.text(x, -0.64, attack, ha="center", va="top", fontsize=9, color="#a04400")
    fig.alt = ("Five boxes from left to right: feeds, sensor, once, charts, alarm. From below, "
               "what somebody does: floods the feeds (appendix D), changes two words so that the "
               "sensor does not see bad news (sections 5 and 8), sends one story many times "
               "(appendix C), fakes a surge with invented stories (appendix D).")
    return fig


def _ticks(ax, items, begin, height) -> None:
    """A mark for each bad story on the line of `height`, and a shade from the surge on."""
    ax.axvspan(begin, len(items), color="#fff4e0", zorder=0)
    (at,) = np.nonzero(items)
    ax.plot(at, np.full(len(at), height), "|", color=BLACK, markersize=7, markeredgewidth=1)


def walk(items, statistic, p0, p1, begin):
    """The sum of all log-likelihood ratios with its lowest point so far, and their distance."""
    chart = Cusum(p0, p1)
    total = np.cumsum(np.where(items == 1, chart.up, chart.down))
    lowest = np.minimum(0, np.minimum.accumulate(total))
    with plots.style():
        fig, (ax, below) = plots.figure(7.2, 4.2, nrows=2, sharex=True, height_ratios=(1.5, 1))
        ax.plot(total, color=BLUE, label="sum of all terms")
        ax.plot(lowest, color=BLACK, lw=1.4, linestyle="--", label="its lowest value so far")
        ax.fill_between(range(len(items)), lowest, total, color=BLUE, alpha=0.15, lw=0)
        _ticks(ax, items, begin, max(total) + 3)
        ax.set(ylabel="log-likelihood ratio")
        below.axvspan(begin, len(items), color="#fff4e0", zorder=0)
        below.plot(statistic, color=BLUE)
        below.set(xlabel="stories on trade", ylabel="CUSUM")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (f"Above, the sum of all terms falls to {total.min():.0f} in calm times and rises "
               f"after story {begin}, when the surge begins; the dashed line is its lowest value "
               f"so far. Below, the distance between the two, the CUSUM: at most "
               f"{statistic[:begin].max():.1f} before the surge and {statistic.max():.1f} in it.")
    return fig


def thresholds(calm, surge, shown, begin, h):
    """One stream with its threshold, and what each threshold costs: items between false alarms, and
    items until the alarm of a surge. calm, surge: (runs, items) statistics."""
    n = calm.shape[1]
    grid = np.arange(0.5, 8.01, 0.25)

    def mean(statistic, height) -> float:
        found = delays(statistic, height)
        alarms = np.isfinite(found).sum()
        return np.minimum(found, n).sum() / alarms if alarms else math.nan

    false, late = mean(calm, h), delays(surge, h)
    never = np.isinf(late).mean()
    with plots.style():
        fig, (ax, right) = plots.figure(8.4, 3.0, ncols=2, width_ratios=(1.25, 1))
        ax.axvspan(begin, len(shown), color="#fff4e0", zorder=0)
        ax.plot(shown, color=BLUE)
        ax.axhline(h, color=RED, linestyle="--")
        (at,) = np.nonzero(shown >= h)
        if len(at):
            ax.plot(at[0], shown[at[0]], "v", color=RED, markersize=9)
        ax.set(xlabel="stories on trade", ylabel="CUSUM", ylim=(0, max(9, shown.max() + 0.5)))
        right.plot(grid, [mean(calm, g) for g in grid], color=BLACK, label="between false alarms")
        right.plot(grid, [mean(surge, g) for g in grid], color=BLUE, linestyle="-.",
                   label="until the surge is seen")
        right.axvline(h, color=RED, linestyle="--")
        right.set(xlabel="threshold", ylabel="stories, on average", yscale="log")
        right.legend(fontsize=8, loc="lower right", handlelength=1.6)
        said = "no alarm" if not np.isfinite(false) else f"{false:.0f} stories"
        found = (f"{np.median(late):.0f} (median)" if never < 0.5 else "never, in most runs")
        fig.suptitle(f"threshold {h:.2f}: {said} between false alarms; surge seen after {found}"
                     + (f"; never in {never:.0%}" if 0 < never else ""), fontsize=10.5)
    fig.alt = (f"Left, the CUSUM of a stream with the threshold {h:.2f}. Right, on a log scale, "
               f"the stories between false alarms and until the surge is seen, over the threshold: "
               f"here {said} and {found}.")
    return fig


def explore_thresholds(rates, p0, p1, h):
    """Move the threshold and the surge. rates: share of bad news -> how often the sensor says 1."""
    rng = np.random.default_rng(1)
    chart, n, begin = Cusum(p0, p1), 1500, 300
    dice = rng.random((300, n))
    calm = path(chart, dice < p0)
    one = np.random.default_rng(4).random(450)

    def draw(threshold, surge):
        rate = rates[surge]
        after = np.where(np.arange(450) < begin, p0, rate)
        return thresholds(calm, path(chart, dice[::-1, :800] < rate), path(chart, one < after),
                          begin, threshold)  # fmt: skip

    return explore(draw, threshold=(round(4 * h) / 4, 0.5, 8.0, 0.25),
                   surge=(0.4, tuple(rates)))


def two_charts(statistics, h, begin):
    """CUSUM and EWMA on the same stream, each with its threshold."""
    with plots.style():
        fig, axes = plots.figure(7.2, 3.4, nrows=2, sharex=True)
        said = []
        for ax, (name, s) in zip(axes, statistics.items(), strict=True):
            ax.axvspan(begin, len(s), color="#fff4e0", zorder=0)
            ax.plot(s, color=BLUE)
            ax.axhline(h[name], color=RED, linestyle="--")
            late = delays(s[begin:], h[name])
            if np.isfinite(late):
                ax.plot(begin + late - 1, s[begin + int(late) - 1], "v", color=RED, markersize=9)
            ax.set_ylabel(name)
            said.append(f"{name} {late:.0f} stories after the beginning of the surge")
        axes[1].set_xlabel("stories on trade")
    fig.alt = f"Two charts of one stream, with thresholds. First alarm: {', '.join(said)}."
    return fig


def blind(paths, h, begin, lengths, grid):
    """Left, the CUSUM of one surge, open and hidden; right, run lengths over the threshold."""
    looks = {"open": (BLUE, "-", "o"), "hidden": (RED, "-", "s"), "calm": (BLACK, "--", "^")}
    with plots.style():
        fig, (ax, right) = plots.figure(8.4, 3.1, ncols=2, width_ratios=(1.25, 1))
        ax.axvspan(begin, len(paths["open"]), color="#fff4e0", zorder=0)
        for name, s in paths.items():
            colour, line, mark = looks[name]
            ax.plot(s, color=colour, linestyle=line, marker=mark, markevery=(begin + 5, 25),
                    label=f"surge {name}")
        ax.axhline(h, color=GREY, linestyle="--", lw=1.4)
        ax.annotate("threshold", (2, h), (0, 3), textcoords="offset points", fontsize=9,
                    color="#666666")
        ax.set(xlabel="stories on trade", ylabel="CUSUM")
        ax.legend(loc="upper left", fontsize=9, bbox_to_anchor=(0, 0.85))
        for name, values in lengths.items():
            colour, line, mark = looks[name]
            right.plot(grid, values, color=colour, linestyle=line, marker=mark,
                       label="no surge" if name == "calm" else f"surge {name}")
        right.set(xlabel="threshold", ylabel="stories until an alarm", yscale="log")
        right.legend(fontsize=9)
    fig.alt = (f"Left: the CUSUM of one surge reaches {paths['open'].max():.1f} where it is open "
               f"and {paths['hidden'][begin:].max():.1f} where every bad story is disguised; the "
               f"threshold is {h:.1f}. Right: at every threshold the hidden surge takes longer to "
               "raise an alarm than calm news does.")
    return fig


def matrix(found):
    """For each defence and each way to hide: the mean number of stories until the alarm. found: row
    -> column -> (mean, share of runs without an alarm)."""
    rows, columns = list(found), list(next(iter(found.values())))
    with plots.style():
        fig, ax = plots.figure(9.4, 1.0 + 0.52 * len(rows))
        late = np.array([[math.nan if c == "no surge" else 1e4 if found[r][c][1] > 0.5
                          else min(1500, found[r][c][0]) for c in columns] for r in rows])
        ax.imshow(np.log(late), cmap="Oranges", vmin=math.log(8), vmax=math.log(5e4),
                  aspect="auto")
        said = {}
        for (i, r), (j, c) in ((a, b) for a in enumerate(rows) for b in enumerate(columns)):
            mean, lost = found[r][c]
            said[r, c] = (f"never in {lost:.0%}" if lost > 0.5 else f"{mean:.0f}"
                          + (f" (never {lost:.0%})" if lost >= 0.005 else ""))
            ax.text(j, i, said[r, c], ha="center", va="center", fontsize=9.5,
                    color="white" if lost > 0.5 and c != "no surge" else BLACK)
        ax.axvline(columns.index("no surge") + 0.5, color=GREY, lw=1)
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(rows)), rows)
        ax.tick_params(length=0)
        ax.xaxis.tick_top()
        ax.grid(False)
        ax.spines[:].set_visible(False)
    fig.alt = "Stories until the alarm. " + "; ".join(
        f"{r}: " + ", ".join(f"{c} {said[r, c]}" for c in columns) for r in rows) + "."
    return fig


def seen(table, n):
    """For each sensor: the share of n bad headlines that it still sees, by how they were changed,
    with 95 % intervals."""
    names = list(table)
    ways = list(table[names[0]])
    looks = dict(zip(names, ((RED, "", -0.2), (BLUE, "///", 0.2)), strict=True))
    with plots.style():
        fig, ax = plots.figure(7.2, 2.9)
        for name in names:
            colour, hatch, shift = looks[name]
            for k, way in enumerate(ways):
                value = table[name][way]
                ax.bar(k + shift, value, 0.36, color=colour, hatch=hatch, edgecolor="white",
                       label=None if k else name)  # fmt: skip
                low, high = wilson(round(value * n), n)
                ax.plot([k + shift] * 2, [low, high], color=BLACK, lw=1.4)
                ax.annotate(f"{value:.0%}", (k + shift, high), (0, 2), ha="center",
                            textcoords="offset points", fontsize=9)
        ax.set_xticks(range(len(ways)), ways)
        ax.set(ylabel="bad news seen", ylim=(0, 1.15))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = f"Share of {n} bad headlines that is seen. " + "; ".join(
        f"{name}: " + ", ".join(f"{way} {table[name][way]:.0%}" for way in ways)
        for name in names) + "."  # fmt: skip
    return fig
