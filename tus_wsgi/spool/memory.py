"""The memory budget of one process.

Slow clients would hold memory for minutes, so they may use only half of the budget. The other half
is reserved for fast clients.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable

from tus_wsgi.domain.model import KIB

MIN_REUSED_BUFFER = 256 * KIB
"""Bytes of the smallest buffer that is kept for reuse. A new buffer of 16 MiB costs the kernel
4,096 page faults, about as much CPU as receiving its content."""

MAX_RELEASE_GAP = 0.25
"""Seconds without a release after which callers stop waiting for memory."""

REPORT_STEPS = 16
"""Changes of memory use are reported in steps of the budget divided by this number, because large
parts acquire and release memory many times."""

MAX_MEMORY_WAIT = 1.0
"""Seconds that a caller waits for memory. An upload must release its lock within two seconds."""


class MemoryBudget:
    """A pool of buffers with a limit on their total size. Threads share it.

    Attributes:
        available: bytes that are not in use.

    Args:
        size: bytes that all buffers may take together.
        on_change: called with the bytes in use when they have changed by a sixteenth of `size`;
            None to report nothing.
    """

    def __init__(self, size: int, on_change: Callable[[int], None] | None = None) -> None:
        self.available = size
        self._on_change = on_change
        self._reported_step = 0
        self._reporting = threading.Lock()
        self._size = size
        self._reusable: defaultdict[int, list[bytearray]] = defaultdict(list)
        self._reusable_size = 0
        self._changed = threading.Condition()
        self._last_release = float("-inf")

    def acquire(self, size: int, *, is_slow: bool = False) -> bytearray | None:
        """Return a buffer of `size` bytes, or None if the budget is exhausted.

        The call blocks for up to `MAX_MEMORY_WAIT` while other parts release memory. For a slow
        client (`is_slow`) it does not block, and returns a buffer only if at least half of the
        budget then remains available.
        """
        deadline = time.monotonic() + MAX_MEMORY_WAIT
        reserved = self._size // 2 if is_slow else 0
        with self._changed:
            while size > self.available - reserved:
                until = min(deadline, self._last_release + MAX_RELEASE_GAP)
                wait = until - time.monotonic()
                if is_slow or size > self._size or wait <= 0:
                    return None
                self._changed.wait(wait)
            self.available -= size
            buffer = self._pop_reusable(size) if size in self._reusable else None
            if buffer is None:
                self._evict()
        self._report()
        return bytearray(size) if buffer is None else buffer

    def release(self, buffer: bytearray, size: int, *, is_replaced: bool = False) -> None:
        """Return a buffer to the budget. The caller must not use it again.

        Args:
            buffer: from `acquire`.
            size: as passed to `acquire`.
            is_replaced: the caller has acquired a larger buffer instead. That must not wake
                waiters, because the part uses more memory than before.
        """
        with self._changed:
            self.available += size
            # A buffer that `SpooledPart.content` truncated cannot be reused.
            if len(buffer) == size >= MIN_REUSED_BUFFER:
                self._reusable[size].append(buffer)
                self._reusable_size += size
            if size and not is_replaced:
                self._last_release = time.monotonic()
                self._changed.notify_all()
        self._report()

    def _report(self) -> None:
        if self._on_change is None or self._step() == self._reported_step:
            return
        # One report at a time, so that the last one is about the newest state.
        with self._reporting:
            self._reported_step = self._step()
            self._on_change(self._size - self.available)

    def _step(self) -> int:
        """Return the sixteenths in use, rounded up, so that only an unused budget is at zero."""
        used = self._size - self.available
        return -(-used * REPORT_STEPS // max(self._size, 1))

    def _evict(self) -> None:
        """Free reusable buffers until they and the buffers in use are within the budget."""
        while self._reusable_size > self.available:
            self._pop_reusable(next(iter(self._reusable)))

    def _pop_reusable(self, size: int) -> bytearray:
        buffers = self._reusable[size]
        if len(buffers) == 1:
            # Without this, the dictionary would keep an entry for every upload length.
            del self._reusable[size]
        self._reusable_size -= size
        return buffers.pop()
