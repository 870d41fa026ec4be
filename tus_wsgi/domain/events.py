"""The events that observers receive after something has happened. An observer changes nothing.

Sizes and offsets are in bytes, times in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from tus_wsgi.domain.model import UploadId


@dataclass(frozen=True, slots=True)
class UploadCreated:
    """An upload was created.

    Attributes:
        id: the upload.
        length: the upload's length; None if the client declares it later.
    """

    id: UploadId
    length: int | None


@dataclass(frozen=True, slots=True)
class BytesStored:
    """A request has appended its body to an upload.

    Attributes:
        id: the upload.
        offset: the upload's offset after the request.
        count: bytes that the request has stored.
        seconds: time that receiving and storing the body took.
        cut_short: why the body ended early; None if it is complete.
    """

    id: UploadId
    offset: int
    count: int
    seconds: float
    cut_short: str | None


@dataclass(frozen=True, slots=True)
class UploadFinished:
    """An upload was finished: its object is complete, and `on_finish` has returned."""

    id: UploadId
    length: int


@dataclass(frozen=True, slots=True)
class UploadRejected:
    """The application's `on_finish` hook has rejected a complete file for good.

    Attributes:
        id: the upload.
        status: the status that the client gets.
    """

    id: UploadId
    status: int


@dataclass(frozen=True, slots=True)
class UploadTerminated:
    """An upload was removed with everything that belongs to it."""

    id: UploadId


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request failed because of the server. The client does not see `error`."""

    id: UploadId | None
    error: BaseException


@dataclass(frozen=True, slots=True)
class LockAcquired:
    """A request has acquired the upload's lock after waiting for `seconds`."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockReleased:
    """A request has released the upload's lock after holding it for `seconds`."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockTimedOut:
    """A request waited for `seconds`, but the holder of the upload's lock did not release it."""

    id: UploadId
    seconds: float


@dataclass(frozen=True, slots=True)
class LockTakenOver:
    """A request has taken the upload's lock over from a holder that sent no heartbeat.

    Attributes:
        id: the upload.
        fence: the lock's new fence, which increases with every holder.
    """

    id: UploadId
    fence: int


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """A request has lost the upload's lock, and ends.

    Attributes:
        id: the upload.
        reason: how the lock was lost.
    """

    id: UploadId
    reason: str


LockEvent = LockAcquired | LockReleased | LockTimedOut | LockTakenOver | LeaseLost

UploadEvent = UploadCreated | BytesStored | UploadFinished | UploadRejected | UploadTerminated

Event = UploadEvent | RequestFailed | LockEvent
