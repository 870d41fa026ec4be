"""The file that records the last holder of each lock of a host."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tus_wsgi.lockers.file.directory import InvalidLockDirectory
from tus_wsgi.lockers.file.holders import HOLDER_SIZE, SLOTS, HolderFile
from tus_wsgi.lockers.file.locker import FileLocker


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[HolderFile]:
    holders = HolderFile(tmp_path / "locks")
    yield holders
    holders.close()


def test_each_holder_is_recorded_with_a_value_of_its_own(holders: HolderFile) -> None:
    previous, first = holders.replace(5)
    assert previous == bytes(HOLDER_SIZE)
    assert holders.read(5) == first
    previous, second = holders.replace(5)
    assert previous == first
    assert first != second
    assert holders.read(6) == bytes(HOLDER_SIZE)


def test_locks_that_share_a_slot_overwrite_each_others_holder(holders: HolderFile) -> None:
    _, first = holders.replace(5)
    holders.replace(5 + SLOTS)
    assert holders.read(5) != first


def test_all_processes_see_the_same_holders(holders: HolderFile, tmp_path: Path) -> None:
    other_process = HolderFile(tmp_path / "locks")
    try:
        _, holder = holders.replace(7)
        assert other_process.replace(7)[0] == holder
    finally:
        other_process.close()


def test_a_full_disk_is_rejected_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is allocated once, so that no upload fails for lack of space later."""

    def fail(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", fail)
        with pytest.raises(InvalidLockDirectory, match="no room"):
            FileLocker(tmp_path / "locks", timeout=1)
    FileLocker(tmp_path / "locks", timeout=1)
    file = (tmp_path / "locks" / "uploads.marks").stat()
    assert file.st_blocks * 512 >= file.st_size == HOLDER_SIZE * SLOTS


@pytest.mark.parametrize("code", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_preallocation_is_optional(
    code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has no such call, and some file systems do not support it."""

    def fail(*_: int) -> None:
        assert code is not None
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", fail)
    if code is None:
        monkeypatch.delattr(os, "posix_fallocate")
    FileLocker(tmp_path / "locks", timeout=1)
    assert (tmp_path / "locks" / "uploads.marks").stat().st_size == HOLDER_SIZE * SLOTS
