"""Replies of the IETF draft to errors: the shared form, and problem documents (RFC 9457)."""

from __future__ import annotations

import json
from dataclasses import replace

from tus_wsgi.domain.errors import (
    LengthExceeded,
    LengthMismatch,
    OffsetMismatch,
    TusError,
    UploadComplete,
    UploadGone,
    UploadTooLarge,
)
from tus_wsgi.protocol import errors as shared
from tus_wsgi.protocol.http import Reply, RequestHead
from tus_wsgi.protocol.rufh.drafts import Draft
from tus_wsgi.protocol.structured import build_dictionary

PROBLEM_TYPES = "https://iana.org/assignments/http-problem-types#"
"""The registry in which the draft registers its problem types."""


def render_error(draft: Draft, head: RequestHead, error: TusError, max_size: int) -> Reply:
    """Render the status, the fields that let a client resume, and a problem document.

    If the draft has no problem document for the error, the body is a sentence.

    Args:
        draft: the interop version.
        head: the request.
        error: what went wrong.
        max_size: bytes of the largest upload: the limit in the reply to a creation whose body
            exceeds the length that the request declares.
    """
    reply = shared.render_error(head, error)
    if isinstance(error, UploadGone) and not draft.has_gone_status:
        reply = replace(reply, status=404)
    if isinstance(error, UploadTooLarge):
        # A body beyond the upload's length contradicts that length. A body beyond the limit of the
        # server, or of the upload's plan, is too large.
        contradicts = isinstance(error, LengthExceeded) and head.target is not None
        reply = replace(reply, status=400 if contradicts else 413)
        if draft.has_limits and not contradicts:
            size = max_size if isinstance(error, LengthExceeded) else error.limit
            limit = ("Upload-Limit", build_dictionary([("max-size", size)]))
            reply = replace(reply, fields=[*reply.fields, limit])
    problem = _problem_of(draft, head, error) if draft.has_problems else None
    if problem is None or head.method == "HEAD":
        return reply
    fields = [field for field in reply.fields if field[0] != "Content-Type"]
    fields.append(("Content-Type", "application/problem+json"))
    return replace(reply, fields=fields, body=json.dumps(problem).encode())


def _problem_of(draft: Draft, head: RequestHead, error: TusError) -> dict[str, object] | None:
    match error:
        case OffsetMismatch(expected=expected, provided=provided):
            return {
                "type": f"{PROBLEM_TYPES}mismatching-upload-offset",
                "title": "The offset is not where the upload ends",
                "expected-offset": expected,
                "provided-offset": provided,
            }
        case UploadComplete() if draft.has_completed_problem:
            return {"type": f"{PROBLEM_TYPES}completed-upload", "title": "The upload is complete"}
        case LengthMismatch() | LengthExceeded() if head.target is not None:
            return {
                "type": f"{PROBLEM_TYPES}inconsistent-upload-length",
                "title": "The length contradicts what is known",
            }
        case LengthMismatch():
            return {
                "type": f"{PROBLEM_TYPES}inconsistent-upload-length",
                "title": "The lengths contradict each other",
            }
        case _:
            return None
