"""The figures of lesson 12, and the made-up logs that two of its sections read."""

from __future__ import annotations

import math
import random

from advlib import plots
from advlib.evaluation import wilson
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


def directions(likeness, change, equal):
    """A panel for each way: the cosine with float32's direction, over the change of the logits.

    equal: for which texts the two predictions are equal in half precision."""
    looks = (("adversarial", "o"), ("standard", "s"), ("fgm", "D"))
    names = {"half": "by hand, in half precision", "half, loss scaled": "by hand, loss scaled"}
    change, equal = change.cpu(), equal.cpu()
    with plots.style():
        fig, axes = plots.figure(8, 3, ncols=3, sharex=True, sharey=True)
        for ax, (name, values), (colour, mark) in zip(axes, likeness.items(), looks, strict=True):
            for chosen, label, full in ((~equal, "differ", "full"), (equal, "equal", "none")):
                ax.plot(change[chosen], values.cpu()[chosen], mark, fillstyle=full, label=label,
                        color=plots.COLOURS[colour], markersize=6, alpha=0.8)  # fmt: skip
            ax.axhline(0, color="#555555", linewidth=1)
            ax.set_title(names.get(name, name), fontsize=10)
            ax.set(xscale="log", ylim=(-1.12, 1.12))
        axes[0].legend(fontsize=9, loc="lower center", title="predictions in\nhalf precision",
                       title_fontsize=9)  # fmt: skip
        axes[1].set_xlabel("largest change of a logit from the text to the start, in float32")
        axes[0].set_ylabel("cosine with float32's\ndirection")
    told = ", ".join(f"{names.get(name, name)} {(values > 0.9).float().mean():.0%}"
                     for name, values in likeness.items())  # fmt: skip
    fig.alt = ("Three panels, a point for each text: over the change of the logits the cosine with "
               "float32's direction. By hand most points lie at 0, above all where the logits "
               f"change little. The share of texts above 0.9: {told}.")  # fmt: skip
    return fig


def padding(customs, shares):
    """Three batches of each custom, a line per text: its tokens, and the padding after them."""
    names = {"fixed 128": "all texts to 128 tokens", "dynamic": "to the batch's longest",
             "grouped": "grouped by length"}  # fmt: skip
    widest = max(width for _, width in customs["dynamic"][1:4] + customs["grouped"][1:4])
    widest = 5 * (1 + widest // 5)
    with plots.style():
        fig, axes = plots.figure(7.4, 3.2, ncols=3, sharey=True,
                                 width_ratios=(130, max(60, widest), max(60, widest)))  # fmt: skip
        for ax, (name, batches) in zip(axes, customs.items(), strict=True):
            row = 0
            for own, width in batches[1:4]:
                lines = range(row, row + len(own))
                ax.barh(lines, width, height=1, color="#DDDDDD", label="" if row else "padding")
                ax.barh(lines, own, height=1, color=plots.COLOURS["adversarial"],
                        label="" if row else "text")  # fmt: skip
                row += len(own) + 3
            ax.set_title(f"{names[name]}:\n{shares[name]:.0%} padding", fontsize=10)
            ax.set(xlim=(0, 130 if name == "fixed 128" else max(60, widest)), xlabel="tokens",
                   yticks=())  # fmt: skip
            ax.grid(False)
        axes[0].set_ylabel("three batches of 32 texts")
        axes[0].invert_yaxis()
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = ", ".join(f"{names[name]} {share:.0%}" for name, share in shares.items())
    fig.alt = ("Three batches of each custom as horizontal lines, blue for text and grey for "
               f"padding. The share of padding: {told}.")  # fmt: skip
    return fig


def tracked(curves, n):
    """Three panels over the steps of a run: losses, accuracies on n texts, and the schedules."""
    panels = (
        ("loss", (("train/clean_loss", "without attack", "clean", "o-"),
                  ("train/adv_loss", "under attack (FGM)", "fgm", "^--"))),
        (f"accuracy on {n} validation texts",
         (("eval/accuracy", "no attack", "clean", "o-"),
          ("eval/robust_accuracy", "under PGD-3", "pgd", "s--"))),
        ("share of its largest value", (("train/lam", "λ", "words", "o-"),
                                        ("train/learning_rate", "learning rate", "noise", "s--"))),
    )  # fmt: skip
    with plots.style():
        fig, axes = plots.figure(9.4, 3.2, ncols=3, sharex=True)
        for ax, (title, lines) in zip(axes, panels, strict=True):
            for name, label, colour, look in lines:
                at, values = zip(*sorted(curves[name].items()), strict=True)
                if "share" in title:
                    values = [value / (max(values) or 1) for value in values]
                if "accuracy" in title:
                    low, high = zip(*(wilson(round(value * n), n) for value in values), strict=True)
                    ax.fill_between(at, low, high, color=plots.COLOURS[colour], alpha=0.15,
                                    linewidth=0)  # fmt: skip
                ax.plot(at, values, look, color=plots.COLOURS[colour], label=label, markersize=4,
                        markevery=-(-len(at) // 12))  # fmt: skip
            if "accuracy" in title:
                ax.yaxis.set_major_formatter("{x:.0%}")
            ax.set(xlabel="step of the optimizer", ylabel=title,
                   ylim=(0, 1.02 if "accuracy" in title else None))  # fmt: skip
            if title == "loss":  # room for the legend
                ax.set_ylim(0, 1.4 * max(v for k, *_ in lines for v in curves[k].values()))
            ax.legend(fontsize=9, loc="upper right" if title == "loss" else
                      "lower right" if "accuracy" in title else "lower center")  # fmt: skip
    ends = {name: curves[name][max(curves[name])] for name in curves}
    fig.alt = ("Three panels over the steps of the run: losses, accuracies with 95 % intervals, "
               f"and schedules. At the end the loss is {ends['train/clean_loss']:.2f} without "
               f"attack and {ends['train/adv_loss']:.2f} under it, the accuracy "
               f"{ends['eval/accuracy']:.0%} without attack and "
               f"{ends['eval/robust_accuracy']:.0%} under PGD-3.")  # fmt: skip
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
    """Six made-up runs, A to F: above clean loss and λ, below the checks on validation texts."""
    rows = (
        ("clean loss, and λ", (
            ("lam", "λ", "words", dict(linestyle="-", linewidth=1.2)),
            ("clean_loss", "clean loss", "clean", dict(linestyle="-")))),
        ("share of the\nvalidation texts", (
            ("fgm", "right under FGM", "fgm", dict(linestyle="-", linewidth=5, alpha=0.35)),
            ("pgd", "right under PGD", "pgd", dict(linestyle="--", marker="s")),
            ("share", "given the commonest class", "noise", dict(linestyle=":", marker="o")))),
    )  # fmt: skip
    with plots.style():
        fig, axes = plots.figure(9.5, 4.2, nrows=2, ncols=6, sharex=True, sharey="row")
        for column, (panel, kind) in zip(axes.T, PANELS.items(), strict=True):
            column[0].set_title(panel, fontsize=11, fontweight="bold")
            for ax, (_, lines) in zip(column, rows, strict=True):
                for key, label, colour, look in lines:  # the last one lies on top
                    points = [(line["step"], line[key]) for line in history(kind) if key in line]
                    ax.plot(*zip(*points, strict=True), color=plots.COLOURS[colour], label=label,
                            markersize=4, **look)  # fmt: skip
        for ax, (title, _) in zip(axes[:, 0], rows, strict=True):
            ax.set_ylabel(title)
        axes[0, 0].set_ylim(0, 1.7)
        axes[1, 0].set_ylim(0, 1.05)
        axes[1, 0].yaxis.set_major_formatter("{x:.0%}")
        for ax in axes[1]:
            ax.set(xticks=(0, 200), xlim=(0, 250))
        fig.supxlabel("step of the optimizer", fontsize=11)
        pairs = [pair for ax in axes[:, 0]
                 for pair in zip(*ax.get_legend_handles_labels(), strict=True)]  # fmt: skip
        fig.legend(*zip(*pairs, strict=True), loc="outside upper left", ncols=5, fontsize=9)
    fig.alt = (
        "Six runs. A: the clean loss stays at 0.7 and the share of one class rises to 1. B: λ "
        "climbs slowly to 0.4. C: the loss falls and both accuracies rise. D: the loss rises above "
        "its start, the share jumps about. E: the loss falls; late, the accuracy under FGM jumps "
        "up and the one under PGD falls to 0.12. F: the line of the loss ends, the share is 1."
    )
    return fig
