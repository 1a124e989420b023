"""The figures of lesson 10: what is drawn, not how it is measured."""

from __future__ import annotations

from advlib import plots
from course.widgets import explore

MIB = 2**20  # bytes
SHADES = {"weights": "#cccccc", "gradients": plots.COLOURS["fgsm"],
          "AdamW": plots.COLOURS["adversarial"], "activations": plots.COLOURS["words"]}  # fmt: skip
HATCHES = {"gradients": "xxxx", "AdamW": "///", "activations": "..."}


def race(found, means):
    """A dot for each seed and a bar for the mean, without attack and under FGM."""
    shades = ("#D55E00", "#777777", "#E69F00", "#009E73", "#0072B2")
    looks = dict(zip(found, zip(shades, "osD^v", strict=True), strict=True))
    with plots.style():
        fig, axes = plots.figure(7.4, 3.3, ncols=2, sharey=True)
        for k, (ax, title) in enumerate(zip(axes, ("no attack", "under FGM"), strict=True)):
            for at, (name, results) in enumerate(found.items()):
                shade, mark = looks[name]
                values = [result[k] for result in results]
                ax.plot([at - 0.1, at + 0.1], values, mark, color=shade)
                ax.plot([at - 0.3, at + 0.3], [means[name][k]] * 2, color=shade)
            ax.axhline(means["plain"][k], color=shades[0], linewidth=0.8, linestyle=":")
            ax.set_xticks(range(5), ["plain", "longer", "pseudo-\nlabels", "FGM,\nlabelled", "VAT"])
            ax.tick_params(axis="x", labelsize=9)
            ax.set(title=title, ylim=(0, 1), xlabel="what the work was spent on")
            ax.title.set_size(11)
        axes[0].set_ylabel("accuracy on test texts")
        axes[0].yaxis.set_major_formatter("{x:.0%}")
    told = ", ".join(f"{name} {mean[0]:.0%} and {mean[1]:.0%}" for name, mean in means.items())
    fig.alt = ("Two panels, without attack and under FGM: two dots, one a seed, and their mean as "
               f"a bar for five kinds of training. The means: {told}.")  # fmt: skip
    return fig


def boats(sea):
    """Accuracy on texts about boats by what the rows of the new words have read."""
    words = {"pieces": "(words in\npieces)"}
    with plots.style():
        fig, axes = plots.figure(7.4, 3.3, ncols=2, sharey=True)
        for ax, (name, found) in zip(axes, sea.items(), strict=True):
            for k, (shade, label) in enumerate((("clean", "no attack"), ("fgm", "under FGM"))):
                places = [x + 0.4 * k - 0.2 for x in range(len(found))]
                heights = [pair[k] for pair in found.values()]
                bars = ax.bar(places, heights, 0.37, color=plots.COLOURS[shade], label=label,
                              hatch="//" if k else "", edgecolor="white", linewidth=0)  # fmt: skip
                ax.bar_label(bars, [f"{h:.0%}" for h in heights], fontsize=8, padding=2)
            ax.set(xticks=range(len(found)), yticks=[k / 5 for k in range(6)], ylim=(0, 1.12),
                   title=f"the model {name}",
                   xlabel="what the rows of the new words have read")  # fmt: skip
            ax.set_xticklabels([words.get(way, way) for way in found], fontsize=9)
            ax.title.set_size(11)
            ax.xaxis.label.set_size(10)
            ax.yaxis.set_major_formatter("{x:.0%}")
        axes[0].set_ylabel("accuracy on texts about boats")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = "; ".join(
        f"{name}, words in pieces {found['pieces'][1]:.0%}, boats read {found['boats'][1]:.0%}"
        for name, found in sea.items()
    )
    fig.alt = ("Bars of the accuracy on texts about boats for two models and four ways to treat "
               f"new words. Under FGM: {told}.")  # fmt: skip
    return fig


def hardened(accuracy, delivered, trained, held):
    """Left accuracy by the number of trained parameters, right the memory of a training step.

    accuracy: kind -> (clean, under PGD); delivered: the same pair of the model as it came.
    """
    with plots.style():
        fig, (left, right) = plots.figure(7.6, 3.6, ncols=2)
        for k, (shade, mark, line, label) in enumerate((
            ("clean", "o", "-", "no attack"), ("pgd", "s", "--", "under PGD"))):  # fmt: skip
            left.plot([trained[kind] for kind in accuracy], [pair[k] for pair in accuracy.values()],
                      mark, color=plots.COLOURS[shade], label=label)  # fmt: skip
            left.axhline(delivered[k], color=plots.COLOURS[shade], linewidth=0.8, linestyle=line)
        for kind, (_, under) in accuracy.items():
            left.annotate(kind, (trained[kind], under), (0, -16 if kind == "head only" else 9),
                          ha="center", fontsize=9, textcoords="offset points")  # fmt: skip
        left.set(xscale="log", xlabel="trained parameters (log scale)",
                 ylabel="accuracy on test texts", ylim=(0, 1.05),
                 xlim=(min(trained.values()) / 3, max(trained.values()) * 3))  # fmt: skip
        left.yaxis.set_major_formatter("{x:.0%}")
        left.legend(fontsize=9, loc="lower right")
        for place, parts in enumerate(held.values()):
            _stack(right, place, parts)
        right.set_yticks(range(len(held)), held)
        right.set_xlabel("memory of a training step, 32 texts, in MiB", fontsize=10)
        right.grid(False)
        _parts(fig, right)
    told = ", ".join(f"{kind} {trained[kind]:,} parameters and {under:.0%}"
                     for kind, (_, under) in accuracy.items())  # fmt: skip
    fig.alt = (f"Left, accuracy against the number of trained parameters; under PGD: {told}. "
               "Right, stacked bars of memory, with the activations a part of each.")  # fmt: skip
    return fig


def bills(bill, cases):
    """What a training step holds with LoRA and in full, for (model, rank, batch) cases."""
    with plots.style():
        fig, axes = plots.figure(7.4, 3.6, nrows=2, ncols=2)
        for ax, case in zip(axes.flat, cases, strict=True):
            _panel(ax, bill, *case)
        for ax in axes[0]:
            ax.set_xlabel("")
        _parts(fig, axes[0, 0])
    told = []
    for name, rank, size in cases:
        small, whole = (sum(bill(name, r, size).values()) for r in (rank, None))
        told.append(f"{small / whole:.0%} ({name}, batch of {size})")
    fig.alt = ("Four panels with a stacked bar for LoRA of rank 4 and one for full training. LoRA "
               f"holds of the memory of full training: {', '.join(told)}.")  # fmt: skip
    return fig


def explore_bill(bill, models, hardened):
    """The two bars under sliders, with what was measured where there is such a run."""

    def draw(name, rank, size):
        with plots.style():
            fig, ax = plots.figure(6.4, 2.2)
            _panel(ax, bill, name, rank, size)
            _parts(fig, ax)
        measured = hardened.get(f"LoRA {rank}") if name == "this model" else None
        if measured:
            print(f"measured at this rank: clean {measured[0]:.1%}, under PGD {measured[1]:.1%}")
        fig.alt = f"Stacked bars of memory: {name}, LoRA of rank {rank} and full, batch of {size}."
        return fig

    names = list(models)
    explore(draw, name=(names[0], names), rank=(4, [1, 2, 4, 8, 16, 32, 64]),
            size=(8, [2**k for k in range(10)]))  # fmt: skip


def _stack(ax, at, parts) -> None:
    """One horizontal bar of memory, in MiB."""
    left = 0
    for name, value in parts.items():
        ax.barh(at, value / MIB, 0.65, left=left, color=SHADES[name], label=name,
                hatch=HATCHES.get(name), edgecolor="white", linewidth=0)  # fmt: skip
        left += value / MIB


def _panel(ax, bill, name, rank, size) -> None:
    for at, r in enumerate((rank, None)):
        parts = bill(name, r, size)
        total = sum(parts.values()) / MIB
        _stack(ax, at, parts)
        ax.annotate(f" {total:,.1f} MiB", (total, at), va="center", fontsize=9)
    ax.set_yticks((0, 1), (f"LoRA {rank}", "full"))
    ax.set_xlim(0, 1.3 * sum(bill(name, None, size).values()) / MIB)
    ax.set(xlabel="memory of a step, in MiB", title=f"{name}, batch of {size}")
    ax.title.set_size(10)
    ax.grid(False)


def _parts(fig, ax) -> None:
    """The legend of a stacked bar: each part once."""
    handles, labels = ax.get_legend_handles_labels()
    fig.legend(handles[:4], labels[:4], loc="outside upper left", ncols=4)


def universal(sizes, found):
    """The share of texts that stay right, against the length of the push on every word."""
    words, fgm = plots.COLOURS["words"], plots.COLOURS["fgm"]
    looks = {"any vector": ("#777777", " ", "o", "one random vector, unseen texts"),
             "noise": (plots.COLOURS["noise"], "-", "s", "noise, drawn per word"),
             "seen": (words, ":", "^", "one vector, texts it was made on"),
             "unseen": (words, "-", "v", "one vector, unseen texts"),
             "FGM": (fgm, "--", "D", "FGM, made for each text")}  # fmt: skip
    with plots.style():
        fig, ax = plots.figure(6.8, 3.6)
        for name, (colour, line, mark, label) in looks.items():
            alone = name == "any vector"
            ax.plot(sizes, found[name], line, color=colour, marker=mark, label=label,
                    markersize=13 if alone else 6,
                    fillstyle="none" if alone else "full")  # fmt: skip
        ax.set(xlabel="length of the push on every word, in mean word lengths",
               ylabel="share of texts still right", ylim=(0, 1.03), xticks=sizes)  # fmt: skip
        ax.yaxis.set_major_formatter("{x:.0%}")
        fig.legend(*ax.get_legend_handles_labels(), loc="outside upper left", ncols=2)
    told = ", ".join(f"{looks[name][3]} {found[name][-1]:.0%}" for name in looks)
    fig.alt = ("The share of texts that stay right against the length of the push. At the longest "
               f"push: {told}.")  # fmt: skip
    return fig


def search(trials, curves, best):
    """Left the score of every trial after each round, right where the trials lay.

    trials: number -> its settings; curves: number -> its scores; best: the number of the best.
    """
    final = [curve[-1] for curve in curves.values()]
    with plots.style():
        fig, (left, right) = plots.figure(7.4, 3.3, ncols=2)
        for number, settings in trials.items():
            curve, chosen = curves[number], number == best
            shade = plots.COLOURS["adversarial"] if chosen else "#777777"
            left.plot(range(1, len(curve) + 1), curve, color=shade, marker="s" if chosen else "o",
                      linewidth=2.5 if chosen else 1.2, zorder=3 if chosen else 2,
                      linestyle="-" if chosen else "--")  # fmt: skip
            left.annotate(number, (len(curve), curve[-1]), (6, -3), fontsize=9,
                          textcoords="offset points")  # fmt: skip
            grown = (curve[-1] - min(final)) / (max(final) - min(final) + 1e-9)
            place = settings["eps"], settings["lam"]
            mark = "X" if curve[-1] < 0 else "s" if chosen else "o"
            right.scatter(*place, s=40 + 220 * grown, color=shade, marker=mark,
                          alpha=0.4 if len(curve) < 3 else 0.8)  # fmt: skip
            right.annotate(number, place, (9, 5), fontsize=9, textcoords="offset points")
        left.set(xlabel="round of training", ylabel="score on validation texts",
                 xticks=(1, 2, 3), xlim=(0.8, 3.3))  # fmt: skip
        right.set(xlabel="ε of the attack in training, relative",
                  ylabel="λ, the weight of L_adv", xscale="log", yscale="log",
                  xlim=(0.025, 1.3), ylim=(0.07, 14))  # fmt: skip
        for axis, ticks in ((right.xaxis, (0.03, 0.1, 0.3, 1)), (right.yaxis, (0.1, 1, 10))):
            axis.set_ticks(ticks, [f"{t:g}" for t in ticks])
            axis.set_ticks([], minor=True)
    fig.alt = (f"Left, the score of {len(trials)} trials after each round; trial {best} ends "
               f"highest of those that were finished, at {curves[best][-1]:.2f}. Right, the ε and "
               "λ of each trial.")  # fmt: skip
    return fig
