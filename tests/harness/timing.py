"""Promises in seconds, kept on machines that do much else."""

from __future__ import annotations

from collections.abc import Callable

TRIES = 20
PATIENCE = 60.0
"""How often a promise may be late, and for how many seconds in all. One that is never kept is a
fault of ours; one that is kept at times shows that nothing is waited for which does not come."""


def assert_takes_less(seconds: float, measure: Callable[[], float]) -> None:
    """It takes less than so many seconds, of which `measure` says how many one more try has taken.

    Raises:
        AssertionError: it never did.
    """
    took: list[float] = []
    while not took or min(took) >= seconds:
        is_hopeless = len(took) == TRIES or sum(took) > PATIENCE
        assert not is_hopeless, f"never in {seconds} s, but in {took}"
        took.append(measure())
