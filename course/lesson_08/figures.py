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
    """One step of adversarial training, as a diagram."""
    boxes = {
        "batch": (0.2, 1.7, "batch", "texts, labels", "#EEEEEE"),
        "attack": (2.5, 2.9, "attack", "the model is\nheld still", "#F3DCE8"),
        "delta": (4.9, 2.9, "δ", "at most eps", "#F3DCE8"),
        "clean": (7.3, 0.5, "clean loss L", "texts\nas they are", "#D9E8F2"),
        "adv": (7.3, 2.9, "loss L_adv", "texts + δ", "#D9E8F2"),
        "step": (9.7, 1.7, "step of the\nmodel", "δ is held still", "#D9E8F2"),
    }
    wide, high = 1.75, 1.35
    with plots.style():
        fig, ax = plots.figure(7.4, 3.2)
        for x, y, title, note, colour in boxes.values():
            shape = FancyBboxPatch((x, y), wide, high, boxstyle="round,pad=0,rounding_size=0.12",
                                   facecolor=colour, edgecolor="#555555", linewidth=1)  # fmt: skip
            ax.add_patch(shape)
            tall = "\n" in title
            ax.text(x + wide / 2, y + high * (0.64 if tall else 0.7), title, ha="center",
                    va="center", fontsize=10, fontweight="bold")  # fmt: skip
            ax.text(x + wide / 2, y + high * (0.2 if tall else 0.33), note, ha="center",
                    va="center", fontsize=9)  # fmt: skip

        def arrow(begin, end, bend="arc3", dashed=False):
            ax.annotate("", end, begin, arrowprops=dict(
                arrowstyle="-|>", color="#555555", linewidth=1.4, shrinkA=0, shrinkB=0,
                connectionstyle=bend, linestyle=(0, (4, 3)) if dashed else "-"))  # fmt: skip

        arrow((1.1, 3.05), (2.5, 3.6), "angle,angleA=90,angleB=0,rad=6")
        arrow((1.1, 1.7), (7.3, 1.15), "angle,angleA=-90,angleB=0,rad=6")
        arrow((4.25, 3.6), (4.9, 3.6))
        arrow((6.65, 3.6), (7.3, 3.6))
        arrow((9.05, 3.6), (10.6, 3.05), "angle,angleA=0,angleB=90,rad=6")
        arrow((9.05, 1.15), (10.6, 1.7), "angle,angleA=0,angleB=-90,rad=6")
        ax.text(9.85, 3.75, "· lam", ha="center", fontsize=10)
        ax.plot([11.45, 11.75, 11.75, 3.375], [2.4, 2.4, 4.95, 4.95], color="#555555",
                linewidth=1.4, linestyle=(0, (4, 3)))  # fmt: skip
        arrow((3.375, 4.95), (3.375, 4.25))
        ax.text(7.4, 5.03, "the next batch meets the new weights", ha="center", va="bottom",
                fontsize=9)  # fmt: skip
        ax.set(xlim=(0, 12), ylim=(0.2, 5.6))
        ax.axis("off")
    fig.alt = (
        "A diagram of one step: the batch goes to the attack, which holds the model still and "
        "makes δ. The texts as they are give the clean loss, the texts with δ the adversarial loss "
        "times lam; on both together the model makes its step with δ held still. A dashed arrow "
        "leads back to the attack: the next batch meets the new weights."
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
                              markevery=0.15, label=f"{kind}, {what}")  # fmt: skip
        left.set(xlabel="step", ylabel=f"loss, mean of {width} steps", ylim=(0, None))
        shown = {"as it comes": first} | {kind: found for kind, (_, _, found) in runs.items()}
        _bars(right, list(shown.values()), ("clean", "under PGD"), (CLEAN, PGD))
        right.set_xticks(range(len(shown)), list(shown), fontsize=9)
        _percent(right, ylim=(0, 1.12), ylabel="accuracy on test texts")
        left.legend(fontsize=9)
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

    explore(draw, knob=("lam", list(sweep)), place=(1, 0, 2, 1))


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


def distances(alike, opposite, wide, angle):
    """Left how far words lie apart, right the cosine of a replacement with FGM's push."""
    with plots.style():
        fig, (left, right) = plots.figure(7.2, 3.2, ncols=2)
        bins = torch.linspace(0, 2 if wide > 1 else 1.2, 41)
        for values, colour, line, label in (
            (alike, WORDS, "-", "may replace one another"),
            (opposite, CLEAN, "--", "opposites"),
        ):
            left.hist(values, bins=bins, density=True, histtype="stepfilled", alpha=0.35,
                      color=colour)  # fmt: skip
            left.hist(values, bins=bins, density=True, histtype="step", color=colour,
                      linestyle=line, linewidth=1.4, label=label)  # fmt: skip
        left.axvline(0.3, color=PGD, linewidth=2)
        left.annotate("eps", (0.3, 0.9), (-26, 0), xycoords=("data", "axes fraction"),
                      textcoords="offset points", fontsize=10, color=PGD)  # fmt: skip
        left.set(yticks=(), ylabel="share of pairs")
        left.set_xlabel("distance of two words, in lengths of a word", fontsize=10)
        right.hist(angle, bins=torch.linspace(-1, 1, 41), color=WORDS)
        right.set(xlim=(-1, 1), ylabel="number of replacements")
        right.set_xlabel("cosine of a replacement with FGM's push", fontsize=10)
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (f"Left, histograms of the distances of words that may replace one another (median "
               f"{alike.median():.2f}) and of opposites (median {opposite.median():.2f}), with a "
               "line at eps = 0.3. Right, a histogram of the cosines of replacements with FGM's "
               f"push, median {angle.median():+.2f}.")  # fmt: skip
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
