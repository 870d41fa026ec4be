"""A block of memory from the budget, and when it comes back."""

from __future__ import annotations

from tus_wsgi.domain.model import MIB

MAX_SMALL_BLOCK = MIB
"""Bytes of the largest small block. Small blocks hold small uploads, and the beginnings of parts
whose clients have not proved to be fast yet."""

SENDING = float("-inf")
"""`Block.returns_at` of a block that is being sent to the store. It comes back when the store
answers, whatever the client does."""

UNKNOWN = float("inf")
"""`Block.returns_at` of a block whose client may take any time."""


class Block:
    """A buffer that counts towards the budget.

    Attributes:
        data: the buffer.
        size: its bytes in the budget.
        is_final: whether the owner needs no other block before it releases this one. Other blocks
            are replaced by larger blocks, so they come back only if there is more memory.
        returns_at: when the block is expected back, by `time.monotonic`.
    """

    __slots__ = ("data", "is_final", "returns_at", "size")

    def __init__(self, data: bytearray, size: int, *, is_final: bool = True) -> None:
        self.data = data
        self.size = size
        self.is_final = is_final
        self.returns_at = UNKNOWN

    @property
    def is_large(self) -> bool:
        """Whether the block is larger than a small one."""
        return self.size > MAX_SMALL_BLOCK

    def returns_within(self, now: float, seconds: float) -> bool:
        """Return whether the block is expected back soon. A client that is late has stalled."""
        return self.returns_at == SENDING or now <= self.returns_at <= now + seconds
