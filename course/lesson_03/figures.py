"""The figures of lesson 03: each function takes data and returns a figure."""

import torch

from advlib import plots
from advlib.evaluation import wilson  # the 95 % interval of a share
from course import widgets

EPS = "eps (mean length of a word = 1)"
LOOKS = {"noise": ("noise", ":", "o"), "FGM": ("fgm", "-", "D"),
         "FGSM, shortened": ("fgsm", "--", "^"), "FGSM": ("fgsm", "-", "s")}  # fmt: skip


def walk(distance, uphill, anywhere):
    """The loss on the way from a review, along its gradient and along random directions."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.3)
        for k, curve in enumerate(anywhere):
            ax.plot(distance.cpu(), curve, color=plots.COLOURS["noise"], linewidth=1.2,
                    linestyle="--", label=None if k else "ten random directions")
        ax.plot(distance.cpu(), uphill, color=plots.COLOURS["fgm"],
                label="the direction of the gradient")
        ax.axhline(torch.tensor(2.0).log(), color="#555555", linewidth=1, linestyle=":")
        ax.annotate("here both labels are equally likely", (0.99, 0.6), fontsize=9, ha="right",
                    va="top", color="#555555")
        ax.set(xlabel="distance from the review (mean length of a word = 1)", yscale="log",
               ylabel="loss, on a log scale")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = ("The loss of one review against the distance walked, on a log scale: a solid green "
               "line along the gradient climbs steeply, dashed grey ones in ten random directions "
               "stay flat.")
    return fig


def angles(cosines):
    """Histograms of the cosine of random directions with a fixed one, a panel per dimension."""
    with plots.style():
        fig, axes = plots.figure(7.4, 2.6, ncols=len(cosines), sharex=True)
        for ax, (d, values) in zip(axes, cosines.items(), strict=True):
            ax.hist(values, bins=torch.linspace(-1, 1, 61), color=plots.COLOURS["noise"])
            for side in (-1, 1):
                ax.axvline(side * d**-0.5, color="#222222", linestyle=":", linewidth=1.2)
            ax.set(title={2560: "2,560 = 20 × 128"}.get(d, f"{d} dimensions"), xlabel="cosine",
                   xticks=(-1, 0, 1), yticks=())
            ax.title.set_size(10.5)
            ax.grid(False)
        axes[0].set_ylabel("number of directions")
    fig.alt = ("Four histograms of cosines, for 2, 128, 768 and 2,560 dimensions: piled up at -1 "
               "and 1 in the plane, and ever more crowded around 0 in more dimensions.")
    return fig


def accuracy(hits, clean, n):
    """Accuracy against eps for each attack, with 95 % Wilson bands."""
    with plots.style():
        fig, ax = plots.figure(6.8, 3.9)
        for name, (colour, line, marker) in LOOKS.items():
            eps, counts = [0, *hits[name]], [clean, *hits[name].values()]
            bands = torch.tensor([wilson(k, n) for k in counts])
            ax.plot(eps, [k / n for k in counts], color=plots.COLOURS[colour], linestyle=line,
                    marker=marker, label=name)
            ax.fill_between(eps, *bands.T, color=plots.COLOURS[colour], alpha=0.15, linewidth=0)
        ax.set(xlabel=EPS, ylabel="accuracy", ylim=(0, 1.03), xlim=(0, max(eps) + 0.02))
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    fig.alt = ("Accuracy against eps, with bands: noise is flat, FGSM falls fastest, then FGM, and "
               "FGSM shortened to the length of FGM falls least of the three.")
    return fig


def one_review(found):
    """For each eps: this review's probability (above) and the share of texts fooled (beneath)."""
    with plots.style():
        fig, axes = plots.figure(7.6, 4.0, nrows=2, ncols=len(found), sharey=True)
        for column, (eps, both) in zip(axes.T, found.items(), strict=True):
            _panel(column, eps, both)
        axes[0, 0].set_ylabel("P(true label),\nthis review")
        axes[1, 0].set_ylabel("share of\ntexts fooled")
    fig.alt = ("Bars for several eps. Above, the probability of one review's true label: FGM and "
               "FGSM bring it down, noise does not. Beneath, the share of all texts fooled, which "
               "grows with eps for FGM and FGSM alone.")
    return fig


def explore_review(found, grid):
    """A slider over eps for `found(eps)`, drawn as two panels."""

    def draw(eps):
        with plots.style():
            fig, axes = plots.figure(7.2, 2.6, ncols=2)
            _panel(axes, eps, found(eps))
            axes[0].set_ylabel("P(true label),\nthis review")
            axes[1].set_ylabel("share of\ntexts fooled")
        fig.alt = ("Bars for one eps: the probability of one review's true label under each "
                   "attack, and the share of all texts fooled.")
        return fig

    widgets.explore(draw, eps=(0.3, grid))


def _panel(axes, eps, both):
    for ax, heights in zip(axes, both, strict=True):
        for k, (name, height) in enumerate(heights.items()):
            ax.bar(k, height, color=plots.COLOURS[name.lower()])
            ax.text(k, height, f"{height:.0%}", ha="center", va="bottom", fontsize=9)
        ax.set_xticks(range(len(heights)), list(heights), fontsize=9)
        ax.set(ylim=(0, 1.18), yticks=(0, 0.5, 1))
        ax.yaxis.set_major_formatter("{x:.0%}")
    axes[0].axhline(0.5, color="#555555", linestyle=":", linewidth=1)
    axes[0].set_title(f"eps = {eps:g}", fontsize=11)


def plane(sizes, bands):
    """What the plane forecasts against what happens: change, ratio and turn of the gradient."""
    green = plots.COLOURS["fgm"]
    with plots.style():
        fig, axes = plots.figure(8.2, 3.2, ncols=3)
        for name, colour, line in (("predicted", "#222222", "o--"), ("actual", green, "s-")):
            low, middle, high = bands[name].T
            axes[0].plot(sizes, middle, line, color=colour, label=name)
            axes[0].fill_between(sizes, low.clamp_min(1e-9), high, color=colour, alpha=0.15)
        axes[0].set(ylabel="change of the loss", yscale="log")
        axes[0].legend(loc="upper left")
        axes[1].axhspan(0.8, 1.25, color="#cccccc", alpha=0.6)
        for ax, name in zip(axes[1:], ("ratio", "cosine"), strict=True):
            low, middle, high = bands[name].T
            ax.plot(sizes, middle, "s-", color=green)
            ax.fill_between(sizes, low, high, color=green, alpha=0.15)
        axes[1].set(ylabel="actual / predicted change", yscale="log", ylim=(0.6, 30))
        axes[1].set_yticks((1, 3, 10, 30), ("1", "3", "10", "30"))
        axes[1].set_yticks((), minor=True)
        axes[2].set(ylabel="cosine, gradient before and after",
                    ylim=(min(0, low.min().item()) - 0.02, 1.03))
        for ax in axes:
            ax.set(xscale="log")
            ax.set_xticks((0.01, 0.05, 0.2, 0.8), ("0.01", "0.05", "0.2", "0.8"))
            ax.set_xticks((), minor=True)
        fig.supxlabel(EPS, fontsize=11)
    fig.alt = ("Three panels against eps. The actual change of the loss rises far above the "
               "predicted one, their ratio leaves the strip around 1, and the cosine of the "
               "gradients before and after the step falls from 1.")
    return fig


def tokens(texts):
    """Texts token by token, each on a ground as dark as its share; texts: (tokens, shares)."""
    with plots.style():
        fig, ax = plots.figure(7.6, 3.4)
        y = 0
        for words, weights in texts:
            y = _row(ax, y, words, weights)
        ax.set(xlim=(-1, 94), ylim=(y - 0.6, -0.9))
        ax.axis("off")
    fig.alt = ("Some test texts with their tokens on grounds of different darkness: most are "
               "white, and one to four tokens of a text are orange.")
    return fig


def _row(ax, y, words, weights, width=88):
    x = 0
    for word, weight in zip(words, weights, strict=True):
        if x + len(word) > width:
            x, y = 2, y + 1
        # parse_math=False: a dollar sign in a review is a dollar sign
        ax.text(x, y, word, family="DejaVu Sans Mono", fontsize=9, va="center", parse_math=False,
                bbox=dict(facecolor=plots.COLOURS["words"], alpha=min(1, 2 * weight), pad=1.6,
                          linewidth=0))  # fmt: skip
        x += len(word) + 1.3
    return y + 1.6
