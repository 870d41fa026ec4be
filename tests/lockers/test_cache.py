"""What a holder leaves for the next one: found by nobody but who follows it in its own process."""

from __future__ import annotations

import errno
import os
import secrets
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.lockers import LOCKER_KINDS, new_locker_spec
from tests.lockers.locking import PATIENCE, A, B, ignore
from tus_wsgi.domain.interfaces import Locker, Upload
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.lockers.cache import UploadCache
from tus_wsgi.lockers.file.holders import PLACES, SIZE, HolderFile
from tus_wsgi.lockers.file.locker import FileLocker
from tus_wsgi.lockers.file.ofd import InvalidLockDirectory
from tus_wsgi.stores.memory import MemoryStore

SHARED = [kind for kind in LOCKER_KINDS if kind != "memory"]
KEEPING = [kind for kind in LOCKER_KINDS if kind != "s3"]
"""The lock of a bucket keeps nothing once it is given back."""


@pytest.fixture
def new_locker(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Locker]:
    """Makes lockers for the same locks, each as a process of its own has it."""
    spec = new_locker_spec(request.param, request, tmp_path)
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    return lambda: spec.locker(PATIENCE)


def new_upload(id: UploadId = A) -> Upload:
    return MemoryStore().create(UploadInfo(id, 10, metadata=Metadata()), record_now=True)


def leave(locker: Locker, upload: Upload) -> None:
    with locker.lock(upload.info.id, on_release_request=ignore) as lock:
        lock.memo = upload


def found(locker: Locker, id: UploadId = A) -> Upload | None:
    """What the next holder is given, and leaves in its turn."""
    with locker.lock(id, on_release_request=ignore) as lock:
        lock.memo = lock.found
        return lock.found


@pytest.mark.parametrize("new_locker", KEEPING, indirect=True)
def test_a_memo_is_found_by_the_next_holder_and_the_one_after(
    new_locker: Callable[[], Locker],
) -> None:
    locker, upload = new_locker(), new_upload()
    assert found(locker) is None
    leave(locker, upload)
    assert [found(locker), found(locker)] == [upload, upload]
    assert found(locker, B) is None


@pytest.mark.parametrize("new_locker", KEEPING, indirect=True)
def test_a_holder_that_leaves_nothing_leaves_no_memo(new_locker: Callable[[], Locker]) -> None:
    locker = new_locker()
    leave(locker, new_upload())
    with locker.lock(A, on_release_request=ignore) as lock:
        assert lock.found is not None
    assert found(locker) is None


@pytest.mark.parametrize("new_locker", KEEPING, indirect=True)
def test_a_holder_that_raises_leaves_nothing(new_locker: Callable[[], Locker]) -> None:
    locker = new_locker()
    leave(locker, new_upload())

    def fail() -> None:
        with locker.lock(A, on_release_request=ignore) as lock:
            lock.memo = lock.found
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert found(locker) is None


@pytest.mark.parametrize("new_locker", SHARED, indirect=True)
def test_a_memo_is_nothing_once_another_process_has_held_the_lock(
    new_locker: Callable[[], Locker],
) -> None:
    ours, theirs = new_locker(), new_locker()
    leave(ours, new_upload())
    assert found(theirs) is None
    assert found(ours) is None


@pytest.mark.parametrize("new_locker", SHARED, indirect=True)
def test_each_process_finds_its_own_memo_or_none(new_locker: Callable[[], Locker]) -> None:
    ours, theirs = new_locker(), new_locker()
    mine, yours = new_upload(), new_upload()
    leave(ours, mine)
    leave(theirs, yours)
    assert found(ours) is None
    leave(ours, mine)
    assert found(theirs) is None


@pytest.mark.parametrize("new_locker", KEEPING, indirect=True)
def test_what_was_entrusted_is_found_by_the_first_holder(new_locker: Callable[[], Locker]) -> None:
    locker, upload = new_locker(), new_upload(UploadId(secrets.token_hex(8)))
    locker.entrust(upload)
    assert found(locker, upload.info.id) is upload


@pytest.mark.parametrize("new_locker", SHARED, indirect=True)
def test_what_was_entrusted_is_nothing_if_another_process_was_first(
    new_locker: Callable[[], Locker],
) -> None:
    ours, theirs = new_locker(), new_locker()
    upload = new_upload(UploadId(secrets.token_hex(8)))
    ours.entrust(upload)
    assert found(theirs, upload.info.id) is None
    assert found(ours, upload.info.id) is None


@pytest.fixture
def memos() -> UploadCache:
    return UploadCache(count=2)


def test_memos_are_forgotten_after_a_while() -> None:
    memos = UploadCache(lifetime=0.0)
    memos.leave(A, 1, new_upload())
    assert memos.take(A, 1) is None


def test_what_nobody_takes_is_not_kept_for_ever() -> None:
    """An upload may hold much metadata."""
    memos, upload = UploadCache(lifetime=0.05), new_upload()
    memos.leave(A, 1, upload)
    time.sleep(0.1)
    memos.leave(UploadId("b"), 1, new_upload())
    gone = weakref.ref(upload)
    del upload
    assert gone() is None


def test_the_oldest_of_too_many_memos_goes(memos: UploadCache) -> None:
    ids = [UploadId(name) for name in "abc"]
    for id in ids:
        memos.leave(id, 1, new_upload(id))
    assert [memos.take(id, 1) is not None for id in ids] == [False, True, True]


def test_a_memo_of_another_mark_counts_for_nothing_and_goes(memos: UploadCache) -> None:
    memos.leave(A, 1, new_upload())
    assert memos.take(A, 2) is None
    assert memos.take(A, 1) is None


@pytest.fixture
def marks(tmp_path: Path) -> Iterator[HolderFile]:
    marks = HolderFile(tmp_path / "locks")
    yield marks
    marks.close()


def test_each_holder_leaves_a_mark_of_its_own(marks: HolderFile) -> None:
    before, first = marks.succeed(5)
    assert before == bytes(SIZE)
    assert marks.last(5) == first
    before, second = marks.succeed(5)
    assert before == first != second
    assert marks.last(6) == bytes(SIZE)


def test_locks_that_share_a_place_overwrite_each_others_marks(marks: HolderFile) -> None:
    _, first = marks.succeed(5)
    marks.succeed(5 + PLACES)
    assert marks.last(5) != first


def test_all_processes_see_the_same_marks(marks: HolderFile, tmp_path: Path) -> None:
    others = HolderFile(tmp_path / "locks")
    try:
        _, ours = marks.succeed(7)
        assert others.succeed(7)[0] == ours
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
    assert file.st_blocks * 512 >= file.st_size == SIZE * PLACES


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
    assert (tmp_path / "locks" / "uploads.marks").stat().st_size == SIZE * PLACES
