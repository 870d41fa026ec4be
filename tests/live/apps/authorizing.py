"""Uploads whose `authorize` hook does what the request asks for: hang, raise, die or refuse.

The route `/make` creates uploads for the user.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from tus_wsgi import Access, Denied, TusMiddleware

CONTINUE = Path(os.environ["TUS_LOCK_DIR"]).parent / "continue"
"""A hook that hangs waits until this file exists, for 30 seconds at most."""


def authorize(access: Access) -> str | None:
    """Do what `X-Hook` says; return the user that `X-User` names, or None."""
    match access.request.fields.get("x-hook"):
        case "hang":  # until the test creates the file, or for 30 seconds
            deadline = time.monotonic() + 30
            while not CONTINUE.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        case "raise":
            raise ValueError("the hook of a test raised")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "refuse":
            raise Denied(401, "log in", fields={"WWW-Authenticate": "Bearer"})
        case _:
            pass
    return access.request.fields.get("x-user")


def make(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Create an upload of the length that the client asks for, and return its URL."""
    created = application.create_upload(
        length=int(environ["HTTP_UPLOAD_LENGTH"]), owner=environ["HTTP_X_USER"], environ=environ
    )
    start_response("201 Created", [("Location", created.url), ("Content-Length", "0")])
    return []


application = TusMiddleware.from_env(make, authorize=authorize)
