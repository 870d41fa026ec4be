"""Locks within one process: for tests, and for development with a single worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.interfaces import Lock, Upload
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.cache import UploadCache
from tus_wsgi.lockers.queue import LockQueue, QueueEntry


class MemoryLocker:
    """Excludes the threads, or greenlets, of this process from each other, and nobody else.

    Waiting costs nothing: nobody polls.

    Args:
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._turns = LockQueue()
        self._memos = UploadCache()

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        ticket = QueueEntry(on_release_request)
        try:
            self._turns.wait(id, ticket, timeout=self._timeout)
            with (
                self._turns.hold(id, ticket),
                # All holders are in this process, and each takes away what is there.
                self._memos.handed_on(id, ticket, before=None, now=None),
            ):
                yield ticket
        finally:
            self._turns.leave(id, ticket)

    def entrust(self, upload: Upload) -> None:
        """Leave a memo of a new upload for whoever locks it first."""
        self._memos.leave(upload.info.id, None, upload)
