"""Locks within one process, for tests and for development with a single worker."""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.queue import HeldLock, LockQueue, QueueEntry

MAX_RECORDED_HOLDERS = 1024
"""Maximum locks whose last holder is recorded; the least recently held are evicted first."""


class MemoryLocker:
    """Exclude the threads or greenlets of one process from each other.

    Waiters block on an event; there is no polling.

    Args:
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._queue = LockQueue()
        self._mutex = threading.Lock()
        self._numbers = itertools.count()
        self._holders: OrderedDict[UploadId, int] = OrderedDict()

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        entry = QueueEntry(on_release_request)
        try:
            self._queue.wait(id, entry, timeout=self._timeout)
            with self._queue.hold(id, entry):
                yield self._held_lock(id, entry)
        finally:
            self._queue.leave(id, entry)

    def last_holder(self, id: UploadId) -> int:
        """Return what the next holder gets as `previous_holder`; record it if there is none yet."""
        with self._mutex:
            if id not in self._holders:
                self._record_holder(id)
            return self._holders[id]

    def _held_lock(self, id: UploadId, entry: QueueEntry) -> HeldLock:
        with self._mutex:
            previous = self._holders.pop(id, None)
            return HeldLock(entry, self._record_holder(id), previous)

    def _record_holder(self, id: UploadId) -> int:
        holder = next(self._numbers)
        self._holders[id] = holder
        if len(self._holders) > MAX_RECORDED_HOLDERS:
            self._holders.popitem(last=False)
        return holder
