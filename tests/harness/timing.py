"""Promises in seconds, kept on machines that do much else."""

from __future__ import annotations

from collections.abc import Callable

TRIES = 3
"""Who waits for what does not come is late each time, and who was delayed by others is not."""

MANY_TRIES = 20
"""For promises of so little time that such a machine keeps them only now and then."""


def assert_takes_less(seconds: float, measure: Callable[[], float], *, tries: int = TRIES) -> None:
    """It takes less than so many seconds, of which `measure` says how many one more try has taken.

    Raises:
        AssertionError: it never did.
    """
    took: list[float] = []
    while not took or min(took) >= seconds:
        assert len(took) < tries, f"never in {seconds} s, but in {took}"
        took.append(measure())
