"""Uploads that are created without a length, and declare it later."""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import MAX_SIZE, Call, FailingServiceClient
from tus_wsgi.domain.errors import LengthMismatch, OffsetMismatch, RequestError, UploadTooLarge


def test_the_length_may_stay_unknown(uploads: FailingServiceClient) -> None:
    """DL-01, DL-03."""
    id = uploads.create(None)
    uploads.append(id, 0, b"012")
    uploads.assert_unchanged(id, offset=3, length=None)


@pytest.mark.parametrize("length", [3, 10])
def test_an_append_declares_the_length(uploads: FailingServiceClient, length: int) -> None:
    """DL-04."""
    id = uploads.create(None)
    info = uploads.append(id, 0, b"012", length=length)
    assert (info.length, info.is_finished) == (length, length == 3)
    uploads.assert_unchanged(id, offset=3, length=length)


def test_a_declared_length_cannot_be_changed(uploads: FailingServiceClient) -> None:
    """DL-05."""
    id = uploads.create(None)
    uploads.append(id, 0, b"", length=10)
    with pytest.raises(LengthMismatch):
        uploads.append(id, 0, b"", length=11)
    uploads.assert_unchanged(id, offset=0, length=10)
    assert uploads.append(id, 0, b"0", length=10).offset == 1
    assert uploads.store.calls.count(Call.DECLARE_LENGTH) == 1


def test_the_length_of_the_creation_may_be_repeated_but_not_changed(
    uploads: FailingServiceClient,
) -> None:
    """DL-11."""
    id = uploads.create(10)
    assert uploads.append(id, 0, b"0", length=10).offset == 1
    with pytest.raises(LengthMismatch):
        uploads.append(id, 1, b"1", length=11)
    assert Call.DECLARE_LENGTH not in uploads.store.calls
    uploads.assert_unchanged(id, offset=1, length=10)


@pytest.mark.parametrize(
    ("length", "error"),
    [
        pytest.param(4, LengthMismatch, id="less than the stored bytes"),
        pytest.param(5, UploadTooLarge, id="the stored bytes without the body"),
        pytest.param(6, UploadTooLarge, id="less than the stored bytes and the body"),
        pytest.param(MAX_SIZE + 1, UploadTooLarge, id="above the maximum size"),
    ],
)
def test_an_impossible_length_is_not_recorded(
    uploads: FailingServiceClient, length: int, error: type[RequestError]
) -> None:
    """DL-06."""
    id = uploads.create(None)
    uploads.append(id, 0, b"01234")
    with pytest.raises(error):
        uploads.append(id, 5, b"56", length=length)
    uploads.assert_unchanged(id, offset=5, length=None)


def test_an_empty_append_with_the_length_finishes_the_upload(
    hooked_uploads: FailingServiceClient,
) -> None:
    """DL-07."""
    id = hooked_uploads.create(None)
    hooked_uploads.append(id, 0, b"01234")
    assert hooked_uploads.append(id, 5, b"", length=5).is_finished
    assert len(hooked_uploads.finished) == 1


@pytest.mark.parametrize("length", [1, 10, MAX_SIZE + 1])
def test_a_length_with_a_wrong_offset_is_not_recorded(
    uploads: FailingServiceClient, length: int
) -> None:
    """DL-08: the offset is checked first."""
    id = uploads.create(None)
    uploads.append(id, 0, b"01234")
    with pytest.raises(OffsetMismatch):
        uploads.append(id, 4, b"", length=length)
    uploads.assert_unchanged(id, offset=5, length=None)


@pytest.mark.parametrize("content_length", [MAX_SIZE - 4, None])
def test_an_upload_without_a_length_is_limited_to_the_maximum_size(
    uploads: FailingServiceClient, content_length: int | None
) -> None:
    """DL-09."""
    id = uploads.create(None)
    uploads.append(id, 0, b"01234")
    body = ScriptedBody(b"x" * (MAX_SIZE - 4), content_length=content_length)
    with pytest.raises(UploadTooLarge) as caught:
        uploads.append(id, 5, body)
    assert caught.value.limit == MAX_SIZE
    assert uploads.inspect(id).offset == (5 if content_length else MAX_SIZE)


@pytest.mark.parametrize("stored", [b"0123456789ab", b"0123456789"])
def test_an_upload_that_reaches_a_lowered_maximum_size_accepts_no_more_bytes(
    uploads: FailingServiceClient, stored: bytes
) -> None:
    """DL-09."""
    id = uploads.create(None)
    uploads.append(id, 0, stored)
    uploads.service.max_size = 10
    with pytest.raises(UploadTooLarge):
        uploads.append(id, len(stored), ScriptedBody(b"x" * 500, content_length=None))
    assert uploads.stored_bytes(id) == stored
