"""The shared record of who is inside: what a store would be, that asks for the lock before a write.

Each lock has a file with the number of the hold that has entered it, and of its process. It is read
and written under a kernel lock of its own together with the question whether the lock is still
held. A process may be stopped at any point: then nobody can get between its question and its write.
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
"""The kernel's mark on a process that is being taken down (proc_pid_stat(5), `flags`)."""

_SLOT = struct.Struct("=qqq")  # the hold, its process, its fence


class Overlap(Exception):
    """Two holders had the right to write at the same time."""


class Register:
    """The files in a directory.

    Args:
        directory: made if it is missing.
        outlives: whether a holder that is stopped keeps its lock, as it does with the kernel's:
            then nobody may enter while a live process is inside. With leases it loses it, and
            is found out when it writes.
    """

    def __init__(self, directory: Path, *, outlives: bool) -> None:
        directory.mkdir(exist_ok=True)
        self._directory = directory
        self._outlives = outlives

    def enter(self, id: str, lock: Lock, hold: int, *, fence: int) -> None:
        """Write that `hold` is inside. No holder's fence is below that of one who was inside.

        Raises:
            LockLost: the lock is not held any more.
            Overlap: somebody else is inside who can still be there.
        """
        with self._slot(id, lock) as (found, write):
            before, pid, passed = found
            if before and self._outlives and _is_alive(pid):
                raise Overlap(f"{id}: {hold} enters, and {before} of {pid} is inside")
            if fence < passed:
                raise Overlap(f"{id}: {hold} has fence {fence}, and {before} had {passed}")
            write(hold, os.getpid(), fence)

    def stay(self, id: str, lock: Lock, hold: int) -> None:
        """Write once more.

        Raises:
            LockLost: the lock is not held any more.
            Overlap: somebody else has entered meanwhile, and this one could still write.
        """
        with self._slot(id, lock) as (found, _):
            if found[0] != hold:
                raise Overlap(f"{id}: {hold} holds the lock, and {found} is inside")

    def leave(self, id: str, lock: Lock, hold: int) -> None:
        """Write that nobody is inside. Raises what `stay` raises."""
        with self._slot(id, lock) as (found, write):
            if found[0] != hold:
                raise Overlap(f"{id}: {hold} holds the lock, and {found} is inside")
            write(0, 0, found[2])

    @contextmanager
    def _slot(
        self, id: str, lock: Lock
    ) -> Iterator[tuple[tuple[int, int, int], Callable[[int, int, int], None]]]:
        fd = os.open(self._directory / id, os.O_RDWR | os.O_CREAT)
        try:
            while not _try_to_lock(fd):
                time.sleep(0.005)  # never a call that blocks: this may be a greenlet
            lock.assert_held()
            content = os.pread(fd, _SLOT.size, 0) or bytes(_SLOT.size)

            def write(hold: int, pid: int, fence: int) -> None:
                os.pwrite(fd, _SLOT.pack(hold, pid, fence), 0)

            hold, pid, fence = _SLOT.unpack(content)
            yield (hold, pid, fence), write
        finally:
            os.close(fd)


def _try_to_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(pid: int) -> bool:
    """Whether the process can still write.

    One that was killed gives its locks back first, and is only then gone for `kill(pid, 0)`.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state, *fields = stat.rpartition(")")[2].split()
    return state not in {"Z", "X"} and not int(fields[5]) & _PF_EXITING
