"""Marks in a file: who held a lock last, among all processes of a host.

Each holder writes a mark of its own when it gets the lock, at a place that the lock's name leads
to. Whoever finds the mark that it left knows that nobody has held the lock since. Locks may share
a place: then one overwrites the other's mark, and somebody looks once more than was needed.
"""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from pathlib import Path

from tus_wsgi.lockers.file.ofd import InvalidLockDirectory, open_directory

SIZE = 8
"""Bytes of a mark. They are random."""

PLACES = 2**16
"""So the file has 512 KiB."""


class HolderFile:
    """The marks of the locks in a directory.

    Raises:
        LockDirectoryRefused: see `open_directory`; or its disk is full.
        OSError: the file cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        directory_fd = open_directory(directory)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open("uploads.marks", flags, 0o600, dir_fd=directory_fd)
        finally:
            os.close(directory_fd)
        self._finalizer = weakref.finalize(self, os.close, self._fd)
        self._finalizer.atexit = False
        try:
            _allocate(self._fd, SIZE * PLACES)
        except OSError as error:
            self.close()
            raise InvalidLockDirectory(directory, "has no room for 512 KiB") from error

    def last(self, name: int) -> bytes:
        """The mark of whoever held this lock last."""
        return os.pread(self._fd, SIZE, _place(name))

    def succeed(self, name: int) -> tuple[bytes, bytes]:
        """Leave a mark, as the lock's new holder: the one that was there, and ours.

        Raises:
            OSError: it cannot be written. Then nobody may change the upload, because whoever left
                the mark that is there would not notice.
        """
        before, ours = self.last(name), secrets.token_bytes(SIZE)
        written = os.pwrite(self._fd, ours, _place(name))
        if written != SIZE:
            raise OSError("a mark was not written whole")
        return before, ours

    def close(self) -> None:
        """Close the file."""
        self._finalizer()


def _allocate(fd: int, size: int) -> None:
    """Take the room once and for all: on a disk that gets full later, locks would fail.

    Where the platform or the file system cannot promise it, the file has holes.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
    # It only ever grows, so no mark of another process is lost.
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)


def _place(name: int) -> int:
    return name % PLACES * SIZE
