"""Fixtures of tests of hooks outside of the process."""

from __future__ import annotations

import pytest


@pytest.fixture(params=["wsgi", "http"])
def carrier(request: pytest.FixtureRequest) -> str:
    """Each carrier in turn."""
    param: str = request.param
    return param
