"""How a waiter knows that a holder is gone: by its own clock, and by nobody else's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.model import UploadId
from tus_wsgi.lockers.lease.records import LeaseRecord, LeaseTiming

SOON = 0.02
"""Seconds: the shortest pause between two calls."""


class LeaseMonitor:
    """What a waiter has seen of a record, and for how long, on its own clock.

    Args:
        seat: the waiter's.
        times: how long everything takes.

    Attributes:
        seen: the record as it was last; None before it was seen.
        stood: seconds for which its beat has stood at least.
        was_silent: whether the lock was had, when it was last tried, because its holder is gone.
    """

    def __init__(self, seat: str, times: LeaseTiming) -> None:
        self.seen: LeaseRecord | None = None
        self.stood = 0.0
        self.was_silent = False
        self._seat = seat
        self._times = times
        self._at = 0.0
        self._is_new = True

    def look(self, record: LeaseRecord, now: float) -> None:
        """Take note of what the record was when its service answered, at `now` or before."""
        if self.seen is None or self.seen.beat != record.beat:
            self.stood = record.stood
        else:
            self.stood = max(record.stood, self.stood + now - self._at)
        self.seen, self._at, self._is_new = record, now, False

    def begin_again(self) -> None:
        """From now on another waiter looks. It decides nothing before it has seen the record."""
        self._is_new = True

    def has_expired(self, now: float) -> bool:
        """Whether the beat has stood for so long that its writer, or who was next, is gone."""
        left = self._left(now)
        has_expired = left is not None and left <= 0
        self.was_silent = has_expired and self.seen is not None and bool(self.seen.holder)
        return has_expired

    def next_look(self, now: float) -> float:
        """Seconds until it is worth while to look again."""
        left = self._left(now)
        return self._times.poll if left is None else min(self._times.poll, max(left, SOON))

    def _left(self, now: float) -> float | None:
        """Seconds for which the beat has still to stand; None when nobody is waited for."""
        seen = self.seen
        if seen is None or self._is_new or not (seen.holder or seen.wanted not in {"", self._seat}):
            return None
        term = self._times.lease if seen.holder else self._times.reserve
        return term - (self.stood + now - self._at)


class LeaseMonitors:
    """What the waiters of a process have seen in vain, from which the next ones go on.

    Without it, waiters that are refused at once would never see anybody be silent for long.

    Args:
        seat: the process's.
        times: how long everything takes.
        count: of so many locks it is remembered; the oldest go first.
    """

    def __init__(self, seat: str, times: LeaseTiming, *, count: int = 256) -> None:
        self._seat = seat
        self._times = times
        self._count = count
        self._watches: dict[UploadId, LeaseMonitor] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def of(self, id: UploadId) -> Iterator[LeaseMonitor]:
        """The watch of one waiter, which is kept if that has to go without the lock."""
        with self._mutex:
            watch = self._watches.pop(id, None) or LeaseMonitor(self._seat, self._times)
        watch.begin_again()
        try:
            yield watch
        except UploadLocked:
            with self._mutex:
                self._watches[id] = watch
                if len(self._watches) > self._count:
                    del self._watches[next(iter(self._watches))]
            raise
