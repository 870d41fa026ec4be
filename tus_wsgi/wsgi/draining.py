"""Stopping in good order: what has arrived is stored before the process ends.

A server that restarts gives its workers some seconds (gunicorn's `graceful_timeout`) and then kills
them. An upload can last for hours, so it is cut: its client resumes it at another worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tus_wsgi.wsgi.middleware import drain

CHECK_EVERY = 0.2
"""Seconds between two looks. Short beside any graceful timeout, and nothing beside a request."""


def drain_when_stopping(is_alive: Callable[[], bool]) -> None:
    """End all request bodies as soon as `is_alive` says no.

    In a gunicorn configuration::

        def post_worker_init(worker):
            drain_when_stopping(lambda: worker.alive)

    Args:
        is_alive: asked in a thread of its own until it says no.
    """

    def watch() -> None:
        while is_alive():
            time.sleep(CHECK_EVERY)
        drain()

    threading.Thread(target=watch, name="tus-drain", daemon=True).start()
