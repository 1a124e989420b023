"""The figures of lesson 20."""

from advlib import plots


def lengths(sizes):
    """How often each length occurs."""
    with plots.style():
        fig, ax = plots.figure(5, 3)
        ax.hist(sizes.tolist(), bins=20, color=plots.COLOURS["fgm"])
        ax.set(xlabel="L2 length of a text's delta", ylabel="texts")
    fig.alt = "A histogram of the lengths of 200 random perturbations, one hill around 5.7."
    return fig
