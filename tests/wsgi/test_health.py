"""Liveness and readiness, with checks that the tests control."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.harness.timing import assert_takes_less, wait_until
from tus_wsgi.wsgi.draining import LiveBodies
from tus_wsgi.wsgi.health import PeriodicCheck, ReadinessPage, liveness_page


class Service:
    """A service whose answers the test controls. Calling it checks the service."""

    def __init__(self) -> None:
        self.calls = 0
        self.error: Exception | None = None
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> None:
        self.calls += 1
        assert self.answers.wait(30)
        if self.error is not None:
            raise self.error


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    yield service
    service.answers.set()


def answer(page: ReadinessPage) -> tuple[int, object]:
    reply = page({})
    return reply.status, json.loads(reply.body)


def page_of(check: PeriodicCheck, live: LiveBodies | None = None) -> ReadinessPage:
    return ReadinessPage({"s3": check}, live=live or LiveBodies())


READY = (200, {"ready": True})
NOT_READY = (503, {"ready": False, "because": ["s3"]})


def test_a_process_is_ready_while_the_services_answer(service: Service) -> None:
    page = page_of(PeriodicCheck("S3", service, interval=0))
    assert answer(page) == READY
    service.error = OSError("no route to host")
    assert answer(page) == NOT_READY
    service.error = None
    assert answer(page) == READY


def test_a_service_is_asked_once_in_an_interval(service: Service) -> None:
    page = page_of(PeriodicCheck("S3", service, interval=60))
    assert [answer(page) for _ in range(20)] == [READY] * 20
    assert service.calls == 1


def test_a_service_that_does_not_answer_is_asked_by_one_thread_only(service: Service) -> None:
    """Probes must not pile up behind a call that hangs, and get their answer at the timeout."""
    service.answers.clear()
    page = page_of(PeriodicCheck("S3", service, interval=0, timeout=0.2))
    answers: list[object] = []
    probes = [threading.Thread(target=lambda: answers.append(answer(page))) for _ in range(8)]
    for probe in probes:
        probe.start()
    for probe in probes:
        probe.join(30)
    assert answers == [NOT_READY] * 8
    assert service.calls == 1

    def measure() -> float:
        began = time.monotonic()
        assert answer(page) == NOT_READY
        return time.monotonic() - began

    assert_takes_less(0.2, measure)  # the timeout counts from the beginning of the call
    service.answers.set()
    wait_until(lambda: answer(page) == READY)


def test_an_answer_after_the_timeout_is_a_failure() -> None:
    check = PeriodicCheck("S3", lambda: time.sleep(0.1), interval=60, timeout=0.01)
    page = page_of(check)
    assert answer(page) == NOT_READY
    wait_until(lambda: not check._is_running)
    assert answer(page) == NOT_READY


def test_a_process_that_drains_is_not_ready_and_asks_no_service(service: Service) -> None:
    live = LiveBodies()
    page = page_of(PeriodicCheck("S3", service, interval=0), live)
    live.drain()
    assert answer(page) == (503, {"ready": False, "because": ["draining"]})
    assert service.calls == 0


def test_a_failure_is_logged_once_with_its_cause(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    page = page_of(PeriodicCheck("the bucket", service, interval=0))

    def logged() -> list[str]:
        # A thread of another test may still log its check.
        messages = (record.getMessage() for record in caplog.records)
        return [message for message in messages if "the bucket" in message]

    service.error = OSError("no route to host")
    for _ in range(3):
        answer(page)
    service.error = None
    answer(page)
    # The check is logged after its result can be seen.
    wait_until(lambda: len(logged()) >= 2)
    assert logged() == [
        "not ready: the check of the bucket failed: no route to host",
        "ready again: the check of the bucket has passed",
    ]


def test_without_a_thread_the_process_is_not_ready(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object, **__: object) -> Callable[[], None]:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading, "Thread", no_thread)
    assert answer(page_of(PeriodicCheck("S3", service))) == NOT_READY


def test_a_process_that_answers_lives() -> None:
    assert liveness_page({}).status == 200
