"""Uploads behind a middleware that passes its own `start_response`, as many middlewares do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from tus_wsgi.app import create_app

uploads = create_app()


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Add a header field to each response."""

    def add_field(status: str, fields: list[tuple[str, str]], *args: Any) -> Any:
        return start_response(status, [*fields, ("X-Wrapped", "yes")], *args)

    return uploads(environ, add_field)
