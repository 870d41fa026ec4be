"""Concurrent calls whose results are used in order (`map_concurrently`)."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.harness.bodies import INTERRUPT_TIMEOUT
from tus_wsgi.stores.s3.transfers import MAX_CALLS_IN_FLIGHT, map_concurrently


def test_results_are_in_order_and_calls_in_flight_are_limited() -> None:
    running: list[int] = []
    running_counts: list[int] = []
    mutex = threading.Lock()

    def square(number: int) -> int:
        with mutex:
            running.append(number)
            running_counts.append(len(running))
        time.sleep(0.001 * (number % 3))
        with mutex:
            running.remove(number)
        return number * number

    with (
        ThreadPoolExecutor(3 * MAX_CALLS_IN_FLIGHT) as pool,
        map_concurrently(pool, square, range(100)) as results,
    ):
        assert list(results) == [number * number for number in range(100)]
    assert max(running_counts) <= MAX_CALLS_IN_FLIGHT


def test_no_call_begins_after_a_failure() -> None:
    begun: list[int] = []

    def fail(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise ValueError(number)

    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(ValueError, match="3"),
        map_concurrently(pool, fail, range(1000)) as results,
    ):
        list(results)
    assert len(begun) <= 4 + MAX_CALLS_IN_FLIGHT


def test_leaving_the_context_waits_for_running_calls() -> None:
    ended: list[int] = []

    def slow(number: int) -> int:
        time.sleep(0.02)
        ended.append(number)
        return number

    with ThreadPoolExecutor(4) as pool:
        with map_concurrently(pool, slow, range(1000)) as results:
            assert next(results) == 0
        count = len(ended)
        time.sleep(0.05)
        assert len(ended) == count <= MAX_CALLS_IN_FLIGHT + 1


class Gate:
    """A call of another request, which keeps the only thread of a pool busy until `open`.

    Attributes:
        was_opened: whether `open` was called in time.
    """

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._event = threading.Event()
        self.was_opened = False
        is_busy = threading.Event()
        ThreadPoolExecutor.submit(pool, self._wait, is_busy)
        assert is_busy.wait(INTERRUPT_TIMEOUT)

    def _wait(self, is_busy: threading.Event) -> None:
        is_busy.set()
        self.was_opened = self._event.wait(INTERRUPT_TIMEOUT)

    def open(self) -> None:
        self._event.set()


def test_a_call_that_was_queued_for_a_thread_that_cannot_start_does_not_begin_later() -> None:
    """D-10: it would begin after the lock of its request is released."""

    class Refusing(ThreadPoolExecutor):
        def submit(self, *args: Any, **options: Any) -> Future[Any]:
            super().submit(*args, **options)
            raise RuntimeError("can't start new thread")

    begun: list[int] = []
    with Refusing(1) as pool:
        gate = Gate(pool)
        with (
            pytest.raises(RuntimeError, match="thread"),
            map_concurrently(pool, begun.append, range(3)) as results,
        ):
            list(results)
        gate.open()
    assert begun == []
    assert gate.was_opened


def test_a_call_whose_result_is_no_longer_awaited_does_not_begin_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """D-10: the wait for its result is interrupted, as by gevent's `GreenletExit`."""

    class Interrupted(BaseException):
        pass

    def interrupt(_call: object) -> None:
        raise Interrupted

    begun: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        gate = Gate(pool)
        monkeypatch.setattr(Future, "result", interrupt)
        with (
            pytest.raises(Interrupted),
            map_concurrently(pool, begun.append, range(3)) as results,
        ):
            next(results)
        gate.open()
    assert begun == []
    assert gate.was_opened, "leaving the context waited for a call of another request"


def test_a_failure_is_released_without_the_garbage_collector() -> None:
    """Its traceback refers to the buffers of its request."""

    class FailedError(Exception):
        pass

    def fail(_item: int) -> None:
        raise FailedError

    def fail_all(pool: ThreadPoolExecutor) -> weakref.ref[FailedError]:
        try:
            with map_concurrently(pool, fail, range(3)) as results:
                list(results)
        except FailedError as error:
            return weakref.ref(error)
        raise AssertionError

    gc.disable()
    try:
        with ThreadPoolExecutor(1) as pool:
            failure = fail_all(pool)
        assert failure() is None
    finally:
        gc.enable()
