"""What S3 is to copy by itself, and why it may not be able to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes of an object.

    Attributes:
        key: of the object.
        etag: of the version of it that is meant.
        span: the offsets of the first byte and of the one behind the last; None for all of them.
    """

    key: str
    etag: str
    span: tuple[int, int] | None = None


class SourceGone(Exception):
    """What was to be copied is not there any more, or has become something else."""
