"""Finishing uploads: the object, then the application's hook, then the record."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from tests.harness.clients.service import METADATA
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import LockLost, OnFinishFailed, StoreUnavailable, UploadIncomplete
from tus_wsgi.domain.events import UploadFinished
from tus_wsgi.domain.hooks import FinishedUpload, StoredObject
from tus_wsgi.domain.model import Final, TerminationReason, UploadId, UploadInfo
from tus_wsgi.domain.termination import GoneUpload
from tus_wsgi.service.finish import Finisher
from tus_wsgi.service.termination import Terminator

DATA = b"0123456789"


def test_the_hook_runs_after_the_object_exists_and_before_the_record_says_finished(
    hooked_uploads: FailingServiceClient,
) -> None:
    """D-06."""
    id = hooked_uploads.create(10)
    hooked_uploads.store.calls.clear()
    hooked_uploads.append(id, 0, DATA)
    assert hooked_uploads.store.calls[-2:] == [Call.ASSEMBLE, Call.FINISH]
    (finished,) = hooked_uploads.finished
    assert (finished.id, finished.length, finished.metadata) == (id, 10, METADATA)
    assert finished.storage == {"Type": "memory"}
    assert hooked_uploads.events[-1] == UploadFinished(id, 10)


def test_a_hook_that_raises_is_called_again_by_the_next_request(
    hooked_uploads: FailingServiceClient,
) -> None:
    hooked_uploads.finish_errors = [ValueError("no disk"), KeyError("again")]
    id = hooked_uploads.create(10)
    with pytest.raises(OnFinishFailed) as caught:
        hooked_uploads.append(id, 0, DATA)
    assert isinstance(caught.value.__cause__, ValueError)
    assert hooked_uploads.events_of(UploadFinished) == []
    with pytest.raises(UploadIncomplete):
        hooked_uploads.content(id)
    with pytest.raises(OnFinishFailed):
        hooked_uploads.inspect(id)
    assert hooked_uploads.inspect(id).is_finished
    assert hooked_uploads.inspect(id).is_finished
    assert [upload.id for upload in hooked_uploads.finished] == [id] * 3
    assert hooked_uploads.events_of(UploadFinished) == [UploadFinished(id, 10)]


def test_the_hook_is_called_again_if_the_record_could_not_be_written(
    hooked_uploads: FailingServiceClient,
) -> None:
    """D-06: the hook is called at least once, because the first call left no trace."""
    id = hooked_uploads.create(10)
    hooked_uploads.store.fail(Call.FINISH)
    with pytest.raises(StoreUnavailable):
        hooked_uploads.append(id, 0, DATA)
    assert hooked_uploads.inspect(id).is_finished
    assert len(hooked_uploads.finished) == 2


def test_the_hook_is_not_called_if_the_lock_is_lost(hooked_uploads: FailingServiceClient) -> None:
    id = hooked_uploads.create(10)
    hooked_uploads.store.fail(Call.ASSEMBLE, LockLost("the lease expired"))
    with pytest.raises(LockLost):
        hooked_uploads.append(id, 0, DATA)
    assert hooked_uploads.finished == []


class LosingUpload:
    """A full upload whose lock is lost in one of its calls, while the process is stopped.

    Args:
        lost_in: the name of the call.
    """

    info = UploadInfo(UploadId("a"), 5, 5)
    storage: ClassVar[dict[str, str]] = {}

    def __init__(self, lost_in: str) -> None:
        self._lost_in = lost_in
        self.is_held = True

    def assert_held(self) -> None:
        if not self.is_held:
            raise LockLost("the holder was stopped for longer than its lease")

    def assemble(self, _assert_held: object) -> bool:
        self._call("assemble")
        return True

    @property
    def stored_object(self) -> StoredObject:
        self._call("stored_object")
        return StoredObject(etag="etag")

    def begin_termination(self, _reason: object, _assert_held: object) -> None:
        self._call("begin_termination")

    def _call(self, name: str) -> None:
        if name == self._lost_in:
            self.is_held = False


@pytest.mark.parametrize("call", ["assemble", "stored_object"])
def test_the_hook_is_not_called_if_the_lock_is_lost_in_the_call_before_it(call: str) -> None:
    """D-10: a successor may have called the hook, which may have rejected the file."""
    calls: list[FinishedUpload] = []
    upload: Any = LosingUpload(call)
    with pytest.raises(LockLost):
        Finisher(calls.append, EventDispatcher(())).finish_if_full(upload, upload)
    assert calls == []


def test_on_terminate_is_not_called_if_the_lock_is_lost_in_the_call_before_it() -> None:
    """D-10: a successor may have called the hook, and removed the record."""
    calls: list[GoneUpload] = []
    upload: Any = LosingUpload("begin_termination")
    terminator = Terminator(calls.append, EventDispatcher(()))
    with pytest.raises(LockLost):
        terminator.terminate(upload, upload, TerminationReason.CLIENT)
    assert calls == []


class FullFinalUpload(LosingUpload):
    """A final upload, all of whose partial uploads are finished."""

    info = UploadInfo(UploadId("a"), 5, 5, concat=Final((UploadId("b"),), None))

    def finish(self, _assert_held: object, *, may_defer: bool, answer: object) -> None:
        assert not may_defer
        assert answer is None


@pytest.mark.parametrize(
    "failure",
    [StoreUnavailable("PutObject"), LockLost("another request has written to this upload")],
    ids=["S3 fails", "a client removes it too"],
)
def test_partial_uploads_that_cannot_be_removed_do_not_fail_the_finish(failure: Exception) -> None:
    """The file is complete, and without the response the client does not know its URL."""

    def discard(_ids: object) -> None:
        raise failure

    events: list[object] = []
    upload: Any = FullFinalUpload("")
    finisher = Finisher(None, EventDispatcher([events.append]), discard=discard)
    finisher.finish_if_full(upload, upload)
    assert events == [UploadFinished(UploadId("a"), 5)]


def test_without_a_hook_a_request_that_finds_the_object_dispatches_no_event(
    uploads: FailingServiceClient,
) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.FINISH_MAY_DEFER)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, DATA)
    assert uploads.inspect(id).is_finished
    assert uploads.events_of(UploadFinished) == []


def test_a_failed_finish_is_retried_by_the_next_head(uploads: FailingServiceClient) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.ASSEMBLE)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, DATA)
    assert uploads.events_of(UploadFinished) == []
    assert uploads.inspect(id).is_finished
    assert uploads.events_of(UploadFinished) == [UploadFinished(id, 10)]


def test_a_failed_finish_is_retried_by_the_next_append(uploads: FailingServiceClient) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.ASSEMBLE)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, DATA)
    assert uploads.append(id, 10, b"").is_finished
