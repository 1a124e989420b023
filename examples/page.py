"""A local page: type a text, see what a model says and how sure it is, and attack it.

    pip install "advlib[page]"
    python examples/page.py runs/mine        # a model's folder, a checkpoint or a Hub name

It is served to this machine only (http://127.0.0.1:7860). What the model says before the attack is
taken for the truth, as with `advlib attack`. Works as it stands; copy it to change it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from advlib.attacks import PGD, EmbeddingNeighbours, Typos, WordSubstitution
from advlib.embeddings import perturbed_logits
from advlib.models import Classifier, load_classifier

WAYS = {
    "Words that keep the meaning (known for the embedded world)": WordSubstitution,
    "Words with near embeddings (the meaning may change)": EmbeddingNeighbours,
    "Typos": Typos,
}
EXAMPLES = [
    "The waiter was friendly, and the soup was delicious.",
    "The battery died after a week, and nobody answered my letters.",
]
LONGEST = 2000  # characters; an attack asks the model about a text many times
STYLE = "del { color: #a02c00 } ins { color: #00553d; background: #d5f0e5; text-decoration: none }"


def checked(text: str) -> str:
    """The text without blanks around it, or an error that says what to do."""
    if not text or not text.strip():
        raise ValueError("Type a text first.")
    if len(text) > LONGEST:
        raise ValueError(f"This text has {len(text)} characters; {LONGEST} is the most here.")
    return text.strip()


def attack_words(
    victim: Classifier, text: str, way: str, share: float, queries: float
) -> tuple[dict[str, float], dict[str, float], str]:
    """What the model says before and after, and the text with its changes as escaped HTML.

    share: of the words, how many may change. queries: how often the model may be asked.
    """
    text = checked(text)
    before = victim.predict([text])[0]
    attack = WAYS[way](max_changed=share, max_queries=int(queries))
    found = attack(victim, [text], [int(before.argmax())])[0]
    said = "fooled" if found.success else "not fooled; another attack or a larger budget may do it"
    if found.queries == 1:  # about the text itself
        said = "not fooled: with these settings nothing in this text may change"
    note = f"The model is {said}. Words changed: {len(found.changed)}; asked {found.queries} times."
    after = victim.predict([found.text])[0]
    shown = f"<p>{found.show(as_html=True)}</p><p>{note}</p>"
    return named(victim, before), named(victim, after), shown


def attack_embeddings(
    victim: Classifier, text: str, eps: float
) -> tuple[dict[str, float], dict[str, float]]:
    """What the model says before, and after PGD has moved the embeddings of the same words."""
    text = checked(text)
    before = victim.predict([text])[0]
    batch = victim.encode([text], [int(before.argmax())])
    delta = PGD(eps, steps=10)(victim.model, batch)
    logits = perturbed_logits(victim.model, batch, delta).detach()
    return named(victim, before), named(victim, logits.softmax(-1)[0].tolist())


def predict(victim: Classifier, text: str) -> dict[str, float]:
    """Class name -> probability."""
    return named(victim, victim.predict([checked(text)])[0])


def named(victim: Classifier, probabilities) -> dict[str, float]:
    return dict(zip(victim.labels, map(float, probabilities), strict=True))


def page(victim: Classifier, name: str):
    """The page as a `gradio.Blocks`. Raises ValueError where gradio is missing."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # a local page calls nobody
    try:
        import gradio as gr
    except ImportError as error:
        raise ValueError('gradio is not installed: pip install "advlib[page]"') from error

    def told(function):
        """A mistake of the reader becomes a note on the page."""

        def call(*values):
            try:
                return function(victim, *values)
            except ValueError as error:
                raise gr.Error(str(error), print_exception=False) from error

        return call

    with gr.Blocks(title="Attack this", analytics_enabled=False) as blocks:
        gr.Markdown(f"# Attack this\nModel: `{name.replace('`', '')}`. Ask it, then make it fail.")
        text = gr.Textbox(EXAMPLES[0], label="Text", lines=3, max_length=LONGEST)
        ask = gr.Button("What does the model say?")
        before = gr.Label(label="The model says")
        with gr.Row():
            with gr.Column():
                way = gr.Radio(list(WAYS), value=next(iter(WAYS)), label="What may change")
                share = gr.Slider(0.1, 1, 0.5, step=0.1, label="Share of the words that may change")
                queries = gr.Slider(10, 2000, 300, step=10, label="How often it may ask the model")
                words = gr.Button("Attack this: words", variant="primary")
                after = gr.Label(label="It says of the changed text")
                changed = gr.HTML()
            with gr.Column():
                eps = gr.Slider(0.1, 1, 0.3, step=0.1, label="eps, of the mean token embedding")
                move = gr.Button("Attack this: embeddings", variant="primary")
                moved = gr.Label(label="It says of the same words, embeddings moved")
                gr.Markdown("A moved embedding is no text: nobody can type it.")
        gr.Examples(EXAMPLES, text)
        results = [before, after, changed, moved]
        text.change(lambda: [None] * len(results), None, results)  # they were of another text
        ask.click(told(predict), text, before)
        words.click(told(attack_words), [text, way, share, queries], [before, after, changed])
        move.click(told(attack_embeddings), [text, eps], [before, moved])
    return blocks


def main(
    model: Annotated[str, typer.Argument(help="Folder, checkpoint or Hub name.")] = "reviews-clean",
    port: int = 7860,
) -> None:
    """Load the model and open the page."""
    blocks = page(load_classifier(model), Path(model).name)
    blocks.launch(server_name="127.0.0.1", server_port=port, share=False, css=STYLE)


if __name__ == "__main__":
    typer.run(main)
