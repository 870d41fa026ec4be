"""Fixtures: a store on a real S3 server, and a client with scripted responses."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox
from tests.stores.s3.stubbed_bucket import nowhere, stubbed

__all__ = ["admin", "nowhere", "recorded", "sandbox", "stubbed"]
