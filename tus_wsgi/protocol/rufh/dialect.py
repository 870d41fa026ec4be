"""Resumable uploads for HTTP (draft-ietf-httpbis-resumable-upload), a dialect for each version.

A request names its version in `Upload-Draft-Interop-Version`. A request that names no version is
answered in the newest version, but without interim responses: "a server MUST NOT send" 104 (Upload
Resumption Supported) to a client that may take it for the final response, as many clients do.

Unlike in tus, an upload is complete when the client says so (`Upload-Complete: ?1`), and not when
its length is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from werkzeug.http import parse_options_header

from tus_wsgi.domain.commands import (
    Append,
    Command,
    Create,
    Discover,
    Download,
    Inspect,
    Outcome,
    Terminate,
)
from tus_wsgi.domain.descriptions import parse_media_type
from tus_wsgi.domain.errors import (
    CreationDisabled,
    LengthMismatch,
    MalformedField,
    MethodNotAllowed,
    TusError,
    UnsupportedMediaType,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Metadata, parse_upload_id
from tus_wsgi.protocol.fields import (
    MAX_METADATA,
    check_transfer_coding,
    parse_metadata,
)
from tus_wsgi.protocol.http import Interim, Reply, RequestHead, UrlOf, check_override
from tus_wsgi.protocol.rufh.drafts import DRAFTS, Draft, requested_interop
from tus_wsgi.protocol.rufh.render import Renderer
from tus_wsgi.protocol.structured import parse_boolean, parse_integer

MEDIA_TYPE = "application/partial-upload"

CREATION_METHODS = ("POST", "PUT", "PATCH")
"""The draft lets any method with content create an upload. Known clients use these."""

_INTEROPS = {draft.interop for draft in DRAFTS}


class Rufh:
    """The dialect of one interop version.

    Args:
        draft: the version.
        is_newest: whether requests that name no known version are handled by this dialect.
        max_size: bytes of the largest upload.
        downloads: whether GET returns the content of finished uploads.
        terminations: whether clients may terminate uploads, with DELETE or by an overrun.
        creations: whether clients may create uploads.
        deferred_lengths: whether clients may create uploads without declaring the length.
        now: returns the current time, in UTC.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        is_newest: bool,
        max_size: int,
        downloads: bool = True,
        terminations: bool = True,
        creations: bool = True,
        deferred_lengths: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = f"rufh{draft.interop}"
        self._draft = draft
        self._is_newest = is_newest
        self._max_size = max_size
        self._downloads = downloads
        self._base_methods = ("OPTIONS", *(CREATION_METHODS if creations else ()))
        self._deferred_lengths = deferred_lengths
        self._overrun_is_fatal = draft.overrun_is_fatal and terminations
        self._upload_methods = (
            *("OPTIONS", "HEAD", "PATCH"),
            *(("DELETE",) if terminations else ()),
            *(("GET",) if downloads or draft.has_progress_in_get else ()),
        )
        self._renderer = Renderer(draft, max_size=max_size, now=now)

    def speaks(self, head: RequestHead) -> bool:
        """Return whether the request names this version.

        The newest version also handles requests that name an unknown version or none, unless they
        are requests of tus.
        """
        if "Tus-Resumable" in head.fields:
            return False
        if requested_interop(head) in _INTEROPS:
            return self._draft.is_requested(head)
        # Unknown future versions are treated as the newest.
        return self._is_newest and self._speaks_without_version(head)

    def _speaks_without_version(self, head: RequestHead) -> bool:
        """Return whether a request that names no known version can be one of this protocol."""
        needs_no_field = ("HEAD", "DELETE", *(("GET",) if self._downloads else ()))
        if head.target is not None and head.method in needs_no_field:
            return True
        if self._draft.completeness_field in head.fields:
            return True
        return parse_media_type(head.fields.get("Content-Type") or "") == MEDIA_TYPE

    def parse(self, head: RequestHead) -> Command:
        """Parse the request into a command.

        Raises:
            RequestError: the request is malformed or uses a feature that is not offered.
        """
        allowed = self._base_methods if head.target is None else self._upload_methods
        check_override(head, allowed)
        if head.method == "OPTIONS":
            return Discover()
        if head.method not in allowed:
            is_creation = head.target is None and head.method in CREATION_METHODS
            error = CreationDisabled if is_creation else MethodNotAllowed
            raise error(head.method, allowed)
        check_transfer_coding(head.fields.get("Transfer-Encoding"))
        if head.target is None:
            return self._parse_create(head)
        if head.method == "PATCH":
            return self._parse_append(head, head.target)
        id = parse_upload_id(head.target)
        if head.method == "GET" and self._downloads:
            has_progress = self._draft.has_progress_in_get
            # A redirect would hide the progress fields from a client that requests this version.
            needs_progress = has_progress and self._draft.is_requested(head)
            return Download(id, or_inspect=has_progress, may_redirect=not needs_progress)
        self._check_no_append_fields(head)
        return Terminate(id) if head.method == "DELETE" else Inspect(id)

    def _parse_create(self, head: RequestHead) -> Create:
        completes = self._parse_completeness(head, default=None)
        length = self._parse_length(head)
        content_length = _parse_content_length(head)
        if completes and content_length is not None:
            if length is not None and length != content_length:
                raise LengthMismatch(f"{content_length}, the bytes of this request", length)
            length = content_length
        if length is None and not self._deferred_lengths:
            raise MalformedField("Upload-Length", "this server needs it to create an upload")
        if length is not None and length > self._max_size:
            raise UploadTooLarge(self._max_size, length)
        return Create(
            length=length,
            metadata=_parse_metadata(head),
            has_data=True,
            # If the only request has a length and completes the upload, the upload ends at its
            # length, as in tus.
            is_open=not completes or content_length is None,
            completes=completes,
        )

    def _parse_append(self, head: RequestHead, target: str) -> Append:
        offset = parse_integer(head.fields.get("Upload-Offset"))
        if offset is None:
            raise MalformedField("Upload-Offset", "it is missing, or not an integer")
        completes = self._parse_completeness(head, default=self._draft.default_completes)
        provided = head.fields.get("Content-Type")
        if self._draft.requires_append_type and parse_media_type(provided or "") != MEDIA_TYPE:
            raise UnsupportedMediaType(MEDIA_TYPE, provided)
        length = self._parse_length(head)
        content_length = _parse_content_length(head)
        if completes and content_length is not None:
            end = offset + content_length
            if length is not None and length != end:
                raise LengthMismatch(f"{end}, the end of this request", length)
            length = end
        return Append(
            parse_upload_id(target),
            offset,
            length,
            completes=completes,
            ends_at_length=False,
            overrun_is_fatal=self._overrun_is_fatal,
        )

    def _parse_completeness(self, head: RequestHead, *, default: bool | None) -> bool:
        """Return whether the request completes the upload, or `default` if it does not say so.

        Raises:
            MalformedField: the request does not say so, and `default` is None.
        """
        field = self._draft.completeness_field
        value = parse_boolean(head.fields.get(field))
        if value is None:
            if default is None:
                raise MalformedField(field, "it is missing, or neither ?0 nor ?1")
            return default
        # `Upload-Incomplete` has the opposite value.
        return value != self._draft.uses_upload_incomplete

    def _parse_length(self, head: RequestHead) -> int | None:
        # tus-js-client sends it in every version, even if the draft does not define it.
        return parse_integer(head.fields.get("Upload-Length"))

    def _check_no_append_fields(self, head: RequestHead) -> None:
        """Reject fields of an append. Up to -05: "The request MUST NOT include" them."""
        for field in ("Upload-Offset", self._draft.completeness_field):
            if self._draft.forbids_append_fields and field in head.fields:
                raise MalformedField(field, f"it is not allowed in a {head.method} request")

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """Render the reply to a request that succeeded."""
        return self._renderer.render_outcome(head, outcome, url_of)

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """Render the reply to a request that failed."""
        return self._renderer.render_error(head, error)

    def interim(self, head: RequestHead, url_of: UrlOf) -> Interim | None:
        """Return the renderer of 104 (Upload Resumption Supported); None to send none."""
        return self._renderer.interim(head, url_of)


def _parse_content_length(head: RequestHead) -> int | None:
    """Return the length of the request's content; None if it is unknown until the content ends."""
    if "Transfer-Encoding" in head.fields or head.has_unsized_body:
        return None
    return parse_integer(head.fields.get("Content-Length") or "0")


def _parse_metadata(head: RequestHead) -> Metadata:
    """Return the description of the content (R-21) under the keys that tus clients use.

    tus-js-client also sends `Upload-Metadata` in this dialect. A malformed field is rejected as in
    tus, because a description that is ignored without an error is lost.

    Raises:
        MalformedField: `Upload-Metadata` is malformed, or a field is too long.
    """
    pairs = dict(parse_metadata(head.fields.get("Upload-Metadata", "")).pairs)
    content_type = head.fields.get("Content-Type")
    if content_type and parse_media_type(content_type) not in (None, MEDIA_TYPE):
        pairs.setdefault("filetype", content_type.encode("latin-1", "replace"))
    disposition = head.fields.get("Content-Disposition")
    if disposition is not None and len(disposition) > MAX_METADATA:
        reason = f"expected at most {MAX_METADATA} bytes, got {len(disposition)}"
        raise MalformedField("Content-Disposition", reason)
    _type, options = parse_options_header(disposition)
    if options.get("filename"):
        pairs.setdefault("filename", options["filename"].encode("utf-8", "replace"))
    return Metadata(tuple(pairs.items()))
