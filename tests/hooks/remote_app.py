"""The middleware with hooks outside of the process, over each carrier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.exceptions import NotFound
from werkzeug.test import Client

from tests.hooks.handler import Handler, serving
from tests.hooks.scenario import Response
from tus_wsgi import Settings, TusMiddleware
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.interfaces import Store
from tus_wsgi.hooks.tusd_json import HookEvent
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.stores.memory import MemoryStore

EVENTS = ",".join(event for event in HookEvent if event is not HookEvent.AUTHORIZE)
"""All events of tusd."""

PATH = "/internal/tus"

Send = Callable[[str, str, dict[str, str], bytes], Response]


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
        observers=[] if events is None else [events.append],
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


def send_in_process(app: Any) -> Send:
    """Return the function that sends requests to an application, with no field but the given."""
    client = Client(app)

    def send(method: str, path: str, fields: dict[str, str], data: bytes) -> Response:
        overrides = {
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "5000",
            "CONTENT_LENGTH": str(len(data)),
        }
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
