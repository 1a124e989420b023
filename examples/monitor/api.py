"""The monitor over HTTP, under /api. Every answer is JSON; every error is {"error": a sentence}."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from examples.monitor.app import Monitor
from examples.monitor.feeds import tidy
from examples.serving import Limiter, ServingError

MOST = 200  # items of one request


class News(BaseModel):
    """items: objects with text, and guid and published where they are known."""

    items: list[dict[str, Any]]


def routes(monitor: Monitor, limiter: Limiter) -> APIRouter:
    def limited(request: Request) -> None:
        limiter.take(request.client.host if request.client else "")

    api = APIRouter(dependencies=[Depends(limited)])

    @api.get("/health")
    def health() -> dict:
        return monitor.counts()

    @api.post("/items")
    def items(news: News) -> dict:
        """Count items. Sending them again changes nothing, where they have a guid."""
        if not 0 < len(news.items) <= MOST:
            raise ServingError(f"send 1 to {MOST} items at once, not {len(news.items)}")
        found, notes = tidy(iter(news.items), "api", monitor.clock())
        return {**monitor.take(found), "notes": notes}

    @api.get("/items")
    def latest(topic: str | None = None, most: int = Query(50, ge=1, le=500)) -> list[dict]:
        return monitor.items(topic, most)

    @api.get("/topics")
    def topics() -> list[dict]:
        return monitor.topics()

    @api.get("/chart")
    def chart(topic: str, kind: str = "bad news", chart: str = "cusum") -> dict:
        return monitor.chart(topic, kind, chart)

    @api.get("/alarms")
    def alarms(most: int = Query(50, ge=1, le=500)) -> list[dict]:
        return monitor.alarms(most)

    @api.get("/alarms/{number}")
    def alarm(number: int) -> dict:
        return monitor.alarm(number)

    @api.get("/feeds")
    def feeds() -> list[dict]:
        return monitor.feeds()

    @api.get("/waiting")
    def waiting() -> list[dict]:
        """Alarms that could not be sent yet."""
        return monitor.waiting()

    return api
