"""The figures of lesson 16: what is drawn, not how it is measured."""

from __future__ import annotations

from html import escape

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import PercentFormatter

from advlib import plots
from advlib.fairness import risk_coverage
from course.widgets import Shown, explore

GREY = "#999999"
LOOK = {  # a system's colour and mark, everywhere on the page
    "plain": (plots.COLOURS["standard"], "o"), "trained": (plots.COLOURS["adversarial"], "s"),
    "letters + plain": (plots.COLOURS["words"], "^"),
    "letters + trained": (plots.COLOURS["fgm"], "D"),
}  # fmt: skip


def assistant():
    """The way of a question, and who attacks it where."""
    boxes = [(1.1, 2.2, "question", "#ffffff"), (3.6, 2.2, "intent and\nconfidence", "#e8f1fa"),
             (6.3, 2.2, "sure and\nlike enough?", "#fff4e0"),
             (9.0, 2.2, "answer of\nthe intent", "#ffffff"),
             (3.6, 0.4, "past questions\nin SQLite", "#e8f1fa"),
             (6.3, 0.4, "clear\nenough?", "#fff4e0"), (9.0, 0.4, "a person", "#ffffff")]
    arrows = [((1.9, 2.2), (2.7, 2.2)), ((4.5, 2.2), (5.5, 2.2)), ((7.1, 2.2), (8.1, 2.2)),
              ((5.7, 1.75), (4.3, 0.9)), ((4.5, 0.4), (5.5, 0.4)), ((7.1, 0.4), (8.1, 0.4)),
              ((7.0, 0.85), (8.3, 1.75))]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(8.2, 3.2)
        ax.set(xlim=(0, 10.2), ylim=(-0.95, 3.35))
        ax.axis("off")
        for x, y, text, colour in boxes:
            ax.add_patch(FancyBboxPatch((x - 0.8, y - 0.4), 1.6, 0.8, facecolor=colour,
                         edgecolor="#555555", boxstyle="round,pad=0.03,rounding_size=0.1"))
            ax.text(x, y, text, ha="center", va="center", fontsize=10)
        for start, end in arrows:
            ax.annotate("", end, start, arrowprops=dict(arrowstyle="-|>", color="#222222", lw=1.4))
        for x, y, text in ((7.6, 2.38, "yes"), (4.75, 1.42, "no"), (7.6, 0.16, "no"),
                           (7.95, 1.15, "yes")):  # fmt: skip
            ax.text(x, y, text, ha="center", fontsize=9)
        orange = plots.COLOURS["standard"]
        for x, y, text in ((1.1, 2.95, "words, typos (5)"), (6.3, 2.95, "other questions (4)"),
                           (3.6, -0.6, "typos (2), FTS5 syntax (3), wrong rows (6)")):  # fmt: skip
            ax.text(x, y, text, ha="center", color=orange, fontsize=9.5)
    fig.alt = ("A question goes to the model for intent and confidence. Sure, and like a past "
               "question: the answer of the intent. If not, past questions in SQLite are looked "
               "up; clear enough: their answer, otherwise a person. In orange what is done to "
               "the parts: to the question other words and typos; to the threshold questions "
               "unlike those it was chosen on; to the store typos, FTS5 syntax and wrong rows.")
    return fig


def stores(found):
    """(store, questions) -> share right: words and trigrams, as written and with typos."""
    kinds = list(dict.fromkeys(kind for kind, _ in found))
    with plots.style():
        fig, ax = plots.figure(5.6, 2.8)
        for shift, when, hatch in ((-0.18, "as written", ""), (0.18, "with typos", "///")):
            values = [found[kind, when] for kind in kinds]
            ax.bar(np.arange(len(kinds)) + shift, values, 0.34, hatch=hatch, label=when,
                   color="white" if hatch else GREY, edgecolor="#555555")  # fmt: skip
            for k, value in enumerate(values):
                ax.annotate(f"{value:.0%}", (k + shift, value), (0, 3), ha="center",
                            textcoords="offset points")  # fmt: skip
        ax.set_xticks(range(len(kinds)), [f"tokenize='{kind}'" for kind in kinds])
        ax.set(ylabel="first row has the intent", ylim=(0, 1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = "The first row has the right intent: " + ", ".join(
        f"{kind} {when} {value:.0%}" for (kind, when), value in found.items()) + "."
    return fig


def injection():
    """One text, read by FTS5 as its language and as data."""
    lines = [("the user's text, as it is", [("pin", 0), ("OR", 1), ("card", 0)],
              "rows that hold either"),
             ("between double quotes", [('"pin OR card"', 0)],
              "rows that hold just these letters in a row")]
    looks = ["#e8f1fa", plots.COLOURS["standard"]]
    with plots.style():
        fig, ax = plots.figure(5.9, 1.9)
        ax.set(xlim=(0, 7.35), ylim=(-0.3, 2.35))
        ax.axis("off")
        for y, (name, parts, means) in zip((1.5, 0.3), lines, strict=True):
            ax.text(0.03, y + 0.45, name, fontsize=9.5, color="#555555")
            x = 0.05
            for part, look in parts:
                wide = 0.3 + 0.125 * len(part)
                ax.add_patch(FancyBboxPatch((x, y - 0.22), wide, 0.5, facecolor=looks[look],
                             edgecolor="#555555", boxstyle="round,pad=0.02,rounding_size=0.08"))
                ax.text(x + wide / 2, y + 0.03, part, ha="center", va="center", fontsize=10,
                        family="monospace", color="white" if look else "#222222")
                x += wide + 0.12
            ax.annotate("", (x + 0.75, y + 0.03), (x + 0.1, y + 0.03),
                        arrowprops=dict(arrowstyle="-|>", color="#222222", lw=1.4))  # fmt: skip
            ax.text(x + 0.9, y + 0.03, means, va="center", fontsize=10)
    fig.alt = ("The text pin OR card. As it is, OR is read as an operator, and rows that hold "
               "either are found. Between double quotes all of it is data, and rows that hold "
               "just these letters in a row are found.")
    return fig


def ballots():
    """Five near rows, counted as rows and by source."""
    rows = [("agent 1", "good"), ("stranger", "wrong"), ("stranger", "wrong"), ("agent 2", "good"),
            ("stranger", "wrong")]  # fmt: skip
    looks = {"good": ("#e8f1fa", "#222222"), "wrong": (plots.COLOURS["standard"], "white")}

    def box(ax, x, y, text, answer, wide=1.5):
        face, ink = looks[answer]
        ax.add_patch(FancyBboxPatch((x - wide / 2, y - 0.2), wide, 0.4, facecolor=face,
                     edgecolor="#555555", boxstyle="round,pad=0.02,rounding_size=0.08"))
        ax.text(x, y, text, ha="center", va="center", fontsize=9.5, color=ink)

    with plots.style():
        fig, ax = plots.figure(8.2, 2.7)
        ax.set(xlim=(0, 10.2), ylim=(-0.4, 3.2))
        ax.axis("off")
        heads = ((1.6, "the nearest rows"), (5.2, "their sources"), (8.3, "the vote"))
        for x, text in heads:
            ax.text(x, 3.0, text, ha="center", fontsize=9.5, color="#555555")
        at = {"agent 1": 2.3, "stranger": 1.2, "agent 2": 0.1}
        for k, (who, answer) in enumerate(rows):
            y = 2.4 - 0.6 * k
            box(ax, 1.6, y, f"{answer} ({who})", answer, 2.3)
            ax.plot((2.85, 4.3), (y, at[who]), color="#999999", lw=1.2)
        for who, y in at.items():
            box(ax, 5.2, y, who, "wrong" if who == "stranger" else "good", 1.6)
        ax.text(8.3, 1.9, "of rows: 3 wrong, 2 good", ha="center", fontsize=10)
        ax.text(8.3, 0.6, "of sources: 1 wrong, 2 good", ha="center", fontsize=10)
    fig.alt = ("Five nearest rows: three wrong ones, all by one stranger, and two good ones by two "
               "agents. A vote of rows is 3 to 2 for the wrong answer, a vote of sources 2 to 1 "
               "for the good one.")
    return fig


def curves(shown, thresholds):
    """Wrong answers over coverage. shown: name -> (confidence, right); thresholds: name -> one,
    marked on every curve."""
    stars = {"loose": dict(marker="*", markersize=15, markeredgecolor="white"),
             "strict": dict(marker="o", markersize=15, fillstyle="none", markeredgewidth=2)}
    looks = [("#222222", "-", "o"), (plots.COLOURS["words"], "--", "^"),
             (plots.COLOURS["standard"], "-.", "s")]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.4, 3.2)
        said = []
        for (name, (sure, right)), (colour, line, mark) in zip(shown.items(), looks, strict=False):
            _, coverage, risk = risk_coverage(sure, right)
            seen = coverage >= 0.05  # further left one or two questions decide
            ax.plot(coverage[seen], risk[seen], color=colour, linestyle=line, marker=mark,
                    markevery=max(1, seen.sum() // 8), label=name)  # fmt: skip
            said.append(f"{name}: {risk[-1]:.0%} wrong where all are answered")
            for which, threshold in thresholds.items():
                answered = sure >= threshold
                if answered.any():
                    wrong = (~right[answered]).mean()
                    ax.plot(answered.mean(), wrong, linestyle="", color=colour, zorder=3,
                            clip_on=False, **stars[which])  # fmt: skip
                    said.append(f"{which}, {name}: {answered.mean():.0%} answered, {wrong:.0%} "
                                "of these wrong")  # fmt: skip
        for which in thresholds:
            ax.plot([], [], linestyle="", color="#555555", label=which, **stars[which])
        ax.axhline(0.05, color=GREY, linestyle="--", linewidth=1)
        ax.annotate("5 %", (0.05, 0.05), (0, 3), textcoords="offset points", color="#555555")
        ax.set(xlabel="coverage: the share of questions that is answered", xlim=(0.04, 1.01),
               ylabel="wrong, of those answered", ylim=(-0.02, None))  # fmt: skip
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=5)
    fig.alt = "Wrong answers over coverage. " + "; ".join(said) + "."
    return fig


THRESHOLDS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)


def explore_threshold(texts, says, truth, sure):
    """All thresholds as lines; one of them with its point on the curve, and the questions that then
    go to a person."""
    sure, right = np.asarray(sure), np.asarray(says) == np.asarray(truth)
    for threshold in THRESHOLDS:
        answered = sure >= threshold
        print(f"threshold {threshold:4}: {int((~answered).sum()):3} to a person, "
              f"{int((~right[answered]).sum()):2} wrong answers left")
    _, coverage, risk = risk_coverage(sure, right)

    def draw(threshold):
        answered = sure >= threshold
        with plots.style():
            fig, ax = plots.figure(5.4, 2.6)
            ax.plot(coverage, risk, color="#222222")
            wrong = (~right[answered]).mean() if answered.any() else 0.0
            ax.plot(answered.mean(), wrong, "*", color=plots.COLOURS["standard"], markersize=16)
            ax.axhline(0.05, color=GREY, linestyle="--", linewidth=1)
            ax.set(xlabel="coverage", ylabel="wrong, of those answered", xlim=(0, 1.01))
            for axis in (ax.xaxis, ax.yaxis):
                axis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.alt = f"{answered.mean():.0%} answered, {wrong:.1%} of these wrong."
        waiting = np.flatnonzero(~answered)
        waiting = waiting[np.argsort(sure[waiting])]
        lines = [f"{'✓' if right[i] else '✗'} {sure[i]:.2f} {says[i]}: {texts[i]}"
                 for i in waiting[:6]]  # fmt: skip
        saved = int((~right[waiting]).sum())
        head = (f"{answered.mean():.0%} answered, {wrong:.1%} of these wrong. To a person: "
                f"{len(waiting)}, of which the model has {saved} wrong (✗), such as")
        return Both(fig, head, lines)

    return explore(draw, threshold=(0.9, THRESHOLDS))


class Both(Shown):
    """A figure with lines below it."""

    def __init__(self, fig, head: str, lines: list[str]):
        from base64 import b64encode

        png, size = fig._repr_png_()
        picture = (f'<img src="data:image/png;base64,{b64encode(png).decode()}" '
                   f'width="{size["width"]}" style="max-width:100%;height:auto" '
                   f'alt="{escape(fig.alt)}">')  # fmt: skip
        rows = "".join(f"<div>{escape(line)}</div>" for line in lines)
        super().__init__(f"{picture}<p>{escape(head)}</p>{rows}", "\n".join([head, *lines]))


def attacks(right, counts):
    """(system, questions) -> share right, for every system and attack; counts: of questions."""
    systems = list(dict.fromkeys(name for name, _ in right))
    ways = list(dict.fromkeys(way for _, way in right))
    with plots.style():
        fig, ax = plots.figure(7.0, 3.2)
        for k, name in enumerate(systems):
            colour, mark = LOOK[name]
            x = np.arange(len(ways)) + 0.13 * (k - (len(systems) - 1) / 2)
            ax.plot(x, [right[name, way] for way in ways], mark, color=colour, markersize=9,
                    label=name)  # fmt: skip
        ax.set_xticks(range(len(ways)), [f"{way}\n{counts[way]} questions" for way in ways])
        ax.set(ylabel="intent right", ylim=(0, 1.05))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    fig.alt = "Intents right: " + "; ".join(
        f"{name} " + ", ".join(f"{right[name, way]:.0%} {way}" for way in ways)
        for name in systems) + "."  # fmt: skip
    return fig


def poisoned(captured, before):
    """captured: (vote, k) -> share of others' questions that get the wrong answer. before: vote ->
    share right as long as no row is wrong."""
    looks = {"nearest row": ("o", "-", "#222222"), "vote of rows": ("^", "--", GREY),
             "vote of sources": ("s", "-", plots.COLOURS["adversarial"]),
             "k sources": ("X", ":", plots.COLOURS["standard"])}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.2, 3.2)
        said = []
        for name, (mark, line, colour) in looks.items():
            ks = sorted(k for vote, k in captured if vote == name)
            right = before[name if name in before else "vote of sources"]
            ax.plot([0, *ks], [0, *(captured[name, k] for k in ks)], line, marker=mark,
                    color=colour, markersize=7, label=f"{name} ({right:.0%} right at k = 0)")
            said.append(f"{name} {captured[name, ks[-1]]:.0%} for k = {ks[-1]}, and {right:.0%} "
                        "right for k = 0")  # fmt: skip
        ax.set(xlabel="k, wrong rows beside the 20 good ones of the intent",
               ylabel="questions captured", ylim=(-0.01, None))  # fmt: skip
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = "Questions of others that get the wrong answer: " + "; ".join(said) + "."
    return fig
