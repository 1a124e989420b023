"""The figures of lesson 13: what is drawn, not how it is measured."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from advlib import plots
from advlib.corpora import words
from course.widgets import explore

COLOUR = {"attention": "#999999", "gradient × input": plots.COLOURS["words"],
          "integrated gradients": plots.COLOURS["adversarial"],
          "occlusion": plots.COLOURS["fgm"]}  # fmt: skip
MARK = {"attention": "v", "gradient × input": "^", "integrated gradients": "o", "occlusion": "s"}


def month_reader(found, by_month, control, blind, spread):
    """Mean AUC of every map of the plain victim and the month reader, against the causes and
    against the month; and without a model."""
    methods = list(by_month)
    rows = {"clean, against the causes": (found["clean"], plots.COLOURS["standard"], "o"),
            "clean, against the month": (control, "#999999", "X"),
            "month reader, against the causes": (found["dialled"], plots.COLOURS["pgd"], "D"),
            "month reader, against the month": (by_month, "#222222", "P")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.8, 3.8)
        for k, (name, (aucs, colour, mark)) in enumerate(rows.items()):
            for i, m in enumerate(methods):
                ax.errorbar(np.mean(aucs[m]), -i + 0.18 * (1.5 - k), xerr=spread(aucs[m]),
                            color=colour, marker=mark, capsize=2, linewidth=1.2,
                            label=name if i == 0 else None)
        ax.axvline(0.5, color="#555555", linestyle=":", linewidth=1)
        for (control, values), style in zip(blind.items(), ("--", "-."), strict=True):
            ax.axvline(np.mean(values), color="#888888", linestyle=style, linewidth=1.2,
                       label=f"no model: {control}")
        ax.set(xlim=(0, 1.03), xlabel="mean AUC of |map|")
        ax.set_yticks(range(0, -len(methods), -1), methods)
        ax.grid(False, axis="y")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    said = "; ".join(f"{name}: " + ", ".join(f"{m} {np.mean(aucs[m]):.2f}" for m in methods)
                     for name, (aucs, _, _) in rows.items())
    controls = ", ".join(f"{name} {np.mean(v):.2f}" for name, v in blind.items())
    fig.alt = f"Mean AUC of four maps. {said}. Without a model: {controls}."
    return fig


def scrambled(agree, half):
    """Rank correlation with the trained model's map while its weights become random."""
    with plots.style():
        fig, ax = plots.figure(6.4, 3)
        for m, values in agree.items():
            ax.errorbar(np.arange(5) + 0.05 * (list(agree).index(m) - 1.5), values, yerr=half[m],
                        color=COLOUR[m], marker=MARK[m], label=m, capsize=2, elinewidth=1,
                        linestyle="--" if m == "attention" else "-")
        ax.axhline(0, color="#555555", linestyle=":", linewidth=1)
        ax.set(xticks=range(5), ylim=(-0.75, 1.08), ylabel="rank correlation of |map|",
               xlabel="what is random, from the top down")
        ax.set_xticklabels(["nothing", "head", "+ layer 2", "+ layer 1", "+ layer 0"])
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9)
    ends = ", ".join(f"{m} {v[1]:.2f} and {v[-1]:.2f}" for m, v in agree.items())
    fig.alt = f"Rank correlation with a random head, and with all layers random: {ends}."
    return fig


def deleted(sure, labels):
    """The probability of each text's label: as it is, causes deleted, causes reversed."""
    rng = np.random.default_rng(0)
    with plots.style():
        fig, axes = plots.figure(7, 2.9, ncols=2, sharey=True)
        for ax, y, colour in zip(axes, (1, 0), (plots.COLOURS["fgm"], plots.COLOURS["standard"]),
                                 strict=True):
            for k, p in enumerate(sure.values()):
                own = p[labels == y]
                ax.plot(k + 0.22 * (rng.random(len(own)) - 0.5), own, "o", color=colour, alpha=0.5)
                ax.plot([k - 0.25, k + 0.25], [own.mean()] * 2, color="#222222", linewidth=2.5)
            ax.set(xticks=range(3), xlim=(-0.5, 2.5), ylim=(-0.03, 1.03))
            ax.set_title(("blame", "praise")[y], fontsize=11)
            ax.set_xticklabels([name.replace("words ", "words\n") for name in sure])
        axes[0].set_ylabel("probability of the label")
    means = "; ".join(f"{name}: praise {p[labels == 1].mean():.2f}, blame "
                      f"{p[labels == 0].mean():.2f}" for name, p in sure.items())
    fig.alt = f"Probability of the own label, a point for each text. Means: {means}."
    return fig


def two_maps(pair, maps, marks, margins, attacked):
    """One text's map before and after the attack, and the agreement of all texts."""
    split = [words(text) for text in pair]
    changed = [a != b for a, b in zip(*split, strict=True)]
    with plots.style():
        fig, axes = plots.figure(8, 0.26 * len(changed) + 1.5, ncols=3,
                                 gridspec_kw={"width_ratios": (1, 1, 1.1)})
        for ax, found, values, mark, m, title in zip(
            axes, split, maps, marks, margins, ("before", "after"), strict=False
        ):
            most = float(np.abs(values).max())
            ax.barh(range(len(found)), values / most, color=[
                plots.COLOURS["words"] if c else plots.COLOURS["adversarial"] for c in changed],
                hatch=["//" if c else "" for c in changed], edgecolor="white")
            names = [(f"[{w}]" if cause else w) + (" *" if c else "")
                     for w, cause, c in zip(found, mark, changed, strict=True)]
            ax.set_yticks(range(len(found)), names, fontsize=9)
            ax.invert_yaxis()
            ax.axvline(0, color="#555555", linewidth=1)
            ax.set(xlabel="gradient × input, largest = 1", xlim=(-1.08, 1.08))
            ax.xaxis.set_major_locator(MaxNLocator(3))
            ax.set_title(f"{title}: margin {m:+.1f},\nlargest {most:.2g}".replace("-", "−"),
                         fontsize=10)
            ax.grid(False, axis="y")
        ax, rng = axes[2], np.random.default_rng(0)
        places = []
        for k, (name, rows) in enumerate(attacked.items()):
            for j, (what, mark, colour) in enumerate((("attacked", "o", plots.COLOURS["pgd"]),
                                                      ("random words", "s", "#777777"))):
                x, values = 2 * k + j * 0.8, [row[j] for row in rows]
                ax.plot(x + 0.25 * (rng.random(len(values)) - 0.5), values, mark, color=colour,
                        alpha=0.7, label=what if k == 0 else None)
                ax.plot([x - 0.28, x + 0.28], [np.mean(values)] * 2, color="#222222", linewidth=2.5)
            places.append((2 * k + 0.4, name))
        ax.set_xticks([x for x, _ in places], [name for _, name in places])
        ax.axhline(0, color="#555555", linestyle=":", linewidth=1)
        ax.set(ylabel="agreement with the old map", ylim=(-1.05, 1.05))
        ax.legend(loc="lower right", fontsize=9)
    said = "; ".join(f"{name}: attacked {np.mean([r[0] for r in rows]):.2f}, random words "
                     f"{np.mean([r[1] for r in rows]):.2f}" for name, rows in attacked.items())
    fig.alt = (f"Bars of gradient × input for one text before and after {sum(changed)} words were "
               f"changed. Right, the mean agreement with the old map: {said}.")
    return fig


def graph():
    """Verdict, opinion words, month, model: what is seen, and what is set."""
    with plots.style():
        fig, axes = plots.figure(7.4, 2.9, ncols=2)
        boxes = {"verdict": (0, 1), "opinion words": (1.25, 1.65), "month": (1.25, 0.35),
                 "model": (2.5, 1)}
        for ax, title in zip(axes, ("seeing July", "setting July"), strict=True):
            cut = title.startswith("setting")
            for name, (x, y) in boxes.items():
                hot = name == "month"
                ax.add_patch(FancyBboxPatch(
                    (x - 0.48, y - 0.2), 0.96, 0.4, boxstyle="round,pad=0.03", zorder=3,
                    facecolor="#fdf0d5" if hot else "white", linewidth=1.4,
                    edgecolor=plots.COLOURS["words"] if hot else plots.COLOURS["adversarial"]))
                said = {"verdict": "writer's\nverdict",
                        "month": "month := July" if cut else "month = July"}.get(name, name)
                ax.text(x, y, said, ha="center", va="center", fontsize=9.5, zorder=4)
            for start, end in (("verdict", "opinion words"), ("verdict", "month"),
                               ("opinion words", "model"), ("month", "model")):
                (a, b), (c, d) = boxes[start], boxes[end]
                gone = cut and (start, end) == ("verdict", "month")
                ax.annotate("", (c - 0.1 * (c - a), d + 0.27 * np.sign(b - d)),
                            (a + 0.1 * (c - a), b + 0.27 * np.sign(d - b)), arrowprops=dict(
                                arrowstyle="->", linewidth=1.4, color="#bbbbbb" if gone else
                                "#444444", linestyle=":" if gone else "-"))
            if cut:
                ax.text(0.62, 0.675, "✕", ha="center", va="center", fontsize=13, color="#d55e00")
            else:
                ax.annotate("the dial", (0.48, 0.62), (-0.35, 0.25), fontsize=9, color="#555555",
                            arrowprops=dict(arrowstyle="-", color="#aaaaaa", linewidth=1))
            ax.set(xlim=(-0.65, 3.1), ylim=(-0.05, 2.05))
            ax.set_title(title, fontsize=11)
            ax.axis("off")
    fig.alt = ("Two graphs with arrows from the writer's verdict to opinion words and to month, "
               "and from both to the model. In the second, where July is set, the arrow from "
               "verdict to month is cut.")
    return fig


def cures(cures, n):
    """Accuracy and turned predictions for each training set."""
    bars = {"right, month random": (plots.COLOURS["fgm"], ""),
            "right, month against the label": (plots.COLOURS["fgsm"], ".."),
            "turned by the month": (plots.COLOURS["pgd"], "//")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7, 3)
        for k, (what, (colour, hatch)) in enumerate(bars.items()):
            for i, row in enumerate(cures.values()):
                ax.bar(i + 0.27 * (k - 1), row[what], 0.25, color=colour, hatch=hatch,
                       edgecolor="white", label=what if i == 0 else None)
                ax.text(i + 0.27 * (k - 1), row[what] + 0.02, f"{row[what]:.0%}", ha="center",
                        fontsize=9)
        ax.set(ylim=(0, 1.12), ylabel=f"share of {n} texts", xlabel="months of the training texts")
        ax.set_xticks(range(len(cures)), list(cures))
        ax.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    said = "; ".join(f"{name}: " + ", ".join(f"{what} {row[what]:.0%}" for what in bars)
                     for name, row in cures.items())
    fig.alt = f"Bars for three training sets. {said}."
    return fig


def game(A, p, q, value, rows, columns):
    """The matrix, and how often each row and column is drawn."""
    with plots.style():
        fig, axes = plots.figure(7, 4, nrows=2, ncols=2, gridspec_kw={
            "width_ratios": (2.2, 1), "height_ratios": (1, 3.2)})  # fmt: skip
        matrix, side, top = axes[1, 0], axes[1, 1], axes[0, 0]
        axes[0, 1].axis("off")
        axes[0, 1].text(0.5, 0.4, f"value {value:.1f}", ha="center", fontsize=13)
        _matrix(matrix, A, rows, columns)
        side.barh(range(len(p)), p, color=plots.COLOURS["adversarial"])
        side.set(ylim=(len(p) - 0.5, -0.5), xlim=(0, 1), yticks=[], xlabel="defender draws it")
        top.bar(range(len(q)), q, 0.6, color=plots.COLOURS["standard"], hatch="//",
                edgecolor="white")
        top.set(xlim=(-0.5, len(q) - 0.5), ylim=(0, 1), xticks=[], ylabel="attacker\ndraws it")
        for i, odd in enumerate(p):
            if odd > 0.005:
                side.text(odd + 0.03, i, f"{odd:.2f}", va="center", fontsize=9)
        for j, odd in enumerate(q):
            top.text(j, odd + 0.04, f"{odd:.2f}", ha="center", fontsize=9)
    drawn = ", ".join(f"{name} {odd:.2f}" for name, odd in zip(rows, p, strict=True) if odd > 0.005)
    fig.alt = (f"A matrix of accuracies, {len(rows)} defences by {len(columns)} attacks. The "
               f"defender draws {drawn}; the value is {value:.1f}.")
    return fig


def _matrix(ax, A, rows, columns):
    ax.imshow(A, cmap="Blues", aspect="auto", vmin=A.min() - 0.3 * np.ptp(A) - 1e-9,
              vmax=A.max() + 0.9 * np.ptp(A) + 1e-9)
    for i, row in enumerate(A):
        for j, v in enumerate(row):
            ax.text(j, i, f"{v:.1f}", ha="center", va="center", fontsize=9.5)
    ax.set_xticks(range(len(columns)), columns)
    ax.set_yticks(range(len(rows)), rows, fontsize=9)
    ax.grid(False)


def fictitious(played, gap, rows):
    """Which row was played in each round, and how far the averages are from equilibrium."""
    chosen = [i for *_, i, _ in played[:60]]
    with plots.style():
        fig, (left, right) = plots.figure(7.2, 2.9, ncols=2)
        left.plot(range(1, 61), chosen, ".", color=plots.COLOURS["adversarial"])
        left.set(xlabel="round", ylim=(len(rows) - 0.5, -0.5))
        left.set_yticks(range(len(rows)), rows, fontsize=9)
        left.set_title("the defender plays", fontsize=11)
        right.loglog(range(1, len(gap) + 1), gap, color="#222222", linewidth=1.4)
        right.set(xlabel="round", ylabel="exploitability of the averages")
    used = sorted({rows[i] for i in chosen})
    fig.alt = (f"Left, the rows played in the first 60 rounds: {', '.join(used)}, back and forth. "
               f"Right, the exploitability falls from {gap[0]:.1f} to {gap[-1]:.2f} in "
               f"{len(gap)} rounds.")
    return fig


def asks(single, value, mean, asked, survive, spread):
    """How many texts survive an attacker who may ask again. Lists have a number for each text."""
    left = [np.mean(v) for v in survive]
    with plots.style():
        fig, ax = plots.figure(6.4, 3)
        ax.axhline(value, color=plots.COLOURS["adversarial"], linestyle="--",
                   label="mixture, on paper")
        ax.axhline(np.mean(single), color="#222222", linestyle=":",
                   label="better single model, best of four")
        ax.errorbar(0.7, np.mean(mean), yerr=spread(mean), fmt="^", color=plots.COLOURS["words"],
                    markersize=8, capsize=2, label="attack on the mean, asked once")
        ax.errorbar(asked, left, yerr=[spread(v) for v in survive], fmt="o-", capsize=2,
                    elinewidth=1, color=plots.COLOURS["pgd"],
                    label="best of four versions, asked again")
        top = max(value, np.mean(single), np.mean(mean)) + 0.16
        ax.set(xlabel="times the attacker asks", ylim=(0, top), xticks=asked,
               ylabel=f"right every time\n(share of {len(single)} texts)")
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (f"The mixture is worth {value:.0%} on paper; the better single model keeps "
               f"{np.mean(single):.0%} of the texts against the best of four versions. "
               f"The attack on the mean leaves {np.mean(mean):.0%}; asked up to {asked[-1]} times, "
               f"{left[-1]:.0%} are left of {left[0]:.0%}.")
    return fig


def explore_game(solve):
    """A 3 × 3 game with sliders for four of its entries, and both mixed strategies."""
    rows, columns = ["row 1", "row 2", "row 3"], ["column 1", "column 2", "column 3"]

    def draw(a11, a12, a21, a33):
        A = np.array([[a11, a12, 4.0], [a21, 7.0, 5.0], [3.0, 6.0, a33]])
        p, q, value = solve(A)
        fig = game(A, p, q, value, rows, columns)
        fig.set_size_inches(5.4, 3.2)
        return fig

    explore(draw, a11=(8.0, 0.0, 10.0, 0.5), a12=(2.0, 0.0, 10.0, 0.5), a21=(3.0, 0.0, 10.0, 0.5),
            a33=(6.0, 0.0, 10.0, 0.5))
