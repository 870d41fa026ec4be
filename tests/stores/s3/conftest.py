"""The fixtures of the rings that look at stores on a real S3 server."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox
from tests.stores.s3.stubbed_bucket import stub_client, stubbed

__all__ = ["admin", "recorded", "sandbox", "stub_client", "stubbed"]
