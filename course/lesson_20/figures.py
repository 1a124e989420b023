"""The figures of lesson 20: what is drawn, not how it is measured."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import PercentFormatter

from advlib import plots
from course.widgets import explore

RED, BLUE, GREY, BLACK = plots.COLOURS["standard"], plots.COLOURS["adversarial"], "#999999", "#222"
# Name of a row -> colour, hatch.
ROWS = {"clean": ("#5a5a5a", ""), "control": (GREY, "//"), "attack": (RED, ""),
        "adaptive": ("#8C6BB1", "xx"), "worst": ("#E6C229", "..")}  # fmt: skip


def steps():
    """The parts of a project in their order, and the file that each one fills."""
    parts = [("threat model", "an object and\na sentence", "own.json"),
             ("controls", "something\nis left out", "own.json"),
             ("attack", "compared with\nthe controls", "own.json"),
             ("pairs", "fifty, read\nby people", "pairs.csv"),
             ("defence", "attacked\nonce more", "own.json"),
             ("cards", "the digest\nrepeats", "card.json ×3"),
             ("report", "limits, and an\nhonest failure", "README.md")]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(9.4, 2.1)
        ax.set(xlim=(0, 13.1), ylim=(-0.85, 1.3))
        ax.axis("off")
        for k, (name, does, file) in enumerate(parts):
            x = 0.95 + 1.86 * k
            if k:
                ax.annotate("", (x - 0.82, 0.35), (x - 1.04, 0.35),
                            arrowprops=dict(arrowstyle="-|>", color=BLACK, lw=1.5))
            ax.add_patch(FancyBboxPatch((x - 0.76, -0.05), 1.52, 0.8, facecolor="#eef4fb",
                         edgecolor=BLUE, lw=1.5, boxstyle="round,pad=0.03,rounding_size=0.1"))
            ax.text(x, 0.35, does, ha="center", va="center", fontsize=8.5)
            ax.text(x, 1.0, f"{k + 1} · {name}", ha="center", va="center", fontsize=9.5,
                    weight="bold")  # fmt: skip
            ax.text(x, -0.45, file, ha="center", va="center", fontsize=8.5, family="monospace")
    fig.alt = ("Seven boxes from left to right, each with the file that it fills: threat model, "
               "controls, attack (own.json), pairs (pairs.csv), defence (own.json), cards "
               "(card.json, three times), report (README.md).")  # fmt: skip
    return fig


def bars(models):
    """Accuracy of each model in each row, with 95 % intervals. models: name -> rows."""
    with plots.style():
        fig, ax = plots.figure(7.2, 3.2)
        wide = 0.8 / len(ROWS)
        for k, (name, (colour, hatch)) in enumerate(ROWS.items()):
            found = [(m, {r["name"]: r for r in rows}.get(name)) for m, rows in
                     enumerate(models.values())]  # fmt: skip
            found = [(m + (k - (len(ROWS) - 1) / 2) * wide, r) for m, r in found if r]
            ax.bar([x for x, _ in found], [r["accuracy"] for _, r in found], 0.9 * wide,
                   color=colour, hatch=hatch, edgecolor="white", label=name)
            for x, r in found:
                for colour, lw in (("white", 3.2), (BLACK, 1.2)):  # dark on dark else
                    ax.plot([x, x], [r["low"], r["high"]], color=colour, lw=lw)
        ax.set(xticks=range(len(models)), xticklabels=models, ylim=(0, 1.02),
               ylabel="texts that withstand")
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=5)
    said = ["; ".join([name] + [f"{r['name']} {r['accuracy']:.0%}" for r in rows
                                if r["name"] in ROWS]) for name, rows in models.items()]
    fig.alt = f"Bars with 95 % intervals. {'. '.join(said)}."
    return fig


def budgets(best, chance, full, control, n):
    """Which share of the texts withstands an attacker with so many queries: the attack, random
    search among its candidates and in the whole threat model, beside one random change."""
    lines = [("attack", best, RED, "o", "-"), ("random search", chance, BLUE, "X", "-"),
             ("full search", full, "#222222", "^", ":")]  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(5.6, 3.0)
        ax.axhspan(control["low"], control["high"], color=GREY, alpha=0.25, lw=0)
        ax.axhline(control["accuracy"], color=GREY, linestyle="--", label="one random change")
        for name, found, colour, marker, line in lines:
            ax.plot([b["queries"] for b in found], [b["hits"] / n for b in found], marker=marker,
                    color=colour, linestyle=line, label=name)
        ax.set(xscale="log", ylim=(0, 1.02), xlabel="queries for each text, at most",
               ylabel="texts that withstand", xticks=[b["queries"] for b in full],
               xticklabels=[b["queries"] for b in full])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2,
                   fontsize=8.5)  # fmt: skip
    said = [f"{name} " + ", ".join(f"{b['hits'] / n:.0%} with {b['queries']}" for b in found)
            for name, found, *_ in lines]  # fmt: skip
    fig.alt = (f"Texts that withstand, over queries. {'; '.join(said)}. One random change: "
               f"{control['accuracy']:.0%}, its interval is shaded.")  # fmt: skip
    return fig


def two_judges(kept, slips, n=50, draws=1, seed=0):
    """(agreement, kappa) of two judges of n pairs, in each of the draws. The share `kept` of the
    pairs keep their label; each judge errs on the share `slips`, independently. kappa is nan where
    both say one and the same of all."""
    rng = np.random.default_rng(seed)
    truth = rng.random((draws, n)) < kept
    first, second = (truth != (rng.random((draws, n)) < slips) for _ in range(2))
    agree, a, b = (first == second).mean(1), first.mean(1), second.mean(1)
    chance = a * b + (1 - a) * (1 - b)
    spare = np.where(chance < 1 - 1e-12, 1 - chance, np.nan)
    return agree, (agree - chance) / spare


def kappas(errs=0.02, n=50, draws=10_000):
    """Agreement and kappa over the share of pairs that keep their label."""
    shares = np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.94, 0.98, 1.0])
    agree, middle, low, high = [], [], [], []
    for share in shares:
        same, found = two_judges(share, errs, n, draws)
        found = found[~np.isnan(found)]
        found = found if len(found) else [np.nan]
        agree.append(same.mean())
        middle.append(np.median(found))
        low.append(np.quantile(found, 0.1))
        high.append(np.quantile(found, 0.9))
    with plots.style():
        fig, ax = plots.figure(6.2, 3.1)
        ax.plot(shares, agree, color=GREY, marker="s", linestyle="--", label="agreement, mean")
        ax.plot(shares, middle, color=BLUE, marker="o", label="kappa, middle of the draws")
        ax.fill_between(shares, low, high, color=BLUE, alpha=0.18, lw=0,
                        label="kappa, 8 draws in 10")
        ax.set(ylim=(-0.35, 1.05), xlabel="share of pairs that keep their label",
               ylabel="agreement, kappa")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=8.5)
    fig.alt = (f"Two judges who each err on {errs:.0%} of 50 pairs. Agreement stays near "
               f"{np.mean(agree):.0%} whatever the share of kept labels; the middle kappa falls "
               f"from {middle[0]:.2f} at one half to {middle[-1]:.2f} where all are kept.")
    return fig


def explore_kappa():
    """The same figure for judges who err more or less often."""
    explore(kappas, errs=(0.02, 0.0, 0.3, 0.02))
