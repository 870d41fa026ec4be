"""Requests that compete for the lock of one upload."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from tests.harness.bodies import ScriptedBody
from tests.service.service_fixtures import TIMEOUT, BackgroundRequest, Call, FailingServiceClient
from tus_wsgi.domain.errors import BodyInterrupted, StoreUnavailable, UploadLocked
from tus_wsgi.domain.model import UploadId, UploadInfo

DATA = b"0123456789"


REQUESTS: dict[str, Callable[[FailingServiceClient, UploadId], object]] = {
    "HEAD": lambda uploads, id: uploads.inspect(id),
    "PATCH": lambda uploads, id: uploads.append(id, 3, b"3"),
    "DELETE": lambda uploads, id: uploads.terminate(id),
}


@pytest.mark.parametrize("method", REQUESTS)
def test_another_request_interrupts_an_append_which_stores_what_it_has_received(
    method: str,
) -> None:
    """C-26, C-43, TE-05."""
    uploads = FailingServiceClient(has_hook=False, lock_timeout=TIMEOUT)
    id = uploads.create(10)
    body = ScriptedBody(b"012", content_length=10, stalls=True)
    append = BackgroundRequest(lambda: uploads.append(id, 0, body))
    assert body.waiting.wait(TIMEOUT)
    REQUESTS[method](uploads, id)
    error = append.wait()
    assert isinstance(error, BodyInterrupted)
    assert error.offset == 3
    if method == "DELETE":
        assert uploads.stored_ids() == []
    else:
        assert uploads.stored_bytes(id) == (b"0123" if method == "PATCH" else b"012")


def test_a_creation_holds_the_lock_while_its_body_is_received() -> None:
    uploads = FailingServiceClient(has_hook=False, lock_timeout=TIMEOUT)
    body = ScriptedBody(b"012", content_length=10, stalls=True)
    created: list[UploadInfo] = []
    creation = BackgroundRequest(lambda: created.append(uploads.create_upload(10, body)))
    assert body.waiting.wait(TIMEOUT)
    (id,) = uploads.stored_ids()
    assert uploads.inspect(id).offset == 3
    assert creation.wait() is None
    assert created[0].offset == 3


def test_a_request_that_does_not_release_the_lock_keeps_it() -> None:
    uploads = FailingServiceClient(has_hook=False, lock_timeout=0.05)
    id = uploads.create(10)
    has_started, may_continue = threading.Event(), threading.Event()

    def on_read() -> None:
        has_started.set()
        assert may_continue.wait(TIMEOUT)

    body = ScriptedBody(DATA, on_read=on_read)
    append = BackgroundRequest(lambda: uploads.append(id, 0, body))
    assert has_started.wait(TIMEOUT)
    with pytest.raises(UploadLocked):
        uploads.inspect(id)
    may_continue.set()
    error = append.wait()
    assert error is None or isinstance(error, BodyInterrupted)
    assert uploads.stored_bytes(id) == DATA


def test_a_download_needs_no_lock() -> None:
    uploads = FailingServiceClient(has_hook=False, lock_timeout=0)
    id = uploads.create(10, DATA)
    locker = uploads.service._locker
    with locker.lock(id, on_release_request=lambda: pytest.fail("the lock was requested")):
        assert uploads.content(id) == DATA


@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_that_fails_releases_the_lock(uploads: FailingServiceClient, method: str) -> None:
    id = uploads.create(10)
    uploads.store.fail(Call.OPEN)
    with pytest.raises(StoreUnavailable):
        REQUESTS[method](uploads, id)
    assert uploads.inspect(id).offset == 0
