"""Fixtures of tests that need a store on a real S3 server."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox

__all__ = ["admin", "recorded", "sandbox"]
