"""The lock of one request, from the wait for it to the end."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NoReturn

from tus_wsgi.domain.errors import LockerUnavailable, LockLost, UploadLocked
from tus_wsgi.domain.events import LeaseLost, LockEvent, LockTakenOver
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.monitor import SOON, LeaseMonitor
from tus_wsgi.lockers.lease.records import (
    Claim,
    LeaseRecord,
    LeaseRecords,
    LeaseTiming,
    OutcomeUnknown,
)
from tus_wsgi.lockers.queue import QueueEntry

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
