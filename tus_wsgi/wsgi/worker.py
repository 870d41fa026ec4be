"""The gunicorn worker of this process, found without importing gunicorn.

gunicorn's workers handle signals with their own methods (gunicorn/workers/base.py), so a signal
handler leads to the worker. With it, every gunicorn drains its uploads when it stops, also if its
configuration knows nothing about uploads. Under other servers this module changes nothing.
"""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
from collections.abc import Mapping
from typing import Any, Protocol

from tus_wsgi.wsgi.draining import LIVE_BODIES, is_drain_watched, start_drain_watcher

log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGABRT, signal.SIGWINCH)
"""Signals that every worker of gunicorn handles. An app may have replaced a handler."""

_BASE = "gunicorn.workers.base"
"""The module of the base class of all workers."""

_USE_OURS = "Start gunicorn with -c python:tus_wsgi.gunicorn"


class ServerUnsupported(RuntimeError):
    """Uploads would fail or lose bytes on this server as it is configured."""


class Worker(Protocol):
    """The part of gunicorn's worker that this package uses."""

    alive: bool
    """Whether the worker serves requests; False as soon as it was told to stop."""
    cfg: Any
    """gunicorn's settings."""


class WorkerGuard:
    """Reports an unfit worker, and interrupts its uploads when it stops, once in each process."""

    def __init__(self) -> None:
        self._reported_in: int | None = None
        self._guarded_in: int | None = None

    def report(self) -> None:
        """Log a warning if uploads do not fit the class of this process's worker."""
        worker = current_worker()
        if worker is not None and self._reported_in != os.getpid():
            self._reported_in = os.getpid()
            if type(worker).__name__ == "SyncWorker":
                log.warning(
                    "gunicorn runs sync workers (SyncWorker): each serves one request at a time, "
                    "and is killed if an upload takes longer than gunicorn's timeout. %s, or with "
                    "-k gthread --threads 16",
                    _USE_OURS,
                )

    def on_request(self, environ: Mapping[str, Any]) -> None:
        """Prepare this process for uploads, at its first request only.

        Interrupt its uploads when it stops, and limit slow bodies. If no thread can be started for
        that, the next request tries again.
        """
        if self._guarded_in == os.getpid():
            return
        self._guarded_in = os.getpid()
        self.report()
        LIVE_BODIES.limit_slow(_connections_of(current_worker()))
        if is_drain_watched():
            return
        worker = current_worker()
        if worker is not None:
            try:
                start_drain_watcher(lambda: worker.alive)
            except RuntimeError as error:
                self._guarded_in = None
                log.warning("uploads would be cut off if this worker stopped now: %s", error)
        elif str(environ.get("SERVER_SOFTWARE", "")).startswith("gunicorn/"):
            log.warning(
                "gunicorn will not store what running uploads have received when it stops, because "
                "the app has replaced gunicorn's signal handlers. %s",
                _USE_OURS,
            )


WORKER_GUARD = WorkerGuard()
"""The guard of this process and its forks: a process has one worker."""


def current_worker() -> Worker | None:
    """Return gunicorn's worker in this process; None in other processes and under other servers."""
    for number in _SIGNALS:
        owner: Any = getattr(signal.getsignal(number), "__self__", None)
        if any(base.__module__ == _BASE for base in type(owner).__mro__):
            worker: Worker = owner
            return worker
    return None


def _connections_of(worker: Worker | None) -> int | None:
    """Return how many requests a worker serves at the same time; None if that is unknown."""
    kinds = {base.__name__ for base in type(worker).__mro__}
    if worker is not None and "GeventWorker" in kinds:
        return int(worker.cfg.worker_connections)
    if worker is not None and "ThreadWorker" in kinds:
        return int(worker.cfg.threads)
    return None


def is_worker_stopping() -> bool:
    """Return whether gunicorn has told the worker of this process to stop."""
    worker = current_worker()
    return worker is not None and not worker.alive


def check_patched() -> None:
    """Refuse modules that gevent has not patched or will not patch.

    Raises:
        ServerUnsupported: requests would block each other, or fail when they connect to S3.
    """
    is_unpatched = "gunicorn.workers.ggevent" in sys.modules and not is_patched()
    if is_unpatched or is_patched_late():
        raise ServerUnsupported(
            "gevent must patch the standard library before the app is imported. "
            f"{_USE_OURS}, or begin gunicorn's configuration with: "
            "from gevent import monkey; monkey.patch_all()"
        )


def is_patched_late() -> bool:
    """Return whether gevent patched `ssl` after the HTTP client of boto3 had imported it.

    Such a client raises RecursionError when it connects with TLS.
    """
    client = sys.modules.get("urllib3.util.ssl_")
    return is_patched() and getattr(client, "SSLContext", ssl.SSLContext) is not ssl.SSLContext


def is_patched() -> bool:
    """Return whether gevent has patched the standard library."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and monkey.is_module_patched("ssl")
