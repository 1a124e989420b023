"""The figures of lesson 05: what is drawn, not how it is measured."""

from __future__ import annotations

import torch

from advlib import plots
from course.widgets import explore

COLOUR = {"no attack": plots.COLOURS["clean"], "noise": plots.COLOURS["noise"],
          "FGM": plots.COLOURS["fgm"], "PGD": plots.COLOURS["pgd"],
          "generator": "#5D3A9B"}  # fmt: skip
MARK = {"no attack": "s", "noise": "s", "FGM": "^", "PGD": "o", "generator": "D"}
HATCH = {"noise": "", "FGM": "///", "PGD": "", "generator": "..."}


def portrait(arrows, here, tokens):
    """One review's deltas, in eps: arrows in the plane of FGM and PGD, and lengths per token."""
    first = arrows["FGM"]
    second = arrows["PGD"] - (arrows["PGD"] * first).sum() * first
    second = second / second.norm()
    with plots.style():
        fig, (left, right) = plots.figure(8.6, 3.5, ncols=2, width_ratios=(1, 1.5))
        around = torch.linspace(0, 2 * torch.pi, 200)
        left.plot(around.cos(), around.sin(), color="#999999", linestyle=":", linewidth=1)
        told = []
        for k, (name, delta) in enumerate(arrows.items()):
            x, y = ((delta * axis).sum().item() for axis in (first, second))
            told.append(f"{name} ({x:.1f}, {y:.1f})")
            left.annotate("", (x, y), (0, 0), arrowprops=dict(
                arrowstyle="-|>", color=COLOUR[name], lw=2.5, shrinkA=0, shrinkB=0))
            left.plot(x, y, MARK[name], color=COLOUR[name], markersize=6)
            far = (x * x + y * y) ** 0.5 > 0.3
            left.annotate(name, (x, y), (-6 if far else 0, 9 if far else -13), fontsize=9,
                          textcoords="offset points", ha="right" if far else "center",
                          bbox=dict(facecolor="white", edgecolor="none", alpha=0.7, pad=0.5))
            at = [i + 0.8 * (k - (len(arrows) - 1) / 2) / len(arrows) for i in range(len(here))]
            right.bar(at, delta[here].norm(dim=1), 0.8 / len(arrows), color=COLOUR[name],
                      hatch=HATCH[name], edgecolor="white", linewidth=0.3, label=name)
        left.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-1.2, 1.2), xticks=(-1, 0, 1),
                 yticks=(-1, 0, 1), xlabel="along FGM, in eps",
                 ylabel="across, towards PGD, in eps", title="direction")
        left.grid(False)
        right.set_xticks(range(len(here)), tokens, rotation=50, ha="right", fontsize=9)
        right.set(ylabel="length per token, in eps", title="length", xlabel="token of the review")
        right.legend(ncols=2, fontsize=9)
        for ax in (left, right):
            ax.title.set_size(11)
    fig.alt = (f"Left, arrows in the plane of FGM and PGD end at {', '.join(told)}. Right, bars: "
               "how the length of each source is spread over the tokens of the review.")
    return fig


def training(losses, by_class, names):
    """The two generators' losses, and the accuracy of each class under each source."""
    with plots.style():
        fig, (left, right) = plots.figure(8.4, 3.3, ncols=2, width_ratios=(1, 1.3))
        for (name, curve), colour, line in zip(losses.items(), ("#777777", COLOUR["generator"]),
                                               ("--", "-"), strict=True):
            smooth = torch.tensor(curve).unfold(0, 10, 1).mean(1)
            left.plot(range(10, len(curve) + 1), smooth, color=colour, linestyle=line, label=name)
        left.axhline(0, color="#555555", linewidth=1, linestyle=":")
        left.set(xlabel="step", ylabel="generator's loss (mean of 10 steps)")
        left.legend()
        for c, (shade, hatch) in enumerate((("#555555", ""), ("#BBBBBB", "///"))):
            right.bar([i + 0.4 * c for i in range(len(by_class))],
                      [v[c] for v in by_class.values()], 0.38, color=shade, hatch=hatch,
                      edgecolor="white", label=names[c])
        short = {"blind generator": "blind\ngen.", "generator, told": "gen.,\ntold"}
        right.set_xticks([i + 0.2 for i in range(len(by_class))],
                         [short.get(name, name) for name in by_class], fontsize=9)
        right.set(ylabel="texts right under attack", ylim=(0, 1.25), yticks=(0, 0.5, 1))
        right.yaxis.set_major_formatter("{x:.0%}")
        right.legend(ncols=2, loc="upper right")
    told = ", ".join(f"{name} {a:.0%} and {b:.0%}" for name, (a, b) in by_class.items())
    fig.alt = ("Left, the losses of the blind generator and of the one that is told the label. "
               f"Right, the share right of {names[0]} and {names[1]} texts: {told}.")
    return fig


def sizes(size, grid, clean, sweep):
    """Accuracy against the size under noise, FGM, PGD and the generator."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.5)
        lines = {"noise": ":", "FGM": "--", "PGD": "-", "generator": "-."}
        for name, values in sweep.items():
            ax.plot((0, *grid), (clean, *values), marker=MARK[name], color=COLOUR[name],
                    linestyle=lines[name], label={"PGD": "PGD, 5 steps"}.get(name, name))
        ax.axvline(size, color="#555555", linewidth=1, linestyle=":")
        ax.annotate("generator trained here", (size, 1.0), (5, 0), textcoords="offset points",
                    fontsize=9)
        ax.set(xlabel="size, in mean word lengths", ylabel="accuracy under attack",
               ylim=(-0.02, 1.06))
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    ends = ", ".join(f"{name} {values[-1]:.0%}" for name, values in sweep.items())
    fig.alt = f"Accuracy over the size, from {clean:.0%} without attack; at the largest {ends}."
    return fig


def game(rounds, curves):
    """Accuracy of the victim over the rounds of the game, under each source."""
    with plots.style():
        fig, ax = plots.figure(6.8, 3.5)
        looks = {"no attack": (COLOUR["no attack"], "-", "s"),
                 "generator": (COLOUR["generator"], "-", "D"),
                 "first generator": (COLOUR["generator"], ":", "v"),
                 "PGD": (COLOUR["PGD"], "--", "o")}
        for name, (colour, line, mark) in looks.items():
            ax.plot(rounds, curves[name], color=colour, linestyle=line, marker=mark, label=name)
        ax.set(xlabel="round of the game", ylabel="accuracy of the victim", ylim=(-0.02, 1.03))
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
    told = "; ".join(f"{name} from {v[0]:.0%} to {v[-1]:.0%}" for name, v in curves.items())
    fig.alt = f"Accuracy of the victim over the rounds of the game: {told}."
    return fig


def cloud(ax, stop):
    """The log-odds of all texts at one stop of the game, a dot for each."""
    n = len(stop["PGD"])
    spread = torch.rand(n, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.3
    for k, name in enumerate(("no attack", "generator", "PGD")):
        ax.plot(k + spread, stop[name], ".", color=COLOUR[name], markersize=4, alpha=0.6)
        right = (stop[name] < 0).double().mean()
        ax.annotate(f"{right:.0%}", (k, 1), xycoords=("data", "axes fraction"), ha="center",
                    va="top", fontsize=9.5)
    ax.axhline(0, color="#555555", linewidth=1, linestyle=":")
    ax.set(title=f"round {stop['round']}", ylim=(-14, 16), xlim=(-0.5, 2.5))
    ax.title.set_size(11)
    ax.set_xticks(range(3), ("no\nattack", "gener-\nator", "PGD"))
    ax.grid(False)


def clouds(stops):
    """The clouds of several stops side by side."""
    with plots.style():
        fig, axes = plots.figure(8.4, 3.4, ncols=len(stops), sharey=True)
        for ax, stop in zip(axes, stops, strict=True):
            cloud(ax, stop)
        axes[0].set_ylabel("log-odds of being wrong")
        fig.supxlabel("source of the delta", fontsize=11)
    shares = [", ".join(f"{name} {(stop[name] < 0).double().mean():.0%}"
                        for name in ("no attack", "generator", "PGD")) for stop in stops]
    fig.alt = ("A dot for the log-odds of every text at four moments of the game. Right at the "
               f"first: {shares[0]}; at the last: {shares[-1]}.")
    return fig


def explore_game(stops):
    """The clouds of one stop, with a slider through the game."""

    def draw(stop):
        with plots.style():
            fig, ax = plots.figure(4.4, 3.6)
            cloud(ax, stops[stop])
            ax.set(ylabel="log-odds of being wrong", xlabel="source of the delta")
        fig.alt = f"The log-odds of every text in round {stops[stop]['round']} of the game."
        return fig

    explore(draw, stop=(0, 0, len(stops) - 1, 1))


def transfer(rates, names, size):
    """The transfer rate of three sources at two sizes, a panel for each model B."""
    with plots.style():
        fig, axes = plots.figure(3.6 * len(names) + 1.2, 3.4, ncols=len(names), sharey=True,
                                 squeeze=False)
        told = []
        for ax, name in zip(axes[0], names, strict=True):
            for k, source in enumerate(("FGM", "PGD", "generator")):
                heights = [rates[name, scale, source] for scale in (1, 1.6)]
                told.append(f"{source} {heights[0]:.0%} and {heights[1]:.0%} to the {name}")
                at = [i + 0.27 * (k - 1) for i in range(2)]
                ax.bar(at, heights, 0.25, color=COLOUR[source], hatch=HATCH[source],
                       edgecolor="white", linewidth=0.3, label=source)
                for x, height in zip(at, heights, strict=True):
                    if height == height:  # no bar where no text counts
                        ax.annotate(f"{height:.0%}", (x, height), (0, 2), ha="center", fontsize=9,
                                    textcoords="offset points")
            ax.set_xticks(range(2), [f"{scale * size:.2f}" for scale in (1, 1.6)])
            ax.set(title=f"to the {name} model" if "trained" in name else f"to the {name}",
                   ylim=(0, 1.08), xlabel="size, in mean word lengths")
            ax.title.set_size(11)
            ax.yaxis.set_major_formatter("{x:.0%}")
        axes[0, 0].set_ylabel("transfer rate")
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    fig.alt = f"Transfer rates at two sizes: {'; '.join(told)}."
    return fig
