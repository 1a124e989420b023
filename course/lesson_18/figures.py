"""The figures of lesson 18, Recommender."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import PercentFormatter

from advlib import plots
from advlib.corpora import words
from advlib.systems.ranking import promote
from course.lesson_18.workshop import SHARE, WORLD
from course.widgets import explore

GREY = "#BBBBBB"
LOOKS = {"clean": ("o", plots.COLOURS["standard"]), "FGM": ("^", plots.COLOURS["fgm"]),
         "robust": ("s", plots.COLOURS["adversarial"]), "equal": ("D", "#000000")}  # fmt: skip


def parts():
    """The parts of the program, and the one that a seller can reach."""
    boxes = [(0.0, 1.5, "item's text"), (2.5, 1.5, "reader\n(a victim)"), (5.0, 1.5, "opinion"),
             (0.0, 0.0, "log of clicks,\nkinds, prices"),
             (5.0, 0.0, "what was known\nthe day before"), (7.6, 0.75, "ranker\n(trees)"),
             (10.0, 0.75, "first ten\nof a user")]  # fmt: skip
    arrows = [(0, 1), (1, 2), (2, 5), (3, 4), (4, 5), (5, 6)]
    with plots.style():
        fig, ax = plots.figure(8.4, 2.7)
        ax.set(xlim=(-1.1, 11.1), ylim=(-0.7, 2.9))
        ax.axis("off")
        for a, b in arrows:
            (xa, ya, _), (xb, yb, _) = boxes[a], boxes[b]
            ax.annotate("", (xb - 0.95, yb), (xa + 0.95, ya),
                        arrowprops=dict(arrowstyle="-|>", color="#222222", lw=1.6))
        for x, y, what in boxes:
            mine = what == "item's text"
            ax.add_patch(FancyBboxPatch(
                (x - 0.85, y - 0.4), 1.7, 0.8, facecolor="#fff4e0" if mine else "white",
                edgecolor=plots.COLOURS["standard"] if mine else "#555555",
                lw=2.2 if mine else 1.3, boxstyle="round,pad=0.03,rounding_size=0.12"))
            ax.text(x, y, what, ha="center", va="center", fontsize=9)
        ax.text(0, 2.25, "a seller hands it in", ha="center", fontsize=10,
                color=plots.COLOURS["standard"])  # fmt: skip
    fig.alt = ("The parts: an item's text goes to a reader, which gives an opinion; the log of "
               "clicks with the kinds and prices of items gives what was known the day before; "
               "both go into a ranker of trees, and that makes each user's first ten. A seller "
               "hands in the text and nothing else.")
    return fig


def baselines(found):
    """NDCG@10 of all items and of the new ones, for each way to rank."""
    with plots.style():
        fig, ax = plots.figure(6.6, 3.2)
        names = list(found)[::-1]
        for y, name in enumerate(names):
            every, new = found[name]
            ax.plot([every, new], [y, y], color=GREY, lw=2, zorder=1)
            ax.plot(every, y, "o", color="#000000", markersize=8,
                    label=None if y else "all items not shown yet")
            ax.plot(new, y, "D", color=plots.COLOURS["words"], markersize=7,
                    label=None if y else "new items alone")
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel="NDCG@10 (1 is the best order)", xlim=(0, 1.02))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = "NDCG@10, all items and new ones: " + "; ".join(
        f"{name} {a:.2f} and {b:.2f}" for name, (a, b) in found.items()) + "."
    return fig


def timeline():
    """What a feature of a row may know."""
    with plots.style():
        fig, ax = plots.figure(8.0, 1.9)
        ax.set(xlim=(-1, 101), ylim=(-0.8, 1.6))
        ax.axis("off")
        ax.plot([0, 98], [0, 0], color="#222222", lw=1.6)
        later = plots.COLOURS["standard"]
        for low, high, colour, hatch in ((0, 56, plots.COLOURS["adversarial"], ""),
                                         (58, 64, "#000000", "//"), (66, 98, later, "//")):
            ax.add_patch(FancyBboxPatch((low, 0.2), high - low, 0.45, facecolor="white",
                                        edgecolor=colour, lw=1.8, boxstyle="round,pad=0.02",
                                        hatch=hatch))  # fmt: skip
        ax.text(28, 0.95, "known", ha="center", color=plots.COLOURS["adversarial"])
        ax.text(78, 0.95, "not yet known", ha="center", color=later)
        ax.text(61, -0.6, "the row's own day", ha="center", fontsize=10)
        ax.text(0, -0.6, "first day", fontsize=10)
        ax.text(98, -0.6, "last day of the log", fontsize=10, ha="right")
    fig.alt = ("A line of days in three blocks. The days before the row's own day are known; the "
               "row's own day and all later days are hatched: not yet known.")
    return fig


def promises(kept):
    """What the test promised and what the next day kept, for each table."""
    with plots.style():
        fig, ax = plots.figure(5.6, 2.5)
        names = list(kept)
        for y, name in enumerate(names):
            promised, held = kept[name]
            ax.annotate("", (held, y), (promised, y),
                        arrowprops=dict(arrowstyle="-|>", color=GREY, lw=2))
            ax.plot(promised, y, "o", color=plots.COLOURS["standard"], markersize=9,
                    label=None if y else "promised by the test")
            ax.plot(held, y, "s", color=plots.COLOURS["adversarial"], markersize=8,
                    label=None if y else "kept the next day")
        ax.set_yticks(range(len(names)), names)
        ax.set(xlabel="AUC", ylim=(-0.5, len(names) - 0.5), xlim=(0.7, 0.95))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    fig.alt = "AUC promised and kept: " + "; ".join(
        f"{name} {a:.3f}, then {b:.3f}" for name, (a, b) in kept.items()) + "."
    return fig


def deeds_of_items(shares, ids):
    """One reader: a line for each item over what its seller does, and the means. The two lies come
    later on the page. shares: how -> (items, users)."""
    found = 100 * np.array([share.mean(1) for how, share in shares.items() if how != "two lies"]).T
    hows, colour = [how for how in shares if how != "two lies"], LOOKS["clean"][1]
    with plots.style():
        fig, ax = plots.figure(7.0, 3.4)
        for id, of_item in zip(ids, found, strict=True):
            ax.plot(of_item, ".-", color=colour, alpha=0.55, lw=1.1, markersize=7, clip_on=False)
            top = len(hows) - 1 - int(of_item[::-1].argmax())  # the last of its highest
            if of_item[top] > 3:
                ax.annotate(f"item {id}", (top, of_item[top]), (0, 6), textcoords="offset points",
                            fontsize=9, color=colour,
                            ha="right" if top == len(hows) - 1 else "center")  # fmt: skip
        ax.plot(found.mean(0), "o", color="#000000", markersize=8, markerfacecolor="none",
                markeredgewidth=1.8, label="mean of the items", clip_on=False)  # fmt: skip
        ax.set_xticks(range(len(hows)), [how.replace(" ", "\n") if len(how) > 9 else how
                                         for how in hows])
        ax.set(ylabel="exposure@10\nin a list of new items", xlabel="what the seller does",
               ylim=(0, 1.15 * found.max()))
        ax.yaxis.set_major_formatter(PercentFormatter(100, decimals=0))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left")
    fig.alt = "The share of users who see an item, by what its seller does: " + "; ".join(
        f"item {id} " + ", ".join(f"{how} {x:.1f} %" for how, x in zip(hows, row, strict=True))
        for id, row in zip(ids, found, strict=True)) + "."  # fmt: skip
    return fig


def deeds(shares):
    """The share of users who see an attacked item, for each reader and deed: the items as dots side
    by side, and their mean. shares: reader -> how -> (items, users)."""
    hows = list(next(iter(shares.values())))
    with plots.style():
        fig, ax = plots.figure(8.4, 3.8)
        said = []
        for j, (reader, found) in enumerate(shares.items()):
            mark, colour = LOOKS[reader]
            for x, how in enumerate(hows):
                of_items, at = found[how].mean(1), x + 0.2 * (j - (len(shares) - 1) / 2)
                ax.plot(at + np.linspace(-0.07, 0.07, len(of_items)), of_items, ".", color=colour,
                        alpha=0.6, markersize=5, zorder=1, clip_on=False)  # fmt: skip
                ax.plot(at, of_items.mean(), mark, color=colour, markersize=8, clip_on=False,
                        markerfacecolor="none", markeredgewidth=1.7, label=None if x else reader)
                said.append(f"{reader}, {how} {of_items.mean():.1%}")
        ax.set_xticks(range(len(hows)), [how if len(how) < 9 else how.replace(" ", "\n")
                                         for how in hows])
        ax.set(ylabel="exposure@10\nin a list of new items", xlabel="what the seller does",
               ylim=(-0.01, None))
        for x in range(1, len(hows)):
            ax.axvline(x - 0.5, color=GREY, lw=0.6, zorder=0)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4,
                   title="who reads (large: the mean; dots: the items)")  # fmt: skip
    fig.alt = ("The mean share of users who see an attacked item in a list of new items: "
               + "; ".join(said) + ".")
    return fig


def places(shops, item):
    """(user, words, reader) -> a picture: the item's place for one user as more words may change.
    Each reader is attacked anew; what it has read it remembers, so this is quick."""
    options = WORLD.substitutes(item.text)
    most = min(int(SHARE * len(words(item.text))), sum(map(bool, options)))
    paths = {}
    for name, shop in shops.items():
        earned = [promote(shop.reader, item.text, options, k) for k in range(most + 1)]
        of_all = np.array([shop.with_opinion(item.id, p.after) for p in earned])
        own = of_all[:, :, [shop.column(item.id)]]
        paths[name] = earned, (of_all > own).sum(2) + 1  # (words, users): ahead of it, and 1

    def draw(user: int, budget: int, reader: str):
        earned, of_user = paths[reader][0], paths[reader][1][:, user]
        with plots.style():
            fig, ax = plots.figure(6.0, 2.9)
            for name, (_, of_users) in paths.items():
                mark, colour = LOOKS[name]
                mine = name == reader
                ax.plot(range(most + 1), of_users[:, user], marker=mark, color=colour,
                        alpha=1 if mine else 0.3, lw=2 if mine else 1, markersize=5, label=name)
            ax.plot(budget, of_user[budget], "o", markersize=15, markerfacecolor="none",
                    color="#000000")  # fmt: skip
            ax.axhspan(1, 10, color="#e8f3ec", zorder=0)
            ax.set(xlabel="words that may change", ylabel="place (1 is first)", ylim=(101, -1),
                   yticks=[1, 20, 40, 60, 80, 100])  # fmt: skip
            fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=4)
        changed = set(earned[budget].changed)
        print(f"place {of_user[budget]} of 100; {len(changed)} of {len(words(item.text))} words "
              "changed:\n" + earned[budget].text)  # fmt: skip
        fig.alt = (f"User {user}, read by {reader}: place {of_user[0]} before and "
                   f"{of_user[budget]} with at most {budget} words. First ten shaded.")
        return fig

    return draw, paths, most


def explore_places(draw, users: int, most: int, start: int, readers):
    """Move the user, the number of words and the reader."""
    return explore(draw, user=(start, 0, users - 1, 1), budget=(most // 2, 0, most, 1),
                   reader=(readers[0], tuple(readers)))  # fmt: skip
