"""A scheduler for lease heartbeats that uses as few threads as possible."""

from __future__ import annotations

import contextvars
import functools
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

MAX_THREADS = 8
"""While the service answers in milliseconds two threads are enough: one runs a task, and one waits
for the next task to become due. The others are needed when the service does not answer: without
them a single lost response would delay all later tasks."""

Task = Callable[[], float | None]
"""Called when it is due. It returns the seconds until its next call; None to stop."""


class Scheduler:
    """Run tasks when they are due. The threads exist while there are tasks.

    Under gevent they are greenlets, like all threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # Sorted by the instant at which a task is due; the number decides between equal instants.
        self._queue: list[tuple[float, int, Task]] = []
        self._numbers = itertools.count()
        self._threads = 0
        self._idle = 0  # threads that wait for the next task to become due
        self._is_abandoned = False

    def schedule(self, task: Task, *, after: float) -> None:
        """Call `task` in `after` seconds.

        Raises:
            RuntimeError: no thread runs, and none can be started.
        """
        with self._changed:
            self._push(task, after)
            must_start = self._reserve_thread()
        if must_start:
            self._start_thread()

    def abandon(self) -> None:
        """Start no further task, in the child of a fork.

        The parent's greenlets continue in the child; its threads do not. They may hold the mutex,
        so this method does not wait for it.
        """
        self._is_abandoned = True

    def _push(self, task: Task, after: float) -> None:
        due = time.monotonic() + after
        heapq.heappush(self._queue, (due, next(self._numbers), task))
        self._changed.notify()

    def _reserve_thread(self) -> bool:
        """Return whether the caller must start a thread, because all threads are running tasks."""
        if self._idle > 0 or self._threads == MAX_THREADS:
            return False
        self._threads += 1
        self._idle += 1
        return True

    def _start_thread(self) -> None:
        try:
            # In an empty context: heartbeats do not belong to the request that starts the thread.
            run = functools.partial(contextvars.Context().run, self._run)
            threading.Thread(target=run, name="tus-lock-scheduler", daemon=True).start()
        except RuntimeError:
            with self._changed:
                self._threads -= 1
                self._idle -= 1
                no_thread_runs = self._threads == 0
            if no_thread_runs:
                raise

    def _run(self) -> None:
        while (task := self._next()) is not None:
            after: float | None = None
            try:
                after = task()
            except Exception:  # noqa: BLE001 - otherwise all other locks of the process are lost
                _log.exception("a lock could not be renewed or released")
            with self._changed:
                self._idle += 1
                if after is not None:
                    self._push(task, after)

    def _next(self) -> Task | None:
        """Wait until a task is due and return it; None if no tasks are left."""
        with self._changed:
            while self._has_tasks():
                due = self._queue[0][0]
                delay = due - time.monotonic()
                if delay <= 0:
                    break
                self._changed.wait(delay)
            self._idle -= 1
            if not self._has_tasks():
                self._threads -= 1
                # Other threads may still wait for a task that this one has run. Let them end too.
                self._changed.notify()
                return None
            _, _, task = heapq.heappop(self._queue)
            must_start = bool(self._queue) and self._reserve_thread()
        if must_start:
            self._start_thread()
        return task

    def _has_tasks(self) -> bool:
        return bool(self._queue) and not self._is_abandoned
