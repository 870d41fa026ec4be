"""The cache of uploads: what it returns, and what it evicts."""

from __future__ import annotations

import time
import weakref

import pytest

from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import Metadata, UploadId, UploadInfo
from tus_wsgi.service.cache import UploadCache
from tus_wsgi.stores.memory import MemoryStore

ID = UploadId("a")
HOLDER, ANOTHER_HOLDER = 1, 2


def new_upload(id: UploadId = ID) -> Upload:
    return MemoryStore().create(UploadInfo(id, 10, metadata=Metadata()), record_now=True)


def test_an_upload_is_returned_once() -> None:
    cache, upload = UploadCache(), new_upload()
    cache.put(HOLDER, upload)
    assert cache.take(ID, HOLDER) is upload
    assert cache.take(ID, HOLDER) is None


@pytest.mark.parametrize("previous_holder", [ANOTHER_HOLDER, None])
def test_an_upload_that_another_holder_may_have_changed_is_evicted(
    previous_holder: int | None,
) -> None:
    cache = UploadCache()
    cache.put(HOLDER, new_upload())
    assert cache.take(ID, previous_holder) is None
    assert cache.take(ID, HOLDER) is None


def test_nothing_is_cached_for_a_holder_that_the_locker_cannot_identify() -> None:
    cache = UploadCache()
    cache.put(None, new_upload())
    assert cache.take(ID, None) is None


def test_an_old_entry_is_not_returned() -> None:
    cache = UploadCache(max_age=0.0)
    cache.put(HOLDER, new_upload())
    assert cache.take(ID, HOLDER) is None


def test_an_old_entry_is_evicted_by_a_new_one() -> None:
    """An upload may hold much metadata, so an entry that is never taken must not stay."""
    cache, upload = UploadCache(max_age=0.05), new_upload()
    cache.put(HOLDER, upload)
    time.sleep(0.1)
    cache.put(HOLDER, new_upload(UploadId("b")))
    reference = weakref.ref(upload)
    del upload
    assert reference() is None


def test_the_oldest_of_too_many_entries_is_evicted() -> None:
    cache = UploadCache(max_count=2)
    ids = [UploadId(name) for name in "abc"]
    for id in ids:
        cache.put(HOLDER, new_upload(id))
    assert [cache.take(id, HOLDER) is not None for id in ids] == [False, True, True]
