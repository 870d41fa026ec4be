"""Tails, and the cache of tails."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.stores import S3Sandbox
from tus_wsgi.domain.errors import LockLost, StoreUnavailable
from tus_wsgi.domain.model import UploadId
from tus_wsgi.spool.part import SpooledPart
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.bucket import Bucket
from tus_wsgi.stores.s3.tails import TailCache, TailObject

ID = UploadId("a")


def test_a_cached_tail_is_returned_until_it_is_not_needed_any_more() -> None:
    cache = TailCache(100)
    cache.put("a.part", '"1"', b"abc")
    assert [cache.get("a.part", '"1"') for _ in range(2)] == [b"abc"] * 2
    cache.discard("a.part")
    assert cache.get("a.part", '"1"') is None


def test_another_version_of_a_tail_is_a_cache_miss() -> None:
    cache = TailCache(100)
    cache.put("a.part", '"1"', b"abc")
    assert cache.get("a.part", '"2"') is None
    assert cache.get("b.part", '"1"') is None


def test_a_new_version_of_a_tail_replaces_the_old_one() -> None:
    cache = TailCache(10)
    cache.put("a.part", '"1"', b"abc")
    cache.put("a.part", '"2"', b"defg")
    assert cache.get("a.part", '"1"') is None
    assert (cache.get("a.part", '"2"'), cache._size) == (b"defg", 4)
    cache.put("a.part", '"3"', b"x" * 11)
    assert (cache.get("a.part", '"2"'), cache._size) == (None, 0)


def test_the_least_recently_used_tails_are_evicted() -> None:
    cache = TailCache(10)
    for name in ("a", "b"):
        cache.put(name, "", b"x" * 4)
    cache.get("a", "")
    cache.put("c", "", b"x" * 4)
    assert [cache.get(name, "") is None for name in ("a", "b", "c")] == [False, True, False]


def test_a_tail_above_the_budget_is_not_cached_and_evicts_nothing() -> None:
    cache = TailCache(10)
    cache.put("a", "", b"x" * 10)
    cache.put("b", "", b"x" * 11)
    assert cache.get("b", "") is None
    assert cache.get("a", "") == b"x" * 10


@pytest.mark.property
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from("12"),
            st.integers(0, 12),
            st.sampled_from(["put", "get", "discard"]),
        )
    )
)
def test_the_size_of_the_cache_is_bounded(steps: list[tuple[str, str, int, str]]) -> None:
    cache = TailCache(20)
    for key, etag, size, step in steps:
        if step == "put":
            cache.put(key, etag, bytes(size))
        elif step == "get":
            cache.get(key, etag)
        else:
            cache.discard(key)
        sizes = [len(content) for _etag, content in cache._entries.values()]
        assert cache._size == sum(sizes) <= 20


# -- in the bucket ---------------------------------------------------------------------------------


@pytest.fixture
def part() -> SpooledPart:
    return new_part(b"0123456789")


def new_part(data: bytes) -> SpooledPart:
    part = Spool(1000).part(100, len(data))
    part.write(data)
    return part


def new_tail(sandbox: S3Sandbox, cache: TailCache | None = None) -> TailObject:
    bucket = Bucket(sandbox.client, sandbox.bucket)
    return TailObject(bucket, sandbox.keys.tail(ID), cache or TailCache(1000))


def loaded_tail(sandbox: S3Sandbox, cache: TailCache | None = None) -> TailObject:
    tail = new_tail(sandbox, cache)
    tail.load()
    return tail


def size_at(tail: TailObject, offset: int) -> int:
    return tail.size_at(offset, default_start=10**9)


def test_a_missing_tail_has_size_zero(sandbox: S3Sandbox) -> None:
    tail = loaded_tail(sandbox)
    assert not tail.exists
    assert size_at(tail, 0) == 0


@pytest.mark.parametrize("start", [0, 7, 5 * 2**40])
def test_a_tail_counts_only_at_its_start(sandbox: S3Sandbox, part: SpooledPart, start: int) -> None:
    """D-02."""
    new_tail(sandbox).write(start, part)
    tail = loaded_tail(sandbox)
    assert tail.exists
    assert size_at(tail, start) == 10
    assert size_at(tail, start + 1) == 0
    assert b"".join(tail.read()) == b"0123456789"


@pytest.mark.parametrize("start", ["", "x", "-1", "1.5"])
def test_a_tail_without_a_start_gets_the_default_start(sandbox: S3Sandbox, start: str) -> None:
    """tusd does not record the start."""
    metadata = {"start": start} if start else {}
    sandbox.put(sandbox.keys.tail(ID), b"tusd", Metadata=metadata)
    tail = loaded_tail(sandbox)
    assert tail.size_at(12, default_start=12) == 4
    assert tail.size_at(0, default_start=12) == 0
    assert b"".join(tail.read()) == b"tusd"


def test_a_process_reads_its_own_tail_from_the_cache(sandbox: S3Sandbox, part: SpooledPart) -> None:
    cache = TailCache(1000)
    new_tail(sandbox, cache).write(0, part)
    tail = loaded_tail(sandbox, cache)
    sandbox.calls.clear()
    assert b"".join(tail.read()) == b"0123456789"
    assert sandbox.calls.begun == []
    tail.discard_cached()
    assert b"".join(tail.read()) == b"0123456789"
    assert sandbox.calls.begun == ["GetObject tail"]


def test_a_tail_on_disk_is_not_cached(sandbox: S3Sandbox) -> None:
    cache = TailCache(1000)
    with Spool(0).part(100, 10) as part:
        part.write(b"0123456789")
        new_tail(sandbox, cache).write(0, part)
    assert cache._size == 0
    assert b"".join(loaded_tail(sandbox).read()) == b"0123456789"


def test_a_late_write_does_not_overwrite_a_newer_tail(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    """D-11."""
    stale, current = loaded_tail(sandbox), loaded_tail(sandbox)
    current.write(0, part)
    with pytest.raises(LockLost):
        stale.write(0, new_part(b"stale"))
    late = loaded_tail(sandbox)
    current.write(0, new_part(b"current"))
    with pytest.raises(LockLost):
        late.write(0, new_part(b"late"))
    assert sandbox.get(sandbox.keys.tail(ID)) == b"current"


def test_a_late_write_does_not_restore_a_deleted_tail(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    """D-11: the upload was finished or terminated meanwhile."""
    new_tail(sandbox).write(0, part)
    late = loaded_tail(sandbox)
    sandbox.delete(sandbox.keys.tail(ID))
    with pytest.raises(LockLost):
        late.write(0, new_part(b"late"))
    assert sandbox.list_keys() == []


def test_a_tail_that_was_replaced_after_loading_is_not_read(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    new_tail(sandbox).write(0, part)
    tail = loaded_tail(sandbox)
    sandbox.put(sandbox.keys.tail(ID), b"another")
    with pytest.raises(StoreUnavailable):
        list(tail.read())


def test_a_truncated_response_is_not_taken_for_the_tail(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    """The bytes after the tail would be shifted. boto3 checks the size only if it has a length."""
    new_tail(sandbox).write(0, part)
    tail = loaded_tail(sandbox)
    assert tail._tail is not None
    tail._tail = replace(tail._tail, size=11)
    with pytest.raises(StoreUnavailable):
        list(tail.read())


def test_a_tail_is_replaced_and_deleted(sandbox: S3Sandbox, part: SpooledPart) -> None:
    tail = loaded_tail(sandbox)
    tail.write(0, part)
    tail.write(3, new_part(b"abc"))
    assert (size_at(tail, 3), size_at(tail, 0)) == (3, 0)
    tail.delete()
    tail.delete()
    assert not tail.exists
    assert sandbox.list_keys() == []
