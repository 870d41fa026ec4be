"""Creating uploads, with and without data in the request."""

from __future__ import annotations

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import METADATA, NOW
from tests.service.service_fixtures import MAX_SIZE, Call, FailingServiceClient
from tus_wsgi.domain.errors import BodyMalformed, StoreUnavailable, UploadTooLarge
from tus_wsgi.domain.events import BytesStored, UploadCreated, UploadFinished
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.domain.model import State, UploadInfo

DATA = b"0123456789"

# -- without data ----------------------------------------------------------------------------------


def test_a_new_upload_exists_at_once(uploads: FailingServiceClient) -> None:
    """CR-01, CR-02, CR-08."""
    id = uploads.create(10)
    assert uploads.inspect(id) == UploadInfo(id, 10, 0, METADATA, State.RECEIVING, NOW)
    assert uploads.store.calls[0] is Call.CREATE_AND_RECORD
    assert uploads.events == [UploadCreated(id, 10)]


def test_every_creation_returns_another_id(uploads: FailingServiceClient) -> None:
    """CR-11."""
    assert uploads.create(10) != uploads.create(10)


def test_an_upload_of_the_maximum_size_is_created(uploads: FailingServiceClient) -> None:
    """CR-06."""
    assert uploads.inspect(uploads.create(MAX_SIZE)).length == MAX_SIZE


def test_an_upload_above_the_maximum_size_is_refused(uploads: FailingServiceClient) -> None:
    """CR-06."""
    with pytest.raises(UploadTooLarge) as caught:
        uploads.create(MAX_SIZE + 1)
    assert (caught.value.limit, caught.value.provided) == (MAX_SIZE, MAX_SIZE + 1)
    assert uploads.store.calls == []


def test_an_empty_upload_is_finished_by_its_creation(hooked_uploads: FailingServiceClient) -> None:
    """CR-07: the hook runs exactly once."""
    id = hooked_uploads.create(0)
    assert hooked_uploads.inspect(id).is_finished
    assert hooked_uploads.inspect(id).is_finished
    assert hooked_uploads.append(id, 0, b"").is_finished
    assert hooked_uploads.content(id) == b""
    assert [upload.id for upload in hooked_uploads.finished] == [id]
    assert hooked_uploads.events_of(UploadFinished) == [UploadFinished(id, 0)]


def test_a_failed_creation_dispatches_no_event(uploads: FailingServiceClient) -> None:
    uploads.store.fail(Call.CREATE_AND_RECORD)
    with pytest.raises(StoreUnavailable):
        uploads.create(10)
    assert uploads.events == []


# -- with data -------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [10, None])
def test_a_creation_stores_the_first_bytes(
    uploads: FailingServiceClient, length: int | None
) -> None:
    """CW-02, CW-09."""
    info = uploads.create_upload(length, ScriptedBody(b"abc", b"d"))
    assert (info.offset, info.length, info.is_finished) == (4, length, False)
    assert uploads.inspect(info.id).offset == 4
    assert [type(event) for event in uploads.events] == [BytesStored, UploadCreated]


def test_a_creation_with_the_whole_file_finishes_the_upload(
    hooked_uploads: FailingServiceClient,
) -> None:
    """CW-03."""
    info = hooked_uploads.create_upload(10, DATA)
    assert info.is_finished
    assert info.offset == 10
    (finished,) = hooked_uploads.finished
    assert (finished.id, finished.length, finished.metadata) == (info.id, 10, METADATA)
    assert finished.storage == {"Type": "memory"}
    assert hooked_uploads.content(info.id) == DATA


def test_a_creation_accepts_an_empty_body(uploads: FailingServiceClient) -> None:
    """CW-04."""
    assert uploads.create_upload(10, b"").offset == 0


def test_the_record_of_a_small_upload_is_deferred_only_without_a_hook(
    uploads: FailingServiceClient, hooked_uploads: FailingServiceClient
) -> None:
    """A small upload costs two S3 calls without a hook. With a hook, the state is recorded so that
    no further request calls the hook again."""
    uploads.create(10, DATA)
    assert uploads.store.calls[-1] is Call.FINISH_MAY_DEFER
    hooked_uploads.create(10, DATA)
    assert hooked_uploads.store.calls[-1] is Call.FINISH


@pytest.mark.parametrize(
    ("length", "body"),
    [(3, ScriptedBody(b"x" * 4)), (None, ScriptedBody(content_length=MAX_SIZE + 1))],
)
def test_a_creation_whose_content_length_is_too_large_creates_nothing(
    uploads: FailingServiceClient, length: int | None, body: ScriptedBody
) -> None:
    """CW-05."""
    with pytest.raises(UploadTooLarge):
        uploads.create(length, body)
    assert uploads.store.calls == []
    assert body.received == 0


@pytest.mark.parametrize("length", [3, None])
def test_a_creation_whose_chunked_body_is_too_long_leaves_nothing(
    uploads: FailingServiceClient, length: int | None
) -> None:
    """CW-05, without a Content-Length."""
    body = ScriptedBody(b"x" * (MAX_SIZE + 1), content_length=None)
    with pytest.raises(UploadTooLarge) as caught:
        uploads.create(length, body)
    assert (caught.value.limit, caught.value.provided) == (length or MAX_SIZE, None)
    assert uploads.stored_ids() == []
    assert uploads.events_of(UploadCreated) == []


@pytest.mark.parametrize(
    "end", [BodyEnd.DISCONNECTED, BodyEnd.STALLED, BodyEnd.INTERRUPTED, BodyEnd.DRAINING]
)
def test_a_creation_whose_body_ends_early_returns_the_stored_offset(
    uploads: FailingServiceClient, end: BodyEnd
) -> None:
    """C-41: the upload exists, so the client gets its URL and not an error."""
    info = uploads.create_upload(10, ScriptedBody(b"abc", content_length=10, ending=end))
    assert (info.offset, info.is_finished) == (3, False)
    assert uploads.append(info.id, 3, b"3456789").is_finished
    assert uploads.content(info.id) == b"abc3456789"


def test_a_creation_with_a_malformed_body_leaves_nothing(uploads: FailingServiceClient) -> None:
    body = ScriptedBody(b"abc", content_length=None, ending=BodyEnd.MALFORMED)
    with pytest.raises(BodyMalformed):
        uploads.create(10, body)
    assert uploads.stored_ids() == []


# -- if the store fails ----------------------------------------------------------------------------


def test_a_creation_succeeds_if_the_store_fails_after_the_upload_exists(
    uploads: FailingServiceClient,
) -> None:
    uploads.store.fail(Call.AFTER_APPEND)
    info = uploads.create_upload(10, b"abc")
    assert info.offset == 3
    assert uploads.inspect(info.id).offset == 3
    assert uploads.events_of(UploadCreated) == [UploadCreated(info.id, 10)]


def test_a_creation_fails_with_the_first_error_if_the_store_keeps_failing(
    uploads: FailingServiceClient,
) -> None:
    uploads.store.fail(Call.APPEND)
    uploads.store.fail(Call.LOAD_OFFSET)
    with pytest.raises(StoreUnavailable) as caught:
        uploads.create(10, b"abc")
    assert caught.value.operation == Call.APPEND.name


def test_a_creation_retries_to_finish_the_upload(uploads: FailingServiceClient) -> None:
    uploads.store.fail(Call.ASSEMBLE)
    assert uploads.create_upload(10, DATA).is_finished


def test_a_creation_fails_if_the_full_upload_cannot_be_finished(
    uploads: FailingServiceClient,
) -> None:
    """A client that gets the full length as the offset sends no further request."""
    uploads.store.fail(Call.ASSEMBLE, StoreUnavailable("first"), StoreUnavailable("second"))
    with pytest.raises(StoreUnavailable):
        uploads.create(10, DATA)
    (id,) = uploads.stored_ids()
    assert uploads.inspect(id).is_finished
