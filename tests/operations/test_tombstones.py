"""D-09: nothing of a terminated upload comes back, whatever S3 carries out late."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from botocore.awsrequest import AWSPreparedRequest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import ServiceClient
from tests.harness.stores import PART, S3Sandbox
from tests.operations.answers import Answer, answering, error_document
from tests.operations.sweeper import LATER, LENGTH, PAST, Sweeper, held
from tests.stores.s3.late_calls import LateCalls, ignoring_conditions, late, puts
from tus_wsgi.domain.errors import StoreUnavailable, Unavailable, UploadGone, UploadNotFound
from tus_wsgi.domain.model import Final, Partial, UploadId, UploadInfo
from tus_wsgi.operations.partials import PartialRemover
from tus_wsgi.operations.sweep import ActionKind
from tus_wsgi.stores.s3.record import decode
from tus_wsgi.stores.s3.termination import TOMBSTONE_LIFETIME


@pytest.fixture(params=["honoured", "ignored"])
def conditions(request: pytest.FixtureRequest, sandbox: S3Sandbox) -> Iterator[str]:
    """Whether S3 honours conditions."""
    if request.param == "ignored":
        with ignoring_conditions(sandbox.client):
            yield request.param
    else:
        yield request.param


def assert_stays_gone(sandbox: S3Sandbox, id: UploadId) -> None:
    """Check that a HEAD, a PATCH and a GET respond with 404 or 410."""
    with pytest.raises((UploadNotFound, UploadGone)):
        sandbox.store().open(id).load_offset()


def assert_sweeps_leave_nothing(sweeper: Sweeper) -> None:
    """Check that two sweeps empty the bucket: one soon, one after the tombstones' lifetime."""
    assert ActionKind.FAILED not in sweeper.kinds().values()
    assert ActionKind.FAILED not in sweeper.kinds(now=LATER).values()
    assert sweeper.sandbox.list_keys() == sweeper.sandbox.list_multiparts() == []


def create_with_late_record(sweeper: Sweeper, length: int | None) -> tuple[UploadId, LateCalls]:
    """Create an upload whose first write of the record is late; its repetition succeeds."""
    with late(sweeper.sandbox.client, puts(".info")) as calls:
        id = sweeper.create(length).info.id
    assert len(calls.requests) == 1
    return id, calls


@pytest.mark.usefixtures("conditions")
@pytest.mark.parametrize("length", [None, 10, LENGTH])
def test_a_late_first_record_does_not_bring_an_upload_back(
    sweeper: Sweeper, length: int | None
) -> None:
    id, calls = create_with_late_record(sweeper, length)
    sweeper.sandbox.store().terminate(id, held)
    calls.arrive()
    assert_stays_gone(sweeper.sandbox, id)
    assert_sweeps_leave_nothing(sweeper)


def finish_late(sweeper: Sweeper, which: str, length: int) -> tuple[UploadId, LateCalls]:
    """Store all bytes while the first PutObject of a key with the suffix `which` is late."""
    upload = sweeper.create(length, stored=3)
    id = upload.info.id
    suffix = id if which == "object" else which
    with late(sweeper.sandbox.client, puts(suffix)) as calls:
        with suppress(Unavailable):
            upload.append(ScriptedBody(bytes(length - 4)), held)
        with suppress(Unavailable):
            upload = sweeper.sandbox.store().open(id)
            upload.load_offset()
            upload.append(ScriptedBody(bytes(length - upload.info.offset)), held)
            upload.assemble(held)
            upload.finish(held, may_defer=False)
    assert len(calls.requests) == 1
    return id, calls


@pytest.mark.usefixtures("conditions")
@pytest.mark.parametrize("length", [10, LENGTH])
@pytest.mark.parametrize("which", [".part", ".info"])
def test_a_late_tail_or_last_record_is_removed(sweeper: Sweeper, which: str, length: int) -> None:
    id, calls = finish_late(sweeper, which, length)
    sweeper.sandbox.store().terminate(id, held)
    calls.arrive()
    assert_sweeps_leave_nothing(sweeper)
    assert_stays_gone(sweeper.sandbox, id)


def test_a_late_object_is_removed(sweeper: Sweeper) -> None:
    id, calls = finish_late(sweeper, "object", 10)
    sweeper.sandbox.store().terminate(id, held)
    assert calls.arrive() == [200]
    assert id in sweeper.sandbox.list_keys()
    assert_stays_gone(sweeper.sandbox, id)
    assert sweeper.kinds() == {}
    assert sweeper.kinds(is_dry=True, now=LATER) == {id: ActionKind.REMOVED}
    assert sweeper.kinds(now=LATER) == {id: ActionKind.REMOVED}
    assert sweeper.sandbox.list_keys() == []


def test_a_late_completion_is_removed(sweeper: Sweeper) -> None:
    """S3 has begun to complete the upload, and the object appears after the termination."""
    sandbox = sweeper.sandbox
    upload = sweeper.create(LENGTH, stored=LENGTH)

    def is_completion(request: AWSPreparedRequest) -> bool:
        return request.method == "POST" and "uploadId=" in request.url

    with late(sandbox.client, is_completion, attempts=9), pytest.raises(StoreUnavailable):
        upload.assemble(held)
    sandbox.store().terminate(upload.info.id, held)
    sandbox.put(sandbox.keys.data(upload.info.id), bytes(LENGTH))
    assert_stays_gone(sandbox, upload.info.id)
    assert_sweeps_leave_nothing(sweeper)


def test_an_object_of_another_size_is_reported_and_stays(sweeper: Sweeper) -> None:
    """D-12: no call of this upload can have written it."""
    id = sweeper.create(LENGTH, stored=PART).info.id
    sweeper.sandbox.put(sweeper.sandbox.keys.data(id), b"another program's")
    sweeper.sandbox.store().terminate(id, held)
    assert sweeper.kinds(now=LATER) == {id: ActionKind.UNKNOWN}
    assert sweeper.sandbox.list_keys() == [id]


@pytest.mark.parametrize("length", [None, LENGTH])
def test_a_termination_leaves_an_object_that_no_completion_made(
    sweeper: Sweeper, length: int | None
) -> None:
    """D-12: the key alone proves nothing."""
    id = sweeper.create(length, stored=5).info.id
    sweeper.sandbox.put(sweeper.sandbox.keys.data(id), b"another program's")
    sweeper.sandbox.store().terminate(id, held)
    assert sweeper.sandbox.data(id) == b"another program's"


def test_a_multipart_upload_that_s3_creates_late_is_aborted(sweeper: Sweeper) -> None:
    id = sweeper.create(LENGTH, stored=PART).info.id
    sweeper.sandbox.store().terminate(id, held)
    sweeper.create_orphan(id)
    assert sweeper.kinds() == {}
    assert sweeper.kinds(now=LATER) == {id: ActionKind.REMOVED}
    assert sweeper.sandbox.list_keys() == sweeper.sandbox.list_multiparts() == []


def test_a_tombstone_stays_for_its_lifetime(sweeper: Sweeper) -> None:
    id = sweeper.create(10, stored=3).info.id
    sweeper.sandbox.store().terminate(id, held)
    before = sweeper.snapshot()
    assert sweeper.kinds(now=LATER - TOMBSTONE_LIFETIME - timedelta(minutes=1)) == {}
    assert sweeper.snapshot() == before


def test_a_tombstone_is_kept_until_everything_else_is_gone(sweeper: Sweeper) -> None:
    """D-13."""
    id, calls = finish_late(sweeper, "object", 10)
    sweeper.sandbox.store().terminate(id, held)
    calls.arrive()
    refusal = Answer(403, error_document("AccessDenied"))
    with answering(
        sweeper.sandbox.client, "DeleteObject", refusal, applies_to=lambda key: key.endswith(id)
    ):
        assert set(sweeper.kinds(now=LATER).values()) == {ActionKind.FAILED}
    assert f"{id}.info" in sweeper.sandbox.list_keys()
    assert sweeper.kinds(now=LATER) == {id: ActionKind.REMOVED}
    assert sweeper.sandbox.list_keys() == []


def test_a_late_final_upload_does_not_come_back(sweeper: Sweeper, conditions: str) -> None:
    store = sweeper.sandbox.store()
    partial = UploadId(secrets.token_urlsafe(16))
    store.create(UploadInfo(partial, 3, concat=Partial()), record_now=True)
    id = UploadId(secrets.token_urlsafe(16))
    with late(sweeper.sandbox.client, puts(".info")) as calls:
        store.create(UploadInfo(id, None, concat=Final((partial,))), record_now=True)
    store.terminate(id, held)
    calls.arrive()
    if conditions == "honoured":
        assert_stays_gone(sweeper.sandbox, id)
    sweeper.sweep()
    assert_stays_gone(sweeper.sandbox, id)
    store.terminate(partial, held)
    assert_sweeps_leave_nothing(sweeper)


@pytest.mark.parametrize("length", [6, LENGTH], ids=["one part", "two parts"])
def test_a_late_object_of_a_failed_concatenation_is_removed(sweeper: Sweeper, length: int) -> None:
    """D-09: the client gets an error and no URL, and creates another final upload."""
    sandbox, uploads = sweeper.sandbox, ServiceClient(sweeper.sandbox.store())
    partial = uploads.create_partial(bytes(length))
    before = set(sandbox.list_keys())

    def makes_object(request: AWSPreparedRequest) -> bool:
        is_completion = request.method == "POST" and "uploadId=" in request.url
        return is_completion or puts("-1")(request)  # the second id that the client uses

    with late(sandbox.client, makes_object, attempts=9), pytest.raises(StoreUnavailable):
        uploads.concatenate(partial)
    (info,) = (name for name in set(sandbox.list_keys()) - before if name.endswith(".info"))
    id = UploadId(info.removesuffix(".info"))
    sandbox.put(sandbox.keys.data(id), bytes(length))
    assert_stays_gone(sandbox, id)
    assert uploads.content(uploads.concatenate(partial).id) == bytes(length)
    assert sweeper.kinds() == {}
    assert sweeper.kinds(now=LATER) == {id: ActionKind.REMOVED}
    assert id not in sandbox.list_keys()


def test_a_late_record_of_an_expired_upload_is_removed(sweeper: Sweeper) -> None:
    with (
        ignoring_conditions(sweeper.sandbox.client),
        late(sweeper.sandbox.client, puts(".info")) as calls,
    ):
        upload = sweeper.create(10, stored=3, expires=PAST)
        assert sweeper.kinds() == {upload.info.id: ActionKind.EXPIRED}
    calls.arrive()
    assert_stays_gone(sweeper.sandbox, upload.info.id)
    assert_sweeps_leave_nothing(sweeper)


# -- failed creations -----------------------------------------------------------------------------


def test_a_creation_keeps_the_multipart_upload_that_a_late_record_names(sweeper: Sweeper) -> None:
    """D-08, D-09: every write of the record is late, so nothing can be recorded."""
    with (
        late(sweeper.sandbox.client, puts(".info"), attempts=99) as calls,
        pytest.raises(StoreUnavailable),
    ):
        sweeper.create(LENGTH)
    assert len(sweeper.sandbox.list_multiparts()) == 1
    del calls.requests[1:]
    calls.arrive()
    (name,) = sweeper.sandbox.list_keys()
    upload = sweeper.sandbox.store().open(UploadId(name.removesuffix(".info")))
    upload.load_offset()
    assert upload.info.offset == 0


def test_a_tombstone_names_the_multipart_upload_of_a_failed_creation(sweeper: Sweeper) -> None:
    """D-08, D-13: so the sweep aborts it when no write can be late any more."""
    sandbox = sweeper.sandbox
    attempts = 6  # two writes with three attempts each
    with (
        late(sandbox.client, puts(".info"), attempts=attempts) as calls,
        pytest.raises(StoreUnavailable),
    ):
        sweeper.create(LENGTH)
    (multipart,) = sandbox.list_multiparts()
    (name,) = sandbox.list_keys()
    assert decode(sandbox.get(sandbox.prefix + name)).multipart == multipart
    assert set(calls.arrive()) == {412}
    id = UploadId(name.removesuffix(".info"))
    assert_stays_gone(sandbox, id)
    assert sweeper.kinds() == {}
    assert sweeper.kinds(now=LATER) == {id: ActionKind.REMOVED}
    assert sandbox.list_keys() == sandbox.list_multiparts() == []


def test_a_creation_that_wrote_nothing_leaves_no_tombstone(sweeper: Sweeper) -> None:
    info = UploadInfo(UploadId(secrets.token_urlsafe(16)), 10)
    upload = sweeper.sandbox.store().create(info, record_now=False)
    sweeper.sandbox.calls.clear()
    upload.terminate(held)
    assert sweeper.sandbox.calls.begun == []


# -- partial uploads ------------------------------------------------------------------------------


def create_partial(sweeper: Sweeper) -> UploadId:
    id = UploadId(secrets.token_urlsafe(16))
    store = sweeper.sandbox.store()
    partial = store.create(UploadInfo(id, 3, concat=Partial()), record_now=True)
    partial.append(ScriptedBody(b"abc"), held)
    partial.assemble(held)
    partial.finish(held, may_defer=False)
    return id


def test_a_sweep_removes_only_partial_uploads_after_a_concatenation(sweeper: Sweeper) -> None:
    """D-12: the record of a final upload names ids; their own records say what they are."""
    other, partial = sweeper.create_finished(5).info.id, create_partial(sweeper)
    remove = PartialRemover(sweeper.sandbox.store(), sweeper.locker)
    remove([other, partial, UploadId("unknown")])
    assert sweeper.reload(sweeper.sandbox.store().open(other)).is_finished
    with pytest.raises(UploadNotFound):
        sweeper.sandbox.store().open(partial)


def test_a_sweep_does_not_remove_a_partial_upload_in_use(sweeper: Sweeper) -> None:
    """D-10: and it removes the others."""
    used, free = create_partial(sweeper), create_partial(sweeper)
    remove = PartialRemover(sweeper.sandbox.store(), sweeper.locker)
    with (
        sweeper.locker.lock(used, on_release_request=lambda: None),
        pytest.raises(StoreUnavailable),
    ):
        remove([used, free])
    assert sweeper.sandbox.store().open(used).info.is_finished
    with pytest.raises(UploadNotFound):
        sweeper.sandbox.store().open(free)


def test_a_tombstone_has_only_what_a_sweep_needs(sweeper: Sweeper) -> None:
    id = sweeper.create(LENGTH, stored=PART).info.id
    (multipart,) = sweeper.sandbox.list_multiparts()
    sweeper.sandbox.store().terminate(id, held)
    fields = json.loads(sweeper.sandbox.get(sweeper.sandbox.keys.info(id)))
    assert (fields["ID"], fields["Size"], fields["State"]) == (id, LENGTH, "terminated")
    assert fields["Storage"]["Key"] == sweeper.sandbox.keys.data(id)
    assert fields["Storage"]["MultipartUpload"] == multipart
