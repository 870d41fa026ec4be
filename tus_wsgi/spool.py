"""Where a part's bytes wait until S3 has them: in memory within one budget, then on disk.

One `Spool` serves a whole process. The budget never blocks anybody: a part that finds it spent
goes to an unlinked temporary file instead, so a stalled client cannot hold up a healthy one.
"""

from __future__ import annotations

import errno
import tempfile
import threading
from types import TracebackType
from typing import IO, Self

from tus_wsgi.errors import StoreUnavailable
from tus_wsgi.model import KIB
from tus_wsgi.ports import Body

FIRST_BUFFER = 256 * KIB
"""Bytes of a buffer for a body that did not say how long it is. It doubles as the body grows."""

DISK_STEP = 256 * KIB
"""Bytes that cross from a socket to a temporary file at once."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spool:
    """A process's memory budget for parts, and the directory for what exceeds it.

    Args:
        budget: bytes of memory that all parts together may take; 0 puts every part on disk.
        directory: for temporary files; None for the system's.
    """

    def __init__(self, budget: int, directory: str | None = None) -> None:
        self._left = budget
        self._directory = directory
        self._mutex = threading.Lock()

    def part(self, capacity: int, expected: int | None) -> SpooledPart:
        """A place for at most `capacity` bytes; `expected` are to come, if that is known."""
        return SpooledPart(self, capacity, expected)

    def take(self, size: int) -> bool:
        """Take `size` bytes of memory out of the budget, unless that is too much."""
        with self._mutex:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Return what `take` took."""
        with self._mutex:
            self._left += size

    def file(self) -> IO[bytes]:
        """A temporary file that has no name, so nothing is left of it whatever happens.

        Raises:
            StoreUnavailable: the directory takes no file.
        """
        try:
            return tempfile.TemporaryFile(dir=self._directory, buffering=0)
        except OSError as error:
            raise _failure(error) from error


class SpooledPart:
    """The bytes of one part, or of its beginning. Use it as a context manager, or close it."""

    def __init__(self, spool: Spool, capacity: int, expected: int | None) -> None:
        self._spool = spool
        self.capacity = capacity
        self.size = 0
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        first = FIRST_BUFFER if expected is None else expected
        self._reserve(min(capacity, first))

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
        self.size += len(data)

    def fill(self, body: Body) -> None:
        """Append the body until the part is full or the body has ended."""
        while not self.is_full and self._fill_some(body):
            pass

    def content(self) -> bytes | bytearray | IO[bytes]:
        """Everything that is here, as boto3 takes a body."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        if self.size == len(self._memory):
            return self._memory
        return bytes(memoryview(self._memory)[: self.size])

    def close(self) -> None:
        """Free the memory, or the disk. Closing twice is closing once."""
        self._spool.give_back(len(self._memory))
        self._memory = bytearray()
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
            room = memoryview(self._memory)[self.size :]
            count = body.readinto(room)
        else:
            step = memoryview(bytearray(min(DISK_STEP, self.capacity - self.size)))
            count = body.readinto(step)
            self._to_file(step[:count])
        self.size += count
        return count > 0

    def _make_room(self, size: int) -> None:
        missing = self.size + size - len(self._memory)
        if self._file is None and missing > 0:
            doubled = min(len(self._memory) or FIRST_BUFFER, self.capacity - len(self._memory))
            self._reserve(max(missing, doubled))

    def _reserve(self, size: int) -> None:
        if self._spool.take(size):
            self._memory.extend(bytes(size))
        else:
            self._move_to_file()

    def _move_to_file(self) -> None:
        self._file = self._spool.file()
        self._to_file(memoryview(self._memory)[: self.size])
        self._spool.give_back(len(self._memory))
        self._memory = bytearray()

    def _to_file(self, data: memoryview) -> None:
        assert self._file is not None
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise _failure(error) from error


def _failure(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("spool", full=error.errno in _FULL)
