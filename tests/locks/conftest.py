"""The fixtures of the store that has to bear a holder who comes too late."""

from __future__ import annotations

from tests.harness.stores import admin, recorded, sandbox

__all__ = ["admin", "recorded", "sandbox"]
