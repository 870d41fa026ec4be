"""Bring the ETags of S3 objects into a form that can be compared and sent."""

from __future__ import annotations


def strip_weakness(etag: str) -> str:
    """Return the ETag without the prefix `W/`.

    S3's ETags are strong, but a proxy that compresses responses marks them as weak (`W/"abc"`). A
    weak ETag never satisfies `If-Match` (RFC 9110, 13.1.1), and differs from the same ETag in an
    XML document.
    """
    return etag.removeprefix("W/")
