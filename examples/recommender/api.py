"""The recommender by HTTP, under /api; every error is {"error": one sentence}.

    GET  /api/top?user=NAME&n=10&new=false    a user's first items, each with its score and why
    GET  /api/items/ID                        an item and all that its text has said
    POST /api/place       {"text": …, "item": ID}, or kind and price of a new one; saves nothing
    POST /api/items       {"id": …, "kind": …, "price": …, "text": …}
    PUT  /api/items/ID    {"text": …}
    POST /api/clicks      {"user": …, "item": ID, "clicked": true}
    POST /api/train       in the background
    GET  /api/train       whether one is running, and the rankers there are
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from examples.recommender.app import FIRST, Recommender


class Item(BaseModel):
    id: str
    kind: str = ""
    price: float = 0
    text: str


class Text(BaseModel):
    text: str


class Draft(BaseModel):
    text: str
    item: str | None = None
    kind: str = ""
    price: float = 0


class Click(BaseModel):
    user: str
    item: str
    clicked: bool = True


def routes(shop: Recommender) -> APIRouter:
    def limited(request: Request) -> None:
        shop.limiter.take(request.client.host if request.client else "unknown")

    api, store = APIRouter(dependencies=[Depends(limited)]), shop.store

    @api.get("/top")
    def top(user: str, n: int = FIRST, new: bool = False) -> list[dict]:
        return shop.top(user, n, new)

    @api.get("/items/{name}")
    def item(name: str) -> dict:
        return store.item(name) | {"texts": store.wordings(name)}

    @api.post("/place")
    def place(body: Draft) -> dict:
        return shop.place(body.text, body.item, body.kind, body.price)

    @api.post("/items", status_code=201)
    def add(body: Item) -> dict:
        store.add_item(body.id, body.kind, body.price, body.text)
        return store.item(body.id.strip())

    @api.put("/items/{name}")
    def change(name: str, body: Text) -> dict:
        store.change_text(name, body.text)
        return store.item(name)

    @api.post("/clicks", status_code=201)
    def click(body: Click) -> dict:
        store.click(body.user, body.item, body.clicked)
        return {"day": store.today()}

    @api.post("/train", status_code=202)
    def train() -> dict:
        shop.start_training()
        return shop.training()

    @api.get("/train")
    def training() -> dict:
        return shop.training()

    return api
