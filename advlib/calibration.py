"""Confidence that means what it says: the logits divided by one temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from datasets import Dataset
from scipy.optimize import minimize_scalar
from torch import nn
from torch.nn.functional import softplus
from transformers.modeling_outputs import SequenceClassifierOutput

from advlib.attacks.embedding import wrong_margin
from advlib.data import texts_of
from advlib.models import Classifier


class Tempered(nn.Module):
    """A model whose logits are divided by a temperature; the model itself is left as it is."""

    def __init__(self, model: nn.Module, temperature: float):
        super().__init__()
        self.model, self.temperature = model, temperature
        self.config, self.training = model.config, model.training

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def forward(self, **inputs) -> SequenceClassifierOutput:
        return SequenceClassifierOutput(logits=self.model(**inputs).logits / self.temperature)


@dataclass
class Calibrated(Classifier):
    """A classifier whose probabilities mean what they say; it predicts as the original does."""

    model: Tempered

    @property
    def temperature(self) -> float:
        return self.model.temperature


def calibrate(victim: Classifier, data: Dataset, batch_size: int | None = None) -> Calibrated:
    """Divide the logits by the one temperature T under which the labels of `data` are likeliest.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599, section
    4.2. T > 1 takes confidence away. It is looked for from 1/20 to 20 times the mean size of the
    margins, so logits twenty times as large get a T twenty times as large. Where all of `data` is
    right no T is best, and the smallest is taken. T has three digits, more than the data can tell.
    """
    if not len(data):
        raise ValueError("calibration needs texts with labels, and there are none")
    labels = torch.as_tensor(victim.classes(data["text"], data["label"]))
    logits = torch.from_numpy(victim.logits(texts_of(data), batch_size)).double()
    unit = float(wrong_margin(logits, labels).abs().mean()) or 1.0

    def loss(log_t: float) -> float:
        return float(softplus(wrong_margin(logits / (unit * math.exp(log_t)), labels)).mean())

    edge = math.log(20)
    best = unit * math.exp(minimize_scalar(loss, bounds=(-edge, edge), method="bounded").x)
    model = Tempered(victim.model, float(f"{best:.3g}"))
    return Calibrated(model, victim.tokenizer, read=victim.read)
