"""The assistant in a browser: one tab to ask, one for the people who answer."""

from __future__ import annotations

import html

from examples.assistant.app import Assistant, Reply
from examples.assistant.history import LONGEST_ANSWER, LONGEST_QUESTION
from examples.serving import ServingError, load_gradio, on_page

gr = load_gradio()  # here, for it looks up the names of types among those of the module

CSS = """
.reply { border-left: 4px solid #2a6f97; padding: 0.4em 0.8em; overflow-wrap: anywhere }
.reply small { opacity: 0.75 }
.reply code { user-select: all }
footer { display: none !important }
"""
HOW = {"intent": "from the intent", "store": "from past questions", "person": "from a person"}


def shown(text: str) -> str:
    """A text as HTML in which nothing of it is markup, nor invisible."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def card(reply: Reply) -> str:
    facts = [HOW[reply.by]]
    if reply.intent:
        facts.append(f"intent {shown(reply.intent)}")
    if reply.by != "person" or reply.intent:
        facts.append(f"confidence {reply.confidence:.0%}")
    ticket = f"<br>Your ticket: <code>{shown(reply.ticket)}</code>" if reply.ticket else ""
    return (f'<div class="reply"><p>{shown(reply.answer)}{ticket}</p>'
            f"<small>{'; '.join(facts)}</small></div>")  # fmt: skip


def page(assistant: Assistant):
    """The page as a `gradio.Blocks`."""
    store = assistant.store

    def limited(request: gr.Request) -> str:
        client = request.client.host if request and request.client else "unknown"
        assistant.limiter.take(client)
        return client

    def ask(question: str, request: gr.Request):
        client = request.client.host if request and request.client else "unknown"
        reply = assistant.ask(question, client)
        return card(reply), reply.ticket or ""

    def look(ticket: str, request: gr.Request):
        limited(request)
        found = store.ticket((ticket or "").strip())
        said = found["answer"] or "No person has answered this yet."
        return (f'<div class="reply"><small>{shown(found["question"])}</small>'
                f"<p>{shown(said)}</p></div>")  # fmt: skip

    def waiting():
        return [(f"{row['id']}: {row['question']}", row["id"]) for row in store.queue()]

    def unconfirmed():
        return [(f"{row['id']}: {row['question']} → {row['answer']} ({row['source']})", row["id"])
                for row in store.quarantine()]  # fmt: skip

    def both(note: str):
        return gr.Radio(waiting(), value=None), gr.Radio(unconfirmed(), value=None), note

    def show(key: str, request: gr.Request):
        limited(request)
        who = store.person(key)
        counts = store.stats()
        return both(f"You are {shown(who)}. {counts['waiting']} waiting, "
                    f"{counts['entries'].get('quarantine', 0)} to be confirmed.")  # fmt: skip

    def answer(key: str, number: int | None, text: str, intent: str, request: gr.Request):
        limited(request)
        who = store.person(key)
        chosen(number, "a question that waits")
        done = store.answer(number, text, who, intent)
        return *both(f"{done} answered. Another person must confirm it before it is served."), ""

    def decide(serve: bool):
        def call(key: str, number: int | None, request: gr.Request):
            limited(request)
            who = store.person(key)
            chosen(number, "an answer in quarantine")
            store.decide(number, serve, who)
            return both(f"Entry {number} is {'served' if serve else 'rejected'}.")

        return call

    with gr.Blocks(title="Assistant", analytics_enabled=False) as blocks:
        gr.Markdown("# Assistant")
        hidden = dict(api_visibility="private")  # /api is the interface for programs
        with gr.Tab("Ask"):
            question = gr.Textbox(label="Your question", lines=2, max_length=LONGEST_QUESTION,
                                  placeholder="My card has not arrived.")  # fmt: skip
            send = gr.Button("Ask", variant="primary")
            said = gr.HTML()
            with gr.Row(equal_height=True):
                ticket = gr.Textbox(label="Ticket", max_lines=1, scale=3)
                again = gr.Button("Look for the answer", scale=1)
            gr.on([send.click, question.submit], on_page(ask), question, [said, ticket], **hidden)
            again.click(on_page(look), ticket, said, **hidden)
        with gr.Tab("For those who answer"):
            with gr.Row(equal_height=True):
                key = gr.Textbox(label="Your key", type="password", max_lines=1, scale=3)
                begin = gr.Button("Show what waits", scale=1)
            note = gr.Markdown()
            queue = gr.Radio([], label="Questions that wait")
            text = gr.Textbox(label="Answer", lines=3, max_length=LONGEST_ANSWER)
            intent = gr.Dropdown(store.intents(), value="", label="Intent, where there is one",
                                 allow_custom_value=True)  # fmt: skip
            reply = gr.Button("Answer", variant="primary")
            held = gr.Radio([], label="Answers that nobody has confirmed")
            with gr.Row():
                confirm = gr.Button("Serve this one from now on")
                reject = gr.Button("Reject it")
            lists = [queue, held, note]
            begin.click(on_page(show), key, lists, **hidden)
            reply.click(on_page(answer), [key, queue, text, intent], [*lists, text], **hidden)
            confirm.click(on_page(decide(True)), [key, held], lists, **hidden)
            reject.click(on_page(decide(False)), [key, held], lists, **hidden)
    return blocks


def chosen(number: int | None, what: str) -> None:
    if number is None:
        raise ServingError(f"choose {what} first")
