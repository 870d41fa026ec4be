"""Records of locks for uploads that do not exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.lockers import new_locker_spec
from tests.harness.servers.dynamodb import DynamoDB
from tus_wsgi.domain.commands import Append, Create, Inspect, Terminate
from tus_wsgi.domain.errors import UploadNotFound
from tus_wsgi.domain.model import Metadata, UploadId
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore


@pytest.fixture
def table(
    request: pytest.FixtureRequest,
    dynamodb: DynamoDB,
    lock_table: str,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    for name, value in dynamodb.environ().items():
        monkeypatch.setenv(name, value)
    return lock_table


def test_a_lock_of_an_upload_that_does_not_exist_leaves_no_record(
    request: pytest.FixtureRequest, tmp_path: Path, table: str, dynamodb: DynamoDB
) -> None:
    """Otherwise a client fills the table with ids that it invents."""
    locker = new_locker_spec("dynamodb", request, tmp_path).locker(timeout=10)
    service = UploadService(MemoryStore(), locker, new_id=lambda: UploadId("0" * 22), extensions=[])
    for number in range(3):
        id = UploadId(f"{number:021}x")
        for command in (Inspect(id), Terminate(id), Append(id, 0)):
            with pytest.raises(UploadNotFound):
                service.execute(command, ScriptedBody(b"x"))
    assert dynamodb.items(table) == []
    created = service.create(Create(10, Metadata(), has_data=True), ScriptedBody(b"x"))
    service.inspect(Inspect(created.info.id))
    (item,) = dynamodb.items(table)
    assert item["fence"] == {"N": "2"}
    service.terminate(Terminate(created.info.id))
    with pytest.raises(UploadNotFound):
        service.inspect(Inspect(created.info.id))
    (item,) = dynamodb.items(table)
    assert item["fence"] == {"N": "4"}, "a process may have the upload in its cache"
