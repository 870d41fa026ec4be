"""A file with the last holder of each lock, shared by all processes of a host.

Each holder writes a random value of its own when it acquires the lock, into a slot that depends on
the lock's id. A process that finds its own value there knows that no other request has held the
lock since. Two locks may share a slot and overwrite each other's holders; then a request reads the
store although its cache is up to date.
"""

from __future__ import annotations

import errno
import os
import secrets
import weakref
from pathlib import Path

from tus_wsgi.lockers.file.directory import InvalidLockDirectory, open_directory, open_file

HOLDER_SIZE = 8
"""Random bytes that identify a holder."""

SLOTS = 2**16
"""Slots in the file, which has 512 KiB."""


class HolderFile:
    """The last holders of the locks in a directory.

    Raises:
        InvalidLockDirectory: see `open_directory` and `open_file`; or the disk is full.
        OSError: the file cannot be created.
    """

    def __init__(self, directory: Path) -> None:
        directory_fd = open_directory(directory)
        try:
            self._fd = open_file(directory, "uploads.marks", directory_fd)
        finally:
            os.close(directory_fd)
        self._finalizer = weakref.finalize(self, os.close, self._fd)
        self._finalizer.atexit = False
        try:
            _allocate(self._fd, HOLDER_SIZE * SLOTS)
        except OSError as error:
            self.close()
            raise InvalidLockDirectory(directory, "has no room for 512 KiB") from error

    def read(self, lock_id: int) -> bytes:
        """Return the last holder of the lock."""
        return os.pread(self._fd, HOLDER_SIZE, _offset(lock_id))

    def replace(self, lock_id: int) -> tuple[bytes, bytes]:
        """Record a new holder of the lock, and return the previous holder and the new one.

        Raises:
            OSError: the new holder cannot be written. In this case the upload must not be changed,
                because the previous holder would not notice the change.
        """
        previous, holder = self.read(lock_id), secrets.token_bytes(HOLDER_SIZE)
        written = os.pwrite(self._fd, holder, _offset(lock_id))
        if written != HOLDER_SIZE:
            raise OSError(f"only {written} of {HOLDER_SIZE} bytes were written to uploads.marks")
        return previous, holder

    def close(self) -> None:
        """Close the file."""
        self._finalizer()


def _allocate(fd: int, size: int) -> None:
    """Allocate the whole file at the start, so that locks do not fail when the disk gets full.

    Where the platform or the file system does not support that, the file has holes.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:
                raise
    # The file only grows, so no holder that another process recorded is lost.
    if os.fstat(fd).st_size < size:
        os.ftruncate(fd, size)


def _offset(lock_id: int) -> int:
    return lock_id % SLOTS * HOLDER_SIZE
