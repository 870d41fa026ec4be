"""The events that observers receive after something has happened. An observer changes nothing.

Sizes and offsets are in bytes, times in seconds. A *measurement* is an event for metrics and
traces. It names no upload, and is made only if an observer asks for it: see `Observer`.
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


@dataclass(frozen=True, slots=True)
class RequestServed:
    """A request for uploads was answered. The bytes of a download may still follow.

    Attributes:
        method: the method, after X-HTTP-Method-Override was applied. It may be any text.
        protocol: `tus1`, or `rufh` and the interop version, such as `rufh8`.
        status: the status of the response.
        error: the name of the error's class; None if the request has succeeded.
        seconds: time from the head of the request to the head of the response.
    """

    method: str
    protocol: str
    status: int
    error: str | None
    seconds: float


@dataclass(frozen=True, slots=True)
class S3Called:
    """A call of S3 has ended, for the data of an upload or for a lock.

    Attributes:
        operation: the name of the operation, such as `UploadPart`.
        seconds: time that the call took, with all its attempts.
        outcome: `ok`, `no_response`, `invalid_response`, or the kind of S3's error response in
            lower case, such as `not_found` or `throttled`. See `tus_wsgi.domain.aws_errors`.
        is_failure: whether the outcome shows a fault. An object that does not exist and a condition
            that does not hold are no faults: a working service reports them too.
    """

    operation: str
    seconds: float
    outcome: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class HookCalled:
    """A hook of the application has returned or raised.

    Attributes:
        hook: the name of the hook, such as `on_finish`.
        seconds: time that the hook took.
        error: the name of the class of the exception; None if the hook has decided something, also
            by raising `Denied`, `Stop` or `Rejected`.
    """

    hook: str
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class BodyOpened:
    """The server begins to receive the body of a request."""


@dataclass(frozen=True, slots=True)
class BodyClosed:
    """The server receives no more bytes of a body.

    Attributes:
        cut_short: why the body ended early; None if it is complete, or was not read to its end
            because the request was refused.
    """

    cut_short: str | None


@dataclass(frozen=True, slots=True)
class MemoryUsed:
    """The memory for parts in transfer has changed by a sixteenth of its budget or more.

    Attributes:
        size: bytes in use.
    """

    size: int


LockEvent = LockAcquired | LockReleased | LockTimedOut | LockTakenOver | LeaseLost

UploadEvent = UploadCreated | BytesStored | UploadFinished | UploadRejected | UploadTerminated

Measurement = RequestServed | S3Called | HookCalled | BodyOpened | BodyClosed | MemoryUsed

Event = UploadEvent | RequestFailed | LockEvent | Measurement
