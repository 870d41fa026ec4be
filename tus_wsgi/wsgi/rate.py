"""Measure how fast a client sends its body."""

from __future__ import annotations

import time

WINDOW = 60.0
"""Seconds of waiting after which the rate of a body is compared with the minimum. A client may
pause for most of them."""

MIN_WAIT = 0.5
"""Seconds of waiting after which a rate means something. Less may be the time of a round trip."""


class RateMeter:
    """Measures the rate of one body: its bytes, and the time that the server waited for them.

    Time in which the server does not read, because memory or S3 holds it up, does not count. So a
    client is never slow because the server is.

    Args:
        min_rate: bytes per second that the client must send; 0 to accept any rate.
        window: seconds of waiting after which the rate is compared with `min_rate`, and measured
            anew.
    """

    def __init__(self, min_rate: float = 0.0, window: float = WINDOW) -> None:
        self._min_rate = min_rate
        self._window = window
        self._received = 0
        self._waited = 0.0
        self._waits_since: float | None = None

    def begin(self) -> None:
        """Start to wait for the next bytes.

        Raises:
            TimeoutError: the client was too slow in the last window. Raised once, so that bytes
                that have arrived can still be read.
        """
        if self._waited >= self._window:
            is_too_slow = self._received < self._min_rate * self._waited
            self._received, self._waited = 0, 0.0
            if is_too_slow:
                self._min_rate = 0.0
                raise TimeoutError("the client sends too slowly")
        self._waits_since = time.monotonic()

    def end(self, count: int) -> None:
        """Count the received bytes, and the time since `begin`."""
        if self._waits_since is not None:
            self._waited += time.monotonic() - self._waits_since
            self._waits_since = None
        self._received += count

    def rate(self) -> float:
        """Return the bytes per second in this window; infinity if the server has hardly waited.

        Callable from any thread.
        """
        since, waited = self._waits_since, self._waited
        if since is not None:
            waited += time.monotonic() - since
        return self._received / waited if waited >= MIN_WAIT else float("inf")
