"""The rules that keep bytes safe in S3, against what may happen between any two calls."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.bodies import ScriptedBody
from tests.harness.stores import LIMITS, PART, TINY, Place
from tests.stores.s3.service import Desk
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
DOWN = EndpointConnectionError(endpoint_url="http://nowhere")


def held() -> None:
    """The lock is ours."""


def begin(place: Place, length: int | None, data: bytes = b"") -> Upload:
    """An upload with some bytes in it, by a process that has ended since."""
    upload = place.store().create(UploadInfo(ID, length), record_now=True)
    if data:
        upload.append(ScriptedBody(data), held)
    return upload


def found(place: Place, store: S3Store | None = None) -> Upload:
    """The upload, as the next process finds it."""
    upload = (store or place.store()).open(ID)
    upload.load_offset()
    return upload


def end(upload: Upload, data: bytes = b"") -> None:
    """Bring what is missing of the data, and finish."""
    upload.append(ScriptedBody(data[upload.info.offset :]), held)
    upload.assemble(held)
    upload.finish(held, may_defer=False)


def info_of(place: Place) -> dict[str, object]:
    fields = json.loads(place.get(place.keys.info(ID)))
    assert isinstance(fields, dict)
    return fields


# -- the order of calls ----------------------------------------------------------------------------


def test_a_tail_is_replaced_after_the_part_that_swallowed_it_is_confirmed(place: Place) -> None:
    begin(place, len(LARGE), LARGE[:5])
    upload = found(place)
    place.calls.clear()
    upload.append(ScriptedBody(LARGE[5 : PART + 5]), held)
    assert place.calls.when("end", "UploadPart 1") < place.calls.when("begin", "PutObject tail")


def test_a_tail_is_removed_after_the_object_that_swallowed_it_is_confirmed(place: Place) -> None:
    begin(place, len(SMALL), SMALL[:5])
    upload = found(place)
    place.calls.clear()
    end(upload, SMALL)
    stored = place.calls.when("end", "PutObject data")
    assert stored < place.calls.when("begin", "DeleteObject tail")
    assert place.names() == [ID, ID + ".info"]


def test_a_tail_is_removed_after_the_last_part_is_confirmed(place: Place) -> None:
    begin(place, len(LARGE), LARGE[: 2 * PART + 5])
    upload = found(place)
    place.calls.clear()
    end(upload, LARGE)
    removed = place.calls.when("begin", "DeleteObject tail")
    assert place.calls.when("end", "UploadPart 3") < removed
    assert place.names() == [ID, ID + ".info"]


def test_an_upload_is_recorded_before_any_byte_of_it_is_stored(place: Place) -> None:
    """What nobody can find nobody can remove."""
    for length, first in ((len(SMALL), "PutObject data"), (None, "PutObject tail")):
        place.calls.clear()
        upload = place.store().create(UploadInfo(ID, length), record_now=False)
        upload.append(ScriptedBody(SMALL), held)
        recorded = place.calls.when("end", "PutObject info")
        assert recorded < place.calls.when("begin", first)
        place.store().open(ID).terminate(held)


def test_finished_is_recorded_after_the_object_was_looked_at(place: Place) -> None:
    upload = begin(place, len(LARGE), LARGE)
    place.calls.clear()
    upload.assemble(held)
    assert info_of(place)["State"] == "receiving"
    upload.finish(held, may_defer=False)
    assert place.calls.begun == [
        "CompleteMultipartUpload data",
        "HeadObject data",
        "PutObject info",
    ]
    assert (info_of(place)["State"], info_of(place)["Offset"]) == ("finished", len(LARGE))


def test_terminating_aborts_first_and_removes_the_record_last(place: Place) -> None:
    """So whatever fails can be tried again, and nothing is left that nobody knows of."""
    begin(place, len(LARGE), LARGE[: PART + 5])
    steps = ["AbortMultipartUpload data", "DeleteObject tail", "DeleteObject data"]
    for step in [*steps, "DeleteObject info"]:
        with place.calls.failing(DOWN, step), pytest.raises(StoreUnavailable):
            place.store().open(ID).terminate(held)
        assert ID + ".info" in place.names()
    place.store().open(ID).terminate(held)
    assert place.names() == place.multiparts() == []


# -- faults ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_part_that_fails_costs_what_is_behind_it_and_nothing_else(
    place: Place, failing: int
) -> None:
    """Parts behind a gap count for nothing; they hold the right bytes, and are sent again."""
    upload = begin(place, len(LARGE))
    with place.calls.failing(DOWN, f"UploadPart {failing}"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(LARGE), held)
    again = found(place)
    assert again.info.offset <= (failing - 1) * PART
    assert again.info.offset % PART == 0
    end(again, LARGE)
    assert place.data(ID) == LARGE


def test_a_gap_ends_the_run(place: Place) -> None:
    tiny = place.store(limits=TINY).create(UploadInfo(ID, 95), record_now=True)
    tiny.append(ScriptedBody(SMALL * 2), held)
    multipart = str(info_of(place)["Storage"]["MultipartUpload"])  # type: ignore[index]
    place.admin.upload_part(
        Bucket=place.bucket,
        Key=place.keys.data(ID),
        UploadId=multipart,
        PartNumber=4,
        Body=SMALL,
    )
    assert found(place).info.offset == 20


def test_an_acknowledged_tail_survives_the_failure_of_the_part_that_swallows_it(
    place: Place,
) -> None:
    begin(place, len(LARGE), LARGE[:5])
    with place.calls.failing(DOWN, "UploadPart 1"), pytest.raises(StoreUnavailable):
        found(place).append(ScriptedBody(LARGE[5:]), held)
    assert found(place).info.offset == 5
    end(found(place), LARGE)
    assert place.data(ID) == LARGE


@pytest.mark.parametrize(
    "step", ["CreateMultipartUpload data", "PutObject info", "UploadPart 1", "PutObject tail"]
)
def test_an_acknowledged_tail_survives_a_failure_on_the_way_to_the_first_part(
    place: Place, step: str
) -> None:
    begin(place, None, LARGE[:5])
    with place.calls.failing(DOWN, step), pytest.raises(StoreUnavailable):
        found(place).append(ScriptedBody(LARGE[5 : PART + 9]), held)
    upload = found(place)
    assert upload.info.offset in ((PART,) if step == "PutObject tail" else (5,))
    upload.append(ScriptedBody(LARGE[upload.info.offset :]), held)
    upload.declare_length(len(LARGE), held)
    end(found(place), LARGE)
    assert place.data(ID) == LARGE
    # A record whose write met silence may yet arrive and name its multipart upload, so that one is
    # not aborted: a sweep removes it once no record can name it any more.
    assert len(place.multiparts()) == (1 if step == "PutObject info" else 0)


def test_a_creation_that_fails_leaves_nothing(place: Place) -> None:
    for step in ("CreateMultipartUpload data", "PutObject info"):
        with place.calls.failing(DOWN, step), pytest.raises(StoreUnavailable):
            begin(place, len(LARGE))
        assert place.names() == place.multiparts() == []


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
def test_memory_is_given_back_whatever_fails(place: Place, step: str, budget: int) -> None:
    may_defer = step in ("CreateMultipartUpload data", "PutObject info")
    begin(place, None if may_defer else len(LARGE), LARGE[:5])
    spool = Spool(budget)
    upload = found(place, place.store(spool=spool))
    with place.calls.failing(DOWN, step), pytest.raises(StoreUnavailable):
        STEPS[step](upload)
    assert spool.memory.available == budget


def test_a_lost_lock_ends_an_append_between_any_two_writes(place: Place) -> None:
    def lost() -> None:
        raise LockLost("a newcomer has it")

    upload = begin(place, len(LARGE), LARGE[:5])
    place.calls.clear()
    with pytest.raises(LockLost):
        upload.append(ScriptedBody(LARGE[5:]), lost)
    assert not [call for call in place.calls.begun if call.startswith(("Put", "Upload"))]


# -- the end ---------------------------------------------------------------------------------------


def complete_behind(place: Place) -> None:
    """What S3 did when Complete's answer was lost, or its caller died."""
    key = place.keys.data(ID)
    multipart = str(info_of(place)["Storage"]["MultipartUpload"])  # type: ignore[index]
    listed = place.admin.list_parts(Bucket=place.bucket, Key=key, UploadId=multipart)
    parts: list[CompletedPartTypeDef] = [
        {"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in listed["Parts"]
    ]
    place.admin.complete_multipart_upload(
        Bucket=place.bucket, Key=key, UploadId=multipart, MultipartUpload={"Parts": parts}
    )


def test_an_object_whose_making_nobody_heard_of_is_found(place: Place) -> None:
    begin(place, len(LARGE), LARGE)
    complete_behind(place)
    upload = found(place)
    assert (upload.info.offset, upload.info.is_finished) == (len(LARGE), False)
    assert not upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert place.store().open(ID).info.is_finished
    assert place.data(ID) == LARGE


def test_an_object_that_is_made_while_somebody_else_makes_it_is_made_once(place: Place) -> None:
    begin(place, len(LARGE), LARGE)
    upload = found(place)
    complete_behind(place)
    upload.assemble(held)
    upload.finish(held, may_defer=False)
    assert place.data(ID) == LARGE


def test_an_object_of_another_size_is_not_taken_for_the_upload_s(place: Place) -> None:
    begin(place, len(LARGE), LARGE)
    place.admin.abort_multipart_upload(
        Bucket=place.bucket,
        Key=place.keys.data(ID),
        UploadId=place.multiparts()[0],
    )
    place.put(place.keys.data(ID), b"something else")
    with pytest.raises(UploadGone):
        found(place)


@pytest.mark.parametrize("came", [5, PART + 5, len(LARGE)])
def test_an_upload_whose_parts_were_removed_is_gone(place: Place, came: int) -> None:
    """And not complete, as it is for who takes NoSuchUpload for that."""
    upload = begin(place, len(LARGE), LARGE[:came])
    place.admin.abort_multipart_upload(
        Bucket=place.bucket,
        Key=place.keys.data(ID),
        UploadId=place.multiparts()[0],
    )
    with pytest.raises(UploadGone):
        found(place)
    with pytest.raises(UploadGone):
        end(upload, LARGE)
    place.store().open(ID).terminate(held)
    assert place.names() == []


def test_parts_that_somebody_else_made_the_object_of_are_not_gone(place: Place) -> None:
    """Who goes on from what is known no more is told to look again."""
    stale = begin(place, len(LARGE), LARGE[:PART])
    end(found(place), LARGE)
    with pytest.raises(StoreUnavailable):
        stale.append(ScriptedBody(LARGE[PART:]), held)
    assert found(place).info.is_full


def test_an_object_that_was_removed_is_gone(place: Place) -> None:
    end(begin(place, len(SMALL)), SMALL)
    content = found(place).content()
    place.delete(place.keys.data(ID))
    with pytest.raises(UploadGone):
        content.read(0, 1)
    with pytest.raises(UploadGone):
        found(place).content()
    assert b"".join(content.read(3, 3)) == b""


def test_an_object_that_was_replaced_is_not_sent_for_another(place: Place) -> None:
    end(begin(place, len(SMALL)), SMALL)
    content = found(place).content()
    place.put(place.keys.data(ID), b"9876543210")
    with pytest.raises(UploadGone):
        content.read(0, 10)


# -- one part --------------------------------------------------------------------------------------


def test_a_record_without_its_object_is_an_empty_upload(place: Place) -> None:
    """Who wrote the record died before the object."""
    upload = place.store().create(UploadInfo(ID, len(SMALL)), record_now=False)
    with place.calls.failing(DOWN, "PutObject data"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(SMALL), held)
    assert info_of(place)["State"] == "finishing"
    again = found(place)
    assert (again.info.offset, again.info.state) == (0, State.FINISHING)
    again.append(ScriptedBody(SMALL[:4]), held)
    assert found(place).info.offset == 4
    end(found(place), SMALL)
    assert place.data(ID) == SMALL
    assert place.names() == [ID, ID + ".info"]


def test_a_record_with_its_object_is_a_full_upload(place: Place) -> None:
    """Who wrote both said so lazily, or died before it could say more."""
    place.store().create(UploadInfo(ID, len(SMALL)), record_now=False).append(
        ScriptedBody(SMALL), held
    )
    upload = found(place)
    assert (upload.info.offset, upload.info.state) == (10, State.FINISHING)
    assert not upload.assemble(held)
    upload.finish(held, may_defer=True)
    assert info_of(place)["State"] == "finishing"
    upload.finish(held, may_defer=False)
    assert info_of(place)["State"] == "finished"


def test_a_record_with_another_object_is_an_empty_upload(place: Place) -> None:
    upload = place.store().create(UploadInfo(ID, len(SMALL)), record_now=False)
    with place.calls.failing(DOWN, "PutObject data"), pytest.raises(StoreUnavailable):
        upload.append(ScriptedBody(SMALL), held)
    place.put(place.keys.data(ID), b"too short")
    assert found(place).info.offset == 0


@pytest.mark.parametrize("is_declared", [True, False])
def test_what_the_application_was_told_of_is_found_whatever_happens_next(
    place: Place, *, is_declared: bool
) -> None:
    """Not even a sweep may take it for an upload that nobody has sent anything of."""
    upload = begin(place, None if is_declared else len(SMALL))
    if is_declared:
        upload.declare_length(len(SMALL), held)
    upload.append(ScriptedBody(SMALL), held)
    assert upload.assemble(held)
    # The hook has run, and the process dies before it writes anything.
    again = found(place)
    assert again.info.is_full
    assert not again.assemble(held)


@pytest.mark.parametrize("step", ["UploadPart", "AbortMultipartUpload", "PutObject info"])
def test_an_upload_of_parts_may_turn_out_to_be_empty(place: Place, step: str) -> None:
    """S3 completes no multipart upload without parts."""
    begin(place, None)
    with place.calls.failing(DOWN, "UploadPart"), pytest.raises(StoreUnavailable):
        found(place).append(ScriptedBody(LARGE), held)
    assert len(place.multiparts()) == 1
    upload = found(place)
    assert upload.info.offset == 0
    upload.declare_length(0, held)
    with place.calls.failing(DOWN, step):
        if step == "UploadPart":
            end(upload)
        else:
            with pytest.raises(StoreUnavailable):
                end(upload)
    if not found(place).info.is_finished:
        end(found(place))
    assert place.data(ID) == b""
    assert info_of(place)["State"] == "finished"
    assert len(place.multiparts()) == (step == "AbortMultipartUpload")


def test_each_part_expects_what_is_left_of_the_body(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = list[int | None]()
    part = Spool.part

    def noted(spool: Spool, capacity: int, size: int | None, *rest: Any, **more: Any) -> Any:
        expected.append(size)
        return part(spool, capacity, size, *rest, **more)

    monkeypatch.setattr(Spool, "part", noted)
    begin(place, 3 * PART, LARGE[:7])
    found(place).append(ScriptedBody(LARGE[7 : 2 * PART]), held)
    assert expected == [7, 2 * PART, PART, 0]


@pytest.mark.parametrize("step", ["PutObject data", "DeleteObject tail", "PutObject info"])
def test_a_tail_survives_until_the_object_that_swallowed_it_is_recorded(
    place: Place, step: str
) -> None:
    begin(place, len(SMALL), SMALL[:4])
    with place.calls.failing(DOWN, step), pytest.raises(StoreUnavailable):
        end(found(place), SMALL)
    again = found(place)
    assert again.info.offset in (4, 10)
    end(again, SMALL)
    assert place.data(ID) == SMALL
    assert place.names() == [ID, ID + ".info"]


# -- somebody who comes late -----------------------------------------------------------------------


def test_a_late_tail_is_refused(place: Place) -> None:
    """By a process that lost its lock and did not notice."""
    begin(place, len(SMALL), SMALL[:3])
    late = found(place)
    found(place).append(ScriptedBody(SMALL[3:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert found(place).info.offset == 6
    end(found(place), SMALL)
    assert place.data(ID) == SMALL


def test_a_late_first_tail_is_refused(place: Place) -> None:
    begin(place, len(SMALL))
    late = found(place)
    found(place).append(ScriptedBody(SMALL[:6]), held)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert found(place).info.offset == 6


def test_a_late_tail_of_a_finished_upload_is_refused(place: Place) -> None:
    begin(place, len(LARGE), LARGE[:5])
    late = found(place)
    end(found(place), LARGE)
    with pytest.raises(Unavailable):
        late.append(ScriptedBody(b"xx"), held)
    assert place.names() == [ID, ID + ".info"]


def test_a_late_record_is_refused(place: Place) -> None:
    begin(place, None)
    late = found(place)
    found(place).declare_length(10, held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    assert found(place).info.length == 10
    assert late.info.length is None


def test_a_late_record_of_a_terminated_upload_is_refused(place: Place) -> None:
    begin(place, None)
    late = found(place)
    found(place).terminate(held)
    with pytest.raises(LockLost):
        late.declare_length(20, held)
    assert place.names() == []


def test_a_late_part_holds_the_same_bytes(place: Place) -> None:
    begin(place, len(LARGE), LARGE[:5])
    late = found(place)
    found(place).append(ScriptedBody(LARGE[5:]), held)
    late.append(ScriptedBody(LARGE[5 : PART + 1]), held)
    end(found(place), LARGE)
    assert place.data(ID) == LARGE


def test_a_late_part_of_a_finished_upload_is_refused(place: Place) -> None:
    begin(place, len(LARGE))
    late = found(place)
    end(found(place), LARGE)
    with pytest.raises(StoreUnavailable):
        late.append(ScriptedBody(b"x" * len(LARGE)), held)
    assert place.data(ID) == LARGE


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
    place: Place, *, data: bytes, at_creation: bool
) -> None:
    """The bytes are there: nobody should have to send them again."""
    asked: list[FinishedUpload] = []

    def on_finish(upload: FinishedUpload) -> None:
        asked.append(upload)
        if len(asked) == 1:
            raise ValueError("not now")

    desk = Desk(place, on_finish=on_finish)
    if at_creation:
        with pytest.raises(OnFinishFailed):
            desk.create(len(data), data)
        id = UploadId("id0")
    else:
        id = desk.create(len(data)).id
        with pytest.raises(OnFinishFailed):
            desk.append(id, data)
    info = Desk(place, on_finish=on_finish).look(id)
    assert (info.offset, info.is_finished) == (len(data), True)
    assert [upload.id for upload in asked] == [id, id]
    assert asked[1].storage == {
        "Type": "s3store",
        "Bucket": place.bucket,
        "Key": place.keys.data(id),
    }


# -- the bucket ------------------------------------------------------------------------------------


def test_nothing_but_the_object_and_its_info_stay(place: Place) -> None:
    for length, data in ((len(SMALL), SMALL), (len(LARGE), LARGE), (0, b"")):
        end(begin(place, length, data[:5]), data)
        assert place.names() == [ID, ID + ".info"]
        assert place.multiparts() == []
        place.store().open(ID).terminate(held)


def test_the_two_kinds_of_objects_may_have_prefixes_of_their_own(place: Place) -> None:
    keys = Keys(place.prefix + "data", place.prefix + "meta")
    store = S3Store(place.client, place.bucket, keys=keys, limits=LIMITS)
    upload = store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    upload.append(ScriptedBody(SMALL[:4]), held)
    assert place.names() == [f"meta/{ID}.info", f"meta/{ID}.part"]
    end(found(place, store), SMALL)
    assert place.names() == [f"data/{ID}", f"meta/{ID}.info"]
    assert place.get(keys.data(ID)) == SMALL
    assert found(place, store).storage["Key"] == keys.data(ID)


def test_an_upload_stays_where_it_is_when_the_prefix_changes(place: Place) -> None:
    """The record says where the object is."""
    before = Keys(place.prefix + "old", place.prefix + "meta")
    after = Keys(place.prefix + "new", place.prefix + "meta")
    store = S3Store(place.client, place.bucket, keys=before, limits=LIMITS)
    store.create(UploadInfo(ID, len(SMALL)), record_now=True)
    end(found(place, S3Store(place.client, place.bucket, keys=after, limits=LIMITS)), SMALL)
    assert place.names() == [f"meta/{ID}.info", f"old/{ID}"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"ID":"another"}',
        b'{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09+UploadId"}',
    ],
)
def test_an_info_that_names_another_id_is_nobody_s(place: Place, content: bytes) -> None:
    """So nobody reaches an object through a name that is not its upload's."""
    place.put(place.keys.info(ID), content)
    place.put(place.keys.data(ID), b"precious")
    with pytest.raises(UploadNotFound):
        place.store().open(ID)
    with pytest.raises(UploadNotFound):
        Desk(place).terminate(ID)
    assert place.data(ID) == b"precious"


@pytest.mark.parametrize("content", [b"", b"{}", b"<html>", b"[]", b"\xff"])
def test_what_is_no_info_is_nobody_s_and_stays(place: Place, content: bytes) -> None:
    place.put(place.keys.info(ID), content)
    with pytest.raises((UploadNotFound, StoreUnavailable)):
        Desk(place).terminate(ID)
    assert place.get(place.keys.info(ID)) == content


def test_an_object_without_an_info_is_no_upload(place: Place) -> None:
    place.put(place.keys.data(ID), b"precious")
    for act in (Desk(place).look, Desk(place).terminate, Desk(place).download):
        with pytest.raises(UploadNotFound):
            act(ID)
    assert place.names() == [ID]
