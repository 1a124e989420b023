"""The lessons, one folder each, and what their pages share.

    import advlib, course

    profile = course.setup()
    fgm_step = course.exercise("03.1", fgm_step)

`course/lesson_NN/` holds all of a lesson: `lesson.py` is the page (Jupytext percent format), from
which `make notebooks` makes the learner's copy and the solved one; `checks.py` its exercises, with
the course's own answers; `claims.py` what must come out; `figures.py` the drawing; `answers.py`
right and wrong answers that test the checks. The library `advlib` knows nothing of this package.

Importing course is cheap: PyTorch is loaded when a name is first used.
"""

from importlib import import_module

# Number of a lesson -> the name of its notebooks, in the order of the course.
LESSONS = {
    "00": "start_here",
    "01": "the_math",
    "02": "text_has_no_gradient",
    "03": "fgsm_and_fgm",
    "04": "pgd",
    "05": "three_sources",
    "06": "real_words",
    "07": "evaluate_honestly",
    "08": "adversarial_training",
    "09": "stronger_and_cheaper",
    "10": "fewer_labels_fewer_parameters",
    "11": "certificates",
    "12": "full_gpu_fine_tuning",
    "13": "explanation_causes_and_games",
    "14": "ethics_gates",
    "15": "generative_models",
    "16": "customer_service_assistant",
    "17": "financial_news_monitor",
    "18": "recommender",
    "20": "capstone",
}

# What a page uses, and the module that has it.
_HOME = {
    "setup": "profile",
    "exercise": "ledger",
    "predict": "ledger",
    "claim": "claims",
    "progress": "ledger",
}

__all__ = ["LESSONS", *_HOME]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(f"course.{_HOME[name]}"), name)
    raise AttributeError(f"module 'course' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
