"""Deliver the documents of hooks to a route of the wrapped application, in the same thread.

The application is called as if the client had sent the document: with the client's cookies and
header fields, so that sessions and logins work as in every view.
"""

from __future__ import annotations

import contextvars
import re
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tus_wsgi.hooks.carrier import (
    MAX_RESPONSE_SIZE,
    HookCall,
    HookCallFailed,
    OnEvent,
    ignore_event,
    is_json,
    try_to_deliver,
)
from tus_wsgi.hooks.tusd_json import HookResponse, parse_response

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication, WSGIEnvironment

MARK = "tus.hook"
"""The key of an environ that says that the request is a call of a hook. Its value is True."""

MAX_DEPTH = 3
"""The maximum number of nested calls of hooks. A view that is called for a hook may remove an
upload, and the removal calls a hook again."""

_KEPT = ("HTTP_", "SERVER_", "REMOTE_")
_KEPT_NAMES = ("SCRIPT_NAME", "wsgi.version", "wsgi.url_scheme", "wsgi.errors")
_FLAGS = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once")

# Fields that describe the body, the connection or the form of the client's response. With them,
# the application would read another body, or compress or omit its response.
_REMOVED = frozenset(
    (
        "HTTP_ACCEPT_ENCODING",
        "HTTP_CONNECTION",
        "HTTP_CONTENT_DIGEST",
        "HTTP_CONTENT_ENCODING",
        "HTTP_CONTENT_LENGTH",
        "HTTP_CONTENT_TYPE",
        "HTTP_EXPECT",
        "HTTP_IF_MATCH",
        "HTTP_IF_MODIFIED_SINCE",
        "HTTP_IF_NONE_MATCH",
        "HTTP_IF_RANGE",
        "HTTP_IF_UNMODIFIED_SINCE",
        "HTTP_RANGE",
        "HTTP_REPR_DIGEST",
        "HTTP_TRAILER",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_UPGRADE",
        "HTTP_X_HTTP_METHOD_OVERRIDE",
    )
)

_depth: contextvars.ContextVar[int] = contextvars.ContextVar("tus_hook_depth", default=0)


class WsgiCarrier:
    """Delivers documents to a route of an application.

    Args:
        app: the wrapped application.
        path: the path of the route.
        public_url: a URL of the server, whose host calls without a request name; None if unknown.
        on_event: receives the outcome of each delivery that no request depends on.
    """

    def __init__(
        self,
        app: WSGIApplication,
        path: str,
        *,
        public_url: str | None = None,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self._app = app
        self._public_url = public_url
        self._on_event = on_event
        self._path = path

    def ask(self, call: HookCall) -> HookResponse:
        """See `Carrier`."""
        type, content = self._call(call)
        if not is_json(type):
            raise HookCallFailed(f"the response to {call.event} is not application/json")
        return parse_response(content)

    def tell(self, call: HookCall) -> None:
        """See `Carrier`."""
        self._call(call)

    def post(
        self, call: HookCall, on_response: Callable[[HookResponse], None] | None = None
    ) -> None:
        """See `Carrier`. The document is delivered before this returns."""

        def deliver() -> None:
            content_type, content = self._call(call)
            if on_response is not None and is_json(content_type):
                on_response(parse_response(content))

        try_to_deliver(call, deliver, self._on_event)

    def _call(self, call: HookCall) -> tuple[str, bytes]:
        """Call the application, and return the type and the content of a successful response."""
        depth = _depth.get()
        if depth >= MAX_DEPTH:
            raise HookCallFailed(f"the hook {call.event} calls itself")
        token = _depth.set(depth + 1)
        try:
            environ = make_environ(call, self._path, self._public_url)
            status, type, content = _run(self._app, environ)
        finally:
            _depth.reset(token)
        if not 200 <= status <= 299:
            raise HookCallFailed(f"the response to {call.event} has the status {status}")
        return type, content


def make_environ(call: HookCall, path: str, public_url: str | None = None) -> WSGIEnvironment:
    """Return the environ of a call: new, but with the cookies and fields of the client.

    Args:
        call: the document, which is the body.
        path: the path of the route, below `SCRIPT_NAME`.
        public_url: see `WsgiCarrier`.
    """
    client: WSGIEnvironment = dict(call.request.environ) if call.request else _server(public_url)
    environ: WSGIEnvironment = {key: value for key, value in client.items() if _is_kept(key)}
    environ.setdefault("SCRIPT_NAME", "")
    environ.setdefault("wsgi.errors", sys.stderr)
    return {
        **environ,
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(call.document)),
        "HTTP_ACCEPT": "application/json",
        "HTTP_WEBHOOK_ID": call.id,
        "wsgi.input": BytesIO(call.document),
        "wsgi.input_terminated": True,
        MARK: True,
    }


def _is_kept(key: str) -> bool:
    """Return whether a call has this key of the environ of the client's request."""
    if key.startswith(_KEPT):
        return key not in _REMOVED
    return key in _KEPT_NAMES or key in _FLAGS


_SERVER: WSGIEnvironment = {
    "SERVER_NAME": "localhost",
    "SERVER_PORT": "80",
    "SERVER_PROTOCOL": "HTTP/1.1",
    "HTTP_HOST": "localhost",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
}
"""The environ of a call that no request causes: the application itself removes an upload."""


def _server(public_url: str | None) -> WSGIEnvironment:
    """Return the environ of such a call, with the host that clients name, if it is known."""
    if public_url is None:
        return _SERVER
    url = urlsplit(public_url)
    return {
        **_SERVER,
        "SERVER_NAME": url.hostname,
        "SERVER_PORT": str(url.port or _DEFAULT_PORTS[url.scheme]),
        "HTTP_HOST": url.netloc,
        "wsgi.url_scheme": url.scheme,
    }


_DEFAULT_PORTS = {"http": 80, "https": 443}


def _run(app: WSGIApplication, environ: WSGIEnvironment) -> tuple[int, str, bytes]:
    """Call an application, and return the status, the type and the content of its response.

    Raises:
        HookCallFailed: the response is longer than `MAX_RESPONSE_SIZE`, or it is invalid.
    """
    started: list[tuple[str, list[tuple[str, str]]]] = []
    content = bytearray()

    def write(chunk: bytes) -> None:
        content.extend(chunk)
        if len(content) > MAX_RESPONSE_SIZE:
            raise HookCallFailed(f"the response has more than {MAX_RESPONSE_SIZE} bytes")

    def start_response(
        status: str, fields: list[tuple[str, str]], *_exc_info: object
    ) -> Callable[[bytes], None]:
        started[:] = [(status, fields)]
        return write

    chunks: Iterable[bytes] = app(environ, start_response)
    try:
        for chunk in chunks:
            write(chunk)
    finally:
        # Frameworks close database connections then.
        close = getattr(chunks, "close", None)
        if close is not None:
            close()
    if not started or not started[0][0][:3].isdigit():
        raise HookCallFailed("the application has sent no status")
    status, fields = started[0]
    types = (value for name, value in fields if name.lower() == "content-type")
    return int(status[:3]), next(types, ""), bytes(content)


def is_hook_path(path: str, hook_path: str) -> bool:
    """Return whether a path of a client's request may reach the route of hooks, or one below it.

    Frameworks may merge slashes, resolve dots, or ignore the case, a line break at the end, and
    bytes that are not UTF-8.
    """
    wanted, given = _segments(hook_path), _segments(path)
    return given[: len(wanted)] == wanted


_IGNORED = re.compile(r"[\s\x00-\x1f\x7f-\x9f]")
"""White space and control characters."""


def _segments(path: str) -> list[str]:
    text = path.encode("latin-1", "ignore").decode("utf-8", "ignore").casefold()
    segments: list[str] = []
    for segment in _IGNORED.sub("", text).replace("\\", "/").split("/"):
        if segment == "..":
            del segments[-1:]  # no error if there is no segment
        elif segment not in ("", "."):
            segments.append(segment.partition(";")[0])
    return segments
