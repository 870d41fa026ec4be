"""Health for load balancers and orchestrators: whether the process lives, and may get requests."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping

from tus_wsgi.protocol.http import Reply
from tus_wsgi.wsgi.draining import LIVE_BODIES, LiveBodies
from tus_wsgi.wsgi.pages import Page

log = logging.getLogger(__name__)

CHECK_INTERVAL = 5.0
"""Seconds between the beginnings of two checks of a service, at least. Load balancers may send any
number of probes, and not each of them may call S3."""

CHECK_TIMEOUT = 1.0
"""Seconds within which a service must answer."""

Check = Callable[[], None]
"""Asks a service for an answer. Raises an exception if there is none."""


class PeriodicCheck:
    """A check that runs in a thread of its own, one at a time.

    Args:
        name: the name of the service, for the log.
        check: the check.
        interval: seconds between the beginnings of two checks, at least.
        timeout: seconds within which a check must end.
    """

    def __init__(
        self,
        name: str,
        check: Check,
        *,
        interval: float = CHECK_INTERVAL,
        timeout: float = CHECK_TIMEOUT,
    ) -> None:
        self._name = name
        self._check = check
        self._interval = interval
        self._timeout = timeout
        self._changed = threading.Condition()
        self._began = float("-inf")
        self._is_running = False
        self._has_passed = True

    def begin(self) -> None:
        """Start a check in the background, if one is due and none is running."""
        with self._changed:
            now = time.monotonic()
            if self._is_running or now - self._began < self._interval:
                return
            self._is_running, self._began = True, now
        # Outside of the mutex: under gevent, starting a thread switches to other greenlets.
        try:
            threading.Thread(target=self._run, name="tus-health", daemon=True).start()
        except RuntimeError as error:  # no more threads
            self._end(error)

    def passes(self) -> bool:
        """Return whether the last check has passed; wait for a running one until its timeout."""
        with self._changed:
            deadline = self._began + self._timeout
            while self._is_running:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._changed.wait(left)
            return self._has_passed

    def _run(self) -> None:
        try:
            self._check()
        except Exception as error:  # noqa: BLE001 - every failure means the same
            self._end(error)
        else:
            took = time.monotonic() - self._began
            late = f"it answered after {took:.1f} s"
            self._end(TimeoutError(late) if took > self._timeout else None)

    def _end(self, error: Exception | None) -> None:
        with self._changed:
            had_passed = self._has_passed
            self._has_passed = error is None
            self._is_running = False
            self._changed.notify_all()
        if error is not None and had_passed:
            cause = error.__cause__ or error
            log.warning("not ready: the check of %s failed: %s", self._name, cause)
        elif error is None and not had_passed:
            log.info("ready again: the check of %s has passed", self._name)


class ReadinessPage:
    """Whether this process may get requests: 200, or 503 with the reasons.

    Args:
        checks: the services that requests need, by name.
        live: tells whether the process is draining.
    """

    def __init__(
        self, checks: Mapping[str, PeriodicCheck], *, live: LiveBodies = LIVE_BODIES
    ) -> None:
        self._checks = dict(checks)
        self._live = live

    def __call__(self, _environ: Mapping[str, object]) -> Reply:
        """Return the answer as JSON, such as `{"ready": false, "because": ["s3"]}`."""
        if self._live.is_draining:
            return _reply(503, {"ready": False, "because": ["draining"]})
        for check in self._checks.values():
            check.begin()
        because = [name for name, check in self._checks.items() if not check.passes()]
        if because:
            return _reply(503, {"ready": False, "because": because})
        return _reply(200, {"ready": True})


def liveness_page(_environ: Mapping[str, object]) -> Reply:
    """Answer 200: a process that answers lives. A failure of S3 is no reason to restart it."""
    return _reply(200, {"live": True})


def health_pages(path: str, checks: Mapping[str, Check]) -> dict[str, Page]:
    """Return the pages below `path`, given the checks of services by name."""
    periodic = {name: PeriodicCheck(name, check) for name, check in checks.items()}
    return {
        path: liveness_page,
        f"{path}/live": liveness_page,
        f"{path}/ready": ReadinessPage(periodic),
    }


def _reply(status: int, content: Mapping[str, object]) -> Reply:
    body = json.dumps(content).encode() + b"\n"
    return Reply(status, [("Content-Type", "application/json")], body)
