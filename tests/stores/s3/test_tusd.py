"""Resume uploads that tusd created, in any state.

In some of these states, tusd itself loses bytes, or reports what is not true.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.stores import PART, S3Sandbox
from tests.stores.s3.tusd_upload import TusdUpload
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import InvalidPartial, StoreUnavailable, Unavailable, UploadNotFound
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.model import Final, Metadata, UploadId, UploadInfo
from tus_wsgi.stores.s3.upload import S3Upload

FILE = random.Random(5).randbytes(4 * PART + 777)
S3_DOWN = EndpointConnectionError(endpoint_url="http://nowhere")

SIZES = [PART + 1000, PART, PART + 7]
"""tusd ends a part where a request ends, if the part is large enough."""


def split(*sizes: int) -> dict[int, bytes]:
    """The parts 1, 2, ... of FILE with these sizes."""
    parts: dict[int, bytes] = {}
    start = 0
    for number, size in enumerate(sizes, 1):
        parts[number] = FILE[start : start + size]
        start += size
    return parts


def test_an_upload_with_parts_of_any_size_is_resumed(sandbox: S3Sandbox) -> None:
    tusd = TusdUpload(sandbox, len(FILE), split(*SIZES), FILE[sum(SIZES) : sum(SIZES) + 9])
    offset = sum(SIZES) + 9
    info = UploadClient(sandbox).inspect(tusd.id)
    assert (info.offset, info.length) == (offset, len(FILE))
    assert info.metadata.text("filename") == "menü.txt"
    UploadClient(sandbox).append(tusd.id, FILE[offset : offset + 20], offset=offset)
    assert UploadClient(sandbox).inspect(tusd.id).offset == offset + 20
    rest = FILE[offset + 20 :]
    assert UploadClient(sandbox).append(tusd.id, rest, offset=offset + 20).is_finished
    assert sandbox.data(tusd.id) == FILE
    assert sandbox.list_keys() == [tusd.object_id, tusd.object_id + ".info"]


def test_an_upload_that_tusd_finished_is_finished(sandbox: S3Sandbox) -> None:
    tusd = TusdUpload(sandbox, 10, split(10))
    tusd.complete()
    assert UploadClient(sandbox).inspect(tusd.id).is_finished
    assert UploadClient(sandbox).download(tusd.id) == FILE[:10]
    UploadClient(sandbox).terminate(tusd.id)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []


@pytest.mark.parametrize("received", [0, 10], ids=["begun", "whole"])
def test_an_older_file_at_a_chosen_key_is_not_deleted(sandbox: S3Sandbox, received: int) -> None:
    """D-12: tusd's hooks may choose a key that an older file has until the upload replaces it."""
    older = "avatars/me.png"
    sandbox.put(sandbox.prefix + older, b"older")
    chosen = {"Bucket": sandbox.bucket, "Key": sandbox.prefix + older, "Type": "s3store"}
    begun = sandbox.admin.create_multipart_upload(Bucket=sandbox.bucket, Key=chosen["Key"])
    chosen["MultipartUpload"] = begun["UploadId"]
    id = UploadId("chosen")
    record = {"ID": id, "Size": 10, "MetaData": {}, "Storage": chosen}
    sandbox.put(sandbox.prefix + "chosen.info", json.dumps(record).encode())
    if received:
        UploadClient(sandbox).append(id, FILE[:received])
        assert sandbox.get(sandbox.prefix + older) == FILE[:received]
    UploadClient(sandbox).terminate(id)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == ([] if received else [older])


@pytest.mark.parametrize("is_empty", [False, True], ids=["with bytes", "without bytes"])
@pytest.mark.parametrize("parts", [[], [PART + 1000]], ids=["a tail", "a part and a tail"])
def test_the_deferred_length_of_a_tusd_upload_can_be_declared(
    sandbox: S3Sandbox, parts: list[int], *, is_empty: bool
) -> None:
    """tusd loses its tail then."""
    length = sum(parts) + 500
    tusd = TusdUpload(sandbox, None, split(*parts), FILE[sum(parts) : sum(parts) + 11])
    offset = sum(parts) + 11
    if is_empty:
        UploadClient(sandbox).append(tusd.id, FILE[offset:length], offset=offset)
        assert not UploadClient(sandbox).inspect(tusd.id).is_full
        offset = length
    done = UploadClient(sandbox).append(tusd.id, FILE[offset:length], offset=offset, length=length)
    assert done.is_finished
    assert sandbox.data(tusd.id) == FILE[:length]
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("tail", [0, 9], ids=["parts", "parts and a tail"])
def test_a_full_upload_that_tusd_never_completed_is_completed_by_a_head(
    sandbox: S3Sandbox, tail: int
) -> None:
    """tusd reports it as complete but makes no object and calls no hook."""
    notified: list[FinishedUpload] = []
    length = sum(SIZES) + tail
    tusd = TusdUpload(sandbox, length, split(*SIZES), FILE[sum(SIZES) : length])
    for _ in range(2):
        assert UploadClient(sandbox, on_finish=notified.append).inspect(tusd.id).is_finished
    assert sandbox.data(tusd.id) == FILE[:length]
    assert [upload.length for upload in notified] == [length]
    assert sandbox.list_keys() == [tusd.object_id, tusd.object_id + ".info"]
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("is_full", [False, True], ids=["unfinished", "full"])
def test_a_tail_that_is_larger_than_our_parts_is_continued(
    sandbox: S3Sandbox, *, is_full: bool
) -> None:
    """D-01, D-04: the tail of a tusd with a large `-s3-min-part-size` may exceed our part size."""
    first, tail = PART + 1000, PART + 9
    offset = first + tail
    length = offset if is_full else offset + 3000
    tusd = TusdUpload(sandbox, length, split(first), FILE[first:offset])
    if is_full:
        # The tail is deleted before the completion, so the part with its bytes has to count.
        failing = "CompleteMultipartUpload"
        with sandbox.calls.failing(S3_DOWN, failing), pytest.raises(StoreUnavailable):
            UploadClient(sandbox).inspect(tusd.id)
    else:
        assert UploadClient(sandbox).append(tusd.id, b"", offset=offset).offset == offset
        UploadClient(sandbox).append(tusd.id, FILE[offset:length], offset=offset)
    assert UploadClient(sandbox).inspect(tusd.id).is_finished
    assert sandbox.data(tusd.id) == FILE[:length]


@pytest.mark.parametrize("step", ["AbortMultipartUpload", "PutObject data"])
def test_the_object_of_an_empty_upload_is_written_after_a_failure(
    sandbox: S3Sandbox, step: str
) -> None:
    """D-05: the id still names the multipart upload that was aborted."""
    tusd = TusdUpload(sandbox, 0, {})
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        UploadClient(sandbox).inspect(tusd.id)
    assert UploadClient(sandbox).inspect(tusd.id).is_finished
    assert sandbox.data(tusd.id) == b""
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("second", [PART, PART + 777, PART + 4000, 2 * PART - 223])
def test_a_part_after_a_gap_never_counts(sandbox: S3Sandbox, second: int) -> None:
    """D-02: part 2 failed but part 3 did not; the bytes of part 3 depend on part 2's size.

    With the last of these sizes, tusd's part 3 has the size of the new part 3 but other bytes.
    """
    first = PART + 1000
    parts = split(first, second, PART)
    tusd = TusdUpload(sandbox, len(FILE), {1: parts[1], 3: parts[3]}, b"")
    assert UploadClient(sandbox).inspect(tusd.id).offset == first
    # Enough bytes to fill part 2, wherever it ends, but not part 3.
    stop = first + PART + 3000
    stored = UploadClient(sandbox).append(tusd.id, FILE[first:stop], offset=first).offset
    assert stored == UploadClient(sandbox).inspect(tusd.id).offset == stop
    assert UploadClient(sandbox).append(tusd.id, FILE[stop:], offset=stop).is_finished
    assert sandbox.data(tusd.id) == FILE


@pytest.mark.parametrize("step", ["GetObject info", "ListParts data", "GetObject tail"])
@pytest.mark.parametrize("when", ["before", "assigning"])
def test_a_failure_while_the_plan_is_assigned_loses_nothing(
    sandbox: S3Sandbox, step: str, when: str
) -> None:
    tusd = TusdUpload(sandbox, len(FILE), split(*SIZES), FILE[sum(SIZES) : sum(SIZES) + 9])
    offset = sum(SIZES) + 9
    failing = step if when == "before" else "PutObject info"
    with sandbox.calls.failing(S3_DOWN, failing), pytest.raises(Unavailable):
        UploadClient(sandbox).append(tusd.id, FILE[offset : offset + 5], offset=offset)
    assert UploadClient(sandbox).inspect(tusd.id).offset == offset
    assert UploadClient(sandbox).append(tusd.id, FILE[offset:], offset=offset).is_finished
    assert sandbox.data(tusd.id) == FILE


@pytest.mark.parametrize("step", ["UploadPart 4", "PutObject info", "CompleteMultipartUpload data"])
def test_a_failed_completion_is_repeated(sandbox: S3Sandbox, step: str) -> None:
    length = sum(SIZES) + 9
    tusd = TusdUpload(sandbox, length, split(*SIZES), FILE[sum(SIZES) : length])
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        UploadClient(sandbox).inspect(tusd.id)
    assert UploadClient(sandbox).inspect(tusd.id).is_finished
    assert sandbox.data(tusd.id) == FILE[:length]


def patch(client: UploadClient, id: UploadId) -> object:
    return client.append(id, b"x", offset=PART + 1000)


@pytest.mark.parametrize(
    "act", [UploadClient.inspect, patch, UploadClient.terminate, UploadClient.download]
)
@pytest.mark.parametrize("suffix", ["", "+another", "+"])
def test_an_id_with_another_upload_id_is_not_found(
    sandbox: S3Sandbox, act: Callable[[UploadClient, UploadId], object], suffix: str
) -> None:
    """D-12: tusd reports such an upload as complete, or deletes the object."""
    tusd = TusdUpload(sandbox, len(FILE), split(PART + 1000), b"tail")
    before = (sandbox.list_keys(), sandbox.list_multiparts())
    with pytest.raises(UploadNotFound):
        act(UploadClient(sandbox), UploadId(tusd.object_id + suffix))
    assert (sandbox.list_keys(), sandbox.list_multiparts()) == before


def test_an_id_with_another_upload_id_is_no_partial_upload(sandbox: S3Sandbox) -> None:
    """D-12."""
    tusd = TusdUpload(sandbox, 500, split(500), IsPartial=True)
    tusd.complete()
    other_id = UploadId(tusd.object_id + "+another")
    assert create_final(sandbox, tusd.id).info.is_full
    with pytest.raises(InvalidPartial):
        create_final(sandbox, other_id)


def create_final(sandbox: S3Sandbox, partial: UploadId) -> S3Upload:
    """A final upload of one partial upload, with its offset loaded."""
    info = UploadInfo(UploadId("final"), None, metadata=Metadata(), concat=Final((partial,), ""))
    upload = sandbox.store().create(info, record_now=False)
    upload.load_offset()
    return upload
