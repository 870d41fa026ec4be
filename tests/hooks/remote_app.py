"""The middleware with hooks outside of the process, over each carrier."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.test import Client

from tests.hooks.handler import Handler, serving
from tests.hooks.scenario import Response, Send, SendSlowly
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.domain.events import Event, HookCalled, RequestFailed
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore

EVENTS = ",".join(event for event in HookEvent if event is not HookEvent.AUTHORIZE)
"""All events of tusd."""

PATH = "/internal/tus"

ADDRESS = {"REMOTE_ADDR": "127.0.0.1", "REMOTE_PORT": "5000"}


class Recorder:
    """An observer that records failed requests, and the outcomes of hooks."""

    handles = frozenset((HookCalled, RequestFailed))

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def __call__(self, event: Event, /) -> None:
        self._events.append(event)


def new_middleware(
    app: Any,
    environ: dict[str, str],
    store: Store | None = None,
    events: list[Event] | None = None,
    **options: Any,
) -> TusMiddleware:
    """Create a middleware around an application, with all events of tusd."""
    settings = {"TUS_S3_BUCKET": "uploads", "TUS_HOOKS_ENABLED_EVENTS": EVENTS, **environ}
    return TusMiddleware(
        app,
        settings=Settings.from_environ(settings),
        store=MemoryStore() if store is None else store,
        locker=MemoryLocker(timeout=1),
        observers=[] if events is None else [Recorder(events)],
        **options,
    )


@contextmanager
def remote_app(
    carrier: str, handler: Handler, environ: dict[str, str] | None = None, **options: Any
) -> Iterator[TusMiddleware]:
    """Yield a middleware whose hooks the handler answers, over `wsgi` or `http`."""
    given = environ or {}
    if carrier == "wsgi":
        yield new_middleware(handler, {"TUS_HOOKS_WSGI": PATH, **given}, **options)
        return
    with serving(handler) as url:
        settings = {"TUS_HOOKS_HTTP": url, "TUS_HOOKS_HTTP_BACKOFF": "1ms", **given}
        yield new_middleware(NotFound(), settings, **options)


class SlowBody(io.RawIOBase):
    """A body that comes byte by byte."""

    def __init__(self, length: int) -> None:
        self._left = length

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._left or not size:
            return b""
        time.sleep(0.01)
        self._left -= 1
        return b"x"

    def readinto(self, buffer: Any) -> int:
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


def send_slowly_in_process(app: Any) -> SendSlowly:
    """Return the function that sends a PATCH byte by byte to an application."""
    client = Client(app)

    def send_slowly(path: str, fields: dict[str, str], length: int) -> Response:
        body = {"CONTENT_LENGTH": str(length), "wsgi.input": SlowBody(length)}
        response = client.patch(
            path, headers=fields, environ_overrides={**ADDRESS, **body}, buffered=True
        )
        found = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, found, response.data)

    return send_slowly


def send_in_process(app: Any) -> Send:
    """Return the function that sends requests to an application, with no field but the given."""
    client = Client(app)

    def send(method: str, path: str, fields: dict[str, str], data: bytes) -> Response:
        overrides = {**ADDRESS, "CONTENT_LENGTH": str(len(data))}
        response = client.open(
            path,
            method=method,
            headers=fields,
            data=data,
            environ_overrides=overrides,
            buffered=True,
        )
        found = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status_code, found, response.data)

    return send
