"""What this process knows about the conditional writes of the S3 service (D-11)."""

from __future__ import annotations

import time
from collections.abc import Callable

RETEST_INTERVAL = 600.0
"""Seconds after which a service that ignored conditions is tested again."""


class Conditions:
    """Whether the service honours the conditions of writes (`If-Match`, `If-None-Match`).

    Some services ignore them or answer 501. Only a test decides that: a write with a condition that
    does not hold. A single 501 may come from another program in front of the service.

    Args:
        now: returns the current time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._are_honoured: bool | None = None
        self._tested_at = 0.0

    @property
    def are_ignored(self) -> bool:
        """Whether the last test showed that the service ignores conditions."""
        return self._are_honoured is False

    @property
    def is_test_due(self) -> bool:
        """Whether the service was never tested, or failed the test long ago."""
        if self._are_honoured is None:
            return True
        return self.are_ignored and self._now() - self._tested_at >= RETEST_INTERVAL

    def note_test(self, *, honoured: bool) -> None:
        """Store the result of a test."""
        self._are_honoured = honoured
        self._tested_at = self._now()
