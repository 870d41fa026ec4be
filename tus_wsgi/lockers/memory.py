"""Locks within one process: for tests, and for development with a single worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tus_wsgi.lockers.turns import Ticket, Turns
from tus_wsgi.model import UploadId
from tus_wsgi.ports import Lock


class MemoryLocker:
    """Excludes the threads, or greenlets, of this process from each other, and nobody else.

    Waiting costs nothing: nobody polls.

    Args:
        timeout: seconds to wait for a lock before `UploadLocked` is raised.
    """

    def __init__(self, *, timeout: float) -> None:
        self._timeout = timeout
        self._turns = Turns()

    @contextmanager
    def lock(self, id: UploadId, *, on_release_request: Callable[[], None]) -> Iterator[Lock]:
        """Wait for the upload, asking its holder to let go. See `tus_wsgi.ports.Locker`."""
        ticket = Ticket(on_release_request)
        try:
            self._turns.wait(id, ticket, timeout=self._timeout)
            with self._turns.hold(id, ticket):
                yield ticket
        finally:
            self._turns.leave(id, ticket)
