"""Parse and build the `Upload-Concat` field: `partial`, or `final;` and URLs of partial uploads.

A URL may be absolute, begin with a slash, or consist of an id only. The resolved URL is compared
with the base path as the client of the request sees it. The scheme is not compared, because a
client behind a proxy may use another scheme for the same host. A query is ignored, as in requests.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from tus_wsgi.domain.errors import MalformedField, UploadNotFound
from tus_wsgi.domain.model import Final, Partial, UploadId, parse_upload_id
from tus_wsgi.protocol.fields import quote_value
from tus_wsgi.protocol.http import UrlOf

FIELD = "Upload-Concat"

MAX_PARTIALS = 2_000
"""Twice as many as fit into the longest field that the README mentions. Each URL takes up to
25 µs to resolve, and needs S3 calls."""

_PARTIAL = "partial"
_FINAL = "final;"

# The value is stored and sent back, so only characters of URLs are accepted: printable ASCII.
_REFERENCES = re.compile(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*")

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_concat(text: str, base_url: str) -> Partial | Final:
    """Parse the value of an `Upload-Concat` field.

    Args:
        text: the value.
        base_url: the absolute URL of the base path.

    Raises:
        MalformedField: the value has neither form, names too many uploads, or contains a URL that
            is not the URL of an upload on this server.
    """
    if text == _PARTIAL:
        return Partial()
    listed = text.removeprefix(_FINAL).strip(" ")
    if not text.startswith(_FINAL) or _REFERENCES.fullmatch(listed) is None:
        reason = f"expected 'partial', or 'final;' and URLs, got {quote_value(text)}"
        raise MalformedField(FIELD, reason)
    references = listed.split()
    if len(references) > MAX_PARTIALS:
        reason = f"expected at most {MAX_PARTIALS} partial uploads, got {len(references)}"
        raise MalformedField(FIELD, reason)
    base = urlsplit(base_url)
    return Final(tuple(_parse_reference(reference, base) for reference in references), text)


def build_concat(concat: Partial | Final, url_of: UrlOf) -> str:
    """Return the value as the client sent it, or with absolute URLs if it was not stored."""
    if isinstance(concat, Partial):
        return _PARTIAL
    if concat.raw:
        return concat.raw
    return _FINAL + " ".join(url_of(id) for id in concat.partials)


def _parse_reference(reference: str, base: SplitResult) -> UploadId:
    try:
        return parse_upload_id(_path_below(reference, base))
    except (ValueError, UploadNotFound):
        reason = f"{quote_value(reference)} is not the URL of an upload on this server"
        raise MalformedField(FIELD, reason) from None


def _path_below(reference: str, base: SplitResult) -> str:
    """Return the part of the URL's path below the base path.

    Raises:
        ValueError: the reference is not a URL, or not one below the base path.
    """
    if "/" not in reference:  # an id only
        return unquote(reference.partition("?")[0], "latin-1")
    url = urlsplit(urljoin(base.geturl(), reference))
    path = unquote(url.path, "latin-1")
    prefix = unquote(base.path, "latin-1").rstrip("/") + "/"
    if _authority(url) != _authority(base) or not path.startswith(prefix):
        raise ValueError("the URL is not below the base path")
    return path.removeprefix(prefix)


def _authority(url: SplitResult) -> tuple[str | None, int | None]:
    """Return the host and the port; the port is None if it is the default of the scheme.

    Raises:
        ValueError: the port is not a number, or the scheme is neither http nor https.
    """
    if url.scheme not in _DEFAULT_PORTS:
        raise ValueError("the scheme is neither http nor https")
    is_default_port = url.port == _DEFAULT_PORTS[url.scheme]
    return url.hostname, None if is_default_port else url.port
