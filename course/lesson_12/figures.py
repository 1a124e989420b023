"""The figures of lesson 12, and the made-up logs that two of its sections read."""

from __future__ import annotations

import math
import random

from advlib import plots
from course.widgets import explore

USABLE = 14.5  # GiB of the T4's 15
HUES = {"weights": "#999999", "half copies": plots.COLOURS["fgsm"],
        "gradients": plots.COLOURS["adversarial"], "moments": "#004466",
        "activations": plots.COLOURS["words"]}  # fmt: skip
HATCHES = {"half copies": "xxxx", "gradients": "///", "moments": "", "activations": "..."}

KINDS = ("healthy", "overflow", "learning rate", "collapse", "over-fitting", "warm-up")
PANELS = dict(zip("ABCDEF", (KINDS[k] for k in (3, 5, 0, 2, 4, 1)), strict=True))


def memory(plans):
    """A stacked bar for each plan of a training step, in GiB, with the line of the T4."""
    with plots.style():
        fig, ax = plots.figure(7.4, 3.3)
        _bars(ax, plans)
        ax.set_xlim(0, 23)
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3, fontsize=9)
    sums = ", ".join(f"{name} {sum(parts.values()):.1f}" for name, parts in plans.items())
    fig.alt = (f"Stacked bars of the memory of a training step, in GiB: {sums}. "
               f"A vertical line marks the {USABLE} GiB that a T4 gives.")  # fmt: skip
    return fig


def explore_memory(base):
    """The bar of one step under sliders; base: gives its parts in GiB."""

    def draw(batch, length, precision, checkpointing, lora):
        parts = base(batch, length, lora=lora == "yes", fp16=precision == "fp16",
                     checkpointing=checkpointing == "yes")  # fmt: skip
        with plots.style():
            fig, ax = plots.figure(7.4, 2.3)
            _bars(ax, {"this step": parts, "32 texts of 32 tokens,\nfloat32": base(32, 32)})
            ax.set_xlim(0, 46)
            fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3,
                       fontsize=9)  # fmt: skip
        fig.alt = f"Stacked bars: this step holds {sum(parts.values()):.1f} GiB."
        return fig

    switch = ("no", ["no", "yes"])
    explore(draw, batch=(32, 8, 128, 8), length=(256, 32, 512, 32),
            precision=("fp16", ["fp16", "float32"]), checkpointing=switch, lora=switch)  # fmt: skip


def _bars(ax, rows) -> None:
    for place, parts in enumerate(rows.values()):
        at = 0
        for name, size in parts.items():
            ax.barh(place, size, left=at, height=0.6, color=HUES[name], hatch=HATCHES.get(name),
                    edgecolor="white", linewidth=0,
                    label=name if place == 0 else None)  # fmt: skip
            at += size
        inside = at > 4  # else there is no room
        ax.text(at + (-0.2 if inside else 0.2), place, f"{at:.1f}", va="center", fontsize=9,
                ha="right" if inside else "left",
                bbox=dict(facecolor="white", edgecolor="none", pad=1))  # fmt: skip
    ax.axvline(USABLE, color="#D55E00", linewidth=2, linestyle="--",
               label="T4: 14.5 GiB are yours")  # fmt: skip
    ax.set_yticks(range(len(rows)), rows)
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="memory of a training step, in GiB")
    ax.grid(axis="x")
    ax.grid(False, axis="y")


def directions(likeness):
    """The cosine with float32's direction for each text, sorted within each way."""
    looks = (("adversarial", "o"), ("standard", "s"), ("fgm", "D"))
    with plots.style():
        fig, ax = plots.figure(7, 3)
        for (name, values), (colour, mark) in zip(likeness.items(), looks, strict=True):
            ranked = values.sort().values.cpu()
            ax.plot(range(1, len(ranked) + 1), ranked, mark, label=name,
                    color=plots.COLOURS[colour], fillstyle="none" if mark == "D" else "full",
                    markersize=7 if mark == "D" else 4.5)  # fmt: skip
        ax.axhline(0, color="#555555", linewidth=1)
        ax.set(xlabel="rank of the text by its cosine in this way (1: lowest)",
               ylabel="cosine with float32's\ndirection", ylim=(-1.12, 1.12))  # fmt: skip
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=3)
    told = ", ".join(f"{name} {(values > 0.9).float().mean():.0%}"
                     for name, values in likeness.items())  # fmt: skip
    fig.alt = ("For three ways the cosines of all texts with float32's direction, from lowest to "
               f"highest. The share of texts above 0.9: {told}.")  # fmt: skip
    return fig


def padding(customs, shares):
    """Three batches of each custom, a line per text: its tokens, and the padding after them."""
    with plots.style():
        fig, axes = plots.figure(7, 3, ncols=3, sharey=True, width_ratios=(128, 64, 64))
        for ax, (name, batches) in zip(axes, customs.items(), strict=True):
            row = 0
            for own, width in batches[1:4]:
                lines = range(row, row + len(own))
                ax.barh(lines, width, height=1, color="#DDDDDD", label="" if row else "padding")
                ax.barh(lines, own, height=1, color=plots.COLOURS["adversarial"],
                        label="" if row else "text")  # fmt: skip
                row += len(own) + 3
            ax.set_title(f"{name}: {shares[name]:.0%} padding", fontsize=10)
            ax.set(xlim=(0, 130 if name == "fixed 128" else 65), xlabel="tokens", yticks=())
            ax.grid(False)
        axes[0].set_ylabel("texts of three batches")
        axes[0].invert_yaxis()
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    fig.alt = ("Three batches of each custom as horizontal lines, blue for text and grey for "
               f"padding. The share of padding: {told}.")  # fmt: skip
    return fig


def tracked(curves):
    """The curves of a run over its steps: losses, accuracies, schedules, and the passes made."""
    with plots.style():
        fig, axes = plots.figure(7.4, 5.4, nrows=2, ncols=2, sharex=True)
        for ax, title, lines in (
            (axes[0, 0], "loss", (("train/clean_loss", "without attack (L)", "clean", "o-"),
                                  ("train/adv_loss", "under attack (L_adv)", "fgm", "^--"))),
            (axes[0, 1], "accuracy on validation texts",
             (("eval/accuracy", "no attack", "clean", "o-"),
              ("eval/robust_accuracy", "under PGD-3", "pgd", "s--"))),
            (axes[1, 0], "share of the largest value",
             (("train/lam", "λ", "words", "o-"),
              ("train/learning_rate", "learning rate", "noise", "s--"))),
            (axes[1, 1], "passes so far",
             (("train/forward", "forward", "pgd", "o-"),
              ("train/weights", "backward, to the weights", "clean", "s:"))),
        ):  # fmt: skip
            for name, label, colour, look in lines:
                at, values = zip(*sorted(curves[name].items()), strict=True)
                if "share" in title:
                    values = [value / (max(values) or 1) for value in values]
                ax.plot(at, values, look, color=plots.COLOURS[colour], label=label, markersize=4,
                        markevery=-(-len(at) // 12))  # fmt: skip
            if "accuracy" in title:
                ax.yaxis.set_major_formatter("{x:.0%}")
            ax.set_ylabel(title)
            ax.set_ylim(0, 1.02 if "accuracy" in title else None)
            if title == "loss":  # room for the legend
                ax.set_ylim(0, 1.3 * ax.dataLim.ymax)
            ax.legend(fontsize=9, loc="lower right" if "accuracy" in title else "best")
        for ax in axes[1]:
            ax.set_xlabel("step of the optimizer")
    ends = {name: curves[name][max(curves[name])] for name in curves}
    fig.alt = ("Four panels over the steps of the run: losses, accuracies, schedules and passes. "
               f"At the end the loss is {ends['train/clean_loss']:.2f} without attack and "
               f"{ends['train/adv_loss']:.2f} under it, the accuracy {ends['eval/accuracy']:.0%} "
               f"without attack and {ends['eval/robust_accuracy']:.0%} under PGD-3.")  # fmt: skip
    return fig


def history(kind, seed=0, lines=24):
    """A log as the Trainer keeps it, of a run with one illness (made up, but true to life)."""
    rng = random.Random(f"{kind}{seed}")
    log = []
    for k in range(lines):
        t = k / (lines - 1)
        wiggle = 1 + 0.06 * rng.uniform(-1, 1)
        clean, gap, lam, norm = 0.7 * math.exp(-3 * t) + 0.08, 0.3, min(1.0, 5 * t), 2 * wiggle
        fgm, pgd, share = 0.55 + 0.3 * t, 0.5 + 0.25 * t, 0.55
        if kind == "overflow" and t > 0.6:
            clean, norm, fgm, pgd, share = float("nan"), float("nan"), 0.5, 0.5, 1.0
        if kind == "learning rate":
            clean, norm = 0.7 + t * (0.4 + 0.4 * rng.random()), 30 * wiggle
            share = rng.uniform(0.5, 1)
            fgm, pgd = 0.48, 0.45
        if kind == "collapse":
            clean, gap, share = max(clean, 0.69 - 0.05 * (t < 0.3)), 0.01, 0.6 if t < 0.3 else 0.99
            fgm = pgd = 0.5
        if kind == "over-fitting" and t > 0.6:
            fgm, pgd, gap = 0.93, 0.12, 0.02
        if kind == "warm-up":
            lam, fgm, pgd = 0.4 * t, 0.55 + 0.05 * t, 0.5 + 0.02 * t
        line = {"step": 10 * (k + 1), "clean_loss": clean * wiggle, "grad_norm": norm, "lam": lam}
        if lam:
            line["adv_loss"] = line["clean_loss"] + gap
        line["loss"] = line["clean_loss"] + lam * line.get("adv_loss", 0.0)
        if k % 3 == 2:
            line |= {"fgm": fgm, "pgd": pgd, "share": share}
        log.append(line)
    return log


def went_wrong():
    """Six made-up runs, A to F: clean loss, λ, and the checks on validation texts."""
    with plots.style():
        fig, axes = plots.figure(7.4, 5, nrows=2, ncols=3, sharex=True, sharey=True)
        for ax, (panel, kind) in zip(axes.flat, PANELS.items(), strict=True):
            for key, label, colour, look in (  # the last one lies on top
                ("lam", "λ", "words", dict(linestyle="-", linewidth=1)),
                ("clean_loss", "clean loss", "clean", dict(linestyle="-")),
                ("fgm", "accuracy under FGM", "fgm",  # may lie under pgd
                 dict(linestyle="-", linewidth=5, alpha=0.35)),
                ("pgd", "accuracy under PGD", "pgd", dict(linestyle="--", marker="s")),
                ("share", "share of the commonest class", "noise",
                 dict(linestyle=":", linewidth=2.5, marker="o")),
            ):  # fmt: skip
                points = [(line["step"], line[key]) for line in history(kind) if key in line]
                ax.plot(*zip(*points, strict=True), color=plots.COLOURS[colour], label=label,
                        markersize=4, **look)  # fmt: skip
            ax.set_title(panel, fontsize=10)
            ax.set_ylim(0, 1.75)
        for ax in axes[1]:
            ax.set_xlabel("step of the optimizer")
        for ax in axes[:, 0]:
            ax.set_ylabel("loss, share of texts, or λ")
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=3)
    fig.alt = (
        "Six panels. A: the clean loss stays at 0.7 and the share of one class rises to 1. B: λ "
        "climbs slowly to 0.4. C: the loss falls and both accuracies rise. D: the loss rises above "
        "its start, the share jumps about. E: the loss falls; late, the accuracy under FGM jumps "
        "up and the one under PGD falls to 0.12. F: the line of the loss ends, the share is 1."
    )
    return fig
