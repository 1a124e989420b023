"""The figures of lesson 09."""

from __future__ import annotations

import math

import torch

from advlib import plots
from advlib.attacks.embedding import divergence
from course.widgets import explore

PARTS = {"F": ("forward", "#D9D9D9"), "B": ("backward to the input", plots.COLOURS["pgd"]),
         "W": ("on to the weights", plots.COLOURS["adversarial"])}  # fmt: skip
TITLES = {"PGD": "PGD, K = 3", "TRADES": "TRADES, K = 3", "FreeLB": "FreeLB, K = 3",
          "Free": "Free, m = 4"}  # fmt: skip
WALKS = ("PGD", "TRADES", "VAT", "FreeLB", "Free", "R3F")


def _units(passes) -> int:
    return sum(len(parts.strip("*")) for _, parts in passes)


def _strip(ax, row, passes) -> None:
    """A row of boxes, one per unit of work, the point below, a star per optimizer step."""
    at = 0
    for point, parts in passes:
        begin = at
        for part in parts.strip("*"):
            ax.barh(row, 0.94, left=at, height=0.5, color=PARTS[part][1])
            ax.text(at + 0.47, row, part, ha="center", va="center", fontsize=9,
                    color="white" if part == "W" else "black")  # fmt: skip
            at += 1
        name = point if point == "past" else point.replace("x+d", "+δ").replace("d", "+δ")
        name = name.translate(str.maketrans("01234567", "₀₁₂₃₄₅₆₇"))
        ax.text((begin + at) / 2 - 0.03, row + 0.28, name, ha="center", va="top", fontsize=9)
        if "*" in parts:
            ax.plot(at - 0.03, row - 0.37, "*", color="#222222", markersize=8)


def passes(plan):
    """The passes of every method on one batch, a row each."""
    rows = [("plain", 1), ("PGD", 3), ("TRADES", 3), ("VAT", 1), ("SMART", 1), ("FreeLB", 3),
            ("Free", 4), ("R3F", 1)]  # fmt: skip
    names = TITLES | {"R3F": "R3F, R-Drop"}
    with plots.style():
        fig, ax = plots.figure(7, 5.4)
        for row, (name, K) in enumerate(rows):
            _strip(ax, row, plan(name, K))
        ax.set_yticks(range(len(rows)), [names.get(name, name) for name, _ in rows])
        ax.set(xlim=(0, 14.6), ylim=(len(rows) - 0.3, -0.6), xlabel="units of work on one batch")
        ax.set_xticks(range(0, 15, 3))
        ax.grid(axis="x")
        ax.grid(False, axis="y")
        for part, (meaning, colour) in PARTS.items():
            ax.bar(0, 0, color=colour, label=f"{part}: {meaning}")
        ax.plot([], [], "*", color="#222222", markersize=9, label="optimizer step")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9,
                   handlelength=1, columnspacing=1.2)  # fmt: skip
    fig.alt = (
        "A row of boxes per training method, one box per unit of work: F forward, B backward to "
        "the input, W on to the weights, with stars for optimizer steps. PGD with K = 3 has twelve "
        "boxes and two W, FreeLB nine boxes and three W, Free a W and a star in each of four."
    )
    return fig


def hill(delta):
    """The log-odds of being wrong over a plane, for points (n, 2)."""
    a, b = delta.unbind(-1)
    high = 4.5 * torch.exp(-((a - 0.75) ** 2 + (b - 0.55) ** 2) / 0.35)
    low = 2.6 * torch.exp(-((a + 0.8) ** 2 + (b + 0.25) ** 2) / 0.30)
    return high + low + 0.5 * b - 2.4


def _surface_kl(delta):
    logits = [torch.stack([torch.zeros(len(d)), hill(d)], 1) for d in (0 * delta, delta)]
    return divergence(*logits)


def _push(height, point):
    point = point.detach().requires_grad_()
    grad = torch.autograd.grad(height(point[None]).sum(), point)[0]
    return grad / grad.norm().clamp_min(1e-9)


def trace(name, K, seed=0):
    """The points of a method in the plane, (n, 2), and for each whether the weights learn there."""
    draw = torch.Generator().manual_seed(seed)
    way = torch.randn(2, generator=draw)
    way, centre = way / way.norm(), torch.zeros(2)
    if name == "R3F":
        return torch.stack([centre, way]), [True, True]
    if name == "VAT":
        points, d = [centre], way
        for _ in range(K):
            points.append(0.2 * d)
            d = _push(_surface_kl, points[-1])
        return torch.stack([*points, d]), [True] + [False] * K + [True]
    gathers = name in ("FreeLB", "Free")
    at = {"PGD": centre, "TRADES": 0.2 * way}.get(name, 0.6 * way)
    points = [at] if name == "PGD" or gathers else [centre, at]
    for t in range(K - gathers):
        push = _push(hill if name == "PGD" or gathers else _surface_kl, points[-1])
        there = points[-1] + (0.45 if gathers else 0.6 / (t + 1)) * push
        points.append(there / there.norm().clamp_min(1.0))
    learn = [True] * K if gathers else [True] + [False] * (len(points) - 2) + [True]
    return torch.stack(points), learn


def _path(ax, name, K, seed=0) -> None:
    side = torch.linspace(-1.25, 1.25, 81)
    height = hill(torch.cartesian_prod(side, side)).reshape(81, 81).T
    round = 2 * math.pi * torch.linspace(0, 1, 181)
    ax.contourf(side, side, height, levels=range(-4, 4), cmap="Greys", alpha=0.75)
    ax.plot(round.cos(), round.sin(), color="#555555", linewidth=1)
    points, learn = trace(name, K, seed)
    ax.plot(*points.T, color=plots.COLOURS["pgd"], linewidth=1.5)
    for i, (point, taught) in enumerate(zip(points, learn, strict=True), 1):
        ax.plot(*point, "s" if taught else "o", markersize=11, markeredgecolor="white",
                color=PARTS["W" if taught else "B"][1])  # fmt: skip
        ax.text(*point, str(i), ha="center", va="center_baseline", fontsize=9,
                color="white" if taught else "black", clip_on=True)  # fmt: skip
    ax.set(aspect="equal", xticks=(), yticks=())
    ax.grid(False)


def paths(plan):
    """The way of six methods through one ball over two hills."""
    with plots.style():
        fig, axes = plots.figure(7, 5.2, nrows=2, ncols=3)
        for ax, name in zip(axes.flat, WALKS, strict=True):
            K = {"VAT": 1, "R3F": 1, "Free": 4}.get(name, 3)
            _path(ax, name, K, seed={"VAT": 4, "TRADES": 7}.get(name, 0))
            ax.set_title(f"{TITLES.get(name, name)}: {_units(plan(name, K))} units", fontsize=10)
        for row in axes:
            row[0].set_ylabel("second coordinate of δ", fontsize=9)
        for ax in axes[1]:
            ax.set_xlabel("first coordinate of δ", fontsize=9)
        axes[0, 0].plot([], [], "s", color=PARTS["W"][1], markersize=9, label="the weights learn")
        axes[0, 0].plot([], [], "o", color=PARTS["B"][1], markersize=9, label="only looked at")
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (
        "Six panels with the same ball over a low hill on the left and a higher one at the top "
        "right. PGD and TRADES climb and learn at both ends of the way, VAT jumps to the lower "
        "hill, FreeLB and Free learn at every point, R3F goes to a random point."
    )
    return fig


def explore_paths(plan) -> None:
    """One method's way and its passes, for a K and a start that can be moved."""

    def draw(method, K, start):
        passes, units = plan(method, K), _units(plan(method, K))
        with plots.style():
            fig, (left, right) = plots.figure(7, 2.9, ncols=2, width_ratios=(1, 2.1))
            _path(left, method, K, start)
            left.set_xlabel("first coordinate of δ", fontsize=9)
            left.set_ylabel("second coordinate of δ", fontsize=9)
            for row, some in enumerate((plan("plain", K), passes)):
                _strip(right, row, some)
            right.set(xlim=(0, 25), ylim=(1.7, -0.6), xlabel="units of work on one batch")
            right.set_yticks((0, 1), ("plain", method))
            right.set_title(f"{units} units, {units / 3:.1f} times plain training", fontsize=10)
        fig.alt = f"The way of {method} over the two hills, and its passes: {units} units."
        return fig

    explore(draw, method=("FreeLB", WALKS), K=(3, 1, 8, 1), start=(0, 0, 9, 1))


def race(table):
    """Accuracy clean and under PGD for every row of the race, with intervals."""
    colours, other = plots.COLOURS, ("another adversary", "o", plots.COLOURS["adversarial"])
    looks = {"plain": ("plain training", "s", colours["standard"]),
             "FGM": ("FGM", "^", colours["fgm"]), "PGD-3": ("PGD", "v", colours["pgd"]),
             "R-Drop": ("no adversary", "D", "#777777"), "R3F": ("no adversary", "D", "#777777"),
             "before": ("before training", "X", "#222222")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7, 4.7)
        for place, r in enumerate(table):
            label, marker, colour = looks.get(r["name"].split(",")[0], other)
            seen = ax.get_legend_handles_labels()[1]
            ax.plot([r["low"], r["high"]], [place, place], color=colour, linewidth=5, alpha=0.35,
                    solid_capstyle="butt")  # fmt: skip
            ax.plot(r["robust"], place, marker, color=colour, markersize=8, linestyle="none",
                    label=None if label in seen else label)  # fmt: skip
            ax.plot(r["clean"], place, "|", color="#000000", markersize=11, markeredgewidth=2)
            if r["name"] == "plain":
                ax.axvspan(r["low"], r["high"], color=colour, alpha=0.08, linewidth=0)
        ax.plot([], [], "|", color="#000000", markersize=11, markeredgewidth=2,
                label="accuracy without attack", linestyle="none")  # fmt: skip
        ax.set_yticks(range(len(table)), [r["name"] for r in table])
        ax.set(ylim=(len(table) - 0.5, -0.5), xlim=(0, 1.02),
               xlabel="accuracy on the test texts; under PGD with its 95 % interval")  # fmt: skip
        ax.xaxis.set_major_formatter("{x:.0%}")
        longer = [k for k, r in enumerate(table) if r["name"].endswith(", long")]
        if longer:
            ax.axhline(longer[0] - 0.5, color="#555555", linewidth=0.8, linestyle=":")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9)
    rows = "; ".join(f"{r['name']} {r['robust']:.0%} ({r['low']:.0%} to {r['high']:.0%}), clean "
                     f"{r['clean']:.0%}" for r in table)  # fmt: skip
    fig.alt = (
        f"A row per method: accuracy under PGD, its interval, accuracy without attack. {rows}."
    )
    return fig


def falls(histories, change):
    """Accuracy clean, under FGM and under PGD after every epoch, a panel per way of going on."""
    looks = (("clean", "clean", "--", None), ("fgm", "FGM", "-", "^"), ("pgd", "PGD", "-", "o"))
    with plots.style():
        fig, axes = plots.figure(7, 3.1, ncols=len(histories), sharey=True)
        for ax, (name, history) in zip(axes, histories.items(), strict=True):
            for column, (what, label, line, marker) in enumerate(looks):
                ax.plot(range(1, len(history) + 1), [h[column] for h in history], line, label=label,
                        color=plots.COLOURS[what], marker=marker, markevery=4)  # fmt: skip
            ax.axvline(change + 0.5, color="#555555", linestyle=":", linewidth=1)
            ax.set(xlabel="epoch", ylim=(0, 1.02))
            ax.set_title(f"then {name}", fontsize=10)
        axes[0].set_ylabel("accuracy")
        axes[0].yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    ends = "; ".join(f"{name}: clean {h[-1][0]:.2f}, FGM {h[-1][1]:.2f}, PGD {h[-1][2]:.2f}"
                     for name, h in histories.items())  # fmt: skip
    fig.alt = f"Accuracy against epoch in a panel per training, alike at first. At the end: {ends}."
    return fig
