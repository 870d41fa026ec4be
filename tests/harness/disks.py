"""Full disks."""

from __future__ import annotations

import errno
import io
import os
from typing import IO

from tus_wsgi.spool.spool import Spool


class SmallDisk(Spool):
    """A spool on a disk that accepts a number of bytes in all; deleting files frees none of them.

    Args:
        budget: bytes of memory.
        free_bytes: the free bytes of the disk.
        directory: where its files really are.
    """

    def __init__(self, budget: int, free_bytes: int, directory: str | None = None) -> None:
        super().__init__(budget, directory)
        self.free_bytes = free_bytes

    def file(self) -> IO[bytes]:
        return SmallFile(super().file(), self)  # type: ignore[return-value]


class SmallFile(io.RawIOBase):
    """A file on a small disk. Like the kernel, it writes what fits, and then raises ENOSPC."""

    def __init__(self, file: IO[bytes], disk: SmallDisk) -> None:
        self._file = file
        self._disk = disk
        self.seek, self.tell, self.read = file.seek, file.tell, file.read  # type: ignore[method-assign]
        self.truncate = file.truncate  # type: ignore[method-assign]

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        if not self._disk.free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._file.write(data[: self._disk.free_bytes])
        self._disk.free_bytes -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
