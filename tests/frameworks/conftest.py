"""The fixture that the package offers for the tests of applications."""

from __future__ import annotations

from tus_wsgi.testing.plugin import tus_store

__all__ = ["tus_store"]
