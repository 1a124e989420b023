"""The figures of lesson 06, and its form for ratings."""

from html import escape
from importlib.util import find_spec

import numpy as np
from matplotlib.patches import Patch

from advlib import plots
from advlib.corpora import words
from course.widgets import explore, marked

# Colour, marker and line of each attack, the same in all figures of this lesson.
LOOKS = {
    "typos": ("#8C6BB1", "s", "-"), "HotFlip": (plots.COLOURS["standard"], "^", "--"),
    "neighbours": (plots.COLOURS["adversarial"], "v", "-."),
    "language model": ("#222222", "D", ":"),
    "substitution": (plots.COLOURS["words"], "o", (0, (5, 1, 1, 1, 1, 1))),
}  # fmt: skip
SHARES = np.linspace(0, 0.5, 21)
QUERIES = np.unique(np.geomspace(2, 300, 25).astype(int))


def rulers(points: dict):
    """Pairs of words, their embedding distance against their distance in letters."""
    looks = {"typo": ("#8C6BB1", "s", 0), "same opinion": (plots.COLOURS["words"], "o", -0.1),
             "opposite": ("#222222", "X", 0.1)}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(7, 3.6)
        for name, xy in points.items():
            colour, mark, shift = looks[name]
            ax.plot([x + shift for x, _ in xy], [y for _, y in xy], mark, color=colour,
                    markersize=8, alpha=0.8, label=name)  # fmt: skip
        ax.set(xlabel="edit distance, in letters", ylim=(0, None),
               ylabel="embedding distance,\nin mean embedding lengths")  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    fig.alt = (
        "Pairs of words by edit distance and embedding distance. Typos (squares) are two letters "
        "away and highest; same opinion (circles) and opposites (crosses) are far off in letters."
    )
    return fig


def forecasts(forecast, truth, kinds: dict):
    """One mark per flip: the real change of the log-odds against the forecast one."""
    looks = {"random": ("#888888", "o", 3),
             "lowest forecast": (plots.COLOURS["adversarial"], "v", 5),
             "highest forecast": (plots.COLOURS["standard"], "^", 5)}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.8, 3.8)
        for name, (colour, mark, size) in looks.items():
            ax.plot(forecast[:, kinds[name]].ravel(), truth[:, kinds[name]].ravel(), mark,
                    color=colour, label=name, alpha=0.6, markersize=size,
                    markeredgewidth=0)  # fmt: skip
        ax.axhline(0, color="#555555", linewidth=1)
        ax.axvline(0, color="#555555", linewidth=1)
        ax.set(xlabel="forecast change of the log-odds", ylabel="real change of the log-odds")
        ax.set_xscale("symlog", linthresh=0.1)  # even steps up to 0.1, then factors of ten
        ax.set_xticks([-10, -1, -0.1, 0, 0.1, 1, 10], ["−10", "−1", "−0.1", "0", "0.1", "1", "10"])
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    fig.alt = (
        "Flips of words, real change of the log-odds against the forecast one. The highest "
        "forecasts (triangles up) lie far up more often than random flips (dots) and the lowest "
        "(triangles down)."
    )
    return fig


def fewest(possible: list):
    """Per text the fewest changes that fool the model, and those of greedy and beam search."""
    hard = sorted((r for r in possible if r[0] > 1 or r[1] != 1), key=lambda r: (r[0], r[1] or 99))
    top = 1 + max((n for row in hard for n in row if n), default=1)  # the line "fails", if any
    fails = any(row[column] is None for row in hard for column in (1, 2))
    with plots.style():
        fig, ax = plots.figure(7, 3.0)
        for name, column, mark, colour, shift in (
                ("beam of 4", 2, "o", plots.COLOURS["fgm"], 0.16),
                ("greedy", 1, "x", plots.COLOURS["words"], -0.16),
                ("fewest (brute force)", 0, "_", "#222222", 0)):  # fmt: skip
            ax.plot([k + shift for k in range(len(hard))], [row[column] or top for row in hard],
                    mark, color=colour, label=name, fillstyle="none",
                    markersize=16 if mark == "_" else 8, markeredgewidth=2)  # fmt: skip
        ax.set(xlabel="texts that greedy does not win with one change", xticks=(),
               ylabel="number of changed words", ylim=(0.5, top - 0.5 + fails))  # fmt: skip
        ax.set_yticks(range(1, top + fails), [*map(str, range(1, top)), "fails"][: top - 1 + fails])
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    fig.alt = (
        f"{len(hard)} texts with the fewest changed words that fool the model (bar), and those of "
        "greedy (cross) and beam search (circle), which on some texts lie above the bar."
    )
    return fig


def _curves(ax, results, accuracy, kind: str, grid) -> None:
    for name, found in results.items():
        colour, mark, line = LOOKS[name]
        ax.plot(grid, [accuracy(found, **{kind: g}) for g in grid], color=colour, marker=mark,
                linestyle=line, markevery=4, label=name)  # fmt: skip
    ax.set_ylim(-0.02, 1.03)
    ax.yaxis.set_major_formatter("{x:.0%}")


def budgets(results: dict, accuracy):
    """Accuracy under attack against the share of words and against queries."""
    with plots.style():
        fig, (left, right) = plots.figure(8, 3.5, ncols=2, sharey=True)
        _curves(left, results, accuracy, "share", SHARES)
        _curves(right, results, accuracy, "queries", QUERIES)
        left.set(xlabel="share of the words that may change", ylabel="accuracy under attack")
        left.xaxis.set_major_formatter("{x:.0%}")
        right.set(xlabel="queries per text (upper bounds)", xscale="log")
        right.set_xticks([2, 10, 50, 250], ["2", "10", "50", "250"])
        fig.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=5)
    fig.alt = (
        "Accuracy under each attack against the share of words that may change (left) and against "
        "queries (right). All curves start at the clean accuracy and fall; HotFlip needs the "
        "fewest queries."
    )
    return fig


def explore_budgets(results: dict, pick: int, accuracy, fooled_within) -> None:
    """A list of attacks and a slider over the share of words."""

    def draw(attack, percent):
        from IPython.display import display

        found, share = results[attack], percent / 100
        one = found[pick]
        if fooled_within(one, share):
            display(marked(one))
        else:
            most = int(share * len(words(one.original)))
            print(f"{one.original}\nnot fooled with {most} changed words or fewer")
        print(f"accuracy over all {len(found)} texts: {accuracy(found, share=share):.1%}")
        with plots.style():
            fig, ax = plots.figure(6.4, 3)
            _curves(ax, results, accuracy, "share", SHARES)
            ax.axvline(share, color="#222222", linestyle=":", linewidth=1.5)
            ax.set(xlabel="share of the words that may change", ylabel="accuracy under attack")
            ax.xaxis.set_major_formatter("{x:.0%}")
            fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
        fig.alt = f"Accuracy against the share of words; a dotted line marks {percent} %."
        return fig

    explore(draw, attack=("typos", list(results)), percent=(10, 0, 50, 2))


def counted(rates: dict):
    """Bars of the reported success rate; the part that keeps the label is filled."""
    with plots.style():
        fig, ax = plots.figure(7, 3.2)
        for row, (name, (reported, real)) in enumerate(rates.items()):
            ax.barh(row, reported, color="white", edgecolor="#999999", hatch="///", height=0.65)
            ax.barh(row, real, color=LOOKS[name][0], height=0.65)
            ax.annotate(f"{real:.0%} of {reported:.0%}", (reported, row), (4, 0),
                        textcoords="offset points", va="center", fontsize=9.5)  # fmt: skip
        ax.set_yticks(range(len(rates)), list(rates))
        ax.set(xlim=(0, 1.22), xlabel="share of the texts that the model got right")
        ax.xaxis.set_major_formatter("{x:.0%}")
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1])
        ax.invert_yaxis()
        ax.grid(False)
        fig.legend(
            handles=[Patch(color="#555555", label="fooled, label kept"),
                     Patch(facecolor="white", edgecolor="#999999", hatch="///",
                           label="fooled, label not kept")],
            loc="outside upper left", ncols=2)  # fmt: skip
    shown = [f"{name} {real:.0%} of {reported:.0%}" for name, (reported, real) in rates.items()]
    fig.alt = f"Success that keeps the label, of the reported success: {', '.join(shown)}."
    return fig


def rating_buttons(pairs: list) -> list:
    """Show a form with three buttons per pair; returns the buttons, none without ipywidgets."""
    if find_spec("ipywidgets") is None:
        print("Without ipywidgets there are no buttons; write the list into the next cell.")
        return []
    import ipywidgets
    from IPython.display import display

    form, buttons = [], []
    for k, (_, a, b, _) in enumerate(pairs, 1):
        form.append(ipywidgets.HTML(f"<b>{k}</b>&nbsp; A: {escape(a)}<br>&emsp; B: {escape(b)}"))
        buttons.append(ipywidgets.ToggleButtons(options=["?", "same", "not the same"], value="?"))
        form.append(buttons[-1])
    display(ipywidgets.VBox(form))
    return buttons
