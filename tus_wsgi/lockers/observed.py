"""Lock events for observers, with the time that each request waited for or held a lock."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.events import LockAcquired, LockEvent, LockReleased, LockTimedOut
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId


class ObservedLocker:
    """Report each lock that is acquired or released, and each timeout.

    Attributes:
        locker: the locker that does the work.

    Args:
        locker: see above.
        on_event: called with each event. See `tus_wsgi.domain.events`.
    """

    def __init__(self, locker: Locker, on_event: Callable[[LockEvent], None]) -> None:
        self.locker = locker
        self._on_event = on_event

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        started = time.monotonic()
        acquired: float | None = None
        try:
            with self.locker.lock(id, on_release_request=on_release_request) as lock:
                acquired = time.monotonic()
                self._on_event(LockAcquired(id, acquired - started))
                yield lock
        except UploadLocked:
            self._on_event(LockTimedOut(id, time.monotonic() - started))
            raise
        finally:
            if acquired is not None:
                self._on_event(LockReleased(id, time.monotonic() - acquired))

    def last_holder(self, id: UploadId) -> Hashable | None:
        """Return what the next holder gets as `previous_holder`."""
        return self.locker.last_holder(id)
