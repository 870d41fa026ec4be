"""What the service needs of the world, as protocols. Adapters implement them; nothing else does.

Contract suites in `tests/stores` and `tests/lockers` prove each implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from tus_wsgi.domain.checksums import Algorithm
from tus_wsgi.domain.commands import Content
from tus_wsgi.domain.events import Event
from tus_wsgi.domain.model import UploadId, UploadInfo


class BodyEnd(Enum):
    """Why a body ended."""

    COMPLETE = auto()
    """Every byte that was announced has been read."""
    DISCONNECTED = auto()
    """The client closed or reset the connection."""
    STALLED = auto()
    """The client sent nothing for the whole network timeout."""
    INTERRUPTED = auto()
    """A newer request asked for the upload."""
    DRAINING = auto()
    """The process is shutting down."""
    TOO_LONG = auto()
    """There is more than `limit()` allowed. The surplus was not handed out."""
    MALFORMED = auto()
    """The transfer coding is broken."""


class Body(Protocol):
    """A request's body. It **ends, and never fails**: read until 0, keep what came, then ask why.

    So a store has one path, not a happy one and a sad one.
    """

    @property
    def content_length(self) -> int | None:
        """Bytes that the request announced; None when it did not (chunked)."""

    @property
    def end(self) -> BodyEnd:
        """Why the body ended. To be asked only after `readinto` has returned 0."""

    def limit(self, size: int) -> None:
        """Hand out at most `size` bytes; a body with more of them ends as `TOO_LONG`."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer` from its start, blocking for at least one byte; 0 when the body has ended.

        Returns:
            how many bytes were written, at most `len(buffer)`.
        """

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body now, from any thread: the reader gets what has arrived, and then 0."""

    def trailers(self) -> Mapping[str, str]:
        """The fields that followed a complete body, by lower-case names.

        Empty where there were none, and where the server keeps them to itself.
        """


class BufferedBody(Body, Protocol):
    """A body that is not handed on before all of it is here."""

    def receive(self) -> BodyEnd:
        """Read all of it, and say why it ended. Then `readinto` hands it on.

        Raises:
            StoreUnavailable: there is no room for it.
        """

    def digest(self, algorithm: Algorithm) -> bytes:
        """The checksum of all that was received."""


class BodyBuffer(Protocol):
    """Where bodies wait for their checksums to be found right."""

    def __call__(self, body: Body, /) -> AbstractContextManager[BufferedBody]:
        """Hold a body back. Leaving the context frees what it takes."""


AssertHeld = Callable[[], None]
"""Raises `LockLost` when an upload's lock has passed on. A store calls it before each write."""


class Upload(Protocol):
    """One upload in a store. Every method but `info` must be called under the upload's lock.

    Those that write take `assert_held`, and raise what it raises.
    """

    @property
    def info(self) -> UploadInfo:
        """What is known of it. The offset is certain only after `load_offset`, or when finished."""

    @property
    def storage(self) -> Mapping[str, str]:
        """Where the object is, in the store's own terms."""

    def load_offset(self) -> None:
        """Find out how many bytes are stored.

        Raises:
            UploadGone: its bytes were removed behind our back.
            PartialUnusable: a final one names an upload that is not there, or is no partial one.
            StoreUnavailable: the store did not answer.
        """

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        """Record the length of an upload that was begun without one, or that was open.

        Args:
            length: the caller has checked it.
            assert_held: see above.
            is_open: whether more may follow all the same.
        """

    def extend_expiry(self, expires: datetime, assert_held: AssertHeld) -> None:
        """Record a later instant at which the upload lapses. The caller decided that it is due."""

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        """Store the body at the end, as much of it as comes. `info.offset` tells how much that was.

        Args:
            body: read until it ends. It hands out no more than what is missing.
            assert_held: see above.
            on_stored: told the offset that is stored for good, now and then while the body comes.

        Raises:
            StoreUnavailable: something could not be stored. What `load_offset` finds afterwards is
                at least what it found before.
        """

    def assemble(self, assert_held: AssertHeld) -> bool:
        """Make the object out of a full upload. Doing it twice is doing it once.

        Returns:
            whether this very instance made it, here or in `append`; False when it was found made.

        Raises:
            PartialUnusable: one of a final upload's partial ones was removed meanwhile.
            UploadGone: its bytes were removed behind our back.
            StoreUnavailable: the store did not answer; try again.
        """

    def finish(self, assert_held: AssertHeld, *, may_defer: bool) -> None:
        """Record that the object is whole and the application knows.

        Args:
            assert_held: see above.
            lazily: leave it to whoever looks next, if the store can see by itself that the object
                is whole. It saves a write; but the application would be told again.
        """

    @property
    def is_cacheable(self) -> bool:
        """Whether the next request may continue with this object instead of reading the store.

        It knows all that `load_offset` would find, more bytes are to come, and it is small.
        """

    def terminate(self, assert_held: AssertHeld) -> None:
        """Remove everything that belongs to the upload; the record of it last.

        Raises:
            StoreUnavailable: something is left; the upload can still be found and terminated.
        """

    def content(self) -> Content:
        """The bytes of an upload whose object is whole. It needs no lock.

        Raises:
            UploadUnfinished: it is not.
            UploadGone: the object was removed behind our back.
            StoreUnavailable: the store did not answer.
        """


class Store(Protocol):
    """Where uploads live."""

    @property
    def max_size(self) -> int:
        """Bytes of the largest upload that can be stored, whatever its parts."""

    def create(self, info: UploadInfo, *, record_now: bool) -> Upload:
        """Begin an upload.

        Args:
            info: what is known of it. A final upload's length becomes known when it is measured.
            at_once: when this returns, any process finds the upload. Otherwise its bytes follow in
                this very request, and it is found once `append`, `assemble` or `finish` returns.

        Raises:
            UploadTooLarge: no upload of this length can be stored.
            StoreUnavailable: nothing was begun.
        """

    def discard(self, ids: Iterable[UploadId]) -> None:
        """Remove uploads that nobody is to change any more, without their locks.

        Raises:
            StoreUnavailable: some of them are left.
        """

    def open(self, id: UploadId) -> Upload:
        """The upload of this id.

        Raises:
            UploadNotFound: there is none.
            StoreUnavailable: the store did not answer.
        """


class Lock(Protocol):
    """The right to change one upload, for now."""

    @property
    def holder(self) -> Hashable | None:
        """Identifies this holder for the next one; None if the locker cannot tell holders apart.

        Holders of the same process may have equal values.
        """

    @property
    def previous_holder(self) -> Hashable | None:
        """The `holder` of the lock before this one, in any process; None if that is not known."""

    def assert_held(self) -> None:
        """Raise `LockLost` unless the lock is still ours."""


class Locker(Protocol):
    """Who may change an upload: one request at a time, over all workers and hosts it covers."""

    def lock(
        self, id: UploadId, *, on_release_request: Callable[[], None]
    ) -> AbstractContextManager[Lock]:
        """Wait for the upload, asking its holder to let go.

        Args:
            id: the upload.
            on_release_request: called, from any thread and perhaps repeatedly, when somebody else
                wants the lock. It must return at once.

        Raises:
            UploadLocked: on entering, when the holder did not let go in time.
            LockerUnavailable: on entering, when it cannot be known who holds the lock.
        """

    def last_holder(self, id: UploadId) -> Hashable | None:
        """Return what a request that acquired the lock now would see as its previous holder.

        Only meaningful for a new upload that no other request knows yet. Never fails.
        """


class Observer(Protocol):
    """Somebody who is told what happened, and can neither refuse nor delay it."""

    def __call__(self, event: Event, /) -> None:
        """Take note. Raising is a bug in the observer: it is logged and forgotten."""
