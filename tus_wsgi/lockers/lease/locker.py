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
from hashlib import blake2b
from typing import NoReturn

from tus_wsgi.domain.errors import LockerUnavailable, LockLost, UploadLocked
from tus_wsgi.domain.events import LeaseLost, LockEvent, LockTakenOver
from tus_wsgi.domain.interfaces import Lock
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.monitor import SOON, LeaseMonitor, LeaseMonitors
from tus_wsgi.lockers.lease.records import (
    Claim,
    LeaseRecord,
    LeaseRecords,
    LeaseTiming,
    OutcomeUnknown,
)
from tus_wsgi.lockers.lease.scheduler import Scheduler
from tus_wsgi.lockers.queue import LockQueue, QueueEntry

_log = logging.getLogger(__name__)

Tell = Callable[[LockEvent], None]


def uptime() -> float:
    """Seconds on a clock that goes on while this host sleeps, where there is such a clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def name_of(id: UploadId) -> str:
    """What an upload's record is called. It leads nobody to the id, which is a capability."""
    return blake2b(id.encode(), digest_size=16).hexdigest()


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


class Lease:
    """The lock of one request, from the wait for it to the end. The `Lock` that is handed out.

    Args:
        id: the upload.
        ticket: the request's place in the queue of its process.
        records: where the lock's record is.
        seat: the process's name among those that wait.
        times: how long everything takes.
        tell: told when the lock is taken over or lost.

    Attributes:
        fence: the lock's number; it rises with each holder.
    """

    def __init__(
        self,
        id: UploadId,
        ticket: QueueEntry,
        records: LeaseRecords,
        *,
        seat: str,
        times: LeaseTiming,
        tell: Tell,
    ) -> None:
        self.fence = 0
        self._tell = tell
        self._id = id
        self._name = name_of(id)
        self._ticket = ticket
        self._records = records
        self._seat = seat
        self._times = times
        self._token = secrets.token_hex(8)
        self._beats = 0
        self._mutex = threading.Lock()
        # What of ours is in the record, as far as we know; None before and after.
        self._record: LeaseRecord | None = None
        # When the first try was sent whose outcome is unknown; None if all are known.
        self._unsure: float | None = None
        self._valid_until = 0.0  # on the clock of `uptime`
        self._has_ended = False
        self._lost: str | None = None

    # -- having it -------------------------------------------------------------------------------

    @property
    def holder(self) -> int | None:
        """The fence, if the service keeps fences after a release."""
        return self.fence if self._records.keeps_fences else None

    @property
    def previous_holder(self) -> int | None:
        """The fence of the holder before."""
        return self.fence - 1 if self._records.keeps_fences else None

    def assert_held(self) -> None:
        """Raise `LockLost` unless the lock is still ours."""
        self._ticket.assert_held()
        if self._lost is None and uptime() >= self._valid_until:
            # Stopped for longer than a lease, perhaps, and now faster than our own heart.
            self._lose("the lock could not be renewed in time")
        if self._lost is not None:
            raise LockLost(self._lost)

    def renew(self) -> float | None:
        """Write another beat; returns the seconds until the next one."""
        record = self._record
        if record is None or self._lost is not None or self._has_ended:
            return None
        began = uptime()
        if began >= self._valid_until:
            self._lose("the lock could not be renewed in time")
            return None
        try:
            found = self._records.renew(self._name, record, beat=self._next_beat())
        except (OutcomeUnknown, LockerUnavailable) as error:
            _log.info("a lock was not renewed, which is tried again: %s", error)
            return self._times.poll
        if self._has_ended:
            return None
        if found.holder != self._token:
            self._lose("the lock has passed to somebody else")
            return None
        self._confirm(found, began)
        if found.wanted:
            self._ticket.ask()
        return self.next_renewal()

    def next_renewal(self) -> float:
        """Seconds until the next beat is due."""
        began = self._valid_until + self._times.margin - self._times.lease
        return max(0.0, began + self._times.heartbeat - uptime())

    def _confirm(self, record: LeaseRecord, began: float) -> None:
        self._record = record
        self._valid_until = began + self._times.lease - self._times.margin

    def _lose(self, reason: str) -> None:
        with self._mutex:
            if self._lost is not None or self._has_ended:
                return
            self._lost = reason
        self._tell(LeaseLost(self._id, reason))
        self._ticket.ask()

    def _next_beat(self) -> str:
        self._beats += 1
        return f"{self._token}.{self._beats}"

    # -- getting it ------------------------------------------------------------------------------

    def acquire(self, deadline: float, watch: LeaseMonitor) -> None:
        """Wait for the lock until `deadline`, an instant of the monotonic clock.

        Raises:
            UploadLocked: its holder did not let go.
            LockerUnavailable: the service did not answer, or refuses to work for us.
        """
        failures = 0
        while True:
            error = self._try(watch)
            if self._record is not None:
                return
            failures = failures + 1 if error else 0
            left = deadline - time.monotonic()
            # Who has seen enough by now does not leave without the lock, however short its time.
            if left <= 0 and (error or not watch.has_expired(time.monotonic())):
                self._give_up(watch, error)
            pause = SOON if failures == 1 else watch.next_look(time.monotonic())
            time.sleep(min(pause, max(left, SOON)))

    def _try(self, watch: LeaseMonitor) -> OutcomeUnknown | None:
        """Take the lock if it can be had, else ask its holder; what went wrong, if anything."""
        has_expired = watch.has_expired(time.monotonic())
        claim = Claim(self._token, self._seat, self._next_beat(), watch.seen, has_expired)
        try:
            began = uptime()
            # Whatever happens meanwhile, the exception of a killed greenlet too: it may be ours.
            self._unsure = began if self._unsure is None else self._unsure
            found = self._records.take(self._name, claim)
            if found.holder == self._token:
                self._take(found, self._unsure, watch)
                return None
            self._unsure = None
            watch.look(found, time.monotonic())
            if found.holder and not found.wanted:
                asked = self._records.ask(self._name, found, seat=self._seat, stood=watch.stood)
                watch.look(asked, time.monotonic())
        except OutcomeUnknown as error:
            return error
        return None

    def _take(self, found: LeaseRecord, began: float, watch: LeaseMonitor) -> None:
        self.fence = found.fence
        self._confirm(found, began)
        self._unsure = None
        if watch.was_silent:
            self._tell(LockTakenOver(self._id, found.fence))

    def _give_up(self, watch: LeaseMonitor, error: OutcomeUnknown | None) -> NoReturn:
        if error is not None:
            raise LockerUnavailable(error.operation) from error
        seen = watch.seen
        if seen is not None and seen.holder and watch.stood > 2 * self._times.heartbeat:
            # The holder is gone, it seems, and the client will come again, perhaps elsewhere.
            try:
                seat = seen.wanted or self._seat
                self._records.ask(self._name, seen, seat=seat, stood=watch.stood)
            except (OutcomeUnknown, LockerUnavailable):
                _log.info("what a waiter has seen could not be left to the next one")
        raise UploadLocked

    # -- giving it back --------------------------------------------------------------------------

    def release(self) -> bool:
        """Give the lock back, if it is or may be ours; whether that is done with."""
        with self._mutex:
            self._has_ended = True
        if self._record is not None:
            until = self._valid_until
        elif self._unsure is not None:
            until = self._unsure + self._times.lease
        else:
            return True
        held = self._record or LeaseRecord(holder=self._token)
        try:
            self._records.release(self._name, held, beat=f"{self._token}.end")
        except LockerUnavailable:
            return True
        except OutcomeUnknown as error:
            _log.info("a lock was not given back, which is tried again: %s", error)
            # In the end others see by themselves that nobody is there.
            return uptime() >= until
        return True

    def release_again(self) -> float | None:
        """Like `release`, for the heart: the seconds until the next try."""
        return None if self.release() else self._times.poll
