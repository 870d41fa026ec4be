"""Facts that observers are told, after they have become true. An observer can change nothing.

Sizes and offsets are in bytes, times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.domain.model import UploadId


@dataclass(frozen=True, slots=True)
class UploadCreated:
    """An upload exists from now on. `length` is None when the client will say it later."""

    id: UploadId
    length: int | None


@dataclass(frozen=True, slots=True)
class BytesStored:
    """A request ended with `count` more bytes stored, up to `offset`.

    `cut_short` is None when the whole body came, else why it ended early.
    """

    id: UploadId
    offset: int
    count: int
    seconds: float
    cut_short: str | None


@dataclass(frozen=True, slots=True)
class UploadFinished:
    """The object is whole, and the application's `on_finish` has returned."""

    id: UploadId
    length: int


@dataclass(frozen=True, slots=True)
class UploadTerminated:
    """The upload and everything that it held are gone."""

    id: UploadId


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request ended in a fault on our side. `error` is never shown to the client."""

    id: UploadId | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class LockAcquired:
    """A request has the upload's lock, after waiting `seconds` for it."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockReleased:
    """A request has given the upload's lock back, `seconds` after it got it."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockTimedOut:
    """A request waited `seconds` for the upload's lock, and its holder did not let go."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockTakenOver:
    """A request took the upload's lock from a holder that had fallen silent.

    `fence` is the lock's new number: it has risen with each of its holders.
    """

    id: UploadId
    fence: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """A request no longer has the lock that it works under, and is ended. `reason` says why."""

    id: UploadId
    reason: str


LockEvent = LockAcquired | LockReleased | LockTimedOut | LockTakenOver | LeaseLost

Event = UploadCreated | BytesStored | UploadFinished | UploadTerminated | RequestFailed | LockEvent
