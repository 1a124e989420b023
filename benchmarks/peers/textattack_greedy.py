"""TextAttack's greedy word swap (ranked by the unknown token) on a job from benchmarks/words.py.

Runs in an environment of its own, which words.py makes, and knows nothing of advlib. Reads a JSON
job, writes JSON: adversarial texts, queries, seconds.
"""

import json
import sys
import time
from pathlib import Path

import torch
import transformers
from textattack import Attack
from textattack.constraints import PreTransformationConstraint
from textattack.constraints.pre_transformation import RepeatModification
from textattack.goal_function_results import GoalFunctionResultStatus
from textattack.goal_functions import UntargetedClassification
from textattack.models.wrappers import HuggingFaceModelWrapper
from textattack.search_methods import GreedyWordSwapWIR
from textattack.transformations import WordSwap


class Dictionary(WordSwap):
    """Word swaps from a fixed dictionary."""

    def __init__(self, substitutes):
        super().__init__()
        self.substitutes = substitutes

    def _get_replacement_words(self, word):
        return self.substitutes.get(word, [])


class HasSubstitutes(PreTransformationConstraint):
    """Only words of the dictionary are ranked and changed, as in the attack it is compared with."""

    def __init__(self, substitutes):
        self.substitutes = substitutes

    def _get_modifiable_indices(self, current_text):
        return {i for i, word in enumerate(current_text.words) if word in self.substitutes}


class Padded(HuggingFaceModelWrapper):
    """As it comes, but padded to the longest text of the batch and not to the model's maximum."""

    def __call__(self, texts):
        batch = self.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            return self.model(**batch.to(self.model.device)).logits


def main(job_file, result_file):
    job = json.loads(Path(job_file).read_text())
    torch.set_num_threads(job["threads"])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(job["model"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["model"])
    tokenizer.model_max_length = job["max_length"]
    model.to(job["device"])
    wrapper = (Padded if job["padded"] else HuggingFaceModelWrapper)(model.eval(), tokenizer)
    attack = Attack(
        UntargetedClassification(wrapper, model_batch_size=job["batch_size"]),
        [RepeatModification(), HasSubstitutes(job["substitutes"])],
        Dictionary(job["substitutes"]),
        GreedyWordSwapWIR("unk", tokenizer.unk_token),
    )
    out = []
    start = time.perf_counter()
    for text, label in zip(job["texts"], job["labels"], strict=True):
        result = attack.attack(text, label)
        end = result.perturbed_result
        out.append({
            "text": end.attacked_text.text,
            "queries": result.num_queries,
            "success": end.goal_status == GoalFunctionResultStatus.SUCCEEDED,
        })  # fmt: skip
    seconds = time.perf_counter() - start
    Path(result_file).write_text(json.dumps({"seconds": seconds, "results": out}))


if __name__ == "__main__":
    main(*sys.argv[1:])
