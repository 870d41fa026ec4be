"""A buffer in memory and on disk for request bodies on their way to S3.

One `Spool` serves a whole process. A part acquires memory as its bytes arrive, not as they are
announced, so a client that sends nothing takes almost none. Callers block while the memory budget
is exhausted and other parts release memory. That is the only back-pressure: the server does not
read from the client meanwhile. If no memory is released, because the parts that hold it wait
for stalled clients, the part continues in an unlinked temporary file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from typing import IO

from tus_wsgi.spool.disk import disk_error
from tus_wsgi.spool.memory import MemoryBudget
from tus_wsgi.spool.part import FAST_FIRST_BUFFER, FIRST_BUFFER, SpooledPart


class Spool:
    """The memory budget of a process, and the directory for parts that exceed it.

    Attributes:
        memory: the budget.

    Args:
        budget: bytes of memory that all parts may take together; 0 puts every part on disk.
        directory: for temporary files; None for the system's default.
        on_memory: see `MemoryBudget.on_change`.
    """

    def __init__(
        self,
        budget: int,
        directory: str | None = None,
        *,
        on_memory: Callable[[int], None] | None = None,
    ) -> None:
        self.memory = MemoryBudget(budget, on_memory)
        self._directory = directory

    def part(
        self,
        capacity: int,
        expected: int | None,
        initial: Iterable[bytes] = (),
        *,
        is_fast: bool = False,
    ) -> SpooledPart:
        """Create a part for at most `capacity` bytes.

        Args:
            capacity: the largest size of the part.
            expected: total bytes that the client has announced; None if unknown.
            initial: the first bytes of the part.
            is_fast: whether the client filled its previous part fast. If it has announced more
                bytes, the first buffer is large.

        Raises:
            StoreUnavailable: `initial` could not be read, or the disk is full.
        """
        first = FAST_FIRST_BUFFER if is_fast and expected != 0 else FIRST_BUFFER
        part = SpooledPart(self.memory, self.file, capacity, expected, first)
        try:
            for data in initial:
                part.write(data)
        except BaseException:
            part.close()
            raise
        return part

    def file(self) -> IO[bytes]:
        """Create a temporary file without a name, so a killed process leaves nothing behind.

        Raises:
            StoreUnavailable: the directory does not accept files.
        """
        try:
            return tempfile.TemporaryFile(dir=self._directory, buffering=0)
        except OSError as error:
            raise disk_error(error) from error
