"""Uploads that expire unless they are finished in time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.harness.bodies import ScriptedBody
from tests.harness.clients.service import NOW, ServiceClient, call_once
from tests.service.service_fixtures import Call, FailingServiceClient
from tus_wsgi.domain.errors import (
    ClientDisconnected,
    OffsetMismatch,
    OnFinishFailed,
    TusError,
    UploadGone,
)
from tus_wsgi.domain.expiry import EXTENSION_THRESHOLD
from tus_wsgi.domain.interfaces import BodyEnd
from tus_wsgi.stores.memory import MemoryStore

DAY = 86400.0


@pytest.fixture
def uploads() -> ServiceClient:
    return ServiceClient(MemoryStore(), lifetime=DAY)


def test_every_response_contains_the_expiry(uploads: ServiceClient) -> None:
    """EX-02, EX-03, EX-07."""
    tomorrow = NOW + timedelta(days=1)
    created = uploads.create_upload(10)
    assert created.expires == tomorrow
    assert uploads.create_upload(10, b"abc").expires == tomorrow
    assert uploads.append(created.id, 0, b"abc").expires == tomorrow
    assert uploads.inspect(created.id).expires == tomorrow


def test_an_upload_that_receives_bytes_does_not_expire(uploads: ServiceClient) -> None:
    """EX-06: the record is written once in half a lifetime, and not at every request."""
    id = uploads.create(None)
    expiries = set()
    for offset in range(100):
        uploads.advance_clock(DAY / 10)
        expiries.add(uploads.append(id, offset, b"x").expires)
    assert len(expiries) <= 21
    assert uploads.inspect(id).offset == 100


def test_a_head_request_does_not_extend_the_expiry(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    uploads.advance_clock(DAY * 0.9)
    assert uploads.inspect(id).expires == NOW + timedelta(days=1)
    uploads.advance_clock(DAY * 0.1)
    with pytest.raises(UploadGone):
        uploads.inspect(id)


def test_a_refused_request_does_not_extend_the_expiry(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    uploads.advance_clock(DAY * 0.9)
    with pytest.raises(OffsetMismatch):
        uploads.append(id, 7, b"abc")
    assert uploads.inspect(id).expires == NOW + timedelta(days=1)


def test_an_expired_upload_is_gone(uploads: ServiceClient) -> None:
    """EX-05: for every request but DELETE. The body is not read."""
    id = uploads.create(10, b"abc")
    uploads.advance_clock(DAY)
    body = ScriptedBody(b"def")
    with pytest.raises(UploadGone):
        uploads.inspect(id)
    for offset in (3, 7):
        with pytest.raises(UploadGone):
            uploads.append(id, offset, body)
    with pytest.raises(UploadGone):
        uploads.content(id)
    assert body.received == 0
    uploads.terminate(id)


def test_a_finished_upload_does_not_expire(uploads: ServiceClient) -> None:
    id = uploads.create(3, b"abc")
    empty = uploads.create(0)
    uploads.advance_clock(1000 * DAY)
    assert uploads.inspect(id).is_finished
    assert uploads.content(id) == b"abc"
    assert uploads.inspect(empty).is_finished


def test_a_full_upload_whose_hook_has_raised_does_not_expire(uploads: ServiceClient) -> None:
    """The client has sent every byte, so the server alone can finish the upload."""
    id = uploads.create(3)
    uploads.finish_errors = [RuntimeError("rejected")]
    with pytest.raises(OnFinishFailed):
        uploads.append(id, 0, b"abc")
    uploads.advance_clock(1000 * DAY)
    assert uploads.inspect(id).is_finished


def test_without_a_lifetime_uploads_do_not_expire() -> None:
    uploads = ServiceClient(MemoryStore())
    id = uploads.create(10)
    uploads.advance_clock(10_000 * DAY)
    assert uploads.append(id, 0, b"abc").expires is None
    with pytest.raises(TusError):
        uploads.content(id)


# -- slow bodies -----------------------------------------------------------------------------------


def test_an_append_extends_the_expiry_before_it_reads_the_body(uploads: ServiceClient) -> None:
    """EX-08: so a sweep does not remove the upload while its bytes arrive."""
    id = uploads.create(10)
    uploads.advance_clock(DAY - 1)
    body = ScriptedBody(b"abc", on_read=call_once(lambda: uploads.advance_clock(DAY / 2)))
    info = uploads.append(id, 0, body)
    assert info.offset == 3
    assert info.expires is not None
    assert info.expires - uploads.clock >= timedelta(seconds=DAY * EXTENSION_THRESHOLD)


def test_an_append_extends_the_expiry_after_a_slow_body(uploads: ServiceClient) -> None:
    id = uploads.create(10)
    body = ScriptedBody(
        b"abc",
        on_read=call_once(lambda: uploads.advance_clock(10 * DAY)),
        ending=BodyEnd.DISCONNECTED,
    )
    with pytest.raises(ClientDisconnected):
        uploads.append(id, 0, body)
    uploads.advance_clock(DAY / 2)
    assert uploads.inspect(id).offset == 3


@pytest.mark.parametrize("store_fails", [False, True])
def test_a_creation_extends_the_expiry_after_a_slow_body(*, store_fails: bool) -> None:
    """EX-06: like an append, even if the store fails after it has stored the body."""
    uploads = FailingServiceClient(lifetime=100.0)
    if store_fails:
        uploads.store.fail(Call.AFTER_APPEND)
    body = ScriptedBody(
        b"abc",
        content_length=9,
        ending=BodyEnd.DISCONNECTED,
        on_read=lambda: uploads.advance_clock(60),
    )
    id = uploads.create(9, body)
    uploads.advance_clock(90)
    assert uploads.inspect(id).offset == 3
