"""The kernel locks below the file locker, and the directory they are in."""

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
from tus_wsgi.lockers.file import ofd as kernel
from tus_wsgi.lockers.file.flock import FlockLocks
from tus_wsgi.lockers.file.ofd import (
    FILE_COUNT,
    ID_LIMIT,
    AdvisoryLocks,
    InvalidLockDirectory,
    OfdLocks,
    OpenLocks,
    open_directory,
    probe,
)


@pytest.fixture(params=ADVISORY_LOCKS)
def open_locks(request: pytest.FixtureRequest) -> OpenLocks:
    return ADVISORY_LOCKS[request.param]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "locks"


def test_a_lock_excludes_others_until_it_is_dropped(open_locks: OpenLocks, directory: Path) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert ours.try_acquire(7)
    assert not theirs.try_acquire(7)
    ours.release(7)
    assert theirs.try_acquire(7)
    assert not ours.try_acquire(7)


@pytest.mark.parametrize("name", [0, 1, 2**61, ID_LIMIT - 1])
def test_every_name_can_be_taken(open_locks: OpenLocks, directory: Path, name: int) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert ours.try_acquire(name)
    assert not theirs.try_acquire(name)
    assert theirs.try_acquire((name + 1) % ID_LIMIT)


def test_dropping_what_one_does_not_have_does_nothing(
    open_locks: OpenLocks, directory: Path
) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert ours.try_acquire(7)
    theirs.release(7)
    assert not theirs.try_acquire(7)


def test_only_the_locks_of_others_are_seen(open_locks: OpenLocks, directory: Path) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert all(
        [
            ours.try_acquire(1),
            ours.try_acquire(8),
            theirs.try_acquire(5),
            theirs.try_acquire(9),
            theirs.try_acquire(12),
        ]
    )
    assert ours.held_by_others({1, 5, 8, 9, 10}) == {5, 9}
    assert ours.held_by_others([]) == set()


@given(
    names=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
    ours=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
    theirs=st.sets(st.integers(0, 6 * FILE_COUNT), max_size=40),
)
@pytest.mark.property
def test_every_lock_of_others_is_seen_and_none_besides(
    names: set[int], ours: set[int], theirs: set[int]
) -> None:
    """However they lie: the kernel makes one lock of neighbours that have the same owner."""
    with tempfile.TemporaryDirectory() as directory:
        one, two = OfdLocks(Path(directory)), OfdLocks(Path(directory))
        assert all(one.try_acquire(name) for name in sorted(ours))
        assert all(two.try_acquire(name) for name in sorted(theirs - ours))
        found = one.held_by_others(names)
        one.close()
        two.close()
    assert found == names & (theirs - ours)


def test_a_lock_over_everything_is_seen_as_everybodys(directory: Path) -> None:
    """Nobody takes one; but if somebody did, the length that the kernel tells of it would be 0."""
    locks = OfdLocks(directory)
    assert locks.held_by_others({1, 1 + FILE_COUNT, 2}) == set()
    with (directory / "uploads-1.lock").open("r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, kernel._flock(fcntl.F_WRLCK, 0, 0))
        assert locks.held_by_others({1, 1 + FILE_COUNT, 2}) == {1, 1 + FILE_COUNT}


def test_many_names_are_looked_at_with_few_questions(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a process with a thousand uploads would be busy with nothing else."""
    ours, theirs = OfdLocks(directory), OfdLocks(directory)
    for name in range(0, 1000, 2):
        assert ours.try_acquire(name)
    for name in (101, 503):
        assert theirs.try_acquire(name)
    questions: list[int] = []
    request_release = OfdLocks._held_between

    def count(locks: OfdLocks, start: int, stop: int) -> range | None:
        questions.append(start)
        return request_release(locks, start, stop)

    monkeypatch.setattr(OfdLocks, "_held_between", count)
    assert ours.held_by_others(range(1000)) == {101, 503}
    assert len(questions) == FILE_COUNT + 4


def test_closing_gives_everything_back(open_locks: OpenLocks, directory: Path) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert ours.try_acquire(1)
    assert ours.try_acquire(2)
    ours.close()
    ours.close()
    assert theirs.try_acquire(1)
    ours.release(1)
    assert theirs.try_acquire(2)


def test_locks_that_are_forgotten_are_given_back(open_locks: OpenLocks, directory: Path) -> None:
    ours, theirs = open_locks(directory), open_locks(directory)
    assert ours.try_acquire(1)
    del ours
    gc.collect()
    assert theirs.try_acquire(1)


def test_a_look_at_the_lock_file_drops_nothing(directory: Path) -> None:
    """Which is why classic POSIX locks would not do."""
    ours, theirs = OfdLocks(directory), OfdLocks(directory)
    assert ours.try_acquire(1)
    for path in directory.iterdir():
        assert path.read_bytes() == b""
    assert not theirs.try_acquire(1)


def test_nothing_is_left_in_the_file_system(open_locks: OpenLocks, directory: Path) -> None:
    locks = open_locks(directory)
    for name in range(100):
        assert locks.try_acquire(name)
    for name in range(100):
        locks.release(name)
    probe(open_locks, directory)
    sizes = [path.stat().st_size for path in directory.iterdir()]
    assert sizes == ([] if open_locks is FlockLocks else [0] * FILE_COUNT)


def test_a_file_that_was_removed_before_it_was_locked_does_not_count(directory: Path) -> None:
    """One waiter opens the file, the holder removes it, and another newcomer makes a new one."""
    waiter, holder, newcomer = (ADVISORY_LOCKS["flock"](directory) for _ in range(3))
    assert holder.try_acquire(7)
    flock, tries = fcntl.flock, 0

    def flock_late(fd: int, operation: int) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            holder.release(7)
            assert newcomer.try_acquire(7)
        flock(fd, operation)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", flock_late)
        assert not waiter.try_acquire(7)
    assert tries == 3


def test_a_holder_whose_file_was_tidied_up_can_let_go(directory: Path) -> None:
    locks = ADVISORY_LOCKS["flock"](directory)
    assert locks.try_acquire(7)
    for path in directory.iterdir():
        path.unlink()
    locks.release(7)
    assert locks.try_acquire(7)


def test_struct_flock_is_laid_out_as_the_compiler_does_it() -> None:
    class Flock(ctypes.Structure):
        _fields_ = (
            ("l_type", ctypes.c_short),
            ("l_whence", ctypes.c_short),
            ("l_start", ctypes.c_int64),
            ("l_len", ctypes.c_int64),
            ("l_pid", ctypes.c_int),
        )

    expected = Flock(l_type=1, l_whence=0, l_start=2**61 + 3, l_len=1, l_pid=0)
    assert kernel._flock(1, 2**61 + 3) == bytes(expected)


def test_the_directory_is_made_for_its_owner_alone(directory: Path) -> None:
    os.close(open_directory(directory))
    assert directory.stat().st_mode & 0o777 == 0o700


def test_systemd_does_not_clear_the_directory_while_locks_may_be_held(
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
def test_a_directory_that_others_can_write_to_is_refused(
    open_locks: OpenLocks, directory: Path, mode: int
) -> None:
    directory.mkdir()
    directory.chmod(mode)
    with pytest.raises(InvalidLockDirectory, match=rf"^TUS_LOCK_DIR: .* mode {mode:o}, got '/"):
        probe(open_locks, directory)


def test_a_directory_of_somebody_else_is_refused(
    open_locks: OpenLocks, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: .* of user"):
        probe(open_locks, directory)


@pytest.mark.parametrize("what", ["symlink", "file", "orphan"])
def test_what_is_no_directory_is_refused(
    open_locks: OpenLocks, directory: Path, tmp_path: Path, what: str
) -> None:
    if what == "symlink":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "elsewhere")
    elif what == "file":
        directory.touch()
    else:
        directory = directory / "below nothing"
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: expected a directory"):
        probe(open_locks, directory)


class Pretence:
    """Locks of a file system that says yes to everything."""

    def __init__(self, directory: Path) -> None: ...

    def try_acquire(self, name: int) -> bool:
        return True

    def release(self, name: int) -> None: ...

    def held_by_others(self, names: Collection[int]) -> set[int]:
        return set()

    def close(self) -> None: ...


class Unsupported(Pretence):
    """Locks of a file system that has none."""

    def try_acquire(self, name: int) -> bool:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


@pytest.mark.parametrize("kind", [Pretence, Unsupported])
def test_a_file_system_without_working_locks_is_refused(
    directory: Path, kind: type[AdvisoryLocks]
) -> None:
    with pytest.raises(InvalidLockDirectory, match=r"^TUS_LOCK_DIR: .* locks "):
        probe(kind, directory)
