"""The exact S3 calls of each request: they cost money and most of the request's time."""

from __future__ import annotations

import random

import pytest

from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import OffsetMismatch, UploadNotFound
from tus_wsgi.domain.model import UploadId

SMALL = b"0123456789"
LARGE = random.Random(3).randbytes(2 * PART + 777)

LOAD = ["GetObject info", "GetObject tail"]
LOAD_ONE_PART = [*LOAD, "GetObject data"]
LOAD_PARTS = [*LOAD, "ListParts data"]
COMPLETE = ["CompleteMultipartUpload data", "HeadObject data", "PutObject info"]
PARTS = ["UploadPart 1", "UploadPart 2", "UploadPart 3"]


class CallCounter:
    """Compares the S3 calls since the last comparison with the expected ones."""

    def __init__(self, sandbox: S3Sandbox) -> None:
        self._calls = sandbox.calls

    def assert_calls(self, *expected: str) -> None:
        """Compare with `expected` in any order: some calls are concurrent."""
        assert sorted(self._calls.begun) == sorted(expected)
        self._calls.clear()

    def clear(self) -> None:
        """Forget the calls so far."""
        self._calls.clear()


@pytest.fixture
def calls(sandbox: S3Sandbox) -> CallCounter:
    return CallCounter(sandbox)


@pytest.fixture(params=[False, True], ids=["no cache", "cache"])
def has_cache(request: pytest.FixtureRequest) -> bool:
    """Whether the service has the upload in its cache."""
    has_cache: bool = request.param
    return has_cache


@pytest.fixture
def client(sandbox: S3Sandbox, *, has_cache: bool) -> UploadClient:
    return UploadClient(sandbox, has_cache=has_cache)


@pytest.fixture
def load_one_part(*, has_cache: bool) -> list[str]:
    """The calls of a PATCH before its first byte, for an upload of one part."""
    return [] if has_cache else LOAD_ONE_PART


@pytest.fixture
def load_deferred(*, has_cache: bool) -> list[str]:
    """The same for an upload of deferred length."""
    return [] if has_cache else LOAD


@pytest.fixture
def load_parts(*, has_cache: bool) -> list[str]:
    """The same for an upload of several parts."""
    return [] if has_cache else LOAD_PARTS


@pytest.mark.parametrize("data", [b"x", SMALL], ids=len)
def test_a_small_upload_in_one_request_takes_two_calls(
    client: UploadClient, calls: CallCounter, data: bytes
) -> None:
    client.create(len(data), data)
    calls.assert_calls("PutObject info", "PutObject data")


def test_an_upload_of_exactly_one_part_takes_two_calls(
    client: UploadClient, calls: CallCounter
) -> None:
    client.create(PART, LARGE[:PART])
    calls.assert_calls("PutObject info", "PutObject data")


def test_an_empty_upload_takes_two_calls(client: UploadClient, calls: CallCounter) -> None:
    client.create(0)
    calls.assert_calls("PutObject info", "PutObject data")


def test_a_hook_takes_one_more_call(sandbox: S3Sandbox, calls: CallCounter) -> None:
    UploadClient(sandbox, on_finish=lambda _: None).create(len(SMALL), SMALL)
    calls.assert_calls("PutObject info", "PutObject data", "PutObject info")


def test_a_small_upload_in_two_requests_takes_two_to_five_calls(
    client: UploadClient, calls: CallCounter, load_one_part: list[str]
) -> None:
    id = client.create(len(SMALL)).id
    calls.assert_calls("PutObject info")
    client.append(id, SMALL)
    calls.assert_calls(*load_one_part, "PutObject data")


def test_a_small_upload_in_two_requests_with_a_hook_takes_three_to_six_calls(
    sandbox: S3Sandbox, calls: CallCounter, *, has_cache: bool
) -> None:
    client = UploadClient(sandbox, on_finish=lambda _: None, has_cache=has_cache)
    id = client.create(len(SMALL)).id
    client.append(id, SMALL)
    load_one_part = [] if has_cache else LOAD_ONE_PART
    calls.assert_calls("PutObject info", *load_one_part, "PutObject data", "PutObject info")


def test_a_large_upload_in_one_request_takes_a_call_for_each_part_and_five(
    client: UploadClient, calls: CallCounter
) -> None:
    client.create(len(LARGE), LARGE)
    calls.assert_calls("CreateMultipartUpload data", "PutObject info", *PARTS, *COMPLETE)


def test_a_large_upload_in_two_requests_takes_up_to_three_more_calls(
    client: UploadClient, calls: CallCounter, load_parts: list[str]
) -> None:
    id = client.create(len(LARGE)).id
    calls.assert_calls("CreateMultipartUpload data", "PutObject info")
    client.append(id, LARGE)
    calls.assert_calls(*load_parts, *PARTS, *COMPLETE)


def test_a_patch_of_full_parts_takes_a_call_for_each_and_up_to_three(
    client: UploadClient, calls: CallCounter, load_parts: list[str]
) -> None:
    id = client.create(3 * PART).id
    client.append(id, LARGE[:PART])
    calls.clear()
    client.append(id, LARGE[:PART], offset=PART)
    calls.assert_calls(*load_parts, "UploadPart 2")


def test_a_patch_after_a_head_uses_the_cached_offset(
    client: UploadClient, calls: CallCounter, load_parts: list[str]
) -> None:
    id = client.create(len(LARGE)).id
    client.append(id, LARGE[:PART])
    client.inspect(id)
    calls.clear()
    client.append(id, LARGE[PART:-1], offset=PART)
    calls.assert_calls(*load_parts, "UploadPart 2", "PutObject tail")


def test_a_refused_request_is_not_cached(sandbox: S3Sandbox, calls: CallCounter) -> None:
    client = UploadClient(sandbox)
    id = client.create(len(LARGE)).id
    with pytest.raises(OffsetMismatch):
        client.append(id, b"x", offset=1)
    calls.clear()
    client.append(id, LARGE[:PART])
    calls.assert_calls(*LOAD_PARTS, "UploadPart 1")


def test_a_tail_is_written_once_and_not_read_by_the_same_process(
    client: UploadClient, calls: CallCounter, load_parts: list[str]
) -> None:
    id = client.create(len(LARGE)).id
    calls.assert_calls("CreateMultipartUpload data", "PutObject info")
    for offset in (0, 3, 6):
        client.append(id, LARGE[offset : offset + 3], offset=offset)
        calls.assert_calls(*load_parts, "PutObject tail")


def test_another_process_reads_the_tail(sandbox: S3Sandbox, calls: CallCounter) -> None:
    id = UploadClient(sandbox).create(len(LARGE)).id
    UploadClient(sandbox).append(id, LARGE[:3])
    sandbox.calls.clear()
    UploadClient(sandbox).append(id, LARGE[3:6], offset=3)
    calls.assert_calls(*LOAD_PARTS, "GetObject tail", "PutObject tail")


def test_a_part_that_replaces_the_tail_takes_a_call_to_delete_it(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox, load_parts: list[str]
) -> None:
    id = client.create(len(LARGE)).id
    client.append(id, LARGE[:3])
    sandbox.calls.clear()
    client.append(id, LARGE[3:], offset=3)
    calls.assert_calls(*load_parts, *PARTS, "DeleteObject tail", *COMPLETE)


def test_a_process_that_has_not_cached_the_segments_looks_for_the_next_one(
    sandbox: S3Sandbox, calls: CallCounter
) -> None:
    """The price of requests that write only their own bytes."""
    client = UploadClient(sandbox, has_cache=False)
    id = client.create(len(LARGE)).id
    calls.clear()
    size = 100_000
    segments = ["GetObject segment 1", "GetObject segment 2"]
    for number, name in enumerate(("tail", "segment 1", "segment 2")):
        start = size * number
        client.append(id, LARGE[start : start + size], offset=start)
        calls.assert_calls(*LOAD_PARTS, *segments[:number], f"PutObject {name}")
    client.inspect(id)
    calls.assert_calls(*LOAD_PARTS, *segments, "GetObject segment 3")
    client.append(id, LARGE[3 * size :], offset=3 * size)
    deleted = [f"DeleteObject {name}" for name in ("tail", "segment 1", "segment 2")]
    calls.assert_calls(*LOAD_PARTS, *segments, "GetObject segment 3", *PARTS, *deleted, *COMPLETE)


def test_a_process_that_has_cached_the_segments_looks_up_none(
    sandbox: S3Sandbox, calls: CallCounter
) -> None:
    client = UploadClient(sandbox)
    id = client.create(len(LARGE)).id
    calls.clear()
    size = 100_000
    for number, name in enumerate(("tail", "segment 1", "segment 2")):
        start = size * number
        client.append(id, LARGE[start : start + size], offset=start)
        calls.assert_calls(f"PutObject {name}")
    client.append(id, LARGE[3 * size :], offset=3 * size)
    deleted = [f"DeleteObject {name}" for name in ("tail", "segment 1", "segment 2")]
    calls.assert_calls(*PARTS, *deleted, *COMPLETE)


def test_an_upload_of_one_part_in_many_requests_never_creates_a_multipart_upload(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox, load_one_part: list[str]
) -> None:
    id = client.create(len(SMALL)).id
    for offset in range(len(SMALL) - 1):
        client.append(id, SMALL[offset : offset + 1], offset=offset)
    client.inspect(id)
    assert not [call for call in sandbox.calls.begun if "Part" in call]
    sandbox.calls.clear()
    client.append(id, SMALL[-1:], offset=len(SMALL) - 1)
    calls.assert_calls(*load_one_part, "PutObject data", "DeleteObject tail", "PutObject info")


@pytest.mark.parametrize(
    ("length", "received", "expected"),
    [
        (10, 0, LOAD_ONE_PART),
        (10, 3, LOAD_ONE_PART),
        (None, 3, LOAD),
        (len(LARGE), 3, LOAD_PARTS),
        (len(LARGE), PART, LOAD_PARTS),
        (len(LARGE), len(LARGE), ["GetObject info"]),
    ],
)
def test_a_head_takes_up_to_three_calls(
    sandbox: S3Sandbox, *, length: int | None, received: int, expected: list[str]
) -> None:
    client = UploadClient(sandbox)
    id = client.create(length).id
    client.append(id, LARGE[:received])
    sandbox.calls.clear()
    client.inspect(id)
    CallCounter(sandbox).assert_calls(*expected)


@pytest.mark.parametrize("is_one_request", [True, False])
def test_the_first_head_of_a_small_upload_records_that_it_is_finished(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox, *, is_one_request: bool
) -> None:
    id = client.create(len(SMALL), SMALL if is_one_request else None).id
    if not is_one_request:
        client.append(id, SMALL)
    sandbox.calls.clear()
    client.inspect(id)
    calls.assert_calls(*LOAD_ONE_PART, "PutObject info")
    client.inspect(id)
    calls.assert_calls("GetObject info")


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=len)
def test_a_download_takes_three_calls(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox, data: bytes
) -> None:
    id = client.create(len(data)).id
    client.append(id, data)
    client.inspect(id)
    sandbox.calls.clear()
    assert client.download(id) == data
    calls.assert_calls("GetObject info", "HeadObject data", "GetObject data")


def test_a_download_before_the_first_head_takes_four_calls(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox
) -> None:
    id = client.create(len(SMALL)).id
    client.append(id, SMALL)
    sandbox.calls.clear()
    assert client.download(id) == SMALL
    calls.assert_calls(*LOAD_ONE_PART, "GetObject data")


@pytest.mark.parametrize(
    ("length", "received", "aborts"),
    [(len(SMALL), 3, False), (len(LARGE), PART, True), (None, 3, False), (3, 3, False)],
)
def test_a_termination_takes_up_to_six_calls_and_two_less_if_the_upload_is_cached(
    client: UploadClient,
    calls: CallCounter,
    sandbox: S3Sandbox,
    *,
    has_cache: bool,
    length: int | None,
    received: int,
    aborts: bool,
) -> None:
    """D-09, D-13: the tombstone, which names everything, comes first.

    Unless the upload is cached, only a look-up shows whether the tail has more than one segment.
    """
    id = client.create(length).id
    client.append(id, LARGE[:received])
    is_cached = has_cache and received != length
    sandbox.calls.clear()
    client.terminate(id)
    begun = sandbox.calls.begun
    assert begun == [
        *([] if is_cached else ["GetObject info"]),
        "PutObject info",
        "PutObject tail",
        *([] if is_cached else ["GetObject segment 1"]),
        *(["AbortMultipartUpload data", "GetObject data"] if aborts else []),
        *(["DeleteObject data"] if length is not None and not aborts else []),
    ]


def test_a_request_for_an_unknown_id_takes_one_call(
    client: UploadClient, calls: CallCounter
) -> None:
    with pytest.raises(Exception, match="no such upload"):
        client.inspect(UploadId("unknown"))
    calls.assert_calls("GetObject info")


def test_a_deferred_length_creates_its_multipart_upload_with_the_first_part(
    client: UploadClient,
    calls: CallCounter,
    sandbox: S3Sandbox,
    load_deferred: list[str],
    load_parts: list[str],
) -> None:
    id = client.create(None).id
    calls.assert_calls("PutObject info")
    client.append(id, LARGE[:7])
    calls.assert_calls(*load_deferred, "PutObject tail")
    assert sandbox.list_multiparts() == []
    client.append(id, LARGE[7 : PART + 7], offset=7)
    calls.assert_calls(
        *load_deferred,
        "CreateMultipartUpload data",
        "PutObject info",
        "UploadPart 1",
        "PutObject tail",
    )
    assert len(sandbox.list_multiparts()) == 1
    client.append(id, b"", offset=PART + 7, length=PART + 7)
    # A tail of part 1 may have had more segments, which a new process does not know.
    segment = ["GetObject segment 1"] if load_parts else []
    calls.assert_calls(
        *load_parts, *segment, "PutObject info", "UploadPart 2", "DeleteObject tail", *COMPLETE
    )


def test_a_deferred_length_of_one_part_never_creates_a_multipart_upload(
    client: UploadClient, calls: CallCounter, sandbox: S3Sandbox, load_deferred: list[str]
) -> None:
    id = client.create(None, SMALL[:4]).id
    calls.assert_calls("PutObject info", "PutObject tail")
    client.append(id, SMALL[4:], offset=4, length=len(SMALL))
    calls.assert_calls(
        *load_deferred,
        "PutObject info",
        "PutObject data",
        "DeleteObject tail",
        "PutObject info",
    )
    assert sandbox.data(id) == SMALL


def test_a_terminated_upload_is_not_cached(client: UploadClient, sandbox: S3Sandbox) -> None:
    id = client.create(len(SMALL)).id
    client.append(id, SMALL[:3])
    client.terminate(id)
    for offset, data in ((3, SMALL[3:]), (0, SMALL)):
        with pytest.raises(UploadNotFound):
            client.append(id, data, offset=offset)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []
