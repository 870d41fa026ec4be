"""Drain a stopping process: interrupt its request bodies and store what has arrived.

A server that restarts gives its workers some seconds (gunicorn's `graceful_timeout`) and then kills
them. An upload can take hours, so it is interrupted, and the client resumes the upload at another
worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.wsgi.slow_bodies import Endable, SlowBodyLimit

CHECK_INTERVAL = 0.2
"""Seconds between two checks: short compared with any graceful timeout, and cheap."""


ACCEPT_SECONDS = 1.2
"""How long a worker may still accept connections while it drains: gunicorn's gevent worker notices
only once in a second that it has to stop."""


class LiveBody(Endable, Protocol):
    """A body that is being received, to be stored or to be discarded."""


class RequestBody(LiveBody, Protocol):
    """The body of a request."""

    @property
    def cut_short(self) -> BodyEnd | None:
        """Why the body ended early; None if it did not."""


class BodyRegistry(Protocol):
    """Registers the bodies of requests while they are received."""

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop. If so, each body is interrupted when it is read."""

    def add(self, body: RequestBody) -> None:
        """Register a body."""

    def remove(self, body: RequestBody) -> None:
        """Unregister a body that has ended."""


class LiveBodies:
    """The bodies that are being received in this process. `drain` interrupts them all."""

    def __init__(self) -> None:
        self._bodies: WeakSet[LiveBody] = WeakSet()
        self._mutex = threading.Lock()
        self._draining = False
        self._drained_at = float("-inf")
        self._slow = SlowBodyLimit(None, self.snapshot)

    def limit_slow(self, connections: int | None) -> None:
        """Keep slow bodies from taking all connections of this process.

        Args:
            connections: how many requests the process serves at the same time; None if unknown.
        """
        self._slow = SlowBodyLimit(connections, self.snapshot)

    def snapshot(self) -> list[LiveBody]:
        """Return the bodies that are being received now."""
        with self._mutex:
            return list(self._bodies)

    def add(self, body: LiveBody) -> None:
        """Register a body. While the process drains, the body is interrupted at once."""
        with self._mutex:
            self._bodies.add(body)
            count = len(self._bodies)
            draining = self._draining
        if draining:
            body.interrupt(BodyEnd.DRAINING)
        else:
            self._slow.check(count)

    def remove(self, body: LiveBody) -> None:
        """Unregister a body that has ended."""
        with self._mutex:
            self._bodies.discard(body)

    @property
    def is_draining(self) -> bool:
        """Whether the process is about to stop."""
        return self._draining

    def drain(self) -> None:
        """Interrupt every body, including later ones: this process is about to stop."""
        with self._mutex:
            if not self._draining:
                self._draining, self._drained_at = True, time.monotonic()
        for body in self.snapshot():
            body.interrupt(BodyEnd.DRAINING)

    def wait_until_unreachable(self) -> None:
        """Wait until the process that drains accepts no more connections.

        A client retries as soon as it gets the response. Without this wait, it could reach the same
        process again, and its next body would be interrupted too.
        """
        left = self._drained_at + ACCEPT_SECONDS - time.monotonic()
        if left > 0:
            time.sleep(left)


LIVE_BODIES = LiveBodies()
"""The bodies of all middlewares in this process, since a process stops as a whole."""


_watched_processes: set[int] = set()
"""The ids of this process and its parents, if a watcher was started in them."""


def start_drain_watcher(is_alive: Callable[[], bool]) -> None:
    """Interrupt all request bodies as soon as `is_alive` returns False.

    In a gunicorn configuration::

        def post_worker_init(worker):
            start_drain_watcher(lambda: worker.alive)

    Args:
        is_alive: called repeatedly in a separate thread until it returns False.

    Raises:
        RuntimeError: no thread can be started.
    """

    def watch() -> None:
        while is_alive():
            time.sleep(CHECK_INTERVAL)
        LIVE_BODIES.drain()

    threading.Thread(target=watch, name="tus-drain", daemon=True).start()
    _watched_processes.add(os.getpid())


def is_drain_watched() -> bool:
    """Return whether `start_drain_watcher` was called in this process, not in its parents."""
    return os.getpid() in _watched_processes
