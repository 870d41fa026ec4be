"""The memory budget of one process: which part gets memory, and which one waits for it.

The rules, in the order in which a request meets them:

1. **A slow client never waits**, and gets memory only while at least half remains available. It
   would hold the memory for minutes. Otherwise its parts are on disk.
2. **A fast client waits while memory comes back**: the server does not read from it meanwhile. That
   costs less than a file, which copies each byte twice more. Memory comes back if the store is
   receiving it, or if a client is about to fill it. If clients that may take any time hold most of
   the memory, the part goes to disk at once.
3. **Waiting requests are served in their order.** Small blocks do not queue behind large ones, so
   that a small upload does not wait for the parts of large ones.
4. **A request that waits for a large block cannot block the memory**: blocks that will be replaced
   by larger ones take at most half of the budget, and large blocks leave a sixteenth. A block that
   is large enough for its part needs no other memory, so it comes back.
5. A wait is bounded, and an interruption ends it: another request may want the upload's lock.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from tus_wsgi.spool.block import UNKNOWN, Block
from tus_wsgi.spool.buffer_pool import BufferPool
from tus_wsgi.spool.huge_pages import new_buffer

REPORT_STEPS = 16
"""Changes of memory use are reported in steps of the budget divided by this number, because large
parts acquire and release memory many times."""

MAX_MEMORY_WAIT = 15.0
"""Seconds that the reader of a body waits for memory. tus-js-client and proxies give up after 30
seconds or more without progress."""

MAX_BLIND_WAIT = 1.0
"""The same for a caller that does not notice interruptions. An upload must release its lock within
two seconds."""

CHECK_INTERVAL = 0.25
"""Seconds after which a waiting request checks whether to continue to wait."""

SOON = 2.0
"""Requests wait for the block of a client only if the client, at its rate so far, fills the block
within these seconds."""

MIN_RETURNING = 4
"""Requests wait if the budget divided by this number comes back, or this many blocks of the wanted
size. Less would limit fast clients to the rate of a few blocks, while others hold the memory."""

GROWING_SHARE = 2
"""Blocks that will be replaced by larger ones take at most the budget divided by this number."""

SMALL_RESERVE = 16
"""Large blocks leave the budget divided by this number to small ones."""


class _Waiter:
    """A request for memory in the queue.

    Attributes:
        block: the block without its buffer. It is part of the budget once `granted` is set.
        granted: set when the request has got its memory.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.granted = threading.Event()


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
        self._size = size
        self._growing = 0  # bytes of blocks that will be replaced by larger ones
        self._large = 0  # bytes of large blocks
        self._pool = BufferPool()
        self._returning: set[Block] = set()  # blocks whose `returns_at` was ever set
        self._queue: deque[_Waiter] = deque()
        self._mutex = threading.Lock()
        self._on_change = on_change
        self._reported_step = 0
        self._reporting = threading.Lock()

    def acquire(
        self,
        size: int,
        *,
        is_slow: bool = False,
        is_final: bool = True,
        is_interrupted: Callable[[], bool] | None = None,
    ) -> Block | None:
        """Return a block of `size` bytes, or None if the caller has to use the disk.

        Args:
            size: in bytes.
            is_slow: whether the client is slow; see the rules above.
            is_final: see `Block`.
            is_interrupted: returns whether to stop waiting. None limits the wait to
                `MAX_BLIND_WAIT`.
        """
        block = Block(bytearray(), size, is_final=is_final)
        waiter: _Waiter | None = None
        with self._mutex:
            if self._may_take(block, is_slow=is_slow):
                self._take(block)
            elif self._may_wait(size, is_slow=is_slow):
                waiter = _Waiter(block)
                self._queue.append(waiter)
            else:
                return None
        try:
            if waiter is not None and not self._wait(waiter, is_interrupted):
                return None
            if len(block.data) != size:  # no buffer could be reused
                block.data = new_buffer(size)
            self._report()
        except BaseException:  # such as a timeout of gevent, which may end any wait
            self._give_up(block, waiter)
            raise
        return block

    def expect(self, block: Block, returns_at: float) -> None:
        """Note when a block will come back.

        Args:
            block: from `acquire`.
            returns_at: see `Block`.
        """
        is_new = block.returns_at == UNKNOWN
        block.returns_at = returns_at
        if is_new:
            with self._mutex:
                self._returning.add(block)

    def release(self, block: Block) -> None:
        """Return a block to the budget. The caller must not use it again."""
        with self._mutex:
            self._returning.discard(block)
            self._count(block, -1)
            # A buffer that `SpooledPart.content` truncated cannot be reused.
            if len(block.data) == block.size:
                self._pool.add(block.data)
            self._serve_queue()
        self._report()

    def _may_take(self, block: Block, *, is_slow: bool) -> bool:
        if is_slow and not self._leaves_half(block):
            return False
        is_behind = block.is_large and any(waiter.block.is_large for waiter in self._queue)
        return self._fits(block) and not is_behind

    def _may_wait(self, size: int, *, is_slow: bool) -> bool:
        """Return whether a request waits for memory, instead of using the disk at once."""
        if is_slow or size > self._size:
            return False
        return self._comes_back(size)

    def _leaves_half(self, block: Block) -> bool:
        """Return whether half of the memory remains, and half of the share of growing blocks."""
        leaves_memory = block.size <= self.available - self._size // 2
        half_of_growing = self._size // GROWING_SHARE // 2
        leaves_growing = block.is_final or self._growing + block.size <= half_of_growing
        return leaves_memory and leaves_growing

    def _fits(self, block: Block) -> bool:
        """Return whether there is memory for the block, within the shares of rule 4."""
        if block.size > self.available:
            return False
        # One block may be larger than its share.
        most_growing = max(self._size // GROWING_SHARE, block.size)
        most_large = max(self._size - self._size // SMALL_RESERVE, block.size)
        fits_growing = block.is_final or self._growing + block.size <= most_growing
        fits_large = not block.is_large or self._large + block.size <= most_large
        return fits_growing and fits_large

    def _take(self, block: Block) -> None:
        """Count the block, and give it a reusable buffer, if there is one."""
        self._count(block, 1)
        block.data = self._pool.pop(block.size) or block.data
        self._pool.shrink(self.available)

    def _count(self, block: Block, sign: int) -> None:
        """Count a block that is taken (`sign` is 1) or released (-1)."""
        self.available -= sign * block.size
        if not block.is_final:
            self._growing += sign * block.size
        if block.is_large:
            self._large += sign * block.size

    def _comes_back(self, size: int) -> bool:
        """Return whether `size` bytes are likely to come back soon."""
        now = time.monotonic()
        returning = sum(b.size for b in self._returning if b.returns_within(now, SOON))
        return returning >= min(self._size // MIN_RETURNING, MIN_RETURNING * size)

    def _wait(self, waiter: _Waiter, is_interrupted: Callable[[], bool] | None) -> bool:
        """Wait in the queue, and return whether the memory was granted."""
        seconds = MAX_BLIND_WAIT if is_interrupted is None else MAX_MEMORY_WAIT
        deadline = time.monotonic() + seconds
        while True:
            is_over = time.monotonic() >= deadline
            must_stop = is_over or (is_interrupted is not None and is_interrupted())
            with self._mutex:
                if waiter.granted.is_set():
                    return True
                if must_stop or not self._comes_back(waiter.block.size):
                    self._queue.remove(waiter)
                    self._serve_queue()  # the next one may want less
                    return False
            waiter.granted.wait(CHECK_INTERVAL)

    def _give_up(self, block: Block, waiter: _Waiter | None) -> None:
        """Return a block that no caller gets to the budget, or remove its request from the queue.

        Otherwise the queue would grant memory that is never released.
        """
        with self._mutex:
            if waiter is None or waiter.granted.is_set():
                self._count(block, -1)
            elif waiter in self._queue:
                self._queue.remove(waiter)
            self._serve_queue()

    def _serve_queue(self) -> None:
        """Grant what fits, in the order of the queue. Small blocks may overtake large ones."""
        if not self._queue:
            return
        waiting: deque[_Waiter] = deque()
        is_large_blocked = False
        for waiter in self._queue:
            block = waiter.block
            is_behind_large = is_large_blocked and block.is_large
            if is_behind_large or not self._fits(block):
                is_large_blocked = is_large_blocked or block.is_large
                waiting.append(waiter)
            else:
                self._take(block)
                waiter.granted.set()
        self._queue = waiting

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
