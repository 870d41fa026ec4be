"""The tus resumable upload protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

A request is judged in this order, and the first objection is the answer:

1. OPTIONS is always answered.
2. The version: 412, before anything that the request wants is looked at.
3. The resource and the method: 405.
4. The syntax of the fields: 400.
5. The type of the body: 415.
6. The size against the limit: 413; an id that no upload can have: 404.

What needs the upload itself (404, 409, 410, 413, 423) is not known here.

Where the specification leaves a choice, this is what was chosen:

- HEAD may come without a version, since download managers know none; a wrong one is 412. GET is
  no method of tus and needs none. Beside the dialects of the IETF's drafts, a HEAD or DELETE of an
  upload that names no version never comes here: it is in the newest of them, which needs none.
- A body of another type than `application/offset+octet-stream` is refused at POST, never ignored.
  A POST without a body may name any type, because some HTTP libraries always name one.
- A field of an extension that is not offered is refused, so that nobody believes that a checksum
  was verified or parts were joined.
- `Content-Encoding` is not looked at: bytes are stored as they come.

The statuses of errors are in `tus_wsgi.protocol.errors`, the fields of all other replies in
`tus_wsgi.protocol.tus1.render`.
"""

from __future__ import annotations

from collections.abc import Mapping

from tus_wsgi.domain.checksums import Checksum
from tus_wsgi.domain.commands import (
    Append,
    Command,
    Concatenate,
    Create,
    Discover,
    Download,
    Inspect,
    Outcome,
    Terminate,
    Verification,
)
from tus_wsgi.domain.errors import (
    MalformedField,
    MethodNotAllowed,
    TusError,
    UnsupportedMediaType,
    UnsupportedVersion,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Extension, Final, Partial, parse_upload_id
from tus_wsgi.protocol.errors import VERSION, reply_to_error
from tus_wsgi.protocol.fields import (
    check_defer_length,
    check_transfer_coding,
    parse_checksum,
    parse_field_names,
    parse_integer,
    parse_media_type,
    parse_metadata,
)
from tus_wsgi.protocol.http import Reply, RequestHead, UrlOf
from tus_wsgi.protocol.tus1.concat import FIELD as CONCAT
from tus_wsgi.protocol.tus1.concat import parse_concat
from tus_wsgi.protocol.tus1.render import finished, reply_to_outcome

MEDIA_TYPE = "application/offset+octet-stream"

# These change something, so the version must be right before anything happens.
_VERSION_REQUIRED = frozenset(("POST", "PATCH", "DELETE"))

_BUILDS_ON = {
    Extension.CREATION_WITH_UPLOAD: Extension.CREATION,
    Extension.CREATION_DEFER_LENGTH: Extension.CREATION,
    Extension.CHECKSUM_TRAILER: Extension.CHECKSUM,
    Extension.CONCATENATION: Extension.CREATION,
    Extension.CONCATENATION_UNFINISHED: Extension.CONCATENATION,
}


class Tus1:
    """The dialect of tus 1.0.0, with the extensions that are offered.

    Args:
        extensions: announced in this order; `checksum-trailer` only where the server can do it.
        max_size: bytes of the largest upload.
        downloads: whether GET gives out the content of finished uploads.

    Raises:
        ValueError: an extension is offered without the one that it builds on.
    """

    def __init__(
        self, *, extensions: tuple[Extension, ...], max_size: int, downloads: bool
    ) -> None:
        for extension in extensions:
            base = _BUILDS_ON.get(extension, extension)
            if base not in extensions:
                raise ValueError(f"expected {base} among the extensions, got {extensions!r}")
        creation = Extension.CREATION in extensions
        termination = Extension.TERMINATION in extensions
        self._extensions = extensions
        self._max_size = max_size
        self._base_methods = ("OPTIONS", *(("POST",) if creation else ()))
        self._upload_methods = (
            *("OPTIONS", "HEAD", "PATCH"),
            *(("DELETE",) if termination else ()),
            *(("GET",) if downloads else ()),
        )

    def speaks(self, head: RequestHead) -> bool:
        """Whether the request names a version of tus, be it the wrong one.

        What names none (an OPTIONS, a GET, a stray request) is answered here as well where no
        other dialect wants it: this is the one to put last.
        """
        return "Tus-Resumable" in head.fields

    def parse(self, head: RequestHead) -> Command:
        """What the request asks for, checked in the order that this module's text gives."""
        if head.method == "OPTIONS":
            return Discover()
        _check_version(head)
        allowed = self._base_methods if head.target is None else self._upload_methods
        if head.method not in allowed:
            raise MethodNotAllowed(head.method, allowed)
        check_transfer_coding(head.fields.get("Transfer-Encoding"))
        if head.target is None:
            return self._parse_create(head)
        if head.method == "PATCH":
            return self._parse_append(head, head.target)
        id = parse_upload_id(head.target)
        if head.method == "HEAD":
            return Inspect(id)
        return Terminate(id) if head.method == "DELETE" else Download(id)

    def _parse_create(self, head: RequestHead) -> Create | Concatenate:
        concat = self._parse_concat(head)
        if isinstance(concat, Final):
            return self._parse_final(head, concat)
        length = self._parse_length(head)
        metadata = parse_metadata(head.fields.get("Upload-Metadata", ""))
        verification = self._parse_verification(head)
        has_data = self._parse_has_data(head)
        if length is not None and length > self._max_size:
            raise UploadTooLarge(self._max_size, length)
        is_partial = concat is not None
        return Create(length, metadata, has_data, verification=verification, is_partial=is_partial)

    def _parse_concat(self, head: RequestHead) -> Partial | Final | None:
        said = head.fields.get(CONCAT)
        if said is None:
            return None
        if Extension.CONCATENATION not in self._extensions:
            raise MalformedField(CONCAT, "the concatenation extension is not offered")
        return parse_concat(said, head.base_url)

    def _parse_final(self, head: RequestHead, final: Final) -> Concatenate:
        """A final upload. Whatever says something of bytes says it of none: they are elsewhere."""
        for field in ("Upload-Length", "Upload-Defer-Length"):
            if field in head.fields:
                raise MalformedField(field, "a final upload is as long as its partial ones")
        metadata = parse_metadata(head.fields.get("Upload-Metadata", ""))
        if head.has_body or self._parse_verification(head) is not None:
            raise MalformedField(CONCAT, "the request for a final upload has no body of its own")
        return Concatenate(final, metadata)

    def _parse_length(self, head: RequestHead) -> int | None:
        """The length of the new upload; None when it is deferred. One of the two must be said."""
        length = _parse_integer(head, "Upload-Length")
        deferred = head.fields.get("Upload-Defer-Length")
        if deferred is None:
            if length is None:
                raise MalformedField("Upload-Length", "it is missing")
            return length
        if length is not None:
            raise MalformedField("Upload-Defer-Length", "it cannot be sent with Upload-Length")
        if Extension.CREATION_DEFER_LENGTH not in self._extensions:
            reason = "the creation-defer-length extension is not offered"
            raise MalformedField("Upload-Defer-Length", reason)
        check_defer_length(deferred)
        return None

    def _parse_has_data(self, head: RequestHead) -> bool:
        """Whether the body is the beginning of the file. An empty one can be, too."""
        provided = head.fields.get("Content-Type")
        if not _is_offset_stream(provided):
            if head.has_body:
                raise UnsupportedMediaType(MEDIA_TYPE, provided)
            return False
        if Extension.CREATION_WITH_UPLOAD in self._extensions:
            return True
        if head.has_body:
            reason = "the creation-with-upload extension is not offered; send the data with PATCH"
            raise MalformedField("Content-Type", reason)
        return False

    def _parse_append(self, head: RequestHead, target: str) -> Append:
        offset = _parse_integer(head, "Upload-Offset")
        if offset is None:
            raise MalformedField("Upload-Offset", "it is missing")
        length = _parse_integer(head, "Upload-Length")
        verification = self._parse_verification(head)
        provided = head.fields.get("Content-Type")
        if not _is_offset_stream(provided):
            raise UnsupportedMediaType(MEDIA_TYPE, provided)
        return Append(parse_upload_id(target), offset, length, verification=verification)

    def _parse_verification(self, head: RequestHead) -> Verification | None:
        """What the body is checked against: in front of it, behind it, or both.

        A checksum behind the body that was not announced is ignored where the body need not be
        held back for another reason: it comes too late. "They MUST be announced using the Trailer
        header" (tus 1.0.0, Checksum).
        """
        said = head.fields.get("Upload-Checksum")
        follows = "upload-checksum" in parse_field_names(head.fields.get("Trailer", ""))
        if said is None and not follows:
            return None
        if Extension.CHECKSUM not in self._extensions:
            raise MalformedField("Upload-Checksum", "the checksum extension is not offered")
        if follows and not self._can_have_trailers(head):
            raise MalformedField("Trailer", "the checksum-trailer extension is not offered")
        checksum = None if said is None else parse_checksum(said)
        return Verification(
            checksum, _read_announced_checksum if follows else _read_trailing_checksum
        )

    def _can_have_trailers(self, head: RequestHead) -> bool:
        return head.can_have_trailers and Extension.CHECKSUM_TRAILER in self._extensions

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """The words for what came of it."""
        return finished(head, reply_to_outcome(head, outcome, url_of))

    def interim(self, head: RequestHead, url_of: UrlOf) -> None:
        """Nothing: tus 1.0.0 knows no interim responses."""

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """The words for what went wrong."""
        return finished(head, reply_to_error(head, error))


def _read_trailing_checksum(trailers: Mapping[str, str]) -> Checksum | None:
    """The checksum in the trailer fields, if there is one. All the others are nobody's business."""
    text = trailers.get("upload-checksum")
    return None if text is None else parse_checksum(text)


def _read_announced_checksum(trailers: Mapping[str, str]) -> Checksum | None:
    """The checksum that the `Trailer` field promised."""
    checksum = _read_trailing_checksum(trailers)
    if checksum is None:
        raise MalformedField("Upload-Checksum", "it was announced as a trailer, and did not come")
    return checksum


def _parse_integer(head: RequestHead, field: str) -> int | None:
    """The number in `field`; None when there is no such field. An empty one is no number."""
    text = head.fields.get(field)
    return None if text is None else parse_integer(field, text)


def _check_version(head: RequestHead) -> None:
    """Refuse what is in another version: "the Server MUST NOT process the request"."""
    provided = head.fields.get("Tus-Resumable") or None
    if provided == VERSION or head.method == "GET":
        return
    if provided is not None or head.method in _VERSION_REQUIRED:
        raise UnsupportedVersion(provided)


def _is_offset_stream(provided: str | None) -> bool:
    return provided is not None and parse_media_type(provided) == MEDIA_TYPE
