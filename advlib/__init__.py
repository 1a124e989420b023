"""advlib: attacks on language models, training against them, and honest evaluation of both.

Importing advlib is cheap: PyTorch and transformers are loaded when a name is first used.
"""

from importlib import import_module

__version__ = "0.1.0"

# What users import, and the module that has it.
_HOME = {
    "doctor": "app.doctor",
    "load_text": "data",
    "Classifier": "models",
    "load_classifier": "models",
    "embedded_checkpoints": "models",
    "robustness": "evaluation",
    "AdversarialTrainer": "training",
    "finetune": "finetuning",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str):
    if name in _HOME:
        value = getattr(import_module(f"advlib.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'advlib' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
