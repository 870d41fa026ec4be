"""The durability rules of `S3Upload`, against failures between any two S3 calls."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import LIMITS, PART, TINY, S3Sandbox
from tests.stores.s3.upload_client import UploadClient
from tus_wsgi.domain.errors import (
    InvalidPartial,
    LockLost,
    OnFinishFailed,
    StoreUnavailable,
    Unavailable,
    UploadGone,
    UploadNotFound,
)
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import KIB, Final, Metadata, State, UploadId, UploadInfo
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3 import S3Store
from tus_wsgi.stores.s3.keys import Keys

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

ID = UploadId("Q1Hf2sVtT0m3bYwXyZ_-09")
SMALL = b"0123456789"
LARGE = random.Random(4).randbytes(2 * PART + 777)
S3_DOWN = EndpointConnectionError(endpoint_url="http://nowhere")


def held() -> None:
    """Do nothing: the lock is held."""


def create(sandbox: S3Sandbox, length: int | None, data: bytes = b"") -> Upload:
    """Create an upload, and append some bytes, in a process that has ended since."""
    upload = sandbox.store().create(UploadInfo(ID, length), record_now=True)
    if data:
        upload.append(ScriptedBody(data), held)
    return upload


def reopen(sandbox: S3Sandbox, store: S3Store | None = None) -> Upload:
    """Open the upload in another process."""
    upload = (store or sandbox.store()).open(ID)
    upload.load_offset()
    return upload


def complete(upload: Upload, data: bytes = b"") -> None:
    """Append the rest of the data, and finish."""
    upload.append(ScriptedBody(data[upload.info.offset :]), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)


def read_info(sandbox: S3Sandbox) -> dict[str, object]:
    fields = json.loads(sandbox.get(sandbox.keys.info(ID)))
    assert isinstance(fields, dict)
    return fields


# -- the order of calls ----------------------------------------------------------------------------


def test_a_tail_is_replaced_after_the_part_with_its_bytes_is_confirmed(
    sandbox: S3Sandbox,
) -> None:
    """D-04."""
    create(sandbox, len(LARGE), LARGE[:5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    upload.append(ScriptedBody(LARGE[5 : PART + 5]), held)
    assert sandbox.calls.when("end", "UploadPart 1") < sandbox.calls.when("begin", "PutObject tail")


def test_a_tail_is_deleted_after_the_object_with_its_bytes_is_confirmed(
    sandbox: S3Sandbox,
) -> None:
    """D-04."""
    create(sandbox, len(SMALL), SMALL[:5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    complete(upload, SMALL)
    stored = sandbox.calls.when("end", "PutObject data")
    assert stored < sandbox.calls.when("begin", "DeleteObject tail")
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_a_tail_is_deleted_after_the_last_part_is_confirmed(sandbox: S3Sandbox) -> None:
    """D-04."""
    create(sandbox, len(LARGE), LARGE[: 2 * PART + 5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    complete(upload, LARGE)
    removed = sandbox.calls.when("begin", "DeleteObject tail")
    assert sandbox.calls.when("end", "UploadPart 3") < removed
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_the_record_is_written_before_the_first_byte_is_stored(sandbox: S3Sandbox) -> None:
    """D-13: otherwise no request could find and delete the bytes."""
    for length, first in ((len(SMALL), "PutObject data"), (None, "PutObject tail")):
        sandbox.calls.clear()
        upload = sandbox.store().create(UploadInfo(ID, length), record_now=False)
        upload.append(ScriptedBody(SMALL), held)
        recorded = sandbox.calls.when("end", "PutObject info")
        assert recorded < sandbox.calls.when("begin", first)
        sandbox.store().open(ID).terminate(held)
        sandbox.sweep_tombstones()


def test_finished_is_recorded_after_the_object_was_verified(sandbox: S3Sandbox) -> None:
    """D-05, D-06."""
    upload = create(sandbox, len(LARGE), LARGE)
    sandbox.calls.clear()
    upload.assemble(held)
    assert read_info(sandbox)["State"] == "receiving"
    upload.finish(held, may_defer=False)
    assert sandbox.calls.begun == [
        "CompleteMultipartUpload data",
        "HeadObject data",
        "PutObject info",
    ]
    assert (read_info(sandbox)["State"], read_info(sandbox)["Offset"]) == ("finished", len(LARGE))


def test_a_termination_removes_nothing_before_its_tombstone_is_written(sandbox: S3Sandbox) -> None:
    """D-09: an upload whose termination failed can be continued, and no late call damages it."""
    create(sandbox, len(LARGE), LARGE[: PART + 5])
    sandbox.calls.clear()
    with sandbox.calls.failing(S3_DOWN, "PutObject info"), pytest.raises(StoreUnavailable):
        sandbox.store().terminate(ID, held)
    assert set(sandbox.calls.begun) == {"GetObject info", "PutObject info"}
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE


def test_a_termination_that_failed_can_be_repeated(sandbox: S3Sandbox) -> None:
    """D-13: the tombstone names what is left, so nothing leaks."""
    create(sandbox, len(LARGE), LARGE[: PART + 5])
    for step in ("PutObject tail", "AbortMultipartUpload data", "GetObject data"):
        with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
            sandbox.store().terminate(ID, held)
        assert ID + ".info" in sandbox.list_keys()
        with pytest.raises(UploadNotFound):
            sandbox.store().open(ID)
    with pytest.raises(UploadNotFound):
        sandbox.store().terminate(ID, held)
    assert sandbox.list_multiparts() == []
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []


def test_a_tombstone_contains_nothing_of_the_client(sandbox: S3Sandbox) -> None:
    info = UploadInfo(ID, len(SMALL), metadata=Metadata((("filename", b"secret"),), "filename eA"))
    upload = sandbox.store().create(info, record_now=True)
    upload.append(ScriptedBody(SMALL[:4]), held)
    upload.terminate(held)
    assert sandbox.list_keys() == [ID + ".info", ID + ".part"]
    assert read_info(sandbox)["MetaData"] == {}
    assert read_info(sandbox)["RawMetadata"] is None
    assert sandbox.get(sandbox.keys.tail(ID)) == b""


# -- failures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_failed_part_loses_only_the_bytes_after_it(sandbox: S3Sandbox, failing: int) -> None:
    """D-01, D-02: parts after a gap do not count; the client sends the same bytes again."""
    upload = create(sandbox, len(LARGE))
    with sandbox.calls.failing(S3_DOWN, f"UploadPart {failing}"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(LARGE), held)
    again = reopen(sandbox)
    assert again.info.offset <= (failing - 1) * PART
    assert again.info.offset % PART == 0
    complete(again, LARGE)
    assert sandbox.data(ID) == LARGE


def test_parts_after_a_gap_do_not_count(sandbox: S3Sandbox) -> None:
    """D-02."""
    tiny = sandbox.store(limits=TINY).create(UploadInfo(ID, 95), record_now=True)
    tiny.append(ScriptedBody(SMALL * 2), held)
    multipart = str(read_info(sandbox)["Storage"]["MultipartUpload"])  # type: ignore[index]
    sandbox.admin.upload_part(
        Bucket=sandbox.bucket,
        Key=sandbox.keys.data(ID),
        UploadId=multipart,
        PartNumber=4,
        Body=SMALL,
    )
    assert reopen(sandbox).info.offset == 20


def test_an_acknowledged_tail_survives_the_failure_of_its_part(
    sandbox: S3Sandbox,
) -> None:
    """D-03, D-04."""
    create(sandbox, len(LARGE), LARGE[:5])
    with sandbox.calls.failing(S3_DOWN, "UploadPart 1"), pytest.raises(StoreUnavailable):
        reopen(sandbox).append(ScriptedBody(LARGE[5:]), held)
    assert reopen(sandbox).info.offset == 5
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE


@pytest.mark.parametrize(
    "step", ["CreateMultipartUpload data", "PutObject info", "UploadPart 1", "PutObject tail"]
)
def test_an_acknowledged_tail_survives_a_failure_before_the_first_part(
    sandbox: S3Sandbox, step: str
) -> None:
    """D-03, D-04, D-09."""
    create(sandbox, None, LARGE[:5])
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        reopen(sandbox).append(ScriptedBody(LARGE[5 : PART + 9]), held)
    upload = reopen(sandbox)
    assert upload.info.offset in ((PART,) if step == "PutObject tail" else (5,))
    upload.append(ScriptedBody(LARGE[upload.info.offset :]), held)
    upload.declare_length(len(LARGE), held)
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE
    # D-09: a record whose write was not answered may still be written and name its multipart
    # upload, so that is not aborted. The sweep aborts it once no record can name it.
    assert len(sandbox.list_multiparts()) == (1 if step == "PutObject info" else 0)


def test_a_failed_creation_leaves_only_a_multipart_upload_that_a_record_may_name(
    sandbox: S3Sandbox,
) -> None:
    """D-08, D-09, D-13: S3 may still write the record."""
    for step, multiparts in (("CreateMultipartUpload data", 0), ("PutObject info", 1)):
        with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
            create(sandbox, len(LARGE))
        assert sandbox.list_keys() == []
        assert len(sandbox.list_multiparts()) == multiparts


STEPS: dict[str, Callable[[Upload], object]] = {
    "GetObject tail": lambda upload: upload.append(ScriptedBody(LARGE[5:]), held),
    "UploadPart 1": lambda upload: upload.append(ScriptedBody(LARGE[5:]), held),
    "UploadPart 2": lambda upload: upload.append(ScriptedBody(LARGE[5:]), held),
    "PutObject tail": lambda upload: upload.append(ScriptedBody(LARGE[5:9]), held),
    "CreateMultipartUpload data": lambda upload: upload.append(ScriptedBody(LARGE[5:]), held),
    "PutObject info": lambda upload: upload.append(ScriptedBody(LARGE[5:]), held),
}


@pytest.mark.parametrize("budget", [0, 64 * KIB, 4 * PART])
@pytest.mark.parametrize("step", STEPS)
def test_memory_is_released_after_any_failure(sandbox: S3Sandbox, step: str, budget: int) -> None:
    is_deferred = step in ("CreateMultipartUpload data", "PutObject info")
    create(sandbox, None if is_deferred else len(LARGE), LARGE[:5])
    spool = Spool(budget)
    upload = reopen(sandbox, sandbox.store(spool=spool))
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        STEPS[step](upload)
    assert spool.memory.available == budget


def test_a_lost_lock_stops_an_append_before_its_next_write(sandbox: S3Sandbox) -> None:
    """D-10: nothing is written or deleted."""

    def lost() -> None:
        raise LockLost("another request holds it")

    upload = create(sandbox, len(LARGE), LARGE[:5])
    sandbox.calls.clear()
    with pytest.raises(LockLost):
        upload.append(ScriptedBody(LARGE[5:]), lost)
    assert not [call for call in sandbox.calls.begun if call.startswith(("Put", "Upload"))]


# -- finishing -------------------------------------------------------------------------------------


def complete_in_s3(sandbox: S3Sandbox) -> None:
    """Complete the upload without a record, as if the response to Complete had been lost."""
    key = sandbox.keys.data(ID)
    multipart = str(read_info(sandbox)["Storage"]["MultipartUpload"])  # type: ignore[index]
    listed = sandbox.admin.list_parts(Bucket=sandbox.bucket, Key=key, UploadId=multipart)
    parts: list[CompletedPartTypeDef] = [
        {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed["Parts"]
    ]
    sandbox.admin.complete_multipart_upload(
        Bucket=sandbox.bucket, Key=key, UploadId=multipart, MultipartUpload={"Parts": parts}
    )


def test_a_completion_whose_response_was_lost_is_found(sandbox: S3Sandbox) -> None:
    """D-05."""
    create(sandbox, len(LARGE), LARGE)
    complete_in_s3(sandbox)
    upload = reopen(sandbox)
    assert (upload.info.offset, upload.info.is_finished) == (len(LARGE), False)
    assert not upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert sandbox.store().open(ID).info.is_finished
    assert sandbox.data(ID) == LARGE


def test_a_concurrent_completion_is_not_an_error(sandbox: S3Sandbox) -> None:
    """D-05."""
    create(sandbox, len(LARGE), LARGE)
    upload = reopen(sandbox)
    complete_in_s3(sandbox)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert sandbox.data(ID) == LARGE


def test_an_object_of_another_size_is_not_the_upload(sandbox: S3Sandbox) -> None:
    """D-05."""
    create(sandbox, len(LARGE), LARGE)
    sandbox.admin.abort_multipart_upload(
        Bucket=sandbox.bucket,
        Key=sandbox.keys.data(ID),
        UploadId=sandbox.list_multiparts()[0],
    )
    sandbox.put(sandbox.keys.data(ID), b"something else")
    with pytest.raises(UploadGone):
        reopen(sandbox, sandbox.store(completion_timeout=0))


@pytest.mark.parametrize("received", [5, PART + 5, len(LARGE)])
def test_an_upload_whose_parts_were_deleted_is_gone(sandbox: S3Sandbox, received: int) -> None:
    """D-05, D-07: NoSuchUpload does not mean that the upload is complete."""
    store = sandbox.store(completion_timeout=0)
    create(sandbox, len(LARGE), LARGE[:received])
    upload = reopen(sandbox, store)
    sandbox.admin.abort_multipart_upload(
        Bucket=sandbox.bucket,
        Key=sandbox.keys.data(ID),
        UploadId=sandbox.list_multiparts()[0],
    )
    with pytest.raises(UploadGone):
        reopen(sandbox, store)
    with pytest.raises(UploadGone):
        complete(upload, LARGE)
    sandbox.store().open(ID).terminate(held)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []


def test_an_upload_that_another_process_completed_is_not_gone(sandbox: S3Sandbox) -> None:
    """D-05: a request with an outdated state gets an error that it can retry."""
    stale = create(sandbox, len(LARGE), LARGE[:PART])
    complete(reopen(sandbox), LARGE)
    with pytest.raises(StoreUnavailable):
        stale.append(ScriptedBody(LARGE[PART:]), held)
    assert reopen(sandbox).info.is_full


def test_a_deleted_object_is_gone(sandbox: S3Sandbox) -> None:
    complete(create(sandbox, len(SMALL)), SMALL)
    content = reopen(sandbox).content()
    sandbox.delete(sandbox.keys.data(ID))
    with pytest.raises(UploadGone):
        content.read(0, 1)
    with pytest.raises(UploadGone):
        reopen(sandbox).content()
    assert b"".join(content.read(3, 3)) == b""


def test_a_replaced_object_is_not_downloaded(sandbox: S3Sandbox) -> None:
    complete(create(sandbox, len(SMALL)), SMALL)
    content = reopen(sandbox).content()
    sandbox.put(sandbox.keys.data(ID), b"9876543210")
    with pytest.raises(UploadGone):
        content.read(0, 10)


# -- one part --------------------------------------------------------------------------------------


def test_a_record_in_state_finishing_without_its_object_is_an_empty_upload(
    sandbox: S3Sandbox,
) -> None:
    """D-13: the process died between the record and the object."""
    upload = sandbox.store().create(UploadInfo(ID, len(SMALL)), record_now=False)
    with sandbox.calls.failing(S3_DOWN, "PutObject data"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(SMALL), held)
    assert read_info(sandbox)["State"] == "finishing"
    again = reopen(sandbox)
    assert (again.info.offset, again.info.state) == (0, State.FINISHING)
    again.append(ScriptedBody(SMALL[:4]), held)
    assert reopen(sandbox).info.offset == 4
    complete(reopen(sandbox), SMALL)
    assert sandbox.data(ID) == SMALL
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_a_record_in_state_finishing_with_its_object_is_a_full_upload(sandbox: S3Sandbox) -> None:
    """D-13: the write of the finished record was deferred, or the process died before it."""
    sandbox.store().create(UploadInfo(ID, len(SMALL)), record_now=False).append(
        ScriptedBody(SMALL), held
    )
    upload = reopen(sandbox)
    assert (upload.info.offset, upload.info.state) == (10, State.FINISHING)
    assert not upload.assemble(held)
    upload.finish(held, may_defer=True)
    assert read_info(sandbox)["State"] == "finishing"
    upload.finish(held, may_defer=False)
    assert read_info(sandbox)["State"] == "finished"


def test_a_record_in_state_finishing_with_another_object_is_an_empty_upload(
    sandbox: S3Sandbox,
) -> None:
    """D-05."""
    upload = sandbox.store().create(UploadInfo(ID, len(SMALL)), record_now=False)
    with sandbox.calls.failing(S3_DOWN, "PutObject data"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(SMALL), held)
    sandbox.put(sandbox.keys.data(ID), b"too short")
    assert reopen(sandbox).info.offset == 0


@pytest.mark.parametrize("is_declared", [True, False])
def test_a_full_upload_is_found_if_the_process_dies_after_the_hook(
    sandbox: S3Sandbox, *, is_declared: bool
) -> None:
    """D-06: the sweep must not take it for an empty upload either."""
    upload = create(sandbox, None if is_declared else len(SMALL))
    if is_declared:
        upload.declare_length(len(SMALL), held)
    upload.append(ScriptedBody(SMALL), held)
    assert upload.assemble(held)
    # on_finish has returned, and the process dies before it writes the record.
    again = reopen(sandbox)
    assert again.info.is_full
    assert not again.assemble(held)


@pytest.mark.parametrize("step", ["UploadPart", "AbortMultipartUpload", "PutObject info"])
def test_an_upload_with_a_multipart_upload_can_have_length_zero(
    sandbox: S3Sandbox, step: str
) -> None:
    """S3 does not complete a multipart upload without parts."""
    create(sandbox, None)
    with sandbox.calls.failing(S3_DOWN, "UploadPart"), pytest.raises(StoreUnavailable):
        reopen(sandbox).append(ScriptedBody(LARGE), held)
    assert len(sandbox.list_multiparts()) == 1
    upload = reopen(sandbox)
    assert upload.info.offset == 0
    upload.declare_length(0, held)
    with sandbox.calls.failing(S3_DOWN, step):
        if step == "UploadPart":
            complete(upload)
        else:
            with pytest.raises(StoreUnavailable):
                complete(upload)
    if not reopen(sandbox).info.is_finished:
        complete(reopen(sandbox))
    assert sandbox.data(ID) == b""
    assert read_info(sandbox)["State"] == "finished"
    assert len(sandbox.list_multiparts()) == (1 if step == "AbortMultipartUpload" else 0)


def test_the_spool_is_told_how_many_bytes_each_part_will_get(
    sandbox: S3Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list[int | None]()
    part = Spool.part

    def record_size(spool: Spool, capacity: int, size: int | None, *rest: Any, **more: Any) -> Any:
        expected.append(size)
        return part(spool, capacity, size, *rest, **more)

    monkeypatch.setattr(Spool, "part", record_size)
    create(sandbox, 3 * PART, LARGE[:7])
    reopen(sandbox).append(ScriptedBody(LARGE[7 : 2 * PART]), held)
    assert expected == [7, 2 * PART, PART, 0]


@pytest.mark.parametrize("step", ["PutObject data", "DeleteObject tail", "PutObject info"])
def test_a_tail_survives_until_its_object_is_confirmed(sandbox: S3Sandbox, step: str) -> None:
    """D-04."""
    create(sandbox, len(SMALL), SMALL[:4])
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        complete(reopen(sandbox), SMALL)
    again = reopen(sandbox)
    assert again.info.offset in (4, 10)
    complete(again, SMALL)
    assert sandbox.data(ID) == SMALL
    assert sandbox.list_keys() == [ID, ID + ".info"]


# -- late writes -----------------------------------------------------------------------------------


def test_a_late_tail_is_refused(sandbox: S3Sandbox) -> None:
    """D-11: from a process that does not know that it lost its lock."""
    create(sandbox, len(SMALL), SMALL[:3])
    late = reopen(sandbox)
    reopen(sandbox).append(ScriptedBody(SMALL[3:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert reopen(sandbox).info.offset == 6
    complete(reopen(sandbox), SMALL)
    assert sandbox.data(ID) == SMALL


def test_a_late_first_tail_is_refused(sandbox: S3Sandbox) -> None:
    """D-11."""
    create(sandbox, len(SMALL))
    late = reopen(sandbox)
    reopen(sandbox).append(ScriptedBody(SMALL[:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert reopen(sandbox).info.offset == 6


def test_a_late_tail_of_a_finished_upload_is_refused(sandbox: S3Sandbox) -> None:
    """D-11."""
    create(sandbox, len(LARGE), LARGE[:5])
    late = reopen(sandbox)
    complete(reopen(sandbox), LARGE)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_a_late_record_is_refused(sandbox: S3Sandbox) -> None:
    """D-11."""
    create(sandbox, None)
    late = reopen(sandbox)
    reopen(sandbox).declare_length(10, held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    assert reopen(sandbox).info.length == 10
    assert late.info.length is None


def test_a_late_record_of_a_terminated_upload_is_refused(sandbox: S3Sandbox) -> None:
    """D-11."""
    create(sandbox, None)
    late = reopen(sandbox)
    reopen(sandbox).terminate(held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == []


def test_a_late_part_has_the_same_bytes(sandbox: S3Sandbox) -> None:
    """D-01."""
    create(sandbox, len(LARGE), LARGE[:5])
    late = reopen(sandbox)
    reopen(sandbox).append(ScriptedBody(LARGE[5:]), held)
    late.append(ScriptedBody(LARGE[5 : PART + 1]), held)
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE


def test_a_late_part_of_a_finished_upload_is_refused(sandbox: S3Sandbox) -> None:
    create(sandbox, len(LARGE))
    late = reopen(sandbox)
    complete(reopen(sandbox), LARGE)
    with pytest.raises(StoreUnavailable):
        late.append(ScriptedBody(b"x" * len(LARGE)), held)
    assert sandbox.data(ID) == LARGE


# -- the hook --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "at_creation"),
    [
        pytest.param(SMALL, True, id="small-POST"),
        pytest.param(SMALL, False, id="small-PATCH"),
        pytest.param(LARGE, True, id="large-POST"),
        pytest.param(LARGE, False, id="large-PATCH"),
    ],
)
def test_a_failed_on_finish_is_called_again_by_the_next_head(
    sandbox: S3Sandbox, *, data: bytes, at_creation: bool
) -> None:
    """D-06: the client need not send the bytes again."""
    notified: list[FinishedUpload] = []

    def on_finish(upload: FinishedUpload) -> None:
        notified.append(upload)
        if len(notified) == 1:
            raise ValueError("not now")

    client = UploadClient(sandbox, on_finish=on_finish)
    if at_creation:
        with pytest.raises(OnFinishFailed):
            client.create(len(data), data)
        id = UploadId("id0")
    else:
        id = client.create(len(data)).id
        with pytest.raises(OnFinishFailed):
            client.append(id, data)
    info = UploadClient(sandbox, on_finish=on_finish).inspect(id)
    assert (info.offset, info.is_finished) == (len(data), True)
    assert [upload.id for upload in notified] == [id, id]
    assert notified[1].storage == {
        "Type": "s3store",
        "Bucket": sandbox.bucket,
        "Key": sandbox.keys.data(id),
    }


# -- the bucket ------------------------------------------------------------------------------------


def test_a_finished_upload_has_only_its_data_and_info_objects(sandbox: S3Sandbox) -> None:
    for length, data in ((len(SMALL), SMALL), (len(LARGE), LARGE), (0, b"")):
        complete(create(sandbox, length, data[:5]), data)
        assert sandbox.list_keys() == [ID, ID + ".info"]
        assert sandbox.list_multiparts() == []
        sandbox.store().open(ID).terminate(held)
        sandbox.sweep_tombstones()


def test_data_and_metadata_can_have_different_prefixes(sandbox: S3Sandbox) -> None:
    keys = Keys(sandbox.prefix + "data", sandbox.prefix + "meta")
    store = S3Store(sandbox.client, sandbox.bucket, keys=keys, limits=LIMITS)
    upload = store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    upload.append(ScriptedBody(SMALL[:4]), held)
    assert sandbox.list_keys() == [f"meta/{ID}.info", f"meta/{ID}.part"]
    complete(reopen(sandbox, store), SMALL)
    assert sandbox.list_keys() == [f"data/{ID}", f"meta/{ID}.info"]
    assert sandbox.get(keys.data(ID)) == SMALL
    assert reopen(sandbox, store).storage["Key"] == keys.data(ID)


def test_an_upload_is_not_found_while_the_object_prefix_is_another(sandbox: S3Sandbox) -> None:
    """D-12: a record cannot show that a key outside the prefix ever was this server's."""
    before = Keys(sandbox.prefix + "old", sandbox.prefix + "meta")
    after = Keys(sandbox.prefix + "new", sandbox.prefix + "meta")
    store = S3Store(sandbox.client, sandbox.bucket, keys=before, limits=LIMITS)
    store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    with pytest.raises(UploadNotFound):
        S3Store(sandbox.client, sandbox.bucket, keys=after, limits=LIMITS).open(ID)
    complete(reopen(sandbox, store), SMALL)
    assert sandbox.list_keys() == [f"meta/{ID}.info", f"old/{ID}"]


FOREIGN_KEYS = [
    "private/ledger.csv",
    "files",
    "files/",
    "files/other.info",
    "files/other.part",
    "files/other.part.0.7",
    "files/locks/a",
    "files/../private/ledger.csv",
]


@pytest.mark.parametrize("key", FOREIGN_KEYS)
def test_a_record_that_names_a_foreign_key_is_no_upload(sandbox: S3Sandbox, key: str) -> None:
    """D-12: the record is another program's, and nothing is read, copied or deleted."""
    keys = Keys(sandbox.prefix + "files")
    store = S3Store(sandbox.client, sandbox.bucket, keys=keys, limits=LIMITS)
    storage = {"Type": "s3store", "Bucket": sandbox.bucket, "Key": sandbox.prefix + key}
    fields = {"ID": ID, "Size": 7, "Offset": 7, "State": "finished", "IsPartial": True}
    sandbox.put(keys.info(ID), json.dumps({**fields, "Storage": storage}).encode())
    sandbox.put(sandbox.prefix + "private/ledger.csv", b"ledger!")
    client = UploadClient(sandbox, store=store)
    sandbox.calls.clear()
    for act in (
        lambda: client.inspect(ID),
        lambda: client.append(ID, b"x", offset=7),
        lambda: client.download(ID),
        lambda: client.terminate(ID),
    ):
        with pytest.raises(UploadNotFound):
            act()
    final = store.create(UploadInfo(UploadId("f"), None, concat=Final((ID,), "")), record_now=False)
    with pytest.raises(InvalidPartial):
        final.load_offset()
    assert set(sandbox.calls.begun) == {"GetObject info"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"ID":"another"}',
        b'{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09+UploadId"}',
    ],
)
def test_a_record_that_names_another_id_is_not_found(sandbox: S3Sandbox, content: bytes) -> None:
    """D-12: no request reaches an object through another upload's id."""
    sandbox.put(sandbox.keys.info(ID), content)
    sandbox.put(sandbox.keys.data(ID), b"precious")
    with pytest.raises(UploadNotFound):
        sandbox.store().open(ID)
    with pytest.raises(UploadNotFound):
        UploadClient(sandbox).terminate(ID)
    assert sandbox.data(ID) == b"precious"


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"[]", b"\xff"])
def test_an_invalid_info_object_is_not_deleted(sandbox: S3Sandbox, content: bytes) -> None:
    """D-12."""
    sandbox.put(sandbox.keys.info(ID), content)
    with pytest.raises((UploadNotFound, StoreUnavailable)):
        UploadClient(sandbox).terminate(ID)
    assert sandbox.get(sandbox.keys.info(ID)) == content


def test_an_object_without_a_record_is_not_an_upload(sandbox: S3Sandbox) -> None:
    """D-12."""
    sandbox.put(sandbox.keys.data(ID), b"precious")
    for act in (
        UploadClient(sandbox).inspect,
        UploadClient(sandbox).terminate,
        UploadClient(sandbox).download,
    ):
        with pytest.raises(UploadNotFound):
            act(ID)
    assert sandbox.list_keys() == [ID]
