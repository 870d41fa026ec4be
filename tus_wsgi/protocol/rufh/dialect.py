"""Resumable uploads for HTTP (draft-ietf-httpbis-resumable-upload), one dialect for each version.

Requests name their version in `Upload-Draft-Interop-Version`; those that name none are answered as
in the newest version, but never with an interim response: "a server MUST NOT send" 104 (Upload
Resumption Supported) to a client that may take it for the final one, and many do.

Unlike in tus, an upload is complete when the client says so (`Upload-Complete: ?1`), and not when
its length is reached.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from werkzeug.http import parse_options_header

from tus_wsgi.domain.commands import (
    Append,
    Appended,
    Command,
    Create,
    Created,
    Discover,
    Discovered,
    Download,
    Downloadable,
    Inspect,
    Inspected,
    Outcome,
    Terminate,
    Terminated,
)
from tus_wsgi.domain.errors import (
    LengthMismatch,
    MalformedField,
    MethodNotAllowed,
    TusError,
    UnsupportedMediaType,
    UploadTooLarge,
)
from tus_wsgi.domain.model import Metadata, UploadInfo, parse_upload_id
from tus_wsgi.protocol.download import reply_to_get
from tus_wsgi.protocol.fields import (
    MAX_METADATA,
    build_integer,
    check_transfer_coding,
    parse_media_type,
    parse_metadata,
)
from tus_wsgi.protocol.http import Interim, Reply, RequestHead, UrlOf
from tus_wsgi.protocol.rufh.drafts import DRAFTS, Draft
from tus_wsgi.protocol.rufh.errors import reply_to_error
from tus_wsgi.protocol.structured import (
    build_boolean,
    build_dictionary,
    parse_boolean,
    parse_integer,
)

MEDIA_TYPE = "application/partial-upload"

VERSION_FIELD = "Upload-Draft-Interop-Version"

_INTEROPS = {draft.interop for draft in DRAFTS}

CREATION_METHODS = ("POST", "PUT", "PATCH")
"""The draft lets any method with content create an upload. These are what clients use."""


class Rufh:
    """The dialect of one interop version.

    Args:
        draft: what the version asks for.
        is_newest: whether requests that name no version are spoken to in this one.
        max_size: bytes of the largest upload.
        downloads: whether GET gives out the content of finished uploads.
        terminations: whether DELETE cancels uploads.
        now: the time, in UTC.
    """

    def __init__(
        self,
        draft: Draft,
        *,
        is_newest: bool,
        max_size: int,
        downloads: bool = True,
        terminations: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._draft = draft
        self._is_newest = is_newest
        self._max_size = max_size
        self._downloads = downloads
        self._upload_methods = (
            *("OPTIONS", "HEAD", "PATCH"),
            *(("DELETE",) if terminations else ()),
            *(("GET",) if downloads or draft.tells_at_get else ()),
        )
        self._now = now
        self._completeness = "Upload-Incomplete" if draft.says_incomplete else "Upload-Complete"

    def speaks(self, head: RequestHead) -> bool:
        """Whether the request names this version; or none of `DRAFTS`, and is no request of tus."""
        if "Tus-Resumable" in head.fields:
            return False
        if _version(head) in _INTEROPS:
            return self._is_named(head)
        # Also to who names a version of tomorrow: it is an upload all the same.
        is_bare = head.target is not None and head.method in ("HEAD", "DELETE")
        return self._is_newest and (is_bare or self._completeness in head.fields)

    def parse(self, head: RequestHead) -> Command:
        """What the request asks for.

        Raises:
            RequestError: it cannot be understood, or asks for something that is not there.
        """
        if head.method == "OPTIONS":
            return Discover()
        allowed = ("OPTIONS", *CREATION_METHODS) if head.target is None else self._upload_methods
        if head.method not in allowed:
            raise MethodNotAllowed(head.method, allowed)
        check_transfer_coding(head.fields.get("Transfer-Encoding"))
        if head.target is None:
            return self._parse_create(head)
        if head.method == "PATCH":
            return self._parse_append(head, head.target)
        id = parse_upload_id(head.target)
        if head.method == "GET" and self._downloads:
            return Download(id, or_inspect=self._draft.tells_at_get)
        self._check_plain(head)
        return Terminate(id) if head.method == "DELETE" else Inspect(id)

    def _parse_create(self, head: RequestHead) -> Create:
        completes = self._parse_completes(head, unsaid=None)
        length = self._parse_length(head)
        content_length = _content_length(head)
        if completes and content_length is not None:
            if length not in (None, content_length):
                raise LengthMismatch(f"{content_length}, the bytes of this request", length or 0)
            length = content_length
        if length is not None and length > self._max_size:
            raise UploadTooLarge(self._max_size, length)
        return Create(
            length=length,
            metadata=_describe(head),
            has_data=True,
            # With its length known from a request that completes it, it ends as one of tus does.
            is_open=not completes or content_length is None,
            completes=completes,
        )

    def _parse_append(self, head: RequestHead, target: str) -> Append:
        offset = parse_integer(head.fields.get("Upload-Offset"))
        if offset is None:
            raise MalformedField("Upload-Offset", "it is missing, or no integer")
        completes = self._parse_completes(head, unsaid=self._draft.unsaid_completes)
        provided = head.fields.get("Content-Type")
        if self._draft.has_append_type and parse_media_type(provided or "") != MEDIA_TYPE:
            raise UnsupportedMediaType(MEDIA_TYPE, provided)
        length = self._parse_length(head)
        content_length = _content_length(head)
        if completes and content_length is not None:
            if length not in (None, offset + content_length):
                raise LengthMismatch(f"{offset + content_length}, the end of this", length or 0)
            length = offset + content_length
        return Append(
            parse_upload_id(target),
            offset,
            length,
            completes=completes,
            ends_at_length=False,
            overrun_is_fatal=self._draft.overrun_is_fatal,
        )

    def _parse_completes(self, head: RequestHead, *, unsaid: bool | None) -> bool:
        value = parse_boolean(head.fields.get(self._completeness))
        if value is None:
            if unsaid is None:
                raise MalformedField(self._completeness, "it is missing, or neither ?0 nor ?1")
            return unsaid
        return value != self._draft.says_incomplete

    def _parse_length(self, head: RequestHead) -> int | None:
        # tus-js-client sends it in every version, also where the draft does not have it yet.
        return parse_integer(head.fields.get("Upload-Length"))

    def _check_plain(self, head: RequestHead) -> None:
        """Up to -05: "The request MUST NOT include" what belongs to an append."""
        for field in ("Upload-Offset", self._completeness):
            if self._draft.is_strict_on_head and field in head.fields:
                raise MalformedField(field, f"it has no place in a {head.method}")

    def render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """The words for what came of it."""
        return self._finish(head, self._render(head, outcome, url_of))

    def _render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        match outcome:
            case Discovered(max_size=size):
                limit = build_dictionary([("max-size", size), ("min-size", 0)])
                return Reply(204, [("Upload-Limit", limit)])
            case Inspected(info):
                fields = [*self._progress(info), *self._lengths(info)]
                return Reply(204, [*fields, ("Cache-Control", "no-store")])
            case Created(info):
                location = ("Location", url_of(info.id))
                return Reply(201, [location, *self._progress(info), *self._limits(info)])
            case Appended(info):
                return Reply(self._draft.append_status, self._progress(info))
            case Terminated():
                return Reply(204)
            case Downloadable(info):
                reply = reply_to_get(head, outcome)
                told = [*self._progress(info), *self._lengths(info)]
                fields = [*reply.fields, *(told if self._draft.tells_at_get else [])]
                return replace(reply, fields=fields)
            case _:
                assert_never(outcome)

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """The words for what went wrong."""
        reply = reply_to_error(self._draft, head, error, self._max_size)
        fields = reply.fields
        if head.method == "PATCH" or head.target is None:
            fields = [*fields, self._complete(value=False)]
        return self._finish(head, replace(reply, fields=fields))

    def interim(self, head: RequestHead, url_of: UrlOf) -> Interim | None:
        """A 104 (Upload Resumption Supported): where the upload is, or how far it has come.

        Only to who names this version. Before the first byte it has the Location, afterwards the
        offset, which the client takes for safe: it has to be.
        """
        creates = head.target is None
        if not self._is_named(head) or not (creates or self._draft.has_progress):
            return None
        version = (VERSION_FIELD, build_integer(self._draft.interop))

        def render(info: UploadInfo) -> Reply | None:
            if info.offset == 0 and creates:
                return Reply(104, [version, ("Location", url_of(info.id)), *self._limits(info)])
            if not self._draft.has_progress:
                return None
            return Reply(104, [version, ("Upload-Offset", build_integer(info.offset))])

        return render

    def _is_named(self, head: RequestHead) -> bool:
        return _version(head) == self._draft.interop

    def _progress(self, info: UploadInfo) -> list[tuple[str, str]]:
        # tus-js-client needs the offset in every answer, though no draft since -06 asks for it.
        offset = ("Upload-Offset", build_integer(info.offset))
        return [offset, self._complete(value=info.is_full)]

    def _complete(self, *, value: bool) -> tuple[str, str]:
        return self._completeness, build_boolean(value != self._draft.says_incomplete)

    def _lengths(self, info: UploadInfo) -> list[tuple[str, str]]:
        if not self._draft.has_limits:
            return []
        length = [] if info.length is None else [("Upload-Length", build_integer(info.length))]
        return [*length, *self._limits(info)]

    def _limits(self, info: UploadInfo) -> list[tuple[str, str]]:
        if not self._draft.has_limits:
            return []
        members = [("max-size", self._max_size), ("min-size", 0)]
        if info.expires is not None and not info.is_full:
            left = max(0, int((info.expires - self._now()).total_seconds()))
            members.append((self._draft.age_key, left))
        return [("Upload-Limit", build_dictionary(members))]

    def _finish(self, head: RequestHead, reply: Reply) -> Reply:
        fields = [("X-Content-Type-Options", "nosniff"), *reply.fields]
        if self._is_named(head):
            fields.insert(0, (VERSION_FIELD, build_integer(self._draft.interop)))
        bodyless = reply.status in (204, 304) or head.method == "HEAD"
        if not bodyless and reply.content is None:
            fields.append(("Content-Length", build_integer(len(reply.body))))
        return replace(reply, fields=fields)


def _version(head: RequestHead) -> int | None:
    return parse_integer(head.fields.get(VERSION_FIELD))


def _content_length(head: RequestHead) -> int | None:
    """Bytes of the request's content; None when it is chunked."""
    if "Transfer-Encoding" in head.fields:
        return None
    return parse_integer(head.fields.get("Content-Length") or "0")


def _describe(head: RequestHead) -> Metadata:
    """What the request says of its content (R-21), in the words of tus.

    tus-js-client sends `Upload-Metadata` here as well, and what guards an application may add to
    it. So one that cannot be read is refused as in tus, and not left out.

    Raises:
        MalformedField: the `Upload-Metadata` cannot be read, or a field is too long.
    """
    pairs = dict(parse_metadata(head.fields.get("Upload-Metadata", "")).pairs)
    content_type = head.fields.get("Content-Type")
    if content_type and parse_media_type(content_type) not in (None, MEDIA_TYPE):
        pairs.setdefault("filetype", content_type.encode("latin-1", "replace"))
    disposition = head.fields.get("Content-Disposition")
    if disposition is not None and len(disposition) > MAX_METADATA:
        reason = f"expected at most {MAX_METADATA} bytes, got {len(disposition)}"
        raise MalformedField("Content-Disposition", reason)
    _kind, options = parse_options_header(disposition)
    if options.get("filename"):
        pairs.setdefault("filename", options["filename"].encode("utf-8", "replace"))
    return Metadata(tuple(pairs.items()))
