"""Keep slow clients from taking all connections of a process.

A worker serves a limited number of requests at the same time. Clients that send a byte now and then
could occupy all of them at almost no cost. So if many bodies are being received, the slowest ones
end: what they have received is stored, and their clients may continue with a new request.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import KIB

log = logging.getLogger(__name__)

SLOW_RATE = 4 * KIB
"""Bytes per second. A body that is faster is never ended."""

SHARE = 3 / 4
"""The share of a process's connections that bodies may take. The rest is for other requests."""

MIN_CONNECTIONS = 4
"""With fewer connections than this, no connection is reserved."""

INTERVAL = 0.25
"""Seconds between two checks while there are too many bodies."""


class Endable(Protocol):
    """A body that is being received."""

    def rate(self) -> float | None:
        """Return the client's bytes per second; None if it was interrupted."""

    def interrupt(self, end: BodyEnd, /) -> None:
        """End the body at once. Called from any thread."""


class SlowBodyLimit:
    """Ends the slowest bodies while more are received than the process has room for.

    Args:
        connections: how many requests the process serves at the same time; None if unknown.
        bodies: returns the bodies that are being received.
    """

    def __init__(self, connections: int | None, bodies: Callable[[], Collection[Endable]]) -> None:
        self.limit: int | None = None
        if connections is not None and connections >= MIN_CONNECTIONS:
            self.limit = int(SHARE * connections)
        self._bodies = bodies
        self._mutex = threading.Lock()
        self._is_watching = False

    def check(self, count: int) -> None:
        """Start to end slow bodies if `count` bodies are too many. Return at once."""
        if self.limit is None or count <= self.limit:
            return
        with self._mutex:
            if self._is_watching:
                return
            self._is_watching = True
        try:
            threading.Thread(target=self._watch, name="tus-slow", daemon=True).start()
        except RuntimeError:  # no more threads: the next body tries again
            self._is_watching = False

    def _watch(self) -> None:
        """Check repeatedly: a body counts as slow only after a while."""
        while True:
            time.sleep(INTERVAL)
            with self._mutex:
                if not self._end_slowest():
                    self._is_watching = False
                    return

    def _end_slowest(self) -> bool:
        """End slow bodies until the others fit, and return whether there were too many."""
        assert self.limit is not None
        measured = [(body.rate(), body) for body in self._bodies()]
        rates = [(rate, body) for rate, body in measured if rate is not None]
        excess = len(rates) - self.limit
        if excess <= 0:
            return False
        slow = [(rate, body) for rate, body in rates if rate < SLOW_RATE]
        slow.sort(key=lambda pair: pair[0])
        ended = slow[:excess]
        for _, body in ended:
            body.interrupt(BodyEnd.STALLED)
        if ended:
            log.info("%d slow bodies ended, so that others get a connection", len(ended))
        return True
