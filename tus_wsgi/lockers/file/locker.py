"""Locks for all processes of one host: the default locker.

Each upload has two kernel locks:

- the **upload lock** (its `lock_id`): its holder may change the upload;
- the **waiter lock** (its `waiter_id`): the next request holds it until it gets the upload lock.
  The holder checks the waiter locks of all its uploads every 100 ms. If another process holds one,
  that is the request to release the upload lock.

Every request acquires the waiter lock before the upload lock. Otherwise a busy process could keep
acquiring the upload lock before a waiting process does. The kernel releases both locks when a
process dies, so no lock is ever stale and nothing needs cleaning up. No call here blocks: waiters
sleep briefly and try again, because under gevent a blocking call stops all requests of the worker.
"""

from __future__ import annotations

import functools
import logging
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.file.flock import FlockLocks
from tus_wsgi.lockers.file.holders import HolderFile
from tus_wsgi.lockers.file.ofd import ID_LIMIT, AdvisoryLocks, OfdLocks, OpenLocks, probe
from tus_wsgi.lockers.queue import HeldLock, LockQueue, QueueEntry

_log = logging.getLogger(__name__)

RETRY_INTERVAL = 0.02
"""Seconds between two attempts to acquire a lock that another process holds."""

POLL_INTERVAL = 0.1
"""Seconds between two checks of the waiter locks."""

REPEAT_INTERVAL = 1.0
"""Seconds after which a holder that did not release its lock is asked again."""

# Lock ids are in the lower half of all ids and waiter ids in the upper half, so that one call to
# the kernel checks many waiter locks.
_WAITER_OFFSET = ID_LIMIT // 2


class FileLocker:
    """Exclude all processes of this host, and the threads within each process, from each other.

    The locker may be created before a fork (gunicorn's `preload_app`): every process opens the lock
    files when it first needs them.

    Args:
        directory: contains the lock files; created if it is missing. All processes must use the
            same directory.
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
        open_locks: the kind of kernel locks; by default the best kind of this platform.

    Raises:
        InvalidLockDirectory: locks would not work in `directory`, or other users can write to it.
    """

    def __init__(
        self, directory: Path, *, timeout: float, open_locks: OpenLocks | None = None
    ) -> None:
        if open_locks is None:
            open_locks = OfdLocks if sys.platform == "linux" else FlockLocks
        # Raise for an unsuitable directory now. The files are opened again when they are needed.
        probe(open_locks, directory)
        HolderFile(directory).close()
        self._timeout = timeout
        self._open: Callable[[], AdvisoryLocks] = functools.partial(open_locks, directory)
        self._directory = directory
        self._process = _Process(self._open, directory)
        os.register_at_fork(after_in_child=functools.partial(_reset_after_fork, weakref.ref(self)))

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        deadline = time.monotonic() + self._timeout
        process = self._process
        # The queue is keyed by the lock id, not by the upload id: if two uploads have the same lock
        # id they exclude each other, which the kernel would not do for two threads of one process.
        lock_id = lock_id_of(id)
        entry = QueueEntry(on_release_request)
        try:
            process.queue.wait(lock_id, entry, timeout=self._timeout)
            with (
                process.acquire(lock_id, deadline),
                process.queue.hold(lock_id, entry),
                process.watch(lock_id, entry),
            ):
                yield process.held_lock(lock_id, entry)
        finally:
            process.queue.leave(lock_id, entry)

    def last_holder(self, id: UploadId) -> bytes | None:
        """Return what the next holder gets as `previous_holder`."""
        return self._process.last_holder(lock_id_of(id))

    def reset(self) -> None:
        """Replace the state of the parent process in the child of a fork."""
        parent, self._process = self._process, _Process(self._open, self._directory)
        parent.close()


def lock_id_of(id: UploadId) -> int:
    """Return the id of the upload's lock."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest()) % _WAITER_OFFSET


def waiter_id_of(lock_id: int) -> int:
    """Return the id of the lock that the next holder of `lock_id` holds while it waits."""
    return lock_id + _WAITER_OFFSET


def _reset_after_fork(reference: weakref.ref[FileLocker]) -> None:
    """Drop the parent's locks, threads and descriptors in the child of a fork.

    An inherited descriptor is the same open file description: the child could release the parent's
    locks, and would keep them held after the parent's death.
    """
    locker = reference()
    if locker is not None:
        locker.reset()


class _Process:
    """The state of one process: its queues, its kernel locks and its watcher."""

    def __init__(self, open_locks: Callable[[], AdvisoryLocks], directory: Path) -> None:
        self._directory = directory
        self.queue = LockQueue()
        self._open = open_locks
        self._mutex = threading.Lock()
        self._resources: _Resources | None = None

    @contextmanager
    def acquire(self, lock_id: int, deadline: float) -> Iterator[None]:
        """Hold the lock among all processes until the block ends.

        Args:
            lock_id: the lock.
            deadline: an instant of the monotonic clock.

        Raises:
            UploadLocked: another process did not release the lock in time.
        """
        locks = self._opened().locks
        try:
            try:
                _acquire(locks, waiter_id_of(lock_id), deadline)
                _acquire(locks, lock_id, deadline)
            finally:
                locks.release(waiter_id_of(lock_id))
            yield
        finally:
            locks.release(lock_id)

    @contextmanager
    def watch(self, lock_id: int, entry: QueueEntry) -> Iterator[None]:
        """Ask `entry` to release the lock when another process waits for it."""
        watcher = self._opened().watcher
        try:
            watcher.add(waiter_id_of(lock_id), entry)
            yield
        finally:
            watcher.remove(waiter_id_of(lock_id))

    def held_lock(self, lock_id: int, entry: QueueEntry) -> HeldLock:
        """Record this holder, and return the lock with the previous holder."""
        previous, holder = self._opened().holders.replace(lock_id)
        return HeldLock(entry, holder, previous)

    def last_holder(self, lock_id: int) -> bytes | None:
        """Return the recorded holder of the lock; None if it cannot be read."""
        try:
            return self._opened().holders.read(lock_id)
        except OSError:
            return None

    def close(self) -> None:
        if self._resources is not None:
            self._resources.locks.close()
            self._resources.holders.close()

    def _opened(self) -> _Resources:
        with self._mutex:
            if self._resources is None:
                locks = self._open()
                self._resources = _Resources(locks, _Watcher(locks), HolderFile(self._directory))
            return self._resources


@dataclass(frozen=True, slots=True)
class _Resources:
    """The files and the watcher of a process. They are opened when they are first needed."""

    locks: AdvisoryLocks
    watcher: _Watcher
    holders: HolderFile


def _acquire(locks: AdvisoryLocks, lock_id: int, deadline: float) -> None:
    while not locks.try_acquire(lock_id):
        left = deadline - time.monotonic()
        if left <= 0:
            raise UploadLocked
        time.sleep(min(RETRY_INTERVAL, left))


class _Watcher:
    """Pass release requests of other processes to the holders in this process.

    The thread runs while locks are held.
    """

    def __init__(self, locks: AdvisoryLocks) -> None:
        self._locks = locks
        self._mutex = threading.Lock()
        self._entries: dict[int, QueueEntry] = {}
        self._running = False

    def add(self, waiter_id: int, entry: QueueEntry) -> None:
        with self._mutex:
            self._entries[waiter_id] = entry
            must_start = not self._running
            self._running = True
        if must_start:
            # Outside of the mutex: under gevent, starting a thread switches to other greenlets.
            try:
                threading.Thread(target=self._run, name="tus-lock-watcher", daemon=True).start()
            except RuntimeError:  # no more threads: no release request would arrive
                self._running = False
                raise

    def remove(self, waiter_id: int) -> None:
        with self._mutex:
            self._entries.pop(waiter_id, None)

    def _run(self) -> None:
        requested: dict[QueueEntry, float] = {}
        while True:
            time.sleep(POLL_INTERVAL)
            with self._mutex:
                entries = dict(self._entries)
                if not entries:
                    self._running = False
                    return
            requested = self._poll(entries, requested)

    def _poll(
        self, entries: dict[int, QueueEntry], requested: dict[QueueEntry, float]
    ) -> dict[QueueEntry, float]:
        """Ask each entry with a waiter to release its lock, unless it was asked recently.

        Returns:
            the instant of the last request to each entry that has a waiter.
        """
        now = time.monotonic()
        try:
            waited_for = [entries[id] for id in self._locks.held_by_others(entries)]
        except OSError:
            # The thread must continue, or all later release requests to this process would be lost.
            _log.exception("cannot check whether other processes wait for uploads")
            return requested
        last_requests: dict[QueueEntry, float] = {}
        for entry in waited_for:
            last = requested.get(entry, -math.inf)
            if now - last >= REPEAT_INTERVAL:
                entry.request_release()
                last = now
            last_requests[entry] = last
        return last_requests
