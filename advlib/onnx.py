"""A model exported to ONNX in the place of a PyTorch model, run by ONNX Runtime on the CPU.

`advlib export` writes such models and `load_classifier` loads them; both packages of ONNX are
imported only when a model of theirs is asked for.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import torch
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

FILE = "model.onnx"
GRADIENT = "gradient.onnx"  # with its backward pass, for attacks outside Python


class NoGradients(ValueError):
    """Something asked an exported model for its embeddings."""


class OnnxModel(nn.Module):
    """An ONNX Runtime session in the place of a PyTorch model.

    threads: None leaves the number to ONNX Runtime. Raises ValueError where a package is missing.
    """

    def __init__(self, file: Path, config, threads: int | None = None):
        super().__init__()
        runtime = needed("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        self.session = runtime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.config = config
        self.here = nn.Parameter(torch.empty(0), requires_grad=False)  # says: on the CPU

    def get_input_embeddings(self) -> nn.Module:
        raise NoGradients("an exported model has no gradients: attack its words, or the original")

    def forward(self, **inputs) -> SequenceClassifierOutput:
        feed = {i.name: inputs[i.name].numpy() for i in self.session.get_inputs()}
        return SequenceClassifierOutput(logits=torch.from_numpy(self.session.run(None, feed)[0]))


def exported_file(source: str | Path) -> Path | None:
    """The exported model that a source names, where it names one: the file model.onnx itself, or a
    folder that holds it and no weights for PyTorch."""
    path = Path(source).expanduser()
    if path.name == FILE and path.is_file():
        return path
    alone = (path / FILE).is_file() and not list(path.glob("*.safetensors"))
    return path / FILE if alone else None


def needed(package: str):
    """The module. Raises ValueError with the way to get it where it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(f"{package} is not installed: pip install onnx onnxscript onnxruntime "
                         "(the extra `deploy` of advlib)") from error  # fmt: skip
