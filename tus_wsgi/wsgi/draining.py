"""Stopping in good order: what has arrived is stored before the process ends.

A server that restarts gives its workers some seconds (gunicorn's `graceful_timeout`) and then kills
them. An upload can last for hours, so it is cut: its client resumes it at another worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol
from weakref import WeakSet

from tus_wsgi.domain.interfaces import BodyEnd

CHECK_EVERY = 0.2
"""Seconds between two looks. Short beside any graceful timeout, and nothing beside a request."""


class LiveBody(Protocol):
    """A body that is being received, whether anybody wants it or not."""

    def interrupt(self, end: BodyEnd, /) -> None:
        """End it at once. From any thread."""


class LiveBodies:
    """The bodies that are being received in this process, so that they can all be ended at once."""

    def __init__(self) -> None:
        self._bodies: WeakSet[LiveBody] = WeakSet()
        self._mutex = threading.Lock()
        self._draining = False

    def add(self, body: LiveBody) -> None:
        """Watch a body. One that comes while draining is ended at once."""
        with self._mutex:
            self._bodies.add(body)
            draining = self._draining
        if draining:
            body.interrupt(BodyEnd.DRAINING)

    def remove(self, body: LiveBody) -> None:
        """Forget a body that has ended."""
        with self._mutex:
            self._bodies.discard(body)

    def drain(self) -> None:
        """End every body, now and from now on: this process is about to stop."""
        with self._mutex:
            self._draining = True
            bodies = list(self._bodies)
        for body in bodies:
            body.interrupt(BodyEnd.DRAINING)


LIVE_BODIES = LiveBodies()
"""All of this process, whatever middleware they belong to: a process stops as a whole."""


def start_drain_watcher(is_alive: Callable[[], bool]) -> None:
    """End all request bodies as soon as `is_alive` says no.

    In a gunicorn configuration::

        def post_worker_init(worker):
            start_drain_watcher(lambda: worker.alive)

    Args:
        is_alive: asked in a thread of its own until it says no.
    """

    def watch() -> None:
        while is_alive():
            time.sleep(CHECK_EVERY)
        LIVE_BODIES.drain()

    threading.Thread(target=watch, name="tus-drain", daemon=True).start()
