"""Queues of the requests of one process that want the same lock: first come, first served.

Lockers with a wider scope than the process queue their requests here first. Only the head of a
queue competes for the lock that other processes share.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tus_wsgi.domain.errors import LockLost, UploadLocked

_log = logging.getLogger(__name__)


class QueueEntry:
    """One request's entry in a queue.

    Args:
        on_release_request: called when another request wants the lock. It is never called after the
            release, because it could then interrupt the next request on the same connection.

    Attributes:
        ready: set when the entry is at the head of its queue.
    """

    def __init__(self, on_release_request: Callable[[], None]) -> None:
        self.ready = threading.Event()
        self._on_release_request = on_release_request
        self._held = False
        # A release waits for a callback in progress. Re-entrant, because the callback itself may
        # release the lock.
        self._callback_mutex = threading.RLock()

    def assert_held(self) -> None:
        """Raise `LockLost` unless this request holds the lock."""
        if not self._held:
            raise LockLost("the lock was released")

    def request_release(self) -> None:
        """Call `on_release_request` if this request holds the lock."""
        with self._callback_mutex:
            if not self._held:
                return
            try:
                self._on_release_request()
            except Exception:  # noqa: BLE001 - a bug of the holder must not affect the waiter
                _log.exception("on_release_request raised")

    def mark_held(self) -> None:
        """Record that this request holds the lock from now on."""
        self._held = True

    def mark_released(self) -> None:
        """Record that this request no longer holds the lock. No callback follows."""
        with self._callback_mutex:
            self._held = False


@dataclass(frozen=True, slots=True)
class HeldLock:
    """The lock of the request at the head of a queue. It implements `Lock`."""

    entry: QueueEntry
    holder: Hashable
    previous_holder: Hashable

    def assert_held(self) -> None:
        """Raise `LockLost` if the lock was released."""
        self.entry.assert_held()


class LockQueue:
    """The queues of one process, by key. A key without entries takes no memory.

    Call `wait`, `hold` and `leave` in this pattern:

        entry = QueueEntry(on_release_request)
        try:
            queue.wait(key, entry, timeout=5.0)
            with queue.hold(key, entry):
                ...
        finally:
            queue.leave(key, entry)
    """

    def __init__(self) -> None:
        # Held for a few steps only, and never during a callback or a wait.
        self._mutex = threading.Lock()
        # The leftmost entry of a queue is its head.
        self._queues: dict[Hashable, deque[QueueEntry]] = {}

    def __len__(self) -> int:
        """Return the number of keys that requests hold or wait for."""
        return len(self._queues)

    def wait(self, key: Hashable, entry: QueueEntry, *, timeout: float) -> None:
        """Join the queue, ask the holder to release the lock, and wait until the entry is the head.

        Args:
            key: identifies the lock.
            entry: a new entry. The caller must pass it to `leave`, even if this call raises.
            timeout: seconds.

        Raises:
            UploadLocked: the entry did not become the head in time.
        """
        with self._mutex:
            queue = self._queues.setdefault(key, deque())
            queue.append(entry)
            head = queue[0]
        if head is entry:
            return
        head.request_release()
        if not entry.ready.wait(timeout):
            raise UploadLocked

    @contextmanager
    def hold(self, key: Hashable, entry: QueueEntry) -> Iterator[None]:
        """Hold the lock of `key` until the block ends. The entry must be the head of its queue.

        If other entries joined before the lock was held, their requests to release it had no
        effect. So this method repeats the request.
        """
        try:
            with self._mutex:
                entry.mark_held()
                has_waiters = len(self._queues[key]) > 1
            if has_waiters:
                entry.request_release()
            yield
        finally:
            entry.mark_released()

    def leave(self, key: Hashable, entry: QueueEntry) -> None:
        """Remove the entry from any position of the queue, and admit the next head.

        If a waiter times out just as it becomes the head, this call admits the next one.
        """
        with self._mutex:
            queue = self._queues.get(key)
            if queue is None:
                return
            with suppress(ValueError):  # interrupted before it joined
                queue.remove(entry)
            if queue:
                queue[0].ready.set()
            else:
                del self._queues[key]
