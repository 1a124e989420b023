"""TextAttack's own parts for the attacks of benchmarks/named.py, on the resources of its job.

Runs in the environment that benchmarks/words.py makes, and knows nothing of advlib. Reads a JSON
job, writes JSON: for each run and text the last text, queries, success, the words as TextAttack
splits them, and how many words it would rank besides if it were not told which have candidates.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from textattack import Attack
from textattack.constraints.overlap import LevenshteinEditDistance
from textattack.constraints.pre_transformation import (
    MaxModificationRate,
    RepeatModification,
    StopwordModification,
)
from textattack.constraints.semantics import WordEmbeddingDistance
from textattack.goal_function_results import GoalFunctionResultStatus
from textattack.goal_functions import UntargetedClassification
from textattack.search_methods import GreedyWordSwapWIR
from textattack.shared import AttackedText, WordEmbedding
from textattack.transformations import WordSwapEmbedding
from textattack_greedy import Dictionary, HasSubstitutes, Padded


def embedding(file, needed):
    """(a WordEmbedding of a plain text file, what happens where it looks for neighbours itself). It
    gets a table of neighbours, of the words needed, because version 0.3.11 fails without one."""
    lines = [line.split() for line in Path(file).read_text().splitlines()]
    names = [word for word, *_ in lines]
    rows = torch.tensor([[float(x) for x in values] for _, *values in lines])
    rows = torch.nn.functional.normalize(rows, dim=1)
    index = {word: i for i, word in enumerate(names)}
    near = np.zeros((len(names), 51), dtype=int)
    for word in needed & set(index):
        near[index[word]] = (rows @ rows[index[word]]).topk(51).indices.numpy()
    parts = rows.numpy(), index, dict(enumerate(names))
    try:
        alone = f"finds {len(WordEmbedding(*parts).nearest_neighbours(0, 3))} neighbours"
    except Exception as error:
        alone = f"{type(error).__name__}: {error}"
    return WordEmbedding(*parts, near), alone


def attack_of(run, wrapper, vectors, stop):
    """One of our settings, in TextAttack's parts."""
    constraints = [RepeatModification(), StopwordModification(stop)]
    if run["kind"] == "vectors":
        change = WordSwapEmbedding(max_candidates=run["k"], embedding=vectors)
        constraints.append(WordEmbeddingDistance(embedding=vectors, min_cos_sim=run["least"]))
    else:
        change = Dictionary(run["substitutes"])
    constraints.append(HasSubstitutes(run["substitutes"]))
    if "rate" in run:
        constraints.append(MaxModificationRate(run["rate"], min_threshold=run["at_least"]))
    if "edits" in run:
        constraints.append(LevenshteinEditDistance(run["edits"]))
    goal = UntargetedClassification(wrapper, model_batch_size=256)
    return Attack(goal, constraints, change, GreedyWordSwapWIR(run["rank"], run["unknown"]))


def main(job_file, result_file):
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(1)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(job["model"]).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    tokenizer.model_max_length = job["max_length"]
    wrapper, stop = Padded(model, tokenizer), set(job["stop"])
    needed = {w.lower() for text in job["texts"] for w in AttackedText(text).words}
    vectors, alone = embedding(job["vectors"], needed)
    out = {"alone": alone}
    for name, run in job["runs"].items():
        # It takes gradients in training mode; we may hold the model in evaluation mode.
        mode = bool(run.get("dropout"))
        model.train = lambda on=True, mode=mode: torch.nn.Module.train(model, on and mode)
        torch.manual_seed(0)
        attack = attack_of(run, wrapper, vectors, stop)
        out[name] = []
        for text, label in zip(job["texts"], job["labels"], strict=True):
            model.eval()
            result = attack.attack(text, label)
            end = result.perturbed_result
            split = AttackedText(text).words
            idle = sum(w not in stop and w not in run["substitutes"] for w in split)
            out[name].append({
                "text": end.attacked_text.text,
                "queries": result.num_queries,
                "success": end.goal_status == GoalFunctionResultStatus.SUCCEEDED,
                "words": split,
                "idle": idle,
            })  # fmt: skip
        print(name, "done", file=sys.stderr, flush=True)
    Path(result_file).write_text(json.dumps(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
