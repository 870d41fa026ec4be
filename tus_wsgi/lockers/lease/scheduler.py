"""Things to do again and again, each at its time, from as few threads as can keep up."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

MAX_THREADS = 8
"""Two are enough while the service answers in milliseconds: one at work, and one that looks out for
what is due next. The others are there for the time when it does not: without them, a single answer
that is lost would delay all that come after it."""

Task = Callable[[], float | None]
"""Something to do. It says in how many seconds it wants to be done again; None for never."""


class Scheduler:
    """Does what it is told at its time. Its threads live while there is something to do.

    Under gevent they are greenlets, like all threads there.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # By the instant at which it is due; the number only decides between equal ones.
        self._waiting: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0  # of them, those that look out for what is due

    def schedule(self, beat: Task, *, after: float) -> None:
        """Call `beat` in `after` seconds.

        Raises:
            RuntimeError: there can be no more threads, and there is none to do this.
        """
        with self._changed:
            self._push(beat, after)
            must_start = self._hire()
        if must_start:
            self._start()

    def _push(self, beat: Task, after: float) -> None:
        due = time.monotonic() + after
        heapq.heappush(self._waiting, (due, next(self._numbers), beat))
        self._changed.notify()

    def _hire(self) -> bool:
        """Whether one more thread has to be started, because all are at work."""
        if self._idle > 0 or self._threads == MAX_THREADS:
            return False
        self._threads += 1
        self._idle += 1
        return True

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="tus-lock-heart", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._threads -= 1
                self._idle -= 1
                is_alone = self._threads == 0
            if is_alone:
                raise

    def _run(self) -> None:
        while (beat := self._next()) is not None:
            after: float | None = None
            try:
                after = beat()
            except Exception:  # noqa: BLE001 - or all other locks of the process would be lost
                _log.exception("a lock could not be kept")
            with self._changed:
                self._idle += 1
                if after is not None:
                    self._push(beat, after)

    def _next(self) -> Task | None:
        """Wait until something is due; None when there is nothing left to do."""
        with self._changed:
            while self._waiting and (early := self._waiting[0][0] - time.monotonic()) > 0:
                self._changed.wait(early)
            self._idle -= 1
            if not self._waiting:
                self._threads -= 1
                # Others may wait for what is no longer there.
                self._changed.notify()
                return None
            _, _, beat = heapq.heappop(self._waiting)
            must_start = bool(self._waiting) and self._hire()
        if must_start:
            self._start()
        return beat
