"""The fixtures of tests that need a store on a real S3 server, or one that answers as it is told."""

from __future__ import annotations

from tests.harness.stores import admin, place, recorded
from tests.stores.s3.stubs import nowhere, stubbed

__all__ = ["admin", "nowhere", "place", "recorded", "stubbed"]
