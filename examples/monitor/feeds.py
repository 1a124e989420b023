"""News from RSS, Atom and JSON lines, in files or at addresses, as items with a time in UTC.

    items, notes = read_feed("news.xml", now)

What is wrong with a feed is one sentence, a FeedError; what is wrong with single items of it is a
sentence in `notes`, and the others are read. A JSON line is {"guid": …, "text": …, "published": …}.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import re
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from examples.serving import ServingError

LARGEST = 5_000_000  # bytes of a feed
MOST = 2000  # items of one reading
LONGEST = 500  # characters of a text; a headline is shorter
PATIENCE = 10.0  # seconds for a whole feed
AHEAD = timedelta(minutes=5)  # clocks differ by so much
OLDEST = datetime(1995, 1, 1, tzinfo=UTC)  # before it a date is a mistake

# E-mail dates know GMT and the American names. A name that stands for two zones (BST, IST) is not
# here, and is treated like a zone that is missing.
ZONES = {"CET": "+0100", "CEST": "+0200", "EET": "+0200", "EEST": "+0300", "WET": "+0000",
         "WEST": "+0100", "MSK": "+0300", "JST": "+0900", "Z": "+0000"}  # fmt: skip


class FeedError(ServingError):
    """This feed cannot be read; the message says in one sentence why."""


@dataclass(frozen=True)
class Item:
    """source and guid together name an item: a feed cannot take the names of another one's items.

    published: aware, in UTC. dated: "yes", or why `published` is not what the feed said.
    """

    source: str
    guid: str
    published: datetime
    text: str
    dated: str = "yes"


# ---------------------------------------------------------------------- times


def moment(value) -> tuple[datetime | None, str]:
    """What a feed says about time, in UTC, and "yes", or what is wrong with it.

    value: an RFC 822 or ISO 8601 date, or seconds since 1970. A date without a zone is taken for
    UTC. Offsets are used as they stand, so a change of daylight saving between two items is right.
    """
    if value in (None, ""):
        return None, "no date"
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            found = datetime.fromtimestamp(value, UTC)
        else:
            found = _parsed(str(value).strip())
    except (ValueError, TypeError, OverflowError, OSError, IndexError):
        return None, "no readable date"
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC), "no time zone"
    try:
        return found.astimezone(UTC), "yes"
    except (ValueError, OverflowError):  # at the ends of the calendar
        return None, "no readable date"


def _parsed(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        head, _, zone = text.rpartition(" ")
        return parsedate_to_datetime(f"{head} {ZONES.get(zone, zone)}")


def dated(value, now: datetime) -> tuple[datetime, str]:
    """`moment`, with `now` in place of a date that is missing, impossible or yet to come."""
    found, said = moment(value)
    if found is None:
        return now, said
    if found > now + AHEAD:
        return now, "a date in the future"
    if found < OLDEST:
        return now, "a date before 1995"
    return min(found, now), said


# ---------------------------------------------------------------------- where it comes from


def http_address(address: str, what: str) -> str:
    """The address, where it is http or https with a host. Raises ServingError. What it reaches is
    for the operator to decide: only the command line names addresses, never the page."""
    try:
        parts = urlsplit(address)
        fine = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fine = False
    if not fine or any(c.isspace() for c in address):
        raise ServingError(f"{what} {address[:200]!r} is no address: it begins with http:// or "
                           "https:// and names a host")  # fmt: skip
    return address


class _SameKind(urllib.request.HTTPRedirectHandler):
    """Follows a redirect to http and https only."""

    def redirect_request(self, request, file, code, said, headers, address):
        http_address(address, "the redirect to")
        return super().redirect_request(request, file, code, said, headers, address)


def fetch(address: str) -> bytes:
    """What stands at an address, within PATIENCE and LARGEST. Raises FeedError."""
    request = urllib.request.Request(address, headers={"User-Agent": "advlib-monitor/1"})
    end = time.monotonic() + PATIENCE
    body = b""
    try:
        with urllib.request.build_opener(_SameKind).open(request, timeout=PATIENCE) as answer:
            while len(body) <= LARGEST:
                if time.monotonic() > end:  # a server may send a byte a second for ever
                    raise TimeoutError
                part = answer.read1(65536)
                if not part:
                    break
                body += part
    except urllib.error.HTTPError as error:
        raise FeedError(f"{address} answers with error {error.code}") from error
    except (TimeoutError, urllib.error.URLError) as error:
        slow = isinstance(getattr(error, "reason", error), TimeoutError)
        why = f"no answer within {PATIENCE:g} s" if slow else f"{getattr(error, 'reason', error)}"
        raise FeedError(f"{address} cannot be reached: {why}") from error
    except ServingError as error:
        raise FeedError(f"{address} leads elsewhere: {error}") from error
    except Exception as error:  # a broken answer: http.client raises many kinds
        raise FeedError(f"{address} gives a broken answer: {type(error).__name__}") from error
    return body


def body_of(where: str) -> bytes:
    """The bytes of a file or an address. Raises FeedError."""
    if "://" in where:
        body = fetch(http_address(where, "the feed"))
    else:
        try:
            with open(Path(where), "rb") as file:
                body = file.read(LARGEST + 1)
        except OSError as error:
            raise FeedError(f"{where} cannot be read: {error.strerror}") from error
    if len(body) > LARGEST:
        raise FeedError(f"{where} has more than {LARGEST:,} bytes: cut it into parts")
    return body


# ---------------------------------------------------------------------- what stands in it


def read_feed(where: str, now: datetime) -> tuple[list[Item], list[str]]:
    """The items of a feed, the oldest first, and a sentence for each kind of thing wrong with some
    of them. Raises FeedError where it is no feed at all."""
    body = body_of(where)
    beginning = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    rows = _json_lines if where.endswith((".jsonl", ".ndjson")) or beginning == b"{" else _entries
    return tidy(rows(body, where), where, now)


def tidy(rows: Iterator[dict | str], source: str, now: datetime) -> tuple[list[Item], list[str]]:
    """Items of dicts with guid, text and published, and what was wrong. A row that is a string is
    something wrong itself."""
    items, wrong = [], Counter()
    for k, row in enumerate(rows):
        if k == MOST:
            wrong[f"only the first {MOST} items are read"] = 1
            break
        if isinstance(row, str):
            wrong[row] += 1
            continue
        text = plain(row.get("text"))
        if not text:
            wrong["no text, left out"] += 1
            continue
        published, said = dated(row.get("published"), now)
        if said != "yes":
            instead = "taken for UTC" if said == "no time zone" else "the time of arrival counts"
            wrong[f"{said}, {instead}"] += 1
        items.append(Item(source, _guid(row, text), published, text, said))
    notes = [what if n == 1 else f"{what} ({n} times)" for what, n in wrong.items()]
    return sorted(items, key=lambda item: item.published), notes


def plain(text) -> str:
    """One line without tags, entities, control characters and surrogates; LONGEST at most."""
    if not isinstance(text, str):
        return ""
    text = re.sub(r"<[^<>]*>", " ", html.unescape(text))
    text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())[:LONGEST]


def _guid(row: dict, text: str) -> str:
    """The name that the feed gives, or one made from what the item says."""
    given = row.get("guid")
    given = str(given).strip() if isinstance(given, str | int) else ""
    if given and len(given) <= 200 and given.isprintable():
        return given
    said = f"{given}\n{row.get('published')}\n{text}".encode(errors="replace")
    return "sha256:" + hashlib.sha256(said).hexdigest()[:32]


def _json_lines(body: bytes, where: str) -> Iterator[dict | str]:
    try:
        lines = body.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FeedError(f"{where} is no text in UTF-8: save it anew") from error
    for line in filter(str.strip, lines):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            yield {"guid": row.get("guid"), "published": row.get("published"),
                   "text": row.get("text") or row.get("title")}  # fmt: skip
        else:
            yield "a line is no JSON object, left out"


def _entries(body: bytes, where: str) -> Iterator[dict | str]:
    import feedparser  # here, so that reading JSON lines does not need it

    if b"<!ENTITY" in body:
        raise FeedError(f"{where} defines entities of its own, as no feed needs to: not read")
    # As a file: feedparser takes a string for an address or the name of a file.
    try:
        found = feedparser.parse(io.BytesIO(body), resolve_relative_uris=False, sanitize_html=False)
    except Exception as error:  # of what anybody sends
        raise FeedError(f"{where} breaks the reader of feeds ({type(error).__name__})") from error
    broken = found.get("bozo") and not isinstance(
        found.get("bozo_exception"), feedparser.CharacterEncodingOverride
    )
    if not found.entries and (broken or not found.get("version")):
        raise FeedError(f"{where} is no RSS or Atom feed, and no JSON lines")
    for entry in map(dict, found.entries):  # its own class gives one date for another
        yield {"guid": entry.get("id") or entry.get("link"),
               "text": entry.get("title") or entry.get("summary"),
               "published": entry.get("published") or entry.get("updated")}  # fmt: skip
    if broken:
        yield "the feed breaks off or is not well formed, what could be read is read"


def read_labelled(file: Path) -> Iterator[tuple[str, str]]:
    """(text, label) from lines `text@label`, as in Financial PhraseBank. Raises ServingError."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise ServingError(f"{file} cannot be read: {error.strerror}") from error
    try:
        lines = body.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        lines = body.decode("latin-1").splitlines()  # as PhraseBank is
    pairs = [line.rpartition("@") for line in lines if line.strip()]
    if not pairs or any(not plain(text) or not label.strip() for text, _, label in pairs):
        raise ServingError(f"{file} has lines that are not `text@label`")
    for text, _, label in pairs:
        yield plain(text), label.strip()
