"""Concatenation in S3: which bytes are copied, which are uploaded, and what failures leave."""

from __future__ import annotations

import itertools
import random
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from tests.harness.clients.service import ServiceClient, call_once
from tests.harness.stores import PART, Call, S3Sandbox
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import InvalidPartial, OnFinishFailed, StoreUnavailable, UploadGone
from tus_wsgi.domain.model import KIB, TIB, Final, Metadata, Partial, State, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy
from tus_wsgi.service.finish import Finisher
from tus_wsgi.spool.spool import Spool
from tus_wsgi.stores.s3.record import UploadRecord, decode, encode

DATA = random.Random(4).randbytes(3 * PART + 2 * KIB)

SIZES = [2 * PART + 1, 3, 0, PART + 5]
"""Four partial uploads whose final upload has four parts: two lie within the first, one spans three
of them, and one lies within the last."""

UNREACHABLE = EndpointConnectionError(endpoint_url="http://s3")


def slices_of(sizes: list[int]) -> list[bytes]:
    """The first bytes of DATA in slices of these sizes."""
    slices, start = [], 0
    for size in sizes:
        slices.append(DATA[start : start + size])
        start += size
    return slices


@pytest.fixture
def uploads(sandbox: S3Sandbox) -> ServiceClient:
    return ServiceClient(sandbox.store())


def create_partials(uploads: ServiceClient, sizes: list[int]) -> list[UploadId]:
    made = [uploads.create_partial(content) for content in slices_of(sizes)]
    uploads.events.clear()
    return made


def other_process(uploads: ServiceClient, sandbox: S3Sandbox) -> ServiceClient:
    """A client of another process over the same uploads."""
    other = ServiceClient(sandbox.store())
    other.clock = uploads.clock
    return other


# -- copies and uploads ----------------------------------------------------------------------------


def test_only_parts_that_span_several_partials_are_uploaded(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """CO-02, CO-14: ranges of a large partial, one part of three partials, an empty partial."""
    ids = create_partials(uploads, SIZES)
    sandbox.calls.clear()
    info = uploads.concatenate(*ids)
    begun = sorted(call for call in sandbox.calls.begun if call.startswith("UploadPart"))
    assert begun == ["UploadPart 3", "UploadPartCopy 1", "UploadPartCopy 2", "UploadPartCopy 4"]
    assert sandbox.calls.begun.count("GetObject data") == 3
    assert info.is_finished
    assert sandbox.data(info.id) == b"".join(slices_of(SIZES))


def test_partials_that_are_whole_parts_are_copied(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """S3 copies ranges only of objects above 5 MiB, so a partial of a part's size has no range."""
    ids = create_partials(uploads, [PART, PART, 100])
    sandbox.calls.clear()
    info = uploads.concatenate(*ids)
    assert not any(
        call.startswith(("UploadPart ", "GetObject data")) for call in sandbox.calls.begun
    )
    assert sandbox.data(info.id) == b"".join(slices_of([PART, PART, 100]))


def test_a_final_upload_of_one_part_is_written_with_one_put(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    ids = create_partials(uploads, [3, 0, 5])
    sandbox.calls.clear()
    info = uploads.concatenate(*ids)
    assert sandbox.calls.begun.count("PutObject data") == 1
    assert not any("Part" in call or "Multipart" in call for call in sandbox.calls.begun)
    assert sandbox.list_multiparts() == []
    assert sandbox.data(info.id) == DATA[:8]


@pytest.mark.parametrize("sizes", [SIZES, [3, 4]], ids=["parts", "one part"])
def test_the_object_has_the_metadata_of_the_final_upload(
    uploads: ServiceClient, sandbox: S3Sandbox, sizes: list[int]
) -> None:
    """CO-05; tusd loses type and metadata if a partial upload is small."""
    metadata = Metadata((("filetype", b"video/mp4"), ("name", b"x")), "filetype dg==,name eA==")
    info = uploads.concatenate(*create_partials(uploads, sizes), metadata=metadata)
    object = sandbox.admin.head_object(Bucket=sandbox.bucket, Key=sandbox.keys.data(info.id))
    assert object["ContentType"] == "video/mp4"
    described = {key.lower(): value for key, value in object["Metadata"].items()}
    assert described == {"filetype": "video/mp4", "name": "x"}


def test_a_head_of_a_waiting_final_upload_takes_a_call_for_each_partial(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    running = uploads.create(3, is_partial=True)
    info = uploads.concatenate(*create_partials(uploads, [1, 2]), running)
    sandbox.calls.clear()
    assert not uploads.inspect(info.id).is_full
    assert sandbox.calls.begun == ["GetObject info"] * 4


def test_a_partial_upload_of_tusd_can_be_concatenated(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """tusd never records that an upload is finished."""
    id = UploadId("tusd1+" + "0" * 32)
    info = UploadInfo(id, 3, concat=Partial())
    record = UploadRecord(info, sandbox.bucket, sandbox.keys.data(id), "0" * 32, plan=None)
    sandbox.put(sandbox.keys.info(id), encode(record))
    sandbox.put(sandbox.keys.data(id), b"abc")
    final = uploads.concatenate(id, uploads.create_partial(b"d"))
    assert sandbox.data(final.id) == b"abcd"


def test_a_final_upload_of_tusd_is_finished(uploads: ServiceClient, sandbox: S3Sandbox) -> None:
    id = UploadId("tusd2+" + "0" * 32)
    info = UploadInfo(id, 3, concat=Final((UploadId("gone"),)))
    record = UploadRecord(info, sandbox.bucket, sandbox.keys.data(id), "0" * 32, plan=None)
    sandbox.put(sandbox.keys.info(id), encode(record))
    sandbox.put(sandbox.keys.data(id), b"abc")
    assert uploads.inspect(id).is_finished


def test_hundreds_of_partials_are_concatenated(uploads: ServiceClient, sandbox: S3Sandbox) -> None:
    """CO-13: with at most three S3 calls for each."""
    size, count = 11, 200
    slices = [DATA[start : start + size] for start in range(0, count * size, size)]
    ids = [UploadId(f"p{number}") for number in range(count)]

    def write(id: UploadId, content: bytes) -> None:
        info = UploadInfo(id, size, size, state=State.FINISHED, concat=Partial())
        record = UploadRecord(info, sandbox.bucket, sandbox.keys.data(id), None, PartPlan(PART))
        sandbox.put(sandbox.keys.info(id), encode(record))
        sandbox.put(sandbox.keys.data(id), content)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, ids, slices))
    sandbox.calls.clear()
    info = uploads.concatenate(*ids)
    assert sandbox.data(info.id) == b"".join(slices)
    assert len(sandbox.calls.begun) <= 3 * count + 5


@pytest.mark.parametrize("copies", [True, False], ids=["copies", "no copies"])
def test_an_uploaded_part_is_not_buffered_in_memory_if_there_is_no_budget(
    sandbox: S3Sandbox, tmp_path: Path, copies: bool
) -> None:
    """Without a memory budget, parts are on disk and only chunks in memory."""
    store = sandbox.store(spool=Spool(0, str(tmp_path)))
    if not copies:
        store._context.copies.disable()
    uploads = ServiceClient(store)
    ids = create_partials(uploads, SIZES)
    tracemalloc.start()
    try:
        info = uploads.concatenate(*ids)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < PART // 2
    assert sandbox.data(info.id) == b"".join(slices_of(SIZES))


# -- failures --------------------------------------------------------------------------------------


class ProcessDied(BaseException):
    """The process was killed."""


CALLS = [
    *("HeadObject data", "CreateMultipartUpload data", "PutObject info", "UploadPartCopy 2"),
    *("GetObject data", "UploadPart 3", "CompleteMultipartUpload data"),
]
"""The calls of a concatenation, in their order."""

CALLS_AFTER_RECORD = CALLS[CALLS.index("PutObject info") + 1 :]


@pytest.mark.parametrize("call", ["GetObject info", *CALLS])
def test_a_failure_leaves_only_the_partials(
    uploads: ServiceClient, sandbox: S3Sandbox, call: str
) -> None:
    """D-13: the client knows no URL to resume from, so it creates another final upload."""
    ids = create_partials(uploads, SIZES)
    names = sandbox.list_keys()
    with sandbox.calls.failing(UNREACHABLE, call), pytest.raises(StoreUnavailable):
        uploads.concatenate(*ids)
    # D-08, D-09: a record that S3 writes late may name the multipart upload.
    assert len(sandbox.list_multiparts()) == (1 if call == "PutObject info" else 0)
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == names
    assert uploads.finished == []
    assert uploads.concatenate(*ids).is_finished


@contextmanager
def failing_call(sandbox: S3Sandbox, number: int, how: str) -> Iterator[None]:
    """Let the call of this number fail before it reaches S3, or lose its response."""
    count = itertools.count()
    event = "before-call.s3" if how == "refused" else "after-call.s3"

    def fail(**_: object) -> None:
        if next(count) == number:
            raise UNREACHABLE

    events = sandbox.client.meta.events
    events.register_first(event, fail)
    try:
        yield
    finally:
        events.unregister(event, fail)


@pytest.mark.faults
@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["refused", "lost"])
def test_any_call_can_fail(uploads: ServiceClient, sandbox: S3Sandbox, how: str) -> None:
    """Each upload that a failure leaves can be finished, and a retry succeeds."""
    sizes = [2 * PART + 1, 3, PART + 5]
    ids, data = create_partials(uploads, sizes), b"".join(slices_of(sizes))
    sandbox.calls.clear()
    uploads.concatenate(*ids)
    calls = len(sandbox.calls.begun)
    assert 15 < calls < 30
    known = list_ids(sandbox)
    for number in range(calls):
        finished_before = len(uploads.finished)
        try:
            with failing_call(sandbox, number, how):
                done = uploads.concatenate(*ids)
        except StoreUnavailable:
            for id in list_ids(sandbox) - known:
                assert other_process(uploads, sandbox).inspect(id).is_finished
        else:
            assert done.is_finished
        for id in list_ids(sandbox) - known:
            assert sandbox.data(id) == data
        for upload in uploads.finished[finished_before:]:
            assert sandbox.data(upload.id) == data
        known |= list_ids(sandbox)


def list_ids(sandbox: S3Sandbox) -> set[UploadId]:
    """The ids of all uploads in the sandbox that were not terminated."""
    infos = {name for name in sandbox.list_keys() if name.endswith(".info")}
    records = (decode(sandbox.get(sandbox.prefix + name)) for name in infos)
    return {record.info.id for record in records if not record.is_terminated}


@pytest.mark.parametrize("call", CALLS_AFTER_RECORD)
def test_the_next_request_resumes_after_a_kill(
    uploads: ServiceClient, sandbox: S3Sandbox, call: str
) -> None:
    """D-13: the record names the partials; existing parts are not copied again."""
    ids = create_partials(uploads, SIZES)

    def die_before(next_call: Call) -> None:
        if str(next_call) == call:
            raise ProcessDied

    sandbox.calls.before = die_before
    with pytest.raises(ProcessDied):
        uploads.concatenate(*ids)
    sandbox.calls.before = None
    (id,) = list_ids(sandbox) - set(ids)
    sandbox.calls.clear()
    other = other_process(uploads, sandbox)
    assert other.inspect(id).is_finished
    if call == "CompleteMultipartUpload data":
        assert not any(name.startswith("UploadPart") for name in sandbox.calls.begun)
    assert sandbox.data(id) == b"".join(slices_of(SIZES))
    assert [upload.id for upload in other.finished] == [id]
    assert sandbox.list_multiparts() == []


def test_a_kill_after_the_completion_does_not_repeat_it(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """D-05: even if the partials were deleted meanwhile."""
    ids = create_partials(uploads, SIZES)
    completed: list[Call] = []

    def die(one: Call) -> None:
        if one.operation == "CompleteMultipartUpload":
            completed.append(one)
        elif completed:
            raise ProcessDied

    sandbox.calls.before = die
    with pytest.raises(ProcessDied):
        uploads.concatenate(*ids)
    sandbox.calls.before = None
    id = UploadId(completed[0].key.removeprefix(sandbox.prefix))
    for name in ids:
        uploads.terminate(name)
    assert other_process(uploads, sandbox).inspect(id).is_finished
    assert sandbox.data(id) == b"".join(slices_of(SIZES))


@pytest.mark.parametrize("sizes", [SIZES, [3, 4]], ids=["parts", "one part"])
@pytest.mark.parametrize("change", ["delete", "replace"])
def test_a_partial_that_is_changed_meanwhile_never_gets_into_the_object(
    uploads: ServiceClient, sandbox: S3Sandbox, sizes: list[int], change: str
) -> None:
    """Every copy and every read names the ETag that was looked up."""
    ids = create_partials(uploads, sizes)
    key = sandbox.keys.data(ids[0])

    def apply_change() -> None:
        if change == "delete":
            sandbox.delete(key)
        else:
            sandbox.put(key, bytes(sizes[0]))

    change_once = call_once(apply_change)
    first = "CreateMultipartUpload" if len(sizes) > 2 else "GetObject data"

    def change_before_first(call: Call) -> None:
        if str(call).startswith(first):
            change_once()

    sandbox.calls.before = change_before_first
    names = sandbox.list_keys()
    with pytest.raises(InvalidPartial, match=ids[0]):
        uploads.concatenate(*ids)
    assert sandbox.list_multiparts() == []
    sandbox.sweep_tombstones()
    assert set(sandbox.list_keys()) <= set(names)


def test_a_partial_that_is_deleted_while_the_final_waits_makes_it_gone(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """CU-03: also during the concatenation."""
    running = uploads.create(3, is_partial=True)
    info = uploads.concatenate(*create_partials(uploads, SIZES), running)
    uploads.append(running, 0, b"abc")
    final = uploads.inspect(running)
    assert final.is_finished
    key = sandbox.keys.data(running)
    delete_once = call_once(lambda: sandbox.delete(key))

    def delete_before_copies(call: Call) -> None:
        if call.operation == "CreateMultipartUpload":
            delete_once()

    sandbox.calls.before = delete_before_copies
    with pytest.raises(UploadGone, match=running):
        uploads.inspect(info.id)


def test_a_partial_whose_object_has_another_size_is_refused(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    (partial,) = create_partials(uploads, [10])
    sandbox.put(sandbox.keys.data(partial), b"short")
    with pytest.raises(InvalidPartial, match=partial):
        uploads.concatenate(partial)
    assert set(sandbox.list_keys()) == {partial, partial + ".info"}


def test_on_finish_is_retried_without_making_the_object_again(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """D-06."""
    ids = create_partials(uploads, SIZES)
    uploads.finish_errors = [RuntimeError("not today")]
    with pytest.raises(OnFinishFailed):
        uploads.concatenate(*ids)
    (refused,) = uploads.finished
    sandbox.calls.clear()
    assert other_process(uploads, sandbox).inspect(refused.id).is_finished
    assert not any(call.startswith("UploadPart") for call in sandbox.calls.begun)


def test_the_record_is_written_before_the_first_part(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """D-13."""
    ids = create_partials(uploads, SIZES)
    sandbox.calls.clear()
    uploads.concatenate(*ids)
    log = [(what, str(call)) for what, call in sandbox.calls.log]
    written = log.index(("end", "PutObject info"))
    first = min(i for i, (what, call) in enumerate(log) if call.startswith("UploadPart"))
    assert written < first


# -- the sweep -------------------------------------------------------------------------------------


def sweep(uploads: ServiceClient, sandbox: S3Sandbox, max_size: int = TIB) -> dict[str, ActionKind]:
    """Sweep once; return the results by the names of the uploads."""
    policy = SweepPolicy(
        now=uploads.clock,
        min_age=0.0,
        finisher=Finisher(uploads.finished.append, EventDispatcher([])),
        max_size=max_size,
        is_dry=False,
    )
    actions = Sweep(
        sandbox.store(),
        MemoryLocker(timeout=1.0),
        StrictBucket(sandbox.admin, sandbox.bucket),
        keys=sandbox.keys,
        listing=Listing(sandbox.admin, sandbox.bucket),
        policy=policy,
    ).run()
    return {action.name: action.kind for action in actions}


def test_the_sweep_finishes_a_final_upload_whose_partials_are_finished(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """CU-02: for a client that sends no further request."""
    running = uploads.create(3, is_partial=True)
    info = uploads.concatenate(uploads.create_partial(b"abc"), running)
    assert sweep(uploads, sandbox) == {}
    uploads.append(running, 0, b"def")
    assert sweep(uploads, sandbox) == {info.id: ActionKind.FINISHED}
    assert sandbox.data(info.id) == b"abcdef"
    assert [upload.id for upload in uploads.finished] == [info.id]
    assert sweep(uploads, sandbox) == {}


def test_the_sweep_does_not_finish_a_final_upload_above_the_limit(
    uploads: ServiceClient, sandbox: S3Sandbox
) -> None:
    """CU-02: partials of deferred length may grow after the final upload was created."""
    growing = uploads.create(None, is_partial=True)
    info = uploads.concatenate(growing)
    uploads.append(growing, 0, b"abcdef", length=6)
    assert sweep(uploads, sandbox, max_size=5) == {}
    assert not uploads.finished
    assert sweep(uploads, sandbox, max_size=6) == {info.id: ActionKind.FINISHED}


def test_a_finished_final_upload_stays_finished_if_the_limit_is_lowered(
    uploads: ServiceClient,
) -> None:
    info = uploads.concatenate(uploads.create_partial(b"abc"), uploads.create_partial(b"def"))
    uploads.service.max_size = 5
    assert uploads.inspect(info.id).is_finished
    assert uploads.content(info.id) == b"abcdef"


def test_the_sweep_deletes_expired_uploads_and_no_finished_partial(sandbox: S3Sandbox) -> None:
    """EX-01, CU-03: including final uploads that wait for a partial upload."""
    uploads = ServiceClient(sandbox.store(), lifetime=100.0)
    finished, running = uploads.create_partial(b"abc"), uploads.create(3, is_partial=True)
    lost = uploads.create(3, is_partial=True)
    waiting, without_partial = uploads.concatenate(finished, running), uploads.concatenate(lost)
    uploads.terminate(lost)
    assert sweep(uploads, sandbox) == {}
    uploads.advance_clock(101)
    assert sweep(uploads, sandbox) == dict.fromkeys(
        [running, waiting.id, without_partial.id], ActionKind.EXPIRED
    )
    sandbox.sweep_tombstones()
    assert sandbox.list_keys() == [finished, finished + ".info"]
