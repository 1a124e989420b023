"""Draw the map of the course, docs/img/map.svg, from what each page says to know before it.

    python tools/course_map.py
"""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib
from matplotlib.patches import FancyBboxPatch

from advlib import plots
from course import LESSONS

matplotlib.use("Agg")
ROOT = Path(__file__).parents[1]
# The row of a lesson where the first free one would let arrows run through boxes.
ROW = {"00": 2, "01": 1, "02": 1, "03": 1, "04": 1, "05": 2, "06": 2, "07": 0, "08": 1, "09": 1,
       "10": 1, "11": 3, "12": 0, "13": 2, "14": 3}  # fmt: skip
OPTIONAL = re.compile(r"\([^)]*helps[^)]*\)", re.S)


def page(number: str) -> str:
    return (ROOT / "course" / f"lesson_{number}" / "lesson.py").read_text()


def before(number: str) -> set[str]:
    """The lessons that a page's **Before** names ("07 to 09" is three)."""
    said = OPTIONAL.sub("", re.search(r"\*\*Before\*\*(.*?)\n(?:#\n|\n)", page(number), re.S)[1])
    named = set(re.findall(r"\b\d\d\b", said))
    for low, high in re.findall(r"\b(\d\d) to (\d\d)\b", said):
        named |= {n for n in LESSONS if low <= n <= high}
    return named & LESSONS.keys() - {number}


def needs() -> dict[str, set[str]]:
    """Lesson -> the lessons right before it; what those need in turn is left out."""
    direct = {n: before(n) for n in LESSONS}

    def all_before(n: str) -> set[str]:
        return direct[n].union(*map(all_before, direct[n]))

    return {n: own - set().union(*map(all_before, own)) for n, own in direct.items()}


def columns(arrows: dict[str, set[str]]) -> dict[str, int]:
    """How many lessons, at least, one goes through to be ready for each."""
    depth: dict[str, int] = {}
    for n in LESSONS:  # in the order of the course: what is needed comes first
        depth[n] = 1 + max((depth[m] for m in arrows[n]), default=-1)
    return depth


def draw(file: Path = ROOT / "docs" / "img" / "map.svg") -> None:
    arrows = needs()
    depth = columns(arrows)
    rows: dict[str, int] = {}
    for n in LESSONS:
        taken = {row for m, row in rows.items() if depth[m] == depth[n]}
        rows[n] = ROW.get(n, next(row for row in range(99) if row not in taken))
    wide, high = max(depth.values()) + 1, max(rows.values()) + 1
    matplotlib.rcParams |= {"svg.hashsalt": "map", "svg.fonttype": "none"}  # the same each time
    with plots.style():
        fig, ax = plots.figure(1.55 * wide, 1.05 * high)
        for n in LESSONS:
            x, y = depth[n], -rows[n]
            ax.add_patch(FancyBboxPatch((x - 0.37, y - 0.3), 0.74, 0.6, facecolor="white",
                                        edgecolor=plots.COLOURS["fgm"], linewidth=1.2, zorder=3,
                                        boxstyle="round,pad=0.02"))  # fmt: skip
            title = re.match(r"# %%.*\n# # \d\d · ([^:\n]*)", page(n))[1]
            ax.text(x, y, f"{n}\n{wrap(title)}", ha="center", va="center", fontsize=7.5, zorder=4)
            for m in sorted(arrows[n]):
                ax.annotate("", xytext=(depth[m] + 0.4, -rows[m]), xy=(x - 0.4, y), zorder=2,
                            arrowprops=dict(arrowstyle="->", color="#666666"))  # fmt: skip
        ax.set(xlim=(-0.5, wide - 0.5), ylim=(0.45 - high, 0.45))
        ax.axis("off")
    fig.savefig(file, metadata={"Date": None}, facecolor="white")


def wrap(title: str, most: int = 18) -> str:
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


if __name__ == "__main__":
    draw()
