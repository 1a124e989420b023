"""What the assistant, the monitor and the recommender share: a store, a limit, a server.

    store = open_store("runs/mine/store.sqlite", SCHEMA)       one SQLite file
    with store.writing() as db: db.execute("INSERT ...")       all of it or nothing
    store.rows("SELECT ... WHERE id = ?", number)              a list of dicts
    Limiter(per_minute=60).take("127.0.0.1")                   raises TooMany in a flood
    serve(api, blocks, port=7861)                              a gradio page, and an API under /api

Each error is one sentence that says what is wrong and what to do: on the page, in the API's JSON
and in the terminal. `serve` is for this machine or a network that you trust: there is no log-in,
and whoever reaches the page may use all of it.
"""

from __future__ import annotations

import html
import os
import socket
import sqlite3
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

LARGEST = 2_000_000  # bytes of a request
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class ServingError(ValueError):
    """The program cannot do this; the message says in one sentence why, and what to do.
    status: of the API's answer."""

    status = 400


class TooMany(ServingError):
    """A client asks more often than it may; `seconds` is how long it must wait."""

    status = 429

    def __init__(self, seconds: float):
        self.seconds = max(1, round(seconds + 0.5))
        super().__init__(f"too many requests: try again in {self.seconds} s")


def usable(text, what: str, longest: int) -> str:
    """The text without blanks around it.

    what: its name in a message, such as "the question". Raises ServingError for what is no text,
    blank, longer than `longest` characters, or holds what SQLite and UTF-8 cannot keep.
    """
    if not isinstance(text, str) or not text.strip():
        raise ServingError(f"{what} is empty: type a text first")
    if len(text) > longest:
        raise ServingError(f"{what} has {len(text)} characters, and {longest} is the most here: "
                           "make it shorter")  # fmt: skip
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise ServingError(f"{what} holds characters that are no text: take them out")
    return text.strip()


# ---------------------------------------------------------------------- the store


class Store:
    """One SQLite file that all threads of a program use, one after another (`open_store`)."""

    def __init__(self, path: Path, db: sqlite3.Connection):
        self.path, self.db = path, db
        self._turn = threading.RLock()  # one connection: nobody reads another's half-written change

    def rows(self, sql: str, *values) -> list[dict]:
        """What a query finds. Values stand as `?` in it: a text is never a part of the SQL."""
        with self._turn, _told(self.path):
            return [dict(row) for row in self.db.execute(sql, values)]

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: what is done in it stays as a whole, or, where anything is raised or the
        process is killed, leaves no trace."""
        with self._turn, _told(self.path):
            self.db.execute("BEGIN IMMEDIATE")
            try:
                yield self.db
                self.db.execute("COMMIT")
            except BaseException:
                if self.db.in_transaction:  # a full disk has ended it already
                    self.db.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._turn:
            self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def open_store(path: str | Path, schema: str) -> Store:
    """The store in a file, made where there is none.

    schema: its CREATE statements. A file is marked with a checksum of them (SQLite's
        application_id), so that no program writes into the store of another one.

    Raises ServingError for a file that is damaged, no such store, not writable, or busy.
    """
    path, mark = Path(path), zlib.crc32(schema.encode()) & 0x7FFFFFFF
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServingError(f"the folder {path.parent} cannot be made: {error.strerror}") from error
    with _told(path):  # autocommit: a transaction is what stands in `writing`, and nothing else
        db = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        store = Store(path, db)
    try:
        with _told(path):
            _begin(store, schema, mark)
            found = db.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise ServingError(f"{path} is damaged ({' '.join(found.split())}): move it away, "
                                   "and a new one is made, or bring back a copy")  # fmt: skip
    except BaseException:
        db.close()
        raise
    return store


def _begin(store: Store, schema: str, mark: int) -> None:
    db = store.db
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("PRAGMA foreign_keys = ON")

    def is_new() -> bool:
        return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]

    if not is_new() and db.execute("PRAGMA application_id").fetchone()[0] != mark:
        raise ServingError(f"{store.path} is a database of another program or of another version: "
                           "name another file")  # fmt: skip
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # what is committed outlives a power cut too
    if is_new():
        with store.writing():
            if is_new():  # another process may have been faster
                for statement in _statements(schema):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {mark}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, each by itself: `executescript` would commit in between."""
    begun = ""
    for row in script.splitlines(keepends=True):
        begun += row
        if sqlite3.complete_statement(begun):
            yield begun
            begun = ""


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite raises, as a sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise ServingError(f"{path} is busy, another program writes: try again") from error
        raise ServingError(f"{path} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ServingError(f"{path} cannot be used as a store: {error}") from error
    except OverflowError as error:
        raise ServingError("a number is larger than the store can hold") from error


# ---------------------------------------------------------------------- the limit


class Limiter:
    """A token bucket for each client: `burst` requests at once, then `per_minute`.

    It remembers the last 10,000 clients. Who has many addresses has many buckets: a limit for all
    together is a matter of the proxy in front.
    """

    def __init__(self, per_minute: float = 60, burst: int = 20, clock=time.monotonic):
        if not (per_minute > 0 and burst >= 1):
            raise ServingError("a limit lets through more than 0 requests a minute and at least "
                               f"1 at once, got {per_minute!r} and {burst!r}")  # fmt: skip
        self.per_second, self.burst, self.clock = per_minute / 60, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._turn = threading.Lock()

    def take(self, client: str) -> None:
        """Take a token out of the client's bucket. Raises TooMany where it is empty."""
        with self._turn:
            now = self.clock()
            tokens, then = self._buckets.pop(client, (self.burst, now))
            tokens = min(self.burst, tokens + (now - then) * self.per_second)
            self._buckets[client] = (tokens - 1 if tokens >= 1 else tokens, now)
            if len(self._buckets) > 10_000:
                self._buckets.popitem(last=False)
        if tokens < 1:
            raise TooMany((1 - tokens) / self.per_second)


# ---------------------------------------------------------------------- the server


def load_gradio():
    """gradio, which calls nobody. Raises ServingError where it is not installed."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio
    except ImportError as error:
        raise ServingError('gradio is not installed: pip install -e ".[systems]"') from error
    return gradio


def on_page(function: Callable) -> Callable:
    """A function of the page whose ServingError becomes a note on it; gradio takes it for HTML."""
    gr = load_gradio()

    @wraps(function)
    def call(*values):
        try:
            return function(*values)
        except ServingError as error:
            raise gr.Error(html.escape(str(error)), print_exception=False) from error

    return call


def application(api, blocks, host: str = "127.0.0.1", css: str | None = None):
    """The FastAPI application: the routes of `api`, a `fastapi.APIRouter`, under /api, and at / the
    page `blocks`, a `gradio.Blocks`. Every error of /api is {"error": one sentence}."""
    gr = load_gradio()
    from fastapi import FastAPI
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse
    from starlette.exceptions import HTTPException
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(title=blocks.title, docs_url=None, redoc_url=None)  # those load from elsewhere

    def said(status: int, sentence: str, **headers) -> JSONResponse:
        sentence = sentence.encode(errors="replace").decode()
        return JSONResponse({"error": sentence}, status, headers or None)

    @app.exception_handler(ServingError)
    def _(request, error):
        wait = {"Retry-After": str(error.seconds)} if isinstance(error, TooMany) else {}
        return said(error.status, str(error), **wait)

    @app.exception_handler(RequestValidationError)
    def _(request, error):
        first = error.errors()[0]
        names = [part for part in first["loc"][1:] if isinstance(part, str)]
        where = ".".join(names) or "the request"
        return said(422, f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def _(request, error):
        return said(error.status_code, str(error.detail))

    app.include_router(api, prefix="/api")

    @app.api_route("/api/{rest:path}", methods=METHODS, include_in_schema=False)
    def _(rest: str):  # or the page would answer for it
        raise HTTPException(404, "there is nothing here: /openapi.json lists what there is")

    app.add_middleware(_Largest)
    if host in ("127.0.0.1", "localhost"):  # another site that a browser takes for this machine
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
    fonts = dict(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # none is fetched
    return gr.mount_gradio_app(
        app, blocks, path="/", css=css, theme=gr.themes.Default(**fonts), footer_links=[],
        show_error=False, ssr_mode=False, pwa=False, max_file_size=LARGEST,
    )  # fmt: skip


class _Largest:
    """Refuses the body of a request that is larger than LARGEST, before all of it is read."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        from starlette.exceptions import HTTPException
        from starlette.responses import JSONResponse

        said = f"a request has at most {LARGEST} bytes: send less at once"
        size = dict(scope.get("headers", ())).get(b"content-length", b"0")
        if size.isdigit() and int(size) > LARGEST:
            return await JSONResponse({"error": said}, 413)(scope, receive, send)
        seen = 0

        async def counted():
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST:  # sent in chunks, without a length
                raise HTTPException(413, said)
            return message

        await self.app(scope, counted if scope["type"] == "http" else receive, send)


def serve(api, blocks, host: str = "127.0.0.1", port: int = 7860, css: str | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM, and print the address when it is ready; port 0: a free one.

    Raises ServingError where the port is taken. Arguments as for `application`.
    """
    app = application(api, blocks, host, css)
    import uvicorn

    try:
        opened = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        said = f"{host}:{port} cannot be opened ({error}): name another --port"
        raise ServingError(said) from error
    address = f"http://{host}:{opened.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets=None):
            await super().startup(sockets)
            if self.started:
                print(f"{blocks.title}: {address} is ready, Ctrl-C stops it", flush=True)

    # Without proxy_headers=False a client could name any address as its own, and have no limit.
    config = uvicorn.Config(app, log_level="warning", proxy_headers=False, access_log=False,
                            server_header=False, timeout_graceful_shutdown=3)  # fmt: skip
    Server(config).run(sockets=[opened])
