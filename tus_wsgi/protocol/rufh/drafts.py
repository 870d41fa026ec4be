"""The interop versions of draft-ietf-httpbis-resumable-upload, as data.

A new version is a new entry. Versions 4 and 7 are missing, because no known client uses them.

| interop | draft     | used by                                                        |
|---------|-----------|----------------------------------------------------------------|
| 3       | -01       | iOS 17, macOS 14; tusd                                         |
| 5       | -03       | iOS 18.0, macOS 15.0; tus-js-client `ietf-draft-03`; tusd      |
| 6       | -04, -05  | iOS 18.1+, macOS 15.1+; tus-js-client `ietf-draft-05`; tusd    |
| 8       | -09 - -11 |                                                                |
| 9       | -12       | the newest text at the time of writing                         |
"""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.protocol.http import RequestHead
from tus_wsgi.protocol.structured import parse_integer

VERSION_FIELD = "Upload-Draft-Interop-Version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An interop version, described by what differs from other versions.

    Attributes:
        interop: the number in `Upload-Draft-Interop-Version`.
        uses_upload_incomplete: `Upload-Incomplete`, with the opposite meaning, replaces
            `Upload-Complete`.
        default_completes: the meaning of an append without that field: True, it completes the
            upload; False, it does not; None, it is rejected.
        requires_append_type: the Content-Type of an append must be `application/partial-upload`.
        append_status: the status of an append that succeeded.
        has_limits: the draft defines `Upload-Length` and `Upload-Limit`.
        age_key: the key in `Upload-Limit` for the seconds until the upload expires.
        has_interim_offset: interim responses may report the offset.
        has_problems: errors are described by problem documents (RFC 9457).
        has_completed_problem: `completed-upload` is one of the problem types.
        forbids_append_fields: HEAD and DELETE must not contain the fields of an append.
        overrun_is_fatal: an append beyond the length of the upload terminates the upload.
        has_gone_status: the status for a deleted upload may be 410; otherwise it must be 404.
        has_progress_in_get: the reply to a GET contains the same progress fields as that to a HEAD.
    """

    interop: int
    uses_upload_incomplete: bool = False
    default_completes: bool | None = None
    requires_append_type: bool = True
    append_status: int = 204
    has_limits: bool = True
    age_key: str = "max-age"
    has_interim_offset: bool = True
    has_problems: bool = True
    has_completed_problem: bool = True
    forbids_append_fields: bool = False
    overrun_is_fatal: bool = True
    has_gone_status: bool = True
    has_progress_in_get: bool = False

    @property
    def completeness_field(self) -> str:
        """The field that says whether a request completes the upload."""
        return "Upload-Incomplete" if self.uses_upload_incomplete else "Upload-Complete"

    def is_requested(self, head: RequestHead) -> bool:
        """Return whether the request names this version."""
        return requested_interop(head) == self.interop


def requested_interop(head: RequestHead) -> int | None:
    """Return the interop version that the request names; None if it names none."""
    return parse_integer(head.fields.get(VERSION_FIELD))


DRAFTS = (
    Draft(interop=9, has_completed_problem=False, has_progress_in_get=True),
    Draft(interop=8),
    Draft(
        interop=6,
        default_completes=False,
        append_status=201,
        age_key="expires",
        forbids_append_fields=True,
        overrun_is_fatal=False,
        has_gone_status=False,
    ),
    Draft(
        interop=5,
        default_completes=False,
        requires_append_type=False,
        append_status=201,
        has_limits=False,
        has_problems=False,
        forbids_append_fields=True,
        overrun_is_fatal=False,
        has_gone_status=False,
    ),
    Draft(
        interop=3,
        uses_upload_incomplete=True,
        default_completes=True,
        requires_append_type=False,
        append_status=201,
        has_limits=False,
        has_interim_offset=False,
        has_problems=False,
        forbids_append_fields=True,
        overrun_is_fatal=False,
        has_gone_status=False,
    ),
)
"""Every supported version, newest first."""
