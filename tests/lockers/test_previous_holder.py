"""Previous holders of locks, from which a process sees whether its cached uploads are up to date.

Each test combines the locker with the cache of the service, as a process does.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness.lockers import LOCKER_KINDS, new_locker_spec
from tests.harness.timing import MAX_WAIT
from tests.lockers.locking import ID, OTHER_ID, ignore_request
from tus_wsgi.domain.interfaces import Locker, Upload
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.stores.memory import MemoryStore

SHARED = [kind for kind in LOCKER_KINDS if kind != "memory"]
IDENTIFYING = [kind for kind in LOCKER_KINDS if kind != "s3"]
"""The S3 lock's record is deleted on release, so it cannot identify the previous holder."""


class Process:
    """A process with a locker and a cache of its own."""

    def __init__(self, locker: Locker) -> None:
        self.locker = locker
        self._cache = UploadCache()

    def cache(self, upload: Upload) -> None:
        """Hold the lock and cache the upload, as a PATCH does."""
        with self.locker.lock(upload.info.id, on_release_request=ignore_request) as lock:
            self._cache.take(upload.info.id, lock.previous_holder)
            self._cache.put(lock.holder, upload)

    def cache_new(self, upload: Upload) -> None:
        """Cache a new upload without its lock, as a POST does."""
        self._cache.put(self.locker.last_holder(upload.info.id), upload)

    def cached(self, id: UploadId = ID) -> Upload | None:
        """Hold the lock, and return the cached upload, which stays cached."""
        with self.locker.lock(id, on_release_request=ignore_request) as lock:
            upload = self._cache.take(id, lock.previous_holder)
            if upload is not None:
                self._cache.put(lock.holder, upload)
            return upload


NewProcess = Callable[[], Process]


@pytest.fixture
def new_process(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> NewProcess:
    """A function that creates a process. All of them share their locks."""
    spec = new_locker_spec(request.param, request, tmp_path)
    for name, value in spec.environ.items():
        monkeypatch.setenv(name, value)
    return lambda: Process(spec.locker(MAX_WAIT))


def new_upload(id: UploadId = ID) -> Upload:
    return MemoryStore().create(UploadInfo(id, 10, metadata=Metadata()), record_now=True)


@pytest.mark.parametrize("new_process", IDENTIFYING, indirect=True)
def test_the_next_holders_of_the_same_process_use_the_cache(new_process: NewProcess) -> None:
    process, upload = new_process(), new_upload()
    assert process.cached() is None
    process.cache(upload)
    assert [process.cached(), process.cached()] == [upload, upload]
    assert process.cached(OTHER_ID) is None


@pytest.mark.parametrize("new_process", IDENTIFYING, indirect=True)
def test_a_holder_that_caches_nothing_makes_earlier_entries_outdated(
    new_process: NewProcess,
) -> None:
    process = new_process()
    process.cache(new_upload())
    with process.locker.lock(ID, on_release_request=ignore_request):
        pass
    assert process.cached() is None


@pytest.mark.parametrize("new_process", IDENTIFYING, indirect=True)
def test_a_holder_that_raises_makes_earlier_entries_outdated(new_process: NewProcess) -> None:
    process = new_process()
    process.cache(new_upload())

    def fail() -> None:
        with process.locker.lock(ID, on_release_request=ignore_request):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert process.cached() is None


@pytest.mark.parametrize("new_process", SHARED, indirect=True)
def test_a_holder_in_another_process_makes_the_cache_outdated(new_process: NewProcess) -> None:
    first, second = new_process(), new_process()
    first.cache(new_upload())
    assert second.cached() is None
    assert first.cached() is None


@pytest.mark.parametrize("new_process", SHARED, indirect=True)
def test_each_process_returns_its_own_entry_or_none(new_process: NewProcess) -> None:
    first, second = new_process(), new_process()
    first.cache(new_upload())
    second.cache(new_upload())
    assert first.cached() is None
    first.cache(new_upload())
    assert second.cached() is None


@pytest.mark.parametrize("new_process", IDENTIFYING, indirect=True)
def test_a_new_upload_is_cached_for_its_first_holder(new_process: NewProcess) -> None:
    process, upload = new_process(), new_upload(UploadId(secrets.token_hex(8)))
    process.cache_new(upload)
    assert process.cached(upload.info.id) is upload


@pytest.mark.parametrize("new_process", SHARED, indirect=True)
def test_a_new_upload_is_outdated_if_another_process_was_its_first_holder(
    new_process: NewProcess,
) -> None:
    first, second = new_process(), new_process()
    upload = new_upload(UploadId(secrets.token_hex(8)))
    first.cache_new(upload)
    assert second.cached(upload.info.id) is None
    assert first.cached(upload.info.id) is None
