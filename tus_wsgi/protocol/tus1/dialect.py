"""The tus resumable upload protocol, version 1.0.0 (https://tus.io/protocols/resumable-upload).

Checks run in this order, and the first failure determines the reply:

1. The method's override: 405. Then OPTIONS always succeeds.
2. The version: 412, before the rest of the request is parsed.
3. The resource and the method: 405; a creation if clients cannot create uploads: 403.
4. The syntax of the fields: 400.
5. The type of the body: 415.
6. The size against the limit: 413; an id that no upload can have: 404.

Checks that need the upload (404, 409, 410, 413, 423) are not part of this module.

If the specification leaves a choice, the dialect behaves like this:

- A HEAD may omit the version, because download managers do not send one; a wrong version is 412.
  GET is not a method of tus and needs no version. If the dialects of the IETF draft are installed
  too, a HEAD, GET or DELETE of an upload without a version never reaches this dialect: the newest
  draft, which needs no version, handles it.
- A POST whose body has another type than `application/offset+octet-stream` is rejected; its body
  is never ignored. A POST without a body may name any type, because some HTTP libraries always
  send one.
- A field of an extension that is not offered is rejected, so that no client believes that a
  checksum was verified or that uploads were concatenated.
- `Content-Encoding` is ignored: bytes are stored as they arrive.

`tus_wsgi.protocol.tus1.render` renders outcomes, `tus_wsgi.protocol.tus1.errors` renders errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tus_wsgi.domain.checksums import Checksum
from tus_wsgi.domain.commands import (
    Append,
    Command,
    Concatenate,
    Create,
    Discover,
    Discovered,
    Download,
    Inspect,
    Outcome,
    Terminate,
    Verification,
)
from tus_wsgi.domain.descriptions import parse_media_type
from tus_wsgi.domain.errors import (
    CreationDisabled,
    MalformedField,
    MethodNotAllowed,
    TusError,
    UnsupportedMediaType,
    UnsupportedVersion,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Extension, Final, Partial, parse_upload_id
from tus_wsgi.protocol.fields import (
    check_defer_length,
    check_transfer_coding,
    parse_checksum,
    parse_field_names,
    parse_integer,
    parse_metadata,
)
from tus_wsgi.protocol.http import (
    Reply,
    RequestHead,
    UrlOf,
    check_override,
    with_common_fields,
)
from tus_wsgi.protocol.tus1.concat import FIELD as CONCAT
from tus_wsgi.protocol.tus1.concat import parse_concat
from tus_wsgi.protocol.tus1.errors import VERSION, render_error
from tus_wsgi.protocol.tus1.render import ietf_limits, render_outcome

MEDIA_TYPE = "application/offset+octet-stream"

_VERSION = ("Tus-Resumable", VERSION)

# These methods change an upload, so they must name the right version.
_VERSION_REQUIRED = frozenset(("POST", "PATCH", "DELETE"))

_BASE_EXTENSION = {
    Extension.CREATION_WITH_UPLOAD: Extension.CREATION,
    Extension.CREATION_DEFER_LENGTH: Extension.CREATION,
    Extension.CHECKSUM_TRAILER: Extension.CHECKSUM,
    Extension.CONCATENATION: Extension.CREATION,
    Extension.CONCATENATION_UNFINISHED: Extension.CONCATENATION,
}


class Tus1:
    """The dialect of tus 1.0.0.

    Args:
        extensions: the extensions to offer, announced in this order; `checksum-trailer` is
            announced only if the server exposes trailer fields.
        max_size: bytes of the largest upload.
        downloads: whether GET returns the content of finished uploads.
        with_ietf: whether the server also speaks the IETF protocol. If so, the reply to an OPTIONS
            that names no version contains the limits of that protocol.

    Raises:
        ValueError: an extension is offered without the extension that it builds on.
    """

    name = "tus1"

    def __init__(
        self,
        *,
        extensions: tuple[Extension, ...],
        max_size: int,
        downloads: bool,
        with_ietf: bool = True,
    ) -> None:
        for extension in extensions:
            base = _BASE_EXTENSION.get(extension, extension)
            if base not in extensions:
                raise ValueError(f"expected {base} among the extensions, got {extensions!r}")
        creation = Extension.CREATION in extensions
        termination = Extension.TERMINATION in extensions
        self._extensions = extensions
        self._max_size = max_size
        self._with_ietf = with_ietf
        self._base_methods = ("OPTIONS", *(("POST",) if creation else ()))
        self._upload_methods = (
            *("OPTIONS", "HEAD", "PATCH"),
            *(("DELETE",) if termination else ()),
            *(("GET",) if downloads else ()),
        )

    def speaks(self, head: RequestHead) -> bool:
        """Return whether the request names a version of tus, even an unsupported one.

        Put this dialect last: the last dialect handles requests that no dialect claims, such as an
        OPTIONS or a GET without a version.
        """
        return "Tus-Resumable" in head.fields

    def parse(self, head: RequestHead) -> Command:
        """Parse the request into a command, with the checks in the order of the module's docstring.

        Raises:
            RequestError: the request is malformed or uses a feature that is not offered.
        """
        allowed = self._base_methods if head.target is None else self._upload_methods
        check_override(head, allowed)
        if head.method == "OPTIONS":
            return Discover()
        _check_version(head)
        if head.method not in allowed:
            is_creation = head.target is None and head.method == "POST"
            error = CreationDisabled if is_creation else MethodNotAllowed
            raise error(head.method, allowed)
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
        text = head.fields.get(CONCAT)
        if text is None:
            return None
        if Extension.CONCATENATION not in self._extensions:
            raise MalformedField(CONCAT, "the concatenation extension is not offered")
        return parse_concat(text, head.base_url)

    def _parse_final(self, head: RequestHead, final: Final) -> Concatenate:
        """Parse the creation of a final upload, which has neither a length nor a body."""
        for field in ("Upload-Length", "Upload-Defer-Length"):
            if field in head.fields:
                raise MalformedField(
                    field, "the length of a final upload is that of its partial uploads"
                )
        metadata = parse_metadata(head.fields.get("Upload-Metadata", ""))
        if head.has_body or self._parse_verification(head) is not None:
            raise MalformedField(CONCAT, "the request for a final upload must not have a body")
        return Concatenate(final, metadata)

    def _parse_length(self, head: RequestHead) -> int | None:
        """Return the length of the new upload; None if it is deferred.

        Raises:
            MalformedField: the request has neither `Upload-Length` nor `Upload-Defer-Length`, or
                both, or a value is malformed.
        """
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
        """Return whether the body is the beginning of the file. The body may be empty."""
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
        """Return the checksums to verify: in the header, in the trailer, or in both.

        If there is no checksum in the header, a trailer that was not announced is ignored: by then
        the body is stored. "They MUST be announced using the Trailer header" (tus 1.0.0, Checksum).
        """
        text = head.fields.get("Upload-Checksum")
        has_trailer = "upload-checksum" in parse_field_names(head.fields.get("Trailer", ""))
        if text is None and not has_trailer:
            return None
        if Extension.CHECKSUM not in self._extensions:
            raise MalformedField("Upload-Checksum", "the checksum extension is not offered")
        if has_trailer and not self._can_have_trailers(head):
            raise MalformedField("Trailer", "the checksum-trailer extension is not offered")
        checksum = None if text is None else parse_checksum(text)
        parse_trailer = _parse_announced_trailer if has_trailer else _parse_trailer
        return Verification(checksum, parse_trailer)

    def _can_have_trailers(self, head: RequestHead) -> bool:
        return head.can_have_trailers and Extension.CHECKSUM_TRAILER in self._extensions

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """Render the reply to a request that succeeded."""
        reply = render_outcome(head, outcome, url_of)
        if isinstance(outcome, Discovered) and self._with_ietf and not self.speaks(head):
            reply = replace(reply, fields=[*reply.fields, ietf_limits(outcome)])
        return with_common_fields(head, reply, _VERSION)

    def interim(self, head: RequestHead, url_of: UrlOf) -> None:
        """Return None: tus 1.0.0 defines no interim responses."""

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """Render the reply to a request that failed."""
        return with_common_fields(head, render_error(head, error), _VERSION)


def _parse_trailer(trailers: Mapping[str, str]) -> Checksum | None:
    """Return the checksum in the trailer fields; None if there is none."""
    text = trailers.get("upload-checksum")
    return None if text is None else parse_checksum(text)


def _parse_announced_trailer(trailers: Mapping[str, str]) -> Checksum:
    """Return the checksum that the `Trailer` field announced.

    Raises:
        MalformedField: the trailer is missing or malformed.
    """
    checksum = _parse_trailer(trailers)
    if checksum is None:
        raise MalformedField("Upload-Checksum", "it was announced as a trailer, and is missing")
    return checksum


def _parse_integer(head: RequestHead, field: str) -> int | None:
    """Return the number in `field`; None if the field is missing. An empty field is malformed."""
    text = head.fields.get(field)
    return None if text is None else parse_integer(field, text)


def _check_version(head: RequestHead) -> None:
    """Reject other versions: "the Server MUST NOT process the request"."""
    provided = head.fields.get("Tus-Resumable") or None
    if provided == VERSION or head.method == "GET":
        return
    if provided is not None or head.method in _VERSION_REQUIRED:
        raise UnsupportedVersion(provided)


def _is_offset_stream(provided: str | None) -> bool:
    return provided is not None and parse_media_type(provided) == MEDIA_TYPE
