"""Uploads behind a middleware that has its own `start_response`, as many have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from tus_wsgi.app import create_app

uploads = create_app()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Mark each response."""

    def marking(status: str, fields: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*fields, ("X-Wrapped", "yes")], *more)

    return uploads(environ, marking)
