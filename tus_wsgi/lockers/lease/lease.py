"""The lease of one request: acquire the record, renew it, release it.

The rules that all holders and waiters follow are in `tus_wsgi.lockers.lease.locker`.
"""

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
from tus_wsgi.lockers.lease.monitor import MIN_PAUSE, LeaseMonitor
from tus_wsgi.lockers.lease.records import (
    Claim,
    LeaseRecord,
    LeaseRecords,
    LeaseTiming,
    OutcomeUnknown,
)
from tus_wsgi.lockers.queue import QueueEntry

_log = logging.getLogger(__name__)

OnEvent = Callable[[LockEvent], None]


def uptime() -> float:
    """Return seconds on a monotonic clock: the one that runs during a suspend, if there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def record_name(id: UploadId) -> str:
    """Return the name of an upload's record: a hash, because the id is a secret."""
    return blake2b(id.encode(), digest_size=16).hexdigest()


class Lease:
    """The lock of one request, from the wait to the release. It implements `Lock`.

    Args:
        id: the upload.
        entry: the request's entry in the queue of its process.
        records: stores the lock's record.
        waiter_id: identifies the process among the waiters.
        timing: the intervals of the protocol.
        on_event: called when the lock is taken over or lost.

    Attributes:
        fence: the lock's number, which increases with each holder.
    """

    def __init__(
        self,
        id: UploadId,
        entry: QueueEntry,
        records: LeaseRecords,
        *,
        waiter_id: str,
        timing: LeaseTiming,
        on_event: OnEvent,
    ) -> None:
        self.fence = 0
        self._on_event = on_event
        self._id = id
        self._name = record_name(id)
        self._entry = entry
        self._records = records
        self._waiter_id = waiter_id
        self._timing = timing
        self._token = secrets.token_hex(8)
        self._heartbeats = 0
        self._mutex = threading.Lock()
        # The record as this request last wrote it; None before the lock is acquired.
        self._record: LeaseRecord | None = None
        # When the first attempt with an unknown outcome was sent; None if all outcomes are known.
        self._unknown_since: float | None = None
        self._valid_until = 0.0  # on the clock of `uptime`
        self._has_ended = False
        self._is_unused = False
        self._lost: str | None = None

    # -- while the lock is held ------------------------------------------------------------------

    @property
    def holder(self) -> int | None:
        """The fence; None if the service does not keep fences after a release."""
        return self.fence if self._records.keeps_fences else None

    @property
    def previous_holder(self) -> int | None:
        """The fence of the previous holder; None if the service does not keep fences."""
        return self.fence - 1 if self._records.keeps_fences else None

    def assert_held(self) -> None:
        """Raise `LockLost` unless this request holds the lock."""
        self._entry.assert_held()
        if self._lost is None and uptime() >= self._valid_until:
            # After a pause longer than a lease, this check may run before the scheduler's.
            self._lose("the lock could not be renewed in time")
        if self._lost is not None:
            raise LockLost(self._lost)

    def renew(self) -> float | None:
        """Write a heartbeat, and return the seconds until the next one; None to stop."""
        record = self._record
        if record is None or self._lost is not None or self._has_ended:
            return None
        sent_at = uptime()
        if sent_at >= self._valid_until:
            self._lose("the lock could not be renewed in time")
            return None
        try:
            found = self._records.renew(self._name, record, heartbeat_id=self._next_heartbeat_id())
        except (OutcomeUnknown, LockerUnavailable) as error:
            _log.info("a lock was not renewed, and will be retried: %s", error)
            return self._timing.poll
        if self._has_ended:
            return None
        if found.holder != self._token:
            self._lose("the lock has passed to another holder")
            return None
        self._confirm(found, sent_at)
        if found.next_waiter:
            self._entry.request_release()
        return self.next_renewal()

    def next_renewal(self) -> float:
        """Return the seconds until the next heartbeat is due."""
        # When the last heartbeat was sent: the inverse of `_confirm`.
        sent_at = self._valid_until + self._timing.margin - self._timing.lease
        return max(0.0, sent_at + self._timing.heartbeat - uptime())

    def _confirm(self, record: LeaseRecord, sent_at: float) -> None:
        self._record = record
        self._valid_until = sent_at + self._timing.lease - self._timing.margin

    def _lose(self, reason: str) -> None:
        with self._mutex:
            if self._lost is not None or self._has_ended:
                return
            self._lost = reason
        self._on_event(LeaseLost(self._id, reason))
        self._entry.request_release()

    def _next_heartbeat_id(self) -> str:
        self._heartbeats += 1
        return f"{self._token}.{self._heartbeats}"

    # -- acquire ---------------------------------------------------------------------------------

    def acquire(self, deadline: float, monitor: LeaseMonitor) -> None:
        """Wait for the lock until `deadline`, an instant of the monotonic clock.

        Raises:
            UploadLocked: the holder did not release the lock in time.
            LockerUnavailable: the service did not answer, or does not accept the call.
        """
        failures = 0
        while True:
            error = self._try_acquire(monitor)
            if self._record is not None:
                return
            failures = failures + 1 if error else 0
            left = deadline - time.monotonic()
            # If the lease already looks expired, try once more, however short the timeout is.
            looks_expired = error is None and monitor.has_expired(time.monotonic())
            if left <= 0 and not looks_expired:
                self._give_up(monitor, error)
            # Retry a single failure soon.
            pause = MIN_PAUSE if failures == 1 else monitor.next_poll(time.monotonic())
            time.sleep(min(pause, max(left, MIN_PAUSE)))

    def _try_acquire(self, monitor: LeaseMonitor) -> OutcomeUnknown | None:
        """Try to acquire the lock, or else request its release.

        Returns:
            the error, if the outcome is unknown.
        """
        has_expired = monitor.has_expired(time.monotonic())
        claim = Claim(
            self._token, self._waiter_id, self._next_heartbeat_id(), monitor.seen, has_expired
        )
        try:
            sent_at = uptime()
            # Set before the call: an exception, such as that of a killed greenlet, may interrupt
            # the call after the service has given the lock to this request.
            if self._unknown_since is None:
                self._unknown_since = sent_at
            found = self._records.try_acquire(self._name, claim)
            if found.holder == self._token:
                self._mark_acquired(found, self._unknown_since, monitor)
                return None
            self._unknown_since = None
            monitor.observe(found, time.monotonic())
            if found.holder and not found.next_waiter:
                requested = self._records.request_release(
                    self._name,
                    found,
                    waiter_id=self._waiter_id,
                    unchanged_for=monitor.unchanged_for,
                )
                monitor.observe(requested, time.monotonic())
        except OutcomeUnknown as error:
            return error
        return None

    def _mark_acquired(self, found: LeaseRecord, sent_at: float, monitor: LeaseMonitor) -> None:
        self.fence = found.fence
        self._confirm(found, sent_at)
        self._unknown_since = None
        if monitor.holder_expired:
            self._on_event(LockTakenOver(self._id, found.fence))

    def _give_up(self, monitor: LeaseMonitor, error: OutcomeUnknown | None) -> NoReturn:
        if error is not None:
            raise LockerUnavailable(error.operation) from error
        seen = monitor.seen
        holder_seems_dead = monitor.unchanged_for > 2 * self._timing.heartbeat
        if seen is not None and seen.holder and holder_seems_dead:
            # Share what is known: the client may retry on another host.
            try:
                self._records.request_release(
                    self._name,
                    seen,
                    waiter_id=seen.next_waiter or self._waiter_id,
                    unchanged_for=monitor.unchanged_for,
                )
            except (OutcomeUnknown, LockerUnavailable):
                _log.info("the age of a heartbeat could not be stored for the next waiter")
        raise UploadLocked

    # -- release ---------------------------------------------------------------------------------

    def mark_unused(self) -> None:
        """Note that the upload does not exist, so that the release removes the record.

        Otherwise clients could fill the table by naming uploads that do not exist. The record is
        removed only if this is the first holder: then no process has cached the upload, and none
        needs the fence.
        """
        self._is_unused = self.fence == 1

    def release(self) -> bool:
        """Release the lock if this request holds it or may hold it.

        Returns:
            whether the release is complete; False if the caller must call this again.
        """
        with self._mutex:
            self._has_ended = True
        if self._record is not None:
            until = self._valid_until
        elif self._unknown_since is not None:
            until = self._unknown_since + self._timing.lease
        else:
            return True
        held = self._record or LeaseRecord(holder=self._token)
        try:
            self._records.release(
                self._name,
                held,
                heartbeat_id=f"{self._token}.end",
                is_needed=not self._is_unused,
            )
        except LockerUnavailable:
            return True
        except OutcomeUnknown as error:
            _log.info("a lock was not released, and will be retried: %s", error)
            # After `until`, the lease has expired, so that no further attempt is needed.
            return uptime() >= until
        return True

    def release_again(self) -> float | None:
        """Call `release` as a task of the scheduler: return the seconds until the next attempt."""
        return None if self.release() else self._timing.poll
