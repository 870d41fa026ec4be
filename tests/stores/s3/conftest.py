"""The fixtures of the rings that look at stores on a real S3 server."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox
from tests.stores.s3.stubbed_bucket import nowhere, stubbed

__all__ = ["admin", "nowhere", "recorded", "sandbox", "stubbed"]
