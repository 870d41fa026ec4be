"""Compute when an unfinished upload expires. No I/O; the current time is an argument.

The expiry is part of the upload's record, so that requests, the `Upload-Expires` field and
`tus-wsgi sweep` agree on it. Lifetimes are in seconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from tus_wsgi.domain.model import UploadInfo

EXTENSION_THRESHOLD = 0.5
"""A request extends the expiry only if less than this share of the lifetime is left.

Extending the expiry at every PATCH would cost a write to the store each time, only to make an
approximate limit precise. With this threshold, at least half of the lifetime is left after a PATCH,
and an upload costs at most two additional writes per lifetime."""


def expiry(now: datetime, lifetime: float) -> datetime | None:
    """Return when an upload that is created now expires; None for never, if the lifetime is 0.

    The time is rounded up to whole seconds, because `Upload-Expires` has no fractions.
    """
    if not lifetime:
        return None
    time = now + timedelta(seconds=lifetime)
    if time.microsecond:
        time = time.replace(microsecond=0) + timedelta(seconds=1)
    return time


def extended_expiry(info: UploadInfo, now: datetime, lifetime: float) -> datetime | None:
    """Return the new expiry of an upload that a request writes to; None to keep the old one.

    An upload that was created without a lifetime, or by another server, gets an expiry too.
    """
    if not lifetime or info.is_full:
        return None
    threshold = timedelta(seconds=lifetime * EXTENSION_THRESHOLD)
    if info.expires is not None and info.expires - now >= threshold:
        return None
    return expiry(now, lifetime)


def is_expired(info: UploadInfo, now: datetime) -> bool:
    """Return whether the upload has expired. `info.offset` must be up to date.

    A full upload never expires, finished or not: the server can finish it without the client.
    """
    return info.expires is not None and not info.is_full and now >= info.expires
