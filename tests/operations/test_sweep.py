"""What a sweep removes, and what it must not touch."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from demo.seaweedfs import SeaweedFS
from tests.harness.bodies import ScriptedBody
from tests.harness.policies import denying
from tests.harness.stores import PART, S3Sandbox
from tests.operations.sweeper import FUTURE, LATER, LENGTH, PAST, Sweeper, held
from tests.stores.s3.upload_client import UnidentifiedLock
from tus_wsgi.cli import main
from tus_wsgi.domain.answer import Rejected
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import HookFailed, UploadNotFound
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.model import TIB, Final, Partial, TerminationReason, UploadId, UploadInfo
from tus_wsgi.domain.parts import PartPlan
from tus_wsgi.domain.termination import GoneUpload
from tus_wsgi.operations.listing import Listing
from tus_wsgi.operations.partials import PartialRemover
from tus_wsgi.operations.strict_bucket import StrictBucket
from tus_wsgi.operations.sweep import ActionKind, Sweep, SweepPolicy
from tus_wsgi.service.finish import Finisher
from tus_wsgi.service.termination import Terminator
from tus_wsgi.stores.s3.record import UploadRecord, encode
from tus_wsgi.stores.s3.upload import S3Upload

DAY = 86_400.0


# -- expired uploads ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "stored"),
    [(LENGTH, 0), (LENGTH, 5), (LENGTH, PART), (2 * LENGTH, LENGTH), (5, 0), (5, 3), (None, 3)],
)
def test_an_expired_upload_is_removed_completely(
    sweeper: Sweeper, length: int | None, stored: int
) -> None:
    upload = sweeper.create(length, stored=stored, expires=PAST)
    assert sweeper.kinds() == {upload.info.id: ActionKind.EXPIRED}
    assert sweeper.sandbox.list_multiparts() == []
    assert sweeper.kinds() == {}
    assert sweeper.kinds(now=LATER) == {}
    assert sweeper.sandbox.list_keys() == []


@pytest.mark.parametrize("expires", [None, FUTURE])
@pytest.mark.parametrize(("length", "stored"), [(LENGTH, PART + 5), (5, 3), (None, 3), (5, 0)])
def test_an_upload_in_progress_is_not_locked(
    sweeper: Sweeper, expires: datetime | None, length: int | None, stored: int
) -> None:
    sweeper.create(length, stored=stored, expires=expires)
    before = sweeper.snapshot()
    assert sweeper.kinds() == {}
    assert sweeper.snapshot() == before
    assert sweeper.locker.locked_ids == []


@pytest.mark.parametrize("length", [0, 5, LENGTH])
def test_a_finished_upload_is_never_touched(sweeper: Sweeper, length: int) -> None:
    """D-08: even if it has an expiry in the past."""
    sweeper.create_finished(length, expires=PAST)
    before = sweeper.snapshot()
    assert sweeper.kinds() == {}
    assert sweeper.snapshot() == before


def test_an_upload_whose_expiry_is_extended_before_the_lock_stays(sweeper: Sweeper) -> None:
    """D-08: the record is read again under the lock."""
    upload = sweeper.create(LENGTH, stored=5, expires=PAST)
    sweeper.locker.before_lock = lambda: (
        sweeper.sandbox.store().open(upload.info.id).extend_expiry(FUTURE, held)
    )
    assert sweeper.kinds() == {}
    assert sweeper.reload(upload).offset == 5


def test_an_upload_that_is_terminated_before_the_lock_is_no_failure(sweeper: Sweeper) -> None:
    upload = sweeper.create(5, stored=3, expires=PAST)
    sweeper.locker.before_lock = lambda: (
        sweeper.sandbox.store().open(upload.info.id).terminate(held)
    )
    assert sweeper.kinds() == {}


def test_a_locked_upload_is_left_for_the_next_sweep(sweeper: Sweeper) -> None:
    upload = sweeper.create(LENGTH, stored=5, expires=PAST)
    before = sweeper.snapshot()
    with sweeper.locker.lock(upload.info.id, on_release_request=lambda: None):
        assert set(sweeper.kinds().values()) == {ActionKind.IN_USE}
    assert sweeper.snapshot() == before
    assert sweeper.kinds() == {upload.info.id: ActionKind.EXPIRED}


def test_an_upload_whose_parts_are_gone_stays_until_it_expires(sweeper: Sweeper) -> None:
    """Until then its client gets 410. D-09: a completion may be in progress at first."""
    upload = sweeper.create(LENGTH, stored=PART, expires=FUTURE)
    (multipart,) = sweeper.sandbox.list_multiparts()
    sweeper.sandbox.admin.abort_multipart_upload(
        Bucket=sweeper.sandbox.bucket,
        Key=sweeper.sandbox.keys.data(upload.info.id),
        UploadId=multipart,
    )
    assert sweeper.kinds() == {}
    assert sweeper.kinds(completion_timeout=0) == {}
    for is_dry in (True, False):
        assert set(sweeper.kinds(now=FUTURE, is_dry=is_dry).values()) == {ActionKind.IN_USE}
    ended = sweeper.sweep(now=FUTURE, completion_timeout=0)
    assert [result.kind for result in ended] == [ActionKind.EXPIRED]
    assert sweeper.sweep(now=FUTURE) == []
    assert sweeper.sandbox.list_keys() == []


def test_an_object_at_the_key_of_an_expired_upload_stays(sweeper: Sweeper) -> None:
    """D-12: tusd lets applications choose the key, which an earlier object may have."""
    sandbox = sweeper.sandbox
    sandbox.put(sandbox.prefix + "report.pdf", b"last year's")
    key, multipart = sweeper.create_orphan("report.pdf")
    id = UploadId(secrets.token_urlsafe(16))
    info = UploadInfo(id, LENGTH, expires=PAST)
    record = UploadRecord(info, sandbox.bucket, key, multipart, PartPlan(PART))
    sandbox.put(sandbox.keys.info(id), encode(record))
    assert sweeper.kinds() == {id: ActionKind.EXPIRED}
    assert sweeper.kinds(now=LATER) == {}
    assert sandbox.list_keys() == ["report.pdf"]
    assert sandbox.list_multiparts() == []


# -- full uploads ---------------------------------------------------------------------------------


def create_full(sweeper: Sweeper) -> S3Upload:
    """Create an upload whose process died after it had stored every byte."""
    return sweeper.create(LENGTH, stored=LENGTH)


def test_without_a_finisher_a_full_upload_is_assembled_but_not_finished(
    sweeper: Sweeper,
) -> None:
    upload = create_full(sweeper)
    assert sweeper.kinds() == {upload.info.id: ActionKind.FINISHED}
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)
    assert sweeper.sandbox.list_multiparts() == []
    assert sweeper.reload(upload).is_full
    assert not sweeper.reload(upload).is_finished
    assert sweeper.kinds() == {}


def test_without_a_hook_a_full_upload_is_finished(sweeper: Sweeper) -> None:
    upload = create_full(sweeper)
    results = sweeper.sweep(finisher=Finisher(None, EventDispatcher(())))
    assert [(result.kind, result.detail) for result in results] == [
        (ActionKind.FINISHED, f"{LENGTH} bytes")
    ]
    assert sweeper.reload(upload).is_finished
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)


@pytest.mark.parametrize("expires", [None, PAST])
def test_recording_the_finish_of_a_complete_object_is_not_reported(
    sweeper: Sweeper, expires: datetime | None
) -> None:
    """The last request deferred the record of the finish to the next request.

    Only a sweep that reads all records finds it, because the listing shows that nothing is due.
    """
    info = UploadInfo(UploadId(secrets.token_urlsafe(16)), 3, expires=expires)
    upload = sweeper.sandbox.store().create(info, record_now=True)
    upload.append(ScriptedBody(b"abc"), held)
    upload.assemble(held)
    upload.finish(held, may_defer=True)
    assert sweeper.sweep() == []
    assert not sweeper.reload(upload).is_finished
    assert sweeper.sweep(finisher=Finisher(None, EventDispatcher(())), reads_all=True) == []
    assert sweeper.reload(upload).is_finished
    assert sweeper.sandbox.data(info.id) == b"abc"


def test_the_hook_runs_again_only_if_it_raised(sweeper: Sweeper) -> None:
    upload = create_full(sweeper)
    dispatched: list[FinishedUpload] = []

    def hook(finished: FinishedUpload) -> None:
        dispatched.append(finished)
        if len(dispatched) == 1:
            raise RuntimeError("not yet")

    finisher = Finisher(hook, EventDispatcher(()))
    assert [result.kind for result in sweeper.sweep(finisher=finisher)] == [ActionKind.FAILED]
    assert not sweeper.reload(upload).is_finished
    assert [result.kind for result in sweeper.sweep(finisher=finisher)] == [ActionKind.FINISHED]
    assert sweeper.sweep(finisher=finisher) == []
    assert [finished.id for finished in dispatched] == [upload.info.id] * 2
    assert dispatched[0].storage["Key"] == sweeper.sandbox.keys.data(upload.info.id)


def test_a_full_upload_never_expires(sweeper: Sweeper) -> None:
    upload = sweeper.create(LENGTH, stored=LENGTH, expires=PAST)
    assert sweeper.kinds() == {upload.info.id: ActionKind.FINISHED}
    assert sweeper.kinds() == {}
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)


# -- rejected uploads -----------------------------------------------------------------------------


def create_rejected(sweeper: Sweeper, size: int, *, keep: bool = False) -> S3Upload:
    """Create an upload whose rejection is recorded, and whose object is not removed yet."""
    upload = sweeper.create(size, stored=size)
    upload.assemble(held)
    upload.reject(Rejected(keep=keep).rejection, held)
    return upload


@pytest.mark.parametrize("size", [10, LENGTH])
def test_the_object_of_a_rejected_upload_is_removed(sweeper: Sweeper, size: int) -> None:
    """D-13: the process was killed between the record and the deletion."""
    upload = create_rejected(sweeper, size)
    assert sweeper.kinds(is_dry=True) == {upload.info.id: ActionKind.REMOVED}
    assert sweeper.kinds() == {upload.info.id: ActionKind.REMOVED}
    assert sweeper.sandbox.list_keys() == [f"{upload.info.id}.info"]
    assert sweeper.kinds() == {}


@pytest.mark.parametrize("size", [10, LENGTH])
def test_the_record_of_a_rejected_upload_is_removed_after_a_day(
    sweeper: Sweeper, size: int
) -> None:
    upload = create_rejected(sweeper, size)
    assert sweeper.kinds(now=FUTURE) == {upload.info.id: ActionKind.REMOVED}
    with pytest.raises(UploadNotFound):
        sweeper.sandbox.store().open(upload.info.id)
    assert upload.info.id not in sweeper.sandbox.list_keys()


@pytest.mark.parametrize("size", [10, LENGTH])
def test_an_object_that_the_application_keeps_is_never_removed(sweeper: Sweeper, size: int) -> None:
    """D-08: the application has taken it over."""
    upload = create_rejected(sweeper, size, keep=True)
    assert sweeper.kinds() == {}
    for _ in range(2):
        sweeper.kinds(now=FUTURE)
    assert sweeper.sandbox.data(upload.info.id) == bytes(size)


# -- orphans --------------------------------------------------------------------------------------


def test_a_multipart_upload_without_a_record_is_aborted_if_the_operator_says_so(
    sweeper: Sweeper,
) -> None:
    key, orphan = sweeper.create_orphan()
    sweeper.create(LENGTH, stored=PART)
    (live,) = set(sweeper.sandbox.list_multiparts()) - {orphan}
    assert sweeper.kinds(abort_unknown=True) == {key: ActionKind.ABORTED}
    assert sweeper.sandbox.list_multiparts() == [live]


def test_a_multipart_upload_younger_than_min_age_stays(sweeper: Sweeper) -> None:
    """D-08: it may belong to a creation in progress."""
    sweeper.create_orphan()
    before = sweeper.snapshot()
    assert sweeper.kinds(min_age=DAY, abort_unknown=True) == {}
    assert sweeper.snapshot() == before
    results = sweeper.sweep(min_age=DAY, now=FUTURE, abort_unknown=True)
    assert [result.kind for result in results] == [ActionKind.ABORTED]


@pytest.mark.parametrize(
    "name",
    [
        "report.pdf",
        "0123456789abcdef0123456789abcdef",
        "deeper/Q1Hf2sVtT0m3bYwXyZ_-09",
        "Q1Hf.info",
    ],
)
def test_a_multipart_upload_whose_key_has_another_form_stays(sweeper: Sweeper, name: str) -> None:
    """D-12: another program may have created it."""
    sweeper.create_orphan(name)
    before = sweeper.snapshot()
    assert sweeper.kinds() == sweeper.kinds(abort_unknown=True) == {}
    assert sweeper.snapshot() == before


def test_a_second_multipart_upload_of_an_upload_in_progress_is_aborted(sweeper: Sweeper) -> None:
    upload = sweeper.create(LENGTH, stored=PART)
    _, second = sweeper.create_orphan(upload.info.id)
    assert sweeper.kinds() == {sweeper.sandbox.keys.data(upload.info.id): ActionKind.ABORTED}
    assert second not in sweeper.sandbox.list_multiparts()
    assert sweeper.reload(upload).offset == PART


def test_an_unknown_multipart_upload_stays_if_the_recorded_one_is_not_listed(
    sweeper: Sweeper,
) -> None:
    """D-08: the service may list the recorded multipart upload under another UploadId."""
    sandbox = sweeper.sandbox
    upload = sweeper.create(LENGTH)
    (named,) = sandbox.list_multiparts()
    sweeper.create_orphan(upload.info.id)
    key = sandbox.keys.data(upload.info.id)
    sandbox.admin.abort_multipart_upload(Bucket=sandbox.bucket, Key=key, UploadId=named)
    before = sweeper.snapshot()
    assert sweeper.kinds() == {}
    assert sweeper.snapshot() == before


def test_a_multipart_upload_at_the_key_of_a_finished_upload_is_aborted(sweeper: Sweeper) -> None:
    upload = sweeper.create_finished(LENGTH)
    sweeper.create_orphan(upload.info.id)
    assert sweeper.kinds() == {sweeper.sandbox.keys.data(upload.info.id): ActionKind.ABORTED}
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)


CHOSEN_KEYS = ["users/ada/{id}/a.txt", "{id}-report-of-the-year.pdf"]


@pytest.mark.parametrize("key", CHOSEN_KEYS)
def test_a_second_multipart_upload_at_a_chosen_key_is_aborted(sweeper: Sweeper, key: str) -> None:
    """D-12: the record names the key."""
    upload = sweeper.create(LENGTH, stored=PART, key=key)
    name = upload.storage["Key"]
    _, second = sweeper.create_orphan(name.removeprefix(sweeper.sandbox.prefix))
    assert sweeper.kinds() == {name: ActionKind.ABORTED}
    assert second not in sweeper.sandbox.list_multiparts()
    assert sweeper.reload(upload).offset == PART


@pytest.mark.parametrize("key", CHOSEN_KEYS)
def test_an_expired_upload_at_a_chosen_key_leaves_nothing(sweeper: Sweeper, key: str) -> None:
    upload = sweeper.create(LENGTH, stored=PART, expires=PAST, key=key)
    sweeper.create_orphan(upload.storage["Key"].removeprefix(sweeper.sandbox.prefix))
    assert sweeper.kinds() == {upload.info.id: ActionKind.EXPIRED}
    assert sweeper.sandbox.list_multiparts() == []
    assert sweeper.kinds(now=LATER) == {}
    assert sweeper.sandbox.list_keys() == []


def test_an_object_at_the_chosen_key_of_an_expired_upload_stays(sweeper: Sweeper) -> None:
    """D-08: the upload may be complete."""
    upload = sweeper.create(LENGTH, stored=PART, expires=PAST, key=CHOSEN_KEYS[0])
    sweeper.sandbox.put(upload.storage["Key"], b"the only copy")
    before = sweeper.snapshot()
    assert set(sweeper.kinds().values()) == {ActionKind.FAILED}
    assert sweeper.snapshot() == before


@pytest.mark.parametrize("suffix", ["", ".segment.1", ".10.2"])
def test_a_tail_without_a_record_is_reported_and_not_touched(sweeper: Sweeper, suffix: str) -> None:
    """D-12: it may belong to a deployment whose object prefix is another one."""
    key = f"{sweeper.sandbox.prefix}{secrets.token_urlsafe(16)}.part{suffix}"
    sweeper.sandbox.put(key, b"late", Metadata={"start": "10"})
    before = sweeper.snapshot()
    assert sweeper.kinds(min_age=DAY) == {}
    expected = {key: ActionKind.UNKNOWN}
    assert sweeper.kinds() == sweeper.kinds(abort_unknown=True) == expected
    assert sweeper.snapshot() == before


@pytest.mark.parametrize("suffix", ["", ".segment.1", ".0.1"])
def test_the_tail_of_a_finished_upload_is_removed(sweeper: Sweeper, suffix: str) -> None:
    upload = sweeper.create_finished(LENGTH)
    key = sweeper.sandbox.keys.tail(upload.info.id) + suffix
    sweeper.sandbox.put(key, b"late", Metadata={"start": str(PART)})
    assert sweeper.kinds() == {key: ActionKind.REMOVED}
    assert sweeper.sandbox.data(upload.info.id) == bytes(LENGTH)


def test_an_expired_upload_leaves_no_segment_of_its_tail(sweeper: Sweeper) -> None:
    upload = sweeper.create(LENGTH, stored=100_000, expires=PAST)
    for _ in range(2):
        upload.append(ScriptedBody(bytes(100_000)), held)
    id = upload.info.id
    tails = [f"{id}.part", f"{id}.part.segment.1", f"{id}.part.segment.2"]
    assert sweeper.sandbox.list_keys() == [f"{id}.info", *tails]
    assert sweeper.kinds() == {id: ActionKind.EXPIRED}
    assert sweeper.sandbox.list_keys() == [f"{id}.info", tails[0]]
    assert sweeper.kinds(now=LATER) == {}
    assert sweeper.sandbox.list_keys() == []


EXPIRED_INFO = (
    b'{"ID":"Q1Hf2sVtT0m3bYwXyZ_-09","Size":5,"PartPlan":[5,0,0,0,0],'
    b'"Expires":"2020-01-01T00:00:00+00:00"}'
)

FOREIGN_OBJECTS = {
    "a tail without a start": ("Q1Hf2sVtT0m3bYwXyZ_-09.part", b"part"),
    "a tail of tusd": ("0123456789abcdef0123456789abcdef.part", b"part"),
    "a data object": ("Q1Hf2sVtT0m3bYwXyZ_-09", b"the only copy"),
    "an info object whose name is no id": ("a b.info", b"<html>"),
    "a copy of an info object": ("copy.info", EXPIRED_INFO),
    "an invalid id": (
        "a b.info",
        b'{"ID":"a b","Size":5,"PartPlan":[5,0,0,0,0],"Expires":"2020-01-01T00:00:00+00:00"}',
    ),
    "an upload of tusd": (
        "0123456789abcdef0123456789abcdef.info",
        b'{"ID":"0123456789abcdef0123456789abcdef+x~y","Size":5,"Storage":{"Key":"gone"}}',
    ),
    "an expired upload below another prefix": ("deeper/Q1Hf2sVtT0m3bYwXyZ_-09.info", EXPIRED_INFO),
}


@pytest.mark.parametrize(("name", "content"), FOREIGN_OBJECTS.values(), ids=FOREIGN_OBJECTS)
def test_foreign_objects_stay(sweeper: Sweeper, name: str, content: bytes) -> None:
    """D-12: only an object that a record names, or an upload has written, is removed."""
    sweeper.sandbox.put(sweeper.sandbox.prefix + name, content)
    before = sweeper.snapshot()
    assert sweeper.kinds() == {}
    assert sweeper.snapshot() == before


# -- the procedure --------------------------------------------------------------------------------


def test_a_dry_run_reports_every_action_and_changes_nothing(sweeper: Sweeper) -> None:
    expired = sweeper.create(LENGTH, stored=PART + 5, expires=PAST)
    full = create_full(sweeper)
    orphan, _ = sweeper.create_orphan()
    tail = sweeper.sandbox.keys.tail(sweeper.create_finished(5).info.id)
    sweeper.sandbox.put(tail, b"late", Metadata={"start": "10"})
    before = sweeper.snapshot()
    expected = {
        expired.info.id: ActionKind.EXPIRED,
        full.info.id: ActionKind.FINISHED,
        orphan: ActionKind.ABORTED,
        tail: ActionKind.REMOVED,
    }
    assert sweeper.kinds(is_dry=True, abort_unknown=True) == expected
    assert sweeper.snapshot() == before
    assert sweeper.locker.locked_ids == []
    assert sweeper.kinds(abort_unknown=True) == expected
    assert sweeper.kinds() == {}


def test_a_final_upload_without_its_partial_uploads_stays_until_it_expires(
    sweeper: Sweeper,
) -> None:
    """Until then its client learns that it cannot be assembled."""
    id = UploadId(secrets.token_urlsafe(16))
    final = UploadInfo(id, None, expires=FUTURE, concat=Final((UploadId("gone"),)))
    sweeper.sandbox.store().create(final, record_now=True)
    assert sweeper.kinds() == {}
    assert [result.kind for result in sweeper.sweep(now=FUTURE)] == [ActionKind.EXPIRED]
    assert sweeper.sweep(now=FUTURE) == []
    assert sweeper.sandbox.list_keys() == []


def test_a_final_upload_is_assembled_once_its_partial_uploads_are_complete(
    sweeper: Sweeper,
) -> None:
    store = sweeper.sandbox.store()
    ids = [UploadId(secrets.token_urlsafe(16)) for _ in range(2)]
    for id in ids:
        partial = store.create(UploadInfo(id, 3, concat=Partial()), record_now=True)
        partial.append(ScriptedBody(b"abc"), held)
        partial.assemble(held)
        partial.finish(held, may_defer=False)
    final = UploadId(secrets.token_urlsafe(16))
    store.create(UploadInfo(final, None, concat=Final((*ids,))), record_now=True)
    finisher = Finisher(None, EventDispatcher(()), discard=PartialRemover(store, sweeper.locker))
    assert [result.name for result in sweeper.sweep(finisher=finisher)] == [final]
    assert set(sweeper.locker.locked_ids) == {final, *ids}
    assert sweeper.sandbox.data(final) == b"abcabc"
    sweeper.sweep(finisher=finisher, now=LATER)
    assert sweeper.sandbox.list_keys() == [final, f"{final}.info"]


def test_a_sweep_covers_every_page_of_the_listing(sweeper: Sweeper) -> None:
    ids = {sweeper.create(5, stored=2, expires=PAST).info.id for _ in range(5)}
    assert {result.name for result in sweeper.sweep(page=2)} == ids
    assert sweeper.sweep(page=2, now=LATER) == []
    assert sweeper.sandbox.list_keys() == []


def test_a_failure_of_one_upload_does_not_affect_the_others(
    sweeper: Sweeper, s3: SeaweedFS
) -> None:
    first = sweeper.create(LENGTH, stored=5, expires=PAST)
    second = sweeper.create(5, stored=2, expires=PAST)
    with denying(s3, "s3:AbortMultipartUpload", sweeper.sandbox.prefix):
        kinds = sweeper.kinds()
    assert kinds[second.info.id] is ActionKind.EXPIRED
    assert ActionKind.FAILED in kinds.values()
    assert sweeper.sandbox.list_keys()
    with pytest.raises(UploadNotFound):
        sweeper.reload(first)
    assert sweeper.kinds(now=LATER) == {first.info.id: ActionKind.REMOVED}
    assert sweeper.sandbox.list_keys() == sweeper.sandbox.list_multiparts() == []


def test_an_unreadable_info_object_is_not_treated_as_absent(
    sweeper: Sweeper, s3: SeaweedFS
) -> None:
    """D-08: even if a 403 stands for a 404, only the listing proves absence."""
    client = s3.client(s3.least_privilege)
    sweeper.create(LENGTH, stored=PART)
    sweeper.sandbox.put("readable", b"")
    client.get_object(Bucket=s3.bucket, Key="readable")
    before = sweeper.snapshot()
    with denying(s3, "s3:GetObject", sweeper.sandbox.prefix):
        sweep_bucket = StrictBucket(client, s3.bucket)
        sweep_bucket.get("readable")  # a server would take it for a proof that reads are allowed
        sweep = Sweep(
            sweeper.sandbox.store(),
            sweeper.locker,
            sweep_bucket,
            keys=sweeper.sandbox.keys,
            listing=Listing(sweeper.sandbox.admin, s3.bucket),
            policy=SweepPolicy(now=FUTURE, min_age=0, finisher=None, max_size=TIB, is_dry=False),
        )
        kinds = [result.kind for result in sweep.run()]
    sweeper.sandbox.delete("readable")
    assert kinds == [ActionKind.FAILED] * 2
    assert sweeper.snapshot() == before


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture
def run(s3: SeaweedFS, sandbox: S3Sandbox, tmp_path: Path) -> Callable[..., Result]:
    def run(*arguments: str, **environ: str) -> Result:
        given = {
            **s3.environ(s3.admin),
            "TUS_S3_OBJECT_PREFIX": sandbox.prefix,
            "TUS_LOCK_DIR": str(tmp_path / "locks"),
            **environ,
        }
        return CliRunner().invoke(main, ["sweep", *arguments], env=given)

    return run


def test_the_command_prints_each_action_and_a_summary(
    sweeper: Sweeper, run: Callable[..., Result]
) -> None:
    upload = sweeper.create(5, stored=2, expires=PAST)
    line = f"expired   {upload.info.id}: at 2020-01-01 00:00"
    dry = run("--dry-run")
    assert dry.stdout.splitlines() == [line, "1 examined, 1 expired (dry run)"]
    assert run().stdout.splitlines() == [line, "1 examined, 1 expired"]
    again = run("--json")
    assert json.loads(again.stdout) == {"dry_run": False, "examined": 2, "results": []}
    assert dry.exit_code == again.exit_code == 0


def test_the_command_calls_the_hook(
    sweeper: Sweeper, run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = create_full(sweeper)
    name = f"hook_{secrets.token_hex(4)}"
    (tmp_path / f"{name}.py").write_text(
        "def done(finished):\n    print('hooked', finished.id, finished.length)\n"
    )
    monkeypatch.chdir(tmp_path)
    ran = run("--on-finish", f"{name}:done")
    assert ran.exit_code == 0
    assert f"hooked {upload.info.id} {LENGTH}" in ran.stdout
    assert sweeper.reload(upload).is_finished


def test_no_hook_finishes_full_uploads(sweeper: Sweeper, run: Callable[..., Result]) -> None:
    upload = create_full(sweeper)
    assert run("--no-hook").exit_code == 0
    assert sweeper.reload(upload).is_finished


def test_missing_permissions_to_list_are_named(s3: SeaweedFS, run: Callable[..., Result]) -> None:
    ran = run(**s3.environ())
    assert ran.exit_code == 1
    assert "s3:ListBucket is not allowed: allow it on arn:aws:s3:::uploads " in ran.stdout
    assert "s3:ListBucketMultipartUploads is not allowed" in ran.stdout
    report = json.loads(run("--json", **s3.environ()).stdout)
    assert [result["kind"] for result in report["results"]] == ["failed", "failed"]


@pytest.mark.parametrize(
    ("arguments", "environ", "message"),
    [
        ([], {"TUS_LOCKER": "memory"}, "memory is for one process"),
        ([], {"TUS_S3_BUCKET": ""}, "TUS_S3_BUCKET"),
        (["--min-age", "old"], {}, "expected a duration"),
        (["--on-finish", "nowhere:done"], {}, "expected module:function"),
        (["--on-finish", "json:nothing"], {}, "expected module:function"),
        (["--on-finish", "json"], {}, "expected module:function"),
        (["--on-finish", "json:dumps", "--no-hook"], {}, "--on-finish and --no-hook"),
    ],
)
def test_a_sweep_that_cannot_start_exits_with_2(
    run: Callable[..., Result], arguments: list[str], environ: dict[str, str], message: str
) -> None:
    ran = run(*arguments, **environ)
    assert ran.exit_code == 2
    assert message in ran.stderr


# -- the hook for removed uploads ------------------------------------------------------------------


def test_the_application_learns_of_expired_uploads(sweeper: Sweeper) -> None:
    upload = sweeper.create(LENGTH, stored=PART + 5, expires=PAST)
    gone: list[GoneUpload] = []
    terminator = Terminator(gone.append, EventDispatcher(()))
    assert sweeper.kinds(terminator=terminator) == {upload.info.id: ActionKind.EXPIRED}
    assert [(each.id, each.reason) for each in gone] == [(upload.info.id, "expired")]
    assert sweeper.sandbox.list_multiparts() == []


def test_a_sweep_continues_a_termination_whose_hook_has_raised(sweeper: Sweeper) -> None:
    """D-13: the record stays until the hook has returned."""
    upload = sweeper.create_finished(10)
    gone: list[GoneUpload] = []

    def fail_once(upload: GoneUpload) -> None:
        gone.append(upload)
        if len(gone) == 1:
            raise RuntimeError("not yet")

    terminator = Terminator(fail_once, EventDispatcher(()))
    with pytest.raises(HookFailed):
        terminator.terminate(
            sweeper.sandbox.store().open(upload.info.id),
            UnidentifiedLock(held),
            TerminationReason.APP,
        )
    assert sweeper.sandbox.list_keys() == [f"{upload.info.id}.info"]
    assert sweeper.kinds() == {}
    assert sweeper.kinds(terminator=terminator) == {upload.info.id: ActionKind.REMOVED}
    assert [each.reason for each in gone] == ["app", "app"]
    with pytest.raises(UploadNotFound):
        sweeper.sandbox.store().open(upload.info.id)
