"""Deliver documents that nothing waits for, in a thread of their own."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

from tus_wsgi.domain.events import HookCalled
from tus_wsgi.domain.model import UploadId
from tus_wsgi.hooks.carrier import HookCall, OnEvent, ignore_event, try_to_deliver
from tus_wsgi.hooks.tusd_json import HookEvent, HookResponse

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Documents that may wait. Further documents are dropped."""

EXIT_SECONDS = 2.0
"""How long the end of the process waits for the documents that are left."""

OnResponse = Callable[[HookResponse], None]

Deliver = Callable[[HookCall, OnResponse | None], None]
"""Delivers a document, and passes a useful response on. May raise what `Carrier.ask` raises."""


class DeliveryQueue:
    """Delivers documents one after the other. Methods may be called by any thread.

    The thread ends when nothing is left, and the next document starts another one. If no thread can
    be started, the document waits for the next one.

    Args:
        deliver: delivers a document; called in the thread.
        max_waiting: documents that may wait.
        on_event: receives the outcome for each document, also for one that was dropped.
    """

    def __init__(
        self,
        deliver: Deliver,
        *,
        max_waiting: int = MAX_WAITING,
        on_event: OnEvent = ignore_event,
    ) -> None:
        self._deliver = deliver
        self._on_event = on_event
        self._max_waiting = max_waiting
        self._waiting: OrderedDict[object, tuple[HookCall, OnResponse | None]] = OrderedDict()
        self._idle = threading.Event()
        self._idle.set()
        self._mutex = threading.Lock()
        self._is_registered = False
        self.dropped = 0
        """Documents that were dropped because too many were waiting."""

    def put(self, call: HookCall, on_response: OnResponse | None) -> None:
        """Deliver a document later. It replaces a waiting document with the same `_key`."""
        with self._mutex:
            is_accepted = self._add(call, on_response)
            starts = is_accepted and self._idle.is_set()
            if starts:
                self._idle.clear()
        if not is_accepted:
            self._on_event(HookCalled(call.event.value, 0.0, "Dropped"))
        if starts:
            self._start_thread()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left, for at most some seconds. Return whether nothing is left."""
        return self._idle.wait(seconds) and not self._waiting

    def _start_thread(self) -> None:
        try:
            threading.Thread(target=self._run, name="tus-hooks", daemon=True).start()
        except RuntimeError as error:  # no more threads
            # No request may fail or wait because of these documents.
            self._idle.set()
            log.warning("a hook is delivered later, with the next one: %s", error)

    def _add(self, call: HookCall, on_response: OnResponse | None) -> bool:
        """Add a document, and return whether there was room for it."""
        key = _key(call)
        if key not in self._waiting and len(self._waiting) >= self._max_waiting:
            self._drop(call)
            return False
        self._waiting[key] = (call, on_response)
        if not self._is_registered:
            self._is_registered = True
            atexit.register(self.wait, EXIT_SECONDS)
        return True

    def _drop(self, call: HookCall) -> None:
        self.dropped += 1
        # One line for each power of two: the log must not grow with the load.
        is_power_of_two = self.dropped & (self.dropped - 1) == 0
        if is_power_of_two:
            log.warning(
                "%d hooks were dropped so far: the endpoint of %s is too slow",
                self.dropped,
                call.event,
            )

    def _run(self) -> None:
        while True:
            with self._mutex:
                if not self._waiting:
                    self._idle.set()
                    return
                _, (call, on_response) = self._waiting.popitem(last=False)
            try_to_deliver(call, partial(self._deliver, call, on_response), self._on_event)


def _key(call: HookCall) -> tuple[HookEvent, UploadId | str | None]:
    """Return the same key for all documents about the progress of an upload, else a unique key."""
    if call.event is HookEvent.POST_RECEIVE:
        return call.event, call.upload
    return call.event, call.id
