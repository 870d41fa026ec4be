"""What can go wrong with an upload, as facts and never as HTTP statuses.

Each dialect in `tus_wsgi.protocol` owns one table from these classes to statuses, so that one
mistake can be a bare 409 in one protocol and a 409 with a problem document in the other.

    TusError
    ├── RequestError               the client's mistake: nothing was changed
    │   ├── MalformedField             a header field that cannot be read
    │   ├── UnsupportedVersion         a protocol version that is not spoken here
    │   ├── UnsupportedMediaType       a body of the wrong type
    │   ├── MethodNotAllowed           a method that this resource does not have
    │   ├── UploadNotFound             no upload has this id
    │   ├── UploadGone                 there was one, and it cannot be continued
    │   ├── UploadUnfinished           its content was asked for too early
    │   ├── OffsetMismatch             the client and the server disagree about what is stored
    │   ├── LengthMismatch             a length that contradicts an earlier one
    │   ├── UploadTooLarge             more bytes than the server takes
    │   │   └── LengthExceeded             more bytes than the upload is to have
    │   │       └── UploadComplete             it has them all, and they are final
    │   ├── ChecksumMismatch           the bytes that came are not those that were meant
    │   ├── UploadFinal                its bytes are those of others: it takes none of its own
    │   └── PartialUnusable            a final upload names one that it cannot be made of
    ├── UploadLocked               somebody else is at it and did not let go in time
    ├── BodyCutShort               the body ended early: what came is stored
    │   ├── BodyDisconnected           the client went away
    │   ├── BodyStalled                the client stayed, and stayed silent
    │   ├── BodyInterrupted            a newer request took the upload over
    │   ├── BodyDraining               this server is shutting down
    │   └── BodyMalformed              the framing of the body was broken
    └── Unavailable                a fault on our side: try again
        ├── StoreUnavailable           the store failed
        ├── LockerUnavailable          the service where locks live failed
        ├── LockLost                   the lock passed to somebody else meanwhile
        └── FinishRefused              the application's `on_finish` raised
"""

from __future__ import annotations


class TusError(Exception):
    """Everything that this package raises on purpose."""


class RequestError(TusError):
    """The client's mistake. The upload is exactly as it was before."""


class MalformedField(RequestError):
    """A header field that is missing, or that does not follow its grammar.

    Attributes:
        field: the field's name, as its specification writes it.
        reason: what is wrong with it, in words that a client's developer can act on.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class UnsupportedVersion(RequestError):
    """`provided` is no protocol version that is spoken here; None when none was named."""

    def __init__(self, provided: str | None) -> None:
        super().__init__(f"unsupported protocol version, got {provided!r}")
        self.provided = provided


class UnsupportedMediaType(RequestError):
    """The body must be of type `expected`; `provided` is None when no type was named."""

    def __init__(self, expected: str, provided: str | None) -> None:
        super().__init__(f"expected a body of type {expected}, got {provided!r}")
        self.expected = expected
        self.provided = provided


class MethodNotAllowed(RequestError):
    """The resource has the methods `allowed`, and `method` is none of them."""

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"expected one of {', '.join(allowed)}, got {method!r}")
        self.method = method
        self.allowed = allowed


class UploadNotFound(RequestError):
    """No upload has this id, as far as anybody can tell from outside."""

    def __init__(self) -> None:
        super().__init__("no such upload")


class UploadGone(RequestError):
    """The upload existed and can never be continued; `reason` says why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UploadIncomplete(RequestError):
    """The content was asked for before the last byte of it had arrived."""

    def __init__(self) -> None:
        super().__init__("the upload is not finished yet")


class OffsetMismatch(RequestError):
    """`expected` bytes are stored, and the client wanted to go on at `provided`."""

    def __init__(self, expected: int, provided: int) -> None:
        super().__init__(f"the upload's offset is {expected}, got {provided}")
        self.expected = expected
        self.provided = provided


class LengthMismatch(RequestError):
    """The length `provided` cannot be: `expected` says what it would have to be."""

    def __init__(self, expected: str, provided: int) -> None:
        super().__init__(f"expected a length of {expected}, got {provided}")
        self.expected = expected
        self.provided = provided


class UploadTooLarge(RequestError):
    """At most `limit` bytes fit. `provided` is None when the body never said how long it is."""

    def __init__(self, limit: int, provided: int | None) -> None:
        got = "more" if provided is None else str(provided)
        super().__init__(f"at most {limit} bytes are accepted, got {got}")
        self.limit = limit
        self.provided = provided


class LengthExceeded(UploadTooLarge):
    """At most `limit` bytes fit, because the upload's own length says so."""


class UploadComplete(LengthExceeded):
    """The upload is finished with its `limit` bytes, and there is no going on from there."""


class ChecksumMismatch(RequestError):
    """What came has another checksum, by `algorithm`, than the client said. None of it is kept."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(f"the {algorithm} checksum is another one; nothing of it is stored")
        self.algorithm = algorithm


class UploadFinal(RequestError):
    """The upload is made of others, and takes no bytes of its own."""

    def __init__(self) -> None:
        super().__init__("a final upload is made of its partial ones and takes no data itself")


class InvalidPartial(RequestError):
    """A final upload cannot be made of what it names: `reason` says of what, and why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UploadLocked(TusError):
    """Another request holds the upload and did not let go. Try again in `retry_after` seconds."""

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__("another request is using this upload")
        self.retry_after = retry_after


class BodyIncomplete(TusError):
    """The body ended before it should have. `offset` bytes of the upload are stored for good."""

    why = "the request body ended early"

    def __init__(self, offset: int) -> None:
        super().__init__(f"{self.why}; {offset} bytes are stored")
        self.offset = offset


class ClientDisconnected(BodyIncomplete):
    """The client closed or reset the connection."""

    why = "the connection was lost"


class BodyTimedOut(BodyIncomplete):
    """Nothing arrived for as long as `TUS_NETWORK_TIMEOUT` allows."""

    why = "no data arrived for too long"


class BodyInterrupted(BodyIncomplete):
    """A newer request for the same upload asked for its lock."""

    why = "another request took this upload over"


class BodyDraining(BodyIncomplete):
    """This process was asked to stop; another one goes on."""

    why = "the server is restarting"


class BodyMalformed(BodyIncomplete):
    """The transfer coding was broken, so nothing after this point can be trusted."""

    why = "the body's chunked framing is broken"


class Unavailable(TusError):
    """A fault on our side. Nothing that was acknowledged is lost: try again."""


class StoreUnavailable(Unavailable):
    """The store failed at `operation`; the exception it came from is the cause.

    Attributes:
        full: whether it is for want of room.
        key: the object in question. It has the upload's id in it, and so may the cause's text have.
    """

    def __init__(self, operation: str, *, full: bool = False, key: str | None = None) -> None:
        super().__init__(f"the store failed at {operation}")
        self.operation = operation
        self.full = full
        self.key = key

    @property
    def brief(self) -> str:
        """What failed and the kind of its cause, in words that give no key away."""
        cause = self.__cause__
        return str(self) if cause is None else f"{self} ({type(cause).__name__})"


class LockerUnavailable(Unavailable):
    """The service where locks live failed at `operation`; the cause says how."""

    def __init__(self, operation: str) -> None:
        super().__init__(f"the service where locks live failed at {operation}")
        self.operation = operation


class LockLost(Unavailable):
    """The lock is no longer ours, so nothing more may be written under it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OnFinishFailed(Unavailable):
    """The application's `on_finish` raised: it runs again at the next request for the upload.

    The upload `id` exists, with all its `length` bytes: who has just begun it has to learn that.
    """

    def __init__(self, id: str, length: int) -> None:
        super().__init__("the application's on_finish raised")
        self.id = id
        self.length = length
