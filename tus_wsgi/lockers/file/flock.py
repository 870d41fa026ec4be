"""Advisory locks for platforms without OFD locks, such as macOS: one file for each lock."""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from tus_wsgi.lockers.file.directory import open_directory, open_file


class FlockLocks:
    """`AdvisoryLocks` by flock(2). Each lock has a file that exists as long as the lock is held.

    Only the holder removes the file. Another process may have opened the file before the removal
    and lock it afterwards, when a new file or none has that name. So a lock counts only if the
    locked file still has its name.

    A killed process leaves the files of its locks behind. They are empty and have no effect.

    Raises:
        InvalidLockDirectory: see `open_directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory
        self._directory = open_directory(directory)
        self._held: dict[int, int] = {}  # descriptors by lock id
        self._finalizer = weakref.finalize(self, _close, self._directory, self._held)
        # Do not close at exit: threads may still use the locks until the kernel closes the files.
        self._finalizer.atexit = False

    def try_acquire(self, lock_id: int) -> bool:
        """Acquire a lock; return False if another process holds it."""
        acquired: bool | None = None
        while acquired is None:
            acquired = self._try_once(lock_id)
        return acquired

    def _try_once(self, lock_id: int) -> bool | None:
        """Return whether the lock was acquired; None if its file was removed meanwhile."""
        fd = open_file(self._path, _file_name(lock_id), self._directory)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._is_current(lock_id, fd):
                return None
            self._held[lock_id] = fd
        except BlockingIOError:
            return False
        finally:
            if self._held.get(lock_id) != fd:
                os.close(fd)
        return True

    def _is_current(self, lock_id: int, fd: int) -> bool:
        try:
            current = os.stat(_file_name(lock_id), dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(current, os.fstat(fd))

    def release(self, lock_id: int) -> None:
        """Release a lock. If it is not held, or after `close`, do nothing."""
        fd = self._held.pop(lock_id, None)
        if fd is None:
            return
        try:
            with suppress(FileNotFoundError):  # another program removed the file
                os.unlink(_file_name(lock_id), dir_fd=self._directory)
        finally:
            os.close(fd)

    def held_by_others(self, lock_ids: Collection[int]) -> set[int]:
        """Return the ids in `lock_ids` whose locks other processes hold."""
        # A file exists while its lock is held, so listing the directory excludes most ids.
        files = set(os.listdir(self._directory))  # noqa: PTH208 - of a descriptor
        others = [lock_id for lock_id in lock_ids if lock_id not in self._held]
        possible = [lock_id for lock_id in others if _file_name(lock_id) in files]
        return {lock_id for lock_id in possible if self._is_held(lock_id)}

    def _is_held(self, lock_id: int) -> bool:
        # flock(2) cannot query a lock, only try to acquire it. If another process fails to acquire
        # the lock because of that, it retries.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            fd = os.open(_file_name(lock_id), flags, dir_fd=self._directory)
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
        """Release all locks. In the child of a fork, only close the inherited descriptors."""
        self._finalizer()


def _file_name(lock_id: int) -> str:
    return f"{lock_id:016x}.lock"


def _close(directory: int, held: dict[int, int]) -> None:
    while held:
        os.close(held.popitem()[1])
    os.close(directory)
