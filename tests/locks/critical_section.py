"""A shared record of the holder of each lock, which stands for a store that checks the lock first.

A hold is one acquisition of a lock, and has a number. Each lock has a file with the hold that
entered last and the process of this hold. A kernel lock of the file protects the read, the check
that the lock is still held, and the write. A process may be stopped at any point, but no other
process can act between its check and its write.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tus_wsgi.domain.interfaces import Lock

_PF_EXITING = 0x4
"""The kernel's flag of a process that exits (proc_pid_stat(5), `flags`)."""

_RECORD = struct.Struct("=qqq")  # hold, process id, fence


class Overlap(Exception):
    """Two holders could write at the same time."""


class CriticalSections:
    """The critical sections of the locks, as files in a directory.

    Args:
        directory: created if it is missing.
        stopped_holders_keep_locks: True for kernel locks: no other request may enter while a live
            process is inside. False for leases: a stopped holder loses its lock, and must detect
            that with its next write.
    """

    def __init__(self, directory: Path, *, stopped_holders_keep_locks: bool) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._stopped_holders_keep_locks = stopped_holders_keep_locks

    def enter(self, id: str, lock: Lock, hold: int, *, fence: int) -> None:
        """Record that `hold` is inside. Its fence must not be lower than any previous one.

        Raises:
            LockLost: the lock is no longer held.
            Overlap: another hold is inside and can still write.
        """
        with self._record(id, lock) as (found, write):
            previous, pid, previous_fence = found
            if previous and self._stopped_holders_keep_locks and _is_alive(pid):
                raise Overlap(f"{id}: {hold} enters while {previous} of process {pid} is inside")
            if fence < previous_fence:
                raise Overlap(f"{id}: {hold} has fence {fence}, {previous} had {previous_fence}")
            write(hold, os.getpid(), fence)

    def write(self, id: str, lock: Lock, hold: int) -> None:
        """Check that `hold` is still inside the critical section.

        Raises:
            LockLost: the lock is no longer held.
            Overlap: another hold has entered, although `hold` could still write.
        """
        with self._record(id, lock) as (found, _):
            if found[0] != hold:
                raise Overlap(f"{id}: {hold} holds the lock while {found} is inside")

    def leave(self, id: str, lock: Lock, hold: int) -> None:
        """Record that no hold is inside. Raises the exceptions of `write`."""
        with self._record(id, lock) as (found, write):
            if found[0] != hold:
                raise Overlap(f"{id}: {hold} holds the lock while {found} is inside")
            write(0, 0, found[2])

    def inside(self, id: str) -> tuple[int, int]:
        """Return the hold that is inside, and its process; zeros for none."""
        try:
            content = (self._directory / id).read_bytes()
        except FileNotFoundError:
            return 0, 0
        hold, pid, _ = _RECORD.unpack(content or bytes(_RECORD.size))
        return hold, pid

    @contextmanager
    def _record(
        self, id: str, lock: Lock
    ) -> Iterator[tuple[tuple[int, int, int], Callable[[int, int, int], None]]]:
        """Check that the lock is held, and protect the record of the lock in the block.

        Yields:
            The hold that is inside, its process and its fence, or zeros; a function that replaces
            these three.
        """
        fd = os.open(self._directory / id, os.O_RDWR | os.O_CREAT)
        try:
            while not _try_flock(fd):
                time.sleep(0.005)  # never a blocking call: this may be a greenlet
            lock.assert_held()
            content = os.pread(fd, _RECORD.size, 0) or bytes(_RECORD.size)

            def write(hold: int, pid: int, fence: int) -> None:
                os.pwrite(fd, _RECORD.pack(hold, pid, fence), 0)

            hold, pid, fence = _RECORD.unpack(content)
            yield (hold, pid, fence), write
        finally:
            os.close(fd)


def _try_flock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    """Return whether the process can still write.

    A killed process first releases its locks, and only then does `kill(pid, 0)` fail.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, *fields = stat.rpartition(")")[2].split()
    has_exited = state in {"Z", "X"}
    is_exiting = int(fields[5]) & _PF_EXITING
    return not has_exited and not is_exiting
