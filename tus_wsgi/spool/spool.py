"""Where a part's bytes wait until S3 has them: in memory within one budget, then on disk.

One `Spool` serves a whole process. A part takes memory as its bytes come and not as they are
promised, so a client that sends nothing holds next to nothing. Whoever finds the budget spent waits
while memory is being given back, which is all the back-pressure there is: the client is not read
from meanwhile. When nothing comes back (its holders wait for stalled clients) the part goes to an
unlinked temporary file instead, so nobody starves.

A slow client would hold its memory for minutes, so slow ones leave half the budget to the quick.
"""

from __future__ import annotations

import errno
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

from tus_wsgi.domain.crc import crc32
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.interfaces import Body
from tus_wsgi.domain.model import KIB, MIB

FIRST_BUFFER = 16 * KIB
"""Bytes of a part's first buffer, and of the first step to a temporary file: what a client costs
that has only begun to send."""

GROWTH = 4
"""How many times larger a buffer's successor is."""

QUICK_GROWTH = 16
"""How many times larger it is once a quick client has sent `PROOF`: then it is a whole part of the
usual size, so only a twelfth of its bytes is copied on the way."""

PROOF = MIB
"""Bytes that no client sends by accident, as what a network has held back may come all at once."""

QUICK_BUFFER = QUICK_GROWTH * PROOF
"""Bytes of the first buffer of a quick client's next part, of which nothing is copied any more."""

QUICK_SECONDS = 10.0
"""Seconds in which a quick client fills its part, at the rate that it has shown so far."""

KEPT_FROM = 256 * KIB
"""Bytes from which on a buffer is kept for the next part. A fresh one of 16 MiB costs the kernel
4,096 page faults, about as much CPU as receiving it."""

DISK_STEP = 256 * KIB
"""Bytes that cross from a socket to a temporary file at once, at most: while a client fills them.
No budget counts them, and there may be a slow client behind each of many connections."""

PATIENCE = 0.25
"""Seconds that may pass since memory was last given back, before somebody waits no longer."""

MAX_MEMORY_WAIT = 1.0
"""Seconds that anybody waits for memory: an upload is to let go of its lock within two."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


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

    def part(
        self,
        capacity: int,
        expected: int | None,
        begun: Iterable[bytes] = (),
        *,
        is_quick: bool = False,
    ) -> SpooledPart:
        """A place for at most `capacity` bytes, the first of which are `begun`.

        Args:
            expected: bytes that are to come in all, if that is known.
            is_quick: whether the client was quick in the part before, and gets much at once for
                what it has announced.

        Raises:
            StoreUnavailable: there is no room for the first, or they cannot be read.
        """
        first = QUICK_BUFFER if is_quick and expected != 0 else FIRST_BUFFER
        part = SpooledPart(self, capacity, expected, first)
        try:
            for piece in begun:
                part.write(piece)
        except BaseException:
            part.close()
            raise
        return part

    def take(self, size: int, *, for_long: bool = False) -> bytearray | None:
        """A buffer out of the budget, or None when there is none to be had.

        Waits up to `MAX_MEMORY_WAIT` while others are giving memory back. Who takes it `for_long`
        waits for nobody, and leaves half the budget.
        """
        deadline = time.monotonic() + MAX_MEMORY_WAIT
        spared = self._budget // 2 if for_long else 0
        with self._changed:
            while size > self._left - spared:
                until = min(deadline, self._last_return + PATIENCE)
                wait = until - time.monotonic()
                if for_long or size > self._budget or wait <= 0:
                    return None
                self._changed.wait(wait)
            self._left -= size
            if size in self._kept:
                return self._pop_kept(size)
            self._forget_surplus()
        return bytearray(size)

    def give_back(self, buffer: bytearray, size: int, *, is_replaced: bool = False) -> None:
        """Return a buffer of `size` bytes that `take` gave. It belongs to somebody else then.

        One that is replaced by a larger one is no sign for others that memory is coming back.
        """
        with self._changed:
            self._left += size
            # One that was cut short is of no use to anybody.
            if len(buffer) == size >= KEPT_FROM:
                self._kept[size].append(buffer)
                self._kept_size += size
            if size and not is_replaced:
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
        trouble: why no more of a body could be kept; None where that was no trouble.
    """

    def __init__(self, spool: Spool, capacity: int, expected: int | None, first: int) -> None:
        self._spool = spool
        self.capacity = capacity
        self.size = 0
        self.crc32 = 0
        self.trouble: StoreUnavailable | None = None
        self._first = first
        self._expected = capacity if expected is None else min(capacity, expected)
        self._memory = bytearray()
        self._taken = 0
        self._seconds = 0.0
        self._file: IO[bytes] | None = None

    @property
    def is_full(self) -> bool:
        """Whether as many bytes are here as the part may hold."""
        return self.size == self.capacity

    @property
    def is_quick(self) -> bool:
        """Whether its client has proven to be quick, and got memory for it."""
        return self.size >= PROOF and self._file is None and self._comes_soon(self.capacity)

    def write(self, data: bytes | bytearray) -> None:
        """Append `data`. The caller knows that it fits.

        Raises:
            StoreUnavailable: there is no room on the disk.
        """
        assert self.size + len(data) <= self.capacity
        self._make_room(len(data))
        if self._file is not None:
            self._to_file(memoryview(data), self._file)
        else:
            self._memory[self.size : self.size + len(data)] = data
            self._count(memoryview(data))

    def fill(self, body: Body) -> None:
        """Append the body until the part is full, or the body has ended, or there is `trouble`.

        What is here by then can be stored all the same.
        """
        try:
            while not self.is_full:
                self._make_room(1)
                if self._file is not None:
                    self._fill_file(body, self._file)
                    return
                if not self._fill_memory(body):
                    return
        except StoreUnavailable as error:
            self.trouble = error

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

    def content(self) -> bytearray | IO[bytes]:
        """Everything that is here, as boto3 takes a body."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        # No `bytes`, of which boto3 would make a file; see `Bucket`.
        if self.size < len(self._memory):
            try:
                del self._memory[self.size :]
            except BufferError:  # a traceback that somebody keeps still looks at it
                return self._memory[: self.size]
        return self._memory

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

    def _fill_memory(self, body: Body) -> bool:
        with memoryview(self._memory)[self.size :] as step:
            began = time.monotonic()
            count = body.readinto(step)
            if self.size:  # the first bytes may be on their way for long, and be many
                self._seconds += time.monotonic() - began
            self._count(step[:count])
        return count > 0

    def _fill_file(self, body: Body, file: IO[bytes]) -> None:
        """Receive in steps that fit what comes, since a slow client is waited for with one."""
        step = memoryview(bytearray(FIRST_BUFFER))
        while not self.is_full:
            count = body.readinto(step[: self.capacity - self.size])
            if not count:
                return
            self._to_file(step[:count], file)
            if count == len(step) < DISK_STEP:
                step = memoryview(bytearray(GROWTH * len(step)))
            elif count <= len(step) // GROWTH and len(step) > FIRST_BUFFER:
                step = memoryview(bytearray(len(step) // GROWTH))

    def _count(self, data: memoryview) -> None:
        # While it is still in the processor's cache.
        self.crc32 = crc32(data, self.crc32)
        self.size += len(data)

    def _make_room(self, size: int) -> None:
        """See to it that `size` bytes more can be appended, in memory or else on disk."""
        needed = self.size + size
        if self._file is not None or needed <= len(self._memory):
            return
        most = self._expected if self._expected >= needed else self.capacity
        is_quick = self._comes_soon(most)
        factor = QUICK_GROWTH if is_quick and self.size >= PROOF else GROWTH
        wanted = max(needed, min(most, factor * len(self._memory) or self._first))
        memory = self._spool.take(wanted, for_long=not is_quick)
        if memory is None:
            self._move_to_file()
            return
        with memoryview(self._memory) as before:
            memory[: self.size] = before[: self.size]
        self._spool.give_back(self._memory, self._taken, is_replaced=True)
        self._memory, self._taken = memory, wanted

    def _comes_soon(self, size: int) -> bool:
        """Whether so many bytes are quick, if they come like those that are here."""
        return self._seconds * size <= QUICK_SECONDS * self.size

    def _free_memory(self) -> None:
        self._spool.give_back(self._memory, self._taken)
        self._memory, self._taken = bytearray(), 0

    def _move_to_file(self) -> None:
        """Go on in a file. Where that fails, what is here stays in memory."""
        file = self._spool.file()
        try:
            with memoryview(self._memory)[: self.size] as data:
                for _ in _written(data, file):
                    pass
        except BaseException:
            file.close()
            raise
        self._file = file
        self._free_memory()

    def _to_file(self, data: memoryview, file: IO[bytes]) -> None:
        for piece in _written(data, file):
            self._count(piece)


def read_end(body: Body) -> None:
    """Let the body learn that it has ended, which it does from a read behind its last byte."""
    count = body.readinto(memoryview(bytearray(1)))
    assert count == 0


def _written(data: memoryview, file: IO[bytes]) -> Iterator[memoryview]:
    """Write, and hand out each piece that the file has taken, be that all of it in the end or not.

    Raises:
        StoreUnavailable: the file takes no more.
    """
    try:
        while data:
            count = file.write(data[:MIB])
            yield data[:count]
            data = data[count:]
            if data:
                time.sleep(0)  # A disk is never waited for, and a part may have hundreds of MiB.
    except OSError as error:
        raise _failure(error) from error


def _failure(error: OSError) -> StoreUnavailable:
    return StoreUnavailable("spool", full=error.errno in _FULL)
