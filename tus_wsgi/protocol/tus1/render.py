"""Render replies of tus 1.0.0 to requests that succeeded.

Lists in fields have no white space, because some clients do not strip it.
"""

from __future__ import annotations

from typing import assert_never

from tus_wsgi.domain.checksums import Algorithm
from tus_wsgi.domain.commands import (
    Appended,
    Created,
    Discovered,
    Downloadable,
    Inspected,
    Outcome,
    Terminated,
)
from tus_wsgi.domain.model import Extension, Final, UploadInfo
from tus_wsgi.protocol.answers import with_answer
from tus_wsgi.protocol.download import render_download
from tus_wsgi.protocol.fields import DEFERRED, build_date, build_integer, build_metadata
from tus_wsgi.protocol.http import Reply, RequestHead, UrlOf
from tus_wsgi.protocol.structured import build_dictionary
from tus_wsgi.protocol.tus1.concat import FIELD as CONCAT
from tus_wsgi.protocol.tus1.concat import build_concat
from tus_wsgi.protocol.tus1.errors import VERSION


def render_outcome(head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
    """Render the status and the fields of an outcome."""
    match outcome:
        case Discovered():
            return Reply(204, _capabilities(head, outcome))
        case Inspected(info):
            fields = [*_progress(info), *_description(info, url_of), *_expiry(info)]
            return with_answer(Reply(200, fields), info, has_body=False)
        case Created(info, has_data, added):
            location = ("Location", url_of(info.id))
            progress = _progress(info) if has_data else []
            fields = [location, *progress, *_expiry(info), *added.items()]
            return with_answer(Reply(201, fields, exposed=tuple(added)), info, has_body=True)
        case Appended(info):
            reply = Reply(204, [*_progress(info), *_expiry(info)])
            return with_answer(reply, info, has_body=True)
        case Terminated():
            return Reply(204)
        case Downloadable():
            return render_download(head, outcome)
        case _:
            assert_never(outcome)


def _capabilities(head: RequestHead, outcome: Discovered) -> list[tuple[str, str]]:
    extensions = list(outcome.extensions)
    if not head.can_have_trailers and Extension.CHECKSUM_TRAILER in extensions:
        extensions.remove(Extension.CHECKSUM_TRAILER)
    fields = [("Tus-Version", VERSION), ("Tus-Max-Size", build_integer(outcome.max_size))]
    if extensions:
        fields.append(("Tus-Extension", ",".join(extensions)))
    if Extension.CHECKSUM in extensions:
        fields.append(("Tus-Checksum-Algorithm", ",".join(Algorithm)))
    return fields


def ietf_limits(outcome: Discovered) -> tuple[str, str]:
    """Return the limits for a client of the IETF protocol, whose OPTIONS needs no version."""
    limits = build_dictionary([("max-size", outcome.max_size), ("min-size", 0)])
    return ("Upload-Limit", limits)


def _progress(info: UploadInfo) -> list[tuple[str, str]]:
    """Return the offset, which a final upload has only after its object was made.

    "The response to a HEAD request for a final upload SHOULD NOT contain the Upload-Offset header
    unless the concatenation has been successfully finished" (tus 1.0.0, Concatenation).
    """
    if isinstance(info.concat, Final) and not info.is_full:
        return []
    return [("Upload-Offset", build_integer(info.offset))]


def _description(info: UploadInfo, url_of: UrlOf) -> list[tuple[str, str]]:
    """Return the fields of the reply to a HEAD, except the offset and the expiry."""
    fields = [("Cache-Control", "no-store")]  # a cached offset would be wrong
    if info.length is not None:
        fields.append(("Upload-Length", build_integer(info.length)))
    elif not isinstance(info.concat, Final):
        # Not for a final upload: its length follows from its partial uploads.
        fields.append(("Upload-Defer-Length", DEFERRED))
    if info.concat is not None:
        fields.append((CONCAT, build_concat(info.concat, url_of)))
    metadata = info.metadata
    text = build_metadata(metadata.pairs) if metadata.raw is None else metadata.raw
    if text:
        fields.append(("Upload-Metadata", text))
    return fields


def _expiry(info: UploadInfo) -> list[tuple[str, str]]:
    """Return the expiry date. Complete uploads never expire."""
    if info.expires is None or info.is_full:
        return []
    return [("Upload-Expires", build_date(info.expires))]
