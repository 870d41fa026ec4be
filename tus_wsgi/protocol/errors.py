"""How tus 1.0.0 says what went wrong: one table of statuses, and the fields that help to go on.

Clients decide by the status whether to try again (tus-js-client and Uppy: after 409, 423 and 5xx)
or to give up (every other 4xx). So what can pass is 423 or 5xx, and what cannot is another 4xx.

HEAD is special: tus-js-client answers every status but 2xx and 423 with a new upload from the
first byte. So whatever looks like a fault on our side is 423 there.
"""

from __future__ import annotations

from collections.abc import Mapping

from tus_wsgi.domain.errors import (
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    ChecksumMismatch,
    InvalidPartial,
    LengthMismatch,
    MalformedField,
    MethodNotAllowed,
    OffsetMismatch,
    OnFinishFailed,
    RequestError,
    StoreUnavailable,
    TusError,
    Unavailable,
    UnsupportedMediaType,
    UnsupportedVersion,
    UploadFinal,
    UploadGone,
    UploadIncomplete,
    UploadLocked,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.protocol.fields import build_integer, shown
from tus_wsgi.protocol.http import Reply, RequestHead

VERSION = "1.0.0"

# Looked up along the class's ancestors, so that a new kind of error has its parent's status.
_STATUS: Mapping[type, int] = {
    TusError: 503,
    RequestError: 400,
    MalformedField: 400,
    UnsupportedVersion: 412,
    UnsupportedMediaType: 415,
    MethodNotAllowed: 405,
    UploadNotFound: 404,
    UploadGone: 410,
    UploadIncomplete: 409,  # "a conflict with the current state": it is there, and will be ready
    OffsetMismatch: 409,
    LengthMismatch: 400,
    UploadTooLarge: 413,
    ChecksumMismatch: 460,
    UploadFinal: 403,
    InvalidPartial: 400,
    UploadLocked: 423,
    BodyIncomplete: 503,  # not 408, after which clients give up
    BodyInterrupted: 423,
    BodyMalformed: 400,
    Unavailable: 503,
}

_STORE_FULL = 507

# Clients may read the sentence of these. The others know things that are only ours.
_PUBLIC = (RequestError, UploadLocked, BodyIncomplete)

_TRY_AGAIN = "the server cannot do this now; nothing that it acknowledged is lost, so try again"

RETRY_AFTER = 1
"""Seconds. Common clients come back after one to five of them and give up after about nine."""


def reply_to_error(head: RequestHead, error: TusError) -> Reply:
    """A status, what helps to go on, and (but for HEAD) one sentence."""
    status = _status_of(head, error)
    fields = [*_facts_of(head, error), ("Cache-Control", "no-store")]
    if status == 423 or status >= 500:
        seconds = error.retry_after if isinstance(error, UploadLocked) else RETRY_AFTER
        fields.append(("Retry-After", build_integer(seconds)))
    if head.method == "HEAD":
        return Reply(status, fields)
    fields.append(("Content-Type", "text/plain; charset=utf-8"))
    return Reply(status, fields, f"{_sentence_of(error)}\n".encode(errors="backslashreplace"))


def _status_of(head: RequestHead, error: TusError) -> int:
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if isinstance(error, StoreUnavailable) and error.full:
        status = _STORE_FULL
    return 423 if status >= 500 and head.method == "HEAD" else status


def _facts_of(head: RequestHead, error: TusError) -> list[tuple[str, str]]:
    """The fields that let a client go on."""
    match error:
        case UnsupportedVersion():
            return [("Tus-Version", VERSION)]
        case MethodNotAllowed():
            return [("Allow", ", ".join(error.allowed))]
        case OffsetMismatch():
            return [("Upload-Offset", build_integer(error.expected))]
        case BodyIncomplete():
            return [("Upload-Offset", build_integer(error.offset))]
        case OnFinishFailed() if head.target is None:
            # The upload was begun by this very request, and stays: the application may know of it.
            offset = ("Upload-Offset", build_integer(error.length))
            return [("Location", head.url_of(error.id)), offset]
        case _:
            return []


def _sentence_of(error: TusError) -> str:
    """What to tell the client's developer."""
    if isinstance(error, UnsupportedVersion):
        return f"Tus-Resumable: expected {VERSION}, got {shown(error.provided or '')}"
    return str(error) if isinstance(error, _PUBLIC) else _TRY_AGAIN
