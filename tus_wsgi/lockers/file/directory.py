"""The lock directory and its files: open them, and check that no other user can replace them.

A user who can write to the directory, or replace it, could let two requests hold the same lock. A
user who can open a lock file could hold locks for ever.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH

_NO_LOCK_FILE = frozenset({errno.ELOOP, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENXIO})
"""Errors of `open` for something other than a regular file of this user."""


class InvalidLockDirectory(ValueError):
    """`TUS_LOCK_DIR` names a directory where locks would not work or would not be safe."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"TUS_LOCK_DIR: {reason}, got {str(directory)!r}")
        self.directory = directory
        self.reason = reason


def open_directory(directory: Path) -> int:
    """Return a descriptor of `directory`, which is created for this user alone if it is missing.

    Raises:
        InvalidLockDirectory: it is not a directory of this user, or other users can write to it or
            replace it.
    """
    try:
        with suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        reason = f"expected a directory that is not a symbolic link ({error.strerror})"
        raise InvalidLockDirectory(directory, reason) from error
    try:
        _check_directory(directory, os.fstat(fd))
        _check_parents(directory)
    except (InvalidLockDirectory, OSError):
        os.close(fd)
        raise
    # systemd removes files from temporary directories that were not touched for ten days, and lock
    # files are never touched. It skips directories with a BSD lock on them:
    # https://systemd.io/TEMPORARY_DIRECTORIES/. If a lock file were removed, workers that start
    # later would create a new one, and not see the locks of the earlier workers.
    with suppress(OSError):
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return fd


def open_file(directory: Path, name: str, directory_fd: int) -> int:
    """Return a descriptor of a file of the lock directory, created for this user if missing.

    Args:
        directory: the lock directory.
        name: the name of the file.
        directory_fd: the descriptor of the directory.

    Raises:
        InvalidLockDirectory: it is not a regular file that only this user can open.
        OSError: the file cannot be created.
    """
    # Without O_NONBLOCK, a pipe in place of the file would block the start.
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(name, flags, 0o600, dir_fd=directory_fd)
    except OSError as error:
        if error.errno not in _NO_LOCK_FILE:
            raise
        reason = f"expected {name} to be a regular file of this user ({error.strerror})"
        raise InvalidLockDirectory(directory, reason) from error
    try:
        _check_file(directory, name, os.fstat(fd))
    except InvalidLockDirectory:
        os.close(fd)
        raise
    return fd


def _check_directory(directory: Path, status: os.stat_result) -> None:
    if status.st_uid != os.geteuid():
        reason = f"expected a directory of user {os.geteuid()}, not of {status.st_uid}"
        raise InvalidLockDirectory(directory, reason)
    if status.st_mode & _WRITABLE_BY_OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        reason = f"expected a directory that only its owner can write to, not one of mode {mode:o}"
        raise InvalidLockDirectory(directory, reason)


def _check_parents(directory: Path) -> None:
    """Check that no user of another group can put another directory in place of this one.

    In a directory with the sticky bit, such as /tmp, only the owners can rename their entries. The
    owners and the groups of the parents are trusted; a group that can write is reported.
    """
    parents = {*directory.absolute().parents, *directory.resolve().parents}
    for parent in sorted(parents, key=lambda path: len(path.parts)):
        status = parent.stat()
        mode = stat.S_IMODE(status.st_mode)
        if mode & stat.S_ISVTX:
            continue
        if mode & stat.S_IWOTH:
            reason = f"every user can replace it, because {parent} has mode {mode:o}"
            advice = f"choose another directory, or run chmod o-w {parent}"
            raise InvalidLockDirectory(directory, f"{reason}: {advice}")
        if mode & stat.S_IWGRP and status.st_gid not in (0, os.getegid()):
            log.warning(
                "TUS_LOCK_DIR: the group %d can replace %s, because %s has mode %o",
                *(status.st_gid, directory, parent, mode),
            )


def _check_file(directory: Path, name: str, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    problem = None
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        problem = "it is not a regular file of one name"
    elif status.st_uid != os.geteuid():
        problem = f"it belongs to user {status.st_uid}"
    elif mode & 0o077:
        problem = f"it has mode {mode:o}"
    if problem is not None:
        reason = f"expected {name} to be a file that only user {os.geteuid()} can open"
        raise InvalidLockDirectory(directory, f"{reason}, but {problem}: remove it")
