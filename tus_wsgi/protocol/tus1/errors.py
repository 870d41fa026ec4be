"""Replies of tus 1.0.0 to errors: the shared form, and a field for unsupported versions."""

from __future__ import annotations

from dataclasses import replace

from tus_wsgi.domain.errors import TusError, UnsupportedVersion
from tus_wsgi.protocol import errors as shared
from tus_wsgi.protocol.fields import quote_value
from tus_wsgi.protocol.http import Reply, RequestHead

VERSION = "1.0.0"


def render_error(head: RequestHead, error: TusError) -> Reply:
    """Render the status, the fields that let a client resume, and (except for HEAD) a sentence."""
    reply = shared.render_error(head, error)
    if not isinstance(error, UnsupportedVersion):
        return reply
    fields = [("Tus-Version", VERSION), *reply.fields]
    sentence = f"Tus-Resumable: expected {VERSION}, got {quote_value(error.provided or '')}"
    body = shared.text_body(sentence) if reply.body else b""
    return replace(reply, fields=fields, body=body)
