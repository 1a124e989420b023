"""The figures of lesson 07."""

import numpy as np

from advlib import plots
from course.widgets import explore

# Factor before the logits -> colour, marker, line.
LOOKS = {
    1: ("#009E73", "o", "-"), 3: ("#0072B2", "s", "--"),
    10: ("#E69F00", "^", "-."), 100: ("#000000", "D", ":"),
}  # fmt: skip
FACTORS = [float(f"{10 ** (k / 10):.3g}") for k in range(-10, 31)]  # 0.1 to 1000, for the slider


def _pairs(ax, kinds: dict, groups: list) -> None:
    """Two bars a group, with their values on top; the second is hatched, too."""
    for k, (name, (values, colour)) in enumerate(kinds.items()):
        bars = ax.bar(np.arange(len(groups)) + 0.4 * k - 0.2, values, 0.38, color=colour,
                      label=name, hatch="//" * k, edgecolor="white", linewidth=0)  # fmt: skip
        ax.bar_label(bars, [f"{v:.0%}" for v in values], fontsize=9, padding=2)
    ax.set_xticks(range(len(groups)), groups)
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 1.12)
    ax.yaxis.set_major_formatter("{x:.0%}")


def first_attacks(accuracies: dict, longer: int):
    """Accuracy of two models without attack and under three attacks."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.2)
        colours = plots.COLOURS["standard"], plots.COLOURS["adversarial"]
        kinds = {name: (values, colour) for (name, values), colour in
                 zip(accuracies.items(), colours, strict=True)}  # fmt: skip
        groups = ["no attack", "FGM", "PGD, 10 steps", f"words, on {longer}\nlonger texts"]
        _pairs(ax, kinds, groups)
        ax.set_ylabel("accuracy")
        fig.legend(loc="outside upper left", ncols=2)
    shown = "; ".join(f"{name} " + ", ".join(f"{v:.0%}" for v in values)
                      for name, values in accuracies.items())  # fmt: skip
    fig.alt = f"Accuracy without attack, under FGM, PGD and words: {shown}."
    return fig


def _size(gradient: float) -> str:
    return f"{gradient:.0e}" if gradient else "exactly 0"


def _way(ax, walk, margins, factor: float, gradient: float, look: tuple) -> None:
    """The cross-entropy log(1 + e^m) on the way, with the factor before the logits."""
    colour, mark, line = look
    ax.plot(walk, np.logaddexp(0, factor * margins), color=colour, marker=mark, linestyle=line,
            markevery=5, label=f"factor {factor:.3g}: gradient {_size(gradient)}")  # fmt: skip
    ax.set(yscale="log", ylim=(1e-60, 1e4), xlabel="way to PGD's end, in ε", ylabel="cross-entropy")


def sharpening(walk, margins, gradients: dict, accuracies: dict, true: float):
    """One text's cross-entropy on its way, and accuracy under PGD against the factor."""
    with plots.style():
        fig, (left, right) = plots.figure(8.6, 4.1, ncols=2)
        for factor, look in LOOKS.items():
            _way(left, walk, margins, factor, gradients[factor], look)
        left.axhline(1e-45, color="#888888", linewidth=1.5)
        left.text(0.02, 1e-50, "below: slope 0 in float32", fontsize=9, va="center")
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=2)
        right.plot(list(accuracies), list(accuracies.values()), "o-", markersize=7,
                   color=plots.COLOURS["fgsm"], label="PGD on the cross-entropy")  # fmt: skip
        right.axhline(true, color=plots.COLOURS["pgd"], linestyle="--", label="PGD on the log-odds")
        right.set(xscale="log", xlabel="factor before the logits", ylabel="accuracy",
                  ylim=(0, 1.05))  # fmt: skip
        right.set_xticks(list(accuracies), [f"{f:g}" for f in accuracies])
        right.minorticks_off()
        right.yaxis.set_major_formatter("{x:.0%}")
        right.legend(fontsize=9, loc="center right")
    first, last = list(accuracies.values())[0], list(accuracies.values())[-1]
    fig.alt = (
        "Left, the cross-entropy of one text on its way to PGD's end for the factors 1, 3, 10 and "
        "100: the larger the factor, the farther down the curve starts; all cross where the model "
        f"begins to be wrong. Right, accuracy under PGD on the cross-entropy goes from {first:.0%} "
        f"to {last:.0%} as the factor grows; on the log-odds it is {true:.0%}."
    )
    return fig


def explore_factor(walk, margins, gradient_of) -> None:
    """A slider over the factor. gradient_of(factor): the largest coordinate at the start."""

    def draw(factor):
        with plots.style():
            fig, ax = plots.figure(5.4, 3)
            gradient = gradient_of(factor)
            _way(ax, walk, margins, factor, gradient, ("#000000", "o", "-"))
            fig.legend(loc="outside upper left")
        fig.alt = f"Cross-entropy with the factor {factor:g}; gradient {_size(gradient)}."
        return fig

    explore(draw, factor=(FACTORS[15], FACTORS))


def averaging(cosines: dict):
    """Cosine with the true gradient against the number of draws, and what theory says."""
    with plots.style():
        fig, ax = plots.figure(6, 3.1)
        ax.plot(list(cosines), list(cosines.values()), "o", markersize=7,
                color=plots.COLOURS["pgd"], label="measured")  # fmt: skip
        k = np.geomspace(min(cosines), max(cosines))
        ax.plot(k, 1 / np.sqrt(1 + 4.5 / k), color="#555555", linestyle="--",
                label=r"$1/\sqrt{1+4.5/k}$")  # fmt: skip
        ax.set(xscale="log", ylim=(0, 1), xlabel="draws averaged, k",
               ylabel="cosine with\nthe true gradient")  # fmt: skip
        ax.set_xticks(list(cosines), [str(k) for k in cosines])
        ax.minorticks_off()
        fig.legend(loc="outside upper left", ncols=2)
    shown = ", ".join(f"{value:.2f} for {k}" for k, value in cosines.items())
    fig.alt = f"Cosine with the true gradient by draws averaged: {shown}; just below the theory."
    return fig


def fates(shares: dict):
    """What becomes of the texts: answered rightly, refused, answered wrongly."""
    kinds = (("answered rightly", plots.COLOURS["fgm"], ""), ("refused", "#cccccc", ".."),
             ("answered wrongly", plots.COLOURS["standard"], "//"))  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7, 2.4)
        left = np.zeros(len(shares))
        for k, (kind, colour, hatch) in enumerate(kinds):
            values = np.array([fate[k] for fate in shares.values()])
            bars = ax.barh(range(len(shares)), values, left=left, color=colour, hatch=hatch,
                           edgecolor="white", linewidth=0, label=kind)  # fmt: skip
            ax.bar_label(bars, [f"{v:.0%}" if v > 0.05 else "" for v in values], fontsize=9,
                         label_type="center",
                         bbox=dict(facecolor="white", edgecolor="none", pad=1.5))  # fmt: skip
            left += values
        ax.set_yticks(range(len(shares)), list(shares))
        ax.tick_params(axis="y", length=0)
        ax.invert_yaxis()
        ax.set_xlabel("share of the texts")
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.grid(False)
        fig.legend(loc="outside upper left", ncols=3)
    shown = "; ".join(f"{name} {right:.0%}, {refused:.0%}, {wrong:.0%}"
                      for name, (right, refused, wrong) in shares.items())  # fmt: skip
    fig.alt = f"Share of texts answered rightly, refused, answered wrongly: {shown}."
    return fig


def seven(claims: dict):
    """Each claim as reported and after an honest attack."""
    with plots.style():
        fig, ax = plots.figure(8.4, 3.8)
        reported, honest = zip(*claims.values(), strict=True)
        kinds = {"as reported": (reported, "#bbbbbb"),
                 "after an honest attack": (honest, plots.COLOURS["pgd"])}  # fmt: skip
        _pairs(ax, kinds, [name.replace(" ", "\n", 1).replace("a\n", "a ") for name in claims])
        ax.tick_params(axis="x", labelsize=9)
        ax.set_ylabel("accuracy under attack")
        fig.legend(loc="outside upper left", ncols=2)
    shown = ", ".join(f"{name} {a:.0%} and {b:.0%}" for name, (a, b) in claims.items())
    fig.alt = f"Accuracy as reported and after an honest attack: {shown}."
    return fig


def needed(widths, counts: dict, few: int, most: int):
    """Half width of the interval against the number of texts; a band marks this page's numbers."""
    lines = zip(counts.items(), ("#000000", plots.COLOURS["adversarial"],
                                 plots.COLOURS["standard"]), "os^", strict=True)  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.6, 3.3)
        for (p, texts), colour, mark in lines:
            ax.plot(texts, widths, color=colour, marker=mark, markevery=8, markersize=6,
                    label=f"accuracy {p:.0%}")  # fmt: skip
        ax.axvspan(few, most, color="#dddddd", zorder=0)
        ax.annotate("this page", (most, 0.17), (4, 0), textcoords="offset points", fontsize=9)
        ax.set(xscale="log", yscale="log", xlabel="number of texts",
               ylabel="half width of the interval")  # fmt: skip
        ax.set_yticks((0.01, 0.02, 0.05, 0.1, 0.2), ("±1 %", "±2 %", "±5 %", "±10 %", "±20 %"))
        ax.set_xticks((10, 100, 1000, 10000), ("10", "100", "1,000", "10,000"))
        ax.minorticks_off()
        fig.legend(loc="outside upper left", ncols=3)
    fig.alt = (
        "Half width of the 95 % interval against the number of texts, both axes logarithmic. The "
        f"line of 50 % (circles) lies highest, that of 100 % lowest; a band at {few} to {most} "
        "texts marks this page."
    )
    return fig
