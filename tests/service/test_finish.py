"""Finishing uploads: the object, then the application's hook, then the record."""

from __future__ import annotations

import pytest

from tests.harness.clients.service import METADATA
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.errors import LockLost, OnFinishFailed, StoreUnavailable, UploadIncomplete
from tus_wsgi.domain.events import UploadFinished

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
