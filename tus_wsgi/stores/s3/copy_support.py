"""Remember that the service does not copy parts, so that not every part is tried in vain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

RETRY_AFTER = 600.0
"""Seconds without copies after a refused one. A policy may change, and a proxy may lose the body of
one response, so a refusal is not final; one vain call in ten minutes costs nothing."""


class CopySupport:
    """Whether to let S3 copy parts. All requests of a process share it.

    Args:
        clock: returns seconds that only increase.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._disabled_until = -math.inf

    @property
    def is_enabled(self) -> bool:
        """Whether no copy was refused in the last `RETRY_AFTER` seconds."""
        return self._clock() >= self._disabled_until

    def disable(self) -> None:
        """Make no copies for `RETRY_AFTER` seconds."""
        self._disabled_until = self._clock() + RETRY_AFTER
