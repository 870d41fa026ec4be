"""What a request costs does not depend on how many parts the upload has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.stores import PART, TINY, S3Sandbox
from tests.stores.s3.tusd_upload import TusdUpload
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import StoreUnavailable
from tus_wsgi.domain.model import UploadId

DATA = bytes(range(250)) * 4

LARGE = bytes(range(256)) * (3 * PART // 256)


@pytest.fixture(autouse=True)
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few parts be as many as hundreds."""
    monkeypatch.setattr("tus_wsgi.stores.s3.appender.RECORD_INTERVAL", 5)
    monkeypatch.setattr("tus_wsgi.stores.s3.confirmed_parts.MAX_KEPT_PARTS", 1)


@pytest.fixture
def markers(sandbox: S3Sandbox) -> Iterator[list[int]]:
    """The part numbers after which the parts are listed."""
    markers: list[int] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        markers.append(params["PartNumberMarker"])

    events: Any = sandbox.client.meta.events
    events.register("provide-client-params.s3.ListParts", note)
    yield markers
    events.unregister("provide-client-params.s3.ListParts", note)


def new_client(sandbox: S3Sandbox, *, has_cache: bool = True) -> UploadClient:
    return UploadClient(sandbox, store=sandbox.store(limits=TINY), has_cache=has_cache)


def append(client: UploadClient, id: UploadId, start: int, stop: int) -> None:
    assert client.append(id, DATA[start:stop], offset=start).offset == stop


def edit_record(sandbox: S3Sandbox, id: UploadId, **changes: object) -> None:
    key = sandbox.keys.info(id)
    fields = json.loads(sandbox.get(key)) | changes
    sandbox.put(key, json.dumps(fields).encode())


def test_a_cached_upload_of_many_parts_lists_none(sandbox: S3Sandbox) -> None:
    client = new_client(sandbox)
    id = client.create(len(DATA)).id
    append(client, id, 0, 300)
    sandbox.calls.clear()
    append(client, id, 300, 310)
    append(client, id, 310, 315)
    assert sandbox.calls.begun == ["UploadPart 31", "PutObject tail"]


def test_other_processes_list_the_parts_since_the_record(
    sandbox: S3Sandbox, markers: list[int]
) -> None:
    client = new_client(sandbox)
    id = client.create(len(DATA)).id
    append(client, id, 0, 120)
    append(client, id, 120, 153)
    assert new_client(sandbox).inspect(id).offset == 153
    assert markers == [12]
    append(new_client(sandbox), id, 153, 200)
    assert new_client(sandbox).inspect(id).offset == 200
    assert markers == [12, 12, 20]


def test_the_record_is_written_once_for_many_parts(sandbox: S3Sandbox) -> None:
    client = new_client(sandbox, has_cache=False)
    id = client.create(len(DATA)).id
    sandbox.calls.clear()
    for start in range(0, 120, 10):
        append(client, id, start, start + 10)
    assert sandbox.calls.begun.count("PutObject info") == 2
    assert json.loads(sandbox.get(sandbox.keys.info(id)))["ConfirmedParts"] == 10


def test_a_service_may_list_all_parts_nevertheless(sandbox: S3Sandbox) -> None:
    """D-02: it ignores the marker."""
    client = new_client(sandbox)
    id = client.create(len(DATA)).id
    append(client, id, 0, 153)

    def ignore(params: dict[str, Any], **_: Any) -> None:
        params["PartNumberMarker"] = 0

    events: Any = sandbox.client.meta.events
    events.register("provide-client-params.s3.ListParts", ignore)
    try:
        assert new_client(sandbox).inspect(id).offset == 153
    finally:
        events.unregister("provide-client-params.s3.ListParts", ignore)


@pytest.mark.parametrize("has_cache", [False, True])
def test_the_completion_looks_up_the_etags(
    sandbox: S3Sandbox,
    markers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    *,
    has_cache: bool,
) -> None:
    """D-05."""
    monkeypatch.setattr("tus_wsgi.stores.s3.appender.RECORD_INTERVAL", 2)
    client = UploadClient(sandbox, has_cache=has_cache)
    id = client.create(len(LARGE)).id
    client.append(id, LARGE[: 2 * PART + 5])
    markers.clear()
    client.append(id, LARGE[2 * PART + 5 :], offset=2 * PART + 5)
    assert markers == ([0] if has_cache else [2, 0])
    assert sandbox.data(id) == LARGE


def test_one_request_needs_no_list_of_its_parts(sandbox: S3Sandbox, markers: list[int]) -> None:
    UploadClient(sandbox).create(len(LARGE), LARGE)
    assert markers == []


def test_an_upload_is_not_completed_without_a_part(
    sandbox: S3Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-05: the service omits a part for a while, as Swift may, or the record is wrong."""
    monkeypatch.setattr("tus_wsgi.stores.s3.appender.RECORD_INTERVAL", 1)
    client = UploadClient(sandbox)
    id = client.create(len(LARGE)).id
    client.append(id, LARGE[:PART])
    edit_record(sandbox, id, ConfirmedParts=2)
    client = UploadClient(sandbox)
    assert client.inspect(id).offset == 2 * PART
    with pytest.raises(StoreUnavailable):
        client.append(id, LARGE[2 * PART :], offset=2 * PART)
    assert len(sandbox.list_multiparts()) == 1


def test_the_etags_of_tusd_parts_are_kept_until_there_is_a_plan(sandbox: S3Sandbox) -> None:
    """D-01: the part plan of the remaining bytes depends on these parts."""
    id = UploadId("tusd")
    key = sandbox.keys.data(id)
    s3, bucket = sandbox.admin, sandbox.bucket
    multipart = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    for number in (1, 2):
        data = LARGE[PART * (number - 1) : PART * number]
        s3.upload_part(Bucket=bucket, Key=key, UploadId=multipart, PartNumber=number, Body=data)
    record = {"ID": f"{id}+{multipart}", "Size": len(LARGE), "Storage": {"Bucket": bucket}}
    sandbox.put(sandbox.keys.info(id), json.dumps(record).encode())
    client = UploadClient(sandbox)
    tusd_id = UploadId(f"{id}+{multipart}")
    assert client.inspect(tusd_id).offset == 2 * PART
    client.append(tusd_id, LARGE[2 * PART :], offset=2 * PART)
    assert sandbox.data(id) == LARGE


def test_the_parts_of_tusd_alone_are_recorded(
    sandbox: S3Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-02: tusd stored all parts so far, and this server only a tail."""
    monkeypatch.setattr("tus_wsgi.stores.s3.appender.RECORD_INTERVAL", 1)
    parts = {1: LARGE[:PART], 2: LARGE[PART : 2 * PART]}
    id = TusdUpload(sandbox, len(LARGE), parts).id
    offset = 2 * PART
    for _ in range(2):
        UploadClient(sandbox).append(id, LARGE[offset : offset + 3], offset=offset)
        offset += 3
    assert UploadClient(sandbox).append(id, LARGE[offset:], offset=offset).is_finished
    assert sandbox.data(id) == LARGE
