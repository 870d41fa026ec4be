"""Fixtures: a store on a real S3 server, a sweep of it, and a client with scripted responses."""

from __future__ import annotations

import pytest

from tests.harness.stores import S3Sandbox, admin, recorded, sandbox
from tests.operations.sweeper import RecordingLocker, Sweeper
from tests.stores.s3.stubbed_bucket import stub_client, stubbed

__all__ = ["admin", "recorded", "sandbox", "stub_client", "stubbed", "sweeper"]


@pytest.fixture
def sweeper(sandbox: S3Sandbox) -> Sweeper:
    return Sweeper(sandbox, RecordingLocker())
