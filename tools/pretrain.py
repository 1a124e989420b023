"""Make the checkpoints that the package ships, from nothing: `make checkpoints`.

1. `bert-tiny`: a WordPiece tokenizer and a small BERT, trained by masked-language modelling on
   unlabelled text of the world. Resumable: run again after an interruption and it goes on.
2. `reviews-clean`, `reviews-robust`: bert-tiny fine-tuned on 2,500 labelled texts, without and with
   adversarial training (`tools/victims.py`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import random
import string
import time
from pathlib import Path

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizerFast,
    DataCollatorForLanguageModeling,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint

from advlib.corpora import World, replace, words, world

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def make_tokenizer(of: World) -> BertTokenizerFast:
    """Every word of the world whole, plus letters and 400 learned pieces for all other words."""
    pieces = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    letters = list(string.ascii_lowercase + string.digits)
    trainer = trainers.WordPieceTrainer(
        vocab_size=400 + len(letters), initial_alphabet=letters, show_progress=False
    )
    pieces.train_from_iterator(of.vocabulary, trainer)
    signs = list(letters) + [f"##{x}" for x in letters] + list(".,!?;:'\"()-&%/+$")
    vocabulary = dict.fromkeys([*SPECIALS, *signs, *sorted(pieces.get_vocab()), *of.vocabulary])
    return BertTokenizerFast(
        vocab={token: i for i, token in enumerate(vocabulary)}, do_lower_case=True
    )


def misspell(text: str, rng: random.Random, rate: float = 0.02) -> str:
    """Swap two neighbouring letters in 2 % of the words: people mistype, and the model should have
    met word pieces before an attack brings them."""
    changes = {}
    for i, word in enumerate(words(text)):
        if len(word) > 3 and rng.random() < rate:
            j = 1 + int(rng.random() * (len(word) - 2))
            changes[i] = word[:j] + word[j + 1] + word[j] + word[j + 2 :]
    return replace(text, changes)


def pretrain(out: Path, texts: int, epochs: float, seed: int) -> None:
    set_seed(seed)
    of = world("reviews")
    tokenizer = make_tokenizer(of)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=128, num_hidden_layers=3, num_attention_heads=4,
        intermediate_size=512, max_position_embeddings=128, type_vocab_size=2,
        hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    print(f"{len(tokenizer)} tokens, {model.num_parameters():,} parameters")

    def encode(split: str, n: int) -> Dataset:
        rng = random.Random(seed)
        texts = [misspell(r.text, rng) for r in of.sample(n, split, seed)]
        return Dataset.from_dict(tokenizer(texts, return_token_type_ids=False))

    args = TrainingArguments(
        str(out / "work"), num_train_epochs=epochs, per_device_train_batch_size=64,
        learning_rate=2e-3, lr_scheduler_type="cosine", warmup_steps=0.05, weight_decay=0.01,
        train_sampling_strategy="group_by_length", per_device_eval_batch_size=256,
        save_steps=2000, save_total_limit=1, eval_strategy="epoch", logging_steps=200,
        report_to="none", seed=seed, dataloader_num_workers=0,
    )  # fmt: skip
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    trainer = Trainer(
        model, args, collator, encode("unlabelled", texts), encode("validation", 1000)
    )
    start = time.time()
    last = get_last_checkpoint(args.output_dir) if Path(args.output_dir).is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    loss = trainer.evaluate()["eval_loss"]
    # With the masked-word head, which attacks use; the classification head comes with fine-tuning.
    model.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    card = {
        "made by": "tools/pretrain.py", "world": of.name, "unlabelled texts": texts,
        "epochs": epochs, "batch": 64, "seed": seed, "parameters": model.num_parameters(),
        "masked-word perplexity (1,000 unseen texts)": round(math.exp(loss), 3),
        "minutes": round((time.time() - start) / 60, 1), "torch": torch.__version__,
    }  # fmt: skip
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def add_head(folder: Path, out: Path, texts: int = 20_000, epochs: int = 3, seed: int = 0) -> None:
    """Give an encoder that was saved without its masked-word head a new one. The encoder stays as
    it is, so that all that was made from it stays true."""
    set_seed(seed)
    of = world("reviews")
    tokenizer = BertTokenizerFast.from_pretrained(folder)
    model = BertForMaskedLM.from_pretrained(folder, dtype=torch.float32)
    model.bert.requires_grad_(False)
    model.cls.predictions.transform.requires_grad_(True)
    collator = DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.15)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    rows = tokenizer([r.text for r in of.sample(texts, "unlabelled", seed)])["input_ids"]
    rows.sort(key=len)
    batches = [rows[i : i + 64] for i in range(0, len(rows), 64)]
    total = epochs * len(batches)
    model.eval()
    for step in range(total):
        if step % len(batches) == 0:
            random.Random(seed + step).shuffle(batches)
        batch = collator([{"input_ids": ids} for ids in batches[step % len(batches)]])
        loss = model(**batch).loss
        loss.backward()
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / total)
        optimizer.step()
        optimizer.zero_grad()
        if step % 200 == 0:
            print(f"{step}/{total}: {loss.item():.3f}", flush=True)
    held = tokenizer([r.text for r in of.sample(1000, "validation")])["input_ids"]
    set_seed(seed)
    with torch.no_grad():
        losses = [model(**collator([{"input_ids": ids} for ids in held[i : i + 100]])).loss.item()
                  for i in range(0, 1000, 100)]  # fmt: skip
    card = json.loads((folder / "card.json").read_text())
    card["masked-word head"] = {
        "made by": "tools/pretrain.py --head-of", "texts": texts, "epochs": epochs, "seed": seed,
        "masked-word perplexity (1,000 unseen texts)": round(math.exp(sum(losses) / 10), 3),
    }  # fmt: skip
    model.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    weights = (out / "model.safetensors").read_bytes()
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    (out / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/bert-tiny"))
    parser.add_argument("--texts", type=int, default=80_000)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--head-of", type=Path, help="only add a head to this encoder")
    options = parser.parse_args()
    if options.head_of:
        add_head(options.head_of, options.out)
        raise SystemExit
    pretrain(options.out, options.texts, options.epochs, options.seed)
