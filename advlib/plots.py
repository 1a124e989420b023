"""The one style of figures in the course: the same colour for the same thing everywhere.

    with plots.style():
        fig, axes = plots.figure()
        axes.plot(steps, losses, color=plots.COLOURS["pgd"])

Figures are objects, without pyplot: nothing stays open, no global setting changes, and they work
without a screen. Their paper is white in dark mode too, so that the colours mean the same there.
"""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Okabe and Ito's palette, which colour-blind readers can tell apart (grey added for noise).
COLOURS = {
    "clean": "#000000", "noise": "#999999", "fgsm": "#56B4E9", "fgm": "#009E73",
    "pgd": "#CC79A7", "words": "#E69F00",
    "standard": "#D55E00", "adversarial": "#0072B2",
}  # fmt: skip

MARKERS = {"standard": "o", "adversarial": "s"}  # so that colour is not all that tells

NAMES = {"none": "no attack", "Noise": "noise", "WordSubstitution": "word\nsubstitution",
         "EmbeddingNeighbours": "near\nwords", "Typos": "typos"}  # fmt: skip

RC = {
    "figure.facecolor": "white", "axes.facecolor": "white", "savefig.facecolor": "white",
    "font.family": "DejaVu Sans", "font.size": 11, "axes.labelsize": 11,
    "xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10, "legend.frameon": False,
    "text.color": "#222222", "axes.labelcolor": "#222222", "axes.edgecolor": "#555555",
    "xtick.color": "#555555", "ytick.color": "#555555",
    "xtick.labelcolor": "#222222", "ytick.labelcolor": "#222222",
    "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e2e2e2", "axes.axisbelow": True,
    "lines.linewidth": 2, "lines.markersize": 5,
}  # fmt: skip


class Picture(Figure):
    """A Figure that a notebook shows by itself. A plain Figure does so only after pyplot has been
    imported, and pyplot would keep a list of open figures.

    alt: the figure in words, for those who cannot see it.
    """

    alt: str = ""

    def _repr_png_(self) -> tuple[bytes, dict]:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=160)
        width, height = self.get_size_inches()
        size = {"width": round(80 * width), "height": round(80 * height)}
        return file.getvalue(), size | ({"alt": self.alt} if self.alt else {})

    def _ipython_display_(self) -> None:
        """Show this picture, and not what matplotlib's inline backend, which any widget switches
        on, would make of it."""
        from IPython.display import publish_display_data

        png, metadata = self._repr_png_()
        publish_display_data({"image/png": png, "text/plain": repr(self)}, {"image/png": metadata})

    def __repr__(self) -> str:  # what a front end without pictures shows
        return f"Figure: {self.alt}" if self.alt else super().__repr__()

    def svg(self) -> bytes:
        """The figure as SVG: text as shapes, no date, the same bytes for the same figure."""
        file = io.BytesIO()
        with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "advlib"}):
            self.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


def style() -> AbstractContextManager:
    """`with style():` draws as the course draws; after it, matplotlib's settings are as before."""
    return matplotlib.rc_context(RC)


def figure(width: float = 6.4, height: float = 3.6, **subplots):
    """A new figure and its axes, in the course's style. subplots: as for `Figure.subplots`."""
    with style():
        picture = Picture(figsize=(width, height), layout="constrained")
        return picture, picture.subplots(**subplots)


def accuracy_bars(table) -> Figure:
    """A group of bars per attack, a bar per model, whiskers at the 95 % interval; the majority
    class is a line across.

    table: the rows of `robustness`, as a DataFrame or dicts; `model` tells models apart. Without
        it, the bars have the colours of their attacks.
    """
    rows = _rows(table)
    constant = [r["accuracy"] for r in rows if r["attack"] == "majority class"][:1]
    rows = [r for r in rows if r["attack"] != "majority class"]
    groups = {_group(r): r["attack"] for r in rows}
    if len(set(groups.values())) < len(groups):  # one attack twice: what differs is its settings
        groups = {key: key.replace("(", "(\n").replace(", ", ",\n") for key in groups}
    keys, models = list(groups), _by_model(rows)
    with style():
        fig, axes = figure(max(6.4, 0.7 + 0.55 * len(keys) * max(2, len(models))))
        width = 0.8 / len(models)
        for k, (model, own) in enumerate(models.items()):
            x = [keys.index(_group(r)) + (k - (len(models) - 1) / 2) * width for r in own]
            # Rounding may put the end of an interval a hair on the wrong side of 0 or 1.
            whiskers = [[max(0, r["accuracy"] - r["low"]) for r in own],
                        [max(0, r["high"] - r["accuracy"]) for r in own]]  # fmt: skip
            axes.bar(x, [r["accuracy"] for r in own], width * 0.92,
                     color=_colour(model, k) if model else [_of_attack(r["attack"]) for r in own],
                     label=model or None, yerr=whiskers, capsize=3, ecolor="#222222")  # fmt: skip
            for at, row in zip(x, own, strict=True):
                axes.annotate(f"{row['accuracy']:.1%}", (at, row["high"]), (0, 3), fontsize=8.5,
                              textcoords="offset points", ha="center", va="bottom")  # fmt: skip
        for share in constant:
            axes.axhline(share, color="#222222", linewidth=1.2, linestyle=(0, (5, 3)), zorder=3,
                         label="always the majority class")  # fmt: skip
        axes.set_xticks(range(len(keys)), [_shown(name) for name in groups.values()])
        axes.tick_params(axis="x", length=0)
        _percent(axes, 1.09)
        _legend(fig, axes)
    return fig


def accuracy_curve(curve) -> Figure:
    """Accuracy against relative ε for each model, with its 95 % band; ε = 0 is without attack."""
    with style():
        fig, axes = figure()
        drawn: dict[str, list] = {}
        for k, (model, own) in enumerate(_by_model(_rows(curve)).items()):
            own = sorted(own, key=lambda r: r["eps"])
            eps, colour = [r["eps"] for r in own], _colour(model, k)
            points = [(r["eps"], r["accuracy"]) for r in own]
            axes.plot(*zip(*points, strict=True), color=colour, **_line(model, k),
                      label=_told_apart(model, points, drawn) or None)  # fmt: skip
            axes.fill_between(eps, [r["low"] for r in own], [r["high"] for r in own],
                              color=colour, alpha=0.18, linewidth=0)  # fmt: skip
        axes.set_xlabel("ε, relative to the mean token-embedding norm")
        axes.set_xlim(left=0)
        _percent(axes, 1.03)
        _legend(fig, axes)
    return fig


def training_curves(training: dict[str, list[dict]]) -> Figure:
    """Loss against step: one colour and marker per model, the adversarial loss dashed."""
    with style():
        fig, axes = figure()
        drawn: dict[str, list] = {}
        for k, (model, log) in enumerate(training.items()):
            for name, line in (("clean_loss", "-"), ("adv_loss", (0, (3, 1.5)))):
                points = [(r["step"], r[name]) for r in log if r.get(name) is not None]
                if points:
                    kind = "clean" if name == "clean_loss" else "adversarial"
                    look = _line(model, k) | {"linestyle": line, "markevery": -(-len(points) // 8)}
                    label = _told_apart(f"{model} model, {kind} loss", points, drawn)
                    axes.plot(*zip(*points, strict=True), color=_colour(model, k), label=label,
                              **look)  # fmt: skip
        axes.set_xlabel("step")
        axes.set_ylabel("loss")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
        _legend(fig, axes, 1 if any("(the same" in label for label in drawn) else 2)
    return fig


def _rows(table) -> list[dict]:
    rows = table.to_dict("records") if hasattr(table, "to_dict") else list(table)
    return [r for r in rows if r.get("accuracy") is not None and not math.isnan(r["accuracy"])]


def _by_model(rows: list[dict]) -> dict[str, list[dict]]:
    models = dict.fromkeys(r.get("model", "") for r in rows) or [""]
    return {model: [r for r in rows if r.get("model", "") == model] for model in models}


def _group(row: dict) -> str:
    return row.get("threat model") or row["attack"]


def _shown(name: str) -> str:
    """An attack's name, cut where it is long; settings come in lines of their own."""
    name = NAMES.get(name, name)
    return name if len(name) <= 40 or "\n" in name else name[:39] + "…"


def _line(model: str, place: int) -> dict:
    """Later lines are dashed and their markers hollow: where two coincide, both are seen."""
    look = {"marker": MARKERS.get(model, "^"), "markersize": 5 + 3 * place}
    return look | ({"linestyle": (0, (4, 3)), "markerfacecolor": "none"} if place else {})


def _told_apart(label: str, points: list, drawn: dict[str, list]) -> str:
    """The label, with a note where a line that is drawn already has the same points."""
    same = [other for other, there in drawn.items() if len(there) == len(points) and all(
        abs(a - b) < 5e-3 for one, two in zip(there, points, strict=True)
        for a, b in zip(one, two, strict=True))]  # fmt: skip
    label += f" (the same as {same[0]})" if same else ""
    drawn[label] = points
    return label


def _colour(model: str, place: int) -> str:
    return COLOURS.get(model, ("#444444", "#777777", "#aaaaaa")[place % 3])


def _of_attack(name: str) -> str:
    key = {"none": "clean", "WordSubstitution": "words"}.get(name, name.lower())
    return COLOURS.get(key, "#444444")


def _percent(axes, top: float) -> None:
    axes.set_ylim(0, top)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("accuracy")


def _legend(fig: Figure, axes, columns: int = 4) -> None:
    if axes.get_legend_handles_labels()[1]:
        fig.legend(loc="outside upper left", ncols=columns)
