"""How a waiter detects a dead holder: by its own monotonic clock only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.records import LeaseRecord, LeaseTiming

MIN_PAUSE = 0.02
"""Seconds: the shortest pause between two calls."""


class LeaseMonitor:
    """The record of one lock as a waiter has observed it, and for how long it has not changed.

    Args:
        waiter_id: identifies the process of the waiter.
        timing: the intervals of the protocol.

    Attributes:
        seen: the record as it was last observed; None before the first observation.
        unchanged_for: seconds for which the heartbeat has not changed, at least.
        holder_expired: whether the last call of `has_expired` found an expired holder.
    """

    def __init__(self, waiter_id: str, timing: LeaseTiming) -> None:
        self.seen: LeaseRecord | None = None
        self.unchanged_for = 0.0
        self.holder_expired = False
        self._waiter_id = waiter_id
        self._timing = timing
        self._observed_at = 0.0
        self._must_observe = True

    def observe(self, record: LeaseRecord, now: float) -> None:
        """Process the state that the service reported, at `now` or shortly before."""
        if self.seen is None or self.seen.heartbeat_id != record.heartbeat_id:
            self.unchanged_for = record.unchanged_for
        else:
            self.unchanged_for = max(
                record.unchanged_for, self.unchanged_for + now - self._observed_at
            )
        self.seen, self._observed_at, self._must_observe = record, now, False

    def start_wait(self) -> None:
        """Prepare for the next waiter. Nothing expires until that waiter observes the record."""
        self._must_observe = True

    def has_expired(self, now: float) -> bool:
        """Return whether the lease of the holder, or the reservation of a waiter, has expired."""
        left = self._time_left(now)
        has_expired = left is not None and left <= 0
        self.holder_expired = has_expired and self.seen is not None and bool(self.seen.holder)
        return has_expired

    def next_poll(self, now: float) -> float:
        """Return the seconds until the record should be read again."""
        left = self._time_left(now)
        return self._timing.poll if left is None else min(self._timing.poll, max(left, MIN_PAUSE))

    def _time_left(self, now: float) -> float | None:
        """Return the seconds until the lease or reservation expires; None if there is none."""
        seen = self.seen
        if seen is None or self._must_observe:
            return None
        if not seen.holder and seen.next_waiter in {"", self._waiter_id}:
            return None
        term = self._timing.lease if seen.holder else self._timing.reserve
        return term - (self.unchanged_for + now - self._observed_at)


class LeaseMonitors:
    """Keeps the monitors of waiters that timed out, for the next waiters of the same process.

    Otherwise waiters with a short timeout would never observe a lease until it expires.

    Args:
        waiter_id: identifies the process.
        timing: the intervals of the protocol.
        max_count: the maximum number of kept monitors; the oldest are evicted first.
    """

    def __init__(self, waiter_id: str, timing: LeaseTiming, *, max_count: int = 256) -> None:
        self._waiter_id = waiter_id
        self._timing = timing
        self._max_count = max_count
        self._monitors: dict[UploadId, LeaseMonitor] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def monitor(self, id: UploadId) -> Iterator[LeaseMonitor]:
        """Provide the monitor of one waiter. It is kept if the waiter raises `UploadLocked`."""
        with self._mutex:
            monitor = self._monitors.pop(id, None) or LeaseMonitor(self._waiter_id, self._timing)
        monitor.start_wait()
        try:
            yield monitor
        except UploadLocked:
            with self._mutex:
                self._monitors[id] = monitor
                if len(self._monitors) > self._max_count:
                    del self._monitors[next(iter(self._monitors))]
            raise
