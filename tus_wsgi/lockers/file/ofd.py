"""Locks that the kernel keeps, and drops when a process dies, however it dies.

`KernelLocks` is what `tus_wsgi.lockers.file.locker` needs of them. `ByteLocks` has it from Linux;
where Linux is missing, `tus_wsgi.lockers.file.flock` does it the old way.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
import struct
import weakref
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

NAMES = 2**62
"""Names of locks are integers from 0 to this, exclusive."""

FILES = 16
"""The kernel walks through the list of all locks of a file for each of its answers. One file would
do for some thousand uploads at a time; see the table in docs/locks.md."""


class InvalidLockDirectory(ValueError):
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
        raise InvalidLockDirectory(directory, reason) from error
    try:
        _check_directory(directory, os.fstat(fd))
    except InvalidLockDirectory:
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
        raise InvalidLockDirectory(directory, reason)
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(status.st_mode)
        reason = f"expected a directory that only its owner can write to, not one of mode {mode:o}"
        raise InvalidLockDirectory(directory, reason)


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
        raise InvalidLockDirectory(directory, reason) from error
    if not works:
        raise InvalidLockDirectory(directory, "expected a file system where locks exclude")


# `struct flock` of Linux: l_type, l_whence, l_start, l_len, l_pid, all with the compiler's own
# alignment. "0q" pads the end to that of an off_t.
_FLOCK = struct.Struct("hhqqi0q")


class ByteLocks:
    """A byte for each lock, by Linux's open file description locks (fcntl(2)), in a few files.

    The classic locks of POSIX belong to a process: closing any descriptor of the file drops them
    all, also one that a library opened and closed for a look. These belong to the open file
    description. So there is one description of each file in a process, and it is not shared with
    children.

    The bytes need not exist: the files stay empty.

    Raises:
        LockDirectoryRefused: see `open_directory`.
        OSError: a lock file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        fds = [open_directory(directory)]
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            for number in range(FILES):
                fds.append(os.open(f"uploads-{number:x}.lock", flags, 0o600, dir_fd=fds[0]))
        except OSError:
            _close(*fds)
            raise
        self._fds = fds[1:]
        self._finalizer = weakref.finalize(self, _close, *fds)
        # The end of the process is the kernel's business: threads may still be at work.
        self._finalizer.atexit = False

    def take(self, name: int) -> bool:
        """Take a lock; False when another process has it."""
        try:
            self._call(fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, name), name)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            return False
        return True

    def drop(self, name: int) -> None:
        """Give a lock back. Without having it, or after `close`, this does nothing."""
        if self._finalizer.alive:
            self._call(fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, name), name)

    def _call(self, command: int, flock: bytes, name: int) -> bytes:
        """Ask the kernel about the file that has this name."""
        return fcntl.fcntl(self._fds[name % FILES], command, flock)

    def taken_elsewhere(self, names: Collection[int]) -> set[int]:
        """Those of `names` that other processes have taken."""
        of_file: dict[int, list[int]] = {}
        for name in sorted(names):
            of_file.setdefault(name % FILES, []).append(name)
        return {name for some in of_file.values() for name in self._taken_of(some)}

    def _taken_of(self, names: Sequence[int]) -> Iterator[int]:
        """Those that others have taken of the sorted names in one file.

        The first question is about all of them at once, and in most cases it is the last. Where
        somebody has one, the kernel says which, and it is asked about what lies on either side.
        """
        todo = [(0, len(names))]
        while todo:
            begin, end = todo.pop()
            if begin == end:
                continue
            taken = self._taken_between(names[begin], names[end - 1] + 1)
            if taken is not None:
                left = bisect_left(names, taken.start, begin, end)
                right = bisect_left(names, taken.stop, left, end)
                yield from names[left:right]
                todo += [(begin, left), (right, end)]

    def _taken_between(self, start: int, stop: int) -> range | None:
        """One of the others' locks from `start` on and before `stop`, if there is any.

        The kernel does not report the locks of the description that asks.
        """
        question = _flock(fcntl.F_WRLCK, start, stop - start)
        kind, _, first, length, _ = _FLOCK.unpack(self._call(fcntl.F_OFD_GETLK, question, start))
        if kind == fcntl.F_UNLCK:
            return None
        return range(first, first + length if length else stop)  # no length: all that follow

    def close(self) -> None:
        """Give everything back; in the child of a fork: let go of what is the parent's."""
        self._finalizer()


def _flock(type: int, start: int, length: int = 1) -> bytes:
    # l_pid has to be 0, or the kernel takes it for a mistake (EINVAL).
    return _FLOCK.pack(type, os.SEEK_SET, start, length, 0)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)
