"""The file in which the holders of a host's locks record themselves."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tus_wsgi.lockers.file.holders import HOLDER_SIZE, SLOTS, HolderFile
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.file.ofd import InvalidLockDirectory


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[HolderFile]:
    marks = HolderFile(tmp_path / "locks")
    yield marks
    marks.close()


def test_each_holder_leaves_a_mark_of_its_own(marks: HolderFile) -> None:
    before, first = marks.replace(5)
    assert before == bytes(HOLDER_SIZE)
    assert marks.read(5) == first
    before, second = marks.replace(5)
    assert before == first != second
    assert marks.read(6) == bytes(HOLDER_SIZE)


def test_locks_that_share_a_place_overwrite_each_others_marks(marks: HolderFile) -> None:
    _, first = marks.replace(5)
    marks.replace(5 + SLOTS)
    assert marks.read(5) != first


def test_all_processes_see_the_same_marks(marks: HolderFile, tmp_path: Path) -> None:
    others = HolderFile(tmp_path / "locks")
    try:
        _, ours = marks.replace(7)
        assert others.replace(7)[0] == ours
    finally:
        others.close()


def test_a_disk_without_room_for_marks_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And never in the middle of an upload: the room is taken once and for all."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        with pytest.raises(InvalidLockDirectory, match="no room"):
            FileLocker(tmp_path / "locks", timeout=1)
    FileLocker(tmp_path / "locks", timeout=1)
    file = (tmp_path / "locks" / "uploads.marks").stat()
    assert file.st_blocks * 512 >= file.st_size == HOLDER_SIZE * SLOTS


@pytest.mark.parametrize("code", [None, errno.EOPNOTSUPP, errno.EINVAL])
def test_marks_need_no_promise_of_room(
    code: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS has no such call, and some file systems do not carry it out."""

    def refuse(*_: int) -> None:
        assert code is not None
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    if code is None:
        monkeypatch.delattr(os, "posix_fallocate")
    FileLocker(tmp_path / "locks", timeout=1)
    assert (tmp_path / "locks" / "uploads.marks").stat().st_size == HOLDER_SIZE * SLOTS
