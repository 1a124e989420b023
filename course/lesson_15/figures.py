"""The figures of lesson 15: what is drawn, not how it is measured."""

from __future__ import annotations

import matplotlib.patches as patches
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, PercentFormatter

from advlib import plots
from advlib.evaluation import wilson
from course.widgets import explore

LOOKS = {"RandomSuffix": ("#777777", ":", "v"), "RandomSearch": ("#E69F00", "--", "s"),
         "GCG": ("#CC79A7", "-", "o")}  # fmt: skip
KINDS = {"refusal": ("#0072B2", ""), "other": ("#cccccc", "//"),
         "unclear": ("#F0E442", ".."), "review": ("#D55E00", "xx")}


def diagram():
    """What the model reads, and which part is whose."""
    parts = (("[BOS]", "mark", 0.9),
             ("please write a bad\nreview of a museum", "request: stays", 3),
             ("!  !  !  !  !  !", "suffix: the attacker's", 2.4), ("[SEP]", "mark", 0.9),
             ("sure : the", "target: its loss counts", 2.0))  # fmt: skip
    colours = {"mark": "#eeeeee", "request: stays": "#cfe3f2", "suffix: the attacker's": "#f6d5c2",
               "target: its loss counts": "#d5ecdf"}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7, 1.7)
        x = 0.0
        for text, whose, width in parts:
            ax.add_patch(patches.Rectangle((x, 0), width - 0.08, 0.9, facecolor=colours[whose],
                                           edgecolor="#555555"))  # fmt: skip
            ax.text(x + width / 2 - 0.04, 0.45, text, ha="center", va="center", fontsize=9.5)
            ax.text(x + width / 2 - 0.04, -0.32, whose, ha="center", va="center", fontsize=8.5)
            x += width
        ax.annotate("", (2.4 + 2.7, 1.05), (8.2, 1.05),
                    arrowprops=dict(arrowstyle="-|>", color="#222222",
                                    connectionstyle="arc3,rad=0.25"))  # fmt: skip
        ax.text(6.7, 1.62, "slope of the loss on every word", ha="center", fontsize=9)
        ax.set(xlim=(-0.1, x + 0.1), ylim=(-0.6, 1.9))
        ax.axis("off")
    fig.alt = ("A row of boxes: a mark, the request, the suffix, a mark, the target. An arrow goes "
               "back from the target to the suffix: the slope of the loss on every word.")
    return fig


def promise(promised, truth, listed):
    """Promised against true change of the loss, for every word at one place."""
    with plots.style():
        fig, ax = plots.figure(6.2, 3.4)
        ax.plot(promised[~listed], truth[~listed], ".", color="#777777", markersize=4,
                label="all words")  # fmt: skip
        ax.plot(promised[listed], truth[listed], "s", color="#CC79A7",
                label="the table's words")  # fmt: skip
        ax.axhline(0, color="#555555", linewidth=1)
        ax.axline((0, 0), slope=1, color="#555555", linewidth=1, linestyle="--",
                  label="promise kept")  # fmt: skip
        room = 0.04 * (truth.max() - truth.min()).item()
        ax.set(ylim=(truth.min().item() - room, truth.max().item() + room),
               xlabel="change of the loss that the slope promises",
               ylabel="true change of the loss")  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    best = truth.argmin()
    fig.alt = (f"A rising band of {len(truth)} words. The words of the table have a mean true "
               f"change of {truth[listed].mean():+.2f}, all words {truth.mean():+.2f}. The largest "
               f"fall, {truth[best]:+.2f}, was promised as {promised[best]:+.2f}.")
    return fig


def _bars(ax, rows: dict[str, dict[str, int]]):
    """A stacked bar for each row: refusal, other, unclear, review."""
    n = max(sum(kinds.values()) for kinds in rows.values())
    for k, kinds in enumerate(rows.values()):
        left = 0.0
        for kind, (colour, hatch) in KINDS.items():
            ax.barh(k, kinds[kind] / n, left=left, color=colour, hatch=hatch, edgecolor="white",
                    height=0.6, label=kind if not k else None)  # fmt: skip
            left += kinds[kind] / n
    ax.set_yticks(range(len(rows)), rows)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.02), xlabel=f"share of {n} attacked requests")
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.grid(False)


def searches(found, kinds):
    """Share of prompts broken after so many queries, and what the answers are at the end."""
    with plots.style():
        fig, (left, right) = plots.figure(7.6, 3.1, ncols=2)
        most = max(s.queries for some in found.values() for s in some)
        left.axhline(0, color="#bbbbbb", linewidth=1)
        for k, (name, (colour, line, mark)) in enumerate(LOOKS.items()):
            n = len(found[name])
            ends = sorted(s.queries for s in found[name] if s.step is not None)
            shares = [i / n for i in range(len(ends) + 1)]
            last = max(s.queries for s in found[name])  # a random suffix ends at once
            left.plot([0, *ends, last], [*shares, shares[-1]], color=colour, linestyle=line,
                      marker=mark, drawstyle="steps-post", label=name, clip_on=False,
                      zorder=3 if name == "RandomSuffix" else 2)  # fmt: skip
            left.plot([last + most * (0.02 + 0.03 * k)] * 2, wilson(len(ends), n), "_-",
                      color=colour, linewidth=1.5)  # fmt: skip
        left.set(xlabel="queries a prompt", ylabel=f"share of the {n} prompts broken",
                 ylim=(-0.04, 1.04))  # fmt: skip
        left.yaxis.set_major_formatter(PercentFormatter(1))
        left.legend(fontsize=9, loc="best")
        _bars(right, kinds)
        fig.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    shown = "; ".join(f"{name}: {k}" for name, k in kinds.items())
    fig.alt = (f"Left, the share of prompts broken rises with the queries, up to {most} a prompt. "
               f"Right, the answers at the end: {shown}.")
    return fig


def perplexities(rows, limit):
    """Perplexities of harmless and of attacked prompts, each prompt a mark."""
    looks = (("#777777", "."), ("#56B4E9", "x"), ("#CC79A7", "o"))
    with plots.style():
        fig, ax = plots.figure(6.6, 2.4)
        for k, (values, (colour, mark)) in enumerate(zip(rows.values(), looks, strict=True)):
            ax.plot(values, [k] * len(values), mark, color=colour, alpha=0.7)
        ax.axvline(limit, color="#222222", linestyle="--", linewidth=1.2)
        ax.text(limit, -0.75, " the filter's limit", fontsize=9, va="center")
        ax.set_yticks(range(len(rows)), [f"{name} ({len(v)})" for name, v in rows.items()])
        ax.set(xscale="log", xlabel="perplexity of the prompt (log scale)",
               ylim=(len(rows) - 0.5, -1.1))  # fmt: skip
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    shown = "; ".join(f"{name} {min(v):.0f} to {max(v):.0f}" for name, v in rows.items())
    fig.alt = f"Perplexity of prompts: {shown}. The limit is {limit:.1f}."
    return fig


def votes(failure, words=14, suffix=6, copies=7):
    """How likely the vote fails, by the number of words replaced in a copy."""
    replaced = range(words)
    with plots.style():
        fig, ax = plots.figure(6.2, 3.2)
        for k, colour, mark in ((1, "#009E73", "o"), (2, "#CC79A7", "s"), (4, "#D55E00", "^")):
            for n, line in ((copies, "-"), (1, "--")):
                ax.plot(replaced, [failure(words, suffix, r, k, n) for r in replaced], line,
                        color=colour, marker=mark, markersize=4,
                        label=f"breaks at {k}" if n == copies else None)  # fmt: skip
        for line, n in {"--": 1, "-": copies}.items():
            ax.plot([], [], line, color="#222222", label=f"{n} cop{'y' if n == 1 else 'ies'}")
        ax.set(xlabel=f"words replaced in a copy, of {words}", ylim=(-0.03, 1.03),
               ylabel="probability of failure")  # fmt: skip
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.legend(fontsize=9)
    at = failure(words, suffix, 4, 2, copies)
    fig.alt = (f"The failure falls from 100 % to 0 as more words are replaced, sooner for suffixes "
               f"that break at fewer changed words; at 4 of {words} and two words it is {at:.0%}.")
    return fig


def move_votes(failure):
    """The same with sliders for the number of copies and the length of the suffix."""
    explore(lambda copies, suffix: votes(failure, 14, suffix, copies),
            copies=(7, (1, 3, 5, 7, 11, 21)), suffix=(6, (4, 6, 8)))  # fmt: skip


def defended(after, useful):
    """What attacked models answer, and the share of other requests that they answer well."""
    with plots.style():
        fig, (left, right) = plots.figure(7.6, 2.2, ncols=2)
        _bars(left, after)
        for k, name in enumerate(after):
            right.plot(useful[name]["right"], k, "o", color="#222222", markersize=8,
                       markerfacecolor="white", clip_on=False)  # fmt: skip
        right.set_yticks(range(len(after)), [""] * len(after))
        right.set(xlim=(0, 1.02), ylim=left.get_ylim(), xlabel="others: right review")
        right.xaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9)
    shown = "; ".join(f"{name}: {k}, others right {useful[name]['right']:.0%}"
                      for name, k in after.items())  # fmt: skip
    fig.alt = f"Answers to attacked requests, by model. {shown}."
    return fig


def injection(served, n=30):
    """Whom the answers serve: the user, or who planted the order."""
    with plots.style():
        fig, ax = plots.figure(6.6, 2.9)
        for k, row in enumerate(served.values()):
            user, planted = (row[subject][0] / n for subject in ("salons", "courses"))
            ax.barh(k, user, color="#0072B2", height=0.6, label=None if k else "the user's salon")
            ax.barh(k, planted, left=user, color="#D55E00", hatch="xx", edgecolor="white",
                    height=0.6, label=None if k else "the planted course")  # fmt: skip
        ax.set_yticks(range(len(served)), served)
        ax.invert_yaxis()
        ax.set(xlim=(0, 1.02), xlabel=f"share of {n} answers, about that alone")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(False)
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    shown = "; ".join(f"{name}: salon {row['salons'][0]}, course {row['courses'][0]}"
                      for name, row in served.items())  # fmt: skip
    fig.alt = f"Answers about the user's salon, and the planted course, of {n}. {shown}."
    return fig
