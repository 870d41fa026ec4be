"""Buffers that are kept for reuse."""

from __future__ import annotations

from collections import OrderedDict

from tus_wsgi.domain.model import KIB

MIN_REUSED_BUFFER = 256 * KIB
"""Bytes of the smallest buffer that is kept for reuse. A new buffer of 16 MiB costs the kernel
4,096 page faults, about as much CPU as receiving its content."""


class BufferPool:
    """Unused buffers by their size. The caller synchronizes threads.

    Buffers of the size that was not used for the longest time are freed first, such as those of an
    upload's last part, whose size does not recur.

    Attributes:
        size: bytes of all buffers together.
    """

    def __init__(self) -> None:
        self.size = 0
        self._buffers: OrderedDict[int, list[bytearray]] = OrderedDict()

    def add(self, buffer: bytearray) -> None:
        """Keep a buffer, unless it is too small to be worth it."""
        size = len(buffer)
        if size >= MIN_REUSED_BUFFER:
            self._buffers.setdefault(size, []).append(buffer)
            self._buffers.move_to_end(size)
            self.size += size

    def pop(self, size: int) -> bytearray | None:
        """Return a buffer of `size` bytes, the last one that was added; None if there is none."""
        buffers = self._buffers.get(size)
        if buffers is None:
            return None
        self._buffers.move_to_end(size)
        return self._remove(size, buffers)

    def shrink(self, size: int) -> None:
        """Free buffers if they have more than `size` bytes.

        Free a sixteenth more than necessary, so that this is rare if the same sizes recur.
        """
        if self.size > size:
            while self.size > size - size // 16:
                oldest_size, buffers = next(iter(self._buffers.items()))
                self._remove(oldest_size, buffers)

    def _remove(self, size: int, buffers: list[bytearray]) -> bytearray:
        buffer = buffers.pop()
        if not buffers:
            # Without this, the dictionary would keep an entry for every upload length.
            del self._buffers[size]
        self.size -= size
        return buffer
