"""The `Upload-Concat` field: `partial`, or `final;` and the URLs of partial uploads.

A URL may be absolute, begin with a slash, or be an id alone; what is resolved is compared with the
base path as this request's client sees it. The scheme is not compared: behind a proxy a client may
know the same host by another one. A query is ignored, as it is in requests.
"""

from __future__ import annotations

import re
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from tus_wsgi.domain.errors import MalformedField, UploadNotFound
from tus_wsgi.domain.model import Final, Partial, UploadId, parse_upload_id
from tus_wsgi.protocol.fields import shown
from tus_wsgi.protocol.http import UrlOf

FIELD = "Upload-Concat"

MAX_PARTIALS = 2_000
"""Twice as many as fit into the longest field that the README speaks of. Each takes up to 25 µs to
resolve, and S3 calls."""

_PARTIAL = "partial"
_FINAL = "final;"

# The value is kept and sent back, so it is held to what URLs consist of: printable ASCII.
_REFERENCES = re.compile(r"[\x21-\x7e]+(?: +[\x21-\x7e]+)*")

_DEFAULT_PORTS = {"http": 80, "https": 443}


def parse_concat(text: str, base_url: str) -> Partial | Final:
    """What an `Upload-Concat` field makes of an upload.

    Args:
        text: the field's value.
        base_url: the absolute URL of the base path.

    Raises:
        MalformedField: it is neither form, or names something that is no upload's URL here, or
            too much.
    """
    if text == _PARTIAL:
        return Partial()
    listed = text.removeprefix(_FINAL).strip(" ")
    if not text.startswith(_FINAL) or _REFERENCES.fullmatch(listed) is None:
        raise MalformedField(FIELD, f"expected 'partial', or 'final;' and URLs, got {shown(text)}")
    references = listed.split()
    if len(references) > MAX_PARTIALS:
        reason = f"expected at most {MAX_PARTIALS} partial uploads, got {len(references)}"
        raise MalformedField(FIELD, reason)
    base = urlsplit(base_url)
    return Final(tuple(_id_of(reference, base) for reference in references), text)


def build_concat(concat: Partial | Final, url_of: UrlOf) -> str:
    """The field of an upload: as it was received, or with absolute URLs where it was not kept."""
    if isinstance(concat, Partial):
        return _PARTIAL
    return concat.raw or _FINAL + " ".join(url_of(id) for id in concat.partials)


def _id_of(reference: str, base: SplitResult) -> UploadId:
    try:
        return parse_upload_id(_below(reference, base))
    except (ValueError, UploadNotFound):
        raise MalformedField(FIELD, f"{shown(reference)} is no upload's URL here") from None


def _below(reference: str, base: SplitResult) -> str:
    """What of the URL is below the base path.

    Raises:
        ValueError: it is no URL, or one of somewhere else.
    """
    if "/" not in reference:
        return unquote(reference.partition("?")[0], "latin-1")
    url = urlsplit(urljoin(base.geturl(), reference))
    path, prefix = unquote(url.path, "latin-1"), unquote(base.path, "latin-1").rstrip("/") + "/"
    if _authority(url) != _authority(base) or not path.startswith(prefix):
        raise ValueError("it is elsewhere")
    return path.removeprefix(prefix)


def _authority(url: SplitResult) -> tuple[str | None, int | None]:
    """The host and the port, the latter None where it is the scheme's own.

    Raises:
        ValueError: the port is no number, or the scheme is not one of HTTP.
    """
    if url.scheme not in _DEFAULT_PORTS:
        raise ValueError("it is not HTTP")
    return url.hostname, None if url.port == _DEFAULT_PORTS[url.scheme] else url.port
