"""The reply to a GET of a finished upload, in every dialect: which bytes, and under which name.

Conditions are judged in the order of RFC 9110, section 13.2.2, and before the range. One range is
served; a request for several gets the whole content, as section 14.2 allows.

Uploads come from strangers, and a browser shows them on this site's origin. So only types that
cannot carry a script are shown; everything else is saved, and all of it is sandboxed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from werkzeug.http import parse_etags, parse_range_header, quote_etag

from tus_wsgi.domain.commands import Content, Downloadable
from tus_wsgi.domain.model import Metadata
from tus_wsgi.protocol.fields import build_date, build_integer, parse_date, parse_media_type
from tus_wsgi.protocol.http import Reply, RequestHead

FALLBACK_TYPE = "application/octet-stream"

# tusd's list: no SVG, no HTML, no PDF, since all three can run scripts.
INLINE_TYPES = frozenset(
    (
        "text/plain",
        *("image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"),
        *("audio/wave", "audio/wav", "audio/x-wav", "audio/x-pn-wav", "audio/webm", "audio/ogg"),
        *("video/mp4", "video/webm", "video/ogg", "application/ogg"),
    )
)

# Who may read is decided request by request, by whatever guards the application. So nobody else's
# cache keeps the bytes, and the reader's own asks first: for unchanged content a 304 is enough.
CACHE_CONTROL = "private, no-cache, no-transform"

# What is saved needs nothing. What is shown needs what the browser's own page around an image or a
# film loads, and no sandbox: in one, Chromium asks for the film as a stranger and is refused it.
POLICY_SAVED = "sandbox; default-src 'none'"
POLICY_SHOWN = "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'"

MAX_FILENAME = 255
"""Characters of a file's name: as many bytes as common file systems take."""

# Control characters, line ends, and what turns text around so that "gpj.exe" looks harmless.
_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_SEPARATORS = re.compile(r"[/\\]")
# "%" too: some browsers decode it even here (RFC 6266, appendix D).
_NOT_FALLBACK = re.compile(r'[^\x20-\x7e]|["%]')
_EXTENDED_VALUE = "!#$&+-.^_`|~"
"""What RFC 8187 lets stand beside letters and digits (`attr-char`)."""


def reply_to_get(head: RequestHead, outcome: Downloadable) -> Reply:
    """The reply to a GET of an upload's content: 200, 206, 304, 412 or 416; 307 to somewhere else.

    `Reply.content` is the range to send; None where there is none, and then the dialect adds the
    length of the body.
    """
    content, metadata = outcome.content, outcome.info.metadata
    if outcome.presigned_url is not None:
        # Range goes along to there, and conditions mean nothing to a redirect (RFC 9110, section
        # 13.2.1). The link is a secret that soon ends, so nobody keeps it.
        return Reply(307, [("Location", outcome.presigned_url), ("Cache-Control", "no-store")])
    validators = [
        ("ETag", quote_etag(content.etag)),
        ("Last-Modified", build_date(content.modified)),
        ("Cache-Control", CACHE_CONTROL),
    ]
    if not _precondition_holds(head.fields, content):
        return _refusal(412, "The content is another one than the request wants.", [])
    if _is_unmodified(head.fields, content):
        return Reply(304, validators)
    asked = _range_asked_for(head.fields, content)
    start, stop = (0, content.length) if asked is None else asked
    if asked is not None and start >= stop:
        unsatisfied = ("Content-Range", f"bytes */{content.length}")
        return _refusal(416, f"The content has {content.length} bytes.", [unsatisfied])
    fields = [*validators, *_description(metadata), ("Accept-Ranges", "bytes")]
    fields.append(("Content-Length", build_integer(stop - start)))
    if asked is None:
        return Reply(200, fields, content=(start, stop))
    fields.append(("Content-Range", f"bytes {start}-{stop - 1}/{content.length}"))
    return Reply(206, fields, content=(start, stop))


def _refusal(status: int, sentence: str, fields: list[tuple[str, str]]) -> Reply:
    text = [("Cache-Control", "no-store"), ("Content-Type", "text/plain; charset=utf-8")]
    return Reply(status, [*fields, *text], f"{sentence}\n".encode())


def _precondition_holds(fields: Mapping[str, str], content: Content) -> bool:
    """Whether the content is still the one the client knows (If-Match, If-Unmodified-Since)."""
    if "If-Match" in fields:
        return parse_etags(fields["If-Match"]).contains(content.etag)  # the strong comparison
    since = parse_date(fields.get("If-Unmodified-Since"))
    return since is None or _modified(content) <= since


def _is_unmodified(fields: Mapping[str, str], content: Content) -> bool:
    """Whether the client has the content already (If-None-Match, If-Modified-Since)."""
    if "If-None-Match" in fields:
        etags = parse_etags(fields["If-None-Match"])
        return etags.contains_weak(content.etag)  # the weak comparison
    since = parse_date(fields.get("If-Modified-Since"))
    return since is not None and _modified(content) <= since


def _modified(content: Content) -> datetime:
    """When the object was made, as exactly as HTTP can say it."""
    return content.modified.replace(microsecond=0)


def _range_asked_for(fields: Mapping[str, str], content: Content) -> tuple[int, int] | None:
    """The range as offsets `(start, stop)`, not satisfiable unless `start < stop`; None for none.

    A range that is no range, is in another unit, is one of several, or belongs to another version
    of the content counts as none. So does every range of an empty content: many clients always
    send one, and a 416 would only be in their way.
    """
    asked = parse_range_header(fields.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1 or not content.length:
        return None
    if "If-Range" in fields and not _is_current(fields["If-Range"], content):
        return None
    start, stop = asked.ranges[0]
    if start < 0:  # the last bytes; asking for more of them than there are is asking for all
        start = max(0, content.length + start)
    return start, content.length if stop is None else min(stop, content.length)


def _is_current(validator: str, content: Content) -> bool:
    """Whether an If-Range validator is that of the content: a strong tag, or the exact date."""
    if validator.startswith('"'):
        return validator == quote_etag(content.etag)
    return parse_date(validator) == _modified(content)


def _description(metadata: Metadata) -> list[tuple[str, str]]:
    """What kind of thing it is, and what a browser may do with it."""
    type, disposition = type_and_disposition(metadata)
    policy = POLICY_SHOWN if disposition.startswith("inline") else POLICY_SAVED
    return [
        ("Content-Type", type),
        ("Content-Disposition", disposition),
        ("Content-Security-Policy", policy),
    ]


def type_and_disposition(metadata: Metadata) -> tuple[str, str]:
    """The `Content-Type` and the `Content-Disposition` of a file, whoever sends it."""
    declared = metadata.text("filetype") or ""
    base = parse_media_type(declared)
    filename = metadata.text("filename") or ""
    kind = "inline" if base in INLINE_TYPES else "attachment"
    return (
        FALLBACK_TYPE if base is None else declared,
        build_content_disposition(kind, filename),
    )


def build_content_disposition(disposition: str, filename: str) -> str:
    """A `Content-Disposition` field (RFC 6266) that can only name a file, whatever the name is.

    Control characters go, path separators become `_`. A name that is not plain ASCII is given
    twice, as `filename` for old clients and as `filename*` (RFC 8187) for all others.
    """
    # The end of a long name is worth more: the extension is there.
    name = _UNPRINTABLE.sub("", filename).strip()[-MAX_FILENAME:]
    name = _SEPARATORS.sub("_", name)
    if not name:
        return disposition
    decomposed = unicodedata.normalize("NFKD", name)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c))
    fallback = _NOT_FALLBACK.sub("_", _SEPARATORS.sub("_", plain))
    field = f'{disposition}; filename="{fallback}"'
    if fallback == name:
        return field
    return f"{field}; filename*=UTF-8''{quote(name, safe=_EXTENDED_VALUE)}"
