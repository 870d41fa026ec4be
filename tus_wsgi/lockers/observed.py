"""What observers are told of locks, whatever they are made of: how long they were waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager

from tus_wsgi.domain.errors import UploadLocked
from tus_wsgi.domain.events import LockAcquired, LockEvent, LockReleased, LockTimedOut
from tus_wsgi.domain.interfaces import Lock, Locker
from tus_wsgi.domain.model import UploadId


class ObservedLocker:
    """Tells of each lock that is acquired, released or refused. See `tus_wsgi.domain.events`.

    Args:
        locker: does the work.
        tell: told.
    """

    def __init__(self, locker: Locker, tell: Callable[[LockEvent], None]) -> None:
        self._locker = locker
        self._tell = tell

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the lock, asking its holder to release it. See `Locker.lock`."""
        began = time.monotonic()
        got: float | None = None
        try:
            with self._locker.lock(id, on_release_request=on_release_request) as lock:
                got = time.monotonic()
                self._tell(LockAcquired(id, got - began))
                yield lock
        except UploadLocked:
            self._tell(LockTimedOut(id, time.monotonic() - began))
            raise
        finally:
            if got is not None:
                self._tell(LockReleased(id, time.monotonic() - got))

    def last_holder(self, id: UploadId) -> Hashable | None:
        """Return what the next holder sees as its previous holder."""
        return self._locker.last_holder(id)
