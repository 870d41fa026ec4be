"""Pages for operators beside the uploads: metrics and health.

They are outside of `TUS_BASE_PATH`, and the application never receives their requests.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tus_wsgi.protocol.http import Reply, status_line
from tus_wsgi.wsgi.connection import close_after_response

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

_METHODS = ("GET", "HEAD")

_TEXT = "text/plain; charset=utf-8"

Page = Callable[[Mapping[str, object]], Reply]
"""Answers a GET, given the environ of the request."""


def text_page(status: int, text: str, *fields: tuple[str, str]) -> Reply:
    """Return a reply with one line of text."""
    return Reply(status, [("Content-Type", _TEXT), *fields], f"{text}\n".encode())


def serve_page(
    page: Page, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer a request for a page. A page is never cached."""
    method = environ["REQUEST_METHOD"]
    if method in _METHODS:
        reply = page(environ)
    else:
        reply = text_page(405, "This page can only be read.", ("Allow", ", ".join(_METHODS)))
    fields = [
        *reply.fields,
        ("Cache-Control", "no-store"),
        ("Content-Length", str(len(reply.body))),
    ]
    start_response(status_line(reply.status), fields)
    body = b"" if method == "HEAD" else reply.body
    return close_after_response([body], environ, start_response)


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """The metrics of the server, for Prometheus.

    Attributes:
        render: returns the metrics.
        content_type: their media type.
        token: the token that requests must contain; empty for none.
        is_shared: whether `render` returns the metrics of all processes of the server.
    """

    render: Callable[[], bytes]
    content_type: str
    token: str
    is_shared: bool

    def __call__(self, environ: Mapping[str, object]) -> Reply:
        """Return the metrics; 401 without the token."""
        if self.token and not self._has_token(str(environ.get("HTTP_AUTHORIZATION", ""))):
            challenge = ("WWW-Authenticate", 'Bearer realm="metrics"')
            return text_page(401, "This page needs the token of TUS_METRICS_TOKEN.", challenge)
        if environ.get("wsgi.multiprocess") and not self.is_shared:
            sentence = "These would be the metrics of one of several processes:"
            return text_page(503, f"{sentence} set PROMETHEUS_MULTIPROC_DIR before the start.")
        return Reply(200, [("Content-Type", self.content_type)], self.render())

    def _has_token(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        # Compare in constant time, so that the time does not tell how much of a token is right.
        is_right = hmac.compare_digest(token.strip().encode(errors="replace"), self.token.encode())
        return scheme.lower() == "bearer" and is_right
