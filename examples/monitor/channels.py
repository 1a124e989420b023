"""Where alarms go: a channel is a function that sends one, a dict, or raises DeliveryError."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from examples.monitor.feeds import http_address
from examples.serving import ServingError


class DeliveryError(ServingError):
    """An alarm could not be sent; it is tried again."""


def to_file(path: Path) -> Callable[[dict], None]:
    """A channel: one JSON object on a line for each alarm."""

    def send(alarm: dict) -> None:
        line = json.dumps(alarm, ensure_ascii=False) + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "ab+") as file:
                if file.tell() and not _ends_a_line(file):  # a killed process left half a line
                    file.write(b"\n")
                file.write(line.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeliveryError(f"{path} cannot be written: {error.strerror}") from error

    return send


def _ends_a_line(file) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) == b"\n"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def to_webhook(address: str, patience: float = 5.0) -> Callable[[dict], None]:
    """A channel: POST the alarm as JSON; an answer of 2xx says that it has arrived. Redirects are
    not followed. Messages do not show the address, for it often holds a secret."""
    opener = urllib.request.build_opener(_NoRedirect)
    http_address(address, "the webhook")

    def send(alarm: dict) -> None:
        request = urllib.request.Request(address, json.dumps(alarm).encode(), method="POST",
                                         headers={"Content-Type": "application/json"})  # fmt: skip
        try:
            with opener.open(request, timeout=patience):
                pass
        except urllib.error.HTTPError as error:
            raise DeliveryError(f"the webhook answers with error {error.code}") from error
        except Exception as error:  # http.client raises many kinds for a broken answer
            why = getattr(error, "reason", error)
            raise DeliveryError(f"the webhook cannot be reached: {why}") from error

    return send
