"""The newest bytes of an upload, and the memory of them."""

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


def test_what_was_kept_is_taken_once() -> None:
    cache = TailCache(100)
    cache.put("a.part", '"1"', b"abc")
    assert cache.pop("a.part", '"1"') == b"abc"
    assert cache.pop("a.part", '"1"') is None


def test_a_tail_that_another_process_has_replaced_is_not_taken_for_ours() -> None:
    cache = TailCache(100)
    cache.put("a.part", '"1"', b"abc")
    assert cache.pop("a.part", '"2"') is None
    assert cache.pop("b.part", '"1"') is None


def test_the_oldest_go_when_there_is_no_room() -> None:
    cache = TailCache(10)
    for name in ("a", "b", "c"):
        cache.put(name, "", b"x" * 4)
    assert [cache.pop(name, "") is None for name in ("a", "b", "c")] == [True, False, False]


def test_what_is_larger_than_the_budget_is_not_kept_and_pushes_nothing_out() -> None:
    cache = TailCache(10)
    cache.put("a", "", b"x" * 10)
    cache.put("b", "", b"x" * 11)
    assert cache.pop("b", "") is None
    assert cache.pop("a", "") == b"x" * 10


@pytest.mark.property
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("12"), st.integers(0, 12), st.booleans())
    )
)
def test_the_memory_of_tails_is_bounded(
    steps: list[tuple[str, str, int, bool]],
) -> None:
    cache = TailCache(20)
    for key, etag, size, keeps in steps:
        if keeps:
            cache.put(key, etag, bytes(size))
        else:
            cache.pop(key, etag)
        assert cache._size == sum(map(len, cache._bytes.values())) <= 20


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


def size_at(tail: TailObject, base: int) -> int:
    return tail.size_at(base, default_start=10**9)


def test_where_there_is_no_tail_there_are_no_bytes(sandbox: S3Sandbox) -> None:
    tail = loaded_tail(sandbox)
    assert not tail.exists
    assert size_at(tail, 0) == 0


@pytest.mark.parametrize("start", [0, 7, 5 * 2**40])
def test_a_tail_counts_where_it_begins_and_nowhere_else(
    sandbox: S3Sandbox, part: SpooledPart, start: int
) -> None:
    new_tail(sandbox).write(start, part)
    tail = loaded_tail(sandbox)
    assert tail.exists
    assert size_at(tail, start) == 10
    assert size_at(tail, start + 1) == 0
    assert b"".join(tail.read()) == b"0123456789"


@pytest.mark.parametrize("start", ["", "x", "-1", "1.5"])
def test_a_tail_that_does_not_say_where_it_begins_is_behind_the_parts(
    sandbox: S3Sandbox, start: str
) -> None:
    """tusd's do not say."""
    metadata = {"start": start} if start else {}
    sandbox.put(sandbox.keys.tail(ID), b"tusd", Metadata=metadata)
    tail = loaded_tail(sandbox)
    assert tail.size_at(12, default_start=12) == 4
    assert tail.size_at(0, default_start=12) == 0
    assert b"".join(tail.read()) == b"tusd"


def test_who_wrote_a_tail_need_not_read_it_back(sandbox: S3Sandbox, part: SpooledPart) -> None:
    cache = TailCache(1000)
    new_tail(sandbox, cache).write(0, part)
    tail = loaded_tail(sandbox, cache)
    sandbox.calls.clear()
    assert b"".join(tail.read()) == b"0123456789"
    assert sandbox.calls.begun == []
    assert b"".join(tail.read()) == b"0123456789"
    assert sandbox.calls.begun == ["GetObject tail"]


def test_a_tail_on_disk_is_stored_and_not_kept_in_memory(sandbox: S3Sandbox) -> None:
    cache = TailCache(1000)
    with Spool(0).part(100, 10) as part:
        part.write(b"0123456789")
        new_tail(sandbox, cache).write(0, part)
    assert cache._size == 0
    assert b"".join(loaded_tail(sandbox).read()) == b"0123456789"


def test_a_tail_that_somebody_replaced_is_not_overwritten(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    mine, theirs = loaded_tail(sandbox), loaded_tail(sandbox)
    theirs.write(0, part)
    with pytest.raises(LockLost):
        mine.write(0, new_part(b"mine"))
    late = loaded_tail(sandbox)
    theirs.write(0, new_part(b"theirs"))
    with pytest.raises(LockLost):
        late.write(0, new_part(b"late"))
    assert sandbox.get(sandbox.keys.tail(ID)) == b"theirs"


def test_a_tail_that_somebody_removed_is_not_written_again(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    """The upload was finished or terminated meanwhile."""
    new_tail(sandbox).write(0, part)
    late = loaded_tail(sandbox)
    sandbox.delete(sandbox.keys.tail(ID))
    with pytest.raises(LockLost):
        late.write(0, new_part(b"late"))
    assert sandbox.list_keys() == []


def test_a_tail_that_changed_behind_the_look_is_not_read(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    new_tail(sandbox).write(0, part)
    tail = loaded_tail(sandbox)
    sandbox.put(sandbox.keys.tail(ID), b"another")
    with pytest.raises(StoreUnavailable):
        list(tail.read())


def test_a_tail_that_comes_back_shorter_than_it_is_is_not_read(
    sandbox: S3Sandbox, part: SpooledPart
) -> None:
    """What follows would be stored too far ahead. boto3 counts only where there is a length."""
    new_tail(sandbox).write(0, part)
    tail = loaded_tail(sandbox)
    assert tail._tail is not None
    tail._tail = replace(tail._tail, size=11)
    with pytest.raises(StoreUnavailable):
        list(tail.read())


def test_a_tail_is_replaced_and_removed(sandbox: S3Sandbox, part: SpooledPart) -> None:
    tail = loaded_tail(sandbox)
    tail.write(0, part)
    tail.write(3, new_part(b"abc"))
    assert (size_at(tail, 3), size_at(tail, 0)) == (3, 0)
    tail.delete()
    tail.delete()
    assert not tail.exists
    assert sandbox.list_keys() == []
