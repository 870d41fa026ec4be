"""Things to do again and again, each at its time, from as few threads as can keep up."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

_log = logging.getLogger(__name__)

MOST_THREADS = 8
"""One thread is enough while the service answers in milliseconds. The others are there for the
time when it does not: without them, one answer that is lost would delay all that come after it."""

LATE = 0.2
"""Seconds by which something may be late before one more thread is started."""

Beat = Callable[[], float | None]
"""Something to do. It says in how many seconds it wants to be done again; None for never."""


class Heart:
    """Does what it is told at its time. Its threads live while there is something to do.

    Under gevent they are greenlets, like all threads there.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By the instant at which it is due; the number only decides between equal ones.
        self._waiting: list[tuple[float, int, Beat]] = []
        self._numbers = itertools.count()
        self._threads = 0

    def schedule(self, beat: Beat, *, after: float) -> None:
        """Call `beat` in `after` seconds.

        Raises:
            RuntimeError: there can be no more threads, and there is none to do this.
        """
        due = time.monotonic() + after
        with self._changed:
            heapq.heappush(self._waiting, (due, next(self._numbers), beat))
            must_start = self._threads == 0
            self._threads += must_start
            self._changed.notify()
        if must_start:
            self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="tus-lock-heart", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._threads -= 1
            raise

    def _run(self) -> None:
        while (beat := self._next()) is not None:
            after: float | None = None
            try:
                after = beat()
            except Exception:  # noqa: BLE001 - or all other locks of the process would be lost
                _log.exception("a lock could not be kept")
            if after is not None:
                self.schedule(beat, after=after)

    def _next(self) -> Beat | None:
        """Wait until something is due; None when there is nothing left to do."""
        with self._changed:
            while self._waiting and (early := self._waiting[0][0] - time.monotonic()) > 0:
                self._changed.wait(early)
            if not self._waiting:
                self._threads -= 1
                # Others may wait for what is no longer there.
                self._changed.notify()
                return None
            due, _, beat = heapq.heappop(self._waiting)
            needs_help = time.monotonic() - due > LATE and self._threads < MOST_THREADS
            self._threads += needs_help
        if needs_help:
            with suppress(RuntimeError):  # no more threads: then this one does it all
                self._start()
        return beat
