"""Uploads that tusd began go on here, whatever state it has left them in (`tusd.md`, 9.2)."""

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

ODD = [PART + 1000, PART, PART + 7]
"""tusd cuts a part where a request ends, if it is large enough."""


def split(*sizes: int) -> dict[int, bytes]:
    """The parts 1, 2, ... of the file, of these sizes."""
    parts: dict[int, bytes] = {}
    start = 0
    for number, size in enumerate(sizes, 1):
        parts[number] = FILE[start : start + size]
        start += size
    return parts


def test_parts_of_any_size_are_gone_on_from(sandbox: S3Sandbox) -> None:
    tusd = TusdUpload(sandbox, len(FILE), split(*ODD), FILE[sum(ODD) : sum(ODD) + 9])
    offset = sum(ODD) + 9
    info = UploadClient(sandbox).inspect(tusd.id)
    assert (info.offset, info.length) == (offset, len(FILE))
    assert info.metadata.text("filename") == "menü.txt"
    UploadClient(sandbox).append(tusd.id, FILE[offset : offset + 20], offset=offset)
    assert UploadClient(sandbox).inspect(tusd.id).offset == offset + 20
    rest = FILE[offset + 20 :]
    assert UploadClient(sandbox).append(tusd.id, rest, offset=offset + 20).is_finished
    assert sandbox.data(tusd.id) == FILE
    assert sandbox.list_keys() == [tusd.object_id, tusd.object_id + ".info"]


def test_an_upload_that_tusd_finished_is_finished_here(sandbox: S3Sandbox) -> None:
    tusd = TusdUpload(sandbox, 10, split(10))
    tusd.complete()
    assert UploadClient(sandbox).inspect(tusd.id).is_finished
    assert UploadClient(sandbox).download(tusd.id) == FILE[:10]
    UploadClient(sandbox).terminate(tusd.id)
    assert sandbox.list_keys() == []


@pytest.mark.parametrize("came", [0, 10], ids=["begun", "whole"])
def test_an_older_file_of_the_name_that_somebody_chose_is_left_alone(
    sandbox: S3Sandbox, came: int
) -> None:
    """tusd's hooks may choose a key, at which a file lies until the upload replaces it."""
    older = "avatars/me.png"
    sandbox.put(sandbox.prefix + older, b"older")
    chosen = {"Bucket": sandbox.bucket, "Key": sandbox.prefix + older, "Type": "s3store"}
    begun = sandbox.admin.create_multipart_upload(Bucket=sandbox.bucket, Key=chosen["Key"])
    chosen["MultipartUpload"] = begun["UploadId"]
    id = UploadId("chosen")
    record = {"ID": id, "Size": 10, "MetaData": {}, "Storage": chosen}
    sandbox.put(sandbox.prefix + "chosen.info", json.dumps(record).encode())
    if came:
        UploadClient(sandbox).append(id, FILE[:came])
        assert sandbox.get(sandbox.prefix + older) == FILE[:came]
    UploadClient(sandbox).terminate(id)
    assert sandbox.list_keys() == ([] if came else [older])


@pytest.mark.parametrize("alone", [False, True], ids=["with bytes", "alone"])
@pytest.mark.parametrize("parts", [[], [PART + 1000]], ids=["a tail", "a part and a tail"])
def test_a_length_that_tusd_was_not_told_is_told_here(
    sandbox: S3Sandbox, parts: list[int], *, alone: bool
) -> None:
    """W5: its tail was lost then."""
    length = sum(parts) + 500
    tusd = TusdUpload(sandbox, None, split(*parts), FILE[sum(parts) : sum(parts) + 11])
    offset = sum(parts) + 11
    if alone:
        UploadClient(sandbox).append(tusd.id, FILE[offset:length], offset=offset)
        assert not UploadClient(sandbox).inspect(tusd.id).is_full
        offset = length
    done = UploadClient(sandbox).append(tusd.id, FILE[offset:length], offset=offset, length=length)
    assert done.is_finished
    assert sandbox.data(tusd.id) == FILE[:length]
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("tail", [0, 9], ids=["parts", "parts and a tail"])
def test_what_is_full_and_was_never_completed_is_completed_by_whoever_looks(
    sandbox: S3Sandbox, tail: int
) -> None:
    """W6: tusd calls it complete, makes no object, and tells nobody."""
    told: list[FinishedUpload] = []
    length = sum(ODD) + tail
    tusd = TusdUpload(sandbox, length, split(*ODD), FILE[sum(ODD) : length])
    for _ in range(2):
        assert UploadClient(sandbox, on_finish=told.append).inspect(tusd.id).is_finished
    assert sandbox.data(tusd.id) == FILE[:length]
    assert [one.length for one in told] == [length]
    assert sandbox.list_keys() == [tusd.object_id, tusd.object_id + ".info"]
    assert sandbox.list_multiparts() == []


@pytest.mark.parametrize("second", [PART, PART + 777, PART + 4000, 2 * PART - 223])
def test_a_part_behind_a_gap_counts_for_nothing_now_and_later(
    sandbox: S3Sandbox, second: int
) -> None:
    """W1: part 2 failed, and part 3 did not. What part 3 holds depends on how long part 2 was.

    With the last of these sizes it is as long as part 3 is going to be, and holds other bytes.
    """
    first = PART + 1000
    parts = split(first, second, PART)
    tusd = TusdUpload(sandbox, len(FILE), {1: parts[1], 3: parts[3]}, b"")
    assert UploadClient(sandbox).inspect(tusd.id).offset == first
    # So many that part 2 is full, wherever it ends, and part 3 is not.
    stop = first + PART + 3000
    stored = UploadClient(sandbox).append(tusd.id, FILE[first:stop], offset=first).offset
    assert stored == UploadClient(sandbox).inspect(tusd.id).offset == stop
    assert UploadClient(sandbox).append(tusd.id, FILE[stop:], offset=stop).is_finished
    assert sandbox.data(tusd.id) == FILE


@pytest.mark.parametrize("step", ["GetObject info", "ListParts data", "HeadObject tail"])
@pytest.mark.parametrize("when", ["before", "adopting"])
def test_a_fault_while_it_is_taken_over_costs_nothing(
    sandbox: S3Sandbox, step: str, when: str
) -> None:
    tusd = TusdUpload(sandbox, len(FILE), split(*ODD), FILE[sum(ODD) : sum(ODD) + 9])
    offset = sum(ODD) + 9
    failing = step if when == "before" else "PutObject info"
    with sandbox.calls.failing(S3_DOWN, failing), pytest.raises(Unavailable):
        UploadClient(sandbox).append(tusd.id, FILE[offset : offset + 5], offset=offset)
    assert UploadClient(sandbox).inspect(tusd.id).offset == offset
    assert UploadClient(sandbox).append(tusd.id, FILE[offset:], offset=offset).is_finished
    assert sandbox.data(tusd.id) == FILE


@pytest.mark.parametrize("step", ["UploadPart 4", "PutObject info", "CompleteMultipartUpload data"])
def test_a_fault_while_it_is_completed_is_made_up_for(sandbox: S3Sandbox, step: str) -> None:
    length = sum(ODD) + 9
    tusd = TusdUpload(sandbox, length, split(*ODD), FILE[sum(ODD) : length])
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
def test_an_id_with_another_upload_id_is_nobody_s(
    sandbox: S3Sandbox, act: Callable[[UploadClient, UploadId], object], suffix: str
) -> None:
    """W3, W4: tusd says that it is complete, or removes the object."""
    tusd = TusdUpload(sandbox, len(FILE), split(PART + 1000), b"tail")
    before = (sandbox.list_keys(), sandbox.list_multiparts())
    with pytest.raises(UploadNotFound):
        act(UploadClient(sandbox), UploadId(tusd.object_id + suffix))
    assert (sandbox.list_keys(), sandbox.list_multiparts()) == before


def test_an_id_with_another_upload_id_is_no_piece_of_a_file(sandbox: S3Sandbox) -> None:
    tusd = TusdUpload(sandbox, 500, split(500), IsPartial=True)
    tusd.complete()
    foreign = UploadId(tusd.object_id + "+another")
    assert join(sandbox, tusd.id).info.is_full
    with pytest.raises(InvalidPartial):
        join(sandbox, foreign)


def join(sandbox: S3Sandbox, partial: UploadId) -> S3Upload:
    """A final upload of one piece, as far as it can be seen."""
    info = UploadInfo(UploadId("final"), None, metadata=Metadata(), concat=Final((partial,), ""))
    upload = sandbox.store().create(info, record_now=False)
    upload.load_offset()
    return upload
