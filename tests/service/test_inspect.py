"""Inspecting uploads."""

from __future__ import annotations

from tests.service.service_fixtures import FailingServiceClient


def test_inspecting_an_upload_changes_nothing(uploads: FailingServiceClient) -> None:
    """C-20, C-21, C-25."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    assert uploads.inspect(id) == uploads.inspect(id)
