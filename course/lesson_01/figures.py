"""The figures of lesson 01."""

from __future__ import annotations

import torch

from advlib import plots
from course.widgets import explore

GREY, DARK = "#777777", "#222222"
ORDERS = {"linf": float("inf"), "l2": 2, "l1": 1}
BALLS = {"linf": ("L∞", "fgsm"), "l2": ("L2", "fgm"), "l1": ("L1", "words")}


def points(X, y, w, b):
    """The two clouds of points, and the boundary of one model."""
    with plots.style():
        fig, ax = plots.figure(7, 2.7)
        _draw(ax, X, y, w, b, plots.COLOURS["standard"])
        ax.set(xlabel="$x_1$, the wide coordinate", ylabel="$x_2$, the narrow one")
        _legend(fig, ax, 3)
    fig.alt = (
        "Two clouds of points in a plane, one per label, far apart along the wide coordinate and "
        "close together along the narrow one. A slanted line between them is the boundary."
    )
    return fig


def balls(w, deltas):
    """Per norm the ball of radius 1, the worst delta, and the line of the margin through it."""
    circle = torch.linspace(0, 2 * torch.pi, 721)
    unit = torch.stack([circle.cos(), circle.sin()], dim=1)
    with plots.style():
        fig, axes = plots.figure(7.6, 3.3, ncols=3, sharey=True)
        for ax, (norm, delta) in zip(axes, deltas.items(), strict=True):
            name, shade = BALLS[norm]
            ball = unit / unit.norm(p=ORDERS[norm], dim=1, keepdim=True)
            ax.fill(ball[:, 0], ball[:, 1], color=plots.COLOURS[shade], alpha=0.25)
            along = torch.stack([-w[1], w[0]])
            ax.axline(delta.tolist(), (delta + along).tolist(), color="#555555", linestyle="--",
                      linewidth=1.2, label="pushes that lower the margin just as much")  # fmt: skip
            ax.plot([], [], color=DARK, marker=">", linewidth=1.8, label="the worst push δ")
            arrow = dict(arrowstyle="-|>", color=DARK, lw=1.8, shrinkA=0, shrinkB=0)
            ax.annotate("", delta.tolist(), (0, 0), arrowprops=arrow)
            ax.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal",
                   xlabel=r"push along $x_1$",
                   title=f"{name}: margin falls by {-(w @ delta):.2f}")  # fmt: skip
            ax.title.set_size(11)
            ax.grid(False)
        axes[0].set_ylabel(r"push along $x_2$")
        _legend(fig, axes[0], 2)
    fig.alt = (
        "Three balls of radius 1: a square, a disc and a diamond. In each an arrow from the middle "
        "to the worst push, where a dashed line just touches the ball: a corner of the square, the "
        "point of the disc opposite to w, the left corner of the diamond."
    )
    return fig


def outline(grid, curves, worst, tangents):
    """The loss against the weight for fixed deltas, their upper outline, and slopes at points.

    curves: a row per delta, the middle one clean. tangents: weight -> (loss, slope).
    """
    orange = plots.COLOURS["standard"]
    with plots.style():
        fig, ax = plots.figure(6.8, 3.9)
        ax.plot(grid, curves.T, color="#bbbbbb", linewidth=0.9,
                label=["one fixed δ each", *[None] * (len(curves) - 1)])  # fmt: skip
        ax.plot(grid, curves[len(curves) // 2], color=DARK, linestyle=":", label="clean, δ = 0")
        ax.plot(grid, worst, color=plots.COLOURS["adversarial"], label="worst case")
        near = torch.tensor([-0.8, 0.8])
        for k, (at, (height, slope)) in enumerate(tangents.items()):
            ax.plot(at + near, height + slope * near, color=orange, linewidth=1.5, linestyle="--")
            ax.plot(at, height, "o", color=orange)
            if not k:
                ax.plot([], [], "o--", color=orange, linewidth=1.5,
                        label="your gradient at the dot, as a slope")  # fmt: skip
        kink = worst[grid.abs().argmin()].item()
        ax.annotate("the worst δ changes sides", (0, kink), (0, 0.12), ha="center", fontsize=9.5,
                    arrowprops=dict(arrowstyle="-|>", color="#555555", shrinkB=4))  # fmt: skip
        ax.set(xlabel="weight w", ylabel="loss at the point", ylim=(0, 3), xlim=(-2.5, 3))
        _legend(fig, ax, 2)
    fig.alt = (
        "Thin grey curves of the loss against the weight, one per fixed push; a blue line follows "
        "their upper edge. Two dashed orange lines touch the blue one at dots. At weight 0 all "
        "curves meet and the blue line has a kink."
    )
    return fig


def models(X, y, trained):
    """Four trained models, each with its settings and accuracies as a title."""
    with plots.style():
        fig, axes = plots.figure(8.6, 3.9, nrows=2, ncols=2, sharex=True, sharey=True)
        for ax, one in zip(axes.flat, trained, strict=True):
            _panel(ax, X, y, one)
        for ax in axes[1]:
            ax.set_xlabel("$x_1$ (wide)")
        for ax in axes[:, 0]:
            ax.set_ylabel("$x_2$ (narrow)")
        handles, labels = axes[0, 1].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper left", ncols=4)
    fig.alt = "Four trained models on the same points. " + " ".join(map(_words, trained))
    return fig


def model(X, y, one):
    """One trained model on the points."""
    with plots.style():
        fig, ax = plots.figure(7, 3.0)
        _panel(ax, X, y, one)
        ax.set(xlabel="$x_1$ (wide)", ylabel="$x_2$ (narrow)")
        _legend(fig, ax, 4)
    fig.alt = f"One trained model on the points. {_words(one)}"
    return fig


def explore_models(X, y, train):
    """The same figure with sliders. train: (eps, lam) -> a trained model and its accuracies."""
    explore(
        lambda eps, lam: model(X, y, train(eps, lam)),
        eps=(0.6, 0.0, 1.6, 0.05),
        lam=(0, (0, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10)),
    )


def training(intended, published, eps):
    """Loss and both accuracies at every step of training on two formulas."""
    names = ("loss", "accuracy on clean points", f"accuracy, attack ε = {eps}")
    blue, orange = plots.COLOURS["adversarial"], plots.COLOURS["standard"]
    with plots.style():
        fig, axes = plots.figure(9, 3.3, ncols=3)
        for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
            every = max(1, len(intended) // 8)
            ax.plot(intended[:, k], color=blue, marker="s", markevery=every,
                    label="trained on the intended formula")  # fmt: skip
            ax.plot(published[:, k], color=orange, linestyle="--", marker="o",
                    markevery=(every // 2, every),
                    label="trained on the published formula")  # fmt: skip
            ax.axvline(200, color="#999999", linewidth=1, linestyle=":", label="step 200")
            ax.set(ylabel=name, xlabel="step of training")
            if k:
                ax.set_ylim(0, 1.03)
                ax.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes[0].axhline(0, color="#555555", linewidth=0.8)
        _legend(fig, axes[0], 3)
    fig.alt = (
        "Three panels against the step of training. The published formula's loss falls below zero "
        "and on; its accuracy on clean points stays near 100 % past step 200 and then falls; its "
        "accuracy under attack breaks away long before. The intended one hardly moves."
    )
    return fig


def curve(front, rivals):
    """Clean loss against adversarial loss: the models of the weighted sum, and TRADES."""
    with plots.style():
        fig, ax = plots.figure(6.8, 4.6)
        ax.plot(*zip(*front.values(), strict=True), "s-", color=plots.COLOURS["adversarial"],
                label="trained on $L + λ\\,L_{adv}$, for many λ")  # fmt: skip
        ax.plot(*zip(*rivals.values(), strict=True), "D", color=plots.COLOURS["pgd"],
                label="TRADES, for four β")  # fmt: skip
        for beta, at in rivals.items():
            ax.annotate(f"β = {beta:g}", at, (8, 3), textcoords="offset points", fontsize=9)
        clean, attacked = front[1.0]
        away = 0.05
        ax.plot([clean - away, clean + away], [attacked + away, attacked - away], color="#777777",
                linewidth=1.2, linestyle="--",
                label="the same sum $L + L_{adv}$ as the model with λ = 1")  # fmt: skip
        names = {0.05: ("λ = 0.05", (8, 2)), 0.1: ("λ = 0.1", (8, 2)), 0.3: ("λ = 0.3", (8, 2)),
                 1.0: ("Goodfellow:\nα = 0.5, λ = 1", (-62, -34)),
                 1e6: ("Madry:\nλ → ∞", (22, -40))}  # fmt: skip
        for lam, (name, shift) in names.items():
            leader = dict(arrowstyle="-", color="#999999") if lam >= 1 else None
            ax.annotate(name, front[lam], shift, textcoords="offset points", fontsize=9,
                        ha="center" if lam >= 1 else "left", arrowprops=leader)  # fmt: skip
        ax.set(xlim=(0, 0.2), ylim=(0.24, 0.69))
        ax.set(xlabel="loss on clean points, $L$", ylabel="loss under attack, $L_{adv}$")
        fig.legend(loc="outside upper left")
    fig.alt = (
        "Loss on clean points to the right, loss under attack upwards. Squares for rising λ form "
        "a curve that falls steeply from the upper left and flattens to the right; a dashed line "
        "of slope −1 touches it at λ = 1. The diamonds of TRADES lie on the curve or above it."
    )
    return fig


def _draw(ax, X, y, w, b, colour, reach=0.0):
    """The points, the boundary, and (dashed) the lines where the score is reach and -reach."""
    for label, face, mark, name in ((1, GREY, "o", "y = +1"), (-1, "white", "s", "y = −1")):
        own = X[y == label]
        ax.scatter(own[:, 0], own[:, 1], s=14, c=face, marker=mark, edgecolors=GREY,
                   linewidths=0.7, label=name)  # fmt: skip
    along = torch.stack([-w[1], w[0]]) / w.norm()
    levels = {0.0: "boundary"}
    if reach:
        levels |= {reach: "how far an attacker can push across it", -reach: None}
    for level, name in levels.items():
        point = (level - b) * w / (w @ w)
        ax.axline(point.tolist(), (point + along).tolist(), color=colour, label=name,
                  linestyle="--" if level else "-", linewidth=1.2 if level else 2.2)  # fmt: skip
    ax.set(xlim=(-4, 4), ylim=(-1.05, 1.05), aspect="equal")
    ax.grid(False)


def _panel(ax, X, y, one):
    """One trained model: its boundary, and dashed where its worst-case margin is zero."""
    w, eps, lam = one["w"], one["eps"], one["lam"]
    colour = plots.COLOURS["adversarial" if lam else "standard"]
    _draw(ax, X, y, w, one["b"], colour, reach=float(eps * w.norm(p=1)))
    ax.set_title(f"ε = {eps:g}, λ = {lam:g}: clean {one['clean']:.1%}, "
                 f"robust {one['robust']:.1%}, ‖w‖ = {w.norm():.2f}")  # fmt: skip
    ax.title.set_size(10)


def _words(one) -> str:
    """A trained model in a sentence."""
    tilt = "upright" if one["w"][1].abs() < 0.1 * one["w"][0].abs() else "slanted"
    return (
        f"ε = {one['eps']:g} and λ = {one['lam']:g}: a boundary that is {tilt}, "
        f"{one['clean']:.1%} right on clean points, {one['robust']:.1%} under attack."
    )


def _legend(fig, ax, columns):
    """One legend above the panels."""
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper left", ncols=columns)
