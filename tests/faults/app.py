"""The application whose workers are killed: the usual one, with a hook that leaves a trace."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tus_wsgi import FinishedUpload, TusMiddleware

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request. gunicorn preloads this module, so that a new worker is there at once."""
    return _application()(environ, start_response)


@functools.cache
def _application() -> TusMiddleware:
    return TusMiddleware.from_env(_nothing, on_finish=_note)


def _note(upload: FinishedUpload) -> None:
    with Path(os.environ["FINISHED"]).open("a", encoding="ascii") as file:
        file.write(f"{upload.id}\n")


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
