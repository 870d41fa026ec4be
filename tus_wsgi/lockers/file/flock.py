"""Kernel locks where Linux's are missing, on macOS for instance: one file for each lock."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tus_wsgi.lockers.file.ofd import open_directory


class FlockLocks:
    """`KernelLocks` by flock(2), on a file of each lock's own that lives as long as the lock.

    Only a holder removes a file. Somebody may have opened it before, and lock it afterwards,
    when the name is free or another file's already: so a lock counts only if the file that
    was locked is still the one of that name.

    A process that is killed leaves the files of its locks behind. They are empty and mean nothing.

    Raises:
        LockDirectoryRefused: see `open_directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = open_directory(directory)
        self._taken: dict[int, int] = {}  # descriptors by name
        self._finalizer = weakref.finalize(self, _close, self._directory, self._taken)
        # The end of the process is the kernel's business: threads may still be at work.
        self._finalizer.atexit = False

    def take(self, name: int) -> bool:
        """Take a lock; False when another process has it."""
        taken: bool | None = None
        while taken is None:
            taken = self._try(name)
        return taken

    def _try(self, name: int) -> bool | None:
        """Whether we have the lock now; None when its file was removed meanwhile."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(_file(name), flags, 0o600, dir_fd=self._directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_current(name, fd):
                return None
            self._taken[name] = fd
        except BlockingIOError:
            return False
        finally:
            if self._taken.get(name) != fd:
                os.close(fd)
        return True

    def _is_current(self, name: int, fd: int) -> bool:
        try:
            current = os.stat(_file(name), dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(current, os.fstat(fd))

    def drop(self, name: int) -> None:
        """Give a lock back. Without having it, or after `close`, this does nothing."""
        fd = self._taken.pop(name, None)
        if fd is None:
            return
        try:
            with suppress(FileNotFoundError):  # somebody tidied up
                os.unlink(_file(name), dir_fd=self._directory)
        finally:
            os.close(fd)

    def taken_elsewhere(self, names: Collection[int]) -> set[int]:
        """Those of `names` that other processes have taken."""
        # A file is there while its lock is taken, so one look at the directory is nearly all.
        files = set(os.listdir(self._directory))  # noqa: PTH208 - of a descriptor
        return {
            name
            for name in names
            if _file(name) in files and name not in self._taken and self._is_taken(name)
        }

    def _is_taken(self, name: int) -> bool:
        # flock cannot be asked, only tried. Whoever wants the lock in this moment tries again.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(_file(name), flags, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def close(self) -> None:
        """Give everything back; in the child of a fork: let go of what is the parent's."""
        self._finalizer()


def _file(name: int) -> str:
    return f"{name:016x}.lock"


def _close(directory: int, taken: dict[int, int]) -> None:
    while taken:
        os.close(taken.popitem()[1])
    os.close(directory)
