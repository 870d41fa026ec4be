"""Time limits that hold on busy machines too."""

from __future__ import annotations

import time
from collections.abc import Callable

MAX_WAIT = 60.0
"""Seconds that a test waits for an expected event, so that a slow machine does not fail it."""

TRIES = 3
"""Code that waits for a timeout is late in every try. Code that other processes delay is not."""

MANY_TRIES = 20
"""For limits so short that a busy machine meets them only now and then."""


def assert_takes_less(seconds: float, measure: Callable[[], float], *, tries: int = TRIES) -> None:
    """Assert that one of several tries takes less than `seconds`.

    Args:
        seconds: the limit.
        measure: makes a try, and returns the seconds that it took.
        tries: how many tries there are at most.

    Raises:
        AssertionError: every try took longer.
    """
    measured: list[float] = []
    while not measured or min(measured) >= seconds:
        assert len(measured) < tries, f"all tries took longer than {seconds} s: {measured}"
        measured.append(measure())


def wait_until(condition: Callable[[], object], *, seconds: float = MAX_WAIT) -> float:
    """Wait until a condition holds, and return how many seconds that took.

    Raises:
        AssertionError: the condition did not hold within `seconds`.
    """
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"the condition was not met in {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - began
