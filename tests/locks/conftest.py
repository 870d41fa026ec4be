"""The fixtures of the store that has to bear a holder who comes too late."""

from __future__ import annotations

from tests.harness.stores import admin, place, recorded

__all__ = ["admin", "place", "recorded"]
