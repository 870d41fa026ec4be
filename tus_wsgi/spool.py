"""Where a part's bytes wait until S3 has them: in memory within one budget, then on disk.

One `Spool` serves a whole process. Whoever finds the budget spent waits while memory is being given
back, which is all the back-pressure there is: the client is not read from meanwhile. When nothing
comes back (its holders wait for stalled clients) the part goes to an unlinked temporary file
instead, so nobody starves.
"""

from __future__ import annotations

import errno
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from tus_wsgi.crc import crc32
from tus_wsgi.errors import StoreUnavailable
from tus_wsgi.model import KIB, MIB
from tus_wsgi.ports import Body

FIRST_BUFFER = 256 * KIB
"""Bytes of a buffer for a body that did not say how long it is. It doubles as the body grows."""

KEPT_FROM = MIB
"""Bytes from which on a buffer is kept for the next part. A fresh one of 16 MiB costs the kernel
4,096 page faults, about as much CPU as receiving it."""

DISK_STEP = 256 * KIB
"""Bytes that cross from a socket to a temporary file at once."""

PATIENCE = 0.25
"""Seconds that may pass since memory was last given back, before somebody waits no longer."""

LONGEST_WAIT = 1.0
"""Seconds that anybody waits for memory: an upload is to let go of its lock within two."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Payload:
    """Bytes on their way to the store.

    Attributes:
        content: as boto3 takes a body.
        size: how many there are.
        crc32: their CRC-32.
    """

    content: bytes | bytearray | IO[bytes]
    size: int
    crc32: int

    @classmethod
    def of(cls, data: bytes) -> Payload:
        """The payload that `data` is."""
        return cls(data, len(data), crc32(data))


class Spool:
    """A process's memory budget for parts, and the directory for what exceeds it.

    Args:
        budget: bytes of memory that all parts together may take; 0 puts every part on disk.
        directory: for temporary files; None for the system's.
    """

    def __init__(self, budget: int, directory: str | None = None) -> None:
        self._budget = budget
        self._left = budget
        self._directory = directory
        self._kept: defaultdict[int, list[bytearray]] = defaultdict(list)
        self._kept_size = 0
        self._changed = threading.Condition()
        self._last_return = float("-inf")

    def part(self, capacity: int, expected: int | None) -> SpooledPart:
        """A place for at most `capacity` bytes; `expected` are to come, if that is known."""
        return SpooledPart(self, capacity, expected)

    def take(self, size: int) -> bytearray | None:
        """A buffer out of the budget, or None when there is none to be had.

        Waits, at most `LONGEST_WAIT`, while others are giving memory back.
        """
        deadline = time.monotonic() + LONGEST_WAIT
        with self._changed:
            while size > self._left:
                until = min(deadline, self._last_return + PATIENCE)
                wait = until - time.monotonic()
                if size > self._budget or wait <= 0:
                    return None
                self._changed.wait(wait)
            self._left -= size
            if size in self._kept:
                return self._pop_kept(size)
            self._forget_surplus()
        return bytearray(size)

    def grow(self, size: int) -> bool:
        """Take `size` bytes more for a buffer that there is, unless that is too much."""
        with self._changed:
            if size > self._left:
                return False
            self._left -= size
            self._forget_surplus()
        return True

    def give_back(self, buffer: bytearray) -> None:
        """Return what `take` and `grow` gave. The buffer belongs to somebody else then."""
        size = len(buffer)
        with self._changed:
            self._left += size
            if size >= KEPT_FROM:
                self._kept[size].append(buffer)
                self._kept_size += size
            self._last_return = time.monotonic()
            self._changed.notify_all()

    def file(self) -> IO[bytes]:
        """A temporary file that has no name, so nothing is left of it whatever happens.

        Raises:
            StoreUnavailable: the directory takes no file.
        """
        try:
            return tempfile.TemporaryFile(dir=self._directory, buffering=0)
        except OSError as error:
            raise _failure(error) from error

    def _forget_surplus(self) -> None:
        """Free kept buffers until they and what is taken are within the budget together."""
        while self._kept_size > self._left:
            self._pop_kept(next(iter(self._kept)))

    def _pop_kept(self, size: int) -> bytearray:
        buffers = self._kept[size]
        if len(buffers) == 1:
            # There are as many sizes as there are lengths of uploads.
            del self._kept[size]
        self._kept_size -= size
        return buffers.pop()


class SpooledPart:
    """The bytes of one part, or of its beginning. Use it as a context manager, or close it.

    Attributes:
        capacity: bytes that it holds at most.
        size: bytes that are here.
        crc32: the CRC-32 of those.
    """

    def __init__(self, spool: Spool, capacity: int, expected: int | None) -> None:
        self._spool = spool
        self.capacity = capacity
        self.size = 0
        self.crc32 = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        first = min(capacity, FIRST_BUFFER if expected is None else expected)
        memory = spool.take(first)
        if memory is None:
            self._file = spool.file()
        else:
            self._memory = memory

    @property
    def is_full(self) -> bool:
        """Whether as many bytes are here as the part may hold."""
        return self.size == self.capacity

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`. The caller knows that it fits."""
        assert self.size + len(data) <= self.capacity
        self._make_room(len(data))
        if self._file is not None:
            self._to_file(memoryview(data))
        else:
            self._memory[self.size : self.size + len(data)] = data
        self._count(memoryview(data))

    def fill(self, body: Body) -> None:
        """Append the body until the part is full or the body has ended."""
        while not self.is_full and self._fill_some(body):
            pass

    def read_into(self, buffer: memoryview, start: int) -> int:
        """Copy what is here from offset `start` on into `buffer`; returns how many bytes."""
        count = max(0, min(len(buffer), self.size - start))
        if self._file is None:
            buffer[:count] = memoryview(self._memory)[start : start + count]
            return count
        try:
            self._file.seek(start)
            data = self._file.read(count)
        except OSError as error:
            raise _failure(error) from error
        buffer[: len(data)] = data
        return len(data)

    def payload(self) -> Payload:
        """Everything that is here, with its sum."""
        return Payload(self.content(), self.size, self.crc32)

    def content(self) -> bytes | bytearray | IO[bytes]:
        """Everything that is here, as boto3 takes a body."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        if self.size == len(self._memory):
            return self._memory
        # No `bytes`, of which boto3 would make a file; see `Bucket`.
        return bytearray(memoryview(self._memory)[: self.size])

    def close(self) -> None:
        """Free the memory, or the disk. Closing twice is closing once."""
        self._free_memory()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _fill_some(self, body: Body) -> bool:
        self._make_room(1)
        if self._file is None:
            step = memoryview(self._memory)[self.size :]
            count = body.readinto(step)
        else:
            step = memoryview(bytearray(min(DISK_STEP, self.capacity - self.size)))
            count = body.readinto(step)
            self._to_file(step[:count])
        self._count(step[:count])
        return count > 0

    def _count(self, data: memoryview) -> None:
        # While it is still in the processor's cache.
        self.crc32 = crc32(data, self.crc32)
        self.size += len(data)

    def _make_room(self, size: int) -> None:
        missing = self.size + size - len(self._memory)
        if self._file is None and missing > 0:
            doubled = min(len(self._memory) or FIRST_BUFFER, self.capacity - len(self._memory))
            self._reserve(max(missing, doubled))

    def _reserve(self, size: int) -> None:
        if self._spool.grow(size):
            self._memory.extend(bytes(size))
            return
        self._file = self._spool.file()
        self._to_file(memoryview(self._memory)[: self.size])
        self._free_memory()

    def _free_memory(self) -> None:
        self._spool.give_back(self._memory)
        self._memory = bytearray()

    def _to_file(self, data: memoryview) -> None:
        assert self._file is not None
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise _failure(error) from error


def read_end(body: Body) -> None:
    """Let the body learn that it has ended, which it does from a read behind its last byte."""
    count = body.readinto(memoryview(bytearray(1)))
    assert count == 0


def _failure(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("spool", full=error.errno in _FULL)
