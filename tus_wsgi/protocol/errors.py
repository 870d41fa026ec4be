"""Statuses and fields of replies to errors, in the form that all dialects share.

Clients decide by the status whether to retry (tus-js-client and Uppy: after 409, 423 and 5xx) or to
give up (every other 4xx). So transient errors are 423 or 5xx, and permanent errors another 4xx.

HEAD is special: after any status except 2xx and 423, tus-js-client starts a new upload from the
first byte. So a fault of the server is 423 in the reply to a HEAD.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tus_wsgi.domain.errors import (
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    ChecksumMismatch,
    CreationDisabled,
    Denied,
    InvalidPartial,
    LengthMismatch,
    LengthRequired,
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
from tus_wsgi.protocol.fields import build_integer
from tus_wsgi.protocol.http import Reply, RequestHead

# Looked up along the ancestors of the class, so that a new kind of error has its parent's status.
_STATUS: Mapping[type, int] = {
    TusError: 503,
    RequestError: 400,
    MalformedField: 400,
    LengthRequired: 411,
    UnsupportedVersion: 412,
    UnsupportedMediaType: 415,
    MethodNotAllowed: 405,
    CreationDisabled: 403,
    UploadNotFound: 404,
    UploadGone: 410,
    UploadIncomplete: 409,  # "a conflict with the current state": the upload exists
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

# The messages of these errors may be sent to clients. Other messages can contain internal details.
_PUBLIC = (RequestError, UploadLocked, BodyIncomplete)

_TRY_AGAIN = "the server cannot do this now; nothing that it acknowledged is lost, so try again"

RETRY_AFTER = 1
"""Seconds. Common clients retry after one to five seconds and give up after about nine."""


def render_error(head: RequestHead, error: TusError) -> Reply:
    """Render the status, the fields that let a client resume, and (except for HEAD) a sentence."""
    reply = _render(head, error)
    return _with_fields_of(error, reply) if isinstance(error, Denied) else reply


def _render(head: RequestHead, error: TusError) -> Reply:
    status = _status_of(head, error)
    fields = [*_resume_fields(head, error), ("Cache-Control", "no-store")]
    if status == 423 or status >= 500:
        seconds = error.retry_after if isinstance(error, UploadLocked) else RETRY_AFTER
        fields.append(("Retry-After", build_integer(seconds)))
    if head.method == "HEAD":
        return Reply(status, fields)
    fields.append(("Content-Type", "text/plain; charset=utf-8"))
    sentence = str(error) if isinstance(error, _PUBLIC) else _TRY_AGAIN
    return Reply(status, fields, text_body(sentence))


def _with_fields_of(denied: Denied, reply: Reply) -> Reply:
    """Add the fields that the application has chosen. They replace fields of the same name."""
    chosen = {name.lower() for name in denied.fields}
    kept = [field for field in reply.fields if field[0].lower() not in chosen]
    body = reply.body
    if body and "content-type" in chosen:
        # A body with a type is for programs too, so it is exactly the text of the application.
        body = str(denied).encode(errors="backslashreplace")
    fields = [*kept, *denied.fields.items()]
    return replace(reply, fields=fields, exposed=tuple(denied.fields), body=body)


def text_body(text: str) -> bytes:
    """Return a body that tells the developer of the client what went wrong."""
    return f"{text}\n".encode(errors="backslashreplace")


def _status_of(head: RequestHead, error: TusError) -> int:
    if isinstance(error, Denied):
        return error.status
    status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
    if isinstance(error, StoreUnavailable) and error.full:
        status = _STORE_FULL
    return 423 if status >= 500 and head.method == "HEAD" else status


def _resume_fields(head: RequestHead, error: TusError) -> list[tuple[str, str]]:
    match error:
        case MethodNotAllowed():
            return [("Allow", ", ".join(error.allowed))]
        case OffsetMismatch():
            return [("Upload-Offset", build_integer(error.expected))]
        case BodyIncomplete():
            return [("Upload-Offset", build_integer(error.offset))]
        case OnFinishFailed() if head.target is None:
            # This request created the upload, which stays, because the application may know of it.
            offset = ("Upload-Offset", build_integer(error.length))
            return [("Location", head.url_of(error.id)), offset]
        case _:
            return []
