"""A buffer in memory and on disk for request bodies on their way to S3.

One `Spool` serves a whole process. A part acquires memory as its bytes arrive, not as they are
announced, so a client that sends nothing takes almost none. While the memory budget is exhausted
and memory comes back, callers of fast clients block, and the server does not read from the client
meanwhile (`memory.py`). Other parts continue in an unlinked temporary file. If the disk budget is
exhausted too, callers block for a second, then the request ends and stores what it has received.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from typing import IO

from tus_wsgi.spool.disk import disk_error
from tus_wsgi.spool.disk_budget import DiskBudget
from tus_wsgi.spool.memory import MAX_BLIND_WAIT, MemoryBudget
from tus_wsgi.spool.part import FAST_FIRST_BUFFER, FIRST_BUFFER, SpooledPart


class Spool:
    """The budgets of a process, and the directory for parts that exceed the memory.

    Attributes:
        memory: the memory budget.
        disk: the disk budget.
        max_part_size: bytes of the largest part that the budgets can hold; None for no limit.

    Args:
        budget: bytes of memory that all parts may take together; 0 puts every part on disk.
        directory: for temporary files; None for the system's default.
        disk_budget: bytes that all temporary files may have together; 0 for no limit.
        on_memory: see `MemoryBudget.on_change`.
    """

    def __init__(
        self,
        budget: int,
        directory: str | None = None,
        *,
        disk_budget: int = 0,
        on_memory: Callable[[int], None] | None = None,
    ) -> None:
        self.memory = MemoryBudget(budget, on_memory)
        self.disk = DiskBudget(disk_budget)
        self.max_part_size = max(budget, disk_budget) if disk_budget else None
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
            StoreUnavailable: `initial` could not be read, or the disk or its budget is full.
        """
        first = FAST_FIRST_BUFFER if is_fast and expected != 0 else FIRST_BUFFER
        part = SpooledPart(self.memory, self.disk, self.file, capacity, expected, first=first)
        # The limit of a single wait is not enough, because the buffer may grow several times.
        deadline = time.monotonic() + MAX_BLIND_WAIT
        try:
            for data in initial:
                part.write(data, lambda: time.monotonic() >= deadline)
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
