"""Make the slides of a lecture, one page a lesson: the idea, a figure, a question for the room.

    python tools/slides.py [--out build/slides.html]

The figure comes from the solved notebook, the aims from the lesson's page. The result is one HTML
file that needs nothing else: arrow keys turn the pages, and a browser prints it to PDF, one slide a
page.
"""

from __future__ import annotations

import argparse
import json
import re
from html import escape
from pathlib import Path

from course import LESSONS

ROOT = Path(__file__).parents[1]
# Lesson -> the idea in a sentence; which of its figures shows it, counted from 0; and a question
# for the room that the figure does not answer.
SLIDES = {
    "00": ("One changed word can turn a model's answer, and the right answer stays.", 2,
           "Who decides that the changed text still means the same?"),
    "01": ("The worst point of a ball has a formula. Training on it is L + λ·L_adv.", 1,
           "Does a larger λ always cost clean accuracy?"),
    "02": ("Words have no gradient, their embeddings have: delta lives there.", 1,
           "Add 0.01·randn to the ids and round: how many words change?"),
    "03": ("One step along the gradient does far more than noise of the same size.", 2,
           "In 768 dimensions, what angle with the gradient has a random direction?"),
    "04": ("The compass turns: many small steps, each projected back into the ball.", 6,
           "Which step size gets highest in 12 steps: 4·eps, eps/2 or eps/20?"),
    "05": ("Noise, gradient or a trained generator: three sources of one perturbation.", 0,
           "Can a network that never sees the label fool the victim as often as the gradient?"),
    "06": ("Attacks that write real words are searches. Did the label survive?", 3,
           "Of the texts that HotFlip changes, how many still mean the same?"),
    "07": ("An attack that fails proves nothing. Honest evaluation looks for the bug.", 4,
           "A defence multiplies its logits by 100, and PGD fails. What would you try?"),
    "08": ("min over θ, max over δ: two players take turns.", 0,
           "Trained on FGM for two epochs: how many texts withstand PGD?"),
    "09": ("Every method has a price in passes; compare at equal price.", 0,
           "Which method trains best at equal price?"),
    "10": ("Few labels, few parameters: what of robustness stays?", 2,
           "A hundred labels: does VAT on unlabelled texts beat training longer?"),
    "11": ("lower ≤ truth ≤ upper: a certificate is a bound that no attack can pass.", 10,
           "Which of these rows would you sign?"),
    "12": ("The same objective at full size: memory, half precision, a run that may be cut.", 0,
           "PGD with three steps: how many times the memory of plain training? 1, 2 or 4?"),
    "13": ("Does the model look at what decides? Causes in place of correlations.", 1,
           "The model reads July as good. Does adversarial training cure that?"),
    "14": ("A gate is code that says no, and every gate is attacked.", 0,
           "Which of the five gates would you attack first, and how?"),
    "15": ("A policy taught afterwards sits on top of an ability that is still there.", 0,
           "How would you find a few words that make the model break its rule?"),
    "16": ("Answer, look up, or hand over to a person: three decisions, each attacked.", 0,
           "One answer in twenty may be wrong. Which questions go to a person?"),
    "17": ("An alarm that waits for a rise cannot repair a blind sensor.", 0,
           "Somebody hides bad news behind typos. Which alarm still sees it?"),
    "18": ("A rewording can be made harmless. A lie cannot.", 0,
           "A seller rewords a text and it means the same. Should its place change?"),
    "20": ("Your data, your threat model, your own worst number.", 0,
           "Which attack on your own model would you be sorry to have missed?"),
}  # fmt: skip

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Adversarial examples for language models: slides</title>
<style>
 * {{ box-sizing: border-box }}
 @page {{ size: 320mm 180mm; margin: 0 }}
 html {{ scroll-snap-type: y mandatory }}
 body {{ margin: 0; font: min(2.1vw, 3.7vh)/1.35 sans-serif; color: #1a1a1a; background: #fff }}
 section {{ height: 100vh; padding: 3.5vh 4vw; scroll-snap-align: start; break-after: page;
   overflow: hidden; display: grid; grid-template: auto 1fr auto / 1.25fr 1fr; gap: 1.5vh 3vw }}
 h1 {{ font-size: 1.5em; margin: 0; grid-column: 1 / 3 }}
 h1 small {{ font-weight: normal; color: #555; font-size: .55em }}
 figure {{ margin: 0; min-height: 0; display: flex; align-items: center }}
 img {{ max-width: 100%; max-height: 100%; width: 100%; object-fit: contain }}
 .idea {{ font-size: 1.2em; margin: 0 0 .6em }}
 ul {{ padding-left: 1.1em; margin: 0; font-size: .82em }}
 .ask {{ grid-column: 1 / 3; border-left: .4em solid #0072b2; padding: .3em .8em; margin: 0 }}
 code {{ font-size: .92em }}
 @media print {{ body {{ font-size: 6.4mm }} section {{ height: 180mm; padding: 8mm 12mm }} }}
</style></head><body>
{slides}
<script>
 const pages = [...document.querySelectorAll("section")];
 addEventListener("keydown", e => {{
   const step = {{ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1}}[e.key];
   if (!step) return;
   e.preventDefault();
   const now = Math.round(scrollY / innerHeight);
   pages[Math.max(0, Math.min(pages.length - 1, now + step))].scrollIntoView();
 }});
</script>
</body></html>
"""
SLIDE = """<section id="lesson-{number}" aria-label="{title}">
<h1>{title} <small>{minutes}</small></h1>
<figure><img alt="{alt}" src="data:image/png;base64,{picture}"></figure>
<div><p class="idea">{idea}</p><ul>{aims}</ul></div>
<p class="ask"><b>{ask}</b></p>
</section>"""


def text(markdown: str) -> str:
    """Escaped, with `code`, **bold** and *italics*; formulas stay as they are written."""
    shown = escape(" ".join(markdown.split()))
    for mark, tag in ((r"`([^`]+)`", "code"), (r"\*\*(.+?)\*\*", "b"), (r"\*(.+?)\*", "i")):
        shown = re.sub(mark, rf"<{tag}>\1</{tag}>", shown)
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", shown)


def aims(page: str) -> list[str]:
    """The lines under "You will"."""
    part = re.search(r"\*\*You will\*\*(.*?)\*\*Time\*\*", page, re.S)[1].replace("\n# ", "\n")
    return [re.sub(r"[;.]$", "", aim.strip(" \n#")) for aim in re.split(r"\n- ", part)[1:]]


def figures(notebook: dict) -> list[tuple[str, str]]:
    """(alternative text, PNG as base64) of every figure of a solved notebook."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                alt = output["metadata"].get("image/png", {}).get("alt", "")
                found.append((alt, "".join(output["data"]["image/png"]).strip()))
    return found


def slide(number: str) -> str:
    page = (ROOT / "course" / f"lesson_{number}" / "lesson.py").read_text(encoding="utf-8")
    solved = ROOT / "solutions" / f"{number}_{LESSONS[number]}.ipynb"
    idea, which, ask = SLIDES[number]
    alt, picture = figures(json.loads(solved.read_text(encoding="utf-8")))[which]
    minutes = re.search(r"[Aa]bout (\d+) minutes", page)
    return SLIDE.format(
        number=number, title=text(re.search(r"^# # (.+)$", page, re.M)[1]), idea=text(idea),
        minutes=f"{minutes[1]} minutes" if minutes else "", alt=escape(alt), picture=picture,
        aims="".join(f"<li>{text(aim)}</li>" for aim in aims(page)), ask=text(ask),
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "slides.html")
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    slides = "\n".join(map(slide, LESSONS))
    out.write_text(PAGE.format(slides=slides), encoding="utf-8")
    print(f"{len(LESSONS)} slides: {out}")


if __name__ == "__main__":
    main()
