"""What gunicorn serves in this ring: the usual application, with traces of what happened in it.

Interim responses are not throttled, since each one is a promise to be held to.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tus_wsgi import FinishedUpload, TusMiddleware
from tus_wsgi.wsgi import interim
from tus_wsgi.wsgi.input import source_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


interim.EVERY_SECONDS = 0.0
interim.EVERY_BYTES = 0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request. gunicorn preloads this module, so that a new worker is there at once."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length:
        _note("BODIES", type(source_of(environ, length)).__name__)
    return _application()(environ, start_response)


@functools.cache
def _application() -> TusMiddleware:
    on_finish = _finish if os.environ["HOOK"] else None
    return TusMiddleware.from_env(_nothing, on_finish=on_finish)


def _finish(upload: FinishedUpload) -> None:
    _note("FINISHED", upload.id)


def _note(variable: str, line: str) -> None:
    with Path(os.environ[variable]).open("a", encoding="ascii") as file:
        file.write(f"{line}\n")


def _nothing(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    start_response("404 Not Found", [])
    return []
