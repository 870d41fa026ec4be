"""The interop versions of draft-ietf-httpbis-resumable-upload, as data.

A new version is a new row. Versions 4 and 7 were never deployed by a client that we know of.

| interop | draft     | who speaks it                                                  |
|---------|-----------|----------------------------------------------------------------|
| 3       | -01       | iOS 17, macOS 14; tusd                                         |
| 5       | -03       | iOS 18.0, macOS 15.0; tus-js-client `ietf-draft-03`; tusd      |
| 6       | -04, -05  | iOS 18.1+, macOS 15.1+; tus-js-client `ietf-draft-05`; tusd    |
| 8       | -09 - -11 |                                                                |
| 9       | -12       | the newest text that was read                                  |
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What one interop version asks for, where it differs from others.

    Attributes:
        interop: the number in `Upload-Draft-Interop-Version`.
        says_incomplete: the field is `Upload-Incomplete`, and means the opposite.
        unsaid_completes: what an append without that field means: True, it completes; False, it
            does not; None, it is refused.
        has_append_type: an append's Content-Type must be `application/partial-upload`.
        append_status: of an append that was taken.
        has_limits: there are `Upload-Length` and `Upload-Limit`.
        age_key: what `Upload-Limit` calls the seconds that are left.
        has_progress: interim responses may report the offset.
        has_problems: errors are explained by problem documents (RFC 9457).
        knows_completed: one of those is `completed-upload`.
        is_strict_on_head: HEAD and DELETE must not carry the fields of an append.
        overrun_is_fatal: an append past the upload's length makes an end of the upload.
        says_gone: an upload that is no more may be 410; before, it has to be 404.
        tells_at_get: GET tells how far an upload is, as HEAD does.
    """

    interop: int
    says_incomplete: bool = False
    unsaid_completes: bool | None = None
    has_append_type: bool = True
    append_status: int = 204
    has_limits: bool = True
    age_key: str = "max-age"
    has_progress: bool = True
    has_problems: bool = True
    knows_completed: bool = True
    is_strict_on_head: bool = False
    overrun_is_fatal: bool = True
    says_gone: bool = True
    tells_at_get: bool = False


DRAFTS = (
    Draft(interop=9, knows_completed=False, tells_at_get=True),
    Draft(interop=8),
    Draft(
        interop=6,
        unsaid_completes=False,
        append_status=201,
        age_key="expires",
        is_strict_on_head=True,
        overrun_is_fatal=False,
        says_gone=False,
    ),
    Draft(
        interop=5,
        unsaid_completes=False,
        has_append_type=False,
        append_status=201,
        has_limits=False,
        has_problems=False,
        is_strict_on_head=True,
        overrun_is_fatal=False,
        says_gone=False,
    ),
    Draft(
        interop=3,
        says_incomplete=True,
        unsaid_completes=True,
        has_append_type=False,
        append_status=201,
        has_limits=False,
        has_progress=False,
        has_problems=False,
        is_strict_on_head=True,
        overrun_is_fatal=False,
        says_gone=False,
    ),
)
"""Every version that is spoken here, the newest first."""
