"""Uploads with hooks that do what the request asks for: raise, die or reject.

`on_terminate` gets no request: `X-Terminate` of the creation says what its first call does.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment

from tus_wsgi import (
    Answer,
    FinishedUpload,
    GoneUpload,
    NewUpload,
    Rejected,
    TusMiddleware,
    UploadPlan,
)

DIRECTORY = Path(os.environ["TUS_LOCK_DIR"]).parent
"""The hooks write a file here for each id that they have accepted."""


def on_create(upload: NewUpload) -> UploadPlan:
    """Do what `X-Create` says, and keep the value of `X-Terminate` for `on_terminate`."""
    _do(upload.request.fields.get("x-create"))
    private = {"terminate": upload.request.fields.get("x-terminate", "")}
    return UploadPlan(key=f"{upload.owner or 'anonymous'}-{upload.id}", private=private)


def on_finish(upload: FinishedUpload) -> Answer:
    """Do what `X-Finish` says, and answer with the CRC-32 of the file."""
    _do(None if upload.request is None else upload.request.fields.get("x-finish"))
    assert upload.checksum is not None
    return Answer(fields={"X-Crc32": upload.checksum.digest.hex()}, body=b'{"done": true}')


def on_terminate(gone: GoneUpload) -> None:
    """Note the termination. The first call does what the plan of the upload says."""
    note = DIRECTORY / f"terminated-{gone.id}"
    is_first = not note.exists()
    note.write_text(gone.reason, encoding="ascii")
    if is_first:
        _do(gone.private["terminate"])


def _do(action: str | None) -> None:
    """Raise, die or reject. Any other action does nothing."""
    match action:
        case "raise":
            raise ValueError("the hook of a test raised")
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "reject":
            raise Rejected(422, "a virus")
        case _:
            pass


def not_found(_environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer 404 to every request."""
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


application = TusMiddleware.from_env(
    not_found, on_create=on_create, on_finish=on_finish, on_terminate=on_terminate
)
