"""Render replies and interim responses in one interop version of the IETF draft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import assert_never

from tus_wsgi.domain.commands import (
    Appended,
    Created,
    Discovered,
    Downloadable,
    Inspected,
    Outcome,
    Terminated,
)
from tus_wsgi.domain.errors import TusError
from tus_wsgi.domain.model import UploadInfo
from tus_wsgi.protocol.answers import with_answer
from tus_wsgi.protocol.download import render_download
from tus_wsgi.protocol.fields import build_integer
from tus_wsgi.protocol.http import Interim, Reply, RequestHead, UrlOf, with_common_fields
from tus_wsgi.protocol.rufh import errors
from tus_wsgi.protocol.rufh.drafts import VERSION_FIELD, Draft
from tus_wsgi.protocol.structured import build_boolean, build_dictionary


class Renderer:
    """Renders the outcomes and errors of one interop version.

    Args:
        draft: the version.
        max_size: bytes of the largest upload.
        now: returns the current time, in UTC.
    """

    def __init__(self, draft: Draft, *, max_size: int, now: Callable[[], datetime]) -> None:
        self._draft = draft
        self._max_size = max_size
        self._now = now
        self._version = (VERSION_FIELD, build_integer(draft.interop))

    def render_outcome(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        """Render the status and the fields of an outcome."""
        return self._with_version(head, self._render(head, outcome, url_of))

    def _render(self, head: RequestHead, outcome: Outcome, url_of: UrlOf) -> Reply:
        match outcome:
            case Discovered(max_size=size):
                limit = build_dictionary([("max-size", size), ("min-size", 0)])
                return Reply(204, [("Upload-Limit", limit)])
            case Inspected(info):
                fields = [*self._progress(info), *self._lengths(info)]
                reply = Reply(204, [*fields, ("Cache-Control", "no-store")])
                return with_answer(reply, info, has_body=False)
            case Created(info, fields=added):
                location = ("Location", url_of(info.id))
                fields = [location, *self._progress(info), *self._limits(info), *added.items()]
                return with_answer(Reply(201, fields, exposed=tuple(added)), info, has_body=True)
            case Appended(info):
                reply = Reply(self._draft.append_status, self._progress(info))
                return with_answer(reply, info, has_body=True)
            case Terminated():
                return Reply(204)
            case Downloadable(info):
                reply = render_download(head, outcome)
                has_progress = self._draft.has_progress_in_get
                progress = [*self._progress(info), *self._lengths(info)] if has_progress else []
                return replace(reply, fields=[*reply.fields, *progress])
            case _:
                assert_never(outcome)

    def render_error(self, head: RequestHead, error: TusError) -> Reply:
        """Render the status, the fields that let a client resume, and a problem document."""
        reply = errors.render_error(self._draft, head, error, self._max_size)
        fields = reply.fields
        if head.method == "PATCH" or head.target is None:
            fields = [*fields, self._completeness(is_complete=False)]
        return self._with_version(head, replace(reply, fields=fields))

    def interim(self, head: RequestHead, url_of: UrlOf) -> Interim | None:
        """Return the renderer of 104 (Upload Resumption Supported) responses.

        None if the request does not name this version, or if no response could contain anything.
        Before the first byte of a new upload, a response contains the Location; afterwards, it
        contains the offset. The client relies on the offset, so all bytes before it must be stored.
        """
        creates = head.target is None
        has_offset = self._draft.has_interim_offset
        has_content = creates or has_offset
        if not has_content or not self._draft.is_requested(head):
            return None

        def render(info: UploadInfo) -> Reply | None:
            if info.offset == 0 and creates:
                location = ("Location", url_of(info.id))
                return Reply(104, [self._version, location, *self._limits(info)])
            if not has_offset:
                return None
            return Reply(104, [self._version, ("Upload-Offset", build_integer(info.offset))])

        return render

    def _progress(self, info: UploadInfo) -> list[tuple[str, str]]:
        # tus-js-client needs the offset in every reply, though drafts since -06 do not require it.
        offset = ("Upload-Offset", build_integer(info.offset))
        return [offset, self._completeness(is_complete=info.is_full)]

    def _completeness(self, *, is_complete: bool) -> tuple[str, str]:
        # `Upload-Incomplete` has the opposite value.
        value = is_complete != self._draft.uses_upload_incomplete
        return self._draft.completeness_field, build_boolean(value)

    def _lengths(self, info: UploadInfo) -> list[tuple[str, str]]:
        if not self._draft.has_limits:
            return []
        length = [] if info.length is None else [("Upload-Length", build_integer(info.length))]
        return [*length, *self._limits(info)]

    def _limits(self, info: UploadInfo) -> list[tuple[str, str]]:
        if not self._draft.has_limits:
            return []
        members = [("max-size", info.plan.cap(self._max_size)), ("min-size", 0)]
        if info.expires is not None and not info.is_full:
            seconds_left = max(0, int((info.expires - self._now()).total_seconds()))
            members.append((self._draft.age_key, seconds_left))
        return [("Upload-Limit", build_dictionary(members))]

    def _with_version(self, head: RequestHead, reply: Reply) -> Reply:
        version = [self._version] if self._draft.is_requested(head) else []
        return with_common_fields(head, reply, *version)
