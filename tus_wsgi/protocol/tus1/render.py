"""How tus 1.0.0 says what came of a request: the fields of every reply that is no error.

The lists have no white space: not every client strips it.
"""

from __future__ import annotations

from dataclasses import replace
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
from tus_wsgi.protocol.download import reply_to_get
from tus_wsgi.protocol.errors import VERSION
from tus_wsgi.protocol.fields import DEFERRED, build_date, build_integer, build_metadata
from tus_wsgi.protocol.http import Reply, RequestHead, UrlOf
from tus_wsgi.protocol.structured import build_dictionary
from tus_wsgi.protocol.tus1.concat import FIELD as CONCAT
from tus_wsgi.protocol.tus1.concat import build_concat


def reply_to_outcome(head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
    """A status and the fields of one outcome."""
    match outcome:
        case Discovered():
            return Reply(204, _offer(head, outcome))
        case Inspected(info):
            return Reply(200, [*_progress(info), *_description(info, url_of), *_expiry(info)])
        case Created(info, has_data):
            location = ("Location", url_of(info.id))
            progress = _progress(info) if has_data else []
            return Reply(201, [location, *progress, *_expiry(info)])
        case Appended(info):
            return Reply(204, [*_progress(info), *_expiry(info)])
        case Terminated():
            return Reply(204)
        case Downloadable():
            return reply_to_get(head, outcome)
        case _:
            assert_never(outcome)


def finished(head: RequestHead, reply: Reply) -> Reply:
    """Add what every reply has, and the length of a body wherever a body may be."""
    fields = [
        ("Tus-Resumable", VERSION),
        # Uploads come from strangers: no browser may guess what they are.
        ("X-Content-Type-Options", "nosniff"),
        *reply.fields,
    ]
    # At HEAD the length would have to be that of a GET's body (RFC 9110, section 8.6). And where
    # HEAD is the override of a POST, the client would wait for that many bytes.
    bodyless = reply.status in (204, 304) or head.method == "HEAD"
    if not bodyless and reply.content is None:
        fields.append(("Content-Length", build_integer(len(reply.body))))
    return replace(reply, fields=fields)


def _offer(head: RequestHead, outcome: Discovered) -> list[tuple[str, str]]:
    """What this server can do."""
    extensions = list(outcome.extensions)
    if not head.can_have_trailers and Extension.CHECKSUM_TRAILER in extensions:
        extensions.remove(Extension.CHECKSUM_TRAILER)
    fields = [("Tus-Version", VERSION), ("Tus-Max-Size", build_integer(outcome.max_size))]
    if extensions:
        fields.append(("Tus-Extension", ",".join(extensions)))
    if Extension.CHECKSUM in extensions:
        fields.append(("Tus-Checksum-Algorithm", ",".join(Algorithm)))
    if "Tus-Resumable" not in head.fields:
        # The client may be one of the IETF's protocol, whose requests need no version.
        limits = build_dictionary([("max-size", outcome.max_size), ("min-size", 0)])
        fields.append(("Upload-Limit", limits))
    return fields


def _progress(info: UploadInfo) -> list[tuple[str, str]]:
    """How far it is. Of a final upload that is not known before its file is there.

    "The response to a HEAD request for a final upload SHOULD NOT contain the Upload-Offset header
    unless the concatenation has been successfully finished" (tus 1.0.0, Concatenation).
    """
    if isinstance(info.concat, Final) and not info.is_full:
        return []
    return [("Upload-Offset", build_integer(info.offset))]


def _description(info: UploadInfo, url_of: UrlOf) -> list[tuple[str, str]]:
    """What HEAD tells beside the offset. A cached offset would be a wrong one."""
    fields = [("Cache-Control", "no-store")]
    if info.length is not None:
        fields.append(("Upload-Length", build_integer(info.length)))
    elif not isinstance(info.concat, Final):
        # The client of a final upload has nothing to say later.
        fields.append(("Upload-Defer-Length", DEFERRED))
    if info.concat is not None:
        fields.append((CONCAT, build_concat(info.concat, url_of)))
    metadata = info.metadata
    said = build_metadata(metadata.pairs) if metadata.raw is None else metadata.raw
    if said:
        fields.append(("Upload-Metadata", said))
    return fields


def _expiry(info: UploadInfo) -> list[tuple[str, str]]:
    """When the upload lapses; a full one never does."""
    if info.expires is None or info.is_full:
        return []
    return [("Upload-Expires", build_date(info.expires))]
