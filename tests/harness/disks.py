"""Disks that have no room left."""

from __future__ import annotations

import errno
import io
import os
from typing import IO

from tus_wsgi.spool.spool import Spool


class SmallDisk(Spool):
    """A spool on a disk that takes so many bytes in all, and gets none of them back.

    Args:
        budget: bytes of memory.
        room: bytes of the disk.
        directory: where its files really are.
    """

    def __init__(self, budget: int, room: int, directory: str | None = None) -> None:
        super().__init__(budget, directory)
        self.room = room

    def file(self) -> IO[bytes]:
        return SmallFile(super().file(), self)  # type: ignore[return-value]


class SmallFile(io.RawIOBase):
    """A file on it. It takes what fits, as the kernel does, and then nothing."""

    def __init__(self, file: IO[bytes], disk: SmallDisk) -> None:
        self._file = file
        self._disk = disk
        self.seek, self.tell, self.read = file.seek, file.tell, file.read  # type: ignore[method-assign]
        self.truncate = file.truncate  # type: ignore[method-assign]

    def write(self, data: memoryview, /) -> int:  # type: ignore[override]
        if not self._disk.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = self._file.write(data[: self._disk.room])
        self._disk.room -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
