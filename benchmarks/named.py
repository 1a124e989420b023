"""The word attacks by name against TextAttack's, with the same resources on both sides.

Prints and writes to docs/results/words-by-name.md: texts fooled, with which text, and queries, on
texts of SST-2. The victim is an encoder that this script trains on a part of SST-2 (seed 0), or a
classifier that is there (`--victim`). Word vectors: the victim's own table, written to a file.
Synonyms: the groups of the world `reviews`, written to a file, or a file of yours. Stop words are
ours. No part of speech and no sentence similarity on either side. TextAttack runs in the
environment that words.py makes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from words import HERE, HOME, environment

import advlib
from advlib.app.recipes import A2T, PWWS, DeepWordBug, EditDistance, TextFooler
from advlib.attacks import EmbeddingNeighbours
from advlib.attacks.words import KeepWords
from advlib.corpora import words, world
from advlib.data import load_text, read_file

from common import table, write


def train(encoder: str, data: str, n: int, folder: Path) -> None:
    """Fine-tune an encoder on n texts, two passes, and save it."""
    torch.manual_seed(0)
    rows = load_text(data, train_size=n)["train"]
    victim = advlib.load_classifier(encoder, labels=rows.features["label"].names, device="cpu")
    optimizer = torch.optim.AdamW(victim.model.parameters(), lr=1e-4)
    order = torch.Generator().manual_seed(0)
    texts, labels = list(rows["text"]), list(rows["label"])
    victim.model.train()
    for _ in range(2):
        for chosen in torch.randperm(n, generator=order).split(32):
            batch = victim.encode([texts[i] for i in chosen], [labels[i] for i in chosen])
            batch.pop("special_tokens_mask")
            victim.model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    victim.model.eval()
    victim.save(folder)


def known(attack, victim, texts: list[str]) -> dict[str, list[str]]:
    """word -> what the attack proposes for it."""
    pairs = zip(texts, attack.propose(victim, texts, [0] * len(texts)), strict=True)
    return {w: list(o) for text, options in pairs
            for w, o in zip(words(text), options, strict=True) if o}  # fmt: skip


def row(name: str, ours: list, theirs: list[dict]) -> list:
    pairs = list(zip(ours, theirs, strict=True))
    both = [(r.text, p["text"]) for r, p in pairs if r.success and p["success"]]
    return [
        name, sum(r.success for r in ours), sum(p["success"] for p in theirs), len(both),
        sum(a == b for a, b in both), sum(r.text == p["text"] for r, p in pairs),
        sum(r.queries for r in ours), sum(p["queries"] for p in theirs),
        sum(p["idle"] for p in theirs),
    ]  # fmt: skip


def main(
    victim_folder: str, data: str, thesaurus: str | None, n: int, least: float, most: int = 5000
) -> None:
    """n: texts. least: the smallest cosine. most: words of the table that become word vectors."""
    python = environment()
    victim = advlib.load_classifier(victim_folder, device="cpu")
    torch.set_num_threads(1)
    rows = read_file(data).dropna()
    guess = victim.predict(rows.text[: 2 * n].tolist()).argmax(1)
    right = [i for i, y in enumerate(guess) if victim.labels[y] == rows.label.iloc[i]][:n]
    texts, labels = rows.text.iloc[right].tolist(), [int(guess[i]) for i in right]

    vectors = HOME / "vectors.txt"
    unit, names = EmbeddingNeighbours().table(victim)
    pairs = zip(names[:most], unit[:most].tolist(), strict=True)
    vectors.write_text("".join(f"{w} {' '.join(f'{x:.5f}' for x in row)}\n" for w, row in pairs))
    if thesaurus is None:
        thesaurus = str(HOME / "thesaurus.txt")
        groups = world("reviews").groups.values()
        Path(thesaurus).write_text("\n".join(" ".join(group) for group in groups))
    kept, unknown = KeepWords(), victim.tokenizer.unk_token
    limits = (kept, EditDistance(30))
    fooler = TextFooler(vectors=str(vectors), least=least)
    a2t = A2T(vectors=str(vectors), least=least)
    pwws = PWWS(thesaurus=thesaurus, constraints=(kept,))
    bug = DeepWordBug(constraints=limits)

    class Greedy(PWWS):
        """PWWS's order, but the other synonyms are looked at again, as TextAttack does."""

        scored = DeepWordBug.scored

    own = {
        "TextFooler": fooler, "A2T": a2t, "PWWS": pwws,
        "PWWS, greedy": Greedy(thesaurus=thesaurus, constraints=(kept,)), "DeepWordBug": bug,
        "DeepWordBug, unknown": DeepWordBug(rank="unknown", constraints=limits),
    }  # fmt: skip
    near = dict(kind="vectors", unknown=unknown)
    runs = {
        "TextFooler": near | dict(rank="delete", k=50, least=least,
                                  substitutes=known(fooler, victim, texts)),
        "A2T": near | dict(rank="gradient", k=20, least=least, rate=0.1, at_least=4,
                           substitutes=known(a2t, victim, texts)),
        "PWWS": dict(kind="dictionary", rank="weighted-saliency", unknown=unknown,
                     substitutes=known(pwws, victim, texts)),
        "DeepWordBug": dict(kind="dictionary", rank="unk", unknown=unknown, edits=30,
                            substitutes=known(bug, victim, texts)),
    }  # fmt: skip
    runs["A2T, dropout"] = runs["A2T"] | dict(dropout=True)
    # It pads to the maximal length where it takes gradients, so that is no longer than needed.
    longest = max(len(ids) for ids in victim.tokenizer(texts)["input_ids"])
    job = dict(model=str(Path(victim_folder).resolve()), max_length=min(longest + 32, 512),
               texts=texts, labels=labels, vectors=str(vectors), stop=sorted(kept.words),
               runs=runs)  # fmt: skip
    task, answer = HOME / "job.json", HOME / "result.json"
    task.write_text(json.dumps(job))
    quiet = {"NLTK_DATA": str(HOME / "nltk_data"), "TOKENIZERS_PARALLELISM": "false",
             "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": "1"}  # fmt: skip
    script = HERE / "peers" / "textattack_named.py"
    peer = subprocess.Popen([python, script, task, answer], env=os.environ | quiet)
    ours = {name: attack(victim, texts, labels) for name, attack in own.items()}
    if peer.wait():
        sys.exit("TextAttack failed, see above")
    theirs = json.loads(answer.read_text())
    compared = [
        ("TextFooler", "TextFooler", "TextFooler"), ("A2T", "A2T", "A2T, without its dropout"),
        ("A2T", "A2T, dropout", "A2T, as it comes"), ("PWWS", "PWWS", "PWWS, the paper's search"),
        ("PWWS, greedy", "PWWS", "PWWS, TextAttack's search"),
        ("DeepWordBug, unknown", "DeepWordBug", "DeepWordBug, ranked by the unknown token"),
        ("DeepWordBug", "DeepWordBug", "DeepWordBug, the paper's ranking"),
    ]  # fmt: skip
    split = sum(words(t) != p["words"] for t, p in zip(texts, theirs["TextFooler"], strict=True))
    lines = [row(title, ours[a], theirs[b]) for a, b, title in compared]
    different = [
        {"attack": title, "original": r.original, "ours": r.text, "TextAttack": p["text"],
         "success": [r.success, p["success"]], "queries": [r.queries, p["queries"]],
         "split": words(r.original) != p["words"]}
        for a, b, title in compared for r, p in zip(ours[a], theirs[b], strict=True)
        if r.text != p["text"] or r.queries != p["queries"]
    ]  # fmt: skip
    (HOME / "different.json").write_text(json.dumps(different, indent=1))
    counts = []
    for *_, title in compared:
        own_rows = [d for d in different if d["attack"] == title]
        moved = [d for d in own_rows if d["ours"] != d["TextAttack"]]
        counts.append([title, len(own_rows), sum(d["split"] for d in own_rows), len(moved),
                       sum(d["split"] for d in moved)])  # fmt: skip
    covered = {name: sum(w in runs[name]["substitutes"] for t in texts for w in words(t))
               for name in ("TextFooler", "A2T", "PWWS", "DeepWordBug")}  # fmt: skip
    count = sum(len(words(t)) for t in texts)
    text = REPORT.format(n=len(texts), words=count, labels=", ".join(victim.labels), split=split,
                         least=least, covered=", ".join(f"{k} {v}" for k, v in covered.items()),
                         table=table(HEAD, lines), differences=table(APART, counts),
                         alone=theirs["alone"], groups=Path(thesaurus).name)  # fmt: skip
    write("words-by-name", "The word attacks by name against TextAttack", text,
          "python benchmarks/named.py --encoder FOLDER --train train.tsv --data dev.tsv "
          f"--n {n} --least {least:g}")  # fmt: skip


HEAD = ["attack", "fooled by us", "by TextAttack", "by both", "of these with the same text",
        "same last text of all", "queries, ours", "queries, TextAttack",
        "more queries without the hint"]  # fmt: skip
APART = ["attack", "texts with other queries or another last text", "of these with words split "
         "otherwise", "texts with another last text", "of these with words split otherwise"]
REPORT = """\
The first {n} texts of SST-2's dev set that the victim has right ({words} words), classes \
{labels}. The victim is an encoder of 22 M parameters, fine-tuned on 2,000 texts, two passes, \
seed 0. Both sides have the same word vectors (the first 5,000 whole words of the victim's own \
table, cosine of at least {least:g} and not the papers' 0.7 and 0.8, for few words are that near \
here), the same synonyms (`{groups}`, unless another file is given: the groups of the world \
`reviews`), the same edits of words and the same stop words; no part of speech, no sentence \
similarity. Words with candidates: {covered}. TextAttack 0.3.11 brings its own transformations, \
constraints and search, and is told to rank only words that have candidates, as we do; the last \
column is what it would ask besides.

{table}

Every difference between attacks that mean the same was looked at:

{differences}

- TextFooler, and PWWS with TextAttack's search: see the first and fifth row. TextAttack scores \
1 − p in single precision and we compare logits; here that made no difference.
- DeepWordBug, ranked by the unknown token: TextAttack takes apostrophes off the ends of a word, \
so the `'s` of SST-2 is one letter there and stays, and is a word with edits here.
- A2T: we count the gradient as a query and TextAttack does not: one query a text. As it comes, \
it takes the gradient in training mode, so dropout draws the ranking by lot; we take it as the \
model answers.
- PWWS, the paper's search: each word's synonym is chosen once, on the original text, and never \
looked at again, which saves queries; TextAttack looks at all synonyms again for each word that \
it changes. The paper also goes on where a replacement does not help, so the last texts of \
failures differ.
- DeepWordBug, the paper's ranking: heads and tails cost two queries a word where the unknown \
token costs one, and rank otherwise. Here they rank worse.

TextAttack gets a table of neighbours with its word vectors; without one its `WordEmbedding` \
gives `{alone}`."""

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", help="folder of the encoder to train on --train")
    parser.add_argument("--train", help="training texts of SST-2")
    parser.add_argument("--train-size", type=int, default=2000)
    parser.add_argument("--victim", help="a classifier that is there, instead")
    parser.add_argument("--data", required=True, help="texts to attack, with labels")
    parser.add_argument("--thesaurus")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--least", type=float, default=0.5)
    args = parser.parse_args()
    folder = args.victim
    if folder is None:
        folder = str(HOME.parent / "named-victim")
        train(args.encoder, args.train, args.train_size, Path(folder))
    main(folder, args.data, args.thesaurus, args.n, args.least)
