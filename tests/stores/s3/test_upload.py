"""The rules that keep bytes safe in S3, against what may happen between any two calls."""

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
    LockLost,
    OnFinishFailed,
    StoreUnavailable,
    Unavailable,
    UploadGone,
    UploadNotFound,
)
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.interfaces import Upload
from tus_wsgi.domain.model import KIB, State, UploadId, UploadInfo
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
    """The lock is ours."""


def create(sandbox: S3Sandbox, length: int | None, data: bytes = b"") -> Upload:
    """An upload with some bytes in it, by a process that has ended since."""
    upload = sandbox.store().create(UploadInfo(ID, length), record_now=True)
    if data:
        upload.append(ScriptedBody(data), held)
    return upload


def reopen(sandbox: S3Sandbox, store: S3Store | None = None) -> Upload:
    """The upload, as the next process finds it."""
    upload = (store or sandbox.store()).open(ID)
    upload.load_offset()
    return upload


def complete(upload: Upload, data: bytes = b"") -> None:
    """Bring what is missing of the data, and finish."""
    upload.append(ScriptedBody(data[upload.info.offset :]), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)


def read_info(sandbox: S3Sandbox) -> dict[str, object]:
    fields = json.loads(sandbox.get(sandbox.keys.info(ID)))
    assert isinstance(fields, dict)
    return fields


# -- the order of calls ----------------------------------------------------------------------------


def test_a_tail_is_replaced_after_the_part_that_swallowed_it_is_confirmed(
    sandbox: S3Sandbox,
) -> None:
    create(sandbox, len(LARGE), LARGE[:5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    upload.append(ScriptedBody(LARGE[5 : PART + 5]), held)
    assert sandbox.calls.when("end", "UploadPart 1") < sandbox.calls.when("begin", "PutObject tail")


def test_a_tail_is_removed_after_the_object_that_swallowed_it_is_confirmed(
    sandbox: S3Sandbox,
) -> None:
    create(sandbox, len(SMALL), SMALL[:5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    complete(upload, SMALL)
    stored = sandbox.calls.when("end", "PutObject data")
    assert stored < sandbox.calls.when("begin", "DeleteObject tail")
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_a_tail_is_removed_after_the_last_part_is_confirmed(sandbox: S3Sandbox) -> None:
    create(sandbox, len(LARGE), LARGE[: 2 * PART + 5])
    upload = reopen(sandbox)
    sandbox.calls.clear()
    complete(upload, LARGE)
    removed = sandbox.calls.when("begin", "DeleteObject tail")
    assert sandbox.calls.when("end", "UploadPart 3") < removed
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_an_upload_is_recorded_before_any_byte_of_it_is_stored(sandbox: S3Sandbox) -> None:
    """What nobody can find nobody can remove."""
    for length, first in ((len(SMALL), "PutObject data"), (None, "PutObject tail")):
        sandbox.calls.clear()
        upload = sandbox.store().create(UploadInfo(ID, length), record_now=False)
        upload.append(ScriptedBody(SMALL), held)
        recorded = sandbox.calls.when("end", "PutObject info")
        assert recorded < sandbox.calls.when("begin", first)
        sandbox.store().open(ID).terminate(held)


def test_finished_is_recorded_after_the_object_was_looked_at(sandbox: S3Sandbox) -> None:
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


def test_terminating_aborts_first_and_removes_the_record_last(sandbox: S3Sandbox) -> None:
    """So whatever fails can be tried again, and nothing is left that nobody knows of."""
    create(sandbox, len(LARGE), LARGE[: PART + 5])
    steps = ["AbortMultipartUpload data", "DeleteObject tail", "DeleteObject data"]
    for step in [*steps, "DeleteObject info"]:
        with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
            sandbox.store().open(ID).terminate(held)
        assert ID + ".info" in sandbox.list_keys()
    sandbox.store().open(ID).terminate(held)
    assert sandbox.list_keys() == sandbox.list_multiparts() == []


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_part_that_fails_costs_what_is_behind_it_and_nothing_else(
    sandbox: S3Sandbox, failing: int
) -> None:
    """Parts behind a gap count for nothing; they hold the right bytes, and are sent again."""
    upload = create(sandbox, len(LARGE))
    with sandbox.calls.failing(S3_DOWN, f"UploadPart {failing}"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(LARGE), held)
    again = reopen(sandbox)
    assert again.info.offset <= (failing - 1) * PART
    assert again.info.offset % PART == 0
    complete(again, LARGE)
    assert sandbox.data(ID) == LARGE


def test_a_gap_ends_the_run(sandbox: S3Sandbox) -> None:
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


def test_an_acknowledged_tail_survives_the_failure_of_the_part_that_swallows_it(
    sandbox: S3Sandbox,
) -> None:
    create(sandbox, len(LARGE), LARGE[:5])
    with sandbox.calls.failing(S3_DOWN, "UploadPart 1"), pytest.raises(StoreUnavailable):
        reopen(sandbox).append(ScriptedBody(LARGE[5:]), held)
    assert reopen(sandbox).info.offset == 5
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE


@pytest.mark.parametrize(
    "step", ["CreateMultipartUpload data", "PutObject info", "UploadPart 1", "PutObject tail"]
)
def test_an_acknowledged_tail_survives_a_failure_on_the_way_to_the_first_part(
    sandbox: S3Sandbox, step: str
) -> None:
    create(sandbox, None, LARGE[:5])
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        reopen(sandbox).append(ScriptedBody(LARGE[5 : PART + 9]), held)
    upload = reopen(sandbox)
    assert upload.info.offset in ((PART,) if step == "PutObject tail" else (5,))
    upload.append(ScriptedBody(LARGE[upload.info.offset :]), held)
    upload.declare_length(len(LARGE), held)
    complete(reopen(sandbox), LARGE)
    assert sandbox.data(ID) == LARGE
    # A record whose write met silence may yet arrive and name its multipart upload, so that one is
    # not aborted: a sweep removes it once no record can name it any more.
    assert len(sandbox.list_multiparts()) == (1 if step == "PutObject info" else 0)


def test_a_creation_that_fails_leaves_nothing(sandbox: S3Sandbox) -> None:
    for step in ("CreateMultipartUpload data", "PutObject info"):
        with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
            create(sandbox, len(LARGE))
        assert sandbox.list_keys() == sandbox.list_multiparts() == []


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
def test_memory_is_given_back_whatever_fails(sandbox: S3Sandbox, step: str, budget: int) -> None:
    may_defer = step in ("CreateMultipartUpload data", "PutObject info")
    create(sandbox, None if may_defer else len(LARGE), LARGE[:5])
    spool = Spool(budget)
    upload = reopen(sandbox, sandbox.store(spool=spool))
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        STEPS[step](upload)
    assert spool.memory.available == budget


def test_a_lost_lock_ends_an_append_between_any_two_writes(sandbox: S3Sandbox) -> None:
    def lost() -> None:
        raise LockLost("a newcomer has it")

    upload = create(sandbox, len(LARGE), LARGE[:5])
    sandbox.calls.clear()
    with pytest.raises(LockLost):
        upload.append(ScriptedBody(LARGE[5:]), lost)
    assert not [call for call in sandbox.calls.begun if call.startswith(("Put", "Upload"))]


# -- the end ---------------------------------------------------------------------------------------


def complete_in_s3(sandbox: S3Sandbox) -> None:
    """What S3 did when Complete's answer was lost, or its caller died."""
    key = sandbox.keys.data(ID)
    multipart = str(read_info(sandbox)["Storage"]["MultipartUpload"])  # type: ignore[index]
    listed = sandbox.admin.list_parts(Bucket=sandbox.bucket, Key=key, UploadId=multipart)
    parts: list[CompletedPartTypeDef] = [
        {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed["Parts"]
    ]
    sandbox.admin.complete_multipart_upload(
        Bucket=sandbox.bucket, Key=key, UploadId=multipart, MultipartUpload={"Parts": parts}
    )


def test_an_object_whose_making_nobody_heard_of_is_found(sandbox: S3Sandbox) -> None:
    create(sandbox, len(LARGE), LARGE)
    complete_in_s3(sandbox)
    upload = reopen(sandbox)
    assert (upload.info.offset, upload.info.is_finished) == (len(LARGE), False)
    assert not upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert sandbox.store().open(ID).info.is_finished
    assert sandbox.data(ID) == LARGE


def test_an_object_that_is_made_while_somebody_else_makes_it_is_made_once(
    sandbox: S3Sandbox,
) -> None:
    create(sandbox, len(LARGE), LARGE)
    upload = reopen(sandbox)
    complete_in_s3(sandbox)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert sandbox.data(ID) == LARGE


def test_an_object_of_another_size_is_not_taken_for_the_upload_s(sandbox: S3Sandbox) -> None:
    create(sandbox, len(LARGE), LARGE)
    sandbox.admin.abort_multipart_upload(
        Bucket=sandbox.bucket,
        Key=sandbox.keys.data(ID),
        UploadId=sandbox.list_multiparts()[0],
    )
    sandbox.put(sandbox.keys.data(ID), b"something else")
    with pytest.raises(UploadGone):
        reopen(sandbox)


@pytest.mark.parametrize("came", [5, PART + 5, len(LARGE)])
def test_an_upload_whose_parts_were_removed_is_gone(sandbox: S3Sandbox, came: int) -> None:
    """And not complete, as it is for who takes NoSuchUpload for that."""
    upload = create(sandbox, len(LARGE), LARGE[:came])
    sandbox.admin.abort_multipart_upload(
        Bucket=sandbox.bucket,
        Key=sandbox.keys.data(ID),
        UploadId=sandbox.list_multiparts()[0],
    )
    with pytest.raises(UploadGone):
        reopen(sandbox)
    with pytest.raises(UploadGone):
        complete(upload, LARGE)
    sandbox.store().open(ID).terminate(held)
    assert sandbox.list_keys() == []


def test_parts_that_somebody_else_made_the_object_of_are_not_gone(sandbox: S3Sandbox) -> None:
    """Who goes on from what is known no more is told to look again."""
    stale = create(sandbox, len(LARGE), LARGE[:PART])
    complete(reopen(sandbox), LARGE)
    with pytest.raises(StoreUnavailable):
        stale.append(ScriptedBody(LARGE[PART:]), held)
    assert reopen(sandbox).info.is_full


def test_an_object_that_was_removed_is_gone(sandbox: S3Sandbox) -> None:
    complete(create(sandbox, len(SMALL)), SMALL)
    content = reopen(sandbox).content()
    sandbox.delete(sandbox.keys.data(ID))
    with pytest.raises(UploadGone):
        content.read(0, 1)
    with pytest.raises(UploadGone):
        reopen(sandbox).content()
    assert b"".join(content.read(3, 3)) == b""


def test_an_object_that_was_replaced_is_not_sent_for_another(sandbox: S3Sandbox) -> None:
    complete(create(sandbox, len(SMALL)), SMALL)
    content = reopen(sandbox).content()
    sandbox.put(sandbox.keys.data(ID), b"9876543210")
    with pytest.raises(UploadGone):
        content.read(0, 10)


# -- one part --------------------------------------------------------------------------------------


def test_a_record_without_its_object_is_an_empty_upload(sandbox: S3Sandbox) -> None:
    """Who wrote the record died before the object."""
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


def test_a_record_with_its_object_is_a_full_upload(sandbox: S3Sandbox) -> None:
    """Who wrote both said so lazily, or died before it could say more."""
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


def test_a_record_with_another_object_is_an_empty_upload(sandbox: S3Sandbox) -> None:
    upload = sandbox.store().create(UploadInfo(ID, len(SMALL)), record_now=False)
    with sandbox.calls.failing(S3_DOWN, "PutObject data"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(SMALL), held)
    sandbox.put(sandbox.keys.data(ID), b"too short")
    assert reopen(sandbox).info.offset == 0


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_the_application_was_told_of_is_found_whatever_happens_next(
    sandbox: S3Sandbox, *, is_declared: bool
) -> None:
    """Not even a sweep may take it for an upload that nobody has sent anything of."""
    upload = create(sandbox, None if is_declared else len(SMALL))
    if is_declared:
        upload.declare_length(len(SMALL), held)
    upload.append(ScriptedBody(SMALL), held)
    assert upload.assemble(held)
    # The hook has run, and the process dies before it writes anything.
    again = reopen(sandbox)
    assert again.info.is_full
    assert not again.assemble(held)


@pytest.mark.parametrize("step", ["UploadPart", "AbortMultipartUpload", "PutObject info"])
def test_an_upload_of_parts_may_turn_out_to_be_empty(sandbox: S3Sandbox, step: str) -> None:
    """S3 completes no multipart upload without parts."""
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
    assert len(sandbox.list_multiparts()) == (step == "AbortMultipartUpload")


def test_each_part_expects_what_is_left_of_the_body(
    sandbox: S3Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list[int | None]()
    part = Spool.part

    def noted(spool: Spool, capacity: int, size: int | None, *rest: Any, **more: Any) -> Any:
        expected.append(size)
        return part(spool, capacity, size, *rest, **more)

    monkeypatch.setattr(Spool, "part", noted)
    create(sandbox, 3 * PART, LARGE[:7])
    reopen(sandbox).append(ScriptedBody(LARGE[7 : 2 * PART]), held)
    assert expected == [7, 2 * PART, PART, 0]


@pytest.mark.parametrize("step", ["PutObject data", "DeleteObject tail", "PutObject info"])
def test_a_tail_survives_until_the_object_that_swallowed_it_is_recorded(
    sandbox: S3Sandbox, step: str
) -> None:
    create(sandbox, len(SMALL), SMALL[:4])
    with sandbox.calls.failing(S3_DOWN, step), pytest.raises(StoreUnavailable):
        complete(reopen(sandbox), SMALL)
    again = reopen(sandbox)
    assert again.info.offset in (4, 10)
    complete(again, SMALL)
    assert sandbox.data(ID) == SMALL
    assert sandbox.list_keys() == [ID, ID + ".info"]


# -- somebody who comes late -----------------------------------------------------------------------


def test_a_late_tail_is_refused(sandbox: S3Sandbox) -> None:
    """By a process that lost its lock and did not notice."""
    create(sandbox, len(SMALL), SMALL[:3])
    late = reopen(sandbox)
    reopen(sandbox).append(ScriptedBody(SMALL[3:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert reopen(sandbox).info.offset == 6
    complete(reopen(sandbox), SMALL)
    assert sandbox.data(ID) == SMALL


def test_a_late_first_tail_is_refused(sandbox: S3Sandbox) -> None:
    create(sandbox, len(SMALL))
    late = reopen(sandbox)
    reopen(sandbox).append(ScriptedBody(SMALL[:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert reopen(sandbox).info.offset == 6


def test_a_late_tail_of_a_finished_upload_is_refused(sandbox: S3Sandbox) -> None:
    create(sandbox, len(LARGE), LARGE[:5])
    late = reopen(sandbox)
    complete(reopen(sandbox), LARGE)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert sandbox.list_keys() == [ID, ID + ".info"]


def test_a_late_record_is_refused(sandbox: S3Sandbox) -> None:
    create(sandbox, None)
    late = reopen(sandbox)
    reopen(sandbox).declare_length(10, held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    assert reopen(sandbox).info.length == 10
    assert late.info.length is None


def test_a_late_record_of_a_terminated_upload_is_refused(sandbox: S3Sandbox) -> None:
    create(sandbox, None)
    late = reopen(sandbox)
    reopen(sandbox).terminate(held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    assert sandbox.list_keys() == []


def test_a_late_part_holds_the_same_bytes(sandbox: S3Sandbox) -> None:
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
def test_a_hook_that_refused_is_asked_again_at_the_next_look(
    sandbox: S3Sandbox, *, data: bytes, at_creation: bool
) -> None:
    """The bytes are there: nobody should have to send them again."""
    asked: list[FinishedUpload] = []

    def on_finish(upload: FinishedUpload) -> None:
        asked.append(upload)
        if len(asked) == 1:
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
    assert [upload.id for upload in asked] == [id, id]
    assert asked[1].storage == {
        "Type": "s3store",
        "Bucket": sandbox.bucket,
        "Key": sandbox.keys.data(id),
    }


# -- the bucket ------------------------------------------------------------------------------------


def test_nothing_but_the_object_and_its_info_stay(sandbox: S3Sandbox) -> None:
    for length, data in ((len(SMALL), SMALL), (len(LARGE), LARGE), (0, b"")):
        complete(create(sandbox, length, data[:5]), data)
        assert sandbox.list_keys() == [ID, ID + ".info"]
        assert sandbox.list_multiparts() == []
        sandbox.store().open(ID).terminate(held)


def test_the_two_kinds_of_objects_may_have_prefixes_of_their_own(sandbox: S3Sandbox) -> None:
    keys = Keys(sandbox.prefix + "data", sandbox.prefix + "meta")
    store = S3Store(sandbox.client, sandbox.bucket, keys=keys, limits=LIMITS)
    upload = store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    upload.append(ScriptedBody(SMALL[:4]), held)
    assert sandbox.list_keys() == [f"meta/{ID}.info", f"meta/{ID}.part"]
    complete(reopen(sandbox, store), SMALL)
    assert sandbox.list_keys() == [f"data/{ID}", f"meta/{ID}.info"]
    assert sandbox.get(keys.data(ID)) == SMALL
    assert reopen(sandbox, store).storage["Key"] == keys.data(ID)


def test_an_upload_stays_where_it_is_when_the_prefix_changes(sandbox: S3Sandbox) -> None:
    """The record says where the object is."""
    before = Keys(sandbox.prefix + "old", sandbox.prefix + "meta")
    after = Keys(sandbox.prefix + "new", sandbox.prefix + "meta")
    store = S3Store(sandbox.client, sandbox.bucket, keys=before, limits=LIMITS)
    store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    complete(
        reopen(sandbox, S3Store(sandbox.client, sandbox.bucket, keys=after, limits=LIMITS)), SMALL
    )
    assert sandbox.list_keys() == [f"meta/{ID}.info", f"old/{ID}"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"ID":"another"}',
        b'{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09+UploadId"}',
    ],
)
def test_an_info_that_names_another_id_is_nobody_s(sandbox: S3Sandbox, content: bytes) -> None:
    """So nobody reaches an object through a name that is not its upload's."""
    sandbox.put(sandbox.keys.info(ID), content)
    sandbox.put(sandbox.keys.data(ID), b"precious")
    with pytest.raises(UploadNotFound):
        sandbox.store().open(ID)
    with pytest.raises(UploadNotFound):
        UploadClient(sandbox).terminate(ID)
    assert sandbox.data(ID) == b"precious"


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"[]", b"\xff"])
def test_what_is_no_info_is_nobody_s_and_stays(sandbox: S3Sandbox, content: bytes) -> None:
    sandbox.put(sandbox.keys.info(ID), content)
    with pytest.raises((UploadNotFound, StoreUnavailable)):
        UploadClient(sandbox).terminate(ID)
    assert sandbox.get(sandbox.keys.info(ID)) == content


def test_an_object_without_an_info_is_no_upload(sandbox: S3Sandbox) -> None:
    sandbox.put(sandbox.keys.data(ID), b"precious")
    for act in (
        UploadClient(sandbox).inspect,
        UploadClient(sandbox).terminate,
        UploadClient(sandbox).download,
    ):
        with pytest.raises(UploadNotFound):
            act(ID)
    assert sandbox.list_keys() == [ID]
