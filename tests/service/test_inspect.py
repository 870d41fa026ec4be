"""Inspecting uploads."""

from __future__ import annotations

import pytest

from tests.service.service_fixtures import FailingServiceClient, FailingUpload
from tus_wsgi.domain.read_limit import HEAD_SECONDS, limited, limited_reads


def test_inspecting_an_upload_changes_nothing(uploads: FailingServiceClient) -> None:
    """C-20, C-21, C-25."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    assert uploads.inspect(id) == uploads.inspect(id)


def test_only_a_head_limits_how_long_it_waits_for_the_store(
    uploads: FailingServiceClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that gets no offset starts again at zero."""
    timeouts: list[float | None] = []

    def record(_upload: object, _assert_held: object = None) -> None:
        timeouts.append(limited(60.0))

    id = uploads.create(10)
    monkeypatch.setattr(FailingUpload, "load_offset", record)
    uploads.inspect(id)
    uploads.append(id, 0, b"01234")
    assert timeouts == [HEAD_SECONDS, 60.0]


def test_the_limit_of_a_head_is_not_longer_than_the_timeout_of_the_store() -> None:
    with limited_reads(3.0):
        assert (limited(None), limited(2.0), limited(60.0)) == (3.0, 2.0, 3.0)
    assert (limited(None), limited(60.0)) == (None, 60.0)
