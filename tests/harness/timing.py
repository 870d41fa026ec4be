"""Time limits that hold on busy machines too."""

from __future__ import annotations

from collections.abc import Callable

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
        AssertionError: Every try took longer.
    """
    measured: list[float] = []
    while not measured or min(measured) >= seconds:
        assert len(measured) < tries, f"all tries took longer than {seconds} s: {measured}"
        measured.append(measure())
