"""Whose turn it is within this process: for each key a queue of requests, first come, first served.

Lockers that reach further than the process queue here first, and only the head of a queue goes for
the lock that is shared with others.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tus_wsgi.domain.errors import LockLost, UploadLocked

_log = logging.getLogger(__name__)


class QueueEntry:
    """One request's place in a queue.

    Args:
        on_release_request: called when somebody else wants the lock, and never once it was given
            back: by then it might interrupt the next request on the same connection.
    """

    def __init__(self, on_release_request: Callable[[], None]) -> None:
        self.turn = threading.Event()
        self._on_release_request = on_release_request
        self._held = False
        # Whoever gives the lock back waits for a call that is under way. Re-entrant, so that the
        # call itself may give it back.
        self._asking = threading.RLock()

    def assert_held(self) -> None:
        """Raise `LockLost` unless the lock is still ours."""
        if not self._held:
            raise LockLost("the lock was given back")

    def ask(self) -> None:
        """Ask the holder to let go. Before and after its time this does nothing."""
        with self._asking:
            if not self._held:
                return
            try:
                self._on_release_request()
            except Exception:  # noqa: BLE001 - the holder's mistake must not hurt who asks
                _log.exception("on_release_request raised")

    def begin(self) -> None:
        """From now on this request holds the lock."""
        self._held = True

    def end(self) -> None:
        """From now on it does not, and nobody asks it for anything."""
        with self._asking:
            self._held = False


@dataclass(frozen=True, slots=True)
class HeldLock:
    """The lock of a request at the head of its queue. It implements `Lock`."""

    entry: QueueEntry
    holder: Hashable
    previous_holder: Hashable

    def assert_held(self) -> None:
        """Raise `LockLost` if the lock was released."""
        self.entry.assert_held()


class LockQueue:
    """The queues of one process. Keys that nobody queues for take no memory.

    `wait`, `hold` and `leave` belong together:

        ticket = Ticket(on_release_request)
        try:
            turns.wait(key, ticket, timeout=5.0)
            with turns.hold(key, ticket):
                ...
        finally:
            turns.leave(key, ticket)
    """

    def __init__(self) -> None:
        # Held for a few steps only, and never while anything is called or waited for.
        self._mutex = threading.Lock()
        # The leftmost ticket of a queue is the one whose turn it is.
        self._queues: dict[Hashable, deque[QueueEntry]] = {}

    def __len__(self) -> int:
        """How many keys somebody holds or waits for."""
        return len(self._queues)

    def wait(self, key: Hashable, ticket: QueueEntry, *, timeout: float) -> None:
        """Join the queue, ask the holder to let go, and return when it is this ticket's turn.

        Args:
            key: what is wanted.
            ticket: a new one. Whatever happens here, `leave` has to be called with it.
            timeout: seconds.

        Raises:
            UploadLocked: it did not become our turn in time.
        """
        with self._mutex:
            queue = self._queues.setdefault(key, deque())
            queue.append(ticket)
            head = queue[0]
        if head is ticket:
            return
        head.ask()
        if not ticket.turn.wait(timeout):
            raise UploadLocked

    @contextmanager
    def hold(self, key: Hashable, ticket: QueueEntry) -> Iterator[None]:
        """Hold the lock of `key`; it is this ticket's turn.

        Somebody who joined the queue before this could not ask us yet, so that is made up for.
        """
        try:
            with self._mutex:
                ticket.begin()
                wanted = len(self._queues[key]) > 1
            if wanted:
                ticket.ask()
            yield
        finally:
            ticket.end()

    def leave(self, key: Hashable, ticket: QueueEntry) -> None:
        """Leave the queue, from wherever in it, and let the next one have its turn.

        A waiter that gives up in the moment when its turn comes passes it on by this.
        """
        with self._mutex:
            queue = self._queues.get(key)
            if queue is None:
                return
            with suppress(ValueError):  # it was interrupted before it joined
                queue.remove(ticket)
            if queue:
                queue[0].turn.set()
            else:
                del self._queues[key]
