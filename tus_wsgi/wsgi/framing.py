"""How long the body of a WSGI request is (RFC 9112, section 6.3)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any


def has_body(environ: Mapping[str, Any]) -> bool:
    """Return whether a request has a body that is not known to be empty (D-14)."""
    length = environ.get("CONTENT_LENGTH") or "0"
    return length != "0" or bool(environ.get("HTTP_TRANSFER_ENCODING"))


def content_length(environ: Mapping[str, Any]) -> int | None:
    """Return the length of a request's body in bytes; None if the body is chunked.

    A request with neither field has no body.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdecimal()):
        return 0
    # A length that is too long to represent must be refused as too long, not treated as 0.
    # int() alone is no solution: it raises at 4,301 digits.
    return int(text) if len(text) < 20 else sys.maxsize
