"""Appending bytes to uploads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.harness.bodies import ScriptedBody, sliced
from tests.service.service_fixtures import MAX_SIZE, UNKNOWN_ID, Call, FailingServiceClient
from tus_wsgi.domain.commands import Append, Download, Inspect, Terminate
from tus_wsgi.domain.errors import (
    BodyDraining,
    BodyIncomplete,
    BodyInterrupted,
    BodyMalformed,
    BodyTimedOut,
    ClientDisconnected,
    OffsetMismatch,
    StoreUnavailable,
    UploadNotFound,
    UploadTooLarge,
)
from tus_wsgi.domain.events import BytesStored, UploadFinished
from tus_wsgi.domain.interfaces import BodyEnd

DATA = b"0123456789"


def test_bytes_are_stored_at_the_end(uploads: FailingServiceClient) -> None:
    """C-30, C-37."""
    id = uploads.create(10)
    assert uploads.append(id, 0, b"01234").offset == 5
    assert uploads.append(id, 5, b"").offset == 5
    assert uploads.append(id, 5, b"5").offset == 6
    last = uploads.append(id, 6, b"6789")
    assert (last.offset, last.is_finished) == (10, True)
    assert uploads.content(id) == DATA


@pytest.mark.property
@given(
    data=st.binary(max_size=MAX_SIZE),
    cuts=st.lists(st.integers(0, MAX_SIZE), max_size=6),
    chunk_cuts=st.lists(st.integers(0, MAX_SIZE), max_size=4),
    is_deferred=st.booleans(),
    has_content_length=st.booleans(),
)
def test_the_file_does_not_depend_on_requests_and_chunks(
    *,
    data: bytes,
    cuts: list[int],
    chunk_cuts: list[int],
    is_deferred: bool,
    has_content_length: bool,
) -> None:
    uploads = FailingServiceClient(has_hook=True)
    id = uploads.create(None if is_deferred else len(data))
    offset = 0
    for request in sliced(data, cuts):
        content_length = len(request) if has_content_length else None
        body = ScriptedBody(*sliced(request, chunk_cuts), content_length=content_length)
        offset = uploads.append(id, offset, body).offset
    if is_deferred:
        uploads.append(id, offset, b"", length=len(data))
    assert uploads.inspect(id).is_finished
    assert uploads.content(id) == data
    assert [upload.length for upload in uploads.finished] == [len(data)]


# -- refused requests ------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 4, 6, 10, 2**63 - 1])
@pytest.mark.parametrize("data", [b"", b"abc"])
def test_a_wrong_offset_changes_nothing(
    uploads: FailingServiceClient, offset: int, data: bytes
) -> None:
    """C-33: even if the body is empty. The body is not read."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    body = ScriptedBody(data)
    with pytest.raises(OffsetMismatch) as caught:
        uploads.append(id, offset, body)
    assert (caught.value.expected, caught.value.provided) == (5, offset)
    assert not body.has_ended
    uploads.assert_unchanged(id, offset=5, length=10)


@pytest.mark.parametrize(
    "command",
    [Inspect(UNKNOWN_ID), Append(UNKNOWN_ID, 0), Terminate(UNKNOWN_ID), Download(UNKNOWN_ID)],
    ids=["inspect", "append", "terminate", "download"],
)
def test_an_unknown_upload_is_not_found(
    uploads: FailingServiceClient, command: Inspect | Append | Terminate | Download
) -> None:
    """C-24, C-36, TE-03."""
    with pytest.raises(UploadNotFound):
        uploads.service.execute(command, ScriptedBody(b"abc"))


def test_a_content_length_that_is_too_large_changes_nothing(uploads: FailingServiceClient) -> None:
    """C-38."""
    id = uploads.create(10)
    uploads.append(id, 0, b"01234")
    body = ScriptedBody(b"567890")
    with pytest.raises(UploadTooLarge) as caught:
        uploads.append(id, 5, body)
    assert (caught.value.limit, caught.value.provided) == (10, 11)
    assert body.received == 0
    uploads.assert_unchanged(id, offset=5, length=10)


def test_a_chunked_body_that_is_too_long_is_stored_up_to_the_length(
    uploads: FailingServiceClient,
) -> None:
    """C-39: the offset never exceeds the length, and the next HEAD finishes the upload."""
    id = uploads.create(10)
    with pytest.raises(UploadTooLarge) as caught:
        uploads.append(id, 0, ScriptedBody(b"0123456", b"789ab", content_length=None))
    assert (caught.value.limit, caught.value.provided) == (10, None)
    assert uploads.stored_bytes(id) == DATA
    assert uploads.inspect(id).is_finished
    assert uploads.content(id) == DATA


# -- bodies that end early -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (BodyEnd.DISCONNECTED, ClientDisconnected),
        (BodyEnd.STALLED, BodyTimedOut),
        (BodyEnd.INTERRUPTED, BodyInterrupted),
        (BodyEnd.DRAINING, BodyDraining),
        (BodyEnd.MALFORMED, BodyMalformed),
    ],
)
def test_the_received_bytes_of_an_incomplete_body_are_stored(
    uploads: FailingServiceClient, end: BodyEnd, error: type[BodyIncomplete]
) -> None:
    """C-41, C-42."""
    id = uploads.create(10)
    with pytest.raises(error) as caught:
        uploads.append(id, 0, ScriptedBody(b"01", b"2", content_length=10, ending=end))
    assert caught.value.offset == 3
    uploads.assert_unchanged(id, offset=3, length=10)
    (event,) = uploads.events_of(BytesStored)
    assert (event.count, event.offset, event.cut_short) == (3, 3, end.name.lower())
    assert uploads.append(id, 3, b"3456789").is_finished


def test_an_upload_is_finished_even_if_the_client_disconnects_after_the_last_byte(
    uploads: FailingServiceClient,
) -> None:
    id = uploads.create(10)
    body = ScriptedBody(DATA, content_length=None, ending=BodyEnd.DISCONNECTED)
    with pytest.raises(ClientDisconnected):
        uploads.append(id, 0, body)
    assert len(uploads.events_of(UploadFinished)) == 1


def test_a_malformed_body_does_not_finish_the_upload(hooked_uploads: FailingServiceClient) -> None:
    id = hooked_uploads.create(10)
    body = ScriptedBody(DATA, content_length=None, ending=BodyEnd.MALFORMED)
    with pytest.raises(BodyMalformed):
        hooked_uploads.append(id, 0, body)
    assert hooked_uploads.finished == []


# -- finished uploads ------------------------------------------------------------------------------


def test_an_empty_append_to_a_finished_upload_succeeds_and_calls_no_hook(
    hooked_uploads: FailingServiceClient,
) -> None:
    """C-40: a client that has lost the last 204 may repeat the request."""
    id = hooked_uploads.create(10)
    hooked_uploads.append(id, 0, DATA)
    info = hooked_uploads.append(id, 10, b"")
    assert (info.offset, info.is_finished) == (10, True)
    assert len(hooked_uploads.finished) == len(hooked_uploads.events_of(UploadFinished)) == 1


@pytest.mark.parametrize("content_length", [1, None])
def test_data_for_a_finished_upload_is_refused(
    uploads: FailingServiceClient, content_length: int | None
) -> None:
    """C-40."""
    id = uploads.create(10)
    uploads.append(id, 0, DATA)
    with pytest.raises(UploadTooLarge):
        uploads.append(id, 10, ScriptedBody(b"x", content_length=content_length))
    with pytest.raises(OffsetMismatch):
        uploads.append(id, 0, ScriptedBody(DATA))
    assert uploads.content(id) == DATA


# -- if the store fails ----------------------------------------------------------------------------


def test_bytes_that_were_stored_before_a_failure_are_kept(uploads: FailingServiceClient) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.AFTER_APPEND)
    with pytest.raises(StoreUnavailable):
        uploads.append(id, 0, b"01234")
    assert uploads.inspect(id).offset == 5
