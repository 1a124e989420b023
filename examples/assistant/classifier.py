"""From a question to an intent: a model of advlib, or letters and a linear model fitted at once.

Both have `labels` and `predict(texts)`, (n, classes) probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from examples.serving import ServingError

EMBEDDED = "bank-robust"
LETTERS = "letters"


class LettersLinear:
    """Runs of two to four letters, weighted by TF-IDF, and logistic regression: the baseline that a
    neural model must beat, and on real questions often does not.

    It is fitted anew at each start, which takes seconds, so no fitted model is kept in a file.
    Raises ServingError for questions of fewer than two intents.
    """

    def __init__(self, questions: Sequence[str], intents: Sequence[str]):
        if len(set(intents)) < 2:
            raise ServingError("a classifier needs questions of two intents or more: import some, "
                               "with a column `intent`")  # fmt: skip
        self.letters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True,
                                       dtype=np.float32)  # fmt: skip
        self.linear = LogisticRegression(C=10, max_iter=300)
        self.linear.fit(self.letters.fit_transform(questions), intents)
        self.labels = [str(name) for name in self.linear.classes_]

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        return self.linear.predict_proba(self.letters.transform(texts))


def load_model(name: str, intents: Sequence[str]):
    """A classifier by the name of an embedded model, or from a folder of `advlib run` or `advlib
    export`. Raises ServingError where it cannot be loaded or knows none of the intents."""
    import torch

    from advlib.models import load_classifier

    torch.set_num_threads(1)  # a question is short: more threads wait for each other
    try:
        model = load_classifier(name, device="cpu")
    except ValueError as error:
        raise ServingError(f"--model: {error}") from error
    if not set(model.labels) & set(intents):
        raise ServingError(
            f"the model {name} knows none of the intents in the store (it says "
            f"{', '.join(model.labels[:3])}, …): take another one, or --model {LETTERS}"
        )
    return model
