"""Remember that the service does not copy parts, so that not every part is tried in vain."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from tus_wsgi.domain.model import KIB

RETRY_AFTER = 600.0
"""Seconds without copies after a refused copy. A refusal is not final: a policy may change, and a
proxy may lose the body of one response. One refused call in ten minutes costs little."""

TINY = 4 * KIB
"""Bytes of the largest copy whose refusal says nothing about other copies. Garage keeps objects of
up to 3 KiB with their metadata, and does not copy them."""


class CopySupport:
    """Whether to let S3 copy parts. All requests of a process share it.

    Args:
        clock: returns seconds that only increase.
        tiny: see `TINY`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, tiny: int = TINY) -> None:
        self._clock = clock
        self._tiny = tiny
        self._disabled_until = -math.inf

    @property
    def is_enabled(self) -> bool:
        """Whether no copy was refused in the last `RETRY_AFTER` seconds."""
        return self._clock() >= self._disabled_until

    def note_refused(self, size: int) -> None:
        """Note that the service refused to copy `size` bytes."""
        if size > self._tiny:
            self.disable()

    def disable(self) -> None:
        """Make no copies for `RETRY_AFTER` seconds."""
        self._disabled_until = self._clock() + RETRY_AFTER
