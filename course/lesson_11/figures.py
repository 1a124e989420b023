"""The figures of lesson 11: what is drawn, not how it is measured."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.patches import Circle, Rectangle
from scipy.stats import norm

from advlib import plots
from course.lesson_11.checks import lower_bound
from course.widgets import explore

LOWER, EXACT, UPPER = "#0072B2", "#000000", "#D55E00"
LOOKS = {"plain": ("#D55E00", "o", "--"), "random words": ("#009E73", "^", "-."),
         "boxes": ("#0072B2", "s", "-"), "boxes, wide start": ("#777777", "x", ":")}  # fmt: skip


def chain():
    """The three numbers on one line, and what lies between them."""
    with plots.style():
        fig, ax = plots.figure(7.2, 2.3)
        ax.axis("off")
        ax.set(xlim=(-0.04, 1.04), ylim=(-1.25, 1.35))
        ends = (0, 0.35, 0.6, 0.8, 1)
        kinds = (("proved robust", LOWER, 0.85), ("robust,\nnot proved", LOWER, 0.35),
                 ("broken in truth,\nnot found", UPPER, 0.3), ("broken", UPPER, 0.8))  # fmt: skip
        for (a, b), (what, colour, alpha) in zip(zip(ends, ends[1:], strict=False), kinds,
                                                 strict=True):  # fmt: skip
            ax.add_patch(Rectangle((a, -0.3), b - a, 0.6, color=colour, alpha=alpha, linewidth=0))
            ax.text((a + b) / 2, -0.45, what, ha="center", va="top", fontsize=9)
        marks = ((0.35, "lower bound", "a certificate", "o"), (0.6, "truth", "every variant", "D"),
                 (0.8, "upper bound", "an attack", "v"))  # fmt: skip
        for x, name, how, mark in marks:
            ax.plot([x, x], [-0.3, 0.42], color="#222222", linewidth=1.5)
            ax.plot(x, 0.42, mark, color="#222222", markersize=8)
            ax.text(x, 0.62, f"{name}\n({how})", ha="center", va="bottom", fontsize=9.5)
        for x in (0, 1):
            ax.text(x, 0.38, f"{x:.0%}", ha="center", va="bottom", fontsize=9, color="#555555")
    fig.alt = ("All texts on a line from 0 to 100 %: proved robust, up to the lower bound; robust "
               "and not proved, up to the truth; broken in truth and not found, up to the upper "
               "bound; broken.")
    return fig


def budgets(withstood, exact):
    """Accuracy under the greedy attack for each budget of queries, and the exact one."""
    with plots.style():
        fig, ax = plots.figure(5.6, 2.9)
        names = [str(b) if b else "no limit" for b in withstood]
        values = list(withstood.values())
        ax.plot(names, values, color=UPPER, marker="v", markersize=8, label="after the attack")
        ax.axhline(exact, color=EXACT, linestyle="--", linewidth=1.5, label="exact worst case")
        ax.set(xlabel="the most queries that the attack may make for a text",
               ylabel="share of texts", ylim=(0, 1.05))  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = (f"Share of texts that withstand the attack: {values[0]:.0%} with {names[0]} "
               f"queries, {values[-1]:.0%} without a limit. A line at the exact worst case, "
               f"{exact:.0%}.")
    return fig


def turned(boxes, square):
    """A square that is turned by 45° again and again, and the box round it after each turn."""
    with plots.style():
        fig, ax = plots.figure(4.6, 4.2)
        shades = plots.matplotlib.colormaps["viridis"](np.linspace(0.1, 0.85, len(boxes)))
        for k, ((lower, upper), shade) in enumerate(zip(boxes, shades, strict=True)):
            (a, b), (c, d) = lower.tolist(), upper.tolist()
            ax.add_patch(Rectangle((a, b), c - a, d - b, fill=False, edgecolor=shade, linewidth=2,
                                   linestyle="-" if k % 2 == 0 else "--"))  # fmt: skip
            if k >= 4:  # the inner ones are too close
                ax.annotate(f"{k}", (c, d), (3, 1), textcoords="offset points", color=shade)
        corners = square.tolist()
        ax.fill(*zip(*corners, strict=True), color=UPPER, alpha=0.6)
        widest = float(boxes[-1][1].max()) * 1.15
        ax.set(xlim=(-widest, widest), ylim=(-widest, widest), aspect="equal",
               xlabel="first coordinate", ylabel="second coordinate")  # fmt: skip
        ax.grid(False)
    first, last = (float(box[1][0] - box[0][0]) for box in (boxes[0], boxes[-1]))
    fig.alt = (f"A square of width {first:.0f} and, round it, a nest of larger and larger boxes, "
               f"one for each turn by 45 degrees; the last is {last:.1f} wide.")
    return fig


def widths(found, spread, smallest):
    """Mean width of the bounds after each layer for some sizes of the box; what members fill."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.7)
        steps = range(len(spread))
        marks = "oDsv^P"
        for (radius, widths), mark in zip(found.items(), marks, strict=False):
            ax.plot(steps, widths, marker=mark, label=f"bounds, size {radius:.0e}")
        ax.plot(steps, spread, color="#222222", linestyle=":", marker="x", markersize=7,
                label=f"random corners, size {smallest:.0e}")
        ax.set(yscale="log", xticks=list(steps), ylabel="mean width of a coordinate",
               xticklabels=["embedding", *(f"layer {k}" for k in steps[1:])])  # fmt: skip
        ax.grid(True, axis="y", which="major")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside right upper", fontsize=9)
    start, *_, end = found[smallest]
    fig.alt = (f"Width of the bounds after each layer, on a logarithmic axis. For a box of size "
               f"{smallest:.0e} it goes from {start:.0e} to {end:.1f}; random corners of that box "
               f"fill {spread[-1]:.0e}.")
    return fig


def network():
    """The small network as a row of parts, and how a box passes each."""
    parts = (("words", "a box for\neach word"), ("each\n(affine, ReLU)", "centre and\nradius"),
             ("filter\n(affine, ReLU)", "centre and\nradius"),
             ("largest over\nthe text", "both ends"),
             ("inner\n(affine, ReLU)", "centre and\nradius"),
             ("out\n(affine)", "a box of\nlogits"))  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7.4, 1.7)
        ax.axis("off")
        ax.set(xlim=(-0.1, len(parts) * 1.3), ylim=(-0.75, 1.0))
        for k, (name, box) in enumerate(parts):
            x = 1.3 * k
            ax.add_patch(Rectangle((x, 0), 1, 0.9, facecolor="#eef3f7", edgecolor="#555555"))
            ax.text(x + 0.5, 0.45, name, ha="center", va="center", fontsize=8.5)
            ax.text(x + 0.5, -0.15, box, ha="center", va="top", fontsize=8.5, color=LOWER)
            if k:
                ax.annotate("", (x, 0.45), (x - 0.3, 0.45), arrowprops={"arrowstyle": "-|>"})
    fig.alt = ("Six parts in a row: words, a layer for each word, a filter over five words, the "
               "largest over the text, an inner layer, the output. Below each, how a box passes: "
               "affine parts by centre and radius, ReLU and the largest by both ends.")
    return fig


def chains(rows, title="share of texts"):
    """lower ≤ exact ≤ attack, a line for each model. rows: name -> dict of shares; nan is no
    mark."""
    with plots.style():
        fig, ax = plots.figure(6.8, 0.9 + 0.42 * len(rows))
        looks = {"lower": ("o", LOWER, "lower bound: certified"),
                 "exact": ("D", EXACT, "exact"),
                 "attack": ("v", UPPER, "upper bound: withstands an attack")}  # fmt: skip
        for y, row in enumerate(rows.values()):
            known = [v for v in row.values() if not math.isnan(v)]
            ax.plot([min(known), max(known)], [y, y], color="#bbbbbb", linewidth=3, zorder=1)
            for kind, (mark, colour, _) in looks.items():
                hollow = kind == "attack"
                ax.plot(row.get(kind, math.nan), y, mark, color=colour, zorder=2 + hollow,
                        markersize={"lower": 12, "exact": 5, "attack": 15}[kind],
                        markerfacecolor="none" if hollow else colour,
                        markeredgewidth=1.8)  # fmt: skip
        ax.set(yticks=range(len(rows)), yticklabels=list(rows), xlim=(-0.04, 1.04), xlabel=title,
               ylim=(len(rows) - 0.5, -0.5))  # fmt: skip
        ax.xaxis.set_major_formatter(plots.PercentFormatter(1))
        ax.grid(True, axis="x")
        ax.grid(False, axis="y")
        for mark, colour, label in looks.values():
            ax.plot([], [], mark, color=colour, label=label, markeredgewidth=1.8,
                    markerfacecolor="none" if mark == "v" else colour)  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=9)

    def said(row):
        return " ≤ ".join(f"{v:.0%}" for v in row.values() if not math.isnan(v))

    fig.alt = "Lower bound, exact, attack: " + "; ".join(f"{n}: {said(r)}" for n, r in rows.items())
    return fig


def boxes_grow(sizes, curves):
    """Share of texts certified while the box grows from nothing to its full size."""
    with plots.style():
        fig, ax = plots.figure(6.2, 3.1)
        for name, shares in curves.items():
            colour, mark, line = LOOKS[name]
            ax.plot(sizes, shares, color=colour, marker=mark, linestyle=line, label=name)
        ax.set(xscale="symlog", xlim=(0, 1.1), ylim=(-0.03, 1.05), ylabel="share certified",
               xlabel="size of the boxes, logarithmic from 0.01 on; 1: whole groups")  # fmt: skip
        ax.set_xscale("symlog", linthresh=0.01)
        ax.set_xticks([0, 0.01, 0.1, 1], ["0", "0.01", "0.1", "1"])
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4, fontsize=9)
    ends = ", ".join(f"{name} {shares[-1]:.0%}" for name, shares in curves.items())
    fig.alt = f"Share certified against the size of the boxes. At full size: {ends}."
    return fig


def words_on_a_ring(group, reach):
    """The words of a group on a ring; the sets of two neighbours on it."""
    n = len(group)
    with plots.style():
        fig, ax = plots.figure(4.6, 3.9)
        ax.axis("off")
        ax.set(xlim=(-1.75, 1.75), ylim=(-1.45, 1.45), aspect="equal")
        ax.add_patch(Circle((0, 0), 1, fill=False, edgecolor="#bbbbbb"))
        for k, word in enumerate(group):
            at = math.pi / 2 - 2 * math.pi * k / n
            x, y = math.cos(at), math.sin(at)
            far = [min((k - c) % n, (c - k) % n) <= reach for c in (0, 1)]
            for inside, size, colour in zip(far, (0.12, 0.2), (LOWER, UPPER), strict=True):
                if inside:
                    ax.add_patch(Circle((x, y), size, fill=False, edgecolor=colour, linewidth=2,
                                        linestyle="-" if colour == LOWER else "--"))  # fmt: skip
            ax.plot(x, y, "o", color="#222222", markersize=4)
            ax.text(1.3 * x, 1.25 * y, word, fontsize=8.5, va="center",
                    ha="center" if abs(x) < 0.2 else "left" if x > 0 else "right",
                    weight="bold" if k < 2 else "normal")  # fmt: skip
        common = len({i % n for i in range(-reach, reach + 1)}
                     & {i % n for i in range(1 - reach, reach + 2)})  # fmt: skip
        whole = min(n, 2 * reach + 1)
        ax.text(0, 0, f"common:\n{common} of {whole}", ha="center", va="center")
        for colour, word, line in ((LOWER, group[0], "-"), (UPPER, group[1], "--")):
            ax.plot([], [], color=colour, linestyle=line, label=f"drawn for “{word}”")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    fig.alt = (f"{n} words on a ring. Each word is drawn from those at most {reach} steps away. "
               f"The sets of two neighbours have {common} of {whole} words in common.")
    return fig


def ring(reaches, overlap, certified):
    """Mean overlap and share certified against how far the sets reach."""
    with plots.style():
        fig, ax = plots.figure(5.8, 3)
        ax.plot(reaches, overlap, color="#777777", marker="o", linestyle="--",
                label="overlap of the worst neighbour, mean")
        ax.plot(reaches, certified, color=LOWER, marker="s", label="share certified")
        ax.set(xlabel="how many steps on the ring a drawn word may be away", ylim=(0, 1.05),
               ylabel="share", xticks=reaches)  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2, fontsize=9)
    fig.alt = (f"With a reach of {reaches[0]} the mean overlap is {overlap[0]:.2f} and "
               f"{certified[0]:.0%} are certified; with {reaches[-1]}, {overlap[-1]:.2f} and "
               f"{certified[-1]:.0%}.")
    return fig


def noise(radii, ceilings):
    """Share of texts with at least this radius, for each size of the noise."""
    looks = {0.5: ("#56B4E9", "o", "-"), 1.0: ("#0072B2", "s", "--"), 2.0: ("#222222", "D", "-."),
             4.0: ("#D55E00", "v", ":")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.4, 3.2)
        most = max(0.5, 1.08 * max(ceilings.values()))
        eps = np.linspace(0, most, 501)
        for sigma, found in radii.items():
            colour, mark, line = looks[sigma]
            shares = [(found > e).mean() for e in eps]
            ax.plot(eps, shares, color=colour, linestyle=line, label=f"sigma {sigma:g}")
            ax.plot(ceilings[sigma], 0.0, mark, color=colour, markersize=9, clip_on=False)
        ax.plot([], [], "o", color="#777777", label="its ceiling")
        ax.set(xlabel="eps, L2 norm over the whole text (0.3 is the course's)", xlim=(0, most),
               ylabel="share certified", ylim=(0, 1.05))  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=5, fontsize=9)
    said = ", ".join(f"sigma {s:g}: {(r > 0).mean():.0%} at 0 and {(r > 0.2).mean():.0%} at 0.2"
                     for s, r in radii.items())  # fmt: skip
    fig.alt = f"Share certified against eps for each size of the noise. {said}."
    return fig


def vote(n=100, right=0.97, sigma=1.0, alpha=0.001, hidden=128):
    """A vote on a line from 0 to 1: the share of right samples, its lower bound, the radius."""
    hits = round(right * n)
    bound = lower_bound(hits, n, alpha)
    radius = max(0.0, sigma * float(norm.ppf(bound)) / math.sqrt(hidden)) if bound else 0.0
    with plots.style():
        fig, ax = plots.figure(6.4, 1.9)
        ax.axvspan(0, 0.5, color="#eeeeee")
        ax.plot([bound, hits / n], [0, 0], color=LOWER, linewidth=5, alpha=0.4)
        ax.plot(hits / n, 0, "D", color=EXACT, markersize=8, label=f"{hits} of {n} right")
        ax.plot(bound, 0, "o", color=LOWER, markersize=9, label=f"lower bound {bound:.3f}")
        ax.axvline(0.5, color="#222222", linestyle="--", linewidth=1)
        ax.axvline(alpha ** (1 / n), color=UPPER, linestyle=":", linewidth=2,
                   label=f"ceiling {alpha ** (1 / n):.3f}")
        ax.set(xlim=(0, 1.01), ylim=(-1, 1), yticks=[], xlabel="chance of the right class",
               title=f"radius {radius:.3f}" if radius else "nothing is certified")  # fmt: skip
        ax.title.set_size(11)
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=9)
    fig.alt = (f"{hits} of {n} samples right. Lower bound {bound:.3f}, ceiling "
               f"{alpha ** (1 / n):.3f}, radius {radius:.3f}.")
    return fig


def explore_the_vote():
    """The same figure, with sliders."""
    explore(vote, n=(100, (5, 9, 10, 20, 50, 100, 200, 1000, 10000)), right=(0.97, 0.4, 1.0, 0.01),
            sigma=(1.0, 0.5, 4.0, 0.5))  # fmt: skip


def one_form(one, other):
    """Words of two sets and the form that they go to: two forms, or by one wrong link a single."""
    links = {"sets as they are": False, "one wrong link": True}
    with plots.style():
        fig, axes = plots.figure(7.2, 3, ncols=2)
        for ax, (title, wrong) in zip(axes, links.items(), strict=True):
            ax.axis("off")
            ax.set(xlim=(-0.5, 1.75), ylim=(-len(one) - len(other), 0.6), title=title)
            ax.title.set_size(11)
            for k, word in enumerate((*one, *other)):
                first = one if wrong or k < len(one) else other
                colour, line = (LOWER, "-") if k < len(one) else (UPPER, "--")
                y, goal = -k - 0.5 * (k >= len(one)), -(0 if first is one else len(one) + 0.5)
                ax.text(0.35, y, word, ha="right", va="center", fontsize=9)
                look = {"arrowstyle": "-|>", "color": colour, "linestyle": line, "lw": 1.3}
                ax.annotate("", (1, goal), (0.4, y), arrowprops=look)
                if word == first[0]:
                    ax.text(1.04, y, word, va="center", fontsize=10, weight="bold")
    fig.alt = (f"Left, {len(one)} words go to “{one[0]}” and {len(other)} others to “{other[0]}”. "
               f"Right, after one wrong link, all of them go to “{one[0]}”.")
    return fig
