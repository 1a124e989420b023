"""The figures of lesson 00."""

from __future__ import annotations

import numpy as np

from advlib import plots


def one_word(tried):
    """All texts that differ in one word, a dot each. tried: rows of (word, its substitutes, the
    probability of "positive" with each)."""
    with plots.style():
        fig, ax = plots.figure(6.4, 3.9)
        looks = ((False, "o", "clean", "the model stays right"),
                 (True, "D", "words", "the model is fooled"))  # fmt: skip
        for row, (_, options, positive) in enumerate(tried):
            height = np.linspace(row - 0.3, row + 0.3, len(positive))  # so that all are seen
            for fooled, mark, colour, name in looks:
                own = (positive < 0.5) == fooled
                ax.scatter(positive[own], height[own], color=plots.COLOURS[colour], marker=mark,
                           s=22, clip_on=False, zorder=3, label=None if row else name)  # fmt: skip
            for k in np.flatnonzero(positive < 0.5):
                ax.annotate(options[k], (positive[k], height[k]), (8, 0),
                            textcoords="offset points", va="center")  # fmt: skip
        ax.axvline(0.5, color="#777777", linestyle="--", linewidth=1)
        ax.set_yticks(range(len(tried)), [word for word, *_ in tried])
        ax.invert_yaxis()
        ax.set_xlim(-0.02, 1.02)
        ax.set_xlabel("probability of “positive” with one word replaced")
        ax.set_ylabel("the word that is replaced")
        fig.legend(loc="outside upper left", ncols=2)
    fooling = [options[k] for _, options, p in tried for k in np.flatnonzero(p < 0.5)]
    fig.alt = (
        "A row of dots for each word of the sentence, a dot for each text with that word replaced, "
        f"by the probability of positive. Below one half: {', '.join(fooling) or 'none'}."
    )
    return fig


def kinds(flips, total):
    """A bar per kind of word: which share of its changes fools the model."""
    names = list(flips)
    share = [100 * flips[name] / max(1, total[name]) for name in names]
    said = [f"{flips[name]} of {total[name]}" for name in names]
    with plots.style():
        fig, ax = plots.figure(6.4, 2.4)
        bars = ax.barh(names, share, color=plots.COLOURS["words"], height=0.6)
        ax.bar_label(bars, said, padding=5)
        ax.invert_yaxis()
        ax.grid(axis="y", visible=False)
        ax.set_xlim(0, 1.25 * max(*share, 0.1))
        ax.set_xlabel("changed texts that fool the model, in per cent")
        ax.set_ylabel("kind of word")
    bars = ", ".join(f"{name} {text}" for name, text in zip(names, said, strict=True))
    fig.alt = f"Bars: how many changed texts fool the model, by the kind of word: {bars}."
    return fig


def accuracies(clean, one_word, attacked):
    """Three bars: the accuracy without attack and under two attackers."""
    values = {"no attack": clean, "one changed word": one_word, "any number of words": attacked}
    with plots.style():
        fig, ax = plots.figure(6.4, 3.2)
        bars = ax.bar(list(values), [100 * v for v in values.values()], width=0.6,
                      color=[plots.COLOURS["clean"], *[plots.COLOURS["words"]] * 2])  # fmt: skip
        ax.bar_label(bars, [f"{v:.0%}" for v in values.values()], padding=3)
        ax.axhline(50, color="#777777", linestyle="--", linewidth=1)
        ax.annotate("tossing\na coin", (2.38, 50), (0, 3), textcoords="offset points",
                    fontsize=9, color="#555555")  # fmt: skip
        ax.set(xlim=(-0.55, 2.8), ylim=(0, 109))
        ax.set(xlabel="what the attacker may change", ylabel="accuracy in per cent")
    bars = ", ".join(f"{name} {v:.0%}" for name, v in values.items())
    fig.alt = f"Three bars of accuracy: {bars}. A dashed line marks 50 per cent, tossing a coin."
    return fig
