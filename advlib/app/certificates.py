"""What `advlib evaluate --certify` adds to a card: how much of the test set is proved robust."""

from __future__ import annotations

import pandas as pd
from datasets import Dataset

from advlib.app.rows import MISSING, duration, interval, number, percent
from advlib.attacks import WordSubstitution
from advlib.certify import (
    Canonical,
    ExactWorst,
    OpinionsOnly,
    SmoothedEmbeddings,
    SmoothedWords,
    certified,
)
from advlib.corpora import WORLDS
from advlib.models import Classifier
from advlib.onnx import OnnxModel


def certificates(victim: Classifier, rows: Dataset, data: str) -> list[dict]:
    """Rows of `certified`, None where there is no number. Of a world: the exact worst case over
    opinion words, for the texts that have few enough variants; canonical forms; a vote over its
    sets. Of other data a vote over noise on the embeddings, which an exported model has not."""
    if data not in WORLDS:
        votes = [] if isinstance(victim.model, OnnxModel) else [SmoothedEmbeddings(1.0)]
        tables = [certified(victim, rows, votes)]
    else:
        sets = WordSubstitution(world=data)
        truth = ExactWorst(WordSubstitution(world=data, constraints=(OpinionsOnly(data),)))
        counts = truth.counts(victim, rows["text"])
        few = rows.select([i for i, count in enumerate(counts) if 1 < count <= truth.limit])
        tables = [certified(victim, few, [truth])] if len(few) else []
        tables.append(certified(victim, rows, [Canonical(data), SmoothedWords(sets)]))
    found = pd.concat(tables)
    return found.astype(object).where(found.notna(), None).to_dict("records")


def shown(row: dict) -> dict[str, str]:
    """A row of `certificates` for the terminal."""
    return {
        "method": row["method"],
        "classifier": row["classifier"],
        "n": str(row["n"]),
        "clean": percent(row["clean"]),
        "certified [95 %]": interval(row | {"accuracy": row["certified"]}),
        "radius": MISSING if row["radius"] is None else f"{row['radius']:.3f}",
        "passes": number(row["samples"]),
        "time": duration(row["seconds"]),
    }
