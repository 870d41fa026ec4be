"""A service over a store whose calls can fail, and requests in other threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, TypeVar

from tests.harness.clients.service import ServiceClient
from tus_wsgi.domain.answer import Answer
from tus_wsgi.domain.errors import StoreUnavailable, TusError
from tus_wsgi.domain.interfaces import AssertHeld, Body
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.stores.memory import MemoryStore, MemoryUpload

MAX_SIZE = 100
"""Bytes of the largest upload, unless a test says otherwise."""

TIMEOUT = 10.0
"""Seconds after which a test that waits for another thread fails."""

UNKNOWN_ID = UploadId("unknown")


E = TypeVar("E")


class Call(Enum):
    """The calls of a store and of an upload that can fail."""

    CREATE = auto()
    """`Store.create` without `record_now`."""
    CREATE_AND_RECORD = auto()
    """`Store.create` with `record_now`."""
    OPEN = auto()
    LOAD_OFFSET = auto()
    DECLARE_LENGTH = auto()
    APPEND = auto()
    """`Upload.append`, before the first byte is stored."""
    AFTER_APPEND = auto()
    """`Upload.append`, after the body is stored."""
    ASSEMBLE = auto()
    FINISH = auto()
    """`Upload.finish` without `may_defer`."""
    FINISH_MAY_DEFER = auto()
    """`Upload.finish` with `may_defer`."""
    TERMINATE = auto()


class FailingStore(MemoryStore):
    """A store in memory that records its calls, and fails on request.

    Attributes:
        calls: the calls, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self._errors: dict[Call, list[TusError]] = {}

    def fail(self, call: Call, *errors: TusError) -> None:
        """Let the next calls of this kind raise `errors`, one each; by default one error."""
        self._errors[call] = list(errors or [StoreUnavailable(call.name)])

    def record(self, call: Call) -> None:
        """Record a call, and raise its next error if there is one."""
        self.calls.append(call)
        if self._errors.get(call):
            raise self._errors[call].pop(0)

    def create(self, info: UploadInfo, *, record_now: bool) -> FailingUpload:
        self.record(Call.CREATE_AND_RECORD if record_now else Call.CREATE)
        super().create(info, record_now=record_now)
        return FailingUpload(self, info.id)

    def open(self, id: UploadId) -> FailingUpload:
        self.record(Call.OPEN)
        super().open(id)
        return FailingUpload(self, id)


class FailingUpload(MemoryUpload):
    """An upload of a `FailingStore`. Final uploads are not supported."""

    def __init__(self, store: FailingStore, id: UploadId) -> None:
        super().__init__(store._uploads, store._uploads[id])
        self._store = store

    def load_offset(self, assert_held: AssertHeld | None = None) -> None:
        self._store.record(Call.LOAD_OFFSET)

    def declare_length(
        self, length: int, assert_held: AssertHeld, *, is_open: bool = False
    ) -> None:
        self._store.record(Call.DECLARE_LENGTH)
        super().declare_length(length, assert_held, is_open=is_open)

    def append(
        self,
        body: Body,
        assert_held: AssertHeld,
        on_stored: Callable[[int], None] | None = None,
    ) -> None:
        self._store.record(Call.APPEND)
        super().append(body, assert_held, on_stored)
        self._store.record(Call.AFTER_APPEND)

    def assemble(self, assert_held: AssertHeld) -> bool:
        self._store.record(Call.ASSEMBLE)
        return super().assemble(assert_held)

    def finish(
        self, assert_held: AssertHeld, *, may_defer: bool, answer: Answer | None = None
    ) -> None:
        self._store.record(Call.FINISH_MAY_DEFER if may_defer else Call.FINISH)
        super().finish(assert_held, may_defer=may_defer, answer=answer)

    def terminate(self, assert_held: AssertHeld) -> None:
        self._store.record(Call.TERMINATE)
        super().terminate(assert_held)


class FailingServiceClient(ServiceClient):
    """A client of a service over a `FailingStore`.

    Args:
        options: see `ServiceClient`.
    """

    store: FailingStore

    def __init__(self, **options: Any) -> None:
        super().__init__(FailingStore(), **{"max_size": MAX_SIZE} | options)

    def stored_ids(self) -> list[UploadId]:
        """Return the ids of all uploads in the store."""
        return list(self.store._uploads)

    def stored_bytes(self, id: UploadId) -> bytes:
        """Return the bytes that the store holds of an upload, finished or not."""
        return bytes(self.store._uploads[id].content)

    def events_of(self, kind: type[E]) -> list[E]:
        """Return the events of one type, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def assert_unchanged(self, id: UploadId, *, offset: int, length: int | None) -> None:
        """Check that a refused request has changed neither the offset nor the length."""
        info = self.inspect(id)
        assert (info.offset, info.length) == (offset, length)


class BackgroundRequest:
    """A request in a thread of its own.

    Args:
        send: sends the request.
    """

    def __init__(self, send: Callable[[], object]) -> None:
        self._send = send
        self._error: TusError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._send()
        except TusError as error:
            self._error = error

    def wait(self) -> TusError | None:
        """Wait until the request ends, and return its error."""
        self._thread.join(TIMEOUT)
        assert not self._thread.is_alive(), "the request did not end"
        return self._error
