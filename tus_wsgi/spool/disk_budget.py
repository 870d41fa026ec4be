"""The disk budget of one process: how many bytes its temporary files may have together."""

from __future__ import annotations

import threading
import time

from tus_wsgi.domain.errors import StoreUnavailable

MAX_DISK_WAIT = 1.0
"""Seconds that a caller waits for other parts to be sent. The server does not read from the client
meanwhile. An upload must release its lock within two seconds."""


class DiskBudget:
    """Counts the bytes of all temporary files. Threads share it.

    Args:
        size: bytes that the files may have together; 0 for no limit.
    """

    def __init__(self, size: int = 0) -> None:
        self.size = size
        self.used = 0
        self._changed = threading.Condition()

    def acquire(self, size: int) -> None:
        """Reserve `size` more bytes. Block for up to `MAX_DISK_WAIT` while the budget is exhausted.

        Raises:
            StoreUnavailable: the budget is exhausted.
        """
        deadline = time.monotonic() + MAX_DISK_WAIT
        with self._changed:
            while self.size and self.used + size > self.size:
                wait = deadline - time.monotonic()
                if wait <= 0 or size > self.size:
                    raise StoreUnavailable("TUS_DISK_BUDGET, which is used up")
                self._changed.wait(wait)
            self.used += size

    def release(self, size: int) -> None:
        """Return reserved bytes."""
        if size:
            with self._changed:
                self.used -= size
                self._changed.notify_all()
