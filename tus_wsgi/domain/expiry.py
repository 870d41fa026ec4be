"""When an unfinished upload lapses. The clock is an argument, and nothing here does I/O.

The instant stands in the upload's record, so that everybody sees the same one: the request for the
upload, the `Upload-Expires` field, and `tus-wsgi sweep`. Lifetimes are in seconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tus_wsgi.domain.model import UploadInfo

SHARE_LEFT = 0.5
"""A request that writes moves the instant only if less than this share of the lifetime is left.

Moving it at each PATCH would cost one more write to the store for each, to be exact about a limit
that is somebody's guess. So after a PATCH at least half of the lifetime is left, and an upload
costs at most two more writes in a whole lifetime."""


def expiry(now: datetime, lifetime: float) -> datetime | None:
    """When an upload lapses that begins now; None for never, which a lifetime of 0 means.

    In whole seconds, rounded up: `Upload-Expires` cannot say more, and would promise too much.
    """
    if not lifetime:
        return None
    exact = now + timedelta(seconds=lifetime)
    return exact if not exact.microsecond else exact.replace(microsecond=0) + timedelta(seconds=1)


def extended_expiry(info: UploadInfo, now: datetime, lifetime: float) -> datetime | None:
    """When the upload lapses instead, after a request that wrote to it; None for no change.

    An upload that was begun when there was no lifetime (or by another server) gets its first one.
    """
    if not lifetime or info.is_full:
        return None
    if info.expires is not None and info.expires - now >= timedelta(seconds=lifetime * SHARE_LEFT):
        return None
    return expiry(now, lifetime)


def is_expired(info: UploadInfo, now: datetime) -> bool:
    """Whether the upload's time is over. `info.offset` must be certain.

    What is full never lapses, be it finished or not: its object is there, or is as good as there.
    """
    return info.expires is not None and not info.is_full and now >= info.expires
