"""Where the body of a WSGI request ends (RFC 9112, section 6.3).

What servers tell an application about the body of a POST or PATCH; `docs/servers.md` has the
table of servers:

| request                     | server                                | end of the body            |
|-----------------------------|---------------------------------------|----------------------------|
| Content-Length              | any                                   | that many bytes            |
| Transfer-Encoding, HTTP/1.1 | sets `wsgi.input_terminated`          | the end of `wsgi.input`    |
| Transfer-Encoding           | does not set it, or HTTP/1.0          | unknown                    |
| neither, HTTP/1             | any                                   | no body                    |
| neither, HTTP/2             | sets `wsgi.input_terminated`          | the end of `wsgi.input`    |
| neither, HTTP/2             | does not set it                       | unknown                    |

A body whose end is unknown is refused, not treated as empty (D-14).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from tus_wsgi.domain.errors import LengthRequired, MalformedField
from tus_wsgi.protocol.fields import quote_value

_BODILESS = frozenset(("GET", "HEAD", "OPTIONS", "DELETE"))
"""Methods whose requests have no body unless the header says so, in every version of HTTP."""

_HIDES_LOSS = ("granian", "werkzeug/")
"""Servers whose `wsgi.input` ends without an error if the client disconnects within a body. Such a
body looks complete. Werkzeug's development server even returns bytes that the client never sent."""


def has_body(environ: Mapping[str, Any]) -> bool:
    """Return whether a request has a body that is not known to be empty (D-14)."""
    length = environ.get("CONTENT_LENGTH") or "0"
    return length != "0" or _is_coded(environ) or _may_be_unsized(environ)


def content_length(environ: Mapping[str, Any]) -> int | None:
    """Return the length of a request's body in bytes; None if only the end of the body shows it."""
    if _is_coded(environ) or _may_be_unsized(environ):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    if not _is_number(text):
        return 0
    # A length that is too long to represent must be refused as too long, not treated as 0.
    # int() alone is no solution: it raises at 4,301 digits.
    return int(text) if len(text) < 20 else sys.maxsize


def is_unsized(environ: Mapping[str, Any]) -> bool:
    """Return whether an HTTP/2 request has a body, possibly empty, without a declared length."""
    return _may_be_unsized(environ) and _ends_with_input(environ)


def is_end_known(environ: Mapping[str, Any]) -> bool:
    """Return whether the header or the server tells where the body of a request ends."""
    if _is_coded(environ):
        # HTTP/1.0 has no transfer codings. waitress does not read the body of such a request.
        return _ends_with_input(environ) and _version(environ) not in ("1", "1.0")
    if _may_be_unsized(environ):
        return _ends_with_input(environ)
    return _is_number(environ.get("CONTENT_LENGTH") or "0")


def is_http1(environ: Mapping[str, Any]) -> bool:
    """Return whether a request uses HTTP/1.0 or HTTP/1.1."""
    return _version(environ).startswith("1")


def check_end_is_known(environ: Mapping[str, Any]) -> None:
    """Refuse a body whose end is unknown.

    Raises:
        LengthRequired: the body has no Content-Length, and the server does not tell its end.
        MalformedField: the Content-Length is not a number.
    """
    if is_end_known(environ):
        return
    if _is_coded(environ) or _may_be_unsized(environ):
        raise LengthRequired
    reason = f"expected a whole number, got {quote_value(environ['CONTENT_LENGTH'])}"
    raise MalformedField("Content-Length", reason)


def _is_coded(environ: Mapping[str, Any]) -> bool:
    return bool(environ.get("HTTP_TRANSFER_ENCODING"))


def _may_be_unsized(environ: Mapping[str, Any]) -> bool:
    """Return whether a request may have a body although its header does not say so."""
    if _is_coded(environ) or environ.get("CONTENT_LENGTH"):
        return False
    if is_http1(environ):
        return False
    is_overridden = bool(environ.get("HTTP_X_HTTP_METHOD_OVERRIDE"))
    return environ.get("REQUEST_METHOD") not in _BODILESS or is_overridden


def _ends_with_input(environ: Mapping[str, Any]) -> bool:
    """Return whether `wsgi.input` ends where the body ends, and raises after a disconnect."""
    software = str(environ.get("SERVER_SOFTWARE", "")).lower()
    return bool(environ.get("wsgi.input_terminated")) and not software.startswith(_HIDES_LOSS)


def _version(environ: Mapping[str, Any]) -> str:
    """Return the version of HTTP; granian calls version 1.0 just 1."""
    protocol: str = environ.get("SERVER_PROTOCOL", "HTTP/1.1")
    return protocol.removeprefix("HTTP/")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()
