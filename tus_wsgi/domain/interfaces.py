"""The interfaces between the service and the packages that do I/O.

The contract tests in `tests/stores` and `tests/lockers` run against every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from tus_wsgi.domain.answer import Answer, Rejection
from tus_wsgi.domain.checksums import Algorithm
from tus_wsgi.domain.commands import Content
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.hooks import StoredObject
from tus_wsgi.domain.model import TerminationReason, UploadId, UploadInfo


class BodyEnd(Enum):
    """Why a body ended."""

    COMPLETE = auto()
    """The whole body has been read."""
    DISCONNECTED = auto()
    """The client closed or reset the connection."""
    STALLED = auto()
    """The client sent nothing for `TUS_NETWORK_TIMEOUT`."""
    INTERRUPTED = auto()
    """Another request asked for the upload's lock."""
    DRAINING = auto()
    """The process is shutting down."""
    TOO_LONG = auto()
    """The body is longer than `Body.limit` allows. The surplus was not read."""
    MALFORMED = auto()
    """The chunked coding is broken."""


class Body(Protocol):
    """A request's body. **Reading it never raises**: a broken body ends early.

    Read until `readinto` returns 0, keep the bytes, and then check `end`. That way, a store
    handles a body that ends early like any other body.
    """

    @property
    def content_length(self) -> int | None:
        """The Content-Length; None for a chunked body."""

    @property
    def end(self) -> BodyEnd:
        """Why the body ended. Only valid after `readinto` has returned 0."""

    def limit(self, size: int) -> None:
        """Let `readinto` return at most `size` bytes in total. A longer body ends as `TOO_LONG`."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Read into the beginning of `buffer`. Blocks until at least one byte has arrived.

        Returns:
            the number of bytes read, at most `len(buffer)`; 0 if the body has ended.
        """

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body now, from any thread. The reader gets what has arrived, and then 0."""

    def is_interrupted(self) -> bool:
        """Return whether the reader must not wait for anything else, such as memory.

        True if the body was interrupted, or if the process is about to stop. Callable from any
        thread.
        """

    def trailers(self) -> Mapping[str, str]:
        """Return the trailer fields of a complete body, by lower-case names.

        Empty if there are none, or if the WSGI server does not pass them on.
        """


class BufferedBody(Body, Protocol):
    """A body that is received completely before it can be read."""

    def receive(self) -> BodyEnd:
        """Receive the whole body, and return why it ended. `readinto` reads from it afterwards.

        Raises:
            StoreUnavailable: the disk is full.
        """

    def digest(self, algorithm: Algorithm) -> bytes:
        """Return the digest of the received bytes."""


class BodyBuffer(Protocol):
    """Buffers bodies until their checksums are verified."""

    def __call__(self, body: Body, /) -> AbstractContextManager[BufferedBody]:
        """Buffer `body`. Leaving the context frees the buffer."""


AssertHeld = Callable[[], None]
"""Raises `LockLost` if the request has lost the lock. A store calls it before each write."""


class Upload(Protocol):
    """An upload in a store.

    The caller of a method that changes the upload must hold the upload's lock. Such a method calls
    `assert_held` before each write, and propagates its `LockLost`.
    """

    @property
    def info(self) -> UploadInfo:
        """The upload's info. Its offset is valid after `load_offset`, and in a finished upload."""

    @property
    def storage(self) -> Mapping[str, str]:
        """The location of the object, see `FinishedUpload.storage`."""

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        """Load the number of stored bytes into `info.offset`.

        Args:
            assert_held: see `AssertHeld`; None if the caller does not hold the lock. Then the store
                changes nothing.

        Raises:
            UploadGone: another program removed the stored bytes.
            InvalidPartial: a final upload names an upload that does not exist or is not a partial
                upload.
            StoreUnavailable: the store did not answer.
        """

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length of an upload that was created without a length, or is open.

        Args:
            length: the length, which the caller has checked.
            assert_held: see `AssertHeld`.
            is_open: whether the upload stays open, see `UploadInfo.is_open`.
        """

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record a later expiry. The caller decides when: see `tus_wsgi.domain.expiry`."""

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store the body at the end of the upload, and update `info.offset`.

        Args:
            body: read until it ends. It is limited to the bytes that the upload still lacks.
            assert_held: see `AssertHeld`.
            on_stored: called with the offset from time to time while the body is received.

        Raises:
            StoreUnavailable: not all bytes could be stored. The offset that `load_offset` loads
                afterwards is not lower than before (D-03).
        """

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the object of a full upload. Idempotent (D-05).

        Returns:
            whether this instance made the object, here or in `append`; False if the object existed.

        Raises:
            InvalidPartial: a partial upload of a final upload was removed meanwhile.
            UploadGone: another program removed the stored bytes.
            StoreUnavailable: the store did not answer. A retry is safe.
        """

    @property
    def stored_object(self) -> StoredObject:
        """The properties of the object, after `assemble`."""

    def finish(
        self, assert_held: AssertHeld, *, may_defer: bool, answer: Answer | None = None
    ) -> None:
        """Record that the object is complete, and that the application's hook has returned (D-06).

        Args:
            assert_held: see `AssertHeld`.
            answer: the result of the hook, which the same write records.
            may_defer: whether the store may omit the write of the record if the object alone shows
                that the upload is finished. Pass False if there is an `on_finish` hook: without
                this record, the next request would call the hook again.
        """

    def reject(self, rejection: Rejection, assert_held: AssertHeld) -> None:
        """Record that the application rejects the complete file. The object is not removed.

        Raises:
            StoreUnavailable: the decision may not be recorded. The next request calls the hook
                again.
        """

    def remove_rejected(self, assert_held: AssertHeld) -> None:
        """Remove the object of a rejected upload unless the application keeps it. Idempotent.

        Raises:
            StoreUnavailable: the object may still exist.
        """

    @property
    def is_cacheable(self) -> bool:
        """Whether the next request may use this instance instead of reading the store.

        True if its offset is up to date, more bytes are to follow, and it needs little memory.
        """

    def begin_termination(self, reason: TerminationReason, assert_held: AssertHeld) -> None:
        """Record that the upload is being removed, and remove its bytes; keep the record.

        Idempotent. Does nothing if the upload was never recorded.

        Raises:
            StoreUnavailable: not everything was removed. A retry is safe.
        """

    def terminate(self, assert_held: AssertHeld) -> None:
        """Remove everything that belongs to the upload.

        Raises:
            StoreUnavailable: not everything was removed. `Store.terminate` removes the rest.
        """

    def content(self) -> Content:
        """Return the bytes of an upload whose object is complete. Needs no lock.

        Raises:
            UploadIncomplete: the object does not exist yet.
            UploadGone: another program removed the object.
            StoreUnavailable: the store did not answer.
        """


class Store(Protocol):
    """Stores uploads."""

    @property
    def max_size(self) -> int:
        """The size of the largest upload that the store can hold."""

    def create(self, info: UploadInfo, *, record_now: bool) -> Upload:
        """Create an upload.

        Args:
            info: the new upload's info. `load_offset` adds the length of a final upload.
            record_now: whether every process can open the upload when this method returns. If
                False, only the returned instance can be used until `append`, `assemble` or `finish`
                has recorded the upload.

        Raises:
            UploadTooLarge: the store cannot hold an upload of this length.
            StoreUnavailable: the upload was not created.
        """

    def terminate(self, id: UploadId, assert_held: AssertHeld) -> None:
        """Remove the upload, or what an earlier removal has left.

        Raises:
            UploadNotFound: no upload has this id, or it was removed before.
            LockLost: another request holds the lock.
            StoreUnavailable: not everything was removed. A retry is safe.
        """

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Remove finished partial uploads without holding their locks.

        Raises:
            StoreUnavailable: some of the uploads were not removed.
        """

    def open(self, id: UploadId) -> Upload:
        """Return the upload with this id.

        Raises:
            UploadNotFound: no upload has this id.
            StoreUnavailable: the store did not answer.
        """


class Lock(Protocol):
    """The lock of an upload, held by a request."""

    @property
    def holder(self) -> Hashable | None:
        """Identifies this holder of the lock; None if the locker cannot tell holders apart.

        Holders in the same process may have equal values.
        """

    @property
    def previous_holder(self) -> Hashable | None:
        """The `holder` before this one, in any process; None if it is unknown."""

    def assert_held(self) -> None:
        """Raise `LockLost` if this request no longer holds the lock."""


class Locker(Protocol):
    """Lets one request at a time change an upload, across the workers that share the locker."""

    def lock(
        self, id: UploadId, *, on_release_request: Callable[[], None]
    ) -> AbstractContextManager[Lock]:
        """Acquire the upload's lock, and release it when the context is left.

        If another request holds the lock, that request is asked to release it. If the context is
        left with `UploadNotFound`, the locker keeps nothing for this id.

        Args:
            id: the upload.
            on_release_request: called when another request asks for the lock: from any thread, and
                possibly repeatedly. It must return at once.

        Raises:
            UploadLocked: on entering, if the holder did not release the lock in time.
            LockerUnavailable: on entering, if the lock service did not answer.
        """

    def last_holder(self, id: UploadId) -> Hashable | None:
        """Return the `Lock.previous_holder` that a request would get if it acquired the lock now.

        Only meaningful for a new upload that no other request knows yet. Never raises.
        """


class Observer(Protocol):
    """Receives events after the fact, for logs, metrics and traces.

    An observer may have an attribute `handles`: the classes of `tus_wsgi.domain.events` whose
    events it receives. Without this attribute, it receives every event except measurements.
    """

    def __call__(self, event: Event, /) -> None:
        """Handle an event. The request waits for this call. An exception is logged and ignored."""
