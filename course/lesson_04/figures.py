"""The figures of lesson 04: what is drawn, not how it is measured."""

from __future__ import annotations

import math

import matplotlib
import torch
from matplotlib.patheffects import withStroke

from advlib import plots
from course.widgets import explore

ANGLE = torch.linspace(0, 2 * torch.pi, 361)
CIRCLE = torch.stack([ANGLE.cos(), ANGLE.sin()], dim=1)


def walks(walks, parts, compass):
    """Log-odds along walks with one, two and eight looks, and how the gradient turns."""
    with plots.style():
        fig, (left, right) = plots.figure(7, 2.8, ncols=2)
        looks = {1: ("#009E73", "o", "-"), 2: ("#8C6BB1", "s", "--"), 8: ("#CC79A7", "^", "-.")}
        for k, (heights, _) in walks.items():
            colour, mark, line = looks[k]
            left.plot(torch.linspace(0, 1, len(heights)), heights.mean(1), color=colour,
                      marker=mark, linestyle=line, label="1 look (FGM)" if k == 1 else f"{k} looks")
        left.axhline(0, color="#555555", linestyle=":", linewidth=1)
        left.set(xlabel="distance walked, in eps", ylabel="mean log-odds of being wrong")
        left.legend(fontsize=9)
        right.plot(parts, compass, color="#222222", marker="o")
        right.set(xlabel="distance walked with FGM, in eps", ylim=(0, 1.05),
                  ylabel="cosine with the first gradient")
    ends = ", ".join(f"{heights[-1].mean():+.1f} with {k}" for k, (heights, _) in walks.items())
    fig.alt = (f"Left, mean log-odds over the distance walked: at the end {ends} looks. Right, the "
               f"cosine with the first gradient falls from 1 to {compass[-1]:.2f}.")
    return fig


def projections(starts, goals):
    """Five points and their nearest points of the disc (l2) and of the square (linf)."""
    with plots.style():
        fig, axes = plots.figure(7, 3.5, ncols=2, sharey=True)
        for ax, (norm, ends), power in zip(axes, goals.items(), (2, math.inf), strict=True):
            shape = CIRCLE / CIRCLE.norm(p=power, dim=1, keepdim=True)
            ax.fill(shape[:, 0], shape[:, 1], color=plots.COLOURS["pgd"], alpha=0.2)
            for start, goal in zip(starts, ends, strict=True):
                if (start - goal).norm() > 0:
                    arrow = dict(arrowstyle="-|>", color="#222222", lw=1.5, shrinkA=0, shrinkB=0)
                    ax.annotate("", goal.tolist(), start.tolist(), arrowprops=arrow)
            ax.plot(starts[:, 0], starts[:, 1], "o", color="#222222")
            ax.set(xlim=(-2, 2), ylim=(-1.8, 1.8), aspect="equal", xticks=(-1, 0, 1),
                   yticks=(-1, 0, 1), xlabel="first coordinate, in eps",
                   title={"l2": "L2: a disc", "linf": "L∞: a square"}[norm])
            ax.title.set_size(11)
            ax.grid(False)
        axes[0].set_ylabel("second coordinate, in eps")
    fig.alt = ("Arrows from five points to where they are projected: in the disc towards the "
               "centre, in the square upright, level or into a corner. The inner point stays.")
    return fig


def step_sizes(runs):
    """Mean log-odds after every step, a line for each step size."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.2)
        looks = {"4·eps": ("#D55E00", ":", "v"), "eps/2": (plots.COLOURS["pgd"], "-", "o"),
                 "eps/20": ("#0072B2", "--", "s"),
                 "2.5·eps/steps": ("#56B4E9", (0, (5, 1, 1, 1, 1, 1)), "D"),
                 "eps/√k": ("#222222", "-.", "^")}
        for name, heights in runs.items():
            colour, line, mark = looks[name]
            ax.plot(heights, color=colour, linestyle=line, marker=mark, markersize=4, label=name)
        ax.axhline(0, color="#999999", linewidth=1)
        ax.set(xlabel="step", ylabel="mean log-odds of being wrong",
               xticks=range(0, len(heights), 2))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=5, fontsize=9)
    last = ", ".join(f"{heights[-1]:+.1f} for {name}" for name, heights in runs.items())
    fig.alt = f"Mean log-odds over twelve steps. At the end: {last}."
    return fig


def discs(points):
    """Random points of the disc, a panel for each way to draw their radius."""
    with plots.style():
        fig, axes = plots.figure(6, 3.3, ncols=2, sharey=True)
        shares = []
        for ax, (title, dots) in zip(axes, points.items(), strict=True):
            ax.plot(CIRCLE[:, 0], CIRCLE[:, 1], color="#222222", linewidth=1)
            ax.plot(CIRCLE[:, 0] / 2, CIRCLE[:, 1] / 2, color="#222222", linewidth=1, linestyle=":")
            ax.plot(dots[:, 0], dots[:, 1], ".", color="#777777", markersize=2)
            shares.append(f"{(dots.norm(dim=1) < 0.5).float().mean():.0%}")
            ax.set(aspect="equal", title=f"{title}:\n{shares[-1]} within half", xticks=(-1, 0, 1),
                   yticks=(-1, 0, 1), xlabel="first coordinate, in eps")
            ax.title.set_size(10)
            ax.grid(False)
        axes[0].set_ylabel("second coordinate, in eps")
    fig.alt = (f"600 points of a disc. With a uniform radius they crowd at the centre, {shares[0]} "
               f"within half the radius; with its square root they are even, {shares[1]}.")
    return fig


def five_runs(losses, fgm):
    """Log-odds of every text after FGM, after PGD from zero and from four random starts."""
    order = losses.amax(0).argsort()
    with plots.style():
        fig, ax = plots.figure(7, 3.4)
        for run in range(1, len(losses)):
            ax.plot(losses[run, order], ".", color=plots.COLOURS["pgd"], markersize=6,
                    label=None if run > 1 else "PGD from four random starts")
        ax.plot(losses[0, order], "_", color="#222222", markersize=7, label="PGD from zero")
        ax.plot(fgm[order], "x", color=plots.COLOURS["fgm"], markersize=5, label="FGM")
        ax.axhline(0, color="#555555", linewidth=1, linestyle=":")
        ax.set(xlabel="number of the text, the hardest to fool on the left",
               ylabel="log-odds of being wrong")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    spread = (losses.amax(0) - losses.amin(0)).median()
    fig.alt = ("Log-odds of every text under FGM and five runs of PGD, sorted. The runs differ "
               f"by {spread:.1f} for the median text; the mean of FGM is {fgm.mean():+.1f}, of PGD "
               f"from zero {losses[0].mean():+.1f}.")
    return fig


def planes(maps, ends):
    """The log-odds of one text on planes through its ball. ends: per plane, names and points."""
    with plots.style():
        fig, axes = plots.figure(7.6, 3.5, ncols=2)
        heights = torch.cat([surface.flatten() for _, surface in maps.values()])
        low, top = heights.min().item(), heights.max().item()
        bottom, roof = min(math.floor(low), -1), max(math.ceil(top), 1)
        fine = [low * (1 - 0.5**k) for k in range(6, 1, -1)] if low < 0 else []
        norm = matplotlib.colors.TwoSlopeNorm(0, bottom, roof)
        for ax, (name, (ticks, surface)) in zip(axes, maps.items(), strict=True):
            shown = ax.contourf(ticks, ticks, surface, levels=range(bottom, roof + 1), norm=norm,
                                cmap="RdBu_r")
            ax.contour(ticks, ticks, surface, levels=fine, colors="white", linewidths=0.9,
                       linestyles="-")
            ax.contour(ticks, ticks, surface, levels=[0], colors="#222222", linewidths=1.4)
            ax.plot(CIRCLE[:, 0], CIRCLE[:, 1], color="#222222", linestyle="--", linewidth=1)
            for (label, xy), mark in zip(ends[name].items(), "o*X", strict=False):
                ax.plot(*xy, mark, color="white", markeredgecolor="black", markersize=11)
                ax.annotate(label, xy, (-7, 8), textcoords="offset points", fontsize=9, ha="right",
                            bbox=dict(facecolor="white", edgecolor="none", alpha=0.7, pad=1))
            ax.set(aspect="equal", xlabel="PGD's direction, in eps", ylabel=f"{name}, in eps",
                   xticks=(-1, 0, 1), yticks=(-1, 0, 1))
            ax.grid(False)
        fig.colorbar(shown, ax=axes, label="log-odds of being wrong", shrink=0.9, format="{x:.0f}",
                     spacing="proportional",
                     ticks=[t for t in range(bottom, roof + 1) if t % 2 == 0])
    fig.alt = ("Log-odds of one text on two planes through its ball, between "
               f"{low:.1f} and {top:+.1f}. Left it rises along PGD's direction and hardly along a "
               "random one; right the plane with the end points of FGM and PGD.")
    return fig


def curves(grid, curves):
    """Accuracy against eps under noise, FGM and PGD, a panel for each model."""
    with plots.style():
        fig, axes = plots.figure(3.2 * len(curves) + 0.6, 3, ncols=len(curves), squeeze=False,
                                 sharey=True)
        for ax, (name, lines) in zip(axes[0], curves.items(), strict=True):
            for kind, mark, line in (("Noise", "s", ":"), ("FGM", "^", "--"), ("PGD", "o", "-")):
                ax.plot((0, *grid), lines[kind], marker=mark, linestyle=line,
                        color=plots.COLOURS[kind.lower()],
                        label={"Noise": "noise", "PGD": "PGD, 10 steps"}.get(kind, kind))
            ax.set(ylim=(-0.02, 1.03), xlabel="eps, in mean word lengths", title=f"{name} model")
            ax.title.set_size(11)
            ax.yaxis.set_major_formatter("{x:.0%}")
        axes[0, 0].set_ylabel("accuracy under attack")
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    ends = "; ".join(f"{name} model: noise {lines['Noise'][-1]:.0%}, FGM {lines['FGM'][-1]:.0%}, "
                     f"PGD {lines['PGD'][-1]:.0%}" for name, lines in curves.items())
    fig.alt = f"Accuracy over eps under three attacks. At eps = {grid[-1]}, {ends}."
    return fig


def hill(ax, landscape, name, way, odds):
    """The landscape of the tiny model on one axes, its summit and one run of PGD."""
    disc, surface, summit, highest = landscape
    levels = range(math.floor(surface.min()), math.ceil(surface.max()) + 1)
    shown = ax.contourf(*disc.unbind(-1), surface, levels=levels, cmap="viridis")
    ax.plot(*summit, "*", color="#F0E442", markeredgecolor="black", markersize=22,
            clip_on=False, label=f"exact worst point, {highest:+.1f}")
    ax.plot(way[:, 0], way[:, 1], ".-", color="white", markersize=4, linewidth=1.2, clip_on=False,
            path_effects=[withStroke(linewidth=3, foreground="black")])
    ax.plot(*way[0], "o", color="white", markeredgecolor="black", markersize=8, label="start")
    ax.plot(*way[-1], "X", color=plots.COLOURS["pgd"], markeredgecolor="black", markersize=7,
            clip_on=False, label="where PGD is")
    ax.set(aspect="equal", xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.set_title(f"{name}: {odds[-1]:+.1f}".replace("-", "−"), fontsize=9)
    ax.grid(False)
    return shown


def hills(landscape, runs):
    """The landscape of the tiny model four times, with PGD's way from four starts."""
    with plots.style():
        fig, axes = plots.figure(5.8, 5.1, nrows=2, ncols=2, sharex=True, sharey=True)
        for ax, (name, (way, odds)) in zip(axes.flat, runs.items(), strict=True):
            shown = hill(ax, landscape, f"{name}, PGD ends at", way, odds)
        fig.colorbar(shown, ax=axes, label="log-odds of being wrong", shrink=0.7, format="{x:.0f}")
        fig.supxlabel("first direction of the disc, in eps", fontsize=10)
        fig.supylabel("second direction of the disc, in eps", fontsize=10)
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3,
                   markerscale=0.6)
    ends = ", ".join(f"{name} at {odds[-1]:+.1f}" for name, (_, odds) in runs.items())
    fig.alt = (f"A disc with two hills; the higher top is at {landscape[3]:+.1f}. PGD ends {ends}.")
    return fig


def explore_hill(landscape, run_from):
    """The same landscape with sliders, the way step by step. run_from(radius, angle, step_size):
    the points of PGD's way and the log-odds there."""

    def draw(radius, angle, step_size, steps):
        with plots.style():
            fig, ax = plots.figure(4.6, 3.8)
            way, odds = (all[: steps + 1] for all in run_from(radius, angle, step_size))
            start = f"from {angle}°" if radius else "from the centre"
            shown = hill(ax, landscape, f"{start}, after {steps} steps", way, odds)
            ax.set(xlabel="first direction, in eps", ylabel="second direction, in eps")
            fig.colorbar(shown, ax=ax, label="log-odds of being wrong", format="{x:.0f}")
        fig.alt = f"PGD's way over the landscape; after {steps} steps it is at {odds[-1]:+.1f}."
        return fig

    explore(draw, radius=(0.8, 0.0, 1.0, 0.1), angle=(0, 0, 345, 15),
            step_size=(0.25, [0.05, 0.1, 0.25, 0.5, 1.0, 2.0]), steps=(3, 0, 20, 1))
