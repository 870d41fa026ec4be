"""The errors of uploads. They carry facts and no HTTP statuses.

Each dialect in `tus_wsgi.protocol` has one table from these classes to statuses, because the
protocols answer the same error differently: with a bare 409, or with a 409 and a problem document.

    TusError
    ├── RequestError               the client's mistake; the upload is unchanged
    │   ├── MalformedField             a header field is missing or malformed
    │   ├── LengthRequired             the server cannot tell where the body ends
    │   ├── UnsupportedVersion         the server does not support the protocol version
    │   ├── UnsupportedMediaType       the body has the wrong Content-Type
    │   ├── MethodNotAllowed           the resource does not support the method
    │   │   ├── CreationDisabled           only the application creates uploads
    │   │   └── OverrideRefused            the method must not be overridden by another
    │   ├── UploadNotFound             no upload has the id
    │   ├── UploadGone                 the upload has expired or was removed
    │   ├── UploadIncomplete           the file of an unfinished upload was requested
    │   ├── OffsetMismatch             the request's offset differs from the upload's offset
    │   ├── LengthMismatch             the request's length contradicts the upload
    │   ├── UploadTooLarge             more bytes than the server accepts
    │   │   └── LengthExceeded             more bytes than the upload's length
    │   │       └── UploadComplete             bytes for an upload that is complete
    │   ├── ChecksumMismatch           the body does not have the checksum that was sent with it
    │   ├── UploadFinal                bytes for a final upload, which accepts none
    │   ├── InvalidPartial             an upload cannot be part of a concatenation
    │   └── Denied                     a hook of the application refuses the request
    │       └── UploadRejected             `on_finish` has rejected the file for good
    ├── UploadLocked               another request did not release the upload's lock in time
    ├── BodyIncomplete             the body ended early; the received bytes are stored
    │   ├── ClientDisconnected         the client closed the connection
    │   ├── BodyTimedOut               the client sent nothing for too long
    │   ├── BodyInterrupted            another request for the upload took over
    │   ├── BodyDraining               the server is shutting down
    │   └── BodyMalformed              the body's chunked coding is broken
    └── Unavailable                a fault of the server; the client may retry
        ├── StoreUnavailable           the store failed
        ├── LockerUnavailable          the lock service failed
        ├── LockLost                   the request has lost the upload's lock
        └── HookFailed                 a hook of the application raised
            ├── InvalidPlan                `on_create` returned a plan that cannot be used
            └── OnFinishFailed             the hook is `on_finish`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tus_wsgi.domain.response_fields import NO_FIELDS, checked_fields


class TusError(Exception):
    """The base class of all errors that this package raises on purpose."""


class RequestError(TusError):
    """The client made a mistake. The upload is unchanged."""


class MalformedField(RequestError):
    """A header field is missing, or does not follow its grammar.

    Attributes:
        field: the field's name, as its specification writes it.
        reason: what is wrong, and what a client has to send instead.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class LengthRequired(RequestError):
    """The server cannot tell where the body ends, because there is no Content-Length."""

    def __init__(self) -> None:
        super().__init__(
            "Content-Length: this server needs it to find the end of the body; nothing was stored"
        )


class UnsupportedVersion(RequestError):
    """The server does not support the request's protocol version.

    Attributes:
        provided: the version in the request; None if the request names none.
    """

    def __init__(self, provided: str | None) -> None:
        super().__init__(f"unsupported protocol version, got {provided!r}")
        self.provided = provided


class UnsupportedMediaType(RequestError):
    """The body has the wrong Content-Type.

    Attributes:
        expected: the Content-Type that the server accepts.
        provided: the Content-Type in the request; None if the request names none.
    """

    def __init__(self, expected: str, provided: str | None) -> None:
        super().__init__(f"expected a body of type {expected}, got {provided!r}")
        self.expected = expected
        self.provided = provided


class MethodNotAllowed(RequestError):
    """The resource does not support the request's method.

    Attributes:
        method: the request's method.
        allowed: the methods that the resource supports.
    """

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"expected one of {', '.join(allowed)}, got {method!r}")
        self.method = method
        self.allowed = allowed


class CreationDisabled(MethodNotAllowed):
    """Only the application creates uploads; clients can only continue them."""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(method, allowed)
        self.args = ("clients cannot create uploads here; the application creates them",)


class OverrideRefused(MethodNotAllowed):
    """X-HTTP-Method-Override must not replace the request's method."""

    def __init__(self, method: str, override: str, allowed: tuple[str, ...]) -> None:
        super().__init__(method, allowed)
        self.args = (f"X-HTTP-Method-Override: {override[:20]!r} must not replace {method!r} here",)


class UploadNotFound(RequestError):
    """No upload has the id. Clients cannot tell this from an upload that they may not access."""

    def __init__(self) -> None:
        super().__init__("no such upload")


class UploadGone(RequestError):
    """The upload existed, and can never be resumed.

    Attributes:
        reason: why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UploadIncomplete(RequestError):
    """The file of an upload was requested before the upload was finished."""

    def __init__(self) -> None:
        super().__init__("the upload is not finished yet")


class OffsetMismatch(RequestError):
    """The request's offset differs from the upload's offset.

    Attributes:
        expected: the upload's offset.
        provided: the request's offset.
    """

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(f"the upload's offset is {expected}, got {provided}")
        self.expected = expected
        self.provided = provided


class LengthMismatch(RequestError):
    """The request's length contradicts the upload.

    Attributes:
        expected: the lengths that are possible, in words.
        provided: the request's length.
    """

    def __init__(self, expected: str, provided: int) -> None:
        super().__init__(f"expected a length of {expected}, got {provided}")
        self.expected = expected
        self.provided = provided


class UploadTooLarge(RequestError):
    """The request declares or sends more bytes than the server accepts.

    Attributes:
        limit: the largest size that the server accepts.
        provided: the size in the request; None if a body without a Content-Length was too long.
    """

    def __init__(self, limit: int, provided: int | None) -> None:
        got = "more" if provided is None else str(provided)
        super().__init__(f"at most {limit} bytes are accepted, got {got}")
        self.limit = limit
        self.provided = provided


class LengthExceeded(UploadTooLarge):
    """The body exceeds the upload's length, which is `limit`."""


class UploadComplete(LengthExceeded):
    """The upload has all its `limit` bytes, and accepts no more."""


class ChecksumMismatch(RequestError):
    """The body does not have the checksum that was sent with it. None of it is stored.

    Attributes:
        algorithm: the checksum's algorithm.
    """

    def __init__(self, algorithm: str) -> None:
        super().__init__(f"the body has another {algorithm} checksum; nothing was stored")
        self.algorithm = algorithm


class UploadFinal(RequestError):
    """The upload is a final upload, which accepts no bytes: it consists of its partial uploads."""

    def __init__(self) -> None:
        super().__init__("a final upload consists of its partial uploads and accepts no data")


class InvalidPartial(RequestError):
    """A final upload cannot be made of the partial uploads that it names.

    Attributes:
        reason: which of them is invalid, and why.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Denied(RequestError):
    """The application refuses the request. A hook raises this error.

    Args:
        status: the status of the response, from 400 to 499.
        sentence: the body of the response, for the client's developer; empty for a default.
        fields: fields of the response, such as `WWW-Authenticate`.

    Raises:
        ValueError: the status is not from 400 to 499, or a field cannot be sent.
    """

    def __init__(
        self, status: int = 403, sentence: str = "", *, fields: Mapping[str, str] = NO_FIELDS
    ) -> None:
        if not 400 <= status <= 499:
            raise ValueError(f"expected a status from 400 to 499, got {status!r}")
        super().__init__(sentence or "the application refuses this request")
        self.status = int(status)
        self.fields = checked_fields(fields)


class UploadRejected(Denied):
    """The application's `on_finish` hook has rejected the complete file for good.

    Attributes:
        length: the length of the file; None if it is unknown.
    """

    length: int | None = None


class UploadLocked(TusError):
    """Another request holds the upload's lock and did not release it in time.

    Attributes:
        retry_after: seconds after which the client may retry.
    """

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__(f"another request holds the upload's lock; retry in {retry_after} s")
        self.retry_after = retry_after


class BodyIncomplete(TusError):
    """The body ended early.

    Attributes:
        offset: bytes of the upload that are stored.
        reason: why the body ended.
    """

    reason = "the request body ended early"

    def __init__(self, offset: int) -> None:
        super().__init__(f"{self.reason}; {offset} bytes are stored")
        self.offset = offset


class ClientDisconnected(BodyIncomplete):
    """The client closed or reset the connection."""

    reason = "the connection was lost"


class BodyTimedOut(BodyIncomplete):
    """The client sent nothing for `TUS_NETWORK_TIMEOUT`, or was slower than `TUS_MIN_RATE`."""

    reason = "no data or too little data arrived for too long"


class BodyInterrupted(BodyIncomplete):
    """Another request asked for the upload's lock."""

    reason = "another request took this upload over"


class BodyDraining(BodyIncomplete):
    """The process is shutting down. The client may resume at another process."""

    reason = "the server is restarting"


class BodyMalformed(BodyIncomplete):
    """The body's chunked coding is broken. The rest of the connection cannot be parsed."""

    reason = "the body's chunked coding is broken"


class Unavailable(TusError):
    """The server failed. Acknowledged bytes are safe, and the client may retry."""


class StoreUnavailable(Unavailable):
    """The store failed. The exception that it raised is the cause.

    Attributes:
        operation: the call that failed.
        full: whether it failed because the disk is full.
        key: the object's key, if any. The key contains the upload's id, which is a secret. The
            message of the cause may contain the id too.
    """

    def __init__(self, operation: str, *, full: bool = False, key: str | None = None) -> None:
        super().__init__(f"the store failed at {operation}")
        self.operation = operation
        self.full = full
        self.key = key

    @property
    def brief(self) -> str:
        """The message and the class of the cause, without any key, so that it may be logged."""
        cause = self.__cause__
        return str(self) if cause is None else f"{self} ({type(cause).__name__})"


class LockerUnavailable(Unavailable):
    """The lock service failed. The exception that it raised is the cause.

    Attributes:
        operation: the call that failed.
    """

    def __init__(self, operation: str) -> None:
        super().__init__(f"the lock service failed at {operation}")
        self.operation = operation


class LockLost(Unavailable):
    """The request has lost the upload's lock, and must not change or clean up the upload (D-10).

    Attributes:
        reason: how the lock was lost.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class HookFailed(Unavailable):
    """A hook of the application raised, or returned an invalid value. Its exception is the cause.

    Attributes:
        hook: the name of the hook.
        id: the upload that the hook got; None for none. The exception's message may contain it.
    """

    def __init__(self, hook: str, id: str | None = None) -> None:
        super().__init__(f"the application's {hook} hook raised")
        self.hook = hook
        self.id = id


class InvalidPlan(HookFailed):
    """The application's `on_create` hook returned a plan that cannot be used. Nothing was created.

    Attributes:
        mistakes: a sentence for each invalid value, without ids and values of the client.
    """

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("on_create")
        self.mistakes = tuple(mistakes)
        self.args = (f"on_create returned an invalid plan: {'; '.join(mistakes)}",)


class OnFinishFailed(HookFailed):
    """The application's `on_finish` hook raised. The next request for the upload calls it again.

    The upload exists with all its bytes, so a client that has just created it needs its URL.

    Attributes:
        length: the upload's length.
    """

    id: str

    def __init__(self, id: str, length: int) -> None:
        super().__init__("on_finish", id)
        self.length = length
