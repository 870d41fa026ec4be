"""The app that the middleware wraps in the fault tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def not_found(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer 404 to every request."""
    start_response("404 Not Found", [])
    return []
