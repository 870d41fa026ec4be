"""Locks for all processes of one host: the default.

Two locks of the kernel belong to each upload:

- its **place**: whoever has it may change the upload;
- its **seat**: who is next sits there until the place is free. The holder looks at the seats of
  all its places every 100 ms: somebody else's lock on one is the request to let go.

Everybody takes the seat before the place. Otherwise a busy process would always be faster than
the one that waits its turn. The kernel drops both locks when a process dies, so nothing is ever
stale and nothing needs cleaning up. No call here blocks: waiting is a short sleep and another
try, because under gevent a blocking call stops all requests of the worker.
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
from tus_wsgi.lockers.file.ofd import NAMES, ByteLocks, KernelLocks, OpenLocks, probe
from tus_wsgi.lockers.queue import HeldLock, LockQueue, QueueEntry

_log = logging.getLogger(__name__)

TRY_EVERY = 0.02
"""Seconds between two tries for a lock that another process has."""

LOOK_EVERY = 0.1
"""Seconds between two looks at the seats."""

REPEAT_EVERY = 1.0
"""Seconds after which a holder that was asked to let go, and did not, is asked again."""

# Places are in the lower half of the names, seats in the upper half: a look at many seats at once
# is then one question to the kernel.
_PLACES = NAMES // 2


class FileLocker:
    """Excludes all processes of this host from each other, and the threads within each of them.

    It may be made before a fork (gunicorn's `preload_app`): every process opens the lock files for
    itself when it first needs them.

    Args:
        directory: where the lock files are; made if it is missing. The same for all processes.
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
        open_locks: which kind of kernel locks; by default the best one of this platform.

    Raises:
        LockDirectoryRefused: locks would not work in `directory`, or others could tamper with them.
    """

    def __init__(
        self, directory: Path, *, timeout: float, open_locks: OpenLocks | None = None
    ) -> None:
        if open_locks is None:
            open_locks = ByteLocks if sys.platform == "linux" else FlockLocks
        probe(open_locks, directory)
        HolderFile(directory).close()
        self._timeout = timeout
        self._open: Callable[[], KernelLocks] = functools.partial(open_locks, directory)
        self._directory = directory
        self._process = _Process(self._open, directory)
        os.register_at_fork(after_in_child=functools.partial(_start_afresh, weakref.ref(self)))

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        deadline = time.monotonic() + self._timeout
        process = self._process
        # The queue is for the place and not for the id: should two ids ever have the same place,
        # they exclude each other, as the kernel would not see two threads of one process do.
        place = place_of(id)
        ticket = QueueEntry(on_release_request)
        try:
            process.turns.wait(place, ticket, timeout=self._timeout)
            with (
                process.occupy(place, deadline),
                process.turns.hold(place, ticket),
                process.watch(place, ticket),
            ):
                yield process.held_lock(place, ticket)
        finally:
            process.turns.leave(place, ticket)

    def last_holder(self, id: UploadId) -> bytes | None:
        """Return what the next holder sees as its previous holder."""
        return self._process.last_holder(place_of(id))

    def start_afresh(self) -> None:
        """Let go, in the child of a fork, of all that is the parent's."""
        parents, self._process = self._process, _Process(self._open, self._directory)
        parents.close()


def place_of(id: UploadId) -> int:
    """The name of the kernel lock that stands for the upload."""
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest()) % _PLACES


def seat_of(place: int) -> int:
    """The name of the kernel lock of whoever is next at `place`."""
    return place + _PLACES


def _start_afresh(reference: weakref.ref[FileLocker]) -> None:
    """In the child of a fork: none of the parent's locks, threads and descriptors is ours.

    An inherited descriptor would be the same open file description: the child could drop the
    parent's locks, and would keep them alive after the parent's death.
    """
    locker = reference()
    if locker is not None:
        locker.start_afresh()


class _Process:
    """What one process has of its own: its queues, its kernel locks, its watcher."""

    def __init__(self, open_locks: Callable[[], KernelLocks], directory: Path) -> None:
        self._directory = directory
        self.turns = LockQueue()
        self._open = open_locks
        self._mutex = threading.Lock()
        self._opened: _Opened | None = None

    @contextmanager
    def occupy(self, place: int, deadline: float) -> Iterator[None]:
        """Have the place among all processes. `deadline` is an instant of the monotonic clock.

        Raises:
            UploadLocked: another process did not let go in time.
        """
        locks = self._resources().locks
        try:
            try:
                _take(locks, seat_of(place), deadline)
                _take(locks, place, deadline)
            finally:
                locks.drop(seat_of(place))
            yield
        finally:
            locks.drop(place)

    @contextmanager
    def watch(self, place: int, ticket: QueueEntry) -> Iterator[None]:
        """Have the ticket's owner asked to let go when another process wants the place."""
        watcher = self._resources().watcher
        try:
            watcher.add(seat_of(place), ticket)
            yield
        finally:
            watcher.remove(seat_of(place))

    def held_lock(self, place: int, ticket: QueueEntry) -> HeldLock:
        """Record this holder, and return the lock with the holder before."""
        previous, holder = self._resources().marks.succeed(place)
        return HeldLock(ticket, holder, previous)

    def last_holder(self, place: int) -> bytes | None:
        """Return the holder that is recorded for the place; None if it cannot be read."""
        try:
            return self._resources().marks.last(place)
        except OSError:
            return None

    def close(self) -> None:
        if self._opened is not None:
            self._opened.locks.close()
            self._opened.marks.close()

    def _resources(self) -> _Opened:
        with self._mutex:
            if self._opened is None:
                locks = self._open()
                self._opened = _Opened(locks, _Watcher(locks), HolderFile(self._directory))
            return self._opened


@dataclass(frozen=True, slots=True)
class _Opened:
    """What is opened when it is first needed."""

    locks: KernelLocks
    watcher: _Watcher
    marks: HolderFile


def _take(locks: KernelLocks, name: int, deadline: float) -> None:
    while not locks.take(name):
        left = deadline - time.monotonic()
        if left <= 0:
            raise UploadLocked
        time.sleep(min(TRY_EVERY, left))


class _Watcher:
    """Passes on the requests of other processes, from a thread that lives while locks are held."""

    def __init__(self, locks: KernelLocks) -> None:
        self._locks = locks
        self._mutex = threading.Lock()
        self._tickets: dict[int, QueueEntry] = {}  # by seat
        self._running = False

    def add(self, seat: int, ticket: QueueEntry) -> None:
        with self._mutex:
            self._tickets[seat] = ticket
            must_start, self._running = not self._running, True
        if must_start:
            # Outside of the mutex: under gevent, starting a thread lets others run.
            try:
                threading.Thread(target=self._run, name="tus-lock-watcher", daemon=True).start()
            except RuntimeError:  # no more threads: nobody could ask us to let go
                self._running = False
                raise

    def remove(self, seat: int) -> None:
        with self._mutex:
            self._tickets.pop(seat, None)

    def _run(self) -> None:
        asked: dict[QueueEntry, float] = {}
        while True:
            time.sleep(LOOK_EVERY)
            with self._mutex:
                tickets = dict(self._tickets)
                if not tickets:
                    self._running = False
                    return
            asked = self._look(tickets, asked)

    def _look(
        self, tickets: dict[int, QueueEntry], asked: dict[QueueEntry, float]
    ) -> dict[QueueEntry, float]:
        """Ask those whose seat is taken, and return when each of them was last asked."""
        now = time.monotonic()
        try:
            wanted = [tickets[seat] for seat in self._locks.taken_elsewhere(tickets)]
        except OSError:
            # The thread must live on, or no lock of this process would ever be asked for again.
            _log.exception("cannot see whether other processes wait for uploads")
            return asked
        due = {t for t in wanted if now - asked.get(t, -math.inf) >= REPEAT_EVERY}
        for ticket in due:
            ticket.ask()
        return {ticket: now if ticket in due else asked[ticket] for ticket in wanted}
