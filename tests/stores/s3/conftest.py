"""Fixtures: sandboxes on a real S3 server, and a bucket with scripted responses."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox
from tests.stores.s3.stubbed_bucket import stub_client, stubbed

__all__ = ["admin", "recorded", "sandbox", "stub_client", "stubbed"]
