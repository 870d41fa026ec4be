"""Advisory locks that the kernel releases when a process dies.

`AdvisoryLocks` is the interface that `tus_wsgi.lockers.file.locker` uses. `OfdLocks` implements it
with Linux's open file description locks; `tus_wsgi.lockers.file.flock` implements it for other
platforms.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
import weakref
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from tus_wsgi.lockers.file.directory import InvalidLockDirectory, open_directory, open_file

ID_LIMIT = 2**62
"""Ids of locks are integers from 0 to this, exclusive."""

FILE_COUNT = 16
"""Number of lock files. The kernel walks through all locks of a file in each call, so one file
would only suffice for a few thousand uploads at a time; see the table in docs/locks.md."""


class AdvisoryLocks(Protocol):
    """Exclusive locks among the processes of a host, by id. No method blocks.

    An instance belongs to the process that created it. The threads of a process must not compete
    for the same lock: the kernel does not tell them apart.
    """

    def try_acquire(self, lock_id: int) -> bool:
        """Acquire a lock; return False if another process holds it."""

    def release(self, lock_id: int) -> None:
        """Release a lock. If it is not held, or after `close`, do nothing."""

    def held_by_others(self, lock_ids: Collection[int]) -> set[int]:
        """Return the ids in `lock_ids` whose locks other processes hold."""

    def close(self) -> None:
        """Release all locks. In the child of a fork, only close the inherited descriptors."""


OpenLocks = Callable[[Path], AdvisoryLocks]


def probe(open_locks: OpenLocks, directory: Path) -> None:
    """Check that locks exclude each other on this file system; some file systems ignore locks.

    Raises:
        InvalidLockDirectory: locks do not work in `directory`.
    """
    lock_id = secrets.randbelow(ID_LIMIT)  # workers that start together must not collide
    try:
        first, second = open_locks(directory), open_locks(directory)
        works = (
            first.try_acquire(lock_id)
            and not second.try_acquire(lock_id)
            and second.held_by_others({lock_id}) == {lock_id}
            and not first.held_by_others({lock_id})
        )
        first.close()
        works = works and second.try_acquire(lock_id)
        second.release(lock_id)
        second.close()
    except OSError as error:
        reason = f"expected a directory where locks work ({error.strerror})"
        raise InvalidLockDirectory(directory, reason) from error
    if not works:
        raise InvalidLockDirectory(directory, "expected a file system where locks work")


# `struct flock` of Linux: l_type, l_whence, l_start, l_len, l_pid, all with the compiler's own
# alignment. "0q" pads the end to the alignment of off_t.
_FLOCK = struct.Struct("hhqqi0q")


class OfdLocks:
    """One byte for each lock in a few files, locked by open file description locks (fcntl(2)).

    Classic POSIX locks belong to a process: closing any descriptor of the file releases them all,
    even if a library only opened the file to read it. OFD locks belong to the open file
    description. So a process has one description of each file, which it does not share with its
    children.

    The bytes need not exist: the files stay empty.

    Raises:
        InvalidLockDirectory: see `open_directory` and `open_file`.
        OSError: a lock file cannot be opened.
    """

    def __init__(self, directory: Path) -> None:
        fds = [open_directory(directory)]
        try:
            for number in range(FILE_COUNT):
                fds.append(open_file(directory, f"uploads-{number:x}.lock", fds[0]))
        except (OSError, InvalidLockDirectory):
            _close(*fds)
            raise
        self._fds = fds[1:]
        self._finalizer = weakref.finalize(self, _close, *fds)
        # Do not close at exit: threads may still use the locks until the kernel closes the files.
        self._finalizer.atexit = False

    def try_acquire(self, lock_id: int) -> bool:
        """Acquire a lock; return False if another process holds it."""
        try:
            self._call(fcntl.F_OFD_SETLK, _flock(fcntl.F_WRLCK, lock_id), lock_id)
        except (BlockingIOError, PermissionError):  # POSIX allows EAGAIN and EACCES
            return False
        return True

    def release(self, lock_id: int) -> None:
        """Release a lock. If it is not held, or after `close`, do nothing."""
        if self._finalizer.alive:
            self._call(fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, lock_id), lock_id)

    def _call(self, command: int, flock: bytes, lock_id: int) -> bytes:
        """Call fcntl on the file that contains the lock."""
        return fcntl.fcntl(self._fds[lock_id % FILE_COUNT], command, flock)

    def held_by_others(self, lock_ids: Collection[int]) -> set[int]:
        """Return the ids in `lock_ids` whose locks other processes hold."""
        by_file: dict[int, list[int]] = {}
        for lock_id in sorted(lock_ids):
            by_file.setdefault(lock_id % FILE_COUNT, []).append(lock_id)
        return {lock_id for ids in by_file.values() for lock_id in self._held_in_file(ids)}

    def _held_in_file(self, lock_ids: Sequence[int]) -> Iterator[int]:
        """Yield the ids whose locks other processes hold.

        The ids are sorted, and their locks are in one file. The first call covers the whole range,
        and in most cases it is the only one. If the kernel reports a lock, the ids on either side
        of it are checked next.
        """
        todo = [(0, len(lock_ids))]
        while todo:
            begin, end = todo.pop()
            if begin == end:
                continue
            held = self._held_between(lock_ids[begin], lock_ids[end - 1] + 1)
            if held is not None:
                left = bisect_left(lock_ids, held.start, begin, end)
                right = bisect_left(lock_ids, held.stop, left, end)
                yield from lock_ids[left:right]
                todo += [(begin, left), (right, end)]

    def _held_between(self, start: int, stop: int) -> range | None:
        """Return a range of ids between `start` and `stop` that another process has locked, if any.

        The kernel does not report the locks of this instance's own file description.
        """
        request = _flock(fcntl.F_WRLCK, start, stop - start)
        kind, _, first, length, _ = _FLOCK.unpack(self._call(fcntl.F_OFD_GETLK, request, start))
        if kind == fcntl.F_UNLCK:
            return None
        end = first + length if length else stop  # a length of 0 means up to the end of the file
        return range(first, end)

    def close(self) -> None:
        """Release all locks. In the child of a fork, only close the inherited descriptors."""
        self._finalizer()


def _flock(type: int, start: int, length: int = 1) -> bytes:
    # l_pid must be 0, or the kernel rejects the call (EINVAL).
    return _FLOCK.pack(type, os.SEEK_SET, start, length, 0)


def _close(*fds: int) -> None:
    for fd in fds:
        os.close(fd)
