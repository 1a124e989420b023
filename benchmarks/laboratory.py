"""What the laboratory computes in a browser beside what the library computes, and its times.

    make laboratory-check                      builds the page, uses it, and runs this
    python benchmarks/laboratory.py --n 50     the laboratory is built and playwright is installed

Writes docs/results/laboratory.md. Exits with an error where the two are not equal: logits to 1e-4,
δ of FGM and PGD-10 to 1e-3, tokens, and but for ties the texts that word attacks end in, to
the letter.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import unicodedata
from pathlib import Path

import numpy as np

import advlib
from advlib.attacks import FGM, PGD, Typos, WordSubstitution
from advlib.attacks.search import TIE, KeepWords, Untargeted
from advlib.corpora import replace, words
from advlib.embeddings import mean_norm

from common import table, write

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from build_laboratory import VICTIMS
from laboratory_check import chromium, opened, said, served

EPS, STEPS = 0.3, 10
LOGITS, DELTA = 1e-4, 1e-3  # what is allowed
WORDS = {"substitutes": WordSubstitution(),
         "typos": Typos(max_changed=0.2, constraints=(KeepWords(),))}  # fmt: skip
NAMES = {"clean": "no attack", "noise": f"noise, the worst of {STEPS}", "fgm": "FGM",
         "pgd": f"PGD-{STEPS}"}  # fmt: skip
# What runs in the page first: it loads a victim of its own from the page's modules.
OWN = """const from = name => import(new URL(name, location.href).href);
  const { Victim, fetched } = await from('victim.js');
  const data = JSON.parse(new TextDecoder().decode(await fetched('data.json')));
  const victim = await Victim.load(name, data.victims[name]);"""
TOKENS = f"async ([name, texts]) => {{ {OWN} return texts.map(t => victim.tokenizer.encode(t)); }}"
PUSHED = f"""async ([name, texts, labels, eps, steps]) => {{ {OWN}
  const {{ fgm, noise, pgd }} = await from('embedding.js');
  const out = {{ fgm: [], pgd: [], noise: [] }};
  out.clean = (await victim.logits(texts)).map(z => [...z]);
  for (const [k, text] of texts.entries()) {{
    const ids = victim.tokenizer.encode(text);
    for (const [kind, attack] of Object.entries({{ fgm, noise, pgd }})) {{
      const {{ delta, logits }} = await attack(victim, ids, labels[k], eps, steps);
      out[kind].push({{ delta: [...delta], logits: [...logits] }});
    }}
  }}
  return out; }}"""
SEARCHED = f"""async ([name, texts, labels]) => {{ {OWN}
  const {{ greedy, substitutes, typos }} = await from('words.js');
  const groups = new Map(data.groups.flatMap(group => group.map(word => [word, group])));
  const keep = new Set(data.keep);
  const out = {{ substitutes: [], typos: [] }};
  for (const [k, text] of texts.entries()) {{
    for (const [kind, options, share] of [['substitutes', substitutes(text, groups), 1],
                                          ['typos', typos(text, keep), 0.2]]) {{
      let asked = 0;
      const r = await greedy(victim, text, labels[k], options, share, () => asked++);
      out[kind].push([r.text, r.success, r.queries, asked]);
    }}
  }}
  return out; }}"""


def odd_texts(texts: list[str], n: int = 1000) -> list[str]:
    """Texts of the world, some with slips in half of their words, and what else people type: other
    scripts, full-width letters, accents, invisible characters, signs, names of special tokens."""
    rng, typos = random.Random(0), Typos()

    def slipped(text):
        options = enumerate(map(typos.options, words(text)))
        return replace(text, {i: rng.choice(o) for i, o in options if o and rng.random() < 0.5})

    ranges = [(0x21, 0x7F), (0xA1, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xA00),
              (0x2010, 0x2070), (0x3040, 0x3100), (0x4E00, 0x9FA6), (0xFF01, 0xFF5F),
              (0x1F300, 0x1F5FA)]  # fmt: skip
    signs = [[c for c in map(chr, range(*r)) if unicodedata.category(c) != "Cn"] for r in ranges]
    spaces = list("    \t\n\r\x00\x01\x0b\x85\xa0\xad\u200b\u200d\u2028\u3000\ufeff")
    parts = "[MASK] [UNK] [SEP] [mask] don't ’tis sоup ｇｏｏｄ café".split() + ["x" * 101]
    made = []
    for k in range(n // 3):
        pools = rng.sample(signs, 2) + [spaces, list("abcdefgh")]
        line = [rng.choice(rng.choice(pools)) for _ in range(rng.randint(0, 60))]
        mixed = " ".join(rng.choices(parts + texts[k].split(), k=12))
        made.append("".join(line) if k % 3 else mixed)
    slips = [slipped(text) for text in texts[: n // 3]]
    made += ["good " * 300]
    return texts[: n - len(made) - len(slips)] + slips + made


def expected(victim, texts, labels) -> dict:
    """The same from the library, each text by itself."""
    out = {"clean": victim.logits(texts, 1), "fgm": [], "pgd": []}
    for text, label in zip(texts, labels, strict=True):
        batch = victim.encode([text], [label])
        for kind, attack in (("fgm", FGM(EPS)), ("pgd", PGD(EPS, steps=STEPS))):
            out[kind].append(attack(victim.model, batch)[0].flatten().numpy())
    for kind, attack in WORDS.items():
        out[kind] = [(r.text, r.success, r.queries) for r in attack(victim, texts, labels)]
    return out


def compare(page, name: str, texts: list[str], labels: list[int], odd: list[str]) -> dict:
    """One column of the table, and under "failed" what is not equal."""
    victim = advlib.load_classifier(name, device="cpu")
    wanted = expected(victim, texts, labels)
    tokens = page.evaluate(TOKENS, [name, odd])
    same = sum(a == b for a, b in zip(tokens, victim.tokens(odd)["input_ids"], strict=True))
    found = page.evaluate(PUSHED, [name, texts, labels, EPS, STEPS])
    found |= page.evaluate(SEARCHED, [name, texts, labels])
    gap = np.abs(np.array(found["clean"]) - wanted["clean"]).max()
    column = {f"texts of {len(odd):,} with the same tokens": f"{same:,}",
              "largest difference of a logit": f"{gap:.1g}"}  # fmt: skip
    failed = ["tokens"] * (same < len(odd)) + ["logits"] * (not gap <= LOGITS)
    radius = EPS * mean_norm(victim.model)
    for kind in ("fgm", "pgd"):
        gap = max(np.abs(np.array(f["delta"]) - d).max() for f, d in zip(found[kind], wanted[kind],
                                                                         strict=True))  # fmt: skip
        column[f"largest difference of an entry of δ, {NAMES[kind]}"] = f"{gap:.1g}"
        failed += [kind] * (not gap <= DELTA)
    for f in found["noise"] + found["fgm"]:
        failed += ["size"] * bool(abs(np.linalg.norm(f["delta"]) / radius - 1) > 1e-3)
    for kind in ("clean", "noise", "fgm", "pgd"):
        logits = np.array([f if kind == "clean" else f["logits"] for f in found[kind]])
        column[f"right, {NAMES[kind]}"] = f"{(logits.argmax(1) == labels).sum()} of {len(texts)}"
    for kind, attack in WORDS.items():
        theirs = [tuple(f[:3]) for f in found[kind]]
        pairs = list(zip(theirs, wanted[kind], labels, strict=True))
        same = sum(a == b for a, b, _ in pairs)
        fooled = sum(success for _, success, _ in theirs)
        mean = np.mean([queries for *_, queries in theirs])
        title = type(attack).__name__
        column[f"same end, success and queries, {title}"] = f"{same} of {len(texts)}"
        column[f"fooled by {title}, mean queries"] = f"{fooled}, {mean:.0f}"
        failed += [kind] * any(f[2] != f[3] for f in found[kind])
        failed += [kind for a, b, y in pairs if a != b and not tied(victim, a, b, y)]
    return column | {"failed": [f"{name}: {what}" for what in failed]}


def tied(victim, ours: tuple, theirs: tuple, label: int) -> bool:
    """Whether two ends of a search are as good as one another: both fool or none does, after as
    many queries, and the library's scores of them differ by no more than what it takes for equal,
    give or take the rounding of four logits."""
    scores = Untargeted().score(victim.logits([ours[0], theirs[0]], 1), np.array([label] * 2))
    return ours[1:] == theirs[1:] and abs(scores[0] - scores[1]) <= TIE + 4e-6


def cold(browser, address: str) -> tuple[float, float, float, float]:
    """Of a first visit: seconds to the first answer, how many of them the page's process computed
    (its threads together), seconds of all three pushes on both victims, and MB."""
    page = opened(browser, address)
    asked = page.context.new_cdp_session(page)
    asked.send("Performance.enable")
    found = {m["name"]: m["value"] for m in asked.send("Performance.getMetrics")["metrics"]}
    ready = page.evaluate("performance.getEntriesByName('ready')[0].startTime / 1000")
    start = time.perf_counter()
    page.locator("#push").click()
    said(page, "under PGD")
    pushed = time.perf_counter() - start
    size = page.evaluate("performance.getEntries().reduce((a, e) => a + (e.transferSize || 0), 0)")
    assert not page.troubles, page.troubles
    page.context.close()
    return ready, found["ProcessTime"], pushed, size / 1e6


def main(n: int, visits: int) -> None:
    test = advlib.load_text("reviews", train_size=1, test_size=max(n, 400))["test"]
    every, labels = list(test["text"]), list(test["label"])[:n]
    odd = odd_texts(every)
    assert len(odd) == 1000
    with served() as address, chromium() as browser:
        times = np.array([cold(browser, address) for _ in range(visits)])
        page = opened(browser, address)
        columns = {name: compare(page, name, every[:n], labels, odd) for name in VICTIMS}
        version = browser.version
    failed = [what for column in columns.values() for what in column.pop("failed")]
    rows = [[row, *(column[row] for column in columns.values())] for row in columns[VICTIMS[0]]]
    low, middle, high = np.percentile(times[:, 0], [0, 50, 100])
    text = (
        f"{n} test texts of the world `reviews`, ε = {EPS}, attacks with the settings of the page; "
        f"the library runs in PyTorch, the page in Chromium {version} with WebAssembly on one "
        f"thread.\n\n{table(['', *(f'`{name}`' for name in columns)], rows)}\n\n"
        "A search that ends in another text is allowed only where the two texts are as good as one "
        f"another: same success, as many queries, and scores that differ by {TIE:g}, at which the "
        "library takes two scores for equal and rounding decides which side of it they are on.\n\n"
        f"**First visit**, cold cache, from this machine's own server: {times[0, 3]:.1f} MB in all "
        "(models and runtime compressed); the first answer of both models "
        f"{middle:.1f} s after the address was opened (median of {visits} visits; {low:.1f} to "
        f"{high:.1f}), for {np.median(times[:, 1]):.1f} s of computing by the page's process on "
        f"all its threads. Noise, FGM and PGD-{STEPS} on both took {np.median(times[:, 2]):.1f} "
        "s more. The network comes on top, and whatever else ran on the machine is in these times."
    )
    write("laboratory", "The laboratory in the browser", text, "make laboratory-check")
    if failed:
        sys.exit(f"not equal: {', '.join(sorted(set(failed)))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50)
    parser.add_argument("--visits", type=int, default=5)
    args = parser.parse_args()
    main(args.n, args.visits)
