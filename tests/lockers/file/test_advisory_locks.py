"""The kernel locks that the file locker uses, and the directory of their files."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.lockers import ADVISORY_LOCKS
from tus_wsgi.lockers.file import ofd
from tus_wsgi.lockers.file.directory import InvalidLockDirectory, open_directory
from tus_wsgi.lockers.file.flock import FlockLocks
from tus_wsgi.lockers.file.ofd import (
    FILE_COUNT,
    ID_LIMIT,
    AdvisoryLocks,
    OfdLocks,
    OpenLocks,
    probe,
)


@pytest.fixture(params=ADVISORY_LOCKS)
def open_locks(request: pytest.FixtureRequest) -> OpenLocks:
    return ADVISORY_LOCKS[request.param]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_a_held_lock_excludes_other_processes(open_locks: OpenLocks, directory: Path) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert first.try_acquire(7)
    assert not second.try_acquire(7)
    first.release(7)
    assert second.try_acquire(7)
    assert not first.try_acquire(7)


@pytest.mark.parametrize("lock_id", [0, 1, 2**61, ID_LIMIT - 1])
def test_every_lock_id_can_be_acquired(
    open_locks: OpenLocks, directory: Path, lock_id: int
) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert first.try_acquire(lock_id)
    assert not second.try_acquire(lock_id)
    assert second.try_acquire((lock_id + 1) % ID_LIMIT)


def test_release_of_a_lock_that_another_process_holds_does_nothing(
    open_locks: OpenLocks, directory: Path
) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert first.try_acquire(7)
    second.release(7)
    assert not second.try_acquire(7)


def test_held_by_others_excludes_own_locks(open_locks: OpenLocks, directory: Path) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert all(first.try_acquire(lock_id) for lock_id in (1, 8))
    assert all(second.try_acquire(lock_id) for lock_id in (5, 9, 12))
    assert first.held_by_others({1, 5, 8, 9, 10}) == {5, 9}
    assert first.held_by_others([]) == set()


@given(
    queried=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
    own=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
    others=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
)
@pytest.mark.property
def test_held_by_others_finds_exactly_the_locks_of_other_processes(
    queried: set[int], own: set[int], others: set[int]
) -> None:
    """The kernel merges adjacent locks of the same owner into one."""
    with tempfile.TemporaryDirectory() as directory:
        first, second = OfdLocks(Path(directory)), OfdLocks(Path(directory))
        assert all(first.try_acquire(lock_id) for lock_id in sorted(own))
        assert all(second.try_acquire(lock_id) for lock_id in sorted(others - own))
        found = first.held_by_others(queried)
        first.close()
        second.close()
    assert found == queried & (others - own)


def test_held_by_others_handles_a_lock_on_the_whole_file(directory: Path) -> None:
    """Only another program would acquire such a lock; the kernel reports its length as 0."""
    locks = OfdLocks(directory)
    assert locks.held_by_others({1, 1 + FILE_COUNT, 2}) == set()
    with (directory / "uploads-1.lock").open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, ofd._flock(fcntl.F_WRLCK, 0, 0))
        assert locks.held_by_others({1, 1 + FILE_COUNT, 2}) == {1, 1 + FILE_COUNT}


def test_held_by_others_checks_many_locks_with_few_system_calls(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the checks of a process with a thousand uploads would use all its CPU time."""
    first, second = OfdLocks(directory), OfdLocks(directory)
    for lock_id in range(0, 1000, 2):
        assert first.try_acquire(lock_id)
    for lock_id in (101, 503):
        assert second.try_acquire(lock_id)
    calls: list[int] = []
    held_between = OfdLocks._held_between

    def count(locks: OfdLocks, start: int, stop: int) -> range | None:
        calls.append(start)
        return held_between(locks, start, stop)

    monkeypatch.setattr(OfdLocks, "_held_between", count)
    assert first.held_by_others(range(1000)) == {101, 503}
    assert len(calls) == FILE_COUNT + 4


def test_close_releases_all_locks(open_locks: OpenLocks, directory: Path) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert first.try_acquire(1)
    assert first.try_acquire(2)
    first.close()
    first.close()
    assert second.try_acquire(1)
    first.release(1)
    assert second.try_acquire(2)


def test_garbage_collection_releases_all_locks(open_locks: OpenLocks, directory: Path) -> None:
    first, second = open_locks(directory), open_locks(directory)
    assert first.try_acquire(1)
    del first
    gc.collect()
    assert second.try_acquire(1)


def test_reading_a_lock_file_releases_no_lock(directory: Path) -> None:
    """Classic POSIX locks would be released when the file is closed."""
    first, second = OfdLocks(directory), OfdLocks(directory)
    assert first.try_acquire(1)
    for path in directory.iterdir():
        assert path.read_bytes() == b""
    assert not second.try_acquire(1)


def test_released_locks_leave_no_data_in_the_file_system(
    open_locks: OpenLocks, directory: Path
) -> None:
    locks = open_locks(directory)
    for lock_id in range(100):
        assert locks.try_acquire(lock_id)
    for lock_id in range(100):
        locks.release(lock_id)
    probe(open_locks, directory)
    sizes = [path.stat().st_size for path in directory.iterdir()]
    assert sizes == ([] if open_locks is FlockLocks else [0] * FILE_COUNT)


def test_flock_on_a_file_that_was_removed_meanwhile_does_not_count(directory: Path) -> None:
    """A waiter opens the file, the holder removes it, and a third process creates a new one."""
    waiter, holder, third = (ADVISORY_LOCKS["flock"](directory) for _ in range(3))
    assert holder.try_acquire(7)
    flock, calls = fcntl.flock, 0

    def flock_late(fd: int, operation: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            holder.release(7)
            assert third.try_acquire(7)
        flock(fd, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock_late)
        assert not waiter.try_acquire(7)
    assert calls == 3


def test_release_ignores_a_lock_file_that_another_program_removed(directory: Path) -> None:
    locks = ADVISORY_LOCKS["flock"](directory)
    assert locks.try_acquire(7)
    for path in directory.iterdir():
        path.unlink()
    locks.release(7)
    assert locks.try_acquire(7)


def test_struct_flock_has_the_layout_of_the_compiler() -> None:
    class Flock(ctypes.Structure):
        _fields_ = (
            ("l_type", ctypes.c_short),
            ("l_whence", ctypes.c_short),
            ("l_start", ctypes.c_int64),
            ("l_len", ctypes.c_int64),
            ("l_pid", ctypes.c_int),
        )

    expected = Flock(l_type=1, l_whence=0, l_start=2**61 + 3, l_len=1, l_pid=0)
    assert ofd._flock(1, 2**61 + 3) == bytes(expected)


def test_a_new_directory_is_accessible_to_its_owner_only(directory: Path) -> None:
    os.close(open_directory(directory))
    assert directory.stat().st_mode & 0o777 == 0o700


def test_systemd_does_not_clean_the_directory_while_it_is_open(
    open_locks: OpenLocks, directory: Path
) -> None:
    locks = open_locks(directory)
    fd = os.open(directory, os.O_RDONLY)
    with pytest.raises(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    locks.close()
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_other_users_can_write_to_is_rejected(
    open_locks: OpenLocks, directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InvalidLockDirectory, match=rf"^TUS_LOCK_DIR: .* mode {mode:o}, got '/"):
        probe(open_locks, directory)


def test_a_directory_of_another_user_is_rejected(
    open_locks: OpenLocks, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: .* of user"):
        probe(open_locks, directory)


@pytest.mark.parametrize("kind", ["symlink", "file", "missing parent"])
def test_a_path_that_is_not_a_directory_is_rejected(
    open_locks: OpenLocks, directory: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "symlink":
        (tmp_path / "target").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "target")
    elif kind == "file":
        directory.touch()
    else:
        directory = directory / "below a missing directory"
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: expected a directory"):
        probe(open_locks, directory)


class IneffectiveLocks:
    """Locks of a file system that grants every lock."""

    def __init__(self, directory: Path) -> None: ...

    def try_acquire(self, lock_id: int) -> bool:
        return True

    def release(self, lock_id: int) -> None: ...

    def held_by_others(self, lock_ids: Collection[int]) -> set[int]:
        return set()

    def close(self) -> None: ...


class UnsupportedLocks(IneffectiveLocks):
    """Locks of a file system that does not support them."""

    def try_acquire(self, lock_id: int) -> bool:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.mark.parametrize("kind", [IneffectiveLocks, UnsupportedLocks])
def test_a_file_system_without_working_locks_is_rejected(
    directory: Path, kind: type[AdvisoryLocks]
) -> None:
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: .* locks "):
        probe(kind, directory)
