"""Discovery: the capabilities that the service declares."""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import MAX_SIZE, UNKNOWN_ID, FailingServiceClient
from tus_wsgi.domain.commands import Discover, Discovered
from tus_wsgi.domain.model import Extension
from tus_wsgi.lockers.memory import MemoryLocker
from tus_wsgi.service.uploads import UploadService
from tus_wsgi.stores.memory import MemoryStore


def test_discovery_returns_the_maximum_size_and_the_extensions(
    uploads: FailingServiceClient,
) -> None:
    discovered = uploads.service.execute(Discover(), ScriptedBody())
    assert discovered == Discovered(MAX_SIZE, tuple(Extension))


@pytest.mark.parametrize(
    ("setting", "expected"), [(0, 1000), (1, 1), (999, 999), (1000, 1000), (1001, 1000)]
)
def test_the_maximum_size_is_the_smaller_of_the_setting_and_the_store_s(
    setting: int, expected: int
) -> None:
    """C-09: the server does not promise a size that the store cannot hold."""
    store, locker = MemoryStore(max_size=1000), MemoryLocker(timeout=0)
    service = UploadService(store, locker, new_id=lambda: UNKNOWN_ID, max_size=setting)
    assert service.max_size == expected
