"""Locks for any number of hosts: leases, in a service whose writes can be conditional.

A lock is a record. Whoever has it writes to the record again and again, each time a new *beat*; a
beat that stands for a whole lease means that its writer is gone. The rules:

- **No two clocks are ever compared.** A waiter measures on its own monotonic clock how long it has
  seen the same beat stand, and a holder how long ago it sent its last one that was confirmed. A
  waiter that gives up leaves in the record how long that was, a mere duration, so that the next
  one need not begin anew.
- **Every write is conditional.** A holder's on its token, which belongs to one request; a waiter's
  on the beat that it has seen. So a write that arrives late changes nothing, and one whose answer
  was lost is recognised by its token.
- **A holder lets go before others may take over.** It counts from the moment in which it sent its
  last beat, others from a later one, with `LeaseTiming.margin` between them. Only a holder that is
  stopped within a write of its own can come too late; the store's rules are there for that.
- **A request to let go** is written into the record by whoever is next (its *seat*), and the
  holder reads it in the answer to its next beat. When the lock becomes free it is that seat's for a
  moment, or a busy process would always be faster.

The service is a `LeaseRecords`: `tus_wsgi.lockers.lease.dynamodb` or `tus_wsgi.lockers.lease.s3`.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import LockerUnavailable
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.lease import Lease, Tell
from tus_wsgi.lockers.lease.monitor import LeaseMonitors
from tus_wsgi.lockers.lease.records import LeaseRecords, LeaseTiming, OutcomeUnknown
from tus_wsgi.lockers.lease.scheduler import Scheduler
from tus_wsgi.lockers.queue import LockQueue, QueueEntry

_log = logging.getLogger(__name__)


class LeaseLocker:
    """Excludes all processes that use the same records, on however many hosts.

    It may be made before a fork (gunicorn's `preload_app`): every process opens the records for
    itself when it first needs them.

    Args:
        open_records: makes a client of the service, for one process.
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
        tell: told of locks that are taken over or lost.
        times: how long everything takes; the same for all processes.

    Raises:
        LockerRefused: the service cannot be used for locks.
    """

    def __init__(
        self,
        open_records: Callable[[], LeaseRecords],
        *,
        timeout: float,
        tell: Tell = lambda _: None,
        times: LeaseTiming | None = None,
    ) -> None:
        self._timeout = timeout
        self._tell = tell
        self._times = times or LeaseTiming()
        self._process = _Process(open_records, self._times)
        os.register_at_fork(after_in_child=functools.partial(_start_afresh, weakref.ref(self)))
        try:
            self._process.records()
        except LockerUnavailable as error:
            # No reason to stay away: by the time of the first request it may be there.
            _log.warning("cannot see yet whether locks will work: %s", error.__cause__ or error)

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        deadline = time.monotonic() + self._timeout
        process = self._process
        ticket = QueueEntry(on_release_request)
        try:
            process.turns.wait(id, ticket, timeout=self._timeout)
            lease = Lease(
                id, ticket, process.records(), seat=process.seat, times=self._times, tell=self._tell
            )
            try:
                with process.watches.of(id) as watch:
                    lease.acquire(deadline, watch)
                process.heart.schedule(lease.renew, after=lease.next_renewal())
                with process.turns.hold(id, ticket):
                    yield lease
            finally:
                if not lease.release():
                    process.heart.schedule(lease.release_again, after=self._times.poll)
        finally:
            process.turns.leave(id, ticket)

    def last_holder(self, id: UploadId) -> int | None:  # noqa: ARG002 - a new upload has no record
        """Return what the first holder of a new upload's lock sees as its previous holder."""
        return self._process.last_holder()


def _start_afresh(reference: weakref.ref[LeaseLocker]) -> None:
    """In the child of a fork: none of the parent's locks, threads and connections is ours."""
    locker = reference()
    if locker is not None:
        locker._process = locker._process.another()  # noqa: SLF001


class _Process:
    """What one process has of its own: its queues, its connections, its heart, its name."""

    def __init__(self, open_records: Callable[[], LeaseRecords], times: LeaseTiming) -> None:
        self.turns = LockQueue()
        self.heart = Scheduler()
        self.seat = secrets.token_hex(8)
        self.watches = LeaseMonitors(self.seat, times)
        self._open = open_records
        self._times = times
        self._mutex = threading.Lock()
        self._records: LeaseRecords | None = None

    def last_holder(self) -> int | None:
        """Return the fence before the first; None if fences are not kept, or that is not known."""
        try:
            return 0 if self.records().keeps_fences else None
        except LockerUnavailable:
            return None

    def another(self) -> _Process:
        return _Process(self._open, self._times)

    def records(self) -> LeaseRecords:
        """The service, once it is known to work.

        Raises:
            LockerRefused: it does not.
            LockerUnavailable: it does not answer.
        """
        with self._mutex:
            if self._records is None:
                records = self._open()
                try:
                    records.check()
                except OutcomeUnknown as error:
                    raise LockerUnavailable(error.operation) from error
                self._records = records
            return self._records
