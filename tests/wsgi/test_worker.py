"""gunicorn's worker: found by its signal handlers, reported if unfit, drained when it stops."""

from __future__ import annotations

import logging
import os
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from tests.harness.timing import MAX_WAIT
from tus_wsgi.wsgi import draining
from tus_wsgi.wsgi import worker as worker_module
from tus_wsgi.wsgi.draining import LiveBodies
from tus_wsgi.wsgi.worker import (
    ServerUnsupported,
    WorkerGuard,
    check_patched,
    current_worker,
    is_patched_late,
)

GUNICORN = {"SERVER_SOFTWARE": "gunicorn/27.0.1"}


Start = Callable[[type[Worker]], Any]


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> LiveBodies:
    """Bodies and watchers of this test only."""
    live = LiveBodies()
    monkeypatch.setattr(draining, "LIVE_BODIES", live)
    monkeypatch.setattr(draining, "_watched_processes", set())
    return live


@pytest.fixture
def start(live: LiveBodies) -> Iterator[Start]:
    """A function that creates a worker. Its signal handlers become those of this process."""
    numbers = [*Worker.SIGNALS, signal.SIGABRT]
    before = {number: signal.getsignal(number) for number in numbers}
    workers: list[Any] = []

    def start(kind: type[Worker]) -> Any:
        worker = kind(1, os.getpid(), [], None, 30, Config(), logging.getLogger("gunicorn"))
        worker.PIPE = os.pipe()
        os.set_blocking(worker.PIPE[1], False)
        worker.init_signals()
        workers.append(worker)
        return worker

    yield start
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)
    for worker in workers:
        worker.alive = False  # its watcher ends
        for thread in threading.enumerate():
            if thread.name == "tus-drain":
                thread.join(MAX_WAIT)
        os.close(worker.PIPE[0])
        os.close(worker.PIPE[1])
        worker.tmp.close()


def test_a_process_without_gunicorn_has_no_worker() -> None:
    assert current_worker() is None


@pytest.mark.parametrize("kind", [SyncWorker, ThreadWorker])
def test_the_worker_is_found_even_if_the_app_handles_sigterm(
    kind: type[Worker], start: Start
) -> None:
    worker = start(kind)
    assert current_worker() is worker
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert current_worker() is worker


def test_a_stopping_worker_interrupts_its_uploads_without_any_configuration(
    start: Start, live: LiveBodies
) -> None:
    """The bytes that have arrived are stored."""
    worker = start(SyncWorker)
    interrupted = threading.Event()

    class Body:
        def rate(self) -> float:
            return float("inf")

        def interrupt(self, _end: object, /) -> None:
            interrupted.set()

    body = Body()
    live.add(body)
    guard = WorkerGuard()
    guard.on_request(GUNICORN)
    guard.on_request(GUNICORN)
    assert not interrupted.is_set()
    signal.raise_signal(signal.SIGTERM)
    assert not worker.alive
    assert interrupted.wait(MAX_WAIT)


def test_a_later_request_starts_the_watcher_if_no_thread_could_be_started(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The bytes that have arrived are stored."""
    start(ThreadWorker)

    def fail(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    guard = WorkerGuard()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        guard.on_request(GUNICORN)
    assert not draining.is_drain_watched()
    assert "can't start new thread" in caplog.text
    guard.on_request(GUNICORN)
    assert draining.is_drain_watched()


def test_a_watcher_of_the_configuration_is_enough(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ThreadWorker)
    draining.start_drain_watcher(lambda: False)
    monkeypatch.setattr(worker_module, "start_drain_watcher", pytest.fail)
    WorkerGuard().on_request(GUNICORN)


def test_a_worker_that_cannot_be_found_is_reported_once(
    live: LiveBodies, caplog: pytest.LogCaptureFixture
) -> None:
    guard = WorkerGuard()
    guard.on_request({"SERVER_SOFTWARE": "waitress"})
    assert caplog.messages == []
    guard = WorkerGuard()
    guard.on_request(GUNICORN)
    guard.on_request(GUNICORN)
    (message,) = caplog.messages
    assert "will not store what running uploads have received" in message
    assert "-c python:tus_wsgi.gunicorn" in message


@pytest.mark.parametrize(("kind", "count"), [(SyncWorker, 1), (ThreadWorker, 0)])
def test_a_sync_worker_is_reported_once(
    kind: type[Worker],
    count: int,
    start: Start,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sentence names the worker class and what to do."""
    start(kind)
    guard = WorkerGuard()
    guard.report()
    guard.report()
    guard.on_request(GUNICORN)
    found = [message for message in caplog.messages if "SyncWorker" in message]
    assert len(found) == len(caplog.messages) == count
    assert all("-c python:tus_wsgi.gunicorn" in message for message in found)


class Monkey(ModuleType):
    """Has what the check uses of gevent.monkey."""

    is_patched = False

    def is_module_patched(self, name: str) -> bool:
        assert name == "ssl"
        return self.is_patched


@pytest.fixture
def monkey(monkeypatch: pytest.MonkeyPatch) -> Monkey:
    """A gevent that has not patched, with gunicorn's gevent worker."""
    monkey = Monkey("gevent.monkey")
    monkeypatch.setitem(sys.modules, "gevent.monkey", monkey)
    monkeypatch.setitem(sys.modules, "gunicorn.workers.ggevent", ModuleType("ggevent"))
    return monkey


def test_an_app_that_is_preloaded_for_unpatched_gevent_workers_is_refused(monkey: Monkey) -> None:
    """S3 would fail with RecursionError, or block all requests."""
    with pytest.raises(ServerUnsupported, match="gevent must patch .* -c python:tus_wsgi.gunicorn"):
        check_patched()
    monkey.is_patched = True
    check_patched()
    assert not is_patched_late()


def test_a_patch_after_the_import_of_boto3_is_refused(
    monkey: Monkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkey.is_patched = True
    monkeypatch.setattr(ssl, "SSLContext", type("SSLContext", (), {}))
    assert is_patched_late()
    with pytest.raises(ServerUnsupported):
        check_patched()


def test_gevent_without_gunicorn_s_worker_may_stay_unpatched(
    monkey: Monkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program may use gevent for something else."""
    monkeypatch.delitem(sys.modules, "gunicorn.workers.ggevent")
    check_patched()
