"""The figures of lesson 02: each function takes data and returns a figure."""

import torch
from matplotlib.patches import FancyBboxPatch

from advlib import plots
from course import widgets

DISTANCE = "distance (mean length of a row = 1)"


def rows(ids, tokens, table):
    """A sentence as places in the vocabulary, and as rows of the embedding table."""
    with plots.style():
        fig, axes = plots.figure(7.6, 3.2, ncols=2, width_ratios=(1, 1.2), sharey=True)
        axes[0].plot(ids, range(len(ids)), "s", color=plots.COLOURS["clean"], markersize=4)
        axes[0].set(xlim=(-0.02 * len(table), len(table)), xlabel="id (place in the vocabulary)",
                    title="one-hot: one 1 in each row", ylabel="token")
        axes[0].set_yticks(range(len(ids)), tokens)
        shown = axes[1].imshow(table[ids][:, :48], cmap="RdBu", vmin=-0.3, vmax=0.3, aspect="auto")
        axes[1].set(xlabel="coordinate (the first 48)", title="embedding: a point in space")
        fig.colorbar(shown, ax=axes[1], label="value")
        axes[0].set_ylim(len(ids) - 0.5, -0.5)
        for ax in axes:
            ax.title.set_size(11)
            ax.grid(False)
    fig.alt = ("One sentence, a token per line. Left, one mark per token at its place in the "
               "vocabulary; right, the first 48 numbers of each embedding as coloured cells.")
    return fig


def one_pass():
    """The way of a text through the model, and the way of the gradient back."""
    stages = (("ids", "whole\nnumbers", "#dddddd"), ("embeddings", "E[ids] + δ", "#E69F00"),
              ("encoder", "layers of\nthe model", "#cfe5f2"),
              ("logits", "one for\neach class", "#cfe5f2"),
              ("loss", "one number\nfor each text", "#cfe5f2"))  # fmt: skip
    step, wide, y = 2.15, 1.55, 1.0
    black, green = "#222222", plots.COLOURS["fgm"]
    with plots.style():
        fig, ax = plots.figure(8.2, 2.7)
        for k, (name, what, colour) in enumerate(stages):
            x = k * step
            ax.add_patch(FancyBboxPatch((x, y), wide, 1.1, boxstyle="round,pad=0.02",
                                        facecolor=colour, edgecolor=black))
            ax.text(x + wide / 2, y + 0.83, name, ha="center", va="center", weight="bold")
            ax.text(x + wide / 2, y + 0.36, what, ha="center", va="center", fontsize=9)
            if k:
                ax.annotate("", (x - 0.05, y + 0.55), (x - step + wide + 0.05, y + 0.55),
                            arrowprops=dict(arrowstyle="-|>", color=black, linewidth=1.5))
        middle = step + wide / 2
        ax.annotate("δ is added here", (middle, y + 1.14), (middle, y + 1.75), ha="center",
                    va="center", arrowprops=dict(arrowstyle="-|>", color=black, linewidth=1.5))
        last = 4 * step + wide / 2
        ax.plot((last, last, middle), (y - 0.06, 0.35, 0.35), "--", color=green)
        ax.annotate("", (middle, y - 0.04), (middle, 0.32),
                    arrowprops=dict(arrowstyle="-|>", color=green, linewidth=2))
        ax.text((middle + last) / 2, 0.1, "the gradient of the loss with respect to δ",
                ha="center", va="center", color="#00664b")
        ax.text(wide / 2, 0.35, "no gradient\ngets here", ha="center", va="center", fontsize=9,
                color="#555555")
        ax.set(xlim=(-0.1, last + wide / 2 + 0.1), ylim=(-0.1, 3.0))
        ax.axis("off")
    fig.alt = ("Five boxes in a row, joined by arrows: ids, embeddings plus delta, encoder, "
               "logits, loss. A dashed arrow, the gradient, leads from the loss back to the "
               "embeddings and no further, not to the ids.")
    return fig


def lengths(tokens, sizes, special):
    """How long the gradient is on each token; special tokens hatched."""
    names = [{",": "comma", ".": "full stop"}.get(token, token) for token in tokens]
    with plots.style():
        fig, ax = plots.figure(7, 2.8)
        shades = [plots.COLOURS["noise"] if s else plots.COLOURS["fgm"] for s in special]
        ax.bar(range(len(names)), sizes / sizes.max(), color=shades, edgecolor="white",
               linewidth=0, hatch=["///" if s else "" for s in special])
        ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
        ax.set(ylabel="length of the gradient\n(largest = 1)", xlabel="token of the sentence")
        ax.tick_params(axis="x", length=0)
    fig.alt = ("A bar for each token of one sentence: the length of the gradient on it. One or "
               "few words have bars well above the others; the special tokens are grey and "
               "hatched.")
    return fig


def gaps(gap, count):
    """How far the nearest other word is, with a budget of 0.3 for one token and for `count`."""
    with plots.style():
        fig, ax = plots.figure(7, 3.3)
        ax.hist(gap, bins=torch.linspace(0, 1.5, 61).tolist(), color=plots.COLOURS["words"])
        lines = ((0.3 / count**0.5, f"0.3 over {count} tokens", "--"), (0.3, "eps = 0.3", "-"))
        for e, name, line in lines:
            ax.axvline(e, color=plots.COLOURS["pgd"], linewidth=1.5, linestyle=line)
            ax.annotate(name, (e, 0.97), (-4, 0), rotation=90, ha="right", va="top", fontsize=9,
                        xycoords=("data", "axes fraction"), textcoords="offset points")
        ax.set(xlim=(0, 1.5), xlabel="distance to the nearest other row (mean length of a row = 1)",
               ylabel="number of words")
    fig.alt = ("A histogram of the distances from words to their nearest other row, with lines at "
               "0.3 and at 0.3 shared by all tokens of a sentence. Nearly all of the histogram "
               "lies to the right of both lines.")
    return fig


def neighbourhoods(found):
    """A panel for each of `found`: the words nearest to a word, those within eps in colour."""
    with plots.style():
        fig, axes = plots.figure(8.2, 3.3, ncols=len(found))
        for ax, one in zip(axes, found, strict=True):
            _neighbourhood(ax, **one)
        axes[0].set_ylabel("nearest words")
        fig.supxlabel(DISTANCE, fontsize=11)
    fig.alt = ("Three panels of bars, for three words and growing eps: the distances to the nine "
               "nearest words. Within eps = 0.3 there is next to none, within 1 there are most.")
    return fig


def explore_neighbourhood(found, choices):
    """Controls for a word and eps, over `found(word, eps)`."""

    def draw(word, eps):
        with plots.style():
            fig, ax = plots.figure(5, 3.2)
            _neighbourhood(ax, **found(word, eps))
            ax.set(xlabel=DISTANCE, ylabel="nearest words")
        fig.alt = (f"Bars: the distances from {word} to its nine nearest words, with a line at "
                   f"eps = {eps:g}.")
        return fig

    widgets.explore(draw, word=(choices[0], choices), eps=(0.3, 0.1, 1.5, 0.05))


def _neighbourhood(ax, word, eps, near, far, company):
    inside = [distance <= eps for distance in far]
    bars = ax.barh(range(len(near)), far, edgecolor="white", linewidth=0,
                   color=[plots.COLOURS["words"] if b else "#dddddd" for b in inside])
    for bar, within in zip(bars, inside, strict=True):
        bar.set_hatch("" if within else "///")
    ax.set_yticks(range(len(near)), near)
    ax.axvline(eps, color=plots.COLOURS["pgd"], linewidth=1.5)
    ax.set(xlim=(0, 1.5), ylim=(len(near) - 0.4, -0.6))
    ax.set_title(f"“{word}”, eps = {eps:g}\n{company:.0%} of ALL words\nhave company")
    ax.title.set_size(10)
    ax.grid(False)


def training(log):
    """The loss on test texts, clean and under attack; log: (step, clean, under attack)."""
    steps, clean, attacked = zip(*log, strict=True)
    with plots.style():
        fig, ax = plots.figure(6.4, 3)
        ax.plot(steps, attacked, color=plots.COLOURS["adversarial"],
                marker=plots.MARKERS["adversarial"], label="under attack")
        ax.plot(steps, clean, color=plots.COLOURS["clean"], marker="o", linestyle="--",
                label="clean")
        ax.set(xlabel="steps of training", ylabel="loss on test texts", ylim=(0, None))
        ax.set_xticks(steps)
        ax.legend()
    fig.alt = ("The loss on test texts against the steps of training: the line under attack lies "
               "high and falls, the clean one stays low.")
    return fig
