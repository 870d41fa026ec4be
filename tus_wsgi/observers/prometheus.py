"""Metrics for Prometheus. Needs the extra `prometheus`.

No label contains an id, a key, a path, an owner or other text of a client: ids are secrets, and
every new value of a label would be one more time series.

If `PROMETHEUS_MULTIPROC_DIR` is set when this module is imported, the values are in files of that
directory, and each worker serves the sums over all workers. See `tus_wsgi.observers.workers`.
"""

from __future__ import annotations

import functools
import logging
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client import values as values_of_client
from prometheus_client.multiprocess import MultiProcessCollector

from tus_wsgi.domain.events import (
    BodyClosed,
    BodyOpened,
    BytesStored,
    Event,
    HookCalled,
    LeaseLost,
    LockAcquired,
    LockTakenOver,
    LockTimedOut,
    MemoryUsed,
    RequestServed,
    S3Called,
    UploadCreated,
    UploadFinished,
    UploadRejected,
    UploadTerminated,
)
from tus_wsgi.observers.workers import DIRECTORY, reading

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The media type of the page."""

READ_ATTEMPTS = 50
READ_PAUSE = 0.02
"""How often, and after how many seconds, files that cannot be read yet are read again."""

_METHODS = frozenset({"OPTIONS", "HEAD", "GET", "POST", "PUT", "PATCH", "DELETE"})

# A completion in S3 may take minutes, and a hook may call other services.
_CALL_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LOCK_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metrics:
    """The metrics by what they count."""

    requests: Counter
    errors: Counter
    bytes_received: Counter
    created: Counter
    finished: Counter
    terminated: Counter
    rejected: Counter
    bodies_cut: Counter
    bodies_open: Gauge
    memory: Gauge
    lock_wait: Histogram
    locks_refused: Counter
    locks_taken_over: Counter
    locks_lost: Counter
    s3: Histogram
    s3_errors: Counter
    hooks: Histogram
    hook_errors: Counter


class PrometheusObserver:
    """Counts events. All names begin with `tus_`.

    Args:
        registry: registers the metrics. With the default, they appear on the page that your
            application serves already.

    Raises:
        ValueError: another observer has registered the same metrics.
    """

    handles = frozenset(
        {
            *(BodyClosed, BodyOpened, BytesStored, HookCalled, LeaseLost, LockAcquired),
            *(LockTakenOver, LockTimedOut, MemoryUsed, RequestServed, S3Called),
            *(UploadCreated, UploadFinished, UploadRejected, UploadTerminated),
        }
    )

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._metrics = _register(registry)
        if os.environ.get(DIRECTORY) and not self.is_shared:
            log.warning(
                "%s has no effect: it was set after prometheus_client was imported", DIRECTORY
            )

    @property
    def is_shared(self) -> bool:
        """Whether the values are in files that all workers share."""
        return values_of_client.ValueClass is not values_of_client.MutexValue

    def __call__(self, event: Event, /) -> None:
        """Count an event."""
        metrics = self._metrics
        match event:
            case RequestServed():
                self._count_request(event)
            case S3Called(operation=operation, seconds=seconds):
                metrics.s3.labels(operation).observe(seconds)
                if event.is_failure:
                    metrics.s3_errors.labels(operation).inc()
            case HookCalled(hook=hook, seconds=seconds):
                metrics.hooks.labels(hook).observe(seconds)
                if event.error is not None:
                    metrics.hook_errors.labels(hook).inc()
            case BodyOpened():
                metrics.bodies_open.inc()
            case BodyClosed(cut_short=reason):
                metrics.bodies_open.dec()
                if reason is not None:
                    metrics.bodies_cut.labels(reason).inc()
            case MemoryUsed(size=size):
                metrics.memory.set(size)
            case _:
                self._count_upload(event)

    def page(self) -> bytes:
        """Return the metrics in the text format of Prometheus: those of all workers together."""
        directory = os.environ.get(DIRECTORY)
        if not directory or not self.is_shared:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)
        with reading(directory):
            return _read(registry)

    def _count_request(self, event: RequestServed) -> None:
        method = event.method if event.method in _METHODS else "other"
        status = f"{event.status // 100}xx"
        self._metrics.requests.labels(method, event.protocol, status).inc()
        if event.error is not None:
            self._metrics.errors.labels(str(event.status), event.error).inc()

    def _count_upload(self, event: Event) -> None:
        metrics = self._metrics
        match event:
            case UploadCreated():
                metrics.created.inc()
            case BytesStored(count=count):
                metrics.bytes_received.inc(max(0, count))
            case UploadFinished():
                metrics.finished.inc()
            case UploadTerminated():
                metrics.terminated.inc()
            case UploadRejected():
                metrics.rejected.inc()
            case LockAcquired(seconds=seconds):
                metrics.lock_wait.observe(seconds)
            case LockTimedOut():
                metrics.locks_refused.inc()
            case LockTakenOver():
                metrics.locks_taken_over.inc()
            case LeaseLost():
                metrics.locks_lost.inc()
            case _:
                pass


def _read(registry: CollectorRegistry) -> bytes:
    """Return the metrics in the files of all workers.

    A worker that starts has a file without content for a moment, which prometheus_client cannot
    read.
    """
    for _ in range(READ_ATTEMPTS):
        try:
            return generate_latest(registry)
        except (struct.error, FileNotFoundError):
            time.sleep(READ_PAUSE)
    return generate_latest(registry)


@functools.cache
def page_observer() -> PrometheusObserver:
    """Return the observer of all middlewares of this process whose settings ask for a page.

    There must be only one: the values of a second one would replace those in the shared files.
    """
    return PrometheusObserver(CollectorRegistry())


def _register(registry: CollectorRegistry) -> _Metrics:
    def counter(name: str, help: str, *labels: str) -> Counter:
        return Counter(f"tus_{name}", help, labels, registry=registry)

    def gauge(name: str, help: str) -> Gauge:
        gauge = Gauge(f"tus_{name}", help, registry=registry, multiprocess_mode="livesum")
        # The file of an earlier process with the same process id may contain another value.
        gauge.set(0)
        return gauge

    def histogram(name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(f"tus_{name}", help, labels, registry=registry, buckets=buckets)

    return _Metrics(
        requests=counter("requests", "Requests for uploads.", "method", "protocol", "status"),
        errors=counter("errors", "Requests that failed, by error.", "status", "code"),
        bytes_received=counter("bytes_received", "Bytes of bodies that were stored."),
        created=counter("uploads_created", "Uploads that were created."),
        finished=counter("uploads_finished", "Uploads that were finished."),
        terminated=counter("uploads_terminated", "Uploads that were removed by clients."),
        rejected=counter("uploads_rejected", "Complete files that the application rejected."),
        bodies_cut=counter("bodies_cut", "Bodies that ended early.", "why"),
        bodies_open=gauge("bodies_open", "Bodies that are being received."),
        memory=gauge("memory_bytes", "Memory of parts in transfer."),
        lock_wait=histogram("lock_wait_seconds", "Time to acquire a lock.", _LOCK_BUCKETS),
        locks_refused=counter("locks_refused", "Requests that did not get the lock in time."),
        locks_taken_over=counter("locks_taken_over", "Locks taken from holders that stopped."),
        locks_lost=counter("locks_lost", "Locks that a request lost while it held them."),
        s3=histogram("s3_seconds", "Calls of S3.", _CALL_BUCKETS, "operation"),
        s3_errors=counter("s3_errors", "Calls of S3 that failed.", "operation"),
        hooks=histogram("hook_seconds", "Calls of the application's hooks.", _CALL_BUCKETS, "hook"),
        hook_errors=counter("hook_errors", "Hooks that raised an exception.", "hook"),
    )
