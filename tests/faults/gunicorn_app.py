"""The app that gunicorn serves in the fault tests: the middleware, with notes for the tests.

Interim responses are not throttled, since each one is an acknowledgement to verify.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.wrapped_app import not_found
from tus_wsgi import FinishedUpload, TusMiddleware
from tus_wsgi.wsgi import interim
from tus_wsgi.wsgi.input import source_of

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


interim.EVERY_SECONDS = 0.0
interim.EVERY_BYTES = 0


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Serve a request, and note how its body is read.

    gunicorn preloads this module, so that a new worker starts at once.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length:
        _note("BODIES", type(source_of(environ, length)).__name__)
    return _middleware()(environ, start_response)


@functools.cache
def _middleware() -> TusMiddleware:
    on_finish = _on_finish if os.environ["HOOK"] else None
    return TusMiddleware.from_env(not_found, on_finish=on_finish)


def _on_finish(upload: FinishedUpload) -> None:
    _note("FINISHED", upload.id)


def _note(variable: str, line: str) -> None:
    """Append a line to the file that an environment variable names."""
    with Path(os.environ[variable]).open("a", encoding="ascii") as file:
        file.write(f"{line}\n")
