"""Deliver documents that nothing waits for, in a thread of their own."""

from __future__ import annotations

import atexit
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable

from tus_wsgi.domain.model import UploadId
from tus_wsgi.hooks.carrier import HookCall, HookCallFailed
from tus_wsgi.hooks.tusd_json import HookEvent, HookResponse, InvalidHookResponse

log = logging.getLogger(__name__)

MAX_WAITING = 1000
"""Documents that wait. Further ones are dropped."""

EXIT_SECONDS = 2.0
"""How long the end of the process waits for the documents that are left."""

OnResponse = Callable[[HookResponse], None]

Deliver = Callable[[HookCall, OnResponse | None], None]
"""Delivers a document, and passes a useful response on. May raise what `Carrier.ask` raises."""


class DeliveryQueue:
    """Delivers documents one after the other. Methods may be called by any thread.

    The thread ends when nothing is left, and the next document starts another one.

    Args:
        deliver: delivers a document; called in the thread.
        max_waiting: documents that may wait.
    """

    def __init__(self, deliver: Deliver, *, max_waiting: int = MAX_WAITING) -> None:
        self._deliver = deliver
        self._max_waiting = max_waiting
        self._waiting: OrderedDict[object, tuple[HookCall, OnResponse | None]] = OrderedDict()
        self._idle = threading.Event()
        self._idle.set()
        self._mutex = threading.Lock()
        self._is_registered = False
        self.dropped = 0
        """Documents that were dropped because too many were waiting."""

    def put(self, call: HookCall, on_response: OnResponse | None) -> None:
        """Deliver a document later. Of the progress of an upload, only the newest one waits."""
        key = _key(call)
        with self._mutex:
            if key not in self._waiting and len(self._waiting) >= self._max_waiting:
                self._drop(call)
                return
            self._waiting[key] = (call, on_response)
            if not self._is_registered:
                self._is_registered = True
                atexit.register(self.wait, EXIT_SECONDS)
            if not self._idle.is_set():
                return
            self._idle.clear()
        threading.Thread(target=self._run, name="tus-hooks", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing is left, for at most some seconds. Return whether nothing is left."""
        return self._idle.wait(seconds)

    def _drop(self, call: HookCall) -> None:
        self.dropped += 1
        # One line for each power of two: the log must not grow with the load.
        if self.dropped & (self.dropped - 1) == 0:
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
            try:
                self._deliver(call, on_response)
            except (HookCallFailed, InvalidHookResponse) as error:
                log.warning("the hook %s failed: %s", call.event, error)
            except Exception as error:  # noqa: BLE001 - the thread must go on
                log.warning("the hook %s failed: %s", call.event, type(error).__name__)


def _key(call: HookCall) -> tuple[HookEvent, UploadId | str | None]:
    """Return a key that documents share of which only the newest one is useful."""
    return call.event, call.upload if call.event is HookEvent.POST_RECEIVE else call.id
