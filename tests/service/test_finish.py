"""Finishing uploads: the object, then the application's hook, then the record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.harness.clients.service import METADATA
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.dispatch import EventDispatcher
from tus_wsgi.domain.errors import LockLost, OnFinishFailed, StoreUnavailable, UploadIncomplete
from tus_wsgi.domain.events import UploadFinished
from tus_wsgi.domain.hooks import FinishedUpload
from tus_wsgi.domain.model import UploadId, UploadInfo
from tus_wsgi.service.finish import Finisher

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


def test_the_hook_is_not_called_if_the_lock_is_lost_while_the_object_is_made() -> None:
    """D-10: a successor may have called the hook, which may have rejected the file."""
    is_held = True
    calls: list[FinishedUpload] = []

    def assemble(_assert_held: object) -> bool:
        nonlocal is_held
        is_held = False
        return True

    def assert_held() -> None:
        if not is_held:
            raise LockLost("the holder was stopped for longer than its lease")

    upload: Any = SimpleNamespace(info=UploadInfo(UploadId("a"), 5, 5), assemble=assemble)
    lock: Any = SimpleNamespace(assert_held=assert_held)
    with pytest.raises(LockLost):
        Finisher(calls.append, EventDispatcher(())).finish_if_full(upload, lock)
    assert calls == []


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
