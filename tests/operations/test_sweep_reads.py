"""How many S3 calls a sweep makes for uploads that are finished."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.harness.bodies import ScriptedBody
from tests.operations.sweeper import FUTURE, LENGTH, PAST, Sweeper, held
from tus_wsgi.domain.answer import Rejected
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.model import Final, Partial, TerminationReason, UploadId, UploadInfo
from tus_wsgi.operations.sweep import ActionKind
from tus_wsgi.service.finish import Finisher
from tus_wsgi.stores.s3.keys import Keys
from tus_wsgi.stores.s3.record import decode, encode
from tus_wsgi.stores.s3.record_size import ListedState, listed_state
from tus_wsgi.stores.s3.upload import S3Upload

NO_HOOK = Finisher(None, EventDispatcher(()))


@pytest.fixture
def listings(sweeper: Sweeper) -> Iterator[list[str]]:
    """The calls of the listing."""
    called: list[str] = []

    def note(model: object, **_: object) -> None:
        called.append(model.name)  # type: ignore[attr-defined]

    events = sweeper.sandbox.admin.meta.events
    events.register("before-call.s3", note)
    yield called
    events.unregister("before-call.s3", note)


def create_deferred(sweeper: Sweeper, *, key: str | None = None) -> S3Upload:
    """Create an upload as one request without a hook does: the record announces the object."""
    upload = sweeper.create(3, stored=3, key=key)
    upload.assemble(held)
    upload.finish(held, may_defer=True)
    return upload


def reads(sweeper: Sweeper, **policy: object) -> list[str]:
    """Sweep, and return the calls other than listings."""
    sweeper.sandbox.calls.clear()
    assert sweeper.sweep(**policy) == []  # type: ignore[arg-type]
    return sweeper.sandbox.calls.begun


@pytest.mark.parametrize("finisher", [None, NO_HOOK])
def test_a_sweep_only_lists_finished_uploads(
    sweeper: Sweeper, listings: list[str], finisher: Finisher | None
) -> None:
    for _ in range(3):
        sweeper.create_finished(5, expires=PAST)
        create_deferred(sweeper)
    sweeper.create_finished(LENGTH)
    sweeper.create(LENGTH, stored=5)
    listings.clear()
    of_unfinished = ["GetObject info", "GetObject tail", "ListParts data"]
    assert sorted(reads(sweeper, finisher=finisher, min_age=86_400.0)) == of_unfinished
    assert sorted(listings) == ["ListMultipartUploads"] * 2 + ["ListObjectsV2"]


@pytest.mark.parametrize("is_dry", [False, True])
def test_a_sweep_reads_the_record_of_an_unfinished_upload_once(
    sweeper: Sweeper, is_dry: bool
) -> None:
    sweeper.create(LENGTH, stored=5, expires=FUTURE)
    sweeper.create(None)
    # Their multipart uploads are too young to be examined.
    begun = reads(sweeper, is_dry=is_dry, min_age=86_400.0)
    assert begun.count("GetObject info") == 2


def test_a_record_is_read_again_under_the_lock(sweeper: Sweeper) -> None:
    """D-08, D-10: the first examination proves nothing."""
    upload = sweeper.create(LENGTH, stored=LENGTH)
    calls = sweeper.sandbox.calls
    calls.clear()
    before_lock: list[str] = []
    sweeper.locker.before_lock = lambda: before_lock.extend(calls.begun)
    assert sweeper.kinds(min_age=86_400.0) == {upload.info.id: ActionKind.FINISHED}
    assert before_lock.count("GetObject info") == 1
    assert calls.begun.count("GetObject info") == 2


def test_a_sweep_with_a_hook_reads_no_upload_whose_hook_has_returned(sweeper: Sweeper) -> None:
    called: list[str] = []

    def hook(upload: FinishedUpload) -> None:
        called.append(upload.id)

    finisher = Finisher(hook, EventDispatcher(()))
    due = create_deferred(sweeper)
    sweeper.create_finished(5)
    results = sweeper.sweep(finisher=finisher)
    assert [(result.kind, result.name) for result in results] == [
        (ActionKind.FINISHED, due.info.id)
    ]
    assert called == [due.info.id]
    assert reads(sweeper, finisher=finisher) == []


@pytest.mark.parametrize("key", ["ada/{id}/a.txt", "{id}-report.pdf"])
def test_a_chosen_key_is_looked_up_until_the_record_says_finished(
    sweeper: Sweeper, key: str
) -> None:
    """The listing does not show the object of the record, unless the key is the default one."""
    upload = create_deferred(sweeper, key=key)
    assert reads(sweeper) != []
    assert reads(sweeper, finisher=NO_HOOK) != []
    assert sweeper.reload(upload).is_finished
    assert reads(sweeper) == reads(sweeper, finisher=NO_HOOK) == []


def test_an_object_at_a_key_of_the_template_is_found_in_the_listing(
    sweeper: Sweeper, listings: list[str]
) -> None:
    sweeper.sandbox.keys = Keys(sweeper.sandbox.prefix, template="{year}/{id}/{filename}")
    for _ in range(2):
        create_deferred(sweeper)
    listings.clear()
    assert reads(sweeper) == reads(sweeper, finisher=NO_HOOK) == []
    assert sorted(listings) == ["ListMultipartUploads"] * 4 + ["ListObjectsV2"] * 4


def test_metadata_may_have_its_own_prefix(sweeper: Sweeper) -> None:
    root = sweeper.sandbox.prefix
    sweeper.sandbox.keys = Keys(f"{root}files/", f"{root}meta/")
    for _ in range(2):
        create_deferred(sweeper)
        sweeper.create_finished(5)
    assert reads(sweeper, finisher=NO_HOOK) == []


def test_partial_and_final_uploads_are_read_until_their_finish_is_recorded(
    sweeper: Sweeper,
) -> None:
    """A concatenation needs the record of the partial upload."""
    store = sweeper.sandbox.store()
    partial = store.create(
        UploadInfo(UploadId(secrets.token_urlsafe(16)), 3, concat=Partial()), record_now=True
    )
    partial.append(ScriptedBody(b"abc"), held)
    partial.assemble(held)
    assert reads(sweeper) != []
    partial.finish(held, may_defer=False)
    final = store.create(
        UploadInfo(UploadId(secrets.token_urlsafe(16)), None, concat=Final((partial.info.id,))),
        record_now=True,
    )
    assert [result.kind for result in sweeper.sweep(finisher=NO_HOOK)] == [ActionKind.FINISHED]
    assert sweeper.reload(final).is_finished
    assert reads(sweeper, finisher=NO_HOOK) == []


def rewrite_as_before(sweeper: Sweeper, upload: S3Upload) -> None:
    """Write the record as an earlier version did: without spaces."""
    key = sweeper.sandbox.keys.info(upload.info.id)
    sweeper.sandbox.put(key, encode(decode(sweeper.sandbox.get(key))))


def test_the_record_of_an_earlier_version_is_read_once(sweeper: Sweeper) -> None:
    """D-10: it is written again under the lock, so that its size shows that it is finished."""
    upload = sweeper.create_finished(5)
    rewrite_as_before(sweeper, upload)
    before = sweeper.snapshot()
    assert reads(sweeper, is_dry=True) == ["GetObject info"]
    assert sweeper.snapshot() == before
    assert sweeper.locker.locked_ids == []
    record = decode(sweeper.sandbox.get(sweeper.sandbox.keys.info(upload.info.id)))
    assert reads(sweeper) == ["GetObject info", "GetObject info", "PutObject info"]
    assert sweeper.locker.locked_ids == [upload.info.id]
    content = sweeper.sandbox.get(sweeper.sandbox.keys.info(upload.info.id))
    assert decode(content) == record
    assert listed_state(len(content)) is ListedState.FINISHED
    assert reads(sweeper) == []


def test_a_record_that_changes_before_the_lock_is_not_written(sweeper: Sweeper) -> None:
    """D-08: an upload that was terminated meanwhile does not come back."""
    upload = sweeper.create_finished(5)
    rewrite_as_before(sweeper, upload)
    sweeper.locker.before_lock = lambda: (
        sweeper.sandbox.store().open(upload.info.id).terminate(held)
    )
    assert sweeper.sweep() == []
    content = sweeper.sandbox.get(sweeper.sandbox.keys.info(upload.info.id))
    assert decode(content).is_terminated


def test_a_record_that_disappears_before_the_lock_is_no_failure(sweeper: Sweeper) -> None:
    """D-13: for example if another sweep runs at the same time. The record is not written again."""
    upload = sweeper.create_finished(5)
    rewrite_as_before(sweeper, upload)
    key = sweeper.sandbox.keys.info(upload.info.id)
    sweeper.locker.before_lock = lambda: sweeper.sandbox.delete(key)
    assert sweeper.sweep() == []
    assert f"{upload.info.id}.info" not in sweeper.sandbox.list_keys()


def test_a_partial_upload_of_an_earlier_version_is_not_written_again(sweeper: Sweeper) -> None:
    """D-11: its removal after a concatenation takes no lock."""
    info = UploadInfo(UploadId(secrets.token_urlsafe(16)), 3, concat=Partial())
    partial = sweeper.sandbox.store().create(info, record_now=True)
    partial.append(ScriptedBody(b"abc"), held)
    partial.assemble(held)
    partial.finish(held, may_defer=False)
    rewrite_as_before(sweeper, partial)
    for _ in range(2):
        assert reads(sweeper) == ["GetObject info"]


def reject(sweeper: Sweeper) -> None:
    upload = sweeper.create(3, stored=3)
    upload.assemble(held)
    upload.reject(Rejected(keep=True).rejection, held)


def begin_termination(sweeper: Sweeper) -> None:
    upload = sweeper.create_finished(3)
    upload.begin_termination(TerminationReason.CLIENT, held)


def terminate(sweeper: Sweeper) -> None:
    sweeper.create_finished(3).terminate(held)


def complete_without_a_record(sweeper: Sweeper) -> None:
    sweeper.create(LENGTH, stored=LENGTH).assemble(held)


def create(sweeper: Sweeper) -> None:
    sweeper.create(3, expires=FUTURE)


@pytest.mark.parametrize(
    "prepare", [reject, begin_termination, terminate, complete_without_a_record, create]
)
def test_every_other_state_is_read_in_each_sweep(sweeper: Sweeper, prepare: object) -> None:
    """D-06, D-13: something is due, or will be."""
    prepare(sweeper)  # type: ignore[operator]
    for _ in range(2):
        now = datetime.now(UTC) + timedelta(hours=1)
        assert "GetObject info" in reads(sweeper, now=now)


def test_a_broken_record_is_reported_in_each_sweep(sweeper: Sweeper) -> None:
    upload = sweeper.create_finished(3)
    key = sweeper.sandbox.keys.info(upload.info.id)
    sweeper.sandbox.put(key, b"{" * 700)
    for _ in range(2):
        assert list(sweeper.kinds().values()) == [ActionKind.FAILED]
    sweeper.sandbox.put(key, b"{" * ListedState.FINISHED)
    assert sweeper.kinds() == {}
    assert list(sweeper.kinds(reads_all=True).values()) == [ActionKind.FAILED]
