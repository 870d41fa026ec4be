"""How resumable uploads for HTTP say what went wrong: a status, and a problem document (RFC 9457).

The statuses are those of tus (`tus1_errors`), for the same reasons, but for what the draft says
otherwise.
"""

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
from tus_wsgi.protocol import errors as shared_errors
from tus_wsgi.protocol.http import Reply, RequestHead
from tus_wsgi.protocol.rufh.drafts import Draft
from tus_wsgi.protocol.structured import build_dictionary

PROBLEMS = "https://iana.org/assignments/http-problem-types#"
"""Where the draft registers its problem types."""


def reply_to_error(draft: Draft, head: RequestHead, error: TusError, max_size: int) -> Reply:
    """A status, the fields that help to go on, and a sentence or a problem document."""
    reply = shared_errors.reply_to_error(head, error)
    if isinstance(error, UploadGone) and not draft.says_gone:
        reply = replace(reply, status=404)
    if isinstance(error, UploadTooLarge):
        # An append past the length contradicts it; what is past the server's limit is too large.
        contradicts = isinstance(error, LengthExceeded) and head.target is not None
        status = 400 if contradicts else 413
        limit = [("Upload-Limit", build_dictionary([("max-size", max_size)]))]
        fields = [*reply.fields, *(limit if draft.has_limits else [])]
        reply = replace(reply, status=status, fields=fields)
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
                "type": f"{PROBLEMS}mismatching-upload-offset",
                "title": "The offset is not where the upload ends",
                "expected-offset": expected,
                "provided-offset": provided,
            }
        case UploadComplete() if draft.knows_completed:
            return {"type": f"{PROBLEMS}completed-upload", "title": "The upload is complete"}
        case LengthMismatch() | LengthExceeded() if head.target is not None:
            return {
                "type": f"{PROBLEMS}inconsistent-upload-length",
                "title": "The length contradicts what is known",
            }
        case LengthMismatch():
            return {
                "type": f"{PROBLEMS}inconsistent-upload-length",
                "title": "The lengths contradict each other",
            }
        case _:
            return None
