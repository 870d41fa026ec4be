"""The fixtures that the tests of the service share."""

from __future__ import annotations

import pytest

from tests.service.service_fixtures import FailingServiceClient


@pytest.fixture
def uploads() -> FailingServiceClient:
    """A service without an `on_finish` hook."""
    return FailingServiceClient(has_hook=False)


@pytest.fixture
def hooked_uploads() -> FailingServiceClient:
    """A service with an `on_finish` hook."""
    return FailingServiceClient(has_hook=True)
