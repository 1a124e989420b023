"""The figures of lesson 08."""

from __future__ import annotations

import torch
from matplotlib.patches import FancyBboxPatch

from advlib import plots
from advlib.evaluation import wilson
from course.widgets import explore

CLEAN, PGD, WORDS = (plots.COLOURS[name] for name in ("clean", "pgd", "words"))
HATCH = {"clean": "", "under PGD": "//", "under words": ".."}


def loop():
    """One step of adversarial training, as a diagram: whose turn it is, and what is held still."""
    pink, blue = ("#FBF1F6", "#E8B9D2"), ("#EDF5FA", "#BBD8EA")  # of a turn, of what moves in it
    turns = {
        "the attacker's turn: weights θ held still": (2.3, 2.45, 3.5, 2.75, pink[0]),
        "the defender's turn: δ held still": (6.3, 0.15, 5.9, 5.05, blue[0]),
    }
    boxes = {
        "batch": (0.1, 1.75, 1.7, "texts, labels", "#EEEEEE"),
        "δ climbs": (2.9, 2.8, 2.3, "up the loss,\nas far as eps", pink[1]),
        "$L_{adv}$": (6.6, 2.8, 2.0, "loss of the\ntexts + δ", "white"),
        "$L$": (6.6, 0.6, 2.0, "loss of the\ntexts as they are", "white"),
        "θ descends": (9.55, 1.7, 2.35, "one step down\n$L$ + lam·$L_{adv}$", blue[1]),
    }
    high = 1.45
    with plots.style():
        fig, ax = plots.figure(7.4, 3.5)

        def box(x, y, wide, high, colour, edge):
            ax.add_patch(FancyBboxPatch(
                (x, y), wide, high, boxstyle="round,pad=0,rounding_size=0.12", facecolor=colour,
                edgecolor=edge, linewidth=1))  # fmt: skip

        for title, (x, y, wide, tall, colour) in turns.items():
            box(x, y, wide, tall, colour, "none")
            whose, still = title.split(": ")
            ax.text(x + wide / 2, y + tall - 0.28, whose, ha="center", va="center", fontsize=10)
            ax.text(x + wide / 2, y + tall - 0.66, still, ha="center", va="center", fontsize=9,
                    color="#555555", style="italic")  # fmt: skip
        for title, (x, y, wide, note, colour) in boxes.items():
            box(x, y, wide, high, colour, "#555555")
            ax.text(x + wide / 2, y + high * 0.76, title, ha="center", va="center", fontsize=10,
                    fontweight="bold")  # fmt: skip
            ax.text(x + wide / 2, y + high * 0.34, note, ha="center", va="center", fontsize=9)

        def arrow(begin, end, bend="arc3", dashed=False):
            ax.annotate("", end, begin, arrowprops=dict(
                arrowstyle="-|>", color="#555555", linewidth=1.4, shrinkA=0, shrinkB=0,
                connectionstyle=bend, linestyle=(0, (4, 3)) if dashed else "-"))  # fmt: skip

        arrow((0.95, 3.2), (2.9, 3.53), "angle,angleA=90,angleB=0,rad=6")
        arrow((0.95, 1.75), (6.6, 1.32), "angle,angleA=-90,angleB=0,rad=6")
        arrow((5.2, 3.53), (6.6, 3.53))
        ax.text(6.05, 3.63, "δ", ha="center", va="bottom", fontsize=10)
        arrow((8.6, 3.53), (10.72, 3.15), "angle,angleA=0,angleB=90,rad=6")
        ax.text(9.3, 3.62, "· lam", ha="center", va="bottom", fontsize=9)
        arrow((8.6, 1.32), (10.72, 1.7), "angle,angleA=0,angleB=-90,rad=6")
        ax.plot([11.9, 12.4, 12.4, 4.05], [2.42, 2.42, 5.6, 5.6], color="#555555",
                linewidth=1.4, linestyle=(0, (4, 3)))  # fmt: skip
        arrow((4.05, 5.6), (4.05, 5.2))
        ax.text(8.2, 5.68, "the next batch meets the new θ", ha="center", va="bottom", fontsize=9)
        ax.set(xlim=(0, 12.5), ylim=(0.1, 6.1))
        ax.axis("off")
    fig.alt = (
        "A diagram of one step in two turns. In the attacker's turn the weights θ are held still, "
        "and δ climbs towards a larger loss, as far as eps. In the defender's turn δ is held "
        "still: the texts as they are give the loss L, the texts with δ the loss L_adv, and θ "
        "makes one step down L + lam·L_adv. A dashed arrow leads back to the attacker: the next "
        "batch meets the new θ."
    )
    return fig


def _percent(ax, **settings) -> None:
    ax.yaxis.set_major_formatter("{x:.0%}")
    ax.set(**settings)


def _bars(ax, rows, columns, colours) -> None:
    """A group of bars for each row, a bar for each of its numbers."""
    step = 0.8 / len(columns)
    for k, (what, colour) in enumerate(zip(columns, colours, strict=True)):
        x = [place + step * (k - (len(columns) - 1) / 2) for place in range(len(rows))]
        values = [row[k] for row in rows]
        bars = ax.bar(x, values, step * 0.92, color=colour, label=what, hatch=HATCH[what],
                      edgecolor="white", linewidth=0)  # fmt: skip
        ax.bar_label(bars, [f"{v:.0%}" for v in values], fontsize=9, padding=2)


def _say(name, numbers) -> str:
    return f"{name}: " + ", ".join(f"{v:.0%}" for v in numbers)


def trainings(runs, first, width=8):
    """Left the losses of both trainings, right what came of them."""
    with plots.style():
        fig, (left, right) = plots.figure(7.4, 3.2, ncols=2)
        for kind, (_, losses, _) in runs.items():
            for what, line, values in zip(("clean loss", "loss under FGM"), ("-", "--"),
                                          zip(*losses, strict=True), strict=True):  # fmt: skip
                if values[0] is not None:
                    mean = [sum(values[k - width : k]) / width
                            for k in range(width, len(values) + 1)]  # fmt: skip
                    left.plot(range(width - 1, width - 1 + len(mean)), mean, line,
                              color=plots.COLOURS[kind], marker=plots.MARKERS[kind],
                              fillstyle="none" if line == "--" else "full", markevery=0.15,
                              label=f"{kind}, {what}")  # fmt: skip
        left.set(xlabel="step", ylabel=f"loss, mean of {width} steps", ylim=(0, None))
        shown = {"as it comes": first} | {kind: found for kind, (_, _, found) in runs.items()}
        _bars(right, list(shown.values()), ("clean", "under PGD"), (CLEAN, PGD))
        right.set_xticks(range(len(shown)), list(shown), fontsize=9)
        _percent(right, ylim=(0, 1.12), ylabel="accuracy on test texts")
        left.legend(fontsize=9, handlelength=3.4)
        fig.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    ends = "; ".join(_say(kind, values) for kind, values in shown.items())
    fig.alt = ("Left, the losses of the standard and the adversarial training against the step. "
               f"Right, accuracy without attack and under PGD. {ends}.")  # fmt: skip
    return fig


def knobs(sweep, recorded, texts):
    """Accuracy clean and under PGD against each of the four knobs."""
    names = {"lam": "lam, weight of the attacked texts", "eps": "eps, radius of the attack",
             "ratio": "ratio, share of texts attacked", "steps": "steps of the attack"}  # fmt: skip
    with plots.style():
        fig, axes = plots.figure(7.4, 4.8, nrows=2, ncols=2, sharey=True)
        for ax, (knob, found) in zip(axes.flat, sweep.items(), strict=True):
            again = recorded.get(knob, {})
            places = {value: x for x, value in enumerate(sorted({*found, *again}))}
            x = [places[value] for value in found]
            for k, (what, colour, mark, line) in enumerate(
                (("clean", CLEAN, "s", "--"), ("under PGD", PGD, "o", "-"))
            ):
                values = [v[k] for v in found.values()]
                ax.plot(x, values, line, color=colour, marker=mark, label=what)
                ends = [wilson(round(v * texts), texts) for v in values]
                ax.fill_between(x, *zip(*ends, strict=True), color=colour, alpha=0.15, linewidth=0)
                for value, seeds in again.items():
                    ax.plot([places[value] + 0.12] * len(seeds), [v[k] / 100 for v in seeds], "D",
                            markersize=4, fillstyle="none", color=colour)  # fmt: skip
            ax.set_xticks(list(places.values()), [f"{value:g}" for value in places])
            _percent(ax, xlabel=names[knob], ylim=(0, 1.03))
        for row in axes:
            row[0].set_ylabel("accuracy on test texts")
        if recorded:
            axes[0, 0].plot([], [], "D", markersize=4, fillstyle="none", color="#555555",
                            label="recorded, three seeds")  # fmt: skip
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    seen = "; ".join(
        f"{knob} " + ", ".join(f"{value:g}: {robust:.0%}" for value, (_, robust) in found.items())
        for knob, found in sweep.items()
    )
    fig.alt = f"Four panels, one per knob: accuracy clean and under PGD. Under PGD: {seen}."
    return fig


SHADES = {"lam": (plots.COLOURS["adversarial"], "o"), "eps": (plots.COLOURS["fgm"], "s"),
          "ratio": (WORDS, "^"), "steps": (PGD, "D"), "as it comes": ("#777777", "X"),
          "no attacks": (plots.COLOURS["standard"], "v"), "as usual": ("#222222", "*")}  # fmt: skip


def plane(every, kept, highlight=None):
    """All runs by both accuracies, those that are not dominated ringed; one may be marked."""
    points = list(every.values())
    with plots.style():
        fig, ax = plots.figure(7, 4)
        ax.plot(*zip(*sorted(points[i] for i in kept), strict=True), "o-", color="#222222",
                fillstyle="none", markersize=16, linewidth=1.2, label="not dominated")  # fmt: skip
        for label, point in every.items():
            colour, mark = SHADES[label.partition(" = ")[0]]
            ax.plot(*point, mark, color=colour, markersize=8, alpha=0.85, label=label)
        if highlight is not None:
            clean, robust = every[highlight]
            ax.plot(clean, robust, "s", color="none", markeredgecolor="#D55E00", markersize=20,
                    markeredgewidth=2)  # fmt: skip
            ax.set_title(f"{highlight}: clean {clean:.0%}, under PGD {robust:.0%}", fontsize=10)
        ax.set(xlabel="clean accuracy", ylabel="accuracy under PGD")
        ax.margins(0.08)
        ax.xaxis.set_major_formatter("{x:.1%}")
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    seen = "; ".join(_say(name, point) for name, point in every.items())
    rings = ", ".join(list(every)[i] for i in kept)
    fig.alt = f"Every run by its clean accuracy and that under PGD. {seen}. Not dominated: {rings}."
    return fig


def explore_plane(every, kept, sweep) -> None:
    """The plane with one run marked; the place is that of the knob's value, from 0."""

    def draw(knob, place):
        value = list(sweep[knob])[place]
        own = f"{knob} = {value:g}"
        return plane(every, kept, own if own in every else "as usual" if value else "no attacks")

    explore(draw, knob=(list(sweep)[0], list(sweep)), place=(1, 0, 2, 1))


def shares(early):
    """The share of the class that is predicted most, while newborn models are trained."""
    looks = {"no warm-up": ("#D55E00", "s", "--"), "warm-up": ("#0072B2", "o", "-"),
             "no attacks": ("#777777", "v", ":")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.2, 2.9)
        for kind, (_, found) in early.items():
            colour, mark, line = looks[kind]
            ax.plot(*zip(*found, strict=True), line, color=colour, marker=mark, label=kind)
        _percent(ax, xlabel="step", ylabel="share of the class\npredicted most", ylim=(0.45, 1.05))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    ends = ", ".join(f"{kind} {found[-1][1]:.0%}" for kind, (_, found) in early.items())
    fig.alt = f"The share of the most predicted class against the step. At the end: {ends}."
    return fig


def by_heart(own, robust, clean, recorded, stops):
    """Left this page's run on a handful of texts, right recorded longer ones and their stops."""
    with plots.style():
        fig, (left, right) = plots.figure(7.4, 3.4, ncols=2, width_ratios=(2, 3))
        left.plot(own, "--", color=PGD, marker="^", label="48 training texts, PGD")
        left.plot(robust, color=PGD, marker="o", label="validation, PGD")
        left.plot(clean, ":", color=CLEAN, marker="s", label="validation, clean")
        left.set_xticks(range(len(own)))
        _percent(left, xlabel="epoch (two passes each)", ylabel="accuracy", ylim=(0, 1.03))
        left.set_title("this page's run", fontsize=10)
        left.legend(fontsize=9, loc=(0.04, 0.03))
        looks = zip(stops.items(), ("#D55E00", "#0072B2", "#222222"), "osD", ("-", "--", ":"),
                    strict=True)  # fmt: skip
        for (name, (best, last)), colour, mark, line in looks:
            values = [v / 100 for v in recorded[name]]
            right.plot(values, line, color=colour, alpha=0.35)
            right.plot(values[: last + 1], line, color=colour)
            right.plot(best, values[best], mark, color=colour, markersize=9, label=f"kept, {name}")
        _percent(right, xlabel="epoch (two passes each)", ylabel="accuracy under PGD",
                 xticks=range(0, 20, 3), ylim=(0.3, 0.62))  # fmt: skip
        right.set_title("recorded: validation, PGD", fontsize=10)
        right.legend(fontsize=9, loc="upper right", ncols=3, columnspacing=1, handletextpad=0.3)
    kept = "; ".join(f"{name}: epoch {best} kept, stopped after {last}"
                     for name, (best, last) in stops.items())  # fmt: skip
    fig.alt = (f"Left, accuracy against epoch: under PGD at the end {own[-1]:.0%} on the training "
               f"texts and {robust[-1]:.0%} on validation texts. Right, three recorded runs under "
               f"PGD on validation texts. {kept}.")  # fmt: skip
    return fig


def _histogram(ax, values, bins, colour, line="-", label=None):
    ax.hist(values, bins=bins, density=True, histtype="stepfilled", alpha=0.35, color=colour)
    ax.hist(values, bins=bins, density=True, histtype="step", color=colour, linestyle=line,
            linewidth=1.6, label=label)  # fmt: skip


def _mark(ax, x, label, line="-", left=True):
    """A line across, with its name beside it."""
    ax.axvline(x, color=PGD, linewidth=2, linestyle=line)
    ax.annotate(label, (x, 0.97), (-5 if left else 5, 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", fontsize=10, color="#222222", va="top",
                ha="right" if left else "left")  # fmt: skip


def outside(distance, angle):
    """Left how far a replaced word moves a text, right the cosine with FGM's push."""
    with plots.style():
        fig, (left, right) = plots.figure(7.2, 3, ncols=2)
        end = max(1.2, 1.05 * distance.max().item())
        left.hist(distance, bins=torch.linspace(0, end, 49), color=WORDS)
        _mark(left, 0.3, "eps")
        left.set(xlim=(0, end), ylabel="number of replacements")
        left.set_xlabel("how far the text moves, in lengths of a word", fontsize=10)
        right.hist(angle, bins=torch.linspace(-1, 1, 41), color=WORDS)
        right.set(xlim=(-1, 1), ylabel="number of replacements")
        right.set_xlabel("cosine with FGM's push at that word", fontsize=10)
    fig.alt = (f"Left, a histogram of how far one replaced word moves a text: from "
               f"{distance.min():.2f} to {distance.max():.2f}, with a line at eps = 0.3. Right, a "
               f"histogram of the cosines with FGM's push, median {angle.median():+.2f}.")
    return fig


def distances(alike, opposite, wide):
    """How far words lie apart that may replace one another, and opposites."""
    with plots.style():
        fig, ax = plots.figure(6.4, 3)
        bins = torch.linspace(0, 2 if wide > 1 else 1.2, 41)
        _histogram(ax, alike, bins, WORDS, label="may replace one another")
        _histogram(ax, opposite, bins, CLEAN, "--", label="opposites")
        _mark(ax, 0.3, "eps")
        _mark(ax, wide, "nine of ten\nreplacements", (0, (2, 1.5)), left=False)
        ax.set(yticks=(), ylabel="share of pairs", xlim=(0, bins[-1]),
               ylim=(0, 1.3 * ax.get_ylim()[1]))  # fmt: skip
        ax.set_xlabel("distance of two words, in lengths of a word")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (f"Histograms of the distances of words that may replace one another (median "
               f"{alike.median():.2f}) and of opposites (median {opposite.median():.2f}), with "
               f"lines at eps = 0.3 and at {wide:.2f}, within which nine of ten replacements lie.")
    return fig


def partners(score):
    """Accuracy clean, under PGD and under words for the start and four trainings."""
    with plots.style():
        fig, ax = plots.figure(7.2, 3.3)
        _bars(ax, list(score.values()), HATCH, (CLEAN, PGD, WORDS))
        names = {"standard": "trained,\nno attacks"} | {
            what: f"trained on\n{what}" for what in ("embeddings", "words", "both")}  # fmt: skip
        ax.set_xticks(range(len(score)), [names.get(kind, kind) for kind in score], fontsize=9)
        _percent(ax, ylim=(0, 1.12), ylabel="accuracy on test texts")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    seen = "; ".join(_say(kind, values) for kind, values in score.items())
    fig.alt = f"Bars of the accuracy clean, under PGD and under words. {seen}."
    return fig
