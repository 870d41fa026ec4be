"""The bytes of one part, in memory or in a temporary file."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.interfaces import Body
from tus_wsgi.domain.model import KIB
from tus_wsgi.spool.block import MAX_SMALL_BLOCK, SENDING, Block
from tus_wsgi.spool.disk import disk_error, write
from tus_wsgi.spool.disk_budget import DiskBudget
from tus_wsgi.spool.memory import MemoryBudget
from tus_wsgi.spool.payload import Payload

FIRST_BUFFER = 16 * KIB
"""Bytes of a part's first buffer, and of the first read for a temporary file: the cost of a client
that has only begun to send."""

GROWTH = 4
"""Each buffer is this many times larger than the one that it replaces."""

FAST_GROWTH = 16
"""The same factor for a fast client that has sent `FAST_MIN_SIZE`. The larger buffer holds a part
of the default size, so only a twelfth of the part is copied while the buffer grows."""

FAST_MIN_SIZE = MAX_SMALL_BLOCK
"""Bytes that a client must send before it can count as fast. Less proves nothing, because the
network may deliver delayed bytes all at once."""

FAST_FIRST_BUFFER = FAST_GROWTH * FAST_MIN_SIZE
"""Bytes of the first buffer for the next part of a fast client. Nothing is copied then."""

FAST_SECONDS = 10.0
"""A client is fast if it would fill its part within these seconds, at its rate so far."""

EXPECTED_DELAY = 0.25
"""If a client has not filled its part this many seconds after the expected time, others no longer
wait for its memory."""

MAX_DISK_READ = 256 * KIB
"""Bytes of the largest buffer between a socket and a temporary file. The buffer does not count
towards the budget, and each of many slow clients may hold one while filling it."""


class SpooledPart:
    """The bytes of one part, or of its beginning. Close it, or use it as a context manager.

    Attributes:
        capacity: the largest size in bytes.
        size: bytes received so far.
        crc32: the CRC-32 of the bytes received so far.
        seconds: how long the reads of `fill` took, except the first one.
        error: why `fill` could not store the rest of the body; None if there was no error.

    Args:
        memory: the budget for buffers.
        disk: the budget for the temporary file.
        open_file: creates a temporary file.
        capacity: the largest size in bytes.
        expected: total bytes that the client has announced; None if unknown.
        first: bytes of the first buffer.
    """

    def __init__(
        self,
        memory: MemoryBudget,
        disk: DiskBudget,
        open_file: Callable[[], IO[bytes]],
        capacity: int,
        expected: int | None,
        *,
        first: int,
    ) -> None:
        self.capacity = capacity
        self.size = 0
        self.crc32 = 0
        self.seconds = 0.0
        self.error: StoreUnavailable | None = None
        self._memory = memory
        self._disk = disk
        self._on_disk = 0  # bytes of the disk budget
        self._open_file = open_file
        self._first = first
        self._expected = capacity if expected is None else min(capacity, expected)
        self._block = Block(bytearray(), 0)
        self._file: IO[bytes] | None = None

    @property
    def is_full(self) -> bool:
        """Whether the part has reached its capacity."""
        return self.size == self.capacity

    @property
    def is_fast(self) -> bool:
        """Whether the client has proved to be fast, and the budget had memory for the part."""
        return self.size >= FAST_MIN_SIZE and self._file is None and self._fills_fast(self.capacity)

    def write(
        self, data: bytes | bytearray, is_interrupted: Callable[[], bool] | None = None
    ) -> None:
        """Append `data`, which must fit into the capacity.

        Args:
            data: the bytes.
            is_interrupted: see `MemoryBudget.acquire`.

        Raises:
            StoreUnavailable: the disk is full.
        """
        assert self.size + len(data) <= self.capacity
        self._reserve(len(data), is_interrupted)
        if self._file is not None:
            self._write_file(memoryview(data), self._file)
        else:
            self._block.data[self.size : self.size + len(data)] = data
            self._count(memoryview(data))

    def fill(self, body: Body) -> None:
        """Append the body until the part is full, the body has ended, or the disk is full.

        After an error of the disk or its budget, `error` is set, and the bytes received so far can
        be stored.
        """
        try:
            while not self.is_full:
                self._reserve(1, body.is_interrupted)
                if self._file is not None:
                    self._fill_file(body, self._file)
                    return
                if not self._fill_memory(body):
                    return
        except StoreUnavailable as error:
            self.error = error

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Copy the bytes from offset `start` into `buffer`, and return their number.

        Raises:
            StoreUnavailable: the disk cannot be read.
        """
        count = max(0, min(len(buffer), self.size - start))
        if self._file is None:
            buffer[:count] = memoryview(self._block.data)[start : start + count]
            return count
        try:
            self._file.seek(start)
            data = self._file.read(count)
        except OSError as error:
            raise disk_error(error) from error
        buffer[: len(data)] = data
        return len(data)

    def drop_front(self, count: int) -> None:
        """Remove the first `count` bytes, which are stored elsewhere. No bytes may follow.

        Raises:
            StoreUnavailable: the temporary file cannot be read or written.
        """
        if not count:
            return
        end = self.size
        self.size, self.crc32 = 0, 0
        if self._file is not None:
            self._shift_file(count, end, self._file)
            return
        try:
            del self._block.data[:count]  # Python moves the beginning; it copies nothing
        except BufferError:  # a stored traceback still has a view of the buffer
            self._block.data = self._block.data[count:]
        with memoryview(self._block.data)[: end - count] as data:
            self._count(data)

    def payload(self) -> Payload:
        """Return the content with its size and checksum, to be sent now."""
        self._memory.expect(self._block, SENDING)
        return Payload(self.content(), self.size, self.crc32)

    def content(self) -> bytearray | IO[bytes]:
        """Return the content in a form that boto3 accepts as `Body`."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        # Never `bytes`, because boto3 would wrap them in a file; see `Bucket`.
        buffer = self._block.data
        if self.size < len(buffer):
            try:
                del buffer[self.size :]
            except BufferError:  # a stored traceback still has a view of the buffer
                return buffer[: self.size]
        return buffer

    def close(self) -> None:
        """Free the memory or the file. Closing again has no effect."""
        if self._file is not None:
            self._file.close()
            self._file = None
        on_disk, self._on_disk = self._on_disk, 0
        self._disk.release(on_disk)
        self._replace_block(Block(bytearray(), 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fill_memory(self, body: Body) -> bool:
        """Read once from the body into the buffer. Return False if the body has ended."""
        with memoryview(self._block.data)[self.size :] as free:
            began = time.monotonic()
            count = body.readinto(free)
            if self.size:  # the first read may wait long, and return many bytes at once
                self.seconds += time.monotonic() - began
            self._count(free[:count])
        if self._block.is_final:
            self._expect_full()
        return count > 0

    def _expect_full(self) -> None:
        """Note when the client will have filled the block, at its rate so far."""
        missing = self._expected - self.size
        seconds = self.seconds * missing / self.size if self.size else 0.0
        self._memory.expect(self._block, time.monotonic() + seconds + EXPECTED_DELAY)

    def _fill_file(self, body: Body, file: IO[bytes]) -> None:
        """Copy the body to the file. The buffer's size follows the client's rate."""
        buffer = memoryview(bytearray(FIRST_BUFFER))
        while not self.is_full:
            room = buffer[: self.capacity - self.size]
            # Reserve before reading, so that bytes beyond the disk budget stay in the socket.
            self._reserve_disk(self.size + len(room))
            count = body.readinto(room)
            if not count:
                return
            self._write_file(buffer[:count], file)
            is_too_small = count == len(buffer)
            is_too_large = count <= len(buffer) // GROWTH
            if is_too_small and len(buffer) < MAX_DISK_READ:
                buffer = memoryview(bytearray(GROWTH * len(buffer)))
            elif is_too_large and len(buffer) > FIRST_BUFFER:
                buffer = memoryview(bytearray(len(buffer) // GROWTH))

    def _shift_file(self, count: int, end: int, file: IO[bytes]) -> None:
        try:
            while self.size < end - count:
                file.seek(count + self.size)
                data = file.read(min(MAX_DISK_READ, end - count - self.size))
                if not data:
                    raise StoreUnavailable("spool")
                file.seek(self.size)
                self._write_file(memoryview(data), file)
                time.sleep(0)  # file I/O does not switch greenlets
            file.truncate(self.size)
        except OSError as error:
            raise disk_error(error) from error

    def _count(self, data: memoryview) -> None:
        # Computed here, while the bytes are still in the processor's cache.
        self.crc32 = crc32(data, self.crc32)
        self.size += len(data)

    def _reserve(self, size: int, is_interrupted: Callable[[], bool] | None = None) -> None:
        """Make room for `size` more bytes, in memory or else on disk."""
        needed = self.size + size
        old = self._block.data
        if self._file is not None or needed <= len(old):
            return
        limit = self._expected if self._expected >= needed else self.capacity
        is_fast = self._fills_fast(limit)
        factor = FAST_GROWTH if is_fast and self.size >= FAST_MIN_SIZE else GROWTH
        grown = factor * len(old) if old else self._first
        wanted = max(needed, min(limit, grown))
        block = self._memory.acquire(
            wanted,
            is_slow=not is_fast,
            is_final=wanted >= limit,
            is_interrupted=is_interrupted,
        )
        if block is None:
            self._move_to_file()
            return
        with memoryview(old) as view:
            block.data[: self.size] = view[: self.size]
        self._replace_block(block)
        if block.is_final:
            self._expect_full()

    def _fills_fast(self, size: int) -> bool:
        """Return whether `size` bytes would arrive within `FAST_SECONDS`, at the rate so far."""
        return self.seconds * size <= FAST_SECONDS * self.size

    def _replace_block(self, block: Block) -> None:
        """Use this block from now on, and release the previous one."""
        # In this order, because the request may be killed while an observer gets the new use of
        # memory. `close` must then release each block once.
        previous, self._block = self._block, block
        self._memory.release(previous)

    def _reserve_disk(self, size: int) -> None:
        if size > self._on_disk:
            self._disk.acquire(size - self._on_disk)
            self._on_disk = size

    def _move_to_file(self) -> None:
        """Continue in a temporary file. If that fails, the bytes so far stay in memory."""
        self._reserve_disk(self.size)
        file = self._open_file()
        try:
            with memoryview(self._block.data)[: self.size] as data:
                for _ in write(data, file):
                    pass
        except BaseException:
            file.close()
            raise
        self._file = file
        self._replace_block(Block(bytearray(), 0))

    def _write_file(self, data: memoryview, file: IO[bytes]) -> None:
        self._reserve_disk(self.size + len(data))
        for written in write(data, file):
            self._count(written)


def read_end(body: Body) -> None:
    """Read past the last byte, so that `body.end` becomes valid."""
    count = body.readinto(memoryview(bytearray(1)))
    assert count == 0
