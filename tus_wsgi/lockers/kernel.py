"""Locks that the kernel keeps, and drops when a process dies, however it dies.

`KernelLocks` is what `tus_wsgi.lockers.file` needs of them. `ByteLocks` has it from Linux; where
Linux is missing, `tus_wsgi.lockers.flock` does it the old way.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import struct
import weakref
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Protocol

NAMES = 2**62
"""Names of locks are integers from 0 to this, exclusive."""


class LockDirectoryRefused(ValueError):
    """`TUS_LOCK_DIR` names a place where locks would not work, or not be safe."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"TUS_LOCK_DIR: {reason}, got {str(directory)!r}")
        self.directory = directory
        self.reason = reason


class KernelLocks(Protocol):
    """Exclusive locks among the processes of a host, by name. Nothing here ever waits.

    An instance belongs to the process that made it. The threads of a process must not compete for
    a name: to the kernel they are all the same.
    """

    def take(self, name: int) -> bool:
        """Take a lock; False when another process has it."""

    def drop(self, name: int) -> None:
        """Give a lock back. Without having it, or after `close`, this does nothing."""

    def taken_elsewhere(self, names: Collection[int]) -> set[int]:
        """Those of `names` that other processes have taken."""

    def close(self) -> None:
        """Give everything back; in the child of a fork: let go of what is the parent's."""


OpenLocks = Callable[[Path], KernelLocks]


def open_directory(directory: Path) -> int:
    """A descriptor of `directory`, which is made if it is missing, for this user alone.

    Whoever can write to it could replace a lock file, and by that let two requests in at once.

    Raises:
        LockDirectoryRefused: it is not a directory of ours, or others can write to it.
    """
    try:
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        reason = f"expected a directory that is no symbolic link ({error.strerror})"
        raise LockDirectoryRefused(directory, reason) from error
    try:
        _check_directory(directory, os.fstat(fd))
    except LockDirectoryRefused:
        os.close(fd)
        raise
    # systemd clears temporary directories of what was not touched for ten days, and a lock file
    # never is. It leaves alone what is below a directory with a BSD lock on it:
    # https://systemd.io/TEMPORARY_DIRECTORIES/. Without the file, workers that start later would
    # make another one, and not see the locks of the earlier ones.
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return fd


def _check_directory(directory: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        reason = f"expected a directory of user {os.geteuid()}, not of {status.st_uid}"
        raise LockDirectoryRefused(directory, reason)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        reason = f"expected a directory that only its owner can write to, not one of mode {mode:o}"
        raise LockDirectoryRefused(directory, reason)


def probe(open_locks: OpenLocks, directory: Path) -> None:
    """Find out whether locks exclude each other on this file system: some only pretend to.

    Raises:
        LockDirectoryRefused: they do not.
    """
    name = secrets.randbelow(NAMES)  # workers that start together must not disturb each other
    try:
        ours, theirs = open_locks(directory), open_locks(directory)
        works = (
            ours.take(name)
            and not theirs.take(name)
            and theirs.taken_elsewhere({name}) == {name}
            and not ours.taken_elsewhere({name})
        )
        ours.close()
        works = works and theirs.take(name)
        theirs.drop(name)
        theirs.close()
    except OSError as error:
        reason = f"expected a place where locks work ({error.strerror})"
        raise LockDirectoryRefused(directory, reason) from error
    if not works:
        raise LockDirectoryRefused(directory, "expected a file system where locks exclude")


# `struct flock` of Linux: l_type, l_whence, l_start, l_len, l_pid, all with the compiler's own
# alignment. "0q" pads the end to that of an off_t.
_FLOCK = struct.Struct("hhqqi0q")


class ByteLocks:
    """One byte of one file for each lock, by Linux's open file description locks (fcntl(2)).

    The classic locks of POSIX belong to a process: closing any descriptor of the file drops them
    all, also one that a library opened and closed for a look. These belong to the open file
    description. So there is one description in a process, and it is not shared with children.

    The bytes need not exist: the file stays empty.

    Raises:
        LockDirectoryRefused: see `open_directory`.
        OSError: the lock file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        directory_fd = open_directory(directory)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open("uploads.lock", flags, 0o600, dir_fd=directory_fd)
        except OSError:
            os.close(directory_fd)
            raise
        self._finalizer = weakref.finalize(self, _close, self._fd, directory_fd)
        # The end of the process is the kernel's business: threads may still be at work.
        self._finalizer.atexit = False

    def take(self, name: int) -> bool:
        """Take a lock; False when another process has it."""
        try:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, name))
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            return False
        return True

    def drop(self, name: int) -> None:
        """Give a lock back. Without having it, or after `close`, this does nothing."""
        if self._finalizer.alive:
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, name))

    def taken_elsewhere(self, names: Collection[int]) -> set[int]:
        """Those of `names` that other processes have taken.

        The kernel walks through a list of all locks of the file for each question. So the first
        one is about all names at once, and in most cases the last: with 1,000 locks held, asking
        for each takes 7 ms, asking once 10 µs.
        """
        if not names or not self._is_taken(min(names), length=0):
            return set()
        return {name for name in names if self._is_taken(name)}

    def _is_taken(self, start: int, length: int = 1) -> bool:
        """Whether others have locked any of `length` bytes; 0 means all that follow.

        The kernel does not report the locks of the description that asks.
        """
        answer = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _flock(fcntl.F_WRLCK, start, length))
        return bool(_FLOCK.unpack(answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        """Give everything back; in the child of a fork: let go of what is the parent's."""
        self._finalizer()


def _flock(type: int, start: int, length: int = 1) -> bytes:
    # l_pid has to be 0, or the kernel takes it for a mistake (EINVAL).
    return _FLOCK.pack(type, os.SEEK_SET, start, length, 0)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)
