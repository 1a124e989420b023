"""The Hub, asked without waiting where there is no network."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants


@contextmanager
def no_waiting(source: str | Path) -> Iterator[None]:
    """Inside, the Hub is not asked for `source` where its address cannot be found.

    Its client would try for half a minute, and again for each file, also for those that it has
    kept on this machine. Without a network it now takes the kept ones, or says at once that there
    are none.
    """
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not (Path(source).exists() or _can_be_found())
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _can_be_found() -> bool:
    if getproxies():
        return True  # then the proxy looks for it
    try:
        socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, None)
    except OSError:
        return False
    return True
