"""Locks for any number of hosts: leases in a service with conditional writes.

A lock is a record. Its holder regularly writes a *heartbeat* to the record, each with a new id. If
the id does not change for a whole lease, the holder is considered dead. The rules:

- **Clocks are never compared.** A waiter measures on its own monotonic clock how long the heartbeat
  has not changed, and a holder measures how long ago it sent its last confirmed heartbeat. A waiter
  that times out writes that duration into the record, so that the next waiter can continue from it.
- **Every write is conditional**: a holder's write on its token, which belongs to one request, and a
  waiter's write on the heartbeat that it has observed. So a write that arrives late changes
  nothing, and a write whose response was lost is recognized by its token.
- **A holder stops before others may take over.** The holder counts from the moment when it sent its
  last heartbeat, and stops `LeaseTiming.margin` before the lease ends. Waiters count from a later
  moment, when the heartbeat was first observed. Only a holder that is suspended during a write can
  be late; the rules of the store cover that case.
- **A release request** is the id of the next waiter in the record. The holder reads it in the
  response to its next heartbeat. A released lock is reserved for that waiter for a moment.
  Otherwise a busy process could acquire it again before the waiter does.

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

from tus_wsgi.domain.errors import LockerUnavailable, UploadNotFound
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.lease import Lease, OnEvent
from tus_wsgi.lockers.lease.monitor import LeaseMonitors
from tus_wsgi.lockers.lease.records import LeaseRecords, LeaseTiming, OutcomeUnknown
from tus_wsgi.lockers.lease.scheduler import Scheduler
from tus_wsgi.lockers.queue import LockQueue, QueueEntry

_log = logging.getLogger(__name__)


class LeaseLocker:
    """Exclude all processes that use the same records from each other, on any number of hosts.

    The locker may be created before a fork (gunicorn's `preload_app`): every process opens the
    records when it first needs them.

    Args:
        open_records: creates a client of the service, for one process.
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
        on_event: called with an event for each lock that is taken over or lost.
        timing: the intervals of the protocol; the same for all processes.

    Raises:
        LockerUnsupported: the service cannot be used for locks.
    """

    def __init__(
        self,
        open_records: Callable[[], LeaseRecords],
        *,
        timeout: float,
        on_event: OnEvent = lambda _: None,
        timing: LeaseTiming | None = None,
    ) -> None:
        self._timeout = timeout
        self._on_event = on_event
        self._timing = timing or LeaseTiming()
        self._process = _Process(open_records, self._timing)
        os.register_at_fork(after_in_child=functools.partial(_reset_after_fork, weakref.ref(self)))
        try:
            self._process.records()
        except LockerUnavailable as error:
            # The worker starts nevertheless: the service may answer when the first request comes.
            _log.warning(
                "the lock service did not answer the check at the start: %s",
                error.__cause__ or error,
            )

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        deadline = time.monotonic() + self._timeout
        process = self._process
        entry = QueueEntry(on_release_request)
        try:
            process.queue.wait(id, entry, timeout=self._timeout)
            lease = Lease(
                id,
                entry,
                process.records(),
                waiter_id=process.waiter_id,
                timing=self._timing,
                on_event=self._on_event,
            )
            try:
                with process.monitors.monitor(id) as monitor:
                    lease.acquire(deadline, monitor)
                process.scheduler.schedule(lease.renew, after=lease.next_renewal())
                with process.queue.hold(id, entry):
                    try:
                        yield lease
                    except UploadNotFound:
                        lease.mark_unused()
                        raise
            finally:
                if not lease.release():
                    process.scheduler.schedule(lease.release_again, after=self._timing.poll)
        finally:
            process.queue.leave(id, entry)

    def last_holder(self, id: UploadId) -> int | None:  # noqa: ARG002 - a new upload has no record
        """Return what the first holder of a new upload's lock gets as `previous_holder`."""
        return self._process.last_holder()

    def check(self) -> None:
        """Check that the service answers, see `LeaseRecords.check`.

        Raises:
            LockerUnsupported: the service cannot be used for locks.
            LockerUnavailable, OutcomeUnknown: the service did not answer.
        """
        self._process.records().check()

    def reset(self) -> None:
        """Replace the state of the parent process in the child of a fork."""
        self._process.scheduler.abandon()
        self._process = self._process.new()


def _reset_after_fork(reference: weakref.ref[LeaseLocker]) -> None:
    """Drop the parent's locks, threads and connections in the child of a fork."""
    locker = reference()
    if locker is not None:
        locker.reset()


class _Process:
    """The state of one process: its queues, connections, scheduler and waiter id."""

    def __init__(self, open_records: Callable[[], LeaseRecords], timing: LeaseTiming) -> None:
        self.queue = LockQueue()
        self.scheduler = Scheduler()
        self.waiter_id = secrets.token_hex(8)
        self.monitors = LeaseMonitors(self.waiter_id, timing)
        self._open = open_records
        self._timing = timing
        self._mutex = threading.Lock()
        self._records: LeaseRecords | None = None

    def last_holder(self) -> int | None:
        """Return 0, the fence before the first; None if the service keeps no fences or fails."""
        try:
            return 0 if self.records().keeps_fences else None
        except LockerUnavailable:
            return None

    def new(self) -> _Process:
        return _Process(self._open, self._timing)

    def records(self) -> LeaseRecords:
        """Return the client of the service, after a check that locks work there.

        Raises:
            LockerUnsupported: the service cannot be used for locks.
            LockerUnavailable: the service did not answer.
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
