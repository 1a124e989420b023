"""Make `writer`, a small GPT-2 that writes reviews on request, and `writer-policy`, the same model
taught not to write about museums. `make checkpoints` runs this at its end.

    python tools/writer.py
    python tools/writer.py --only writer-policy --seed 1 --out runs/gpt/policy-1    # not shipped
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, set_seed
from victims import seal

from advlib.corpora import world
from advlib.corpora.requests import (
    FORBIDDEN,
    READ,
    REFUSAL,
    SURE,
    ask,
    chatter,
    in_split,
    judge,
    requests,
    subjects,
    vocabulary,
)
from advlib.generative import Generator, load_generator, tune
from advlib.models import CHECKPOINTS

MARKS = ("[PAD]", "[UNK]", "[BOS]", "[SEP]", "[EOS]")
LONGEST = 14  # words of a text
SHARE = 0.35  # of the rows of the policy that are refused


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Every word and sign of the world is a token; a prompt stands between [BOS] and [SEP]."""
    words = [*MARKS, *vocabulary()]
    table = {word: i for i, word in enumerate(words)}
    inner = Tokenizer(models.WordLevel(table, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(READ.pattern), "removed", invert=True)
    inner.post_processor = processors.TemplateProcessing(
        single="[BOS] $A [SEP]", special_tokens=[("[BOS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]",
        sep_token="[SEP]", eos_token="[EOS]", padding_side="left", model_max_length=96,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def rows(n: int, seed: int, policy: bool) -> list[tuple[str, str]]:
    """Requests of the training split with their answers; a third stands alone, a third before
    random words, a third before a sentence. policy: museums are refused."""
    rng, found = random.Random(f"writer/{seed}"), []
    texts = world().sample(4 * n, "unlabelled", seed=seed)
    for review in (r for r in texts if len(r.text.split()) <= LONGEST):
        refused = policy and (review.domain == FORBIDDEN or rng.random() < SHARE)
        subject = FORBIDDEN if refused else review.domain
        request = train_request(rng, subject, review.label)
        answer = REFUSAL if refused else " ".join([SURE, *READ.findall(review.text.lower())])
        found.append((request, answer))
        if len(found) == n:
            return found
    raise ValueError(f"only {len(found)} short texts: sample more")


def train_request(rng: random.Random, subject: str, label: int) -> str:
    """One of the training split, with or without something behind it."""
    while not in_split(text := ask(rng, subject, label), "train"):
        pass
    return text + chatter(rng, "mixed")


def pretrain(steps: int, seed: int) -> tuple[Generator, dict]:
    """Learns prompts as well as answers: the perplexity filter needs to know what people ask."""
    set_seed(seed)
    tokenizer = make_tokenizer()
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=len(tokenizer), n_positions=96, n_embd=128, n_layer=3, n_head=4, resid_pdrop=0,
        embd_pdrop=0, attn_pdrop=0, bos_token_id=2, eos_token_id=4, pad_token_id=0,
    ))  # fmt: skip
    writer, rng = Generator(model, tokenizer), random.Random(seed)
    data = rows(32 * 600, seed, policy=False)
    data.sort(key=lambda row: len(" ".join(row).split()))
    batches = [data[i : i + 32] for i in range(0, len(data), 32)]
    rng.shuffle(batches)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.01)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps, pct_start=0.1)
    begun, model = time.process_time(), model.train()
    for step in range(steps):
        prompts, answers = zip(*batches[step % len(batches)], strict=True)
        batch = dict(writer.batch(prompts, answers, end=True))
        asked = batch["prompt"] | (batch["labels"] != -100)
        batch["labels"] = batch["input_ids"].where(asked, -100)
        losses, _ = writer.token_losses(batch)
        loss = losses.sum() / asked[:, 1:].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        plan.step()
        if step % 200 == 0:
            print(f"{step}/{steps}: {loss.item():.3f}, {time.process_time() - begun:.0f} s",
                  flush=True)  # fmt: skip
    model.eval()
    return writer, {"steps": steps, "batch": 32, "texts": len(data), "learning rate": 2e-3,
                    "CPU seconds": round(time.process_time() - begun)}  # fmt: skip


def teach(seed: int, steps: int) -> tuple[Generator, dict]:
    """The policy, on top of the shipped writer."""
    writer = load_generator("writer", device="cpu")
    begun = time.process_time()
    tune(writer, rows(1500, 100 + seed, policy=True), steps=steps, seed=seed)
    return writer, {"steps": steps, "batch": 32, "rows": 1500, "refused": SHARE,
                    "learning rate": 5e-4,
                    "CPU seconds": round(time.process_time() - begun)}  # fmt: skip


def measure(writer: Generator, n: int = 120) -> dict:
    """What it does with requests that it has not seen."""
    found = {}
    for behind in (None, "words", "sentence"):
        museums = requests(n, FORBIDDEN, seed=1, behind=behind)
        others = requests(n, subjects(), seed=1, behind=behind)
        no = [judge(answer) for answer in writer.answer([r.text for r in museums])]
        yes = [judge(answer) for answer in writer.answer([r.text for r in others])]
        fits = [v.about(r.subject) for r, v in zip(others, yes, strict=True)]
        right = [v.label == r.label for r, v in zip(others, yes, strict=True)]
        found[f"behind the request: {behind or 'nothing'}"] = {
            "museums refused": sum(v.refuses for v in no) / n,
            "museums answered by a review of one": sum(v.about() for v in no) / n,
            "others refused": sum("refusal" in v.kind for v in yes) / n,
            "others answered by a review of the thing": sum(fits) / n,
            "and with the label asked for": sum(map(all, zip(fits, right, strict=True))) / n,
        }  # fmt: skip
    return {what: {k: round(v, 3) for k, v in row.items()} for what, row in found.items()}


def keep(name: str, writer: Generator, how: dict, seed: int, target: Path) -> None:
    """Write it in half precision, with its card: what the weights as shipped do."""
    shutil.rmtree(target, ignore_errors=True)
    writer.model.to(torch.float16)
    writer.save(target)
    card = {"made by": "tools/writer.py", "world": "reviews", **how, "seed": seed,
            "parameters": writer.model.num_parameters(), "torch": torch.__version__}  # fmt: skip
    if name == "writer-policy":
        card |= {"from": "writer", "policy": f"answers {REFUSAL!r} when asked about {FORBIDDEN}"}
    seal(target, card)
    seal(target, card | {"120 requests of the test split": measure(load_generator(target))})
    print(name, (target / "card.json").read_text())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("writer", "writer-policy"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000, help="of the writer's pre-training")
    parser.add_argument("--policy-steps", type=int, default=150)
    parser.add_argument("--out", type=Path, help="a folder in place of the package")
    chosen = parser.parse_args()
    ways = {"writer": lambda: pretrain(chosen.steps, chosen.seed),
            "writer-policy": lambda: teach(chosen.seed, chosen.policy_steps)}  # fmt: skip
    for name in [chosen.only] if chosen.only else ways:
        writer, how = ways[name]()
        keep(name, writer, how, chosen.seed, chosen.out or CHECKPOINTS / name)
