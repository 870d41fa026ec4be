"""A pytest fixture. To use it, write `pytest_plugins = ["tus_wsgi.testing.plugin"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tus_wsgi.stores.memory import MemoryStore
from tus_wsgi.testing import uploads_in_memory


@pytest.fixture
def tus_store() -> Iterator[MemoryStore]:
    """Store the uploads of the application in memory."""
    with uploads_in_memory() as store:
        yield store
