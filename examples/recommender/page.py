"""The recommender in a browser: a user's list and why, a seller's text and its place, training."""

from __future__ import annotations

import difflib
import html

from advlib.systems.clicks import SOURCES
from examples.recommender.app import FIRST, Recommender
from examples.recommender.shop import LONGEST_NAME, LONGEST_TEXT
from examples.serving import ServingError, load_gradio, on_page

gr = load_gradio()  # here, for it looks up the names of types among those of the module

NEW_ITEM = "(a new item)"
WHY = {"text": "its text", "kind": "kind you click", "price": "price", "popularity": "popularity",
       "age": "age"}  # fmt: skip

CSS = """
.shop { overflow-wrap: anywhere }
.shop li { margin: 0.7em 0 }
.shop p { display: block; margin: 0.2em 0; white-space: pre-line }
.shop .why span { display: inline-block; border: 1px solid; border-radius: 1em; padding: 0 0.6em;
  margin: 0.15em 0.3em 0.15em 0; font-size: 0.85em }
.shop .why .up { border-color: #009e73 }
.shop .why .down { border-color: #d55e00; border-style: dashed }
.shop del { color: #d55e00 } .shop ins { text-decoration: underline; font-weight: 600 }
.shop table { width: 100% } .shop td, .shop th { text-align: left; padding: 0.2em 0.6em 0.2em 0 }
footer { display: none !important }
"""


def shown(text: str) -> str:
    """A text as HTML in which nothing of it is markup, nor invisible."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def cards(items: list[dict]) -> str:
    """A user's list."""
    if not items:
        return '<div class="shop"><p>There is nothing to show.</p></div>'
    rows = []
    for item in items:
        parts = sorted(item["why"].items(), key=lambda part: -abs(part[1]))
        why = "".join(f'<span class="{"up" if x > 0 else "down"}">{WHY[source]} {100 * x:+.0f}'
                      "</span>" for source, x in parts if abs(x) >= 0.005)  # fmt: skip
        rows.append(f"<li><b>{shown(item['id'])}</b> · price {item['price']:.2f} · chance of a "
                    f"click {item['score']:.0%}<p>{shown(item['text'])}</p>"
                    f'<div class="why">{why}</div></li>')  # fmt: skip
    return f'<div class="shop"><ol>{"".join(rows)}</ol></div>'


def changes(old: str, new: str) -> str:
    """The new text with what was changed marked, as HTML."""
    a, b = old.split(" "), new.split(" ")
    out = []
    for kind, i, j, k, m in difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes():
        gone, come = shown(" ".join(a[i:j])), shown(" ".join(b[k:m]))
        if kind == "equal":
            out.append(come)
        else:
            out += [f"<del>{gone}</del>"] * bool(gone) + [f"<ins>{come}</ins>"] * bool(come)
    return " ".join(out)


def standing(found: dict, old: str | None, new: str) -> str:
    """Before and after, as a table."""
    columns = [when for when in ("before", "after") if when in found]
    rows = {"opinion read in the text": lambda x: f"{x['opinion']:.0%}",
            "place, the middle one": lambda x: f"{x['place']:.0f} of {x['among']}",
            f"users who see it in their first {FIRST}": lambda x: f"{x['seen']:.0%}"}  # fmt: skip
    head = "".join(f"<th>{when}</th>" for when in columns)
    body = "".join(f"<tr><td>{name}</td>" + "".join(f"<td>{of(found[w])}</td>" for w in columns)
                   + "</tr>" for name, of in rows.items())  # fmt: skip
    list_ = "new items" if found["new"] else "all items"
    text = shown(new) if old is None else changes(old, new)
    return (f'<div class="shop"><p>In the list of {list_}:</p><table><tr><th></th>{head}</tr>{body}'
            f"</table><p>{text}</p></div>")  # fmt: skip


def page(shop: Recommender):
    """The page as a `gradio.Blocks`."""
    store = shop.store

    def limited(request: gr.Request) -> None:
        client = request.client.host if request and request.client else "unknown"
        shop.limiter.take(client)

    def items() -> list[str]:
        return [*shop.now().items["id"]]

    def recommend(user: str, only: str, request: gr.Request):
        limited(request)
        found = shop.top(user, new=only == "New ones")
        return cards(found), gr.Dropdown([item["id"] for item in found], value=None)

    def click(user: str, item: str | None, request: gr.Request):
        limited(request)
        store.click(user, chosen(item, "an item of the list"), True)
        return f"Written down: {shown(item)}. It is counted after the next training."

    def load(name: str):
        if name == NEW_ITEM:
            return "", "", usual, ""
        item = store.item(chosen(name, "an item"))
        return item["text"], item["kind"], item["price"], ""

    def place(name: str, kind: str, price: float, text: str, request: gr.Request):
        limited(request)
        if chosen(name, "an item") == NEW_ITEM:
            return standing(shop.place(text, None, kind, price or 0), None, text)
        return standing(shop.place(text, name), store.item(name)["text"], text)

    def reword(text: str, request: gr.Request):
        limited(request)
        return shop.reword(text)

    def save(name: str, new_id: str, kind: str, price: float, text: str, request: gr.Request):
        limited(request)
        if chosen(name, "an item") == NEW_ITEM:
            store.add_item(new_id, kind, price or 0, text)
            name = new_id.strip()
        else:
            store.change_text(name, text)
        said = f"Saved: {shown(name)}. Its texts so far: {len(store.wordings(name))}."
        return said, gr.Dropdown([NEW_ITEM, *items()], value=name)

    def train(request: gr.Request):
        limited(request)
        shop.start_training()
        return status()

    def status() -> str:
        found = shop.training()
        now = "A training is running." if found["running"] else shown(found["failed"]) or "Idle."
        rows = "".join(f"<tr><td>{row['id']}</td><td>{shown(row['made'])}</td><td>{row['clicks']}"
                       f"</td><td>{shown(row['reader'])}</td></tr>" for row in found["rankers"])
        return (f'<div class="shop"><p>{now} Day {store.today()}.</p><table><tr><th>ranker</th>'
                f"<th>made</th><th>clicks</th><th>reader</th></tr>{rows}</table></div>")

    with gr.Blocks(title="Recommender", analytics_enabled=False) as blocks:
        gr.Markdown("# Recommender")
        hidden = dict(api_visibility="private")  # /api is the interface for programs
        users, usual = store.users(200), float(shop.now().items["price"].median())
        with gr.Tab("For a user"):
            with gr.Row(equal_height=True):
                user = gr.Dropdown(users, value=users[0], label="User", allow_custom_value=True)
                only = gr.Radio(["All items", "New ones"], value="All items", label="Which")
            show = gr.Button("Show the first ten", variant="primary")
            gr.Markdown("Below each item: by how many points its chance of a click would be lower "
                        "(+) or higher (−) if that were as in the average item. The parts do not "
                        "add up, for the ranker looks at them together.")  # fmt: skip
            found = gr.HTML()
            with gr.Row(equal_height=True):
                item = gr.Dropdown([], label="Click on", scale=3)
                press = gr.Button("Click", scale=1)
            note = gr.Markdown()
            show.click(on_page(recommend), [user, only], [found, item], **hidden)
            press.click(on_page(click), [user, item], note, **hidden)
        with gr.Tab("For a seller"):
            name = gr.Dropdown([NEW_ITEM, *items()], value=NEW_ITEM, label="Item")
            with gr.Row():
                new_id = gr.Textbox(label="Id of a new item", max_length=LONGEST_NAME)
                kind = gr.Textbox(label="Kind", max_length=LONGEST_NAME)
                price = gr.Number(usual, label="Price")
            text = gr.Textbox(label="Text, one opinion a line", lines=4, max_length=LONGEST_TEXT)
            with gr.Row():
                look = gr.Button("Where would it stand?", variant="primary")
                other = gr.Button("Reword it: other words, same meaning")
                keep = gr.Button("Save")
            place_ = gr.HTML()
            saved = gr.Markdown()
            name.change(on_page(load), name, [text, kind, price, place_], **hidden)
            look.click(on_page(place), [name, kind, price, text], place_, **hidden)
            other.click(on_page(reword), text, text, **hidden)
            keep.click(on_page(save), [name, new_id, kind, price, text], [saved, name], **hidden)
        with gr.Tab("Training"):
            state = gr.HTML(status())
            again = gr.Button("Train now, in the background", variant="primary")
            again.click(on_page(train), None, state, **hidden)
            gr.Timer(3).tick(status, None, state, show_progress="hidden", **hidden)
    return blocks


def chosen(value: str | None, what: str) -> str:
    if not value:
        raise ServingError(f"choose {what} first")
    return value


assert {*WHY} == {*SOURCES} - {"user"}  # that one is equal for all items of a list
