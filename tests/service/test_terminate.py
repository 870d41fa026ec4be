"""Terminating uploads."""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.commands import Append, Download, Inspect, Terminate, Terminated
from tus_wsgi.domain.errors import StoreUnavailable, UploadNotFound
from tus_wsgi.domain.events import UploadTerminated


@pytest.mark.parametrize("data", [b"", b"012", b"0123456789"])
def test_an_upload_is_removed_whether_it_is_finished_or_not(
    uploads: FailingServiceClient, data: bytes
) -> None:
    """TE-01, TE-02, TE-04."""
    id = uploads.create(10)
    uploads.append(id, 0, data)
    assert uploads.service.execute(Terminate(id), ScriptedBody()) == Terminated()
    assert uploads.stored_ids() == []
    assert uploads.events[-1] == UploadTerminated(id)
    for command in (Inspect(id), Append(id, len(data)), Terminate(id), Download(id)):
        with pytest.raises(UploadNotFound):
            uploads.service.execute(command, ScriptedBody())


def test_a_failed_termination_can_be_retried(uploads: FailingServiceClient) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.TERMINATE)
    with pytest.raises(StoreUnavailable):
        uploads.terminate(id)
    assert uploads.events_of(UploadTerminated) == []
    assert uploads.service.execute(Terminate(id), ScriptedBody()) == Terminated()
