"""Concurrent calls whose results are used in order (`map_concurrently`)."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

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
