"""The figures of lesson 14: what is drawn, not how it is measured."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import PercentFormatter

from advlib import plots
from advlib.statistics import wilson
from course.widgets import explore

LOOK = {"plain": (plots.COLOURS["standard"], "o"), "trained": (plots.COLOURS["adversarial"], "s")}
GREY = "#999999"


def gates():
    """The gates, from a model that is trained to its release."""
    stops = [("a model", "2: groups", "a model that treats\none group worse"),
             ("a model", "3: pairs", "a model that goes by\na word it must not"),
             ("an answer", "4: I do not\nknow", "an answer that the\nmodel is unsure of"),
             ("an answer", "B: filter", "an answer that\nmust not leave"),
             ("a release", "5: the card", "a model of which\ntoo little is known")]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(8.4, 2.5)
        ax.set(xlim=(0, 10.2), ylim=(-1.25, 1.5))
        ax.axis("off")
        ax.annotate("", (10.15, 0.45), (0.05, 0.45),
                    arrowprops=dict(arrowstyle="-|>", color="#222222", lw=1.8), zorder=1)
        for k, (where, gate, refuses) in enumerate(stops):
            x = 1.0 + 2.0 * k
            ax.add_patch(FancyBboxPatch((x - 0.68, 0.02), 1.36, 0.86, facecolor="#fff4e0",
                         edgecolor=plots.COLOURS["words"], lw=1.6,
                         boxstyle="round,pad=0.03,rounding_size=0.12", zorder=2))  # fmt: skip
            ax.text(x, 0.45, gate, ha="center", va="center", fontsize=10, zorder=3)
            ax.text(x, 1.2, where, ha="center", va="center", fontsize=11, weight="bold")
            ax.annotate("", (x, -0.5), (x, 0.0),
                        arrowprops=dict(arrowstyle="-|>", color=plots.COLOURS["standard"], lw=1.5))
            ax.text(x, -0.58, refuses, ha="center", va="top", fontsize=9)
    fig.alt = ("A line from left to right with five stops. Two gates judge a model: groups "
               "(section 2) and pairs (3). Two judge an answer: the model says that it does not "
               "know (4), and a filter (appendix B). The last judges a release: the card (5).")
    return fig


def null(outcomes, found):
    """Gaps by chance, and the gap that was seen, for each model."""
    rng = np.random.default_rng(1)
    with plots.style():
        fig, axes = plots.figure(7.2, 2.8, ncols=2, sharey=True)
        said = []
        for ax, (name, (right, groups)) in zip(axes, outcomes.items(), strict=True):
            sizes = np.unique(groups, return_counts=True)[1]
            shares = rng.binomial(sizes, right.mean(), size=(4000, len(sizes))) / sizes
            gaps = np.ptp(shares, axis=1)
            ax.hist(100 * gaps, bins=np.arange(0, 62, 2), color=GREY,
                    weights=np.full(len(gaps), 1 / len(gaps)), label="by chance")
            ax.axvline(100 * found[name][2], color=LOOK[name][0], linestyle="--", lw=2.4,
                       label="as seen")
            ax.set(xlabel="gap, points", title=f"{name}, under FGM")
            ax.title.set_size(11)
            ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            said.append(f"{name}: median {100 * np.median(gaps):.0f}, seen "
                        f"{100 * found[name][2]:.0f} points")
        axes[0].set_ylabel("share of worlds")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = "Gaps between 15 domains by chance and as seen. " + "; ".join(said) + "."
    return fig


def chance(groups: int, texts: int, accuracy: float):
    """How often so many groups of so many texts, all alike, show which gap."""
    rng = np.random.default_rng(2)
    shares = rng.binomial(texts, accuracy, size=(4000, groups)) / texts
    gaps = 100 * np.ptp(shares, axis=1)
    with plots.style():
        fig, ax = plots.figure(5.4, 2.6)
        step = 100 / texts  # gaps are whole numbers of steps: so are the bins
        step *= max(1, round(2 / step))
        ax.hist(gaps, bins=np.arange(-step / 2, 80 + step, step), color=GREY,
                weights=np.full(len(gaps), 1 / len(gaps)))
        ax.axvline(10, color=plots.COLOURS["standard"], linestyle="--")
        ax.set(xlabel="gap by chance, points", ylabel="share of worlds", xlim=(0, 80))
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        more = (gaps >= 10 - 1e-9).mean()  # a tie may be a hair below in floats
        ax.set_title(f"median {np.median(gaps):.0f} points; 10 or more in {more:.0%}", fontsize=11)
    fig.alt = (f"{groups} groups of {texts} texts at {accuracy:.0%}: the gap by chance has a "
               f"median of {np.median(gaps):.0f} points; 10 or more in {more:.0%} of worlds.")
    return fig


def explore_null():
    """Move the number of groups, their size and the accuracy."""
    return explore(chance, groups=(15, (2, 5, 15, 50)), accuracy=(0.725, (0.5, 0.725, 0.9, 0.97)),
                   texts=(40, (10, 40, 100, 200, 400, 500, 1000)))


def kinds(of, right, robust):
    """Accuracy by kind of text, clean and under FGM, with intervals."""
    order = ["direct", "negated", "conceded"]
    with plots.style():
        fig, ax = plots.figure(6.6, 3.2)
        said = []
        for shift, name in ((-0.13, "plain"), (0.13, "trained")):
            colour, mark = LOOK[name]
            for outcome, filled in ((right[name], False), (robust[name], True)):
                for k, kind in enumerate(order):
                    hits, n = int(outcome[of == kind].sum()), int((of == kind).sum())
                    low, high = wilson(hits, n)
                    x = k + shift + (0.05 if filled else -0.05)
                    ax.errorbar(x, hits / n, [[max(0, hits / n - low)], [max(0, high - hits / n)]],
                                fmt=mark, color=colour, capsize=3, markersize=7,
                                markerfacecolor=colour if filled else "white",
                                label=None if k else f"{name}, {'FGM' if filled else 'clean'}")
                    if filled:
                        said.append(f"{name} {kind} {hits / n:.0%}")
        ax.set_xticks(range(3), [f"{kind}\nn = {(of == kind).sum()}" for kind in order])
        ax.set(ylabel="accuracy", ylim=(0, 1.05), xlabel="how the text is built")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9)
    fig.alt = "Accuracy by the way a text is built, under FGM: " + ", ".join(said) + "."
    return fig


def cures(table, n):
    """For every way to train: accuracy where the month agrees and misleads, and flips, of n
    texts."""
    with plots.style():
        fig, axes = plots.figure(8.0, 2.9, ncols=3, sharey=True)
        rows = list(table)[::-1]
        for ax, (key, what) in zip(axes, (("agrees", "right, where\nthe month agrees"),
                                          ("against", "right, where\nit misleads"),
                                          ("flips", "answers that\nit turns")), strict=True):
            values = [table[name][key] for name in rows]
            ends = _ends(values, n)
            ax.barh(range(len(rows)), values, 0.6, color=GREY, xerr=ends, capsize=3)
            for y, value in enumerate(values):
                inside = value > 0.6
                at = value - ends[0][y] if inside else value + ends[1][y]
                ax.annotate(f"{value:.1%}", (at, y), (-4 if inside else 4, 0), va="center",
                            textcoords="offset points", ha="right" if inside else "left")
            ax.set(xlabel=what, xlim=(0, 1.02), xticks=(0, 0.25, 0.5, 0.75))
            ax.xaxis.set_major_formatter(PercentFormatter(1))
            ax.grid(False)
        axes[0].set_yticks(range(len(rows)), rows)
    axes[0].set_title(f"n = {n}", fontsize=10, loc="left")
    fig.alt = (f"Of {n}, right where the month agrees, where it misleads, and turned by it: "
               + "; ".join(f"{name} {row['agrees']:.1%}, {row['against']:.1%}, {row['flips']:.1%}"
                           for name, row in table.items()) + ".")  # fmt: skip
    return fig


def _ends(shares, n):
    """How far 95 % intervals of shares of n reach below and above them, for error bars."""
    ends = [wilson(round(share * n), n) for share in shares]
    return [[max(0, s - low) for s, (low, _) in zip(shares, ends, strict=True)],
            [max(0, high - s) for s, (_, high) in zip(shares, ends, strict=True)]]


def filters(let_out, wrongly, n):
    """What each filter lets out, two ways, and what it holds wrongly, of three kinds; n of each."""
    marks = {"as it is": ("o", "#222222"), "typos": ("s", plots.COLOURS["pgd"])}
    bars_of = {"ordinary": (GREY, ""), "my friend": ("#cfcfcf", ".."),
               "my dentist": ("white", "///")}  # fmt: skip
    names = list(dict.fromkeys(name for name, _ in wrongly))
    with plots.style():
        fig, (ax, below) = plots.figure(6.6, 4.2, nrows=2, sharex=True, height_ratios=(1.6, 1))
        for j, (how, (mark, colour)) in enumerate(marks.items()):
            shares = [let_out[name, how] for name in names]
            ax.errorbar([k + 0.2 * (j - 0.5) for k in range(len(names))], shares, _ends(shares, n),
                        fmt=mark, color=colour, markersize=8, capsize=3, label=how)  # fmt: skip
        for j, (what, (colour, hatch)) in enumerate(bars_of.items()):
            shares = [wrongly[name, what] for name in names]
            below.bar([k + 0.27 * (j - 1) for k in range(len(names))], shares, 0.25, color=colour,
                      edgecolor="#555555", hatch=hatch, yerr=_ends(shares, n), capsize=2,
                      label=f"harmless: {what}")  # fmt: skip
        below.set_xticks(range(len(names)), names)
        for axes, what, top in ((ax, "lets out", 1.08), (below, "holds wrongly", 1.08)):
            axes.set(ylabel=what, ylim=(-0.05 if axes is ax else 0, top))
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_title(f"n = {n}", fontsize=10, loc="left")
        (marks_of, named), (bars, harmless) = (a.get_legend_handles_labels() for a in (ax, below))
        fig.legend(marks_of + bars, named + harmless, loc="outside upper left", ncols=3)
    fig.alt = "; ".join(
        f"{name}: lets out " + ", ".join(f"{let_out[name, how]:.0%} {how}" for how in marks)
        + ", holds wrongly " + ", ".join(f"{wrongly[name, what]:.0%} {what}" for what in bars_of)
        for name in names) + "."  # fmt: skip
    return fig


def scores(calibration, p, labels, thresholds):
    """Scores of the true class in every condition, and the threshold of each alpha."""
    shown = {"calibration": calibration}
    shown |= {when: 1 - q[np.arange(len(q)), labels[: len(q)]] for when, q in p.items()}
    looks = {"calibration": (GREY, "-"), "clean": ("#222222", "--"),
             "FGM": (plots.COLOURS["fgm"], "-."), "other words": (plots.COLOURS["words"], ":")}
    with plots.style():
        fig, ax = plots.figure(6.4, 3.1)
        for name, values in shown.items():
            colour, line = looks[name]
            values = np.sort(np.clip(values, 1e-5, 1))
            ax.step(values, np.arange(1, len(values) + 1) / len(values), where="post",
                    color=colour, linestyle=line, label=name)  # fmt: skip
        for alpha, q in thresholds.items():
            ax.axvline(q, color=plots.COLOURS["standard"], linewidth=1.4)
            ax.annotate(f"q, {1 - alpha:.0%}", (q, 0.02), (4, 0), textcoords="offset points",
                        color=plots.COLOURS["standard"])
        ax.set(xscale="log", xlabel="score of the true class, 1 − p (log scale)",
               ylabel="share of texts at or below", ylim=(0, 1.03))  # fmt: skip
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    fig.alt = "; ".join(
        f"Texts with a score at or below the threshold of {1 - alpha:.0%}: "
        + ", ".join(f"{name} {(values <= q).mean():.0%}" for name, values in shown.items())
        for alpha, q in thresholds.items()) + "."
    return fig


def risk(curves):
    """Risk over coverage for both models, clean and under FGM."""
    with plots.style():
        fig, ax = plots.figure(6.4, 3.2)
        said = []
        for (name, when), (coverage, wrong) in curves.items():
            colour, mark = LOOK[name]
            seen = coverage >= 0.05  # further left one or two texts decide
            ax.plot(coverage[seen], wrong[seen], color=colour, linewidth=2,
                    linestyle="-" if when == "FGM" else "--", marker=mark,
                    markerfacecolor=colour if when == "FGM" else "white",
                    markevery=max(1, len(coverage) // 8), label=f"{name}, {when}")
            said.append(f"{name} {when}: {wrong[-1]:.1%} of all, "
                        f"{wrong[np.searchsorted(coverage, 0.5)]:.1%} of the surest half")
        ax.axvline(0.8, color=GREY, linewidth=1, linestyle="--")
        ax.set(xlabel="coverage: the share of texts that is answered", xlim=(0.05, 1.01),
               ylabel="risk: mistakes among these", ylim=(-0.015, None))
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9,
                   handlelength=3.2)
    fig.alt = "Mistakes among the answers. " + "; ".join(said) + "."
    return fig


def queue(caught, wrong):
    """Mistakes that a person finds in each case."""
    with plots.style():
        fig, ax = plots.figure(6.0, 2.6)
        names = list(caught)
        ax.barh(range(len(names)), list(caught.values()), 0.6, color=GREY)
        for y, value in enumerate(caught.values()):
            ax.annotate(str(value), (value, y), (4, 0), textcoords="offset points", va="center")
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set(xlabel=f"mistakes found in fifteen minutes, of {wrong}", xlim=(0, None))
        ax.margins(x=0.1)
        ax.grid(False)
    fig.alt = f"Mistakes found, of {wrong}: " + ", ".join(
        f"{value} with {name}" for name, value in caught.items()) + "."
    return fig
