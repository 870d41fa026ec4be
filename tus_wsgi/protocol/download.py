"""Render the reply to a GET of a finished upload: conditions, range, type and file name.

All dialects use this module. Conditions are evaluated before the range, in the order of RFC 9110,
section 13.2.2. A request for several ranges gets the whole content, as section 14.2 allows.

Uploads come from untrusted clients, and a browser displays them under this site's origin. So the
browser displays only types that cannot contain scripts, under a policy that allows no script. It
saves everything else, sandboxed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from werkzeug.http import parse_etags, parse_range_header, quote_etag

from tus_wsgi.domain.commands import Content, Downloadable
from tus_wsgi.domain.descriptions import parse_media_type, safe_filename
from tus_wsgi.domain.model import Metadata
from tus_wsgi.protocol.fields import build_date, build_integer, parse_date
from tus_wsgi.protocol.http import Reply, RequestHead

FALLBACK_TYPE = "application/octet-stream"

# tusd's list, without SVG, HTML and PDF, because all three can run scripts.
INLINE_TYPES = frozenset(
    (
        "text/plain",
        *("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"),
        *("audio/wave", "audio/wav", "audio/x-wav", "audio/x-pn-wav", "audio/webm", "audio/ogg"),
        *("video/mp4", "video/webm", "video/ogg", "application/ogg"),
    )
)

# The application authorizes each request. So shared caches must not store the bytes, and a
# private cache must revalidate them: unchanged content costs only a 304.
CACHE_CONTROL = "private, no-cache, no-transform"

# A saved file needs no resources. A displayed file needs the resources that the browser's built-in
# page around an image or a video loads, and must not be sandboxed: in a sandbox, Chromium requests
# the video without credentials, and the application refuses the request.
ATTACHMENT_POLICY = "sandbox; default-src 'none'"
INLINE_POLICY = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

_SEPARATORS = re.compile(r"[/\\]")
# "%" too, because some browsers decode it even here (RFC 6266, appendix D).
_NOT_FALLBACK = re.compile(r'[^\x20-\x7e]|["%]')
_EXTENDED_VALUE = "!#$&+-.^_`|~"
"""Characters besides letters and digits that RFC 8187 allows unquoted (`attr-char`)."""


def render_download(head: RequestHead, outcome: Downloadable) -> Reply:
    """Render the reply to a GET: 200, 206, 304, 412 or 416, or 307 if the store serves the bytes.

    `Reply.content` is the range to send; None if there are no bytes of the file to send.
    """
    content, metadata = outcome.content, outcome.info.metadata
    if outcome.presigned_url is not None:
        # The client sends the range again to that URL, and conditions do not apply to a redirect
        # (RFC 9110, section 13.2.1). The URL is a secret with a short lifetime, so it must not be
        # cached.
        return Reply(307, [("Location", outcome.presigned_url), ("Cache-Control", "no-store")])
    validators = [
        ("ETag", quote_etag(content.etag)),
        ("Last-Modified", build_date(content.modified)),
        ("Cache-Control", CACHE_CONTROL),
    ]
    if not _precondition_holds(head.fields, content):
        return _error(412, "The content does not match the conditions of the request.", [])
    if _is_unmodified(head.fields, content):
        return Reply(304, validators)
    requested = _parse_range(head.fields, content)
    start, stop = (0, content.length) if requested is None else requested
    if requested is not None and start >= stop:
        content_range = ("Content-Range", f"bytes */{content.length}")
        return _error(416, f"The content has {content.length} bytes.", [content_range])
    fields = [*validators, *_description(metadata), ("Accept-Ranges", "bytes")]
    fields.append(("Content-Length", build_integer(stop - start)))
    if requested is None:
        return Reply(200, fields, content=(start, stop))
    fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{content.length}"))
    return Reply(206, fields, content=(start, stop))


def _error(status: int, sentence: str, fields: list[tuple[str, str]]) -> Reply:
    text = [("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8")]
    return Reply(status, [*fields, *text], f"{sentence}\n".encode())


def _precondition_holds(fields: Mapping[str, str], content: Content) -> bool:
    """Return whether the content is unchanged (If-Match, If-Unmodified-Since)."""
    if "If-Match" in fields:
        return parse_etags(fields["If-Match"]).contains(content.etag)  # strong comparison
    since = parse_date(fields.get("If-Unmodified-Since"))
    return since is None or _modified(content) <= since


def _is_unmodified(fields: Mapping[str, str], content: Content) -> bool:
    """Return whether the client has the content already (If-None-Match, If-Modified-Since)."""
    if "If-None-Match" in fields:
        etags = parse_etags(fields["If-None-Match"])
        return etags.contains_weak(content.etag)  # weak comparison
    since = parse_date(fields.get("If-Modified-Since"))
    return since is not None and _modified(content) <= since


def _modified(content: Content) -> datetime:
    """Return when the object was created, in whole seconds like HTTP dates."""
    return content.modified.replace(microsecond=0)


def _parse_range(fields: Mapping[str, str], content: Content) -> tuple[int, int] | None:
    """Return the range as offsets `(start, stop)`; None to send the whole content.

    The range is satisfiable if `start < stop`. A range is ignored if it is malformed or in another
    unit, if it is one of several, or if If-Range names another version of the content. A range of
    empty content is ignored too: many clients always send one, and a 416 would break them.
    """
    header = parse_range_header(fields.get("Range"))
    if header is None or not content.length:
        return None
    if header.units != "bytes" or len(header.ranges) != 1:
        return None
    if "If-Range" in fields and not _is_current(fields["If-Range"], content):
        return None
    start, stop = header.ranges[0]
    if start < 0:  # a suffix range; if it is too long, it means the whole content
        start = max(0, content.length + start)
    return start, content.length if stop is None else min(stop, content.length)


def _is_current(validator: str, content: Content) -> bool:
    """Return whether an If-Range validator, a strong tag or a date, matches the content."""
    if validator.startswith('"'):
        return validator == quote_etag(content.etag)
    return parse_date(validator) == _modified(content)


def _description(metadata: Metadata) -> list[tuple[str, str]]:
    """Return the fields for the type, the file name and the policy of the content."""
    type, disposition = type_and_disposition(metadata)
    policy = INLINE_POLICY if disposition.startswith("inline") else ATTACHMENT_POLICY
    return [
        ("Content-Type", type),
        ("Content-Disposition", disposition),
        ("Content-Security-Policy", policy),
    ]


def type_and_disposition(metadata: Metadata) -> tuple[str, str]:
    """Return the `Content-Type` and the `Content-Disposition` of a file."""
    declared = metadata.text("filetype") or ""
    base = parse_media_type(declared)
    filename = metadata.text("filename") or ""
    kind = "inline" if base in INLINE_TYPES else "attachment"
    return (
        FALLBACK_TYPE if base is None else declared,
        build_content_disposition(kind, filename),
    )


def build_content_disposition(disposition: str, filename: str) -> str:
    """Return a `Content-Disposition` field (RFC 6266) with a sanitized file name.

    Control characters are removed and path separators replaced by `_`. A non-ASCII name is sent
    twice: as `filename` for old clients and as `filename*` (RFC 8187) for all others.
    """
    name = safe_filename(filename)
    if not name:
        return disposition
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    fallback = _NOT_FALLBACK.sub("_", _SEPARATORS.sub("_", plain))
    field = f'{disposition}; filename="{fallback}"'
    if fallback == name:
        return field
    return f"{field}; filename*=UTF-8''{quote(name, safe=_EXTENDED_VALUE)}"
