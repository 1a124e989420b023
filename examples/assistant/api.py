"""The assistant by HTTP, under /api; every error is {"error": one sentence}.

    POST /api/ask                {"question": …}                 anybody
    GET  /api/tickets/TICKET                                     whoever has the ticket
    GET  /api/stats                                              anybody: numbers only
    GET  /api/queue                                              with a key, as the header X-Key
    POST /api/queue/NUMBER       {"answer": …, "intent": …}      with a key
    GET  /api/quarantine                                         with a key
    POST /api/quarantine/NUMBER  {"serve": true}                 with another person's key
"""

from __future__ import annotations

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel

from examples.assistant.app import Assistant


class Question(BaseModel):
    question: str


class Answer(BaseModel):
    answer: str
    intent: str = ""


class Decision(BaseModel):
    serve: bool


def routes(assistant: Assistant) -> APIRouter:
    api, store = APIRouter(), assistant.store

    def client(request: Request) -> str:
        return request.client.host if request.client else "unknown"

    def limited(request: Request) -> None:
        assistant.limiter.take(client(request))

    def person(request: Request, x_key: str = Header("")) -> str:
        limited(request)  # also against whoever tries keys
        return store.person(x_key)

    @api.post("/ask")
    def ask(body: Question, request: Request) -> dict:
        return assistant.ask(body.question, client(request)).as_dict()

    @api.get("/tickets/{ticket}", dependencies=[Depends(limited)])
    def ticket(ticket: str) -> dict:
        return store.ticket(ticket)

    @api.get("/stats", dependencies=[Depends(limited)])
    def stats() -> dict:
        return store.stats()

    @api.get("/queue", dependencies=[Depends(person)])
    def queue() -> list[dict]:
        return store.queue()

    @api.post("/queue/{number}")
    def answer(number: int, body: Answer, who: str = Depends(person)) -> dict:
        return {"answered": store.answer(number, body.answer, who, body.intent)}

    @api.get("/quarantine", dependencies=[Depends(person)])
    def quarantine() -> list[dict]:
        return store.quarantine()

    @api.post("/quarantine/{number}")
    def decide(number: int, body: Decision, who: str = Depends(person)) -> dict:
        store.decide(number, body.serve, who)
        return {"entry": number, "state": "served" if body.serve else "rejected"}

    return api
